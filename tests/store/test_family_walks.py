"""Random walks over families, queues and sleepers; see `tests/support/families.py`."""

import collections
import random

import pytest

from tests.support.families import OFTEN, walk


def walks(folder, first, count, steps):
    """So many walks; and up to twice as many more, as long as something has not been met."""
    hits, seed, never = collections.Counter(), first, missing({})
    while seed < first + count or (never and seed < first + 3 * count):
        path = folder / f"{seed}.db" if seed % 10 == 0 else ":memory:"
        walk(path, seed, steps, hits, size=random.Random(seed).choice([5, 8, 12, 16]))
        seed, never = seed + 1, missing(hits)
    assert not never, f"seeds {first} to {seed - 1} never saw {sorted(never)}"


def missing(hits):
    met = {(kind, f"{before}→{after}") for _, kind, before, after in hits}
    return {(kind, move) for kind, moves in OFTEN.items() for move in moves.split()} - met


def test_what_is_kept_of_families_and_queues_is_what_a_fresh_look_finds_and_nobody_waits_for_ever(tmp_path):
    walks(tmp_path, 52, 20, 25)


@pytest.mark.storm
def test_the_same_for_longer_walks(tmp_path):
    walks(tmp_path, 1_000_000, 3000, 60)

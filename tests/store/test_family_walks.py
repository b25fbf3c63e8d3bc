"""Random walks over families, queues and sleepers; see `tests/support/families.py`."""

import collections
import random

import pytest

from tests.support.families import OFTEN, walk


def walks(folder, first, count, steps):
    hits = collections.Counter()
    for seed in range(first, first + count):
        path = folder / f"{seed}.db" if seed % 10 == 0 else ":memory:"
        walk(path, seed, steps, hits, size=random.Random(seed).choice([5, 8, 12, 16]))
    met = {(kind, f"{before}→{after}") for _, kind, before, after in hits}
    never = {(kind, move) for kind, moves in OFTEN.items() for move in moves.split()} - met
    assert not never, f"seeds {first} to {first + count - 1} never saw {sorted(never)}"


def test_what_is_kept_of_families_and_queues_is_what_a_fresh_look_finds_and_nobody_waits_for_ever(tmp_path):
    walks(tmp_path, 52, 40, 25)


@pytest.mark.storm
def test_the_same_for_longer_walks(tmp_path):
    walks(tmp_path, 1_000_000, 3000, 60)

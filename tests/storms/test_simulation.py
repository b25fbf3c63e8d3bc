"""Seeded stories of several engines under a virtual clock; see `simulation.py`. A seed that fails says how to play it
again."""

import collections
import logging

import pytest

from tests.storms.simulation import Simulation

MUST_COME = (
    "submitted", "interleaved", "a body ran", "rerun", "cancelled", "submitted several", "an engine died",
    "died before a statement", "died after a statement", "died inside a transaction", "failed: memory", "failed: full",
    "failed: io", "failed: busy", "failed: interrupt", "the clock jumped", "a living engine lost its lane",
    "a claim was reported too late", "a claim from outside succeeded", "came to the end",
)  # fmt: skip
"""Cases without which the stories prove little."""


def play(folder, seeds, steps, share, enough=1):
    """→ the cases that came less often than that. Beyond the first `share` of the seeds are those for what has not come
    by then."""
    logging.getLogger("taskcore").setLevel(logging.CRITICAL + 1)  # troubles are the point
    seen = collections.Counter()
    try:
        for number, seed in enumerate(seeds):
            if number >= share * len(seeds) and all(seen[case] >= enough for case in MUST_COME):
                break
            place = folder / str(seed)
            place.mkdir()
            seen += Simulation(seed, place).run(steps)
    finally:
        logging.getLogger("taskcore").setLevel(logging.NOTSET)
    return {case: seen[case] for case in MUST_COME if seen[case] < enough}


def test_short_stories_lose_nothing_do_nothing_twice_and_come_to_their_end(tmp_path):
    assert not play(tmp_path, range(5, 53), 60, share=1 / 6)


@pytest.mark.storm
@pytest.mark.parametrize("hundred", range(100, 110))
def test_long_stories_do_neither(tmp_path, hundred):
    assert not play(tmp_path, range(100 * hundred, 100 * hundred + 100), 150, share=1 / 2, enough=5)

"""When the reports of bodies may gather for a moment: never where a thread would have to wait for it."""

from __future__ import annotations

import types
from typing import Any, cast

import pytest

from taskcore.core.ends import Outcome
from taskcore.runtime.custody import Custody


def custody(*, took: list[float], waiting: int) -> Any:
    """Of four threads, after a turn in which bodies were settled that took so long."""
    made: Any = Custody(cast(Any, types.SimpleNamespace(behaviours={})))
    made.crew = types.SimpleNamespace(size=4, waiting=waiting)
    works: list[Any] = [types.SimpleNamespace(took=one, kind=types.SimpleNamespace(name="short")) for one in took]
    made.settle([(work, Outcome(number, 1)) for number, work in enumerate(works)])
    return made


@pytest.mark.parametrize(
    ("took", "waiting", "supplied"),
    [
        ([50e-6] * 10, 100, True),  # 1.25 ms of work for each thread
        ([50e-6] * 10, 70, False),  # 0.875 ms
        ([10e-6, 90e-6], 100, True),
        ([0.5e-3] * 4, 9, True),
        ([2e-3] * 4, 100, False),  # these wait until they are settled
        ([], 100, False),  # nothing is known of them
    ],
)
def test_reports_gather_while_bodies_are_short_and_every_thread_has_enough_to_do(took, waiting, supplied):
    assert custody(took=took, waiting=waiting).supplied(0.001) is supplied


def test_a_turn_in_which_nothing_ended_forgets_not_how_long_bodies_took():
    made = custody(took=[50e-6], waiting=100)
    made.settle([])
    assert made.supplied(0.001)

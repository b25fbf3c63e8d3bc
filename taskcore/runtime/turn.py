"""What goes into one turn of the scheduler and comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from taskcore.body.work import End, Work
from taskcore.store.moves import Claimed, Failure, Success
from taskcore.store.steps import Notes
from taskcore.store.suspension import Suspension


@dataclass(eq=False, repr=False, slots=True)
class Ended:
    """An end that a future may be told of without reading the row."""

    task_id: int
    result: str | None
    """`None`: it raised, and `errors` has what."""


@dataclass(eq=False, repr=False, slots=True)
class Turn:
    """What one turn brings to its transaction, and takes from it."""

    works: list[tuple[Work, End]]
    back: list[Work]
    room: list[tuple[int, int, str | None]]
    cramped: bool
    """Whether there are kinds that would be claimed if there were room."""
    hungry: bool
    """Whether something may be claimable, as far as is known before."""
    now: float
    renew: bool
    successes: list[Success] = field(default_factory=list)
    failures: list[Failure | Suspension] = field(default_factory=list)
    notes: list[Notes] = field(default_factory=list)
    """What running bodies have to show, those that end first."""
    stale: set[int] = field(default_factory=set)
    claimed: list[Claimed] = field(default_factory=list)
    more: bool = False
    short: bool | None = None
    """Whether something was left that only lacks a capacity; `None` if nothing was to be claimed."""
    until: float | None = None
    """When a rate lets more begin."""
    freed: bool = False
    astray: bool = False
    """Whether all that this engine holds, and does not report now, is given back: nothing of it runs."""
    next_due: float | None = None
    """When time moves a row, as far as was known; once swept, as it is."""

"""What an explanation of one task is made from: the rows that `diagnosis` finds, by what they mean to the task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from taskcore.store.overview import Brief

FEW: Final = 3
"""Tasks that are looked at one by one where there may be many."""
MANY: Final = 1000
"""Rows that are counted; one more than that stands for any greater number."""


class Blocked(NamedTuple):
    """What keeps a task from being released."""

    edges: int
    """All it has, up to `MANY` + 1."""
    unmet: int
    some: tuple[tuple[Brief, str], ...]
    """Upstreams that hold the task back, and what is asked of each."""
    first: Brief | None
    """Of its serial queue, if it is not the first itself."""
    between: int
    """Tasks in the queue behind that one and before this, up to `MANY` + 1."""


class Ration(NamedTuple):
    """A capacity, or "name:" and a task's name, of which there is too little for the task."""

    name: str
    need: int
    there: int | None
    """`None`: nobody names it now."""
    used: int
    holders: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    own: Brief
    trouble: str | None = None
    """What went wrong in the newest attempt that failed or lapsed, of any life."""
    blocked: Blocked | None = None
    job: Brief | None = None
    """The nearest job above it."""
    root: tuple[Brief, Blocked] | None = None
    """The job above that holds back the others above, or the nearest, and what it waits for."""
    holder: Brief | None = None
    """The nearest job above it that is paused."""
    children: tuple[Brief, ...] = ()
    """Of a job: some that have not ended; of a failed one, some that failed."""
    counts: tuple[tuple[str, int], ...] = ()
    """Of a job that ended: how many children have which status."""
    sleeps: int = 0
    """Tasks whose end a body waits for, up to `MANY` + 1."""
    sleeps_for: tuple[Brief, ...] = ()
    parent: Brief | None = None
    causes: tuple[Brief, ...] = ()
    """Of a skipped task: the one it was skipped for, and if that was skipped too, the one that was skipped for, and so
    on."""
    cause_gone: bool = False
    wanted: str | None = None
    """Of the first of these, if there was an edge."""
    hold: str | None = None
    """The name that is on hold, "" for the whole file."""
    rations: tuple[Ration, ...] = ()
    turn: tuple[int, str] | None = None
    """Whom it stands back for, who waits for several of which capacity."""
    rate: tuple[int, float, float] | None = None
    """So many starts in so many seconds; when the next one may be."""
    before: int = 0
    """Ready tasks that stand before it, up to `MANY` + 1."""
    avoids: bool = False
    """Whether it failed on the worker that asks, and is to avoid that."""
    engines: tuple[tuple[str, int], ...] = ()
    """(name, lane) of those that did not sign off."""


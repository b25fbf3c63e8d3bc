"""Parts of the sentences that explain where a task is. In none of them is anything that a terminal obeys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from taskcore.core import lifecycle
from taskcore.core.text import duration, printable, quoted
from taskcore.store.diagnosis import FEW, MANY, Facts
from taskcore.store.overview import Brief

LONGEST: Final = 200
"""Characters of an error, a message or a reason that are shown."""


def text(said: str) -> str:
    return printable(said, LONGEST)


def number(n: int, what: str) -> str:
    if n > MANY:
        return f"more than {MANY} {what}s"
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def listed(items: Sequence[str], total: int) -> str:
    """ "a, b and 3 more", of all there are."""
    if total <= len(items):
        return ", ".join(items)
    shown = items[: FEW - 1] if len(items) >= FEW else items
    more = "many" if total > MANY else str(total - len(shown))
    return f"{', '.join(shown)} and {more} more"


def named(task: Brief) -> str:
    return f"#{task.id} {quoted(task.name)}"


def since(at: float | None, now: float) -> str:
    return duration(now - (now if at is None else at))


def due(at: float | None, now: float) -> str:
    return "now" if at is None or at <= now else f"in {duration(at - now)}"


def children(task: Brief) -> str:
    return f"{task.children - task.open} of {task.children} {'child' if task.children == 1 else 'children'} ended"


def ended(label: str | None, phase: str) -> str:
    if label is not None:
        return f"ended as {quoted(label)}"
    return phase if phase in (lifecycle.SUCCEEDED, lifecycle.FAILED) else f"was {phase}"


_COMES_AGAIN: Final = {"backoff": "failed and runs again", "snooze": "snoozed itself and runs again"}


def does(task: Brief, now: float) -> str:
    """What another task is about: a verb and the rest."""
    match task.phase:
        case lifecycle.WAITING:
            return "is waiting itself"
        case lifecycle.SCHEDULED:
            return f"{_COMES_AGAIN.get(task.waiting_for or '', 'begins')} {due(task.greenfield, now)}"
        case lifecycle.RUNNING:
            label = "" if task.label is None else f" as {quoted(task.label)}"
            return f"is running{label} for {since(task.started_at, now)}"
        case lifecycle.SUSPENDED if task.job is not None:
            return f"is an open job, {children(task)}"
        case lifecycle.SUSPENDED:
            return f"sleeps{until(task, now)}"
        case lifecycle.READY | lifecycle.PAUSED:
            return f"is {task.phase}"
    unfinished = " but has unfinished children" if task.open else ""
    return ended(task.label, task.phase) + unfinished


def until(task: Brief, now: float) -> str:
    """What wakes a body."""
    wanted, at = task.waiting_for or "", task.greenfield
    if wanted.startswith("signal "):
        over = "" if at is None else f", and gives up {due(at, now)}"
        return f" until it gets the signal {quoted(wanted.removeprefix('signal '))}{over}"
    if at is not None:
        return f" until it wakes {due(at, now)}"
    return " until others have ended"


def past(facts: Facts) -> str:
    """What went wrong before, in this life."""
    own = facts.own
    times = own.failures + own.lapses
    if not times:
        return ""
    what = "failed" if not own.lapses else "lost its process or its lease" if not own.failures else "went wrong"
    error = "" if facts.trouble is None else f": {text(facts.trouble)}"
    once = "once" if times == 1 else f"{times} times"
    return f"; it {what} {once} before{error}"

"""Tasks that make a turn fail: each is found, and set aside as failed with the reason, so that the others go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from taskcore.body.work import Work
from taskcore.core.ends import Outcome
from taskcore.core.options import Definition
from taskcore.runtime.repertoire import Repertoire
from taskcore.store import reports
from taskcore.store.busy import OF_A_ROW, said
from taskcore.store.cache import Kind
from taskcore.store.claims import Claimed
from taskcore.store.connection import File
from taskcore.store.transaction import Transaction

UNREADABLE: Final = Kind(0, "?", 1, 0, {}, "{}")
"""Stands for a kind whose options cannot be read."""


class _Undone(Exception):
    """Takes back what was only tried."""


def _try(tx: Transaction, end: Outcome, now: float) -> None:
    if end.verb == "succeed":
        reports.succeed(tx, [end], now, look_first=True)
    else:
        reports.report(tx, end, now)
    raise _Undone


def replace_bad_ends(file: File, works: list[tuple[Work, Outcome]], now: float) -> bool:
    """Try each of these ends alone, in a transaction that is taken back; one that cannot be stored becomes a failure
    that says so. → whether there was such a one."""
    found = False
    for place, (work, end) in enumerate(works):
        try:
            file.write(_try, end, now)
        except _Undone:
            continue
        except OF_A_ROW as error:
            found = True
            works[place] = work, _failure(end.id, end.token, "its end could not be stored", error)
    return found


def works_of(repertoire: Repertoire, claimed: Sequence[Claimed]) -> tuple[list[Work], list[tuple[Work, Outcome]]]:
    """What was claimed, ready to be run; and what cannot be, each with the failure that says why."""
    works, bad = [], []
    for task in claimed:
        try:
            works.append(repertoire.work(task))
        except OF_A_ROW as error:
            end = _failure(task.id, task.token, "it cannot be run", error)
            bad.append((Work(task, UNREADABLE, Definition("?")), end))
    return works, bad


def _failure(task: int, token: int, what: str, error: Exception) -> Outcome:
    return Outcome(task, token, verb="fail", error_type=type(error).__name__, error=f"{what} ({said(error)})")

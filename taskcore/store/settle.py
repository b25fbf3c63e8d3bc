"""What follows when tasks move: below them in the graph, above them in the family, behind them in the queue, and for
those that sleep until they end. Every verb ends here, in its own transaction."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Final

from taskcore.core.ends import Outcome
from taskcore.store import dependencies, hierarchy, serial, suspension
from taskcore.store.transaction import Transaction
from taskcore.store.transitions import leaving, target


def moved(tx: Transaction, tasks: Collection[int], now: float) -> None:
    """Bring up to date whatever hangs on these tasks. Those that ended are in `tx.fresh`."""
    dependencies.propagate(tx, tasks, now)
    settle(tx, now)


def succeeded(tx: Transaction, batch: Sequence[Outcome], now: float) -> None:
    """`moved` for tasks that have just succeeded."""
    tasks = [done.id for done in batch]
    dependencies.succeeded(tx, tasks, now)
    tx.ended.update(zip(tasks, batch, strict=True))
    if tx.known.has_families or tx.known.has_joins or tx.known.has_queues:
        tx.fresh.extend(tasks)
    settle(tx, now)


def released(tx: Transaction, tasks: Collection[int], now: float) -> None:
    """`moved` for tasks that wait again, after asking the release rule."""
    dependencies.release(tx, tasks, now)
    serial.came_back(tx, tasks, now)
    moved(tx, tasks, now)


def settle(tx: Transaction, now: float) -> None:
    """Do what is noted in `tx.fresh` and `tx.opened`, and what follows from that, until nothing does."""
    while tx.fresh or tx.opened:
        ended, tx.fresh = list(dict.fromkeys(tx.fresh)), []
        if ended:
            if tx.known.has_queues:
                serial.ended(tx, ended, now)
            if tx.known.has_joins:
                suspension.ended(tx, ended, now)
            if tx.known.has_families:
                if hierarchy.ended(tx, ended):
                    cancel(tx, hierarchy.abandoned(tx, ended), now, None)
        opened, tx.opened = list(dict.fromkeys(tx.opened)), []
        if opened:
            hierarchy.opened(tx, opened, now)


_BY_PHASE: Final = """
    SELECT t.id, t.job IS NOT NULL, t.phase = 'running'
    FROM json_each(?) AS wanted CROSS JOIN taskcore_task AS t ON t.id = wanted.value
    WHERE t.finished_at IS NULL ORDER BY t.id"""
_CANCEL: Final = f"""
    UPDATE taskcore_task SET phase = {target("cancel")}, finished_at = :now, greenfield = NULL, label = NULL,
        cancel_requested_at = :now, last_error = ifnull(:reason, last_error)
    WHERE id IN (SELECT value FROM json_each(:ids)) AND {leaving("cancel", phase="+phase")}"""
_REQUEST: Final = """
    UPDATE taskcore_task SET cancel_requested_at = ifnull(cancel_requested_at, :now),
        last_error = ifnull(:reason, last_error)
    WHERE id IN (SELECT value FROM json_each(:ids))"""

_ENDED: Final = """
    SELECT count(*) FROM json_each(?) AS asked CROSS JOIN taskcore_task AS t ON t.id = asked.value
    WHERE t.finished_at IS NOT NULL"""


def cancel(tx: Transaction, tasks: Collection[int], now: float, reason: str | None) -> int:
    """End what does not run; ask what runs to stop. A job ends when nothing below it runs any more. → how many ended
    at once."""
    rows = tx.execute(_BY_PHASE, (json.dumps(list(tasks)),)).fetchall()
    idle = [task for task, job, running in rows if not (job or running)]
    asked = [task for task, job, running in rows if job or running]
    text = json.dumps(idle)
    tx.uncount(text)
    tx.execute(_CANCEL, {"now": now, "reason": reason, "ids": text})
    if tx.known.has_joins:
        suspension.forget(tx, idle)
    tx.execute(_REQUEST, {"now": now, "reason": reason, "ids": json.dumps(asked)})
    tx.end(idle)
    tx.requested.extend(task for task, _, running in rows if running)
    jobs = [task for task, job, _ in rows if job]
    tx.opened.extend(jobs)
    moved(tx, idle, now)
    return len(idle) + (tx.execute(_ENDED, (json.dumps(jobs),)).fetchall()[0][0] if jobs else 0)

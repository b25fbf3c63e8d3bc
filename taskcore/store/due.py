"""What time moves: the one sweep over `greenfield`."""

from __future__ import annotations

from typing import Final

from taskcore.store import reports, settle, suspension
from taskcore.store.transaction import Transaction
from taskcore.store.transitions import by_row, leaving

_ASLEEP: Final = """
    SELECT id FROM taskcore_task
    WHERE phase = 'suspended' AND greenfield <= ? AND phase NOT IN ('ready', 'succeeded')"""
_SILENT: Final = """
    SELECT t.id FROM taskcore_task AS t
    CROSS JOIN taskcore_worker AS w ON w.id = t.worker
    WHERE t.phase = 'running' AND t.greenfield <= ? AND t.phase NOT IN ('ready', 'succeeded') AND w.lane IS NULL"""
_PROMOTE: Final = f"""
    UPDATE taskcore_task SET phase = {by_row("reach its time", open="job IS NOT NULL")}, greenfield = NULL,
        waiting_for = NULL
    WHERE {leaving("promote")} AND greenfield <= ? AND phase NOT IN ('ready', 'succeeded') RETURNING id"""
_NEXT: Final = """
    SELECT min(greenfield) FROM (
        SELECT min(greenfield) AS greenfield FROM taskcore_task
        WHERE phase = 'scheduled' AND phase NOT IN ('ready', 'succeeded')
        UNION ALL
        SELECT min(greenfield) FROM taskcore_task
        WHERE phase = 'suspended' AND phase NOT IN ('ready', 'succeeded')
        UNION ALL
        SELECT min(t.greenfield) FROM taskcore_task AS t CROSS JOIN taskcore_worker AS w ON w.id = t.worker
        WHERE t.phase = 'running' AND t.phase NOT IN ('ready', 'succeeded') AND w.lane IS NULL
    )"""


def sweep(tx: Transaction, now: float) -> float | None:
    """Move every row whose greenfield has come. → the next one, or `None`.

    The lease of an engine's own task is no such time: whether that engine lives, its lane says (`bury`). A claim from
    outside has nothing but its lease.
    """
    next_due: float | None = tx.execute(_NEXT).fetchone()[0]
    if next_due is None or next_due > now:
        return next_due
    due = [task for (task,) in tx.execute(_PROMOTE, (now,)).fetchall()]
    if due:
        tx.freed = True
        if tx.known.has_jobs:
            tx.opened.extend(due)
        settle.moved(tx, due, now)
    asleep = [task for (task,) in tx.execute(_ASLEEP, (now,)).fetchall()]
    if asleep:
        suspension.wake(tx, asleep, now)
        settle.settle(tx, now)
    silent = [task for (task,) in tx.execute(_SILENT, (now,)).fetchall()]
    if silent:
        reports.lapse(tx, silent, now, "its lease ran out")
    next_due = tx.execute(_NEXT).fetchone()[0]
    return next_due

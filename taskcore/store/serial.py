"""Tasks that run one at a time: those of one serial value stand in a queue, and only the first may be released."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from taskcore.store import edges
from taskcore.store.file import Transaction


def occupied(tx: Transaction, serial: str) -> bool:
    """Whether a task of this value has not ended."""
    return tx.execute("SELECT 1 FROM taskcore_queue WHERE serial = ? LIMIT 1", (serial,)).fetchone() is not None


def enqueue(tx: Transaction, rows: Collection[tuple[str, int, int]]) -> None:
    """(serial, place, task): their `behind` says already whether somebody stands before them."""
    tx.executemany("INSERT INTO taskcore_queue (serial, place, task) VALUES (?, ?, ?)", rows)
    tx.known.has_queues = True


def again(tx: Transaction, tasks: Collection[int]) -> None:
    """Tasks that wait for a new life go to the end of their queues."""
    for task, value in tx.execute(
        """SELECT t.id, t.serial FROM json_each(?) AS anew CROSS JOIN taskcore_task AS t ON t.id = anew.value
           WHERE t.serial IS NOT NULL ORDER BY t.id""",
        (json.dumps(list(tasks)),),
    ).fetchall():
        tx.execute(
            "UPDATE taskcore_task SET behind = :now, blockers = blockers + :now - behind WHERE id = :id",
            {"id": task, "now": int(occupied(tx, value))},
        )
        # A place of its own, behind all that are there and before all that come: no later task gets this number.
        tx.known.last_id = place = tx.known.last_id + 1
        tx.execute("UPDATE taskcore_meta SET value = ? WHERE key = 'last_id'", (place,))
        enqueue(tx, [(value, place, task)])


_LEAVING: Final = """
    SELECT json_group_array(json_array(q.serial, q.place, t.id, t.phase = 'failed'
        AND ifnull(k.options->>'serial_failure', 'clear') = 'clear'))
    FROM json_each(?) AS ended CROSS JOIN taskcore_queue AS q ON q.task = ended.value
    CROSS JOIN taskcore_task AS t ON t.id = q.task CROSS JOIN taskcore_kind AS k ON k.id = t.kind"""
_LEAVE: Final = "DELETE FROM taskcore_queue WHERE task IN (SELECT value FROM json_each(?))"
_BEHIND: Final = """
    SELECT q.task FROM taskcore_queue AS q CROSS JOIN taskcore_task AS t ON t.id = q.task
    WHERE q.serial = ? AND q.place > ? AND t.behind = 1"""
_NEXT: Final = """
    SELECT json_group_array(t.id) FROM (
        SELECT (
            SELECT q.task FROM taskcore_queue AS q WHERE q.serial = freed.value ORDER BY q.place LIMIT 1
        ) AS first FROM json_each(?) AS freed
    ) CROSS JOIN taskcore_task AS t ON t.id = first AND t.behind = 1"""
_ADVANCE: Final = """
    UPDATE taskcore_task SET behind = 0, blockers = blockers - 1 WHERE id IN (SELECT value FROM json_each(?))"""


def ended(tx: Transaction, tasks: Collection[int], now: float) -> None:
    """These ended: the next in their queues may go on, or all behind one that failed are skipped."""
    ids = json.dumps(list(tasks))
    leaving = json.loads(tx.execute(_LEAVING, (ids,)).fetchall()[0][0])
    if not leaving:
        return
    tx.execute(_LEAVE, (ids,))
    for value, place, task, clear in leaving:
        behind = [other for (other,) in tx.execute(_BEHIND, (value, place)).fetchall()] if clear else []
        if behind:
            skipped = edges.skip(tx, json.dumps([(other, task) for other in behind]), now)
            edges.propagate(tx, skipped, now)
    first = tx.execute(_NEXT, (json.dumps(sorted({row[0] for row in leaving})),)).fetchall()[0][0]
    if first != "[]":
        tx.execute(_ADVANCE, (first,))
        edges.release(tx, json.loads(first), now)

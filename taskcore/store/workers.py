"""Workers: the row of each engine and of each outside worker, and the tasks of engines whose process is gone."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from typing import Final

from taskcore.store import claims, reports
from taskcore.store.claims import Claimed
from taskcore.store.process_locks import Lanes
from taskcore.store.transaction import Transaction


def enlist(tx: Transaction, name: str, lanes: Lanes | None, now: float) -> tuple[int, int]:
    """A row for an engine that is about to run tasks → (worker, lane).

    The lock comes before the row: a row whose lane nobody holds is taken for dead by whoever looks next.
    """
    lane = 0
    if lanes is not None:
        bury(tx, lanes, now)
        taken = {row[0] for row in tx.execute("SELECT lane FROM taskcore_worker WHERE ended_at IS NULL").fetchall()}
        while lane in taken or not lanes.take(lane):
            lane += 1
    try:
        worker = tx.execute(
            "INSERT INTO taskcore_worker (name, lane, started_at) VALUES (?, ?, ?) RETURNING id", (name, lane, now)
        ).fetchall()[0][0]
    except BaseException:
        if lanes is not None:
            lanes.give_up(lane)
        raise
    return worker, lane


def outsider(tx: Transaction, name: str, now: float) -> int:
    """The row of a worker that claims from outside; the same one for the same name."""
    row = tx.execute("SELECT id FROM taskcore_worker WHERE name = ? AND lane IS NULL", (name,)).fetchone()
    if row is None:
        row = tx.execute(
            "INSERT INTO taskcore_worker (name, started_at) VALUES (?, ?) RETURNING id", (name, now)
        ).fetchall()[0]
    return int(row[0])


def sign_off(tx: Transaction, worker: int, now: float) -> None:
    """An engine's row ends; the caller holds none of its tasks any more."""
    tx.execute("UPDATE taskcore_worker SET ended_at = ? WHERE id = ?", (now, worker))


_ALIVE: Final = "SELECT id, CAST(lane AS INTEGER) FROM taskcore_worker WHERE ended_at IS NULL AND lane IS NOT NULL"
_OF_WORKER: Final = """
    SELECT t.id, t.token, k.max_lapses = 0 FROM taskcore_task AS t CROSS JOIN taskcore_kind AS k ON k.id = t.kind
    WHERE t.phase = 'running' AND t.phase NOT IN ('ready', 'succeeded') AND t.worker = ?"""


def alive(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    """(worker, lane) of the engines that did not sign off."""
    return connection.execute(_ALIVE).fetchall()


def is_alive(tx: Transaction, worker: int) -> bool:
    """Whether this worker's row has not ended."""
    row = tx.execute("SELECT 1 FROM taskcore_worker WHERE id = ? AND ended_at IS NULL", (worker,)).fetchone()
    return row is not None


def claims_of(tx: Transaction, worker: int) -> list[tuple[int, int]]:
    """(task, token) of all that this worker holds."""
    return [(task, token) for task, token, _ in tx.execute(_OF_WORKER, (worker,)).fetchall()]


_OVERDUE: Final = """
    SELECT w.name, w.id, CAST(w.lane AS INTEGER), t.id, t.token, t.kind, t.failures, t.lapses, t.attempts
    FROM taskcore_worker AS w
    CROSS JOIN taskcore_task AS t ON t.worker = w.id
    CROSS JOIN taskcore_kind AS k ON k.id = t.kind
    WHERE w.ended_at IS NULL AND w.lane IS NOT NULL AND w.name IN (SELECT value FROM json_each(?))
    AND t.phase = 'running' AND t.phase NOT IN ('ready', 'succeeded')
    AND t.started_at + (k.options ->> '$.timeout') < ?"""


def overdue(
    connection: sqlite3.Connection, names: Collection[str], before: float
) -> dict[str, tuple[int, int, list[Claimed]]]:
    """Of the engines with these names, (worker, lane, claims): what was claimed longer before this than its limit."""
    found: dict[str, tuple[int, int, list[Claimed]]] = {}
    for row in connection.execute(_OVERDUE, (json.dumps(list(names)), before)).fetchall():
        name, worker, lane, task, token, kind, *counts = row
        found.setdefault(name, (worker, lane, []))[2].append(Claimed(task, kind, "", None, None, token, *counts))
    return found


def asked(connection: sqlite3.Connection, tasks: Collection[int]) -> list[tuple[int, bool]]:
    """Those of the tasks that somebody wants to come back: (task, whether it is to be cancelled)."""
    rows = connection.execute(
        """SELECT t.id, t.cancel_requested_at IS NOT NULL FROM json_each(?) AS mine
           CROSS JOIN taskcore_task AS t ON t.id = mine.value
           WHERE t.held = 1 OR t.cancel_requested_at IS NOT NULL""",
        (json.dumps(list(tasks)),),
    ).fetchall()
    return [(task, bool(cancel)) for task, cancel in rows]


def bury(tx: Transaction, lanes: Lanes, now: float, own: int | None = None) -> int:
    """Take back the tasks of every engine whose process is gone, but the caller's `own`. → how many engines.

    What had begun has lapsed, at no cost where the process was ending anyway. What was only claimed ahead is given back
    as if it had never been claimed. After a power cut, which may take a mark and leave the claim, tasks that may run at
    most once count as begun all the same.
    """
    lanes.hold()
    engines = tx.execute(_ALIVE).fetchall()
    dead = [(worker, lane) for worker, lane in engines if worker != own and lanes.is_dead(lane)]
    for worker, lane in dead:
        begun, certain = lanes.begun(lane, worker), lanes.since_boot(lane)
        rows = tx.execute(_OF_WORKER, (worker,)).fetchall()
        lapsed = [task for task, _, once in rows if begun is None or task in begun or (once and not certain)]
        gone = set(lapsed)
        claims.give_back(tx, [(task, token) for task, token, _ in rows if task not in gone], now)
        if lapsed:
            spared = [task for task in lapsed if lanes.spared(lane, worker, task)]
            reports.lapse(tx, spared, now, reports.LEFT_IT, spared=True)
            reports.lapse(tx, [task for task in lapsed if task not in spared], now, reports.DIED)
        sign_off(tx, worker, now)
    return len(dead)

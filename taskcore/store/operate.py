"""What people do to tasks from outside: cancel, pause, resume, rerun, set_priority, hide, delete.

Every verb takes many ids, moves those whose phase allows it, and says how many it moved.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from taskcore.store import edges
from taskcore.store.file import Transaction

_AMONG: Final = "FROM json_each(:ids) AS wanted CROSS JOIN taskcore_task AS t ON t.id = wanted.value"


def _pick(tx: Transaction, ids: Collection[int], phases: str) -> list[int]:
    rows = tx.execute(
        f"SELECT t.id {_AMONG} WHERE +t.phase IN (SELECT value FROM json_each(:phases)) ORDER BY t.id",
        {"ids": json.dumps(list(ids)), "phases": phases},
    ).fetchall()
    return [task for (task,) in rows]


_CANCELLABLE: Final = json.dumps(("waiting", "scheduled", "ready", "suspended", "paused"))
_HOLDABLE: Final = json.dumps(("waiting", "scheduled", "ready"))
_BUSY: Final = json.dumps(("running", "suspended"))
_ENDED: Final = json.dumps(("succeeded", "failed", "cancelled", "skipped"))


def cancel(tx: Transaction, ids: Collection[int], now: float, reason: str | None) -> int:
    """End what is not running; ask what is running to stop. → how many ended."""
    tasks = _pick(tx, ids, _CANCELLABLE)
    tx.execute(
        """UPDATE taskcore_task SET phase = 'cancelled', finished_at = :now, greenfield = NULL, label = NULL,
               cancel_requested_at = :now, last_error = ifnull(:reason, last_error)
           WHERE id IN (SELECT value FROM json_each(:ids))""",
        {"now": now, "reason": reason, "ids": json.dumps(tasks)},
    )
    tx.ended.extend(tasks)
    running = _pick(tx, ids, json.dumps(["running"]))
    tx.execute(
        """UPDATE taskcore_task SET cancel_requested_at = ifnull(cancel_requested_at, :now),
               last_error = ifnull(:reason, last_error)
           WHERE id IN (SELECT value FROM json_each(:ids))""",
        {"now": now, "reason": reason, "ids": json.dumps(running)},
    )
    tx.requested.extend(running)
    edges.propagate(tx, tasks, now)
    return len(tasks)


def cancel_unbegun(tx: Transaction, first: int, last: int, now: float) -> int:
    """Cancel those of a span of ids that do not run. → how many."""
    rows = tx.execute(
        "SELECT id FROM taskcore_task WHERE id BETWEEN ? AND ? AND finished_at IS NULL AND phase <> 'running'",
        (first, last),
    ).fetchall()
    return cancel(tx, [task for (task,) in rows], now, "cancelled at shutdown")


def pause(tx: Transaction, ids: Collection[int], now: float) -> int:
    """Hold what has not begun; what is running or suspended is held as soon as it comes back. → how many."""
    tasks = _pick(tx, ids, _HOLDABLE)
    tx.execute(
        "UPDATE taskcore_task SET phase = 'paused', held = 1 WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(tasks),),
    )
    busy = _pick(tx, ids, _BUSY)
    later = tx.execute(
        """UPDATE taskcore_task SET held = 1 WHERE held = 0 AND id IN (SELECT value FROM json_each(?))""",
        (json.dumps(busy),),
    ).rowcount
    tx.requested.extend(busy)
    edges.propagate(tx, tasks, now)
    return len(tasks) + later


def resume(tx: Transaction, ids: Collection[int], now: float) -> int:
    """Let go what is held. → how many."""
    tasks = _pick(tx, ids, json.dumps(["paused"]))
    tx.execute(
        "UPDATE taskcore_task SET phase = 'waiting', held = 0 WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(tasks),),
    )
    freed = tx.execute(
        """UPDATE taskcore_task SET held = 0 WHERE held = 1 AND id IN (SELECT value FROM json_each(?))""",
        (json.dumps(_pick(tx, ids, _BUSY)),),
    ).rowcount
    edges.release(tx, tasks, now)
    edges.propagate(tx, tasks, now)
    return len(tasks) + freed


_BELOW: Final = """
    WITH RECURSIVE below (id) AS (
        SELECT value FROM json_each(:ids)
        UNION
        SELECT e.task FROM below CROSS JOIN taskcore_edge AS e ON e.upstream = below.id
    )
    SELECT json_group_array(t.id)
    FROM below CROSS JOIN taskcore_task AS t ON t.id = below.id WHERE t.finished_at IS NOT NULL"""
_KEEP_SUCCESS: Final = f"""
    INSERT OR IGNORE INTO taskcore_attempt (task, number, worker, started_at, finished_at, outcome)
    SELECT t.id, t.attempts, t.worker, t.started_at, t.finished_at, 'succeeded' {_AMONG}
    WHERE +t.phase = 'succeeded' AND t.attempts > 0"""
# Another task may have taken the key of one that ended (`key_scope="unfinished"`). While that one has not ended, and
# where several are to have the same key again, the older ones stay ended.
_REPLACED: Final = f"""
    SELECT t.id {_AMONG}
    CROSS JOIN taskcore_kind AS k ON k.id = t.kind
    CROSS JOIN taskcore_key AS has ON has.name = k.name AND has.key = t.key
    CROSS JOIN taskcore_task AS other ON other.id = has.task AND other.id <> t.id AND other.finished_at IS NULL
    UNION ALL
    SELECT t.id {_AMONG}
    CROSS JOIN taskcore_kind AS k ON k.id = t.kind
    WHERE t.key IS NOT NULL AND EXISTS (
        SELECT 1 FROM taskcore_task AS newer CROSS JOIN taskcore_kind AS its ON its.id = newer.kind
        WHERE newer.key = t.key AND newer.id > t.id AND its.name = k.name
        AND newer.id IN (SELECT value FROM json_each(:ids))
    )"""
_TAKE_KEY: Final = f"""
    INSERT OR REPLACE INTO taskcore_key (name, key, task)
    SELECT k.name, t.key, t.id {_AMONG} CROSS JOIN taskcore_kind AS k ON k.id = t.kind WHERE t.key IS NOT NULL"""
_RERUN: Final = """
    UPDATE taskcore_task SET phase = 'waiting', label = NULL, finished_at = NULL, greenfield = NULL, failures = 0,
        lapses = 0, ahead = 0, held = 0, worker = NULL, cancel_requested_at = NULL, progress = NULL, waiting_for = NULL,
        result = CASE WHEN phase = 'succeeded' THEN NULL ELSE result END
    WHERE id IN (SELECT value FROM json_each(:ids))"""


def rerun(tx: Transaction, ids: Collection[int], now: float, *, downstream: bool = False) -> int:
    """Ended tasks wait again, for a new life. `downstream`: every ended task below them too. → how many.

    First all rows, then the edges that leave them, then those that enter, then one release for all.
    """
    tasks = _pick(tx, ids, _ENDED)
    if downstream and tx.known.has_edges:
        tasks = json.loads(tx.execute(_BELOW, {"ids": json.dumps(tasks)}).fetchall()[0][0])
    replaced = {task for (task,) in tx.execute(_REPLACED, {"ids": json.dumps(tasks)}).fetchall()}
    tasks = [task for task in tasks if task not in replaced]
    text = json.dumps(tasks)
    tx.execute(_KEEP_SUCCESS, {"ids": text})
    tx.execute(_RERUN, {"ids": text})
    tx.execute(_TAKE_KEY, {"ids": text})
    edges.propagate(tx, tasks, now)
    edges.link(tx, tasks, now)
    edges.release(tx, tasks, now)
    return len(tasks)


def set_priority(tx: Transaction, ids: Collection[int], priority: int) -> int:
    """Of tasks that have not ended. → how many."""
    changed: int = tx.execute(
        """UPDATE taskcore_task SET priority = :priority
           WHERE id IN (SELECT value FROM json_each(:ids)) AND finished_at IS NULL AND priority <> :priority""",
        {"ids": json.dumps(list(ids)), "priority": priority},
    ).rowcount
    return changed


def hide(tx: Transaction, ids: Collection[int], hidden: bool) -> int:
    changed: int = tx.execute(
        """UPDATE taskcore_task SET hidden = :hidden
           WHERE id IN (SELECT value FROM json_each(:ids)) AND hidden <> :hidden""",
        {"ids": json.dumps(list(ids)), "hidden": int(hidden)},
    ).rowcount
    return changed


_DELETABLE: Final = f"""
    SELECT t.id {_AMONG}
    WHERE t.finished_at IS NOT NULL
    AND NOT EXISTS (
        SELECT 1 FROM taskcore_edge AS e CROSS JOIN taskcore_task AS below ON below.id = e.task
        WHERE e.upstream = t.id AND below.finished_at IS NULL
    )"""
_WITH_CHILDREN: Final = f"""
    SELECT DISTINCT t.id {_AMONG} CROSS JOIN taskcore_task AS child ON child.parent = t.id
    WHERE child.id NOT IN (SELECT value FROM json_each(:ids))"""
_FORGET: Final = (
    """UPDATE taskcore_task SET blockers = blockers - gone.edges FROM (
           SELECT e.task AS task, count(*) AS edges FROM json_each(:ids) AS wanted
           CROSS JOIN taskcore_edge AS e ON e.upstream = wanted.value AND e.verdict IN ('unmet', 'doomed')
           GROUP BY e.task
       ) AS gone WHERE taskcore_task.id = gone.task""",
    "DELETE FROM taskcore_edge WHERE upstream IN (SELECT value FROM json_each(:ids))",
    """DELETE FROM taskcore_edge WHERE (upstream, task) IN (
           SELECT e.upstream, e.task FROM json_each(:ids) AS gone CROSS JOIN taskcore_edge AS e ON e.task = gone.value
       )""",
    "DELETE FROM taskcore_key WHERE task IN (SELECT value FROM json_each(:ids))",
    "DELETE FROM taskcore_tag WHERE task IN (SELECT value FROM json_each(:ids))",
    "DELETE FROM taskcore_attempt WHERE task IN (SELECT value FROM json_each(:ids))",
    "UPDATE taskcore_task SET parent = NULL WHERE id IN (SELECT value FROM json_each(:ids)) AND parent IS NOT NULL",
    "DELETE FROM taskcore_task WHERE id IN (SELECT value FROM json_each(:ids))",
)


def delete(tx: Transaction, ids: Collection[int]) -> int:
    """Remove ended tasks, but those that something unfinished depends on, and parents of what stays. → how many.

    Their ids are not given again.
    """
    tasks = {task for (task,) in tx.execute(_DELETABLE, {"ids": json.dumps(list(ids))}).fetchall()}
    while needed := tx.execute(_WITH_CHILDREN, {"ids": json.dumps(list(tasks))}).fetchall():
        tasks.difference_update(task for (task,) in needed)
    tx.execute(
        "UPDATE taskcore_meta SET value = max(CAST(value AS INTEGER), ?) WHERE key = 'last_id'", (tx.known.last_id,)
    )
    for statement in _FORGET:
        tx.execute(statement, {"ids": json.dumps(list(tasks))})
    return len(tasks)

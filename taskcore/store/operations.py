"""What people do to tasks from outside: cancel, pause, resume, rerun, set_priority, hide, delete.

Every verb takes many ids, moves those whose phase allows it, and says how many it moved.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from typing import Any, Final

from taskcore.core import lifecycle
from taskcore.core.errors import DependencyCycle
from taskcore.store import dependencies, hierarchy, serial, settle, steps, suspension
from taskcore.store.transaction import Transaction
from taskcore.store.transitions import by_row, leaving, target

_AMONG: Final = "FROM json_each(:ids) AS wanted CROSS JOIN taskcore_task AS t ON t.id = wanted.value"
_IN_PHASES: Final = f"SELECT t.id {_AMONG} WHERE +t.phase IN (SELECT value FROM json_each(:phases)) ORDER BY t.id"


def _pick(tx: Transaction, ids: Collection[int], phases: str) -> list[int]:
    return _found(tx, _IN_PHASES, ids=json.dumps(list(ids)), phases=phases)


def _found(tx: Transaction, statement: str, **values: Any) -> list[int]:
    return [task for (task,) in tx.execute(statement, values).fetchall()]


_ENDED: Final = json.dumps(lifecycle.FROM["rerun"])
_UNBEGUN: Final = """
    SELECT id FROM taskcore_task WHERE id BETWEEN :first AND :last AND finished_at IS NULL AND phase <> 'running'"""


def cancel(tx: Transaction, ids: Collection[int], now: float, reason: str | None) -> int:
    """End what is not running, and everything below; ask what is running to stop. → how many ended."""
    return settle.cancel(tx, hierarchy.below(tx, ids), now, reason)


def cancel_unbegun(tx: Transaction, first: int, last: int, now: float) -> int:
    """Cancel those of a span of ids that do not run. → how many."""
    return cancel(tx, _found(tx, _UNBEGUN, first=first, last=last), now, "cancelled at shutdown")


# A job that was open says so while it is paused, and is open again when it is resumed.
_PAUSE: Final = f"""
    UPDATE taskcore_task SET held = 1, phase = {target("pause")},
        waiting_for = CASE WHEN phase = 'suspended' THEN 'children' ELSE waiting_for END
    WHERE id IN (SELECT value FROM json_each(:ids)) AND (job IS NOT NULL OR +phase <> 'suspended')
    AND {leaving("pause", phase="+phase")} RETURNING id"""
_RESUME: Final = f"""
    UPDATE taskcore_task SET held = 0,
        phase = {by_row("let go", open="job IS NOT NULL AND waiting_for = 'children'")},
        waiting_for = CASE WHEN waiting_for = 'children' THEN NULL ELSE waiting_for END
    WHERE id IN (SELECT value FROM json_each(:ids)) AND {leaving("resume", phase="+phase")} RETURNING id"""
_HOLD_LATER: Final = """
    UPDATE taskcore_task SET held = :held
    WHERE id IN (SELECT value FROM json_each(:ids)) AND held <> :held AND +phase IN ('running', 'suspended')
    RETURNING id"""


def pause(tx: Transaction, ids: Collection[int], now: float) -> int:
    """Hold what has not begun, and jobs with all below them; what is running or suspended is held as soon as it comes
    back. → how many."""
    text = json.dumps(hierarchy.below_jobs(tx, ids))
    tasks = _found(tx, _PAUSE, ids=text)
    tx.uncount(json.dumps(tasks))
    later = _found(tx, _HOLD_LATER, ids=text, held=1)
    tx.requested.extend(later)
    settle.moved(tx, tasks, now)
    return len(tasks) + len(later)


def resume(tx: Transaction, ids: Collection[int], now: float) -> int:
    """Let go what is held, and with a job all below it. → how many."""
    text = json.dumps(hierarchy.below_jobs(tx, ids))
    tasks = _found(tx, _RESUME, ids=text)
    busy = _found(tx, _HOLD_LATER, ids=text, held=0)
    settle.released(tx, tasks, now)
    return len(tasks) + len(busy)


# Below in the graph: what depends on one of them, or on a job that is opened again since it has one of them below it;
# and the children of the jobs among that, which run again with them.
_DOWNSTREAM: Final = """
    WITH RECURSIVE below (id, anew, job) AS (
        SELECT t.id, 1, t.job IS NOT NULL
        FROM json_each(:ids) AS first CROSS JOIN taskcore_task AS t ON t.id = first.value
        UNION
        SELECT t.id, 1, t.job IS NOT NULL FROM below CROSS JOIN taskcore_edge AS e ON e.upstream = below.id
        CROSS JOIN taskcore_task AS t ON t.id = e.task WHERE below.anew OR below.job
        UNION
        SELECT p.id, 0, p.job IS NOT NULL FROM below CROSS JOIN taskcore_task AS t ON t.id = below.id
        CROSS JOIN taskcore_task AS p ON p.id = t.parent AND p.finished_at IS NOT NULL
        UNION
        SELECT c.id, 1, c.job IS NOT NULL FROM below
        CROSS JOIN taskcore_task AS j ON j.id = below.id AND j.finished_at IS NOT NULL
        CROSS JOIN taskcore_task AS c ON c.parent = j.id WHERE below.anew AND below.job
    )
    SELECT json_group_array(DISTINCT t.id) FROM below CROSS JOIN taskcore_task AS t ON t.id = below.id
    WHERE t.finished_at IS NOT NULL AND below.anew"""
_KEEP_SUCCESS: Final = f"""
    INSERT OR IGNORE INTO taskcore_attempt (task, number, worker, started_at, finished_at, outcome)
    SELECT t.id, t.attempts, t.worker, t.started_at, t.finished_at, 'succeeded' {_AMONG}
    WHERE +t.phase = 'succeeded' AND t.attempts > 0"""
# Another task may have taken the key of one that ended (`key_scope="unfinished"`). While that one has not ended, and
# where several are to have the same key again, the older ones stay ended.
_TAKEN: Final = f"""
    {_AMONG}
    CROSS JOIN taskcore_kind AS k ON k.id = t.kind
    CROSS JOIN taskcore_key AS has ON has.name = k.name AND has.key = t.key
    CROSS JOIN taskcore_task AS other ON other.id = has.task AND other.id <> t.id AND other.finished_at IS NULL"""
_REPLACED_BY: Final = f"SELECT other.id {_TAKEN}"
_REPLACED: Final = f"""
    SELECT t.id {_TAKEN}
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
    SELECT k.name, t.key, t.id {_AMONG} CROSS JOIN taskcore_kind AS k ON k.id = t.kind
    WHERE t.key IS NOT NULL AND t.id NOT IN (SELECT t.id {_TAKEN})"""
_RERUN: Final = f"""
    UPDATE taskcore_task SET phase = {by_row("live again", reopen="job IS NOT NULL")}, label = NULL,
        finished_at = NULL, greenfield = NULL, failures = 0, lapses = 0, ahead = 0, held = 0, worker = NULL,
        cancel_requested_at = NULL, progress = NULL, waiting_for = NULL,
        result = CASE WHEN phase = 'succeeded' OR job IS NOT NULL THEN NULL ELSE result END,
        last_error = CASE WHEN job IS NULL THEN last_error END
    WHERE id IN (SELECT value FROM json_each(:ids)) AND {leaving("rerun", phase="+phase")}"""


def rerun(tx: Transaction, ids: Collection[int], now: float, *, downstream: bool = False) -> int:
    """Ended tasks wait again, for a new life, and with a job its children. `downstream`: every ended task below them in
    the graph too. → how many, but for jobs that are only opened again.

    First all rows, then the edges that leave them, then those that enter, then one release for all.
    """
    tasks = _pick(tx, ids, _ENDED)
    tasks = _pick(tx, {*tasks, *hierarchy.made_of(tx, _with_their_keys(tx, tasks))}, _ENDED)
    if downstream and tx.known.has_edges:
        tasks = sorted(json.loads(tx.execute(_DOWNSTREAM, {"ids": json.dumps(tasks)}).fetchall()[0][0]))
    tasks = _with_their_keys(tx, tasks)
    _anew(tx, tasks, _count_up(tx, tasks), now)
    return len(tasks)


def replaced_by(connection: sqlite3.Connection, task: int) -> int | None:
    """The unfinished task that has taken the key of this one, which ended."""
    row = connection.execute(_REPLACED_BY, {"ids": json.dumps([task])}).fetchone()
    return None if row is None else int(row[0])


def _with_their_keys(tx: Transaction, tasks: Collection[int]) -> list[int]:
    """Without those whose key another one has."""
    replaced = set(_found(tx, _REPLACED, ids=json.dumps(list(tasks))))
    return [task for task in tasks if task not in replaced]


def reopen(tx: Transaction, jobs: Collection[int], now: float) -> None:
    """Ended jobs that have something unfinished below them, which is counted already."""
    _anew(tx, [], jobs, now)


def _count_up(tx: Transaction, tasks: Collection[int]) -> list[int]:
    """For those above, what is in these finished subtrees is unfinished again. → the jobs to be opened again."""
    if not tx.known.has_families:
        return []
    parents = tx.execute(_ROOTS, {"ids": json.dumps(list(tasks))}).fetchall()
    return hierarchy.unfinish(tx, dict(parents), born=False, spared=tasks)


_ROOTS: Final = f"SELECT t.parent, sum(t.open = 0) {_AMONG} WHERE t.parent IS NOT NULL GROUP BY t.parent"


def _anew(tx: Transaction, tasks: Collection[int], jobs: Collection[int], now: float) -> None:
    """A new life for these tasks, and for these jobs as they are, above the former."""
    both = [*tasks, *jobs]
    text = json.dumps(both)
    tx.uncount(text)
    hierarchy.tally(tx, both, -1)
    tx.execute(_KEEP_SUCCESS, {"ids": text})
    succeeded = json.dumps(_pick(tx, tasks, json.dumps(["succeeded"])))
    for statement in steps.FORGET:
        tx.execute(statement, {"ids": succeeded})
    tx.execute(steps.WAIT_ANEW, {"ids": text})
    tx.execute(_RERUN, {"ids": text})
    tx.execute(_TAKE_KEY, {"ids": text})
    hierarchy.gate(tx, both)
    serial.again(tx, both)
    dependencies.propagate(tx, both, now)
    dependencies.link(tx, both, now)
    serial.give_way(tx, both, now)
    settle.released(tx, both, now)


_NOT_WELL: Final = """
    WITH RECURSIVE unwell (id, job, parent) AS (
        SELECT t.id, t.job, NULL FROM json_each(?) AS child CROSS JOIN taskcore_task AS t ON t.id = child.value
        WHERE t.phase IN ('failed', 'cancelled', 'skipped')
        UNION
        SELECT t.id, t.job, t.parent FROM unwell CROSS JOIN taskcore_task AS t ON t.parent = unwell.id
        WHERE unwell.job IS NOT NULL AND t.phase IN ('failed', 'cancelled', 'skipped')
    )
    SELECT id FROM unwell WHERE job IS NULL OR id NOT IN (SELECT parent FROM unwell WHERE parent IS NOT NULL)"""


def mend(tx: Transaction, children: Collection[int], now: float) -> int:
    """Those of the children that ended, but did not succeed, get a new life; of jobs, the same of their children, and
    what succeeded stays. → how many."""
    tasks = [task for (task,) in tx.execute(_NOT_WELL, (json.dumps(list(children)),)).fetchall()]
    if tasks:
        _anew(tx, tasks, _count_up(tx, tasks), now)
    return len(tasks)


def depend(tx: Transaction, task: int, upstream: int, wants: str, otherwise: str, now: float) -> None:
    """Add an edge to one task, and do what follows. `DependencyCycle` also on what is a part of it, or waits for a job
    that it is a part of."""
    dependencies.depend(tx, [task], upstream, wants, otherwise, now)
    if tx.known.has_jobs and hierarchy.waits(tx, [upstream], [task]):
        raise DependencyCycle([task, upstream, task])
    serial.needed(tx, upstream, now)
    settle.settle(tx, now)


def signal(tx: Transaction, task: int, name: str, payload: str, now: float) -> bool:
    """Tell a task something that its body waits for, or will. → whether it was stored: it has not ended."""
    stored = suspension.signal(tx, task, name, payload, now)
    settle.settle(tx, now)
    return stored


def set_priority(tx: Transaction, ids: Collection[int], priority: int) -> int:
    """Of tasks that have not ended. → how many."""
    changed: int = tx.execute(
        """UPDATE taskcore_task SET priority = :priority
           WHERE id IN (SELECT value FROM json_each(:ids)) AND finished_at IS NULL AND priority <> :priority""",
        {"ids": json.dumps(list(ids)), "priority": priority},
    ).rowcount
    return changed


def hide(tx: Transaction, ids: Collection[int], hidden: bool) -> int:
    text = json.dumps(list(ids))
    tx.uncount(text)
    changed: int = tx.execute(
        """UPDATE taskcore_task SET hidden = :hidden
           WHERE id IN (SELECT value FROM json_each(:ids)) AND hidden <> :hidden""",
        {"ids": text, "hidden": int(hidden)},
    ).rowcount
    return changed


_DELETABLE: Final = f"""
    SELECT t.id {_AMONG}
    WHERE t.finished_at IS NOT NULL
    AND NOT EXISTS (
        SELECT 1 FROM taskcore_edge AS e CROSS JOIN taskcore_task AS below ON below.id = e.task
        WHERE e.upstream = t.id AND below.finished_at IS NULL
    )
    AND t.open = 0 AND NOT EXISTS (
        SELECT 1 FROM taskcore_task AS p WHERE p.id = t.parent AND p.finished_at IS NULL
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
    *(
        "DELETE FROM taskcore_# WHERE task IN (SELECT value FROM json_each(:ids))".replace("#", table)
        for table in ("edge", "key", "tag", "text", "attempt", "log")
    ),
    "DELETE FROM taskcore_tally WHERE job IN (SELECT value FROM json_each(:ids))",
    *steps.FORGET,
    "UPDATE taskcore_task SET parent = NULL WHERE id IN (SELECT value FROM json_each(:ids)) AND parent IS NOT NULL",
    "DELETE FROM taskcore_task WHERE id IN (SELECT value FROM json_each(:ids))",
)

FIRES: Final = 10_000
"""The newest fires of a schedule, which are remembered when their tasks are gone: the clock may be set back."""
_FIRED: Final = "SELECT DISTINCT schedule FROM taskcore_fire WHERE task IN (SELECT value FROM json_each(:ids))"
_FORGET_FIRES: Final = f"""
    DELETE FROM taskcore_fire WHERE schedule = :name AND due_at <= (
        SELECT due_at FROM taskcore_fire WHERE schedule = :name ORDER BY due_at DESC LIMIT 1 OFFSET {FIRES})"""


def delete(tx: Transaction, ids: Collection[int]) -> int:
    """Remove ended tasks, but those that something unfinished depends on or is the parent of, and parents of what
    stays. → how many.

    Their ids are not given again.
    """
    tasks = set(_found(tx, _DELETABLE, ids=json.dumps(list(ids))))
    while needed := _found(tx, _WITH_CHILDREN, ids=json.dumps(list(tasks))):
        tasks.difference_update(needed)
    tx.execute(
        "UPDATE taskcore_meta SET value = max(CAST(value AS INTEGER), ?) WHERE key = 'last_id'", (tx.known.last_id,)
    )
    text = json.dumps(list(tasks))
    for (name,) in tx.execute(_FIRED, {"ids": text}).fetchall():
        tx.execute(_FORGET_FIRES, {"name": name})
    tx.uncount(text)
    for statement in _FORGET:
        tx.execute(statement, {"ids": text})
    return len(tasks)

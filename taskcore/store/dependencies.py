"""Dependencies: what an edge's verdict is, and what follows from it for the tasks below.

The verdict is kept in the edge, and the number of edges that hold a task back in the task. An upstream that moved costs
what its own edges cost; nothing here looks at the rest of the graph.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Final

from taskcore.core import lifecycle
from taskcore.core.errors import DependencyCycle, InvalidTransition, TaskNotFound, UnknownStatus
from taskcore.store.cache import Known
from taskcore.store.ids import About, listed
from taskcore.store.transaction import Transaction
from taskcore.store.transitions import by_row, leaving, target, where_left

# `u` is the upstream, `e` the edge. An edge is met by what the upstream is, not by how it came to be it.
VERDICT: Final = """
    CASE
    WHEN e.wants = u.phase OR e.wants = u.label
        OR (e.wants = 'finished' AND u.finished_at IS NOT NULL)
        OR (e.wants = 'pending'
            AND (u.phase = 'waiting' OR u.phase = 'scheduled' OR u.phase = 'ready' OR u.phase = 'paused')) THEN 'met'
    WHEN u.finished_at IS NULL OR e.otherwise = 'wait' THEN 'unmet'
    WHEN e.otherwise = 'drop' THEN 'dropped'
    ELSE 'doomed' END"""


def _edges(end: str, found: str) -> tuple[str, str]:
    """Two statements on the edges that have one of :ids at this `end`, and are `found` so.

    Of those whose verdict is another one now, in one row: the change of `blockers` per task as JSON, how many edges
    doom their task, how many tasks are touched. And one that records the verdicts of all.
    """
    changes = f"""
    SELECT json_group_array(json_array(task, change)), ifnull(sum(doomed), 0), count(*)
    FROM (
        SELECT task, sum((new IN ('unmet', 'doomed')) - (old IN ('unmet', 'doomed'))) AS change,
            sum(new = 'doomed') AS doomed
        FROM (
            SELECT e.task AS task, e.verdict AS old, {VERDICT} AS new FROM json_each(:ids) AS moved {found}
            WHERE new <> old
        ) GROUP BY task
    )"""
    record = f"""
    UPDATE taskcore_edge AS e SET verdict = (SELECT {VERDICT} FROM taskcore_task AS u WHERE u.id = e.upstream)
    WHERE {end} IN (SELECT value FROM json_each(:ids))"""
    return changes, record


_LEAVING: Final = _edges("upstream", """
    CROSS JOIN taskcore_task AS u ON u.id = moved.value
    CROSS JOIN taskcore_edge AS e ON e.upstream = u.id""")  # fmt: skip
_ENTERING: Final = _edges("task", """
    CROSS JOIN taskcore_edge AS e ON e.task = moved.value
    CROSS JOIN taskcore_task AS u ON u.id = e.upstream""")  # fmt: skip

# The release rule. What is held is paused; what has a time to come is scheduled; a job waits for its children;
# everything else may be claimed.
_FREED: Final = by_row("free", pause="held = 1", schedule="greenfield > :now", open="job IS NOT NULL")
_FREED_GREENFIELD: Final = "CASE WHEN held = 1 OR greenfield > :now THEN greenfield END"

_APPLY: Final = f"""
    UPDATE taskcore_task SET
        blockers = blockers + {{change}},
        phase = CASE
            WHEN blockers + {{change}} > 0 THEN {where_left("block")}
            WHEN {leaving("release")} THEN {_FREED} ELSE phase END,
        greenfield = CASE
            WHEN {leaving("release")} AND blockers + {{change}} = 0 THEN {_FREED_GREENFIELD} ELSE greenfield END
    {{to}}"""
_CHANGES_APPLIED: Final = _APPLY.format(
    change="delta.change",
    to="""FROM (SELECT value->>0 AS task, value->>1 AS change FROM json_each(:changes)) AS delta
    WHERE taskcore_task.id = delta.task""",
)

WOKEN: Final = f"""CASE WHEN blockers = 0 OR held = 1
    THEN {by_row("free", pause="held = 1", schedule="0", open="0")} ELSE {target("wake")} END"""
"""The phase of a body that wakes: the release rule decides at once, and it has no time to come."""

_RELEASE: Final = f"""
    UPDATE taskcore_task SET phase = {_FREED}, greenfield = {_FREED_GREENFIELD}
    WHERE id IN (SELECT value FROM json_each(:ids)) AND {leaving("release", phase="+phase")}
        AND (blockers = 0 OR held = 1)"""

_DOOMED: Final = """
    SELECT json_group_array(json_array(task, cause)) FROM (
        SELECT e.task AS task, min(e.upstream) AS cause
        FROM json_each(:ids) AS doomed
        CROSS JOIN taskcore_edge AS e ON e.task = doomed.value AND e.verdict = 'doomed'
        CROSS JOIN taskcore_task AS t ON t.id = e.task AND +t.phase IN ('waiting', 'scheduled', 'ready')
            AND t.cancel_requested_at IS NULL
        GROUP BY e.task
    )"""
# The whole fall at once: who is skipped dooms those that wanted anything of it but to be skipped or ended, and the
# children of a job that never opened. A job that was asked to cancel ends as cancelled.
_FALL: Final = """
    WITH RECURSIVE fall (id, cause) AS (
        SELECT value->>0, value->>1 FROM json_each(:seeds)
        UNION
        SELECT e.task, e.upstream
        FROM fall
        CROSS JOIN taskcore_edge AS e
            ON e.upstream = fall.id AND e.otherwise = 'skip' AND e.wants NOT IN ('skipped', 'finished')
        CROSS JOIN taskcore_task AS t ON t.id = e.task AND +t.phase IN ('waiting', 'scheduled', 'ready')
            AND t.cancel_requested_at IS NULL
        UNION
        SELECT c.id, c.parent
        FROM fall
        CROSS JOIN taskcore_task AS j ON j.id = fall.id AND j.job IS NOT NULL
        CROSS JOIN taskcore_task AS c
            ON c.parent = j.id AND +c.phase IN ('waiting', 'scheduled', 'ready', 'paused')
            AND c.cancel_requested_at IS NULL
    )
    SELECT json_group_array(json_array(id, cause)), json_group_array(id)
    FROM (SELECT id, min(cause) AS cause FROM fall GROUP BY id)"""

_SKIP: Final = f"""
    UPDATE taskcore_task SET
        phase = {target("skip")}, finished_at = :now, greenfield = NULL,
        last_error = '#' || fallen.cause || ' ' || (
            SELECT 'is ' || CASE WHEN u.finished_at IS NULL THEN 'skipped' ELSE ifnull(u.label, u.phase) END
            FROM taskcore_task AS u WHERE u.id = fallen.cause
        ) || ifnull((
            SELECT ', not ' || e.wants FROM taskcore_edge AS e
            WHERE e.upstream = fallen.cause AND e.task = taskcore_task.id
        ), '') || ifnull((
            SELECT ' (' || substr(u.last_error, 1, 200) || ')'
            FROM taskcore_task AS u WHERE u.id = fallen.cause AND u.phase IN ('failed', 'cancelled')
        ), '')
    FROM (SELECT value->>0 AS task, value->>1 AS cause FROM json_each(:fallen)) AS fallen
    WHERE taskcore_task.id = fallen.task AND {leaving("skip", phase="+taskcore_task.phase")}"""


def propagate(tx: Transaction, moved: Collection[int], now: float) -> None:
    """Bring everything below these tasks up to date, after they moved, in the same transaction."""
    if tx.known.has_edges and moved:
        _follow(tx, json.dumps(list(moved)), now, _LEAVING)


# The same for tasks that succeeded in a file where that is all that any edge asks for: two thirds of the work.
_SUCCESSES_APPLIED: Final = _APPLY.format(
    change="delta.change",
    to="""FROM (
        SELECT e.task AS task, -count(*) AS change FROM json_each(:ids) AS ended
        CROSS JOIN taskcore_edge AS e ON e.upstream = ended.value WHERE e.verdict = 'unmet' GROUP BY e.task
    ) AS delta WHERE taskcore_task.id = delta.task""",
)
_SUCCESSES_RECORD: Final = """
    UPDATE taskcore_edge SET verdict = 'met'
    WHERE upstream IN (SELECT value FROM json_each(:ids)) AND verdict = 'unmet'"""
_SUCCESS_RECORD: Final = """
    UPDATE taskcore_edge SET verdict = 'met' WHERE upstream = ? AND verdict = 'unmet' RETURNING task"""
_SUCCESS_APPLIED: Final = About(_APPLY.format(
    change="-1", to="WHERE id IN (SELECT value FROM json_each(:ids)) RETURNING greenfield IS NOT NULL"
))  # fmt: skip

_BELOW: Final = """
    SELECT json_group_array(DISTINCT e.task) FROM json_each(?) AS ended
    CROSS JOIN taskcore_edge AS e ON e.upstream = ended.value"""
_SUCCESS_OPENED: Final = """
    SELECT json_group_array(t.id) FROM json_each(:ids) AS ended
    CROSS JOIN taskcore_edge AS e ON e.upstream = ended.value
    CROSS JOIN taskcore_task AS t ON t.id = e.task AND t.job IS NOT NULL"""


def succeeded(tx: Transaction, tasks: Sequence[int], now: float) -> None:
    """`propagate` for tasks that have just succeeded."""
    if tx.known.has_unusual:
        propagate(tx, tasks, now)
    elif tx.known.has_edges and tasks:
        if tx.known.has_counts:
            tx.uncount(tx.execute(_BELOW, (listed(tasks),)).fetchall()[0][0])
        if _count_down(tx, tasks, now):
            tx.freed = True
            if tx.known.has_jobs:
                opened = tx.execute(_SUCCESS_OPENED, {"ids": listed(tasks)}).fetchall()[0][0]
                tx.opened.extend(json.loads(opened))


def _count_down(tx: Transaction, tasks: Sequence[int], now: float) -> bool:
    """What these held up has so much less to wait for. → whether there is any."""
    if len(tasks) > 1:
        values = {"ids": listed(tasks), "now": now}
        tx.timed, held_up = True, tx.execute(_SUCCESSES_APPLIED, values).rowcount > 0
        if held_up:
            tx.execute(_SUCCESSES_RECORD, values)
        return held_up
    waiting = [task for (task,) in tx.execute(_SUCCESS_RECORD, tasks).fetchall()]
    if waiting:
        timed = _SUCCESS_APPLIED.run(tx.execute, waiting, now=now).fetchall()
        tx.timed = tx.timed or (1,) in timed
    return bool(waiting)


def link(tx: Transaction, tasks: Collection[int], now: float) -> None:
    """Bring these tasks up to date with all they depend on: at birth, at a rerun, after a new edge."""
    if tx.known.has_edges and tasks:
        _follow(tx, json.dumps(list(tasks)), now, _ENTERING)


def release(tx: Transaction, tasks: Collection[int], now: float) -> None:
    """The release rule for tasks that are waiting: born, resumed, retried, lapsed, woken or rerun."""
    ids = json.dumps(list(tasks))
    tx.uncount(ids)
    tx.execute(_RELEASE, {"ids": ids, "now": now})
    released(tx, tasks, ids, now)


def released(tx: Transaction, tasks: Collection[int], ids: str, now: float) -> None:
    """What follows for others, and from edges that doom them."""
    tx.freed = tx.timed = True
    if tx.known.has_jobs:
        tx.opened.extend(tasks)
    if tx.known.has_edges:
        fallen = skip_doomed(tx, ids, now)
        propagate(tx, {*fallen, *tasks} if tx.known.has_guards else fallen, now)


def _follow(tx: Transaction, ids: str, now: float, edges: tuple[str, str]) -> None:
    """Level by level, as deep as it goes: it ends, for a graph has no cycle."""
    while True:
        changes, record = edges
        text, doomed, touched = tx.execute(changes, {"ids": ids}).fetchall()[0]
        if not touched:
            return
        tx.execute(record, {"ids": ids})  # first: it shall note what was counted, and the next may move upstreams too
        tasks = [task for task, _ in json.loads(text)]
        tx.uncount(json.dumps(tasks))
        tx.execute(_CHANGES_APPLIED, {"changes": text, "now": now})
        tx.freed = tx.timed = True
        if not (doomed or tx.known.has_guards or tx.known.has_jobs):
            return
        if tx.known.has_jobs:
            tx.opened.extend(tasks)
        moved = set(skip_doomed(tx, json.dumps(tasks), now)) if doomed else set()
        if tx.known.has_guards:
            moved.update(tasks)
        if not moved:
            return
        ids, edges = json.dumps(list(moved)), _LEAVING


def skip_doomed(tx: Transaction, candidates: str, now: float) -> list[int]:
    """End those of the candidates that an edge dooms, and whatever falls with them. → who ended."""
    seeds = tx.execute(_DOOMED, {"ids": candidates}).fetchall()[0][0]
    return [] if seeds == "[]" else skip(tx, seeds, now)


def skip(tx: Transaction, seeds: str, now: float) -> list[int]:
    """End these, JSON `[[task, who caused it], …]`, as skipped, and whatever falls with them, in one step however deep.
    → who ended."""
    fallen, ids = tx.execute(_FALL, {"seeds": seeds}).fetchall()[0]
    tx.uncount(ids)
    tx.execute(_SKIP, {"fallen": fallen, "now": now})
    skipped: list[int] = json.loads(ids)
    tx.end(skipped)
    return skipped


# -- making edges --------------------------------------------------------------------------------------------------


def watch(known: Known, wants: str) -> int:
    """How closely an edge must be watched that wants this: 0 success is enough, 1 another end, 2 it may cease to hold.
    `UnknownStatus` if it is nothing a task can be."""
    if wants in (lifecycle.SUCCEEDED, lifecycle.ANY_END):
        return 0
    if wants in lifecycle.RESERVED:
        return 1 if wants in lifecycle.ENDED else 2
    phase = known.statuses.get(wants)
    if phase is None:
        raise UnknownStatus(wants, (*lifecycle.PHASES, lifecycle.ANY_END, lifecycle.NOT_BEGUN, *known.statuses))
    return 1 if phase in lifecycle.ENDED else 2


_ADD: Final = """
    INSERT INTO taskcore_edge (upstream, task, wants, otherwise, verdict, watch) VALUES (?, ?, ?, ?, 'unmet', ?)"""


def add(tx: Transaction, rows: Collection[tuple[int, int, str, str, int]]) -> None:
    """Store (upstream, task, wants, otherwise, watch) as unmet edges. The tasks' `blockers` must count them already."""
    tx.executemany(_ADD, rows)
    tx.known.has_edges = True
    _notice(tx.known, max(row[4] for row in rows))


def lead_on(tx: Transaction, tasks: Collection[int]) -> bool:
    """Whether anything depends on one of these."""
    found = tx.execute(
        "SELECT 1 FROM json_each(?) AS one CROSS JOIN taskcore_edge AS e ON e.upstream = one.value LIMIT 1",
        (json.dumps(list(tasks)),),
    ).fetchone()
    return found is not None


def _notice(known: Known, watched: int) -> None:
    known.has_unusual = known.has_unusual or watched > 0
    known.has_guards = known.has_guards or watched == 2


def depend(tx: Transaction, tasks: Collection[int], upstream: int, wants: str, otherwise: str, now: float) -> None:
    """A new edge from each of these to one that exists, or another `wants` for the one there is.

    First all edges, then what follows from them: one of the tasks may be above another.
    """
    tasks = list(dict.fromkeys(tasks))
    blocked = [task for task in tasks if _attach(tx, task, upstream, wants, otherwise)]
    link(tx, tasks, now)
    propagate(tx, blocked, now)


def _attach(tx: Transaction, task: int, upstream: int, wants: str, otherwise: str) -> bool:
    """Make the edge, unmet as yet. → whether the task could have been claimed until now."""
    watched = watch(tx.known, wants)
    for task_id in (task, upstream):
        if not tx.execute("SELECT 1 FROM taskcore_task WHERE id = ?", (task_id,)).fetchone():
            raise TaskNotFound(task_id)
    phase, was_open = tx.execute(
        "SELECT phase, job IS NOT NULL AND waiting_for IS 'children' FROM taskcore_task WHERE id = ?", (task,)
    ).fetchone()
    if phase not in lifecycle.PENDING or was_open:
        raise InvalidTransition(task, phase, "get a dependency")
    refuse_cycle(tx, task, upstream)
    changed = tx.execute(
        "UPDATE taskcore_edge SET wants = ?, otherwise = ?, watch = ? WHERE upstream = ? AND task = ?",
        (wants, otherwise, watched, upstream, task),
    ).rowcount
    if changed:
        _notice(tx.known, watched)
    else:
        tx.uncount(json.dumps([task]))
        tx.execute(
            f"UPDATE taskcore_task SET blockers = blockers + 1, phase = {where_left('block')} WHERE id = ?", (task,)
        )
        add(tx, [(upstream, task, wants, otherwise, watched)])
    return phase in (lifecycle.READY, lifecycle.SCHEDULED)


_UPSTREAMS: Final = "SELECT upstream FROM taskcore_edge WHERE task = ?"
_REACHES: Final = """
    WITH RECURSIVE above (id) AS (
        VALUES (:upstream) UNION SELECT e.upstream FROM above CROSS JOIN taskcore_edge AS e ON e.task = above.id
    )
    SELECT 1 FROM above WHERE id = :task LIMIT 1"""


def refuse_cycle(tx: Transaction, task: int, upstream: int) -> None:
    """`DependencyCycle`, with its path, if `upstream` already depends on `task`."""
    if task != upstream and not tx.execute(_REACHES, {"task": task, "upstream": upstream}).fetchone():
        return
    came_from = {upstream: task}
    level = [upstream]
    while task not in level:
        level = [
            above
            for below in level
            for (above,) in tx.execute(_UPSTREAMS, (below,)).fetchall()
            if came_from.setdefault(above, below) == below
        ]
    path = [task]
    while len(path) == 1 or path[-1] != task:
        path.append(came_from[path[-1]])
    raise DependencyCycle(list(reversed(path)))

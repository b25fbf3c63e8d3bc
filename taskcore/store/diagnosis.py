"""What there is to know of one task's place: whom it waits for, what it lacks, who stands before it.

Only reads, all of one moment, and each of them looks at no more than some thousand rows, however large the file.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from taskcore.core import lifecycle
from taskcore.store import capacity
from taskcore.store.busy import one_moment
from taskcore.store.overview import Brief, briefs

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
    on. None where that is no longer there."""
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


# -- all that there is ---------------------------------------------------------------------------------------------

_TROUBLE: Final = """
    SELECT substr(ifnull(error_type || CASE error WHEN '' THEN '' ELSE ': ' END, '') || ifnull(error, ''), 1, 1000)
    FROM taskcore_attempt
    WHERE task = ? AND outcome IN ('failed', 'lapsed') AND (error_type IS NOT NULL OR error IS NOT NULL)
    ORDER BY number DESC LIMIT 1"""


def is_cause(error: str) -> bool:
    """Whether that is the text with which a task is skipped."""
    return _CAUSE.match(error) is not None


def _rows(connection: Any, tasks: Collection[int]) -> tuple[Brief, ...]:
    """Ascending."""
    return tuple(briefs(connection, sorted(tasks)))


def _row(connection: Any, task: int | None) -> Brief | None:
    return next(iter(_rows(connection, () if task is None else (task,))), None)


def _number(connection: Any, statement: str, values: Any) -> int:
    """How many rows, up to one more than `MANY`; no more are looked for."""
    return len(connection.execute(statement, values).fetchmany(MANY + 1))


def facts(connection: sqlite3.Connection, task: int, now: float, worker: str, kinds: Collection[int]) -> Facts | None:
    """Of one task, for this worker, which takes these kinds; `None` if there is no such task."""
    with one_moment(connection):
        own = _row(connection, task)
        if own is None:
            return None
        more: dict[str, Any] = _LOOKS[own.phase](connection, own) if own.phase in _LOOKS else {}
        if own.phase == lifecycle.READY:
            more = _queued(connection, own, now, worker, kinds)
        trouble = connection.execute(_TROUBLE, (task,)).fetchone()
        return Facts(own, None if trouble is None else trouble[0], **more)


# -- not released --------------------------------------------------------------------------------------------------

_EDGES: Final = "SELECT 1 FROM taskcore_edge WHERE task = ?"
_UNMET: Final = f"""
    SELECT upstream, wants FROM (
        SELECT upstream, wants, verdict FROM taskcore_edge WHERE task = ? ORDER BY upstream LIMIT {MANY}
    ) WHERE verdict = 'unmet' OR verdict = 'doomed' LIMIT {FEW}"""
_UNMET_LAST: Final = _UNMET.replace("ORDER BY upstream", "ORDER BY upstream DESC")
_FIRST: Final = "SELECT task FROM taskcore_queue WHERE serial = ? ORDER BY place LIMIT 1"
_BETWEEN: Final = """
    SELECT 1 FROM taskcore_queue AS own CROSS JOIN taskcore_queue AS q ON q.serial = own.serial AND q.place < own.place
    WHERE own.task = ?"""
_ABOVE: Final = """
    WITH RECURSIVE above (id, parent, depth) AS (
        SELECT p.id, p.parent, 1 FROM taskcore_task AS p WHERE p.id = ?
        UNION ALL
        SELECT p.id, p.parent, above.depth + 1 FROM above CROSS JOIN taskcore_task AS p ON p.id = above.parent
        WHERE above.depth < 100
    )
    SELECT t.id, t.held, t.gated, t.blockers FROM above CROSS JOIN taskcore_task AS t ON t.id = above.id
    WHERE t.job IS NOT NULL AND t.finished_at IS NULL ORDER BY above.depth"""


def _blocked(connection: Any, own: Brief) -> Blocked:
    unmet, edges, some = own.blockers - own.gated - own.behind, 0, []
    if unmet:
        edges = _number(connection, _EDGES, (own.id,))
        some = connection.execute(_UNMET, (own.id,)).fetchall()
        some = some or connection.execute(_UNMET_LAST, (own.id,)).fetchall()
    wants = dict(some)
    peers = _rows(connection, list(wants))
    first, between = None, 0
    if own.behind:
        found = connection.execute(_FIRST, (own.serial,)).fetchone()
        first = None if found is None else _row(connection, found[0])
        between = max(0, _number(connection, _BETWEEN, (own.id,)) - 1)
    return Blocked(edges, unmet, tuple((peer, wants[peer.id]) for peer in peers), first, between)


def _waiting(connection: Any, own: Brief) -> dict[str, Any]:
    more: dict[str, Any] = {"blocked": _blocked(connection, own)}
    if own.gated:
        jobs = connection.execute(_ABOVE, (own.parent,)).fetchall()
        if jobs:
            more["job"] = _row(connection, jobs[0][0])
            # As long as a job waits for nothing but the next one above to begin.
            chosen = next((job for job, _, gated, blockers in jobs if not (gated and blockers == 1)), jobs[-1][0])
            root = _row(connection, chosen)
            assert root is not None
            more["root"] = (root, _blocked(connection, root))
    return more


def _paused(connection: Any, own: Brief) -> dict[str, Any]:
    held = [job for job, held, _, _ in connection.execute(_ABOVE, (own.parent,)).fetchall() if held]
    return {**_waiting(connection, own), "holder": _row(connection, held[0]) if held else None}


# -- asleep, and ended ---------------------------------------------------------------------------------------------

_SLEEPS: Final = "SELECT upstream FROM taskcore_join WHERE task = ?"
_UNFINISHED: Final = f"""
    SELECT id FROM (
        SELECT id, finished_at, open FROM taskcore_task WHERE parent = ? ORDER BY id LIMIT {MANY}
    ) WHERE finished_at IS NULL OR open > 0 LIMIT {FEW}"""
_UNFINISHED_LAST: Final = _UNFINISHED.replace("ORDER BY id", "ORDER BY id DESC")
_FAILED: Final = f"""
    SELECT id FROM (SELECT id, phase FROM taskcore_task WHERE parent = ? ORDER BY id LIMIT {MANY})
    WHERE phase = 'failed' LIMIT {FEW}"""
_COUNTS: Final = "SELECT status, n FROM taskcore_tally WHERE job = ? AND n > 0 ORDER BY status LIMIT 10"
_WANTED: Final = "SELECT wants FROM taskcore_edge WHERE upstream = ? AND task = ?"
_CAUSE: Final = re.compile(r"#(\d{1,18}) is ")
_DEEP: Final = 100_000
"""Tasks skipped one for the other that are gone through at most, to the root of it."""


def _suspended(connection: Any, own: Brief) -> dict[str, Any]:
    if own.job is not None:
        found = connection.execute(_UNFINISHED, (own.id,)).fetchall()
        found = found or connection.execute(_UNFINISHED_LAST, (own.id,)).fetchall()
        return {"children": _rows(connection, [child for (child,) in found])}
    some = connection.execute(f"{_SLEEPS} ORDER BY upstream LIMIT {FEW}", (own.id,)).fetchall()
    return {
        "sleeps": _number(connection, _SLEEPS, (own.id,)),
        "sleeps_for": _rows(connection, [upstream for (upstream,) in some]),
    }


def _ended(connection: Any, own: Brief) -> dict[str, Any]:
    if own.job is None:
        return {"parent": _row(connection, own.parent)}
    failed = connection.execute(_FAILED, (own.id,)).fetchall() if own.phase == lifecycle.FAILED else []
    return {
        "parent": _row(connection, own.parent),
        "children": _rows(connection, [child for (child,) in failed]),
        "counts": tuple(connection.execute(_COUNTS, (own.id,)).fetchall()),
    }


def _skipped(connection: Any, own: Brief) -> dict[str, Any]:
    """Whom it was skipped for is in its row's text, and so on up to one that was not skipped."""
    causes: dict[int, Brief] = {}
    wanted, text = None, own.last_error
    while text is not None and len(causes) < _DEEP:
        found = _CAUSE.match(text)
        peer = _row(connection, int(found[1])) if found else None
        if peer is None or peer.id in causes:  # none of our files has such a circle
            break
        if not causes:
            wanted = connection.execute(_WANTED, (peer.id, own.id)).fetchone()
        causes[peer.id] = peer
        text = peer.last_error if peer.phase == lifecycle.SKIPPED else None
    return {"causes": tuple(causes.values()), "wanted": None if wanted is None else wanted[0]}


_LOOKS: Final = {
    lifecycle.WAITING: _waiting,
    lifecycle.PAUSED: _paused,
    lifecycle.SUSPENDED: _suspended,
    **dict.fromkeys(lifecycle.ENDED, _ended),
    lifecycle.SKIPPED: _skipped,
}

# -- ready ---------------------------------------------------------------------------------------------------------

_BEFORE: Final = """
    SELECT 1 FROM json_each(:kinds) AS k CROSS JOIN taskcore_task AS t
    ON t.kind = k.value AND t.phase = 'ready' AND t.priority > :priority
    UNION ALL
    SELECT 1 FROM json_each(:kinds) AS k CROSS JOIN taskcore_task AS t
    ON t.kind = k.value AND t.phase = 'ready' AND t.priority = :priority AND t.ahead > :ahead
    UNION ALL
    SELECT 1 FROM json_each(:kinds) AS k CROSS JOIN taskcore_task AS t
    ON t.kind = k.value AND t.phase = 'ready' AND t.priority = :priority AND t.ahead = :ahead AND t.id < :id"""
# As a claim counts it, from what runs: that is no more than all engines together have threads, and a little ahead.
_HOLDERS: Final = """
    SELECT id, part FROM (
        SELECT t.id, CASE WHEN 'name:' || k.name = :what THEN 1
            ELSE (SELECT value FROM json_each(k.options, '$.uses') WHERE key = :what) END AS part
        FROM taskcore_task AS t CROSS JOIN taskcore_kind AS k ON k.id = t.kind
        WHERE t.phase = 'running' AND t.phase NOT IN ('ready', 'succeeded') LIMIT 20000
    ) WHERE part > 0"""
_HOLD: Final = "SELECT name FROM taskcore_hold WHERE name = '' OR name = ? ORDER BY name LIMIT 1"
_AVOIDS: Final = f"SELECT 1 FROM taskcore_task AS t WHERE t.id = ? AND ? IN ({capacity.AVOIDED})"
_ENGINES: Final = "SELECT name, lane FROM taskcore_worker WHERE ended_at IS NULL AND lane IS NOT NULL ORDER BY lane"


def _queued(connection: Any, own: Brief, now: float, worker: str, kinds: Collection[int]) -> dict[str, Any]:
    values = {"kinds": json.dumps(list(kinds)), "priority": own.priority, "ahead": own.ahead, "id": own.id}
    hold = connection.execute(_HOLD, (own.name,)).fetchone()
    avoids = json.loads(own.options).get("avoid_failed_worker", False)
    return {
        "hold": None if hold is None else hold[0],
        "rations": _rations(connection, own),
        "turn": _turn(connection, own, now),
        "rate": capacity.rests(connection, now).get(own.name),
        "before": _number(connection, _BEFORE, values),
        "avoids": bool(avoids and connection.execute(_AVOIDS, (own.id, worker)).fetchone()),
        "engines": tuple(connection.execute(_ENGINES).fetchall()),
    }


def _turn(connection: Any, own: Brief, now: float) -> tuple[int, str] | None:
    limits, place = capacity.limits(connection), (-own.priority, -own.ahead, own.id)
    for name in json.loads(own.options).get("uses", {}):
        first = capacity.served_first(connection, name, limits[name], place, now) if name in limits else None
        if first is not None:
            return first, name
    return None


def _rations(connection: Any, own: Brief) -> tuple[Ration, ...]:
    needs, limits = json.loads(own.options).get("uses", {}), capacity.limits(connection)
    of_the_name = f"name:{own.name}"
    if of_the_name in limits:
        needs[of_the_name] = 1
    short = []
    for name, need in needs.items():
        parts = dict(connection.execute(_HOLDERS, {"what": name}).fetchall())
        used, limit = sum(parts.values()), limits.get(name)
        if limit is None or need > limit - used:
            short.append(Ration(name, need, limit, used, tuple(sorted(parts))))
    return tuple(short)

"""What pictures and reports are made from: many rows a query, and of each no more than is drawn."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, Final, NamedTuple

from taskcore.store.columns import OF_IDS, selected
from taskcore.store.overview import NODE, Brief
from taskcore.store.queries import Where

MOST: Final = 60_000
"""Tasks that a picture is made from: the newest of more."""
FAMILY: Final = 500_000
"""Tasks that are found below a job, or in each direction from a task."""
EDGES: Final = 300_000
"""Edges, or attempts, that it is made from."""


class Edge(NamedTuple):
    """`task` waits until `upstream` is what `wants` asks. `verdict`: unmet, met, dropped or doomed."""

    upstream: int
    task: int
    wants: str
    otherwise: str
    verdict: str


class Past(NamedTuple):
    """One attempt that is over."""

    task: int
    number: int
    worker: str | None
    started_at: float
    finished_at: float
    outcome: str
    error: str | None


class Tally(NamedTuple):
    """How many tasks of a name are in a phase, and how many seconds their last attempts took together. All jobs are
    counted under `None`: each may have a name of its own."""

    name: str | None
    phase: str
    n: int
    seconds: float


class Failure(NamedTuple):
    """What failed in one way: its name, what was said, how often, and the newest such task."""

    name: str
    error: str | None
    n: int
    newest: int


_NODES: Final = f"SELECT {selected(NODE)} {OF_IDS} ORDER BY t.id"


def nodes(connection: Any, ids: Collection[int]) -> list[Brief]:
    """These tasks, ascending; those that do not exist are left out."""
    return [Brief(*row) for row in connection.execute(_NODES, (_listed(ids),)).fetchall()]


def edges(connection: Any, ids: Collection[int], most: int) -> list[Edge]:
    """At most so many of the edges between two of these tasks."""
    rows = connection.execute(
        """SELECT e.upstream, e.task, e.wants, e.otherwise, e.verdict FROM json_each(:ids) AS x
           CROSS JOIN taskcore_edge AS e ON e.upstream = x.value
           WHERE +e.task IN (SELECT value FROM json_each(:ids)) LIMIT :most""",  # not by way of the index
        {"ids": _listed(ids), "most": most},
    ).fetchall()
    return list(map(Edge._make, rows))


def joins(connection: Any, ids: Collection[int], most: int) -> list[tuple[int, int]]:
    """(upstream, task), at most so many: these tasks are suspended until those have ended."""
    found: list[tuple[int, int]] = connection.execute(
        """SELECT j.upstream, j.task FROM json_each(:ids) AS x
           CROSS JOIN taskcore_join AS j ON j.task = x.value LIMIT :most""",
        {"ids": _listed(ids), "most": most},
    ).fetchall()
    return found


def attempts(connection: Any, ids: Collection[int], most: int) -> list[Past]:
    """Of these tasks the attempts that are over and have a row of their own, at most so many; of long errors the
    beginning. The one that runs, or that succeeded last, is told by the task's own row."""
    rows = connection.execute(
        """SELECT a.task, a.number, w.name, a.started_at, a.finished_at, a.outcome, substr(a.error, 1, 200)
           FROM json_each(?) AS x
           CROSS JOIN taskcore_attempt AS a ON a.task = x.value
           LEFT JOIN taskcore_worker AS w ON w.id = a.worker
           WHERE a.started_at IS NOT NULL AND a.finished_at IS NOT NULL
           ORDER BY a.task, a.number LIMIT ?""",
        (_listed(ids), most),
    ).fetchall()
    return list(map(Past._make, rows))


def below(connection: Any, task: int, most: int) -> list[int]:
    """The task and at most so many of its children, theirs, and so on, that are not hidden."""
    rows = connection.execute(
        """WITH RECURSIVE below (id) AS (
               VALUES (:task)
               UNION SELECT t.id FROM below CROSS JOIN taskcore_task AS t ON t.parent = below.id AND t.hidden = 0
               LIMIT :most)
           SELECT id FROM below""",
        {"task": task, "most": most},
    ).fetchall()
    return [found for (found,) in rows]


def around(connection: Any, task: int, most: int) -> list[int]:
    """The task and what it is connected to, and is not hidden: all that it depends on, all that depends on it, all
    below it and whatever it is below; the nearest first, at most so many in each direction."""
    rows = connection.execute(
        """WITH RECURSIVE
           up (id) AS (
               VALUES (:task)
               UNION SELECT e.upstream FROM up CROSS JOIN taskcore_edge AS e ON e.task = up.id LIMIT :most),
           down (id) AS (
               VALUES (:task)
               UNION SELECT e.task FROM down CROSS JOIN taskcore_edge AS e ON e.upstream = down.id LIMIT :most),
           below (id) AS (
               VALUES (:task)
               UNION SELECT t.id FROM below CROSS JOIN taskcore_task AS t ON t.parent = below.id LIMIT :most),
           above (id) AS (
               VALUES (:task)
               UNION SELECT t.parent FROM above CROSS JOIN taskcore_task AS t ON t.id = above.id
               WHERE t.parent IS NOT NULL)
           SELECT t.id FROM taskcore_task AS t
           WHERE t.id IN (SELECT id FROM up UNION SELECT id FROM down UNION SELECT id FROM below
                          UNION SELECT id FROM above)
           AND (t.hidden = 0 OR t.id = :task)""",
        {"task": task, "most": most},
    ).fetchall()
    return [found for (found,) in rows]


def tallies(connection: Any, chosen: Where) -> list[Tally]:
    """By name and phase, of all that match."""
    rows = connection.execute(
        f"""SELECT iif(t.job IS NULL, k.name, NULL), t.phase, count(*), total(t.finished_at - t.started_at)
            FROM taskcore_task AS t CROSS JOIN taskcore_kind AS k ON k.id = t.kind
            WHERE {chosen.sql} GROUP BY 1, 2""",
        chosen.values,
    ).fetchall()
    return list(map(Tally._make, rows))


def failures(connection: Any, chosen: Where, most: int) -> list[Failure]:
    """What failed, of all that match: the most frequent first, at most so many ways."""
    rows = connection.execute(
        f"""SELECT k.name, substr(t.last_error, 1, 1000), count(*), max(t.id)
            FROM taskcore_task AS t CROSS JOIN taskcore_kind AS k ON k.id = t.kind
            WHERE {chosen.sql} AND t.phase = 'failed' AND t.phase NOT IN ('ready', 'succeeded')
            GROUP BY 1, 2 ORDER BY 3 DESC, 4 DESC LIMIT :most""",
        {**chosen.values, "most": most},
    ).fetchall()
    return list(map(Failure._make, rows))


def _listed(ids: Collection[int]) -> str:
    return json.dumps(list(ids))

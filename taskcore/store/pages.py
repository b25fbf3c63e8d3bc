"""Reads for whoever looks at a file page by page: none of them takes long, however many tasks there are.

They walk an index, or scan the newest rows for a moment and say from where to go on.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from taskcore.core.clock import monotonic
from taskcore.store.busy import code, data_version
from taskcore.store.queries import Where

MOMENT: Final = 0.025
"""Seconds that one way of finding rows may take."""
SPAN: Final = 10_000
"""Ids that are scanned at a time."""
SORTED: Final = 2_000
"""Rows that are sorted rather than scanned for."""


def version(connection: sqlite3.Connection) -> tuple[int, int]:
    """Changes when anybody commits."""
    return data_version(connection), connection.total_changes


# -- lists of tasks ------------------------------------------------------------------------------------------------


def newest(
    connection: sqlite3.Connection, chosen: Where, below: int | None, size: int
) -> tuple[list[int], int | None]:
    """The ids of the newest tasks that match, below an id (`None`: of all), descending; and below which id to go on,
    `None` where nothing is left. There may be fewer than `size`, even none, and still more to be found further on."""
    text, values, indexed, *_ = chosen
    lowest, highest = connection.execute(
        "SELECT ifnull((SELECT min(id) FROM taskcore_task), 0), ifnull((SELECT max(id) FROM taskcore_task), 0)"
    ).fetchone()
    below = highest + 1 if below is None else min(below, highest + 1)
    if indexed:
        few = _briefly(
            connection, f"SELECT t.id FROM taskcore_task AS t WHERE t.id < :below AND {text} LIMIT :most",
            {**values, "below": below, "most": SORTED + 1},
        )  # fmt: skip
        if few is not None and len(few) <= SORTED:
            ids = sorted((row[0] for row in few), reverse=True)
            return ids[:size], ids[size - 1] if len(ids) > size else None
    # A tag that many have is asked of each row: a list of all that have it would be made for every span.
    text = text.replace("FROM taskcore_tag WHERE ", "FROM taskcore_tag WHERE task = t.id AND ")
    found: list[int] = []
    ends = monotonic() + MOMENT
    while below > lowest and len(found) < size:
        floor = below - SPAN
        rows = connection.execute(
            f"""SELECT t.id FROM taskcore_task AS t NOT INDEXED
                WHERE t.id < :below AND t.id >= :floor AND {text} ORDER BY t.id DESC LIMIT :size""",
            {**values, "below": below, "floor": floor, "size": size - len(found)},
        ).fetchall()
        found += [task for (task,) in rows]
        below = found[-1] if len(found) == size else floor
        if monotonic() > ends:
            break
    return found, below if below > lowest else None


def _briefly(connection: sqlite3.Connection, sql: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]] | None:
    """The rows, or `None` where they cannot be had in a moment."""
    ends = monotonic() + MOMENT
    connection.set_progress_handler(lambda: monotonic() > ends, 5_000)
    try:
        return connection.execute(sql, values).fetchall()
    except sqlite3.OperationalError as error:
        if code(error) != sqlite3.SQLITE_INTERRUPT:
            raise
        return None
    finally:
        connection.set_progress_handler(None, 0)


# -- families ------------------------------------------------------------------------------------------------------

# The greatest parent below the last one, again and again: a step down the index each, however many children there are.
_PARENTS: Final = """
    WITH RECURSIVE up (id, n) AS (
        SELECT (SELECT max(parent) FROM taskcore_task WHERE parent IS NOT NULL AND parent < :below), 1
        UNION ALL
        SELECT (SELECT max(parent) FROM taskcore_task WHERE parent IS NOT NULL AND parent < up.id), n + 1
        FROM up WHERE up.id IS NOT NULL AND n < :size
    )
    SELECT id FROM up WHERE id IS NOT NULL"""


def parents(connection: sqlite3.Connection, below: int | None, size: int) -> list[int]:
    """The newest tasks that have children, below an id, descending."""
    values = {"below": (1 << 62) if below is None else below, "size": size}
    return [task for (task,) in connection.execute(_PARENTS, values).fetchall()]


def ended_children(connection: sqlite3.Connection, jobs: Collection[int]) -> dict[int, dict[str, int]]:
    """Job → how many of its children ended how."""
    found: dict[int, dict[str, int]] = {}
    for job, status, n in connection.execute(
        """SELECT job, status, n FROM taskcore_tally WHERE job IN (SELECT value FROM json_each(?)) AND n > 0
           ORDER BY job, status""",
        (json.dumps(list(jobs)),),
    ).fetchall():
        found.setdefault(job, {})[status] = n
    return found


class Member(NamedTuple):
    parent: int
    id: int
    name: str
    phase: str
    status: str


def members(connection: sqlite3.Connection, parents: Collection[int], most: int) -> list[Member]:
    """The children of these, in order, at most so many of all of them."""
    return [
        Member(*row)
        for row in connection.execute(
            """SELECT t.parent, t.id, k.name, t.phase, ifnull(t.label, t.phase)
               FROM json_each(:ids) AS x
               CROSS JOIN taskcore_task AS t ON t.parent = x.value
               CROSS JOIN taskcore_kind AS k ON k.id = t.kind
               ORDER BY x.key, t.id LIMIT :most""",
            {"ids": json.dumps(list(parents)), "most": most},
        ).fetchall()
    ]


# -- what a task is connected to -----------------------------------------------------------------------------------


class Edge(NamedTuple):
    id: int
    """The task at its other end."""
    name: str
    phase: str
    status: str
    on: str
    otherwise: str
    met: int
    """1 or 0."""


_EDGES: Final = """
    SELECT t.id, (SELECT name FROM taskcore_kind WHERE id = t.kind), t.phase, ifnull(t.label, t.phase),
        e.wants, e.otherwise, e.verdict = 'met'
    FROM taskcore_edge AS e CROSS JOIN taskcore_task AS t ON t.id = """
_OTHER: Final = {
    "up": _EDGES + "e.upstream WHERE e.task = ? ORDER BY e.upstream LIMIT ?",
    "down": _EDGES + "e.task WHERE e.upstream = ? ORDER BY e.task LIMIT ?",
}


def edges(connection: sqlite3.Connection, task: int, way: str, most: int) -> list[Edge]:
    """What it depends on ("up") or what depends on it ("down"): at most so many."""
    return [Edge(*row) for row in connection.execute(_OTHER[way], (task, most)).fetchall()]


# -- what the file is told by operators ----------------------------------------------------------------------------


class Capacity(NamedTuple):
    """`name:` and a task's name: how many of it may run."""

    name: str
    value: int | None
    given: int | None
    """What code said last."""


def capacities(connection: sqlite3.Connection) -> list[Capacity]:
    rows = connection.execute("SELECT name, value, given FROM taskcore_limit ORDER BY name LIMIT 1000").fetchall()
    return [Capacity(*row) for row in rows]


def labels(connection: sqlite3.Connection) -> dict[str, str]:
    """Labels of the user's → their phases, those that another process named since this one looked, too."""
    return dict(connection.execute("SELECT label, phase FROM taskcore_status ORDER BY label LIMIT 1000").fetchall())


def rates(connection: sqlite3.Connection) -> list[tuple[str, int, float]]:
    """(name, starts, in how many seconds)"""
    return connection.execute("SELECT name, n, period FROM taskcore_rate ORDER BY name LIMIT 1000").fetchall()


def names(connection: sqlite3.Connection, most: int) -> list[str]:
    """Names that there are tasks of, or were lately."""
    rows = connection.execute("SELECT DISTINCT name FROM taskcore_kind ORDER BY name LIMIT ?", (most,)).fetchall()
    return [name for (name,) in rows]

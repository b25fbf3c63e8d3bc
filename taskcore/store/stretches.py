"""Counting and finding in stretches of ids, for those who look again and again: each read is short, however long the
file is, and no snapshot of it is held meanwhile."""

from __future__ import annotations

import sqlite3
from typing import Final

from taskcore.store import overview, queries

LONG: Final = 20_000
"""Ids of one stretch: some 50 ms."""


def last_id(connection: sqlite3.Connection) -> int:
    """The highest id that there is."""
    found: int = connection.execute("SELECT ifnull(max(id), 0) FROM taskcore_task").fetchone()[0]
    return found


def counts(connection: sqlite3.Connection, chosen: queries.Where, stretch: int) -> list[tuple[str, str, str, int]]:
    """(name, phase, status, number) of those that match in one stretch; the first one is number 0."""
    text, values, *_ = chosen
    return connection.execute(
        f"""SELECT k.name, n.phase, ifnull(n.label, n.phase), sum(n.many)
            FROM (SELECT t.kind, t.phase, t.label, count(*) AS many FROM taskcore_task AS t NOT INDEXED
                  WHERE t.id BETWEEN :first AND :last AND {text} GROUP BY 1, 2, 3) AS n
            CROSS JOIN taskcore_kind AS k ON k.id = n.kind GROUP BY 1, 2, 3""",
        {**values, **_ends(stretch)},
    ).fetchall()


def newest(
    connection: sqlite3.Connection, chosen: queries.Where, stretch: int, most: int
) -> list[overview.Brief]:
    """Those with the highest ids of what matches in one stretch, descending."""
    text, values, *_ = chosen
    ids = connection.execute(
        f"""SELECT t.id FROM taskcore_task AS t NOT INDEXED
            WHERE t.id BETWEEN :first AND :last AND {text} ORDER BY t.id DESC LIMIT :most""",
        {**values, **_ends(stretch), "most": most},
    ).fetchall()
    return overview.briefs(connection, [task for (task,) in ids])


def _ends(stretch: int) -> dict[str, int]:
    return {"first": stretch * LONG, "last": (stretch + 1) * LONG - 1}

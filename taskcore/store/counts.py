"""How many tasks there are of each status, without reading them all.

Tasks are counted by ranges of ids: all in a range, or the children there of one task. What a range has is kept in
`taskcore_count` by whoever counted it, and dropped by whoever changes it: so it costs those who look, and nothing where
nobody does. It is kept only where every task that is counted waits, is ready or has ended, for out of these phases few
verbs lead, and each of them calls `Transaction.uncount`, which drops all that is kept of a range. Ranges in which
something runs, sleeps or has a time to come are read each time. Nobody waits while a range is counted.

Ranges are of three sizes, so that little is read however many tasks there are. Tasks are counted by pieces. What the
pieces of a block have is added up and kept, too, and so is what the blocks of a stretch have, as soon as all of them
are kept. The pieces of a block in which everything has ended are let go of.
"""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from taskcore.core import lifecycle
from taskcore.store import schema
from taskcore.store.cache import Known
from taskcore.store.ids import listed
from taskcore.store.queries import Where

AT_ONCE: Final = 32
"""Pieces that are counted in one look and kept in one write: a few milliseconds."""
FEW: Final = 1000
"""Children that are counted each time: nothing is kept of parents with no more."""
A_MOMENT: Final = 10
"""Milliseconds: a program that drains the file seldom has it for longer, one that keeps it locked is not waited for."""
ANSWERED: Final = frozenset({"name", "phase", "status", "hidden"})
"""What `where` may ask for that the kept counts answer, of all tasks or of the children of one."""

# In all of these AMONG stands for the tasks that are counted: see `_among`. Of all together `parent` is 0. In `_IN` the
# sign # stands for a piece.

_KEPT: Final = "(SELECT c.block FROM taskcore_count AS c WHERE c.block = # AND c.parent = :parent LIMIT 1)"
_STRETCH: Final = _KEPT.replace("#", "-1 - spot.id / :stretch")
_BLOCK: Final = _KEPT.replace("#", "spot.id / :block")
_PIECE: Final = _KEPT.replace("#", ":pieces + spot.id / :piece")
# The greatest ranges that are kept, and between them the pieces that are not. From one to the next it is one seek, also
# over ids that are no more, or are not among them.
_RANGES: Final = f"""
    WITH RECURSIVE spot (id) AS (
        SELECT min(one.id) FROM taskcore_task AS one WHERE AMONG
        UNION ALL
        SELECT (SELECT min(one.id) FROM taskcore_task AS one WHERE AMONG AND one.id >= CASE
            WHEN {_STRETCH} IS NOT NULL THEN (spot.id / :stretch + 1) * :stretch
            WHEN {_BLOCK} IS NOT NULL THEN (spot.id / :block + 1) * :block
            ELSE (spot.id / :piece + 1) * :piece END)
        FROM spot WHERE spot.id IS NOT NULL
    ), range (kept, piece) AS MATERIALIZED (
        SELECT coalesce({_STRETCH}, {_BLOCK}, {_PIECE}), spot.id / :piece FROM spot WHERE spot.id IS NOT NULL
    ), unkept (n) AS (SELECT piece FROM range WHERE kept IS NULL)"""
_IN: Final = "AMONG AND one.id BETWEEN # * :piece AND # * :piece + :piece - 1"
_COUNTED: Final = f"""{_RANGES}, counted (id, kind, phase, label, hidden, parent, n) AS MATERIALIZED (
        SELECT c.first, c.kind, c.phase, nullif(c.label, ''), c.hidden, c.parent, c.n FROM range
        CROSS JOIN taskcore_count AS c ON c.block = range.kept AND c.parent = :parent
        UNION ALL
        SELECT min(one.id), one.kind, one.phase, one.label, one.hidden, :parent, count(*) FROM unkept
        CROSS JOIN taskcore_task AS one ON {_IN.replace("#", "unkept.n")}
        GROUP BY 2, 3, 4, 5
    ) """
SETTLED: Final = (lifecycle.WAITING, lifecycle.READY, *lifecycle.ENDED)
_MANY: Final = "SELECT 1 FROM taskcore_task WHERE id = ? AND children > ?"
_OPEN: Final = f"""{_RANGES}
    SELECT n FROM unkept WHERE n < (SELECT max(id) FROM taskcore_task) / :piece AND NOT EXISTS (
        SELECT 1 FROM taskcore_task AS one WHERE {_IN.replace("#", "unkept.n")} AND one.phase NOT IN {SETTLED}
    )"""
# A piece is marked, counted without the lock, and kept if its mark is still there: whoever changes it drops that, too.
# A mark has a sign of its own, below 0, as its parent, so that nobody takes it for what is kept. What another program
# has kept meanwhile is the same, or the mark would be gone.
_MARK: Final = """
    INSERT INTO taskcore_count (block, parent, kind, phase, label, hidden, first, n)
    SELECT :pieces + value, :sign, 0, '', '', 0, 0, 1 FROM json_each(:some)"""
_TALLY: Final = f"""
    SELECT json_group_array(json_array(piece, kind, phase, label, hidden, first, n)) FROM (
        SELECT p.value AS piece, one.kind, one.phase, ifnull(one.label, '') AS label, one.hidden, min(one.id) AS first,
            count(*) AS n
        FROM json_each(:some) AS p CROSS JOIN taskcore_task AS one ON {_IN.replace("#", "p.value")}
        GROUP BY 1, 2, 3, 4, 5
    )"""
_KEEP: Final = """
    INSERT OR IGNORE INTO taskcore_count (block, parent, kind, phase, label, hidden, first, n)
    SELECT m.block, :parent, c.value->>1, c.value->>2, c.value->>3, c.value->>4, c.value->>5, c.value->>6
    FROM json_each(:tally) AS c
    CROSS JOIN taskcore_count AS m ON m.block = :pieces + (c.value->>0) AND m.parent = :sign"""
_UNMARK: Final = """
    DELETE FROM taskcore_count WHERE parent < 0 AND block IN (SELECT :pieces + value FROM json_each(:some))"""
# Of a range in which nothing will be born, once all its parts are kept that have any.
_ADD_UP: Final = """
    INSERT OR IGNORE INTO taskcore_count (block, parent, kind, phase, label, hidden, first, n)
    SELECT WHOLE, :parent, c.kind, c.phase, c.label, c.hidden, min(c.first), sum(c.n)
    FROM (SELECT DISTINCT value * :piece / SIZE AS n FROM json_each(:some)) AS w CROSS JOIN taskcore_count AS c
    ON c.parent = :parent AND c.block BETWEEN FIRST + w.n * :fan AND FIRST + w.n * :fan + :fan - 1
    WHERE w.n < (SELECT max(id) FROM taskcore_task) / SIZE AND NOT EXISTS (
        SELECT 1 FROM (SELECT w.n * :fan + value AS n FROM json_each(:places)) AS p
        WHERE NOT EXISTS (SELECT 1 FROM taskcore_count AS k WHERE k.block = FIRST + p.n AND k.parent = :parent)
        AND EXISTS (
            SELECT 1 FROM taskcore_task AS one WHERE AMONG AND one.id BETWEEN p.n * PART AND p.n * PART + PART - 1)
    ) GROUP BY 1, 3, 4, 5, 6"""


def _adding_up(whole: str, size: str, first: str, part: str) -> str:
    return _ADD_UP.replace("WHOLE", whole).replace("SIZE", size).replace("FIRST", first).replace("PART", part)


_BLOCKS: Final = _adding_up("w.n", ":block", ":pieces", ":piece")
_STRETCHES: Final = _adding_up("-1 - w.n", ":stretch", "0", ":block")
_LET_GO: Final = f"""
    DELETE FROM taskcore_count WHERE parent = :parent AND block IN (
        SELECT p.block FROM (
            SELECT c.block AS n FROM taskcore_count AS c
            WHERE c.block IN (SELECT value / :fan FROM json_each(:some)) AND c.parent = :parent
            GROUP BY 1 HAVING min(c.phase IN {lifecycle.ENDED})
        ) AS b
        CROSS JOIN taskcore_count AS p ON p.block BETWEEN :pieces + b.n * :fan AND :pieces + b.n * :fan + :fan - 1)"""
# Stretches are held against their blocks, and these, and pieces, against the tasks.
_WRONG: Final = """
    WITH kept (block, parent) AS MATERIALIZED (SELECT DISTINCT block, parent FROM taskcore_count WHERE parent >= 0),
    size (first, ids) AS (SELECT 0, :block UNION ALL SELECT :pieces, :piece)
    SELECT block FROM (
        SELECT block, parent, kind, phase, label, hidden, n FROM taskcore_count WHERE parent >= 0
        UNION ALL
        SELECT -1 - c.block / :fan, c.parent, c.kind, c.phase, c.label, c.hidden, -c.n FROM taskcore_count AS c
        WHERE c.block BETWEEN 0 AND :pieces - 1 AND (-1 - c.block / :fan, c.parent) IN kept
        UNION ALL
        SELECT first + t.id / ids, 0, t.kind, t.phase, ifnull(t.label, ''), t.hidden, -count(*)
        FROM size CROSS JOIN taskcore_task AS t WHERE (first + t.id / ids, 0) IN kept GROUP BY 1, 3, 4, 5, 6
        UNION ALL
        SELECT first + t.id / ids, t.parent, t.kind, t.phase, ifnull(t.label, ''), t.hidden, -count(*)
        FROM size CROSS JOIN taskcore_task AS t WHERE (first + t.id / ids, t.parent) IN kept GROUP BY 1, 2, 3, 4, 5, 6
    ) GROUP BY block, parent, kind, phase, label, hidden HAVING sum(n) <> 0"""


def _values(parent: int, pieces: Collection[int] = ()) -> dict[str, Any]:
    """What the statements ask for; `some` are these pieces."""
    return {
        "block": schema.BLOCK, "piece": schema.BLOCK // schema.FAN, "stretch": schema.BLOCK * schema.FAN,
        "fan": schema.FAN, "places": listed(range(schema.FAN)), "pieces": schema.PIECES,
        "parent": parent, "some": listed(pieces),
    }  # fmt: skip


@functools.cache
def _among(sql: str, all_of_them: bool) -> str:
    """Of all tasks, or of the children of one, which the index of parents finds."""
    return sql.replace("AMONG", "1" if all_of_them else "one.parent = :parent")


def counts(connection: sqlite3.Connection, chosen: Where) -> dict[str, int]:
    """Status → number, of the statuses that occur."""
    return {status: n for (_, status), n in by_phase(connection, chosen).items()}  # a status is of one phase


def count(connection: sqlite3.Connection, chosen: Where) -> int:
    """How many match."""
    return int(_read(connection, chosen, f"SELECT ifnull(sum(t.n), 0) FROM counted AS t WHERE {chosen.sql}")[0][0])


def by_phase(connection: sqlite3.Connection, chosen: Where) -> dict[tuple[str, str], int]:
    """(phase, status) → number."""
    return {
        (phase, status): n
        for phase, status, n in _read(
            connection, chosen,
            f"""SELECT t.phase, ifnull(t.label, t.phase), sum(t.n) FROM counted AS t WHERE {chosen.sql}
                GROUP BY 1, 2 ORDER BY min(t.id)""",
        )
    }  # fmt: skip


def by_name(connection: sqlite3.Connection, chosen: Where) -> dict[str, dict[tuple[str, str], int]]:
    """Name → (phase, status) → number."""
    found = dict[str, dict[tuple[str, str], int]]()
    for name, phase, status, n in _read(
        connection, chosen,
        f"""SELECT k.name, t.phase, ifnull(t.label, t.phase), sum(t.n) FROM counted AS t
            CROSS JOIN taskcore_kind AS k ON k.id = t.kind WHERE {chosen.sql} GROUP BY 1, 2, 3 ORDER BY min(t.id)""",
    ):  # fmt: skip
        found.setdefault(name, {})[phase, status] = n
    return found


def _read(connection: sqlite3.Connection, chosen: Where, sql: str) -> list[Any]:
    """By what is kept, where that answers; else all that match are read."""
    parent = _of(connection, chosen)
    if parent is None:
        sql = sql.replace("counted AS t", "taskcore_task AS t").replace("sum(t.n)", "count(*)")
    else:
        sql = _among(_COUNTED, not parent) + sql
    return connection.execute(sql, {**chosen.values, **_values(parent or 0)}).fetchall()


def _of(connection: sqlite3.Connection, chosen: Where) -> int | None:
    """Which kept counts answer what is asked: those of a task's children, or, 0, of all tasks. `None`: neither."""
    if chosen.names <= ANSWERED:
        return 0
    if chosen.parent is None or not chosen.names <= ANSWERED | {"parent"}:
        return None
    many = connection.execute(_MANY, (chosen.parent, FEW)).fetchone()
    return chosen.parent if many else None


def open_pieces(connection: sqlite3.Connection, chosen: Where) -> list[int]:
    """The pieces of which what answers this may be kept and is not: all that is counted there waits, is ready or has
    ended, and nothing is born there."""
    parent = _of(connection, chosen)
    if parent is None:
        return []
    return [piece for (piece,) in connection.execute(_among(_OPEN, not parent), _values(parent)).fetchall()]


def mark(connection: sqlite3.Connection, known: Known, pieces: Collection[int], sign: int) -> bool:
    """Mark pieces that are going to be counted; `sign`: a number below 0 that nobody else takes. → False where the file
    cannot be written now: whoever only looks waits no more than a moment for another program, and needs no room on the
    disk."""
    known.has_counts = True  # under the lock over the connection: whoever moves something next drops its mark
    return _written(connection, [_MARK], {**_values(0, pieces), "sign": sign})


def tally(connection: sqlite3.Connection, chosen: Where, pieces: Collection[int]) -> str:
    """What `keep` keeps of these pieces: nothing of those in which something has begun meanwhile."""
    parent = chosen.parent or 0
    rows = json.loads(connection.execute(_among(_TALLY, not parent), _values(parent, pieces)).fetchall()[0][0])
    begun = {row[0] for row in rows if row[2] not in SETTLED}
    return json.dumps([row for row in rows if row[0] not in begun])


def keep(connection: sqlite3.Connection, chosen: Where, pieces: Collection[int], sign: int, tally: str) -> bool:
    """Keep what was counted of these pieces since they were marked with this sign, as far as nothing moved there
    meanwhile. → False, and nothing is kept, where the file cannot be written now."""
    parent = chosen.parent or 0
    statements = [_KEEP, _UNMARK, _among(_BLOCKS, not parent), _among(_STRETCHES, not parent), _LET_GO]
    return _written(connection, statements, {**_values(parent, pieces), "sign": sign, "tally": tally})


def _written(connection: sqlite3.Connection, statements: Sequence[str], values: Mapping[str, Any]) -> bool:
    try:
        connection.execute(f"PRAGMA busy_timeout = {A_MOMENT}")
        connection.execute("BEGIN IMMEDIATE")
        for sql in statements:
            connection.execute(sql, values)
        connection.execute("COMMIT")
        return True
    except sqlite3.OperationalError:
        return False
    finally:
        connection.execute("PRAGMA busy_timeout = 0")
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def wrong(connection: sqlite3.Connection) -> list[int]:
    """The ranges of which something else is kept than what there is."""
    return sorted({number for (number,) in connection.execute(_WRONG, _values(0)).fetchall()})

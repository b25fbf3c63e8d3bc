"""How many tasks there are of each status, without reading them all.

Tasks are counted by blocks of ids: all in a block, or the children there of one task. What a block has is kept in
`taskcore_count` by whoever counted it, and dropped by whoever changes it: so it costs those who look, and nothing where
nobody does. It is kept only where every task that is counted waits, is ready or has ended, for out of these phases few
verbs lead, and each of them calls `Transaction.uncount`, which drops all that is kept of a block. Blocks in which
something runs, sleeps or has a time to come are read each time. Nobody waits while a block is counted.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from typing import Any, Final

from taskcore.core import lifecycle
from taskcore.store import schema
from taskcore.store.cache import Known
from taskcore.store.queries import Where

AT_ONCE: Final = 8
"""Blocks that are counted in one look, some twenty milliseconds."""
FEW: Final = 1000
"""Children that are counted each time: nothing is kept of parents with no more."""
A_MOMENT: Final = 10
"""Milliseconds: a program that drains the file seldom has it for longer, one that keeps it locked is not waited for."""
ANSWERED: Final = frozenset({"name", "phase", "status", "hidden"})
"""What `where` may ask for that the kept counts answer, of all tasks or of the children of one."""

# In all of these AMONG stands for the tasks that are counted: see `_among`. Of all together `parent` is 0. In `_IN` the
# sign # stands for a block.

# The blocks that have any, and those of them that are not kept. From one to the next it is one seek, also over ids that
# are no more, or are not among them.
_BLOCKS: Final = """
    WITH RECURSIVE block (n) AS (
        SELECT min(one.id) / :block FROM taskcore_task AS one WHERE AMONG
        UNION ALL
        SELECT (SELECT min(one.id) / :block FROM taskcore_task AS one WHERE AMONG AND one.id >= (n + 1) * :block)
        FROM block WHERE n IS NOT NULL
    ), unkept (n) AS (
        SELECT n FROM block WHERE n IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM taskcore_count AS c WHERE c.block = block.n AND c.parent = :parent)
    )"""
_IN: Final = "AMONG AND one.id BETWEEN # * :block AND # * :block + :block - 1"
_COUNTED: Final = f"""{_BLOCKS}, counted (id, kind, phase, label, hidden, parent, n) AS MATERIALIZED (
        SELECT c.first, c.kind, c.phase, nullif(c.label, ''), c.hidden, c.parent, c.n FROM block
        CROSS JOIN taskcore_count AS c ON c.block = block.n AND c.parent = :parent
        UNION ALL
        SELECT min(one.id), one.kind, one.phase, one.label, one.hidden, :parent, count(*) FROM unkept
        CROSS JOIN taskcore_task AS one ON {_IN.replace("#", "unkept.n")}
        GROUP BY 2, 3, 4, 5
    ) """
SETTLED: Final = (lifecycle.WAITING, lifecycle.READY, *lifecycle.ENDED)
_MANY: Final = "SELECT 1 FROM taskcore_task WHERE id = ? AND children > ?"
_OPEN: Final = f"""{_BLOCKS}
    SELECT n FROM unkept WHERE n < (SELECT max(id) FROM taskcore_task) / :block AND NOT EXISTS (
        SELECT 1 FROM taskcore_task AS one WHERE {_IN.replace("#", "unkept.n")} AND one.phase NOT IN {SETTLED}
    ) ORDER BY n"""
# A block is marked, counted without the lock, and kept if its mark is still there: whoever changes it drops that, too.
# A mark has a sign of its own, below 0, as its parent, so that nobody takes it for what is kept. What another program
# has kept meanwhile is the same, or the mark would be gone.
_MARK: Final = """
    INSERT INTO taskcore_count (block, parent, kind, phase, label, hidden, first, n)
    SELECT value, :sign, 0, '', '', 0, 0, 1 FROM json_each(:blocks)"""
_TALLY: Final = f"""
    SELECT json_group_array(json_array(block, kind, phase, label, hidden, first, n)) FROM (
        SELECT b.value AS block, one.kind, one.phase, ifnull(one.label, '') AS label, one.hidden, min(one.id) AS first,
            count(*) AS n
        FROM json_each(:blocks) AS b CROSS JOIN taskcore_task AS one ON {_IN.replace("#", "b.value")}
        GROUP BY 1, 2, 3, 4, 5
    )"""
_KEEP: Final = """
    INSERT OR IGNORE INTO taskcore_count (block, parent, kind, phase, label, hidden, first, n)
    SELECT c.value->>0, :parent, c.value->>1, c.value->>2, c.value->>3, c.value->>4, c.value->>5, c.value->>6
    FROM json_each(:tally) AS c CROSS JOIN taskcore_count AS m ON m.block = c.value->>0 AND m.parent = :sign"""
_UNMARK: Final = "DELETE FROM taskcore_count WHERE parent < 0 AND block IN (SELECT value FROM json_each(?))"
_WRONG: Final = """
    WITH kept (block, parent) AS MATERIALIZED (SELECT DISTINCT block, parent FROM taskcore_count WHERE parent >= 0)
    SELECT block FROM (
        SELECT block, parent, kind, phase, label, hidden, n FROM taskcore_count WHERE parent >= 0
        UNION ALL
        SELECT t.id / :block, 0, t.kind, t.phase, ifnull(t.label, ''), t.hidden, -count(*) FROM taskcore_task AS t
        WHERE (t.id / :block, 0) IN kept GROUP BY 1, 3, 4, 5, 6
        UNION ALL
        SELECT t.id / :block, t.parent, t.kind, t.phase, ifnull(t.label, ''), t.hidden, -count(*)
        FROM taskcore_task AS t WHERE (t.id / :block, t.parent) IN kept GROUP BY 1, 2, 3, 4, 5, 6
    ) GROUP BY block, parent, kind, phase, label, hidden HAVING sum(n) <> 0"""


def _among(sql: str, parent: int) -> str:
    """Of all tasks, or of the children of one, which the index of parents finds."""
    return sql.replace("AMONG", "one.parent = :parent" if parent else "1")


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
    values, parent = {**chosen.values, "block": schema.BLOCK}, _of(connection, chosen)
    if parent is None:
        sql = sql.replace("counted AS t", "taskcore_task AS t").replace("sum(t.n)", "count(*)")
    else:
        sql, values["parent"] = _among(_COUNTED, parent) + sql, parent
    return connection.execute(sql, values).fetchall()


def _of(connection: sqlite3.Connection, chosen: Where) -> int | None:
    """Which kept counts answer what is asked: those of a task's children, or, 0, of all tasks. `None`: neither."""
    if chosen.names <= ANSWERED:
        return 0
    if chosen.parent is None or not chosen.names <= ANSWERED | {"parent"}:
        return None
    many = connection.execute(_MANY, (chosen.parent, FEW)).fetchone()
    return chosen.parent if many else None


def open_blocks(connection: sqlite3.Connection, chosen: Where) -> list[int]:
    """The blocks of which what answers this may be kept and is not: all that is counted there waits, is ready or has
    ended, and nothing is born there."""
    parent = _of(connection, chosen)
    if parent is None:
        return []
    values = {"block": schema.BLOCK, "parent": parent}
    return [block for (block,) in connection.execute(_among(_OPEN, parent), values).fetchall()]


def tally(connection: sqlite3.Connection, chosen: Where, blocks: Collection[int]) -> str:
    """What `keep` keeps of these blocks: nothing of those in which something has begun meanwhile."""
    values = {"blocks": json.dumps(list(blocks)), "block": schema.BLOCK, "parent": chosen.parent or 0}
    rows = json.loads(connection.execute(_among(_TALLY, chosen.parent or 0), values).fetchall()[0][0])
    begun = {row[0] for row in rows if row[2] not in SETTLED}
    return json.dumps([row for row in rows if row[0] not in begun])


def mark(connection: sqlite3.Connection, known: Known, blocks: Collection[int], sign: int) -> bool:
    """Mark blocks that are going to be counted; `sign`: a number below 0 that nobody else takes. → False where the file
    cannot be written now: whoever only looks waits no more than a moment for another program, and needs no room on the
    disk."""
    known.has_counts = True  # under the lock over the connection: whoever moves something next drops its mark
    return _written(connection, [(_MARK, {"blocks": json.dumps(list(blocks)), "sign": sign})])


def keep(connection: sqlite3.Connection, chosen: Where, blocks: Collection[int], sign: int, tally: str) -> bool:
    """Keep what was counted of these blocks since they were marked with this sign, as far as nothing moved there
    meanwhile. → False, and nothing is kept, where the file cannot be written now."""
    values = {"tally": tally, "sign": sign, "parent": chosen.parent or 0}
    return _written(connection, [(_KEEP, values), (_UNMARK, (json.dumps(list(blocks)),))])


def _written(connection: sqlite3.Connection, statements: Sequence[tuple[str, Any]]) -> bool:
    try:
        connection.execute(f"PRAGMA busy_timeout = {A_MOMENT}")
        connection.execute("BEGIN IMMEDIATE")
        for sql, values in statements:
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
    """The blocks of which something else is kept than what there is."""
    return sorted({block for (block,) in connection.execute(_WRONG, {"block": schema.BLOCK}).fetchall()})

"""How many tasks there are of each status, without reading them all.

Tasks are counted by blocks of ids: all in a block, or the children there of one task. What a block has is kept in
`taskcore_count` by whoever counted it, and dropped by whoever changes it: so it costs those who look, and nothing where
nobody does. It is kept only where every task that is counted waits, is ready or has ended, for out of these phases few
verbs lead, and each of them calls `Transaction.uncount`, which drops all that is kept of a block. Blocks in which
something runs, sleeps or has a time to come are read each time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from typing import Any, Final

from taskcore.core import lifecycle
from taskcore.store import schema
from taskcore.store.cache import Known
from taskcore.store.queries import Where

AT_ONCE: Final = 8
"""Blocks that one commit keeps: whoever submits meanwhile waits for it, some ten milliseconds."""
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
_SETTLED: Final = ", ".join(f"'{phase}'" for phase in (lifecycle.WAITING, lifecycle.READY, *lifecycle.ENDED))
_MANY: Final = "SELECT 1 FROM taskcore_task WHERE id = ? AND children > ?"
_OPEN: Final = f"""{_BLOCKS}
    SELECT n FROM unkept WHERE n < (SELECT max(id) FROM taskcore_task) / :block AND NOT EXISTS (
        SELECT 1 FROM taskcore_task AS one WHERE {_IN.replace("#", "unkept.n")} AND one.phase NOT IN ({_SETTLED})
    ) ORDER BY n"""
_KEEP: Final = f"""
    INSERT INTO taskcore_count (block, parent, kind, phase, label, hidden, first, n)
    SELECT b.value, :parent, one.kind, one.phase, ifnull(one.label, ''), one.hidden, min(one.id), count(*)
    FROM json_each(:blocks) AS b CROSS JOIN taskcore_task AS one ON {_IN.replace("#", "b.value")}
    WHERE NOT EXISTS (SELECT 1 FROM taskcore_count AS c WHERE c.block = b.value AND c.parent = :parent)
    GROUP BY 1, 2, 3, 4, 5, 6"""
# Something may have begun in one of them since it was looked at.
_STILL_OPEN: Final = f"""
    DELETE FROM taskcore_count WHERE block IN (
        SELECT c.block FROM json_each(?) AS b CROSS JOIN taskcore_count AS c ON c.block = b.value
        WHERE c.phase NOT IN ({_SETTLED})
    )"""
_WRONG: Final = """
    WITH kept (block, parent) AS MATERIALIZED (SELECT DISTINCT block, parent FROM taskcore_count)
    SELECT block FROM (
        SELECT block, parent, kind, phase, label, hidden, n FROM taskcore_count
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
    text = chosen.sql
    return dict(_read(
        connection, chosen,
        f"SELECT ifnull(t.label, t.phase), sum(t.n) FROM counted AS t WHERE {text} GROUP BY 1 ORDER BY min(t.id)",
    ))  # fmt: skip


def count(connection: sqlite3.Connection, chosen: Where) -> int:
    """How many match."""
    text = chosen.sql
    return int(_read(connection, chosen, f"SELECT ifnull(sum(t.n), 0) FROM counted AS t WHERE {text}")[0][0])


def by_phase(connection: sqlite3.Connection, chosen: Where) -> dict[tuple[str, str], int]:
    """(phase, status) → number."""
    text = chosen.sql
    return {
        (phase, status): n
        for phase, status, n in _read(
            connection, chosen,
            f"""SELECT t.phase, ifnull(t.label, t.phase), sum(t.n) FROM counted AS t WHERE {text}
                GROUP BY 1, 2 ORDER BY min(t.id)""",
        )
    }  # fmt: skip


def by_name(connection: sqlite3.Connection, chosen: Where) -> dict[str, dict[tuple[str, str], int]]:
    """Name → (phase, status) → number."""
    text, found = chosen.sql, dict[str, dict[tuple[str, str], int]]()
    for name, phase, status, n in _read(
        connection, chosen,
        f"""SELECT k.name, t.phase, ifnull(t.label, t.phase), sum(t.n) FROM counted AS t
            CROSS JOIN taskcore_kind AS k ON k.id = t.kind WHERE {text} GROUP BY 1, 2, 3 ORDER BY min(t.id)""",
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


def keep(connection: sqlite3.Connection, known: Known, chosen: Where, blocks: Collection[int]) -> bool:
    """Keep the counts of these blocks that answer this, as far as they may still be kept. → False, and nothing is kept,
    where the file cannot be written now: whoever only looks waits no more than a moment for another program, and needs
    no room on the disk."""
    text, parent = json.dumps(list(blocks)), chosen.parent or 0
    try:
        connection.execute(f"PRAGMA busy_timeout = {A_MOMENT}")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_among(_KEEP, parent), {"blocks": text, "block": schema.BLOCK, "parent": parent})
        connection.execute(_STILL_OPEN, (text,))
        known.has_counts = True  # under the lock over the connection: whoever moves one next drops them
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

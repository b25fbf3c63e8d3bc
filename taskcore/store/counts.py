"""How many tasks there are of each status, without reading them all.

Tasks are counted by blocks of ids. What a block has is kept in `taskcore_count` by whoever counted it, and dropped by
whoever changes it: so it costs those who look, and nothing where nobody does. Only blocks are kept in which every task
waits, is ready or has ended, for out of these phases few verbs lead, and each of them calls `Transaction.uncount`.
Blocks in which something runs, sleeps or has a time to come are read each time.
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
ANSWERED: Final = frozenset({"name", "phase", "status", "hidden"})
"""What `where` may ask for that the kept counts answer."""

# The blocks that are not kept. From one to the next it is one seek, also over ids that are no more.
_BLOCKS: Final = """
    WITH RECURSIVE block (n) AS (
        SELECT min(id) / :block FROM taskcore_task
        UNION ALL
        SELECT (SELECT min(id) / :block FROM taskcore_task WHERE id >= (n + 1) * :block) FROM block WHERE n IS NOT NULL
    ), unkept (n) AS (SELECT n FROM block WHERE n IS NOT NULL AND n NOT IN (SELECT block FROM taskcore_count))"""
_COUNTED: Final = f"""{_BLOCKS}, counted (id, kind, phase, label, hidden, n) AS MATERIALIZED (
        SELECT first, kind, phase, nullif(label, ''), hidden, n FROM taskcore_count
        UNION ALL
        SELECT min(one.id), one.kind, one.phase, one.label, one.hidden, count(*) FROM unkept
        CROSS JOIN taskcore_task AS one ON one.id BETWEEN unkept.n * :block AND unkept.n * :block + :block - 1
        GROUP BY 2, 3, 4, 5
    ) """
_SETTLED: Final = ", ".join(f"'{phase}'" for phase in (lifecycle.WAITING, lifecycle.READY, *lifecycle.ENDED))
_OPEN: Final = f"""{_BLOCKS}
    SELECT n FROM unkept WHERE n < (SELECT max(id) FROM taskcore_task) / :block AND NOT EXISTS (
        SELECT 1 FROM taskcore_task AS t
        WHERE t.id BETWEEN unkept.n * :block AND unkept.n * :block + :block - 1 AND t.phase NOT IN ({_SETTLED})
    ) ORDER BY n"""
_KEEP: Final = """
    INSERT INTO taskcore_count (block, kind, phase, label, hidden, first, n)
    SELECT b.value, t.kind, t.phase, ifnull(t.label, ''), t.hidden, min(t.id), count(*)
    FROM json_each(:blocks) AS b
    CROSS JOIN taskcore_task AS t ON t.id BETWEEN b.value * :block AND b.value * :block + :block - 1
    WHERE b.value NOT IN (SELECT block FROM taskcore_count)
    GROUP BY 1, 2, 3, 4, 5"""
# Something may have begun in one of them since it was looked at.
_STILL_OPEN: Final = f"""
    DELETE FROM taskcore_count WHERE block IN (
        SELECT c.block FROM json_each(?) AS b CROSS JOIN taskcore_count AS c ON c.block = b.value
        WHERE c.phase NOT IN ({_SETTLED})
    )"""
_WRONG: Final = """
    SELECT block FROM (
        SELECT block, kind, phase, label, hidden, n FROM taskcore_count
        UNION ALL
        SELECT t.id / :block, t.kind, t.phase, ifnull(t.label, ''), t.hidden, -count(*) FROM taskcore_task AS t
        WHERE t.id / :block IN (SELECT block FROM taskcore_count) GROUP BY 1, 2, 3, 4, 5
    ) GROUP BY block, kind, phase, label, hidden HAVING sum(n) <> 0"""


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
    values = {**chosen.values, "block": schema.BLOCK}
    if chosen.names <= ANSWERED:
        sql = _COUNTED + sql
    else:
        sql = sql.replace("counted AS t", "taskcore_task AS t").replace("sum(t.n)", "count(*)")
    return connection.execute(sql, values).fetchall()


def open_blocks(connection: sqlite3.Connection) -> list[int]:
    """The blocks that may be kept and are not: all in them waits, is ready or has ended, and nothing is born there."""
    return [block for (block,) in connection.execute(_OPEN, {"block": schema.BLOCK}).fetchall()]


def keep(connection: sqlite3.Connection, known: Known, blocks: Collection[int]) -> bool:
    """Keep the counts of these blocks, as far as they may still be kept. → False, and nothing is kept, where the file
    cannot be written now: whoever only looks waits for no other program, and needs no room on the disk."""
    text = json.dumps(list(blocks))
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_KEEP, {"blocks": text, "block": schema.BLOCK})
        connection.execute(_STILL_OPEN, (text,))
        known.has_counts = True  # under the lock over the connection: whoever moves one next drops them
        connection.execute("COMMIT")
        return True
    except sqlite3.OperationalError:
        return False
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def wrong(connection: sqlite3.Connection) -> list[int]:
    """The blocks of which something else is kept than what there is."""
    return sorted({block for (block,) in connection.execute(_WRONG, {"block": schema.BLOCK}).fetchall()})

"""Ended tasks that are old go, a short commit at a time, and the pages they leave go back to the disk.

Nothing is indexed for that: an index on the ends would cost every end. A slice looks at a stretch of ids.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Final, NamedTuple

from taskcore.store import operations
from taskcore.store.transaction import Transaction

LOOKED_AT: Final = 2000
"""Rows of a slice."""
AT_ONCE: Final = 200
"""Rows that one commit may delete: whoever submits meanwhile waits for it."""


class Slice(NamedTuple):
    """What a stretch of ids had."""

    end: int | None
    """The id to go on from, `None` if these were the last."""
    old: list[int]
    """Those that ended before the moment asked for."""
    oldest: float | None
    """When the first of the others ended that have ended."""


_UP: Final = """
    SELECT max(id), json_group_array(id) FILTER (WHERE finished_at <= :before),
        min(finished_at) FILTER (WHERE finished_at > :before), count(*)
    FROM (SELECT id, finished_at FROM taskcore_task WHERE id > :start ORDER BY id LIMIT :n)"""
_DOWN: Final = _UP.replace("max(id)", "min(id)").replace("> :start ORDER BY id", "< :start ORDER BY id DESC")


def look(
    connection: sqlite3.Connection, start: int, before: float, *, down: bool = False, most: int | None = None
) -> Slice:
    """The next rows above the id `start`, or below it; at most so many old ones."""
    most = AT_ONCE if most is None else most
    end, text, oldest, seen = connection.execute(
        _DOWN if down else _UP, {"start": start, "before": before, "n": LOOKED_AT}
    ).fetchall()[0]
    old: list[int] = json.loads(text)
    if len(old) > most:
        old = sorted(old, reverse=down)[:most]
        end = old[-1]
    elif seen < LOOKED_AT:
        end = None
    return Slice(end, old, oldest)


_STILL: Final = """
    SELECT t.id FROM json_each(?) AS wanted CROSS JOIN taskcore_task AS t ON t.id = wanted.value
    WHERE t.finished_at <= ?"""


def delete(tx: Transaction, ids: list[int], before: float) -> int:
    """Delete those that ended before this moment, whatever happened since they were seen. → how many."""
    return operations.delete(tx, [task for (task,) in tx.execute(_STILL, (json.dumps(ids), before)).fetchall()])


_VACUUM: Final = "PRAGMA incremental_vacuum(256)"


def shrink(connection: sqlite3.Connection) -> bool:
    """Give back some of the pages that hold nothing, in a transaction of its own. → whether there are more.

    Of a file that somebody else made, without `auto_vacuum`, they stay, and are used again.
    """
    if connection.in_transaction or not (free := _free(connection)):
        return False
    # It gives back a page at each step, and `execute` takes one step only. Nothing is open here to be committed.
    connection.executescript(_VACUUM)
    return 0 < _free(connection) < free


def _free(connection: sqlite3.Connection) -> int:
    found: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    return found


_PASSIVE: Final = "PRAGMA wal_checkpoint(PASSIVE)"
_TRUNCATE: Final = "PRAGMA wal_checkpoint(TRUNCATE)"


def checkpoint(connection: sqlite3.Connection, *, whole: bool = False) -> None:
    """Bring the log into the file, as far as nobody is in the way: so it gets shorter. `whole`: no log is left."""
    if not connection.in_transaction:
        connection.execute(_TRUNCATE if whole else _PASSIVE).fetchall()

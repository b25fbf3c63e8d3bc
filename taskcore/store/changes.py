"""Which tasks moved, for those who listen.

While somebody does, triggers of this connection alone note the id of each row that moves in a table of this connection
alone. So every verb is seen, and a rollback takes back what it noted; while nobody listens, there is nothing that could
cost anything. What other processes commit is not seen here;
worker processes tell their parent.
"""

from __future__ import annotations

import sqlite3
from typing import Final

MOST: Final = 5000
"""Rows that are noted between two looks; what moves beyond them is known to have moved, but not which tasks it is."""

_NOTE: Final = f"""WHEN (SELECT ifnull(max(n), 0) FROM temp.taskcore_moved) < {MOST}
    BEGIN INSERT INTO taskcore_moved (task) VALUES"""
_WATCH: Final = (
    "CREATE TEMP TABLE taskcore_moved (n INTEGER PRIMARY KEY, task INTEGER NOT NULL)",
    f"CREATE TEMP TRIGGER taskcore_born AFTER INSERT ON main.taskcore_task {_NOTE} (NEW.id); END",
    f"CREATE TEMP TRIGGER taskcore_gone AFTER DELETE ON main.taskcore_task {_NOTE} (OLD.id); END",
    f"""CREATE TEMP TRIGGER taskcore_went AFTER UPDATE OF phase, label, progress, message ON main.taskcore_task
        {_NOTE} (NEW.id); END""",
)
_FORGET: Final = (
    "DROP TRIGGER IF EXISTS temp.taskcore_born",
    "DROP TRIGGER IF EXISTS temp.taskcore_gone",
    "DROP TRIGGER IF EXISTS temp.taskcore_went",
    "DROP TABLE IF EXISTS temp.taskcore_moved",
)


def _watched(connection: sqlite3.Connection) -> bool:
    row = connection.execute("SELECT count(*) FROM temp.sqlite_master WHERE name LIKE 'taskcore!_%' ESCAPE '!'")
    return bool(row.fetchone()[0] == len(_WATCH))


def watch(connection: sqlite3.Connection) -> bool:
    """Note from now on what moves. → whether that was done before."""
    if _watched(connection):
        return True
    forget(connection)  # a Ctrl-C came in the middle of this
    for sql in _WATCH:
        connection.execute(sql)
    return False


def forget(connection: sqlite3.Connection) -> None:
    """Note nothing more."""
    for sql in _FORGET:
        connection.execute(sql)


def take(connection: sqlite3.Connection) -> tuple[set[int], bool]:
    """What was noted since the last time, and whether that is all that moved: not so on a connection that was made
    anew meanwhile, which notes from now on."""
    if not watch(connection):
        return set(), False
    noted = connection.execute("DELETE FROM temp.taskcore_moved RETURNING task").fetchall()
    return {task for (task,) in noted}, len(noted) < MOST

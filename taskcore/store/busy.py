"""What SQLite answers when it can't do something now, and waiting for another process."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from taskcore.core import clock

P = ParamSpec("P")
R = TypeVar("R")

Trouble: Final = sqlite3.Error
"""What the file says when it cannot be read or written now."""

BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})


def code(error: sqlite3.Error) -> int:
    """SQLite's primary result code."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def data_version(connection: sqlite3.Connection) -> int:
    """Changes when another connection commits; costs microseconds."""
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version


def patiently(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call until no other process is in the way.

    SQLite's own waiting sleeps up to 100 ms at a time and lets a busy writer starve the others; short random naps
    share the file evenly. It has no deadline: a locked file is never the outcome of a task.
    """
    while True:
        try:
            return work(*args, **kwargs)
        except sqlite3.OperationalError as error:
            if code(error) not in BUSY:
                raise
        clock.pause(random.uniform(0.0002, 0.002))

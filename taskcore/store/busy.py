"""What SQLite answers when it can't do something now, and waiting for another process."""

from __future__ import annotations

import contextlib
import logging
import math
import sqlite3
from collections.abc import Callable, Iterator
from typing import Final, ParamSpec, TypeGuard, TypeVar

from taskcore.core import clock
from taskcore.core.errors import EngineClosed
from taskcore.core.logger import tell

P = ParamSpec("P")
R = TypeVar("R")

Trouble: Final = sqlite3.Error
"""What the file says when it cannot be read or written now."""

BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
UNDECODABLE: Final = "Could not decode to UTF-8"
"""How Python's sqlite3 begins to say that a text in the file is none."""
BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})


_VERSION: Final = sqlite3.sqlite_version_info
_MENDED: Final = _VERSION >= (3, 51, 3) or (3, 50, 7) <= _VERSION < (3, 51) or (3, 44, 6) <= _VERSION < (3, 45)
KNOWN_BUG: Final = "" if _MENDED else (
    f"SQLite {sqlite3.sqlite_version} has the WAL-reset bug, mended in 3.51.3 (and 3.50.7, 3.44.6): very seldom, where "
    "several connections write, pages may be lost; keep backups"
)
"""What is to be known of the SQLite at hand; see sqlite.org/wal.html."""


def code(error: sqlite3.Error) -> int:
    """SQLite's primary result code."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


PASSING: Final = BUSY | {
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_PERM, sqlite3.SQLITE_ABORT,
}  # fmt: skip
"""What the world around the file may mend, so that the same is worth trying again."""


OF_A_ROW: Final = (
    sqlite3.IntegrityError, sqlite3.DataError, ValueError, TypeError, KeyError, AttributeError, OverflowError,
)  # fmt: skip
"""Errors that one row, or one value, can be the reason of. What the disk or another program does is none."""


def passing(error: BaseException) -> bool:
    """Whether the same may go well in a while."""
    if not isinstance(error, sqlite3.Error):
        return isinstance(error, MemoryError)
    if getattr(error, "sqlite_errorcode", None) is None:  # of Python's module itself
        return type(error) in (sqlite3.OperationalError, sqlite3.DatabaseError)
    return code(error) in PASSING


def said(error: BaseException) -> str:
    """An error in words, also where it has none of its own."""
    text = "" if isinstance(error, sqlite3.Error) else f"{type(error).__name__}: "
    try:
        text += str(error)
    except Exception:
        text += "<its str() failed>"
    return text.removesuffix(": ") or type(error).__name__


def broken(error: BaseException) -> TypeGuard[sqlite3.Error | UnicodeDecodeError]:
    """Whether the file itself is damaged: nothing that is tried again will mend that. Where the very message of SQLite
    has a piece of the damage in it, Python cannot even say it."""
    if isinstance(error, UnicodeDecodeError):
        return True
    return isinstance(error, sqlite3.Error) and (code(error) in BROKEN or str(error).startswith(UNDECODABLE))


def data_version(connection: sqlite3.Connection) -> int:
    """Changes when another connection commits; costs microseconds."""
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version


@contextlib.contextmanager
def one_moment(connection: sqlite3.Connection) -> Iterator[None]:
    """All that the block reads is of one moment, whether a transaction is open or not."""
    connection.execute("SAVEPOINT moment")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("RELEASE moment")


class Patience:
    """How the threads of one engine wait until no other process is in the way.

    SQLite's own waiting sleeps up to 100 ms at a time and lets a busy writer starve the others; short random naps
    share the file evenly. There is no deadline but that of a close: a locked file is never the outcome of a task.
    """

    __slots__ = ("ends_at", "path", "since")

    def __init__(self, path: str = "") -> None:
        self.path = path
        self.since: float | None = None
        """Since when somebody waits now, by the machine's clock for durations; `None` if nobody does. One thread at a
        time waits: it holds the lock over the connection."""
        self.ends_at = math.inf
        """From when on nobody waits any more, by the same clock: the engine is being closed."""

    def __call__(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call until no other process is in the way. `EngineClosed` from `ends_at` on."""
        began, told = None, False
        try:
            while True:
                try:
                    return work(*args, **kwargs)
                except sqlite3.OperationalError as error:
                    if code(error) not in BUSY:
                        raise
                if began is None:
                    self.since = began = clock.monotonic()
                waited = clock.monotonic() - began
                if clock.monotonic() >= self.ends_at:
                    why = f"another program has kept the file locked for {waited:.1f} s"
                    raise EngineClosed(self.path, why)
                if waited > WORTH_TELLING and not told:
                    told = True
                    tell(logging.WARNING, "%s: another program has kept it locked for %.0f s", self.path, waited)
                import random  # for those who have to wait

                longest = min(0.002, max(0.0004, waited))
                clock.pause(random.uniform(longest / 10, longest))
        finally:
            if began is not None:
                self.since = None


WORTH_TELLING: Final = 3.0
"""Seconds of waiting for another program after which a sentence says so."""


def patiently(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The same for what belongs to no open file: the opening itself, in any number of threads."""
    return Patience()(work, *args, **kwargs)

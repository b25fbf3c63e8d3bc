"""A second connection that only reads, for whoever must not wait for what holds the first one up."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from taskcore.core.errors import BadFile, EngineClosed
from taskcore.store import opening
from taskcore.store.busy import Patience, broken

P = ParamSpec("P")
R = TypeVar("R")


class Reader:
    """Of one file. Opened when it is first needed; each read sees what was committed last."""

    def __init__(self, path: str, *, read_only: bool = True) -> None:
        """`read_only`: SQLite checks no constraints in its `integrity_check` for one that could not write."""
        self._path = path
        self._patience = Patience(path)
        self._read_only = read_only
        self._connection: sqlite3.Connection | None = None
        self._ended = False
        self._lock = threading.RLock()  # over the connection: it has one user at a time

    def read(self, work: Callable[Concatenate[sqlite3.Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `work(connection, …)`, which fetches all that it reads. `EngineClosed`, `BadFile` for a damaged one."""
        with self._lock:
            if self._ended:
                raise EngineClosed(self._path)
            try:
                if self._connection is None:
                    self._connection = opening.connect(self._path, full=False, read_only=self._read_only)
                return self._patience(work, self._connection, *args, **kwargs)
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                if self._ended:  # it was interrupted
                    raise EngineClosed(self._path) from None
                if broken(error):
                    raise BadFile(self._path, opening.reason(error)) from error
                raise

    def end(self) -> None:
        """Read nothing more. What is being read now fails: whoever closes the file does not wait for it."""
        self._ended = True
        with contextlib.suppress(AttributeError, sqlite3.ProgrammingError):  # there is none, or it was just closed
            self._connection.interrupt()  # type: ignore[union-attr]

    def close(self) -> None:
        """Let go of the file, until the next read."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

"""Statements that stand for themselves, of several threads at a time, in one commit of whoever comes first."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

from taskcore.store.connection import File
from taskcore.store.transaction import Transaction


class _Call:
    """One statement on its way. `changed`: how many rows it changed, once it is in the file."""

    __slots__ = ("changed", "sql", "values")

    def __init__(self, sql: str, values: Sequence[Any]) -> None:
        self.sql = sql
        self.values = values
        self.changed: int | None = None


class Together:
    """Runs statements of which each is to be in the file when its call returns.

    While one thread writes and another waits to, more come: the next of them writes for all who came. A statement may
    be run twice, after a Ctrl-C that comes just behind the commit: that must do it no harm.
    """

    def __init__(self, file: File) -> None:
        self._file = file
        self._calls = deque[_Call]()
        self._lock = threading.RLock()  # over taking calls and writing them; a signal handler may come back to it

    def run(self, sql: str, values: Sequence[Any]) -> int:
        """→ how many rows the statement changed. In a transaction of the calling thread's it is a part of that."""
        # In a process that forked off nobody waits either: whoever has the lock is not there.
        if not (self._file.line.tickets and self._file.apart):
            return self._file.once(sql, values)
        call = _Call(sql, values)
        self._calls.append(call)
        with self._lock:
            if call.changed is None:
                call.changed = self._write(call)
            return call.changed

    def _write(self, call: _Call) -> int:
        """This one, and those that came meanwhile."""
        calls: list[_Call] = []
        with contextlib.suppress(IndexError):
            while True:
                calls.append(self._calls.popleft())
        if len(calls) > 1:
            with contextlib.suppress(sqlite3.Error, MemoryError):  # of one of them: each stands for itself
                for other, changed in zip(calls, self._file.write(_all, calls), strict=True):
                    other.changed = changed
        return self._file.once(call.sql, call.values) if call.changed is None else call.changed


def _all(tx: Transaction, calls: Sequence[_Call]) -> list[int]:
    return [tx.execute(call.sql, call.values).rowcount for call in calls]

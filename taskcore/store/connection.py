"""The door to the file: one connection, one lock, one place that says BEGIN once it is open.

`write(work, …)` runs `work(tx, …)` inside one `BEGIN IMMEDIATE` transaction; all or nothing of it is in the file
afterwards, whatever is raised inside. No user code, logging, callback or encoding belongs into `work`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from taskcore.core import clock
from taskcore.core.errors import BadFile, EngineClosed
from taskcore.store import opening, schema
from taskcore.store.busy import BROKEN, BUSY, Patience, code, data_version
from taskcore.store.cache import Known

P = ParamSpec("P")
R = TypeVar("R")

FORKED: Final = "this engine belongs to the process that forked; open one of your own here"
_REPLACED: Final = "the file was deleted or replaced while it was open"
_LOG_GONE: Final = (
    "its log, the file that ends in -wal, was deleted or replaced while it was open; "
    "what is not confirmed is not stored"
)
_files: Final[weakref.WeakSet[File]] = weakref.WeakSet()


class Transaction:
    """One open write, and what it gathers for those who look after its commit."""

    __slots__ = (
        "births", "born", "building", "committed", "doomed", "ended", "execute", "executemany", "freed", "fresh",
        "known", "left", "of_a_turn", "opened", "requested", "scope", "short", "until",
    )  # fmt: skip

    def __init__(self, connection: sqlite3.Connection, known: Known) -> None:
        self.execute = connection.execute
        self.executemany = connection.executemany
        self.known = known
        self.ended: list[int] = []
        """Tasks that ended here and are not the scheduler's own report."""
        self.fresh: list[int] = []
        """Tasks that ended here, whatever follows from it for others still to be done (`follow.settle`)."""
        self.opened: list[int] = []
        """Likewise: tasks among which may be jobs that now open, or end."""
        self.building: set[int] = set()
        """Jobs that must not end yet: their blocks are open."""
        self.freed = False
        """Whether a task may have become ready, or a time may have come nearer."""
        self.left = False
        """Of a claim: whether there may be more to be claimed at once."""
        self.short = False
        """Likewise: whether something only lacks a capacity."""
        self.until: float | None = None
        """Likewise: when a rate lets more begin."""
        self.requested: list[int] = []
        """Running tasks that somebody wants to stop, or to come back."""
        self.of_a_turn = False
        """Whether this is the scheduler's own, which knows what it did."""
        self.born: Any = None
        """A task that this engine claimed as it made it."""
        self.births: Any = None
        """Of a user's transaction: the submits that are not written yet, and the block itself."""
        self.scope: Any = None
        self.committed = False
        """Whether it is in the file; where it is not a user's, said only if something was raised after the commit."""
        self.doomed = False
        """Of a user's: whether SQLite rolled it back by itself, so that what comes after must not be stored either."""


class File:
    """One SQLite file with our tables, opened, checked, and made where there was none."""

    def __init__(self, path: str, *, full: bool, statuses: Mapping[str, str]) -> None:
        self.path = path
        self.in_memory = path == ":memory:"
        self.on_commit: Callable[[Transaction], None] = lambda _: None
        self._full = full
        self._lock = threading.RLock()  # over BEGIN…COMMIT, execute and fetch: a connection has one user at a time
        self.known = Known()
        self._transaction: Transaction | None = None  # of the thread that holds the lock
        self._owner: int | None = None
        self._usable = True  # False in a process that forked off
        self._closed = False
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._log_path = "" if self.in_memory else os.path.realpath(path) + "-wal"
        self._log: tuple[int, int] | None = None  # its identity, known from the first commit on
        self._gone: str | None = None  # why commits of this connection go nowhere
        self._checked_until = 0.0  # monotonic; when to look next whether the path still leads to the open file
        self._polled: int | None = None
        self._patiently = Patience(path)
        self._open(statuses)
        _files.add(self)

    # -- opening ----------------------------------------------------------------------------------------------------

    def _open(self, statuses: Mapping[str, str]) -> None:
        if not self.in_memory and os.path.isdir(self.path):
            raise BadFile(self.path, "this is a directory")
        if not self.in_memory and os.path.exists(self.path) and not os.access(self.path, os.W_OK):
            raise BadFile(self.path, "the file cannot be written")
        try:
            connection = opening.connect(self.path, full=self._full)
            try:
                opening.prepare(connection, self.path, in_memory=self.in_memory, statuses=statuses)
                self._polled = self._patiently(data_version, connection)
                self._patiently(self.known.learn, connection, self._polled)
            except BaseException:
                connection.close()
                raise
        except sqlite3.DatabaseError as error:
            raise BadFile(self.path, opening.reason(error)) from error
        self._connection = connection
        self._birth = Transaction(connection, self.known)
        self._birth.freed = True
        """What is told of each task that `bear` stored: always the same."""
        self._identity = None if self.in_memory else _identity(self.path)
        self._checked_until = clock.monotonic() + 0.5

    # -- using ------------------------------------------------------------------------------------------------------

    def write(self, work: Callable[Concatenate[Transaction, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `work(tx, …)` in one transaction; inside `enter` of the same thread, as part of that one.

        One function on purpose: a Ctrl-C finds the lock taken and `try` entered, or neither.
        """
        tx, committing = None, False
        try:
            with self._lock:
                if self._transaction is not None:
                    return self._nested(self._transaction, work, *args, **kwargs)
                connection = self._ready()
                try:
                    tx = self._begin(connection)
                    result = work(tx, *args, **kwargs)
                    committing = True
                    self._patiently(connection.execute, "COMMIT")
                    if self._log_path and not self._log_stands():
                        committing = False
                        self.check_identity()
                except (sqlite3.DatabaseError, MemoryError) as error:
                    self.known.forget()
                    committing = False
                    if isinstance(error, sqlite3.Error) and code(error) in BROKEN:
                        raise BadFile(self.path, opening.reason(error)) from error
                    raise
                except BaseException:
                    self.known.forget()
                    raise
                finally:
                    if connection.in_transaction:
                        committing = False
                        connection.execute("ROLLBACK")
            self.on_commit(tx)
            return result
        except BaseException:
            if committing and tx is not None:  # a Ctrl-C after the commit; who is told of one only looks again
                tx.committed = True
                with contextlib.suppress(Exception):
                    self.on_commit(tx)
            raise

    def once(self, sql: str, values: Sequence[Any]) -> int:
        """One statement from which nothing follows, as a transaction of its own, at half the price of `write`; or as
        part of the caller's. → how many rows it changed."""
        if clock.monotonic() >= self._checked_until:
            self.check_identity()
        with self._lock:
            tx = self.current
            changed = self._once(self._ready().execute if tx is None else tx.execute, sql, values)
            if tx is None and self._log_path and not self._log_stands():
                self.check_identity()
            return changed

    def _once(self, execute: Callable[..., sqlite3.Cursor], sql: str, values: Sequence[Any]) -> int:
        try:
            return execute(sql, values).rowcount
        except sqlite3.DatabaseError as error:
            if code(error) in BROKEN:
                raise BadFile(self.path, opening.reason(error)) from error
            if code(error) not in BUSY:
                raise
        return self._patiently(execute, sql, values).rowcount

    def bear(self, sql: str, kind: tuple[str, str], values: Sequence[Any], made: Callable[[int], R]) -> R | None:
        """A task that is ready at once, as a transaction of its own, at half the price of `write`.

        `sql` takes an id, the kind's, the `values` and the id again, and stores nothing if the id was given before, as
        what is known here of the file may be old. `None` then, or inside `enter`, or if the kind has to be looked at:
        that is for `write`. → what `made` makes of the id.
        """
        committing = False
        try:
            if clock.monotonic() >= self._checked_until:
                self.check_identity()
            with self._lock:
                connection, known = self._ready(), self.known
                kind_id = known.plain_ids.get(kind)
                if self._transaction is not None or known.version is None or kind_id is None:
                    return None
                try:
                    task_id = known.last_id + 1
                    committing = True
                    if not self._once(connection.execute, sql, (task_id, kind_id, *values, task_id)):
                        committing = False
                        return None
                    if self._log_path and not self._log_stands():
                        self.check_identity()
                    known.last_id = task_id
                except (sqlite3.Error, BadFile, MemoryError):
                    committing = False
                    raise
                except BaseException:
                    known.forget()
                    raise
                result = made(task_id)  # still under the lock: this engine has not claimed it yet
            self.on_commit(self._birth)
            return result
        except BaseException:
            if committing:  # as in `write`
                with contextlib.suppress(Exception):
                    self.on_commit(self._birth)
            raise

    def read(self, work: Callable[Concatenate[sqlite3.Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `work(connection, …)`, which only reads and fetches all it reads."""
        with self._lock:
            connection = self._ready()
            try:
                return self._patiently(work, connection, *args, **kwargs)
            except sqlite3.DatabaseError as error:
                if code(error) in BROKEN:
                    raise BadFile(self.path, opening.reason(error)) from error
                raise

    def enter(self) -> Transaction:
        """Begin a transaction that `leave` ends, in the same thread; until then every other thread waits."""
        with self._lock:
            connection, acquire, me = self._ready(), self._lock.acquire, threading.get_ident()
            try:
                tx = self._begin(connection)
                # Python looks for a Ctrl-C after calls: it finds both done, or neither.
                self._transaction, self._owner = tx, me
                acquire()
                return tx
            except BaseException:
                self._end(connection)
                raise

    def leave(self, commit: bool) -> None:
        """End what the calling thread has entered, if it has. `committed` of the transaction says whether it is in the
        file, also where this raises."""
        tx, connection = self.current, self._connection
        if tx is None or connection is None:
            return
        try:
            if commit and tx.doomed:
                commit = False
                raise RuntimeError("a statement inside made SQLite roll the transaction back: nothing of it is stored")
            if commit:
                try:
                    self._patiently(connection.execute, "COMMIT")
                    if self._log_path and not self._log_stands():
                        self.check_identity()
                except (sqlite3.Error, MemoryError, BadFile):
                    commit = False
                    raise
        finally:
            tx.committed = tx.committed or (commit and not connection.in_transaction)
            self._end(connection)
        if tx.committed:
            self.on_commit(tx)

    def _end(self, connection: sqlite3.Connection) -> None:
        """Of what `enter` began, nothing is open any more."""
        release = self._lock.release
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if self._transaction is None or not self._transaction.committed:
                self.known.forget()
        finally:
            if self._transaction is not None:
                self._transaction, self._owner = None, None
                if self._closed:
                    self._close()
                release()

    @property
    def current(self) -> Transaction | None:
        """The transaction that the calling thread has entered, if it has."""
        if self._owner is None or self._owner != threading.get_ident():
            return None
        tx, connection = self._transaction, self._connection
        if tx is not None and connection is not None and not connection.in_transaction:
            # `OR ROLLBACK`, a trigger or a full disk. What follows would commit by itself: `leave` will take it back.
            tx.doomed = True
            self._patiently(connection.execute, "BEGIN IMMEDIATE")
        return tx

    def changed(self) -> bool:
        """Whether another process committed since this was asked last; if so, `known` is brought up to date."""
        if self.in_memory or not self._lock.acquire(blocking=False):
            return False
        try:
            connection = self._ready()
            version = self._patiently(data_version, connection)
            if version == self._polled:
                return False
            self._polled = version
            if self._transaction is None:
                self._patiently(self.known.learn, connection, version)
            return True
        finally:
            self._lock.release()

    def check_identity(self) -> None:
        """Refuse to go on when the path no longer leads to the files that are open: commits would go nowhere."""
        if self._gone is None and not self.in_memory:
            if _identity(self.path) != self._identity:
                self._gone = _REPLACED
            elif self._log is not None:
                self._log_stands()
        if self._gone is not None:
            self._checked_until = 0.0
            raise BadFile(self.path, self._gone)
        self._checked_until = clock.monotonic() + 0.5

    def _log_stands(self) -> bool:
        """Whether the log that was just written to is the one that others read. Asked after each commit, before anybody
        is told of it.

        A program that opens and closes the database file itself drops SQLite's locks on POSIX. Another process may
        then take itself for the last one, and delete the log under this connection.
        """
        found = _identity(self._log_path)
        if self._log is None and found is not None:
            self._log = found
        if found is None or found != self._log:
            self._gone = _LOG_GONE
        return self._gone is None

    @property
    def locked_since(self) -> float | None:
        """Since when a thread of this engine waits for another program to let go of the file, by the machine's clock
        for durations; `None` if none does."""
        return self._patiently.since

    def stop_waiting(self, at: float) -> None:
        """From then on, by the machine's clock for durations, nobody waits for another program: `EngineClosed`."""
        self._patiently.ends_at = at

    @property
    def interrupted(self) -> bool:
        """Whether the calling thread is inside a call of this file: a signal handler that interrupted it. What the
        interrupted call holds is not let go of before the handler returns."""
        owned: bool = self._lock._is_owned()  # type: ignore[attr-defined] # as `threading.Condition` asks
        return owned

    def close(self, timeout: float = -1.0) -> bool:
        """Close the connection. → whether that was possible within `timeout` s (-1: however long it takes); if not,
        the thread that is inside a call closes it at the end of that."""
        self._closed = True
        _files.discard(self)
        if self.interrupted or not self._lock.acquire(timeout=timeout):
            return False
        try:
            self._close()
        finally:
            self._lock.release()
        return True

    def _close(self) -> None:
        if self._connection is not None and self._usable:
            self._connection.close()
        self._connection = None

    def _ready(self) -> sqlite3.Connection:
        """The connection, made anew if a fork closed it."""
        if self._closed and self._transaction is None:
            self._close()
            raise EngineClosed(self.path)
        if self._connection is not None and self._usable:
            if self._transaction is None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")  # a second Ctrl-C hit the ROLLBACK of the first
            if self._gone is not None:
                self.check_identity()
            return self._connection
        if not self._usable:
            raise EngineClosed(self.path, FORKED)
        self._connection, self._log = opening.connect(self.path, full=self._full), None
        self.known.forget()
        return self._connection

    def _refuse(self, *_: Any) -> Any:
        raise EngineClosed(self.path, FORKED)

    def _begin(self, connection: sqlite3.Connection) -> Transaction:
        if clock.monotonic() >= self._checked_until:
            self.check_identity()
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if code(error) not in BUSY:
                raise
            self._patiently(connection.execute, "BEGIN IMMEDIATE")
        version = data_version(connection)
        if version != self.known.version:
            self.known.learn(connection, version)
            if self.known.format != schema.FORMAT:
                raise BadFile(self.path, f"another process brought it to format {self.known.format} meanwhile")
        return Transaction(connection, self.known)

    def _nested(
        self, tx: Transaction, work: Callable[Concatenate[Transaction, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """A verb inside the caller's transaction is all or nothing too."""
        self.mark()
        try:
            result = work(tx, *args, **kwargs)
        except BaseException:
            self.unmark(keep=False)
            raise
        self.unmark(keep=True)
        return result

    def mark(self) -> None:
        """Begin a part of the transaction that the calling thread has entered; `unmark` ends it."""
        tx = self._transaction
        assert tx is not None
        if tx.births is not None:
            tx.births.flush()
        tx.execute("SAVEPOINT part")

    def unmark(self, keep: bool) -> None:
        """End the newest part: what it brought stays in the transaction, or was never there."""
        tx, connection = self._transaction, self._connection
        assert tx is not None and connection is not None
        if keep:
            tx.execute("RELEASE part")
            return
        if connection.in_transaction:
            tx.execute("ROLLBACK TO part")
            tx.execute("RELEASE part")
        if tx.births is not None:
            tx.births.forget()
        tx.fresh.clear()
        tx.opened.clear()
        version, last_id = self.known.version, self.known.last_id
        self.known.forget()
        self.known.learn(connection, version)
        self.known.last_id = max(last_id, self.known.last_id)  # a handle of what never was must be no other task's


def _identity(path: str) -> tuple[int, int] | None:
    """Which file the path leads to, if there is one."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _before_fork() -> None:
    """SQLite must not cross a fork: a child would inherit the bookkeeping of its locks, but not the locks.

    A second is long for a transaction of ours; one of the user's that lasts longer crosses the fork as it is.
    """
    for file in list(_files):
        if file._lock.acquire(timeout=1):
            _held_over_fork.append(file)
            if file._transaction is None and not file.in_memory and file._connection is not None:
                file._connection.close()
                file._connection = None


def _after_fork() -> None:
    while _held_over_fork:
        _held_over_fork.pop()._lock.release()


def _after_fork_in_child() -> None:
    # What could not be closed before is kept for good: closing it here would touch the parent's file.
    for file in list(_files):
        file._usable = False
        if file._connection is not None:
            _never_closed.append(file._connection)
        if file._transaction is not None:
            file._transaction.execute = file._transaction.executemany = file._refuse
        file._transaction, file._owner, file._lock = None, None, threading.RLock()  # of threads that are not here
    _held_over_fork.clear()


_held_over_fork: Final[list[File]] = []
_never_closed: Final[list[sqlite3.Connection]] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)

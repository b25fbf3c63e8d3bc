"""The door to the file: one connection, one lock, one place that says BEGIN once it is open.

`write(work, …)` runs `work(tx, …)` inside one `BEGIN IMMEDIATE` transaction; all or nothing of it is in the file
afterwards, whatever is raised inside. No user code, logging, callback or encoding belongs into `work`.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from taskcore.core import clock
from taskcore.core.errors import BadFile, EngineClosed
from taskcore.store import forks, opening
from taskcore.store.busy import BUSY, Patience, broken, code, data_version
from taskcore.store.cache import Known
from taskcore.store.identity import Identity, NoIdentity
from taskcore.store.line import Line
from taskcore.store.reader import Reader
from taskcore.store.transaction import Transaction, disown

P = ParamSpec("P")
R = TypeVar("R")
Values = Sequence[Any] | Mapping[str, Any]

READ_ONLY: Final = "the file cannot be written: this engine only looks at it"
REENTERED: Final = "a signal handler or __del__ interrupted another call of this engine: it cannot store anything"
FORKED: Final = "this engine belongs to the process that forked; open one of your own here"


class File:
    """One SQLite file with our tables, opened, checked, and made where there was none."""

    def __init__(
        self, path: str, *, full: bool, statuses: Mapping[str, str], read_only: bool = False,
        allow_network: bool = False,
    ) -> None:  # fmt: skip
        self.path, self.read_only, self.in_memory = path, read_only, path == ":memory:"
        self.on_commit: Callable[[Transaction], None] = lambda _: None
        self.how = full, allow_network  # for who opens it in another process
        self._lock = threading.RLock()  # over BEGIN…COMMIT, execute and fetch: a connection has one user at a time
        self.known = Known(path)
        self._transaction: Transaction | None = None  # of the thread that holds the lock
        self._owner: int | None = None
        self._inside = False  # a call is between its first statement and its last
        self.line = Line()
        """Who waits for the lock in order to write."""
        self._usable, self._closed = True, False  # not usable in a process that forked off
        self._connection: sqlite3.Connection | None = None
        self._identity: Identity = NoIdentity()
        self.patience = self._patiently = Patience(path)
        how = {"read_only": read_only, "allow_network": allow_network}
        connection = opening.opened(path, full=full, statuses=statuses, **how)
        try:
            self._polled: int | None = self._patiently(data_version, connection)
            self._patiently(self.known.learn, connection, self._polled)
        except BaseException as error:
            connection.close()
            if isinstance(error, (sqlite3.DatabaseError, UnicodeDecodeError)):
                raise BadFile(self.path, opening.reason(error)) from error
            raise
        self._connection = connection
        self.reader = Reader(path)
        if not (self.in_memory or self.read_only):
            self._identity = Identity(self.path)
        forks.watch(self)

    def write(self, work: Callable[Concatenate[Transaction, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `work(tx, …)` in one transaction; inside `enter` of the same thread, as part of that one."""
        tx, committing = None, False  # one function: a Ctrl-C finds the lock taken and `try` entered, or neither
        try:
            ticket = self.line.join()
            with self._lock:
                self.line.leave(ticket)
                if self._transaction is not None:
                    with self.part() as entered:
                        return work(entered, *args, **kwargs)
                connection = self._ready()
                self._inside = True
                try:
                    tx = self._begin(connection)
                    result = work(tx, *args, **kwargs)
                    committing = True
                    self._patiently(connection.execute, "COMMIT")
                    self._identity.confirm()
                except (sqlite3.DatabaseError, MemoryError, BadFile) as error:
                    self.known.forget()
                    committing = False
                    if broken(error):
                        raise BadFile(self.path, opening.reason(error)) from error
                    raise
                except BaseException:
                    self.known.forget()
                    raise
                finally:
                    self._inside = False
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

    def once(self, sql: str, values: Values) -> int:
        """One statement from which nothing follows, as a transaction of its own, at half the price of `write`; or as
        part of the caller's. → how many rows it changed."""
        ticket = self.line.join()
        with self._lock:
            self.line.leave(ticket)
            if self.read_only:
                raise BadFile(self.path, READ_ONLY)
            tx = None if self._owner is None else self.current
            execute = self._ready().execute if tx is None else tx.execute
            try:
                changed = execute(sql, values).rowcount
            except sqlite3.DatabaseError as error:
                changed = self._again(error, execute, sql, values).rowcount
            if tx is None:
                self._identity.confirm()
            return changed

    def _again(self, error: sqlite3.DatabaseError, execute: Callable[..., R], *said: Any) -> R:
        """Execute once more what failed by this, if another process was in the way."""
        if broken(error):
            raise BadFile(self.path, opening.reason(error)) from error
        if code(error) not in BUSY:
            raise error
        return self._patiently(execute, *said)

    def bear(
        self, sql: str, kind: tuple[str, str], values: Sequence[Any], made: Callable[[int], R], told: Callable[[], None]
    ) -> R | None:
        """A task, as a transaction of its own, at half the price of `write`. → what `made` makes of the id, under the
        lock; `told` is called without it. After a Ctrl-C both are called without it, and perhaps again. `sql` takes an
        id twice, the kind's and the `values`, and breaks a constraint where what is known here is old: the id was given
        before, say. What is new is learnt then, and → `None`; also inside `enter`, and if the kind is not known."""
        committing, result = False, None
        try:
            ticket = self.line.join()
            with self._lock:
                self.line.leave(ticket)
                connection, known = self._ready(), self.known
                kind_id = known.plain_ids.get(kind)
                if self.read_only or self._transaction is not None or known.version is None or kind_id is None:
                    return None
                self._inside = True
                try:
                    task_id, changes = known.last_id + 1, connection.total_changes
                    try:
                        connection.execute(sql, (task_id, task_id, kind_id, *values))
                    except sqlite3.DatabaseError as error:
                        self._again(error, connection.execute, sql, (task_id, task_id, kind_id, *values))
                    self._identity.confirm()
                    known.last_id, committing = task_id, True
                except sqlite3.IntegrityError:  # another process has given the id, removed the kind, set a limit, …
                    self._patiently(lambda: known.learn(connection, data_version(connection)))
                    return None
                except (sqlite3.Error, BadFile, MemoryError):
                    raise
                except BaseException:  # mostly a Ctrl-C
                    committing = connection.total_changes != changes
                    known.forget(part=True)
                    raise
                finally:
                    self._inside = False
                result = made(task_id)  # still under the lock: this engine has not claimed it yet
            told()
            return result
        except BaseException:
            if committing:  # as in `write`
                with contextlib.suppress(Exception):
                    result = result or made(task_id)
                    told()
            raise

    def read(self, work: Callable[Concatenate[sqlite3.Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `work(connection, …)`, which only reads and fetches all it reads. Where a transaction of a user's or
        another program holds the connection up, it reads beside it what was committed last."""
        if self.held_up:
            return self.reader.read(work, *args, **kwargs)
        try:
            with self._lock:
                return self._patiently(work, self._ready(), *args, **kwargs)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if broken(error):
                raise BadFile(self.path, opening.reason(error)) from error
            raise

    @property
    def apart(self) -> bool:
        """Whether the calling thread may look by the `reader`, so that nobody waits for it."""
        return not (self.in_memory or self._closed) and self._usable and self._owner != threading.get_ident()

    @property
    def held_up(self) -> bool:
        """Whether another thread, another program or a call that was interrupted here has the connection for long."""
        held = self._transaction is not None or self.patience.since is not None
        return self.apart and (held or (self._inside and self.interrupted))

    def enter(self) -> Transaction:
        """Begin a transaction that `leave` ends, in the same thread; until then every other thread waits."""
        ticket = self.line.join()
        with self._lock:
            self.line.leave(ticket)
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
                raise RuntimeError("something inside was cut off, or made SQLite roll back: nothing of it is stored")
            if commit:
                try:
                    self._patiently(connection.execute, "COMMIT")
                    self._identity.confirm()
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
        """The transaction that the calling thread has entered."""
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
        """`BadFile` when the path no longer leads to the file that is open. Without the lock, which a Ctrl-C between
        taking it and the `try` would leave held for ever: of the log only those know who are inside a call."""
        self._identity.check_path()

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
        self.reader.end()
        forks.forget(self)
        if self.interrupted or not self._lock.acquire(timeout=timeout):
            return False
        try:
            self._close()
        finally:
            self._lock.release()
        return True

    def _close(self) -> None:
        self.reader.close()
        if self._connection is not None and self._usable:
            self._connection.close()
            self._identity.reopened()
        self._connection = None

    def _ready(self) -> sqlite3.Connection:
        """The connection, made anew if a fork closed it."""
        if self._inside:
            raise RuntimeError(REENTERED)
        if self._closed and self._transaction is None:
            self._close()
            raise EngineClosed(self.path)
        connection = self._connection
        if connection is not None and self._usable:
            if self._transaction is None and connection.in_transaction:
                connection.execute("ROLLBACK")  # a second Ctrl-C hit the ROLLBACK of the first
            if clock.monotonic() >= self._identity.due and self._identity.check() > opening.LONGEST_LOG:
                opening.shorten_log(connection)
            return connection
        if not self._usable:
            raise EngineClosed(self.path, FORKED)
        self._connection = opening.connect(self.path, full=self.how[0], read_only=self.read_only)
        self.known.forget(part=True)
        return self._connection

    def before_fork(self) -> bool:
        """Let go of the file, so that nothing of SQLite's crosses the fork. → whether the lock is held until
        `after_fork`. A second is long for a transaction of ours; one of the user's may cross the fork as it is."""
        if not self._lock.acquire(timeout=1):
            return False
        if self._transaction is None and not self.in_memory:
            self._close()
        return True

    def after_fork(self) -> None:
        """In the parent, of a file whose `before_fork` said so."""
        self._lock.release()

    def after_fork_in_child(self) -> sqlite3.Connection | None:
        """This file is the parent's. → a connection that could not be closed before, to be kept for good: closing it
        here would touch the parent's file."""
        self._usable = False
        if self._transaction is not None:
            disown(self._transaction, EngineClosed(self.path, FORKED))
        self._transaction, self._owner, self._lock = None, None, threading.RLock()  # of threads that are not here
        return self._connection

    def _begin(self, connection: sqlite3.Connection) -> Transaction:
        if self.read_only:
            raise BadFile(self.path, READ_ONLY)
        self.known.begin()
        self._patiently(connection.execute, "BEGIN IMMEDIATE")
        version = data_version(connection)
        if version != self.known.version:
            self.known.learn(connection, version)
        return Transaction(connection, self.known)

    @contextlib.contextmanager
    def part(self) -> Iterator[Transaction]:
        """A part of the transaction that the calling thread has entered: what the block brings stays in that, or, if it
        raises, was never there."""
        tx, connection, keep = self._transaction, self._connection, False
        assert tx is not None and connection is not None
        tx.births.flush()
        tx.execute("SAVEPOINT part")
        try:
            yield tx
            keep = True
        finally:
            is_open = connection.in_transaction  # SQLite may have rolled the whole transaction back by itself
            if self._transaction is tx and self._owner == threading.get_ident():  # else it has ended
                if is_open and not keep:
                    tx.execute("ROLLBACK TO part")
                if is_open or keep:
                    tx.execute("RELEASE part")
                if not keep:
                    tx.births.forget()
                    tx.fresh.clear()
                    tx.opened.clear()
                    self.known.learn_again(connection)

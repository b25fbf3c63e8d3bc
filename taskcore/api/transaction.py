"""`with engine.transaction() as db:` — the user's SQL and any submits, committed together or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from taskcore.store.connection import File
from taskcore.store.submit import Births
from taskcore.store.transaction import Transaction

if TYPE_CHECKING:
    from taskcore.core.clock import Clock

_FIRST_WORD: Final = re.compile(r"(?:[\s;\ufeff]|--[^\n]*(?:\n|$)|/\*.*?\*/)*([A-Za-z]*)", re.DOTALL)
_NOT_OURS_TO_END: Final = frozenset(
    {"BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE", "ATTACH", "DETACH", "VACUUM", "PRAGMA"}
)

Parameters = Sequence[Any] | dict[str, Any]


class Rows:
    """What a statement gave, all of it fetched: an open cursor would keep the file's log from being cut."""

    __slots__ = ("_rows", "description", "lastrowid", "rowcount")

    def __init__(self, cursor: Any) -> None:
        self._rows: Iterator[tuple[Any, ...]] = iter(cursor.fetchall())
        self.description = cursor.description
        self.lastrowid: int | None = cursor.lastrowid
        self.rowcount: int = cursor.rowcount

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._rows

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(self._rows, None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return list(self._rows)


class Database:
    """The open transaction as the user's code sees it: `execute` and `executemany`, until the block ends."""

    __slots__ = ("_births", "_file", "_tx")

    def __init__(self, file: File, tx: Transaction, births: Births) -> None:
        self._file = file
        self._tx: Transaction | None = tx
        self._births = births

    def execute(self, sql: str, parameters: Parameters = ()) -> Rows:
        """Run one statement; nothing that ends the transaction. Raises what `sqlite3` raises."""
        return Rows(self._open(sql).execute(sql, parameters))

    def executemany(self, sql: str, rows: Any) -> Rows:
        """Run one statement for each of the rows."""
        return Rows(self._open(sql).executemany(sql, rows))

    def _open(self, sql: str) -> Transaction:
        if self._tx is None:
            raise RuntimeError("the transaction has ended")
        if self._file.current is not self._tx:
            raise RuntimeError("a transaction belongs to the thread that began it")
        word = _FIRST_WORD.match(sql)
        if word is not None and word[1].upper() in _NOT_OURS_TO_END:
            raise ValueError(f"{word[1].upper()} is not for a statement inside transaction(): the block ends it")
        self._births.flush()
        return self._tx


class Scope:
    """What is to be known of a block after its end, to those who hold what was submitted in it."""

    __slots__ = ("jobs", "rolled_back", "submitted")

    def __init__(self) -> None:
        self.rolled_back = self.submitted = False
        self.jobs: list[int] = []
        """The jobs whose blocks are open, the innermost last: the parent of what is submitted."""


class TransactionScope:
    """The block. While it is open, every other writer waits, so it should be short."""

    _tx: Transaction | None = None

    def __init__(self, file: File, clock: Clock, on_end: Callable[[Scope], None]) -> None:
        self._file = file
        self._clock = clock
        self._on_end = on_end
        self._database: Database | None = None

    def __enter__(self) -> Database:
        if self._database is not None:
            raise RuntimeError("a transaction() is entered once")
        if self._file.current is not None:
            raise RuntimeError("a transaction() is open in this thread already")
        try:
            tx = self._file.enter()
            tx.births = Births(tx, self._clock.now())
            tx.scope = Scope()
            self._database, self._tx = Database(self._file, tx, tx.births), tx
            return self._database
        except BaseException:
            self._file.leave(commit=False)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        database, tx = self._database, self._tx
        assert database is not None and tx is not None
        try:
            database._tx = None
            if error is None and self._file.current is tx:
                tx.births.flush()
            self._file.leave(commit=error is None)
        finally:
            self._file.leave(commit=False)  # nothing, unless a Ctrl-C came before the other was through
            self._tx, tx.scope.rolled_back = None, not tx.committed
            self._on_end(tx.scope)

    def __del__(self) -> None:
        """A Ctrl-C at the first instruction of `__exit__` leaves the block without it; only the block holds this."""
        if self._tx is not None and self._file.current is self._tx:
            self.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)

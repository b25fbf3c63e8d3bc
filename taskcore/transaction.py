"""`with engine.transaction() as db:` — the user's SQL and any submits, committed together or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from taskcore.store.births import Births
from taskcore.store.file import File, Transaction

if TYPE_CHECKING:
    from taskcore.clock import Clock

_FIRST_WORD: Final = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*([A-Za-z]*)", re.DOTALL)
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


class TransactionScope:
    """The block. While it is open, every other writer waits, so it should be short."""

    def __init__(self, file: File, clock: Clock, on_end: Callable[[TransactionScope], None]) -> None:
        self._file = file
        self._clock = clock
        self._on_end = on_end
        self._database: Database | None = None
        self.rolled_back = self.submitted = False

    def __enter__(self) -> Database:
        if self._database is not None:
            raise RuntimeError("a transaction() is entered once")
        tx = self._file.enter()
        try:
            tx.births = Births(tx, self._clock.now())
            tx.scope = self
            self._database = Database(self._file, tx, tx.births)
            return self._database
        except BaseException:
            self._file.leave(commit=False)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._database is not None
        births, self._database._tx = self._database._births, None
        done = False
        try:
            if error is None:
                births.flush()
                done = True
        finally:
            try:
                self._file.leave(commit=done)
            except BaseException:
                done = False
                raise
            finally:
                self.rolled_back = not done
                self._on_end(self)

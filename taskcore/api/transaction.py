"""`with engine.transaction() as db:` — the user's SQL and any submits, committed together or not at all."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from taskcore.core.clock import Clock
from taskcore.store.connection import File
from taskcore.store.submit import Births
from taskcore.store.transaction import Transaction

_FIRST_WORD: Final = r"(?s:[\s;\ufeff]|--[^\n]*(?:\n|$)|/\*.*?\*/)*([A-Za-z]*)"  # compiled for whoever writes SQL
_NOT_OURS_TO_END: Final = frozenset(
    {"BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE", "ATTACH", "DETACH", "VACUUM", "PRAGMA"}
)

T = TypeVar("T")
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

    __slots__ = ("_file", "_tx")

    def __init__(self, file: File, tx: Transaction) -> None:
        self._file = file
        self._tx: Transaction | None = tx

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
        word = re.match(_FIRST_WORD, sql)
        if word is not None and word[1].upper() in _NOT_OURS_TO_END:
            raise ValueError(f"{word[1].upper()} is not for a statement inside transaction(): the block ends it")
        self._tx.births.flush()
        return self._tx


class Scope:
    """What is to be known of a block after its end, to those who hold what was submitted in it."""

    __slots__ = ("jobs", "rolled_back", "submitted")

    def __init__(self) -> None:
        self.rolled_back = self.submitted = False
        self.jobs: list[int] = []
        """The jobs whose blocks are open, the innermost last: the parent of what is submitted."""


class Block(contextlib.AbstractContextManager[T]):
    """A `with` block of the user's, which is entered once."""

    def __init__(self, block: contextlib.AbstractContextManager[T]) -> None:
        self._block = block
        self._entered = False

    def __enter__(self) -> T:
        if self._entered:
            raise RuntimeError("a transaction() or job() is entered once")
        self._entered = True
        return self._block.__enter__()

    def __exit__(self, *how: Any) -> bool | None:
        return self._block.__exit__(*how)


@contextlib.contextmanager
def transaction(file: File, clock: Clock, on_end: Callable[[Scope], None]) -> Iterator[Database]:
    """The block. While it is open, every other writer waits, so it should be short.

    A Ctrl-C at the first instruction of its end leaves the block without it. Then nobody holds this any more, and
    Python ends it as if the block had raised.
    """
    if file.current:
        raise RuntimeError("a transaction() is open in this thread already")
    scope = Scope()
    try:
        tx = file.enter()
        tx.births, tx.scope = Births(tx, clock.now()), scope
        database = Database(file, tx)
    except BaseException:
        file.leave(commit=False)
        raise
    try:
        yield database
        if file.current is tx:
            tx.births.flush()
        file.leave(commit=True)
    finally:
        database._tx = None
        scope.rolled_back = not tx.committed  # first: its ids may be given again as soon as it is left
        try:
            file.leave(commit=False)  # nothing, if it has been left
        finally:
            file.leave(commit=False)  # nothing, unless a Ctrl-C came before the other was through
            on_end(scope)

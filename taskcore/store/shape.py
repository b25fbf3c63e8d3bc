"""The shape of the file: whether its tables are those that this version makes, column by column and key by key.

What is compared is what SQLite makes of the tables, not the text they were made with: a file that was brought here from
an older format has the same shape and another text.
"""

from __future__ import annotations

import functools
import sqlite3
from typing import Final, NamedTuple

from taskcore.store.schema import STATEMENTS

_TABLES: Final = """
    SELECT name, strict, wr FROM pragma_table_list
    WHERE schema = 'main' AND type = 'table' AND name LIKE 'taskcore\\_%' ESCAPE '\\'"""
_COLUMNS: Final = 'SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)'
_FOREIGN: Final = 'SELECT "table", "from", "to" FROM pragma_foreign_key_list(?)'
_INDICES: Final = 'SELECT name, "unique", origin, partial FROM pragma_index_list(?)'
_INDEXED: Final = "SELECT name, desc FROM pragma_index_xinfo(?) WHERE key = 1"
_WHERES: Final = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ?"
_HANGING: Final = """
    SELECT type, name, tbl_name FROM sqlite_master WHERE type IN ('trigger', 'view')
    AND (tbl_name LIKE 'taskcore\\_%' ESCAPE '\\' OR name LIKE 'taskcore\\_%' ESCAPE '\\')"""


class Index(NamedTuple):
    table: str
    columns: tuple[tuple[str, int], ...]
    unique: bool
    where: str | None
    """The condition of a partial one, without regard to blanks."""


class Table(NamedTuple):
    strict: bool
    without_rowid: bool
    columns: dict[str, tuple[object, ...]]
    foreign: frozenset[tuple[str, str, str]]
    keys: frozenset[tuple[tuple[str, int], ...]]
    """What the table itself says is unique."""


class Shape(NamedTuple):
    tables: dict[str, Table]
    indices: dict[str, Index]
    hanging: tuple[tuple[str, str, str], ...]
    """Triggers and views on our tables, or with our names: (kind, name, table)."""


def shape(connection: sqlite3.Connection) -> Shape:
    """Of everything in the file that is called ours or hangs on a table of ours."""
    tables, indices = {}, {}
    for name, strict, without_rowid in connection.execute(_TABLES).fetchall():
        columns = {row[0]: row[1:] for row in connection.execute(_COLUMNS, (name,)).fetchall()}
        foreign = frozenset(connection.execute(_FOREIGN, (name,)).fetchall())
        texts, keys = dict(connection.execute(_WHERES, (name,)).fetchall()), set()
        for index, unique, origin, partial in connection.execute(_INDICES, (name,)).fetchall():
            indexed = tuple(connection.execute(_INDEXED, (index,)).fetchall())
            if origin == "c":
                where = texts[index].upper().partition(" WHERE ")[2] if partial else None
                where = None if where is None else "".join(where.split())
                indices[index] = Index(name, indexed, bool(unique), where)
            else:
                keys.add(indexed)
        tables[name] = Table(bool(strict), bool(without_rowid), columns, foreign, frozenset(keys))
    return Shape(tables, indices, tuple(connection.execute(_HANGING).fetchall()))


@functools.cache
def expected() -> Shape:
    """What `shape` finds in a file of this version."""
    blank = sqlite3.connect(":memory:")
    try:
        for statement in STATEMENTS:
            blank.execute(statement)
        return shape(blank)
    finally:
        blank.close()


def fault(found: Shape) -> str | None:
    """What in the file is not as this version makes it, in words; `None` if all is as it should be.

    An index that somebody added to one of our tables is no harm, unless it makes something unique that need not be. A
    trigger is: it would run inside our transactions. Our views are there for others, and one that is gone is no harm.
    """
    wanted = expected()
    for name, table in wanted.tables.items():
        if name not in found.tables:
            return f"the table {name} is missing"
        there = found.tables[name]
        if there != table:
            return f"{name} has a foreign shape ({_difference(there, table)})"
    for name in found.tables:
        if name not in wanted.tables:
            return f"the table {name} is not of this version"
    for name, index in wanted.indices.items():
        if name not in found.indices:
            return f"the index {name} is missing"
        if found.indices[name] != index:
            return f"the index {name} has a foreign shape"
    for name, index in found.indices.items():
        if name not in wanted.indices and index.unique:
            return f"the index {name} makes something unique in {index.table} that need not be"
    for kind, name, table_name in found.hanging:
        if (kind, name, table_name) not in wanted.hanging:
            return f"there is a {kind} {name} on {table_name}"
    return None


def _difference(there: Table, wanted: Table) -> str:
    """Where two tables differ first."""
    for column, what in wanted.columns.items():
        if column not in there.columns:
            return f"the column {column} is missing"
        if there.columns[column] != what:
            return f"the column {column} is another one"
    for column in there.columns:
        if column not in wanted.columns:
            return f"the column {column} is not of this version"
    return "its keys are others"

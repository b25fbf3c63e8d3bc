"""The shape of the file: whether its tables are those that this version makes, column by column and key by key.

What is compared is what SQLite makes of the tables, not the text they were made with: a file that was brought here from
an older format has the same shape and another text.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from typing import Final

from taskcore.store.schema import STATEMENTS

_TABLES: Final = """
    SELECT name, strict, wr FROM pragma_table_list
    WHERE schema = 'main' AND type = 'table' AND name LIKE 'taskcore\\_%' ESCAPE '\\'"""
_COLUMNS: Final = 'SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)'
_FOREIGN: Final = 'SELECT "table", "from", "to" FROM pragma_foreign_key_list(?)'
_INDICES: Final = """
    SELECT i.name, i."unique", i.origin, upper(m.sql) FROM pragma_index_list(?) AS i
    LEFT JOIN sqlite_master AS m ON m.type = 'index' AND m.name = i.name"""
_INDEXED: Final = "SELECT name, desc FROM pragma_index_xinfo(?) WHERE key = 1"
_HANGING: Final = """
    SELECT type, name, tbl_name FROM sqlite_master WHERE type IN ('trigger', 'view')
    AND (tbl_name LIKE 'taskcore\\_%' ESCAPE '\\' OR name LIKE 'taskcore\\_%' ESCAPE '\\')"""

Shape = dict[tuple[str, str], object]
"""(table, column, index, unique index, trigger or view; its name) → all that makes it what it is."""


def shape(connection: sqlite3.Connection) -> Shape:
    """Of everything in the file that is called ours or hangs on a table of ours."""
    found: Shape = {}
    for table, strict, without_rowid in connection.execute(_TABLES).fetchall():
        foreign = frozenset(connection.execute(_FOREIGN, (table,)).fetchall())
        keys = set[object]()  # what the table itself says is unique
        found["table", table] = strict, without_rowid, foreign, keys  # before what is gone with it
        for index, unique, origin, sql in connection.execute(_INDICES, (table,)).fetchall():
            indexed = tuple(connection.execute(_INDEXED, (index,)).fetchall())
            if origin == "c":
                condition = "".join(sql.partition(" WHERE ")[2].split())
                found["unique index" if unique else "index", index] = table, indexed, condition
            else:
                keys.add(indexed)
        for column, *its in connection.execute(_COLUMNS, (table,)).fetchall():
            found["column", f"{table}.{column}"] = its
    for kind, name, table in connection.execute(_HANGING).fetchall():
        found[kind, name] = table
    return found


@functools.cache
def expected() -> Shape:
    """What `shape` finds in a file of this version."""
    with contextlib.closing(sqlite3.connect(":memory:")) as blank:
        for statement in STATEMENTS:
            blank.execute(statement)
        return shape(blank)


def fault(found: Shape) -> str | None:
    """What in the file is not as this version makes it, in words; `None` if all is as it should be.

    An index that somebody added to one of our tables is no harm, unless it makes something unique that need not be. A
    trigger is: it would run inside our transactions. Our views are there for others, and one that is gone is no harm.
    """
    wanted = expected()
    for (kind, name), its in wanted.items():
        if (kind, name) not in found and kind != "view":
            return f"the {kind} {name} is missing"
        if found.get((kind, name), its) != its:
            return f"the {kind} {name} has a foreign shape"
    for kind, name in found:
        if (kind, name) not in wanted and kind != "index":
            return f"there is a {kind} {name}, which is not of this version"
    return None

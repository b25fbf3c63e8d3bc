"""Formats of the file: which there were, and how one becomes the next.

The format's number is the row `format` of `taskcore_meta`. A file of an older format is copied beside itself, and
brought to this one in a single transaction; a file of a newer one is left alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable
from typing import Final

from taskcore.core.errors import BadFile
from taskcore.store import backup, schema
from taskcore.store.busy import code
from taskcore.store.columns import LONG
from taskcore.store.views import VIEWS

Step = Callable[[sqlite3.Connection], None]

_FORMAT: Final = "SELECT value FROM taskcore_meta WHERE key = 'format'"
_SET_FORMAT: Final = "UPDATE taskcore_meta SET value = ? WHERE key = 'format'"


def number(connection: sqlite3.Connection, path: str) -> int:
    """The format of the file, one that this version reads. `BadFile`."""
    try:
        row = connection.execute(_FORMAT).fetchone()
    except sqlite3.OperationalError as error:
        if code(error) != sqlite3.SQLITE_ERROR:  # else it is locked, say
            raise
        raise BadFile(path, "taskcore_meta has a foreign shape") from None
    text = row[0] if row is not None else None
    if not (isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 10 and int(text) >= 1):
        raise BadFile(path, "taskcore_meta does not say the file's format")
    if int(text) > int(schema.FORMAT):
        raise BadFile(path, f"it was written by a newer taskcore (format {text}, here {schema.FORMAT})")
    return int(text)


def migrate(connection: sqlite3.Connection, path: str, since: int, *, in_memory: bool) -> None:
    """Bring a file of an older format to this one, inside the caller's transaction; before it, a copy is made beside
    the file."""
    if not in_memory:
        keep_copy(path, since)
    for step in STEPS[since:]:
        step(connection)
    connection.execute(_SET_FORMAT, (schema.FORMAT,))


def keep_copy(path: str, since: int) -> None:
    """The file as it is, beside it, under a name that nothing has yet."""
    n, copy = 0, f"{path}.format-{since}"
    while os.path.lexists(copy):
        n += 1
        copy = f"{path}.format-{since}-{n}"
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as source:
            backup.write(source, copy)
    except OSError as error:
        raise BadFile(path, f"it is of format {since}, and no copy of it could be made first ({error})") from error


# -- the steps -----------------------------------------------------------------------------------------------------


def _to_2(connection: sqlite3.Connection) -> None:
    """Kinds no longer say which functions are among their options: those live in the process that gave them. Kinds that
    differed in nothing else become one; those of jobs are no longer read at opening."""
    kept: dict[tuple[str, str], int] = {}
    rows = connection.execute("SELECT id, name, options FROM taskcore_kind ORDER BY id").fetchall()
    for kind, name, text in rows:
        options = json.loads(text)
        plain = json.dumps({k: v for k, v in options.items() if k not in ("backoff", "retry_on")}, sort_keys=True)
        first = kept.setdefault((name, plain), kind)
        if plain != text and first == kind:
            other = connection.execute(
                "SELECT id FROM taskcore_kind WHERE name = ? AND options = ?", (name, plain)
            ).fetchone()
            if other is not None:
                first = kept[name, plain] = other[0]
            else:
                connection.execute("UPDATE taskcore_kind SET options = ? WHERE id = ?", (plain, kind))
        if first != kind:
            connection.execute("UPDATE taskcore_task SET kind = ? WHERE kind = ?", (first, kind))
            connection.execute("DELETE FROM taskcore_kind WHERE id = ?", (kind,))
    connection.execute(schema.KIND_JOB)
    connection.execute("INSERT INTO taskcore_meta (key, value) VALUES ('kinds_removed', '0')")


def _to_3(connection: sqlite3.Connection) -> None:
    """Kept counts, long arguments in a table of their own, and views for other programs."""
    for statement in (schema.COUNT, schema.TEXT, *VIEWS):
        connection.execute(statement)
    long = {"long": LONG}
    connection.execute(
        "INSERT INTO taskcore_text (task, args) SELECT id, args FROM taskcore_task WHERE length(args) > :long", long
    )
    connection.execute("UPDATE taskcore_task SET args = '' WHERE length(args) > :long", long)


def _to_4(connection: sqlite3.Connection) -> None:
    """Kept counts of the children of one task, too. Those that were kept are counted anew when somebody asks."""
    connection.execute("DROP TABLE taskcore_count")
    connection.execute(schema.COUNT)


def _to_5(connection: sqlite3.Connection) -> None:
    """Counts are kept by ranges of three sizes, which a program that knows only one would not keep up."""
    connection.execute("DELETE FROM taskcore_count")


STEPS: Final[tuple[Step, ...]] = (lambda _: None, _to_2, _to_3, _to_4, _to_5)
"""`STEPS[n]` brings a file of format n to n + 1. There was no format 0."""

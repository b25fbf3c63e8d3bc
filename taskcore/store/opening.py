"""Opening: whether a file can be used, and the tables where there are none."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping

from taskcore.core.errors import BadFile
from taskcore.store import schema
from taskcore.store.busy import code, patiently


def connect(path: str, *, full: bool) -> sqlite3.Connection:
    """A connection as every engine has it."""
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256)
    for pragma in (
        "PRAGMA foreign_keys = ON",
        "PRAGMA trusted_schema = OFF",
        "PRAGMA temp_store = MEMORY",
        "PRAGMA cache_size = -8000",
        "PRAGMA journal_size_limit = 16777216",
        f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}",
    ):
        try:
            patiently(connection.execute, pragma)
        except BaseException:
            connection.close()
            raise
    return connection


def prepare(connection: sqlite3.Connection, path: str, *, in_memory: bool, statuses: Mapping[str, str]) -> None:
    """Make the tables where there are none. It looks before anything is written: `BadFile`, and the file untouched, if
    it cannot be used; `ValueError` for a status that has another phase there."""
    found = patiently(schema.shape, connection)
    _accept(connection, path, found)
    if not in_memory and os.stat(path).st_nlink > 1:
        raise BadFile(path, "it has several hard links, and each would get a log of its own")
    (pages,) = patiently(lambda: connection.execute("PRAGMA page_count").fetchone())
    if not pages:
        patiently(connection.execute, "PRAGMA auto_vacuum = INCREMENTAL")
    # Does not use the busy handler, and says "locked" while another process makes the same change.
    patiently(lambda: connection.execute("PRAGMA journal_mode = WAL").fetchall())
    if found and not statuses:
        return
    patiently(connection.execute, "BEGIN IMMEDIATE")
    try:
        found = schema.shape(connection)
        _accept(connection, path, found)
        if not found:
            for statement in schema.STATEMENTS:
                connection.execute(statement)
            connection.executemany("INSERT INTO taskcore_meta (key, value) VALUES (?, ?)", schema.FIRST_ROWS)
        _add_statuses(connection, path, statuses)
        patiently(connection.execute, "COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _accept(connection: sqlite3.Connection, path: str, found: dict[str, str]) -> None:
    if not found:
        return
    if "taskcore_meta" in found:
        try:
            row = connection.execute("SELECT value FROM taskcore_meta WHERE key = 'format'").fetchone()
        except sqlite3.OperationalError:
            raise BadFile(path, "taskcore_meta has a foreign shape") from None
        if row is None or not str(row[0]).isdecimal():
            raise BadFile(path, "taskcore_meta does not say the file's format")
        if int(row[0]) > int(schema.FORMAT):
            raise BadFile(path, f"it was written by a newer taskcore (format {row[0]}, here {schema.FORMAT})")
    wrong = schema.foreign(found)
    if wrong:
        raise BadFile(path, wrong)


def _add_statuses(connection: sqlite3.Connection, path: str, statuses: Mapping[str, str]) -> None:
    for label, phase in statuses.items():
        row = connection.execute("SELECT phase FROM taskcore_status WHERE label = ?", (label,)).fetchone()
        if row is None:
            connection.execute("INSERT INTO taskcore_status (label, phase) VALUES (?, ?)", (label, phase))
        elif row[0] != phase:
            raise ValueError(f"status {label!r} is {row[0]} in {path}, and keeps that phase; not {phase}")


def reason(error: sqlite3.Error) -> str:
    """What SQLite says of a file that cannot be used."""
    match code(error):
        case sqlite3.SQLITE_NOTADB:
            return "this is no SQLite file"
        case sqlite3.SQLITE_CORRUPT:
            return f"the file is damaged ({error})"
        case sqlite3.SQLITE_READONLY:
            return f"the file or its directory cannot be written ({error})"
        case _:
            return str(error)

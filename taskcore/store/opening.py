"""Opening: whether a file can be used, and the tables where there are none."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from collections.abc import Callable, Mapping
from typing import Final

from taskcore.core import clock
from taskcore.core.errors import BadFile
from taskcore.store import backup, filesystem, migrations, schema
from taskcore.store.busy import UNDECODABLE, code, one_moment, patiently

LOG: Final = 16_777_216
"""Bytes of log from which on a commit brings it into the file: no burst of commits has to wait for the disk before."""
LONGEST_LOG: Final = 4 * LOG
"""Bytes of log from which on `shorten_log` is worth that others wait for it."""
IN_THE_WAY: Final = 0.05
"""Seconds in which those who are in the way of that may end, at most."""
_FRAME: Final = 24  # bytes in the log around each page


def look(path: str, *, read_only: bool, allow_network: bool) -> None:
    """Whether a database may be at this path, before anything is opened or made. `BadFile`."""
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        raise BadFile(path, "this is a directory")
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
        raise BadFile(path, "this is no ordinary file")
    if not os.path.isdir(folder):
        raise BadFile(path, f"there is no folder {folder}")
    if os.path.exists(path) and not read_only and not os.access(path, os.W_OK):
        raise BadFile(path, "the file cannot be written; an engine with workers=0 can look at it")
    if os.path.exists(path) and os.stat(path).st_nlink > 1:
        raise BadFile(path, "it has several hard links, and each would get a log of its own")
    objection = None if allow_network else filesystem.objection(path)
    if objection is not None:
        raise BadFile(path, objection)


def refuse_another(path: str) -> None:
    """`BadFile` if there is no file at the path, or one that has no tasks in it; nothing is made or changed.

    To be called before the file is opened, not beside that.
    """
    if not os.path.exists(path):
        folder = os.path.dirname(os.path.abspath(path))
        raise BadFile(path, "there is no such file" if os.path.isdir(folder) else f"there is no folder {folder}")
    look(path, read_only=True, allow_network=True)  # a pipe would be waited for
    try:
        with contextlib.closing(sqlite3.connect(to_read(path), uri=True)) as connection:
            ours = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'taskcore_meta'").fetchall()
    except sqlite3.DatabaseError:
        return  # opening it says more of why
    if not ours:
        raise BadFile(path, "there are no tasks in this file")


def to_read(path: str) -> str:
    """The address of a file that is to be read and not made."""
    from pathlib import Path  # slow to import, and only needed by who looks

    return f"{Path(path).absolute().as_uri()}?mode=ro"


def create(path: str) -> bool:
    """Make an empty file that only its owner may read, if there is none: SQLite's log takes over the permissions. →
    whether it was made. `BadFile`."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return False
    except OSError as error:
        raise BadFile(path, f"it cannot be made ({error.strerror})") from error
    return True


def uncreate(path: str) -> None:
    """Take back what `create` made, if nothing has come into it."""
    with contextlib.suppress(OSError):
        if os.path.getsize(path) == 0:
            os.unlink(path)


def opened(
    path: str, *, full: bool, read_only: bool, allow_network: bool, statuses: Mapping[str, str]
) -> sqlite3.Connection:
    """A connection to a file of this format, made where there was none; with `read_only`, of one that is there.
    `BadFile`, and the file untouched; `ValueError` for a status that has another phase there."""
    connection, made, in_memory = None, False, path == ":memory:"
    try:
        if not in_memory:
            look(path, read_only=read_only, allow_network=allow_network)
            made = not read_only and create(path)
        connection = connect(path, full=full, read_only=read_only)
        if read_only:
            accept(connection, path)
        else:
            prepare(connection, path, in_memory=in_memory, statuses=statuses)
        return connection
    except BaseException as error:
        if connection is not None:
            connection.close()
        if made:
            uncreate(path)
        if isinstance(error, (sqlite3.DatabaseError, UnicodeDecodeError)):
            raise BadFile(path, reason(error)) from error
        raise


def connect(path: str, *, full: bool, read_only: bool = False) -> sqlite3.Connection:
    """A connection as every engine has it."""
    name, uri = path, False
    if read_only:
        # Where the folder cannot be written and there is no log, nobody writes: SQLite may do without its files.
        alone = not os.path.exists(f"{path}-wal") and not os.access(os.path.dirname(os.path.abspath(path)), os.W_OK)
        name, uri = f"{to_read(path)}{'&immutable=1' if alone else ''}", True
    connection = sqlite3.connect(
        name, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256, uri=uri
    )
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
    try:
        for pragma in (
            "PRAGMA foreign_keys = ON",
            "PRAGMA trusted_schema = OFF",
            "PRAGMA cell_size_check = ON",
            "PRAGMA temp_store = MEMORY",
            f"PRAGMA journal_size_limit = {LOG}",
            f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}",
        ):
            patiently(connection.execute, pragma)
        (page,) = patiently(lambda: connection.execute("PRAGMA page_size").fetchone())  # an application's may be 64 KB
        pages = LOG // (page + _FRAME)
        patiently(connection.execute, f"PRAGMA wal_autocheckpoint = {pages}")
    except BaseException:
        connection.close()
        raise
    return connection


def shorten_log(connection: sqlite3.Connection) -> None:
    """Bring the log into the file and begin it anew, with nobody writing meanwhile, if that can be had within a moment.

    What a commit brings there by itself is never all of it where several processes write one after the other without a
    pause: there is always something behind it, and the log would grow for as long as they go on. Who reads for long is
    in the way of this, too. What the file cannot do now, it will say of the next statement.
    """
    until = clock.monotonic() + IN_THE_WAY
    with contextlib.suppress(sqlite3.Error):
        while not connection.in_transaction:
            ((in_the_way, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            if not in_the_way or clock.monotonic() >= until:
                break
            clock.pause(0.001)


def copy(own: str, path: str, progress: Callable[[int, int], object] | None = None) -> None:
    """`backup.write` for the file at the path `own`, whoever has it open."""
    with contextlib.closing(connect(own, full=False, read_only=True)) as source:
        backup.write(source, path, progress)


def prepare(connection: sqlite3.Connection, path: str, *, in_memory: bool, statuses: Mapping[str, str]) -> None:
    """Make the tables where there are none, and bring a file of an older format to this one. It looks before anything
    is written: `BadFile`, and the file untouched, if it cannot be used; `ValueError` for a status that has another
    phase there."""
    found = patiently(_accept, connection, path)
    (pages,) = patiently(lambda: connection.execute("PRAGMA page_count").fetchone())
    if not pages:
        patiently(connection.execute, "PRAGMA auto_vacuum = INCREMENTAL")
    # Does not use the busy handler, and says "locked" while another process makes the same change.
    patiently(lambda: connection.execute("PRAGMA journal_mode = WAL").fetchall())
    if found == int(schema.FORMAT) and not statuses:
        return
    patiently(connection.execute, "BEGIN IMMEDIATE")
    try:
        found = _accept(connection, path)  # another process may have been quicker
        if found is None:
            for statement in schema.STATEMENTS:
                connection.execute(statement)
            connection.executemany("INSERT INTO taskcore_meta (key, value) VALUES (?, ?)", schema.FIRST_ROWS)
        elif found < int(schema.FORMAT):
            from taskcore.store.shape import fault, shape

            migrations.migrate(connection, path, found, in_memory=in_memory)
            wrong = fault(shape(connection))
            if wrong:
                raise BadFile(path, f"it is of format {found}, and {wrong}")
        _add_statuses(connection, path, statuses)
        patiently(connection.execute, "COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def accept(connection: sqlite3.Connection, path: str) -> None:
    """`BadFile` unless the file has tables of this format: for who only looks."""
    found = patiently(_accept, connection, path)
    if found is None:
        raise BadFile(path, "there are no tasks in this file, and it cannot be written")
    if found < int(schema.FORMAT):
        raise BadFile(path, f"it is of format {found}, which is brought to {schema.FORMAT} where it can be written")


def _accept(connection: sqlite3.Connection, path: str) -> int | None:
    """The format of the file, `None` if there are no tables yet. `BadFile`. All of it is read of one moment: another
    process may be bringing the file to this format."""
    with one_moment(connection):
        if _made_here(connection):
            return migrations.number(connection, path)
        from taskcore.store.shape import fault, shape  # slow to import, and seldom needed

        found = shape(connection)
        if not found:
            return None
        if ("table", "taskcore_meta") not in found:
            raise BadFile(path, "the table taskcore_meta is missing")
        its = migrations.number(connection, path)
        wrong = fault(found) if its == int(schema.FORMAT) else None
        if wrong:
            raise BadFile(path, wrong)
        return its


_TEXTS: Final = """
    SELECT sql FROM sqlite_master WHERE sql IS NOT NULL
    AND (name LIKE 'taskcore\\_%' ESCAPE '\\' OR tbl_name LIKE 'taskcore\\_%' ESCAPE '\\')"""
_MADE_HERE: Final = frozenset(schema.STATEMENTS)


def _made_here(connection: sqlite3.Connection) -> bool:
    """Whether all in the file that is ours was made with the very texts of this version, and so has its shape: one look
    instead of a hundred."""
    texts = [text for (text,) in connection.execute(_TEXTS).fetchall()]
    return len(texts) == len(_MADE_HERE) and _MADE_HERE.issuperset(texts)


def _add_statuses(connection: sqlite3.Connection, path: str, statuses: Mapping[str, str]) -> None:
    for label, phase in statuses.items():
        row = connection.execute("SELECT phase FROM taskcore_status WHERE label = ?", (label,)).fetchone()
        if row is None:
            connection.execute("INSERT INTO taskcore_status (label, phase) VALUES (?, ?)", (label, phase))
        elif row[0] != phase:
            raise ValueError(f"status {label!r} is {row[0]} in {path}, and keeps that phase; not {phase}")


_REASONS: Final = {
    sqlite3.SQLITE_NOTADB: "this is no SQLite file",
    sqlite3.SQLITE_CORRUPT: "the file is damaged ({})",
    sqlite3.SQLITE_READONLY: "the file or its directory cannot be written ({})",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened ({})",
}


def reason(error: sqlite3.Error | UnicodeDecodeError) -> str:
    """What SQLite says of a file that cannot be used."""
    if isinstance(error, UnicodeDecodeError) or str(error).startswith(UNDECODABLE):
        return "the file is damaged (a text in it is no UTF-8)"
    return _REASONS.get(code(error), "{}").format(error)

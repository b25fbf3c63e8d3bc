"""A whole copy of the file, made while it is used."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from typing import Final

from taskcore.core.errors import BadFile
from taskcore.store.busy import one_moment, patiently
from taskcore.store.replacing import replacing

PAGES: Final = 2000
"""Pages that are copied at a time, about 8 MB."""


def write(source: sqlite3.Connection, path: str, progress: Callable[[int, int], object] | None = None) -> None:
    """Copy what this connection reads to the path: readable by the owner alone, and there as a whole or not at all.

    The connection belongs to the caller alone; it reads one moment of the file, and nobody waits for that. An earlier
    backup at the path is replaced in one step. `progress(copied, pages)` is called now and then. `FileExistsError`
    for anything at the path that is no plain file, or has a log beside it and so is in use.
    """
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isfile(path)):
        raise FileExistsError(f"{path} is no plain file that a backup may replace")
    own = source.execute("PRAGMA database_list").fetchone()[2]
    base, _, end = os.path.realpath(path).rpartition("-")
    if own and base == os.path.realpath(own) and end in ("wal", "shm", "journal", "taskcore"):
        raise FileExistsError(f"{path} belongs to the file itself")
    if own and os.path.exists(path) and os.path.samefile(own, path):
        raise FileExistsError(f"{path} is the file itself")
    if os.path.exists(f"{path}-wal"):
        raise FileExistsError(f"{path} is a database in use, with a log beside it: a backup does not replace that")
    with replacing(path, 0o600) as part:
        _copy(source, part, progress)


def _copy(source: sqlite3.Connection, part: str, progress: Callable[[int, int], object] | None) -> None:
    def tell(_: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress(total - remaining, total)

    with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as target:
        with one_moment(source):
            patiently(lambda: source.execute("SELECT count(*) FROM sqlite_master").fetchall())  # it begins here
            source.backup(target, pages=PAGES, progress=tell)
        # In one file, without a log beside it: what is handed over must not depend on a second file.
        target.execute("PRAGMA journal_mode = DELETE").fetchall()
        (found,) = target.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise BadFile(part, f"the copy is damaged, as the file is: {found}")

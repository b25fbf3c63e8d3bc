"""Whether there is something to open: `File` makes what is not there, and some callers want none of that."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from taskcore.core.errors import BadFile
from taskcore.store import opening


def refuse_another(path: str) -> None:
    """`BadFile` if there is no file at the path, or one that has no tasks in it; nothing is made or changed.

    To be called before the file is opened, not beside that.
    """
    if not os.path.exists(path):
        folder = os.path.dirname(os.path.abspath(path))
        raise BadFile(path, "there is no such file" if os.path.isdir(folder) else f"there is no folder {folder}")
    opening.look(path, read_only=True, allow_network=True)  # a pipe would be waited for
    try:
        with contextlib.closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as connection:
            ours = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'taskcore_meta'").fetchall()
    except sqlite3.DatabaseError:
        return  # opening it says more of why
    if not ours:
        raise BadFile(path, "there are no tasks in this file")

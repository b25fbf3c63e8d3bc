"""Kinds: a name with the options that its tasks share. A row comes with the first task of it, and goes when no task has
it any more."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from typing import Final

from taskcore.core import lifecycle
from taskcore.core.errors import UnknownStatus
from taskcore.store import capacity
from taskcore.store.cache import Kind, kind_of_row
from taskcore.store.transaction import Transaction

LOOKED_AT: Final = 2000
"""Rows that are looked at at a time."""

_NEW: Final = "INSERT INTO taskcore_kind (name, max_attempts, max_lapses, options) VALUES (?, ?, ?, ?) RETURNING id"
_KIND: Final = "SELECT id, name, max_attempts, max_lapses, options FROM taskcore_kind WHERE name = ? AND options = ?"


def kind_of(tx: Transaction, name: str, options: str) -> int:
    """The id of this name with these options; a new row the first time. `UnknownStatus`; `ValueError` for a capacity
    that there is not."""
    found = tx.known.kind_ids.get((name, options))
    if found is not None:
        capacity.refuse_the_impossible(tx, tx.known.kinds[found])
        return found
    row = tx.execute(_KIND, (name, options)).fetchone()
    if row is not None:  # a job's
        tx.known.add(kind_of_row(row))
        return int(row[0])
    values = json.loads(options)
    label = values.get("failed_status")
    if label is not None and label != lifecycle.FAILED and tx.known.statuses.get(label) != lifecycle.FAILED:
        fitting = [own for own, phase in tx.known.statuses.items() if phase == lifecycle.FAILED]
        raise UnknownStatus(label, (lifecycle.FAILED, *fitting), "of phase failed")
    kind = Kind(0, name, values.get("max_attempts"), values["max_lapses"], values, options)
    capacity.refuse_the_impossible(tx, kind)
    (kind_id,) = tx.execute(_NEW, (name, kind.max_attempts, kind.max_lapses, options)).fetchall()[0]
    tx.known.add(kind._replace(id=kind_id))
    return int(kind_id)


# -- those that nothing has any more -------------------------------------------------------------------------------

# A schedule's next task is of its kind again. The newest kind stays: its id must not be given to another one, which a
# process that remembers the old one would take for it.
_UNUSED: Final = """
    SELECT json_group_array(id) FROM taskcore_kind
    WHERE id < :newest AND id NOT IN (SELECT value FROM json_each(:seen))
    AND name NOT IN (SELECT task FROM taskcore_schedule)"""
_REMOVE: Final = """
    DELETE FROM taskcore_kind WHERE id IN (SELECT value FROM json_each(:kinds))
    AND id NOT IN (SELECT kind FROM taskcore_task WHERE id > :highest)"""


def of_tasks(connection: sqlite3.Connection, start: int) -> tuple[set[int], int | None, bool]:
    """The kinds of a stretch of tasks above the id `start`, the highest id of that, and whether there are more."""
    text, end, seen = connection.execute(
        """SELECT json_group_array(DISTINCT kind), max(id), count(*)
           FROM (SELECT id, kind FROM taskcore_task WHERE id > ? ORDER BY id LIMIT ?)""",
        (start, LOOKED_AT),
    ).fetchone()
    return set(json.loads(text)), end, seen == LOOKED_AT


def newest_kind(connection: sqlite3.Connection) -> int:
    """The highest id of a kind, 0 without any."""
    found: int = connection.execute("SELECT ifnull(max(id), 0) FROM taskcore_kind").fetchone()[0]
    return found


def unused(connection: sqlite3.Connection, newest: int, seen: Collection[int]) -> list[int]:
    """The kinds older than `newest` that are not among those seen, and that no schedule has."""
    text = connection.execute(_UNUSED, {"newest": newest, "seen": json.dumps(list(seen))}).fetchone()[0]
    found: list[int] = json.loads(text)
    return found


_KEYS: Final = {True: "PRAGMA foreign_keys = ON", False: "PRAGMA foreign_keys = OFF"}


def check_keys(connection: sqlite3.Connection, on: bool) -> None:
    """Whether SQLite looks for tasks of each kind that goes: it would read them all, each time, and it was done."""
    connection.execute(_KEYS[on])


def remove_kinds(tx: Transaction, kinds: list[int], highest: int) -> int:
    """Remove those that no task has; tasks up to the id `highest` were looked at. → how many."""
    removed = tx.execute(_REMOVE, {"kinds": json.dumps(kinds), "highest": highest}).rowcount
    if removed:
        tx.execute("UPDATE taskcore_meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'kinds_removed'")
        tx.known.forget(part=True)
    return removed

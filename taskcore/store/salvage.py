"""What can be read of a damaged file, in a new one."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from taskcore.core.errors import BadFile
from taskcore.store import opening
from taskcore.store.busy import said
from taskcore.store.integrity import BEHIND, BLOCKERS, CHILDREN, OPEN
from taskcore.store.transitions import by_row, leaving, where_left

TABLES: Final = (
    "status", "kind", "worker", "task", "text", "edge", "key", "tag", "attempt", "step", "join", "signal", "queue",
    "log", "limit", "rate", "hold", "schedule", "fire",
)  # fmt: skip
"""Those whose rows are saved, each after those that it refers to. Counts are made anew."""


UNREADABLE: Final = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What a damaged file is the reason of."""
LOOKS: Final = 5000
"""How often rows are looked for behind a place that cannot be read: ids may be damaged, too, and lead anywhere."""


class Saved(NamedTuple):
    table: str
    rows: int
    lost: tuple[str, ...]
    """What could not be read or not be kept, in words."""


def salvage(path: str, new: str) -> list[Saved]:
    """Read the damaged file, which stays as it is, and write what can be read into a new one. → what came of each
    table. `FileExistsError` if there is something at the path of the new one; `BadFile` if nothing at all can be read.
    """
    if not os.path.isfile(path):
        raise BadFile(path, "there is no such file")
    if os.path.lexists(new):
        raise FileExistsError(f"{new} is there already: what is saved goes into a new file")
    with contextlib.closing(sqlite3.connect(opening.to_read(path), uri=True, isolation_level=None)) as source:
        source.text_factory = lambda raw: raw.decode("utf-8", "replace")
        try:
            source.execute("SELECT count(*) FROM sqlite_master").fetchall()
        except UNREADABLE as error:
            raise BadFile(path, f"nothing of it can be read ({said(error)})") from error
        made = opening.opened(new, full=False, read_only=False, allow_network=True, statuses={})
        with contextlib.closing(made) as target:
            target.execute("PRAGMA foreign_keys = OFF")
            target.execute("BEGIN IMMEDIATE")
            found = [_save(source, target, table) for table in TABLES]
            lost = _put_right(target)
            target.execute("COMMIT")
            return [*found, Saved("what hung on lost rows", 0, lost)] if lost else found


def _save(source: sqlite3.Connection, target: sqlite3.Connection, name: str) -> Saved:
    """One table, row by row."""
    table, rows = f"taskcore_{name}", 0
    lost: list[str] = []
    wanted = [row[1] for row in target.execute(f'PRAGMA table_info("{table}")').fetchall()]
    try:
        there = {row[1] for row in source.execute(f'PRAGMA table_info("{table}")').fetchall()}
    except UNREADABLE as error:
        return Saved(name, 0, (f"the table cannot be read ({said(error)})",))
    columns = [column for column in wanted if column in there]
    if not columns:
        return Saved(name, 0, ("the table is not there",))
    listed = ", ".join(f'"{column}"' for column in columns)
    insert = f'INSERT OR IGNORE INTO "{table}" ({listed}) VALUES ({", ".join("?" * len(columns))})'
    for row in _read(source, table, listed, lost):
        try:
            rows += target.execute(insert, row).rowcount
        except sqlite3.Error as error:
            lost.append(f"a row that may not be ({said(error)}): {str(row[:2])[:80]}")
    return Saved(name, rows, tuple(lost))


def _read(source: sqlite3.Connection, table: str, listed: str, lost: list[str]) -> Iterator[tuple[Any, ...]]:
    """Every row that can be read. Behind a place that cannot be, it goes on by ids; a table without them is read from
    its other end."""
    last: int | None = None
    try:
        source.execute(f'SELECT rowid FROM "{table}" LIMIT 1').fetchall()
    except UNREADABLE:
        yield from _from_both_ends(source, table, listed, lost)
        return
    try:
        for row in source.execute(f'SELECT rowid, {listed} FROM "{table}" ORDER BY rowid'):
            last = row[0]
            yield row[1:]
        return
    except UNREADABLE as error:
        lost.append(f"rows behind {last or 0} ({said(error)})")
    highest = _highest(source, table)
    step, skip, at = 1, 1, (last or 0) + 1
    for _ in range(LOOKS):  # a stride that grows while all can be read; where nothing can, ever more is passed over
        if at > highest:
            return
        try:
            rows = source.execute(
                f'SELECT rowid, {listed} FROM "{table}" WHERE rowid BETWEEN ? AND ? ORDER BY rowid', (at, at + step - 1)
            ).fetchall()
        except UNREADABLE:
            if step == 1:
                at, skip = at + skip, min(2 * skip, 4096)
            step = 1
            continue
        for row in rows:
            yield row[1:]
        at, step, skip = at + step, min(step * 2, 1000), 1
    lost.append(f"rows from {at} on were not looked at")


def _from_both_ends(source: sqlite3.Connection, table: str, listed: str, lost: list[str]) -> Iterator[tuple[Any, ...]]:
    seen = set()
    keys = [row[1] for row in source.execute(f'PRAGMA table_info("{table}")').fetchall() if row[5]]
    for order in ("ASC", "DESC"):
        by = ", ".join(f'"{key}" {order}' for key in keys)
        try:
            for row in source.execute(f'SELECT {listed} FROM "{table}" ORDER BY {by}'):
                if row not in seen:
                    seen.add(row)
                    yield row
            return
        except UNREADABLE as error:
            lost.append(f"rows from its {'beginning' if order == 'ASC' else 'end'} on ({said(error)})")


def _highest(source: sqlite3.Connection, table: str) -> int:
    try:
        found: int = source.execute(f'SELECT ifnull(max(rowid), 0) FROM "{table}"').fetchone()[0]
        return found
    except UNREADABLE:
        return 1_000_000


_HANGING: Final = """
    SELECT m.name, f."from" FROM sqlite_master AS m JOIN pragma_foreign_key_list(m.name) AS f
    WHERE m.type = 'table' AND m.name <> 'taskcore_task' AND f."table" = 'taskcore_task'"""
"""(a table, the column of it that refers to a task), made of what the tables say."""

_ANEW: Final = (
    """INSERT INTO taskcore_kind (id, name, max_attempts, max_lapses, options)
        SELECT DISTINCT kind, 'lost kind ' || kind, 1, 3, '{"max_attempts": 1, "max_lapses": 3}'
        FROM taskcore_task WHERE kind NOT IN (SELECT id FROM taskcore_kind)""",
    """INSERT INTO taskcore_worker (id, name, started_at)
        SELECT DISTINCT worker, 'lost worker ' || worker, 0 FROM taskcore_task
        WHERE worker IS NOT NULL AND worker NOT IN (SELECT id FROM taskcore_worker)""",
    "UPDATE taskcore_task SET parent = NULL WHERE parent NOT IN (SELECT id FROM taskcore_task)",
    """UPDATE taskcore_task SET gated = 0 WHERE gated = 1 AND NOT EXISTS (
        SELECT 1 FROM taskcore_task AS j WHERE j.id = taskcore_task.parent AND j.job IS NOT NULL
        AND j.finished_at IS NULL AND j.phase <> 'suspended')""",
    "DELETE FROM taskcore_queue WHERE task IN (SELECT id FROM taskcore_task WHERE finished_at IS NOT NULL)",
    """INSERT OR IGNORE INTO taskcore_queue (serial, place, task)
        SELECT serial, id, id FROM taskcore_task WHERE serial IS NOT NULL AND finished_at IS NULL
        AND id NOT IN (SELECT task FROM taskcore_queue)""",
    f"UPDATE taskcore_task AS t SET behind = {BEHIND}",
    f"""UPDATE taskcore_task AS t SET blockers = {BLOCKERS},
        phase = CASE WHEN {BLOCKERS} > 0 THEN {where_left("block")} ELSE phase END""",
    f"""UPDATE taskcore_task SET
        phase = {by_row("free", pause="held = 1", schedule="greenfield IS NOT NULL", open="job IS NOT NULL")}
        WHERE {leaving("release")} AND blockers = 0""",
    """INSERT OR IGNORE INTO taskcore_key (name, key, task)
        SELECT k.name, t.key, max(t.id) FROM taskcore_task AS t JOIN taskcore_kind AS k ON k.id = t.kind
        WHERE t.key IS NOT NULL GROUP BY 1, 2""",
    f"""UPDATE taskcore_task AS t SET open = 0, children = {CHILDREN}
        WHERE children > 0 OR open > 0 OR job IS NOT NULL""",
    """INSERT INTO taskcore_tally (job, status, phase, n)
        SELECT c.parent, ifnull(c.label, c.phase), c.phase, count(*)
        FROM taskcore_task AS c JOIN taskcore_task AS j ON j.id = c.parent AND j.job IS NOT NULL
        WHERE c.finished_at IS NOT NULL GROUP BY 1, 2, 3""",
    "UPDATE taskcore_meta SET value = (SELECT ifnull(max(id), 0) FROM taskcore_task) WHERE key = 'last_id'",
)
_UPWARDS: Final = f"UPDATE taskcore_task AS t SET open = {OPEN} WHERE children > 0 AND open <> {OPEN}"


def _put_right(target: sqlite3.Connection) -> tuple[str, ...]:
    """Take out what refers to rows that are lost, and count anew what the verbs count. → what was taken out."""
    lost = []
    for table, column in target.execute(_HANGING).fetchall():
        gone = target.execute(
            f'DELETE FROM "{table}" WHERE "{column}" NOT IN (SELECT id FROM taskcore_task)'
        ).rowcount
        if gone > 0:
            lost.append(f"{gone} rows of {table} that belong to tasks that are lost")
    for sql in _ANEW:
        target.execute(sql)
    for _ in range(1000):  # from the leaves up; a circle of parents would never end
        if target.execute(_UPWARDS).rowcount <= 0:
            break
    return tuple(lost)

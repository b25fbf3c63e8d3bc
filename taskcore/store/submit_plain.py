"""Tasks of which nothing is said but a name, arguments and a priority: most tasks are, and each costs the fewest
statements and objects there can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from taskcore.store import schema
from taskcore.store.connection import File
from taskcore.store.kinds import kind_of
from taskcore.store.transaction import Transaction

R = TypeVar("R")

INSERT_PLAIN: Final = """
    INSERT INTO taskcore_task (id, kind, phase, priority, submitted_at, args) VALUES (?, ?, 'ready', ?, ?, ?)"""
# Without a kind nothing is stored. (As `INSERT … SELECT` this would take a third longer.)
_KNOWN: Final = f"""? > (SELECT CAST(value AS INTEGER) FROM taskcore_meta WHERE key = 'last_id')
        AND (SELECT value FROM taskcore_meta WHERE key = 'format') = '{schema.FORMAT}'"""
_INSERT_ALONE: Final = f"""
    INSERT INTO taskcore_task (id, kind, phase, priority, submitted_at, args)
    VALUES (?, iif({_KNOWN}, ?, NULL), 'ready', ?, ?, ?)"""
# No limit, rate or hold decides what may begin, and the worker is one yet.
_INSERT_CLAIMED: Final = f"""
    INSERT INTO taskcore_task (id, kind, phase, priority, submitted_at, args, token, attempts, worker, greenfield,
        started_at, first_started_at)
    VALUES (?, iif({_KNOWN}
        AND NOT EXISTS (SELECT 1 FROM taskcore_limit WHERE value IS NOT NULL)
        AND NOT EXISTS (SELECT 1 FROM taskcore_rate) AND NOT EXISTS (SELECT 1 FROM taskcore_hold), ?, NULL),
        'running', ?, ?, ?, 1, 1, (SELECT id FROM taskcore_worker WHERE id = ? AND ended_at IS NULL), ?, ?, ?)"""


class Birth:
    """Of a task that its engine claims as it makes it, for a thread would take it anyway."""

    __slots__ = ("claimed",)
    claimed: Any
    """What is to be run; `()` once it is handed over."""


def submit_alone(
    file: File, kind: tuple[str, str], priority: int, now: float, args: str, claim: tuple[int, float] | None,
    made: Callable[[int], R], told: Callable[[], None],
) -> R | None:  # fmt: skip
    """Store a task of which nothing else is said than its `kind` (name, options), `claim`ed (worker, lease end) or
    not, in one statement. → what `made` makes of its id; `None` where it takes a transaction."""
    values: tuple[Any, ...] = (priority, now, args)
    sql = _INSERT_ALONE
    if claim is not None:
        sql, values = _INSERT_CLAIMED, (*values, *claim, now, now)
    # The first time learns what is new in the file, such as ids that another process has given.
    return file.bear(sql, kind, values, made, told) or file.bear(sql, kind, values, made, told)


def submit_plain(tx: Transaction, kind: tuple[str, str], priority: int, now: float, args: str) -> int:
    """The same in a transaction. → its id."""
    known = tx.known
    kind_id = known.plain_ids.get(kind) or kind_of(tx, *kind)
    known.last_id = task_id = known.last_id + 1
    tx.execute(INSERT_PLAIN, (task_id, kind_id, priority, now, args))
    tx.freed = True
    return task_id

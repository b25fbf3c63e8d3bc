"""Tasks of which nothing is said but a name, arguments and a priority: most tasks are, and each costs the fewest
statements and objects there can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from taskcore.store import schema
from taskcore.store.connection import File
from taskcore.store.kinds import kind_of
from taskcore.store.transaction import Transaction

R = TypeVar("R")

INSERT_PLAIN: Final = """
    INSERT INTO taskcore_task (id, kind, phase, priority, submitted_at, args) VALUES (?, ?, 'ready', ?, ?, ?)"""
# Without a kind nothing is stored. (As `INSERT … SELECT` this would take a third longer.)
_INSERT_ALONE: Final = f"""
    INSERT INTO taskcore_task (id, kind, phase, priority, submitted_at, args)
    VALUES (?, iif(? > (SELECT CAST(value AS INTEGER) FROM taskcore_meta WHERE key = 'last_id')
        AND (SELECT value FROM taskcore_meta WHERE key = 'format') = '{schema.FORMAT}', ?, NULL),
        'ready', ?, ?, ?)"""
_INSERT_CLAIMED: Final = """
    INSERT INTO taskcore_task (id, kind, phase, priority, submitted_at, args, token, attempts, worker, greenfield,
        started_at, first_started_at)
    VALUES (?, ?, 'running', ?, ?, ?, 1, 1, ?, ?, ?, ?)"""


def submit_alone(
    file: File, name: str, kind_options: str, priority: int, now: float, args: str, made: Callable[[int], R]
) -> R | None:
    """Store a task of which nothing else is said, in one statement. → what `made` makes of its id; `None` where it
    takes a transaction."""
    return file.bear(_INSERT_ALONE, (name, kind_options), (priority, now, args), made)


def submit_plain(
    tx: Transaction, name: str, kind_options: str, priority: int, now: float, args: str, claim: tuple[int, float] | None
) -> tuple[int, int]:
    """Store a task of which nothing else is said, `claim`ed (worker, lease end) at birth or not, with the fewest
    statements and objects there can be. → its id, its kind."""
    known = tx.known
    kind = known.plain_ids.get((name, kind_options)) or kind_of(tx, name, kind_options)
    known.last_id = task_id = known.last_id + 1
    if claim is None:
        tx.execute(INSERT_PLAIN, (task_id, kind, priority, now, args))
        tx.freed = True
    else:
        tx.execute(_INSERT_CLAIMED, (task_id, kind, priority, now, args, *claim, now, now))
    return task_id, kind

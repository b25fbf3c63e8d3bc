"""Rows as the values that people look at. Imported when somebody first does: these classes take time to make."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from taskcore.codec.json import Codec
from taskcore.core import lifecycle
from taskcore.core.model import Attempt, Dependency, Handle, LogLine, Task, Unreadable
from taskcore.core.text import error_line
from taskcore.store.busy import said
from taskcore.store.columns import READ, TOLD
from taskcore.store.queries import NO_ARGUMENTS, Row, arguments, decoded, share

_MADE: Final = slice(len(TOLD), len(READ))


def task_of(row: Row, codec: Codec) -> Task:
    """The row as a value. `args` have a `Handle` where another task's result belongs."""
    read, tags = row
    (call, links, gave, job, progress, waiting_for, blockers, gated, behind, children, unfinished, parent,
        hidden) = read[_MADE]  # fmt: skip
    args, kwargs, result = (), {}, None
    if call != NO_ARGUMENTS:
        called = _readable(call, arguments, codec, call, links, Handle)
        args, kwargs = ((called,), {}) if isinstance(called, Unreadable) else called
    if gave is not None:
        result = _readable(gave, decoded, codec, gave, job)
    task = Task.__new__(Task)  # `Task(…)` sets each field of a frozen class by a call: a third of what a row costs
    fields = vars(task)
    fields.update(zip(TOLD, read, strict=False))
    phase = fields["phase"]
    if job is not None and fields["finished_at"] is None:
        progress = share(children, unfinished)
    if phase == lifecycle.WAITING and blockers:
        waiting_for = "dependencies" if blockers > gated + behind else "job" if gated else "serial"
    elif job is not None and phase == lifecycle.SUSPENDED:
        waiting_for = "children"
    elif phase not in (lifecycle.SCHEDULED, lifecycle.SUSPENDED, lifecycle.PAUSED):
        waiting_for = None
    fields.update(
        parent_id=parent, args=args, kwargs=kwargs, progress=progress, result=result, tags=tags, hidden=bool(hidden),
        waiting_for=waiting_for,
    )
    return task


def called_with(row: Row, codec: Codec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Task:
    """The row of a claimed task, with the values of its arguments."""
    return replace(task_of(row, codec), args=args, kwargs=kwargs)


def _readable(text: str, read: Callable[..., Any], *args: Any) -> Any:
    """A stored value; where it cannot be read, what stands for it: one bad row must not hide the others."""
    try:
        return read(*args)
    except Exception as error:  # a codec is the user's
        return Unreadable(text, said(error))


def history(connection: sqlite3.Connection, task_id: int, most: int = -1) -> list[Attempt]:
    """Its newest attempts, oldest first; -1: all. That which runs, or succeeded last, is told by the task's own row."""
    past = [
        Attempt(number, worker, started, finished, outcome, error_line(kind, error), traceback)
        for number, worker, started, finished, outcome, kind, error, traceback in reversed(connection.execute(
            """SELECT a.number, w.name, a.started_at, a.finished_at, a.outcome, a.error_type, a.error, a.traceback
               FROM taskcore_attempt AS a LEFT JOIN taskcore_worker AS w ON w.id = a.worker
               WHERE a.task = ? ORDER BY a.number DESC LIMIT ?""",
            (task_id, most),
        ).fetchall())
    ]
    row = connection.execute(
        """SELECT t.attempts, w.name, t.started_at, t.finished_at, t.phase FROM taskcore_task AS t
           LEFT JOIN taskcore_worker AS w ON w.id = t.worker
           WHERE t.id = ? AND t.phase IN ('running', 'succeeded', 'failed') AND t.attempts > 0""",
        (task_id,),
    ).fetchone()
    if row is not None and all(attempt.number != row[0] for attempt in past):
        number, worker, started, finished, outcome = row
        past.append(Attempt(number, worker, started, finished, outcome, None, None))
    return past


def dependencies(connection: sqlite3.Connection, task_id: int) -> list[Dependency]:
    """Its edges, by upstream."""
    return [
        Dependency(task_id, upstream, wants, otherwise, verdict == "met")
        for upstream, wants, otherwise, verdict in connection.execute(
            "SELECT upstream, wants, otherwise, verdict FROM taskcore_edge WHERE task = ? ORDER BY upstream", (task_id,)
        ).fetchall()
    ]


def log(connection: sqlite3.Connection, task: int) -> list[LogLine]:
    """The lines of its log that are kept, oldest first."""
    return [
        LogLine(*row)
        for row in connection.execute(
            "SELECT at, level, text FROM taskcore_log WHERE task = ? ORDER BY line", (task,)
        ).fetchall()
    ]

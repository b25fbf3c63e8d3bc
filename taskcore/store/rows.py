"""Rows as the values that people look at. Imported when somebody first does: these classes take time to make."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from taskcore.codec.json import Codec
from taskcore.core import lifecycle
from taskcore.core.model import Attempt, Dependency, Handle, LogLine, Task, Unreadable
from taskcore.core.text import error_line
from taskcore.store.busy import said
from taskcore.store.columns import READ, SHOWN
from taskcore.store.queries import Row, arguments, decoded, share


def task_of(row: Row, codec: Codec) -> Task:
    """The row as a value. `args` have a `Handle` where another task's result belongs."""
    its, tags = dict(zip(READ, row[0], strict=True)), row[1]
    called = _readable(its["args"], arguments, codec, its["args"], its["links"], Handle)
    args, kwargs = ((called,), {}) if isinstance(called, Unreadable) else called
    result = _readable(its["result"], decoded, codec, its["result"], its["job"])
    phase, job, progress, waiting_for = its["phase"], its["job"], its["progress"], its["waiting_for"]
    if job is not None and its["finished_at"] is None:
        progress = share(its["children"], its["open"])
    if phase == lifecycle.WAITING and its["blockers"]:
        edges = its["blockers"] > its["gated"] + its["behind"]
        waiting_for = "dependencies" if edges else "job" if its["gated"] else "serial"
    elif job is not None and phase == lifecycle.SUSPENDED:
        waiting_for = "children"
    elif phase not in (lifecycle.SCHEDULED, lifecycle.SUSPENDED, lifecycle.PAUSED):
        waiting_for = None
    task = Task.__new__(Task)  # `Task(…)` sets each field of a frozen class by a call: a third of what a row costs
    vars(task).update(
        [(column, its[column]) for column in SHOWN],
        parent_id=its["parent"], name=its["name"], status=its["status"], max_attempts=its["max_attempts"],
        worker=its["worker"], args=args, kwargs=kwargs, progress=progress,
        result=result, tags=tags, hidden=bool(its["hidden"]), waiting_for=waiting_for,
    )  # fmt: skip
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

"""What can go wrong, as classes. Facts are attributes; the sentence is built here, once."""

from __future__ import annotations

import builtins
import copyreg
import functools
from collections.abc import Sequence
from typing import Any


class TaskcoreError(Exception):
    """Whatever this library refuses or reports; every error below is one."""

    def __reduce__(self) -> tuple[Any, ...]:
        """With facts and sentence, so that it crosses to another process (a body in a process pool may raise it)."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class TaskNotFound(TaskcoreError, LookupError):
    """No such task in the file."""

    def __init__(self, task_id: object) -> None:
        self.task_id = task_id
        super().__init__(f"there is no task #{task_id} in the file")


class InvalidTransition(TaskcoreError):
    """The task's phase does not allow the verb; nothing was changed."""

    def __init__(self, task_id: int, phase: str, verb: str, reason: str = "") -> None:
        self.task_id = task_id
        self.phase = phase
        self.verb = verb
        super().__init__(f"task #{task_id} is {phase}: it cannot {verb}{reason and f', for {reason}'}")


class LeaseLost(TaskcoreError):
    """The claim is no longer held: it lapsed, was reported already, or the task was taken away. Nothing was changed."""

    def __init__(self, task_id: int, token: int) -> None:
        self.task_id = task_id
        self.token = token
        super().__init__(f"claim {token} of task #{task_id} is no longer held; nothing was changed")


class DependencyCycle(TaskcoreError, ValueError):
    """The edge would close a cycle. `path` lists the ids round it, first and last the same; nothing was changed."""

    def __init__(self, path: Sequence[int]) -> None:
        self.path = list(path)
        super().__init__("this would close a cycle: " + " needs ".join(f"#{task_id}" for task_id in path))


class KeyConflict(TaskcoreError, ValueError):
    """A task of this name and key exists with other arguments; nothing was stored."""

    def __init__(self, name: str, key: str, task_id: int) -> None:
        self.name = name
        self.key = key
        self.task_id = task_id
        super().__init__(f"{name!r} with key {key!r} is task #{task_id} already, with other arguments")


class UnknownStatus(TaskcoreError, ValueError):
    """A status label that the file does not know, or one whose phase does not fit where it is used."""

    def __init__(self, label: object, known: Sequence[str], wanted: str = "") -> None:
        self.label = label
        self.known = list(known)
        fits = f" {wanted}" if wanted else ""
        super().__init__(f"{label!r} is no status{fits}; there are: {', '.join(map(repr, self.known))}")


@functools.cache
def _failed_as(error_type: str | None) -> type[TaskFailed]:
    """A `TaskFailed` that is this builtin exception, too, if there is one that can be so. Those by which iterators end
    mean something to whoever iterates, and a `SyntaxError` is shown by its place; these are left out."""
    builtin = getattr(builtins, error_type or "", None)
    if not (isinstance(builtin, type) and issubclass(builtin, Exception) and builtin is not Exception):
        return TaskFailed
    if issubclass(builtin, (StopIteration, StopAsyncIteration, SyntaxError)):
        return TaskFailed
    made = type("TaskFailed", (TaskFailed, builtin), {"__module__": TaskFailed.__module__})
    try:
        builtin.__new__(made)
    except TypeError:  # `MemoryError` and exception groups cannot
        return TaskFailed
    return made


class TaskFailed(TaskcoreError):
    """The task ended in phase failed, in another process, before a restart, or by `Done` with a failed label.

    Where the body raised a builtin exception, it is an instance of that class as well, so that `except ValueError`
    means the same before and after a restart (without attributes of its own, such as `errno`); of any other class,
    `error_type` is the name.
    """

    def __new__(cls, task_id: Any = None, error_type: str | None = None, *rest: Any, **more: Any) -> TaskFailed:
        kind = _failed_as(error_type) if cls is TaskFailed else cls
        new: Any = TaskcoreError.__new__ if kind is cls else kind.__bases__[-1].__new__
        made: TaskFailed = new(kind)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        facts = (self.error_type, self.message, self.traceback, self.attempts, self.status, self.result)
        return TaskFailed, (self.task_id, *facts), self.__dict__

    def __str__(self) -> str:
        return BaseException.__str__(self)

    def __init__(
        self,
        task_id: int,
        error_type: str | None = None,
        message: str | None = None,
        traceback: str | None = None,
        attempts: int = 0,
        status: str = "failed",
        result: Any = None,
    ) -> None:
        self.task_id = task_id
        self.error_type = error_type
        self.message = message
        self.traceback = traceback
        self.attempts = attempts
        self.status = status
        self.result = result
        why = ": ".join(part for part in (error_type, message) if part)
        tried = f" after {attempts} attempt{'s' * (attempts > 1)}" if attempts else ""  # a job makes none
        text = f"task #{task_id} is {status}{tried}" + (f": {why}" if why else "")
        BaseException.__init__(self, f"{text} (engine.future({task_id}).rerun() runs it again)")


class TaskSkipped(TaskcoreError):
    """The task will not run: what it depends on ended otherwise than it asked."""

    def __init__(self, task_id: int, reason: str | None = None) -> None:
        self.task_id = task_id
        self.reason = reason
        super().__init__(f"task #{task_id} was skipped" + (f": {reason}" if reason else ""))


class StepMismatch(TaskcoreError):
    """A body came to another step than the one that is kept in its place: it was changed since, or something that may
    differ (a clock, chance, a set's order) decided its course outside of a step. The attempt fails."""

    def __init__(self, task_id: int, expected: str, called: str) -> None:
        self.task_id = task_id
        self.expected = expected
        self.called = called
        super().__init__(
            f"task #{task_id} came to {called} where its kept steps have {expected}: its body was changed, or does not "
            "take the same course each time"
        )


class NotInTask(TaskcoreError, RuntimeError):
    """`current()` was asked for outside a body, or where a body runs from which the file cannot be reached."""

    def __init__(self, why: str = "there is no running task here: current() works inside a task's body only") -> None:
        super().__init__(why)


class BadFile(TaskcoreError):
    """The path is no file this version can use; the file was not changed."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


class EngineClosed(TaskcoreError, RuntimeError):
    """The engine was closed; what it stored is in the file and continues at the next start."""

    def __init__(self, path: str, why: str = "the engine is closed") -> None:
        self.path = path
        super().__init__(f"{why}; its tasks are in {path}")

"""taskcore: durable tasks in one SQLite file, run by a thread pool. See `Engine`."""

import sqlite3 as _sqlite3
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _sqlite3.sqlite_version_info < (3, 38, 0):  # STRICT came with 3.37, the `->>` operator with 3.38
    raise ImportError(f"taskcore needs SQLite 3.38.0 or newer; this Python was built with {_sqlite3.sqlite_version}")

from taskcore.api.claim import Claim
from taskcore.api.completion import as_completed
from taskcore.api.engine import Engine
from taskcore.api.function import TaskFunction
from taskcore.api.future import TaskFuture
from taskcore.api.pipeline import Pipeline
from taskcore.api.selection import Selection
from taskcore.body.context import Run, current
from taskcore.codec.json import JSON, Codec
from taskcore.core.backoff import constant, exponential, linear
from taskcore.core.ends import Abort, Cancelled, Done, Retry, Snooze
from taskcore.core.errors import (
    BadFile,
    DependencyCycle,
    EngineClosed,
    InvalidTransition,
    KeyConflict,
    LeaseLost,
    NotInTask,
    StepMismatch,
    TaskcoreError,
    TaskFailed,
    TaskNotFound,
    TaskSkipped,
    UnknownStatus,
)
from taskcore.core.version import VERSION

if _TYPE_CHECKING:
    from taskcore.core.model import Attempt, Change, Dependency, Finding, Handle, LogLine, Step, Task, Unreadable

__version__ = VERSION

__all__ = [
    "JSON", "Abort", "Attempt", "BadFile", "Cancelled", "Change", "Claim", "Codec", "Dependency", "DependencyCycle",
    "Done", "Engine", "EngineClosed", "Finding", "Handle", "InvalidTransition", "KeyConflict", "LeaseLost", "LogLine",
    "NotInTask", "Pipeline", "Retry", "Run", "Selection", "Snooze", "Step", "StepMismatch", "Task", "TaskFailed",
    "TaskFunction", "TaskFuture", "TaskNotFound", "TaskSkipped", "TaskcoreError", "UnknownStatus", "Unreadable",
    "as_completed", "constant", "current", "exponential", "linear",
]  # fmt: skip

_VALUES = frozenset(
    ("Attempt", "Change", "Dependency", "Finding", "Handle", "LogLine", "Step", "Task", "Unreadable")
)


def __getattr__(name: str) -> _Any:
    """The classes of what people look at take a tenth of all the time of the import: they are made when asked for."""
    if name in _VALUES:
        from taskcore.core import model

        return getattr(model, name)
    raise AttributeError(f"module 'taskcore' has no attribute {name!r}")

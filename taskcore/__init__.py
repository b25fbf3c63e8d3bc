"""taskcore: durable tasks in one SQLite file, run by a thread pool. See `Engine`."""

import sqlite3 as _sqlite3

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
from taskcore.core.model import Attempt, Change, Dependency, Finding, Handle, LogLine, Step, Task, Unreadable
from taskcore.core.version import VERSION

__version__ = VERSION

__all__ = [
    "JSON", "Abort", "Attempt", "BadFile", "Cancelled", "Change", "Claim", "Codec", "Dependency", "DependencyCycle",
    "Done", "Engine", "EngineClosed", "Finding", "Handle", "InvalidTransition", "KeyConflict", "LeaseLost", "LogLine",
    "NotInTask", "Pipeline", "Retry", "Run", "Selection", "Snooze", "Step", "StepMismatch", "Task", "TaskFailed",
    "TaskFunction", "TaskFuture", "TaskNotFound", "TaskSkipped", "TaskcoreError", "UnknownStatus", "Unreadable",
    "as_completed", "constant", "current", "exponential", "linear",
]  # fmt: skip

"""taskcore: durable tasks in one SQLite file, run by a thread pool. See `Engine`."""

import sqlite3 as _sqlite3

if _sqlite3.sqlite_version_info < (3, 38, 0):
    raise ImportError(f"taskcore needs SQLite 3.38.0 or newer; this Python was built with {_sqlite3.sqlite_version}")

from taskcore.backoff import constant, exponential, linear
from taskcore.claim import Claim
from taskcore.codec import JSON, Codec
from taskcore.endings import Abort, Cancelled, Done, Retry, Snooze
from taskcore.engine import Engine
from taskcore.errors import (
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
from taskcore.function import TaskFunction
from taskcore.future import TaskFuture
from taskcore.model import Attempt, Dependency, Finding, Handle, LogLine, Step, Task
from taskcore.pipeline import Pipeline
from taskcore.run import Run, current
from taskcore.selection import Selection

__version__ = "0.1.0"

__all__ = [
    "JSON", "Abort", "Attempt", "BadFile", "Cancelled", "Claim", "Codec", "Dependency", "DependencyCycle", "Done",
    "Engine", "EngineClosed", "Finding", "Handle", "InvalidTransition", "KeyConflict", "LeaseLost", "LogLine",
    "NotInTask", "Pipeline", "Retry", "Run", "Selection", "Snooze", "Step", "StepMismatch", "Task", "TaskFailed",
    "TaskFunction", "TaskFuture", "TaskNotFound", "TaskSkipped", "TaskcoreError", "UnknownStatus", "constant",
    "current", "exponential", "linear",
]  # fmt: skip

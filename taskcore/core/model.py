"""Rows as frozen values. To know more, read again: a value never changes under its holder.

Times are float seconds since the epoch, UTC; `None` where the thing has not happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Handle:
    """Where a task's arguments refer to another task's result; the result takes its place when the task is claimed."""

    task_id: int


@dataclass(frozen=True, slots=True)
class Task:
    """One task as its row was read."""

    id: int
    name: str
    key: str | None
    parent_id: int | None
    phase: str
    status: str
    """The phase's own name, or a label of yours that belongs to the phase."""
    args: tuple[Any, ...]
    """As submitted, with a `Handle` where another task's result belongs; `claim.task.args` has the values."""
    kwargs: dict[str, Any]
    priority: int
    greenfield: float | None
    """When time moves this row: end of delay or backoff, end of the lease, end of a sleep."""
    attempts: int
    """Claims that were not given back; counts on over a rerun."""
    failures: int
    lapses: int
    """How often the process died under it, or its claim ran out."""
    max_attempts: int | None
    step: str | None
    progress: float | None
    """0…1, `None` where unknown, 1.0 once succeeded."""
    message: str | None
    result: Any
    last_error: str | None
    """Why it failed last, was skipped or cancelled; cleared by success."""
    worker: str | None
    """Who has it, or had it last."""
    tags: tuple[str, ...]
    hidden: bool
    waiting_for: str | None
    """What a task that is not ready is held by: dependencies, job, serial, delay, backoff, snooze; or, suspended,
    children, tasks, sleep or "signal …"."""
    cancel_requested_at: float | None
    submitted_at: float
    first_started_at: float | None
    started_at: float | None
    """When the newest attempt was claimed."""
    finished_at: float | None
    """Set exactly when the task has ended."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a task's body. `outcome` is running, succeeded, failed, cancelled or lapsed."""

    number: int
    worker: str | None
    started_at: float | None
    finished_at: float | None
    outcome: str
    error: str | None
    traceback: str | None


@dataclass(frozen=True, slots=True)
class Dependency:
    """One edge: `task_id` waits until `upstream_id` is what `on` asks."""

    task_id: int
    upstream_id: int
    on: str
    otherwise: str
    met: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a body that need not be done again."""

    name: str
    result: Any
    started_at: float
    finished_at: float


@dataclass(frozen=True, slots=True)
class LogLine:
    """What a body logged. `level` is the name that `logging` gives it."""

    at: float
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with a file."""

    what: str
    mend: str
    """What mends it, and whether anything does."""

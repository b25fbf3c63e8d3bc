"""Rows as frozen values. To know more, read again: a value never changes under its holder.

Times are float seconds since the epoch, UTC; `None` where the thing has not happened.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from taskcore.core.text import printable
from taskcore.core.views import shown_by


@dataclass(frozen=True, slots=True)
class Handle:
    """Where a task's arguments refer to another task's result; the result takes its place when the task is claimed."""

    task_id: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands where a stored value cannot be read: the file was damaged, or written by a codec that is not there."""

    text: str
    """What is stored."""
    reason: str


_MADE: Final = re.compile("[0-9a-f]{32}")


def own_key(key: str | None, job: str | None = None) -> str | None:
    """A key that somebody gave; `None` for one that was made from the arguments, which tells nobody anything. A `job`
    has no arguments: its key is its own, a pipeline's subject, say."""
    return None if key is None or (job is None and _MADE.fullmatch(key)) else key


def in_a_line(task: Any) -> str:
    """What tells most of a row that has a task's names: its name, own key, status, and how far it is or why not."""
    said = [printable(task.name, 60), printable(task.status, 40)]
    key = own_key(task.key)
    if key is not None:
        said.insert(1, f"[{printable(key, 40)}]")
    if task.progress is not None and task.finished_at is None:
        said.append(f"{int(100 * task.progress)} %")
    why = task.last_error or task.message or (task.waiting_for and f"waits for {task.waiting_for}")
    return " ".join(said) + (f": {printable(why, 100)}" if why else "")


@dataclass(frozen=True, repr=False)
class Task:
    """One task as its row was read."""

    id: int
    """Its number in the file, from 1 on. Given at the submit, never changed, and never given to another task."""
    name: str
    """What it calls: the name of the function's definition. Said at the submit, never changed."""
    key: str | None
    """What it is submitted once for, within its name; default none. Said at the submit, never changed."""
    parent_id: int | None
    """The job or task that it is a child of; default none, within a job's block the job, within a body that body's
    task. Said at the submit; becomes `None` where the parent is deleted first."""
    phase: str
    """Where it is in its life: waiting, scheduled, ready, running, suspended, paused, succeeded, failed, cancelled or
    skipped. Every verb moves it, as `core.lifecycle.TABLE` says."""
    status: str
    """The phase's own name, or a label of yours that belongs to the phase: set by a body (`run.status`, `Done`), a
    claim's `succeed` or the option `failed_status`, gone when the phase changes."""
    args: tuple[Any, ...]
    """As submitted, with a `Handle` where another task's result belongs; `claim.task.args` has the values. One
    `Unreadable` where they cannot be read."""
    kwargs: dict[str, Any]
    """Likewise, by keyword."""
    priority: int
    """From −1000 to 1000, default 0; the greatest is claimed first. `set_priority` changes it."""
    greenfield: float | None
    """When time moves this row: the end of a delay or backoff, of the lease while it runs, of a sleep. Set when it
    begins to wait for a time or is claimed, renewed by the worker's engine, `None` once it has ended."""
    attempts: int
    """Claims so far that were not given back, from 0. A claim adds one; a snooze, a suspension or giving it back takes
    that off again. Counts on over a rerun."""
    failures: int
    """Attempts that raised, from 0; a rerun begins anew at 0. At `max_attempts` of them the task fails for good."""
    lapses: int
    """How often its process died or its lease ran out, from 0; a rerun begins anew at 0."""
    max_attempts: int | None
    """How many failures are the last; `None` for no end. Said at the submit, default 1, never changed."""
    step: str | None
    """The step that its body shows (`run.step`), `None` where it showed none."""
    progress: float | None
    """0…1 as its body says; of a job the part of its children that ended. `None` where unknown, 1.0 once succeeded."""
    message: str | None
    """What its body said last (`run.message`), kept after the end; default none."""
    result: Any
    """What its body returned, or saved so far; of a job how many children ended how. `None` before; `Unreadable` where
    it cannot be read."""
    last_error: str | None
    """Why it failed or lapsed last, was skipped or cancelled; cleared by success."""
    worker: str | None
    """The name of the engine or outside worker that has it, or had it last; `None` before and while it waits anew."""
    tags: tuple[str, ...]
    """Texts of yours to find it by; default none. Said at the submit, never changed."""
    hidden: bool
    """Whether lists leave it out unless asked; default False. `hide` changes it."""
    waiting_for: str | None
    """What a task that is not ready is held by: dependencies, job, serial, delay, backoff, snooze; or, suspended,
    children, tasks, sleep or "signal …". `None` in every other phase."""
    cancel_requested_at: float | None
    """When `cancel` asked it to stop; `None` if nobody did. A rerun clears it."""
    submitted_at: float
    """When it was submitted; never changed."""
    first_started_at: float | None
    """When the first attempt of all was claimed; `None` before. A rerun leaves it."""
    started_at: float | None
    """When the newest attempt was claimed."""
    finished_at: float | None
    """Set exactly when the task has ended; a rerun clears it."""

    def __repr__(self) -> str:
        """The line that tells most; every field is an attribute."""
        return f"<Task #{self.id} {in_a_line(self)}>"

    _repr_html_ = shown_by("task", "life")


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
class Change:
    """What commits moved since the last one was told."""

    ids: frozenset[int]
    """The tasks that were submitted or deleted, came into another phase or status, or say another progress or
    message."""
    more: bool
    """Whether others moved as well, or may have: there were more than some thousands, or another process committed. (Of
    this engine's own worker processes that is said, too, though what they moved is listed.)"""
    counts: Mapping[str, int]
    """Of the whole file, as it is now: status → number."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with a file."""

    what: str
    mend: str
    """What mends it, and whether anything does."""

"""One claimed task in this process, and what the bodies of one engine share."""

from __future__ import annotations

import contextlib
import contextvars
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from taskcore.codec.json import Codec
from taskcore.core.ends import Outcome, seconds
from taskcore.core.options import Definition
from taskcore.store import queries, steps
from taskcore.store.cache import Kind
from taskcore.store.claims import Claimed
from taskcore.store.connection import File
from taskcore.store.steps import Line, Notes, Step
from taskcore.store.together import Together

NO_WAITING: Final = (
    "{} works in the engine's own process and in those of Engine(processes=…): this body runs in another one, on an "
    "executor, where it can show, keep and log, but not wait or submit"
)
"""Said of a verb that a body in another process has not."""


class Suspend(BaseException):
    """Raised through a body to give its thread back. Not an `Exception`: an `except Exception` lets it pass."""

    def __init__(self, end: Outcome) -> None:
        self.end = end
        super().__init__("the task is suspended; its body must let this pass")


class Past(Protocol):
    """What a body has behind it, as far as its work knows: `replay.Course`."""

    pending: dict[int, Step]


class Work:
    """One claimed task in this process, from the claim to its report."""

    __slots__ = (
        "began", "broken", "claimed", "contest", "course", "definition", "kind", "lines", "notes", "parting",
        "saved", "saved_text", "since", "step", "stop", "timeout", "took", "unfinished_line", "unsaved",
    )  # fmt: skip

    def __init__(self, claimed: Claimed, kind: Kind, definition: Definition) -> None:
        self.claimed = claimed
        self.kind = kind
        self.definition = definition
        self.timeout: float | None = kind.options.get("timeout")
        if self.timeout is not None:
            seconds(self.timeout, "the time limit")  # somebody may have written something else into the file
        self.contest: list[None] | None = None if self.timeout is None else [None]
        """Who may report, where two can: the body's thread and the time limit. Whoever pops it first."""
        self.began: float | None = None
        """When the body began, by the engine's clock for durations; `None` before."""
        self.since = 0.0
        """The same by the machine's, and 0 before."""
        self.took = 0.0
        """Seconds the body ran, once it has ended."""
        self.stop: str | None = None
        """Why the body should stop: "cancel", "timeout" or "close"."""
        self.course: Past | None = None
        """What the body has behind it, once it was asked for."""
        self.parting: Suspend | None = None
        """Set when the body is to give its thread back."""
        self.broken: Exception | None = None
        """Why the attempt fails, whatever the body makes of it."""
        self.saved: dict[str, Any] | None = None
        self.saved_text = ""
        """The same as it is to be stored."""
        self.unsaved = False
        """Whether it must be in the file before the step that it was saved in is."""
        self.notes: dict[str, Any] | None = None
        """What is to be shown in the row's columns, not yet written."""
        self.step: str | None = None
        """The name of the step that was shown last."""
        self.lines: deque[Line] | None = None
        """Likewise: lines of its log."""
        self.unfinished_line = ""
        """What was printed behind the last line end."""

    def go_on(self) -> None:
        """Before anything lasting is done: a body that held on to what ends it is told again."""
        if self.parting is not None:
            raise self.parting
        if self.broken is not None:
            raise self.broken

    @property
    def has_notes(self) -> bool:
        """Whether `take_notes` would find something."""
        return bool(self.notes or self.lines or (self.course is not None and self.course.pending))

    def take_notes(self) -> Notes | None:
        """What there is to show since the last time."""
        columns: dict[str, Any] = {}
        lines: list[Line] = []
        while self.notes:
            column, value = self.notes.popitem()
            columns[column] = value
        while self.lines:
            lines.append(self.lines.popleft())
        # A copy: until this is in the file, whatever the body itself writes must have what is pending with it.
        kept = list(self.course.pending.values()) if self.course is not None else []
        if columns or lines or kept:
            return Notes(self.claimed.id, self.claimed.token, columns, lines, kept)
        return None

    def win(self) -> bool:
        """Whether the caller is the one that reports."""
        if self.contest is None:
            return True
        try:
            self.contest.pop()
        except IndexError:
            return False
        return True

    @property
    def claim(self) -> tuple[int, int]:
        """(task, token): what every report shows."""
        return self.claimed.id, self.claimed.token


class House(Protocol):
    """What a body needs of its engine."""

    expecting: dict[int, Any]

    def forget(self, task_id: int) -> None: ...
    def transaction(self) -> contextlib.AbstractContextManager[Any]: ...
    def gather(self, fn: Any, calls: list[tuple[Any, ...]], run: Any) -> tuple[list[int], bool]:
        """The children, whose errors are kept for the body, and whether they were made just now."""

    def results(self, children: Sequence[int]) -> list[str] | None:
        """The texts of their results, in order, if all succeeded and it can be told at once."""

    def handles(self, children: Sequence[int]) -> list[Any]: ...
    def settled(self, futures: Sequence[Any], parent: int) -> list[int]:
        """Resolve what has ended. → the ids of those that have not, which `parent` is going to wait for. `TypeError`
        for what is no handle, `RuntimeError` if it is `parent` itself."""


class Stage:
    """What bodies of one engine share: where their rows are, how values become text."""

    file: File
    house: House
    """The engine, as far as bodies need it."""
    elsewhere: str | None = None
    """The path of the engine's file, where bodies run in another process than their engine's and cannot wait."""
    unreachable: str | None = None
    """Why not even the file can be reached from where they run."""

    def __init__(self, file: File, codec: Codec, now: Callable[[], float], duration: Callable[[], float]) -> None:
        self.file = file
        self.together = Together(file)
        self.codec = codec
        self.now = now
        self.duration = duration
        self.noted: Callable[[Work], None] = lambda _: None
        """Called by a body that has something new to show."""

    @property
    def statuses(self) -> Mapping[str, str]:
        return self.file.known.statuses

    def arguments(self, claimed: Claimed) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """(args, kwargs) with the results of other tasks in their places."""
        if claimed.args == queries.NO_ARGUMENTS:
            return (), {}
        inputs = claimed.inputs or {}

        def value_of(task_id: int) -> Any:
            verdict_of, text = inputs.get(task_id, ("dropped", None))
            if verdict_of.startswith("dropped"):
                return queries.LEFT_OUT
            return queries.decoded(self.codec, text, "job" if verdict_of.endswith("job") else None)

        return queries.arguments(self.codec, claimed.args, claimed.links, value_of)

    def saved(self, work: Work) -> dict[str, Any]:
        """What the body saved, in this attempt or before."""
        if work.saved is None:
            text = self.file.read(steps.saved, work.claimed.id) if work.claimed.saved else None
            before = None if text is None else self.codec.decode(text)
            work.saved = before if isinstance(before, dict) else {}
        return work.saved

    def asked_to_stop(self, work: Work) -> bool:
        """Whether its body was asked to stop: `work.stop` says why."""
        return work.stop is not None

    def late(self, work: Work) -> bool:
        """Whether its time is up. The loop sees to those that never return; who returns or looks first asks here."""
        return work.timeout is not None and work.began is not None and self.duration() >= work.began + work.timeout


CURRENT: Final[contextvars.ContextVar[tuple[Stage, Work] | None]] = contextvars.ContextVar("taskcore.current")
"""The work whose body calls, and what that shares with the others of its engine."""


def current_work() -> tuple[Stage, Work] | None:
    """The work whose body calls."""
    return CURRENT.get(None)


def current_task(file: File) -> int | None:
    """The id of the task whose body calls, if it is one of this file's."""
    found = CURRENT.get(None)
    return found[1].claimed.id if found is not None and found[0].file is file else None

"""Running one body: from the claim's stored arguments to a verdict. All of it happens in the thread that runs the
body."""

from __future__ import annotations

import contextvars
import types
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from taskcore.body import outcome
from taskcore.body.replay import Course, Suspend
from taskcore.codec.json import Codec
from taskcore.core.clock import monotonic
from taskcore.core.ends import Cancelled, Done
from taskcore.core.options import Definition
from taskcore.store import queries, steps
from taskcore.store.cache import Kind
from taskcore.store.connection import File
from taskcore.store.moves import Claimed, Failure, Success
from taskcore.store.steps import Line, Notes
from taskcore.store.suspension import Suspension

if TYPE_CHECKING:
    from taskcore.body.context import House

End = Success | Failure | Suspension


class Work:
    """One claimed task in this process, from the claim to its report."""

    __slots__ = (
        "began", "broken", "claimed", "contest", "course", "definition", "error", "kind", "lines", "notes", "parting",
        "saved", "saved_text", "since", "step", "stop", "timeout", "took", "unsaved",
    )  # fmt: skip

    def __init__(self, claimed: Claimed, kind: Kind, definition: Definition) -> None:
        self.claimed = claimed
        self.kind = kind
        self.definition = definition
        self.timeout: float | None = kind.options.get("timeout")
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
        self.error: BaseException | None = None
        self.course: Course | None = None
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

    def go_on(self) -> None:
        """Before anything lasting is done: a body that held on to what ends it is told again."""
        if self.parting is not None:
            raise self.parting
        if self.broken is not None:
            raise self.broken

    def give_up(self, error: Exception) -> Exception:
        self.broken = error
        return error

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

    def about(self) -> outcome.Claim:
        claimed = self.claimed
        return outcome.Claim(claimed.id, claimed.token, claimed.failures, self.kind, self.definition)


class Stage:
    """What bodies of one engine share: where their rows are, how values become text."""

    house: House
    """The engine, as far as bodies need it."""

    def __init__(self, file: File, codec: Codec, now: Callable[[], float], duration: Callable[[], float]) -> None:
        self.file = file
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

    def perform(self, work: Work) -> End:
        """Run the body to its verdict. Never raises: whatever a body does, its task ends or comes back."""
        if work.stop == "cancel":
            return Failure(work.claimed.id, work.claimed.token, "obey")
        if work.stop is not None:
            return Failure(work.claimed.id, work.claimed.token, "give back")
        before, work.began, since = _current.get(None), self.duration(), monotonic()
        work.since = since
        try:
            _current.set((self, work))
            args, kwargs = self.arguments(work.claimed)
            value = finished(work.definition.fn(*args, **kwargs))
            if work.parting is not None or work.broken is not None:
                return self.held_on(work)
            if work.timeout is not None and self.late(work):
                return outcome.timed_out(work.about(), work.timeout)
            if work.saved is not None or work.claimed.saved:
                value = self.merged(work, value)
            if value is None:
                return Success(work.claimed.id, work.claimed.token, self.codec.encode(None))
            return outcome.returned(work.about(), value, self.statuses, self.codec.encode)
        except BaseException as error:
            return self.raised(work, error)
        finally:
            _current.set(before)  # not `reset`: a Ctrl-C may take the token
            work.took = monotonic() - since
            if work.parting is None and self.house.expecting:
                self.house.forget(work.claimed.id)

    def saved(self, work: Work) -> dict[str, Any]:
        """What the body saved, in this attempt or before."""
        if work.saved is None:
            text = self.file.read(steps.saved, work.claimed.id) if work.claimed.saved else None
            before = None if text is None else self.codec.decode(text)
            work.saved = before if isinstance(before, dict) else {}
        return work.saved

    def merged(self, work: Work, value: Any) -> Any:
        """What the body returned, over what it saved."""
        saved = self.saved(work)
        if isinstance(value, Done):
            return Done(_over(saved, value.result), value.status)
        return _over(saved, value)

    def held_on(self, work: Work) -> End:
        """The body went on after it was to end: what it made of that does not count."""
        if work.broken is None:
            text = "the body caught its own suspension (a bare except, or except BaseException): it must let that pass"
            work.broken = RuntimeError(text)
        work.error = work.broken
        kind, message = type(work.broken).__qualname__, outcome.message_of(work.broken)
        end = Failure(work.claimed.id, work.claimed.token, "fail", kind, message, outcome.traceback_of(work.broken))
        return outcome.failed(work.about(), end)

    def late(self, work: Work) -> bool:
        """Whether its time is up. The loop sees to those that never return; who returns or looks first asks here."""
        return work.timeout is not None and work.began is not None and self.duration() >= work.began + work.timeout

    def raised(self, work: Work, error: BaseException) -> End:
        if work.stop == "close" and isinstance(error, Cancelled):
            return Failure(work.claimed.id, work.claimed.token, "give back")
        if work.timeout is not None and self.late(work):
            return outcome.timed_out(work.about(), work.timeout)
        if work.parting is not None and _is(error, work.parting):
            return work.parting.end
        if (work.parting or work.broken) and not isinstance(error, Cancelled):
            return self.held_on(work)
        try:
            end = outcome.raised(work.about(), error)
            work.error = error
            return end
        except BaseException:  # it misbehaves even when it is only looked at
            end = Failure(work.claimed.id, work.claimed.token, "fail", type(error).__name__, "<it cannot be looked at>")
            return outcome.failed(work.about(), end)


def finished(value: Any) -> Any:
    """What a function gave; of an `async def` one, what it comes to."""
    if type(value) is not types.CoroutineType:
        return value
    import asyncio  # a third of what importing taskcore would cost, for those who have async bodies

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(value)
    value.close()
    raise TypeError("a step of an async body is a plain function: its loop cannot run another one inside")


def _is(error: BaseException, parting: Suspend) -> bool:
    """Whether this is the suspension, or what a group of asyncio's tasks made of it."""
    return error is parting or (isinstance(error, BaseExceptionGroup) and error.split(Suspend)[1] is None)


def _over(saved: dict[str, Any], result: Any) -> Any:
    if result is None:
        return saved or None
    return {**saved, **result} if isinstance(result, dict) else result


_current: Final[contextvars.ContextVar[tuple[Stage, Work] | None]] = contextvars.ContextVar("taskcore.current")


def current_work() -> tuple[Stage, Work] | None:
    """The work whose body calls."""
    return _current.get(None)


def current_task(file: File) -> int | None:
    """The id of the task whose body calls, if it is one of this file's."""
    found = _current.get(None)
    return found[1].claimed.id if found is not None and found[0].file is file else None

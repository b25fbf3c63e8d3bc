"""Running one body: from the claim's stored arguments to a verdict. All of it happens in the thread that runs the
body."""

from __future__ import annotations

import contextvars
import types
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from taskcore import verdict
from taskcore.clock import monotonic
from taskcore.codec import Codec
from taskcore.endings import Cancelled
from taskcore.errors import NotInTask
from taskcore.model import Task
from taskcore.options import Definition
from taskcore.store import look
from taskcore.store.file import File
from taskcore.store.known import Kind
from taskcore.store.moves import Claimed, Failure, Success

End = Success | Failure


class Work:
    """One claimed task in this process, from the claim to its report."""

    __slots__ = ("began", "claimed", "contest", "definition", "error", "kind", "since", "stop", "timeout", "took")

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

    def win(self) -> bool:
        """Whether the caller is the one that reports."""
        if self.contest is None:
            return True
        try:
            self.contest.pop()
        except IndexError:
            return False
        return True

    def about(self) -> verdict.Claim:
        claimed = self.claimed
        return verdict.Claim(claimed.id, claimed.token, claimed.failures, self.kind, self.definition)


class Stage:
    """What bodies of one engine share: where their rows are, how values become text."""

    def __init__(self, file: File, codec: Codec, duration: Callable[[], float]) -> None:
        self.file = file
        self.codec = codec
        self.duration = duration

    @property
    def statuses(self) -> Mapping[str, str]:
        return self.file.known.statuses

    def arguments(self, claimed: Claimed) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """(args, kwargs) with the results of other tasks in their places."""
        if claimed.args == look.NO_ARGUMENTS:
            return (), {}
        inputs = claimed.inputs or {}

        def value_of(task_id: int) -> Any:
            verdict_of, text = inputs.get(task_id, ("dropped", None))
            if verdict_of == "dropped":
                return look.LEFT_OUT
            return None if text is None else self.codec.decode(text)

        return look.arguments(self.codec, claimed.args, claimed.links, value_of)

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
            value = work.definition.fn(*args, **kwargs)
            if type(value) is types.CoroutineType:
                import asyncio  # a third of what importing taskcore would cost, for those who have async bodies

                value = asyncio.run(value)
            if work.timeout is not None and self.late(work):
                return verdict.timed_out(work.about(), work.timeout)
            if value is None:
                return Success(work.claimed.id, work.claimed.token, self.codec.encode(None))
            return verdict.returned(work.about(), value, self.statuses, self.codec.encode)
        except BaseException as error:
            return self.raised(work, error)
        finally:
            _current.set(before)  # not `reset`: a Ctrl-C may take the token
            work.took = monotonic() - since

    def late(self, work: Work) -> bool:
        """Whether its time is up. The loop sees to those that never return; who returns or looks first asks here."""
        return work.timeout is not None and work.began is not None and self.duration() >= work.began + work.timeout

    def raised(self, work: Work, error: BaseException) -> End:
        if work.stop == "close" and isinstance(error, Cancelled):
            return Failure(work.claimed.id, work.claimed.token, "give back")
        if work.timeout is not None and self.late(work):
            return verdict.timed_out(work.about(), work.timeout)
        try:
            end = verdict.raised(work.about(), error)
            work.error = error
            return end
        except BaseException:  # it misbehaves even when it is only looked at
            end = Failure(work.claimed.id, work.claimed.token, "fail", type(error).__name__, "<it cannot be looked at>")
            return verdict.failed(work.about(), end)


_current: Final[contextvars.ContextVar[tuple[Stage, Work] | None]] = contextvars.ContextVar("taskcore.current")


class Run:
    """The running task, as its body sees it."""

    __slots__ = ("_stage", "_work")

    def __init__(self, stage: Stage, work: Work) -> None:
        self._stage = stage
        self._work = work

    @property
    def task(self) -> Task:
        """The task as claimed, with the values of its arguments; read anew at every call."""
        claimed = self._work.claimed
        row = self._stage.file.read(look.rows, [claimed.id])[0]
        args, kwargs = self._stage.arguments(claimed)
        return replace(look.task_of(row, self._stage.codec), args=args, kwargs=kwargs)

    @property
    def cancelled(self) -> bool:
        """Whether the body was asked to stop: by a cancel, its time limit, or the engine's close."""
        return self._work.stop is not None or self._stage.late(self._work)

    def check(self) -> None:
        """Raise `Cancelled` if the body was asked to stop."""
        if self.cancelled:
            if self._work.stop == "cancel":
                raise Cancelled  # without a word: the reason is what `cancel` was given
            raise Cancelled(f"asked to stop: {self._work.stop or 'timeout'}")


def current() -> Run:
    """The task that the calling body belongs to. `NotInTask` outside of one."""
    found = _current.get(None)
    if found is None:
        raise NotInTask
    return Run(*found)


def current_task(file: File) -> int | None:
    """The id of the task whose body calls, if it is one of this file's."""
    found = _current.get(None)
    return found[1].claimed.id if found is not None and found[0].file is file else None

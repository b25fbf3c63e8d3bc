"""`current()`: the running task, as its body sees it and moves it on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import TYPE_CHECKING, Any, Final, NoReturn

from taskcore.body import logs
from taskcore.body.outcome import encoded, result_or_error, storable
from taskcore.body.replay import FAILED, KEPT, NEW, WAITING, Course, course_of, scope_of
from taskcore.body.runner import finished
from taskcore.body.work import NO_WAITING, Stage, Suspend, Work, current_work
from taskcore.codec.json import JSON
from taskcore.core import lifecycle
from taskcore.core.clock import monotonic
from taskcore.core.ends import Cancelled, Outcome, Sleep, seconds
from taskcore.core.errors import LeaseLost, NotInTask, UnknownStatus
from taskcore.core.options import checked_text
from taskcore.store import claims, queries, steps, suspension
from taskcore.store.steps import Step

if TYPE_CHECKING:
    import subprocess

    from taskcore.core.model import Task

WORTH_A_COMMIT: Final = 0.002
"""Seconds of work from which on `track` puts into the file at once how far it came."""


class Run:
    """The running task, as its body sees it.

    What it does lasts: steps, submits, sleeps and signals are kept with the task, so that a body which runs again
    (after a suspension, a retry, a crash) passes what it has behind it. What stands between these calls happens again.

    A body must come to the same calls in the same order each time, in its own thread. They are told apart by kind, name
    and number, not by their arguments: what is kept is given back whatever those are now. And it must let pass the
    `BaseException` by which a wait leaves it. All of it raises `LeaseLost` once the task is somebody else's.
    """

    __slots__ = ("_stage", "_work")

    def __init__(self, stage: Stage, work: Work) -> None:
        self._stage = stage
        self._work = work

    @property
    def task(self) -> Task:
        """The task as claimed, with the values of its arguments; read anew at every call."""
        from taskcore.store import rows

        claimed = self._work.claimed
        row = self._stage.file.read(queries.rows, [claimed.id])[0]
        args, kwargs = self._stage.arguments(claimed)
        return rows.called_with(row, self._stage.codec, args, kwargs)

    @property
    def needed(self) -> dict[str, Any]:
        """In a step of a pipeline: what each step that it needs returned for the same subject; `None` for one that it
        goes without. Read anew at every call."""
        found = self._stage.file.read(claims.needed, self._work.claimed.id)
        return {step: queries.decoded(self._stage.codec, text, None) for step, text in found.items()}

    @property
    def cancelled(self) -> bool:
        """Whether the body was asked to stop: by a cancel, its time limit, or the engine's close."""
        return self._stage.asked_to_stop(self._work) or self._stage.late(self._work)

    def check(self) -> None:
        """Raise `Cancelled` if the body was asked to stop."""
        if self.cancelled:
            if self._work.stop == "cancel":
                raise Cancelled  # without a word: the reason is what `cancel` was given
            raise Cancelled(f"asked to stop: {self._work.stop or 'timeout'}")

    # -- steps ------------------------------------------------------------------------------------------------------

    @property
    def _course(self) -> Course:
        return course_of(self._stage, self._work)

    def step(self, name: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """`fn(*args, **kwargs)`, run once: its result is in the file when this returns, and whenever the body runs
        again it is given back without a call.

        The n-th call with a name is that name's n-th step. What `fn` raises is raised, and it is run again the next
        time; so is what a crash cut off. `TypeError` if the result can't be stored; `StepMismatch` if the body was
        changed or took another course.
        """
        course, step = self._begin(name, fn)
        if step.state == KEPT:
            return self._kept(step)
        before, course.within = course.within, step
        try:
            value = finished(fn(*args, **kwargs))
            text = encoded(self._stage.codec.encode, value, "the result of step ", name)
        except Suspend:
            raise
        except BaseException:
            course.fail(step)
            raise
        finally:
            course.within = before
        course.done(step, text)
        return value

    def transact(self, name: str, fn: Callable[..., Any], /, *args: Any) -> Any:
        """A step `fn(db, *args)` whose SQL, on the same file, commits together with the record of the step: it is there
        exactly once.

        `db` is as in `engine.transaction()`: `execute` and `executemany`. Submits inside are part of it. Every other
        writer waits meanwhile. `RuntimeError` inside another transaction.
        """
        self._no_transaction("transact()")
        course, step = self._begin(name, fn)
        if step.state == KEPT:
            return self._kept(step)
        before, course.within = course.within, step
        try:
            with self._stage.house.transaction() as db:
                if self._stage.elsewhere is not None and self._stage.file.write(steps.is_kept, *self._work.claim, step):
                    raise LeaseLost(*self._work.claim)  # a cluster ran this very call elsewhere, too
                value = finished(fn(db, *args))
                text = encoded(self._stage.codec.encode, value, "the result of step ", name)
                course.done(step, text)
            course.pending.pop(step.place, None)
        except BaseException:
            course.fail(step)
            raise
        finally:
            course.within = before
        return value

    def _begin(self, name: str, fn: Any) -> tuple[Course, Step]:
        work = self._work
        if not name or (name is not work.step and not (type(name) is str and name.isprintable())):
            checked_text("the name of a step", name)
        if not callable(fn):
            raise TypeError(f"a step is a function, not {fn!r}")
        course = course_of(self._stage, work)
        step = course.come_to("step", name)
        state = step.state
        if state != KEPT and work.step != name:
            self._note("step", name)
            work.step = name
        if state == FAILED:
            course.diverge()
            step = step._replace(attempt=work.claimed.attempts, started_at=self._stage.now())
        return course, step

    def _kept(self, step: Step) -> Any:
        return None if step.result is None else self._stage.codec.decode(step.result)

    def track(self, iterable: Iterable[Any]) -> Iterator[Any]:
        """The items, with progress shown; when the body runs again, those behind the last one that was finished.

        They must come in the same order each time. An item is finished when the next is asked for. Steps and submits
        made for an item are that item's own. Items of less than 2 ms that leave nothing are written down in groups.
        """
        total = len(iterable) if isinstance(iterable, Sized) else None
        course = self._course
        step = course.come_to("track", "")
        done = int(step.result or 0)
        if step.state == FAILED:
            course.diverge()
        if step.state != KEPT:
            course.pending[step.place] = step._replace(state=KEPT, result="0")
        items = iter(iterable)
        for _ in range(done):
            next(items, None)
        written = monotonic()
        for item in items:
            made, scope = course.made, f"{scope_of(step)}{done}/"
            before, course.within = course.within, scope
            try:
                yield item
            finally:
                course.within = before
            done += 1
            step = step._replace(state=KEPT, result=str(done), finished_at=self._stage.now())
            if total:
                self.progress(min(done, total), total)
            if course.made != made or self._work.unsaved or monotonic() - written >= WORTH_A_COMMIT:
                course.keep(step, drop=scope if course.made != made else None)
                written = monotonic()
            else:
                course.pending[step.place] = step
                self._stage.noted(self._work)

    # -- waiting ----------------------------------------------------------------------------------------------------

    def sleep(self, delay: float) -> None:
        """Go on in `delay` s. The thread is given back, and the task is `suspended` meanwhile, over restarts too."""
        self._may_wait("sleep()")
        delay = seconds(delay, "the time to sleep")
        step = self._course.come_to("sleep", "")
        now = self._stage.now()
        if step.state == NEW:
            step = step._replace(state=KEPT, result=repr(now + delay), finished_at=now)
            if delay == 0:
                self._course.pending[step.place] = step
                return
            self._suspend("sleep", until=now + delay, step=step)
        elif now < float(step.result or 0):
            self._suspend("sleep", until=float(step.result or 0))

    def wait(self, *futures: Any, return_exceptions: bool = False) -> list[Any]:
        """The results of these tasks, in order, once all have ended. One list of them is taken too.

        Until then the thread is given back and the task is `suspended`. Children that are added meanwhile are waited
        for as well. What one of them raised is raised, or with `return_exceptions` stands in its place.
        """
        if len(futures) == 1 and isinstance(futures[0], Iterable):
            futures = tuple(futures[0])
        self._may_wait("wait()")
        self._work.go_on()
        me, house = self._work.claimed.id, self._stage.house
        missing = house.settled(futures, me)
        if missing:
            what = "children" if self._stage.file.read(queries.are_children, missing, me) else "tasks"
            self._suspend(what, upstreams=missing)
        return [result_or_error(future, return_exceptions) for future in futures]

    def gather(self, fn: Any, /, *iterables: Iterable[Any], return_exceptions: bool = False) -> list[Any]:
        """Submit a child for each tuple of arguments, in one commit, and `wait` for all: their results in order.

        As with `map`, the shortest of the iterables ends them. When the body runs again, it has the children it made.
        """
        self._may_wait("gather()")
        house = self._stage.house
        children, new = house.gather(fn, list(zip(*iterables, strict=False)), self)
        if not children:
            return []
        if new:  # none has ended, or hardly any: who suspends looks at the rows anyway
            self._suspend("children", upstreams=children)
        self._work.go_on()
        texts = house.results(children)
        if texts is not None:
            codec = self._stage.codec
            return JSON.decode_all(texts) if codec is JSON else [*map(codec.decode, texts)]
        return self.wait(*house.handles(children), return_exceptions=return_exceptions)

    def wait_for(self, event: str, timeout: float | None = None) -> Any:
        """The payload of the next signal of this name, sent by `TaskFuture.signal`. Each call takes one, in the order
        they were sent, also those sent before.

        Until there is one the thread is given back and the task is `suspended`; `TimeoutError` after `timeout` s.
        """
        self._may_wait("wait_for()")
        checked_text("the name of a signal", event)
        limit = None if timeout is None else seconds(timeout, "timeout")
        course, now = self._course, self._stage.now()
        step = course.come_to("signal", event)
        if step.state == KEPT:
            return self._kept(step)
        if step.state == FAILED and step.attempt < self._work.claimed.attempts:  # in another attempt
            course.diverge()
            step = step._replace(state=NEW, result=None)
        if step.state == FAILED:
            raise _no_signal(event, step)
        if step.state == NEW or (step.result is None and limit is not None):
            until = None if limit is None else repr(now + limit)
            step = step._replace(state=WAITING, result=until, started_at=now)
        attempt, claim = self._work.claimed.attempts, self._work.claim
        if self._stage.file.read(steps.is_signalled, *claim, event):
            kept = course.with_pending(step._replace(state=KEPT, attempt=attempt, finished_at=now))
            taken = self._stage.file.write(steps.take_signal, *claim, event, kept)
            if taken is not None:
                return self._stage.codec.decode(taken)
        ends = None if step.result is None else float(step.result)
        if ends is not None and now >= ends:
            step = step._replace(state=FAILED, attempt=attempt, finished_at=now)
            course.keep(step)
            raise _no_signal(event, step)
        self._suspend(suspension.waiting_for(event), signal=event, until=ends, step=step)

    def _suspend(
        self, waiting_for: str, *, upstreams: Sequence[int] = (), signal: str | None = None, until: float | None = None,
        step: Step | None = None,
    ) -> NoReturn:  # fmt: skip
        """Give the thread back. Never returns."""
        kept = [*self._course.take(), *([] if step is None else [step])]
        sleep = Sleep(waiting_for, upstreams, signal, until, kept)
        self._work.parting = Suspend(Outcome(*self._work.claim, verb="suspend", sleep=sleep))
        raise self._work.parting

    def _may_wait(self, what: str) -> None:
        if self._stage.elsewhere is not None:
            raise NotInTask(NO_WAITING.format(what))
        self._no_transaction(what)

    def _no_transaction(self, what: str) -> None:
        if self._stage.file.current is not None:
            raise RuntimeError(f"{what} inside a transaction: it would wait for ever for its own end")

    # -- what is shown ----------------------------------------------------------------------------------------------

    def progress(self, done: float, total: float | None = None) -> None:
        """Show how far it is: `done` of `total`, or a part from 0 to 1. Costs microseconds, and is in the file soon."""
        for value in (done,) if total is None else (done, total):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"progress is told in numbers, not {value!r}")
        whole = 1.0 if total is None else total
        if not (0 <= done <= whole and whole < float("inf")):
            raise ValueError(f"progress goes from 0 to {whole:g}, not {done!r}")
        self._note("progress", done / whole if whole else 1.0)

    def message(self, text: str) -> None:
        """Show a line of text, until the next one. Costs microseconds, and is in the file soon."""
        if not isinstance(text, str):
            raise TypeError(f"a message is a text, not {text!r}")
        self._note("message", storable(text))

    def set_status(self, label: str) -> None:
        """Show a label of your own, of phase running, while the body runs. `UnknownStatus`."""
        statuses = self._stage.statuses
        if label != lifecycle.RUNNING and statuses.get(label) != lifecycle.RUNNING:
            fitting = [own for own, phase in statuses.items() if phase == lifecycle.RUNNING]
            raise UnknownStatus(label, (lifecycle.RUNNING, *fitting), "of phase running")
        self._note("label", None if label == lifecycle.RUNNING else label)

    def save(self, **partial: Any) -> None:
        """Keep these values as part of the result: shown while it runs, there after a failure, and merged with what the
        body returns. `TypeError` naming what can't be stored."""
        encode, decode = self._stage.codec.encode, self._stage.codec.decode
        copied = {  # the body may go on changing its own
            name: encoded(lambda value: decode(encode(value)), value, "", name) for name, value in partial.items()
        }
        saved = self._stage.saved(self._work)
        saved.update(copied)
        work = self._work
        work.saved_text = encode(saved)
        work.unsaved = True
        self._note("result", lambda: work.saved_text)

    def command(self, argv: list[Any] | tuple[Any, ...], /, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program and wait for it, in this thread; it is killed, with all it started, on cancel, timeout, close
        and the end of this process, however that comes (on Windows, and in an embedded or frozen Python, it outlives a
        kill).

        What it prints, errors too, is kept line by line with the task, and its newest 64 KiB are `stdout` of what is
        returned, which can be stored. `options`: `input`, and those of `subprocess.Popen`. `CalledProcessError` for an
        exit code other than 0, unless `check=False`; `FileNotFoundError` for a program that is not there.
        """
        from taskcore.body.command import (  # with subprocess, slow to import, and needed for commands alone
            Stopped,
            execute,
        )

        work = self._work
        work.go_on()
        try:
            return execute(
                argv,
                stop=lambda: self.cancelled,
                on_line=lambda line: logs.add(self._stage, work, "OUTPUT", line),
                **options,
            )
        except Stopped:
            self.check()
            raise Cancelled from None

    def _note(self, column: str, value: Any) -> None:
        work = self._work
        if work.parting is not None:
            raise work.parting
        if work.notes is None:
            work.notes = {}
        work.notes[column] = value
        self._stage.noted(work)


def _no_signal(event: str, step: Step) -> TimeoutError:
    limit = float(step.result or 0) - step.started_at
    return TimeoutError(f"no signal {event!r} came within {round(limit, 3):g} s")


def current() -> Run:
    """The task that the calling body belongs to. `NotInTask` outside of one."""
    found = current_work()
    if found is None:
        raise NotInTask
    if found[0].unreachable is not None:
        raise NotInTask(found[0].unreachable)
    return Run(*found)

"""`TaskFuture`: a stored task as a `concurrent.futures.Future`."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, Final

from taskcore.api.context import Context, Handle
from taskcore.api.selection import Selection
from taskcore.api.transaction import Scope
from taskcore.body.context import Run
from taskcore.body.work import current_work
from taskcore.core import lifecycle
from taskcore.core.errors import EngineClosed, InvalidTransition
from taskcore.core.options import Options, checked_text
from taskcore.core.views import shown_by
from taskcore.store import operations, queries, steps

if TYPE_CHECKING:
    from taskcore.core.model import Attempt, Dependency, LogLine, Step, Task

_PENDING: Final = "PENDING"
_FINISHED: Final = "FINISHED"
_CANCELLED: Final = "CANCELLED_AND_NOTIFIED"
_UNSHARED: Final = contextlib.nullcontext()
"""Held instead of the condition of a handle that has none: nobody has touched it."""


def _of_a_waiter(callback: object) -> bool:
    """Whether it is how somebody who awaits hears of the end: ours, or that of `asyncio.wrap_future`."""
    return getattr(callback, "waits", False) or getattr(callback, "__module__", None) == "asyncio.futures"


@contextlib.contextmanager
def telling(futures: Sequence[Any], tell: Callable[[Any], object]) -> Iterator[None]:
    """In the block, the running event loop calls `tell(future)` for each that ends, or has ended. Behind it nothing is
    told any more, and the tasks go on."""
    import asyncio

    loop = asyncio.get_running_loop()

    def told(future: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop was closed meanwhile
            loop.call_soon_threadsafe(tell, future)

    told.waits = True  # type: ignore[attr-defined]
    try:
        for future in futures:
            future.add_done_callback(told)
        yield
    finally:
        for future in futures:
            with future._condition, contextlib.suppress(ValueError):
                future._done_callbacks.remove(told)


class TaskFuture(Future[Any], Handle):
    """The handle of a stored task. All of it may be called from any thread.

    Made in tens of thousands and mostly never asked, it has nothing of a `Future`'s insides (a condition alone costs as
    much as the row) until somebody touches them: then it joins its engine's register and is told when its task ends.
    """

    _state: str = _PENDING
    _result: Any = None
    _exception: BaseException | None = None
    _text: str | None = None
    _done_callbacks: list[Any]
    _holds: Any = None
    """What keeps its engine open until its end is known here."""

    def __init__(self, context: Context, task_id: int, origin: Scope | None = None) -> None:
        self._context = context
        self.id = task_id
        self._origin = origin

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        condition: threading.Condition | None = self.__dict__.get("_made_condition")
        return condition if condition is not None else self._context.futures.join(self)

    @property
    def _resolved(self) -> bool:
        return self._state is not _PENDING

    @property
    def _lost(self) -> bool:  # type: ignore[override]
        """Whether the transaction it was submitted in was rolled back: its id may be another task's by now."""
        return self._origin is not None and self._origin.rolled_back

    # -- as a Future ------------------------------------------------------------------------------------------------

    def result(self, timeout: float | None = None) -> Any:
        """What the body returned, as it was stored.

        Raises what the body raised, `TaskFailed`, `TaskSkipped`, `concurrent.futures.CancelledError`, `TimeoutError`
        after `timeout` s, `EngineClosed`, and `RuntimeError` where waiting would be for ever: inside `transaction()`.
        In a body, `run.wait`: until the task has ended the body's own is suspended.
        """
        error = self.exception(timeout)
        if error is not None:
            try:
                raise error
            finally:
                del error, self
        if self._text is not None:
            self._result, self._text = self._context.codec.decode(self._text), None
        return self._result

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What `result` would raise, or `None`; `CancelledError` and `TimeoutError` are raised."""
        if self._state is _PENDING:
            run = self._waiting_body() if timeout is None else None
            if run is not None:
                run.wait(self, return_exceptions=True)
            else:
                self._context.futures.wait(self, timeout)
        if self._state is _CANCELLED:
            raise CancelledError(f"task #{self.id} was cancelled")
        return self._exception

    def _waiting_body(self) -> Run | None:
        """The body that asks, if it is one of this engine's: it must not hold its thread."""
        found = current_work()
        return None if found is None or found[0] is not self._context.stage else Run(*found)

    def done(self) -> bool:
        if self._state is _PENDING:
            self._context.futures.refresh(self)
        return self._state is not _PENDING

    def running(self) -> bool:
        return not self.done() and self.snapshot().phase == lifecycle.RUNNING

    def cancelled(self) -> bool:
        return self.done() and self._state is _CANCELLED

    def cancel(self, reason: str | None = None) -> bool:
        """Not running: ended as cancelled, with its unfinished children, True. Running: a request that the body sees,
        False; of a job too, while something below it runs.

        Asked by name only: a waiter of `asyncio` that gives up leaves the task as it is.
        """
        if self._lost:
            return True
        if sys._getframe(1).f_globals.get("__name__") == "asyncio.futures":  # `wrap_future` passes its own end on
            return False
        Selection(self._context).where(id=self).cancel(reason)
        return self._state is _CANCELLED or self.snapshot().phase == lifecycle.CANCELLED

    def __await__(self) -> Generator[Any, None, Any]:
        import asyncio  # whoever awaits has it already; the others need not pay for it

        run = self._waiting_body()
        if run is not None:
            return run.wait(self)[0]
        if not self._context.loop.background:  # nobody else would run it meanwhile
            return self.result()
        ended = asyncio.Event()
        with telling([self], lambda _: ended.set()):
            yield from ended.wait().__await__()  # if it is cancelled, by a time limit say, the task stays
        if self._state is _CANCELLED:
            raise asyncio.CancelledError(f"task #{self.id} was cancelled")
        return self.result()

    def __repr__(self) -> str:
        said = None if self._lost else self._context.peek(self._line)
        return f"<TaskFuture #{self.id}{' ' + said if said else ''}>"

    def _line(self, connection: Any) -> str:
        from taskcore.core.model import in_a_line

        return in_a_line(self._context.row(queries.rows(connection, [self.id])[0]))

    _repr_html_ = shown_by("future", "life")

    @property
    def name(self) -> str:
        """Of its task, read now."""
        return self.snapshot().name

    @property
    def status(self) -> str:
        """Of its task, read now: its phase, or a label of yours."""
        return self.snapshot().status

    # -- the task ---------------------------------------------------------------------------------------------------

    def snapshot(self) -> Task:
        """The row, read now."""
        return self._context.task(self._context.id_of(self))

    def explain(self) -> str:
        """Why it is where it is, in a sentence or two: one line that any terminal may show."""
        from taskcore.api import explain  # slow to import, for those who ask

        return explain.sentence(*explain.look(self._context, self._context.id_of(self)))

    def watch(self) -> None:
        """Draw its progress, on a terminal or in a notebook, until it has ended; elsewhere, only wait for that.

        How it ended is for `result` to say. An interrupt ends the watching, and the task goes on. `EngineClosed`;
        `RuntimeError` inside `transaction()`; in a body, `run.wait`.
        """
        from taskcore.api.progress import Line  # for those who watch

        self.snapshot()
        run = self._waiting_body()
        if run is not None:
            run.wait(self, return_exceptions=True)
        with Line(self._context, None, self.id) as line:
            while line.look() and not self._resolved:
                with contextlib.suppress(TimeoutError):
                    self._context.futures.wait(self, 0.2)
        if isinstance(self._exception, EngineClosed):
            raise self._exception

    def history(self) -> list[Attempt]:
        """Its attempts, oldest first."""
        from taskcore.store import rows

        self.snapshot()
        return self._context.look(rows.history, self.id)

    def dependencies(self) -> list[Dependency]:
        """Its edges, by upstream."""
        from taskcore.store import rows

        self.snapshot()
        return self._context.look(rows.dependencies, self.id)

    def steps(self) -> list[Step]:
        """The steps of its body, by `step` and `transact`, that need not be done again, in order."""
        from taskcore.core.model import Step

        self.snapshot()
        decode = self._context.codec.decode
        return [
            Step(name, None if result is None else decode(result), started_at, finished_at)
            for name, result, started_at, finished_at in self._context.look(steps.shown, self.id)
        ]

    def log(self) -> list[LogLine]:
        """What its body logged and its commands printed: the newest 200 lines, oldest first."""
        from taskcore.store import rows

        self.snapshot()
        return self._context.look(rows.log, self.id)

    def signal(self, name: str, payload: Any = None) -> bool:
        """Tell it something that its body waits for with `wait_for`, or will. → False if it has ended.

        `TypeError` if the payload can't be stored.
        """
        context, tx = self._context, self._context.file.current
        text, task_id, name = context.codec.encode(payload), context.id_of(self), checked_text("name", name)
        if tx is not None and tx.births.signal(task_id, name, text, context.now()):
            return True
        if tx is None and context.write(operations.signal, task_id, name, text, context.now()):
            return True
        self.snapshot()  # `TaskNotFound`
        return False

    def rerun(self, downstream: bool = False) -> TaskFuture:
        """Run again what ended, with a new handle; this one keeps its outcome. Starts the engine, as a submit does.
        `InvalidTransition` if it has not ended."""
        context, task_id = self._context, self._context.id_of(self)
        if not self._resolved and context.file.current is None:
            context.futures.settle(self)
        phase = context.task(task_id).phase
        if not context.write(operations.rerun, [task_id], context.now(), downstream=downstream):
            newer = context.read(operations.replaced_by, task_id) if phase in lifecycle.ENDED else None
            why = "" if newer is None else f"task #{newer} has its key and has not ended"
            raise InvalidTransition(task_id, phase, "rerun", why)
        again: TaskFuture = context.futures.handle(task_id)
        if context.workers and context.file.current is None and not context.refusing:
            context.start()
        return again

    def pause(self) -> bool:
        """Hold it; a running one as soon as it comes back. → whether that changed anything."""
        return self._moved(Selection(self._context).where(id=self).pause())

    def resume(self) -> bool:
        return self._moved(Selection(self._context).where(id=self).resume())

    def _moved(self, count: int) -> bool:
        """Whether a verb moved it; `TaskNotFound` if it did not because there is none."""
        if not count:
            self.snapshot()
        return count > 0

    def depends_on(self, other: TaskFuture | int, on: str = lifecycle.SUCCEEDED, otherwise: str = "skip") -> None:
        """One more dependency, or another `on` for the one there is.

        `DependencyCycle`, or `InvalidTransition` if this task has begun; nothing is changed then.
        """
        context = self._context
        checked = Options().replaced({"on": on, "otherwise": otherwise})
        upstream = context.id_of(other)
        context.write(
            operations.depend, context.id_of(self), upstream, checked.on, checked.otherwise, context.now()
        )

    # -- its end ----------------------------------------------------------------------------------------------------

    def _resolve(self, *, text: str | None = None, error: BaseException | None = None) -> None:
        """Called by the register alone, once the end is in the file, outside every lock."""
        if self._origin is not None and self._lost:  # this end may be that of the task that got its id
            text, error = None, CancelledError()
        with self.__dict__.get("_made_condition") or _UNSHARED:
            if self._state is not _PENDING:
                return
            self._holds = None
            if isinstance(error, CancelledError):
                self._state = _CANCELLED
            else:
                self._text, self._exception = text, error
                self._state = _FINISHED
        condition = self.__dict__.get("_made_condition")
        if condition is None:
            return  # else somebody touched it, in between perhaps, and found it pending
        with condition:
            for waiter in list(self._waiters):
                if isinstance(error, CancelledError):
                    waiter.add_cancelled(self)
                elif error is not None:
                    waiter.add_exception(self)
                else:
                    waiter.add_result(self)
            condition.notify_all()
        callbacks, self._done_callbacks = self._done_callbacks, []
        for callback in sorted(callbacks, key=_of_a_waiter, reverse=True):
            self._context.callbacks.call(self, callback, self, at_once=_of_a_waiter(callback))

    def _release(self, error: Exception) -> None:
        """Let go whoever waits, for the engine ends before the task does. That is no end of the task, so no callback of
        a user's is called; those of asyncio are how its waiters hear of it."""
        if "_made_condition" in self.__dict__:
            with self._condition:
                self._done_callbacks = [c for c in self._done_callbacks if _of_a_waiter(c)]
        self._resolve(error=error)

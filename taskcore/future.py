"""`TaskFuture`: a stored task as a `concurrent.futures.Future`, and the register of those that wait."""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections.abc import Collection, Generator, Iterable
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, Final

from taskcore import life
from taskcore.bell import Bell
from taskcore.clock import monotonic
from taskcore.errors import BadFile, EngineClosed, TaskFailed, TaskNotFound, TaskSkipped
from taskcore.model import Attempt, Dependency, Task
from taskcore.store import look
from taskcore.store.patience import Trouble
from taskcore.turn import Ended

if TYPE_CHECKING:
    from taskcore.engine import Engine
    from taskcore.transaction import Scope

log = logging.getLogger("taskcore")

_PENDING: Final = "PENDING"
_FINISHED: Final = "FINISHED"
_CANCELLED: Final = "CANCELLED_AND_NOTIFIED"


class TaskFuture(Future[Any]):
    """The handle of a stored task. All of it may be called from any thread.

    Made in tens of thousands and mostly never asked, it has nothing of a `Future`'s insides (a condition alone costs as
    much as the row) until somebody touches them: then it joins its engine's register and is told when its task ends.
    """

    _state: str = _PENDING
    _result: Any = None
    _exception: BaseException | None = None
    _text: str | None = None

    def __init__(self, engine: Engine, task_id: int, origin: Scope | None = None) -> None:
        self._engine = engine
        self.id = task_id
        self._origin = origin

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        condition: threading.Condition | None = self.__dict__.get("_made_condition")
        return condition if condition is not None else self._engine._futures.join(self)

    @property
    def _resolved(self) -> bool:
        return self._state is not _PENDING

    @property
    def _lost(self) -> bool:
        """Whether the transaction it was submitted in was rolled back: its id may be another task's by now."""
        return self._origin is not None and self._origin.rolled_back

    # -- as a Future ------------------------------------------------------------------------------------------------

    def result(self, timeout: float | None = None) -> Any:
        """What the body returned, as it was stored.

        Raises what the body raised, `TaskFailed`, `TaskSkipped`, `concurrent.futures.CancelledError`, `TimeoutError`
        after `timeout` s, `EngineClosed`, and `RuntimeError` where waiting would be for ever: inside `transaction()`.
        """
        error = self.exception(timeout)
        if error is not None:
            try:
                raise error
            finally:
                del error, self
        if self._text is not None:
            self._result, self._text = self._engine._codec.decode(self._text), None
        return self._result

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What `result` would raise, or `None`; `CancelledError` and `TimeoutError` are raised."""
        if self._state is _PENDING:
            self._engine._futures.wait(self, timeout)
        if self._state is _CANCELLED:
            raise CancelledError(f"task #{self.id} was cancelled")
        return self._exception

    def done(self) -> bool:
        if self._state is _PENDING:
            self._engine._futures.refresh(self)
        return self._state is not _PENDING

    def running(self) -> bool:
        return not self.done() and self.snapshot().phase == life.RUNNING

    def cancelled(self) -> bool:
        return self.done() and self._state is _CANCELLED

    def cancel(self, reason: str | None = None) -> bool:
        """Not running: ended as cancelled, True. Running: a request that the body sees, False."""
        if self._lost or self._engine.tasks.where(id=self).cancel(reason):
            return True
        return self._state is _CANCELLED or self.snapshot().phase == life.CANCELLED

    def __await__(self) -> Generator[Any, None, Any]:
        import asyncio  # whoever awaits has it already; the others need not pay for it

        return asyncio.wrap_future(self).__await__()

    def __repr__(self) -> str:
        return f"<TaskFuture #{self.id}>"

    # -- the task ---------------------------------------------------------------------------------------------------

    def snapshot(self) -> Task:
        """The row, read now."""
        return self._engine._task(self._engine._id_of(self))

    def history(self) -> list[Attempt]:
        """Its attempts, oldest first."""
        self.snapshot()
        return self._engine._read(look.history, self.id)

    def dependencies(self) -> list[Dependency]:
        """Its edges, by upstream."""
        self.snapshot()
        return self._engine._read(look.dependencies, self.id)

    def rerun(self, downstream: bool = False) -> TaskFuture:
        """Run again what ended, with a new handle; this one keeps its outcome. `InvalidTransition` if it has not
        ended."""
        return self._engine._rerun(self, downstream)

    def pause(self) -> bool:
        """Hold it; a running one as soon as it comes back. → whether that changed anything."""
        return self._moved(self._engine.tasks.where(id=self).pause())

    def resume(self) -> bool:
        return self._moved(self._engine.tasks.where(id=self).resume())

    def _moved(self, count: int) -> bool:
        """Whether a verb moved it; `TaskNotFound` if it did not because there is none."""
        if not count:
            self.snapshot()
        return count > 0

    def depends_on(self, other: TaskFuture | int, on: str = life.SUCCEEDED, otherwise: str = "skip") -> None:
        """One more dependency, or another `on` for the one there is.

        `DependencyCycle`, or `InvalidTransition` if this task has begun; nothing is changed then.
        """
        self._engine._depend(self, other, on, otherwise)

    # -- its end ----------------------------------------------------------------------------------------------------

    def _resolve(self, *, text: str | None = None, error: BaseException | None = None) -> None:
        """Called by the register alone, once the end is in the file, outside every lock."""
        condition = self.__dict__.get("_made_condition")
        if condition is None:
            if self._state is _PENDING:
                self._settle(text, error)
            return
        with condition:
            if self._state is not _PENDING:
                return
            self._settle(text, error)
            for waiter in list(self._waiters):
                if isinstance(error, CancelledError):
                    waiter.add_cancelled(self)
                elif error is not None:
                    waiter.add_exception(self)
                else:
                    waiter.add_result(self)
            condition.notify_all()
        try:
            self._invoke_callbacks()  # type: ignore[attr-defined]
        except BaseException:  # SystemExit in a callback is no reason for the loop to die
            log.exception("a callback of %r failed", self)

    def _settle(self, text: str | None, error: BaseException | None) -> None:
        if isinstance(error, CancelledError):
            self._state = _CANCELLED
        else:
            self._text, self._exception = text, error
            self._state = _FINISHED


class Register:
    """The futures that somebody touched and whose tasks have not ended: strong references, dropped at the end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: dict[int, list[TaskFuture]] = {}
        self._lock = threading.Lock()  # over joining and leaving; never held while anything is called
        self._turn_of: list[int] = []
        self._after_transaction: list[int] = []
        self._missed: list[int] = []
        self._handles: dict[int, weakref.ref[TaskFuture]] = {}
        self._tidy_at = 1000

    def handle(self, task_id: int, origin: Scope | None = None, *, new: bool = False) -> TaskFuture:
        """The one live handle of a task that has not ended, as far as is known here; `new`: there is none yet."""
        if not new:
            found = self._alive(task_id)
            if found is not None and not found._resolved and not found._lost:
                return found
        future = TaskFuture(self._engine, task_id, origin)
        self._handles[task_id] = weakref.ref(future)
        if len(self._handles) > self._tidy_at:
            self._tidy()
        return future

    def _alive(self, task_id: int) -> TaskFuture | None:
        handle = self._handles.get(task_id)
        return None if handle is None else handle()

    def _tidy(self) -> None:
        """Drop what nobody holds or has heard of its end. (A callback of each reference would cost more than all else
        of a handle.)"""
        handles = self._handles  # in place: other threads submit meanwhile
        for task_id, handle in list(handles.items()):
            future = handle()
            if (future is None or future._resolved) and handles.get(task_id) is handle:
                handles.pop(task_id, None)
        self._tidy_at = 2 * len(handles) + 1000

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, future: TaskFuture) -> threading.Condition:
        """Give the future its insides, and see to it that it hears of its task's end."""
        with self._lock:
            condition: threading.Condition | None = future.__dict__.get("_made_condition")
            if condition is not None:
                return condition
            condition = threading.Condition()
            future._waiters = []
            future._done_callbacks = []  # type: ignore[attr-defined]
            if future._state is _PENDING:
                self._waiting.setdefault(future.id, []).append(future)
            future.__dict__["_made_condition"] = condition  # last: whoever has one is in the register
        if future._lost:
            self._leave(future.id)
            future._resolve(error=CancelledError())
        elif future._state is _PENDING:
            if not self._runs(future.id):  # else its end is yet to come, and will find the future here
                self._look([future.id])
            self._watch()
            if self._engine._loop.stopped and self._engine._loop.error is not None:
                self.give_up(self._engine._loop.error)
        return condition

    def settle(self, future: TaskFuture) -> bool:
        """Resolve it if its task has ended, without making anything to wait with. → whether it is resolved."""
        if future._lost:
            future._resolve(error=CancelledError())
        elif not self._runs(future.id):
            self._read_ahead(future.id)
            if not future._resolved:
                for task_id, row in self._engine._outcomes([future.id]).items():
                    text, error = self._outcome(task_id, row)
                    future._resolve(text=text, error=error)
        return future._resolved

    def wait(self, future: TaskFuture, timeout: float | None) -> None:
        """Until the future is resolved. `TimeoutError`; `RuntimeError` where it never would be."""
        engine = self._engine
        if engine._file.current is not None:
            raise RuntimeError("inside transaction() no result comes: the task is in the file only after the block")
        deadline = None if timeout is None else monotonic() + timeout
        if self.settle(future):
            return
        self.join(future)
        with engine._scheduler.traffic.somebody_waits():
            if engine._loop.helps:
                bell, left = Bell(), 1.0
                future._waiters.append(bell)  # type: ignore[arg-type] # it quacks
                while not future._resolved and left > 0:
                    left = 1.0 if deadline is None else min(1.0, deadline - monotonic())
                    bell.wait(max(0.0, left))
                    if left == 1.0 and not future._resolved:
                        self.settle(future)  # a Ctrl-C may have hit whoever was to tell
                with contextlib.suppress(ValueError):
                    future._waiters.remove(bell)  # type: ignore[arg-type]
            else:
                engine._loop.wait(lambda: future._resolved, deadline, hurry=True)
        if not future._resolved:
            if engine._loop.stopped and engine._loop.error is not None:
                raise engine._loop.error
            raise TimeoutError(f"task #{future.id} has not ended")

    def _runs(self, task_id: int) -> bool:
        """Whether this engine has the task in hand, its end not yet in the file."""
        return task_id in self._engine._scheduler.held and self._engine._loop.alive

    def _watch(self) -> None:
        """Somebody waits for an end: it must be noticed, also if this engine runs nothing."""
        if not self._engine._closed:
            self._engine._loop.start()
            if not self._engine._scheduler.claiming:
                self._engine._scheduler.look_again()

    def _read_ahead(self, first: int) -> None:
        """Results are mostly asked for in the order of submission: one look for the next hundred."""
        for task_id, text in self._engine._read(look.short_results, first, first + 99):
            future = self._alive(task_id)
            if future is not None and task_id not in self._waiting and not future._lost:
                future._resolve(text=text)

    def refresh(self, future: TaskFuture) -> None:
        """Before an answer to `done()`: where no loop runs that would tell, the row does."""
        if "_made_condition" not in future.__dict__:
            self.join(future)
        elif not self._engine._loop.alive:
            self._look([future.id])

    def settled(self, ends: list[Ended]) -> None:
        """A turn of the scheduler settled these: results are at hand, other ends are read from the rows."""
        for end in ends:
            if end.result is not None:
                self.succeeded(end.task_id, end.result)
        raised = [end.task_id for end in ends if end.result is None]
        if raised:
            self.failed(raised)

    def succeeded(self, task_id: int, text: str) -> None:
        if task_id in self._waiting:
            for future in self._leave(task_id):
                future._resolve(text=text)

    def failed(self, task_ids: Collection[int]) -> None:
        """These ended by an exception in this process, which every live handle shall raise, asked already or not."""
        for task_id in task_ids:
            future = self._alive(task_id)
            if future is not None and task_id not in self._waiting:
                with self._lock:  # nobody asked yet; who asks later shall get the very exception
                    if not future._resolved:
                        self._waiting.setdefault(task_id, []).append(future)
        self.ended(task_ids)

    def ended(self, task_ids: Iterable[int]) -> None:
        """Tell those of these tasks that somebody waits for. What cannot be read now is read the next time: the commit
        that ended them stands."""
        missed, self._missed = self._missed, []
        wanted = [task_id for task_id in (*missed, *task_ids) if task_id in self._waiting]
        if wanted:
            try:
                self._look(wanted)
            except Trouble:
                self._missed = wanted

    def look_around(self) -> None:
        """Another process committed: look at a slice of all that wait, so that many cost each look no more than a
        few."""
        if not self._turn_of:
            self._turn_of = list(self._waiting)
        part, self._turn_of = self._turn_of[-2000:], self._turn_of[:-2000]
        self.ended(part)

    def transaction_ended(self) -> None:
        """Look at last at those that were asked for inside it."""
        task_ids, self._after_transaction = self._after_transaction, []
        self.ended(task_ids)

    def rolled_back(self, scope: Scope) -> None:
        with self._lock:
            gone = [future for futures in self._waiting.values() for future in futures if future._origin is scope]
        for future in gone:
            self._leave(future.id)
            future._resolve(error=CancelledError())

    def give_up(self, error: Exception) -> None:
        """The engine stopped by itself: what has not ended can no longer be waited for here."""
        with contextlib.suppress(Exception):  # the file may be what is wrong
            self.ended(list(self._waiting))
        for task_id in list(self._waiting):
            for future in self._leave(task_id):
                future._resolve(error=error)

    def calls_back(self, task_id: int) -> bool:
        """Whether somebody is to be called at this task's end."""
        return any(future._done_callbacks for future in self._waiting.get(task_id, ()))  # type: ignore[attr-defined]

    def forked(self) -> None:
        """In a child: whoever held the lock is not here."""
        self._lock = threading.Lock()

    def close(self) -> None:
        """Every live future gets its row's outcome first; what has not ended can no longer be waited for here."""
        live = [future for handle in list(self._handles.values()) if (future := handle()) is not None]
        with self._lock:
            for future in live:
                if not (future._resolved or future._lost or future.id in self._waiting):
                    self._waiting[future.id] = [future]
        waiting = list(self._waiting)
        with contextlib.suppress(BadFile):  # what cannot be read is not known to have ended
            for start in range(0, len(waiting), 2000):
                self.ended(waiting[start : start + 2000])
        for task_id in list(self._waiting):
            for future in self._leave(task_id):
                why = f"the engine was closed before task #{task_id} ended"
                future._resolve(error=EngineClosed(self._engine.path, why))

    def _leave(self, task_id: int) -> list[TaskFuture]:
        with self._lock:
            return self._waiting.pop(task_id, [])

    def _look(self, task_ids: list[int]) -> None:
        if self._engine._file.current is not None:  # what the open transaction did may yet be undone
            self._after_transaction.extend(task_ids)
            return
        for task_id, row in self._engine._outcomes(task_ids).items():
            text, error = self._outcome(task_id, row)
            for future in self._leave(task_id):
                future._resolve(text=text, error=error)

    def _outcome(self, task_id: int, row: tuple[Any, ...]) -> tuple[str | None, BaseException | None]:
        phase, status, result, last_error, attempts, error_type, message, traceback = row
        match phase:
            case None:
                return None, TaskNotFound(task_id)
            case life.SUCCEEDED:
                return result, None
            case life.CANCELLED:
                return None, CancelledError()
            case life.SKIPPED:
                return None, TaskSkipped(task_id, last_error)
        raised = self._engine._scheduler.errors.get(task_id)
        if raised is not None:
            return None, raised
        value = None if result is None else self._engine._codec.decode(result)
        return None, TaskFailed(task_id, error_type, message or last_error, traceback, attempts, status, value)

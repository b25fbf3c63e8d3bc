"""The register of handles: which tasks somebody waits for here, and how each is told of its end."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any

from taskcore.api.changes import Changes
from taskcore.api.context import Context
from taskcore.api.ends import Failures, all_are_heard
from taskcore.api.future import TaskFuture
from taskcore.api.transaction import Scope
from taskcore.core import lifecycle
from taskcore.core.clock import monotonic
from taskcore.core.ends import Outcome
from taskcore.core.errors import BadFile, EngineClosed, TaskFailed, TaskNotFound, TaskSkipped
from taskcore.runtime.wakeups import Latch
from taskcore.store import queries
from taskcore.store.busy import Trouble, said


class Register:
    """The futures that somebody touched and whose tasks have not ended: strong references, dropped at the end."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.failures = Failures(context)
        self.changes = Changes(context)
        self.tell: Callable[[Mapping[int, Outcome | None]], None] = self.told
        """Hears of all ends that this engine commits. A worker process has them told where the program is."""
        self._waiting: dict[int, list[TaskFuture]] = {}
        self._lock: Any = threading.RLock()  # over joining and leaving; never held while anything is called
        self._turn_of: list[int] = []
        self._after_transaction: list[int] = []
        self._missed: list[int] = []  # whose ends could not be read when they were told of
        self._short = True  # the result that was read last: to look at a hundred long ones costs more than it saves
        self._handles: dict[int, weakref.ref[TaskFuture]] = {}
        self._tidy_at = 1000
        self.expecting: dict[int, set[int]] = {}
        """Suspended body → the tasks that it waits for."""
        self._raised: dict[int, BaseException] = {}  # what those raised here, kept until the body has been told

    def handle(self, task_id: int) -> TaskFuture:
        """The one live handle of a task that has not ended, as far as is known here."""
        found = self._alive(task_id)
        return found if found is not None and not (found._resolved or found._lost) else self.born(task_id)

    def born(self, task_id: int, origin: Scope | None = None) -> TaskFuture:
        """A handle of a task that has none yet."""
        future = TaskFuture(self._context, task_id, origin)
        future._holds = self._context.submitter()
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
            future._done_callbacks = []
            if not (future._resolved or future._lost):
                self._waiting.setdefault(future.id, []).append(future)
            future.__dict__["_made_condition"] = condition  # last: whoever has one is in the register
        if future._lost:
            future._resolve(error=CancelledError())
        elif not future._resolved:
            if not self._runs(future.id):  # else its end is yet to come, and will find the future here
                self._look([future.id])
            self._watch()
            if self._context.loop.stopped and self._context.loop.error is not None:
                self.give_up(self._context.loop.error)
        return condition

    def settle(self, future: TaskFuture) -> bool:
        """Resolve it if its task has ended, without making anything to wait with. → whether it is resolved."""
        if future._lost:
            future._resolve(error=CancelledError())
        elif not self._runs(future.id):
            if self._short:
                self._read_ahead(future.id)
            if not future._resolved:
                for _, text, error in self._ends([future.id]):
                    future._resolve(text=text, error=error)
                    self._short = text is None or len(text) < queries.SHORT
        return future._resolved

    def settle_all(self, futures: Sequence[TaskFuture]) -> list[int]:
        """`settle` for many: a read for each thousand. → the ids of those that are not resolved."""
        first = {future.id: future for future in futures if not future._resolved}
        if first and max(first) - min(first) < 2 * len(first):  # children of one gather; most of them succeeded
            for task_id, short in self._context.read(queries.short_results, min(first), max(first)):
                if task_id in first:
                    first[task_id]._resolve(text=short)
        ids = [task_id for task_id, future in first.items() if not future._resolved]
        for task_id, text, error in self._ends(ids):
            first[task_id]._resolve(text=text, error=error)
        for future in futures:  # two handles of one task
            if not future._resolved and first[future.id]._resolved:
                self.settle(future)
        return list(dict.fromkeys(future.id for future in futures if not future._resolved))

    def expect(self, parent: int, task_ids: Collection[int], futures: Sequence[TaskFuture] = ()) -> None:
        """A body gives its thread back until these have ended: what they raise from now on is kept for it, and what
        those of these handles raised that have ended already."""
        self.expecting.setdefault(parent, set()).update(task_ids)
        self._raised.update((future.id, future._exception) for future in futures if future._exception is not None)

    def forget(self, parent: int) -> None:
        """It was told, or will never ask."""
        for task_id in self.expecting.pop(parent, ()):
            self._raised.pop(task_id, None)

    def wait(self, future: TaskFuture, timeout: float | None) -> None:
        """Until the future is resolved. `TimeoutError`; `RuntimeError` where it never would be."""
        context = self._context
        if context.file.current is not None:
            raise RuntimeError("inside transaction() no result comes: the task is in the file only after the block")
        deadline = None if timeout is None else monotonic() + timeout
        try:
            if self.settle(future):
                return
            context.must_run()
            self.join(future)
        except EngineClosed:
            if not future._resolved:
                raise
            return  # it was told how its task ended, while the engine closed
        with context.scheduler.traffic.somebody_waits():
            if context.loop.helps:
                self._until_told(future, deadline)
            else:
                context.loop.wait(lambda: future._resolved, deadline, hurry=True)
        if not future._resolved:
            if context.loop.stopped and context.loop.error is not None:
                raise context.loop.error
            raise TimeoutError(f"task #{future.id} has not ended")

    def _until_told(self, future: TaskFuture, deadline: float | None) -> None:
        """Until whoever settles it rings, or the deadline. A job that takes over a second shows how far it is."""
        latch, line, step = Latch(), None, 1.0
        future._waiters.append(latch)  # type: ignore[arg-type] # it quacks
        try:
            while not future._resolved:
                left = step if deadline is None else min(step, deadline - monotonic())
                latch.wait(max(0.0, left))
                if left <= 0:
                    return
                if left == step and not future._resolved:
                    self._context.loop.rouse()
                    self.settle(future)  # a Ctrl-C may have hit whoever was to tell
                    if line is None:
                        from taskcore.api import progress  # slow to import, for those who wait for long

                        line = progress.of_a_job(self._context, future.id).__enter__()
                        step = 0.2 if line.on else 1.0
                    line.look()
        finally:
            if line is not None:
                line.__exit__(*sys.exc_info())
            with contextlib.suppress(ValueError):
                future._waiters.remove(latch)  # type: ignore[arg-type]

    def _runs(self, task_id: int) -> bool:
        """Whether this engine has the task in hand, its end not yet in the file."""
        return task_id in self._context.scheduler.held and self._context.loop.alive

    def _watch(self) -> None:
        """Somebody waits for an end: it must be noticed, also if this engine runs nothing."""
        if not self._context.closed:
            self._context.loop.start()
            if not self._context.scheduler.claiming:
                self._context.scheduler.look_again()

    def _read_ahead(self, first: int) -> None:
        """Results are mostly asked for in the order of submission: one look for the next hundred."""
        for task_id, text in self._context.read(queries.short_results, first, first + 99):
            future = self._alive(task_id)
            if future is not None and task_id not in self._waiting and not future._lost:
                future._resolve(text=text)

    def refresh(self, future: TaskFuture) -> None:
        """Before an answer to `done()`: where no loop runs that would tell, the row does."""
        try:
            if "_made_condition" not in future.__dict__:
                self.join(future)
            elif not self._context.loop.alive:
                self._look([future.id])
        except EngineClosed:
            if not future._resolved:
                raise

    def ended(self, ends: Mapping[int, Outcome | None]) -> None:
        """The one place that hears of ends, after the commit: results are at hand, other ends are read from the
        rows."""
        if not (ends or self._missed):
            return
        self.changes.committed()  # an end by a statement of its own is no transaction that would tell of itself
        others = []
        for task_id, outcome in ends.items():
            if outcome is None or outcome.verb != "succeed":
                others.append(task_id)
            elif task_id in self._waiting:
                for future in self._leave(task_id):
                    future._resolve(text=outcome.result)
        errors = self._context.scheduler.errors
        raised = [task_id for task_id in others if task_id in errors] if errors else ()
        if raised:
            self._keep_errors(raised)
        self._look_at(others)
        self.tell(ends)

    def told(self, ends: Mapping[int, Outcome | None]) -> None:
        """Whoever wants to hear of failures, and the log. These ends were committed here or in a worker process."""
        if all_are_heard() or any(end is None or end.verb != "succeed" for end in ends.values()):
            self.failures.among(ends)

    def _keep_errors(self, task_ids: Collection[int]) -> None:
        """These ended by an exception in this process, which every live handle shall raise, asked already or not."""
        for expected in list(self.expecting.values()):  # bodies go to sleep meanwhile
            errors = self._context.scheduler.errors
            self._raised.update((task_id, errors[task_id]) for task_id in expected.intersection(task_ids, errors))
        for task_id in task_ids:
            future = self._alive(task_id)
            if future is not None and task_id not in self._waiting:
                with self._lock:  # nobody asked yet; who asks later shall get the very exception
                    if not future._resolved:
                        self._waiting.setdefault(task_id, []).append(future)

    def _look_at(self, task_ids: Collection[int]) -> None:
        """Tell those of these tasks that somebody waits for. What cannot be read now is read the next time: the commit
        that ended them stands."""
        if not (task_ids or self._missed):
            return
        if self.expecting:
            for task_id in task_ids:
                self.forget(task_id)
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
        self.changes.foreign()
        if not self._turn_of:
            self._turn_of = list(self._waiting)
        part, self._turn_of = self._turn_of[-2000:], self._turn_of[:-2000]
        self._look_at(part)

    def transaction_ended(self) -> None:
        """Look at last at those that were asked for inside it."""
        task_ids, self._after_transaction = self._after_transaction, []
        self._look_at(task_ids)

    def rolled_back(self, scope: Scope) -> None:
        """These tasks never were. Their ids may have been given again meanwhile: whoever waits for those stays."""
        with self._lock:
            gone = [future for futures in self._waiting.values() for future in futures if future._origin is scope]
            for task_id in {future.id for future in gone}:
                others = [future for future in self._leave(task_id) if future._origin is not scope]
                if others:
                    self._waiting[task_id] = others
        for future in gone:
            future._resolve(error=CancelledError())

    def give_up(self, error: Exception) -> None:
        """The engine stopped by itself: what has not ended can no longer be waited for here."""
        with contextlib.suppress(Exception):  # the file may be what is wrong
            self._look_at(list(self._waiting))
        for task_id in list(self._waiting):
            for future in self._leave(task_id):
                future._resolve(error=error)

    def forked(self) -> None:
        """In a child: whoever held the lock is not here."""
        self._lock = threading.RLock()

    def close(self) -> None:
        """Every live future gets its row's outcome first; what has not ended can no longer be waited for here."""
        live = [future for handle in list(self._handles.values()) if (future := handle()) is not None]
        with self._lock:
            for future in live:
                if not (future._resolved or future._lost or future.id in self._waiting):
                    self._waiting[future.id] = [future]
        with contextlib.suppress(BadFile):  # what cannot be read is not known to have ended
            self._look_at(list(self._waiting))
        for task_id in list(self._waiting):
            for future in self._leave(task_id):
                why = f"the engine was closed before task #{task_id} ended"
                future._release(EngineClosed(self._context.path, why))

    def _leave(self, task_id: int) -> list[TaskFuture]:
        with self._lock:
            return self._waiting.pop(task_id, [])

    def _look(self, task_ids: list[int]) -> None:
        if self._context.file.current is not None:  # what the open transaction did may yet be undone
            self._after_transaction.extend(task_ids)
            return
        for task_id, text, error in self._ends(task_ids):
            for future in self._leave(task_id):
                future._resolve(text=text, error=error)

    def _ends(self, task_ids: Sequence[int]) -> Iterator[tuple[int, str | None, BaseException | None]]:
        """(task, result as text, error) of those that have ended, a thousand in a read. A row that cannot be read is
        its own error."""
        for start in range(0, len(task_ids), 1000):
            for task_id, row in self._context.read(queries.outcomes, list(task_ids[start : start + 1000])).items():
                try:
                    text, error = self._outcome(task_id, row)
                except Exception as wrong:
                    why = f"the end of task #{task_id} cannot be read ({said(wrong)})"
                    text, error = None, BadFile(self._context.path, why)
                yield task_id, text, error

    def _outcome(self, task_id: int, row: tuple[Any, ...]) -> tuple[str | None, BaseException | None]:
        phase, status, result, job, last_error, attempts, error_type, message, traceback = row
        match phase:
            case None:
                return None, TaskNotFound(task_id)
            case lifecycle.SUCCEEDED:
                return result if job is None else self._context.codec.encode(json.loads(result)), None
            case lifecycle.CANCELLED:
                return None, CancelledError()
            case lifecycle.SKIPPED:
                return None, TaskSkipped(task_id, last_error)
        raised = self._context.scheduler.errors.get(task_id) or self._raised.get(task_id)
        if raised is not None:
            return None, raised
        value = queries.decoded(self._context.codec, result, job)
        return None, TaskFailed(task_id, error_type, message or last_error, traceback, attempts, status, value)

"""`Engine`: one file, and everything that users do with it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from types import TracebackType
from typing import Any, overload

from taskcore.api import definitions, schedules, settings, shutdown
from taskcore.api.desk import Desk
from taskcore.api.function import TaskFunction
from taskcore.api.future import TaskFuture
from taskcore.api.futures import Register
from taskcore.api.home import Home
from taskcore.api.intake import Intake
from taskcore.api.job import JobScope
from taskcore.api.limits import Limits
from taskcore.api.pipeline import Pipeline
from taskcore.api.progress import Bar
from taskcore.api.schedules import Schedules
from taskcore.api.transaction import Scope, TransactionScope
from taskcore.body import logs
from taskcore.body.runner import Stage, current_task
from taskcore.codec.json import JSON, Codec
from taskcore.core.clock import Clock, duration_of, monotonic
from taskcore.core.ends import seconds
from taskcore.core.errors import BadFile, EngineClosed
from taskcore.core.id_ranges import Spans
from taskcore.core.options import Definition, Options
from taskcore.core.options import text as checked_text
from taskcore.runtime.loop import Loop
from taskcore.runtime.pools import Guests, Threads
from taskcore.runtime.scheduler import Scheduler
from taskcore.store import capacity, operations, process_locks, queries
from taskcore.store.connection import FORKED, File, Transaction
from taskcore.store.submit import Order

log = logging.getLogger("taskcore")


class Engine(Desk, Executor):
    """Tasks in one SQLite file, run by a pool of threads. A `concurrent.futures.Executor`.

    No thread is started before the first submit, `start()` or `run()`. All methods may be called from any thread.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        workers: int | None = None,
        executor: Executor | None = None,
        lease: float = 30.0,
        durability: str = "normal",
        statuses: Mapping[str, str] | None = None,
        limits: Mapping[str, int] | None = None,
        keep: float | str | None = None,
        codec: Codec = JSON,
        clock: Clock | None = None,
        name: str | None = None,
    ) -> None:
        """Open the file, making it or our tables in it where there are none.

        `path`: a file, or ":memory:". `workers`: threads, or tasks in flight on `executor`; 0 never runs anything.
        `lease`: seconds a claim holds without renewal. `durability`: "normal" survives any crash of the process, "full"
        a power cut too. `statuses`: own labels → running, succeeded, failed or cancelled. `limits`: capacity → how much
        of it there is, for the option `uses`. `keep`: how long ended tasks stay, "30d" or seconds, `None` for ever; any
        running engine deletes older ones when it idles, but none that something unfinished needs. `BadFile`, and the
        file untouched, if it can't be used; `ValueError` or `TypeError` for a bad parameter.
        """
        self._workers = settings.workers_of(workers, executor)
        if durability not in ("normal", "full"):
            raise ValueError(f'durability is "normal" or "full", not {durability!r}')
        lease = settings.lease_of(lease)
        self.name = settings.own_name() if name is None else checked_text("name", name)
        self._clock = settings.clock_of(clock)
        self._codec = settings.codec_of(codec)
        self.path = settings.path_of(path)
        given = settings.limits_of(limits)
        self._keep = settings.keep_of(keep)
        self._lease = lease
        self._definitions: dict[str, Definition] = {}
        self._elsewhere: dict[str, Definition] = {}
        self._behaviours: dict[tuple[str, str], Options] = {}
        self._file = File(self.path, full=durability == "full", statuses=settings.statuses_of(statuses))
        self._lanes = None if self._file.in_memory else process_locks.lanes_of(self.path)
        self._futures = Register(self)
        self._spans = Spans()
        self._pid = os.getpid()
        self._closed = self._closing = self._refusing = False
        self._ending = threading.RLock()  # held by whoever closes; another closer waits for it
        stage = Stage(self._file, codec, self._clock.now, duration_of(self._clock))
        self._scheduler = Scheduler(
            self._file, self._clock, stage, self._definitions, self._behaviours,
            name=self.name, lease=lease, lanes=self._lanes,
            on_ended=self._futures.settled, on_foreign_commit=self._futures.look_around,
            anybody_listens=lambda: len(self._futures) > 0,
        )  # fmt: skip
        background = getattr(executor, "background", True)
        if self._keep is not None:
            from taskcore.runtime.pruner import LULL, Pruning

            self._scheduler.pruning = Pruning(self._file, self._keep, LULL if background else 0.0)
        self._stage = stage
        stage.house, stage.noted = Home(self), self._scheduler.display.note
        logs.listen()
        self._loop = Loop(
            self._scheduler, background=background, on_stop=self._futures.give_up,
            calls_back=self._futures.calls_back,
        )  # fmt: skip
        size = self._workers
        if executor is None:
            self._scheduler.crew = Threads(size, stage, self._loop.report, self._broke)
        else:
            self._scheduler.crew = Guests(executor, size, stage, self._scheduler.report, self._broke)
        self._intake = Intake(self)
        self.limits = Limits(self)
        """How much of each capacity there is, and of how many tasks of a name may run: `limits["name:fit"]`."""
        self._file.on_commit, self._scheduler.display.tell = self._on_commit, self._tell
        if hasattr(self._clock, "subscribe"):
            self._clock.subscribe(self._scheduler.look_again)
        shutdown.watch(self, executor)
        definitions.give(self, given, {})

    # -- defining ---------------------------------------------------------------------------------------------------

    @overload
    def task(self, fn: None = None, /, *, name: str | None = None, **options: Any) -> Callable[..., TaskFunction]: ...
    @overload
    def task(
        self, fn: Callable[..., Any] | str, /, *, name: str | None = None, **options: Any
    ) -> TaskFunction: ...
    def task(
        self, fn: Callable[..., Any] | str | None = None, /, *, name: str | None = None, **options: Any
    ) -> TaskFunction | Callable[..., TaskFunction]:
        """Make a function a task: `@engine.task` or `@engine.task(max_attempts=3)`. The newest definition of a name
        wins.

        A text instead of a function names a task that is run elsewhere; a `limit` or `rate` that is not said is left as
        it is. `TypeError` for an unknown option, `TypeError` or `ValueError` for a bad value.
        """
        made: TaskFunction | Callable[..., TaskFunction] = definitions.define(self, fn, name, options)
        return made

    def every(
        self, period: float | str, /, *, name: str | None = None, enabled: bool = True, catch_up: str = "once",
        overlap: bool = False, **options: Any,
    ) -> Callable[[Callable[..., Any]], TaskFunction]:  # fmt: skip
        """`@engine.every(60)` or `"5m"`: the function, of no arguments, is a task that is submitted once a period, over
        all processes, by any engine that has this definition and runs.

        What was due while none ran is caught up on by one run (`catch_up="once"`), not at all ("skip") or by one run
        each ("all"). While one has not ended, what is due passes by, or with "all" waits, unless `overlap`. What an
        operator changes by `engine.schedules` stays until other values are given here. `options`: as of `task`.
        """
        from taskcore.core.cron import period as parsed  # slow to import, for those who have schedules

        when = {"every": parsed(period), "cron": None, "tz": None}
        return lambda fn: schedules.define(self, fn, when, name, enabled, catch_up, overlap, options)

    def cron(
        self, expression: str, /, *, tz: str | None = None, name: str | None = None, enabled: bool = True,
        catch_up: str = "once", overlap: bool = False, **options: Any,
    ) -> Callable[[Callable[..., Any]], TaskFunction]:  # fmt: skip
        """`@engine.cron("0 3 * * *", tz="Europe/Rome")`: as `every`, by the wall clock of a time zone (default UTC).

        Minute, hour, day of month, month, day of week, or `@daily` and its kin. `ValueError` for what never comes.
        """
        from taskcore.core.cron import Cron

        Cron(expression, tz)
        when = {"every": None, "cron": expression, "tz": tz}
        return lambda fn: schedules.define(self, fn, when, name, enabled, catch_up, overlap, options)

    @property
    def schedules(self) -> Schedules:
        """Name → schedule, of all in the file."""
        return Schedules(self)

    def _stored(self, order: Order) -> TaskFuture:
        """Store what is no call; it runs from now on."""
        self._may_submit()
        future, tx = self._intake.take(order, None), self._file.current
        self._spans.add(future.id)
        if tx is not None:
            tx.scope.submitted = True
        elif self._workers:
            self._go()
        return future

    # -- submitting -------------------------------------------------------------------------------------------------

    def submit(self, fn: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> TaskFuture:
        """Store a task; it is in the file when this returns. Starts the engine.

        `fn`: what `task` made, a plain module-level function, or the name of a task that is run elsewhere.
        """
        return self._submit(self._intake.function(fn), args, kwargs)

    def _submit(self, function: TaskFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> TaskFuture:
        if self._refusing:
            self._may_submit()
        future = self._intake.submit(function, args, kwargs)
        self._spans.add(future.id)
        if self._workers and self._file.current is None:
            self._go()
        return future

    def _may_submit(self) -> None:
        if self._refusing and (self._closed or self._in_body() is None):  # bodies that run go on as before
            raise EngineClosed(self.path, "the engine takes no more tasks")

    def map(
        self,
        fn: Callable[..., Any] | str,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[Any]:
        """As `Executor.map`: results in order, `TimeoutError` after `timeout` s from now. Stored in large
        transactions."""
        return self._intake.map(fn, iterables, timeout, chunksize)

    def transaction(self) -> TransactionScope:
        """`with engine.transaction() as db:` — `db.execute`, `db.executemany` and any submits, together or not at all.

        Also the bulk form: a thousand submits, one commit. Every other writer waits meanwhile.
        """
        return TransactionScope(self._file, self._clock, self._after_scope)

    def job(self, name: str, *, key: str | None = None, failures: str = "fail", **options: Any) -> JobScope:
        """`with engine.job("night 12") as job:` — what is submitted in the block is a child of the job, and job and
        children are stored in one commit.

        The job ends when its children, and theirs, have ended: failed if one of its own failed (`failures="ignore"`:
        even then succeeded), cancelled if that was asked; its result is the counts by status. With the `key` of an
        existing job the block adds to that one. Every other writer waits while the block is open, and `result()` in it
        is a `RuntimeError`. `TypeError` for an option that only bodies have.
        """
        return JobScope(self, name, failures, {**options, "key": key})

    def pipeline(self, name: str) -> Pipeline:
        """Tasks by subject: one job a subject, one task a step of the pipeline."""
        return Pipeline(self, checked_text("name", name))

    def _after_scope(self, scope: Scope) -> None:
        if scope.rolled_back:
            self._futures.rolled_back(scope)
        elif self._workers and scope.submitted and not self._refusing:
            self._go()
        self._futures.transaction_ended()

    @property
    def health(self) -> str:
        """"ok", "degraded: why" (it keeps trying, nothing is lost) or "stopped: why"."""
        if not self._closed and self._loop.trouble is None:
            try:
                self._file.check_identity()
            except BadFile as error:
                return f"stopped: {error.reason}"
        return "stopped: closed" if self._closed else self._loop.trouble or "ok"

    # -- running ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Claim what is in the file, in the background, until `close` or `shutdown`."""
        if self._closed or self._closing:
            raise EngineClosed(self.path, FORKED) if self._pid != os.getpid() else EngineClosed(self.path)
        if self._workers and not self._scheduler.claiming and self._loop.error is None:
            self._loop.start()
            self._scheduler.start()

    def _go(self) -> None:
        """Run what was just stored. It is in the file, so what goes wrong from here on is no error of the submit."""
        try:
            self.start()
        except EngineClosed:  # meanwhile
            return
        except RuntimeError as error:  # there is no thread to be had; the next submit tries again
            log.warning("%s: %s", self.path, error)

    def run(self, progress: bool | None = None) -> dict[str, int]:
        """Claim what is in the file until nothing is due. → the counts by status.

        A progress bar is drawn when stderr is a terminal; `progress` True or False says so whatever it is.
        """
        if self._file.current is not None:
            raise RuntimeError("run() inside transaction() would wait for ever")
        if self._in_body() is not None:
            raise RuntimeError("run() in a body would wait for its own end")
        was_claiming = self._scheduler.claiming
        self.start()
        if not self._workers:
            return self.tasks.counts()
        try:
            with Bar(lambda: self._read(queries.unfinished_count), progress) as bar:
                self._loop.wait(lambda: bar.look() and (self._loop.stopped or not self._due()), None, hurry=True)
        finally:
            if not was_claiming:
                self._scheduler.claiming = False
        if self._loop.error is not None:
            raise self._loop.error
        return self.tasks.counts()

    def _due(self, spans: Spans | None = None) -> bool:
        """Whether anything in the file, or among these ids, runs here, may run now, or is tried again within a
        minute."""
        scheduler = self._scheduler
        if not scheduler.quiet:
            return True
        now = self._clock.now()
        known, kinds = self._file.known, scheduler.kinds()
        open_ = [kind for kind in kinds if not known.closed(kind)] if known.rationed else kinds
        if known.rates:
            resting = self._read(capacity.resting, now + queries.SOON, now)
            open_ = [kind for kind in open_ if kind.name not in resting]
        here = queries.Here(
            [kind.id for kind in kinds],
            [kind.id for kind in open_ if not kind.options.get("avoid_failed_worker")],
            [kind.id for kind in open_ if kind.options.get("avoid_failed_worker")],
            self.name,
        )
        due = self._read(queries.any_due, here, now)
        if due and spans is not None:
            due = any(self._read(queries.due_between, first, last, here, now) for first, last in spans)
        return due or not scheduler.quiet

    def _broke(self, why: str) -> None:
        self._loop.break_down(EngineClosed(self.path, why))

    # -- ending -----------------------------------------------------------------------------------------------------

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks; go on until every task this engine submitted has ended or is not due, then close.

        `cancel_futures`: cancel those that have not begun. Without `wait` it all happens in the background.
        """
        if self._closed:
            return
        if self._in_body():
            raise RuntimeError("shutdown() in a body would wait for its own end")
        if self._file.current is not None:
            raise RuntimeError("shutdown() inside transaction() would wait for ever")
        self._refusing = True
        if cancel_futures:
            for first, last in self._spans:
                self._write(operations.cancel_unbegun, first, last, self._clock.now())
        if not wait:
            threading.Thread(target=self.shutdown, name="taskcore-shutdown", daemon=True).start()
            return
        if self._scheduler.claiming:
            self._loop.wait(lambda: self._loop.stopped or not self._due(self._spans), None, hurry=True)
        self.close()

    def close(self, timeout: float | None = None) -> None:
        """Claim nothing more, ask bodies to stop (`check()` raises in them), wait for them at most `timeout` s.

        What did not end is given back, stays in the file and continues at the next start.
        """
        deadline = None if timeout is None else monotonic() + seconds(timeout, "timeout")
        if self._pid != os.getpid():
            self._closed = True
            return
        if self._file.current is not None:
            raise RuntimeError("close() inside transaction() would wait for ever")
        waited_for = self._in_body() is not None or self._loop.here
        if not self._ending.acquire(blocking=not waited_for):
            return  # somebody closes it already, and waits for this body or callback
        try:
            if not self._closed:
                self._close(deadline)
        finally:
            self._ending.release()

    def _close(self, deadline: float | None) -> None:
        self._refusing = self._closing = True
        try:
            try:
                self._loop.finish(deadline, self._in_body())
            except BadFile as error:  # there is nothing left to close in good order
                log.warning("%s", error)
            except KeyboardInterrupt:
                self._loop.finish(monotonic(), self._in_body())  # bodies are not waited for any longer
                raise
            finally:
                self._futures.close()
        finally:
            self._closed = True
            shutdown.forget(self)
            unsubscribe = getattr(self._clock, "unsubscribe", None)
            if unsubscribe is not None:
                unsubscribe(self._scheduler.look_again)
            self._file.close()
            self._scheduler.leave()

    def _forked(self) -> None:
        """In a child: this engine is the parent's."""
        self._closed, self._loop._thread = True, None
        self._futures.forked()

    def _in_body(self) -> int | None:
        return current_task(self._file)

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.shutdown(wait=True)
        else:
            self.close()

    def __repr__(self) -> str:
        return f"<Engine {self.path!r}{' closed' if self._closed else ''}>"

    def _on_commit(self, tx: Transaction) -> None:
        if not self._scheduler.display.holds_back(tx):
            self._tell(tx)

    def _tell(self, tx: Transaction) -> None:
        if not tx.of_a_turn:
            self._scheduler.committed(tx)
        self._futures.ended(tx.ended)

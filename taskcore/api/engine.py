"""`Engine`: one file, and everything that users do with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, overload

from taskcore.api.assembly import assemble
from taskcore.api.claim import Claim, find, take
from taskcore.api.function import TaskFunction, define
from taskcore.api.future import TaskFuture
from taskcore.api.job import job
from taskcore.api.limits import Limits
from taskcore.api.pipeline import Pipeline
from taskcore.api.selection import Selection
from taskcore.api.transaction import Block, Database
from taskcore.codec.json import JSON, Codec
from taskcore.core.clock import Clock
from taskcore.core.health import Health
from taskcore.core.options import checked_text
from taskcore.core.text import counted
from taskcore.core.views import Graph, Page, Timeline, shown_by, view
from taskcore.store import capacity, counts, queries

if TYPE_CHECKING:
    from taskcore.api.progress import Progress
    from taskcore.api.schedules import Schedules
    from taskcore.core.model import Change, Finding, Task


class Engine(Executor):
    """Tasks in one SQLite file, run by a pool of threads. A `concurrent.futures.Executor`.

    No thread is started before the first submit, `start()` or `run()`. All methods may be called from any thread.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        workers: int | None = None,
        processes: int | None = None,
        executor: Executor | Callable[[], Executor] | None = None,
        lease: float = 30.0,
        durability: str = "normal",
        statuses: Mapping[str, str] | None = None,
        limits: Mapping[str, int] | None = None,
        keep: float | str | None = None,
        codec: Codec = JSON,
        clock: Clock | None = None,
        name: str | None = None,
        allow_network_filesystem: bool = False,
    ) -> None:
        """Open the file, making it or our tables in it where there are none.

        `path`: a file, or ":memory:". `workers`: threads, or tasks in flight on `executor`; 0 never runs anything.
        `processes`: bodies run in so many worker processes with `workers` threads each, which import the script anew:
        what it does stands under `if __name__ == "__main__":`, and only what they do not find there runs here.
        `executor`: where bodies run instead of threads of its own, or a function that makes such an executor when the
        first is needed, and another when one broke.
        `lease`: seconds a claim holds without renewal. `durability`: "normal" survives any crash of the process, "full"
        a power cut too. `statuses`: own labels → running, succeeded, failed or cancelled. `limits`: capacity → how much
        of it there is, for the option `uses`. `keep`: how long ended tasks stay, "30d" or seconds, `None` for ever; any
        running engine deletes older ones when it idles, but none that something unfinished needs.
        `allow_network_filesystem`: open the file where SQLite's locks cannot be relied on, all the same. With
        `workers=0` a file that may not be written can be looked at. `BadFile`, and the file untouched, if it can't be
        used; `ValueError` or `TypeError` for a bad parameter.
        """
        self._submissions = submissions = assemble(
            path, workers, processes, executor, lease=lease, durability=durability, statuses=statuses, limits=limits,
            keep=keep, codec=codec, clock=clock, name=name, allow_network_filesystem=allow_network_filesystem,
        )  # fmt: skip
        self._context = context = submissions.context
        self._futures, self._lifetime = submissions.futures, submissions.lifetime
        self._file, self._clock, self._scheduler, self._loop = (
            context.file, context.clock, context.scheduler, context.loop,
        )  # fmt: skip
        self.path = context.path
        self.limits = Limits(context)
        """How much of each capacity there is, and of how many tasks of a name may run: `limits["name:fit"]`."""

    @property
    def name(self) -> str:
        """Its name among the workers of the file."""
        return self._context.name

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
        made: TaskFunction | Callable[..., TaskFunction] = define(self._submissions, fn, name, options)
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
        return self._scheduled(when, name, enabled, catch_up, overlap, options)

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
        return self._scheduled(when, name, enabled, catch_up, overlap, options)

    def _scheduled(self, *said: Any) -> Callable[[Callable[..., Any]], TaskFunction]:
        from taskcore.api import schedules

        return lambda fn: schedules.define(self._submissions, fn, *said)

    @property
    def schedules(self) -> Schedules:
        """Name → schedule, of all in the file."""
        from taskcore.api.schedules import Schedules

        return Schedules(self._submissions)

    # -- submitting -------------------------------------------------------------------------------------------------

    def submit(self, fn: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> TaskFuture:
        """Store a task; it is in the file when this returns. Starts the engine.

        `fn`: what `task` made, a plain module-level function, or the name of a task that is run elsewhere. Where the
        disk is full it raises what SQLite does, a `sqlite3.OperationalError`, and nothing is stored.
        """
        return self._submissions.submit(self._submissions.named(fn), args, kwargs)

    def map(
        self, fn: Callable[..., Any] | str, *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[Any]:
        """As `Executor.map`: results in order, `TimeoutError` after `timeout` s from now. Stored in large
        transactions."""
        return self._submissions.map(fn, iterables, timeout, chunksize)

    def transaction(self) -> Block[Database]:
        """`with engine.transaction() as db:` — `db.execute`, `db.executemany` and any submits, together or not at all.

        Also the bulk form: a thousand submits, one commit. Every other writer waits meanwhile.
        """
        return self._submissions.transaction()

    def job(self, name: str, *, key: str | None = None, failures: str = "fail", **options: Any) -> Block[TaskFuture]:
        """`with engine.job("night 12") as job:` — what is submitted in the block is a child of the job, and job and
        children are stored in one commit.

        The job ends when its children, and theirs, have ended: failed if one of its own failed (`failures="ignore"`:
        even then succeeded), cancelled if that was asked; its result is the counts by status. With the `key` of an
        existing job the block adds to that one. Every other writer waits while the block is open, and `result()` in it
        is a `RuntimeError`. `TypeError` for an option that only bodies have.
        """
        return job(self._submissions, name, failures, {**options, "key": key})

    def pipeline(self, name: str) -> Pipeline:
        """Tasks by subject: one job a subject, one task a step of the pipeline."""
        return Pipeline(self._submissions, checked_text("name", name))

    # -- running and ending -----------------------------------------------------------------------------------------

    @property
    def health(self) -> Health:
        """"ok", "degraded: why" (it keeps trying, nothing is lost) or "stopped: why", with `state`, `reason` and
        `since` beside it. With "ok", `reason` may have something to be known: a bug of the SQLite at hand."""
        return self._lifetime.health

    def start(self) -> None:
        """Claim what is in the file, in the background, until `close` or `shutdown`. `EngineClosed`."""
        self._lifetime.start()

    def run(self, progress: bool | Callable[[Progress], object] | None = None) -> dict[str, int]:
        """Claim what is in the file until nothing is due. → the counts by status.

        A line of progress is drawn where stderr is a terminal, or a bar in a notebook, and what failed meanwhile is
        said below it; `progress=False` draws nothing, True writes a line each 10 s where there is neither, and a
        function is called with a `Progress` (`done`, `total`, `failed`, `running`, `rate`, `seconds_left`) at most four
        times a second and at the end, in this thread: what it raises, `run` raises. `pause()`, from another process
        too, ends it: nothing is due then.
        """
        return self._lifetime.run(progress)

    async def arun(self, progress: bool | Callable[[Progress], object] | None = None) -> dict[str, int]:
        """`run` without blocking the event loop. Cancelled, it waits no longer; the tasks stay as they are."""
        return await self._lifetime.arun(progress)

    def serve_forever(self) -> None:
        """For a worker: claim what is in the file, and wait for more, until SIGTERM, Ctrl-C or `close()` in another
        thread; then close: running bodies are asked to stop and waited for. A second Ctrl-C does not wait.

        Called elsewhere than in the main thread, it does not hear of signals.
        """
        self._lifetime.serve_forever()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks; go on until every task this engine submitted has ended or is not due, then close.

        `cancel_futures`: cancel those that have not begun. Without `wait` it all happens in the background.
        """
        self._lifetime.shutdown(wait, cancel_futures)

    def close(self, timeout: float | None = None) -> None:
        """Claim nothing more, ask bodies to stop (`check()` raises in them), wait for them at most `timeout` s.

        What did not end is given back, stays in the file and continues at the next start. With a `timeout` it returns
        in that time, whatever a body, a callback, a transaction or another program holds up; in a signal handler, at
        once where it interrupted a call of this engine.
        """
        self._lifetime.close(timeout)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.shutdown(wait=True)
        elif issubclass(kind, KeyboardInterrupt):
            self._lifetime.interrupted()
        else:
            self.close()

    def __repr__(self) -> str:
        found = self._context.peek(counts.counts, queries.ALL)
        if found is None:
            return f"<Engine {self.path!r}{' closed' if self._context.closed else ''}>"
        return f"<Engine {self.path!r}: {counted(found) if found else 'no tasks'}>"

    # -- looking ----------------------------------------------------------------------------------------------------

    @property
    def tasks(self) -> Selection:
        """All tasks of the file."""
        return Selection(self._context)

    @property
    def statuses(self) -> Mapping[str, str]:
        """Labels of your own that the file knows → their phases."""
        return dict(self._context.file.known.statuses)

    def future(self, task_id: int | Task) -> TaskFuture:
        """The handle of a stored task, given by its id or a row of it. `TaskNotFound`."""
        found = self._context.id_of(task_id)
        self._context.task(found)
        return self._futures.handle(found)

    def on_failure(self, callback: Callable[[Task], object]) -> Callable[[], None]:
        """Have `callback(task)` called, with the row, for each task whose failure for good this engine, or one of
        its worker processes, commits: one after the other, in the thread of callbacks. → a function that ends it. Each
        is a WARNING in the log anyway. `EngineClosed`."""
        return self._futures.failures.listen(callback)

    def on_change(
        self, callback: Callable[[Change], object], via: Callable[..., object] | None = None
    ) -> Callable[[], None]:
        """Have `callback(change)` called after commits moved tasks, of any process, at most 20 times a second, with
        what moved since the last call; of other processes than its worker processes only that something did (`more`).
        → a function that ends it: after that, and after `close`, no call begins.

        `via`: whatever has a function called in another thread, as `root.after_idle`, `loop.call_soon_threadsafe` or a
        Qt signal's `emit`; default: a thread for this alone. What either raises is logged. `EngineClosed`.
        """
        return self._futures.changes.listen(callback, via)

    # -- pictures ---------------------------------------------------------------------------------------------------

    def graph(self, tasks: Selection | TaskFuture | int | None = None) -> Graph:
        """What depends on what: `.to_svg()`, `.to_mermaid()`, `.to_dot()`, `.save(path)`; a notebook shows it.

        `tasks`: a selection, a job (with all below it) or another task (with what it is connected to); default: the
        newest of the file that are not hidden. Many tasks that are alike are one node with their counts.
        """
        drawn: Graph = view("graph").graph(self, tasks)
        return drawn

    def timeline(self, tasks: Selection | TaskFuture | int | None = None) -> Timeline:
        """What ran when, by worker, with what it waited before: `.to_svg()`, `.save(path)`; a notebook shows it.

        `tasks`: as for `graph`; of a job the critical path is marked.
        """
        drawn: Timeline = view("timeline").timeline(self, tasks)
        return drawn

    def report(self, path: str | os.PathLike[str], tasks: Selection | TaskFuture | int | None = None) -> None:
        """Write one self-contained HTML page about these tasks (default: the file), to be kept or mailed."""
        view("report").write(self, path, tasks)

    def serve(self, port: int = 0, read_only: bool = False) -> Page:
        """Serve a web page on this machine alone, for looking at the file and operating it, until `close()` of what is
        returned, or of the engine. `port`: 0 takes a free one. `OSError` if it is taken."""
        page: Page = view("web").serve(self, port, read_only)
        return page

    _repr_html_ = shown_by("engine")

    # -- claiming from outside --------------------------------------------------------------------------------------

    def claim(self, *names: str, n: int = 1, lease: float | None = None, worker: str | None = None) -> list[Claim]:
        """Take up to `n` ready tasks of these names (none: of any) to work on outside the scheduler.

        The lease ends by time only: report, or extend, before it does. Never raises because there is nothing.
        """
        return take(self._context, names, n, lease, worker)

    def claimed(self, token: str) -> Claim:
        """The claim with this token, made in another request or process. `LeaseLost` if it is no longer held."""
        return find(self._context, token)

    def pause(self, *names: str) -> None:
        """Hold these names, or with none the whole file: running bodies finish, nothing of it is claimed, in any
        process, until `resume` of the same."""
        self._context.write(capacity.hold, [checked_text("a name", name) for name in names])
        self._context.scheduler.recall()

    def resume(self, *names: str) -> None:
        """Let go what `pause` of the same holds."""
        self._context.write(capacity.let_go, [checked_text("a name", name) for name in names])

    @property
    def held(self) -> list[str]:
        """The names that `pause` holds; the empty one is the whole file."""
        return self._context.read(capacity.held)

    # -- keeping the file -------------------------------------------------------------------------------------------

    def prune(self, older_than: float | str | None = None) -> int:
        """Delete the tasks that ended longer ago than this ("30d", seconds, 0: all that ended; default: `keep`), but
        none that something unfinished depends on, nor the child of an unfinished parent. The file gets smaller. → how
        many.

        Short commits: others go on meanwhile. `ValueError` where neither this nor `keep` says how old.
        """
        from taskcore.api import keeping

        return keeping.prune(self._context, self._context.keep if older_than is None else older_than)

    def backup(self, path: str | os.PathLike[str], progress: Callable[[int, int], object] | None = None) -> None:
        """Copy the whole file, as it is at this moment, while it is used; nobody waits for that.

        The copy is readable by its owner alone, is one file without a log, and is there as a whole or not at all; it
        replaces an earlier copy in one step. `progress(copied, pages)` is called now and then. `FileExistsError` for a
        database in use or anything that is no plain file; `OSError` where there is no room; `EngineClosed`.
        """
        from taskcore.api import keeping

        keeping.backup(self._context, path, progress)

    def check(self) -> list[Finding]:
        """What is wrong with the file, each with its mend; an empty list if nothing is. Changes nothing.

        Reads the whole file several times: some ten seconds for a million tasks. Nobody waits for it.
        """
        from taskcore.api import keeping

        return keeping.check(self._context)

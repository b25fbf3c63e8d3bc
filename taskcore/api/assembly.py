"""How the parts of an engine are made, from what its user said, and told of each other."""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

from taskcore.api import importing, settings, shutdown
from taskcore.api.context import Context
from taskcore.api.function import give
from taskcore.api.futures import Register
from taskcore.api.lifetime import Lifetime
from taskcore.api.submission import Submissions
from taskcore.body import logs
from taskcore.body.work import Stage
from taskcore.codec.json import JSON, Codec
from taskcore.core.clock import Clock, monotonic
from taskcore.core.options import checked_text, one_of, some_seconds
from taskcore.runtime.callbacks import Callbacks
from taskcore.runtime.lookout import Lookout
from taskcore.runtime.loop import Loop
from taskcore.runtime.pools import Threads
from taskcore.runtime.presence import Presence
from taskcore.runtime.repertoire import Repertoire
from taskcore.runtime.scheduler import Scheduler
from taskcore.store import process_locks
from taskcore.store.connection import File
from taskcore.store.identity import log_of


def assemble(
    path: str | os.PathLike[str], workers: int | None = None, processes: int | None = None,
    executor: Executor | Callable[[], Executor] | None = None, *, lease: float, durability: str,
    statuses: Mapping[str, str] | None = None, limits: Mapping[str, int] | None = None,
    keep: float | str | None = None, codec: Codec = JSON, clock: Clock | None = None, name: str | None = None,
    allow_network_filesystem: bool,
) -> Submissions:  # fmt: skip
    """What `Engine(…)` is given, checked before anything is opened; then the file, and the parts on it. Its errors are
    those of `Engine`."""
    size = settings.workers_of(workers, executor)
    one_of("normal", "full")("durability", durability)
    lease = some_seconds("lease", lease)
    name = settings.own_name() if name is None else checked_text("name", name)
    path = settings.path_of(path)
    count = settings.processes_of(processes, executor, path, clock, size)
    clock = settings.clock_of(clock)
    codec = settings.codec_of(codec)
    given = settings.limits_of(limits)
    keep = settings.keep_of(keep)
    file = File(
        path, full=durability == "full", statuses=settings.statuses_of(statuses),
        read_only=size == 0 and settings.only_readable(path), allow_network=allow_network_filesystem,
    )  # fmt: skip
    try:
        lanes = None if file.in_memory or file.read_only else process_locks.lanes_of(path)
    except BaseException:
        file.close()
        raise
    stage = Stage(file, codec, clock.now, duration=getattr(clock, "monotonic", monotonic))
    context = Context(path, name, file, codec, clock, stage, lanes, lease=lease, workers=size, keep=keep)
    futures = Register(context)
    submissions = Submissions(context, futures, Lifetime(context, futures))
    _connect(submissions, workers, executor)
    shutdown.watch(submissions.lifetime, executor)
    give(context, given, {})
    if importing.asleep(path, count is not None):
        context.asleep, context.workers = True, 0
        shutdown.forget(submissions.lifetime)  # an import that ends by an error ends nothing of it
        importing.made.append((submissions, count is not None))
    elif count is not None:
        employ(context, count)
    elif executor is not None and not _stays_here(executor):
        context.asleep = importing.by_another()
    return submissions


def _stays_here(executor: Executor | Callable[[], Executor]) -> bool:
    """Whether this executor is known to run bodies in this process, so that no other one imports its script."""
    from concurrent.futures import ThreadPoolExecutor  # for those who bring one

    threads = executor is ThreadPoolExecutor or isinstance(executor, ThreadPoolExecutor)
    return threads or hasattr(executor, "background")


def employ(context: Context, count: int, module: str | None = None, log: int | None = None) -> None:
    """Have this engine, which has not begun, run its bodies in so many worker processes. `module`: to be imported there
    before those of its definitions. `log`: the level of what they say on stderr."""
    from taskcore.api.processes import Processes  # both for those who have processes
    from taskcore.api.worker_process import Given

    full, network = context.file.how
    durability = "full" if full else "normal"
    how: dict[str, Any] = {"durability": durability, "lease": context.lease, "allow_network_filesystem": network}
    if context.codec is not JSON:
        how["codec"] = context.codec
    modules = () if module is None else (module,)
    given = Given(context.path, context.workers, assemble, how, modules=modules, log=log)
    context.processes = Processes(context, count, given)
    for definition in list(context.definitions.values()):
        context.processes.define(definition)


def _connect(
    submissions: Submissions, workers: int | None, executor: Executor | Callable[[], Executor] | None
) -> None:
    """Make the parts that run bodies, and tell each of the others."""
    context, futures, lifetime = submissions.context, submissions.futures, submissions.lifetime
    file, clock, stage = context.file, context.clock, context.stage
    # Held by the engine and by all that can submit to it, and by nothing that a thread of ours holds.
    weakref.finalize(submissions, lifetime.abandon).atexit = False
    context.submitter = weakref.ref(submissions)
    background = getattr(executor, "background", True)
    context.scheduler = scheduler = Scheduler(
        file, clock, stage, Repertoire(file, context.definitions), Presence(context.name, context.lease, context.lanes),
        Lookout(log_of(context.path) if background and not file.in_memory else None),
        on_ended=futures.ended, on_foreign_commit=futures.look_around, anybody_listens=lambda: len(futures) > 0,
    )  # fmt: skip
    if context.keep is not None:
        from taskcore.runtime.pruner import LULL, Pruning

        scheduler.pruning = Pruning(file, context.keep, LULL if background else 0.0)
    context.loop = loop = Loop(scheduler, background=background, on_stop=futures.give_up)
    context.callbacks = Callbacks(background)
    context.futures, context.start, context.must_run = futures, lifetime.go, lifetime.must_run
    context.broke = lifetime.broke
    stage.house, stage.noted = Submissions(context, futures, lifetime), scheduler.display.note
    logs.listen()
    if executor is None:
        scheduler.custody.crew = Threads(context.workers, stage, loop.report, lifetime.broke)
    else:
        from taskcore.api.visit import Sender
        from taskcore.runtime.guests import Guests

        comes = functools.partial(shutdown.watch, lifetime)
        scheduler.custody.crew = Guests(
            executor, workers, context.workers, scheduler, send=Sender(context), broken=lifetime.broke, comes=comes
        )
    file.on_commit, scheduler.display.tell = lifetime.on_commit, lifetime.tell
    subscribe: Any = getattr(clock, "subscribe", None)
    if subscribe is not None:
        subscribe(scheduler.look_again)

"""How an engine is now: what is not as it should be, what it runs, and whether there is more to run."""

from __future__ import annotations

from taskcore.api.context import Context
from taskcore.api.selection import Selection
from taskcore.core.clock import monotonic
from taskcore.core.errors import BadFile
from taskcore.core.health import DEGRADED, OK, STOPPED
from taskcore.core.id_ranges import Spans
from taskcore.core.text import printable
from taskcore.store import capacity, queries
from taskcore.store.busy import KNOWN_BUG
from taskcore.store.connection import READ_ONLY

LOCKED: float = 1.0
"""Seconds of waiting for another program after which the engine is no longer called well."""


def of(context: Context, closing: bool, unstarted: str | None) -> tuple[str, str]:
    """Its state, and the reason: the worst there is. `closing`: whether its end has begun; `unstarted`: why nothing
    runs, though it should."""
    if context.closed or closing:
        return STOPPED, "closed"
    try:
        if context.loop.error is None:
            context.file.check_identity()
    except BadFile as error:
        return STOPPED, error.reason
    since = context.file.patience.since
    if since is not None and monotonic() - since > LOCKED:
        return DEGRADED, f"another program has kept the file locked for {monotonic() - since:.0f} s"
    if context.loop.trouble is not None:
        state, _, reason = context.loop.trouble.partition(": ")
        return state, reason
    if context.loop.stuck is not None and not context.loop.here:
        return DEGRADED, "the loop does not come to the end of a turn: what it calls of yours does not return"
    troubles = [
        unstarted,
        context.scheduler.custody.crew.trouble,
        READ_ONLY if context.file.read_only else None,
        *(part.trouble for part in (context.processes, context.lanes) if part is not None),
    ]
    trouble = next(filter(None, troubles), None)
    if trouble is not None:
        return DEGRADED, trouble
    return OK, "" if context.file.in_memory else KNOWN_BUG


def running(context: Context) -> list[str]:
    """The bodies that run, for people."""
    found = [(work.claimed.id, work.kind.name) for work in context.scheduler.custody.bodies()]
    if context.processes is not None and not context.closed:
        tasks = Selection(context).where(phase="running", worker=context.processes.names)
        found += [(task.id, task.name) for task in tasks.some(100)]
    return [f"#{task} {printable(name, 30)}" for task, name in found]


def is_due(context: Context, spans: Spans | None = None) -> bool:
    """Whether anything in the file, or among these ids, runs here, may run now, or is tried again within a
    minute."""
    scheduler, now, known = context.scheduler, context.now(), context.file.known
    if not scheduler.quiet:
        return True
    kinds = scheduler.repertoire.all_kinds()
    open_ = [kind for kind in kinds if not known.closed(kind)] if known.rationed else kinds
    if known.rates:
        resting = context.read(capacity.resting, now + queries.SOON, now)
        open_ = [kind for kind in open_ if kind.name not in resting]
    here = queries.Here(
        [kind.id for kind in kinds],
        [kind.id for kind in open_ if not kind.options.get("avoid_failed_worker")],
        [kind.id for kind in open_ if kind.options.get("avoid_failed_worker")],
        context.name,
    )
    due = context.read(queries.any_due, here, now)
    if due and spans is not None:
        due = any(context.read(queries.due_between, first, last, here, now) for first, last in spans)
    return due or not scheduler.quiet

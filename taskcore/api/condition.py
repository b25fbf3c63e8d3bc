"""How an engine is now: what of it is not as it should be, the worst first."""

from __future__ import annotations

from taskcore.api.context import Context
from taskcore.core.clock import monotonic
from taskcore.core.errors import BadFile
from taskcore.core.health import DEGRADED, OK, STOPPED
from taskcore.store.busy import KNOWN_BUG
from taskcore.store.connection import READ_ONLY

LOCKED: float = 1.0
"""Seconds of waiting for another program after which the engine is no longer called well."""


def of(context: Context, closing: bool, unstarted: str | None) -> tuple[str, str]:
    """Its state, and the reason. `closing`: whether its end has begun; `unstarted`: why nothing runs, though it
    should."""
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
    if unstarted is not None:
        return DEGRADED, unstarted
    if context.scheduler.custody.crew.trouble is not None:
        return DEGRADED, context.scheduler.custody.crew.trouble
    if context.file.read_only:
        return DEGRADED, READ_ONLY
    if context.processes is not None and context.processes.trouble is not None:
        return DEGRADED, context.processes.trouble
    if context.lanes is not None and context.lanes.trouble is not None:
        return DEGRADED, context.lanes.trouble
    return OK, "" if context.file.in_memory else KNOWN_BUG

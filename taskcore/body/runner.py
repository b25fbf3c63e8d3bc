"""Running one body: from the claim's stored arguments to how it ended. All of it happens in the thread that runs the
body."""

from __future__ import annotations

import types
from typing import Any

from taskcore.body import logs, outcome
from taskcore.body.work import CURRENT, Stage, Suspend, Work
from taskcore.core.clock import monotonic
from taskcore.core.ends import Cancelled, Done, Outcome


def perform(stage: Stage, work: Work) -> Outcome:
    """Run the body to its verdict. Never raises: whatever a body does, its task ends or comes back."""
    if work.stop == "cancel":
        return Outcome(*work.claim, verb="obey")
    if work.stop is not None:
        return Outcome(*work.claim, verb="give back")
    before, work.began, since = CURRENT.get(None), stage.duration(), monotonic()
    work.since = since
    logs.hear()
    try:
        CURRENT.set((stage, work))
        args, kwargs = stage.arguments(work.claimed)
        value = finished(work.definition.fn(*args, **kwargs))
        if work.parting is not None or work.broken is not None:
            return held_on(stage, work)
        if work.timeout is not None and stage.late(work):
            return outcome.timed_out(work, work.timeout)
        if work.saved is not None or work.claimed.saved:
            value = merged(stage, work, value)
        if value is None:
            return Outcome(work.claimed.id, work.claimed.token, stage.codec.encode(None))
        return outcome.returned(work, value, stage.statuses, stage.codec.encode)
    except BaseException as error:
        return raised(stage, work, error)
    finally:
        CURRENT.set(before)  # not `reset`: a Ctrl-C may take the token
        if work.unfinished_line:
            logs.finish(stage, work)
        work.took = monotonic() - since
        if work.parting is None and stage.house.expecting:
            stage.house.forget(work.claimed.id)


def merged(stage: Stage, work: Work, value: Any) -> Any:
    """What the body returned, over what it saved."""
    saved = stage.saved(work)
    if isinstance(value, Done):
        return Done(_over(saved, value.result), value.status)
    return _over(saved, value)


def held_on(stage: Stage, work: Work) -> Outcome:
    """The body went on after it was to end: what it made of that does not count."""
    if work.broken is None:
        text = "the body caught its own suspension (a bare except, or except BaseException): it must let that pass"
        work.broken = RuntimeError(text)
    return outcome.failed(work, outcome.failure(work, work.broken))


def raised(stage: Stage, work: Work, error: BaseException) -> Outcome:
    """The body raised: what that means depends on what it was asked for."""
    if work.stop == "close" and isinstance(error, Cancelled):
        return Outcome(*work.claim, verb="give back")
    if work.timeout is not None and stage.late(work):
        return outcome.timed_out(work, work.timeout)
    if work.parting is not None and _is(error, work.parting):
        return work.parting.end
    if (work.parting or work.broken) and not isinstance(error, Cancelled):
        return held_on(stage, work)
    try:
        return outcome.raised(work, error)
    except BaseException:  # it misbehaves even when it is only looked at
        end = Outcome(*work.claim, verb="fail", error_type=type(error).__name__, error="<it cannot be looked at>")
        return outcome.failed(work, end)


def finished(value: Any) -> Any:
    """What a function gave; of an `async def` one, what it comes to."""
    if type(value) is not types.CoroutineType:
        return value
    import asyncio  # a third of what importing taskcore would cost, for those who have async bodies

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(value)
    value.close()
    raise TypeError("a step of an async body is a plain function: its loop cannot run another one inside")


def _is(error: BaseException, parting: Suspend) -> bool:
    """Whether this is the suspension, or what a group of asyncio's tasks made of it."""
    return error is parting or (isinstance(error, BaseExceptionGroup) and error.split(Suspend)[1] is None)


def _over(saved: dict[str, Any], result: Any) -> Any:
    if result is None:
        return saved or None
    return {**saved, **result} if isinstance(result, dict) else result

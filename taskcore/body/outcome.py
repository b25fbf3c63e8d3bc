"""How an attempt ended, and so which verb moves its task. Pure: nothing here reads a clock, a row or a file."""

from __future__ import annotations

import builtins
import traceback as tracebacks
from collections.abc import Mapping
from typing import Any, Final

from taskcore.body.work import Work
from taskcore.core import lifecycle
from taskcore.core.ends import Abort, Cancelled, Done, Outcome, Retry, Snooze, seconds
from taskcore.core.errors import UnknownStatus
from taskcore.core.options import DEFAULT_BACKOFF, Definition

LONGEST_TEXT: Final = 64 * 1024


def returned(work: Work, value: Any, statuses: Mapping[str, str], encode: Any) -> Outcome:
    """A body returned. Raises what makes the result none: an unknown label, a value that cannot be stored."""
    if not isinstance(value, Done):
        return Outcome(*work.claim, encoded(encode, value, "the result of ", work.kind.name))
    text, status = encoded(encode, value.result, "the result of ", work.kind.name), value.status
    phase = lifecycle.SUCCEEDED if status is None else statuses.get(status, status)
    if phase not in (lifecycle.SUCCEEDED, lifecycle.FAILED):
        fitting = [label for label, phase in statuses.items() if phase in (lifecycle.SUCCEEDED, lifecycle.FAILED)]
        raise UnknownStatus(status, (lifecycle.SUCCEEDED, lifecycle.FAILED, *fitting), "that a body can end with")
    label = None if status in (None, phase) else status
    if phase == lifecycle.SUCCEEDED:
        return Outcome(*work.claim, text, label)
    return Outcome(*work.claim, text, label, "fail")


def encoded(encode: Any, value: Any, what: str, name: str) -> Any:
    """What `encode` makes of a value. `TypeError`, which says `what` it is and of which `name`, if it cannot be
    stored."""
    try:
        return encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"{what}{name!r} cannot be stored: {error}") from error


def failure(work: Work, error: BaseException) -> Outcome:
    """An exception as the failure of this attempt; whether for good, `failed` and `again` say."""
    kind, message = type(error).__qualname__, message_of(error)
    if getattr(builtins, kind, type(error)) is not type(error):  # somebody's class that is called as a builtin one
        kind = f"{type(error).__module__}.{kind}"
    return Outcome(*work.claim, None, None, "fail", kind, message, traceback_of(error), raised=error)


def raised(work: Work, error: BaseException) -> Outcome:
    """A body raised, or what it returned could not be taken."""
    match error:
        case Snooze():
            return Outcome(*work.claim, verb="snooze", delay=error.delay)
        case Cancelled():
            return Outcome(*work.claim, verb="obey", error=message_of(error) or None)
        case Abort():
            return failed(work, failure(work, error))
        case Retry():
            end = again(work, failure(work, error), error.delay)
            if end.verb == "retry":
                return end
            return end._replace(error=f"{end.error}, and max_attempts={work.kind.max_attempts} leaves it no attempt")
    end = failure(work, error)
    return again(work, end) if isinstance(error, retried(work)) else failed(work, end)


def timed_out(work: Work, limit: float) -> Outcome:
    """A body ran longer than it may."""
    end = Outcome(
        *work.claim, verb="fail", error_type="TimeoutError", error=f"ran for more than {limit:g} s"
    )
    return again(work, end) if issubclass(TimeoutError, retried(work)) else failed(work, end)


def retried(work: Work) -> tuple[type[BaseException], ...]:
    """The exceptions that do not fail the task at once."""
    return work.definition.options.retry_on


def failed(work: Work, end: Outcome) -> Outcome:
    """For good, under the label that the task's options give."""
    label = work.kind.options.get("failed_status")
    return end._replace(verb="fail", label=label)


def again(work: Work, end: Outcome, delay: float | None = None) -> Outcome:
    """Another attempt, if there is one left."""
    failures = work.claimed.failures + 1
    if work.kind.max_attempts is not None and failures >= work.kind.max_attempts:
        return failed(work, end)
    if delay is None:
        delay = backoff(work.definition, failures)
    return end._replace(verb="retry", delay=delay, ahead=bool(work.kind.options.get("retry_first")))


def backoff(definition: Definition, failures: int) -> float:
    """The user's function may do anything; what is no number of seconds counts as the default."""
    try:
        return seconds(definition.options.backoff(failures), "backoff")
    except BaseException:
        return DEFAULT_BACKOFF(failures)


# -- errors as text: an exception may misbehave in all it does -----------------------------------------------------


def message_of(error: BaseException) -> str:
    try:
        return storable(str(error))
    except BaseException:
        return "<its str() failed>"


def traceback_of(error: BaseException) -> str | None:
    """As Python would print it, without our own frames, at most 64 KiB of its end."""
    try:
        below = error.__traceback__
        while below is not None and below.tb_frame.f_globals.get("__name__", "").startswith("taskcore."):
            below = below.tb_next
        found = tracebacks.TracebackException(type(error), error, below, limit=-50, max_group_width=5)
        return storable("".join(found.format()), end=True)
    except BaseException:
        return None


def storable(text: str, *, end: bool = False) -> str:
    """Text that SQLite takes, cut at 64 KiB."""
    text = text[-LONGEST_TEXT:] if end else text[:LONGEST_TEXT]
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def result_or_error(future: Any, return_exceptions: bool) -> Any:
    """What a body gets of a task that it waited for: raised, or in the result's place."""
    if not return_exceptions:
        return future.result()
    try:
        error = future.exception()
    except Exception as cancelled:
        return cancelled
    return future.result() if error is None else error  # whatever it raised: `SystemExit` too

"""How an attempt ended, and so which verb moves its task. Pure: nothing here reads a clock, a row or a file."""

from __future__ import annotations

import traceback as tracebacks
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from taskcore.core import lifecycle
from taskcore.core.ends import Abort, Cancelled, Done, Retry, Snooze, seconds
from taskcore.core.errors import UnknownStatus
from taskcore.core.options import DEFAULT_BACKOFF, Definition
from taskcore.store.cache import Kind
from taskcore.store.moves import Failure, Success

LONGEST_TEXT: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Claim:
    """What a verdict needs to know of the attempt that ended."""

    id: int
    token: int
    failures: int
    kind: Kind
    definition: Definition | None = None
    """Of the name in this process: it has the functions and exception classes among the options."""


def returned(claim: Claim, value: Any, statuses: Mapping[str, str], encode: Any) -> Success | Failure:
    """A body returned. Raises what makes the result none: an unknown label, a value that cannot be stored."""
    if not isinstance(value, Done):
        return Success(claim.id, claim.token, _stored(claim, value, encode))
    text, status = _stored(claim, value.result, encode), value.status
    phase = lifecycle.SUCCEEDED if status is None else statuses.get(status, status)
    if phase not in (lifecycle.SUCCEEDED, lifecycle.FAILED):
        fitting = [label for label, phase in statuses.items() if phase in (lifecycle.SUCCEEDED, lifecycle.FAILED)]
        raise UnknownStatus(status, (lifecycle.SUCCEEDED, lifecycle.FAILED, *fitting), "an end of a body")
    label = None if status in (None, phase) else status
    if phase == lifecycle.SUCCEEDED:
        return Success(claim.id, claim.token, text, label)
    return Failure(claim.id, claim.token, "fail", label=label, result=text)


def _stored(claim: Claim, value: Any, encode: Any) -> str:
    try:
        text: str = encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"the result of {claim.kind.name!r} cannot be stored: {error}") from error
    return text


def raised(claim: Claim, error: BaseException) -> Failure:
    """A body raised, or what it returned could not be taken."""
    kind, message = type(error).__qualname__, message_of(error)
    end = Failure(claim.id, claim.token, "fail", kind, message, traceback_of(error))
    match error:
        case Snooze():
            return Failure(claim.id, claim.token, "snooze", delay=error.delay)
        case Cancelled():
            return Failure(claim.id, claim.token, "obey", error=message or None)
        case Abort():
            return failed(claim, end)
        case Retry():
            return again(claim, end, error.delay)
    return again(claim, end) if isinstance(error, retried(claim)) else failed(claim, end)


def timed_out(claim: Claim, limit: float) -> Failure:
    """A body ran longer than it may."""
    end = Failure(claim.id, claim.token, "fail", "TimeoutError", f"ran for more than {limit:g} s")
    return again(claim, end) if issubclass(TimeoutError, retried(claim)) else failed(claim, end)


def retried(claim: Claim) -> tuple[type[BaseException], ...]:
    """The exceptions that do not fail the task at once."""
    return claim.definition.options.retry_on if claim.definition is not None else (Exception,)


def failed(claim: Claim, end: Failure) -> Failure:
    """For good, under the label that the task's options give."""
    label = claim.kind.options.get("failed_status")
    return end._replace(verb="fail", label=label)


def again(claim: Claim, end: Failure, delay: float | None = None) -> Failure:
    """Another attempt, if there is one left."""
    failures = claim.failures + 1
    if claim.kind.max_attempts is not None and failures >= claim.kind.max_attempts:
        return failed(claim, end)
    if delay is None:
        delay = backoff(claim.definition, failures)
    return end._replace(verb="retry", delay=delay, ahead=bool(claim.kind.options.get("retry_first")))


def backoff(definition: Definition | None, failures: int) -> float:
    """The user's function may do anything; what is no number of seconds counts as the default."""
    if definition is not None:
        try:
            return seconds(definition.options.backoff(failures), "backoff")
        except BaseException:
            return DEFAULT_BACKOFF(failures)
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

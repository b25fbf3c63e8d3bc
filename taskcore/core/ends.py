"""How a body can end: what it may return or raise beside plain values and ordinary exceptions, and the one value that
every end becomes on its way from the body's thread to the task's row."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from taskcore.core.numbers import real


def seconds(value: Any, what: str) -> float:
    """A duration in seconds as a float; `TypeError` or `ValueError` naming `what` where it is none."""
    length = real(value)
    if length is None:
        way = ": say .total_seconds()" if hasattr(value, "total_seconds") else ""
        way = ": for a moment there is the option at" if hasattr(value, "timestamp") else way
        way = ": say it as a number" if isinstance(value, str) else way
        raise TypeError(f"{what} is a number of seconds, not {value!r}{way}")
    if not 0 <= length < math.inf:
        raise ValueError(f"{what} is a finite number of seconds from 0 on, not {shown(value)}")
    return length


def spoken(text: str) -> float | str:
    """A duration as somebody types it: seconds, or text such as "1h30m", which the engine reads."""
    try:
        return float(text)
    except ValueError:
        return text


def shown(value: float) -> str:
    """A number as it was said; of one with very many digits, how many."""
    if isinstance(value, int) and abs(value) >= 10**30:
        return f"a whole number of {len(str(min(abs(value), 10**4000)))} digits or more"
    return repr(value)


class Done:
    """Returned by a body: the task ends at once with this result and, if given, this label of yours."""

    __slots__ = ("result", "status")

    def __init__(self, result: Any = None, status: str | None = None) -> None:
        self.result = result
        self.status = status


class Retry(Exception):
    """Raised by a body: this attempt failed, try again after `delay` s (default: the task's backoff)."""

    def __init__(self, delay: float | None = None) -> None:
        self.delay = None if delay is None else seconds(delay, "the delay of Retry")
        super().__init__(delay)

    def __str__(self) -> str:
        return "the body asked to be retried"


class Snooze(Exception):
    """Raised by a body: not now; again in `delay` s, and no attempt is spent."""

    def __init__(self, delay: float) -> None:
        self.delay = seconds(delay, "the delay of Snooze")
        super().__init__(delay)

    def __str__(self) -> str:
        return f"snoozed for {self.delay:g} s"


class Abort(Exception):
    """Raised by a body: failed for good, whatever attempts are left."""

    def __init__(self, reason: str = "aborted") -> None:
        super().__init__(reason)


class Cancelled(BaseException):
    """Raised by `run.check()`, or by a body itself: the task ends as cancelled.

    Not an `Exception`, as `asyncio.CancelledError` is none: a body's `except Exception` lets it pass.
    """


# -- on the way to the row -----------------------------------------------------------------------------------------


class Sleep(NamedTuple):
    """What a suspended body waits for: the end of all of `upstreams`, or a signal, or the time `until`, whichever comes
    first."""

    waiting_for: str
    """As the task's row says it."""
    upstreams: Sequence[int] = ()
    signal: str | None = None
    until: float | None = None
    steps: Sequence[Any] = ()
    """`store.steps.Step`s to be kept in the same commit."""


class Outcome(NamedTuple):
    """How a claim ended. Made where the body ran, committed by a turn of the scheduler, read by whoever waits."""

    id: int
    token: int
    result: str | None = None
    """As text."""
    label: str | None = None
    """The status of the user's that it ends under."""
    verb: str = "succeed"
    """The transition of `core.lifecycle.TABLE`: succeed, fail, retry, snooze, give back, obey, lapse or suspend."""
    error_type: str | None = None
    error: str | None = None
    traceback: str | None = None
    delay: float = 0.0
    """Of a retry or snooze: seconds until it is due."""
    ahead: bool = False
    """Of a retry: whether it goes before what has not been tried."""
    raised: BaseException | None = None
    """What the body raised: `result()` in this process raises the very same."""
    sleep: Sleep | None = None

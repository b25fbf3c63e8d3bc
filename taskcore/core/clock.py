"""The one place that reads the time. Times are float seconds since the epoch, UTC."""

from __future__ import annotations

import time
from typing import Any, Protocol

from taskcore.core.numbers import real


class Clock(Protocol):
    """What `Engine(clock=…)` takes.

    It may also have `monotonic()`, for durations (default: the machine's). One that stands still until it is moved may
    have `subscribe(wake)`, which calls `wake()` after each move, and `pass_time(seconds)`, which `run()` calls
    instead of sleeping when nothing but time is missing.
    """

    def now(self) -> float: ...


class SystemClock:
    """The machine's clock."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


class CheckedClock:
    """A clock of the user's: what it says is looked at once, here."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)

    def now(self) -> float:
        """Seconds since the epoch. `ValueError` for what is none."""
        said: Any = self._clock.now()
        at = real(said)
        if at is None or at != said:
            raise ValueError(f"the clock {self._clock!r} says {str(said)[:40]}: now() is seconds since the epoch")
        return at


monotonic = time.monotonic
"""Seconds that no one sets: for how long something took or may still take inside this process."""

pause = time.sleep
"""For the door to the file, which waits a millisecond for another process's commit."""

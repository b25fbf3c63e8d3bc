"""For tests of code that uses taskcore: time that is moved by hand, and bodies that run in the caller's thread.

With both, `engine.run()` is deterministic and nothing sleeps::

    clock = ManualClock(0)
    engine = Engine(":memory:", clock=clock, executor=InlineExecutor())
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from taskcore.core.ends import seconds


class ManualClock:
    """A clock that stands still until `advance`. It also measures durations, so that time limits are tested with it."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = float(start)
        self._lock = threading.Lock()
        self._wake: list[Callable[[], None]] = []

    def now(self) -> float:
        return self._now

    monotonic = now

    def advance(self, delay: float) -> None:
        """Let `delay` s pass, and wake every engine that goes by this clock."""
        delay = seconds(delay, "the time to pass")
        with self._lock:
            self._now += delay
        for wake in list(self._wake):
            wake()

    def set(self, now: float) -> None:
        """Set it, backwards too, as somebody may set a machine's clock."""
        with self._lock:
            self._now = float(now)
        for wake in list(self._wake):
            wake()

    def subscribe(self, wake: Callable[[], None]) -> None:
        """For engines: `wake()` is called after each move."""
        self._wake.append(wake)

    def unsubscribe(self, wake: Callable[[], None]) -> None:
        if wake in self._wake:
            self._wake.remove(wake)

    def pass_time(self, delay: float) -> None:
        """For `run()`: nothing but time is missing, so it passes."""
        self.advance(delay)


class InlineExecutor(Executor):
    """Runs what it is given in the caller's thread, at once. An engine with it does nothing but while somebody runs or
    waits: `run()` and `result()` drive it."""

    background = False
    _max_workers = 1

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            if not future.done():  # else a Ctrl-C came just behind the result
                future.set_exception(error)
            elif isinstance(error, KeyboardInterrupt):
                raise
        return future

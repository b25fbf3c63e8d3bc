"""Users' callbacks, one after the other, in a thread of their own: what one of them does holds up no task."""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections.abc import Callable
from typing import Any, Final

from taskcore.core.clock import monotonic
from taskcore.core.logger import tell
from taskcore.runtime.wakeups import Latch

SLOW: Final = 1.0
"""Seconds from which on a callback is named in the log: those behind it wait."""

LONG: Final = 3.0
"""Seconds from which on whoever waits for one without end says so."""
MOMENT: Final = 0.05
"""Seconds that a call which ended tasks may take longer for their callbacks, which a bare pool would have called in
it."""


class Callbacks:
    """One engine's. Every method may be called from any thread; there is no thread before the first callback."""

    def __init__(self, background: bool) -> None:
        self._stopped = not background
        """Whether there is no thread any more, or never: whoever has something to tell calls."""
        self._queue: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        # Over the thread's beginning and end, and what is put before its end. A signal handler may put something, too.
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._asked = self._called = 0
        self._since, self._now = math.inf, ""  # when the callback that runs now began (monotonic), and which it is

    def call(self, of: object, callback: Callable[..., object], *args: Any, at_once: bool = False) -> None:
        """Have this called, after all that was to be called before, or here and `at_once`. `of`: whose it is, for the
        log. Never raises."""
        if at_once or not self._put((of, callback, args)):
            _call(of, callback, args)

    @property
    def began(self) -> bool:
        """Whether anything was to be called yet."""
        return self._thread is not None

    @property
    def settled(self) -> int | None:
        """How many there were until now, if all of them have been called."""
        asked = self._asked
        return asked if self._called == asked else None

    def flush(self, timeout: float) -> bool:
        """Return when all that was to be called until now has been, or after `timeout` s (-1: however long it takes,
        and what takes long is said). → whether it has been; in a callback, at once and False."""
        thread, done, passed = self._thread, Latch(), list[bool]()
        if thread is None:
            return True
        if thread is threading.current_thread():
            return False
        there = self._put((None, passed.append, (True,)), (None, done.open, ()))
        wait = done.wait if there else thread.join  # which is to end, with the last of them
        wait(LONG if timeout < 0 else timeout)
        if timeout < 0 and not passed and thread.is_alive():
            tell(logging.WARNING, "waiting for the callback %s, which has run for more than %.0f s", self._now, LONG)
            wait(threading.TIMEOUT_MAX)
        return bool(passed) or not thread.is_alive()

    def settle(self) -> None:
        """Before a call of the user's returns that ended tasks: a moment for the callbacks that follow from it, unless
        one has been at work for longer."""
        if monotonic() - self._since < MOMENT:
            self.flush(MOMENT)

    def stop(self) -> None:
        """Let the thread end behind its last callback."""
        with self._lock:
            if self._thread is not None and not self._stopped:
                self._queue.put(None)
            self._stopped = True

    def _put(self, *items: tuple[Any, ...]) -> bool:
        """Leave this to the thread, if there is one or is one to be had."""
        with self._lock:
            if self._stopped:
                return False
            if self._thread is None:
                thread = threading.Thread(target=self._serve, name="taskcore-callbacks", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # there is none to be had
                    return False
                self._thread = thread
            self._asked += len(items)
            for item in items:
                self._queue.put(item)
            return True

    def _serve(self) -> None:
        while (item := self._queue.get()) is not None:
            self._since, self._now = monotonic(), _name(item[1])
            _call(*item)
            self._since = math.inf
            self._called += 1
            del item


def _call(of: object, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
    began = monotonic()
    try:
        callback(*args)
    except BaseException:  # SystemExit in a callback is no reason for a thread of ours to end
        tell(logging.ERROR, "callback %s of %r failed", _name(callback), of, exc_info=True)
    took = monotonic() - began
    if took > SLOW:
        tell(logging.WARNING, "callback %s of %r took %.1f s: those behind it waited", _name(callback), of, took)


def _name(callback: object) -> str:
    try:
        return str(getattr(callback, "__qualname__", callback))
    except BaseException:  # it is somebody's
        return f"of type {type(callback).__name__}"

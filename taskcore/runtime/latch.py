"""How a thread waits for another, so that a Ctrl-C may come at any moment."""

from __future__ import annotations

import contextlib
import threading
from typing import Any


class Bell:
    """Rung at most once, waited for by one thread.

    A bare lock: a Ctrl-C inside `Condition.wait`, and so inside an `Event`'s, may leave its lock held for ever, or
    become "cannot release un-acquired lock".
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self, *_: Any) -> None:
        with contextlib.suppress(RuntimeError):  # a second time
            self._lock.release()

    add_result = add_exception = add_cancelled = ring  # as one of those that wait for a `Future`

    def wait(self, timeout: float) -> None:
        """Until it rings, or `timeout` s have passed."""
        self._lock.acquire(timeout=timeout)

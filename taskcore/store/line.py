"""Who waits for a lock that knows no queue, and how the thread that takes it again and again lets them go first."""

from __future__ import annotations

import threading
from typing import Final

from taskcore.core import clock

LOOKS: Final = 500
"""Looks, 0.2 ms apart, at whether those who came first were let in: on a busy machine they may be slow to come."""


class Line:
    """The threads that came to a lock and have not been let in yet. Each method may be called by any thread."""

    def __init__(self) -> None:
        self._threads: set[int] = set()

    def join(self) -> None:
        """The calling thread is about to wait for the lock."""
        self._threads.add(threading.get_ident())

    def leave(self) -> None:
        """The calling thread has the lock."""
        self._threads.discard(threading.get_ident())

    def give_way(self) -> None:
        """Let those in who stand in line, before the calling thread, which must not have the lock, takes it once more.
        Who does not come is not waited for longer than 0.1 s: a Ctrl-C may have taken it away."""
        came = self._threads.copy()
        for _ in range(LOOKS if came else 0):
            if came.isdisjoint(self._threads):
                return
            clock.pause(0.0002)
        self._threads.difference_update(came)

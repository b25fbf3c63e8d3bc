"""Who waits for a lock that knows no queue, and how the thread that takes it again and again lets them go first."""

from __future__ import annotations

from typing import Final

from taskcore.core import clock

PATIENCE: Final = 0.1
"""Seconds that those who came first are waited for at most: on a busy machine they may be slow to come."""


class Line:
    """Who came to a lock and has not been let in yet: one ticket for each time. Any thread may call any method."""

    def __init__(self) -> None:
        self._tickets: set[object] = set()

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._tickets)

    def join(self) -> object:
        """The calling thread is about to wait for the lock. → its ticket."""
        ticket = object()
        self._tickets.add(ticket)
        return ticket

    def leave(self, ticket: object) -> None:
        """Who came with this ticket has the lock."""
        self._tickets.discard(ticket)

    def give_way(self) -> None:
        """Let those in who stand in line, before the calling thread, which must not have the lock, takes it once more;
        not those who come meanwhile. Who is not let in is not waited for longer than 0.1 s, and only once: a Ctrl-C may
        have taken it away."""
        came = self._tickets.copy()
        if not came:
            return
        ends = clock.monotonic() + PATIENCE
        try:
            while clock.monotonic() < ends and not came.isdisjoint(self._tickets):
                clock.pause(0.0002)
        finally:
            self._tickets.difference_update(came)

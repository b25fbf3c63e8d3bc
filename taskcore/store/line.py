"""Who waits for a lock that knows no queue, and how the thread that takes it again and again lets them go first."""

from __future__ import annotations

import threading
from typing import Final

from taskcore.core import clock

A_MOMENT: Final = 0.0002
"""Seconds in which a thread that waits for a lock that was let go of has it."""
PATIENCE: Final = 0.1
"""Seconds that those who came first are waited for at most: on a busy machine they may be slow to come."""


class Line:
    """Who came to a lock and has not been let in yet: one ticket for each time. Any thread may call any method."""

    def __init__(self) -> None:
        self.tickets: set[object] = set()
        """Of those who wait."""
        self._first: int | None = None  # the thread that whoever comes now lets in first

    def join(self) -> object:
        """The calling thread is about to wait for the lock. → its ticket."""
        if self._first is not None and self._first != threading.get_ident():
            clock.pause(A_MOMENT)
        ticket = object()
        self.tickets.add(ticket)
        return ticket

    def leave(self, ticket: object) -> None:
        """Who came with this ticket has the lock."""
        self._first = None
        self.tickets.discard(ticket)

    def come_first(self) -> None:
        """The calling thread is about to wait for the lock, and whoever comes from now on lets it in first. Else one
        that takes the lock again and again would let go of it for moments only, too short to be woken in."""
        self._first = threading.get_ident()

    def give_way(self) -> None:
        """Let those in who stand in line, before the calling thread, which must not have the lock, takes it once more;
        not those who come meanwhile. Who is not let in is not waited for longer than 0.1 s, and only once: a Ctrl-C may
        have taken it away."""
        came = self.tickets.copy()
        if not came:
            return
        ends = clock.monotonic() + PATIENCE
        try:
            while clock.monotonic() < ends and not came.isdisjoint(self.tickets):
                clock.pause(A_MOMENT)
        finally:
            self.tickets.difference_update(came)

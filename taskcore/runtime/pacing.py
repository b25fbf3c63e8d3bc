"""How far ahead to claim, and when a batch may gather: speed comes from both, and nobody may have to wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from taskcore.core.clock import monotonic

HORIZON: Final = 0.05
"""Seconds within which what is claimed should begin; what is late goes back to the file."""
AHEAD: Final = 0.01
"""Seconds of work that each thread may have waiting: enough to bridge a turn, and little to lose in a crash."""
STREAM: Final = 0.002
"""Seconds between submits that make a stream of them."""
LONE: Final = 0.005
"""Seconds without a submit after which the next one is served at once, at the price of a batch."""
A_TURN: Final = 1024
"""Tasks claimed in one turn. Beyond some hundred a commit gets no cheaper per task, only longer."""
SHARED: Final = 256
"""The same where others claim, too: who happens to come first must not take most of what there is."""
MOST: Final = 3072
"""Tasks held at a time: enough for bodies to go on with while a turn is in the file."""


class Pace:
    """What a body of each name takes, as a moving average in seconds."""

    def __init__(self) -> None:
        self._average: dict[str, float] = {}
        self.shared = False
        """Whether another process committed a moment ago."""

    def learn(self, name: str, took: float) -> None:
        before = self._average.get(name)
        self._average[name] = took if before is None else before + (took - before) * 0.2

    def at_least(self, name: str, elapsed: float) -> None:
        """A body that has been running for longer than was expected is news before it ends."""
        self._average[name] = max(elapsed, self._average.get(name, 0.0))

    def room(self, name: str, threads: int, held: int) -> int:
        """How many more tasks of this name may be claimed by `threads` that have `held` tasks already."""
        average = self._average.get(name)
        idle = max(0, threads - held)
        if average is None or average >= HORIZON:
            return idle
        most = min(MOST, int(threads * max(1.0, AHEAD / max(average, 1e-6))) + threads)
        return max(idle, min(SHARED if self.shared else A_TURN, most - held))


class Traffic:
    """Who submits and who waits, in any thread."""

    def __init__(self, anybody_listens: Callable[[], bool]) -> None:
        self.waiting = 0
        """Threads that wait for a result: while somebody does, nothing is held back to fill a batch."""
        self._anybody_listens = anybody_listens
        self._submitted_at = 0.0
        self._follows = False  # whether the last one came soon after another
        self._lone_from = 0.0
        self._counting = threading.Lock()  # over `waiting`

    def submitted(self) -> None:
        now = monotonic()
        self._follows, self._submitted_at = now - self._submitted_at < STREAM, now

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for a result, or wants to hear of an end."""
        return self.waiting > 0 or self._anybody_listens()

    def streaming(self) -> bool:
        """Whether tasks are being submitted one after the other and nobody waits yet for one of them."""
        return self._follows and monotonic() - self._submitted_at < STREAM and not self.awaited

    def lone(self) -> bool:
        """Whether the submit that asks is the first in a while, or the first after somebody waited for a result."""
        now = monotonic()
        lone, self._lone_from = now >= self._lone_from, now + LONE
        return lone

    def somebody_waits(self) -> Traffic:
        """For a `with`: somebody waits for a result, to the end of the block."""
        return self

    def __enter__(self) -> None:
        with self._counting:
            self.waiting += 1
            self._lone_from = 0.0

    def __exit__(self, *_: object) -> None:
        with self._counting:
            self.waiting -= 1

"""How far ahead to claim: only as far as what is claimed may be expected to begin within about 50 ms."""

from __future__ import annotations

from typing import Final

HORIZON: Final = 0.05
"""Seconds within which what is claimed should begin; what is late goes back to the file."""
AHEAD: Final = 0.01
"""Seconds of work that each thread may have waiting: enough to bridge a turn, and little to lose in a crash."""
A_TURN: Final = 1024
"""Tasks claimed in one turn. Beyond some hundred a commit gets no cheaper per task, only longer."""
MOST: Final = 3072
"""Tasks held at a time: enough for bodies to go on with while a turn is in the file."""


class Pace:
    """What a body of each name takes, as a moving average in seconds."""

    def __init__(self) -> None:
        self._average: dict[str, float] = {}

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
        return max(idle, min(A_TURN, most - held))

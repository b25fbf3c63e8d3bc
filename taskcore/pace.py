"""How far ahead to claim: only as far as what is claimed may be expected to begin within about 50 ms."""

from __future__ import annotations

from typing import Final

HORIZON: Final = 0.05
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
        if average is None:
            return idle
        return max(idle, min(A_TURN, min(MOST, int(threads * HORIZON / max(average, 1e-6))) - held))

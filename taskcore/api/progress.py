"""The line that `run()` draws on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType

from taskcore.core.clock import monotonic

EVERY = 0.2
WIDTH = 30


class Bar:
    """How much of what there was to do is done. Draws at most every 0.2 s, on stderr."""

    def __init__(self, unfinished: Callable[[], int], wanted: bool | None) -> None:
        self._unfinished = unfinished
        self.on = bool(getattr(sys.stderr, "isatty", bool)()) if wanted is None else wanted
        self._began = self._next = monotonic()
        self._most = self._drawn = 0
        self._left = 0

    def __enter__(self) -> Bar:
        if self.on:
            self._most = self._unfinished()
        return self

    def look(self) -> bool:
        """Draw if it is time. Always True, to stand in a condition."""
        if self.on and monotonic() >= self._next:
            self._next = monotonic() + EVERY
            self._draw()
        return True

    def _draw(self) -> None:
        left = self._unfinished()
        self._most = max(self._most, left)
        done, elapsed = self._most - left, max(monotonic() - self._began, 1e-6)
        filled = WIDTH * done // max(self._most, 1)
        line = f"[{'#' * filled}{'.' * (WIDTH - filled)}] {done} of {self._most} tasks, {done / elapsed:.0f}/s"
        sys.stderr.write("\r" + line.ljust(self._drawn))
        sys.stderr.flush()
        self._drawn = len(line)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.on:
            self._draw()
            sys.stderr.write("\n")
            sys.stderr.flush()

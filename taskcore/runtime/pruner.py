"""`keep` and `prune`: ended tasks do not stay for ever."""

from __future__ import annotations

from typing import Final

from taskcore.core.clock import monotonic, pause
from taskcore.core.options import GREATEST
from taskcore.store import kinds, retention
from taskcore.store.connection import File

EVERY: Final = 60.0
"""Seconds from the beginning of one pass over the file to the next, at least."""
AT_LATEST: Final = 3600.0
"""The same, at most: a clock may be set."""
MOMENT: Final = 0.001
"""Seconds left to others between two commits, at least."""
LULL: Final = 0.02
"""Seconds without work from which on an engine idles: one round trip after the other is no idling."""
AT_ONCE: Final = 500
"""Rows that one commit of `prune_now` may delete."""


class KindScan:
    """Finds the kinds that no task has any more, a stretch of ids at a time, and removes them."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._newest = file.read(kinds.newest_kind)
        self._seen: set[int] = set()
        self._at = 0

    def step(self) -> bool:
        """Look at the next stretch, or at last remove what was not seen. → whether there is more to do."""
        if self._newest < 2:
            return False
        seen, end, more = self._file.read(kinds.of_tasks, self._at)
        self._seen |= seen
        self._at = end or self._at
        if more:
            return True
        unused = self._file.read(kinds.unused, self._newest, self._seen)
        if unused:
            self._file.read(kinds.check_keys, False)
            try:
                self._file.write(kinds.remove_kinds, unused, self._at)
            finally:
                self._file.read(kinds.check_keys, True)
        return False


class Pruning:
    """An engine's passes over the file, a slice whenever it idles.

    A pass goes up from the lowest id: the oldest come first, even if the engine idles only for a moment. Several
    processes may do the same: what one of them took, the others do not find.
    """

    def __init__(self, file: File, keep: float, lull: float = LULL) -> None:
        """`lull`: 0 for an engine that only goes on while somebody waits for it."""
        self._file = file
        self._keep = keep
        self._lull = lull
        self._rests_until = 0.0  # monotonic
        self._at: int | None = None  # the id that the pass has come to; None: it is over
        self._begun, self._due = 0.0, float("-inf")  # by the engine's clock
        self._spared = self._shrinking = False
        self._scan: KindScan | None = None
        self._oldest: float | None = None

    def turn(self, now: float, *, idle: bool = True, quiet: bool = True) -> float:
        """Do one slice, if it is time and the engine has idled for a while: this turn had nothing to do, or, where that
        is all that can be asked for, has left nothing to do. → seconds until the next."""
        real = monotonic()
        busy = not (idle or (quiet and not self._lull))
        if busy:
            self._rests_until = real + self._lull
        if self._due > now + AT_LATEST:  # the clock was set back
            self._due = now + EVERY
        if self._at is None and not self._shrinking:
            if now < self._due:
                return self._due - now
        if busy or real < self._rests_until:
            return max(MOMENT, self._rests_until - real)
        if self._at is None and not self._shrinking:
            self._shrinking = self._due < self._begun  # at first: a killed process may have left empty pages
            self._at, self._begun, self._spared, self._oldest = 0, now, False, None
        if self._at is not None:
            self._slice(self._at, now - self._keep)
        elif self._scan is not None:
            self._scan = self._scan if self._scan.step() else None
        elif not self._file.read(retention.shrink):
            self._shrinking = False
            self._file.read(retention.checkpoint)
        if self._at is None and not self._shrinking:
            return max(0.0, self._due - now)
        took = monotonic() - real
        self._rests_until = real + took + max(MOMENT, 2 * took)  # most of the time is left to others
        return max(MOMENT, 2 * took)

    def _slice(self, start: int, before: float) -> None:
        found = self._file.read(retention.look, start, before)
        if found.old:
            deleted = self._file.write(retention.delete, found.old, before)
            if deleted and self._scan is None:
                self._shrinking, self._scan = True, KindScan(self._file)
            self._spared = self._spared or deleted < len(found.old)
        if found.oldest is not None:
            self._oldest = found.oldest if self._oldest is None else min(self._oldest, found.oldest)
        self._at = found.end
        if found.end is None:  # the pass is over; what ends from now on is not old before `keep` is over
            first = self._begun if self._oldest is None else min(self._oldest, self._begun)
            wanted = self._begun if self._spared else first + self._keep
            self._due = min(max(wanted, self._begun + EVERY), self._begun + AT_LATEST)


def prune_now(file: File, before: float) -> int:
    """Delete all that ended before this moment and that nothing needs, and give back the space. → how many.

    It goes down from the highest id, since children come after their parents, and go before them.
    """
    deleted, start = 0, GREATEST
    while True:
        found = file.read(retention.look, start, before, down=True, most=AT_ONCE)
        if found.old:
            deleted += file.write(retention.delete, found.old, before)
            pause(MOMENT)  # SQLite's lock has no queue
        if found.end is None:
            break
        start = found.end
    scan = KindScan(file)
    while scan.step():
        pause(MOMENT)
    while file.read(retention.shrink):
        pause(MOMENT)
    file.read(retention.checkpoint, whole=True)
    return deleted

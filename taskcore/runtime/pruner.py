"""`keep` and `prune`: ended tasks do not stay for ever."""

from __future__ import annotations

from collections.abc import Iterator
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


def tidy(file: File, *, deleted: bool, whole: bool = False) -> Iterator[None]:
    """After a pass, some a step: remove the kinds that no task has any more, if tasks were `deleted`, and give back the
    pages that hold nothing. At last bring the log into the file, the `whole` of it if that may be waited for."""
    if deleted:
        yield from _scan_kinds(file)
    while file.read(retention.shrink):
        yield
    file.read(retention.checkpoint, whole=whole)


def _scan_kinds(file: File) -> Iterator[None]:
    """A stretch of ids a step."""
    newest, seen, at, more = file.read(kinds.newest_kind), set[int](), 0, True
    if newest < 2:
        return
    while more:
        found, end, more = file.read(kinds.of_tasks, at)
        seen |= found
        at = end or at
        yield
    unused = file.read(kinds.unused, newest, seen)
    if unused:
        file.read(kinds.check_keys, False)
        try:
            file.write(kinds.remove_kinds, unused, at)
        finally:
            file.read(kinds.check_keys, True)


class Pruning:
    """An engine's passes over the file, a step whenever it idles.

    A pass goes up from the lowest id: the oldest come first, even if the engine idles only for a moment. Several
    processes may do the same: what one of them took, the others do not find.
    """

    def __init__(self, file: File, keep: float, lull: float = LULL) -> None:
        """`lull`: 0 for an engine that only goes on while somebody waits for it."""
        self._file = file
        self._keep = keep
        self._lull = lull
        self._rests_until = 0.0  # monotonic
        self._now = self._due = float("-inf")  # by the engine's clock: this turn, and the beginning of the next pass
        self._pass: Iterator[None] | None = None  # the one that goes on
        self._untidy = True  # at first: a killed process may have left empty pages

    def turn(self, now: float, *, idle: bool = True, quiet: bool = True) -> float:
        """Do one step, if it is time and the engine has idled for a while: this turn had nothing to do, or, where that
        is all that can be asked for, has left nothing to do. → seconds until the next."""
        real, self._now = monotonic(), now
        busy = not (idle or (quiet and not self._lull))
        if busy:
            self._rests_until = real + self._lull
        if self._due > now + AT_LATEST:  # the clock was set back
            self._due = now + EVERY
        if self._pass is None and now < self._due:
            return self._due - now
        if busy or real < self._rests_until:
            return max(MOMENT, self._rests_until - real)
        if self._pass is None:
            self._pass = self._go()
        if next(self._pass, self) is self:  # it is over, or broke off by an error: then another begins at once
            self._pass = None
            return max(0.0, self._due - now)
        took = monotonic() - real
        self._rests_until = real + took + max(MOMENT, 2 * took)  # most of the time is left to others
        return max(MOMENT, 2 * took)

    def _go(self) -> Iterator[None]:
        """One pass: a slice of the tasks a step, and then what is to be tidied."""
        file, begun = self._file, self._now
        oldest, spared, deleted = begun, False, 0
        at: int | None = 0
        while at is not None:
            before = self._now - self._keep
            found = file.read(retention.look, at, before)
            gone = file.write(retention.delete, found.old, before) if found.old else 0
            spared, deleted = spared or gone < len(found.old), deleted + gone
            self._untidy = self._untidy or gone > 0
            if found.oldest is not None:
                oldest = min(oldest, found.oldest)
            at = found.end
            if at is not None or self._untidy:
                yield
        wanted = begun if spared else oldest + self._keep  # what ends from now on is not old before `keep` is over
        self._due = min(max(wanted, begun + EVERY), begun + AT_LATEST)
        if self._untidy:
            yield from tidy(file, deleted=deleted > 0)
            self._untidy = False


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
    for _ in tidy(file, deleted=True, whole=True):
        pause(MOMENT)
    return deleted

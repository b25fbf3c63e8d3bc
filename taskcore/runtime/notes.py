"""What running bodies have to show: gathered from their threads, written by the turn or by whoever is about to look."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from taskcore.body.work import Work
from taskcore.core.clock import Clock, monotonic
from taskcore.store import settle, steps
from taskcore.store.connection import File
from taskcore.store.steps import Notes
from taskcore.store.transaction import Transaction

SOON: Final = 0.05
"""Seconds within which all that is to be shown goes into one commit."""


class Display:
    def __init__(self, file: File, clock: Clock, wake: Callable[[], None]) -> None:
        self._file = file
        self._clock = clock
        self._wake = wake
        self._works: dict[int, Work] = {}
        self._unwritten: list[Notes] = []  # of a commit that failed
        self._writing = threading.Lock()  # over taking notes until they are written: the older come first
        self._writer: int | None = None  # the thread that holds it
        self._committed: list[Transaction] = []
        self.tell: Callable[[Transaction], None] = lambda _: None
        """Called after each commit that was made under the lock, without it: who is told may look, or wait for one who
        does."""
        self.due = 0.0
        """When the turn should write, by the machine's clock, if there is anything."""

    def note(self, work: Work) -> None:
        """A body has something to show. Called by its thread, as often as it likes."""
        if work.claimed.id not in self._works:
            self._works[work.claimed.id] = work
            self._wake()

    def add(self, notes: Sequence[Notes]) -> None:
        """What a body in another process had to show when it ended. Not called by who is told of a commit."""
        with self._writing:
            self._unwritten.extend(notes)

    def __bool__(self) -> bool:
        """Whether something is to be written, or just being written: who looks wants to see that, too."""
        return bool(self._works or self._unwritten or self._writer is not None)

    def show(self) -> None:
        """Write all of it now."""
        with self.taken(()) as notes:
            if notes:
                self._file.write(write, notes, self._clock.now())

    def holds_back(self, tx: Transaction) -> bool:
        """Whether whoever is to be told of this commit is told when the calling thread has let go of the lock."""
        if self._writer is None or self._writer != threading.get_ident():
            return False
        self._committed.append(tx)
        return True

    @contextlib.contextmanager
    def taken(self, ending: Sequence[Work]) -> Iterator[list[Notes]]:
        """All there is, of bodies that end first. To be written in the block; kept if that raises."""
        committed: list[Transaction] = []
        try:
            with self._writing:
                self._writer = threading.get_ident()
                try:
                    works = list(ending)
                    while self._works:
                        with contextlib.suppress(KeyError):
                            works.append(self._works.popitem()[1])
                    notes, self._unwritten = self._unwritten, []
                    notes += [note for work in works if (note := work.take_notes()) is not None]
                    self.due = monotonic() + SOON
                    try:
                        yield notes
                    except BaseException:
                        self._unwritten = notes
                        raise
                finally:
                    self._writer = None
                    committed, self._committed = self._committed, committed
        finally:
            for tx in committed:
                self.tell(tx)


def write(tx: Transaction, notes: Sequence[Notes], now: float) -> None:
    """A label that changed may be what others depend on."""
    relabelled = steps.note(tx, notes)
    if relabelled:
        settle.moved(tx, relabelled, now)

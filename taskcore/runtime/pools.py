"""Who runs bodies: threads of our own, or (in `guests`) an executor that the user brings."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable

from taskcore.body.runner import perform
from taskcore.body.work import Stage, Work
from taskcore.core.clock import monotonic
from taskcore.core.ends import Outcome
from taskcore.runtime.wakeups import Hatch, Latch
from taskcore.store.process_locks import Marks

Report = Callable[[Work, Outcome], None]
"""Called in the thread that ran the body, once for each work that was handed over and not taken back."""


class Crew:
    """What every crew is, unless it says otherwise."""

    size: int
    ahead: bool = False
    """Whether works may be handed over that will not begin at once, and `put`: one work, in one step for the
    interpreter; `hand` sees to it that somebody is there."""
    put: Callable[[Work], None]
    trouble: str | None = None
    """Why no body can run just now, though it is being seen to."""
    here: bool | None = None
    """Whether bodies run in threads of this process; `None` while nobody knows."""
    has_main: bool = True
    """Whether what is defined in the main program is there where bodies run."""

    @property
    def waiting(self) -> int:
        """Works that were handed over and have not begun; 0 where that is not known."""
        return 0

    def runs_here(self) -> bool:
        """`here`, found out if need be: that may take as long as the first body would take to begin."""
        return self.here is not False

    def mark(self, marks: Marks) -> None:
        """Note here, from now on, what begins. Where that is not known, all that is claimed counts as begun."""

    def write_off(self, work: Work) -> None:
        """A body that does not return: its slot is given to another one."""

    def hand(self, works: Iterable[Work]) -> None:
        """Run these."""

    def take_back(self) -> list[Work]:
        """Everything that has not begun; it will not."""
        return []

    def ready(self) -> None:
        """Be able to run one. Late in a program's life there may be no more threads and processes to be had."""

    def stop(self) -> bool:
        """Let everything end after its body. → whether none is inside one that was written off."""
        return True


class Threads(Crew):
    """A pool of daemon threads around one hatch.

    Not a `ThreadPoolExecutor`: that makes a future and a lock for each call (18 µs instead of 1), cannot take back what
    has not begun, and cannot give a slot whose body never returns to another thread.
    """

    ahead = True
    here = True

    def __init__(self, size: int, stage: Stage, report: Report, broken: Callable[[str], None]) -> None:
        self.size = size
        self._stage = stage
        self._report = report
        self._broken = broken
        self._hatch: Hatch[Work | None] = Hatch()
        self.put = self._hatch.put
        self._marks: Marks | None = None
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()  # over the decision to start threads
        self._deaf: dict[int, float] = {}  # works whose bodies were given up and have not returned → when (monotonic)

    def ready(self) -> None:
        """Have at least one thread. Late in a program's life there may be no more to be had."""
        with self._starting:
            if not self._threads and self.size:
                self._start()

    def mark(self, marks: Marks) -> None:
        """Note here, from now on, what begins."""
        self._marks = marks

    def hand(self, works: Iterable[Work]) -> None:
        for work in works:
            self.put(work)
        self._hatch.wake()
        if len(self._threads) < self.size:
            with self._starting:
                missing = min(self.size - len(self._threads), len(self._hatch))
                for _ in range(missing):
                    try:
                        self._start()
                    except RuntimeError as error:  # the interpreter is going down, or the system has no thread left
                        if not self._threads:
                            self._broken(f"no thread can be started: {error}")
                        break

    @property
    def waiting(self) -> int:
        return len(self._hatch)

    def take_back(self) -> list[Work]:
        """Everything that has not begun; it will not."""
        taken, sentinels = [], 0
        while True:
            try:
                work = self._hatch.take()
            except IndexError:
                break
            if work is None:
                sentinels += 1
            else:
                taken.append(work)
        self._dismiss(sentinels)
        return taken

    def write_off(self, work: Work) -> None:
        """A body that does not return: its thread no longer counts, and another takes its place."""
        self._deaf[work.claimed.id] = monotonic()
        self._threads.pop()
        if self._hatch:
            self.hand(())  # never raises: reports are being gathered

    @property
    def deaf_since(self) -> float:
        """When the first of the bodies was given up that have not returned (monotonic); infinite if there is none."""
        return min(list(self._deaf.values()), default=math.inf)

    def stop(self) -> bool:
        """Let every thread end after its body. → whether none is inside one that was written off."""
        with self._starting:
            self.size = 0
            self._dismiss(len(self._threads))
        return not self._deaf

    def _dismiss(self, threads: int) -> None:
        """Let so many end, whoever comes first."""
        for _ in range(threads):
            self._hatch.put(None)
        self._hatch.wake()

    def _start(self) -> None:
        there = Latch()
        threading.Thread(target=self._serve, args=(there,), name="taskcore-worker", daemon=True).start()
        there.wait(10)

    def _serve(self, there: Latch) -> None:
        self._threads.append(threading.current_thread())  # by itself: a Ctrl-C may end `_start` at any place
        there.open()
        take, stage, report, alarm = self._hatch.take, self._stage, self._report, threading.Lock()
        alarm.acquire()
        while True:
            try:
                work = take()
            except IndexError:
                work = self._hatch.wait(alarm)
            if work is None:
                return
            if self._marks is not None:
                self._marks.begin(work.claimed.id)
            end = perform(stage, work)
            if not work.win():
                self._deaf.pop(work.claimed.id, None)
                return  # written off meanwhile, and replaced
            report(work, end)
            del work, end

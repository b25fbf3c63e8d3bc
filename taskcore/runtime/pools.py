"""Who runs bodies: threads of our own, or (in `guests`) an executor that the user brings."""

from __future__ import annotations

import contextlib
import math
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable

from taskcore.body.runner import perform
from taskcore.body.work import Stage, Work
from taskcore.core.clock import monotonic
from taskcore.core.ends import Outcome
from taskcore.runtime.wakeups import Latch
from taskcore.store.process_locks import Marks

Report = Callable[[Work, Outcome], None]
"""Called in the thread that ran the body, once for each work that was handed over and not taken back."""


class Crew:
    """What every crew is, unless it says otherwise."""

    size: int
    ahead: bool = False
    """Whether works may be handed over that will not begin at once, and `put`: one work, in one step for the
    interpreter; it is begun once `hand` has seen to it that somebody comes for it."""
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
    """A pool of daemon threads around one queue.

    Not a `ThreadPoolExecutor`: that makes a future and a lock for each call (18 µs instead of 1), cannot take back what
    has not begun, and cannot give a slot whose body never returns to another thread. Nor a `SimpleQueue`: whoever gets
    something from it wakes another thread that waits there, for nothing, and then both want the interpreter.
    """

    ahead = True
    here = True

    def __init__(self, size: int, stage: Stage, report: Report, broken: Callable[[str], None]) -> None:
        self.size = size
        self._stage = stage
        self._report = report
        self._broken = broken
        self._works = deque[Work | None]()
        self.put = self._works.append
        self._idle: list[queue.SimpleQueue[None]] = []  # a bell of each thread that has nothing to do
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
        self._works.extend(works)
        self._ring()
        if len(self._threads) < self.size:
            with self._starting:
                missing = min(self.size - len(self._threads), len(self._works))
                for _ in range(missing):
                    try:
                        self._start()
                    except RuntimeError as error:  # the interpreter is going down, or the system has no thread left
                        if not self._threads:
                            self._broken(f"no thread can be started: {error}")
                        break

    @property
    def waiting(self) -> int:
        return len(self._works)

    def take_back(self) -> list[Work]:
        """Everything that has not begun; it will not."""
        taken, sentinels = [], 0
        with contextlib.suppress(IndexError):
            while True:
                work = self._works.popleft()
                if work is None:
                    sentinels += 1
                else:
                    taken.append(work)
        self._works.extend([None] * sentinels)
        self._ring()
        return taken

    def write_off(self, work: Work) -> None:
        """A body that does not return: its thread no longer counts, and another takes its place."""
        self._deaf[work.claimed.id] = monotonic()
        self._threads.pop()
        if self._works:
            self.hand(())  # never raises: reports are being gathered

    @property
    def deaf_since(self) -> float:
        """When the first of the bodies was given up that have not returned (monotonic); infinite if there is none."""
        return min(list(self._deaf.values()), default=math.inf)

    def stop(self) -> bool:
        """Let every thread end after its body. → whether none is inside one that was written off."""
        with self._starting:
            self.size = 0
            self._works.extend([None] * len(self._threads))
        self._ring()
        return not self._deaf

    def _start(self) -> None:
        there = Latch()
        threading.Thread(target=self._serve, args=(there,), name="taskcore-worker", daemon=True).start()
        there.wait(10)

    def _serve(self, there: Latch) -> None:
        self._threads.append(threading.current_thread())  # by itself: a Ctrl-C may end `_start` at any place
        there.open()
        bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        take, stage, report = self._works.popleft, self._stage, self._report
        while True:
            try:
                work = take()
            except IndexError:
                self._rest(bell)
                continue
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

    def _rest(self, bell: queue.SimpleQueue[None]) -> None:
        """Until there may be something to do."""
        self._idle.append(bell)
        if not self._works:
            bell.get()
        self._idle.remove(bell)
        if len(self._works) > 1:
            self._ring()

    def _ring(self) -> None:
        """Wake one thread, the one that came to rest last; it wakes the next if there is more than it takes itself. One
        that is awake by then looks once in vain."""
        with contextlib.suppress(IndexError):  # all are at work, or about to look
            self._idle[-1].put(None)

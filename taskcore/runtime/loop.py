"""The thread that turns a scheduler, and how others wait for it."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from typing import Final

from taskcore.body.work import Work
from taskcore.core.clock import monotonic, pause
from taskcore.core.ends import Outcome
from taskcore.core.errors import BadFile, EngineClosed
from taskcore.core.logger import tell
from taskcore.runtime.pacing import HORIZON
from taskcore.runtime.scheduler import Scheduler
from taskcore.runtime.wakeups import Latch
from taskcore.store.busy import Trouble, passing, said

WORTH_A_TURN: Final = 0.002
"""Seconds of a body from which on its report is not left to gather with others."""


ENOUGH: Final = 5
"""Equal failures of a turn, one after the other, after which the engine stops: the next would be the same."""

A_MOMENT: Final = 0.001
"""Seconds between two turns in which another process can have the file."""
GATHER: Final = 0.0005
"""Seconds that reports of short bodies gather, as long as every thread has enough to do."""

STUCK: Final = 3.0
"""Seconds of one turn from which on something in it hangs."""
SLACK: Final = 0.001
"""Seconds by which the loop may sleep too long: it and a body's thread that turned reckon the same moment apart."""
OVERSLEPT: Final = 1.0
"""Seconds after its time from which on a sleeping loop is taken for one that will not wake by itself."""


def _left(deadline: float | None) -> float | None:
    """Seconds to the deadline; `None` for no end."""
    return None if deadline is None else max(0.0, deadline - monotonic())


class Loop:
    """Turns a scheduler in a thread of its own, or in the thread of whoever waits.

    `background` says which. Bodies that run in the caller's thread (an executor that says `background = False`) want
    the latter: then nothing happens but while somebody runs or waits.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        background: bool,
        on_stop: Callable[[Exception], None],
    ) -> None:
        self._scheduler = scheduler
        self._on_stop = on_stop
        self.background = background
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()  # over the decision to start the thread
        self._first = [None]  # whoever pops it is the thread
        self._there = Latch()  # rung when it is
        self._turning = threading.RLock()  # held by whoever turns; a body run inside a turn may turn again
        self._turner: int | None = None  # the thread that turns now: a body run in it that waits must turn on itself
        self._stopping = False
        self._failure, self._failures = "", 0  # what a turn failed of last, and how often in a row
        self._told = False  # that the turn does not end
        self._sleeps_until = math.inf  # monotonic; while the loop's thread is awake, no time
        self._turns_since = math.inf  # monotonic; when the turn that goes on began
        self.trouble: str | None = None
        """Why the engine is not well, or `None`."""
        self.error: Exception | None = None
        """Why it stopped by itself: what whoever waits for it is to be told."""

    @property
    def alive(self) -> bool:
        """Whether a thread of its own turns the scheduler."""
        return self._thread is not None

    def start(self) -> None:
        if self._thread is None and self.background and not self._stopping:
            with self._starting:
                if self._thread is None:
                    self._there = Latch()
                    threading.Thread(target=self._run, name="taskcore-loop", daemon=True).start()
                    self._there.wait(10)  # a Ctrl-C here, and another start: the thread that comes second goes again

    @property
    def stopped(self) -> bool:
        """Whether nothing will begin here any more, and what was running has come back."""
        return self._stopping or (self.error is not None and not self._scheduler.held)

    @property
    def here(self) -> bool:
        """Whether the calling thread is the one that turns: a callback, or a body run in the caller's thread."""
        return self._turner == threading.get_ident()

    @property
    def helps(self) -> bool:
        """Whether somebody else turns while the calling thread waits."""
        return self._thread is not None and not self.here

    def break_down(self, error: Exception) -> None:
        """No body can run here any more. What runs is waited for, and then whoever waits is told."""
        self._scheduler.claiming = False
        self.error, self.trouble = error, f"stopped: {error}"
        self._scheduler.recall()

    def wait(self, done: Callable[[], bool], deadline: float | None, *, hurry: bool) -> bool:
        """Until `done()`, which is asked after every turn and five times a second, or the deadline (monotonic). → what
        it said last.

        `hurry`: nothing is done while the scheduler is not `quiet`, so it is asked only then; and on a clock that
        stands still, let time pass when nothing else is missing.
        """
        scheduler = self._scheduler
        pass_time = getattr(scheduler.clock, "pass_time", None) if hurry else None
        while True:
            # Before asking: a turn that ends after the answer rings it. Who waits for all to be done need not be woken
            # by each of them, and would only take the interpreter's lock from those who work.
            latch = scheduler.latch(at_rest=hurry)
            if done():
                return True
            left = 0.2 if deadline is None else min(0.2, deadline - monotonic())
            if left <= 0 or self.stopped:
                return done()
            ahead = scheduler.until_next() if pass_time is not None and scheduler.quiet else None
            if pass_time is not None and ahead is not None:
                pass_time(ahead)
            if self.helps:
                self.rouse()
                if ahead is None or not scheduler.quiet:
                    latch.wait(left)
            else:
                wait = self._turn()
                hurried = pass_time is not None and scheduler.quiet and scheduler.until_next() is not None
                if not hurried and not done():
                    scheduler.block(min(wait, left))

    def forked(self) -> None:
        """In a child: the thread is the parent's."""
        self._thread = None
        self._scheduler.lookout.forked()

    @property
    def stuck(self) -> str | None:
        """What is to be said of a turn that does not end: user code that it calls may not return."""
        length = monotonic() - self._turns_since
        if length < STUCK or not self.background or self._scheduler.file.patience.since is not None:
            return None
        return f"the loop has been in one turn for {length:.0f} s: a backoff, an executor or a log handler hangs"

    def rouse(self) -> None:
        """Wake the loop's thread if it sleeps past its time. That should never happen; if it does, nobody waits for
        ever. Called by whoever waits, about once a second."""
        late = monotonic() - self._sleeps_until
        if late > OVERSLEPT:
            self._sleeps_until = math.inf
            tell(logging.ERROR, "%s: the loop slept %.1f s too long and was woken", self._scheduler.file.path, late)
            self._scheduler.wake()
        if self.stuck is not None and not self._told:
            self._told = True
            tell(logging.ERROR, "%s: %s", self._scheduler.file.path, self.stuck)

    def finish(self, deadline: float | None, own: int | None, to_the_end: bool) -> bool:
        """Stop bodies and the loop, and settle or give back all that is held. `own`: the task whose body calls.
        `to_the_end`: only bodies are bound to the deadline (monotonic). → whether it was done; else who looks at the
        file next does it."""
        scheduler = self._scheduler
        scheduler.ask_to_stop()
        self.wait(lambda: all(task == own for task in list(scheduler.held)), deadline, hurry=False)
        self._stopping = True
        scheduler.wake()
        deadline = None if to_the_end else deadline
        if self.helps and self._thread is not None:
            self._thread.join(_left(deadline))
        left = _left(deadline)
        if not self._turning.acquire(timeout=-1 if left is None else left):
            return False
        try:
            scheduler.bow_out()
        finally:
            self._turning.release()
        return True

    def report(self, work: Work, end: Outcome) -> None:
        """A body ended; called in its thread.

        If that was all that was going on, this thread takes the turn itself and may go straight on with what it set
        free: a lone task is settled, and a chain goes on, without waking another thread. Otherwise the loop gathers a
        batch.
        """
        scheduler = self._scheduler
        alone = len(scheduler.held) <= 1 and scheduler.custody.crew.ahead and self._thread is not None
        alone = alone and not scheduler.traffic.streaming()
        if alone and self._turning.acquire(blocking=False):
            try:
                wait = self._turn([(work, end)])
            finally:
                self._turning.release()
            if monotonic() + wait < self._sleeps_until - SLACK:
                scheduler.wake()
        else:
            scheduler.inbox.put((work, end))
            if work.took >= WORTH_A_TURN:
                self._until_settled(work)

    def _until_settled(self, work: Work) -> None:
        """Before a thread goes on to its next body: what took a while is put into the file first, lest a crash takes
        it.

        It costs little: a turn is short against such a body, and shorter still when fewer threads want the
        interpreter's lock. But not for long: if the file can't be written now, the next body need not wait for that.
        """
        scheduler, deadline = self._scheduler, monotonic() + HORIZON
        while True:
            latch, left = scheduler.latch(), deadline - monotonic()  # before asking, as in `wait`
            if left <= 0 or scheduler.held.get(work.claimed.id) is not work or self.stopped:
                return
            latch.wait(left)

    def _run(self) -> None:
        try:
            self._first.pop()
        except IndexError:
            self._there.open()
            return
        self._thread = threading.current_thread()
        self._there.open()
        scheduler = self._scheduler
        before = None
        while not self._stopping:
            wait = self._turn()
            if self.trouble != before:
                before = self.trouble
                tell(logging.WARNING, "%s: %s", scheduler.file.path, before or "well again")
            rested = monotonic()
            if not self._stopping:
                self._sleeps_until = rested + wait
                scheduler.block(wait)
                self._sleeps_until = math.inf
            if scheduler.traffic.streaming():
                self._nap()
            elif scheduler.custody.supplied(2 * GATHER):
                pause(GATHER)  # a turn costs a commit, and takes the interpreter's lock and the file's from the bodies
            elif scheduler.shared and scheduler.held and monotonic() - rested < A_MOMENT:
                pause(A_MOMENT)  # SQLite's lock has no queue: leave the other process time to take it

    def _fail(self, error: BaseException) -> float:
        """A turn failed by something that will not pass by itself. It is tried again a few times, for a while later
        there may be nothing to do any more that fails; then whoever waits is told. → seconds until the next try."""
        path, text = self._scheduler.file.path, said(error)
        self._failure, self._failures = text, self._failures + 1 if text == self._failure else 1
        if self._failures == 1:
            tell(logging.ERROR, "%s: a turn failed", path, exc_info=error)
        if self._failures < ENOUGH:
            self.trouble = f"degraded: {text}"
            return float(0.05 * 2**self._failures)
        return self._stop(EngineClosed(path, f"the engine stopped by itself: {text}"), text)

    def _stop(self, error: Exception, why: str) -> float:
        """Nothing can go on here, and whoever waits is told. → as `turn`."""
        self._scheduler.claiming, self._stopping = False, True
        self.error, self.trouble = error, f"stopped: {why}"
        self._on_stop(error)
        return 0.0

    def _nap(self) -> None:
        """Let a batch gather while many submit and nobody waits: loop, submitter and workers would otherwise hand the
        interpreter's lock round at every statement of each. Bodies that are short will have caught up in no time."""
        for _ in range(10 if self._scheduler.custody.short else 3):
            pause(0.001)
            if not self._scheduler.traffic.streaming():
                return

    def _turn(self, reports: Sequence[tuple[Work, Outcome]] = ()) -> float:
        """One turn that never raises: what cannot be written now is kept and tried again."""
        try:
            if not self._scheduler.file.interrupted:
                self._scheduler.file.line.give_way()
            with self._turning:
                before, self._turner = self._turner, threading.get_ident()
                self._turns_since, self._told = monotonic(), False
                try:
                    wait = self._scheduler.turn(reports)
                finally:
                    self._turner, self._turns_since = before, math.inf
            self._failures = 0
            if self.error is None:
                self.trouble = None
            elif not self._scheduler.held:
                self._on_stop(self.error)
            return wait
        except EngineClosed:
            self._stopping = True
            return 0.0
        except BadFile as error:
            return self._stop(error, error.reason)
        except (Trouble, MemoryError) as error:
            if not passing(error):
                return self._fail(error)
            self.trouble = f"degraded: {said(error)}"
            return 0.5
        except Exception as error:
            return self._fail(error)
        except BaseException as error:  # a Ctrl-C, where bodies run in the caller's thread
            if threading.current_thread() is not threading.main_thread():
                return self._fail(error)  # or what user code raised, which must not end a thread of ours
            if not self.background:
                self._scheduler.astray = True
                self._scheduler.look_again()
            raise

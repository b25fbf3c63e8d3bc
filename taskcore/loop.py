"""The thread that turns a scheduler, and how others wait for it."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable

from taskcore.clock import monotonic, pause
from taskcore.errors import BadFile, EngineClosed
from taskcore.scheduler import Scheduler

log = logging.getLogger("taskcore")


class Loop:
    """Turns a scheduler in a thread of its own, or in the thread of whoever waits.

    `background` says which. Bodies that run in the caller's thread (an executor that says `background = False`) want
    the latter: then nothing happens but while somebody runs or waits.
    """

    def __init__(self, scheduler: Scheduler, *, background: bool) -> None:
        self._scheduler = scheduler
        self._background = background
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()  # over the decision to start the thread
        self._turning = threading.RLock()  # held by whoever turns; a body run inside a turn may turn again
        self._stopping = False
        self.trouble: str | None = None
        """Why the engine is not well, or `None`."""

    @property
    def alive(self) -> bool:
        """Whether a thread of its own turns the scheduler."""
        return self._thread is not None

    def start(self) -> None:
        if self._thread is None and self._background and not self._stopping:
            with self._starting:
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name="taskcore-loop", daemon=True)
                    thread.start()
                    self._thread = thread

    @property
    def stopped(self) -> bool:
        """Whether it will not turn any more."""
        return self._stopping or (self.trouble is not None and self.trouble.startswith("stopped"))

    @property
    def helps(self) -> bool:
        """Whether somebody else turns while the calling thread waits."""
        return self._thread is not None and self._thread is not threading.current_thread()

    def wait(self, done: Callable[[], bool], deadline: float | None, *, hurry: bool) -> bool:
        """Until `done()`, which is asked after every turn, or the deadline (monotonic). → what it said last.

        `hurry`: on a clock that stands still, let time pass when nothing else is missing.
        """
        scheduler = self._scheduler
        pass_time = getattr(scheduler.clock, "pass_time", None) if hurry else None
        while not done():
            left = 0.2 if deadline is None else min(0.2, deadline - monotonic())
            if left <= 0 or self.stopped:
                return done()
            if pass_time is not None and scheduler.quiet:
                ahead = scheduler.until_next()
                if ahead is not None:
                    pass_time(ahead)
            if self.helps:
                with scheduler.turned:
                    if not scheduler.quiet or pass_time is None:
                        scheduler.turned.wait(left)
            else:
                wait = self._turn()
                if not done():
                    scheduler.block(min(wait, left))
        return True

    def finish(self, deadline: float | None, own: int | None) -> None:
        """Stop bodies and the loop, and settle or give back all that is held. `own`: the task whose body calls."""
        scheduler = self._scheduler
        scheduler.ask_to_stop()
        self.wait(lambda: all(task == own for task in list(scheduler.held)), deadline, hurry=False)
        self._stopping = True
        scheduler.wake()
        if self.helps and self._thread is not None:
            self._thread.join()
        with self._turning:
            scheduler.bow_out()

    def _run(self) -> None:
        scheduler = self._scheduler
        while not self._stopping:
            before, submits = self.trouble, scheduler.submits
            wait = self._turn()
            if self.trouble is not None and self.trouble.startswith("stopped"):
                return
            if self.trouble != before:
                log.warning("%s: %s", scheduler.file.path, self.trouble or "well again")
            scheduler.block(wait)
            # Loop, submitter and workers would hand the interpreter's lock round at every statement of each. While many
            # submit, nobody waits and there is more to do than threads, a nap lets a batch gather.
            if (
                scheduler.submits - submits >= 4
                and not scheduler.waiting
                and len(scheduler.held) > 2 * scheduler.crew.size
            ):
                pause(0.003)
            elif scheduler.shared and scheduler.held:
                pause(0.001)  # SQLite's lock has no queue: leave the other process a moment to take it

    def _turn(self) -> float:
        """One turn that never raises: what cannot be written now is kept and tried again."""
        try:
            with self._turning:
                wait = self._scheduler.turn()
            self.trouble = None
            return wait
        except EngineClosed:
            self._stopping = True
            return 0.0
        except BadFile as error:
            self.trouble = f"stopped: {error.reason}"
            self._stopping = True
            return 0.0
        except sqlite3.Error as error:
            self.trouble = f"degraded: {error}"
            return 0.5
        except Exception as error:
            log.exception("a turn failed")
            self.trouble = f"degraded: {error}"
            return 0.5


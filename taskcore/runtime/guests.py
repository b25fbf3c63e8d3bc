"""Bodies on an executor that the user brings, or that a function of the user's makes anew each time it broke."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from typing import Any, Final, NamedTuple

from taskcore.body import outcome
from taskcore.body.runner import perform, raised
from taskcore.body.work import Work
from taskcore.core.clock import monotonic
from taskcore.core.ends import Outcome, Retry
from taskcore.core.logger import tell
from taskcore.runtime.pools import Crew
from taskcore.runtime.scheduler import Scheduler
from taskcore.store.steps import Notes

ENOUGH: Final = 8
"""Executors that broke one after the other, no body having come back from any, after which no other is made: more than
one task that kills its process can break before it is lost."""
LONGEST_DELAY: Final = 30.0
"""Seconds from one attempt to make an executor to the next, at most."""
PATIENCE: Final = 10.0
"""Seconds in which an executor shows where it runs what it is given; after that it is asked no more."""
SHORT: Final = 0.002
"""Seconds of a body up to which it may go in one call with others."""
SMALL: Final = 0.02
"""Seconds that those of one call take together."""
MOST: Final = 64
"""Bodies of one call."""

_START_LATE: Final = ("concurrent.futures.thread", "concurrent.futures.process")  # not imported for the asking


class Answer(NamedTuple):
    """What came of a body in another process."""

    end: Outcome
    raised: Sequence[tuple[str, str]] | None
    """(module, qualified name) of the classes of what it raised, if whether that is tried again is to be said here."""
    took: float
    """Seconds that the body ran."""
    notes: Sequence[Notes]
    """What it had to show and is not in the file yet."""


class Guests(Crew):
    """Bodies run on an executor; `size` caps how many at a time, and is 0 while there is none."""

    def __init__(
        self, source: Executor | Callable[[], Executor], workers: int | None, size: int, scheduler: Scheduler, *,
        send: Callable[[Sequence[Work]], tuple[Any, ...]], broken: Callable[[str], None],
        comes: Callable[[Executor], None],
    ) -> None:  # fmt: skip
        """`workers`: how many at a time the user said; `size`: where nobody says. `send`: works → what is pickled for
        them, a function and its arguments. `broken`: no body can run any more. `comes`: called with each executor that
        was made, before it is used."""
        self.size = 0
        self.has_main = _is_script()
        self._known = threading.Event()  # set when `here` is, and when there will be no answer
        self._workers, self._default = workers, size
        self._scheduler, self._stage, self._report = scheduler, scheduler.stage, scheduler.inbox.put
        self._send, self._broken, self._comes = send, broken, comes
        self._make: Callable[[], Executor] | None = None
        self._changing = threading.Lock()  # over which executor there is, and whether one is being made
        self._making = False
        self._breaks, self._why = 0, ""  # in a row, and why the last of them
        self._ended_for_good = threading.Event()
        self._inside: set[int] = set()
        self._took: dict[str, float] = {}  # by name, seconds that a body runs, as the quicker ones of late did
        self._waiting: deque[Work] = deque()  # short ones, for the next call
        self._calls, self._calls_at_most = 0, 1  # of short ones
        self._grouping = threading.Lock()  # over these three
        self._executor: Executor | None = None
        self._primed = False
        if callable(source) and (isinstance(source, type) or not hasattr(source, "submit")):
            self._make = source
        else:
            self._adopt(source)  # type: ignore[arg-type] # all that has `submit` will do

    # -- the executor -----------------------------------------------------------------------------------------------

    def _adopt(self, executor: Executor) -> None:
        own = getattr(executor, "_max_workers", None)
        size = self._workers if self._workers is not None else own if isinstance(own, int) else self._default
        if not getattr(executor, "background", True) or _of_threads(executor):
            self._tell_here(True)
        context = getattr(executor, "_mp_context", None) or getattr(executor, "_context", None)
        way = context.get_start_method() if context is not None and hasattr(context, "get_start_method") else ""
        self.has_main = way == "fork" or (way != "loky" and _is_script())
        self._calls_at_most = max(own if isinstance(own, int) else 4, size // 8)
        self._executor, self.size, self.trouble = executor, size, None

    def _tell_here(self, here: bool) -> None:
        self.here = here
        if not self._known.is_set():  # a Ctrl-C inside `set` may leave its lock held for ever
            self._known.set()

    def runs_here(self) -> bool:
        if self.here is None and not self._known.is_set():
            if self._make is not None:
                self.ready()  # the first thing that it is given tells
            elif self._executor is not None:
                with contextlib.suppress(Exception):  # `hand` will say so
                    self._executor.submit(_Bodies(self, []))
            self._known.wait(PATIENCE)
            self._known.set()
        return super().runs_here()

    def ready(self) -> None:
        """Have an executor made, and at least one thread or process of the two that start theirs late: after the
        script's end, 3.12 would refuse."""
        if self._make is not None:
            if self._executor is None:
                self._begin_to_make(0.0)
        elif not self._primed and type(self._executor).__module__ in _START_LATE:
            self._primed = True
            with contextlib.suppress(RuntimeError):  # `hand` will say so
                self._executor.submit(_Bodies(self, []))  # type: ignore[union-attr]

    def _begin_to_make(self, delay: float, lost: Executor | None = None) -> None:
        with self._changing:
            if self._making or self._ended_for_good.is_set():
                return
            self._making = True
        try:
            threading.Thread(target=self._make_one, args=(delay, lost), name="taskcore-executor", daemon=True).start()
        except RuntimeError as error:
            self._making = False
            self._give_up(f"no executor can be made: {error}")

    def _make_one(self, delay: float, lost: Executor | None) -> None:
        """In a thread of its own: a cluster takes its time, and one that was `lost` tells of that under a lock that its
        shutdown needs. What was made runs nothing of ours before it has shown that it runs anything: one that breaks at
        once costs no task a lapse."""
        self._dispose(lost)
        executor, tries = None, 0
        assert self._make is not None
        while self._breaks < ENOUGH and not self._ended_for_good.wait(delay):
            try:
                executor = None
                executor = self._make()
                if not hasattr(executor, "submit"):
                    raise TypeError(f"executor= made {executor!r}, which is no concurrent.futures.Executor")
                self._comes(executor)  # before it is used: at the interpreter's end we come first
                executor.submit(_Bodies(self, [])).result()
                break
            except BaseException as error:
                self._dispose(executor)
                why = _first_line(error) or type(error).__name__
                if executor is not None and isinstance(error, BrokenExecutor):
                    self._breaks, self._why = self._breaks + 1, why
                delay = min(LONGEST_DELAY, 0.05 * 2**tries)
                tries += 1
                self.trouble = f"no executor can be made ({type(error).__name__}: {why}); tried again in {delay:g} s"
                tell(logging.WARNING, "%s: %s", self._stage.file.path, self.trouble)
        if self._breaks >= ENOUGH:
            self._give_up(f"{self._breaks} executors in a row broke: {self._why}")
            return
        with self._changing:
            self._making = False
            if not self._ended_for_good.is_set() and executor is not None:
                self._adopt(executor)
                executor = None
        self._dispose(executor)  # if it came too late
        self._scheduler.look_again()

    def _broke(self, executor: Executor | None, why: str) -> None:
        """Called for each body that was lost with it; the first call counts."""
        with self._changing:
            if executor is None or executor is not self._executor or self._ended_for_good.is_set():
                return
            self._executor, self.size, self._breaks, self._why = None, 0, self._breaks + 1, why
        if self._make is None:
            self._broken(why)
            return
        self.trouble = f"{why}; another one is being made"
        tell(logging.WARNING, "%s: %s", self._stage.file.path, self.trouble)
        self._begin_to_make(0.0 if self._breaks == 1 else min(LONGEST_DELAY, 0.05 * 2**self._breaks), executor)

    def _give_up(self, why: str) -> None:
        self._ended_for_good.set()
        self._known.set()
        self._broken(why)

    def _dispose(self, executor: Executor | None) -> None:
        """Of one that was made for us; the user's own is the user's."""
        if executor is not None and self._make is not None:
            with contextlib.suppress(Exception):  # it is broken, perhaps
                executor.shutdown(wait=False)

    # -- bodies -----------------------------------------------------------------------------------------------------

    def hand(self, works: Iterable[Work]) -> None:
        for work in works:
            if self.here is False and work.timeout is None and self._took.get(work.kind.name, SHORT) < SHORT:
                self._waiting.append(work)
            else:
                self._give([work], counts=False)
        self._give_waiting()

    def _give_waiting(self) -> None:
        """Those that are known to be short wait while enough calls are out, and go several to a call then: to a process
        a call costs more than they do, and to a cluster ten times as much."""
        while True:
            with self._grouping:
                free = self._calls_at_most - self._calls
                if free <= 0 or not self._waiting:
                    return
                group, length = [self._waiting.popleft()], 0.0
                share = min(MOST, -(-len(self._waiting) // free))
                while self._waiting and len(group) < share and length < SMALL:
                    group.append(self._waiting.popleft())
                    length += self._took.get(group[-1].kind.name, 0.0)
                self._calls += 1
            self._give(group, counts=True)

    def _give(self, group: list[Work], *, counts: bool) -> None:
        """`counts`: among the calls that are limited."""
        executor = self._executor
        for work in group:
            work.began, work.since = self._stage.duration(), monotonic()
        try:
            if executor is None:
                raise BrokenExecutor("another one is being made")
            self._inside.update(work.claimed.id for work in group)
            future = executor.submit(_Bodies(self, group))
            future.add_done_callback(lambda future: self._came_back(executor, future, group, counts))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            with self._grouping:
                self._calls -= counts
            self._refused(executor, group, error)

    def _refused(self, executor: Executor | None, group: list[Work], error: BaseException) -> None:
        """The executor did not take them: they never began."""
        self._inside.difference_update(work.claimed.id for work in group)
        for work in group:
            work.stop = "refused"  # a pool that could not start another thread has it queued all the same
        if self._inside and not isinstance(error, BrokenExecutor):
            self.size = len(self._inside)
        else:
            self._broke(executor, f"the executor takes no more: {_first_line(error) or type(error).__name__}")
        for work in group:
            self._report((work, Outcome(*work.claim, verb="give back")))

    def _came_back(self, executor: Executor, future: Future[Any], group: list[Work], counts: bool) -> None:
        if counts:
            with self._grouping:
                self._calls -= 1
        self._inside.difference_update(work.claimed.id for work in group)
        try:
            answers = future.result()
            self._breaks = 0
        except BaseException as error:
            if isinstance(error, BrokenExecutor):
                self._broke(executor, f"the executor broke: {_first_line(error) or type(error).__name__}")
            answers = [error] * len(group)
            for work in self.take_back():  # the executor may hold a lock that `submit` needs: the loop hands them anew
                self._report((work, Outcome(*work.claim, verb="give back")))
        else:
            self._give_waiting()
        for work, answer in zip(group, answers, strict=True):
            if work.win():
                self._report((work, self._end_of(work, answer)))

    def _end_of(self, work: Work, answer: Any) -> Outcome:
        """What an outcome, an answer or an error of the executor's own means."""
        if isinstance(answer, Answer):
            name, work.took = work.kind.name, answer.took
            self._took[name] = min(answer.took, 1.5 * self._took.get(name, answer.took))  # a machine may stand still
            if answer.notes:
                self._scheduler.display.add(answer.notes)
            return self._judged(work, answer)
        work.took = work.took or monotonic() - work.since
        if isinstance(answer, Outcome):
            return answer
        if isinstance(answer, CancelledError):
            return Outcome(*work.claim, verb="give back")
        # As distributed calls it, without which it cannot be asked for by its class.
        if isinstance(answer, BrokenExecutor) or type(answer).__name__ == "KilledWorker":
            return Outcome(*work.claim, verb="lapse", error=f"its process died ({outcome.message_of(answer)})")
        return raised(self._stage, work, answer)

    def _judged(self, work: Work, answer: Answer) -> Outcome:
        if work.timeout is not None and self._stage.late(work):
            return outcome.timed_out(work, work.timeout)
        tried_again = {_named(kind) for kind in (*outcome.retried(work), Retry)}
        if answer.raised is None or tried_again.isdisjoint(map(tuple, answer.raised)):
            return answer.end
        return outcome.again(work, answer.end._replace(label=None))

    def take_back(self) -> list[Work]:
        with self._grouping:
            taken = list(self._waiting)
            self._waiting.clear()
        return taken

    def stop(self) -> bool:
        with self._changing:
            self._ended_for_good.set()
            executor, self._executor = self._executor, None
        if self._make is not None and executor is not None:
            with contextlib.suppress(Exception):
                executor.shutdown(wait=not self._inside)
        return True


def _of_threads(executor: Executor) -> bool:
    """Whether it is a pool of this process's threads; one of interpreters is made of such a one, too."""
    names = {f"{kind.__module__}.{kind.__name__}" for kind in type(executor).__mro__}
    interpreters = "concurrent.futures.interpreter.InterpreterPoolExecutor" in names
    return "concurrent.futures.thread.ThreadPoolExecutor" in names and not interpreters


def _is_script() -> bool:
    """Whether the main program is a file that other processes can import: not in a notebook or at a prompt."""
    main = sys.modules.get("__main__")
    return bool(getattr(main, "__file__", None) or getattr(main, "__spec__", None))


def _first_line(error: BaseException) -> str:
    """The first line of what it says, fit to be continued: `multiprocessing` explains itself in twenty."""
    return outcome.message_of(error).strip().partition("\n")[0].rstrip(".")


def _named(kind: type[BaseException]) -> tuple[str, str]:
    """A class, as it is told from one process to another: the main module is called otherwise in a spawned one."""
    return kind.__module__.replace("__mp_main__", "__main__"), kind.__qualname__


def named_all(error: BaseException) -> list[tuple[str, str]]:
    """The classes of an error, by `Answer.raised`."""
    return [_named(kind) for kind in type(error).__mro__ if issubclass(kind, BaseException)]


class _Bodies:
    """What an executor is given. In this process's threads it is the whole thing; pickled, it is a call that opens the
    file where it comes to. Whether it is pickled tells where bodies run, and so one of no bodies can ask."""

    def __init__(self, guests: Guests, group: list[Work]) -> None:
        self._guests = guests
        self._group = group
        self.__name__ = group[0].kind.name if group else "taskcore"  # as a cluster's own pages call it

    def __call__(self) -> list[Outcome]:
        self._guests._tell_here(True)
        return [perform(self._guests._stage, work) for work in self._group]

    def __reduce__(self) -> tuple[Any, ...]:
        self._guests._tell_here(False)
        return functools.partial, self._guests._send(self._group)

    def __dask_tokenize__(self: object) -> str:
        """Distributed would pickle it to give it a name, and gives calls of one name the same result."""
        return os.urandom(16).hex()

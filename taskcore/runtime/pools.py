"""Who runs bodies: threads of our own, or an executor that the user brings."""

from __future__ import annotations

import contextlib
import importlib
import math
import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from typing import Any, Final, Protocol

from taskcore.body import outcome
from taskcore.body.runner import perform, raised
from taskcore.body.work import Stage, Work
from taskcore.core.clock import monotonic
from taskcore.core.ends import Outcome
from taskcore.runtime.wakeups import Latch
from taskcore.store.process_locks import Marks

Report = Callable[[Work, Outcome], None]
"""Called in the thread that ran the body, once for each work that was handed over and not taken back."""


class Crew(Protocol):
    size: int
    ahead: bool
    """Whether works may be handed over that will not begin at once."""

    def hand(self, works: Iterable[Work]) -> None: ...
    def put(self, work: Work, /) -> None:
        """One work, in one step for the interpreter; `hand` sees to it that somebody is there."""

    def take_back(self) -> list[Work]: ...
    def write_off(self, work: Work) -> None: ...
    def ready(self) -> None: ...
    def mark(self, marks: Marks) -> None: ...
    def stop(self) -> bool: ...


class Threads:
    """A pool of daemon threads around one queue.

    Not a `ThreadPoolExecutor`: that makes a future and a lock for each call (18 µs instead of 1), cannot take back what
    has not begun, and cannot give a slot whose body never returns to another thread.
    """

    ahead = True

    def __init__(self, size: int, stage: Stage, report: Report, broken: Callable[[str], None]) -> None:
        self.size = size
        self._stage = stage
        self._report = report
        self._broken = broken
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self.put = self._queue.put
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
        put = self._queue.put
        for work in works:
            put(work)
        if len(self._threads) < self.size:
            with self._starting:
                missing = min(self.size - len(self._threads), self._queue.qsize())
                for _ in range(missing):
                    try:
                        self._start()
                    except RuntimeError as error:  # the interpreter is going down, or the system has no thread left
                        if not self._threads:
                            self._broken(f"no thread can be started: {error}")
                        break

    def take_back(self) -> list[Work]:
        """Everything that has not begun; it will not."""
        taken, sentinels = [], 0
        while True:
            try:
                work = self._queue.get_nowait()
            except queue.Empty:
                break
            if work is None:
                sentinels += 1
            else:
                taken.append(work)
        for _ in range(sentinels):
            self._queue.put(None)
        return taken

    def write_off(self, work: Work) -> None:
        """A body that does not return: its thread no longer counts, and another takes its place."""
        self._deaf[work.claimed.id] = monotonic()
        self._threads.pop()
        if self._queue.qsize():
            self.hand(())  # never raises: reports are being gathered

    @property
    def deaf_since(self) -> float:
        """When the first of the bodies was given up that have not returned (monotonic); infinite if there is none."""
        return min(list(self._deaf.values()), default=math.inf)

    def stop(self) -> bool:
        """Let every thread end after its body. → whether none is inside one that was written off."""
        with self._starting:
            self.size = 0
            for _ in self._threads:
                self._queue.put(None)
        return not self._deaf

    def _start(self) -> None:
        there = Latch()
        threading.Thread(target=self._serve, args=(there,), name="taskcore-worker", daemon=True).start()
        there.wait(10)

    def _serve(self, there: Latch) -> None:
        self._threads.append(threading.current_thread())  # by itself: a Ctrl-C may end `_start` at any place
        there.open()
        get, stage, report = self._queue.get, self._stage, self._report
        while True:
            work = get()
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


class Guests:
    """Bodies run on an executor that the user brought; `size` caps how many at a time."""

    ahead = False

    def __init__(
        self, executor: Executor, size: int, stage: Stage, report: Report, broken: Callable[[str], None]
    ) -> None:
        self.size = size
        self.executor = executor
        self._primed = False
        self._inside: set[int] = set()
        self._stage = stage
        self._report = report
        self._broken = broken

    def ready(self) -> None:
        """Have at least one thread or process of the two that start theirs late: after the script's end, 3.12 would
        refuse."""
        if not self._primed and type(self.executor).__module__ in _START_LATE:
            self._primed = True
            with contextlib.suppress(RuntimeError):  # `hand` will say so
                self.executor.submit(_nothing)

    def mark(self, marks: Marks) -> None:
        """Never called: where a body runs is not known here, so all that is claimed counts as begun."""

    def put(self, work: Work, /) -> None:
        self.hand((work,))

    def hand(self, works: Iterable[Work]) -> None:
        for work in works:
            work.began, work.since = self._stage.duration(), monotonic()
            try:
                future = self.executor.submit(_Body(self._stage, work))
                self._inside.add(work.claimed.id)
                future.add_done_callback(lambda future, work=work: self._ended(future, work))  # type: ignore[misc]
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self._inside.discard(work.claimed.id)
                work.stop = "refused"  # a pool that could not start another thread has it queued all the same
                if self._inside:
                    self.size = len(self._inside)
                else:
                    self._broken(f"the executor takes no more: {outcome.message_of(error)}")
                self._report(work, Outcome(*work.claim, verb="give back"))

    def _ended(self, future: Future[Any], work: Work) -> None:
        self._inside.discard(work.claimed.id)
        if not work.win():
            return
        try:
            value = future.result()
            if isinstance(value, _Verdict):
                end = value.end
            elif work.timeout is not None and self._stage.late(work):
                end = outcome.timed_out(work, work.timeout)
            else:
                end = outcome.returned(work, value, self._stage.statuses, self._stage.codec.encode)
        except CancelledError:
            end = Outcome(*work.claim, verb="give back")
        except BrokenExecutor as error:
            self._broken(f"the executor broke: {outcome.message_of(error)}")
            end = Outcome(*work.claim, verb="lapse", error=f"its process died ({outcome.message_of(error)})")
        except BaseException as error:
            end = raised(self._stage, work, error)
        work.took = monotonic() - work.since
        self._report(work, end)

    def take_back(self) -> list[Work]:
        return []

    def write_off(self, work: Work) -> None:
        """Its slot is free for us; what the executor makes of it is the executor's affair."""

    def stop(self) -> bool:
        return True


_START_LATE: Final = ("concurrent.futures.thread", "concurrent.futures.process")  # not imported for the asking


def _nothing() -> None:
    """The first call of a pool."""


class _Verdict:
    """Tells that a body ran in this process, under `perform`."""

    __slots__ = ("end",)

    def __init__(self, end: Outcome) -> None:
        self.end = end


class _Body:
    """What an executor is given. In this process's threads it is the whole thing; pickled, it is a plain call."""

    def __init__(self, stage: Stage, work: Work) -> None:
        self._stage = stage
        self._work = work

    def __call__(self) -> _Verdict:
        return _Verdict(perform(self._stage, self._work))

    def __reduce__(self) -> tuple[Any, ...]:
        fn = self._work.definition.fn
        args, kwargs = self._stage.arguments(self._work.claimed)
        return _Plain, (fn.__module__, fn.__qualname__, args, kwargs)


class _Plain:
    """A function called by module and qualified name, in another process. Only ours ever get there: the name comes from
    a registered definition, never from the file."""

    def __init__(self, module: str, qualname: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._call = module, qualname, args, kwargs

    def __call__(self) -> Any:
        module, qualname, args, kwargs = self._call
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
        return found(*args, **kwargs)

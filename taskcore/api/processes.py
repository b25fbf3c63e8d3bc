"""`Engine(…, processes=4)`: worker processes that open the same file and run its bodies, and who looks after them.

They are spawned as `multiprocessing` spawns: each imports the user's main module anew. A pipe joins each to us; on it
we say which functions our definitions are, and hear which of them are not found there: those run here. All else goes
through the file. A process that dies is started again, unless it does nothing but die.

One thread does all that; what other threads may call says so.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import logging
import os
import signal
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any, Final

from taskcore.api import overtime
from taskcore.api.context import Context
from taskcore.api.importing import NO_GUARD, UNGUARDED, worker_name
from taskcore.api.worker_process import REPLACED, Given, Where, serve
from taskcore.core.clock import monotonic, pause
from taskcore.core.ends import Outcome
from taskcore.core.errors import BadFile, EngineClosed
from taskcore.core.logger import tell
from taskcore.core.options import Definition
from taskcore.core.text import exit_of
from taskcore.runtime.wakeups import Latch
from taskcore.store.busy import Trouble

MOST: Final = 5
"""Deaths in a row of one process after which it is not started again: one more than a task with the default
`max_lapses` can cause."""
UNBORN: Final = 2
"""The same where it does not even come to import what it is to run."""
WELL: Final = 10.0
"""Seconds that a process lives after which its deaths are no longer in a row; the end of a task says so earlier."""
PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
"""Seconds from the second death in a row to the next start, twice as long for each further one; the first is none."""
SHORT_OF: Final = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOBUFS)
"""What a start may fail of and not a little later: descriptors, processes, memory."""
GRACE: float = 2.0
"""Seconds that a body whose time is over, and that was asked to stop, has until its process is given up."""
TICK: Final = 1.0
"""Seconds between looks at what no pipe tells."""


class Place:
    """One of the processes: the one that lives, and how those before it ended."""

    process: Any = None
    pipe: Any = None
    name = ""
    """Its engine's, among the workers of the file."""
    deaths = 0
    """In a row."""
    lost: str | None = None
    """Why it is not started again."""
    waits: str | None = None
    """Why it could not be started yet."""
    ready = False
    """Whether it has imported what it was told of, and runs it."""
    pinged: float | None = None
    """When it was asked for a sign of life (monotonic) that has not come."""
    told = 0
    """The last of our questions before which all that ended there was told of."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.born = self.start_at = 0.0


class Processes:
    """Those of one engine."""

    def __init__(self, context: Context, count: int, given: Given) -> None:
        self.count = count
        self._context = context
        main: Any = sys.modules["__main__"]
        nowhere = getattr(main, "__spec__", None) or getattr(sys, "frozen", False)  # a frozen one runs itself anew
        self._given = given._replace(script=None if nowhere else getattr(main, "__file__", None))
        self._places = [Place(number) for number in range(1, count + 1)]
        self._news: collections.deque[Definition | tuple[Any, ...]] = collections.deque()
        self._question = 0
        self._changes_wanted = False
        self._starting = threading.Lock()  # over the decision to start the thread, and over the number of a question
        self._thread: threading.Thread | None = None
        self._bell: Any = None
        self._stopping = self._over = False
        self._end = Latch()  # not the thread's `join`, which forgets the thread where a Ctrl-C ends it
        self._told: set[str] = set()  # names of which it was said that they run here
        self.here: dict[str, str] = {}
        """Name → why only this process can run it."""

    # -- from any thread --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Have them started. `RuntimeError` where no thread is to be had, `OSError` where no pipe is."""
        with self._starting:
            if self._thread is None and not self._stopping:
                from multiprocessing import Pipe  # slow to import, for those who have processes

                ear, self._bell = Pipe(duplex=False)
                thread = threading.Thread(target=self._run, args=(ear,), name="taskcore-processes", daemon=True)
                thread.start()
                self._thread = thread

    def define(self, definition: Definition) -> None:
        """They run this from now on, or say that they cannot."""
        self._news.append(definition)
        self.here.pop(definition.name, None)
        self._context.scheduler.repertoire.leave(definition.name)
        self._ring()

    def tell_of_changes(self, wanted: bool) -> None:
        """Whether they are to say what they move."""
        if wanted != self._changes_wanted:
            self._changes_wanted = wanted
            self._news.append(("changes", wanted))
            self._ring()

    def hear_all(self, timeout: float) -> None:
        """Until what ended there up to now was told of here, at most so many seconds."""
        if self._thread is None or self._over or threading.current_thread() is self._thread:
            return
        deadline = monotonic() + timeout
        with self._starting:
            self._question = number = self._question + 1
            self._news.append(("tell", number))
        self._ring()
        while any(place.born and place.told < number for place in self._living()) and monotonic() < deadline:
            pause(0.002)

    def stop(self) -> None:
        """Let them come to their end: what runs is asked to stop."""
        with self._starting:
            self._stopping = True
        self._news.append(("close",))
        self._ring()

    def join(self, timeout: float | None) -> None:
        """Wait for their end; after `timeout` s kill those that are left."""
        if self._thread is None or self._over:
            return
        self._end.wait(-1 if timeout is None else timeout)
        if not self._over:
            for place in self._places:
                self._kill(place)
            self._end.wait(TICK)

    def forked(self) -> None:
        """In a child: they are the parent's, and must be able to see its end."""
        from multiprocessing import process

        for place in self._places:
            if place.pipe is not None:
                place.pipe.close()
            getattr(process, "_children", set()).discard(place.process)  # else its end would wait for theirs, and fail

    @property
    def names(self) -> list[str]:
        """Of the engines of those that live."""
        return [place.name for place in self._living()]

    @property
    def ready(self) -> bool:
        """Whether one of them runs bodies."""
        return any(place.ready for place in self._places)

    @property
    def trouble(self) -> str | None:
        """Why there are fewer of them than there should be."""
        lost = [place.lost for place in self._places if place.lost is not None]
        waits = [place.waits for place in self._places if place.waits is not None]
        if not lost + waits:
            return None
        how = f"gone: {lost[0]}" if lost else f"not there: {waits[0]}"
        return f"{len(lost) or len(waits)} of {len(self._places)} worker processes are {how}"

    def _ring(self) -> None:
        if self._bell is not None:
            with contextlib.suppress(OSError):
                self._bell.send_bytes(b"!")

    # -- the thread -------------------------------------------------------------------------------------------------

    def _run(self, ear: Any) -> None:
        if hasattr(signal, "pthread_sigmask"):  # a Ctrl-C before they can hear it is ours to answer: they inherit this
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
        try:
            while not self._stopping or any(self._living()):
                self._look_after(ear)
        except BaseException as error:  # nobody would look after them any more
            tell(logging.ERROR, "%s: the worker processes are given up", self._context.path, exc_info=error)
            for place in self._living():
                self._kill(place)
            self._context.broke(f"the worker processes were given up: {type(error).__name__}: {error}")
        finally:
            self._bell, bell = None, self._bell
            bell.close()
            ear.close()
            self._over = True
            self._end.open()

    def _look_after(self, ear: Any) -> None:
        """Start those that are to be started, pass on what is new, and wait for what one of them says or does."""
        from multiprocessing.connection import wait

        for place in self._places:
            if self._waits_to_start(place) and monotonic() >= place.start_at:
                self._spawn(place)
        while self._news:
            news = self._news.popleft()
            for place in self._living():
                if place.born:  # else it is told when it asks
                    self._tell(place, news) if isinstance(news, Definition) else self._send(place, news)
        things = [thing for place in self._living() for thing in (place.pipe, place.process.sentinel) if thing]
        heard = wait([ear, *things], self._time_left())
        while ear.poll():
            ear.recv_bytes()
        for place in list(self._living()):
            self._hear(place, place.process.sentinel in heard)
        with contextlib.suppress(Trouble, BadFile, EngineClosed):  # whether there are any, the next look tells
            for place in overtime.silent(self._context, self._places):
                self._kill(place)

    def _waits_to_start(self, place: Place) -> bool:
        return place.process is None and place.lost is None and not self._stopping

    def _living(self) -> Iterator[Place]:
        return (place for place in self._places if place.process is not None)

    def _time_left(self) -> float:
        starts = [place.start_at - monotonic() for place in self._places if self._waits_to_start(place)]
        return max(0.0, min([TICK, *starts]))

    def _spawn(self, place: Place) -> None:
        import multiprocessing

        script = self._given.script
        if script is not None and not os.path.exists(script):
            self._lose(place, f"worker processes import the script, and {script} is no file")
            return
        context, theirs = multiprocessing.get_context("spawn"), None
        place.name, place.born = f"{self._context.name}.{place.number}-{os.urandom(2).hex()}", 0.0
        given = self._given._replace(name=place.name, modules=self._modules(), parent=os.getpid(), grace=GRACE)
        try:
            place.pipe, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, given), name=worker_name(place.number))
            process.start()
            place.process, place.waits = process, None
        except Exception as error:
            self._not_started(place, error)
        finally:
            if theirs is not None:
                theirs.close()

    def _not_started(self, place: Place, error: Exception) -> None:
        """It is tried again, if that may help."""
        why = f"no worker process can be started: {type(error).__name__}: {error}"
        if place.pipe is not None:
            place.pipe.close()
            place.pipe = None
        if getattr(error, "errno", None) not in SHORT_OF:
            self._lose(place, why)
            return
        place.start_at = monotonic() + TICK
        if place.waits is None:
            place.waits = f"{why}; it is tried again"
            tell(logging.WARNING, "%s: %s", self._context.path, self.trouble)

    def _modules(self) -> tuple[str, ...]:
        """Where the definitions are, in the order in which they came."""
        found = [getattr(definition.fn, "__module__", None) for definition in self._context.definitions.values()]
        modules = (*self._given.modules, *(module for module in found if module))
        return tuple(module for module in dict.fromkeys(modules) if module != "__main__")

    def _tell(self, place: Place, definition: Definition) -> None:
        """Tell this process of a definition. One that cannot be told of is run here."""
        fn, name, said = definition.fn, definition.name, vars(definition.options)
        module, qualname = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
        if not module or not qualname or isinstance(fn, types.MethodType):  # of an object that is not there
            module, qualname = "__main__", "<nameless>"
        behaviour: dict[str, Any] = {option: said[option] for option in ("backoff", "retry_on") if option in said}
        try:
            self._send(place, ("define", Where(name, module, qualname, behaviour)))
        except Exception as error:
            self._keep(name, f"its backoff or retry_on cannot be passed on ({error})")
            self._send(place, ("drop", name))

    def _send(self, place: Place, message: Any) -> None:
        if place.pipe is not None:
            with contextlib.suppress(OSError):  # it is dead, and its sentinel says so
                place.pipe.send(message)

    def _hear(self, place: Place, ended: bool) -> None:
        """Take what this process says, and see whether it has ended."""
        try:
            while place.pipe is not None and place.pipe.poll():
                self._take(place, *place.pipe.recv())
        except (EOFError, OSError):  # it ends
            place.pipe.close()
            place.pipe = None
        if ended or place.process.exitcode is not None:
            place.process.join(TICK)
            self._bury(place, place.process.exitcode)

    def _take(self, place: Place, what: str, *more: Any) -> None:
        futures = self._context.futures
        match what:
            case "here":
                place.born = monotonic()
                for definition in list(self._context.definitions.values()):
                    self._tell(place, definition)
                self._send(place, ("changes", self._changes_wanted))
                self._send(place, ("tell", self._question))
                self._send(place, ("close",) if self._stopping else ("go",))
            case "ready":
                place.ready = True
            case "ended":
                place.deaths = 0
                futures.told({task: end and Outcome(task, 0, None, *end) for task, end in more[0].items()})
            case "told":
                place.told = max(place.told, more[0])  # a sign of life is asked for by the last that was answered
            case "moved":
                futures.changes.moved_elsewhere(*more)
            case "can":
                self._let_go(more[0])
            case "cannot":
                self._keep(*more)
        place.pinged = None

    def _keep(self, name: str, why: str) -> None:
        """The processes do not find what this name calls: it is run here."""
        if name not in self._context.definitions:
            return
        self.here[name] = why
        self._context.scheduler.repertoire.take_over(name)
        self._context.scheduler.look_again()
        if name not in self._told:
            self._told.add(name)
            tell(logging.WARNING, "%s: task %r runs in this process only: %s", self._context.path, name, why)

    def _let_go(self, name: str) -> None:
        if self.here.pop(name, None) is not None:
            self._context.scheduler.repertoire.leave(name)

    # -- deaths -----------------------------------------------------------------------------------------------------

    def _kill(self, place: Place) -> None:
        with contextlib.suppress(Exception):  # it has ended meanwhile
            place.process.kill()

    def _bury(self, place: Place, code: int | None) -> None:
        lived = monotonic() - place.born if place.born else 0.0
        if place.pipe is not None:
            place.pipe.close()
        with contextlib.suppress(ValueError):
            place.process.close()
        place.process, place.pipe, place.ready, place.pinged = None, None, False, None
        self._context.scheduler.look_again()  # what it had is taken back at once
        if self._stopping:
            return
        if code == UNGUARDED:
            for each in self._places:
                each.lost = NO_GUARD
            self._context.broke(NO_GUARD)
        elif code == REPLACED:
            place.start_at = 0.0
        else:
            place.deaths = 1 if lived >= WELL else place.deaths + 1
            pause = PAUSE * 2 ** (place.deaths - 2) if place.deaths > 1 else 0.0
            place.start_at = monotonic() + min(LONGEST_PAUSE, pause)
            if place.deaths >= (MOST if place.born else UNBORN):
                times = f"{place.deaths} times in a row"
                self._lose(place, f"one ended {times}, at last by {exit_of(code)}, and is not started again")

    def _lose(self, place: Place, why: str) -> None:
        place.lost = why
        if all(each.lost is not None for each in self._places):
            self._context.broke(f"no worker process is left: {why}")
        else:
            tell(logging.WARNING, "%s: %s", self._context.path, self.trouble)

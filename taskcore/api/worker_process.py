"""A worker process, from inside: the engine that it runs, the functions that it finds, and how it ends.

It runs the engine that the user's modules made on the file while it imported them. Where they make none, because that
stands under `if __name__ == "__main__":` or in a notebook, it makes one.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import operator
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import Any, Final, NamedTuple

from taskcore.api import importing, shutdown
from taskcore.core.clock import monotonic
from taskcore.core.logger import show
from taskcore.core.options import Definition, Options

REPLACED: Final = 78
"""The exit code of a process that ended itself because a body does not return: another takes its place."""
GAP: Final = 0.05
"""Seconds from one word about ends to the next."""
SHOWN: Final = 200
"""Characters of a failure's text that are told."""
LAST: Final = 1.0
"""Seconds that bodies have to come back where the process ends without being told to."""
TICK: Final = 0.5
"""Seconds between looks at what no pipe tells: that the parent is gone, or that a body does not return."""


class Given(NamedTuple):
    """What a worker process is told when it is spawned."""

    path: str
    workers: int
    """Threads for bodies."""
    make: Callable[..., Any]
    """Makes an engine, from a path, the number of threads, and settings."""
    settings: Mapping[str, Any]
    name: str = ""
    modules: tuple[str, ...] = ()
    """To be imported before anything runs."""
    script: str | None = None
    """The main module, if it is a file."""
    parent: int = 0
    grace: float = 0.0
    """Seconds that a body whose time is over, and that was asked to stop, has until its process is given up."""
    log: int | None = None
    """The level from which on what taskcore logs is shown, if it was said; INFO: with a line for each end of a task."""


class Where(NamedTuple):
    """How a worker process finds what a definition of its parent's calls."""

    name: str
    module: str
    qualname: str
    behaviour: dict[str, Any]
    """The options that are functions and classes, and so in no file."""


def serve(pipe: Any, given: Given) -> None:
    """What the process does: it runs bodies until it is told to close, or its parent is gone."""
    signal.signal(signal.SIGINT, lambda *_: None)  # a Ctrl-C goes to all of a terminal: the parent answers it
    importing.begin(given.path)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
        os.set_inheritable(pipe.fileno(), False)  # what bodies start must not hold it open
    if given.script is not None and sys.modules["__main__"].__name__ == "__main__":
        # Python forgets in the parent which script it ran as soon as that has come to its end, and the engine goes on.
        from multiprocessing.spawn import import_main_path

        with importing.modules():
            import_main_path(given.script)
    for module in given.modules:
        with importing.modules(), contextlib.suppress(ImportError):  # what it defines is not found then
            importlib.import_module(module)
    worker = _Worker(pipe, given, _engine(given))
    code = worker.obey()
    worker.lifetime.leave()
    worker.lifetime.close(LAST if code is not None else None)
    if code != 0:  # else nobody is left to hear it
        worker.tell()
    if code is not None:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # a body that does not return does not hold it up


def _engine(given: Given) -> Any:
    """The engine to run, as its `Submissions`."""
    mine = None
    for engine, meant in sorted(importing.made, key=lambda made: not made[1]):
        context = engine.context
        if mine is None and os.path.realpath(context.path) == os.path.realpath(given.path):
            mine = engine
        elif not meant:
            context.awake(context.scheduler.custody.crew.size)
            shutdown.watch(engine.lifetime, None)
    importing.made.clear()
    if mine is None:
        mine = given.make(given.path, given.workers, **given.settings)
    mine.context.name = mine.context.scheduler.presence.name = given.name
    mine.context.awake(given.workers)
    shutdown.watch(mine.lifetime, None)
    return mine


class _Worker:
    """The engine of this process, and the pipe to the parent."""

    def __init__(self, pipe: Any, given: Given, engine: Any) -> None:
        self._pipe = pipe
        self._parent, self._grace = given.parent, given.grace
        self._saying = threading.Lock()  # over one message
        self._ends: deque[Mapping[int, Any]] = deque()  # that were committed and not told
        self._ear, self._bell = Pipe(duplex=False)
        self._rung = False
        self._asked = False  # no `Event`: a signal that comes while another sets it would wait for its lock for ever
        self._engine = engine  # an engine that nobody holds is closed
        self._context, self.lifetime = engine.context, engine.lifetime
        if given.log is not None:
            show(given.log)
        engine.futures.tell = self._ended
        signal.signal(signal.SIGTERM, self._leave)

    def _leave(self, *_: object) -> None:
        """Somebody ends this process alone, in good order."""
        if not self._asked:
            self._asked = True
            self.lifetime.leave()

    def _say(self, *message: Any) -> None:
        with self._saying, contextlib.suppress(OSError):  # the parent is gone, and that is seen where it is heard
            self._pipe.send(message)

    def _ended(self, ends: Mapping[int, Any]) -> None:
        """Tasks ended here. No turn waits for the parent to read of it, so the thread that obeys tells it."""
        self._ends.append(dict(ends))
        if not self._rung:
            self._rung = True
            self._bell.send_bytes(b"!")

    def tell(self) -> None:
        """Tell the parent of what ended here, and by that, that this process is well."""
        ends: dict[int, Any] = {}
        for _ in range(len(self._ends)):
            for task, end in self._ends.popleft().items():
                ends[task] = end and (end.label, end.verb, end.error_type, end.error and end.error[:SHOWN])
        if ends:
            self._say("ended", ends)

    def _listen(self) -> Any:
        """→ what the parent says, if it says anything within some time. Ends are told meanwhile."""
        if self._ear in wait([self._pipe, self._ear], TICK):
            self._ear.recv_bytes()
            self._rung = False  # before they are told: what comes from now on rings again
            self.tell()
            self._pipe.poll(GAP)
        return self._pipe.recv() if self._pipe.poll(0) else None

    def obey(self) -> int | None:
        """Do as the parent says. → the code to exit with, in a moment; `None` if the end may be waited for."""
        self._say("here")
        crew = self._context.scheduler.custody.crew
        while not self._asked:
            try:
                told = self._listen()
            except (EOFError, OSError):
                return 0
            match told:
                case "define", where:
                    self._say(*self._define(where))
                case "drop", name:
                    self._context.scheduler.repertoire.leave(name)
                case ("go",):
                    self.lifetime.start()
                    self._say("ready")
                case "tell", number:
                    self.tell()
                    self._say("told", number)
                case "changes", wanted:
                    say = functools.partial(self._say, "moved")
                    self._engine.futures.changes.tell_parent(say if wanted else None)
                case ("close",):
                    return None
            if hasattr(os, "getppid") and os.getppid() != self._parent:  # a fork of it may hold the pipe open
                return 0
            if crew.deaf_since < monotonic() - self._grace:
                return REPLACED
        return None

    def _define(self, where: Where) -> tuple[Any, ...]:
        """Run what the parent defined. → what to tell it."""
        context, name = self._context, where.name
        repertoire = context.scheduler.repertoire
        try:
            with importing.modules():
                found = _found(where)
        except Exception as error:
            repertoire.leave(name)
            return "cannot", name, f"worker processes do not find {where.module}.{where.qualname}: {error}"
        own = context.definitions.get(name)
        if own is None or _place(own.fn) != (where.module, where.qualname):  # else its module defined it here, too
            options = getattr(found, "_options", None) or Options().replaced(where.behaviour)
            context.define(Definition(name, getattr(found, "_fn", found), options))
        repertoire.take_over(name)
        context.scheduler.look_again()
        return "can", name


def _found(where: Where) -> Any:
    """A function, or what `engine.task` made of it, by module and name: these come from the code of the parent."""
    if "<" in where.qualname:
        raise LookupError("it is not defined at the top of a module")
    found = operator.attrgetter(where.qualname)(importlib.import_module(where.module))
    fn = getattr(found, "_fn", found)
    if not callable(fn) or _place(fn) != (where.module, where.qualname):
        raise LookupError("something else is there")
    return found


def _place(fn: Any) -> tuple[Any, Any]:
    module = getattr(fn, "__module__", None)
    return "__main__" if module == "__mp_main__" else module, getattr(fn, "__qualname__", None)

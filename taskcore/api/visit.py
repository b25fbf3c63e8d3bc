"""A body that an executor runs in another process than its engine's: what is sent there, how it finds its file and its
task there, and what it sends back.

On the engine's machine it opens the file itself, once a process. Whatever it writes there shows the token of its claim:
once that is no longer held, nothing of it is written.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import threading
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

from taskcore.api.context import Context
from taskcore.api.places import find, unfindable
from taskcore.api.transaction import Database, transaction
from taskcore.body import logs
from taskcore.body.runner import perform
from taskcore.body.work import House, Stage, Work
from taskcore.codec.json import JSON, Codec
from taskcore.core.clock import SystemClock, monotonic
from taskcore.core.ends import Abort, Retry
from taskcore.core.options import Definition, Options
from taskcore.runtime import notes
from taskcore.runtime.guests import Answer, named_all
from taskcore.store import identity, steps, workers
from taskcore.store.cache import Kind
from taskcore.store.claims import Claimed
from taskcore.store.connection import File
from taskcore.store.steps import Notes
from taskcore.store.together import Together

EVERY: Final = 0.05
"""Seconds from one look into the file whether a body was asked to stop to the next."""


class Home(NamedTuple):
    """The engine, as far as its bodies in other processes know it."""

    path: str
    found: identity.Found
    """The file that is there, of the engine; `None` for one in memory."""
    machine: str
    full: bool
    allow_network: bool
    codec: Codec | None
    """`None`: the usual one."""
    statuses: dict[str, str]

    def unreachable(self) -> str | None:
        """Why the file cannot be reached from this process."""
        if self.found is None:
            return f"{self.path} is not a file: a body in another process than its engine's has no current()"
        if self.machine != identity.machine():
            here, there = identity.machine().split()[0], self.machine.split()[0]
            return f"this body runs on another machine ({here}) than its engine ({there}): current() works there only"
        if identity.find(self.path) != self.found:
            return f"this body runs where {self.path} is not its engine's file: it has no current()"
        return None


class Call(NamedTuple):
    """One task, on its way."""

    claimed: Claimed
    kind: Kind
    module: str
    qualname: str
    saved: str | None
    """What its body saved before, as text."""
    wrong: str | None
    """Why its function would not be found."""


class Sender:
    """Makes of works what a pickler takes."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __call__(self, works: Sequence[Work]) -> tuple[Any, ...]:
        context = self._context
        file = context.file
        found = None if file.in_memory else identity.find(file.path)
        codec = None if context.codec is JSON else context.codec
        home = Home(file.path, found, identity.machine(), *file.how, codec, dict(file.known.statuses))
        return visit, home, [self._call(work) for work in works]

    def _call(self, work: Work) -> Call:
        claimed, fn = work.claimed, work.definition.fn
        saved = self._context.file.read(steps.saved, claimed.id) if claimed.saved else None
        module, qualname = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
        wrong = unfindable(fn, self._context.scheduler.custody.crew.has_main)
        claimed = claimed._replace(behind=None)  # a cluster may run the call twice: the second reads what the first did
        return Call(claimed, work.kind, str(module), str(qualname), saved, wrong)


def visit(home: Home, calls: Sequence[Call]) -> list[Answer]:
    """Run these bodies here, one after the other."""
    logs.listen()
    unreachable = home.unreachable()
    return [_run(home, unreachable, call) for call in calls]


def _run(home: Home, unreachable: str | None, call: Call) -> Answer:
    def body(*args: Any, **kwargs: Any) -> Any:
        if call.wrong is not None:
            raise Abort(f"the function is not found where the executor runs it: {call.wrong}")
        return find(call.module, call.qualname)(*args, **kwargs)

    # What is tried again the engine says, by the functions and classes of its own newest definition.
    options = Options().replaced({"retry_on": ()})
    work = Work(call.claimed, call.kind, Definition(call.kind.name, body, options))
    stay = Stay(home, unreachable, work)
    if call.saved is not None:
        before = stay.codec.decode(call.saved)
        work.saved = before if isinstance(before, dict) else {}
    end = perform(stay, work)
    error, classes = end.raised, None
    said = isinstance(error, Abort) or (isinstance(error, Retry) and error.delay is not None)
    if error is not None and error is not work.broken and not said:
        classes = named_all(error)
    return Answer(end._replace(raised=None), classes, work.took, stay.rest())


class Stay(Stage):
    """One body's. Its file is opened when it is needed first. Of a house such a body has transactions, and no
    children."""

    def __init__(self, home: Home, unreachable: str | None, work: Work) -> None:
        self._home, self._work = home, work
        self.codec = home.codec or JSON
        self.now, self.duration = SystemClock.now, monotonic
        self.elsewhere, self.unreachable = home.path, unreachable
        self.house = cast(House, self)
        self.expecting: dict[int, Any] = {}
        self.noted = self._noted
        self._looked = 0.0
        self._showing = threading.Lock()  # over taking what is to be shown until it is written
        self._timer: threading.Timer | None = None
        self._unshown: list[Notes] = []

    @functools.cached_property
    def file(self) -> File:  # type: ignore[override]
        return _opened(self._home)

    @functools.cached_property
    def together(self) -> Together:  # type: ignore[override]
        return Together(self.file)

    @property
    def statuses(self) -> dict[str, str]:
        return self._home.statuses

    def transaction(self) -> contextlib.AbstractContextManager[Database]:
        return transaction(self.file, SystemClock(), lambda _: None)

    def asked_to_stop(self, work: Work) -> bool:
        """By the row, looked at now and then: nobody else can tell it here."""
        if work.stop is None and monotonic() >= self._looked + EVERY:
            self._looked = monotonic()
            if not self.file.read(steps.holds, *work.claim):
                work.stop = "its claim has ended"
            elif any(cancel for _, cancel in self.file.read(workers.asked, [work.claimed.id])):
                work.stop = "cancel"
        return work.stop is not None

    # -- what is shown: there is no loop here that would write it ---------------------------------------------------

    def _noted(self, _: Work) -> None:
        if self._timer is None:
            timer = self._timer = threading.Timer(notes.SOON, self._show)
            with contextlib.suppress(RuntimeError):  # no thread is to be had: it goes with the answer
                timer.start()

    def _show(self) -> None:
        with self._showing:
            self._timer = None  # before it is taken: what comes from now on is shown by another
            taken = self._work.take_notes()
            if taken is None:
                return
            try:
                self.file.write(notes.write, [taken], self.now())
            except Exception:  # a disk that is full, a file that is locked: it goes with the answer
                self._unshown.append(_settled(taken))

    def rest(self) -> list[Notes]:
        """Once the body has ended: what is not in the file yet."""
        if self._timer is not None:
            self._timer.cancel()
        with self._showing:
            taken = self._work.take_notes()
            return [*self._unshown, *([] if taken is None else [_settled(taken)])]


def _settled(taken: Notes) -> Notes:
    """The same with the values themselves, as they are now."""
    columns = {name: value() if callable(value) else value for name, value in taken.columns.items()}
    return taken._replace(columns=columns)


_files: Final[dict[tuple[int, str, identity.Found], File]] = {}
"""By process, path and what was found there: a child that forked has none of its parent's."""


def _opened(home: Home) -> File:
    key = os.getpid(), home.path, home.found
    file = _files.get(key)
    if file is None:
        if not _files:
            atexit.register(_close_all)
        for old in list(_files):
            if old[0] != key[0] or identity.find(old[1]) != old[2]:  # the parent's, or one that is gone
                gone = _files.pop(old, None)
                if gone is not None and old[0] == key[0]:
                    gone.close(0.0)
        file = File(home.path, full=home.full, statuses={}, allow_network=home.allow_network)
        kept = _files.setdefault(key, file)  # two threads may have come to this
        if kept is not file:
            file.close()
        file = kept
    return file


def _close_all() -> None:
    for (process, *_), file in list(_files.items()):
        if process == os.getpid():
            file.close(0.0)

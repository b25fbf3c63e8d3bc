"""What the parts of one engine share: its file, its clock, its codec, and the few things that are done with them."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from taskcore.api import importing
from taskcore.body.work import Stage, current_task
from taskcore.codec.json import Codec
from taskcore.core.clock import Clock
from taskcore.core.errors import BadFile, EngineClosed, TaskNotFound
from taskcore.core.id_ranges import Spans
from taskcore.core.logger import tell
from taskcore.core.options import GREATEST, Definition
from taskcore.runtime.callbacks import Callbacks
from taskcore.runtime.loop import Loop
from taskcore.runtime.scheduler import Scheduler
from taskcore.store import counts, queries
from taskcore.store.connection import File
from taskcore.store.process_locks import Lanes
from taskcore.store.transaction import Transaction

if TYPE_CHECKING:
    from taskcore.core.model import Task

P = ParamSpec("P")
R = TypeVar("R")


class Handle:
    """What stands for a stored task in this process; `TaskFuture` is the only kind."""

    id: int
    _context: Context
    _lost: bool
    """Whether the transaction it was submitted in was rolled back: its id may be another task's by now."""


class Futures(Protocol):
    """The register of handles, as the handles see it."""

    def join(self, future: Any) -> threading.Condition: ...
    def wait(self, future: Any, timeout: float | None) -> None: ...
    def settle(self, future: Any) -> bool: ...
    def refresh(self, future: Any) -> None: ...
    def handle(self, task_id: int) -> Any: ...
    def told(self, ends: Mapping[int, Any]) -> None: ...

    changes: Any


_contexts: Final[list[weakref.ref[Context]]] = []
"""Of all engines of this process. A list is added to, and copied, in one step for the interpreter."""


class Context:
    """One engine's. Made by `Engine`, and handed to whatever it gives out; may be used from any thread."""

    callbacks: Callbacks
    futures: Futures
    loop: Loop
    scheduler: Scheduler
    start: Callable[[], None]
    """Claim from now on; `EngineClosed`."""
    submitter: Callable[[], Any]
    """What the engine and all that can submit to it hold, and by that keep it open; `None` once nobody does. Handles
    hold it too until their task's end is known here."""
    processes: Any = None
    """The worker processes of this engine: `processes.Processes`."""
    must_run: Callable[[], None]
    """Likewise, if it could not be done before; `EngineClosed` where it still cannot."""
    broke: Callable[[str], None]
    """No body can run here any more, and why."""

    def __init__(
        self, path: str, name: str, file: File, codec: Codec, clock: Clock, stage: Stage, lanes: Lanes | None, *,
        lease: float, workers: int, keep: float | None,
    ) -> None:  # fmt: skip
        self.path = path
        self.name = name
        """The engine's name among the workers of the file."""
        self.file = file
        self.codec = codec
        self.clock = clock
        self.now = clock.now
        self.stage = stage
        self.lanes = lanes
        self.lease = lease
        self.workers = workers
        self.keep = keep
        """Seconds that ended tasks stay; `None`: for ever."""
        self.definitions: dict[str, Definition] = {}
        """What this process runs, by name."""
        self.elsewhere: dict[str, Definition] = {}
        """What it says of names that are run elsewhere."""
        self.spans = Spans()
        """The ids of the tasks that this engine submitted."""
        self.closed = self.refusing = False
        """Whether it has ended; whether it takes no more tasks."""
        self.pages: list[Any] = []
        """What is served of this engine, and ends with it: `close()` of each is called once, and waits for nobody."""
        self.asleep = False
        """Whether it was made while a worker process imported the module that makes it: it runs nothing, or, where its
        bodies run on an executor, nothing until that is imported."""
        self._where: object = self if file.in_memory else os.path.realpath(path)
        _contexts.append(weakref.ref(self, _contexts.remove))

    def write(self, work: Callable[Concatenate[Transaction, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `work(tx, …)` in one transaction, or as a part of the one that the calling thread has open."""
        return self.file.write(work, *args, **kwargs)

    def read(self, work: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `work(connection, …)`, which only reads. What running bodies have to show is written first."""
        if self.file.current is not None:
            self.file.current.births.flush()
        elif self.scheduler.display and not self.file.held_up:
            self.scheduler.display.show()
        return self.file.read(work, *args, **kwargs)

    def look(self, work: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """`read` for what may take long or comes often: on a connection of its own, so that no submit and no turn waits
        for it."""
        if not self.file.apart:
            return self.read(work, *args, **kwargs)
        if self.scheduler.display and not self.file.held_up:
            self.scheduler.display.show()
        self.file.check_identity()
        return self.file.reader.read(work, *args, **kwargs)

    def peek(self, work: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R | None:
        """The same of what is committed, for a `repr`, which is asked for in the middle of anything: nothing is written
        before, and `None` where it cannot be read now."""
        if self.closed or self.file.current is not None:
            return None
        try:
            return (self.file.reader if self.file.apart else self.file).read(work, *args, **kwargs)
        except Exception:
            return None

    def counts(self, where: queries.Where) -> dict[str, int]:
        """Status → number, of the tasks that match."""
        return self._counted(counts.counts, where)

    def by_phase(self, where: queries.Where) -> dict[tuple[str, str], int]:
        """(phase, status) → number, of the tasks that match."""
        return self._counted(counts.by_phase, where)

    def count(self, where: queries.Where) -> int:
        """How many tasks match."""
        return self._counted(counts.count, where)

    def by_name(self, where: queries.Where = queries.SEEN) -> dict[str, dict[tuple[str, str], int]]:
        """Name → (phase, status) → number, of the tasks that match."""
        return self._counted(counts.by_name, where)

    def _counted(self, read: Callable[[Any, queries.Where], R], where: queries.Where) -> R:
        self._keep_counts(where)
        return self.look(read, where)

    def _keep_counts(self, where: queries.Where) -> None:
        """Count what can be kept of what answers this, so that it need not be read the next time."""
        if not self.file.apart or self.file.read_only or self.closed:
            return
        pieces, sign = self.look(counts.open_pieces, where), -int.from_bytes(os.urandom(6), "big") - 1
        for start in range(0, len(pieces), counts.AT_ONCE):
            some = pieces[start : start + counts.AT_ONCE]
            if not self.file.read(counts.mark, self.file.known, some, sign):
                return
            if not self.file.read(counts.keep, where, some, sign, self.look(counts.tally, where, some)):
                return

    def close_pages(self) -> None:
        while self.pages:
            self.pages.pop().close()

    def id_of(self, task: Any) -> int:
        """The id of a task given by handle, row or id. `TypeError`, `ValueError` for another file's, `TaskNotFound`."""
        if isinstance(task, Handle):
            if task._context is not self and task._context.path != self.path:
                raise ValueError(f"{task!r} is a task of {task._context.path}, not of {self.path}")
            if task._lost:
                raise TaskNotFound(task.id)
            return task.id
        if isinstance(task, bool) or not isinstance(task, int):
            from taskcore.core.model import Task  # slow to import, and seldom needed

            if isinstance(task, Task):
                return task.id
            raise TypeError(f"a task is given by handle or id, not {task!r}")
        if abs(task) > GREATEST:  # no file has it, and SQLite could not even be asked
            raise TaskNotFound(task)
        return task

    def task(self, task_id: int) -> Task:
        """Its row, read now. `TaskNotFound`."""
        found = self.read(queries.rows, [task_id])
        if not found:
            raise TaskNotFound(task_id)
        return self.row(found[0])

    def row(self, row: queries.Row) -> Task:
        """A row as a value. `BadFile` where a damaged file has in it what can be none."""
        return next(self.rows([row]))

    def rows(self, found: Iterable[queries.Row]) -> Iterator[Task]:
        """`row` for many."""
        from taskcore.store import rows

        for row in found:
            try:
                task = rows.task_of(row, self.codec)
            except (TypeError, ValueError) as error:
                raise BadFile(self.path, f"the row of task #{row[0][0]} cannot be read ({error})") from error
            yield task

    def operate(
        self, where: queries.Where, verb: Callable[Concatenate[Transaction, Collection[int], P], int],
        *args: P.args, **kwargs: P.kwargs,
    ) -> int:  # fmt: skip
        """A verb for all that match, found and moved in one transaction. → how many it moved."""
        return self.write(lambda tx: verb(tx, queries.ids(tx, where), *args, **kwargs))

    def definition_of(self, name: str) -> Definition:
        """What this process says of a name: what it runs under it, or that it is run elsewhere."""
        return self.definitions.get(name) or self.elsewhere.get(name) or Definition(name)

    def define(self, definition: Definition) -> None:
        """This engine runs what the definition says. The newest of a name in this process wins: other engines on the
        same file that run the name, such as one that a notebook's cell made before, run it too."""
        name, fn, before = definition.name, definition.fn, None
        for context in [reference() for reference in tuple(_contexts)]:
            if context is self or (context is not None and name in context.definitions and context._goes_with(self)):
                before = context.definitions.get(name, before)
                context.definitions[name] = definition
                if context.processes is not None:
                    context.processes.define(definition)
                if not context.closed and context.scheduler.claiming:
                    context.scheduler.look_again()
        if before is not None and before.fn is not fn and not _same_place(before.fn, fn):
            text = "%s: task %r was %s and is now %s, which runs all tasks of that name"
            tell(logging.WARNING, text, self.path, name, _place(before.fn), _place(fn))

    def _goes_with(self, other: Context) -> bool:
        """Whether what the other one defines is run here too: both are engines on one file, and bodies run here in
        threads of this process. (One that runs them in the caller's thread, as in tests, stands for a process of its
        own.)"""
        threads = self.scheduler.custody.crew.here and self.loop.background
        return self._where == other._where and bool(threads) and other.loop.background

    def running_body(self) -> int | None:
        """The id of the task whose body calls, if it is one of this engine's."""
        return current_task(self.file)

    def awake(self, workers: int) -> None:
        """It is what this process runs, or not one of those that do not matter here: it has so many threads."""
        self.asleep, self.workers = False, workers
        self.scheduler.custody.crew.size = workers

    def guard(self) -> None:
        """Before anything is stored, run or ended: a module that is imported does nothing of it."""
        if self.asleep:
            importing.guard()

    def may_submit(self) -> None:
        """`EngineClosed` if no more tasks are taken; bodies that run go on as before."""
        self.guard()
        if self.refusing and (self.closed or self.running_body() is None):
            raise EngineClosed(self.path, "the engine takes no more tasks")


def context_of(thing: Any) -> Context:
    """What an engine is made of: for the rooms above, which show what it gives out. `thing`: the engine, a selection, a
    handle."""
    its: Context = thing._context
    return its


def _same_place(one: Any, other: Any) -> bool:
    """Whether two functions are one that was run again, with a notebook's cell or a module."""
    if getattr(one, "__qualname__", one) != getattr(other, "__qualname__", other):
        return False
    if getattr(one, "__self__", None) is not getattr(other, "__self__", None):  # methods of two objects
        return False
    return getattr(one, "__module__", None) == getattr(other, "__module__", "") or _file(one) == _file(other)


def _file(fn: Any) -> str | None:
    return getattr(getattr(fn, "__code__", None), "co_filename", None)


def _place(fn: Any) -> str:
    line = getattr(getattr(fn, "__code__", None), "co_firstlineno", "?")
    return f"{getattr(fn, '__qualname__', repr(fn))} ({_file(fn) or 'no file'}, line {line})"

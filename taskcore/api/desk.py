"""An engine as a desk: looking at the tasks of its file and moving them. Nothing runs here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from taskcore.api import settings
from taskcore.api.claim import Claim, find, take
from taskcore.api.future import TaskFuture
from taskcore.api.selection import Selection
from taskcore.body.runner import Stage
from taskcore.codec.json import Codec
from taskcore.core.clock import Clock
from taskcore.core.errors import InvalidTransition, TaskNotFound
from taskcore.core.model import Finding, Task
from taskcore.core.options import Definition, Options
from taskcore.core.options import text as checked_text
from taskcore.store import capacity, operations, queries
from taskcore.store.connection import File, Transaction
from taskcore.store.process_locks import Lanes

if TYPE_CHECKING:
    from taskcore.api.futures import Register
    from taskcore.runtime.scheduler import Scheduler

P = ParamSpec("P")
R = TypeVar("R")


class Desk:
    """What `Engine` offers of its file, whether it runs anything or not."""

    path: str
    name: str
    _file: File
    _lanes: Lanes | None
    _stage: Stage
    _clock: Clock
    _codec: Codec
    _lease: float
    _keep: float | None
    _definitions: dict[str, Definition]
    _elsewhere: dict[str, Definition]
    _futures: Register
    _scheduler: Scheduler

    # -- looking ----------------------------------------------------------------------------------------------------

    @property
    def tasks(self) -> Selection:
        """All tasks of the file."""
        return Selection(self)

    def future(self, task_id: int | Task) -> TaskFuture:
        """The handle of a stored task, given by its id or a row of it. `TaskNotFound`."""
        found = self._id_of(task_id)
        self._task(found)
        return self._futures.handle(found)

    def _task(self, task_id: int) -> Task:
        found = self._read(queries.rows, [task_id])
        if not found:
            raise TaskNotFound(task_id)
        return queries.task_of(found[0], self._codec)

    def _id_of(self, task: Any) -> int:
        """The id of a task given by handle or id."""
        if isinstance(task, TaskFuture):
            if task._engine is not self and task._engine.path != self.path:
                raise ValueError(f"{task!r} is a task of {task._engine.path}, not of {self.path}")
            if task._lost:
                raise TaskNotFound(task.id)
            return task.id
        if isinstance(task, Task):
            return task.id
        if isinstance(task, bool) or not isinstance(task, int):
            raise TypeError(f"a task is given by handle or id, not {task!r}")
        return task

    # -- claiming from outside --------------------------------------------------------------------------------------

    def claim(self, *names: str, n: int = 1, lease: float | None = None, worker: str | None = None) -> list[Claim]:
        """Take up to `n` ready tasks of these names (none: of any) to work on outside the scheduler.

        The lease ends by time only: report, or extend, before it does. Never raises because there is nothing.
        """
        return take(self, names, n, lease, worker)

    def claimed(self, token: str) -> Claim:
        """The claim with this token, made in another request or process. `LeaseLost` if it is no longer held."""
        return find(self, token)

    def pause(self, *names: str) -> None:
        """Hold these names, or with none the whole file: running bodies finish, nothing of it is claimed, in any
        process, until `resume` of the same."""
        self._write(capacity.hold, [checked_text("a name", name) for name in names])
        self._scheduler.recall()

    def resume(self, *names: str) -> None:
        """Let go what `pause` of the same holds."""
        self._write(capacity.let_go, [checked_text("a name", name) for name in names])

    # -- keeping the file -------------------------------------------------------------------------------------------

    def prune(self, older_than: float | str | None = None) -> int:
        """Delete the tasks that ended longer ago than this ("30d", seconds, 0: all that ended; default: `keep`), but
        none that something unfinished depends on, nor the child of an unfinished parent. The file gets smaller. → how
        many.

        Short commits: others go on meanwhile. `ValueError` where neither this nor `keep` says how old.
        """
        age = self._keep if older_than is None else settings.period_of(older_than, "older_than")
        if age is None:
            raise ValueError("prune(older_than=…) says how long ago: this engine keeps ended tasks for ever")
        from taskcore.runtime.pruner import prune_now  # slow to import, for those who prune

        return prune_now(self._file, self._clock.now() - age)

    def check(self) -> list[Finding]:
        """What is wrong with the file, each with its mend; an empty list if nothing is. Changes nothing.

        Reads the whole file several times: some ten seconds for a million tasks, in which this engine does little else.
        """
        from taskcore.store.findings import findings

        return findings(self._read)

    # -- for this package -------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._clock.now()

    def _statuses(self) -> Mapping[str, str]:
        return self._file.known.statuses

    def _write(self, work: Callable[Concatenate[Transaction, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        return self._file.write(work, *args, **kwargs)

    def _read(self, work: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        if self._file.current is not None:
            self._file.current.births.flush()
        elif self._scheduler.display:
            self._scheduler.display.show()
        return self._file.read(work, *args, **kwargs)

    def _outcomes(self, task_ids: list[int]) -> dict[int, tuple[Any, ...]]:
        return self._read(queries.outcomes, task_ids)

    def _operate(
        self, where: queries.Where, verb: Callable[Concatenate[Transaction, list[int], P], int], *args: P.args, **kw:
        P.kwargs
    ) -> int:
        """A verb for all that match, found and moved in one transaction."""

        def work(tx: Transaction) -> int:
            return verb(tx, queries.ids(tx, where), *args, **kw)

        moved = self._write(work)
        if verb is operations.set_priority and moved:
            self._scheduler.recall()
        return moved

    def _rerun(self, future: TaskFuture, downstream: bool) -> TaskFuture:
        task_id = self._id_of(future)
        if not future._resolved and self._file.current is None:
            self._futures.settle(future)
        phase = self._task(task_id).phase
        if not self._write(operations.rerun, [task_id], self._now(), downstream=downstream):
            raise InvalidTransition(task_id, phase, "rerun")
        return self._futures.handle(task_id)

    def _depend(self, future: TaskFuture, other: Any, on: str, otherwise: str) -> None:
        checked = Options().replaced({"on": on, "otherwise": otherwise})
        upstream = self._id_of(other)
        self._write(operations.depend, self._id_of(future), upstream, checked.on, checked.otherwise, self._now())

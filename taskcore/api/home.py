"""What a body gets from its engine: the other side of `run.House`."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from taskcore.api.future import TaskFuture
from taskcore.store import queries

if TYPE_CHECKING:
    from taskcore.api.engine import Engine
    from taskcore.body.context import Run


class Home:
    """One engine's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.expecting = engine._futures.expecting

    def transaction(self) -> contextlib.AbstractContextManager[Any]:
        return self._engine.transaction()

    def gather(self, fn: Any, calls: list[tuple[Any, ...]], run: Run) -> tuple[list[TaskFuture], bool]:
        return self._engine._intake.gather(fn, calls, run)

    def id_of(self, future: Any) -> int:
        if not isinstance(future, TaskFuture):
            raise TypeError(f"a body waits for handles of tasks, not for {future!r}")
        return self._engine._id_of(future)

    def settled(self, futures: Sequence[TaskFuture], parent: int) -> list[int]:
        register = self._engine._futures
        register.settle_all(futures)
        missing = list(dict.fromkeys(future.id for future in futures if not future._resolved))
        if missing:
            self.expect(parent, futures)
        return missing

    def expect(self, parent: int, futures: Sequence[TaskFuture]) -> None:
        self._engine._futures.expect(parent, futures)

    def are_children(self, task_ids: Sequence[int], parent: int) -> bool:
        return self._engine._read(queries.are_children, task_ids, parent)

    def forget(self, task_id: int) -> None:
        self._engine._futures.forget(task_id)

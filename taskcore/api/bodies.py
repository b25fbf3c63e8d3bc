"""What a body gets from its engine: the other side of `body.work.House`."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from taskcore.api.context import Context
from taskcore.api.future import TaskFuture
from taskcore.api.futures import Register
from taskcore.api.submission import Submissions
from taskcore.api.transaction import TransactionScope
from taskcore.store import queries


class Bodies:
    """One engine's."""

    def __init__(self, context: Context, futures: Register, submissions: Submissions) -> None:
        self._context = context
        self._futures = futures
        self.expecting = futures.expecting
        self.gather = submissions.gather
        self._after_block = submissions.after_block

    def transaction(self) -> contextlib.AbstractContextManager[Any]:
        return TransactionScope(self._context.file, self._context.clock, self._after_block)

    def id_of(self, future: Any) -> int:
        if not isinstance(future, TaskFuture):
            raise TypeError(f"a body waits for handles of tasks, not for {future!r}")
        return self._context.id_of(future)

    def settled(self, futures: Sequence[TaskFuture], parent: int) -> list[int]:
        register = self._futures
        register.settle_all(futures)
        missing = list(dict.fromkeys(future.id for future in futures if not future._resolved))
        if missing:
            self.expect(parent, [future.id for future in futures])
            self._futures.keep_errors_of(futures)
        return missing

    def expect(self, parent: int, children: Sequence[int]) -> None:
        self._futures.expect(parent, children)

    def results(self, children: Sequence[int]) -> list[str] | None:
        """Their texts, in order, if all succeeded, none gave much and they were made in a row: children of a gather."""
        first, last = min(children), max(children)
        if last - first >= 2 * len(children):
            return None
        texts = dict(self._context.read(queries.short_results, first, last))
        given = [text for text in map(texts.get, children) if text is not None]
        return given if len(given) == len(children) else None

    def handles(self, children: Sequence[int]) -> list[TaskFuture]:
        return [self._futures.handle(child) for child in children]

    def are_children(self, task_ids: Sequence[int], parent: int) -> bool:
        return self._context.read(queries.are_children, task_ids, parent)

    def forget(self, task_id: int) -> None:
        self._futures.forget(task_id)

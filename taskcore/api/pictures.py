"""Which tasks a picture shows, and what is read of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from taskcore.api.context import Context
from taskcore.api.selection import Selection
from taskcore.core import lifecycle
from taskcore.core.model import Task
from taskcore.store import pictures, queries
from taskcore.store.pictures import EDGES, FAMILY, MOST, Edge, Failure, Node, Past, Tally

__all__ = ["EDGES", "Edge", "Failure", "Node", "Past", "Subject", "Tally", "subject"]


class Subject(NamedTuple):
    """What a picture is of. Its reads are of the moment in which each is made."""

    context: Context
    chosen: Selection
    """All of it."""
    nodes: list[Node]
    """The newest of it, ascending."""
    total: int
    """How many there are in all."""
    root: Task | None
    """The job, or other task, that was asked for."""

    @property
    def ids(self) -> list[int]:
        return [node.id for node in self.nodes]

    @property
    def now(self) -> float:
        return self.context.now()

    def edges(self) -> list[Edge]:
        return self.context.look(pictures.edges, self.ids, EDGES)

    def joins(self) -> list[tuple[int, int]]:
        return self.context.look(pictures.joins, [node.id for node in self.nodes if node.phase == "suspended"], EDGES)

    def attempts(self) -> list[Past]:
        return self.context.look(pictures.attempts, self.ids, EDGES)

    def said(self, ids: list[int]) -> dict[int, tuple[str | None, str | None, float | None]]:
        return self.context.look(pictures.said, ids)

    def tallies(self) -> list[Tally]:
        return self.context.look(pictures.tallies, self.chosen._where)

    def failures(self, most: int) -> list[tuple[Failure, str | None]]:
        """Each with the traceback of the newest."""
        found = self.context.look(pictures.failures, self.chosen._where, most)
        outcomes = self.context.outcomes([failure.newest for failure in found])
        return [(failure, outcomes.get(failure.newest, (None,))[-1]) for failure in found]

    @property
    def words(self) -> str:
        """"500 tasks", or "the newest 50,000 of 1,000,000 tasks"."""
        n = f"{self.total:,} task{'' if self.total == 1 else 's'}"
        return n if len(self.nodes) == self.total else f"the newest {len(self.nodes):,} of {n}"


def subject(engine: Any, tasks: Any = None) -> Subject:
    """`tasks`: a selection, as it is; a job, with all below it; another task, with what it is connected to; or the
    newest of the file. Hidden ones are left out but where a selection or the task itself says otherwise.

    `TaskNotFound`; `TypeError` for anything else, `ValueError` for what belongs to another file.
    """
    context: Context = engine._context
    root = None
    if isinstance(tasks, Selection):
        if tasks._context.path != context.path or (context.file.in_memory and tasks._context is not context):
            raise ValueError(f"{tasks!r} is of {tasks._context.path}, not of {context.path}")
        chosen = tasks
    elif tasks is None:
        chosen = engine.tasks.where(hidden=False)
    else:
        root = context.task(context.id_of(tasks))
        is_job = any(node.job for node in context.look(pictures.nodes, [root.id]))
        chosen = engine.tasks.where(ids=context.look(pictures.below if is_job else pictures.around, root.id, FAMILY))
    ids = context.look(queries.some_ids, chosen._where, MOST, True)
    total = len(ids) if len(ids) < MOST else len(chosen)
    if root is not None and root.id not in ids:  # it is the oldest, and what all of them hang on
        ids[-1] = root.id
    nodes = [node for node in context.look(pictures.nodes, ids) if node.phase in lifecycle.PHASES]  # else damaged
    return Subject(context, chosen, nodes, total, root)

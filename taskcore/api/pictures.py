"""Which tasks a picture shows, and what is read of them."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final, NamedTuple

from taskcore.api.context import Context, context_of
from taskcore.api.selection import Selection
from taskcore.core import lifecycle
from taskcore.core.model import Task
from taskcore.core.text import number, printable
from taskcore.store import pictures, queries
from taskcore.store.overview import Brief
from taskcore.store.pictures import FAMILY, MOST, Failure

TEXTS: Final = 1000
"""Different errors that are put together."""


class Subject(NamedTuple):
    """What a picture is of: what else it shows of these tasks it reads itself, at a later moment."""

    context: Context
    chosen: Selection
    """All of it."""
    nodes: list[Brief]
    """The newest of it, ascending."""
    total: int
    """How many there are in all."""
    root: Task | None
    """The job, or other task, that was asked for."""

    @property
    def ids(self) -> list[int]:
        return [node.id for node in self.nodes]

    def failures(self, most: int) -> list[tuple[Failure, str | None]]:
        """The ways in which tasks failed, the most frequent first, each with the traceback of the newest."""
        ways: dict[tuple[str, str], Failure] = {}
        for each in self.context.look(pictures.failures, self.chosen._where, TEXTS):
            its = ways.setdefault(way := way_of(each.name, each.error), each)
            if its is not each:
                newer = max(its, each, key=lambda one: one.newest)
                ways[way] = newer._replace(n=its.n + each.n)
        found = sorted(ways.values(), key=lambda each: (-each.n, -each.newest))[:most]
        outcomes = self.context.read(queries.outcomes, [failure.newest for failure in found])
        return [(failure, outcomes.get(failure.newest, (None,))[-1]) for failure in found]

    @property
    def phases(self) -> dict[str, int]:
        """Phase → how many of the nodes."""
        return dict(Counter(node.phase for node in self.nodes))

    @property
    def title(self) -> str | None:
        """"night 12 #7", where it is of one."""
        return None if self.root is None else f"{printable(self.root.name, 80)} #{self.root.id}"

    @property
    def words(self) -> str:
        """"500 tasks", "night 12 #7: 500 tasks", or "the newest 50,000 of 1,000,000 tasks"."""
        n = number(self.total)
        n = n if len(self.nodes) == self.total else f"the newest {len(self.nodes):,} of {n}"
        return n if self.root is None else f"{self.title}: {n}"


def way_of(name: str, error: str | None) -> tuple[str, str]:
    """What is the same of tasks that failed in one way: errors that differ in nothing but numbers are alike."""
    return name, re.sub(r"\d+", "0", (error or "").split("\n", 1)[0])


def subject(engine: Any, tasks: Any = None) -> Subject:
    """`tasks`: a selection, as it is; a job, with all below it; another task, with what it is connected to; or the
    newest of the file. Hidden ones are left out but where a selection or the task itself says otherwise.

    `TaskNotFound`; `TypeError` for anything else, `ValueError` for what belongs to another file.
    """
    context = context_of(engine)
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

"""One line in the log for each task that ended here, for a worker that somebody looks at."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from taskcore.api.context import Context
from taskcore.core import lifecycle
from taskcore.core.logger import tell
from taskcore.core.text import duration, printable
from taskcore.store import queries


def show(context: Context, level: int) -> EndsLog | None:
    """Write to stderr what taskcore logs, from this level on. → at INFO, what is to hear of the ends of tasks."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("taskcore").setLevel(level)
    return EndsLog(context) if level <= logging.INFO else None


class EndsLog:
    """One engine's. A failure has its line anyway."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __call__(self, ends: Mapping[int, Any]) -> None:
        context = self._context
        try:
            tasks = [context.row(row) for row in context.read(queries.rows, list(ends))]
        except Exception as error:  # the commit stands
            tell(logging.WARNING, "%d tasks ended, which cannot be read: %s", len(ends), error)
            return
        for task in tasks:
            if task.phase != lifecycle.FAILED:
                took = task.finished_at - task.started_at if task.finished_at and task.started_at else None
                after = "" if took is None else f" in {duration(took)}"
                tell(logging.INFO, "task #%d %s: %s%s", task.id, printable(task.name, 60), task.status, after)

"""What failed for good: a line in the log for each, a call of whoever asked, and what `run()` says on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from taskcore.api import ends as ends_log
from taskcore.api.context import Context
from taskcore.api.selection import Selection
from taskcore.core import lifecycle
from taskcore.core.ends import Outcome
from taskcore.core.errors import BadFile, EngineClosed
from taskcore.core.logger import tell
from taskcore.core.text import error_line, printable
from taskcore.store.busy import Trouble

if TYPE_CHECKING:
    from taskcore.core.model import Task

KEPT: Final = 1000
"""Different texts that are counted; all beyond them are one."""
MOST: Final = 5
"""Different texts that are shown at the end of a run."""


class Failures:
    """One engine's: those that it or its worker processes committed."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._listeners: list[Callable[[Task], object]] = []
        self.texts: dict[str, int] = {}
        """What was said of those since somebody emptied it → how often."""

    def listen(self, callback: Callable[[Task], object]) -> Callable[[], None]:
        """`callback(task)` for each from now on. → a function that ends this. `EngineClosed`."""
        if not callable(callback):
            raise TypeError(f"on_failure takes a function of a task, not {callback!r}")
        if self._context.closed:
            raise EngineClosed(self._context.path)
        self._listeners.append(callback)

        def end() -> None:
            if callback in self._listeners:
                self._listeners.remove(callback)

        return end

    def among(self, ends: Mapping[int, Outcome | None]) -> None:
        """Tell of those of these tasks, whose ends were just committed, that failed, and log the others if anybody
        wants that. Never raises: the commit stands."""
        failed = {task: end for task, end in ends.items() if end is not None and end.verb == "fail"}
        others = [task for task, end in ends.items() if end is None]  # jobs, and what lost its worker for good
        everything = Selection(self._context)
        try:
            for task in everything.where(ids=failed) if failed else ():
                if task.phase != lifecycle.FAILED:  # it was rerun meanwhile
                    from dataclasses import replace

                    end = failed[task.id]
                    text = error_line(end.error_type, end.error)
                    task = replace(task, phase=lifecycle.FAILED, status=end.label or lifecycle.FAILED, last_error=text)
                self._tell(task, "as its body returned")
            for task in everything.where(ids=others, phase=lifecycle.FAILED) if others else ():
                self._tell(task, "its children failed")
            if ends_log.all_are_heard():
                ends_log.log_others(self._context, ends)
        except (Trouble, BadFile, EngineClosed) as error:
            tell(logging.WARNING, "%s: tasks ended, and how cannot be read: %s", self._context.path, error)

    def _tell(self, task: Task, otherwise: str) -> None:
        said = f"{printable(task.name, 60)}: {printable(task.last_error or otherwise, 200)}"
        kept = said if said in self.texts or len(self.texts) < KEPT else "others"
        self.texts[kept] = self.texts.get(kept, 0) + 1
        times = task.attempts, task.started_at, task.finished_at
        ends_log.log(logging.WARNING, said, task.id, task.name, task.phase, task.status, *times)
        for callback in tuple(self._listeners):
            self._context.callbacks.call(self, callback, task)

    def show(self) -> None:
        """On stderr: how many failed since the last run, by what was said of them."""
        for text, n in sorted(self.texts.items(), key=lambda item: -item[1])[:MOST]:
            sys.stderr.write(f"{n} failed: {text}\n")
        if len(self.texts) > MOST:
            sys.stderr.write(f"and {len(self.texts) - MOST} other texts\n")
        sys.stderr.flush()

    def __repr__(self) -> str:
        return f"<failures of {self._context.path}>"

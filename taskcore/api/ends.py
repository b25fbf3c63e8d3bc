"""How tasks end, said once that is committed: a record of `logging` for each, a WARNING if it failed, else at INFO; and
of what failed, a call of whoever asked, and what `run()` says on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from taskcore.api.context import Context
from taskcore.api.selection import Selection
from taskcore.core import lifecycle
from taskcore.core.ends import Outcome
from taskcore.core.errors import BadFile, EngineClosed
from taskcore.core.logger import ENDS, tell
from taskcore.core.text import duration, error_line, printable
from taskcore.store.busy import Trouble

if TYPE_CHECKING:
    from taskcore.core.model import Task

KEPT: Final = 1000
"""Different texts that are counted; all beyond them are one."""
MOST: Final = 5
"""Different texts that are shown at the end of a run."""
_log: Final = logging.getLogger(ENDS)
_PHASES: Final = {"succeed": lifecycle.SUCCEEDED, "obey": lifecycle.CANCELLED}


def all_are_heard() -> bool:
    """Whether anybody wants more than what failed."""
    return _log.isEnabledFor(logging.INFO)


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
            if all_are_heard():
                self._log_others({task: end for task, end in ends.items() if task not in failed})
        except (Trouble, BadFile, EngineClosed) as error:
            tell(logging.WARNING, "%s: tasks ended, and how cannot be read: %s", self._context.path, error)

    def _tell(self, task: Task, otherwise: str) -> None:
        said = f"{printable(task.name, 60)}: {printable(task.last_error or otherwise, 200)}"
        kept = said if said in self.texts or len(self.texts) < KEPT else "others"
        self.texts[kept] = self.texts.get(kept, 0) + 1
        _tell_end(logging.WARNING, said, task)
        for callback in tuple(self._listeners):
            self._context.callbacks.call(self, callback, task)

    def _log_others(self, ends: Mapping[int, Outcome | None]) -> None:
        from taskcore.store import overview  # for those who want to hear of them

        for row in self._context.read(overview.briefs, ends):
            end = ends[row.id]
            if row.phase not in lifecycle.ENDED and end is not None:  # it was rerun meanwhile
                phase = _PHASES.get(end.verb, row.phase)
                row = row._replace(phase=phase, status=end.label or phase)
            if row.phase in lifecycle.ENDED and row.phase != lifecycle.FAILED:
                _tell_end(logging.INFO, printable(row.name, 60), row)

    def show(self) -> None:
        """On stderr: how many failed since the last run, by what was said of them."""
        for text, n in sorted(self.texts.items(), key=lambda item: -item[1])[:MOST]:
            sys.stderr.write(f"{n} failed: {text}\n")
        if len(self.texts) > MOST:
            sys.stderr.write(f"and {len(self.texts) - MOST} other texts\n")
        sys.stderr.flush()

    def __repr__(self) -> str:
        return f"<failures of {self._context.path}>"


def _tell_end(level: int, said: str, task: Any) -> None:
    """One record of a task's row; its `extra` is for whoever counts or traces. `seconds`: of the last attempt, or
    `None` if there was none, or it was begun again meanwhile."""
    begun_and_ended = task.started_at is not None and task.finished_at is not None
    seconds = task.finished_at - task.started_at if begun_and_ended else None
    after = "" if seconds is None or level > logging.INFO else f", in {duration(seconds)}"
    extra = {
        "task_id": task.id, "task_name": task.name, "phase": task.phase, "status": task.status,
        "attempt": task.attempts, "seconds": seconds,
    }  # fmt: skip
    tell(level, "task #%d is %s: %s%s", task.id, task.status, said, after, extra=extra)

"""Each end of a task as a record of `logging`, once it is committed: a WARNING if it failed, else at INFO."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from taskcore.api.context import Context
from taskcore.core import lifecycle
from taskcore.core.ends import Outcome
from taskcore.core.logger import ENDS, tell
from taskcore.core.text import duration, printable

_log: Final = logging.getLogger(ENDS)
_PHASES: Final = {"succeed": lifecycle.SUCCEEDED, "obey": lifecycle.CANCELLED}


def all_are_heard() -> bool:
    """Whether anybody wants more than what failed."""
    return _log.isEnabledFor(logging.INFO)


def log(
    level: int, said: str, task: int, name: str, phase: str, status: str, attempt: int, started: float | None,
    finished: float | None,
) -> None:  # fmt: skip
    """One record; its `extra` is for whoever counts or traces. `seconds`: of the last attempt, or `None` if there was
    none, or it was begun again meanwhile."""
    seconds = None if started is None or finished is None else finished - started
    extra = {"task_id": task, "task_name": name, "phase": phase, "status": status, "attempt": attempt}
    after = "" if seconds is None or level > logging.INFO else f", in {duration(seconds)}"
    tell(level, "task #%d is %s: %s%s", task, status, said, after, extra={**extra, "seconds": seconds})


def log_others(context: Context, ends: Mapping[int, Outcome | None]) -> None:
    """Those of these ends that are no failures."""
    from taskcore.store import overview  # for those who want to hear of them

    wanted = [task for task, end in ends.items() if end is None or end.verb != "fail"]
    for row in context.read(overview.briefs, wanted):
        end, phase, status = ends[row.id], row.phase, row.status
        if phase not in lifecycle.ENDED and end is not None:  # it was rerun meanwhile
            phase = _PHASES.get(end.verb, phase)
            status = end.label or phase
        if phase in lifecycle.ENDED and phase != lifecycle.FAILED:
            times = row.attempts, row.started_at, row.finished_at
            log(logging.INFO, printable(row.name, 60), row.id, row.name, phase, status, *times)

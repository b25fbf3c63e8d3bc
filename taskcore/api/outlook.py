"""How a task's place looks from this process: what the file says of it, and what only this process knows."""

from __future__ import annotations

from typing import NamedTuple

from taskcore.api.context import Context
from taskcore.core import lifecycle
from taskcore.core.errors import TaskNotFound
from taskcore.runtime.custody import ALONE_AFTER
from taskcore.store import diagnosis
from taskcore.store.diagnosis import Facts


class Here(NamedTuple):
    """What this process can say of a name and of others."""

    runs: bool = True
    """Whether it has threads for bodies at all."""
    started: bool = True
    registered: bool = True
    elsewhere: bool = False
    """Whether it knows the name as one that is run elsewhere."""
    full: bool = False
    """Whether all its threads have something to do."""
    others: int = 0
    """Other engines that run tasks of this file now."""
    alone: bool = False
    """Whether the task would run alone, having lapsed too often."""
    starting: bool = False
    """Whether its worker processes run it, and none of them is there yet."""
    only: str | None = None
    """Why it has worker processes, and they do not run it."""
    dead: bool = False
    """Whether the process that has the task is gone."""


def of(context: Context, task_id: int) -> tuple[Facts, Here, float]:
    """What there is to know of a task, in the file and here, and when. `TaskNotFound`."""
    scheduler, known, now = context.scheduler, context.file.known, context.now()
    kinds = scheduler.repertoire.all_kinds() or [kind for kind in list(known.kinds.values()) if kind.job is None]
    open_ = [kind.id for kind in kinds if not known.closed(kind)]
    facts = context.read(diagnosis.facts, task_id, now, context.name, open_)
    if facts is None:
        raise TaskNotFound(task_id)
    lanes, own, processes = context.lanes, facts.own, context.processes
    here_only = None if processes is None else processes.here.get(own.name)
    alive = [lane for _, lane in facts.engines if lanes is not None and not lanes.is_dead(lane)]
    here = Here(
        runs=context.workers > 0,
        started=scheduler.claiming,
        registered=own.name in context.definitions,
        elsewhere=own.name in context.elsewhere,
        full=len(scheduler.held) >= context.workers,
        others=len(alive) - (scheduler.presence.worker is not None and scheduler.presence.lane in alive),
        alone=own.lapses >= ALONE_AFTER,
        starting=processes is not None and here_only is None and not processes.ready,
        only=here_only,
        dead=own.phase == lifecycle.RUNNING and own.lane is not None and lanes is not None and lanes.is_dead(own.lane),
    )
    return facts, here, now

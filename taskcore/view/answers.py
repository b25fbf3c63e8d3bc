"""What each address of the page answers, as values that JSON knows. Nothing here is markup, and no text is made any."""

from __future__ import annotations

import math
import pprint
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, NamedTuple

from taskcore.api.engine import Engine
from taskcore.api.selection import Selection
from taskcore.core import lifecycle
from taskcore.core.errors import UnknownStatus
from taskcore.core.text import printable
from taskcore.core.version import VERSION
from taskcore.store import capacity, pages, queries
from taskcore.store import overview as glance
from taskcore.view.colours import SIGNS

SIZE: Final = 100
"""Rows of a list."""
FEW: Final = 50
"""Rows of a part of a page."""
FAILURES: Final = 500
"""The newest failures, which are put together by their texts."""
NAMES: Final = 500
"""Names that are proposed where one is to be written."""
LONG: Final = 4_000
"""Characters of a value or a traceback; the whole is shown on request."""
STEPS: Final = 24
"""Children of a job up to which each of them is shown in the list of jobs."""

Said = Mapping[str, Sequence[str]]
"""What an address has behind its question mark: each name with its values."""


class Ask(NamedTuple):
    engine: Engine
    said: Said
    read_only: bool


# -- what is asked for ---------------------------------------------------------------------------------------------

_TEXTS: Final = ("name", "phase", "status", "key", "tag", "worker")
_TASKS: Final = ("parent", "upstream_of", "downstream_of")
FILTERS: Final = (*_TEXTS, *_TASKS, "id", "hidden", "submitted_before")


def number(text: Any) -> int:
    """A task's number, or another whole one. `ValueError`."""
    said = str(text).removeprefix("#")
    if not (said.isascii() and said.isdigit() and len(said) < 19):
        raise ValueError(f"a whole number is needed, not {printable(str(text), 40)!r}")
    return int(said)


def one(said: Said, name: str) -> str | None:
    values = said.get(name) or ()
    return values[0] if values else None


def chosen(engine: Engine, said: Said) -> Selection:
    """The tasks that an address or a verb speaks of. `ValueError`, `UnknownStatus`."""
    tasks = engine.tasks
    if not (one(said, "hidden") or said.get("id")):
        tasks = tasks.where(hidden=False)
    known = [*lifecycle.PHASES, *(engine._context.look(pages.labels) if said.get("status") else ())]
    for name, values in said.items():
        if not values or name not in FILTERS:
            continue
        if name == "status" and (unknown := [label for label in values if label not in known]):
            raise UnknownStatus(unknown[0], known)
        if name == "id":
            tasks = tasks.where(ids=[number(value) for value in values])
        elif name in _TASKS:
            tasks = tasks.where(**{name: number(values[0])})
        elif name == "submitted_before":
            if not math.isfinite(moment := float(values[0])):
                raise ValueError(f"{values[0]} is no time")
            tasks = tasks.where(submitted_before=moment)
        elif name in _TEXTS:
            tasks = tasks.where(**{name: list(values)})
    return tasks


# -- the pages -----------------------------------------------------------------------------------------------------


def session(ask: Ask) -> dict[str, Any]:
    """What the page needs to know once."""
    return {
        "path": ask.engine.path, "version": VERSION, "read_only": ask.read_only, "signs": SIGNS,
        "phases": {phase: phase for phase in lifecycle.PHASES} | ask.engine._context.look(pages.labels),
        "ended": lifecycle.ENDED,
    }  # fmt: skip


def overview(ask: Ask) -> dict[str, Any]:
    """Counts by name and status, what runs, what failed last and why, what is on hold."""
    context = ask.engine._context
    counts, now = context.counts_by_name(), context.now()
    rates = context.look(glance.rates, now)
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    failures = context.look(pages.failures, FAILURES)
    for failure in failures:
        text = failure.error.split("\n", 1)[0]
        group = groups.setdefault(
            (failure.name, re.sub(r"\d+", "0", text)),
            {"name": failure.name, "error": text, "last": failure.finished_at, "ids": []},
        )
        group["ids"].append(failure.id)
        group["last"] = max(group["last"], failure.finished_at)
    return {
        "now": now,
        "names": {name: {"counts": its, "rate": round(rates.get(name, 0.0), 3)} for name, its in counts.items()},
        "running": _listed(ask, context.look(pages.running, FEW)),
        "failures": sorted(groups.values(), key=lambda group: -len(group["ids"]))[:FEW],
        "looked_at": len(failures),
        "holds": context.look(capacity.held),
        "health": str(ask.engine.health),
    }


def tasks(ask: Ask) -> dict[str, Any]:
    """A page of tasks, the newest first, and below which number the next one begins."""
    context, below = ask.engine._context, one(ask.said, "below")
    where = chosen(ask.engine, ask.said)._where
    ids, further = context.look(pages.newest, where, None if below is None else number(below), SIZE)
    return {"now": context.now(), "tasks": _listed(ask, ids), "below": further}


def count(ask: Ask) -> dict[str, Any]:
    """How many tasks a verb would be about, and the moment before which they were submitted: so that the verb, when it
    is told that moment, reaches none that came after the number was shown."""
    verb = one(ask.said, "verb") or ""
    if verb not in MOVES:
        raise ValueError(f"there is no verb {printable(verb, 40)!r}; there are: {', '.join(MOVES)}")
    found = len(chosen(ask.engine, ask.said).where(phase=MOVES[verb]))
    return {"count": found, "until": math.nextafter(ask.engine._context.now(), math.inf)}


MOVES: Final = {
    "cancel": tuple(phase for phase in lifecycle.PHASES if phase not in lifecycle.ENDED),
    "pause": tuple(phase for phase in lifecycle.PHASES if phase not in (*lifecycle.ENDED, lifecycle.PAUSED)),
    "resume": (lifecycle.PAUSED,),
    "rerun": lifecycle.ENDED,
}
"""Verb → the phases of the tasks that it is about."""


def task(ask: Ask) -> dict[str, Any]:
    """All that is known of one."""
    context, future = ask.engine._context, ask.engine.future(number(one(ask.said, "id")))
    row, longest = future.snapshot(), None if one(ask.said, "whole") else LONG
    its = {field.name: getattr(row, field.name) for field in fields(row)}
    for name in ("args", "kwargs", "result"):
        its[name] = shown(its[name], longest)
    its["message"], its["last_error"] = cut(row.message, longest), cut(row.last_error, longest)
    (done, steps), attempts = context.look(glance.steps, row.id, 2 * FEW), context.look(queries.history, row.id, FEW)
    children = ask.engine.tasks.where(parent=row.id)
    ids = context.look(queries.some_ids, children._where, FEW, True)
    line = next(iter(context.look(glance.briefs, [row.id])), None)
    return {
        "now": context.now(),
        "task": its,
        "job": line is not None and line.job is not None,
        "explanation": future.explain(),
        "attempts": [
            {
                "number": attempt.number, "worker": attempt.worker, "started_at": attempt.started_at,
                "finished_at": attempt.finished_at, "outcome": attempt.outcome, "error": cut(attempt.error, longest),
                "traceback": cut(attempt.traceback, longest),
            }
            for attempt in attempts
        ],
        "steps": [dict(zip(("name", "result", "started_at", "finished_at"), step, strict=True)) for step in steps],
        "unshown": {"attempts": attempts[0].number - 1 if len(attempts) >= FEW else 0, "steps": done - len(steps)},
        "log": [{"at": line.at, "level": line.level, "text": cut(line.text, longest)} for line in future.log()],
        "upstream": [edge._asdict() for edge in context.look(pages.edges, row.id, "up", FEW)],
        "downstream": [edge._asdict() for edge in context.look(pages.edges, row.id, "down", FEW)],
        "children": _listed(ask, ids),
        "tally": context.look(pages.ended_children, [row.id]).get(row.id, {}),
        "open": 0 if line is None else line.open,
    }  # fmt: skip


def jobs(ask: Ask) -> dict[str, Any]:
    """Jobs, and other tasks that have children, the newest first; of small ones each child."""
    context, below = ask.engine._context, one(ask.said, "below")
    ids = context.look(pages.parents, None if below is None else number(below), FEW)
    ended, rows = context.look(pages.ended_children, ids), _listed(ask, ids)
    small = [row["id"] for row in rows if row["children"] <= STEPS]
    members: dict[int, list[dict[str, Any]]] = {}
    for member in context.look(pages.members, small, FEW * STEPS):
        members.setdefault(member.parent, []).append(member._asdict())
    for row in rows:
        row["tally"], row["members"] = ended.get(row["id"], {}), members.get(row["id"], [])
    return {"now": context.now(), "jobs": rows, "below": ids[-1] if len(ids) == FEW else None}


def schedules(ask: Ask) -> dict[str, Any]:
    """Schedules, limits, rates, and what is on hold."""
    context = ask.engine._context
    return {
        "now": context.now(),
        "schedules": [
            {
                "name": name, "every": schedule.every, "cron": schedule.cron, "tz": schedule.tz,
                "enabled": schedule.enabled, "next_at": schedule.next_at, "last_at": schedule.last_at,
                "last_task": schedule._row.last_task,
            }
            for name, schedule in ask.engine.schedules.items()
        ],
        "limits": [limit._asdict() for limit in context.look(pages.capacities)],
        "rates": [{"name": name, "n": n, "period": period} for name, n, period in context.look(pages.rates)],
        "holds": context.look(capacity.held),
        "names": context.look(pages.names, NAMES),
    }  # fmt: skip


def picture(ask: Ask, kind: str) -> str:
    """The graph or the timeline of what an address speaks of, as SVG."""
    engine, task_id = ask.engine, one(ask.said, "task")
    wanted: Any = None
    if task_id is not None:
        wanted = engine.future(number(task_id))
    elif any(ask.said.get(name) for name in FILTERS):
        wanted = chosen(engine, ask.said)
    drawn = engine.graph(wanted) if kind == "graph" else engine.timeline(wanted)
    return drawn.to_svg()


ANSWERS: Final[dict[str, Callable[[Ask], dict[str, Any]]]] = {
    "session": session, "overview": overview, "tasks": tasks, "count": count, "task": task, "jobs": jobs,
    "schedules": schedules,
}  # fmt: skip


# -- values --------------------------------------------------------------------------------------------------------


def _listed(ask: Ask, ids: Collection[int]) -> list[dict[str, Any]]:
    """These tasks as a list shows them, in this order."""
    rows = [brief._asdict() for brief in ask.engine._context.look(glance.briefs, ids)]
    for row in rows:
        if row["job"] is not None and row["finished_at"] is None:  # as `Task.progress` counts it
            row["progress"] = (row["children"] - row["open"]) / (row["children"] + (row["open"] == 0))
    return rows


def shown(value: Any, longest: int | None) -> str | None:
    """A value as Python writes it, on lines of a bearable length."""
    if value is None:
        return None
    try:
        text = repr(value)
        return cut(pprint.pformat(value, width=100, sort_dicts=False) if 100 < len(text) < LONG else text, longest)
    except Exception as error:  # a codec's value is the user's
        return f"<its repr() failed: {type(error).__name__}>"


def cut(text: str | None, longest: int | None) -> str | None:
    """The head of a long text, and how long it is."""
    if text is None or longest is None or len(text) <= longest:
        return text
    return f"{text[:longest]}… ({len(text):,} characters)"

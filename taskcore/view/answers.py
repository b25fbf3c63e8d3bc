"""What each address of the page answers, as values that JSON knows. Nothing here is markup, and no text is made any."""

from __future__ import annotations

import math
import pprint
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Final, NamedTuple

from taskcore.api import glance
from taskcore.api.context import Context, context_of
from taskcore.api.engine import Engine
from taskcore.api.pictures import way_of
from taskcore.api.selection import Selection, matching
from taskcore.core import lifecycle
from taskcore.core.model import own_key
from taskcore.core.text import printable
from taskcore.store import capacity, pages, queries
from taskcore.store import overview as lists
from taskcore.store import rows as read_rows
from taskcore.store import schedules as plans
from taskcore.store.overview import Brief
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

    @property
    def context(self) -> Context:
        return context_of(self.engine)


# -- what is asked for ---------------------------------------------------------------------------------------------

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
    read = {name: [_READ[name](value) for value in its] for name, its in said.items() if its and name in _READ}
    return matching(tasks, read, context_of(engine).look(pages.labels) if said.get("status") else ())


def _moment(text: str) -> float:
    if not math.isfinite(at := float(text)):
        raise ValueError(f"{text} is no time")
    return at


_READ: Final[dict[str, Callable[[str], Any]]] = {
    **dict.fromkeys(("name", "phase", "status", "key", "tag", "worker"), str),
    **dict.fromkeys(("id", "parent", "upstream_of", "downstream_of"), number),
    "submitted_before": _moment,
}
"""Filter → what makes a value of its text."""
FILTERS: Final = (*_READ, "hidden")

# -- the pages -----------------------------------------------------------------------------------------------------


def session(ask: Ask) -> dict[str, Any]:
    """What the page needs to know once."""
    return {
        "path": ask.engine.path, "read_only": ask.read_only, "signs": SIGNS,
        "phases": {phase: phase for phase in lifecycle.PHASES} | ask.context.look(pages.labels),
        "ended": lifecycle.ENDED,
    }  # fmt: skip


def overview(ask: Ask) -> dict[str, Any]:
    """Counts by name and status, what runs, what failed last and why, what is on hold."""
    context, names = ask.context, glance.names_of(ask.context)
    failures, ways = context.look(lists.last_failed, FAILURES), defaultdict[tuple[str, str], list[Brief]](list)
    for failure in failures:
        ways[way_of(failure.name, failure.last_error)].append(failure)
    return {
        "now": context.now(),
        "names": {
            its.name: {
                "counts": {status: n for (_, status), n in its.counts.items()}, "rate": round(its.rate, 3),
                "left": its.left, "seconds_left": its.seconds_left,
            }
            for its in names
        },
        "counts": {status: n for (_, status), n in glance.summed(names).items()},
        "seconds_left": glance.longest(names),
        "running": _listed(context.look(lists.newest, queries.RUNNING, FEW)),
        "failures": [
            {
                "name": newest.name, "error": (newest.last_error or "").split("\n", 1)[0][:300],
                "last": newest.finished_at, "ids": [newest.id, *(failure.id for failure in older)],
            }
            for newest, *older in sorted(ways.values(), key=len, reverse=True)[:FEW]
        ],
        "looked_at": len(failures),
        "holds": context.look(capacity.held),
        "health": str(ask.engine.health),
    }  # fmt: skip


def tasks(ask: Ask) -> dict[str, Any]:
    """A page of tasks, the newest first, and below which number the next one begins."""
    context, below = ask.context, one(ask.said, "below")
    where = chosen(ask.engine, ask.said)._where
    ids, further = context.look(pages.newest, where, None if below is None else number(below), SIZE)
    return {"now": context.now(), "tasks": _listed(context.look(lists.briefs, ids)), "below": further}


def count(ask: Ask) -> dict[str, Any]:
    """How many tasks a verb would be about, and the moment before which they were submitted: so that the verb, when it
    is told that moment, reaches none that came after the number was shown."""
    verb = one(ask.said, "verb") or ""
    if verb not in MOVES:
        raise ValueError(f"there is no verb {printable(verb, 40)!r}; there are: {', '.join(MOVES)}")
    found = len(chosen(ask.engine, ask.said).where(phase=MOVES[verb]))
    return {"count": found, "until": math.nextafter(ask.context.now(), math.inf)}


MOVES: Final = {
    "cancel": tuple(phase for phase in lifecycle.PHASES if phase not in lifecycle.ENDED),
    "pause": tuple(phase for phase in lifecycle.PHASES if phase not in (*lifecycle.ENDED, lifecycle.PAUSED)),
    "resume": (lifecycle.PAUSED,),
    "rerun": lifecycle.ENDED,
}
"""Verb → the phases of the tasks that it is about."""


def task(ask: Ask) -> dict[str, Any]:
    """All that is known of one."""
    context, future = ask.context, ask.engine.future(number(one(ask.said, "id")))
    row, longest = future.snapshot(), None if one(ask.said, "whole") else LONG
    its = {field.name: getattr(row, field.name) for field in fields(row)}
    for name in ("args", "kwargs", "result"):
        its[name] = shown(its[name], longest)
    its["message"], its["last_error"] = cut(row.message, longest), cut(row.last_error, longest)
    (done, steps), attempts = context.look(lists.steps, row.id, 2 * FEW), context.look(read_rows.history, row.id, FEW)
    children = ask.engine.tasks.where(parent=row.id)
    ids = context.look(queries.some_ids, children._where, FEW, True)
    line = next(iter(context.look(lists.briefs, [row.id])), None)
    return {
        "now": context.now(),
        "task": its,
        "job": line is not None and line.job is not None,
        "explanation": future.explain(),
        "attempts": [
            asdict(attempt) | {"error": cut(attempt.error, longest), "traceback": cut(attempt.traceback, longest)}
            for attempt in attempts
        ],
        "steps": [dict(zip(("name", "result", "started_at", "finished_at"), step, strict=True)) for step in steps],
        "unshown": {"attempts": attempts[0].number - 1 if len(attempts) >= FEW else 0, "steps": done - len(steps)},
        "log": [asdict(line) | {"text": cut(line.text, longest)} for line in future.log()],
        "upstream": [edge._asdict() for edge in context.look(pages.edges, row.id, "up", FEW)],
        "downstream": [edge._asdict() for edge in context.look(pages.edges, row.id, "down", FEW)],
        "children": _listed(context.look(lists.briefs, ids)),
        "tally": context.look(pages.ended_children, [row.id]).get(row.id, {}),
        "open": 0 if line is None else line.open,
    }  # fmt: skip


def jobs(ask: Ask) -> dict[str, Any]:
    """Jobs, and other tasks that have children, the newest first; of small ones each child."""
    context, below = ask.context, one(ask.said, "below")
    ids = context.look(pages.parents, None if below is None else number(below), FEW)
    ended, rows = context.look(pages.ended_children, ids), _listed(context.look(lists.briefs, ids))
    small = [row["id"] for row in rows if row["children"] <= STEPS]
    members: dict[int, list[dict[str, Any]]] = {}
    for member in context.look(pages.members, small, FEW * STEPS):
        members.setdefault(member.parent, []).append(member._asdict())
    for row in rows:
        row["tally"], row["members"] = ended.get(row["id"], {}), members.get(row["id"], [])
    return {"now": context.now(), "jobs": rows, "below": ids[-1] if len(ids) == FEW else None}


def schedules(ask: Ask) -> dict[str, Any]:
    """Schedules, limits, rates, and what is on hold."""
    context = ask.context
    return {
        "now": context.now(),
        "schedules": [
            row._asdict() for name in context.look(plans.names) if (row := context.look(plans.one, name)) is not None
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


def _listed(rows: Iterable[Brief]) -> list[dict[str, Any]]:
    return [row._replace(key=own_key(row.key, row.job))._asdict() for row in rows]


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

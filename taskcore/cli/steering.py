"""The commands for what says when, and how much of it, is run: `schedules`, `limits`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from taskcore.api.engine import Engine
from taskcore.api.schedules import Schedule
from taskcore.cli.choosing import Commands, Parser, empty, whole
from taskcore.cli.showing import WIDE, answer, as_json, lined
from taskcore.core.ends import spoken
from taskcore.core.text import duration, moment, quoted

_FIELDS: Final = ("name", "every", "cron", "tz", "enabled", "next_at", "last_at")


def add(commands: Commands) -> None:
    planned = commands.add("schedules", schedules, "the schedules; or change one, until its code says something new")
    named = Parser(add_help=False)
    named.add_argument("name", metavar="NAME")
    within = commands.within(planned)
    within.add("enable", partial(change, Schedule.enable), "fire from its next due time on", named)
    within.add("disable", partial(change, Schedule.disable), "fire nothing until it is enabled", named)
    within.add("trigger", trigger, "submit its task now", named)
    again = within.add("set-every", set_every, "another period", named)
    again.add_argument("period", metavar="PERIOD", type=spoken, help='seconds, or as "1h30m"')
    capped = commands.add("limits", limits, "the limits, and what is on hold; or change one, until code says otherwise")
    within = commands.within(capped)
    much = within.add("set", change_limit, 'how much there is of it, or of "name:fetch": how many may run', named)
    much.add_argument("n", metavar="N", type=whole())
    within.add("unset", change_limit, "no limit any more; of a capacity: none of it", named)


# -- schedules ------------------------------------------------------------------------------------------------------


def schedules(engine: Engine, given: argparse.Namespace) -> int:
    return _tell([*engine.schedules.values()], given)


def change(verb: Callable[[Schedule], None], engine: Engine, given: argparse.Namespace) -> int:
    verb(_schedule(engine, given))
    return _tell([_schedule(engine, given)], given)


def set_every(engine: Engine, given: argparse.Namespace) -> int:
    return change(lambda schedule: schedule.set_every(given.period), engine, given)


def trigger(engine: Engine, given: argparse.Namespace) -> int:
    task = _schedule(engine, given).trigger().id
    return answer(given, {"submitted": task}, f"#{task} submitted")


def _schedule(engine: Engine, given: argparse.Namespace) -> Schedule:
    try:
        return engine.schedules[given.name]
    except KeyError:
        known = ", ".join(quoted(name, WIDE) for name in list(engine.schedules)[:20]) or "none"
        raise ValueError(f"there is no schedule {quoted(given.name, WIDE)}; there are: {known}") from None


def _tell(found: list[Schedule], given: argparse.Namespace) -> int:
    if given.json:
        return as_json(*({name: getattr(one, name) for name in _FIELDS} for one in found))
    if not found:
        return empty("no schedules")
    rows = []
    for one in found:
        when = one.cron or f"every {duration(one.every or 0)}"
        due = f"next {moment(one.next_at, local=True)}" if one.enabled and one.next_at is not None else "disabled"
        last = "" if one.last_at is None else f"last {moment(one.last_at, local=True)}"
        rows.append([one.name, when, one.tz or "", due, last])
    return lined(rows)


# -- limits ---------------------------------------------------------------------------------------------------------


def limits(engine: Engine, given: argparse.Namespace) -> int:
    """Of each limit how much there is; a name that is on hold stands as its limit does, the whole file as ""."""
    there, held = dict(engine.limits), {f"name:{name}" if name else "" for name in engine.held}
    rows: list[dict[str, Any]] = [
        {"name": name, "limit": there.get(name), "held": name in held} for name in sorted({*there, *held})
    ]
    if given.json:
        return as_json(*rows)
    if not rows:
        return empty("no limits, and nothing on hold")
    return lined(
        [row["name"] or "the whole file", "" if row["limit"] is None else str(row["limit"]), "on hold" * row["held"]]
        for row in rows
    )


def change_limit(engine: Engine, given: argparse.Namespace) -> int:
    """`set` where a number is given, else `unset`."""
    before = engine.limits.get(given.name)
    if "n" in given:
        engine.limits[given.name] = given.n
    elif before is None:
        raise ValueError(f"there is no limit {quoted(given.name, WIDE)}")
    else:
        del engine.limits[given.name]
    now = engine.limits.get(given.name)
    said = " → ".join("none" if n is None else str(n) for n in (before, now))
    return answer(given, {"name": given.name, "limit": now, "before": before}, f"{quoted(given.name, WIDE)}: {said}")

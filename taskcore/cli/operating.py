"""The commands that move tasks: `cancel`, `rerun`, `pause`, `resume`, `signal`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from taskcore.api.engine import Engine
from taskcore.api.selection import Selection
from taskcore.cli.choosing import NOTHING, Commands, is_filtered, nothing, selected, task_id
from taskcore.cli.showing import WIDE, as_json
from taskcore.core.text import number, printable, quoted


def add(commands: Commands) -> None:
    filters = commands.filters
    stop = commands.add("cancel", cancel, "end what does not run, ask what runs to stop", filters)
    stop.add_argument("--reason", metavar="TEXT", help="kept with the tasks as their error")
    again = commands.add("rerun", rerun, "run ended tasks again", filters)
    again.add_argument("--downstream", action="store_true", help="and every ended task that depends on them")
    hold = commands.add("pause", pause, "hold tasks until they are resumed; or a name, or the whole file", filters)
    go_on = commands.add("resume", resume, "let paused tasks, a name or the whole file go on", filters)
    for added in (stop, again, hold, go_on):
        added.add_argument("ids", metavar="ID", type=task_id, nargs="*", help="the tasks, by their numbers")
        added.add_argument("--all", action="store_true", help="every task of the file")
    for added, what in ((hold, "claim nothing of"), (go_on, "claim again of")):
        added.add_argument("--hold", action="append", metavar="NAME", default=[], help=f"{what} this name")
        added.add_argument("--hold-all", action="store_true", help=f"{what} the whole file")
    told = commands.add("signal", signal, "tell a task what its body waits for, or will; exit code 1 if it has ended")
    told.add_argument("id", metavar="ID", type=task_id)
    told.add_argument("name", metavar="NAME")
    told.add_argument("payload", metavar="PAYLOAD", nargs="?", type=_payload, help="as JSON; default null")


def cancel(engine: Engine, given: argparse.Namespace) -> int:
    return _moved(engine, given, lambda chosen: chosen.cancel(given.reason), "cancelled")


def rerun(engine: Engine, given: argparse.Namespace) -> int:
    return _moved(engine, given, lambda chosen: chosen.rerun(downstream=given.downstream), "run again")


def pause(engine: Engine, given: argparse.Namespace) -> int:
    if given.hold or given.hold_all:
        return _hold(engine, given, engine.pause)
    return _moved(engine, given, Selection.pause, "paused")


def resume(engine: Engine, given: argparse.Namespace) -> int:
    if given.hold or given.hold_all:
        return _hold(engine, given, engine.resume)
    return _moved(engine, given, Selection.resume, "resumed")


def signal(engine: Engine, given: argparse.Namespace) -> int:
    stored = engine.future(given.id).signal(given.name, given.payload)
    if given.json:
        as_json({"stored": stored})
    elif stored:
        print(f"#{given.id} was told {quoted(given.name, WIDE)}")
    else:
        sys.stderr.write(f"#{given.id} has ended\n")
    return 0 if stored else NOTHING


def _payload(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        way = "JSON, such as 5 or '\"yes\"' (with both kinds of quotes)"
        raise argparse.ArgumentTypeError(f"a payload is {way}, not {printable(text, WIDE)}") from None


def _hold(engine: Engine, given: argparse.Namespace, verb: Callable[..., None]) -> int:
    """Hold names, or the whole file, or let them go."""
    if given.ids or given.all or is_filtered(given):
        raise ValueError("--hold and --hold-all are of names and of the file, and go with no filter of tasks")
    before = engine.held
    if given.hold:
        verb(*given.hold)
    if given.hold_all:
        verb()
    held = engine.held
    changed = set(before).symmetric_difference(held)
    if given.json:
        as_json({"held": held})
    for name in () if given.json else sorted({*given.hold, *[""] * given.hold_all}):
        what = quoted(name, WIDE) if name else "the whole file"
        if name in held:
            print(f"{what} is on hold{'' if name in changed else ' already'}")
        else:
            print(f"{what} is no longer on hold" if name in changed else f"{what} was not on hold")
    return 0 if changed else NOTHING


def _to_move(engine: Engine, given: argparse.Namespace) -> Selection:
    if not (given.all or given.ids or is_filtered(given)):
        raise ValueError(f"{given.verb} which tasks? Say so by number, with --name, --phase, … or take --all")
    return selected(engine, given)


def _moved(engine: Engine, given: argparse.Namespace, verb: Callable[[Selection], int], what: str) -> int:
    chosen = _to_move(engine, given)
    there = len(chosen)
    missing = sorted(set(given.ids) - {task.id for task in chosen}) if given.ids and there < len(set(given.id)) else []
    n = verb(chosen)
    if given.json:
        as_json({"moved": n})
    if not there:
        return nothing()
    running = len(chosen.where(phase="running")) if given.verb == "cancel" else 0
    if not given.json:
        asked = f", {running} asked to stop" if running else ""
        print(f"{number(n)} {what}{asked}")
    return nothing(*missing) if missing else 0

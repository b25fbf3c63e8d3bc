"""The commands that move tasks: `cancel`, `rerun`, `pause`, `resume`, `signal`."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Final

from taskcore.api.engine import Engine
from taskcore.api.selection import Selection
from taskcore.cli.choosing import NOTHING, Commands, is_filtered, nothing, selected, task_id
from taskcore.cli.showing import WIDE, as_json
from taskcore.core import lifecycle
from taskcore.core.text import number, printable, quoted


def add(commands: Commands) -> None:
    filters = commands.filters
    stop = commands.add("cancel", cancel, "end what does not run, ask what runs to stop", filters)
    stop.add_argument("--reason", metavar="TEXT", help="kept with the tasks as their error")
    again = commands.add("rerun", rerun, "run ended tasks again", filters)
    again.add_argument("--downstream", action="store_true", help="and every ended task that depends on them")
    hold = commands.add("pause", hold_or_move, "hold tasks, names or the whole file until they are resumed", filters)
    go_on = commands.add("resume", hold_or_move, "let paused tasks, names or the whole file go on", filters)
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
    return _moved(engine, given, reason=given.reason)


def rerun(engine: Engine, given: argparse.Namespace) -> int:
    return _moved(engine, given, downstream=given.downstream)


def hold_or_move(engine: Engine, given: argparse.Namespace) -> int:
    """`pause` and `resume`: of names, of the whole file, or of tasks."""
    return (_hold if given.hold or given.hold_all else _moved)(engine, given)


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


def _hold(engine: Engine, given: argparse.Namespace) -> int:
    """Hold names, or the whole file, or let them go."""
    if given.ids or given.all or is_filtered(given):
        raise ValueError("--hold and --hold-all are of names and of the file, and go with no filter of tasks")
    before, verb = engine.held, engine.pause if given.verb == "pause" else engine.resume
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


def _moved(engine: Engine, given: argparse.Namespace, **how: Any) -> int:
    if not (given.all or given.ids or is_filtered(given)):
        raise ValueError(f"{given.verb} which tasks? Say so by number, with --name, --phase, … or take --all")
    chosen = selected(engine, given)
    there, missing = len(chosen), list[int]()
    if given.ids and 0 < there < len(set(given.id)):
        missing = sorted(set(given.ids) - {task.id for task in chosen})
    n, said = move(chosen, given.verb, **how)
    if given.json:
        as_json({"moved": n})
    elif there:
        print(said)
    return nothing(*missing) if missing or not there else 0


_MOVED: Final = {"cancel": "cancelled", "rerun": "run again", "pause": "paused", "resume": "resumed"}


def move(chosen: Selection, verb: str, **how: Any) -> tuple[int, str]:
    """→ how many it moved, and that in words."""
    n: int = getattr(chosen, verb)(**how)
    running = len(chosen.where(phase=lifecycle.RUNNING)) if verb == "cancel" else 0
    return n, f"{number(n)} {_MOVED[verb]}" + (f", {running} asked to stop" if running else "")

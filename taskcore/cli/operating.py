"""The commands that move tasks: `cancel`, `rerun`, `pause`, `resume`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from taskcore.api.engine import Engine
from taskcore.api.selection import Selection
from taskcore.cli.choosing import NOTHING, Commands, is_filtered, nothing, selected, task_id
from taskcore.cli.showing import as_json


def add(commands: Commands) -> None:
    filters = commands.filters
    stop = commands.add("cancel", cancel, "end what does not run, ask what runs to stop", filters)
    stop.add_argument("--reason", metavar="TEXT")
    again = commands.add("rerun", rerun, "run ended tasks again", filters)
    again.add_argument("--downstream", action="store_true", help="and every ended task that depends on them")
    hold = commands.add("pause", pause, "hold them until they are resumed", filters)
    go_on = commands.add("resume", resume, "let them go on", filters)
    for added in (stop, again, hold, go_on):
        added.add_argument("ids", metavar="ID", type=task_id, nargs="*", help="the tasks, by their numbers")
        added.add_argument("--all", action="store_true", help="every task of the file")


def cancel(engine: Engine, given: argparse.Namespace) -> int:
    return _moved(engine, given, lambda chosen: chosen.cancel(given.reason), "cancelled")


def rerun(engine: Engine, given: argparse.Namespace) -> int:
    return _moved(engine, given, lambda chosen: chosen.rerun(downstream=given.downstream), "run again")


def pause(engine: Engine, given: argparse.Namespace) -> int:
    return _moved(engine, given, Selection.pause, "paused")


def resume(engine: Engine, given: argparse.Namespace) -> int:
    return _moved(engine, given, Selection.resume, "resumed")


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
        print(f"{n} {'task' if n == 1 else 'tasks'} {what}{asked}")
    if missing:
        sys.stderr.write(f"no task matches {', '.join(f'#{task}' for task in missing)}\n")
    return NOTHING if missing else 0

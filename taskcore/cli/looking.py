"""The commands that only look: `counts`, `list`, `show`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Final

from taskcore.api.engine import Engine
from taskcore.cli.choosing import Commands, is_filtered, nothing, selected, task_id, whole
from taskcore.cli.showing import WIDE, as_json, fields_of, line, lined, shown, tell, told
from taskcore.core.text import printable

MANY: Final = 20
"""Entries of each part of a task that are shown."""


def add(commands: Commands) -> None:
    commands.add("counts", counts, "how many there are of each status", commands.filters)
    listed = commands.add("list", list_, "the tasks, one a line", commands.filters)
    listed.add_argument("--limit", type=whole, default=50, metavar="N", help="at most so many (50); 0: all")
    listed.add_argument("--newest", action="store_true", help="the newest first")
    one = commands.add("show", show, "all that is known of a task")
    one.add_argument("id", metavar="ID", type=task_id)


def counts(engine: Engine, given: argparse.Namespace) -> int:
    found = selected(engine, given).counts()
    if given.json:
        return as_json(found)
    if not found and is_filtered(given):
        return nothing()
    for status, n in found.items():
        print(f"{n:>10}  {printable(status, WIDE)}")
    return 0


def list_(engine: Engine, given: argparse.Namespace) -> int:
    chosen = selected(engine, given)
    count = len(chosen)
    most = min(given.limit or count, count)
    tasks = chosen.some(most, newest=given.newest)
    if not (count or given.json) and is_filtered(given):
        return nothing()
    if given.json:
        as_json(*map(fields_of, tasks))
    else:
        lined(map(line, tasks))
    if len(tasks) < count:
        sys.stdout.flush()
        sys.stderr.write(f"{len(tasks)} of {count}; --limit 0 shows all\n")
    return 0


def show(engine: Engine, given: argparse.Namespace) -> int:
    future = engine.future(given.id)
    parts: dict[str, Sequence[Any]] = {
        "history": future.history(),
        "dependencies": future.dependencies(),
        "steps": future.steps(),
        "log": future.log(),
    }
    task = fields_of(future.snapshot()) | {"explain": future.explain()}
    if given.json:
        return as_json({**task, **{name: [fields_of(row) for row in rows] for name, rows in parts.items()}})
    for name, value in task.items():
        if value not in (None, (), {}, "") and value is not False:
            tell(f"{name:>19}  ", shown(name, value))
    for name, rows in parts.items():
        if rows:
            print(f"\n{name}")
        for row in rows[-MANY:] if name in ("history", "log") else rows[:MANY]:
            tell("  ", *told(fields_of(row)))
        if len(rows) > MANY:
            print(f"  {MANY} of {len(rows)}; --json has all")
    return 0

"""The commands that only look: `counts`, `list`, `show`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

from taskcore.api.engine import Engine
from taskcore.api.future import TaskFuture
from taskcore.cli.choosing import Commands, empty, is_filtered, nothing, selected, task_id, whole
from taskcore.cli.showing import WIDE, as_json, columns, fields_of, line, lined, shown, told, wrapped
from taskcore.core.text import printable

MANY: Final = 20
"""Entries of each part of a task that are shown."""
LONGEST: Final = 4_000
"""Characters of each text of a task that a terminal is shown."""


def add(commands: Commands) -> None:
    commands.add("counts", counts, "how many there are of each status", commands.filters)
    listed = commands.add("list", list_, "the tasks, one a line", commands.filters)
    listed.add_argument("--limit", type=whole(), default=50, metavar="N", help="at most so many (50); 0: all")
    listed.add_argument("--newest", action="store_true", help="the newest first")
    one = commands.add("show", show, "all that is known of a task")
    one.add_argument("id", metavar="ID", type=task_id)


def counts(engine: Engine, given: argparse.Namespace) -> int:
    found = selected(engine, given).counts()
    if given.json:
        return as_json(found)
    if not found:
        return nothing() if is_filtered(given) else empty("no tasks")
    for status, n in found.items():
        print(f"{n:>10}  {printable(status, WIDE)}")
    return 0


def list_(engine: Engine, given: argparse.Namespace) -> int:
    chosen = selected(engine, given)
    count = len(chosen)
    most = min(given.limit or count, count)
    tasks = chosen.some(most, newest=given.newest)
    if not (count or given.json):
        return nothing() if is_filtered(given) else empty("no tasks")
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
    task, parts = known(future)
    if given.json:
        return as_json({**task, **{name: [fields_of(row) for row in rows] for name, rows in parts.items()}})
    width = columns()
    for text in described(task, parts, width, None if width is None else LONGEST):
        print(text)
    return 0


def known(future: TaskFuture) -> tuple[dict[str, Any], dict[str, Sequence[Any]]]:
    """All that is known of a task: its row and why it is there, and what is many."""
    parts: dict[str, Sequence[Any]] = {
        "history": future.history(),
        "dependencies": future.dependencies(),
        "steps": future.steps(),
        "log": future.log(),
    }
    return fields_of(future.snapshot()) | {"explain": future.explain()}, parts


def described(
    task: dict[str, Any], parts: dict[str, Sequence[Any]], width: int | None, longest: int | None = None
) -> Iterator[str]:
    """The same as lines, of at most `width` columns; of texts at most `longest` characters. `--json` has all."""
    for name, value in task.items():
        if value not in (None, (), {}, "") and value is not False:
            yield from wrapped(f"{name:>19}  ", [shown(name, value)], width, longest)
    for name, rows in parts.items():
        if rows:
            yield from ("", name)
        for row in rows[-MANY:] if name in ("history", "log") else rows[:MANY]:
            yield from wrapped("  ", told(fields_of(row)), width, longest)
        if len(rows) > MANY:
            yield f"  {MANY} of {len(rows)}; --json has all"

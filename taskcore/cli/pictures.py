"""`graph` and `report`: pictures of a file's tasks, from the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, Final

from taskcore.api.engine import Engine
from taskcore.api.selection import Selection
from taskcore.cli.showing import as_json
from taskcore.core.text import printable

NOTHING: Final = 1

Chosen = Callable[[Engine, argparse.Namespace], Selection]


def add(verb: Callable[..., Any], filters: argparse.ArgumentParser, chosen: Chosen) -> None:
    """The parsers of both. `verb(name, run, help, *parents)` adds one; `chosen` finds what the filters say."""
    drawn = verb("graph", graph, "what depends on what, as SVG, Mermaid or DOT", filters)
    drawn.add_argument("--format", choices=("svg", "mermaid", "dot"), help="default: as FILE ends; without it, mermaid")
    drawn.add_argument("--output", metavar="FILE", help="where, instead of to standard output; .svg, .mmd or .dot")
    written = verb("report", report, "one self-contained HTML page, to be kept or mailed", filters)
    written.add_argument("page", metavar="FILE.html", help="where; an earlier one there is replaced")
    for added in (drawn, written):
        added.add_argument("--of", metavar="ID", type=int, help="a job with all below it, or what a task is connected to")
        added.set_defaults(chosen=chosen, unfiltered=vars(filters.parse_args([])))


def graph(engine: Engine, given: argparse.Namespace) -> int:
    tasks = _tasks(engine, given)
    if isinstance(tasks, Selection) and not tasks:
        return _nothing()
    drawn = engine.graph(tasks)
    ways = {"svg": drawn.to_svg, "mermaid": drawn.to_mermaid, "dot": drawn.to_dot}
    if given.output is None:
        form = given.format or "mermaid"
        if given.json:
            return as_json({form: ways[form]()})
        print(ways[form]().rstrip("\n"))
        return 0
    if given.format is None:
        drawn.save(given.output)
    else:
        from taskcore.view.saving import whole

        whole(given.output, ways[given.format]())
    return _written(given, given.output)


def report(engine: Engine, given: argparse.Namespace) -> int:
    tasks = _tasks(engine, given)
    if isinstance(tasks, Selection) and not tasks:
        return _nothing()
    engine.report(given.page, tasks)
    return _written(given, given.page)


def _tasks(engine: Engine, given: argparse.Namespace) -> Selection | int | None:
    filtered = any(getattr(given, name) != value for name, value in given.unfiltered.items())
    if given.of is not None and filtered:
        raise ValueError("--of says which tasks by itself: it does not go with filters")
    if given.of is not None:
        return int(given.of)
    return given.chosen(engine, given) if filtered else None  # type: ignore[no-any-return]


def _written(given: argparse.Namespace, path: str) -> int:
    if given.json:
        return as_json({"written": path})
    print(f"written to {printable(path)}")
    return 0


def _nothing() -> int:
    sys.stderr.write("no task matches\n")
    return NOTHING

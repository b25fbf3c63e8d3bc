"""`graph` and `report`: pictures of a file's tasks, from the command line."""

from __future__ import annotations

import argparse

from taskcore.api.engine import Engine
from taskcore.api.selection import Selection
from taskcore.cli.choosing import Commands, is_filtered, nothing, selected, task_id
from taskcore.cli.showing import answer
from taskcore.core.text import printable


def add(commands: Commands) -> None:
    chosen = commands.filters
    drawn = commands.add("graph", graph, "what depends on what, as SVG, Mermaid or DOT", chosen)
    drawn.add_argument("--format", choices=("svg", "mermaid", "dot"), help="default: as FILE ends; without it, mermaid")
    drawn.add_argument("--output", metavar="FILE", help="where, instead of to standard output; .svg, .mmd or .dot")
    written = commands.add("report", report, "one self-contained HTML page, to be kept or mailed", chosen)
    written.add_argument("page", metavar="FILE.html", help="where; an earlier one there is replaced")
    for added in (drawn, written):
        added.add_argument("--of", metavar="ID", type=task_id, help="a job and all below it, or what a task hangs on")


def graph(engine: Engine, given: argparse.Namespace) -> int:
    tasks = _tasks(engine, given)
    if isinstance(tasks, Selection) and not tasks:
        return nothing()
    drawn = engine.graph(tasks)
    ways = {"svg": drawn.to_svg, "mermaid": drawn.to_mermaid, "dot": drawn.to_dot}
    if given.output is None:
        form = given.format or "mermaid"
        drawing = ways[form]()
        return answer(given, {form: drawing}, drawing.rstrip("\n"))
    if given.format is None:
        drawn.save(given.output)
    else:
        from taskcore.view.saving import whole

        whole(given.output, ways[given.format]())
    return _written(given, given.output)


def report(engine: Engine, given: argparse.Namespace) -> int:
    tasks = _tasks(engine, given)
    if isinstance(tasks, Selection) and not tasks:
        return nothing()
    engine.report(given.page, tasks)
    return _written(given, given.page)


def _tasks(engine: Engine, given: argparse.Namespace) -> Selection | int | None:
    filtered = is_filtered(given) or given.hidden
    if given.of is not None and filtered:
        raise ValueError("--of says which tasks by itself: it does not go with filters")
    if given.of is not None:
        return int(given.of)
    return selected(engine, given) if filtered else None


def _written(given: argparse.Namespace, path: str) -> int:
    return answer(given, {"written": path}, f"written to {printable(path)}")

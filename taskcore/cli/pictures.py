"""What a browser shows of a file's tasks: `graph`, `report`, and `serve`, the web page."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys

from taskcore.api.engine import Engine
from taskcore.api.selection import Selection
from taskcore.cli.choosing import Commands, is_filtered, nothing, selected, task_id, whole
from taskcore.cli.showing import answer
from taskcore.core import clock
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
    served = commands.add("serve", serve, "a web page of the file, for this machine alone, until Ctrl-C")
    port = whole(0, 65535)
    served.add_argument("--port", type=port, default=0, metavar="N", help="listen there, not at any free port")
    served.add_argument("--read-only", action="store_true", help="a page for looking: nothing can be changed")


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
        from taskcore.view import saving

        saving.whole(given.output, ways[given.format]())
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


def serve(engine: Engine, given: argparse.Namespace) -> int:
    page = engine.serve(given.port, given.read_only)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does
    try:
        with contextlib.suppress(KeyboardInterrupt):
            answer(given, {"url": page.url}, f"{page.url}\nopen this in a browser; Ctrl-C ends it")
            sys.stdout.flush()
            while True:
                clock.pause(3600.0)
    finally:
        signal.signal(signal.SIGTERM, before)
        page.close()
    return 0

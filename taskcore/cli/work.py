"""`python -m taskcore FILE work MODULE[:ENGINE]`: a worker that runs the functions that a module registers."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys
import traceback
from typing import Any

from taskcore.api.assembly import employ
from taskcore.api.context import context_of
from taskcore.api.engine import Engine
from taskcore.api.settings import workers_of
from taskcore.cli.choosing import FAILED, Commands, whole
from taskcore.core.logger import show, tell
from taskcore.core.text import printable


def add(commands: Commands) -> None:
    parser = commands.add("work", work, "run what is in the file, until SIGTERM or Ctrl-C", alone=True, json=False)
    parser.add_argument("module", metavar="MODULE[:ENGINE]", help="a module that makes an engine on FILE; and which")
    parser.add_argument("--threads", type=whole(1), metavar="N", help="bodies at a time, in each process")
    parser.add_argument("--processes", type=whole(1), metavar="N", help="worker processes; else bodies run in this one")
    parser.add_argument("-q", "--quiet", action="store_true", help="no line for each end, as a terminal gets")


def work(_: Engine | None, given: argparse.Namespace) -> int:
    """Run it. → the exit code: 0 also where it is told to end before it has begun, and where it is told so again after
    all was given back. The module makes the engine, so none is opened before. `ValueError` for what was mistyped."""
    answer: Any = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        try:
            engine = _ready(given)
        except KeyboardInterrupt:  # nothing has begun
            return 0
        if engine is None:
            return FAILED
        engine.serve_forever()  # which answers signals itself
        answer = _end_at_once
        return 0
    finally:
        signal.signal(signal.SIGTERM, answer)


def _end_at_once(*_: object) -> None:
    os._exit(0)


def _ready(given: argparse.Namespace) -> Engine | None:
    """The engine, as it is to run; `None` where the module's import went wrong."""
    name, _, attribute = given.module.partition(":")
    module = _imported(name)
    if module is None:
        return None
    engine = _engine(module, attribute, given.file)
    context = context_of(engine)
    level = logging.ERROR if given.quiet else logging.INFO if sys.stderr.isatty() else None
    if level is not None:
        show(level)
    if given.threads or not context.workers:
        context.awake(given.threads or workers_of(None, None))
    count = given.processes or (context.processes.count if context.processes is not None else None)
    if count is not None:
        employ(context, count, module=name, log=level)
    tell(logging.INFO, "working on %s: %s", printable(engine.path), printable(", ".join(context.definitions), 200))
    return engine


def _imported(name: str) -> Any:
    """The module; `None` where its import went wrong, which its author is shown. `ValueError` if there is none."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` has it, and the script `taskcore` has not
    missing: str | None = name
    try:
        if all(part.isidentifier() for part in name.split(".")):
            return importlib.import_module(name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is None or not f"{name}.".startswith(f"{missing}."):  # it is something that the module does
            traceback.print_exc()
            return None
    way = f"; say {name[:-3]!r}" if name.endswith(".py") else ""
    raise ValueError(f"there is no module {name!r}{way}")


def _engine(module: Any, attribute: str, file: str) -> Engine:
    """The engine that was named, or the one that the module makes on this file, or has from another."""
    name, where = module.__name__, os.path.realpath(file)
    if attribute:
        found: Any = module
        for part in attribute.split("."):
            found = getattr(found, part, None)
        if not isinstance(found, Engine):
            there = ", ".join(sorted(_engines(module)))
            there = f"there are: {there}" if there else "there is none at all"
            raise ValueError(f"{name} has no engine {attribute!r}; {there}")
        engines = {attribute: found}
    else:
        engines = _engines(module)
        if not any(os.path.realpath(engine.path) == where for engine in engines.values()):
            for other in list(sys.modules.values()):
                engines |= _engines(other)
    fitting = {id(engine): (name, engine) for name, engine in engines.items() if os.path.realpath(engine.path) == where}
    if not fitting:
        made = sorted({engine.path for engine in engines.values()})
        instead = f", but on {', '.join(made)}" if made else ""
        raise ValueError(f"{name} makes no engine on {file}{instead}: an engine works on the file that it was made on")
    if len(fitting) > 1:
        names = ", ".join(sorted(name for name, _ in fitting.values()))
        raise ValueError(f"{name} has several engines on {file}: say which, {name}:ENGINE of {names}")
    return next(iter(fitting.values()))[1]


def _engines(module: Any) -> dict[str, Engine]:
    names = getattr(module, "__dict__", {})  # what stands in place of a module may have none
    return {name: value for name, value in list(names.items()) if isinstance(value, Engine)}

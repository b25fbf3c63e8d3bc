"""What the commands' parsers have in common: how a command is added, and how tasks are chosen."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn

from taskcore.api.engine import Engine
from taskcore.api.selection import Selection, matching
from taskcore.cli.showing import WIDE
from taskcore.core.text import printable

FOUND_SOMETHING: Final = 1
NOTHING: Final = 1
FAILED: Final = 2
INTERRUPTED: Final = 130

Run = Callable[[Any, argparse.Namespace], int]
"""A command: of an engine, or `None`, and what was said → its exit code. What is wrong it raises."""


class Parser(argparse.ArgumentParser):
    """One that says what is wrong in one sentence, and guesses nothing."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.exit(FAILED, f"{self.prog}: {printable(message)}\n")


class Commands:
    """The commands of a parser, to add to."""

    def __init__(self, parser: Parser, **given: Any) -> None:
        self._added = parser.add_subparsers(metavar="COMMAND", **given)
        parser.set_defaults(json=False)
        self._form = Parser(add_help=False)
        self._form.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="as JSON; what is listed, one object a line"
        )
        self.filters = _filters()
        """For a command that takes a selection; `selected` makes it of what is said."""

    def add(
        self, name: str, run: Run, help: str, *more: argparse.ArgumentParser, alone: bool = False, json: bool = True
    ) -> Parser:
        """Add a command, with the options of `more` beside its own, and with `--json` unless it answers nothing that
        could be so. → its parser.

        `run` gets an engine on the file with `workers=0`, or, `alone`, none, and whether there is a file is not asked.
        """
        parents = [self._form, *more] if json else more
        added: Parser = self._added.add_parser(name, help=help, description=help, parents=parents)
        added.set_defaults(run=run, alone=alone)
        return added

    def within(self, parser: Parser) -> Commands:
        """The commands of one of them; it runs itself where none is said."""
        return Commands(parser, required=False)


_FILTERS: Final = {
    "id": "this task",
    "name": "tasks of this name",
    "phase": "waiting, scheduled, ready, running, suspended, paused, succeeded, failed, cancelled, skipped",
    "status": "this phase, or label of your own",
    "key": "with this key",
    "tag": "with this tag",
    "parent": "children of this task",
    "worker": "that this worker has, or had last",
    "upstream_of": "what this task depends on",
    "downstream_of": "what depends on this task",
}
_OF_TASKS: Final = frozenset({"id", "parent", "upstream_of", "downstream_of"})


def _filters() -> Parser:
    parser = Parser(add_help=False)
    how = "several of these narrow it down; one of them given several times takes any of its values"
    group = parser.add_argument_group("which tasks", how)
    for name, words in _FILTERS.items():
        kind = task_id if name in _OF_TASKS else str
        value = "ID" if name in _OF_TASKS else "TEXT"
        option = "--" + name.replace("_", "-")
        group.add_argument(option, action="append", dest=name, metavar=value, type=kind, help=words)
    group.add_argument("--hidden", action="store_true", help="hidden tasks too; those named by --id always are")
    return parser


def task_id(text: str) -> int:
    try:
        return int(text.removeprefix("#"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"a task is given by its number, not by {printable(text, WIDE)!r}") from None


def whole(least: int = 0, most: int = 10**15) -> Callable[[str], int]:
    """→ what reads a whole number of these."""

    def read(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) < 17 and least <= int(text) <= most:
            return int(text)
        which = f"from {least} to {most:,}" if most < 10**15 else f"from {least} on"
        raise argparse.ArgumentTypeError(f"a whole number {which} is needed, not {printable(text, WIDE)!r}")

    return read


def selected(engine: Engine, given: argparse.Namespace) -> Selection:
    given.id = [*(given.id or ()), *getattr(given, "ids", ())]
    chosen = engine.tasks
    if not (given.hidden or given.id or getattr(given, "all", False)):
        chosen = chosen.where(hidden=False)
    said = {name: values for name in _FILTERS if (values := getattr(given, name))}
    return matching(chosen, said, engine.statuses)


def is_filtered(given: argparse.Namespace) -> bool:
    return any(getattr(given, name) for name in _FILTERS)


def nothing(*tasks: int) -> int:
    """Say that nothing matched, or none of these. → the exit code."""
    sys.stdout.flush()
    sys.stderr.write(f"no task matches {', '.join(f'#{task}' for task in tasks)}".rstrip() + "\n")
    return NOTHING


def empty(what: str) -> int:
    """Say that there is nothing to list, apart from what a program reads. → the exit code of what went well."""
    sys.stderr.write(f"{what}\n")
    return 0

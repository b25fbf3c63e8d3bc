"""The command line: look at a file's tasks, and move them."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from taskcore.api.engine import Engine
from taskcore.api.selection import Selection
from taskcore.api.settings import path_of
from taskcore.cli.showing import WIDE, Lenient, as_json, columns, fields_of, line, shown, tell, told
from taskcore.cli.work import add_work
from taskcore.core import lifecycle
from taskcore.core.errors import TaskcoreError, UnknownStatus
from taskcore.core.text import printable
from taskcore.core.version import VERSION
from taskcore.store.busy import Trouble
from taskcore.store.existing import refuse_another

FOUND_SOMETHING: Final = 1
NOTHING: Final = 1
FAILED: Final = 2
INTERRUPTED: Final = 130

MANY: Final = 20
"""Entries of each part of a task that are shown."""


class _Parser(argparse.ArgumentParser):
    """One that says what is wrong in one sentence, and guesses nothing."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.exit(FAILED, f"{self.prog}: {printable(message)}\n")


def main(argv: Sequence[str]) -> int:
    """→ the exit code: 0, 1 if `check` found something or nothing matched, 2 for an error, which is said on stderr."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this
            setattr(sys, name, io.StringIO())
    with contextlib.suppress(AttributeError, ValueError):
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        given = _parser().parse_args(argv)
        given.file = path_of(given.file)
        if given.verb in ("salvage", "work"):  # no engine can open such a file, perhaps; the module makes its own
            alone: int = given.run(None, given)
            return alone
        refuse_another(given.file)
        engine = Engine(given.file, workers=0, codec=Lenient())
        try:
            code: int = given.run(engine, given)
        finally:
            engine.close()
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read has enough; nothing is to be said at exit either
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (TaskcoreError, ValueError, TypeError, OverflowError, OSError, Trouble) as error:
        sys.stderr.write(f"taskcore: {printable(str(error))}\n")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


# -- what may be said -----------------------------------------------------------------------------------------------


def _parser() -> _Parser:
    parser = _Parser(prog="python -m taskcore", description="Look at the tasks of a file, and move them.")
    parser.add_argument("--version", action="version", version=f"taskcore {VERSION}")
    parser.add_argument("file", metavar="FILE", help="a file that an engine made; none is made here")
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND", required=True)
    form = _Parser(add_help=False)
    form.add_argument("--json", action="store_true", help="as JSON")
    filters = _filters()

    def verb(name: str, run: Callable[[Engine, argparse.Namespace], int], help: str, *more: Any) -> Any:
        added = verbs.add_parser(name, help=help, description=help, parents=[form, *more])
        added.set_defaults(run=run)
        return added

    verb("counts", _counts, "how many there are of each status", filters)
    listed = verb("list", _list, "the tasks, one a line", filters)
    listed.add_argument("--limit", type=_whole, default=50, metavar="N", help="at most so many (50); 0: all")
    listed.add_argument("--newest", action="store_true", help="the newest first")
    shown = verb("show", _show, "all that is known of a task")
    shown.add_argument("id", metavar="ID", type=_id)
    cancel = verb("cancel", _cancel, "end what does not run, ask what runs to stop", filters)
    cancel.add_argument("--reason", metavar="TEXT")
    rerun = verb("rerun", _rerun, "run ended tasks again", filters)
    rerun.add_argument("--downstream", action="store_true", help="and every ended task that depends on them")
    for added in (
        cancel,
        rerun,
        verb("pause", _pause, "hold them until they are resumed", filters),
        verb("resume", _resume, "let them go on", filters),
    ):
        added.add_argument("ids", metavar="ID", type=_id, nargs="*", help="the tasks, by their numbers")
        added.add_argument("--all", action="store_true", help="every task of the file")
    backup = verb("backup", _backup, "a whole copy of the file, while it is used")
    backup.add_argument("new", metavar="NEW", help="where; an earlier copy there is replaced")
    salvaged = verb("salvage", _salvage, "what can be read of a damaged file, in a new one; exit code 1 if not all can")
    salvaged.add_argument("new", metavar="NEW", help="a file that is not there yet")
    add_work(verb)
    verb("check", _check, "what is wrong with the file, and what mends it; exit code 1 if something is")
    return parser


def _filters() -> _Parser:
    parser = _Parser(add_help=False)
    group = parser.add_argument_group("which tasks", "one given several times: any of its values")
    for name, words in _FILTERS.items():
        kind = _id if name in _OF_TASKS else str
        value = "ID" if name in _OF_TASKS else "TEXT"
        option = "--" + name.replace("_", "-")
        group.add_argument(option, action="append", dest=name, metavar=value, type=kind, help=words)
    group.add_argument("--hidden", action="store_true", help="hidden tasks too; those named by --id always are")
    return parser


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


def _id(text: str) -> int:
    try:
        return int(text.removeprefix("#"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"a task is given by its number, not by {printable(text, WIDE)!r}") from None


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise argparse.ArgumentTypeError(f"a whole number is needed, not {printable(text, WIDE)!r}")
    return int(text)


def _selected(engine: Engine, given: argparse.Namespace) -> Selection:
    given.id = [*(given.id or ()), *getattr(given, "ids", ())]
    chosen = engine.tasks
    if not (given.hidden or given.id or getattr(given, "all", False)):
        chosen = chosen.where(hidden=False)
    for name in _FILTERS:
        values = getattr(given, name)
        if values and name == "id":
            chosen = chosen.where(ids=values)
        elif values and name in _OF_TASKS:
            if len(values) > 1:
                raise ValueError(f"--{name.replace('_', '-')} can be given once")
            chosen = chosen.where(**{name: values[0]})
        elif values:
            chosen = chosen.where(**{name: values})
    known = (*lifecycle.PHASES, *engine.statuses)
    for label in given.status or ():
        if label not in known:
            raise UnknownStatus(label, known)
    return chosen


def _is_filtered(given: argparse.Namespace) -> bool:
    return any(getattr(given, name) for name in _FILTERS)


def _to_move(engine: Engine, given: argparse.Namespace) -> Selection:
    if not (given.all or given.ids or _is_filtered(given)):
        raise ValueError(f"{given.verb} which tasks? Say so by number, with --name, --phase, … or take --all")
    return _selected(engine, given)


def _nothing() -> int:
    """Say that nothing matched. → the exit code."""
    sys.stdout.flush()
    sys.stderr.write("no task matches\n")
    return NOTHING


# -- the commands ---------------------------------------------------------------------------------------------------


def _counts(engine: Engine, given: argparse.Namespace) -> int:
    counts = _selected(engine, given).counts()
    if given.json:
        return as_json(counts)
    if not counts and _is_filtered(given):
        return _nothing()
    for status, n in counts.items():
        print(f"{n:>10}  {printable(status, WIDE)}")
    return 0


def _list(engine: Engine, given: argparse.Namespace) -> int:
    chosen = _selected(engine, given)
    count = len(chosen)
    most = min(given.limit or count, count)
    tasks = chosen.some(most, newest=given.newest)
    if given.json:
        return as_json([fields_of(task) for task in tasks])
    if not count and _is_filtered(given):
        return _nothing()
    rows = [line(task) for task in tasks]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        print(printable("  ".join(padded).rstrip(), columns()))
    if len(rows) < count:
        sys.stdout.flush()
        sys.stderr.write(f"{len(rows)} of {count}; --limit 0 shows all\n")
    return 0


def _show(engine: Engine, given: argparse.Namespace) -> int:
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


def _cancel(engine: Engine, given: argparse.Namespace) -> int:
    return _moved(engine, given, lambda chosen: chosen.cancel(given.reason), "cancelled")


def _rerun(engine: Engine, given: argparse.Namespace) -> int:
    return _moved(engine, given, lambda chosen: chosen.rerun(downstream=given.downstream), "run again")


def _pause(engine: Engine, given: argparse.Namespace) -> int:
    return _moved(engine, given, Selection.pause, "paused")


def _resume(engine: Engine, given: argparse.Namespace) -> int:
    return _moved(engine, given, Selection.resume, "resumed")


def _moved(engine: Engine, given: argparse.Namespace, verb: Callable[[Selection], int], what: str) -> int:
    chosen = _to_move(engine, given)
    there = len(chosen)
    missing = sorted(set(given.ids) - {task.id for task in chosen}) if given.ids and there < len(set(given.id)) else []
    n = verb(chosen)
    if given.json:
        as_json({"moved": n})
    if not there:
        return _nothing()
    running = len(chosen.where(phase="running")) if given.verb == "cancel" else 0
    if not given.json:
        asked = f", {running} asked to stop" if running else ""
        print(f"{n} {'task' if n == 1 else 'tasks'} {what}{asked}")
    if missing:
        sys.stderr.write(f"no task matches {', '.join(f'#{task}' for task in missing)}\n")
    return NOTHING if missing else 0


def _check(engine: Engine, given: argparse.Namespace) -> int:
    found = engine.check()
    if given.json:
        as_json([fields_of(finding) for finding in found])
    for finding in () if given.json else found:
        print(f"{printable(finding.what)}\n    {printable(finding.mend)}")
    if not (found or given.json):
        print("nothing is wrong")
    return FOUND_SOMETHING if found else 0


def _backup(engine: Engine, given: argparse.Namespace) -> int:
    engine.backup(given.new)
    if given.json:
        return as_json({"copied": given.new})
    print(f"copied to {printable(given.new)}")
    return 0


def _salvage(_: Engine | None, given: argparse.Namespace) -> int:
    """Without an engine: the file may be such that none can open it."""
    from taskcore.store.salvage import salvage

    given.new = path_of(given.new)
    saved = salvage(given.file, given.new)
    lost = any(table.lost for table in saved)
    if given.json:
        as_json([table._asdict() for table in saved])
        return FOUND_SOMETHING if lost else 0
    for table in saved:
        if table.rows or table.lost:
            print(f"{table.rows:>10}  {table.table}")
        for what in table.lost[:20]:
            print(f"            lost: {printable(what)}")
        if len(table.lost) > 20:
            print(f"            and {len(table.lost) - 20} more")
    with contextlib.closing(Engine(given.new, workers=0, codec=Lenient())) as engine:
        found = len(engine.check())
    print(f"in {printable(given.new)}" + (f"; check finds {found} things there" if found else ""))
    return FOUND_SOMETHING if lost or found else 0

"""The command line: look at a file's tasks, and move them.

What comes out of a file is shown by `printable` or as ASCII: no name, message or result can control a terminal.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from taskcore.api.engine import Engine
from taskcore.api.selection import Selection
from taskcore.codec.json import JSON
from taskcore.core.errors import TaskcoreError
from taskcore.core.model import Handle, Task
from taskcore.core.text import printable
from taskcore.store.busy import Trouble
from taskcore.store.existing import refuse_another

FOUND_SOMETHING: Final = 1
FAILED: Final = 2
INTERRUPTED: Final = 130

WIDE: Final = 60
"""Characters of a text in a list."""
_TIMES: Final = frozenset(field.name for field in fields(Task) if field.name.endswith("_at")) | {"greenfield", "at"}


class _Parser(argparse.ArgumentParser):
    """One that says what is wrong in one sentence, and guesses nothing."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.exit(FAILED, f"{self.prog}: {printable(message)}\n")


class _Foreign(str):
    """What another codec wrote; where arguments are expected, one that is this text."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(([self], {}))


class _Lenient:
    """The codec for looking: what another codec wrote is shown as it is written."""

    encode = staticmethod(JSON.encode)

    @staticmethod
    def decode(text: str) -> Any:
        try:
            return JSON.decode(text)
        except (ValueError, TypeError, KeyError):
            return _Foreign(text)


def main(argv: Sequence[str]) -> int:
    """→ the exit code: 0, 1 if `check` found something, 2 for an error, which is said on stderr."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this
            setattr(sys, name, io.StringIO())
    with contextlib.suppress(AttributeError, ValueError):
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        given = _parser().parse_args(argv)
        if given.verb == "salvage":  # no engine can open such a file, perhaps
            return _salvage(None, given)
        refuse_another(given.file)
        engine = Engine(given.file, workers=0, codec=_Lenient())
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
        added.add_argument("--all", action="store_true", help="every task of the file")
    backup = verb("backup", _backup, "a whole copy of the file, while it is used")
    backup.add_argument("new", metavar="NEW", help="where; an earlier copy there is replaced")
    salvaged = verb("salvage", _salvage, "what can be read of a damaged file, in a new one; exit code 1 if not all can")
    salvaged.add_argument("new", metavar="NEW", help="a file that is not there yet")
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
    return chosen


def _to_move(engine: Engine, given: argparse.Namespace) -> Selection:
    if not given.all and not any(getattr(given, name) for name in _FILTERS):
        raise ValueError(f"{given.verb} which tasks? Say so with --name, --id, … or take --all")
    return _selected(engine, given)


# -- the commands ---------------------------------------------------------------------------------------------------


def _counts(engine: Engine, given: argparse.Namespace) -> int:
    counts = _selected(engine, given).counts()
    if given.json:
        return _as_json(counts)
    for status, n in counts.items():
        print(f"{n:>10}  {printable(status, WIDE)}")
    return 0


def _list(engine: Engine, given: argparse.Namespace) -> int:
    chosen = _selected(engine, given)
    count = len(chosen)
    most = min(given.limit or count, count)
    tasks = chosen.some(most, newest=given.newest)
    if given.json:
        return _as_json([_fields(task) for task in tasks])
    rows = [_line(task) for task in tasks]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    if len(rows) < count:
        sys.stdout.flush()
        sys.stderr.write(f"{len(rows)} of {count}; --limit 0 shows all\n")
    return 0


def _line(task: Task) -> list[str]:
    why = task.message or task.last_error or task.waiting_for or ""
    key = "" if task.key is None else f"[{printable(task.key, 30)}]"
    name = f"{printable(task.name, 40)} {key}".rstrip()
    return [f"#{task.id}", printable(task.status, 30), name, _moment(task.submitted_at), printable(why, WIDE)]


def _show(engine: Engine, given: argparse.Namespace) -> int:
    future = engine.future(given.id)
    parts: dict[str, Sequence[Any]] = {
        "history": future.history(),
        "dependencies": future.dependencies(),
        "steps": future.steps(),
        "log": future.log(),
    }
    task = _fields(future.snapshot()) | {"explain": future.explain()}
    if given.json:
        return _as_json({**task, **{name: [_fields(row) for row in rows] for name, rows in parts.items()}})
    for name, value in task.items():
        if value not in (None, (), {}, "") and value is not False:
            _tell(f"{name:>19}  ", _shown(name, value))
    for name, rows in parts.items():
        if rows:
            print(f"\n{name}")
        for row in rows:
            _tell("  ", *_told(_fields(row)))
    return 0


def _told(row: dict[str, Any]) -> Iterable[str]:
    """A value as lines: what is short on the first, and what has lines of its own below."""
    row.pop("task_id", None)
    traceback, text = row.pop("traceback", None), row.pop("text", None)
    first = "  ".join(
        _shown(name, value) if name in ("number", "name", "at", "level", "outcome") else f"{name} {_shown(name, value)}"
        for name, value in row.items()
        if value is not None
    )
    if text is not None:
        head, *more = text.split("\n")
        return [f"{first}  {head}", *(f"    {line}" for line in more)]
    return [first, *(f"    {line}" for line in (traceback or "").splitlines())]


def _tell(head: str, *lines: str) -> None:
    for line in lines:
        print(head + printable(line))
        head = " " * len(head)


def _cancel(engine: Engine, given: argparse.Namespace) -> int:
    chosen = _to_move(engine, given)
    n, running = chosen.cancel(given.reason), len(chosen.where(phase="running"))
    return _moved(given, n, f"cancelled, {running} asked to stop" if running else "cancelled")


def _rerun(engine: Engine, given: argparse.Namespace) -> int:
    return _moved(given, _to_move(engine, given).rerun(downstream=given.downstream), "run again")


def _pause(engine: Engine, given: argparse.Namespace) -> int:
    return _moved(given, _to_move(engine, given).pause(), "paused")


def _resume(engine: Engine, given: argparse.Namespace) -> int:
    return _moved(given, _to_move(engine, given).resume(), "resumed")


def _moved(given: argparse.Namespace, n: int, what: str) -> int:
    if given.json:
        return _as_json({"moved": n})
    print(f"{n} {'task' if n == 1 else 'tasks'} {what}")
    return 0


def _check(engine: Engine, given: argparse.Namespace) -> int:
    found = engine.check()
    if given.json:
        _as_json([_fields(finding) for finding in found])
    for finding in () if given.json else found:
        print(f"{printable(finding.what)}\n    {printable(finding.mend)}")
    if not (found or given.json):
        print("nothing is wrong")
    return FOUND_SOMETHING if found else 0


def _backup(engine: Engine, given: argparse.Namespace) -> int:
    engine.backup(given.new)
    if given.json:
        return _as_json({"copied": given.new})
    print(f"copied to {printable(given.new)}")
    return 0


def _salvage(_: Engine | None, given: argparse.Namespace) -> int:
    """Without an engine: the file may be such that none can open it."""
    from taskcore.store.salvage import salvage

    saved = salvage(given.file, given.new)
    lost = any(table.lost for table in saved)
    if given.json:
        _as_json([table._asdict() for table in saved])
        return FOUND_SOMETHING if lost else 0
    for table in saved:
        if table.rows or table.lost:
            print(f"{table.rows:>10}  {table.table}")
        for what in table.lost[:20]:
            print(f"            lost: {printable(what)}")
        if len(table.lost) > 20:
            print(f"            and {len(table.lost) - 20} more")
    with contextlib.closing(Engine(given.new, workers=0, codec=_Lenient())) as engine:
        found = len(engine.check())
    print(f"in {printable(given.new)}" + (f"; check finds {found} things there" if found else ""))
    return FOUND_SOMETHING if lost or found else 0


# -- showing --------------------------------------------------------------------------------------------------------


def _as_json(value: Any) -> int:
    """ASCII, in which JSON leaves one character that is not printable."""
    print(json.dumps(_json_of(value), indent=2).replace("\x7f", "\\u007f"))
    return 0


def _json_of(value: Any) -> Any:
    """As JSON knows it: what it does not know, as the codec writes that."""
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _json_of(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_of(item) for item in value]
    if isinstance(value, Handle):
        return _fields(value)
    try:
        return json.loads(JSON.encode(value))
    except (TypeError, ValueError):
        return repr(value)


def _fields(row: Any) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in fields(row)}


def _shown(name: str, value: Any) -> str:
    if name in _TIMES and isinstance(value, float):
        return _moment(value)
    return value if isinstance(value, str) and name != "result" else repr(value)


def _moment(at: float) -> str:
    """In this machine's time zone."""
    try:
        return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return repr(at)

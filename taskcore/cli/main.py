"""The command line's entry: what may be said, and what becomes of errors.

A command is a function `(engine, given) -> exit code`, and a line in the function `add` of its module, which `PARTS`
names.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from taskcore.api.engine import Engine
from taskcore.api.settings import path_of
from taskcore.cli import keeping, looking, operating, pictures, steering, watch, work
from taskcore.cli.choosing import FAILED, INTERRUPTED, Commands, Parser, Run
from taskcore.cli.showing import Lenient
from taskcore.core.errors import TaskcoreError
from taskcore.core.text import printable
from taskcore.core.version import VERSION
from taskcore.store.busy import Trouble
from taskcore.store.opening import refuse_another

PARTS: Final = (looking, watch, pictures, operating, steering, keeping, work)
"""Whose `add` adds the commands, in the order of the help."""

AFTER_THE_HELP: Final = """\
taskcore FILE COMMAND --help says more of each.
taskcore completion bash, or zsh or fish, prints what that shell needs to complete all this.

exit codes: 0    done
            1    nothing matched, a signal's task has ended, a hold was so before,
                 or `check` or `salvage` found something wrong
            2    an error, which is said in one line on stderr
            130  interrupted; 128 + its number after another signal"""


def main(argv: Sequence[str] | None = None) -> int:
    """→ the exit code, as `AFTER_THE_HELP` says. Without arguments it takes those of the process."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this
            setattr(sys, name, io.StringIO())
    with contextlib.suppress(AttributeError, ValueError):
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        said = list(sys.argv[1:] if argv is None else argv)
        if said[:1] == ["completion"]:
            from taskcore.cli.completion import completion  # for those who install it

            code = completion(said[1:], parser())
        else:
            whole = parser()
            _refuse_the_command_first(said, whole)
            code = _run(whole.parse_args(said))
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


def _refuse_the_command_first(said: Sequence[str], whole: Parser) -> None:
    """`ValueError` where the file stands behind the command."""
    known = next(each.choices for each in whole._actions if isinstance(each, argparse._SubParsersAction))
    if len(said) > 1 and said[0] in known and said[1] not in known and os.path.exists(said[1]):
        raise ValueError(f"the file comes before the command: taskcore {said[1]} {said[0]}")


def _run(given: Any) -> int:
    given.file = path_of(given.file)
    run: Run = given.run
    if given.alone:
        return run(None, given)
    refuse_another(given.file)
    with contextlib.closing(Engine(given.file, workers=0, codec=Lenient())) as engine:
        return run(engine, given)


def parser() -> Parser:
    made = Parser(prog="taskcore", description="Look at the tasks of a file, and move them.", epilog=AFTER_THE_HELP)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--version", action="version", version=f"taskcore {VERSION}")
    made.add_argument("file", metavar="FILE", help="a file that an engine made; none is made here")
    commands = Commands(made, dest="verb", required=True)
    for part in PARTS:
        part.add(commands)
    return made

"""The commands for the file itself: `prune`, `backup`, `check`, `salvage`."""

from __future__ import annotations

import argparse
import contextlib

from taskcore.api.engine import Engine
from taskcore.api.settings import path_of
from taskcore.cli.choosing import FOUND_SOMETHING, Commands
from taskcore.cli.showing import Lenient, answer, as_json, fields_of
from taskcore.core.ends import spoken
from taskcore.core.text import number, printable


def add(commands: Commands) -> None:
    old = commands.add("prune", prune, "delete ended tasks that nothing unfinished needs; the file gets smaller")
    old.add_argument(
        "--older-than", required=True, metavar="PERIOD", type=spoken, help='ended so long ago: seconds, or as "30d"'
    )
    copy = commands.add("backup", backup, "a whole copy of the file, while it is used")
    copy.add_argument("new", metavar="NEW", help="where; an earlier copy there is replaced")
    commands.add("check", check, "what is wrong with the file, and what mends it; exit code 1 if something is")
    saved = commands.add(
        "salvage", salvage, "what can be read of a damaged file, in a new one; exit code 1 if not all can", alone=True
    )
    saved.add_argument("new", metavar="NEW", help="a file that is not there yet")


def prune(engine: Engine, given: argparse.Namespace) -> int:
    n = engine.prune(older_than=given.older_than)
    return answer(given, {"deleted": n}, f"{number(n)} deleted")


def check(engine: Engine, given: argparse.Namespace) -> int:
    found = engine.check()
    if given.json:
        as_json(*map(fields_of, found))
    else:
        said = [f"{printable(finding.what)}\n    {printable(finding.mend)}" for finding in found]
        print("\n".join(said) or "nothing is wrong")
    return FOUND_SOMETHING if found else 0


def backup(engine: Engine, given: argparse.Namespace) -> int:
    engine.backup(given.new)
    return answer(given, {"copied": given.new}, f"copied to {printable(given.new)}")


def salvage(_: None, given: argparse.Namespace) -> int:
    """Without an engine: the file may be such that none can open it."""
    from taskcore.store.salvage import salvage

    given.new = path_of(given.new)
    saved = salvage(given.file, given.new)
    with contextlib.closing(Engine(given.new, workers=0, codec=Lenient())) as engine:
        found = len(engine.check())
    if given.json:
        as_json(*(table._asdict() for table in saved))
    for table in () if given.json else saved:
        if table.rows or table.lost:
            print(f"{table.rows:>10}  {table.table}")
        for what in table.lost[:20]:
            print(f"            lost: {printable(what)}")
        if len(table.lost) > 20:
            print(f"            and {len(table.lost) - 20} more")
    if not given.json:
        print(f"in {printable(given.new)}" + (f"; check finds {found} things there" if found else ""))
    return FOUND_SOMETHING if found or any(table.lost for table in saved) else 0

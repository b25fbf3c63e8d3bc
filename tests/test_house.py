"""The house: which room may import from which, and who may touch SQL, threads, the clock and code."""

import ast
import functools
import graphlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import taskcore
from taskcore.core import lifecycle
from taskcore.store import transitions

PACKAGE = Path(taskcore.__file__).parent
ROOMS = ["core", "codec", "store", "body", "runtime", "api", "view", "cli"]
"""From the bottom up. A module imports from rooms below its own, and within its room in no circle."""
TOP = {"__init__", "__main__", "testing"}
"""What lies beside the rooms: it may import from all of them."""

THREADED = {
    "store.connection", "store.line", "store.reader", "store.process_locks", "store.together", "body.command",
    "body.output", "body.logs", "body.replay", "runtime.wakeups", "runtime.pools", "runtime.guests",
    "runtime.callbacks", "runtime.notes", "runtime.loop", "runtime.lookout", "runtime.pacing", "api.assembly",
    "api.changes", "api.completion", "api.context", "api.future", "api.futures", "api.engine", "api.importing",
    "api.lifetime", "api.processes", "api.settings", "api.shutdown", "api.terminal", "api.visit", "api.worker_process",
    "core.id_ranges", "view.live", "view.server", "view.web", "testing",
}  # fmt: skip


@functools.cache
def modules():
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        found.append((name, ast.parse(file.read_text(encoding="utf-8"))))
    return found


@functools.cache
def walked(tree):
    """All its nodes: to walk a tree takes longer than to look at its nodes."""
    return list(ast.walk(tree))


@functools.cache
def imported(tree):
    """The modules that are imported when this one is, or later, or only for a type checker."""
    return list(imports(tree))


def imports(tree):
    for node in walked(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            assert node.module is not None
            package = PACKAGE.parent.joinpath(*node.module.split("."))
            if node.module == "concurrent" or package.is_dir():
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def neighbours(tree):
    """The modules of the package that this one imports."""
    return {name.removeprefix("taskcore.") for name in imported(tree) if name.split(".")[0] == "taskcore"}


def test_a_module_imports_only_from_rooms_below_its_own():
    for module, tree in modules():
        room = module.split(".")[0]
        assert module in TOP or room in ROOMS, f"{module} stands in no room"
        if module in TOP:
            continue
        for name in neighbours(tree):
            below = name.split(".")[0]
            assert below in ROOMS, f"{module} imports {name}, which is above every room"
            assert ROOMS.index(below) <= ROOMS.index(room), f"{module} imports {name} from a room above"


def test_no_modules_import_each_other_in_a_circle():
    """Also not by imports that only a type checker sees."""
    order = graphlib.TopologicalSorter({module: neighbours(tree) for module, tree in modules()})
    order.prepare()  # a `CycleError` names the circle


def test_each_room_says_what_lives_in_it():
    for room in ROOMS:
        if (PACKAGE / room).is_dir():
            text = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8")))
            assert text and "import" in text.lower() and "thread" in text, room


def test_sqlite_is_the_stores_own():
    for module, tree in modules():
        if "sqlite3" in set(imported(tree)):
            assert module == "__init__" or module.startswith("store."), module
    use = [ast.unparse(node) for node in ast.walk(dict(modules())["__init__"]) if isinstance(node, ast.Attribute)]
    assert set(use) == {"_sqlite3.sqlite_version", "_sqlite3.sqlite_version_info"}


def test_threads_live_where_the_scheduler_and_the_future_do():
    for module, tree in modules():
        names = {name for name in imported(tree) if name.split(".")[0] in ("threading", "concurrent", "_thread")}
        assert not names or module in THREADED, (module, names)


def test_the_wall_clock_is_read_by_the_clock_alone():
    calls = {"now", "utcnow", "today", "time", "time_ns", "localtime", "gmtime", "monotonic", "perf_counter"}
    for module, tree in modules():
        assert module == "core.clock" or "time" not in set(imported(tree)), module
        for node in walked(tree):
            if isinstance(node, ast.Attribute) and node.attr in calls:
                assert ast.unparse(node.value).split(".")[-1] not in ("datetime", "date", "_datetime"), module


def test_nothing_that_is_stored_can_become_code():
    for module, tree in modules():
        modules_of_code = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "code", "runpy"}
        assert not modules_of_code & {name.split(".")[0] for name in imported(tree)}, module
        for node in walked(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec", "compile", "__import__"), module


def test_transactions_are_begun_by_name():
    """`with connection` begins none, and `executescript` commits what is open: where nothing is, it may be used."""
    begins = []
    for module, tree in modules():
        for node in walked(tree):
            if isinstance(node, (ast.With, ast.AsyncWith)):
                for item in node.items:
                    said = ast.unparse(item.context_expr).split(".")[-1].strip("_")
                    assert said not in ("connection", "conn", "db", "connect"), module
            if isinstance(node, ast.Attribute):
                assert node.attr != "executescript" or module == "store.retention", module
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("BEGIN "):
                begins.append(module)
    assert set(begins) == {"store.connection", "store.counts", "store.opening", "store.salvage"}


SQL_WORDS = ("SELECT ", "INSERT ", "UPDATE ", "DELETE ", "CREATE ", "PRAGMA ", " WHERE ", " WITH ", " CASE ")

WRITTEN_INTO_SQL = {
    "store.counts": {"chosen.sql"},  # of `queries.where`
    "store.dependencies": {"end", "found"},  # of two constants
    "store.opening": {"pages"},  # a number that is reckoned there
    "store.pages": {"text"},  # as in store.queries
    "store.pictures": {"chosen.sql"},  # made by `queries.where`
    "store.queries": {"chosen.sql", "order"},  # made of _FILTERS and _PHASE; ASC or DESC
    "store.salvage": {"table", "listed", "by", "column"},  # made of TABLES, and of what SQLite says of their columns
    "store.steps": {"column"},  # of five that are listed there
    "store.transitions": {"phase", "name", "condition", "cases", "last", "verb"},  # made of the table of a task's life
    "store.views": {"table", "name"},  # columns that are listed there
}
"""The names in SQL texts that are no constants, each with where it comes from; none comes from a user."""


FIXED_BY_NAME = ("_words", "_times", "tuple", "sorted", "selected", "leaving", "target", "by_row", "where_left")
"""Functions whose text is fixed where their arguments are."""


def unfixed(node):
    """The names in an expression whose value is not fixed when its module is written; how often a text is repeated does
    not count."""
    match node:
        case ast.Constant():
            return set()
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return set() if name.isupper() or name == "_fields" else {ast.unparse(node)}
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return set().union(*map(unfixed, parts))
        case ast.IfExp(body=one, orelse=other):
            return unfixed(one) | unfixed(other)
        case ast.BinOp(op=ast.Mult(), left=text):
            return unfixed(text)
        case ast.Call(func=ast.Attribute(value=text, attr="join" | "replace"), args=parts):
            return unfixed(text).union(*map(unfixed, parts))
        case ast.Call(func=ast.Name(id=name)) if name in FIXED_BY_NAME:
            return set().union(*map(unfixed, [*node.args, *(keyword.value for keyword in node.keywords)]))
        case ast.Subscript(value=table, slice=key):
            return unfixed(table) | unfixed(key)
    return {ast.unparse(node)}


def test_no_value_is_ever_written_into_sql():
    for module, tree in modules():
        for node in walked(tree):
            if isinstance(node, ast.JoinedStr):
                text = "".join(part.value if isinstance(part, ast.Constant) else "?" for part in node.values)
                if any(word in f" {' '.join(text.split())} " for word in SQL_WORDS):
                    assert module.startswith("store."), f"{module} has SQL: {text}"
                    found = set().union(
                        *(unfixed(part.value) for part in node.values if isinstance(part, ast.FormattedValue))
                    )
                    assert found <= WRITTEN_INTO_SQL.get(module, set()), f"{module}: {found} in {text}"
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in ("execute", "executemany", "execute_fetchall") and node.args:
                    text = node.args[0]
                    built = isinstance(text, ast.BinOp)
                    built |= isinstance(text, ast.Call) and isinstance(text.func, ast.Attribute)
                    assert not built, f"{module}: {ast.unparse(text)}"


# -- the table of a task's life decides ----------------------------------------------------------------------------

OF_THE_TABLE = ("target", "by_row", "where_left")


def updates_of_a_phase():
    """(module, the text with `?` for what is filled in, what that is) of each UPDATE that sets a task's phase."""
    for module, tree in modules():
        inside = {id(part) for node in walked(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in walked(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
                text, filled = node.value, []
            elif isinstance(node, ast.JoinedStr):
                text = "".join(part.value if isinstance(part, ast.Constant) else "?" for part in node.values)
                filled = [ast.unparse(part.value) for part in node.values if isinstance(part, ast.FormattedValue)]
            else:
                continue
            if "UPDATE taskcore_task" in text and re.search(r"(SET|,)\s+phase = ", text):
                yield module, text, filled


def test_no_update_writes_a_phase_but_by_the_table():
    phases = "|".join(lifecycle.PHASES)
    found = list(updates_of_a_phase())
    assert len(found) >= 15, "the search finds what it did before"
    for module, text, filled in found:
        written = re.search(r"(?:SET|,)\s+(phase = .*?)(?:,\s+\w+ = |WHERE|FROM|$)", text, re.DOTALL)
        assert written is not None
        assert not re.search(rf"(= |THEN |ELSE )'({phases})'", written[1]), f"{module}: {text}"
        guard = text.rpartition("WHERE")[2].replace("(?)", "")
        assert "?" in guard or any("where_left" in part for part in filled), f"{module}: no guard: {text}"


def test_the_table_has_no_verb_that_nobody_uses():
    used = {verb for verbs in lifecycle.BY_ROW.values() for verb in verbs}
    for _, tree in modules():
        for node in walked(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OF_THE_TABLE:
                used |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    assert set(lifecycle.VERBS) <= used


def test_a_transition_that_is_not_in_the_table_cannot_be_written():
    for write in (transitions.target, transitions.leaving, transitions.where_left, transitions.by_row):
        with pytest.raises(KeyError):
            write("forgive")
    with pytest.raises(KeyError):
        transitions.by_row("lose its worker", lose="lapses > 3")  # without what wins over it


# -- this suite ----------------------------------------------------------------------------------------------------


def test_no_test_sleeps():
    """But storms: there time is what disturbs."""
    here = Path(__file__).parent
    for file in here.rglob("test_*.py"):
        if file.parent.name == "storms":
            continue
        text = file.read_text(encoding="utf-8")
        if "sleep(" not in text:
            continue
        calls = [n.func for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)]
        names = {ast.unparse(function) for function in calls}
        assert not names & {"time.sleep", "sleep"}, f"{file.relative_to(here)} sleeps"


def test_importing_takes_no_module_along_that_most_programs_never_need():
    """A script that only submits starts sooner by it."""
    seldom = {
        "argparse", "ast", "asyncio", "ctypes", "dataclasses", "datetime", "hashlib", "html", "http.server", "inspect",
        "multiprocessing", "pathlib", "random", "shutil", "signal", "subprocess", "tempfile", "zoneinfo",
        "taskcore.core.cron", "taskcore.core.model", "taskcore.store.schedules", "taskcore.store.shape",
        "taskcore.view",
    }  # fmt: skip
    code = "import json, sqlite3, sys, concurrent.futures.thread as _; before = set(sys.modules); import taskcore\n"
    code += "print(json.dumps(sorted(set(sys.modules) - before)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert not seldom & set(json.loads(said.stdout))


def test_importing_compiles_no_annotation():
    """`NamedTuple` compiles those that are texts, which took 2 of the import's 28 ms: the modules that make one on the
    way do without `from __future__ import annotations`."""
    code = """if True:
        import builtins, json, sqlite3, concurrent.futures.thread
        told, real = [], compile
        builtins.compile = lambda text, name, *more, **said: told.append(name) or real(text, name, *more, **said)
        import taskcore
        print(json.dumps(told))"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert "<string>" not in json.loads(said.stdout)

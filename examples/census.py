"""A census of Python's own standard library: every module parsed and counted, summed by package, and reported.

    python examples/census.py                       # the whole library, into census.db
    python examples/census.py --kill-after 1000     # dies by SIGKILL half way ...
    python examples/census.py                       # ... and goes on with the files that are left
    python examples/census.py --fresh --processes 4 # on four cores

One task a file, one a package, one for the report. Files that are no Python (the library has some, to test itself
with) are failed tasks, and stop nothing.
"""

import argparse
import ast
import itertools
import logging
import os
import signal
import sys
import sysconfig
import time
import warnings
from collections import Counter
from pathlib import Path
from textwrap import shorten

sys.path.append(str(Path(__file__).resolve().parents[1]))  # a clone works without being installed

import taskcore

logging.getLogger("taskcore").setLevel(logging.ERROR)  # what fails here is meant to, and is printed below

COLUMNS = ("files", "lines", "functions", "classes", "imports")

arguments = argparse.ArgumentParser(description="Count what is in Python's standard library.")
arguments.add_argument("--db", type=Path, default=Path("census.db"), help="the file the tasks are kept in")
arguments.add_argument("--root", type=Path, default=Path(sysconfig.get_paths()["stdlib"]), help="another tree to read")
arguments.add_argument("--limit-files", type=int, metavar="N", help="only the first N files")
arguments.add_argument("--workers", type=int, metavar="N", help="how many threads, in each process")
arguments.add_argument("--processes", type=int, metavar="N", help="how many worker processes; otherwise threads of one")
arguments.add_argument("--kill-after", type=int, metavar="N", help="die by SIGKILL when N files were parsed")
arguments.add_argument("--fresh", action="store_true", help="forget what was done before")
options = arguments.parse_args()
if options.fresh and __name__ == "__main__":
    for suffix in ("", "-wal", "-shm"):
        Path(f"{options.db}{suffix}").unlink(missing_ok=True)

engine = taskcore.Engine(options.db, workers=options.workers, processes=options.processes)
begun = itertools.count()


@engine.task
def parse(root: str, path: str) -> dict[str, int]:
    """One file's counts. What it raises is the reason of the failed task, and in the report."""
    if next(begun) == options.kill_after:
        print(f"{options.kill_after:,} files parsed, killing this process", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    source = Path(root, path).read_bytes()
    nodes = Counter(type(node) for node in ast.walk(ast.parse(source, path)))
    return {
        "files": 1,
        "lines": len(source.splitlines()),
        "functions": nodes[ast.FunctionDef] + nodes[ast.AsyncFunctionDef],
        "classes": nodes[ast.ClassDef],
        "imports": nodes[ast.Import] + nodes[ast.ImportFrom],
    }


@engine.task(key=True, otherwise="drop")  # a failed file is left out of the list
def total(package: str, files: list[dict[str, int]]) -> dict[str, int]:
    """The sum of its files' counts. The name is there for whoever lists the tasks."""
    return {column: sum(counts[column] for counts in files) for column in COLUMNS}


@engine.task(key=True, key_scope="unfinished")  # a later run writes a new one
def report(packages: dict[str, dict[str, int]]) -> str:
    """The report as text, also written beside the database."""
    largest = sorted(packages, key=lambda package: packages[package]["lines"], reverse=True)
    everything = {column: sum(counts[column] for counts in packages.values()) for column in COLUMNS}
    failed = {str(task.key): str(task.last_error) for task in engine.tasks.where(name=parse.name, phase="failed")}
    lines = [
        f"packages: {len(packages):,}, the largest of them:",
        f"  {'package':<18}" + "".join(f"  {column:>9}" for column in COLUMNS),
        *(row(package, packages[package]) for package in largest[:10]),
        row("all packages", everything),
        f"files that cannot be parsed: {len(failed):,}",
        *(f"  {path:<40}  {shorten(why, 72)}" for path, why in (failed or {"none": "all are Python"}).items()),
    ]
    text = "\n".join(lines)
    options.db.with_suffix(".report.txt").write_text(text + "\n", encoding="utf-8")
    return text


def row(package: str, counts: dict[str, int]) -> str:
    return f"  {package:<18}" + "".join(f"  {counts[column]:>9,}" for column in COLUMNS)


def package_of(path: str) -> str:
    package, slash, _ = path.partition("/")
    return package if slash else "(single modules)"


def modules(root: Path) -> list[str]:
    """The paths of the modules below `root`, those of one package together, always in the same order."""
    found = (path.relative_to(root) for path in root.rglob("*.py"))
    paths = [path.as_posix() for path in found if "site-packages" not in path.parts]
    return sorted(paths, key=lambda path: (package_of(path), path))


def ended() -> int:
    counts = engine.tasks.counts()
    return counts.get("succeeded", 0) + counts.get("failed", 0)


warnings.simplefilter("ignore")  # parsing warns of doubtful code in those files

if __name__ == "__main__":  # worker processes import this file, and only take its functions
    paths = modules(options.root)[: options.limit_files]
    with engine:
        started, ended_before = time.perf_counter(), ended()
        parsed_before = len(engine.tasks.where(name=parse.name, phase="succeeded"))
        print(f"files: {len(paths):,}, parsed before: {parsed_before:,}")
        with engine.transaction():  # all or nothing; what is there already stays, because it has the same key
            totals = {}
            for package, members in itertools.groupby(paths, package_of):
                files = [parse.options(key=path).submit(str(options.root), path) for path in members]
                totals[package] = total.submit(package, files)
            written = report.submit(totals)
        engine.run()  # draws its progress, in a terminal
        print(written.result())
        parsed = list(engine.tasks.where(name=parse.name, phase="succeeded"))
        twice = sum(task.attempts - task.lapses > 1 for task in parsed)  # a lapse: the process died under it
        print(f"parsed now: {len(parsed) - parsed_before:,}, before: {parsed_before:,}, twice: {twice:,}")
        print(f"cut off by a kill and begun again: {sum(task.lapses > 0 for task in parsed):,}")
        tasks, seconds = ended() - ended_before, time.perf_counter() - started
        print(f"tasks: {tasks:,} in {seconds:.1f} s, {tasks / seconds:,.0f} a second")

# Output:
# files: 1,790, parsed before: 0
# packages: 35, the largest of them:
#   package                 files      lines  functions    classes    imports
#   test                      816    464,671     36,630      8,920      6,625
#   (single modules)          168    132,166      7,025        783      1,286
#   idlelib                   125     34,537      2,349        382        864
#   encodings                 122     32,340        561        592        161
#   unittest                   43     25,445      2,587        584        243
#   distutils                  91     22,380        939        127        719
#   lib2to3                    95     19,177      1,201        379        314
#   tkinter                    33     17,764      1,681        237        138
#   pydoc_data                  2     15,711          0          0          0
#   asyncio                    33     14,045        990        105        275
#   all packages            1,781    857,247     58,754     13,116     11,965
# files that cannot be parsed: 9
#   lib2to3/tests/data/bom.py                 SyntaxError: Missing parentheses in call to 'print'. Did you mean [...]
#   lib2to3/tests/data/crlf.py                SyntaxError: Missing parentheses in call to 'print'. Did you mean [...]
#   lib2to3/tests/data/different_encoding.py  SyntaxError: Missing parentheses in call to 'print'. Did you mean [...]
#   lib2to3/tests/data/false_encoding.py      SyntaxError: Missing parentheses in call to 'print'. Did you mean [...]
#   lib2to3/tests/data/py2_test_grammar.py    SyntaxError: leading zeros in decimal integer literals are not [...]
#   test/tokenizedata/bad_coding.py           SyntaxError: unknown encoding: uft-8 (bad_coding.py, line 0)
#   test/tokenizedata/bad_coding2.py          SyntaxError: encoding problem: utf8 with BOM (bad_coding2.py, line 0)
#   test/tokenizedata/badsyntax_3131.py       SyntaxError: invalid character '€' (U+20AC) (badsyntax_3131.py, line 2)
#   test/tokenizedata/badsyntax_pep3120.py    SyntaxError: (unicode error) 'utf-8' codec can't decode byte 0xf6 [...]
# parsed now: 1,781, before: 0, twice: 0
# cut off by a kill and begun again: 0
# tasks: 1,826 in 10.5 s, 174 a second

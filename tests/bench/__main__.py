"""The runner and its table: `python -m tests.bench [NAME …] [--rounds N]`."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import files, graphs, growth, processes, queues, throughput
from .measure import Figure, NotHere


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One row of the table."""

    name: str
    """What it is called by, with or without its spaces; rows that belong together share a name."""
    measure: Callable[[Path, int], Figure]
    """Does the work in an empty directory, in so many rounds. The first paragraph of its docstring says which work."""
    must: float
    aim: float
    rounds: int
    unit: str = "×"
    less: bool = False
    """Whether less is better: lengths of time, memory, switches."""

    def verdict(self, figure: Figure) -> str:
        """Which of the two marks the figure reached."""
        marks = [("aim", self.aim), ("must", self.must)]
        reached = [name for name, mark in marks if self._reaches(figure.value, mark)]
        return "below" if figure.fault or not reached else reached[0]

    def _reaches(self, value: float, mark: float) -> bool:
        return value <= mark if self.less else value >= mark

    def short(self, figure: Figure) -> str:
        """Why the figure is below its mark, in a sentence for the end of the table."""
        bound = "at most" if self.less else "at least"
        fault = figure.fault and f", and {figure.fault}"
        work = " ".join((self.measure.__doc__ or "").split("\n\n")[0].split())
        return f"{self.name}: {figure.value:.3f} {self.unit}, must be {bound} {self.must:.2f}{fault}. {work}"


BENCHMARKS = (
    Benchmark("drain", throughput.drained, 0.50, 1.0, 5),
    Benchmark("live", throughput.live, 0.12, 0.25, 5),
    Benchmark("submit", throughput.submit, 0.60, 0.85, 5),
    Benchmark("bulk", throughput.bulk, 0.30, 0.50, 5),
    Benchmark("round trip", throughput.roundtrip, 3.0, 1.5, 5, less=True),
    Benchmark("dag", graphs.dag, 0.50, 0.70, 5),
    Benchmark("big dag", graphs.bigdag, 0.75, 0.95, 1),
    Benchmark("backlog", queues.backlog, 0.85, 1.0, 5),
    Benchmark("backlog", queues.blocked, 0.85, 1.0, 5),
    Benchmark("steps", throughput.steps, 0.60, 0.90, 5),
    Benchmark("two", processes.two, 0.90, 1.1, 5),
    Benchmark("names", queues.names, 0.40, 0.80, 5),
    Benchmark("memory", processes.memory, 40.0, 10.0, 1, unit="MB", less=True),
    Benchmark("idle", processes.idle, 5.0, 2.0, 1, unit="/s", less=True),
    Benchmark("open", files.opened, 3.0, 1.2, 15, less=True),
    Benchmark("import", processes.imported, 2.5, 1.5, 11, less=True),
    Benchmark("watched", queues.watched, 0.85, 0.97, 2),
    Benchmark("counts", files.counted, 2.0, 0.2, 15, unit="ms", less=True),
    Benchmark("counts", files.counted_children, 2.0, 0.2, 15, unit="ms", less=True),
    Benchmark("chain", graphs.chain, 0.15, 0.35, 5),
    Benchmark("fan", graphs.fan, 0.50, 0.80, 5),
    Benchmark("processes", processes.census, 1.6, 1.9, 2),
    Benchmark("signals", graphs.signals, 0.33, 0.50, 5),
)

HEAD = f"{'name':10} {'figure':>9} {'must':>6} {'aim':>6}        {'rounds':>11}  {'ours':>16} {'reference':>16}"


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one benchmark."""

    benchmark: Benchmark
    figure: Figure | None = None
    missing: str = ""
    """Why there is no figure."""
    done: bool = True
    """Whether its work was done, as far as this machine can do it."""


def line(row: Row) -> str:
    """One row of the table."""
    benchmark, figure = row.benchmark, row.figure
    if figure is None:
        return f"{benchmark.name:10} {row.missing}"
    value, spread = f"{figure.value:.2f} {benchmark.unit:2}", f"{figure.lowest:.2f}–{figure.highest:.2f}"
    marks = f"{benchmark.must:6.2f} {benchmark.aim:6.2f}"
    return (
        f"{benchmark.name:10} {value:>9} {marks}  {benchmark.verdict(figure):5} {spread:>11}"
        f"  {figure.ours:>16} {figure.reference:>16}  {figure.note}"
    ).rstrip()


def summary(rows: Sequence[Row]) -> list[str]:
    """What the table ends with: the rows below *must*, each with its figure and mark, or that there are none."""
    low = [
        row.benchmark.short(row.figure)
        for row in rows
        if row.figure is not None and row.benchmark.verdict(row.figure) == "below"
    ]
    said = ["Below must:", *(f"  {text}" for text in low)] if low else ["No row that was measured is below its must."]
    missing = [f"{row.benchmark.name} ({row.missing})" for row in rows if row.figure is None]
    return [*said, *([f"Without a figure: {'; '.join(missing)}."] if missing else [])]


def run(benchmark: Benchmark, rounds: int) -> Row:
    """Run one benchmark in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="taskcore-bench-", ignore_cleanup_errors=True) as place:
        try:
            return Row(benchmark, benchmark.measure(Path(place), rounds))
        except NotHere as missing:
            return Row(benchmark, missing=f"not measured: {missing}")
        except Exception as error:
            traceback.print_exc()
            said = (str(error).splitlines() or [""])[0]
            return Row(benchmark, missing=f"not done: {type(error).__name__}: {said}", done=False)


def table(chosen: Sequence[Benchmark], rounds: int | None) -> bool:
    """Run these and print each row as soon as there is one; whether the work of all was done."""
    began, rows = time.perf_counter(), list[Row]()
    print(HEAD, flush=True)
    for benchmark in chosen:
        rows.append(run(benchmark, rounds or benchmark.rounds))
        print(line(rows[-1]), flush=True)
    print(f"{time.perf_counter() - began:.0f} s; medians of interleaved rounds, rounds: lowest and highest")
    print("\n".join(summary(rows)), flush=True)
    return all(row.done for row in rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named benchmarks, or all of them; 1 if the work of one was not done."""
    logging.getLogger("taskcore").setLevel(logging.ERROR)  # names are defined anew, and some bodies fail
    known = {benchmark.name.replace(" ", ""): benchmark.name for benchmark in BENCHMARKS}
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Figures of the engine beside others.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*known, "growth, a table of its own"]))
    parser.add_argument("--rounds", type=int, help="rounds of each, instead of its own number")
    options = parser.parse_args(arguments)
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.names == ["growth"]:
        with tempfile.TemporaryDirectory(prefix="taskcore-bench-", ignore_cleanup_errors=True) as place:
            growth.table(Path(place), options.rounds or 3)
        return 0
    wanted = [name.replace(" ", "") for name in options.names]
    if unknown := [name for name in wanted if name not in known]:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(known)}")
    names = {known[name] for name in wanted or known}
    return 0 if table([benchmark for benchmark in BENCHMARKS if benchmark.name in names], options.rounds) else 1


if __name__ == "__main__":
    sys.exit(main())

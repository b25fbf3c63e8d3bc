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
    """What it is called by; rows that belong together share a name."""
    measure: Callable[[Path, int], Figure]
    """Does the work in an empty directory, in so many rounds."""
    must: float
    aim: float
    rounds: int
    unit: str = "×"
    less: bool = False
    """Whether less is better: lengths of time, memory, switches."""
    by_default: bool = True
    """Whether it runs when nothing is named; the longest don't."""

    def verdict(self, value: float) -> str:
        """Which of the two marks the figure reached."""
        reached = [name for name, mark in (("aim", self.aim), ("must", self.must)) if self._reaches(value, mark)]
        return reached[0] if reached else "below"

    def _reaches(self, value: float, mark: float) -> bool:
        return value <= mark if self.less else value >= mark


BENCHMARKS = (
    Benchmark("drain", throughput.drained, 0.50, 1.0, 5),
    Benchmark("live", throughput.live, 0.12, 0.25, 5),
    Benchmark("submit", throughput.submit, 0.60, 0.85, 5),
    Benchmark("bulk", throughput.bulk, 0.30, 0.50, 5),
    Benchmark("roundtrip", throughput.roundtrip, 3.0, 1.5, 5, less=True),
    Benchmark("dag", graphs.dag, 0.50, 0.70, 5),
    Benchmark("fan", graphs.fan, 0.50, 0.70, 5),
    Benchmark("chain", graphs.chain, 0.05, 0.10, 5),
    Benchmark("signals", graphs.signals, 0.33, 0.50, 5),
    Benchmark("bigdag", graphs.bigdag, 0.75, 0.95, 1, by_default=False),
    Benchmark("backlog", queues.backlog, 0.85, 1.0, 5),
    Benchmark("backlog", queues.blocked, 0.85, 1.0, 5),
    Benchmark("watched", queues.watched, 0.85, 0.97, 2),
    Benchmark("steps", throughput.steps, 0.60, 0.90, 5),
    Benchmark("two", processes.two, 0.90, 1.1, 5),
    Benchmark("names", queues.names, 0.40, 0.80, 5),
    Benchmark("memory", processes.memory, 40.0, 10.0, 1, unit="MB", less=True),
    Benchmark("idle", processes.idle, 5.0, 2.0, 1, unit="/s", less=True),
    Benchmark("open", files.opened, 3.0, 1.2, 15, less=True),
    Benchmark("counts", files.counted, 2.0, 0.2, 15, unit="ms", less=True),
    Benchmark("counts", files.counted_children, 2.0, 0.2, 15, unit="ms", less=True),
    Benchmark("import", processes.imported, 2.5, 1.5, 11, less=True),
)

HEAD = f"{'name':10} {'figure':>9} {'must':>6} {'aim':>6}        {'rounds':>11}  {'ours':>16} {'reference':>16}"


def line(benchmark: Benchmark, figure: Figure) -> str:
    """One row of the table."""
    value, spread = f"{figure.value:.2f} {benchmark.unit:2}", f"{figure.lowest:.2f}–{figure.highest:.2f}"
    marks = f"{benchmark.must:6.2f} {benchmark.aim:6.2f}"
    verdict = benchmark.verdict(figure.value)
    return (
        f"{benchmark.name:10} {value:>9} {marks}  {verdict:5} {spread:>11}"
        f"  {figure.ours:>16} {figure.reference:>16}  {figure.note}"
    )


def run(benchmark: Benchmark, rounds: int) -> bool:
    """Run one benchmark in a directory of its own and print what it found; False if its work was not done."""
    with tempfile.TemporaryDirectory(prefix="taskcore-bench-", ignore_cleanup_errors=True) as place:
        try:
            figure = benchmark.measure(Path(place), rounds)
        except NotHere as missing:
            print(f"{benchmark.name:10} not measured: {missing}", flush=True)
            return True
        except Exception as error:
            traceback.print_exc()
            said = (str(error).splitlines() or [""])[0]
            print(f"{benchmark.name:10} not done: {type(error).__name__}: {said}", flush=True)
            return False
    print(line(benchmark, figure), flush=True)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named benchmarks, or all but the longest; 1 if the work of one was not done."""
    logging.getLogger("taskcore").setLevel(logging.ERROR)  # names are defined anew, and some bodies fail
    known = list(dict.fromkeys(benchmark.name for benchmark in BENCHMARKS))
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Figures of the engine beside others.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*known, "growth, a table of its own"]))
    parser.add_argument("--rounds", type=int, help="rounds of each, instead of its own number")
    options = parser.parse_args(arguments)
    if options.names == ["growth"]:
        with tempfile.TemporaryDirectory(prefix="taskcore-bench-", ignore_cleanup_errors=True) as place:
            growth.table(Path(place), options.rounds or 3)
        return 0
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(known)}")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    chosen = [
        benchmark
        for benchmark in BENCHMARKS
        if (benchmark.name in options.names if options.names else benchmark.by_default)
    ]
    began = time.perf_counter()
    print(HEAD, flush=True)
    done = [run(benchmark, options.rounds or benchmark.rounds) for benchmark in chosen]
    print(f"{time.perf_counter() - began:.0f} s; medians of interleaved rounds, rounds: lowest and highest", flush=True)
    left_out = [benchmark.name for benchmark in BENCHMARKS if benchmark not in chosen and not options.names]
    if left_out:
        print(f"only when named: {', '.join(left_out)}", flush=True)
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())

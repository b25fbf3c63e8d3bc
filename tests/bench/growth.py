"""How cost grows: `python -m tests.bench growth` prints a Markdown table, a row for each thing there may be more of."""

from __future__ import annotations

import itertools
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import taskcore

from .files import age_to
from .measure import check, duration, seconds
from .processes import drain_with
from .references import THREADS, noop, raw
from .stored import drain, ended_well, fill, noops, run_through

LONG = 8.0
"""Seconds after which a cell, with all that prepares it, is not measured again."""
CHANCE = 1.25
"""By how much two measurements of the same may differ."""


@dataclass(frozen=True, slots=True)
class Growth:
    """One row of the table."""

    what: str
    """What there is more and more of."""
    work: str
    """The work that is timed."""
    measured: Callable[[Path, int], float]
    """Seconds a task, with so much of what grows, in an empty directory."""
    sizes: Sequence[int]
    more_tasks: bool = False
    """Whether it is the tasks themselves: else their number stays the same, and what grows is what they cost."""

    def steep(self, costs: Sequence[float]) -> list[tuple[int, int]]:
        """Of these seconds a task, one a size: between which neighbours the whole work grows by more than n log n, and
        by more than chance explains."""

        def whole(size: int, cost: float) -> float:
            return cost * size if self.more_tasks else cost

        cells = list(zip(self.sizes, costs, strict=True))
        return [
            (few, many)
            for (few, before), (many, after) in itertools.pairwise(cells)
            if whole(many, after) / whole(few, before) > CHANCE * n_log_n(many) / n_log_n(few)
        ]


def n_log_n(n: int) -> float:
    """Of one, one."""
    return n * (1 + math.log2(n))


def tasks(place: Path, n: int) -> float:
    """Stored no-op tasks run by four threads of an engine that has run a task already."""
    fill(place / "full.db", noops(n))
    with closing(taskcore.Engine(place / "full.db", workers=THREADS)) as engine:
        engine.task(noop, name="first").submit().result()

        def work() -> None:
            engine.task(noop, name="noop")  # from here on it may run them
            engine.run(progress=False)

        took = seconds(work)
        ended_well(engine, n + 1)
    return took / n


def edges(place: Path, n: int) -> float:
    """20,000 tasks in 40 layers of 500, with n edges, spread evenly, from each layer to the next."""
    count, width = 20_000, 500
    below = count - width

    def store(engine: taskcore.Engine) -> Iterable[object]:
        task, above, layer = engine.task("noop"), list[object](), list[object]()
        for number in range(count):
            child = number - width
            parents = (child + 1) * n // below - child * n // below if above else 0
            before = [above[(number + k) % width] for k in range(parents)]
            layer.append((task.options(after=before) if before else task).submit())
            if len(layer) == width:
                above, layer = layer, []
            yield None

    fill(place / "linked.db", store)
    with closing(raw(place / "linked.db")) as db:
        check(db.execute("SELECT count(*) FROM taskcore_edge").fetchone() == (n,), f"there are {n} edges")
    return 1 / drain(place / "linked.db", count, noop=noop)


def threads(place: Path, n: int) -> float:
    """20,000 stored no-op tasks, run by so many threads."""
    fill(place / "full.db", noops(20_000))
    with closing(taskcore.Engine(place / "full.db", workers=n)) as engine:
        engine.task(noop, name="noop")
        return 1 / run_through(engine, 20_000)


def processes(place: Path, n: int) -> float:
    """40,000 stored tasks, run by so many processes of four threads, from the moment that all of these are there."""

    def store(engine: taskcore.Engine) -> Iterable[object]:
        task = engine.task("visit")
        for number in range(40_000):
            task.submit(number)
            yield None

    fill(place / "full.db", store)
    return 1 / drain_with(n, place / "full.db", 40_000)[0]


def ended(place: Path, n: int) -> float:
    """2,000 tasks submitted one by one, run and awaited, in a file with so many ended ones."""
    age_to(place / "old.db", n)
    with closing(taskcore.Engine(place / "old.db", workers=THREADS)) as engine:
        task = engine.task(noop, name="noop")
        engine.start()
        took = seconds(lambda: [future.result() for future in [task.submit() for _ in range(2000)]])
        ended_well(engine, n + 2000)
    return took / 2000


def names(place: Path, n: int) -> float:
    """20,000 stored no-op tasks of so many names, in turn."""

    def store(engine: taskcore.Engine) -> Iterable[object]:
        kinds = [engine.task(f"kind{number}") for number in range(n)]
        for kind in itertools.islice(itertools.cycle(kinds), 20_000):
            kind.submit()
            yield None

    fill(place / "full.db", store)
    return 1 / drain(place / "full.db", 20_000, **{f"kind{number}": noop for number in range(n)})


def payload(place: Path, n: int) -> float:
    """Tasks that take and return a text of so many bytes, submitted one by one, run and awaited."""
    count = max(100, min(1000, 20_000_000 // n))
    with closing(taskcore.Engine(place / "full.db", workers=THREADS)) as engine:
        task = engine.task(lambda text: text, name="echo")
        engine.start()
        text = "x" * n

        def work() -> None:
            futures = [task.submit(text) for _ in range(count)]
            check(all(future.result() == text for future in futures), "what came back is what went in")

        took = seconds(work)
        ended_well(engine, count)
    return took / count


GROWTH = (
    Growth("tasks in the file", "all of them, no-ops, are run by 4 threads", tasks,
           (1_000, 10_000, 100_000, 1_000_000), more_tasks=True),
    Growth("dependencies", "20,000 no-op tasks, with so many among them, are run by 4 threads", edges,
           (1, 10_000, 100_000, 1_000_000)),
    Growth("threads", "20,000 no-op tasks are run by them", threads, (1, 4, 16, 64)),
    Growth("processes", "40,000 no-op tasks are run by them, each with 4 threads", processes, (1, 2, 4, 8)),
    Growth("ended tasks in the file", "2,000 new ones are submitted one by one, run and awaited", ended,
           (100, 10_000, 100_000, 1_000_000)),
    Growth("task names", "20,000 no-op tasks, of these names in turn, are run by 4 threads", names,
           (1, 10, 100, 1_000)),
    Growth("bytes of an argument", "tasks that return it are submitted one by one, run and awaited", payload,
           (100, 10_000, 100_000, 1_000_000)),
)  # fmt: skip

INTRODUCTION = """\
Each cell says how many there are and, behind the colon, how long one task takes then, as a multiple of what it takes
in the row's first cell; the last column says what that is. It is the shortest of the rounds; what takes long has one.
"""
HEAD = """\
| of these there are more and more | this is timed | | | | | one task in the first cell |
|---|---|---|---|---|---|---|"""


def measure(place: Path, row: Growth, rounds: int) -> list[float]:
    """Seconds a task, one a size: the shortest of rounds that go through all sizes. What takes long is measured once.

    (Not the median: there is nothing beside it in the same round that another program would hold up as well.)
    """
    found: dict[int, list[float]] = {size: [] for size in row.sizes}
    long = set[int]()
    for _ in range(rounds):
        for size in row.sizes:
            if size not in long:
                began = time.perf_counter()
                with tempfile.TemporaryDirectory(dir=place, ignore_cleanup_errors=True) as folder:
                    found[size].append(row.measured(Path(folder), size))
                if time.perf_counter() - began > LONG:
                    long.add(size)
    return [min(took) for took in found.values()]


def line(row: Growth, costs: Sequence[float]) -> str:
    """One row of the table: so many, and what a task takes then, as a multiple of what it takes in the first."""
    times = [cost / costs[0] for cost in costs]
    cells = [f"{size:,}: {more:,.{2 if more < 10 else 0}f}" for size, more in zip(row.sizes, times, strict=True)]
    return f"| {row.what} | {row.work} | {' | '.join(cells)} | {duration(costs[0])} |"


def verdict(found: Iterable[tuple[Growth, Sequence[float]]]) -> str:
    """Which rows grow too steeply, or that none does."""
    steep = [f"{row.what}, from {few:,} to {many:,}" for row, costs in found for few, many in row.steep(costs)]
    if steep:
        return f"More than n log n: {'; '.join(steep)}."
    return "From cell to cell, nothing grows by more than n log n."


def table(place: Path, rounds: int) -> None:
    """Print it, each row as soon as it is measured, and below it which rows grow too steeply."""
    print(INTRODUCTION)
    print(HEAD, flush=True)
    found = []
    for row in GROWTH:
        costs = measure(place, row, rounds)
        found.append((row, costs))
        print(line(row, costs), flush=True)
    print(f"\n{verdict(found)}", flush=True)

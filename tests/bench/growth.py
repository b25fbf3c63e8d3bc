"""How cost grows: `python -m tests.bench growth` prints one line a quantity, each relative to its first column."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

import taskcore

from .files import age_to
from .measure import check, seconds
from .processes import drain_with
from .references import THREADS, noop
from .stored import drain, ended_well, fill, noops, run_through

Measured = Callable[[Path, int], float]
"""Seconds a task, with so much of what grows, in an empty directory."""


def tasks(place: Path, n: int) -> float:
    """Stored no-op tasks, drained by four threads."""
    fill(place / "full.db", noops(n))
    return 1 / drain(place / "full.db", n, noop=noop)


def edges(place: Path, n: int) -> float:
    """So many edges, ten a task: what they add to 10,000 tasks and more, an edge."""
    width = max(10, min(1000, n // 100))
    count = max(width * 2, n // 10 + width)

    def store(linked: bool) -> Callable[[taskcore.Engine], Iterable[object]]:
        def those(engine: taskcore.Engine) -> Iterable[object]:
            task, above, layer = engine.task("noop"), list[object](), list[object]()
            for number in range(count):
                before = [above[(number + k) % width] for k in range(10)] if linked and above else []
                layer.append((task.options(after=before) if before else task).submit())
                if len(layer) == width:
                    above, layer = layer, []
                yield None

        return those

    fill(place / "linked.db", store(True))
    return 1 / drain(place / "linked.db", count, noop=noop)


def threads(place: Path, n: int) -> float:
    """10,000 stored no-op tasks, drained by so many threads."""
    fill(place / "full.db", noops(10_000))
    with closing(taskcore.Engine(place / "full.db", workers=n)) as engine:
        engine.task(noop, name="noop")
        return 1 / run_through(engine, 10_000)


def processes(place: Path, n: int) -> float:
    """10,000 stored tasks, drained by so many processes of four threads."""

    def store(engine: taskcore.Engine) -> Iterable[object]:
        task = engine.task("visit")
        for number in range(10_000):
            task.submit(number)
            yield None

    fill(place / "full.db", store)
    return 1 / drain_with(n, place / "full.db", 10_000)[0]


def ended(place: Path, n: int) -> float:
    """2,000 tasks submitted one by one, run and awaited, in a file with so many ended ones."""
    age_to(place / "old.db", n)
    with closing(taskcore.Engine(place / "old.db", workers=THREADS)) as engine:
        task = engine.task(noop, name="noop")
        engine.start()
        return seconds(lambda: [future.result() for future in [task.submit() for _ in range(2000)]]) / 2000


def names(place: Path, n: int) -> float:
    """10,000 stored no-op tasks of so many names."""

    def store(engine: taskcore.Engine) -> Iterable[object]:
        kinds = [engine.task(f"kind{number}") for number in range(n)]
        for kind in itertools.islice(itertools.cycle(kinds), 10_000):
            kind.submit()
            yield None

    fill(place / "full.db", store)
    return 1 / drain(place / "full.db", 10_000, **{f"kind{number}": noop for number in range(n)})


def payload(place: Path, n: int) -> float:
    """Tasks that take and return a text of so many bytes, submitted one by one, run and awaited."""
    count = max(20, min(1000, 20_000_000 // n))
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


GROWTH: tuple[tuple[str, Measured, Sequence[int]], ...] = (
    ("tasks", tasks, (1_000, 10_000, 100_000, 1_000_000)),
    ("edges", edges, (1_000, 10_000, 100_000, 1_000_000)),
    ("threads", threads, (1, 4, 16, 64)),
    ("processes", processes, (1, 2, 4, 8)),
    ("ended tasks", ended, (100, 10_000, 100_000, 1_000_000)),
    ("names", names, (1, 10, 100, 1_000)),
    ("bytes a payload", payload, (100, 10_000, 100_000, 1_000_000)),
)


def table(place: Path, rounds: int) -> None:
    """Print it: seconds a task, each relative to the first column of its line, which is said in microseconds."""
    for name, measured, sizes in GROWTH:
        found = []
        for size in sizes:
            took = []
            for number in range(1 if size > 100_000 else rounds):
                folder = place / f"{name}-{size}-{number}"
                folder.mkdir()
                took.append(measured(folder, size))
            found.append(statistics.median(took))
        cells = "  ".join(f"{size:>9,}: {cost / found[0]:6.2f}" for size, cost in zip(sizes, found, strict=True))
        print(f"{name:16} {cells}   (1 = {found[0] * 1e6:.0f} µs a task)", flush=True)


"""What dependencies cost: layered graphs, three parents a task."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import taskcore

from .measure import Figure, Measure, check, compare, per_second, seconds
from .references import THREADS, life_of_a_task, noop, raw_chain
from .stored import Store, copy, drain, ended_well, fill, noops, run_through

PARENTS = 3


def parents(column: int, width: int) -> list[int]:
    """The columns in the layer above on which a task depends: three neighbours."""
    return [(column + k) % width for k in range(PARENTS)]


def layers(depth: int, width: int, edges: bool = True) -> Store:
    """A graph of layers; each task gets its number as its argument and depends on three of the layer above."""

    def store(engine: taskcore.Engine) -> Iterable[object]:
        task = engine.task("visit")  # run elsewhere: by `drain`
        above: list[object] = []
        for number in range(depth):
            layer: list[object] = []
            for column in range(width):
                before = [above[k] for k in parents(column, width)] if above and edges else []
                layer.append((task.options(after=before) if before else task).submit(number * width + column))
                yield None
            above = layer

    return store


def in_order(visited: list[int], depth: int, width: int) -> None:
    """Refuse a walk that left a task out, took one twice, or took one before its parents."""
    check(sorted(visited) == list(range(depth * width)), "every task was visited, none twice")
    place = {number: i for i, number in enumerate(visited)}
    for number in range(width, depth * width):
        above, column = number - number % width - width, number % width
        early = all(place[above + k] < place[number] for k in parents(column, width))
        check(early, f"the parents of task {number} went before it")


def dag(place: Path, rounds: int) -> Figure:
    """100 layers of 100, three parents a task / the same number of tasks without edges."""
    depth = width = 100
    linked, loose = place / "linked.db", place / "loose.db"
    filling = depth * width / fill(linked, layers(depth, width))
    fill(loose, layers(depth, width, edges=False))

    def ours(number: int) -> float:
        visited: list[int] = []
        rate = drain(copy(linked, place / f"linked{number}.db"), depth * width, visit=visited.append)
        in_order(visited, depth, width)
        return rate

    def reference(number: int) -> float:
        visited: list[int] = []
        rate = drain(copy(loose, place / f"loose{number}.db"), depth * width, visit=visited.append)
        check(sorted(visited) == list(range(depth * width)), "every task was visited, none twice")
        return rate

    return compare(ours, reference, rounds, per_second, f"graph stored at {per_second(filling)}")


def fan(place: Path, rounds: int) -> Figure:
    """A body that makes 5,000 children with `gather` and has their results / 5,000 stored no-op tasks drained."""
    n = 5_000
    template = place / "stored.db"
    fill(template, noops(n))

    def body() -> int:
        return len(taskcore.current().gather("echo", range(n)))

    def ours(number: int) -> float:
        with closing(taskcore.Engine(place / f"fan{number}.db", workers=THREADS)) as engine:
            engine.task(lambda number: None, name="echo")
            future = engine.task(body, name="fan")
            took = seconds(lambda: check(future.submit().result() == n, f"{n} results came"))
            ended_well(engine, n + 1)
        return n / took

    def reference(number: int) -> float:
        return drain(copy(template, place / f"drained{number}.db"), n, noop=noop)

    return compare(ours, reference, rounds, per_second)


def chain(place: Path, rounds: int) -> Figure:
    """1,000 tasks, each of which depends on the one before, run by one thread / raw SQLite with one commit a link.

    The raw one walks a copy of the same file by hand: see `raw_chain`.
    """
    n = 1_000
    template = place / "chain.db"

    def links(engine: taskcore.Engine) -> Iterable[object]:
        task = engine.task(noop, name="noop")
        last = task.submit()
        yield None
        for _ in range(n - 1):
            last = task.options(after=last).submit()
            yield None

    fill(template, links)

    life = life_of_a_task(place)

    def ours(number: int) -> float:
        with closing(taskcore.Engine(copy(template, place / f"chain{number}.db"), workers=1)) as engine:
            engine.task(noop, name="noop")
            return run_through(engine, n)

    def reference(number: int) -> float:
        return raw_chain(copy(template, place / f"raw{number}.db"), life, n)

    return compare(ours, reference, rounds, partial(per_second, of="links"))


def signals(place: Path, rounds: int) -> Figure:
    """1,000 suspended bodies, each woken by a signal of its own and ended / as many stored no-op tasks drained.

    The signals are sent in one `transaction()`, as those tasks were stored; the time runs from the first of them to the
    last result. The note has the same with a commit a signal: of those commits alone, as raw SQL on the very tables,
    1,000 take longer than the drain.
    """
    n = 1_000
    template, single = place / "stored.db", []
    fill(template, noops(n))

    def signalled(path: Path, sending: Callable[[taskcore.Engine], AbstractContextManager[Any]]) -> float:
        with closing(taskcore.Engine(path, workers=THREADS)) as engine:
            wait = engine.task(lambda: taskcore.current().wait_for("go"), name="wait")
            with engine.transaction():
                waiting = [wait.submit() for _ in range(n)]
            engine.run(progress=False)
            check(engine.tasks.counts() == {"suspended": n}, "all of them wait")

            def wake() -> None:
                with sending(engine):
                    for number, future in enumerate(waiting):
                        future.signal("go", number)
                check([future.result() for future in waiting] == list(range(n)), "each got its own")

            return n / seconds(wake)

    def ours(number: int) -> float:
        single.append(signalled(place / f"single{number}.db", lambda engine: nullcontext()))
        return signalled(place / f"signals{number}.db", taskcore.Engine.transaction)

    def reference(number: int) -> float:
        return drain(copy(template, place / f"drained{number}.db"), n, noop=noop)

    show = partial(per_second, of="signals")
    figure = compare(ours, reference, rounds, show)
    return replace(figure, note=f"a commit each: {show(statistics.median(single))}")


def bigdag(place: Path, rounds: int) -> Figure:
    """1,000,000 tasks and 3,000,000 edges, 1,000 a layer: tasks/s / the same with 100,000 tasks."""
    big, small = place / "big.db", place / "small.db"
    filling = [depth * 1000 / fill(path, layers(depth, 1000)) for path, depth in ((big, 1000), (small, 100))]

    def draining(template: Path, depth: int) -> Measure:
        def measure(number: int) -> float:
            path = copy(template, place / f"round{number}.db")
            rate = drain(path, depth * 1000, visit=lambda _: None)
            for file in place.glob(path.name + "*"):
                file.unlink()
            return rate

        return measure

    stored = " and ".join(map(per_second, filling))
    return compare(draining(big, 1000), draining(small, 100), rounds, per_second, f"stored at {stored}")

"""What a long queue and many names cost."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import taskcore

from .measure import Figure, check, compare, per_second
from .references import THREADS, noop
from .stored import Store, copy, drain, fill, noops, run_through

FIRST = 3_000
"""How many of a queue's tasks are timed."""


class Line:
    """The line that the first 3,000 bodies cross, and the moment when the last of them does."""

    def __init__(self) -> None:
        self.crossed = threading.Event()
        self.moment = 0.0
        self._number = itertools.count(1)

    def cross(self) -> None:
        """The body of a task: counts itself (`next` of a count is atomic, so exactly one is the last)."""
        if next(self._number) == FIRST:
            self.moment = time.perf_counter()
            self.crossed.set()


def first_of(path: Path, queued: int, held: bool = False) -> float:
    """Start an engine on the file; the rate at which the first 3,000 free bodies end.

    With `held`, the one task of the name `held` that its limit allows keeps a fifth thread all the while.
    """
    line, leave = Line(), threading.Event()

    def hold() -> None:
        leave.wait(120)

    with closing(taskcore.Engine(path, workers=THREADS + held)) as engine:
        if held:
            engine.task(hold, name="held", limit=1)
        engine.task(line.cross, name="noop")
        began = time.perf_counter()
        engine.start()
        in_time = line.crossed.wait(60)
        running = len(engine.tasks.where(name="held", phase="running"))
        leave.set()
        check(in_time, f"{FIRST} bodies ended")
        check(running == held, f"the limit was taken all the while: {running} held")
    holds_all(path, queued)
    return FIRST / (line.moment - began)


def holds_all(path: Path, queued: int) -> None:
    """Refuse the figure if a task was lost, failed, or the first ones did not succeed."""
    with closing(taskcore.Engine(path, workers=0)) as engine:
        counts = dict(engine.tasks.counts())
    check(sum(counts.values()) == queued and "failed" not in counts, f"all {queued} tasks are there: {counts}")
    check(counts.get("succeeded", 0) >= FIRST - THREADS, f"the first {FIRST} succeeded: {counts}")


def backlog(place: Path, rounds: int) -> Figure:
    """The rate of the first 3,000 of 300,000 queued tasks / of 10,000."""
    many, few = 300_000, 10_000
    long, short = place / "long.db", place / "short.db"
    filling = many / fill(long, noops(many))
    fill(short, noops(few))

    def ours(number: int) -> float:
        return first_of(copy(long, place / f"round{number}.db"), many)

    def reference(number: int) -> float:
        return first_of(copy(short, place / f"reference{number}.db"), few)

    return compare(ours, reference, rounds, per_second, f"stored at {per_second(filling)}")


def behind(blocked: int, free: int) -> Store:
    """Tasks of a name that may run one at a time, and behind them free ones."""

    def store(engine: taskcore.Engine) -> Iterable[object]:
        held = engine.task(noop, name="held", limit=1)
        for _ in range(blocked):
            held.submit()
            yield None
        yield from noops(free)(engine)

    return store


def blocked(place: Path, rounds: int) -> Figure:
    """The first 3,000 of 10,000 with 100,000 tasks of a name at its limit in front / with one such task in front."""
    many, free = 100_000, 10_000
    long, short = place / "long.db", place / "short.db"
    fill(long, behind(many, free))
    fill(short, behind(1, free))

    def ours(number: int) -> float:
        return first_of(copy(long, place / f"round{number}.db"), many + free, held=True)

    def reference(number: int) -> float:
        return first_of(copy(short, place / f"reference{number}.db"), 1 + free, held=True)

    return compare(ours, reference, rounds, per_second, "100,000 of a name at its limit in front")


def watched(place: Path, rounds: int) -> Figure:
    """300,000 queued tasks drained while `counts()` is asked ten times a second and a selection is read / drained
    alone."""
    many = 300_000
    template, asked = place / "many.db", 0
    fill(template, noops(many))

    def ours(number: int) -> float:
        over = threading.Event()
        with closing(taskcore.Engine(copy(template, place / f"watched{number}.db"), workers=THREADS)) as engine:

            def ask() -> None:
                nonlocal asked
                while not over.wait(0.1):
                    engine.tasks.counts()
                    asked += 1

            def read() -> None:
                while not over.is_set():
                    for place, _ in enumerate(engine.tasks):
                        if place % 100 == 0 and over.wait(0.01):  # as somebody reads who does something with them
                            return

            engine.task(noop, name="noop")
            watchers = [threading.Thread(target=watch) for watch in (ask, read)]
            for watcher in watchers:
                watcher.start()
            try:
                return run_through(engine, many)
            finally:
                over.set()
                for watcher in watchers:
                    watcher.join()

    def reference(number: int) -> float:
        return drain(copy(template, place / f"alone{number}.db"), many, noop=noop)

    figure = compare(ours, reference, rounds, per_second)
    check(asked > 3 * rounds, "it was watched")
    return figure


def names(place: Path, rounds: int) -> Figure:
    """50 task names, 5 priorities, a limit on each name / one name."""
    n, kinds, priorities, limit = 10_000, 50, 5, 8
    mixed, plain = place / "mixed.db", place / "plain.db"

    def store(engine: taskcore.Engine) -> Iterable[object]:
        tasks = [engine.task(noop, name=f"kind{i}", limit=limit) for i in range(kinds)]
        choices = [task.options(priority=p) for p in range(priorities) for task in tasks]
        for choice in itertools.islice(itertools.cycle(choices), n):
            choice.submit()
            yield None

    fill(mixed, store)
    fill(plain, noops(n))

    def ours(number: int) -> float:
        with closing(taskcore.Engine(copy(mixed, place / f"mixed{number}.db"), workers=THREADS)) as engine:
            for i in range(kinds):
                engine.task(noop, name=f"kind{i}", limit=limit)
            return run_through(engine, n)

    def reference(number: int) -> float:
        return drain(copy(plain, place / f"plain{number}.db"), n, noop=noop)

    return compare(ours, reference, rounds, per_second, f"limit {limit} each")

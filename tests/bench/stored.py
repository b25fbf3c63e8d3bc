"""Files full of tasks: filling one, copying it for the next round, draining it."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import taskcore

from .measure import check, seconds
from .references import THREADS, noop

AT_ONCE = 10_000
"""Tasks stored in one transaction."""

Store = Callable[["taskcore.Engine"], Iterable[object]]
"""Submits tasks to the engine, one whenever it is asked for the next; what it yields is not looked at."""


def fill(path: Path, store: Store, at_once: int = AT_ONCE) -> float:
    """Store tasks with an engine that runs nothing, a transaction for every `at_once`; how many seconds it took."""
    with closing(taskcore.Engine(path, workers=0)) as engine:
        tasks = iter(store(engine))

        def chunk() -> bool:
            with engine.transaction():
                return sum(1 for _ in itertools.islice(tasks, at_once)) == at_once

        def whole() -> None:
            while chunk():
                pass

        return seconds(whole)


def noops(n: int, name: str = "noop") -> Store:
    """n tasks that do nothing, of one name."""

    def store(engine: taskcore.Engine) -> Iterable[object]:
        task = engine.task(noop, name=name)
        for _ in range(n):
            task.submit()
            yield None

    return store


def children(n: int, name: str = "noop") -> Store:
    """A job of n such tasks, which comes first."""

    def store(engine: taskcore.Engine) -> Iterable[object]:
        with engine.job("job"):
            yield from noops(n, name)(engine)

    return store


def copy(template: Path, path: Path) -> Path:
    """A copy of a file that nobody has open, for one round to use up."""
    with closing(sqlite3.connect(template)) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)
    return path


def drain(path: Path, expected: int, **bodies: Callable[..., Any]) -> float:
    """Run all that is in the file with four threads; tasks per second. Bodies are given by task name."""
    with closing(taskcore.Engine(path, workers=THREADS)) as engine:
        for name, body in bodies.items():
            engine.task(body, name=name)
        return run_through(engine, expected)


def run_through(engine: taskcore.Engine, expected: int) -> float:
    """Run all that is in the engine's file; tasks per second, if every one of them succeeded."""
    took = seconds(lambda: engine.run(progress=False))
    ended_well(engine, expected)
    return expected / took


def ended_well(engine: taskcore.Engine, expected: int) -> None:
    """Refuse the figure unless every task of the file has succeeded, as many as there were."""
    counts = dict(engine.tasks.counts())
    check(counts == {"succeeded": expected}, f"all {expected} tasks succeeded: {counts}")

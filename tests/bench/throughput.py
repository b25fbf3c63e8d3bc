"""What plain tasks cost: stored, run, awaited; alone, one by one and in bulk."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import taskcore

from .measure import Figure, check, compare, duration, per_second, seconds
from .references import TASK, THREADS, bare_pool, life_of_a_task, noop, step_shape
from .stored import copy, drain, ended_well, fill, noops


def pool_rate(n: int) -> float:
    """No-ops per second of the bare pool."""
    return n / seconds(lambda: bare_pool(n))


def drained(place: Path, rounds: int) -> Figure:
    """20,000 stored no-op tasks run to recorded results / the bare pool doing 20,000."""
    n = 20_000
    template = place / "full.db"
    filling = n / fill(template, noops(n))

    def ours(number: int) -> float:
        return drain(copy(template, place / f"{number}.db"), n, noop=noop)

    return compare(ours, lambda _: pool_rate(n), rounds, per_second, f"stored at {per_second(filling)}")


def live(place: Path, rounds: int) -> Figure:
    """5,000 tasks submitted one by one to a started engine, all results awaited / the bare pool doing 5,000."""
    n = 5_000

    def ours(number: int) -> float:
        with closing(taskcore.Engine(place / f"{number}.db", workers=THREADS)) as engine:
            task = engine.task(noop, name="noop")
            engine.start()

            def work() -> None:
                futures = [task.submit() for _ in range(n)]
                check(sum(future.result() is None for future in futures) == n, f"{n} results came")

            took = seconds(work)
            ended_well(engine, n)
        return n / took

    return compare(ours, lambda _: pool_rate(n), rounds, per_second)


def submit(place: Path, rounds: int) -> Figure:
    """One commit per submit to an engine that does not run / one raw INSERT per commit."""
    n = 5_000
    shape = life_of_a_task(place).ready

    def ours(number: int) -> float:
        with closing(taskcore.Engine(place / f"{number}.db", workers=0)) as engine:
            task = engine.task(noop, name="noop")
            took = seconds(lambda: repeat(n, task.submit))
            check(len(engine.tasks) == n, f"{n} tasks are stored")
        return n / took

    def raw(number: int) -> float:
        with closing(shape.create(place / f"raw{number}.db")) as db:
            rows, insert = list(shape.rows(n)), shape.insert

            def work() -> None:
                for row in rows:
                    db.execute(insert, row)

            took = seconds(work)
            check(db.execute(f"SELECT count(*) FROM {TASK}").fetchone() == (n,), f"{n} raw rows are stored")
        return n / took

    return compare(ours, raw, rounds, per_second)


def bulk(place: Path, rounds: int) -> Figure:
    """30,000 submits in one transaction / raw `executemany` of the same rows in one."""
    n = 30_000
    shape = life_of_a_task(place).ready

    def ours(number: int) -> float:
        with closing(taskcore.Engine(place / f"{number}.db", workers=0)) as engine:
            task = engine.task(noop, name="noop")

            def work() -> None:
                with engine.transaction():
                    repeat(n, task.submit)

            took = seconds(work)
            check(len(engine.tasks) == n, f"{n} tasks are stored")
        return n / took

    def raw(number: int) -> float:
        with closing(shape.create(place / f"raw{number}.db")) as db:
            rows = list(shape.rows(n))

            def work() -> None:
                db.execute("BEGIN IMMEDIATE")
                db.executemany(shape.insert, rows)
                db.execute("COMMIT")

            took = seconds(work)
            check(db.execute(f"SELECT count(*) FROM {TASK}").fetchone() == (n,), f"{n} raw rows are stored")
        return n / took

    return compare(ours, raw, rounds, per_second)


def repeat(n: int, call: Callable[[], object]) -> None:
    """Call n times and keep nothing of it."""
    for _ in range(n):
        call()


def median_call(n: int, call: Callable[[int], object]) -> float:
    """The median of n calls in seconds; each is given its number."""
    times = []
    for i in range(n):
        began = time.perf_counter()
        call(i)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def roundtrip(place: Path, rounds: int) -> Figure:
    """Median of submit → result on an idle engine / insert, claim, finish in three raw commits, one pool round trip."""
    n = 500
    life = life_of_a_task(place)
    (claim, claimed), (finish, finished) = life.claim(), life.finish()

    def ours(number: int) -> float:
        with closing(taskcore.Engine(place / f"{number}.db", workers=THREADS)) as engine:
            task = engine.task(noop, name="noop")
            engine.start()
            repeat(20, lambda: task.submit().result())
            took = median_call(n, lambda _: task.submit().result())
            ended_well(engine, n + 20)
        return took

    def raw(number: int) -> float:
        rows, insert = list(life.ready.rows(n)), life.ready.insert
        with closing(life.create(place / f"raw{number}.db")) as db, ThreadPoolExecutor(THREADS) as pool:
            repeat(20, lambda: pool.submit(noop).result())

            def trip(i: int) -> None:
                rowid = db.execute(insert, rows[i]).lastrowid
                db.execute(claim, (*claimed, rowid))
                pool.submit(noop).result()
                db.execute(finish, (*finished, rowid))

            took = median_call(n, trip)
            check(db.execute(f"SELECT count(*) FROM {TASK}").fetchone() == (n,), f"{n} raw rows are stored")
        return took

    return compare(ours, raw, rounds, duration)


def steps(place: Path, rounds: int) -> Figure:
    """`run.step` one after the other in one body / one raw INSERT per commit into the table of steps."""
    n = 3_000

    def body() -> float:
        run = taskcore.current()
        step = run.step
        return seconds(lambda: repeat(n, lambda: step("step", noop)))

    def ours(number: int) -> float:
        with closing(taskcore.Engine(place / f"{number}.db", workers=THREADS)) as engine:
            future = engine.task(body, name="stepped").submit()
            took: float = future.result()
            check(len(future.steps()) == n, f"{n} steps are kept")
        return n / took

    ours(-1)
    shape = step_shape(place)

    def raw(number: int) -> float:
        with closing(shape.create(place / f"raw{number}.db")) as db:
            rows, insert = list(shape.rows(n)), shape.insert

            def work() -> None:
                for row in rows:
                    db.execute(insert, row)

            took = seconds(work)
            check(db.execute(f"SELECT count(*) FROM {shape.table}").fetchone() == (n,), f"{n} raw rows are stored")
        return n / took

    return compare(ours, raw, rounds, per_second)

"""What is measured from outside: several processes on one file, memory, an idle engine, the import."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import taskcore

from .measure import Figure, NotHere, check, compare, duration, per_second, seconds
from .stored import copy, fill

PATIENCE = 120.0
"""Seconds after which a child is given up."""
CENSUS = Path(__file__).resolve().parents[2] / "examples" / "census.py"


def child(role: str, path: Path) -> subprocess.Popen[str]:
    """A process of its own that plays a role of `child.py` on the file."""
    return python("-m", "tests.bench.child", role, str(path))


def python(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A Python process that finds this taskcore, its three streams piped."""
    places = [str(Path(module).parents[1]) for module in (taskcore.__file__, Path(__file__).parent)]
    return subprocess.Popen(
        [sys.executable, "-P", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(places)), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(process: subprocess.Popen[str], told: str = "") -> dict[str, Any]:
    """What the child found, once it has ended well and without a word about locks."""
    try:
        out, errors = process.communicate(told, timeout=PATIENCE)
    finally:
        process.kill()  # nothing, if it has ended
    check(process.returncode == 0, f"the child ended well: {errors[-2000:]}")
    check("lock" not in errors.lower(), f"nobody was told of a lock: {errors[-2000:]}")
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def drain_with(count: int, path: Path, n: int) -> tuple[float, list[float]]:
    """Drain the file with so many processes; tasks per second, and each one's share of the bodies.

    The time runs from the moment all are ready to the moment the last task has ended, as the file tells it.
    """
    children = [child("drain", path) for _ in range(count)]
    try:
        for process in children:
            assert process.stdout is not None
            check(process.stdout.readline() == "ready\n", f"the child is ready: {process.poll()}")
        began = time.time()
        for process in children:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        found = [answer(process) for process in children]
    finally:
        for process in children:
            process.kill()
            process.wait()
    ran = [number for each in found for number in each["ran"]]
    check(len(ran) == n, f"{n} bodies ran, none twice: {len(ran)}")
    check(set(ran) == set(range(n)), "every body ran")
    return n / (last_end(path, n) - began), [len(each["ran"]) / n for each in found]


def last_end(path: Path, n: int) -> float:
    """When the last task of the file ended; refuses a file in which one did not succeed at its first attempt."""
    with closing(taskcore.Engine(path, workers=0)) as engine:
        ends = []
        for task in engine.tasks:
            check(task.phase == "succeeded", f"every task succeeded: {task}")
            check(task.attempts == 1, f"every task was attempted once: {task}")
            ends.append(task.finished_at or 0.0)
    check(len(ends) == n, f"no task is lost: {len(ends)}")
    return max(ends)


def two(place: Path, rounds: int) -> Figure:
    """Two processes draining one file / one process."""
    n = 20_000
    template, shares = place / "full.db", list[float]()

    def store(engine: taskcore.Engine) -> Iterable[object]:
        task = engine.task("visit")  # run elsewhere: by the processes
        for number in range(n):
            task.submit(number)
            yield None

    fill(template, store)

    def ours(number: int) -> float:
        rate, parts = drain_with(2, copy(template, place / f"two{number}.db"), n)
        shares.append(min(parts))
        return rate

    def reference(number: int) -> float:
        return drain_with(1, copy(template, place / f"one{number}.db"), n)[0]

    figure = compare(ours, reference, rounds, per_second)
    smaller = ", ".join(f"{share:.0%}" for share in shares)
    unfair = "one process had less than a fifth of the work" if statistics.median(shares) < 0.2 else ""
    return replace(figure, note=f"shares of the smaller process: {smaller}; must be 20%", fault=unfair)


def cores() -> int:
    """How many of the machine's cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def census(place: Path, rounds: int) -> Figure:
    """The census of the standard library, pure Python work, on `processes=2` / on one process; one thread in each.

    `examples/census.py` runs as its readers run it. The time runs from the first submit to
    the last end, as the file tells it: that the worker processes start, and import the example, counts as work.
    """
    if cores() < 2:
        raise NotHere("this process may use one core only")
    if not CENSUS.exists():
        raise NotHere("the example that takes the census is not here")
    starts = []

    def ours(number: int) -> float:
        rate, start = count_files(place / f"two{number}.db", "--processes", "2")
        starts.append(start)
        return rate

    def reference(number: int) -> float:
        return count_files(place / f"one{number}.db")[0]

    figure = compare(ours, reference, rounds, partial(per_second, of="files"))
    return replace(figure, note=f"the first file is begun after {duration(statistics.median(starts))}, which counts")


def count_files(path: Path, *options: str) -> tuple[float, float]:
    """Take the census; files per second, and seconds until the first was begun."""
    started = python(
        str(CENSUS), "--db", str(path), "--workers", "1", *options, PYTHONUTF8="1"
    )
    try:
        _, errors = started.communicate(timeout=PATIENCE)
    finally:
        started.kill()  # nothing, if it has ended
    check(started.returncode == 0, f"the census ended well: {errors[-2000:]}")
    with closing(taskcore.Engine(path, workers=0)) as engine:
        tasks = list(engine.tasks)
    check(all(task.finished_at is not None and task.attempts == 1 for task in tasks), "every task ran once")
    check(any(task.name == "report" and task.phase == "succeeded" for task in tasks), "there is a report")
    files = sum(task.name == "parse" for task in tasks)
    began = min(task.submitted_at for task in tasks)
    first = min(task.started_at or began for task in tasks)
    return files / (max(task.finished_at or began for task in tasks) - began), first - began


def memory(place: Path, rounds: int) -> Figure:
    """Megabytes added by 300,000 tasks, queued and then ended; the larger of the two points."""
    if not Path("/proc/self/statm").exists():
        raise NotHere("memory is read from /proc/self/statm, which is not here")
    added, ends = [], []
    for number in range(rounds):
        found = answer(child("memory", place / f"{number}.db"))
        check(found["counts"] == {"succeeded": 300_001}, f"all tasks succeeded: {found['counts']}")
        added.append(found["queued"] - found["began"])
        ends.append(found["ended"] - found["began"])
    worst = [max(pair) for pair in zip(added, ends, strict=True)]
    value = sorted(worst)[len(worst) // 2]
    ours = f"{added[0]:+.1f} MB queued"
    return Figure(value, min(worst), max(worst), ours, f"{ends[0]:+.1f} MB ended", f"before: {found['began']:.1f} MB")


def idle(place: Path, rounds: int) -> Figure:
    """Voluntary context switches per second of a process with a started engine that has nothing to do."""
    try:
        import resource  # noqa: F401  (not on every system)
    except ImportError:
        raise NotHere("context switches are read by the module resource, which is not here") from None
    switches = []
    for number in range(rounds):
        found = answer(child("idle", place / f"{number}.db"))
        check(found["counts"] == {"succeeded": 1}, f"it ran its task: {found['counts']}")
        switches.append(found["switches"])
    value = sorted(switches)[len(switches) // 2]
    return Figure(value, min(switches), max(switches), f"{value:.1f} /s", "–", f"{found['processor']:.2%} processor")


def imported(place: Path, rounds: int) -> Figure:
    """A whole process that imports taskcore / one that imports sqlite3, concurrent.futures.thread and json."""

    def process(code: str) -> float:
        def work() -> None:
            started = python("-c", code, PYTHONDONTWRITEBYTECODE="", PYTHONPYCACHEPREFIX=str(place))
            _, errors = started.communicate(timeout=PATIENCE)
            check(started.returncode == 0, f"{code!r} works: {errors}")

        return seconds(work)

    def engine(_: int) -> float:
        return process("import taskcore; taskcore.Engine")

    def ours(_: int) -> float:
        return process("import taskcore")

    def reference(_: int) -> float:
        return process("import sqlite3, concurrent.futures.thread, json")

    for first in (engine, ours, reference):
        first(0)  # writes the byte code
    whole = compare(engine, reference, rounds, duration)
    figure = compare(ours, reference, rounds, duration)
    return replace(figure, note=f"{whole.value:.2f} when it also touches taskcore.Engine")

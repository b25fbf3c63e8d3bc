"""What the benchmarks of processes run in processes of their own: `python -m tests.bench.child WHAT PATH`.

Imports little, so that what is measured is the engine.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import taskcore

THREADS = 4
QUEUED = 300_000
AT_ONCE = 10_000
IDLE_SECONDS = 5.0


def noop() -> None:
    """The work of a benchmark: none."""


def drain(path: Path) -> dict[str, object]:
    """Say that it is ready, wait to be told to go, run until nothing is due; which tasks ran here."""
    ran: list[int] = []

    def visit(number: int) -> None:
        ran.append(number)

    with closing(taskcore.Engine(path, workers=THREADS)) as engine:
        engine.task(visit, name="visit")
        print("ready", flush=True)
        sys.stdin.readline()
        engine.run(progress=False)
    return {"ran": ran}


def resident() -> float:
    """Megabytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def memory(path: Path) -> dict[str, object]:
    """Queue 300,000 tasks in large transactions without keeping handles, run them; megabytes at each point."""
    with closing(taskcore.Engine(path, workers=THREADS)) as engine:
        engine.task(noop, name="noop").submit().result()
    began = resident()
    with closing(taskcore.Engine(path, workers=0)) as engine:
        task = engine.task(noop, name="noop")
        for _ in range(QUEUED // AT_ONCE):
            with engine.transaction():
                for _ in range(AT_ONCE):
                    task.submit()
        queued = resident()
    with closing(taskcore.Engine(path, workers=THREADS)) as engine:
        engine.task(noop, name="noop")
        engine.run(progress=False)
        ended = resident()
        counts = dict(engine.tasks.counts())
    return {"began": began, "queued": queued, "ended": ended, "counts": counts}


def idle(path: Path) -> dict[str, object]:
    """Start an engine that has nothing to do and sleep; voluntary context switches and processor time meanwhile."""
    import resource  # not on every system: the caller says so

    with closing(taskcore.Engine(path, workers=THREADS)) as engine:
        engine.task(noop, name="noop").submit().result()
        sleeper = threading.Event()
        sleeper.wait(3)
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        sleeper.wait(IDLE_SECONDS)
        after, ended = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        counts = dict(engine.tasks.counts())
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # One switch is this thread's own, on going to sleep.
    switches = after.ru_nvcsw - before.ru_nvcsw - 1
    return {"switches": switches / (ended - began), "processor": used / (ended - began), "counts": counts}


ROLES: dict[str, Callable[[Path], dict[str, object]]] = {"drain": drain, "memory": memory, "idle": idle}

if __name__ == "__main__":
    print(json.dumps(ROLES[sys.argv[1]](Path(sys.argv[2]))), flush=True)

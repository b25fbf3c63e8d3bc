"""`python -m tests.storms [NAME …] [--scale X]`: long storms, and a table of what came of them.

A storm that finds something raises, and says the seed that plays it again. `--scale 0.01` is a short look at each.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import faulthandler
import itertools
import logging
import math
import multiprocessing
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import taskcore
from taskcore import Engine
from taskcore.store.salvage import salvage
from tests.store import test_salvage
from tests.storms import test_crash
from tests.storms.simulation import plays
from tests.support.processes import Child, say, until
from tests.support.rows import wrongs

Found = dict[str, int]


@contextlib.contextmanager
def children():
    """As the fixture of the tests."""
    made: list[Child] = []

    def start(body, *args, **options):
        made.append(Child(body, *args, **options))
        return made[-1]

    try:
        yield start
    finally:
        for each in made:
            each.close()


def kills(folder: Path, scale: float) -> Found:
    """Workers and producers killed at random, one about every 20 ms; what they left is finished, and compared with what
    they were told."""
    found = {"kills": 0, "acknowledged": 0, "tasks": 0, "runs": 0, "lost": 0, "twice": 0, "stuck": 0}
    for seed in range(1000, 1000 + max(1, round(8 * scale))):
        place = folder / str(seed)
        place.mkdir()
        with children() as child:
            for name, n in zip(("kills", "acknowledged", "tasks", "runs"),
                               test_crash.check_a_storm(place, child, seed, min(60, 60 * scale * 8)), strict=True):
                found[name] += n
    return found


def simulation(folder: Path, scale: float) -> Found:
    """Several engines under a virtual clock: deaths at statements, errors of SQLite, clocks that jump."""
    seeds, steps = max(5, round(2000 * scale)), 150
    total: Found = {}
    starts = range(100_000, 100_000 + seeds, 100)
    # New processes now and then, for an engine that dies in the story keeps what its process had open.
    with ProcessPoolExecutor(max_tasks_per_child=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for seen in pool.map(plays, starts, itertools.repeat(100_000 + seeds), itertools.repeat(steps),
                             itertools.repeat(folder)):
            for case, n in seen.items():
                total[case] = total.get(case, 0) + n
    keep = ("an engine died", "the clock jumped", "came to the end", "a claim was reported too late")
    return {"steps": seeds * steps, **{case: total.get(case, 0) for case in keep}}


def damaged(folder: Path, scale: float) -> Found:
    """Files with bytes overwritten anywhere: looked at, checked, and saved into a new one."""
    whole = folder / "whole.db"
    test_salvage.fill(whole)
    with contextlib.closing(sqlite3.connect(whole)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    found = {"files": 0, "found damaged": 0, "saved": 0, "tasks saved": 0, "raw errors": 0, "hangs": 0}
    for seed in range(5000, 5000 + max(10, round(1000 * scale))):
        place, new = folder / f"{seed}.db", folder / f"{seed}-new.db"
        test_salvage.damage(whole, place, seed)
        found["files"] += 1
        found["found damaged"] += bool(test_salvage.look_at(place))
        with contextlib.suppress(taskcore.BadFile):
            salvage(str(place), str(new))
            with contextlib.closing(Engine(new, workers=0)) as engine:
                found["saved"] += 1
                found["tasks saved"] += len(engine.tasks)
        for leftover in folder.glob(f"{seed}*"):
            leftover.unlink()
    return found


def works_and_counts(path, ledger):
    """In a child: runs what is there, and asks for more, until it is stopped or interrupted."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    log = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    engine = Engine(path, workers=2)

    @engine.task(max_lapses=1_000_000)
    def work(n):
        taskcore.current().transact("once", lambda db: db.execute("INSERT INTO effect VALUES (?)", (n,)) and None)
        return n

    say("there")
    n = os.getpid() * 1_000_000
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            n += 1
            os.write(log, f"{work.submit(n).id} {n}\n".encode())
    with contextlib.suppress(KeyboardInterrupt):
        engine.close()


def ends(one: Child, why: str) -> None:
    """It ends within a minute, or shows where its threads are."""
    try:
        one.process.wait(60)
    except subprocess.TimeoutExpired:
        one.process.send_signal(signal.SIGUSR1)
        time.sleep(1)
        raise AssertionError(f"not ended 60 s after {why}:\n{one.errors()}") from None


def signals(folder: Path, scale: float) -> Found:
    """Processes that are stopped for a while, interrupted by Ctrl-C or terminated, at random."""
    path, ledger = folder / "signals.db", folder / "ledger"
    with contextlib.closing(Engine(path, workers=0)) as engine, engine.transaction() as db:
        db.execute("CREATE TABLE effect (n INTEGER)")
    found = {"stops": 0, "Ctrl-C": 0, "SIGTERM": 0, "acknowledged": 0, "lost": 0, "twice": 0}
    dice = random.Random(7)
    with children() as child:
        for _ in range(max(3, round(150 * scale))):
            pair = [child(works_and_counts, path, ledger) for _ in range(2)]
            for one in pair:
                one.hears("there")
            time.sleep(dice.uniform(0.02, 0.2))
            first, second = pair
            os.kill(first.process.pid, signal.SIGSTOP)
            time.sleep(dice.uniform(0.0, 0.1))
            os.kill(first.process.pid, signal.SIGCONT)
            found["stops"] += 1
            for one, name, number in ((first, "Ctrl-C", signal.SIGINT), (second, "SIGTERM", signal.SIGTERM)):
                os.kill(one.process.pid, number)
                ends(one, name)
                found[name] += 1
    return found | all_done(path, ledger, found)


def copies(folder: Path, scale: float) -> Found:
    """Copies that are made while an engine works, each opened and finished."""
    found = {"copies": 0, "tasks in them": 0, "broken": 0}
    engine = Engine(folder / "live.db", workers=2)
    task = engine.task(lambda n: n, name="t", max_lapses=1_000_000)
    for n in range(max(3, round(100 * scale))):
        with engine.transaction():
            for k in range(50):
                task.submit(50 * n + k)
        copy = folder / f"copy-{n}.db"
        engine.backup(copy)
        found["copies"] += 1
        found["broken"] += bool(wrongs(copy))
        with Engine(copy, workers=1) as again:
            again.task(lambda n: n, name="t")
            counts = again.run(progress=False)
            assert set(counts) == {"succeeded"} and again.check() == [], counts
            found["tasks in them"] += counts["succeeded"]
        copy.unlink()
    engine.close()
    return found


def commands(folder: Path, scale: float) -> Found:
    """Programs that bodies started, whose engine is killed: none of them is left."""
    found = {"engines killed": 0, "programs left": 0}
    script = (
        "import sys, taskcore\nengine = taskcore.Engine(sys.argv[1], workers=2)\n"
        "@engine.task(max_lapses=1000)\ndef sleeps(n):\n"
        "    print('there', flush=True)\n    taskcore.current().command(['sleep', '98765'])\n"
        "sleeps.submit(1); engine.run()\n"
    )
    for _ in range(max(2, round(50 * scale))):
        ran = subprocess.Popen([sys.executable, "-c", script, folder / "commands.db"], stdout=subprocess.PIPE)
        assert ran.stdout is not None and ran.stdout.readline() == b"there\n"
        time.sleep(0.1)
        ran.kill()
        ran.wait()
        ran.stdout.close()
        found["engines killed"] += 1
        until(lambda: not _sleepers(), "the program ends with its engine")
    found["programs left"] = len(_sleepers())
    return found


def _sleepers() -> list[str]:
    told = subprocess.run(["pgrep", "-f", "sleep 98765"], capture_output=True, text=True, check=False)
    return told.stdout.split()


def fills_and_frees(path, ledger, seed):
    """In a child: a limit on the size of files, set and lifted at random, stands for a disk that is full at times."""
    dice, log = random.Random(int(seed)), os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    engine, hard = Engine(path, workers=2), resource.getrlimit(resource.RLIMIT_FSIZE)[1]

    @engine.task(max_lapses=1_000_000, max_attempts=None, backoff=taskcore.constant(0.01))  # a full disk fails a step
    def work(n):
        taskcore.current().transact("once", lambda db: db.execute("INSERT INTO effect VALUES (?)", (n,)) and None)
        return "x" * dice.randrange(5000)

    n, filled, refused = int(seed) * 1_000_000, 0, 0
    for _ in range(6):
        biggest = max(os.stat(path + end).st_size for end in ("", "-wal"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (biggest + dice.randrange(100_000), hard))
        until = time.monotonic() + dice.uniform(0.02, 0.2)
        while time.monotonic() < until:
            n += 1
            try:
                os.write(log, f"{work.submit(n).id} {n}\n".encode())
            except sqlite3.OperationalError:
                refused += 1
        filled += engine.health != "ok"
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        time.sleep(dice.uniform(0.0, 0.1))
    say(filled, refused)
    if dice.random() < 0.5:
        os.kill(os.getpid(), signal.SIGKILL)
    engine.close()


def full_disks(folder: Path, scale: float) -> Found:
    """Disks that are full for a while, while tasks are submitted and run; half of the processes are killed then."""
    path, ledger = folder / "full.db", folder / "ledger"
    with contextlib.closing(Engine(path, workers=0)) as engine, engine.transaction() as db:
        db.execute("CREATE TABLE effect (n INTEGER)")
    found = {"disks full": 0, "submits refused": 0, "acknowledged": 0, "lost": 0, "twice": 0}
    with children() as child:
        for seed in range(1, 1 + max(3, round(100 * scale))):
            one = child(fills_and_frees, path, ledger, seed)
            filled, refused = one.line().split()
            ends(one, "its last full disk")
            found["disks full"] += int(filled)
            found["submits refused"] += int(refused)
    return found | all_done(path, ledger, found)


def all_done(path: Path, ledger: Path, found: Found) -> Found:
    """What was acknowledged, once all of it has run."""
    with Engine(path, workers=2) as engine:
        engine.task(lambda n: taskcore.current().transact(
            "once", lambda db: db.execute("INSERT INTO effect VALUES (?)", (n,)) and None), name="work")
        engine.run(progress=False)
        there = {task.id: task.phase for task in engine.tasks}
        assert engine.check() == []
        with engine.transaction() as db:
            twice = db.execute("SELECT count(*) - count(DISTINCT n) FROM effect").fetchall()[0][0]
    told = ledger.read_text().splitlines()
    ends_of = collections.Counter(there.get(int(line.split()[0])) for line in told)
    lost = sum(ends_of.values()) - ends_of["succeeded"]
    assert lost == twice == 0, (found, ends_of, twice)
    return {"acknowledged": len(told), "lost": lost, "twice": twice}


def works_in_processes(path, ledger, seed):
    """In a child: bodies run in a pool of processes, one of which is killed."""
    import math
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    dice, log = random.Random(int(seed)), os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    pool = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("forkserver"))
    engine = Engine(path, executor=pool)
    work = engine.task(math.factorial, name="work", max_lapses=1_000_000)
    for n in range(300):
        os.write(log, f"{work.submit(dice.randrange(200)).id} {n}\n".encode())
    os.kill(dice.choice(list(pool._processes)), signal.SIGKILL)
    with contextlib.suppress(taskcore.EngineClosed):
        engine.run(progress=False)
    say(engine.health.state)
    engine.close()
    os._exit(0)  # the pool is broken


def pools(folder: Path, scale: float) -> Found:
    """Pools of processes of which one is killed while bodies run: the engine stops with the reason."""
    path, ledger = folder / "pools.db", folder / "ledger"
    found = {"pools broken": 0, "engines that said so": 0, "acknowledged": 0, "lost": 0}
    with children() as child:
        for seed in range(1, 1 + max(3, round(60 * scale))):
            one = child(works_in_processes, path, ledger, seed)
            found["engines that said so"] += one.line() == "stopped"
            ends(one, "the death of its pool")
            found["pools broken"] += 1
    with Engine(path, workers=2) as engine:
        engine.task(math.factorial, name="work")
        engine.run(progress=False)
        there = {task.id: task.phase for task in engine.tasks}
    told = ledger.read_text().splitlines()
    found["acknowledged"] = len(told)
    found["lost"] = sum(there.get(int(line.split()[0])) != "succeeded" for line in told)
    assert found["lost"] == 0, found
    return found


def submits_until_it_is_stopped(path):
    """In a child: says when each submit was acknowledged, until the engine refuses more."""
    engine = Engine(path, workers=1)
    work, last = engine.task(lambda n: n, name="work", max_lapses=1_000_000), 0.0
    say("there")
    why = None
    while why is None:
        try:
            work.submit(1)
            last = time.time()
        except Exception as error:
            why = error
    say(last, engine.health.state, type(why).__name__)
    engine.close(5)


def restores(folder: Path, scale: float) -> Found:
    """An earlier copy put in the place of a file under a live engine: that stops, and acknowledges nothing more."""
    path, copy = folder / "restored.db", folder / "copy.db"
    found = {"restores": 0, "engines that stopped": 0, "acknowledged half a second later": 0}
    dice = random.Random(3)
    with children() as child:
        for _ in range(max(3, round(60 * scale))):
            one = child(submits_until_it_is_stopped, path)
            one.hears("there")
            time.sleep(dice.uniform(0.0, 0.1))
            with contextlib.closing(Engine(path, workers=0)) as engine:
                engine.backup(copy)
            at = time.time()
            copy.replace(path)
            for end in ("-wal", "-shm"):
                path.with_name(path.name + end).unlink(missing_ok=True)
            last, state, error = one.line().split()
            assert error in ("BadFile", "EngineClosed"), error
            ends(one, "the restore")
            found["restores"] += 1
            found["engines that stopped"] += state == "stopped"
            found["acknowledged half a second later"] += float(last) > at + 0.5
            assert wrongs(path) == []
    assert found["engines that stopped"] == found["restores"] and not found["acknowledged half a second later"], found
    return found


STORMS: dict[str, Callable[[Path, float], Found]] = {
    "kills": kills, "signals": signals, "simulation": simulation, "damaged": damaged, "copies": copies,
    "commands": commands, "full disks": full_disks, "pools": pools, "restores": restores,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.storms", description="Long storms, and what came of them.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(STORMS))
    parser.add_argument("--scale", type=float, default=1.0, help="how long: 1 is half an hour or so")
    given = parser.parse_args()
    logging.getLogger("taskcore").setLevel(logging.CRITICAL + 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background has it ignored, for children too
    for name in given.names or STORMS:
        with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
            since = time.monotonic()
            found = STORMS[name](Path(folder), given.scale)
            facts = ", ".join(f"{n:,} {what}" for what, n in found.items())
            print(f"{name:12s} {time.monotonic() - since:6.0f} s   {facts}", flush=True)


if __name__ == "__main__":
    main()

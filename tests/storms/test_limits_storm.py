"""Limits, capacities, a rate and a schedule over three processes that are killed at random.

Never too many run, and no due time is fired twice. What runs is what the rows say at commits: one SELECT of a watcher
is one moment of the file, and a task of a killed process counts until it is given back.
"""

import collections
import contextlib
import itertools
import os
import random
import shutil
import signal
import sqlite3
import threading
import time

import pytest

pytest.importorskip("fcntl")
import taskcore.runtime.scheduler
from taskcore import Engine
from taskcore.testing import InlineExecutor, ManualClock
from tests.support.fuse import Fuse
from tests.support.processes import PATIENCE, say, until
from tests.support.rows import rows, whole, wrongs

NEEDS = {"one": 1, "two": 2}
LIMIT, CAPACITY, STARTS, PERIOD, EVERY = 2, 3, 5, 0.25, 0.05


def works(path, ledger):
    engine = Engine(path, workers=4, lease=300, limits={"gpu": CAPACITY})
    log, nap = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT), threading.Event()

    def body(name, n=None):
        os.write(log, f"begin {name} {os.getpid()}\n".encode())
        nap.wait(0.02)  # long enough for a kill to fall into it
        os.write(log, f"end {name} {os.getpid()}\n".encode())
        return n

    def made(name, **options):
        engine.task(lambda n: body(name, n), name=name, max_lapses=1_000_000, **options)

    made("limited", limit=LIMIT)
    made("rated", rate=f"{STARTS}/{PERIOD}s")
    for name, need in NEEDS.items():
        made(name, uses={"gpu": need})
    engine.every(EVERY, name="tick", catch_up="all", overlap=True, max_lapses=1_000_000)(lambda: body("tick"))
    engine.start()
    return engine


def storm(path, ledger, seed, seconds):
    """Forks three workers and kills one about every 60 ms; then all."""
    dice, alive, kills = random.Random(int(seed)), [], 0

    def start():
        pid = os.fork()
        if pid == 0:
            try:
                engine = works(path, ledger)  # noqa: F841 - must live
                threading.Event().wait()
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(1)
        alive.append(pid)

    def kill():
        pid = alive.pop(dice.randrange(len(alive)))
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL, "a worker ended by itself"

    for _ in range(3):
        start()
    nap, deadline = threading.Event(), time.monotonic() + float(seconds)
    while time.monotonic() < deadline or (size(ledger) < 3000 and kills < 500):  # a slow machine is given longer
        nap.wait(dice.expovariate(1 / 0.06))
        kill()
        start()
        kills += 1
    while alive:
        kill()
    os.write(1, f"kills {kills}\n".encode())


def size(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


def storms(*args):
    from tests.storms import test_limits_storm

    test_limits_storm.storm(*args)


RUNNING = """
    SELECT k.name, count(*) FROM taskcore_task AS t JOIN taskcore_kind AS k ON k.id = t.kind
    WHERE t.phase = 'running' GROUP BY k.name"""
STARTED = """
    SELECT a.started_at FROM taskcore_attempt AS a JOIN taskcore_task AS t ON t.id = a.task
    JOIN taskcore_kind AS k ON k.id = t.kind WHERE k.name = 'rated' ORDER BY 1"""


class Watcher(threading.Thread):
    """Looks at what runs, as often as it can."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.over, self.ever, self.looks = path, threading.Event(), collections.Counter(), 0
        self.wrong = []
        self.start()

    def run(self):
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None, timeout=PATIENCE)) as connection:
            while not self.over.wait(0.002):
                now = collections.Counter(dict(connection.execute(RUNNING).fetchall()))
                used = sum(need * now[name] for name, need in NEEDS.items())
                self.looks += 1
                self.ever |= now + collections.Counter(gpu=used)
                if now["limited"] > LIMIT or used > CAPACITY:
                    self.wrong.append(dict(now))


def check_a_storm(tmp_path, child, seed, seconds):
    path, ledger, dice = tmp_path / "storm.db", tmp_path / "ledger", random.Random(seed)
    acknowledged = []
    with contextlib.closing(Engine(path, workers=0, limits={"gpu": CAPACITY})) as engine:
        tasks = {name: engine.task(name, max_lapses=1_000_000, uses={"gpu": n}) for name, n in NEEDS.items()}
        tasks |= {name: engine.task(name, max_lapses=1_000_000) for name in ("limited", "rated")}
        engine.task("limited", limit=LIMIT)
        engine.task("rated", rate=f"{STARTS}/{PERIOD}s")
        watcher, process = Watcher(path), child(storms, path, ledger, seed, seconds)
        feeding = threading.Event()

        def feed():
            while not feeding.wait(0.02):
                name = dice.choice(["limited", "one", "two", "rated"])
                if len(engine.tasks.where(name=name, phase="ready")) < 15:
                    acknowledged.extend(tasks[name].submit(n).id for n in range(4))

        feeder = threading.Thread(target=feed)
        feeder.start()
        (line,) = process.end(patience=PATIENCE + seconds)
        feeding.set()
        feeder.join()
        assert wrongs(path) == [], f"seed {seed}"
        fired = rows(path, "SELECT due_at, task FROM taskcore_fire WHERE schedule = 'tick' ORDER BY task")
        engine.schedules["tick"].disable()
        with contextlib.closing(works(path, ledger)) as last:
            left = {"ready", "running", "scheduled", "waiting"}
            until(lambda: not left & set(last.tasks.counts()), f"seed {seed}: all has ended", 60)
        watcher.over.set()
        watcher.join()
        assert engine.tasks.counts().keys() == {"succeeded"}, f"seed {seed}"
        assert set(acknowledged) <= {task.id for task in engine.tasks}, f"seed {seed}"
        ticks = [task.id for task in engine.tasks.where(name="tick")]
    assert wrongs(path) == [] and watcher.wrong == [], f"seed {seed}: {watcher.wrong[:5]}"
    assert [task for _, task in fired] == ticks[: len(fired)], f"seed {seed}: a task without its due time"
    due = [at for at, _ in fired]
    gaps = [later - earlier for earlier, later in itertools.pairwise(due)]
    assert all(EVERY * 0.99 < gap < EVERY * 1.01 for gap in gaps), f"seed {seed}: a due time twice, or none: {gaps}"
    started = [at for (at,) in rows(path, STARTED)]
    for first, last_ in zip(started, started[STARTS:], strict=False):
        assert last_ - first >= PERIOD - 1e-6, f"seed {seed}: {STARTS + 1} began within {last_ - first} s"
    text = ledger.read_text().splitlines()
    begun = collections.Counter(line.split()[1] for line in text if line.startswith("begin"))
    ended = collections.Counter(line.split()[1] for line in text if line.startswith("end"))
    stored = collections.Counter(dict(rows(path, """
        SELECT k.name, count(*) FROM taskcore_task AS t JOIN taskcore_kind AS k ON k.id = t.kind GROUP BY 1""")))
    assert all(begun[name] >= ended[name] >= n for name, n in stored.items()), f"seed {seed}: {begun} {ended} {stored}"
    return int(line.split()[1]), len(acknowledged), len(fired), watcher, begun - ended


def test_no_limit_is_exceeded_and_no_due_time_fired_twice_when_processes_are_killed_at_random(tmp_path, child):
    kills, acknowledged, fired, watcher, cut = check_a_storm(tmp_path, child, seed=1, seconds=1.5)
    assert kills > 8 and acknowledged > 25 and fired > 10 and watcher.looks > 50, (kills, acknowledged, fired)
    assert watcher.ever["limited"] == LIMIT and watcher.ever["gpu"] == CAPACITY, watcher.ever
    assert cut, "nobody was killed in a body"


@pytest.mark.storm
@pytest.mark.parametrize("seed", range(2, 8))
def test_no_limit_is_exceeded_in_a_long_storm(tmp_path, child, seed):
    check_a_storm(tmp_path, child, seed, seconds=60)


# -- a fire, killed at every statement ------------------------------------------------------------------------------


def fires_once(path, start):
    """Defines two schedules if they are not there, lets five minutes pass, and fires."""
    clock = ManualClock(start)
    with contextlib.closing(Engine(path, executor=InlineExecutor(), clock=clock, limits={"gpu": 1})) as engine:
        engine.every(60, name="all", catch_up="all", tags=["x"], uses={"gpu": 1})(lambda: None)
        engine.every(60, name="once")(lambda: None)
        clock.set(1300)
        engine.run()


def dies_at_every_statement(where):
    taskcore.runtime.scheduler.monotonic = lambda: 0.0
    pristine = os.path.join(where, "pristine.db")
    with contextlib.closing(Engine(pristine, workers=0, clock=ManualClock(1000), limits={"gpu": 1})) as engine:
        engine.every(60, name="all", catch_up="all", tags=["x"], uses={"gpu": 1})(lambda: None)
        engine.every(60, name="once")(lambda: None)

    def copied(name):
        path = os.path.join(where, name)
        shutil.copy(pristine, path)
        return path

    def dies(path, at):
        pid = os.fork()
        if pid == 0:
            fuse = Fuse(at)
            fires_once(path, 1000)
            os.write(1, f"{fuse.count} statements\n".encode())
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    at, taken_up = 0, set()
    while True:  # to die after a statement is to die before the next one
        at += 1
        path = copied(f"{at}.db")
        code = dies(path, at)
        state = repr(whole(path))
        if code == 0:
            break
        if code != -signal.SIGKILL:
            say(at, "ended with", code)
        begun = rows(path, "SELECT schedule, due_at FROM taskcore_fire")
        if len(begun) not in (0, 6) or wrongs(path):
            say(at, "left half a fire", begun, wrongs(path))
        if state in taken_up:
            continue  # from one state there is one way on
        taken_up.add(state)
        fires_once(path, 1300)
        fired = rows(path, "SELECT schedule, due_at FROM taskcore_fire ORDER BY schedule, task")
        tasks = rows(path, "SELECT phase, count(*) FROM taskcore_task GROUP BY phase")
        nexts = rows(path, "SELECT next_at, last_at FROM taskcore_schedule")
        tags = rows(path, "SELECT count(*) FROM taskcore_tag")
        wanted = [("all", float(due)) for due in range(1060, 1301, 60)] + [("once", 1300.0)]
        if (fired, tasks, nexts, tags) != (wanted, [("succeeded", 6)], [(1360.0, 1300.0)] * 2, [(5,)]):
            say(at, fired, tasks, nexts, tags)
        if wrongs(path):
            say(at, wrongs(path))
    say("points", at)


def all_deaths(*args):
    from tests.storms import test_limits_storm

    test_limits_storm.dies_at_every_statement(*args)


@pytest.mark.storm
def test_a_process_killed_at_any_statement_of_a_fire_leaves_each_due_time_to_be_fired_once(tmp_path, child):
    lines = child(all_deaths, tmp_path).end(patience=60)
    assert len(lines) == 2 and lines[0].endswith("statements"), "\n".join(lines[:20])
    assert int(lines[1].split()[1]) > 20, lines

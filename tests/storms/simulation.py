"""Several engines on one file under a virtual clock: the real store and the real loop, one statement at a time.

`Simulation(seed, folder).run(steps)` plays a seeded random story. Every engine is a process of its own as far as the
file can tell: it has its own connection and its own lane. At each SQL statement the story may go on in another engine,
the engine may die (before or after the statement), or the statement may fail (busy, full, I/O error, interrupted, no
memory). Bodies run when the story says so, so that some report long after their claim was taken from them. The clock
jumps both ways.

After every step the file is compared with a small model: what was acknowledged is there, what has ended stays so, no
effect happened twice, no claim is held by two. At the end all faults stop, and everything must come to its end.
"""

from __future__ import annotations

import collections
import contextlib
import faulthandler
import logging
import random
import shutil
import sqlite3
import threading
from concurrent.futures import Executor, Future

import taskcore
from taskcore.api import shutdown
from taskcore.api.function import TaskFunction
from taskcore.core import clock as clocks
from taskcore.core.lifecycle import ENDED
from taskcore.testing import ManualClock

PATIENCE = 300.0
MOST = 60
"""Tasks of one story: small worlds and many seeds find more than long runs."""


class Dies(BaseException):
    """The process is gone: raised at a statement, through everything."""


class Held(Executor):
    """Keeps bodies until the story lets them run."""

    background = False
    _max_workers = 2

    def __init__(self):
        self.inside = []

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.inside.append((fn, future))
        return future

    def let_one_run(self, rng):
        fn, future = self.inside.pop(rng.randrange(len(self.inside)))
        try:
            future.set_result(fn())
        except Dies:
            raise
        except BaseException as error:
            future.set_exception(error)


class Baton:
    """Threads that run one at a time, and hand over at statements when the story says so."""

    def __init__(self, rng):
        self.rng = rng
        self.turns = {}  # thread → the event that lets it go on
        self.alone = True

    def run(self, works):
        """Run these at once, switching between them at statements. → what each raised."""
        raised, done = [None] * len(works), threading.Semaphore(0)
        over = threading.Event()
        self.turns = {}
        self.main = over

        def one(place, work):
            event = self.turns[place]
            assert event.wait(PATIENCE)
            self.local.place = place
            try:
                work()
            except BaseException as error:
                raised[place] = error
            finally:
                del self.turns[place]
                self.hand_over()
                done.release()

        self.local = threading.local()
        threads = []
        for place, work in enumerate(works):
            self.turns[place] = threading.Event()
            threads.append(threading.Thread(target=one, args=(place, work), daemon=True))
        for thread in threads:
            thread.start()
        self.hand_over()
        for _ in works:
            if not done.acquire(timeout=PATIENCE):
                faulthandler.dump_traceback(all_threads=True)
                raise AssertionError("nobody goes on")
        for thread in threads:
            thread.join(PATIENCE)
        self.turns = {}
        return raised

    def hand_over(self):
        if self.turns:
            self.turns[self.rng.choice(sorted(self.turns))].set()

    def switch(self):
        """Maybe let another one go on; called at statements, and where somebody waits for the file."""
        place = getattr(getattr(self, "local", None), "place", None)
        if place is None or len(self.turns) < 2:
            return
        mine = self.turns[place]
        mine.clear()
        self.hand_over()
        assert mine.wait(PATIENCE), "nobody hands the baton back"


FAULTS = {
    "busy": (sqlite3.SQLITE_BUSY, "database is locked"),
    "full": (sqlite3.SQLITE_FULL, "database or disk is full"),
    "io": (sqlite3.SQLITE_IOERR, "disk I/O error"),
    "interrupt": (sqlite3.SQLITE_INTERRUPT, "interrupted"),
}


def fault(name):
    if name == "memory":
        return MemoryError()
    code, text = FAULTS[name]
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


class Simulation:
    def __init__(self, seed, folder, engines=3):
        self.seed, self.rng = seed, random.Random(seed)
        self.path = folder / f"seed-{seed}.db"
        self.clock = ManualClock(1_000_000.0)
        self.seen = collections.Counter()
        self.engines = {}
        self.acked, self.ended, self.reran = {}, {}, set()
        self.claims, self.tokens = [], {}
        self.calm = True
        self.script = []  # what happened, to be read when a seed fails
        self.baton = Baton(self.rng)
        self.rates = {"die": 0.0, "fail": 0.0, "switch": 0.0}
        self.number = 0
        self.size = engines
        self.effects = "CREATE TABLE IF NOT EXISTS effect (task INTEGER, life INTEGER)"
        with self.patched():
            self.start()
            with self.engines[0].transaction() as db:
                db.execute(self.effects)

    # -- the world --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def patched(self):
        """Connections whose statements are the story's, and no real waiting."""
        simulation, connect, pause = self, sqlite3.connect, clocks.pause

        class Connection(sqlite3.Connection):
            def execute(self, sql, *parameters):
                return simulation.statement(self, sql, super().execute, parameters)

            def executemany(self, sql, *parameters):
                return simulation.statement(self, sql, super().executemany, parameters)

        def opened(*args, **options):
            made = connect(*args, **options, factory=Connection)
            sqlite3.Connection.execute(made, "PRAGMA synchronous = OFF")
            return made

        def wait(seconds):
            self.baton.switch()

        sqlite3.connect, clocks.pause = opened, wait
        try:
            yield
        finally:
            sqlite3.connect, clocks.pause = connect, pause

    def statement(self, connection, sql, run, parameters):
        if sql.startswith("PRAGMA synchronous"):
            sql = "PRAGMA synchronous = OFF"
        if self.calm:
            return run(sql, *parameters)
        rng, rates = self.rng, self.rates
        if rng.random() < rates["switch"]:
            self.baton.switch()
        if getattr(connection, "dead", False):
            raise Dies
        chance = rng.random()
        if chance < rates["die"]:
            connection.dead = True
            if rng.random() < 0.5:
                run(sql, *parameters)
                self.seen["died after a statement"] += 1
            else:
                self.seen["died before a statement"] += 1
            self.seen["died inside a transaction"] += connection.in_transaction
            raise Dies
        if chance < rates["die"] + rates["fail"]:
            name = rng.choice(["busy", "full", "io", "interrupt", "memory"])
            outside = not connection.in_transaction or sql == "COMMIT"
            if name != "busy" or outside:
                if name == "full" and connection.in_transaction:
                    sqlite3.Connection.execute(connection, "ROLLBACK")
                self.seen[f"failed: {name}"] += 1
                raise fault(name)
        return run(sql, *parameters)

    def start(self):
        """A new process that runs everything."""
        self.number += 1
        engine = taskcore.Engine(
            self.path, executor=Held(), clock=self.clock, lease=30.0, name=f"engine-{self.number}"
        )
        self.define(engine)
        place = min(set(range(self.size)) - set(self.engines))
        self.engines[place] = engine
        engine.start()
        return engine

    def define(self, engine):
        @engine.task(name="plain", max_attempts=2, backoff=taskcore.constant(5))
        def plain(number):
            if self.rng.random() < 0.2 and not self.calm:
                raise ValueError("a body that fails")
            return number

        @engine.task(name="pays", max_attempts=3, backoff=taskcore.constant(1), max_lapses=50)
        def pays(number):
            run = taskcore.current()
            life = run.task.id
            run.transact("pay", lambda db: db.execute("INSERT INTO effect VALUES (?, ?)", (life, number)) and None)
            if self.rng.random() < 0.3 and not self.calm:
                raise ValueError("after it paid")
            return number

        @engine.task(name="sleeps", max_lapses=50)
        def sleeps(number):
            run = taskcore.current()
            run.step("first", lambda: number)
            run.sleep(10)
            return number

        @engine.task(name="gathers", max_lapses=50)
        def gathers(number):
            child = plain.options(max_attempts=None, max_lapses=50)
            return sum(taskcore.current().gather(child, range(number % 3 + 1)))

        @engine.task(name="once", max_lapses=0)
        def once(number):
            return number

    def die(self, place):
        """The process of this engine is gone: its connection, its lock, its threads."""
        engine = self.engines.pop(place)
        file, scheduler = engine._file, engine._scheduler
        connection = file._connection
        engine._context.closed = engine._context.refusing = True
        if connection is not None:
            connection.dead = True
            sqlite3.Connection.close(connection)
        file._connection, file._closed = None, True
        with contextlib.suppress(KeyError):
            self.clock.unsubscribe(scheduler.look_again)
        shutdown.forget(engine._lifetime)
        presence = scheduler.presence
        if presence.lanes is not None and presence.worker is not None:
            presence.lanes.give_up(presence.lane)
        self.seen["an engine died"] += 1

    # -- steps ------------------------------------------------------------------------------------------------------

    def do(self, place, what):
        """One thing that an engine does; it may die of it."""
        try:
            what(self.engines[place])
        except Dies:
            return "dies"
        except (sqlite3.Error, MemoryError, taskcore.TaskcoreError, taskcore.Cancelled) as error:
            self.seen[f"told: {type(error).__name__}"] += 1
        return None

    def submit(self, engine):
        rng = self.rng
        name = rng.choice(["plain", "plain", "pays", "sleeps", "gathers", "once"])
        options = {}
        if self.acked and rng.random() < 0.4:
            options["after"] = rng.sample(sorted(self.acked), min(len(self.acked), rng.randint(1, 2)))
            options["otherwise"] = rng.choice(["skip", "drop"])
        if rng.random() < 0.2:
            options["delay"] = rng.choice([1, 20, 100])
        if rng.random() < 0.2:
            options["key"] = f"key {rng.randint(1, 8)}"
        if rng.random() < 0.2:
            options["priority"] = rng.randint(-2, 2)
        if rng.random() < 0.1:
            options["serial"] = rng.choice("xy")
        number = rng.randint(0, 9)
        try:
            future = _function(engine, name).options(**options).submit(number)
        except taskcore.KeyConflict:
            self.seen["a key was taken"] += 1
            return
        if future.id in self.acked and "key" not in options:
            raise AssertionError(f"the id {future.id} was given twice")
        self.acked[future.id] = name
        self.seen["submitted"] += 1

    def bulk(self, engine):
        ids = []
        with engine.transaction() as db:
            for number in range(self.rng.randint(2, 4)):
                ids.append(_function(engine, "plain").submit(number).id)
            db.execute("SELECT count(*) FROM effect").fetchall()
        self.acked.update(dict.fromkeys(ids, "plain"))
        self.seen["submitted several"] += 1

    def turn(self, engine):
        engine._loop._turn()

    def body(self, engine):
        held = _executor(engine)
        if held.inside:
            held.let_one_run(self.rng)
            self.seen["a body ran"] += 1

    def cancel(self, engine):
        if self.acked:
            task = self.rng.choice(sorted(self.acked))
            engine.tasks.where(id=task).cancel()
            self.seen["cancelled"] += 1

    def pause(self, engine):
        if self.acked:
            task = engine.tasks.where(id=self.rng.choice(sorted(self.acked)))
            self.rng.choice([task.pause, task.resume])()

    def rerun(self, engine):
        done = [task.id for task in engine.tasks.where(phase=ENDED)]
        if done:
            task = self.rng.choice(done)
            self.reran.add(task)
            engine.tasks.where(id=task).rerun()
            self.seen["rerun"] += 1

    def claim(self, engine):
        """A worker from outside, whose report may come too late."""
        for claim in engine.claim("plain", "once", n=1, lease=self.rng.choice([1, 60])):
            self.claims.append((claim.token, engine))

    def report(self, engine):
        if self.claims:
            token, _ = self.claims.pop(self.rng.randrange(len(self.claims)))
            try:
                engine.claimed(token).succeed("from outside")
                self.seen["a claim from outside succeeded"] += 1
            except taskcore.LeaseLost:
                self.seen["a claim was reported too late"] += 1

    def lose_lane(self, engine):
        """Others take this engine for dead although it lives: what it reports later must change nothing."""
        presence = engine._scheduler.presence
        if presence.worker is not None and presence.lanes is not None:
            presence.lanes.give_up(presence.lane)
            presence.lane = 10_000  # a lock that it never has: the next one to take its lane keeps that
            self.seen["a living engine lost its lane"] += 1

    STEPS = (
        ("submit", 6), ("bulk", 1), ("turn", 10), ("body", 8), ("cancel", 1), ("pause", 1), ("rerun", 1), ("claim", 1),
        ("report", 1), ("lose_lane", 0.2),
    )  # fmt: skip

    def step(self):
        rng = self.rng
        chance = rng.random()
        if not self.engines or (len(self.engines) < self.size and chance < 0.1):
            self.calm, calm = True, self.calm
            self.start()
            self.calm = calm
            return
        if chance < 0.12:
            self.clock.advance(rng.choice([0.1, 1, 5, 40]))
            return
        if chance < 0.13:
            self.clock.set(max(1.0, self.clock.now() + rng.choice([-3600, -5, 3600])))
            self.seen["the clock jumped"] += 1
            return
        names, weights = zip(*self.STEPS, strict=True)
        places = rng.sample(sorted(self.engines), min(len(self.engines), rng.choice([1, 1, 2, 3])))
        chosen = [(place, rng.choices(names, weights)[0]) for place in places]
        if len(self.acked) >= MOST:
            chosen = [(place, "turn" if name in ("submit", "bulk") else name) for place, name in chosen]
        self.script.append(chosen)
        results = {}

        def work(place, name):
            results[place] = self.do(place, getattr(self, name))

        if len(chosen) == 1:
            work(*chosen[0])
        else:
            self.seen["interleaved"] += 1
            raised = self.baton.run([lambda one=one: work(*one) for one in chosen])
            for error in raised:
                if error is not None:
                    raise error
        for place, result in results.items():
            if result == "dies":
                self.die(place)

    # -- what must hold ---------------------------------------------------------------------------------------------

    def look(self):
        """The file, against the model."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            rows = {
                row[0]: row[1:]
                for row in connection.execute(
                    "SELECT id, phase, attempts, failures, lapses, finished_at, token, parent FROM taskcore_task"
                ).fetchall()
            }
            twice = connection.execute(
                "SELECT e.task, count(*) FROM effect AS e GROUP BY e.task HAVING count(*) > 1"
            ).fetchall()
        finally:
            sqlite3.Connection.close(connection)
        for task in self.acked:
            assert task in rows, f"#{task} was acknowledged and is not in the file"
        for task, times in twice:
            assert task in self.reran, f"#{task} paid {times} times"
        for task, (phase, *_rest, row_parent) in rows.items():
            before = self.ended.get(task)
            # (A child that was cancelled runs again with its parent.)
            if before is not None and task not in self.reran and row_parent is None:
                assert phase == before, f"#{task} had ended as {before}, and is {phase}"
            if phase in ENDED:
                self.ended[task] = phase
            else:
                self.ended.pop(task, None)
        tokens = self.tokens
        for task, row in rows.items():
            assert row[5] >= tokens.get(task, 0), f"the token of #{task} went back"
            tokens[task] = row[5]

    def run(self, steps, *, die=0.004, fail=0.01, switch=0.3):
        self.tokens, self.claims = {}, []
        rng = self.rng
        self.rates = {  # swarm testing: of each seed some faults are off
            "die": die if rng.random() < 0.7 else 0.0,
            "fail": fail if rng.random() < 0.6 else 0.0,
            "switch": switch,
        }
        with self.patched():
            try:
                for at in range(steps):
                    self.at = at
                    self.calm = False
                    self.step()
                    self.calm = True
                    self.look()
                    if at % 20 == 0:
                        self.check()
                self.come_to_the_end()
            except BaseException as error:
                raise AssertionError(
                    f"seed {self.seed} at step {getattr(self, 'at', 0)}: {error!r}\n"
                    f"play it again: Simulation({self.seed}, folder).run({steps})\nlast steps: {self.script[-6:]}"
                ) from error
            finally:
                self.calm = True
                for place in list(self.engines):
                    self.die(place)
        return self.seen

    def check(self):
        with contextlib.closing(taskcore.Engine(self.path, workers=0, clock=self.clock)) as engine:
            found = engine.check()
        assert not found, found

    def come_to_the_end(self):
        """All faults stop; whatever can end must."""
        self.calm = True
        for place in list(self.engines):
            if self.rng.random() < 0.5:
                self.die(place)
        if not self.engines:
            self.start()
        place, engine = next(iter(self.engines.items()))
        for other in list(self.engines):
            if other != place:
                self.die(other)
        engine.tasks.where(phase="paused").resume()
        engine.tasks.resume()
        for _ in range(4000):
            engine._loop._turn()
            held = _executor(engine)
            if held.inside:
                held.let_one_run(self.rng)
                continue
            left = [task for task in engine.tasks if task.phase not in ENDED]
            if not left:
                break
            self.clock.advance(31)
        else:
            left = [(task.id, task.name, task.phase, engine.future(task).explain()) for task in left[:5]]
            raise AssertionError(f"stuck: {left}")
        self.look()
        self.check()
        self.seen["came to the end"] += 1


def plays(first, end, steps, folder):
    """In a child: a hundred stories. → what came in them."""
    logging.getLogger("taskcore").setLevel(logging.CRITICAL + 1)
    total = {}
    for seed in range(first, min(first + 100, end)):
        place = folder / str(seed)
        place.mkdir()
        for case, n in Simulation(seed, place).run(steps).items():
            total[case] = total.get(case, 0) + n
        shutil.rmtree(place)
    return total


def _executor(engine):
    return engine._scheduler.custody.crew._executor


def _function(engine, name):
    found = engine._context.definitions[name]
    return TaskFunction(engine._submissions, name, found.fn, found.options)

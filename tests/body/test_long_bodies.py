"""Bodies made at random, disturbed at random, and what becomes of them: what would have become of them in peace.

A body is a small program of everything that `current()` offers, with children that are such programs. It is
interrupted wherever something may interrupt it, by its own failures, an operator, a close or a crash, and in the end it
has the result, and has left the traces, that the same program has when nothing disturbs it.
"""

import collections
import contextlib
import random
import sqlite3

import pytest

import taskcore
from taskcore import Cancelled, Engine, constant
from taskcore.testing import InlineExecutor, ManualClock
from tests.support.rows import wrongs

# -- programs ------------------------------------------------------------------------------------------------------

LEAVES = ("step", "transact", "flaky", "refused", "undone", "sleep", "signal", "late", "save", "show")
BRANCHES = ("child", "gather", "track", "nested", "open", "map")


def program(rng, path="", depth=0):
    """[[kind, label, parts], …]; a label is unique, and says where in the program it is."""
    ops = []
    for place in range(rng.randint(1, 4 if depth else 6)):
        kinds = LEAVES + BRANCHES * 2 if depth < 2 else LEAVES
        kind, label = rng.choice(kinds), f"{path}{place}"
        many = rng.randint(0, 3) if kind in ("gather", "track", "map") else 1
        parts = [program(rng, f"{label}.{n}-", depth + 1) for n in range(many if kind in BRANCHES else 0)]
        ops.append([kind, label, parts])
    return ops


def in_peace(ops):
    """What comes of a program: its result, and the traces that it leaves, by label."""
    traces, tasks = collections.Counter(), [0]

    def task(ops):
        tasks[0] += 1
        signals, saved = iter(range(1000)), {}

        def block(ops, out):
            for kind, label, parts in ops:
                found = None
                if kind in ("step", "transact", "flaky"):
                    traces[label] += 1
                    found = label
                elif kind == "signal":
                    found = next(signals)
                elif kind == "save":
                    saved[label] = [label]
                elif kind in ("child", "open"):
                    found = task(parts[0])
                elif kind in ("gather", "map"):
                    found = [task(part) for part in parts]
                elif kind == "track":
                    for part in parts:
                        block(part, [])
                    found = len(parts)
                elif kind == "nested":
                    found = block(parts[0], [])
                else:
                    found = kind
                out.append(found)
            return out

        out = block(ops, [])
        return {**saved, "out": out}

    return task(ops), traces, tasks[0]


# -- the world they run in -----------------------------------------------------------------------------------------


class Undone(Exception):
    pass


class Disturbed(Exception):
    pass


CHANCE = 0.04


class World:
    """One file, what the bodies did outside of it, and whoever disturbs them."""

    def __init__(self, path, rng, how, workers):
        self.path, self.rng, self.how, self.workers = path, rng, how, workers
        self.clock = ManualClock(1000)
        self.traces = []
        self.tries = collections.Counter()
        self.sent = collections.Counter()
        self.crashed = None
        self.generation = 0
        self.open()
        with self.engine.transaction() as db:
            db.execute("CREATE TABLE ledger (label TEXT)")

    def open(self):
        executor = None if self.workers else InlineExecutor()
        self.engine = Engine(self.path, workers=self.workers or None, executor=executor, clock=self.clock)
        attempts = 1 if self.how == "rerun" else None
        options = {"max_attempts": attempts, "backoff": constant(0), "max_lapses": 1000}
        self.body = self.engine.task(self.run_program, name="program", **options)

    def disturb(self, chance=CHANCE):
        """Called wherever a body might be interrupted."""
        if self.crashed is not None:
            raise Cancelled  # what still runs of a process that is dead
        if self.how == "nothing" or self.rng.random() >= chance:
            return
        if self.how == "close":
            self.engine.close(0)
            taskcore.current().check()
        if self.how == "crash":
            self.crash()
        if self.how in ("crash", "cancel"):
            raise Cancelled
        raise Disturbed

    def crash(self):
        """What is in the file now is what a process would find that starts after this one was killed."""
        self.generation += 1
        self.crashed = f"{self.path}.{self.generation}"
        with contextlib.closing(sqlite3.connect(self.path)) as old:
            with contextlib.closing(sqlite3.connect(self.crashed)) as new:
                old.backup(new)

    def restart(self):
        self.engine.close()
        if self.crashed is not None:
            self.path, self.crashed = self.crashed, None
        self.open()

    # -- one body ----------------------------------------------------------------------------------------------------

    def run_program(self, ops):
        self.disturb()
        pending = []
        out = self.block(ops, [], pending)
        run = taskcore.current()
        for place, child in pending:
            out[place] = child.result()
        self.disturb()
        run.progress(1)
        return {"out": out}

    def block(self, ops, out, pending):
        for kind, label, parts in ops:
            self.disturb()
            out.append(getattr(self, f"do_{kind}")(taskcore.current(), label, parts, out, pending))
        return out

    def trace(self, label):
        self.disturb()
        self.traces.append(label)
        return label

    def do_step(self, run, label, parts, out, pending):
        return run.step("step", self.trace, label)

    def do_transact(self, run, label, parts, out, pending):
        def enter(db):
            self.disturb()
            db.execute("INSERT INTO ledger VALUES (?)", (label,))
            self.disturb(0.2)
            return label

        return run.transact("transact", enter)

    def do_flaky(self, run, label, parts, out, pending):
        def fails():
            self.tries[label] += 1
            if self.tries[label] <= 2:
                raise Disturbed(label)
            return self.trace(label)

        return run.step("flaky", fails)

    def do_refused(self, run, label, parts, out, pending):
        def refuse(*_):
            self.disturb()
            raise Undone

        for call in (lambda: run.step("refused", refuse), lambda: run.transact("refused", refuse)):
            with contextlib.suppress(Undone):
                call()
        with contextlib.suppress(TypeError):
            self.body.submit(object())
        return "refused"

    def do_undone(self, run, label, parts, out, pending):
        with contextlib.suppress(Undone), self.engine.transaction() as db:
            db.execute("INSERT INTO ledger VALUES (?)", (label,))
            run.step("undone", str, label)
            self.body.submit([["step", label, []]])
            self.disturb()
            raise Undone
        return "undone"

    def do_sleep(self, run, label, parts, out, pending):
        run.sleep(len(label) % 3 * 10)
        return "sleep"

    def do_signal(self, run, label, parts, out, pending):
        return run.wait_for("signal")

    def do_late(self, run, label, parts, out, pending):
        with contextlib.suppress(TimeoutError):
            run.wait_for("never", timeout=len(label) % 2 * 20)
        return "late"

    def do_save(self, run, label, parts, out, pending):
        run.save(**{label: [label]})

    def do_show(self, run, label, parts, out, pending):
        run.message(label)
        run.progress(0.5)
        return "show"

    def do_child(self, run, label, parts, out, pending):
        return self.body.submit(parts[0]).result()

    def do_open(self, run, label, parts, out, pending):
        """A child that is waited for at the end only, or, in a step or an item, at once."""
        child = self.body.submit(parts[0])
        if pending is None:
            return run.wait(child)[0]
        pending.append((len(out), child))
        return None

    def do_gather(self, run, label, parts, out, pending):
        return run.gather(self.body, parts)

    def do_map(self, run, label, parts, out, pending):
        return list(self.body.map(parts))

    def do_track(self, run, label, parts, out, pending):
        for part in run.track(parts):
            self.block(part, [], None)
        return len(parts)

    def do_nested(self, run, label, parts, out, pending):
        return run.step("nested", self.block, parts[0], [], None)

    # -- the world goes on -------------------------------------------------------------------------------------------

    def live(self, ops):
        """Run the program to its end, come what may. → its result."""
        rng, root = self.rng, self.body.submit(ops).id
        for _ in range(4000):
            with contextlib.suppress(taskcore.EngineClosed):
                self.engine.run()
            if self.crashed is not None or self.engine.health == "stopped: closed":
                self.restart()
                continue
            future = self.engine.future(root)
            row = future.snapshot()
            if row.phase == "succeeded":
                return row.result
            if row.finished_at is not None:
                assert self.how in ("rerun", "cancel"), row
                future.rerun()
                continue
            if self.how != "nothing" and rng.random() < 0.1:
                self.restart()
            self.meddle(rng)
        raise AssertionError([(task.id, task.phase, task.waiting_for) for task in self.engine.tasks])

    def meddle(self, rng):
        """What people do, and time."""
        open_tasks = [task for task in self.engine.tasks if task.finished_at is None]
        paused = self.engine.tasks.where(phase="paused")
        paused.resume()
        if self.how != "nothing" and rng.random() < 0.2:
            self.engine.tasks.where(ids=[task.id for task in open_tasks if rng.random() < 0.5]).pause()
        if self.how == "cancel" and rng.random() < 0.1:
            self.engine.tasks.where(ids=[task.id for task in open_tasks if rng.random() < 0.2]).cancel()
        for task in open_tasks:
            if task.waiting_for == "signal signal" or (self.how != "nothing" and rng.random() < 0.1):
                self.sent[task.id] += self.engine.future(task.id).signal("signal", self.sent[task.id])
        self.clock.advance(rng.choice([0, 1, 10, 50]) if self.how != "nothing" else 10)


def check(path, seed, how, workers=0):
    rng = random.Random(seed)
    ops = program(rng)
    result, traces, tasks = in_peace(ops)
    world = World(path, rng, how, workers)
    try:
        about = f"seed {seed}, disturbed by {how}, {workers} threads: {ops}"
        assert world.live(ops) == result, about
        world.engine.tasks.where(phase="paused").resume()
        world.engine.run()
        with world.engine.transaction() as db:
            ledger = [label for (label,) in db.execute("SELECT label FROM ledger")]
        assert collections.Counter(world.traces + ledger) == traces, about
        assert world.engine.tasks.counts() == {"succeeded": tasks}, about
        assert world.engine.health == "ok", about
    finally:
        world.engine.close()
    assert wrongs(world.path) == [], about


WAYS = ("nothing", "retry", "rerun", "cancel", "close", "crash")


@pytest.mark.parametrize("how", WAYS)
def test_a_body_comes_to_the_same_end_whatever_disturbs_it(tmp_path, how):
    for seed in range(3):
        check(tmp_path / f"{seed}.db", seed, how)


@pytest.mark.parametrize("how", ["retry", "rerun"])
def test_bodies_in_three_threads_come_to_the_same_end(tmp_path, how):
    """(Where a close or a crash finds several bodies at work, what they were just doing is done again.)"""
    for seed in range(2):
        check(tmp_path / f"{seed}.db", seed, how, workers=3)


@pytest.mark.storm
@pytest.mark.parametrize("how", WAYS)
def test_many_bodies_come_to_the_same_end(tmp_path, how):
    for seed in range(1000, 1300):
        check(tmp_path / f"{seed}.db", seed, how, workers=3 * (seed % 2) if how in ("retry", "rerun") else 0)

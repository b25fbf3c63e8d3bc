"""Threads on one engine; Ctrl-C at any moment; bodies and callbacks that misbehave."""

import asyncio
import collections
import concurrent.futures
import contextlib
import random
import signal
import sqlite3
import sys
import threading
import time

import pytest

import taskcore
from taskcore import Engine, TaskFailed
from taskcore.core import clock
from taskcore.store import process_locks
from tests.support.processes import PATIENCE, Child, say, until
from tests.support.rows import wrongs


@pytest.fixture
def child():
    children = []

    def start(body, *args, **options):
        children.append(Child(body, *args, **options))
        return children[-1]

    yield start
    for each in children:
        each.close()


@pytest.fixture
def engine(path):
    with contextlib.closing(Engine(path, workers=2)) as engine:
        yield engine


old_threads: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def threads_of_this_test():
    old_threads.clear()
    old_threads.update(threading.enumerate())


def workers_alive():
    return sum(thread.name == "taskcore-worker" for thread in set(threading.enumerate()) - old_threads)


def assert_the_pool_is_whole(engine, size):
    """As many bodies as there are threads are inside at one time."""
    together = threading.Barrier(size + 1)
    meet = engine.task(lambda n: together.wait(PATIENCE) >= 0, name="meet")
    futures = [meet.submit(n) for n in range(size)]
    together.wait(PATIENCE)
    assert all(future.result(PATIENCE) for future in futures)


# -- many threads, all verbs ----------------------------------------------------------------------------------------

EXPECTED = (
    taskcore.InvalidTransition, taskcore.TaskNotFound, taskcore.DependencyCycle, taskcore.LeaseLost, TaskFailed,
    taskcore.TaskSkipped, concurrent.futures.CancelledError, TimeoutError, ZeroDivisionError,
)  # fmt: skip


class Hammer:
    """One thread's random verbs on the shared engine."""

    def __init__(self, engine, seed, shared, done):
        self.engine, self.dice, self.futures, self.done = engine, random.Random(seed), shared, done
        self.work = engine.task(lambda n: n, name="work")
        self.fails = engine.task(lambda: 1 / 0, name="fails", max_attempts=2, backoff=taskcore.constant(0))

    def any(self):
        return self.dice.choice(list(self.futures)) if self.futures else self.submit()

    def some(self):
        """Not those of `map`, which somebody waits for."""
        return self.engine.tasks.where(ids={self.any().id for _ in range(self.dice.randrange(1, 5))})

    def keep(self, future):
        self.futures.append(future)
        return future

    def submit(self):
        return self.keep(self.work.submit(self.dice.random()))

    def submit_failing(self):
        self.keep(self.fails.submit())

    def submit_below(self):
        otherwise = self.dice.choice(["skip", "drop"])
        self.keep(self.work.options(after=[self.any(), self.any()], otherwise=otherwise).submit(1))

    def submit_keyed(self):
        self.keep(self.work.options(key=str(self.dice.randrange(20)), tags=["keyed"]).submit(0))

    def submit_delayed(self):
        self.keep(self.work.options(delay=self.dice.choice([0.01, 1000])).submit(2))

    def transaction(self):
        with self.engine.transaction() as db:
            futures = [self.work.submit(n) for n in range(3)]
            db.execute("INSERT INTO mine VALUES (?)", (futures[0].id,))
            if self.dice.random() < 0.3:
                raise ZeroDivisionError
        for future in futures:
            self.keep(future)

    def map(self):
        assert list(self.work.map(range(5), timeout=PATIENCE)) == list(range(5))

    def cancel(self):
        self.any().cancel("enough")

    def pause(self):
        self.some().pause()

    def resume(self):
        self.some().resume()

    def rerun(self):
        self.some().rerun(downstream=self.dice.random() < 0.5)

    def rerun_one(self):
        self.keep(self.any().rerun())

    def depend(self):
        self.any().depends_on(self.any(), on="finished")

    def priority(self):
        self.some().set_priority(self.dice.randrange(-5, 6))

    def delete(self):
        if self.dice.random() < 0.2:
            self.some().delete()

    def claim(self):
        self.keep(self.engine.submit("robot"))
        for claim in self.engine.claim("robot", n=2, lease=1000):
            self.dice.choice(
                [lambda: claim.succeed(1), claim.release, lambda: claim.fail("no"), lambda: claim.snooze(0)]  # noqa: B023
            )()

    def look(self):
        self.engine.tasks.counts()
        future = self.any()
        future.snapshot()
        future.history()
        future.dependencies()
        assert len(self.engine.tasks.where(id=future)) <= 1
        for _ in self.some():
            pass

    def wait(self):
        with contextlib.suppress(TimeoutError):
            self.any().result(0.01)

    def poll(self):
        self.any().done()
        concurrent.futures.wait([self.any(), self.any()], timeout=0.001)

    VERBS = (
        submit, submit, submit_failing, submit_below, submit_keyed, submit_delayed, transaction, map, cancel, pause,
        resume, rerun, rerun_one, depend, priority, delete, claim, look, wait, poll,
    )  # fmt: skip

    def run(self, operations):
        for _ in range(operations):
            verb = self.dice.choice(self.VERBS)
            try:
                verb(self)
                self.done[verb.__name__] += 1
            except EXPECTED:
                self.done[verb.__name__] += 0


@pytest.mark.parametrize("threads", [2, 8])
def test_threads_may_call_everything_at_once(path, threads):
    seed, problems, done = 7, [], collections.Counter()
    with contextlib.closing(Engine(path, workers=3)) as engine:
        with engine.transaction() as db:
            db.execute("CREATE TABLE mine (task INTEGER)")
        shared = collections.deque(maxlen=200)

        def hammer(number):
            try:
                Hammer(engine, seed * 100 + number, shared, done).run(800 // threads)
            except BaseException as error:
                problems.append(error)

        crowd = [threading.Thread(target=hammer, args=(number,)) for number in range(threads)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join(PATIENCE)
            assert not thread.is_alive(), f"seed {seed}: a call does not come back; so far {done}"
        assert not problems, f"seed {seed}: {problems!r}"
        assert min(done[verb.__name__] for verb in Hammer.VERBS if verb is not Hammer.delete) > 0, (seed, done)
        engine.tasks.resume()
        engine.tasks.where(name="robot").cancel()
        counts = engine.run()
        while engine.tasks.where(phase="scheduled").cancel():  # more may come: those that waited for these
            counts = engine.run()
        assert set(counts) <= {"succeeded", "failed", "cancelled", "skipped"}, (seed, counts)
        for future in list(shared):
            with contextlib.suppress(*EXPECTED):
                future.result(PATIENCE)
        stray = "SELECT count(*) FROM mine WHERE task > (SELECT max(id) FROM taskcore_task)"
        assert engine._context.read(lambda c: c.execute(stray).fetchone()) == (0,)
        assert_the_pool_is_whole(engine, 3)
    assert wrongs(path) == [], seed


def test_two_engines_of_one_process_share_a_file(path):
    ran, lock = [], threading.Lock()

    def body(n):
        with lock:
            ran.append(n)
        return n

    with Engine(path, workers=2) as one, Engine(path, workers=2) as two:
        first, second = (engine.task(body, name="work") for engine in (one, two))
        futures = [task.submit(n) for n in range(200) for task in (first, second)]
        assert [future.result(PATIENCE) for future in futures] == [n for n in range(200) for _ in (1, 2)]
    assert sorted(ran) == sorted([*range(200)] * 2)
    assert wrongs(path) == []


def test_an_engine_can_be_opened_and_closed_again_and_again_under_load(path):
    stop, problems, sent = threading.Event(), [], []
    engines = [Engine(path, workers=2)]

    def submits():
        while not stop.is_set():
            try:
                sent.append(engines[-1].submit("work", len(sent)).id)
                engines[-1].tasks.counts()
            except taskcore.EngineClosed:
                pass
            except BaseException as error:
                problems.append(error)
                return

    crowd = [threading.Thread(target=submits) for _ in range(2)]
    for thread in crowd:
        thread.start()
    for number in range(25):
        engines[-1].task(lambda n: n, name="work")
        engines.append(Engine(path, workers=2))
        if number % 2:
            engines[-2].close()
        else:
            engines[-2].shutdown()
    stop.set()
    for thread in crowd:
        thread.join(PATIENCE)
    assert not problems, problems
    with engines[-1] as engine:
        engine.task(lambda n: n, name="work")
        assert engine.run() == {"succeeded": len(sent)}
        assert len(set(sent)) == len(sent)
    assert wrongs(path) == []
    until(lambda: workers_alive() == 0, "the threads of closed engines end")


def test_other_threads_wait_while_one_is_inside_a_transaction(path, engine):
    work = engine.task(lambda n: n, name="work")
    first = work.submit(1)
    inside, go, passed = threading.Event(), threading.Event(), []

    def holds():
        with engine.transaction() as db:
            db.execute("CREATE TABLE mine (n)")
            work.submit(2)
            inside.set()
            assert go.wait(PATIENCE)

    def calls(call):
        passed.append(call())

    holder = threading.Thread(target=holds)
    holder.start()
    assert inside.wait(PATIENCE)
    begun = [
        lambda: work.submit(3).result(PATIENCE), lambda: len(engine.tasks), lambda: first.result(PATIENCE),
        lambda: engine.tasks.where(name="other").cancel(), lambda: first.snapshot().id, lambda: engine.run(),
    ]  # fmt: skip
    crowd = [threading.Thread(target=calls, args=(call,)) for call in begun]
    for thread in crowd:
        thread.start()
    go.set()
    for thread in (holder, *crowd):
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert len(passed) == len(begun)
    assert engine.run() == {"succeeded": 3}


# -- callbacks ------------------------------------------------------------------------------------------------------


def test_a_callback_may_call_the_engine_and_wait_for_another_task(engine):
    work = engine.task(lambda n: n + 1, name="work")
    heard, over = [], threading.Event()

    def goes_on(future):
        number = future.result()
        heard.append(number)
        assert engine.tasks.counts()["succeeded"] >= 1
        if number < 5:
            work.submit(number).add_done_callback(goes_on)
        else:
            heard.append(work.submit(100).result(PATIENCE))
            over.set()

    work.submit(0).add_done_callback(goes_on)
    assert over.wait(PATIENCE), heard
    assert heard == [1, 2, 3, 4, 5, 101]


def test_a_callback_may_wait_for_a_task_that_needs_the_only_thread(path):
    with contextlib.closing(Engine(path, workers=1)) as engine:
        work, over, got = engine.task(lambda n: n, name="work"), threading.Event(), []

        def waits(future):
            got.append(work.submit(2).result(PATIENCE))
            over.set()

        go = threading.Event()
        first = engine.task(lambda: go.wait(PATIENCE), name="first").submit()
        first.add_done_callback(waits)
        go.set()
        assert over.wait(PATIENCE), "the callback and the task that it waits for stand in each other's way"
        assert got == [2]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_a_callback_that_raises_harms_nobody(engine, error):
    work = engine.task(lambda n: n, name="work")

    def raises(future):
        raise error

    go, heard = threading.Event(), threading.Event()
    futures = [engine.task(lambda: go.wait(PATIENCE), name="gate").submit() for _ in range(4)]
    for future in futures:
        future.add_done_callback(raises)
    futures[-1].add_done_callback(lambda future: None)
    go.set()
    assert [future.result(PATIENCE) for future in futures] == [True] * 4
    work.submit(1).add_done_callback(lambda future: heard.set())
    assert heard.wait(PATIENCE)
    assert_the_pool_is_whole(engine, 2)


def test_a_callback_may_close_the_engine(path):
    engine = Engine(path, workers=2)
    go, over = threading.Event(), threading.Event()

    def closes(future):
        engine.close()
        over.set()

    engine.task(lambda: go.wait(PATIENCE), name="gate").submit().add_done_callback(closes)
    go.set()
    assert over.wait(PATIENCE)
    engine.close()
    with pytest.raises(taskcore.EngineClosed):
        engine.tasks.counts()


def test_a_callback_may_close_the_engine_while_somebody_else_does(path):
    engine = Engine(path, workers=2)
    inside, over = threading.Event(), threading.Event()

    def closes(future):
        engine.close()
        over.set()

    def body():
        inside.set()
        nap = threading.Event()
        while not taskcore.current().cancelled:
            nap.wait(0.002)
        return "so be it"

    future = engine.task(body, name="body").submit()
    future.add_done_callback(closes)
    assert inside.wait(PATIENCE)
    engine.close()
    assert over.wait(PATIENCE)
    assert future.result() == "so be it"


# -- bodies that misbehave ------------------------------------------------------------------------------------------


def raises(make):
    def body():
        raise make()

    return body


def generator():
    yield 1


async def async_generator():
    yield 1


async def exits():
    sys.exit(3)


async def interrupted():
    raise KeyboardInterrupt


def recursion():
    return recursion() + 1


def cyclic_cause():
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    return one


def long_chain():
    error = None
    for n in range(5000):
        new = ValueError(n)
        new.__cause__ = error
        error = new
    return error


class StrRaises(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class StrExits(Exception):
    def __str__(self):
        raise SystemExit(4)


class StrIsNoText(Exception):
    def __str__(self):
        return 5


class HugeText(Exception):
    def __str__(self):
        return "x" * 10_000_000


class NothingWorks(Exception):
    def __getattribute__(self, name):
        raise ZeroDivisionError(name)


class NoClass(Exception):
    @property  # type: ignore[misc]  # hostile on purpose
    def __class__(self):
        raise ZeroDivisionError


class Unstorable:
    def __iter__(self):
        raise SystemExit(5)

    __len__ = __bool__ = __iter__


HOSTILE = {
    "SystemExit": raises(SystemExit),
    "sys.exit": lambda: sys.exit("bye"),
    "KeyboardInterrupt": raises(KeyboardInterrupt),
    "GeneratorExit": raises(GeneratorExit),
    "StopIteration": raises(StopIteration),
    "asyncio.CancelledError": raises(asyncio.CancelledError),
    "BaseException": raises(BaseException),
    "exception group": raises(lambda: BaseExceptionGroup("both", [ValueError(1), SystemExit(2)])),
    "generator": generator,
    "async generator": async_generator,
    "async exit": exits,
    "async interrupt": interrupted,
    "unstorable result": lambda: object(),
    "unstorable inside": lambda: {"a": [1, Unstorable()]},
    "hostile result": lambda: Unstorable(),
    "a function as result": lambda: print,
    "unknown label": lambda: taskcore.Done(1, status="nobody knows this"),
    "unstorable and done": lambda: taskcore.Done({1, object()}),
    "str raises": raises(StrRaises),
    "str exits": raises(StrExits),
    "str is no text": raises(StrIsNoText),
    "10 MB text": raises(HugeText),
    "surrogates": raises(lambda: ValueError("\ud800 \udfff")),
    "NUL": raises(lambda: ValueError("a\0b")),
    "cyclic cause": raises(cyclic_cause),
    "long chain": raises(long_chain),
    "recursion": recursion,
    "nothing works": raises(NothingWorks),
    "no class": raises(NoClass),
    "wrong arguments": lambda *none: (lambda needed: needed)(*none),
    "no attempts left": raises(lambda: taskcore.Retry(0)),
    "abort": raises(lambda: taskcore.Abort("\0\ud800")),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_whatever_a_body_does_its_task_ends_as_failed_and_the_pool_lives(engine, body):
    hostile = engine.task(body, name="hostile")
    futures = [hostile.submit() for _ in range(3)]
    for future in futures:
        assert future.exception(PATIENCE) is not None
        task = future.snapshot()
        assert (task.phase, task.attempts, task.failures) == ("failed", 1, 1)
        assert task.last_error and len(task.last_error) < 100_000 and "\0" not in task.last_error
        (attempt,) = future.history()
        assert attempt.outcome == "failed" and len(attempt.traceback or "") <= 64 * 1024
    assert_the_pool_is_whole(engine, 2)
    assert workers_alive() == 2


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit, KeyboardInterrupt])
def test_a_backoff_that_raises_counts_as_the_default(engine, error):
    def backoff(failures):
        raise error

    future = engine.task(raises(ValueError), name="fails", max_attempts=2, backoff=backoff).submit()
    until(lambda: future.snapshot().phase == "scheduled", "it is put off")
    assert 0 <= future.snapshot().greenfield - time.time() <= 3
    assert_the_pool_is_whole(engine, 2)


def test_a_body_may_start_threads_that_use_the_engine(engine):
    work = engine.task(lambda n: n, name="work")

    def body():
        made = []
        crowd = [threading.Thread(target=lambda n=n: made.append(work.submit(n))) for n in range(3)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
        return sorted(future.id for future in made)

    ids = engine.task(body, name="body").submit().result(PATIENCE)
    assert [engine.future(task).result(PATIENCE) is not None for task in ids] == [True] * 3


def test_a_body_that_closes_its_own_engine_continues_at_the_next_start(path):
    engine, over = Engine(path, workers=2), threading.Event()

    def body():
        engine.close()
        over.set()
        return "closed it"

    future = engine.task(body, name="body").submit()
    assert over.wait(PATIENCE)
    with pytest.raises(taskcore.EngineClosed):
        future.result(PATIENCE)
    engine.close()
    with Engine(path, workers=1) as again:
        again.task(lambda: "the second time", name="body")
        assert again.run() == {"succeeded": 1}
        (task,) = again.tasks
        assert (task.result, task.attempts, task.lapses) == ("the second time", 1, 0)


def test_bodies_that_all_close_the_engine_do_not_wait_for_each_other(path):
    engine, together = Engine(path, workers=3), threading.Barrier(4)

    def body():
        together.wait(PATIENCE)
        engine.close()

    task = engine.task(body, name="body")
    for _ in range(3):
        task.submit()
    together.wait(PATIENCE)
    engine.close()
    until(lambda: workers_alive() == 0, "the threads end")
    with Engine(path, workers=0) as again:
        assert set(again.tasks.counts()) <= {"ready", "succeeded"}


def test_a_body_cannot_shut_down_the_engine_that_waits_for_it(engine):
    future = engine.task(lambda: engine.shutdown(), name="body").submit()
    assert isinstance(future.exception(PATIENCE), RuntimeError)
    assert_the_pool_is_whole(engine, 2)


def test_what_was_delayed_begins_by_the_clock_of_the_machine_though_nothing_else_happens(path):
    with contextlib.closing(Engine(path, workers=1)) as engine:
        task = engine.task(lambda: "done", name="f")
        task.submit().result(PATIENCE)
        assert task.options(delay=0.3).submit().result(PATIENCE) == "done"


# -- bodies that do not return --------------------------------------------------------------------------------------


def test_a_body_that_never_returns_loses_its_slot_to_others(path):
    go = threading.Event()
    with contextlib.closing(Engine(path, workers=1)) as engine:
        deaf = engine.task(lambda: go.wait(PATIENCE) and "late", name="deaf", timeout=0.05)
        work = engine.task(lambda n: n, name="work")
        try:
            futures = [deaf.submit() for _ in range(3)]
            behind = [work.submit(n) for n in range(20)]
            for future in futures:
                with pytest.raises(TaskFailed) as caught:
                    future.result(PATIENCE)
                assert caught.value.error_type == "TimeoutError" and "0.05 s" in caught.value.message
            assert [future.result(PATIENCE) for future in behind] == list(range(20))
            assert_the_pool_is_whole(engine, 1)
        finally:
            go.set()
        until(lambda: workers_alive() == 1, "the deaf threads end, and one is left")
        for future in futures:
            task = future.snapshot()
            assert (task.status, task.result, task.attempts) == ("failed", None, 1), "a late report changes nothing"
        assert_the_pool_is_whole(engine, 1)
    assert wrongs(path) == []
    assert f"{path}-taskcore" not in process_locks._open_files, "all bodies returned: nothing needs to prove it alive"


def test_the_late_report_of_a_deaf_thread_does_not_touch_the_attempt_that_runs_now(path):
    gates = [threading.Event(), threading.Event()]
    inside = [threading.Event(), threading.Event()]
    with contextlib.closing(Engine(path, workers=2)) as engine:
        tries = iter(range(2))

        @engine.task(timeout=1.0, max_attempts=2, backoff=taskcore.constant(0))
        def body():
            number = next(tries)
            inside[number].set()
            gates[number].wait(PATIENCE)
            return number

        future = body.options(timeout=0.2).submit()
        assert inside[0].wait(PATIENCE) and inside[1].wait(PATIENCE)
        gates[0].set()  # the first attempt returns while the second runs
        assert_the_pool_is_whole(engine, 1)
        gates[1].set()
        with contextlib.suppress(TimeoutError):
            assert future.result(PATIENCE) == 1
        assert future.snapshot().result in (1, None)
        assert future.snapshot().attempts == 2
        assert future.history()[0].outcome == "failed"
    assert wrongs(path) == []


# -- Ctrl-C ---------------------------------------------------------------------------------------------------------


def test_a_ctrl_c_between_handing_a_body_over_and_waking_its_thread_leaves_it_neither_asleep_nor_run_twice(path):
    with contextlib.closing(Engine(path, workers=2)) as engine:
        ran = []
        task = engine.task(lambda n: ran.append(n), name="one")
        task.submit(0).result(PATIENCE)
        until(lambda: engine._scheduler.quiet and not engine._scheduler.held, "it idles")  # then one is born claimed
        crew = engine._scheduler.custody.crew
        hand, interrupted = crew.hand, []

        def interrupt(works):
            if not interrupted:
                interrupted.append(True)
                raise KeyboardInterrupt
            hand(works)

        crew.hand = interrupt
        with pytest.raises(KeyboardInterrupt):
            task.submit(1)
        until(lambda: engine.tasks.counts() == {"succeeded": 2}, "it ran")
        assert ran == [0, 1]


WHEN = ["before it is stored", "while it waits for another program", "after it was stored", "while its handle is made"]


@pytest.mark.parametrize("when", WHEN)
def test_a_ctrl_c_while_an_idle_engine_makes_a_task_leaves_it_run_once_or_never_made(path, monkeypatch, when):
    with contextlib.closing(Engine(path, workers=2)) as engine:
        ran = []
        task = engine.task(lambda n: ran.append(n), name="one")
        task.submit(0).result(PATIENCE)
        until(lambda: engine._scheduler.quiet and not engine._scheduler.held, "it idles")  # then one is born claimed
        owner, name = {
            "before it is stored": (engine._file, "_ready"), "while it waits for another program": (clock, "pause"),
            "after it was stored": (engine._file._identity, "confirm"),
            "while its handle is made": (engine._submissions, "_handle_of"),
        }[when]  # fmt: skip
        real = getattr(owner, name)

        def interrupt(*args):
            if threading.current_thread() is not threading.main_thread():
                return real(*args)
            monkeypatch.undo()
            raise KeyboardInterrupt

        monkeypatch.setattr(owner, name, interrupt)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as program:
            if when == WHEN[1]:
                program.execute("BEGIN IMMEDIATE")
            with pytest.raises(KeyboardInterrupt):
                task.submit(1)
        stored = [0] if when in WHEN[:2] else [0, 1]
        until(lambda: engine.tasks.counts() == {"succeeded": len(stored)}, "it ran")
        task.submit(2).result(PATIENCE)
        assert ran == [*stored, 2]


def test_a_ctrl_c_right_behind_a_commit_lets_what_was_stored_run(path, monkeypatch):
    with contextlib.closing(Engine(path, workers=2)) as engine:
        ran = []
        task = engine.task(lambda n: ran.append(n), name="one").options(tags=["more is said of it"])
        task.submit(0).result(PATIENCE)
        real = engine._file._identity.confirm

        def interrupt():
            real()
            if threading.current_thread() is threading.main_thread():
                monkeypatch.undo()
                raise KeyboardInterrupt

        until(lambda: engine._scheduler.quiet and not engine._scheduler.held, "it idles")
        monkeypatch.setattr(engine._scheduler.lookout, "is_due", lambda real: False)  # nothing else tells of a commit
        monkeypatch.setattr(engine._file._identity, "confirm", interrupt)
        with pytest.raises(KeyboardInterrupt):
            task.submit(1)
        until(lambda: ran == [0, 1], "it ran")


@pytest.mark.parametrize("claims", ["no more", "again"])
def test_what_is_born_claimed_as_the_engine_comes_to_rest_is_given_back_and_run(path, claims):
    with contextlib.closing(Engine(path, workers=2)) as engine:
        ran = []
        task = engine.task(lambda n: ran.append(n), name="one")
        task.submit(0).result(PATIENCE)
        until(lambda: engine._scheduler.quiet and not engine._scheduler.held, "it idles")  # one is born claimed then
        handle_of, went_on = engine._submissions._handle_of, engine._submissions.lifetime.go

        def handle(task_id):
            engine._scheduler.claiming = False  # as at the end of `run`, in another thread
            return handle_of(task_id)

        engine._submissions._handle_of = handle
        if claims == "no more":
            engine._submissions.lifetime.go = lambda: None
        last = task.submit(1)
        engine._submissions._handle_of, engine._submissions.lifetime.go = handle_of, went_on
        if claims == "no more":
            assert (last.snapshot().phase, last.snapshot().attempts, ran) == ("ready", 0, [0])
            engine.start()
        last.result(PATIENCE)
        assert (last.snapshot().attempts, last.snapshot().lapses, ran) == (1, 0, [0, 1])


def test_a_task_is_not_born_claimed_by_a_worker_that_others_took_for_dead(path):
    with contextlib.closing(Engine(path, workers=2)) as engine:
        task = engine.task(lambda n: n, name="one")
        task.submit(0).result(PATIENCE)
        until(lambda: engine._scheduler.quiet and not engine._scheduler.held, "it idles")  # one is born claimed then
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as program:
            program.execute("UPDATE taskcore_worker SET ended_at = 1 WHERE ended_at IS NULL")
        engine._scheduler.adopt = lambda birth: pytest.fail("it was claimed, and nobody would ever take it back")
        assert task.submit(1).id == 2


def test_an_idle_engine_gives_no_id_that_another_process_has_given(path):
    with contextlib.closing(Engine(path, workers=2)) as engine, contextlib.closing(Engine(path, workers=0)) as other:
        task = engine.task(lambda n: n, name="one")
        for n in range(5):
            task.submit(n).result(PATIENCE)
            until(lambda: engine._scheduler.quiet and not engine._scheduler.held, "it idles")  # as above
            theirs = other.submit("nobody's")
            ours = task.submit(n)
            assert (ours.result(PATIENCE), ours.id) == (n, theirs.id + 1)


class Interrupts:
    """Calls with a Ctrl-C somewhere inside, in the main thread of a process of its own."""

    def __init__(self, path, seed):
        self.path, self.dice, self.armed, self.hits = path, random.Random(seed), False, 0
        signal.signal(signal.SIGALRM, self.signal)
        self.engine = Engine(path, workers=2)
        self.raw = sqlite3.connect(path, isolation_level=None, timeout=10)
        self.work = self.engine.task(lambda n=0: n, name="work")
        self.fails = self.engine.task(lambda: 1 / 0, name="fails")
        with self.engine.transaction() as db:
            db.execute("CREATE TABLE mine (n)")
            for _ in range(5):
                self.fails.submit()
        self.engine.run()
        self.go = threading.Event()
        self.gate = self.engine.task(lambda: self.go.wait(), name="gate")

    def signal(self, *_):
        if self.armed:
            self.hits += 1
            raise KeyboardInterrupt

    def __call__(self, call, within):
        """→ True if it came through, False if it was interrupted."""
        through = False
        try:
            try:
                self.armed = True
                signal.setitimer(signal.ITIMER_REAL, self.dice.uniform(1e-6, within))
                call()
                through = True
            finally:
                self.armed = False
        except KeyboardInterrupt:
            pass
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.raw.execute("BEGIN IMMEDIATE")  # "database is locked" if the call left a transaction open
        self.raw.execute("ROLLBACK")
        return through

    def ask(self, sql):
        return self.raw.execute(sql).fetchone()[0]

    def tasks(self):
        return self.ask("SELECT count(*) FROM taskcore_task")

    def submit(self):
        self.work.submit(1)

    def map(self):
        list(self.work.map(range(20)))

    def transaction(self):
        with self.engine.transaction() as db:
            db.execute("INSERT INTO mine VALUES (1)")
            for n in range(5):
                self.work.submit(n)


def interrupts(path, seed, times):
    storm, times = Interrupts(path, seed), int(times)
    engine, work, through = storm.engine, storm.work, 0
    first_failed = engine.tasks.where(name="fails").first().id

    def calm(call):
        """How long it takes undisturbed, about."""
        took = []
        for _ in range(5):
            since = time.perf_counter()
            call()
            took.append(time.perf_counter() - since)
        return sorted(took)[2] * 1.5

    def counted(name, call, steps, ask=storm.tasks):
        nonlocal through
        within = calm(call)
        for number in range(times):
            before = ask()
            came = storm(call, within)
            through += came
            grown = ask() - before
            if grown not in ((steps,) if came else (0, steps)):
                say(name, number, "came through" if came else "interrupted", "and made", grown, "of", steps)
            if not came:
                before = storm.tasks()
                work.submit(2)
                if storm.tasks() != before + 1:
                    say(name, number, "and the next submit is not in the file")

    counted("submit", storm.submit, 1)
    counted("submit with all", lambda: work.options(tags=["a", "b"], after=first_failed, otherwise="drop").submit(1), 1)
    counted("map", storm.map, 20)
    both = "SELECT (SELECT count(*) FROM taskcore_task) + 1000 * (SELECT count(*) FROM mine)"
    counted("transaction", storm.transaction, 1005, lambda: storm.ask(both))

    def whole(name, prepare, call, count, size):
        """A verb on several tasks moves all of them or none."""
        nonlocal through
        prepare()
        within = calm(lambda: (call(), prepare()))
        for number in range(times // 2):
            prepare()
            came = storm(call, within)
            through += came
            moved = storm.ask(count)
            if moved not in ((size,) if came else (0, size)):
                say(name, number, "moved", moved, "of", size)

    def hold():
        engine.tasks.where(name="held").cancel()
        engine.tasks.where(name="held").delete()
        with engine.transaction():
            for _ in range(5):
                engine.submit("held")

    of_held = "SELECT count(*) FROM taskcore_task t JOIN taskcore_kind k ON k.id = t.kind WHERE k.name = 'held' AND "
    whole("cancel", hold, lambda: engine.tasks.where(name="held").cancel(), of_held + "phase = 'cancelled'", 5)
    whole("pause", hold, lambda: engine.tasks.where(name="held").pause(), of_held + "phase = 'paused'", 5)

    def hold_ended():
        hold()
        engine.tasks.where(name="held").cancel()

    whole("rerun", hold_ended, lambda: engine.tasks.where(name="held").rerun(), of_held + "phase = 'ready'", 5)
    engine.tasks.where(name="held").cancel()

    everything = calm(lambda: sum(1 for _ in engine.tasks.where(name="work", phase="succeeded")))
    for _ in range(times // 4):
        through += storm(lambda: sum(1 for _ in engine.tasks.where(name="work", phase="succeeded")), everything)
        through += storm(lambda: engine.tasks.counts(), everything / 5)
    for _ in range(times // 2):
        future = work.submit(7)
        storm(lambda: future.result(20), 0.001)  # noqa: B023 - called at once
        if future.result(20) != 7:
            say("a result that was interrupted came otherwise the second time")
    gate = storm.gate.submit()
    for _ in range(times // 4):
        if storm(lambda: gate.result(20), 0.002) or storm(lambda: gate.result(0.01), 0.002):
            say("a result of a running task came through")
    storm.go.set()
    if gate.result(20) is not True:
        say("and the gate's result is wrong")
    for _ in range(times // 4):
        for n in range(5):
            work.submit(n)
        through += storm(lambda: engine.run(), 0.003)
    if storm.hits < times:
        say("only", storm.hits, "interrupts hit")
    if not through:
        say("no call came through")
    deadline = time.monotonic() + 20
    while storm.ask("SELECT count(*) FROM taskcore_task WHERE finished_at IS NULL") and time.monotonic() < deadline:
        engine.start()
        threading.Event().wait(0.01)
    if left := engine.tasks.where(phase=["ready", "running", "waiting", "scheduled"]).counts():
        say("some never run:", left, [(t.id, t.phase, t.worker) for t in engine.tasks.where(phase="running")])
    names = [thread.name for thread in threading.enumerate()]
    if names.count("taskcore-loop") != 1 or names.count("taskcore-worker") > 2:
        say("threads:", *names)
    engine.shutdown()
    say("over")


@pytest.mark.parametrize("seed", [1, 2])
def test_a_ctrl_c_at_any_moment_leaves_each_call_whole_or_undone_and_the_next_one_works(path, child, seed):
    said = child(interrupts, path, seed, 30, uses=(Interrupts,)).end(quiet=False)
    assert said == ["over"], f"seed {seed}: " + "\n".join(said[:20])
    assert wrongs(path) == []


@pytest.mark.storm
@pytest.mark.parametrize("seed", range(3, 9))
def test_many_ctrl_c_at_any_moment(path, child, seed):
    said = child(interrupts, path, seed, 800, uses=(Interrupts,)).end(quiet=False, patience=20 * PATIENCE)
    assert said == ["over"], f"seed {seed}: " + "\n".join(said[:20])
    assert wrongs(path) == []


def waits_for_ever(path, how):
    import concurrent.futures

    engine = Engine(path, workers=1)
    engine.task(lambda: threading.Event().wait(), name="never")
    # Imports what is imported late: a Ctrl-C that comes in an import which makes a dataclass (by `exec`) is for CPython
    # one that nobody caught, though it is caught: it ends by it.
    engine.run()
    future = engine.submit("never")
    try:
        say("waiting")
        if how == "result":
            future.result()
        elif how == "run":
            engine.run()
        elif how == "wait":
            concurrent.futures.wait([future])
        else:
            engine.shutdown()
    except KeyboardInterrupt:
        say("interrupted")
        engine.close(0)
        say("closed")


@pytest.mark.parametrize("how", ["result", "run", "wait", "shutdown"])
def test_a_ctrl_c_ends_a_wait_at_once(path, child, how):
    waiting = child(waits_for_ever, path, how)
    waiting.hears("waiting")
    until(lambda: wrongs(path) == [] and running(path), "the task runs")
    waiting.process.send_signal(signal.SIGINT)
    since = time.monotonic()
    assert waiting.end(quiet=False) == ["interrupted", "closed"]
    assert time.monotonic() - since < 5
    with Engine(path, workers=1) as engine:
        engine.task(lambda: None, name="never")
        assert engine.run() == {"succeeded": 1}, "what did not end is in the file, and continues"


def running(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM taskcore_task WHERE phase = 'running'").fetchone() == (1,)

"""Several processes on one file; forked ones; a file that goes away; bodies that run in processes of an executor."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import random
import signal
import sys
import threading
import time

import pytest

import taskcore
from taskcore import BadFile, Engine, EngineClosed, NotInTask, TaskFailed
from tests.support.processes import PATIENCE, Child, say, until
from tests.support.rows import rows, wrongs

if not hasattr(os, "fork"):
    pytest.skip("this system cannot fork", allow_module_level=True)


@pytest.fixture
def child():
    children = []

    def start(body, *args, **options):
        children.append(Child(body, *args, **options))
        return children[-1]

    yield start
    for each in children:
        each.close()


# -- opening and draining together ----------------------------------------------------------------------------------


def opens_at_once(where, rounds):
    """In every round eight processes open a file that is not there, submit to it, and run what they find."""
    for number in range(int(rounds)):
        path, (held, barrier) = os.path.join(where, f"{number}.db"), os.pipe()
        pids = []
        for place in range(8):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    os.close(barrier)
                    os.read(held, 1)  # until all are there
                    with Engine(path, workers=place % 2, statuses={f"own {place}": "failed"}) as engine:
                        engine.task(lambda n: n, name="first").submit(place)
                    code = 0
                except BaseException:
                    import traceback

                    traceback.print_exc()
                finally:
                    os._exit(code)
            pids.append(pid)
        os.close(held)
        os.close(barrier)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        if any(codes):
            say("round", number, "ended with", codes)
        with Engine(path, workers=1) as engine:
            engine.task(lambda n: n, name="first")
            engine.run()
            args = sorted(task.args[0] for task in engine.tasks.where(status="succeeded"))
            if args != list(range(8)):
                say("round", number, "has the tasks", args)
    say("rounds", rounds)


def test_a_file_that_eight_processes_open_for_the_first_time_at_once_is_made_once(tmp_path, child):
    assert child(opens_at_once, tmp_path, 5).end() == ["rounds 5"]
    assert wrongs(tmp_path / "0.db") == []


def drains(path, ledger, together):
    """Runs what is in the file, and writes down what it ran."""
    log = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with Engine(path, workers=2) as engine:

        @engine.task
        def work(n):
            os.write(log, f"{os.getpid()} {n}\n".encode())
            return n

        @engine.task
        def add(*parts):
            os.write(log, f"{os.getpid()} sum\n".encode())
            return sum(parts)

        say("there")
        sys.stdin.readline()
        if together == "submits":
            with engine.transaction():
                for n in range(300):
                    work.submit(os.getpid() * 1000 + n)
            for n in range(300, 330):
                work.submit(os.getpid() * 1000 + n)
        engine.run()


@pytest.mark.parametrize("together", ["only drain", "submits"])
def test_two_processes_drain_one_file_and_nothing_is_lost_or_run_twice(path, tmp_path, child, together):
    ledger = tmp_path / "ledger"
    with Engine(path, workers=0) as engine, engine.transaction():
        work, add = engine.task("work"), engine.task("add")
        for start in range(0, 2000, 10):
            add.submit(*(work.submit(n) for n in range(start, start + 10)))
    both = [child(drains, path, ledger, together) for _ in range(2)]
    for each in both:
        each.hears("there")
    for each in both:
        each.tell("go")
    for each in both:
        assert each.end() == []
    ran = [line.split() for line in ledger.read_text().splitlines()]
    expected = 2200 + (660 if together == "submits" else 0)
    assert len(ran) == expected
    assert len({n for _, n in ran if n != "sum"}) == expected - 200
    shares = [sum(pid == str(each.process.pid) for pid, _ in ran) for each in both]
    assert min(shares) > 0, f"one of them ran nothing: {shares}"
    with Engine(path, workers=0) as engine:
        assert engine.tasks.counts() == {"succeeded": expected}
        assert [t.result for t in engine.tasks.where(name="add")][:2] == [sum(range(10)), sum(range(10, 20))]
        assert {(t.attempts, t.lapses) for t in engine.tasks} == {(1, 0)}
    assert wrongs(path) == []


def waits_for_work(path):
    """An idle engine that says when it ran something, and ends when its input does."""
    engine = Engine(path, workers=2)

    @engine.task(name="work")
    def work(n):
        say("ran", n, time.time())
        return n

    engine.start()
    say("there")
    sys.stdin.read()
    engine.close()


def test_a_task_of_another_process_is_seen_within_half_a_second_by_one_that_idles(path, child):
    idle, dice, took = child(waits_for_work, path), random.Random(4), []
    idle.hears("there")
    with Engine(path, workers=0) as engine:
        work = engine.task("work")
        for n in range(5):
            threading.Event().wait(dice.uniform(0.1, 0.6))  # at any phase of its looking
            since = time.time()
            work.submit(n)
            took.append(float(idle.line().split()[2]) - since)
    assert sorted(took)[len(took) // 2] <= 0.5, took
    assert max(took) <= 0.75, took  # a busy machine may be late once
    assert idle.end() == []


def keeps_busy(path):
    engine = Engine(path, workers=2)
    engine.task(lambda n: say("ran", n, time.time()), name="work")
    done = threading.Event()
    busy = engine.task(lambda: done.wait(), name="busy")
    busy.submit()
    say("there")
    sys.stdin.read()
    done.set()
    engine.close()


def test_a_task_of_another_process_is_seen_sooner_by_one_that_is_busy(path, child):
    busy, dice, took = child(keeps_busy, path), random.Random(5), []
    busy.hears("there")
    with Engine(path, workers=0) as engine:
        work = engine.task("work")
        for n in range(10):
            threading.Event().wait(dice.uniform(0.0, 0.1))
            since = time.time()
            work.submit(n)
            took.append(float(busy.line().split()[2]) - since)
    assert sorted(took)[len(took) // 2] <= 0.06, took
    assert busy.end() == []


# -- what one process asks of another's tasks -----------------------------------------------------------------------


def obeys(path):
    """A body that asks whether it shall stop, and one that comes back for another attempt when told to."""
    engine = Engine(path, workers=2)

    @engine.task
    def watchful():
        say("watching")
        nap = threading.Event()
        while True:
            taskcore.current().check()
            nap.wait(0.005)

    @engine.task(max_attempts=5)
    def comes_back():
        say("attempt", taskcore.current().task.attempts)
        sys.stdin.readline()
        raise taskcore.Retry(0)

    watchful.submit()
    comes_back.submit()
    engine.shutdown()


def test_a_cancel_from_another_process_reaches_a_running_body(path, child):
    other = child(obeys, path)
    other.hears("watching", "attempt 1")
    with Engine(path, workers=0) as engine:
        watchful = engine.future(engine.tasks.where(name="watchful").first().id)
        since = time.monotonic()
        watchful.cancel("enough")  # a request; the body may obey it before this returns
        with pytest.raises(concurrent.futures.CancelledError):
            watchful.result(PATIENCE)
        assert time.monotonic() - since < 2
        assert watchful.snapshot().phase == "cancelled"
        assert watchful.snapshot().last_error is not None and "enough" in watchful.snapshot().last_error
        back = engine.future(engine.tasks.where(name="comes_back").first().id)
        assert back.cancel() is False
        other.tell("go")  # a request to cancel wins over a retry
        with pytest.raises(concurrent.futures.CancelledError):
            back.result(PATIENCE)
    assert other.end() == []


def test_a_pause_from_another_process_holds_a_running_task_as_soon_as_it_comes_back(path, child):
    other = child(obeys, path)
    other.hears("watching", "attempt 1")
    with Engine(path, workers=0) as engine:
        back = engine.future(engine.tasks.where(name="comes_back").first().id)
        assert back.pause() is True
        assert back.snapshot().phase == "running"
        other.tell("go")
        until(lambda: back.snapshot().phase == "paused", "it is held")
        assert back.resume() is True
        other.hears("attempt 2")
        engine.tasks.cancel()
        other.tell("go")
    assert other.end() == []


def holds_two_of_many(path):
    """Two bodies that wait for a word, and many more of the same name, which looked short, behind them."""
    engine = Engine(path, workers=2)

    @engine.task
    def work(n):
        if n >= 0:
            say("began", n)
            os.read(0, 3)  # two threads: each takes one "go\n"
        return n

    list(work.map([-1] * 200))
    with engine.transaction():
        for n in range(30):
            work.submit(n)
    engine.shutdown()
    say("over")


def test_what_another_process_has_claimed_ahead_can_be_paused(path, child):
    other = child(holds_two_of_many, path)
    other.hears("began 0", "began 1")
    with Engine(path, workers=0) as engine:
        waiting = engine.tasks.where(name="work", phase=["running", "ready"])
        assert waiting.pause() == 30
        counts = engine.tasks.where(name="work").counts
        until(lambda: counts().get("paused") == 28, "all but the two that began are held")
        other.tell("go")
        other.tell("go")
        until(lambda: counts() == {"succeeded": 202, "paused": 28}, "the two that began end, and no other begins")
        assert other.end() == ["over"], "paused tasks are not due: shutdown does not wait for them"
        assert engine.tasks.where(phase="paused").cancel() == 28


def test_an_engine_that_runs_nothing_hears_of_the_ends_that_another_process_makes(path, child):
    def work(name):
        return engine.task(name)

    with Engine(path, workers=0) as engine:
        futures = [work("work").submit(n) for n in range(20)]
        heard = []
        futures[3].add_done_callback(lambda future: heard.append(future.result()))
        lost = work("work").options(key="no such argument").submit(1, 2, 3)
        late = engine.task("nobody knows this").submit()
        other = child(waits_for_work, path)
        assert [future.result(PATIENCE) for future in futures] == list(range(20))
        done, pending = concurrent.futures.wait([*futures, lost, late], timeout=PATIENCE, return_when="FIRST_EXCEPTION")
        assert lost in done and pending <= {late}
        with pytest.raises(TaskFailed) as caught:
            lost.result(PATIENCE)
        assert caught.value.error_type == "TypeError" and "positional" in caught.value.message
        until(lambda: heard == [3], "the callback is called")
        with pytest.raises(TimeoutError):
            late.result(0.05)
        assert len(list(concurrent.futures.as_completed(futures, PATIENCE))) == 20
    other.process.stdin.close()


def test_a_task_can_wait_for_one_that_another_process_runs(path, child):
    with Engine(path, workers=1) as engine:
        there = engine.task("work").submit(4)
        here = engine.task(lambda n: n * 10, name="ten times").submit(there)
        other = child(waits_for_work, path)
        assert here.result(PATIENCE) == 40
        other.hears("there")
    other.process.stdin.close()


# -- forks ----------------------------------------------------------------------------------------------------------


def in_a_fork(run, *args):
    """→ the exit code. The child leaves at once, or with "exit" as an interpreter does."""
    import warnings

    warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of forks in company: that is the test
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        import faulthandler

        faulthandler.dump_traceback_later(20, exit=True)
        how = run(*args)
        code = 0
        if how == "exit":
            sys.exit(0)
    except SystemExit:
        raise
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(code)


def refuses(call, *args):
    """What a forked child does with its parent's engine is an error that says so."""
    try:
        result = call(*args)
    except RuntimeError as error:
        result = error
    if not (isinstance(result, taskcore.EngineClosed) and "fork" in str(result)):
        raise AssertionError(f"{call} gave {result!r}")


def forks_while_busy(path, how):
    engine = Engine(path, workers=2)
    work = engine.task(lambda n: n, name="work")
    slow_go = threading.Event()
    slow = engine.task(lambda: slow_go.wait(), name="slow")
    waiting = slow.submit()
    stop, sent = threading.Event(), []

    def streams():
        while not stop.is_set():
            sent.append(work.submit(len(sent)))

    thread = threading.Thread(target=streams, daemon=True)
    thread.start()

    def in_the_child(number):
        refuses(work.submit, -1)
        refuses(engine.tasks.counts)
        refuses(waiting.result)
        refuses(waiting.done)
        refuses(waiting.cancel)
        refuses(engine.start)
        refuses(engine.run)
        refuses(engine.transaction().__enter__)
        engine.shutdown()
        engine.close()
        with Engine(path, workers=1) as own:
            assert own.task(lambda n: n, name="of a child").submit(number).result(20) == number
        return how

    for number in range(3):
        assert in_a_fork(in_the_child, number) == 0, number
    stop.set()
    thread.join()
    slow_go.set()
    assert waiting.result(20) is True
    assert [future.result(20) for future in sent] == list(range(len(sent)))
    say("sent", len(sent))
    sys.stdin.readline()
    engine.shutdown()


@pytest.mark.parametrize("how", ["_exit", "exit"])
def test_a_fork_of_a_busy_engine_is_told_that_it_cannot_use_it_and_the_parent_goes_on(path, child, how):
    parent = child(forks_while_busy, path, how, uses=(in_a_fork, refuses))
    sent = int(parent.line().split()[1])
    # Nothing that the forked ones closed or left took the parent's log away: another process sees all it was told.
    assert rows(path, "SELECT count(*) FROM taskcore_task WHERE phase = 'succeeded'") == [(sent + 3 + 1,)]
    parent.tell("go")
    assert parent.end() == []
    with Engine(path, workers=0) as engine:
        assert engine.tasks.where(name="work").counts() == {"succeeded": sent}
        assert sorted(t.args[0] for t in engine.tasks.where(name="of a child")) == list(range(3))
        assert engine.tasks.where(name="of a child").counts() == {"succeeded": 3}
    assert wrongs(path) == []


def forks_inside_a_block(path):
    engine = Engine(path, workers=1)
    work = engine.task(lambda n: n, name="work")

    def in_the_child(db):
        with contextlib.suppress(RuntimeError):
            raise AssertionError(db.execute("INSERT INTO mine VALUES (2)"))
        refuses(work.submit, 2)
        refuses(engine.tasks.counts)
        return None

    with engine.transaction() as db:
        db.execute("CREATE TABLE mine (n)")
        db.execute("INSERT INTO mine VALUES (1)")
        first = work.submit(1)
        assert in_a_fork(in_the_child, db) == 0
        pid = os.fork()
        if not pid:  # leaves the blocks as an error does
            sys.exit(5)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
        db.execute("INSERT INTO mine VALUES (3)")
    assert first.result(20) == 1
    say(*(n for (n,) in engine._context.read(lambda c: c.execute("SELECT n FROM mine ORDER BY n").fetchall())))
    engine.shutdown()


def test_a_fork_inside_a_transaction_leaves_it_to_the_parent(path, child):
    assert child(forks_inside_a_block, path, uses=(in_a_fork, refuses)).end() == ["1 3"]
    assert rows(path, "SELECT count(*) FROM taskcore_task") == [(1,)]
    assert wrongs(path) == []


def forks_beside_a_block(path):
    """Another thread is inside `transaction()` for longer than a fork waits for it."""
    engine = Engine(path, workers=1)
    work = engine.task(lambda n: n, name="work")
    inside, leave = threading.Event(), threading.Event()

    def holds():
        with engine.transaction() as db:
            db.execute("CREATE TABLE mine (n)")
            inside.set()
            leave.wait()

    thread = threading.Thread(target=holds)
    thread.start()
    inside.wait()

    def in_the_child():
        refuses(work.submit, 2)
        refuses(engine.tasks.counts)
        refuses(engine.transaction().__enter__)

    assert in_a_fork(in_the_child) == 0
    leave.set()
    thread.join()
    assert work.submit(1).result(20) == 1
    engine.shutdown()
    say("well")


def test_a_fork_beside_a_transaction_of_another_thread_does_not_hang(path, child):
    assert child(forks_beside_a_block, path, uses=(in_a_fork, refuses)).end() == ["well"]
    assert rows(path, "SELECT count(*) FROM mine") == [(0,)]


def forks_by_multiprocessing(path):
    import multiprocessing
    import warnings

    warnings.simplefilter("ignore", DeprecationWarning)
    context = multiprocessing.get_context("fork")
    engine = Engine(path, workers=2)
    work = engine.task(lambda n: n, name="work")
    futures = [work.submit(n) for n in range(200)]

    def target(number):
        refuses(work.submit, -1)
        with Engine(path, workers=0) as own:
            own.submit("work", 1000 + number)

    with engine:
        processes = [context.Process(target=target, args=(number,)) for number in range(4)]
        for process in processes:
            process.start()
        futures += [work.submit(n) for n in range(200, 300)]
        for process in processes:
            process.join()
            assert process.exitcode == 0
        assert [future.result(20) for future in futures] == list(range(300))
        engine.run()
    say("well")


def test_children_of_multiprocessing_submit_by_engines_of_their_own(path, child):
    assert child(forks_by_multiprocessing, path, uses=(refuses,)).end() == ["well"]
    with Engine(path, workers=0) as engine:
        assert engine.tasks.counts() == {"succeeded": 304}
    assert wrongs(path) == []


# -- a file that goes away ------------------------------------------------------------------------------------------


def unlinked(path):
    path.unlink()


def renamed(path):
    path.rename(path.with_suffix(".old"))


def replaced(path):
    Engine(path.with_suffix(".new"), workers=0).close()
    os.replace(path.with_suffix(".new"), path)


@pytest.mark.parametrize("away", [unlinked, renamed, replaced])
@pytest.mark.parametrize("workers", [0, 2])
def test_an_engine_whose_file_goes_away_acknowledges_nothing_after_a_second(path, away, workers):
    with contextlib.closing(Engine(path, workers=workers)) as engine:
        work = engine.task(lambda n: n, name="work")
        if workers:
            assert work.submit(1).result(PATIENCE) == 1
            engine.start()
        away(path)
        gone = time.monotonic()
        with pytest.raises(BadFile) as caught:
            until(lambda: (work.submit(2), False)[1], "a submit is refused", patience=3)
        assert time.monotonic() - gone < 1
        assert "deleted or replaced" in str(caught.value)
        with pytest.raises(BadFile):
            work.submit(3)
        with pytest.raises(BadFile):
            with engine.transaction():
                work.submit(4)
        if workers:
            with pytest.raises(BadFile):
                engine.run()
            assert engine.health.startswith("stopped") and "deleted or replaced" in engine.health


@pytest.mark.parametrize("away", [unlinked, replaced])
def test_whoever_waits_for_a_result_is_told_when_the_file_goes_away(path, away):
    with contextlib.closing(Engine(path, workers=1)) as engine:
        go = threading.Event()
        waiting = engine.task(lambda: go.wait(PATIENCE), name="waits").submit()
        late = engine.task("of somebody else").submit()
        heard = threading.Event()
        late.add_done_callback(lambda future: heard.set())
        away(path)
        with pytest.raises((BadFile, EngineClosed)):
            late.result(PATIENCE)
        with pytest.raises((BadFile, EngineClosed)):
            waiting.result(PATIENCE)
        assert heard.wait(PATIENCE)
        go.set()


# -- executors of the user's ----------------------------------------------------------------------------------------


def square(n):
    return n * n


def where_am_i():
    try:
        taskcore.current()
    except NotInTask:
        return os.getpid()


def refuse(n):
    raise ValueError(f"no {n}")


def bad_result():
    return square


def die_once(flag):
    """Kills its process the first time."""
    if not os.path.exists(flag):
        with open(flag, "w"):
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def pool(workers=2):
    return concurrent.futures.ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def test_bodies_run_in_the_processes_of_an_executor(path):
    with pool() as executor, Engine(path, executor=executor) as engine:
        squares = [engine.submit(square, n) for n in range(30)]
        total = engine.task(sum, name="total").submit(squares)
        refused = engine.task(refuse, max_attempts=2, backoff=taskcore.constant(0)).submit(7)
        elsewhere = engine.submit(where_am_i)
        unstorable = engine.submit(bad_result)
        assert total.result(PATIENCE) == sum(n * n for n in range(30))
        assert elsewhere.result(PATIENCE) is None, "it is in a task there"
        with pytest.raises(ValueError, match="no 7"):
            refused.result(PATIENCE)
        assert refused.snapshot().attempts == 2
        with pytest.raises(TypeError):
            unstorable.result(PATIENCE)
    assert wrongs(path) == []


def test_a_broken_process_pool_stops_the_engine_and_keeps_its_tasks(path, tmp_path):
    flag = tmp_path / "flag"
    with pool(1) as executor, contextlib.closing(Engine(path, executor=executor)) as engine:
        assert engine.submit(square, 3).result(PATIENCE) == 9
        dying = engine.submit(die_once, str(flag))
        behind = [engine.submit(square, n) for n in range(5)]
        with pytest.raises(taskcore.TaskcoreError) as caught:
            dying.result(PATIENCE)
        assert not isinstance(caught.value, TaskFailed), "its process died: it may run again"
        assert engine.health.startswith("stopped"), engine.health
        assert "executor" in engine.health or "broke" in engine.health
        with pytest.raises(taskcore.TaskcoreError):
            engine.run()
        for future in behind:
            assert future.exception(PATIENCE) is None or isinstance(future.exception(), taskcore.TaskcoreError)
        assert dying.id
    assert wrongs(path) == []
    with pool(1) as executor, Engine(path, executor=executor) as engine:
        for fn in (square, die_once):
            engine.task(fn, name=f"{fn.__module__}.{fn.__qualname__}")
        assert engine.run() == {"succeeded": 7}
        (again,) = engine.tasks.where(name="test_processes.die_once")
        assert (again.result, again.lapses) == ("alive", 1)


def test_a_thread_pool_of_the_users_runs_bodies_with_all_that_they_may_do(path):
    inside, most, lock = 0, 0, threading.Lock()

    def body(n):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        assert taskcore.current().task.args == (n,)
        with lock:
            inside -= 1
        return threading.current_thread().name

    with concurrent.futures.ThreadPoolExecutor(8, thread_name_prefix="mine") as executor:
        with Engine(path, executor=executor, workers=3) as engine:
            names = list(engine.task(body, name="body").map(range(200), timeout=PATIENCE))
            assert all(name.startswith("mine") for name in names)
            assert 1 <= most <= 3, "`workers` caps the tasks in flight"
            failing = engine.task(refuse).submit(1)
            with pytest.raises(ValueError, match="no 1"):
                failing.result(PATIENCE)
    assert wrongs(path) == []


def test_an_executor_that_was_shut_down_stops_the_engine_and_keeps_its_tasks(path):
    executor = concurrent.futures.ThreadPoolExecutor(1)
    with contextlib.closing(Engine(path, executor=executor)) as engine:
        assert engine.submit(square, 3).result(PATIENCE) == 9
        executor.shutdown()
        future = engine.submit(square, 4)
        with pytest.raises(taskcore.TaskcoreError):
            future.result(PATIENCE)
        assert engine.health.startswith("stopped")
    with Engine(path, workers=1) as engine:
        engine.task(square, name="test_processes.square")
        assert engine.run() == {"succeeded": 2}

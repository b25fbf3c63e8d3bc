"""Other processes' commits are heard of at once where the system tells of them, and seen all the same elsewhere."""

import contextlib
import itertools
import os
import signal
import sys
import threading

import pytest

from taskcore import Engine
from taskcore.runtime import lookout
from tests.support.processes import PATIENCE, say, until

tells = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a commit")


def ears():
    """How many inotify descriptors this process has."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{name}").endswith("inotify")
    return found


def nobody_listens():
    """Whether the listeners of engines that were closed have ended: each closes its ear last."""
    return all(thread.name != "taskcore-lookout" for thread in threading.enumerate())


def listens(engine):
    bell = engine._scheduler.lookout._bell
    return bell is not None and bell.armed


@pytest.fixture
def two(made):
    """An engine that works, and one that only submits: to each other they are as two processes are."""
    with contextlib.closing(Engine(made, workers=1)) as worker, contextlib.closing(Engine(made, workers=0)) as other:
        worker.task(lambda n: n, name="work")
        worker.start()
        yield worker, other


@tells
def test_a_sleeping_engine_hears_of_a_submit_and_who_waits_of_the_end_without_looking(two, monkeypatch):
    for name in ("POLL_BUSY", "POLL_IDLE"):
        monkeypatch.setattr(lookout, name, 1000.0)  # nobody would see it in time by looking now and then
    worker, other = two
    for n in range(3):
        until(lambda: listens(worker), "the worker sleeps and listens")
        assert other.submit("work", n).result(PATIENCE) == n


def sees_late(monkeypatch, engine, looks):
    """From now on this engine does not see what others committed before it has looked so often."""
    monkeypatch.setattr(lookout, "POLL_BUSY", 1000.0)
    monkeypatch.setattr(lookout, "POLL_IDLE", 1000.0)
    left, changed = list(range(looks)), engine._file.changed
    monkeypatch.setattr(engine._file, "changed", lambda: changed() if not left else left.pop() is None)


@tells
def test_a_commit_that_is_written_in_two_parts_is_seen_though_the_first_part_woke_the_engine(two, monkeypatch):
    """As with durability="full", where the log is written first and the disk waited for then."""
    worker, other = two
    until(lambda: listens(worker), "the worker sleeps and listens")
    sees_late(monkeypatch, worker, looks=4)
    assert other.submit("work", 7).result(PATIENCE) == 7


@tells
def test_and_though_the_engine_listens_only_since_the_first_part_was_written(made, monkeypatch):
    futures, arm = [], lookout.Bell.arm
    with contextlib.closing(Engine(made, workers=1)) as worker, contextlib.closing(Engine(made, workers=0)) as other:
        worker.task(lambda n: n, name="work")

        def late(bell):
            if bell is worker._scheduler.lookout._bell and not futures:
                sees_late(monkeypatch, worker, looks=4)
                futures.append(other.submit("work", 7))
            return arm(bell)

        monkeypatch.setattr(lookout.Bell, "arm", late)
        worker.start()
        until(lambda: futures, "it is about to sleep")
        assert futures[0].result(PATIENCE) == 7


def test_where_nothing_tells_of_commits_they_are_looked_for(monkeypatch, request):
    monkeypatch.setattr(lookout.Bell, "arm", lambda bell: False)
    worker, other = request.getfixturevalue("two")
    until(lambda: worker._scheduler.lookout._deaf_until, "there is nothing to listen with")
    assert other.submit("work", 1).result(PATIENCE) == 1


@tells
def test_an_engine_that_found_nothing_to_listen_with_tries_again_later(monkeypatch, request):
    monkeypatch.setattr(lookout, "DEAF", 0.01)
    tries, opens = [], lookout.Bell._open

    def late(bell):
        tries.append(bell)
        if tries.count(bell) < 3:
            raise OSError("the user's inotify instances or descriptors are all in use")
        opens(bell)

    monkeypatch.setattr(lookout.Bell, "_open", late)
    worker, other = request.getfixturevalue("two")
    until(lambda: listens(worker), "there is something to listen with again")
    assert other.submit("work", 1).result(PATIENCE) == 1


@tells
def test_a_closed_engine_has_no_ear_and_no_listener_left_and_a_forked_child_has_none_either(made):
    until(nobody_listens, "those of earlier tests have ended")
    before = ears()
    engine = Engine(made, workers=1)
    engine.start()
    until(lambda: listens(engine), "the engine listens")
    assert ears() == before + 1
    pid = os.fork()
    if pid == 0:
        os._exit(ears())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == before
    engine.close()
    until(lambda: ears() == before, "the ear is closed")
    until(nobody_listens, "the listener is gone")


def looks(found, took=0.0, busy=False, keen=False):
    """When an engine looks, from the moment on that commits come all the time. `found`: whether others made them, or
    for each look in turn whether it sees one. `keen`: as of who is `busy`, or listens for an end."""
    watch, now, sees = lookout.Lookout(None), 0.0, itertools.cycle([found] if isinstance(found, bool) else found)
    watch._bell = type("Bell", (), {"armed": False, "arm": lambda bell: True})()
    watch.wake = lambda: None
    while True:
        if watch.is_due(now):
            watch.seen(next(sees), now, took, busy=busy, keen=busy or keen)
            yield now
        before = watch._rung
        now += watch.wait(1000.0, now, busy=busy, idle=True)
        if watch._rung and not before:  # it listens, and hears at once
            watch._heard()


def seconds_between_looks(found, **how):
    times = list(itertools.islice(looks(found, **how), 20))
    return times[-1] - times[-2]


def test_who_has_nothing_to_do_is_not_woken_by_each_commit_of_a_stream_but_often_enough_to_begin_soon():
    assert 5 * lookout.NAP < seconds_between_looks(found=True) < 0.02
    assert seconds_between_looks(found=True, busy=True) == pytest.approx(lookout.NAP)
    assert seconds_between_looks(found=True, keen=True) == pytest.approx(lookout.NAP)


def test_nor_where_it_hears_each_commit_before_that_can_be_seen():
    heard_and_seen = list(itertools.islice(looks(found=[False, True]), 40))
    assert heard_and_seen[-1] - heard_and_seen[-3] == pytest.approx(lookout.SELDOM, abs=2 * lookout.FIRST_ECHO)


def test_an_engine_is_hardly_woken_by_the_steps_of_its_own_bodies():
    while_bodies_commit = itertools.takewhile(lambda now: now < 10 * lookout.LONE, looks(found=False, busy=True))
    assert len(list(while_bodies_commit)) < 100  # ten times it listens, and looks again a few times after each


def test_what_others_do_among_themselves_is_not_taken_for_something_that_came_for_this_engine(two, monkeypatch):
    worker, other = two
    turns, watch = [], worker._scheduler.lookout
    wait = watch.wait
    monkeypatch.setattr(watch, "wait", lambda *times, **how: turns.append(how["idle"]) or wait(*times, **how))
    for n in range(3):
        other.submit("elsewhere", n)
        worker._scheduler.look_again()
        until(lambda n=n: len(turns) > n, "it has looked")
    assert all(turns)
    assert other.submit("work", 7).result(PATIENCE) == 7
    until(lambda: not all(turns), "that one was for it")


def test_who_listens_for_an_end_elsewhere_hears_each_commit_until_it_was_told(two, monkeypatch):
    """By a callback, and so by `as_completed` and `await`: nobody is inside a call then."""
    worker, other = two
    keen, watch, go = [], other._scheduler.lookout, threading.Event()
    seen = watch.seen

    def note(something, *more, **how):
        seen(something, *more, **how)
        if something:
            keen.append(how["keen"])

    monkeypatch.setattr(watch, "seen", note)
    worker.task(lambda: go.wait(PATIENCE), name="waits")
    told = threading.Event()
    future = other.submit("waits")
    future.add_done_callback(lambda _: told.set())
    until(lambda: future.snapshot().phase == "running", "the body waits")
    go.set()
    assert told.wait(PATIENCE)
    until(lambda: keen, "the end was seen")
    assert keen[0] and keen == sorted(keen, reverse=True)  # another commit may be seen behind the one that told
    keen.clear()
    worker.submit("work", 1).result(PATIENCE)
    until(lambda: keen, "that was seen, too")
    assert not any(keen)


def test_a_look_that_takes_long_is_not_taken_often():
    assert seconds_between_looks(found=True, took=0.002, busy=True) == pytest.approx(0.002 * lookout.SHARE)


def forks_while_its_bell_is_opened():
    from taskcore.runtime import lookout

    begun, never = threading.Event(), threading.Event()

    class Slow:
        def find_spec(self, name, path=None, target=None):
            if name == "ctypes":
                begun.set()
                never.wait(0.3)

    assert "ctypes" not in sys.modules
    sys.meta_path.insert(0, Slow())
    opener = threading.Thread(target=lookout.Bell("/proc/self/status", say).arm)
    opener.start()
    assert begun.wait(PATIENCE)
    pid = os.fork()
    if not pid:
        signal.alarm(PATIENCE // 3)
        import ctypes

        os._exit(not ctypes.CDLL(None))
    opener.join()
    say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


@tells
def test_a_fork_while_a_bell_is_opened_can_open_one_too(child):
    assert child(forks_while_its_bell_is_opened).end() == ["0"]

"""`on_change`: who listens hears which tasks moved, seldom enough, where it wants to, and never after the end."""

import asyncio
import logging
import threading
import time

import pytest

import taskcore
from taskcore import Engine, EngineClosed
from taskcore.store import changes
from tests.support.processes import PATIENCE, rests, until


@pytest.fixture
def live(made):
    engine = Engine(made, workers=2)
    yield engine
    engine.close()


class Ear:
    """What was told, all together."""

    def __init__(self, engine, **how):
        self.told, self.at, self.threads = [], [], set()
        self.end = engine.on_change(self, **how)

    def __call__(self, change):
        self.at.append(time.monotonic())
        self.threads.add(threading.current_thread())
        self.told.append(change)

    @property
    def ids(self):
        return set().union(*(change.ids for change in self.told))

    @property
    def more(self):
        return any(change.more for change in self.told)

    def hears(self, *ids, counts=None):
        """Wait until it was told of these, and of these counts last; and forget what it was told."""
        until(lambda: self.ids >= set(ids) and self.told, f"of {ids} no more was told than {self.told}")
        if counts is not None:
            until(lambda: self.told[-1].counts == counts, f"not {counts}, but {self.told[-1]}")
        heard, self.told = self.ids, []
        return heard


class Window:
    """Has functions called in its own thread, when the test says so."""

    def __init__(self):
        self.posted = []

    def post(self, fn, *args):
        self.posted.append((fn, args))

    def run(self):
        posted, self.posted = self.posted, []
        for fn, args in posted:
            fn(*args)


def temporary(engine):
    """What an engine's connection has beside the file."""
    return engine._file.read(lambda connection: connection.execute("SELECT name FROM temp.sqlite_master").fetchall())


# -- what is told ----------------------------------------------------------------------------------------------------


def test_the_end_of_a_task_that_ran_all_alone_is_passed_on_as_its_submit_is(live):
    task, passed_on = live.task(abs, name="alone"), []
    task.submit(-1).result(PATIENCE)
    rests(live)
    live._futures.changes.committed = lambda: passed_on.append(live.tasks.counts())
    assert task.submit(-2).result(PATIENCE) == 2
    assert passed_on == [{"running": 1, "succeeded": 1}, {"succeeded": 2}]


def test_who_listens_hears_of_a_submit_and_of_its_end_with_the_counts_of_the_file(live):
    live.submit("elsewhere")
    ear = Ear(live)
    done = live.task(lambda: 1, name="f").submit()
    ear.hears(done.id, counts={"ready": 1, "succeeded": 1})
    assert not ear.more


@pytest.mark.parametrize("verb", [
    "submit", "cancel", "pause", "resume", "rerun", "delete", "prune", "claim", "label", "message", "progress", "fail",
])  # fmt: skip
def test_every_verb_that_moves_a_task_is_told(engine, verb):
    one, other = engine.submit("f"), engine.submit("f")
    if verb == "resume":
        one.pause()
    elif verb in ("rerun", "delete", "prune"):
        one.cancel()
    elif verb == "fail":
        claim = engine.claim("f")[0]
    ear, row = Ear(engine), engine.tasks.where(id=one.id)
    match verb:
        case "submit":
            assert engine.submit("f").id in ear.hears(3)
            return
        case "prune":
            engine.prune(older_than=0)
        case "claim":
            engine.claim("f")
        case "fail":
            claim.fail("broke")
        case "label" | "message" | "progress":
            sql = {"label": "label = 'busy'", "message": "message = 'here'", "progress": "progress = 0.5"}[verb]
            engine.claim("f")
            ear.hears(one.id)
            engine._file.write(lambda tx: tx.execute(f"UPDATE taskcore_task SET {sql} WHERE id = {one.id}"))
        case _:
            getattr(row, verb)()
    assert ear.hears(one.id) == {one.id} and other.id == 2


def test_what_a_running_body_shows_is_told(live):
    listened, go = threading.Event(), threading.Event()

    def body():
        listened.wait(PATIENCE)
        taskcore.current().progress(1, 4)
        go.wait(PATIENCE)

    future = live.task(body, name="body").submit()
    ear = Ear(live)
    listened.set()
    until(lambda: future.snapshot().progress == 0.25, "it shows its progress")
    ear.hears(future.id)
    go.set()


def test_what_was_rolled_back_is_not_told(engine):
    ear = Ear(engine)
    with pytest.raises(ZeroDivisionError), engine.transaction():
        for _ in range(3):
            engine.submit("f")
        raise ZeroDivisionError
    assert ear.hears(engine.submit("f").id, counts={"ready": 1}) == {1}


def test_many_moves_are_few_changes(live):
    ear, f = Ear(live), live.task(lambda x: x, name="f")
    for _ in range(6):
        assert len(list(f.map(range(100)))) == 100
    ear.hears(*range(1, 601), counts={"succeeded": 600})
    assert min((b - a for a, b in zip(ear.at, ear.at[1:], strict=False)), default=1.0) > 0.045


def test_of_very_many_it_is_said_that_not_all_are_listed(engine, monkeypatch):
    ear = Ear(engine, via=(window := Window()).post)
    with engine.transaction():
        for n in range(changes.MOST + 100):
            engine.submit("f", n)
    until(lambda: window.posted, "it is told")
    window.run()
    assert ear.more and 1 <= len(ear.told[0].ids) <= changes.MOST
    assert ear.told[0].counts == {"ready": changes.MOST + 100}


def test_what_another_process_moves_is_told_without_its_ids(engine, made):
    ear = Ear(engine)
    with Engine(made, workers=0) as other:  # another connection, as far as this one knows
        other.submit("f")
        engine._scheduler.look_again()  # now, not in half a second
        ear.hears(counts={"ready": 1})
    assert not ear.ids


def test_while_a_user_has_a_transaction_open_tasks_go_on_and_it_is_told_behind_it(live):
    ear = Ear(live)
    with live.transaction():
        future = live.task(lambda: 1, name="f").submit()
    ear.hears(future.id, counts={"succeeded": 1})


def test_an_engine_that_runs_bodies_in_the_callers_thread_tells_too(inline):
    ear = Ear(inline)
    future = inline.task(lambda: 1, name="f").submit()
    assert future.result() == 1
    ear.hears(future.id, counts={"succeeded": 1})


def test_the_last_moves_are_told_before_the_end_of_a_with_block(made):
    with Engine(made, workers=2) as engine:
        ear = Ear(engine)
        list(engine.task(lambda x: x, name="f").map(range(50)))
    assert ear.ids == set(range(1, 51)) and ear.told[-1].counts == {"succeeded": 50}


def test_nobody_who_listens_costs_anything(live):
    assert temporary(live) == []
    ear = Ear(live)
    assert len(temporary(live)) == 4
    ear.end()
    until(lambda: temporary(live) == [], "nothing is noted any more")


# -- where it is told ------------------------------------------------------------------------------------------------


def test_a_window_is_told_in_its_own_thread_once_for_all_that_came_meanwhile(engine):
    def unread(connection):
        return connection.execute("SELECT count(*) FROM temp.taskcore_moved").fetchone()[0]

    window = Window()
    ear = Ear(engine, via=window.post)
    for _ in range(3):
        engine.submit("f")
        until(lambda: engine._file.read(unread) == 0, "it is read")
    assert len(window.posted) == 1 and ear.told == []  # of the third it may yet be told
    window.run()
    assert len(ear.told) == 1 and ear.ids >= {1, 2}
    assert ear.threads == {threading.current_thread()}


def test_an_event_loop_is_told_in_its_own_thread(live):
    async def main():
        told = asyncio.Queue()

        def heard(change):
            told.put_nowait((change, threading.current_thread()))

        end = live.on_change(heard, via=asyncio.get_running_loop().call_soon_threadsafe)
        future = live.task(lambda: 1, name="f").submit()
        while True:
            change, thread = await asyncio.wait_for(told.get(), PATIENCE)
            assert thread is threading.current_thread()
            if change.counts == {"succeeded": 1}:
                assert await future == 1
                return end()

    asyncio.run(main())


# -- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_callback_that_raises_is_logged_once_and_called_again(engine, caplog):
    called = []

    def bad(change):
        called.append(change)
        raise ValueError("broke")

    engine.on_change(bad)
    for n in range(3):
        engine.submit("f")
        until(lambda n=n: len(called) == n + 1, "it is called again")
    end = engine.on_change(lambda _: None)
    end()
    assert [record.getMessage() for record in caplog.records] == [
        f"on_change: the callback {bad.__qualname__} failed"
    ]
    assert caplog.records[0].exc_info[1].args == ("broke",)


def test_a_loop_that_is_gone_is_logged_once_and_nothing_is_lost_when_it_comes_back(engine, caplog):
    there, window, tried = False, Window(), []

    def via(fn, *args):
        tried.append(fn)
        if not there:
            raise RuntimeError("the loop is closed")
        window.post(fn, *args)

    ear = Ear(engine, via=via)
    for n in range(2):
        engine.submit("f")
        until(lambda n=n: len(tried) > n, "it is tried again")
    there = True
    engine.submit("f")
    until(lambda: window.posted, "it is posted")
    window.run()
    assert ear.ids == {1, 2, 3}
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_window_that_comes_late_to_its_loop_is_told_then_though_nothing_moves_any_more(engine, monkeypatch):
    monkeypatch.setattr("taskcore.api.changes.AGAIN", 0.01)
    tries, window = iter([RuntimeError("not in the loop"), RuntimeError("not in the loop")]), Window()

    def via(fn, *args):
        for error in tries:
            raise error
        window.post(fn, *args)

    ear = Ear(engine, via=via)
    engine.submit("f")
    until(lambda: window.posted, "it is posted")
    window.run()
    assert ear.ids == {1}


def test_who_begins_to_listen_inside_a_transaction_is_told_that_something_moved(engine):
    with engine.transaction():
        ear = Ear(engine)
        engine.submit("f")
    ear.hears(counts={"ready": 1})


def test_a_callback_that_blocks_holds_up_no_task_and_no_close(live):
    inside, go = threading.Event(), threading.Event()

    def blocks(_):
        inside.set()
        go.wait(PATIENCE)

    live.on_change(blocks)
    f = live.task(lambda x: x, name="f")
    f.submit(0)
    assert inside.wait(PATIENCE)
    assert list(f.map(range(20))) == list(range(20))
    began = time.monotonic()
    live.close(timeout=0)
    assert time.monotonic() - began < 1
    go.set()


@pytest.mark.parametrize("args", [("no function",), (print, "no function")])
def test_what_cannot_be_called_is_refused_by_name(engine, args):
    with pytest.raises(TypeError, match="no function"):
        engine.on_change(*args)
    assert temporary(engine) == []


# -- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["end", "close", "close in time"])
def test_what_a_window_was_posted_is_not_called_after_the_end(engine, ends):
    window = Window()
    ear = Ear(engine, via=window.post)
    engine.submit("f")
    until(lambda: window.posted, "it is posted")
    if ends == "end":
        ear.end()
        ear.end()
    else:
        engine.close(0 if ends == "close in time" else None)
    window.run()
    assert ear.told == []


def test_who_ends_it_waits_for_a_call_that_goes_on(live):
    inside, go, left = threading.Event(), threading.Event(), []

    def slow(_):
        inside.set()
        go.wait(PATIENCE)
        left.append("the call")

    end = live.on_change(slow)
    live.submit("elsewhere")
    assert inside.wait(PATIENCE)
    threading.Timer(0.02, go.set).start()
    end()
    assert left == ["the call"]


def test_a_callback_may_end_itself_and_close_the_engine(made):
    engine, told = Engine(made, workers=1), []

    def once(change):
        told.append(change)
        end()
        engine.close()

    end = engine.on_change(once)
    engine.submit("elsewhere")
    until(lambda: engine._context.closed, "it closes")
    assert len(told) == 1


def test_a_closed_engine_says_so(engine):
    engine.close()
    with pytest.raises(EngineClosed):
        engine.on_change(print)

"""The scheduler's turn, driven by hand: what it settles, moves, renews and claims, and how long it says to wait."""

import contextlib
import itertools
import sqlite3
import threading

import pytest

import taskcore
from taskcore import Engine, Snooze, constant
from taskcore.runtime.pacing import AHEAD, HORIZON, MOST, Pace
from taskcore.store import reports
from taskcore.testing import InlineExecutor, ManualClock
from tests.support.parked import IDLE, Parked

PATIENCE = 10  # seconds that a healthy engine never needs




def fails():
    raise ValueError("broken")


def phases(engine):
    return [task.phase for task in engine.tasks]


class Hand:
    """An engine that does one turn at a time, and nothing in between."""

    def __init__(self, path, clock, executor, **parameters):
        self.engine = Engine(path, clock=clock, executor=executor, **parameters)
        self.scheduler = self.engine._scheduler
        self.executor = executor

    def start(self):
        self.scheduler.start()
        return self

    def turn(self):
        """One turn that also looks for what other processes did."""
        self.scheduler.look_again()
        return self.scheduler.turn()

    def until_quiet(self):
        for _ in range(50):
            self.turn()
            if self.scheduler.quiet:
                return
        pytest.fail("never quiet")


@pytest.fixture
def hands(path, clock):
    """`hands(executor, **parameters)` → a Hand on the one file; all of them are closed at the end."""
    made = []

    def hand(executor=None, **parameters):
        made.append(Hand(path, clock, InlineExecutor() if executor is None else executor, **parameters).start())
        return made[-1]

    yield hand
    for hand_ in made:
        hand_.engine.close(0)


# -- one turn ------------------------------------------------------------------------------------------------------


def test_a_turn_claims_what_there_is_and_the_next_one_settles_it(hands):
    hand = hands(Parked(), workers=4)
    task = hand.engine.task(lambda n: n, name="f")
    futures = [task.submit(n) for n in range(3)]
    hand.turn()
    assert phases(hand.engine) == ["running"] * 3
    assert len(hand.executor) == 3
    hand.executor.finish(1)
    assert phases(hand.engine) == ["running"] * 3
    hand.turn()
    assert phases(hand.engine) == ["running", "succeeded", "running"]
    assert futures[1].result() == 1


def test_a_turn_settles_and_claims_what_that_set_free_in_one_transaction(hands, raw):
    hand = hands(Parked(), workers=1)
    task = hand.engine.task(lambda *args: None, name="f")
    first = task.submit()
    task.submit(first)
    hand.turn()
    hand.executor.finish()
    seen = raw("PRAGMA data_version")
    hand.turn()
    assert raw("PRAGMA data_version") != seen
    assert phases(hand.engine) == ["succeeded", "running"]


def test_no_more_is_claimed_than_there_is_room_for(hands):
    hand = hands(Parked(), workers=2)
    with hand.engine.transaction():
        for n in range(5):
            hand.engine.task(lambda n: n, name="f").submit(n)
    for left in (3, 2, 1, 0):
        hand.turn()
        assert phases(hand.engine).count("ready") == left
        hand.executor.finish()
    hand.executor.finish()
    hand.turn()
    assert hand.engine.tasks.counts() == {"succeeded": 5}


def test_a_start_in_the_middle_of_a_turn_is_heard(path, clock, hands, monkeypatch):
    """A thread starts the engine while the loop's first turn has just found that it claims nothing."""
    producer = hands()
    future = producer.engine.submit("f")
    hand = Hand(path, clock, Parked())
    with contextlib.closing(hand.engine):
        hand.engine.task(lambda: 1, name="f")
        look = hand.scheduler._room

        def looks(settled):
            found = look(settled)
            monkeypatch.undo()
            hand.scheduler.start()
            return found

        monkeypatch.setattr(hand.scheduler, "_room", looks)
        hand.scheduler.turn()
        hand.scheduler.turn()
        assert (future.snapshot().phase, len(hand.executor)) == ("running", 1)
        hand.executor.finish()


def test_a_turn_with_nothing_to_do_commits_nothing(hands, raw):
    hand = hands()
    hand.engine.submit("elsewhere")
    hand.until_quiet()
    seen = raw("PRAGMA data_version")
    for _ in range(5):
        assert 0 <= hand.turn() <= IDLE
    assert raw("PRAGMA data_version") == seen
    assert hand.scheduler.quiet


def test_a_turn_says_how_long_nothing_will_happen(hands, clock):
    hand = hands()
    hand.until_quiet()
    assert 0 < hand.turn() <= IDLE
    hand.engine.task(lambda: None, name="f").options(delay=0.125).submit()
    hand.until_quiet()
    assert hand.turn() == pytest.approx(0.125)
    clock.advance(0.1)
    assert hand.turn() == pytest.approx(0.025)
    clock.advance(0.025)
    hand.until_quiet()
    assert hand.engine.tasks.counts() == {"succeeded": 1}


def test_a_turn_waits_no_longer_than_a_time_limit(hands, clock):
    hand = hands(Parked())
    hand.engine.task(lambda: None, name="f", timeout=0.03).submit()
    hand.turn()
    assert hand.turn() <= 0.03
    clock.advance(0.03)
    hand.turn()
    assert phases(hand.engine) == ["failed"]
    hand.executor.finish()
    hand.turn()
    assert phases(hand.engine) == ["failed"]


# -- time ----------------------------------------------------------------------------------------------------------


def test_a_retry_runs_when_its_backoff_is_over_and_not_before(hands, clock):
    hand = hands()
    future = hand.engine.task(fails, max_attempts=2, backoff=constant(30)).submit()
    hand.until_quiet()
    assert (future.snapshot().phase, future.snapshot().greenfield) == ("scheduled", 1030)
    clock.advance(29.999)
    hand.until_quiet()
    assert future.snapshot().attempts == 1
    clock.advance(0.001)
    hand.until_quiet()
    assert (future.snapshot().phase, future.snapshot().finished_at) == ("failed", 1030)


def test_delays_and_snoozes_end_in_the_order_of_their_times(hands, clock):
    hand = hands()
    ran = []

    @hand.engine.task
    def snoozes(label):
        if label not in ran:
            ran.append(label)
            raise Snooze(10)
        ran.append(label + "!")

    task = hand.engine.task(lambda label: ran.append(label), name="f")
    for delay in (30, 5, 20):
        task.options(delay=delay).submit(str(delay))
    snoozes.submit("zzz")
    for _ in range(7):
        hand.until_quiet()
        clock.advance(5)
    assert ran == ["zzz", "5", "zzz!", "20", "30"]


def test_a_delay_shorter_than_any_known_before_is_not_missed(hands, clock):
    hand = hands()
    task = hand.engine.task(lambda: None, name="f")
    slow = task.options(delay=500).submit()
    hand.until_quiet()
    quick = task.options(delay=5).submit()
    hand.until_quiet()
    clock.advance(5)
    hand.until_quiet()
    assert (slow.snapshot().phase, quick.snapshot().phase) == ("scheduled", "succeeded")


@pytest.mark.parametrize("ended", [1, 2])
def test_what_waited_for_others_is_run_when_its_own_time_has_come(hands, clock, ended):
    hand = hands(Parked(), workers=2)
    task = hand.engine.task(lambda: None, name="f")
    last = task.options(after=[task.submit() for _ in range(ended)], delay=60).submit()
    hand.turn()
    for _ in range(ended):
        hand.executor.finish()
    hand.turn()
    assert last.snapshot().phase == "scheduled"
    assert hand.scheduler.until_next() == 60
    clock.advance(60)
    hand.turn()
    assert last.snapshot().phase == "running"


def test_what_another_process_delays_is_run_in_time(hands, clock):
    hand, other = hands(), hands()
    hand.engine.task(lambda: None, name="f")
    hand.until_quiet()
    future = other.engine.task("f").options(delay=5).submit()
    hand.until_quiet()
    clock.advance(5)
    hand.until_quiet()
    assert future.snapshot().phase == "succeeded"


def test_a_clock_that_is_far_ahead_moves_all_that_was_delayed_once(hands, clock):
    hand = hands()
    calls = []
    task = hand.engine.task(lambda n: calls.append(n), name="f")
    for n in range(5):
        task.options(delay=1000 * n + 1).submit(n)
    clock.advance(10_000_000)
    hand.until_quiet()
    assert calls == list(range(5))


# -- leases --------------------------------------------------------------------------------------------------------


def test_the_lease_of_a_running_body_is_renewed_as_long_as_its_engine_turns(hands, clock):
    hand, other = hands(Parked(), lease=30), hands(Parked(), lease=30)
    future = hand.engine.task(lambda: "done", name="f").submit()
    other.engine.task(lambda: "stolen", name="f")
    hand.turn()
    for _ in range(20):
        assert hand.turn() <= 30
        clock.advance(15)
        hand.turn()
        assert future.snapshot().greenfield > clock.now()
        other.turn()
        assert len(other.executor) == 0
    hand.executor.finish()
    hand.turn()
    task = future.snapshot()
    assert (task.result, task.attempts, task.lapses) == ("done", 1, 0)


def test_an_engine_that_was_asleep_for_long_keeps_its_tasks(hands, clock):
    hand, other = hands(Parked(), lease=30), hands(Parked(), lease=30)
    future = hand.engine.task(lambda: "done", name="f").submit()
    other.engine.task(lambda: "stolen", name="f")
    hand.turn()
    clock.advance(86_400)  # the lid was closed
    other.turn()
    other.turn()
    assert (future.snapshot().phase, future.snapshot().lapses, len(other.executor)) == ("running", 0, 0)
    hand.turn()
    hand.executor.finish()
    hand.turn()
    assert future.snapshot().result == "done"


@pytest.mark.parametrize("jumps", [(-3600, 7200), (86_400 * 365, -86_400 * 365), (-1, 1), (-500, -400, 40)])
def test_setting_the_clock_lapses_nobody_alive(hands, clock, jumps):
    hand, other = hands(Parked(), workers=2, lease=30), hands(Parked(), workers=2, lease=30)
    task = hand.engine.task(lambda n: n, name="f")
    other.engine.task(lambda n: "stolen", name="f")
    futures = [task.submit(n) for n in range(2)]
    hand.turn()
    for jump in jumps:
        clock.set(clock.now() + jump)
        for _ in range(3):
            other.turn()
            hand.turn()
            clock.advance(14)
        assert [future.snapshot().lapses for future in futures] == [0, 0]
        assert all(future.snapshot().greenfield > clock.now() for future in futures)
    for _ in range(2):
        hand.executor.finish()
    hand.turn()
    assert [future.result() for future in futures] == [0, 1]
    assert len(other.executor) == 0


def test_setting_the_clock_back_stops_nothing_that_is_ready(hands, clock):
    hand = hands()
    task = hand.engine.task(lambda: None, name="f")
    task.submit()
    clock.set(10)
    task.submit()
    hand.until_quiet()
    assert hand.engine.tasks.counts() == {"succeeded": 2}
    assert hand.engine.tasks.first().finished_at == 10


def test_a_schedule_follows_a_clock_that_was_set_back_though_nobody_tells_of_it(path):
    class Clock:
        at = 1_000_000.0

        def now(self):
            return self.at

    clock = Clock()
    hand = Hand(path, clock, InlineExecutor()).start()
    with contextlib.closing(hand.engine):
        hand.engine.every(60, name="tick")(fails)
        hand.scheduler.turn()
        clock.at -= 86_400
        hand.scheduler.turn()
        assert hand.engine.schedules["tick"].next_at <= clock.at + 60


def test_an_outside_claim_is_bound_by_time_alone(hands, clock):
    hand = hands(lease=30)
    future = hand.engine.submit("f")
    (claim,) = hand.engine.claim("f", lease=30)
    hand.engine.task(lambda: "by itself", name="f")
    hand.until_quiet()
    clock.advance(29)
    hand.until_quiet()
    assert future.snapshot().phase == "running"
    claim.extend(30)
    clock.advance(29)
    hand.until_quiet()
    assert future.snapshot().phase == "running"
    clock.advance(1)
    hand.until_quiet()
    assert (future.snapshot().result, future.snapshot().lapses) == ("by itself", 1)


# -- order and fairness --------------------------------------------------------------------------------------------


def test_names_that_nobody_here_runs_never_stand_in_front(hands):
    hand = hands(Parked(), workers=1)
    with hand.engine.transaction():
        for name in ("stranger", "robot"):
            for n in range(300):
                hand.engine.task(name).options(priority=1000).submit(n)
    future = hand.engine.task(lambda: "ran", name="mine", priority=-1000).submit()
    hand.turn()
    assert future.snapshot().phase == "running"
    assert hand.engine.tasks.where(phase="running").counts() == {"running": 1}


@pytest.mark.parametrize("kinds", [3, 130])
def test_tasks_of_many_names_start_by_priority_and_then_in_order_of_submission(hands, kinds):
    hand = hands(workers=7)
    ran = []
    tasks = [hand.engine.task(lambda n: ran.append(n), name=f"name {n}") for n in range(kinds)]
    expected = []
    with hand.engine.transaction():
        for n in range(3 * kinds):
            priority = (n * 7) % 3
            tasks[(n * 5) % kinds].options(priority=priority).submit(n)
            expected.append((-priority, n))
    hand.engine.run()
    assert ran == [n for _, n in sorted(expected)]


def test_a_name_with_a_long_queue_does_not_keep_others_waiting(hands):
    hand = hands(Parked(), workers=2)
    with hand.engine.transaction():
        for n in range(200):
            hand.engine.task(lambda n: None, name="masses").submit(n)
    urgent = hand.engine.task(lambda: None, name="urgent", priority=1).submit()
    hand.turn()
    assert urgent.snapshot().phase == "running"


def test_a_retried_task_keeps_its_place_among_its_equals(hands, clock):
    hand = hands(workers=1)
    ran = []

    def body(label):
        ran.append(label)
        if ran == ["a"]:
            raise ValueError

    task = hand.engine.task(body, name="f", max_attempts=2, backoff=constant(0))
    with hand.engine.transaction():
        for label in "abc":
            task.submit(label)
    hand.engine.run()
    assert sorted(ran) == ["a", "a", "b", "c"]
    assert ran.index("b") < ran.index("c")


# -- suspects ------------------------------------------------------------------------------------------------------


def test_a_task_that_lapsed_twice_runs_alone(hands, clock):
    hand = hands(Parked(), workers=3)
    task = hand.engine.task("f")
    suspect = task.submit("suspect")
    for _ in range(2):
        hand.engine.claim("f", lease=10)
        clock.advance(10)
        hand.engine.claim("nobody")
    assert suspect.snapshot().lapses == 2
    others = [task.submit(n) for n in range(3)]
    hand.engine.task(lambda x: x, name="f")
    hand.turn()
    hand.turn()
    assert [future.snapshot().phase for future in (suspect, *others)] == ["running", "ready", "ready", "ready"]
    hand.executor.finish()
    hand.turn()
    hand.turn()
    assert [future.snapshot().phase for future in (suspect, *others)] == ["succeeded"] + ["running"] * 3


def test_a_suspect_waits_until_nothing_else_runs_here(hands, clock):
    hand = hands(Parked(), workers=3)
    first = hand.engine.submit("f", "first")
    suspect = hand.engine.submit("f", "suspect")
    first.pause()
    for _ in range(2):
        assert len(hand.engine.claim("f", lease=10)) == 1
        clock.advance(10)
        hand.engine.claim("nobody")
    suspect.pause()
    first.resume()
    hand.engine.task(lambda x: x, name="f")
    hand.turn()
    suspect.resume()
    later = hand.engine.submit("f", "later")
    for _ in range(3):
        hand.turn()
    assert (first.snapshot().phase, suspect.snapshot().phase) == ("running", "ready")
    hand.executor.finish()
    for _ in range(3):
        hand.turn()
    assert (suspect.snapshot().phase, later.snapshot().phase) == ("running", "ready")


# -- reports -------------------------------------------------------------------------------------------------------


def test_a_late_report_changes_nothing(hands, path, clock, raw):
    parked = Parked()
    gone = Hand(path, clock, parked).start()
    future = gone.engine.task(lambda: "late", name="f").submit()
    gone.turn()
    gone.engine.close(0)
    hand = hands()
    hand.engine.task(lambda: "in time", name="f")
    hand.until_quiet()
    before = raw("SELECT * FROM taskcore_task")
    assert before[0]["phase"] == "succeeded" and before[0]["attempts"] == 1
    parked.finish()
    hand.until_quiet()
    assert raw("SELECT * FROM taskcore_task") == before
    assert hand.engine.future(future.id).result() == "in time"


def test_one_stale_report_in_a_batch_leaves_the_others(hands, raw):
    hand = hands(Parked(), workers=5)
    with hand.engine.transaction():
        futures = [hand.engine.task(lambda n: n, name="f").submit(n) for n in range(5)]
    hand.turn()
    raw("UPDATE taskcore_task SET token = token + 1 WHERE id = ?", futures[2].id)  # as if another had claimed it
    for _ in range(5):
        hand.executor.finish()
    hand.turn()
    assert phases(hand.engine) == ["succeeded", "succeeded", "running", "succeeded", "succeeded"]
    assert len(hand.scheduler.held) == 0


@pytest.mark.parametrize("late", [False, True], ids=["together", "the late one first"])
def test_a_task_that_its_own_worker_lost_and_claimed_again_is_settled_by_the_newer_claim(hands, clock, late):
    hand = hands(Parked(), workers=3)
    runs = itertools.count(1)
    future = hand.engine.task(lambda: next(runs), name="f").submit()
    hand.turn()
    hand.engine._context.write(reports.lapse, [future.id], clock.now(), "its process died")
    hand.turn()
    assert (future.snapshot().attempts, len(hand.executor)) == (2, 2)
    hand.executor.finish()
    if late:
        hand.turn()
        assert (future.snapshot().phase, len(hand.scheduler.held)) == ("running", 1)
    hand.executor.finish()
    hand.turn()
    assert (future.result(), future.snapshot().attempts, len(hand.scheduler.held)) == (2, 2, 0)
    assert hand.engine.health.state == "ok"


def test_what_could_not_be_written_is_written_when_it_can_be(hands, monkeypatch):
    hand = hands()
    future = hand.engine.task(lambda: "kept", name="f").submit()
    hand.turn()
    write, troubles = hand.engine._file.write, iter([sqlite3.OperationalError("database or disk is full")])

    def broken(*args, **kwargs):
        for trouble in troubles:
            raise trouble
        return write(*args, **kwargs)

    monkeypatch.setattr(hand.engine._file, "write", broken)
    with pytest.raises(sqlite3.OperationalError):
        hand.turn()
    assert future.snapshot().phase == "running"
    hand.turn()
    assert future.result() == "kept"
    assert future.snapshot().attempts == 1


def test_a_body_that_is_cancelled_before_its_executor_begins_it_is_never_run(hands):
    hand, ran = hands(Parked()), []
    future = hand.engine.task(lambda: ran.append(1), name="f").submit()
    hand.turn()
    assert future.cancel() is False
    hand.executor.finish()
    hand.turn()
    assert (future.snapshot().phase, ran) == ("cancelled", [])
    assert hand.engine.tasks.delete() == 1
    hand.until_quiet()


# -- claiming ahead ------------------------------------------------------------------------------------------------


def test_nothing_is_claimed_ahead_of_a_name_whose_bodies_are_not_known_to_be_short():
    pace = Pace()
    assert [pace.room("new", 4, held) for held in (0, 3, 4, 9)] == [4, 1, 0, 0]
    pace.learn("slow", HORIZON)
    assert [pace.room("slow", 4, held) for held in (0, 3, 4, 9)] == [4, 1, 0, 0]


def test_the_shorter_the_bodies_the_more_is_claimed_ahead_up_to_a_bound():
    pace = Pace()
    rooms = []
    for took in (HORIZON / 2, AHEAD, AHEAD / 10, AHEAD / 100, 0.0):
        pace.learn(f"takes {took}", took)
        rooms.append(pace.room(f"takes {took}", 2, 0))
    assert rooms == sorted(rooms)
    assert 2 <= rooms[0] < rooms[2] < rooms[-1] <= MOST


def test_a_body_that_takes_longer_than_expected_is_news_before_it_ends():
    pace = Pace()
    pace.learn("f", 0.0001)
    assert pace.room("f", 1, 1) > 1
    pace.at_least("f", HORIZON)
    assert pace.room("f", 1, 1) == 0
    for _ in range(100):
        pace.learn("f", 0.0001)
    assert pace.room("f", 1, 1) > 1


class Door:
    """A task that is quick as a rule, and once in a while stands still."""

    def __init__(self, engine):
        self.inside, self.go = threading.Event(), threading.Event()
        self.task = engine.task(self.body, name="door")
        for _ in range(10):
            self.task.submit(False).result(PATIENCE)

    def body(self, waits):
        if waits:
            self.inside.set()
            assert self.go.wait(PATIENCE)


def until(happened):
    """Look again and again, as only the engine's own threads can make it happen."""
    look_again = threading.Event()
    for _ in range(int(PATIENCE / 0.005)):
        if happened():
            return
        look_again.wait(0.005)
    pytest.fail("it never happened")


def test_a_task_that_was_claimed_ahead_and_did_not_begin_is_given_back(path):
    with contextlib.closing(Engine(path, workers=1)) as engine:
        door = Door(engine)
        with engine.transaction():
            futures = [door.task.submit(n == 0) for n in range(20)]
        assert door.inside.wait(PATIENCE)
        until(lambda: [future.snapshot().phase for future in futures] == ["running"] + ["ready"] * 19)
        assert all((task.attempts, task.lapses) == (0, 0) for task in engine.tasks.where(phase="ready"))
        with contextlib.closing(Engine(path, workers=1)) as other:  # which has a thread to spare
            other.task(lambda waits: None, name="door")
            other.start()
            until(lambda: other.tasks.counts() == {"succeeded": 29, "running": 1})
        door.go.set()
        assert futures[0].result(PATIENCE) is None
        assert {task.attempts for task in engine.tasks} == {1}


@pytest.mark.parametrize("verb", ["pause", "cancel"])
def test_a_task_that_was_claimed_ahead_can_be_called_back_at_once(path, verb):
    with contextlib.closing(Engine(path, workers=1)) as engine:
        door = Door(engine)
        with engine.transaction():
            futures = [door.task.submit(n == 0) for n in range(20)]
        assert door.inside.wait(PATIENCE)
        wanted = "paused" if verb == "pause" else "cancelled"
        getattr(futures[7], verb)()
        until(lambda: futures[7].snapshot().phase == wanted)
        door.go.set()
        assert [future.result(PATIENCE) for future in futures if future is not futures[7]] == [None] * 19
        assert (futures[7].snapshot().phase, futures[7].snapshot().attempts) == (wanted, 0)


def test_more_priority_overtakes_what_was_claimed_ahead(path):
    with contextlib.closing(Engine(path, workers=1)) as engine:
        door, ran = Door(engine), []
        note = engine.task(lambda n: ran.append(n), name="note")
        for _ in range(10):
            note.submit(0).result(PATIENCE)
        ran.clear()
        with engine.transaction():
            door.task.submit(True)
            futures = [note.submit(n) for n in range(20)]
        assert door.inside.wait(PATIENCE)
        assert engine.tasks.where(id=futures[15]).set_priority(9) == 1
        until(lambda: futures[3].snapshot().phase == "ready")
        door.go.set()
        for future in futures:
            future.result(PATIENCE)
        assert ran[0] == 15
        assert ran[1:] == [n for n in range(20) if n != 15]


def test_closing_gives_back_what_was_claimed_ahead(path):
    engine = Engine(path, workers=1)
    door = Door(engine)
    with engine.transaction():
        for n in range(20):
            door.task.submit(n == 0)
    assert door.inside.wait(PATIENCE)
    threading.Timer(0.02, door.go.set).start()
    engine.close()
    with contextlib.closing(Engine(path, workers=0)) as again:
        counts = again.tasks.counts()
        assert counts["succeeded"] >= 11 and counts["succeeded"] + counts.get("ready", 0) == 30
        assert all(task.attempts == (task.phase == "succeeded") for task in again.tasks)


# -- whole runs ----------------------------------------------------------------------------------------------------


def test_the_same_run_twice_leaves_the_same_rows(tmp_path):
    def run(path):
        clock = ManualClock(50)
        with contextlib.closing(Engine(path, clock=clock, executor=InlineExecutor(), name="one")) as engine:
            counter = itertools.count()

            @engine.task(max_attempts=3, backoff=constant(2))
            def flaky(n, *needs):
                clock.advance(0.25)
                if next(counter) % 3 == 0:
                    raise ValueError(n)
                taskcore.current().check()
                return n

            futures = [flaky.options(priority=n % 3, delay=n % 4).submit(n) for n in range(12)]
            flaky.options(otherwise="drop").submit(99, futures)
            engine.run()
            clock.advance(5)
            engine.run()
            return list(engine.tasks), [engine.future(task.id).history() for task in engine.tasks]

    assert run(tmp_path / "a.db") == run(tmp_path / "b.db")


def test_two_engines_by_turns_do_each_task_once(hands):
    one, two = hands(workers=3), hands(workers=2)
    done = []
    for hand in (two, one):
        task = hand.engine.task(lambda n, *needs, hand=hand: done.append((hand, n)), name="f")
    with one.engine.transaction():
        futures = [task.submit(n) for n in range(40)]
        futures += [task.submit(40 + n, futures[n], futures[n + 1]) for n in range(20)]
    for _ in range(100):
        one.turn()
        two.turn()
    assert one.engine.tasks.counts() == {"succeeded": 60}
    assert sorted(n for _, n in done) == list(range(60))
    assert {hand for hand, _ in done} == {one, two}
    assert {task.attempts for task in one.engine.tasks} == {1}


def test_an_engine_whose_first_turn_could_not_be_written_is_not_known_by_a_row_that_is_not_there(hands, monkeypatch):
    hand, other = hands(Parked()), hands(Parked())
    write, troubles = hand.engine._file.write, iter([sqlite3.OperationalError("disk I/O error")])

    def broken(work, *args):
        def and_fails(tx, *args):
            result = work(tx, *args)
            for trouble in troubles:
                raise trouble
            return result

        return write(and_fails, *args)

    future = hand.engine.submit("f")
    monkeypatch.setattr(hand.engine._file, "write", broken)
    hand.engine.task(lambda: "done", name="f")
    with pytest.raises(sqlite3.OperationalError):
        hand.turn()
    other.turn()
    hand.turn()
    assert hand.scheduler.presence.worker != other.scheduler.presence.worker
    other.engine.close()
    assert (future.snapshot().phase, future.snapshot().worker) == ("running", hand.engine.name)
    hand.executor.finish()
    hand.turn()
    assert future.result() == "done"


def test_what_time_frees_is_claimed_in_the_turn_that_frees_it(hands, clock):
    hand = hands(Parked(), workers=4)
    hand.engine.task(lambda: None, name="f").options(delay=10).submit()
    hand.until_quiet()
    clock.advance(10)
    hand.scheduler.turn()  # one, that looks for nothing else
    assert len(hand.executor) == 1

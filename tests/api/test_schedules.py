"""Schedules: what fires when, once over all engines, what operators and code may say, and what a clock may do."""

import contextlib
from concurrent.futures import CancelledError
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

import taskcore
from taskcore import Engine
from taskcore.store import operations
from taskcore.store import schedules as firing
from taskcore.testing import InlineExecutor, ManualClock
from tests.support.parked import IDLE, Parked

HOUR, DAY, YEAR = 3600.0, 86_400.0, 365 * 86_400.0
ROME = "Europe/Rome"


def nothing():
    return None


def at(*when, tz=ROME, fold=0):
    """Seconds since the epoch of a wall time."""
    return datetime(*when, tzinfo=UTC if tz is None else ZoneInfo(tz), fold=fold).timestamp()


@pytest.fixture
def opened(path, clock):
    """`opened(**parameters)` → an engine on the one file, as another process or the next start would have; bodies run
    in `run()`."""
    made = []

    def open_(**parameters):
        made.append(Engine(path, **{"clock": clock, "executor": InlineExecutor(), **parameters}))
        return made[-1]

    yield open_
    for engine in made:
        engine.close(0)


@pytest.fixture
def fires(raw):
    """`fires(name)` → the due times that were fired, in the order of the tasks."""
    return lambda name="tick": [
        row["due_at"] for row in raw("SELECT due_at FROM taskcore_fire WHERE schedule = ? ORDER BY task", name)
    ]


def turns(engine, n=6):
    """As many turns of a started engine, each of which also looks for what others did."""
    for _ in range(n):
        engine._scheduler.look_again()
        wait = engine._scheduler.turn()
    return wait


def ticks(engine, *args, name="tick", **options):
    """A schedule by period, and the times at which it ran."""
    ran = []
    engine.every(*args, name=name, **options)(lambda: ran.append(engine._clock.now()))
    return ran


def passes(clock, engine, *steps):
    for step in steps:
        clock.advance(step)
        engine.run()


# -- when a schedule fires ------------------------------------------------------------------------------------------


def test_a_schedule_fires_a_period_after_it_was_defined_and_then_once_a_period(inline, clock, fires):
    ran = ticks(inline, 60)
    inline.run()
    assert (ran, inline.schedules["tick"].next_at, inline.schedules["tick"].last_at) == ([], 1060, None)
    passes(clock, inline, 59.999)
    assert ran == []
    passes(clock, inline, 0.001, 30, 30, 60)
    assert ran == fires() == [1060, 1120, 1180]
    assert (inline.schedules["tick"].next_at, inline.schedules["tick"].last_at) == (1240, 1180)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("1h30m", 5400), ("2d", 172_800), ("1w", 604_800), (0.5, 0.5)]
)
def test_a_period_is_seconds_or_text(inline, clock, text, seconds):
    ran = ticks(inline, text)
    assert inline.schedules["tick"].every == seconds
    passes(clock, inline, seconds, seconds)
    assert ran == [1000 + seconds, 1000 + 2 * seconds]


def test_the_next_time_follows_from_the_previous_one_however_late_that_was_fired(inline, clock, fires):
    ran = ticks(inline, 60)
    passes(clock, inline, 67, 55, 58)
    assert ran == [1067, 1122, 1180]
    assert fires() == [1060, 1120, 1180]
    assert inline.schedules["tick"].next_at == 1240


def test_a_schedule_fires_though_the_loop_turned_before_the_engine_began_to_claim(inline, clock):
    """As the loop's thread may: it is there a moment before the engine says so."""
    ran = ticks(inline, 60)
    inline._scheduler.turn()
    passes(clock, inline, 60, 60)
    assert ran == [1060, 1120]


def test_cron_fires_by_the_wall_clock_of_its_zone(opened, clock, fires):
    clock.set(at(2026, 1, 5, 12))
    engine, ran = opened(), []
    engine.cron("30 3 * * mon-fri", tz=ROME, name="tick")(lambda: ran.append(clock.now()))
    for _ in range(7 * 24):
        passes(clock, engine, HOUR)
    assert fires() == [at(2026, 1, day, 3, 30) for day in (6, 7, 8, 9, 12)]
    schedule = engine.schedules["tick"]
    assert (schedule.every, schedule.cron, schedule.tz) == (None, "30 3 * * mon-fri", ROME)


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("@daily", (2026, 1, 6), (2026, 1, 7)), ("@hourly", (2026, 1, 5, 13), (2026, 1, 5, 14)),
        ("@monthly", (2026, 2, 1), (2026, 3, 1)), ("0 3 1 jan,jul *", (2026, 7, 1, 3), (2027, 1, 1, 3)),
        ("*/20 9-17/4 * * *", (2026, 1, 5, 13), (2026, 1, 5, 13, 20)),
    ],
)  # fmt: skip
def test_cron_takes_words_names_steps_ranges_and_lists_by_utc_if_nothing_is_said(
    opened, clock, fires, text, first, second
):
    clock.set(at(2026, 1, 5, 12, tz=None))
    engine = opened()
    engine.cron(text, name="tick")(lambda: None)
    due = at(*first, tz=None), at(*second, tz=None)
    assert engine.schedules["tick"].next_at == due[0]
    clock.set(due[0])
    engine.run()
    assert engine.schedules["tick"].next_at == due[1]
    assert fires() == [due[0]]


def test_an_engine_that_runs_fires_what_is_due_while_its_threads_are_busy(opened, clock, raw):
    engine = opened(executor=Parked(), workers=1)
    engine.task(lambda: None, name="long").submit()
    ticks(engine, 60)
    turns(engine)
    clock.advance(60)
    turns(engine)
    assert engine.tasks.counts() == {"running": 1, "ready": 1}


def test_run_does_not_wait_for_what_is_due_later(inline, clock):
    ran = ticks(inline, 10)
    assert inline.run() == {}
    assert (clock.now(), ran) == (1000, [])


def test_a_run_that_lets_time_pass_for_a_retry_fires_what_becomes_due_meanwhile(inline, clock):
    ran, tries = ticks(inline, 10), []

    @inline.task(max_attempts=2, backoff=taskcore.constant(25))
    def flaky():
        tries.append(clock.now())
        if len(tries) == 1:
            raise ValueError("not yet")

    flaky.submit()
    inline.run()
    assert (tries, ran) == ([1000, 1025], [1010, 1020])


# -- what is defined ------------------------------------------------------------------------------------------------


def test_what_the_decorators_make_is_called_and_submitted_as_ever(inline, fires):
    @inline.every("1h")
    def hourly(n=2):
        return n * 21

    @inline.cron("@daily", tz=ROME)
    def daily():
        return "done"

    assert isinstance(hourly, taskcore.TaskFunction) and isinstance(daily, taskcore.TaskFunction)
    assert (hourly.name, daily.name, list(inline.schedules)) == ("hourly", "daily", ["daily", "hourly"])
    assert (hourly(), hourly(3), daily()) == (42, 63, "done")
    assert (hourly.submit().result(), hourly.submit(1).result(), daily.submit().result()) == (42, 21, "done")
    assert fires("hourly") == fires("daily") == []


def test_the_options_go_with_the_fired_tasks(inline, clock):
    tried = []

    @inline.every(
        60, max_attempts=3, backoff=taskcore.constant(1), priority=7, tags=["night", "auto"], hidden=True, max_lapses=5
    )
    def tick():
        tried.append(clock.now())
        raise ValueError("broken")

    passes(clock, inline, 60)
    (task,) = inline.tasks.where(name="tick", hidden=True)
    assert (task.priority, task.tags, task.max_attempts, task.hidden) == (7, ("night", "auto"), 3, True)
    assert (task.phase, tried) == ("failed", [1060, 1061, 1062])


def test_a_limit_and_capacities_hold_for_the_fired_tasks(opened, clock):
    engine = opened(executor=Parked(), workers=9, limits={"gpu": 2})
    engine.every(60, name="limited", overlap=True, limit=1)(lambda: None)
    engine.every(60, name="hungry", overlap=True, uses={"gpu": 1})(lambda: None)
    engine.start()
    for _ in range(4):
        clock.advance(60)
        turns(engine)
    assert engine.tasks.where(name="limited").counts() == {"running": 1, "ready": 3}
    assert engine.tasks.where(name="hungry").counts() == {"running": 2, "ready": 2}
    assert engine.limits == {"gpu": 2, "name:limited": 1}


def test_one_function_has_several_schedules_by_name(inline, clock, fires):
    ran = []

    @inline.task(max_attempts=2, backoff=taskcore.constant(1))
    def sync():
        ran.append(taskcore.current().task.name)
        if len(ran) < 2:
            raise ValueError("not yet")

    fast = inline.every(60, name="fast")(sync)
    slow = inline.every(120, name="slow", tags=["slow"])(sync)
    assert (sync.name, fast.name, slow.name) == ("sync", "fast", "slow")
    passes(clock, inline, 60, 60)
    assert (fires("fast"), fires("slow")) == ([1060, 1120], [1120])
    assert ran == ["fast", "fast", "fast", "slow"], "the first was tried again, as its task says"
    assert [task.tags for task in inline.tasks.where(name="slow")] == [("slow",)]


def test_a_schedule_on_a_task_keeps_what_the_task_says(inline, clock):
    @inline.task(max_attempts=3, priority=4, limit=2)
    def sync():
        raise ValueError("broken")

    scheduled = inline.every(60, tags=["auto"])(sync)
    assert scheduled.name == "sync"
    passes(clock, inline, 60)
    (task,) = inline.tasks
    assert (task.max_attempts, task.priority, task.tags) == (3, 4, ("auto",))
    assert inline.limits["name:sync"] == 2
    assert sync.submit().snapshot().tags == ()


def test_a_schedule_on_a_task_as_it_is_gives_that_task_back(inline):
    sync = inline.task(lambda: None, name="sync", max_attempts=2)
    assert inline.every(60)(sync) is sync


def test_a_task_that_is_run_elsewhere_is_fired_for_whoever_claims_it(inline, clock):
    inline.every(60, tags=["robot"])(inline.task("calibrate", max_attempts=2))
    inline.every(60)("photograph")
    passes(clock, inline, 60)
    assert inline.tasks.counts() == {"ready": 2}
    (claim,) = inline.claim("calibrate")
    assert (claim.task.tags, claim.task.max_attempts) == (("robot",), 2)
    claim.succeed()


def test_a_definition_that_was_made_again_runs_from_then_on(inline, clock):
    first = ticks(inline, 60)
    passes(clock, inline, 60)
    second = ticks(inline, 60)
    passes(clock, inline, 60)
    assert (first, second) == ([1060], [1120])


def test_schedules_are_a_mapping_of_what_is_in_the_file(inline, opened):
    assert (dict(inline.schedules), len(inline.schedules), "tick" in inline.schedules) == ({}, 0, False)
    ticks(inline, 60)
    ticks(inline, 5, name="tock", enabled=False)
    other = opened(workers=0, executor=None)
    assert (list(other.schedules), len(other.schedules), "tick" in other.schedules) == (["tick", "tock"], 2, True)
    assert {name: schedule.every for name, schedule in other.schedules.items()} == {"tick": 60, "tock": 5}
    assert repr(other.schedules["tick"]) == "<Schedule 'tick' every 60 s>"
    assert repr(other.schedules["tock"]) == "<Schedule 'tock' every 5 s disabled>"
    for nothing in ("tack", 7, None, ["tick"]):
        with pytest.raises(KeyError):
            other.schedules[nothing]


def test_a_schedule_defined_in_a_transaction_that_is_rolled_back_is_not_there(inline, clock):
    with pytest.raises(LookupError), inline.transaction():
        ran = ticks(inline, 60)
        raise LookupError
    assert list(inline.schedules) == []
    passes(clock, inline, 600)
    assert ran == []


# -- enabled, and by hand -------------------------------------------------------------------------------------------


def test_a_schedule_that_begins_disabled_exists_and_never_fires_until_it_is_enabled(inline, clock, fires):
    ran = ticks(inline, 60, enabled=False)
    passes(clock, inline, *[60] * 10)
    assert (ran, inline.schedules["tick"].enabled, inline.schedules["tick"].every) == ([], False, 60)
    inline.schedules["tick"].enable()
    inline.run()
    assert ran == [], "what was due meanwhile is not caught up on"
    passes(clock, inline, 60, 60)
    assert ran == fires() == [1660, 1720]


def test_a_disabled_schedule_runs_when_it_is_triggered_and_stays_disabled(inline, clock):
    ran = ticks(inline, 60, enabled=False, tags=["auto"], priority=3)
    future = inline.schedules["tick"].trigger()
    assert future.result() is None
    assert (future.snapshot().tags, future.snapshot().priority) == (("auto",), 3)
    passes(clock, inline, 600)
    assert (ran, inline.schedules["tick"].enabled) == ([1000], False)


def test_a_trigger_comes_beside_the_due_times(inline, clock, fires):
    ran = ticks(inline, 60)
    passes(clock, inline, 50)
    inline.schedules["tick"].trigger()
    inline.run()
    passes(clock, inline, 10, 60)
    assert ran == [1050, 1060, 1120]
    assert fires() == [1060, 1120]
    assert inline.schedules["tick"].last_at == 1120


def test_an_engine_without_the_code_triggers_with_the_options_that_the_code_gave(opened):
    engine, operator = opened(), opened(workers=0, executor=None)
    ran = ticks(engine, 60, tags=["auto"], priority=3, max_attempts=4, hidden=True)
    future = operator.schedules["tick"].trigger()
    task = future.snapshot()
    assert (task.tags, task.priority, task.max_attempts, task.hidden) == (("auto",), 3, 4, True)
    engine.run()
    assert len(ran) == 1 and operator.future(task.id).snapshot().phase == "succeeded"


def test_a_trigger_in_a_transaction_goes_with_it(inline):
    ticks(inline, 60)
    with pytest.raises(LookupError), inline.transaction():
        future = inline.schedules["tick"].trigger()
        raise LookupError
    with pytest.raises(CancelledError):
        future.result()
    with inline.transaction():
        future = inline.schedules["tick"].trigger()
    assert future.result() is None
    assert len(inline.tasks) == 1


# -- what operators and code say ------------------------------------------------------------------------------------


def test_what_an_operator_says_survives_a_restart_with_the_same_code(opened, clock, fires):
    engine, operator = opened(), opened(workers=0, executor=None)
    ticks(engine, 60)
    ticks(engine, 60, name="tock")
    operator.schedules["tick"].set_every("5m")
    operator.schedules["tock"].disable()
    engine.close()
    engine = opened()
    ran, silent = ticks(engine, 60), ticks(engine, 60, name="tock")
    assert (engine.schedules["tick"].every, engine.schedules["tock"].enabled) == (300, False)
    passes(clock, engine, *[60] * 10)
    assert (ran, silent) == ([1300, 1600], [])


def test_a_new_value_in_the_code_takes_effect_and_only_that_one(opened, clock):
    ticks(opened(), 60)
    operator = opened(workers=0, executor=None)
    operator.schedules["tick"].set_every(300)
    operator.schedules["tick"].disable()
    ticks(opened(), 30)
    assert (operator.schedules["tick"].every, operator.schedules["tick"].enabled) == (30, False)
    operator.schedules["tick"].set_every(300)
    ticks(opened(), 30, enabled=False)
    assert (operator.schedules["tick"].every, operator.schedules["tick"].enabled) == (300, False)
    ticks(opened(), 30, enabled=True)
    assert (operator.schedules["tick"].every, operator.schedules["tick"].enabled) == (300, True)


def test_an_operator_takes_effect_at_once_in_an_engine_that_runs(opened, clock, fires):
    engine, operator = opened(), opened(workers=0, executor=None)
    ticks(engine, 3600)
    turns(engine.start() or engine)
    operator.schedules["tick"].set_every(60)
    turns(engine)
    clock.advance(60)
    turns(engine)
    assert fires() == [1060]
    operator.schedules["tick"].disable()
    turns(engine)
    clock.advance(600)
    turns(engine)
    assert fires() == [1060]
    operator.schedules["tick"].enable()
    turns(engine)
    clock.advance(60)
    turns(engine)
    assert fires() == [1060, 1720]


def test_another_period_counts_from_the_last_due_time(inline, clock, fires):
    ticks(inline, 60)
    passes(clock, inline, 60, 10)
    inline.schedules["tick"].set_every(25)
    passes(clock, inline, 15, 25)
    assert fires() == [1060, 1085, 1110]


@pytest.mark.parametrize("catch_up", ["once", "skip", "all"])
def test_times_that_were_never_due_are_not_caught_up_on(inline, clock, fires, catch_up):
    ticks(inline, 3600, catch_up=catch_up)
    passes(clock, inline, 3600, 3000)
    inline.schedules["tick"].set_every(60)
    inline.run()
    assert fires() == [4600]
    passes(clock, inline, 59, 1)
    assert fires() == [4600, 7660]


def test_a_schedule_may_go_from_a_period_to_the_wall_clock_and_back(opened, clock, fires):
    clock.set(at(2026, 1, 5, 12, tz=None))
    ticks(opened(), HOUR)
    engine = opened()
    engine.cron("0 3 * * *", name="tick")(lambda: None)
    schedule = engine.schedules["tick"]
    assert (schedule.every, schedule.cron, schedule.next_at) == (None, "0 3 * * *", at(2026, 1, 6, 3, tz=None))
    with pytest.raises(ValueError, match="'0 3 \\* \\* \\*'"):
        schedule.set_every(60)
    clock.set(at(2026, 1, 6, 4, tz=None))
    engine.run()
    assert fires() == [at(2026, 1, 6, 3, tz=None)]
    ticks(engine, "2h")
    assert engine.schedules["tick"].next_at == at(2026, 1, 6, 5, tz=None)


def test_an_engine_without_the_code_lists_a_schedule_and_does_not_fire_it(opened, clock, fires):
    ticks(opened(), 60)
    other = opened()
    tock = ticks(other, 60, name="tock")
    passes(clock, other, 60, 60)
    assert (fires("tick"), fires("tock"), tock) == ([], [1060, 1120], [1060, 1120])
    schedule = other.schedules["tick"]
    assert (schedule.every, schedule.next_at, schedule.last_at, schedule.enabled) == (60, 1060, None, True)
    ticks(other, 60)
    other.run()
    assert fires("tick") == [1120], "from now on it has it"


def test_what_was_fired_is_remembered_when_its_tasks_are_deleted(inline, clock, fires, raw):
    ran = ticks(inline, 60)
    passes(clock, inline, 60, 60)
    assert inline.tasks.where(name="tick").delete() == 2
    assert fires() == [1060, 1120]
    passes(clock, inline, 60, 60)
    assert inline.prune(older_than=0) == 2
    clock.set(1050)
    passes(clock, inline, *[30] * 6)
    assert ran == fires() == [1060, 1120, 1180, 1240]
    assert raw("PRAGMA foreign_key_check") == []


def test_of_very_many_fires_the_newest_are_remembered(inline, clock, fires, monkeypatch):
    monkeypatch.setattr(operations, "_FORGET_FIRES", operations._FORGET_FIRES.replace(str(operations.FIRES), "3"))
    ticks(inline, 60)
    ticks(inline, 60, name="other")
    passes(clock, inline, *[60] * 5)
    assert inline.tasks.where(name="tick").delete() == 5
    assert (fires(), len(fires("other"))) == ([1180, 1240, 1300], 5)


def test_a_deleted_schedule_fires_no_more_until_code_defines_it_anew(opened, clock, fires):
    engine, other = opened(), opened(workers=0)
    ran = ticks(engine, 60)
    passes(clock, engine, 60)
    assert other.schedules["tick"].delete() is True
    passes(clock, engine, 60, 60)
    assert (ran, list(engine.schedules), fires()) == ([1060], [], [])
    assert len(engine.tasks.where(name="tick")) == 1, "its tasks stay"
    ran = ticks(engine, 60)
    schedule = engine.schedules["tick"]
    assert (schedule.next_at, schedule.last_at) == (1240, None)
    passes(clock, engine, 60)
    assert ran == [1240]
    assert schedule.delete() is True and schedule.delete() is False


def test_a_trigger_in_a_body_is_a_step_of_it(inline, clock):
    ran = ticks(inline, 600)

    @inline.task(max_attempts=2, backoff=taskcore.constant(0))
    def body():
        triggered = inline.schedules["tick"].trigger()
        taskcore.current().sleep(5)
        if inline.tasks.where(name="body").first().attempts == 1:
            raise ValueError("once more")
        return triggered.id

    assert body.submit().result() == 2
    inline.run()
    assert ran == [1000]
    assert [task.parent_id for task in inline.tasks.where(name="tick")] == [1]


# -- what was missed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("catch_up", "asleep", "expected"),
    [
        ("once", 60, [1060]), ("once", 119, [1060]), ("once", 600, [1600]), ("once", 635, [1600]),
        ("skip", 60, [1060]), ("skip", 119, [1060]), ("skip", 600, [1600]),
        ("all", 60, [1060]), ("all", 119, [1060]), ("all", 185, [1060, 1120, 1180]),
    ],
)  # fmt: skip
def test_what_was_due_while_nobody_ran_is_caught_up_on_as_the_schedule_says(
    opened, clock, fires, catch_up, asleep, expected
):
    engine = opened()
    ticks(engine, 60, catch_up=catch_up)
    engine.close()
    clock.advance(asleep)
    engine = opened()
    ran = ticks(engine, 60, catch_up=catch_up)
    engine.run()
    assert fires() == expected
    assert ran == [clock.now()] * len(expected)
    following = expected[-1] + 60
    assert engine.schedules["tick"].next_at == following
    clock.set(following)
    engine.run()
    assert fires() == [*expected, following]


@pytest.mark.parametrize("catch_up", ["once", "skip", "all"])
@pytest.mark.parametrize("late", [0.0, 59.0, 61.0, 3599.0, 3600.0, 9 * HOUR + 30])
def test_a_fire_may_be_late_by_a_minute_without_having_been_missed(opened, clock, fires, catch_up, late):
    ticks(opened(), HOUR, catch_up=catch_up)
    clock.set(4600 + late)
    engine = opened()
    ticks(engine, HOUR, catch_up=catch_up)
    engine.run()
    missed = int(late // HOUR)
    due = [4600 + HOUR * n for n in range(missed + 1)]
    wanted = {"once": due[-1:], "skip": due[-1:] if late % HOUR <= 60 else [], "all": due}[catch_up]
    assert fires() == wanted
    assert engine.schedules["tick"].next_at == due[-1] + HOUR


@pytest.mark.parametrize("catch_up", ["once", "skip", "all"])
@pytest.mark.parametrize(
    ("begin", "end", "days"),
    [
        ((2026, 3, 27, 12), (2026, 3, 31, 12), (28, 29, 30, 31)),
        ((2026, 10, 23, 12), (2026, 10, 27, 12), (24, 25, 26, 27)),
    ],
    ids=["spring", "autumn"],
)  # fmt: skip
def test_a_sleep_over_daylight_saving_catches_up_on_each_wall_time_once(
    opened, clock, fires, catch_up, begin, end, days
):
    clock.set(at(*begin))
    opened().cron("30 2 * * *", tz=ROME, catch_up=catch_up, name="tick")(lambda: None)
    clock.set(at(*end))
    engine = opened()
    engine.cron("30 2 * * *", tz=ROME, catch_up=catch_up, name="tick")(lambda: None)
    engine.run()
    year, month = begin[:2]
    due = [at(year, month, day, 3) if (month, day) == (3, 29) else at(year, month, day, 2, 30) for day in days]
    assert fires() == {"once": due[-1:], "skip": [], "all": due}[catch_up]
    assert engine.schedules["tick"].next_at == due[-1] + DAY


def test_all_of_a_very_long_sleep_comes_in_portions_in_order_and_whole(opened, clock, fires, raw):
    n = 2 * firing.AT_ONCE + 7
    ticks(opened(), 60, catch_up="all", overlap=True)
    clock.advance(60 * n)
    engine = opened()
    ticks(engine, 60, catch_up="all", overlap=True)
    engine.start()
    engine._scheduler.turn()
    assert 0 < len(fires()) <= firing.AT_ONCE, "one transaction does not take for ever"
    engine.run()
    assert fires() == [1000 + 60 * (k + 1) for k in range(n)]
    assert engine.tasks.counts() == {"succeeded": n}
    assert engine.schedules["tick"].next_at == clock.now() + 60


def test_a_sleep_of_years_costs_no_more_than_one_fire_where_one_run_catches_up(opened, clock, fires):
    clock.set(at(2001, 1, 1))
    engine = opened()
    ticks(engine, 1)
    engine.cron("* * * * *", tz=ROME, name="minutely")(lambda: None)
    clock.set(at(2026, 7, 1, 12, 0, 30))
    engine.run()
    assert fires() == [at(2026, 7, 1, 12, 0, 30)]
    assert fires("minutely") == [at(2026, 7, 1, 12)]


def test_of_all_that_is_caught_up_on_a_failure_stops_no_other(inline, clock):
    ran = []

    @inline.every(60, catch_up="all")
    def tick():
        ran.append(clock.now())
        raise ValueError("broken")

    passes(clock, inline, 300)
    assert inline.tasks.counts() == {"failed": 5}
    assert len(ran) == 5


# -- one at a time --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", [False, True])
def test_what_is_due_while_one_runs_passes_by_unless_they_may_overlap(opened, clock, fires, overlap):
    executor = Parked()
    engine = opened(executor=executor, workers=9)
    ticks(engine, 60, overlap=overlap)
    engine.start()
    for _ in range(4):
        clock.advance(60)
        turns(engine)
    assert fires() == ([1060, 1120, 1180, 1240] if overlap else [1060])
    assert engine.schedules["tick"].next_at == 1300
    while len(executor):
        executor.finish()
    turns(engine)
    clock.advance(60)
    turns(engine)
    assert fires()[-1] == 1300
    executor.finish()
    turns(engine)


@pytest.mark.parametrize("how", ["suspended", "retrying", "paused", "waiting for a capacity"])
def test_a_task_that_has_not_ended_holds_up_the_next_whatever_it_waits_for(opened, clock, fires, how):
    engine = opened(limits={"gpu": 0})

    @engine.every(60, max_attempts=5, backoff=taskcore.constant(1000), uses={"gpu": 1} if how.endswith("city") else {})
    def tick():
        if how == "suspended":
            taskcore.current().wait_for("go")
        if how == "retrying" and not taskcore.current().task.failures:
            raise ValueError("not yet")

    engine.start()
    if how == "paused":
        engine.pause("tick")
    for _ in range(5):
        clock.advance(60)
        turns(engine)
    assert fires() == [1060]
    (task,) = engine.tasks
    assert task.phase == {"suspended": "suspended", "retrying": "scheduled"}.get(how, "ready")
    if how == "suspended":
        engine.future(task.id).signal("go")
    elif how == "retrying":
        clock.set(task.greenfield)
    elif how == "paused":
        engine.resume("tick")
    else:
        engine.limits["gpu"] = 1
    turns(engine)
    assert engine.future(task.id).snapshot().phase == "succeeded"
    due = engine.schedules["tick"].next_at
    clock.set(due)
    turns(engine)
    assert fires() == [1060, due]


def test_all_without_overlap_run_one_after_the_other(opened, clock, fires):
    executor = Parked()
    engine = opened(executor=executor, workers=9)
    ticks(engine, 60, catch_up="all")
    engine.start()
    for _ in range(4):
        clock.advance(60)
        turns(engine)
    assert fires() == [1060, 1120, 1180, 1240], "nothing passes by"
    for left in (3, 2, 1, 0):
        assert engine.tasks.counts().get("running") == 1
        assert engine.tasks.counts().get("waiting", 0) == left
        executor.finish()
        turns(engine)
    assert engine.tasks.counts() == {"succeeded": 4}


# -- several engines ------------------------------------------------------------------------------------------------


def test_engines_on_one_file_fire_each_due_time_once(opened, clock, fires):
    engines = [opened() for _ in range(3)]
    ran = [ticks(engine, 60) for engine in engines]
    for engine in engines:
        engine.start()
    for n in range(12):
        clock.advance(60 if n % 2 else 30)
        for engine in engines[n % 3 :] + engines[: n % 3]:
            turns(engine, 2)
    for engine in engines:
        turns(engine)
    due = [1000 + 60 * n for n in range(1, 10)]
    assert fires() == due
    assert sum(map(len, ran)) == len(due)


def test_a_neighbour_whose_clock_was_read_before_the_last_fire_fires_nothing_again(path, fires):
    """A turn reads its clock, and then waits until it may write."""
    clocks = ManualClock(1000.0), ManualClock(1000.0)
    with contextlib.ExitStack() as stack:
        one, other = (
            stack.enter_context(contextlib.closing(Engine(path, clock=clock, executor=InlineExecutor())))
            for clock in clocks
        )
        for engine in (one, other):
            ticks(engine, 0.05, name="fast")
            engine.cron("* * * * *", name="minutely")(lambda: None)
            engine.start()
        for n in range(1, 600):
            for engine, clock in zip((one, other), clocks, strict=True):
                clock.set(1000 + 0.05 * n - (0.37 if engine is other else 0))
                turns(engine, 2)
        due = fires("fast")
        assert fires("minutely") == [1020]
    assert 580 < len(due) <= 600
    assert all(later - earlier > 0.025 for earlier, later in zip(sorted(due), sorted(due)[1:], strict=False))


@pytest.mark.parametrize("when", [-0.001, 0.0, 0.001])
def test_a_restart_close_to_a_due_time_neither_misses_it_nor_fires_it_twice(opened, clock, fires, when):
    engine = opened()
    ran = ticks(engine, 60)
    passes(clock, engine, 60 + when)
    engine.close()
    engine = opened()
    ran += ticks(engine, 60)
    engine.run()
    assert fires() == ([1060] if when >= 0 else [])
    clock.set(1060.002)
    engine.run()
    assert fires() == [1060]
    assert engine.schedules["tick"].next_at == 1120


# -- clocks that are set --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("back", [60, 90, HOUR, YEAR])
@pytest.mark.parametrize("cron", [False, True], ids=["every", "cron"])
@pytest.mark.parametrize("catch_up", ["once", "skip", "all"])
def test_a_clock_that_was_set_back_goes_on_from_there_and_fires_no_due_time_again(
    opened, clock, fires, back, cron, catch_up
):
    start = at(2026, 1, 5, 12)
    clock.set(start)
    engine = opened()
    if cron:
        engine.cron("* * * * *", name="tick", catch_up=catch_up)(lambda: None)
    else:
        ticks(engine, 60, catch_up=catch_up)
    passes(clock, engine, *[60] * 5)
    clock.advance(20)
    clock.set(clock.now() - back)
    engine.run()
    before = len(fires())
    passes(clock, engine, *[60] * 4)
    due = fires()
    assert len(due) == len(set(due))
    assert all(earlier % 60 == 0 for earlier in due), "they keep their places"
    assert len(due) - before == {60: 3, 90: 2}.get(back, 4), "but for those that were fired before, all come"
    if (back, catch_up) == (YEAR, "all"):
        return  # forward again that is a sleep of a year, and each minute of it is to come
    clock.set(start + HOUR)
    engine.run()
    due = fires()
    assert len(due) == len(set(due))
    assert due[-1] == start + HOUR or catch_up == "all"
    assert engine.schedules["tick"].next_at == start + HOUR + 60 or catch_up == "all"


@pytest.mark.parametrize("cron", [False, True], ids=["every", "cron"])
def test_a_schedule_that_was_made_while_the_clock_was_wrong_comes_when_it_is_right(opened, clock, fires, cron):
    clock.set(at(2027, 1, 5, 12))
    engine = opened()
    if cron:
        engine.cron("0 * * * *", name="tick")(lambda: None)
    else:
        ticks(engine, HOUR)
    engine.run()
    clock.set(at(2026, 1, 5, 12))
    engine.run()
    assert fires() == []
    passes(clock, engine, HOUR, HOUR)
    assert fires() == [at(2026, 1, 5, 13), at(2026, 1, 5, 14)]


@pytest.mark.parametrize("cron", [False, True], ids=["every", "cron"])
@pytest.mark.parametrize("why", ["skipped", "one was running", "enabled again"])
def test_what_passed_by_while_the_clock_was_wrong_does_not_stop_a_schedule_when_it_is_right(
    opened, clock, fires, cron, why
):
    start = at(2026, 1, 5, 12)
    clock.set(start)
    engine = opened()
    catch_up = "skip" if why == "skipped" else "once"
    if cron:
        engine.cron("0 * * * *", name="tick", catch_up=catch_up)("elsewhere")
    else:
        engine.every(HOUR, name="tick", catch_up=catch_up)("elsewhere")
    passes(clock, engine, HOUR)
    (claim,) = engine.claim(lease=2 * YEAR)
    if why != "one was running":
        claim.succeed()
    if why == "enabled again":
        engine.schedules[claim.task.name].disable()
    clock.advance(YEAR + 600)
    if why == "enabled again":
        engine.schedules[claim.task.name].enable()
    engine.run()
    clock.set(start + HOUR + 30)
    engine.run()
    if why == "one was running":
        claim.succeed()
    passes(clock, engine, HOUR)
    assert fires(claim.task.name) == [start + HOUR, start + 2 * HOUR]


def test_fractions_of_a_second_are_not_fired_again_behind_a_clock_that_was_set_back(inline, clock, fires):
    clock.set(1_795_303_664.123456)
    ticks(inline, 0.1)
    for _ in range(100):
        passes(clock, inline, 0.1)
    before = fires()
    clock.set(clock.now() - 8)
    for _ in range(70):
        passes(clock, inline, 0.1)
    assert fires() == before


@pytest.mark.parametrize("jump", [DAY, -DAY, YEAR])
def test_a_running_task_does_not_lapse_when_the_clock_jumps(opened, clock, fires, jump):
    executor = Parked()
    clock.set(at(2026, 1, 5))
    engine, other = opened(executor=executor, workers=2, lease=30), opened(executor=Parked(), workers=2, lease=30)
    for each in (engine, other):
        ticks(each, 60)
        each.start()
    clock.advance(60)
    turns(engine)
    turns(other)
    clock.set(clock.now() + jump)
    turns(other)
    turns(engine)
    (task,) = engine.tasks
    assert (task.phase, task.attempts, task.lapses) == ("running", 1, 0)
    executor.finish()
    turns(engine)
    clock.advance(60)
    turns(engine)
    assert [task.phase for task in engine.tasks] == ["succeeded", "running"]
    assert len(fires()) == 2
    executor.finish()
    turns(engine)


# -- what it costs --------------------------------------------------------------------------------------------------


def test_an_idle_engine_with_an_hourly_schedule_sleeps(opened, clock, raw):
    engine = opened()
    ticks(engine, HOUR)
    engine.cron("@weekly", name="weekly")(lambda: None)
    engine.start()
    turns(engine)
    seen = raw("PRAGMA data_version")
    assert turns(engine, 20) == pytest.approx(IDLE, abs=0.1)
    assert raw("PRAGMA data_version") == seen, "a turn with nothing to do commits nothing"
    assert engine._scheduler.until_next() == HOUR


def test_a_turn_says_how_long_it_is_until_the_next_due_time(opened, clock):
    engine = opened()
    ticks(engine, 0.125)
    engine.start()
    assert turns(engine) == pytest.approx(0.125)
    clock.advance(0.1)
    assert turns(engine) == pytest.approx(0.025)


def test_a_schedule_that_is_defined_while_the_engine_idles_is_heard_of(opened, clock, fires, monkeypatch):
    """The loop may turn at any moment, between the commit and what follows it too."""
    engine = opened()
    engine.start()
    turns(engine)
    write = engine._context.write

    def write_and_turn(*args):
        found = write(*args)
        engine._scheduler.turn()
        return found

    monkeypatch.setattr(engine._context, "write", write_and_turn)
    ticks(engine, 60)
    clock.advance(60)
    engine._scheduler.turn()
    assert fires() == [1060]


# -- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"catch_up": "some"}, ValueError, "catch_up"), ({"catch_up": None}, ValueError, "catch_up"),
        ({"enabled": 1}, TypeError, "enabled"), ({"overlap": "no"}, TypeError, "overlap"),
        ({"delay": 5}, TypeError, "delay"), ({"at": None}, TypeError, "at"), ({"after": 1}, TypeError, "after"),
        ({"before": 1}, TypeError, "before"), ({"key": "x"}, TypeError, "key"), ({"parent": 1}, TypeError, "parent"),
        ({"key_scope": "unfinished"}, TypeError, "key_scope"), ({"colour": "red"}, TypeError, "colour"),
        ({"max_attempts": 0}, ValueError, "max_attempts"), ({"priority": 5000}, ValueError, "priority"),
        ({"name": ""}, ValueError, "name"), ({"name": 5}, TypeError, "name"),
        ({"uses": {"gpu": 1}}, ValueError, "gpu"), ({"failed_status": "no such"}, taskcore.UnknownStatus, "no such"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["every", "cron"])
def test_a_bad_value_is_refused_by_name_and_nothing_is_stored(inline, verb, options, error, match):
    when = 60 if verb == "every" else "@daily"
    with pytest.raises(error, match=match):
        getattr(inline, verb)(when, **options)(nothing)
    assert list(inline.schedules) == []
    assert inline.run() == {} and inline.health == "ok"


class Weather:
    def look(self, where, when="now", *, how):
        pass


@pytest.mark.parametrize(
    "fn, wanted", [(lambda url, n: 0, "'<lambda>' needs url, n"), (Weather().look, "'look' needs where, how")]
)
def test_a_function_that_needs_arguments_is_refused_at_once(inline, fn, wanted):
    for function in (fn, inline.task(fn, name="f")):
        with pytest.raises(TypeError, match=f"a schedule calls its function without arguments, and {wanted}$"):
            inline.every(60, name="looks")(function)
    assert list(inline.schedules) == []


@pytest.mark.parametrize("option", [{"delay": 5}, {"key": "x"}, {"parent": 1}, {"after": 1}])
def test_a_task_that_says_when_it_runs_has_no_schedule(inline, option):
    task = inline.task(lambda: None, name="f")
    task.submit()
    with pytest.raises(TypeError, match=next(iter(option))):
        inline.every(60)(task.options(**option))
    assert list(inline.schedules) == []


@pytest.mark.parametrize(
    ("period", "error"),
    [
        (0, ValueError), (-1, ValueError), (float("nan"), ValueError), (float("inf"), ValueError), ("", ValueError),
        ("5 minutes", ValueError), ("m5", ValueError), (None, TypeError), (True, TypeError), ([], TypeError),
    ],
)  # fmt: skip
def test_a_bad_period_is_refused(inline, period, error):
    with pytest.raises(error, match="period"):
        inline.every(period)
    ticks(inline, 60)
    with pytest.raises(error, match="period"):
        inline.schedules["tick"].set_every(period)
    assert inline.schedules["tick"].every == 60


@pytest.mark.parametrize(
    ("text", "options", "error", "match"),
    [
        ("0 3 * *", {}, ValueError, "five fields"), ("61 * * * *", {}, ValueError, "minute"),
        ("@often", {}, ValueError, "@often"),
        ("0 0 31 feb *", {}, ValueError, "never comes"), (5, {}, TypeError, "5"), ("", {}, ValueError, "five fields"),
        ("@daily", {"tz": "Europe/Rom"}, ValueError, "Europe/Rom"), ("@daily", {"tz": 1}, TypeError, "tz"),
    ],
)  # fmt: skip
def test_a_bad_cron_expression_or_zone_is_refused(inline, text, options, error, match):
    with pytest.raises(error, match=match):
        inline.cron(text, **options)
    assert list(inline.schedules) == []


def test_only_a_function_has_a_schedule(inline):
    for nothing in (5, None, []):
        with pytest.raises(TypeError):
            inline.every(60)(nothing)
    assert list(inline.schedules) == []


def test_a_capacity_that_became_too_small_keeps_a_fired_task_waiting_and_stops_nothing_else(opened, clock, fires):
    engine = opened(limits={"gpu": 2})
    ticks(engine, 60, uses={"gpu": 2})
    ran = ticks(engine, 60, name="tock")
    opened(workers=0, executor=None, limits={"gpu": 1})
    passes(clock, engine, 60, 60)
    assert (fires(), ran, engine.health) == ([1060], [1060, 1120], "ok")
    assert engine.tasks.where(name="tick").counts() == {"ready": 1}
    engine.limits["gpu"] = 2
    passes(clock, engine, 60)
    assert engine.tasks.where(name="tick").counts() == {"succeeded": 2} or fires() == [1060]

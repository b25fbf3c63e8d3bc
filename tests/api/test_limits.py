"""What may run besides being ready: `limit`, `uses` with `engine.limits`, `rate`, and names on hold."""

import contextlib
import random
import threading

import pytest

import taskcore
from taskcore import Engine
from taskcore.testing import InlineExecutor, ManualClock
from tests.support.processes import until


def names(claims):
    return [claim.task.name for claim in claims]


def arguments(claims):
    return [claim.task.args[0] for claim in claims]


@pytest.fixture
def reopened(path, clock):
    """`reopened(**options)` → a further engine on the same file, as another process would have."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            contextlib.closing(Engine(path, workers=0, clock=clock, **options))
        )


# -- limits of names ------------------------------------------------------------------------------------------------


def test_no_more_of_a_name_run_than_its_limit_allows(engine):
    resize = engine.task("resize", limit=2)
    for n in range(5):
        resize.submit(n)
    first = engine.claim("resize", n=10)
    assert arguments(first) == [0, 1]
    assert engine.claim("resize", n=10) == []
    first[1].succeed()
    assert arguments(engine.claim("resize", n=10)) == [2]
    first[0].release()
    assert arguments(engine.claim("resize", n=10)) == [0]


@pytest.mark.parametrize("end", ["succeed", "fail", "retry", "snooze", "release", "lapse", "cancel"])
def test_whatever_ends_a_claim_makes_room_for_the_next(engine, clock, end):
    task = engine.task("f", limit=1, max_attempts=2, backoff=taskcore.constant(50))
    task.submit(0)
    task.submit(1)
    (claim,) = engine.claim("f")
    assert engine.claim("f") == []
    match end:
        case "fail":
            claim.fail("broke", retry=False)
        case "retry":
            claim.fail("broke")
        case "snooze":
            claim.snooze(50)
        case "lapse":
            clock.advance(31)
        case "cancel":
            engine.future(claim.task.id).cancel()
            assert engine.claim("f") == []  # it runs until it obeys
            claim.release()
        case _:
            getattr(claim, end)()
    (other,) = engine.claim("f")
    assert other.task.args == ((0,) if end in ("release", "lapse") else (1,))


def test_a_limit_counts_all_options_of_a_name_together(engine):
    task = engine.task("f", limit=3)
    for n in range(4):
        task.options(max_attempts=n + 1).submit(n)
    assert arguments(engine.claim("f", n=9)) == [0, 1, 2]
    assert engine.claim(n=9) == []


def test_a_name_at_its_limit_stands_in_nobodys_way(engine):
    slow = engine.task("slow", limit=1, priority=10)
    for n in range(50):
        slow.submit(n)
    for n in range(3):
        engine.submit("quick", n)
    assert names(engine.claim(n=2)) == ["slow", "quick"]
    assert names(engine.claim(n=9)) == ["quick", "quick"]


def test_an_operator_changes_a_limit_while_tasks_run(engine, reopened):
    engine.task("f", limit=1)
    for n in range(6):
        engine.submit("f", n)
    held = engine.claim("f", n=9)
    other = reopened()
    other.limits["name:f"] = 3
    held += engine.claim("f", n=9)
    assert arguments(held) == [0, 1, 2]
    other.limits["name:f"] = 1
    held.pop().succeed()
    assert engine.claim("f") == []  # two run still, and one may
    del other.limits["name:f"]
    assert arguments(engine.claim("f", n=9)) == [3, 4, 5]


def test_the_same_value_said_again_leaves_an_operators_change_alone(engine, reopened):
    engine.task("f", limit=2)
    engine.limits["name:f"] = 7
    engine.task("f", limit=2)
    again = reopened()
    again.task("f", limit=2)
    assert again.limits["name:f"] == 7
    again.task("f", limit=3)
    assert dict(engine.limits) == {"name:f": 3}
    again.task("f", limit=None)
    assert dict(engine.limits) == {}
    again.task("g", limit=1)
    again.task(lambda: None, name="g")
    assert dict(engine.limits) == {}, "who has the function says all of it"


def test_who_only_names_a_task_says_nothing_of_its_limit_and_its_rate(engine, reopened):
    engine.task("f", limit=2, rate="3/m")
    other = reopened()
    other.task("f")
    for _ in range(4):
        other.submit("f")
    assert dict(other.limits) == {"name:f": 2}
    held = other.claim("f", n=9)
    assert len(held) == 2
    for claim in held:
        claim.succeed()
    assert len(engine.claim("f", n=9)) == 1
    other.task("f", limit=None)
    assert dict(engine.limits) == {}


def test_what_code_never_said_is_the_operators(engine):
    engine.limits["name:f"] = 1
    engine.task("f")
    assert dict(engine.limits) == {"name:f": 1}


# -- capacities -----------------------------------------------------------------------------------------------------


@pytest.fixture
def lab(path, clock):
    with contextlib.closing(Engine(path, workers=0, clock=clock, limits={"furnace": 2, "arm": 1})) as engine:
        yield engine


def test_tasks_take_from_capacities_while_they_run(lab):
    for n in range(3):
        lab.task("heat", uses={"furnace": 1}).submit(n)
    lab.task("move", uses={"arm": 1, "furnace": 1}).submit(9)
    held = lab.claim(n=9)
    assert arguments(held) == [0, 1]
    held[0].succeed()
    assert arguments(lab.claim(n=9)) == [2]
    held[1].succeed()
    assert names(lab.claim(n=9)) == ["move"]


def test_one_capacity_is_shared_by_all_names(lab):
    order = ["a", "b", "a", "c", "b"]
    for n, name in enumerate(order):
        lab.task(name, uses={"furnace": 1}).submit(n)
    lab.submit("free", 5)
    done = []
    while held := lab.claim(n=9):
        assert sum(name != "free" for name in names(held)) <= 2
        done += [name for name in names(held) if name != "free"]
        for claim in held:
            claim.succeed()
    assert done == order, "in order of submission, whatever the name"


def test_a_task_that_needs_all_is_not_passed_for_ever(lab):
    small, big = lab.task("small", uses={"furnace": 1}), lab.task("big", uses={"furnace": 2})
    small.submit(0)
    big.submit(1)
    for n in range(2, 60):
        small.submit(n)
    held, passed = lab.claim(n=1), 0
    while "big" not in names(held):
        if len(held) == 2:
            held.pop(0).succeed()  # one is always running: there are never two free by chance
        more = lab.claim(n=1)
        passed += len(more)
        held += more
        if not more:
            held.pop(0).succeed()
        assert passed < 20, "it is starved"
    assert names(held) == ["big"]
    assert passed > 1, "it did not stand in the others' way at once"


def test_a_task_that_needs_all_is_not_starved_by_those_who_ask_for_their_own_names_only(lab, reopened):
    workers = {name: reopened() for name in ("a", "b", "big")}
    small = {name: lab.task(name, uses={"furnace": 1}) for name in "ab"}
    small["a"].submit(0)
    lab.task("big", uses={"furnace": 2}).submit(1)
    for n in range(2, 60):
        small["ab"[n % 2]].submit(n)
    held, begun = {"a": workers["a"].claim("a"), "b": []}, 0
    while not workers["big"].claim("big"):
        for name, claims in held.items():  # one of them always has one
            more = workers[name].claim(name)
            begun += len(more)
            if claims:
                claims.pop().succeed()
            claims += more
        assert begun < 20, "it is starved"
    assert begun > 1, "it did not stand in the others' way at once"


def test_nobody_stands_back_for_a_task_that_may_not_begin_or_that_nobody_asks_for_any_more(lab, clock):
    small, big = lab.task("small", uses={"furnace": 1}), lab.task("big", uses={"furnace": 2})
    big.submit()
    for n in range(40):
        small.submit(n)
    held = lab.claim("small", lease=1000)

    def stand_back():
        assert lab.claim("big") == []
        while more := lab.claim("small", lease=1000):
            held.pop().succeed()
            held.extend(more)

    stand_back()
    small.options(priority=1).submit("urgent")
    (urgent,) = lab.claim("small")
    assert urgent.task.args == ("urgent",), "whose turn is before it passes"
    urgent.succeed()
    assert lab.claim("small") == []
    behind = lab.future(lab.tasks.where(name="small", phase="ready").first().id)
    assert behind.explain() == "ready, but #1, which waits for several of 'furnace', comes first"
    lab.pause("big")
    lab.claim("small")[0].succeed()
    lab.resume("big")
    stand_back()
    clock.advance(59)
    assert lab.claim("small") == []
    clock.advance(1)
    lab.claim("small")[0].succeed()
    stand_back()
    lab.tasks.where(name="big").cancel()
    assert len(lab.claim("small")) == 1


def test_a_task_avoids_workers_and_keeps_limits_and_capacities_at_once(lab):
    """Each claim gives as much as there may be of what is there for its worker, and never more."""
    dice, failed = random.Random(5), {}
    heat = lab.task(
        "heat", limit=3, uses={"furnace": 1}, max_attempts=None, backoff=taskcore.constant(0), avoid_failed_worker=True
    )
    plain = lab.task("plain", limit=1, uses={"arm": 1, "furnace": 1})
    for n in range(30):
        dice.choice([heat, heat, plain]).options(priority=dice.choice([0, 0, 3])).submit(n)
    held, moves = [], 0
    while lab.tasks.where(phase=["ready", "running"]).first() and moves < 1000:
        moves += 1
        worker, asked = dice.choice("xyz"), dice.choice([(), ("heat",), ("plain",)])
        free = 2 - len(held)
        may = [
            task
            for task in sorted(lab.tasks.where(phase="ready"), key=lambda t: (-t.priority, t.id))
            if worker not in failed.get(task.id, ()) and (not asked or task.name in asked)
        ]
        arms = 1 - sum(claim.task.name == "plain" for claim in held)
        wanted = []
        for task in may:
            if len(wanted) < free and (task.name == "heat" or arms > 0):
                arms -= task.name == "plain"
                wanted.append(task.id)
        got = lab.claim(*asked, n=9, worker=worker)
        assert [claim.task.id for claim in got] == wanted
        held += got
        while held and (len(held) == 2 or dice.random() < 0.7):
            claim = held.pop(dice.randrange(len(held)))
            if claim.task.name == "heat" and dice.random() < 0.4 and len(failed.get(claim.task.id, ())) < 2:
                failed.setdefault(claim.task.id, []).append(claim.task.worker)
                claim.fail("no")
            else:
                claim.succeed()
    assert lab.tasks.counts() == {"succeeded": 30} and len(failed) > 5


def test_a_task_that_waits_for_all_holds_up_nobody_who_needs_something_else(lab):
    lab.task("small", uses={"furnace": 1}).submit()
    lab.claim()
    lab.task("big", uses={"furnace": 2}, priority=9).submit()
    for _ in range(8):
        lab.task("other", uses={"arm": 1}).submit()
        (claim,) = lab.claim(n=9)
        assert claim.task.name == "other"
        claim.succeed()


def test_what_can_never_be_served_is_refused_and_nothing_is_stored(lab):
    with pytest.raises(ValueError, match="'heat' uses 3 of 'furnace', and there are 2"):
        lab.task("heat", uses={"furnace": 3}).submit()
    with pytest.raises(ValueError, match="'heat' uses 'laser', which nobody named; there are: 'furnace', 'arm'"):
        lab.task("heat", uses={"laser": 1}).submit()
    with pytest.raises(ValueError, match="laser"), lab.transaction():
        lab.submit("fine")
        lab.task("heat", uses={"laser": 1}).submit()
    assert len(lab.tasks) == 0


def test_a_capacity_that_is_closed_for_now_takes_tasks_that_wait(lab, clock):
    lab.limits["furnace"] = 0
    future = lab.task("heat", uses={"furnace": 2}).submit()
    assert lab.claim() == []
    lab.limits["furnace"] = 2
    assert names(lab.claim()) == ["heat"]
    assert future.snapshot().phase == "running"


def test_run_does_not_wait_for_a_capacity_that_is_closed(path, clock):
    with contextlib.closing(
        Engine(path, executor=InlineExecutor(), clock=clock, limits={"gpu": 0})
    ) as engine:
        done = []
        engine.task(done.append, name="plain").submit(1)
        engine.task(done.append, name="fit", uses={"gpu": 1}).submit(2)
        assert engine.run() == {"succeeded": 1, "ready": 1}
        engine.limits["gpu"] = 1
        assert engine.run() == {"succeeded": 2}
    assert done == [1, 2]


@pytest.mark.parametrize("others", [{}, {"arm": 1}])
def test_of_a_capacity_that_was_taken_away_nothing_runs_whatever_others_there_are(reopened, others):
    lab = reopened(limits={"furnace": 2, **others})
    heat = lab.task("heat", uses={"furnace": 1}).submit()
    del lab.limits["furnace"]
    for engine in (lab, reopened()):
        assert engine.claim() == []
        assert heat.explain() == "ready, but nobody names the capacity 'furnace' now"
    lab.limits["furnace"] = 1
    assert names(lab.claim()) == ["heat"]


def test_a_lowered_limit_is_kept_to_as_tasks_end(lab):
    for n in range(4):
        lab.task("heat", uses={"furnace": 1}).submit(n)
    held = lab.claim(n=9)
    lab.limits["furnace"] = 1
    held[0].succeed()
    assert lab.claim(n=9) == []
    held[1].succeed()
    assert arguments(lab.claim(n=9)) == [2]


def test_the_capacities_are_a_mapping_that_a_new_engine_finds(lab, reopened):
    lab.limits["laser"] = 4
    found = reopened()
    assert dict(found.limits) == {"arm": 1, "furnace": 2, "laser": 4}
    assert (len(found.limits), "arm" in found.limits, found.limits.get("boat")) == (3, True, None)
    with pytest.raises(KeyError):
        found.limits["boat"]
    with pytest.raises(KeyError):
        del found.limits["boat"]
    lab.limits["furnace"] = 5
    assert reopened(limits={"furnace": 2}).limits["furnace"] == 5
    assert reopened(limits={"furnace": 3}).limits["furnace"] == 3


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"limit": -1}, ValueError), ({"limit": 1.5}, TypeError), ({"limit": True}, TypeError),
        ({"rate": "often"}, ValueError), ({"rate": "0/s"}, ValueError), ({"rate": 3}, TypeError),
        ({"rate": "3/0s"}, ValueError), ({"uses": "gpu"}, TypeError), ({"uses": {"gpu": 0}}, ValueError),
        ({"uses": {"gpu": 1.0}}, TypeError), ({"uses": {"": 1}}, ValueError), ({"uses": {"name:f": 1}}, ValueError),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_by_name(engine, options, error):
    (name,) = options
    with pytest.raises(error, match=name):
        engine.task("f", **options)


@pytest.mark.parametrize("option", ["limit", "rate"])
def test_what_is_said_of_a_name_is_not_said_of_one_task(engine, option):
    with pytest.raises(TypeError, match=f"{option} is said of the name"):
        engine.task("f").options(**{option: 1})


@pytest.mark.parametrize("limits", [{"gpu": -1}, {"gpu": None}, {"gpu": 1.0}, {"": 1}, {1: 1}, "gpu"])
def test_bad_limits_open_nothing(new, limits):
    with pytest.raises((TypeError, ValueError)):
        Engine(new, limits=limits)
    assert not new.exists()


# -- rates ----------------------------------------------------------------------------------------------------------


def test_no_more_begin_in_any_period_than_the_rate_says(path):
    clock, begun = ManualClock(1000), []
    with contextlib.closing(Engine(path, executor=InlineExecutor(), clock=clock)) as engine:
        task = engine.task(lambda: begun.append(clock.now()), name="f", rate="3/10s")
        for _ in range(8):
            task.submit()
        engine.run()
    assert begun == [1000] * 3 + [1010] * 3 + [1020] * 2


def test_a_run_waits_for_a_rate_that_gives_way_within_a_minute_and_for_no_other(inline, clock):
    soon = inline.task(lambda: clock.now(), name="soon", rate="1/30s")
    late = inline.task(lambda: clock.now(), name="late", rate="1/h")
    futures = [task.submit() for task in (soon, soon, late, late)]
    assert inline.run() == {"ready": 1, "succeeded": 3}
    assert [future.result() for future in futures[:3]] == [1000, 1030, 1000]
    assert "may start 1 in 60 min" in futures[3].explain()
    clock.advance(3570)
    assert inline.run() == {"succeeded": 4}


def test_a_rate_looks_back_over_every_period_not_over_fixed_ones(engine, clock):
    task = engine.task("f", rate="2/10s")
    for n in range(6):
        task.submit(n)
    assert len(engine.claim("f")) == 1
    clock.advance(9)
    assert len(engine.claim("f", n=9)) == 1
    clock.advance(1)
    assert len(engine.claim("f", n=9)) == 1, "the first is ten seconds ago, the second is not"
    clock.advance(8)
    assert len(engine.claim("f", n=9)) == 0
    clock.advance(1)
    assert len(engine.claim("f", n=9)) == 1


def test_a_rate_holds_over_engines_and_restarts(engine, clock, reopened):
    engine.task("f", rate="2/m")
    for n in range(5):
        engine.submit("f", n)
    other = reopened()
    assert len(engine.claim("f")) + len(other.claim("f", n=9)) == 2
    assert reopened().claim("f", n=9) == []
    clock.advance(60)
    assert len(reopened().claim("f", n=9)) == 2


def test_a_rate_leaves_the_others_alone_and_may_be_taken_away(engine):
    engine.task("f", rate="1/h", priority=9)
    for n in range(3):
        engine.submit("f", n)
        engine.submit("g", n)
    assert names(engine.claim(n=9)) == ["f", "g", "g", "g"]
    engine.task("f", rate=None)
    assert names(engine.claim(n=9)) == ["f", "f"]


def test_a_process_that_read_its_clock_and_waited_for_the_file_starts_nothing_too_soon(path):
    late, clock = ManualClock(999.95), ManualClock(1000)
    with (
        contextlib.closing(Engine(path, workers=0, clock=late)) as one,
        contextlib.closing(Engine(path, workers=0, clock=clock)) as other,
    ):
        for engine in (one, other):
            task = engine.task("f", rate="1/10s")
        for n in range(3):
            task.submit(n)
        assert len(other.claim("f", n=9, lease=900)) == 1
        assert one.claim("f", n=9, lease=900) == []
        clock.advance(9.96)
        assert other.claim("f", n=9, lease=900) == []
        clock.advance(0.05)
        assert len(other.claim("f", n=9, lease=900)) == 1
        late.advance(10)
        assert one.claim("f", n=9, lease=900) == []


def test_a_clock_that_was_set_back_stops_a_rate_for_no_more_than_its_period(engine, clock):
    task = engine.task("f", rate="1/10s")
    task.submit(0)
    task.submit(1)
    assert len(engine.claim("f")) == 1
    clock.set(500)
    assert engine.claim("f") == []
    clock.advance(10)
    assert len(engine.claim("f")) <= 1
    clock.advance(10)
    assert engine.tasks.counts() == {"running": 2}


# -- names on hold --------------------------------------------------------------------------------------------------


def test_of_a_name_on_hold_nothing_is_claimed_in_any_process_and_its_rows_stay(engine, reopened):
    for name in ("a", "b", "a"):
        engine.submit(name)
    other = reopened()
    engine.pause("a")
    assert names(other.claim(n=9)) == ["b"]
    assert engine.tasks.where(name="a").counts() == {"ready": 2}
    other.resume("a")
    assert names(engine.claim(n=9)) == ["a", "a"]


def test_the_whole_file_on_hold_and_a_name_beside_it(engine, reopened):
    engine.submit("a")
    engine.pause()
    engine.pause("a")
    assert engine.claim(n=9) == []
    assert reopened().claim("a") == []
    engine.resume()
    assert engine.claim(n=9) == [], "the name is held still"
    engine.resume("a")
    assert names(engine.claim(n=9)) == ["a"]


@pytest.mark.parametrize("what", ["name", "file", "limit"])
def test_an_idle_engine_begins_nothing_that_another_process_has_just_put_on_hold(path, what):
    with contextlib.closing(Engine(path, workers=2)) as busy, contextlib.closing(Engine(path, workers=0)) as operator:
        task = busy.task(lambda: None, name="f")
        for _ in range(5):
            task.submit().result(timeout=30)
            until(lambda: busy._scheduler.quiet and not busy._scheduler.held, "it idles")  # then one is born claimed
            if what == "limit":
                operator.limits["name:f"] = 0
            else:
                operator.pause(*["f"][: what == "name"])
            future = task.submit()
            assert (future.snapshot().phase, future.snapshot().attempts) == ("ready", 0)
            if what == "limit":
                del operator.limits["name:f"]
            else:
                operator.resume(*["f"][: what == "name"])
            future.result(timeout=30)


def test_an_idle_engine_begins_nothing_as_it_makes_it_where_another_process_has_just_set_a_rate(path):
    with contextlib.closing(Engine(path, workers=2)) as busy, contextlib.closing(Engine(path, workers=0)) as operator:
        task = busy.task(lambda: None, name="f")
        task.submit().result(timeout=30)
        until(lambda: busy._scheduler.quiet and not busy._scheduler.held, "it idles")  # then one is born claimed
        operator.task("f", rate="1000/1h")
        busy._scheduler.adopt = lambda birth: pytest.fail("what it may cost was not counted")
        task.submit().result(timeout=30)


def test_what_runs_is_not_touched_by_a_hold_and_run_does_not_wait_for_it(inline):
    seen = []

    def body(n):
        inline.pause()
        seen.append(n)

    task = inline.task(body, name="f")
    futures = [task.submit(n) for n in range(3)]
    assert inline.run() == {"succeeded": 1, "ready": 2}
    assert (seen, futures[0].result()) == ([0], None)
    inline.resume()
    assert inline.run()["succeeded"] == 2, "it holds the file again"


# -- all of it at once ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_ever_exceeded_and_all_ends_in_a_random_walk(path, seed):
    choose, clock = random.Random(seed), ManualClock(1000)
    with contextlib.closing(Engine(path, workers=0, clock=clock, limits={"x": 3, "y": 2})) as engine:
        uses = {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 3, "y": 1}, "d": {"y": 1}, "e": {}}
        caps = {"a": 2, "e": 3}
        tasks = {name: engine.task(name, uses=need, limit=caps.get(name)) for name, need in uses.items()}
        held, there = [], {"x": 3, "y": 2}
        for step in range(150):
            match choose.randrange(7):
                case 0 | 1:
                    name = choose.choice("abcde")
                    tasks[name].options(priority=choose.randrange(3)).submit(step)
                case 2 | 3:
                    some, n = choose.sample("abcde", choose.randrange(6)), choose.randrange(1, 5)
                    held += engine.claim(*some, n=n, lease=9e9)
                case 4 | 5 if held:
                    claim = held.pop(choose.randrange(len(held)))
                    choose.choice([claim.succeed, claim.release])()
                case _:
                    name = choose.choice("xy")
                    there[name] = choose.randrange(4)
                    engine.limits[name] = there[name]
                    continue  # what runs already may be more than there is now
            running = names(held)
            for name, limit in caps.items():
                assert running.count(name) <= limit, f"seed {seed}, step {step}: {running}"
        engine.limits["x"], engine.limits["y"] = 3, 2
        for _ in range(2000):
            for claim in held:
                claim.succeed()
            held = engine.claim(n=choose.randrange(1, 5), lease=9e9)
            used = {name: sum(uses[task].get(name, 0) for task in names(held)) for name in "xy"}
            assert used["x"] <= 3 and used["y"] <= 2, f"seed {seed}: {used}"
            if not held:
                break
        assert engine.tasks.where(phase="ready").counts() == {}, f"seed {seed}: something is never served"


def test_threads_never_run_more_than_the_limits_allow(path):
    lock, now, peak = threading.Lock(), {"f": 0, "gpu": 0}, {"f": 0, "gpu": 0}

    def count(what, n, stop):
        with lock:
            now[what] += n
            peak[what] = max(peak[what], now[what])
        stop.wait(0.001)
        with lock:
            now[what] -= n

    with contextlib.closing(Engine(path, workers=6, limits={"gpu": 2})) as engine:
        never = threading.Event()
        f = engine.task(lambda: count("f", 1, never), name="f", limit=3)
        one = engine.task(lambda: count("gpu", 1, never), name="one", uses={"gpu": 1})
        two = engine.task(lambda: count("gpu", 2, never), name="two", uses={"gpu": 2})
        futures = []
        for _ in range(40):
            futures += [f.submit(), one.submit(), two.submit(), one.submit()]
        for future in futures:
            future.result(timeout=30)
    assert peak == {"f": 3, "gpu": 2}

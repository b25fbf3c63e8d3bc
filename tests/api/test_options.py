"""Every option of a task: what it does, and what it refuses."""

import contextlib
import datetime
import itertools
import threading

import pytest

import taskcore
from taskcore import (
    Engine,
    KeyConflict,
    TaskFailed,
    TaskNotFound,
    UnknownStatus,
    constant,
    exponential,
    linear,
)
from taskcore.testing import InlineExecutor

PATIENCE = 10  # seconds that a healthy engine never needs
STATUSES = {"good": "succeeded", "bad": "failed", "busy": "running"}


class Fails:
    """A body that fails so many times, and then returns how often it was called."""

    def __init__(self, times, error=ValueError):
        self.times, self.error, self.calls = times, error, 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.times:
            raise self.error(f"failure {self.calls}")
        return self.calls


def started_at(future):
    return [attempt.started_at for attempt in future.history()]


def order(engine):
    """The names of all that ran, in order of their starts."""
    return [task.args[0] for task in sorted(engine.tasks.where(phase="succeeded"), key=lambda task: task.result)]


@pytest.fixture
def engine(clock):
    """As everywhere, but in memory: there are many options."""
    with contextlib.closing(Engine(":memory:", workers=0, clock=clock, statuses=STATUSES)) as engine:
        yield engine


@pytest.fixture
def inline(clock):
    with contextlib.closing(Engine(":memory:", executor=InlineExecutor(), clock=clock, statuses=STATUSES)) as inline:
        yield inline


@pytest.fixture
def ticket(inline):
    """A task whose result is its place in the order of starts."""
    numbers = iter(range(1000))

    @inline.task
    def ticket(label=None):
        return next(numbers)

    return ticket


# -- refusals ------------------------------------------------------------------------------------------------------

NAIVE = datetime.datetime(2030, 1, 1)  # noqa: DTZ001
BAD = [
    ("max_attempts", 0, ValueError),
    ("max_attempts", -1, ValueError),
    ("max_attempts", 1.5, TypeError),
    ("max_attempts", "3", TypeError),
    ("max_attempts", True, TypeError),
    ("backoff", None, TypeError),
    ("backoff", 5, TypeError),
    ("backoff", "exponential", TypeError),
    ("backoff", lambda: 1, TypeError),
    ("backoff", lambda failures, more: 1, TypeError),
    ("retry_on", 5, TypeError),
    ("retry_on", int, TypeError),
    ("retry_on", "ValueError", TypeError),
    ("retry_on", ValueError("one"), TypeError),
    ("retry_on", (ValueError, "KeyError"), TypeError),
    ("retry_on", None, TypeError),
    ("timeout", 0, ValueError),
    ("timeout", -1, ValueError),
    ("timeout", float("nan"), ValueError),
    ("timeout", float("inf"), ValueError),
    ("timeout", "5", TypeError),
    ("timeout", True, TypeError),
    ("timeout", datetime.timedelta(1), TypeError),
    ("max_lapses", -1, ValueError),
    ("max_lapses", None, TypeError),
    ("max_lapses", 1.0, TypeError),
    ("max_lapses", False, TypeError),
    ("priority", 1001, ValueError),
    ("priority", -1001, ValueError),
    ("priority", 1.0, TypeError),
    ("priority", "high", TypeError),
    ("priority", True, TypeError),
    ("priority", None, TypeError),
    ("retry_first", 1, TypeError),
    ("retry_first", None, TypeError),
    ("delay", -0.1, ValueError),
    ("delay", float("nan"), ValueError),
    ("delay", float("inf"), ValueError),
    ("delay", "5", TypeError),
    ("delay", None, TypeError),
    ("delay", datetime.timedelta(1), TypeError),
    ("at", NAIVE, ValueError),
    ("at", 5, TypeError),
    ("at", "tomorrow", TypeError),
    ("at", datetime.date(2030, 1, 1), TypeError),
    ("after", 1.5, TypeError),
    ("after", "1", TypeError),
    ("after", True, TypeError),
    ("after", object(), TypeError),
    ("after", [1, "2"], TypeError),
    ("after", [None], TypeError),
    ("after", {"1": "succeeded"}, TypeError),
    ("after", {1: 5}, TypeError),
    ("after", {1: ("succeeded", "skip", "more")}, TypeError),
    ("after", {1: ("succeeded", "sometimes")}, ValueError),
    ("after", {1: ""}, ValueError),
    ("on", 5, TypeError),
    ("on", None, TypeError),
    ("on", "", ValueError),
    ("otherwise", "sometimes", ValueError),
    ("otherwise", None, ValueError),
    ("otherwise", ["skip"], ValueError),
    ("before", 1.5, TypeError),
    ("before", "1", TypeError),
    ("before", [True], TypeError),
    ("before", [[1]], TypeError),
    ("before", {1: "succeeded"}, TypeError),
    ("key", "", ValueError),
    ("key", 5, TypeError),
    ("key", False, TypeError),
    ("key", b"k", TypeError),
    ("key", "a\0b", ValueError),
    ("key", "\ud800", ValueError),
    ("key_scope", "always", ValueError),
    ("key_scope", 5, ValueError),
    ("failed_status", "", ValueError),
    ("failed_status", 5, TypeError),
    ("failed_status", None, TypeError),
    ("avoid_failed_worker", 1, TypeError),
    ("parent", "1", TypeError),
    ("parent", 1.5, TypeError),
    ("parent", True, TypeError),
    ("parent", [1], TypeError),
    ("tags", "night", TypeError),
    ("tags", 5, TypeError),
    ("tags", None, TypeError),
    ("tags", [5], TypeError),
    ("tags", ["a", ""], ValueError),
    ("tags", ["a\0"], ValueError),
    ("hidden", 1, TypeError),
    ("hidden", "yes", TypeError),
]


@pytest.mark.parametrize("option, value, error", BAD, ids=[f"{option}={value!r}"[:40] for option, value, _ in BAD])
def test_a_bad_value_is_refused_where_it_is_said_and_names_its_option(engine, option, value, error):
    task = engine.task(print, name="fine")
    for said in (task.options, lambda **options: engine.task(print, name="other", **options)):
        with pytest.raises(error, match=option):
            said(**{option: value})
    with pytest.raises(error, match=option):
        engine.task(**{option: value})  # a decorator refuses before there is a function
    assert len(engine.tasks) == 0


@pytest.mark.parametrize("option", ["retries", "Priority", "prioritty", "fn", "args", "", "own_behaviour", "plain"])
def test_an_unknown_option_is_refused(engine, option):
    task = engine.task(print, name="fine")
    for said in (task.options, lambda **options: engine.task(print, name="other", **options)):
        with pytest.raises(TypeError, match=f"{option!r}"):
            said(**{option: 1})


def test_an_options_name_is_not_one_of_options(engine):
    with pytest.raises(TypeError, match="name"):
        engine.task(print, name="fine").options(name="other")


LABELS_THAT_DO_NOT_FIT = [
    {"failed_status": "unheard of"},
    {"failed_status": "good"},
    {"failed_status": "busy"},
    {"failed_status": "succeeded"},
    {"failed_status": "cancelled"},
    {"after": "upstream", "on": "unheard of"},
    {"after": {"upstream": "unheard of"}},
]


@pytest.mark.parametrize("options", LABELS_THAT_DO_NOT_FIT, ids=repr)
@pytest.mark.parametrize("bulk", [False, True])
def test_a_label_that_does_not_fit_is_refused_at_submit_with_nothing_stored(engine, options, bulk):
    upstream = engine.submit("upstream")
    if isinstance(options.get("after"), dict):
        options = {"after": {upstream: "unheard of"}}
    elif "after" in options:
        options = {**options, "after": upstream}
    task = engine.task("fine").options(**options)
    with pytest.raises(UnknownStatus, match=next(reversed(options.values())) if "after" not in options else "unheard"):
        if bulk:
            with engine.transaction():
                engine.submit("goes too")
                task.submit()
        else:
            task.submit()
    assert [task.name for task in engine.tasks] == ["upstream"]


@pytest.mark.parametrize("option", ["after", "before"])
@pytest.mark.parametrize("value", ["1", ["1"]])
def test_what_takes_several_tasks_says_so_of_whatever_is_none(engine, option, value):
    with pytest.raises(TypeError, match=f"^each of {option} is a task's handle or id, not '1'$"):
        engine.task("t", **{option: value})


@pytest.mark.parametrize("option", ["after", "before", "parent"])
def test_a_task_that_is_not_there_is_refused_at_submit_with_nothing_stored(engine, option):
    task = engine.task("fine").options(**{option: 99})
    with pytest.raises(TaskNotFound, match="#99"):
        task.submit()
    with pytest.raises(TaskNotFound, match="#99"), engine.transaction():
        task.submit()
    assert len(engine.tasks) == 0


def test_a_task_of_another_file_is_refused(engine, tmp_path):
    with contextlib.closing(Engine(tmp_path / "other.db", workers=0)) as other:
        theirs = other.submit("elsewhere")
        engine.submit("elsewhere")
        for option in ("after", "before", "parent"):
            with pytest.raises(ValueError, match=r"other\.db"):
                engine.task("fine").options(**{option: theirs}).submit()
        with pytest.raises(ValueError, match=r"other\.db"):
            engine.submit("fine", [theirs])
        assert len(engine.tasks) == 1


# -- options() -----------------------------------------------------------------------------------------------------


def test_options_give_a_copy_and_never_change_the_original(engine):
    task = engine.task(print, name="f", tags=["a"], priority=1)
    other = task.options(priority=5, tags=["b"], key="k", max_attempts=7, delay=9)
    again = other.options(priority=6)
    tasks = [one.submit().snapshot() for one in (task, other, again)]
    assert [(t.priority, t.tags, t.key, t.max_attempts, t.phase) for t in (tasks[0], tasks[1])] == [
        (1, ("a",), None, 1, "ready"),
        (5, ("b",), "k", 7, "scheduled"),
    ]
    assert tasks[2].id == tasks[1].id  # the key went along
    assert task.options() is not task
    assert (other.name, again.name, other.__wrapped__) == ("f", "f", print)


def test_a_list_that_changes_later_does_not_change_the_options(engine):
    upstream, tags = [engine.submit("elsewhere")], ["a"]
    task = engine.task("f").options(after=upstream, tags=tags)
    upstream.append(engine.submit("elsewhere"))
    tags.append("b")
    future = task.submit()
    assert len(future.dependencies()) == 1
    assert future.snapshot().tags == ("a",)


def test_a_generator_of_upstreams_counts_for_every_submit(engine):
    upstreams = [engine.submit("elsewhere") for _ in range(2)]
    task = engine.task("f").options(after=(future for future in upstreams), before=iter(()))
    assert [len(task.submit().dependencies()) for _ in range(2)] == [2, 2]


def test_options_never_travel_in_the_arguments(inline):
    task = inline.task(lambda **kwargs: kwargs, name="f")
    assert task.options(priority=5).submit(priority=1, tags=2, timeout=3).result() == {
        "priority": 1, "tags": 2, "timeout": 3,
    }  # fmt: skip
    assert inline.tasks.first().priority == 5


def test_a_task_function_can_still_be_called(engine):
    @engine.task(max_attempts=3)
    def area(width, height=2):
        """How much."""
        return width * height

    assert area(3) == 6
    assert area.options(priority=5)(3, height=3) == 9
    assert (area.name, area.__name__, area.__doc__) == ("area", "area", "How much.")
    assert len(engine.tasks) == 0
    with pytest.raises(TypeError, match="elsewhere"):
        engine.task("heat furnace")(3)


def test_options_are_stored_with_the_task_at_submit(path, clock):
    with contextlib.closing(Engine(path, workers=0)) as engine:
        engine.task(print, name="f", max_attempts=2).options(priority=3).submit()
    with contextlib.closing(Engine(path, clock=clock, executor=InlineExecutor())) as engine:
        body = Fails(9)
        engine.task(body, name="f", max_attempts=9, backoff=constant(1))
        engine.run()
        assert body.calls == 2
        assert engine.tasks.first().max_attempts == 2


def test_functions_and_exception_classes_come_from_the_newest_definition(inline):
    body = Fails(9, KeyError)
    inline.task(body, name="f", max_attempts=4, backoff=constant(1), retry_on=OSError)
    future = inline.submit("f")
    inline.task(body, name="f", backoff=constant(7), retry_on=(KeyError,))
    inline.run()
    assert started_at(future) == [1000, 1007, 1014, 1021]


def test_functions_given_to_options_hold_for_these_tasks_alone(inline):
    body = Fails(99, KeyError)
    task = inline.task(body, name="f", max_attempts=3, backoff=constant(1))
    slow = task.options(backoff=constant(20)).submit()
    picky = task.options(retry_on=OSError).submit()
    plain = task.submit()
    inline.run()
    assert started_at(slow) == [1000, 1020, 1040]
    assert started_at(picky) == [1000]
    assert started_at(plain) == [1000, 1001, 1002]


def test_the_newest_function_of_a_name_runs_tasks_with_options_of_their_own_too(inline):
    old = inline.task(lambda: "old", name="f")
    future = old.options(backoff=constant(5)).submit()
    inline.task(lambda: "new", name="f")
    assert future.result() == "new"
    assert old.options(backoff=constant(5)).submit().result() == "new"


# -- attempts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_a_task_runs_as_often_as_max_attempts_allows(inline, attempts):
    body = Fails(99)
    future = inline.task(body, name="f", max_attempts=attempts, backoff=constant(0)).submit()
    inline.run()
    task = future.snapshot()
    assert (body.calls, task.phase, task.attempts, task.failures) == (attempts, "failed", attempts, attempts)
    assert task.last_error == f"ValueError: failure {attempts}"


def test_a_task_without_a_limit_of_attempts_goes_on_until_it_succeeds(inline):
    future = inline.task(Fails(40), name="f", max_attempts=None, backoff=constant(0)).submit()
    assert future.result() == 41
    task = future.snapshot()
    assert (task.max_attempts, task.attempts, task.failures, task.last_error) == (None, 41, 40, None)


def test_without_options_a_task_runs_once(inline):
    body = Fails(99)
    inline.task(body, name="f").submit()
    assert inline.run() == {"failed": 1}
    assert body.calls == 1


@pytest.mark.parametrize(
    "backoff, delays",
    [
        (linear(5), [5, 10, 15]),
        (constant(7), [7, 7, 7]),
        (exponential(2, factor=3, jitter=False), [2, 6, 18]),
        (lambda failures: failures * failures, [1, 4, 9]),
        (constant(0), [0, 0, 0]),
    ],
)
def test_the_backoff_is_the_time_between_attempts(inline, backoff, delays):
    future = inline.task(Fails(3), name="f", max_attempts=4, backoff=backoff).submit()
    assert future.result() == 4
    starts = started_at(future)
    assert [later - earlier for earlier, later in itertools.pairwise(starts)] == delays


def test_a_waiting_retry_tells_when_and_why(inline):
    future = inline.task(Fails(1), name="f", max_attempts=2, backoff=constant(300)).submit()
    inline.run()
    task = future.snapshot()
    assert (task.phase, task.waiting_for, task.greenfield, task.worker) == ("scheduled", "backoff", 1300, None)
    assert task.last_error == "ValueError: failure 1"


def test_the_default_backoff_doubles_from_a_second_with_jitter(inline):
    future = inline.task(Fails(4), name="f", max_attempts=5).submit()
    inline.run()
    starts = started_at(future)
    for earlier, later, longest in zip(starts, starts[1:], [1, 2, 4, 8], strict=False):
        assert longest / 2 <= later - earlier <= longest


@pytest.mark.parametrize(
    "backoff", [lambda _: -5, lambda _: None, lambda _: float("nan"), lambda n: 1 / (n - n)], ids=range(4)
)
def test_a_backoff_that_makes_no_sense_counts_as_the_default(inline, backoff):
    future = inline.task(Fails(1), name="f", max_attempts=2, backoff=backoff).submit()
    assert future.result() == 2
    first, second = started_at(future)
    assert 0.5 <= second - first <= 1


@pytest.mark.parametrize(
    "retry_on, error, calls",
    [
        ((OSError, KeyError), KeyError, 3),
        ((OSError, KeyError), FileNotFoundError, 3),
        ((OSError, KeyError), ValueError, 1),
        (LookupError, IndexError, 3),
        ((), ValueError, 1),
        ({ValueError}, ValueError, 3),
        (BaseException, SystemExit, 3),
        (Exception, SystemExit, 1),
    ],
)
def test_only_what_retry_on_names_is_tried_again(inline, retry_on, error, calls):
    body = Fails(99, error)
    inline.task(body, name="f", max_attempts=3, backoff=constant(0), retry_on=retry_on).submit()
    assert inline.run() == {"failed": 1}
    assert body.calls == calls


@pytest.mark.parametrize("first, expected", [(True, "xxyz"), (False, "xyzx")])
def test_a_retried_task_goes_ahead_of_its_equals_only_if_it_is_to(inline, clock, first, expected):
    calls = []

    def body(label):
        calls.append(label)
        if calls == ["x"]:
            raise ValueError

    task = inline.task(body, name="f", max_attempts=2, backoff=constant(100), retry_first=first)
    for label in "yz":
        task.options(delay=100).submit(label)
    task.submit("x")
    inline.run()
    clock.advance(100)
    inline.run()
    assert "".join(calls) == expected


def test_the_failed_status_is_the_label_of_the_last_failure_only(inline):
    body = Fails(2)
    future = inline.task(body, name="f", max_attempts=2, backoff=constant(100), failed_status="bad").submit()
    assert inline.run() == {"scheduled": 1}
    inline._clock.advance(100)
    assert inline.run() == {"bad": 1}
    task = future.snapshot()
    assert (task.phase, task.status) == ("failed", "bad")
    assert isinstance(future.exception(), ValueError)
    assert future.rerun().result() == 3
    assert future.snapshot().status == "succeeded"


def test_the_failed_status_is_told_by_task_failed(path, clock):
    statuses = {"no host": "failed"}
    with contextlib.closing(Engine(path, clock=clock, executor=InlineExecutor(), statuses=statuses)) as engine:
        engine.task(Fails(1), name="f", failed_status="no host").submit()
        engine.run()
    with contextlib.closing(Engine(path, workers=0)) as engine, pytest.raises(TaskFailed, match="no host") as caught:
        engine.future(1).result()
    assert caught.value.status == "no host"


# -- time limits ---------------------------------------------------------------------------------------------------


def test_a_body_that_ran_too_long_has_failed_whatever_it_returns(inline, clock):
    @inline.task(timeout=5, max_attempts=2, backoff=constant(1))
    def slow():
        clock.advance(6)
        return "too late"

    future = slow.submit()
    assert inline.run() == {"failed": 1}
    with pytest.raises(TaskFailed, match="5 s") as caught:
        future.result()
    assert (caught.value.error_type, caught.value.attempts) == ("TimeoutError", 2)
    assert [attempt.outcome for attempt in future.history()] == ["failed", "failed"]


def test_a_body_within_its_time_limit_is_not_disturbed(inline, clock):
    @inline.task(timeout=5)
    def quick():
        clock.advance(4.9)
        taskcore.current().check()
        return "in time"

    assert quick.submit().result() == "in time"


def test_a_body_sees_that_its_time_is_up(inline, clock):
    seen = []

    @inline.task(timeout=5)
    def body():
        seen.append(taskcore.current().cancelled)
        clock.advance(5)
        seen.append(taskcore.current().cancelled)
        taskcore.current().check()

    future = body.submit()
    assert inline.run() == {"failed": 1}
    assert seen == [False, True]
    assert future.snapshot().last_error.startswith("TimeoutError")


def test_the_slot_of_a_body_that_never_returns_is_given_to_others(path, clock):
    with contextlib.closing(Engine(path, workers=1, clock=clock)) as engine:
        inside, go, left = threading.Event(), threading.Event(), threading.Event()

        @engine.task(timeout=5)
        def deaf():
            inside.set()
            go.wait(PATIENCE)
            left.set()
            return "too late"

        future = deaf.submit()
        other = engine.task(lambda: "ran", name="other").submit()
        assert inside.wait(PATIENCE)
        clock.advance(5)
        with pytest.raises(TaskFailed, match="5 s"):
            future.result(PATIENCE)
        assert other.result(PATIENCE) == "ran"
        assert not left.is_set()
        before = future.snapshot()
        go.set()
        assert left.wait(PATIENCE)
        assert engine.task(lambda: "ran", name="another").submit().result(PATIENCE) == "ran"
        assert future.snapshot() == before


# -- lapses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options, claims", [({}, 4), ({"max_lapses": 1}, 2), ({"max_lapses": 0}, 1)])
def test_a_task_is_lost_when_it_lapses_once_more_than_it_may(engine, clock, options, claims):
    future = engine.task("robot").options(max_attempts=1, **options).submit()
    for lapses in range(claims):
        assert [claim.task.lapses for claim in engine.claim("robot", lease=10)] == [lapses]
        clock.advance(10)
    assert engine.claim("robot") == []
    task = future.snapshot()
    assert (task.phase, task.lapses, task.attempts, task.failures) == ("failed", claims, claims, 0)
    with pytest.raises(TaskFailed, match="lost"):
        future.result()


# -- order ---------------------------------------------------------------------------------------------------------


def test_higher_priority_goes_first_and_equals_in_order_of_submission(inline, ticket):
    with inline.transaction():
        for label, priority in [("a", 0), ("b", -1000), ("c", 1000), ("d", 0), ("e", 5), ("f", 1000)]:
            ticket.options(priority=priority).submit(label)
    inline.run()
    assert order(inline) == ["c", "f", "e", "a", "d", "b"]


def test_a_delay_counts_from_the_submit(inline, clock):
    future = inline.task(lambda: None, name="f").options(delay=30).submit()
    task = future.snapshot()
    assert (task.phase, task.waiting_for, task.greenfield) == ("scheduled", "delay", 1030)
    inline.run()
    clock.advance(29.9)
    assert inline.run() == {"scheduled": 1}
    clock.advance(0.1)
    assert inline.run() == {"succeeded": 1}
    assert future.snapshot().started_at == 1030


@pytest.mark.parametrize("hours", [0, 2, -7])
def test_at_is_a_moment_in_any_time_zone(inline, clock, hours):
    zone = datetime.timezone(datetime.timedelta(hours=hours))
    future = inline.task(lambda: None, name="f").options(at=datetime.datetime.fromtimestamp(1030, zone)).submit()
    assert future.snapshot().greenfield == 1030
    clock.advance(30)
    assert inline.run() == {"succeeded": 1}


def test_a_moment_that_has_passed_is_now(engine):
    at = datetime.datetime.fromtimestamp(500, datetime.UTC)
    assert engine.task("f").options(at=at).submit().snapshot().phase == "ready"


def test_a_delay_runs_while_dependencies_are_waited_for(inline, clock):
    upstream = inline.submit("elsewhere")
    task = inline.task(lambda: None, name="f")
    early, late = task.options(delay=10, after=upstream).submit(), task.options(delay=90, after=upstream).submit()
    clock.advance(20)
    inline.claim("elsewhere")[0].succeed()
    assert [future.snapshot().phase for future in (early, late)] == ["ready", "scheduled"]


# -- dependencies --------------------------------------------------------------------------------------------------


def test_after_takes_a_handle_an_id_a_row_or_several(inline, ticket):
    one, two = ticket.submit("one"), ticket.submit("two")
    forms = [one, one.id, one.snapshot(), [one], (one, two.id), {one, two}, {one: "succeeded"}, inline.tasks]
    counts = [len(ticket.options(after=form, hidden=True).submit().dependencies()) for form in forms[:-1]]
    assert counts == [1, 1, 1, 1, 2, 2, 1]
    assert len(ticket.options(after=inline.tasks.where(hidden=False)).submit().dependencies()) == 2


def test_a_task_starts_when_all_it_needs_has_succeeded(engine):
    needs = [engine.submit("need") for _ in range(3)]
    future = engine.task("f").options(after=needs).submit()
    for claim in engine.claim("need", n=3):
        assert future.snapshot().phase == "waiting"
        assert engine.claim("f") == []
        claim.succeed()
    assert future.snapshot().phase == "ready"


@pytest.mark.parametrize(
    "on, met_when",
    [
        ("succeeded", {"succeeded", "good"}),
        ("failed", {"failed", "bad"}),
        ("good", {"good"}),
        ("bad", {"bad"}),
        ("cancelled", {"cancelled"}),
        ("finished", {"succeeded", "good", "failed", "bad", "cancelled"}),
    ],
)
@pytest.mark.parametrize("end", ["succeeded", "good", "failed", "bad", "cancelled"])
def test_on_says_which_end_of_the_upstream_is_wanted(engine, on, met_when, end):
    upstream = engine.submit("up")
    future = engine.task("f").options(after=upstream, on=on).submit()
    if end == "cancelled":
        upstream.cancel()
    else:
        engine.claim("up")[0].succeed("x", status=end)
    assert future.snapshot().phase == ("ready" if end in met_when else "skipped")


def test_a_task_may_wait_for_another_to_run_or_not_to_have_begun(engine):
    upstream = engine.submit("up")
    running = engine.task("f").options(after=upstream, on="running").submit()
    pending = engine.task("f").options(after=upstream, on="pending").submit()
    assert [f.snapshot().phase for f in (running, pending)] == ["waiting", "ready"]
    engine.claim("up")
    assert [f.snapshot().phase for f in (running, pending)] == ["ready", "waiting"]


@pytest.mark.parametrize("otherwise, phase", [("skip", "skipped"), ("wait", "waiting"), ("drop", "ready")])
def test_otherwise_decides_when_what_is_wanted_did_not_come(engine, otherwise, phase):
    upstream = engine.submit("up")
    future = engine.task("f").options(after=upstream, otherwise=otherwise).submit()
    by_edge = engine.task("f").options(after={upstream: ("succeeded", otherwise)}).submit()
    upstream.cancel()
    assert (future.snapshot().phase, by_edge.snapshot().phase) == (phase, phase)


def test_on_and_otherwise_hold_for_handles_among_the_arguments_too(inline):
    good = inline.task(lambda: 1, name="good").submit()
    bad = inline.task(Fails(1), name="bad").submit()
    task = inline.task(lambda *args, **kwargs: [list(args), kwargs], name="f").options(otherwise="drop")
    assert task.submit(good, bad, [good, bad, 3], (bad,), k={"x": bad, "y": good}).result() == [
        [1, None, [1, 3], (None,)],
        {"k": {"x": None, "y": 1}},
    ]
    assert task.options(on="finished").submit(bad, [bad]).result() == [[None, [None]], {}]


def test_an_edge_of_its_own_wins_over_the_default(engine):
    one, two = engine.submit("up"), engine.submit("up")
    task = engine.task("f").options(after={one: "finished"}, on="failed", otherwise="drop")
    edges = task.submit(one, two).dependencies()
    assert [(edge.upstream_id, edge.on, edge.otherwise) for edge in edges] == [
        (one.id, "finished", "drop"),
        (two.id, "failed", "drop"),
    ]


def test_before_holds_back_tasks_that_are_there_already(engine):
    later = engine.submit("later")
    first = engine.task("first").options(before=[later, later.id]).submit()
    assert later.snapshot().phase == "waiting"
    assert engine.claim("later") == []
    engine.claim("first")[0].succeed()
    assert later.snapshot().phase == "ready"
    assert [edge.upstream_id for edge in later.dependencies()] == [first.id]


def test_before_a_task_that_has_begun_is_refused_with_nothing_stored(engine):
    begun = engine.submit("later")
    engine.claim("later")
    with pytest.raises(taskcore.InvalidTransition, match="running"):
        engine.task("first").options(before=begun).submit()
    assert len(engine.tasks) == 1


# -- keys ----------------------------------------------------------------------------------------------------------


def test_a_key_makes_a_task_that_there_is_at_most_once(inline):
    calls = []
    task = inline.task(lambda x: calls.append(x), name="f").options(key="one")
    first = task.submit(1)
    assert task.submit(1).id == first.id
    inline.run()
    assert task.submit(1).id == first.id
    assert inline.run() == {"succeeded": 1}
    assert calls == [1]
    assert first.snapshot().key == "one"


def test_a_key_belongs_to_its_name(engine):
    ids = {engine.task(name).options(key="k").submit().id for name in ("a", "b", "a")}
    assert len(ids) == 2


def test_a_key_with_other_arguments_is_a_conflict_and_stores_nothing(engine):
    task = engine.task("f").options(key="k")
    first = task.submit(1, x=2)
    for args, kwargs in [((2,), {"x": 2}), ((1,), {"x": 3}), ((1.0,), {"x": 2}), ((), {}), ((1,), {"x": 2, "y": 1})]:
        with pytest.raises(KeyConflict, match="'k'") as caught:
            task.submit(*args, **kwargs)
        assert (caught.value.name, caught.value.key, caught.value.task_id) == ("f", "k", first.id)
    with pytest.raises(KeyConflict), engine.transaction():
        task.submit(2)
    assert len(engine.tasks) == 1


def test_equal_arguments_are_the_same_in_whatever_order_their_dicts_were_made(engine):
    for key in ("k", True):
        task = engine.task(f"f {key}").options(key=key)
        first = task.submit({"a": 1, "b": {2, 3}}, x=1, y=2)
        assert task.submit({"b": {3, 2}, "a": 1}, y=2, x=1).id == first.id


def test_a_key_of_true_is_made_from_the_arguments(engine):
    task = engine.task("f").options(key=True)
    upstream, other = engine.submit("up"), engine.submit("up")
    calls = [((1,), {}), ((2,), {}), ((1,), {"x": 1}), ((True,), {}), ((), {}), ((upstream,), {}), ((other,), {})]
    ids = [task.submit(*args, **kwargs).id for args, kwargs in calls]
    assert len(set(ids)) == len(calls)
    assert [task.submit(*args, **kwargs).id for args, kwargs in calls] == ids


def test_a_key_outlives_the_process(path):
    ids = set()
    for _ in range(2):
        with contextlib.closing(Engine(path, workers=0)) as engine:
            ids.add(engine.task("f").options(key=True).submit("survey", [1, 2]).id)
    assert len(ids) == 1


def test_a_key_of_unfinished_scope_is_free_once_its_task_has_ended(engine):
    task = engine.task("f").options(key="k", key_scope="unfinished")
    first = task.submit(1)
    assert task.submit(1).id == first.id
    with pytest.raises(KeyConflict):
        task.submit(2)
    engine.claim("f")[0].succeed()
    second = task.submit(2)
    assert second.id != first.id
    assert engine.tasks.where(key="k").counts() == {"succeeded": 1, "ready": 1}


ENDS_WITHOUT_SUCCESS = {
    "failed": lambda engine, task: engine.claim("f")[0].fail("bug", retry=False),
    "cancelled": lambda engine, task: task.cancel(),
    "lost": lambda engine, task: (engine.claim("f", lease=1), engine._clock.advance(2), engine.claim("g")),
}


@pytest.mark.parametrize("way", ENDS_WITHOUT_SUCCESS)
@pytest.mark.parametrize("inside", [False, True])
def test_a_key_of_succeeded_scope_runs_again_what_did_not_succeed_and_nothing_else(engine, way, inside):
    task = engine.task("f", max_lapses=0).options(key="k", key_scope="succeeded")
    first = task.submit({"a": 1, "b": 2})
    assert task.submit({"a": 1, "b": 2}).id == first.id
    ENDS_WITHOUT_SUCCESS[way](engine, first)
    first.exception(0) if way != "cancelled" else first.cancelled()
    with engine.transaction() if inside else contextlib.nullcontext():
        again = task.submit({"b": 2, "a": 1})
        assert task.submit({"a": 1, "b": 2}).id == again.id == first.id
    assert (again.snapshot().phase, first.done(), again.done()) == ("ready", True, False)
    engine.claim("f")[0].succeed(5)
    assert task.submit({"a": 1, "b": 2}).result() == 5
    assert engine.tasks.counts() == {"succeeded": 1}
    with pytest.raises(KeyConflict):
        task.submit(2)


def test_a_rerun_by_key_goes_by_what_is_said_of_it_now(engine):
    task = engine.task("f", max_attempts=1).options(key="k", key_scope="succeeded")
    first = task.submit({"a": 1, "b": 2})
    engine.claim("f")[0].fail("bug")
    assert first.snapshot().phase == "failed"
    again = task.options(max_attempts=5, priority=7, tags=["new"]).submit({"b": 2, "a": 1})
    assert (again.id, again.snapshot().phase) == (first.id, "ready")
    assert (again.snapshot().max_attempts, again.snapshot().priority, again.snapshot().tags) == (5, 7, ("new",))


def test_a_scope_without_a_key_is_refused(engine):
    with pytest.raises(ValueError, match=r"key_scope='succeeded' says what a key stands for: give a key, or key=True"):
        engine.task("f").options(key_scope="succeeded").submit(1)
    assert len(engine.tasks) == 0


def test_a_script_with_keys_of_succeeded_scope_adds_nothing_when_it_is_run_again_and_mends_what_failed(path):
    def script(broken):
        with Engine(path, workers=2) as engine:

            @engine.task(key=True, key_scope="succeeded")
            def fetch(n):
                if n == broken:
                    raise ValueError("a bug")
                return n

            @engine.task(key=True, key_scope="succeeded")
            def total(numbers):
                return sum(numbers)

            answer = total.submit([fetch.submit(n) for n in range(3)])
            engine.run()
            return answer.exception() and str(answer.exception()), dict(engine.tasks.counts())

    assert script(1)[1] == {"failed": 1, "skipped": 1, "succeeded": 2}
    assert script(None) == script(None) == (None, {"succeeded": 4})


def test_a_key_holds_inside_the_transaction_that_makes_it(engine):
    task = engine.task("f").options(key="k")
    with engine.transaction():
        ids = {task.submit(1).id for _ in range(3)}
        with pytest.raises(KeyConflict):
            task.submit(2)
    assert len(ids) == 1
    assert len(engine.tasks) == 1


# -- workers -------------------------------------------------------------------------------------------------------


def test_a_worker_it_failed_on_does_not_get_it_again_if_it_is_to_be_avoided(engine):
    task = engine.task("f").options(max_attempts=None, backoff=constant(0), avoid_failed_worker=True)
    future, other = task.submit(), engine.submit("g")
    (claim,) = engine.claim("f", worker="X")
    claim.fail("broken lens")
    assert future.snapshot().phase == "ready"
    assert engine.claim("f", worker="X") == []
    assert [claim.task.id for claim in engine.claim(n=5, worker="X")] == [other.id]
    (claim,) = engine.claim("f", worker="Y")
    claim.release()
    (claim,) = engine.claim("f", worker="Y")
    claim.succeed()
    assert future.snapshot().worker == "Y"


def test_without_that_option_it_may_come_back_to_the_same_worker(engine):
    engine.task("f").options(max_attempts=2, backoff=constant(0)).submit()
    engine.claim("f", worker="X")[0].fail("broken lens")
    assert len(engine.claim("f", worker="X")) == 1


def test_functions_of_a_name_that_is_worked_on_elsewhere_hold_where_the_report_is_made(engine, clock):
    task = engine.task("robot", max_attempts=5, backoff=linear(300), retry_on=(OSError,))
    future = task.submit()
    engine.claim("robot")[0].fail(OSError("jammed"))
    assert future.snapshot().greenfield == 1300
    clock.advance(300)
    engine.claim("robot")[0].fail("jammed again")
    assert future.snapshot().greenfield == 1900
    clock.advance(600)
    engine.claim("robot")[0].fail(ValueError("no such sample"))
    assert future.snapshot().phase == "failed"


# -- finding them --------------------------------------------------------------------------------------------------


def test_a_parent_is_given_by_handle_or_id_and_is_the_running_task_inside_a_body(inline):
    parent = inline.submit("elsewhere")
    task = inline.task(lambda: None, name="child")

    @inline.task
    def makes_children():
        with_default, of_its_own = task.submit(), task.options(parent=parent).submit()
        with inline.transaction():
            third = task.submit()
        return [with_default.id, of_its_own.id, third.id]

    future = makes_children.submit()
    first, second, third = future.result()
    assert [inline.future(n).snapshot().parent_id for n in (first, second, third)] == [future.id, parent.id, future.id]
    assert task.options(parent=parent.id).submit().snapshot().parent_id == parent.id
    assert task.submit().snapshot().parent_id is None


def test_tags_keep_their_order_and_come_once(engine):
    future = engine.task("f").options(tags=["night 12", "R", "night 12", "ünï"]).submit()
    assert future.snapshot().tags == ("night 12", "R", "ünï")
    assert engine.task("f").options(tags=()).submit().snapshot().tags == ()
    assert [task.id for task in engine.tasks.where(tag="R")] == [future.id]


def test_hidden_tasks_are_tasks_like_others(inline):
    future = inline.task(lambda: 7, name="f", hidden=True).submit()
    assert future.result() == 7
    assert future.snapshot().hidden
    assert len(inline.tasks) == 1


# -- durations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["delay", "timeout"])
def test_a_duration_that_is_no_number_is_refused_with_the_way(engine, option):
    with pytest.raises(TypeError, match=f"{option} is a number of seconds, not '5s'"):
        engine.task("f").options(**{option: "5s"})
    with pytest.raises(TypeError, match=rf"{option} is a number of seconds, not .*: say .total_seconds\(\)"):
        engine.task("f").options(**{option: datetime.timedelta(minutes=1)})


def test_a_time_without_a_zone_is_refused_with_the_way(engine):
    with pytest.raises(ValueError, match=r"has none: say .astimezone\(\) for local time"):
        engine.task("f").options(at=datetime.datetime(2030, 1, 1))  # noqa: DTZ001 - that is the point
    with pytest.raises(TypeError, match="for a time from now on there is delay"):
        engine.task("f").options(at=datetime.timedelta(hours=1))

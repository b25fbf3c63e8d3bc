"""Submitting: what is in the file afterwards, and that nothing is when it was refused."""

import collections
import contextlib
import datetime
import enum
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest

from taskcore import Engine, Handle, TaskNotFound
from taskcore.testing import InlineExecutor

PATIENCE = 10  # seconds that a healthy engine never needs


class Colour(enum.Enum):
    RED = 1


def take(*args, **kwargs):
    return [list(args), kwargs]


def expose(image, exposure, *filters, gain=1):
    """Has parameters with names."""


# -- what is stored ------------------------------------------------------------------------------------------------


def test_a_task_is_in_the_file_when_submit_returns(engine, raw):
    future = engine.task("heat").options(priority=3, tags=["a", "b"], key="k").submit(900)
    (row,) = raw("SELECT * FROM taskcore_task")
    assert (row["id"], row["phase"], row["priority"], row["key"]) == (future.id, "ready", 3, "k")
    assert row["args"] == "[[900],{}]"
    assert row["submitted_at"] == 1000
    assert [tag["tag"] for tag in raw("SELECT tag FROM taskcore_tag ORDER BY position")] == ["a", "b"]


def test_ids_are_given_in_order_of_submission_and_never_twice(path, clock):
    with contextlib.closing(Engine(path, clock=clock, executor=InlineExecutor())) as engine:
        ids = [engine.submit(take).id for _ in range(5)]
        assert ids == sorted(set(ids))
        engine.run()
        assert engine.tasks.where(ids=ids[2:]).delete() == 3
        ids.append(engine.submit(take).id)
    with contextlib.closing(Engine(path, workers=0)) as engine:
        engine.tasks.cancel()
        engine.tasks.delete()
        assert len(engine.tasks) == 0
    with contextlib.closing(Engine(path, workers=0)) as engine:
        ids.append(engine.submit("elsewhere").id)
        with engine.transaction():
            ids.append(engine.submit("elsewhere").id)
    assert ids == sorted(set(ids))


VALUES: list = [
    None, True, 0, -1, 10**40, 1.5, float("inf"), "", "ünï\u2028", b"\x00\xff", (), (1, (2,)), [], [[]], {},
    {"a": None}, {1: "one", (2, 3): "two"}, {"$tuple": [1]}, set(), {1, "a"}, frozenset({(1, 2)}), Decimal("1.10"),
    Path("a/b"), datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC), datetime.timedelta(days=-1, microseconds=1),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_an_argument_comes_back_as_it_went_in_types_included(inline, value):
    seen = []
    future = inline.task(lambda *args, **kwargs: seen.append((args, kwargs)), name="f").submit(value, [value], k=value)
    inline.run()
    (args, kwargs), task = seen[0], future.snapshot()
    for found in (*args[:1], *args[1], kwargs["k"], task.args[0], task.kwargs["k"]):
        assert type(found) is type(value)
        assert found == value


def test_a_task_gets_its_arguments_as_they_were_at_submit(inline):
    numbers = [1, 2]
    future = inline.submit(take, numbers)
    numbers.append(3)
    assert future.result() == [[[1, 2]], {}]


def test_what_one_body_changes_in_its_arguments_no_other_run_sees(inline):
    def greedy(items):
        items.append(len(items))
        return items

    future = inline.task(greedy).submit([])
    assert future.result() == [0]
    assert future.rerun().result() == [0]


def test_long_arguments_and_results_come_back(inline):
    text = "ä" * 300_000
    assert inline.submit(take, text, [text]).result() == [[text, [text]], {}]


@pytest.mark.parametrize(
    "args, kwargs, words",
    [
        ((object(), 1), {}, r"argument 1 \(image\).*object"),
        ((1, print), {}, r"argument 2 \(exposure\).*builtin"),
        ((1, 2, "R", threading.Lock()), {}, r"argument 4 .*lock"),
        ((1, 2), {"gain": Colour.RED}, r"argument 'gain'.*Colour.*\.value"),
        ((1, [1, {"deep": (0, lambda: 1)}]), {}, r"argument 2 \(exposure\).*\[1\]\['deep'\]\[1\].*function"),
        (({1, Colour.RED}, 2), {}, r"argument 1 \(image\).*Colour"),
        (({Colour.RED: 1}, 2), {}, r"argument 1 \(image\).*keys"),
        (([1, 2, collections.OrderedDict()], 2), {}, r"argument 1 \(image\).*dict"),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_what_cannot_be_stored_is_refused_by_name_with_nothing_stored(engine, args, kwargs, words, known):
    task = engine.task(expose) if known else engine.task("expose")
    if not known:
        words = words.replace(r" \(image\)", "").replace(r" \(exposure\)", "")
    with pytest.raises(TypeError, match=f"(?s){words}"):
        task.submit(*args, **kwargs)
    with pytest.raises(TypeError, match="'expose'"), engine.transaction():
        engine.submit("goes too")
        task.submit(*args, **kwargs)
    assert len(engine.tasks) == 0


def test_an_argument_that_contains_itself_is_refused(engine):
    ring = [1]
    ring.append(ring)
    upstream = engine.submit("up")
    for args in [(ring,), (upstream, ring)]:
        with pytest.raises(TypeError, match="argument"):
            engine.submit("f", *args)
    assert len(engine.tasks) == 1


@pytest.mark.parametrize("name, error", [("", ValueError), ("a\0b", ValueError), ("\udc00", ValueError)])
def test_a_name_that_cannot_be_stored_is_refused(engine, name, error):
    for naming in (
        lambda: engine.submit(name),
        lambda: engine.task(name),
        lambda: engine.task(take, name=name),
        lambda: engine.task(name=name)(take),
    ):
        with pytest.raises(error, match="name"):
            naming()
    assert len(engine.tasks) == 0


# -- futures among the arguments -----------------------------------------------------------------------------------


def test_results_stand_where_futures_stood(inline):
    one, two = inline.submit(take, 1), inline.submit(take, 2)
    first, second = [[1], {}], [[2], {}]
    future = inline.submit(take, one, [two, (one, 3), {"x": two}], {4: one}, k={"y": [one]}, plain=5)
    assert future.result() == [
        [first, [second, (first, 3), {"x": second}], {4: first}],
        {"k": {"y": [first]}, "plain": 5},
    ]
    assert [edge.upstream_id for edge in future.dependencies()] == [one.id, two.id]


def test_a_result_that_is_none_or_a_container_keeps_its_place(inline):
    nothing = inline.task(lambda: None, name="nothing").submit()
    pairs = inline.task(lambda: [(1, {2})], name="pairs").submit()
    assert inline.submit(take, [nothing, pairs, nothing]).result() == [[[None, [(1, {2})], None]], {}]


def test_arguments_of_a_waiting_task_show_handles(engine):
    upstream = engine.submit("up")
    task = engine.submit("f", {"a": [upstream, 1]}).snapshot()
    assert task.args == ({"a": [Handle(upstream.id), 1]},)


@pytest.mark.parametrize("place", [lambda up: {up}, lambda up: {up: 1}, lambda up: frozenset([up])])
def test_a_future_where_no_result_can_stand_is_refused(engine, place):
    upstream = engine.submit("up")
    with pytest.raises(TypeError, match="argument 1"):
        engine.submit("f", place(upstream))
    assert len(engine.tasks) == 1


def test_a_future_of_another_engine_on_the_same_file_is_a_dependency_too(path):
    with (
        contextlib.closing(Engine(path, workers=0)) as one,
        contextlib.closing(Engine(path, workers=0)) as other,
    ):
        upstream = one.submit("up")
        future = other.submit("f", upstream)
        assert [edge.upstream_id for edge in future.dependencies()] == [upstream.id]


def test_a_future_of_a_deleted_task_is_no_dependency(inline):
    upstream = inline.submit(take)
    inline.run()
    inline.tasks.delete()
    with pytest.raises(TaskNotFound):
        inline.submit(take, upstream)
    assert len(inline.tasks) == 0


def test_a_task_whose_upstream_has_failed_already_is_skipped_at_birth(engine):
    upstream = engine.submit("up")
    upstream.cancel("no sample")
    future = engine.submit("f", upstream)
    task = future.snapshot()
    assert (task.phase, task.finished_at) == ("skipped", 1000)
    assert f"#{upstream.id} is cancelled" in task.last_error and "no sample" in task.last_error


def test_a_chain_and_a_diamond_run_in_order(inline):
    ran = []

    @inline.task
    def node(label, *needs):
        ran.append(label)
        return label

    a = node.submit("a")
    b, c = node.submit("b", a), node.submit("c", a)
    d = node.submit("d", b, [c])
    node.options(after=d).submit("e")
    inline.run()
    assert ran == ["a", "b", "c", "d", "e"]


# -- many ----------------------------------------------------------------------------------------------------------


def test_threads_may_submit_at_once(path):
    with Engine(path, workers=2) as engine, ThreadPoolExecutor(4) as pool:
        echo = engine.task(lambda n: n, name="echo")
        rounds = [pool.submit(lambda start: [echo.submit(start + n) for n in range(25)], 25 * k) for k in range(4)]
        futures = [future for round_ in rounds for future in round_.result(PATIENCE)]
        assert [future.result(PATIENCE) for future in futures] == list(range(100))
        assert len({future.id for future in futures}) == 100


def test_the_same_key_from_many_threads_is_one_task(path):
    with contextlib.closing(Engine(path, workers=0)) as engine, ThreadPoolExecutor(4) as pool:
        task = engine.task("f").options(key=True)
        ids = set(pool.map(lambda _: task.submit("same").id, range(40)))
        assert len(ids) == 1 == len(engine.tasks)


def test_a_submit_to_an_idle_engine_and_one_to_a_busy_engine_end_alike(path):
    with contextlib.closing(Engine(path, workers=1)) as engine:
        inside, go = threading.Event(), threading.Event()
        engine.submit(take).result(PATIENCE)
        engine.run()
        idle = engine.submit(take, 1)
        assert idle.result(PATIENCE) == [[1], {}]
        engine.task(lambda: inside.set() or go.wait(PATIENCE), name="gate").submit()
        assert inside.wait(PATIENCE)
        busy = engine.submit(take, 1)
        assert busy.snapshot().phase in ("ready", "running")
        go.set()
        assert busy.result(PATIENCE) == [[1], {}]
        facts = [
            (task.phase, task.attempts, task.failures, task.lapses, task.worker, task.progress, task.last_error)
            for task in (idle.snapshot(), busy.snapshot())
        ]
        assert facts[0] == facts[1] == ("succeeded", 1, 0, 0, engine.name, 1.0, None)
        assert [len(future.history()) for future in (idle, busy)] == [1, 1]


def test_an_id_is_never_given_twice_whatever_another_engine_did_meanwhile(engine, path):
    with contextlib.closing(Engine(path, workers=0)) as other:
        ids = [engine.submit("work").id, other.submit("work").id, engine.submit("work").id]
        other.tasks.cancel()
        ids += [other.submit("work").id for _ in range(3)]
        other.tasks.cancel()
        assert other.tasks.delete() == 6
        ids += [engine.submit("work").id, other.submit("work").id]
    assert ids == sorted(set(ids))
    assert [task.id for task in engine.tasks] == ids[-2:]


def test_a_kind_that_was_new_in_what_was_rolled_back_is_new_again(engine):
    engine.submit("before")
    with pytest.raises(ZeroDivisionError), engine.transaction():
        engine.submit("rolled back")
        engine.submit("new")
        raise ZeroDivisionError
    again = [engine.submit("new"), engine.submit("before")]
    assert [task.name for task in engine.tasks] == ["before", "new", "before"]
    assert [future.snapshot().phase for future in again] == ["ready", "ready"]


def test_a_submit_that_knew_too_little_leaves_the_handle_of_anothers_task_alone(engine, path):
    with contextlib.closing(Engine(path, workers=0)) as other:
        engine.submit("work")
        foreign = engine.future(other.submit("work").id)
        own = engine.submit("work")
        assert (foreign.id, own.id) == (2, 3)
        assert engine.future(foreign.id) is foreign and engine.future(own.id) is own

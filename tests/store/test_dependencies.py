"""Dependencies: what meets an edge, what follows when it no longer can be met, and how graphs come into the file."""

import contextlib
import sqlite3
import threading
from itertools import pairwise

import pytest

from taskcore import (
    DependencyCycle,
    Done,
    Engine,
    Handle,
    InvalidTransition,
    KeyConflict,
    TaskNotFound,
    TaskSkipped,
    UnknownStatus,
)
from taskcore.core import lifecycle

LONG = 1e9
"""A lease that never ends."""


def claim(engine, name):
    """The one claim there is of this name."""
    (claim,) = engine.claim(name, lease=LONG)
    return claim


def end(engine, name, **result):
    claim(engine, name).succeed(**result)


def phases(*tasks):
    return [task.snapshot().phase for task in tasks]


def edges(task):
    return {edge.upstream_id: (edge.on, edge.otherwise, edge.met) for edge in task.dependencies()}


# -- what meets an edge --------------------------------------------------------------------------------------------

WAYS = {
    "waiting": ("waiting", lambda engine, task: task.depends_on(engine.submit("never"))),
    "scheduled": ("scheduled", lambda engine, task: claim(engine, "up").snooze(100)),
    "ready": ("ready", lambda engine, task: None),
    "running": ("running", lambda engine, task: claim(engine, "up")),
    "paused": ("paused", lambda engine, task: task.pause()),
    "succeeded": ("succeeded", lambda engine, task: claim(engine, "up").succeed()),
    "good": ("succeeded", lambda engine, task: claim(engine, "up").succeed(status="good")),
    "failed": ("failed", lambda engine, task: claim(engine, "up").fail("no", retry=False)),
    "bad": ("failed", lambda engine, task: claim(engine, "up").succeed(status="bad")),
    "cancelled": ("cancelled", lambda engine, task: task.cancel()),
    "skipped": ("skipped", lambda engine, task: task.depends_on(cancelled(engine))),
}
"""Status → its phase, and how a task named "up" that is ready gets there."""

BY_FORCE = {
    "suspended": "UPDATE taskcore_task SET phase = 'suspended', greenfield = NULL WHERE id = ?",
    "busy": "UPDATE taskcore_task SET label = 'busy' WHERE id = ?",
}
"""Statuses that nothing public leads to yet."""

WANTS = [*lifecycle.PHASES, "finished", "pending", "good", "bad", "busy"]
OTHERWISE = ["skip", "wait", "drop"]


def cancelled(engine):
    task = engine.submit("gone")
    task.cancel()
    return task


def meets(want, status):
    phase = WAYS[status][0] if status in WAYS else {"suspended": "suspended", "busy": "running"}[status]
    return (
        want in (status, phase)
        or (want == "finished" and phase in lifecycle.ENDED)
        or (want == "pending" and phase in ("waiting", "scheduled", "ready", "paused"))
    )


def expected(want, otherwise, status):
    """The phase of a task that waits for nothing but this."""
    if meets(want, status):
        return "ready"
    ended = status in WAYS and WAYS[status][0] in lifecycle.ENDED
    return {"skip": "skipped", "wait": "waiting", "drop": "ready"}[otherwise] if ended else "waiting"


@pytest.mark.parametrize("otherwise", OTHERWISE)
@pytest.mark.parametrize("status", [*WAYS, *BY_FORCE])
def test_an_edge_is_met_by_what_the_upstream_is_whenever_the_edge_was_made(engine, raw, status, otherwise):
    up = engine.submit("up")
    name = engine.task("down").options(otherwise=otherwise)
    before = {want: name.options(after=up, on=want).submit() for want in WANTS}
    if status in WAYS:
        WAYS[status][1](engine, up)
        assert up.snapshot().status == status
    else:
        claim(engine, "up")
        raw(BY_FORCE[status], up.id)
    after = {want: name.options(after={up: want}).submit() for want in WANTS}
    later = {want: engine.submit("down") for want in WANTS}
    for want in WANTS:
        later[want].depends_on(up, want, otherwise)
    for want in WANTS:
        made = [after[want], later[want]]
        if status in WAYS:
            made.insert(0, before[want])
        assert phases(*made) == [expected(want, otherwise, status)] * len(made), want
        assert {edges(task)[up.id] for task in made} == {(want, otherwise, meets(want, status))}


def test_a_label_is_met_by_its_phase_and_not_the_other_way_round(engine):
    up = engine.submit("up")
    any_success, just_good = (engine.task("down").options(after={up: on}).submit() for on in ("succeeded", "good"))
    end(engine, "up")
    assert phases(any_success, just_good) == ["ready", "skipped"]
    with pytest.raises(TaskSkipped, match=f"#{up.id} is succeeded, not good"):
        just_good.result(timeout=5)


def test_what_an_edge_may_want_is_checked_before_anything_is_stored(engine):
    up = engine.submit("up")
    for on in ("done", "Succeeded", "skip"):
        with pytest.raises(UnknownStatus):
            engine.task("down").options(after=up, on=on).submit()
        with pytest.raises(UnknownStatus):
            engine.task("down").options(after={up: on}).submit()
        with pytest.raises(UnknownStatus):
            up.depends_on(engine.submit("other"), on)
        engine.tasks.where(name="other").cancel(), engine.tasks.where(name="other").delete()
    for bad in ({"on": ""}, {"otherwise": "maybe"}):
        with pytest.raises(ValueError):
            engine.task("down").options(**bad)
    for bad in ({up: 5}, {up: ("succeeded", "maybe")}, {up: ("succeeded", "skip", "drop")}, "up", 1.5, [None]):
        with pytest.raises((TypeError, ValueError)):
            engine.task("down").options(after=bad).submit()
    assert [task.id for task in engine.tasks] == [up.id]
    assert up.snapshot().phase == "ready"


# -- the forms of after and before ---------------------------------------------------------------------------------


def test_after_takes_handles_ids_and_tasks_alone_in_lists_and_as_keys_of_what_is_wanted(engine):
    a, b = engine.submit("a"), engine.submit("b")
    name = engine.task("t")
    plain = ("succeeded", "skip", False)
    forms = [
        (a, {a.id: plain}),
        (a.id, {a.id: plain}),
        (a.snapshot(), {a.id: plain}),
        ([], {}),
        ((), {}),
        ([a], {a.id: plain}),
        ([a, b.id], {a.id: plain, b.id: plain}),
        ({a, b}, {a.id: plain, b.id: plain}),
        ([a, a, a.id], {a.id: plain}),
        (iter([a, b]), {a.id: plain, b.id: plain}),
        ({a: "finished"}, {a.id: ("finished", "skip", False)}),
        ({a.id: ("failed", "drop"), b: "good"}, {a.id: ("failed", "drop", False), b.id: ("good", "skip", False)}),
    ]
    for form, wanted in forms:
        assert edges(name.options(after=form).submit()) == wanted
    with_defaults = name.options(on="finished", otherwise="wait")
    assert edges(with_defaults.options(after=[a, b]).submit()) == {
        a.id: ("finished", "wait", False),
        b.id: ("finished", "wait", False),
    }
    assert edges(with_defaults.options(after={a: "failed", b: ("succeeded", "drop")}).submit()) == {
        a.id: ("failed", "wait", False),
        b.id: ("succeeded", "drop", False),
    }
    assert edges(with_defaults.submit(a)) == {a.id: ("finished", "wait", False)}


def test_what_after_says_of_a_task_goes_for_its_place_among_the_arguments_too(engine):
    a, b = engine.submit("a"), engine.submit("b")
    task = engine.task("t").options(after={a: ("finished", "wait")}, otherwise="drop").submit([a, b], x=a)
    assert edges(task) == {a.id: ("finished", "wait", False), b.id: ("succeeded", "drop", False)}


def test_a_task_put_before_others_holds_them_until_it_has_succeeded(engine):
    ready, waiting = engine.submit("ready"), engine.task("t").options(after=engine.submit("other")).submit()
    delayed, paused = engine.task("t").options(delay=5).submit(), engine.submit("t")
    paused.pause()
    first = engine.task("first").options(before=[ready, waiting.id, delayed, paused]).submit()
    assert phases(ready, waiting, delayed, paused, first) == ["waiting", "waiting", "waiting", "paused", "ready"]
    assert all(edges(task)[first.id] == ("succeeded", "skip", False) for task in (ready, waiting, delayed, paused))
    end(engine, "first")
    assert phases(ready, waiting, delayed, paused) == ["ready", "waiting", "scheduled", "paused"]


def test_a_task_put_before_several_takes_them_all_before_anything_follows(engine):
    """One of them is above the other, and the new task is doomed from the start."""
    gone, above = cancelled(engine), engine.submit("above")
    below = engine.task("below").options(after=above).submit()
    first = engine.task("first").options(after=gone, before=[above, below, above.id, below]).submit()
    assert phases(first, above, below) == ["skipped", "skipped", "skipped"]
    assert len(edges(above)) == 1 and len(edges(below)) == 2


def test_a_task_put_before_others_that_fails_takes_them_along(engine):
    ready = engine.submit("ready")
    engine.task("first").options(before=ready).submit()
    claim(engine, "first").fail("no")
    assert phases(ready) == ["skipped"]


@pytest.mark.parametrize("inside", [False, True])
def test_a_task_cannot_be_put_before_what_has_begun_or_ended(engine, inside):
    begun, ended, ready = engine.submit("begun"), cancelled(engine), engine.submit("ready")
    claim(engine, "begun")
    count = len(engine.tasks)

    def refused():
        for task in (begun, ended):
            with pytest.raises(InvalidTransition) as error:
                engine.task("first").options(before=[ready, task]).submit()
            assert error.value.task_id == task.id
        with pytest.raises(TaskNotFound):
            engine.task("first").options(before=[ready, 99]).submit()

    if inside:
        with engine.transaction():
            kept = engine.submit("kept")
            refused()
            kept_too = engine.task("kept too").options(after=kept, key="k", tags=["x"]).submit()
        assert [task.id for task in engine.tasks][count:] == [kept.id, kept_too.id]
    else:
        refused()
        assert len(engine.tasks) == count
    assert edges(ready) == {} and ready.snapshot().phase == "ready"


def test_a_refused_submit_leaves_nothing_behind_in_a_transaction_that_goes_on(engine, raw):
    deleted = cancelled(engine)
    engine.tasks.where(id=deleted).delete()
    engine.task("t").options(key="k").submit(1)
    with engine.transaction():
        first = engine.submit("t")
        for refused, submit in [
            (TaskNotFound, lambda: engine.task("t").options(after=deleted, tags=["a"], key="new").submit()),
            (TaskNotFound, lambda: engine.submit("t", [deleted])),
            (TaskNotFound, lambda: engine.task("t").options(after=[first, 99]).submit()),
            (TaskNotFound, lambda: engine.task("t").options(parent=99).submit()),
            (UnknownStatus, lambda: engine.task("t").options(after=first, on="unheard of").submit()),
            (UnknownStatus, lambda: engine.task("t").options(failed_status="unheard of").submit()),
            (DependencyCycle, lambda: engine.task("t").options(after=first, before=first, tags=["a"]).submit()),
            (KeyConflict, lambda: engine.task("t").options(key="k", before=first).submit(2)),
            (TypeError, lambda: engine.submit("t", object())),
        ]:
            with pytest.raises(refused):
                submit()
        second = engine.task("t").options(after=first, key="new").submit()
    assert [task.id for task in engine.tasks.where(name="t")] == [2, first.id, second.id]
    assert (edges(first), edges(second)) == ({}, {first.id: ("succeeded", "skip", False)})
    assert raw("SELECT * FROM taskcore_tag") == []
    assert raw("SELECT count(*) AS n FROM taskcore_edge") == [{"n": 1}]
    assert raw("PRAGMA foreign_key_check") == []


# -- otherwise -----------------------------------------------------------------------------------------------------


def test_skip_goes_on_down_and_each_reason_names_the_upstream(engine):
    a = engine.submit("a")
    b = engine.task("b").options(after=a).submit()
    c = engine.task("c").options(after=b).submit()
    d = engine.task("d").options(after=[c, engine.submit("other")]).submit()
    e = engine.task("e").options(after={d: "finished"}).submit()
    claim(engine, "a").fail(ValueError("no sample"))
    assert phases(a, b, c, d, e) == ["failed", "skipped", "skipped", "skipped", "ready"]
    for task, words in [(b, [f"#{a.id}", "failed", "no sample"]), (c, [f"#{b.id}", "skipped"]), (d, [f"#{c.id}"])]:
        reason = task.snapshot().last_error
        assert all(word in reason for word in words), reason
        assert task.snapshot().finished_at == 1000.0
        with pytest.raises(TaskSkipped) as skipped:
            task.result(timeout=5)
        assert (skipped.value.task_id, skipped.value.reason) == (task.id, reason)


def test_a_cancelled_upstream_is_named_with_the_reason_it_was_given(engine):
    a = engine.submit("a")
    b = engine.task("b").options(after=a).submit()
    a.cancel("the furnace is cold")
    assert b.snapshot().last_error == f"#{a.id} is cancelled, not succeeded (the furnace is cold)"


def test_one_doomed_edge_skips_whatever_else_is_met_or_open(engine):
    met, open_, dooming = engine.submit("met"), engine.submit("open"), engine.submit("dooming")
    end(engine, "met")
    task = engine.task("t").options(after=[met, open_, dooming]).submit()
    dooming.cancel()
    assert phases(task) == ["skipped"]


def test_wait_waits_for_a_rerun_that_meets_it(engine):
    a = engine.submit("a")
    b = engine.task("b").options(after=a, otherwise="wait").submit()
    for _ in range(3):
        claim(engine, "a").fail("no")
        assert phases(a, b) == ["failed", "waiting"]
        a = a.rerun()
        assert phases(a, b) == ["ready", "waiting"]
    end(engine, "a")
    assert phases(b) == ["ready"]


def test_a_paused_task_stays_paused_and_is_skipped_when_it_is_let_go(engine):
    a = engine.submit("a")
    b = engine.task("b").options(after=a).submit()
    c = engine.task("c").options(after=b).submit()
    b.pause()
    a.cancel()
    assert phases(b, c) == ["paused", "waiting"]
    b.resume()
    assert phases(b, c) == ["skipped", "skipped"]


def test_dropped_upstreams_are_left_out_of_lists_and_are_none_elsewhere(inline):
    def fail():
        raise RuntimeError

    broken, fine = inline.task(fail, name="broken"), inline.task(lambda x: x, name="fine")
    show = inline.task(lambda *args, **kwargs: [list(args), kwargs], name="show").options(otherwise="drop")
    bad, one, two = broken.submit(), fine.submit(1), fine.submit({"two": [2]})
    task = show.submit(
        bad, [bad, one, bad, "x", two, bad], (bad, one), {"a": bad, "b": [bad, [bad], {"c": bad}]}, [[bad]],
        k=bad, l=[bad],
    )  # fmt: skip
    inline.run()
    assert task.result() == [
        [None, [1, "x", {"two": [2]}], (None, 1), {"a": None, "b": [[], {"c": None}]}, [[]]],
        {"k": None, "l": []},
    ]
    nothing = show.submit([bad], bad)
    inline.run()
    assert nothing.result() == [[[], None], {}]


def test_where_an_edge_is_met_without_a_result_its_place_is_none(inline, raw):
    def fail():
        raise RuntimeError

    inline.task(fail, name="broken"), inline.task(lambda: Done(5, status="bad"), name="bad")
    inline.task(lambda: 6, name="fine")
    show = inline.task(lambda *args: list(args), name="show")
    broken, bad, fine = inline.submit("broken"), inline.submit("bad"), inline.submit("fine")
    paused = inline.submit("fine")
    paused.pause()
    gone = cancelled(inline)
    after = {broken: "failed", bad: "bad", fine: "finished", gone: "cancelled", paused: "pending"}
    task = show.options(after=after).submit(*after, [broken, bad])
    every = show.options(on="finished").submit([broken, bad, fine, gone])
    inline.run()
    assert task.result() == [None, 5, 6, None, None, [None, 5]]
    assert every.result() == [[None, 5, 6, None]]


def test_an_edge_can_be_dropped_later_for_a_task_that_waits_in_vain(engine):
    a = engine.submit("a")
    b = engine.task("b").options(after=a, otherwise="wait").submit([a])
    a.cancel()
    assert phases(b) == ["waiting"]
    b.depends_on(a, otherwise="drop")
    assert phases(b) == ["ready"]
    assert claim(engine, "b").task.args == ([],)


# -- guards --------------------------------------------------------------------------------------------------------


def test_a_guard_that_ceases_to_hold_sends_the_task_back_to_waiting_and_lets_it_go_again(engine, clock):
    a = engine.task("a").options(max_attempts=None).submit()
    b = engine.task("b").options(after={a: "pending"}).submit()
    c = engine.task("b").options(after={a: "pending"}, delay=50).submit()
    running = engine.task("b").options(after={a: "running"}).submit()
    for round in range(4):
        assert phases(a, b, running) == ["ready", "ready", "waiting"]
        assert phases(c) == ["scheduled" if clock.now() < 1050 else "ready"]
        work = claim(engine, "a")
        assert phases(a, b, c, running) == ["running", "waiting", "waiting", "ready"]
        assert not edges(b)[a.id][2] and edges(running)[a.id][2]
        match round:
            case 0:
                work.release()
            case 1:
                work.snooze(20)
            case _:
                work.fail("no")
        assert phases(a, b, running) == ["scheduled" if round else "ready", "ready", "waiting"]
        clock.advance(3600 if round else 10)
        engine.claim("nobody")
    end(engine, "a")
    assert phases(b, c, running) == ["skipped", "skipped", "skipped"]


def test_a_guard_does_not_reach_what_is_already_running(engine):
    a = engine.submit("a")
    b = engine.task("b").options(after={a: "ready"}).submit()
    work = claim(engine, "b")
    claim(engine, "a")
    assert phases(b) == ["running"]
    assert not edges(b)[a.id][2]
    work.snooze(0)
    assert phases(b) == ["waiting"]


def test_a_guard_that_was_lost_while_running_does_not_undo_the_end(engine):
    a = engine.submit("a")
    b = engine.task("b").options(after={a: "ready"}).submit()
    c = engine.task("c").options(after=b).submit()
    work = claim(engine, "b")
    a.cancel()
    assert phases(b) == ["running"]
    work.succeed()
    assert phases(b, c) == ["succeeded", "ready"]


def test_a_guard_that_was_doomed_while_running_skips_the_task_when_it_comes_back(engine):
    a = engine.submit("a")
    b = engine.task("b").options(after={a: "ready"}).submit()
    c, d = (engine.task("c").options(after={b: on}).submit() for on in ("succeeded", "skipped"))
    work = claim(engine, "b")
    a.cancel()
    work.release()
    assert phases(b, c, d) == ["skipped", "skipped", "ready"]


@pytest.mark.parametrize("ended", [False, True])
def test_a_task_that_was_paused_while_running_is_held_before_its_guard_is_asked(engine, ended):
    a = engine.submit("a")
    b = engine.task("b").options(after={a: "ready"}).submit()
    work = claim(engine, "b")
    b.pause()
    a.cancel() if ended else a.pause()
    work.release()
    assert phases(b) == ["paused"]
    b.resume()
    assert phases(b) == ["skipped" if ended else "waiting"]


def test_a_cancel_that_was_asked_for_wins_over_the_skip_of_a_task_that_comes_back(engine):
    a = engine.submit("a")
    b = engine.task("b").options(after={a: "ready"}).submit()
    c, d = (engine.task("c").options(after={b: on}).submit() for on in ("cancelled", "skipped"))
    work = claim(engine, "b")
    a.cancel(), b.cancel()
    work.release()
    assert phases(b, c, d) == ["cancelled", "ready", "skipped"]


def test_one_batch_of_claims_does_not_take_a_task_and_its_guard_at_once(engine, raw):
    a = engine.submit("t", "a")
    b = engine.task("t").options(after={a: "pending"}, priority=-1).submit("b")
    c = engine.task("t").options(after={b: "pending"}, priority=-2).submit("c")
    claims = engine.claim("t", n=10)
    assert [claim.task.args[0] for claim in claims] == ["a", "c"]
    assert phases(a, b, c) == ["running", "waiting", "running"]
    assert b.snapshot().attempts == 0 and b.snapshot().worker is None


def test_a_label_of_a_running_task_is_a_guard_too(engine, raw):
    a = engine.submit("a")
    work = claim(engine, "a")
    raw(BY_FORCE["busy"], a.id)
    b = engine.task("b").options(after={a: "busy"}, otherwise="wait").submit()
    assert phases(b) == ["ready"]
    work.release()
    assert phases(a, b) == ["ready", "waiting"]
    assert a.snapshot().status == "ready"


# -- rerun ---------------------------------------------------------------------------------------------------------


def test_when_an_upstream_is_rerun_what_has_not_begun_waits_again(engine):
    up = engine.submit("up")
    name = engine.task("down").options(after=up)
    running, done, failed, ready, paused = (name.submit(n) for n in range(5))
    scheduled, was_cancelled = name.options(delay=100).submit(), name.submit()
    end(engine, "up")
    claims = engine.claim("down", n=3, lease=LONG)
    claims[1].succeed()
    claims[2].fail("no")
    paused.pause(), was_cancelled.cancel()
    before = phases(running, done, failed, paused, was_cancelled)
    assert phases(ready, scheduled) == ["ready", "scheduled"]
    up = up.rerun()
    assert phases(running, done, failed, paused, was_cancelled) == before
    assert before == ["running", "succeeded", "failed", "paused", "cancelled"]
    assert phases(ready, scheduled) == ["waiting", "waiting"]
    paused.resume()
    assert phases(paused) == ["waiting"]
    claims[0].release()
    assert phases(running) == ["waiting"]
    end(engine, "up")
    assert phases(running, ready, paused, scheduled) == ["ready", "ready", "ready", "scheduled"]
    assert scheduled.snapshot().greenfield == 1100.0


def test_a_rerun_below_an_upstream_that_stays_as_it_is_ends_as_before(engine):
    up = engine.submit("up")
    down = engine.task("down").options(after=up).submit()
    up.cancel()
    again = down.rerun()
    assert phases(again) == ["skipped"]
    assert f"#{up.id}" in again.snapshot().last_error
    up.rerun()
    again = again.rerun()
    assert phases(again) == ["waiting"]
    end(engine, "up")
    assert phases(again) == ["ready"]


def test_a_rerun_with_downstream_brings_back_every_ended_task_below_and_leaves_running_ones(engine):
    up, other = engine.submit("up"), engine.submit("other")
    name = engine.task("down")
    succeeded, running, failed = (name.options(after=up).submit(n) for n in range(3))
    skipped = engine.task("skipped").options(after=failed).submit()
    deep = engine.task("deep").options(after=[skipped, succeeded]).submit()
    below_running = engine.task("below").options(after={running: "running"}).submit()
    unrelated = engine.task("unrelated").options(after=other).submit()
    end(engine, "up"), end(engine, "other"), end(engine, "unrelated")
    claims = engine.claim("down", n=3, lease=LONG)
    claims[0].succeed()
    claims[2].fail("no")
    end(engine, "below")
    assert phases(up, succeeded, running, failed, skipped, deep, below_running) == [
        "succeeded", "succeeded", "running", "failed", "skipped", "skipped", "succeeded",
    ]  # fmt: skip
    again = up.rerun(downstream=True)
    assert phases(again, succeeded, running, failed, skipped, deep, below_running, unrelated) == [
        "ready", "waiting", "running", "waiting", "waiting", "waiting", "ready", "succeeded",
    ]  # fmt: skip
    assert failed.snapshot().failures == 0
    end(engine, "up")
    assert phases(succeeded, failed, skipped, deep) == ["ready", "ready", "waiting", "waiting"]
    for claim_ in engine.claim("down", n=3):
        claim_.succeed()
    assert phases(succeeded, failed, skipped, deep) == ["succeeded", "succeeded", "ready", "waiting"]
    end(engine, "skipped")
    assert phases(deep) == ["ready"]
    claims[1].succeed()


def test_where_parent_failed_rerun_downstream_counts_all_that_moved(engine):
    tasks = [engine.submit("t", 0)]
    for number in range(1, 6):
        tasks.append(engine.task("t").options(after=tasks[-1]).submit(number))
    claim(engine, "t").fail("no")
    assert engine.tasks.counts() == {"failed": 1, "skipped": 5}
    assert engine.tasks.where(phase="failed").rerun(downstream=True) == 6
    assert engine.tasks.counts() == {"ready": 1, "waiting": 5}


def test_a_dropped_edge_counts_again_when_the_upstream_is_rerun(engine):
    up, last = engine.submit("up"), engine.submit("last")
    down = engine.task("down").options(after=[up, last], otherwise="drop").submit([up])
    up.cancel()
    up.rerun()
    end(engine, "last")
    assert phases(down) == ["waiting"]
    end(engine, "up", result=5)
    assert claim(engine, "down").task.args == ([5],)


# -- data ----------------------------------------------------------------------------------------------------------


def test_handles_anywhere_among_the_arguments_are_dependencies_and_results_come_in_their_place(inline):
    value = inline.task(lambda x: x, name="value")
    show = inline.task(lambda *args, **kwargs: [list(args), kwargs], name="show")
    results = [1, "two", None, [3], {"four": (4, 4.5)}, {5: b"5"}, ()]
    v = [value.submit(result) for result in results]
    task = show.submit(
        v[0], [v[1], 7, v[1]], ({"k": [v[2], (v[3],)]}, v[0]), {1: v[4], "x": [], (2, 3): {"y": v[5]}},
        plain={"x": [1, (2,)]}, deep=[[[[v[6]]]]], again=v[0],
    )  # fmt: skip
    assert {edge.upstream_id for edge in task.dependencies()} == {future.id for future in v}
    row = task.snapshot()
    assert row.args[0] == Handle(v[0].id)
    assert row.args[1] == [Handle(v[1].id), 7, Handle(v[1].id)]
    assert row.args[2] == ({"k": [Handle(v[2].id), (Handle(v[3].id),)]}, Handle(v[0].id))
    assert row.args[3] == {1: Handle(v[4].id), "x": [], (2, 3): {"y": Handle(v[5].id)}}
    assert row.kwargs == {"plain": {"x": [1, (2,)]}, "deep": [[[[Handle(v[6].id)]]]], "again": Handle(v[0].id)}
    inline.run()
    r = results
    assert task.result() == [
        [r[0], [r[1], 7, r[1]], ({"k": [r[2], (r[3],)]}, r[0]), {1: r[4], "x": [], (2, 3): {"y": r[5]}}],
        {"plain": {"x": [1, (2,)]}, "deep": [[[[r[6]]]]], "again": r[0]},
    ]


def test_a_claim_has_the_values_and_the_row_the_handles(engine):
    up = engine.submit("up")
    task = engine.submit("down", [up, {"x": up}])
    end(engine, "up", result=[1, 2])
    work = claim(engine, "down")
    assert work.task.args == ([[1, 2], {"x": [1, 2]}],)
    assert engine.claimed(work.token).task.args == work.task.args
    assert task.snapshot().args == ([Handle(up.id), {"x": Handle(up.id)}],)


def test_the_arguments_given_stay_the_callers_own(engine):
    up = engine.submit("up")
    given = [up, {"x": (up, [up])}]
    engine.submit("down", given)
    assert given == [up, {"x": (up, [up])}]


def test_a_handle_of_another_file_is_refused(engine, tmp_path):
    with Engine(tmp_path / "other.db", workers=0) as other:
        foreign = other.submit("t")
        for submit in (
            lambda: engine.submit("t", [foreign]),
            lambda: engine.task("t").options(after=foreign).submit(),
            lambda: engine.submit("t").depends_on(foreign),
        ):
            with pytest.raises(ValueError):
                submit()
        assert len(engine.tasks) == 1


# -- depends_on ----------------------------------------------------------------------------------------------------


def test_depends_on_again_replaces_what_is_wanted(engine):
    up, down = engine.submit("up"), engine.submit("down")
    down.depends_on(up)
    assert phases(down) == ["waiting"]
    down.depends_on(up, on="pending")
    assert phases(down) == ["ready"]
    down.depends_on(up, on="failed", otherwise="drop")
    assert edges(down) == {up.id: ("failed", "drop", False)}
    end(engine, "up")
    assert phases(down) == ["ready"]
    down.depends_on(up, on="failed", otherwise="wait")
    assert phases(down) == ["waiting"]
    down.depends_on(up)
    assert phases(down) == ["ready"]
    down.depends_on(up, on="failed")
    assert phases(down) == ["skipped"]


@pytest.mark.parametrize("on", ["ready", "pending", "running", "failed"])
def test_the_first_edge_of_a_file_that_asks_for_something_else_than_success_is_followed_too(engine, on):
    up, down = engine.submit("up"), engine.submit("down")
    down.depends_on(up)
    down.depends_on(up, on=on, otherwise="wait")
    free = "ready" if on in ("ready", "pending") else "waiting"
    assert phases(down) == [free]
    work = claim(engine, "up")
    assert phases(down) == ["ready" if on == "running" else "waiting"]
    work.release()
    assert phases(down) == [free]
    claim(engine, "up").fail("no")
    assert phases(down) == ["ready" if on == "failed" else "waiting"]


def test_depends_on_holds_what_is_scheduled_without_losing_its_time(engine, clock):
    up, down = engine.submit("up"), engine.task("down").options(delay=100).submit()
    down.depends_on(up)
    assert phases(down) == ["waiting"]
    clock.advance(60)
    end(engine, "up")
    assert (phases(down), down.snapshot().greenfield) == (["scheduled"], 1100.0)
    down.depends_on(engine.submit("another"))
    clock.advance(100)
    end(engine, "another")
    assert phases(down) == ["ready"]


def test_a_task_between_two_attempts_can_still_be_given_a_dependency(engine, clock):
    up, down = engine.submit("up"), engine.task("down").options(max_attempts=2).submit()
    claim(engine, "down").fail("no")
    down.depends_on(up)
    clock.advance(3600)
    assert engine.claim("down") == []
    end(engine, "up")
    end(engine, "down")


def snapshot_of(raw):
    tables = ("task", "edge", "attempt", "key", "tag")
    return [raw(f"SELECT * FROM taskcore_{table}") for table in tables]


def test_no_edge_closes_a_cycle_and_the_path_is_told(engine, raw):
    tasks = [engine.submit("t", 0)]
    for number in range(1, 6):
        tasks.append(engine.task("t").options(after=tasks[-1]).submit(number))
    tasks[5].depends_on(tasks[2])
    before = snapshot_of(raw)
    for upper, lower in [(0, 5), (0, 1), (2, 4), (3, 3), (0, 0)]:
        with pytest.raises(DependencyCycle) as cycle:
            tasks[upper].depends_on(tasks[lower])
        path = cycle.value.path
        assert path[0] == path[-1] == tasks[upper].id
        assert upper == lower or path[1] == tasks[lower].id
        assert len(path) == len(set(path)) + 1
        real = {(edge["task"], edge["upstream"]) for edge in raw("SELECT * FROM taskcore_edge")}
        real.add((tasks[upper].id, tasks[lower].id))
        assert all(pair in real for pair in pairwise(path))
        assert isinstance(cycle.value, ValueError)
        assert snapshot_of(raw) == before
    with pytest.raises(DependencyCycle) as cycle:
        engine.task("t").options(after=tasks[3], before=tasks[1]).submit()
    new = cycle.value.path[-2] if cycle.value.path[-2] > tasks[5].id else cycle.value.path[1]
    assert new > tasks[5].id and set(cycle.value.path) == {tasks[1].id, tasks[2].id, tasks[3].id, new}
    assert snapshot_of(raw) == before


@pytest.mark.parametrize("phase", ["running", "suspended", "succeeded", "failed", "cancelled", "skipped"])
def test_what_has_begun_or_ended_gets_no_more_dependencies(engine, raw, phase):
    other, up = engine.submit("other"), engine.submit("up")
    if phase == "suspended":
        claim(engine, "up")
        raw(BY_FORCE["suspended"], up.id)
    else:
        WAYS[phase][1](engine, up)
    before = snapshot_of(raw)
    with pytest.raises(InvalidTransition) as error:
        up.depends_on(other)
    assert (error.value.task_id, error.value.phase) == (up.id, phase)
    assert snapshot_of(raw) == before


def test_a_task_that_is_skipped_at_birth_no_longer_has_a_key_that_is_for_unfinished_ones(engine):
    gone = cancelled(engine)
    name = engine.task("t").options(key="k", key_scope="unfinished")
    with engine.transaction():
        doomed = name.options(after=gone).submit()
        kept = name.submit()
        assert name.submit().id == kept.id
    assert phases(doomed, kept) == ["skipped", "ready"]


def test_a_verb_that_is_refused_inside_a_transaction_undoes_itself_alone(engine):
    a, b = engine.submit("a"), engine.submit("b")
    with engine.transaction():
        c = engine.submit("c")
        b.depends_on(a)
        with pytest.raises(DependencyCycle):
            a.depends_on(b)
        with pytest.raises(TaskNotFound):
            c.depends_on(99)
        c.depends_on(b)
    assert (edges(a), list(edges(b)), list(edges(c))) == ({}, [a.id], [b.id])
    assert phases(a, b, c) == ["ready", "waiting", "waiting"]


# -- deleting ------------------------------------------------------------------------------------------------------


def test_what_something_unfinished_depends_on_is_not_deleted(engine):
    up = engine.submit("up")
    down = engine.task("down").options(after=up).submit()
    end(engine, "up")
    assert engine.tasks.delete() == 0
    assert claim(engine, "down")
    assert engine.tasks.delete() == 0
    down.cancel()
    engine._clock.advance(2 * LONG)
    engine.claim("nobody")
    assert engine.tasks.delete() == 2


def test_a_rerun_of_what_lost_its_upstream_does_not_wait_for_it(engine):
    up, other = engine.submit("up"), engine.submit("other")
    down = engine.task("down").options(after=other).submit([up], x=up)
    up.cancel("gone")
    assert phases(down) == ["skipped"]
    assert engine.tasks.where(id=up).delete() == 1
    down = down.rerun()
    assert phases(down) == ["waiting"]
    end(engine, "other")
    work = claim(engine, "down")
    assert (work.task.args, work.task.kwargs) == (([],), {"x": None})


# -- graphs --------------------------------------------------------------------------------------------------------

DEPTH = 5_000


def chain(engine, length, **options):
    with engine.transaction():
        below = engine.submit("link")
        for _ in range(length - 1):
            below = engine.task("link").options(after=below, **options).submit()
    return below


def test_a_chain_of_twenty_thousand_falls_in_one_step_and_stands_up_again(engine, raw):
    last = chain(engine, DEPTH)
    claim(engine, "link").fail("at the very top")
    assert engine.tasks.counts() == {"failed": 1, "skipped": DEPTH - 1}
    for task_id in (2, 3, DEPTH // 2, DEPTH):
        assert f"#{task_id - 1} is" in engine.future(task_id).snapshot().last_error
    assert "at the very top" in engine.future(2).snapshot().last_error
    with pytest.raises(TaskSkipped, match=f"#{DEPTH - 1} is skipped"):
        last.result(timeout=5)
    assert raw("SELECT count(*) AS n FROM taskcore_edge WHERE verdict <> 'doomed'") == [{"n": 0}]
    assert engine.future(1).rerun(downstream=True).id == 1
    assert engine.tasks.counts() == {"ready": 1, "waiting": DEPTH - 1}
    with pytest.raises(DependencyCycle) as cycle:
        engine.future(1).depends_on(last)
    assert cycle.value.path == [1, *range(DEPTH, 0, -1)]


def test_a_chain_of_guards_gives_way_all_the_way_down(engine):
    chain(engine, 3000, on="ready", otherwise="wait")
    assert engine.tasks.counts() == {"ready": 3000}
    with engine.transaction():
        engine.future(1).pause()
    assert engine.tasks.counts() == {"paused": 1, "waiting": 2999}
    engine.future(1).resume()
    assert engine.tasks.counts() == {"ready": 3000}


def test_a_fan_of_many_is_freed_by_its_one_upstream_and_frees_its_one_join(engine):
    with engine.transaction():
        top = engine.submit("top")
        middle = [engine.task("middle").options(after=top).submit(n) for n in range(1500)]
        join = engine.task("join").options(otherwise="drop").submit(middle)
    end(engine, "top")
    assert engine.tasks.where(name="middle").counts() == {"ready": 1500}
    claims = engine.claim("middle", n=5000)
    with engine.transaction():
        for work in claims[:-1]:
            work.succeed(work.task.args[0]) if work.task.args[0] % 2 else work.fail("no")
    assert phases(join) == ["waiting"]
    claims[-1].succeed(1499)
    assert claim(engine, "join").task.args == ([n for n in range(1500) if n % 2],)


def test_a_graph_is_stored_whole_or_not_at_all(engine, raw, path, clock):
    with Engine(path, workers=0, clock=clock) as other:
        with pytest.raises(ZeroDivisionError), engine.transaction():
            chain_in_block(engine, 5000)
            assert raw("SELECT count(*) AS n FROM taskcore_task") == [{"n": 0}]
            raise ZeroDivisionError
        assert len(other.tasks) == 0 and other.claim() == []
        with engine.transaction():
            chain_in_block(engine, 5000)
            assert raw("SELECT count(*) AS n FROM taskcore_task") == [{"n": 0}]
        assert other.tasks.counts() == {"ready": 1, "waiting": 4999}
        assert [claim.task.id for claim in other.claim(n=10)] == [1]


def chain_in_block(engine, length):
    below = engine.submit("link")
    for _ in range(length - 1):
        below = engine.task("link").options(after=below).submit()


def test_nobody_ever_sees_a_task_half_linked(path):
    """One stores pairs, bottom first, the top with `before`; another claims as fast as it can."""
    seen, stop = [], threading.Event()

    def work():
        with Engine(path, workers=0, name="other") as other:
            while not stop.is_set() or other.tasks.where(phase="ready"):
                for claim in other.claim(n=3):
                    seen.append(claim.task.args)
                    claim.succeed()

    with Engine(path, workers=0) as engine:
        worker = threading.Thread(target=work)
        worker.start()
        try:
            for number in range(100):
                with engine.transaction():
                    bottom = engine.submit("t", "bottom", number)
                    engine.task("t").options(before=bottom).submit("top", number)
        finally:
            stop.set()
            worker.join()
        assert engine.tasks.counts() == {"succeeded": 200}
    place = {args: index for index, args in enumerate(seen)}
    assert all(place["top", number] < place["bottom", number] for number in range(100))


def test_dependencies_survive_a_restart(path, clock):
    with Engine(path, workers=0, clock=clock) as engine:
        up = engine.submit("up")
        guarded = engine.task("guarded").options(after={up: "pending"}).submit()
        down = engine.submit("down", [up])
    with Engine(path, workers=0, clock=clock) as engine:
        assert engine.future(guarded.id).snapshot().phase == "ready"
        work = claim(engine, "up")
        assert engine.future(guarded.id).snapshot().phase == "waiting"
    with Engine(path, workers=0, clock=clock) as engine:
        engine.claimed(work.token).succeed(3)
        assert engine.future(guarded.id).snapshot().phase == "skipped"
        assert claim(engine, "down").task.args == ([3],)
        assert engine.future(down.id).snapshot().args == ([Handle(up.id)],)


def test_edges_of_the_file_are_as_declared_whatever_was_asked(engine, raw):
    """The verdict kept in an edge, and the number kept in a task, are what a fresh look finds."""
    ups = [engine.submit("up", n) for n in range(4)]
    downs = [
        engine.task("down").options(after=dict.fromkeys(ups, (want, otherwise))).submit()
        for want in WANTS
        for otherwise in OTHERWISE
    ]
    claims = engine.claim("up", n=3)
    claims[0].succeed()
    claims[1].fail("no")
    ups[3].cancel()
    with contextlib.closing(sqlite3.connect(engine.path)) as connection, connection:
        assert connection.execute(
            """SELECT count(*) FROM taskcore_task AS t WHERE blockers <> (
                   SELECT count(*) FROM taskcore_edge AS e WHERE e.task = t.id AND e.verdict IN ('unmet', 'doomed')
               )"""
        ).fetchall() == [(0,)]
    connection.close()
    assert len(downs) == len(WANTS) * 3

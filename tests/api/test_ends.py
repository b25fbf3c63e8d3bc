"""Each end of a task is a record of `logging`, with what a program may count and trace by."""

import logging

import pytest

import taskcore
from taskcore import Engine

FIELDS = ("task_id", "task_name", "attempt", "phase", "status", "seconds")


@pytest.fixture
def told(caplog):
    """What is logged from INFO on: level, text, and the fields."""
    caplog.set_level(logging.INFO, "taskcore")

    def records():
        of_ends = [record for record in caplog.records if record.name == "taskcore.api.ends"]
        return [(r.levelname, r.getMessage(), *(getattr(r, field) for field in FIELDS)) for r in of_ends]

    return records


def boom():
    raise ValueError("broke")


def test_every_end_is_told_with_what_it_was(inline, clock, told):
    def works():
        clock.advance(2.5)
        return taskcore.Done(1, status="good")

    ok = inline.task(works, name="ok").submit()
    bad = inline.task(boom, name="bad", max_attempts=2, backoff=taskcore.constant(0)).submit()
    after = inline.task(lambda _: 1, name="after").submit(bad)
    gone = inline.submit("elsewhere")
    gone.cancel()
    inline.run()
    assert sorted(told(), key=lambda record: record[2]) == [
        ("INFO", "task #1 is good: ok, in 2.5 s", ok.id, "ok", 1, "succeeded", "good", 2.5),
        ("WARNING", "task #2 is failed: bad: ValueError: broke", bad.id, "bad", 2, "failed", "failed", 0.0),
        ("INFO", "task #3 is skipped: after", after.id, "after", 0, "skipped", "skipped", None),
        ("INFO", "task #4 is cancelled: elsewhere", gone.id, "elsewhere", 0, "cancelled", "cancelled", None),
    ]


def test_jobs_and_what_is_claimed_from_outside_are_told_too(engine, told):
    with engine.job("night"):
        engine.submit("robot")
        engine.submit("robot")
    for claim in engine.claim("robot", n=2):
        claim.succeed()
    assert [(text, phase) for _, text, *_, phase, _, _ in told()] == [
        ("task #2 is succeeded: robot, in 0 s", "succeeded"), ("task #3 is succeeded: robot, in 0 s", "succeeded"),
        ("task #1 is succeeded: night", "succeeded"),
    ]  # fmt: skip


def test_a_hostile_name_forges_no_line(inline, told):
    inline.task(int, name="a\nERROR b\x1b[2J").submit()
    inline.run()
    assert told()[0][1] == r"task #1 is succeeded: a\nERROR b\x1b[2J, in 0 s" and told()[0][3] == "a\nERROR b\x1b[2J"


def test_what_taskcore_says_of_tasks_is_no_part_of_the_log_of_a_body_that_ended_them(made, told):
    with Engine(made, workers=1) as live:
        other = live.submit("elsewhere")
        future = live.task(lambda: other.cancel(), name="body").submit()
        assert future.result() is True and future.log() == []
    assert [record[2] for record in told()] == [other.id, future.id]


def test_by_default_only_failures_are_told_and_rows_of_others_are_not_even_read(inline, caplog, monkeypatch):
    monkeypatch.setattr("taskcore.store.overview.briefs", None)
    inline.task(int, name="ok").submit()
    inline.task(boom, name="bad").submit()
    inline.run()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_an_end_that_was_rerun_before_it_is_told_is_told_as_it_was(inline, told):
    again = []

    @inline.task
    def body():
        return 1

    future = body.submit()
    future.add_done_callback(lambda future: again or again.append(future.rerun()))
    inline.run()
    assert [(record[5], record[7]) for record in told()] == [("succeeded", None), ("succeeded", 0.0)]


def test_every_module_says_what_it_says_under_its_own_name(inline, caplog):
    inline.task(lambda: 1, name="f").submit().add_done_callback(lambda _: 1 / 0)
    inline.run()
    (record,) = caplog.records
    assert (record.name, record.filename) == ("taskcore.runtime.callbacks", "callbacks.py")

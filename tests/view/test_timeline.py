"""`engine.timeline(…)`: what ran when, what it waited for, and what the end of a job hung on."""

import itertools
import random

import pytest

import taskcore
from taskcore.store.overview import Brief
from taskcore.store.pictures import Edge
from taskcore.view import runs, timeline
from taskcore.view.scale import CUT_WIDTH, Scale, elapsed
from tests.view.test_graph import read


def node(number, phase="succeeded", start=0.0, end=1.0, *, parent=None, job=False, attempts=1, first=None):
    first = start if first is None else first
    worker = None if job else "w"
    return Brief(number, f"t{number}", phase, phase, parent, job, worker, attempts, 0.0, first, start, end)


def spans(gaps):
    return [(gap.phase, gap.start, gap.end) for gap in gaps]


# -- what is read ----------------------------------------------------------------------------------------------------


def test_a_task_waits_runs_fails_waits_again_and_runs(inline, clock):
    @inline.task(max_attempts=2, backoff=lambda failures: 5.0)
    def fit():
        clock.advance(3.0)
        if taskcore.current().task.attempts == 1:
            raise ValueError("no <star>")

    fit.submit()
    clock.advance(2.0)
    inline.run()
    drawn = inline.timeline()
    assert [(run.phase, run.start - 1000, run.end - 1000, run.number) for run in drawn._all] == [
        ("failed", 2, 5, 1),
        ("succeeded", 10, 13, 2),
    ]
    assert spans(drawn._gaps[0]) == [("waiting", 1000, 1002), ("scheduled", 1005, 1010)]
    texts, told = read(drawn.to_svg())
    assert {"1 task, 2 runs", "fit #1", "until tried again", "a failed run"} <= set(texts)
    assert f"fit #1, run 1 failed: 3 s on {inline.name}; no <star>" in told
    assert "fit #1: succeeded; waiting 2 s; scheduled 5 s" in told


def test_a_task_that_sleeps_is_suspended_and_one_that_runs_goes_on_to_now(inline, clock):
    @inline.task
    def nap():
        taskcore.current().sleep(7.0)

    nap.submit()
    inline.run()
    clock.advance(2.0)
    assert spans(inline.timeline()._gaps[0]) == [("suspended", 1000, 1002)]
    clock.advance(6.0)
    inline.run()
    assert spans(inline.timeline()._gaps[0]) == [("suspended", 1000, 1008)]
    inline.submit("elsewhere")
    inline.claim("elsewhere")
    clock.advance(4.0)
    assert [(run.phase, run.end - run.start) for run in inline.timeline()._all] == [("succeeded", 0), ("running", 4)]
    read(inline.timeline().to_svg())


def test_a_rerun_keeps_the_runs_of_the_earlier_life_and_a_lapse_is_told(engine, clock):
    task = engine.submit("f")
    engine.claim("f")[0].succeed()
    task.rerun()
    clock.advance(3.0)
    engine.claim("f", lease=1.0)
    clock.advance(5.0)
    engine.claim("f")
    engine.claim("f")
    _, told = read(engine.timeline().to_svg())
    assert sum("run 1 succeeded" in text for text in told) == 1
    assert sum("run 2 lapsed" in text for text in told) == 1


# -- the critical path ------------------------------------------------------------------------------------------------


def test_the_critical_path_of_a_job_is_what_each_waited_for_longest():
    """A job of fetch → fit twice, and a sum after both; the second fetch took longest."""
    nodes = [
        node(1, job=True, end=9.0),
        node(2, end=1.0, parent=1), node(3, start=1.0, end=3.0, parent=1),
        node(4, end=4.0, parent=1), node(5, start=4.0, end=5.0, parent=1),
        node(6, start=5.0, end=9.0, parent=1),
    ]  # fmt: skip
    edges = [Edge(one, other, "succeeded", "skip", "met") for one, other in [(2, 3), (4, 5), (3, 6), (5, 6)]]
    assert [nodes[place].id for place in runs.critical_path(nodes, edges, 0, 9.0)] == [4, 5, 6]


def test_the_critical_path_goes_through_the_children_of_a_body_and_what_the_body_waited_for():
    nodes = [
        node(1, job=True, end=9.0),
        node(2, end=2.0, parent=1), node(3, start=8.0, end=9.0, first=2.0, parent=1),
        node(4, start=2.0, end=3.0, parent=3), node(5, start=2.0, end=8.0, parent=3),
    ]  # fmt: skip
    path = runs.critical_path(nodes, [Edge(2, 3, "succeeded", "skip", "met")], 0, 9.0)
    assert [nodes[place].id for place in path] == [2, 5, 3]


def test_a_job_has_its_critical_path_marked(inline, clock):
    step = inline.task(lambda *a: clock.advance(10.0), name="step")
    with inline.job("night") as job:
        last = step.submit(step.submit())
        step.submit()
    inline.run()
    texts, told = read(inline.timeline(job).to_svg())
    assert {"critical path", "on the critical path"} <= set(texts)
    assert any("2 tasks, 20 s of running" in text for text in told) or last.snapshot().finished_at < 1030
    texts, _ = read(inline.timeline().to_svg())
    assert "critical path" not in texts, "of a job alone"


# -- how it is drawn --------------------------------------------------------------------------------------------------


def test_runs_share_as_few_lanes_as_ran_at_a_time_and_never_overlap():
    r = random.Random(4)
    made = [runs.Run(at, at + r.expovariate(1), "w", n, 1, "succeeded", None, False) for n, at in
            enumerate(r.uniform(0, 50) for _ in range(300))]  # fmt: skip
    lanes = runs.packed(made)
    assert sorted(run for lane in lanes for run in lane) == sorted(made)
    for lane in lanes:
        assert all(after.start >= before.end for before, after in itertools.pairwise(lane))
    assert len(lanes) == max(sum(run.start <= one.start < run.end for run in made) for one in made)


def test_time_in_which_nothing_runs_is_cut_out_and_the_rest_is_in_proportion():
    scale = Scale([(0, 10), (100_000, 100_010), (5, 12)], 200, 1030)
    assert [lasts for _, lasts in scale.cuts()] == ["28 h"]
    assert (scale(0), scale(100_010)) == (200, 1230)
    unit = (1030 - CUT_WIDTH) / 22
    assert scale(12) == pytest.approx(200 + 12 * unit)
    assert scale(100_000) == pytest.approx(scale(12) + CUT_WIDTH)
    assert scale(12) < scale(50_000) < scale(100_000)
    places = [scale(at) for at in (-5, 0, 6, 12, 70_000, 100_001, 100_010, 10**9)]
    assert places == sorted(places)
    ticks = scale.ticks()
    assert ticks[0] == (200, "0 s") and len(ticks) > 5
    assert all(after[0] - before[0] > 60 for before, after in itertools.pairwise(ticks))
    steady = Scale([(n, n + 0.5) for n in range(100)], 0, 100)
    assert not steady.cuts(), "short pauses stay"


@pytest.mark.parametrize("span", [[], [(5.0, 5.0)], [(1e300, 1e301)], [(0.0, 1e-9)], [(0.0, 1e12)]])
def test_any_times_have_a_place(span):
    scale = Scale(span, 10, 100)
    assert all(10 <= scale(at) <= 110.001 for at in (-1.0, 0.0, 5.0, 1e305))
    assert 1 <= len(scale.ticks()) < 10


def test_durations_read_as_a_clock_does():
    assert list(map(elapsed, (0, 1.5, 0.00002, 59, 61, 3600, 90_061))) == [
        "0 s", "1.5 s", "0 s", "59 s", "1:01", "1:00:00", "1 d 1:01",
    ]  # fmt: skip


@pytest.fixture
def crowd(engine, clock, monkeypatch):
    """Three workers and 90 tasks, of which some failed."""
    engine.map("f", range(90))
    for task in range(90):
        clock.advance(1.0)
        (claim,) = engine.claim("f", worker=f"w{task % 3}")
        clock.advance(0.5)
        claim.fail("broken", retry=False) if task % 9 == 0 else claim.succeed()
    return engine


def test_more_tasks_share_lanes_by_worker_below_how_many_waited(crowd):
    texts, told = read(crowd.timeline().to_svg())
    assert {"waiting", "w0", "w1", "w2"} <= set(texts) and "f #7" not in texts
    assert sum("failed: 500 ms on w0; broken" in text for text in told) == 10
    assert "w1: 30 runs, at most 1 at a time" in told


def test_of_very_many_is_drawn_how_many_ran_at_a_time(crowd, monkeypatch):
    monkeypatch.setattr(timeline, "BARS", 50)
    monkeypatch.setattr(timeline, "WORKERS", 2)
    drawn = crowd.timeline()
    texts, _ = read(drawn.to_svg())
    assert {"waiting", "w0", "2 more workers", "30 runs, busy 11%", "60 runs, busy 22%"} <= set(texts)
    seconds = sum(drawn._binned(drawn._all)) / timeline.BINS * (drawn._at.last - drawn._at.first)
    assert seconds == pytest.approx(45.0), "each run counts for as long as it took"

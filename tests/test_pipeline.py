"""`engine.pipeline`: the same graph of tasks for one subject after the other."""

import pytest

import taskcore
from taskcore import Done, UnknownStatus


@pytest.fixture
def transients(inline):
    """cutout → host match → spectrum, of which the last asks for a label."""
    pipeline = inline.pipeline("transient")
    pipeline.ran = ran = []

    @pipeline.task
    def cutout(name):
        ran.append(("cutout", name))
        return Done(name.upper(), status="good")

    @pipeline.task(needs={"cutout": "good"})
    def host_match(name):
        ran.append(("host_match", name))
        if name == "dark":
            return Done(None, status="bad")
        return "host"

    @pipeline.task(needs=["host_match"], max_attempts=2, backoff=taskcore.constant(0))
    def spectrum(name):
        ran.append(("spectrum", name))

    return pipeline


def test_a_subject_gets_one_task_a_step_wired_and_named(inline, transients):
    job = transients.start("2020xyz")
    tasks = list(inline.tasks.where(parent=job))
    assert [(task.name, task.key, task.args, task.phase) for task in tasks] == [
        ("transient.cutout", "2020xyz", ("2020xyz",), "ready"),
        ("transient.host_match", "2020xyz", ("2020xyz",), "waiting"),
        ("transient.spectrum", "2020xyz", ("2020xyz",), "waiting"),
    ]
    assert job.snapshot().name == "transient" and job.snapshot().key == "2020xyz"
    (edge,) = inline.future(tasks[1].id).dependencies()
    assert (edge.upstream_id, edge.on) == (tasks[0].id, "good")
    assert transients.status("2020xyz") == {"cutout": "ready", "host_match": "waiting", "spectrum": "waiting"}


def test_a_subject_goes_through_and_its_job_ends(inline, transients):
    job = transients.start("2020xyz")
    assert job.result() == {"good": 1, "succeeded": 2}
    assert transients.status("2020xyz") == {"cutout": "good", "host_match": "succeeded", "spectrum": "succeeded"}
    assert transients.ran == [("cutout", "2020xyz"), ("host_match", "2020xyz"), ("spectrum", "2020xyz")]


def test_what_can_never_run_is_skipped_so_that_the_subject_ends(inline, transients):
    job = transients.start("dark")
    inline.run()
    assert transients.status("dark") == {"cutout": "good", "host_match": "bad", "spectrum": "skipped"}
    assert (job.snapshot().phase, job.snapshot().progress) == ("failed", 1.0)


def test_the_older_subject_comes_first_and_one_that_fails_leaves_the_other_alone(inline, transients):
    dark, bright = transients.start("dark"), transients.start("bright")
    inline.run()
    assert [name for step, name in transients.ran if step == "cutout"] == ["dark", "bright"]
    assert (dark.snapshot().phase, bright.snapshot().phase) == ("failed", "succeeded")


def test_starting_a_subject_again_adds_what_was_invented_since_and_reruns_nothing(inline, transients):
    job = transients.start("2020xyz")
    inline.run()

    @transients.task(needs={"cutout": "good", "spectrum": "finished"})
    def classify(name):
        transients.ran.append(("classify", name))

    assert transients.start("2020xyz").id == job.id
    assert job.snapshot().phase == "suspended", "a child that was added opened it again"
    inline.run()
    assert job.snapshot().phase == "succeeded"
    assert [step for step, _ in transients.ran] == ["cutout", "host_match", "spectrum", "classify"]
    before = len(inline.tasks)
    assert transients.start("2020xyz").id == job.id
    assert (len(inline.tasks), job.snapshot().phase) == (before, "succeeded")


def test_a_rerun_of_the_failed_brings_back_what_was_skipped_below(inline, clock):
    pipeline, broken = inline.pipeline("p"), [True]

    @pipeline.task
    def a(name):
        if broken[0]:
            raise ValueError("not yet")

    @pipeline.task(needs={"a": "succeeded"})
    def b(name): ...

    @pipeline.task(needs={"b": "succeeded"})
    def c(name): ...

    job = pipeline.start("x")
    inline.run()
    assert pipeline.status("x") == {"a": "failed", "b": "skipped", "c": "skipped"}
    assert job.snapshot().progress == 1.0
    broken[0] = False
    assert inline.tasks.where(parent=job, phase="failed").rerun(downstream=True) == 3
    assert pipeline.status("x") == {"a": "ready", "b": "waiting", "c": "waiting"}
    inline.run()
    assert set(pipeline.status("x").values()) == {"succeeded"}
    assert job.snapshot().phase == "succeeded"


def test_try_later_is_pending_again_and_runs_later(inline, clock):
    pipeline, asked = inline.pipeline("p"), []

    @pipeline.task
    def image(name):
        asked.append(clock.now())
        if len(asked) == 1:
            raise taskcore.Snooze(300)

    @pipeline.task(needs={"image": "pending"})
    def nag(name): ...

    pipeline.start("x")
    inline.run()
    assert pipeline.status("x") == {"image": "scheduled", "nag": "succeeded"}
    clock.advance(300)
    inline.run()
    assert pipeline.status("x")["image"] == "succeeded"
    assert asked == [1000, 1300]


@pytest.mark.parametrize(
    ("needs", "error", "said"),
    [
        ({"cutuot": "succeeded"}, ValueError, "'late' needs 'cutuot', which 'transient' does not have; .*'cutout'"),
        ({"cutout": "procesed"}, UnknownStatus, "'procesed' is no status"),
        ({"late": "succeeded"}, ValueError, "'late' needs 'late'"),
        ("nothing", ValueError, "'nothing'"),
        (["cutout", 3], TypeError, "step"),
        ({"cutout": 3}, TypeError, "status"),
        (7, TypeError, "needs"),
    ],
)
def test_a_typo_in_a_need_is_refused_where_the_step_is_defined(transients, needs, error, said):
    with pytest.raises(error, match=said):
        transients.task(lambda name: None, name="late", needs=needs)
    job = transients.start("x")
    assert "late" not in transients.status("x")
    assert job.id


@pytest.mark.parametrize("option", ["key", "after", "parent"])
def test_what_the_pipeline_says_itself_is_refused(transients, option):
    with pytest.raises(TypeError, match=option):
        transients.task(lambda name: None, name="late", **{option: "x"})


@pytest.mark.parametrize("subject", ["", 7, None, "\0"])
def test_a_subject_is_a_text(inline, transients, subject):
    with pytest.raises((TypeError, ValueError), match="subject"):
        transients.start(subject)
    assert len(inline.tasks) == 0


def test_a_subject_that_was_never_started_has_no_status(transients):
    assert transients.status("unheard of") == {}


def test_a_pipeline_goes_on_in_another_process_that_defines_it_again(path, clock, inline, transients):
    transients.start("2020xyz")
    again = taskcore.Engine(path, workers=0, clock=clock)
    pipeline = again.pipeline("transient")
    pipeline.task(lambda name: None, name="cutout")
    assert pipeline.status("2020xyz") == {"cutout": "ready"}
    assert pipeline.start("2020xyz").id == 1
    assert len(again.tasks) == 4
    again.close()


def test_steps_are_ordinary_functions_and_tasks(inline, transients):
    function = transients.task(lambda name: name[::-1], name="reverse", tags=["quick"], priority=5)
    assert function("abc") == "cba" and function.name == "transient.reverse"
    transients.start("x")
    (task,) = inline.tasks.where(tag="quick")
    assert (task.name, task.priority) == ("transient.reverse", 5)
    assert repr(transients) == "<Pipeline 'transient': cutout, host_match, spectrum, reverse>"

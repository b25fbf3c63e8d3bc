"""`engine.pipeline`: the same graph of tasks for one subject after the other."""

import contextlib

import pytest

import taskcore
from taskcore import Done, Engine, InvalidTransition, UnknownStatus
from taskcore.testing import InlineExecutor


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


def test_a_step_has_what_the_steps_that_it_needs_returned_for_its_subject(inline):
    pipeline, found = inline.pipeline("a.b"), {}

    @pipeline.task
    def cut_out(name):
        return {"of": name}

    @pipeline.task(name="dark.sky")
    def fails(name):
        raise ValueError("clouds")

    @pipeline.task(needs={"cut_out": "succeeded", "dark.sky": "finished"})
    def match(name):
        found[name] = taskcore.current().needed
        with pytest.raises(KeyError):
            taskcore.current().needed["last"]
        return Done("host", status="good")

    @pipeline.task(needs={"match": "good", "cut_out": "failed"}, otherwise="drop")
    def last(name):
        return taskcore.current().needed

    for subject in ("x", "y"):
        pipeline.start(subject)
    inline.task(lambda: taskcore.current().needed, name="a.b.alone").options(key="x").submit()
    inline.run()
    assert found == {subject: {"cut_out": {"of": subject}, "dark.sky": None} for subject in ("x", "y")}
    results = [task.result for task in inline.tasks.where(name=["a.b.last", "a.b.alone"])]
    assert results == [{"match": "host", "cut_out": None}, {"match": "host", "cut_out": None}, {}]


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


# -- one subject ---------------------------------------------------------------------------------------------------


def finish(engine, name, **result):
    (claim,) = engine.claim(name, lease=1e9)
    claim.succeed(**result)


@pytest.fixture
def survey(engine):
    """a → b → d, a → c → d; nothing runs by itself."""
    pipeline = engine.pipeline("survey")
    for name, needs in [("a", None), ("b", "a"), ("c", "a"), ("d", ["b", "c"])]:
        pipeline.task(lambda subject: None, name=name, needs=needs)
    return pipeline


def test_a_subject_is_stored_in_one_commit(engine, survey, raw):
    commits, told = [], engine._file.on_commit
    engine._file.on_commit = lambda tx: (told(tx), commits.append(len(raw("SELECT 1 FROM taskcore_task"))))
    survey.start("x")
    assert commits == [5]


def test_a_subject_that_cannot_be_stored_whole_is_not_stored_at_all(engine, survey, raw):
    survey.task(lambda subject: None, name="e", failed_status="unheard of")
    with pytest.raises(UnknownStatus):
        survey.start("x")
    assert raw("SELECT 1 FROM taskcore_task") == []
    assert survey.status("x") == {}


def test_a_step_waits_for_all_that_it_needs_and_no_longer(engine, survey):
    survey.start("x")
    finish(engine, "survey.a")
    assert survey.status("x") == {"a": "succeeded", "b": "ready", "c": "ready", "d": "waiting"}
    finish(engine, "survey.b")
    assert survey.status("x")["d"] == "waiting"
    finish(engine, "survey.c")
    assert survey.status("x")["d"] == "ready"


def test_progress_counts_ended_steps_and_is_1_only_when_nothing_can_still_run(engine, survey):
    job = survey.start("x")
    seen = []
    for name in "abcd":
        seen.append(job.snapshot().progress)
        finish(engine, f"survey.{name}")
    assert seen == [0.0, 0.25, 0.5, 0.75]
    assert job.snapshot().progress == 1.0


def test_subjects_and_pipelines_do_not_mix(engine, survey):
    other = engine.pipeline("other")
    other.task(lambda subject: None, name="a")
    jobs = [survey.start("x"), survey.start("y"), other.start("x")]
    assert len({job.id for job in jobs}) == 3
    (claim,) = engine.claim("other.a")
    claim.succeed()
    assert (survey.status("x")["a"], survey.status("y")["a"]) == ("ready", "ready")
    assert (other.status("x"), other.status("y")) == ({"a": "succeeded"}, {})


def test_a_subject_that_fails_gets_the_failed_status_of_its_step(engine, survey):
    survey.task(lambda subject: None, name="e", needs="a", failed_status="bad")
    survey.task(lambda subject: None, name="mourn", needs={"e": "bad"})
    job = survey.start("x")
    finish(engine, "survey.a")
    engine.claim("survey.e")[0].fail("broke")
    assert (survey.status("x")["e"], survey.status("x")["mourn"]) == ("bad", "ready")
    for name in ("b", "c", "d", "mourn"):
        finish(engine, f"survey.{name}")
    assert (job.snapshot().phase, job.snapshot().result) == ("failed", {"bad": 1, "succeeded": 5})


def test_a_step_may_need_a_phase_whatever_the_label_or_any_end(engine, survey):
    survey.task(lambda subject: None, name="e", needs={"a": "failed"})
    survey.task(lambda subject: None, name="f", needs={"a": "finished"})
    survey.start("x")
    finish(engine, "survey.a", status="bad")
    assert list(survey.status("x").values()) == ["bad", "skipped", "skipped", "skipped", "ready", "ready"]


def test_the_jobs_verbs_reach_the_steps_of_a_subject(engine, survey):
    job = survey.start("x")
    job.pause()
    assert set(survey.status("x").values()) == {"paused"}
    job.resume()
    assert survey.status("x") == {"a": "ready", "b": "waiting", "c": "waiting", "d": "waiting"}
    job.cancel()
    assert set(survey.status("x").values()) == {"cancelled"}
    job.rerun()
    assert survey.status("x") == {"a": "ready", "b": "waiting", "c": "waiting", "d": "waiting"}
    with pytest.raises(InvalidTransition):
        job.rerun()


def test_a_paused_subject_gets_new_steps_paused(engine, survey):
    survey.start("x").pause()
    survey.task(lambda subject: None, name="e")
    survey.start("x")
    assert set(survey.status("x").values()) == {"paused"}


def test_a_step_invented_for_a_subject_whose_need_has_ended_otherwise_is_skipped_at_once(engine, survey):
    job = survey.start("x")
    finish(engine, "survey.a", status="bad")
    assert job.snapshot().phase == "failed"
    survey.task(lambda subject: None, name="e", needs="a")
    survey.start("x")
    assert survey.status("x")["e"] == "skipped"
    assert job.snapshot().phase == "failed"


def test_a_subject_whose_tasks_were_deleted_begins_anew(engine, survey):
    first = survey.start("x")
    first.cancel()
    assert engine.tasks.delete() == 5
    assert survey.status("x") == {}
    second = survey.start("x")
    assert second.id != first.id
    assert set(survey.status("x")) == {"a", "b", "c", "d"}


def test_a_pipeline_of_no_steps_has_subjects_that_succeed_at_once(engine):
    pipeline = engine.pipeline("empty")
    job = pipeline.start("x")
    assert job.result() == {}
    pipeline.task(lambda subject: None, name="a")
    pipeline.start("x")
    assert (job.snapshot().phase, pipeline.status("x")) == ("suspended", {"a": "ready"})
    assert repr(engine.pipeline("other")) == "<Pipeline 'other': no tasks yet>"


def test_subjects_started_in_a_transaction_come_with_it_or_not_at_all(engine, survey):
    with contextlib.suppress(ZeroDivisionError), engine.transaction():
        survey.start("x")
        raise ZeroDivisionError
    assert len(engine.tasks) == 0
    with engine.transaction():
        for n in range(100):
            survey.start(f"subject {n}")
    assert engine.tasks.counts() == {"suspended": 100, "ready": 100, "waiting": 300}


def test_a_subject_started_in_a_body_is_its_child_and_started_once(path, clock):
    with contextlib.closing(Engine(path, executor=InlineExecutor(), clock=clock)) as engine:
        pipeline, runs = engine.pipeline("p"), []
        pipeline.task(lambda subject: runs.append(subject), name="a")

        @engine.task(max_attempts=2, backoff=taskcore.constant(1))
        def night():
            job = pipeline.start("x")
            if not runs:
                taskcore.current().wait(job)
                raise OSError
            return taskcore.current().wait(job)

        assert night.submit().result() == [{"succeeded": 1}]
        assert runs == ["x"]
        assert engine.tasks.where(name="p").first().parent_id == 1


# -- defining steps again ------------------------------------------------------------------------------------------


def test_a_step_may_be_defined_again_and_the_newest_wins(inline):
    pipeline, ran = inline.pipeline("p"), []
    pipeline.task(lambda subject: ran.append("old"), name="a")
    pipeline.task(lambda subject: ran.append("b"), name="b", needs="a")
    pipeline.task(lambda subject: ran.append("new"), name="a")
    pipeline.start("x").result()
    assert ran == ["new", "b"]


def test_a_step_defined_again_may_need_one_that_came_later(inline):
    pipeline, ran = inline.pipeline("p"), []
    pipeline.task(lambda subject: ran.append("a"), name="a")
    pipeline.task(lambda subject: ran.append("b"), name="b")
    pipeline.task(lambda subject: ran.append("c"), name="c", needs="a")
    pipeline.task(lambda subject: ran.append("a"), name="a", needs="b")
    assert pipeline.start("x").result() == {"succeeded": 3}
    assert ran == ["b", "a", "c"]
    assert list(pipeline.status("x")) == ["a", "b", "c"]


def test_steps_that_would_need_each_other_are_refused_where_the_second_is_defined(inline):
    pipeline = inline.pipeline("p")
    pipeline.task(lambda subject: None, name="a")
    pipeline.task(lambda subject: None, name="b", needs="a")
    pipeline.task(lambda subject: None, name="c", needs="b")
    with pytest.raises(ValueError, match="'a' needs 'c'"):
        pipeline.task(lambda subject: None, name="a", needs="c")
    assert pipeline.start("x").result() == {"succeeded": 3}

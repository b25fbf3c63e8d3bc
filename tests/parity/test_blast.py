"""A workflow for each astronomical transient: the rules of Blast's TaskRunner, each by its number."""

import contextlib
from types import SimpleNamespace

import pytest

import taskcore
from taskcore import Done, Engine, Snooze, TaskFailed, UnknownStatus
from taskcore.testing import InlineExecutor

LABELS = {"processed": "succeeded", "no host": "succeeded", "no image": "failed", "no match": "failed"}


@pytest.fixture
def opened(path, clock):
    """`opened()` → an engine on the one file, as the next start of the program has."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            contextlib.closing(Engine(path, executor=InlineExecutor(), clock=clock, statuses=LABELS, **options))
        )


@pytest.fixture
def blast(opened):
    return opened()


@pytest.fixture
def world():
    """What the bodies find, and what they write down of their coming: (step, subject)."""

    return SimpleNamespace(ran=[], broken=set(), late=set(), found={})


@pytest.fixture
def transients(blast, world):
    """cutout → host match → photometry, each of which asks for the label of the one before."""
    pipeline = blast.pipeline("transient")
    for step, needs in [("cutout", None), ("host_match", "cutout"), ("photometry", "host_match")]:

        def body(name, step=step):
            world.ran.append((step, name))
            if (step, name) in world.broken:
                raise ValueError(f"{step} of {name} is broken")
            if (step, name) in world.late:
                raise Snooze(300)
            return Done(name, world.found.get((step, name), "processed"))

        failed_status = {"cutout": "no image"}.get(step, "failed")
        pipeline.task(body, name=step, needs=needs and {needs: "processed"}, failed_status=failed_status)
    return pipeline


PROCESSED = {"cutout": "processed", "host_match": "processed", "photometry": "processed"}


# -- (1) to (4) subjects -------------------------------------------------------------------------------------------


def test_of_two_eligible_subjects_the_older_one_starts_first(blast, transients, world):
    """(1) Whatever their names."""
    for name in ("2020zzz", "2020aaa"):
        transients.start(name)
    blast.run()
    assert [name for step, name in world.ran if step == "cutout"] == ["2020zzz", "2020aaa"]


def test_a_body_that_raises_gives_its_item_the_failed_status_and_leaves_the_other_subject_alone(
    blast, transients, world
):
    """(2)"""
    world.broken.add(("cutout", "2020bad"))
    bad, good = transients.start("2020bad"), transients.start("2020xyz")
    blast.run()
    assert transients.status("2020bad") == {"cutout": "no image", "host_match": "skipped", "photometry": "skipped"}
    assert transients.status("2020xyz") == PROCESSED
    assert (bad.snapshot().phase, good.snapshot().phase) == ("failed", "succeeded")
    (cutout,) = blast.tasks.where(status="no image")
    assert (cutout.phase, cutout.key) == ("failed", "2020bad")
    assert cutout.last_error == "ValueError: cutout of 2020bad is broken"


def test_the_failed_status_is_failed_if_nothing_is_said(blast, transients, world):
    """(2)"""
    world.broken.add(("host_match", "2020bad"))
    transients.start("2020bad")
    blast.run()
    assert transients.status("2020bad")["host_match"] == "failed"


def test_an_item_that_is_to_be_tried_later_is_pending_again_and_runs_later(blast, transients, world, clock):
    """(3)"""
    world.late.add(("cutout", "2020xyz"))
    job = transients.start("2020xyz")
    blast.run()
    (cutout,) = blast.tasks.where(name="transient.cutout")
    assert (cutout.phase, cutout.greenfield, cutout.failures) == ("scheduled", clock.now() + 300, 0)
    assert job.snapshot().phase == "suspended"
    world.late.clear()
    clock.advance(299)
    blast.run()
    assert world.ran == [("cutout", "2020xyz")]
    clock.advance(1)
    blast.run()
    assert transients.status("2020xyz") == PROCESSED
    assert blast.future(cutout.id).snapshot().attempts == 1, "none was spent on the way"


def test_with_nothing_eligible_nothing_happens_and_nothing_is_wrong(blast, transients, world):
    """(4)"""
    assert blast.run() == {}
    world.broken.add(("cutout", "2020bad"))
    transients.start("2020bad")
    blast.run()
    before, ran = list(blast.tasks), list(world.ran)
    assert blast.run() == {"failed": 1, "no image": 1, "skipped": 2}
    assert (list(blast.tasks), world.ran) == (before, ran)
    assert blast.claim("transient.photometry") == []
    assert blast.tasks.where(phase="failed", name="transient.photometry").rerun(downstream=True) == 0


# -- (5) prerequisites ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("needs", "error", "said"),
    [
        ({"cutuot": "processed"}, ValueError, "'late' needs 'cutuot', which 'transient' does not have"),
        ({"Cutout": "processed"}, ValueError, "'Cutout'"),
        ({"cutout": "procesed"}, UnknownStatus, "'procesed' is no status"),
        ({"cutout": "Processed"}, UnknownStatus, "'Processed'"),
        ({"cutout": "processed", "host_match": "not processed"}, UnknownStatus, "'not processed'"),
    ],
)
def test_a_prerequisite_that_there_is_not_is_an_error_where_the_pipeline_is_defined(transients, needs, error, said):
    """(5)"""
    with pytest.raises(error, match=said):
        transients.task(lambda name: None, name="late", needs=needs)
    transients.start("2020xyz")
    assert transients.status("2020xyz") == dict.fromkeys(["host_match", "photometry"], "waiting") | {"cutout": "ready"}


def test_a_failed_status_that_there_is_not_is_an_error_before_anything_is_stored(blast, transients):
    """(5)"""
    transients.task(lambda name: None, name="late", failed_status="brokn")
    with pytest.raises(UnknownStatus, match="'brokn'"):
        transients.start("2020xyz")
    assert len(blast.tasks) == 0


def test_prerequisites_match_the_status_by_its_name_exactly(blast, transients, world):
    """A host that is missing is no failure, and still not "processed"."""
    world.found["host_match", "2020vak"] = "no host"

    @transients.task(needs={"host_match": "no host"})
    def look_deeper(name):
        return Done(None, "processed")

    jobs = [transients.start(name) for name in ("2020vak", "2020xyz")]
    blast.run()
    assert transients.status("2020vak") == {
        "cutout": "processed",
        "host_match": "no host",
        "photometry": "skipped",
        "look_deeper": "processed",
    }
    assert transients.status("2020xyz") == {**PROCESSED, "look_deeper": "skipped"}
    assert [job.snapshot().phase for job in jobs] == ["succeeded", "succeeded"]


@pytest.mark.parametrize("unmet", [None, "cutout", "extinction"])
def test_all_prerequisites_must_match(blast, unmet):
    pipeline, ran = blast.pipeline("p"), []
    for step in ("cutout", "extinction"):
        pipeline.task(lambda name, step=step: Done(None, "no host" if step == unmet else "processed"), name=step)
    pipeline.task(ran.append, name="photometry", needs={"cutout": "processed", "extinction": "processed"})
    pipeline.start("2020xyz")
    blast.run()
    assert ran == ([] if unmet else ["2020xyz"])
    assert pipeline.status("2020xyz")["photometry"] == ("skipped" if unmet else "succeeded")


def test_not_processed_is_pending(blast):
    """As Blast's own example has it: the host match not processed, and the cutout processed."""
    ran = []
    pipeline = blast.pipeline("p")

    @pipeline.task
    def cutout(name):
        return Done(None, "processed")

    @pipeline.task(priority=-1)
    def host_match(name):
        if name == "2020late":
            raise Snooze(300)

    pipeline.task(ran.append, name="preview", needs={"host_match": "pending", "cutout": "processed"}, priority=1)
    pipeline.start("2020late")
    blast.run()
    assert pipeline.status("2020late") == {"cutout": "processed", "host_match": "scheduled", "preview": "succeeded"}
    assert ran == ["2020late"]


def test_a_status_that_nobody_defined_fails_the_attempt_with_a_clear_text(blast, transients, world):
    world.found["host_match", "2020xyz"] = "procesed"
    transients.start("2020xyz")
    blast.run()
    (host_match,) = blast.tasks.where(name="transient.host_match")
    assert (host_match.phase, host_match.status) == ("failed", "failed")
    assert "'procesed' is no status" in host_match.last_error
    assert transients.status("2020xyz")["photometry"] == "skipped"


def test_a_returned_status_of_phase_failed_fails_without_a_retry_and_keeps_the_result(blast):
    pipeline, ran = blast.pipeline("p"), []

    @pipeline.task(max_attempts=5)
    def host_match(name):
        ran.append(name)
        return Done({"tried": 3}, "no match")

    job = pipeline.start("2020xyz")
    blast.run()
    (task,) = blast.tasks.where(parent=job)
    assert (task.status, task.phase, task.result, ran) == ("no match", "failed", {"tried": 3}, ["2020xyz"])
    with pytest.raises(TaskFailed) as caught:
        blast.future(task.id).result()
    assert (caught.value.status, caught.value.result) == ("no match", {"tried": 3})


# -- (6) and (7) again ---------------------------------------------------------------------------------------------


def test_a_subject_started_again_gets_only_the_tasks_invented_since(blast, transients, world):
    """(6)"""
    world.broken.add(("host_match", "2020bad"))
    jobs = {name: transients.start(name) for name in ("2020bad", "2020xyz")}
    blast.run()
    before, ran = {task.id: task for task in blast.tasks}, list(world.ran)

    @transients.task(needs={"cutout": "processed"})
    def classify(name):
        world.ran.append(("classify", name))
        return Done(None, "processed")

    assert {name: transients.start(name).id for name in jobs} == {name: job.id for name, job in jobs.items()}
    added = [task for task in blast.tasks if task.id not in before]
    assert [(task.name, task.key) for task in added] == [(classify.name, name) for name in jobs]
    blast.run()
    assert world.ran == ran + [("classify", name) for name in jobs]
    children = [task for task in before.values() if task.parent_id is not None]
    assert [blast.future(task.id).snapshot() for task in children] == children, "what had ended was not touched"
    assert {name: job.snapshot().phase for name, job in jobs.items()} == {"2020bad": "failed", "2020xyz": "succeeded"}


def test_a_subject_is_started_again_by_the_next_start_of_the_program_which_knows_a_further_task(opened, world):
    """(6)"""
    for steps in (["cutout"], ["cutout", "classify"]):
        engine = opened()
        pipeline = engine.pipeline("transient")
        for step in steps:
            pipeline.task(lambda name, step=step: world.ran.append(step), name=step)
        pipeline.start("2020xyz")
        engine.run()
        assert list(pipeline.status("2020xyz")) == steps
        engine.close()
    assert world.ran == ["cutout", "classify"]


def test_a_subject_whose_first_task_failed_has_ended_and_a_rerun_of_the_failed_brings_all_of_it_back(
    blast, transients, world
):
    """(7)"""
    world.broken.add(("cutout", "2020xyz"))
    job = transients.start("2020xyz")
    blast.run()
    assert transients.status("2020xyz") == {"cutout": "no image", "host_match": "skipped", "photometry": "skipped"}
    assert (job.snapshot().phase, job.snapshot().progress) == ("failed", 1.0)

    world.broken.clear()
    assert blast.tasks.where(parent=job, phase="failed").rerun(downstream=True) == 3
    assert transients.status("2020xyz") == {"cutout": "ready", "host_match": "waiting", "photometry": "waiting"}
    assert (job.snapshot().phase, job.snapshot().progress) == ("suspended", 0.0)
    blast.run()
    assert transients.status("2020xyz") == PROCESSED
    assert (job.snapshot().phase, job.snapshot().progress) == ("succeeded", 1.0)


def test_a_subject_is_reprocessed_by_a_rerun_of_its_job(blast, transients, world):
    job, other = transients.start("2020xyz"), transients.start("2020aaa")
    blast.run()
    untouched = list(blast.tasks.where(parent=other))
    again = job.rerun()
    assert set(transients.status("2020xyz").values()) <= {"ready", "waiting"}
    blast.run()
    assert again.result() == {"processed": 3}
    assert [step for step, name in world.ran if name == "2020xyz"] == ["cutout", "host_match", "photometry"] * 2
    assert list(blast.tasks.where(parent=other)) == untouched


def test_progress_counts_ended_tasks_and_is_1_only_when_nothing_can_still_run(blast, transients, clock, world):
    """A task that can never run counts as ended; one that is to be tried later does not."""
    world.late.add(("extinction", "2020xyz"))
    world.found["host_match", "2020xyz"] = "no host"

    @transients.task
    def extinction(name):
        if world.late:
            raise Snooze(300)
        return Done(None, "processed")

    job = transients.start("2020xyz")
    assert job.snapshot().progress == 0
    blast.run()
    assert transients.status("2020xyz")["photometry"] == "skipped"
    assert (job.snapshot().progress, job.snapshot().phase) == (0.75, "suspended")
    world.late.clear()
    clock.advance(300)
    blast.run()
    assert (job.snapshot().progress, job.snapshot().phase) == (1.0, "succeeded")


def test_what_runs_out_of_time_fails_and_what_needs_it_is_skipped(blast, clock):
    pipeline = blast.pipeline("p")

    @pipeline.task(timeout=60)
    def sed_fit(name):
        while True:
            clock.advance(10)
            taskcore.current().check()

    pipeline.task(lambda name: None, name="classify", needs="sed_fit")
    pipeline.start("2020xyz")
    blast.run()
    assert pipeline.status("2020xyz") == {"sed_fit": "failed", "classify": "skipped"}
    assert "60" in blast.tasks.where(name="p.sed_fit").first().last_error


# -- (8) and (9) system tasks --------------------------------------------------------------------------------------


def clean_up(engine, ran, **said):
    """What every start of the program says: a system task without a subject, in a minute and each minute."""
    engine.every(said.pop("every", 60), name="clean up", **said)(lambda: ran.append(engine._clock.now()))


def passes(clock, engine, *steps):
    for step in steps:
        clock.advance(step)
        engine.run()


@pytest.mark.parametrize("change", ["set_every", "disable"])
def test_an_operators_change_to_a_schedule_survives_a_restart(opened, clock, change):
    """(8) Until the code says something new."""
    ran, engine = [], opened()
    clean_up(engine, ran)
    schedule = engine.schedules["clean up"]
    schedule.set_every(600) if change == "set_every" else schedule.disable()
    engine.close()

    engine = opened()
    clean_up(engine, ran)
    schedule = engine.schedules["clean up"]
    assert (schedule.every, schedule.enabled) == ((600, True) if change == "set_every" else (60, False))
    passes(clock, engine, 60, 60, 480, 60)
    assert ran == ([1600] if change == "set_every" else [])
    engine.close()

    engine = opened()
    clean_up(engine, ran, every=30)
    assert (engine.schedules["clean up"].every, engine.schedules["clean up"].enabled) == (30, change == "set_every")


def test_a_schedule_that_is_disabled_at_first_never_fires_until_it_is_enabled(opened, clock):
    """(9)"""
    ran, engine = [], opened()
    clean_up(engine, ran, enabled=False)
    assert (list(engine.schedules), engine.schedules["clean up"].enabled) == (["clean up"], False)
    passes(clock, engine, 60, 60, 3600)
    assert (ran, len(engine.tasks)) == ([], 0)
    engine.schedules["clean up"].enable()
    passes(clock, engine, 30, 30)
    assert ran == [clock.now()], "and what was due meanwhile is not caught up on"


def test_a_schedule_that_is_disabled_can_be_triggered(opened, clock):
    """(9)"""
    ran, engine = [], opened()
    clean_up(engine, ran, enabled=False)
    assert engine.schedules["clean up"].trigger().result() is None
    passes(clock, engine, 60, 60)
    assert ran == [1000]
    assert not engine.schedules["clean up"].enabled


def test_a_system_task_starts_the_subjects_that_are_new(blast, transients, world, clock):
    """Looking for what was announced is a task too; that a subject is known already is no error."""
    announced = ["2020aaa", "2020aab"]

    @blast.every(60)
    def ingest():
        return [transients.start(name).id for name in announced]

    passes(clock, blast, 60)
    announced.append("2020aac")
    passes(clock, blast, 60, 60)
    assert [task.key for task in blast.tasks.where(name="transient")] == announced
    assert sorted(world.ran) == sorted((step, name) for step in PROCESSED for name in announced)
    results = [task.result for task in blast.tasks.where(name="ingest")]
    assert [len(ids) for ids in results] == [2, 3, 3]
    assert results[1] == results[2] and results[1][:2] == results[0]

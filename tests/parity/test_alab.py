"""Tasks over samples, as in a laboratory that runs itself: the rules of A-Lab's TaskView, each by its number."""

import contextlib

import pytest

import taskcore
from taskcore import DependencyCycle, Engine, InvalidTransition, LeaseLost, TaskNotFound, TaskSkipped
from taskcore.testing import InlineExecutor


@pytest.fixture
def lab(path, clock):
    """Two furnaces and one arm; nothing runs by itself."""
    with contextlib.closing(Engine(path, workers=0, clock=clock, limits={"furnace": 2, "arm": 1})) as lab:
        yield lab


def phases(*tasks):
    return [task.snapshot().phase for task in tasks]


def names(tasks):
    return [task.name for task in tasks]


def take(engine, task):
    """The claim of this one task, which must be all there is of its name."""
    (claim,) = engine.claim(task.snapshot().name)
    assert claim.task.id == task.id
    return claim


def upstreams(task):
    return sorted(edge.upstream_id for edge in task.dependencies())


# -- (1) one task --------------------------------------------------------------------------------------------------


def test_a_task_without_links_is_claimable_at_once(lab):
    """(1)"""
    heat = lab.task("heat").options(tags=["sample 3"]).submit(celsius=900)
    assert heat.snapshot().phase == "ready"
    (claim,) = lab.claim("heat", worker="furnace 2")
    assert (claim.task.id, claim.task.kwargs, claim.task.worker) == (heat.id, {"celsius": 900}, "furnace 2")


READS = [
    lambda task: task.snapshot(),
    lambda task: task.history(),
    lambda task: task.steps(),
    lambda task: task.dependencies(),
    lambda task: task.log(),
    lambda task: task.explain(),
]
VERBS = [
    lambda task: task.cancel(),
    lambda task: task.rerun(),
    lambda task: task.rerun(downstream=True),
    lambda task: task.pause(),
    lambda task: task.resume(),
    lambda task: task.signal("answer"),
]


@pytest.mark.parametrize("ask", READS + VERBS)
def test_an_id_that_there_is_not_is_not_found_by_any_read_or_verb(lab, ask):
    """(1) As a handle that was kept while its task was deleted."""
    task = lab.submit("heat")
    task.cancel()
    assert lab.tasks.where(id=task.id).delete() == 1
    with pytest.raises(TaskNotFound):
        ask(task)


def test_an_id_that_there_never_was_is_not_found(lab):
    """(1)"""
    task = lab.submit("heat")
    for ask in (
        lambda: lab.future(99),
        lambda: task.depends_on(99),
        lambda: lab.task("measure").options(after=99).submit(),
        lambda: lab.task("measure").options(before=99).submit(),
        lambda: lab.task("measure").options(parent=99).submit(),
    ):
        with pytest.raises(TaskNotFound):
            ask()
    assert lab.tasks.where(id=99).first() is None
    assert len(lab.tasks) == 1


# -- (2) to (5) dependencies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("many", [False, True])
def test_a_task_comes_after_one_task_or_many(lab, many):
    """(2)"""
    mix, weigh = lab.submit("mix"), lab.submit("weigh")
    heat = lab.task("heat").options(after=[mix, weigh] if many else mix).submit()
    assert upstreams(heat) == ([mix.id, weigh.id] if many else [mix.id])
    take(lab, mix).succeed()
    assert heat.snapshot().phase == ("waiting" if many else "ready")
    take(lab, weigh).succeed()
    assert heat.snapshot().phase == "ready"


@pytest.mark.parametrize("many", [False, True])
def test_a_task_comes_before_one_task_or_many(lab, many):
    """(2)"""
    heat, measure = lab.submit("heat"), lab.submit("measure")
    mix = lab.task("mix").options(before=[heat, measure] if many else heat).submit()
    assert phases(heat, measure) == ["waiting", "waiting" if many else "ready"]
    assert upstreams(heat) == [mix.id]
    take(lab, mix).succeed()
    assert phases(heat, measure) == ["ready", "ready"]


def test_b_waits_until_a_has_succeeded_and_not_before(lab, clock):
    """(3)"""
    a = lab.task("a", max_attempts=2, backoff=taskcore.constant(5)).submit()
    b = lab.task("b").options(after=a).submit()
    assert (b.snapshot().phase, lab.claim("b")) == ("waiting", [])
    claim = take(lab, a)
    assert (b.snapshot().phase, lab.claim("b")) == ("waiting", [])
    claim.fail("the arm slipped")
    assert (phases(a, b), lab.claim("b")) == (["scheduled", "waiting"], [])
    clock.advance(5)
    take(lab, a).succeed()
    assert (phases(a, b), take(lab, b).task.attempts) == (["succeeded", "ready"], 1)


def test_a_result_is_stored_before_what_depends_on_it_can_start(lab, raw):
    """Both are one commit: whoever sees B ready sees A's result."""
    a = lab.submit("a")
    b = lab.submit("b", a)
    seen, told = set(), lab._file.on_commit

    def look(tx):
        told(tx)
        first, second = raw("SELECT phase, result FROM taskcore_task ORDER BY id")
        seen.add((second["phase"], first["result"]))

    lab._file.on_commit = look
    waiting = raw("SELECT phase FROM taskcore_task WHERE id = ?", b.id)[0]["phase"]
    take(lab, a).succeed({"grams": 2.5})
    ready = raw("SELECT phase FROM taskcore_task WHERE id = ?", b.id)[0]["phase"]
    assert waiting != ready
    assert seen == {(waiting, None), (ready, '{"grams":2.5}')}
    assert take(lab, b).task.args == ({"grams": 2.5},)


def test_the_ready_ones_are_exactly_those_that_may_start(lab):
    """(4)"""
    first, second = lab.submit("heat", 1), lab.submit("heat", 2)
    third = lab.task("heat").options(after=second).submit(3)
    assert [task.id for task in lab.tasks.where(phase="ready")] == [first.id, second.id]
    assert [task.id for task in lab.tasks.where(phase="waiting")] == [third.id]
    lab.claim("heat")
    assert [task.id for task in lab.tasks.where(phase="ready")] == [second.id]


@pytest.fixture
def diamond(lab):
    """1→2→3→5 and 1→4→6→5, by number; the second branch is added to tasks that are there."""
    task = {1: lab.submit("t1")}
    task[2] = lab.task("t2").options(after=task[1]).submit()
    task[3] = lab.task("t3").options(after=task[2]).submit()
    task[5] = lab.task("t5").options(after=task[3]).submit()
    task[4] = lab.task("t4").options(after=task[1]).submit()
    task[6] = lab.task("t6").options(after=task[4], before=task[5]).submit()
    return task


def declared(diamond):
    number = {task.id: n for n, task in diamond.items()}
    return {n: sorted(number[up] for up in upstreams(task)) for n, task in diamond.items()}


def test_the_dependencies_of_a_diamond_are_as_declared(lab, diamond):
    """(5)"""
    assert declared(diamond) == {1: [], 2: [1], 3: [2], 4: [1], 5: [3, 6], 6: [4]}
    order = []
    while claims := lab.claim(n=9):
        order.append(names(claim.task for claim in claims))
        for claim in claims:
            claim.succeed()
    assert order == [["t1"], ["t2", "t4"], ["t3", "t6"], ["t5"]]


def test_adding_a_dependency_never_loses_another(lab, diamond):
    """(5)"""
    before = declared(diamond)
    diamond[5].depends_on(diamond[1])
    diamond[6].depends_on(diamond[2])
    diamond[6].depends_on(diamond[2])  # said twice, there once
    assert declared(diamond) == {**before, 5: [1, 3, 6], 6: [2, 4]}
    with pytest.raises(DependencyCycle) as caught:
        diamond[1].depends_on(diamond[5])
    assert caught.value.path[0] == caught.value.path[-1]
    take(lab, diamond[1])
    with pytest.raises(InvalidTransition):
        diamond[1].depends_on(lab.submit("later"))
    assert declared(diamond) == {**before, 5: [1, 3, 6], 6: [2, 4]}


# -- (6) and (7) many at once --------------------------------------------------------------------------------------


def test_fans_of_several_widths_run_everything_exactly_once(inline):
    """(6) N → a join → N, for N = 1 to 4, all at once."""
    ran = []

    @inline.task
    def work(name, *_):
        ran.append(name)
        return name

    joins = []
    for n in range(1, 5):
        first = [work.submit(f"{n} in {k}") for k in range(n)]
        join = work.submit(f"{n} join", first)
        joins.append(join)
        for k in range(n):
            work.options(after=join).submit(f"{n} out {k}")
    assert inline.run() == {"succeeded": 24}
    expected = [f"{n} {way} {k}" for n in range(1, 5) for way in ("in", "out") for k in range(n)]
    assert sorted(ran) == sorted(expected + [f"{n} join" for n in range(1, 5)])
    for n, join in enumerate(joins, 1):
        at = ran.index(join.result())
        assert all((ran.index(name) < at) == (" in " in name) for name in expected if name.startswith(f"{n} "))
    assert {task.attempts for task in inline.tasks} == {1}


def test_a_job_ends_with_its_last_task_and_leaves_the_other_alone(lab):
    """(7)"""
    jobs = []
    for name in ("oxides", "nitrides"):
        with lab.job(name) as job:
            mix = lab.task(f"mix {name}").submit()
            lab.task(f"heat {name}").options(after=mix).submit()
        jobs.append(job)
    untouched = [task for task in lab.tasks if "nitrides" in task.name]
    for step in ("mix", "heat"):
        assert jobs[0].snapshot().phase == "suspended"
        lab.claim(f"{step} oxides")[0].succeed()
    assert (jobs[0].snapshot().phase, jobs[0].result()) == ("succeeded", {"succeeded": 2})
    assert [task for task in lab.tasks if "nitrides" in task.name] == untouched
    assert jobs[1].snapshot().phase == "suspended"


# -- (8) and (9) failures ------------------------------------------------------------------------------------------


def test_a_body_that_raises_has_failed_with_its_traceback_and_its_job_ends(inline):
    """(8)"""

    @inline.task
    def heat():
        raise OSError("the furnace does not answer")

    with inline.job("oxides") as job:
        task = heat.submit()
    inline.run()
    assert (task.snapshot().phase, task.snapshot().last_error) == ("failed", "OSError: the furnace does not answer")
    (attempt,) = task.history()
    assert 'raise OSError("the furnace does not answer")' in attempt.traceback
    assert (job.snapshot().phase, job.snapshot().result) == ("failed", {"failed": 1})
    with pytest.raises(OSError, match="does not answer"):
        task.result()


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_join_that_drops_goes_on_with_what_the_others_gave(lab, end):
    """(9)"""
    lost, good = lab.submit("heat", 1), lab.submit("heat", 2)
    report = lab.task("report", otherwise="drop").submit([lost, good])
    if end == "cancelled":
        lost.cancel()
    else:
        lab.claim("heat")[0].fail("cracked", retry=False)
    assert phases(lost, report) == [end, "waiting"]
    lab.claim("heat")[0].succeed("powder")
    assert take(lab, report).task.args == (["powder"],)


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_what_has_a_failed_task_as_its_only_parent_is_skipped_and_the_reason_names_it(lab, end):
    """(9)"""
    lost = lab.submit("heat")
    measure = lab.task("measure").options(after=lost).submit()
    report = lab.submit("report", measure)
    if end == "cancelled":
        lost.cancel("no ammonia left")
    else:
        take(lab, lost).fail("the crucible cracked", retry=False)
    assert phases(measure, report) == ["skipped", "skipped"]
    assert lost.snapshot().last_error == ("no ammonia left" if end == "cancelled" else "the crucible cracked")
    assert f"#{lost.id} " in measure.snapshot().last_error
    assert measure.explain().startswith(f"skipped because #{lost.id} ")
    with pytest.raises(TaskSkipped, match=f"#{lost.id} "):
        measure.result()


# -- (10) results --------------------------------------------------------------------------------------------------


def test_what_was_saved_while_running_is_still_there_when_a_dict_is_merged_over_it(inline):
    """(10)"""

    @inline.task
    def heat():
        run = taskcore.current()
        run.save(reached=880, seen="red")
        run.save(seen="white")
        return {"reached": 900, "grams": 2.5}

    assert heat.submit().result() == {"reached": 900, "seen": "white", "grams": 2.5}


def test_what_was_saved_is_kept_when_the_body_fails(inline):
    """(10)"""

    @inline.task
    def heat():
        run = taskcore.current()
        run.save(reached=880)
        run.message("half way")
        raise OSError("cracked")

    task = heat.submit()
    inline.run()
    row = task.snapshot()
    assert (row.phase, row.result, row.message) == ("failed", {"reached": 880}, "half way")


# -- what else its users do ----------------------------------------------------------------------------------------


def test_a_subtask_is_a_row_of_its_own_below_its_task(lab):
    heat = lab.submit("heat")
    move, ramp = (lab.task(name).options(parent=heat, tags=["sample 3"]).submit() for name in ("move", "ramp"))
    assert names(lab.tasks.where(parent=heat)) == ["move", "ramp"]
    take(lab, move).succeed({"to": "furnace 2"})
    take(lab, ramp).fail("no power", retry=False)
    assert [(task.phase, task.result, task.last_error) for task in lab.tasks.where(parent=heat)] == [
        ("succeeded", {"to": "furnace 2"}, None),
        ("failed", None, "no power"),
    ]
    assert heat.snapshot().phase == "ready", "what becomes of a child is no fate of its parent's"


def test_tasks_are_found_by_their_status_and_by_the_samples_they_handle(lab):
    batch = lab.task("heat").options(tags=["O1", "O2"]).submit()
    alone = lab.task("measure").options(tags=["O2"]).submit()
    take(lab, alone).succeed()
    found = {tag: [task.id for task in lab.tasks.where(tag=tag)] for tag in ("O1", "O2", "O")}
    assert found == {"O1": [batch.id], "O2": [batch.id, alone.id], "O": []}
    assert [task.id for task in lab.tasks.where(tag="O2", status="succeeded")] == [alone.id]
    assert lab.tasks.counts() == {"ready": 1, "succeeded": 1}


def test_whoever_does_a_task_is_written_down_and_nobody_else_can_report_it(lab, clock):
    task = lab.submit("mix")
    (claim,) = lab.claim("mix", lease=30, worker="robot")
    assert (task.snapshot().worker, task.snapshot().phase) == ("robot", "running")
    clock.advance(31)
    (other,) = lab.claim("mix", worker="second robot")
    assert other.token != claim.token
    with pytest.raises(LeaseLost):
        claim.succeed({"grams": 2.5})
    assert (task.snapshot().worker, task.snapshot().result) == ("second robot", None)
    other.succeed({"grams": 2.4})
    assert task.result() == {"grams": 2.4}


def test_a_cancel_is_a_request_beside_the_phase_until_the_body_obeys(inline, clock):
    seen = []

    @inline.task
    def heat():
        run = taskcore.current()
        for hour in range(9):
            run.check()
            run.save(hours=hour + 1)
            if hour == 2:
                assert task.cancel("no ammonia left") is False
                row = task.snapshot()
                to_be_cancelled = [t.id for t in inline.tasks.where(phase="running") if t.cancel_requested_at]
                seen.append((row.phase, row.cancel_requested_at, to_be_cancelled == [task.id]))

    task = heat.submit()
    inline.run()
    assert seen == [("running", clock.now(), True)]
    row = task.snapshot()
    assert (row.phase, row.last_error, row.result) == ("cancelled", "no ammonia left", {"hours": 3})


def test_a_cancelled_experiment_reaches_what_heats_and_what_waits_and_no_other(lab):
    jobs, heats = {}, {}
    for name in ("oxides", "nitrides"):
        with lab.job(name) as jobs[name]:
            heats[name] = lab.task("heat", uses={"furnace": 1}).submit(name)
            lab.submit("measure", heats[name])
    claims = {claim.task.args[0]: claim for claim in lab.claim("heat", n=2)}
    jobs["nitrides"].cancel("no ammonia left")
    assert heats["nitrides"].snapshot().cancel_requested_at is not None
    assert heats["oxides"].snapshot().cancel_requested_at is None
    claims["nitrides"].release()  # what the body's obedience comes to: it loses to nothing but a result
    claims["oxides"].succeed()
    assert lab.tasks.where(parent=jobs["nitrides"]).counts() == {"cancelled": 2}
    assert phases(*jobs.values()) == ["suspended", "cancelled"]
    assert names(lab.tasks.where(phase="ready")) == ["measure"]


def test_tasks_wait_for_the_devices_they_need(lab):
    heats = [lab.task("heat", uses={"furnace": 1}).submit(n) for n in range(3)]
    move = lab.task("move", uses={"arm": 1}).submit()
    held = lab.claim(n=9)
    assert [claim.task.id for claim in held] == [heats[0].id, heats[1].id, move.id]
    assert heats[2].explain() == f"ready, but 'furnace' is held by #{heats[0].id}, #{heats[1].id} (2 of 2)"
    lab.limits["furnace"] = 3  # a third was delivered
    assert [claim.task.id for claim in lab.claim(n=9)] == [heats[2].id]


def test_a_task_says_in_the_words_of_the_laboratory_what_it_does(path, clock):
    words = {"requesting resources": "running", "heating": "running", "cracked": "failed"}
    inline = Engine(path, executor=InlineExecutor(), clock=clock, statuses=words)
    seen = []

    @inline.task(failed_status="cracked")
    def heat():
        run = taskcore.current()
        for word in ("requesting resources", "heating"):
            run.set_status(word)
            row = task.snapshot()
            seen.append((row.status, row.phase, len(inline.tasks.where(status=word))))
        raise OSError("too hot")

    task = heat.submit()
    inline.run()
    assert seen == [("requesting resources", "running", 1), ("heating", "running", 1)]
    assert (task.snapshot().status, task.snapshot().phase) == ("cracked", "failed")
    inline.close()


@pytest.mark.parametrize("early", [False, True])
def test_a_person_is_asked_and_answers_before_or_after(inline, early):
    """`suspended` while it waits: it holds no thread and no device."""
    inline.limits["arm"] = 1

    @inline.task(uses={"arm": 1})
    def look():
        run = taskcore.current()
        run.message("is this red enough?")
        return run.wait_for("answer")

    task, other = look.submit(), inline.task(lambda: "moved", name="move", uses={"arm": 1}).submit()
    if early:
        assert task.signal("answer", "yes")
    else:
        inline.run()
        row = task.snapshot()
        assert (row.phase, row.waiting_for, row.message) == ("suspended", "signal answer", "is this red enough?")
        assert other.snapshot().phase == "succeeded"
        assert task.signal("answer", "yes")
    inline.run()
    assert (task.result(), task.snapshot().attempts) == ("yes", 1)
    assert not task.signal("answer", "no"), "it has ended"

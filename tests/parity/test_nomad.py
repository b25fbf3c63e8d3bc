"""Uploads and their entries, as in NOMAD: processes that are called on an object one behind the other, and an upload
that waits for the entries it was split into. The numbers in brackets are those of the rules for its `Proc`."""

import contextlib
import logging
import threading

import pytest

import taskcore
from taskcore import Engine, TaskFailed, TaskSkipped, constant
from tests.support.processes import Child, until
from tests.support.rows import rows

PATIENCE = 10  # seconds that a healthy engine never needs


class ProcessingError(Exception):
    """What a parser raises."""


def phases(*futures):
    return [future.snapshot().phase for future in futures]


def parse_all(inline):
    """Entries are parsed by somebody else: the test. → the claims, in the order of the entries."""
    return inline.claim("parse", n=50, lease=1e9)


# -- one process ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("args, kwargs", [((), {}), (("a.xml",), {"level": 2})], ids=["without", "with arguments"])
def test_a_process_is_called_with_its_arguments_succeeds_and_its_name_is_recorded(inline, args, kwargs):
    """(1)"""
    called = []

    @inline.task
    def process_upload(*args, **kwargs):
        called.append((args, kwargs))

    process = process_upload.submit(*args, **kwargs)
    assert process.result(PATIENCE) is None
    row = process.snapshot()
    assert (row.phase, row.name, row.args, row.kwargs) == ("succeeded", "process_upload", args, kwargs)
    assert called == [(args, kwargs)]


def test_a_process_that_raises_is_failed_with_exactly_one_error(inline, clock):
    """(2) And what it was doing, what it logged and when it was complete are kept."""

    @inline.task
    def process_upload():
        run = taskcore.current()
        run.step("unpacking", clock.advance, 5)
        run.message("looks for a parser")
        logging.getLogger("parsers").warning("no unit is given")
        raise ProcessingError("no parser")

    process = process_upload.submit()
    assert str(process.exception(PATIENCE)) == "no parser"
    row = process.snapshot()
    assert (row.phase, row.status, row.failures) == ("failed", "failed", 1)
    assert (row.step, row.message, row.last_error) == ("unpacking", "looks for a parser", "ProcessingError: no parser")
    assert (row.started_at, row.finished_at) == (1000, 1005)
    (attempt,) = process.history()
    assert (attempt.outcome, attempt.error, attempt.finished_at) == ("failed", "ProcessingError: no parser", 1005)
    assert "in process_upload\n" in attempt.traceback
    assert [(line.level, line.text) for line in process.log()] == [("WARNING", "no unit is given")]


def test_a_process_that_runs_failed_and_runs_again_has_no_old_errors(inline):
    """(3)"""
    outcomes = iter([None, ProcessingError("no parser"), None])

    @inline.task
    def process_upload():
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    process = process_upload.submit()
    assert process.result(PATIENCE) is None
    process = process.rerun()
    assert str(process.exception(PATIENCE)) == "no parser"
    assert process.snapshot().last_error == "ProcessingError: no parser"
    process = process.rerun()
    assert process.result(PATIENCE) is None
    row = process.snapshot()
    assert (row.phase, row.last_error, row.failures) == ("succeeded", None, 0)
    assert row.finished_at is not None


def test_the_status_of_an_upload_is_a_phase_from_its_call_to_its_end(inline, clock):
    """READY, PENDING, RUNNING, WAITING_FOR_RESULT, SUCCESS and FAILURE, as rows show them."""
    seen = []

    @inline.task(serial="upload-7")
    def process_upload():
        run = taskcore.current()
        run.step("matching", lambda: None)
        seen.append(run.task)
        run.message("1 entry")
        run.wait(parse.submit("a.xml"))
        run.step("cleaning up", lambda: None)
        seen.append(run.task)

    @inline.task(serial="upload-7")
    def publish_upload():
        raise ProcessingError("no space left")

    parse = inline.task("parse")
    process, publish = process_upload.submit(), publish_upload.submit()
    assert phases(process, publish) == ["ready", "waiting"]
    inline.run()
    (running,) = seen
    assert (running.phase, running.worker is not None, running.started_at) == ("running", True, 1000)
    asleep = process.snapshot()
    assert (asleep.phase, asleep.waiting_for, asleep.step) == ("suspended", "children", "matching")
    assert (asleep.message, asleep.worker, asleep.finished_at) == ("1 entry", None, None)
    assert phases(publish) == ["waiting"], "an upload that waits for its entries is still in process"
    clock.advance(60)
    parse_all(inline)[0].succeed()
    assert phases(process) == ["ready"]
    inline.run()
    assert (seen[-1].phase, seen[-1].started_at) == ("running", 1060)
    assert phases(process, publish) == ["succeeded", "failed"]
    assert [step.name for step in process.steps()] == ["matching", "cleaning up"]
    assert (process.snapshot().step, process.snapshot().finished_at) == ("cleaning up", 1060)


def test_others_see_what_a_process_is_doing_while_it_does_it(path):
    """The current process step is free text: nothing is said beforehand of what steps there are."""
    go_on = threading.Event()

    with Engine(path, workers=1) as engine, Engine(path, workers=0) as web:

        @engine.task
        def process_upload():
            run = taskcore.current()
            run.message("3 of 7 entries match")
            run.step("matching", go_on.wait, PATIENCE)

        row = web.future(process_upload.submit().id).snapshot
        try:
            until(lambda: row().step and row().message, "the page shows it")
            assert (row().phase, row().name) == ("running", "process_upload")
            assert (row().step, row().message) == ("matching", "3 of 7 entries match")
        finally:
            go_on.set()


# -- an upload and its entries ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("join", ["gather", "wait"])
def test_an_upload_that_waits_for_no_entries_goes_on_at_once(inline, join):
    """(4)"""
    runs = []
    parse = inline.task("parse")

    @inline.task
    def process_upload():
        run = taskcore.current()
        runs.append(1)
        found = run.gather(parse, []) if join == "gather" else run.wait()
        return len(found), run.task.phase

    process = process_upload.submit()
    assert process.result(PATIENCE) == (0, "running")
    assert len(runs) == 1, "it was never asleep"


def test_an_upload_of_twenty_entries_goes_on_exactly_once_after_all_have_ended(inline):
    """(5)"""
    runs, joined = [], []

    @inline.task
    def process_upload():
        run = taskcore.current()
        runs.append(1)
        found = run.gather(inline.task("parse"), range(20))
        joined.append(found)
        return len(found)

    process = process_upload.submit()
    inline.run()
    claims = parse_all(inline)
    assert len(claims) == 20
    for claim in reversed(claims):
        assert phases(process) == ["suspended"]
        inline.run()
        assert joined == []
        claim.succeed(claim.task.args[0])
    assert phases(process) == ["ready"]
    inline.run()
    assert joined == [list(range(20))], "in the order of the entries, whichever ended first"
    assert process.result(PATIENCE) == 20
    assert len(runs) == 2
    assert (process.snapshot().attempts, len(process.history())) == (1, 1)


@pytest.mark.parametrize("failing", range(3), ids=["first", "middle", "last"])
def test_an_upload_goes_on_when_an_entry_fails_and_is_given_what_it_raised(inline, failing):
    """(6)"""

    @inline.task
    def parse(n):
        if n == failing:
            raise ProcessingError(f"entry {n} is damaged")
        return n

    @inline.task
    def process_upload():
        found = taskcore.current().gather(parse, range(3), return_exceptions=True)
        return [str(one) if isinstance(one, ProcessingError) else one for one in found]

    process = process_upload.submit()
    expected = [0, 1, 2]
    expected[failing] = f"entry {failing} is damaged"
    assert process.result(PATIENCE) == expected
    assert inline.tasks.where(parent=process).counts() == {"succeeded": 2, "failed": 1}
    assert process.snapshot().failures == 0


def test_an_upload_that_wants_all_its_entries_is_woken_by_a_failed_one_too_and_it_raises(inline):
    """(6) Not before the others have ended, either."""

    @inline.task
    def process_upload():
        run = taskcore.current()
        entries = [inline.submit("parse", n) for n in range(3)]
        try:
            run.wait(entries)
        except TaskFailed as error:
            return error.message

    process = process_upload.submit()
    inline.run()
    first, second, third = parse_all(inline)
    second.fail("damaged")
    first.succeed()
    assert phases(process) == ["suspended"]
    third.succeed()
    assert process.result(PATIENCE) == "damaged"


def test_an_upload_that_does_not_catch_what_an_entry_raised_fails_with_it(inline):
    """Errors are handled at the top, that is by the process as a whole, whatever raised them."""

    @inline.task
    def parse(n):
        raise ProcessingError(f"entry {n} is damaged")

    @inline.task
    def process_upload():
        taskcore.current().gather(parse, [1])

    process = process_upload.submit()
    assert str(process.exception(PATIENCE)) == "entry 1 is damaged"
    assert process.snapshot().last_error == "ProcessingError: entry 1 is damaged"


@pytest.mark.parametrize("joins", [1, 4])
def test_an_upload_may_split_and_wait_several_times_and_fails_if_it_raises_behind_the_last_join(inline, joins):
    """(7)"""
    parsed = []

    @inline.task
    def parse(level, n):
        parsed.append((level, n))
        return n

    @inline.task
    def process_upload():
        run = taskcore.current()
        total = 0
        for level in range(joins):
            total += sum(run.gather(parse, [level] * 3, range(3)))
        raise ProcessingError(f"a total of {total}")

    process = process_upload.submit()
    assert str(process.exception(PATIENCE)) == f"a total of {3 * joins}"
    row = process.snapshot()
    assert (row.phase, row.failures, row.attempts) == ("failed", 1, 1)
    assert parsed == [(level, n) for level in range(joins) for n in range(3)]


def test_an_upload_that_failed_behind_its_join_and_runs_again_parses_only_what_failed(inline):
    """(7) and (3): what its entries found is kept, and no error of theirs or its own remains."""
    parsed, damaged = [], {2}

    @inline.task
    def parse(n):
        parsed.append(n)
        if n in damaged:
            raise ProcessingError(f"entry {n} is damaged")
        return n

    @inline.task
    def process_upload():
        return sum(taskcore.current().gather(parse, range(4)))

    process = process_upload.submit()
    assert str(process.exception(PATIENCE)) == "entry 2 is damaged"
    damaged.clear()
    process = process.rerun()
    assert process.result(PATIENCE) == 6
    assert parsed == [0, 1, 2, 3, 2]
    assert [task.last_error for task in inline.tasks] == [None] * 5


def test_the_end_of_the_last_entry_and_the_wake_of_its_upload_are_one_transaction(inline, raw):
    """Whoever reads the file never sees an upload asleep that has nothing to wait for."""

    @inline.task
    def process_upload():
        taskcore.current().gather(inline.task("parse"), range(2))

    process_upload.submit()
    inline.run()
    first, last = parse_all(inline)
    seen, on_commit = [], inline._file.on_commit

    def look(tx):
        seen.append(tuple(row["phase"] for row in raw("SELECT phase FROM taskcore_task ORDER BY id")))
        on_commit(tx)

    inline._file.on_commit = look
    first.succeed()
    last.succeed()
    inline._file.on_commit = on_commit
    assert seen == [("suspended", "succeeded", "running"), ("ready", "succeeded", "succeeded")]


def test_a_join_looks_at_rows_and_not_at_a_number_fixed_when_the_entries_were_made(inline):
    """Entries that are added while the upload sleeps are waited for, and so is one that runs again."""

    @inline.task
    def process_upload():
        run = taskcore.current()
        found = run.gather(parse, range(2))
        return found, inline.tasks.where(parent=run.task.id).counts()

    parse = inline.task("parse")
    process = process_upload.submit()
    inline.run()
    first, second = parse_all(inline)
    added = parse.options(parent=process).submit("added")
    first.succeed("once")
    inline.future(first.task.id).rerun()
    second.succeed("second")
    assert phases(process) == ["suspended"]
    again, third = parse_all(inline)
    assert (again.task.id, third.task.id) == (first.task.id, added.id)
    again.succeed("again")
    assert phases(process) == ["suspended"], "two have ended, but there are three"
    third.succeed()
    assert process.result(PATIENCE) == (["again", "second"], {"succeeded": 3})


# -- calls on one object -------------------------------------------------------------------------------------------


CALLS = ["process_upload", "publish_upload", "edit_metadata", "delete_upload"]


def call(engine, n, upload="upload-7", **options):
    return [engine.task(CALLS[i % 4]).options(serial=upload, **options).submit(i) for i in range(n)]


def test_twenty_calls_on_an_upload_run_strictly_one_after_the_other_in_their_order(engine):
    """(8) However many workers ask; calls on another upload are not held by them."""
    calls = call(engine, 20)
    (other,) = call(engine, 1, upload="upload-8")
    order = []
    for n in range(20):
        claims = {claim.task.id: claim for claim in engine.claim(n=50)}
        if n == 0:
            claims.pop(other.id).succeed()
        ((task_id, claim),) = claims.items()
        assert engine.claim(n=50) == [], "not while one is in process"
        order.append(task_id)
        claim.succeed()
    assert order == [future.id for future in calls]
    assert set(phases(*calls)) == {"succeeded"}


def test_twenty_calls_on_an_upload_do_not_overlap_in_four_threads(path):
    """(8) Those on two uploads do: each here waits until one on the other upload is in process, too."""
    inside, seen, both = {"upload-7": [], "upload-8": []}, [], threading.Barrier(2)

    with Engine(path, workers=4) as engine:

        @engine.task
        def process_upload(upload, n):
            inside[upload].append(n)
            both.wait(PATIENCE)
            seen.append((upload, *inside[upload]))
            both.wait(PATIENCE)
            inside[upload].remove(n)

        calls = [
            process_upload.options(serial=upload).submit(upload, n)
            for n in range(20)
            for upload in ("upload-7", "upload-8")
        ]
        for future in calls:
            future.result(PATIENCE)
    for upload in ("upload-7", "upload-8"):
        assert [found for found in seen if found[0] == upload] == [(upload, n) for n in range(20)]


def test_when_the_second_of_twenty_calls_fails_the_rest_is_skipped(engine):
    """(9) And says why; a later call begins anew."""
    calls = call(engine, 20)
    engine.claim(n=50)[0].succeed()
    engine.claim(n=50)[0].fail("no space left", retry=False)
    assert phases(*calls) == ["succeeded", "failed"] + ["skipped"] * 18
    assert {future.snapshot().last_error for future in calls[2:]} == {f"#{calls[1].id} is failed (no space left)"}
    with pytest.raises(TaskSkipped):
        calls[19].result()
    assert engine.claim(n=50) == []
    assert phases(*call(engine, 1)) == ["ready"]


def test_or_the_rest_runs_if_a_failure_is_to_be_passed_over(engine):
    """(9) with "continue"."""
    calls = call(engine, 20, serial_failure="continue")
    for n in range(20):
        (claim,) = engine.claim(n=50)
        assert claim.task.args == (n,)
        claim.fail("no space left", retry=False) if n == 1 else claim.succeed()
    assert phases(*calls) == ["succeeded", "failed"] + ["succeeded"] * 18


def test_a_call_that_is_tried_again_holds_the_queue_and_does_not_clear_it(engine, clock):
    calls = call(engine, 3, max_attempts=2, backoff=constant(60))
    engine.claim(n=50)[0].fail("busy")
    assert phases(*calls) == ["scheduled", "waiting", "waiting"]
    clock.advance(60)
    for _ in calls:
        engine.claim(n=50)[0].succeed()
    assert phases(*calls) == ["succeeded"] * 3


# -- the process of the last entry is killed -----------------------------------------------------------------------


def parses_all_but_the_last(path, max_lapses, uploads_too):
    """In a process of its own. With the last entry it says so, and waits to be killed."""
    with Engine(path, workers=1) as engine:

        @engine.task(max_lapses=int(max_lapses))
        def parse(n):
            if n == 2:
                say("parses the last")  # noqa: F821 - in the child
                sys.stdin.readline()  # noqa: F821
            return n

        if uploads_too == "True":

            @engine.task(max_lapses=0)
            def process_upload(upload):
                found = taskcore.current().gather(parse, range(3), return_exceptions=True)
                say("went on")  # noqa: F821
                return len(found)

            process_upload.options(key="upload-7").submit("upload-7")
        engine.start()
        sys.stdin.readline()  # noqa: F821


@pytest.fixture
def child():
    children = []

    def start(*args):
        children.append(Child(*args))
        return children[-1]

    yield start
    for each in children:
        each.close()


@pytest.mark.parametrize("uploads_too", [True, False], ids=["and of its upload", "only"])
@pytest.mark.parametrize("max_lapses", [0, 3], ids=["fails", "runs again"])
def test_when_the_process_of_the_last_entry_is_killed_it_fails_or_runs_again_and_the_upload_goes_on(
    path, child, max_lapses, uploads_too
):
    """(10)"""
    went_on = []

    def goes_on(engine):
        @engine.task(max_lapses=0)
        def process_upload(upload):
            found = taskcore.current().gather(parse, range(3), return_exceptions=True)
            went_on.append([one.message if isinstance(one, TaskFailed) else one for one in found])
            return len(found)

        parse = engine.task("parse", max_lapses=max_lapses)
        return process_upload.options(key="upload-7").submit("upload-7")

    def asleep():
        return rows(path, "SELECT 1 FROM taskcore_task WHERE key = 'upload-7' AND phase = 'suspended'")

    with contextlib.ExitStack() as stack:
        if not uploads_too:
            engine = stack.enter_context(Engine(path, workers=1))
            upload = goes_on(engine)
            until(asleep, "the upload waits for its entries")
        parser = child(parses_all_but_the_last, path, max_lapses, uploads_too)
        assert parser.line() == "parses the last"
        until(lambda: len(rows(path, "SELECT 1 FROM taskcore_task WHERE phase = 'succeeded'")) == 2, "two have ended")
        assert asleep()
        parser.kill()
        if uploads_too:
            engine = stack.enter_context(Engine(path, workers=1))
            upload = goes_on(engine)
        if max_lapses:
            until(lambda: engine.tasks.where(name="parse", phase="ready"), "the entry is back")
            assert asleep()
            engine.task(lambda n: f"{n} again", name="parse", max_lapses=max_lapses)
        assert upload.result(PATIENCE) == 3
        assert len(went_on) == 1
        ((*others, last),) = went_on
        assert others == [0, 1]
        assert last == "2 again" if max_lapses else "lost" in last
        (entry,) = (task for task in engine.tasks.where(parent=upload) if task.args == (2,))
        assert (entry.phase, entry.lapses) == ("succeeded" if max_lapses else "failed", 1)
        row = upload.snapshot()
        assert (row.attempts, row.lapses) == (1, 0), "it did not run when the process died"

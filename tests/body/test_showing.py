"""What a body shows while it runs: progress, message, label, step, partial result and log, to whoever looks."""

import concurrent.futures
import contextlib
import io
import json
import logging
import sys
import threading
import time
import warnings

import pytest

import taskcore
from taskcore import Cancelled, Done, Engine, NotInTask, TaskFailed, UnknownStatus
from taskcore.core.model import LogLine
from taskcore.runtime import notes
from tests.support.bodies import failing, task
from tests.support.processes import Child, say, until

PATIENCE = 10  # seconds that a healthy engine never needs

log = logging.getLogger("survey.night")


@pytest.fixture
def live(path):
    with contextlib.closing(Engine(path, workers=2, statuses={"busy": "running", "aiming": "running"})) as live:
        yield live


def row_of(engine):
    """The running body's row, as anybody reads it."""
    return engine.future(taskcore.current().task.id).snapshot()


# -- who sees it ---------------------------------------------------------------------------------------------------


def show_all(run, n):
    run.progress(n, 4)
    run.message(f"frame {n}")
    run.set_status("busy")
    run.save(n=n, frames=[n])
    log.warning("line %d", n)
    run.step(f"step {n}", int)


def seen(task, lines):
    return (
        task.phase, task.status, task.progress, task.message, task.step, task.result, lines[-1].level, lines[-1].text,
    )  # fmt: skip


def expected(n):
    return ("running", "busy", n / 4, f"frame {n}", f"step {n}", {"n": n, "frames": [n]}, "WARNING", f"line {n}")


def test_what_a_body_shows_is_seen_at_once_by_other_threads(live):
    """At once: whoever looks takes along what has not been written yet."""
    turns = threading.Barrier(2, timeout=PATIENCE)

    def body():
        for n in (1, 2, 3):
            show_all(taskcore.current(), n)
            turns.wait()
            turns.wait()

    future = task(live, body).submit()
    for n in (1, 2, 3):
        turns.wait()
        assert seen(future.snapshot(), future.log()) == expected(n)
        assert [task.id for task in live.tasks.where(status="busy")] == [future.id]
        turns.wait()
    future.result(PATIENCE)
    row = future.snapshot()
    assert (row.phase, row.status, row.progress, row.message, row.step, row.result) == (
        "succeeded", "succeeded", 1.0, "frame 3", "step 3", {"n": 3, "frames": [3]},
    )  # fmt: skip


def shows(path):
    """Shows something whenever it is told to."""
    import logging

    engine = Engine(path, workers=1, statuses={"busy": "running"})

    @engine.task
    def body():
        log = logging.getLogger("night")
        for n in (1, 2, 3):
            run = taskcore.current()
            run.progress(n, 4)
            run.message(f"frame {n}")
            run.set_status("busy")
            run.save(n=n, frames=[n])
            log.warning("line %d", n)
            run.step(f"step {n}", int)
            say("shown", n)
            sys.stdin.readline()
        os.kill(os.getpid(), signal.SIGKILL)  # noqa: F821

    body.submit().result()


def test_what_a_body_shows_is_seen_by_other_processes_while_it_runs_and_after_it_was_killed(path):
    process = Child(shows, path)
    try:
        for n in (1, 2, 3):
            assert process.line() == f"shown {n}"
            with contextlib.closing(Engine(path, workers=0)) as engine:
                (first,) = engine.tasks
                future = engine.future(first.id)
                until(lambda n=n, f=future: seen(f.snapshot(), f.log() or [LogLine(0, "", "")]) == expected(n), "shown")
            process.tell("go")
        assert process.process.wait(PATIENCE) < 0
    finally:
        process.close()
    with contextlib.closing(Engine(path, workers=0)) as engine:
        future = engine.future(first.id)
        assert seen(future.snapshot(), future.log()) == expected(3)


def test_bodies_on_an_executor_of_threads_are_seen_too(path):
    shown, go_on = threading.Event(), threading.Event()

    def body():
        taskcore.current().progress(1, 4)
        shown.set()
        go_on.wait(PATIENCE)

    with concurrent.futures.ThreadPoolExecutor(1) as pool, contextlib.closing(Engine(path, executor=pool)) as engine:
        future = task(engine, body).submit()
        assert shown.wait(PATIENCE)
        with contextlib.closing(Engine(path, workers=0)) as other:
            until(lambda: other.future(future.id).snapshot().progress == 0.25, "shown")
        go_on.set()
        future.result(PATIENCE)


def test_a_tight_loop_of_progress_costs_microseconds_and_few_commits(live):
    commits, on_commit = [], live._file.on_commit
    live._file.on_commit = lambda tx: (commits.append(1), on_commit(tx))

    def body():
        run, since = taskcore.current(), time.thread_time()
        began = time.monotonic()
        for n in range(20_000):
            run.progress(n, 20_000)
            run.message("frame")
        return (time.thread_time() - since) / 40_000, time.monotonic() - began

    cost, took = task(live, body).submit().result(PATIENCE)
    assert cost < 50e-6
    assert len(commits) <= 20 + took / 0.02


def test_whoever_is_told_of_an_end_may_look_whatever_bodies_show_meanwhile(inline):
    """And may wait for somebody else who does: what is shown is written under a lock, but nobody is told under it."""
    works, looks, display, on_commit = [], [], inline._scheduler.display, inline._file.on_commit

    def body():
        taskcore.current().progress(0.5)
        works.append(taskcore.body.work.current_work()[1])
        raise ValueError

    def look(_):
        looks.append(inline.tasks.counts())
        other = threading.Thread(target=lambda: looks.append(inline.tasks.counts()))
        other.start()
        other.join(PATIENCE)

    fails = task(inline, body, max_attempts=1).submit()
    after = inline.task(int, name="after").submit(fails)
    after.add_done_callback(look)
    inline._file.on_commit = lambda tx: ([display.note(work) for work in works], on_commit(tx))
    inline.run()
    assert looks == [{"failed": 1, "skipped": 1}] * 2


def test_nothing_is_shown_outside_a_body(inline):
    with pytest.raises(NotInTask):
        taskcore.current()
    task(inline, taskcore.current).submit().exception()  # what it returned is of no use any more
    with pytest.raises(NotInTask):
        taskcore.current()


# -- progress and message ------------------------------------------------------------------------------------------


def test_progress_is_a_part_of_the_whole(inline):
    def body():
        run, found = taskcore.current(), []
        for args in [(0,), (0.5,), (1,), (3, 4), (0, 0), (0, 7), (2.5, 5)]:
            run.progress(*args)
            found.append(row_of(inline).progress)
        return found

    assert task(inline, body).submit().result() == [0, 0.5, 1, 0.75, 1, 0, 0.5]


def test_progress_that_is_none_is_refused_and_nothing_shown(inline):
    def body():
        run = taskcore.current()
        run.progress(0.25)
        run.message("before")
        for args in [(-1,), (1.5,), (5, 4), (float("nan"),), (1, float("nan")), (0, float("inf")), (0, -1)]:
            with pytest.raises(ValueError):
                run.progress(*args)
        for args in [("1",), (None,), (True,), (1, "2")]:
            with pytest.raises(TypeError):
                run.progress(*args)
        for text in (5, None, b"x"):
            with pytest.raises(TypeError):
                run.message(text)
        return row_of(inline).progress, row_of(inline).message

    assert task(inline, body).submit().result() == (0.25, "before")


def test_any_text_is_a_message(inline):
    texts = ["", "é\n☃", "a\0b", "\ud800", "'; DROP TABLE taskcore_task; --", "x" * 100_000]

    def body():
        found = []
        for text in texts:
            taskcore.current().message(text)
            found.append(row_of(inline).message)
        return found

    found = task(inline, body).submit().result()
    assert found[:2] == texts[:2] and found[4] == texts[4]
    assert found[2] == "a\\0b" and found[3] == "\\ud800" and len(found[5]) == 65536


def test_a_new_attempt_begins_without_progress(inline):
    stumble, found = failing(), []

    def body():
        run = taskcore.current()
        found.append((row_of(inline).progress, row_of(inline).message))
        run.progress(1, 2)
        run.message("half")
        stumble()

    future = task(inline, body).submit()
    future.result()
    assert found == [(None, None), (None, "half")]
    assert (future.snapshot().progress, future.snapshot().message) == (1.0, "half")


# -- partial results -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "returned, result",
    [
        ({"b": 2}, {"a": 1, "b": 2}),
        ({"a": 5}, {"a": 5}),
        ({}, {"a": 1}),
        (None, {"a": 1}),
        (Done({"b": 2}, status="good"), {"a": 1, "b": 2}),
        (Done(), {"a": 1}),
        (7, 7),
        ([], []),
        (Done(0), 0),
    ],
    ids=repr,
)
def test_what_was_saved_is_part_of_the_result(inline, returned, result):
    def body():
        taskcore.current().save(a=0)
        taskcore.current().save(a=1)
        return returned

    future = task(inline, body).submit()
    assert future.result() == future.snapshot().result == result


def test_what_was_saved_is_there_while_it_runs_sleeps_fails_and_is_tried_again(inline, clock):
    found, stumble = [], failing()

    def body():
        run = taskcore.current()
        found.append(row_of(inline).result)
        run.save(**{f"at {clock.now():g}": (1, {2})})
        found.append(row_of(inline).result)
        run.sleep(10)
        stumble()
        return {"end": 1}

    future = task(inline, body).submit()
    one, two, three = {"at 1000": (1, {2})}, {"at 1010": (1, {2})}, {"end": 1}
    inline.run()
    assert (future.snapshot().phase, future.snapshot().result) == ("suspended", one)
    assert future.result() == {**one, **two, **three}
    assert found == [None, one, one, {**one, **two}, {**one, **two}, {**one, **two}]


def test_what_was_saved_in_a_step_or_an_item_is_in_the_file_when_that_is(inline, raw):
    """For the body will not come by there again."""

    def body():
        run, found = taskcore.current(), []
        run.save(before=0)
        run.step("s", lambda: run.save(step=1))
        found.append(raw("SELECT result FROM taskcore_task")[0]["result"])
        run.transact("t", lambda db: run.save(transact=2))
        found.append(raw("SELECT result FROM taskcore_task")[0]["result"])
        for n in run.track(range(2)):
            run.save(**{f"item {n}": n})
        found.append(raw("SELECT result FROM taskcore_task")[0]["result"])
        return {"found": [list(json.loads(text)) for text in found]}

    assert task(inline, body).submit().result()["found"] == [
        ["before", "step"],
        ["before", "step", "transact"],
        ["before", "step", "transact", "item 0", "item 1"],
    ]


def test_what_was_saved_stays_with_a_task_that_fails_or_is_cancelled(inline):
    for error, phase in [(ValueError("x"), "failed"), (Cancelled("x"), "cancelled"), (taskcore.Abort("x"), "failed")]:

        def body(error=error):
            taskcore.current().save(a=1)
            raise error

        future = inline.task(body, name="body").submit()
        inline.run()
        row = future.snapshot()
        assert (row.phase, row.result) == (phase, {"a": 1})

    def label():
        taskcore.current().save(a=1)
        return Done({"b": 2}, status="bad")

    with pytest.raises(TaskFailed) as caught:
        inline.task(label, name="label").submit().result()
    assert caught.value.result == {"a": 1, "b": 2}


def test_what_was_saved_is_merged_after_a_rerun_of_what_failed(inline):
    """(A-Lab's tenth scenario, over two lives.)"""
    runs = []

    def body():
        runs.append(1)
        taskcore.current().save(**{f"life {len(runs)}": True})
        if len(runs) == 1:
            raise ValueError
        return {"result": "ok"}

    future = task(inline, body, max_attempts=1).submit()
    assert isinstance(future.exception(), ValueError)
    assert future.rerun().result() == {"life 1": True, "life 2": True, "result": "ok"}


def test_what_cannot_be_stored_is_not_saved(inline):
    def body():
        run = taskcore.current()
        run.save(good=1)
        with pytest.raises(TypeError, match="'odd' cannot be stored"):
            run.save(good=2, odd=object())
        ring = []
        ring.append(ring)
        with pytest.raises(TypeError, match="'ring' cannot be stored"):
            run.save(ring=ring)
        return row_of(inline).result

    future = task(inline, body).submit()
    assert future.result() == {"good": 1}
    assert future.snapshot().result == {"good": 1}


def test_saved_values_are_as_they_were_when_saved(inline):
    def body():
        frames = [1]
        taskcore.current().save(frames=frames)
        frames.append(object())
        taskcore.current().save(more=2)

    assert task(inline, body).submit().result() == {"frames": [1], "more": 2}


# -- labels --------------------------------------------------------------------------------------------------------


def test_a_running_task_may_have_a_label_of_its_own(inline):
    def body():
        run, found = taskcore.current(), []
        for label in ("busy", "running", "busy"):
            run.set_status(label)
            found.append((row_of(inline).phase, row_of(inline).status, inline.tasks.counts()))
        return found

    future = task(inline, body).submit()
    assert future.result() == [("running", label, {label: 1}) for label in ("busy", "running", "busy")]
    assert future.snapshot().status == "succeeded"


@pytest.mark.parametrize("label", ["unheard of", "good", "bad", "ready", "succeeded", "pending", 5, None, ""])
def test_a_label_that_is_not_of_running_is_refused(inline, label):
    def body():
        with pytest.raises(UnknownStatus, match="no status of phase running; there are: 'running', 'busy'") as caught:
            taskcore.current().set_status(label)
        assert caught.value.label == label
        return row_of(inline).status

    assert task(inline, body).submit().result() == "running"


ENDS = {
    "succeeded": lambda run: None,
    "good": lambda run: Done(status="good"),
    "bad": lambda run: Done(status="bad"),
    "failed": lambda run: json.loads("{"),
    "cancelled": lambda run: cancel(),
    "suspended": lambda run: run.sleep(1),
    "scheduled": lambda run: snooze(),
}


def cancel():
    raise Cancelled("enough")


def snooze():
    raise taskcore.Snooze(5)


@pytest.mark.parametrize("status", ENDS)
def test_a_label_of_running_is_gone_when_the_body_is_however_it_ends(inline, status):
    def body():
        run = taskcore.current()
        run.set_status("busy")
        return ENDS[status](run)

    future = task(inline, body, max_attempts=1).submit()
    inline.run()
    assert future.snapshot().status == status
    assert inline.health == "ok"


def test_a_label_ends_with_a_time_limit_a_lapse_and_a_cancel_from_outside(path, clock):
    told, go_on = threading.Semaphore(0), threading.Event()

    def body():
        taskcore.current().set_status("busy")
        told.release()
        go_on.wait(PATIENCE)
        taskcore.current().check()

    with contextlib.closing(Engine(path, workers=2, clock=clock, statuses={"busy": "running"})) as engine:
        late = engine.task(body, name="late", timeout=5).submit()
        asked = engine.task(body, name="asked").submit()
        for _ in range(2):
            assert told.acquire(timeout=PATIENCE)
        assert engine.tasks.counts() == {"busy": 2}
        asked.cancel()
        clock.advance(6)
        assert late.exception(PATIENCE) is not None
        go_on.set()
        with pytest.raises(concurrent.futures.CancelledError):
            asked.result(PATIENCE)
        assert engine.tasks.counts() == {"failed": 1, "cancelled": 1}


def test_who_looks_while_what_a_body_shows_is_being_written_sees_it(path, monkeypatch):
    inside, go_on, write, end = threading.Event(), threading.Event(), notes.write, threading.Event()

    def slowly(*args):
        write(*args)
        inside.set()
        go_on.wait(PATIENCE)

    def body():
        monkeypatch.setattr(notes, "write", slowly)
        taskcore.current().set_status("busy")
        end.wait(PATIENCE)

    with contextlib.closing(Engine(path, workers=1, statuses={"busy": "running"})) as engine:
        engine.task(body, name="body").submit()
        assert inside.wait(PATIENCE)
        threading.Timer(0.05, go_on.set).start()
        assert engine.tasks.counts() == {"busy": 1}
        end.set()


def test_others_may_depend_on_a_label_that_a_body_sets_and_changes(live):
    """A guard: it is met while the arm moves, and what has not begun by then waits again."""
    turns, order = threading.Barrier(2, timeout=PATIENCE), []

    def arm():
        run = taskcore.current()
        for label in ("aiming", "busy", "running", "busy"):
            run.set_status(label)
            turns.wait()
            turns.wait()

    moving = task(live, arm).submit()
    watch = live.task(order.append, name="watch")
    turns.wait()
    first = watch.options(after={moving: "busy"}).submit("first")
    second = watch.options(after={moving: "aiming"}).submit("second")
    second.result(PATIENCE)
    assert first.snapshot().phase == "waiting"
    turns.wait()
    turns.wait()  # busy
    first.result(PATIENCE)
    held = watch.options(after={moving: "busy"}, delay=3600).submit("held")
    assert held.snapshot().phase == "scheduled"
    turns.wait()
    turns.wait()  # running: it holds no more
    until(lambda: held.snapshot().phase == "waiting", "waits again")
    turns.wait()
    turns.wait()
    until(lambda: held.snapshot().phase == "scheduled", "met again")
    turns.wait()
    moving.result(PATIENCE)
    until(lambda: held.snapshot().phase == "skipped", "never met any more")
    assert order == ["second", "first"]


# -- logging -------------------------------------------------------------------------------------------------------


@pytest.fixture
def loud():
    """The logger lets everything through."""
    before, log.level = log.level, logging.DEBUG
    yield log
    log.level = before
    logging.getLogger().manager._clear_cache()


def test_what_a_body_logs_is_kept_with_its_task(inline, clock, loud):
    def body(n):
        loud.info("frame %d of %s", n, "night")
        clock.advance(1)
        logging.getLogger("other.library").warning("old %(thing)s", {"thing": "driver"})
        return [(line.at, line.level, line.text) for line in lines(inline)]

    def lines(engine):
        return engine.future(taskcore.current().task.id).log()

    one, two = task(inline, body).submit(1), task(inline, body).submit(2)
    log.warning("nobody's")
    assert one.result() == [(1000, "INFO", "frame 1 of night"), (1001, "WARNING", "old driver")]
    assert two.result() == [(1001, "INFO", "frame 2 of night"), (1002, "WARNING", "old driver")]
    assert one.log() == [LogLine(1000, "INFO", "frame 1 of night"), LogLine(1001, "WARNING", "old driver")]


def test_what_a_body_prints_is_kept_with_its_task_and_printed(inline, capsys):
    def body():
        print("two\nlines", 7)
        print("a part", end="")
        print(" and its end")
        sys.stdout.write("no end")
        print("to stderr", file=sys.stderr)
        with contextlib.redirect_stdout(io.StringIO()):
            print("to a text")

    before = sys.stdout
    future = task(inline, body).submit()
    future.result()
    print("nobody's")
    assert [(line.level, line.text) for line in future.log()] == [
        ("PRINT", "two"), ("PRINT", "lines 7"), ("PRINT", "a part and its end"), ("PRINT", "no end"),
    ]  # fmt: skip
    assert capsys.readouterr().out == "two\nlines 7\na part and its end\nno endnobody's\n"
    assert sys.stdout.encoding == before.encoding and not sys.stdout.isatty()


def test_what_is_logged_to_stdout_is_kept_once(inline, capsys):
    task(inline, print).submit("first")
    inline.run()
    handler = logging.StreamHandler(sys.stdout)  # which is the one that hears bodies by now
    log.addHandler(handler)
    try:
        future = task(inline, lambda: log.warning("careful")).submit()
        future.result()
    finally:
        log.removeHandler(handler)
    assert [(line.level, line.text) for line in future.log()] == [("WARNING", "careful")]
    assert capsys.readouterr().out == "first\ncareful\n"


def test_a_stream_that_cannot_even_be_looked_at_fails_no_task(inline, monkeypatch):
    class Proxy:
        def __getattr__(self, name):
            raise RuntimeError("no session in this thread")

    monkeypatch.setattr(sys, "stdout", Proxy())
    assert task(inline, lambda: 5).submit().result() == 5


def test_a_process_of_a_pool_writes_over_the_line_that_another_may_have_drawn(inline, monkeypatch):
    """Where it begins one of its own, and once for each of them."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out, errors = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", errors)
    monkeypatch.setenv("TERM", "xterm")

    def say_some():
        print("hello", 1)
        print("", end="")
        sys.stderr.write("x\ny\n")
        print("b")

    body = task(inline, say_some)
    body.submit().result()
    assert "\r" not in out.getvalue() + errors.getvalue()
    monkeypatch.setattr("multiprocessing.process.parent_process", lambda: 1)
    for _ in range(2):
        out.truncate(out.seek(0))
        future = body.submit()
        future.result()
        assert out.getvalue() == "\r\x1b[Khello 1\n\r\x1b[Kb\n"
    assert [line.text for line in future.log()] == ["hello 1", "b"]
    assert errors.getvalue() == "x\ny\n" + 2 * "\r\x1b[Kx\ny\n"


def test_a_stream_that_writes_to_the_one_that_hears_doubles_nothing(inline, capsys, monkeypatch):
    task(inline, print).submit("first")
    inline.run()

    class Tee(io.StringIO):
        def write(self, text):
            return outer.write(text) + super().write(text)

    outer, tee = sys.stdout, Tee()
    monkeypatch.setattr(sys, "stdout", tee)
    future = task(inline, lambda: (print("hello", 1), sys.stdout.writelines(["a\n", "b\n"]))[0]).submit()
    future.result()
    assert [line.text for line in future.log()] == ["hello 1", "a", "b"]
    assert tee.getvalue() == "hello 1\na\nb\n" and isinstance(sys.stdout, Tee)


def test_what_is_printed_on_the_way_to_where_a_body_was_is_not_kept_again(inline):
    def body():
        print("begins")
        taskcore.current().sleep(5)
        print("goes on")

    future = task(inline, body).submit()
    inline.run()
    inline._clock.advance(5)
    future.result()
    assert [line.text for line in future.log()] == ["begins", "goes on"]


def test_what_is_less_than_a_warning_is_kept_though_nobody_configured_logging(inline):
    quiet, heard = logging.getLogger("nobody.configured.this"), []
    quiet.setLevel(logging.WARNING)
    quiet.addHandler(handler := logging.Handler())
    handler.emit = lambda record: heard.append(record.getMessage())

    def body():
        quiet.debug("detail")
        quiet.info("step %d", 1)
        quiet.warning("careful")
        quiet.handle(logging.makeLogRecord({"msg": "from elsewhere", "levelname": "INFO", "levelno": 20}))

    future = task(inline, body).submit()
    future.result()
    quiet.info("nobody's")
    assert [(line.level, line.text) for line in future.log()] == [("INFO", "step 1"), ("WARNING", "careful")]
    assert heard == ["careful", "from elsewhere"]


def test_a_log_has_what_was_raised(inline):
    def body():
        try:
            json.loads("{")
        except ValueError:
            log.exception("bad file %r", "a.json")
        log.error("no exception", exc_info=True)  # noqa: LOG014

    future = task(inline, body).submit()
    future.result()
    first, second = future.log()
    assert first.text.startswith("bad file 'a.json'\nTraceback") and "JSONDecodeError" in first.text
    assert (first.level, second) == ("ERROR", LogLine(1000, "ERROR", "no exception"))


def test_the_newest_lines_of_a_log_are_kept(inline):
    stumble = failing()

    def body():
        for n in range(150):
            log.warning("%d", n)
        stumble()
        for n in range(150, 330):
            log.warning("%d" + "x" * 10_000 if n == 329 else "%d", n)

    future = task(inline, body).submit()
    future.result()
    lines = [line.text for line in future.log()]
    assert lines[:-1] == [str(n) for n in range(130, 329)]
    assert lines[-1].startswith("329xxx") and len(lines[-1]) <= 4000 and len(lines) == 200


def test_what_is_logged_wrongly_is_no_reason_to_fail(inline, loud, monkeypatch):
    monkeypatch.setattr(loud, "propagate", False)  # pytest's handlers do fail
    monkeypatch.setattr(loud, "handlers", [logging.NullHandler()])

    class Odd:
        def __str__(self):
            raise ZeroDivisionError

    def body():
        log.warning("%d frames", "many")
        log.warning("%s", Odd())
        log.warning("a\0b \ud800")
        log.warning({"no": "text"})
        log.warning(Odd())
        return "end"

    future = task(inline, body).submit()
    assert future.result() == "end"
    assert [line.text for line in future.log()] == [
        "%d frames", "%s", "a\\0b \\ud800", "{'no': 'text'}", "<a Odd whose str() failed>",
    ]  # fmt: skip


def test_logging_goes_on_as_before(inline, loud):
    """`basicConfig` still makes the first handler, and handlers get every record once."""
    root, before, level = logging.getLogger(), logging.getLogger().handlers[:], logging.getLogger().level
    for handler in before:
        root.removeHandler(handler)
    stream = io.StringIO()
    try:
        with contextlib.closing(Engine(":memory:")):
            logging.basicConfig(stream=stream, level=logging.INFO, format="%(levelname)s %(message)s")
            assert len(root.handlers) == 1

        def body():
            log.info("in a body")
            root.handle(logging.makeLogRecord({"msg": "from elsewhere", "levelname": "INFO", "levelno": 20}))
            logging.captureWarnings(True)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("always")
                    warnings.warn("mind", stacklevel=1)
            finally:
                logging.captureWarnings(False)

        future = task(inline, body).submit()
        future.result()
    finally:
        root.setLevel(level)
        for handler in root.handlers[:]:
            root.removeHandler(handler)
        for handler in before:
            root.addHandler(handler)
    written = stream.getvalue().splitlines()
    assert written[:2] == ["INFO in a body", "INFO from elsewhere"] and "UserWarning: mind" in written[2]
    line, warning = future.log()  # the copied record is not one that this body made
    assert line.text == "in a body" and "UserWarning: mind" in warning.text


def test_a_log_is_kept_over_attempts_suspensions_and_a_failure(inline, clock):
    """What a body says again, while it goes by what it has behind it, is not kept twice."""
    stumble = failing(2)

    def body():
        run = taskcore.current()
        log.warning("begins at %g", clock.now())
        run.step("s", log.warning, "in a step")
        run.sleep(5)
        log.warning("goes on at %g", clock.now())
        clock.advance(1)
        stumble()

    future = task(inline, body, max_attempts=2).submit()
    inline.run()
    first = ["begins at 1000", "in a step"]
    assert [line.text for line in future.log()] == first
    assert isinstance(future.exception(), ValueError)
    assert [line.text for line in future.log()] == [*first, "goes on at 1005", "goes on at 1006"]
    inline.tasks.where(id=future).delete()
    with pytest.raises(taskcore.TaskNotFound):
        future.log()

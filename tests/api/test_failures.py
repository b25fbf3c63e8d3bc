"""Failures that nobody asks about are heard: at submit, in the log, at the end of a run, by a callback."""

import functools
import logging
import sys
import threading

import pytest

import taskcore
from taskcore import Engine
from taskcore.testing import InlineExecutor


@pytest.fixture
def inline(path):
    with Engine(path, executor=InlineExecutor()) as engine:
        yield engine


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


# -- at submit ------------------------------------------------------------------------------------------------------


def plain(url, size=1):
    return url


def starred(url, *more, deep=False, **rest):
    return url


def strict(url, *, deep):
    return url


FITS = {
    "one": (plain, ("a",), {}),
    "both": (plain, ("a", 2), {}),
    "by name": (plain, (), {"url": "a"}),
    "many": (starred, ("a", 1, 2, 3), {"deep": True, "key": "x"}),
    "a keyword that must be": (strict, ("a",), {"deep": 1}),
    "a partial": (functools.partial(plain, size=3), ("a",), {}),
    "a class": (dict, (), {"a": 1}),
    "a builtin that does not tell": (max, (1, 2), {}),
}
FITS_NOT = {
    "missing": (plain, (), {}, "missing a required argument: 'url'"),
    "surplus": (plain, ("a", 1, 2), {}, "too many positional arguments"),
    "twice": (plain, ("a",), {"url": "b"}, "multiple values for argument 'url'"),
    "unknown": (plain, ("a",), {"deep": 1}, "unexpected keyword argument 'deep'$"),
    "an option": (plain, ("a",), {"key": "a"}, r"'key'; key is an option: say options\(key=…\).submit\(…\)"),
    "a keyword that is missing": (strict, ("a",), {}, "missing a required.*argument: 'deep'"),
    "too many for a partial": (functools.partial(plain, size=3), ("a", 1), {}, "too many positional arguments"),
    "none for a class": (functools.partial(plain, "a", 1), (1,), {}, "too many positional arguments"),
}


def injects(fn):
    @functools.wraps(fn)
    def wrapper(*args):
        return fn("database", *args)

    return wrapper


def test_a_call_is_bound_to_what_is_called_and_not_to_what_that_wraps(inline):
    f = inline.task(injects(lambda database, url: (database, url)), name="f")
    assert f("x") == f.submit("x").result() == ("database", "x")


def test_a_call_is_bound_to_the_newest_definition_which_would_run_it(inline):
    old = inline.task(lambda a: a, name="f")
    old.submit(1)
    inline.task(lambda a, b: a + b, name="f")
    with pytest.raises(TypeError, match="missing a required argument: 'b'"):
        old.submit(1)
    assert old.submit(1, 2).result() == 3


def test_what_is_said_of_the_name_is_no_argument_either(engine):
    with pytest.raises(TypeError, match=r"'limit'; limit is said in task\(\)$"):
        engine.task(plain, name="f").submit("a", limit=2)


@pytest.mark.parametrize("case", FITS)
def test_a_call_that_fits_is_stored(engine, case):
    fn, args, kwargs = FITS[case]
    task = engine.task(fn, name="f").submit(*args, **kwargs).snapshot()
    assert (task.args, task.kwargs) == (args, kwargs)


@pytest.mark.parametrize("case", FITS_NOT)
@pytest.mark.parametrize("way", ["alone", "by name", "in a transaction", "through map"])
def test_a_call_that_does_not_fit_is_refused_and_nothing_is_stored(engine, case, way):
    fn, args, kwargs, text = FITS_NOT[case]
    function = engine.task(fn, name="f")
    with pytest.raises(TypeError, match=f"'f' cannot be called with these arguments: .*{text}"):
        if way == "alone":
            function.submit(*args, **kwargs)
        elif way == "by name":
            engine.submit("f", *args, **kwargs)
        elif way == "in a transaction":
            with engine.transaction():
                function.submit(*args, **kwargs)
        elif kwargs or not args:
            function.submit(*args, **kwargs)  # `map` has neither
        else:
            function.map(*[[value] for value in args])
    assert len(engine.tasks) == 0


def test_children_of_a_gather_that_do_not_fit_fail_the_body_that_asks(inline):
    child = inline.task(plain, name="child")
    parent = inline.task(lambda: taskcore.current().gather(child, [1], [2], [3]), name="parent").submit()
    inline.run()
    assert "too many positional arguments" in str(parent.exception())
    assert len(inline.tasks) == 1


def test_what_is_run_elsewhere_takes_any_arguments(engine):
    assert engine.submit("robot", 1, 2, deep=3).snapshot().kwargs == {"deep": 3}


# -- in the log -----------------------------------------------------------------------------------------------------


def fails(n):
    raise ValueError(f"no {n}\x1b[31m\nand more")


def test_each_failure_for_good_is_one_warning(inline, caplog):
    inline.task(fails, name="f", max_attempts=3, backoff=taskcore.constant(0)).submit(7)
    inline.task(lambda: 1, name="g").submit()
    inline.run(progress=False)
    assert warnings(caplog) == [r"task #1 is failed: f: ValueError: no 7\x1b[31m\nand more"]


def test_a_failed_job_and_a_lost_task_are_told_of_too(engine, clock, caplog):
    with engine.job("night") as job:
        child = engine.task("f", max_lapses=0).submit()
    engine.claim("f", lease=1)
    clock.advance(2)
    engine.claim("g")
    assert (child.snapshot().phase, job.snapshot().phase) == ("failed", "failed")
    assert warnings(caplog) == ["task #1 is failed: night: 1 of 1 children failed",
                                "task #2 is failed: f: lost: its lease ran out (1 times)"]  # fmt: skip


def test_what_was_cancelled_or_skipped_did_not_fail(inline, caplog):
    first = inline.submit("elsewhere")
    inline.submit("elsewhere", first)
    first.cancel()
    assert inline.tasks.counts() == {"cancelled": 1, "skipped": 1}
    assert warnings(caplog) == []


# -- at the end of a run --------------------------------------------------------------------------------------------


def test_a_run_on_a_terminal_ends_with_what_failed(inline, capsys):
    with inline.transaction():
        for n in (1, 1, 2):
            inline.task(fails, name="f").submit(n)
    assert inline.run(progress=True) == {"failed": 3}
    assert capsys.readouterr().err.splitlines()[-2:] == [
        r"2 failed: f: ValueError: no 1\x1b[31m\nand more", r"1 failed: f: ValueError: no 2\x1b[31m\nand more"
    ]  # fmt: skip
    inline.task(fails, name="f").submit(3).exception()  # before the next run begins
    assert inline.run(progress=True) == {"failed": 4}
    assert "1 failed: f: ValueError: no 3" in capsys.readouterr().err
    assert inline.run(progress=True) == {"failed": 4}
    assert "failed" not in capsys.readouterr().err  # nothing failed in this run


def test_many_different_failures_are_cut_with_a_count(inline, capsys):
    with inline.transaction():
        for n in range(9):
            inline.task(fails, name="f").submit(n)
    inline.run(progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert (sum(" failed: f: " in line for line in lines), lines[-1]) == (5, "and 4 other texts")


def test_a_run_that_is_no_terminal_says_nothing_of_its_own(inline, capsys):
    inline.task(fails, name="f").submit(1)
    inline.run()
    assert not sys.stderr.isatty() and "1 failed" not in capsys.readouterr().err


# -- by a callback --------------------------------------------------------------------------------------------------


def test_on_failure_is_called_with_the_row_until_it_is_ended(inline):
    heard = []
    end = inline.on_failure(heard.append)
    f = inline.task(fails, name="f")
    f.submit(1)
    inline.run()
    (task,) = heard
    assert (task.id, task.name, task.phase) == (1, "f", "failed") and task.last_error.startswith("ValueError: no 1")
    end()
    end()
    f.submit(2)
    inline.run()
    assert len(heard) == 1


def test_on_failure_gets_a_failed_row_though_the_task_was_rerun_meanwhile(path):
    heard = []
    with Engine(path, workers=4) as engine:
        engine.on_failure(lambda task: heard.append((task.phase, task.last_error)))
        f = engine.task(fails, name="f", key_scope="succeeded")

        def again(n):
            for _ in range(20):
                f.options(key=str(n)).submit(n).exception()

        threads = [threading.Thread(target=again, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(heard) == 80 and {phase for phase, _ in heard} == {"failed"}


def test_a_body_that_ends_under_a_failed_label_is_told_of(inline, caplog):
    inline.task(lambda: taskcore.Done(1, status="failed"), name="f").submit()
    inline.run()
    assert warnings(caplog) == ["task #1 is failed: f: as its body returned"]


def test_the_first_submits_of_many_threads_are_all_taken(engine):
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for n in range(40):
            f, at_once = engine.task(lambda a: a, name=f"f{n}"), threading.Barrier(6)
            raised = []

            def submit(f=f, at_once=at_once, raised=raised):
                at_once.wait()
                try:
                    f.submit(1)
                except Exception as error:
                    raised.append(error)

            threads = [threading.Thread(target=submit) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert raised == []
    finally:
        sys.setswitchinterval(before)


def test_on_failure_that_raises_stops_nothing(inline, caplog):
    heard = []
    inline.on_failure(lambda task: 1 / 0)
    inline.on_failure(heard.append)
    inline.task(fails, name="f").submit(1)
    inline.run()
    assert len(heard) == 1 and "ZeroDivisionError" in caplog.text


def test_on_failure_of_what_is_no_function_is_refused(engine):
    with pytest.raises(TypeError, match="on_failure takes a function"):
        engine.on_failure(5)


def test_on_failure_of_a_closed_engine_is_refused(inline):
    inline.close()
    with pytest.raises(taskcore.EngineClosed):
        inline.on_failure(print)

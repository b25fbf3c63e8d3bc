"""Which function runs a task: the newest definition of its name, and what is refused or said where one is made."""

import contextlib
import gc
import logging
import threading
import weakref

import pytest

from taskcore import Engine
from tests.support.processes import until


@pytest.fixture
def opened(path):
    """`opened()` → another engine on the one file, closed at the end."""
    with contextlib.ExitStack() as made:
        yield lambda **more: made.enter_context(contextlib.closing(Engine(path, workers=2, **more)))


def test_the_newest_definition_runs_the_tasks_of_every_engine_of_the_process_on_that_file(opened):
    old, new = opened(), opened()
    f = old.task(lambda n: "old", name="f")
    assert f.submit(0).result() == "old"
    old.start()
    changed = new.task(lambda n: "new", name="f")
    futures = [each.submit(n) for n in range(100) for each in (f, changed)]
    assert {future.result() for future in futures} == {"new"}
    assert {task.worker for task in new.tasks if task.id > 1} <= {old.name, new.name}


def test_an_engine_that_never_ran_a_name_does_not_begin_to(opened):
    one, other = opened(), opened()
    other.start()
    one.task(lambda: 1, name="f")
    assert "f" not in other._context.definitions


def test_engines_on_other_files_keep_what_they_were_given(opened, tmp_path):
    here = opened()
    with contextlib.closing(Engine(tmp_path / "elsewhere.db", workers=1)) as elsewhere:
        kept = elsewhere.task(lambda: "there", name="f")
        here.task(lambda: "here", name="f")
        assert kept.submit().result() == "there"


def test_a_link_to_the_file_is_the_file(opened, path, tmp_path):
    old = opened()
    f = old.task(lambda: "old", name="f")
    (tmp_path / "link.db").symlink_to(path)
    with contextlib.closing(Engine(tmp_path / "link.db", workers=1)) as new:
        new.task(lambda: "new", name="f")
        assert f.submit().result() == "new"


def test_a_cell_that_opens_the_engine_run_again_and_again_leaves_one_engine_and_loses_nothing(path):
    before, gone, futures = threading.active_count(), [], []
    for n in range(10):
        with contextlib.nullcontext() if n == 0 else pytest.warns(ResourceWarning, match="dropped without close"):
            engine = Engine(path, workers=2)
            f = engine.task(lambda n: n, name="f")
            futures.append(f.submit(n))
            assert futures[-1].result() == n
            gc.collect()
        gone.append(weakref.ref(engine))
    until(lambda: threading.active_count() <= before + 4, "only the threads of the last one are left")
    until(lambda: sum(reference() is not None for reference in gone) == 1, "only the last one is left")
    assert [future.result() for future in futures] == list(range(10))
    engine.close()


def said(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_two_functions_under_one_name_are_told_of_with_both_places(engine, caplog):
    def first():
        return 1

    def second():
        return 2

    engine.task(first, name="f")
    engine.task(second, name="f")
    (text,) = said(caplog)
    assert "'f'" in text and "first" in text and "second" in text and text.count("test_definitions.py, line") == 2


def test_a_cell_or_module_that_is_run_again_is_no_news(engine, caplog):
    for source, file in (("def f(): return 1", "<cell 1>"), ("def f():\n    return 2", "<cell 2>")):
        names = {"__name__": "notebook"}
        exec(compile(source, file, "exec"), names)  # noqa: S102 - as a notebook does
        engine.task(names["f"])
        engine.task(names["f"])
    assert said(caplog) == []


def test_methods_of_two_objects_are_told_of(engine, caplog):
    class Survey:
        def go(self, n):
            return n

    one, other = Survey(), Survey()
    engine.task(one.go)
    engine.task(one.go)
    assert said(caplog) == []
    engine.task(other.go)
    assert len(said(caplog)) == 1


def test_a_lambda_is_asked_for_a_name(engine):
    with pytest.raises(TypeError, match="no name of its own: say which with name="):
        engine.task(lambda: 1)


def test_a_method_is_refused_where_it_is_defined(engine):
    with pytest.raises(TypeError, match=r"Survey.fetch is a method.*define a function outside of the class"):

        class Survey:
            @engine.task
            def fetch(self, url):
                return url


def test_a_static_method_and_a_bound_one_are_functions(engine):
    class Survey:
        @engine.task
        def double(n):
            return 2 * n

        def half(self, n):
            return n // 2

    assert Survey.double.submit(2).snapshot().args == (2,)
    assert engine.task(Survey().half, name="half").submit(2).snapshot().args == (2,)


def test_who_gives_a_function_to_a_name_that_is_run_elsewhere_is_told_how(engine):
    with pytest.raises(TypeError, match=r"run elsewhere.*to give it one, say engine.task\(name='pw'\)"):
        engine.task("pw")(lambda n: n)

"""What a notebook shows: true, escaped, short, and never an exception."""

import contextlib
import re
from html.parser import HTMLParser

import pytest

import taskcore
from taskcore import Engine
from taskcore.core.lifecycle import PHASES
from taskcore.view.colours import SIGNS
from taskcore.view.html import ROWS

HOSTILE = "<script>alert('x')</script>\" onload=\"y\" &amp; \x1b[31m \u202e"


class Page(HTMLParser):
    """The tags, attributes and text of what is shown."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.names, self.text, self.titles = [], set(), "", []
        self.rows = html.count("<tr>")
        self.feed(re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL))
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.names.update(name for name, _ in attributes)
        self.titles += [value for name, value in attributes if name in ("title", "aria-label")]

    def handle_data(self, text):
        self.text += text


def page(thing):
    return Page(thing._repr_html_())


@pytest.fixture
def night(inline, clock):
    """A job of which a child failed and one sleeps; another task failed twice before it went well."""

    @inline.task
    def fetch(url, depth=1):
        clock.advance(2)
        if "bad" in url:
            raise ValueError(f"no {url}")
        return len(url)

    @inline.task(max_attempts=3, backoff=taskcore.constant(5))
    def stubborn():
        clock.advance(1)
        if taskcore.current().task.attempts < 3:
            raise OSError("not yet")
        return {"tries": 3}

    @inline.task
    def sleepy():
        run = taskcore.current()
        run.step("look", lambda: "stars")
        run.message("looking up")
        run.progress(1, 4)
        run.wait_for("dawn")

    with inline.job("night 12") as job:
        for url in ("a.org", "bad.org", "c.org"):
            fetch.submit(url, depth=2)
        sleepy.submit()
    stubborn.submit()
    inline.run()
    return job


def named(engine, name):
    return engine.future(engine.tasks.where(name=name).first())


def test_an_engine_shows_its_counts_names_rates_what_runs_and_what_failed(inline, night, clock):
    inline.submit("heat", 900)
    inline.claim("heat")
    inline.submit("heat", 901)
    shown = page(inline)
    for text in ("8 tasks", "3 of 3", "ValueError: no bad.org", "heat(900)", "for 0 s", "fetch('bad.org', depth=2)"):
        assert text in shown.text, text
    # three fetches of 2 s each, began 24 s ago
    began = min(task.started_at for task in inline.tasks.where(name="fetch"))
    assert f"{3 / (clock.now() - began):.2g}" in shown.text
    assert any("2 succeeded, 1 failed" in title for title in shown.titles)


def test_the_time_left_follows_from_the_rate_and_an_old_rate_is_none(inline, clock):
    work = inline.task(lambda n: clock.advance(1), name="work")
    with inline.transaction():
        for n in range(10):
            work.submit(n)
    inline.run()
    inline.tasks.where(ids=[1, 2, 3, 4]).rerun()
    assert "1 a second" in page(inline).text and "4 s left" in page(inline).text
    clock.advance(61)
    assert "a second ·" not in page(inline).text and "4 s left" not in page(inline).text


def test_a_handle_shows_its_life_attempts_steps_log_and_what_it_waits_for(inline, night):
    stubborn = page(named(inline, "stubborn"))
    life = "waited 6 s → failed after 1 s → waited 5 s → failed after 1 s → waited 5 s → succeeded after 1 s"
    assert life in stubborn.text
    assert "OSError: not yet" in stubborn.text and "Traceback" in stubborn.text and "{'tries': 3}" in stubborn.text
    sleepy = page(named(inline, "sleepy"))
    for text in ("suspended until it gets the signal", "25 %", "look: looking up", "'stars'"):
        assert text in sleepy.text, text
    waiting = inline.submit("heat", after=named(inline, "sleepy"))
    assert "sleepy()" in page(waiting).text and "is to be succeeded" in page(waiting).text


def test_a_life_tells_when_a_body_slept(inline, clock):
    @inline.task(max_attempts=2, backoff=lambda failures: 60.0)
    def nap(again):
        taskcore.current().sleep(7.0)
        clock.advance(1)
        if again:
            raise ValueError("not yet")

    first, second, third = nap.submit(False), nap.submit(False), nap.submit(True)
    clock.advance(2)
    inline.run()
    clock.advance(3)
    assert "waited 2 s → suspended for 3 s" in page(first).text
    second.cancel()
    assert "waited 2 s → cancelled after 3 s" in page(second).text
    clock.advance(5)
    inline.run()
    third.cancel()
    assert "waited 2 s → suspended 8 s → succeeded after 1 s" in page(first).text
    assert "waited 2 s → suspended 9 s → failed after 1 s" in page(third).text
    assert "waited 2 s → suspended 8 s → succeeded after 1 s" in page(first.snapshot()).text
    gaps = inline.timeline()._gaps[1]
    assert [(gap.phase, gap.end - gap.start) for gap in gaps] == [("waiting", 2), ("suspended", 3)]


def test_a_life_keeps_its_order_where_an_attempt_took_no_time(inline, clock):
    @inline.task(max_attempts=2, backoff=taskcore.constant(5))
    def quick():
        if taskcore.current().task.attempts < 2:
            raise ValueError("not yet")

    future = quick.submit()
    inline.run()
    assert "failed after 0 s → waited 5 s → succeeded after 0 s" in page(future).text
    inline.pause("quick")
    clock.advance(3)
    future.rerun()
    assert "failed after 0 s → waited 5 s → succeeded after 0 s → ready for 3 s" in page(future).text


def test_a_job_shows_its_childrens_bar(night):
    shown = page(night)
    assert "3 of 4 ended" in shown.text
    assert "2 succeeded, 1 failed, 1 suspended" in shown.titles


def test_a_row_alone_shows_what_it_says(inline, night):
    for task in inline.tasks:
        shown = page(task)
        assert f"#{task.id} {task.name}" in shown.text and task.status in shown.text
    assert "earlier attempts 12 s → succeeded after 1 s" in page(named(inline, "stubborn").snapshot()).text


def test_a_pipeline_shows_subjects_by_steps(inline):
    survey = inline.pipeline("survey")
    survey.task(lambda name: taskcore.Done(name, status="good"), name="cutout")
    survey.task(lambda name: 1 / 0, name="match", needs={"cutout": "good"})
    assert "0 subjects" in page(survey).text
    for subject in ("a", "b"):
        survey.start(subject)
    inline.run()
    survey.task(lambda name: name, name="later")
    shown = page(survey)
    assert "2 subjects" in shown.text and shown.text.count("✓good") == 2 and shown.text.count("✗failed") == 2
    assert re.search(r"b✓good✗failed.*a✓good✗failed", shown.text, re.DOTALL)  # the newest first


def test_schedules_show_when_they_are_due(inline, clock):
    inline.every("5m", name="tick")(lambda: 1)
    inline.cron("0 3 * * *", tz="Europe/Rome", name="flats", enabled=False)(lambda: 1)
    shown = page(inline.schedules)
    for text in ("2 schedules", "every 5 min", "in 5 min", "0 3 * * * (Europe/Rome)", "disabled"):
        assert text in shown.text, text
    assert "flats" not in page(inline.schedules["tick"]).text
    assert repr(inline.schedules) == "<Schedules: flats, tick>"


def test_no_more_than_the_newest_rows_are_shown_and_of_a_long_text_its_beginning(engine):
    with engine.transaction():
        for n in range(ROWS + 30):
            engine.submit("heat", n)
        engine.submit("heat", "x" * 100_000, list(range(10_000)))
    shown = engine.tasks._repr_html_()
    assert Page(shown).rows == ROWS + 1 and f"the newest {ROWS} of {ROWS + 31}" in shown
    assert "heat([[&quot;xxx" in shown  # long arguments stand in a table of their own
    assert "heat(29)" not in shown and len(shown) < 150_000
    assert len(engine.tasks[-1]._repr_html_()) < 20_000
    with engine.transaction():
        for n in range(40):
            engine.submit(f"name {n}")
    assert "and 16 more" in page(engine).text


def test_the_table_of_a_selection_is_sorted_by_what_each_cell_says(inline, night):
    shown = inline.tasks._repr_html_()
    assert "<button" in shown and "onclick=" in shown and "<script" not in shown
    keys = re.findall(r'<td class="n" data-k="([\d.]+)">(\d+)</td>', shown)
    assert [float(key) for key, _ in keys] == [float(text) for _, text in keys] == [6, 5, 4, 3, 2, 1]


def everything(engine, night):
    survey = engine.pipeline(HOSTILE)
    survey.task(lambda name: name, name=HOSTILE)
    survey.start(HOSTILE)
    engine.every(60, name=HOSTILE + "s")(lambda: 1)

    @engine.task(name=HOSTILE + "t", key=HOSTILE, tags=[HOSTILE])
    def hostile(text, **named):
        print(HOSTILE)
        run = taskcore.current()
        run.message(HOSTILE)
        run.step(HOSTILE, lambda: HOSTILE)
        raise ValueError(HOSTILE)

    handle = hostile.submit(HOSTILE, **{HOSTILE: HOSTILE})
    engine.run()
    return [engine, engine.tasks, handle, handle.snapshot(), survey, engine.schedules, night]


def test_nothing_that_others_wrote_is_ever_html_or_moves_text(made, inline, night):
    for thing in everything(inline, night):
        shown = page(thing)
        assert "script" not in shown.tags and "onload" not in shown.names, thing
        assert shown.text.count("<script>") or thing in (night, inline.schedules), thing
        assert not [c for c in shown.text + "".join(shown.titles) if not c.isprintable() and c != "\n"], thing
        assert repr(thing).isprintable() and "\n" not in repr(thing)


def test_light_and_dark_are_by_the_reader_or_by_the_notebooks_theme(engine):
    shown = engine._repr_html_()
    for text in ("prefers-color-scheme:dark", "[data-jp-theme-light=true]", "[data-jp-theme-light=false]"):
        assert text in shown
    for phase in PHASES:
        assert f"--tc-{phase}:" in shown and phase in SIGNS


def test_what_cannot_be_read_says_so_and_raises_nothing(inline, night, raw):
    things = everything(inline, night)
    raw("UPDATE taskcore_task SET args = '{', result = 'x' WHERE id = 2")
    assert "fetch({)" in page(inline.tasks).text
    assert page(inline.future(2)).text and page(inline.tasks[1]).text
    gone = inline.future(inline.tasks.where(name="stubborn").first())
    inline.tasks.where(id=gone).delete()
    assert "cannot be shown now: TaskNotFound" in page(gone).text and repr(gone) == f"<TaskFuture #{gone.id}>"
    inline.close()
    for thing in things:
        assert "is closed" in page(thing).text or isinstance(thing, taskcore.Task), thing
        assert repr(thing)


def test_a_phase_that_there_is_not_hides_no_other_task(inline, night, raw, tmp_path):
    raw("PRAGMA ignore_check_constraints = ON")
    raw("UPDATE taskcore_task SET phase = 'n\x1b<b>' WHERE id = 2")
    for thing in (inline, inline.tasks, inline.future(2), inline.tasks[1], inline.graph(), inline.timeline()):
        assert "b" not in page(thing).tags or thing is inline
        assert repr(thing).isprintable()
    assert "n\\x1b<b>" in page(inline).text and "cannot be shown" not in page(inline).text
    assert inline.future(2).explain() == "its row is damaged: there is no phase 'n\\x1b<b>'"
    assert "5 of 6 tasks" in inline.graph().caption
    inline.report(tmp_path / "run.html")


def test_a_task_that_has_the_results_of_many_shows_the_first_of_them(inline):
    many = inline.task(lambda n: n, name="many")
    handles = [many.submit(n) for n in range(60)]
    last = inline.submit("total", handles)
    for thing in (last, inline.tasks):
        assert "total(#1, #2, #3, #4, #5, #6, #7, …)" in page(thing).text


def test_in_the_middle_of_a_transaction_it_shows_what_is_there_so_far(made):
    with contextlib.closing(Engine(made, workers=0)) as engine, engine.transaction():
        handle = engine.submit("heat")
        assert repr(handle) == "<TaskFuture #1>"
        assert "heat" in page(engine).text and "heat" in page(handle).text


def test_a_repr_is_one_line_that_tells_something(inline, night):
    inline.submit("heat", 1)
    assert repr(inline).endswith("tasks.db': 2 suspended, 3 succeeded, 1 failed, 1 ready>")
    assert repr(night) == "<TaskFuture #1 night 12 suspended 75 %: waits for children>"
    assert repr(named(inline, "sleepy").snapshot()) == "<Task #5 sleepy suspended 25 %: looking up>"
    assert repr(inline.tasks[2]) == "<Task #3 fetch failed: ValueError: no bad.org>"
    assert repr(inline.graph(night)) == "<Graph of night 12 #1: 5 tasks>"
    assert repr(inline.timeline()) == "<Timeline of 7 tasks>"

"""The benchmarks' own rules: which rows there are, what a figure is worth, what the table ends with. No test of how
fast anything is."""

import sqlite3
from contextlib import closing

import pytest

from taskcore import Engine
from tests.bench import __main__ as runner
from tests.bench import growth, processes, queues
from tests.bench.__main__ import BENCHMARKS, Benchmark, Row, line, summary
from tests.bench.growth import GROWTH, Growth
from tests.bench.measure import Figure, NotHere
from tests.bench.references import life_of_a_task, noop, raw_chain
from tests.bench.stored import copy, fill

MORE, LESS = False, True
TABLE = [
    ("drain", 0.50, 1.0, MORE),
    ("live", 0.12, 0.25, MORE),
    ("submit", 0.60, 0.85, MORE),
    ("bulk", 0.30, 0.50, MORE),
    ("round trip", 3, 1.5, LESS),
    ("dag", 0.50, 0.70, MORE),
    ("big dag", 0.75, 0.95, MORE),
    ("backlog", 0.85, 1.0, MORE),
    ("steps", 0.60, 0.90, MORE),
    ("two", 0.90, 1.1, MORE),
    ("names", 0.40, 0.80, MORE),
    ("memory", 40, 10, LESS),
    ("idle", 5, 2, LESS),
    ("open", 3, 1.2, LESS),
    ("import", 2.5, 1.5, LESS),
    ("watched", 0.85, 0.97, MORE),
    ("counts", 2, 0.2, LESS),
    ("chain", 0.15, 0.35, MORE),
    ("fan", 0.5, 0.8, MORE),
    ("processes", 1.6, 1.9, MORE),
    ("signals", 0.33, 0.50, MORE),
]


def row(value, name="pull", *, must=0.5, aim=1.0, less=False, unit="×", fault=""):
    """A row of the table with this figure."""
    benchmark = Benchmark(name, lambda place, rounds: figure, must, aim, 1, unit, less)
    figure = Figure(value, value, value, "1.0 k/s", "2.0 k/s", fault=fault)
    return Row(benchmark, figure)


def verdict(row):
    return row.benchmark.verdict(row.figure)


# -- the rows -------------------------------------------------------------------------------------------------------


def test_every_row_is_there_with_its_marks_and_says_what_its_work_is():
    rows = [(b.name, b.must, b.aim, b.less) for b in BENCHMARKS]
    assert list(dict.fromkeys(rows)) == TABLE, "those of one name share their marks"
    assert {queues.backlog, queues.blocked} <= {b.measure for b in BENCHMARKS}, "also behind a name at its limit"
    for benchmark in BENCHMARKS:
        assert benchmark.measure.__doc__, benchmark.name


def test_a_figure_is_worth_the_better_of_the_marks_that_it_reaches():
    assert [verdict(row(value)) for value in (0.49, 0.5, 0.99, 1.0)] == ["below", "must", "must", "aim"]
    less = [verdict(row(value, must=3, aim=1.5, less=True)) for value in (3.1, 3.0, 1.6, 1.5)]
    assert less == ["below", "must", "must", "aim"]
    assert verdict(row(2.0, fault="somebody waited")) == "below", "whatever the figure is"


def test_a_line_has_the_figure_the_marks_and_both_rates():
    assert " ".join(line(row(0.75)).split()) == "pull 0.75 × 0.50 1.00 must 0.75–0.75 1.0 k/s 2.0 k/s"
    assert line(Row(row(1).benchmark, missing="not measured: no hands")) == "pull       not measured: no hands"


def test_the_table_ends_with_the_rows_below_must_each_with_its_figure_and_mark():
    low = row(0.498, "slow"), row(9, "long", must=3, aim=1, less=True), row(2, "odd", fault="one had less")
    said = summary([row(0.7), *low])
    assert [text.strip(" .") for text in said] == [
        "Below must:",
        "slow: 0.498 ×, must be at least 0.50",
        "long: 9.000 ×, must be at most 3.00",
        "odd: 2.000 ×, must be at least 0.50, and one had less",
    ]


def test_the_end_of_the_table_says_what_work_a_row_is_that_is_below_must():
    named = next(benchmark for benchmark in BENCHMARKS if benchmark.name == "chain")
    (text,) = summary([Row(named, row(0).figure)])[1:]
    assert "chain: 0.000 ×" in text and "1,000 tasks, each of which depends on the one before" in text


def test_the_table_ends_with_a_sentence_where_no_row_is_below_must():
    assert summary([row(0.7)]) == ["No row that was measured is below its must."]
    nothing, failed = Row(row(1, "two").benchmark, missing="not measured: one core"), Row(row(1).benchmark, missing="?")
    assert summary([row(0.7), nothing, failed])[1:] == ["Without a figure: two (not measured: one core); pull (?)."]


# -- the runner -----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the runner with these benchmarks instead of its own: → its exit code, and the lines that it printed."""

    def run(measures, *arguments):
        monkeypatch.setattr(runner, "BENCHMARKS", tuple(Benchmark(n, m, 0.5, 1.0, 3) for n, m in measures.items()))
        code = runner.main(arguments)
        return code, capsys.readouterr().out.splitlines()

    return run


def measuring(value, seen=None):
    def measure(place, rounds):
        assert place.is_dir() and not list(place.iterdir()), "it has an empty directory"
        if seen is not None:
            seen.append(rounds)
        return row(value).figure

    return measure


def test_only_work_that_was_not_done_is_an_error(run):
    def undone(place, rounds):
        raise AssertionError("not so: all tasks ran")

    def nowhere(place, rounds):
        raise NotHere("no hands")

    assert run({"low": measuring(0.1)})[0] == 0, "a figure below its mark is none"
    assert run({"none": nowhere})[0] == 0, "nor is what this machine cannot do"
    code, out = run({"undone": undone, "next": measuring(1.0)})
    assert code == 1
    assert any("not done: AssertionError: not so: all tasks ran" in text for text in out)
    assert any(text.startswith("next ") for text in out), "the others are measured all the same"


def test_all_rows_are_measured_in_their_own_rounds_or_those_that_are_named_in_so_many(run):
    big, small = [], []
    measures = {"big pull": measuring(1.0, big), "small": measuring(1.0, small)}
    run(measures)
    assert (big, small) == ([3], [3])
    run(measures, "--rounds", "7", "bigpull")
    run(measures, "big pull")
    assert (big, small) == ([3, 7, 3], [3])


@pytest.mark.parametrize("arguments", [("pul",), ("--rounds", "0", "pull"), ("growth", "--rounds", "0")])
def test_what_cannot_be_measured_is_refused_before_anything_is(run, arguments):
    seen = []
    with pytest.raises(SystemExit, match="2"):
        run({"pull": measuring(1.0, seen)}, *arguments)
    assert seen == []


# -- the references -------------------------------------------------------------------------------------------------


def rows(path):
    """All tasks and edges of a file, but for when it was and who did it."""
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        tasks = [dict(task) for task in db.execute("SELECT * FROM taskcore_task ORDER BY id")]
        edges = [tuple(edge) for edge in db.execute("SELECT * FROM taskcore_edge ORDER BY 1, 2")]
    times = {name for name in tasks[0] if name.endswith("_at")} | {"worker"}
    return [{name: value for name, value in task.items() if name not in times} for task in tasks], edges


def test_the_chain_that_is_walked_by_hand_leaves_the_rows_as_the_engine_leaves_them(tmp_path):
    def links(engine):
        task, last = engine.task(noop, name="noop"), None
        for _ in range(4):
            last = task.options(after=last).submit() if last else task.submit()
            yield None

    fill(tmp_path / "chain.db", links)
    byhand, run = copy(tmp_path / "chain.db", tmp_path / "hand.db"), copy(tmp_path / "chain.db", tmp_path / "run.db")
    assert raw_chain(byhand, life_of_a_task(tmp_path), 4) > 0
    with closing(Engine(run, workers=1)) as engine:
        engine.task(noop, name="noop")
        assert engine.run(progress=False) == {"succeeded": 4}
    assert rows(byhand) == rows(run)
    assert rows(byhand) != rows(tmp_path / "chain.db")


def test_worker_processes_are_not_measured_on_one_core(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "cores", lambda: 1)
    with pytest.raises(NotHere, match="one core"):
        processes.census(tmp_path, 1)


# -- how cost grows -------------------------------------------------------------------------------------------------


def test_growth_is_measured_from_little_to_much_of_everything():
    assert [(one.what, one.sizes[0], one.sizes[-1]) for one in GROWTH] == [
        ("tasks in the file", 1_000, 1_000_000),
        ("dependencies", 1, 1_000_000),
        ("threads", 1, 64),
        ("processes", 1, 8),
        ("ended tasks in the file", 100, 1_000_000),
        ("task names", 1, 1_000),
        ("bytes of an argument", 100, 1_000_000),
    ]


def grows(cost, *, more_tasks=False):
    """A row whose task takes `cost(n)` seconds where there are n."""
    return Growth("edges", "a graph is walked", lambda place, n: cost(n), (1, 10, 100, 1000), more_tasks)


def test_a_row_is_too_steep_where_its_whole_work_grows_by_more_than_n_log_n():
    def steep(row):
        return row.steep([row.measured(None, n) for n in row.sizes])

    everywhere = [(1, 10), (10, 100), (100, 1000)]
    assert steep(grows(lambda n: 1e-6)) == []
    assert steep(grows(lambda n: n * 1e-6)) == [], "as many times as long"
    assert steep(grows(lambda n: n**2)) == everywhere
    assert steep(grows(lambda n: 1e-6, more_tasks=True)) == [], "as many times as long, for as many tasks"
    assert steep(grows(lambda n: n, more_tasks=True)) == everywhere
    assert steep(grows(lambda n: 1 if n < 100 else 30 * n)) == [(10, 100)]
    assert steep(grows(lambda n: n**1.5, more_tasks=True)) == everywhere


def test_growth_is_a_markdown_table_with_what_is_too_steep_below_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(growth, "GROWTH", (grows(lambda n: 2e-6 * n), grows(lambda n: 1e-6 * n**2)))
    assert runner.main(["growth", "--rounds", "1"]) == 0
    out = capsys.readouterr().out
    table = [text for text in out.splitlines() if text.startswith("|")]
    assert len(table) == 4 and {text.count("|") for text in table} == {8}
    assert table[2] == "| edges | a graph is walked | 1: 1.00 | 10: 10 | 100: 100 | 1,000: 1,000 | 2 µs |"
    assert "\nMore than n log n: edges, from 1 to 10;" in out
    monkeypatch.setattr(growth, "GROWTH", growth.GROWTH[:1])
    growth.table(tmp_path, 1)
    assert capsys.readouterr().out.endswith("\nFrom cell to cell, nothing grows by more than n log n.\n")


def test_a_cell_is_the_shortest_of_rounds_but_measured_once_where_that_takes_long(tmp_path, monkeypatch):
    costs = {1: iter([5.0, 1.0, 2.0]), 10: iter([7.0, 9.0, 8.0])}
    rounds = Growth("edges", "a graph is walked", lambda place, n: next(costs[n]), (1, 10))
    assert growth.measure(tmp_path, rounds, 3) == [1.0, 7.0]
    monkeypatch.setattr(growth, "LONG", -1.0)
    costs = {1: iter([5.0]), 10: iter([7.0])}
    once = Growth("edges", "a graph is walked", lambda place, n: next(costs[n]), (1, 10))
    assert growth.measure(tmp_path, once, 3) == [5.0, 7.0]

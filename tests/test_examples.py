"""The examples, run as their readers run them: as scripts, in an empty directory.

Each ends with its output as a comment. What varies (numbers, and the words of indented rows) is compared by its shape;
a session in terminals, which has commands behind `$`, word by word.
"""

import contextlib
import email
import functools
import inspect
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import taskcore
from tests.support.processes import until

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

TABLE = [
    ("census.py", ("--limit-files", "30")),
    ("alab_furnace.py", ()),
    ("blast_transients.py", ()),
    ("pyfarm_frames.py", ()),
    ("sosw_queue.py", ()),
    ("metrics.py", ()),
    ("on_dask.py", ("--stars", "300")),
]
SESSIONS = ["survey_night.py", "nomad_uploads.py"]
WINDOWS = ["desktop.py"]  # see tests/test_desktop.py

FEW = str(Path(email.__file__).parent)
"""A tree that the census is quick to walk."""
FILES = len(list(Path(FEW).rglob("*.py")))

NUMBER = re.compile(r"\d[\d,.]*\b")


def run(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLES / script, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def output_of(script: str, *arguments: str, cwd: Path) -> str:
    """What the script printed; it must have ended well, and without a word on stderr."""
    ran = run(script, *arguments, cwd=cwd)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    return ran.stdout


def output_in_comment(script: str) -> str:
    """The comment that follows the line `# Output:`, to the end of the script."""
    _, _, comment = (EXAMPLES / script).read_text(encoding="utf-8").partition("\n# Output:\n")
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in comment.splitlines())


def session_in_comment(script: str) -> dict[tuple[str, ...], str]:
    """The arguments of each command in the comment → what it printed, to the next command or blank line."""
    command = re.compile(rf"^\$ python examples/{re.escape(script)}(.*)\n((?:(?!\$ ).+\n)*)", re.MULTILINE)
    said = command.findall(output_in_comment(script) + "\n")
    return {tuple(arguments.split()): output for arguments, output in said}


def shape(output: str) -> list[str]:
    """The lines, every number a 0. An indented line is a row of data: its words don't count either, only which of its
    columns (two spaces apart) are numbers; and rows alike count as one, however many there are."""
    shapes: list[str] = []
    for line in output.rstrip().splitlines():
        if line.startswith("  "):
            cells = re.split(r" {2,}", line.strip())
            row = "  " + "  ".join("0" if NUMBER.fullmatch(cell) else "word" for cell in cells)
            if shapes[-1:] != [row]:
                shapes.append(row)
        else:
            shapes.append(NUMBER.sub("0", line))
    return shapes


First = Callable[..., tuple[Path, str]]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> First:
    """`first(script, …)` → the folder in which it ran, once for all who ask, and what it printed."""

    @functools.cache
    def run_once(script: str, *arguments: str) -> tuple[Path, str]:
        folder = tmp_path_factory.mktemp("first")
        return folder, output_of(script, *arguments, cwd=folder)

    return run_once


def package_totals(engine: taskcore.Engine) -> dict[str, object]:
    return {task.args[0]: task.result for task in engine.tasks.where(name="total", phase="succeeded")}


def test_every_example_is_in_the_table() -> None:
    assert {script for script, _ in TABLE} | {*SESSIONS, *WINDOWS} == {path.name for path in EXAMPLES.glob("*.py")}


@pytest.mark.parametrize(("script", "arguments"), TABLE, ids=[script for script, _ in TABLE])
def test_an_example_prints_what_the_comment_at_its_end_says(
    script: str, arguments: tuple[str, ...], first: First
) -> None:
    expected = shape(output_in_comment(script))
    assert expected
    assert shape(first(script, *arguments)[1]) == expected


def test_a_number_and_a_row_of_data_have_the_same_shape_whatever_they_say() -> None:
    assert shape("files: 1,790\n  a  12\n  b c  1.5\n  d  SyntaxError: line 3\n") == [
        "files: 0",
        "  word  0",
        "  word  word",
    ]
    assert shape("tasks: 7 in 0.3 s") == shape("tasks: 1,234 in 25.1 s") != shape("tasks: 7")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_a_census_killed_half_way_goes_on_and_parses_no_file_twice(tmp_path: Path) -> None:
    some = ("--root", FEW, "--workers", "2")
    undisturbed = output_of("census.py", *some, "--db", "undisturbed.db", cwd=tmp_path)

    killed = run("census.py", *some, "--kill-after", "15", cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert killed.stdout.splitlines()[-1] == "15 files parsed, killing this process"
    with taskcore.Engine(tmp_path / "census.db", workers=0) as engine:
        before = len(engine.tasks.where(name="parse", phase="succeeded"))
    assert 0 < before < FILES

    output = output_of("census.py", *some, cwd=tmp_path)
    assert f"parsed now: {FILES - before}, before: {before}, twice: 0" in output.splitlines()
    with (
        taskcore.Engine(tmp_path / "census.db", workers=0) as engine,
        taskcore.Engine(tmp_path / "undisturbed.db", workers=0) as other,
    ):
        attempts = [task.attempts for task in engine.tasks.where(name="parse", phase="succeeded")]
        assert len(attempts) == FILES
        again = [number for number in attempts if number != 1]
        assert len(again) <= 10, "only what was running, or had returned in the last moment, is run again"
        assert set(again) <= {2}
        assert f"cut off by a kill and begun again: {len(again)}" in output.splitlines()
        assert package_totals(engine) == package_totals(other)
    assert rows(output) == rows(undisturbed)


def rows(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("  ")]


@pytest.mark.storm
def test_a_census_that_was_finished_parses_nothing_when_it_is_run_again(tmp_path: Path) -> None:
    some = ("--root", FEW, "--limit-files", "20")
    first = output_of("census.py", *some, cwd=tmp_path)
    second = output_of("census.py", *some, cwd=tmp_path)
    assert "parsed now: 20, before: 0, twice: 0" in first.splitlines()
    assert "parsed now: 0, before: 20, twice: 0" in second.splitlines()
    fresh = output_of("census.py", *some, "--fresh", cwd=tmp_path)
    assert "parsed now: 20, before: 0, twice: 0" in fresh.splitlines()
    assert rows(first) == rows(second) == rows(fresh)


@pytest.mark.storm
def test_a_census_goes_from_a_few_files_to_more_in_the_same_database(tmp_path: Path) -> None:
    some = ("--root", FEW, "--limit-files")
    output_of("census.py", *some, "10", cwd=tmp_path)
    more = output_of("census.py", *some, "20", cwd=tmp_path)
    assert "parsed now: 10, before: 10, twice: 0" in more.splitlines()
    assert rows(more) == rows(output_of("census.py", *some, "20", "--db", "other.db", cwd=tmp_path))


def test_a_file_that_cannot_be_parsed_is_in_the_report_with_its_reason_and_stops_nothing(tmp_path: Path) -> None:
    tree = {
        "single.py": b"import os\n\n\ndef one():\n    return os\n",
        "good/__init__.py": b"",
        "good/module.py": b"class A:\n    async def f(self):\n        from os import path\n        return path\n",
        "good/broken.py": b"def f(:\n",
        "bad/coding.py": b"# -*- coding: nonsense -*-\n",
        "bad/bytes.py": b"'\xff'\n",
        "bad/deep.py": b"-" * 100_000 + b"1\n",
        "good/site-packages/foreign.py": b"def f(:\n",
    }
    for path, source in tree.items():
        file = tmp_path / "tree" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(source)

    output = output_of("census.py", "--root", "tree", "--workers", "2", cwd=tmp_path)
    cells = {line.split()[0]: line.split()[1:] for line in rows(output)}

    assert cells["(single"] == ["modules)", "1", "5", "1", "0", "1"]
    assert cells["good"] == ["2", "4", "1", "1", "1"]
    assert cells["bad"] == ["0", "0", "0", "0", "0"]
    assert cells["all"] == ["packages", "3", "9", "2", "1", "2"]
    assert "files that cannot be parsed: 4" in output.splitlines()
    assert "SyntaxError: invalid syntax (broken.py, line 1)" in output
    assert "unknown encoding: nonsense" in output
    assert {path for path in cells if path.endswith(".py")} == {
        "good/broken.py",
        "bad/coding.py",
        "bad/bytes.py",
        "bad/deep.py",
    }
    assert (tmp_path / "census.report.txt").read_text(encoding="utf-8") in output


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_a_laboratory_killed_while_it_heats_goes_on_and_tells_the_same_when_it_is_run_again(tmp_path: Path) -> None:
    with terminal("alab_furnace.py", cwd=tmp_path) as first:
        with taskcore.Engine(tmp_path / "lab.db", workers=0) as looking:
            heating, mixed = looking.tasks.where(status="heating"), looking.tasks.where(name="mix", phase="succeeded")
            while not (len(heating) and len(mixed) == 6):  # the robot's claim of one would go on for seconds
                assert first.poll() is None
    assert first.returncode == -signal.SIGKILL

    output = output_of("alab_furnace.py", cwd=tmp_path)
    expected = output_in_comment("alab_furnace.py").splitlines()
    assert rows(output)[2:] == [line for line in expected if line.startswith("  O")]
    assert output.splitlines()[-10:-6] == expected[1:5]
    again = output_of("alab_furnace.py", cwd=tmp_path)
    assert again.splitlines() == [line for line in output.splitlines() if not line.startswith("O1: ")]


@pytest.mark.storm
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_a_laboratory_killed_while_its_robot_mixes_the_first_sample_cancels_that_experiment_all_the_same(tmp_path):
    with terminal("alab_furnace.py", cwd=tmp_path) as first:
        until_there_is(first, tmp_path / "lab.db", name="mix", phase="running")
    assert "nitrides: cancelled" in output_of("alab_furnace.py", cwd=tmp_path).splitlines()


@pytest.mark.storm
def test_transients_looked_at_the_next_day_are_not_looked_at_again(tmp_path: Path) -> None:
    output = output_of("blast_transients.py", cwd=tmp_path)
    morning = rows(output)[7:]
    again = output_of("blast_transients.py", cwd=tmp_path)
    assert "in the morning, 0 tasks begun again:" in again.splitlines()
    assert rows(again)[7:] == morning


@pytest.mark.storm
def test_the_frames_of_the_farm_are_there_and_a_desk_that_comes_again_finds_all_done(tmp_path):
    output_of("pyfarm_frames.py", cwd=tmp_path)
    names = sorted(path.name for path in (tmp_path / "frames").iterdir())
    assert names == [f"{frame:03}.png" for frame in range(240)]
    with taskcore.Engine(tmp_path / "farm.db", workers=0) as engine:
        attempts = {task.args[0]: task.attempts for task in engine.tasks.where(name="render")}
        assert {frame: number for frame, number in attempts.items() if number > 1} == {30: 2, 60: 2, 90: 3}
        assert engine.tasks.counts() == {"succeeded": 240 + 1 + 2}
        assert engine.check() == []
        (sheet,) = engine.tasks.where(name="contact_sheet")
        assert sheet.started_at >= max(task.finished_at for task in engine.tasks.where(name="render"))
        (tmp_path / "sheet.png").unlink()
    again = output_of("pyfarm_frames.py", cwd=tmp_path).splitlines()
    assert "turntable: all is well" in again
    assert "the light is there now; frames to be rendered again: 0" in again
    assert not (tmp_path / "sheet.png").exists(), "it was not made again"


@pytest.mark.storm
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_all_frames_are_rendered_though_the_only_agent_of_the_farm_is_killed(tmp_path):
    with terminal("pyfarm_frames.py", cwd=tmp_path) as first:
        until_there_is(first, tmp_path / "farm.db", name="render", phase="succeeded")
        (agent,) = children(first)
        os.kill(agent, signal.SIGKILL)
        assert first.wait(30) == 0
    with taskcore.Engine(tmp_path / "farm.db", workers=0) as engine:
        assert engine.tasks.counts() == {"succeeded": 240 + 1 + 2}


def test_what_a_killed_worker_held_is_done_by_another_and_an_orchestrator_that_comes_again_adds_nothing(first):
    folder, _ = first("sosw_queue.py")
    with taskcore.Engine(folder / "queue.db", workers=0) as engine:
        before = list(engine.tasks)
        assert {task.key for task in before if task.phase != "succeeded"} == {"broken.raw"}
        (killed,) = engine.tasks.where(name="compress", key="huge.raw")
        one, two = engine.future(killed.id).history()
        assert (one.outcome, two.outcome, killed.lapses) == ("lapsed", "succeeded", 1)
        assert {one.worker, two.worker} <= {"ant", "bee"}, "one of the two that are there, or in its place"
        assert two.started_at - one.started_at >= 0.5, "not before its lease was over"
        assert engine.check() == []
    assert "queued: 0 resize, 0 digest, 0 compress" in output_of("sosw_queue.py", cwd=folder).splitlines()
    with taskcore.Engine(folder / "queue.db", workers=0) as engine:
        assert list(engine.tasks) == before


@pytest.mark.storm
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_an_orchestrator_that_was_killed_while_its_workers_went_on_sees_to_what_they_could_not_do(tmp_path):
    with terminal("sosw_queue.py", cwd=tmp_path) as first:
        until_there_is(first, tmp_path / "queue.db", name="digest", phase="succeeded")
        first.kill()
        with taskcore.Engine(tmp_path / "queue.db", workers=0) as looking:
            left = looking.tasks.where(phase=["scheduled", "ready", "running"])
            until(lambda: not len(left), "the workers end what they can")
            assert looking.tasks.where(key="late.raw").counts() == {"failed": 1, "paused": 2}
    output_of("sosw_queue.py", cwd=tmp_path)
    with taskcore.Engine(tmp_path / "queue.db", workers=0) as engine:
        assert {task.key for task in engine.tasks if task.phase != "succeeded"} == {"broken.raw"}


@pytest.mark.storm
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_the_queues_are_worked_off_though_both_workers_die(tmp_path):
    with terminal("sosw_queue.py", cwd=tmp_path) as first:
        until_there_is(first, tmp_path / "queue.db", name="compress", phase="succeeded")
        for worker in children(first):
            os.kill(worker, signal.SIGKILL)
        assert first.wait(30) == 0
        assert first.stdout is not None
        assert "workers killed: " in first.stdout.read()
    with taskcore.Engine(tmp_path / "queue.db", workers=0) as engine:
        assert {task.key for task in engine.tasks if task.phase != "succeeded"} == {"broken.raw"}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
@pytest.mark.parametrize("place", ["processes", "dask"])
def test_stars_whose_measuring_was_killed_on_processes_or_a_cluster_go_on_and_none_is_measured_twice(tmp_path, place):
    if place == "dask":
        pytest.importorskip("distributed")
    elif "processes" not in inspect.signature(taskcore.Engine).parameters:
        pytest.skip("there are no worker processes")
    few = (place, "--stars", "300")
    killed = run("on_dask.py", *few, "--kill-after", "100", cwd=tmp_path)
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, "100 stars measured, killing this process\n")
    with taskcore.Engine(tmp_path / "stars.db", workers=0) as engine:
        before = len(engine.tasks.where(name="measure", phase="succeeded"))
    again = run("on_dask.py", *few, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    found, counts, _ = again.stdout.splitlines()
    assert found == "stars: 300, brightest: 1.0166, faintest: 0.9877"
    now = re.match(rf"measured now: {300 - before}, before: {before}, twice: 0, cut off: (\d+)$", counts)
    assert now is not None and int(now[1]) <= 64, counts
    with taskcore.Engine(tmp_path / "stars.db", workers=0) as engine:
        assert engine.check() == []


# -- a session in two terminals ------------------------------------------------------------------------------------

NIGHT = "survey_night.py"
DIES: tuple[str, ...] = ("--die-after", "5")
OBSERVES: tuple[str, ...] = ()
LOOKS: tuple[str, ...] = ("look",)
APPROVES: tuple[str, ...] = ("approve", "--by", "Ada")
ASKS = "waiting for: python examples/survey_night.py approve\n"


@contextlib.contextmanager
def terminal(script: str, *arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """The script, running meanwhile; killed at the end, if it still runs."""
    with subprocess.Popen(
        [sys.executable, EXAMPLES / script, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONUTF8": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until_there_is(first: subprocess.Popen[str], database: Path, **task: str) -> None:
    with taskcore.Engine(database, workers=0) as looking:
        while not len(looking.tasks.where(**task)):
            assert first.poll() is None


def children(of: subprocess.Popen[str]) -> list[int]:
    if shutil.which("pgrep") is None:
        pytest.skip("there is no pgrep to find them with")
    return [int(pid) for pid in subprocess.check_output(["pgrep", "-P", str(of.pid)]).split()]


def until_it_asks(first: subprocess.Popen[str]) -> str:
    assert first.stdout is not None
    said = ""
    for line in first.stdout:
        said += line
        if line == ASKS:
            return said
    raise AssertionError(said)


def look_at_a_night_that_waits(cwd: Path) -> str:
    """From a second process; it waits in the moment after it asked."""
    for _ in range(100):
        seen = output_of(NIGHT, *LOOKS, cwd=cwd)
        if "suspended, waiting for signal approve" in seen:
            return seen
    raise AssertionError(seen)


def killed_half_way(cwd: Path) -> str:
    killed = run(NIGHT, *DIES, cwd=cwd)
    assert (killed.returncode, killed.stderr) == (-signal.SIGKILL, "")
    return killed.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_a_night_that_was_killed_goes_on_and_is_approved_in_another_terminal(tmp_path: Path) -> None:
    said = {DIES: killed_half_way(tmp_path)}
    with terminal(NIGHT, *OBSERVES, cwd=tmp_path) as first:
        said[OBSERVES] = until_it_asks(first)
        said[LOOKS] = look_at_a_night_that_waits(tmp_path)
        said[APPROVES] = output_of(NIGHT, *APPROVES, cwd=tmp_path)
        said[OBSERVES] += "".join(first.stdout or ())
    assert first.returncode == 0
    assert said == session_in_comment(NIGHT)

    with taskcore.Engine(tmp_path / "night.db", workers=0) as engine, engine.transaction() as db:
        attempts = {task.args[0]: task.attempts for task in engine.tasks.where(name="reduce")}
        assert [frame for frame, number in attempts.items() if number != 1] == [(5, 1)], "the one that was cut off"
        published = db.execute("SELECT field, exposure, count(*) FROM star GROUP BY field, exposure").fetchall()
        assert published == [(*frame, 9) for frame in sorted(attempts)], "each star of each frame once"
        (night,) = engine.tasks.where(name="night")
        assert (night.attempts, night.lapses) == (1, 0), "it had no thread when its process died"


@pytest.mark.storm
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_a_night_killed_while_it_waits_takes_the_approval_that_came_while_nobody_ran_it(tmp_path: Path) -> None:
    said = killed_half_way(tmp_path)
    with terminal(NIGHT, *OBSERVES, cwd=tmp_path) as first:
        said += until_it_asks(first)
        look_at_a_night_that_waits(tmp_path)
    assert first.returncode == -signal.SIGKILL
    assert output_of(NIGHT, *APPROVES, cwd=tmp_path) == "approved\n"

    report = output_of(NIGHT, *OBSERVES, cwd=tmp_path)
    expected = session_in_comment(NIGHT)
    assert said + report == expected[DIES] + expected[OBSERVES]
    assert output_of(NIGHT, *OBSERVES, cwd=tmp_path) == report, "a night that is over is told of again, not repeated"
    assert output_of(NIGHT, *APPROVES, cwd=tmp_path) == "the night is over\n"


# -- uploads that are killed, continued and replaced ------------------------------------------------------------------

UPLOADS = "nomad_uploads.py"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_uploads_that_were_killed_go_on_and_one_of_them_is_replaced(tmp_path: Path) -> None:
    """Compared by shape: the numbers are those of sources that change."""
    session = {arguments: shape(output) for arguments, output in session_in_comment(UPLOADS).items()}
    assert list(session) == [("--die-after", "2"), (), ("--replace",)]
    killed = run(UPLOADS, "--die-after", "2", cwd=tmp_path)
    assert (killed.returncode, killed.stderr) == (-signal.SIGKILL, "")
    assert shape(killed.stdout) == session["--die-after", "2"]

    assert shape(output_of(UPLOADS, cwd=tmp_path)) == session[()]
    with taskcore.Engine(tmp_path / "uploads.db", workers=0) as engine, engine.transaction() as db:
        (process,) = engine.tasks.where(name="process", key="upload-7")
        assert (process.attempts, process.lapses) == (1, 0), "it had no thread when its process died"
        entries = {entry.args[0]: (entry.phase, entry.lapses) for entry in engine.tasks.where(parent=process.id)}
        assert entries["upload-7/survey_night.py"] == ("succeeded", 1), "the one that was cut off"
        assert entries["upload-7/nomad_uploads.py"][0] == "failed"
        assert [entry for (entry,) in db.execute("SELECT entry FROM entry ORDER BY entry")] == [
            "upload-7/census.py",
            "upload-7/survey_night.py",
        ]

    assert shape(output_of(UPLOADS, "--replace", cwd=tmp_path)) == session["--replace",]
    with tarfile.open(tmp_path / "public" / "upload-7.tar.gz") as public:
        published = public.extractfile("./nomad_uploads.py")
        assert published is not None and published.read() == (EXAMPLES / UPLOADS).read_bytes()
    again = shape(output_of(UPLOADS, cwd=tmp_path))
    assert again == session["--replace",][-len(again) :], "what is over is told of again, not repeated"

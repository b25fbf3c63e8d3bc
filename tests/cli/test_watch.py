"""`watch`: its pictures as lines of text, its keys on a terminal that is none, and the terminal itself."""

import contextlib
import json
import os
import re
import select
import shutil
import signal
import sys

import pytest

from taskcore import Engine
from taskcore.api import glance as api
from taskcore.api.glance import Name
from taskcore.cli import frames, watch
from taskcore.cli.choosing import Commands, Parser
from taskcore.cli.frames import Glance, View
from taskcore.cli.lines import cut, painted, plain, short
from taskcore.cli.main import main
from taskcore.cli.terminal import keys_of, screen
from taskcore.core.clock import monotonic
from taskcore.core.lifecycle import PHASES
from taskcore.core.text import cells, fitted
from taskcore.store import pages
from taskcore.store.overview import Brief

termios = pytest.importorskip("termios")

HOSTILE = "\x1b]0;pwned\x07\x1b[31m\r\n\x9b2J\u202eevil\u200b\x7f é"
WIDE = "日本語の仕事"
MARKS = "e" + "\u0301" * 500


def brief(task, phase, name="fetch", **more):
    given = dict.fromkeys(Brief._fields)
    given.update(id=task, name=name, phase=phase, status=phase, children=0, open=0, attempts=1, submitted_at=900.0)
    return Brief(**{**given, "args": "", **more})


def glance(names=3, running=3, failed=3, **more):
    what = (HOSTILE, WIDE, MARKS, "fetch")
    numbers = {"succeeded": 1_234_567, "failed": 12, "running": 3, "ready": 10**7}
    counts = {(phase, phase): n for phase, n in numbers.items()}
    return Glance(
        "survey.db", 1000.0, [Name(f"{what[n % 4]}{n}", counts, 12.5, n == 1) for n in range(names)],
        {("running", "running"): 3, ("succeeded", HOSTILE): 5, ("failed", WIDE): 12}, 2, True,
        [
            ("running", running, [
                brief(n + 1, "running", what[n % 4], key=HOSTILE, started_at=990.0, progress=0.5, message=WIDE * 9)
                for n in range(running)
            ]),
            ("failed", 10 * failed, [
                brief(n + 10**6, "failed", what[n % 4], status="no match", finished_at=999.0, last_error=HOSTILE)
                for n in range(failed)
            ]),
        ], explained="because " * 50,
        **more,
    )  # fmt: skip


# -- texts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["fetch", WIDE, HOSTILE, MARKS, "x" * 10**6, "日" * 10**5, "a日" * 9, ""])
def test_a_fitted_text_has_exactly_its_width(text):
    for width in (0, 1, 2, 3, 7, 12, 13, 40):
        made = fitted(text, width)
        assert cells(made) == width and made.isprintable(), (text[:20], width)
    assert len(fitted(MARKS, 10)) < 20  # what is drawn over one place has an end
    assert fitted("日本語", 6) == "日本語" and fitted("日本語", 5) == "日本…" and fitted("日本語", 4) == "日… "


def test_a_number_is_short():
    assert [short(n) for n in (0, 9_999, 12_345, 1_000_000, 123_456_789)] == ["0", "9,999", "12k", "1.0M", "123M"]


# -- pictures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(60, 24), (80, 24), (200, 60), (20, 5), (7, 3), (1, 1)])
def test_a_picture_has_exactly_its_size_and_nothing_that_a_terminal_obeys(size):
    width, height = size
    views = [
        View(), View(filter=HOSTILE, typing=True), View(name=WIDE), View(help=True), View(opened=1), View(note=HOSTILE),
        View(question=HOSTILE * 5, asked=("cancel", ("all", None))), View(at=("task", 10**6)),
    ]  # fmt: skip
    for seen in (glance(40, 40, 40, trouble=HOSTILE), Glance("x", 0.0)):
        for view in views:
            lines = frames.frame(seen, view, width, height, [WIDE * 3, "x"] * 40)
            for signs in (True, False):
                assert [cells(plain(line, signs)) for line in lines] == [width] * height, (view, signs)
                assert all(plain(line, signs).isprintable() for line in lines)


def test_a_terminal_of_60_columns_and_24_lines_shows_it_all():
    text = [plain(line) for line in frames.frame(glance(), View(), 60, 24)]
    assert text[0].startswith("survey.db · on hold · 2 engines") and re.fullmatch(r".* \d\d:\d\d:\d\d", text[0])
    page = "\n".join(text)
    for part in ("3 running", "12 日本語の仕事", "RUNNING 3", "FAILED 30, the newest 3", "50%   10 s"):
        assert part in page
    assert "on hold" in next(line for line in text if line.startswith(f"  {WIDE}1"))
    for key in ("? help", "q quit", "/ filter", "p pause", "r resume", "c cancel", "R rerun"):
        assert key in text[-1]


def test_parts_share_the_lines_and_what_is_chosen_is_always_seen():
    assert frames.shares([2, 100, 100], 12) == [2, 5, 5] and frames.shares([1, 0], 9) == [1, 0]
    view, seen = View(), glance(50, 50, 50)
    keys = frames.keys(frames.sections(seen, view))
    assert len(keys) == len(set(keys)) == 151
    for view.at in keys[::7]:
        assert sum(plain(line).startswith("›") for line in frames.frame(seen, view, 60, 24)) == 1
    view.at = ("task", 25)
    frames.settle(view, frames.sections(seen, view))
    frames.settle(view, frames.sections(glance(50, 5, 50), view))
    assert view.at == keys[view.place + 45]  # what stands there now


def test_the_bar_gives_whatever_there_is_a_place():
    assert plain(frames.bar({}, 9)) == "░" * 9
    assert plain(frames.bar({"succeeded": 5}, 9)) == "█" * 9
    counts = {"succeeded": 10**6, "failed": 1, "running": 1, "ready": 10**6}
    assert plain(frames.bar(counts, 20)) == "█" * 9 + "▚▓" + "░" * 9
    assert plain(frames.bar({"failed": 1, "succeeded": 2, "skipped": 0}, 10), signs=False) == "#######xxx"


def test_a_terminal_of_ascii_is_shown_nothing_else():
    counts = {(phase, phase): 1 for phase in PHASES}
    seen = Glance("a.db", 0.0, [Name("f", counts, 2.0)], counts, lists=[("tasks", 1, [brief(1, "failed")])])
    lines = frames.frame(seen, View(at=("task", 1), note="x" * 200), 200, 24)
    assert all(painted(line, True, signs=False).isascii() for line in lines)


def test_a_file_takes_as_long_as_the_name_that_takes_longest():
    names = [
        Name("fast", {("succeeded", "succeeded"): 9, ("ready", "ready"): 10, ("scheduled", "scheduled"): 10}, 10.0),
        Name("slow", {("ready", "ready"): 50, ("paused", "paused"): 70}, 1.0),
        Name("unknown", {("ready", "ready"): 10**6}),
    ]  # fmt: skip
    seen = Glance("a.db", 0.0, names, api.summed(names))
    text = [plain(line) for line in frames.frame(seen, View(), 80, 24)]
    assert text[1].rstrip().endswith("11/s  50 s left")
    times = [(line[1:].split()[0], line[-7:].strip()) for line in text[4:8]]
    assert times == [("all", "50 s"), ("unknown", ""), ("slow", "50 s"), ("fast", "1 s")]


def test_colours_can_be_done_without(monkeypatch):
    line = [("failed", "✗"), ("chosen", " #1…")]
    assert painted(line, True, True) == "\x1b[31m✗\x1b[0m\x1b[7m #1…\x1b[0m"
    assert painted(line, False, False) == "x\x1b[7m #1~\x1b[0m"
    assert cut(line, 3) == [("failed", "✗"), ("chosen", " …")]


# -- counting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("few", [2000, 0])
def test_what_is_counted_by_name_is_found_too_the_newest_first(engine, monkeypatch, few):
    monkeypatch.setattr(pages, "SPAN", 5)
    monkeypatch.setattr(pages, "SORTED", few)
    monkeypatch.setattr(pages, "MOMENT", 0.0)  # each read gets no further than one span
    for n in range(35):
        engine.submit("ab"[n % 2])
    engine.task("h").options(hidden=True).submit()
    for claim in engine.claim(n=12):
        claim.fail("broken", retry=False)
    engine.claim()[0].succeed(status="good")
    seen = engine.tasks.where(hidden=False)
    found = api.names_of(seen._context, seen._where)
    assert api.summed(found) == {("ready", "ready"): 22, ("succeeded", "good"): 1, ("failed", "failed"): 12}
    assert [(name.name, name.total, name.left) for name in found] == [("a", 18, 11), ("b", 17, 11)]
    tagged = api.names_of(seen._context, seen.where(tag=None, key=None)._where)  # what no kept count answers
    assert [(name.name, name.counts) for name in tagged] == [(name.name, name.counts) for name in found]
    for n, chosen, ids in (
        (22, seen.where(phase="ready"), range(35, 20, -1)),
        (12, seen.where(phase="failed", name="b"), [12, 10, 8, 6, 4, 2]),
        (1, seen.where(phase="succeeded", status="good"), [13]),
    ):
        assert [task.id for task in api.newest(chosen, n, 15)] == list(ids)


# -- keys -----------------------------------------------------------------------------------------------------------


def test_keys_are_known_by_their_bytes():
    typed = b"a\x1b[A\x1b[B\x1bOA\x1b[5~\x1b[6~\x1b[H\x1b[F\r\n\t\x1b[Z\x7f\x1b\xc3\xa9\x01\x1b[1;5C\xff\x1b[M"
    assert keys_of(typed) == [
        "a", "up", "down", "up", "page up", "page down", "home", "end", "enter", "enter", "tab", "back tab",
        "backspace", "escape", "é",
    ]  # fmt: skip


class Fake:
    """A terminal of which keys come as if typed, one after each picture."""

    signs, size = True, (80, 24)

    def __init__(self, *keys):
        self.keys, self.pages = list(keys), []

    def draw(self, lines, whole):
        self.pages.append("\n".join(re.sub(r"\x1b\[[\d;]*m", "", line) for line in lines))

    def key(self, until):
        key = self.keys.pop(0) if self.keys else "q"
        if key is None:  # nobody types until it is time to look again
            select.select([], [], [], max(0.0, until - monotonic()))
        return key

    def forget(self):
        pass


@pytest.fixture
def typed(engine, path):
    """`typed(key, …)` → the pictures that a watcher's user saw, one before each key; [-4] is what came of the last."""

    def run(*keys, words=()):
        parser = Parser()
        watch.add(Commands(parser))
        given = parser.parse_args(["watch", *words])
        given.file = str(path)
        terminal, view = Fake(*keys, "escape", "escape", "escape"), View()
        watch.loop(watch.Watcher(engine, given), view, terminal, 0.0)
        return terminal.pages

    return run


def test_a_name_is_held_and_goes_on(engine, typed):
    for _ in range(2):
        engine.submit("fetch")
    pages = typed("down", "p", None)
    assert engine.held == ["fetch"] and "fetch is on hold" in pages[2] and "on hold" in pages[0 + 3]
    typed("down", "r", "up", "p")
    assert engine.held == [""] and engine.claim() == []
    typed("r")
    assert engine.held == [] and engine.tasks.counts() == {"ready": 2}


def test_what_is_not_seen_is_not_moved(engine, typed):
    typed("p", "c", "enter")
    assert engine.held == []
    engine.submit("fetch")
    typed("down", "/", *"nobody", "enter", None, "p", "c", "y")
    assert engine.held == [] and engine.tasks.counts() == {"ready": 1}


def test_with_filters_what_is_paused_are_the_tasks_that_match(engine, typed):
    engine.submit("fetch")
    engine.task("fetch").options(tags=["t"]).submit()
    typed("p", words=["--tag", "t"])
    assert engine.held == [] and [task.id for task in engine.tasks.where(phase="paused")] == [2]


def test_what_is_cancelled_or_rerun_far_is_asked_before(engine, typed):
    for name in "aab":
        engine.submit(name)
    pages = typed("down", "c", "n")
    assert "cancel 2 unfinished of a? (y/n)" in pages[2] and engine.tasks.counts() == {"ready": 3}
    pages = typed("down", "c", "y", None)
    assert "2 tasks cancelled" in pages[3] and engine.tasks.counts() == {"cancelled": 2, "ready": 1}
    engine.claim()[0].fail("broken", retry=False)
    assert "rerun 1 failed of all names?" in typed("R", "x")[1]
    assert engine.tasks.counts() == {"cancelled": 2, "failed": 1}
    typed("R", "y")
    assert engine.tasks.counts() == {"cancelled": 2, "ready": 1}  # what failed, and nothing else
    assert "nothing to rerun there" in typed("R", None)[1]


def test_a_task_is_chosen_shown_and_moved(engine, typed):
    for name in ("a", HOSTILE):
        engine.submit(name)
    engine.claim(n=2)
    pages = typed("tab", "down", None, "enter", None, "c", "y")
    assert "#2 running" in pages[3] and "phase  running" in pages[5] and "cancel #2?" in pages[6]
    assert all(line.isprintable() for page in pages for line in page.split("\n"))
    assert [task.id for task in engine.tasks if task.cancel_requested_at] == [2]


def test_a_filter_is_of_names_phases_statuses_and_numbers(engine, typed):
    for name in ("fetch", "fetch all", "total"):
        engine.submit(name)
    engine.claim("total")[0].fail("broken", retry=False)
    pages = typed("/", *"fet", "enter", None)
    assert "total" not in pages[-4].split("\n", 3)[3] and "fetch all" in pages[-4]
    assert "READY 1" in typed("/", *"all ready", "enter", None)[-4]
    assert "#3" in typed("/", *"fail", "enter", None)[-4].split("FAILED 1")[1]
    assert "TASKS 1" in typed("/", *"#2", "enter", None)[-4]
    pages = typed("down", "enter", None)
    assert "TO COME 1" in pages[-4] and "· fetch ·" in pages[-4]
    assert "NAME" in typed("/", *"nobody", "escape", None)[-4]


def test_a_phase_that_is_filtered_by_has_all_of_its_labels(path, typed):
    with contextlib.closing(Engine(path, workers=0, statuses={"no match": "failed"})) as engine:
        for _ in range(4):
            engine.submit("fetch")
        first, second, third = engine.claim("fetch", n=3)
        first.fail("broken", retry=False)
        second.succeed(status="no match")
        third.succeed()
    assert "FAILED READY 3" in typed("/", *"failed ready", "enter", None)[-4]
    assert "FAILED 2" in typed("/", *"failed", "enter", None)[-4]
    assert "NO MATCH 1" in typed("/", *"no match", "enter", None)[-4]


def test_the_names_are_sorted_as_one_likes_and_help_is_there(engine, typed):
    for name in "abb":
        engine.submit(name)
    pages = typed("s", "s", "s", None, "?", None, "q")
    assert re.search(r"LEFT\*\s.*all .*\n +b .*\n +a ", pages[0], re.DOTALL) and "sorted by name" in pages[3]
    assert re.search(r"NAME\*.*all .*\n +a .*\n +b ", pages[4], re.DOTALL)
    assert "rerun a task" in pages[6] and "a * marks it" in pages[6] and "NAME" in pages[7]


def test_a_file_that_cannot_be_read_now_is_shown_as_it_was(engine, typed, monkeypatch):
    engine.submit("fetch")
    glances = watch.Watcher.glance
    calls = []

    def fail(self, view):
        calls.append(1)
        if len(calls) > 1:
            raise watch.Trouble("disk I/O error")
        return glances(self, view)

    monkeypatch.setattr(watch.Watcher, "glance", fail)
    page = typed(None)[1]
    assert "this is old: disk I/O error" in page and "1 ready" in page


# -- without a terminal ---------------------------------------------------------------------------------------------


def test_without_a_terminal_it_prints_one_picture_or_says_what_it_needs(engine, path, capsys, monkeypatch):
    engine.submit("fetch"), engine.submit("fetch")
    engine.claim()
    assert main([str(path), "watch"]) == 2
    assert capsys.readouterr().err == (
        "taskcore: watch needs a terminal; --once prints one picture, --json one as JSON\n"
    )
    monkeypatch.setenv("COLUMNS", "60")
    assert main([str(path), "watch", "--once", "--name", "fetch"]) == 0
    out = capsys.readouterr().out
    assert "RUNNING 1\n ► #1 fetch" in out and "\x1b" not in out and max(map(len, out.splitlines())) <= 60
    assert main([str(path), "watch", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["counts"] == {"ready": 1, "running": 1} and found["running"][0]["id"] == 1
    assert found["names"] == [{"name": "fetch", "counts": {"ready": 1, "running": 1}, "rate": None, "held": False}]


def test_a_damaged_row_hides_no_other(engine, typed, path, capsys, raw):
    engine.submit("fetch"), engine.submit("fetch")
    raw("PRAGMA ignore_check_constraints = ON")
    raw("UPDATE taskcore_task SET phase = 'odd\x1b' WHERE id = 2")
    assert main([str(path), "watch", "--once"]) == 0
    assert "○ 1 ready  ? 1 odd\\x1b" in capsys.readouterr().out
    assert "? #2 fetch" in typed("/", *"#2", "enter", None)[-4]


# -- on a terminal --------------------------------------------------------------------------------------------------


class Screen:
    """The other side of a terminal: what is shown there, and whoever types."""

    def __init__(self, master):
        self.master, self.shown = master, b""

    def type(self, text):
        self.shown = b""
        os.write(self.master, text)

    def until(self, text):
        """Read until this is shown; → all that was since the last key."""
        end = monotonic() + 20
        while text not in self.shown:
            ready, _, _ = select.select([self.master], [], [], max(0.0, end - monotonic()))
            assert ready, (text, self.shown[-2000:])
            self.shown += os.read(self.master, 65536)
        return self.shown


@contextlib.contextmanager
def on_a_terminal(monkeypatch):
    """A terminal as stdin and stdout of this process: its other side, and its number here."""
    master, slave = os.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with open(slave, closefd=False) as stdin, open(slave, "w", closefd=False) as stdout, monkeypatch.context() as here:
        here.setattr(sys, "stdin", stdin)
        here.setattr(sys, "stdout", stdout)
        yield Screen(master), slave
    os.close(slave)
    os.close(master)


def test_the_terminal_is_given_back_whatever_ends_it(monkeypatch):
    with on_a_terminal(monkeypatch) as (there, end):
        before, handlers = termios.tcgetattr(end), [signal.getsignal(number) for number in (2, 15, 20, 28)]
        for error in (ZeroDivisionError, KeyboardInterrupt, SystemExit):
            with pytest.raises(error), screen() as taken:
                taken.draw(["one", "two"])
                there.until(b"\x1b[2;1H\x1b[0mtwo")
                assert termios.tcgetattr(end) != before
                raise error
            assert b"\x1b[?25h\x1b[?1049l" in there.until(b"\x1b[?1049l")
            there.shown = b""
            assert termios.tcgetattr(end) == before
            assert [signal.getsignal(number) for number in (2, 15, 20, 28)] == handlers


def test_keys_resizes_and_signals_reach_a_picture_between_two_reads(monkeypatch):
    with on_a_terminal(monkeypatch) as (there, _), pytest.raises(SystemExit) as stop, screen() as taken:
        there.type(b"x\x1b[B")
        assert [taken.key(monotonic() + 5) for _ in "xB"] == ["x", "down"]
        assert taken.key(monotonic()) is None
        there.type(b"yy")
        taken.forget()
        assert taken.key(monotonic() + 0.01) is None
        signal.raise_signal(signal.SIGWINCH)
        assert taken.key(monotonic() + 5) == "resize"
        there.shown = b""
        signal.raise_signal(signal.SIGCONT)  # stopped by somebody who did not say so before
        assert taken.key(monotonic() + 5) == "resize" and there.until(b"\x1b[?1049h")
        taken.draw(["one", "two"])
        there.until(b"two")
        there.shown = b""
        taken.draw(["one", "three"])
        assert b"one" not in there.until(b"three")  # it stands there already
        signal.raise_signal(signal.SIGTERM)
        taken.key(monotonic() + 5)
    assert stop.value.code == 143


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_it_lives_in_a_shell(engine, path):
    """As one uses it: started, resized, stopped by Ctrl-Z, brought back, used, interrupted."""
    import fcntl
    import pty
    import struct

    with engine.transaction():
        for _ in range(30):
            engine.submit("fetch")
    child, master = pty.fork()
    if child == 0:  # pragma: no cover
        environment = {**os.environ, "PS1": "sh$ ", "TERM": "xterm", "PYTHONPATH": os.getcwd(), "HISTFILE": ""}
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"], environment)
    try:
        there = Screen(master)
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
        there.until(b"sh$ ")
        there.type(f"{sys.executable} -m taskcore {path} watch\n".encode())
        there.until(b" quit")
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 40, 0, 0))
        there.shown = b""
        assert b"\x1b[10;1H" in there.until(b" quit") and b"\x1b[11;1H" not in there.shown
        there.type(b"\x1a")
        assert b"\x1b[?1049l" in there.until(b"Stopped")
        there.type(b"fg\n")
        there.until(b" quit")
        there.type(b"p")
        there.until(b"on hold")
        there.type(b"\x03")
        assert b"\x1b[?1049l" in there.until(b"sh$ ")
        there.type(b"echo code=$?\n")
        there.until(b"code=130\r\n")
    finally:
        os.close(master)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert engine.held == [""]

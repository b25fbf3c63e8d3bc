"""What is drawn while somebody waits: one line, whole, and gone in the end."""

import io
import re
import sys
import types

import pytest

import taskcore
from taskcore import Engine, EngineClosed
from taskcore.api import lifetime, progress, terminal
from taskcore.api.progress import Line, Progress, line
from taskcore.core.text import cells


class Terminal(io.StringIO):
    """What a terminal shows of what is written to it, as far as this package writes."""

    encoding = "utf-8"

    def __init__(self, columns=80):
        super().__init__()
        self.columns = columns

    def isatty(self):
        return True

    def rows(self):
        rows, row, column = [""], 0, 0
        for piece in re.findall(r"\x1b\[\d*[A-Za-z]|[^\x1b]", self.getvalue()):
            if piece == "\r":
                column = 0
            elif piece == "\n":
                row, column = row + 1, 0
                rows += [""] * (row + 1 - len(rows))
            elif piece.endswith("A") and len(piece) > 1:
                row = max(0, row - int(piece[2:-1]))
            elif piece in ("\x1b[K", "\x1b[J"):
                rows[row] = rows[row][:column]
                if piece == "\x1b[J":
                    rows = rows[: row + 1]
            elif len(piece) == 1:
                rows[row] = rows[row][:column].ljust(column) + piece + rows[row][column + 1 :]
                column += 1
        return [row.rstrip() for row in rows]


@pytest.fixture
def take(monkeypatch):
    """`take()` → the terminal that stdout and stderr are from then on, where every look draws."""

    def take():
        screen = Terminal()
        for stream in ("stdout", "stderr"):  # in the test itself: pytest sets them anew before it
            monkeypatch.setattr(sys, stream, screen)
        monkeypatch.setattr(terminal, "AGAIN", -1.0)
        monkeypatch.setattr(progress._Terminal, "every", 0.0)
        monkeypatch.setattr(progress, "SHARE", 0)
        monkeypatch.setattr(terminal.Screen, "columns", property(lambda self: screen.columns))
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("TERM", "xterm")
        return screen

    return take


def submit(engine, n, body=None, name="work"):
    work = engine.task(body or (lambda n: n), name=name)
    with engine.transaction():
        return [work.submit(number) for number in range(n)]


# -- the line -------------------------------------------------------------------------------------------------------

WIDE = Progress(1234, 50_000, 3, {"名前" * 9: 7, "\x1b[31m": 1}, 412.3, 118.2, 1234 / 50_000)
ONE = Progress(0, 1, 0, {}, 0.0, None, 0.25, "#12 " + "名" * 30, "running: plate: " + "x" * 300)


NOTHING = Progress(0, 0, 0, {}, 0, None, 1.0)


@pytest.mark.parametrize("shown", [WIDE, ONE, NOTHING])
def test_a_line_fits_every_width_and_says_how_wide_it_is(shown):
    for columns in range(1, 200):
        text, length = line(shown, columns, "━─", lambda text, code: f"<{code}>{text}</>")
        plain = re.sub(r"</?\d*>", "", text)
        assert cells(plain) == length <= columns, (columns, plain)
        assert plain.isprintable()


def test_a_line_says_how_far_it_is_how_fast_what_runs_and_what_failed():
    said = str(Progress(389, 600, 2, {"fetch": 4, "total": 1}, 174.4, 1.21, 389 / 600))
    assert re.fullmatch(r"389/600  #+\.+  64 %  174/s  1.2 s left  2 failed  fetch ×4, total", said)
    assert str(Progress(0, 1, 0, {}, 0, None, None, "#3 fetch", "running: looking")) == "#3 fetch  running: looking"
    assert str(NOTHING) == "nothing to do"


# -- on a terminal --------------------------------------------------------------------------------------------------


def test_what_bodies_print_and_log_is_whole_above_the_line_and_the_line_is_gone_in_the_end(inline, take):
    screen = take()
    seen = []

    def body(n):
        print("body", n)
        sys.stderr.write(f"error {n}\n")
        seen.append(screen.rows())

    submit(inline, 5, body)
    assert inline.run() == {"succeeded": 5}
    assert screen.rows() == [f"{word} {n}" for n in range(5) for word in ("body", "error")] + [""]
    assert len(seen) == 5 and all(re.match(r"\d/5  ━*─*  \d+ %", rows[-1]) for rows in seen)
    assert [item.text for item in inline.future(1).log()] == ["body 0", "error 0"]  # kept once, as ever
    assert "write" not in vars(sys.stderr) or not terminal._shown


def test_a_line_that_somebody_has_begun_is_not_torn(inline, take):
    screen = take()
    submit(inline, 1)
    with Line(inline._context, None) as shown:
        shown.look()
        assert screen.rows()[-1].startswith("0/1")
        print("first", end=" ")
        shown.look()
        assert screen.rows()[-1] == "first"
        print("second")
        assert screen.rows()[0] == "first second" and screen.rows()[-1].startswith("0/1")
    assert screen.rows() == ["first second", ""]


def interrupted(engine, monkeypatch):
    """A Ctrl-C in the middle of a run."""
    due, asked = lifetime.is_due, []

    def interrupt(*spans):
        asked.append(1)
        if len(asked) > 1:
            raise KeyboardInterrupt
        return due(*spans)

    submit(engine, 3, lambda n: engine.submit("heat"))
    monkeypatch.setattr(lifetime, "is_due", interrupt)
    with pytest.raises(KeyboardInterrupt):
        engine.run()


def test_an_interrupt_leaves_nothing_of_the_line(inline, take, monkeypatch):
    screen = take()
    interrupted(inline, monkeypatch)
    assert screen.getvalue() and screen.rows() == [""] and not terminal._shown


def test_a_terminal_that_got_narrower_keeps_no_rest_of_the_line(inline, take):
    screen = take()
    submit(inline, 3)
    with Line(inline._context, None) as shown:
        shown.look()
        screen.columns = 20
        before = len(screen.getvalue())
        shown.look()
        length = len(re.sub(r"\x1b\[\d*m", "", screen.getvalue()[:before]).strip("\r").removesuffix("\x1b[K"))
        assert screen.getvalue()[before:].startswith(f"\r\x1b[{(length - 1) // 20}A\x1b[J")
        assert len(screen.rows()[-1]) < 20


def test_without_colour_and_on_a_dumb_terminal_it_is_plain(inline, take, monkeypatch):
    screen = take()
    monkeypatch.setenv("NO_COLOR", "1")
    submit(inline, 2)
    inline.run()
    assert not re.search(r"\x1b\[\d+m", screen.getvalue()) and "\x1b[K" in screen.getvalue()
    monkeypatch.setenv("TERM", "dumb")
    before = len(screen.getvalue())
    submit(inline, 2)
    inline.run()
    drawn = screen.getvalue()[before:]
    assert "0/2" in drawn and drawn.isascii() and "\x1b" not in drawn
    assert screen.rows() == [""]


def test_only_one_line_is_drawn_at_a_time(inline, take):
    take()
    with Line(inline._context, None) as first, Line(inline._context, None) as second:
        assert first.on and not second.on


def test_a_file_that_cannot_be_read_ends_no_wait(inline, take, raw):
    screen = take()
    submit(inline, 1)
    with Line(inline._context, None) as shown:
        raw("ALTER TABLE taskcore_kind RENAME TO elsewhere")
        assert shown.look() and screen.rows() == [""]
        raw("ALTER TABLE elsewhere RENAME TO taskcore_kind")
        shown.look()
        assert screen.rows()[-1].startswith("0/1")


# -- elsewhere ------------------------------------------------------------------------------------------------------


def test_a_function_is_called_with_how_far_it_is_and_in_the_end(inline, monkeypatch):
    monkeypatch.setattr(progress._Called, "every", 0.0)
    heard = []
    submit(inline, 3)
    submit(inline, 1, lambda n: 1 / 0, "bad")
    assert inline.run(progress=heard.append) == {"succeeded": 3, "failed": 1}
    assert heard[0].done == 0 and heard[0].total == 4
    assert (heard[-1].done, heard[-1].total, heard[-1].failed, heard[-1].part) == (4, 4, 1, 1.0)
    assert [each.done for each in heard] == sorted(each.done for each in heard)
    inline.tasks.where(name="work").rerun()
    inline.run(progress=heard.append)
    assert (heard[-1].done, heard[-1].total, heard[-1].failed) == (3, 3, 0)  # of this run


def test_what_bodies_submit_meanwhile_is_counted(inline, monkeypatch):
    monkeypatch.setattr(progress._Called, "every", 0.0)
    heard = []
    inline.task(lambda n: submit(inline, 3, name="child"), name="parent").submit(1)
    inline.run(progress=heard.append)
    assert (heard[0].total, heard[-1].done, heard[-1].total) == (1, 4, 4)


def test_what_a_function_raises_run_raises_and_anything_else_is_refused(inline):
    def stop(shown):
        raise LookupError("enough")

    submit(inline, 1)
    with pytest.raises(LookupError, match="enough"):
        inline.run(progress=stop)
    with pytest.raises(TypeError, match="progress is True, False, None or a function"):
        inline.run(progress="yes")
    assert inline.run(progress=False) == {"succeeded": 1}


class Displays:
    """As `IPython.display`."""

    def __init__(self):
        self.cells = []

    def display(self, data, raw, display_id):
        assert raw and display_id
        self.cells.append([data])
        return types.SimpleNamespace(update=lambda data, raw: self.cells[-1].append(data))


@pytest.fixture
def notebook(monkeypatch):
    displays = Displays()
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", displays)
    return displays.cells


def test_in_a_notebook_one_bar_is_drawn_in_place_and_stays(inline, notebook, capsys):
    submit(inline, 4)
    inline.run()
    [cell] = notebook
    assert "0/4" in cell[0]["text/plain"] and "4/4" in cell[-1]["text/plain"]
    assert 'class="taskcore"' in cell[-1]["text/html"] and "4/4" in cell[-1]["text/html"]
    assert capsys.readouterr().err == ""


def test_an_interrupt_in_a_notebook_leaves_the_bar_and_says_so(inline, notebook, monkeypatch):
    interrupted(inline, monkeypatch)
    assert "<b>interrupted</b>" in notebook[0][-1]["text/html"]


# -- a job and a task -----------------------------------------------------------------------------------------------


def test_a_task_is_watched_until_it_ends_however_it_ends(inline, notebook):
    @inline.task
    def look(n):
        run = taskcore.current()
        run.message("plate 3")
        run.progress(1, 4)
        if n:
            raise ValueError("fogged")

    look.submit(0).watch()
    handle = look.submit(1)
    assert handle.watch() is None and isinstance(handle.exception(), ValueError)
    assert [cell[0]["text/plain"] for cell in notebook] == ["#1 look  ready", "#2 look  ready"]
    assert notebook[0][-1]["text/plain"] == f"#1 look  {'#' * 30}  100 %  succeeded: plate 3"
    assert "25 %  failed: plate 3" in notebook[1][-1]["text/plain"]


def test_a_job_is_watched_by_its_children(inline, notebook):
    work = inline.task(lambda n: 1 // n, name="work")
    with inline.job("night 12") as job:
        for n in range(3):
            work.submit(n)
    job.watch()
    assert re.fullmatch(r"#1 night 12  3/3  #+  100 %  .*1 failed", notebook[0][-1]["text/plain"])


def test_who_waits_for_a_job_is_shown_it_and_for_a_task_nothing(inline, take):
    screen = take()
    with inline.job("night 12") as job:
        task = inline.submit("heat")
    with progress.of_a_job(inline._context, job.id) as shown:
        assert shown.on
        shown.look()
        assert screen.rows()[-1].startswith("#2 night 12" if job.id == 2 else "#1 night 12")
    with progress.of_a_job(inline._context, task.id) as shown:
        assert not shown.on
    assert screen.rows() == [""]


def test_who_watches_is_told_when_the_engine_closes(made):
    engine = Engine(made, workers=0)
    handle = engine.submit("heat")
    engine.close()
    with pytest.raises(EngineClosed):
        handle.watch()

"""`engine.report(…)`: one page that stands alone, there as a whole or not at all."""

import contextlib
import re
from html.parser import HTMLParser

import pytest

from taskcore.api.pictures import subject
from taskcore.cli.main import main
from tests.view.test_graph import HOSTILE, NAME


class Page(HTMLParser):
    """Its elements and texts; what is opened is closed, in order."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def lab(inline, clock):
    """Three of `fit` failed in two ways, four succeeded; one waits; and something with a name that is not nice."""

    @inline.task
    def fit(n):
        clock.advance(2.0)
        if n < 3:
            raise ValueError("no <star>" if n < 2 else HOSTILE)

    with inline.job("night 12") as job:
        for n in range(7):
            fit.submit(n)
    inline.run()
    inline.task(lambda: None, name=NAME).options(delay=60).submit()
    return inline, job


def test_errors_that_differ_in_nothing_but_their_numbers_are_one_way_to_fail(engine):
    for n in range(4):
        engine.submit("fit", n)
        engine.claim()[0].fail(ValueError(f"no star within {n} arcsec" if n else "no sky"), retry=False)
    (one, _), (other, _) = subject(engine).failures(9)
    assert (one.n, one.newest, one.error) == (3, 4, "ValueError: no star within 3 arcsec") and other.n == 1


def test_a_report_has_counts_names_failures_and_pictures_and_needs_nothing_else(lab, tmp_path):
    engine, _ = lab
    engine.report(tmp_path / "run.html")
    html = (tmp_path / "run.html").read_text(encoding="utf-8")
    page = Page(html)
    text = " ".join(page.texts)
    for said in ("9 tasks, 8 ended", "4 failed", "2 × ", "no <star>", "newest #3", "4 succeeded, 3 failed", "jobs"):
        assert said in text, said
    assert "Traceback (most recent call last)" in text and "what depends on what" in text.lower()
    assert sum(tag == "svg" for tag, _ in page.tags) == 2
    bars = [its["aria-label"] for tag, its in page.tags if tag == "div" and its.get("role") == "img"]
    assert len(bars) == 1 + 3 and "4 succeeded, 3 failed" in bars, "of all, and of three names"
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "form"}
    assert not re.search(r"(src|href)=|https?://(?!www\.w3\.org/2000/svg)|url\(|@import", html)
    assert not re.search(r"[\x00-\x08\x1b\u202e\ud800]", html) and len(html) < 120_000
    assert "\\u202e" in text and "prefers-color-scheme:dark" in html


def test_a_report_of_a_job_is_about_that_job(lab, tmp_path):
    engine, job = lab
    engine.report(str(tmp_path / "job.html"), job)
    text = " ".join(Page((tmp_path / "job.html").read_text(encoding="utf-8")).texts)
    assert "night 12 #1" in text and "8 tasks, 8 ended" in text and "critical path" in text and "\\u202e" in text


def test_a_report_of_nothing_says_so(engine, tmp_path):
    engine.report(tmp_path / "run.html", engine.tasks.where(name="no such"))
    assert "There are no tasks." in (tmp_path / "run.html").read_text(encoding="utf-8")


def test_a_report_that_cannot_be_made_leaves_what_was_there(lab, tmp_path, monkeypatch):
    engine, _ = lab
    path = tmp_path / "run.html"
    path.write_text("an earlier one")
    with pytest.raises(ValueError, match=r"\.html"):
        engine.report(tmp_path / "run.pdf")
    with pytest.raises(TypeError):
        engine.report(7)
    monkeypatch.setattr("taskcore.view.report._failures", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.report(path)
    assert path.read_text() == "an earlier one" and not list(tmp_path.glob("*.part"))


def test_a_damaged_row_hides_no_other(lab, tmp_path, raw):
    engine, job = lab
    raw("UPDATE taskcore_task SET args = 'no JSON', result = '{{', last_error = 7 WHERE id = 4")
    raw("UPDATE taskcore_task SET parent = 6 - id WHERE id IN (2, 4)")  # each the other's
    raw("INSERT INTO taskcore_edge VALUES (6, 7, 'x', 'skip', 'met', 0), (7, 6, 'x', 'skip', 'met', 0)")
    raw("UPDATE taskcore_task SET started_at = 1e308, finished_at = -1e308, submitted_at = 9e307 WHERE id = 5")
    for tasks in (None, job, 2, 6):
        engine.report(tmp_path / "run.html", tasks)
        Page((tmp_path / "run.html").read_text(encoding="utf-8"))


# -- from the command line -------------------------------------------------------------------------------------------


@pytest.fixture
def command(lab, path, capsys):
    engine, _ = lab
    engine.close()

    def run(*argv):
        with contextlib.suppress(SystemExit):
            code = main([str(path), *argv])
            return (code, *capsys.readouterr())
        return (2, *capsys.readouterr())

    return run


def test_graph_writes_what_is_asked_for(command, tmp_path):
    code, out, err = command("graph")
    assert (code, err) == (0, "") and out.startswith("flowchart LR\n") and out.count("classDef") == 3
    assert command("graph", "--format", "svg", "--name", "fit")[1].startswith("<svg")
    assert command("graph", "--of", "1", "--format", "dot", "--json")[1].startswith('{"dot": "digraph')
    target = tmp_path / "night.svg"
    assert command("graph", "--of", "#1", "--output", str(target))[:2] == (0, f"written to {target}\n")
    assert "night 12 #1: 8 tasks" in target.read_text(encoding="utf-8")
    assert command("graph", "--format", "dot", "--output", str(tmp_path / "plain"))[0] == 0
    assert (tmp_path / "plain").read_text().startswith("digraph")


def test_graph_and_report_say_what_is_wrong_and_write_nothing(command, tmp_path):
    page = str(tmp_path / "run.html")
    for argv, code, said in (
        (("graph", "--output", str(tmp_path / "x.png")), 2, ".svg, .mmd"),
        (("graph", "--name", "no such"), 1, "no task matches"),
        (("report", page, "--name", "no such"), 1, "no task matches"),
        (("report", page, "--of", "99"), 2, "no task #99"),
        (("report", page, "--of", "1", "--phase", "failed"), 2, "--of"),
        (("report", str(tmp_path / "run.txt")), 2, ".html"),
        (("report",), 2, "FILE.html"),
    ):
        found, _, err = command(*argv)
        assert found == code and said in err, argv
    assert not list(tmp_path.glob("run.*")) and not list(tmp_path.glob("x.*"))


def test_report_writes_a_page_about_what_is_chosen(command, tmp_path):
    page = tmp_path / "run.html"
    assert command("report", str(page), "--phase", "failed", "--json")[0] == 0
    assert "4 tasks, 4 ended" in page.read_text(encoding="utf-8")

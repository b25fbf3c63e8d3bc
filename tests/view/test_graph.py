"""`engine.graph(…)`: what is drawn, and that nothing in a file can make it anything but a picture."""

import gzip
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from taskcore import Engine, EngineClosed, TaskNotFound

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = 'x"><script>alert(1)</script>\x00\x1b[31m\u202e\ud800]]>&amp;{}|#;\\"\n' + "w" * 100_000
NAME = HOSTILE.replace("\x00", "").replace("\ud800", "")


def read(svg):
    """The picture as a reader of XML sees it: its texts, and what is told on a closer look."""
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in {"svg", "style", "g", "title", "rect", "path", "text"}
        assert not {name for name in element.attrib if name == "id" or name.startswith("on") or "href" in name}
    return [e.text for e in root.iter(f"{SVG}text")], [e.text for e in root.iter(f"{SVG}title")]


@pytest.fixture
def night(inline, clock):
    """A job of twenty tasks a step, of which one failed: each alike is one box."""

    @inline.task(backoff=lambda failures: 1.0, max_attempts=2)
    def measure(n):
        clock.advance(2.0)
        if n == 3:
            raise ValueError("too <faint>")

    @inline.task
    def publish(measured):
        clock.advance(1.0)

    alarm = inline.task(lambda: None, name="alarm")
    with inline.job("night 12") as job:
        measured = [measure.submit(n) for n in range(20)]
        published = publish.options(after=dict.fromkeys(measured, ("succeeded", "drop"))).submit(len(measured))
        alarm.options(after={published: "failed"}).submit()
    inline.run()
    return job


def test_alike_tasks_are_one_box_with_their_counts_and_lines_say_what_they_want(inline, night):
    graph = inline.graph(night)
    assert [(box.name, box.n, box.phases) for box in graph.boxes] == [
        ("night 12", 1, {"failed": 1}),
        ("measure", 20, {"succeeded": 19, "failed": 1}),
        ("publish", 1, {"succeeded": 1}),
        ("alarm", 1, {"skipped": 1}),
    ]
    assert [(line.upstream, line.box, line.label, line.family, line.verdicts) for line in graph.lines] == [
        (0, 1, "", True, {"met": 20}),
        (1, 2, "succeeded, else drop", False, {"met": 19, "dropped": 1}),
        (2, 3, "failed", False, {"doomed": 1}),
    ]
    texts, told = read(graph.to_svg())
    shown = {"night 12", "measure × 20", "✓ 19  ✗ 1", "#22 succeeded · 1 s", "succeeded, else drop", "failed"}
    assert shown <= set(texts)
    assert "measure: 20 tasks, 19 succeeded, 1 failed" in told
    assert "measure → publish: succeeded, else drop: 19 met, 1 dropped" in told
    assert "night 12 #1: failed; 1 of 22 children failed" in told


def test_few_tasks_are_drawn_one_by_one_and_a_job_only_above_those_children_that_come_first(engine):
    fetch = engine.task(lambda: None, name="fetch")
    with engine.job("night") as job:
        first = fetch.submit()
        fetch.options(after=first).submit()
    graph = engine.graph(job)
    assert [(box.line, box.n) for box in graph.boxes] == [("#1 suspended", 1), ("#2 ready", 1), ("#3 waiting", 1)]
    assert [(line.upstream, line.box, line.family) for line in graph.lines] == [(0, 1, True), (1, 2, False)]
    assert graph.lines[1].verdicts == {"unmet": 1}


def test_a_suspended_task_hangs_on_what_it_waits_for(inline):
    other = inline.task(lambda: None, name="other").options(delay=9).submit()
    wait = inline.task(lambda: __import__("taskcore").current().wait(inline.future(other.id)), name="wait")
    wait.submit()
    inline.run()
    graph = inline.graph()
    assert [(graph.boxes[line.upstream].name, graph.boxes[line.box].name, line.label) for line in graph.lines] == [
        ("other", "wait", "ended")
    ]


@pytest.mark.parametrize("name, groups", [("montage", 8), ("epigenomics", 9)])
def test_a_real_workflow_is_few_boxes(engine, name, groups):
    data = Path(__file__).parent.parent / "data" / f"{name}.json.gz"
    graph = json.loads(gzip.decompress(data.read_bytes()))
    futures = []
    with engine.transaction():
        for called in graph["names"]:
            futures.append(engine.submit(called.split("_")[0]))
        for upstream, task in graph["edges"]:
            futures[task].depends_on(futures[upstream])
    drawn = engine.graph()
    assert len(drawn.boxes) == groups and sum(box.n for box in drawn.boxes) == len(futures)
    assert sum(line.n for line in drawn.lines) == len(graph["edges"])
    texts, _ = read(drawn.to_svg())
    assert f"{len(futures)} tasks, in {groups} groups" in texts


def test_a_picture_is_of_what_was_asked_for(engine):
    fetch = engine.task(lambda *a: None, name="fetch")
    one = fetch.submit()
    two = fetch.submit(one)
    fetch.submit(two)
    alone = fetch.options(hidden=True).submit()
    with engine.job("empty"):
        pass

    def drawn(*tasks):
        return [box.line.split()[0] for box in engine.graph(*tasks).boxes]

    assert drawn() == ["#1", "#2", "#3", "#5"], "hidden ones are left out"
    assert drawn(two) == drawn(2) == drawn(two.snapshot()) == ["#1", "#2", "#3"], "and what is before and after it"
    assert drawn(alone) == ["#4"] and drawn(engine.tasks.where(hidden=True)) == ["#4"]
    assert drawn(engine.tasks.where(ids=[2, 3])) == ["#2", "#3"]
    assert drawn(engine.tasks.where(name="no such")) == []
    read(engine.graph(engine.tasks.where(name="no such")).to_svg())


def test_what_is_no_task_of_the_file_is_refused(engine, tmp_path):
    with Engine(tmp_path / "other.db", workers=0) as other:
        with pytest.raises(ValueError, match=r"other\.db"):
            engine.graph(other.tasks)
        with pytest.raises(ValueError, match=r"other\.db"):
            engine.timeline(other.submit("f"))
    with pytest.raises(TaskNotFound):
        engine.graph(7)
    with pytest.raises(TypeError, match="by handle or id"):
        engine.graph("night 12")
    engine.close()
    with pytest.raises(EngineClosed):
        engine.graph()


def test_only_the_newest_of_too_many_are_drawn_and_the_picture_says_so(engine, monkeypatch):
    monkeypatch.setattr("taskcore.api.pictures.MOST", 5)
    with engine.job("night") as job:
        for _ in range(7):
            engine.submit("fetch")
    assert engine.graph().caption == "the newest 5 of 8 tasks"
    graph = engine.graph(job)
    assert [box.line for box in graph.boxes][:2] == ["#1 suspended", "#5 ready"], "and the job"
    assert graph.caption == "night #1: the newest 5 of 8 tasks"


def test_no_name_key_message_or_error_is_anything_but_text(inline):
    @inline.task(name=NAME)
    def evil():
        raise ValueError(HOSTILE)

    with inline.job(NAME) as job:
        first = evil.submit()
        evil.options(after={first: ("failed", "wait")}).submit()
    inline.run()
    for drawn in (inline.graph(job), inline.timeline(job), inline.graph(), inline.timeline()):
        svg = drawn.to_svg()
        texts, _ = read(svg)
        assert len(svg) < 60_000 and not re.search(r"[\x00-\x08\x1b\u202e\ud800]", svg)
        assert any(text.startswith('x"><scr') for text in texts)
    graph = inline.graph(job)
    for line in graph.to_mermaid().splitlines():
        assert re.fullmatch(
            r"flowchart LR"
            r'|    n\d(\(\[|\[)"([\w .,:×✓-]|#\d+;|<br/>)*"(\]\)|\]):::\w+'
            r"|    n\d (-->|-\.->|-\.-)(\|[^|]*\|)? n\d"
            r"|    classDef \w+ [\w:#,]+",
            line,
        ), line
    for line in graph.to_dot().splitlines():
        rest = re.sub(r'"(\\.|[^"\\])*"', "", line)
        assert re.fullmatch(r"[\w\s=,\[\];>{}-]*", rest), line


def test_several_pictures_on_one_page_share_no_name(inline, night):
    """But what they share on purpose: the classes by which light and dark follow the reader."""
    page = inline.graph(night).to_svg() + inline.timeline(night).to_svg()
    assert not re.search(r'\sid="|url\(', page)
    assert inline.graph(night)._repr_html_() == inline.graph(night).to_svg(), "the same, drawn again"
    assert "prefers-color-scheme:dark" in page and "data-jp-theme-light" in page


@pytest.mark.parametrize(
    "ending, begins", [("svg", "<svg"), ("mmd", "flowchart"), ("DOT", "digraph"), ("gv", "digraph")]
)
def test_a_picture_is_saved_as_the_ending_says(inline, night, tmp_path, ending, begins):
    path = tmp_path / f"night.{ending}"
    path.write_text("an earlier one")
    inline.graph(night).save(path)
    assert path.read_text(encoding="utf-8").startswith(begins)
    assert [file.name for file in tmp_path.glob("night*")] == [path.name]


def test_a_picture_that_cannot_be_written_leaves_what_was_there(inline, night, tmp_path, monkeypatch):
    path = tmp_path / "night.svg"
    path.write_text("an earlier one")
    drawn = inline.graph(night)
    with pytest.raises(ValueError, match=r"night\.png.*\.svg, \.mmd"):
        drawn.save(tmp_path / "night.png")
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere$"):
        drawn.save(tmp_path / "nowhere" / "night.svg")
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(FileExistsError):
        drawn.save(tmp_path / "folder.svg")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        drawn.save(path)
    assert path.read_text() == "an earlier one"
    assert {file.name for file in tmp_path.iterdir() if "svg" in file.name} == {"night.svg", "folder.svg"}

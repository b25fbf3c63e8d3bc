"""The web page as whoever speaks HTTP sees it: who is let in, what is answered, what verbs do, and how it ends."""

import contextlib
import gc
import http.client
import json
import os
import socket
import sys
import threading
import tomllib
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from taskcore import Engine, EngineClosed, constant
from taskcore.cli.main import main
from taskcore.core import clock as clocks
from taskcore.store import pages
from taskcore.view import answers, web
from taskcore.view.server import MOST
from tests.support.processes import until

HOSTILE = "</script><img src=x onerror=alert(1)>\u202e\x07"


class Visitor:
    """Speaks with a page as a browser does, or not quite."""

    def __init__(self, page):
        self.page = page
        self.own = f"127.0.0.1:{page.port}"

    def ask(self, method, path, body=None, **headers):
        """→ (status, headers, body); `None` for a header leaves it out."""
        said = {"Host": self.own, "X-Taskcore": self.page.token}
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.page.port, timeout=30)) as connection:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in said.items():
                if value is not None:
                    connection.putheader(name, value)
            if body is not None and "Content-Length" not in said:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def get(self, path):
        status, headers, body = self.ask("GET", path)
        assert status == 200, body
        assert headers["Content-Type"].startswith("application/json")
        return json.loads(body)

    def do(self, verb, told, **headers):
        """→ (status, what was answered)"""
        said = {"Origin": f"http://{self.own}", "Content_Type": "application/json"}
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        status, _, body = self.ask("POST", f"/do/{verb}", body, **(said | headers))
        return status, json.loads(body)

    def done(self, verb, **told):
        status, answer = self.do(verb, told)
        assert status == 200, answer
        return answer


@pytest.fixture
def page(engine):
    return engine.serve()


@pytest.fixture
def visitor(page):
    return Visitor(page)


# -- who is let in -------------------------------------------------------------------------------------------------


def test_the_token_is_where_browsers_send_it_to_nobody(page, visitor):
    address, _, token = page.url.partition("/#token=")
    assert (address, token) == (f"http://{visitor.own}", page.token) and len(token) >= 32
    _, headers, body = visitor.ask("GET", "/", X_Taskcore=None)
    assert "Set-Cookie" not in headers and token.encode() not in body


@pytest.mark.parametrize("place", ["/data/session", "/data/overview", "/live", "/graph.svg", "/data/task?id=1"])
def test_nobody_is_let_in_without_the_token(engine, visitor, place):
    engine.submit("fit", 1)
    for token in (None, "", "x", visitor.page.token[:-1], visitor.page.token + "x", "\xe9"):
        status, _, body = visitor.ask("GET", place, X_Taskcore=token)
        assert status == 403 and b"fit" not in body, token
    assert visitor.ask("GET", f"{place}?token={visitor.page.token}", X_Taskcore=None)[0] == 403


def test_what_needs_no_token_has_nothing_of_the_file(engine, visitor):
    engine.submit("secret survey", 1)
    for place in ("/", "/tasks?name=secret%20survey", "/task/1", "/assets/page.js", "/assets/page.css"):
        status, _, body = visitor.ask("GET", place, X_Taskcore=None)
        assert status == 200 and str(engine.path).encode() not in body and b"secret" not in body, place


@pytest.mark.parametrize(
    "host",
    [
        None, "", "evil.example", "evil.example:{port}", "localhost.evil.org:{port}", "127.0.0.1:x",
        "127.0.0.1.:{port}", "[::2]:{port}",
    ],
)  # fmt: skip
def test_another_name_of_this_machine_is_not_answered(visitor, host):
    """As a name would have that another site gave to this address (DNS rebinding)."""
    host = None if host is None else host.format(port=visitor.page.port)
    for path in ("/", "/data/session", "/assets/page.js"):
        assert visitor.ask("GET", path, Host=host)[0] == 421


def test_this_machine_may_be_called_by_any_of_its_own_names(visitor):
    for host in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        for port in (visitor.page.port, 1):  # as of a tunnel that begins at another port
            own = f"{host}:{port}"
            assert visitor.ask("GET", "/data/session", Host=own)[0] == 200
            assert visitor.do("let_go", {"name": "fit"}, Host=own, Origin=f"http://{own}")[0] == 200
    assert visitor.ask("GET", "http://evil.example/data/session")[0] == 400


def test_another_page_in_the_same_browser_is_not_answered(visitor):
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", f"https://{visitor.own}", ""):
        assert visitor.ask("GET", "/data/session", Origin=origin)[0] == 403
        assert visitor.do("hold", {"name": ""}, Origin=origin)[0] == 403
    for site in ("cross-site", "same-site", "none"):
        assert visitor.ask("GET", "/data/session", Sec_Fetch_Site=site)[0] == 403
        assert visitor.ask("GET", "/graph.svg", Sec_Fetch_Site=site)[0] == 403
        assert visitor.ask("GET", "/", Sec_Fetch_Site=site)[0] == 200  # whoever follows a link


def test_a_verb_needs_the_token_and_the_pages_own_origin(engine, visitor):
    for headers in ({"X_Taskcore": None}, {"X_Taskcore": "x"}, {"Origin": None}):
        assert visitor.do("hold", {"name": ""}, **headers)[0] == 403
    assert visitor.ask("GET", "/do/hold")[0] == 404
    assert engine.held == []


def test_a_page_for_looking_refuses_every_verb(engine):
    task = engine.submit("fit", 1)
    visitor = Visitor(engine.serve(read_only=True))
    assert visitor.get("/data/session")["read_only"] is True
    for verb in web.VERBS:
        assert visitor.do(verb, {"name": "", "where": {"id": [task.id]}})[0] == 403
    assert (task.status, engine.held) == ("ready", [])


def test_every_answer_has_the_headers_that_keep_it_to_itself(visitor):
    paths = ["/", "/assets/page.js", "/assets/page.css", "/data/tasks", "/data/odd", "/graph.svg"]
    for status, headers, _ in [*(visitor.ask("GET", path) for path in paths), visitor.ask("PUT", "/")]:
        assert headers["Content-Security-Policy"] == web.POLICY and "unsafe" not in web.POLICY, status
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in headers
        assert headers["Server"] == "taskcore"


def test_no_address_leads_out_of_the_page(visitor):
    for path in ("/assets/../web.py", "/assets/%2e%2e/web.py", "/assets/page.html", "//odd", "/page/page.js"):
        assert visitor.ask("GET", path)[0] == 404, path


def test_what_is_no_python_is_installed_with_it():
    root = Path(__file__).resolve().parents[2]
    data = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    installed = {file for pattern in data["taskcore"] for file in (root / "taskcore").glob(pattern)}
    others = {file for file in (root / "taskcore").rglob("*.*") if file.suffix not in (".py", ".pyc")}
    assert root / "taskcore/view/page/page.html" in others and others <= installed


# -- what is sent to it --------------------------------------------------------------------------------------------


def test_what_is_no_request_is_refused_in_one_sentence(visitor):
    assert visitor.do("hold", b"{", )[0] == 400
    assert visitor.do("hold", b"[]")[0] == 400
    assert visitor.do("hold", b"[" * 100_000)[0] == 400
    assert visitor.do("hold", {"name": ""}, Content_Type="text/plain")[0] == 415
    assert visitor.do("hold", b"", Content_Length=str(web.LARGEST + 1))[0] == 413
    assert visitor.do("hold", b"", Content_Length="-1")[0] == 411
    assert visitor.do("nothing", {})[0] == 404
    for path in (
        "/data/task?id=x", "/data/task", "/data/tasks?below=-1", "/data/tasks?phase=odd", "/data/tasks?status=odd",
        "/data/count?verb=odd", f"/data/tasks?parent={'9' * 30}", "/data/tasks?" + "&".join(["x=1"] * 2000),
    ):  # fmt: skip
        status, _, body = visitor.ask("GET", path)
        assert status == 400 and b"Traceback" not in body and json.loads(body)["error"], path
    assert visitor.ask("GET", "/data/task?id=77")[0] == 404


def test_a_bug_of_ours_is_no_secret_for_the_browser(visitor, monkeypatch, caplog):
    def broken(ask):
        raise KeyError("at /home/somebody/secret.py")

    monkeypatch.setitem(web.ANSWERS, "jobs", broken)
    status, _, body = visitor.ask("GET", "/data/jobs")
    assert status == 500 and b"secret" not in body
    assert "secret" in caplog.text


def test_a_crowd_that_says_nothing_does_not_grow_without_end(page, monkeypatch):
    before = threading.active_count()
    crowd = [socket.create_connection(("127.0.0.1", page.port), timeout=30) for _ in range(MOST + 8)]
    try:
        assert all(one.recv(1) == b"" for one in crowd[-1:])  # closed at once
        assert threading.active_count() - before <= MOST
    finally:
        for one in crowd:
            one.close()

    def let_in():
        with contextlib.suppress(ConnectionError):  # not yet: those who left are still being counted
            return Visitor(page).get("/data/session")

    until(let_in, "there is room again")


def test_a_request_that_comes_in_drops_has_one_time_for_all_of_it(page, monkeypatch):
    monkeypatch.setattr(web, "IDLE", 0.2)
    with socket.create_connection(("127.0.0.1", page.port), timeout=30) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nX: ")

        def dropped():
            slow.sendall(b"x")
            return slow.recv(1, socket.MSG_DONTWAIT) == b""

        def over():
            try:
                return dropped()
            except BlockingIOError:
                return False
            except ConnectionError:
                return True

        until(over, "it is listened to for ever")


# -- what is answered ----------------------------------------------------------------------------------------------


def test_the_overview_counts_by_name_and_puts_failures_together(engine, visitor, clock):
    for number in range(3):
        engine.submit("fit", number)
        engine.claim("fit")[0].fail(ValueError(f"no star within {number} arcsec"))
    engine.submit(HOSTILE, HOSTILE)
    engine.claim(HOSTILE)
    data = visitor.get("/data/overview")
    assert data["names"]["fit"]["counts"] == {"failed": 3}
    assert data["names"][HOSTILE]["counts"] == {"running": 1}
    (group,) = data["failures"]
    assert (group["name"], group["ids"]) == ("fit", [3, 2, 1])
    assert [task["name"] for task in data["running"]] == [HOSTILE]


def test_an_answer_is_harmless_to_a_reader_that_takes_it_for_html(engine, visitor):
    engine.submit(HOSTILE, HOSTILE)
    _, headers, body = visitor.ask("GET", "/data/tasks")
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert b"<" not in body and body.isascii()
    assert json.loads(body)["tasks"][0]["name"] == HOSTILE


def test_tasks_are_found_by_their_filters_and_paged_from_the_newest(engine, visitor):
    for number in range(130):
        engine.submit("even" if number % 2 == 0 else "odd", number)
    engine.tasks.where(id=2).hide()
    engine.tasks.where(id=1).cancel()
    first = visitor.get("/data/tasks")
    assert [task["id"] for task in first["tasks"]] == list(range(130, 30, -1))
    second = visitor.get(f"/data/tasks?below={first['below']}")
    assert [task["id"] for task in second["tasks"]] == [*range(30, 2, -1), 1] and second["below"] is None
    assert len(visitor.get("/data/tasks?name=odd&name=even&phase=ready&below=9")["tasks"]) == 6
    assert [task["id"] for task in visitor.get("/data/tasks?status=cancelled")["tasks"]] == [1]
    assert [task["id"] for task in visitor.get("/data/tasks?id=2&id=5")["tasks"]] == [5, 2]
    assert visitor.get("/data/tasks?name=nobody") | {"now": 0} == {"now": 0, "tasks": [], "below": None}


def test_a_key_that_was_made_from_the_arguments_is_not_listed(engine, visitor):
    engine.task("weigh").options(key=True).submit(4)
    engine.task("weigh").options(key="a").submit(4)
    assert [task["key"] for task in visitor.get("/data/tasks")["tasks"]] == ["a", None]


def test_the_key_of_a_job_is_its_subject_whatever_it_looks_like(engine, visitor):
    checksum = "d41d8cd98f00b204e9800998ecf8427e"
    pipeline = engine.pipeline("upload")
    pipeline.task(lambda subject: None, name="unpack")
    job = pipeline.start(checksum)
    assert [row["key"] for row in visitor.get("/data/jobs")["jobs"]] == [checksum]
    assert checksum in engine.tasks.where(id=job)._repr_html_() and checksum in job._repr_html_()


def test_a_search_that_would_take_long_says_from_where_to_go_on(engine, monkeypatch):
    for number in range(10):
        engine.submit("rare" if number == 0 else "common", number)
    monkeypatch.setattr(pages, "MOMENT", 0.0)
    monkeypatch.setattr(pages, "SPAN", 4)
    where, below, found = engine.tasks.where(name="rare")._where, None, []
    while not found or found[-1][1] is not None:
        found.append(engine._context.look(pages.newest, where, below, 100))
        below = found[-1][1]
    assert found == [([], 7), ([], 3), ([1], None)]


def test_a_tag_that_nearly_all_have_is_looked_for_row_by_row(engine, visitor, monkeypatch):
    for number in range(6):
        engine.submit(engine.task(lambda n: n, name="fit", tags=["a", "b"] if number % 2 else ["b"]), number)
    said = []
    monkeypatch.setattr(pages, "SORTED", 2)
    engine._context.look(lambda connection: connection.set_trace_callback(said.append))
    assert [task["id"] for task in visitor.get("/data/tasks?tag=a&tag=b")["tasks"]] == [6, 5, 4, 3, 2, 1]
    assert [task["id"] for task in visitor.get("/data/tasks?tag=a&phase=ready")["tasks"]] == [6, 4, 2]
    engine._context.look(lambda connection: connection.set_trace_callback(None))
    (plan, *_) = [
        engine._context.look(lambda connection, sql=sql: connection.execute("EXPLAIN QUERY PLAN " + sql).fetchall())
        for sql in said if "NOT INDEXED" in sql
    ]  # fmt: skip
    assert any("tag=? AND task=?" in row[3] for row in plan), plan


def test_one_task_is_shown_with_all_that_belongs_to_it(engine, visitor):
    with engine.job("night") as job:
        first = engine.submit("first", "x" * 5000, key=HOSTILE)
        second = engine.submit("second", first)
    engine.claim("first")[0].fail(ValueError(HOSTILE))
    data = visitor.get(f"/data/task?id={first.id}")
    assert data["task"]["status"] == "failed" and HOSTILE in data["task"]["last_error"]
    assert data["task"]["args"].endswith("(5,005 characters)") and len(data["task"]["args"]) < 4100
    assert data["explanation"].startswith("failed")
    assert [attempt["outcome"] for attempt in data["attempts"]] == ["failed"]
    assert [(edge["id"], edge["status"]) for edge in data["downstream"]] == [(second.id, "skipped")]
    assert len(visitor.get(f"/data/task?id={first.id}&whole=1")["task"]["args"]) == 5005
    job_page = visitor.get(f"/data/task?id={job.id}")
    assert job_page["job"] and [child["id"] for child in job_page["children"]] == [second.id, first.id]
    (row,) = visitor.get("/data/jobs")["jobs"]
    assert row["tally"] == {"failed": 1, "skipped": 1}
    assert [its["name"] for its in row["members"]] == ["first", "second"]


def test_of_many_attempts_the_newest_are_read(engine, visitor, monkeypatch):
    monkeypatch.setattr(answers, "FEW", 2)
    task = engine.task(lambda: None, name="fit").options(max_attempts=None, backoff=constant(0)).submit()
    for number in range(5):
        engine.claim("fit")[0].fail(ValueError(f"no {number}"))
    engine.claim("fit")
    data = visitor.get(f"/data/task?id={task.id}")
    assert [attempt["number"] for attempt in data["attempts"]] == [4, 5, 6] and data["unshown"]["attempts"] == 3


def test_pictures_are_of_the_file_of_a_task_or_of_what_is_chosen(engine, visitor, monkeypatch):
    class Picture:
        def to_svg(self):
            return "<svg/>"

    asked = []
    monkeypatch.setattr(Engine, "graph", lambda _, tasks=None: asked.append(tasks) or Picture())
    task = engine.submit("fit", 1)
    for query in ("", f"?task={task.id}", "?name=fit"):
        status, headers, body = visitor.ask("GET", f"/graph.svg{query}")
        assert (status, body, headers["Content-Type"]) == (200, b"<svg/>", "image/svg+xml; charset=utf-8")
    assert asked[0] is None and asked[1].id == task.id and len(asked[2]) == 1


def test_pages_that_ask_the_same_have_one_answer_made(engine, visitor, monkeypatch):
    made, asked, may, engine_of = [], [], threading.Event(), web.Page.engine
    monkeypatch.setattr(web.Page, "engine", lambda page: asked.append(1) or engine_of(page))
    monkeypatch.setattr(web, "FRESH", 1e9)
    monkeypatch.setitem(web.ANSWERS, "jobs", lambda ask: made.append(may.wait(30)) or {})
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(visitor.get, "/data/jobs") for _ in range(3)]
        until(lambda: len(asked) == 3, "they do not ask")
        may.set()
        assert [answer.result(30) for answer in answers] == [{}] * 3
    visitor.get("/data/jobs")
    assert len(made) == 1
    engine.submit("fit", 1)
    visitor.get("/data/jobs")
    assert len(made) == 2


# -- live ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def listening(visitor):
    """A stream of events that was answered."""
    with socket.create_connection(("127.0.0.1", visitor.page.port), timeout=30) as stream:
        said = f"GET /live HTTP/1.1\r\nHost: {visitor.own}\r\nX-Taskcore: {visitor.page.token}\r\n\r\n"
        stream.sendall(said.encode())
        with stream.makefile("rb") as lines:
            while lines.readline().strip() != b"retry: 1000":
                pass
            yield lines


def events(lines):
    return (line.split()[1] for line in lines if line.startswith(b"event:"))


def test_all_open_pages_hear_of_a_change_by_one_thread_that_looks(engine, visitor):
    with listening(visitor) as one, listening(visitor) as other:
        engine.submit("fit", 1)
        assert next(events(one)) == next(events(other)) == b"change"
        assert [thread.name for thread in threading.enumerate()].count("taskcore-page-live") == 1
    engine.submit("fit", 2)  # both notice that nobody reads
    visitor.page.close()
    until(lambda: "taskcore-page-live" not in [thread.name for thread in threading.enumerate()], "it goes on looking")


# -- verbs ---------------------------------------------------------------------------------------------------------


def test_each_verb_does_in_the_file_what_it_says(engine, visitor, clock):
    @engine.every(60)
    def look():
        pass

    tasks = [engine.submit("fit", number) for number in range(4)]
    assert visitor.get("/data/count?verb=pause&name=fit")["count"] == 4
    assert visitor.done("pause", where={"name": ["fit"]}) == {"moved": 4}
    assert engine.tasks.counts() == {"paused": 4}
    assert visitor.done("resume", where={"id": [tasks[0].id, str(tasks[1].id)]}) == {"moved": 2}
    assert visitor.done("cancel", where={"phase": ["paused"]}, reason="clouds") == {"moved": 2, "asked": 0}
    assert tasks[3].snapshot().last_error == "clouds"
    (claim,) = engine.claim("fit")
    assert visitor.done("cancel", where={"id": [claim.task.id]}) == {"moved": 0, "asked": 1}
    until_now = visitor.get("/data/count?verb=rerun&name=fit")
    assert until_now["count"] == 2
    clock.advance(1)
    late = engine.submit("fit", 9)
    late.cancel()
    told = {"name": ["fit"], "submitted_before": [until_now["until"]]}
    assert visitor.done("rerun", where=told) == {"moved": 2}
    assert late.status == "cancelled"  # it came after the number was shown
    assert visitor.done("signal", id=tasks[0].id, name="go", payload='{"who": "Ada"}') == {"stored": True}
    assert visitor.done("signal", id=late.id, name="go", payload="") == {"stored": False}
    visitor.done("hold", name="fit")
    visitor.done("hold", name="")
    assert engine.held == ["", "fit"]
    visitor.done("let_go", name="")
    assert engine.held == ["fit"]
    visitor.done("disable", name="look")
    visitor.done("every", name="look", every="5m")
    assert (engine.schedules["look"].enabled, engine.schedules["look"].every) == (False, 300.0)
    visitor.done("every", name="look", every="7")
    visitor.done("enable", name="look")
    assert (engine.schedules["look"].enabled, engine.schedules["look"].every) == (True, 7.0)
    assert engine.future(visitor.done("trigger", name="look")["task"]).name == "look"
    visitor.done("limit", name="gpu", value=3)
    assert dict(engine.limits) == {"gpu": 3}
    visitor.done("limit", name="gpu", value=None)
    assert dict(engine.limits) == {}


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        ("cancel", {}), ("cancel", {"where": {}}), ("cancel", {"where": {"name": []}}),
        ("cancel", {"where": {"odd": [1]}}), ("cancel", {"where": {"name": "fit"}}), ("rerun", {"where": 1}),
        ("cancel", {"where": {"name": [None]}}), ("cancel", {"where": {"id": [1]}, "reason": 7}),
        ("signal", {"id": 1, "name": "go", "payload": "{"}), ("signal", {"id": 1, "name": "go", "payload": "NaN"}),
        ("signal", {"id": 1, "name": "", "payload": "1"}), ("signal", {"id": "x", "name": "go", "payload": "1"}),
        ("signal", {"id": 1, "name": "go", "payload": "[" * 100_000}), ("limit", {"name": "", "value": 1}),
        ("hold", {}), ("hold", {"name": 1}), ("trigger", {"name": "odd"}), ("every", {"name": "odd", "every": "x"}),
        ("limit", {"name": "gpu", "value": -1}), ("limit", {"name": "gpu", "value": 1.5}),
    ],
)  # fmt: skip
def test_a_verb_that_makes_no_sense_is_refused_and_nothing_happens(engine, visitor, raw, verb, told):
    engine.submit("fit", 1)
    status, answer = visitor.do(verb, told)
    assert status == 400 and answer["error"]
    assert raw("SELECT phase FROM taskcore_task") == [{"phase": "ready"}]
    for table in ("signal", "hold", "limit"):
        assert raw(f"SELECT * FROM taskcore_{table}") == []


# -- its end -------------------------------------------------------------------------------------------------------


def test_the_page_ends_with_its_engine_and_holds_up_nothing(made, clock):
    engine = Engine(made, workers=0, clock=clock)
    page = engine.serve()
    with listening(Visitor(page)) as lines:
        engine.close()
        assert b"end" in list(events(lines))
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", page.port), timeout=30)
    with pytest.raises(EngineClosed):
        engine.serve()
    assert repr(page).endswith("closed>")


def test_the_page_does_not_keep_an_engine_that_nobody_holds(made, clock):
    engine = Engine(made, workers=0, clock=clock)
    page, gone = engine.serve(), weakref.ref(engine)
    Visitor(page).get("/data/overview")
    kept = [engine]
    del engine

    def drop():
        kept.clear()
        until(lambda: gc.collect() is not None and gone() is None and page.live.closed, "something keeps it")

    with pytest.warns(ResourceWarning):
        drop()


def test_a_closed_page_gives_its_port_back_and_the_engine_goes_on(engine):
    page = engine.serve()
    with pytest.raises(OSError, match=str(page.port)):
        engine.serve(page.port)
    page.close()
    page.close()
    assert engine.serve(page.port).port == page.port
    assert engine.submit("fit", 1).status == "ready"
    for bad in (-1, 65536, True, "80"):
        with pytest.raises(ValueError):
            engine.serve(bad)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="it warns of a fork beside threads")
def test_a_child_that_was_forked_does_not_listen(engine):
    page = engine.serve()
    said, says = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(says, str(page._server.socket.fileno()).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(said, 10) == b"-1"
    os.close(said)
    os.close(says)
    Visitor(page).get("/data/session")  # here it goes on


def test_serve_prints_the_address_and_ends_at_a_ctrl_c(made, capsys, monkeypatch):
    def pause(_):
        url = capsys.readouterr().out.split()[0]
        port, token = int(url.split(":")[2].split("/")[0]), url.partition("#token=")[2]
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("GET", "/data/session", headers={"X-Taskcore": token})
            heard.append(json.loads(connection.getresponse().read())["read_only"])
        raise KeyboardInterrupt

    heard = []
    monkeypatch.setattr(clocks, "pause", pause)
    assert main([str(made), "serve", "--read-only"]) == 0
    assert heard == [True]
    with pytest.raises(SystemExit):
        main([str(made), "serve", "--port", "x"])

"""The web page in a browser: every verb is clicked, and its effect read from the file."""

import contextlib
import http.server
import json
import sqlite3
import threading

import pytest

from taskcore import Engine, current
from taskcore.testing import InlineExecutor
from taskcore.view import live
from taskcore.view.answers import ANSWERS
from tests.support.browser import Browser, found
from tests.support.processes import until

pytestmark = pytest.mark.skipif(found() is None, reason="there is no Chromium here")

HOSTILE = "</script><img src=x onerror=window.pwned=1><b>\u202e'\"&\x07"
SHOWN = HOSTILE.replace("\u202e", "\\u{202e}").replace("\x07", "\\u{7}")
PAGES = ["/", "/tasks", "/jobs", "/graph", "/timeline", "/schedules"]
INNOCENT = """[...document.images].every((one) => one.dataset.picture) && document.scripts.length === 1
    && window.pwned === undefined"""


@pytest.fixture(scope="module")
def browser():
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """With something of everything, and of everything something hostile."""
    engine = Engine(tmp_path_factory.mktemp("page") / "tasks.db", executor=InlineExecutor(), limits={"gpu": 1})

    @engine.task(name=HOSTILE)
    def hostile(text):
        run = current()
        run.message(HOSTILE)
        run.step(HOSTILE, lambda: {HOSTILE: [HOSTILE]})
        print(HOSTILE)
        if text is None:
            raise ValueError(HOSTILE)
        return HOSTILE

    steps = engine.pipeline("transient")
    steps.task(lambda name: name, name="cutout")
    steps.task(lambda name: name, name="match", needs=["cutout"])

    @engine.every(3600)
    def look():
        pass

    hostile.options(key=HOSTILE, tags=[HOSTILE]).submit(HOSTILE)
    hostile.submit(None)
    steps.start("2020xyz")
    with engine.job("night"):
        hostile.submit(2)
    engine.run(progress=False)
    for number in range(3):
        engine.submit("elsewhere", number)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def page(engine):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "PERIOD", 0.02)
        yield engine.serve()


@pytest.fixture(scope="module")
def tab(browser, page):
    return browser.tab(page.url)


@pytest.fixture
def at(tab, page):
    """`at("/tasks")`: go there, and wait until it is shown."""

    def go(place):
        if tab.run("location.port") != str(page.port):
            tab.open(page.url)
            shown(tab)
        tab.run(f"history.pushState(null, '', {json.dumps(place)}), dispatchEvent(new PopStateEvent('popstate'))")
        return shown(tab)

    return go


def shown(tab):
    tab.until("document.querySelector('main:not([aria-busy]) h1') && document.querySelector('#live.on')")
    return tab


@pytest.fixture
def ask(engine):
    def rows(sql, *values):
        with contextlib.closing(sqlite3.connect(engine.path)) as connection:
            return connection.execute(sql, values).fetchall()

    return rows


BUTTON = """[...document.querySelectorAll('dialog[open] button, main button')]
    .filter((one) => one.closest('dialog') || !document.querySelector('dialog[open]'))
    .find((one) => (one.getAttribute('aria-label') ?? one.textContent) === %s)"""


def click(tab, name):
    """Press the button of that name, once it is where somebody could."""
    tab.until(
        f"(() => {{ const b = {BUTTON % json.dumps(name)}; if (!b) return false;"
        "b.scrollIntoView({block: 'center'}); const r = b.getBoundingClientRect();"
        "const there = b.contains(document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2));"
        "if (there) b.click(); return there })()"
    )


def fill(tab, **fields):
    for name, text in fields.items():
        tab.until(f"document.querySelector('dialog[open] [name={name}]')")
        if isinstance(text, bool):
            tab.run(f"document.querySelector('dialog [name={name}]').checked = {json.dumps(text)}")
        else:
            field = f"document.querySelector('dialog [name={name}]')"
            tab.run(f"{field}.focus(), {field}.select()")
            tab.send("Input.insertText", text=text)
            assert tab.run(f"{field}.value") == text


def dialog(tab):
    return tab.until("document.querySelector('dialog[open] h2')?.textContent")


# -- looking -------------------------------------------------------------------------------------------------------


def test_the_token_leaves_the_address_bar_at_once(tab, page):
    shown(tab)
    assert tab.run("location.href") == f"http://127.0.0.1:{page.port}/"
    assert page.token not in tab.run("document.cookie + document.documentElement.outerHTML")
    tab.run("location.hash = 'token=no'")  # as by a link that somebody made up
    until(lambda: tab.run("location.hash") == "" and "403" in str(tab.complaints()), "it is not looked at")
    assert tab.run("localStorage.getItem('token')") == page.token


def test_what_is_hostile_is_shown_as_text_everywhere(at, engine, tab):
    tasks = [task.id for task in engine.tasks]
    for place in [f"/task/{tasks[1]}", f"/tasks?id={tasks[0]}", "/task/999"]:
        assert at(place).run(INNOCENT), place
    assert SHOWN in at(f"/task/{tasks[0]}").run("document.querySelector('h1').textContent")
    texts = tab.run("document.querySelector('main').innerText")
    assert texts.count(SHOWN) >= 6 and "\u202e" not in texts and "\x07" not in texts
    assert SHOWN in at("/").run("document.querySelector('main').innerText") and tab.run(INNOCENT)
    assert [said for said in tab.complaints() if "404" not in str(said) and "403" not in str(said)] == []


def test_pictures_are_drawn_under_the_pages_policy(at):
    for place in ("/graph", "/timeline"):
        at(place).until("document.querySelector('img[data-picture]').naturalWidth > 100")


def test_two_pages_follow_what_happens_without_being_asked(browser, page, engine, tab, at):
    other = browser.tab(page.url)
    at("/tasks?name=lively")
    shown(other)
    engine.submit("lively", 1)
    tab.until("document.querySelectorAll('tbody tr').length === 1")
    other.until("document.body.innerText.includes('lively')")
    engine.tasks.where(name="lively").cancel("enough")
    tab.until("document.querySelector('tbody').innerText.includes('cancelled')")
    assert page.live._listeners == 1  # a browser has few connections to one server: one of its pages tells the others
    tab.open("about:blank")
    engine.submit("lively", 2)
    other.until("document.querySelector('tr[data-key=lively] td.n').textContent === '2'")
    other.close()


def test_a_link_of_another_site_opens_it(tab, page):
    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"<a href='{page.url}'>open</a>".encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        server.daemon_threads = True  # Chromium opens more connections than it says something on
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        tab.open(f"http://localhost:{server.server_port}/")
        tab.until("document.querySelector('a')")
        tab.run("document.querySelector('a').click()")
        shown(tab)
        assert tab.run("document.cookie") == ""  # which would go to every port of this machine
        server.shutdown()


def test_filters_stand_in_the_address_and_the_way_back_leads_through_them(at):
    tab = at("/tasks")
    tab.run("document.querySelector('[name=name]').value = 'transient.cutout'")
    tab.run("document.querySelector('[name=phase]').value = 'succeeded'")
    click(tab, "Filter")
    tab.until("document.querySelectorAll('tbody tr').length === 1")
    assert tab.run("location.search") == "?name=transient.cutout&phase=succeeded"
    tab.run("history.back()")
    tab.until("location.search === '' && document.querySelectorAll('tbody tr').length > 3")
    tab.until("document.querySelector('[name=name]').value === ''")


def test_several_values_of_a_filter_stay_what_they_are(at, engine):
    engine.submit("a, b"), engine.submit("c")
    asked = "?name=a%2C+b&name=c&phase=ready&phase=running"
    tab = at(f"/tasks{asked}")
    tab.until("document.querySelectorAll('tbody tr').length === 2")
    click(tab, "Filter")
    tab.until("history.state === null && document.querySelectorAll('tbody tr').length === 2")
    assert tab.run("location.search") == asked
    tab.run("document.querySelectorAll('[name=name]')[1].value = ''")
    click(tab, "Filter")
    tab.until("document.querySelectorAll('tbody tr').length === 1")
    assert tab.run("location.search") == "?name=a%2C+b&phase=ready&phase=running"


def test_a_page_that_is_asked_for_does_not_wait_for_the_one_before_nor_gives_way_to_it(at, engine, monkeypatch):
    first, second = (engine.submit("elsewhere", number).id for number in range(2))
    asked, may, answer = threading.Event(), threading.Event(), ANSWERS["task"]

    def slow(ask):
        if ask.said["id"] == [str(first)]:
            asked.set()
            assert may.wait(30)
        return answer(ask)

    tab = at(f"/task/{first}")
    monkeypatch.setitem(ANSWERS, "task", slow)
    engine.submit("elsewhere", 3)
    assert asked.wait(30)  # it looks again at the first
    at(f"/task/{second}")
    heading = "document.querySelector('h1').textContent"
    assert tab.run(heading) == f"#{second} elsewhere"
    may.set()
    before = tab.run("performance.getEntriesByType('resource').length")
    engine.submit("elsewhere", 4)
    tab.until(f"performance.getEntriesByType('resource').length > {before + 1}")
    assert tab.run(heading) == f"#{second} elsewhere" and tab.run("document.title").startswith(f"#{second}")


def test_what_is_pressed_focused_or_asked_is_left_alone_while_the_page_changes(at, engine, tab):
    tasks = [engine.submit("busy", number) for number in range(3)]
    rows = "document.querySelector('tbody').rows.length === %d"
    at("/tasks?name=busy").until(rows % 3)
    box = f"document.querySelector('[data-pick=\"{tasks[0].id}\"]')"
    tab.run(f"{box}.focus()")
    engine.tasks.where(id=tasks[1].id).hide()  # a row above it goes
    tab.until(rows % 2)
    assert tab.run(f"document.activeElement === {box}")
    x, y = tab.run(f"(({{x, y, width}}) => [x + width / 2, y + width / 2])({box}.getBoundingClientRect())")
    mouse = {"x": x, "y": y, "button": "left", "clickCount": 1}
    tab.send("Input.dispatchMouseEvent", type="mousePressed", **mouse)
    before = tab.run("performance.getEntriesByType('resource').length")
    engine.submit("busy", 3)
    tab.until(f"performance.getEntriesByType('resource').length > {before}")
    tab.send("Input.dispatchMouseEvent", type="mouseReleased", **mouse)
    tab.until(f"{box}.checked && {rows % 3}")
    click(tab, "Cancel…")
    fill(tab, reason="clouds")
    engine.submit("busy", 4)
    tab.until(rows % 4)
    assert dialog(tab) == "Cancel 1 task?"
    click(tab, "Cancel 1 task")
    until(lambda: tasks[0].snapshot().last_error == "clouds", "it is not cancelled")


# -- verbs ---------------------------------------------------------------------------------------------------------


def test_one_task_is_paused_resumed_cancelled_and_run_again(at, engine, ask):
    task = engine.submit("elsewhere", 7).id

    def phase():
        return ask("SELECT phase FROM taskcore_task WHERE id = ?", task)[0][0]

    tab = at(f"/task/{task}")
    click(tab, "Pause")
    until(lambda: phase() == "paused", "it is not paused")
    click(tab, "Resume")
    until(lambda: phase() == "ready", "it does not go on")
    click(tab, "Cancel…")
    assert dialog(tab) == "Cancel 1 task?"
    fill(tab, reason="clouds")
    click(tab, "Cancel 1 task")
    until(lambda: phase() == "cancelled", "it is not cancelled")
    assert ask("SELECT last_error FROM taskcore_task WHERE id = ?", task) == [("clouds",)]
    click(tab, "Rerun…")
    click(tab, "Rerun 1 task")
    until(lambda: phase() == "ready", "it does not live again")


def test_a_signal_is_sent_with_what_goes_with_it(at, engine, ask):
    task = engine.submit("elsewhere", 8).id
    tab = at(f"/task/{task}")
    click(tab, "Signal…")
    fill(tab, name=HOSTILE.replace("\x07", ""), payload='{"who": ["Ada", 1.5, null]}')
    click(tab, "Send")
    until(lambda: ask("SELECT 1 FROM taskcore_signal WHERE task = ?", task), "no signal")
    ((name, payload),) = ask("SELECT name, payload FROM taskcore_signal WHERE task = ?", task)
    tab.until("document.querySelector('#toast').textContent === 'sent'")
    assert (name, json.loads(payload)) == (HOSTILE.replace("\x07", ""), {"who": ["Ada", 1.5, None]})
    click(tab, "Signal…")
    fill(tab, name="go", payload="{oops")
    click(tab, "Send")
    tab.until("document.querySelector('dialog [role=alert]').textContent.includes('no JSON')")
    assert len(ask("SELECT 1 FROM taskcore_signal WHERE task = ?", task)) == 1
    fill(tab, payload="[1]")  # what was written is there still
    click(tab, "Send")
    until(lambda: len(ask("SELECT 1 FROM taskcore_signal WHERE task = ?", task)) == 2, "no second signal")


def test_a_selection_is_moved_after_its_number_was_shown(at, engine, ask):
    tasks = [engine.submit("many", number) for number in range(120)]

    def phases():
        return dict(ask("""SELECT phase, count(*) FROM taskcore_task WHERE kind IN
            (SELECT id FROM taskcore_kind WHERE name = 'many') GROUP BY 1"""))  # fmt: skip

    tab = at("/tasks?name=many")
    click(tab, "Cancel…")
    assert dialog(tab) == "Cancel 120 tasks?"
    click(tab, "No, leave it")
    tab.until("!document.querySelector('dialog[open]')")
    assert phases() == {"ready": 120}
    click(tab, "Cancel…")
    click(tab, "Cancel 120 tasks")
    until(lambda: phases() == {"cancelled": 120}, "they are not cancelled")
    tab.until("document.querySelectorAll('tbody .cancelled').length === 100")
    for task in (tasks[-1], tasks[-2]):
        tab.run(f"document.querySelector('[data-pick=\"{task.id}\"]').click()")
    tab.until("document.querySelector('main').innerText.includes('2 picked')")
    click(tab, "Rerun…")
    fill(tab, downstream=True)
    click(tab, "Rerun 2 tasks")
    until(lambda: phases() == {"cancelled": 118, "ready": 2}, "two did not live again")
    tab.until("document.querySelector('main').innerText.includes('all that match')")
    click(tab, "Pause…")
    click(tab, "Pause 2 tasks")
    until(lambda: phases() == {"cancelled": 118, "paused": 2}, "they are not paused")
    click(tab, "Resume…")
    click(tab, "Resume 2 tasks")
    until(lambda: phases() == {"cancelled": 118, "ready": 2}, "they do not go on")


def test_failures_of_one_kind_are_run_again_together(at, engine, ask):
    for number in range(3):
        engine.submit("fragile", number)
        engine.claim("fragile")[0].fail(OSError(f"disk {number} is full"))
    tab = at("/?all=1")
    click(tab, "Rerun 3 of fragile")
    assert dialog(tab) == "Rerun 3 tasks?"
    click(tab, "Rerun 3 tasks")
    until(lambda: engine.tasks.where(name="fragile").counts() == {"ready": 3}, "they do not live again")


def test_what_runs_is_asked_to_stop(at, engine, ask):
    engine.submit("robotic", 1)
    (claim,) = engine.claim("robotic")
    tab = at("/")
    click(tab, f"Cancel task {claim.task.id}")
    click(tab, "Cancel 1 task")
    asked = "SELECT 1 FROM taskcore_task WHERE id = ? AND cancel_requested_at IS NOT NULL"
    until(lambda: ask(asked, claim.task.id), "it was not asked")
    claim.succeed()


def test_a_name_and_the_whole_file_are_held_and_let_go(at, ask):
    def held():
        return [name for (name,) in ask("SELECT name FROM taskcore_hold ORDER BY name")]

    tab = at("/?all=1")
    click(tab, "Pause the file")
    click(tab, "Pause the file")  # yes, indeed
    until(lambda: held() == [""], "the file is not held")
    click(tab, "Pause elsewhere")
    until(lambda: held() == ["", "elsewhere"], "the name is not held")
    click(tab, "Resume the file")
    until(lambda: held() == ["elsewhere"], "the file does not go on")
    tab = at("/schedules")
    click(tab, "Resume elsewhere")
    until(lambda: held() == [], "the name does not go on")
    click(tab, "Pause a name…")
    fill(tab, name=HOSTILE.replace("\x07", ""))
    click(tab, "Pause")
    until(lambda: held() == [HOSTILE.replace("\x07", "")], "the name is not held")
    tab.until(f"document.querySelector('main').innerText.includes({json.dumps(SHOWN.replace(chr(92) + 'u{7}', ''))})")
    click(tab, "Resume " + SHOWN.replace("\\u{7}", ""))
    until(lambda: held() == [], "the name does not go on")


def test_a_schedule_is_triggered_switched_and_given_another_period(at, engine, ask):
    def row():
        return ask("SELECT enabled, every FROM taskcore_schedule")[0]

    tab = at("/schedules")
    click(tab, "Trigger look")
    until(lambda: len(engine.tasks.where(name="look")) == 1, "there is no task of it")
    click(tab, "Disable look")
    until(lambda: row() == (0, 3600.0), "it is on")
    click(tab, "Enable look")
    until(lambda: row() == (1, 3600.0), "it is off")
    click(tab, "Change the period of look")
    fill(tab, every="2h")
    click(tab, "Change")
    until(lambda: row() == (1, 7200.0), "it has its old period")


def test_a_limit_is_changed_made_and_taken_away(at, ask):
    def limits():
        return dict(ask("SELECT name, value FROM taskcore_limit WHERE value IS NOT NULL"))

    tab = at("/schedules")
    click(tab, "Change the limit of gpu")
    fill(tab, value="4")
    click(tab, "Change")
    until(lambda: limits() == {"gpu": 4}, "it is what it was")
    click(tab, "New limit…")
    fill(tab, name="name:elsewhere", value="2")
    click(tab, "Change")
    until(lambda: limits() == {"gpu": 4, "name:elsewhere": 2}, "there is none")
    click(tab, "Change the limit of name:elsewhere")
    fill(tab, value="")
    click(tab, "Change")
    until(lambda: limits() == {"gpu": 4}, "it is there still")


# -- for everybody -------------------------------------------------------------------------------------------------

UNNAMED = """
    [...document.querySelectorAll('button, select, textarea, a[href], [role=img], img, input:not([type=hidden])')]
    .filter((one) => !(one.labels?.length || one.getAttribute('aria-label') || one.alt || one.textContent.trim()))
    .map((one) => one.outerHTML)"""
FAINT = """(() => {
    const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
    const rgba = (text) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
                             return [...canvas.getImageData(0, 0, 1, 1).data]; };
    const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
        .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (one) => { for (; one; one = one.parentElement) {
        const color = rgba(getComputedStyle(one).backgroundColor); if (color[3] === 255) return color; }
        return rgba('canvas'); };
    const found = [];
    for (const one of document.querySelectorAll('body *')) {
        const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!own || !one.getClientRects().length) continue;
        const [a, b] = [light(rgba(getComputedStyle(one).color)), light(behind(one))].sort((x, y) => y - x);
        const least = one.closest('[aria-hidden=true]') ? 3 : 4.5;
        if ((a + 0.05) / (b + 0.05) < least) found.push(one.outerHTML.slice(0, 200));
    }
    return found; })()"""


def test_everything_has_a_name_stands_out_in_light_and_dark_and_fits_a_narrow_page(at, tab):
    for place in [*PAGES, "/task/1", "/task/2"]:
        at(place)
        for dark in (False, True):
            tab.look(dark=dark)
            assert tab.run(FAINT) == [], (place, dark)
        assert tab.run(UNNAMED) == [] and tab.run(INNOCENT), place
        assert tab.run("document.querySelectorAll('h1').length") == 1
        assert tab.run("document.querySelectorAll('table:not(:has(caption)), th:not([scope])').length") == 0
        ids = tab.run("[...document.querySelectorAll('[id]')].map((one) => one.id)")
        assert len(ids) == len(set(ids))
        assert tab.run("document.title.length > 3 && document.documentElement.lang") == "en"
        tab.look(width=360, height=700)
        assert tab.run("document.documentElement.scrollWidth") <= 360, place  # nobody has to scroll sideways
    tab.look()


def test_the_page_is_worked_by_keys_alone(at, engine, ask):
    task = engine.submit("elsewhere", 9).id
    tab = at(f"/task/{task}")
    assert tab.until("document.activeElement.tagName === 'H1'")  # what is new is read out
    for _ in range(2):
        tab.press("Tab", 9)
    tab.until("document.activeElement.textContent === 'Cancel…'")
    tab.press("Enter", 13)
    tab.until("document.activeElement.name === 'reason' && document.activeElement.closest('dialog[open]')")
    tab.press("Escape", 27)
    tab.until("!document.querySelector('dialog[open]') && document.activeElement.textContent === 'Cancel…'")
    tab.press("Enter", 13)
    tab.until("document.activeElement.name === 'reason'")
    tab.send("Input.insertText", text="by hand")
    tab.press("Enter", 13)
    told = "SELECT 1 FROM taskcore_task WHERE id = ? AND last_error = 'by hand'"
    until(lambda: ask(told, task), "Enter did not say yes")


def test_a_page_for_looking_has_nothing_to_press_and_tells_of_the_end(browser, engine, tab):
    looks = engine.serve(read_only=True)
    other = browser.tab(looks.url)
    shown(other)
    assert other.run("document.querySelectorAll('main button').length") == 0
    assert "read-only" in other.run("document.querySelector('header').innerText")
    shown(tab)  # the first page's token is its own
    engine.close()
    for each in (tab, other):
        each.until("!document.querySelector('#banner').hidden")
    said = [str(each) for each in other.complaints()]
    assert [each for each in said if "ERR_" not in each and " 503 " not in each] == []  # it asked while that closed

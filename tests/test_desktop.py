"""`examples/desktop.py` in a window of its own, on a screen that nobody sees: its buttons pressed, closed while bodies
run, and started again."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import taskcore
from tests.support.processes import PATIENCE, ROOT

pytest.importorskip("tkinter", reason="this Python was built without Tk")
if shutil.which("Xvfb") is None:
    pytest.skip("there is no Xvfb", allow_module_level=True)

PRESSES = """
import sys, time
sys.path.insert(0, sys.argv[1])
import desktop
desktop.HEIGHT = 80
window = desktop.Window()
text = lambda: window.said.cget("text")
done = lambda: int(text().split()[0])

def play(said, condition, steps, deadline):
    if condition():
        step = next(steps, None)
        if step is not None:
            window.root.after(5, play, *step, steps, time.monotonic() + 20)
    elif time.monotonic() < deadline:
        window.root.after(5, play, said, condition, steps, deadline)
    else:
        sys.exit(f"not {said}: {text()}")

def failed(*error):
    import traceback
    traceback.print_exception(*error)
    window.root.destroy()

window.root.report_callback_exception = failed
window.root.after(0, play, "", lambda: True, steps(), 0)
window.root.mainloop()
"""

FIRST = """
def steps():
    desktop.logging.basicConfig(handlers=[desktop.Lines()], level="INFO")
    assert text() == "0 of 20 strips, idle" and window.hold.instate(["disabled"])
    window.start.invoke()
    yield "two are painted", lambda: done() >= 2 and "running" in text()
    assert window.start.instate(["disabled"])
    window.hold.invoke()
    yield "it is paused", lambda: text().endswith("paused") and window.open == window.paused
    here = done()
    assert window.hold.cget("text") == "Resume" and window.picture.get(0, 0) != (0xE2, 0xE0, 0xD8)
    yield "the log says so", lambda: "is succeeded: strip" in window.log.get("1.0", "end")
    window.hold.invoke()
    yield "it goes on", lambda: done() > here and "running" in text() and done() < 18
    began = time.monotonic()
    window.close()
    print(time.monotonic() - began)
"""

SECOND = """
def steps():
    assert done() >= 3, "what was painted is there at once"
    yield "it goes on by itself", lambda: "running" in text()
    window.stop.invoke()
    yield "it is idle", lambda: text().endswith("idle")
    window.start.invoke()
    yield "all is there", lambda: text() == "20 of 20 strips, all there"
    assert window.start.instate(["disabled"])
    window.close()
"""


@pytest.fixture
def screen():
    """The number of a screen in memory."""
    ours, theirs = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(theirs), "-screen", "0", "800x800x24", "-nolisten", "tcp"],
        pass_fds=[theirs], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs)
    with os.fdopen(ours) as told:
        number = told.readline().strip()
    yield f":{number}"
    server.terminate()
    server.wait(PATIENCE)


def run(script: str, screen: str, folder: Path) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", script + PRESSES, ROOT / "examples"],
        cwd=folder, capture_output=True, encoding="utf-8", timeout=60, check=False,
        env={**os.environ, "DISPLAY": screen, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    return ran.stdout


def test_a_window_closes_at_once_while_bodies_run_and_the_next_start_goes_on(screen, tmp_path):
    took, ended = float(run(FIRST, screen, tmp_path)), time.time()
    assert took < 0.5
    run(SECOND, screen, tmp_path)
    with taskcore.Engine(tmp_path / "picture.db", workers=0) as engine:
        strips = list(engine.tasks)
        assert [strip.phase for strip in strips] == ["succeeded"] * 20
        assert [strip.args for strip in strips] == [(top,) for top in range(0, 80, 4)]
        assert {strip.lapses for strip in strips} == {0}
        before = [strip for strip in strips if strip.finished_at < ended]
        assert 3 <= len(before) < 20 and {strip.attempts for strip in before} == {1}

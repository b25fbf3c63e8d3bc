"""Chromium without a window, driven by its DevTools over a pair of pipes: JSON that ends with a NUL."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time

from tests.support.processes import PATIENCE

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def found():
    """Where Chromium is, or `None`."""
    if sys.platform != "linux":
        return None
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One process, with a profile that is removed with it."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="taskcore-browser-", ignore_cleanup_errors=True)
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        flags = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
            "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
            "--disable-extensions", "--disable-sync", "--mute-audio", "--hide-scrollbars",
            "--disable-features=Translate,OptimizationHints,MediaRouter", f"--user-data-dir={self._folder.name}",
            "--lang=en",
        ]  # fmt: skip
        # The shell puts the pipes where Chromium looks for them, whatever is open there.
        shell = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", shell, found(), *flags, "about:blank"], pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._text, self._number, self._answers, self.events = b"", 0, {}, []

    def send(self, method, session=None, **params):
        """Call a method of DevTools. → its result."""
        self._number += 1
        said = {"id": self._number, "method": method, "params": params}
        os.write(self._out, json.dumps(said | ({"sessionId": session} if session else {})).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while self._number not in self._answers:
            self._hear(deadline)
        answer = self._answers.pop(self._number)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def _hear(self, deadline):
        while b"\0" not in self._text:
            ready, _, _ = select.select([self._in], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"the browser is silent for {PATIENCE} s"
            piece = os.read(self._in, 1 << 20)
            assert piece, f"the browser ended: {self._process.wait(PATIENCE)}"
            self._text += piece
        line, _, self._text = self._text.partition(b"\0")
        said = json.loads(line)
        if "id" in said:
            self._answers[said["id"]] = said
        else:
            self.events.append(said)

    def tab(self, address, **look):
        return Tab(self, address, **look)

    def close(self):
        with contextlib.suppress(OSError, AssertionError):
            self.send("Browser.close")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait(PATIENCE)
        os.close(self._in)
        os.close(self._out)
        self._folder.cleanup()


class Tab:
    def __init__(self, browser, address, width=1280, height=800, dark=False):
        self._browser = browser
        target = browser.send("Target.createTarget", url="about:blank", newWindow=True)["targetId"]
        self._session = browser.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._target = target
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.look(width, height, dark)
        if address:
            self.open(address)

    def send(self, method, **params):
        return self._browser.send(method, session=self._session, **params)

    def look(self, width=1280, height=800, dark=False):
        """A window of this size, with a light or a dark theme."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.send("Emulation.setDeviceMetricsOverride", **metrics)
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[theme])

    def open(self, address):
        self.send("Page.navigate", url=address)

    def run(self, script):
        """The value of an expression of JavaScript, awaited."""
        said = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def until(self, script, patience=PATIENCE):
        """Wait until an expression is true: a page that is being loaded may have nothing of it yet. → its value"""
        quiet = f"(() => {{ try {{ return {script} }} catch (error) {{ return null }} }})()"
        deadline = time.monotonic() + patience
        while (value := self.run(quiet)) in (None, False, 0, ""):
            assert time.monotonic() < deadline, f"never so: {script}\n{self.run('document.body.innerText')}"
            select.select([], [], [], 0.01)
        return value

    def complaints(self):
        """What was said on the console, thrown, or blocked by the page's policy."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [
            said for said in self._browser.events if said.get("sessionId") == self._session and said["method"] in kinds
        ]

    def press(self, key, code=0):
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def picture(self, path, whole=True):
        """A PNG of the page, for whoever wants to look at it."""
        data = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def close(self):
        self._browser.send("Target.closeTarget", targetId=self._target)

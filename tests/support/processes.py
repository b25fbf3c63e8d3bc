"""Processes of their own: a function of a test, run in a child that talks to the test by lines."""

import contextlib
import inspect
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import taskcore

ROOT = Path(taskcore.__file__).resolve().parents[1]
PATIENCE = 30
"""Seconds after which a test gives up on what takes a healthy engine a few milliseconds."""

IMPORTS = """
import contextlib, faulthandler, json, logging, os, random, resource, signal, sqlite3, sys, threading, time
import taskcore
logging.getLogger("taskcore.api.ends").setLevel("ERROR")  # failures are expected
from taskcore import Engine
from taskcore.testing import InlineExecutor, ManualClock
ENDED = ("succeeded", "failed", "cancelled", "skipped")
PENDING = ("waiting", "scheduled", "ready", "paused")
PATIENCE = 30
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
"""


def say(*words):
    """In a child: one line to the test, whole even if several threads speak."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Child:
    """A function in a process of its own. It talks to the test by lines, and must say nothing on stderr."""

    def __init__(self, body, *args, uses=(), python=sys.executable):
        source = [IMPORTS, *(inspect.getsource(item) for item in (*uses, body)), f"{body.__name__}(*sys.argv[1:])"]
        source = "\n".join(source)
        site = () if "from tests" in source else ("-S",)  # nothing is installed that it needs, and to look takes longer
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._text = b""
        self.process = subprocess.Popen(
            # 3.12 warns of a fork beside threads; those that an engine has just let go may still be ending
            [python, *site, "-W", "ignore:This process:DeprecationWarning", "-c", source, *map(str, args)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, bufsize=0,
            start_new_session=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    def line(self, patience=PATIENCE):
        """The next line it says; "" at its end."""
        out = self.process.stdout.fileno()
        while b"\n" not in self._text:
            ready, _, _ = select.select([out], [], [], patience)
            assert ready, f"silent for {patience} s; on stderr: {self.errors()}"
            piece = os.read(out, 65536)
            if not piece:
                break
            self._text += piece
        line, _, self._text = self._text.partition(b"\n")
        return line.decode()

    def hears(self, *wanted, patience=PATIENCE):
        """Read lines until all of the wanted ones came, in any order. → all that were read."""
        lines, missing = [], list(wanted)
        while missing:
            lines.append(self.line(patience))
            assert lines[-1], f"it ended without {missing}, after {lines}; on stderr: {self.errors()}"
            if lines[-1] in missing:
                missing.remove(lines[-1])
        return lines

    def tell(self, line):
        os.write(self.process.stdin.fileno(), line.encode() + b"\n")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait(PATIENCE) == -signal.SIGKILL

    def end(self, code=0, quiet=True, patience=PATIENCE):
        """Wait for its end. → the rest of what it said."""
        with self.process.stdin:
            pass
        lines = []
        while line := self.line(patience):
            lines.append(line)
        found = self.process.wait(PATIENCE)
        assert found == code, f"it ended with {found}: {self.errors()}"
        if quiet:
            assert self.errors() == ""
        return lines

    def errors(self):
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # what it forked, too
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self._errors.close()


def signals_come_again():
    """In a child: from now on a signal that is answered comes a second time, at every call that its answer makes."""
    install = signal.signal

    def twice(number, handler):
        answering = []

        def answer(*args):
            def again(*_):
                sys.setprofile(None)
                signal.raise_signal(number)
                sys.setprofile(again)

            if answering:
                return handler(*args)
            answering.append(True)
            sys.setprofile(again)
            try:
                return handler(*args)
            finally:
                sys.setprofile(None)
                answering.clear()

        return install(number, answer if callable(handler) else handler)

    signal.signal = twice


def until(condition, why, patience=PATIENCE):
    """Wait for what no pipe tells."""
    deadline, nap = time.monotonic() + patience, threading.Event()
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{why}: not within {patience} s"
        nap.wait(0.005)
    return found


def rests(engine):
    """Wait until an engine with threads has nothing to do and its loop sleeps; from then on it looks at nothing and
    deletes nothing by itself, and the next submit comes alone."""
    scheduler, loop = engine._scheduler, engine._context.loop
    scheduler.pruning = None
    scheduler.lookout.close()
    scheduler.lookout.is_due = lambda real: False
    scheduler.lookout.wait = lambda length, real, *, busy, idle: min(length, PATIENCE)

    def asleep():
        return scheduler.quiet and loop._sleeps_until < math.inf and scheduler.inbox._alarm.locked()

    until(lambda: scheduler.presence.worker is not None and asleep(), "it does not rest")
    scheduler.traffic._lone_from = 0.0


def heard(calls, expected):
    """Callbacks have a thread of their own: on a busy machine they are called a little after the call they follow."""
    until(lambda: len(calls) >= len(expected), f"no more than {calls} were called back")
    assert calls == expected


def children():
    """The processes of which this one is the parent, as Linux tells; elsewhere none."""
    threads = Path("/proc/self/task")
    while True:
        named, found = set(threads.glob("*")), set()
        for thread in named:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                found.update((thread / "children").read_text().split())
        if named == set(threads.glob("*")):  # else another thread may have become the parent after it was asked
            return found

"""Running another program: nothing of it is left when it has ended, when it shall stop, or when we are dead.

On POSIX the command is the child of a *guardian*, a small Python in a session of its own, and leads a process group of
its own. A socket pair joins the guardian to us, the *line*. On it the guardian says two numbers: which process the
command is, and with what code it returned. From us it hears nothing, until we close the line or die, of a SIGKILL as of
anything else: then it kills the group at once. What the command leaves in the group when it ends is killed, too.

Without a guardian (`sys.executable` is no Python: an embedded or a frozen one) the command is our own child, in a
session of its own, and outlives us if we are killed by SIGKILL. On Windows it is our own child in a process group of
its own (CREATE_NEW_PROCESS_GROUP), is stopped with its children by `taskkill /T /F`, without grace, and outlives us,
too; children that it leaves when it ends by itself are not found there. A process that leaves the group (a daemon, by
`setsid`) is out of reach everywhere.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping
from subprocess import PIPE, STDOUT, CalledProcessError, CompletedProcess, Popen
from typing import IO, Any, Final

from taskcore.body.output import WIDTH, Output, Reading, pair
from taskcore.core.clock import monotonic

GRACE: Final = 2.0  # seconds from SIGTERM to SIGKILL; and how long we wait for what not even SIGKILL ends
PAUSE: Final = 0.05  # seconds between two looks at `stop`
_LEFT: Final = 64  # reads after the end, at most: more than a pipe holds; a daemon may write on for ever
_LINGER: Final = PAUSE if sys.platform == "win32" else 0.0  # seconds that what was written may take to come
_KILL: Final = getattr(signal, "SIGKILL", signal.SIGTERM)
_OURS: Final = {
    "shell": 'there is no shell; say ["sh", "-c", …] if one is meant',
    **dict.fromkeys(("start_new_session", "process_group"), "a command always has a session and a group of its own"),
    **dict.fromkeys(("preexec_fn", "restore_signals"), "it begins with Popen's defaults"),
    **dict.fromkeys(("text", "universal_newlines", "encoding", "errors"), "output is always text, read as UTF-8"),
    "close_fds": "the command inherits what pass_fds= names",
    "bufsize": "output comes line by line",
    "capture_output": "output is captured unless stdout= or stderr= say otherwise",
    "timeout": "the task's own timeout ends its command",
}


class Stopped(Exception):
    """`stop` was true: the command and its children are killed, and how it ended is not told."""


def execute(
    argv: list[str | os.PathLike[str]] | tuple[str | os.PathLike[str], ...],
    *,
    stop: Callable[[], bool],
    on_line: Callable[[str], None],
    check: bool = True,
    input: str | bytes | None = None,
    **popen: Any,
) -> CompletedProcess[str]:
    """Run a program to its end, or raise `Stopped` when `stop()` is true: after SIGTERM and, 2 s later, SIGKILL.

    All of it happens in the calling thread, which asks `stop` about every 50 ms and hands each line of output to
    `on_line` as it comes: without its end, NUL as `\\0`, a line of more than 4000 characters in pieces. Whatever one of
    the two raises kills the command and is raised here; so does a Ctrl-C.

    `popen` are keywords of `subprocess.Popen`. By default stdin is empty, stdout is captured and stderr goes with it;
    where stdout goes elsewhere, stderr alone is captured. Of what is captured the result has the newest 65,536
    characters. With `check`, a return code other than 0 is a `CalledProcessError` that has them, too, and the last
    lines as a note. A program that cannot be started is the same `OSError` as Popen's.
    """
    words = _words(argv)
    for name, why in _OURS.items():
        if name in popen:
            raise TypeError(f"command() takes no {name}=: {why}")
    with contextlib.ExitStack() as stack:
        _streams(popen, input, stack)
        if stop():
            raise Stopped
        command = _start(words, popen)
        stack.callback(command.close)
        outputs = [Output(pipe, on_line) if pipe else None for pipe in command.pipes]
        code = _attend(command, list(filter(None, outputs)), stop)
    stdout, stderr = (output.text() if output else None for output in outputs)
    done = CompletedProcess(list(argv), code, stdout, stderr)
    if check and code:
        raise _failed(done)
    return done


def _words(argv: object) -> list[str]:
    if not isinstance(argv, (list, tuple)):
        raise TypeError(f"argv is a list of the program and its arguments, not {argv!r}: no shell takes it apart")
    if not argv:
        raise ValueError("argv is empty: it names no program")
    words = [os.fspath(word) if isinstance(word, os.PathLike) else word for word in argv]
    for place, word in enumerate(words):
        if not isinstance(word, str):
            raise TypeError(f"argv[{place}] is a str or a path, not {word!r}")
    return words


def _streams(popen: dict[str, Any], input: str | bytes | None, stack: contextlib.ExitStack) -> None:
    """Complete where stdin, stdout and stderr go."""
    if input is not None:
        if "stdin" in popen:
            raise TypeError("command() takes stdin= or input=, not both")
        popen["stdin"] = stack.enter_context(_file_of(input))
    elif popen.setdefault("stdin", subprocess.DEVNULL) == PIPE:
        raise TypeError("command() takes no stdin=PIPE, for nobody would write to it: give the text as input=")
    popen.setdefault("stdout", PIPE)
    popen.setdefault("stderr", STDOUT if popen["stdout"] == PIPE else PIPE)


def _file_of(input: str | bytes) -> IO[bytes]:
    """A file and no pipe: nobody needs to write while we read, and a command that reads half of it is no SIGPIPE."""
    data = input.encode("utf-8", "surrogateescape") if isinstance(input, str) else memoryview(input)
    if hasattr(os, "memfd_create"):
        file: IO[bytes] = os.fdopen(os.memfd_create("input"), "w+b")
    else:
        import tempfile  # takes as long as a command's start

        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(data)
    file.seek(0)
    return file


def _failed(done: CompletedProcess[str]) -> CalledProcessError:
    error = CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
    said = (done.stderr or done.stdout or "").replace("\0", "\\0").strip("\n")
    if said:
        error.add_note("the last of its output:\n" + "\n".join(said[-WIDTH:].split("\n")[-20:]))
    return error


def _attend(command: _Child | _Ward, outputs: list[Output], stop: Callable[[], bool]) -> int:
    """Hand on what it says until it has ended. → its return code."""
    with contextlib.closing(Reading(command.line, command.hear, outputs)) as reading:
        look, deadline = monotonic() + PAUSE, None
        while (code := command.code(deadline is not None and bool(outputs) and not reading.open)) is None:
            for output, chunk in reading.take(PAUSE):
                if deadline is None:
                    output.feed(chunk)  # else lost: it must not wait with a full pipe, and we call nobody any more
            if deadline is not None and monotonic() >= deadline:
                raise Stopped
            if deadline is None and monotonic() >= look:
                look = monotonic() + PAUSE
                if stop():
                    deadline = monotonic() + GRACE
                    command.ask()
        if deadline is not None:
            raise Stopped
        for _ in range(_LEFT):
            for output, chunk in reading.take(_LINGER) if reading.open else ():
                output.feed(chunk)
        for output in outputs:
            output.feed(b"", end=True)
    return code


def _start(words: list[str], popen: dict[str, Any]) -> _Child | _Ward:
    name = os.path.basename(sys.executable or "").lower()
    # Anything else that is found there would start itself once more: a frozen program, a server with a Python inside.
    python = name.startswith(("python", "pypy")) and not getattr(sys, "frozen", False)
    if python and hasattr(os, "posix_spawnp") and os.access(sys.executable, os.X_OK):
        return _Ward(words, popen)
    return _Child(words, popen)


class _Child:
    """The command as our own child."""

    line: socket.socket | None = None

    def __init__(self, words: list[str], popen: dict[str, Any]) -> None:
        if sys.platform == "win32":  # pragma: no cover
            popen["creationflags"] = popen.get("creationflags", 0) | subprocess.CREATE_NEW_PROCESS_GROUP
        self._process = Popen(words, bufsize=0, start_new_session=True, **popen)
        self.pipes = self._process.stdout, self._process.stderr

    def hear(self) -> bool:
        """Take in what the guardian says, until it ends (False). Here is none: give the command a moment to end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PAUSE)
        return False

    def code(self, silent: bool = False) -> int | None:
        """Its return code, once it has ended and the guardian has seen to the rest; or, `silent`, once it has ended."""
        return self._process.poll()

    def ask(self) -> None:
        """Have it end, as it likes best."""
        _signal_group(self._process.pid, signal.SIGTERM)

    def close(self) -> None:
        """Kill what is left, and forget it."""
        if sys.platform != "win32" or self.code() is None:
            _signal_group(self._process.pid, _KILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)


class _Ward:
    """The command under a guardian."""

    def __init__(self, words: list[str], popen: dict[str, Any]) -> None:
        self._program = os.fsdecode(popen.pop("executable", None) or words[0])
        self._said, self._over = b"", False
        popen["env"] = _guardians_environment(popen.pop("env", None))
        self.line, theirs = pair()
        _lines.add(self.line)
        try:
            with theirs:
                popen["pass_fds"] = (*popen.pop("pass_fds", ()), theirs.fileno())
                guardian = [sys.executable, "-I", "-S", "-X", "utf8", "-c", _GUARDIAN, str(theirs.fileno())]
                self._process = Popen([*guardian, self._program, *words], bufsize=0, start_new_session=True, **popen)
        except BaseException:
            self.line.close()
            raise
        self.pipes = self._process.stdout, self._process.stderr

    def _numbers(self) -> list[int]:
        """What the guardian has said: the process and the return code, or minus the error that stopped it."""
        return [int(number) for number in self._said.split(b"\n")[:-1]]

    def hear(self) -> bool:
        self._said += (said := self.line.recv(64))
        self._over = not said
        return bool(said)

    def code(self, silent: bool = False) -> int | None:
        numbers = self._numbers()
        if numbers and numbers[0] < 0:
            raise OSError(-numbers[0], os.strerror(-numbers[0]), self._program)
        if self._over and not numbers:
            raise ChildProcessError(f"the guardian, a {sys.executable}, ended with {self._process.wait()}")
        if self._over or (silent and len(numbers) == 2):
            return numbers[1] if len(numbers) == 2 else -_KILL  # or somebody killed the guardian alone
        return None

    def ask(self) -> None:
        if numbers := self._numbers():
            self._process.terminate()  # the guardian notes it, no more
            _signal_group(numbers[0], signal.SIGTERM)
            return
        with contextlib.suppress(OSError):  # the guardian may have ended
            self.line.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Kill the group and see the guardian's end. It stays with a command that we may not kill, being another
        user's, or that hangs in the kernel."""
        try:
            with contextlib.suppress(OSError):
                self.line.shutdown(socket.SHUT_WR)  # ends it even while a process that we forked has it, too
            with contextlib.suppress(OSError):
                self.line.settimeout(GRACE)
                while self.hear():
                    pass
        finally:
            self.line.close()
        if len(numbers := self._numbers()) == 1:
            _signal_group(numbers[0], _KILL)
        if self._over:
            self._process.wait()


def _signal_group(group: int, number: int) -> None:
    if sys.platform == "win32":  # pragma: no cover
        kill = ["taskkill", "/T", "/F", "/PID", str(group)]
        subprocess.run(kill, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    elif group > 0:
        with contextlib.suppress(OSError):
            os.killpg(group, number)


def _guardians_environment(env: Mapping[Any, Any] | None) -> dict[bytes, bytes]:
    """Ours, and beside it the command's own under other names.

    So the guardian starts whatever `env` says, also where Python finds its libraries by LD_LIBRARY_PATH only; and the
    command gets none of what a Python adds to its environment (LC_CTYPE, in the C locale).
    """
    own = {name: value for name in list(os.environb) if (value := os.environb.get(name)) is not None}  # threads set it
    given = own if env is None else {os.fsencode(name): os.fsencode(value) for name, value in env.items()}
    return own | {b"_TASKCORE_GIVEN_" + name: value for name, value in given.items()}


_lines: Final[weakref.WeakSet[socket.socket]] = weakref.WeakSet()
"""Our ends. Programs that are started meanwhile do not inherit them; a mere fork does, and would hold up the end."""


def _forked() -> None:
    for line in list(_lines):
        line.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

# It blocks every signal: who ends a service may send SIGTERM to each process there is. A SIGTERM that waits in vain
# tells it that the group got one, too: then what outlives the command, a shell say, has 2 s of its own. The thread is
# there before the command is, and listens once there is something to kill; what it says after our death fails, and
# that must not end it before it has killed. What a Python ignores, the command shall not; descriptors 0 to 2 are the
# command's alone. `_signal` is `signal` without enums, which would take 5 of 16 ms.
_GUARDIAN: Final = """\
import _signal as signal, _thread, os, sys
line, program, argv = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
os.set_inheritable(line, False)
mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
env = {name[16:]: value for name, value in os.environb.items() if name.startswith(b"_TASKCORE_GIVEN_")}
os.environb.clear()
os.environb.update(env)
def listen():
    born.acquire()
    try:
        os.read(line, 1)
    finally:
        over.release()
        os.killpg(pid, signal.SIGKILL)
born, over = _thread.allocate_lock(), _thread.allocate_lock()
for lock in born, over:
    lock.acquire()
_thread.start_new_thread(listen, ())
try:
    ignored = signal.SIGPIPE, signal.SIGXFSZ
    pid = os.posix_spawnp(program, argv, env, setpgroup=0, setsigmask=mask, setsigdef=ignored)
except OSError as error:
    os.write(line, b"%d\\n" % -error.errno)
    os._exit(1)
born.release()
try:
    os.closerange(0, 3)
    os.write(line, b"%d\\n" % pid)
    status = os.waitpid(pid, 0)[1]
    os.write(line, b"%d\\n" % os.waitstatus_to_exitcode(status))
    for _ in range(100 if signal.SIGTERM in signal.sigpending() else 0):
        os.killpg(pid, 0)
        if over.acquire(True, 0.02):
            break
except OSError:
    pass
try:
    os.killpg(pid, signal.SIGKILL)
finally:
    os._exit(0)
"""

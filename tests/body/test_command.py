"""Commands as real processes: what they say, how they end, and that nothing of them is left."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from taskcore.body import command
from taskcore.body.command import Stopped, execute
from taskcore.body.output import _through_a_socket
from tests.support.processes import PATIENCE, Child, children, say, until

if not hasattr(os, "fork"):
    pytest.skip("this system has no process groups", allow_module_level=True)

SOON = 2
"""Seconds within which what was killed is dead."""

STUBBORN = """
trap '' TERM
sleep 1000 & echo $!
sh -c 'sleep 1001 & echo $!; echo $$; wait' &
echo $$
wait
"""
"""Four processes that ignore SIGTERM. Each says its number."""


@pytest.fixture
def child():
    children = []

    def start(body, *args, **options):
        children.append(Child(body, *args, **options))
        return children[-1]

    yield start
    for each in children:
        each.close()


def run(argv, **options):
    """→ what became of it, and the lines it said."""
    lines = []
    done = execute(argv, stop=lambda: False, on_line=lines.append, **options)
    return done, lines


def shell(script, **options):
    return run(["sh", "-c", script], **options)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return not os.path.exists("/proc/self")


def dead_soon(*pids):
    until(lambda: not any(map(alive, pids)), f"all of {pids} are dead", SOON)


class Stopper:
    """Hears what a command says, and has it stopped once that is so many lines."""

    def __init__(self, lines):
        self.lines, self.wanted, self.stopped = [], lines, None

    def hear(self, line):
        assert self.stopped is None, "nobody is called after the stop"
        self.lines.append(line)

    def stop(self):
        assert self.stopped is None
        if len(self.lines) < self.wanted:
            return False
        self.stopped = time.monotonic()
        return True

    def run(self, script):
        """→ seconds from the stop to the end."""
        with pytest.raises(Stopped):
            execute(["sh", "-c", script], stop=self.stop, on_line=self.hear)
        return time.monotonic() - self.stopped


# -- what it says ---------------------------------------------------------------------------------------------------


def test_each_line_comes_while_the_command_runs(tmp_path):
    os.mkfifo(tmp_path / "answer")
    heard = []

    def answer(line):
        heard.append(line)
        if line == "first":
            (tmp_path / "answer").write_text("yes\n")

    execute(
        ["sh", "-c", "echo first; read word < answer; echo then $word"],
        cwd=tmp_path, stop=lambda: False, on_line=answer,
    )  # fmt: skip
    assert heard == ["first", "then yes"]


def test_stdout_and_stderr_come_as_one_stream_and_are_in_the_result():
    done, lines = shell("echo one; echo two >&2; echo three")
    assert lines == ["one", "two", "three"]
    assert done.args == ["sh", "-c", "echo one; echo two >&2; echo three"]
    assert (done.returncode, done.stdout, done.stderr) == (0, "one\ntwo\nthree\n", None)


def test_stderr_may_be_kept_apart_and_its_lines_come_all_the_same():
    done, lines = shell("echo one; echo two >&2", stderr=subprocess.PIPE)
    assert sorted(lines) == ["one", "two"]
    assert (done.stdout, done.stderr) == ("one\n", "two\n")


def test_stdout_may_go_to_a_file_and_then_stderr_alone_is_heard(tmp_path):
    with open(tmp_path / "data", "wb") as data:
        done, lines = shell("echo one; echo two >&2", stdout=data)
    assert (tmp_path / "data").read_text() == "one\n"
    assert (lines, done.stdout, done.stderr) == (["two"], None, "two\n")


def test_where_nothing_is_captured_the_end_is_seen_at_once(tmp_path):
    with open(tmp_path / "all", "wb") as file:
        done, lines = shell("echo one; echo two >&2", stdout=file, stderr=file)
    assert (tmp_path / "all").read_text() == "one\ntwo\n"
    assert (lines, done.stdout, done.stderr) == ([], None, None)


@pytest.mark.parametrize("written, lines, text", [
    (rb"a\r\nb\rc", ["a", "b", "c"], "a\nb\nc"),
    (rb"\n\nx\n", ["", "", "x"], "\n\nx\n"),
    (rb"caf\303\251 \377 \303", ["café \\xff \\xc3"], "café \\xff \\xc3"),
    (rb"nul \000 here", ["nul \\0 here"], "nul \0 here"),
    (rb"", [], ""),
])  # fmt: skip
def test_what_a_command_writes_is_text_whatever_it_is(written, lines, text):
    done, heard = shell(f"printf '{written.decode()}'")
    assert (heard, done.stdout) == (lines, text)


def test_a_line_of_many_characters_comes_in_pieces_and_none_is_lost():
    done, lines = shell("head -c 9000 /dev/zero | tr '\\000' x; echo; head -c 8000 /dev/zero | tr '\\000' y")
    assert [len(line) for line in lines] == [4000, 4000, 1000, 4000, 4000]
    assert done.stdout == "x" * 9000 + "\n" + "y" * 8000


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a pipe holds no more than one read takes")
def test_what_is_still_in_the_pipe_at_the_end_comes():
    lines = []

    def hear(line):
        if not lines:
            until(lambda: not alive(int(line)), "the guardian has ended")
        lines.append(line)

    script = "echo $PPID; head -c 900000 /dev/zero | tr '\\000' x; echo; echo the end"
    execute(["sh", "-c", script], pipesize=1 << 20, stop=lambda: False, on_line=hear)
    assert len(lines) == 1 + 225 + 1 and lines[-1] == "the end"


def test_of_huge_output_the_newest_is_kept_and_memory_stays_small():
    count, last = 0, None

    def hear(line):
        nonlocal count, last
        count, last = count + 1, line

    word = "x" * 999
    tracemalloc.start()
    try:
        done = execute(
            ["sh", "-c", f"yes {word} | head -n 20000; head -c 5000000 /dev/zero; echo the end"],
            stop=lambda: False, on_line=hear,
        )  # fmt: skip
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 20000 + 1251 and last == "the end"[-(5000007 % 4000) :]
    assert done.stdout == "\0" * (65536 - 8) + "the end\n"
    assert peak < 4_000_000, f"{peak} bytes at once"


# -- how it ends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("script, code", [
    ("exit 0", 0), ("exit 1", 1), ("exit 255", 255),
    ("kill -9 $$", -9), ("kill -15 $$", -15), ("kill -11 $$", -11), ("kill -13 $$", -13),
])  # fmt: skip
def test_the_return_code_is_the_commands_own(script, code, guarded, monkeypatch):
    if not guarded:
        monkeypatch.setattr(sys, "executable", None)
    assert shell(script, check=False)[0].returncode == code


def test_a_return_code_other_than_0_raises_with_the_last_lines_of_output():
    with pytest.raises(subprocess.CalledProcessError, match="exit status 3") as caught:
        shell("for n in $(seq 100); do echo line $n; done; exit 3")
    assert caught.value.returncode == 3
    assert caught.value.output.startswith("line 1\n") and caught.value.output.endswith("line 100\n")
    (note,) = caught.value.__notes__
    assert note.splitlines()[-20:] == [f"line {n}" for n in range(81, 101)]
    assert "line 80\n" not in note


def test_the_note_of_an_error_is_taken_from_stderr_where_that_is_apart():
    with pytest.raises(subprocess.CalledProcessError) as caught:
        shell("echo data; echo why >&2; exit 1", stderr=subprocess.PIPE)
    assert (caught.value.stdout, caught.value.stderr) == ("data\n", "why\n")
    assert caught.value.__notes__ == ["the last of its output:\nwhy"]


def test_a_command_that_says_nothing_fails_without_a_note():
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run(["false"])
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize("argv, options", [
    (["no-such-program"], {}),
    (["./plain"], {}),
    (["./script"], {}),
    (["./bad-interpreter"], {}),
    (["true"], {"cwd": "no-such-directory"}),
    (["true"], {"env": {"PATH": "/no/such/directory"}}),
])  # fmt: skip
def test_what_cannot_be_started_is_the_error_that_popen_raises(argv, options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text, mode in (
        ("plain", "", 0o644), ("script", "no first line", 0o755), ("bad-interpreter", "#!/no/such\n", 0o755),
    ):  # fmt: skip
        Path(name).write_text(text)
        Path(name).chmod(mode)
    before = children()
    with pytest.raises(OSError) as expected:
        subprocess.Popen(argv, **options)
    with pytest.raises(OSError) as caught:
        run(argv, **options)
    assert repr(caught.value) == repr(expected.value)
    assert caught.value.filename == expected.value.filename
    assert children() == before, "a child is left"


@pytest.mark.parametrize("argv", [[], ()])
def test_an_empty_command_is_refused(argv):
    with pytest.raises(ValueError, match="no program"):
        run(argv)


@pytest.mark.parametrize("argv", ["echo hi", b"echo", None, {"echo"}])
def test_a_command_is_a_list_since_no_shell_takes_it_apart(argv):
    with pytest.raises(TypeError, match="no shell"):
        run(argv)


@pytest.mark.parametrize("argv, which", [(["sleep", 1], "1"), ([b"true"], "0"), (["echo", None], "1")])
def test_each_word_of_a_command_is_text_or_a_path(argv, which):
    with pytest.raises(TypeError, match=rf"argv\[{which}\]"):
        run(argv)


def test_a_word_may_be_a_path(tmp_path):
    (tmp_path / "file").write_text("inside\n")
    assert run(("cat", tmp_path / "file"))[1] == ["inside"]


@pytest.mark.parametrize("name", [
    "shell", "start_new_session", "process_group", "preexec_fn", "restore_signals", "text", "universal_newlines",
    "encoding", "errors", "bufsize", "close_fds", "timeout", "capture_output",
])  # fmt: skip
def test_what_the_command_decides_by_itself_is_refused_by_name(name):
    with pytest.raises(TypeError, match=f"no {name}=: "):
        run(["true"], **{name: False})


def test_what_popen_does_not_know_is_refused_and_nothing_is_left():
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(TypeError, match="colour"):
        run(["true"], colour="red")
    assert len(os.listdir("/dev/fd")) == before


# -- what it is given -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["a line\nünd another", b"a line\n\xc3\xbcnd another"])
def test_input_is_what_the_command_reads(given):
    assert run(["cat"], input=given)[1] == ["a line", "ünd another"]


def test_input_may_be_large_and_need_not_be_read():
    large = b"x" * 1_000_000
    assert run(["wc", "-c"], input=large)[1][0].strip() == "1000000"
    assert shell("exit 0", input=large)[1] == []


def test_a_command_reads_nothing_unless_it_is_told_to(tmp_path):
    assert run(["cat"])[1] == []
    (tmp_path / "file").write_text("inside\n")
    with open(tmp_path / "file") as file:
        assert run(["cat"], stdin=file)[1] == ["inside"]
        with pytest.raises(TypeError, match="not both"):
            run(["cat"], stdin=file, input="")
    with pytest.raises(TypeError, match="input="):
        run(["cat"], stdin=subprocess.PIPE)


def test_a_command_runs_where_it_is_told_to(tmp_path):
    (tmp_path / "here").write_text("#!/bin/sh\npwd -P\n")
    (tmp_path / "here").chmod(0o755)
    assert run(["./here"], cwd=tmp_path)[1] == [str(tmp_path.resolve())]


@pytest.mark.parametrize("env", [{}, {"A": "b", "LC_ALL": "C"}, {"PYTHONHOME": "/nowhere", "LD_LIBRARY_PATH": "/no"}])
def test_the_environment_is_what_the_command_is_given_and_nothing_else(env):
    assert dict(line.split("=", 1) for line in run(["/usr/bin/env"], env=env)[1]) == env


def test_without_an_environment_of_its_own_a_command_has_ours(monkeypatch):
    monkeypatch.setenv("TASKCORE_TEST", "ünd")
    expected = subprocess.run(["env"], env=os.environ, capture_output=True, encoding="utf-8", check=True).stdout
    assert sorted(run(["env"])[0].stdout.splitlines()) == sorted(expected.splitlines())


def test_a_program_is_looked_for_on_the_path_that_it_is_given(tmp_path, monkeypatch):
    (tmp_path / "odd-program").write_text("#!/bin/sh\necho found\n")
    (tmp_path / "odd-program").chmod(0o755)
    assert run(["odd-program"], env={"PATH": f"/nowhere:{tmp_path}"})[1] == ["found"]
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert run(["odd-program"])[1] == ["found"]
    with pytest.raises(FileNotFoundError):
        run(["odd-program"], env={})


def test_the_program_may_be_another_than_the_first_word():
    assert run(["another", "-c", "echo $0"], executable="sh")[1] == ["another"]


def test_a_command_inherits_the_descriptors_that_are_named_and_no_others(tmp_path):
    (tmp_path / "file").write_text("inside\n")
    with open(tmp_path / "file") as named, open(tmp_path / "file") as other:
        os.set_inheritable(other.fileno(), True)
        number = named.fileno()
        assert run(["cat", f"/dev/fd/{number}"], pass_fds=[number])[1] == ["inside"]
        there = "for n in $(seq 0 99); do if [ -e /dev/fd/$n ]; then echo $n; fi; done"
        assert shell(there, pass_fds=[number])[1] == ["0", "1", "2", str(number)]


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="asks Linux")
def test_signals_are_blocked_and_ignored_as_under_popen():
    def those(text):
        # 32 and 33 are none that a program can use, and glibc sets them as it likes
        return [int(line.split()[1], 16) & ~(3 << 31) for line in text.splitlines()]

    argv = ["grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status"]
    expected = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert those(run(argv)[0].stdout) == those(expected)


# -- stops ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guarded", [True, False])
def test_what_ignores_sigterm_is_dead_after_the_stop_and_all_its_children_are(guarded, monkeypatch):
    if not guarded:
        monkeypatch.setattr(sys, "executable", "")
        monkeypatch.setattr(command, "GRACE", 0.3)
    stopper = Stopper(lines=4)
    took = stopper.run(STUBBORN)
    assert command.GRACE <= took < command.GRACE + 1
    dead_soon(*map(int, stopper.lines))


def test_a_stop_is_a_sigterm_first_and_what_is_said_after_it_is_lost(tmp_path):
    stopper = Stopper(lines=1)
    took = stopper.run(
        f"trap 'head -c 200000 /dev/zero; echo > {tmp_path}/tidy; exit' TERM; echo $$; while :; do sleep 0.02; done"
    )
    assert took < 1
    assert (tmp_path / "tidy").exists(), "it could end in its own way"
    assert len(stopper.lines) == 1


def test_what_outlives_its_shell_at_a_stop_has_its_time_too(tmp_path):
    inner = f'trap "sleep 0.3; echo > {tmp_path}/tidy; exit" TERM; echo $$; while :; do sleep 0.02; done'
    stopper = Stopper(lines=1)
    took = stopper.run(f"sh -c '{inner}' | cat")
    assert took < 1.5
    assert (tmp_path / "tidy").exists()
    dead_soon(*map(int, stopper.lines))


def test_what_is_to_stop_before_it_starts_does_not_start(tmp_path):
    with pytest.raises(Stopped):
        execute(["touch", tmp_path / "there"], stop=lambda: True, on_line=print)
    assert not (tmp_path / "there").exists()


def test_a_stop_while_it_starts_leaves_nothing(monkeypatch):
    monkeypatch.setattr(command, "PAUSE", 0.0)
    answers, lines, since, before = [False, True], [], time.monotonic(), children()
    with pytest.raises(Stopped):
        execute(["sh", "-c", STUBBORN], stop=lambda: answers.pop(0), on_line=lines.append)
    assert (answers, lines) == ([], []) and time.monotonic() - since < 1
    assert children() == before


def test_stop_is_asked_some_twenty_times_a_second():
    for argv, check in ((["sleep", "0.3"], True), (["timeout", "0.3", "yes"], False)):
        asked, began = [], time.monotonic()
        execute(argv, stop=lambda asked=asked: asked.append(1), on_line=lambda line: None, check=check)
        assert 2 <= len(asked) <= 2 + 20 * (time.monotonic() - began)  # on a busy machine it takes longer


@pytest.mark.parametrize("where", ["on_line", "stop"])
def test_an_error_of_the_caller_kills_the_command_and_is_raised(where):
    lines = []

    def hear(line):
        lines.append(line)
        if where == "on_line" and len(lines) == 4:
            raise LookupError("of the caller")

    def stop():
        if where == "stop" and len(lines) == 4:
            raise LookupError("of the caller")

    with pytest.raises(LookupError, match="of the caller"):
        execute(["sh", "-c", STUBBORN], stop=stop, on_line=hear)
    dead_soon(*map(int, lines))


@pytest.mark.parametrize("guarded", [True, False])
def test_what_a_command_leaves_in_the_background_dies_with_it(guarded, monkeypatch):
    if not guarded:
        monkeypatch.setattr(sys, "executable", "")
    since = time.monotonic()
    done, lines = shell("sleep 1000 & echo $!; (trap '' TERM; sleep 1001) & echo $!; exit 5", check=False)
    assert time.monotonic() - since < 1 and done.returncode == 5
    dead_soon(*map(int, lines))


def test_a_daemon_that_keeps_the_output_open_does_not_keep_the_command():
    script = "import os, sys; os.setsid(); os.write(1, b'%d\\n' % os.getpid()); sys.stdin.read()"
    reader, writer = os.pipe()
    with open(writer, "wb"), open(reader, "rb") as stdin:
        since = time.monotonic()
        # By the end of the shell the daemon has left the group; it ends with our end of its stdin.
        done, lines = run(["sh", "-c", '"$0" -c "$1" & sleep 0.3; echo over', sys.executable, script], stdin=stdin)
        assert time.monotonic() - since < 5
    assert lines[-1] == "over" and done.returncode == 0


# -- when we die ----------------------------------------------------------------------------------------------------


def runs_commands(script, number):
    """As many at once as are wanted, each in a thread; says what they say."""
    from taskcore.body.command import execute

    def one():
        execute(["sh", "-c", script], stop=lambda: False, on_line=say)

    threads = [threading.Thread(target=one, daemon=True) for _ in range(int(number))]
    for thread in threads:
        thread.start()
    sys.stdin.readline()


def test_commands_die_with_all_their_children_when_our_process_is_killed(child):
    ours = child(runs_commands, STUBBORN, 2)
    pids = [int(ours.line()) for _ in range(8)]
    assert all(map(alive, pids))
    ours.kill()
    dead_soon(*pids)


def is_killed_by_its_command(path):
    from taskcore.body import command

    # The guardian finds out by failing to say that the command began: its thread comes late.
    late = command._GUARDIAN
    for before, after in (
        ("os.read(line, 1)", "os.read(line, 1); time.sleep(20)"),
        ("os.closerange(0, 3)", "time.sleep(0.3); os.closerange(0, 3)"),
    ):
        if late.count(before) != 1:
            raise AssertionError(f"{before} is not in the guardian once")
        late = late.replace(before, after)
    vars(command)["_GUARDIAN"] = "import time\n" + late
    command.execute(["sh", "-c", f"echo $$ > {path}; kill -9 {os.getpid()}; exec sleep 1002"], stop=bool, on_line=say)


def test_a_command_dies_that_kills_us_before_its_guardian_could_say_that_it_began(tmp_path, child):
    child(is_killed_by_its_command, tmp_path / "pid").end(code=-signal.SIGKILL)
    dead_soon(int((tmp_path / "pid").read_text()))


def test_commands_die_when_our_program_ends_while_they_run(child):
    ours = child(runs_commands, STUBBORN, 1)
    pids = [int(ours.line()) for _ in range(4)]
    ours.end()
    dead_soon(*pids)


def runs_a_command_and_forks(script):
    """The fork outlives us, with all that we had open."""
    from taskcore.body.command import execute

    def fork(line):
        say(line)
        if not forks:
            forks.append(os.fork())
            if not forks[0]:
                signal.pause()

    forks = []
    execute(["sh", "-c", script], stop=lambda: False, on_line=fork)


def test_a_fork_of_ours_that_lives_on_does_not_keep_a_command_alive(child):
    ours = child(runs_a_command_and_forks, STUBBORN)
    pids = [int(ours.line()) for _ in range(4)]
    ours.kill()
    dead_soon(*pids)


def is_interrupted(script):
    from taskcore.body.command import execute

    try:
        execute(["sh", "-c", script], stop=lambda: False, on_line=say)
    except KeyboardInterrupt:
        say("interrupted")
    sys.stdin.readline()


def test_a_ctrl_c_kills_the_command_and_is_raised(child):
    ours = child(is_interrupted, STUBBORN)
    pids = [int(ours.line()) for _ in range(4)]
    ours.process.send_signal(signal.SIGINT)
    assert ours.line() == "interrupted"
    dead_soon(*pids)
    assert ours.end() == []


def test_a_command_dies_when_its_guardian_is_killed_alone():
    lines = []

    def hear(line):
        lines.append(int(line))
        if len(lines) == 5:
            os.kill(lines[0], signal.SIGKILL)

    with pytest.raises(subprocess.CalledProcessError) as caught:
        execute(["sh", "-c", "echo $PPID\n" + STUBBORN], stop=lambda: False, on_line=hear)
    assert caught.value.returncode == -signal.SIGKILL
    dead_soon(*lines)


def test_a_guardian_does_not_end_by_a_signal_that_everybody_gets():
    def hear(line):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(int(line), number)

    done = execute(["sh", "-c", "echo $PPID; sleep 0.2; exit 4"], stop=lambda: False, on_line=hear, check=False)
    assert done.returncode == 4


# -- among other things ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="asks Linux")
def test_no_descriptor_is_left_open():
    def once():
        shell("echo one; echo two >&2; exit 3", check=False, stderr=subprocess.PIPE, input="word")
        with pytest.raises(OSError):
            run(["no-such-program"])
        with pytest.raises(ValueError):
            execute(["sleep", "1000"], stop=lambda: int("none"), on_line=print)
        stopper = Stopper(lines=1)
        stopper.run("echo there; sleep 1000")

    once()
    before = os.listdir("/proc/self/fd")
    for _ in range(2):  # of four commands each
        once()
    assert len(os.listdir("/proc/self/fd")) == len(before)


def has_nothing_open(path):
    """Where 0, 1 and 2 are closed, new descriptors get these numbers."""
    from taskcore.body.command import execute

    os.closerange(0, 3)
    lines = []
    done = execute(["sh", "-c", "cat; echo out; echo err >&2; exit 6"], input="in\n",
                   stop=lambda: False, on_line=lines.append, check=False)  # fmt: skip
    with open(path, "w") as file:
        file.write(f"{done.returncode} {lines}")


def test_a_program_without_stdin_stdout_and_stderr_can_run_commands(tmp_path, child):
    child(has_nothing_open, tmp_path / "said").end()
    assert (tmp_path / "said").read_text() == "6 ['in', 'out', 'err']"


def test_a_default_timeout_of_sockets_does_not_matter():
    socket.setdefaulttimeout(0.01)
    try:
        assert shell("sleep 0.2; echo there")[1] == ["there"]
    finally:
        socket.setdefaulttimeout(None)


def test_the_return_code_is_right_where_ended_children_are_ignored():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert shell("exit 7", check=False)[0].returncode == 7
        assert shell("true & wait $!; kill -9 $$", check=False)[0].returncode == -9
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize("executable", ["", None, "/usr/sbin/uwsgi", "/no/such/python3"])
def test_where_there_is_no_python_to_guard_it_a_command_runs_all_the_same(executable, monkeypatch):
    monkeypatch.setattr(sys, "executable", executable)
    assert shell("echo $PPID")[1] == [str(os.getpid())]
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        run(["no-such-program"])


def test_a_frozen_program_does_not_start_itself_as_a_guardian(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert shell("echo $PPID")[1] == [str(os.getpid())]


def test_a_python_that_cannot_guard_is_an_error_that_says_so(tmp_path, monkeypatch):
    (tmp_path / "python").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ChildProcessError, match=r"python.* ended with 9"):
        run(["true"])


def test_a_pipe_can_be_read_through_a_socket_as_on_windows():
    reader, writer = os.pipe()
    with _through_a_socket(open(reader, "rb", buffering=0)) as there, open(writer, "wb", buffering=0) as out:
        out.write(b"one")
        assert there.read(100) == b"one"
        out.close()
        assert there.read(100) == b""


def test_many_commands_run_at_once():
    def one(number):
        done[number] = shell(f"echo {number}; exit {number}", check=False)[0]

    done = {}
    threads = [threading.Thread(target=one, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert {n: (d.returncode, d.stdout) for n, d in done.items()} == {n: (n, f"{n}\n") for n in range(12)}


def test_who_reads_a_commands_own_pipe_sees_its_end_when_the_command_closes_it():
    reader, writer = os.pipe()
    seen, out = threading.Event(), open(writer, "wb")  # noqa: SIM115 - the command's first line closes it

    def watch():
        with open(reader, "rb") as file:
            file.read()
        seen.set()

    thread = threading.Thread(target=watch)
    thread.start()
    deadline = time.monotonic() + SOON
    with pytest.raises(Stopped):
        execute(
            ["sh", "-c", "exec >&-; echo closed >&2; sleep 1000"],
            stdout=out, on_line=lambda line: out.close(), stop=lambda: seen.is_set() or time.monotonic() > deadline,
        )  # fmt: skip
    assert time.monotonic() < deadline, "the guardian holds it open"
    thread.join()

"""`python -m taskcore FILE …`: what it shows and moves, what it refuses, and that no text in a file controls a
terminal."""

import contextlib
import io
import json
import os
import pathlib
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tomllib

import pytest

import taskcore
import taskcore.testing
from taskcore import Engine
from taskcore.cli.main import main
from taskcore.core import lifecycle
from taskcore.core.text import printable

HOSTILE = "\x1b]0;pwned\x07\x1b[31m\r\n\x9b2J\u202eevil\u200b\x7f\ud800 \\ é"
SHOWN = printable(HOSTILE)


@pytest.fixture
def say(path, capsys):
    """`say("list", …)` → (exit code, stdout, stderr)."""

    def run(*words):
        code = 0
        try:
            code = main([str(path), *words])
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


def told(say, *words):
    code, out, err = say(*words)
    assert (code, err) == (0, "")
    return out


def shown(say, *words):
    return json.loads(told(say, *words, "--json"))


def each(say, *words):
    """What `--json` lists: one object a line."""
    return [json.loads(line) for line in told(say, *words, "--json").splitlines()]


# -- printable ------------------------------------------------------------------------------------------------------


def test_what_is_printable_stays_as_it_is():
    assert printable("Grüße, 世界 \\n ~") == "Grüße, 世界 \\n ~"
    assert printable("") == ""


def test_nothing_that_controls_a_terminal_is_printable():
    for code in [*range(0x3000), *range(0xD7F0, 0x10000), 0xE0001, 0x10FFFF]:
        assert printable(chr(code)).isprintable(), hex(code)
    assert SHOWN.isprintable() and "\\x1b" in SHOWN and "\\u202e" in SHOWN and "\\ud800" in SHOWN


# -- looking --------------------------------------------------------------------------------------------------------


def test_counts_are_by_status(engine, say):
    for _ in range(3):
        engine.submit("work")
    engine.claim()[0].succeed(status="good")
    assert told(say, "counts").split() == ["1", "good", "2", "ready"]
    assert shown(say, "counts") == {"good": 1, "ready": 2}
    assert shown(say, "counts", "--status", "good") == {"good": 1}


def test_a_list_has_the_first_or_the_newest_and_says_that_it_was_cut(engine, say):
    for _ in range(5):
        engine.submit("work")
    code, out, err = say("list", "--limit", "2")
    assert (code, err) == (0, "2 of 5; --limit 0 shows all\n")
    assert [line.split()[0] for line in out.splitlines()] == ["#1", "#2"]
    assert [task["id"] for task in each(say, "list", "--newest", "--limit", "0")] == [5, 4, 3, 2, 1]
    code, out, err = say("list", "--newest", "--limit", "2", "--json")
    assert [json.loads(line)["id"] for line in out.splitlines()] == [5, 4]
    assert (code, err) == (0, "2 of 5; --limit 0 shows all\n")


def test_a_key_that_was_made_from_the_arguments_is_not_listed(engine, say):
    engine.task("weigh").options(key=True).submit(4)
    engine.task("weigh").options(key="a").submit(4)
    first, second = told(say, "list").splitlines()
    assert "[" not in first and "weigh [a]" in second
    engine.claim(n=2)
    assert told(say, "watch", "--once").count("[") == 1


def test_an_empty_file_has_an_empty_list_and_that_is_said_beside_it(engine, say):
    assert say("list") == say("counts") == (0, "", "no tasks\n")
    assert say("schedules") == (0, "", "no schedules\n")
    assert say("limits") == (0, "", "no limits, and nothing on hold\n")
    assert each(say, "list") == each(say, "schedules") == each(say, "limits") == [] and shown(say, "counts") == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "{path}"], "taskcore: the file comes before the command: taskcore {path} list\n"),
        (["{path}", "work", "survey", "--json"], "taskcore: unrecognized arguments: --json\n"),
    ],
    ids=["the command first", "a worker's answers as JSON"],
)
def test_what_cannot_be_meant_is_refused_in_a_line_that_says_how(engine, path, capsys, words, said):
    try:
        code = main([word.format(path=path) for word in words])
    except SystemExit as stop:
        code = stop.code
    assert (code, capsys.readouterr()) == (2, ("", said.format(path=path)))


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (["--name", "a"], [1, 2]),
        (["--name", "a", "--name", "b"], [1, 2, 3]),
        (["--name", "a", "--key", "k"], [2]),
        (["--tag", "t"], [3]),
        (["--parent", "#1"], [2]),
        (["--id", "3", "--id", "#1"], [1, 3]),
        (["--phase", "waiting"], [3]),
        (["--upstream-of", "3"], [1]),
        (["--downstream-of", "1"], [3]),
        (["--worker", "nobody"], []),
        (["--id", "9" * 40], []),
        (["--hidden", "--name", "h"], [4]),
        (["--name", "h"], []),
        (["--id", "4"], [4]),
    ],
)
def test_filters_are_those_of_where(engine, say, filters, ids):
    first = engine.submit("a")
    engine.task("a").options(key="k", parent=first).submit()
    engine.task("b").options(tags=["t"]).submit(first)
    engine.task("h").options(hidden=True).submit()
    assert [task["id"] for task in each(say, "list", *filters)] == ids


def test_a_task_is_shown_with_all_that_is_known_of_it(inline, say):
    import logging

    from taskcore import current

    @inline.task(max_attempts=1)
    def work(n):
        current().step("halve", lambda: n / 2)
        logging.getLogger("here").warning("half done\nof %s", n)
        if n > 5:
            raise ValueError("too much")
        return {n, 0}

    first = work.submit(4)
    work.options(after={first: "finished"}).submit(6)
    inline.run()
    text = told(say, "show", "2")
    for part in ("failed", "ValueError: too much", "upstream_id 1", "halve  result 3.0", "WARNING  half done", " of 6"):
        assert part in text
    found = shown(say, "show", "#1")
    assert found["result"] == {"$set": [0, 4]} and found["args"] == [4]
    assert found["steps"][0]["result"] == 2.0 and found["log"][0]["text"] == "half done\nof 4"
    assert found["history"][0]["outcome"] == "succeeded"
    assert found["explain"].startswith("succeeded ") and "explain  failed " in text


def test_what_another_codec_wrote_is_shown_as_it_is(path, say):
    class Shout:
        def encode(self, value):
            return "<" + repr(value).upper() + ">"

        def decode(self, text):
            return (), {}

    engine = Engine(path, workers=0, codec=Shout())
    engine.submit("work", "x")
    engine.claim()[0].succeed("y")
    engine.close()
    assert "<'Y'>" in told(say, "show", "1")
    assert told(say, "list") and each(say, "list")


# -- hostile texts --------------------------------------------------------------------------------------------------


def test_nothing_in_a_file_controls_a_terminal(path, clock, say):
    evil = HOSTILE.replace("\ud800", "")
    engine = Engine(path, workers=0, clock=clock, name=evil)
    task = engine.task(evil).options(key=evil, tags=[evil]).submit(evil, [evil], {evil: 1}, word=evil)
    engine.claim(evil)[0].fail(ValueError(evil), retry=False)
    engine.limits[evil] = 2
    engine.every(5, name=evil)(evil)
    engine.task("next").options(after={task: ("failed", "wait")}).submit(task)
    engine.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE taskcore_task SET message = ?, step = ? WHERE id = 1", (evil, evil))
    connection.execute("INSERT INTO taskcore_log VALUES (1, 0, 1e300, ?, ?)", (evil, evil))
    connection.execute(
        "INSERT INTO taskcore_step VALUES (1, 0, '', 'step', ?, 1, 'kept', NULL, 1, 1, 1, ?)", (evil, json.dumps(evil))
    )
    connection.commit()
    connection.close()
    for words in (
        ["counts"],
        ["list"],
        ["show", "1"],
        ["show", "2"],
        ["check"],
        ["list", "--name", evil],
        ["limits"],
        ["schedules"],
        ["watch", "--once"],
        ["cancel", "--key", evil],
    ):
        for more in ([], ["--json"]):
            code, out, err = say(*words, *more)
            assert code == 0, err
            assert all(char == "\n" or char.isprintable() for char in out + err), (words, more)
    assert "evil" in say("list")[1]


def test_nothing_on_the_command_line_controls_a_terminal_either(engine, say):
    for words in (
        [HOSTILE],
        ["show", HOSTILE],
        ["list", "--phase", HOSTILE],
        ["list", "--limit", HOSTILE],
        ["list", f"--{HOSTILE}"],
    ):
        code, out, err = say(*words)
        assert (code, out) == (2, "")
        assert err.endswith("\n") and err[:-1].isprintable(), words


# -- moving ---------------------------------------------------------------------------------------------------------


def test_a_verb_says_how_many_it_moved(engine, say):
    for name in "aab":
        engine.submit(name)
    assert told(say, "pause", "--name", "a") == "2 tasks paused\n"
    assert told(say, "resume", "--id", "1") == "1 task resumed\n"
    assert told(say, "cancel", "--phase", "ready", "--reason", "rain") == "2 tasks cancelled\n"
    assert engine.future(3).snapshot().last_error == "rain"
    assert shown(say, "rerun", "--all") == {"moved": 2}
    assert engine.tasks.counts() == {"ready": 2, "paused": 1}


def test_a_cancel_says_of_how_many_running_ones_it_asked_to_stop(engine, say):
    for _ in range(3):
        engine.submit("f")
    engine.claim(n=2)
    assert told(say, "cancel", "--id", "2") == "0 tasks cancelled, 1 asked to stop\n"
    assert told(say, "cancel", "--name", "f") == "1 task cancelled, 2 asked to stop\n"


def test_a_rerun_reaches_downstream_if_asked(engine, say):
    first = engine.submit("first")
    engine.task("second").submit(first)
    for _ in range(2):
        engine.claim()[0].succeed()
    assert told(say, "rerun", "--id", "1", "--downstream") == "2 tasks run again\n"


@pytest.mark.parametrize("verb", ["cancel", "rerun", "pause", "resume"])
def test_without_a_filter_nothing_is_moved_unless_all_is_said(engine, say, verb):
    engine.submit("work")
    for words in ([verb], [verb, "--hidden"], [verb, "--a"], [verb, "--json"]):
        code, out, err = say(*words)
        assert (code, out) == (2, "") and err.count("\n") == 1
    assert engine.tasks.counts() == {"ready": 1}
    assert say(verb, "--all")[0] == 0


@pytest.mark.parametrize("verb, said", [("cancel", "cancelled"), ("pause", "paused")])
def test_tasks_are_moved_by_their_numbers(engine, say, verb, said):
    for _ in range(4):
        engine.submit("work")
    assert told(say, verb, "2", "#3") == f"2 tasks {said}\n"
    assert [task.id for task in engine.tasks.where(phase=said)] == [2, 3]


def test_numbers_that_are_not_there_are_named_and_the_others_moved(engine, say):
    engine.submit("work")
    assert say("cancel", "1", "999", "998", "--phase", "ready") == (
        1, "1 task cancelled\n", "no task matches #998, #999\n"
    )  # fmt: skip


def test_what_matches_nothing_says_so_and_exits_with_1(engine, say):
    engine.submit("work")
    for words in (["cancel", "60"], ["pause", "--name", "nobody"], ["rerun", "--tag", "x", "--phase", "failed"]):
        assert say(*words) == (1, "", "no task matches\n")
        code, out, err = say(*words, "--json")
        assert (code, json.loads(out), err) == (1, {"moved": 0}, "no task matches\n")
    for words in (["list", "--name", "nobody"], ["counts", "--phase", "failed"]):
        assert say(*words) == (1, "", "no task matches\n")
    assert told(say, "rerun", "1") == "0 tasks run again\n"  # it is there, and has not ended


def test_an_unknown_status_is_an_error_that_names_those_there_are(path, engine, say):
    engine.submit("work")
    with contextlib.closing(Engine(path, workers=0, statuses={"no match": "failed"})):
        code, out, err = say("list", "--status", "sucess")
        assert (code, out) == (2, "") and "'sucess' is no status" in err and "'no match'" in err
        assert say("list", "--status", "no match")[0] == 1


@pytest.mark.parametrize("width", [60, 100])
def test_lines_of_a_list_are_as_wide_as_the_terminal_at_most(engine, say, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    engine.task("a name of more than forty characters, or so it seems").options(key="k" * 50).submit()
    (line,) = told(say, "list").splitlines()
    assert len(line) == width and line.endswith("…")


def test_of_a_long_text_a_terminal_is_shown_the_beginning_and_a_pipe_all(engine, say, monkeypatch):
    engine.submit("weigh", "x" * 100_000)
    assert len(told(say, "show", "1")) > 100_000
    monkeypatch.setenv("COLUMNS", "80")
    assert 4_000 < len(told(say, "show", "1")) < 10_000
    assert shown(say, "show", "1")["args"] == ["x" * 100_000]


def test_what_is_shown_of_a_task_is_as_wide_as_the_terminal_at_most(engine, say, monkeypatch):
    engine.submit("work", "word " * 50)
    engine.claim("work")[0].fail(ValueError("y" * 200), retry=False)
    monkeypatch.setenv("COLUMNS", "60")
    lines = told(say, "show", "1").splitlines()
    assert max(map(len, lines)) <= 60 and "".join(line.strip() for line in lines).count("y") >= 200


def test_long_parts_of_a_task_are_cut_with_a_count(engine, say):
    engine.submit("total", [engine.submit("part") for _ in range(30)])
    assert "  20 of 30; --json has all\n" in told(say, "show", "31")
    assert len(shown(say, "show", "31")["dependencies"]) == 30


def test_hidden_tasks_are_moved_only_if_asked(engine, say):
    engine.task("work").options(hidden=True).submit()
    assert say("pause", "--name", "work") == (1, "", "no task matches\n")
    assert told(say, "pause", "--name", "work", "--hidden") == "1 task paused\n"
    assert told(say, "cancel", "--all") == "1 task cancelled\n"


# -- holding, telling and steering ----------------------------------------------------------------------------------


def test_a_name_or_the_whole_file_is_held_until_it_is_resumed(engine, say):
    engine.submit("fetch")
    assert told(say, "pause", "--hold", "fetch", "--hold", "later") == "'fetch' is on hold\n'later' is on hold\n"
    assert engine.claim() == [] and engine.tasks.counts() == {"ready": 1}
    assert say("pause", "--hold", "fetch") == (1, "'fetch' is on hold already\n", "")
    assert shown(say, "pause", "--hold-all") == {"held": ["", "fetch", "later"]}
    assert told(say, "limits").split() == ["the", "whole", "file", "on", "hold", "name:fetch", "on", "hold"] + [
        "name:later", "on", "hold",
    ]  # fmt: skip
    gone = "the whole file is no longer on hold\n'fetch' is no longer on hold\n"
    assert told(say, "resume", "--hold-all", "--hold", "fetch") == gone
    assert say("resume", "--hold", "fetch") == (1, "'fetch' was not on hold\n", "")
    assert len(engine.claim()) == 1
    for words in (["pause", "--hold", "a", "1"], ["resume", "--hold-all", "--all"], ["pause", "--hold", ""]):
        code, out, err = say(*words)
        assert (code, out, err.count("\n")) == (2, "", 1)
    assert engine.held == ["later"]


def test_a_signal_takes_its_payload_as_json(inline, say):
    heard = []

    @inline.task
    def ask():
        heard.append(taskcore.current().wait_for("answer"))

    ask.submit()
    inline.run()
    assert told(say, "signal", "#1", "answer", '{"go": [1, null]}') == "#1 was told 'answer'\n"
    assert shown(say, "signal", "1", "answer") == {"stored": True}
    inline.run()
    assert heard == [{"go": [1, None]}]
    assert say("signal", "1", "answer", "5") == (1, "", "#1 has ended\n")
    for words in (["1", "answer", "yes"], ["7", "answer"], ["1"], ["1", ""]):
        code, out, err = say("signal", *words)
        assert (code, out, err.count("\n")) == (2, "", 1)


def test_schedules_are_listed_and_changed(engine, say, clock):
    engine.every(60, name="beat")("beat")
    engine.cron("0 3 * * *", tz="Europe/Rome", name="night")("night")
    beat, night = each(say, "schedules")
    assert (beat["name"], beat["every"], beat["enabled"], beat["next_at"]) == ("beat", 60.0, True, 1060.0)
    assert (night["cron"], night["tz"], night["last_at"]) == ("0 3 * * *", "Europe/Rome", None)
    assert "every 60 s" in told(say, "schedules") and "0 3 * * *" in told(say, "schedules")
    assert "disabled" in told(say, "schedules", "disable", "beat")
    assert engine.schedules["beat"].enabled is False
    assert shown(say, "schedules", "--json", "enable", "beat")["enabled"] is True
    assert "every 90 s" in told(say, "schedules", "set-every", "beat", "90")
    assert shown(say, "schedules", "set-every", "beat", "1h30m")["every"] == 5400.0
    assert told(say, "schedules", "trigger", "night") == "#1 submitted\n"
    assert [task.name for task in engine.tasks] == ["night"]
    for words in ("enable nobody", "set-every night 5", "set-every beat soon", "set-every beat", "enable"):
        code, out, err = say("schedules", *words.split())
        assert (code, out, err.count("\n")) == (2, "", 1), words
    assert "there are: 'beat', 'night'" in say("schedules", "trigger", HOSTILE.replace("\ud800", ""))[2]


def test_limits_are_listed_and_changed(engine, say):
    engine.limits["gpu"] = 2
    assert told(say, "limits", "set", "gpu", "5") == "'gpu': 2 → 5\n"
    assert shown(say, "limits", "set", "name:fetch", "0") == {"name": "name:fetch", "limit": 0, "before": None}
    assert each(say, "limits") == [
        {"name": "gpu", "limit": 5, "held": False}, {"name": "name:fetch", "limit": 0, "held": False},
    ]  # fmt: skip
    assert told(say, "limits").split() == ["gpu", "5", "name:fetch", "0"]
    assert told(say, "limits", "unset", "name:fetch") == "'name:fetch': 0 → none\n"
    assert dict(engine.limits) == {"gpu": 5}
    for words in (["unset", "nobody"], ["set", "gpu"], ["set", "gpu", "-1"], ["set", "gpu", "many"], ["gpu", "5"]):
        code, out, err = say("limits", *words)
        assert (code, out, err.count("\n")) == (2, "", 1), words
    assert dict(engine.limits) == {"gpu": 5}


def test_what_ended_long_ago_is_pruned(path, say):
    old = taskcore.testing.ManualClock(1000.0)
    with contextlib.closing(Engine(path, workers=0, clock=old)) as engine:
        engine.submit("work"), engine.submit("work")
        engine.claim()[0].succeed()
        assert told(say, "prune", "--older-than", "30d") == "1 task deleted\n"
        assert shown(say, "prune", "--older-than", "0") == {"deleted": 0}
        for words in ([], ["--older-than", "long"], ["--older-than", "-1"]):
            code, out, err = say("prune", *words)
            assert (code, out, err.count("\n")) == (2, "", 1)
        assert engine.tasks.counts() == {"ready": 1}


# -- check ----------------------------------------------------------------------------------------------------------


def test_a_sound_file_is_code_0_and_another_code_1(engine, say, raw):
    engine.submit("work")
    assert told(say, "check") == "nothing is wrong\n"
    assert each(say, "check") == []
    raw("UPDATE taskcore_task SET phase = 'waiting'")
    code, out, _ = say("check")
    assert code == 1 and out.splitlines()[1] == "    pause and resume them"
    code, out, _ = say("check", "--json")
    assert code == 1 and json.loads(out)["mend"] == "pause and resume them"


def test_what_is_saved_of_a_file_is_checked_in_each_form(engine, say, raw, tmp_path):
    engine.submit("work")
    assert told(say, "salvage", str(tmp_path / "whole.db")).endswith(f"in {tmp_path / 'whole.db'}\n")
    raw("UPDATE taskcore_task SET links = 'x'")
    code, out, _ = say("salvage", str(tmp_path / "text.db"))
    assert code == 1 and "check finds 1 things there" in out
    code, out, _ = say("salvage", str(tmp_path / "json.db"), "--json")
    assert code == 1 and json.loads(out.splitlines()[0]).keys() == {"table", "rows", "lost"}


# -- refusals -------------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_not_made(path, say):
    path.unlink()
    for words in (["counts"], ["list"], ["show", "1"], ["cancel", "--all"], ["check"]):
        code, out, err = say(*words)
        assert (code, out) == (2, "") and "there is no such file" in err and err.count("\n") == 1
    assert os.listdir(path.parent) == []


def test_a_folder_that_is_not_there_is_said(tmp_path, capsys):
    assert main([str(tmp_path / "no" / "x.db"), "list"]) == 2
    assert f"there is no folder {tmp_path / 'no'}" in capsys.readouterr().err


def test_the_home_folder_may_be_a_tilde(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with contextlib.closing(Engine("~/home.db", workers=0)) as engine:
        engine.submit("work")
    assert main(["~/home.db", "counts"]) == 0
    assert capsys.readouterr().out.split() == ["1", "ready"] and (tmp_path / "home.db").exists()


def test_the_version_is_said(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"taskcore {taskcore.__version__}\n"


def test_another_file_is_left_as_it_is(path, say):
    for content in (b"", b"not a database, but long enough to be looked at as if it were one" * 40):
        path.write_bytes(content)
        code, _, err = say("counts")
        assert code == 2 and err.count("\n") == 1
        assert path.read_bytes() == content
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    code, _, err = say("counts")
    assert code == 2 and "no tasks" in err
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "words", [[], ["nonsense"], ["show"], ["show", "x"], ["show", "7"], ["list", "--limit", "-1"], ["list", "--nope"]]
)
def test_an_error_is_one_sentence_and_code_2(engine, say, words):
    code, out, err = say(*words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1 and len(err) > 20


def test_a_directory_and_memory_are_no_files(tmp_path, capsys):
    for name in (str(tmp_path), ":memory:", ""):
        assert main([name, "counts"]) == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    assert main([str(tmp_path / "pipe"), "counts"]) == 2
    assert capsys.readouterr().err.endswith("pipe: this is no ordinary file\n")


# -- completion -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def completion(tmp_path_factory):
    """Shell → the file of what `completion` prints for it."""
    files = {}
    for shell in ("bash", "zsh", "fish"):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert main(["completion", shell]) == 0
        files[shell] = tmp_path_factory.mktemp("completion") / shell
        files[shell].write_text(out.getvalue())
    return files


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_can_read_what_completion_prints_for_it(completion, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    done = subprocess.run([shell, "-n", completion[shell]], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


ASKED = {
    "survey.db l": "list limits",
    "survey.db schedules s": "set-every",
    "survey.db limits --json u": "unset",
    "survey.db list --n": "--name --newest",
    "survey.db list --phase s": "scheduled suspended succeeded skipped",
    "survey.db prune --": "--help --json --older-than",
    "survey.db graph --name list --format d": "dot",
    "survey.db backup f": "",  # a file, as the shell completes it
    "survey.db list --name list": "",
    "completion ": "bash zsh fish",
    "comp": "completion",
    "--v": "--version",
}
"""What is written behind `taskcore`, and what is proposed."""
ASKED_OF_BASH = ASKED | {"survey.db list --phase = f": "failed", "survey.db list --phase =": " ".join(lifecycle.PHASES)}
ASKED_OF_OTHERS = ASKED | {"survey.db list --phase=f": "--phase=failed"}


@pytest.mark.parametrize("line, words", {**ASKED_OF_BASH, **ASKED_OF_OTHERS}.items())
def test_commands_options_and_phases_are_proposed(capsys, tmp_path, monkeypatch, line, words):
    monkeypatch.chdir(tmp_path)
    assert main(["completion", "--words", *shlex.split(line), *[""] * line.endswith(" ")]) == 0
    assert [said.partition("\t")[0] for said in capsys.readouterr().out.splitlines()] == words.split()


def test_a_file_of_that_name_is_not_hidden_by_a_command(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "comets.db").touch()
    assert main(["completion", "--words", "com"]) == 0 and capsys.readouterr().out == ""
    assert main(["completion", "--words"]) == 0 and capsys.readouterr().out == ""


@pytest.fixture
def in_a_shell(completion, tmp_path):
    """`in_a_shell("bash", script)` → the lines that it prints, where there is a program `taskcore`."""
    program = tmp_path / "bin" / "taskcore"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m taskcore "$@"\n')
    program.chmod(0o755)
    way = {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": os.getcwd(), "HOME": str(tmp_path)}

    def run(shell, script):
        if shutil.which(shell) is None:
            pytest.skip(f"there is no {shell} here")
        done = subprocess.run(
            [shell, "-c", script], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=True,
            env={**os.environ, **way},
        )  # fmt: skip
        return done.stdout.splitlines()

    return run


def test_bash_completes_what_is_proposed(completion, in_a_shell):
    lines = [f"source {shlex.quote(str(completion['bash']))}"]
    for line in ASKED_OF_BASH:
        words = ["taskcore", *line.split(), *[""] * line.endswith(" ")]
        lines += [f"COMP_WORDS=({shlex.join(words)})", f"COMP_CWORD={len(words) - 1}"]
        lines += ["_taskcore", 'echo "${COMPREPLY[*]}"']
    assert dict(zip(ASKED_OF_BASH, in_a_shell("bash", "\n".join(lines)), strict=True)) == ASKED_OF_BASH


def test_fish_completes_what_is_proposed_and_else_files(completion, in_a_shell, tmp_path):
    (tmp_path / "found.db").touch()
    for line, words in {**ASKED_OF_OTHERS, "survey.db backup f": "found.db", "f": "found.db"}.items():
        script = f"source {completion['fish']}; complete -C {shlex.quote('taskcore ' + line)}"
        got = [said.partition("\t")[0] for said in in_a_shell("fish", script)]
        assert sorted(got) == sorted(words.split()) or not words, line


def test_every_command_has_its_help_and_every_shell_an_error(capsys):
    assert main(["completion", "--words", "survey.db", ""]) == 0
    told = dict(line.partition("\t")[::2] for line in capsys.readouterr().out.splitlines())
    assert told["prune"].startswith("delete ended tasks")
    assert {"counts", "list", "show", "watch", "prune", "backup", "signal", "limits", "salvage"} < told.keys()
    for words in (["completion"], ["completion", "tcsh"]):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2 and capsys.readouterr().err.count("\n") == 1


# -- as a program ---------------------------------------------------------------------------------------------------


def test_the_script_is_the_same_program(monkeypatch, capsys):
    here = pathlib.Path(taskcore.__file__).parent.parent / "pyproject.toml"
    assert tomllib.loads(here.read_text())["project"]["scripts"] == {"taskcore": "taskcore.cli.main:main"}
    monkeypatch.setattr(sys, "argv", ["/somewhere/taskcore", "--help"])
    with pytest.raises(SystemExit) as stop:
        main()
    out = capsys.readouterr().out
    assert stop.value.code == 0 and out.startswith("usage: taskcore [-h]") and "exit codes: 0 " in out


def test_it_runs_as_a_module_and_is_quiet_when_its_reader_has_enough(engine, path):
    with engine.transaction():
        for n in range(3000):
            engine.task("work").options(key=f"{n:0100}").submit()
    command = [sys.executable, "-m", "taskcore", str(path), "list", "--limit", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout.readline().startswith(b"#1 ")
        program.stdout.close()
        assert program.stderr.read() == b""
        assert program.wait(60) == 0


@pytest.mark.parametrize(("words", "code"), [("list", 0), ("show 9", 2), ("bogus", 2), ("--help", 0)])
def test_it_needs_nobody_who_reads(engine, path, monkeypatch, words, code):
    engine.submit("f")
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(SystemExit) as stop:
        sys.exit(main([str(path), *words.split()]))
    assert stop.value.code == code


def test_a_terminal_that_knows_ascii_alone_is_no_error(engine, path):
    engine.submit("Grüße")
    done = subprocess.run(
        [sys.executable, "-m", "taskcore", str(path), "list"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert b"Gr\\xfc\\xdfe" in done.stdout and done.stderr == b""

"""What the README says is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import taskcore
from taskcore.core.options import OPTIONS
from taskcore.testing import InlineExecutor, ManualClock

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)


def test_the_first_code_of_the_readme_prints_what_it_says(tmp_path):
    code = next(code for language, code in BLOCKS if language == "python")
    assert len(code.strip().splitlines()) <= 17
    for _ in range(2):  # the second time everything is there already
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, "1800\n", "")
    assert "prints 1800" in code


@pytest.fixture
def clock(tmp_path, monkeypatch):
    """In an empty directory; engines go by this clock, and know the label that the text speaks of."""
    clock, engines, make = ManualClock(0), [], taskcore.Engine
    ours = {"clock": clock, "executor": InlineExecutor(), "statuses": {"processed": "succeeded"}}

    def engine(*args, **kwargs):
        engines.append(make(*args, **{**ours, **kwargs}))
        return engines[-1]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(taskcore, "Engine", engine)
    yield clock
    for each in engines:
        each.close()


def test_the_blocks_of_the_readme_run_one_after_the_other_and_print_what_they_say(clock, capsys):
    names: dict[str, Any] = {}
    for code in (code for language, code in BLOCKS if language == "python"):
        if "INTO observation" in code:
            with names["engine"].transaction() as db:
                db.execute("CREATE TABLE observation (number)")
        exec(compile(code, "README.md", "exec"), names)  # noqa: S102 - it is ours
        printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
        assert printed == re.findall(r"^print\(.*# (\{.*\})$", code, re.MULTILINE)
        if "def survey" in code:
            engine, handle = names["engine"], names["handle"]
            engine.run()
            assert handle.snapshot().waiting_for == "sleep"
            clock.advance(3600)
            assert handle.result() == sum(len(f"north{number}.org") * 100 for number in range(3))
            assert [step.name for step in handle.steps()] == ["find", "publish"]
            with engine.transaction() as db:
                assert db.execute("SELECT approved_by FROM survey").fetchall() == [("Ada",)]
    assert "handle" in names and "job" in names and "transients" in names


def test_every_option_is_in_the_readme_and_every_one_there_exists():
    table = TEXT[TEXT.index("## What a task may be told") : TEXT.index("A body ends by")]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert named == set(OPTIONS)


def test_every_name_of_the_package_in_the_readme_exists():
    for name in re.findall(r"\btaskcore\.([A-Za-z]\w*)", TEXT):
        assert hasattr(taskcore, name) or (ROOT / "taskcore" / f"{name}.py").exists(), name


def test_the_commands_of_the_readme_name_files_that_exist():
    commands = [code for language, code in BLOCKS if language == "sh"]
    assert any("examples/census.py" in code for code in commands)
    assert "examples/survey_night.py" in TEXT
    assert any("-m pytest" in code for code in commands)
    for path in re.findall(r"(?:examples|tests|taskcore)/[\w/]+\.py", TEXT):
        assert (ROOT / path).exists(), path

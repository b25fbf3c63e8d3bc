"""What the README says is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import taskcore
from taskcore.options import OPTIONS

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
    assert any("-m pytest" in code for code in commands)
    for path in re.findall(r"(?:examples|tests|taskcore)/[\w/]+\.py", TEXT):
        assert (ROOT / path).exists(), path

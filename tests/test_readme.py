"""What the README says is so."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import taskcore
from taskcore.core.options import OPTIONS

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]


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
    with contextlib.closing(taskcore.Engine(tmp_path / "survey.db", workers=0)) as engine:
        assert engine.tasks.counts() == {"succeeded": 4}  # the second run added nothing


def run(code: str, folder: Path) -> tuple[int, str, str]:
    """A block as a reader runs it: its text is the whole script."""
    (folder / "block.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "block.py"], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def promised(code: str) -> set[str]:
    """The lines that its comments say it prints."""
    return set(re.findall(r"print\(.*# → (.*)$", code, re.MULTILINE))


def check(code: str, folder: Path) -> None:
    status, out, errors = run(code, folder)
    assert status == 0, errors
    assert all(line.startswith("task #") for line in errors.splitlines()), errors
    assert promised(code) <= set(out.splitlines()), out


@pytest.mark.parametrize("block", PYTHON, ids=range(len(PYTHON)))
def test_each_block_of_the_readme_works_by_itself_in_an_empty_folder(block, tmp_path):
    check(block, tmp_path)
    if "__main__" in block:  # of the others the second time comes below
        check(block, tmp_path)


def test_the_blocks_of_the_readme_work_in_order_in_one_program_and_twice(tmp_path):
    program = [block for block in PYTHON if "__main__" not in block]  # what worker processes import does nothing
    for _ in range(2):
        check("\n".join(program), tmp_path)


def test_every_link_of_the_readme_leads_somewhere_and_every_section_is_linked():
    titles = re.findall(r"^##+ (.*)$", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    links = set(re.findall(r"\]\((?!https?:)([^)\s]+)\)", TEXT))
    assert {f"#{anchor}" for anchor in anchors} - links == {"#how-it-compares", "#developing"}
    for link in links:
        assert link[1:] in anchors if link.startswith("#") else (ROOT / link).is_file(), link


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

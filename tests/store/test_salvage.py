"""Damaged files: what `check` says of them, what is saved of them, and that nothing raw comes out or goes on."""

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys

import pytest

from taskcore import BadFile, Engine, TaskcoreError
from taskcore.store.salvage import salvage
from tests.support.processes import ROOT


def fill(path):
    """Some of everything, over a hundred pages or so."""
    with contextlib.closing(Engine(path, workers=0, limits={"gpu": 1}, statuses={"odd": "failed"})) as engine:
        work = engine.task("work", max_attempts=2)
        with engine.transaction():
            first = [work.options(tags=["t", str(n % 3)], key=f"k{n}").submit(n, "x" * 300) for n in range(150)]
            for n in range(0, 100, 2):
                work.options(after=first[n : n + 2], otherwise="drop").submit("after", first[n])
            for n in range(8):
                work.options(serial=f"s{n % 2}").submit("serial", n)
        with engine.job("night"):
            for n in range(10):
                work.submit("child", n)
        for claim in engine.claim("work", n=60):
            if claim.task.id % 5:
                claim.succeed({"n": claim.task.id, "pad": "y" * 200})
            else:
                claim.fail("no", retry=bool(claim.task.id % 2))
        engine.every("1d", name="nightly")(lambda: None)
        engine.tasks.where(tag="2").pause()
        return len(engine.tasks), len(engine.tasks.where(phase="succeeded"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "whole.db"
    counts = fill(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path, counts


def damage(source, path, seed):
    """Overwrite a few stretches of bytes anywhere but in the first page."""
    shutil.copy(source, path)
    dice, size = random.Random(seed), os.path.getsize(path)
    with open(path, "r+b") as file:
        for _ in range(dice.randint(1, 4)):
            file.seek(dice.randrange(4096, size - 600))
            file.write(dice.randbytes(dice.choice([1, 8, 100, 600])))


def test_a_sound_file_is_saved_whole(whole, tmp_path):
    path, (tasks, succeeded) = whole
    saved = salvage(str(path), str(tmp_path / "new.db"))
    assert not [table for table in saved if table.lost]
    opened = [Engine(place, workers=0) for place in (tmp_path / "new.db", path)]
    with contextlib.closing(opened[0]) as new, contextlib.closing(opened[1]) as old:
        assert new.check() == []
        assert (len(new.tasks), len(new.tasks.where(phase="succeeded"))) == (tasks, succeeded)
        assert new.tasks.counts() == old.tasks.counts()
        assert [t.result for t in new.tasks] == [t.result for t in old.tasks]
    with Engine(tmp_path / "new.db", workers=2) as engine:
        engine.task(lambda *args: 1, name="work")
        engine.tasks.resume()
        engine.run(progress=False)
        left = [task for task in engine.tasks if task.finished_at is None]
        assert left == [] and engine.check() == []


def look_at(path):
    """Everything that only looks: a TaskcoreError is well, anything else is not."""
    try:
        engine = Engine(path, workers=0)
    except BadFile as error:
        return f"not opened: {error.reason}"
    with contextlib.closing(engine):
        found = engine.check()
        for finding in found:
            assert finding.what.isprintable() and finding.mend
        for look in (lambda: list(engine.tasks), lambda: engine.tasks.counts(), lambda: engine.future(3).explain()):
            with contextlib.suppress(TaskcoreError):
                look()
    return found


@pytest.mark.parametrize("seeds", [range(0, 12), pytest.param(range(1000, 2000), marks=pytest.mark.storm)], ids=str)
def test_damaged_files_are_told_of_in_words_and_what_can_be_read_is_saved(whole, tmp_path, seeds):
    path, (tasks, _) = whole
    told, kept = 0, 0
    for seed in seeds:
        place = tmp_path / f"{seed}.db"
        damage(path, place, seed)
        what = look_at(place)
        told += bool(what)
        try:
            saved = salvage(str(place), str(tmp_path / f"{seed}-new.db"))
        except BadFile:
            continue
        with contextlib.closing(Engine(tmp_path / f"{seed}-new.db", workers=0)) as new:
            kept += len(new.tasks) > tasks // 2
            lost = [what for table in saved for what in table.lost]
            assert len(new.tasks) == tasks or lost, f"seed {seed}: what is lost is said"
            list(new.tasks)
        for leftover in tmp_path.glob(f"{seed}*"):
            leftover.unlink()
    assert told > len(seeds) // 2 and kept > len(seeds) // 2


def test_a_new_file_that_is_there_is_not_touched_and_one_that_is_no_database_is_said(whole, tmp_path):
    path, _ = whole
    there = tmp_path / "there.db"
    there.write_text("mine")
    with pytest.raises(FileExistsError, match="is there already"):
        salvage(str(path), str(there))
    assert there.read_text() == "mine"
    with pytest.raises(BadFile, match="nothing of it can be read"):
        salvage(str(there), str(tmp_path / "new.db"))
    with pytest.raises(BadFile, match="no such file"):
        salvage(str(tmp_path / "none.db"), str(tmp_path / "new.db"))
    assert not (tmp_path / "new.db").exists()


def test_check_names_every_value_that_cannot_be_read(engine, raw):
    for n in range(4):
        engine.submit("t", n)
    engine.claim("t")[0].succeed(5)
    raw("UPDATE taskcore_task SET result = '{' WHERE id = 1")
    raw("UPDATE taskcore_task SET args = '[[' WHERE id IN (2, 3)")
    raw("UPDATE taskcore_task SET links = 'x' WHERE id = 4")
    found = {finding.what.partition(":")[0]: finding.what for finding in engine.check()}
    assert set(found) == {f"tasks of which the {what} cannot be read" for what in ("arguments", "links", "result")}
    assert "#2" in found["tasks of which the arguments cannot be read"] and "#3" in str(found)


def command(*args):
    return subprocess.run(
        [sys.executable, "-m", "taskcore", *map(str, args)], env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip


def test_salvage_and_backup_from_a_shell(whole, tmp_path):
    path, (tasks, _) = whole
    copied = command(path, "backup", tmp_path / "copy.db")
    assert (copied.returncode, copied.stderr) == (0, "") and "copied to" in copied.stdout
    damage(path, tmp_path / "bad.db", 3)
    saved = command(tmp_path / "bad.db", "salvage", tmp_path / "new.db")
    assert saved.returncode in (0, 1) and saved.stderr == ""
    assert "task" in saved.stdout and f"in {tmp_path / 'new.db'}" in saved.stdout
    again = command(tmp_path / "bad.db", "salvage", tmp_path / "new.db")
    assert again.returncode == 2 and "is there already" in again.stderr
    with contextlib.closing(Engine(tmp_path / "copy.db", workers=0)) as engine:
        assert len(engine.tasks) == tasks and engine.check() == []


def test_a_backup_is_made_while_the_file_is_used_and_whole(path, tmp_path):
    engine, seen = Engine(path, workers=2), []
    task = engine.task(lambda n: n, name="t")
    with engine.transaction():
        for n in range(500):
            task.submit(n)
    engine.backup(tmp_path / "copy.db", lambda copied, pages: seen.append((copied, pages)))
    engine.run(progress=False)
    assert seen and seen[-1][0] == seen[-1][1]
    assert (tmp_path / "copy.db").stat().st_mode & 0o077 == 0
    with contextlib.closing(Engine(tmp_path / "copy.db", workers=0)) as copy:
        assert len(copy.tasks) == 500 and copy.check() == []
    with pytest.raises(FileExistsError, match="is the file itself"):
        engine.backup(path)
    engine.close()
    with contextlib.closing(Engine(":memory:", workers=0)) as memory:
        memory.submit("t")
        memory.backup(tmp_path / "memory.db")
    with contextlib.closing(Engine(tmp_path / "memory.db", workers=0)) as copy:
        assert len(copy.tasks) == 1

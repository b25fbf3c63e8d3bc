"""A copy of the file, made while it is used: whole, for its owner alone, and there at once or not at all."""

import contextlib
import os
import sqlite3

import pytest

from taskcore import BadFile, Engine
from taskcore.store import backup


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "tasks.db"
    with Engine(path, workers=0) as engine, engine.transaction():
        for number in range(3000):
            engine.submit("work", number)
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


def test_a_backup_is_one_whole_file_of_its_owner(source, tmp_path):
    seen = []
    backup.write(source, str(tmp_path / "copy.db"), lambda copied, pages: seen.append((copied, pages)))
    assert seen and seen[-1][0] == seen[-1][1]
    assert os.stat(tmp_path / "copy.db").st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.db"]
    with Engine(tmp_path / "copy.db", workers=0) as engine:
        assert engine.tasks.counts() == {"ready": 3000}
        assert engine.check() == []


def test_what_is_committed_while_it_is_made_is_not_in_it(source, tmp_path):
    path = tmp_path / "tasks.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:

        def meanwhile(copied, pages):
            other.execute("UPDATE taskcore_task SET hidden = 1")

        backup.write(source, str(tmp_path / "copy.db"), meanwhile)
        assert other.execute("SELECT sum(hidden) FROM taskcore_task").fetchone() == (3000,)
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT sum(hidden) FROM taskcore_task").fetchone() == (0,)


def test_an_earlier_backup_is_replaced_and_stays_if_the_new_one_fails(source, tmp_path):
    path = str(tmp_path / "copy.db")
    backup.write(source, path)
    before = os.stat(path).st_ino

    def stumble(copied, pages):
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        backup.write(source, path, stumble)
    assert os.stat(path).st_ino == before
    backup.write(source, path)
    assert os.stat(path).st_ino != before
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.db"]


def test_a_database_in_use_is_not_replaced(source, tmp_path):
    with pytest.raises(FileExistsError, match="the file itself"):
        backup.write(source, str(tmp_path / "tasks.db"))
    with Engine(tmp_path / "other.db", workers=0) as engine:
        engine.submit("work")
        with pytest.raises(FileExistsError, match="in use"):
            backup.write(source, str(tmp_path / "other.db"))
    os.mkdir(tmp_path / "folder")
    with pytest.raises(FileExistsError, match="no plain file"):
        backup.write(source, str(tmp_path / "folder"))


def test_a_damaged_file_has_no_backup(source, tmp_path):
    (rootpage,) = source.execute("SELECT rootpage FROM sqlite_master WHERE name = 'taskcore_task'").fetchone()
    (size,) = source.execute("PRAGMA page_size").fetchone()
    source.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    source.close()
    with open(tmp_path / "tasks.db", "r+b") as file:
        file.seek((rootpage - 1) * size)
        file.write(b"\xff" * size)
    with contextlib.closing(sqlite3.connect(tmp_path / "tasks.db", isolation_level=None)) as damaged:
        with pytest.raises((BadFile, sqlite3.DatabaseError)):
            backup.write(damaged, str(tmp_path / "copy.db"))
    assert list(tmp_path.glob("copy*")) == []

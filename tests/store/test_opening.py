"""Opening a file: what is accepted, what is refused, and that what is refused stays as it was."""

import contextlib
import hashlib
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import taskcore
from taskcore import BadFile, Engine
from taskcore.store import opening

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOTHING = hashlib.sha256().hexdigest()
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def opened(path, **parameters):
    return contextlib.closing(Engine(path, workers=0, **parameters))


@pytest.fixture
def path(new):
    return new


def test_what_is_made_is_its_owners_alone_from_the_beginning_on(path, monkeypatch):
    seen, umask, make = [], os.umask(0), os.open

    def watched(name, flags, mode=0o777, **more):
        if flags & os.O_CREAT:
            seen.append(mode)
        return make(name, flags, mode, **more)

    monkeypatch.setattr(os, "open", watched)
    try:
        with contextlib.closing(Engine(path, workers=1)) as engine:
            engine.task(lambda: 1, name="t").submit().result()
            modes = {place.name: place.stat().st_mode & 0o777 for place in path.parent.iterdir()}
    finally:
        os.umask(umask)
    assert set(modes.values()) == {0o600} and len(modes) >= 3, modes
    assert seen and set(seen) == {0o600}


def test_the_log_of_a_file_with_large_pages_grows_no_longer_than_that_of_another(path):
    with contextlib.closing(sqlite3.connect(path)) as theirs:
        theirs.execute("PRAGMA page_size = 65536")
        theirs.execute("CREATE TABLE mine (text)")
    with opened(path) as engine:
        longest = 0
        for _ in range(80):
            with engine.transaction() as db:
                db.execute("INSERT INTO mine VALUES (?)", ("x" * 500_000,))
            longest = max(longest, os.path.getsize(f"{path}-wal"))
    assert 16_000_000 < longest < 18_000_000


def test_a_log_that_others_made_long_begins_anew_as_soon_as_nobody_is_in_the_way(path, monkeypatch):
    """As where several processes write all the time, and none of them ever brings the last of it into the file."""
    monkeypatch.setattr(opening, "LONGEST_LOG", 1_000_000)
    monkeypatch.setattr(opening, "IN_THE_WAY", 0.0)

    def size_after_a_submit():
        engine._file._identity.due = 0.0  # else it looks twice a second
        engine.submit("elsewhere")
        return os.path.getsize(f"{path}-wal")

    with opened(path) as engine, contextlib.closing(sqlite3.connect(path, isolation_level=None)) as theirs:
        engine.submit("elsewhere")
        theirs.execute("PRAGMA wal_autocheckpoint = 0")
        theirs.execute("CREATE TABLE mine (text)")
        theirs.execute("INSERT INTO mine VALUES (?)", ("x" * 500_000,))
        assert size_after_a_submit() > 500_000, "it is not long yet"
        theirs.execute("INSERT INTO mine VALUES (?)", ("x" * 1_000_000,))
        theirs.execute("BEGIN")
        theirs.execute("SELECT count(*) FROM mine").fetchall()
        assert size_after_a_submit() > 1_500_000, "who reads is in the way"
        theirs.execute("COMMIT")
        assert size_after_a_submit() < 100_000
        assert engine.tasks.counts() == {"ready": 4}
        assert theirs.execute("SELECT sum(length(text)) FROM mine").fetchall() == [(1_500_000,)]


def test_a_unique_index_that_somebody_added_is_refused_and_another_is_not(path):
    with opened(path):
        pass
    for unique, refused in ((False, False), (True, True)):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute(f"CREATE {'UNIQUE ' * unique}INDEX theirs_{unique} ON taskcore_task (args)")
        with pytest.raises(BadFile, match="theirs_True") if refused else contextlib.nullcontext(), opened(path):
            pass


def contents(directory):
    """Name → hash of every file below."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(pathlib.Path(directory).rglob("*"))
        if path.is_file()
    }


def change(path, *statements):
    """Do to the file what some other program may have done."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def used(path):
    """A file of ours with some tasks, closed, with nothing beside it but what belongs there."""
    with opened(path, statuses={"no match": "failed"}) as engine:
        engine.task("f").options(tags=["t"], key="k").submit(1)
        engine.submit("g", engine.submit("h"))
    return path


# -- what is made --------------------------------------------------------------------------------------------------


def test_a_file_that_is_missing_is_made(path, raw):
    with opened(path) as engine:
        assert len(engine.tasks) == 0
    names = {row["name"] for row in raw("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")}
    assert names
    assert all(name.startswith("taskcore_") for name in names)
    assert raw("SELECT value FROM taskcore_meta WHERE key = 'format'")[0]["value"].isdecimal()


def test_an_empty_file_is_as_good_as_none(path):
    path.touch()
    with opened(path) as engine:
        engine.submit("f")
    with opened(path) as engine:
        assert len(engine.tasks) == 1


def test_a_file_can_be_opened_again_and_again(used):
    for _ in range(3):
        before = contents(used.parent)
        with opened(used) as engine:
            assert [task.name for task in engine.tasks] == ["f", "h", "g"]
        assert contents(used.parent) == before


def test_memory_is_a_file_of_each_engines_own():
    with opened(":memory:") as one, opened(":memory:") as other:
        one.submit("f")
        assert (len(one.tasks), len(other.tasks)) == (1, 0)
        assert one.path == ":memory:"
    assert not pathlib.Path(":memory:").exists()


def test_threads_share_a_memory_engine():
    with Engine(":memory:", workers=2) as engine, ThreadPoolExecutor(3) as pool:
        futures = list(pool.map(lambda n: engine.submit(abs, -n), range(30)))
        assert [future.result(10) for future in futures] == list(range(30))


@pytest.mark.parametrize("kind", [str, pathlib.Path, os.fsencode])
def test_a_path_comes_in_any_form(path, kind):
    with opened(kind(path)) as engine:
        assert engine.path == str(path)
    assert path.exists()


class Pointer:
    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


def test_anything_with_a_path_will_do(path):
    with opened(Pointer(path)):
        assert path.exists()


@pytest.mark.parametrize(
    "name", ["with space.db", "ünï.db", "what?.db", "a#b%20c.db", "file:x.db?mode=memory", "'quote\".db", "-rf.db"]
)
def test_a_path_is_a_path_and_nothing_else(tmp_path, name):
    with opened(tmp_path / name) as engine:
        engine.submit("f")
    assert (tmp_path / name).exists()
    assert all(found.startswith(name) for found in contents(tmp_path))


def test_a_relative_path_is_meant_from_where_the_engine_was_made(tmp_path, monkeypatch):
    there, elsewhere = tmp_path / "there", tmp_path / "elsewhere"
    there.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(there)
    with Engine("tasks.db", workers=1) as engine:
        assert engine.path == str(there / "tasks.db")
        monkeypatch.chdir(elsewhere)
        assert engine.submit(abs, -3).result(10) == 3
        looks = threading.Thread(target=engine.tasks.counts)
        looks.start()
        looks.join()
    assert list(elsewhere.iterdir()) == []
    assert (there / "tasks.db").exists()


def test_a_symbolic_link_leads_to_the_file(tmp_path, path):
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with opened(path) as one, opened(link) as other:
        future = one.submit("f")
        other.claim("f")[0].succeed(5)
        assert future.result(10) == 5


def test_engines_that_open_a_new_file_at_once_all_get_it(path):
    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(lambda _: Engine(path, workers=0), range(8)))
    for engine in engines:
        engine.submit("f")
    assert [len(engine.tasks) for engine in engines] == [8] * 8
    for engine in engines:
        engine.close()


@pytest.mark.parametrize("durability, synchronous", [("normal", 1), ("full", 2)])
def test_durability_says_how_hard_a_commit_is(path, durability, synchronous):
    with opened(path, durability=durability) as engine:
        rows = engine._file.read(lambda connection: connection.execute("PRAGMA synchronous").fetchall())
        assert rows == [(synchronous,)]


# -- files of others -----------------------------------------------------------------------------------------------


def test_a_file_of_another_application_keeps_its_own(path, raw):
    change(
        path,
        "CREATE TABLE stars (name TEXT PRIMARY KEY, task INTEGER)",
        "CREATE INDEX bright ON stars (task)",
        "CREATE VIEW names AS SELECT name FROM stars",
        "CREATE TRIGGER watch AFTER INSERT ON stars BEGIN DELETE FROM stars WHERE name = 'x'; END",
        "CREATE TABLE taskcoreless (x)",
        "INSERT INTO stars VALUES ('Vega', 1)",
        "PRAGMA user_version = 17",
        "PRAGMA application_id = 4711",
    )
    theirs = raw("SELECT * FROM sqlite_master")
    for _ in range(2):
        with opened(path) as engine:
            engine.submit("f")
    assert [row for row in raw("SELECT * FROM sqlite_master") if "taskcore_" not in row["tbl_name"]] == theirs
    assert raw("SELECT * FROM stars") == [{"name": "Vega", "task": 1}]
    assert raw("PRAGMA user_version") == [{"user_version": 17}]
    assert raw("PRAGMA application_id") == [{"application_id": 4711}]
    assert raw("SELECT count(*) AS n FROM taskcore_task") == [{"n": 2}]


def test_a_new_file_leaves_the_applications_marks_to_the_application(used, raw):
    assert raw("PRAGMA user_version") == [{"user_version": 0}]
    assert raw("PRAGMA application_id") == [{"application_id": 0}]


def test_an_application_may_go_on_using_the_file_meanwhile(path):
    change(path, "CREATE TABLE stars (name TEXT)")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as application, opened(path) as engine:
        application.execute("INSERT INTO stars VALUES ('Vega')")
        engine.submit("f")
        application.execute("INSERT INTO stars VALUES ('Deneb')")
        with engine.transaction() as db:
            assert db.execute("SELECT count(*) FROM stars").fetchone() == (2,)


def test_an_index_that_somebody_added_to_our_tables_is_no_harm(used):
    change(used, "CREATE INDEX by_result ON taskcore_task (result)")
    with opened(used) as engine:
        assert len(engine.tasks) == 3


# -- what is refused -----------------------------------------------------------------------------------------------


def write(data):
    return lambda path: path.write_bytes(data)


def overwrite(start, data):
    def spoil(path):
        whole = bytearray(path.read_bytes())
        whole[start : start + len(data)] = data
        path.write_bytes(whole)

    return spoil


def sql(*statements):
    return lambda path: change(path, *statements)


def hard_link(path):
    os.link(path, path.with_name("second name.db"))


NOT_OURS = {
    "a directory": (lambda path: (path.unlink(), path.mkdir()), "directory"),
    "a short text": (write(b"hello"), "SQLite"),
    "a long text": (write(b"name,magnitude\n" * 1000), "SQLite"),
    "noise": (write(random.Random(7).randbytes(20_000)), "SQLite"),
    "a header and noise": (write(b"SQLite format 3\0" + random.Random(7).randbytes(20_000)), None),
    "a header alone": (write(b"SQLite format 3\0"), None),
    "zeros": (write(bytes(4096)), "SQLite"),
    "a damaged magic": (overwrite(3, b"xx"), "SQLite"),
    "a damaged page size": (overwrite(16, b"\x00\x03"), None),
    "a damaged format number": (overwrite(18, b"\x09\x09"), None),
    "a damaged schema page": (overwrite(100, bytes(500)), None),
    "a file cut short": (lambda path: os.truncate(path, 5000), None),
    "a newer format": (sql("UPDATE taskcore_meta SET value = value + 1 WHERE key = 'format'"), "newer"),
    "a much newer format": (
        sql("UPDATE taskcore_meta SET value = '12' WHERE key = 'format'", "DROP TABLE taskcore_tag"), "newer",
    ),
    "no format": (sql("DELETE FROM taskcore_meta WHERE key = 'format'"), "format"),
    "an odd format": (sql("UPDATE taskcore_meta SET value = 'one' WHERE key = 'format'"), "format"),
    "a foreign meta": (sql("DROP TABLE taskcore_meta", "CREATE TABLE taskcore_meta (id, x)"), "taskcore_meta"),
    "no meta": (sql("DROP TABLE taskcore_meta"), "taskcore_meta"),
    "a missing table": (sql("DROP TABLE taskcore_tag"), "the table taskcore_tag is missing"),
    "a missing index": (sql("DROP INDEX taskcore_task_ready"), "taskcore_task_ready"),
    "a missing column": (
        sql("DROP VIEW taskcore_v_task", "ALTER TABLE taskcore_task DROP COLUMN message"), "taskcore_task",
    ),
    "a column more": (sql("ALTER TABLE taskcore_task ADD COLUMN colour TEXT"), "taskcore_task"),
    "a renamed column": (sql("ALTER TABLE taskcore_attempt RENAME COLUMN error TO why"), "taskcore_attempt"),
    "a foreign table of our name": (
        lambda path: (path.unlink(), change(path, "CREATE TABLE taskcore_task (id INTEGER, what TEXT)")),
        "taskcore_",
    ),
    "a view of our name": (sql("CREATE VIEW taskcore_now AS SELECT 1"), "taskcore_now"),
    "a table of our name more": (sql("CREATE TABLE taskcore_future (x)"), "taskcore_future"),
    "a trigger on a table of ours": (
        sql("CREATE TRIGGER spy AFTER UPDATE ON taskcore_task BEGIN SELECT 1; END"), "spy",
    ),
    "a second hard link": (hard_link, "hard link"),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_OURS)
def test_a_file_that_cannot_be_used_is_refused_and_stays_as_it_is(used, case):
    spoil, word = NOT_OURS[case]
    for beside in ("-wal", "-shm", "-taskcore"):
        used.with_name(used.name + beside).unlink(missing_ok=True)
    spoil(used)
    before = contents(used.parent)
    for _ in range(2):
        with pytest.raises(BadFile, match=word) as caught:
            Engine(used, workers=0, statuses={"another": "failed"})
        assert caught.value.path == str(used)
        assert caught.value.reason in str(caught.value) and str(used) in str(caught.value)
    after = contents(used.parent)
    if after.pop("tasks.db-shm", None) is not None:  # SQLite does not always tidy up after a refusal of its own
        assert after.pop("tasks.db-wal") == NOTHING
    assert after == before


def test_a_folder_that_is_missing_is_not_made(tmp_path):
    with pytest.raises(BadFile):
        Engine(tmp_path / "missing" / "tasks.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["", "."])
def test_no_path_is_refused(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadFile):
        Engine(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [None, 5, object(), ["a"]])
def test_what_is_no_path_is_a_type_error(path):
    with pytest.raises(TypeError):
        Engine(path)


@pytest.mark.parametrize("seed", range(6))
def test_damage_found_later_is_a_bad_file_too_and_never_an_error_of_sqlite(path, seed):
    with opened(path) as engine, engine.transaction():
        for n in range(1500):
            engine.submit("f", "x" * 100, n)
    data = bytearray(path.read_bytes())
    dice = random.Random(seed)
    for start in range(4096 * dice.randrange(3, 30), len(data), 4096):
        data[start : start + 60] = dice.randbytes(60)
    path.write_bytes(data)
    with pytest.raises(BadFile), opened(path) as engine:
        list(engine.tasks)
        engine.tasks.counts()
        engine.claim(n=1500)


AS_SOMEBODY_ELSE = """
import importlib, os, pathlib, pkgutil, sys, urllib.parse
import taskcore
from taskcore import BadFile, Engine
for module in pkgutil.walk_packages(taskcore.__path__, "taskcore."):  # while their folder can be read
    if module.name.split(".")[1] in ("core", "codec", "store", "runtime", "api"):
        importlib.import_module(module.name)
pathlib.Path("/x").as_uri()
with Engine(":memory:", workers=0) as engine:  # what these import late is imported by it
    engine.submit("t")
    print(list(engine.tasks), engine.check(), engine.health, file=open(os.devnull, "w"))
path, user = sys.argv[1], int(sys.argv[2])
if user:
    os.setgid(user)
    os.setuid(user)
try:
    Engine(path, workers=1)
except BadFile as error:
    print("refused:", error)
if os.path.exists(path):
    with Engine(path, workers=0) as engine:
        print(len(engine.tasks), engine.health)
        print([task.name for task in engine.tasks], engine.check())
        for change in (lambda: engine.submit("t"), engine.tasks.cancel, lambda: engine.claim("t")):
            try:
                change()
            except BadFile as error:
                print("refused:", error.reason)
"""


@pytest.mark.skipif(os.name == "nt", reason="there are no such rights")
@pytest.mark.parametrize("locked", ["file", "folder", "both", "new"])
def test_what_may_not_be_written_is_refused_but_can_be_looked_at(used, locked):
    root = os.geteuid() == 0
    folder = pathlib.Path(tempfile.mkdtemp())  # where somebody else may go, unlike pytest's own
    try:
        place = folder / "tasks.db"
        if locked != "new":
            shutil.copy(used, place)
            place.chmod(0o444 if locked in ("file", "both") else 0o666)
        folder.chmod(0o777 if locked == "file" else 0o555)
        before = contents(folder)
        ran = subprocess.run(
            [sys.executable, "-c", AS_SOMEBODY_ELSE, place, "65534" if root else "0"],
            env=ENVIRONMENT,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        refused, *looked = ran.stdout.splitlines()
        assert refused.startswith(f"refused: {place}")
        if locked != "new":
            looks = "the file cannot be written: this engine only looks at it"
            assert looked == [f"3 degraded: {looks}", "['f', 'h', 'g'] []", *[f"refused: {looks}"] * 3]
        after = contents(folder)
        if locked == "file":  # whoever only looks makes these too, where it may
            after = {name: text for name, text in after.items() if not name.endswith(("-wal", "-shm"))}
        assert after == before
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


# -- statuses ------------------------------------------------------------------------------------------------------


def test_a_label_stays_in_the_file_and_keeps_its_phase(path):
    with opened(path, statuses={"no match": "failed", "moving arm": "running"}) as engine:
        engine.submit("f")
        engine.claim("f")[0].succeed(status="no match")
    with opened(path) as engine:
        assert engine.tasks.counts() == {"no match": 1}
        engine.submit("f")
        engine.claim("f")[0].succeed(status="no match")
        assert engine.tasks.counts() == {"no match": 2}
    with opened(path, statuses={"no match": "failed", "match": "succeeded"}) as engine:
        engine.submit("f")
        engine.claim("f")[0].succeed(status="match")
    with pytest.raises(ValueError, match=r"'no match'.*failed"):
        Engine(path, statuses={"new": "cancelled", "no match": "succeeded"})
    with opened(path) as engine:
        engine.submit("f")
        (claim,) = engine.claim("f")
        with pytest.raises(taskcore.UnknownStatus):
            claim.succeed(status="new")


def test_a_label_that_another_engine_adds_is_known_at_once(path):
    with opened(path) as one, opened(path, statuses={"late": "succeeded"}):
        one.submit("f")
        one.claim("f")[0].succeed(status="late")
        assert one.tasks.counts() == {"late": 1}


# -- parameters ----------------------------------------------------------------------------------------------------

BAD = [
    ({"workers": -1}, ValueError, "workers"),
    ({"workers": 1.5}, TypeError, "workers"),
    ({"workers": "2"}, TypeError, "workers"),
    ({"workers": True}, TypeError, "workers"),
    ({"executor": 5}, TypeError, "executor"),
    ({"lease": 0}, ValueError, "lease"),
    ({"lease": -1}, ValueError, "lease"),
    ({"lease": float("nan")}, ValueError, "lease"),
    ({"lease": "30"}, TypeError, "lease"),
    ({"lease": None}, TypeError, "lease"),
    ({"durability": "high"}, ValueError, "durability"),
    ({"durability": None}, ValueError, "durability"),
    ({"durability": ["full"]}, ValueError, "durability"),
    ({"statuses": {"x": "ready"}}, ValueError, "'x'"),
    ({"statuses": {"x": "good"}}, ValueError, "'x'"),
    ({"statuses": {"x": "skipped"}}, ValueError, "'x'"),
    ({"statuses": {"x": None}}, ValueError, "'x'"),
    ({"statuses": {"running": "running"}}, ValueError, "running"),
    ({"statuses": {"suspended": "running"}}, ValueError, "suspended"),
    ({"statuses": {"finished": "succeeded"}}, ValueError, "finished"),
    ({"statuses": {"pending": "running"}}, ValueError, "pending"),
    ({"statuses": {"": "failed"}}, ValueError, "status"),
    ({"statuses": {5: "failed"}}, TypeError, "status"),
    ({"statuses": {"a\0": "failed"}}, ValueError, "status"),
    ({"statuses": ["failed"]}, TypeError, "statuses"),
    ({"statuses": "failed"}, TypeError, "statuses"),
    ({"codec": 5}, TypeError, "codec"),
    ({"codec": "json"}, TypeError, "codec"),
    ({"clock": 5}, TypeError, "clock"),
    ({"clock": lambda: 5.0}, TypeError, "clock"),
    ({"name": ""}, ValueError, "name"),
    ({"name": 5}, TypeError, "name"),
    ({"name": "a\0"}, ValueError, "name"),
    ({"threads": 4}, TypeError, "threads"),
]


@pytest.mark.parametrize("parameters, error, word", BAD, ids=[str(parameters)[:50] for parameters, _, _ in BAD])
def test_a_bad_parameter_is_refused_before_anything_is_made(path, parameters, error, word):
    with pytest.raises(error, match=word):
        Engine(path, **parameters)
    assert list(path.parent.iterdir()) == []


def test_only_the_path_goes_without_its_name(path):
    with pytest.raises(TypeError):
        Engine(path, 4)
    assert not path.exists()


# -- the SQLite at hand --------------------------------------------------------------------------------------------

OLD_SQLITE = """
import sqlite3
sqlite3.sqlite_version_info = (3, 31, 1)
sqlite3.sqlite_version = "3.31.1"
try:
    import taskcore
except ImportError as error:
    print(error)
"""


def test_a_sqlite_that_is_too_old_is_named_beside_the_one_that_is_needed():
    command = [sys.executable, "-c", OLD_SQLITE]
    ran = subprocess.run(command, env=ENVIRONMENT, capture_output=True, encoding="utf-8", timeout=60, check=True)
    assert "3.31.1" in ran.stdout and "3.38" in ran.stdout
    assert ran.stderr == ""

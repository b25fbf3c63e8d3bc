"""The two references: a bare thread pool, and raw SQLite on the very tables that the engine made."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import taskcore

from .measure import check, seconds

THREADS = 4
TASK = "taskcore_task"

Values = tuple[object, ...]

SCHEMA = """
SELECT sql
FROM sqlite_master
WHERE tbl_name = :table AND sql IS NOT NULL AND type IN ('table', 'index')
ORDER BY type = 'index', rowid
"""

STEP_TABLES = """
SELECT name
FROM sqlite_master
WHERE type = 'table' AND name LIKE 'taskcore%step%'
"""


def noop() -> None:
    """The work of a benchmark: none."""


def bare_pool(n: int) -> None:
    """Submit n no-ops to a thread pool and collect n results: what a user has without durability."""
    with ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(noop) for _ in range(n)]
        check(sum(future.result() is None for future in futures) == n, f"the bare pool gave {n} results")


def raw(path: Path, page_size: int = 0) -> sqlite3.Connection:
    """A file opened as by hand: WAL, `synchronous=NORMAL`, foreign keys on, autocommit; a page size for a new one."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute(f"PRAGMA page_size = {page_size:d}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA foreign_keys = ON")
    return db


@dataclass(frozen=True, slots=True)
class Shape:
    """A table as the engine made it, with the rows that the engine stored in it."""

    table: str
    page_size: int
    statements: tuple[str, ...]
    """What creates the table, its indexes and the tables it refers to."""
    companions: dict[str, list[Values]]
    """The rows of the tables it refers to, so that foreign keys hold as they do in the engine's file."""
    columns: tuple[str, ...]
    defaults: Values
    """What each column holds when an INSERT does not name it."""
    stored: tuple[Values, ...]
    """The first rows of the table, in the order of its primary key."""

    def create(self, path: Path) -> sqlite3.Connection:
        """A fresh file with an empty table of this shape: WAL, `synchronous=NORMAL`, foreign keys on, autocommit."""
        db = raw(path, self.page_size)
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("BEGIN IMMEDIATE")
        for statement in self.statements:
            db.execute(statement)
        self.accompany(db)
        db.execute("COMMIT")
        db.execute("PRAGMA foreign_keys = ON")
        return db

    def accompany(self, db: sqlite3.Connection) -> None:
        """Store the rows that its rows refer to, where they are not there yet."""
        for name, rows in self.companions.items():
            for row in rows:
                db.execute(f"INSERT OR IGNORE INTO {name} VALUES ({', '.join('?' * len(row))})", row)

    @property
    def insert(self) -> str:
        """The statement that inserts one row; like anybody writing it by hand, it leaves out what is the default."""
        names = [name for name, value, default in self._first() if value != default]
        return f"INSERT INTO {self.table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"

    def rows(self, n: int) -> Iterator[Values]:
        """n rows for `insert` with the values of the stored ones; whole numbers that went up from row to row go on."""
        steps = [
            (value, after - value if isinstance(after, int) and isinstance(value, int) else 0)
            for (_, value, default), after in zip(self._first(), self.stored[1], strict=True)
            if value != default
        ]
        for i in range(n):
            yield tuple(value + i * step if step and isinstance(value, int) else value for value, step in steps)

    def _first(self) -> Iterator[tuple[str, object, object]]:
        """Of the first row, each column's name, value and default."""
        return zip(self.columns, self.stored[0], self.defaults, strict=True)


def shape_of(path: Path, table: str = TASK) -> Shape:
    """Read the shape of a table and its first rows out of the engine's file."""
    with closing(sqlite3.connect(path)) as db:
        family = _family(db, table)
        statements = [sql for name in family for (sql,) in db.execute(SCHEMA, {"table": name})]
        companions = {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in family if name != table}
        about = db.execute(f"PRAGMA table_info({table})").fetchall()
        columns = tuple([name for _, name, *_ in about])
        defaults = db.execute("SELECT " + ", ".join(str(default or "NULL") for *_, default, _ in about)).fetchone()
        order = ", ".join(name for key, name in sorted((key, name) for _, name, *_, key in about if key))
        stored = db.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {order} LIMIT 3").fetchall()
        (page_size,) = db.execute("PRAGMA page_size").fetchone()
    return Shape(table, page_size, tuple(statements), companions, columns, defaults, tuple(stored))


def _family(db: sqlite3.Connection, table: str) -> list[str]:
    """The table and those that it refers to, directly or not."""
    family = [table]
    for name in family:
        referred = [row[2] for row in db.execute(f"PRAGMA foreign_key_list({name})")]
        family += [other for other in dict.fromkeys(referred) if other not in family]
    return family


@dataclass(frozen=True, slots=True)
class Life:
    """A task's row in the three states of a plain life, and the SQL that takes it from one to the next."""

    ready: Shape
    running: Shape
    ended: Shape

    def create(self, path: Path) -> sqlite3.Connection:
        """A fresh file with an empty table, ready for all three states."""
        return self.running.create(path)

    def claim(self) -> tuple[str, Values]:
        """`UPDATE … WHERE rowid = ?`, and its values but the rowid."""
        return self._move(self.ready, self.running)

    def finish(self) -> tuple[str, Values]:
        """The same from running to ended."""
        return self._move(self.running, self.ended)

    @staticmethod
    def _move(before: Shape, after: Shape) -> tuple[str, Values]:
        moved = [
            (column, new)
            for column, old, new in zip(after.columns, before.stored[0], after.stored[0], strict=True)
            if old != new
        ]
        check(bool(moved), "the engine keeps the task's state in its row")
        sets = ", ".join(f"{column} = ?" for column, _ in moved)
        return f"UPDATE {after.table} SET {sets} WHERE rowid = ?", tuple(value for _, value in moved)


def life_of_a_task(place: Path) -> Life:
    """Let the engine submit, claim and finish no-op tasks, and look at the file after each."""
    path = place / "life.db"
    with closing(taskcore.Engine(path, workers=0)) as engine:
        task = engine.task(noop, name="noop")
        for _ in range(3):
            task.submit()
    ready = shape_of(path)
    seen: list[Shape] = []
    with closing(taskcore.Engine(path, workers=1)) as engine:
        engine.task(lambda: seen.append(shape_of(path)), name="noop")
        engine.run(progress=False)
    check(len(seen) == 3, "three tasks ran while their rows were looked at")
    return Life(ready, seen[0], shape_of(path))


MET = "UPDATE taskcore_edge SET verdict = 'met' WHERE upstream = ?"
DEPENDANT = "SELECT task FROM taskcore_edge WHERE upstream = ?"
COUNT_DOWN = f"""
UPDATE {TASK} SET blockers = blockers - 1, phase = CASE blockers WHEN 1 THEN 'ready' ELSE phase END WHERE rowid = ?
"""


def raw_chain(path: Path, life: Life, n: int) -> float:
    """Walk a file's chain of n tasks by hand, in one thread; links per second.

    Each link is one commit: the running task ends, its edge is met, the task that depends on it has one blocker less
    and is ready, and is claimed. The statements are the fewest that leave the rows as the engine leaves them.
    """
    (claim, claimed), (finish, finished) = life.claim(), life.finish()
    with closing(raw(path)) as db:
        life.running.accompany(db)

        def work() -> None:
            task = db.execute(f"SELECT id FROM {TASK} WHERE phase = 'ready'").fetchone()
            db.execute(claim, (*claimed, *task))
            while task is not None:
                noop()
                db.execute("BEGIN IMMEDIATE")
                db.execute(finish, (*finished, *task))
                db.execute(MET, task)
                task = db.execute(DEPENDANT, task).fetchone()
                if task is not None:
                    db.execute(COUNT_DOWN, task)
                    db.execute(claim, (*claimed, *task))
                db.execute("COMMIT")

        took = seconds(work)
        done = db.execute(f"SELECT phase, count(*) FROM {TASK} GROUP BY 1").fetchall()
        check(done == [("succeeded", n)], f"all {n} links were walked by hand: {done}")
    return n / took


def step_shape(place: Path) -> Shape:
    """The shape of the table in which the engine keeps a body's steps, with the rows of three of them."""
    path = place / "steps.db"

    def body() -> None:
        for _ in range(3):
            taskcore.current().step("step", noop)

    with closing(taskcore.Engine(path, workers=1)) as engine:
        engine.task(body, name="stepped").submit()
        engine.run(progress=False)
    with closing(sqlite3.connect(path)) as db:
        tables = [name for (name,) in db.execute(STEP_TABLES)]
    shapes = [shape for shape in (shape_of(path, name) for name in tables) if len(shape.stored) == 3]
    check(len(shapes) == 1, f"one table keeps the steps: {tables}")
    return shapes[0]

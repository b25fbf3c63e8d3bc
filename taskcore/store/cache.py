"""What an engine remembers of its file between transactions, so as not to ask again.

Valid as long as nobody else committed (`PRAGMA data_version` tells) and nothing was rolled back.
"""

import json
import sqlite3
from typing import Any, Final, NamedTuple

from taskcore.core.errors import BadFile
from taskcore.store import schema


class Kind(NamedTuple):
    """A name with the options that its tasks share."""

    id: int
    name: str
    max_attempts: int | None
    max_lapses: int
    options: dict[str, Any]
    text: str
    """The options as they are stored."""

    @property
    def job(self) -> str | None:
        """Of a job, what failures of its children do: "fail" or "ignore"."""
        found: str | None = self.options.get("job")
        return found


_KINDS: Final = """
    SELECT id, name, max_attempts, max_lapses, options FROM taskcore_kind
    WHERE id > ? AND instr(options, '"job": "') = 0"""


def kind_of_row(row: tuple[Any, ...]) -> Kind:
    """(id, name, max_attempts, max_lapses, options). `ValueError` where the options cannot be read."""
    kind_id, name, attempts, lapses, text = row
    options = json.loads(text)
    if not isinstance(options, dict):
        raise ValueError(f"the options of kind {kind_id} are {options!r}")
    return Kind(kind_id, name, attempts, lapses, options, text)


class Known:
    """Of one file."""

    def __init__(self, path: str = "") -> None:
        self.path = path
        self.version: int | None = None
        self.format = ""
        self.last_id = 0
        """The highest id ever given to a task: ids are never given twice, even after the newest task was deleted."""
        self.kinds: dict[int, Kind] = {}
        """All but those of jobs, which are looked up when they are needed."""
        self.kinds_removed: str | None = None
        self.kind_ids: dict[tuple[str, str], int] = {}
        self.plain_ids: dict[tuple[str, str], int] = {}
        """Those of kinds that use no capacity: there is nothing to check at a birth."""
        self.statuses: dict[str, str] = {}
        self.has_edges = False
        self.has_unusual = False
        """Edges that a success alone does not meet."""
        self.has_guards = False
        """Edges that may cease to be met."""
        self.has_families = False
        """Tasks with a parent."""
        self.has_jobs = False
        self.has_joins = False
        """Tasks that sleep until others end."""
        self.has_queues = False
        """Tasks that run one at a time."""

        self.has_counts = False
        """Whether `counts` keeps any."""
        self.limits: dict[str, int] = {}
        """Capacity, or "name:" and a task's name → how much of it there is."""
        self.given: dict[str, int | None] = {}
        """The same → what code said last."""
        self.rates: dict[str, tuple[int, float]] = {}
        """Name → (starts, in so many seconds)."""
        self.behaviours: dict[int, Any] = {}
        """Task → its options, where this process gave it functions among them: those are in no file."""
        self._fresh: list[int] = []
        """Those of them that came with the transaction that is open."""
        self.holds: frozenset[str] = frozenset()
        """Names of which nothing is claimed; the empty one is the whole file."""

    @property
    def rationed(self) -> bool:
        """Whether anything but readiness decides what may be claimed."""
        if self.limits or self.rates or self.holds:
            return True
        return any(not name.startswith("name:") for name in self.given)  # capacities that nobody names now

    def needs(self, kind: Kind) -> dict[str, int]:
        """What a task of this kind takes while it runs: capacity → how much."""
        uses: dict[str, int] = kind.options.get("uses", {})
        of_the_name = f"name:{kind.name}"
        return {**uses, of_the_name: 1} if of_the_name in self.limits else uses

    def held(self, kind: Kind) -> bool:
        """Whether this kind's name is on hold, or the whole file."""
        return bool(self.holds) and ("" in self.holds or kind.name in self.holds)

    def closed(self, kind: Kind) -> bool:
        """Whether none of this kind can be claimed until somebody changes that."""
        return self.held(kind) or any(self.limits.get(name, 0) < need for name, need in self.needs(kind).items())

    def behave(self, task: int, options: Any) -> None:
        """This process gave this new task functions among its options."""
        self.behaviours[task] = options
        self._fresh.append(task)

    def begin(self) -> None:
        """A transaction begins; the one before it was committed, or forgotten."""
        self._fresh.clear()

    def forget(self, *, part: bool = False) -> None:
        """After a rollback, or that of a `part` of a transaction: what was learnt inside it never was. Everything is
        read again before the next write."""
        self.version = None
        if not part:
            for task in self._fresh:
                self.behaviours.pop(task, None)

    def learn(self, connection: sqlite3.Connection, version: int | None) -> None:
        """Read anew what others may have changed. `BadFile` where that by which everything else is read cannot be, or
        another process brought the file to another format: all of it has to be learnt again then, and is refused."""
        try:
            self._learn(connection, version)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise BadFile(self.path, f"the file is damaged ({error})") from error
        if self.format != schema.FORMAT:
            self.forget()
            raise BadFile(self.path, f"another process brought it to format {self.format} meanwhile")

    def learn_again(self, connection: sqlite3.Connection) -> None:
        """A part of the transaction that is open was taken back. Ids that it gave are not given again: a handle of what
        never was must be no other task's."""
        version, last_id = self.version, self.last_id
        self.forget(part=True)
        self.learn(connection, version)
        self.last_id = max(last_id, self.last_id)

    def _learn(self, connection: sqlite3.Connection, version: int | None) -> None:
        row = connection.execute(
            """SELECT (SELECT value FROM taskcore_meta WHERE key = 'format'),
                      max(ifnull((SELECT max(id) FROM taskcore_task), 0),
                          (SELECT CAST(value AS INTEGER) FROM taskcore_meta WHERE key = 'last_id')),
                      EXISTS (SELECT 1 FROM taskcore_edge),
                      EXISTS (SELECT 1 FROM taskcore_edge WHERE watch > 0),
                      EXISTS (SELECT 1 FROM taskcore_edge WHERE watch = 2 AND watch > 0),
                      EXISTS (SELECT 1 FROM taskcore_task WHERE parent IS NOT NULL),
                      EXISTS (SELECT 1 FROM taskcore_join),
                      EXISTS (SELECT 1 FROM taskcore_queue),
                      EXISTS (SELECT 1 FROM taskcore_kind WHERE instr(options, '"job": "') > 0),
                      EXISTS (SELECT 1 FROM taskcore_count),
                      (SELECT value FROM taskcore_meta WHERE key = 'kinds_removed')"""
        ).fetchone()
        self.format, self.last_id = row[0], row[1]
        self.has_edges, self.has_unusual, self.has_guards, self.has_families = map(bool, row[2:6])
        self.has_joins, self.has_queues, self.has_jobs, self.has_counts = map(bool, row[6:10])
        self.statuses = dict(connection.execute("SELECT label, phase FROM taskcore_status").fetchall())
        anew = self.version is None or row[10] != self.kinds_removed
        self.kinds_removed, learnt = row[10], Known() if anew else self
        for found in connection.execute(_KINDS, (max(learnt.kinds, default=0),)).fetchall():
            learnt.add(kind_of_row(found))
        # In one step: other threads read them.
        self.kinds, self.kind_ids, self.plain_ids = learnt.kinds, learnt.kind_ids, learnt.plain_ids
        self._learn_rations(connection)
        if self.version is None and self.behaviours:  # what was rolled back never was
            self.behaviours = {task: said for task, said in self.behaviours.items() if task <= self.last_id}
        self.version = version

    def _learn_rations(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute("SELECT name, given, value FROM taskcore_limit").fetchall()
        self.given = {name: given for name, given, _ in rows}
        self.limits = {name: value for name, _, value in rows if value is not None}
        self.rates = {
            name: (n, period)
            for name, n, period in connection.execute("SELECT name, n, period FROM taskcore_rate").fetchall()
        }
        self.holds = frozenset(name for (name,) in connection.execute("SELECT name FROM taskcore_hold").fetchall())

    def add(self, kind: Kind) -> None:
        self.kinds[kind.id] = kind
        self.kind_ids[kind.name, kind.text] = kind.id
        if not kind.options.get("uses"):
            self.plain_ids[kind.name, kind.text] = kind.id
        self.has_jobs = self.has_jobs or kind.job is not None

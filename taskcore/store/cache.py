"""What an engine remembers of its file between transactions, so as not to ask again.

Valid as long as nobody else committed (`PRAGMA data_version` tells) and nothing was rolled back.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
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


@dataclass(eq=False, repr=False, slots=True)
class Known:
    version: int | None = None
    format: str = ""
    last_id: int = 0
    """The highest id ever given to a task: ids are never given twice, even after the newest task was deleted."""
    kinds: dict[int, Kind] = field(default_factory=dict)
    kind_ids: dict[tuple[str, str], int] = field(default_factory=dict)
    plain_ids: dict[tuple[str, str], int] = field(default_factory=dict)
    """Those of kinds that use no capacity: there is nothing to check at a birth."""
    statuses: dict[str, str] = field(default_factory=dict)
    has_edges: bool = False
    has_unusual: bool = False
    """Edges that a success alone does not meet."""
    has_guards: bool = False
    """Edges that may cease to be met."""
    has_tags: bool = False
    has_families: bool = False
    """Tasks with a parent."""
    has_jobs: bool = False
    has_joins: bool = False
    """Tasks that sleep until others end."""
    has_queues: bool = False
    """Tasks that run one at a time."""

    limits: dict[str, int] = field(default_factory=dict)
    """Capacity, or "name:" and a task's name → how much of it there is."""
    given: dict[str, int | None] = field(default_factory=dict)
    """The same → what code said last."""
    rates: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Name → (starts, in so many seconds)."""
    holds: frozenset[str] = frozenset()
    """Names of which nothing is claimed; the empty one is the whole file."""
    passed: dict[tuple[str, int], int] = field(default_factory=dict)
    """(capacity, a task that waits for several of it) → how many of it went to others meanwhile, here."""

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

    def closed(self, kind: Kind) -> bool:
        """Whether none of this kind can be claimed until somebody changes that."""
        if self.holds and ("" in self.holds or kind.name in self.holds):
            return True
        return any(self.limits.get(name, 0) < need for name, need in self.needs(kind).items())

    def forget(self) -> None:
        """After a rollback: what was learnt inside it never was. Everything is read again before the next write."""
        self.version = None

    def learn(self, connection: sqlite3.Connection, version: int | None) -> None:
        row = connection.execute(
            """SELECT (SELECT value FROM taskcore_meta WHERE key = 'format'),
                      max(ifnull((SELECT max(id) FROM taskcore_task), 0),
                          (SELECT CAST(value AS INTEGER) FROM taskcore_meta WHERE key = 'last_id')),
                      EXISTS (SELECT 1 FROM taskcore_edge),
                      EXISTS (SELECT 1 FROM taskcore_edge WHERE watch > 0),
                      EXISTS (SELECT 1 FROM taskcore_edge WHERE watch = 2 AND watch > 0),
                      EXISTS (SELECT 1 FROM taskcore_tag),
                      EXISTS (SELECT 1 FROM taskcore_task WHERE parent IS NOT NULL),
                      EXISTS (SELECT 1 FROM taskcore_join),
                      EXISTS (SELECT 1 FROM taskcore_queue)"""
        ).fetchone()
        self.format, self.last_id = row[0], row[1]
        self.has_edges, self.has_unusual, self.has_guards, self.has_tags = map(bool, row[2:6])
        self.has_families, self.has_joins, self.has_queues = map(bool, row[6:])
        self.statuses = dict(connection.execute("SELECT label, phase FROM taskcore_status").fetchall())
        if self.version is None:  # new dictionaries: another thread may be reading the old ones
            self.kinds, self.kind_ids, self.plain_ids, self.has_jobs = {}, {}, {}, False
        for kind_id, name, attempts, lapses, text in connection.execute(
            "SELECT id, name, max_attempts, max_lapses, options FROM taskcore_kind WHERE id > ?",
            (max(self.kinds, default=0),),
        ).fetchall():
            self.add(Kind(kind_id, name, attempts, lapses, json.loads(text), text))
        self._learn_rations(connection)
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

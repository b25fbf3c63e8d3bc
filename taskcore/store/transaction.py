"""One open write, as the verbs of the store see it."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import Any, Final

from taskcore.core.ends import Outcome
from taskcore.store import schema
from taskcore.store.cache import Known

_UNCOUNT: Final = """
    WITH piece (n) AS MATERIALIZED (SELECT DISTINCT value / (:block / :fan) FROM json_each(:ids))
    DELETE FROM taskcore_count WHERE block IN (
        SELECT :pieces + n FROM piece UNION ALL SELECT n / :fan FROM piece
        UNION ALL SELECT -1 - n / :fan / :fan FROM piece)"""


class Transaction:
    """One open write, and what it gathers for those who look after its commit."""

    __slots__ = (
        "births", "building", "committed", "doomed", "ended", "execute", "executemany", "freed", "fresh",
        "known", "of_a_turn", "opened", "requested", "scope", "timed",
    )  # fmt: skip

    def __init__(self, connection: sqlite3.Connection, known: Known) -> None:
        self.execute = connection.execute
        self.executemany = connection.executemany
        self.known = known
        self.ended: dict[int, Outcome | None] = {}
        """The tasks that ended here, each with how its body did; `None` where no body ended it. After the commit,
        whoever waits for one is told."""
        self.fresh: list[int] = []
        """Those of them of which what follows for others is still to be done (`settle.settle`)."""
        self.opened: list[int] = []
        """Likewise: tasks among which may be jobs that now open, or end."""
        self.building: set[int] = set()
        """Jobs that must not end yet: their blocks are open."""
        self.freed = False
        """Whether a task may have become ready, or a time may have come nearer."""
        self.timed = False
        """Whether the time may be that of a task which was stored before: of a retry, a sleeper, or one that waited."""
        self.requested: list[int] = []
        """Running tasks that somebody wants to stop, or to come back."""
        self.of_a_turn = False
        """Whether this is the scheduler's own, which knows what it did."""
        self.births: Any = None
        """Of a user's transaction: the submits that are not written yet, and the block itself."""
        self.scope: Any = None
        self.committed = False
        """Whether it is in the file; where it is not a user's, said only if something was raised after the commit."""
        self.doomed = False
        """Of a user's: whether SQLite rolled it back by itself, or something was written by half, so that what comes
        after must not be stored either."""

    def uncount(self, ids: str) -> None:
        """These tasks, JSON, waited, were ready or had ended, and may be so no longer, or are to be counted otherwise:
        what `counts` keeps of their ranges is dropped."""
        if self.known.has_counts:
            sizes = {"block": schema.BLOCK, "fan": schema.FAN, "pieces": schema.PIECES}
            self.execute(_UNCOUNT, {**sizes, "ids": ids})

    def end(self, tasks: Collection[int], outcome: Outcome | None = None) -> None:
        """These have just ended; `outcome`: how the one body of them did. Every end but success passes here."""
        self.ended.update(dict.fromkeys(tasks, outcome))
        self.fresh.extend(tasks)


def disown(tx: Transaction, error: Exception) -> None:
    """In a process that forked off: whoever goes on with it is told."""

    def refuse(*_: Any) -> Any:
        raise error

    tx.execute = tx.executemany = refuse

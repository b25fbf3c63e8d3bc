"""What may be claimed beside being ready: capacities, limits of names, rates, and names that are held.

Nothing here is counted up or down: what runs is in the rows, and each claim counts it again, in its own transaction.
So no limit is exceeded at any commit, whatever died.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from taskcore.store.cache import Kind
from taskcore.store.transaction import Transaction

Wanted = tuple[int, int, str | None]
"""(kind, at most so many of it, a worker whose failures are to be avoided)"""

AVOIDED: Final = """
    SELECT w.name FROM taskcore_attempt AS f CROSS JOIN taskcore_worker AS w ON w.id = f.worker
    WHERE f.task = t.id AND f.outcome IN ('failed', 'lapsed') AND f.number > t.attempts - t.failures - t.lapses"""
"""The workers that task `t`, which is not running, has failed on in its present life.

A rerun begins a new life, in which any of them may try again. Of a life that has not ended every attempt failed or
lapsed, so the counts say which attempts are of it.
"""

PATIENCE: Final = 2
"""How often a capacity may be given out whole to others before the task that waits for several of it is served next."""
WAITS: Final = 60.0
"""Seconds for which others stand back for such a task after somebody asked for it: who would run it may be gone."""
SKEW: Final = 5.0
"""Seconds by which a start may lie in the future of a process that read its clock and then waited for the file."""
COARSE: Final = 100
"""Moments that are kept apart in a rate's period."""

_RUNNING: Final = """
    SELECT kind, count(*) FROM taskcore_task
    WHERE phase = 'running' AND phase NOT IN ('ready', 'succeeded') GROUP BY kind"""
_TURN: Final = "SELECT value FROM taskcore_meta WHERE key = 'waiting'"
_PLACE: Final = "SELECT -priority, -ahead, id, kind FROM taskcore_task WHERE id = ? AND +phase = 'ready'"
_WAIT: Final = "INSERT OR REPLACE INTO taskcore_meta (key, value) VALUES ('waiting', ?)"
_RECENT: Final = "SELECT name, recent FROM taskcore_rate"
_STARTED: Final = "UPDATE taskcore_rate SET recent = ? WHERE name = ?"


Place = tuple[int, int, int]
"""(-priority, -ahead, id): where a task stands in the queue."""


class Waiting(NamedTuple):
    """The first task in the queue that waits for several of a capacity. It is in the file, as a row of `taskcore_meta`,
    since those who ask for other names only do not see it in their queue."""

    place: Place
    given: int
    """So much was given to tasks behind it meanwhile."""
    since: float
    """When somebody asked for it, at the latest `WAITS / 2` ago while somebody does."""


class Rations:
    """What is left, in one transaction that claims."""

    def __init__(self, tx: Transaction, now: float) -> None:
        self._tx = tx
        self._now = now
        known = tx.known
        self._free = dict(known.limits)
        if self._free:
            for kind_id, n in tx.execute(_RUNNING).fetchall():
                for name, need in known.needs(known.kinds[kind_id]).items():
                    if name in self._free:
                        self._free[name] -= need * n
        self._recent: dict[str, list[list[float]]] = {}
        self._starts: dict[str, int] = {}
        self._told = "{}"  # of it, by the file
        self._waiting: dict[str, Waiting] = self._read_waiting() if self._free else {}
        self.until: float | None = None
        """When a rate gives way next."""
        self.short = False
        """Whether something was left that only lacks a capacity."""
        for name, text in tx.execute(_RECENT).fetchall() if known.rates else ():
            self._learn_rate(name, json.loads(text), *known.rates[name])

    def _read_waiting(self) -> dict[str, Waiting]:
        """By capacity: those that still wait, might be served, and were asked for lately."""
        row, known = self._tx.execute(_TURN).fetchone(), self._tx.known
        if row is not None:
            self._told = row[0]
        found = {}
        for name, (task, given, since) in json.loads(self._told).items():
            if abs(self._now - since) >= WAITS:
                continue
            for *place, kind_id in self._tx.execute(_PLACE, (task,)).fetchall():
                kind = known.kinds[kind_id]
                if not known.held(kind) and 1 < known.needs(kind).get(name, 0) <= known.limits.get(name, 0):
                    found[name] = Waiting((place[0], place[1], place[2]), given, since)
        return found

    def _learn_rate(self, name: str, recent: list[list[float]], n: int, period: float) -> None:
        self._recent[name] = lately = _lately(recent, period, self._now)
        if _set_back(recent, period, self._now):
            self._tx.execute(_STARTED, (json.dumps(lately), name))
        self._starts[name] = n - int(sum(k for _, k in lately))
        until = _next_start(lately, n, period)
        if until is not None:
            self.until = until if self.until is None else min(self.until, until)

    def admit(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """Those of the kinds of which something may be claimed, and at most how many."""
        known = self._tx.known
        admitted = []
        for kind_id, most, avoid in wanted:
            kind = known.kinds[kind_id]
            if known.held(kind):
                continue
            allowed = most
            for name, need in known.needs(kind).items():
                free, there = self._free.get(name, 0), known.limits.get(name, 0)
                # One that waits for several is looked at all the same: those behind it must not pass it for ever.
                allowed = min(allowed, 1 if need > 1 and 0 <= free < need <= there else free // need)
            if allowed < most:
                self.short = True  # those that are left wait for what these take
            most = min(allowed, self._starts.get(kind.name, allowed))
            if most > 0:
                admitted.append((kind_id, most, avoid))
        return admitted

    def simple(self, wanted: Wanted) -> bool:
        """Whether the first of this kind, claimed alone, can be taken without asking for each."""
        known = self._tx.known
        needs = known.needs(known.kinds[wanted[0]])
        return all(need == 1 and name not in self._waiting for name, need in needs.items())

    def take(self, kind_id: int, place: Place) -> bool:
        """Whether this one, the next in the queue, may run; if so, what it needs is gone."""
        known, free, waiting = self._tx.known, self._free, self._waiting
        kind = known.kinds[kind_id]
        if self._starts.get(kind.name, 1) <= 0:
            return False
        needs = known.needs(kind)
        for name, need in needs.items():
            if need > free.get(name, 0):
                self.short = True
                if 1 < need <= known.limits.get(name, 0):
                    self._wait(name, place)
                return False
            first = waiting.get(name)
            if first is not None and first.place < place and first.given >= PATIENCE * known.limits[name]:
                self.short = True
                return False
        for name, need in needs.items():
            free[name] -= need
            first = waiting.get(name)
            if first is not None and first.place == place:
                del waiting[name]
            elif first is not None and first.place < place:
                waiting[name] = first._replace(given=first.given + need)
        return True

    def _wait(self, name: str, place: Place) -> None:
        first = self._waiting.get(name)
        if first is None or place < first.place:
            self._waiting[name] = Waiting(place, 0, self._now)
        elif place == first.place and abs(self._now - first.since) > WAITS / 2:
            self._waiting[name] = first._replace(since=self._now)

    def claimed(self, kinds: Sequence[int]) -> None:
        """So much was claimed: rates remember it, and who waits for several of a capacity."""
        known = self._tx.known
        text = json.dumps({name: (its.place[2], its.given, its.since) for name, its in self._waiting.items()})
        if text != self._told:
            self._tx.execute(_WAIT, (text,))
            self._told = text
        starts: dict[str, int] = {}
        for kind_id in kinds:
            name = known.kinds[kind_id].name
            if name in self._recent:
                starts[name] = starts.get(name, 0) + 1
        for name, n in starts.items():
            _, period = known.rates[name]
            recent = self._recent[name]
            at = max(self._now, recent[-1][0]) if recent else self._now
            if recent and at - recent[-1][0] < period / COARSE:
                recent[-1] = [at, recent[-1][1] + n]  # as though those had begun later: never too many
            else:
                recent.append([at, n])
            self._tx.execute(_STARTED, (json.dumps(recent), name))
            self._starts[name] -= n
            if self._starts[name] <= 0:
                self._learn_rate(name, recent, *known.rates[name])


# -- rates ---------------------------------------------------------------------------------------------------------


def _set_back(recent: list[list[float]], period: float, now: float) -> bool:
    """Whether these starts, oldest first, come from before the clock was set back: they count as though they began
    now."""
    return bool(recent) and recent[-1][0] > now + max(period, SKEW)


def _lately(recent: list[list[float]], period: float, now: float) -> list[list[float]]:
    """Those of the last period."""
    if _set_back(recent, period, now):
        recent = [[min(at, now), k] for at, k in recent]
    return [[at, k] for at, k in recent if at > now - period]


def _next_start(lately: list[list[float]], n: int, period: float) -> float | None:
    """When one more may begin; `None`: now."""
    over = 1 - n + int(sum(k for _, k in lately))
    for at, k in lately if over > 0 else ():
        over -= int(k)
        if over <= 0:
            return at + period
    return None


def rests(connection: Any, now: float) -> dict[str, tuple[int, float, float]]:
    """The names of which none may begin now, by their rates → (so many starts, in so many seconds, when the next)."""
    found = {}
    for name, n, period, text in connection.execute("SELECT name, n, period, recent FROM taskcore_rate").fetchall():
        at = _next_start(_lately(json.loads(text), period, now), n, period)
        if at is not None:
            found[name] = n, period, at
    return found


def resting(connection: Any, until: float, now: float) -> set[str]:
    """The names of which none may begin before that moment, by their rates."""
    return {name for name, (_, _, at) in rests(connection, now).items() if at > until}


def served_first(connection: Any, name: str, limit: int, place: Place, now: float) -> int | None:
    """The task that waits for several of this capacity, and that one with this place in the queue stands back for."""
    row = connection.execute(_TURN).fetchone()
    turns = {} if row is None else json.loads(row[0])
    task, given, since = turns.get(name, (None, -1, now))
    if given < PATIENCE * limit or abs(now - since) >= WAITS:
        return None
    first = connection.execute(_PLACE, (task,)).fetchone()
    return task if first is not None and first[:3] < place else None


# -- what code and operators say -----------------------------------------------------------------------------------


def give_limits(tx: Transaction, values: Mapping[str, int | None]) -> None:
    """What code says: a value that it did not say the last time takes effect. `None`: it says nothing of it."""
    for name, value in values.items():
        if tx.known.given.get(name) == value:
            continue
        set_limit(tx, name, value)
        tx.execute("UPDATE taskcore_limit SET given = value WHERE name = ?", (name,))
        tx.known.given[name] = value


def set_limit(tx: Transaction, name: str, value: int | None) -> None:
    """What an operator says: it holds until code says something new."""
    tx.execute(
        """INSERT INTO taskcore_limit (name, value) VALUES (:name, :value)
           ON CONFLICT (name) DO UPDATE SET value = :value""",
        {"name": name, "value": value},
    )
    tx.known.given.setdefault(name, None)
    limits = {**tx.known.limits, name: value}  # new: another thread may be reading the old ones
    tx.known.limits = {other: there for other, there in limits.items() if there is not None}
    tx.freed = True


def give_rate(tx: Transaction, name: str, rate: tuple[int, float] | None) -> None:
    """So many starts of a name in so many seconds, or as many as come."""
    if tx.known.rates.get(name) == rate:
        return
    if rate is None:
        tx.execute("DELETE FROM taskcore_rate WHERE name = ?", (name,))
    else:
        tx.execute(
            """INSERT INTO taskcore_rate (name, n, period) VALUES (:name, :n, :period)
               ON CONFLICT (name) DO UPDATE SET n = :n, period = :period""",
            {"name": name, "n": rate[0], "period": rate[1]},
        )
    rates: dict[str, Any] = {**tx.known.rates, name: rate}
    tx.known.rates = {other: its for other, its in rates.items() if its is not None}
    tx.freed = True


def hold(tx: Transaction, names: Sequence[str]) -> None:
    """Claim nothing of these names, or with none of the whole file, from the next commit on."""
    tx.executemany("INSERT OR IGNORE INTO taskcore_hold (name) VALUES (?)", [(name,) for name in names or ("",)])
    tx.known.holds = tx.known.holds.union(names or ("",))


def let_go(tx: Transaction, names: Sequence[str]) -> None:
    """The reverse, of the same names."""
    tx.executemany("DELETE FROM taskcore_hold WHERE name = ?", [(name,) for name in names or ("",)])
    tx.known.holds = tx.known.holds.difference(names or ("",))
    tx.freed = True


def refuse_the_impossible(tx: Transaction, kind: Kind) -> None:
    """`ValueError` if a task of this kind asks for a capacity that nobody named, or for more than there ever is."""
    for name, need in kind.options.get("uses", {}).items():
        if name not in tx.known.given:
            known = ", ".join(repr(other) for other in tx.known.given if not other.startswith("name:")) or "none"
            raise ValueError(f"{kind.name!r} uses {name!r}, which nobody named; there are: {known}")
        there = max(tx.known.limits.get(name) or 0, tx.known.given[name] or 0)
        if there and need > there:
            raise ValueError(f"{kind.name!r} uses {need} of {name!r}, and there are {there}")


def limits(connection: sqlite3.Connection) -> dict[str, int]:
    """As they are in the file."""
    return dict(
        connection.execute("SELECT name, value FROM taskcore_limit WHERE value IS NOT NULL ORDER BY name").fetchall()
    )


def held(connection: sqlite3.Connection) -> list[str]:
    """The names that are on hold; the empty one is the whole file."""
    return [name for (name,) in connection.execute("SELECT name FROM taskcore_hold ORDER BY name").fetchall()]

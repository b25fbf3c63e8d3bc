"""Submitting: rows come into the file, one or a thousand a statement, with edges, tags and keys, or not at all."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any, Final

from taskcore.core import lifecycle
from taskcore.core.errors import DependencyCycle, KeyConflict, TaskNotFound
from taskcore.store import dependencies, hierarchy, operations, serial, settle, suspension
from taskcore.store.columns import ARGS, LONG, OPTIONS, SERIAL, UNSAID
from taskcore.store.kinds import kind_of
from taskcore.store.submit_plain import INSERT_PLAIN
from taskcore.store.transaction import Transaction

FLUSH_AT: Final = 2000
"""Rows that a user's transaction gathers before they are written."""


class Order:
    """A task as somebody wants it: everything checked that can be checked without the file."""

    def __init__(
        self, name: str, kind_options: str, args: str, submitted_at: float, *, said: tuple[Any, ...] = UNSAID,
        tags: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.name = name
        self.kind_options = kind_options
        """The options that make a kind, as canonical JSON."""
        self.args = args
        self.submitted_at = submitted_at
        self.links: str | None = None
        """JSON `[[task_id, path], …]`: where in the arguments results of other tasks belong."""
        self.said = said
        """What the options say that are columns, in the order of `columns.OPTIONS`."""
        self.greenfield: float | None = None
        self.key: str | None = None
        self.key_scope: str | None = None
        """Which task of this key stands in the way of a new one: any, one that is "unfinished", or one that has not
        "succeeded" as well, which is then run again if it has ended."""
        self.after: Sequence[tuple[int, str, str]] = ()
        """(upstream id, on, otherwise), each upstream once."""
        self.before: Sequence[int] = ()
        self.parent: int | None = None
        self.job: str | None = None
        """Of a job: what failures of its children do, "fail" or "ignore"."""
        self.tags = tags
        self.behaviour: Any = None
        """The options, if there are functions among them that only this process has."""

    @property
    def serial(self) -> str | None:
        """The value whose tasks run one at a time."""
        found: str | None = self.said[SERIAL]
        return found


_BORN: Final = (
    "id", "kind", "phase", "greenfield", "blockers", "held", "parent", "job", "gated", "behind", "submitted_at",
    "waiting_for", "key", "args", "links", *OPTIONS,
)  # fmt: skip
_INSERT: Final = f"INSERT INTO taskcore_task ({', '.join(_BORN)}) VALUES ({', '.join('?' * len(_BORN))})"
_SAID: Final = ("kind", *OPTIONS)
_MEND: Final = f"UPDATE taskcore_task SET ({', '.join(_SAID)}) = ({', '.join('?' * len(_SAID))}) WHERE id = ?"
_INSERT_CHILDREN: Final = """
    INSERT INTO taskcore_task (id, kind, phase, priority, held, gated, blockers, parent, submitted_at, args)
    SELECT :first + key, :kind, :phase, :priority, :held, :gated, :gated, :parent, :now, value FROM json_each(:texts)"""


class Births:
    """The rows that one transaction brings, until they are written."""

    def __init__(self, tx: Transaction, now: float) -> None:
        self._tx = tx
        self._now = now
        self._plain: list[tuple[Any, ...]] = []
        self._rows: list[tuple[Any, ...]] = []
        self._first = tx.known.last_id + 1  # of those not yet written
        self._seen: set[int] = set()  # tasks that are known to be there; nothing is deleted before the next flush
        self._edges: list[tuple[int, int, str, str, int]] = []
        self._linked: list[int] = []
        self._tags: list[tuple[int, int, str]] = []
        self._texts: list[tuple[int, str]] = []  # long arguments
        self._keys: dict[tuple[str, str], tuple[int, str, str | None]] = {}
        self._parents: dict[int, tuple[bool, bool]] = {}  # what a child of each is born into
        self._jobs: dict[int, dict[int, str | None]] = {}  # those that a child of each is a part of
        self._needed: dict[int, bool] = {}  # whether anything in the file depends on one of those
        self._upstreams: set[int] = set()  # of the edges that are not yet written
        self._children: dict[int, list[int]] = {}
        self._queued: list[tuple[str, int, int]] = []
        self._queues: set[str] = set()  # serial values that have an unfinished task
        self._signals = suspension.Signals(tx)

    def add_plain(self, name: str, kind_options: str, priority: int, now: float, args: str) -> int:
        """A task of which nothing else is said. → its id."""
        known = self._tx.known
        kind = known.plain_ids.get((name, kind_options)) or kind_of(self._tx, name, kind_options)
        known.last_id = task_id = known.last_id + 1
        self._plain.append((task_id, kind, priority, now, args))
        if len(self._plain) >= FLUSH_AT:
            self.flush()
        return task_id

    def add_children(
        self, name: str, kind_options: str, priority: int, now: float, parent: int, texts: Sequence[str]
    ) -> list[int]:
        """Tasks of one name, with these arguments (printable: JSON must carry them), of which nothing else is said but
        who their parent is. → their ids."""
        tx = self._tx
        self.flush()
        kind = tx.known.plain_ids.get((name, kind_options)) or kind_of(tx, name, kind_options)
        held, gated = self._born_into(parent)
        said = {
            "kind": kind, "phase": lifecycle.PAUSED if held else lifecycle.WAITING if gated else lifecycle.READY,
            "priority": priority, "held": held, "gated": gated, "parent": parent, "now": now,
        }  # fmt: skip
        first = tx.known.last_id + 1
        tx.known.last_id += len(texts)
        for start in range(0, len(texts), FLUSH_AT):
            part = json.dumps(texts[start : start + FLUSH_AT])
            tx.execute(_INSERT_CHILDREN, {**said, "first": first + start, "texts": part})
        tx.freed = True
        self._children[parent] = ids = list(range(first, first + len(texts)))
        self._count_children()
        self.forget()
        settle.settle(tx, self._now)
        return ids

    def add(self, order: Order, kind: int | None = None) -> tuple[int, bool]:
        """→ the task's id, and whether it is new. With its `kind` given, it is not asked whether there is as much as it
        uses. Refused, nothing of it is stored, unless others are to come `before` it: then a part of it may be."""
        tx = self._tx
        named = order.name, order.kind_options
        kind = kind or tx.known.plain_ids.get(named) or kind_of(tx, *named)
        last = tx.known.last_id
        task_id, new = self._add(order, kind)
        if new and order.before:
            self.flush()
            try:
                dependencies.depend(tx, order.before, task_id, lifecycle.SUCCEEDED, "skip", self._now)
                if tx.known.has_jobs and hierarchy.waits(tx, [task_id], order.before):
                    raise DependencyCycle([order.before[0], task_id, order.before[0]])
            except Exception:
                tx.known.last_id = last  # nobody has heard of the id
                raise
            serial.needed(tx, task_id, self._now)
            settle.settle(tx, self._now)
        return task_id, new

    def _add(self, order: Order, kind: int) -> tuple[int, bool]:
        tx = self._tx
        if order.key is not None:
            existing = self._keyed(order, order.key)
            if existing is not None:
                return existing, False
        held, gated = (False, False) if order.parent is None else self._born_into(order.parent)
        watched = [dependencies.watch(tx.known, wants) for _, wants, _ in order.after] if order.after else []
        if order.parent is not None and (order.after or order.serial is not None) and tx.known.has_jobs:
            self._refuse_own_job(order.parent, order.after, order.serial)
            held, gated = self._born_into(order.parent)  # anew, if others were written meanwhile
        for task_id in (*order.before, *(upstream for upstream, _, _ in order.after)):
            self._must_exist(task_id)
        tx.known.last_id = task_id = tx.known.last_id + 1
        behind = order.serial is not None and self._stands_behind(order.serial, task_id)
        phase, greenfield, blockers = lifecycle.READY, order.greenfield, len(order.after) + gated + behind
        if order.after:
            self._linked.append(task_id)
            for (upstream, wants, otherwise), how in zip(order.after, watched, strict=True):
                self._edges.append((upstream, task_id, wants, otherwise, how))
                self._upstreams.add(upstream)
        if held:
            phase = lifecycle.PAUSED
        elif blockers:
            phase = lifecycle.WAITING
        elif greenfield is not None:
            phase = lifecycle.SCHEDULED
        elif order.job is not None:
            phase = lifecycle.SUSPENDED
            tx.opened.append(task_id)
        if order.job is not None:
            tx.building.add(task_id)  # until its block ends
        args = order.args
        if len(args) > LONG or not args:
            self._texts.append((task_id, args))
            args = ""
        row = (
            task_id, kind, phase, greenfield, blockers, held, order.parent, order.job, gated, behind,
            order.submitted_at, None if greenfield is None else "delay", order.key, args, order.links,
            *order.said,
        )  # fmt: skip
        if order.parent is not None:
            self._children.setdefault(order.parent, []).append(task_id)
        if order.tags:
            self._tags.extend((task_id, position, tag) for position, tag in enumerate(order.tags))
        if order.key is not None:
            self._keys[order.name, order.key] = (task_id, order.args, order.links)
        if order.behaviour is not None:
            tx.known.behave(task_id, order.behaviour)
        self._rows.append(row)
        if len(self._rows) >= FLUSH_AT:
            self.flush()
        return task_id, True

    def signal(self, task: int, name: str, payload: str, now: float) -> bool:
        """Send a signal. → whether it was stored: the task is there and has not ended."""
        if task >= self._first or len(self._signals) >= FLUSH_AT:
            self.flush()
        return self._signals.send(task, name, payload, now)

    def flush(self) -> None:
        """Write what was gathered, and what follows from it."""
        tx = self._tx
        if self._signals:
            doomed, tx.doomed = tx.doomed, True  # a Ctrl-C in between must not leave half of them
            self._signals.write(self._now)
            tx.doomed = doomed
            settle.settle(tx, self._now)
        if self._plain:
            tx.executemany(INSERT_PLAIN, self._plain)
            self._plain.clear()
            tx.freed = True
        if self._rows:
            self._flush_rows()
        self.forget()

    def _flush_rows(self) -> None:
        tx = self._tx
        tx.executemany(_INSERT, self._rows)
        tx.freed = True
        if self._texts:
            tx.executemany("INSERT INTO taskcore_text (task, args) VALUES (?, ?)", self._texts)
        if self._keys:
            tx.executemany(
                "INSERT OR REPLACE INTO taskcore_key (name, key, task) VALUES (?, ?, ?)",
                [(name, key, task_id) for (name, key), (task_id, _, _) in self._keys.items()],
            )
        self._flush_tags()
        if self._queued:
            serial.enqueue(tx, self._queued)
        if self._edges:
            dependencies.add(tx, self._edges)
        if self._children:
            self._count_children()
        if self._linked:
            dependencies.link(tx, self._linked, self._now)
        if self._queued and self._children and tx.known.has_edges and tx.known.has_jobs:
            children = {child for born in self._children.values() for child in born}
            serial.give_way(tx, [task for _, _, task in self._queued if task in children], self._now)
        settle.settle(tx, self._now)

    def _flush_tags(self) -> None:
        if self._tags:
            self._tx.executemany("INSERT INTO taskcore_tag (task, position, tag) VALUES (?, ?, ?)", self._tags)
            self._tags.clear()

    def _count_children(self) -> None:
        """For their parents. First of all: what follows may end them again."""
        tx = self._tx
        tx.known.has_families = True
        more = {parent: len(children) for parent, children in self._children.items()}
        reopened = hierarchy.unfinish(tx, more, born=True)
        if reopened:
            operations.reopen(tx, reopened, self._now)
        for parent, children in self._children.items():
            suspension.born(tx, parent, children)

    def forget(self) -> None:
        """What was gathered is not to be written, or is."""
        for gathered in (
            self._rows, self._edges, self._linked, self._tags, self._keys, self._parents, self._children, self._queued,
            self._queues, self._plain, self._texts, self._seen, self._jobs, self._needed, self._upstreams,
        ):  # fmt: skip
            gathered.clear()
        self._first = self._tx.known.last_id + 1

    def _born_into(self, parent: int) -> tuple[bool, bool]:
        """(held, gated) of a child of this one. `TaskNotFound`."""
        if self._first <= parent <= self._tx.known.last_id:
            self.flush()  # a job of this transaction, say
        found = self._parents.get(parent)
        if found is None:
            found = hierarchy.above(self._tx, parent)
            if found is None:
                raise TaskNotFound(parent)
            self._parents[parent] = found
        return found

    def _refuse_own_job(self, parent: int, after: Sequence[tuple[int, str, str]], value: str | None) -> None:
        """`DependencyCycle` if a child of this parent is to wait for a job that it is a part of, by an edge or in the
        queue of a serial value."""
        jobs = self._jobs.get(parent)
        if jobs is None:
            jobs = self._jobs[parent] = hierarchy.jobs_above(self._tx, parent)
        needed = {upstream for upstream, _, _ in after}
        for job, its in jobs.items():
            if job in needed or (its is not None and its == value):
                raise DependencyCycle([job, parent, job] if job != parent else [parent, parent])
        if needed and jobs and self._waited_for(parent, jobs):
            self.flush()  # what waits may not be written yet
            if hierarchy.waits(self._tx, needed, jobs, begin=False):
                raise DependencyCycle([parent, *sorted(needed)[:1], parent])

    def _waited_for(self, parent: int, jobs: Collection[int]) -> bool:
        """Whether anything depends on one of these jobs, which are those above a child of this parent."""
        if parent not in self._needed:
            self._needed[parent] = dependencies.lead_on(self._tx, jobs)
        return self._needed[parent] or not self._upstreams.isdisjoint(jobs)

    def _stands_behind(self, value: str, task_id: int) -> bool:
        """Whether a task of this serial value is there already; from now on one is."""
        behind = value in self._queues or serial.occupied(self._tx, value)
        self._queues.add(value)
        self._queued.append((value, task_id, task_id))
        return behind

    def _must_exist(self, task_id: int) -> None:
        if self._first <= task_id <= self._tx.known.last_id or task_id in self._seen:
            return  # of this transaction, not yet written; or just looked at
        if not self._tx.execute("SELECT 1 FROM taskcore_task WHERE id = ?", (task_id,)).fetchone():
            raise TaskNotFound(task_id)
        self._seen.add(task_id)

    def _keyed(self, order: Order, key: str) -> int | None:
        """The task that has this name and key, if it stands in the way of a new one. One that runs and was asked to
        stop does not, where the key is free once it has: the new one waits for that."""
        fresh = self._keys.get((order.name, key))
        if fresh is not None and order.key_scope is not None:
            self.flush()  # one that nothing could meet has ended already
            fresh = None
        if fresh is not None:
            task_id, args, links, ended, phase = (*fresh, False, None)
        else:
            row = self._tx.execute(
                f"""SELECT t.id, {ARGS}, t.links, t.finished_at IS NOT NULL, t.phase, t.cancel_requested_at IS NOT NULL
                   FROM taskcore_key AS k CROSS JOIN taskcore_task AS t ON t.id = k.task
                   WHERE k.name = ? AND k.key = ?""",
                (order.name, key),
            ).fetchone()
            if row is None:
                return None
            task_id, args, links, ended, phase, doomed = row
            if doomed and not ended and order.key_scope is not None:
                if all(upstream != task_id for upstream, _, _ in order.after):
                    order.after = [*order.after, (task_id, lifecycle.ANY_END, "skip")]
                return None
        if ended and order.key_scope == "unfinished":
            return None
        if (args, links) != (order.args, order.links):
            raise KeyConflict(order.name, key, task_id)
        if ended and order.key_scope == "succeeded" and phase != lifecycle.SUCCEEDED:
            self.flush()
            kind = kind_of(self._tx, order.name, order.kind_options)
            self._tx.execute(_MEND, (kind, *order.said, task_id))  # what is said now may be what mends it
            self._tx.execute("DELETE FROM taskcore_tag WHERE task = ?", (task_id,))
            self._tags.extend((task_id, position, tag) for position, tag in enumerate(order.tags))
            if order.behaviour is not None:
                self._tx.known.behave(task_id, order.behaviour)
            operations.rerun(self._tx, [task_id], self._now)
            self._flush_tags()
        return task_id


def submit(tx: Transaction, order: Order, now: float) -> tuple[int, bool]:
    """Store this task. → its id, and whether it is new."""
    births = Births(tx, now)
    made = births.add(order)
    births.flush()
    return made

"""What a file is doing, for those who look again and again: no read of it is long, and none is of the whole file."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from taskcore.api.selection import Selection
from taskcore.core import lifecycle
from taskcore.core.clock import monotonic
from taskcore.store import capacity, overview, stretches, workers
from taskcore.store.overview import Brief

FEW: Final = 5_000
"""So many rows an index finds and sorts in no time."""
_INDEXED: Final = frozenset(lifecycle.PHASES) - {lifecycle.READY, lifecycle.SUCCEEDED}


class Name(NamedTuple):
    """One name's tasks."""

    name: str
    phases: Counter[str]
    """Phase → how many."""
    rate: float | None
    """Ends a second, of the last minute, where that can be told."""
    held: bool
    """Whether `engine.pause` holds it."""

    @property
    def total(self) -> int:
        return self.phases.total()

    @property
    def left(self) -> int:
        return self.total - sum(self.phases[phase] for phase in lifecycle.ENDED)

    @property
    def seconds_left(self) -> float | None:
        """At this rate, for what is not paused."""
        to_do = self.left - self.phases[lifecycle.PAUSED]
        return to_do / self.rate if self.rate and to_do else None


class Census:
    """Of a selection. `look` counts on; what it has found then is asked of the others."""

    def __init__(self, chosen: Selection, whole: bool) -> None:
        """`whole`: whether that is the whole file, but for hidden tasks: then rates are known."""
        self._context = chosen._context
        self._chosen = chosen
        self._whole = whole
        self._found: dict[int, tuple[float, list[tuple[str, str, str, int]]]] = {}  # stretch → when, what
        self._last = 0

    def look(self, patience: float = math.inf) -> bool:
        """Count for about so many seconds: what was never counted, then, those first that were not counted for longest,
        the stretches in which something may still happen, and one of the others. → whether all has been counted."""
        until = monotonic() + patience
        self._last = self._context.read(stretches.last_id) // stretches.LONG
        self._found = {stretch: its for stretch, its in self._found.items() if stretch <= self._last}
        unknown = [stretch for stretch in range(self._last, -1, -1) if stretch not in self._found]
        live, quiet = list[int](), list[int]()
        for stretch in sorted(self._found, key=lambda stretch: self._found[stretch][0]):
            moves = any(phase not in lifecycle.ENDED for _, phase, _, _ in self._found[stretch][1])
            (live if moves or stretch == self._last else quiet).append(stretch)
        for stretch in (*unknown, *live, *quiet[:1]):
            counted = self._context.read(stretches.counts, self._chosen._where, stretch)
            self._found[stretch] = monotonic(), counted
            if monotonic() >= until:
                break
        return len(self._found) > self._last

    @property
    def share(self) -> float:
        """What part of the file has been counted."""
        return len(self._found) / (self._last + 1)

    def statuses(self, names: Collection[str] | None = None) -> dict[tuple[str, str], int]:
        """(phase, status) → how many, in the order of a task's life."""
        counted: Counter[tuple[str, str]] = Counter()
        for _, rows in self._found.values():
            for name, phase, status, n in rows:
                if names is None or name in names:
                    counted[phase, status] += n
        return dict(sorted(counted.items(), key=lambda item: (lifecycle.PHASES.index(item[0][0]), item[0][1])))

    def names(self) -> list[Name]:
        """In the order of the alphabet."""
        context = self._context
        rates = context.read(overview.rates, context.now()) if self._whole else {}
        held, counted = self.held(), dict[str, Counter[str]]()
        for _, rows in self._found.values():
            for name, phase, _, n in rows:
                counted.setdefault(name, Counter())[phase] += n
        return [Name(name, its, rates.get(name), name in held) for name, its in sorted(counted.items())]

    def held(self) -> frozenset[str]:
        """What is on hold; "" is the whole file."""
        return frozenset(self._context.read(capacity.held))

    def engines(self) -> int:
        """How many engines, of processes that live, run tasks of the file."""
        lanes = self._context.lanes
        found = self._context.read(workers.alive)
        return sum(lanes is None or not lanes.is_dead(lane) for _, lane in found)

    def newest(
        self, most: int, phases: Sequence[str], statuses: Sequence[str] = (), names: Sequence[str] | None = None,
        patience: float = 0.3,
    ) -> tuple[int, list[Brief]]:  # fmt: skip
        """How many there are in these phases, with one of these statuses and names if they are said, and those with the
        highest ids, descending; fewer where to find them takes longer than `patience` seconds."""
        chosen, until = self._chosen.where(phase=phases), monotonic() + patience
        if statuses:
            chosen = chosen.where(status=statuses)
        if names is not None:
            chosen = chosen.where(name=names)

        def count(stretch: int) -> int:
            return sum(
                n for name, phase, status, n in self._found[stretch][1]
                if phase in phases and (not statuses or status in statuses) and (names is None or name in names)
            )  # fmt: skip

        holding = {stretch: n for stretch in sorted(self._found, reverse=True) if (n := count(stretch))}
        total, found = sum(holding.values()), list[Brief]()
        few = (total <= FEW and self.share == 1) or set(phases) == {lifecycle.RUNNING}
        if few and _INDEXED.issuperset(phases):
            found = self._context.read(overview.newest, chosen._where, most)
            return max(total, len(found)), found
        for stretch in holding:
            found += self._context.read(stretches.newest, chosen._where, stretch, most - len(found))
            if len(found) >= most or monotonic() >= until:
                break
        return total, found

    def some(self, task_ids: Collection[int]) -> list[Brief]:
        """These tasks."""
        return self._context.read(overview.briefs, task_ids)

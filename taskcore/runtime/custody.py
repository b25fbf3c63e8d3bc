"""What an engine has claimed and not yet settled: how much more it may take, and what it gives back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from taskcore.body import outcome
from taskcore.body.work import Work
from taskcore.core.ends import Outcome
from taskcore.runtime.pacing import HORIZON, Pace
from taskcore.runtime.pools import Crew
from taskcore.runtime.repertoire import Repertoire
from taskcore.runtime.turn import Turn
from taskcore.store import claims
from taskcore.store.capacity import Wanted
from taskcore.store.transaction import Transaction

SHORT: Final = 0.001
"""Seconds of bodies that are so short that their ends may gather for a moment."""
ALONE_AFTER: Final = 2
"""Lapses after which a task runs alone in its process, so that the cap on lapses blames the right one."""


class Custody:
    """Changed by the thread that turns; `held` may be read by any, and a task that was born claimed is put into it by
    the thread that submitted it."""

    crew: Crew

    def __init__(self, repertoire: Repertoire) -> None:
        self._repertoire = repertoire
        self.pace = Pace()
        self.held: dict[int, Work] = {}
        """By id, the works that are claimed here and not yet settled."""
        self.returning: list[Work] = []
        """Those that have not begun, and go back to the file with the next turn."""
        self.wanted_back = False
        """Whether somebody wants back what has not begun. Set by any thread."""
        self.alone = False
        """Whether what runs here is to run alone."""
        self._lately = math.inf  # seconds that the bodies took that were settled last
        self._slow = 0  # threads whose bodies have run for longer than what is claimed ahead may wait

    def take_back(self, real: float) -> None:
        """Take from the crew what was claimed ahead and did not begin when it should have, or is wanted otherwise."""
        self._slow = 0
        if len(self.held) >= self.crew.size and self.crew.ahead:
            for work in list(self.held.values()):
                if work.since and not work.took and real - work.since > HORIZON and work.stop != "timeout":
                    self.pace.at_least(work.kind.name, real - work.since)
                    self._slow += 1
        if self.wanted_back or (self._slow and len(self.held) > self.crew.size):
            self.wanted_back = False
            for work in self.crew.take_back():
                self.held.pop(work.claimed.id, None)
                self.returning.append(work)

    def room(self, settled: int, avoider: str) -> tuple[list[Wanted], bool]:
        """What may be claimed once so many of the held ones are settled, and whether that leaves some kinds out for
        now. `avoider`: the name of this engine, for tasks that avoid a worker that they failed on."""
        held = len(self.held) - settled
        if self.alone and held > 0:
            return [], True
        # A thread that is in something long begins nothing within the horizon, whatever its name.
        threads, held, cramped, room = self.crew.size - self._slow, held - self._slow, False, []
        for kind in self._repertoire.kinds():
            most = self.pace.room(kind.name, threads, held) if self.crew.ahead else threads - held
            if most > 0:
                avoid = avoider if kind.options.get("avoid_failed_worker") else None
                room.append((kind.id, 1 if self.alone else most, avoid))
            else:
                cramped = True
        return room, cramped

    def part_suspects(self, tx: Transaction, turn: Turn) -> None:
        """Let a task that lapsed twice wait until nothing else runs here, and the others until it has ended: of what
        was just claimed, what must not run beside it is given back."""
        claimed = turn.taken.tasks if turn.taken is not None else []
        suspect = next((place for place, task in enumerate(claimed) if task.lapses >= ALONE_AFTER), None)
        if suspect is None:
            self.alone = self.alone and not claimed
            return
        unsettled = len(self.held) - len(turn.works)
        keep = 1 if suspect == 0 and unsettled <= 0 else suspect
        claims.give_back(tx, [(other.id, other.token) for other in claimed[keep:]], turn.now)
        del claimed[keep:]
        turn.more = self.alone = True  # what was given back is still there to be claimed

    def settle(self, works: Sequence[tuple[Work, Outcome]]) -> None:
        """These are in the file; how long they took is learnt."""
        self.returning, behaviours = [], self._repertoire.behaviours
        took: dict[str, list[float]] = {}
        for work, end in works:
            if self.held.get(end.id) is work:  # else it was taken away, and is claimed here again
                self.held.pop(end.id, None)
                if behaviours and end.verb == "succeed":
                    behaviours.pop(end.id, None)
            took.setdefault(work.kind.name, []).append(work.took)
        total = 0.0
        for name, times in took.items():
            spent = sum(times)
            self.pace.learn(name, spent / len(times))
            total += spent
        if works:
            self._lately = total / len(works)

    @property
    def short(self) -> bool:
        """Whether the bodies were short that were settled last."""
        return self._lately < SHORT

    def supplied(self, length: float) -> bool:
        """Whether bodies are short, and what was handed out keeps every thread busy for so many seconds."""
        return self.short and self.crew.waiting * self._lately > self.crew.size * length

    def begin(self, works: Sequence[Work]) -> None:
        """These were claimed: the crew runs them."""
        self.held.update({work.claimed.id: work for work in works})
        self.crew.hand(works)

    # -- time limits ------------------------------------------------------------------------------------------------

    def overdue(self, elapsed: float) -> Iterator[tuple[Work, Outcome]]:
        """Those whose time is over, each with what that means; their slots are given to others."""
        for work in list(self.held.values()):
            limit = work.timeout
            if limit is not None and work.began is not None and elapsed >= work.began + limit and work.win():
                work.stop = "timeout"
                self.crew.write_off(work)
                yield work, outcome.timed_out(work, limit)

    def limits(self, elapsed: float) -> Iterator[float]:
        """For each that has begun and has a time limit, the seconds left to it."""
        for work in list(self.held.values()):
            if work.timeout is not None and work.began is not None:
                yield work.began + work.timeout - elapsed

    @property
    def begun(self) -> int:
        """How many bodies have begun and not come back."""
        return sum(bool(work.since) for work in list(self.held.values()))

    def bodies(self) -> list[Work]:
        """Those whose bodies run."""
        return [work for work in list(self.held.values()) if work.since and not work.took]

"""What goes into one turn of the scheduler and comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from taskcore.body.work import Work
from taskcore.core.ends import Outcome
from taskcore.runtime import notes
from taskcore.store import claims, due, reports
from taskcore.store.claims import Taken
from taskcore.store.steps import Notes
from taskcore.store.transaction import Transaction

if TYPE_CHECKING:
    from taskcore.store.schedules import Plan


class Turn:
    """What one turn brings to its transaction, and takes from it."""

    def __init__(
        self, works: list[tuple[Work, Outcome]], back: list[Work], room: list[tuple[int, int, str | None]],
        cramped: bool, now: float, renew: bool,
    ) -> None:  # fmt: skip
        self.works = works
        self.back = back
        self.room = room
        self.cramped = cramped
        """Whether there are kinds that would be claimed if there were room."""
        self.hungry = False
        """Whether something may be claimable, as far as is known before."""
        self.now = now
        self.renew = renew
        self.successes: list[Outcome] = []
        self.others: list[Outcome] = []
        self.notes: list[Notes] = []
        """What running bodies have to show, those that end first."""
        self.ended: dict[int, Outcome | None] = {}
        """All tasks that ended in its transaction, and how their bodies did."""
        self.taken: Taken | None = None
        """What it claimed; `None` if nothing was to be claimed."""
        self.more = False
        """Whether there may be more to be claimed at once."""
        self.freed = False
        self.astray = False
        """Whether all that this engine holds, and does not report now, is given back: nothing of it runs."""
        self.next_due: float | None = None
        """When time moves a row, as far as was known; once swept, as it is."""

    @property
    def served(self) -> bool:
        """Whether anything came of it for this engine."""
        return bool(self.works or self.ended or (self.taken is not None and self.taken.tasks))

    def sort(self, errors: dict[int, BaseException]) -> None:
        """Tell the successes of its works from the others, and note there what those raised that fail."""
        self.successes, self.others = [], []
        for _, end in self.works:
            if end.verb == "succeed":
                self.successes.append(end)
            else:
                self.others.append(end)
                if end.raised is not None and end.verb == "fail":
                    errors[end.id] = end.raised

    def settle(self, tx: Transaction, look_first: bool) -> None:
        """Write what its works have to show, and their ends, and give back what does not begin here."""
        if self.notes:
            notes.write(tx, self.notes, self.now)
        if self.successes:
            reports.succeed(tx, self.successes, self.now, look_first=look_first)
        for end in self.others:
            reports.report(tx, end, self.now)
        if self.back:
            claims.give_back(tx, [work.claim for work in self.back], self.now)

    def let_time_move(self, tx: Transaction, plans: Mapping[str, Plan]) -> None:
        """Move every row whose time has come, and fire what is due of these schedules."""
        self.next_due = due.sweep(tx, self.now)
        if plans:
            from taskcore.store import schedules  # both for those who have any

            fires, self.more = schedules.fire(tx, plans, self.now)  # of a kind that is new, perhaps
            self.next_due = fires if self.next_due is None else min(self.next_due, fires or self.next_due)

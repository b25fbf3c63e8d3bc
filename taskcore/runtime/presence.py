"""An engine among the workers of its file: its row, the lane that proves it alive, and its lease."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from taskcore.core.ends import Outcome
from taskcore.runtime.pools import Crew
from taskcore.store import claims, process_locks, workers
from taskcore.store.connection import File
from taskcore.store.process_locks import Lanes
from taskcore.store.transaction import Transaction

_OLD: Final = -1


class Presence:
    """Changed by the thread that turns, alone; its fields may be read by any."""

    def __init__(self, name: str, lease: float, lanes: Lanes | None) -> None:
        self.name = name
        self.lease = lease
        self.lanes = lanes
        self.worker: int | None = None
        """Its row, once it has one."""
        self.lane = 0
        self._others = False  # whether other engines that live were there when it was last looked
        self.renew_at = 0.0
        """When its leases are to be renewed."""
        self._seen: int | None = _OLD  # the version of the file in which the row was there
        self._enlisted: Transaction | None = None

    # -- its row ----------------------------------------------------------------------------------------------------

    def enlist(self, tx: Transaction, crew: Crew, now: float) -> None:
        """Have a row among the workers, from this transaction on.

        Another process may have ended the row of an engine that lives, where the lock that proves it alive was lost
        (somebody replaced the side file, say). Then this engine is a new worker: what it claimed as the old one was
        taken from it, and its reports of that change nothing.
        """
        if self.worker is not None:
            if self._seen == tx.known.version or workers.is_alive(tx, self.worker):
                self._seen = tx.known.version
                return
            self.forget()
        self._enlisted = tx
        self.worker, self.lane = workers.enlist(tx, self.name, self.lanes, now)
        self._seen = tx.known.version
        if self.lanes is not None and crew.ahead:
            crew.mark(self.lanes.page(self.lane, self.worker))
        elif self.lanes is not None:
            self.lanes.leave(self.lane, 0)  # somebody may have, of another database beside this file
        self._others = True

    def rolled_back(self) -> None:
        """A transaction was: if the row was made in it, it went with it, and its id may go to another."""
        if self._enlisted is not None and not self._enlisted.committed:
            self.forget()
        self._enlisted = None

    def committed(self) -> None:
        self._enlisted = None

    def forget(self) -> None:
        """It has no row, and needs no lane."""
        if self.lanes is not None:
            self.lanes.give_up(self.lane)
        self.worker = None

    def give_back(self, tx: Transaction, now: float) -> None:
        """Give back all that it holds."""
        if self.worker is not None:
            claims.give_back(tx, workers.claims_of(tx, self.worker), now)

    def sign_off(self, tx: Transaction, now: float) -> Mapping[int, Outcome | None]:
        """The same in a transaction of its own, which ends its row. → what ended by that."""
        tx.of_a_turn = True
        self.give_back(tx, now)
        if self.worker is not None:
            workers.sign_off(tx, self.worker, now)
        return tx.ended

    def leaving(self) -> None:
        """Its end has begun: if that is cut short, what runs here pays nothing. From any thread."""
        if self.lanes is not None and self.worker is not None:
            self.lanes.leave(self.lane, self.worker)

    def leave(self) -> None:
        """It has ended: give up the proof of life."""
        if self.lanes is not None:
            if self.worker is not None:
                self.lanes.give_up(self.lane)
            process_locks.leave(self.lanes)

    # -- its lease --------------------------------------------------------------------------------------------------

    def renew(self, tx: Transaction, now: float) -> None:
        if self.worker is not None:
            claims.renew(tx, self.worker, now + self.lease * 2 / 3, now + self.lease)

    def renewed(self, now: float) -> None:
        """They were, or there is nothing to renew."""
        self.renew_at = now + self.lease / 3

    # -- the others -------------------------------------------------------------------------------------------------

    def somebody_came(self) -> None:
        """Another process committed: it may be an engine."""
        self._others = True

    def sees_a_death(self, file: File) -> bool:
        """Whether another engine did not sign off and does not live any more."""
        if not self._others or self.lanes is None:
            return False
        others = [row for row in file.read(workers.alive) if row[0] != self.worker]
        self._others = bool(others)
        return any(self.lanes.is_dead(lane) for _, lane in others)

    def hold(self) -> None:
        """Make sure that the proof of life is there, whatever was done to the side file."""
        if self.lanes is not None and self.worker is not None:
            self.lanes.hold()

    def bury(self, tx: Transaction, now: float) -> None:
        """Take back the tasks of engines that died."""
        if self.lanes is not None:
            workers.bury(tx, self.lanes, now, self.worker)

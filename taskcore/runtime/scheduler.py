"""The loop's body: settle what has finished, sweep what time moved, renew, claim what there is room for.

`turn()` does that in one transaction and returns how long to wait, so anything can drive it: the loop's own thread, the
caller of `run()` when bodies run in the caller's thread, or a test with a clock of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from taskcore.body.work import Stage, Work, current_task
from taskcore.core.clock import Clock, monotonic
from taskcore.core.ends import Outcome
from taskcore.runtime.custody import Custody
from taskcore.runtime.lookout import Lookout
from taskcore.runtime.notes import Display
from taskcore.runtime.pacing import Traffic
from taskcore.runtime.presence import Presence
from taskcore.runtime.quarantine import replace_bad_ends, works_of
from taskcore.runtime.repertoire import Repertoire
from taskcore.runtime.turn import Turn
from taskcore.runtime.wakeups import Inbox, Latch
from taskcore.store import claims, reports, workers
from taskcore.store.busy import OF_A_ROW
from taskcore.store.capacity import Wanted
from taskcore.store.connection import File
from taskcore.store.reports import StaleReport
from taskcore.store.submit_plain import Birth
from taskcore.store.transaction import Transaction

if TYPE_CHECKING:
    from taskcore.runtime.pruner import Pruning
    from taskcore.store.schedules import Plan

IDENTITY: Final = 0.5
"""Seconds between looks at whether the file is still the one at its path."""


class Scheduler:
    """One engine's turns. Only one thread at a time turns; what other threads may call says so."""

    def __init__(
        self, file: File, clock: Clock, stage: Stage, repertoire: Repertoire, presence: Presence, lookout: Lookout, *,
        on_ended: Callable[[Mapping[int, Outcome | None]], None], on_foreign_commit: Callable[[], None],
        anybody_listens: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.file, self.clock, self.stage = file, clock, stage
        self.repertoire = repertoire
        self.presence = presence
        self.pruning: Pruning | None = None
        self.inbox: Inbox[tuple[Work, Outcome]] = Inbox()
        self.wake = self.inbox.wake
        """End the sleep of the thread that turns. From any thread."""
        self.custody = Custody(repertoire)
        self.held = self.custody.held
        self.errors: dict[int, BaseException] = {}
        """What bodies raised whose end is being committed: whoever reads the row meanwhile finds it here."""
        self.plans: dict[str, Plan] = {}
        """The schedules that this engine fires, by name."""
        self.claiming = False
        self.quiet = True
        """Nothing is in flight, and nothing that may be claimed was left when it was last looked."""
        self.astray = False
        """A turn was cut off: how far it came, the rows say."""
        self._latches, self._calm = list[Latch](), list[Latch]()  # of all who wait, and of those who wait for rest
        self.shared = False
        """Whether another process committed a moment ago."""
        self._on_ended, self._on_foreign_commit = on_ended, on_foreign_commit
        self.traffic, self.display = Traffic(anybody_listens), Display(file, clock, self.wake)
        self.lookout = lookout
        lookout.wake = self.wake
        self._arrived: list[tuple[Work, Outcome]] = []
        self._ready = True  # something may be claimable
        self._next_due: float | None = 0.0  # 0: to be found out; None: there is nothing
        self._now = self._identity_at = 0.0
        self._until: float | None = None  # when a rate lets more begin
        self._short = False  # something only lacked a capacity when it was last looked
        self._chained = False  # the last turn's transaction set something free, which may do the same

    # -- from any thread --------------------------------------------------------------------------------------------

    def committed(self, tx: Transaction) -> None:
        """Called after each commit of this engine's that was not a turn's; twice, if a Ctrl-C came in between."""
        if tx.requested:
            self.custody.wanted_back = True
            self._heed([task_id for task_id in tx.requested if task_id in self.held])
        if tx.freed:
            self._ready, self._next_due, self.quiet = True, 0.0, False
            self.traffic.submitted()
        if tx.freed or tx.requested:
            self.wake()

    def born(self) -> None:
        """A task is ready. Who does not claim yet will look for all that are."""
        if self.claiming:
            self._ready, self.quiet = True, False
            self.traffic.submitted()
            self.wake()

    def free_at_once(self, name: str, now: float) -> tuple[int, float] | None:
        """(worker, lease end) for a submit that may be born claimed: the engine idles, a thread would take it anyway.

        Not in a stream of submits, where a batch is cheaper for all of them: only the first in a while, or the first
        after somebody waited for a result.
        """
        idle = self.traffic.lone() and self.claiming and not (self.held or self._ready or self.custody.alone)
        worker = self.presence.worker
        if not idle or worker is None or not self.custody.crew.ahead or not self.repertoire.runs(name):
            return None
        if self.file.known.rationed:
            return None  # what it may cost is counted where tasks are claimed
        return worker, now + self.presence.lease

    def adopt(self, birth: Birth) -> bool:
        """Run what was born claimed by this engine. Called again, if a Ctrl-C came. → False if it claims no more."""
        if birth.claimed and not self.claiming:
            return False
        self.quiet = False
        if birth.claimed:
            task_id, work, put = birth.claimed.id, self.repertoire.work(birth.claimed), self.custody.crew.put
            # Python looks for a Ctrl-C after calls: it finds all three done, or none.
            self.held[task_id] = work
            birth.claimed = ()
            put(work)
        self.custody.crew.hand(())  # somebody is there to run it
        return True

    def recall(self) -> None:
        """Take back what was claimed ahead and has not begun."""
        self.custody.wanted_back = True
        self.wake()

    def start(self) -> None:
        """Claim from now on. At least one thread for bodies is made here: late in a program there may be none to be
        had."""
        self.custody.crew.ready()
        self.claiming = True
        self._next_due = 0.0  # a turn may have come before, and fired nothing
        self.look_again()

    def latch(self, *, at_rest: bool = False) -> Latch:
        """One that rings at the end of the next turn, or of the next after which nothing is left to do at once."""
        latch = Latch()
        (self._calm if at_rest else self._latches).append(latch)
        return latch

    @property
    def begun(self) -> bool:
        """Whether all that may begin has: every thread has a body, or nothing waits for one."""
        bodies = self.custody.begun
        return bodies >= self.custody.crew.size or (bodies == len(self.held) and not self._ready)

    def until_next(self) -> float | None:
        """Seconds until time moves a row, as far as is known."""
        return max(0.0, self._next_due - self.clock.now()) if self._next_due else None

    def look_again(self) -> None:
        """There may be something to claim, or to hear of, that nothing else tells of."""
        self._ready, self.quiet = True, False
        self.lookout.at_once()
        self.wake()

    def plan(self, name: str, plan: Plan) -> None:
        """Fire this schedule from now on."""
        self.plans[name] = plan
        self._next_due = 0.0  # a turn may have come since the commit, and knew nothing of it
        self.look_again()

    # -- the turn ---------------------------------------------------------------------------------------------------

    def block(self, wait: float) -> None:
        """Wait for a report, a submit or the time. A report stays in the inbox, for whoever turns next."""
        if wait > 0:
            self.inbox.sleep(wait)

    def turn(self, reports: Sequence[tuple[Work, Outcome]] = ()) -> float:
        """Do all there is to do now. → seconds until there may be more, unless `block` is woken."""
        self._arrived.extend(reports)
        now, real = self.clock.now(), monotonic()
        looks = self.lookout.is_due(real)
        if looks:
            self._look(real)
        if now < self._now:  # the clock was set back
            self._next_due = 0.0
        self._now = now
        idle, served = self._work(now, real) if looks or not self._end_alone(now) else (False, True)
        self.quiet = not (self.held or self._ready or self._arrived or len(self.inbox))
        for latches in (self._latches, self._calm) if self.quiet else (self._latches,):
            for _ in range(len(latches)):  # who comes meanwhile asks first
                latches.pop().open()
        wait = self._wait(not served)
        if self.pruning is None or not self.claiming:
            return wait
        return min(wait, self.pruning.turn(now, idle=idle and wait > 0, quiet=self.quiet and wait > 0))

    def _end_alone(self, now: float) -> bool:
        """Settle the only task in hand by a statement of its own, where that is all that a turn would do. → whether it
        was, and nothing hangs on the task."""
        if len(self._arrived) != 1 or len(self.held) != 1 or self._ready or self._short or self._chained:
            return False
        (work, end), custody = self._arrived[0], self.custody
        if end.verb != "succeed" or work.has_notes or self.display or self.astray or len(self.inbox):
            return False
        for at in self._next_due, self._until, self.presence.renew_at:
            if at is not None and at <= now:
                return False
        if custody.wanted_back or custody.returning or not reports.succeed_alone(self.file, end, now):
            return False
        self._arrived = []
        custody.settle([(work, end)])
        self._on_ended({end.id: end})
        return True

    def _work(self, now: float, real: float) -> tuple[bool, bool]:
        """All that there is to do. → whether that was nothing, and whether it was for this engine."""
        works = self._collect()
        self.custody.take_back(real)
        asked, self._ready = self._ready, False  # before it is looked: what comes from now on is heard
        room, cramped = self._room(len(works))
        renew = bool(self.held) and self.presence.renew_at <= now
        turn = Turn(works, self.custody.returning, room, cramped, now, renew)
        turn.hungry = asked and bool(turn.room or self.held)  # else nobody here knows any name that is queued
        if self.astray and current_task(self.file) is None:  # else a body goes on, and its claim with it
            turn.astray, turn.hungry, self._next_due = True, True, 0.0
        due = self._next_due is not None and self._next_due <= now
        if self._until is not None and self._until <= now:
            turn.hungry, self._until = True, None
        show = bool(self.display) and real >= self.display.due
        if not (works or turn.back or due or turn.renew or show or (turn.room and turn.hungry)):
            self._ready = self._ready or turn.hungry
            return True, False
        turn.next_due, self._next_due = self._next_due, None  # whoever commits from now on sets it again
        try:
            self._commit(turn)
        except BaseException:
            self._ready, self._next_due = True, 0.0
            self.presence.rolled_back()
            raise
        self.presence.committed()
        self._after(turn)
        return False, turn.served

    def _collect(self) -> list[tuple[Work, Outcome]]:
        """The reports that came in, and those of bodies that ran out of time."""
        works = self._arrived  # where they stay until they are settled: nothing that a body returned is lost
        works.extend(self.inbox.take_all())
        works.extend(self.custody.overdue(self.stage.duration()))
        return works

    def _look(self, real: float) -> None:
        """Whether other processes committed or died, and whether the file is still the one at its path."""
        keen = bool(self.held) or self.traffic.awaited  # before: whose end is seen now may wait for the next one's soon
        self.shared = self.custody.pace.shared = self.file.changed()
        if self.shared:
            self._ready, self._next_due = True, 0.0
            self.presence.somebody_came()
            self._on_foreign_commit()
            self._heed(list(self.held))
        if self.claiming and self.presence.sees_a_death(self.file):
            self._next_due = 0.0
        if real >= self._identity_at:
            self.file.check_identity()
            self.presence.hold()
            self._identity_at = real + IDENTITY
        self.lookout.seen(self.shared, real, monotonic() - real, busy=self._busy, keen=keen)

    def _heed(self, tasks: list[int]) -> None:
        """Pass on what somebody asks of tasks that run here. From any thread."""
        for task_id, cancel in self.file.read(workers.asked, tasks) if tasks else ():
            work = self.held.get(task_id)
            if work is not None and cancel:
                work.stop = "cancel"
            self.custody.wanted_back = True

    def _commit(self, turn: Turn) -> None:
        ending = [work for work, _ in turn.works if work.has_notes]
        if not (ending or self.display):
            self._write(turn)
            return
        with self.display.taken(ending) as turn.notes:
            self._write(turn)

    def _write(self, turn: Turn, mended: bool = False) -> None:
        turn.sort(self.errors)
        self.file.line.come_first()
        try:
            try:
                self.file.write(self._step, turn, False)
            except StaleReport:
                self.file.write(self._step, turn, True)
        except OF_A_ROW:
            if mended or not replace_bad_ends(self.file, turn.works, turn.now):
                raise
            self._write(turn, True)

    def _step(self, tx: Transaction, turn: Turn, look_first: bool) -> None:
        """The turn's transaction."""
        tx.of_a_turn, now = True, turn.now
        turn.settle(tx, look_first)
        presence = self.presence
        if turn.astray:
            presence.give_back(tx, now)
        if self.claiming:
            presence.enlist(tx, self.custody.crew, now)
        if turn.renew:
            presence.renew(tx, now)
        is_due = turn.next_due is not None and turn.next_due <= now
        if is_due and self.claiming:
            presence.bury(tx, now)
        turn.taken, turn.more = None, False
        if is_due or tx.timed:  # a retry, or what waited for others, may have a time to come
            turn.let_time_move(tx, self.plans if self.claiming else {})
        turn.freed, turn.ended = tx.freed, tx.ended
        hungry = turn.hungry or tx.freed or (self._short and bool(turn.works or turn.back))
        if turn.room and presence.worker is not None and hungry:
            rooms = [most for _, most, _ in turn.room]
            turn.taken = claims.claim(tx, turn.room, max(rooms), presence.worker, now, now + presence.lease)
            turn.more = turn.more or turn.taken.more or len(turn.taken.tasks) >= min(rooms)
            self.custody.part_suspects(tx, turn)

    def _room(self, settled: int) -> tuple[list[Wanted], bool]:
        """As `custody.room`; nothing while it does not claim."""
        return self.custody.room(settled, self.presence.name) if self.claiming else ([], False)

    def _after(self, turn: Turn) -> None:
        """What follows from the commit. Callbacks of futures run here, outside every lock."""
        self._arrived, self._chained = [], turn.freed
        if turn.astray:
            self.astray = False
            self.held.clear()
        self.custody.settle(turn.works)
        taken = turn.taken
        if taken is not None:
            self._short, self._until = taken.short, taken.until
        if self._until is not None:
            turn.next_due = self._until if turn.next_due is None else min(self._until, turn.next_due)
        if self._next_due is None:
            self._next_due = turn.next_due
        self._ready = self._ready or turn.more or ((turn.hungry or turn.freed) and turn.cramped)
        if turn.renew or not self.held:
            self.presence.renewed(turn.now)
        if taken is not None and taken.tasks:
            works, bad = works_of(self.repertoire, taken.tasks)
            self.custody.begin(works)
            self._arrived.extend(bad)
        if turn.ended:
            self._on_ended(turn.ended)
        if turn.astray:
            self._on_foreign_commit()  # of an end that was settled before, nobody may have heard
        for end in turn.others:
            self.errors.pop(end.id, None)

    @property
    def _busy(self) -> bool:
        """Whether bodies are claimed here, or somebody waits for a result."""
        return bool(self.held or self.traffic.waiting)

    def _wait(self, idle: bool) -> float:
        if self._arrived or len(self.inbox):
            return 0.0
        if self._ready and self._room(0)[0]:
            return 0.0
        now, elapsed, real, times = self.clock.now(), self.stage.duration(), monotonic(), [math.inf]
        if self.display:
            times.append(self.display.due - real)
        if self._next_due is not None:
            times.append(self._next_due - now)
        if self.held:
            times.append(self.presence.renew_at - now)
            times.extend(self.custody.limits(elapsed))
        return self.lookout.wait(min(times), real, busy=self._busy, idle=idle)

    # -- the end ----------------------------------------------------------------------------------------------------

    def ask_to_stop(self) -> None:
        """`check()` raises in every body from now on; what has not begun is taken back at the next turn."""
        self.claiming = False
        for work in list(self.held.values()):
            work.stop = work.stop or "close"
        self.recall()

    def bow_out(self) -> None:
        """The last transaction: settle what has come, give back everything else that this engine holds, sign off."""
        turn = Turn(self._collect(), self.custody.returning, [], False, self.clock.now(), False)
        self._next_due = None
        if turn.works or turn.back:
            self._commit(turn)
            self._after(turn)
        if self.presence.worker is not None:
            self._on_ended(self.file.write(self.presence.sign_off, self.clock.now()))

    def leave(self) -> None:
        """Let the threads go, and give up the proof of life, unless a body that never returned still runs."""
        occupied = self.custody.bodies()
        self.lookout.close()
        if self.custody.crew.stop() and not occupied:
            self.presence.leave()

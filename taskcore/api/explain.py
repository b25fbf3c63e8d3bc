"""Why a task is where it is, in a sentence or two, from what the file says of it and what this process knows."""

from __future__ import annotations

from typing import NamedTuple

from taskcore.api import phrases as say
from taskcore.api.context import Context
from taskcore.core import lifecycle
from taskcore.core.errors import TaskNotFound
from taskcore.core.text import duration, printable, quoted
from taskcore.runtime.custody import ALONE_AFTER
from taskcore.store import diagnosis
from taskcore.store.diagnosis import FEW, MANY, Blocked, Facts, Ration
from taskcore.store.overview import Brief


class Here(NamedTuple):
    """What this process can say of a name and of others."""

    runs: bool = True
    """Whether it has threads for bodies at all."""
    started: bool = True
    registered: bool = True
    elsewhere: bool = False
    """Whether it knows the name as one that is run elsewhere."""
    full: bool = False
    """Whether all its threads have something to do."""
    others: int = 0
    """Other engines that run tasks of this file now."""
    alone: bool = False
    """Whether the task would run alone, having lapsed too often."""
    starting: bool = False
    """Whether its worker processes run it, and none of them is there yet."""
    only: str | None = None
    """Why it has worker processes, and they do not run it."""
    dead: bool = False
    """Whether the process that has the task is gone."""


def look(context: Context, task_id: int) -> tuple[Facts, Here, float]:
    """What there is to know of a task, in the file and here, and when. `TaskNotFound`."""
    scheduler, known, now = context.scheduler, context.file.known, context.now()
    kinds = scheduler.repertoire.all_kinds() or [kind for kind in list(known.kinds.values()) if kind.job is None]
    open_ = [kind.id for kind in kinds if not known.closed(kind)]
    facts = context.read(diagnosis.facts, task_id, now, context.name, open_)
    if facts is None:
        raise TaskNotFound(task_id)
    lanes, own, processes = context.lanes, facts.own, context.processes
    here_only = None if processes is None else processes.here.get(own.name)
    alive = [lane for _, lane in facts.engines if lanes is not None and not lanes.is_dead(lane)]
    here = Here(
        runs=context.workers > 0,
        started=scheduler.claiming,
        registered=own.name in context.definitions,
        elsewhere=own.name in context.elsewhere,
        full=len(scheduler.held) >= context.workers,
        others=len(alive) - (scheduler.presence.worker is not None and scheduler.presence.lane in alive),
        alone=own.lapses >= ALONE_AFTER,
        starting=processes is not None and here_only is None and not processes.ready,
        only=here_only,
        dead=own.phase == lifecycle.RUNNING and own.lane is not None and lanes is not None and lanes.is_dead(own.lane),
    )
    return facts, here, now


def sentence(facts: Facts, here: Here, now: float) -> str:
    """One line, and nothing in it that a terminal obeys."""
    phase = facts.own.phase
    if phase not in lifecycle.PHASES:
        return f"its row is damaged: there is no phase {quoted(phase)}"
    story = _Story(facts, here, now)
    text: str = getattr(story, phase)()
    return text if phase in lifecycle.ENDED else text + story.asked() + story.past()


class _Story:
    """Of one task. The methods that are called like phases say what a task in that phase is about, and of one that has
    not ended, nothing of what happened to it before."""

    def __init__(self, facts: Facts, here: Here, now: float) -> None:
        self.facts = facts
        self.own = facts.own
        self.here = here
        self.now = now

    # -- of any task ------------------------------------------------------------------------------------------------

    def asked(self) -> str:
        """A request to cancel, with its reason if it has one."""
        at = self.own.cancel_requested_at
        return "" if at is None else f"; asked to cancel {say.since(at, self.now)} ago{self.reason()}"

    def reason(self) -> str:
        """Why somebody cancelled it. What went wrong earlier, or what it was skipped for then, is no such reason."""
        text = self.own.last_error
        return "" if not text or text == self.facts.trouble or diagnosis.is_cause(text) else f": {say.text(text)}"

    def past(self) -> str:
        """What went wrong before, unless it was said already."""
        own = self.own
        said = own.phase == lifecycle.SCHEDULED and own.waiting_for == "backoff"
        return "" if said else say.past(self.facts)

    def not_before(self) -> str:
        at = self.own.greenfield
        return "" if at is None or at <= self.now else f"not before {duration(at - self.now)} have passed"

    # -- not begun --------------------------------------------------------------------------------------------------

    def waiting(self) -> str:
        waits, not_before = self.waits(), self.not_before()
        return f"waiting {waits or 'to be released'}" + (f"; and {not_before}" if not_before else "")

    def waits(self) -> str:
        """What a task that is not released waits for."""
        blocked = self.facts.blocked
        reasons = [] if blocked is None else self.reasons(self.own, blocked)
        return ", and ".join([*reasons, *self.gate()])

    def reasons(self, task: Brief, blocked: Blocked) -> list[str]:
        """What it waits for, but for its job."""
        reasons, now = [], self.now
        if blocked.unmet:
            some = []
            for upstream, wants in blocked.some:
                asked = "" if wants == lifecycle.SUCCEEDED else f" (wanted: {quoted(wants)})"
                stuck = ", and only another run can change that" if upstream.finished_at is not None else ""
                some.append(f"#{upstream.id} {say.does(upstream, now)}{asked}{stuck}")
            total = f" of {blocked.edges}"
            if blocked.edges > MANY:
                total = " tasks" if blocked.unmet > MANY else f" of more than {MANY}"
            names = f": {say.listed(some, blocked.unmet)}" if some else ""
            reasons.append(f"for {blocked.unmet}{total}{names}")
        if blocked.first is not None:
            first = blocked.first
            count = f"more than {MANY}" if blocked.between > MANY else f"{blocked.between} more"
            stand = f", with {count} between them" if blocked.between else ""
            queue = f"which is first in {quoted(task.serial or '')} and {say.does(first, now)}"
            reasons.append(f"behind #{first.id}, {queue}{stand}")
        return reasons

    def gate(self) -> list[str]:
        """That it waits for its job, and why the job above has not begun."""
        if self.facts.job is None or self.facts.root is None:
            return []
        job, (root, blocked) = self.facts.job, self.facts.root
        who = f"for its job {say.named(job)} to begin"
        whose = "which" if root.id == job.id else f"which waits for the job {say.named(root)}, which"
        if root.phase == lifecycle.SCHEDULED:
            return [f"{who}, {whose} begins {say.due(root.greenfield, self.now)}"]
        if root.phase == lifecycle.PAUSED:
            return [f"{who}, {whose} is paused"]
        reasons = self.reasons(root, blocked)
        return [f"{who}, {whose} waits {', and '.join(reasons)}" if reasons else who]

    def scheduled(self) -> str:
        own, when = self.own, say.due(self.own.greenfield, self.now)
        if own.waiting_for == "backoff":
            error = "" if self.facts.trouble is None else f": {say.text(self.facts.trouble)}"
            of = "" if own.max_attempts is None else f" of {own.max_attempts}"
            return f"runs again {when}, since it failed ({own.failures}{of}){error}"
        if own.waiting_for == "snooze":
            return f"runs again {when}, since it snoozed itself"
        return f"begins {when}, as was asked for at its submission"

    def paused(self) -> str:
        own, holder = self.own, self.facts.holder
        text = "paused until somebody resumes it"
        if holder is not None:
            text = f"paused with its job {say.named(holder)}, until that is resumed"
        if own.job is not None and own.children:
            text += f"; {say.children(own)}"
        if waits := self.waits():
            text += f"; then waiting {waits}"
        if not_before := self.not_before():
            text += f"; {not_before}"
        return text

    # -- ready ------------------------------------------------------------------------------------------------------

    def ready(self) -> str:
        here, facts, against = self.here, self.facts, self.lacks()
        name = quoted(self.own.name)
        others = "" if not here.others else f" ({say.number(here.others, 'other engine')} may take it)"
        if here.runs and not here.registered and not here.elsewhere:
            against.append(f"nobody here has registered {name}{others}")
        elif here.runs and here.registered and not here.started:
            against.append(f"this engine is not started{others}")
        elif here.runs and here.registered and here.starting:
            against.append(f"no worker process of this engine is there yet{others}")
        elif not here.runs and not here.elsewhere and not here.others:
            against.append("no engine works on this file now")
        elif here.runs and facts.avoids:
            against.append(f"it failed on this worker, which it is to avoid{others}")
        only = "" if here.only is None else f"; only this process runs it: {say.text(here.only)}"
        if against:
            return f"ready, but {', and '.join(against)}{only}"
        text = f"ready: {say.number(facts.before, 'task')} stand{'s' * (facts.before == 1)} before it"
        if not facts.before:
            text = "ready: it is next"
        if here.elsewhere and not here.registered:
            text += f", for whoever claims {name}"
        elif here.runs and here.full:
            text += ", when a thread is free"
        if here.alone:
            text += ", and runs alone"
        return text + only

    def lacks(self) -> list[str]:
        """What the file has against a ready task."""
        facts, name, lacks = self.facts, self.own.name, []
        if facts.hold is not None:
            lacks.append(f"{quoted(name) if facts.hold else 'the whole file'} is on hold by pause()")
        lacks += [_short(ration, name) for ration in facts.rations]
        if facts.turn is not None:
            first, capacity = facts.turn
            lacks.append(f"#{first}, which waits for several of {quoted(capacity)}, comes first")
        if facts.rate is not None:
            n, period, at = facts.rate
            lacks.append(f"{quoted(name)} may start {n} in {duration(period)}: next {say.due(at, self.now)}")
        return lacks

    # -- begun ------------------------------------------------------------------------------------------------------

    def running(self) -> str:
        own, now = self.own, self.now
        label = "" if own.label is None else f" as {quoted(own.label)}"
        text = f"running{label} for {say.since(own.started_at, now)}"
        if own.worker is not None:
            text += f" on {quoted(own.worker)}"
        if own.attempts > 1 or own.max_attempts != 1:
            usual = own.max_attempts is not None and own.attempts == own.failures + 1
            text += f", attempt {own.attempts}" + (f" of {own.max_attempts}" if usual else "")
        if own.step is not None:
            text += f", step {quoted(own.step)}"
        if own.progress is not None:
            text += f", {int(own.progress * 100)} % done"
        if own.message:
            text += f": {say.text(own.message)}"
        if own.lane is None:
            over = own.greenfield is not None and own.greenfield <= now
            text += "; its claim is over" if over else f"; its claim ends {say.due(own.greenfield, now)}"
        if self.here.dead:
            text += "; its process is gone, and the next engine that looks takes it back"
        if own.held:
            text += "; to be paused when it comes back"
        return text

    def suspended(self) -> str:
        own, facts, now = self.own, self.facts, self.now
        if own.job is not None:
            if not own.children:
                return "an open job without children as yet"
            some = [f"#{child.id} {say.does(child, now)}" for child in facts.children]
            names = f": {say.listed(some, own.open)}" if some else ""
            return f"an open job, {say.children(own)}{names}"
        if facts.sleeps:
            some = [f"#{task.id} {say.does(task, now)}" for task in facts.sleeps_for]
            what = "children" if own.waiting_for == "children" else "tasks"
            if what == "children" and facts.sleeps <= own.children:
                count = f"{facts.sleeps if facts.sleeps <= MANY else f'more than {MANY}'} of {own.children} {what}"
            else:
                count = say.number(facts.sleeps, "task")
            text = f"suspended as long as {count} {'has' if facts.sleeps == 1 else 'have'} not ended"
            text += f": {say.listed(some, facts.sleeps)}"
        else:
            text = f"suspended{say.until(own, now)}"
        if own.started_at is not None:
            text += f"; its body began last {say.since(own.started_at, now)} ago"
        if own.held:
            text += "; to be paused when it wakes"
        return text

    # -- ended ------------------------------------------------------------------------------------------------------

    def ended(self) -> str:
        """How it ended, and when."""
        own = self.own
        how = own.phase if own.label is None else f"ended as {quoted(own.label)}, which is {own.phase},"
        return f"{how} {say.since(own.finished_at, self.now)} ago"

    def counts(self) -> str:
        return ", ".join(f"{n} {printable(status, 100)}" for status, n in self.facts.counts)

    def succeeded(self) -> str:
        own, text, counts = self.own, self.ended(), self.counts()
        if own.job is not None:
            return f"{text}: all its children have ended ({counts})" if counts else f"{text}: no children"
        if own.started_at is not None and own.finished_at is not None:
            text += f"; it took {duration(own.finished_at - own.started_at)}"
            if own.first_started_at is not None and own.first_started_at < own.started_at:
                text += f", and {duration(own.finished_at - own.first_started_at)} from its first start"
        return text + self.past()

    def failed(self) -> str:
        own, text = self.own, self.ended()
        error = "" if own.last_error is None else f": {say.text(own.last_error)}"
        if own.job is not None:
            failed = [f"#{child.id}" + _why(child) for child in self.facts.children]
            return text + error + (f"; first of them {failed[0]}" if failed else "")
        text += f" after {say.number(own.attempts, 'attempt')}{error or ', as its body returned'}"
        if own.lapses > own.max_lapses:
            return f"{text}; {own.max_lapses} would have been allowed"
        if own.last_error is not None and own.last_error.startswith("lost: "):
            return text
        left = None if own.max_attempts is None else own.max_attempts - own.failures
        if left is None or left > 0:
            count = "more" if left is None else f"{left} more"
            text += f"; {count} would have been allowed, but not after that"
        return text

    def cancelled(self) -> str:
        own, parent, text, counts = self.own, self.facts.parent, self.ended(), self.counts()
        if own.cancel_requested_at is None:
            text += " by its own body"
        elif parent is not None and parent.phase == lifecycle.CANCELLED:
            if (parent.finished_at or 0) >= (own.finished_at or 0):  # else it had ended before
                text += f" with its parent {say.named(parent)}"
        text += self.reason()
        return f"{text} ({counts})" if counts else text + self.past()

    def skipped(self) -> str:
        own, facts, now = self.own, self.facts, self.now
        ago = say.since(own.finished_at, now)
        if not facts.causes:
            gone = " because of a task that has been deleted since" if own.last_error is not None else ""
            return f"skipped {ago} ago{gone}"
        first, root = facts.causes[0], facts.causes[-1]
        place = ""
        if first.id == own.parent:
            place = ", its job,"
        elif facts.wanted is None and own.serial is not None and first.serial == own.serial:
            place = f", before it in {quoted(own.serial)},"
        if first.finished_at is None:
            return f"skipped {ago} ago because of #{first.id}{place} which {say.does(first, now)} now"
        text = f"skipped because #{first.id}{place} {say.ended(first.label, first.phase)}"
        if facts.wanted not in (None, lifecycle.SUCCEEDED):
            text += f", not {quoted(facts.wanted or '')}"
        if root is not first:
            ended = root.finished_at is not None
            text += f", and that because #{root.id} "
            text += say.ended(root.label, root.phase) if ended else say.does(root, now)
        return text + (_why(root) if root.phase in (lifecycle.FAILED, lifecycle.CANCELLED) else "")


def _short(ration: Ration, name: str) -> str:
    of_the_name = ration.name == f"name:{name}"
    what, there = quoted(name if of_the_name else ration.name), ration.there
    holders = say.listed([f"#{task}" for task in ration.holders[:FEW]], len(ration.holders))
    if there is None:
        return f"nobody names the capacity {what} now"
    if there == 0:
        return f"of {what} none may run: the limit is 0" if of_the_name else f"there is 0 of {what}"
    if of_the_name:
        return f"of {what} only {there} may run at a time: {holders}"
    if ration.need > there:
        return f"it needs {ration.need} of {what}, and there {'is' if there == 1 else 'are'} {there}"
    if ration.need > 1:
        return f"it needs {ration.need} of {what}, which is held by {holders} ({ration.used} of {there})"
    return f"{what} is held by {holders} ({ration.used} of {there})"


def _why(task: Brief) -> str:
    return "" if not task.last_error else f": {say.text(task.last_error)}"

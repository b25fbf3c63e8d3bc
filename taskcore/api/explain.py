"""Why a task is where it is, in a sentence or two, from what the file says of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from taskcore.api import phrases as say
from taskcore.api.outlook import Here
from taskcore.core import lifecycle
from taskcore.core.text import duration, printable, quoted
from taskcore.store import diagnosis
from taskcore.store.diagnosis import FEW, MANY, Blocked, Facts, Ration
from taskcore.store.overview import Brief


def sentence(facts: Facts, here: Here, now: float) -> str:
    """One line, and nothing in it that a terminal obeys."""
    phase = facts.own.phase
    if phase not in _SENTENCES:
        return f"its row is damaged: there is no phase {quoted(phase)}"
    return _SENTENCES[phase](facts, here, now)


# -- not begun -----------------------------------------------------------------------------------------------------


def _reasons(own: Brief, blocked: Blocked, now: float) -> list[str]:
    """What a task that is not released waits for, but for its job."""
    reasons = []
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
        queue = f"which is first in {quoted(own.serial or '')} and {say.does(first, now)}"
        reasons.append(f"behind #{first.id}, {queue}{stand}")
    return reasons


def _gate(facts: Facts, now: float) -> str | None:
    """Why the job above has not begun."""
    if facts.job is None or facts.root is None:
        return None
    job, (root, blocked) = facts.job, facts.root
    who = f"for its job {say.named(job)} to begin"
    whose = "which" if root.id == job.id else f"which waits for the job {say.named(root)}, which"
    if root.phase == lifecycle.SCHEDULED:
        return f"{who}, {whose} begins {say.due(root.greenfield, now)}"
    if root.phase == lifecycle.PAUSED:
        return f"{who}, {whose} is paused"
    reasons = _reasons(root, blocked, now)
    return f"{who}, {whose} waits {', and '.join(reasons)}" if reasons else who


def _waits(facts: Facts, now: float) -> str:
    own, blocked = facts.own, facts.blocked
    reasons = [] if blocked is None else _reasons(own, blocked, now)
    gate = _gate(facts, now)
    return ", and ".join([*reasons, *([] if gate is None else [gate])])


def _waiting(facts: Facts, here: Here, now: float) -> str:
    own, reasons = facts.own, _waits(facts, now)
    text = f"waiting {reasons}" if reasons else "waiting to be released"
    if own.greenfield is not None and own.greenfield > now:
        text += f"; and not before {duration(own.greenfield - now)} have passed"
    return text + say.past(facts) + _asked(facts, now)


def _scheduled(facts: Facts, here: Here, now: float) -> str:
    own = facts.own
    when = say.due(own.greenfield, now)
    if own.waiting_for == "backoff":
        error = "" if facts.trouble is None else f": {say.text(facts.trouble)}"
        of = "" if own.max_attempts is None else f" of {own.max_attempts}"
        return f"runs again {when}, since it failed ({own.failures}{of}){error}"
    if own.waiting_for == "snooze":
        return f"runs again {when}, since it snoozed itself{say.past(facts)}"
    return f"begins {when}, as was asked for at its submission{say.past(facts)}"


def _paused(facts: Facts, here: Here, now: float) -> str:
    own = facts.own
    if facts.holder is not None:
        text = f"paused with its job {say.named(facts.holder)}, until that is resumed"
    else:
        text = "paused until somebody resumes it"
    if own.job is not None and own.children:
        text += f"; {say.children(own)}"
    reasons = _waits(facts, now)
    if reasons:
        text += f"; then waiting {reasons}"
    if own.greenfield is not None and own.greenfield > now:
        text += f"; not before {duration(own.greenfield - now)} have passed"
    return text + say.past(facts) + _asked(facts, now)


# -- ready ---------------------------------------------------------------------------------------------------------


def _ready(facts: Facts, here: Here, now: float) -> str:
    own = facts.own
    against = _lacks(facts, now)
    name = quoted(own.name)
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
        return f"ready, but {', and '.join(against)}{only}{say.past(facts)}"
    text = f"ready: {say.number(facts.before, 'task')} stand{'s' * (facts.before == 1)} before it"
    if not facts.before:
        text = "ready: it is next"
    if here.elsewhere and not here.registered:
        text += f", for whoever claims {name}"
    elif here.runs and here.full:
        text += ", when a thread is free"
    if here.alone:
        text += ", and runs alone"
    return text + only + say.past(facts)


def _lacks(facts: Facts, now: float) -> list[str]:
    """What the file has against a ready task."""
    own, lacks = facts.own, []
    if facts.hold is not None:
        lacks.append(f"{quoted(own.name) if facts.hold else 'the whole file'} is on hold by pause()")
    lacks += [_short(ration, own.name) for ration in facts.rations]
    if facts.turn is not None:
        first, capacity = facts.turn
        lacks.append(f"#{first}, which waits for several of {quoted(capacity)}, comes first")
    if facts.rate is not None:
        n, period, at = facts.rate
        lacks.append(f"{quoted(own.name)} may start {n} in {duration(period)}: next {say.due(at, now)}")
    return lacks


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


# -- begun ---------------------------------------------------------------------------------------------------------


def _asked(facts: Facts, now: float) -> str:
    """A request to cancel, with its reason if it has one."""
    own = facts.own
    if own.cancel_requested_at is None:
        return ""
    reason = _reason(facts)
    return f"; asked to cancel {say.since(own.cancel_requested_at, now)} ago{'' if reason is None else f': {reason}'}"


def _reason(facts: Facts) -> str | None:
    """Why somebody cancelled it. What went wrong earlier, or what it was skipped for then, is no such reason."""
    text = facts.own.last_error
    return None if not text or text == facts.trouble or diagnosis.is_cause(text) else say.text(text)


def _running(facts: Facts, here: Here, now: float) -> str:
    own = facts.own
    text = f"running for {say.since(own.started_at, now)}"
    if own.label is not None:
        text = f"running as {quoted(own.label)} for {say.since(own.started_at, now)}"
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
    if here.dead:
        text += "; its process is gone, and the next engine that looks takes it back"
    if own.held:
        text += "; to be paused when it comes back"
    return text + _asked(facts, now) + say.past(facts)


def _suspended(facts: Facts, here: Here, now: float) -> str:
    own = facts.own
    if own.job is not None:
        if not own.children:
            return "an open job without children as yet" + _asked(facts, now)
        some = [f"#{child.id} {say.does(child, now)}" for child in facts.children]
        names = f": {say.listed(some, own.open)}" if some else ""
        return f"an open job, {say.children(own)}{names}" + _asked(facts, now)
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
    return text + say.past(facts)


# -- ended ---------------------------------------------------------------------------------------------------------


def _as(own: Brief) -> str:
    """How it ended."""
    return own.phase if own.label is None else f"ended as {quoted(own.label)}, which is {own.phase},"


def _counts(facts: Facts) -> str:
    return ", ".join(f"{n} {printable(status, 100)}" for status, n in facts.counts)


def _succeeded(facts: Facts, here: Here, now: float) -> str:
    own = facts.own
    text = f"{_as(own)} {say.since(own.finished_at, now)} ago"
    if own.job is not None:
        return f"{text}: all its children have ended ({_counts(facts)})" if facts.counts else f"{text}: no children"
    if own.started_at is not None and own.finished_at is not None:
        text += f"; it took {duration(own.finished_at - own.started_at)}"
        if own.first_started_at is not None and own.first_started_at < own.started_at:
            text += f", and {duration(own.finished_at - own.first_started_at)} from its first start"
    return text + say.past(facts)


def _failed(facts: Facts, here: Here, now: float) -> str:
    own = facts.own
    text = f"{_as(own)} {say.since(own.finished_at, now)} ago"
    error = "" if own.last_error is None else f": {say.text(own.last_error)}"
    if own.job is not None:
        failed = [f"#{child.id}" + _why(child) for child in facts.children]
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


def _why(task: Brief) -> str:
    return "" if not task.last_error else f": {say.text(task.last_error)}"


def _cancelled_with(own: Brief, parent: Brief) -> bool:
    """Whether the parent was cancelled, and not after its child had ended."""
    return parent.phase == lifecycle.CANCELLED and (parent.finished_at or 0) >= (own.finished_at or 0)


def _cancelled(facts: Facts, here: Here, now: float) -> str:
    own, parent = facts.own, facts.parent
    text = f"{_as(own)} {say.since(own.finished_at, now)} ago"
    if own.cancel_requested_at is None:
        text += " by its own body"
    elif parent is not None and _cancelled_with(own, parent):
        text += f" with its parent {say.named(parent)}"
    reason = _reason(facts)
    text += "" if reason is None else f": {reason}"
    return f"{text} ({_counts(facts)})" if facts.counts else text + say.past(facts)


def _skipped(facts: Facts, here: Here, now: float) -> str:
    own = facts.own
    if not facts.causes:
        if own.last_error is not None:
            return f"skipped {say.since(own.finished_at, now)} ago because of a task that has been deleted since"
        return f"skipped {say.since(own.finished_at, now)} ago"
    first, root = facts.causes[0], facts.causes[-1]
    place = ""
    if first.id == own.parent:
        place = ", its job,"
    elif facts.wanted is None and own.serial is not None and first.serial == own.serial:
        place = f", before it in {quoted(own.serial)},"
    if first.finished_at is None:
        ago = say.since(own.finished_at, now)
        return f"skipped {ago} ago because of #{first.id}{place} which {say.does(first, now)} now"
    text = f"skipped because #{first.id}{place} {say.ended(first.label, first.phase)}"
    if facts.wanted not in (None, lifecycle.SUCCEEDED):
        text += f", not {quoted(facts.wanted or '')}"
    if root is first:
        return text + (_why(first) if first.phase in (lifecycle.FAILED, lifecycle.CANCELLED) else "")
    cause = f"#{root.id} {say.ended(root.label, root.phase) if root.finished_at is not None else say.does(root, now)}"
    why = _why(root) if root.phase in (lifecycle.FAILED, lifecycle.CANCELLED) else ""
    return f"{text}, and that because {cause}{why}"


_SENTENCES: Final[dict[str, Callable[[Facts, Here, float], str]]] = {
    lifecycle.WAITING: _waiting,
    lifecycle.SCHEDULED: _scheduled,
    lifecycle.READY: _ready,
    lifecycle.RUNNING: _running,
    lifecycle.SUSPENDED: _suspended,
    lifecycle.PAUSED: _paused,
    lifecycle.SUCCEEDED: _succeeded,
    lifecycle.FAILED: _failed,
    lifecycle.CANCELLED: _cancelled,
    lifecycle.SKIPPED: _skipped,
}

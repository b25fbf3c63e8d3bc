"""One task, as a notebook shows it: its life as a line, and what is around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from taskcore.api import glance
from taskcore.api.context import Context
from taskcore.api.future import TaskFuture
from taskcore.core import lifecycle
from taskcore.core.model import Attempt, Task, Unreadable, own_key
from taskcore.core.text import duration, percent
from taskcore.store import overview, pictures, queries, rows
from taskcore.store.overview import Brief
from taskcore.view.markup import bar, calm, frame, legend, lines, part, section, sign, spans, status, table, when, words
from taskcore.view.runs import Gap, Run, gaps_of, runs_of

PIECES: Final = 12
"""Of a life, those that are said in words: the first and the last ones."""
MOST: Final = 40
"""Of attempts, steps, lines of a log and upstreams: the newest."""


_ENDS: Final = {
    "succeeded": "succeeded after", "failed": "failed after", "cancelled": "cancelled after",
    "skipped": "skipped after", "running": "running for",
}  # fmt: skip


def line(node: Brief, runs: Sequence[Run], now: float) -> str:
    """The life from its submit on, as a bar and in words. If `now` is endless, so is what goes on."""
    # By both ends: an attempt that took no time comes before what began with its end.
    parts: list[Run | Gap] = sorted([*gaps_of(node, runs, now), *runs], key=lambda its: (its.start, its.end))
    known = [its.end - its.start for its in parts if its.end < math.inf]
    usual = sum(known) / max(1, len(known)) or 1.0
    drawn = []
    for its in parts:
        goes_on = its is parts[-1] and node.finished_at is None
        phase = its.phase if its.phase in lifecycle.PHASES else lifecycle.FAILED
        what = "suspended" if phase == lifecycle.SUSPENDED else "waited"
        if isinstance(its, Run):
            what = "lost its process after" if its.lapsed else _ENDS.get(its.phase, its.phase)
        elif its is parts[-1]:
            phase = node.phase
            what = f"{phase} for" if goes_on else _ENDS.get(phase, phase)
        elif runs and runs[0].number > 1 and its.end == runs[0].start and its.start == node.first_started_at:
            what = "earlier attempts"
        said = what.removesuffix(" for") if its.end == math.inf else f"{what} {duration(its.end - its.start)}"
        drawn.append((phase, usual if its.end == math.inf else its.end - its.start, said, goes_on))
    told = [said for _, _, said, _ in drawn]
    if len(told) > PIECES:
        told = [*told[:2], "…", *told[3 - PIECES :]]
    label = " → ".join(told)
    return f"{spans(drawn, label)}<p>{words(label, 1000)}</p>"


@calm
def future(future: TaskFuture) -> str:
    """A handle: all that there is to know. `TaskNotFound`."""
    context, row = future._context, future.snapshot()
    now, explained = context.now(), future.explain()
    (task,) = glance.told(context, context.look(overview.briefs, [row.id]))
    attempts = context.look(rows.history, row.id, MOST)[-MOST:]
    (runs,) = runs_of([task], context.look(pictures.attempts, [row.id], pictures.EDGES), now)
    all_steps, steps = context.look(overview.steps, row.id, MOST)
    children = context.by_phase(queries.where([("parent", (row.id,))]))
    label = sign(task.phase) if task.status == task.phase else status(task.phase, task.status)
    facts = f"<p>{label} {words(explained, 600)}</p>"
    done = ""
    if children:
        total = sum(children.values())
        ended = total - glance.left_of(children)
        done = section("Children", bar(children) + legend(children), f"{ended:,} of {total:,} ended")
    elif task.progress is not None and task.finished_at is None:
        done = f"{part(task.progress)}<p>{percent(task.progress)} {words(task.doing)}</p>"
    result = f"<p>→ <code>{words(task.result)}</code></p>" if task.result else ""
    told_apart = len(attempts) > 1 or any(attempt.error is not None for attempt in attempts)
    told = task.phase == lifecycle.FAILED or any(attempt.error for attempt in attempts)
    error = f"<p>{words(task.last_error, 600)}</p>" if task.last_error and not told else ""
    own = own_key(task.key, task.job)
    key = f" <small>{words(own, 60)}</small>" if own and own != task.name else ""
    kept = f"the newest {len(steps)} of {all_steps:,}" if all_steps > len(steps) else ""
    log = "\n".join(
        f"{duration(max(0.0, now - at.at)):>7} ago {words(at.level, 12):<8} {lines(at.text, 4000)}"
        for at in future.log()[-MOST:]
    )
    return frame(
        f"<h4>#{task.id} {words(task.args)}{key}</h4>", facts,
        line(task, runs[-MOST:], now), done, result, error,
        section("Waits for", _upstreams(context, task)),
        section("Attempts", table((), [_attempt(attempt, now) for attempt in attempts] if told_apart else ())),
        section("Steps", table((), [
            (words(name, 60), words(glance.value(context.codec, text)), (duration(ended_at - began), "n"))
            for name, text, began, ended_at in steps
        ]), kept),
        section("Log", f"<pre>{log}</pre>" if log else ""),
    )  # fmt: skip


_EDGES: Final = {"unmet": "is to be", "met": "was to be", "doomed": "was to be", "dropped": "no longer has to be"}


def _upstreams(context: Context, task: Brief) -> str:
    found = context.look(overview.upstreams, task.id, MOST)
    return table((), [
        (
            (f"#{up.id}", "n"), words(glance.call(context.codec, up)), status(up.phase, up.status),
            words(f"{_EDGES[verdict]} {wants}", 60),
        )
        for wants, verdict, up in found
        if verdict in _EDGES and (task.finished_at is None or verdict != "met")
    ])  # fmt: skip


def _attempt(attempt: Attempt, now: float) -> tuple[str | tuple[str, str], ...]:
    phase = attempt.outcome if attempt.outcome in lifecycle.PHASES else lifecycle.FAILED
    took = ""
    if attempt.started_at is not None:
        took = duration((now if attempt.finished_at is None else attempt.finished_at) - attempt.started_at)
    error = words(attempt.error or "")
    if attempt.traceback:
        error = f"<details><summary>{error}</summary><pre>{lines(attempt.traceback)}</pre></details>"
    return (
        (str(attempt.number), "n"), status(phase, attempt.outcome), (took, "n"), (when(attempt.started_at, now), "t"),
        words(attempt.worker or "", 60), error,
    )  # fmt: skip


@calm
def task(task: Task) -> str:
    """A row alone, as it was read: it knows nothing of its file, nor how long ago that was."""
    called = f"{task.name}({glance.called(task.args, task.kwargs)})"
    node = Brief(
        task.id, task.name, task.phase, task.status, task.parent_id, None, task.worker, task.attempts,
        task.submitted_at, task.first_started_at, task.started_at, task.finished_at,
    )  # fmt: skip
    (runs,) = runs_of([node], (), math.inf)
    facts = {
        "key": own_key(task.key), "worker": task.worker, "waits for": task.waiting_for, "step": task.step,
        "message": task.message, "error": task.last_error, "tags": ", ".join(task.tags[:20]) or None,
        "failures": f"{task.failures} of {task.max_attempts or 'any number'}" if task.failures else None,
        "lapses": task.lapses or None, "result": None if task.result is None else _result(task.result),
    }  # fmt: skip
    return frame(
        f"<h4>#{task.id} {words(called)}</h4><p>{status(task.phase, task.status)}</p>",
        line(node, runs, math.inf), part(task.progress) if task.finished_at is None else "",
        table((), [(name, words(said, 600)) for name, said in facts.items() if said is not None]),
    )  # fmt: skip


def _result(result: object) -> str:
    return f"cannot be read ({result.reason})" if isinstance(result, Unreadable) else glance.shown(result)

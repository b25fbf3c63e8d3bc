"""One task, as a notebook shows it: its life as a line, and what is around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from taskcore.api import glance
from taskcore.api.context import Context
from taskcore.api.future import TaskFuture
from taskcore.core import lifecycle
from taskcore.core.model import Attempt, Task, Unreadable, own_key
from taskcore.core.text import duration, percent
from taskcore.store import overview, queries, rows
from taskcore.store.overview import Brief
from taskcore.view.escaped import lines, words
from taskcore.view.markup import bar, frame, legend, part, section, sign, spans, status, table, when

PIECES: Final = 12
"""Of a life, those that are said in words: the first and the last ones."""
MOST: Final = 40
"""Of attempts, steps, lines of a log and upstreams: the newest."""


class Piece(NamedTuple):
    """A stretch of a life."""

    phase: str
    """By whose colour it is drawn."""
    what: str
    """The words before how long it took."""
    began: float
    ended: float | None
    """`None`: it goes on."""


_ENDS: Final = {
    "succeeded": "succeeded after", "failed": "failed after", "cancelled": "cancelled after",
    "lapsed": "lost its process after", "skipped": "skipped after", "running": "running for",
}  # fmt: skip


def pieces(task: Brief | Task, first_started_at: float | None, attempts: Sequence[Attempt]) -> list[Piece]:
    """The life from its submit on, as far as rows tell: waits, and attempts with how they ended."""
    found, at = list[Piece](), task.submitted_at
    for attempt in attempts:
        if attempt.started_at is None:
            continue
        if attempt.started_at > at:
            found.append(Piece(lifecycle.WAITING, "waited", at, attempt.started_at))
        phase = attempt.outcome if attempt.outcome in lifecycle.PHASES else lifecycle.FAILED
        what = _ENDS.get(attempt.outcome, attempt.outcome)
        found.append(Piece(phase, what, attempt.started_at, attempt.finished_at))
        at = attempt.started_at if attempt.finished_at is None else attempt.finished_at
    if not found and first_started_at is not None:  # what is suspended has given its attempt back
        found.append(Piece(lifecycle.WAITING, "waited", at, first_started_at))
        at = first_started_at
    if task.finished_at is not None and (task.finished_at > at or not found):
        found.append(Piece(task.phase, _ENDS.get(task.phase, task.phase), at, task.finished_at))
    elif task.finished_at is None and not (found and found[-1].ended is None):
        found.append(Piece(task.phase, f"{task.phase} for", at, None))
    return found


def line(found: Sequence[Piece], now: float | None) -> str:
    """The life as a bar and in words. Without a `now` it is open how long the last piece is."""
    known = [piece.ended - piece.began for piece in found if piece.ended is not None]
    usual = sum(known) / max(1, len(known)) or 1.0
    drawn = []
    for piece in found:
        end = now if piece.ended is None else piece.ended
        length = usual if end is None else max(0.0, end - piece.began)
        said = piece.what.removesuffix(" for") if end is None else f"{piece.what} {duration(length)}"
        drawn.append((piece.phase, length, said, piece.ended is None))
    told = [said for _, _, said, _ in drawn]
    if len(told) > PIECES:
        told = [*told[:2], "…", *told[3 - PIECES :]]
    label = " → ".join(told)
    return f"{spans(drawn, label)}<p>{words(label, 1000)}</p>"


def of_a_task(future: TaskFuture) -> str:
    """A handle: all that there is to know. `TaskNotFound`."""
    context, row = future._context, future.snapshot()
    now, explained = context.now(), future.explain()
    (task,) = glance.told(context, context.look(overview.briefs, [row.id]))
    attempts = context.look(rows.history, row.id, MOST)[-MOST:]
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
    told = task.phase == lifecycle.FAILED or any(attempt.error for attempt in attempts)
    error = f"<p>{words(task.last_error, 600)}</p>" if task.last_error and not told else ""
    own = own_key(task.key)
    key = f" <small>{words(own, 60)}</small>" if own and own != task.name else ""
    kept = f"the newest {len(steps)} of {all_steps:,}" if all_steps > len(steps) else ""
    log = "\n".join(
        f"{duration(max(0.0, now - at.at)):>7} ago {words(at.level, 12):<8} {lines(at.text, 4000)}"
        for at in future.log()[-MOST:]
    )
    return frame(
        f"<h4>#{task.id} {words(task.args)}{key}</h4>", facts,
        line(pieces(task, row.first_started_at, attempts), now), done, result, error,
        section("Waits for", _upstreams(context, task)),
        section("Attempts", _attempts(attempts, now)),
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


def _attempts(attempts: Sequence[Attempt], now: float) -> str:
    if len(attempts) < 2 and all(attempt.error is None for attempt in attempts):
        return ""
    return table((), [_attempt(attempt, now) for attempt in attempts])


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


def of_a_row(task: Task) -> str:
    """A row alone, as it was read: it knows nothing of its file, nor how long ago that was."""
    called = f"{task.name}({glance.called(task.args, task.kwargs)})"
    found = []
    if task.first_started_at is not None and task.started_at is not None and task.started_at > task.first_started_at:
        found = [Attempt(1, None, task.first_started_at, task.started_at, "earlier attempts", None, None)]
    if task.started_at is not None and task.phase in (lifecycle.RUNNING, *lifecycle.ENDED):
        outcome = task.phase if task.finished_at is not None else "running"
        found.append(Attempt(task.attempts, task.worker, task.started_at, task.finished_at, outcome, None, None))
    facts = {
        "key": own_key(task.key), "worker": task.worker, "waits for": task.waiting_for, "step": task.step,
        "message": task.message, "error": task.last_error, "tags": ", ".join(task.tags[:20]) or None,
        "failures": f"{task.failures} of {task.max_attempts or 'any number'}" if task.failures else None,
        "lapses": task.lapses or None, "result": None if task.result is None else _result(task.result),
    }  # fmt: skip
    return frame(
        f"<h4>#{task.id} {words(called)}</h4><p>{status(task.phase, task.status)}</p>",
        line(pieces(task, task.first_started_at, found), None), part(task.progress) if task.finished_at is None else "",
        table((), [(name, words(said, 600)) for name, said in facts.items() if said is not None]),
    )  # fmt: skip


def _result(result: object) -> str:
    return f"cannot be read ({result.reason})" if isinstance(result, Unreadable) else glance.shown(result)

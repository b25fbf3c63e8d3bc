"""What a notebook shows of an engine, a selection, a pipeline, schedules, and of progress. Nothing here raises: what
cannot be read says so in a line."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from taskcore.api import glance
from taskcore.api.context import context_of
from taskcore.api.pipeline import Pipeline
from taskcore.api.progress import Progress
from taskcore.api.schedules import Schedule, Schedules
from taskcore.api.selection import Selection
from taskcore.core import lifecycle
from taskcore.core.model import own_key
from taskcore.core.text import duration, number, percent, rate
from taskcore.store import overview, queries, schedules
from taskcore.store.overview import Brief
from taskcore.view.markup import bar, box, calm, frame, legend, part, section, sign, status, table, when, words

if TYPE_CHECKING:
    from taskcore.api.engine import Engine

ROWS: Final = 200
"""Tasks, subjects or schedules of one table."""
NAMES: Final = 25
FEW: Final = 8
"""Of what runs now, or failed last."""


# -- an engine ------------------------------------------------------------------------------------------------------


@calm
def engine(engine: Engine) -> str:
    context, health = context_of(engine), str(engine.health)
    names = sorted(glance.names_of(context), key=lambda each: (-each.left, -each.total, each.name))
    now, counts = context.now(), glance.summed(names)
    running = glance.told(context, context.look(overview.newest, queries.RUNNING, FEW))
    failed = glance.told(context, context.look(overview.last_failed, FEW))
    total = sum(counts.values())
    left, last = glance.left_of(counts), glance.longest(names)
    speed, until = _rate(sum(each.rate for each in names)), f"{duration(last)} left" if last else ""
    head = [f"<b>{number(total)}</b>", f"{left:,} to do" if left else "", speed, until]
    trouble = "" if health == "ok" else f"<p>{sign('failed')}{words(health, 400)}</p>"
    shown = names[:NAMES]
    more = f"and {len(names) - NAMES:,} more" if len(names) > NAMES else ""
    return frame(
        f"<h4>{words(context.path, 120)}</h4><p>{' · '.join(filter(None, head))}</p>{trouble}",
        bar(counts) + legend(counts) if total else "<p class=dim>There are no tasks yet.</p>",
        section("By name", table(_NAMES, [_name(each) for each in shown]), more),
        section("Running now", table((), [_running(row, now) for row in running])),
        section("Failed last", table((), [_failed(row, now) for row in failed])),
    )


_NUMBERS: Final = ("done", "failed", "running", "a second", "time left")
_NAMES: Final[tuple[Any, ...]] = ("name", ("", "w"), *((said, "n") for said in _NUMBERS))


def _name(each: glance.Name) -> tuple[Any, ...]:
    failed, running = each.phases[lifecycle.FAILED], each.phases[lifecycle.RUNNING]
    return (
        words(each.name, 60), (bar(each.counts), "w"), (f"{each.total - each.left:,} of {each.total:,}", "n"),
        (f"{sign('failed')}{failed:,}" if failed else "", "n"), (f"{running:,}" if running else "", "n"),
        (_rate(each.rate, ""), "n"), (duration(each.seconds_left) if each.seconds_left else "", "n"),
    )  # fmt: skip


def _rate(ends: float, unit: str = " a second") -> str:
    return f"{rate(ends)}{unit}" if ends else ""


def _running(row: Brief, now: float) -> tuple[Any, ...]:
    done = "" if row.progress is None else percent(row.progress)
    since = "" if row.started_at is None else f"for {duration(now - row.started_at)}"
    return (
        (f"#{row.id}", "n"), words(row.args), status(row.phase, row.status), (part(row.progress), "w"), (done, "n"),
        words(row.doing, 400), since,
    )  # fmt: skip


def _failed(row: Brief, now: float) -> tuple[Any, ...]:
    tries = "" if row.attempts < 2 else f"in {row.attempts} attempts"
    return (
        (f"#{row.id}", "n"), words(row.args), status(row.phase, row.status), words(row.last_error or ""), tries,
        (when(row.finished_at, now), "t"),
    )  # fmt: skip


# -- tasks ----------------------------------------------------------------------------------------------------------


@calm
def selection(selection: Selection) -> str:
    context = selection._context
    counts, now = context.by_phase(selection._where), context.now()
    rows = glance.told(context, context.look(overview.newest, selection._where, ROWS))
    total = sum(counts.values())
    note = f"the newest {len(rows)} of {total:,}" if total > len(rows) else ""
    head = ("#", "task", "key", "status", ("", "w"), "submitted", ("took", "n"), "what it says")
    body = table(head, [_task(row, now) for row in rows], sorts=True)
    return frame(
        f"<h4>{number(total)}</h4>",
        bar(counts) + legend(counts) if total else "",
        f"<small>{note}</small>" if note else "",
        f'<div class="scroll">{body}</div>' if rows else "",
    )


def _task(row: Brief, now: float) -> tuple[Any, ...]:
    done = part(row.progress) if row.finished_at is None else ""
    end = now if row.finished_at is None else row.finished_at
    began = row.started_at if row.job is None else row.submitted_at
    took = None if began is None or row.phase not in (lifecycle.RUNNING, *lifecycle.ENDED) else end - began
    told = row.last_error or (row.result if row.phase == lifecycle.SUCCEEDED else None) or row.doing
    return (
        (f"{row.id}", "n", row.id), words(row.args), words(own_key(row.key, row.job) or "", 60),
        status(row.phase, row.status),
        (done, "w", row.progress), (when(row.submitted_at, now), "t", row.submitted_at),
        ("" if took is None else duration(took), "n", took), words(told),
    )  # fmt: skip


# -- pipelines, schedules, progress ---------------------------------------------------------------------------------


@calm
def pipeline(pipeline: Pipeline) -> str:
    context, steps = pipeline._context, list(pipeline._tasks)
    total, subjects = context.look(overview.subjects, pipeline.name, steps, ROWS)
    by_name = context.by_name(queries.ALL)
    counts = [by_name.get(f"{pipeline.name}.{step}", {}) for step in steps]
    whole = sum(map(Counter, counts), Counter[tuple[str, str]]())
    note = f"<small>the newest {len(subjects)} of {total:,}</small>" if total > len(subjects) else ""
    rows: list[list[Any]] = [
        [words(subject, 60), *(_cell(its.get(step)) for step in steps), (f"#{job}", "n dim")]
        for subject, job, its in subjects
    ]
    sums: list[Any] = ["", *(bar(of_it) if of_it else "" for of_it in counts), ""]
    body = table(("subject", *(words(step, 40) for step in steps), ("job", "n")), [sums, *rows], kind="grid")
    return frame(
        f"<h4>{words(pipeline.name, 80)}</h4><p>{number(total, 'subject')}, {number(len(steps), 'step')}</p>",
        legend(whole) if whole else "", note,
        f'<div class="scroll">{body}</div>' if steps else "",
    )  # fmt: skip


def _cell(found: tuple[int, str, str] | None) -> str:
    if found is None:
        return ""
    task_id, phase, label = found
    return box(phase, label, f"#{task_id}")


@calm
def schedule(thing: Schedule | Schedules) -> str:
    context, one = thing._context, isinstance(thing, Schedule)
    names = [thing.name] if isinstance(thing, Schedule) else context.look(schedules.names)
    found = [context.look(schedules.one, name) for name in names[:ROWS]]
    total, now = len(names), context.now()
    body: list[list[Any]] = [
        [
            words(row.name, 60),
            f"every {duration(row.every)}" if row.every is not None else words(f"{row.cron} ({row.tz or 'UTC'})", 80),
            when(row.next_at, now) if row.enabled else f"{sign('paused')}disabled", when(row.last_at, now),
        ]
        for row in found if row is not None
    ]  # fmt: skip
    note = f"<small>the first {ROWS}</small>" if total > ROWS else ""
    head = "" if one else f"<h4>{number(total, 'schedule')}</h4>{note}"
    return frame(head, table(("schedule", "when", "next", "last"), body))


def progress(progress: Progress, how: str) -> str:
    """The bar that `run()` and `watch()` draw again and again; `how` it ended, in the end, if not well."""
    shown = str(progress).split("  ")
    pieces = [words(piece) for piece in shown if not set(piece) <= {"#", "."}]
    pieces += [f"<b>{words(how)}</b>"] if how else []
    failed = min(progress.failed, progress.done)
    whole = part(progress.part) if progress.total else ""
    if progress.total > 1 and not progress.doing:
        left = progress.total - progress.done
        busy = min(left, sum(progress.running.values()))
        whole = bar({
            ("succeeded", "ended"): progress.done - failed, ("failed", "failed"): failed,
            ("running", "running"): busy, ("waiting", "to do"): left - busy,
        })  # fmt: skip
    return frame(f"<p>{' · '.join(pieces)}</p>", whole)

"""What a notebook shows of an engine, a selection, a pipeline, schedules, and of progress. Nothing here raises: what
cannot be read says so in a line."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from taskcore.api import glance
from taskcore.api.future import TaskFuture
from taskcore.api.pipeline import Pipeline
from taskcore.api.progress import Progress
from taskcore.api.schedules import Schedule, Schedules
from taskcore.api.selection import Selection
from taskcore.core import lifecycle
from taskcore.core.model import Task, own_key
from taskcore.core.text import duration
from taskcore.store.overview import Brief
from taskcore.view import life
from taskcore.view.markup import bar, box, frame, legend, number, part, section, sign, spans, status, table, text, when

if TYPE_CHECKING:
    from taskcore.api.engine import Engine

T = TypeVar("T")

ROWS: Final = 200
"""Tasks, subjects or schedules of one table."""
NAMES: Final = 25
FEW: Final = 8
"""Of what runs now, or failed last."""


def _calm(draw: Callable[[T], str]) -> Callable[[T], str]:
    """The same; and where anything is wrong, a line that says what."""

    @functools.wraps(draw)
    def drawn(thing: T) -> str:
        try:
            return draw(thing)
        except Exception as error:
            return frame(f"<p>{text(_plain(thing))}</p><p>It cannot be shown now: {text(_plain(error), 400)}</p>")

    return drawn


def _plain(thing: object) -> str:
    try:
        return f"{type(thing).__name__}: {thing}" if isinstance(thing, Exception) else repr(thing)
    except Exception:
        return f"a {type(thing).__name__}"


# -- an engine ------------------------------------------------------------------------------------------------------


@_calm
def engine(engine: Engine) -> str:
    its = glance.whole(engine, FEW)
    counts, names = its.counts, its.names
    total = sum(counts.values())
    left = sum(each.left for each in names)
    last = max(names, key=lambda each: each.left / each.rate if each.rate else 0.0, default=glance.Name(""))
    speed = _rate(sum(each.rate for each in names))
    head = [f"<b>{number(total)}</b>", f"{left:,} to do" if left else "", speed, _left(last.left, last.rate)]
    health = "" if its.health == "ok" else f"<p>{sign('failed')}{text(its.health, 400)}</p>"
    shown = names[:NAMES]
    more = f"and {len(names) - NAMES:,} more" if len(names) > NAMES else ""
    return frame(
        f"<h4>{text(its.path, 120)}</h4><p>{' · '.join(filter(None, head))}</p>{health}",
        bar(counts) + legend(counts) if total else "<p class=dim>There are no tasks yet.</p>",
        section("By name", table(_NAMES, map(_name, shown)) if shown else "", more),
        section("Running now", table((), [_running(row, its.now) for row in its.running]) if its.running else ""),
        section("Failed last", table((), [_failed(row, its.now) for row in its.failed]) if its.failed else ""),
    )


_NUMBERS: Final = ("done", "failed", "running", "a second", "time left")
_NAMES: Final[tuple[Any, ...]] = ("name", ("", "w"), *((said, "n") for said in _NUMBERS))


def _name(each: glance.Name) -> tuple[Any, ...]:
    failed, running = each.of(lifecycle.FAILED), each.of(lifecycle.RUNNING)
    return (
        text(each.name, 60), (bar(each.counts), "w"), (f"{each.total - each.left:,} of {each.total:,}", "n"),
        (f"{sign('failed')}{failed:,}" if failed else "", "n"), (f"{running:,}" if running else "", "n"),
        (_rate(each.rate, ""), "n"), (_left(each.left, each.rate).removesuffix(" left"), "n"),
    )  # fmt: skip


def _rate(rate: float, unit: str = " a second") -> str:
    return "" if not rate else f"{rate:,.0f}{unit}" if rate >= 9.5 else f"{rate:.2g}{unit}"


def _left(left: int, rate: float) -> str:
    return f"{duration(left / rate)} left" if left and rate else ""


def _running(row: Brief, now: float) -> tuple[Any, ...]:
    done = "" if row.progress is None else part(row.progress, f"{int(100 * row.progress)} %")
    percent = "" if row.progress is None else f"{int(100 * row.progress)} %"
    said = ": ".join(text(piece) for piece in (row.step, row.message) if piece)
    since = "" if row.started_at is None else f"for {duration(now - row.started_at)}"
    return (f"#{row.id}", "n"), text(row.args), status(row.phase, row.status), (done, "w"), (percent, "n"), said, since


def _failed(row: Brief, now: float) -> tuple[Any, ...]:
    tries = "" if row.attempts < 2 else f"in {row.attempts} attempts"
    return (
        (f"#{row.id}", "n"), text(row.args), status(row.phase, row.status), text(row.last_error or ""), tries,
        (when(row.finished_at, now), "t"),
    )  # fmt: skip


# -- tasks ----------------------------------------------------------------------------------------------------------


@_calm
def selection(selection: Selection) -> str:
    counts, rows, now = glance.some(selection, ROWS)
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
    progress = row.progress if row.job is None or not row.children else (row.children - row.open) / row.children
    done = "" if progress is None or row.finished_at is not None else part(progress, f"{int(100 * progress)} %")
    end = now if row.finished_at is None else row.finished_at
    began = row.started_at if row.job is None else row.submitted_at
    took = None if began is None or row.phase not in (lifecycle.RUNNING, *lifecycle.ENDED) else end - began
    doing = ": ".join(piece for piece in (row.step, row.message) if piece)
    told = row.last_error or (row.result if row.phase == lifecycle.SUCCEEDED else None) or doing or ""
    return (
        (f"{row.id}", "n", row.id), text(row.args), text(own_key(row.key) or "", 60), status(row.phase, row.status),
        (done, "w", progress), (when(row.submitted_at, now), "t", row.submitted_at),
        ("" if took is None else duration(took), "n", took), text(told),
    )  # fmt: skip


@_calm
def task(task: Task) -> str:
    return life.of_a_row(task)


@_calm
def future(future: TaskFuture) -> str:
    return life.of_a_task(glance.one(future, 40))


# -- pipelines, schedules, progress ---------------------------------------------------------------------------------


@_calm
def pipeline(pipeline: Pipeline) -> str:
    total, steps, subjects, counts = glance.subjects(pipeline, ROWS)
    note = f"<small>the newest {len(subjects)} of {total:,}</small>" if total > len(subjects) else ""
    rows: list[list[Any]] = [
        [text(subject, 60), *(_cell(its.get(step)) for step in steps), (f"#{job}", "n dim")]
        for subject, job, its in subjects
    ]
    sums: list[Any] = ["", *(bar(counts[step].counts) if counts[step].counts else "" for step in steps), ""]
    body = table(("subject", *(text(step, 40) for step in steps), ("job", "n")), [sums, *rows], kind="grid")
    keys = {key: n for step in steps for key, n in counts[step].counts.items()}
    return frame(
        f"<h4>{text(pipeline.name, 80)}</h4><p>{number(total, 'subject')}, {number(len(steps), 'step')}</p>",
        legend(_summed([counts[step].counts for step in steps])) if keys else "", note,
        f'<div class="scroll">{body}</div>' if steps else "",
    )  # fmt: skip


def _summed(several: list[glance.Counts]) -> glance.Counts:
    total = glance.Counts()
    for counts in several:
        for key, n in counts.items():
            total[key] = total.get(key, 0) + n
    return total


def _cell(found: tuple[int, str, str] | None) -> str:
    if found is None:
        return ""
    task_id, phase, label = found
    return box(phase, label, f"#{task_id}")


@_calm
def schedule(thing: Schedule | Schedules) -> str:
    one = [thing.name] if isinstance(thing, Schedule) else None
    total, rows, now = glance.schedules(thing._context, ROWS, one)
    body: list[list[Any]] = [
        [
            text(row.name, 60),
            f"every {duration(row.every)}" if row.every is not None else text(f"{row.cron} ({row.tz or 'UTC'})", 80),
            when(row.next_at, now) if row.enabled else f"{sign('paused')}disabled", when(row.last_at, now),
        ]
        for row in rows
    ]  # fmt: skip
    note = f"<small>the first {len(rows)}</small>" if total > len(rows) else ""
    head = f"<h4>{number(total, 'schedule')}</h4>{note}" if one is None else ""
    return frame(head, table(("schedule", "when", "next", "last"), body) if rows else "")


def progress(progress: Progress, how: str) -> str:
    """The bar that `run()` and `watch()` draw again and again; `how` it ended, in the end, if not well."""
    shown = str(progress).split("  ")
    pieces = [text(piece) for piece in shown if not set(piece) <= {"#", "."}] + ([f"<b>{text(how)}</b>"] if how else [])
    done = progress.part if progress.total else None
    failed = min(progress.failed, progress.done)
    whole = "" if done is None else part(done, f"{int(100 * done)} %")
    if progress.total > 1 and not progress.doing:
        left = progress.total - progress.done
        busy = min(left, sum(progress.running.values()))
        shares = [
            ("succeeded", progress.done - failed, "ended"), ("failed", failed, "failed"), ("running", busy, "running"),
            ("waiting", left - busy, "to do"),
        ]  # fmt: skip
        whole = spans(
            [(phase, n, f"{n:,} {what}", phase == "waiting") for phase, n, what in shares if n],
            f"{progress.done:,} of {progress.total:,}",
        )
    return frame(f"<p>{' · '.join(pieces)}</p>", whole)

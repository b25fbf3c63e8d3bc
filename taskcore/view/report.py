"""`engine.report(…)`: one page to be kept or mailed. It needs no script, no other file and no network."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from taskcore.api.pictures import Subject, subject
from taskcore.core import lifecycle
from taskcore.core.text import counted, duration, moment, number
from taskcore.core.version import VERSION
from taskcore.store import pictures
from taskcore.store.pictures import Failure, Tally
from taskcore.view.colours import COLOURS, css
from taskcore.view.graph import Graph
from taskcore.view.markup import STYLE, Cell, Counts, bar, legend, lines, table, words
from taskcore.view.saving import save
from taskcore.view.svg import FONT
from taskcore.view.timeline import Timeline

NAMES: Final = 100
FAILURES: Final = 50
"""Rows of each table: the most frequent."""

_STYLE: Final = f"""
body{{margin:0;background:var(--tc-paper)}}
main.taskcore{{max-width:1340px;margin:0 auto;padding:24px 20px 60px;font:15px/1.45 {FONT}}}
h1{{font-size:26px;margin:0 0 4px;overflow-wrap:anywhere}}h2{{font-size:18px;margin:36px 0 10px}}
.taskcore table{{font-size:15px;width:100%}}.taskcore td.w .bar{{width:220px}}.wide,.picture{{overflow-x:auto}}
details{{border:1px solid var(--tc-line);border-left:4px solid var(--tc-failed);border-radius:5px;margin:8px 0}}
summary{{padding:8px 12px;overflow-wrap:anywhere}}summary:focus-visible{{outline:2px solid var(--tc-accent)}}
.taskcore pre{{margin:0;padding:12px;max-height:none}}.picture svg{{min-width:680px}}
"""


def write(engine: Any, path: str | os.PathLike[str], tasks: Any = None) -> None:
    """Write it to the path, whose name ends in `.html`, as a whole or not at all. `tasks`: as `api.pictures.subject`
    has it. `ValueError` for another ending, before anything is read; `OSError` where it cannot be written."""
    save(path, {(".html", ".htm"): lambda: page(subject(engine, tasks))})


def page(of: Subject) -> str:
    """The whole of it."""
    tallies = of.context.look(pictures.tallies, of.chosen._where)
    phases: Counter[str] = Counter()
    for tally in tallies:
        phases[tally.phase] += tally.n
    name = os.path.basename(of.context.path)
    title = of.title or name
    total = phases.total()
    ended = sum(phases[phase] for phase in lifecycle.ENDED)
    said, now = f"{number(total)}, {ended:,} ended", moment(of.context.now())
    parts = [
        f"<h1>{words(title)}</h1>",
        f'<p class="dim">{said}. Written {now} from {words(name)} by taskcore {words(VERSION)}.</p>',
        bar(_counts(phases)) + legend(_counts(phases)) if total else "<p>There are no tasks.</p>",
        "<h2>By name</h2>", _names(tallies),
        *_failures(of.failures(FAILURES), phases[lifecycle.FAILED]),
        "<h2>What depends on what</h2>", f'<div class="picture">{Graph(of).to_svg()}</div>',
        "<h2>What ran when</h2>", f'<div class="picture">{Timeline(of).to_svg()}</div>',
    ]  # fmt: skip
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{words(title)}: {said}</title><style>{css(':root')}{STYLE}{_STYLE}</style></head>\n"
        f'<body><main class="taskcore">{"".join(parts)}</main></body></html>\n'
    )


def _counts(phases: Mapping[str, int]) -> Counts:
    """Labels are not told apart here: each phase is its own."""
    return {(phase, phase): n for phase, n in phases.items()}


def _names(tallies: list[Tally]) -> str:
    by_name: dict[str | None, dict[str, Tally]] = {}
    for tally in tallies:
        by_name.setdefault(tally.name, {})[tally.phase] = tally
    often = sorted(by_name.items(), key=lambda item: (-sum(tally.n for tally in item[1].values()), item[0] or ""))
    rows = list[Sequence[Cell]]()
    for name, by_phase in often[:NAMES]:
        counts = {phase: by_phase[phase].n for phase in COLOURS if phase in by_phase}
        succeeded = by_phase.get(lifecycle.SUCCEEDED)
        took = duration(succeeded.seconds / succeeded.n) if succeeded is not None and name is not None else ""
        rows.append((
            "<em>jobs</em>" if name is None else words(name), (f"{sum(counts.values()):,}", "n"),
            (bar(_counts(counts)), "w"), counted(counts), (took, "n"),
        ))  # fmt: skip
    more = f'<p class="dim">and {len(often) - NAMES:,} more names</p>' if len(often) > NAMES else ""
    head = ("name", ("tasks", "n"), ("", "w"), "of them", ("success takes", "n"))
    return f'<div class="wide">{table(head, rows)}</div>{more}'


def _failures(ways: list[tuple[Failure, str | None]], total: int) -> list[str]:
    if not ways:
        return []
    parts = [f"<h2>{total:,} failed</h2>"]
    for failure, traceback in ways:
        often = f"{failure.n:,} × " if failure.n > 1 else ""
        head = f"{often}<strong>{words(failure.name, 100)}</strong>: {words(failure.error or 'no reason said', 400)}"
        which = f' <span class="dim">{"newest " if failure.n > 1 else ""}#{failure.newest}</span>'
        more = lines(traceback or failure.error or "")
        parts.append(f"<details><summary>{head}{which}</summary><pre>{more}</pre></details>")
    told = sum(failure.n for failure, _ in ways)
    if told < total:
        parts.append(f'<p class="dim">and {total - told:,} more, in other ways</p>')
    return parts

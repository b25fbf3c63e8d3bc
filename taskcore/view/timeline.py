"""`engine.timeline(…)`: what ran when, by worker, as SVG."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, Final

from taskcore.api.pictures import Subject, subject
from taskcore.core.text import counted, duration, moment, number, printable
from taskcore.store import pictures
from taskcore.view import saving
from taskcore.view.colours import COLOURS, SIGNS
from taskcore.view.markup import words
from taskcore.view.runs import Gap, Run, critical_path, gaps_of, packed, runs_of
from taskcore.view.scale import Scale
from taskcore.view.svg import document, fitting, legend, paint, rect, samples, text

ROWS: Final = 60
"""Up to so many tasks have a row each; of more, the runs share lanes."""
LANES: Final = 48
BARS: Final = 1500
"""Up to so many lanes and runs are drawn one by one; of more, how many ran at a time."""
WORKERS: Final = 16
"""Workers that have a strip of their own: those that ran most."""
BINS: Final = 212

LEFT: Final = 210.0
WIDTH: Final = 1060.0
PITCH: Final = 20.0
BAR: Final = 13.0
STRIP: Final = 30.0


class Timeline:
    """A picture of what ran when, as it was when it was made."""

    def __init__(self, of: Subject) -> None:
        now = of.context.now()
        nodes = self._nodes = of.nodes
        self._runs = runs_of(nodes, of.context.look(pictures.attempts, of.ids, pictures.EDGES), now)
        self._gaps = [gaps_of(node, runs, now) for node, runs in zip(nodes, self._runs, strict=True)]
        self._path: dict[int, None] = {}  # in its order
        if of.root is not None:
            roots = [place for place, node in enumerate(nodes) if node.id == of.root.id]  # none: deleted meanwhile
            edges = of.context.look(pictures.edges, of.ids, pictures.EDGES)
            self._path = dict.fromkeys(place for root in roots for place in critical_path(nodes, edges, root, now))
        self._all = [run for runs in self._runs for run in runs]
        moments = [(node.submitted_at, node.submitted_at) for node in nodes]
        self._at = Scale([*moments, *((run.start, run.end) for run in self._all)], LEFT, WIDTH)
        self.phases = of.phases
        self.caption = of.words

    def to_svg(self) -> str:
        """One `<svg>` element, to be put in a page or a file."""
        top, pieces = 78.0, list[str]()
        y = self._critical_lane(pieces, top)
        lanes = {worker: packed(runs) for worker, runs in sorted(self._by_worker().items())}
        if len(self._nodes) <= ROWS:
            y = self._task_rows(pieces, y)
        elif len(self._all) <= BARS and sum(map(len, lanes.values())) <= LANES:
            y = self._held_strips(pieces, y)
            for worker, its in lanes.items():
                y = self._lanes(pieces, y, worker, its)
        else:
            y = self._worker_strips(pieces, self._held_strips(pieces, y))
        lasted = duration(self._at.last - self._at.first)
        caption = f"{self.caption}, {number(len(self._all), 'run')}"
        head = [text(20, 28, words(caption), "ink", 14, 'font-weight="600"')]
        if self._nodes:
            head.append(text(20, 46, words(f"from {moment(self._at.first)}, for {lasted}"), "faint", 12))
        shown, down = legend(20, y + 24, self.phases, LEFT + WIDTH)
        marks, down = samples(20, down + 14, 30, self._marks(), LEFT + WIDTH)
        label = f"Timeline of {caption}: {counted(self.phases)}{self._told_path()}"
        return document(LEFT + WIDTH + 30, down + 12, label, [*head, self._axis(top - 8, y), *pieces, shown, marks])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file whose name ends in `.svg`, as a whole or not at all.

        `ValueError` for another ending, `OSError` where it cannot be written.
        """
        saving.save(path, {(".svg",): self.to_svg})

    def _repr_html_(self) -> str:
        return self.to_svg()

    def __repr__(self) -> str:
        return f"<Timeline of {self.caption}>"

    # -- around -----------------------------------------------------------------------------------------------------

    def _axis(self, top: float, down: float) -> str:
        pieces = []
        for x, said in self._at.ticks():
            pieces.append(f'<path d="M{x:.1f} {top + 4:.1f}V{down:.1f}" {paint("none", "line")} stroke-width="0.6"/>')
            pieces.append(text(x, top - 7, said, "faint", 11, 'text-anchor="middle"'))
        for x, lasts in self._at.cuts():
            rule = f'<path d="M{x - 3:.1f} {top + 8:.1f}V{down:.1f}m6 0V{top + 8:.1f}" {paint("none", "line")} '
            pieces.append(rule + f'stroke-dasharray="2 3"><title>nothing ran for {lasts}</title></path>')
            pieces.append(text(x, top + 5, f"{lasts}", "faint", 9, 'text-anchor="middle"'))
        return "".join(pieces)

    def _marks(self) -> list[tuple[str, str]]:
        """A sample of each kind of mark that there is, and what it means."""
        there = {gap.phase for gaps in self._gaps for gap in gaps} if len(self._nodes) <= ROWS else set()
        lines = {"waiting": "has not begun", "suspended": "suspended", "scheduled": "until tried again"}
        found = [(_thin(0, 30, 0, phase), said) for phase, said in lines.items() if phase in there]
        if any(run.phase == "failed" for run in self._all):
            found.append((_block(0, 30, -BAR / 2, BAR, "failed"), "a failed run"))
        if self._path:
            frame = rect(0, -BAR / 2, 30, BAR, paint("none", "accent"), 'stroke-width="2"')
            found.append((frame, "on the critical path"))
        return found

    def _told_path(self) -> str:
        if not self._path:
            return ""
        names = [printable(self._nodes[place].name, 24) for place in self._path]
        shown = names if len(names) <= 6 else [*names[:3], "…", *names[-2:]]
        return f"; critical path: {' → '.join(shown)}"

    def _critical_lane(self, pieces: list[str], y: float) -> float:
        """What the end hung on, one after the other."""
        if not self._path:
            return y
        runs = [run for place in self._path for run in self._runs[place]]
        seconds = duration(sum(run.end - run.start for run in runs))
        told = f"{len(self._path):,} tasks, {seconds} of running{self._told_path()}"
        pieces.append(_label(y - 1, "critical path", f"{len(self._path):,} tasks, {seconds}", told, "accent"))
        self._bars(pieces, runs, y + 3, 20.0, True)
        return y + 40

    # -- a row a task -----------------------------------------------------------------------------------------------

    def _task_rows(self, pieces: list[str], y: float) -> float:
        """By the worker that had it last, and then in the order of what began."""
        order: dict[tuple[int, str], list[int]] = {}
        for place, (node, runs) in enumerate(zip(self._nodes, self._runs, strict=True)):
            key = (0, "jobs") if node.job else (1, runs[-1].worker) if runs else (2, "not run")
            order.setdefault(key, []).append(place)
        for worker in sorted(order):
            pieces.append(text(20, y + 14, fitting(worker[1], LEFT - 40, 12), "faint", 12, 'font-weight="600"'))
            pieces.append(f'<path d="M20 {y + 19:.1f}H{LEFT + WIDTH:.0f}" {paint("none", "line")}/>')
            y += 24
            for place in sorted(order[worker], key=self._beginning):
                self._task_row(pieces, y, place)
                y += PITCH
            y += 6
        return y

    def _beginning(self, place: int) -> tuple[float, int]:
        node = self._nodes[place]
        return (node.first_started_at if node.first_started_at is not None else float("inf"), node.id)

    def _task_row(self, pieces: list[str], y: float, place: int) -> None:
        node, runs = self._nodes[place], self._runs[place]
        told = f"{printable(node.name)} #{node.id}: {printable(node.status)}"
        for gap in self._gaps[place]:
            told += f"; {gap.phase} {duration(gap.end - gap.start)}"
        pieces.append(f'<g role="img"><title>{words(told, 600)}</title>')
        name = f"{printable(node.name, 60)} #{node.id}"
        pieces.append(text(30, y + 12, f"{SIGNS[node.phase]}", "ink", 12, 'text-anchor="middle"'))
        pieces.append(text(42, y + 12, fitting(name, LEFT - 52, 12), "ink", 12))
        pieces.append("</g>")
        for gap in self._gaps[place]:
            line = _thin(self._at(gap.start), self._at(gap.end), y + 2 + BAR / 2, gap.phase)
            pieces.append(f"<g><title>{gap.phase} {duration(gap.end - gap.start)}</title>{line}</g>")
        self._bars(pieces, runs, y + 2, BAR, False)

    # -- lanes ------------------------------------------------------------------------------------------------------

    def _lanes(self, pieces: list[str], y: float, worker: str, lanes: list[list[Run]]) -> float:
        runs = sum(map(len, lanes))
        told = f"{printable(worker, 200)}: {runs:,} runs, at most {len(lanes)} at a time"
        pieces.append(_label(y, worker, f"{runs:,} runs" if len(lanes) > 1 else "", told))
        for lane in lanes:
            self._bars(pieces, lane, y + 2, BAR + 2, True)
            y += PITCH - 2
        return y + 10

    def _bars(self, pieces: list[str], runs: Iterable[Run], y: float, high: float, named: bool) -> None:
        """Runs too short to be seen that follow each other are one bar."""
        behind, last = -1.0, ("", False)
        for run in runs:
            x, end = self._at(run.start), self._at(run.end)
            marked = run.task in self._path
            if end - x < 1.0 and x < behind and last == (run.phase, marked):
                continue
            end = max(end, x + 1.5)
            behind, last = end, (run.phase, marked)
            node = self._nodes[run.task]
            told = f"{printable(node.name, 60)} #{node.id}, run {run.number} "
            told += f"{'lapsed' if run.lapsed else run.phase}: {duration(run.end - run.start)}"
            told += f" on {printable(run.worker, 60)}" + (f"; {printable(run.error, 200)}" if run.error else "")
            bar = _block(x, end, y, high, run.phase)
            if marked and end - x > 6:
                bar += rect(x, y, end - x, high, paint("none", "accent"), 'stroke-width="2" rx="2"')
            elif marked:
                bar += rect(x - 1, y + high + 1, end - x + 2, 2.5, paint("accent"))
            if named and end - x > 42 and run.phase != "failed":
                bar += text(x + 5, y + high / 2 + 4, fitting(node.name, end - x - 9, 11), "paper", 11)
            pieces.append(f"<g><title>{words(told, 600)}</title>{bar}</g>")

    # -- strips -----------------------------------------------------------------------------------------------------

    def _held_strips(self, pieces: list[str], y: float) -> float:
        """How many waited at each moment, and how many were suspended."""
        for phase in ("waiting", "suspended"):
            gaps = [
                gap
                for node, its in zip(self._nodes, self._gaps, strict=True)
                for gap in its
                if gap.phase == phase and not node.job
            ]
            if gaps:
                y = self._strip(pieces, y, phase, "", {phase: self._binned(gaps)}, STRIP * 0.7)
        return y

    def _worker_strips(self, pieces: list[str], y: float) -> float:
        by_worker = self._by_worker()
        busiest = sorted(by_worker, key=lambda worker: (-len(by_worker[worker]), worker))
        if len(busiest) > WORKERS:
            rest = busiest[WORKERS - 1 :]
            by_worker[f"{len(rest):,} more workers"] = [run for worker in rest for run in by_worker[worker]]
            busiest[WORKERS - 1 :] = [f"{len(rest):,} more workers"]
        for worker in busiest:
            phases = [(phase, [run for run in by_worker[worker] if run.phase == phase]) for phase in COLOURS]
            there = {phase: self._binned(runs) for phase, runs in phases if runs}
            y = self._strip(pieces, y, worker, f"{len(by_worker[worker]):,} runs", there, STRIP)
        return y

    def _by_worker(self) -> dict[str, list[Run]]:
        by_worker: dict[str, list[Run]] = {}
        for run in self._all:
            by_worker.setdefault(run.worker, []).append(run)
        return by_worker

    def _binned(self, spans: Iterable[Run | Gap]) -> list[float]:
        """How many there were at a time, on the average of each of `BINS` equal parts of the picture's width."""
        size = WIDTH / BINS
        rise, part = [0.0] * (BINS + 1), [0.0] * (BINS + 1)
        for span in spans:
            start, end = (self._at(span.start) - LEFT) / size, (self._at(span.end) - LEFT) / size
            first, last = min(int(start), BINS - 1), min(int(end), BINS - 1)
            part[first] += first - start  # from the part of the first bin before it on, it counts 1
            rise[first] += 1
            part[last] += end - last
            rise[last] -= 1
        return [at + its for at, its in zip(accumulate(rise[:BINS]), part, strict=False)]

    def _strip(
        self, pieces: list[str], y: float, name: str, said: str, series: dict[str, list[float]], high: float
    ) -> float:
        totals = [sum(column) for column in zip(*series.values(), strict=True)]
        peak = max(totals, default=0.0) or 1.0
        most = f"up to {peak:,.0f} at a time" if peak >= 1.5 else f"busy {sum(totals) / BINS:.0%}"
        said = f"{said}, {most}" if said else most
        pieces.append(_label(y, name, said, f"{printable(name, 200)}: {said}"))
        base = [0.0] * BINS
        for phase, column in series.items():
            upper = [low + its for low, its in zip(base, column, strict=True)]
            pieces.append(f'<path d="{_area(base, upper, y + high, high / peak)}" {paint(phase)}/>')
            base = upper
        pieces.append(f'<path d="M{LEFT:.0f} {y + high:.1f}h{WIDTH:.0f}" {paint("none", "line")}/>')
        return y + high + 12


def timeline(engine: Any, tasks: Any = None) -> Timeline:
    """Read it. `tasks`: as `api.pictures.subject` has it."""
    return Timeline(subject(engine, tasks))


def _label(y: float, name: str, said: str, told: str, tone: str = "ink") -> str:
    """What stands to the left of some runs."""
    head = text(20, y + 12, fitting(name, LEFT - 34, 12.5), tone, 12.5, 'font-weight="600"')
    below = text(20, y + 27, fitting(said, LEFT - 30, 11), "faint", 11) if said else ""
    return f'<g role="img"><title>{words(told, 1000)}</title>{head}{below}</g>'


def _area(lower: Sequence[float], upper: Sequence[float], y: float, unit: float) -> str:
    """What is between the two, with steps."""
    size, pieces = WIDTH / BINS, []
    for place, (low, high) in enumerate(zip(lower, upper, strict=True)):
        if high - low > 1e-9:
            bottom, top = y - low * unit, y - max(high * unit, low * unit + 0.7)  # what is there can be seen
            pieces.append(f"M{LEFT + place * size:.1f} {bottom:.1f}V{top:.1f}h{size + 0.05:.2f}V{bottom:.1f}z")
    return "".join(pieces)


def _block(x: float, end: float, y: float, high: float, phase: str) -> str:
    """A run. What did not succeed has a groove: its colour does not stand alone."""
    bar = rect(x, y, end - x, high, paint(phase), 'rx="2"')
    if phase in ("failed", "cancelled"):
        bar += rect(x, y + high / 2 - 1.2, end - x, 2.4, paint("paper"))
    return bar


_THIN: Final = {"waiting": (2.5, ""), "scheduled": (2.5, "2 3"), "suspended": (6.0, "5 2")}


def _thin(x: float, end: float, y: float, phase: str) -> str:
    wide, dashes = _THIN[phase]
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<path d="M{x:.1f} {y:.1f}H{end:.1f}" {paint("none", phase)} stroke-width="{wide:g}"{dashed}/>'

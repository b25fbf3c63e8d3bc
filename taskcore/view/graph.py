"""`engine.graph(…)`: what depends on what, as SVG, Mermaid or DOT."""

from __future__ import annotations

import os
import re
from typing import Any, Final

from taskcore.api.pictures import Subject, subject
from taskcore.core.text import counted, printable
from taskcore.view import layers, saving
from taskcore.view.boxes import Box, Line, boxed
from taskcore.view.colours import COLOURS
from taskcore.view.markup import words
from taskcore.view.svg import document, fitting, legend, paint, rect, samples, sign, stacked, text, width_of

WIDE: Final = 208.0
HIGH: Final = 46.0
SCREEN: Final = (1460.0, 760.0)
"""What is to be readable without scrolling."""

class Graph:
    """A picture of tasks and what they depend on, as they were when it was made."""

    def __init__(self, of: Subject) -> None:
        self.boxes, self.lines, complete = boxed(of)
        self.phases = of.phases
        self.caption = of.words
        if len(self.boxes) < len(of.nodes):
            self.caption += f", in {len(self.boxes)} groups"
        if not complete:
            self.caption += ", and not all of their edges"

    # -- SVG --------------------------------------------------------------------------------------------------------

    def to_svg(self) -> str:
        """One `<svg>` element, to be put in a page or a file."""
        plan = layers.arrange(len(self.boxes), [(line.upstream, line.box) for line in self.lines])
        labels = max((width_of(line.label, 11) for line in self.lines), default=0.0)
        gaps = ((max(64.0, labels + 28), 22.0), (26.0, 54.0))  # beside and below a node; it flows to the right, or down
        sizes = [
            (plan.layers * (WIDE + gaps[0][0]) - gaps[0][0], plan.breadth * (HIGH + gaps[0][1]) - gaps[0][1]),
            (plan.breadth * (WIDE + gaps[1][0]) - gaps[1][0], plan.layers * (HIGH + gaps[1][1]) - gaps[1][1]),
        ]
        fits = [min(SCREEN[0] / max(width, 1), SCREEN[1] / max(height, 1), 1.0) for width, height in sizes]
        flat = fits[0] >= fits[1]
        (width, height), (beside, under) = (sizes[0], gaps[0]) if flat else (sizes[1], gaps[1])
        left, top = 24.0, 48.0

        def point(layer: float, place: float) -> tuple[float, float]:
            """The left upper corner of a node there."""
            x, y = (layer, place) if flat else (place, layer)
            return left + x * (WIDE + beside), top + y * (HIGH + under)

        pieces = [text(left, 28, words(self.caption), "ink", 14, 'font-weight="600"')]
        alike_lines: dict[tuple[int, str], list[Line]] = {}
        for line in self.lines:
            alike_lines.setdefault((line.box, line.label), []).append(line)
        labelled = {id(of_it[(len(of_it) - 1) // 2]) for of_it in alike_lines.values()}  # one for all that say the same
        for line in self.lines:
            points = [point(*its) for its in plan.routes[line.upstream, line.box]]
            pieces.append(_curve(line, points, flat, self, id(line) in labelled))
        for box, its in zip(self.boxes, plan.at, strict=True):
            pieces.append(_drawn(box, *point(*its)))
        wide = max(width, 560)
        shown, down = legend(left, top + height + 34, self.phases, wide)
        pieces.append(shown)
        kinds, down = samples(left, down + 14, 30, self._line_kinds(), wide)
        label = f"Graph of {self.caption}: {counted(self.phases)}"
        return document(wide + 2 * left, down + 12, label, [*pieces, kinds])

    def __repr__(self) -> str:
        return f"<Graph of {self.caption}>"

    def _line_kinds(self) -> list[tuple[str, str]]:
        """A sample of each kind of line that there is, and what it means."""
        wanting = [line for line in self.lines if not line.family]
        doomed = any(line.verdict == "doomed" for line in self.lines)
        kinds = [
            ("wants success", Line(0, 0, 1, "", False, {"met": 1}), any(not line.label for line in wanting)),
            ("wants what it says", Line(0, 0, 1, "x", False, {"met": 1}), any(line.label for line in wanting)),
            ("is its child", Line(0, 0, 1, "", True, {"met": 1}), len(wanting) < len(self.lines)),
            ("will not get it", Line(0, 0, 1, "", False, {"doomed": 1}), doomed),
        ]
        return [(f'<path d="M0 0h30" {_stroke(line)}/>', said) for said, line, there in kinds if there]

    def _repr_html_(self) -> str:
        return self.to_svg()

    # -- texts ------------------------------------------------------------------------------------------------------

    def to_mermaid(self) -> str:
        """A flowchart as Mermaid reads it."""
        out = ["flowchart LR"]
        for number, box in enumerate(self.boxes):
            shape = ('(["', '"])') if box.job else ('["', '"]')
            label = f"{_mermaid(box.titled)}<br/>{_mermaid(box.line)}"
            out.append(f"    n{number}{shape[0]}{label}{shape[1]}:::{box.main}")
        for line in self.lines:
            label = f"|{_mermaid(line.label)}|" if line.label else ""
            arrow = "-.-" if line.family else "-.->" if line.label else "-->"
            out.append(f"    n{line.upstream} {arrow}{label} n{line.box}")
        for phase in dict.fromkeys(box.main for box in self.boxes):
            out.append(f"    classDef {phase} fill:{COLOURS[phase][0]},color:#fff,stroke:#fff")
        return "\n".join(out) + "\n"

    def to_dot(self) -> str:
        """A digraph as Graphviz reads it."""
        out = [
            "digraph tasks {",
            "    rankdir=LR;",
            '    node [shape=box, style="rounded,filled", fontname="sans-serif", fontcolor=white, color=white];',
            '    edge [fontname="sans-serif", fontsize=10];',
        ]
        for number, box in enumerate(self.boxes):
            shape = ", peripheries=2" if box.n > 1 else ""
            label = f"{_dot(box.titled)}\\n{_dot(box.line)}"
            fill = COLOURS[box.main][0]
            out.append(f'    n{number} [label="{label}", tooltip="{_dot(box.told)}", fillcolor="{fill}"{shape}];')
        for line in self.lines:
            style = "dotted, dir=none" if line.family else "dashed" if line.label else "solid"
            out.append(f'    n{line.upstream} -> n{line.box} [label="{_dot(line.label)}", style={style}];')
        return "\n".join([*out, "}"]) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, as its ending says: `.svg`, `.mmd` or `.dot`; as a whole or not at all.

        `ValueError` for another ending, `OSError` where it cannot be written.
        """
        mermaid, dot = (".mmd", ".mermaid"), (".dot", ".gv")
        saving.save(path, {(".svg",): self.to_svg, mermaid: self.to_mermaid, dot: self.to_dot})


def graph(engine: Any, tasks: Any = None) -> Graph:
    """Read and group it. `tasks`: as `api.pictures.subject` has it."""
    return Graph(subject(engine, tasks))


# -- how it is drawn -------------------------------------------------------------------------------------------------


def _drawn(box: Box, x: float, y: float) -> str:
    corner = 14 if box.job else 5
    pieces = [f'<g role="img"><title>{words(box.told, 1000)}</title>']
    if box.n > 1:
        pieces += [rect(x + d, y + d, WIDE, HIGH, paint("paper", "line"), f'rx="{corner}"') for d in (6, 3)]
    pieces.append(rect(x, y, WIDE, HIGH, paint("panel", "line"), f'rx="{corner}"'))
    if box.n == 1:
        pieces.append(sign(x + 20, y + HIGH / 2, box.main, 24))
        pieces.append(text(x + 40, y + 20, fitting(box.name, WIDE - 50, 14), "ink", 13, 'font-weight="600"'))
        pieces.append(text(x + 40, y + 36, fitting(box.line, WIDE - 50, 11.5), "faint", 11.5))
    else:
        many = box.times
        room = WIDE - 30 - width_of(many, 14)
        pieces.append(text(x + 12, y + 18, fitting(box.name, room, 14) + many, "ink", 13, 'font-weight="600"'))
        pieces.append(stacked(x + 12, y + 24, WIDE - 24, 6, box.phases))
        pieces.append(text(x + 12, y + 41, fitting(box.line, WIDE - 24, 11), "faint", 11))
    return "".join(pieces) + "</g>"


def _tone(line: Line) -> str:
    return "failed" if line.verdict == "doomed" else "faint" if line.verdict == "met" else "line"


def _stroke(line: Line) -> str:
    dashes = "1 5" if line.family else "6 4" if line.label else "2 4" if line.verdict == "dropped" else ""
    dashed = f'stroke-dasharray="{dashes}" ' if dashes else ""
    return f'{paint("none", _tone(line))} {dashed}stroke-width="1.5" stroke-linecap="round"'


def _curve(line: Line, points: list[tuple[float, float]], flat: bool, of: Graph, labelled: bool) -> str:
    """Through the points, which are left upper corners of the places passed, straight where it passes a layer."""

    def side(x: float, y: float, far: bool) -> tuple[float, float]:
        return (x + WIDE * far, y + HIGH / 2) if flat else (x + WIDE / 2, y + HIGH * far)

    x, y = side(*points[0], True)
    path = [f"M{x:.1f} {y:.1f}"]
    middle = (x, y)
    for number, its in enumerate(points[1:], 2):
        last = number == len(points)
        to_x, to_y = side(*its, False)
        if last:
            to_x, to_y = (to_x - 7, to_y) if flat else (to_x, to_y - 7)
        half_x, half_y = (x + to_x) / 2, (y + to_y) / 2
        if number == 2:
            middle = (half_x, half_y)
        bends = (half_x, y, half_x, to_y) if flat else (x, half_y, to_x, half_y)
        path.append("C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}".format(*bends, to_x, to_y))
        x, y = (to_x, to_y) if last else side(*its, True)
        if not last:
            path.append(f"L{x:.1f} {y:.1f}")
    one, other = of.boxes[line.upstream], of.boxes[line.box]
    wants = line.label or ("its child" if line.family else "wants success")
    told = f"{printable(one.name, 60)} → {printable(other.name, 60)}: {wants}"
    if not line.family:
        told += ": " + ", ".join(f"{n:,} {verdict}" if line.n > 1 else verdict for verdict, n in line.verdicts.items())
    head = ""
    if not line.family:
        shape = "l-6 -4v8z" if flat else "l-4 -6h8z"
        x, y = (x + 6, y) if flat else (x, y + 6)
        head = f'<path d="M{x:.1f} {y:.1f}{shape}" {paint(_tone(line))}/>'
    label = ""
    if line.label and labelled:
        halo = 'stroke-width="4" stroke-linejoin="round" paint-order="stroke"'
        how = f'{paint("ink", "paper")} text-anchor="middle" {halo}'
        where = f'x="{middle[0]:.1f}" y="{middle[1] + 4:.1f}"'
        label = f'<text {where} font-size="11" {how}>{words(line.label, 40)}</text>'
    return f'<g><title>{words(told, 400)}</title><path d="{"".join(path)}" {_stroke(line)}/>{head}{label}</g>'


def _mermaid(text: str) -> str:
    """Everything that Mermaid might take for its own is written by its number."""
    return re.sub(r"[^\w .,:×✓-]", lambda found: f"#{ord(found[0])};", printable(text, 100))


def _dot(text: str) -> str:
    return printable(text, 400).replace("\\", "\\\\").replace('"', '\\"')


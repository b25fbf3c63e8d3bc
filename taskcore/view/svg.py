"""Pieces of SVG pictures. Pure.

A picture stands alone as a file and inside a page, several of them on one page: no element has an id, and no script or
other file is needed. Each paint is written twice, as an attribute for programs that know no CSS variables, and as a
class by which light and dark follow the reader.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

from taskcore.core.text import CUT, printable
from taskcore.view.colours import COLOURS, PAGE, SIGNS, css
from taskcore.view.markup import words

FONT: Final = "system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif"
_TONES: Final = {name: pair[0] for name, pair in (COLOURS | PAGE).items()}
_NARROW: Final = frozenset("iIjlt.,:;'|!()[]f -")
_BROAD: Final = frozenset("mwMW@%—…<>=+~")


def width_of(text: str, size: float = 13) -> float:
    """About how many pixels a text takes; what fonts there are decides the rest."""
    ems = 0.0
    for character in text:
        if character in _NARROW:
            ems += 0.34
        elif character in _BROAD or unicodedata.east_asian_width(character) in "WF":
            ems += 1.0
        elif not unicodedata.combining(character):
            ems += 0.68 if character.isupper() else 0.57
    return ems * size


def fitting(text: str, room: float, size: float = 13) -> str:
    """As much of the text as has room, escaped."""
    text = printable(text, 120)
    if width_of(text, size) > room:
        while text and width_of(text + CUT, size) > room:
            text = text[:-1]
        text = text.rstrip() + CUT
    return html.escape(text)


def paint(fill: str = "none", stroke: str = "none") -> str:
    """The attributes that paint an element: phases, or names of `PAGE`."""
    said = f'fill="{_TONES.get(fill, fill)}" class="tc-f-{fill}'
    if stroke != "none":
        said = f'stroke="{_TONES[stroke]}" {said} tc-s-{stroke}'
    return said + '"'


def text(x: float, y: float, escaped: str, tone: str = "ink", size: float = 13, more: str = "") -> str:
    """`escaped` by `words` or `fitting`."""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" {paint(tone)} {more}>{escaped}</text>'


def rect(x: float, y: float, width: float, height: float, how: str, more: str = "", inside: str = "") -> str:
    """`how` is made by `paint`."""
    end = f">{inside}</rect>" if inside else "/>"
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" {how} {more}{end}'


def sign(x: float, y: float, phase: str, side: float = 16) -> str:
    """A patch of the phase's colour with its sign in it, its middle at (x, y)."""
    patch = rect(x - side / 2, y - side / 2, side, side, paint(phase), f'rx="{side / 4:g}"')
    size = side * 0.8
    return patch + text(x, y + size * 0.36, SIGNS[phase], "paper", size, 'text-anchor="middle" font-weight="bold"')


def stacked(x: float, y: float, width: float, height: float, counts: Mapping[str, int]) -> str:
    """One bar of all phases. However few they are, three pixels of each can be seen."""
    there = [(phase, counts[phase]) for phase in COLOURS if counts.get(phase)]
    total = sum(n for _, n in there)
    spare = width - 3 * len(there)
    pieces = []
    for phase, n in there:
        its = 3 + spare * n / total
        pieces.append(rect(x, y, its, height, paint(phase), inside=f"<title>{n:,} {phase}</title>"))
        x += its
    return "".join(pieces)


def legend(x: float, y: float, counts: Mapping[str, int], width: float) -> tuple[str, float]:
    """The phases that occur, each with sign and number. → it, and how far down it reaches."""
    there = [(sign(8, 0, phase), f"{counts[phase]:,} {phase}") for phase in COLOURS if counts.get(phase)]
    return samples(x, y, 16, there, width)


def samples(x: float, y: float, wide: float, meanings: Iterable[tuple[str, str]], width: float) -> tuple[str, float]:
    """Each as it is drawn from (0, 0) to (`wide`, 0), with what it means, in as many rows as they need. → it, and how
    far down it reaches."""
    pieces, left = [], x
    for drawn, said in meanings:
        room = wide + 26 + width_of(said, 12)
        if x + room > left + width and x > left:
            x, y = left, y + 24
        pieces.append(f'<g transform="translate({x:.0f} {y:.0f})">{drawn}{text(wide + 5, 4, said, "ink", 12)}</g>')
        x += room
    return "".join(pieces), y + 12 if pieces else y - 12


_RULES: Final = (
    css(".tc-picture")
    + ".tc-picture{max-width:100%;height:auto}"
    + "".join(f".tc-f-{tone}{{fill:var(--tc-{tone})}}.tc-s-{tone}{{stroke:var(--tc-{tone})}}" for tone in _TONES)
)


def document(width: float, height: float, label: str, pieces: Iterable[str]) -> str:
    """The picture. `label` says in a sentence what it shows, for whoever hears it."""
    own = f"<style>{_RULES}</style>{rect(0, 0, width, height, paint('paper'))}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="tc-picture" role="group" aria-label="{words(label, 1000)}" '
        f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FONT}">'
        f"{own}{''.join(pieces)}</svg>"
    )

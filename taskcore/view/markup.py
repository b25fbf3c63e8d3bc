"""HTML that a notebook shows: escaped texts, bars, tables. Where styles or scripts are taken out it still reads."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from typing import Final, TypeVar

from taskcore.core import lifecycle
from taskcore.core.text import CUT, duration, moment, percent, printable
from taskcore.view.colours import SIGNS, css

T = TypeVar("T")


def asset(name: str) -> str:
    """What is no Python: a style, a script, the page."""
    return resources.files("taskcore.view").joinpath("page", name).read_text("utf-8")


STYLE: Final = asset("notebook.css")
"""How everything in a `frame` looks."""
_SORT: Final = html.escape(asset("sort.js"))
"""Sorts the table by the column whose button was pressed, the other way round the second time. A cell's `data-k` is
what it is sorted by, where that is not its text."""


def words(text: object, longest: int = 200) -> str:
    """A text of others on one line, with nothing in it that is markup or moves other text."""
    return html.escape(printable(str(text), longest))


def lines(text: str, longest: int = 20_000) -> str:
    """The same of a text that has lines; of one that is too long the end."""
    text = text if len(text) <= longest else CUT + text[-longest:]
    return "\n".join(words(line, 2000) for line in text.split("\n"))


def frame(*parts: str) -> str:
    """What a notebook is given: the parts, and the style that they have."""
    return f'<div class="taskcore"><style>{css(".taskcore")}{STYLE}</style>{"".join(parts)}</div>'


def when(at: float | None, now: float) -> str:
    """A moment, as how long ago it is or how soon; the date is its title."""
    if at is None:
        return ""
    said = f"{duration(now - at)} ago" if at <= now else f"in {duration(at - now)}"
    return f'<span title="{moment(at)}">{said}</span>'


def _colour(phase: str) -> str:
    return f"--c:var(--tc-{phase})" if phase in SIGNS else "--c:currentColor"


def sign(phase: str) -> str:
    return f'<span class="sign" style="{_colour(phase)}" aria-hidden="true">{SIGNS.get(phase, "?")}</span>'


def status(phase: str, label: str) -> str:
    return f'<span class="t">{sign(phase)}{words(label, 40)}</span>'


def box(phase: str, label: str, title: str) -> str:
    """The same in a box of its colour, with a title of its own."""
    return f'<span class="box t" style="{_colour(phase)}" title="{words(title)}">{sign(phase)}{words(label, 40)}</span>'


def calm(draw: Callable[[T], str]) -> Callable[[T], str]:
    """The same; and where anything is wrong, a line that says what."""

    @functools.wraps(draw)
    def drawn(thing: T) -> str:
        try:
            return draw(thing)
        except Exception as error:
            return frame(f"<p>{words(_plain(thing))}</p><p>It cannot be shown now: {words(_plain(error), 400)}</p>")

    return drawn


def _plain(thing: object) -> str:
    try:
        return f"{type(thing).__name__}: {thing}" if isinstance(thing, Exception) else repr(thing)
    except Exception:
        return f"a {type(thing).__name__}"


Counts = Mapping[tuple[str, str], int]


def _sorted(counts: Counts) -> list[tuple[tuple[str, str], int]]:
    place = {phase: n for n, phase in enumerate(SIGNS)}
    return sorted(counts.items(), key=lambda each: (place.get(each[0][0], len(place)), each[0][1]))


def bar(counts: Counts) -> str:
    """One stacked bar."""
    its = _sorted(counts)
    said = ", ".join(f"{n:,} {label}" for (_, label), n in its) or "none"
    return spans([(phase, n, f"{n:,} {label}", False) for (phase, label), n in its if n], said)


def spans(pieces: Iterable[tuple[str, float, str, bool]], label: str) -> str:
    """A bar of pieces: (phase, share, title, whether its end is open)."""
    listed = list(pieces)
    if not any(share > 0 for _, share, _, _ in listed):
        listed = [(phase, 1.0, title, still) for phase, _, title, still in listed]
    whole = sum(max(share, 0.0) for _, share, _, _ in listed)
    drawn = "".join(
        f'<span{" class=open" if still else ""} style="flex:{100 * max(share, 0.0) / whole:.6g};{_colour(phase)}"'
        f' title="{words(title)}"></span>'
        for phase, share, title, still in listed
    )
    return f'<div class="bar" role="img" aria-label="{words(label, 400)}">{drawn}</div>'


def part(done: float | None) -> str:
    """A bar of one colour, from 0 to 1, and empty beyond; `None`: no bar."""
    if done is None:
        return ""
    label = percent(done)
    phase = lifecycle.SUCCEEDED if done >= 1 else lifecycle.RUNNING
    return (
        f'<div class="bar" role="img" aria-label="{label}" title="{label}">'
        f'<span style="flex:0 0 {100 * min(max(done, 0.0), 1.0):.4g}%;{_colour(phase)}"></span></div>'
    )


def legend(counts: Counts) -> str:
    keys = "".join(
        f'<span class="key">{sign(phase)}{n:,} {words(label, 40)}</span> ' for (phase, label), n in _sorted(counts) if n
    )
    return f"<p>{keys}</p>"


Cell = str | tuple[str, str] | tuple[str, str, float | None]
"""HTML; with its class; and with what it is sorted by."""


def table(head: Sequence[Cell], rows: Sequence[Sequence[Cell]], *, sorts: bool = False, kind: str = "") -> str:
    """Nothing where there are no rows."""
    if not rows:
        return ""
    tops = "".join(_cell("th", cell, _button if sorts else str) for cell in head)
    body = "".join(f"<tr>{''.join(_cell('td', cell, str) for cell in row)}</tr>" for row in rows)
    clicked = f' onclick="{_SORT}"' if sorts else ""
    tops = f"<thead{clicked}><tr>{tops}</tr></thead>" if head else ""
    return f'<table{f" class={kind}" if kind else ""}>{tops}<tbody>{body}</tbody></table>'


def _button(inner: str) -> str:
    return f'<button type="button" title="sort by this">{inner}</button>' if inner else ""


def _cell(tag: str, cell: Cell, dress: Callable[[str], str]) -> str:
    inner, *more = (cell,) if isinstance(cell, str) else cell
    its = f' class="{more[0]}"' if more and more[0] else ""
    if len(more) > 1:
        its += f' data-k="{"" if more[1] is None else float(more[1])!r}"'
    scope = ' scope="col"' if tag == "th" else ""
    return f"<{tag}{scope}{its}>{dress(inner)}</{tag}>"


def section(title: str, inner: str, note: str = "") -> str:
    """A part with a heading, or nothing where there is nothing in it."""
    more = f" <small>{note}</small>" if note else ""
    return f"<h5>{title}{more}</h5>{inner}" if inner else ""


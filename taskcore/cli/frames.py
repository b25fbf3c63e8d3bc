"""What `watch` draws: from what there is, what its user chose and a size, so many lines of so many columns. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple

from taskcore.api.glance import Counts, Name, longest, phases_of, summed
from taskcore.cli.lines import Line, cut, plain, short
from taskcore.cli.showing import called
from taskcore.core import lifecycle
from taskcore.core.text import cells, duration, fitted, moment, number, percent, printable
from taskcore.store.overview import Brief
from taskcore.view.colours import SIGNS

Key = tuple[str, Any]
"""What a row is of: ("all", None), ("name", its text) or ("task", its number)."""

_BAR: Final = {"succeeded": "█", "failed": "▚", "cancelled": "▒", "skipped": "▒", "running": "▓"}
"""Parts of the bar, from the left; what is left is the rest."""

SORTS: Final[Mapping[str, Callable[[Name], Any]]] = {
    "left": lambda name: (-name.left, name.name),
    "failed": lambda name: (-name.phases[lifecycle.FAILED], name.name),
    "rate": lambda name: (-name.rate, name.name),
    "name": lambda name: name.name,
}

KEYS: Final = (
    ("?", "help"), ("q", "quit"), ("/", "filter"), ("p", "pause"), ("r", "resume"), ("c", "cancel"), ("R", "rerun"),
    ("enter", "show"), ("s", "sort"), ("tab", "next part"),
)  # fmt: skip
_OPENED: Final = (("esc", "back"), *KEYS[3:7])
HELP: Final = """\
up, down    choose a row (page up, page down, home, end)
tab         to the next part: names, running, failed
enter       of a name: its tasks; of a task: all of it
escape      back, and no filter any more
/           filter: parts of names, phases, statuses, #12
s           sort names by another column: what is left,
            failed, rate or name; a * marks it
p           hold a name: nothing of it is claimed, in any
            process, until it is resumed; pause a task
r           resume it
c           cancel, after a question
R           rerun a task, or what failed of a name, after
            a question
q           quit

The last numbers of a name are how fast its tasks end, and
how long what is left of them takes at that. The file
takes as long as the name that takes longest. An engine
that has to run tasks is counted in the first line."""


@dataclass(frozen=True)
class Glance:
    """What there is, as it was read."""

    file: str
    now: float
    names: Sequence[Name] = ()
    counts: Counts = field(default_factory=dict)
    engines: int = 0
    held: bool = False
    """Whether the whole file is on hold."""
    lists: Sequence[tuple[str, int, Sequence[Brief]]] = ()
    """(title, how many there are, the newest of them)"""
    explained: str = ""
    """Of the chosen task, why it is where it is."""
    trouble: str = ""
    """Why it is not up to date."""


@dataclass
class View:
    """What the user of `watch` chose."""

    filter: str = ""
    typing: bool = False
    name: str | None = None
    """The one name that is looked at."""
    sort: str = "left"
    at: Key = ("all", None)
    place: int = 0
    """Where that stands among all rows, for when it is gone."""
    question: str = ""
    asked: tuple[str, Key] | None = None
    """What is done if the answer is yes."""
    opened: int | None = None
    """The task that is shown."""
    scroll: int = 0
    help: bool = False
    note: str = ""
    """What came of the last verb."""


class Row(NamedTuple):
    key: Key
    draw: Callable[[int], Line]


class Section(NamedTuple):
    title: Callable[[str, int], Line]
    """Of which of its rows are seen, "1–5" if not all are, and of a width."""
    rows: list[Row]


# -- texts ----------------------------------------------------------------------------------------------------------


def _rate(rate: float | None) -> str:
    if not rate:
        return ""
    if rate >= 0.95:
        return f"{short(round(rate))}/s"
    return f"{rate * 60:.0f}/min" if rate >= 0.95 / 60 else f"{rate * 3600:.0f}/h"


# -- the head -------------------------------------------------------------------------------------------------------


def bar(phases: Mapping[str, int], width: int) -> Line:
    """What has ended how, what runs and what is left, as one bar; whatever there is at all has a cell of it."""
    total = sum(phases.values())
    line, room = Line(), width
    for phase, block in _BAR.items():
        n = phases.get(phase, 0)
        long = min(room, max(1, width * n // total)) if n else 0
        line.append((phase, block * long))
        room -= long
    ended = sum(phases.get(phase, 0) for phase in lifecycle.ENDED)
    if room and ended == total > 0:  # what rounding left
        line[0] = (line[0][0], line[0][1] + _BAR["succeeded"] * room)
        room = 0
    return [*line, ("dim", "░" * room)]


def _head(glance: Glance, view: View, width: int) -> list[Line]:
    phases = phases_of(glance.counts)
    total, ended = phases.total(), sum(phases[phase] for phase in lifecycle.ENDED)
    looked = "" if view.name is None else f" · {printable(view.name, 40)}"
    looked += f" · /{printable(view.filter, 40)}" if view.filter and not view.typing else ""
    engines = number(glance.engines, "engine") if glance.engines else "no engine runs it"
    held = " · on hold" if glance.held else ""
    clock = moment(glance.now, local=True)[-8:]
    left: Line = [("bold", printable(glance.file, 60)), ("paused", held), ("", looked), ("dim", f" · {engines}")]
    lines = [cut(left, max(0, width - 9)) + [("dim", f" {clock}"[-width:])]]
    lasts = longest(glance.names)
    said = [
        "",
        f"{short(ended)} of {short(total)}" if width < 80 else f"{ended:,} of {total:,}",
        _rate(sum(name.rate for name in glance.names)),
        f"{duration(lasts)} left" if lasts else "",
    ]
    text = "  ".join(said).rstrip()
    lines.append(cut([*bar(phases, max(10, width - cells(text) - 1)), ("", text)], width))
    legends, room = [Line() if glance.counts else [("dim", "no tasks")]], width
    for (phase, status), n in glance.counts.items():
        text = f" {short(n)} {printable(status, 20)}"
        if room < cells(text) + 1:
            legends.append([])
            room = width
        legends[-1] += [(phase, SIGNS.get(phase, "?")), ("", text + "  ")]
        room -= cells(text) + 3
    return [*lines, *(cut(legend, width) for legend in legends[:2])]


# -- the parts ------------------------------------------------------------------------------------------------------


def sections(glance: Glance, view: View) -> list[Section]:
    """The names, unless one is looked at, and the lists of tasks."""
    found = []
    if view.name is None:
        shown = sorted(glance.names, key=SORTS[view.sort])
        rows = [Row(("name", name.name), partial(_name, name, name.seconds_left)) for name in shown]
        if not view.filter and rows:
            rate = sum(name.rate for name in glance.names)
            whole = Name("all", summed(glance.names), rate, glance.held)
            rows.insert(0, Row(("all", None), partial(_name, whole, longest(glance.names))))
        found.append(Section(partial(_names_title, view.sort, len(rows)), rows))
    for title, total, tasks in glance.lists:
        found.append(_tasks(title, total, tasks, glance.now))
    return found


def _names_title(sorted_by: str, n: int, part: str, width: int) -> Line:
    name, failed, rate, left = (
        title + "*" * (what == sorted_by)
        for title, what in (("NAME", "name"), ("FAIL", "failed"), ("RATE", "rate"), ("LEFT", "left"))
    )
    name += f" {part} of {n}" if part else ""
    return [("bold", _name_columns(name, "DONE", "OF", "RUN", failed, rate, left, width))]


def _name_columns(name: str, done: str, of: str, run: str, fail: str, rate: str, left: str, width: int) -> str:
    right = f" {done:>5} {of:>5} {run:>4} {fail:>5} {rate:>6} {left:>7}"
    return f" {fitted(name, max(0, width - len(right) - 1))}{right}"


def _name(name: Name, seconds_left: float | None, width: int) -> Line:
    phases, left = name.phases, "on hold" if name.held else duration(seconds_left) if seconds_left else ""
    some = [short(phases[phase]) if phases[phase] else "" for phase in (lifecycle.RUNNING, lifecycle.FAILED)]
    done, total = short(name.total - name.left), short(name.total)
    text = _name_columns(name.name, done, total, some[0], some[1], _rate(name.rate), left, width)
    return [("paused" if name.held else "dim" if not name.left else "", text)]


def _tasks(title: str, total: int, tasks: Sequence[Brief], now: float) -> Section:
    ids = max((len(str(task.id)) for task in tasks), default=1) + 1
    widest = max((cells(called(task, 60)) for task in tasks), default=0)

    def head(part: str, width: int) -> Line:
        more = f", the newest {len(tasks)}" if total > len(tasks) else ""
        return [("bold", title.upper()), ("dim", f" {total:,}{more}  {part}" if total else " none")]

    return Section(head, [Row(("task", task.id), partial(_task, task, now, ids, widest)) for task in tasks])


def _task(task: Brief, now: float, ids: int, widest: int, width: int) -> Line:
    names = min(widest, max(8, width * 3 // 10))
    progress, since = task.progress, task.submitted_at
    if task.phase == lifecycle.RUNNING and task.started_at is not None:
        since = task.started_at
    elif task.finished_at is not None:
        since = task.finished_at
    ended = task.phase in lifecycle.ENDED
    done = "" if progress is None or ended else percent(progress).replace(" ", "")
    label = [] if task.status == task.phase else [task.status]
    bad = task.phase in (lifecycle.FAILED, lifecycle.CANCELLED, lifecycle.SKIPPED)
    why = (task.last_error if bad else task.message or task.step or task.last_error) or ""
    text = f" {f'#{task.id}':<{ids}} {fitted(called(task, 60), names)} {done:>4} {duration(now - since):>6} "
    said = printable(": ".join([*label, *([why] if why else [])]), width)
    return [(task.phase, SIGNS.get(task.phase, "?")), ("", text), ("", said)]


# -- the whole picture ----------------------------------------------------------------------------------------------


def shares(wanted: Sequence[int], room: int) -> list[int]:
    """How many lines each part gets of those there are: as many as it wants, or as the others that want more get."""
    given = [0] * len(wanted)
    for _ in range(room):
        short_of = [place for place, n in enumerate(wanted) if given[place] < n]
        if not short_of:
            break
        given[min(short_of, key=given.__getitem__)] += 1
    return given


def keys(found: Sequence[Section]) -> list[Key]:
    """Of all rows."""
    return [row.key for section in found for row in section.rows]


def settle(view: View, found: Sequence[Section]) -> None:
    """Let what is chosen be a row that there is: the same one, or the one that stands in its place now."""
    there = keys(found)
    if view.at in there:
        view.place = there.index(view.at)
    elif there:
        view.place = min(view.place, len(there) - 1)
        view.at = there[view.place]


def _body(found: Sequence[Section], view: View, width: int, height: int) -> list[Line]:
    lines = list[Line]()
    found = found[: max(0, height // 2)] if height < 2 * len(found) else found
    room = shares([len(section.rows) for section in found], height - len(found))
    for section, n in zip(found, room, strict=True):
        there = keys([section])
        place = there.index(view.at) if view.at in there else 0
        first = max(0, min(place - n // 2, len(there) - n))
        part = f"{first + 1}–{first + n}" if n < len(there) else ""
        lines.append(cut(section.title(part, width), width))
        for row in section.rows[first : first + n]:
            chosen = row.key == view.at
            line = cut([("", "›" if chosen else " "), *row.draw(width - 1)], width)
            lines.append([("chosen", plain(line))] if chosen else line)
    return lines


def _foot(glance: Glance, view: View, width: int) -> list[Line]:
    said: Line = [("dim", glance.explained)]
    if glance.trouble:
        said = [("bad", printable(glance.trouble))]
    elif view.note:
        said = [("bold", printable(view.note))]
    if view.question:
        asked = printable(view.question)
        below: Line = [("bold", fitted(asked, min(cells(asked), max(0, width - 6))) + " (y/n)")]
    elif view.typing:
        below = [("bold", "/"), ("", printable(view.filter)), ("chosen", " "), ("dim", " a name, a phase, #12; enter")]
    else:
        below, room, gap = Line(), width, "  " if width >= 80 else " "
        for key, does in (("esc", "back"),) if view.help else _OPENED if view.opened is not None else KEYS:
            if room >= len(key) + 1 + len(does):
                below += [("bold", key), ("", f" {does}{gap}")]
                room -= len(key) + 1 + len(does) + len(gap)
    return [cut(said, width), cut(below, width)]


def frame(glance: Glance, view: View, width: int, height: int, told: Sequence[str] = ()) -> list[Line]:
    """`told`: the lines of the task that is opened."""
    head, foot = _head(glance, view, width), _foot(glance, view, width)
    if view.help or view.opened is not None:
        page, head = (HELP.split("\n"), []) if view.help else (told, head[:1])
        room = max(0, height - len(head) - len(foot))
        view.scroll = max(0, min(view.scroll, len(page) - room))
        body = [cut([("", text)], width) for text in page[view.scroll : view.scroll + room]]
    else:
        head = head if height >= 10 else head[:1]
        body = _body(sections(glance, view), view, width, max(0, height - len(head) - len(foot)))
    body += [cut([], width)] * (height - len(head) - len(foot) - len(body))
    return [*head, *body, *foot][-height:]

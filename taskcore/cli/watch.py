"""`watch`: the tasks of a file as they move, and keys that move them."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Collection, Sequence
from typing import Any, Final

from taskcore.api.context import context_of
from taskcore.api.engine import Engine
from taskcore.api.glance import engines, names_of, newest, summed
from taskcore.api.selection import Selection
from taskcore.cli import frames, looking
from taskcore.cli.choosing import Commands, is_filtered, selected
from taskcore.cli.frames import Glance, Key, View
from taskcore.cli.lines import painted, plain
from taskcore.cli.operating import move
from taskcore.cli.showing import as_json, columns
from taskcore.cli.terminal import Terminal, screen
from taskcore.core import lifecycle
from taskcore.core.clock import monotonic
from taskcore.core.ends import seconds, spoken
from taskcore.core.errors import TaskcoreError
from taskcore.store import overview, pages
from taskcore.store.busy import Trouble
from taskcore.store.overview import Brief

MOST: Final = 200
"""Tasks of each kind that are read."""
LONGEST: Final = 2_000
"""Characters of each text of an opened task."""
RESTING: Final = 0.15
"""Seconds for which keys rest before what they chose is read."""
_TO_COME: Final = tuple(phase for phase in lifecycle.PHASES if phase not in (*lifecycle.ENDED, lifecycle.RUNNING))


def add(commands: Commands) -> None:
    watched = commands.add("watch", watch, "what the tasks do, live, with keys that move them", commands.filters)
    watched.add_argument("--every", type=spoken, default=1.0, metavar="SECONDS", help="look again so often (1)")
    watched.add_argument("--once", action="store_true", help="print one picture, and end")


def watch(engine: Engine, given: argparse.Namespace) -> int:
    every = max(0.1, seconds(given.every, "--every"))
    watcher, view = Watcher(engine, given), View()
    if given.json:
        return as_json(_facts(watcher.glance(view)))
    if given.once:
        view.at = ("nothing", None)
        signs = "utf" in (getattr(sys.stdout, "encoding", None) or "").lower()
        picture = frames.frame(watcher.glance(view), view, columns() or 80, 24)[:-2]
        print("\n".join(plain(line, signs).rstrip() for line in picture).rstrip())
        return 0
    with screen() as terminal:
        loop(watcher, view, terminal, every)
    return 0


def _facts(glance: Glance) -> dict[str, Any]:
    names = [
        {"name": name.name, "counts": name.phases, "rate": name.rate or None, "held": name.held}
        for name in glance.names
    ]
    lists = {title: [task._asdict() for task in tasks] for title, _, tasks in glance.lists}
    counts = {status: n for (_, status), n in glance.counts.items()}
    return {
        "at": glance.now, "counts": counts, "held": glance.held, "engines": glance.engines, "names": names, **lists,
    }  # fmt: skip


def loop(watcher: Watcher, view: View, terminal: Terminal, every: float) -> None:
    """Until its user has enough."""
    colours, glance, due, whole = not os.environ.get("NO_COLOR"), Glance(watcher.file, 0.0), 0.0, True
    while True:
        if monotonic() >= due:
            began = monotonic()
            glance = watcher.fresh(view, glance)
            due = began + max(every, 5 * (monotonic() - began))  # what is slow to read is read less often
        width, height = terminal.size
        at = view.at
        frames.settle(view, frames.sections(glance, view))
        if view.at != at:  # what was chosen is gone
            due = min(due, monotonic() + RESTING)
        told = watcher.told(view, width) if view.opened is not None else ()
        lines = frames.frame(glance, view, width, height, told)
        terminal.draw([painted(line, colours, terminal.signs) for line in lines], whole)
        key = terminal.key(due)
        whole = key == "resize"
        if key is None or whole:
            continue
        before = view.filter, view.name, view.at, view.opened
        if (done := press(view, key, glance, height)) == "quit":
            return
        if view.question:
            terminal.forget()
        if isinstance(done, tuple):
            view.note = watcher.act(*done)
            due = 0.0
        elif before != (view.filter, view.name, view.at, view.opened):
            due = min(due, monotonic() + RESTING)


# -- keys -----------------------------------------------------------------------------------------------------------


def press(view: View, key: str, glance: Glance, height: int) -> str | tuple[str, Key] | None:
    """What a key does to what is looked at. → what is to be done beyond that: "quit", or a verb and what it is for."""
    if view.question:
        answer, view.question, view.asked = view.asked, "", None
        return answer if key in ("y", "Y") else None
    view.note = ""
    if view.typing:
        _type(view, key)
        return None
    found = frames.sections(glance, view)
    if key == "q" and not view.help and view.opened is None:
        return "quit"
    if key in ("escape", "q", "?") and (view.help or (view.opened is not None and key != "?")):
        view.opened = view.opened if view.help else None
        view.help, view.scroll = False, 0
    elif key == "escape":
        view.name, view.filter = None, ""
    elif key == "?":
        view.help, view.scroll = True, 0
    elif key in _MOVES or key in ("tab", "back tab"):
        _move(view, key, found, height)
    elif view.help or (key in (*_VERBS, "enter") and not (view.opened or view.at in frames.keys(found))):
        pass
    elif key == "/" and view.opened is None:
        view.typing = True
    elif key == "s":
        sorts = list(frames.SORTS)
        view.sort = sorts[(sorts.index(view.sort) + 1) % len(sorts)]
        view.note = f"sorted by {view.sort}"
    elif key == "enter":
        _open(view)
    elif key in _VERBS:
        return _verb(view, _VERBS[key], glance)
    return None


_VERBS: Final = {"p": "pause", "r": "resume", "c": "cancel", "R": "rerun"}
_MOVES: Final = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -10, "page down": 10, "home": -(10**9), "end": 10**9}


def _type(view: View, key: str) -> None:
    if key == "backspace":
        view.filter = view.filter[:-1]
    elif key == "escape":
        view.filter, view.typing = "", False
    elif key == "enter":
        view.typing = False
    elif len(key) == 1 and len(view.filter) < 200:
        view.filter += key


def _move(view: View, key: str, found: Sequence[frames.Section], height: int) -> None:
    far = _MOVES.get(key, 0)
    far = far * max(1, height - 6) // 10 if abs(far) == 10 else far
    if view.help or view.opened is not None:
        view.scroll = max(0, view.scroll + far)
        return
    keys = frames.keys(found)
    if not keys:
        return
    view.place = keys.index(view.at) if view.at in keys else 0
    if far:
        view.place = max(0, min(len(keys) - 1, view.place + far))
    else:
        firsts = [keys.index(section.rows[0].key) for section in found if section.rows]
        now = max((n for n, first in enumerate(firsts) if first <= view.place), default=0)
        view.place = firsts[(now + (1 if key == "tab" else -1)) % len(firsts)]
    view.at = keys[view.place]


def _open(view: View) -> None:
    kind, which = view.at
    if view.opened is not None:
        view.opened, view.scroll = None, 0
    elif kind == "name":
        view.name, view.at, view.place = which, ("all", None), 0
    elif kind == "task":
        view.opened, view.scroll = which, 0


def _verb(view: View, verb: str, glance: Glance) -> tuple[str, Key] | None:
    """What is to be done; what reaches far is asked first."""
    kind, which = at = ("task", view.opened) if view.opened is not None else view.at
    if kind == "task":
        if verb != "cancel":
            return verb, at
        view.question = f"cancel #{which}?"
    elif kind == "name" or (kind == "all" and view.name is None and not view.filter):
        if verb in ("pause", "resume"):
            return verb, at
        chosen = [name for name in glance.names if kind == "all" or name.name == which]
        n = sum(name.left if verb == "cancel" else name.phases[lifecycle.FAILED] for name in chosen)
        if n == 0:
            view.note = f"nothing to {verb} there"
            return None
        whose = "all names" if kind == "all" else which
        view.question = f"{verb} {n:,} {'unfinished' if verb == 'cancel' else 'failed'} of {whose}?"
    else:
        return None
    view.asked = verb, at
    return None


# -- reading and moving ---------------------------------------------------------------------------------------------


class Watcher:
    """Reads what is shown, and does what keys ask for."""

    def __init__(self, engine: Engine, given: argparse.Namespace) -> None:
        self._engine = engine
        self._filtered = is_filtered(given)
        self._chosen: Selection = selected(engine, given)
        self.file = os.path.basename(given.file)

    def fresh(self, view: View, before: Glance) -> Glance:
        """What there is now, or, where the file cannot be read at the moment, what there was."""
        try:
            return self.glance(view)
        except (Trouble, TaskcoreError) as error:
            return Glance(**{**vars(before), "trouble": f"this is old: {error}"})

    def glance(self, view: View) -> Glance:
        context = context_of(self._engine)
        found = sorted(names_of(context, self._chosen._where, rated=not self._filtered), key=lambda each: each.name)
        names, statuses, ids = self._wanted(view, [name.name for name in found])
        shown = found if names is None else [name for name in found if name.name in names]
        counts, chosen = summed(shown), self._chosen if names is None else self._chosen.where(name=names)

        def some(title: str, wanted: Collection[str]) -> tuple[str, int, list[Brief]]:
            """Of phases, whatever their labels, and of labels."""
            kinds = [kind for kind in counts if not set(kind).isdisjoint(wanted)]
            total = sum(counts[kind] for kind in kinds)
            its = chosen.where(phase=[phase for phase, _ in kinds], status=[label for _, label in kinds])
            return title, total, newest(its, total, MOST) if total else []

        lists: list[tuple[str, int, list[Brief]]]
        if ids:
            tasks = context.look(overview.briefs, ids)
            lists = [("tasks", len(tasks), tasks)]
        elif statuses:
            lists = [some(" ".join(statuses), statuses)]
        else:
            lists = [some("running", [lifecycle.RUNNING]), some("failed", [lifecycle.FAILED])]
            if view.name is not None:
                lists.insert(1, some("to come", _TO_COME))
        for title, _, tasks in lists:
            if title == "running":
                tasks.sort(key=lambda task: (task.started_at or math.inf, task.id))
            elif title == "failed":
                tasks.sort(key=lambda task: (-(task.finished_at or 0), -task.id))
        return Glance(
            file=self.file, now=context.now(), engines=engines(context), names=shown, counts=counts,
            held="" in self._engine.held, lists=lists,
            explained=self._explained(view),
        )  # fmt: skip

    def _wanted(self, view: View, names: list[str]) -> tuple[list[str] | None, list[str], list[int]]:
        """(names, statuses, ids) that the view is of; no names: all of them."""
        known = (*lifecycle.PHASES, *context_of(self._engine).look(pages.labels))
        rest, statuses, words, ids = f" {view.filter} ", list[str](), list[str](), list[int]()
        for status in sorted(known, key=len, reverse=True):
            if f" {status} " in rest:  # one of the user's own may be several words
                statuses.append(status)
                rest = rest.replace(f" {status} ", "  ")
        for word in rest.lower().split():
            begun = [status for status in known if status.startswith(word)]
            if word[0] == "#":
                ids += [int(word[1:])] if word[1:].isdecimal() and len(word) < 18 else []
            elif begun and not any(word in name.lower() for name in names):
                statuses += begun
            else:
                words.append(word)
        if view.name is not None:
            return [view.name], statuses, ids
        return [name for name in names if all(word in name.lower() for word in words)] if words else None, statuses, ids

    def _explained(self, view: View) -> str:
        kind, which = ("task", view.opened) if view.opened is not None else view.at
        if kind != "task":
            return ""
        try:
            return f"#{which} {self._engine.future(which).explain()}"
        except TaskcoreError as error:
            return str(error)

    def told(self, view: View, width: int) -> Sequence[str]:
        """All that is known of the opened task, as lines."""
        if view.opened is None:
            return ()
        try:
            task, parts = looking.known(self._engine.future(view.opened))
        except (TaskcoreError, Trouble) as error:
            return [str(error)]
        return list(looking.described(task, parts, max(20, width), LONGEST))

    def act(self, verb: str, at: Key) -> str:
        """→ what came of it."""
        kind, which = at
        try:
            if kind != "task" and verb in ("pause", "resume") and not self._filtered:
                names = [which] if kind == "name" else []
                (self._engine.pause if verb == "pause" else self._engine.resume)(*names)
                whose = which if names else "the whole file"
                return f"{whose} is on hold" if verb == "pause" else f"{whose} goes on"
            chosen = self._engine.tasks.where(id=which) if kind == "task" else self._chosen
            chosen = chosen.where(name=which) if kind == "name" else chosen
            if verb == "rerun" and kind != "task":
                chosen = chosen.where(phase=lifecycle.FAILED)
            return move(chosen, verb)[1]
        except (TaskcoreError, Trouble, ValueError, OSError) as error:
            return f"not done: {error}"

"""What `run()`, `watch()` and the wait for a job show meanwhile: on a terminal, in a notebook, or by a function."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from taskcore.api.context import Context
from taskcore.api.terminal import Screen
from taskcore.core import lifecycle
from taskcore.core.clock import monotonic
from taskcore.core.errors import TaskcoreError
from taskcore.core.text import cells, duration, fitted, percent, printable, rate
from taskcore.core.views import view
from taskcore.store import overview, queries
from taskcore.store.busy import Trouble

SHARE: Final = 20
"""Times as long as it takes to look, at least, nothing is looked at again: of the time that is a twentieth at most."""
RECENT: Final = 10.0
"""Seconds over which the rate is taken."""
WIDEST: Final = 30
"""Columns of the bar."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is. Its `str` is one line of text."""

    done: int
    """Tasks that have ended since it began; of a job, its children."""
    total: int
    """The same and those that have not; it grows with what is submitted meanwhile."""
    failed: int
    """Of those that have ended, those in phase failed."""
    running: dict[str, int]
    """Name → how many of it run now: the three of which most do."""
    rate: float
    """Ends a second, lately."""
    seconds_left: float | None
    """How long it takes at that rate; `None` where nothing ends."""
    part: float | None
    """0…1; of a single task what its body says, and `None` where that says nothing."""
    title: str = ""
    """The job or task, "#7 night 12", if it is of one."""
    doing: str = ""
    """A single task's status, step and message."""

    def __str__(self) -> str:
        return line(self, 200, "#.", lambda text, _: text)[0]


class Meter:
    """Makes a `Progress` of what the file says: of all in it, or of one task or job."""

    def __init__(self, context: Context, task_id: int | None) -> None:
        self._context = context
        self._task = task_id
        first = self._pulse()
        # What is counted beyond those that were born: of a file, what had ended before is taken off.
        self._more, self._failed = (first.left - first.born, first.failed) if task_id is None else (0, 0)
        self._past = deque([(monotonic(), self._more + first.born - first.left)])

    def _pulse(self) -> overview.Pulse:
        if self._task is None:
            counts = self._context.by_phase(queries.ALL)
            left = sum(n for (phase, _), n in counts.items() if phase not in lifecycle.ENDED)
            failed = sum(n for (phase, _), n in counts.items() if phase == lifecycle.FAILED)
            born, running = self._context.look(overview.active)
            return overview.Pulse(left, born, failed, running)
        found = self._context.look(overview.pulse_of, self._task)
        return overview.Pulse(0, 0, 0, []) if found is None else found

    def look(self) -> Progress:
        pulse, now = self._pulse(), monotonic()
        task = pulse.task
        self._more = max(self._more, pulse.left - pulse.born)  # what was rerun had ended before
        total = self._more + pulse.born
        done, past = total - pulse.left, self._past
        while len(past) > 1 and past[0][0] < now - RECENT:
            past.popleft()
        since, before = past[0]
        speed = max(0, done - before) / max(now - since, 0.001)
        past.append((now, done))
        title = doing = ""
        part: float | None = done / total if total else 1.0
        if task is not None:
            title = f"#{task.id} {printable(task.name, 40)}"
            if task.job is None:
                part = 1.0 if task.finished_at is not None and pulse.failed == 0 else task.progress
                said = (task.status, task.step, task.message)
                doing = ": ".join(printable(text, 200) for text in said if text)
        left = pulse.left / speed if speed else None
        failed = max(0, pulse.failed - self._failed)
        return Progress(done, total, failed, dict(pulse.running), speed, left, part, title, doing)


# -- as a line ------------------------------------------------------------------------------------------------------


def line(progress: Progress, columns: int, blocks: str, paint: Callable[[str, int], str]) -> tuple[str, int]:
    """(the text, its columns), of at most so many. `blocks`: what a full and an empty piece of the bar look like;
    `paint(text, code)` makes it bold, red … where that can be."""
    several, part = not progress.doing, progress.part if progress.total else None
    running = ", ".join(f"{printable(name, 24)}{f' ×{n}' if n > 1 else ''}" for name, n in progress.running.items())
    ends = progress.seconds_left if progress.done < progress.total else None
    # In this order they get room; a bar takes what of the room is left, and stands behind the first two.
    wanted = [
        (0, progress.title, 1),
        (1, "" if not several else f"{progress.done:,}/{progress.total:,}" if progress.total else "nothing to do", 0),
        (3, "" if part is None else percent(part), 0),
        (6, f"{progress.failed:,} failed" if progress.failed and several else "", 31),
        (5, "" if ends is None or not several else f"{duration(ends)} left", 0),
        (4, f"{rate(progress.rate)}/s" if progress.rate and several else "", 2),
        (7, progress.doing or running, 2),
    ]
    parts: list[tuple[int, str, int]] = []
    room = columns
    for place, text, code in wanted:
        if text and cells(text) > room and place in (0, 7) and room > 8:
            text = fitted(text, room).rstrip()
        if text and cells(text) <= room:
            parts.append((place, paint(text, code) if code else text, cells(text)))
            room -= cells(text) + 2
    if part is not None and room >= 6:
        size = min(WIDEST, room)
        full = int(size * part)
        bar = [(blocks[0] * full, 32), (blocks[1] * (size - full), 2)]
        parts.append((2, "".join(paint(piece, code) for piece, code in bar if piece), size))
    parts.sort(key=lambda each: each[0])
    return "  ".join(text for _, text, _ in parts), sum(length + 2 for *_, length in parts) - 2 * bool(parts)


class _Sink:
    """A place where progress is shown."""

    every: float
    """Seconds from one time to the next, at least."""
    draw: Callable[[Progress], object]

    def end(self, how: str) -> None:
        """Nothing more is shown. `how` it ended, if not well."""


class _Terminal(_Sink):
    every = 0.2

    def __init__(self, screen: Screen, stream: Any) -> None:
        self._screen = screen
        try:
            "━─×…".encode(getattr(stream, "encoding", None) or "utf-8")
            self._blocks = "#." if screen.dumb else "━─"
        except (UnicodeError, LookupError):
            self._blocks = "#."

    def draw(self, progress: Progress) -> None:
        def paint(text: str, code: int) -> str:
            return text if self._screen.plain else f"\x1b[{code}m{text}\x1b[0m"

        self._screen.show(*line(progress, max(1, self._screen.columns - 1), self._blocks, paint))

    def end(self, how: str) -> None:
        self._screen.end()


class _Lines(_Sink):
    """For a stream that is no terminal, where somebody wants it all the same: a line now and then."""

    every = 10.0

    def draw(self, progress: Progress) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{progress}\n")
            sys.stderr.flush()


class _Cell(_Sink):
    """Of a notebook: drawn in place, and left there."""

    every = 0.5

    def __init__(self, display: Any) -> None:
        self._display = display
        self._handle: Any = None
        self._last: Progress | None = None

    def draw(self, progress: Progress, how: str = "") -> None:
        self._last = progress
        data = {"text/plain": str(progress), "text/html": view("html").progress(progress, how)}
        with contextlib.suppress(Exception):  # nobody is there any more to whom it could be sent
            if self._handle is None:
                self._handle = self._display.display(data, raw=True, display_id=True)
            else:
                self._handle.update(data, raw=True)

    def end(self, how: str) -> None:
        if self._last is not None:
            self.draw(self._last, how)


class _Called(_Sink):
    every = 0.25

    def __init__(self, function: Callable[[Progress], object]) -> None:
        self.draw = function


class Line:
    """What is shown while somebody waits for a file, a job or a task: `with Line(context, wanted) as line:`, and
    `line.look()` now and then.

    `wanted`: True, False, a function that is called with a `Progress`, or `None`: where somebody looks, at a terminal
    or a notebook. `asked`: whether the wait is for looking; if not, only the main thread's on a terminal is shown. What
    the file or the place says ends no wait; what the function raises does.
    """

    def __init__(
        self, context: Context, wanted: bool | Callable[[Progress], object] | None, task_id: int | None = None, *,
        asked: bool = True,
    ) -> None:  # fmt: skip
        if not (wanted is None or isinstance(wanted, bool) or callable(wanted)):
            raise TypeError(f"progress is True, False, None or a function of a Progress, not {wanted!r}")
        self._context = context
        self._wanted = wanted
        self._task = task_id
        self._asked = asked
        self._sink: _Sink | None = None
        self._meter: Meter | None = None
        self._next = 0.0

    @property
    def on(self) -> bool:
        """Whether it is shown to somebody, not to a function."""
        return self._sink is not None and not isinstance(self._sink, _Called)

    def __enter__(self) -> Line:
        self._sink = None if self._wanted is False else self._place()
        return self

    def _place(self) -> _Sink | None:
        if callable(self._wanted):
            return _Called(self._wanted)
        display = _notebook() if self._asked else None
        if display is not None:
            return _Cell(display)
        stream = sys.stderr
        with contextlib.suppress(Exception):  # it may be closed, or somebody's own
            if stream.isatty():
                screen = Screen(stream)
                return _Terminal(screen, stream) if screen.begin(any_thread=self._asked) else None
        return _Lines() if self._wanted else None

    def look(self) -> bool:
        """Draw if it is time. Always True, to stand in a condition."""
        if self._sink is not None and monotonic() >= self._next:
            self._draw(self._sink)
        return True

    def _draw(self, sink: _Sink) -> None:
        began = monotonic()
        progress: Progress | None = None
        with contextlib.suppress(Trouble, TaskcoreError):  # whoever waits hears of it, if it lasts
            self._meter = self._meter or Meter(self._context, self._task)
            progress = self._meter.look()
        now = monotonic()
        self._next = now + max(SHARE * (now - began), sink.every)
        if progress is not None:
            sink.draw(progress)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        sink = self._sink
        if sink is None:
            return
        try:
            if not isinstance(sink, _Terminal) and kind is None:
                self._draw(sink)
        finally:
            sink.end("" if kind is None else "interrupted" if kind is KeyboardInterrupt else "ended by an error")


def of_a_job(context: Context, task_id: int) -> Line:
    """What whoever waits for a result on a terminal is shown: something of a job, else nothing."""
    wanted = None
    with contextlib.suppress(Trouble, TaskcoreError):
        pulse = context.look(overview.pulse_of, task_id)
        wanted = None if pulse is not None and pulse.task is not None and pulse.task.job is not None else False
    return Line(context, wanted, task_id, asked=False)


def _notebook() -> Any:
    """`IPython.display`, in a notebook's kernel; nothing is imported where there is none."""
    ipython = sys.modules.get("IPython")
    shell = getattr(ipython, "get_ipython", bool)()
    return sys.modules.get("IPython.display") if hasattr(shell, "kernel") else None

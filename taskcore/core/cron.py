"""When a schedule is due: five fields of a wall clock, or a period.

Fields mean what they mean in Vixie cron, its two rules on a leading `*` included. What is tried here is *which wall
clock minutes match* and *when such a minute occurs*; the second has all there is to know about daylight saving.

Wall-clock times are counted in seconds too, as though the zone's clock had begun at 1970-01-01 00:00 and never been
set: then a wall time is an instant plus the offset, and only near a change of the offset is there more to say.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from calendar import monthrange
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from taskcore.core.numbers import real


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()


_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WEEKDAY: Final = _Field("day of week", 0, 6, _DAYS)
_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _WEEKDAY,
)

_WORDS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_ITEM: Final = re.compile(r"(?:\*|([0-9A-Za-z]+)(?:-([0-9A-Za-z]+))?)(?:/([0-9]+))?")
_UNITS: Final = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
# No part ever gives back what it took (`++`): a text that is no period is refused in one pass, however long it is.
_PERIOD: Final = re.compile("".join(rf"(?:([0-9]++(?:\.[0-9]++)?+){unit}\s*+)?" for unit in _UNITS))

_MONTHS_ENOUGH: Final = 41 * 12
"""A 29 February that is a Sunday may be 40 years away (2088, 2128); no other day is further."""

_DAY: Final = 24 * 60
_SECOND: Final = timedelta(seconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()


def period(every: float | str) -> float:
    """Seconds, 0.001 at least, from a number of them or from text such as "90s", "5m", "1h30m", "2d", "1w".

    A minute is 60 s and a day 24 h, whatever the zone's clock does. `TypeError` or `ValueError` says what is wrong.
    """
    if isinstance(every, str):
        found = _PERIOD.fullmatch(every.strip())
        if found is None or found.lastindex is None:
            raise ValueError(
                f"{every!r} is not a period: write numbers with the units w, d, h, m, s in this order, such as '1h30m'"
            )
        parts = zip(found.groups(), _UNITS.values(), strict=True)
        length: float | None = math.fsum(float(part or 0) * unit for part, unit in parts)
    else:
        length = real(every)
    if length is None:
        raise TypeError(f"a period is a number of seconds or text such as '5m', not {every!r}")
    if not 0.001 <= length < math.inf:
        raise ValueError(f"a period is finite and at least 0.001 s, not {every!r}")
    return length


class Cron:
    """A cron expression in a time zone: `minute hour day-of-month month day-of-week`, or a word such as `@daily`.

    Each field is a list of `*`, `a`, `a-b`, with a step `/n` behind (`a/n` goes on to the field's end); months and
    days of the week have names, Sunday is 0 or 7. Where neither day field begins with `*`, either may match. `tz`: a
    name such as "Europe/Rome", `None` for UTC. `ValueError` says what is wrong and where, also of a date that never
    comes, and of a zone that this machine does not know.
    """

    def __init__(self, expression: str, tz: str | None = None) -> None:
        if not isinstance(expression, str):
            raise TypeError(f"a cron expression is text such as '0 3 * * *', not {expression!r}")
        try:
            texts = _split(expression)
            minutes, hours, self._days, self._months, self._weekdays = map(_values, texts, _FIELDS)
            either = not (texts[2].startswith("*") or texts[4].startswith("*"))
            if not either and min(self._days) > max(monthrange(2000, month)[1] for month in self._months):
                raise ValueError(f"this date never comes, no month of {texts[3]!r} has a day {min(self._days)}")
        except ValueError as error:
            raise ValueError(f"cron expression {expression!r}: {error}") from None
        self.expression = expression
        self._times = tuple(60 * hour + minute for hour in sorted(hours) for minute in sorted(minutes))
        """Minutes of the day that match, ascending."""
        self._rule: Callable[[tuple[bool, bool]], bool] = any if either else all
        """Of the day of the month and that of the week."""
        self._each = texts[1].startswith("*")
        """The hours began with `*`: every matching minute that occurs, each time it does."""
        self._origin = datetime(1970, 1, 1, tzinfo=_zone(tz))
        """Midnight of 1970-01-01 on the zone's wall clock."""

    def after(self, moment: float) -> float:
        """The first due time later than `moment`, both seconds since the epoch, UTC.

        A wall time that a change of the clock skips is due at the first instant after the gap, once for all of that
        gap; one that comes twice is due the first time. But where the hours begin with `*`, those that occur are due,
        each time they do. `ValueError` when there is none before the year 10000.
        """
        try:
            return float(self._after(math.floor(moment)))  # due times are whole seconds: a fraction changes nothing
        except (OverflowError, ValueError):
            raise ValueError(
                f"cron expression {self.expression!r} has no time after {moment!r} in the years 1 to 9999"
            ) from None

    def _after(self, moment: int) -> int:
        here = (_EPOCH + timedelta(seconds=moment)).astimezone(self._origin.tzinfo)
        wall = moment + _offset(here)
        start = wall + 1
        if here.fold != self._each:  # else the clock's next turn back changes nothing
            before, behind = self._offsets(wall)
            if before > behind:  # this wall time comes twice
                turn = self._turn(wall, before, behind)
                if here.fold:  # the second time round: on from where the clock was when it was set back
                    start = turn + before
                elif (wall := self._match(start)) < turn + before:
                    return wall - before
                else:  # on from where it was set back to
                    start = turn + behind
        while True:
            wall = self._match(start)
            before, behind = self._offsets(wall)
            if before >= behind:
                first = wall - before
                return first if first > moment else wall - behind
            turn = self._turn(wall, before, behind)  # this wall time is skipped
            if not self._each:
                return turn
            start = turn + behind

    def _offsets(self, wall: int) -> tuple[int, int]:
        """The offset of a wall time; before and after the change of the clock that skips or repeats it."""
        local = self._origin + timedelta(seconds=wall)
        return _offset(local), _offset(local.replace(fold=1))

    def _turn(self, wall: int, before: int, behind: int) -> int:
        """The instant at which the clock was set, skipping or repeating this wall time."""
        zone = self._origin.tzinfo
        span = range(wall - max(before, behind) + 1, wall - min(before, behind) + 1)

        def is_behind(moment: int) -> bool:
            return _offset((_EPOCH + timedelta(seconds=moment)).astimezone(zone)) != before

        return span[bisect_left(span, True, key=is_behind)]

    def _match(self, wall: int) -> int:
        """The first wall time from this one on that the fields match."""
        today, minute = divmod(-(-wall // 60), _DAY)
        day = self._day(today)
        place = bisect_left(self._times, minute) if day == today else 0
        if place == len(self._times):
            day, place = self._day(today + 1), 0
        return (day * _DAY + self._times[place]) * 60

    def _day(self, day: int) -> int:
        """The first day from this one on (0: 1970-01-01) that the fields match."""
        first = date.fromordinal(day + _EPOCH_DAY)
        year, month, start = first.year, first.month, first.day
        for _ in range(_MONTHS_ENOUGH):
            if month in self._months:
                eve = date(year, month, 1).toordinal() - 1
                for number in range(start, monthrange(year, month)[1] + 1):
                    if self._rule((number in self._days, (eve + number) % 7 in self._weekdays)):
                        return eve + number - _EPOCH_DAY
            year, month, start = year + month // 12, month % 12 + 1, 1
        raise AssertionError(f"{self.expression} was taken though it never comes")


def _offset(local: datetime) -> int:
    offset = local.utcoffset()
    assert offset is not None  # it has a zone
    return offset // _SECOND


def _zone(name: str | None) -> tzinfo:
    if name is None or name == "UTC":
        return UTC  # also where there is no time zone data
    if not isinstance(name, str):
        raise TypeError(f"tz is the name of a time zone such as 'Europe/Rome', not {name!r}")
    try:
        return ZoneInfo(name)
    except (LookupError, OSError, ValueError):  # not there; a folder; no path inside the data, or no zone's file
        pass
    try:
        ZoneInfo("Europe/London")
    except LookupError:
        raise ValueError(
            f"time zone {name!r}: this machine has no time zone data; the package tzdata on PyPI brings it"
        ) from None
    raise ValueError(f"there is no time zone {name!r} on this machine")


def _split(expression: str) -> Sequence[str]:
    texts = expression.split()
    if len(texts) == 1 and texts[0].startswith("@"):
        if texts[0].lower() not in _WORDS:
            raise ValueError(f"there is no word {texts[0]!r}; there are {', '.join(_WORDS)}")
        texts = _WORDS[texts[0].lower()].split()
    if len(texts) != len(_FIELDS):
        names = ", ".join(each.name for each in _FIELDS)
        raise ValueError(f"there must be five fields ({names}), not {len(texts)}")
    return texts


def _values(text: str, field: _Field) -> frozenset[int]:
    try:
        return frozenset(value for item in text.split(",") for value in _item(item, field))
    except ValueError as error:
        raise ValueError(f"{field.name}: {error}") from None


def _item(item: str, field: _Field) -> Sequence[int]:
    found = _ITEM.fullmatch(item)
    if found is None:
        raise ValueError(f"{item!r} is none of *, a, a-b, */n, a/n, a-b/n" if item else "an item of the list is empty")
    first, last, step = found.groups()
    low, high = field.low, field.high
    if first is not None:
        low = _number(first, field)
        high = high if step is not None else low
    if last is not None:
        high = _number(last, field)
    if field is _WEEKDAY and low == 7 and high != 7:
        low = 0  # Sunday begins a week …
    if field is _WEEKDAY and high == 0 and low > 0:
        high = 7  # … or ends one
    if low > high:
        words = field.words or (str(field.low), str(field.high))
        round_ = f"{first}-{words[-1]},{words[0]}-{last}"
        raise ValueError(f"{item!r} runs backwards; a range that wraps round is refused, write {round_!r}")
    size = field.high - field.low + 1
    if step is not None and not (len(step) < 4 and 1 <= int(step) <= size):
        raise ValueError(f"the step of {item!r} is not from 1 to {size}")
    chosen = range(low, high + 1, int(step or 1))
    return [value % 7 for value in chosen] if field is _WEEKDAY else chosen


def _number(word: str, field: _Field) -> int:
    if word.lower() in field.words:
        return field.words.index(word.lower()) + field.low
    high = 7 if field is _WEEKDAY else field.high
    if word.isdecimal():
        if len(word) < 4 and field.low <= int(word) <= high:
            return int(word)
        raise ValueError(f"{word} is not from {field.low} to {high}")
    known = f"; the names are {', '.join(field.words)}" if field.words else ""
    raise ValueError(f"{word!r} is not a number{known}")

"""Cron expressions and periods, above all near changes of the clock.

The reference further down knows nothing of the implementation: it walks over the minutes of UTC, looks at the wall
clock at each, and applies the contract's sentence as it stands.
"""

import math
import random
import time
from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import pytest

from taskcore.core import cron
from taskcore.core.cron import Cron, period

ZONES = [
    "UTC",
    "Europe/Rome",
    "Australia/Lord_Howe",  # half an hour
    "Africa/Casablanca",  # back to winter for Ramadan
    "America/St_Johns",  # at a minute past midnight, until 2011
    "Asia/Kathmandu",  # +05:45
    "Pacific/Apia",  # had no 30 December 2011
    "Europe/Dublin",  # winter is the exception
    "Antarctica/Troll",  # two hours
    "America/Sao_Paulo",  # days without a midnight, and with two
    "Asia/Tehran",
]


def zone_of(name):
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:
        pytest.skip(f"this machine knows no {name}")


def at(text, tz="UTC"):
    """Seconds since the epoch: `text` on the zone's wall clock, or with an offset of its own."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone_of(tz))).timestamp()


def due(expression, start, n=4, tz="UTC"):
    """The first `n` due times after `start`, as the wall clock shows them."""
    rule, moment, found = Cron(expression, tz), at(start, tz), []
    for _ in range(n):
        moment = rule.after(moment)
        found.append(datetime.fromtimestamp(moment, zone_of(tz)))
    form = "%Y-%m-%d %H:%M" if tz == "UTC" else "%Y-%m-%d %H:%M%z"
    return [each.strftime(form) for each in found]


def minutes(field):
    """Which minutes a minute field means."""
    rule, moment, found = Cron(f"{field} 0 1 1 *", None), at("2023-12-31 12:00"), []
    while (moment := rule.after(moment)) < at("2024-01-02 00:00"):
        found.append(int(moment - at("2024-01-01 00:00")) // 60)
    return found


WEEK = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def weekdays(field):
    """Which days of the week a field means, Monday first."""
    rule, moment, found = Cron(f"0 0 * * {field}", None), at("2023-12-31 12:00"), []  # the next day was a Monday
    while (moment := rule.after(moment)) < at("2024-01-08 00:00"):
        found.append(WEEK[datetime.fromtimestamp(moment, UTC).weekday()])
    return " ".join(found)


# -- what the fields mean -------------------------------------------------------------------------------------------


def test_a_field_is_a_number_a_range_a_step_or_a_list_of_those():
    assert minutes("7") == minutes("07") == [7]
    assert minutes("*") == minutes("*/1") == minutes("0-59") == list(range(60))
    assert minutes("3-6") == [3, 4, 5, 6]
    assert minutes("5-5") == [5]
    assert minutes("*/20") == [0, 20, 40]
    assert minutes("*/60") == [0]
    assert minutes("10-20/4") == [10, 14, 18]
    assert minutes("10-20/60") == [10]
    assert minutes("50/4") == [50, 54, 58]
    assert minutes("30,5,5,58-59,*/30") == [0, 5, 30, 58, 59]


def test_months_and_days_of_the_week_have_names_in_any_case():
    assert due("0 0 1 feb,MAY,Oct-Nov *", "2024-01-01 00:00", 5) == [
        "2024-02-01 00:00",
        "2024-05-01 00:00",
        "2024-10-01 00:00",
        "2024-11-01 00:00",
        "2025-02-01 00:00",
    ]
    assert due("0 0 1 mar/4 *", "2024-01-01 00:00", 3) == ["2024-03-01 00:00", "2024-07-01 00:00", "2024-11-01 00:00"]
    assert weekdays("mon-Fri") == weekdays("1-5") == "mon tue wed thu fri"
    assert weekdays("SAT,wed") == "wed sat"


def test_sunday_is_0_or_7_and_begins_or_ends_a_range():
    assert weekdays("0") == weekdays("7") == weekdays("sun") == weekdays("*/7") == weekdays("7-7") == "sun"
    assert weekdays("sun-sun") == weekdays("0-0") == "sun"
    assert weekdays("sun-tue") == weekdays("0-2") == weekdays("7-2") == "mon tue sun"
    assert weekdays("fri-sun") == weekdays("5-7") == weekdays("5-0") == "fri sat sun"
    assert weekdays("0-7") == weekdays("1-7") == weekdays("mon-sun") == weekdays("*") == "mon tue wed thu fri sat sun"
    assert weekdays("1/2") == "mon wed fri"
    assert weekdays("0/2") == weekdays("7/2") == weekdays("*/2") == "tue thu sat sun"
    assert weekdays("1-7/2") == "mon wed fri sun"


@pytest.mark.parametrize(
    "word, same",
    [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
        (" @Daily\n", "0\t0 *  * * "),
    ],
)
def test_a_word_stands_for_five_fields(word, same):
    assert due(word, "2024-02-10 09:30", 30) == due(same, "2024-02-10 09:30", 30)


def test_a_word_is_due_when_it_says():
    assert due("@yearly", "2024-02-10 09:30", 1) == ["2025-01-01 00:00"]
    assert due("@monthly", "2024-02-10 09:30", 1) == ["2024-03-01 00:00"]
    assert due("@weekly", "2024-02-10 09:30", 1) == ["2024-02-11 00:00"]  # a Sunday
    assert due("@daily", "2024-02-10 09:30", 1) == ["2024-02-11 00:00"]
    assert due("@hourly", "2024-02-10 09:30", 1) == ["2024-02-10 10:00"]


def test_with_both_day_fields_restricted_either_matches():
    assert due("0 12 13 * fri", "2024-09-01 00:00", 6) == [
        "2024-09-06 12:00",
        "2024-09-13 12:00",  # both, once
        "2024-09-20 12:00",
        "2024-09-27 12:00",
        "2024-10-04 12:00",
        "2024-10-11 12:00",
    ]
    assert due("0 12 13 * 1-7", "2024-09-01 13:00", 2) == ["2024-09-02 12:00", "2024-09-03 12:00"]
    assert due("0 12 13 10 fri", "2024-09-01 00:00", 3) == ["2024-10-04 12:00", "2024-10-11 12:00", "2024-10-13 12:00"]


def test_with_a_day_field_that_begins_with_a_star_both_must_match():
    assert due("0 12 13 * *", "2024-09-01 00:00", 2) == ["2024-09-13 12:00", "2024-10-13 12:00"]
    assert due("0 12 * * fri", "2024-09-01 00:00", 2) == ["2024-09-06 12:00", "2024-09-13 12:00"]
    assert due("0 12 */12 * fri", "2024-09-01 00:00", 3) == ["2024-09-13 12:00", "2024-10-25 12:00", "2024-11-01 12:00"]
    assert due("0 12 13 * */7", "2024-09-01 00:00", 2) == ["2024-10-13 12:00", "2025-04-13 12:00"]


def test_a_leap_day_comes_every_four_years_but_not_in_2100():
    assert due("0 0 29 2 *", "2024-02-28 00:00", 2) == ["2024-02-29 00:00", "2028-02-29 00:00"]
    assert due("0 0 29 2 *", "2096-02-28 00:00", 2) == ["2096-02-29 00:00", "2104-02-29 00:00"]
    assert due("0 0 29 2 *", "1996-02-29 00:00", 2) == ["2000-02-29 00:00", "2004-02-29 00:00"]
    assert due("0 0 29-31 2,4 *", "2025-01-01 00:00", 3) == ["2025-04-29 00:00", "2025-04-30 00:00", "2026-04-29 00:00"]
    assert due("0 0 31 * *", "2024-01-31 00:00", 3) == ["2024-03-31 00:00", "2024-05-31 00:00", "2024-07-31 00:00"]


def test_the_rarest_date_is_found_forty_years_on():
    """A day */7 is a Sunday and, beginning with a star, must match along with the 29th of February."""
    assert due("0 0 29 2 */7", "2072-02-29 00:00", 3) == ["2088-02-29 00:00", "2128-02-29 00:00", "2156-02-29 00:00"]
    assert due("0 0 29 2 mon", "2024-02-27 00:00", 3) == ["2024-02-29 00:00", "2025-02-03 00:00", "2025-02-10 00:00"]


# -- moments --------------------------------------------------------------------------------------------------------


def test_a_due_time_is_later_than_the_moment_never_the_moment_itself():
    rule = Cron("0 3 * * *", None)
    three = at("2024-05-01 03:00")
    assert rule.after(three - 86400) == three
    assert rule.after(three) == three + 86400
    assert rule.after(three - 1) == three
    assert type(rule.after(0)) is float


def test_microseconds_are_not_rounded_away():
    rule = Cron("* * * * *", None)
    for moment in (at("2024-05-01 03:00"), 0.0, -60.0):
        for less in (1e-7, 1e-6, 0.4999995, 0.5, 0.999999):
            assert rule.after(moment - less) == moment if moment - less < moment else moment + 60
            assert rule.after(moment + less) == moment + 60
        assert rule.after(math.nextafter(moment, -math.inf)) == moment
        assert rule.after(math.nextafter(moment, math.inf)) == moment + 60


def test_times_before_the_epoch_are_times_too():
    assert due("30 2 * * *", "1969-12-30 12:00", 2) == ["1969-12-31 02:30", "1970-01-01 02:30"]
    assert due("30 2 29 2 *", "1899-12-31 00:00", 1) == ["1904-02-29 02:30"]


@pytest.mark.parametrize("tz", [None, "Europe/Rome", "America/St_Johns"])
def test_where_the_calendar_ends_there_is_no_further_time(tz):
    if tz:
        zone_of(tz)
    rule = Cron("0 0 29 2 *", tz)
    last = rule.after(at("9996-02-28T12:00"))
    for moment in (last, at("9999-12-31T23:59"), 1e12, 1e300, -1e12, math.inf, -math.inf, math.nan, 10**400):
        with pytest.raises(ValueError, match=r"'0 0 29 2 \*' has no time after .* in the years 1 to 9999"):
            rule.after(moment)


@pytest.mark.parametrize(
    "expression", ["* * * * *", "0 3 * * *", "0 0 29 2 mon", "0 0 29 2 */7", "*/15 9 30 12 *", "59 23 31 12 *"]
)
@pytest.mark.parametrize("tz", ["UTC", "Europe/Rome", "Pacific/Apia"])
def test_after_takes_less_than_a_millisecond_however_rare_the_date(expression, tz):
    zone_of(tz)
    rule = Cron(expression, tz)

    def cost(moment, rounds=20):
        began = time.thread_time()
        for _ in range(rounds):
            rule.after(moment)
        return (time.thread_time() - began) / rounds

    for start in ("2088-03-01", "2011-12-29T12:00", "2024-03-31T00:30"):
        moment = at(start)
        assert min(cost(moment) for _ in range(5)) < 0.001


# -- changes of the clock, by hand ----------------------------------------------------------------------------------


def test_a_time_that_is_skipped_runs_at_the_first_one_after_the_gap():
    assert due("30 2 * * *", "2024-03-30 00:00", 3, "Europe/Rome") == [
        "2024-03-30 02:30+0100",
        "2024-03-31 03:00+0200",
        "2024-04-01 02:30+0200",
    ]


def test_times_skipped_by_one_gap_become_one_run_also_with_a_time_right_after_it():
    assert due("*/10 2-3 * * *", "2024-03-31 00:00", 3, "Europe/Rome") == [
        "2024-03-31 03:00+0200",
        "2024-03-31 03:10+0200",
        "2024-03-31 03:20+0200",
    ]
    assert due("15,45 2 * * *", "2024-03-31 00:00", 2, "Europe/Rome") == [
        "2024-03-31 03:00+0200",
        "2024-04-01 02:15+0200",
    ]


def test_a_time_that_comes_twice_runs_the_first_time_only():
    assert due("30 2 * * *", "2024-10-26 12:00", 2, "Europe/Rome") == [
        "2024-10-27 02:30+0200",
        "2024-10-28 02:30+0100",
    ]
    assert due("30 2 * * *", "2024-10-27 02:10+01:00", 1, "Europe/Rome") == ["2024-10-28 02:30+0100"]
    assert due("*/30 2,3 * * *", "2024-10-27 00:00", 5, "Europe/Rome") == [
        "2024-10-27 02:00+0200",
        "2024-10-27 02:30+0200",
        "2024-10-27 03:00+0100",
        "2024-10-27 03:30+0100",
        "2024-10-28 02:00+0100",
    ]


@pytest.mark.parametrize("expression", ["*/30 * * * *", "*/30 */1 * * *", "*/30 */2 * * *", "*/30 *,7 * * *"])
def test_hours_that_begin_with_a_star_run_whenever_the_clock_shows_them(expression):
    """A `*` may be a list's first item, as with the day fields; `*/2` leaves out 1 and 3 o'clock here."""
    odd = "*/2" not in expression
    spring = ["01:00+0100", "01:30+0100", "03:00+0200", "03:30+0200", "04:00+0200", "04:30+0200"]
    autumn = ["01:30+0200", "02:00+0200", "02:30+0200", "02:00+0100", "02:30+0100", "03:00+0100", "03:30+0100"]
    for date, start, times in (("2024-03-31", "00:45", spring), ("2024-10-27", "01:10", autumn)):
        times = [f"{date} {each}" for each in times if odd or int(each[:2]) % 2 == 0]
        assert due(expression, f"{date} {start}", len(times), "Europe/Rome") == times


def test_naming_every_hour_is_not_the_same_as_a_star():
    assert due("30 0-23 * * *", "2024-10-27 02:00+02:00", 2, "Europe/Rome") == [
        "2024-10-27 02:30+0200",
        "2024-10-27 03:30+0100",
    ]
    assert due("30 0-23 * * *", "2024-03-31 01:10", 3, "Europe/Rome") == [
        "2024-03-31 01:30+0100",
        "2024-03-31 03:00+0200",  # in place of 02:30
        "2024-03-31 03:30+0200",
    ]


def test_a_skipped_day_runs_once_when_the_next_begins():
    """Samoa went from 29 to 31 December 2011."""
    assert due("0 9 * * *", "2011-12-28 12:00", 4, "Pacific/Apia") == [
        "2011-12-29 09:00-1000",
        "2011-12-31 00:00+1400",
        "2011-12-31 09:00+1400",
        "2012-01-01 09:00+1400",
    ]
    assert due("*/15 9-17 30 12 *", "2011-06-01 00:00", 2, "Pacific/Apia") == [
        "2011-12-31 00:00+1400",
        "2012-12-30 09:00+1400",
    ]
    assert due("0 * 30 12 *", "2011-06-01 00:00", 1, "Pacific/Apia") == ["2012-12-30 00:00+1400"]


def test_half_an_hour_may_be_skipped_or_come_twice():
    assert due("10,40 2 * * *", "2024-10-06 00:00", 2, "Australia/Lord_Howe") == [
        "2024-10-06 02:30+1100",  # in place of 02:10
        "2024-10-06 02:40+1100",
    ]
    assert due("40 1 * * *", "2024-04-06 12:00", 2, "Australia/Lord_Howe") == [
        "2024-04-07 01:40+1100",
        "2024-04-08 01:40+1030",
    ]
    assert due("40 * * * *", "2024-04-07 01:00+11:00", 3, "Australia/Lord_Howe") == [
        "2024-04-07 01:40+1100",
        "2024-04-07 01:40+1030",
        "2024-04-07 02:40+1030",
    ]


def test_midnight_may_be_skipped_or_the_day_before_end_twice():
    assert due("@daily", "2018-11-03 12:00", 2, "America/Sao_Paulo") == [
        "2018-11-04 01:00-0200",
        "2018-11-05 00:00-0200",
    ]
    assert due("0 */6 * * *", "2018-11-03 18:00", 1, "America/Sao_Paulo") == ["2018-11-04 06:00-0200"]
    assert due("30 23 17 2 *", "2018-02-17 12:00", 2, "America/Sao_Paulo") == [
        "2018-02-17 23:30-0200",
        "2019-02-17 23:30-0300",
    ]
    assert due("1 0 * * *", "2006-04-01 12:00", 2, "America/St_Johns") == [
        "2006-04-02 01:01-0230",
        "2006-04-03 00:01-0230",
    ]


# -- changes of the clock, by brute force ---------------------------------------------------------------------------


class Job(NamedTuple):
    """An expression, and what it means in Python."""

    text: str
    times: frozenset[tuple[int, int]]
    """(hour, minute)"""
    is_day: object = lambda day: True
    each: bool = False
    """The hour field is `*` or `*/n`."""

    def matches(self, wall):
        return (wall.hour, wall.minute) in self.times and self.is_day(wall)


def clock(hours, minutes):
    return frozenset((hour, minute) for hour in hours for minute in minutes)


def is_change(day):
    """Of the clock, in much of the world."""
    return day.month in (3, 10) and day.weekday() == 6


ALL_HOURS = range(24)
EVERY_MINUTE = Job("* * * * *", clock(ALL_HOURS, range(60)), each=True)
DAILY = Job("30 2 * * *", clock([2], [30]))
MANY = [
    Job("0 * * * *", clock(ALL_HOURS, [0]), each=True),
    Job("*/15 * * * *", clock(ALL_HOURS, [0, 15, 30, 45]), each=True),
    Job("7,37 */2 * * *", clock(range(0, 24, 2), [7, 37]), each=True),
    Job("25/30 0-23 * * *", clock(ALL_HOURS, [25, 55])),
    Job("*/20 0-4 * * *", clock([0, 1, 2, 3, 4], [0, 20, 40])),
    Job("0 0 * * *", clock([0], [0])),
    Job("59 23,0-3/3 * * *", clock([0, 3, 23], [59])),
]
FEW = [
    Job("15 0,12 1 * *", clock([0, 12], [15]), lambda day: day.day == 1),
    Job("0 0 13 * fri", clock([0], [0]), lambda day: day.day == 13 or day.weekday() == 4),
    Job("45 23 */2 * sun", clock([23], [45]), lambda day: day.day % 2 == 1 and day.weekday() == 6),
    Job("0 3 29 2 *", clock([3], [0]), lambda day: (day.month, day.day) == (2, 29)),
    Job("0 9 30 12 *", clock([9], [0]), lambda day: (day.month, day.day) == (12, 30)),
    Job("10-50/20 2 * mar,oct 7", clock([2], [10, 30, 50]), is_change),
    Job(
        "7 */6 1,2 4,9-11 *", clock([0, 6, 12, 18], [7]), lambda day: day.day < 3 and day.month in (4, 9, 10, 11), True
    ),
    Job("0 */3 25-31 3,10 */7", clock(range(0, 24, 3), [0]), lambda day: day.day >= 25 and is_change(day), True),
]

MINUTE = timedelta(minutes=1)
NEAR = 150 * 60
"""Seconds on either side of a change that are walked minute by minute; what one change repeats fits in."""

ALL_ZONES = [pytest.param(zone, marks=[] if n % 5 == 1 else pytest.mark.storm) for n, zone in enumerate(ZONES)]
"""Of what takes long, a fifth of the zones always, and the others with the storms."""

YEARS = int(at("1995-01-01")), int(at("2026-01-01"))


def walk(zone, begin, end):
    """For each minute of UTC: the instant, the wall clock, and which of its minutes were skipped just before."""
    found, last = [], None
    for moment in range(begin, end, 60):
        wall = datetime.fromtimestamp(moment, zone).replace(tzinfo=None)
        skipped = []
        while last is not None and (last := last + MINUTE) < wall:
            skipped.append(last)
        found.append((moment, wall, skipped))
        last = wall
    return found


def expected(job, minutes):
    """The reference: when `job` is due during this walk, which must not begin in an hour that comes twice."""
    if job.each:
        return [moment for moment, wall, _ in minutes if job.matches(wall)]
    found, ran = [], set()
    for moment, wall, skipped in minutes:
        is_due = bool(skipped) and any(map(job.matches, skipped))
        if job.matches(wall) and wall not in ran:
            ran.add(wall)
            is_due = True
        if is_due:
            found.append(moment)
    return found


def chain(rule, begin, end):
    """When it is due from `begin` on, before `end`, each found from the one before."""
    found = []
    moment = rule.after(begin - 0.5)
    while moment < end:
        found.append(moment)
        moment = rule.after(moment)
    return found


@cache
def changes(name, begin=YEARS[0], end=YEARS[1]):
    """The instants at which the zone's offset changes, from any day to the next."""
    zone = zone_of(name)

    def offset(moment):
        return datetime.fromtimestamp(moment, zone).utcoffset()

    days = range(begin, end, 86400)
    offsets = [offset(day) for day in days]
    found = []
    for day, before, behind in zip(days[1:], offsets, offsets[1:], strict=False):
        if before != behind:
            span = range(day - 86400 + 60, day + 60, 60)
            found.append(span[bisect_left(span, True, key=lambda moment, before=before: offset(moment) != before)])
    return found


@cache
def matching(job):
    """All wall times of the thirty-one years and a day more at both ends, as though each were UTC."""
    days = range(YEARS[0] - 86400, YEARS[1] + 86400, 86400)
    times = sorted(3600 * hour + 60 * minute for hour, minute in job.times)
    return [day + each for day in days if job.is_day(datetime.fromtimestamp(day, UTC)) for each in times]


@cache
def walks(name):
    zone = zone_of(name)
    return [walk(zone, change - NEAR, change + NEAR) for change in changes(name)]


def expected_in_years(job, name, walks):
    """The reference for all of the years: near a change the walk, and elsewhere a constant offset from UTC."""
    zone, walls = zone_of(name), matching(job)
    found, begin = [], YEARS[0]
    for near in [*walks, []]:
        end = near[0][0] if near else YEARS[1]
        offset = int(datetime.fromtimestamp(begin, zone).utcoffset().total_seconds())
        found += [
            wall - offset for wall in walls[bisect_left(walls, begin + offset) : bisect_left(walls, end + offset)]
        ]
        if near:
            found += expected(job, near)
            begin = near[-1][0] + 60
    return found


def check(job, name, minutes, draw):
    """Compare a walk with the chain through it, and with what comes after a moment drawn from it."""
    begin, end = minutes[0][0], minutes[-1][0] + 60
    wanted, rule = expected(job, minutes), Cron(job.text, name)
    assert chain(rule, begin, end) == wanted, f"{rule} from {begin} to {end}"
    if wanted and wanted[-1] > begin:
        moment = draw.uniform(begin, wanted[-1] - 1)
        assert rule.after(moment) == wanted[bisect_right(wanted, moment)], f"{rule} after {moment!r}"


@pytest.mark.parametrize("name", ALL_ZONES)
def test_near_every_change_of_thirty_one_years_all_is_as_the_walk_says(name):
    draw, near = random.Random(f"near {name}"), walks(name)
    for minutes in near:
        for job in (DAILY, *MANY):
            check(job, name, minutes, draw)
    for minutes in draw.sample(near, min(3, len(near))):
        check(EVERY_MINUTE, name, minutes, draw)


@pytest.mark.parametrize("name", ALL_ZONES)
def test_rare_jobs_are_right_for_thirty_one_years(name):
    near = walks(name)
    for job in FEW:
        assert chain(Cron(job.text, name), *YEARS) == expected_in_years(job, name, near), job.text


@pytest.mark.parametrize("name", ["Africa/Casablanca", "America/Sao_Paulo", "Pacific/Apia"])
def test_a_daily_job_is_right_for_thirty_one_years(name):
    near = walks(name)
    assert chain(Cron(DAILY.text, name), *YEARS) == expected_in_years(DAILY, name, near)


@pytest.mark.parametrize("name", ALL_ZONES)
def test_near_the_changes_of_far_years_all_is_as_the_walk_says(name):
    zone, draw = zone_of(name), random.Random(f"far {name}")
    for change in changes(name, int(at("2049-01-01")), int(at("2051-01-01"))):
        for job in (DAILY, *MANY, *FEW):
            check(job, name, walk(zone, change - NEAR, change + NEAR), draw)


@pytest.mark.parametrize("name", ALL_ZONES)
def test_frequent_jobs_are_right_on_days_drawn_by_lot(name):
    zone, draw = zone_of(name), random.Random(f"days {name}")
    for _ in range(5):
        begin = draw.randrange(*YEARS, 60)
        if any(begin - NEAR < change < begin + 86400 for change in changes(name)):
            continue  # the walk must not begin in an hour that comes twice; changes are looked at above
        minutes = walk(zone, begin, begin + 86400)
        for job in MANY:
            check(job, name, minutes, draw)
        check(EVERY_MINUTE, name, minutes[:60], draw)


@pytest.mark.storm
@pytest.mark.parametrize("name", ["Africa/Casablanca", "Australia/Lord_Howe"])
@pytest.mark.parametrize("year", range(1995, 2026))
def test_every_minute_of_the_year_is_as_the_walk_says(name, year):
    minutes = walk(zone_of(name), int(at(f"{year}-01-01T06:00")), int(at(f"{year + 1}-01-01T06:00")))
    draw = random.Random(f"{name} {year}")
    for job in (EVERY_MINUTE, DAILY, *MANY, *FEW):
        check(job, name, minutes, draw)


@pytest.mark.storm
@pytest.mark.parametrize("region", sorted({name.split("/")[0] for name in available_timezones()}))
def test_near_every_change_of_every_zone_all_is_as_the_walk_says(region):
    """From 1973 on: until 1972 Liberia was 44 minutes and 30 seconds behind, which no walk by minutes can see.

    Twice as near, for Casey in Antarctica was set back three hours.
    """
    draw = random.Random(f"region {region}")
    for name in sorted(available_timezones()):
        if name.split("/")[0] == region:
            for change in changes(name, int(at("1973-01-01")), int(at("2041-01-01"))):
                minutes = walk(zone_of(name), change - 2 * NEAR, change + 2 * NEAR)
                for job in (DAILY, *MANY, *FEW):
                    check(job, name, minutes, draw)


def test_offsets_with_seconds_keep_the_wall_clock():
    """Liberia: -00:44:30 until 7 January 1972, when the clock went from 00:00:00 to 00:44:30."""
    zone_of("Africa/Monrovia")
    assert Cron("0 12 * * *", "Africa/Monrovia").after(at("1971-06-01T00:00")) == at("1971-06-01T12:44:30")
    rule = Cron("30 0 * * *", "Africa/Monrovia")
    gap = at("1972-01-07T00:44:30")
    assert rule.after(gap - 3600) == gap
    assert rule.after(gap) == at("1972-01-08T00:30")


# -- any expression -------------------------------------------------------------------------------------------------


def random_field(draw, low, high):
    def item():
        a, b = sorted((draw.randint(low, high), draw.randint(low, high)))
        step = draw.randint(1, min(high - low + 1, 7))
        return draw.choice(["*", f"*/{step}", f"{a}", f"{a}", f"{a}-{b}", f"{a}-{b}/{step}", f"{a}/{step}"])

    return ",".join(item() for _ in range(draw.choice([1, 1, 1, 2, 3])))


def random_expression(draw):
    return " ".join(random_field(draw, *limits) for limits in ((0, 59), (0, 23), (1, 28), (1, 12), (0, 7)))


@pytest.mark.parametrize("name", ZONES)
def test_whatever_the_expression_due_times_rise_and_nothing_lies_between(name):
    zone_of(name)
    draw = random.Random(f"rise {name}")
    for _ in range(60):
        rule, moment = Cron(random_expression(draw), name), draw.uniform(*YEARS)
        for _ in range(3):
            next_one = rule.after(moment)
            assert next_one > moment and next_one % 60 == 0, f"{rule} after {moment!r}"
            between = [draw.uniform(moment, next_one), math.nextafter(next_one, 0), float(math.floor(next_one - 1))]
            for other in between:
                if moment <= other < next_one:
                    assert rule.after(other) == next_one, f"{rule} after {other!r}"
            moment = next_one


def test_any_text_is_taken_or_refused_with_a_value_error():
    draw, taken = random.Random("text"), 0
    for _ in range(3000):
        text = random_expression(draw)
        for _ in range(draw.choice([0, 1, 1, 2, 5])):
            place = draw.randrange(len(text) + 1)
            text = text[:place] + draw.choice("0123456789*/-, @jansun٣é\0L#?") + text[place + draw.randrange(2) :]
        try:
            rule = Cron(text, None)
        except ValueError as error:
            complaint = str(error)
            assert complaint.startswith(f"cron expression {text!r}: "), complaint
        else:
            taken += 1
            assert rule.after(0) > 0
    assert 500 < taken < 2900


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expression, complaint",
    [
        ("", "there must be five fields (minute, hour, day of month, month, day of week), not 0"),
        ("* * * *", "there must be five fields (minute, hour, day of month, month, day of week), not 4"),
        ("0 * * * * *", "there must be five fields (minute, hour, day of month, month, day of week), not 6"),
        ("1, 2 * * * *", "there must be five fields (minute, hour, day of month, month, day of week), not 6"),
        ("60 * * * *", "minute: 60 is not from 0 to 59"),
        ("0-60 * * * *", "minute: 60 is not from 0 to 59"),
        ("* 24 * * *", "hour: 24 is not from 0 to 23"),
        ("* * 0 * *", "day of month: 0 is not from 1 to 31"),
        ("* * 1,32 * *", "day of month: 32 is not from 1 to 31"),
        ("* * * 13 *", "month: 13 is not from 1 to 12"),
        ("* * * 0/3 *", "month: 0 is not from 1 to 12"),
        ("* * * * 8", "day of week: 8 is not from 0 to 7"),
        ("5000 * * * *", "minute: 5000 is not from 0 to 59"),
        ("-1 * * * *", "minute: '-1' is none of *, a, a-b, */n, a/n, a-b/n"),
        ("*-5 * * * *", "minute: '*-5' is none of *, a, a-b, */n, a/n, a-b/n"),
        ("* 1-2-3 * * *", "hour: '1-2-3' is none of *, a, a-b, */n, a/n, a-b/n"),
        ("* */ * * *", "hour: '*/' is none of *, a, a-b, */n, a/n, a-b/n"),
        ("* * ? * *", "day of month: '?' is none of *, a, a-b, */n, a/n, a-b/n"),
        ("* * * * mon#1", "day of week: 'mon#1' is none of *, a, a-b, */n, a/n, a-b/n"),
        ("٣ * * * *", "minute: '٣' is none of *, a, a-b, */n, a/n, a-b/n"),
        ("1.5 * * * *", "minute: '1.5' is none of *, a, a-b, */n, a/n, a-b/n"),
        ("1,,2 * * * *", "minute: an item of the list is empty"),
        (", * * * *", "minute: an item of the list is empty"),
        ("* * L * *", "day of month: 'L' is not a number"),
        ("jan * * * *", "minute: 'jan' is not a number"),
        ("* * * mon *", ("month: 'mon' is not a number; the names are jan, feb, mar, apr, may, jun, "
                        "jul, aug, sep, oct, nov, dec")),
        ("* * * * monday", "day of week: 'monday' is not a number; the names are sun, mon, tue, wed, thu, fri, sat"),
        ("*/0 * * * *", "minute: the step of '*/0' is not from 1 to 60"),
        ("*/90 * * * *", "minute: the step of '*/90' is not from 1 to 60"),
        ("* 1-5/25 * * *", "hour: the step of '1-5/25' is not from 1 to 24"),
        ("* * * * */8", "day of week: the step of '*/8' is not from 1 to 7"),
        ("* 22-2 * * *", "hour: '22-2' runs backwards; a range that wraps round is refused, write '22-23,0-2'"),
        ("50-10/5 * * * *", ("minute: '50-10/5' runs backwards; "
                            "a range that wraps round is refused, write '50-59,0-10'")),
        ("* * * * fri-mon", ("day of week: 'fri-mon' runs backwards; "
                            "a range that wraps round is refused, write 'fri-sat,sun-mon'")),
        ("* * * 11-2 *", "month: '11-2' runs backwards; a range that wraps round is refused, write '11-dec,jan-2'"),
        ("30 2 31 2 *", "this date never comes, no month of '2' has a day 31"),
        ("0 0 30,31 feb *", "this date never comes, no month of 'feb' has a day 30"),
        ("0 0 31 2,4,6,9,11 *", "this date never comes, no month of '2,4,6,9,11' has a day 31"),
        ("0 0 31 4 */2", "this date never comes, no month of '4' has a day 31"),
        ("@reboot", ("there is no word '@reboot'; there are @yearly, @annually, @monthly, @weekly, @daily, "
                    "@midnight, @hourly")),
    ],
)  # fmt: skip
def test_a_refusal_says_what_is_wrong_and_where(expression, complaint):
    with pytest.raises(ValueError) as refusal:
        Cron(expression, None)
    assert str(refusal.value) == f"cron expression {expression!r}: {complaint}"


@pytest.mark.parametrize("wrapped, written", [("22-2", "22-23,0-2"), ("23-0", "23-23,0-0")])
def test_what_a_refused_range_is_to_be_written_as_is_taken(wrapped, written):
    with pytest.raises(ValueError, match=f"write '{written}'"):
        Cron(f"0 {wrapped} * * *", None)
    Cron(f"0 {written} * * *", None)
    Cron("0 0 * 11-dec,jan-2 fri-sat,sun-mon", None)


def test_a_day_that_not_every_month_has_is_taken_where_another_day_may_match_instead():
    assert due("0 0 31 2 mon", "2024-01-31 00:00", 1) == ["2024-02-05 00:00"]
    assert due("0 0 31 2,3 *", "2024-01-31 00:00", 1) == ["2024-03-31 00:00"]


def test_an_expression_or_zone_of_another_type_is_a_type_error():
    for expression in (None, 5, b"* * * * *", ["*"] * 5):
        with pytest.raises(TypeError, match="a cron expression is text such as"):
            Cron(expression, None)
    for tz in (5, UTC, b"UTC"):
        with pytest.raises(TypeError, match="tz is the name of a time zone such as 'Europe/Rome', not "):
            Cron("* * * * *", tz)


@pytest.mark.parametrize("tz", ["Mars/Base", "Europe", "", "../zoneinfo/UTC", "/etc/localtime", "a\0b", "tzdata.zi"])
def test_an_unknown_zone_is_refused_by_name(tz):
    zone_of("Europe/London")
    with pytest.raises(ValueError) as refusal:
        Cron("* * * * *", tz)
    assert str(refusal.value) == f"there is no time zone {tz!r} on this machine"


def test_without_time_zone_data_utc_works_and_another_zone_is_refused_with_the_reason(monkeypatch):
    def nothing(name):
        raise ZoneInfoNotFoundError(f"No time zone found with key {name}")

    monkeypatch.setattr(cron, "ZoneInfo", nothing)
    for tz in (None, "UTC"):
        assert Cron("0 3 * * *", tz).after(0) == 3 * 3600
    with pytest.raises(ValueError, match="'Europe/Rome': this machine has no time zone data; the package tzdata"):
        Cron("0 3 * * *", "Europe/Rome")


# -- periods --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "every, length",
    [
        (60, 60),
        (0.25, 0.25),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        (" 2d ", 172800),
        ("1w", 604800),
        ("1w1d1h1m1s", 604800 + 86400 + 3600 + 60 + 1),
        ("0.5s", 0.5),
        ("1.5h", 5400),
        ("90m", 5400),
        ("0h5m", 300),
        ("007s", 7),
    ],
)
def test_a_period_is_a_number_of_seconds_or_numbers_with_units(every, length):
    assert period(every) == length
    assert type(period(every)) is float


@pytest.mark.parametrize(
    "every",
    ["", " ", "5", "m", "m5", "30m1h", "1h1h", "-5m", "5 m", "1e3s", "5M", "5min", "1h,5m", ".5s", "٣s", "5m\0"],
)
def test_text_that_is_no_period_is_refused_with_an_example(every):
    with pytest.raises(ValueError) as refusal:
        period(every)
    assert str(refusal.value) == (
        f"{every!r} is not a period: write numbers with the units w, d, h, m, s in this order, such as '1h30m'"
    )


@pytest.mark.parametrize(
    "every",
    [0, -1, 0.0, 1e-9, math.inf, -math.inf, math.nan, 10**400, "0s", "0h0m", "9" * 400 + "w"],
    ids=lambda e: str(e)[:9],
)
def test_a_period_is_finite_and_more_than_nothing(every):
    with pytest.raises(ValueError, match=r"a period is finite and at least 0.001 s, not "):
        period(every)


@pytest.mark.parametrize("every", [None, True, b"5m", timedelta(minutes=5), [5]])
def test_a_period_of_another_type_is_a_type_error(every):
    with pytest.raises(TypeError, match=r"a period is a number of seconds or text such as '5m', not "):
        period(every)


@pytest.mark.parametrize("text", ["1w" + " " * 100_000 + "x", "1" * 100_000, "1." * 50_000, "1d" * 50_000])
def test_a_long_text_that_is_no_period_is_refused_at_once(text):
    """No pattern backtracks: this took minutes once."""
    with pytest.raises(ValueError, match="is not a period"):
        period(text)

"""Texts that others wrote, and durations, as people read them."""

import random
import sys

import pytest

from taskcore.core.text import duration, printable, quoted


def test_what_can_be_printed_stays_as_it_is():
    for text in ("", "fit", "C:\\new folder", "naïve – Σ 漢字 🙂", "it's \"so\""):
        assert printable(text) == text


@pytest.mark.parametrize(
    "text, shown",
    [
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[2J\x1b]0;x\x07", "\\x1b[2J\\x1b]0;x\\x07"),
        ("\x9b31m\x7f\x85", "\\x9b31m\\x7f\\x85"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("\u202egpj.exe\u2066", "\\u202egpj.exe\\u2066"),
        ("\ufeff\u200b\xa0", "\\ufeff\\u200b\\xa0"),
        ("\udc80\U000e0041", "\\udc80\\U000e0041"),
        ("\0", "\\x00"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text, shown):
    assert printable(text) == shown


def test_a_long_text_is_cut_and_no_escape_with_it():
    assert printable("abcdef", 6) == "abcdef"
    assert printable("abcdefg", 6) == "abcde…"
    assert printable("ab\n\n\n\n", 6) == "ab\\n…"
    assert printable("\x1b" * 9, 3) == "…"
    assert printable("x" * 10_000_000, 5) == "xxxx…"


def test_any_text_becomes_one_printable_line_of_at_most_that_length():
    rng = random.Random(1)
    for _ in range(2000):
        text = "".join(chr(rng.randrange(rng.choice([128, 0x3000, sys.maxunicode + 1]))) for _ in range(20))
        longest = rng.randrange(1, 60)
        assert printable(text).isprintable(), ascii(text)
        shown = printable(text, longest)
        assert shown.isprintable() and len(shown) <= longest, (ascii(text), longest)
        assert shown == printable(text) or shown.endswith("…")
        assert printable(text, 10_000) == printable(text)


def test_quotes_cannot_be_ended_from_inside():
    assert quoted("fit") == "'fit'"
    assert quoted("x' is held by #1 'y") == "'x\\' is held by #1 \\'y'"
    assert quoted("x\\") == "'x\\\\'"
    assert quoted("a\nb") == "'a\\nb'"
    assert quoted("y" * 300) == "'" + "y" * 99 + "…'"


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0 s"), (-5, "0 s"), (float("nan"), "0 s"), (0.0004, "0 s"), (0.0123, "12 ms"), (0.9994, "999 ms"),
        (0.9996, "1 s"), (1, "1 s"), (3.44, "3.4 s"), (9.94, "9.9 s"), (9.96, "10 s"), (40, "40 s"), (119.4, "119 s"),
        (119.6, "2 min"), (120, "2 min"), (180, "3 min"), (7199, "2 h"), (7100, "118 min"), (7200, "2 h"),
        (86400, "24 h"), (172800, "2 days"), (5 * 86400, "5 days"), (729 * 86400, "729 days"), (1e8, "3 years"),
        (1e300, "more than 9999 years"),
        (float("inf"), "more than 9999 years"),
    ],
)  # fmt: skip
def test_a_duration_is_told_in_the_unit_that_fits(seconds, text):
    assert duration(seconds) == text


def test_a_longer_duration_never_reads_shorter():
    units = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "days": 86400, "years": 31557600}
    last = -1.0
    for step in range(4000):
        shown = duration(1e-4 * 1.007**step)
        if shown.startswith("more"):
            break
        number, unit = shown.split()
        assert float(number) * units[unit] >= last - 1e-9, (step, number, unit)
        last = float(number) * units[unit]

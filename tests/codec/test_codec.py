import collections
import dataclasses
import decimal
import enum
import io
import math
import pickle
import random
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

import pytest

from taskcore.codec import json, plain, tagged
from taskcore.codec.json import JSON, NotStorable

ROME = ZoneInfo("Europe/Rome")
HOUR = timedelta(hours=1)
ODD = timezone(HOUR, "zone= name=\nü")


def at(text, zone=None, fold=0, kind=datetime):
    value = kind.fromisoformat(text)
    return value.replace(tzinfo=zone or value.tzinfo, fold=fold)


def facts(value):
    """What two values must have in common to be the same: every type, every bit, the order of dicts."""
    kind = type(value)
    if kind in (list, tuple):
        return kind, [facts(item) for item in value]
    if kind in (set, frozenset):
        return kind, sorted((facts(item) for item in value), key=repr)
    if kind is dict:
        return kind, [(facts(key), facts(item)) for key, item in value.items()]
    if kind in (datetime, time):
        zone = value.tzinfo
        return kind, value.replace(tzinfo=None).isoformat(), value.fold, type(zone), repr(zone), value.tzname()
    return kind, repr(value)


def assert_comes_back(value, note=""):
    text = JSON.encode(value)
    assert text.isascii() and "\n" not in text, note
    assert facts(JSON.decode(text)) == facts(value), f"{note} {text}"


def outcome(call, argument):
    try:
        return call(argument)
    except (ValueError, NotStorable) as refused:
        return refused


PLAIN = [
    (None, "null"),
    (True, "true"),
    (2**200, str(2**200)),
    (-0.0, "-0.0"),
    (5e-324, "5e-324"),
    ("a\n\0ü€😀", '"a\\n\\u0000\\u00fc\\u20ac\\ud83d\\ude00"'),
    ("\ud800 alone, \udfff\ud800 the wrong way round", '"\\ud800 alone, \\udfff\\ud800 the wrong way round"'),
    ("\\u0024 \\ud83d\\ude00", '"\\\\u0024 \\\\ud83d\\\\ude00"'),
    ([1, [2.0, ["x", []]]], '[1,[2.0,["x",[]]]]'),
    ({"$a": 1, "$b": 2}, '{"$a":1,"$b":2}'),
]
TAGGED = [  # value, tag, what the tag holds
    (math.nan, "float", '"nan"'),
    (-math.inf, "float", '"-inf"'),
    ({"$": {"$dict": []}}, "dict", '[["$",{"$dict":[["$dict",[]]]}]]'),
    ({1: "a", "1": "b", None: "c"}, "dict", '[[1,"a"],["1","b"],[null,"c"]]'),
    ({True: 1, 1.5: 2, (1, "x"): 3}, "dict", '[[true,1],[1.5,2],[{"$tuple":[1,"x"]},3]]'),
    ((1, [2, (3,)]), "tuple", '[1,[2,{"$tuple":[3]}]]'),
    ({3, 20, 1}, "set", "[1,20,3]"),
    ({"é", "z", (1,)}, "set", '["\\u00e9","z",{"$tuple":[1]}]'),
    (frozenset({frozenset(), 1}), "frozenset", '[1,{"$frozenset":[]}]'),
    (b"\x00\xff a", "bytes", '"AP8gYQ=="'),
    (date.min, "date", '"0001-01-01"'),
    (at("9999-12-31T23:59:59.999999-01:02:03.000004"), "datetime", '"9999-12-31T23:59:59.999999-01:02:03.000004"'),
    (at("2024-02-29T03:04:05+00:00"), "datetime", '"2024-02-29T03:04:05+00:00"'),
    (at("2024-10-27T02:30:00", fold=1), "datetime", '"2024-10-27T02:30:00 fold=1"'),
    (at("2024-10-27T02:30:00", ROME), "datetime", '"2024-10-27T02:30:00 zone=Europe/Rome"'),
    (at("2024-10-27T02:30:00", ROME, 1), "datetime", '"2024-10-27T02:30:00 fold=1 zone=Europe/Rome"'),
    (at("2024-03-31T02:30:00", ROME), "datetime", '"2024-03-31T02:30:00 zone=Europe/Rome"'),
    (at("2024-01-01T00:00:00", ODD, 1), "datetime", '"2024-01-01T00:00:00+01:00 fold=1 name=zone= name=\\n\\u00fc"'),
    (at("2024-01-01T00:00:00", timezone(0 * HOUR, "")), "datetime", '"2024-01-01T00:00:00+00:00 name="'),
    (at("10:20:30.000040", None, 1, time), "time", '"10:20:30.000040 fold=1"'),
    (at("10:20:30", timezone(5.5 * HOUR), 0, time), "time", '"10:20:30+05:30"'),
    (at("10:20:30", ROME, 0, time), "time", '"10:20:30 zone=Europe/Rome"'),
    (timedelta(days=1, hours=2, microseconds=3), "timedelta", '"1 day, 2:00:00.000003"'),
    (timedelta.max, "timedelta", '"999999999 days, 23:59:59.999999"'),
    *((Decimal(text), "decimal", f'"{text}"') for text in ("1.10", "-0", "-0E+5", "1" * 50 + ".5", "1E+999999")),
    *((Decimal(text), "decimal", f'"{text}"') for text in ("NaN", "-NaN12", "sNaN", "-Infinity")),
    (UUID(int=1), "uuid", '"00000000-0000-0000-0000-000000000001"'),
    (Path(), "path", '"."'),
    (PurePosixPath("//a/../b\\c\udc80"), "pureposixpath", '"//a/../b\\\\c\\udc80"'),
    (PureWindowsPath("C:\\a\\b"), "purewindowspath", '"C:/a/b"'),
    (PureWindowsPath("\\\\server\\share\\x"), "purewindowspath", '"//server/share/x"'),
]
STORED = [*PLAIN, *((value, f'{{"${tag}":{held}}}') for value, tag, held in TAGGED)]


@pytest.mark.parametrize("value, text", STORED, ids=[text[:40] for _, text in STORED])
def test_every_type_comes_back_as_it_was_from_a_text_that_stays_the_same_for_ever(value, text):
    assert JSON.encode(value) == text
    assert_comes_back(value)
    assert_comes_back([{"deep": [value]}])
    assert_comes_back(((value,), {1: value}))


def test_what_a_command_gave_comes_back_as_it_was():
    done = subprocess.CompletedProcess(["echo", Path("x")], 0, "x\n", None)
    text = JSON.encode({"deep": [done]})
    assert text == '{"deep":[{"$completed":[["echo",{"$path":"x"}],0,"x\\n",null]}]}'
    (again,) = JSON.decode(text)["deep"]
    assert type(again) is type(done) and vars(again) == vars(done)
    for bad in ('{"$completed":5}', '{"$completed":[]}', '{"$completed":[1,2,3,4,5]}'):
        with pytest.raises(ValueError, match="completed"):
            JSON.decode(bad)


def test_without_the_c_encoder_the_texts_are_the_same(monkeypatch):
    monkeypatch.setattr("json.encoder.c_make_encoder", None)
    for module in (plain, tagged):
        monkeypatch.setattr(module, "dump", plain.make_dump())
    for value, text in STORED:
        assert JSON.encode(value) == text


Colour = enum.Enum("Colour", "RED", module=__name__)
Level = enum.IntEnum("Level", "LOW", module=__name__)
Point = collections.namedtuple("Point", "x y")
Galaxy = dataclasses.make_dataclass("Galaxy", ["name"], namespace={"__module__": __name__})
Text = type("Text", (str,), {})
Table = type("Table", (), {"to_dict": dict, "__iter__": lambda self: iter("ab")})
Moon = type("Moon", (tzinfo,), {"utcoffset": lambda self, when: HOUR})
NO_CACHE = ZoneInfo.no_cache("Europe/Rome")
TZIF = b"TZif" + bytes(35) + b"\1" + bytes(3) + b"\4" + bytes(6) + b"UTC\0"
FILES = [ZoneInfo.from_file(io.BytesIO(TZIF), key=key) for key in (None, "Mars/Base", "../etc/passwd", "Asia/Tokyo")]
PARTS = "store the numbers and texts it is made of"
ZONES_ONLY = "take a datetime.timezone, or what zoneinfo.ZoneInfo(key) gives"

REFUSED = [
    *((value, type(value).__name__, PARTS) for value in (1j, object(), len, int, ValueError("x"), ...)),
    (bytearray(b"x"), "bytearray", "store bytes(value)"),
    (io.StringIO("x"), "_io.StringIO", "store its path, or what is in it"),
    (memoryview(b"x"), "memoryview", "store value.tolist()"),
    (Table(), f"{__name__}.Table", "store value.to_dict(), or in a file of its own, and here the path"),
    (Colour.RED, f"{__name__}.Colour", "store its .value"),
    (Level.LOW, f"{__name__}.Level", "store its .value"),
    (Text("x"), f"{__name__}.Text", "it would come back as a plain str; store that"),
    (Point(1, 2), f"{__name__}.Point", "it would come back as a plain tuple; store that"),
    (collections.OrderedDict(), "collections.OrderedDict", "it would come back as a plain dict; store that"),
    (Galaxy("M31"), f"{__name__}.Galaxy", "store dataclasses.asdict(value)"),
    (UTC, "datetime.timezone", PARTS),
    (at("2024-01-01T00:00:00", Moon()), f"datetime.datetime in a {__name__}.Moon", ZONES_ONLY),
    (at("2024-10-27T02:30:00", NO_CACHE), "datetime.datetime in a zoneinfo.ZoneInfo", ZONES_ONLY),
    (at("00:00:00", NO_CACHE, kind=time), "datetime.time in a zoneinfo.ZoneInfo", ZONES_ONLY),
    *((at("2024-01-01T00:00:00", zone), "datetime.datetime in a zoneinfo.ZoneInfo", ZONES_ONLY) for zone in FILES),
    ("\ud83d\ude00", "str with a surrogate pair for one character", "write the character itself"),
    (PurePosixPath("\ud83d\ude00"), "str with a surrogate pair for one character", "write the character itself"),
]


@pytest.mark.parametrize("value, kind, hint", REFUSED, ids=[kind for _, kind, _ in REFUSED])
def test_what_would_not_come_back_is_refused_with_the_place_the_type_and_what_to_store_instead(value, kind, hint):
    article = "an" if kind[0] in "aeiou" else "a"
    wholes = [(value, ""), ([0, 0, 0, {"k": value}], "[3]['k']"), ({(1, 2): (value,)}, '[{"$tuple":[1,2]}][0]')]
    for whole, path in wholes:
        refused = outcome(JSON.encode, whole)
        assert isinstance(refused, TypeError)
        assert (refused.path, refused.kind, refused.hint) == (path, kind, hint)
        assert str(refused) == f"{path or 'the value'} is {article} {kind}, which cannot be stored: {hint}"
        assert str(refused) == str(outcome(JSON.canonical, whole))
        assert str(refused) == str(pickle.loads(pickle.dumps(refused)))  # noqa: S301 - what process pools do with it


def test_a_refusal_leads_to_the_very_part():
    places = [
        ({1j: 0}, ".keys()[0]"),
        ({"x": 1, (2, 1j): 0}, ".keys()[1][1]"),
        ([(1, {1j})], "[0][1]{...}"),
        ({math.nan: 1j}, '[{"$float":"nan"}]'),
        ({"k" * 200: 1j}, "['" + "k" * 49 + "..." + "k" * 26 + "']"),
        ({"\ud800'": frozenset({1j})}, '["\\ud800\'"]{...}'),
        ({"\ud83d\ude00": 1}, ".keys()[0]"),
    ]
    for value, path in places:
        assert outcome(JSON.encode, value).path == path


def test_an_int_that_this_interpreter_would_not_read_back_is_refused():
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(4300)
    try:
        assert_comes_back([10**4300 - 1, 1 - 10**4300])
        for value, path in [(10**4300, ""), ([1, -(10**4300)], "[1]"), ({10**4300: 1}, ".keys()[0]")]:
            refused = outcome(JSON.encode, value)
            assert refused.path == path and "is an int of 14285 bits, more digits than this" in str(refused)
        assert "4300 digits" in str(outcome(JSON.decode, "1" * 4301))
    finally:
        sys.set_int_max_str_digits(limit)


def wrap(value, how, levels):
    for _ in range(levels):
        value = how(value)
    return value


WRAPS = {
    "list": lambda value: [value],
    "wide list": lambda value: [0] * 9 + [value],
    "tuple": lambda value: (value,),
    "dict": lambda value: {"k": value},
    "escaped dict": lambda value: {"$k": value},
    "dict with a number": lambda value: {1: value},
    "frozenset": lambda value: frozenset({value}),
}


@pytest.mark.parametrize("how", WRAPS)
def test_two_hundred_levels_are_stored_and_one_more_is_refused(how):
    deepest = wrap(1, WRAPS[how], 200)
    assert JSON.decode(JSON.encode(deepest)) == deepest
    assert "nested more than 200 deep, which cannot be stored: it may" in str(outcome(JSON.encode, WRAPS[how](deepest)))
    if how != "frozenset":  # whose hash would need the stack
        assert "nested more than 200 deep" in str(outcome(JSON.encode, wrap(deepest, WRAPS[how], 50_000)))


def test_a_value_that_contains_itself_is_refused():
    ring, pair, fan = [], {"a": [1, ()]}, [1]
    ring.append(ring)
    pair["a"].append((pair,))
    fan.extend([fan] * 20)
    for value in (ring, pair, fan, [fan, ring]):
        refused = outcome(JSON.encode, value)
        assert isinstance(refused, NotStorable) and "it may contain itself" in str(refused) and len(str(refused)) < 300


def test_a_few_lists_that_stand_for_endlessly_many_are_refused_in_no_time():
    doubled, tupled, row = [1], (1,), [0] * 1000
    for _ in range(60):
        doubled, tupled = [doubled, doubled], (tupled, tupled)
    for value in (doubled, [[row] * 1000] * 1000, {"x": (tupled, 1)}, ["x" * 10**6] * 501 + [()]):
        assert "of more than 500000000 characters as text" in str(outcome(JSON.encode, value))


@pytest.mark.parametrize("value", ["x" * 99, ["x" * 97], ("x" * 84,), b"x" * 66, {"k": 10**92}], ids=str)
def test_a_text_that_is_too_long_is_neither_stored_nor_read(value, monkeypatch):
    text = JSON.encode(value)
    for module in (json, plain, tagged):
        monkeypatch.setattr(module, "MAX_TEXT", len(text))
    assert_comes_back(value)
    for module in (json, plain, tagged):
        monkeypatch.setattr(module, "MAX_TEXT", len(text) - 1)
    refused = str(outcome(JSON.encode, value))
    assert f"is a {type(value).__name__} of more than {len(text) - 1} characters" in refused
    assert f"{len(text)} characters, more than {len(text) - 1}" in str(outcome(JSON.decode, text))


def test_memory_that_runs_out_is_a_refusal(monkeypatch):
    for module in (plain, tagged):
        monkeypatch.setattr(module, "dump", lambda value: [0] * sys.maxsize)
    assert "is a list of more than 500000000 characters as text, or more than" in str(outcome(JSON.encode, [1]))


def deeper(frames, *call):
    return outcome(*call) if frames <= 0 else deeper(frames - 1, *call)


def test_a_stack_that_is_nearly_full_is_no_recursion_error():
    used, frame = 0, sys._getframe()
    while frame := frame.f_back:
        used += 1
    for value in (wrap(1, WRAPS["list"], 150), wrap(1, WRAPS["dict with a number"], 150)):
        text = JSON.encode(value)
        for left in range(40, 600, 40):
            frames = sys.getrecursionlimit() - used - left
            encoded = deeper(frames, JSON.encode, value)
            assert encoded == text or "nested too deep for what is left of the stack" in str(encoded)
            decoded = deeper(frames, JSON.decode, text)
            assert decoded == value or "nested too deep to be read" in str(decoded)


ZONES = [None, UTC, ROME, ZoneInfo("UTC"), ZoneInfo("America/New_York"), ZoneInfo("Asia/Kathmandu")]
LETTERS = "ab$ \"\\/{}[]:,'\n\0\x7fü€😀\ud800\udfff\u2028"


class Values:
    """Random storable values, nested; the same for the same seed."""

    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.below = self.dice.randrange
        self.makers = [self.number, self.text, self.moment, self.other, self.other]

    def number(self):
        big = self.dice.uniform(-1e3, 1e3) * 10.0 ** self.below(-320, 300)
        special = self.dice.choice([0.0, -0.0, math.inf, -math.inf, math.nan, 1e16, 0.1])
        return self.dice.choice([self.below(-5, 5), self.below(-5, 5), self.below(-(2**90), 2**90), big, special])

    def text(self):
        return "".join(self.dice.choices(LETTERS, k=self.below(6))).replace("\ud800\udfff", "-")

    def moment(self):
        offset, whole = timedelta(microseconds=self.below(-86399999999, 86400000000)), HOUR * self.below(-23, 24)
        zone = self.dice.choice([*ZONES, timezone(offset), timezone(whole), timezone(whole, self.text())])
        day = date.fromordinal(self.below(1, date.max.toordinal() + 1))
        micros, fold = self.below(2) * self.below(10**6), self.below(2)
        hour = time(self.below(24), self.below(60), self.below(60), micros, zone, fold=fold)
        span = timedelta(self.below(-(10**9) + 1, 10**9), self.below(86400), micros)
        return self.dice.choice([day, hour, datetime.combine(day, hour), span])

    def other(self):
        digits = tuple(self.dice.choices(range(10), k=self.below(1, 40)))
        number = Decimal((self.below(2), digits, self.dice.choice([0, -2, self.below(-9999, 9999), "F", "n"])))
        parts = self.dice.choices(["a", "b.c", "..", "/", "é", "\udc80", "$x"], k=self.below(4))
        path = self.dice.choice([Path, PurePosixPath, PureWindowsPath])(*parts)
        return self.dice.choice([None, True, self.dice.randbytes(5), UUID(int=self.below(2**128)), number, path])

    def hashable(self, depth):
        pick = self.dice.random() if depth else 1
        if pick < 0.3:
            return self.dice.choice([tuple, frozenset])(self.hashable(depth - 1) for _ in range(self.below(4)))
        return self.dice.choice(self.makers)()

    def any(self, depth=4):
        size, pick = self.dice.choice([0, 1, 2, 3, 10]), self.dice.random() if depth else 1
        if pick < 0.25:
            return self.dice.choice([list, list, tuple])(self.any(depth - 1) for _ in range(size))
        if pick < 0.5:
            name = self.dice.choice([self.text, lambda: self.hashable(1)])
            return {name(): self.any(depth - 1) for _ in range(size)}
        return {self.hashable(2) for _ in range(size)} if pick < 0.6 else self.hashable(2)

    def shuffled(self, value):
        """An equal value whose dicts have another order and whose sets were filled in another one."""
        kind = type(value)
        if kind in (list, tuple):
            return kind(self.shuffled(item) for item in value)
        if kind not in (dict, set, frozenset):
            return value
        parts = list(value.items() if kind is dict else value)
        self.dice.shuffle(parts)
        return {key: self.shuffled(item) for key, item in parts} if kind is dict else kind(parts)


def test_thousands_of_random_values_come_back_as_they_were():
    for seed in range(2000):
        assert_comes_back(Values(seed).any(depth=2), f"seed {seed}")


def test_random_values_that_are_equal_have_the_same_canonical_text():
    for seed in range(150):
        values = Values(seed)
        value = values.any()
        before, text = facts(value), JSON.canonical(value)
        assert facts(value) == before, f"seed {seed}"
        assert JSON.canonical(values.shuffled(value)) == JSON.canonical(JSON.decode(text)) == text, f"seed {seed}"
        assert sorted(text) == sorted(JSON.encode(value)), f"seed {seed}"


def test_a_canonical_text_has_dicts_in_the_order_of_their_encoded_keys():
    assert JSON.canonical({"z": 1, "é": 2, "a": {"y": 1, "x": 2}}) == '{"\\u00e9":2,"a":{"x":2,"y":1},"z":1}'
    assert JSON.canonical({10: 1, 9: 2, "a": 3}) == '{"$dict":[["a",3],[10,1],[9,2]]}'
    assert JSON.canonical({"b": math.nan, "a": 1}) == '{"a":1,"b":{"$float":"nan"}}'
    for one, other in [(1, 1.0), (1, True), ([1], (1,)), ("1", 1), (set(), frozenset()), (0.0, -0.0)]:
        assert JSON.canonical(one) != JSON.canonical(other)


def test_all_time_zones_of_this_machine_come_back():
    for key in sorted(available_timezones()):
        assert_comes_back(at("12:00:00", ZoneInfo(key), kind=time), key)
    assert_comes_back(at("2024-07-01T12:00:00", NO_CACHE), "a zone from before its cache was cleared")


def test_a_set_has_one_text_in_whatever_order_it_was_filled():
    one, other = {0, 8}, {8, 0}
    assert list(one) != list(other) and JSON.encode(one) == JSON.encode(other) == '{"$set":[0,8]}'


def test_the_callers_decimal_context_changes_nothing():
    with decimal.localcontext(decimal.Context(prec=3, capitals=0, Emax=5, Emin=-5, traps=[])):
        for text in ("1.23456789E+400", "NaN", "sNaN7"):
            assert JSON.encode(Decimal(text)) == f'{{"$decimal":"{text}"}}'
            assert_comes_back(Decimal(text))
        assert "decimal 'x'" in str(outcome(JSON.decode, '{"$decimal":"x"}'))


TWICE, NO_TAG, NO_LIST = "an item or key is there twice", "that is written without a tag", "its value is not a list"
NOT_OURS = [
    ("", "Expecting value"),
    ("1 ", "the value ends at character 1, but the text goes on"),
    ('"é"', "not ASCII"),
    ("[-Infinity]", "'-Infinity'"),
    ("[" * 201 + "]" * 201, "the text is nested more than 200 deep"),
    ("[" * 100_000, "nested too deep"),
    ('[{"a":' * 101 + "1" + "}]" * 101, "the text is nested more than 200 deep"),
    ('{ "\\u0024eval" : "1" }', "$eval '1': there is no such tag"),
    ('{"$' + "x" * 500 + '":1}', f"$x{'x' * 48}...{'x' * 27}: there is no such tag"),
    ('{"$set":[1,true]}', f"$set: {TWICE}"),
    ('{"$frozenset":[[1]]}', "$frozenset: unhashable type: 'list'"),
    ('{"$dict":[["$a",1],["b",2]]}', f"$dict: {NO_TAG}"),
    ('{"$dict":[{"$tuple":[1,2]}]}', f"$dict: {NO_LIST} of pairs"),
    ('{"$dict":[[1,1],[1,2]]}', f"$dict: {TWICE}"),
    ('{"$tuple":"ab"}', f"$tuple 'ab': {NO_LIST}"),
    ('{"$uuid":1}', "$uuid: its value is not a text"),
    ('{"$float":"1.5"}', "only nan, inf and -inf"),
    ('{"$bytes":"AP8gYQ"}', "$bytes 'AP8gYQ': Incorrect padding"),
    ('{"$bytes":"AP8g\\nYQ=="}', "that is written 'AP8gYQ=='"),
    ('{"$date":"20240229"}', "$date '20240229': that is written '2024-02-29'"),
    ('{"$datetime":"2024-01-01T00:00:00 name=x"}', "that is written '2024-01-01T00:00:00'"),
    ('{"$datetime":"2024-01-01T00:00:00 zone=Europe"}', "time zone 'Europe'"),
    ('{"$datetime":"2024-01-01T00:00:00 zone=Mars/Base"}', "this machine knows no time zone 'Mars/Base'"),
    ('{"$datetime":"2024-01-01T00:00:00 zone=../../etc/passwd"}', "'../../etc/passwd' is no time zone's key"),
    ('{"$timedelta":"90"}', "no duration"),
    ('{"$timedelta":"0:90:00"}', "that is written '1:30:00'"),
    ('{"$decimal":"1e5"}', "that is written '1E+5'"),
    ('{"$uuid":"{00000000-0000-0000-0000-000000000001}"}', "that is written '00000000-"),
]


@pytest.mark.parametrize("text, says", NOT_OURS, ids=[text[:40] for text, _ in NOT_OURS])
def test_a_text_that_was_never_written_is_a_value_error_that_says_what_is_wrong(text, says):
    wrong = outcome(JSON.decode, text)
    assert isinstance(wrong, ValueError) and says in str(wrong) and len(str(wrong)) < 300


@pytest.mark.parametrize("text, says", NOT_OURS, ids=[text[:40] for text, _ in NOT_OURS])
def test_one_among_many_that_was_never_written_is_the_same_error(text, says):
    for texts in (["1", text], [text, "[]"]):
        wrong = outcome(JSON.decode_all, texts)
        assert isinstance(wrong, ValueError) and says in str(wrong)


def test_many_texts_come_back_as_each_alone():
    short = [text for _, text in STORED if len(text) < 100 and "$" not in text]
    for texts in (short, [text for _, text in STORED], [], ['"$"', "1"], ["[1", "2],3"], ['"\\u0024"']):
        alone, together = outcome(lambda texts: [*map(JSON.decode, texts)], texts), outcome(JSON.decode_all, texts)
        assert facts(together) == facts(alone) if isinstance(alone, list) else str(together) == str(alone)


def test_json_that_is_spelled_otherwise_is_read():
    assert JSON.decode('[ 1,\n {"a" : "\\/x"} ]') == [1, {"a": "/x"}]
    assert JSON.decode('{"$set": [2, 1]}') == {1, 2}
    assert JSON.decode('{"\\u0024tuple":[1]}') == (1,)
    assert JSON.decode('{"$path":"a//b"}') == Path("a/b")


TAGS = [*tagged._BY_TAG, *tagged._READ_ITEMS]
PIECES = [*'[]{}",:0123456789-+.eE$ aZ\\u\né\ud800٣', *(f'{{"{tag}":' for tag in TAGS)]
PIECES += ["null", "true", "NaN", "\\u0024", "\\ud83d", " fold=1", " zone=", " name=", '""', "1e999", "UTC", "c:", "./"]


def mutated(text, dice, others):
    for _ in range(dice.choice([1, 1, 1, 2, 3, 8])):
        start, other = dice.randrange(len(text) + 1), dice.choice(others)
        cut = dice.randrange(len(other) + 1)
        insert = dice.choice(["", *dice.choices(PIECES, k=2), other[cut : cut + dice.randrange(20)], other])
        text = text[:start] + insert + text[start + dice.choice([0, 0, 1, 1, 2, 9]) :]
    return text


def test_a_damaged_text_is_a_value_error_or_a_value_that_can_be_stored_again():
    others, read = [text for _, text in STORED if len(text) < 100], 0
    for seed in range(6_000):
        dice = random.Random(seed)
        text = mutated(dice.choice(others), dice, others)
        try:
            value = JSON.decode(text)
        except ValueError:
            continue
        except Exception as escaped:
            raise AssertionError(f"seed {seed}: {text!r} raised {escaped!r}") from escaped
        read += 1
        again = outcome(lambda value: JSON.decode(JSON.encode(value)), value)
        assert facts(again) == facts(value), f"seed {seed}: {text!r}"
    assert 500 < read < 9_000


import math
import os
import random
import sys

import pytest

from taskcore.core import backoff
from taskcore.core.backoff import constant, exponential, linear

ALL = [
    exponential(),
    exponential(jitter=False),
    exponential(0.5, factor=1.5, cap=7),
    exponential(3, factor=0.5, jitter=False),
    exponential(0),
    linear(2.5),
    linear(0, cap=0),
    constant(4),
]


def test_an_exponential_delay_grows_by_its_factor_up_to_its_cap():
    delay = exponential(2, factor=3, cap=50, jitter=False)
    assert [delay(failures) for failures in range(1, 6)] == [2, 6, 18, 50, 50]
    assert [exponential(jitter=False)(failures) for failures in (1, 2, 3, 12, 13)] == [1, 2, 4, 2048, 3600]
    assert exponential(10, cap=5, jitter=False)(1) == 5
    assert [exponential(8, factor=0.5, jitter=False)(failures) for failures in (1, 2, 3)] == [8, 4, 2]
    assert [exponential(8, factor=0, jitter=False)(failures) for failures in (1, 2, 3)] == [8, 0, 0]


def test_a_linear_delay_is_the_step_times_the_failures_up_to_its_cap():
    assert [linear(1.5)(failures) for failures in (1, 2, 3)] == [1.5, 3, 4.5]
    assert [linear(20, cap=50)(failures) for failures in (1, 2, 3, 4)] == [20, 40, 50, 50]
    assert linear(3600)(25) == 86400


def test_a_constant_delay_stays():
    assert [constant(7)(failures) for failures in (1, 2, 1000)] == [7, 7, 7]


@pytest.mark.parametrize("delay", ALL, ids=repr)
def test_every_delay_is_a_finite_float_however_many_failures_there_were(delay):
    for failures in (1, 2, 63, 1000, 1024, 10**6, 10**15, 10**18, 10**400):
        seconds = delay(failures)
        assert type(seconds) is float
        assert 0 <= seconds <= 86400


def test_delays_that_nothing_can_hold_end_at_the_cap():
    assert exponential(1e308, factor=1e308, cap=9, jitter=False)(10**400) == 9
    assert exponential(10**308, factor=2, cap=9, jitter=False)(3) == 9
    assert exponential(0, factor=10, jitter=False)(10**9) == 0
    assert exponential(5, factor=0.5, jitter=False)(10**400) == 0
    assert exponential(5, factor=1, jitter=False)(10**400) == 5
    assert linear(1e308, cap=9)(10**400) == 9


def test_jitter_is_even_between_half_the_delay_and_all_of_it():
    dice = random.Random(5)
    delay = exponential(8, random=dice.random)
    drawn = [delay(1) for _ in range(4000)]
    assert min(drawn) >= 4 and max(drawn) < 8
    counts = [sum(low <= seconds < low + 1 for seconds in drawn) for low in (4, 5, 6, 7)]
    assert sum(counts) == 4000 and all(900 < count < 1100 for count in counts), counts
    assert exponential(8, random=lambda: 0.0)(1) == 4
    assert exponential(1, cap=100, random=lambda: 0.5)(50) == 75


def test_jitter_is_the_same_again_from_a_seed():
    delay = exponential()
    backoff.generator().seed(7)
    first = [delay(failures) for failures in range(1, 20)]
    assert first != [delay(failures) for failures in range(1, 20)]
    backoff.generator().seed(7)
    assert first == [delay(failures) for failures in range(1, 20)]


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="no fork to speak of")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # threads that other tests left behind
def test_forked_processes_draw_other_numbers():
    delay = exponential()

    def forked():
        receive, send = os.pipe()
        child = os.fork()
        if not child:
            os.write(send, repr(delay(30)).encode())
            os._exit(0)
        os.close(send)
        with open(receive) as drawn:
            answer = drawn.read()
        os.waitpid(child, 0)
        return answer

    assert len({forked() for _ in range(4)}) == 4


def test_a_backoff_says_what_it_is():
    assert repr(exponential(1)) == "exponential(1, factor=2, cap=3600, jitter=True)"
    assert repr(exponential(0.5, factor=3, cap=60, jitter=False)) == "exponential(0.5, factor=3, cap=60, jitter=False)"
    assert repr(linear(5)) == "linear(5, cap=86400)"
    assert repr(constant(2.5)) == "constant(2.5)"
    names = {"exponential": exponential, "linear": linear, "constant": constant}
    for delay in ALL:
        assert eval(repr(delay), names) == delay  # noqa: S307 - our own repr


def test_a_backoff_is_a_value_that_does_not_change():
    assert exponential(2) == exponential(2) != exponential(3)
    assert len({linear(1), linear(1), constant(1)}) == 2
    for delay, name in [(exponential(), "base"), (linear(1), "step"), (constant(1), "seconds")]:
        with pytest.raises(AttributeError):
            setattr(delay, name, 5)


MAKERS = {
    "base": lambda value: exponential(value),
    "factor": lambda value: exponential(factor=value),
    "cap": lambda value: exponential(cap=value),
    "step": lambda value: linear(value),
    "cap of linear": lambda value: linear(1, cap=value),
    "seconds": lambda value: constant(value),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("value", [-1, -0.5, math.nan, math.inf, -math.inf, 10**400], ids=lambda value: str(value)[:9])
def test_a_number_that_is_no_delay_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"^{name.split()[0]} must be a finite number, 0 or more, not "):
        MAKERS[name](value)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("value", [True, "1", None, 1j, [1]], ids=repr)
def test_what_is_no_number_is_refused_by_name(name, value):
    with pytest.raises(TypeError, match=f"^{name.split()[0]} must be a number, not "):
        MAKERS[name](value)


def test_jitter_and_random_are_checked_too():
    with pytest.raises(TypeError, match="jitter must be True or False, not 1"):
        exponential(jitter=1)
    with pytest.raises(TypeError, match="random must be a function without parameters, not 3"):
        exponential(random=3)


@pytest.mark.parametrize("delay", ALL, ids=repr)
def test_failures_are_whole_numbers_from_one(delay):
    for failures in (0, -1):
        with pytest.raises(ValueError, match=f"failures are counted from 1, this was {failures}"):
            delay(failures)
    for failures in (1.0, True, "1", None):
        with pytest.raises(TypeError, match="failures must be an integer, not "):
            delay(failures)

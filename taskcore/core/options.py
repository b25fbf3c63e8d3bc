"""What may be said of a task besides its arguments, checked word by word.

`OPTIONS` is the whole list: option → the function that checks a value and gives it back in the form we keep. What needs
the file (a label, an upstream, a parent) is checked at submit.
"""

import datetime
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from taskcore.core import lifecycle
from taskcore.core.backoff import exponential
from taskcore.core.ends import seconds, shown

OTHERWISE: Final = ("skip", "wait", "drop")
DEFAULT_BACKOFF: Final[Callable[[int], float]] = exponential(1, factor=2, cap=3600, jitter=True)


class Options:
    """One task's options. The defaults, the contract's, are the class's own, so that a copy has only what differs."""

    max_attempts: int | None = 1
    backoff: Callable[[int], float] = DEFAULT_BACKOFF
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    timeout: float | None = None
    max_lapses: int = 3
    priority: int = 0
    retry_first: bool = False
    delay: float = 0.0
    at: float | None = None
    after: Any = ()
    on: str = lifecycle.SUCCEEDED
    otherwise: str = "skip"
    before: Any = ()
    key: str | bool | None = None
    key_scope: str | None = None
    serial: str | None = None
    serial_failure: str = "clear"
    uses: Mapping[str, int] = MappingProxyType({})
    failed_status: str = lifecycle.FAILED
    avoid_failed_worker: bool = False
    parent: Any = None
    tags: tuple[str, ...] = ()
    hidden: bool = False
    plain: bool = True
    """Whether nothing is said but what its kind says, and a priority."""
    own_behaviour: bool = False
    """Whether `backoff` or `retry_on` differ from those of the name's definition: functions, and so in no file."""

    def replaced(self, values: Mapping[str, Any]) -> "Options":
        """A copy with these options set. `TypeError` for an unknown one, `TypeError` or `ValueError` for a bad
        value."""
        new = Options.__new__(Options)  # copy.copy takes ten times as long, and this is on the path of every graph
        new.__dict__.update(self.__dict__)
        for name, value in values.items():
            check = OPTIONS.get(name)
            if check is None and name in OF_THE_NAME:
                raise TypeError(f"{name} is said of the name, in task(), not of one task")
            if check is None:
                raise TypeError(f"there is no option {name!r}; there are: {', '.join(OPTIONS)}")
            setattr(new, name, check(name, value))
            if name == "backoff" or name == "retry_on":
                new.own_behaviour = True
            new.plain = new.plain and (name in OF_THE_KIND or name == "priority")
        if new.delay and new.at is not None and ("delay" in values or "at" in values):
            raise ValueError("delay and at exclude each other: give one of them")
        return new

    def kind(self, job: str | None = None) -> str:
        """The options that tasks of one kind share, as canonical JSON. `job`: what failures of its children do."""
        said = self.__dict__.items()
        shared = {name: value for name, value in said if name in _OF_THE_ROW and value != getattr(Options, name)}
        shared.update(max_attempts=self.max_attempts, max_lapses=self.max_lapses)
        if job is not None:
            shared["job"] = job
        return json.dumps(shared, sort_keys=True)


class Definition(NamedTuple):
    """A name, what it calls, and its options: the newest definition of a name wins."""

    name: str
    fn: Any = None
    """`None` where another process, a machine or a person works on it."""
    options: Options = Options()


# -- the checks ----------------------------------------------------------------------------------------------------


Check = Callable[[str, Any], Any]
"""(name of the option, value) → the value as it is kept; `TypeError` or `ValueError`."""
GREATEST: Final = 2**63 - 1
"""The greatest whole number that SQLite keeps."""


def whole(name: str, value: Any, lowest: int, highest: int = GREATEST) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a whole number, not {value!r}")
    if not lowest <= value <= highest:
        to = "on, below 2**63" if highest == GREATEST and value > highest else "on"
        bounds = f"from {lowest} {to}" if highest == GREATEST else f"from {lowest} to {highest}"
        raise ValueError(f"{name} is a whole number {bounds}, not {shown(value)}")
    return int(value)


def _from(lowest: int) -> Check:
    return lambda name, value: whole(name, value, lowest)


def _or_none(check: Check) -> Check:
    return lambda name, value: None if value is None else check(name, value)


def one_of(*words: str | None) -> Check:
    def check(name: str, value: Any) -> Any:
        if value not in words:
            raise ValueError(f"{name} is one of {', '.join(map(repr, words))}, not {value!r}")
        return value

    return check


def checked_priority(name: str, value: Any) -> int:
    return whole(name, value, -1000, 1000)


limit: Final = _or_none(_from(0))
"""How many may run at a time; `None` as many as will."""


def _backoff(name: str, value: Any) -> Callable[[int], float]:
    if not callable(value):
        raise TypeError(f"{name} is a function of the number of failures, such as taskcore.constant(5), not {value!r}")
    import inspect  # slow to import, and seldom needed

    try:
        inspect.signature(value).bind(1)
    except TypeError:
        raise TypeError(f"{name} takes one argument, the number of failures: {value!r} does not") from None
    except ValueError:  # a builtin that does not tell
        pass
    chosen: Callable[[int], float] = value
    return chosen


def _retry_on(name: str, value: Any) -> tuple[type[BaseException], ...]:
    kinds = tuple(value) if isinstance(value, (tuple, list, set, frozenset)) else (value,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise TypeError(f"{name} is an exception class or several, not {kind!r}")
    return kinds


def some_seconds(name: str, value: Any) -> float:
    """A duration in seconds, and more than none."""
    length = seconds(value, name)
    if length == 0:
        raise ValueError(f"{name} is more than 0 seconds")
    return length


def _at(name: str, value: Any) -> float:
    if not isinstance(value, datetime.datetime):
        raise TypeError(f"{name} is a datetime, not {value!r}; for a time from now on there is delay")
    if value.utcoffset() is None:
        raise ValueError(f"{name} is a datetime with a time zone; {value!r} has none: say .astimezone() for local time")
    return value.timestamp()


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} is True or False, not {value!r}")
    return value


def _task(name: str, value: Any) -> Any:
    """A handle, a row or an id; whether there is such a task, the file says."""
    if isinstance(value, bool) or not isinstance(getattr(value, "id", value), int):
        raise TypeError(f"{name} is a task's handle or id, not {value!r}")
    return whole(f"a task's id in {name}", value, -GREATEST) if isinstance(value, int) else value


def _tasks(name: str, value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    several = (value,) if isinstance(value, (str, bytes)) or not isinstance(value, Iterable) else value
    return tuple(_task(f"each of {name}", task) for task in several)


def _before(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, Mapping):
        raise TypeError(f"{name} is a task's handle or id, or a list of them, not {value!r}")
    return _tasks(name, value)


def _after(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return _tasks(name, value)
    _tasks(name, value)
    for wanted in value.values():
        on, *rest = wanted if isinstance(wanted, tuple) and len(wanted) == 2 else (wanted,)
        checked_text(f"the status in {name}", on)
        for otherwise in rest:
            one_of(*OTHERWISE)(f"otherwise in {name}", otherwise)
    return dict(value)


def checked_text(name: str, value: Any) -> str:
    """A label, tag, key or name: text that SQLite and a terminal can take."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is a text, not {value!r}")
    if not value:
        raise ValueError(f"{name} is empty")
    if "\0" in value or not (value.isascii() or all(c < "\ud800" or c > "\udfff" for c in value)):
        raise ValueError(f"{name} {value!r} has a character that cannot be stored")
    return str(value)


def _key(name: str, value: Any) -> str | bool | None:
    if value is None or value is True:
        return value
    return checked_text(name, value)


def amounts(name: str, value: Any, lowest: int) -> dict[Any, int]:
    """Of each capacity so much; whoever asks looks at their names."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} is a mapping of capacities, such as {{'gpu': 1}}, not {value!r}")
    return {capacity: whole(f"{name}[{capacity!r}]", n, lowest) for capacity, n in value.items()}


def _uses(name: str, value: Any) -> Mapping[str, int]:
    return {capacity_name(f"a capacity in {name}", capacity): n for capacity, n in amounts(name, value, 1).items()}


def capacity_name(name: str, value: Any) -> str:
    """Of a capacity; "name:" and a task's name is the limit of that, and nothing that a task uses."""
    if checked_text(name, value).startswith("name:"):
        raise ValueError(f"{name} is {value!r}: names that begin so are limits of tasks")
    return str(value)


_RATE: Final = r"([0-9]{1,19}+)/(?:([0-9]{1,20}+(?:\.[0-9]{1,20}+)?+|\.[0-9]{1,20}+)\s*+)?+([smhd])"
_PERIODS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def rate(name: str, value: Any) -> tuple[int, float] | None:
    """(starts, in so many seconds) of a text such as "10/s", "100/m" or "1/30s"."""
    if value is None:
        return None
    found = re.fullmatch(_RATE, value) if isinstance(value, str) else None
    if found is None or not 1 <= int(found[1]) <= GREATEST or float(found[2] or 1) <= 0:
        kind = TypeError if not isinstance(value, str) else ValueError
        said = value if not isinstance(value, str) or len(value) < 100 else f"{value[:100]}…"
        raise kind(f'{name} is starts per period, such as "10/s" or "100/m", not {said!r}')
    return int(found[1]), float(found[2] or 1) * _PERIODS[found[3]]


OF_THE_NAME: Final[dict[str, Check]] = {"limit": limit, "rate": rate}
"""What may be said of a name, where it is defined, and not of one task."""


def _tags(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, (Sequence, set, frozenset)):
        raise TypeError(f"{name} is a list of texts, not {value!r}")
    return tuple(dict.fromkeys(checked_text(f"a tag in {name}", tag) for tag in value))


OPTIONS: Final[dict[str, Check]] = {
    "max_attempts": _or_none(_from(1)), "backoff": _backoff, "retry_on": _retry_on, "timeout": _or_none(some_seconds),
    "max_lapses": _from(0), "priority": checked_priority, "retry_first": flag,
    "delay": lambda name, value: seconds(value, name), "at": _or_none(_at),
    "after": _after, "on": checked_text, "otherwise": one_of(*OTHERWISE), "before": _before,
    "key": _key, "key_scope": one_of(None, "unfinished", "succeeded"),
    "serial": _or_none(checked_text), "serial_failure": one_of("clear", "continue"),
    "uses": _uses, "failed_status": checked_text, "avoid_failed_worker": flag,
    "parent": _or_none(_task), "tags": _tags, "hidden": flag,
}  # fmt: skip
OF_THE_KIND: Final = frozenset((
    "max_attempts", "backoff", "retry_on", "timeout", "max_lapses", "retry_first", "serial_failure", "uses",
    "failed_status", "avoid_failed_worker",
))  # fmt: skip
"""Options that tasks of one kind share; all others are said of the one task."""
_OF_THE_ROW: Final = OF_THE_KIND - {"backoff", "retry_on"}
"""Those of them that are no functions, and so are in the file."""

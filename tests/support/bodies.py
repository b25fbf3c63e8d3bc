"""Bodies for tests: what is tried again at once, fails so many times, and what the file has of it."""

import itertools

from taskcore import constant


def task(engine, body, **options):
    """The body as a task that is tried again at once."""
    return engine.task(body, name="body", **{"max_attempts": 9, "backoff": constant(0), **options})


def failing(times=1, error=ValueError):
    """A function that raises so many times, and then gives back what it is given."""
    left = itertools.count(times, -1)

    def fn(value=None):
        if next(left) > 0:
            raise error("not yet")
        return value

    return fn


def kept(raw):
    """What the file has of the only body: (kind, name, n, state), in order."""
    return [
        (row["kind"], row["name"], row["n"], row["state"])
        for row in raw("SELECT kind, name, n, state FROM taskcore_step ORDER BY place")
    ]

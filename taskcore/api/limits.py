"""`engine.limits`: how much of each capacity there is, and how many tasks of a name may run at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from taskcore.api.context import Context
from taskcore.core.options import checked_text, whole
from taskcore.store import capacity


class Limits(Mapping[str, int]):
    """Capacity, or "name:" and a task's name → how much of it there is, over all processes.

    Setting one takes effect at once, everywhere, and stays until code gives a new value. What runs is not touched.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def __getitem__(self, name: str) -> int:
        return self._now()[name]

    def __setitem__(self, name: str, value: int) -> None:
        limit = whole(f"limits[{name!r}]", value, 0)
        self._context.write(capacity.set_limit, checked_text("the name of a limit", name), limit)

    def __delitem__(self, name: str) -> None:
        """Let as many run as will; of a capacity, nobody can use it any more."""
        if name not in self._now():
            raise KeyError(name)
        self._context.write(capacity.set_limit, name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())

    def __repr__(self) -> str:
        return f"<Limits {self._now()}>"

    def _now(self) -> dict[str, int]:
        return self._context.read(capacity.limits)

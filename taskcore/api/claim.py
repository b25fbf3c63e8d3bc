"""`Claim`: a task in the hands of a worker outside the scheduler: a robot, a person, another program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskcore.api.context import Context
from taskcore.body import outcome
from taskcore.body.work import Work
from taskcore.core.ends import Done, Outcome
from taskcore.core.ends import seconds as length_of
from taskcore.core.errors import LeaseLost
from taskcore.core.options import checked_text, some_seconds, whole
from taskcore.store import claims, due, queries, reports, workers
from taskcore.store.transaction import Transaction

if TYPE_CHECKING:
    from taskcore.core.model import Task


class Claim:
    """Made by `engine.claim`. Its lease ends by time only: report, or `extend`, before `expires_at`.

    Every verb on a claim that is no longer held raises `LeaseLost` and changes nothing.
    """

    def __init__(self, context: Context, task: Task, work: Work) -> None:
        self.task = task
        """As claimed, with the values of its arguments."""
        self.expires_at: float = task.greenfield or 0.0
        self._context = context
        self._work = work

    @property
    def token(self) -> str:
        """Text to keep or send: `engine.claimed(token)` gives the claim back, in another request or process."""
        return "{}.{}".format(*self._work.claim)

    def extend(self, seconds: float) -> float:
        """Hold it for that many seconds from now, and never for less than before. → the new `expires_at`."""
        now = self._context.now()
        until = now + length_of(seconds, "the extension")
        end: float | None = self._context.write(_swept, now, claims.extend, *self._work.claim, until)
        if end is None:
            raise LeaseLost(*self._work.claim)
        self.expires_at = end
        return end

    def succeed(self, result: Any = None, status: str | None = None) -> None:
        """It is done. `status`: a label of yours, of phase succeeded or failed. `TypeError` if the result can't be
        stored."""
        context = self._context
        self._report(outcome.returned(self._work, Done(result, status), context.stage.statuses, context.codec.encode))

    def fail(self, error: str | BaseException, retry: bool = True, result: Any = None) -> None:
        """It failed: tried again if attempts are left, `retry` is not False and `retry_on` has such an exception.

        `result`: a partial one, kept in the row in the place of an earlier one. `TypeError` if it can't be stored.
        """
        partial = None if result is None else outcome.encoded(
            self._context.codec.encode, result, "the result of ", self._work.kind.name
        )
        if isinstance(error, BaseException):
            retry = retry and isinstance(error, outcome.retried(self._work))
            end = outcome.failure(self._work, error)._replace(raised=None)  # it was not raised by a body here
        elif isinstance(error, str):
            end = Outcome(*self._work.claim, verb="fail", error=outcome.storable(error))
        else:
            raise TypeError(f"error is a text or an exception, not {error!r}")
        end = end._replace(result=partial)
        self._report(outcome.again(self._work, end) if retry else outcome.failed(self._work, end))

    def snooze(self, delay: float) -> None:
        """Not now: to be claimed again in `delay` s; no attempt is spent."""
        self._report(Outcome(*self._work.claim, verb="snooze", delay=length_of(delay, "the delay of a snooze")))

    def release(self) -> None:
        """It never began: the attempt is given back, and anybody may claim it."""
        self._report(Outcome(*self._work.claim, verb="give back"))

    def _report(self, end: Outcome) -> None:
        now = self._context.now()
        if not self._context.write(_swept, now, _end, end, now):
            raise LeaseLost(*self._work.claim)

    def __repr__(self) -> str:
        return f"<Claim of task #{self.task.id} {self.task.name!r}>"


def _end(tx: Transaction, end: Outcome, now: float) -> bool:
    if end.verb == "succeed":
        return not reports.succeed(tx, [end], now, look_first=True)
    return reports.report(tx, end, now)


def _swept(tx: Transaction, now: float, work: Any, *args: Any) -> Any:
    """A claim whose time is over is over, whether or not anybody has swept since."""
    due.sweep(tx, now)
    return work(tx, *args)


# -- making them ----------------------------------------------------------------------------------------------------


def take(context: Context, names: tuple[str, ...], n: int, lease: float | None, worker: str | None) -> list[Claim]:
    """`Engine.claim`."""
    for name in names:
        checked_text("a name", name)
    whole("n", n, 1)
    length = context.lease if lease is None else some_seconds("lease", lease)
    who = context.name if worker is None else checked_text("worker", worker)
    found = context.write(_take, context, names, n, context.now(), length, who)
    return [_made(context, row, claimed) for row, claimed in found]


def _take(
    tx: Transaction, context: Context, names: tuple[str, ...], n: int, now: float, lease: float, worker: str
) -> list[tuple[queries.Row, claims.Claimed]]:
    context.scheduler.presence.bury(tx, now)
    due.sweep(tx, now)
    kinds = [
        (kind.id, n, worker if kind.options.get("avoid_failed_worker") else None)
        for kind in tx.known.kinds.values()
        if not names or kind.name in names
    ]
    who = workers.outsider(tx, worker, now)
    claimed: dict[int, claims.Claimed] = {}
    while more := claims.claim(tx, kinds, n - len(claimed), who, now, now + lease).tasks:
        claimed.update((task.id, task) for task in more)
    rows = {row[0][0]: row for row in queries.rows(tx, list(claimed))}
    return [(rows[task_id], task) for task_id, task in claimed.items()]


def find(context: Context, token: str) -> Claim:
    """`Engine.claimed`."""
    task_id, _, number = token.partition(".") if isinstance(token, str) else ("", "", "")
    if not (task_id.isdecimal() and number.isdecimal()):
        raise ValueError(f"{token!r} is no claim's token")
    now = context.now()
    found = context.write(_swept, now, _holding, int(task_id), int(number))
    if found is None:
        raise LeaseLost(int(task_id), int(number))
    return _made(context, *found)


def _holding(tx: Transaction, task_id: int, token: int) -> tuple[queries.Row, claims.Claimed] | None:
    claimed = claims.holding(tx, task_id, token)
    return None if claimed is None else (queries.rows(tx, [task_id])[0], claimed)


def _made(context: Context, row: queries.Row, claimed: claims.Claimed) -> Claim:
    from taskcore.store import rows

    kind = context.file.known.kinds[claimed.kind]
    definition = context.scheduler.repertoire.definition(claimed.id, context.definition_of(kind.name))
    work = Work(claimed, kind, definition)
    args, kwargs = context.stage.arguments(claimed)
    return Claim(context, rows.called_with(row, context.codec, args, kwargs), work)

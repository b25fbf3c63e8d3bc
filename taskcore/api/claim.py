"""`Claim`: a task in the hands of a worker outside the scheduler: a robot, a person, another program."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from taskcore.api.context import Context
from taskcore.api.settings import lease_of
from taskcore.body import outcome
from taskcore.core.ends import Done, seconds
from taskcore.core.errors import LeaseLost
from taskcore.core.model import Task
from taskcore.core.options import Options, elsewhere, text
from taskcore.store import moves, queries, sweep
from taskcore.store.moves import Failure, Success
from taskcore.store.process_locks import Lanes
from taskcore.store.transaction import Transaction


class Claim:
    """Made by `engine.claim`. Its lease ends by time only: report, or `extend`, before `expires_at`.

    Every verb on a claim that is no longer held raises `LeaseLost` and changes nothing.
    """

    def __init__(self, context: Context, task: Task, about: outcome.Claim) -> None:
        self.task = task
        """As claimed, with the values of its arguments."""
        self.expires_at: float = task.greenfield or 0.0
        self._context = context
        self._about = about

    @property
    def token(self) -> str:
        """Text to keep or send: `engine.claimed(token)` gives the claim back, in another request or process."""
        return f"{self._about.id}.{self._about.token}"

    def extend(self, seconds_: float) -> float:
        """Hold it for that many seconds from now, and never for less than before. → the new `expires_at`."""
        now, about = self._context.now(), self._about
        until = now + seconds(seconds_, "the extension")
        end: float | None = self._context.write(_swept, now, moves.extend, about.id, about.token, until)
        if end is None:
            raise LeaseLost(about.id, about.token)
        self.expires_at = end
        return end

    def succeed(self, result: Any = None, status: str | None = None) -> None:
        """It is done. `status`: a label of yours, of phase succeeded or failed. `TypeError` if the result can't be
        stored."""
        context = self._context
        self._report(outcome.returned(self._about, Done(result, status), context.statuses, context.codec.encode))

    def fail(self, error: str | BaseException, retry: bool = True) -> None:
        """It failed: tried again if attempts are left, `retry` is not False and `retry_on` has such an exception."""
        if isinstance(error, BaseException):
            retry = retry and isinstance(error, outcome.retried(self._about))
            kind, text = type(error).__qualname__, outcome.message_of(error)
            end = Failure(self._about.id, self._about.token, "fail", kind, text, outcome.traceback_of(error))
        elif isinstance(error, str):
            end = Failure(self._about.id, self._about.token, "fail", None, outcome.storable(error))
        else:
            raise TypeError(f"error is a text or an exception, not {error!r}")
        self._report(outcome.again(self._about, end) if retry else outcome.failed(self._about, end))

    def snooze(self, delay: float) -> None:
        """Not now: to be claimed again in `delay` s; no attempt is spent."""
        self._report(
            Failure(self._about.id, self._about.token, "snooze", delay=seconds(delay, "the delay of a snooze"))
        )

    def release(self) -> None:
        """It never began: the attempt is given back, and anybody may claim it."""
        self._report(Failure(self._about.id, self._about.token, "give back"))

    def _report(self, end: Success | Failure) -> None:
        now = self._context.now()
        if not self._context.write(_swept, now, _end, end, now):
            raise LeaseLost(self._about.id, self._about.token)

    def __repr__(self) -> str:
        return f"<Claim of task #{self._about.id} {self.task.name!r}>"


def _end(tx: Transaction, end: Success | Failure, now: float) -> bool:
    if isinstance(end, Success):
        if moves.succeed(tx, [end], now, look_first=True):
            return False
        tx.ended.append(end.id)
        return True
    return moves.report(tx, end, now)


def _swept(tx: Transaction, now: float, work: Any, *args: Any) -> Any:
    """A claim whose time is over is over, whether or not anybody has swept since."""
    sweep.sweep(tx, now)
    return work(tx, *args)


# -- making them ----------------------------------------------------------------------------------------------------


def take(context: Context, names: tuple[str, ...], n: int, lease: float | None, worker: str | None) -> list[Claim]:
    """`Engine.claim`."""
    for name in names:
        text("a name", name)
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"n is a whole number from 1 on, not {n!r}")
    length = context.lease if lease is None else lease_of(lease)
    who = context.name if worker is None else text("worker", worker)
    found = context.write(_take, context.lanes, names, n, context.now(), length, who)
    return [_made(context, row, claimed) for row, claimed in found]


def _take(
    tx: Transaction, lanes: Lanes | None, names: tuple[str, ...], n: int, now: float, lease: float, worker: str
) -> list[tuple[queries.Row, moves.Claimed]]:
    if lanes is not None:
        sweep.bury(tx, lanes, now)
    sweep.sweep(tx, now)
    kinds = [
        (kind.id, n, worker if kind.options.get("avoid_failed_worker") else None)
        for kind in tx.known.kinds.values()
        if not names or kind.name in names
    ]
    who = sweep.outsider(tx, worker, now)
    claimed: dict[int, moves.Claimed] = {}
    while more := moves.claim(tx, kinds, n - len(claimed), who, now, now + lease):
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


def _holding(tx: Transaction, task_id: int, token: int) -> tuple[queries.Row, moves.Claimed] | None:
    claimed = moves.holding(tx, task_id, token)
    return None if claimed is None else (queries.rows(tx, [task_id])[0], claimed)


def _made(context: Context, row: queries.Row, claimed: moves.Claimed) -> Claim:
    kind = context.file.known.kinds[claimed.kind]
    newest = context.definitions.get(kind.name) or context.elsewhere.get(kind.name) or elsewhere(kind.name, Options())
    about = outcome.Claim(
        claimed.id, claimed.token, claimed.failures, kind, context.scheduler.repertoire.definition(kind, newest)
    )
    args, kwargs = context.stage.arguments(claimed)
    return Claim(context, replace(queries.task_of(row, context.codec), args=args, kwargs=kwargs), about)

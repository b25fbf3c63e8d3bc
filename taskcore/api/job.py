"""`with engine.job("night 12") as job:` — a task without a body that ends when its children end."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from taskcore.api import submission
from taskcore.api.future import TaskFuture
from taskcore.api.transaction import TransactionScope
from taskcore.core.errors import KeyConflict
from taskcore.core.options import OF_THE_KIND, Options
from taskcore.core.options import text as checked_text
from taskcore.store import hierarchy, settle
from taskcore.store.connection import Transaction
from taskcore.store.queries import NO_ARGUMENTS

if TYPE_CHECKING:
    from taskcore.api.engine import Engine

FAILURES: Final = ("fail", "ignore")
_NOT_OF_A_JOB: Final = OF_THE_KIND - {"serial_failure"}


class JobScope:
    """The block. What is submitted in it is the job's child; job and children are stored together when it ends, or, if
    it raises, not at all. It is a transaction: every other writer waits meanwhile, and no result can be waited for."""

    def __init__(self, engine: Engine, name: str, failures: str, options: dict[str, Any]) -> None:
        if failures not in FAILURES:
            raise ValueError(f"failures is one of {', '.join(map(repr, FAILURES))}, not {failures!r}")
        unfit = sorted(_NOT_OF_A_JOB.intersection(options))
        if unfit:
            raise TypeError(f"a job has no body, and so no {unfit[0]}")
        self._engine = engine
        self._name = checked_text("name", name)
        self._options = Options().replaced(options)
        self._failures = failures
        self._transaction: TransactionScope | None = None
        self._tx: Transaction | None = None
        self._job = 0

    def __enter__(self) -> TaskFuture:
        if self._tx is not None:
            raise RuntimeError("a job() is entered once")
        engine = self._engine
        engine._may_submit()
        if engine._file.current is None:
            self._transaction = engine.transaction()
            self._transaction.__enter__()
        else:
            engine._file.mark()
        try:
            tx = engine._file.current
            assert tx is not None
            job = self._stored()
            tx.building.add(job.id)
            tx.births.flush()
            if job.id not in hierarchy.jobs_above(tx, job.id):
                raise KeyConflict(self._name, str(self._options.key), job.id)
            tx.scope.jobs.append(job.id)
            tx.scope.submitted = True
            self._tx, self._job = tx, job.id
            return job
        except BaseException as error:
            self._leave(error)
            raise

    def _stored(self) -> TaskFuture:
        engine, options = self._engine, self._options
        spawn = engine._intake._spawn(self._name)
        if spawn is not None and spawn.there is not None:
            return engine._futures.handle(spawn.there)
        kind = options.kind(job=self._failures)
        order = submission.order(
            self._name, kind, options, NO_ARGUMENTS, [], engine._clock.now(), engine._id_of, engine._codec
        )
        order.job = self._failures
        return engine._intake.take(order, spawn)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        tx = self._tx
        assert tx is not None
        if self._engine._file.current is not tx:
            raise RuntimeError("a job() ends inside the transaction it began in")
        try:
            tx.scope.jobs.pop()
            if self._job not in tx.scope.jobs:  # by its key a block inside may be of the same job
                tx.building.discard(self._job)
            if error is None:
                tx.births.flush()
                tx.opened.append(self._job)
                settle.settle(tx, self._engine._clock.now())
        except BaseException as broken:
            self._leave(broken)
            raise
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        if self._transaction is not None:
            self._transaction.__exit__(None if error is None else type(error), error, None)
        else:
            self._engine._file.unmark(keep=error is None)

"""`with context.job("night 12") as job:` — a task without a body that ends when its children end."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final

from taskcore.api import arguments
from taskcore.api.context import Context
from taskcore.api.future import TaskFuture
from taskcore.api.submission import Submissions
from taskcore.api.transaction import TransactionScope
from taskcore.core.errors import KeyConflict
from taskcore.core.options import OF_THE_KIND, Options
from taskcore.core.options import text as checked_text
from taskcore.store import hierarchy, settle
from taskcore.store.queries import NO_ARGUMENTS
from taskcore.store.transaction import Transaction

FAILURES: Final = ("fail", "ignore")
_NOT_OF_A_JOB: Final = OF_THE_KIND - {"serial_failure"}


class JobScope:
    """The block. What is submitted in it is the job's child; job and children are stored together when it ends, or, if
    it raises, not at all. It is a transaction: every other writer waits meanwhile, and no result can be waited for."""

    def __init__(
        self, context: Context, submissions: Submissions, name: str, failures: str, options: dict[str, Any]
    ) -> None:
        if failures not in FAILURES:
            raise ValueError(f"failures is one of {', '.join(map(repr, FAILURES))}, not {failures!r}")
        unfit = sorted(_NOT_OF_A_JOB.intersection(options))
        if unfit:
            raise TypeError(f"a job has no body, and so no {unfit[0]}")
        self._context = context
        self._submissions = submissions
        self._name = checked_text("name", name)
        self._options = Options().replaced(options)
        self._failures = failures
        self._transaction: TransactionScope | None = None
        self._tx: Transaction | None = None
        self._job = 0

    def __enter__(self) -> TaskFuture:
        if self._tx is not None:
            raise RuntimeError("a job() is entered once")
        context = self._context
        context.may_submit()
        if context.file.current is None:
            self._transaction = TransactionScope(context.file, context.clock, self._submissions.after_block)
            self._transaction.__enter__()
        else:
            context.file.mark()
        try:
            tx = context.file.current
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
        context, options = self._context, self._options
        spawn = self._submissions.spawn(self._name)
        if spawn is not None and spawn.there is not None:
            return self._submissions.futures.handle(spawn.there)
        kind = options.kind(job=self._failures)
        order = arguments.order(
            self._name, kind, options, NO_ARGUMENTS, [], context.clock.now(), context.id_of, context.codec
        )
        order.job = self._failures
        return self._submissions.take(order, spawn)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        tx = self._tx
        assert tx is not None
        if self._context.file.current is not tx:
            raise RuntimeError("a job() ends inside the transaction it began in")
        try:
            tx.scope.jobs.pop()
            if self._job not in tx.scope.jobs:  # by its key a block inside may be of the same job
                tx.building.discard(self._job)
            if error is None:
                tx.births.flush()
                tx.opened.append(self._job)
                settle.settle(tx, self._context.clock.now())
        except BaseException as broken:
            self._leave(broken)
            raise
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        if self._transaction is not None:
            self._transaction.__exit__(None if error is None else type(error), error, None)
        else:
            self._context.file.unmark(keep=error is None)

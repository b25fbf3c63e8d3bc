"""`with engine.job("night 12") as job:` — a task without a body that ends when its children end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

from taskcore.api import arguments
from taskcore.api.future import TaskFuture
from taskcore.api.submission import Submissions
from taskcore.api.transaction import Block
from taskcore.core.errors import KeyConflict
from taskcore.core.options import OF_THE_KIND, Options, checked_text, one_of
from taskcore.store import hierarchy, settle

_NOT_OF_A_JOB: Final = OF_THE_KIND - {"serial_failure"}


def job(submissions: Submissions, name: str, failures: str, options: dict[str, Any]) -> Block[TaskFuture]:
    """`Engine.job`. What is said is looked at before the block begins."""
    one_of("fail", "ignore")("failures", failures)
    unfit = sorted(_NOT_OF_A_JOB.intersection(options))
    if unfit:
        raise TypeError(f"a job has no body, and so no {unfit[0]}")
    return Block(_block(submissions, checked_text("name", name), failures, Options().replaced(options)))


@contextlib.contextmanager
def _block(submissions: Submissions, name: str, failures: str, options: Options) -> Iterator[TaskFuture]:
    """What is submitted in it is the job's child; job and children are stored together when it ends, or, if it raises,
    not at all. It is a transaction: every other writer waits meanwhile, and no result can be waited for."""
    context, file = submissions.context, submissions.context.file
    context.may_submit()
    with submissions.transaction() if file.current is None else file.part():
        tx = file.current
        assert tx is not None
        order = arguments.order(context, name, options.kind(job=failures), options)
        order.job = failures
        future = submissions.store(order)
        tx.building.add(future.id)
        tx.births.flush()
        if future.id not in hierarchy.jobs_above(tx, future.id):
            raise KeyConflict(name, str(options.key), future.id)
        tx.scope.jobs.append(future.id)
        tx.scope.submitted = True
        try:
            yield future
        finally:
            if file.current is not tx:
                raise RuntimeError("a job() ends inside the transaction it began in")
            tx.scope.jobs.pop()
            if future.id not in tx.scope.jobs:  # by its key a block inside may be of the same job
                tx.building.discard(future.id)
        tx.births.flush()
        tx.opened.append(future.id)
        settle.settle(tx, context.now())

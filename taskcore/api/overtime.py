"""Bodies beyond their time limit whose process cannot see to that itself: one of them holds the interpreter."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Final

from taskcore.api.context import Context
from taskcore.body import outcome
from taskcore.body.work import Work
from taskcore.core.clock import monotonic
from taskcore.store import reports, workers
from taskcore.store.claims import Claimed
from taskcore.store.transaction import Transaction

GRACE: Final = 2.0
"""Seconds beyond the limit in which a process that can see to its bodies has done so; and that it has for an answer."""


def silent(context: Context, places: Sequence[Any]) -> list[Any]:
    """Those of these worker processes that are to be killed: a body's time is over there, and they do not answer. That
    body's attempt has failed then, in the file; what runs beside it pays nothing for the death."""
    file, now, found = context.file, context.now(), []
    by_name = {place.name: place for place in places if place.process is not None}
    if not by_name or not any("timeout" in kind.options for kind in list(file.known.kinds.values())):
        return []
    for name, (worker, lane, claims) in file.read(workers.overdue, list(by_name), now - GRACE).items():
        place, lanes = by_name[name], context.lanes
        if place.pinged is None:
            place.pinged = monotonic()
            with contextlib.suppress(OSError, AttributeError):  # it ends meanwhile
                place.pipe.send(("tell", place.told))
        elif monotonic() - place.pinged > GRACE and lanes is not None:
            begun = lanes.begun(lane, worker)
            file.write(_time_out, context, [claim for claim in claims if begun is None or claim.id in begun], now)
            lanes.leave(lane, worker)
            found.append(place)
    return found


def _time_out(tx: Transaction, context: Context, claims: Sequence[Claimed], now: float) -> None:
    for claimed in claims:
        kind = tx.known.kinds[claimed.kind]
        work = Work(claimed, kind, context.definition_of(kind.name))
        reports.report(tx, outcome.timed_out(work, kind.options["timeout"]), now)

"""How an engine begins to run, runs until nothing is due, and ends."""

from __future__ import annotations

import logging
import os
import threading

from taskcore.api import shutdown
from taskcore.api.context import Context
from taskcore.api.futures import Register
from taskcore.api.progress import Bar
from taskcore.core.clock import monotonic
from taskcore.core.ends import seconds
from taskcore.core.errors import BadFile, EngineClosed
from taskcore.core.health import DEGRADED, OK, STOPPED, Health
from taskcore.core.id_ranges import Spans
from taskcore.core.logger import tell
from taskcore.store import capacity, operations, queries
from taskcore.store.connection import FORKED, READ_ONLY

LOCKED: float = 1.0
"""Seconds of waiting for another program after which the engine is no longer called well."""


class Lifetime:
    """One engine's. All of it may be called from any thread."""

    def __init__(self, context: Context, futures: Register) -> None:
        self._context = context
        self._futures = futures
        self._closing = False
        self._ending = threading.RLock()  # held by whoever closes; another closer waits for it
        self.process = os.getpid()
        """The process that the engine belongs to; a child that was forked has none."""
        self._health = Health(OK, "", context.now())

    # -- running ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Claim what is in the file, in the background. `EngineClosed`."""
        context = self._context
        if context.closed or self._closing:
            why = FORKED if self.process != os.getpid() else "the engine is closed"
            raise EngineClosed(context.path, why)
        if context.workers and not context.scheduler.claiming and context.loop.error is None:
            context.loop.start()
            context.scheduler.start()

    def go(self) -> None:
        """Run what was just stored. It is in the file, so what goes wrong from here on is no error of the submit."""
        try:
            self.start()
        except EngineClosed:  # meanwhile
            return
        except RuntimeError as error:  # there is no thread to be had; the next submit tries again
            tell(logging.WARNING, "%s: %s", self._context.path, error)

    def run(self, progress: bool | None) -> dict[str, int]:
        """Claim what is in the file until nothing is due. → the counts by status."""
        context = self._context
        if context.file.current is not None:
            raise RuntimeError("run() inside transaction() would wait for ever")
        if context.running_body() is not None:
            raise RuntimeError("run() in a body would wait for its own end")
        was_claiming = context.scheduler.claiming
        self.start()
        if context.workers:
            loop = context.loop
            try:
                with Bar(lambda: context.read(queries.unfinished_count), progress) as bar:
                    loop.wait(lambda: bar.look() and (loop.stopped or not self._due()), None, hurry=True)
            finally:
                if not was_claiming:
                    context.scheduler.claiming = False
            if loop.error is not None:
                raise loop.error
        return context.read(queries.counts, queries.where(()))

    def _due(self, spans: Spans | None = None) -> bool:
        """Whether anything in the file, or among these ids, runs here, may run now, or is tried again within a
        minute."""
        context = self._context
        scheduler, now, known = context.scheduler, context.now(), context.file.known
        if not scheduler.quiet:
            return True
        kinds = scheduler.repertoire.kinds()
        open_ = [kind for kind in kinds if not known.closed(kind)] if known.rationed else kinds
        if known.rates:
            resting = context.read(capacity.resting, now + queries.SOON, now)
            open_ = [kind for kind in open_ if kind.name not in resting]
        here = queries.Here(
            [kind.id for kind in kinds],
            [kind.id for kind in open_ if not kind.options.get("avoid_failed_worker")],
            [kind.id for kind in open_ if kind.options.get("avoid_failed_worker")],
            context.name,
        )
        due = context.read(queries.any_due, here, now)
        if due and spans is not None:
            due = any(context.read(queries.due_between, first, last, here, now) for first, last in spans)
        return due or not scheduler.quiet

    @property
    def health(self) -> Health:
        """How the engine is now, and since when it has been so."""
        found = self._state()
        if found != (self._health.state, self._health.reason):
            self._health = Health(*found, self._context.now())
        return self._health

    def _state(self) -> tuple[str, str]:
        context = self._context
        if context.closed:
            return STOPPED, "closed"
        try:
            if context.loop.error is None:
                context.file.check_identity()
        except BadFile as error:
            return STOPPED, error.reason
        since = context.file.locked_since
        if since is not None and monotonic() - since > LOCKED:
            return DEGRADED, f"another program has kept the file locked for {monotonic() - since:.0f} s"
        if context.loop.trouble is not None:
            state, _, reason = context.loop.trouble.partition(": ")
            return state, reason
        if context.file.read_only:
            return DEGRADED, READ_ONLY
        if context.lanes is not None and context.lanes.trouble is not None:
            return DEGRADED, context.lanes.trouble
        return OK, ""

    # -- ending -----------------------------------------------------------------------------------------------------

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        """Take no more tasks; go on until every task this engine submitted has ended or is not due, then close."""
        context = self._context
        if context.closed:
            return
        if context.running_body() is not None:
            raise RuntimeError("shutdown() in a body would wait for its own end")
        if context.file.current is not None:
            raise RuntimeError("shutdown() inside transaction() would wait for ever")
        context.refusing = True
        if cancel_futures:
            for first, last in context.spans:
                context.write(operations.cancel_unbegun, first, last, context.now())
        if not wait:
            thread = threading.Thread(target=self.shutdown, args=(True, False), name="taskcore-shutdown", daemon=True)
            thread.start()
            return
        if context.scheduler.claiming:
            context.loop.wait(lambda: context.loop.stopped or not self._due(context.spans), None, hurry=True)
        self.close(None)

    def close(self, timeout: float | None) -> None:
        """Claim nothing more, ask bodies to stop, wait for them at most `timeout` s; give back what did not end."""
        context = self._context
        deadline = None if timeout is None else monotonic() + seconds(timeout, "timeout")
        if self.process != os.getpid():
            context.closed = True
            return
        if context.file.current is not None:
            raise RuntimeError("close() inside transaction() would wait for ever")
        waited_for = context.running_body() is not None or context.loop.here
        if not self._ending.acquire(blocking=not waited_for):
            return  # somebody closes it already, and waits for this body or callback
        try:
            if not context.closed:
                self._close(deadline)
        finally:
            self._ending.release()

    def _close(self, deadline: float | None) -> None:
        context, own = self._context, self._context.running_body()
        context.refusing = self._closing = True
        try:
            try:
                context.loop.finish(deadline, own)
            except BadFile as error:  # there is nothing left to close in good order
                tell(logging.WARNING, "%s", error)
            except KeyboardInterrupt:
                context.loop.finish(monotonic(), own)  # bodies are not waited for any longer
                raise
            finally:
                self._futures.close()
        finally:
            context.closed = True
            shutdown.forget(self)
            unsubscribe = getattr(context.clock, "unsubscribe", None)
            if unsubscribe is not None:
                unsubscribe(context.scheduler.look_again)
            context.file.close()
            context.scheduler.leave()

    def forked(self) -> None:
        """In a child: this engine is the parent's."""
        self._context.closed = True
        self._context.loop.forked()
        self._futures.forked()

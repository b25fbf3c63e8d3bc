"""How an engine begins to run, runs until nothing is due, and ends."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from taskcore.api import condition, shutdown
from taskcore.api.condition import is_due
from taskcore.api.context import Context
from taskcore.api.futures import Register
from taskcore.core.clock import monotonic
from taskcore.core.ends import seconds
from taskcore.core.errors import BadFile, EngineClosed
from taskcore.core.health import OK, Health
from taskcore.core.logger import tell
from taskcore.store import claims, operations, queries
from taskcore.store.busy import Trouble, said
from taskcore.store.connection import FORKED
from taskcore.store.submit_plain import Birth
from taskcore.store.transaction import Transaction

if TYPE_CHECKING:
    from taskcore.api.progress import Progress

FOREVER: Final = 1e8
"""Seconds, some years: longer times than that threads cannot wait for."""
PATIENCE: Final = 0.1
"""Seconds beyond the time of a close in which what is about to end may still do so."""
CALLBACKS: Final = 1.0
"""Seconds in which callbacks of users may end that `run` and `close` find in their thread: one may wait for the very
thread that called."""
BEGIN: Final = 1.0
"""Seconds in which bodies may begin that a shutdown would cancel."""


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
        self._unstarted: str | None = None  # why nothing runs, though it should

    # -- running ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Claim what is in the file, in the background. `EngineClosed`."""
        context = self._context
        context.guard()
        if context.closed or self._closing:
            why = FORKED if self.process != os.getpid() else "the engine is closed"
            raise EngineClosed(context.path, why)
        if context.workers and not context.scheduler.claiming and context.loop.error is None:
            try:
                context.loop.start()
                if context.processes is not None:
                    context.processes.start()
                context.scheduler.start()  # last: a start that failed is tried again
            except (RuntimeError, OSError) as error:
                self._unstarted = f"no thread can be started: {error}"
                raise RuntimeError(self._unstarted) from error
            self._unstarted = None

    def must_run(self) -> None:
        """Before somebody waits: what was submitted when there was no thread to be had is begun now. `EngineClosed`
        where there still is none."""
        if self._unstarted is not None and not self._closing:
            try:
                self.start()
            except RuntimeError:
                raise EngineClosed(self._context.path, self._unstarted) from None

    def go(self) -> None:
        """Run what was just stored. It is in the file, so what goes wrong from here on is no error of the submit."""
        try:
            self.start()
        except EngineClosed:  # meanwhile
            return
        except RuntimeError:  # there is no thread to be had; the next submit, or who waits, tries again
            tell(logging.WARNING, "%s: %s", self._context.path, self._unstarted)

    async def arun(self, progress: bool | Callable[[Progress], object] | None) -> dict[str, int]:
        """`run` in a thread of the event loop's, which is let go of when the caller is cancelled."""
        import asyncio  # whoever awaits has it already

        self._may_wait("arun")
        if not self._context.loop.background:  # nobody else would run the bodies
            return self.run(progress)
        left = threading.Event()
        try:
            return await asyncio.to_thread(self.run, progress, left.is_set)
        finally:
            left.set()

    def run(
        self, progress: bool | Callable[[Progress], object] | None, left: Callable[[], bool] = bool
    ) -> dict[str, int]:
        """Claim what is in the file until nothing is due, or the caller has `left`. → the counts by status."""
        from taskcore.api.progress import Line  # for those who wait for the file

        context = self._context
        self._may_wait("run")
        line = Line(context, progress)
        was_claiming = context.scheduler.claiming
        self.start()
        if context.workers:
            loop = context.loop
            try:
                def over() -> bool:
                    return line.look() and (loop.stopped or left() or not is_due(context))

                with line:
                    loop.wait(over, None, hurry=True)
                    while not left() and self._callbacks_go_on():
                        loop.wait(over, None, hurry=True)
            finally:
                if not was_claiming:
                    context.scheduler.claiming = False
            if loop.error is not None:
                raise loop.error
            if line.on:
                self._futures.failures.show()
            self._futures.failures.texts = {}
        return context.counts(queries.ALL)

    def serve_forever(self) -> None:
        """Claim what is in the file until SIGTERM, Ctrl-C or a `close` of another thread; then close."""
        import signal  # slow to import, for those who only submit

        context = self._context
        asked: list[bool] = []  # no `Event`: a signal that comes while another sets it would wait for its lock for ever
        self._may_wait("serve_forever")
        if not context.workers:
            raise RuntimeError("serve_forever() of an engine with workers=0 would never run anything")

        def end(*_: object) -> None:
            if not asked:
                asked.append(True)
                self.leave()

        here = threading.current_thread() is threading.main_thread()  # the one that Python gives signals
        before = signal.signal(signal.SIGTERM, end) if here else None
        try:
            with contextlib.suppress(KeyboardInterrupt):
                self.start()  # in here: a Ctrl-C just as it begins ends it as any other does
                context.loop.wait(lambda: bool(asked) or context.closed or context.loop.stopped, None, hurry=False)
            if context.loop.error is not None:
                raise context.loop.error
            self.interrupted()
        finally:
            if before is not None:  # else nobody asked, or a handler that is not Python's cannot be put back
                signal.signal(signal.SIGTERM, before)

    def interrupted(self) -> None:
        """Close after a Ctrl-C; on a terminal, say first what that waits for. After another one it does not wait."""
        try:
            running = condition.running(self._context) if getattr(sys.stderr, "isatty", bool)() else ()
            if running:
                names, more = ", ".join(running[:3]), f" and {len(running) - 3} more" if len(running) > 3 else ""
                sys.stderr.write(f"stopping: waiting for {names}{more} to come back; Ctrl-C again does not wait\n")
                sys.stderr.flush()
            self.close(None)
        except KeyboardInterrupt:
            self.close(0.0)
            raise

    def _callbacks_go_on(self) -> bool:
        """Let callbacks be called, for they may submit. → whether there is more to do then, or may be."""
        callbacks, processes = self._context.callbacks, self._context.processes
        if processes is not None:
            processes.hear_all(CALLBACKS)
        if not callbacks.began or self._context.loop.stopped or not callbacks.flush(CALLBACKS):
            return False
        settled = callbacks.settled
        return is_due(self._context) or settled is None or callbacks.settled != settled

    def _may_wait(self, verb: str) -> None:
        """`RuntimeError` where that would be for ever."""
        self._context.guard()
        if self._context.file.current is not None:
            raise RuntimeError(f"{verb}() inside transaction() would wait for ever")
        if self._context.running_body() is not None:
            raise RuntimeError(f"{verb}() in a body would wait for its own end")

    @property
    def health(self) -> Health:
        """How the engine is now, and since when it has been so."""
        found = condition.of(self._context, self._closing, self._unstarted)
        if found != (self._health.state, self._health.reason):
            self._health = Health(*found, self._context.now())
        return self._health

    # -- ending -----------------------------------------------------------------------------------------------------

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        """Take no more tasks; go on until every task this engine submitted has ended or is not due, then close."""
        context = self._context
        if context.closed:
            return
        self._may_wait("shutdown")
        context.refusing = True
        if cancel_futures:
            self._let_begin()
            for first, last in context.spans:
                context.write(operations.cancel_unbegun, first, last, context.now())
        if not wait:
            thread = threading.Thread(target=self.shutdown, args=(True, False), name="taskcore-shutdown", daemon=True)
            thread.start()
            return
        if context.scheduler.claiming:
            context.loop.wait(lambda: context.loop.stopped or not is_due(context, context.spans), None, hurry=True)
        self.close(None)
        context.callbacks.flush(-1.0)

    def _let_begin(self) -> None:
        """Until as many bodies run as there are threads for what was submitted: whoever cancels the rest at once finds
        begun what a bare pool would have begun."""
        context = self._context
        scheduler, loop = context.scheduler, context.loop
        if scheduler.claiming and loop.helps:
            loop.wait(lambda: loop.stopped or scheduler.begun, monotonic() + BEGIN, hurry=False)

    def close(self, timeout: float | None) -> None:
        """Claim nothing more, ask bodies to stop, wait for them at most `timeout` s; give back what did not end.

        With a `timeout` the work is done in a thread of its own, so that the call ends in time whatever a body, a
        callback, a transaction or another program holds up. A signal handler that interrupted a call of this engine
        does not wait at all: what that call holds it lets go of only after the handler.
        """
        context = self._context
        length = None if timeout is None else min(seconds(timeout, "timeout"), FOREVER)
        if self.process != os.getpid():
            context.closed = True
            return
        context.guard()
        if context.file.current is not None:
            raise RuntimeError("close() inside transaction() would wait for ever")
        self.leave()
        deadline, own = None if length is None else monotonic() + length, context.running_body()
        interrupts = context.file.interrupted
        if (deadline is None or context.loop.here) and not interrupts:
            self._close_once(deadline, own, wait=own is None and not context.loop.here)
            return
        context.refusing = self._closing = True
        if deadline is not None:  # who gave a time does not want the interpreter to wait for longer, either
            shutdown.forget(self)
            context.file.patience.ends_at = deadline
        closing = self._close_elsewhere(deadline, own)
        if closing is not None and not interrupts and deadline is not None:
            closing.join(max(0.0, deadline - monotonic()) + PATIENCE)
        self._futures.changes.end(0.0)  # what goes on behind this call is told to nobody

    def _close_elsewhere(self, deadline: float | None, own: int | None) -> threading.Thread | None:
        """The same in a thread of its own; in this one, and then `None`, where no thread is to be had. (But not in
        the middle of a call of the file's: then the end of the process gives back what is held.)"""
        close = functools.partial(self._close_once, deadline, own, wait=True, to_the_end=True)
        closing = threading.Thread(target=close, name="taskcore-close", daemon=True)
        try:
            closing.start()
        except RuntimeError:
            if not self._context.file.interrupted:
                self._close_once(deadline, own, wait=False)
            return None
        return closing

    def leave(self) -> None:
        """Say in the file that the end has begun: a process that is killed before it has come to it costs its tasks
        no lapse."""
        if self.process == os.getpid():
            self._context.scheduler.presence.leaving()

    def abandon(self) -> None:
        """Nobody holds the engine any more. Called by the garbage collector, in any thread and at any place of it, so
        nothing is waited for."""
        if not self._context.closed and self.process == os.getpid():
            self._context.refusing = True
            self.leave()
            self._close_elsewhere(None, None)
            text = f"an engine on {self._context.path} was dropped without close()"
            warnings.warn(text, ResourceWarning, stacklevel=2)

    def _close_once(self, deadline: float | None, own: int | None, *, wait: bool, to_the_end: bool = False) -> None:
        """`wait`: for another closer. Whoever closes already waits for this body or callback otherwise. `to_the_end`:
        bodies are waited for until the deadline, and then whatever holds the file, however long it takes."""
        if not self._ending.acquire(blocking=wait):
            return
        try:
            if not self._context.closed:
                self._close(deadline, own, to_the_end)
        finally:
            self._ending.release()

    def _close(self, deadline: float | None, own: int | None, to_the_end: bool) -> None:
        context = self._context
        context.refusing = self._closing = True
        context.close_pages()
        processes = context.processes
        try:
            try:
                if processes is not None:
                    processes.stop()
                if not context.loop.finish(deadline, own, to_the_end):
                    tell(logging.WARNING, "%s: closed before all was given back", context.path)
                if processes is not None:
                    processes.join(None if deadline is None else max(0.0, deadline - monotonic()))
                    context.write(context.scheduler.presence.bury, context.now())  # what was killed
            except KeyboardInterrupt:
                context.loop.finish(monotonic(), own, False)  # bodies are not waited for any longer
                if processes is not None:
                    processes.join(0.0)
                raise
            except Exception as error:  # the file is not there or locked: there is nothing left to close in good order
                tell(logging.WARNING, "%s: closed before all was given back (%s)", context.path, said(error))
                if processes is not None:  # an interpreter that ends beside them would wait for them, and stumble
                    processes.join(None if deadline is None else max(0.0, deadline - monotonic()))
            finally:
                self._futures.close()
                self._futures.changes.end(self._left(deadline))
                context.callbacks.stop()
                if not context.callbacks.flush(self._left(deadline)) and deadline is None:
                    shutdown.finish(context.callbacks)
        finally:
            context.closed = True
            shutdown.forget(self)
            unsubscribe = getattr(context.clock, "unsubscribe", None)
            if unsubscribe is not None:
                unsubscribe(context.scheduler.look_again)
            context.file.close(-1.0 if deadline is None or to_the_end else max(0.0, deadline - monotonic()))
            context.scheduler.leave()

    def _left(self, deadline: float | None) -> float:
        """Seconds that users' callbacks have yet."""
        return CALLBACKS if deadline is None else min(CALLBACKS, max(0.0, deadline - monotonic()))

    # -- what happens meanwhile -------------------------------------------------------------------------------------

    def broke(self, why: str) -> None:
        """No body can run here any more."""
        self._context.loop.break_down(EngineClosed(self._context.path, why))

    def on_commit(self, tx: Transaction) -> None:
        """Called after each commit, outside the file's lock."""
        self._futures.changes.committed()
        if not self._context.scheduler.display.holds_back(tx):
            self.tell(tx)

    def on_birth(self, birth: Birth | None = None) -> None:
        """Called after each task that was stored by a statement of its own; `birth`: that of one that is claimed."""
        self._futures.changes.committed()
        context = self._context
        if birth is None:
            context.scheduler.born()
        elif not context.scheduler.adopt(birth):  # a `run` or `close` came between
            with contextlib.suppress(Trouble, BadFile, EngineClosed):  # who looks at the file next gives it back
                context.file.write(claims.give_back, [(birth.claimed.id, birth.claimed.token)], context.now())
            birth.claimed = ()

    def tell(self, tx: Transaction) -> None:
        """Pass on what it brought."""
        if not tx.of_a_turn:  # a turn tells of its ends itself, once it has put its own affairs in order
            self._context.scheduler.committed(tx)
            self._futures.ended(tx.ended)
            if tx.ended:
                self._context.callbacks.settle()

    def forked(self) -> None:
        """In a child: this engine is the parent's."""
        self._context.closed = True
        self._context.close_pages()  # a child must not go on listening
        self._context.loop.forked()
        if self._context.processes is not None:
            self._context.processes.forked()
        self._futures.forked()

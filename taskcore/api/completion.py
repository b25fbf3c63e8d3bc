"""`as_completed`: futures in the order in which their tasks end, with `for` and with `async for`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent import futures as bare
from typing import Any

from taskcore.api.future import TaskFuture, telling
from taskcore.core.clock import monotonic

Futures = Iterable["bare.Future[Any]"]


def as_completed(futures: Futures, timeout: float | None = None) -> Completion:
    """The futures as they end, each once, those that have ended first: to be gone through with `for` or `async for`.

    Task futures and others of `concurrent.futures`. `TimeoutError` if not all have ended `timeout` s from this call;
    the tasks stay as they are, then and when the caller breaks off. Inside `transaction()` and in a body, where the
    waiting would hold a thread (`run.wait` does not), `RuntimeError`.
    """
    return Completion(futures, timeout)


class Completion:
    """What `as_completed` returns."""

    def __init__(self, futures: Futures, timeout: float | None) -> None:
        self._deadline = None if timeout is None else monotonic() + timeout
        self._helpless: list[TaskFuture] = []  # of engines that run bodies in the thread of whoever waits
        self._others: list[Any] = []
        for future in dict.fromkeys(futures):
            if isinstance(future, TaskFuture):
                _may_wait(future)
                if not future._context.loop.background:
                    self._helpless.append(future)
                    continue
            elif not isinstance(future, bare.Future):
                raise TypeError(f"as_completed takes futures, not {future!r}")
            self._others.append(future)

    def __iter__(self) -> Iterator[Any]:
        yield from self._run_here()
        try:
            yield from bare.as_completed(self._others, self._left())
        except TimeoutError:
            raise self._late() from None

    async def __aiter__(self) -> AsyncIterator[Any]:
        import asyncio  # whoever awaits has it already

        for own in self._run_here():
            yield own
        ended = asyncio.Queue[Any]()
        with telling(self._others, ended.put_nowait):
            for _ in self._others:
                try:
                    async with asyncio.timeout(self._left()):
                        future = await ended.get()
                except TimeoutError:
                    raise self._late() from None
                yield future

    def _run_here(self) -> Iterator[TaskFuture]:
        for future in self._helpless:
            try:
                future.exception(self._left())
            except bare.CancelledError:
                pass
            except TimeoutError:
                raise self._late() from None
            yield future

    def _left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - monotonic())

    def _late(self) -> TimeoutError:
        futures = self._helpless + self._others
        return TimeoutError(f"{sum(not f.done() for f in futures)} of {len(futures)} tasks have not ended")


def _may_wait(future: TaskFuture) -> None:
    """`RuntimeError` where that would be for ever, or hold a thread that others need."""
    if future._context.file.current is not None:
        raise RuntimeError("as_completed() inside transaction() would wait for ever")
    if future._waiting_body() is not None:
        raise RuntimeError("as_completed() in a body would hold its thread: run.wait(*futures) gives it back")
    future._context.must_run()

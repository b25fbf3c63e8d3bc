"""The way in: every submit, alone or one of many, in a transaction or in a body, is stored here."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from taskcore.api import arguments
from taskcore.api.context import Context
from taskcore.api.future import TaskFuture
from taskcore.api.futures import Register
from taskcore.api.lifetime import Lifetime
from taskcore.api.places import must_be_found
from taskcore.api.transaction import Block, Database, Scope, transaction
from taskcore.body.children import Spawn
from taskcore.body.context import Run
from taskcore.body.work import CURRENT, NO_WAITING
from taskcore.core.clock import monotonic
from taskcore.core.ends import seconds
from taskcore.core.errors import KeyConflict, NotInTask
from taskcore.core.options import Definition, Options, checked_text, whole
from taskcore.store import queries
from taskcore.store.claims import Claimed
from taskcore.store.columns import LONG
from taskcore.store.submit import Births, Order, submit
from taskcore.store.submit_plain import Birth, submit_alone, submit_plain
from taskcore.store.transaction import Transaction


class Submittable:
    """A name to submit: what it calls here, and its options."""

    _arity: tuple[Any, float, float] = (..., 0, 0)
    """The function that it was looked up of, and how many positional arguments that takes."""
    _signature: tuple[Any, Any] = (..., None)

    def __init__(self, name: str, fn: Callable[..., Any] | None, options: Options) -> None:
        self._name = name
        self._fn = fn
        self._options = options
        self._kind = options.kind()

    def encode(
        self, context: Context, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[str, list[arguments.Link]]:
        """(arguments as text, links) of a call. `TypeError` if it cannot be called so, or an argument not stored."""
        definition = context.definitions.get(self._name)
        called = self._fn if definition is None or self._fn is None else definition.fn
        if called is not self._arity[0]:
            if definition is not None:
                must_be_found(context.scheduler.custody.crew, self._name, called)
            self._arity = called, *arguments.arity(called)  # in one step: other threads submit too
        _, least, most = self._arity
        if kwargs or not least <= len(args) <= most:
            if called is not self._signature[0]:
                self._signature = called, arguments.signature_of(called)
            arguments.must_fit(self._name, self._signature[1], args, kwargs)
        return arguments.encode(context, self._name, self._fn, args, kwargs)

    def encode_all(self, context: Context, calls: Sequence[tuple[Any, ...]]) -> list[tuple[str, list[arguments.Link]]]:
        """The same of calls with as many arguments each: what fits one fits all."""
        first = [self.encode(context, args, {}) for args in calls[:1]]
        return first + [arguments.encode(context, self._name, self._fn, args, {}) for args in calls[1:]]


class Submissions:
    """One engine's way in: every submit, alone or one of many, in a transaction or a body, is stored here."""

    def __init__(self, context: Context, futures: Register, lifetime: Lifetime) -> None:
        self.context = context
        self.lifetime = lifetime
        self._file = context.file
        self._now = context.now
        self.futures = futures
        self.expecting, self.expect, self.forget = futures.expecting, futures.expect, futures.forget
        """What bodies of this engine ask of it, as their `House`."""
        self._handle_of = futures.born
        """Called before anything here can claim the task: it may end in the next moment, and is told how then."""
        self._functions: dict[Callable[..., Any], Submittable] = {}  # plain ones, registered by module and name

    def named(self, fn: Any) -> Submittable:
        """What a function, or the name of a task, stands for."""
        if isinstance(fn, Submittable):
            return fn
        if isinstance(fn, str):
            return Submittable(*self.context.definition_of(checked_text("name", fn)))
        if not callable(fn):
            raise TypeError(f"submit takes a function or a task's name, not {fn!r}")
        function = self._functions.get(fn)
        if function is None:
            definition = Definition(arguments.name_of(fn), fn)
            function = self._functions[fn] = Submittable(*definition)
            self.context.define(definition)
        return function

    def submit(self, function: Submittable, args: tuple[Any, ...], kwargs: dict[str, Any]) -> TaskFuture:
        """Store one call; it is in the file when this returns, or with the transaction that is open. Starts the
        engine."""
        context = self.context
        if context.refusing or context.asleep:
            context.may_submit()
        tx = self._file.current
        return self._run(self._submit(function, args, kwargs, tx), tx)

    def trigger(self, order: Order) -> TaskFuture:
        """The same for a schedule's task."""
        self.context.may_submit()
        return self._run(self.store(order), self._file.current)

    def store(self, order: Order) -> TaskFuture:
        """Store what is no call. It is a step of the body that makes it: when that runs again, it is given the one
        there is."""
        spawn = self.spawn(order.name)
        if spawn is not None and spawn.there is not None:
            return self.futures.handle(spawn.there)
        return self._take(order, spawn)

    def _run(self, future: TaskFuture, tx: Transaction | None) -> TaskFuture:
        """What was just stored is this engine's, which runs it from now on, or once the transaction has ended."""
        self.context.spans.add(future.id)
        if tx is not None:
            tx.scope.submitted = True
        elif self.context.workers:
            self.lifetime.go()
        return future

    def _submit(
        self, function: Submittable, args: tuple[Any, ...], kwargs: dict[str, Any], tx: Transaction | None
    ) -> TaskFuture:
        name, options = function._name, function._options
        spawn = None if CURRENT.get(None) is None else self.spawn(name)
        if spawn is not None and spawn.there is not None:
            return self.futures.handle(spawn.there)
        text, links = function.encode(self.context, args, kwargs)
        # Functions among the options are kept by their order; long arguments have a table of their own.
        plain = options.plain and not options.own_behaviour and len(text) <= LONG
        if not plain or spawn is not None or links or (tx is not None and tx.scope.jobs):
            return self._take(arguments.order(self.context, name, function._kind, options, text, links), spawn)
        if tx is None:
            return self._store(function, self._now(), text)
        task_id = tx.births.add_plain(name, function._kind, options.priority, self._now(), text)
        return self.futures.born(task_id, tx.scope)

    def spawn(self, name: str) -> Spawn | None:
        """The call as a step of the body that makes it, if it is made in a body of this file's."""
        found = CURRENT.get(None)
        if found is None:
            return None
        if found[0].elsewhere == self.context.path:
            raise NotInTask(found[0].unreachable or NO_WAITING.format("submit"))
        return Spawn(Run(*found), "submit", name) if found[0].file is self._file else None

    def _take(self, order: Order, spawn: Spawn | None) -> TaskFuture:
        """Store a task that is more than a name, arguments and a priority."""
        tx = self._file.current
        if order.parent is None:
            order.parent = tx.scope.jobs[-1] if tx is not None and tx.scope.jobs else spawn.parent if spawn else None
        try:
            if tx is not None and not order.before:
                return self._add(tx, order, spawn)
            return self._file.write(self._add, order, spawn)  # inside a transaction, a part of it: all or nothing
        except KeyConflict as conflict:
            there = self._equal_or_raise(conflict, order)
            if order.key_scope == "succeeded":  # it may have to run again
                return self._take(order, spawn)
            future = self.futures.handle(there)
            if spawn is not None:
                self._file.write(spawn.keep, future.id)
            return future

    def _store(self, function: Submittable, now: float, text: str) -> TaskFuture:
        """One submit, one commit. An idle engine's own task is born claimed: a thread would take it anyway."""
        file, kind, priority = self._file, (function._name, function._kind), function._options.priority
        made: Callable[[int], TaskFuture] = self._handle_of
        told: Callable[[], None] = self.lifetime.on_birth
        claim = self.context.scheduler.free_at_once(function._name, now) if self.context.loop.alive else None
        if claim is not None:
            made, told = self._claimed_at_birth(kind, text)
        future = submit_alone(file, kind, priority, now, text, claim, made, told)
        return future or file.write(self._bear_plain, kind, priority, now, text)

    def _claimed_at_birth(
        self, kind: tuple[str, str], text: str
    ) -> tuple[Callable[[int], TaskFuture], Callable[[], None]]:
        """What is to be called once such a task has its id, and once it is in the file."""
        birth = Birth()

        def made(task_id: int) -> TaskFuture:
            birth.claimed = Claimed(task_id, self._file.known.plain_ids[kind], text)
            return self._handle_of(task_id)

        return made, functools.partial(self.lifetime.on_birth, birth)

    def _bear_plain(self, tx: Transaction, kind: tuple[str, str], priority: int, now: float, text: str) -> TaskFuture:
        return self._handle_of(submit_plain(tx, kind, priority, now, text))

    def _add(self, tx: Transaction, order: Order, spawn: Spawn | None) -> TaskFuture:
        task_id, new = submit(tx, order, order.submitted_at) if tx.births is None else tx.births.add(order)
        if spawn is not None:
            spawn.keep(tx, task_id)
        return self.futures.born(task_id, tx.scope) if new else self.futures.handle(task_id)

    def transaction(self) -> Block[Database]:
        """`Engine.transaction`."""
        return Block(transaction(self._file, self.context.clock, self._after_block))

    def _after_block(self, scope: Scope) -> None:
        if scope.rolled_back:
            self.futures.rolled_back(scope)
            self.context.callbacks.settle()
        elif self.context.workers and scope.submitted and not self.context.refusing:
            self.lifetime.go()
        self.futures.transaction_ended()

    def gather(self, fn: Any, calls: list[tuple[Any, ...]], run: Run) -> tuple[list[int], bool]:
        """Children of a body, one for each of the calls, in one commit: the same ones when the body runs again. → they,
        and whether they were made now."""
        context, function = self.context, self.named(fn)
        spawn = Spawn(run, "gather", function._name)
        new = not spawn.all_there
        if new:
            spawn.children = [None] * len(calls)
        ids: list[Any] = spawn.children
        if new or None in ids:
            calls = [args for child, args in zip(ids, calls, strict=False) if child is None]
            now, encoded = self._now(), function.encode_all(context, calls)
            name, kind, options, orders = function._name, function._kind, function._options, list[Order]()
            plain = options.plain and not options.own_behaviour
            if not plain or any(links or len(text) > LONG or not text.isprintable() for text, links in encoded):
                orders = [arguments.order(context, name, kind, options, text, links) for text, links in encoded]
            ids = context.write(self._bear, spawn, function, [text for text, _ in encoded], orders, now)
            context.spans.extend(ids)
        return ids, new

    def _bear(
        self, tx: Transaction, spawn: Spawn, function: Submittable, texts: list[str], orders: list[Order], now: float
    ) -> list[int]:
        """Children of a body, by their `orders` where there is more to say than arguments. What they raise is kept for
        it from now on: one may fail right behind the commit."""
        family = Births(tx, now)
        for order in orders:
            order.parent = spawn.parent if order.parent is None else order.parent
        if orders:
            ids = [family.add(order)[0] for order in orders]
            family.flush()
        else:
            name, kind, priority = function._name, function._kind, function._options.priority
            ids = family.add_children(name, kind, priority, now, spawn.parent, texts)
        children = spawn.keep_all(tx, ids)
        self.expect(spawn.parent, children)
        return children

    def results(self, children: Sequence[int]) -> list[str] | None:
        """The texts of what these children of a gather gave, in order, if all succeeded, none gave much and they were
        made in a row."""
        first, last = min(children), max(children)
        if last - first >= 2 * len(children):
            return None
        texts = dict(self.context.read(queries.short_results, first, last))
        given = [text for text in map(texts.get, children) if text is not None]
        return given if len(given) == len(children) else None

    def handles(self, children: Sequence[int]) -> list[TaskFuture]:
        return [self.futures.handle(child) for child in children]

    def settled(self, futures: Sequence[TaskFuture], parent: int) -> list[int]:
        """Resolve what has ended. → the ids of those that have not, which the body of `parent` is going to wait for."""
        for future in futures:
            if not isinstance(future, TaskFuture):
                raise TypeError(f"a body waits for handles of tasks, not for {future!r}")
            if self.context.id_of(future) == parent:
                raise RuntimeError(f"task #{parent} would wait for itself")
        missing = self.futures.settle_all(futures)
        if missing:
            self.expect(parent, [future.id for future in futures], futures)
        return missing

    def _equal_or_raise(self, conflict: KeyConflict, order: Order) -> int:
        """The texts of the arguments differ; whether the arguments do, the codec says."""
        text, links = self.context.read(queries.stored_arguments, conflict.task_id)
        canonical = functools.partial(arguments.canonical, self.context.codec)
        if links == order.links and canonical(text) == canonical(order.args):
            order.args = text
            return conflict.task_id
        raise conflict

    def map(
        self, fn: Any, iterables: tuple[Iterable[Any], ...], timeout: float | None, chunksize: int
    ) -> Iterator[Any]:
        """As `Executor.map`: results in order, `TimeoutError` after `timeout` s from now."""
        function = self.named(fn)
        whole("chunksize", chunksize, 1)
        deadline = None if timeout is None else monotonic() + seconds(timeout, "timeout")
        futures: list[TaskFuture] = []
        calls = zip(*iterables, strict=False)
        inside = self._file.current is not None
        while chunk := [args for _, args in zip(range(max(chunksize, 1000)), calls, strict=False)]:
            with contextlib.nullcontext() if inside else self.transaction():
                futures.extend(self.submit(function, args, {}) for args in chunk)
        return _results(futures, deadline)


def _results(futures: list[TaskFuture], deadline: float | None) -> Iterator[Any]:
    """The results in order; each future is let go as soon as its result was given."""
    futures.reverse()
    while futures:
        yield futures.pop().result(None if deadline is None else max(0.0, deadline - monotonic()))

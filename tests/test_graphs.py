"""Whole graphs, run by the engine: each task ends as an oracle says it must, and none starts before it may."""

import collections
import contextlib
import gzip
import json
import random
import threading
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from taskcore import Abort, Cancelled, Done, Engine
from taskcore.core import lifecycle
from taskcore.testing import InlineExecutor, ManualClock

STATUSES = {"good": "succeeded", "bad": "failed"}
DATA = Path(__file__).parent / "data"


class Graph:
    """Nodes 0…n−1 in an order that is topological, what each body does, and the edges: node → {upstream: (on,
    otherwise)}."""

    BODIES = ("return", "return", "return", "good", "raise", "bad", "abort", "retry", "cancel")
    WANTS = ("succeeded", "succeeded", "succeeded", "finished", "failed", "good", "bad", "skipped", "cancelled")

    def __init__(self, seed, size):
        self.seed, r = seed, random.Random(seed)
        self.bodies = [r.choice(self.BODIES) for _ in range(size)]
        self.priorities = [r.choice((0, 0, 0, 1, -7)) for _ in range(size)]
        self.edges = [{} for _ in range(size)]
        density, near = r.choice((0.5, 1.5, 3.0)), r.choice((3, size))
        for node in range(1, size):
            for _ in range(int(r.expovariate(1 / density))):
                upstream = r.randrange(max(0, node - near), node)
                self.edges[node][upstream] = (r.choice(self.WANTS), r.choice(("skip", "skip", "drop", "drop", "wait")))

    def statuses(self):
        """How every node must end, or "waiting" if it waits for a rerun: edge by edge, as the contract reads."""
        ends = []
        for body, edges in zip(self.bodies, self.edges, strict=True):
            verdicts = [self.verdict(ends[upstream], *edge) for upstream, edge in edges.items()]
            if "doomed" in verdicts:
                ends.append("skipped")
            elif "unmet" in verdicts:
                ends.append("waiting")
            else:
                own = {"return": "succeeded", "retry": "succeeded", "raise": "failed", "abort": "failed"}
                ends.append(own.get(body, "cancelled" if body == "cancel" else body))
        return ends

    @staticmethod
    def verdict(status, on, otherwise):
        if status == "waiting":
            return "unmet"
        if on in (status, STATUSES.get(status, status), "finished"):
            return "met"
        return {"skip": "doomed", "drop": "dropped", "wait": "unmet"}[otherwise]

    def results(self, ends):
        """What each body must have been given: the results of the upstreams that were not dropped, in order."""
        value = {"succeeded": lambda node: node, "good": lambda node: node, "bad": lambda node: -node}
        return {
            node: [
                value.get(ends[upstream], lambda _: None)(upstream)
                for upstream, edge in edges.items()
                if self.verdict(ends[upstream], *edge) == "met"
            ]
            for node, edges in enumerate(self.edges)
            if ends[node] not in ("skipped", "waiting")
        }


class Run:
    """The bodies of a graph, and what they saw."""

    def __init__(self, graph):
        self.graph, self.lock = graph, threading.Lock()
        self.events, self.given = [], {}

    def body(self, node, upstreams):
        with self.lock:
            again = ("start", node) in self.events
            self.events.append(("start", node))
            self.given[node] = upstreams
        try:
            match self.graph.bodies[node]:
                case "good":
                    return Done(node, status="good")
                case "bad":
                    return Done(-node, status="bad")
                case "raise":
                    raise ValueError(f"node {node}")
                case "abort":
                    raise Abort
                case "cancel":
                    raise Cancelled
                case "retry" if not again:
                    raise OSError("once more")
            return node
        finally:
            with self.lock:
                self.events.append(("end", node))

    def submit(self, engine, shuffled):
        """Store the graph in one transaction; `shuffled`: in any order, with the edges that come too late by
        `depends_on`."""
        graph, futures = self.graph, {}
        fn = engine.task(self.body, name="node", max_attempts=2, retry_on=OSError, backoff=lambda failures: 0.0)
        order = list(range(len(graph.bodies)))
        with engine.transaction():
            if shuffled:
                random.Random(graph.seed).shuffle(order)
                for node in order:
                    futures[node] = fn.options(priority=graph.priorities[node]).submit(node, None)
                for node in order:
                    for upstream, edge in graph.edges[node].items():
                        futures[node].depends_on(futures[upstream], *edge)
            else:
                for node in order:
                    edges = {futures[upstream]: edge for upstream, edge in graph.edges[node].items()}
                    options = fn.options(after=edges, priority=graph.priorities[node])
                    futures[node] = options.submit(node, list(edges))
        return [futures[node] for node in range(len(order))]

    def starts_are_legal(self, ends):
        """Nothing began before every upstream that ran had ended, and everything that had to ran exactly as often as it
        should."""
        place = {}
        for number, (what, node) in enumerate(self.events):
            place.setdefault((what, node), number) if what == "start" else place.update({(what, node): number})
        for node, edges in enumerate(self.graph.edges):
            for upstream in edges:
                if ("start", node) in place and ("start", upstream) in place:
                    assert place["end", upstream] < place["start", node], f"{node} began before {upstream} had ended"
        began = collections.Counter(node for what, node in self.events if what == "start")
        wanted = {
            node: 2 if self.graph.bodies[node] == "retry" else 1
            for node, end in enumerate(ends)
            if end not in ("skipped", "waiting")
        }
        assert began == wanted


def examine(graph, run, engine, futures, shuffled):
    ends = graph.statuses()
    assert [future.snapshot().status for future in futures] == ends
    run.starts_are_legal(ends)
    if not shuffled:
        assert run.given == graph.results(ends)
    counts = collections.Counter(ends)
    assert engine.tasks.counts() == counts
    with engine.transaction() as db:
        assert db.execute(
            """SELECT count(*) FROM taskcore_task AS t WHERE blockers <> (
                   SELECT count(*) FROM taskcore_edge AS e WHERE e.task = t.id AND e.verdict IN ('unmet', 'doomed')
               )"""
        ).fetchone() == (0,)
    for node, future in enumerate(futures):
        if ends[node] == "skipped":
            reason = future.snapshot().last_error
            guilty = [
                futures[upstream].id
                for upstream, edge in graph.edges[node].items()
                if graph.verdict(ends[upstream], *edge) == "doomed"
            ]
            assert any(reason.startswith(f"#{task_id} is ") for task_id in guilty), (node, reason, guilty)


def play(seed, size, engine):
    graph = Graph(seed, size)
    run, shuffled = Run(graph), seed % 3 == 0
    try:
        futures = run.submit(engine, shuffled)
        engine.run()
        examine(graph, run, engine, futures, shuffled)
        ends = graph.statuses()
        put_right(graph, engine, futures)
    except BaseException as error:
        error.add_note(f"seed {seed}, {size} nodes")
        raise
    return ends


def put_right(graph, engine, futures):
    """What failed is mended and rerun with all that hangs on it: the graph ends as if it had been so from the
    beginning."""
    graph.bodies = ["return" if body in ("raise", "abort", "bad") else body for body in graph.bodies]
    engine.tasks.where(phase="failed").rerun(downstream=True)
    engine.run()
    assert [future.snapshot().status for future in futures] == graph.statuses()


@pytest.mark.parametrize("first", [0, *(pytest.param(more, marks=pytest.mark.storm) for more in (40, 80))])
def test_a_random_graph_ends_as_it_must_in_a_legal_order(first):
    seen = collections.Counter()
    for seed in range(first, first + 40):
        with Engine(":memory:", executor=InlineExecutor(), clock=ManualClock(), statuses=STATUSES) as engine:
            seen.update(play(seed, random.Random(-seed).choice((1, 2, 5, 20, 60)), engine))
    assert seen.keys() >= {"succeeded", "good", "failed", "bad", "cancelled", "skipped", "waiting"}, seen


@pytest.mark.parametrize("seed", range(1000, 1006))
def test_a_random_graph_run_by_four_threads_ends_as_it_must_in_a_legal_order(path, seed):
    with Engine(path, workers=4, statuses=STATUSES) as engine:
        play(seed, 120, engine)


@pytest.mark.storm
@pytest.mark.parametrize("first", range(10_000, 10_800, 100))
def test_many_random_graphs_run_by_four_threads_end_as_they_must(tmp_path, first):
    for seed in range(first, first + 100):
        with Engine(tmp_path / f"{seed}.db", workers=4, statuses=STATUSES) as engine:
            play(seed, random.Random(-seed).choice((5, 60, 400)), engine)


def test_a_random_graph_runs_on_where_an_engine_was_closed(path):
    """Closed and opened again in the middle, as often as it takes."""
    graph = Graph(7, 80)
    run, clock = Run(graph), ManualClock()
    with Engine(path, workers=0, clock=clock, statuses=STATUSES) as engine:
        ids = [future.id for future in run.submit(engine, False)]
    opened = 0
    while True:
        engine = Engine(path, executor=InlineExecutor(), clock=clock, statuses=STATUSES)
        engine.task(run.body, name="node", max_attempts=2, retry_on=OSError, backoff=lambda failures: 0.0)
        ready = engine.tasks.where(phase="ready").first()
        if ready is None:
            break
        engine.start()
        with contextlib.suppress(CancelledError):
            engine.future(ready.id).exception(timeout=60)
        engine.close()
        opened += 1
    examine(graph, run, engine, [engine.future(task_id) for task_id in ids], False)
    engine.close()
    assert opened > 3


# -- real ones -----------------------------------------------------------------------------------------------------


def load(name):
    with gzip.open(DATA / f"{name}.json.gz", "rt", encoding="utf-8") as file:
        graph = json.load(file)
    return graph["names"], [tuple(edge) for edge in graph["edges"]]


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("name, size", [("montage", (103, 231)), ("epigenomics", (73, 88))])
def test_a_real_workflow_runs_in_a_legal_order(path, name, size, threads):
    names, edges = load(name)
    assert (len(names), len(edges)) == size
    began, ended, lock = [], [], threading.Lock()
    above = collections.defaultdict(list)
    for upstream, task in edges:
        above[task].append(upstream)

    def body(node, upstreams):
        with lock:
            began.append(node)
            assert set(above[node]) <= set(ended), f"{names[node]} began before all it needs had ended"
        assert upstreams == above[node]
        with lock:
            ended.append(node)
        return node

    chosen = {"workers": 4} if threads else {"executor": InlineExecutor(), "clock": ManualClock()}
    with Engine(path, **chosen) as engine:
        step = engine.task(body, name="step")
        with engine.transaction():
            futures = {}
            for node in topological(len(names), above):
                tag = names[node].split("_")[0]
                futures[node] = step.options(tags=[tag], key=names[node]).submit(
                    node, [futures[u] for u in above[node]]
                )
        if not threads:
            assert engine.tasks.counts()["ready"] == sum(not above[node] for node in range(len(names)))
        assert engine.run() == {"succeeded": len(names)}
    assert sorted(began) == sorted(ended) == list(range(len(names)))


def topological(size, above):
    order, placed = [], set()
    while len(order) < size:
        free = [node for node in range(size) if node not in placed and placed.issuperset(above[node])]
        assert free, "the data has a cycle"
        order += free
        placed.update(free)
    return order


@pytest.mark.parametrize("name", ["montage", "epigenomics"])
def test_a_real_workflow_whose_every_third_step_fails_once_is_brought_to_its_end_by_reruns(path, name):
    names, edges = load(name)
    above = collections.defaultdict(list)
    for upstream, task in edges:
        above[task].append(upstream)
    failing = set(range(0, len(names), 3))

    def body(node, upstreams):
        if node in failing:
            failing.discard(node)
            raise RuntimeError(names[node])

    with Engine(path, executor=InlineExecutor(), clock=ManualClock()) as engine:
        step, futures = engine.task(body, name="step"), {}
        with engine.transaction():
            for node in topological(len(names), above):
                futures[node] = step.submit(node, [futures[upstream] for upstream in above[node]])
        rounds = 0
        while (counts := engine.run()) != {"succeeded": len(names)}:
            assert counts.keys() <= set(lifecycle.ENDED)
            assert counts["failed"] > 0 and rounds < len(names)
            engine.tasks.where(phase="failed").rerun(downstream=True)
            rounds += 1
        assert rounds > 1 and not failing

"""Random walks: verbs at random, against a small model. After every step the file is what the model says, and what it
keeps of its edges is what a fresh look finds. `walk(path, seed, …)` with the seed of a failure repeats it."""

import collections
import copy
import random
import sqlite3
from types import SimpleNamespace

import pytest

from taskcore import DependencyCycle, Engine, InvalidTransition, LeaseLost, constant
from taskcore.core.lifecycle import ENDED, PENDING, PHASES
from taskcore.testing import ManualClock

BACKOFF, LEASE = 50.0, 30.0
NAMES = "abc"
WANTS = [*PHASES, "finished", "good", "bad", *["succeeded"] * 6, *["pending", "ready", "scheduled"] * 2]
OPEN = ("waiting", "scheduled", "ready")


class Model:
    """The contract in a few dicts: no SQL, no verdict that is kept, everything looked at anew at every step."""

    def __init__(self):
        self.tasks, self.keys, self.last_id, self.now = {}, {}, 0, 1000.0

    def verdict(self, upstream, on, otherwise):
        u = self.tasks[upstream]
        ended = u.phase in ENDED
        if on in (u.phase, u.label) or (on == "finished" and ended) or (on == "pending" and u.phase in PENDING):
            return "met"
        return {"skip": "doomed", "drop": "dropped", "wait": "unmet"}[otherwise] if ended else "unmet"

    def blockers(self, task):
        verdicts = [self.verdict(upstream, *edge) for upstream, edge in task.edges.items()]
        return verdicts.count("unmet") + verdicts.count("doomed"), "doomed" in verdicts

    def settle(self):
        """The release rule, and the block and the skip that come over edges, until nothing moves any more."""
        moved = True
        while moved:
            moved = False
            for task in self.tasks.values():
                (blockers, doomed), before = self.blockers(task), task.phase
                if task.phase == "waiting" and task.held:
                    task.phase = "paused"
                elif task.phase in OPEN and doomed:
                    task.phase, task.greenfield = "skipped", None
                elif task.phase in ("scheduled", "ready") and blockers:
                    task.phase = "waiting"
                elif task.phase == "waiting" and not blockers:
                    task.phase = "scheduled" if (task.greenfield or 0) > self.now else "ready"
                if task.phase == "ready":
                    task.greenfield = None
                moved = moved or task.phase != before

    def above(self, task_id):
        found, look = set(), [task_id]
        while look:
            for upstream in self.tasks[look.pop()].edges:
                if upstream not in found:
                    found.add(upstream)
                    look.append(upstream)
        return found

    def submit(self, name, after, before, key, forever, delay, priority, **options):
        """→ id, or what refuses it."""
        if key is not None and (name, key) in self.keys:
            there = self.keys[name, key]
            doomed = self.tasks[there].cancel and self.tasks[there].phase not in ENDED
            if doomed and not forever:  # the new one waits for its end
                after = {**after, there: after.get(there, ("finished", "skip"))}
            elif forever or self.tasks[there].phase not in ENDED:
                return there
        for task_id in before:
            if self.tasks[task_id].phase not in PENDING:
                return InvalidTransition
            if task_id in after or any(task_id in self.above(upstream) for upstream in after):
                return DependencyCycle
        self.last_id += 1
        self.tasks[self.last_id] = SimpleNamespace(
            id=self.last_id, name=name, key=key, phase="waiting", label=None, attempts=0, failures=0, lapses=0, token=0,
            held=False, cancel=False, ahead=0, greenfield=self.now + delay if delay else None, priority=priority,
            edges=dict(after), **options,
        )  # fmt: skip
        if key is not None:
            self.keys[name, key] = self.last_id
        for task_id in before:
            self.tasks[task_id].edges[self.last_id] = ("succeeded", "skip")
        return self.last_id

    def depend(self, task_id, upstream, *edge):
        if self.tasks[task_id].phase not in PENDING:
            return InvalidTransition
        if task_id == upstream or task_id in self.above(upstream):
            return DependencyCycle
        self.tasks[task_id].edges[upstream] = edge
        return None

    def claim(self, names, n, lease):
        claimed = []
        while len(claimed) < n:
            ready = [task for task in self.tasks.values() if task.phase == "ready" and task.name in names]
            ready.sort(key=lambda task: (-task.priority, -task.ahead, task.id))
            for task in ready[: n - len(claimed)]:
                task.phase, task.greenfield = "running", self.now + lease
                task.token, task.attempts = task.token + 1, task.attempts + 1
            self.settle()
            blocked = [task for task in ready[: n - len(claimed)] if self.blockers(task)[0]]
            claimed += [task for task in ready[: n - len(claimed)] if task not in blocked]
            for task in blocked:
                self.back(task, attempt=False)
            self.settle()
            if not ready:
                break
        return [(task.id, task.token) for task in claimed]

    def back(self, task, delay=None, attempt=True):
        """A running task comes back; `attempt`: it counts."""
        task.phase, task.greenfield, task.label = "waiting", None if delay is None else self.now + delay, None
        task.attempts -= not attempt

    def end(self, task, phase, label=None):
        task.phase, task.label, task.greenfield = phase, label, None

    def report(self, task, verb, label):
        """→ the verb that it came to."""
        if verb == "succeed":
            self.end(task, "failed" if label == "bad" else "succeeded", label)
            task.failures += label == "bad"
        elif task.cancel:
            task.attempts -= verb == "release"
            self.end(task, "cancelled")
        elif verb == "release":
            self.back(task, attempt=False)
        elif verb == "snooze":
            self.back(task, 20, attempt=False)
        elif verb == "abort" or task.failures + 1 == task.max_attempts:
            self.end(task, "failed")
            task.failures += 1
        else:
            self.back(task, BACKOFF)
            task.failures, task.ahead = task.failures + 1, int(task.retry_first)

    def sweep(self):
        for task in self.tasks.values():
            if task.phase == "scheduled" and task.greenfield <= self.now:
                task.phase = "ready"
        self.settle()
        for task in self.tasks.values():
            if task.phase == "running" and task.greenfield <= self.now:
                task.lapses += 1
                if task.cancel:
                    self.end(task, "cancelled")
                elif task.lapses > task.max_lapses:
                    self.end(task, "failed")
                else:
                    self.back(task)

    def cancel(self, ids):
        ending = [task for task in self.pick(ids) if task.phase not in (*ENDED, "running")]
        for task in self.pick(ids):
            task.cancel = task.cancel or task.phase == "running" or task in ending
        for task in ending:
            self.end(task, "cancelled")
        return len(ending)

    def pause(self, ids):
        moved = [task for task in self.pick(ids) if not task.held and task.phase in (*OPEN, "running")]
        for task in moved:
            task.held, task.phase = True, "running" if task.phase == "running" else "paused"
        return len(moved)

    def resume(self, ids):
        moved = [task for task in self.pick(ids) if task.held and task.phase in ("paused", "running")]
        for task in moved:
            task.held, task.phase = False, "running" if task.phase == "running" else "waiting"
        return len(moved)

    def rerun(self, ids, downstream):
        chosen = {task.id for task in self.pick(ids) if task.phase in ENDED}
        if downstream:
            chosen |= {task_id for task_id in self.tasks if chosen & self.above(task_id)}
        ended = [task for task in self.pick(chosen) if task.phase in ENDED]
        keys = {(task.name, task.key): task.id for task in ended}  # of several with one key the newest
        ended = [
            task
            for task in ended
            if task.key is None or (keys[task.name, task.key] == task.id and not self.taken(task))
        ]
        for task in ended:
            self.end(task, "waiting")
            task.failures = task.lapses = task.ahead = 0
            task.held = task.cancel = False
            if task.key is not None:
                self.keys[task.name, task.key] = task.id
        return len(ended)

    def taken(self, task):
        """Whether another one, unfinished, has its key."""
        there = self.keys.get((task.name, task.key), task.id)
        return there != task.id and self.tasks[there].phase not in ENDED

    def set_priority(self, ids, priority):
        moved = [t for t in self.pick(ids) if t.phase not in ENDED and t.priority != priority]
        for task in moved:
            task.priority = priority
        return len(moved)

    def delete(self, ids):
        needed = {up for task in self.tasks.values() if task.phase not in ENDED for up in task.edges}
        gone = {task.id for task in self.pick(ids) if task.phase in ENDED} - needed
        self.tasks = {task_id: task for task_id, task in self.tasks.items() if task_id not in gone}
        self.keys = {key: task_id for key, task_id in self.keys.items() if task_id not in gone}
        for task in self.tasks.values():
            task.edges = {upstream: edge for upstream, edge in task.edges.items() if upstream not in gone}
        return len(gone)

    def pick(self, ids):
        return [task for task_id, task in self.tasks.items() if task_id in ids]

    def rows(self):
        return {
            task.id: (
                task.phase, task.label, task.priority, task.ahead, task.token, task.attempts, task.failures,
                task.lapses, int(task.held), task.cancel, task.phase in ENDED, self.blockers(task)[0],
                task.greenfield if (task.greenfield or 0) > self.now else None,
            )
            for task in self.tasks.values()
        }  # fmt: skip

    def edges(self):
        return {
            (upstream, task.id): (*edge, self.verdict(upstream, *edge))
            for task in self.tasks.values()
            for upstream, edge in task.edges.items()
        }


COLUMNS = """phase, label, priority, ahead, token, attempts, failures, lapses, held, cancel_requested_at IS NOT NULL,
    finished_at IS NOT NULL, blockers, CASE WHEN greenfield > ? THEN greenfield END"""


def examine(raw, now):
    """Oracles that need no model: → (rows, edges) of the file, which agrees with itself."""
    rows = {row[0]: row[1:] for row in raw.execute(f"SELECT id, {COLUMNS} FROM taskcore_task", (now,)).fetchall()}
    edges = {
        row[:2]: row[2:]
        for row in raw.execute("SELECT upstream, task, wants, otherwise, verdict FROM taskcore_edge").fetchall()
    }
    holding = collections.Counter()
    for (upstream, task), (wants, otherwise, verdict) in edges.items():
        phase, label, ended = rows[upstream][0], rows[upstream][1], rows[upstream][10]
        met = (
            wants in (phase, label) or (wants == "finished" and ended) or (wants == "pending" and phase in PENDING)
        )
        fresh = (
            "met"
            if met
            else "unmet"
            if not ended or otherwise == "wait"
            else {"skip": "doomed"}.get(otherwise, "dropped")
        )
        assert verdict == fresh, f"edge {upstream} → {task} is {verdict}, not {fresh}"
        holding[task] += fresh in ("unmet", "doomed")
        assert (fresh, rows[task][0]) not in [("doomed", phase) for phase in OPEN], f"#{task} was not skipped"
    for task_id, row in rows.items():
        assert row[11] == holding[task_id], f"#{task_id} counts {row[11]} blockers, not {holding[task_id]}"
        assert not (row[0] in ("ready", "scheduled") and row[11]), f"#{task_id} is free and blocked"
        assert row[0] != "waiting" or row[11], f"#{task_id} waits for nothing"
    return rows, edges


class Walk:
    """One world: a file, its engine, its model, and the claims that were ever made."""

    def __init__(self, path, seed, hits, size):
        self.random, self.hits, self.size, self.path = random.Random(seed), hits, size, path
        self.clock, self.model, self.tokens = ManualClock(1000.0), Model(), []
        self.wants = self.random.choice([WANTS, WANTS, ["succeeded", "finished"], ["succeeded"]])
        self.engines = [self.open() for _ in range(self.random.choice([1, 1, 2]))]
        self.engine = self.engines[0]
        self.raw = sqlite3.connect(path, isolation_level=None)
        swarm = self.random.sample(sorted(VERBS), len(VERBS) - self.random.randrange(5))
        self.verbs = [verb for verb in ["submit", *swarm] for _ in range(VERBS.get(verb, 1))]

    def open(self):
        engine = Engine(
            self.path, workers=0, lease=LEASE, clock=self.clock, name="walk",
            statuses={"good": "succeeded", "bad": "failed"},
        )  # fmt: skip
        for name in NAMES:
            engine.task(len, name=name, backoff=constant(BACKOFF))
        return engine

    def close(self):
        for engine in self.engines:
            engine.close()
        self.raw.close()

    def step(self):
        """→ what was done, in words."""
        self.engine = self.random.choice(self.engines)
        return getattr(self, self.random.choice(self.verbs))()

    def check(self):
        rows, edges = examine(self.raw, self.model.now)
        assert rows == self.model.rows()
        assert edges == self.model.edges()

    def hit(self, verb, outcome):
        self.hits[verb, outcome] += 1

    def task(self):
        return self.random.choice(list(self.model.tasks))

    def some(self):
        """One task, or a few, or those that run, or what those need."""
        running = [task for task in self.model.tasks.values() if task.phase == "running"]
        needed = {upstream for task in running for upstream in task.edges}
        match self.random.randrange(6):
            case 0 if running:
                return {task.id for task in running}
            case 1 | 2 if needed:
                return needed
        return {self.task() for _ in range(self.random.choice([1, 1, 1, 3, 8]))} if self.model.tasks else {1}

    def edge(self):
        return self.random.choice(self.wants), self.random.choice(["skip", "skip", "wait", "drop"])

    # -- the verbs --------------------------------------------------------------------------------------------------

    def submit(self):
        model, r = self.model, self.random
        if len(model.tasks) >= self.size:
            return "nothing: the world is full"
        known = list(model.tasks)
        after = {r.choice(known): self.edge() for _ in range(r.choice([0, 0, 1, 1, 2, 3]))} if known else {}
        before = list({self.task() for _ in range(r.choice([0] * 8 + [1, 2]))}) if known else []
        name, key, forever = r.choice(NAMES), r.choice([None, None, None, "k", "l"]), r.random() < 0.3
        delay, priority = r.choice([0, 0, 10, 70]), r.choice([0, 0, 0, 5, -5])
        options = {
            "max_attempts": r.choice([1, 2, 3, None]), "max_lapses": r.choice([0, 1, 3]),
            "retry_first": r.random() < 0.3,
        }  # fmt: skip
        last = model.last_id
        wanted = model.submit(name, after, before, key, forever, delay, priority, **options)
        more = {"key": key, "key_scope": None if forever else "unfinished"} if key else {}
        named = self.engine.task(name, backoff=constant(BACKOFF))
        order = named.options(after=after, before=before, delay=delay, priority=priority, **options, **more)
        got = attempt(order.submit)
        assert got == wanted, f"submit gave {got}, not {wanted}"
        new = wanted == last + 1
        model.settle()
        self.hit(
            "submit", model.tasks[wanted].phase if new else "known" if isinstance(wanted, int) else wanted.__name__
        )
        return f"{name} {after} {before} {key} {forever} {delay} {priority} {options} -> {wanted}"

    def claim(self):
        names = self.random.sample(NAMES, self.random.randint(1, 3))
        n, lease = self.random.choice([1, 1, 2, 5]), self.random.choice([5.0, LEASE, 200.0])
        wanted = self.model.claim(names, n, lease)
        everything = len(names) == 3
        claims = self.engine.claim(*(() if everything else names), n=n, lease=lease)
        got = [tuple(map(int, claim.token.split("."))) for claim in claims]
        assert got == wanted, f"claimed {got}, not {wanted}"
        for claim in claims:
            assert claim.task.attempts == self.model.tasks[claim.task.id].attempts
        self.tokens += got
        self.hit("claim", min(len(got), 2))
        return f"claim {names} {n} {lease} -> {got}"

    def report(self):
        """With a token that is held, or was."""
        if not self.tokens:
            return "nothing was ever claimed"
        held = [(task.id, task.token) for task in self.model.tasks.values() if task.phase == "running"]
        task_id, token = self.random.choice(held if held and self.random.random() < 0.7 else self.tokens[-5:])
        verb = self.random.choice(["succeed", "succeed", "fail", "fail", "abort", "snooze", "release", "extend"])
        label = self.random.choice([None, None, "good", "bad"])
        task = self.model.tasks.get(task_id)
        held = task is not None and task.phase == "running" and task.token == token
        try:
            claim = self.engine.claimed(f"{task_id}.{token}")
            {
                "succeed": lambda: claim.succeed(5, status=label),
                "fail": lambda: claim.fail("no"),
                "abort": lambda: claim.fail(ValueError("no"), retry=False),
                "snooze": lambda: claim.snooze(20),
                "release": claim.release,
                "extend": lambda: claim.extend(40),
            }[verb]()
        except LeaseLost:
            assert not held, f"{verb} of {task_id}.{token} was refused"
            self.hit(verb, "stale")
            return f"{verb} {task_id}.{token} is stale"
        assert held, f"{verb} of {task_id}.{token} was taken"
        if verb == "extend":
            task.greenfield = max(task.greenfield, self.model.now + 40)
        else:
            self.model.report(task, verb, label)
        self.model.settle()
        self.hit(verb, label if verb == "succeed" and label else task.phase)
        return f"{verb} {task_id}.{token} {label} -> {task.phase}"

    def advance(self):
        delay = self.random.choice([1.0, 10.0, 40.0, 100.0])
        running = [task for task in self.model.tasks.values() if task.phase == "running"]
        scheduled = [task for task in self.model.tasks.values() if task.phase == "scheduled"]
        self.clock.advance(delay)
        self.model.now += delay
        self.engine.claim("nobody")
        self.model.sweep()
        self.model.settle()
        for task in running:
            self.hit("lapse", task.phase)
        for task in scheduled:
            self.hit("promote", task.phase)
        return f"advance {delay}"

    def operate(self, verb, *args, **kwargs):
        ids = self.some()
        before = {task.id: task.phase for task in self.model.pick(ids)}
        wanted = getattr(self.model, verb)(ids, *args, **kwargs)
        got = getattr(self.engine.tasks.where(ids=ids), verb)(*args, **kwargs)
        assert got == wanted, f"{verb} {ids} moved {got}, not {wanted}"
        self.model.settle()
        for task_id, phase in before.items():
            task = self.model.tasks.get(task_id)
            self.hit(verb, (phase, "gone" if task is None else task.phase))
        return f"{verb} {ids} {args} {kwargs} -> {got}"

    def cancel(self):
        return self.operate("cancel")

    def pause(self):
        return self.operate("pause")

    def resume(self):
        return self.operate("resume")

    def rerun(self):
        return self.operate("rerun", downstream=self.random.random() < 0.4)

    def set_priority(self):
        return self.operate("set_priority", self.random.choice([-1000, -5, 0, 5, 1000]))

    def delete(self):
        return self.operate("delete")

    def depend(self):
        if not self.model.tasks:
            return "nobody there"
        task, upstream, edge = self.task(), self.task(), self.edge()
        there = upstream in self.model.tasks[task].edges
        wanted = self.model.depend(task, upstream, *edge)
        got = attempt(self.engine.future(task).depends_on, upstream, *edge)
        assert got == wanted, f"depends_on gave {got}, not {wanted}"
        self.model.settle()
        outcome = wanted.__name__ if wanted else "again" if there else self.model.tasks[task].phase
        self.hit("depend", outcome)
        return f"{task} depends on {upstream} {edge} -> {wanted}"

    def reopen(self):
        self.engines.remove(self.engine)
        self.engine.close()
        self.engines.append(self.open())
        self.hit("reopen", len(self.model.tasks) > 0)
        return "reopen"

    def block(self):
        """Several verbs in one transaction; of some, nothing stays."""
        model, tokens, said = copy.deepcopy(self.model), list(self.tokens), []
        verbs = [verb for verb in self.verbs if verb not in ("block", "reopen", "advance")]
        try:
            with self.engine.transaction():
                for _ in range(self.random.randint(1, 4)):
                    said.append(getattr(self, self.random.choice(verbs))())
                if self.random.random() < 0.4:
                    raise ZeroDivisionError
            self.hit("block", "committed")
        except ZeroDivisionError:
            self.model, self.tokens = model, tokens
            self.hit("block", "rolled back")
            said.append("and all of it undone")
        return " / ".join(said)


VERBS = {
    "submit": 5, "claim": 4, "report": 6, "advance": 3, "cancel": 1, "pause": 1, "resume": 1, "rerun": 2, "depend": 2,
    "set_priority": 1, "delete": 1, "reopen": 1, "block": 2,
}  # fmt: skip
"""How often each is drawn."""


def same(phase):
    return phase, phase


def attempt(verb, *args):
    """What it gives, the id of a handle, or the class of what it raises."""
    try:
        got = verb(*args)
    except (InvalidTransition, DependencyCycle) as error:
        return type(error)
    return None if got is None else got.id


OFTEN = {
    "submit": ["waiting", "scheduled", "ready", "skipped", "known", "InvalidTransition", "DependencyCycle"],
    "claim": [0, 1, 2],
    "succeed": ["succeeded", "good", "bad", "stale"],
    "fail": ["scheduled", "failed", "cancelled", "stale"],
    "abort": ["failed", "stale"],
    "snooze": ["scheduled", "stale"],
    "release": ["ready", "stale"],
    "extend": ["running", "stale"],
    "lapse": ["ready", "failed", "cancelled", "paused", "running"],
    "promote": ["ready", "scheduled"],
    "cancel": [*[(phase, "cancelled") for phase in (*OPEN, "paused")], *map(same, ("running", *ENDED))],
    "pause": [*[(phase, "paused") for phase in (*OPEN, "paused")], *map(same, ("running", *ENDED))],
    "resume": [*[("paused", phase) for phase in (*OPEN, "skipped")], *map(same, (*OPEN, "running", *ENDED))],
    "rerun": [
        *[(phase, "ready") for phase in ENDED], *[(phase, "waiting") for phase in ("cancelled", "skipped")],
        *map(same, (*OPEN, "running", "paused", "skipped", "cancelled")),
    ],
    "set_priority": [*map(same, (*OPEN, "running", "paused", *ENDED))],
    "delete": [*[(phase, "gone") for phase in ENDED], *map(same, (*OPEN, "running", "paused", *ENDED))],
    "depend": ["again", "InvalidTransition", "DependencyCycle", "waiting", "ready", "paused", "skipped"],
    "reopen": [True],
    "block": ["committed", "rolled back"],
}  # fmt: skip
"""Verb → what must come of it at least once; walks that never meet it prove little."""

RARELY = {
    "fail": ["paused", "waiting"],
    "abort": ["cancelled"],
    "snooze": ["cancelled", "paused", "waiting"],
    "release": ["cancelled", "paused", "waiting"],
    "lapse": ["waiting"],
    "promote": ["waiting"],
    "resume": [("waiting", "ready")],
    "rerun": [("failed", "waiting"), ("succeeded", "waiting"), ("waiting", "ready"), ("scheduled", "waiting")],
    "depend": ["scheduled"],
}
"""What long walks must meet besides."""


def walk(path, seed, steps, hits, size=14):
    world = Walk(path, seed, hits, size)
    log = []
    try:
        for number in range(steps):
            try:
                log.append(world.step())
                world.check()
            except Exception as error:
                error.add_note(f"seed {seed}, step {number} of {steps}; the last steps:\n  " + "\n  ".join(log[-12:]))
                raise
        assert world.raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)], f"seed {seed}"
        assert world.raw.execute("PRAGMA foreign_key_check").fetchall() == [], f"seed {seed}"
    finally:
        world.close()


def walks(folder, first, count, steps, *wanted):
    """So many walks; and up to twice as many more, as long as something has not been met."""
    hits, seed = collections.Counter(), first
    must = {(verb, outcome) for some in wanted for verb in some for outcome in some[verb]}
    while seed < first + count or (seed < first + 3 * count and must - hits.keys()):
        walk(folder / f"{seed}.db", seed, steps, hits, size=random.Random(seed).choice([3, 6, 14, 14, 25]))
        seed += 1
    never = sorted(must - hits.keys(), key=str)
    assert not never, f"seeds {first} to {seed - 1} never saw {never}"


def test_the_file_is_what_the_model_says_after_every_step_of_a_short_walk(tmp_path):
    walks(tmp_path, 60, 15, 100, OFTEN)


@pytest.mark.storm
def test_the_file_is_what_the_model_says_after_every_step_of_a_long_walk(tmp_path):
    walks(tmp_path, 1_000_000, 1500, 100, OFTEN, RARELY)

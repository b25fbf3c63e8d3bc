"""Random walks over families, queues and sleepers: verbs at random, and after every step, also inside transactions, the
counts, flags, verdicts, tallies, queues and joins that the file keeps are what a fresh look finds. At the end of every
walk all that is left is run, and nobody waits for ever. `walk(path, seed, …)` with the seed of a failure repeats it."""

import collections
import copy
import json
import random
from types import SimpleNamespace

from taskcore import Engine, InvalidTransition, KeyConflict, constant
from taskcore.core import lifecycle
from taskcore.core.ends import Outcome, Sleep
from taskcore.store import reports, suspension
from taskcore.testing import ManualClock

BACKOFF, LEASE = 50.0, 30.0
NOT_BEGUN = ("waiting", "scheduled", "ready", "paused")
BUSY = ("running", "suspended")
REPORTS = [*["succeed"] * 4, "fail", "fail", "abort", "snooze", "release", "suspend", "suspend"]
WANTS = [*["succeeded"] * 6, "finished", "failed", "skipped", "cancelled", "pending", "ready", "suspended", "bad"]

TASKS = """
    SELECT t.id, k.name, t.phase, t.label, ifnull(t.label, t.phase), t.parent, t.job, t.held, t.gated, t.behind,
        t.blockers, t.open, t.children, t.greenfield, t.token, t.waiting_for, t.serial, t.result,
        t.cancel_requested_at IS NOT NULL, t.finished_at IS NOT NULL
    FROM taskcore_task AS t JOIN taskcore_kind AS k ON k.id = t.kind"""
COLUMNS = (
    "id", "name", "phase", "label", "status", "parent", "job", "held", "gated", "behind", "blockers", "open",
    "children", "greenfield", "token", "waiting_for", "serial", "result", "cancel", "ended",
)  # fmt: skip


class Boom(Exception):
    pass


class Seen:
    """The file as it was looked at, and what of the past must be known to judge it."""

    def __init__(self):
        self.rows, self.edges, self.joins, self.places, self.kids = {}, {}, [], {}, {}
        self.children = collections.Counter()  # that a task ever had
        self.gone = {}  # job → how its deleted children had ended
        self.freed = set()  # resumed by themselves though a job above is held
        self.opened = set()  # jobs that have been open in this life

    def copy(self):
        new = copy.copy(self)
        new.children, new.gone = self.children.copy(), copy.deepcopy(self.gone)
        new.freed, new.opened = set(self.freed), set(self.opened)
        return new

    def look(self, fetch):
        self.rows = {row[0]: SimpleNamespace(**dict(zip(COLUMNS, row, strict=True))) for row in fetch(TASKS)}
        self.kids = {}
        for row in self.rows.values():
            self.kids.setdefault(row.parent, []).append(row)
        edges = fetch("SELECT upstream, task, wants, otherwise, verdict FROM taskcore_edge")
        self.edges = {row[:2]: row[2:] for row in edges}
        self.joins = fetch("SELECT upstream, task FROM taskcore_join")
        queued = fetch("SELECT serial, place, task FROM taskcore_queue")
        self.places = {place: (value, task) for value, place, task in queued}

    # -- families ---------------------------------------------------------------------------------------------------

    def of(self, parent):
        return self.kids.get(parent, [])

    def below(self, ids):
        """These and all below them."""
        found, look = set(), list(ids)
        while look:
            task = look.pop()
            if task not in found:
                found.add(task)
                look += [child.id for child in self.of(task)]
        return found

    def below_jobs(self, ids):
        """These and all below the jobs among them."""
        return {*ids, *self.below(task for task in ids if self.rows[task].job)}

    def above(self, task):
        """The parents, from the nearest on."""
        while (task := self.rows[task].parent) is not None:
            yield self.rows[task]

    def unfinished(self, task):
        return any(not self.rows[other].ended for other in self.below([task]))

    # -- who waits for whom, whatever it is at the moment -----------------------------------------------------------

    def needs(self, task):
        """What must end before this one can begin: its job must be open, too."""
        found, row = set(), self.rows[task]
        while row is not None:
            found |= {upstream for upstream, below in self.edges if below == row.id}
            parent = self.rows.get(row.parent)
            row = parent if parent is not None and parent.job else None
        return found

    def reaches(self, task, others):
        """Whether the end of one of the others must come before that of this task."""
        found, look = set(), [task]
        while look:
            at = look.pop()
            if at in found or at not in self.rows:
                continue
            found.add(at)
            look += self.needs(at)
            look += [upstream for upstream, sleeper in self.joins if sleeper == at]
            if self.rows[at].job:
                look += self.below([at])
        return not found.isdisjoint(others)


# -- the oracles ---------------------------------------------------------------------------------------------------


def verdict(upstream, wants, otherwise):
    if wants in (upstream.phase, upstream.label) or (wants == "finished" and upstream.ended):
        return "met"
    if wants == "pending" and upstream.phase in lifecycle.PENDING:
        return "met"
    if not upstream.ended or otherwise == "wait":
        return "unmet"
    return {"skip": "doomed", "drop": "dropped"}[otherwise]


def examine_edges(seen):
    """→ how many edges hold each task back."""
    holding = collections.Counter()
    for (upstream, task), (wants, otherwise, kept) in seen.edges.items():
        fresh = verdict(seen.rows[upstream], wants, otherwise)
        assert kept == fresh, f"edge {upstream} → {task} is {kept}, not {fresh}"
        holding[task] += fresh in ("unmet", "doomed")
        free = seen.rows[task].phase in ("waiting", "scheduled", "ready") and not seen.rows[task].cancel
        assert fresh != "doomed" or not free, f"#{task} was not skipped"
    return holding


def examine_row(seen, row, holding):
    it = f"#{row.id} ({row.phase})"
    assert row.blockers == holding + row.gated + row.behind, f"{it} counts {row.blockers} blockers"
    assert row.phase not in ("ready", "scheduled") or not (row.blockers or row.held), f"{it} is blocked or held"
    assert row.phase != "waiting" or (row.blockers and not row.held), f"{it} waits for nothing"
    unfinished = sum(seen.unfinished(child.id) for child in seen.of(row.id))
    assert row.open == unfinished, f"{it} counts {row.open} unfinished children, not {unfinished}"
    assert row.children == seen.children[row.id], f"{it} counts {row.children} children, not {seen.children[row.id]}"
    held_above = any(above.job and above.held and not above.ended for above in seen.above(row.id))
    if held_above and not row.ended:
        assert row.held or row.id in seen.freed, f"{it} is not held, and a job above it is"
    if row.phase == "suspended" and not row.job:
        wakes = [up for up, sleeper in seen.joins if sleeper == row.id]
        assert wakes or row.greenfield is not None or row.waiting_for.startswith("signal"), f"{it} sleeps for ever"


def examine_gate(seen, row):
    """A child of a job begins only once the job is open, and from then on it is, until it ends."""
    parent = seen.rows.get(row.parent)
    it = f"#{row.id} ({row.phase}, gated {row.gated})"
    if parent is None or not parent.job:
        assert not row.gated, f"{it} has no job"
    elif not row.ended and not (parent.ended and row.cancel):  # such a job ends as soon as what runs below it obeys
        assert row.gated == (not parent.ended and parent.id not in seen.opened), f"{it}, and its job is {parent.phase}"


def examine_job(seen, job, tally, building):
    it = f"job #{job.id} ({job.phase})"
    fresh = collections.Counter(child.status for child in seen.of(job.id) if child.ended)
    fresh.update(seen.gone.get(job.id, {}))
    assert tally == dict(fresh), f"{it} tallies {tally}, not {dict(fresh)}"
    assert job.phase not in ("ready", "running"), it
    if not job.ended:
        may_end = job.phase == "suspended" or job.cancel or job.id in seen.opened
        assert job.open or not may_end or job.id in building, f"{it} should have ended"
    elif job.phase != "skipped":
        assert not job.open, f"{it} ended too early"
        failed = sum(n for status, n in fresh.items() if status in ("failed", "bad"))
        wanted = "cancelled" if job.cancel else "failed" if failed and job.job == "fail" else "succeeded"
        assert job.phase == wanted, f"{it} should have {wanted}: {fresh}"
        assert json.loads(job.result) == dict(fresh), f"{it} has {job.result}, not {dict(fresh)}"


def examine_queues(seen):
    waiting = {row.id for row in seen.rows.values() if row.serial is not None and not row.ended}
    assert waiting == {task for _, task in seen.places.values()}, "queued are others than the unfinished"
    first = {}
    for place in sorted(seen.places):
        value, task = seen.places[place]
        row = seen.rows[task]
        assert row.serial == value
        assert row.behind == int(value in first), f"#{task} is behind {first.get(value)}: {row.behind}"
        first.setdefault(value, task)
        assert not row.behind or row.phase not in (*BUSY, "ready", "scheduled"), f"#{task} overtook #{first[value]}"
    for row in seen.rows.values():
        assert row.serial is not None or not row.behind, f"#{row.id} is in no queue"


# -- the walk ------------------------------------------------------------------------------------------------------


class Walk:
    """One world: a file, its engines, and what was seen of it last."""

    def __init__(self, path, seed, hits, size):
        self.random, self.hits, self.size, self.path = random.Random(seed), hits, size, path
        self.clock, self.seen, self.building = ManualClock(1000.0), Seen(), []
        self.engines = [self.open() for _ in range(1 if path == ":memory:" else 2)]
        self.engine = self.engines[0]
        self.serials = self.random.choice([[None], [None], [None, None, "x"], [None, "x", "y"]])
        self.names = self.random.choice(["ab", "abc", "c"])  # a failed c does not clear its queue
        swarm = self.random.sample(sorted(VERBS), len(VERBS) - self.random.randrange(5))
        self.verbs = [verb for verb in ["submit", "job", *swarm] for _ in range(VERBS[verb])]

    def open(self):
        engine = Engine(
            self.path, workers=0, lease=LEASE, clock=self.clock, name="walk",
            statuses={"good": "succeeded", "bad": "failed"},
        )  # fmt: skip
        for name in "abc":
            more = {"serial_failure": "continue"} if name == "c" else {}
            engine.task(len, name=name, backoff=constant(BACKOFF), **more)
        return engine

    def close(self):
        for engine in self.engines:
            engine.close()

    def step(self):
        """→ what was done, in words."""
        self.engine = self.random.choice(self.engines)
        for _ in range(9):
            said = getattr(self, self.random.choice(self.verbs))()
            if said is not None:
                return said
        return "nothing"

    def fetch(self, sql):
        return self.engine._context.read(lambda connection: connection.execute(sql).fetchall())

    # -- looking ----------------------------------------------------------------------------------------------------

    def check(self, verb=None, ids=()):
        """Look, and judge. `verb`, `ids`: what was just done to whom."""
        seen, before = self.seen, self.seen.rows
        reached = seen.below_jobs(ids) if verb in ("pause", "resume") else set()
        places = seen.places
        seen.look(self.fetch)
        new = seen.places.keys() - places.keys()
        assert not new or not places or min(new) > max(places), "somebody pushed in"
        self.remember(before, verb, reached)
        tallies = {}
        for job, status, n in self.fetch("SELECT job, status, n FROM taskcore_tally WHERE n <> 0"):
            tallies.setdefault(job, {})[status] = n
        holding = examine_edges(seen)
        for row in seen.rows.values():
            examine_row(seen, row, holding[row.id])
            examine_gate(seen, row)
            if row.job:
                examine_job(seen, row, tallies.get(row.id, {}), self.building)
        examine_queues(seen)
        for upstream, sleeper in seen.joins:
            assert seen.rows[sleeper].phase == "suspended", f"#{sleeper} does not sleep for #{upstream}"
            assert not seen.rows[upstream].ended, f"#{sleeper} sleeps until #{upstream} ends, which has"
        for task, row in seen.rows.items():
            if task in before and before[task].phase != row.phase:
                self.hits[verb, "job" if row.job else "task", before[task].phase, row.phase] += 1

    def remember(self, before, verb, reached):
        seen = self.seen
        for task in seen.rows.keys() - before.keys():
            seen.children[seen.rows[task].parent] += 1
        for task in before.keys() - seen.rows.keys():
            seen.gone.setdefault(before[task].parent, collections.Counter())[before[task].status] += 1
            del seen.children[task]
        if verb == "resume":
            seen.freed |= reached
        for task, row in seen.rows.items():
            anew = task in before and before[task].ended and not row.ended
            if row.ended or anew or (verb == "pause" and task in reached):
                seen.freed.discard(task)
            was_open = task in seen.opened and not anew
            if row.job and row.phase == "suspended":
                seen.opened.add(task)
            elif row.ended or anew:
                seen.opened.discard(task)
            assert not was_open or row.ended or row.phase in ("suspended", "paused"), f"#{task} was open already"

    # -- choosing ---------------------------------------------------------------------------------------------------

    def task(self, *phases):
        """One that is there, of these phases; `None` if none is. Jobs and newer ones are likelier."""
        known = [task for task, row in self.seen.rows.items() if not phases or row.phase in phases]
        jobs = [task for task in known if self.seen.rows[task].job]
        return None if not known else self.random.choice([*known, *known[-4:], *jobs, *jobs])

    def some(self):
        known = list(self.seen.rows)
        if not known or self.random.random() < 0.1:
            return known
        return sorted({self.task() for _ in range(self.random.choice([1, 1, 1, 2, 3]))})

    def upstreams(self, parent):
        """Edges for a new child of this parent; none by which it would wait for what waits for it."""
        if not self.seen.rows:
            return {}
        above = set() if parent is None else {parent, *(row.id for row in self.seen.above(parent))}
        chosen = {self.task() for _ in range(self.random.choice([0, 0, 0, 1, 1, 2]))}
        otherwise = lambda: self.random.choice(["skip"] * 6 + ["drop", "wait"])  # noqa: E731
        return {up: (self.random.choice(WANTS), otherwise()) for up in chosen if not self.seen.reaches(up, above)}

    # -- verbs ------------------------------------------------------------------------------------------------------

    def options(self, parent):
        r = self.random
        options = {"after": self.upstreams(parent), "delay": r.choice([0, 0, 0, 0, 20])}
        serial, key = r.choice(self.serials), r.choice([None, None, None, "k"])
        above = [] if parent is None else [self.seen.rows[parent], *self.seen.above(parent)]
        if any(row.job and row.serial == serial for row in above):
            serial = None  # it would wait for the end of what waits for its end
        if serial:
            options["serial"] = serial
        if key:
            options |= {"key": key, "key_scope": r.choice([None, "unfinished"])}
        return options

    def submit(self, inside=None):
        if len(self.seen.rows) >= self.size:
            return None
        r = self.random
        parent = inside or (self.task() if r.random() < 0.5 else None)
        options = self.options(parent)
        if parent is not None and inside is None:
            options["parent"] = parent
        name = self.engine.task(r.choice(self.names), max_attempts=r.choice([1, 2]), max_lapses=r.choice([0, 1]))
        task = name.options(**options).submit()
        self.check("submit")
        return f"{name.name} {options} -> #{task.id} in {inside or parent}"

    def job(self, depth=0, inside=None):
        if len(self.seen.rows) >= self.size:
            return None
        r, seen, said = self.random, self.seen.copy(), []
        parent = inside or (self.task() if r.random() < 0.3 else None)
        options = {**self.options(parent), "failures": r.choice(["fail", "fail", "ignore"])}
        if parent is not None and inside is None:
            options["parent"] = parent
        job = None
        try:
            with self.engine.job(r.choice("JK"), **options) as job:
                self.building.append(job.id)
                self.check("job")
                if inside is not None and inside in self.seen.below([job.id]):
                    raise Boom  # by its key it is the very job that it would be put into
                for _ in range(r.choice([0, 1, 1, 2, 3])):
                    nested = depth < 2 and r.random() < 0.2
                    said.append(str(self.job(depth + 1, job.id) if nested else self.submit(job.id)))
                if r.random() < 0.1:
                    raise Boom
            self.building.pop()
            self.check("job")
            said = [f"({'; '.join(said)})"]
        except Boom:
            self.building.pop()
            self.seen = seen
            self.check("undo")
            said = ["and all of it undone"]
        return f"job {options} -> #{job.id} in {inside or parent} {said[0]}"

    def claim(self):
        claims = self.engine.claim(n=self.random.choice([1, 1, 2, 4]), lease=self.random.choice([LEASE, 200.0]))
        self.check("claim")
        return f"claimed {[claim.task.id for claim in claims]}"

    def report(self):
        task = self.task("running")
        if task is None:
            return None
        verb = self.random.choice(REPORTS)
        if verb == "suspend":
            return self.suspend(task)
        claim = self.engine.claimed(f"{task}.{self.seen.rows[task].token}")
        label = self.random.choice([None, None, None, "good", "bad"])
        {
            "succeed": lambda: claim.succeed(5, status=label),
            "fail": lambda: claim.fail("no"),
            "abort": lambda: claim.fail("no", retry=False),
            "snooze": lambda: claim.snooze(20),
            "release": claim.release,
        }[verb]()
        self.check(verb)
        return f"{verb} #{task} {label}"

    def suspend(self, task):
        row, r, options = self.seen.rows[task], self.random, {}
        kind = r.choice(["children", "children", "tasks", "signal", "sleep"])
        if kind in ("children", "tasks"):
            others = [child.id for child in self.seen.of(task)] if kind == "children" else self.some()
            options["upstreams"] = [up for up in others if not self.seen.reaches(up, [task])]
            if not options["upstreams"]:
                return None
        elif kind == "signal":
            options["signal"] = "go"
        if kind == "sleep" or r.random() < 0.2:
            options["until"] = self.clock.now() + r.choice([0, 10, 60])
        why = suspension.waiting_for("go") if kind == "signal" else kind
        end = Outcome(task, row.token, verb="suspend", sleep=Sleep(why, **options))
        assert self.engine._context.write(reports.report, end, self.clock.now())
        self.check("suspend")
        return f"#{task} waits for {why} {options}"

    def signal(self):
        task = self.task()
        if task is None:
            return None
        got = self.engine.future(task).signal("go")
        assert got is not bool(self.seen.rows[task].ended)
        self.check("signal")
        return f"signal to #{task}"

    def advance(self):
        delay = self.random.choice([1.0, 10.0, 40.0, 100.0])
        self.clock.advance(delay)
        self.engine.claim("nobody")
        self.check("advance")
        return f"advance {delay}"

    def operate(self, verb, *args, **kwargs):
        ids, before = self.some(), self.seen.rows
        got = getattr(self.engine.tasks.where(ids=ids), verb)(*args, **kwargs)
        reached = self.seen.below(ids) if verb == "cancel" else self.seen.below_jobs(ids)
        self.check(verb, ids)
        rows = self.seen.rows
        if verb == "cancel":
            moved = [task for task in reached if rows[task].phase == "cancelled" and not before[task].ended]
            assert all(rows[task].ended or rows[task].cancel for task in reached), f"not all of {reached} are cancelled"
        elif verb in ("pause", "resume"):
            held = verb == "pause"
            moved = [task for task in reached if before[task].held != held and not before[task].ended]
            assert all(rows[task].held == held or rows[task].ended for task in reached), f"{verb} of {reached}"
        elif verb == "delete":
            moved = before.keys() - rows.keys()
            assert moved <= set(ids) and all(before[task].ended for task in moved)
        else:
            moved = None
        assert moved is None or got == len(moved), f"{verb} {ids} says {got}, and moved {sorted(moved)}"
        return f"{verb} {ids} {kwargs or ''} -> {got}"

    def cancel(self):
        return self.operate("cancel")

    def pause(self):
        return self.operate("pause")

    def resume(self):
        return self.operate("resume")

    def rerun(self):
        return self.operate("rerun", downstream=self.random.random() < 0.4)

    def delete(self):
        return self.operate("delete")

    def depend(self):
        task, upstream = self.task(*NOT_BEGUN), self.task()
        if task is None or self.seen.reaches(upstream, self.seen.below([task])):
            return None
        wants = self.random.choice(WANTS)
        try:
            self.engine.future(task).depends_on(upstream, wants)
        except InvalidTransition:
            assert task in self.seen.opened, f"#{task} was refused"
        self.check("depend")
        return f"#{task} depends on #{upstream}: {wants}"

    def reopen(self):
        if self.path == ":memory:":
            return None
        self.engines.remove(self.engine)
        self.engine.close()
        self.engine = self.open()
        self.engines.append(self.engine)
        self.check("open")
        return "reopen"

    def block(self):
        """Several verbs in one transaction; of some, nothing stays."""
        seen, said, verbs = self.seen.copy(), [], [v for v in self.verbs if v not in ("block", "reopen", "advance")]
        try:
            with self.engine.transaction():
                for _ in range(self.random.randint(1, 4)):
                    said.append(str(getattr(self, self.random.choice(verbs))()))
                if self.random.random() < 0.4:
                    raise Boom
        except Boom:
            self.seen = seen
            said.append("and all of it undone")
        self.check("commit")
        return " / ".join(said)

    # -- the end ----------------------------------------------------------------------------------------------------

    def finish(self):
        """All is let go, claimed and reported, and time passes: in the end everything has ended."""
        for _ in range(60):
            left = [task for task, row in self.seen.rows.items() if not row.ended]
            if not left:
                return
            self.engine.tasks.resume()
            self.check("resume", list(self.seen.rows))
            claims = self.engine.claim(n=50, lease=1e6)
            self.check("claim")
            for claim in claims:
                if self.seen.rows[claim.task.id].phase == "running":
                    self.random.choice([claim.succeed, claim.succeed, claim.succeed, lambda c=claim: c.fail("no")])()
                    self.check("end")
            for task in [task for task, row in self.seen.rows.items() if row.phase == "suspended" and not row.job]:
                self.engine.future(task).signal("go")
            running = [row for row in self.seen.rows.values() if row.phase == "running"]
            self.clock.advance(1e7 if running else 200)
            self.engine.claim("nobody")
            self.check("advance")
            if not claims:
                self.unlock()
        raise AssertionError(f"they never end: {left}")

    def unlock(self):
        """Nothing moves any more: for whom that is right is cancelled, one at a time."""
        rows = [row for row in self.seen.rows.values() if not row.ended]
        if any(row.phase in ("ready", "running", "scheduled") for row in rows):
            return
        if any(row.phase == "suspended" and row.greenfield is not None for row in rows):
            return
        for row in rows:
            ups = [(up, edge) for (up, task), edge in self.seen.edges.items() if task == row.id]
            if any(edge[1] == "wait" and edge[2] == "unmet" and self.seen.rows[up].ended for up, edge in ups):
                self.engine.future(row.id).cancel()
                return self.check("cancel", [row.id])
        # What holds a queue waits for what stands in it: an open job whose child depends on it, or a body that sleeps.
        behind = [row for row in rows if row.behind]
        assert behind or not rows, f"they wait for ever: {[row.id for row in rows]}"
        for place in sorted(self.seen.places):
            value, task = self.seen.places[place]
            if value == behind[0].serial:
                self.hits["unlock", "queue", value, task] += 1
                self.engine.tasks.where(id=task).cancel()
                return self.check("cancel", [task])


VERBS = {
    "submit": 4, "job": 3, "claim": 4, "report": 7, "signal": 1, "advance": 2, "cancel": 1, "pause": 1, "resume": 1,
    "rerun": 2, "depend": 1, "delete": 1, "reopen": 1, "block": 2,
}  # fmt: skip
"""How often each is drawn."""


def walk(path, seed, steps, hits, size=12):
    world = Walk(path, seed, hits, size)
    log = []
    try:
        for number in range(steps):
            try:
                log.append(world.step())
            except (KeyConflict, InvalidTransition) as error:
                raise AssertionError("refused") from error
            except Exception as error:
                error.add_note(f"seed {seed}, step {number} of {steps}; the steps before:\n  " + "\n  ".join(log[-14:]))
                raise
        try:
            world.finish()
            if seed % 3 == 0 and world.seen.rows:
                world.engine.tasks.rerun()
                world.check("rerun", list(world.seen.rows))
                world.finish()
        except Exception as error:
            error.add_note(f"seed {seed}, at the end of {steps}; the steps before:\n  " + "\n  ".join(log[-14:]))
            raise
        assert world.fetch("PRAGMA foreign_key_check") == [], f"seed {seed}"
        assert not world.seen.joins and not world.seen.places, f"seed {seed}"
    finally:
        world.close()


OFTEN = {
    "job": """waiting→suspended waiting→skipped waiting→cancelled waiting→paused scheduled→suspended suspended→succeeded
        suspended→failed suspended→cancelled suspended→paused paused→suspended paused→waiting paused→cancelled
        succeeded→suspended failed→suspended cancelled→suspended skipped→waiting""",
    "task": """waiting→ready waiting→skipped waiting→cancelled ready→waiting ready→paused paused→ready paused→waiting
        paused→skipped running→suspended suspended→ready suspended→cancelled running→paused running→cancelled
        running→failed running→ready failed→ready skipped→waiting succeeded→waiting cancelled→paused""",
}
"""What must come of jobs and of tasks at least once; walks that never meet it prove little."""

"""Processes that are killed while bodies wait, children end and jobs close: at every statement, at random, in pairs.

A story is a script of operations on one engine. It is played undisturbed; then once for every statement that writes,
by a process that is killed there. What that one left is taken up by a fresh engine, and has to come to the same end,
without doing again what was kept.
"""

import collections
import contextlib
import gc
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time

import pytest

import taskcore.body.context
import taskcore.runtime.scheduler
from taskcore import Engine, current
from taskcore.testing import InlineExecutor, ManualClock
from tests.support.fuse import Fuse
from tests.support.processes import Child, say, until
from tests.support.rows import rows, whole, wrongs


@pytest.fixture
def child():
    children = []

    def start(body, *args, **options):
        children.append(Child(body, *args, **options))
        return children[-1]

    yield start
    for each in children:
        each.close()


# -- stories --------------------------------------------------------------------------------------------------------


class Story:
    """Operations that may be done again where it is not known whether they were done. A step is named by what it does,
    which is said once in the whole story; all that is done is noted in a file beside the database."""

    SCRIPT: tuple[str, ...] = ("begin", "work")

    def __init__(self, path, since=0, threads=0):
        self.path, self.since = path, since
        self.ledger = os.open(f"{path}.ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.returned = os.open(f"{path}.returned", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.clock = ManualClock(5000 if since else 1000)
        crew = {"workers": threads} if threads else {"executor": InlineExecutor()}
        self.engine = Engine(path, clock=self.clock, name="story", **crew)
        self.define(self.engine)

    def define(self, engine):
        raise NotImplementedError

    def play(self, done=lambda: None):
        for operation in (*self.SCRIPT, "close")[self.since :]:
            getattr(self, operation)()
            done()

    def begin(self):
        raise NotImplementedError

    def work(self):
        self.engine.run()

    def close(self):
        self.engine.run()
        self.engine.close()
        os.close(self.ledger)
        os.close(self.returned)

    def did(self, what, value):
        os.write(self.ledger, f"{what}\n".encode())
        return value

    def step(self, what, value):
        found = current().step(what, self.did, what, value)
        os.write(self.returned, f"{what}\n".encode())
        return found

    def transact(self, what, fn, *args):
        found = current().transact(what, fn, *args)
        os.write(self.returned, f"{what}\n".encode())
        return found

    def send(self, word):
        """To the story's first task; once, whatever was sent already. Who sends has no record: the file is asked."""
        sent = rows(self.path, "SELECT payload FROM taskcore_signal UNION ALL SELECT result FROM taskcore_step")
        if (json.dumps(word),) not in sent:
            self.engine.future(1).signal("word", word)

    @staticmethod
    def kept(ask):
        """What is in the file and must not be done again."""
        return [name for (name,) in ask("SELECT name FROM taskcore_step WHERE kind = 'step' AND state <> 'failed'")]


class ByHand(Story):
    """A body takes steps, submits two children, waits for them, goes on."""

    def define(self, engine):
        @engine.task
        def leaf(n):
            return self.step(f"leaf {n}", n * 10)

        @engine.task
        def trunk():
            before = self.step("before", 1)
            one = leaf.submit(1)
            between = self.step("between", 2)
            two = leaf.submit(2)
            found = current().wait(one, two)
            return self.step("after", [before, between, *found])

        self.trunk = trunk

    def begin(self):
        self.trunk.options(key="trunk").submit()


class Gathered(Story):
    """Three children are gathered, one of which fails; the parent is retried, and with it the one that failed."""

    def define(self, engine):
        @engine.task(failed_status="failed")
        def leaf(n):
            found = self.step(f"leaf {n}", n * 10)
            if n == 2 and not engine.future(current().task.parent_id).snapshot().failures:
                raise ValueError("not yet")
            return found

        @engine.task(max_attempts=3, backoff=taskcore.constant(5))
        def trunk():
            before = self.step("before", 1)
            found = current().gather(leaf, [1, 2, 3])
            return self.step("after", [before, *found])

        self.trunk = trunk

    def begin(self):
        self.trunk.options(key="trunk").submit()


class Transacted(Story):
    """Two steps whose rows, one of them with a child, are the user's own."""

    def define(self, engine):
        @engine.task
        def leaf(n):
            return n * 10

        def book(db, what, n):
            self.did(what, None)
            db.execute("CREATE TABLE IF NOT EXISTS mine (what TEXT, total INTEGER)")
            db.execute("INSERT INTO mine SELECT ?, ifnull(max(total), 0) + ? FROM mine", (what, n))
            return n

        def book_and_submit(db, what, n):
            book(db, what, n)
            child = leaf.submit(n)
            db.execute("INSERT INTO mine VALUES ('child', ?)", (n,))
            return [n, child.id > 0]

        @engine.task
        def trunk():
            run = current()
            first = self.transact("first booking", book, "first booking", 1)
            second = self.transact("second booking", book_and_submit, "second booking", 2)
            third = leaf.submit(3)
            run.wait(third)
            return [first, second, self.transact("third booking", book, "third booking", 5)]

        self.trunk = trunk

    def begin(self):
        self.trunk.options(key="trunk").submit()


class Patient(Story):
    """A body sleeps, and takes signals that were sent before it began, while it slept, while it waited, too late, and
    while nobody waited."""

    SCRIPT = (
        "begin", "send_first", "work", "send_second", "wait_long", "work", "send_third", "work", "wait_long", "work",
        "send_fourth", "send_fifth", "work", "send_sixth", "send_seventh", *("wait_long", "work") * 3,
    )  # fmt: skip

    def define(self, engine):
        @engine.task
        def patient():
            run = current()
            got = [run.wait_for("word")]
            run.sleep(100)
            got.append(run.wait_for("word"))
            got.append(run.wait_for("word", timeout=10_000))
            with contextlib.suppress(TimeoutError):
                got.append(run.wait_for("nothing", timeout=50))
            self.step("was not told", None)
            got += [run.wait_for("word"), run.wait_for("word"), run.wait_for("word")]
            run.sleep(10)
            return got

        self.patient = patient

    def begin(self):
        self.patient.options(key="patient").submit()

    def wait_long(self):
        self.clock.advance(200)

    send_first = lambda self: self.send("first")  # noqa: E731
    send_second = lambda self: self.send("second")  # noqa: E731
    send_third = lambda self: self.send("third")  # noqa: E731
    send_fourth = lambda self: self.send("fourth")  # noqa: E731
    send_fifth = lambda self: self.send("fifth")  # noqa: E731
    send_sixth = lambda self: self.send("sixth")  # noqa: E731

    def send_seventh(self):
        """Nobody will ask for it. With a record of one's own, in the same commit."""
        with self.engine.transaction() as db:
            db.execute("CREATE TABLE IF NOT EXISTS mine (word TEXT UNIQUE)")
            if db.execute("INSERT OR IGNORE INTO mine VALUES ('seventh')").rowcount:
                self.engine.future(1).signal("word", "seventh")


class Night(Story):
    """A job with a job in it and a queue of three, and a task after it; children that come later open it again."""

    SCRIPT = ("begin", "work", "add_a_child", "work", "add_to_the_job", "work")

    def define(self, engine):
        @engine.task
        def leaf(what):
            return self.step(what, what)

        @engine.task
        def report(counts):
            return self.step("report", counts)

        self.leaf, self.report = leaf, report

    def one(self, what, **options):
        return self.leaf.options(key=what, **options).submit(what)

    def begin(self):
        with self.engine.job("night", key="night") as night:
            self.one("first")
            with self.engine.job("inner", key="inner", after=self.one("before inner")):
                self.one("in inner")
                self.one("in inner, too")
            for n in range(3):
                self.one(f"mount {n}", serial="mount")
        self.report.options(key="report", hidden=True).submit(night)

    def add_a_child(self):
        night = self.engine.tasks.where(key="night").first()
        self.one("late", parent=night)
        self.one("after all", after=night)

    def add_to_the_job(self):
        with self.engine.job("night", key="night"), self.engine.job("inner", key="inner"):
            self.one("later still", serial="mount")
            self.one("a job's own", serial="mount")


class Tree(Story):
    """Four levels of bodies that gather their children, on one thread."""

    def define(self, engine):
        @engine.task
        def node(place, depth):
            if depth == 1:
                return self.step(place, 1)
            found = current().gather(node, [f"{place}{way}" for way in "lr"[: depth - 1]], [depth - 1] * 2)
            return self.step(place, 1 + sum(found))

        self.node = node

    def begin(self):
        self.node.options(key="root").submit("/", 4)


class Tracked(Story):
    """Items that are gone through with a step and a child each, and at last some that need neither."""

    def define(self, engine):
        @engine.task
        def leaf(n):
            return n * 10

        @engine.task
        def trunk():
            run = current()
            for n in run.track(range(3)):
                self.step(f"item {n}", n)
                leaf.submit(n)
                self.step(f"item {n} again", n)
            for n in run.track(range(4)):
                run.message(f"at {n}")
            return run.wait(leaf.submit(7))

        self.trunk = trunk

    def begin(self):
        self.trunk.options(key="trunk").submit()

    @staticmethod
    def kept(ask):
        """The steps of an item that is finished are forgotten with it."""
        found = Story.kept(ask)
        for (done,) in ask("SELECT CAST(result AS INTEGER) FROM taskcore_step WHERE kind = 'track' AND n = 1"):
            found += [f"item {n}{again}" for n in range(done) for again in ("", " again")]
        return found


class Subject(Story):
    """A pipeline is started for a subject; later, with a step that was invented since, it is started again."""

    SCRIPT = ("begin", "work", "start_again", "work", "start_again", "work")

    def define(self, engine):
        self.before, self.now = engine.pipeline("transient"), engine.pipeline("transient")
        for pipeline in (self.before, self.now):
            pipeline.task(lambda name: self.step("cutout", name), name="cutout")
            pipeline.task(lambda name: self.step("match", name), name="match", needs={"cutout": "succeeded"})
            pipeline.task(lambda name: self.step("plot", name), name="plot", needs=["cutout"])
        needs = {"match": "finished", "plot": "succeeded"}
        self.now.task(lambda name: self.step("alert", name), name="alert", needs=needs)

    def begin(self):
        self.before.start("2020xyz")

    def start_again(self):
        self.now.start("2020xyz")


class Refused(Story):
    """What fails, is refused or is rolled back keeps its place before whatever comes next."""

    SCRIPT = ("begin", "send_a_word", "work")

    def define(self, engine):
        @engine.task
        def leaf(n):
            return n * 10

        def fails():
            raise ValueError("never")

        def book(db):
            self.did("booking", None)
            db.execute("CREATE TABLE IF NOT EXISTS mine (n INTEGER)")
            db.execute("INSERT INTO mine VALUES (1)")

        @engine.task
        def trunk():
            run, children = current(), []

            def fail(times=1):
                for _ in range(times):
                    with contextlib.suppress(ValueError):
                        run.step("in vain", fails)

            fail()
            children.append(leaf.submit(1))
            fail(2)
            self.transact("booking", book)
            fail()
            word = run.wait_for("word")
            with contextlib.suppress(TypeError):
                leaf.submit(object())
            with engine.transaction():
                children.append(leaf.submit(2))
            with contextlib.suppress(KeyError), engine.transaction():
                self.no = leaf.submit(3), run.step("in vain, too", str)
                raise KeyError
            with engine.job("few"):
                children.append(leaf.submit(4))
            children += [leaf.submit(n) for n in run.track(())]
            self.step("after that", None)
            run.sleep(0)
            return [word, run.wait(children), run.gather(leaf, [5, 6])]

        self.trunk = trunk

    def begin(self):
        self.trunk.options(key="trunk").submit()

    def send_a_word(self):
        self.send("word")


class Saved(Story):
    """What is saved in a step is there whenever the step is: it is not run again to save it once more."""

    def define(self, engine):
        def save(what, **values):
            current().save(**values)
            return self.did(what, None)

        @engine.task
        def leaf(n):
            return n

        @engine.task(max_attempts=2, backoff=taskcore.constant(1))
        def trunk():
            run = current()
            run.step("save one", save, "save one", one=1)
            run.wait(leaf.submit(1))
            for n in run.track(range(2)):
                run.step(f"save item {n}", save, f"save item {n}", **{f"item {n}": n})
            self.transact("save two", lambda db: save("save two", two=2))
            run.save(three=3)
            leaf.submit(2)
            if not run.task.failures:
                raise ValueError("not yet")
            run.sleep(1)
            return {"four": 4}

        self.trunk = trunk

    SCRIPT = ("begin", "work", "wait_long", "work")

    def begin(self):
        self.trunk.options(key="trunk").submit()

    def wait_long(self):
        self.clock.advance(200)

    @staticmethod
    def kept(ask):
        found = Story.kept(ask)
        for (done,) in ask("SELECT CAST(result AS INTEGER) FROM taskcore_step WHERE kind = 'track'"):
            found += [f"save item {n}" for n in range(done)]
        return found


STORIES = (ByHand, Gathered, Transacted, Patient, Night, Tree, Tracked, Subject, Refused, Saved)


def fate(path):
    """What has become of a story's tasks in the end, but for times, numbers and who did it: each is called by its
    name, its arguments and its parent's."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        ask = connection.execute
        called, seen = {None: ""}, collections.Counter()
        for task, parent, name, key, args in ask(
            """SELECT t.id, t.parent, k.name, t.key, t.args FROM taskcore_task AS t
               JOIN taskcore_kind AS k ON k.id = t.kind ORDER BY t.parent, t.id"""
        ).fetchall():
            own = f"{called[parent]}/{name}{key or args}"
            seen[own] += 1
            called[task] = f"{own}#{seen[own]}"
        found = collections.Counter()
        for task, *row in ask(
            """SELECT t.id, t.phase, t.label, t.failures, t.blockers, t.held, t.gated, t.behind, t.children, t.open,
                   t.serial, t.result, t.progress, t.waiting_for, t.phase = 'succeeded' AND t.last_error IS NOT NULL,
                   t.attempts - (SELECT count(*) FROM taskcore_attempt AS a WHERE a.task = t.id)
               FROM taskcore_task AS t"""
        ):
            found["task", called[task], *row] += 1
        for task, within, kind, name, n, state, result, of in ask(
            # the mark of a call that was on its way may come late into an item that nobody enters again
            """SELECT task, within, kind, name, n, state, result, child FROM taskcore_step
               WHERE state <> 'failed' OR within = ''"""
        ).fetchall():
            if kind == "gather":
                result = json.dumps([called[made] for made in json.loads(result)])
            elif kind == "sleep" or state == "failed":
                result = "some time"
            found["step", called[task], within, kind, name, n, state, result, called[of]] += 1
        for task, outcome in ask("SELECT task, outcome FROM taskcore_attempt WHERE outcome <> 'lapsed'"):
            found["attempt", called[task], outcome] = 1  # a body that lapsed runs again what had failed
        for upstream, task, *row in ask("SELECT upstream, task, wants, otherwise, verdict FROM taskcore_edge"):
            found["edge", called[upstream], called[task], *row] += 1
        for job, *row in ask("SELECT job, status, phase, n FROM taskcore_tally WHERE n <> 0"):
            found["tally", called[job], *row] += 1
        for task, *row in ask("SELECT task, name, payload FROM taskcore_signal"):
            found["signal", called[task], *row] += 1
        for table in ("taskcore_join", "taskcore_queue", "taskcore_worker WHERE ended_at IS NULL"):
            for row in ask(f"SELECT * FROM {table}"):
                found[table, *row] += 1
        if ask("SELECT 1 FROM sqlite_master WHERE name = 'mine'").fetchone():
            for row in ask("SELECT * FROM mine"):
                found["mine", *row] += 1
    return found


def odds(path):
    """What must never be so, of parents, queues and those that sleep, in a file that nobody is writing to."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        ask = lambda sql: connection.execute(sql).fetchall()  # noqa: E731
        tasks = {row["id"]: row for row in ask("SELECT * FROM taskcore_task ORDER BY id")}
        joins = collections.Counter()
        found = []
        for upstream, task in ask("SELECT upstream, task FROM taskcore_join"):
            joins[task] += 1
            if tasks[upstream]["finished_at"] is not None:
                found.append(f"#{task} sleeps until #{upstream} has ended, which it has")
        signals = {tuple(row) for row in ask("SELECT task, 'signal ' || name FROM taskcore_signal")}
        queued, first = {row["task"] for row in ask("SELECT task FROM taskcore_queue")}, {}
        for serial, task in ask("SELECT serial, task FROM taskcore_queue ORDER BY serial, place"):
            first.setdefault(serial, task)
        tally = {tuple(row) for row in ask("SELECT job, status, n FROM taskcore_tally WHERE n <> 0")}
    children, counted = collections.defaultdict(list), collections.Counter()
    for task, row in tasks.items():
        if row["parent"] is not None:
            children[row["parent"]].append(task)
            if tasks[row["parent"]]["job"] is not None and row["finished_at"] is not None:
                counted[row["parent"], row["label"] or row["phase"]] += 1
    if tally != {(*key, n) for key, n in counted.items()}:
        found.append(f"the tally of jobs is {tally}, and should be {counted}")
    for task, row in tasks.items():
        unfinished = [c for c in children[task] if tasks[c]["finished_at"] is None or tasks[c]["open"]]
        if (row["children"], row["open"]) != (len(children[task]), len(unfinished)):
            found.append(f"#{task} counts {row['open']} of {row['children']} children open: {unfinished}")
        asleep, ended = row["phase"] == "suspended" and row["job"] is None, row["finished_at"] is not None
        why = row["waiting_for"]
        if (asleep and why in ("children", "tasks")) != (joins[task] > 0):
            found.append(f"#{task} is {row['phase']}, waits for {why}, and has {joins[task]} joins")
        if asleep and why == "sleep" and row["greenfield"] is None:
            found.append(f"#{task} sleeps for ever")
        if asleep and (task, why) in signals:
            found.append(f"#{task} waits for {why}, which was sent")
        if row["phase"] == "suspended" and row["job"] is not None and not row["open"]:
            found.append(f"#{task} is a job with nothing open that has not ended")
        if row["gated"] and not ended and tasks[row["parent"]]["phase"] not in ("waiting", "scheduled", "paused"):
            found.append(f"#{task} is kept waiting by job #{row['parent']}, which is {tasks[row['parent']]['phase']}")
        if (row["serial"] is not None and not ended) != (task in queued):
            found.append(f"#{task} is {row['phase']} and {'in' if task in queued else 'not in'} the queue")
        if task in queued and row["behind"] != (first[row["serial"]] != task):
            found.append(f"#{task} is {'' if row['behind'] else 'not '}behind, and #{first[row['serial']]} is first")
    return found


# -- killed at every statement --------------------------------------------------------------------------------------


def kept(story, path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return collections.Counter(story.kept(connection.execute))


def noted(path, since=0, ledger="ledger"):
    with contextlib.suppress(FileNotFoundError), open(f"{path}.{ledger}", "rb") as file:
        file.seek(since)
        return collections.Counter(file.read().decode().splitlines())
    return collections.Counter()


def size(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


def remove(path):
    for end in ("", "-wal", "-shm", "-taskcore", ".ledger", ".returned", ".done"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + end)


def digest(path):
    """The same for the same rows in all tables."""
    return hashlib.sha256(json.dumps(whole(path), sort_keys=True).encode()).hexdigest()


def in_a_child(run, *args):
    """→ its exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            run(*args)
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Trace(Fuse):
    """Counts, and remembers what was counted and what the file was after each transaction."""

    def __init__(self, path, threads):
        self.texts, self.states = [], []
        looks = (lambda path: "") if threads else digest  # no two runs of several threads have the same states
        super().__init__(on_commit=lambda count: self.states.append((count, looks(path))))

    def burn(self, connection, sql, *run):
        before = self.count
        try:
            return super().burn(connection, sql, *run)
        finally:
            self.texts += [sql] * (self.count - before)


class Stage:
    """Where one story is played again and again, in processes that fork off this one."""

    def __init__(self, story, where, threads=0):
        self.story, self.where, self.threads = story, str(where), threads
        self.blank, self.calm = self.at("blank.db"), self.at("calm.db")
        assert in_a_child(lambda: Engine(self.blank, workers=0).close()) == 0
        shutil.copyfile(self.blank, self.calm)
        states = self.at("states")
        assert in_a_child(self._undisturbed, states) == 0, "undisturbed, it does not even come to its end"
        with open(states) as file:
            self.count, self.states, self.texts = json.load(file)
        self.end, self.all = fate(self.calm), noted(self.calm)
        assert wrongs(self.calm) + odds(self.calm) == []
        assert set(self.all.values()) <= {1}, f"a kept step was done again undisturbed: {self.all}"

    def at(self, name):
        return os.path.join(self.where, name)

    def _undisturbed(self, states):
        fuse = Trace(self.calm, self.threads)
        self._play(self.calm, fuse)
        with open(states, "w") as file:
            json.dump((fuse.count, fuse.states, fuse.texts), file)

    def points(self, thorough):
        """(statement, whether after it) at which to die. To die after a statement is to die before the next one, but
        for the last, and for what follows a commit. Unless it is to be `thorough`, in a transaction of the same
        statements as one before only the end is such a place, and in others the beginning too."""
        begin, seen = 0, set()
        for end, _ in self.states:
            shape = tuple(self.texts[begin:end])
            if thorough:
                yield from ((at, False) for at in range(begin + 1, end))
            elif shape not in seen:
                yield begin + 1, False
            seen.add(shape)
            yield end, False
            yield end, True
            begin = end
        yield from ((at, False) for at in range(begin + 1, self.count + 1, 1 if thorough else 5))

    def _play(self, path, fuse, done=lambda: None):
        if not self.threads:
            # Looks for other processes, what is written down after a while, and what handles are still held by a
            # traceback that nobody collected: all that comes at no fixed statement.
            taskcore.runtime.scheduler.monotonic = taskcore.body.context.monotonic = lambda: 0.0
            gc.disable()
        self.story(path, threads=self.threads).play(done)

    def _disturbed(self, path, fuse_at, after):
        log = os.open(path + ".done", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._play(path, Fuse(fuse_at, after), lambda: os.write(log, b"."))

    def _taken_up(self, path, since):
        self.story(path, since or 0, threads=self.threads).play()

    def kill(self, fuse_at, after):
        """→ the file that is left by a process killed there, or `None` if it came to its end."""
        path = self.at(f"{fuse_at} {after}.db")
        shutil.copyfile(self.blank, path)
        code = in_a_child(self._disturbed, path, fuse_at, after)
        if code == 0:
            remove(path)
            return None
        assert code == -signal.SIGKILL, f"{self.told(fuse_at, after)}: it ended with {code}"
        return path

    def told(self, fuse_at, after):
        return f"{self.story.__name__}, killed {'after' if after else 'before'} statement {fuse_at} of {self.count}"

    def take_up(self, path, what):
        """Finish what the file has left to be done, and compare."""
        before, since, had = kept(self.story, path), size(path + ".done"), size(path + ".ledger")
        lost = set(noted(path, ledger="returned")) - set(before)
        if lost:
            say(what, f"and {sorted(lost)} had returned, but were not in the file")
        if self.threads:
            assert in_a_child(self._taken_up, path, since) == 0, what
        else:
            self._taken_up(path, since)
        for wrong in wrongs(path) + odds(path):
            say(what, "and taken up:", wrong)
        found, again = fate(path), noted(path, had)
        if found != self.end:
            say(what, "and taken up, it ended otherwise:", *(found - self.end), "instead of", *(self.end - found))
        if again != self.all - before:
            say(what, f"and taken up: {sorted(before)} were kept, and then {sorted(again)} were done")


def dies_at_every_statement(name, where, share, shares, thorough):
    """All in one thread, so that every run has the same statements."""
    stage, share, shares = Stage(globals()[name], where), int(share), int(shares)
    points, taken_up = list(stage.points(thorough == "True")), set()
    if thorough != "True":
        points = points[::9]
    for place, (at, after) in enumerate(points):
        if place // 10 % shares != share:
            continue
        path, what = stage.kill(at, after), stage.told(at, after)
        if path is None:
            say(what, "was not killed")
            continue
        last = [state for number, state in stage.states if number < at + after]
        if last and digest(path) != last[-1]:
            say(what, "left a file that is none of the states between two transactions")
        begun = len(last), size(path + ".done")
        if begun not in taken_up:  # from one state there is one way on
            taken_up.add(begun)
            for wrong in wrongs(path) + odds(path):
                say(what, wrong)
            stage.take_up(path, what)
        remove(path)
    say("points", len(points), "transactions", len(stage.states))


def dies_among_threads(name, where, share, shares, every):
    """With the loop, the bodies and the caller in threads of their own: the statement is any thread's, and no two runs
    are alike. Until a run comes to its end."""
    share, shares, every = int(share), int(shares), int(every)
    stage, points = Stage(globals()[name], where, threads=1 if name == "Tree" else 2), 0
    for at in itertools.count(1 + share * every, shares * every):
        after = points % 2 == 1
        path, what = stage.kill(at, after), stage.told(at, after)
        if path is None:
            break
        points += 1
        for wrong in wrongs(path) + odds(path):
            say(what, wrong)
        stage.take_up(path, what)
        remove(path)
    say("points", points, "transactions", len(stage.states))


def plays():
    """In a process of its own: what it is told, line by line."""
    from tests.storms import test_crash_process

    for line in sys.stdin:
        function, *args = line.split()
        getattr(test_crash_process, function)(*args)
        say("over")


@pytest.fixture(scope="module")
def played():
    """So many processes share the points of a story. → how many, and transactions, each went through."""
    processes = []

    def play(function, story, where, shares, *args):
        processes.extend(Child(plays) for _ in range(shares - len(processes)))
        for share, process in enumerate(processes):
            folder = tempfile.mkdtemp(dir=where)
            process.tell(" ".join(map(str, (function.__name__, story, folder, share, shares, *args))))
        try:
            said = [process.hears("over", patience=120) for process in processes]
        except BaseException:
            while processes:
                processes.pop().close()
            raise
        wrong = [line for lines in said for line in lines[:-2]]
        assert not wrong, "\n".join(wrong[:20])
        return [(int(lines[0].split()[1]), int(lines[0].split()[3])) for lines in said]

    yield play
    for process in processes:
        process.close()


@pytest.fixture
def where(tmp_path):
    """A place for many short-lived files: no kill of a process shows whether they were on a disk."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        yield path


NAMES = [story.__name__ for story in STORIES]


@pytest.mark.parametrize("story", NAMES)
def test_a_process_killed_at_any_statement_leaves_a_story_that_comes_to_the_same_end(played, where, story):
    ((points, transactions),) = played(dies_at_every_statement, story, where, 1, False)
    assert points > 2 and transactions > 8, "the story tells next to nothing"


@pytest.mark.parametrize("story", NAMES[::2])
def test_a_process_killed_in_any_of_its_threads_leaves_a_story_that_comes_to_the_same_end(played, where, story):
    assert sum(points for points, _ in played(dies_among_threads, story, where, 1, 50)) > 1


@pytest.mark.storm
@pytest.mark.parametrize("story", NAMES)
def test_a_process_killed_at_really_every_statement_leaves_a_story_that_comes_to_the_same_end(played, where, story):
    played(dies_at_every_statement, story, where, 2, True)


@pytest.mark.storm
@pytest.mark.parametrize("story", NAMES)
def test_a_process_killed_in_its_threads_at_every_statement_leaves_a_story_that_comes_to_the_same_end(
    played, where, story
):
    assert sum(points for points, _ in played(dies_among_threads, story, where, 2, 1)) > 30


def test_what_the_loop_is_about_to_write_of_a_body_comes_with_what_the_body_itself_writes_before(path):
    """Between the two a kill would leave a step in the file whose predecessor is not there."""
    with Engine(path, executor=InlineExecutor(), clock=ManualClock(0)) as engine:

        @engine.task
        def body():
            with contextlib.suppress(ZeroDivisionError):
                current().step("in vain", lambda: 1 / 0)
            _, work = taskcore.body.work.current_work()
            taken = work.take_notes()
            assert [step.name for step in taken.steps] == ["in vain"]
            current().step("after", int)
            return rows(path, "SELECT name, state FROM taskcore_step ORDER BY place")

        assert body.submit().result() == [("in vain", "failed"), ("after", "kept")]


def test_bodies_may_go_to_sleep_while_the_failures_of_others_are_told():
    """Found by the storm below: what sleeping bodies expect was gone through while one more began to."""
    interval, over = sys.getswitchinterval(), threading.Event()
    with Engine(":memory:", workers=1) as engine:
        register = engine._futures

        def go_to_sleep_and_wake():
            for n in itertools.count():
                if over.is_set():
                    return
                register.expect(n % 50, [])
                register.forget(7 * n % 50)

        thread = threading.Thread(target=go_to_sleep_and_wake)
        thread.start()
        sys.setswitchinterval(1e-6)
        try:
            for _ in range(3000):
                register._keep_errors([10**6])
        finally:
            sys.setswitchinterval(interval)
            over.set()
            thread.join()


# -- two processes --------------------------------------------------------------------------------------------------


def runs_the_parent(path, max_lapses="3"):
    """And knows the child by its name alone."""
    with Engine(path, workers=1, lease=300) as engine:
        part = engine.task("part", max_lapses=int(max_lapses))

        @engine.task(max_lapses=0)
        def parent():
            run = taskcore.current()
            run.step("prepare", say, "prepared")
            try:
                found = run.wait(part.submit(7))
            except taskcore.TaskFailed as error:
                found = error.message[:4]
            return run.step("conclude", lambda: found)

        say(json.dumps(parent.options(key="parent").submit().result()))


def runs_the_child(path, until_told="True"):
    """And nothing else."""
    with Engine(path, workers=1, lease=300) as engine:

        @engine.task
        def part(n):
            say("began")
            if until_told == "True":
                sys.stdin.readline()
            return n

        engine.start()
        (task,) = engine.tasks.where(name="part")
        engine.future(task.id).result()
    say("ended")


def asleep(path):
    return rows(path, "SELECT 1 FROM taskcore_task WHERE key = 'parent' AND phase = 'suspended'")


@pytest.mark.parametrize("max_lapses", [0, 3])
def test_a_sleeping_parent_is_not_left_asleep_when_the_process_of_its_child_is_killed(path, child, max_lapses):
    """Nobody starts anew: the parent's process runs on, and notices."""
    parents = child(runs_the_parent, path, max_lapses)
    parents.hears("prepared")
    until(lambda: asleep(path), "the parent waits for its child")
    childs = child(runs_the_child, path)
    childs.hears("began")
    childs.kill()
    since = time.monotonic()
    if max_lapses == 0:
        assert parents.end() == [json.dumps("lost")]
        assert time.monotonic() - since < 5
    else:
        until(lambda: rows(path, "SELECT 1 FROM taskcore_task WHERE lapses = 1 AND phase = 'ready'"), "it has lapsed")
        assert time.monotonic() - since < 5
        assert asleep(path)
        again = child(runs_the_child, path, False)
        again.hears("began", "ended")
        assert parents.end() == [json.dumps([7])]
    assert wrongs(path) + odds(path) == []
    assert rows(path, "SELECT attempts, lapses, phase FROM taskcore_task WHERE key = 'parent'") == [(1, 0, "succeeded")]


@pytest.mark.parametrize("childs_too", [False, True], ids=["parent's", "both"])
def test_a_sleeping_parent_does_not_lapse_with_its_process(path, child, childs_too):
    """It may lapse no single time: but it did not run."""
    parents = child(runs_the_parent, path)
    parents.hears("prepared")
    until(lambda: asleep(path), "the parent waits for its child")
    childs = child(runs_the_child, path)
    childs.hears("began")
    parents.kill()
    if childs_too:
        childs.kill()
        childs = child(runs_the_child, path)
        childs.hears("began")
    assert asleep(path)
    childs.tell("go on")
    childs.hears("ended")
    assert not asleep(path), "the child's end wakes it, whoever is there to run it"
    assert child(runs_the_parent, path).end() == [json.dumps([7])], "prepared once, and never again"
    assert wrongs(path) + odds(path) == []
    assert rows(path, "SELECT attempts, lapses, phase FROM taskcore_task WHERE key = 'parent'") == [(1, 0, "succeeded")]


def test_a_child_that_ends_while_its_parents_process_dies_wakes_the_parent_once(path, child):
    """The parent is killed as it takes up what its child's end had woken it for."""
    parents = child(dies_when_woken, path)
    assert parents.end(code=-signal.SIGKILL) == ["prepared", "woken"]
    assert rows(path, "SELECT count(*) FROM taskcore_join") == [(0,)], "one suspension, one wake"
    assert child(runs_the_parent, path).end() == [json.dumps([7])]
    assert wrongs(path) + odds(path) == []


def dies_when_woken(path):
    with Engine(path, workers=2, lease=300) as engine:
        part = engine.task(lambda n: n, name="part")

        @engine.task
        def parent():
            run = taskcore.current()
            run.step("prepare", say, "prepared")
            run.wait(part.submit(7))
            say("woken")
            os.kill(os.getpid(), signal.SIGKILL)

        parent.options(key="parent").submit().result()


# -- a storm --------------------------------------------------------------------------------------------------------


def works(path, ledger):
    """Trees of bodies that step, book, sleep and gather, and nights with a queue in them."""
    engine = Engine(path, workers=3, lease=300)
    log = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(*words):
        os.write(log, (" ".join(map(str, words)) + "\n").encode())

    def step(run, name, value):
        me = run.task.id

        def did():
            note("did", me, name)
            return value

        found = run.step(name, did)
        note("kept", me, name)
        return found

    def book(db, me, child):
        db.execute("INSERT INTO effect VALUES (?)", (me,))
        if child:
            leaf.submit("booked")

    @engine.task(max_lapses=1_000_000)
    def leaf(n):
        return n

    @engine.task(max_lapses=1_000_000)
    def refuses(n):
        raise ValueError(n)

    @engine.task(max_lapses=1_000_000)
    def tree(place, depth):
        run = current()
        one = step(run, "one", 1)
        run.transact("book", book, run.task.id, depth == 3)
        if depth == 2:
            run.sleep(0.002)
        if depth > 1:
            one += sum(run.gather(tree, [place + "l", place + "r"], [depth - 1] * 2))
        else:
            for n in run.track(range(3)):
                with contextlib.suppress(ZeroDivisionError):
                    run.step("in vain", lambda: 1 / 0)
                step(run, f"item-{n}", n)
            failed = run.gather(refuses, [place, 2], return_exceptions=True)
            one += sum(isinstance(error, Exception) for error in failed)
        return one + step(run, "last", 0)

    @engine.task(max_lapses=1_000_000)
    def mount(n):
        run = current()
        note("enter", run.task.id)
        run.transact("book", book, run.task.id, False)
        step(run, "turn", n)
        note("leave", run.task.id)
        return n

    @engine.task(max_lapses=1_000_000)
    def night(n):
        run = current()
        with engine.job("mounts") as job:
            for place in range(2):
                mount.options(serial="the mount").submit(place)
        counts = run.wait(job)[0]
        with engine.job("more"):
            late = mount.options(serial="the mount", parent=job).submit(2)
        return [counts, run.wait(late), run.wait(job)[0]]

    engine.start()
    return engine


def orders(path, ledger, seed):
    """A producer: never more than fifty things to be done."""
    engine = Engine(path, workers=0)
    log = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    tree, night, leaf = (engine.task(name, max_lapses=1_000_000) for name in ("tree", "night", "leaf"))
    nap = threading.Event()
    for number in itertools.count():
        while len(engine.tasks.where(phase=["ready", "running", "suspended", "waiting"])) > 50:
            nap.wait(0.01)
        with engine.transaction():
            both = [tree.submit(f"{seed}.{number}.", 3), night.submit(number)]
            last = leaf.submit(both)
        os.write(log, f"ack {' '.join(str(future.id) for future in (*both, last))}\n".encode())


def storm(path, ledger, seed, seconds):
    """Forks workers and a producer, and kills them at random; then all. A slow machine is given longer, until something
    was done."""
    dice = random.Random(int(seed))
    with contextlib.closing(Engine(path, workers=0)) as engine, engine.transaction() as db:
        db.execute("CREATE TABLE effect (task INTEGER)")
    alive, begun = {}, itertools.count()

    def start(kind):
        number = next(begun)
        pid = os.fork()
        if pid == 0:
            try:
                if kind == "worker":
                    engine = works(path, ledger)  # noqa: F841 - must live
                    threading.Event().wait()
                else:
                    orders(path, ledger, f"{seed}-{number}")
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(1)
        alive[pid] = kind

    for kind in ("worker", "worker", "worker", "producer"):
        start(kind)
    nap, deadline, kills = threading.Event(), time.monotonic() + float(seconds), 0
    while time.monotonic() < deadline or (size(ledger) < 2000 and kills < 1000):
        nap.wait(dice.expovariate(1 / 0.04))
        pid = dice.choice(list(alive))
        os.kill(pid, signal.SIGKILL)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != -signal.SIGKILL:
            say(f"a {alive[pid]} ended by itself")
        kills += 1
        start(alive.pop(pid))
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    say("kills", kills)


def storms(*args):
    from tests.storms import test_crash_process

    test_crash_process.storm(*args)


def check_a_storm(tmp_path, child, seed, seconds):
    path, ledger = tmp_path / "storm.db", tmp_path / "ledger"
    lines = child(storms, path, ledger, seed, seconds).end(patience=seconds + 60)
    assert len(lines) == 1, (seed, lines)
    kills = int(lines[0].split()[1])
    assert wrongs(path) + odds(path) == [], f"seed {seed}"
    before = dict(rows(path, "SELECT phase, count(*) FROM taskcore_task GROUP BY phase"))
    unfinished = "SELECT 1 FROM taskcore_task WHERE finished_at IS NULL LIMIT 1"
    with contextlib.closing(works(path, ledger)) as engine:
        until(lambda: not rows(path, unfinished), f"seed {seed}: all has ended", 120)
        tasks = {task.id: task for task in engine.tasks}
    assert wrongs(path) + odds(path) == [], f"seed {seed}"

    children = collections.defaultdict(list)
    for task in tasks.values():
        assert task.status == ("failed" if task.name == "refuses" else "succeeded"), f"seed {seed}: {task}"
        children[task.parent_id].append(task.name)
    for task in tasks.values():
        if task.name == "tree":
            depth = task.args[1]
            assert task.result == {3: 15, 2: 7, 1: 3}[depth], f"seed {seed}: {task}"
            made = {3: ["leaf", "tree", "tree"], 2: ["tree", "tree"], 1: ["refuses", "refuses"]}[depth]
            assert sorted(children[task.id]) == made, f"seed {seed}: a submit was done twice: {task}"
        elif task.name == "night":
            assert task.result[0] in ({"succeeded": 2}, {"succeeded": 3}), f"seed {seed}: {task}"
            assert task.result[1:] == [[2], {"succeeded": 3}], f"seed {seed}: {task}"
            assert sorted(children[task.id]) == ["more", "mounts"], f"seed {seed}: {task}"
    effects = collections.Counter(task for (task,) in rows(path, "SELECT task FROM effect"))
    booked = collections.Counter(task.id for task in tasks.values() if task.name in ("tree", "mount"))
    assert effects == booked, f"seed {seed}: lost {booked - effects}, twice {effects - booked}"

    held, order, acknowledged, did = set(), [], 0, 0
    for line in ledger.read_text().splitlines():
        word, *ids = line.split()
        task = int(ids[0])
        assert task in tasks, f"seed {seed}: {line}, and it is not in the file"
        if word == "ack":
            acknowledged += 1
            assert set(map(int, ids)) <= set(tasks), f"seed {seed}: {ids} were acknowledged, and lost"
        elif word == "did":
            did += 1
            assert (task, ids[1]) not in held, f"seed {seed}: #{task} did {ids[1]} again, which was kept"
        elif word == "kept":
            held.add((task, ids[1]))
        elif word == "enter":
            if order and order[-1] is not None and order[-1] != task:
                raise AssertionError(f"seed {seed}: #{task} began while #{order[-1]} had the mount")
            order.append(task)
        elif word == "leave":
            order.append(None)
    return kills, acknowledged, did, len(tasks), before


def test_bodies_whose_processes_are_killed_at_random_do_nothing_twice_and_all_end(tmp_path, child):
    kills, acknowledged, did, tasks, before = check_a_storm(tmp_path, child, seed=1, seconds=1.5)
    assert kills > 10 and acknowledged > 2 and did > 30, (kills, acknowledged, did, tasks, before)


@pytest.mark.storm
@pytest.mark.parametrize("seed", range(2, 8))
def test_bodies_do_nothing_twice_in_a_long_storm(tmp_path, child, seed):
    check_a_storm(tmp_path, child, seed, seconds=60)

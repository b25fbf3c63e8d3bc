"""Processes that are killed: what of their tasks is left, who takes it up, and that nothing is torn or lost.

Every kill is a real SIGKILL. What a child does is a function of this file; its source is sent to the child.
"""

import contextlib
import json
import os
import random
import signal
import sqlite3
import sys
import threading
import time

import pytest

import taskcore
from taskcore import Engine
from taskcore.testing import InlineExecutor, ManualClock
from tests.support.fuse import Fuse
from tests.support.processes import PATIENCE, say, until
from tests.support.rows import rows, verdict, whole, wrongs

if not hasattr(signal, "SIGKILL"):
    pytest.skip("this system cannot kill as POSIX does", allow_module_level=True)

# -- a killed process, and the next start ---------------------------------------------------------------------------


def dies_at_work(path):
    """Two threads. Learns that `work` is short, so that many are claimed ahead; then one kills the process."""
    engine, first = Engine(path, workers=2, lease=300), threading.Event()

    @engine.task
    def work(n, wait=False):
        if not wait:
            return n
        say("began", n)
        if n == 0:
            first.set()
        if n == 1:
            first.wait()
            for _ in range(1000):
                if engine.tasks.where(phase="running").counts().get("running", 0) > 10:
                    break
            say("claimed", engine.tasks.where(phase="running").counts()["running"])
            os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()

    list(work.map(range(300)))
    with engine.transaction():
        for n in range(40):
            work.submit(n, wait=True)
    threading.Event().wait()


def test_a_task_of_a_killed_process_runs_again_at_once_at_the_next_start_whatever_its_lease(path, child):
    dying = child(dies_at_work, path)
    said = dying.hears("began 0", "began 1") + dying.end(code=-signal.SIGKILL)
    ahead = max(int(line.split()[1]) for line in said if line.startswith("claimed")) - 2
    assert ahead > 0, f"nothing was claimed ahead, so this proves little: {said}"
    assert wrongs(path) == []
    began = threading.Semaphore(0)
    with Engine(path, workers=2, lease=300) as engine:

        @engine.task
        def work(n, wait=False):
            if wait and n < 2:
                began.release()
            return n

        since = time.monotonic()
        engine.start()
        assert began.acquire(timeout=PATIENCE) and began.acquire(timeout=PATIENCE)
        took = time.monotonic() - since
        assert took < 1, f"the tasks of the dead process began again after {took:.2f} s"
        engine.run()
        tasks = list(engine.tasks.where(submitted_after=0))[300:]
        assert {task.status for task in tasks} == {"succeeded"}
        assert [(task.lapses, task.attempts) for task in tasks[:2]] == [(1, 2), (1, 2)]
        assert {(task.lapses, task.attempts) for task in tasks[2:]} == {(0, 1)}
        assert [attempt.outcome for attempt in engine.future(tasks[0].id).history()] == ["lapsed", "succeeded"]
    assert wrongs(path) == []


def test_a_live_neighbour_takes_up_the_tasks_of_a_killed_process(path, child):
    """Nobody starts anew: a process that runs already notices the death by itself."""
    with Engine(path, workers=1, lease=300) as engine:
        again = threading.Event()
        dying = child(holds_until_told, path, 300)
        engine.task(lambda: None, name="other").submit().result(PATIENCE)  # runs, so it is a live neighbour
        dying.hears("began")
        engine.task(lambda: again.set(), name="hold")  # not before: it would hear of the task, and take it, at once
        dying.kill()
        since = time.monotonic()
        assert again.wait(PATIENCE)
        assert time.monotonic() - since < 2
        engine.run()
        assert [(t.status, t.lapses) for t in engine.tasks.where(name="hold")] == [("succeeded", 1)]


def holds_until_told(path, lease):
    """One running task, which ends when the test says so."""
    with Engine(path, workers=1, lease=float(lease)) as engine:
        go = threading.Event()

        @engine.task
        def hold():
            say("began")
            go.wait()
            return "by the first"

        future = hold.submit()
        sys.stdin.readline()
        go.set()
        say(future.result())


@pytest.mark.parametrize("stopped", [False, True], ids=["awake", "stopped"])
def test_the_tasks_of_a_live_neighbour_are_never_taken_however_long_past_their_lease(path, child, stopped):
    neighbour = child(holds_until_told, path, 0.2)
    neighbour.hears("began")
    if stopped:
        stop_outside_a_transaction(neighbour, path)
    taken = threading.Event()
    with Engine(path, workers=2, lease=0.2) as engine:
        engine.task(lambda: taken.set(), name="hold")
        other = engine.task(lambda n: n, name="other")
        (hold,) = engine.tasks.where(name="hold")
        end = hold.greenfield + 1.0  # five leases later
        assert until(lambda: time.time() > end and other.submit(1).result(PATIENCE), "time passes")
        (now,) = engine.tasks.where(name="hold")
        assert (now.phase, now.attempts, now.lapses, now.worker) == ("running", 1, 0, hold.worker)
        assert (now.greenfield < time.time()) == stopped, "it is renewed while it can be, and only then"
        assert not taken.is_set()
        if stopped:
            neighbour.process.send_signal(signal.SIGCONT)
        neighbour.tell("go")
        neighbour.hears("by the first")
        (done,) = engine.tasks.where(name="hold")
        assert (done.status, done.result, done.attempts) == ("succeeded", "by the first", 1)
    neighbour.end()
    assert wrongs(path) == []


def stop_outside_a_transaction(neighbour, path):
    """SIGSTOP it; where that caught it inside a commit, which would hold up everybody, try again."""

    def stopped():
        neighbour.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, neighbour.process.pid, os.WSTOPPED | os.WNOWAIT)
        try:
            with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0.2)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
            return True
        except sqlite3.OperationalError:
            neighbour.process.send_signal(signal.SIGCONT)
            return False

    until(stopped, "stopping the neighbour outside a transaction")


def poisoned(path, ledger):
    """A poison that waits for company and then kills the process, among innocents; ends when all have ended."""
    engine = Engine(path, workers=4, lease=300)
    log = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    inside, changed = set(), threading.Condition()

    @contextlib.contextmanager
    def present():
        task = taskcore.current().task
        with changed:
            os.write(log, f"{task.name} {task.id} {task.lapses} {len(inside)}\n".encode())
            inside.add(task.id)
            changed.notify_all()
        yield task
        with changed:
            inside.discard(task.id)

    @engine.task
    def innocent(n):
        with present(), changed:
            changed.wait(0.02)
            return n

    @engine.task
    def poison():
        with present() as task, changed:
            changed.wait_for(lambda: len(inside) > 1, 0 if task.lapses >= 2 else 5)
            os.kill(os.getpid(), signal.SIGKILL)

    if not engine.tasks:
        with engine.transaction():
            for n in range(12):
                innocent.submit(n)
                if n == 2:
                    poison.submit()
    engine.run()
    engine.close()


def test_a_poison_ends_as_lost_and_takes_no_innocent_task_with_it(path, tmp_path, child):
    ledger, kills = tmp_path / "ledger", 0
    while True:
        process = child(poisoned, path, ledger).process
        process.stdin.close()
        code = process.wait(PATIENCE)
        assert wrongs(path) == []
        if code == 0:
            break
        assert code == -signal.SIGKILL
        kills += 1
        assert kills <= 4, "the poison is claimed for ever"
    with Engine(path, workers=0) as engine:
        (poison,) = engine.tasks.where(name="poison")
        innocents = list(engine.tasks.where(name="innocent"))
    assert (poison.phase, poison.status, poison.lapses, poison.attempts) == ("failed", "failed", 4, 4)
    assert poison.last_error.startswith("lost"), poison.last_error
    assert kills == 4
    assert {task.status for task in innocents} == {"succeeded"}, [(t.id, t.status, t.lapses) for t in innocents]
    assert max(task.lapses for task in innocents) <= 2, "a third lapse would have come when it ran alone"
    starts = [line.split() for line in ledger.read_text().splitlines()]
    for name, task, lapses, others in starts:
        if int(lapses) >= 2:
            assert others == "0", f"{name} #{task} had lapsed {lapses} times and began beside {others} others"
    assert any(lapses == "2" and name == "poison" for name, _, lapses, _ in starts)


def runs_at_most_once(path, ledger):
    engine = Engine(path, workers=1, lease=300)
    log = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @engine.task(max_lapses=0)
    def launch():
        os.write(log, b"launched\n")
        os.kill(os.getpid(), signal.SIGKILL)

    if not engine.tasks:
        launch.submit()
    engine.run()
    engine.close()


def test_a_task_without_lapses_runs_at_most_once(path, tmp_path, child):
    child(runs_at_most_once, path, tmp_path / "ledger").end(code=-signal.SIGKILL)
    child(runs_at_most_once, path, tmp_path / "ledger").end()
    with Engine(path, workers=0) as engine:
        (task,) = engine.tasks
        assert (task.status, task.attempts, task.lapses) == ("failed", 1, 1)
        assert task.last_error.startswith("lost")
    assert (tmp_path / "ledger").read_text() == "launched\n"


def asks_itself_to_stop_and_dies(path):
    engine = Engine(path, workers=1, lease=300)

    @engine.task
    def doomed():
        engine.future(taskcore.current().task.id).cancel("enough")
        os.kill(os.getpid(), signal.SIGKILL)

    doomed.submit()
    threading.Event().wait()


def test_a_task_that_was_asked_to_stop_and_then_died_is_cancelled_not_run_again(path, child):
    child(asks_itself_to_stop_and_dies, path).end(code=-signal.SIGKILL)
    with Engine(path, workers=1) as engine:
        engine.task(lambda: pytest.fail("it ran again"), name="doomed")
        assert engine.run() == {"cancelled": 1}


# -- killed at every statement --------------------------------------------------------------------------------------


class Scenario:
    """A script of every verb. Each operation may be done again if it is not known whether it was done."""

    def __init__(self, path, start):
        self.engine = engine = Engine(
            path, executor=InlineExecutor(), clock=ManualClock(start), name="script",
            statuses={"no match": "failed", "rough": "succeeded"},
        )  # fmt: skip

        @engine.task
        def fetch(n):
            with engine.transaction() as db:
                db.execute("CREATE TABLE IF NOT EXISTS mine (n INTEGER UNIQUE)")
                db.execute("INSERT OR IGNORE INTO mine VALUES (?)", (n,))
                leaf.options(key=f"leaf {n}").submit(n)
            return n

        @engine.task
        def leaf(n):
            return taskcore.Done(n, status="rough")

        @engine.task
        def total(parts):
            return sum(parts)

        @engine.task(max_attempts=3, backoff=taskcore.constant(5))
        def flaky():
            if taskcore.current().task.failures < 2:
                raise ValueError("not yet")
            return "at last"

        @engine.task(failed_status="no match")
        def bad():
            raise LookupError("never")

        @engine.task
        def later():
            return "later"

        @engine.task
        def drowsy():
            with engine.transaction() as db:
                if db.execute("INSERT OR IGNORE INTO mine VALUES (100)").rowcount:
                    slept = False
                else:
                    slept = True
            if not slept:
                raise taskcore.Snooze(3)
            return "awake"

        robot = engine.task("robot", max_attempts=2, backoff=taskcore.constant(1))

        tasks = (fetch, leaf, total, flaky, bad, later, drowsy, robot)
        self.tasks = {task.name: task for task in tasks}

    def keyed(self, name, key, **options):
        return self.tasks[name].options(key=key, **options)

    def submit_a_graph(self):
        with self.engine.transaction():
            parts = [self.keyed("fetch", f"part {n}", tags=["part"]).submit(n) for n in (1, 2)]
            self.keyed("total", "sum").submit(parts)
            bad = self.keyed("bad", "bad").submit()
            first = self.keyed("later", "below", after=bad).submit()
            self.keyed("later", "further below", after=first).submit()
            self.keyed("later", "anyway", after={bad: "no match"}).submit()
            self.keyed("later", "without", after={bad: ("succeeded", "drop")}).submit()
            self.keyed("later", "while pending", after={parts[0]: ("pending", "wait")}).submit()

    def submit_one_by_one(self):
        self.keyed("flaky", "flaky").submit()
        self.keyed("drowsy", "drowsy", after=self.one("part 2")).submit()
        self.keyed("robot", "robot").submit({"x": [1.5, None]})
        self.keyed("later", "held", tags=["a", "b"]).submit()
        self.keyed("later", "delayed", delay=100_000).submit()
        self.keyed("later", "urgent", priority=10, before=[self.one("held")]).submit()

    def one(self, key):
        return self.engine.tasks.where(key=key).first()

    def pause_one(self):
        self.engine.tasks.where(key="held").pause()

    def work(self):
        self.engine.run()

    def resume_it(self):
        self.engine.tasks.where(key="held").resume()

    def cancel_one(self):
        self.engine.tasks.where(key="delayed").cancel("not needed")

    def depend(self):
        if self.one("delayed").phase == "scheduled":
            self.engine.future(self.one("delayed").id).depends_on(self.one("held").id, on="finished")

    def rerun_what_failed(self):
        self.engine.tasks.where(status="no match").rerun(downstream=True)

    def rerun_what_succeeded(self):
        self.engine.tasks.where(key="part 1", status="succeeded").rerun(downstream=True)

    def claim_from_outside(self):
        for claim in self.engine.claim("flaky", "later", n=2, lease=50):
            claim.extend(60)
            claim.release()

    def work_from_outside(self):
        for claim in self.engine.claim("robot", lease=50):
            claim.succeed("moved") if claim.task.failures else claim.fail("arm stuck")

    def let_time_pass(self):
        self.engine._clock.advance(10)

    def delete_one(self):
        self.engine.tasks.where(key="further below").delete()

    def end(self):
        self.engine.run()
        self.engine.close()

    SCRIPT = (
        "submit_a_graph", "submit_one_by_one", "pause_one", "claim_from_outside", "work", "work_from_outside", "depend",
        "let_time_pass", "resume_it", "cancel_one", "work", "work_from_outside", "rerun_what_failed", "work",
        "rerun_what_succeeded", "work", "delete_one", "end",
    )  # fmt: skip

    def play(self, since=0, done=lambda place: None):
        for place, operation in list(enumerate(self.SCRIPT))[since:]:
            getattr(self, operation)()
            done(place)


def fate(path):
    """What is left of a script's tasks in the end, but for times, numbers and who did it."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        ask = connection.execute
        return json.loads(json.dumps([
            ask(
                """SELECT t.key, k.name, t.phase, t.label, t.failures, t.blockers, t.held, t.result, t.attempts - (
                       SELECT count(*) FROM taskcore_attempt AS a WHERE a.task = t.id AND a.outcome = 'lapsed'
                   ) FROM taskcore_task AS t JOIN taskcore_kind AS k ON k.id = t.kind ORDER BY 1"""
            ).fetchall(),
            ask(
                """SELECT u.key, t.key, e.wants, e.otherwise, e.verdict
                   FROM taskcore_edge AS e JOIN taskcore_task AS u ON u.id = e.upstream
                   JOIN taskcore_task AS t ON t.id = e.task ORDER BY 1, 2"""
            ).fetchall(),
            ask("SELECT n FROM mine ORDER BY n").fetchall(),
            ask("SELECT count(*) FROM taskcore_worker WHERE ended_at IS NULL").fetchall(),
        ]))  # fmt: skip


def dies_at_every_statement(where, share, shares, every):
    """Forks a process for each point, finishes the work it leaves, and says what is not as it should be. Of what lies
    between two commits, only `every` so many-th statement; and unless that is each, a third of all these."""
    share, shares, every = int(share), int(shares), int(every)

    def play(path, fuse, report=lambda place: None):
        with contextlib.suppress(ImportError):
            import taskcore.runtime.scheduler

            taskcore.runtime.scheduler.monotonic = lambda: 0.0  # looks for other processes come at no fixed statement
        Scenario(path, 1000).play(done=report)
        return fuse.count

    def in_a_child(run, *args):
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

    def undisturbed():
        states = []
        fuse = Fuse(on_commit=lambda count: states.append((count, whole(calm))))
        count = play(calm, fuse)
        fuse.restore()
        assert wrongs(calm) == [], wrongs(calm)
        with open(calm + ".json", "w") as file:
            json.dump((count, states, fate(calm)), file)

    def disturbed(path, at, after, done):
        log = os.open(done, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        play(path, Fuse(at, after), lambda place: os.write(log, b"."))

    calm = os.path.join(where, f"calm {share}.db")
    assert in_a_child(undisturbed) == 0
    with open(calm + ".json") as file:
        count, states, end = json.load(file)
    # To die after a statement is to die before the next one, but for the last, and for what follows a commit.
    ends = {at for at, _ in states}
    points = [(at, False) for at in range(1, count + 1) if at % every == 0 or at in ends]
    points += [(at, True) for at in sorted(ends)]
    if every > 1:
        points = points[::5]
    taken_up = set()
    for place, (at, after) in enumerate(points):
        if place // 10 % shares != share:
            continue
        path, done = os.path.join(where, f"{at} {after}.db"), os.path.join(where, f"{at} {after}.done")
        code = in_a_child(disturbed, path, at, after, done)
        what = f"killed {'after' if after else 'before'} statement {at} of {count}"
        if code != -signal.SIGKILL:
            say(what, "ended with", code)
            continue
        last = [state for number, state in states if number < at + after]
        found = whole(path)
        if found != (last[-1] if last else {}):
            say(what, "left a file that is none of the states between two transactions")
        for wrong in wrongs(path) if found else ():
            say(what, wrong)
        begun = len(last), os.path.getsize(done)
        if begun not in taken_up:  # from one state there is one way on
            taken_up.add(begun)
            Scenario(path, 5000).play(since=begun[1])
            for wrong in wrongs(path):
                say(what, "and taken up:", wrong)
            for here, there in zip(fate(path), end, strict=True):
                odd = [row for row in here if row not in there], [row for row in there if row not in here]
                if odd != ([], []):
                    say(what, "and taken up, it ended otherwise:", *odd)
        for leftover in (path, path + "-wal", path + "-shm", path + "-taskcore", done):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(leftover)
    say("points", len(points), "transactions", len(states))


def test_a_process_killed_at_any_commit_and_between_leaves_a_file_that_reaches_the_same_end(tmp_path, child):
    check_deaths(tmp_path, child, every=12, shares=1)


@pytest.mark.storm
def test_a_process_killed_at_any_statement_leaves_a_file_that_reaches_the_same_end(tmp_path, child):
    check_deaths(tmp_path, child, every=1, shares=2)


def check_deaths(tmp_path, child, every, shares):
    parts = [
        child(
            dies_at_every_statement, tmp_path, share, shares, every,
            uses=(Fuse, Scenario, verdict, wrongs, whole, fate),
        )
        for share in range(shares)
    ]  # fmt: skip
    said = [part.end(patience=4 * PATIENCE) for part in parts]  # which say nothing before
    for lines in said:
        assert len(lines) == 1, "\n".join(lines[:20])
        _, points, _, transactions = lines[0].split()
        assert int(points) > 20 and int(transactions) > 40, "the script does next to nothing"


# -- storms ---------------------------------------------------------------------------------------------------------


def storm_worker(path, ledger):
    engine = Engine(path, workers=3, lease=300)
    log = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @engine.task(max_lapses=1_000_000)
    def part(graph, n):
        work = taskcore.body.work.CURRENT.get()[1]
        os.write(log, f"run {work.claimed.id} {work.claimed.token}\n".encode())
        if n == 0:
            with engine.transaction() as db:
                db.execute("INSERT OR IGNORE INTO effect VALUES (?)", (graph,))
        return n

    @engine.task(max_lapses=1_000_000)
    def join(graph, parts):
        work = taskcore.body.work.CURRENT.get()[1]
        os.write(log, f"run {work.claimed.id} {work.claimed.token}\n".encode())
        return sum(parts)

    engine.start()
    return engine


def storm_producer(path, ledger, seed):
    engine = Engine(path, workers=0)
    log = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    part, join = (engine.task(name, max_lapses=1_000_000) for name in ("part", "join"))
    for number in range(1_000_000):
        graph = f"{seed}.{number}"
        if number % 3 == 0:
            future = part.options(key=graph, tags=[graph, "single"]).submit(graph, 1)
            os.write(log, f"ack {graph} {future.id}\n".encode())
            continue
        with engine.transaction() as db:
            db.execute("INSERT INTO graph VALUES (?)", (graph,))
            parts = [part.options(tags=[graph]).submit(graph, n) for n in range(4)]
            last = join.options(tags=[graph]).submit(graph, parts)
        os.write(log, f"ack {graph} {' '.join(str(future.id) for future in (*parts, last))}\n".encode())


def storm(path, ledger, seed, seconds):
    """Forks workers and producers and kills them at random, one about every 20 ms; then all. A slow machine is given
    longer, until something was done."""
    dice = random.Random(int(seed))
    with contextlib.closing(Engine(path, workers=0)) as engine, engine.transaction() as db:
        db.execute("CREATE TABLE graph (name TEXT PRIMARY KEY)")
        db.execute("CREATE TABLE effect (graph TEXT PRIMARY KEY)")
    alive, kills, begun = {}, 0, 0

    def start(kind):
        nonlocal begun
        begun += 1
        pid = os.fork()
        if pid == 0:
            try:
                if kind == "worker":
                    engine = storm_worker(path, ledger)  # noqa: F841 - must live
                    threading.Event().wait()
                else:
                    storm_producer(path, ledger, f"{seed}-{begun}")
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(1)
        alive[pid] = kind

    for kind in ("worker", "worker", "worker", "producer", "producer"):
        start(kind)
    nap, deadline = threading.Event(), time.monotonic() + float(seconds)

    def little():
        with contextlib.suppress(FileNotFoundError), open(ledger) as lines:
            said = [line[:3] for line in lines]
            return min(said.count("ack"), said.count("run")) < 40 and time.monotonic() < deadline + 30
        return True

    while time.monotonic() < deadline or little():
        nap.wait(dice.expovariate(1 / 0.02))
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


def check_a_storm(tmp_path, child, seed, seconds):
    path, ledger = tmp_path / "storm.db", tmp_path / "ledger"
    lines = child(storm, path, ledger, seed, seconds, uses=(storm_worker, storm_producer)).end(
        patience=PATIENCE + seconds
    )
    assert len(lines) == 1, (seed, lines)
    kills = int(lines[0].split()[1])
    assert wrongs(path) == [], seed
    with Engine(path, workers=2) as engine:
        engine.task(lambda graph, n: n, name="part")
        engine.task(lambda graph, parts: sum(parts), name="join")
        counts = engine.run()
        assert set(counts) == {"succeeded"}, (seed, counts)
        tasks = {task.id: task for task in engine.tasks}
    assert wrongs(path) == [], seed

    acknowledged, runs = {}, []
    for line in ledger.read_text().splitlines():
        kind, *facts = line.split()
        if kind == "ack":
            acknowledged[facts[0]] = [int(task) for task in facts[1:]]
        else:
            runs.append((int(facts[0]), int(facts[1])))
    by_graph = {}
    for task in tasks.values():
        by_graph.setdefault(task.tags[0], []).append(task.id)
    for graph, ids in acknowledged.items():
        assert sorted(by_graph.get(graph, ())) == sorted(ids), f"seed {seed}: {graph} was acknowledged as {ids}"
    stored = {graph for (graph,) in rows(path, "SELECT name FROM graph")}
    whole_graphs = {graph for graph, ids in by_graph.items() if "single" not in tasks[ids[0]].tags}
    assert whole_graphs == stored, f"seed {seed}: the user's rows and the tasks came in one transaction"
    effects = {graph for (graph,) in rows(path, "SELECT graph FROM effect")}
    assert effects and effects <= stored, f"seed {seed}: a body's own rows came without its task"
    assert {len(by_graph[graph]) for graph in whole_graphs} <= {5}, f"seed {seed}: a graph is there in part"
    assert len(runs) == len(set(runs)), f"seed {seed}: one claim ran twice"
    assert all(task in tasks for task, _ in runs), f"seed {seed}: a task ran that is not in the file"
    newest = dict(rows(path, "SELECT id, token FROM taskcore_task"))
    assert all(token <= newest[task] for task, token in runs), f"seed {seed}: a claim ran that was never committed"
    return kills, len(acknowledged), len(tasks), len(runs)


def test_nothing_acknowledged_is_lost_and_no_graph_is_torn_when_processes_are_killed_at_random(tmp_path, child):
    kills, acknowledged, tasks, runs = check_a_storm(tmp_path, child, seed=1, seconds=1.5)
    assert kills > 10 and acknowledged > 25 and runs > 25, (kills, acknowledged, tasks, runs)


@pytest.mark.storm
@pytest.mark.parametrize("seed", range(2, 8))
def test_nothing_acknowledged_is_lost_in_a_long_storm(tmp_path, child, seed):
    check_a_storm(tmp_path, child, seed, seconds=60)


def test_an_idle_engine_notices_the_death_of_a_neighbour_that_had_said_nothing_for_a_while(path, child):
    """It has seen all that the neighbour wrote; only the lock tells that nothing more will come."""
    with Engine(path, workers=1, lease=300) as engine:
        again = threading.Event()
        engine.task(lambda: None, name="other").submit().result(PATIENCE)
        dying = child(holds_until_told, path, 300)
        dying.hears("began")
        engine.task(lambda: again.set(), name="hold")  # only now: it could have been the quicker one
        threading.Event().wait(1.5)  # three looks at the file
        assert not again.is_set()
        dying.kill()
        assert again.wait(2), "the death went unnoticed"

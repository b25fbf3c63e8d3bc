"""Bodies for executors in other processes, which find them here by name; and one that stands for such an executor."""

import logging
import os
import threading
from concurrent.futures import Executor, Future
from multiprocessing.reduction import ForkingPickler

import taskcore


class Away(Executor):
    """Runs what it is given in the caller's thread, but as another process would: after it was pickled."""

    _max_workers = 1

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        try:
            answer = ForkingPickler.loads(ForkingPickler.dumps(fn))(*args, **kwargs)
            future.set_result(ForkingPickler.loads(ForkingPickler.dumps(answer)))
        except BaseException as error:
            future.set_exception(error)
        return future


def square(n):
    return n * n


def die(flag=None):
    """Kills its process; with a flag, the first time only."""
    if flag is None or not os.path.exists(flag):
        if flag is not None:
            with open(flag, "w"):
                pass
        os._exit(7)
    return "alive"


def insert(db, value):
    db.execute("CREATE TABLE IF NOT EXISTS mine (value)")
    db.execute("INSERT INTO mine VALUES (?)", (value,))
    return value


def all_of_it(value):
    run = taskcore.current()
    print("printed", value)
    logging.getLogger(__name__).info("logged %s", value)
    run.message("at work")
    run.progress(3, 4)
    run.set_status("busy")
    run.save(saved=value)
    pid = run.step("pid", os.getpid)
    run.transact("insert", insert, value)
    return {"pid": pid, "args": list(run.task.args)}


def shows(shown, go_on):
    """Shows something, says so in a file that the test waits for, and goes on when the test has made another."""
    taskcore.current().message("look at me")
    with open(shown, "w"):
        pass
    while not os.path.exists(go_on):
        pass
    taskcore.current().check()
    return "went on"


def note(path):
    with open(path, "a") as file:
        file.write("done\n")


def notes_in_a_step(path):
    return taskcore.current().step("note", note, path)


def fails_behind_a_step(path):
    run = taskcore.current()
    run.step("note", note, path)
    run.transact("insert", insert, path)
    if run.task.attempts == 1:
        raise OSError("the first time")
    return run.task.attempts


SEEN: list[str] = []
"""What bodies of this process came to."""


def lost(path, sql):
    """Somebody moves the claim while the body runs."""
    run = taskcore.current()
    run.message("before")
    with taskcore.Engine(path, workers=0) as engine, engine.transaction() as db:
        db.execute(sql)
    for call in (lambda: run.step("one", square, 3), lambda: run.transact("two", insert, 1), run.check):
        try:
            call()
            SEEN.append("done")
        except (taskcore.LeaseLost, taskcore.Cancelled) as error:
            SEEN.append(f"{type(error).__name__}: {error}")


AT_THE_DOOR = threading.local()
"""Of a thread: a `hook` that is called by the next body in it that has read what is kept of it."""


def transacts():
    run = taskcore.current()
    run.step("before", square, 1)
    hook, AT_THE_DOOR.hook = getattr(AT_THE_DOOR, "hook", None), None
    if hook is not None:
        hook()
    return run.transact("insert", insert, 1)


def waits(path):
    """What each of the verbs that would wait, or submit, says."""
    run, said = taskcore.current(), {}
    with taskcore.Engine(path, workers=0) as engine:
        calls = {
            "sleep": lambda: run.sleep(0),
            "wait": lambda: run.wait([]),
            "gather": lambda: run.gather(square, [1]),
            "wait_for": lambda: run.wait_for("go"),
            "submit": lambda: engine.submit(square, 1),
        }
        for name, call in calls.items():
            try:
                call()
            except taskcore.NotInTask as error:
                said[name] = str(error)
    return said


def asks():
    """What `current()` says, and nothing is done."""
    try:
        taskcore.current().message("never")
    except taskcore.NotInTask as error:
        return str(error)


class Broken(Exception):
    """Cannot be unpickled: it wants two arguments, and keeps one."""

    def __init__(self, one, two):
        self.lock = threading.Lock()
        super().__init__(one)


def raises_what_cannot_travel():
    raise Broken("one", "two")


def returns_what_cannot_travel():
    return threading.Lock()


class Wanted(Exception):
    pass


def raises(kind):
    raise {"wanted": Wanted, "retry": taskcore.Retry, "abort": taskcore.Abort, "snooze": lambda: taskcore.Snooze(5)}[
        kind
    ]()

"""Bodies that worker processes run: they find them here, and import nothing else of the tests."""

import os
import signal
import threading
import time

import taskcore


def process():
    return os.getpid()


def add(a, b):
    return a + b


def family(n):
    """Uses what a body has: a step, children, a message, its log."""
    run = taskcore.current()
    first = run.step("first", add, n, 1)
    run.message("half way")
    print("said by", n)
    return [first, *run.gather(process, *[[]] * 0), *run.gather(double, range(n)), os.getpid()]


def double(n):
    return 2 * n


def fails(kind):
    raise {"key": KeyError, "value": ValueError}[kind]("as asked for")


def waits(path):
    """Until there is such a file; hears when it is to stop."""
    run = taskcore.current()
    while not os.path.exists(path):
        run.check()
        time.sleep(0.005)
    return os.getpid()


def signs(folder, n):
    """Say that it has begun, and where, by a file of that number; then wait for one that is called "go"."""
    with open(f"{folder}/.{n}", "w") as file:
        file.write(str(os.getpid()))
    os.replace(f"{folder}/.{n}", f"{folder}/{n}")
    return waits(f"{folder}/go")


def deaf():
    threading.Event().wait()


def holds_the_interpreter():
    return pow(7, 60_000_000)


def dies():
    os.kill(os.getpid(), signal.SIGKILL)


def stops():
    """Its process, and does not return: the signal may come to another thread first."""
    os.kill(os.getpid(), signal.SIGSTOP)
    threading.Event().wait()

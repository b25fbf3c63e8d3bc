"""Eight processes drain one file: nothing is lost, nothing runs twice, and none of them starves."""

import json
import os

import pytest

from taskcore import Engine
from tests.support.processes import Child, say
from tests.support.rows import rows, wrongs

PROCESSES = 8


def drains(path, n):
    """In a child: forks the processes, has them start, submits, and says how many bodies each of them ran."""
    started, went = os.pipe(), os.pipe()
    pids = []
    for place in range(8):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(went[1])
                ran = []
                engine = Engine(path, workers=2)
                engine.task(ran.append, name="work")
                engine.start()
                os.write(started[1], b"!")
                os.read(went[0], 1)  # until all are submitted
                while engine.tasks.where(name="work", phase=["ready", "running"]).first() is not None:
                    engine.run()
                engine.close()
                with open(f"{path}.{place}", "w") as file:
                    json.dump(ran, file)
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    for _ in pids:
        os.read(started[0], 1)
    with Engine(path, workers=0) as engine:
        engine.pause("work")  # until all are there
        for start in range(0, int(n), 5000):
            with engine.transaction():
                for number in range(start, min(start + 5000, int(n))):
                    engine.submit("work", number)
        engine.resume("work")
    os.close(went[1])
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    say("drained")


def drained(path, n):
    """→ how many bodies each of the processes ran."""
    child = Child(drains, path, n)
    try:
        assert child.end(patience=300, quiet=False) == ["drained"]  # that it waits for the file long, it may say
    finally:
        child.close()
    ran = []
    for place in range(PROCESSES):
        with open(f"{path}.{place}") as file:
            ran.append(json.load(file))
    everything = sorted(number for numbers in ran for number in numbers)
    assert everything == list(range(n)), "nothing is lost, and nothing ran twice"
    counts = rows(path, "SELECT phase, count(*), max(attempts) FROM taskcore_task GROUP BY phase")
    assert counts == [("succeeded", n, 1)]
    assert wrongs(path) == []
    return [len(numbers) for numbers in ran]


def test_eight_processes_drain_a_file_and_lose_nothing(path):
    assert sum(drained(path, 4000)) == 4000


@pytest.mark.storm
def test_none_of_eight_processes_gets_less_than_a_fifth_of_its_share(path):
    shares = drained(path, 100_000)
    assert min(shares) >= 100_000 / PROCESSES / 5, shares

"""How one process knows that another lives: its lane in the side file, and what it noted there before it died."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from taskcore import BadFile, Engine
from taskcore.store import process_locks
from taskcore.store.process_locks import Lanes

PATIENCE = 20.0
LOOK = "import sys; from taskcore.store.process_locks import Lanes; print(Lanes(sys.argv[1]).is_dead(int(sys.argv[2])))"


@pytest.fixture
def side(tmp_path):
    return str(tmp_path / "tasks.db-taskcore")


@pytest.fixture
def lanes(side):
    lanes = Lanes(side)
    yield lanes
    lanes._close()


def dead(side, lane):
    """Whether another process takes the holder of this lane for dead."""
    done = subprocess.run([sys.executable, "-c", LOOK, side, str(lane)], capture_output=True, text=True, check=True)
    return {"True\n": True, "False\n": False}[done.stdout]


def test_a_lane_is_held_until_it_is_given_up(lanes, side):
    assert lanes.take(3)
    assert not lanes.take(3)
    assert not lanes.is_dead(3) and lanes.is_dead(2)
    assert not dead(side, 3) and dead(side, 2)
    lanes.give_up(3)
    assert dead(side, 3)


def test_a_program_that_opens_and_closes_the_side_file_does_not_make_its_engine_look_dead(lanes, side):
    """A backup, a checksum or a copy of the folder, by the very process that holds the lane."""
    lanes.take(0)
    with open(side, "rb") as file:
        file.read()
    lanes.hold()  # the beat that takes the lock again where the kernel has dropped it
    assert not dead(side, 0)


def test_where_the_kernel_drops_locks_with_any_descriptor_the_next_beat_takes_them_again(lanes, side):
    lanes._by_description = False  # as on macOS
    lanes.take(0)
    with open(side, "rb") as file:
        file.read()
    lanes.hold()
    assert not dead(side, 0)
    assert lanes.trouble is None


def test_a_side_file_that_is_deleted_is_made_again_and_its_lanes_are_held_in_it(lanes, side):
    lanes.take(1)
    marks = lanes.page(1, 77)
    marks.begin(5)
    os.unlink(side)
    lanes.hold()
    assert not dead(side, 1)
    assert lanes.trouble is None
    marks.begin(6)
    assert lanes.begun(1, 77) is None, "marks from before are gone, so what had begun is not known"


def test_nobody_is_taken_for_dead_by_a_side_file_that_is_not_the_one_at_its_path(lanes, side):
    assert lanes.is_dead(4)
    os.unlink(side)
    assert not lanes.is_dead(4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_was_forked_and_survives_does_not_keep_its_parent_alive(side, tmp_path):
    code = """
import os, sys, time
from taskcore.store import process_locks
lanes = process_locks.lanes_of(sys.argv[1].removesuffix("-taskcore"))
lanes.take(0); lanes.page(0, 1)
if not (child := os.fork()):
    os.close(1); time.sleep(60); os._exit(0)
print(child, flush=True); os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code, side], stdout=subprocess.PIPE, text=True, timeout=PATIENCE)
    survivor = int(done.stdout)
    try:
        assert done.returncode == -signal.SIGKILL
        assert dead(side, 0)
    finally:
        os.kill(survivor, signal.SIGKILL)


# -- the file itself ------------------------------------------------------------------------------------------------


def test_the_side_file_is_its_owners_alone(lanes, side):
    assert os.stat(side).st_mode & 0o777 == 0o600


def symbolic_link(side, target):
    os.symlink(target, side)


def hard_link(side, target):
    os.link(target, side)


def pipe(side, target):
    os.mkfifo(side)


def folder(side, target):
    os.mkdir(side)


@pytest.mark.parametrize("make", [symbolic_link, hard_link, pipe, folder])
def test_anything_but_a_file_of_ours_is_refused_and_not_touched(make, tmp_path):
    target, path = tmp_path / "precious", tmp_path / "tasks.db"
    target.write_text("precious")
    make(str(path) + "-taskcore", target)
    with pytest.raises(BadFile, match="beside the database cannot be used"):
        Engine(path)
    assert target.read_text() == "precious"


# -- marks ----------------------------------------------------------------------------------------------------------


def test_what_a_worker_began_is_read_by_the_next_one(lanes, side):
    lanes.take(2)
    marks = lanes.page(2, 9)
    for task in (5, 6, 7):
        marks.begin(task)
    assert lanes.begun(2, 9) == {5, 6, 7}
    assert lanes.begun(2, 8) is None  # another worker's
    assert lanes.begun(3, 9) is None
    if sys.platform == "linux":
        assert lanes.since_boot(2)


def test_after_the_machine_was_started_again_the_marks_of_before_are_not_the_whole_truth(lanes, monkeypatch):
    lanes.take(0)
    lanes.page(0, 9).begin(5)
    monkeypatch.setattr(process_locks, "_boot", lambda: 12345)
    assert lanes.begun(0, 9) == {5}
    assert not lanes.since_boot(0)


def test_where_the_disk_is_full_nothing_is_mapped_and_what_is_claimed_counts_as_begun(lanes, monkeypatch):
    """A page without space behind it would kill the process at the first note."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    lanes.take(0)
    monkeypatch.setattr(os, "pwrite", full)
    marks = lanes.page(0, 9)
    marks.begin(5)
    assert not marks.there
    assert lanes.begun(0, 9) is None
    assert "disk is full" in lanes.trouble
    lanes.hold()
    assert "disk is full" in lanes.trouble


def test_why_nothing_can_be_noted_is_said_as_it_is(lanes, monkeypatch):
    class Short:
        def __new__(cls, *_, **__):
            raise OSError(errno.EMFILE, "Too many open files")

    lanes.take(0)
    monkeypatch.setattr(process_locks.mmap, "mmap", Short)
    assert not lanes.page(0, 9).there
    said = "[Errno 24] Too many open files: after a crash every task that is claimed here will count as begun"
    assert lanes.trouble == said
    lanes.hold()
    assert lanes.trouble == said


def test_a_side_file_that_is_cut_short_gets_its_length_back_before_anything_is_noted(lanes, side):
    lanes.take(0)
    marks = lanes.page(0, 9)
    os.truncate(side, 0)
    lanes.hold()
    assert "cut short" in lanes.trouble
    marks.begin(5)  # would be a SIGBUS
    assert lanes.begun(0, 9) is None


def test_of_tasks_that_may_run_once_only_those_that_threads_were_at_are_lost_with_their_process(tmp_path):
    path, ran = tmp_path / "tasks.db", tmp_path / "ran"
    code = """
import os, sys, threading, taskcore
engine, began = taskcore.Engine(sys.argv[1], workers=2), []
@engine.task(name="once", max_lapses=0)
def once(number):
    with open(sys.argv[2], "a") as file:
        file.write(f"{number}\\n")
    began.append(number)
    if len(began) == 60:
        os.kill(os.getpid(), 9)
with engine.transaction():
    for number in range(300):
        once.submit(number)
threading.Event().wait()
"""
    done = subprocess.run([sys.executable, "-c", code, path, ran], timeout=PATIENCE)
    assert done.returncode == -signal.SIGKILL
    began = {int(line) for line in ran.read_text().split()}
    with Engine(path, workers=2) as engine:
        engine.task(lambda number: number, name="once")
        engine.run()
        lost = {task.args[0] for task in engine.tasks.where(phase="failed")}
        assert len(lost - began) <= 2, "a task is lost that no thread was about to begin"
        assert lost, "the process died in the middle of something"

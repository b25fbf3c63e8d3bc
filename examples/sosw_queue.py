"""Queues of tasks for worker processes, as in sosw: labourers with limits, workers that claim, and one that dies.

    python examples/sosw_queue.py         # the orchestrator: fills the queues, starts two workers, looks after them
    python examples/sosw_queue.py cat     # a third worker, in another terminal

The workers share nothing but the file. What one of them holds when it dies is claimed again when its lease is over.
"""

import hashlib
import logging
import os
import random
import subprocess
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path

sys.path.append(os.path.abspath(f"{__file__}/../.."))  # a clone works without being installed

import taskcore

logging.getLogger("taskcore").setLevel(logging.ERROR)  # what fails here is meant to, and is printed below

SIZE = 64  # a picture is so many bytes wide and high
LEASE = 0.5  # seconds of silence after which a worker counts as dead; minutes, in real life


def resize(picture):
    """Half as wide and high: the mean of each four points."""
    data = Path(picture).read_bytes()
    if len(data) != SIZE * SIZE:
        raise ValueError(f"{len(data)} bytes are no picture")
    corners = [i for row in range(0, SIZE * SIZE, 2 * SIZE) for i in range(row, row + SIZE, 2)]
    small = bytes((data[i] + data[i + 1] + data[i + SIZE] + data[i + SIZE + 1]) // 4 for i in corners)
    return Path(picture).with_suffix(".small").write_bytes(small)


def digest(picture):
    return hashlib.sha256(Path(picture).read_bytes()).hexdigest()


def compress(picture):
    return Path(picture).with_suffix(".z").write_bytes(zlib.compress(Path(picture).read_bytes(), 9))


who = sys.argv[1] if len(sys.argv) > 1 else "orchestrator"
engine = taskcore.Engine("queue.db", workers=0, lease=LEASE, name=who)  # 0: nothing runs but what is claimed
queues = {
    "resize": engine.task("resize", limit=4, max_attempts=3, backoff=taskcore.linear(0.3), retry_first=True),
    "digest": engine.task("digest", limit=8, rate="500/s"),  # limit and rate hold over all processes
    "compress": engine.task("compress", limit=1),
}
unfinished = engine.tasks.where(phase=["scheduled", "ready", "running"])

if who != "orchestrator":
    while unfinished:
        for labourer in (resize, digest, compress):
            for claim in engine.claim(labourer.__name__, n=5):  # as many as there are and the limit allows
                with suppress(taskcore.LeaseLost):  # too late: it is somebody else's by now, and nothing is changed
                    claim.extend(LEASE)  # it may have waited for the others of its five
                    if claim.task.kwargs == {"picture": "huge.raw"} and labourer is compress and not claim.task.lapses:
                        os._exit(9)  # as if killed, the first time: no report, no clean-up
                    try:
                        claim.succeed(labourer(**claim.task.kwargs))
                    except Exception as error:
                        claim.fail(error)
        time.sleep(0.01)
    sys.exit()

pictures = [*(f"{n:02}.raw" for n in range(40)), "huge.raw", "late.raw", "broken.raw"]
for picture in pictures:
    if picture != "late.raw":
        Path(picture).write_bytes(random.Random(picture).randbytes(99 if picture == "broken.raw" else SIZE * SIZE))
with engine.transaction():  # with keys: an orchestrator that is started again finds its tasks, and adds none
    for name, queue in queues.items():
        tasks = {picture: queue.options(key=picture).submit(picture=picture) for picture in pictures}
        if name != "resize":
            tasks["late.raw"].resume() if Path("late.raw").exists() else tasks["late.raw"].pause()
print("queued:", ", ".join(f"{len(engine.tasks.where(name=name, phase='ready'))} {name}" for name in queues))

workers, late = [], engine.tasks.where(key="late.raw")
late.where(phase="failed").rerun()  # its last attempt may have been while no orchestrator looked
while unfinished:
    if not Path("late.raw").exists() and late.where(name="resize").first().failures:
        engine.limits["name:resize"] = 1  # for every worker, from its next claim on
        Path("late.raw").write_bytes(bytes(SIZE * SIZE))
        print(f"resize fails: one at a time from now on; a picture came late, and lets {late.resume()} more begin")
    for name in {"ant", "bee"} - {worker.args[-1] for worker in workers if worker.poll() is None}:
        workers.append(subprocess.Popen([sys.executable, __file__, name]))  # also in the place of one that died
    time.sleep(0.05)
print("workers killed:", sum(worker.wait() != 0 for worker in workers))

for name, picture in (("compress", "huge.raw"), ("resize", "late.raw"), ("resize", "broken.raw")):
    task = engine.tasks.where(name=name, key=picture).first()
    outcomes = ", ".join(attempt.outcome for attempt in engine.future(task.id).history())
    print(f"  {name:<8}  {picture:<10}  {outcomes:<22}  {task.last_error or 'all is well'}")
print("  queue     succeeded  failed  attempts  failures  lapses  limit")
for name in queues:
    tasks, counts = list(engine.tasks.where(name=name)), engine.tasks.where(name=name).counts()
    sums = (sum(getattr(task, what) for task in tasks) for what in ("attempts", "failures", "lapses"))
    columns = counts["succeeded"], counts.get("failed", 0), *sums, engine.limits[f"name:{name}"]
    print("  {:<8}  {:>9}  {:>6}  {:>8}  {:>8}  {:>6}  {:>5}".format(name, *columns))

# Output:
# queued: 43 resize, 42 digest, 42 compress
# resize fails: one at a time from now on; a picture came late, and lets 2 more begin
# workers killed: 1
#   compress  huge.raw    lapsed, succeeded       all is well
#   resize    late.raw    failed, succeeded       all is well
#   resize    broken.raw  failed, failed, failed  ValueError: 99 bytes are no picture
#   queue     succeeded  failed  attempts  failures  lapses  limit
#   resize           42       1        46         4       0      1
#   digest           43       0        43         0       0      8
#   compress         43       0        44         0       1      1

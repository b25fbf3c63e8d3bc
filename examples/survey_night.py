"""A night of observations: it finds its frames while it runs, a person approves it, and it may be killed at any time.

    python examples/survey_night.py --die-after 5       # dies by SIGKILL in the middle of the sixth frame ...
    python examples/survey_night.py                     # ... and goes on with that one, then waits for a person
    python examples/survey_night.py look                # in a second terminal: what is the night doing?
    python examples/survey_night.py approve --by Ada    # there too; the first one writes the catalogue and ends

Only the sky is made up. Stars are found in noisy frames, and a field with a new star is exposed twice again.
"""

import argparse
import logging
import math
import os
import random
import signal
import sys
from itertools import count, product, repeat
from pathlib import Path
from statistics import fmean, stdev

sys.path.append(str(Path(__file__).resolve().parents[1]))  # a clone works without being installed

import taskcore

arguments = argparse.ArgumentParser(description="Look for new stars in six fields.")
arguments.add_argument("what", nargs="?", default="observe", choices=("observe", "look", "approve"))
arguments.add_argument("--by", default="somebody", help="who approves")
arguments.add_argument("--die-after", type=int, metavar="N", help="die by SIGKILL when N frames were reduced")
options = arguments.parse_args()

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)  # each task keeps its lines, too
engine = taskcore.Engine("night.db", workers=1 if options.what == "observe" else 0)  # 0: looks and sends, runs nothing
begun, SIZE = count(), 300


def sky(field: int) -> list[tuple[float, float, float]]:
    """x, y and height of the stars there are. The last one of field 2 and of field 4 is new."""
    place = random.Random(field).uniform
    return [(place(9, SIZE - 9), place(9, SIZE - 9), place(90, 900)) for _ in range(12)]


def expose(field: int, exposure: int, stars: list[tuple[float, float, float]]) -> dict[tuple[int, int], float]:
    """A frame, as pixel → counts: an offset, noise, and the light of the stars."""
    noise = random.Random(f"{field} {exposure}")
    frame = {pixel: noise.gauss(100, 5) for pixel in product(range(SIZE), repeat=2)}
    for x, y, height in stars:
        for pixel in product(range(round(x) - 7, round(x) + 8), range(round(y) - 7, round(y) + 8)):
            frame[pixel] += height * math.exp(-(math.dist((x, y), pixel) ** 2) / 4)
    return frame


def calibrate() -> tuple[float, float]:
    """The offset and the noise of a pixel, from a frame with the shutter closed."""
    dark = expose(0, 0, []).values()
    logging.info("calibrated: offset %.1f, noise %.1f", fmean(dark), stdev(dark))
    return fmean(dark), stdev(dark)


@engine.task
def reduce(field: int, exposure: int, offset: float, noise: float) -> list[tuple[float, float, bool]]:
    """Where the stars of a frame are, and which are new. A star is neighbouring pixels far above the noise."""
    frame, found = expose(field, exposure, sky(field)), []
    bright = {pixel: counts - offset for pixel, counts in frame.items() if counts > offset + 5 * noise}
    while bright:
        star, edge = {}, [next(iter(bright))]
        while edge:
            x, y = pixel = edge.pop()
            if pixel in bright:
                star[pixel] = bright.pop(pixel)
                edge += (x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)
        if len(star) > 2:
            x, y = (sum(pixel[i] * light for pixel, light in star.items()) / sum(star.values()) for i in (0, 1))
            known = sky(field)[: -1 if field in (2, 4) else None]
            found.append((round(x, 1), round(y, 1), all(math.dist((x, y), other[:2]) > 3 for other in known)))
    if next(begun) == options.die_after:
        os.kill(os.getpid(), signal.SIGKILL)
    logging.info("field %d, exposure %d: %d stars", field, exposure, len(found))
    return found


@engine.task
def night(fields: int) -> str:
    """Runs from the top each time it goes on, and passes what it has behind it: steps, frames, the approval."""
    run, stars = taskcore.current(), []
    offset, noise = run.step("calibrate", calibrate)
    frames = [(field, 1) for field in range(fields)]
    while frames:  # each a task of its own; meanwhile this one has no thread
        run.message(f"{len(frames)} frames in work")
        found = run.gather(reduce, *zip(*frames, strict=True), repeat(offset), repeat(noise))
        stars += [(*frame, *star) for frame, stars in zip(frames, found, strict=True) for star in stars]
        frames = [(field, n + 1) for field, n, *_, new in stars if new and n < 3 and n == frames[0][1]]
    run.message(f"{len(stars)} positions wait for somebody to approve")
    run.step("ask", logging.info, "waiting for: python examples/survey_night.py approve")
    who = run.wait_for("approve")
    run.transact("publish", publish, stars, who)
    return f"published {len(stars)} positions, approved by {who}"


def publish(db, stars, who):  # a table of yours in the same file, written exactly once
    db.execute("CREATE TABLE catalogue (field, exposure, x, y, new, approved_by)")
    db.executemany("INSERT INTO catalogue VALUES (?, ?, ?, ?, ?, ?)", [(*star, who) for star in stars])


tonight = night.options(key="tonight").submit(6)  # of this key there is one, however often it is submitted
if options.what == "look":
    task = tonight.snapshot()
    print(f"night: {task.phase}, waiting for {task.waiting_for}: {task.message}")
    for step in tonight.steps():
        print(f"step {step.name}: {step.result}")
    for line in tonight.log():
        print(f"log: {line.text}")
elif options.what == "approve":
    tonight.signal("approve", options.by)
else:
    with engine:
        print(tonight.result())
        with engine.transaction() as db:
            for row in db.execute("SELECT field, count(*), avg(x), avg(y) FROM catalogue WHERE new GROUP BY field"):
                print("field {}: a new star in {} exposures, at {:.1f}, {:.1f}".format(*row))
        frames = list(engine.tasks.where(name="reduce"))
        print(f"frames: {len(frames)}, cut off by a kill and begun again: {sum(task.lapses for task in frames)}")
        print(f"reduced twice: {sum(task.attempts - task.lapses > 1 for task in frames)}")

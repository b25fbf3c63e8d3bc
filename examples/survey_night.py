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
from itertools import chain, count, product, repeat
from statistics import fmean, stdev

sys.path.append(os.path.abspath(f"{__file__}/../.."))  # a clone works without being installed

import taskcore

arguments = argparse.ArgumentParser(description="Look for new stars in six fields.")
arguments.add_argument("what", nargs="?", default="observe", choices=("observe", "look", "approve"))
arguments.add_argument("--by", default="somebody", help="who approves")
arguments.add_argument("--die-after", type=int, metavar="N", help="die by SIGKILL when N frames were reduced")
options = arguments.parse_args()

logging.basicConfig(format="%(message)s", level="INFO", stream=sys.stdout)
logging.getLogger("taskcore").setLevel(logging.WARNING)  # of its own, not the end of each task
log = logging.getLogger("night")  # what a body logs is kept with its task, too
engine = taskcore.Engine("night.db", workers=1 if options.what == "observe" else 0)  # 0: looks and tells, runs nothing
begun = count()
place = random.Random("sky").uniform
SKY = [[(place(9, 290), place(9, 290), place(90, 900)) for star in range(9)] for field in range(6)]  # x, y, brightness
ATLAS = [stars[:-1] if field in (2, 4) else stars for field, stars in enumerate(SKY)]  # two of the stars are new


def expose(name, stars):
    """A frame, as pixel → counts: an offset, noise, and the light of the stars."""
    noise = random.Random(str(name))
    frame = {pixel: noise.gauss(100, 5) for pixel in product(range(300), repeat=2)}
    for x, y, brightness in stars:
        for pixel in product(range(round(x) - 7, round(x) + 8), range(round(y) - 7, round(y) + 8)):
            frame[pixel] += brightness * math.exp(-(math.dist((x, y), pixel) ** 2) / 4)
    return frame


def calibrate():
    """The offset and the noise of a pixel, from a frame in the dark."""
    dark = expose("dark", []).values()
    offset, noise = fmean(dark), stdev(dark)
    log.info("calibrated: offset %.1f, noise %.1f", offset, noise)
    return offset, noise


@engine.task
def reduce(frame, dark):
    """The stars of a frame, as (field, exposure, x, y, is it new): the centres of what is far above the noise."""
    (field, exposure), (offset, noise), stars = frame, dark, []
    light = {pixel: counts - offset for pixel, counts in expose(frame, SKY[field]).items()}
    for i, j in [pixel for pixel in light if light[pixel] > 10 * noise]:
        star = {pixel: light[pixel] for pixel in product(range(i - 3, i + 4), range(j - 3, j + 4))}
        if light[i, j] == max(star.values()):
            x, y = (sum(pixel[axis] * star[pixel] for pixel in star) / sum(star.values()) for axis in (0, 1))
            stars.append((field, exposure, x, y, all(math.dist((x, y), known[:2]) > 2 for known in ATLAS[field])))
    if next(begun) == options.die_after:
        os.kill(os.getpid(), signal.SIGKILL)
    log.info("field %d, exposure %d: %d stars", field, exposure, len(stars))
    return stars


@engine.task
def night(fields):
    """Runs from the top each time it goes on, and passes what it has behind it: steps, frames, the approval."""
    run, catalogue = taskcore.current(), []
    dark = run.step("calibrate", calibrate)  # never repeated
    frames = [(field, 1) for field in range(fields)]
    while frames:
        run.message(f"{len(frames)} frames in work")  # each is a task of its own; this one has no thread meanwhile
        stars = list(chain(*run.gather(reduce, frames, repeat(dark))))
        catalogue += stars
        frames = [(field, exposure + 1) for field, exposure, x, y, new in stars if new and exposure < 3]
    run.message(f"{len(catalogue)} positions wait for somebody to approve them")
    run.step("ask", log.info, "waiting for: python examples/survey_night.py approve")
    who = run.wait_for("approve")
    run.transact("publish", publish, catalogue, who)  # exactly once
    return f"{len(catalogue)} positions published, approved by {who}"


def publish(db, catalogue, who):
    """Into a table of ours, in the same file."""
    db.execute("CREATE TABLE star (field, exposure, x, y, new, approved_by)")
    db.executemany("INSERT INTO star VALUES (?, ?, ?, ?, ?, ?)", [(*star, who) for star in catalogue])


tonight = night.options(key="tonight").submit(len(SKY))  # of this key there is one, however often it is submitted
if options.what == "approve":
    print("approved" if tonight.signal("approve", options.by) else "the night is over")
elif options.what == "look":
    task = tonight.snapshot()
    print(f"night: {task.phase}, waiting for {task.waiting_for}: {task.message}")
    print("steps:", *(step.name for step in tonight.steps()))
    print("log:", *(line.text for line in tonight.log()), sep="\n  ")
else:
    with engine:
        print(tonight.result())
        with engine.transaction() as db:
            for row in db.execute("SELECT field, count(*), avg(x), avg(y) FROM star WHERE new GROUP BY field"):
                print("field {}: a new star in {} exposures, at {:.1f}, {:.1f}".format(*row))
        frames = engine.tasks.where(name="reduce")
        print(f"frames: {len(frames)}, begun: {sum(frame.attempts for frame in frames)}")

# Output:
# $ python examples/survey_night.py --die-after 5
# calibrated: offset 100.0, noise 5.0
# field 0, exposure 1: 9 stars
# field 1, exposure 1: 9 stars
# field 2, exposure 1: 9 stars
# field 3, exposure 1: 9 stars
# field 4, exposure 1: 9 stars
# $ python examples/survey_night.py
# field 5, exposure 1: 9 stars
# field 2, exposure 2: 9 stars
# field 4, exposure 2: 9 stars
# field 2, exposure 3: 9 stars
# field 4, exposure 3: 9 stars
# waiting for: python examples/survey_night.py approve
# 90 positions published, approved by Ada
# field 2: a new star in 3 exposures, at 162.9, 187.1
# field 4: a new star in 3 exposures, at 261.8, 174.6
# frames: 10, begun: 11
#
# meanwhile, in a second terminal:
# $ python examples/survey_night.py look
# night: suspended, waiting for signal approve: 90 positions wait for somebody to approve them
# steps: calibrate ask
# log:
#   calibrated: offset 100.0, noise 5.0
#   waiting for: python examples/survey_night.py approve
# $ python examples/survey_night.py approve --by Ada
# approved

"""Transients and the galaxies they are in: seven tasks for each of forty, wired by what the task before found.

    python examples/blast_transients.py

An archive has not all images yet, one image is broken, some transients have no galaxy, and a fit does not end. The next
morning the fit is mended, and somebody has invented an eighth task. Only the sky is made up.
"""

import logging
import math
import os
import random
import sys
import time
from concurrent.futures import wait
from itertools import compress, islice, product

sys.path.append(os.path.abspath(f"{__file__}/../.."))  # a clone works without being installed

import taskcore
from taskcore import Done

logging.getLogger("taskcore").setLevel(logging.ERROR)  # what fails here is meant to, and is printed below

STATUSES = {"processed": "succeeded", "no host": "succeeded", "no image": "failed"}  # our words, each with its phase
engine = taskcore.Engine("transients.db", statuses=STATUSES)
transients = engine.pipeline("transient")
announced = iter([f"2020{a}{b}{c}" for a in "vwxyz" for b in "ay" for c in "akmz"])  # by the telescopes
archive, fit = {"complete": False}, {"step": 1.0}
PIXELS = list(product(range(-12, 13), repeat=2))


@transients.task(failed_status="no image", max_attempts=2, backoff=taskcore.constant(0.05))
def cutout(name):
    """The sky around it in green and red light, pixel by pixel: noise, and mostly a galaxy."""
    sky = random.Random(name)
    if sky.random() < 0.15 and not archive["complete"]:
        raise taskcore.Snooze(0.5)  # try later: no attempt is spent
    if name == "2020yak":
        raise ValueError("the image has no pixels")
    x, y, size, light, red = (sky.uniform(*span) for span in ((-4, 4), (-4, 4), (1.5, 3), (-150, 900), (0.5, 5)))
    galaxy = [max(light, 0) * math.exp(-(math.dist((x, y), pixel) ** 2) / 2 / size**2) for pixel in PIXELS]
    return Done({band: [sky.gauss(k * g, 9) for g in galaxy] for band, k in (("green", 1), ("red", red))}, "processed")


@transients.task(needs={"cutout": "processed"})
def host_match(name):
    """Where the galaxy is: the brightest pixel, if that is not noise."""
    light, place = max(zip(found("cutout", name)["red"], PIXELS, strict=True))
    return Done(place, "processed" if light > 60 else "no host")


@transients.task
def extinction(name):
    """How much light the dust of our own galaxy takes: by the place in the sky."""
    latitude = math.radians(random.Random(name).uniform(15, 90))
    return Done({"green": 0.12 / math.sin(latitude), "red": 0.08 / math.sin(latitude)}, "processed")


@transients.task(needs={"host_match": "processed"})
def redshift(name):
    return Done(random.Random(name).uniform(0.01, 0.2), "processed")  # a catalogue would know


@transients.task(needs={"host_match": "processed"})
def aperture(name):
    """The radius within which the galaxy is brighter than the noise."""
    place, light = found("host_match", name), found("cutout", name)["red"]
    bright = compress(PIXELS, (counts > 40 for counts in light))
    return Done(max(math.dist(place, pixel) for pixel in bright), "processed")


@transients.task(needs={"aperture": "processed", "extinction": "processed"})
def photometry(name):
    """The light in the aperture, without what the dust did to it."""
    place, radius, dust = (found(step, name) for step in ("host_match", "aperture", "extinction"))
    inside = [math.dist(place, pixel) <= radius for pixel in PIXELS]
    bands = found("cutout", name).items()
    return Done({band: sum(compress(light, inside)) * 10 ** (0.4 * dust[band]) for band, light in bands}, "processed")


@transients.task(needs={"photometry": "processed", "redshift": "processed"}, timeout=0.6)
def sed_fit(name):
    """The age, in billions of years, at which stars have this colour."""
    light, age = found("photometry", name), 1.0
    colour = light["red"] / light["green"] / (1 + found("redshift", name))
    while abs(error := colour - age**2 / 4) > 1e-6:
        taskcore.current().check()  # out of time: stop here
        age += fit["step"] * error
    return Done(age, "processed")


@engine.every(0.05)
def ingest():
    """Without a subject of its own: looks for what is new, and starts it."""
    return [transients.start(name).id for name in islice(announced, 10)]


def found(step, name):
    """What a step of this transient gave."""
    return engine.tasks.where(name=f"transient.{step}", key=name).first().result


def table(title):
    print(title)
    for step in transients.status("2020xyz"):
        counts = engine.tasks.where(name=f"transient.{step}").counts()
        print(f"  {step:<10}  {', '.join(f'{number} {status}' for status, number in sorted(counts.items()))}")


engine.start()
while len(engine.tasks.where(name="transient")) < 40:
    time.sleep(0.01)
engine.schedules["ingest"].disable()  # until somebody enables it again, in a later run of this program too
engine.run()
table("in the night:")

archive["complete"], fit["step"] = True, 0.5  # the rest arrived, and the fit is mended


@transients.task(needs={"sed_fit": "processed", "host_match": "processed"})
def classify(name):
    return Done("old" if found("sed_fit", name) > 3 else "young", "processed")


jobs = [transients.start(task.key) for task in engine.tasks.where(name="transient")]  # adds the new task, only that
again = engine.tasks.where(name="transient.sed_fit", phase="failed").rerun(downstream=True)
wait(jobs)
table(f"in the morning, {again} tasks begun again:")
print("2020xyz:", found("classify", "2020xyz"), transients.status("2020xyz")["classify"])
(lonely,) = engine.tasks.where(name="transient.aperture", key="2020vak")
print("2020vak:", transients.status("2020vak")["host_match"], "and", engine.future(lonely).explain())

# Output:
# in the night:
#   cutout      1 no image, 33 processed, 6 scheduled
#   host_match  5 no host, 28 processed, 1 skipped, 6 waiting
#   extinction  40 processed
#   redshift    28 processed, 6 skipped, 6 waiting
#   aperture    28 processed, 6 skipped, 6 waiting
#   photometry  28 processed, 6 skipped, 6 waiting
#   sed_fit     1 failed, 27 processed, 6 skipped, 6 waiting
# in the morning, 2 tasks begun again:
#   cutout      1 no image, 39 processed
#   host_match  6 no host, 33 processed, 1 skipped
#   extinction  40 processed
#   redshift    33 processed, 7 skipped
#   aperture    33 processed, 7 skipped
#   photometry  33 processed, 7 skipped
#   sed_fit     33 processed, 7 skipped
#   classify    33 processed, 7 skipped
# 2020xyz: young processed
# 2020vak: no host and skipped because #12 ended as 'no host', not 'processed'

"""An autonomous laboratory: a robot mixes powders, two furnaces heat them, an arm brings them to be measured, and a
person is asked what is worth making more of.

    python examples/alab_furnace.py

What the hardware does takes a few hundredths of a second here, an hour of heat is one of them; the patterns that are
measured are made up, and looked at in earnest. Killed at any point and run again, it goes on.
"""

import logging
import math
import os
import random
import sys
import threading
import time

sys.path.append(os.path.abspath(f"{__file__}/../.."))  # a clone works without being installed

import taskcore

logging.getLogger("taskcore").setLevel(logging.ERROR)  # what fails here is meant to, and is printed below

DEVICES = {"furnace": 2, "arm": 1}  # how many there are, for all who work on this file
WORDS = {"heating": "running", "cracked": "failed"}  # this laboratory's own, each with its phase
lab = taskcore.Engine("lab.db", limits=DEVICES, statuses=WORDS)
mix = lab.task("mix")  # no body here: whoever claims it does it


@lab.task(uses={"furnace": 1}, failed_status="cracked")
def heat(sample, celsius, hours):
    """Begins when a furnace is free, and stops when somebody cancels."""
    run = taskcore.current()
    run.set_status("heating")
    for hour in range(hours):
        time.sleep(0.01)
        run.save(hours=hour + 1)  # stays, however this ends
        run.check()
    if celsius > 1150:
        raise RuntimeError(f"the crucible does not stand {celsius} °C")
    return {"celsius": celsius}


@lab.task(uses={"arm": 1})
def measure(sample, heated):
    """How much of a sample is what was wanted: the light in its lines, over that in all lines."""
    noise, made = random.Random(sample), 1 / (1 + math.exp((900 - heated["celsius"]) / 40))
    lines = {18.9: made, 37.4: made / 2, 45.2: made / 3, 21.3: 1 - made, 31.6: (1 - made) / 2}  # at degrees: how strong
    light = {"wanted": 0.0, "other": 0.0}
    for angle in (step / 50 for step in range(750, 2500)):
        counts = sum(900 * lines[line] * math.exp(-(((angle - line) / 0.2) ** 2)) for line in lines) + noise.gauss(0, 3)
        line = min(lines, key=lambda line: abs(angle - line))
        if abs(angle - line) < 0.6:
            light["wanted" if line in (18.9, 37.4, 45.2) else "other"] += counts
    return sample, light["wanted"] / (light["wanted"] + light["other"])


@lab.task(otherwise="drop")  # a sample that was lost is left out of the list
def report(measured):
    """Waits for a person without a thread, for days if need be."""
    run, (best, purity) = taskcore.current(), max(measured, key=lambda each: each[1])
    run.message(f"{len(measured)} samples came through, and {best} is {purity:.0%} pure. More of it?")
    return f"{best}: {run.wait_for('answer')}"


def experiment(name, hours, samples):
    """A job, submitted once: with the keys, the next run of this program gets the same tasks again."""
    with lab.job(name, key=name, failures="ignore") as job:
        measured = []
        for sample, celsius in samples.items():
            about = {"key": sample, "tags": [sample]}
            mixed = mix.options(**about).submit(sample)
            heated = heat.options(**about, after=mixed).submit(sample, celsius, hours)
            measured.append(measure.options(**about).submit(sample, heated))  # waits for what is among its arguments
        return job, report.options(key=name).submit(measured)


def robot():
    """As a program of its own would: it knows the file and the name of what it can do."""
    with taskcore.Engine("lab.db", workers=0) as elsewhere:
        while not over.wait(0.01):
            for claim in elsewhere.claim("mix", lease=5, worker="robot"):
                time.sleep(0.02)
                claim.succeed({"grams": 2.5})


def until(condition):
    while not condition():
        time.sleep(0.01)


nitrides, _ = experiment("nitrides", hours=1000, samples={"N1": 1000, "N2": 1050})
oxides, asks = experiment("oxides", hours=8, samples={"O1": 880, "O2": 930, "O3": 1200, "O4": 990})
lab.start()
over = threading.Event()
mixing = threading.Thread(target=robot, daemon=True)
mixing.start()

waits = lab.future(lab.tasks.where(tag="O1", name="heat").first())
heating = lab.tasks.where(status="heating", parent=nitrides)
until(lambda: nitrides.done() or (len(heating) == 2 and waits.snapshot().phase != "waiting"))
if not nitrides.done():
    print("O1:", waits.explain())
    nitrides.cancel("no ammonia left")
until(nitrides.done)
print("nitrides:", nitrides.snapshot().status)

until(lambda: asks.done() or asks.snapshot().waiting_for == "signal answer")
print("oxides:", asks.snapshot().message)
asks.signal("answer", "twenty grams, please")
print("the answer:", asks.result())
print("oxides:", oxides.result())
over.set()
mixing.join()

for task in lab.tasks.where(name="measure"):
    mixed, heated, measured = lab.tasks.where(tag=task.tags[0])
    purity = f"{measured.result[1]:.0%} pure" if measured.result else heated.last_error
    print(f"  {task.tags[0]}  mixed by {mixed.worker}  {heated.status} after {heated.result['hours']} h  {purity}")

# Output:
# O1: ready, but 'furnace' is held by #3, #6 (2 of 2)
# nitrides: cancelled
# oxides: 3 samples came through, and O4 is 92% pure. More of it?
# the answer: O4: twenty grams, please
# oxides: {'cracked': 1, 'skipped': 1, 'succeeded': 11}
#   N1  mixed by robot  cancelled after 2 h  no ammonia left
#   N2  mixed by robot  cancelled after 1 h  no ammonia left
#   O1  mixed by robot  succeeded after 8 h  43% pure
#   O2  mixed by robot  succeeded after 8 h  72% pure
#   O3  mixed by robot  cracked after 8 h  RuntimeError: the crucible does not stand 1200 °C
#   O4  mixed by robot  succeeded after 8 h  92% pure

"""A render farm, as in PyFarm: 240 frames ray-traced to PNG files by two agents, and a contact sheet of them all.

    python examples/pyfarm_frames.py                  # the desk: submits, pauses, looks, reruns; starts two agents
    python examples/pyfarm_frames.py farm-3 studio    # one more, with this light, in another terminal, until Ctrl-D

Each agent reads lights from a disk of its own. One disk lacks a light that two frames need, and both lack another.
"""

import logging
import math
import os
import struct
import sys
import time
import zlib
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from subprocess import PIPE, Popen

sys.path.append(os.path.abspath(f"{__file__}/../.."))  # a clone works without being installed

import taskcore

logging.getLogger("taskcore").setLevel(logging.ERROR)  # what fails here is meant to, and is printed below

FRAMES, WIDTH, HEIGHT, COLUMNS = 240, 40, 30, 20
LIGHTS = {"studio": "-0.6 0.7 -0.4", "dusk": "-0.9 0.2 -0.4", "noon": "0.1 0.99 -0.1"}  # where it comes from
LIGHT_OF = {30: "dusk", 60: "dusk", 90: "noon"}
agent = sys.argv[1] if len(sys.argv) > 1 else None
engine = taskcore.Engine("farm.db", name=agent or "desk", workers=1 if agent else 0)  # 0: it only submits and looks


def png(width, rows):
    size = struct.pack(">2L5B", width, len(rows), 8, 2, 0, 0, 0)
    parts = [b"IHDR" + size, b"IDAT" + zlib.compress(b"".join(rows)), b"IEND"]
    chunks = (struct.pack(">L", len(part) - 4) + part + struct.pack(">L", zlib.crc32(part)) for part in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def colour(x, y, turn, light):
    """Of the ray through this point of the picture, from (0, 0.5, -3): a chequered ball, a floor, or the sky."""
    size = math.sqrt(x * x + y * y + 2.25)
    dx, dy, dz = x / size, y / size, 1.5 / size
    b = 0.5 * dy - 3 * dz
    if b * b > 8.25:
        t = -b - math.sqrt(b * b - 8.25)
        px, py, pz = t * dx, 0.5 + t * dy, t * dz - 3
        shade = max(0.15, px * light[0] + py * light[1] + pz * light[2])
        tile = math.floor((math.atan2(pz, px) + turn) * 1.91) + math.floor(py * 3)
        return [round(shade * part) for part in ((230, 90, 40) if tile % 2 else (250, 240, 220))]
    if dy < -0.01:
        px, pz, cos, sin = -1.5 / dy * dx, -1.5 / dy * dz - 3, math.cos(turn), math.sin(turn)
        tile = math.floor(px * cos - pz * sin) + math.floor(px * sin + pz * cos)
        return (70, 90, 70) if tile % 2 else (110, 130, 110)
    return (120, 160, round(200 + 50 * dy))


@engine.task(max_attempts=2, backoff=taskcore.constant(0), avoid_failed_worker=True)
def render(frame, light):
    towards = [float(part) for part in Path(taskcore.current().task.worker, f"{light}.txt").read_text().split()]
    turn, rows = 2 * math.pi * frame / FRAMES, []
    for y in (0.75 - 1.5 * j / HEIGHT for j in range(HEIGHT)):
        rows.append(bytes([0, *(c for i in range(WIDTH) for c in colour(2 * i / WIDTH - 1, y, turn, towards))]))
    return Path(f"frames/{frame:03}.png").write_bytes(png(WIDTH, rows))


@engine.task
def contact_sheet(frames):
    """It reads each frame's file, so it fails if one is missing."""
    data = [zlib.decompress(Path(f"frames/{frame:03}.png").read_bytes()[41:-16]) for frame in range(frames)]
    rows, row = [], 1 + 3 * WIDTH  # a row begins with a byte that says how it is packed
    for first, at in product(range(0, frames, COLUMNS), range(0, HEIGHT * row, row)):
        rows.append(b"\0" + b"".join(one[at + 1 : at + row] for one in data[first : first + COLUMNS]))
    Path("sheet.png").write_bytes(png(COLUMNS * WIDTH, rows))
    return f"sheet.png: {frames} frames, {COLUMNS * WIDTH} by {len(rows)} points"


def until(condition):
    """Starts agents, again if one died. They end with the desk, which holds the other end of their stdin."""
    while not condition():
        for name in disks.keys() - {name for name in running if running[name].poll() is None}:
            running[name] = agents.enter_context(Popen([sys.executable, __file__, name, *disks[name]], stdin=PIPE))
        time.sleep(0.02)


os.makedirs(agent or "frames", exist_ok=True)
if agent:
    for light in sys.argv[2:]:
        Path(agent, f"{light}.txt").write_text(LIGHTS[light])
    engine.start()
    sys.stdin.read()
    engine.close()
    sys.exit()

with engine.job("turntable", key="turntable") as shot:  # of a key there is one: a desk that died takes up its job again
    for frame in range(FRAMES):
        light = LIGHT_OF.get(frame, "studio")
        render.options(key=str(frame), tags=[light]).submit(frame, light)
with engine.job("proof", key="proof", after={shot: ("succeeded", "wait")}) as proof:
    sheet = contact_sheet.options(key="turntable").submit(FRAMES)
frames = engine.tasks.where(parent=shot)
disks, running = {"farm-1": ["studio"]}, {}
with ExitStack() as agents:
    until(lambda: len(frames.where(phase="succeeded")) >= 100)
    shot.pause()  # a frame that is being rendered is finished, and no other begins
    print(f"paused with {len(frames.where(phase='succeeded'))} of {FRAMES} frames, the second agent comes")
    disks["farm-2"] = ["studio", "dusk"]
    shot.resume()
    until(shot.done)
    for task in frames.where(tag=["dusk", "noon"]):
        tried = ", ".join(f"{attempt.outcome} on {attempt.worker}" for attempt in engine.future(task).history())
        print(f"frame {task.args[0]}, {task.tags[0]}: {tried}")
    print("turntable:", shot.exception() or "all is well")
    print("contact sheet:", proof.explain())
    for disk in disks:
        Path(disk, "noon.txt").write_text(LIGHTS["noon"])
    print("the light is there now; frames to be rendered again:", frames.where(phase="failed").rerun())
    until(sheet.done)
    print(sheet.result())
    by = ", ".join(f"{len(frames.where(worker=name))} by {name}" for name in disks)
    print(f"rendered: {by}; attempts: {sum(task.attempts for task in frames)}")

# Output:
# paused with 101 of 240 frames, the second agent comes
# frame 30, dusk: failed on farm-1, succeeded on farm-2
# frame 60, dusk: failed on farm-1, succeeded on farm-2
# frame 90, noon: failed on farm-1, failed on farm-2
# turntable: task #1 is failed: 1 of 240 children failed (engine.future(1).rerun() runs it again)
# contact sheet: waiting for 1 of 1: #1 failed, and only another run can change that
# the light is there now; frames to be rendered again: 1
# sheet.png: 240 frames, 800 by 360 points
# rendered: 217 by farm-1, 23 by farm-2; attempts: 244

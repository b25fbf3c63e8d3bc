"""A window over work that goes on: a picture is computed in strips; close it at any time, and start it again.

    python examples/desktop.py        # closing the window waits for nothing, and the next start goes on where it was

    pip install pyinstaller           # the same as one file, for somebody who has no Python:
    pyinstaller --onefile --windowed --paths . --collect-submodules taskcore examples/desktop.py && dist/desktop

Only the picture is made up (the Mandelbrot set, in plain Python). Bodies run in threads, everything of Tk in its own:
`on_change(…, via=root.after_idle)` brings what moved there, at most 20 times a second.
"""

import collections
import colorsys
import logging
import os
import sys
import tkinter
from tkinter import ttk

sys.path.append(os.path.abspath(f"{__file__}/../.."))  # a clone works without being installed

import taskcore

WIDTH, HEIGHT, ROWS, DEPTH = 600, 400, 4, 250
CENTRE, PIXEL = complex(-0.7445, 0.1214), 0.00003
LINES = 500  # of the log, that the window keeps
logged = collections.deque(maxlen=LINES)

engine = taskcore.Engine("picture.db", workers=2)


@engine.task(key=True, key_scope="succeeded")
def strip(top):
    """How long each point of some rows stays near the origin; one number a pixel."""
    run, depths = taskcore.current(), bytearray()
    for y in range(top, top + ROWS):
        run.check()  # cancelled, or the window was closed: this is where it stops
        for x in range(WIDTH):
            z, n = 0j, 0
            c = CENTRE + PIXEL * complex(x - WIDTH // 2, HEIGHT // 2 - y)
            while n < DEPTH and abs(z) < 2:
                z, n = z * z + c, n + 1
            depths.append(n)
    return bytes(depths)


def colour(depth):
    light = (depth / DEPTH) ** 0.5
    rgb = colorsys.hsv_to_rgb(0.65 - 0.55 * light, 0.8 - 0.4 * light, (depth < DEPTH) * min(1.0, 0.1 + 1.4 * light))
    return "#" + bytes(round(255 * part) for part in rgb).hex()


COLOURS = [colour(depth) for depth in range(DEPTH + 1)]


class Lines(logging.Handler):
    """Keeps what is logged, in whatever thread, until the window takes it."""

    def emit(self, record):
        logged.append(self.format(record))


class Window:
    def __init__(self):
        self.root = root = tkinter.Tk()
        root.title("A picture in strips")
        root.protocol("WM_DELETE_WINDOW", self.close)
        style = ttk.Style()
        style.theme_use("clam")
        style.configure(".", background="#f4f3ef")
        style.configure("TProgressbar", background="#2f6fd0", troughcolor="#e2e0d8", bordercolor="#e2e0d8")
        frame = ttk.Frame(root, padding=12)
        frame.pack(fill="both", expand=True)
        self.picture = tkinter.PhotoImage(width=WIDTH, height=HEIGHT)
        self.picture.put("#e2e0d8", to=(0, 0, WIDTH, HEIGHT))
        ttk.Label(frame, image=self.picture).pack()
        self.done = ttk.Progressbar(frame)
        self.done.pack(fill="x", pady=(12, 2))
        self.said = ttk.Label(frame)
        self.said.pack(anchor="w")
        buttons = ttk.Frame(frame, padding=(0, 8))
        buttons.pack(fill="x")
        self.start = self.button(buttons, "Start", self.submit)
        self.hold = self.button(buttons, "Pause", self.pause)
        self.stop = self.button(buttons, "Cancel", engine.tasks.where(name="strip").cancel)
        log = ttk.Frame(frame)
        log.pack(fill="both", expand=True)
        self.log = tkinter.Text(log, height=8, width=1, state="disabled", relief="flat", padx=6)
        bar = ttk.Scrollbar(log, command=self.log.yview)
        self.log.configure(yscrollcommand=bar.set)
        bar.pack(side="right", fill="y")
        self.log.pack(side="left", fill="both", expand=True)

        self.end = engine.on_change(self.show, via=root.after_idle)  # before the first look: nothing falls in between
        self.show(taskcore.Change(frozenset(), True, engine.tasks.counts()))
        self.take_lines()
        engine.start()  # goes on with what is in the file

    def button(self, frame, text, command):
        made = ttk.Button(frame, text=text, command=command)
        made.pack(side="left", padx=(0, 8))
        return made

    def show(self, change):
        """Paint what is new, and say how far it is. Called in the thread of the window."""
        new = engine.tasks if change.more else engine.tasks.where(ids=change.ids)
        for task in new.where(name="strip", phase="succeeded"):
            rows = (task.result[n * WIDTH : (n + 1) * WIDTH] for n in range(ROWS))
            self.picture.put(" ".join(f"{{{' '.join(COLOURS[n] for n in row)}}}" for row in rows), to=(0, *task.args))
        counts = collections.Counter(change.counts)
        of, done, running = HEIGHT // ROWS, counts["succeeded"], counts["running"]
        self.paused, self.open = counts["paused"], counts["ready"] + counts["paused"] + running
        self.done.configure(maximum=of, value=done)
        state = "paused" if self.paused else f"{running} running" if self.open else "idle"
        state = "all there" if done == of else state
        self.said.configure(text=f"{done} of {of} strips, {state}")
        self.start.state(["disabled" if self.open or done == of else "!disabled"])
        self.hold.configure(text="Resume" if self.paused else "Pause")
        for button in (self.hold, self.stop):
            button.state(["!disabled" if self.open else "disabled"])

    def submit(self):
        """One task a strip, in one commit; of those that there are already, nothing is done again."""
        with engine.transaction():
            for top in range(0, HEIGHT, ROWS):
                strip.submit(top)

    def pause(self):
        strips = engine.tasks.where(name="strip")
        strips.resume() if self.paused else strips.pause()

    def take_lines(self):
        self.log.configure(state="normal")
        while logged:
            self.log.insert("end", logged.popleft() + "\n")
            self.log.delete("1.0", f"end-{LINES}l")
            self.log.see("end")
        self.log.configure(state="disabled")
        self.root.after(100, self.take_lines)

    def close(self):
        engine.close(timeout=0)  # at once: what runs goes back into the file, and is not waited for
        self.root.destroy()


if __name__ == "__main__":
    logging.basicConfig(handlers=[Lines()], level="INFO", format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    Window().root.mainloop()

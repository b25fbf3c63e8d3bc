"""Makes the pictures of the README, from real runs: `python -m tests.pictures`. That of the page needs Chromium."""

import contextlib
import logging
import random
import tempfile
import time
from pathlib import Path

import taskcore
from tests.support import browser

PICTURES = Path(__file__).resolve().parents[1] / "examples" / "pictures"


def night(folder, fields, stars, *, unit):
    """Fields of stars, measured by two engines at a time; `unit` is how many seconds a star takes, about."""
    r = random.Random(12)
    first, second = (
        taskcore.Engine(folder / f"{stars}.db", workers=workers, name=f"lab-{workers}") for workers in (2, 3)
    )
    for engine in (first, second):

        @engine.task(max_attempts=3, backoff=taskcore.constant(unit))
        def measure(star):
            time.sleep(r.uniform(0.2, 2) * unit)
            if r.random() < 0.15:
                raise OSError("connection reset by peer")

        @engine.task
        def field(number):
            taskcore.current().gather(measure, range(stars), return_exceptions=True)
            time.sleep(unit)

        combine = engine.task(lambda fields: time.sleep(2 * unit), name="combine")
        publish = engine.task(lambda night: time.sleep(unit), name="publish")
        alarm = engine.task(lambda: None, name="alarm")
    with second.job("night 12") as job:
        fitted = [field.submit(number) for number in range(fields)]
        combined = combine.options(after=dict.fromkeys(fitted, ("succeeded", "drop"))).submit(fields)
        publish.submit(combined)
        alarm.options(after={combined: "failed"}).submit()
    first.start()
    job.exception()
    first.close()
    return contextlib.closing(second), job


def notebook(folder, picture):
    """What a notebook shows of an engine in the middle of its work; Chromium draws it."""
    with contextlib.closing(taskcore.Engine(folder / "survey.db", workers=4)) as engine:

        @engine.task
        def fetch(plate):
            run = taskcore.current()
            run.message(f"plate {plate}")
            for part in range(10):
                run.progress(part, 10)
                time.sleep(0.01)
            if plate % 40 == 7:
                raise OSError(f"plate {plate}: connection reset by peer")

        @engine.task
        def calibrate(plate):
            time.sleep(0.02)

        publish = engine.task(lambda plates: None, name="publish")
        with engine.job("night 12"):
            plates = [calibrate.submit(fetch.submit(plate)) for plate in range(120)]
            publish.submit(plates)
        while engine.tasks.counts().get("succeeded", 0) < 120:
            time.sleep(0.01)
        shown = engine._repr_html_()
    # Its file is in a folder that nobody has to know.
    (folder / "book.html").write_text(f"<meta charset=utf-8>{shown.replace(f'{folder}/', '')}", encoding="utf-8")
    with contextlib.closing(browser.Browser()) as chromium:
        tab = chromium.tab((folder / "book.html").as_uri(), width=760, height=100)
        tab.until("document.querySelector('.taskcore')")
        tab.picture(picture)
def seen(path, picture):
    """The page in the middle of a survey, as a browser shows it."""
    r = random.Random(7)
    with contextlib.closing(taskcore.Engine(path, workers=2, name="lab-1")) as engine:

        @engine.task
        def fetch(field):
            if r.random() < 0.1:
                raise OSError("connection reset by peer")

        @engine.task
        def fit(fetched):
            run, stars = taskcore.current(), r.randrange(20, 60)
            for star in range(1, stars + 1):
                run.progress(star, stars)
                run.message(f"star {star} of {stars}")
                time.sleep(0.005)

        @engine.task
        def match(fitted):
            if r.random() < 0.2:
                raise LookupError("no star within 2 arcsec")

        for field in range(60):
            match.submit(fit.submit(fetch.submit(field)))
        served, chromium = engine.serve(), browser.Browser()
        with contextlib.closing(served), contextlib.closing(chromium):
            tab = chromium.tab(served.url, width=780, height=625)
            tab.until("(document.body.style.zoom = 0.8)")  # small, as the README's pictures are
            tab.until("document.querySelectorAll('progress').length === 2 && document.querySelector('.live.on')"
                      " && document.querySelectorAll('main section:last-child tbody tr').length === 2"
                      " && document.querySelectorAll('section:nth-of-type(2) .succeeded').length === 3")  # fmt: skip
            tab.picture(picture, whole=False)


def main():
    logging.disable(logging.WARNING)
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        held, job = night(Path(folder), 8, 60, unit=0.001)
        with held as engine:
            engine.graph(job).save(PICTURES / "graph.svg")
        held, job = night(Path(folder), 3, 4, unit=0.1)
        with held as engine:
            engine.timeline(job).save(PICTURES / "timeline.svg")
        if browser.found():
            notebook(Path(folder), PICTURES / "notebook.png")
            seen(Path(folder) / "page.db", PICTURES / "page.png")


if __name__ == "__main__":
    main()

"""One script, three places for its bodies: threads, processes, or a Dask cluster.

    python examples/on_dask.py                              # threads of this process
    python examples/on_dask.py processes                    # as many processes as there are cores
    python examples/on_dask.py dask                         # a cluster: pip install taskcore[dask]
    python examples/on_dask.py dask --kill-after 1000       # dies by SIGKILL while the cluster works ...
    python examples/on_dask.py dask                         # ... and goes on with the stars that are left

What to do, what came of it and what follows from it are in one file here, whoever does the work. The processes of the
cluster import this script, so what it does stands at its end, behind the guard. For a cluster of many machines, give
`Client` its address, and let the functions be in a module that is installed there.
"""

import argparse
import concurrent.futures
import math
import os
import signal
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # a clone works without being installed

import taskcore

parser = argparse.ArgumentParser(description="Measure the light of many stars.")
parser.add_argument("place", nargs="?", default="threads", choices=["threads", "processes", "dask"])
parser.add_argument("--db", type=Path, default=Path("stars.db"), help="the file the tasks are kept in")
parser.add_argument("--stars", type=int, default=2000, metavar="N", help="how many")
parser.add_argument("--kill-after", type=int, metavar="N", help="die by SIGKILL when N stars were measured")
options = parser.parse_args()


def cluster() -> concurrent.futures.Executor:
    """Called by the engine when the first body is to run, and again if the cluster was lost."""
    import dask
    from distributed import Client

    # How often a body may take its worker with it, `max_lapses` says.
    dask.config.set({"distributed.scheduler.allowed-failures": 0})
    how = {"n_workers": os.cpu_count(), "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    return Client(**how).get_executor()


places = {
    "threads": {"workers": 4},
    "processes": {"processes": os.cpu_count()},
    "dask": {"executor": cluster, "workers": 64},  # so many tasks on their way to and from the cluster
}
engine = taskcore.Engine(options.db, **places[options.place])


@engine.task(key=True)  # one for each star, however often the script is run
def measure(star: int) -> float:
    """The star's mean light over a night of 200 exposures."""
    period = 2 + math.sin(star)
    return sum(1 + math.cos(minute / period) for minute in range(200)) / 200


@engine.task(key=True)
def catalogue(light: list[float]) -> dict[str, float]:
    """Of all of them, once they are measured."""
    return {"stars": len(light), "brightest": round(max(light), 4), "faintest": round(min(light), 4)}


def main() -> None:
    before = len(engine.tasks.where(name="measure", phase="succeeded"))
    began = time.perf_counter()
    with engine:
        with engine.transaction():
            stars = [measure.submit(star) for star in range(options.stars)]
            found = catalogue.submit(stars)
        if options.kill_after is not None:
            for _ in zip(range(options.kill_after), concurrent.futures.as_completed(stars), strict=False):
                pass
            print(f"{options.kill_after:,} stars measured, killing this process", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        print("stars: {stars:,}, brightest: {brightest}, faintest: {faintest}".format(**found.result()))
        took = time.perf_counter() - began
        tasks = list(engine.tasks.where(name="measure"))
        cut_off = sum(task.lapses > 0 for task in tasks)  # a lapse: whoever had it in hand died
        twice = sum(task.attempts - task.lapses > 1 for task in tasks)
    print(f"measured now: {len(tasks) - before:,}, before: {before:,}, twice: {twice}, cut off: {cut_off}")
    print(f"on {options.place}: {took:.1f} s, with the time that these took to come")


if __name__ == "__main__":
    main()

# Output:
# stars: 2,000, brightest: 1.0167, faintest: 0.9877
# measured now: 2,000, before: 0, twice: 0, cut off: 0
# on threads: 0.5 s, with the time that these took to come

"""An executor in which bodies are running, and none of them runs."""

from concurrent.futures import Executor, Future

IDLE = 0.5  # seconds until another process's commit is noticed at the latest


class Parked(Executor):
    """Keeps what it is given until a test lets it go: bodies are running, and none of them runs."""

    background = False

    def __init__(self):
        self.parked = []

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.parked.append((future, fn, args, kwargs))
        return future

    def __len__(self):
        return len(self.parked)

    def finish(self, place=0):
        future, fn, args, kwargs = self.parked.pop(place)
        future.set_result(fn(*args, **kwargs))

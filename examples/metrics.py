"""Metrics and traces of an engine, for whatever collects them: Prometheus text from `on_change` and a span for each end
of a task from `logging`, a few lines each.

    python examples/metrics.py          # with OpenTelemetry installed and set up, its tracer gets the same spans

The work is made up: some pictures are resized, one of which is broken.
"""

import collections
import json
import logging
import os
import sys

sys.path.append(os.path.abspath(f"{__file__}/../.."))  # a clone works without being installed

import taskcore

try:
    from opentelemetry import trace
except ImportError:
    trace = None

engine = taskcore.Engine("metrics.db", workers=4)
now = {"tasks": engine.tasks.counts()}  # status → number, of the whole file
ended, busy, spans = collections.Counter(), collections.Counter(), []

# Gauges, at most 20 times a second however many tasks move.
engine.on_change(lambda change: now.update(tasks=change.counts))


class Spans(logging.Handler):
    """Each end of a task that this process commits, as a record with `task_id`, `task_name` and so on."""

    def emit(self, end):
        labels = f"{{name={json.dumps(end.task_name)},phase={json.dumps(end.phase)}}}"
        ended[labels] += 1
        busy[labels] += end.seconds or 0.0  # None: it never ran
        spans.append((end.task_name, end.attempt, end.phase, end.seconds or 0.0))
        if trace is not None:
            end_ns = int(end.created * 1e9)
            began = end_ns - int((end.seconds or 0.0) * 1e9)
            what = {"task.id": end.task_id, "task.attempt": end.attempt, "task.phase": end.phase}
            trace.get_tracer("taskcore").start_span(end.task_name, start_time=began, attributes=what).end(end_ns)


ends = logging.getLogger("taskcore.api.ends")
ends.setLevel(logging.INFO)  # below it, only failures are told
ends.propagate = False  # to nobody else, here
ends.addHandler(Spans())


def exposition():
    """What Prometheus reads from /metrics."""
    yield "# TYPE taskcore_tasks gauge"
    yield from (f"taskcore_tasks{{status={json.dumps(status)}}} {n}" for status, n in sorted(now["tasks"].items()))
    yield "# TYPE taskcore_ended_total counter"
    yield from (f"taskcore_ended_total{labels} {n}" for labels, n in sorted(ended.items()))
    yield "# TYPE taskcore_busy_seconds_total counter"
    yield from (f"taskcore_busy_seconds_total{labels} {seconds:.6f}" for labels, seconds in sorted(busy.items()))


@engine.task(max_attempts=2, backoff=taskcore.constant(0))
def resize(number):
    if number == 13:
        raise ValueError(f"picture {number} is broken")
    return sum(range(number * 1000))


@engine.task
def index(sizes):
    return len(sizes)


with engine:
    index.submit([resize.submit(number) for number in range(40)])

print(*exposition(), sep="\n")
print("the slowest spans:")
for name, attempt, phase, seconds in sorted(spans, key=lambda span: -span[-1])[:3]:
    print(f"  {name}  {attempt}  {phase}  {seconds:.6f}")

# Output:
# # TYPE taskcore_tasks gauge
# taskcore_tasks{status="failed"} 1
# taskcore_tasks{status="skipped"} 1
# taskcore_tasks{status="succeeded"} 39
# # TYPE taskcore_ended_total counter
# taskcore_ended_total{name="index",phase="skipped"} 1
# taskcore_ended_total{name="resize",phase="failed"} 1
# taskcore_ended_total{name="resize",phase="succeeded"} 39
# # TYPE taskcore_busy_seconds_total counter
# taskcore_busy_seconds_total{name="index",phase="skipped"} 0.000000
# taskcore_busy_seconds_total{name="resize",phase="failed"} 0.012273
# taskcore_busy_seconds_total{name="resize",phase="succeeded"} 1.747493
# the slowest spans:
#   resize  1  succeeded  0.051439
#   resize  1  succeeded  0.051439
#   resize  1  succeeded  0.051439

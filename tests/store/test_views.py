"""The SQL views: what other programs read, by names that stay."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

from taskcore import Engine, constant, current
from taskcore.testing import InlineExecutor

TIMES = ["submitted", "first_started", "started", "finished"]
COLUMNS = {
    "task": [
        "id", "name", "key", "parent_id", "phase", "status", "priority", "attempts", "failures", "lapses",
        "max_attempts", "step", "progress", "message", "args", "result", "last_error", "worker", "hidden", "tags",
        *(f"{name}_{form}" for name in TIMES for form in ("at", "iso")),
    ],
    "waiting_for": ["task_id", "other_id", "reason", "wanted", "other_status"],
    "attempt": [
        "task_id", "name", "number", "worker", "outcome", "error_type", "error", "traceback", "seconds", "started_at",
        "started_iso", "finished_at", "finished_iso",
    ],
    "timeline": ["task_id", "name", "worker", "what", "begin_at", "end_at", "begin_iso", "end_iso"],
    "step": [
        "task_id", "task_name", "place", "kind", "name", "n", "state", "child_id", "attempt", "result", "started_at",
        "started_iso", "finished_at", "finished_iso",
    ],
}  # fmt: skip


def test_the_readme_has_every_column():
    text = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `taskcore_v_(\w+)` \|[^|]+\| (.*) \|$", text, re.MULTILINE)
    told = {
        view: {name.replace("*", form) for name in re.findall(r"`(.*?)`", columns) for form in ("at", "iso")}
        for view, columns in rows
    }
    assert told == {view: set(columns) for view, columns in COLUMNS.items()}


def test_the_views_and_their_columns_stay(made, raw):
    Engine(made, workers=0).close()
    views = raw("SELECT name FROM sqlite_master WHERE type = 'view'")
    assert {row["name"] for row in views} == {f"taskcore_v_{name}" for name in COLUMNS}
    for name, columns in COLUMNS.items():
        assert [row["name"] for row in raw(f"SELECT name FROM pragma_table_info('taskcore_v_{name}')")] == columns


def test_the_views_tell_what_the_engine_tells(made, clock, raw):
    with Engine(made, executor=InlineExecutor(), clock=clock, name="bench") as engine:

        @engine.task(max_attempts=2, backoff=constant(5))
        def weigh(sample):
            grams = current().step("scale", lambda: 2 * sample)
            if current().task.attempts == 1:
                raise ValueError("shaken")
            return {"grams": grams}

        handle = weigh.options(tags=["b", "a"], key="k").submit(3)
        clock.advance(1)
        engine.run(progress=False)
        clock.advance(5)
        engine.run(progress=False)
        later = engine.submit("heat", handle, engine.submit("outside"))
        first, second = (engine.task("turn").options(serial="arm").submit() for _ in range(2))
        rows = {row["id"]: row for row in raw("SELECT * FROM taskcore_v_task")}
        for task in engine.tasks:
            row = rows[task.id]
            for name in COLUMNS["task"]:
                if name in ("args", "result", "tags", "hidden") or name.endswith("_iso"):
                    continue
                assert row[name] == getattr(task, name), name
        row = rows[handle.id]
        assert (json.loads(row["args"]), json.loads(row["result"])) == ([[3], {}], {"grams": 6})
        assert json.loads(row["tags"]) == ["b", "a"] and row["hidden"] == 0
        for name in TIMES:
            assert datetime.fromisoformat(row[f"{name}_iso"]) == datetime.fromtimestamp(row[f"{name}_at"], UTC)
        attempts = raw("SELECT * FROM taskcore_v_attempt ORDER BY number")
        assert [(a["number"], a["outcome"], a["error"], a["worker"], a["started_at"]) for a in attempts] == [
            (1, "failed", "shaken", "bench", 1001.0), (2, "succeeded", None, "bench", 1006.0),
        ]  # fmt: skip
        (step,) = raw("SELECT * FROM taskcore_v_step")
        assert (step["task_id"], step["kind"], step["name"], step["result"]) == (handle.id, "step", "scale", "6")
        waits = raw("SELECT * FROM taskcore_v_waiting_for ORDER BY task_id")
        assert [tuple(row.values()) for row in waits] == [
            (later.id, later.id - 1, "upstream", "succeeded", "ready"),
            (second.id, first.id, "serial", "finished", "ready"),
        ]
        line = raw("SELECT what, begin_at, end_at FROM taskcore_v_timeline WHERE task_id = ? ORDER BY begin_at", 1)
        assert [tuple(row.values()) for row in line] == [
            ("waiting", 1000.0, 1001.0), ("failed", 1001.0, 1001.0), ("succeeded", 1006.0, 1006.0),
        ]  # fmt: skip
        engine.tasks.cancel()

"""The columns of a task: the one list that the table, `Task`, the queries and the submits are made from.

A new column that is said at a submit and asked for by `where` is a row here, a field of `core.model.Task`, and an
option in `core.options`.
"""

from operator import attrgetter
from typing import Any, Final, NamedTuple

from taskcore.core.options import Options


class Column(NamedTuple):
    name: str
    """In `taskcore_task`."""
    sql: str
    """Its type, and what the file itself refuses."""
    shown: bool = False
    """Whether the field of `Task` of the same name shows it as it is stored."""
    option: bool = False
    """Whether the option of the same name says it, at the submit."""
    filter: bool = False
    """Whether `where(name=…)` asks for rows that have one of some values, or with `None` for those that have none."""


# Small and often read columns first, texts last: a reader of the former never touches overflow pages of the latter.
# `blockers` counts all that keeps a task from being released: its unmet edges, `gated` (the job it is a child of is not
# open) and `behind` (an earlier task of its serial value has not ended). `children` are the direct ones that ever were,
# `open` those of them of which something, they or whatever is below them, has not ended.
COLUMNS: Final = (
    Column("id", "INTEGER PRIMARY KEY", shown=True),
    Column("kind", "INTEGER NOT NULL REFERENCES taskcore_kind (id)"),
    Column("phase", "TEXT NOT NULL", shown=True),
    Column("label", "TEXT"),
    Column("priority", "INTEGER NOT NULL CHECK (priority BETWEEN -1000 AND 1000)", shown=True, option=True),
    Column("ahead", "INTEGER NOT NULL DEFAULT 0 CHECK (ahead IN (0, 1))"),
    Column("greenfield", "REAL", shown=True),
    Column("token", "INTEGER NOT NULL DEFAULT 0"),
    Column("worker", "INTEGER REFERENCES taskcore_worker (id)"),
    Column("attempts", "INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0)", shown=True),
    Column("failures", "INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0)", shown=True),
    Column("lapses", "INTEGER NOT NULL DEFAULT 0 CHECK (lapses >= 0)", shown=True),
    Column("blockers", "INTEGER NOT NULL DEFAULT 0 CHECK (blockers >= 0)"),
    Column("held", "INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1))"),
    Column("hidden", "INTEGER NOT NULL DEFAULT 0 CHECK (hidden IN (0, 1))", option=True, filter=True),
    Column("parent", "INTEGER REFERENCES taskcore_task (id)", filter=True),
    Column("job", "TEXT CHECK (job = 'fail' OR job = 'ignore')"),
    Column("gated", "INTEGER NOT NULL DEFAULT 0"),
    Column("behind", "INTEGER NOT NULL DEFAULT 0"),
    Column("children", "INTEGER NOT NULL DEFAULT 0"),
    Column("open", "INTEGER NOT NULL DEFAULT 0 CHECK (open >= 0)"),
    Column("submitted_at", "REAL NOT NULL", shown=True),
    Column("first_started_at", "REAL", shown=True),
    Column("started_at", "REAL", shown=True),
    Column("finished_at", "REAL", shown=True),
    Column("cancel_requested_at", "REAL", shown=True),
    Column("progress", "REAL CHECK (progress BETWEEN 0 AND 1)"),
    Column("waiting_for", "TEXT"),
    Column("key", "TEXT", shown=True, filter=True),
    Column("serial", "TEXT", option=True),
    Column("step", "TEXT", shown=True),
    Column("message", "TEXT", shown=True),
    Column("args", "TEXT NOT NULL"),
    Column("links", "TEXT"),
    Column("result", "TEXT"),
    Column("last_error", "TEXT", shown=True),
)

LINES: Final = ",\n    ".join(f"{column.name} {column.sql}" for column in COLUMNS)
"""As they stand in CREATE TABLE."""

OPTIONS: Final = tuple(column.name for column in COLUMNS if column.option)
"""Those that an option says."""
said: Final = attrgetter(*OPTIONS)
"""Options → what they say, in this order."""
UNSAID: Final[tuple[Any, ...]] = said(Options())
SERIAL: Final = OPTIONS.index("serial")

SHOWN: Final = tuple(column.name for column in COLUMNS if column.shown)

LONG: Final = 4000
"""Characters of arguments from which on they stand in `taskcore_text`, and in the task's row ''."""
ARGS: Final = "CASE t.args WHEN '' THEN (SELECT x.args FROM taskcore_text AS x WHERE x.task = t.id) ELSE t.args END"
"""The arguments of a task `t`, wherever they stand."""

_ELSEWHERE: Final = {
    "args": ARGS,
    "name": "k.name", "max_attempts": "k.max_attempts", "max_lapses": "k.max_lapses", "options": "k.options",
    "status": "ifnull(t.label, t.phase)", "worker": "w.name", "lane": "w.lane",
}  # fmt: skip
"""What is read with a task's own columns: of its kind `k` and its worker `w`."""
CUT: Final = 400
"""Characters of a value that lists show."""
_CUT: Final = {"message": 1000, "last_error": 1000, "args": CUT, "links": CUT, "result": CUT}


def selected(names: tuple[str, ...], *, cut: bool = False) -> str:
    """What a SELECT of these asks for. `cut`: of long texts the first characters."""
    texts = {name: _ELSEWHERE.get(name, f"t.{name}") for name in names}
    return ", ".join(f"substr({sql}, 1, {_CUT[name]})" if cut and name in _CUT else sql for name, sql in texts.items())


OF_IDS: Final = """FROM json_each(?) AS named CROSS JOIN taskcore_task AS t ON t.id = named.value
    CROSS JOIN taskcore_kind AS k ON k.id = t.kind LEFT JOIN taskcore_worker AS w ON w.id = t.worker"""
"""Where `selected` selects it from, of the tasks of a list, in its order; those that do not exist are left out."""

TOLD: Final = (*SHOWN, "name", "status", "max_attempts", "worker")
"""The fields of `Task` that show what was read as it is."""
READ: Final = (
    *TOLD, "args", "links", "result", "job", "progress", "waiting_for", "blockers", "gated", "behind", "children",
    "open", "parent", "hidden",
)  # fmt: skip
"""All that a `Task` is made from."""

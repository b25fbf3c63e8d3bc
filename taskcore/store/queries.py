"""Reading rows, and finding them: what `where(…)` may ask, and the SQL it becomes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

from taskcore.codec.json import Codec
from taskcore.core import lifecycle
from taskcore.core.model import Attempt, Dependency, Handle, Task, Unreadable
from taskcore.store import capacity
from taskcore.store.busy import said
from taskcore.store.columns import ARGS, COLUMNS, READ, SHOWN, selected

# -- finding --------------------------------------------------------------------------------------------------------

_EQUAL: Final = ("t.# IN (SELECT value FROM json_each(:#))", "t.# IS NULL")
# filter → (SQL where a value is given, SQL where it is None). Values are bound, never written into a statement.
_FILTERS: Final[dict[str, tuple[str, str]]] = {
    **{c.name: (_EQUAL[0].replace("#", c.name), _EQUAL[1].replace("#", c.name)) for c in COLUMNS if c.filter},
    "id": ("t.id IN (SELECT value FROM json_each(:id))", "0"),
    "ids": ("t.id IN (SELECT value FROM json_each(:ids))", "0"),
    "name": (
        "t.kind IN (SELECT id FROM taskcore_kind WHERE name IN (SELECT value FROM json_each(:name)))",
        "0",
    ),
    "status": ("ifnull(t.label, t.phase) IN (SELECT value FROM json_each(:status))", "0"),
    "tag": (
        "t.id IN (SELECT task FROM taskcore_tag WHERE tag IN (SELECT value FROM json_each(:tag)))",
        "NOT EXISTS (SELECT 1 FROM taskcore_tag WHERE task = t.id)",
    ),
    "worker": (
        "t.worker IN (SELECT id FROM taskcore_worker WHERE name IN (SELECT value FROM json_each(:worker)))",
        "t.worker IS NULL",
    ),
    "upstream_of": (
        """t.id IN (SELECT e.upstream FROM json_each(:upstream_of) AS x
                    CROSS JOIN taskcore_edge AS e ON e.task = x.value)""",
        "0",
    ),
    "downstream_of": (
        """t.id IN (SELECT e.task FROM json_each(:downstream_of) AS x
                    CROSS JOIN taskcore_edge AS e ON e.upstream = x.value)""",
        "0",
    ),
    "submitted_after": ("t.submitted_at > (SELECT value FROM json_each(:submitted_after))", "0"),
    "submitted_before": ("t.submitted_at < (SELECT value FROM json_each(:submitted_before))", "0"),
}
FILTERS: Final = (*_FILTERS, "phase")

# Every phase but that of most rows of an old file has an index. (The planner sees that only if told.)
_PHASE: Final[dict[str, str]] = {
    phase: f"t.phase = '{phase}'"
    + ("" if phase in (lifecycle.READY, lifecycle.SUCCEEDED) else " AND t.phase NOT IN ('ready', 'succeeded')")
    for phase in lifecycle.PHASES
}
_SELECTIVE: Final = frozenset({"id", "ids", "key", "parent", "tag", "upstream_of", "downstream_of"})


class Where(NamedTuple):
    """Which tasks."""

    sql: str
    values: Mapping[str, str]
    indexed: bool
    """Whether an index finds the rows, so that all ids are read at once, not by scanning pages."""
    names: frozenset[str]
    """Of the filters."""


def where(filters: Collection[tuple[str, tuple[Any, ...] | None]]) -> Where:
    """Each filter with the values it accepts, or `None` for "has none"; all of them hold, also several of one name."""
    terms, values, indexed = ["1"], {}, False
    for place, (name, accepted) in enumerate(filters):
        if name == "phase":
            phases = accepted or ()
            terms.append("(" + (" OR ".join(_PHASE[phase] for phase in phases) or "0") + ")")
            indexed = indexed or lifecycle.SUCCEEDED not in phases
        elif accepted is None:
            terms.append(_FILTERS[name][1])
        else:
            terms.append(_FILTERS[name][0].replace(f":{name})", f":{name}{place})"))
            values[f"{name}{place}"] = json.dumps(accepted)
            indexed = indexed or name in _SELECTIVE
    return Where(" AND ".join(terms), values, indexed, frozenset(name for name, _ in filters))


UNFINISHED: Final = where([("phase", tuple(phase for phase in lifecycle.PHASES if phase not in lifecycle.ENDED))])


def ids(connection: Any, chosen: Where) -> list[int]:
    """All ids that match, ascending."""
    text, values, *_ = chosen
    rows = connection.execute(
        f"SELECT json_group_array(id) FROM (SELECT t.id FROM taskcore_task AS t WHERE {text} ORDER BY t.id)", values
    ).fetchall()
    found: list[int] = json.loads(rows[0][0])
    return found


def some_ids(connection: sqlite3.Connection, chosen: Where, most: int, newest: bool) -> list[int]:
    """The first ids that match, or the last, descending."""
    text, values, *_ = chosen
    order = "DESC" if newest else "ASC"
    rows = connection.execute(
        f"SELECT t.id FROM taskcore_task AS t WHERE {text} ORDER BY t.id {order} LIMIT :most", {**values, "most": most}
    ).fetchall()
    return [task for (task,) in rows]


def count(connection: sqlite3.Connection, chosen: Where) -> int:
    """How many match."""
    text, values, *_ = chosen
    found: int = connection.execute(f"SELECT count(*) FROM taskcore_task AS t WHERE {text}", values).fetchone()[0]
    return found


def counts(connection: sqlite3.Connection, chosen: Where) -> dict[str, int]:
    """Status → number, of the statuses that occur."""
    text, values, *_ = chosen
    return dict(
        connection.execute(
            f"""SELECT ifnull(t.label, t.phase), count(*) FROM taskcore_task AS t WHERE {text}
                GROUP BY 1 ORDER BY min(t.id)""",
            values,
        ).fetchall()
    )


# -- reading -------------------------------------------------------------------------------------------------------

_COLUMNS: Final = f"""
    SELECT {selected(READ)}
    FROM taskcore_task AS t
    CROSS JOIN taskcore_kind AS k ON k.id = t.kind
    LEFT JOIN taskcore_worker AS w ON w.id = t.worker"""

Row = tuple[tuple[Any, ...], tuple[str, ...]]
"""A task's columns, and its tags."""


def rows(connection: Any, task_ids: Collection[int]) -> list[Row]:
    """These tasks, ascending; those that do not exist are left out."""
    wanted = json.dumps(list(task_ids))
    found = connection.execute(
        f"{_COLUMNS} WHERE t.id IN (SELECT value FROM json_each(?)) ORDER BY t.id", (wanted,)
    ).fetchall()
    return _tagged(connection, found, wanted)


def page(connection: sqlite3.Connection, chosen: Where, beyond: int, size: int) -> list[Row]:
    """The next `size` rows with an id beyond this one, found by scanning on from there."""
    text, values, *_ = chosen
    found = connection.execute(
        f"{_COLUMNS} WHERE t.id > :beyond AND {text} ORDER BY t.id LIMIT :size",
        {**values, "beyond": beyond, "size": size},
    ).fetchall()
    return _tagged(connection, found, json.dumps([row[0] for row in found]))


def _tagged(connection: Any, found: list[tuple[Any, ...]], wanted: str) -> list[Row]:
    tags: dict[int, list[str]] = {}
    for task, tag in connection.execute(
        "SELECT task, tag FROM taskcore_tag WHERE task IN (SELECT value FROM json_each(?)) ORDER BY task, position",
        (wanted,),
    ).fetchall():
        tags.setdefault(task, []).append(tag)
    return [(row, tuple(tags.get(row[0], ()))) for row in found]


def task_of(row: Row, codec: Codec) -> Task:
    """The row as a value. `args` have a `Handle` where another task's result belongs."""
    its, tags = dict(zip(READ, row[0], strict=True)), row[1]
    called = _readable(its["args"], arguments, codec, its["args"], its["links"], Handle)
    args, kwargs = ((called,), {}) if isinstance(called, Unreadable) else called
    result = _readable(its["result"], decoded, codec, its["result"], its["job"])
    phase, job, progress, waiting_for = its["phase"], its["job"], its["progress"], its["waiting_for"]
    if job is not None and its["finished_at"] is None:
        children, unfinished = its["children"], its["open"]
        progress = (children - unfinished) / (children + (unfinished == 0))  # it has not ended itself
    if phase == lifecycle.WAITING and its["blockers"]:
        edges = its["blockers"] > its["gated"] + its["behind"]
        waiting_for = "dependencies" if edges else "job" if its["gated"] else "serial"
    elif job is not None and phase == lifecycle.SUSPENDED:
        waiting_for = "children"
    elif phase not in (lifecycle.SCHEDULED, lifecycle.SUSPENDED, lifecycle.PAUSED):
        waiting_for = None
    return Task(
        **{column: its[column] for column in SHOWN},
        parent_id=its["parent"], name=its["name"], status=its["status"], max_attempts=its["max_attempts"],
        worker=its["worker"], args=args, kwargs=kwargs, progress=progress,
        result=result, tags=tags, hidden=bool(its["hidden"]), waiting_for=waiting_for,
    )  # fmt: skip


def _readable(text: str, read: Callable[..., Any], *args: Any) -> Any:
    """A stored value; where it cannot be read, what stands for it: one bad row must not hide the others."""
    try:
        return read(*args)
    except Exception as error:  # a codec is the user's
        return Unreadable(text, said(error))


def decoded(codec: Codec, result: str | None, job: str | None) -> Any:
    """A result's text as its value. Of a job it is the counts, and always JSON, whatever the codec."""
    if result is None:
        return None
    return codec.decode(result) if job is None else json.loads(result)


# -- arguments -----------------------------------------------------------------------------------------------------

LEFT_OUT: Final = object()
"""What an upstream gives whose edge was dropped: nothing in a list, `None` elsewhere."""

class Branch(dict[int, Any]):
    """Place → what belongs there, or the branch below it; a class of its own, since a leaf may be any dict."""


NO_ARGUMENTS: Final = "[[],{}]"


def arguments(codec: Codec, text: str, links: str | None, value_of: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """(args, kwargs) as stored, with `value_of(task_id)` in the places that the links name."""
    if text == NO_ARGUMENTS:
        return (), {}
    args, kwargs = codec.decode(text)
    if links is None:
        return tuple(args), kwargs
    tree = Branch()
    for task_id, path in json.loads(links):
        branch = tree
        for place in path[:-1]:
            branch = branch.setdefault(place, Branch())
        branch[path[-1]] = value_of(task_id)
    args, kwargs = graft([tuple(args), kwargs], tree)
    return args, kwargs


def graft(value: Any, tree: Branch) -> Any:
    """A copy of a list, tuple or dict with the tree's leaves in place. A dict's places count its items in order."""
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    new = []
    for place, (key, old) in enumerate(items):
        leaf = tree.get(place, tree)
        if leaf is tree:
            new.append((key, old))
        elif isinstance(leaf, Branch):
            new.append((key, graft(old, leaf)))
        else:
            new.append((key, leaf))
    if isinstance(value, dict):
        return {key: None if item is LEFT_OUT else item for key, item in new}
    if isinstance(value, tuple):
        return tuple(None if item is LEFT_OUT else item for _, item in new)
    return [item for _, item in new if item is not LEFT_OUT]


# -- the past and the edges of one task ----------------------------------------------------------------------------

def history(connection: sqlite3.Connection, task_id: int, most: int = -1) -> list[Attempt]:
    """Its newest attempts, oldest first; -1: all. That which runs, or succeeded last, is told by the task's own row."""
    past = [
        Attempt(number, worker, started, finished, outcome, error if kind is None else f"{kind}: {error}", traceback)
        for number, worker, started, finished, outcome, kind, error, traceback in reversed(connection.execute(
            """SELECT a.number, w.name, a.started_at, a.finished_at, a.outcome, a.error_type, a.error, a.traceback
               FROM taskcore_attempt AS a LEFT JOIN taskcore_worker AS w ON w.id = a.worker
               WHERE a.task = ? ORDER BY a.number DESC LIMIT ?""",
            (task_id, most),
        ).fetchall())
    ]
    row = connection.execute(
        """SELECT t.attempts, w.name, t.started_at, t.finished_at, t.phase FROM taskcore_task AS t
           LEFT JOIN taskcore_worker AS w ON w.id = t.worker
           WHERE t.id = ? AND t.phase IN ('running', 'succeeded', 'failed') AND t.attempts > 0""",
        (task_id,),
    ).fetchone()
    if row is not None and all(attempt.number != row[0] for attempt in past):
        number, worker, started, finished, outcome = row
        past.append(Attempt(number, worker, started, finished, outcome, None, None))
    return past


def dependencies(connection: sqlite3.Connection, task_id: int) -> list[Dependency]:
    """Its edges, by upstream."""
    return [
        Dependency(task_id, upstream, wants, otherwise, verdict == "met")
        for upstream, wants, otherwise, verdict in connection.execute(
            "SELECT upstream, wants, otherwise, verdict FROM taskcore_edge WHERE task = ? ORDER BY upstream", (task_id,)
        ).fetchall()
    ]


def outcomes(connection: Any, task_ids: Collection[int]) -> dict[int, tuple[Any, ...]]:
    """Those that have ended: id → (phase, status, result, job, last_error, attempts, error_type, error, traceback); all
    `None` for one that is no longer there."""
    return {
        row[0]: row[1:]
        for row in connection.execute(
            """SELECT wanted.value, t.phase, ifnull(t.label, t.phase), t.result, t.job, t.last_error, t.attempts,
                   a.error_type, a.error, a.traceback
               FROM json_each(?) AS wanted
               LEFT JOIN taskcore_task AS t ON t.id = wanted.value
               LEFT JOIN taskcore_attempt AS a
                   ON t.phase = 'failed' AND a.task = t.id AND a.number = t.attempts AND a.outcome = 'failed'
               WHERE t.id IS NULL OR t.finished_at IS NOT NULL""",
            (json.dumps(list(task_ids)),),
        ).fetchall()
    }


def short_results(connection: Any, first: int, last: int) -> list[tuple[int, str]]:
    """(id, result text) of the tasks of a span that succeeded, but for those with long results."""
    found: list[tuple[int, str]] = connection.execute(
        """SELECT id, result FROM taskcore_task
           WHERE id BETWEEN ? AND ? AND phase = 'succeeded' AND job IS NULL AND length(result) < 1000""",
        (first, last),
    ).fetchall()
    return found


def are_children(connection: Any, task_ids: Collection[int], parent: int) -> bool:
    """Whether all of these are children of this one."""
    row = connection.execute(
        """SELECT 1 FROM json_each(?) AS one CROSS JOIN taskcore_task AS t ON t.id = one.value
           WHERE t.parent IS NOT ? LIMIT 1""",
        (json.dumps(list(task_ids)), parent),
    ).fetchone()
    return row is None


# -- what is left to do --------------------------------------------------------------------------------------------

# A retry in backoff is due if it comes within a minute; what was delayed or snoozed on purpose is not.
_DUE: Final = f"""(
    (t.phase = 'running' AND t.kind IN (SELECT value FROM json_each(:kinds)))
    OR ((t.phase = 'ready' OR (t.phase = 'scheduled' AND t.waiting_for = 'backoff' AND t.greenfield <= :soon))
        AND (t.kind IN (SELECT value FROM json_each(:open))
            OR (t.kind IN (SELECT value FROM json_each(:choosy)) AND :worker NOT IN ({capacity.AVOIDED}))))
)"""
_ANY_DUE: Final = f"""
    SELECT EXISTS (
        SELECT 1 FROM json_each(:open) AS k
        WHERE EXISTS (SELECT 1 FROM taskcore_task AS t WHERE t.kind = k.value AND t.phase = 'ready')
    ) OR EXISTS (
        SELECT 1 FROM taskcore_task AS t
        WHERE t.phase = 'running' AND t.phase NOT IN ('ready', 'succeeded')
        AND t.kind IN (SELECT value FROM json_each(:kinds))
    ) OR EXISTS (
        SELECT 1 FROM taskcore_task AS t
        WHERE t.phase = 'scheduled' AND t.phase NOT IN ('ready', 'succeeded')
        AND t.greenfield <= :soon AND t.waiting_for = 'backoff' AND (t.kind IN (SELECT value FROM json_each(:open))
            OR (t.kind IN (SELECT value FROM json_each(:choosy)) AND :worker NOT IN ({capacity.AVOIDED})))
    ) OR EXISTS (
        SELECT 1 FROM json_each(:choosy) AS k
        CROSS JOIN taskcore_task AS t ON t.kind = k.value AND t.phase = 'ready'
        WHERE :worker NOT IN ({capacity.AVOIDED})
    )"""
SOON: Final = 60.0


class Here(NamedTuple):
    """What an engine can run: kinds it has functions for; of these, those that may run now, and those that may but for
    tasks that failed on this worker."""

    kinds: Collection[int]
    open: Collection[int]
    choosy: Collection[int]
    worker: str

    def values(self, now: float) -> dict[str, Any]:
        listed = {name: json.dumps(list(getattr(self, name))) for name in ("kinds", "open", "choosy")}
        return {"soon": now + SOON, "worker": self.worker, **listed}


def any_due(connection: sqlite3.Connection, here: Here, now: float) -> bool:
    """Whether anything of these kinds runs, or, of those that are open, may run now or is tried again within a
    minute."""
    return bool(connection.execute(_ANY_DUE, here.values(now)).fetchone()[0])


def due_between(connection: sqlite3.Connection, first: int, last: int, here: Here, now: float) -> bool:
    """The same of a span of ids; what waits for others counts, since something is due that it may be waiting for."""
    row = connection.execute(
        f"""SELECT 1 FROM taskcore_task AS t
            WHERE t.id BETWEEN :first AND :last AND t.finished_at IS NULL
            AND (t.phase = 'waiting' OR {_DUE}) LIMIT 1""",
        {"first": first, "last": last, **here.values(now)},
    ).fetchone()
    return row is not None


def stored_arguments(connection: Any, task_id: int) -> tuple[str, str | None]:
    """A task's arguments and links as they are stored."""
    found: tuple[str, str | None] = connection.execute(
        f"SELECT {ARGS}, links FROM taskcore_task AS t WHERE id = ?", (task_id,)
    ).fetchone()
    return found

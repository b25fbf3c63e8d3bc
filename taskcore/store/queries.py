"""Reading rows, and finding them: what `where(…)` may ask, and the SQL it becomes."""

import json
import sqlite3
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from taskcore.codec.json import Codec
from taskcore.core import lifecycle
from taskcore.core.options import GREATEST
from taskcore.store import capacity
from taskcore.store.columns import ARGS, COLUMNS, READ, selected

# -- finding --------------------------------------------------------------------------------------------------------

_OWN: Final = tuple(column.name for column in COLUMNS if column.filter)
# filter → SQL where it has values. They are bound, never written into a statement.
_FILTERS: Final[dict[str, str]] = {
    **{name: "t.# IN (SELECT value FROM json_each(:#))".replace("#", name) for name in _OWN},
    "id": "t.id IN (SELECT value FROM json_each(:id))",
    "ids": "t.id IN (SELECT value FROM json_each(:ids))",
    "name": "t.kind IN (SELECT id FROM taskcore_kind WHERE name IN (SELECT value FROM json_each(:name)))",
    "status": "ifnull(t.label, t.phase) IN (SELECT value FROM json_each(:status))",
    "tag": "t.id IN (SELECT task FROM taskcore_tag WHERE tag IN (SELECT value FROM json_each(:tag)))",
    "worker": "t.worker IN (SELECT id FROM taskcore_worker WHERE name IN (SELECT value FROM json_each(:worker)))",
    "upstream_of": """t.id IN (
        SELECT e.upstream FROM json_each(:upstream_of) AS x CROSS JOIN taskcore_edge AS e ON e.task = x.value)""",
    "downstream_of": """t.id IN (
        SELECT e.task FROM json_each(:downstream_of) AS x CROSS JOIN taskcore_edge AS e ON e.upstream = x.value)""",
    "submitted_after": "t.submitted_at > (SELECT value FROM json_each(:submitted_after))",
    "submitted_before": "t.submitted_at < (SELECT value FROM json_each(:submitted_before))",
}
# filter → SQL where it is `None`: tasks that have none. Of what is not here, every task has one.
_NONE: Final[dict[str, str]] = {
    **{name: "t.# IS NULL".replace("#", name) for name in (*_OWN, "worker")},
    "tag": "NOT EXISTS (SELECT 1 FROM taskcore_tag WHERE task = t.id)",
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
    parent: int | None
    """The one task whose children they are, if that is asked for."""


def where(filters: Collection[tuple[str, tuple[Any, ...] | None]]) -> Where:
    """Each filter with the values it accepts, or `None` for "has none"; all of them hold, also several of one name."""
    terms, values, indexed, parent = ["1"], {}, False, None
    for place, (name, accepted) in enumerate(filters):
        if name == "phase":
            phases = accepted or ()
            terms.append("(" + (" OR ".join(_PHASE[phase] for phase in phases) or "0") + ")")
            indexed = indexed or lifecycle.SUCCEEDED not in phases
        elif accepted is None:
            terms.append(_NONE.get(name, "0"))
        else:
            terms.append(_FILTERS[name].replace(f":{name})", f":{name}{place})"))
            values[f"{name}{place}"] = json.dumps(accepted)
            indexed = indexed or name in _SELECTIVE
            if name == "parent" and len(accepted) == 1 and 0 < accepted[0] <= GREATEST:
                parent = accepted[0]
    return Where(" AND ".join(terms), values, indexed, frozenset(name for name, _ in filters), parent)


ALL: Final = where(())
SEEN: Final = where([("hidden", (0,))])
"""What nobody hid."""
RUNNING: Final = where([("phase", (lifecycle.RUNNING,)), ("hidden", (0,))])


def ids(connection: Any, chosen: Where) -> list[int]:
    """All ids that match, ascending."""
    rows = connection.execute(
        f"SELECT json_group_array(id) FROM (SELECT t.id FROM taskcore_task AS t WHERE {chosen.sql} ORDER BY t.id)",
        chosen.values,
    ).fetchall()
    found: list[int] = json.loads(rows[0][0])
    return found


def some_ids(connection: sqlite3.Connection, chosen: Where, most: int, newest: bool) -> list[int]:
    """The first ids that match, or the last, descending."""
    order = "DESC" if newest else "ASC"
    rows = connection.execute(
        f"SELECT t.id FROM taskcore_task AS t WHERE {chosen.sql} ORDER BY t.id {order} LIMIT :most",
        {**chosen.values, "most": most},
    ).fetchall()
    return [task for (task,) in rows]


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
    found = connection.execute(
        f"{_COLUMNS} WHERE t.id > :beyond AND {chosen.sql} ORDER BY t.id LIMIT :size",
        {**chosen.values, "beyond": beyond, "size": size},
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


def share(children: int, unfinished: int) -> float:
    """The progress of a job that has not ended."""
    return (children - unfinished) / (children + (unfinished == 0))  # it has to end itself


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
        leaf = tree.get(place, old)
        new.append((key, graft(old, leaf) if isinstance(leaf, Branch) else leaf))
    if isinstance(value, dict):
        return {key: None if item is LEFT_OUT else item for key, item in new}
    if isinstance(value, tuple):
        return tuple(None if item is LEFT_OUT else item for _, item in new)
    return [item for _, item in new if item is not LEFT_OUT]


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


SHORT: Final = 1000
"""Characters from which on a result is long."""


def short_results(connection: Any, first: int, last: int) -> list[tuple[int, str]]:
    """(id, result text) of the tasks of a span that succeeded, but for those with long results."""
    found: list[tuple[int, str]] = connection.execute(
        """SELECT id, result FROM taskcore_task
           WHERE id BETWEEN ? AND ? AND phase = 'succeeded' AND job IS NULL AND length(result) < ?""",
        (first, last, SHORT),
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
_BACK_SOON: Final = "t.phase = 'scheduled' AND t.waiting_for = 'backoff' AND t.greenfield <= :soon"
_CHOOSES_US: Final = f":worker NOT IN ({capacity.AVOIDED})"
_MAY_RUN: Final = f"""(t.kind IN (SELECT value FROM json_each(:open))
    OR (t.kind IN (SELECT value FROM json_each(:choosy)) AND {_CHOOSES_US}))"""
_DUE: Final = f"""(
    (t.phase = 'running' AND t.kind IN (SELECT value FROM json_each(:kinds)))
    OR ((t.phase = 'ready' OR ({_BACK_SOON})) AND {_MAY_RUN})
)"""
_ANY_DUE: Final = f"""
    SELECT EXISTS (
        SELECT 1 FROM json_each(:open) AS k
        WHERE EXISTS (SELECT 1 FROM taskcore_task AS t WHERE t.kind = k.value AND t.phase = 'ready')
    ) OR EXISTS (
        SELECT 1 FROM taskcore_task AS t
        WHERE t.phase NOT IN ('ready', 'succeeded')
        AND t.phase = 'running' AND t.kind IN (SELECT value FROM json_each(:kinds))
    ) OR EXISTS (
        SELECT 1 FROM taskcore_task AS t
        WHERE t.phase NOT IN ('ready', 'succeeded') AND {_BACK_SOON} AND {_MAY_RUN}
    ) OR EXISTS (
        SELECT 1 FROM json_each(:choosy) AS k
        CROSS JOIN taskcore_task AS t ON t.kind = k.value AND t.phase = 'ready' WHERE {_CHOOSES_US}
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

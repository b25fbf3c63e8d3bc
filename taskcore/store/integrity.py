"""What may be wrong with a file: SQLite's own checks, and what the verbs keep true without the file enforcing it.

Each rule is one statement, which reads one state of the file, and finds the ids of the tasks that break it. Those are
full scans: nothing here is meant to be fast.
"""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from taskcore.codec.json import Codec
from taskcore.core.errors import BadFile
from taskcore.core.model import Finding
from taskcore.core.text import printable
from taskcore.store import counts, dependencies
from taskcore.store.busy import OF_A_ROW, Trouble, code, passing, said
from taskcore.store.columns import ARGS
from taskcore.store.queries import NO_ARGUMENTS

SHOWN: Final = 10
"""Ids that are named in a finding; of the rest, how many."""


class Rule(NamedTuple):
    """Something that must always hold."""

    what: str
    """Tasks that …"""
    mend: str
    sql: str
    """→ rows (id of a task, a word on it or NULL); it sees taskcore_task as `t`."""


_ANEW: Final = "no verb counts this anew: cancel those that have not ended, and submit them again"
_DELETE: Final = "delete such rows with SQL while no engine is open; no task is lost by it"
RESTORE: Final = "restore a backup, or save what can be read: python -m taskcore FILE salvage NEW"
_UNCOUNT: Final = "DELETE FROM taskcore_count, with SQL: it is counted anew"
_RERUN: Final = "cancel them and rerun them: they go on behind their kept steps"

# What is counted in a task's row, as it would be counted anew.
BEHIND: Final = """EXISTS (
        SELECT 1 FROM taskcore_queue AS own JOIN taskcore_queue AS q ON q.serial = own.serial AND q.place < own.place
        WHERE own.task = t.id)"""
BLOCKERS: Final = """(t.gated + t.behind + (
        SELECT count(*) FROM taskcore_edge AS e WHERE e.task = t.id AND e.verdict IN ('unmet', 'doomed')))"""
OPEN: Final = """(
        SELECT count(*) FROM taskcore_task AS c WHERE c.parent = t.id AND (c.finished_at IS NULL OR c.open > 0))"""
CHILDREN: Final = "(SELECT count(*) FROM taskcore_task AS c WHERE c.parent = t.id)"

RULES: Final = (
    Rule(
        "count something else as holding them back than what does",
        _ANEW,
        f"""SELECT t.id, t.blockers || ' instead of ' || {BLOCKERS}
            FROM taskcore_task AS t WHERE t.blockers <> {BLOCKERS}""",
    ),
    Rule(
        "depend on something that is no longer what was noted of it",
        "of tasks that have not begun, say depends_on() again with the same task; cancel others",
        f"""SELECT t.id, 'on #' || u.id FROM taskcore_edge AS e
            JOIN taskcore_task AS t ON t.id = e.task JOIN taskcore_task AS u ON u.id = e.upstream
            WHERE t.finished_at IS NULL AND t.phase <> 'running' AND e.verdict <> {dependencies.VERDICT}""",
    ),
    Rule(
        "wait for something that can no longer come, and were not skipped",
        "cancel them",
        """SELECT t.id, 'on #' || e.upstream FROM taskcore_edge AS e JOIN taskcore_task AS t ON t.id = e.task
           WHERE e.verdict = 'doomed' AND t.phase IN ('waiting', 'scheduled', 'ready')
           AND t.cancel_requested_at IS NULL""",
    ),
    Rule(
        "are waiting, and nothing holds them back",
        "pause and resume them",
        "SELECT t.id, NULL FROM taskcore_task AS t WHERE t.phase = 'waiting' AND t.blockers = 0",
    ),
    Rule(
        "are to be paused and are not",
        "pause them again",
        """SELECT t.id, t.phase FROM taskcore_task AS t
           WHERE t.held = 1 AND t.phase IN ('waiting', 'scheduled', 'ready')""",
    ),
    Rule(
        "wait for a job that holds nobody back",
        "pause and resume the job; where there is none, or where it has ended, cancel them and submit them again",
        """SELECT t.id, ifnull('of #' || p.id, 'of none')
           FROM taskcore_task AS t LEFT JOIN taskcore_task AS p ON p.id = t.parent
           WHERE t.gated = 1 AND t.finished_at IS NULL
           AND (p.id IS NULL OR p.job IS NULL OR p.phase = 'suspended' OR p.finished_at IS NOT NULL)""",
    ),
    Rule(
        "count other unfinished children than they have",
        "no verb counts this anew, and the job that this is, or that is above, may never end: cancel it, make another",
        f"SELECT t.id, t.open || ' instead of ' || {OPEN} FROM taskcore_task AS t WHERE t.open <> {OPEN}",
    ),
    Rule(
        "count fewer children than they have",
        "nothing waits for this number: a job's progress is shown wrongly, and that is all",
        f"""SELECT t.id, t.children || ' instead of ' || {CHILDREN}
            FROM taskcore_task AS t WHERE t.children < {CHILDREN}""",
    ),
    Rule(
        "are jobs that ended before their children",
        "wait for the children, or cancel them; then rerun the job if its result matters",
        """SELECT t.id, t.phase FROM taskcore_task AS t WHERE t.job IS NOT NULL AND t.finished_at IS NOT NULL
           AND t.phase <> 'skipped' AND EXISTS (
               SELECT 1 FROM taskcore_task AS c WHERE c.parent = t.id AND (c.finished_at IS NULL OR c.open > 0)
           )""",
    ),
    Rule(
        "are jobs that should have ended",
        "cancel them, and rerun them if they are to be more than cancelled",
        """SELECT t.id, t.phase FROM taskcore_task AS t
           WHERE t.job IS NOT NULL AND t.finished_at IS NULL AND t.open = 0 AND (
               t.phase = 'suspended' OR t.cancel_requested_at IS NOT NULL
               OR (t.phase = 'paused' AND t.waiting_for = 'children')
           )""",
    ),
    Rule(
        "are jobs that forgot how some of their children ended",
        "rerun them: they and their children run again, and are counted again",
        """SELECT DISTINCT j.id, NULL FROM (
               SELECT parent, ifnull(label, phase) AS status, count(*) AS n FROM taskcore_task
               WHERE parent IS NOT NULL AND finished_at IS NOT NULL GROUP BY 1, 2
           ) AS c JOIN taskcore_task AS j ON j.id = c.parent AND j.job IS NOT NULL
           LEFT JOIN taskcore_tally AS y ON y.job = j.id AND y.status = c.status
           WHERE ifnull(y.n, 0) < c.n""",
    ),
    Rule(
        "have a serial value and stand in no queue, or in another one's, or in one though they have ended",
        "cancel and rerun them: they go to the end of their queue; a row of one that ended: " + _DELETE,
        """SELECT t.id, t.phase FROM taskcore_task AS t LEFT JOIN taskcore_queue AS q ON q.task = t.id
           WHERE (t.serial IS NOT NULL AND t.finished_at IS NULL) <> (q.task IS NOT NULL) OR q.serial <> t.serial""",
    ),
    Rule(
        "are first in their queue and do not know it, or are not and do not know that",
        _ANEW,
        f"SELECT t.id, NULL FROM taskcore_task AS t WHERE t.finished_at IS NULL AND t.behind <> {BEHIND}",
    ),
    Rule(
        "are to be woken by others, and do not sleep or the others have ended",
        _RERUN + "; of those that do not sleep, it does no harm",
        """SELECT DISTINCT t.id, t.phase FROM taskcore_join AS j JOIN taskcore_task AS t ON t.id = j.task
           LEFT JOIN taskcore_task AS u ON u.id = j.upstream
           WHERE t.phase <> 'suspended' OR t.job IS NOT NULL OR u.id IS NULL OR u.finished_at IS NOT NULL""",
    ),
    Rule(
        "sleep, and nothing will wake them",
        _RERUN,
        """SELECT t.id, t.waiting_for FROM taskcore_task AS t
           WHERE t.phase = 'suspended' AND t.job IS NULL AND t.greenfield IS NULL
           AND ifnull(t.waiting_for, '') NOT LIKE 'signal %'
           AND NOT EXISTS (SELECT 1 FROM taskcore_join AS j WHERE j.task = t.id)""",
    ),
    Rule(
        "sleep until a signal that has come",
        "send the signal again, and delete the one that is too many",
        """SELECT t.id, t.waiting_for FROM taskcore_task AS t JOIN taskcore_signal AS s ON s.task = t.id
           WHERE t.phase = 'suspended' AND t.job IS NULL AND t.waiting_for = 'signal ' || s.name""",
    ),
    Rule(
        "run at a worker that has signed off",
        'engine.claimed("ID.TOKEN").release(), with what stands in brackets',
        """SELECT t.id, t.id || '.' || t.token FROM taskcore_task AS t JOIN taskcore_worker AS w ON w.id = t.worker
           WHERE t.phase = 'running' AND w.ended_at IS NOT NULL""",
    ),
    Rule(
        "have more attempts, failures or lapses than they may",
        "rerun them when they have ended: failures and lapses count from 0 again",
        """SELECT t.id, t.attempts || ', ' || t.failures || ', ' || t.lapses
           FROM taskcore_task AS t JOIN taskcore_kind AS k ON k.id = t.kind
           WHERE t.attempts > t.token OR t.failures > k.max_attempts OR t.lapses > k.max_lapses + 1
           OR t.attempts < (SELECT count(*) FROM taskcore_attempt AS a WHERE a.task = t.id)""",
    ),
    Rule(
        "are what a key stands for that is not theirs",
        "delete them when they have ended; the task that has the key takes it back when it is rerun",
        """SELECT t.id, x.key FROM taskcore_key AS x JOIN taskcore_task AS t ON t.id = x.task
           JOIN taskcore_kind AS k ON k.id = t.kind WHERE t.key IS NOT x.key OR k.name <> x.name""",
    ),
    Rule(
        "have a key that leads to no task: the same could be submitted once more",
        "cancel and rerun them: they take their key again",
        """SELECT t.id, t.key FROM taskcore_task AS t JOIN taskcore_kind AS k ON k.id = t.kind
           WHERE t.key IS NOT NULL AND t.finished_at IS NULL
           AND NOT EXISTS (SELECT 1 FROM taskcore_key AS x WHERE x.name = k.name AND x.key = t.key)""",
    ),
)

_INTEGRITY: Final = "PRAGMA integrity_check(20)"
_FOREIGN_KEYS: Final = "SELECT \"table\", \"parent\", count(*) FROM pragma_foreign_key_check GROUP BY 1, 2"


Found = tuple[str, str]
"""What is wrong, and what mends it."""


def _integrity(connection: sqlite3.Connection) -> list[Found]:
    """What SQLite finds wrong with the file itself."""
    rows = connection.execute(_INTEGRITY).fetchall()
    return [(f"the file is damaged: {text}", RESTORE) for (text,) in rows if text != "ok"]


def _foreign_keys(connection: sqlite3.Connection) -> list[Found]:
    """Rows that refer to others that are not there, ours and those of other tables in the file."""
    found = []
    for table, parent, n in connection.execute(_FOREIGN_KEYS).fetchall():
        ours = str(table).startswith("taskcore_")
        mend = RESTORE if table == "taskcore_task" else _DELETE if ours else "it is a table of yours: see to its rows"
        found.append((f"{n} rows of {table} refer to rows of {parent} that are not there", mend))
    return found


def _broken(rule: Rule, connection: sqlite3.Connection) -> list[Found]:
    rows = sorted(connection.execute(rule.sql).fetchall(), key=lambda row: row[0])
    return [(f"tasks that {rule.what}: {_listed(rows)}", rule.mend)] if rows else []


def _listed(rows: Sequence[tuple[int, Any]]) -> str:
    said = [f"#{task}" if word is None else f"#{task} ({str(word)[:60]})" for task, word in rows[:SHOWN]]
    more = len(rows) - len(said)
    return ", ".join(said) + (f" and {more} more" if more else "")


def _miscounted(connection: sqlite3.Connection) -> list[Found]:
    """Kept counts that are not what there is."""
    found = ("what is kept of how many tasks there are is wrong: counts() is not to be believed", _UNCOUNT)
    return [found] if counts.wrong(connection) else []


LOOKS: Final[Sequence[Callable[[sqlite3.Connection], list[Found]]]] = (
    _integrity,
    _foreign_keys,
    *(functools.partial(_broken, rule) for rule in RULES),
    _miscounted,
)
"""Each finds something."""


_VALUES: Final = f"""
    SELECT id, ifnull({ARGS}, ''), links, result, job FROM taskcore_task AS t WHERE id > ? ORDER BY id LIMIT 1000"""
_USELESS: Final = "cancel them if they have not ended, and delete them: nothing can make anything of them"
# What a step gave and what a signal brought are the codec's; times, counts and the ids of children are not.
_STEPS: Final = """
    SELECT task, place, kind = 'step' OR (kind = 'signal' AND state IN ('kept', 'loose')), result FROM taskcore_step
    WHERE (task, place) > (?, ?) ORDER BY 1, 2 LIMIT 1000"""


def _unreadable(codec: Codec, connection: sqlite3.Connection) -> list[Found]:
    """Values that the codec cannot read."""
    bad: dict[str, list[tuple[int, Any]]] = {"arguments": [], "links": [], "result": [], "step": []}

    def look(what: str, task: int, decode: Callable[[str], Any], text: str | None) -> None:
        try:
            if text is not None:
                decode(text)
        except Exception as error:  # a codec is the user's
            bad[what].append((task, said(error)))

    for task, args, links, result, job in _paged(connection, _VALUES, (0,)):
        look("arguments", task, json.loads if args == NO_ARGUMENTS else codec.decode, args)
        look("links", task, json.loads, links)
        look("result", task, json.loads if job else codec.decode, result)
    for task, _, encoded, result in _paged(connection, _STEPS, (0, -1)):
        look("step", task, codec.decode if encoded else json.loads, result)
    said_of = {what: _listed(rows) for what, rows in bad.items() if rows}
    return [(f"tasks of which the {what} cannot be read: {which}", _USELESS) for what, which in said_of.items()]


def _paged(connection: sqlite3.Connection, sql: str, key: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """All rows behind this key, which is the first of a row's columns; some at a time, for others go on meanwhile."""
    while rows := connection.execute(sql, key).fetchall():
        yield from rows
        key = rows[-1][: len(key)]


def _schedules(connection: sqlite3.Connection) -> list[Found]:
    """Schedules of which nobody knows any more what was said. (Options of kinds are read at opening.)"""
    found = []
    for name, text in connection.execute("SELECT name, given FROM taskcore_schedule").fetchall():
        try:
            json.loads(text)["said"]
        except (ValueError, TypeError, KeyError) as error:
            found.append((f"the options of the schedule {name!r} cannot be read ({said(error)})", RESTORE))
    return found


def findings(read: Callable[[Callable[[Any], list[Found]]], list[Found]], codec: Codec) -> list[Finding]:
    """What is wrong, SQLite's own findings first. Others go on between one rule and the next. Never raises for what is
    in the file; what cannot be looked at is a finding."""
    found: list[Found] = []
    looks: list[Callable[[Any], list[Found]]] = [*LOOKS, _schedules, functools.partial(_unreadable, codec)]
    for look in looks:
        try:
            found += read(look)
        except BadFile as error:  # what can still be read may be right or wrong
            found.append((error.reason, RESTORE))
        except OF_A_ROW + (Trouble,) as error:
            if isinstance(error, Trouble) and passing(error) and code(error) != 0:
                raise
            found.append((f"the file is damaged: {said(error)}", RESTORE))
    return list(dict.fromkeys(Finding(printable(what), mend) for what, mend in found))

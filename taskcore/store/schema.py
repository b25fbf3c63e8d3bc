"""The tables, and what the file itself refuses.

What a row may never be, whoever writes it, stands here as CHECKs and keys. What a row may not become, the lease
token on every report and the phase that a verb moves out of, stands in the verbs' own WHERE.
"""

from __future__ import annotations

from typing import Final

from taskcore.core import lifecycle
from taskcore.store.columns import LINES
from taskcore.store.views import VIEWS

FORMAT: Final = "5"
"""Of the file, in `taskcore_meta` under "format". A file with a greater one was written by a newer taskcore."""


def _words(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


META = "CREATE TABLE taskcore_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT"

# A label belongs to one phase for good: the composite key below lets no row pair it with another.
STATUS = f"""CREATE TABLE taskcore_status (
    label TEXT PRIMARY KEY,
    phase TEXT NOT NULL CHECK (phase IN ({_words(lifecycle.LABELLED)})),
    UNIQUE (label, phase),
    CONSTRAINT label_is_no_phase CHECK (label NOT IN ({_words(tuple(sorted(lifecycle.RESERVED)))}))
) STRICT"""

# One row per distinct (name, options that tasks of a kind share). Tasks queue by kind, so that a kind which cannot run
# here costs a claim one step, however many rows it has.
KIND = """CREATE TABLE taskcore_kind (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    max_attempts INTEGER CHECK (max_attempts >= 1),
    max_lapses INTEGER NOT NULL CHECK (max_lapses >= 0),
    options TEXT NOT NULL,
    CONSTRAINT one_row_a_kind UNIQUE (name, options)
) STRICT"""
# A job is a kind of its own, with a name of its own: those of a thousand nights cost an engine nothing.
KIND_JOB = """CREATE INDEX taskcore_kind_job ON taskcore_kind (instr(options, '"job": "'))"""

# Whoever claims: an engine's process (with the lane whose lock proves that it lives), or anybody through `claim`.
WORKER = """CREATE TABLE taskcore_worker (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    lane INTEGER,
    started_at REAL NOT NULL,
    ended_at REAL
) STRICT"""
WORKER_NAME = "CREATE UNIQUE INDEX taskcore_worker_name ON taskcore_worker (name) WHERE lane IS NULL"
WORKER_ALIVE = "CREATE UNIQUE INDEX taskcore_worker_alive ON taskcore_worker (lane) WHERE ended_at IS NULL"

TASK = f"""CREATE TABLE taskcore_task (
    {LINES},
    FOREIGN KEY (label, phase) REFERENCES taskcore_status (label, phase),
    CONSTRAINT a_row_is_what_its_phase_says CHECK (CASE phase
        WHEN 'ready' THEN finished_at IS NULL AND greenfield IS NULL AND blockers = 0
        WHEN 'running' THEN finished_at IS NULL AND greenfield IS NOT NULL AND worker IS NOT NULL
            AND started_at IS NOT NULL AND token > 0
        WHEN 'succeeded' THEN finished_at IS NOT NULL AND greenfield IS NULL
        WHEN 'waiting' THEN finished_at IS NULL
        WHEN 'scheduled' THEN finished_at IS NULL AND greenfield IS NOT NULL AND blockers = 0
        WHEN 'suspended' THEN finished_at IS NULL
        WHEN 'paused' THEN finished_at IS NULL AND held = 1
        WHEN 'failed' THEN finished_at IS NOT NULL AND greenfield IS NULL
        WHEN 'cancelled' THEN finished_at IS NOT NULL AND greenfield IS NULL
        WHEN 'skipped' THEN finished_at IS NOT NULL AND greenfield IS NULL
        ELSE 0 END)
) STRICT"""

# The order of this index is the order of claims; the row's id, submission, comes last by itself.
TASK_READY = """CREATE INDEX taskcore_task_ready
    ON taskcore_task (kind, priority DESC, ahead DESC) WHERE phase = 'ready'"""
# Everything else that somebody may look for; what is ready has its own index, what succeeded is the bulk of the file.
TASK_PHASE = """CREATE INDEX taskcore_task_phase
    ON taskcore_task (phase, greenfield) WHERE phase NOT IN ('ready', 'succeeded')"""
TASK_PARENT = "CREATE INDEX taskcore_task_parent ON taskcore_task (parent) WHERE parent IS NOT NULL"
TASK_GATED = "CREATE INDEX taskcore_task_gated ON taskcore_task (parent) WHERE gated = 1"

# SQLite writes a whole row anew when anything in it changes: long arguments stand by themselves, and are written once.
TEXT = """CREATE TABLE taskcore_text (
    task INTEGER PRIMARY KEY REFERENCES taskcore_task (id),
    args TEXT NOT NULL
) STRICT"""

# Clustered by upstream: an end touches one run of pages, however many depend on it. `watch`: 0 the upstream's success
# meets it (and nothing else is asked), 1 some other end is asked for, 2 what is asked for may cease to hold. The checks
# say OR: for an IN of three or more SQLite builds a table at every statement, which took two thirds of an edge's time.
EDGE = """CREATE TABLE taskcore_edge (
    upstream INTEGER NOT NULL REFERENCES taskcore_task (id),
    task INTEGER NOT NULL REFERENCES taskcore_task (id),
    wants TEXT NOT NULL,
    otherwise TEXT NOT NULL CHECK (otherwise = 'skip' OR otherwise = 'wait' OR otherwise = 'drop'),
    verdict TEXT NOT NULL CHECK (verdict = 'unmet' OR verdict = 'met' OR verdict = 'dropped' OR verdict = 'doomed'),
    watch INTEGER NOT NULL CHECK (watch BETWEEN 0 AND 2),
    PRIMARY KEY (upstream, task),
    CONSTRAINT not_on_itself CHECK (upstream <> task)
) STRICT, WITHOUT ROWID"""
EDGE_TASK = "CREATE INDEX taskcore_edge_task ON taskcore_edge (task)"
EDGE_WATCH = "CREATE INDEX taskcore_edge_watch ON taskcore_edge (watch) WHERE watch > 0"

# The task that a name and key stand for: the newest, or one that was rerun since. The task's own `key` column stays
# with tasks that another one has replaced.
KEY = """CREATE TABLE taskcore_key (
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    task INTEGER NOT NULL REFERENCES taskcore_task (id),
    PRIMARY KEY (name, key)
) STRICT, WITHOUT ROWID"""
TASK_KEY = "CREATE INDEX taskcore_task_key ON taskcore_task (key) WHERE key IS NOT NULL"
KEY_TASK = "CREATE INDEX taskcore_key_task ON taskcore_key (task)"

TAG = """CREATE TABLE taskcore_tag (
    task INTEGER NOT NULL REFERENCES taskcore_task (id),
    position INTEGER NOT NULL,
    tag TEXT NOT NULL,
    PRIMARY KEY (task, position)
) STRICT, WITHOUT ROWID"""
TAG_TAG = "CREATE INDEX taskcore_tag_tag ON taskcore_tag (tag)"

# Attempts that did not succeed, and the successful ones of lives before a rerun. The newest success is in its task's
# row.
ATTEMPT = """CREATE TABLE taskcore_attempt (
    task INTEGER NOT NULL REFERENCES taskcore_task (id),
    number INTEGER NOT NULL,
    worker INTEGER REFERENCES taskcore_worker (id),
    started_at REAL,
    finished_at REAL,
    outcome TEXT NOT NULL CHECK (outcome IN ('succeeded', 'failed', 'cancelled', 'lapsed')),
    error_type TEXT,
    error TEXT,
    traceback TEXT,
    PRIMARY KEY (task, number)
) STRICT, WITHOUT ROWID"""

# What a body has behind it: steps whose results are kept, submits, sleeps, signals taken. `within` is the step that the
# call was made in, `n` the how many-th call of its kind and name there. "waiting" has begun and has its deadline as
# result; "failed" has its place, but runs again; "loose" was passed over when what had failed took another course.
STEP = """CREATE TABLE taskcore_step (
    task INTEGER NOT NULL REFERENCES taskcore_task (id),
    place INTEGER NOT NULL,
    within TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    n INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state = 'kept' OR state = 'waiting' OR state = 'failed' OR state = 'loose'),
    child INTEGER,
    attempt INTEGER NOT NULL,
    started_at REAL NOT NULL,
    finished_at REAL,
    result TEXT,
    PRIMARY KEY (task, place)
) STRICT, WITHOUT ROWID"""

# Who sleeps until whom has ended: one row a suspension and upstream, gone at the wake.
JOIN = """CREATE TABLE taskcore_join (
    upstream INTEGER NOT NULL REFERENCES taskcore_task (id),
    task INTEGER NOT NULL REFERENCES taskcore_task (id),
    PRIMARY KEY (upstream, task)
) STRICT, WITHOUT ROWID"""
JOIN_TASK = "CREATE INDEX taskcore_join_task ON taskcore_join (task)"

SIGNAL = """CREATE TABLE taskcore_signal (
    id INTEGER PRIMARY KEY,
    task INTEGER NOT NULL REFERENCES taskcore_task (id),
    name TEXT NOT NULL,
    payload TEXT NOT NULL,
    sent_at REAL NOT NULL
) STRICT"""
SIGNAL_TASK = "CREATE INDEX taskcore_signal_task ON taskcore_signal (task, name)"

# How a job's children ended: what its own end and result are read from, however many they are.
TALLY = """CREATE TABLE taskcore_tally (
    job INTEGER NOT NULL REFERENCES taskcore_task (id),
    status TEXT NOT NULL,
    phase TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (job, status)
) STRICT, WITHOUT ROWID"""

# The tasks of each serial value that have not ended. The first may run.
QUEUE = """CREATE TABLE taskcore_queue (
    serial TEXT NOT NULL,
    place INTEGER NOT NULL,
    task INTEGER NOT NULL REFERENCES taskcore_task (id),
    PRIMARY KEY (serial, place)
) STRICT, WITHOUT ROWID"""
QUEUE_TASK = "CREATE UNIQUE INDEX taskcore_queue_task ON taskcore_queue (task)"

LOG = """CREATE TABLE taskcore_log (
    task INTEGER NOT NULL REFERENCES taskcore_task (id),
    line INTEGER NOT NULL,
    at REAL NOT NULL,
    level TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (task, line)
) STRICT, WITHOUT ROWID"""

# How much of each capacity there is, or, under "name:" and a task's name, how many of those may run at a time. `given`
# is what code said last, so that the same value said again leaves an operator's change alone.
LIMIT = """CREATE TABLE taskcore_limit (
    name TEXT PRIMARY KEY,
    given INTEGER CHECK (given >= 0),
    value INTEGER CHECK (value >= 0)
) STRICT"""

# At most `n` starts of a name in any `period` seconds; `recent` is JSON `[[when, how many], …]`.
RATE = """CREATE TABLE taskcore_rate (
    name TEXT PRIMARY KEY,
    n INTEGER NOT NULL CHECK (n >= 1),
    period REAL NOT NULL CHECK (period > 0),
    recent TEXT NOT NULL DEFAULT '[]'
) STRICT"""

# Names of which nothing is claimed; the empty one is the whole file.
HOLD = "CREATE TABLE taskcore_hold (name TEXT PRIMARY KEY) STRICT"

# `given` is what code said last, JSON. What has been due is `last_at`, of which the task is `last_task`.
SCHEDULE = """CREATE TABLE taskcore_schedule (
    name TEXT PRIMARY KEY,
    task TEXT NOT NULL,
    options TEXT NOT NULL,
    every REAL CHECK (every > 0),
    cron TEXT,
    tz TEXT,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    given TEXT NOT NULL,
    next_at REAL,
    last_at REAL,
    last_task INTEGER,
    CONSTRAINT one_way_or_the_other CHECK ((every IS NULL) <> (cron IS NULL))
) STRICT"""

# No due time is fired twice, also behind a clock that was set back. The newest stay when their tasks are deleted.
FIRE = """CREATE TABLE taskcore_fire (
    schedule TEXT NOT NULL,
    due_at REAL NOT NULL,
    task INTEGER NOT NULL,
    PRIMARY KEY (schedule, due_at)
) STRICT, WITHOUT ROWID"""
FIRE_TASK = "CREATE INDEX taskcore_fire_task ON taskcore_fire (task)"

# What is known of a range of ids without reading its tasks: see `counts`. Of the children of a task, or, where `parent`
# is 0, of all. No label is ''. `first` is the lowest id. `block` is the number of a block, of a piece beyond `PIECES`,
# or, counted down from -1, of a stretch.
COUNT = """CREATE TABLE taskcore_count (
    block INTEGER NOT NULL,
    parent INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    phase TEXT NOT NULL,
    label TEXT NOT NULL,
    hidden INTEGER NOT NULL,
    first INTEGER NOT NULL,
    n INTEGER NOT NULL CHECK (n > 0),
    PRIMARY KEY (block, parent, kind, phase, label, hidden)
) STRICT, WITHOUT ROWID"""
BLOCK: Final = 4096
"""Ids of a block."""
FAN: Final = 16
"""Pieces of a block, and blocks of a stretch."""
PIECES: Final = 1 << 60
"""The number of the first piece."""

STATEMENTS: Final = (
    META, STATUS, KIND, KIND_JOB, WORKER, WORKER_NAME, WORKER_ALIVE, TASK, TASK_READY, TASK_PHASE, TASK_PARENT,
    TASK_GATED, TASK_KEY, EDGE, EDGE_TASK, EDGE_WATCH, KEY, KEY_TASK, TAG, TAG_TAG, ATTEMPT, STEP, JOIN, JOIN_TASK,
    SIGNAL, SIGNAL_TASK, TALLY, QUEUE, QUEUE_TASK, LOG, LIMIT, RATE, HOLD, SCHEDULE, FIRE,
    FIRE_TASK, COUNT, TEXT, *VIEWS,
)  # fmt: skip

FIRST_ROWS: Final = (("format", FORMAT), ("last_id", "0"), ("kinds_removed", "0"))
"""Of `taskcore_meta`. `last_id`: the highest id of a task that was deleted. `kinds_removed`: how many times kinds were,
by which other processes see that what they remember of them is old."""

"""The life of a task: its phases, its verbs, and the one table of transitions.

The store makes the guard and the target of each UPDATE of a phase from `TABLE`, so a pair that is not in it cannot be
written. Where the rows of one statement take different verbs, `BY_ROW` says which. The built-in status labels are the
phases' own names; a label of the user's belongs to exactly one phase (`LABELLED` says which may have some).
"""

from __future__ import annotations

from typing import Final

WAITING: Final = "waiting"
SCHEDULED: Final = "scheduled"
READY: Final = "ready"
RUNNING: Final = "running"
SUSPENDED: Final = "suspended"
PAUSED: Final = "paused"
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
SKIPPED: Final = "skipped"

PHASES: Final = (WAITING, SCHEDULED, READY, RUNNING, SUSPENDED, PAUSED, SUCCEEDED, FAILED, CANCELLED, SKIPPED)
ENDED: Final = (SUCCEEDED, FAILED, CANCELLED, SKIPPED)
PENDING: Final = (WAITING, SCHEDULED, READY, PAUSED)
"""What a dependency on "pending" is met by: not begun, or between two attempts."""

LABELLED: Final = (RUNNING, SUCCEEDED, FAILED, CANCELLED)
"""The phases that may have labels of the user's own."""

ANY_END: Final = "finished"
NOT_BEGUN: Final = "pending"
RESERVED: Final = frozenset((*PHASES, ANY_END, NOT_BEGUN))
"""Words that no label of the user's may be."""

TABLE: Final[dict[tuple[str, str], str]] = {
    # a task is born waiting, and comes back as waiting; the one release rule frees it when nothing holds it
    (WAITING, "release"): READY,
    (WAITING, "schedule"): SCHEDULED,
    (WAITING, "pause"): PAUSED,
    (WAITING, "cancel"): CANCELLED,
    (WAITING, "skip"): SKIPPED,
    # waits for its time
    (SCHEDULED, "promote"): READY,
    (SCHEDULED, "block"): WAITING,
    (SCHEDULED, "pause"): PAUSED,
    (SCHEDULED, "cancel"): CANCELLED,
    (SCHEDULED, "skip"): SKIPPED,
    # may be claimed
    (READY, "claim"): RUNNING,
    (READY, "block"): WAITING,
    (READY, "pause"): PAUSED,
    (READY, "cancel"): CANCELLED,
    (READY, "skip"): SKIPPED,
    # claimed: every verb but `lapse` and `lose` shows the lease token
    (RUNNING, "succeed"): SUCCEEDED,
    (RUNNING, "fail"): FAILED,
    (RUNNING, "obey"): CANCELLED,
    (RUNNING, "retry"): WAITING,
    (RUNNING, "snooze"): WAITING,
    (RUNNING, "give back"): WAITING,
    (RUNNING, "suspend"): SUSPENDED,
    (RUNNING, "lapse"): WAITING,
    (RUNNING, "lose"): FAILED,
    # gave its thread back
    (SUSPENDED, "wake"): WAITING,
    (SUSPENDED, "cancel"): CANCELLED,
    # an operator holds it
    (PAUSED, "resume"): WAITING,
    (PAUSED, "cancel"): CANCELLED,
    # a job has no body: open, it is suspended, and its children end it
    (WAITING, "open"): SUSPENDED,
    (SCHEDULED, "open"): SUSPENDED,
    (PAUSED, "open"): SUSPENDED,  # again: it was when it was paused
    (SUSPENDED, "pause"): PAUSED,
    (SUSPENDED, "complete"): SUCCEEDED,
    (PAUSED, "complete"): SUCCEEDED,
    (SUSPENDED, "fall short"): FAILED,
    (PAUSED, "fall short"): FAILED,
    (PAUSED, "skip"): SKIPPED,  # a child of a job that is skipped
    (SUCCEEDED, "reopen"): WAITING,
    (FAILED, "reopen"): WAITING,
    (CANCELLED, "reopen"): WAITING,
    (SKIPPED, "reopen"): WAITING,
    # ended
    (SUCCEEDED, "rerun"): WAITING,
    (FAILED, "rerun"): WAITING,
    (CANCELLED, "rerun"): WAITING,
    (SKIPPED, "rerun"): WAITING,
}

VERBS: Final = tuple(dict.fromkeys(verb for _, verb in TABLE))

FROM: Final[dict[str, tuple[str, ...]]] = {
    verb: tuple(phase for phase in PHASES if (phase, verb) in TABLE) for verb in VERBS
}
"""For each verb, the phases it moves a task out of."""

BY_ROW: Final[dict[str, tuple[str, ...]]] = {
    "free": ("pause", "schedule", "open", "release"),  # the release rule, for what nothing holds back any more
    "reach its time": ("open", "promote"),  # a job opens, a task may be claimed
    "come back unbegun": ("obey", "give back"),  # a request to cancel wins
    "lose its worker": ("obey", "lose", "lapse"),  # likewise; then the cap on lapses decides
    "let go": ("open", "resume"),  # a job that was open when it was paused is open again
    "live again": ("reopen", "rerun"),  # a job, because something below it lives again; any other task
    "run out of children": ("cancel", "fall short", "complete"),  # the end of a job
}
"""Decisions that are made per row: each row takes the first of these verbs whose condition holds, or the last."""

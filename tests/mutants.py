"""Seeded bugs: each is put into a scratch copy of the project, alone, and the tests named beside it must find it.

    python -m tests.mutants             # all of them
    python -m tests.mutants lapse give  # those with one of these words in their text

Prints a line a mutant, and ends with the survivors. A bug that changes nothing anybody could see is marked with `=`, and
is not counted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 60
"""Seconds in which a mutant is to be found."""


class Mutant(NamedTuple):
    file: str
    old: str
    new: str
    tests: str
    """Paths below `tests/`, the likeliest first."""
    equivalent: bool = False


def m(file: str, old: str, new: str, tests: str, equivalent: bool = False) -> Mutant:
    return Mutant(f"taskcore/{file}.py", old, new, tests, equivalent)


LIFE, DEPS, CLAIM = "store/test_life.py", "store/test_dependencies.py", "api/test_claim.py"
SIM, WALKS, FAMILIES = "storms/test_simulation.py", "store/test_walks.py", "store/test_family_walks.py"
CHILDREN = "store/test_counts_of_children.py"
SCHEDULER, JOBS, FUTURE, EXECUTOR = "runtime/test_scheduler.py", "api/test_jobs.py", "api/test_future.py", "api/test_executor.py"

MUTANTS = [
    # -- the table of a task's life
    m("core/lifecycle", '(RUNNING, "lapse"): WAITING', '(RUNNING, "lapse"): FAILED', LIFE),
    m("core/lifecycle", '(RUNNING, "lose"): FAILED', '(RUNNING, "lose"): CANCELLED', LIFE),
    m("core/lifecycle", '(SUSPENDED, "cancel"): CANCELLED,\n', "", "store/test_life.py body/test_suspension.py"),
    m("core/lifecycle", '"free": ("pause", "schedule", "open", "release")', '"free": ("schedule", "pause", "open", "release")', LIFE),
    m("core/lifecycle", '"lose its worker": ("obey", "lose", "lapse")', '"lose its worker": ("lose", "obey", "lapse")', LIFE),
    m("core/lifecycle", 'PENDING: Final = (WAITING, SCHEDULED, READY, PAUSED)', 'PENDING: Final = (WAITING, SCHEDULED, READY)', f"{DEPS} {WALKS}"),
    # -- claims
    m("store/claims", "ORDER BY priority DESC, ahead DESC, id", "ORDER BY ahead DESC, priority DESC, id", f"{CLAIM} {WALKS}"),
    m("store/claims", "ORDER BY priority DESC, ahead DESC, id", "ORDER BY priority DESC, id", f"{WALKS} {CLAIM} api/test_options.py store/test_claims.py"),
    m("store/claims", "token = token + 1, attempts", "token = token, attempts", LIFE),
    m("store/claims", "attempts = attempts + 1, worker", "attempts = attempts, worker", LIFE),
    m("store/claims", "first_started_at = ifnull(first_started_at, :now)", "first_started_at = :now", f"{LIFE} {CLAIM} parity"),
    m("store/claims", "AND t.token = claim.value->>1", "", f"{LIFE} {CLAIM}"),
    m("store/claims", "attempts = attempts - 1, worker = NULL, label = NULL,\n        phase", "worker = NULL, label = NULL,\n        phase", f"{CLAIM} {LIFE}"),
    m("store/claims", "started_at = CASE WHEN attempts > 1 THEN started_at END,", "", f"{CLAIM} {LIFE} {WALKS}"),
    m("store/claims", "SET greenfield = max(greenfield, ?)", "SET greenfield = ?", CLAIM),
    m("store/claims", "tx.end([task for task, cancelled in given if cancelled])", "pass", f"{FUTURE} {CLAIM} {EXECUTOR} {LIFE}"),
    m("store/claims", "    if blocked:\n        give_back(tx, blocked, now)\n", "", f"{DEPS} {WALKS}"),
    m("store/claims", "if seen[place] == share < kinds[place][1]:\n            return chosen, True", "if seen[place] == share < kinds[place][1]:\n            return chosen, False", f"{SCHEDULER} api/test_limits.py store/test_claims.py {CLAIM}"),
    # -- counts, long arguments, signals
    m("store/claims", "    tx.uncount(listed(ids))\n", "", "store/test_counts.py"),
    m("store/dependencies", "    tx.uncount(ids)\n    tx.execute(_RELEASE", "    tx.execute(_RELEASE", "store/test_counts.py"),
    m("store/dependencies", "            tx.uncount(tx.execute(_BELOW, (listed(tasks),)).fetchall()[0][0])\n", "            pass\n", "store/test_counts.py"),
    m("store/dependencies", "        tx.uncount(json.dumps([task]))\n", "", "store/test_counts.py"),
    m("store/settle", "    tx.uncount(text)\n", "", "store/test_counts.py"),
    m("store/transaction", "DELETE FROM taskcore_count WHERE block IN", "DELETE FROM taskcore_count WHERE parent = 0 AND block IN", CHILDREN),
    m("store/transaction", "SELECT :pieces + n FROM piece UNION ALL ", "", "store/test_counts.py"),
    m("store/transaction", " UNION ALL SELECT n / :fan FROM piece", "", "store/test_counts.py"),
    m("store/transaction", "        UNION ALL SELECT -1 - n / :fan / :fan FROM piece", "", "store/test_counts.py"),
    m("store/counts", "n < (SELECT max(id) FROM taskcore_task) / :piece AND NOT EXISTS", "NOT EXISTS", CHILDREN),
    m("store/counts", "    WHERE w.n < (SELECT max(id) FROM taskcore_task) / SIZE AND NOT EXISTS", "    WHERE NOT EXISTS", f"store/test_counts.py {CHILDREN}"),
    m("store/counts", "        WHERE NOT EXISTS (SELECT 1 FROM taskcore_count AS k", "        WHERE 0 AND NOT EXISTS (SELECT 1 FROM taskcore_count AS k", "store/test_counts.py"),
    m("store/counts", "        AND EXISTS (\n            SELECT 1 FROM taskcore_task AS one WHERE AMONG AND", "        AND EXISTS (\n            SELECT 1 FROM taskcore_task AS one WHERE 1 OR AMONG AND", CHILDREN),
    m("store/counts", "        SELECT 1 FROM taskcore_task AS one WHERE {_IN", "        SELECT 1 FROM taskcore_task AS one WHERE 0 AND {_IN", CHILDREN),
    m("store/counts", "WHERE c.block = # AND c.parent = :parent LIMIT 1)", "WHERE c.block = # LIMIT 1)", CHILDREN),
    m("store/counts", "ON c.block = range.kept AND c.parent = :parent", "ON c.block = range.kept", CHILDREN),
    m("store/counts", "GROUP BY 1 HAVING min(c.phase IN", "GROUP BY 1 HAVING max(c.phase IN", "store/test_counts.py"),
    m("store/counts", "_among(_STRETCHES, not parent), ", "", "store/test_counts.py"),
    m("store/counts", " AND m.parent = :sign", " AND m.parent < 0 AND :sign < 0", CHILDREN),
    m("store/counts", "if row[0] not in begun]", "]", CHILDREN),
    m("store/counts", "_UNMARK, ", "", CHILDREN),
    m("store/counts", "    known.has_counts = True  #", "    #", CHILDREN),
    m("store/dependencies", "        tx.uncount(json.dumps(tasks))\n        tx.execute(_CHANGES_APPLIED", "        tx.execute(_CHANGES_APPLIED", "store/test_counts.py"),
    m("store/counts", "INSERT OR IGNORE INTO", "INSERT INTO", CHILDREN),
    m("store/counts", "return chosen.parent if many else None", "return chosen.parent", CHILDREN),
    m("store/counts", 'chosen.names <= ANSWERED | {"parent"}', "chosen.names", f"{CHILDREN} api/test_selection.py"),
    m("store/queries", "0 < accepted[0] <= GREATEST", "accepted[0]", CHILDREN),
    m("store/submit", "len(args) > LONG or not args", "False", "store/test_long_arguments.py"),
    m("store/operations", '("edge", "key", "tag", "text", "attempt", "log")', '("edge", "key", "tag", "attempt", "log")', "store/test_long_arguments.py"),
    m("store/claims", "None if kept > FEW or behind is None", "None if behind is None", "runtime/test_statements.py"),
    m("api/visit", "claimed = claimed._replace(behind=None)", "claimed = claimed", "api/test_guests.py"),
    m("body/replay", "        if not self.pending and drop is None and saved is None:\n", "        if False:\n", "runtime/test_statements.py"),
    m("store/steps", "    keep_alone(together, step._replace(", "    keep_alone(together, step) if False else (step._replace(", "body/test_steps.py"),
    m("store/together", "                    other.changed = changed\n", "                    pass\n", "store/test_together.py"),
    m("store/steps", "    if not rows:\n        raise LeaseLost(task, token)\n    return bool(rows[0][0])", "    return bool(rows and rows[0][0])", "body/test_steps.py"),
    m("runtime/notes", " or self._writer is not None", "", "body/test_showing.py"),
    m("runtime/custody", "return self.short and ", "return ", "runtime/test_custody.py"),
    m("store/suspension", "AND kind = 'signal' AND name = ? AND state = 'waiting'\"\"\"\n_SEND", "AND kind = 'signal' AND ? <> '' AND state = 'waiting'\"\"\"\n_SEND", "body/test_suspension.py"),
    m("store/suspension", "if found[0][0] and task not in self._received:", "if found[0][0]:", "body/test_suspension.py"),
    m("store/submit", "doomed, tx.doomed = tx.doomed, True", "doomed = tx.doomed", "store/test_faults.py"),
    m("store/submit", "        if task >= self._first or len(self._signals)", "        if len(self._signals)", "body/test_suspension.py"),
    m("api/submission", " or not text.isprintable()", "", "body/test_children.py"),
    # -- reports
    m("store/dependencies", "        tx.timed = tx.timed or (1,) in timed\n", "", f"{DEPS} {SCHEDULER}"),
    m("store/dependencies", "        tx.timed, held_up = True, tx", "        held_up = tx", f"{DEPS} {SCHEDULER}"),
    m("store/reports", "id = :id AND token = :token AND {leaving", "id = :id AND {leaving", f"{SCHEDULER} {LIFE}"),
    m("store/reports", "    if changed != len(batch):\n        raise StaleReport\n", "", f"{LIFE} {SIM}"),
    m("store/reports", "{_SUCCEED_ONE} AND parent IS NULL", "{_SUCCEED_ONE}", "runtime/test_statements.py"),
    m("store/reports", " AND serial IS NULL", "", "runtime/test_statements.py"),
    m("store/reports", "    AND NOT EXISTS (SELECT 1 FROM taskcore_edge WHERE upstream = :id)\n", "", "runtime/test_statements.py"),
    m("store/reports", "    AND NOT EXISTS (SELECT 1 FROM taskcore_join WHERE upstream = :id)\n", "", "runtime/test_statements.py"),
    m("store/reports", "AND token = ?\"\"\"", "AND ? > 0\"\"\"", LIFE),
    m("store/reports", 'verb = "obey" if cancel_requested and not returned else end.verb', "verb = end.verb", f"{LIFE} {CLAIM} body/test_bodies.py"),
    m("store/reports", "failures = failures + 1, result = ifnull", "result = ifnull", f"{LIFE} {WALKS}"),
    m("store/reports", "label = NULL, failures = failures + 1, ahead = :ahead", "label = NULL, failures = failures + 1, ahead = 0", f"{LIFE} {WALKS} parity"),
    m("store/reports", "        tx.execute(steps.TRY_AGAIN, {\"id\": end.id})\n", "", "body/test_children.py body"),
    m("store/reports", "lapses = lapses + (NOT :spared), label", "lapses = lapses, label", LIFE),
    m("store/reports", "ELSE lapses >= k.max_lapses END", "ELSE lapses > k.max_lapses END", LIFE),
    m("store/reports", "    tx.end([task for task, over in lapsed if over])\n", "", f"store/test_claims.py {FUTURE} {LIFE} storms/test_crash.py"),
    m("store/reports", "        tx.end([end.id], end._replace(verb=verb))\n", "        tx.fresh.append(end.id)\n", f"{FUTURE} {EXECUTOR}"),
    m("store/reports", "settle.released(tx, [end.id], now)\n    else", "pass\n    else", LIFE),
    m("store/reports", "        batch = [done for done in batch if done[:2] in held]\n", "", f"{LIFE} {SCHEDULER}"),
    m("runtime/scheduler", "        asked, self._ready = self._ready, False  #", "        asked = self._ready  #", SCHEDULER),
    m("runtime/loop", "                self._scheduler.file.line.give_way()\n", "                pass\n", "runtime/test_loop.py"),
    m("store/claims", "isinstance(error, sqlite3.DatabaseError) and not broken(error)", "True", "api/test_trouble.py"),
    m("api/submission", "        self.expect(spawn.parent, children)\n", "", "body/test_children.py"),
    m("store/suspension", "        tx.execute(_WAIT_HERE, (task, sleep.signal))\n", "        pass\n", "body/test_suspension.py"),
    m("store/line", "not came.isdisjoint(self.tickets)", "self.tickets", "store/test_line.py"),
    m("store/together", "if not (self._file.line.tickets and self._file.apart):", "if not self._file.line.tickets or self._file.current is not None:", "store/test_together.py"),
    m("runtime/custody", "            if self.held.get(end.id) is work:", "            if True:", SCHEDULER),
    m("store/workers", "if lanes.spared(lane, worker, task)]", "if False]", "api/test_leaving.py"),
    m("store/reports", "k.max_lapses = 0 OR :most", ":most", "api/test_leaving.py"),
    # -- what follows
    m("store/dependencies", "WHEN u.finished_at IS NULL OR e.otherwise = 'wait' THEN 'unmet'", "WHEN u.finished_at IS NULL THEN 'unmet'", DEPS),
    m("store/dependencies", "WHEN e.otherwise = 'drop' THEN 'dropped'", "", DEPS),
    m("store/dependencies", "OR (e.wants = 'finished' AND u.finished_at IS NOT NULL)", "", DEPS),
    m("store/dependencies", "        if not (doomed or tx.known.has_guards or tx.known.has_jobs):\n            return\n", "        if not doomed:\n            return\n", f"{DEPS} {WALKS} {FAMILIES}"),
    m("store/dependencies", "AND t.cancel_requested_at IS NULL\n        GROUP BY e.task", "GROUP BY e.task", f"{DEPS} {FAMILIES} {JOBS}"),
    m("store/dependencies", "    refuse_cycle(tx, task, upstream)\n", "", DEPS),
    m("store/dependencies", "AND (blockers = 0 OR held = 1)", "AND blockers = 0", f"{WALKS} {LIFE} {JOBS} {FAMILIES}"),
    m("store/settle", "                serial.ended(tx, ended, now)", "                pass", "store/test_serial.py"),
    m("store/settle", "                suspension.ended(tx, ended, now)", "                pass", "body/test_children.py"),
    m("store/settle", "    tx.requested.extend(task for task, _, running in rows if running)\n", "", f"{EXECUTOR} {FUTURE} api/test_processes.py body/test_bodies.py"),
    m("store/settle", "cancel_requested_at = :now, last_error = ifnull(:reason, last_error)", "cancel_requested_at = :now", "api/test_selection.py " + FUTURE),
    m("store/hierarchy", "    SELECT count(*), ifnull(max(held AND job IS NOT NULL), 0)", "    SELECT count(*), 0", f"{JOBS} {FAMILIES}"),
    m("store/hierarchy", "SET open = open - fewer.n", "SET open = open - 1", f"{JOBS} {FAMILIES} body/test_children.py"),
    m("store/hierarchy", "if job not in tx.building]", "]", f"{JOBS}"),
    m("store/hierarchy", "gated = 0, blockers = blockers - 1", "gated = 0", JOBS),
    m("store/serial", "    UPDATE taskcore_task SET behind = 0, blockers = blockers - 1", "    UPDATE taskcore_task SET behind = 0, blockers = blockers", "store/test_serial.py"),
    # -- time and workers
    m("store/due", "AND w.lane IS NULL\"\"\"\n_PROMOTE", "\"\"\"\n_PROMOTE", f"store/test_claims.py {CLAIM}"),
    m("store/due", "    if silent:\n        reports.lapse(tx, silent, now, \"its lease ran out\")\n", "", CLAIM),
    m("store/due", "        tx.freed = True\n", "", f"{SCHEDULER} runtime/test_threads.py"),
    m("store/workers", "begun is None or task in begun or (once and not certain)", "begun is None or task in begun", "store/test_claims.py"),
    m("store/workers", "begun is None or task in begun or (once and not certain)", "True", "store/test_claims.py"),
    m("store/workers", "if worker != own and lanes.is_dead(lane)", "if lanes.is_dead(lane)", f"{SIM} store/test_process_locks.py runtime", equivalent=True),  # its lane is among those that it holds
    m("store/workers", "        sign_off(tx, worker, now)\n    return", "    return", f"storms/test_crash.py {SIM}"),
    m("runtime/presence", "            if self._seen == tx.known.version or workers.is_alive(tx, self.worker):", "            if True:", f"{SIM} store/test_process_locks.py"),
    m("runtime/presence", "        return any(self.lanes.is_dead(lane) for _, lane in others)", "        return False", "storms/test_crash.py api/test_processes.py"),
    m("runtime/presence", "            claims.renew(tx, self.worker, now + self.lease * 2 / 3, now + self.lease)", "            pass", f"{SCHEDULER} storms/test_crash.py"),
    # -- the turn
    m("runtime/scheduler", "            self._ready, self._next_due = True, 0.0\n            self.presence.somebody_came()", "            self.presence.somebody_came()", "api/test_processes.py " + SCHEDULER),
    m("runtime/scheduler", "        if self.claiming and self.presence.sees_a_death(self.file):\n            self._next_due = 0.0\n", "", "storms/test_crash.py"),
    m("runtime/scheduler", "        self._ready = self._ready or turn.more or", "        self._ready = self._ready or", f"{SCHEDULER} {EXECUTOR}"),
    m("runtime/scheduler", "        if now < self._now:  # the clock was set back", "        if False:", f"api/test_schedules.py {SCHEDULER}"),
    m("runtime/scheduler", "            if mended or not replace_bad_ends(self.file, turn.works, turn.now):\n                raise\n", "            raise\n", "api/test_trouble.py"),
    m("runtime/custody", "        if suspect is None:\n", "        if True:\n", "storms/test_crash.py"),
    m("runtime/custody", "if limit is not None and work.began is not None and elapsed >= work.began + limit and work.win():", "if False:", "api/test_options.py runtime/test_threads.py"),
    m("runtime/loop", "        if self._failures < ENOUGH:", "        if True:", "api/test_trouble.py"),
    m("runtime/loop", "        if late > OVERSLEPT:", "        if False:", "runtime/test_wakeups.py"),
    m("runtime/pools", "                        if not self._threads:\n                            self._broken(", "                        if False:\n                            self._broken(", "api/test_closing.py runtime/test_threads.py"),
    m("runtime/pools", "            if not work.win():\n                self._deaf.pop(work.claimed.id, None)\n                return", "            if not work.win():\n                return", "runtime/test_threads.py api/test_options.py api/test_exit.py"),
    # -- the file
    m("store/identity", "        if not os.fstat(self._log).st_nlink:\n            self.check()\n        self._calm", "        self._calm", "store/test_identity.py"),
    m("store/identity", "        if folder is None or (folder.st_mtime_ns, folder.st_ctime_ns) != self._calm:", "        if folder is None:", "store/test_identity.py"),
    m("store/identity", "(folder.st_mtime_ns, folder.st_ctime_ns) != self._calm", "folder.st_mtime_ns != self._calm[0]", "store/test_identity.py"),
    m("store/identity", "changed[0] % _SECOND and ", "", "store/test_identity.py"),
    m("store/line", "            clock.pause(A_MOMENT)\n        ticket", "            pass\n        ticket", "store/test_line.py"),
    m("runtime/lookout", "        self._early = self._rung = True  # of what was written", "        self._rung = True  # of what was written", "runtime/test_lookout.py"),
    m("store/identity", "if self.gone is None and find(self._path) != self._database:", "if False:", "api/test_processes.py store/test_identity.py"),
    m("store/connection", "self._identity.confirm()\n                except (sqlite3.DatabaseError", "pass\n                except (sqlite3.DatabaseError", "store/test_identity.py"),
    m("store/cache", "        if self.format != schema.FORMAT:", "        if False:", "store/test_migrations.py"),
    m("store/connection", "                    self._patiently(lambda: known.learn(connection, data_version(connection)))\n                    return None\n", "                    raise\n", "store/test_kinds.py"),
    m("store/connection", "committing = connection.total_changes != changes", "committing = True", "runtime/test_threads.py"),
    m("store/connection", "committing = connection.total_changes != changes", "committing = False", "runtime/test_threads.py"),
    m("runtime/scheduler", "        if birth.claimed and not self.claiming:\n            return False\n", "", "runtime/test_threads.py"),
    m("api/lifetime", "                context.file.write(claims.give_back, [(", "                assert [(", "runtime/test_threads.py"),
    m("store/submit_plain", "(sql, kind, values, made, told) or file.bear(sql, kind, values, made, told)", "(sql, kind, values, made, told)", "runtime/test_statements.py"),
    m("store/submit_plain", " AND ended_at IS NULL)", ")", "runtime/test_threads.py"),
    m("store/submit_plain", "NOT EXISTS (SELECT 1 FROM taskcore_rate)", "1", "api/test_limits.py"),
    m("store/connection", "        self.known.begin()\n        self._patiently(connection.execute, \"BEGIN IMMEDIATE\")\n", "        self._patiently(connection.execute, \"BEGIN IMMEDIATE\")\n        self.known.begin()\n", "store/test_kinds.py"),
    m("store/connection", "            tx.doomed = True\n", "", "api/test_transaction.py"),
    m("store/submit_plain", "\n        AND (SELECT value FROM taskcore_meta WHERE key = 'format') = '{schema.FORMAT}'", "", "store/test_migrations.py"),
    m("store/submit_plain", " AND NOT EXISTS (SELECT 1 FROM taskcore_hold), ?", ", ?", "api/test_limits.py"),
    m("store/submit_plain", "WHERE value IS NOT NULL)", "WHERE 0)", "api/test_limits.py"),
    m("runtime/scheduler", "or self._short or self._chained:", "or self._short:", "runtime/test_statements.py"),
    m("store/submit_plain", "? > (SELECT CAST(value AS INTEGER) FROM", "1 OR ? > (SELECT CAST(value AS INTEGER) FROM", "store api/test_submit.py api/test_processes.py"),
    m("store/submit", "            if doomed and not ended and order.key_scope is not None:", "            if False:", f"api/test_trouble.py {WALKS}"),
    m("store/submit", "            tx.building.add(task_id)  # until its block ends", "            pass", JOBS),
    m("store/cache", "self.version is None or row[10] != self.kinds_removed\n", "self.version is None\n", "store/test_kinds.py"),
    m("store/cache", "            for task in self._fresh:\n                self.behaviours.pop(task, None)\n", "            pass\n", "store/test_kinds.py"),
    m("store/migrations", "    if not in_memory:\n        keep_copy(path, since)\n", "", "store/test_migrations.py"),
    m("store/migrations", "        if first != kind:\n", "        if False:\n", "store/test_migrations.py"),
    m("store/opening", "    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))", "    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644))", "store/test_opening.py"),
    m("store/opening", "    if os.path.exists(path) and os.stat(path).st_nlink > 1:", "    if False:", "store/test_opening.py"),
    m("store/shape", '["unique index" if unique else "index", index]', '["index", index]', "store/test_opening.py"),
    m("store/shape", "    for kind, name, table in connection.execute(_HANGING).fetchall():", "    for kind, name, table in ():", "store/test_opening.py"),
    m("store/kinds", "    WHERE id < :newest AND", "    WHERE", "store/test_kinds.py"),
    m("store/kinds", "    AND name NOT IN (SELECT task FROM taskcore_schedule)", "", "store/test_kinds.py"),
    m("store/process_locks", "                    self._reopen()", "                    pass", "store/test_process_locks.py"),
    m("store/busy", "                if clock.monotonic() >= self.ends_at:", "                if False:", "store/test_busy.py"),
    # -- bodies
    m("store/steps", "WHERE id = ? AND phase = 'running' AND token = ?", "WHERE id = ? AND phase = 'running'", "body"),
    m("body/runner", "        if work.timeout is not None and stage.late(work):\n            return outcome.timed_out(work, work.timeout)\n        if work.saved", "        if work.saved", "api/test_options.py body/test_bodies.py"),
    m("body/outcome", "    if work.kind.max_attempts is not None and failures >= work.kind.max_attempts:", "    if work.kind.max_attempts is not None and failures > work.kind.max_attempts:", "api/test_options.py"),
    m("body/outcome", "    return again(work, end) if isinstance(error, retried(work)) else failed(work, end)", "    return again(work, end)", "api/test_options.py body/test_bodies.py"),
    m("store/suspension", "AND waiting_for = ?\"\"\"", "AND waiting_for <> ?\"\"\"", "body/test_suspension.py"),
    m("runtime/lookout", "        if real - self._company > COMPANY:  # it was", "        if False:  # it was", "runtime/test_lookout.py"),
    m("runtime/lookout", "            self._gap = NAP\n            return\n", "            return\n        self._gap = NAP\n", "runtime/test_lookout.py"),
    m("runtime/scheduler", "self._wait(not served)", "self._wait(idle)", "runtime/test_lookout.py"),
    m("runtime/wakeups", "                item = self.take()\n                self.wake()\n", "                item = self.take()\n", "runtime/test_wakeups.py"),
    m("runtime/scheduler", "        self.custody.crew.hand(())  # somebody", "        pass  # somebody", "runtime/test_threads.py"),
    m("runtime/scheduler", "bool(self.held) or self.traffic.awaited", "self._busy", "runtime/test_lookout.py"),
    m("runtime/lookout", "min(2 * self._gap, SELDOM)", "min(2 * self._gap, POLL_BUSY)", "runtime/test_lookout.py"),
    m("store/opening", "pages = LOG // (page + _FRAME)", "pages = LOG // (4096 + _FRAME)", "store/test_opening.py"),
    m("store/suspension", "    there = sleep.until is not None and sleep.until <= now\n", "    there = False\n", "body/test_suspension.py", equivalent=True),
    m("store/suspension", "        there = there or not joined\n", "", "body"),
    m("store/suspension", "        there = there or _signalled(tx, task, sleep.signal)\n", "        pass\n", "body/test_suspension.py"),
    m("store/suspension", "    if waits:\n        tx.execute(_JOIN", "    if False:\n        tx.execute(_JOIN", "body/test_children.py store/test_family_walks.py"),
    # -- schedules, limits
    m("store/schedules", "        if _fired(tx, row, due):\n            continue\n", "", "api/test_schedules.py"),
    m("store/schedules", "    if due is None or due <= now:\n        return row\n", "    return row\n", "api/test_schedules.py"),
    m("store/capacity", "return all(need == 1 and name", "return any(need == 1 and name", "api/test_limits.py", equivalent=True),
    m("store/capacity", "all(need == 1 and name not in self._waiting for", "all(need == 1 for", "api/test_limits.py"),
    m("store/capacity", "if first is not None and first.place < place and first.given", "if first is not None and first.given", "api/test_limits.py"),
    m("store/capacity", "            if abs(self._now - since) >= WAITS:\n                continue\n", "", "api/test_limits.py"),
    m("store/operations", "        tx.execute(_FORGET_FIRES, {", "        tx.execute('DELETE FROM taskcore_fire WHERE schedule = :name', {", "api/test_schedules.py"),
    m("api/submission", "        spawn = self.spawn(order.name)", "        spawn = None", "api/test_schedules.py"),
    m("store/reports", "    returned = end.result is not None and end.error is None", "    returned = end.result is not None", "parity/test_sosw.py"),
    m("runtime/pruner", "    if unused:\n", "    if False:\n", "store/test_kinds.py"),
    # -- futures, ends
    m("api/futures", "            elif task_id in self._waiting:\n                for future in self._leave(task_id):", "            elif False:\n                for future in self._leave(task_id):", f"{FUTURE} {EXECUTOR}"),
    m("api/futures", "        if raised:\n            self._keep_errors(raised)\n", "", f"{FUTURE} runtime/test_threads.py"),
    m("api/lifetime", "        if self._context.running_body() is not None:\n            raise", "        if False:\n            raise", "api/test_jobs.py body runtime"),
    m("api/lifetime", "        interrupts = context.file.interrupted\n", "        interrupts = False\n", "api/test_closing.py"),
    m("api/lifetime", "            context.file.patience.ends_at = deadline\n", "            pass\n", "api/test_closing.py"),
    m("api/lifetime", "            self._close_elsewhere(None, None)\n            text", "            text", "api/test_closing.py"),
    m("api/lifetime", "            self._let_begin()\n", "", "api/test_closing.py"),
    m("runtime/presence", "workers.bury(tx, self.lanes, now, self.worker)", "workers.bury(tx, self.lanes, now)", SIM, equivalent=True),
]  # fmt: skip


def try_out(mutant: Mutant, copy: Path) -> tuple[str, float]:
    """→ what became of it, and after how many seconds."""
    file = copy / mutant.file
    text = file.read_text(encoding="utf-8")
    if mutant.old not in text:
        return "not there any more", 0.0
    file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    since, told = time.monotonic(), ""
    tests = [f"tests/{path}" for path in mutant.tests.split()]
    try:
        ran = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header", *tests],
            cwd=copy, env={**os.environ, "PYTHONPATH": str(copy)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            told = "survives" if ran.wait(PATIENCE) == 0 else "found"
        except subprocess.TimeoutExpired:
            told = "found (it hangs)"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(ran.pid, signal.SIGKILL)  # what it started, too
            ran.wait()
    finally:
        file.write_text(text, encoding="utf-8")
    return told, time.monotonic() - since


def main(words: list[str]) -> int:
    chosen = [mutant for mutant in MUTANTS if not words or any(word in repr(mutant) for word in words)]
    survivors, counted = [], 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        keep = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "*.egg-info")
        shutil.copytree(ROOT, copy, ignore=keep)
        for number, mutant in enumerate(chosen, 1):
            told, took = try_out(mutant, copy)
            mark = "=" if mutant.equivalent else " "
            print(f"{number:4d} {mark} {told:16s} {took:5.1f} s  {mutant.file}: {mutant.old.strip()[:70]!r}", flush=True)
            counted += not mutant.equivalent
            if not told.startswith("found") and not mutant.equivalent:
                survivors.append(mutant)
    print(f"{counted - len(survivors)} of {counted} found")
    for mutant in survivors:
        print(f"  survives: {mutant.file}\n    {mutant.old}\n    → {mutant.new}")
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

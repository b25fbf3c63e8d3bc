"""A process that kills itself at a statement of SQL."""

import os
import signal
import sqlite3


class Fuse:
    """Counts the statements that write, on every connection, and kills the process at one of them.

    Statements that only read are not counted: to die at one is to die after the write before it.
    """

    def __init__(self, at=0, after=False, on_commit=None):
        self.at, self.after, self.on_commit = at, after, on_commit
        self.count = 0
        fuse, connect = self, sqlite3.connect

        class Connection(sqlite3.Connection):
            def execute(self, sql, *parameters):
                return fuse.burn(self, sql, super().execute, sql, *parameters)

            def executemany(self, sql, *parameters):
                return fuse.burn(self, sql, super().executemany, sql, *parameters)

        self.restore = lambda: setattr(sqlite3, "connect", connect)
        sqlite3.connect = lambda *args, **options: connect(*args, **options, factory=Connection)

    def burn(self, connection, sql, run, *parameters):
        if sql.lstrip().startswith(("SELECT", "WITH", "PRAGMA")) and "journal_mode" not in sql:
            return run(*parameters)
        self.count += 1
        if self.count == self.at and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = run(*parameters)
        if self.count == self.at and self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        commits = not connection.in_transaction and sql != "ROLLBACK" and not sql.startswith("PRAGMA")
        if commits and self.on_commit is not None:  # a statement outside a transaction is one by itself
            self.on_commit(self.count)
        return result

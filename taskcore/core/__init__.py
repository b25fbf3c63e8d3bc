"""Plain values and rules: errors, the life of a task, options, clocks, schedules' calendars, texts.

Imports nothing of taskcore but core. Knows no file and no thread: every function may be called from any thread.
"""

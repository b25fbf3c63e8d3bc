"""What users hold: the engine, handles, selections, jobs, pipelines, schedules, claims.

May import runtime and what is below it. All of it may be called from any thread, and a call that changes something
returns when that is in the file.
"""

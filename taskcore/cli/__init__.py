"""The command line: one function a command, how rows become lines of text, and a live view
of them on a terminal.

May import view and what is below it. It runs in the process's main thread.
"""

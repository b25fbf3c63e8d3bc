"""The command line: one function a command, and how rows become lines of text.

May import api and what is below it. It runs in the process's main thread.
"""

"""Running one body: its arguments, what it has behind it, what it may ask of its engine, and how it ended.

May import core, codec and store. All of it runs in the thread that runs the body.
"""

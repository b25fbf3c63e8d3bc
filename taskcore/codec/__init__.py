"""How arguments and results become text and come back: readable JSON, with tags for the types that it lacks.

May import core. Holds no state: every function may be called from any thread.
"""

"""Benchmarks: how fast the engine is beside what a user has without it.

Every figure is a ratio of two things measured side by side in one run: the engine, and a reference that needs nothing
but the standard library (a bare thread pool, or the same rows written with hand-made SQL). Rounds are interleaved,
figures are medians. They assert that the work was done, never how long it took.

`python -m tests.bench` prints them all and ends with those that are below their mark; `python -m tests.bench NAME …`
prints the named ones; `python -m tests.bench growth` prints how cost grows with what there is.
"""

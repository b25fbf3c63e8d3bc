"""The scheduler: one loop that settles, sweeps and claims in one transaction a turn, and the pools that run bodies.

May import body and what is below it. One thread at a time turns the loop; what other threads may call says so.
"""

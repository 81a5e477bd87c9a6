"""The benchmark of ``make bench``: our networks and their peers, side by side.

Nothing in here is part of the installed package. `run` starts one process per row, asks
them in turn, so that a busy moment of the machine hits all alike, and writes
``results.json``; `report` makes ``docs/benchmarks.md`` of it.
"""

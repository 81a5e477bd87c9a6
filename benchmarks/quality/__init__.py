"""Benchmarks of quality: one command scores our weights and their peers alike.

Each ground gives trials (`libri2mix`, `scenarios`, `short`). Each row of the tables is
a system (`systems`): the input, a model of ours, a peer. `scoring` runs them and goes
on where it was interrupted; `tables` shows what was found. docs/quality.md has the
results, docs/method.md the definitions.
"""

"""Hostile input as tables of kinds and values that anyone can run: ``make hostile``.

Each module makes the cases of one way in; `runner` runs them and judges; `fuzz` lets a
fuzzer find more.
"""

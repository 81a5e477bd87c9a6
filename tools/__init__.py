"""This project's own research: findings, weights, selections; nothing is installed.

Run a module from the top of a checkout: ``python -m tools.findings --help``.
"""

"""What stage 7 makes of outputs: scores, tables, curves and the page; no training.

`trials` reads the test sets and finds the systems, `scoring` and `asr_scoring` measure
them, `scores` holds what was measured, `columns` says what is shown of it; each of the
other modules answers one question, and `results` and `page` put the answers together.
"""

TEST_SETS = ("test_ts0", "test_ts1", "test_ts2", "test_ts3")
"""Folders of ``dump/raw`` that stage 7 scores by default."""

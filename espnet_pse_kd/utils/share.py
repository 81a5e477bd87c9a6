"""One of several jobs that divide a stage's work, on one machine or on many.

Work is divided by the place of its items in a fixed order: jobs need not know of
each other. Each does its items and writes no table; when all have ended, the same
command without a share finds the items done and writes the tables.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Share(NamedTuple):
    """Job ``job`` (from 1) of ``jobs``."""

    job: int = 1
    jobs: int = 1

    @property
    def is_whole(self) -> bool:
        """Whether there is one job only, which also writes the tables."""
        return self.jobs == 1

    def of(self, items: Sequence[T]) -> list[T]:
        """The items that this job does."""
        return list(items[self.job - 1 :: self.jobs])

    def __str__(self) -> str:
        return f"{self.job}of{self.jobs}"


WHOLE = Share()


def parse_share(text: str) -> Share:
    """Read ``JOB/JOBS``, for argparse."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    share = Share(*map(int, match.groups())) if match else Share(0, 0)
    if not 1 <= share.job <= share.jobs:
        raise argparse.ArgumentTypeError(f"{text!r}: give JOB/JOBS, for instance 3/8")
    return share


def add_share(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--share``."""
    parser.add_argument(
        "--share",
        type=parse_share,
        default=WHOLE,
        metavar="JOB/JOBS",
        help="do one of so many parts of the work, and write no tables: the same "
        "command without this option does, when all parts are done",
    )

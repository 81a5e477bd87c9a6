"""Run hostile cases: ``python -m tools.hostile [--kind KIND ...]``.

Reports every traceback, hang, lost or replaced input, half-written or left file, and
every code of an input that was run; the status is 1 if there was one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tools.hostile.runner import LIMIT, MODULES, run_all


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--kind", nargs="+", choices=MODULES, default=list(MODULES))
    add(
        "--limit",
        type=float,
        default=LIMIT,
        help="seconds after which a case hangs; default: %(default)g",
    )
    return parser


def main() -> int:
    """Run the command."""
    args = get_parser().parse_args()
    start, counts, faults, slowest = time.monotonic(), Counter[str](), 0, (0.0, "")
    for result in run_all(args.kind, args.limit):
        counts["refused" if result.refused else "accepted"] += 1
        slowest = max(slowest, (result.seconds, result.case))
        faults += bool(result.faults)
        for fault in result.faults:
            print(f"{result.case}: {fault}", flush=True)
    cases = counts.total()
    print(
        f"{cases} cases in {time.monotonic() - start:.0f} s: {counts['refused']} "
        f"refused, {counts['accepted'] - faults} harmless, {faults} at fault; the "
        f"slowest took {slowest[0]:.1f} s ({slowest[1]:.100})"
    )
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())

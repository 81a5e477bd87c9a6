"""Measure all rows side by side, and write the data and the page.

make bench runs it; options go into BENCH, e.g. make bench BENCH="--quick".
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import networks, trainlog
from benchmarks.environments import ENVS, PEERS, Unavailable
from benchmarks.networks import NETWORKS, ROOT
from benchmarks.processes import Subject
from benchmarks.report import write_page
from benchmarks.rows import CHOICES, Options, Row, all_rows
from espnet_pse_kd.cli.main import Parser
from espnet_pse_kd.errors import UserError, one_line
from espnet_pse_kd.files import atomic_open
from espnet_pse_kd.utils.checkout import git_commit
from espnet_pse_kd.utils.progress import progress

RESULTS, PAGE = ROOT / "benchmarks/results.json", ROOT / "docs/benchmarks.md"
QUICK = ENVS / "quick"
"""Where a quick run writes by default: its figures are no record."""
_QUANTILES = {"p50": 50, "p95": 95, "p99": 99}
_PACKAGES = ("espnet_pse_kd", "espnet", "torch", "onnxruntime", "numpy")


def get_parser() -> argparse.ArgumentParser:
    """Options of the benchmark."""
    parser = Parser(
        prog="python -m benchmarks.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--quick",
        action="store_true",
        help="two rounds of a second, to see that everything runs; writes below "
        f"{QUICK.relative_to(ROOT)} unless told otherwise",
    )
    add("--rounds", type=int, help="measurements of each row (default: 9; quick: 2)")
    add("--seconds", type=float, help="audio in each (default: 10; quick: 1)")
    add(
        "--batch",
        type=int,
        help="samples of a step of training, the same for all networks: few, since "
        "pDCCRN needs more than 1 GiB for each (default: 4; quick: 2)",
    )
    add(
        "--only",
        nargs="+",
        default=[],
        choices=CHOICES,
        metavar="NAME",
        help=f"rows to run (default: all): {', '.join(CHOICES)}",
    )
    add(
        "--model",
        action="append",
        default=[],
        type=_tagged,
        metavar="TAG=PATH",
        help="trained network in place of seeded weights: the folder of a training, "
        f"or the zip of stage 8; TAG is one of {', '.join(NETWORKS)}",
    )
    add(
        "--peer-source",
        type=Path,
        metavar="DIR",
        help="folder with checkouts of the peers that are no packages (gtcrn, "
        "puresound); what it lacks is cloned",
    )
    add(
        "--train-log",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="train.log of trainings, for the share outside of forward, backward and "
        "optimizer (default: those of egs2_recipe/exp/pse_*)",
    )
    add("--results", type=Path, help=f"default: {RESULTS.relative_to(ROOT)}")
    add("--page", type=Path, help=f"default: {PAGE.relative_to(ROOT)}")
    return parser


def _tagged(text: str) -> tuple[str, Path]:
    tag, _, path = text.partition("=")
    if tag not in NETWORKS or not path:
        raise argparse.ArgumentTypeError(
            f"{text!r}; give TAG=PATH with one of {', '.join(NETWORKS)}"
        )
    return tag, Path(path)


def measure(
    rows: Sequence[Row], seconds: float, rounds: int, seed: int = 0
) -> list[dict[str, Any]]:
    """Measure rows in turn: every round asks each once, in an order of its own.

    Args:
        rows: what to measure; one that fails says why and does not stop the others.
        seconds: audio of each measurement.
        rounds: measurements of each row.
        seed: of the orders.

    Returns:
        one record for each row, see `record`.
    """
    rng = np.random.default_rng(seed)
    errors: dict[str, str] = {}
    answers: dict[str, list[dict[str, Any]]] = {row.label: [] for row in rows}
    with contextlib.ExitStack() as stack:
        subjects: dict[int, Subject] = {}
        for index, row in enumerate(progress(rows, len(rows), "rows made ready")):
            with _noted(row, errors):
                subjects[index] = subject = row.make()
                stack.callback(subject.close)
                subject.ask(min(seconds, 1.0))  # the first call pays for much else
        order = [i for _ in range(rounds) for i in rng.permutation([*subjects])]
        for index in progress(order, len(order), "measurements"):
            row = rows[index]
            if row.label not in errors:
                with _noted(row, errors):
                    answers[row.label].append(subjects[index].ask(seconds))
        facts: dict[str, dict[str, Any]] = {}
        for index, subject in subjects.items():
            if rows[index].label not in errors:
                with _noted(rows[index], errors):
                    facts[rows[index].label] = subject.facts()
    return [
        record(row, facts.get(row.label, {}), answers[row.label], seconds)
        | ({"error": errors[row.label]} if row.label in errors else {})
        for row in rows
    ]


@contextlib.contextmanager
def _noted(row: Row, errors: dict[str, str]) -> Iterator[None]:
    try:
        yield
    except Unavailable as error:
        errors[row.label] = str(error)
        print(f"{row.label}: not measured: {error}", file=sys.stderr, flush=True)


def record(
    row: Row,
    facts: dict[str, Any],
    answers: Sequence[dict[str, Any]],
    seconds: float,
) -> dict[str, Any]:
    """What the data file holds of a row.

    Args:
        row: which was measured.
        facts: what its subject said of itself.
        answers: one for each round, see `worker.Measured`.
        seconds: audio of each.

    Returns:
        ``calls``: summed seconds of each round; where a round has several calls, one
        for each hop, ``hop_ms``: quantiles of those of all rounds together; ``rtf``:
        of each round; whatever else the subject measured, by round.
    """
    entry: dict[str, Any] = {"kind": row.kind, "name": row.name}
    entry |= {"runtime": row.runtime, **row.about, "facts": facts}
    if not answers:
        return entry
    entry["peak_mib"] = answers[-1].get("peak_mib")
    timed = [key for key in answers[0] if key != "peak_mib"]
    entry |= {key: [sum(answer[key]) for answer in answers] for key in timed}
    if row.kind == "audio":
        entry["rtf"] = [total / seconds for total in entry["calls"]]
        calls = np.concatenate([answer["calls"] for answer in answers])
        if len(calls) > len(answers):
            found = np.percentile(1e3 * calls, [*_QUANTILES.values()])
            entry["hop_ms"] = dict(zip(_QUANTILES, found.tolist()))
    return entry


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(
            os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1
        ),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {package: version(package) for package in _PACKAGES},
        "load_before": round(os.getloadavg()[0], 2),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def log_records(paths: Sequence[Path] | None) -> list[dict[str, Any]]:
    """`trainlog.shares` of each log.

    Args:
        paths: logs; None: those of the recipe's trainings, as far as they have begun.

    Raises:
        UserError: a given log cannot be used.
    """
    if paths is not None:
        return [
            {"log": _portable(str(path)), **trainlog.shares(path)} for path in paths
        ]
    found = []
    for path in sorted(ROOT.glob("egs2_recipe/exp/pse_*/train.log")):
        with contextlib.suppress(UserError):  # a training that has just been started
            found.append({"log": str(path.relative_to(ROOT)), **trainlog.shares(path)})
    return found


@one_line
def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    argv = sys.argv[1:] if argv is None else argv
    args = get_parser().parse_args(argv)
    usual = (2, 1.0, 2) if args.quick else (9, 10.0, 4)
    given = (args.rounds, args.seconds, args.batch)
    rounds, seconds, batch = (
        other if one is None else one for one, other in zip(given, usual)
    )
    if rounds < 1 or seconds < 0.5 or batch < 1:
        raise UserError(
            f"--rounds {rounds} --seconds {seconds} --batch {batch}: give at least one "
            "round, half a second, one sample"
        )
    if args.peer_source is not None and not args.peer_source.is_dir():
        cloned = ", ".join(name for name, peer in PEERS.items() if peer.repository)
        raise UserError(
            f"--peer-source {args.peer_source}: no such folder; give one with "
            f"checkouts of {cloned}"
        )
    for tag, path in args.model:
        networks.load(tag, path)
    logs = log_records(args.train_log)
    about, commit = machine(), git_commit()
    started = datetime.datetime.now(datetime.UTC)
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        options = Options(
            folder=Path(folder),
            only=args.only,
            packed=dict(args.model),
            peer_source=args.peer_source,
            batch=batch,
        )
        records = []
        for group in _groups(all_rows(options)):
            records += measure(group, seconds, rounds)
    results = {
        "command": told_command(argv),
        "commit": commit,
        "date": started.isoformat(timespec="seconds"),
        "machine": about,
        "quick": args.quick,
        "rounds": rounds,
        "seconds": seconds,
        "rows": records,
        "train_logs": logs,
    }
    default = QUICK if args.quick else None
    path = args.results or (default / RESULTS.name if default else RESULTS)
    page = args.page or (default / PAGE.name if default else PAGE)
    with atomic_open(path) as file:
        json.dump(results, file, indent=1)
        file.write("\n")
    write_page(results, page)
    print(f"{path}\n{page}")


def _groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that are measured side by side.

    Trainings stand alone: nothing of theirs is compared across rows, and together
    they would not fit into the memory of a small machine.
    """
    side_by_side = [row for row in rows if row.kind != "training"]
    trainings = [[row] for row in rows if row.kind == "training"]
    return [*([side_by_side] if side_by_side else []), *trainings]


def told_command(argv: Sequence[str]) -> str:
    """The command as others would repeat it, without the paths of this machine."""
    options = shlex.join(map(_portable, argv))
    return shlex.join(["make", "bench", *([f"BENCH={options}"] if argv else [])])


def _portable(word: str) -> str:
    """A word whose absolute path, if it has one, is one within the repository."""
    option, equals, value = word.rpartition("=")
    path = Path(value)
    if not path.is_absolute():
        return word
    within = path.is_relative_to(ROOT)
    return f"{option}{equals}{path.relative_to(ROOT) if within else path.name}"


if __name__ == "__main__":
    main()

"""Stage 7: score all rows on the test sets, write scores.csv and RESULTS.md."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from espnet_pse_kd.errors import UserError, one_line
from espnet_pse_kd.report import TEST_SETS
from espnet_pse_kd.utils.share import add_share


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--dumpdir", type=Path, default=Path("dump/raw"), help="simulated sets")
    add("--expdir", type=Path, default=Path("exp"), help="experiments")
    add("--test_sets", nargs="+", default=list(TEST_SETS), help="folders of --dumpdir")
    add("--dnsmos_trials", type=int, default=12, help="trials per set, 0 for none")
    add("--dnsmos_methods", nargs="*", default=[], help="systems; default: all")
    add("--dnsmos_seeds", type=int, nargs="*", default=[], help="default: all")
    add(
        "--dry_blends",
        type=float,
        nargs="*",
        default=[],
        help="also score outputs plus so many times the mixture",
    )
    add("--dry_blend_methods", nargs="*", default=[], help="systems; default: the last")
    add("--nj", type=int, default=2, help="processes")
    add("--scores", default="scores.csv", help="file of --expdir to write")
    add("--results", type=Path, help="file to write; default: RESULTS.md in EXPDIR")
    add("--command", help="what RESULTS.md names as the command; default: this one")
    add(
        "--training_mix",
        help="stated beside the tables; default: from what stage 2 wrote beside "
        "--dumpdir",
    )
    add_share(parser)
    return parser


@one_line
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(argv)
    if args.dnsmos_trials < 0:
        raise UserError(f"--dnsmos_trials: {args.dnsmos_trials}; give 0 or more")
    if Path(args.scores).name != args.scores:
        raise UserError(f"--scores {args.scores}: give a name, without folder")
    if args.nj < 1:
        raise UserError(f"--nj: {args.nj}; give 1 or more")
    from espnet_pse_kd.files import read_json
    from espnet_pse_kd.report.results import training_mix, write_results
    from espnet_pse_kd.report.scoring import score_all
    from espnet_pse_kd.report.trials import dry_blends, find_systems, reference_systems
    from espnet_pse_kd.simulation.sets import OPTIONS_FILE

    systems = reference_systems(args.expdir)
    systems += find_systems(args.expdir, args.test_sets)
    scored = systems + dry_blends(systems, args.dry_blends, args.dry_blend_methods)
    scores = args.expdir / args.scores
    score_all(
        scored,
        args.test_sets,
        args.dumpdir,
        scores,
        args.dnsmos_trials,
        args.dnsmos_methods,
        args.dnsmos_seeds,
        args.nj,
        args.share,
    )
    if not args.share.is_whole:
        return
    command = args.command or shlex.join(
        ["python", "-m", "espnet_pse_kd.bin.score", *(argv or sys.argv[1:])]
    )
    mix = args.training_mix or training_mix(
        read_json(args.dumpdir.parent / OPTIONS_FILE)
    )
    # Never the current folder's: in egs2_recipe that is the project's own record.
    results = args.results or args.expdir / "RESULTS.md"
    write_results(scores, systems, results, command, mix)
    print(f"scores: {scores}; tables: {results}")


if __name__ == "__main__":
    main()

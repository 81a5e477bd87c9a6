"""Stage 7: write report.html from the scores, to look at and to listen to."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from espnet_pse_kd.errors import UserError, one_line
from espnet_pse_kd.report import TEST_SETS


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--dump_dir", type=Path, default=Path("dump"), help="written by stages 2, 3")
    add("--expdir", type=Path, default=Path("exp"), help="experiments")
    add("--scores", default="scores.csv", help="file of EXPDIR, from stage 7")
    add("--test_sets", nargs="+", default=list(TEST_SETS), help="sets in DUMP_DIR/raw")
    add("--pvad_exp", type=Path, help="folder of the teacher; default: no posteriors")
    add("--system", help="whose scores choose the trials; default: s, or the last")
    add("--output", type=Path, default=Path("exp/report.html"), help="file to write")
    add("--command", help="what the page names as the command; default: this one")
    return parser


@one_line
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(argv)
    from espnet_pse_kd.report.page import write_report
    from espnet_pse_kd.report.trials import find_systems, reference_systems

    if not args.expdir.is_dir():
        raise UserError(f"--expdir {args.expdir}: no such folder; run stage 7 first")
    systems = reference_systems(args.expdir)
    systems += find_systems(args.expdir, args.test_sets)
    teacher = None
    if args.pvad_exp is not None:
        from espnet_pse_kd.recipe.teacher_listening import TrainedTeacher

        teacher = TrainedTeacher(args.pvad_exp, args.dump_dir)
    command = args.command or shlex.join(
        ["python", "-m", "espnet_pse_kd.bin.report", *(argv or sys.argv[1:])]
    )
    write_report(
        args.expdir / args.scores,
        args.dump_dir / "raw",
        systems,
        args.output,
        command,
        teacher,
        args.pvad_exp,
        args.system,
    )
    print(f"report: {args.output}")


if __name__ == "__main__":
    main()

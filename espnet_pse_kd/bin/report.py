"""Stage 7: write report.html from the scores, to look at and to listen to."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Collection
from pathlib import Path

import numpy as np

from espnet_pse_kd.bin.score import TEST_SETS
from espnet_pse_kd.errors import UserError, one_line


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


class TrainedTeacher:
    """The personal VAD of a folder, as `recipe.report` asks it.

    Args:
        folder: ``exp/pvad_*``.
        dump_dir: holds ``raw/`` and ``enroll/``.
    """

    def __init__(self, folder: Path, dump_dir: Path) -> None:
        from espnet_pse_kd.espnet.tasks import load_teacher
        from espnet_pse_kd.recipe.training import TEACHER_MODEL

        self.dump_dir = dump_dir
        self.model = load_teacher(folder / "config.yaml", folder / TEACHER_MODEL)

    def __call__(self, test_set: str, uids: Collection[str]) -> dict[str, np.ndarray]:
        """Posteriors (T, 3) at the loss frames, by uid."""
        from espnet_pse_kd.activity import resample_frames
        from espnet_pse_kd.bin.score_teacher import listen
        from espnet_pse_kd.stft import HOP, num_frames

        return {
            one.uid: resample_frames(
                one.posterior, self.model.hop, HOP, num_frames(one.target.shape[1])
            )[0].numpy()
            for one in listen(self.model, self.dump_dir, test_set, uids)
        }


@one_line
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(argv)
    from espnet_pse_kd.recipe.report import write_report
    from espnet_pse_kd.recipe.trials import find_systems, reference_systems

    if not args.expdir.is_dir():
        raise UserError(f"--expdir {args.expdir}: no such folder; run stage 7 first")
    systems = reference_systems(args.expdir)
    systems += find_systems(args.expdir, args.test_sets)
    teacher = None
    if args.pvad_exp is not None:
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

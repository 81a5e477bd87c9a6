"""Stage 6: enhance simulated sets with a trained student.

Writes float32 WAVs, unscaled, and ``spk1.scp`` to EXP/enhanced_SET. Resumes where it
was interrupted; a file is written again only if its mixture is newer, or if the set's
files were made with another model, configuration or enrolment.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from espnet_pse_kd.errors import one_line
from espnet_pse_kd.recipe.enhancement import enhance_sets, plan_training
from espnet_pse_kd.utils.share import add_share


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--exp", type=Path, nargs="+", required=True, help="folders of trainings")
    add("--sets", nargs="+", required=True, help="folders of DUMP_DIR/raw")
    add("--dump_dir", type=Path, default=Path("dump"), help="written by stages 2, 3")
    add("--model_file", default="valid.loss.best.pth", help="file in each EXP")
    add("--ngpu", type=int, default=0, help="1: enhance on a GPU")
    add("--num_threads", type=int, default=0, help="CPU threads; 0: PyTorch's choice")
    add_share(parser)
    return parser


@one_line
def main(argv: list[str] | None = None) -> None:
    """Enhance what ``argv`` names, default the command line's."""
    args = get_parser().parse_args(argv)
    plans = {
        exp: plan_training(exp, args.model_file, args.dump_dir, args.sets)
        for exp in args.exp
    }
    if args.num_threads:
        import torch

        torch.set_num_threads(args.num_threads)
    device = "cuda" if args.ngpu else "cpu"
    for exp, of_exp in plans.items():
        model_file = exp / args.model_file
        enhance_sets(exp, model_file, of_exp, args.dump_dir, device, args.share)


if __name__ == "__main__":
    main()

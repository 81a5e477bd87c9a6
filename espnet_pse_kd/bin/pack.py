"""Stage 8: pack trained models for the model zoo.

A student's zip is loaded by ESPnet's own classes:

    import espnet_pse_kd
    from espnet2.bin.enh_tse_inference import SeparateSpeech
    enhancer = SeparateSpeech.from_pretrained("student.zip")
    [output] = enhancer(mixture[None], fs=16000, enroll_ref1=enrolment[None])

It holds no teacher, no gate and no path outside of itself. A personal VAD is packed the
same way.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from espnet_pse_kd.errors import UserError, one_line
from espnet_pse_kd.recipe.packing import BEST_MODEL, pack_experiment


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--exp", type=Path, nargs="+", required=True, help="folders of trainings")
    add(
        "--model_file",
        default=BEST_MODEL,
        help="file in a student's EXP; a personal VAD's is always the default",
    )
    add("--half", action="store_true", help="store float16, half the size, as a record")
    add("--outdir", type=Path, help="folder of the zips (default: each EXP)")
    return parser


@one_line
def main(argv: list[str] | None = None) -> None:
    """Pack what ``argv`` names, default the command line's."""
    args = get_parser().parse_args(argv)
    for exp in args.exp:
        if not (exp / "config.yaml").is_file():
            raise UserError(f"--exp {exp}: no config.yaml; train it first")
    for exp in args.exp:
        print(pack_experiment(exp, args.model_file, args.half, args.outdir))


if __name__ == "__main__":
    main()

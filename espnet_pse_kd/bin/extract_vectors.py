"""Stage 3: speaker vectors of enrolment clips and of the mixtures' windows.

Resumes where it was interrupted; computes again only what is older than its audio.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from espnet_pse_kd.errors import UserError, one_line
from espnet_pse_kd.recipe.vectors import enrolment_vectors, window_vectors
from espnet_pse_kd.utils.share import add_share


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--dump_dir", type=Path, default=Path("dump"), help="written by stage 2")
    add("--splits", nargs="*", help="enrolment folders (default: all)")
    add("--sets", nargs="*", help="sets that need window vectors (default: all)")
    add(
        "--speaker_encoder",
        default="ge2e",
        help="ge2e, ge2e_robust, campp, or an ESPnet-SPK model",
    )
    add("--nj", type=int, default=1, help="processes")
    add("--ngpu", type=int, default=0, help="1: compute on a GPU, in one process")
    add_share(parser)
    return parser


def _folders(parent: Path, names: list[str] | None, option: str) -> list[Path]:
    """The named folders, by default all that hold a wav.scp."""
    if names is None:
        return sorted(path.parent for path in parent.glob("*/wav.scp"))
    for name in names:
        if not (parent / name / "wav.scp").is_file():
            raise UserError(
                f"{option} {name}: {parent / name} holds no wav.scp; run stage 2 first"
            )
    return [parent / name for name in names]


@one_line
def main(argv: list[str] | None = None) -> None:
    """Compute what ``argv`` asks for, default the command line's."""
    args = get_parser().parse_args(argv)
    splits = _folders(args.dump_dir / "enroll", args.splits, "--splits")
    sets = _folders(args.dump_dir / "raw", args.sets, "--sets")
    if not splits and not sets:
        raise UserError(f"--dump_dir {args.dump_dir}: empty; run stage 2 first")
    device, nj = ("cuda", 1) if args.ngpu else ("cpu", args.nj)
    for folder in splits:
        enrolment_vectors(folder, args.speaker_encoder, device, nj, args.share)
    window_vectors(sets, args.speaker_encoder, device, nj, args.share)


if __name__ == "__main__":
    main()

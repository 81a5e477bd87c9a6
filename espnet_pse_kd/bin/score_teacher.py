"""Score a trained personal VAD before it teaches.

Writes EXP/teacher_scores.json (average precision, AUC and calibration per scenario of
the given sets) and EXP/gate.json (what the soft gate would do to the training set).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from espnet_pse_kd.errors import one_line
from espnet_pse_kd.kaldi import same_keys
from espnet_pse_kd.recipe.teacher_listening import (
    TABLES,
    Heard,
    listen,
    utterances,
    write_gate_statistics,
)
from espnet_pse_kd.recipe.teacher_scoring import score_teacher


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--exp", type=Path, required=True, help="folder of the personal VAD")
    add("--sets", nargs="+", required=True, help="scored sets in DUMP_DIR/raw")
    add("--train_set", help="training set in DUMP_DIR/raw, for gate.json")
    add("--train_samples", type=int, default=1000, help="how many of it, evenly spread")
    add("--kappa", type=float, default=1.0, help="exponent of the soft gate")
    add("--dump_dir", type=Path, default=Path("dump"), help="written by stages 2, 3")
    add("--model_file", default="valid.loss.best.pth", help="file in EXP")
    add("--output", default="teacher_scores.json", help="file in EXP to write")
    return parser


@one_line
def main(argv: list[str] | None = None) -> None:
    """Score what ``argv`` names, default the command line's."""
    args = get_parser().parse_args(argv)
    names = [*args.sets, *([args.train_set] if args.train_set else [])]
    for name in names:
        same_keys(args.dump_dir / "raw" / name, TABLES)

    from espnet_pse_kd.espnet.tasks import load_teacher

    teacher = load_teacher(args.exp / "config.yaml", args.exp / args.model_file)

    def heard_in_sets() -> Iterator[Heard]:
        for name in args.sets:
            yield from listen(teacher, args.dump_dir, name)

    score_teacher(utterances(teacher, heard_in_sets()), args.exp, name=args.output)
    if args.train_set:
        statistics = write_gate_statistics(
            teacher,
            args.dump_dir,
            args.train_set,
            args.train_samples,
            args.kappa,
            args.exp / "gate.json",
        )
        print(
            f"soft gate on {args.train_set}: {100 * statistics['gated']:.1f} % of the "
            f"frames, mean weight {statistics['mean_weight']:.3f}, "
            f"{100 * statistics['closed']:.1f} % of them below 0.5"
        )


if __name__ == "__main__":
    main()

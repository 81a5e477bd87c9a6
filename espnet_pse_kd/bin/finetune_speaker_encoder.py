"""Fine-tune the GE2E speaker encoder on simulated mixtures; needs stages 1 and 2.

Writes ge2e_robust.safetensors, log.jsonl and record.json; resumes after an interrupt.
`make speaker_encoder` makes the package's own, which --onnx writes.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from pathlib import Path

from espnet_pse_kd.errors import one_line


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--dump_dir", type=Path, default=Path("dump"), help="written by stage 2")
    add("--train_set", default="train", help="set in DUMP_DIR/raw to learn from")
    add("--valid_set", default="dev", help="set of other persons whose loss is logged")
    add("--output", type=Path, default=Path("exp/speaker_encoder"), help="folder")
    add("--onnx", type=Path, help="also write the encoder for the light runtime")
    add("--steps", type=int, default=400, help="optimizer steps")
    add("--batch", type=int, default=64, help="persons in a batch")
    add("--lr", type=float, default=3e-4, help="peak learning rate")
    add("--seed", type=int, default=0, help="of all draws")
    add("--threads", type=int, default=0, help="CPU threads, 0 for torch's choice")
    add("--ngpu", type=int, default=0, help="1: train on a GPU")
    return parser


@one_line
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(argv)
    import torch

    from espnet_pse_kd.files import atomic_open
    from espnet_pse_kd.recipe.finetune_encoder import (
        Batches,
        Options,
        finetune,
        read_pairs,
    )
    from espnet_pse_kd.recipe.training_data import split_of
    from espnet_pse_kd.utils.checkout import git_commit

    if args.threads:
        torch.set_num_threads(args.threads)
    start, commit = time.monotonic(), git_commit()

    def pairs(name: str):
        clips = args.dump_dir / "enroll" / split_of(name)
        return read_pairs(args.dump_dir / "raw" / name, clips)

    known, others = pairs(args.train_set), pairs(args.valid_set)
    options = Options(args.steps, args.batch, args.lr, seed=args.seed)
    valid = Options(batch=min(args.batch, len(others)), seed=args.seed)
    weights = finetune(
        Batches(known, options),
        Batches(others, valid),
        args.output,
        "cuda" if args.ngpu else "cpu",
    )
    record = {
        "command": shlex.join(["python", "-m", __spec__.name, *(argv or sys.argv[1:])]),
        "commit": commit,
        "options": vars(options),
        "persons": len(known),
        "mixtures": sum(map(len, known.values())),
        "wall_seconds_of_the_last_run": round(time.monotonic() - start),
    }
    with atomic_open(args.output / "record.json") as file:
        json.dump(record, file, indent=1)
    if args.onnx:
        from espnet_pse_kd.export import export_speaker_encoder

        export_speaker_encoder(args.onnx, "ge2e_robust", weights)
    print(weights)


if __name__ == "__main__":
    main()

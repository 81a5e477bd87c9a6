"""Train the small CTC ASR that scores WER where no --asr_model is given (stage 7)."""

from __future__ import annotations

import argparse
from pathlib import Path

from espnet_pse_kd.errors import one_line


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--train", type=Path, default=Path("data/train/speech"), help="clean speech")
    add("--valid", type=Path, default=Path("data/dev/speech"), help="clean speech")
    add(
        "--room_table",
        type=Path,
        help="rooms that the speech is put into; default: rir/wav.scp beside --train, "
        "none where there is no such file",
    )
    add("--output", type=Path, default=Path("exp/asr_ctc"), help="folder to write")
    add("--config", type=Path, default=Path("conf/train_asr_ctc.yaml"))
    add("--units", type=int, default=150, help="sentencepiece units at most")
    add("--threads", type=int, default=1, help="CPU threads")
    return parser


@one_line
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(argv)
    from espnet_pse_kd.recipe.asr import train_asr

    rooms = args.room_table
    if rooms is None:
        beside = args.train.parent / "rir" / "wav.scp"
        rooms = beside if beside.is_file() else None
    train_asr(
        args.train,
        args.valid,
        args.output,
        args.config,
        args.units,
        args.threads,
        rooms=rooms,
    )


if __name__ == "__main__":
    main()

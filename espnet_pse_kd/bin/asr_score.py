"""Transcribe all rows of the test sets with one ASR: asr.csv, which bin.score joins."""

from __future__ import annotations

import argparse
from pathlib import Path

from espnet_pse_kd.errors import one_line
from espnet_pse_kd.report import TEST_SETS


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--dumpdir", type=Path, default=Path("dump/raw"), help="simulated sets")
    add("--expdir", type=Path, default=Path("exp"), help="experiments")
    add("--test_sets", nargs="+", default=list(TEST_SETS), help="folders of --dumpdir")
    add(
        "--asr_model",
        default="exp/asr_ctc",
        help="ESPnet ASR with CTC: zoo tag, zip, experiment folder or checkpoint; or "
        "whisper_tiny, whisper_base (the extra [wer])",
    )
    add("--check", action="store_true", help="only see whether the ASR is there")
    add("--device", default="cpu", help="torch device")
    return parser


@one_line
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(argv)
    from espnet_pse_kd.recipe import asr

    asr.check(args.asr_model)
    if args.check:
        return
    from espnet_pse_kd.report.asr_scoring import score_words
    from espnet_pse_kd.report.trials import find_systems, reference_systems

    systems = reference_systems(args.expdir)
    systems += find_systems(args.expdir, args.test_sets)
    written = score_words(
        systems,
        args.test_sets,
        args.dumpdir,
        asr.identity(args.asr_model),
        lambda: asr.load(args.asr_model, args.device),
        Path(args.asr_model).name,
    )
    print(f"word errors: {written} files written, the others were current")


if __name__ == "__main__":
    main()

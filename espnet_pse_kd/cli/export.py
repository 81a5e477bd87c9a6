"""``pse-kd export``: trained networks as ONNX files, for use without torch."""

from __future__ import annotations

import argparse
from pathlib import Path

from espnet_pse_kd.errors import UserError, how_to_install
from espnet_pse_kd.runtime.default_model import (
    PERSONAL_VAD,
    SPEAKER_ENCODER,
    STUDENT,
)

DESCRIPTION = (
    "Write a trained network as one ONNX file with explicit state, which pse-kd "
    "enhance, live and serve run without torch (--model). Needs the extra [train]."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    add = parser.add_argument
    add("source", type=Path, help="folder of a training, or the zip of stage 8")
    add(
        "-o",
        "--output",
        type=Path,
        required=True,
        help=f"FILE.onnx, or a folder that gets {STUDENT} and {SPEAKER_ENCODER}",
    )
    add(
        "--pvad",
        type=Path,
        help=f"the same of a personal VAD, written to the folder as {PERSONAL_VAD}",
    )
    add(
        "--int8",
        action="store_true",
        help="store the student's weights in 8 bits: smaller, and faster where they do "
        "not fit into the caches (E3Net)",
    )
    add("--force", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace) -> None:
    """Run the subcommand.

    Raises:
        UserError: torch is missing, a source is no training, a network cannot be
            exported, or a file exists or cannot be written.
    """
    single = args.output.suffix == ".onnx"
    if single and args.pvad:
        raise UserError(f"--pvad: {args.output} is one file; give a folder as --output")
    names = [STUDENT, SPEAKER_ENCODER, *([PERSONAL_VAD] if args.pvad else [])]
    paths = [args.output] if single else [args.output / name for name in names]
    for path in paths:
        if path.exists() and not args.force:
            raise UserError(f"{path}: exists; give --force, or another --output")
    try:
        _export(args.source, args.pvad, paths, args.int8)
    except OSError as error:
        raise UserError(
            f"{args.output}: cannot be written ({error.strerror}); free disk space, or "
            "give another --output"
        ) from None
    for path in paths:
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _export(source: Path, pvad: Path | None, paths: list[Path], int8: bool) -> None:
    """Write the student, then the speaker encoder and the personal VAD if wanted."""
    try:
        from espnet_pse_kd import export
    except ModuleNotFoundError as error:
        raise UserError(
            f"{source}: {error.name} is not installed; {how_to_install('train')}"
        ) from None
    encoder = paths[1] if len(paths) > 1 else None
    own = paths[2] if pvad is not None else None
    export.export_bundle(source, paths[0], encoder, pvad, own, int8)

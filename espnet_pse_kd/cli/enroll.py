"""``pse-kd enroll``: a profile of a voice from recordings of it."""

from __future__ import annotations

import argparse
from pathlib import Path

from espnet_pse_kd.cli.paths import identities, refuse_inputs
from espnet_pse_kd.cli.voice import (
    add_model_arguments,
    enroll,
    load_enhancer,
    read_clip,
    segment,
)
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import ResultExists, write_target

DESCRIPTION = (
    "Make a profile of a voice from recordings in which nobody else speaks. Half a "
    "minute of speech is plenty, 8 s are enough; two or three recordings from "
    "different places or days serve better than one. The profile is a small file "
    "without any sound in it."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    add = parser.add_argument
    add("files", type=Path, nargs="+", metavar="FILE", help="recordings of one voice")
    add(
        "--segment",
        type=segment,
        metavar="BEGIN-END",
        help="use this part only, in seconds, such as 12.0-25.5; for a single FILE",
    )
    add("-o", "--output", type=Path, required=True, help="profile to write")
    add("--force", action="store_true", help="replace the profile if it exists")
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Run the subcommand.

    Raises:
        UserError: the recordings are not fit, or the profile exists, is one of them or
            cannot be written.
    """
    if args.segment and len(args.files) > 1:
        raise UserError(
            f"--segment: {len(args.files)} files; cut a part out of a single file"
        )
    write_target(args.output)
    refuse_inputs(args.output, identities(args.files))
    if args.output.exists() and not args.force:
        raise UserError(f"{args.output}: exists; give --force, or another --output")
    clips = [read_clip(path, args.segment) for path in args.files]
    enhancer = load_enhancer(args)
    refuse_inputs(args.output, identities(enhancer.files))
    profile = enroll(enhancer, clips)
    try:
        profile.save(args.output, replace=args.force)
    except ResultExists:
        raise UserError(
            f"{args.output}: another run has just written it; kept"
        ) from None
    except OSError as error:
        raise UserError(
            f"{args.output}: cannot be written ({error.strerror}); free disk space, or "
            "give another --output"
        ) from None
    print(f"{args.output}: {profile.seconds:.1f} s of speech")

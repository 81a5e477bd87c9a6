"""``pse-kd enroll``: a profile of a voice from recordings of it."""

from __future__ import annotations

import argparse
from pathlib import Path

from espnet_pse_kd.cli.completers import complete_by
from espnet_pse_kd.cli.paths import identities, refuse_inputs
from espnet_pse_kd.cli.voice import (
    add_model_arguments,
    enroll,
    load_enhancer,
    read_clip,
    segment,
    stored_names,
)
from espnet_pse_kd.cli.voice_store import VoiceStore
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import ResultExists, write_target

DESCRIPTION = (
    "Make a profile of a voice from recordings in which nobody else speaks. Half a "
    "minute of speech is plenty, 8 s are enough; two or three recordings from "
    "different places or days serve better than one. The profile is a small file "
    "without any sound in it: a voice with --name, see pse-kd voices, or the file that "
    "--output names. Whose voice it is must agree."
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
    where = parser.add_mutually_exclusive_group(required=True)
    named = where.add_argument(
        "--name", help="store the profile as a voice of this name; the first is default"
    )
    complete_by(named, stored_names)
    where.add_argument("-o", "--output", type=Path, help="profile to write")
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
    store = VoiceStore()
    output = args.output if args.name is None else store.path(args.name)
    option = "--output" if args.name is None else "--name"
    write_target(output)
    refuse_inputs(output, identities(args.files), option)
    if output.exists() and not args.force:
        raise UserError(
            f"{args.name or output}: exists; give --force, or another {option}"
        )
    clips = [read_clip(path, args.segment) for path in args.files]
    enhancer = load_enhancer(args)
    refuse_inputs(output, identities(enhancer.files), option)
    profile = enroll(enhancer, clips)
    try:
        if args.name is None:
            profile.save(output, replace=args.force)
        else:
            store.save(args.name, profile, args.force)
    except ResultExists:
        raise UserError(f"{output}: another run has just written it; kept") from None
    except OSError as error:
        raise UserError(
            f"{output}: cannot be written ({error.strerror}); free disk space, or give "
            f"another {option}"
        ) from None
    print(f"{args.name or output}: {profile.seconds:.1f} s of speech")
    if args.name is not None and store.default() == output.stem:
        print(f"{args.name} is the default voice: pse-kd enhance RECORDING")

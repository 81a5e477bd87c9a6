"""``pse-kd enhance``: recordings in, the same recordings with one voice out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet_pse_kd.cli.batch import NAME, Job, names_one, plan
from espnet_pse_kd.cli.batch_progress import BatchProgress
from espnet_pse_kd.cli.paths import identities, refuse_inputs
from espnet_pse_kd.cli.presence_report import write_report
from espnet_pse_kd.cli.values import VOICE, decibel, result_name, whole_number
from espnet_pse_kd.cli.voice import (
    add_model_arguments,
    add_voice_arguments,
    load_enhancer,
    load_profile,
    voice_files,
    voice_name,
)
from espnet_pse_kd.cli.watch import watch
from espnet_pse_kd.cli.worker import Options, Worker, keep, tell_kept
from espnet_pse_kd.errors import UserError, named_files
from espnet_pse_kd.files import sweep, write_target
from espnet_pse_kd.runtime.steering import (
    DEPTH_DB,
    NORMAL,
    PROTECTION_DB,
    REACH_SECONDS,
    Strength,
)
from espnet_pse_kd.sound.reading import PIPE, length_of

DESCRIPTION = (
    "Keep the enrolled voice in recordings and remove everything else. Rate, length, "
    "channels, sample format and tags stay as they are; of a video, the picture. "
    "Without --output, meeting.m4a becomes meeting_VOICE.m4a beside it. Of several "
    "recordings, those whose result exists are passed over, so that the same command "
    "goes on where it was interrupted."
)

STRENGTHS = {
    "light": (12.0, NORMAL),
    "normal": (None, NORMAL),
    "strong": (None, Strength(protection_db=20.0, depth_db=60.0)),
}
"""Attenuation limit in dB and what looking ahead may do, by words."""
_MOST_JOBS = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    add = parser.add_argument
    add(
        "files",
        nargs="+",
        metavar="FILE",
        help="recordings, folders, glob patterns; - is standard input",
    )
    add_voice_arguments(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "-o",
        "--output",
        type=Path,
        help="file for one recording, folder for several, - for standard output; "
        "default: beside each recording, named by --result-name",
    )
    where.add_argument(
        "--result-name",
        type=result_name,
        default=f"{NAME}_{VOICE}",
        metavar="PATTERN",
        help="name of results beside their recordings, without the ending that tells "
        f"the format; default: {NAME}_{VOICE}",
    )
    _add_strength(parser)
    add(
        "--band",
        choices=("keep", "drop"),
        default="keep",
        help="what lies above 8 kHz, where the network hears nothing: keep it with the "
        "gain of the band below, or drop it; default: keep",
    )
    add(
        "--keep-noise",
        action="store_true",
        help="remove other voices only: what the network removed is put back wherever "
        "the personal VAD hears no other voice in it; noise beneath others goes with "
        "them",
    )
    add(
        "--per-channel",
        action="store_true",
        help="enhance each channel by itself; default: one gain for all of them",
    )
    add(
        "--look-ahead",
        action=argparse.BooleanOptionalAction,
        help="let the personal VAD hear the recording first: where it hears the "
        f"enrolled voice nothing is turned down by more than {PROTECTION_DB:.0f} dB, "
        f"what is {REACH_SECONDS:.0f} s away from it by {DEPTH_DB:.0f} dB more; "
        "default: if the model has a personal VAD",
    )
    _add_batch(parser)
    add_model_arguments(parser)


def _add_strength(parser: argparse.ArgumentParser) -> None:
    strength = parser.add_mutually_exclusive_group()
    strong = STRENGTHS["strong"][1]
    strength.add_argument(
        "--strength",
        choices=STRENGTHS,
        default="normal",
        help=f"light: turn nothing down by more than {STRENGTHS['light'][0]:.0f} dB; "
        f"strong: {strong.protection_db:.0f} dB instead of {PROTECTION_DB:.0f} where "
        f"the voice is heard, {strong.depth_db:.0f} instead of {DEPTH_DB:.0f} where it "
        "is absent; default: normal",
    )
    strength.add_argument(
        "--attenuation-limit",
        type=decibel,
        metavar="DB",
        help="turn nothing down by more than this; default: no limit",
    )


def _add_batch(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--report",
        action="store_true",
        help="tell in how much of the time the enrolled voice speaks",
    )
    add(
        "--json",
        type=Path,
        metavar="FILE",
        help="write who speaks when, and how sure that is; - is standard output",
    )
    add(
        "--watch",
        action="store_true",
        help="FILE is a folder: enhance what is put into it, as soon as it is there in "
        "whole, until Ctrl-C",
    )
    add(
        "--jobs",
        type=whole_number(_MOST_JOBS),
        default=1,
        metavar="N",
        help="recordings that are enhanced at the same time, of several; default: 1",
    )
    add("--force", action="store_true", help="replace results that exist")


def run(args: argparse.Namespace) -> None:
    """Run the subcommand; a bad file does not keep the others from being enhanced.

    Raises:
        UserError: the command cannot start, or some file could not be enhanced.
    """
    _check(args)
    options = _options(args)
    naming = args.result_name.replace(VOICE, options.voice)
    jobs = [] if args.watch else plan(args.files, args.output, naming)
    _check_report(args, jobs)
    enhancer = load_enhancer(args)
    profile = load_profile(args, enhancer)
    progress = BatchProgress(sum(length_of(job.source) for job in jobs), len(jobs))
    inputs = [*(job.source for job in jobs), *voice_files(args)]
    worker = Worker(enhancer, profile, options, inputs, progress)
    worker.check()
    for folder in {job.output.parent for job in jobs if job.output != PIPE}:
        sweep(folder)
    if args.watch:
        watch(Path(args.files[0]), args.output, naming, worker)
    elif names_one(args.files):
        _finish(args, [worker.enhance(jobs[0]).entry])
    elif args.jobs > 1:
        from espnet_pse_kd.cli.parallel import enhance_parallel

        starter = (args.model, args.threads, profile, options, inputs)
        done = enhance_parallel(jobs, worker, starter, args.jobs, progress)
        _conclude(args, jobs, *done)
    else:
        _conclude(args, jobs, *enhance_all(jobs, worker, progress))


def _check(args: argparse.Namespace) -> None:
    """Refuse words that contradict each other."""
    if args.watch and len(args.files) > 1:
        raise UserError(f"--watch: {len(args.files)} words; give one folder")
    if args.output == PIPE and args.json == PIPE:
        raise UserError("--json -: standard output is the sound; give a file")
    if args.output == PIPE and not names_one(args.files):
        raise UserError("-o -: standard output takes one recording; give a folder")
    if args.watch and args.json:
        raise UserError("--json: --watch never ends; report on recordings instead")


def _check_report(args: argparse.Namespace, jobs: Sequence[Job]) -> None:
    """Refuse a report that would replace something, before the long work starts."""
    if args.json in (None, PIPE):
        return
    read = [*(job.source for job in jobs), *voice_files(args)]
    refuse_inputs(args.json, identities(read), "--json")
    write_target(args.json)
    if args.json.exists() and not args.force:
        raise UserError(f"{args.json}: exists; give --force, or another --json")


def _options(args: argparse.Namespace) -> Options:
    limit, strength = STRENGTHS[args.strength]
    if args.attenuation_limit is not None:
        limit = args.attenuation_limit
    return Options(
        limit,
        args.per_channel,
        args.report,
        args.force,
        args.look_ahead,
        strength,
        args.band == "keep",
        args.keep_noise,
        listen=args.json is not None,
        voice=voice_name(args),
    )


def enhance_all(
    jobs: Sequence[Job], worker: Worker, progress: BatchProgress
) -> tuple[list[Job], list[dict[str, Any]]]:
    """Enhance all files but those that an earlier run has finished.

    Returns:
        What failed, errors being reported as they occur; and what the report says.
    """
    failed, entries, kept = [], [], 0
    for job in jobs:
        progress.begin()
        if worker.finished(job):
            kept += 1
            keep(job, progress)
            continue
        try:
            with named_files():
                entries.append(worker.enhance(job).entry)
        except UserError as error:
            progress.clear()
            print(f"error: {error}", file=sys.stderr)
            failed.append(job)
    progress.clear()
    tell_kept(kept, len(jobs))
    return failed, entries


def _conclude(
    args: argparse.Namespace,
    jobs: Sequence[Job],
    failed: Sequence[Job],
    entries: Sequence[dict[str, Any]],
) -> None:
    _finish(args, entries)
    if failed:
        names = ", ".join(str(job.source) for job in failed)
        raise UserError(
            f"{len(failed)} of {len(jobs)} files failed: {names}; see the reasons above"
        )


def _finish(args: argparse.Namespace, entries: Sequence[dict[str, Any]]) -> None:
    if args.json is not None:
        write_report(args.json, [one for one in entries if one], args.force)

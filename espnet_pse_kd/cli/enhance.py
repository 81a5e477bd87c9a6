"""``pse-kd enhance``: recordings in, the same recordings with one voice out."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from espnet_pse_kd.cli.batch import Job, names_one, plan
from espnet_pse_kd.cli.paths import identities, refuse_inputs
from espnet_pse_kd.cli.voice import (
    add_model_arguments,
    add_voice_arguments,
    load_enhancer,
    load_profile,
    voice_files,
)
from espnet_pse_kd.errors import UserError, named_files
from espnet_pse_kd.runtime.meter import ABSENT_SHARE, Presence
from espnet_pse_kd.runtime.steering import (
    DEPTH_DB,
    PROTECTION_DB,
    REACH_SECONDS,
)
from espnet_pse_kd.sound.formats import output_format
from espnet_pse_kd.sound.reading import SoundInput, open_sound
from espnet_pse_kd.sound.writing import write_sound
from espnet_pse_kd.utils.progress import progress

if TYPE_CHECKING:
    from espnet_pse_kd.enhancer import PersonalizedEnhancer
    from espnet_pse_kd.runtime.profile import Profile
    from espnet_pse_kd.runtime.recording import RecordingEnhancer

DESCRIPTION = (
    "Keep the enrolled voice in recordings and remove everything else. Rate, length, "
    "channels and sample format stay as they are. Of several recordings, those whose "
    "result exists are passed over, so that the same command goes on where it was "
    "interrupted."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="recordings, folders, glob patterns")
    add_voice_arguments(parser)
    add(
        "-o",
        "--output",
        type=Path,
        required=True,
        help="file for one recording, folder for several",
    )
    add(
        "--attenuation-limit",
        type=decibel,
        metavar="DB",
        help="turn nothing down by more than this; default: no limit",
    )
    add(
        "--per-channel",
        action="store_true",
        help="enhance each channel by itself; default: their mean, written to all",
    )
    add(
        "--report",
        action="store_true",
        help="tell in how much of the time the enrolled voice speaks",
    )
    add(
        "--look-ahead",
        action=argparse.BooleanOptionalAction,
        help="let the personal VAD hear the recording first: where it hears the "
        f"enrolled voice nothing is turned down by more than {PROTECTION_DB:.0f} dB, "
        f"what is {REACH_SECONDS:.0f} s away from it by {DEPTH_DB:.0f} dB more; "
        "default: if the model has a personal VAD",
    )
    add("--force", action="store_true", help="replace results that exist")
    add_model_arguments(parser)


def decibel(text: str) -> float:
    """Parse an attenuation limit; the type of ``--attenuation-limit``."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}; give a number of dB, 0 or more")
    return value


def run(args: argparse.Namespace) -> None:
    """Run the subcommand; a bad file does not keep the others from being enhanced.

    Raises:
        UserError: the command cannot start, or some file could not be enhanced.
    """
    jobs = plan(args.files, args.output)
    enhancer = load_enhancer(args)
    options = Options(
        args.attenuation_limit,
        args.per_channel,
        args.report,
        args.force,
        args.look_ahead,
    )
    inputs = [*(job.source for job in jobs), *voice_files(args)]
    worker = Worker(enhancer, load_profile(args, enhancer), options, inputs)
    worker.check()
    if names_one(args.files):
        worker.enhance(jobs[0])
        return
    failed = worker.enhance_all(jobs)
    if failed:
        names = ", ".join(str(job.source) for job in failed)
        raise UserError(
            f"{len(failed)} of {len(jobs)} files failed: {names}; see the reasons above"
        )


class Options(NamedTuple):
    """How to enhance.

    Attributes:
        attenuation_limit: how far anything may be turned down in dB; None: no limit.
        per_channel: enhance each channel by itself, not their mean.
        report: tell in how much of the time the voice speaks.
        force: replace files that exist.
        look_ahead: let the personal VAD hear the recording first; None: if there is
            one.
    """

    attenuation_limit: float | None = None
    per_channel: bool = False
    report: bool = False
    force: bool = False
    look_ahead: bool | None = None


class Worker:
    """Enhances one file after another with the same model, voice and options.

    Args:
        enhancer: the model.
        profile: the voice.
        options: how.
        inputs: files that are never replaced, besides the one that is enhanced.
    """

    def __init__(
        self,
        enhancer: PersonalizedEnhancer,
        profile: Profile,
        options: Options,
        inputs: Iterable[Path] = (),
    ) -> None:
        self._enhancer, self._profile, self._options = enhancer, profile, options
        self._originals = identities(inputs)

    def check(self) -> None:
        """See, before any file, whether there is a personal VAD where it is needed.

        Raises:
            UserError: it is asked for, and the model has none.
        """
        if self._options.report or self._looks_ahead:
            _ = self._enhancer.personal_vad

    def enhance_all(self, jobs: Sequence[Job]) -> list[Job]:
        """Enhance all files but those that an earlier run has finished.

        Returns:
            What failed; errors are reported as they occur.
        """
        failed, kept = [], 0
        for number, job in enumerate(jobs, 1):
            if self._finished(job):
                print(f"{job.output}: exists, kept")
                kept += 1
                continue
            print(f"[{number}/{len(jobs)}] {job.source}", file=sys.stderr)
            try:
                with named_files():
                    self.enhance(job)
            except UserError as error:
                print(f"error: {error}", file=sys.stderr)
                failed.append(job)
        if kept:
            print(f"{kept} of {len(jobs)} results existed; --force replaces them")
        return failed

    def _finished(self, job: Job) -> bool:
        """Whether the result is there already, and is to stay."""
        there = os.path.isfile(job.output) and not self._originals & identities(
            [job.output]
        )
        return there and not self._options.force

    def enhance(self, job: Job) -> list[Presence]:
        """Enhance one file, block by block.

        Returns:
            What the personal VAD heard in every channel that is enhanced, if asked.

        Raises:
            UserError: it cannot be read, or the output is an input, exists or cannot
                be written.
        """
        refuse_inputs(job.output, self._originals | identities([job.source]))
        start = time.monotonic()
        with open_sound(job.source) as sound:
            if os.path.exists(job.output) and not self._options.force:
                raise UserError(
                    f"{job.output}: exists; give --force, or another --output"
                )
            form = output_format(sound.format, job.source, job.output)
            self._note_channels(sound)
            recording = self._enhancer.recording(
                self._profile,
                sound.format.rate,
                sound.format.channels,
                self._options.per_channel,
                self._options.attenuation_limit,
            )
            heard = self._heard(sound, recording)
            if self._looks_ahead and not recording.steer(heard):
                self._warn_of_absence(job)
            with write_sound(job.output, form, like=sound) as write:
                for block in recording.enhance(_blocks(sound, "seconds")):
                    write(block)
        spent = time.monotonic() - start
        print(f"{job.output}: {sound.seconds:.1f} s in {spent:.1f} s")
        if self._options.report:
            report(str(job.source), heard)
        return heard

    def _note_channels(self, sound: SoundInput) -> None:
        if sound.format.channels > 1 and not self._options.per_channel:
            print(
                f"note: {sound.path}: {sound.format.channels} channels, mixed down; "
                "--per-channel keeps them apart",
                file=sys.stderr,
            )

    @cached_property
    def _looks_ahead(self) -> bool:
        """Whether the personal VAD steers.

        Raises:
            UserError: the user wants it, and the model has none.
        """
        wanted = self._options.look_ahead
        if wanted is False:
            return False
        try:
            return bool(self._enhancer.personal_vad)
        except UserError as error:
            if wanted:
                raise
            print(f"note: no look-ahead: {error}", file=sys.stderr)
            return False

    def _heard(self, sound: SoundInput, recording: RecordingEnhancer) -> list[Presence]:
        """What the personal VAD hears, where it is asked."""
        if not (self._looks_ahead or self._options.report):
            return []
        return recording.hear(self._enhancer.personal_vad, _blocks(sound, "voice"))

    def _warn_of_absence(self, job: Job) -> None:
        limit = self._options.attenuation_limit
        depth = DEPTH_DB if limit is None else min(DEPTH_DB, limit)
        print(
            f"warning: {job.source}: the enrolled voice is heard nowhere; "
            f"all is turned down by {depth:g} dB; is it the right "
            "profile? --no-look-ahead leaves the decision to the network",
            file=sys.stderr,
        )


def _blocks(sound: SoundInput, label: str) -> Iterator[np.ndarray]:
    """The blocks (n, channels) of a recording, with progress."""
    count = -(-sound.frames // sound.format.rate)
    return progress(sound.blocks(), count, f"{sound.path.name}, {label}")


def report(name: str, heard: Sequence[Presence]) -> None:
    """Print the shares of the voices; warn where the enrolled one seems absent."""
    own = np.mean([one.own_share for one in heard])
    others = np.mean([one.other_share for one in heard])
    print(
        f"{name}: enrolled voice in {100 * own:.0f} % of the time, other voices "
        f"alone in {100 * others:.0f} %"
    )
    if own < ABSENT_SHARE:
        print(
            f"warning: {name}: the enrolled voice seems absent; is it the right "
            "profile?",
            file=sys.stderr,
        )

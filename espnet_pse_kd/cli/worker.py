"""Enhances one file after another with the same model, voice and options."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from espnet_pse_kd.cli.batch import Job
from espnet_pse_kd.cli.batch_progress import BatchProgress
from espnet_pse_kd.cli.paths import identities, refuse_inputs
from espnet_pse_kd.cli.presence_report import entry, report
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import write_target
from espnet_pse_kd.runtime.band import FULL, measure_band
from espnet_pse_kd.runtime.meter import Presence
from espnet_pse_kd.runtime.steering import NORMAL, Strength
from espnet_pse_kd.sound.formats import Format, output_format
from espnet_pse_kd.sound.reading import (
    PIPE,
    PipedInput,
    SoundInput,
    length_of,
    open_sound,
)
from espnet_pse_kd.sound.writing import Append, check_writable, write_pipe, write_sound

if TYPE_CHECKING:
    import numpy as np

    from espnet_pse_kd.enhancer import PersonalizedEnhancer
    from espnet_pse_kd.runtime.profile import Profile
    from espnet_pse_kd.runtime.recording import RecordingEnhancer

_HEARING_SHARE = 0.25  # of the time that hearing and enhancing take


class Options(NamedTuple):
    """How to enhance.

    Attributes:
        attenuation_limit: how far anything may be turned down in dB; None: no limit.
        per_channel: enhance each channel by itself; otherwise one gain for all.
        report: tell in how much of the time the voice speaks.
        force: replace files that exist.
        look_ahead: let the personal VAD hear the recording first; None: if there is
            one.
        strength: how far the look-ahead goes.
        keep_above: keep what lies above 8 kHz, with the gain of the band below.
        keep_noise: remove other voices only.
        listen: let the personal VAD hear the recording, whether it is reported or not.
        voice: name of the voice.
    """

    attenuation_limit: float | None = None
    per_channel: bool = False
    report: bool = False
    force: bool = False
    look_ahead: bool | None = None
    strength: Strength = NORMAL
    keep_above: bool = True
    keep_noise: bool = False
    listen: bool = False
    voice: str = ""


class Outcome(NamedTuple):
    """What became of one recording.

    Attributes:
        seconds: its length.
        heard: what the personal VAD heard in every channel that was enhanced by
            itself, or in all of them; empty if it was not asked.
        entry: of the JSON report; empty if there is nothing to tell.
    """

    seconds: float
    heard: list[Presence]
    entry: dict[str, Any]


class Worker:
    """Enhances one file after another.

    Args:
        enhancer: the model.
        profile: the voice.
        options: how.
        inputs: files that are never replaced, besides the one that is enhanced.
        progress: counts what is done.
    """

    def __init__(
        self,
        enhancer: PersonalizedEnhancer,
        profile: Profile,
        options: Options,
        inputs: Iterable[Path] = (),
        progress: BatchProgress | None = None,
    ) -> None:
        self._enhancer, self._profile, self._options = enhancer, profile, options
        self._originals = identities((*inputs, *enhancer.files))
        self._progress = progress or BatchProgress(0.0, 1)

    def check(self) -> None:
        """See, before any file, whether there is a personal VAD where it is needed.

        Raises:
            UserError: it is asked for, and the model has none.
        """
        if self._listens:
            _ = self._enhancer.personal_vad

    def finished(self, job: Job) -> bool:
        """Whether the result is there already, and is to stay."""
        there = os.path.isfile(job.output) and not self._originals & identities(
            [job.output]
        )
        return there and not self._options.force

    def enhance(self, job: Job) -> Outcome:
        """Enhance one file, block by block.

        Raises:
            UserError: it cannot be read, or the output is an input, exists or cannot
                be written.
        """
        refuse_inputs(job.output, self._originals | identities([job.source]))
        start = time.monotonic()
        if job.source == PIPE and not self._listens:
            return self._streamed(job)
        with open_sound(job.source) as sound:
            self._refuse_existing(job.output)
            form = output_format(sound.format, job.source, _named(job.output))
            check_writable(form, job.output)
            self._note(sound)
            recording = self._recording(sound.format, self._band(sound))
            heard = self._heard(sound, recording)
            if self._looks_ahead and not recording.steer(heard, self._options.strength):
                self._warn_of_absence(job)
            if self._options.keep_noise:
                recording.keep_noise(self._enhancer.personal_vad, heard)
            share = 1 - _HEARING_SHARE if heard else 1.0
            with self._written(job.output, form, sound) as write:
                for block in recording.enhance(self._counted(sound, share)):
                    write(block)
        spent = time.monotonic() - start
        self._say(job, f"{job.output}: {sound.seconds:.1f} s in {spent:.1f} s")
        return self._outcome(job, sound.seconds, heard)

    def _streamed(self, job: Job) -> Outcome:
        """Enhance standard input while it comes in."""
        sound = PipedInput()
        self._refuse_existing(job.output)
        form = output_format(sound.format, Path("stdin.wav"), _named(job.output))
        recording = self._recording(sound.format)
        samples = 0
        with self._written(job.output, form, None) as write:
            for block in recording.enhance(sound.blocks()):
                samples += len(block)
                write(block)
        seconds = samples / sound.format.rate
        self._say(job, f"{job.output}: {seconds:.1f} s")
        return Outcome(seconds, [], {})

    def _recording(self, form: Format, band: str = FULL) -> RecordingEnhancer:
        return self._enhancer.recording(
            self._profile,
            form.rate,
            form.channels,
            self._options.per_channel,
            self._options.attenuation_limit,
            self._options.keep_above,
            band,
        )

    def _band(self, sound: SoundInput) -> str:
        """Band of the speech, said where it is not the usual one."""
        band = measure_band(sound.blocks(), sound.format.rate)
        if band != FULL:
            self._tell(
                f"note: {sound.path}: speech of the {band} band; the profile's vector "
                "of that band is used"
            )
        return band

    @contextmanager
    def _written(
        self, output: Path, form: Format, like: SoundInput | None
    ) -> Iterator[Append]:
        if output == PIPE:
            with write_pipe(form) as write:
                yield write
            return
        replace = self._options.force
        with write_sound(output, form, like=like, replace=replace) as write:
            yield write

    def _refuse_existing(self, output: Path) -> None:
        if output == PIPE:
            return
        write_target(output)
        if os.path.exists(output) and not self._options.force:
            raise UserError(f"{output}: exists; give --force, or another --output")

    def _note(self, sound: SoundInput) -> None:
        if sound.tracks > 1:
            self._tell(
                f"note: {sound.path}: {sound.tracks} sounds in it; the first is taken"
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
            self._tell(f"note: no look-ahead: {error}")
            return False

    @property
    def _listens(self) -> bool:
        """Whether the personal VAD hears every recording first."""
        asked = self._options.report or self._options.listen or self._options.keep_noise
        return asked or self._looks_ahead

    def _heard(self, sound: SoundInput, recording: RecordingEnhancer) -> list[Presence]:
        """What the personal VAD hears, where it is asked."""
        if not self._listens:
            return []
        blocks = self._counted(sound, _HEARING_SHARE)
        return recording.hear(self._enhancer.personal_vad, blocks)

    def _counted(self, sound: SoundInput, share: float) -> Iterator[np.ndarray]:
        return self._progress.count(sound.blocks(), sound.format.rate, share)

    def _outcome(self, job: Job, seconds: float, heard: list[Presence]) -> Outcome:
        if not heard:
            return Outcome(seconds, heard, {})
        if self._options.report:
            self._say(job, report(str(job.source), heard))
        voice = self._options.voice
        return Outcome(
            seconds, heard, entry(job.source, job.output, seconds, voice, heard)
        )

    def _warn_of_absence(self, job: Job) -> None:
        limit, depth = self._options.attenuation_limit, self._options.strength.depth_db
        depth = depth if limit is None else min(depth, limit)
        self._tell(
            f"warning: {job.source}: the enrolled voice is heard nowhere; "
            f"all is turned down by {depth:g} dB; is it the right "
            "profile? --no-look-ahead leaves the decision to the network"
        )

    def _say(self, job: Job, text: str) -> None:
        """Print a result, where standard output is not the sound itself."""
        self._progress.clear()
        print(text, file=sys.stderr if job.output == PIPE else sys.stdout)

    def _tell(self, text: str) -> None:
        self._progress.clear()
        print(text, file=sys.stderr)


def _named(output: Path) -> Path:
    """The output with a suffix that tells its format: a pipe gets WAV."""
    return Path("stdout.wav") if output == PIPE else output


def keep(job: Job, progress: BatchProgress) -> None:
    """Say that a result exists; it takes no time."""
    progress.clear()
    progress.expect(-length_of(job.source))
    print(f"{job.output}: exists, kept")


def tell_kept(kept: int, files: int) -> None:
    """Say how many results existed, if any did."""
    if kept:
        print(f"{kept} of {files} results existed; --force replaces them")

"""Making a profile from files: what ``enroll``, and ``--enroll`` elsewhere, do."""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soxr

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.cli.completers import complete_by
from espnet_pse_kd.cli.values import whole_number
from espnet_pse_kd.cli.voice_store import VoiceStore, is_path
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.channels import Downmix
from espnet_pse_kd.runtime.default_model import CAMPP
from espnet_pse_kd.runtime.enrolment_quality import (
    LEAST_SPEECH,
    Recording,
    brevity,
    faults,
    measure,
    refuse_unfit,
)
from espnet_pse_kd.runtime.one_voice import (
    LEAST_SECONDS,
    PARTS,
    Limits,
    least_alike,
    piece_vectors,
    split,
)
from espnet_pse_kd.runtime.onnxfile import MOST_THREADS
from espnet_pse_kd.sound.reading import SoundInput, open_sound

if TYPE_CHECKING:
    from espnet_pse_kd.enhancer import PersonalizedEnhancer
    from espnet_pse_kd.runtime.profile import Profile
    from espnet_pse_kd.runtime.speaker_encoder import OnnxSpeakerEncoder

LONGEST = 600.0
"""Seconds of an enrolment file; more brings nothing, and is rarely one voice."""


class Clip(NamedTuple):
    """Speech of one enrolment file.

    Attributes:
        path: of the file.
        wave: float32 (N,) at 16 kHz.
    """

    path: Path
    wave: np.ndarray


def segment(text: str) -> tuple[float, float]:
    """Parse ``BEGIN-END``, in seconds; the type of ``--segment``."""
    begin, _, end = text.partition("-")
    try:
        bounds = float(begin), float(end)
    except ValueError:
        bounds = math.nan, math.nan
    if not 0 <= bounds[0] < bounds[1] < math.inf:
        raise argparse.ArgumentTypeError(
            f"{text!r}; give begin and end in seconds, such as 12.0-25.5"
        )
    return bounds


def read_clip(path: Path, bounds: tuple[float, float] | None = None) -> Clip:
    """Read one enrolment file, or a part of it.

    Raises:
        UserError: it cannot be read, the part lies outside of it, it is longer than
            `LONGEST`, or nobody speaks in it.
    """
    with open_sound(path) as sound:
        begin, end = bounds or (0.0, sound.seconds)
        if end > sound.seconds:
            raise UserError(
                f"{path}: --segment ends at {end} s, the file at {sound.seconds:.2f} s;"
                " give a part that lies inside"
            )
        if end - begin > LONGEST:
            raise UserError(
                f"{path}: {end - begin:.0f} s; choose up to {LONGEST:.0f} s of the "
                "voice alone with --segment"
            )
        wave = _mixed(sound, (begin, end))
    found = measure(wave)
    # Several short files may be enough together; a tone among them spoils all.
    if found.speech == 0.0 or found.speech >= LEAST_SPEECH:
        refuse_unfit(found, str(path))
    return Clip(path, wave)


def _mixed(sound: SoundInput, bounds: tuple[float, float]) -> np.ndarray:
    """A part of a recording as one channel at 16 kHz, float32 (N,)."""
    rate, channels = sound.format.rate, sound.format.channels
    if channels > 1:
        print(f"note: {sound.path}: {channels} channels, mixed down", file=sys.stderr)
    mix = Downmix(rate, channels)
    # A part may be shorter than a sample, so that there is no block.
    parts = [mix.process(block) for block in sound.blocks(*bounds)] + [mix.flush()]
    return soxr.resample(np.concatenate(parts), rate, SAMPLE_RATE)


def enroll(enhancer: PersonalizedEnhancer, clips: Sequence[Clip]) -> Profile:
    """Make one profile of all clips; reports what they are worth on standard error.

    Args:
        enhancer: of the model.
        clips: what `read_clip` found fit.

    Raises:
        UserError: too little speech in all, or two clearly different voices, in two
            files or in one.
    """
    found = [measure(clip.wave) for clip in clips]
    for clip, recording in zip(clips, found, strict=True):
        print(f"{clip.path}: {recording}", file=sys.stderr)
    speech = one_level(clips, found)
    names = ", ".join(str(clip.path) for clip in clips)
    refuse_unfit(measure(speech), names)
    refuse_two_voices(enhancer.voice_judge, clips)
    for text in brevity(measure(speech)):
        print(f"warning: {text}", file=sys.stderr)
    # Side by side, a good clip would hide what is wrong with another.
    for clip, recording in zip(clips, found, strict=True):
        for text in faults(recording):
            print(f"warning: {clip.path}: {text}", file=sys.stderr)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # said already
        sources = tuple(clip.path.name for clip in clips)
        return enhancer.enroll(speech, SAMPLE_RATE, sources)


def one_level(clips: Sequence[Clip], found: Sequence[Recording]) -> np.ndarray:
    """All clips one after another, with speech of the same level.

    Speech is what comes within 30 dB of the loudest, so that a quieter clip would be
    lost beside a louder one. The common level is that of all speech as it was recorded,
    which the profile tells.

    Args:
        clips: each with speech.
        found: measures of each.

    Returns:
        float32 (N,) at 16 kHz.
    """
    powers = np.array([10 ** (recording.level / 10) for recording in found])
    seconds = [recording.speech for recording in found]
    gains = np.sqrt(np.average(powers, weights=seconds) / powers).astype(np.float32)
    return np.concatenate([g * clip.wave for g, clip in zip(gains, clips, strict=True)])


def refuse_two_voices(judge: OnnxSpeakerEncoder | None, clips: Sequence[Clip]) -> None:
    """Compare every two clips, and the parts of each, as far as they can be told apart.

    What is too short, or cannot be compared for want of CAM++, is said on standard
    error.

    Args:
        judge: CAM++, None where the install lacks it.
        clips: each with speech.

    Raises:
        UserError: two clips, or two parts of one, are clearly two voices; the least
            alike are named.
    """
    if judge is None:
        print(
            "note: not compared whether this is one voice: this install has no CAM++ "
            f"({CAMPP.name})",
            file=sys.stderr,
        )
        return
    heard = {clip.path: piece_vectors(judge, clip.wave) for clip in clips}
    for path, vectors in heard.items():
        if not len(vectors) and len(clips) > 1:
            print(
                f"note: {path}: less than {LEAST_SECONDS} s of speech, not compared "
                "with the others",
                file=sys.stderr,
            )
        parts = split(vectors)
        where = f"{path}, {parts.seconds:.0f} s of it and the rest"
        _judge(where, parts.similarity, PARTS)
    comparable = {path: vectors for path, vectors in heard.items() if len(vectors)}
    paths, found = list(comparable), least_alike(list(comparable.values()))
    if found is not None:
        names = f"{paths[found.first]} and {paths[found.second]}"
        _judge(names, found.similarity, found.limits)


def _judge(what: str, alike: float, limits: Limits) -> None:
    """Refuse two voices, and warn where there may be two.

    Raises:
        UserError: they are clearly two.
    """
    if alike < limits.different:
        raise UserError(
            f"{what}: two different voices (similarity {alike:.2f}, one voice has "
            f"{limits.different} or more); enroll one person at a time"
        )
    if alike < limits.doubtful:
        print(
            f"warning: {what}: possibly two voices (similarity {alike:.2f})",
            file=sys.stderr,
        )


def add_voice_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--profile`` and ``--enroll``; without either the default voice is meant."""
    group = parser.add_mutually_exclusive_group()
    profile = group.add_argument(
        "--profile",
        metavar="VOICE",
        help="name of an enrolled voice, or the file of its profile: a word with a dot "
        "or a slash is a file; default: the default voice, see pse-kd voices",
    )
    complete_by(profile, stored_names)
    group.add_argument(
        "--enroll",
        type=Path,
        action="append",  # of several words the last may be meant for the command
        metavar="FILE",
        help="a recording of the voice; give the option once for each of several",
    )


def stored_names() -> list[str]:
    """Names of the enrolled voices."""
    return VoiceStore().names()


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--model`` and ``--threads``."""
    parser.add_argument(
        "--model",
        help="folder, .onnx file, packed zip, or tag of the model zoo; default: the "
        "package's own",
    )
    parser.add_argument(
        "--threads",
        type=whole_number(MOST_THREADS),
        default=1,
        help="CPU threads, default: 1",
    )


def load_enhancer(args: argparse.Namespace) -> PersonalizedEnhancer:
    """Load what ``--model`` and ``--threads`` ask for."""
    from espnet_pse_kd.enhancer import PersonalizedEnhancer

    return PersonalizedEnhancer.from_pretrained(args.model, args.threads)


def voice_files(args: argparse.Namespace) -> list[Path]:
    """The files that ``--profile`` or ``--enroll`` mean; the default voice's if none.

    Raises:
        UserError: there is no such voice, or no default.
    """
    if args.enroll:
        return args.enroll
    if args.profile is None:
        return [VoiceStore().default_path()]
    if is_path(args.profile):
        return [Path(args.profile)]
    return [VoiceStore().existing(args.profile)]


def voice_name(args: argparse.Namespace) -> str:
    """What to call the voice: the name of its profile, or of its first recording."""
    return voice_files(args)[0].stem


def load_profile(args: argparse.Namespace, enhancer: PersonalizedEnhancer) -> Profile:
    """The profile that ``--profile`` means, or one made of ``--enroll``.

    Raises:
        UserError: the profile is damaged or another encoder's, or the recordings are
            not fit to enroll from.
    """
    if args.enroll:
        return enroll(enhancer, [read_clip(path) for path in args.enroll])
    from espnet_pse_kd.runtime.profile import Profile

    [path] = voice_files(args)
    profile = Profile.load(path)
    model = enhancer.model
    try:
        profile.vector(model.speaker_encoder, model.speaker_dim)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return profile

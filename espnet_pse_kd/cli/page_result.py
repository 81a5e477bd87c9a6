"""What the page of ``pse-kd serve`` makes of a voice and a recording; no Gradio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.cli.batch import Job
from espnet_pse_kd.cli.pictures import before_and_after
from espnet_pse_kd.cli.voice import enroll, read_clip
from espnet_pse_kd.cli.worker import Options, Worker
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.enrolment_quality import measure, shortcomings
from espnet_pse_kd.runtime.meter import ABSENT_SHARE
from espnet_pse_kd.sound.reading import open_sound, read_mono
from espnet_pse_kd.sound.writing import result_suffix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from espnet_pse_kd.enhancer import PersonalizedEnhancer
    from espnet_pse_kd.runtime.pvad import OnnxPersonalVAD

LONGEST = 600.0
"""Seconds of a recording; for longer ones there is the command line."""


class Result(NamedTuple):
    """What the page shows.

    Attributes:
        text: what was found, in Markdown.
        before: path of the recording.
        after: path of the enhanced recording.
        picture: spectrograms and the enrolled voice's trace.
    """

    text: str
    before: str
    after: str
    picture: Figure


def enhance(
    enhancer: PersonalizedEnhancer,
    voice: str | None,
    recording: str | None,
    limit: float | None,
    look_ahead: bool,
    folder: Path,
) -> Result:
    """Do what the page offers.

    Args:
        enhancer: the model.
        voice: path of the enrolment.
        recording: path of the recording.
        limit: attenuation limit in dB, None for none.
        look_ahead: let the personal VAD hear the recording first.
        folder: where to write.

    Raises:
        UserError: one of the two is missing, unfit or too long.
    """
    voice, recording = _given(voice, recording)
    clip = read_clip(Path(voice))
    profile = enroll(enhancer, [clip])
    source = Path(recording)
    after = folder / f"{source.stem}_enhanced{result_suffix(source.suffix)}"
    vad = _personal_vad(enhancer)
    options = Options(
        limit, report=bool(vad), force=True, look_ahead=look_ahead and bool(vad)
    )
    worker = Worker(enhancer, profile, options)
    heard = worker.enhance(Job(source, after)).heard
    lines = [
        f"**Voice:** {measure(clip.wave)}.",
        *(f"⚠️ {text}." for text in shortcomings(measure(clip.wave))),
        *_heard_lines([one.own_share for one in heard]),
    ]
    voices = [(one.posterior, vad.hop) for one in heard if vad]
    picture = before_and_after(
        read_mono(source, SAMPLE_RATE), read_mono(after, SAMPLE_RATE), *voices
    )
    return Result("\n\n".join(lines), str(source), str(after), picture)


def _personal_vad(enhancer: PersonalizedEnhancer) -> OnnxPersonalVAD | None:
    """The model's personal VAD, if it has one that hears its vectors."""
    try:
        return enhancer.personal_vad
    except UserError:
        return None


def _heard_lines(shares: Sequence[float]) -> list[str]:
    """What to say of the share of time in which the voice speaks, if it is known."""
    if not shares:
        return ["⚠️ This model has no personal VAD, so nothing looks ahead."]
    [share] = shares
    lines = [f"**Recording:** the voice speaks in {100 * share:.0f} % of the time."]
    if share < ABSENT_SHARE:
        lines.append("⚠️ The voice seems absent from the recording.")
    return lines


def _given(voice: str | None, recording: str | None) -> tuple[str, str]:
    """The two files, if both are there and the recording is not too long."""
    if not voice:
        raise UserError("1 · Voice: nothing yet; record or upload a few seconds of it")
    if not recording:
        raise UserError("2 · Recording: nothing yet; record or upload one")
    with open_sound(recording) as sound:
        if sound.seconds > LONGEST:
            raise UserError(
                f"2 · Recording: {sound.seconds / 60:.0f} minutes; the page takes up "
                f"to {LONGEST / 60:.0f}, for longer ones use pse-kd enhance"
            )
    return voice, recording

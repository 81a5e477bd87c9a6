"""What the page of ``pse-kd serve`` makes of a voice and recordings; no Gradio."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.cli.batch import Job
from espnet_pse_kd.cli.pictures import before_and_after
from espnet_pse_kd.cli.voice import enroll, read_clip
from espnet_pse_kd.cli.worker import Options, Worker
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.enrolment_quality import measure, shortcomings
from espnet_pse_kd.runtime.meter import ABSENT_SHARE, Presence
from espnet_pse_kd.runtime.profile import Profile
from espnet_pse_kd.sound import ffmpeg
from espnet_pse_kd.sound.formats import LIBSNDFILE_SUFFIXES, SUFFIXES, Format
from espnet_pse_kd.sound.reading import open_sound, read_mono
from espnet_pse_kd.sound.writing import result_suffix, write_sound

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from espnet_pse_kd.enhancer import PersonalizedEnhancer
    from espnet_pse_kd.runtime.pvad import OnnxPersonalVAD

LONGEST = 600.0
"""Seconds of a recording; for longer ones there is the command line."""
MOST = 20
"""Clips of the voice, and recordings, of one go."""
PROFILE = ".profile"
"""Suffix of a file that holds an enrolled voice."""


class Item(NamedTuple):
    """One recording and its result.

    Attributes:
        name: of the recording, as the person knows it.
        source: path of the recording.
        result: path of the enhanced recording.
        before: path of a copy of the recording that a browser plays.
        after: path of such a copy of the result.
        seconds: its length.
        heard: when the enrolled voice speaks, None if it is not known.
    """

    name: str
    source: str
    result: str
    before: str
    after: str
    seconds: float
    heard: Presence | None


class Outcome(NamedTuple):
    """What the page shows.

    Attributes:
        text: what was found, in Markdown.
        items: the recordings that could be enhanced.
        profile: path of the voice's profile.
    """

    text: str
    items: list[Item]
    profile: str


def accepted_suffixes() -> list[str]:
    """Endings of files that can be read on this machine."""
    return sorted(SUFFIXES if ffmpeg.available() else LIBSNDFILE_SUFFIXES)


def enhance(
    enhancer: PersonalizedEnhancer,
    voices: Sequence[str],
    recordings: Sequence[str],
    limit: float | None,
    look_ahead: bool,
    folder: Path,
) -> Outcome:
    """Do what the page offers; a bad recording does not keep the others.

    Args:
        enhancer: the model.
        voices: paths of clips of the voice, or of one profile.
        recordings: paths of the recordings.
        limit: attenuation limit in dB, None for none.
        look_ahead: let the personal VAD hear the recordings first.
        folder: where to write.

    Raises:
        UserError: a voice or recordings are missing, the voice is unfit, or no
            recording could be enhanced. Its paths are without folders.
    """
    _check_given(voices, recordings)
    with _messages([*voices, *recordings]) as remarks:
        profile, lines = _profile(enhancer, voices)
        vad = _personal_vad(enhancer)
        options = Options(
            limit, report=bool(vad), force=True, look_ahead=look_ahead and bool(vad)
        )
        worker = Worker(enhancer, profile, options)
        items, errors = [], []
        for number, path in enumerate(recordings):
            own = folder / str(number)
            own.mkdir(parents=True)
            try:
                items.append(_enhanced(worker, Path(path), own))
            except UserError as error:
                errors.append(_without_folders(str(error), recordings))
    if not items:
        raise UserError("; ".join(errors))
    saved = folder / f"voice{PROFILE}"
    profile.save(saved)
    lines += [f"⚠️ {text}" for text in (*remarks, *errors)]
    lines += [line for item in items for line in _heard_lines(item)]
    return Outcome("\n\n".join(lines), items, str(saved))


def picture(item: Item, begin: float = 0.0, end: float = math.inf) -> Figure:
    """Spectrograms and the voice's trace.

    Args:
        item: recording and result.
        begin: first second that is shown.
        end: last second that is shown.
    """
    end = min(end, item.seconds)
    begin = min(max(0.0, begin), max(0.0, end - 0.1))
    before, after = (
        read_mono(path, SAMPLE_RATE, (begin, end))
        for path in (item.source, item.result)
    )
    voices = []
    if item.heard is not None:
        hop = item.heard.hop_seconds
        first, last = round(begin / hop), round(end / hop)
        trace = item.heard.posterior[first : last + 1]
        voices = [(trace, round(hop * SAMPLE_RATE))]
    return before_and_after(before, after, *voices, begin=begin)


def _check_given(voices: Sequence[str], recordings: Sequence[str]) -> None:
    if not voices:
        raise UserError("1 · Voice: nothing yet; record or upload a few seconds of it")
    if not recordings:
        raise UserError("2 · Recordings: nothing yet; record or upload one")
    for name, paths in (("1 · Voice", voices), ("2 · Recordings", recordings)):
        if len(paths) > MOST:
            raise UserError(f"{name}: {len(paths)} files; give up to {MOST} at once")


@contextlib.contextmanager
def _messages(paths: Sequence[str]) -> Iterator[list[str]]:
    """What the commands would say on the terminal, without the folders of uploads.

    Only warnings are kept; errors lose the folders as well.
    """
    said, kept = io.StringIO(), list[str]()
    try:
        with contextlib.redirect_stderr(said):
            yield kept
    except UserError as error:
        raise UserError(_without_folders(str(error), paths)) from None
    finally:
        for line in said.getvalue().splitlines():
            if line.startswith("warning: "):
                text = _without_folders(line.removeprefix("warning: "), paths)
                kept.append(f"{text}.")


def _without_folders(message: str, paths: Sequence[str]) -> str:
    """Name uploaded files as the person knows them."""
    for path in paths:
        message = message.replace(path, Path(path).name)
    return message


def _profile(
    enhancer: PersonalizedEnhancer, voices: Sequence[str]
) -> tuple[Profile, list[str]]:
    """The voice, and what to say of it."""
    given = [Path(path) for path in voices]
    if any(path.suffix == PROFILE for path in given):
        if len(given) > 1:
            raise UserError(
                f"1 · Voice: a profile and {len(given) - 1} other files; give the "
                "profile alone, or clips of one voice"
            )
        profile = Profile.load(given[0])
        return profile, [f"**Voice:** {given[0].name}, {profile.seconds:.1f} s."]
    clips = [read_clip(path) for path in given]
    profile = enroll(enhancer, clips)
    lines = []
    for clip in clips:
        found = measure(clip.wave)
        lines.append(f"**Voice:** {clip.path.name}: {found}.")
        if len(clips) == 1:
            lines += [f"⚠️ {text}." for text in shortcomings(found)]
    return profile, lines


def _enhanced(worker: Worker, source: Path, folder: Path) -> Item:
    with open_sound(source) as sound:
        if sound.seconds > LONGEST:
            raise UserError(
                f"{source}: {sound.seconds / 60:.0f} minutes; the page takes up to "
                f"{LONGEST / 60:.0f}, for longer ones use pse-kd enhance"
            )
    result = folder / f"{source.stem}_enhanced{result_suffix(source.suffix)}"
    outcome = worker.enhance(Job(source, result))
    presence = outcome.heard[0] if outcome.heard else None
    return Item(
        source.name,
        str(source),
        str(result),
        _playable(source, folder / "before.flac"),
        _playable(result, folder / "after.flac"),
        outcome.seconds,
        presence,
    )


def _playable(path: Path, copy: Path) -> str:
    """A copy that every browser plays: FLAC, of one channel if it has many."""
    with open_sound(path) as sound:
        rate, channels = sound.format.rate, min(sound.format.channels, 2)
        with write_sound(copy, Format(rate, channels, "FLAC", "PCM_16")) as append:
            for block in sound.blocks():
                append(block[:, :channels].clip(-1, 1))
    return str(copy)


def _personal_vad(enhancer: PersonalizedEnhancer) -> OnnxPersonalVAD | None:
    """The model's personal VAD, if it has one that hears its vectors."""
    try:
        return enhancer.personal_vad
    except UserError:
        return None


def _heard_lines(item: Item) -> list[str]:
    """What to say of the time in which the voice speaks, if it is known."""
    if item.heard is None:
        return ["⚠️ This model has no personal VAD, so nothing looks ahead."]
    share = item.heard.own_share
    lines = [f"**{item.name}:** the voice speaks in {100 * share:.0f} % of the time."]
    if share < ABSENT_SHARE:
        lines.append("⚠️ The voice seems absent from the recording.")
    return lines

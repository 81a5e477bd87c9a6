"""One split of the corpus as simulation sees it: speakers, sources, noises, rooms."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE, read_audio
from espnet_pse_kd.corpora.index import open_index
from espnet_pse_kd.corpora.inventory import MIN_HALF_SECONDS, MIN_SPEAKERS, room_of
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.kaldi import read_table, same_keys
from espnet_pse_kd.simulation.cast import Cast, played
from espnet_pse_kd.simulation.voices import OWN, Voice

MIN_SOURCE_SECONDS = 3.0
"""Recordings shorter than this are joined with the speaker's next ones."""


@dataclass(frozen=True)
class Piece:
    """A stretch of one utterance: ``frames`` samples from sample ``start``."""

    utt: str
    start: int
    frames: int


@dataclass(frozen=True)
class Source:
    """Speech of one speaker from which a sample takes *either* target *or* enrolment.

    It is one utterance as a rule, several short ones joined, or one half of the only
    recording of a speaker. Two sources never share a sample of speech.
    """

    sid: str
    speaker: str
    pieces: tuple[Piece, ...]

    @property
    def samples(self) -> int:
        return sum(piece.frames for piece in self.pieces)

    def cut(self, start: int, frames: int) -> list[Piece]:
        """The pieces that cover ``frames`` samples from ``start``."""
        result, position = [], 0
        for piece in self.pieces:
            low = max(start, position)
            high = min(start + frames, position + piece.frames)
            if low < high:
                result.append(
                    Piece(piece.utt, piece.start + low - position, high - low)
                )
            position += piece.frames
        return result


@dataclass(frozen=True)
class Inventory:
    """Tables of ``data/<split>/``. Those of speech are views of mapped columns.

    Attributes:
        wavs: path of every utterance. starts: its first sample in that file.
        samples: its length.
        genders: sex per speaker, where known.
        texts: transcript per utterance, where known.
        utts: utterances per speaker.
        sources: sources per speaker with at least two: who can be a target.
        voices: voice per utterance that is not played in its own.
        persons: recorded person behind each speaker.
        speakers: all speakers, who can be an interferer.
        targets: those of ``sources``.
        cast: who there is, to draw from.
        noises: path per noise recording, and their lengths.
        rooms: path per simulated room.
        measured: path per measured response.
        digest: changes with any of the tables.
    """

    wavs: Mapping[str, str]
    starts: Mapping[str, int]
    samples: Mapping[str, int]
    genders: Mapping[str, str]
    texts: Mapping[str, str]
    utts: Mapping[str, list[str]]
    sources: Mapping[str, list[Source]]
    voices: Mapping[str, Voice]
    persons: Mapping[str, str]
    speakers: Sequence[str]
    targets: Sequence[str]
    cast: Cast
    noises: dict[str, str]
    noise_samples: dict[str, int]
    rooms: dict[str, str]
    measured: dict[str, str]
    digest: str

    @functools.cached_property
    def noise_ids(self) -> list[str]:
        return sorted(self.noises)

    @functools.cached_property
    def room_ids(self) -> list[str]:
        return sorted(self.rooms)

    @functools.cached_property
    def measured_rooms(self) -> list[list[str]]:
        """Ids of the measured responses, one list per room."""
        groups: dict[str, list[str]] = {}
        for rid in sorted(self.measured):
            groups.setdefault(room_of(Path(self.measured[rid])), []).append(rid)
        return list(groups.values())

    def draw_speaker(
        self,
        rng: np.random.Generator,
        apart_from: Collection[str] = (),
        gender: str = "",
        target: bool = False,
    ) -> str:
        """Draw a person by the weight of his corpus, then one of his voices.

        The cost does not grow with the number of speakers.

        Args:
            rng: makes two draws.
            apart_from: speakers or persons who are not drawn, in none of their voices.
            gender: ``f`` or ``m``, somebody of this sex if there is one; "" for all.
            target: somebody with speech for both a target and an enrolment.

        Raises:
            UserError: there is nobody else.
        """
        return self.cast.draw(rng, apart_from, gender, target)


def make_sources(speaker: str, samples: dict[str, int]) -> list[Source]:
    """Divide a speaker's utterances into sources.

    Args:
        speaker: his name.
        samples: length of each of his utterances, in order.

    Returns:
        Two sources or more, or none if there is too little speech for two.
    """
    groups: list[list[Piece]] = []
    length = MIN_SOURCE_SECONDS * SAMPLE_RATE
    for utt, frames in samples.items():
        if not groups or sum(p.frames for p in groups[-1]) >= length:
            groups.append([])
        groups[-1].append(Piece(utt, 0, frames))
    if len(groups) > 1 and sum(p.frames for p in groups[-1]) < length:
        groups[-2].extend(groups[-1])
        del groups[-1]
    if len(groups) > 1:
        return [Source(group[0].utt, speaker, tuple(group)) for group in groups]
    whole = Source("", speaker, tuple(groups[0]))
    half = whole.samples // 2
    if half < MIN_HALF_SECONDS * SAMPLE_RATE:
        return []
    name = groups[0][0].utt
    return [
        Source(f"{name}:0", speaker, tuple(whole.cut(0, half))),
        Source(f"{name}:1", speaker, tuple(whole.cut(half, whole.samples - half))),
    ]


def _optional(path: Path) -> dict[str, str]:
    return read_table(path) if path.is_file() else {}


def _samples(path: Path) -> dict[str, int]:
    return {key: round(float(v) * SAMPLE_RATE) for key, v in read_table(path).items()}


def _digest(folder: Path) -> str:
    names = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".wav", ".npy", ".tmp")
    )
    crc = 0
    for path in names:
        crc = zlib.crc32(path.relative_to(folder).as_posix().encode(), crc)
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                crc = zlib.crc32(block, crc)
    return f"{crc:08x}"


@functools.lru_cache(maxsize=3)
def load_inventory(folder: Path, voices: tuple[Voice, ...] = (OWN,)) -> Inventory:
    """Read ``data/<split>/`` (cached per process).

    Args:
        folder: ``data/<split>``.
        voices: in which speech is played; each makes a further speaker of every
            recorded person.

    Raises:
        UserError: a table is missing or does not agree with the others, or there
            are too few speakers, or no room at all.
    """
    index = open_index(folder / "speech")
    cast = Cast(index, voices)
    if cast.target_persons < MIN_SPEAKERS:
        raise UserError(
            f"{folder / 'speech'}: {cast.target_persons} speakers have enough speech "
            f"for a target and an enrolment, {MIN_SPEAKERS} are needed; add speakers "
            "or recordings"
        )
    same_keys(folder / "noise", ["wav.scp", "utt2dur"])
    rooms = _optional(folder / "rir" / "wav.scp")
    measured = _optional(folder / "rir" / "measured.scp")
    if not rooms and not measured:
        raise UserError(
            f"{folder / 'rir'}: neither wav.scp nor measured.scp; "
            "run stage 1 with --rooms above 0 or with --rir"
        )
    utterance, speaker = cast.by_utterance, cast.by_speaker
    return Inventory(
        wavs=utterance(lambda row, voice: index.paths[row]),
        starts=utterance(lambda row, voice: int(index.start[row])),
        samples=utterance(lambda row, voice: played(voice, int(index.samples[row]))),
        texts=utterance(lambda row, voice: index.texts[row] or None),
        voices=utterance(lambda row, voice: None if voice == OWN else voice),
        genders=speaker(lambda person, voice: cast.gender(person)),
        utts=speaker(cast.utts),
        persons=speaker(lambda person, voice: index.speakers[person]),
        sources=cast.by_speaker(
            functools.lru_cache(_SOURCES_CACHED)(_sources_of(cast))
        ),
        speakers=cast.speakers,
        targets=cast.targets,
        cast=cast,
        noises=read_table(folder / "noise" / "wav.scp"),
        noise_samples=_samples(folder / "noise" / "utt2dur"),
        rooms=rooms,
        measured=measured,
        digest=_digest(folder),
    )


_SOURCES_CACHED = 64
"""Speakers whose sources are kept: hundreds each, in large corpora."""


def _sources_of(cast: Cast) -> Callable[[int, Voice], list[Source] | None]:
    """Sources of a person in a voice; None if there is too little speech for two."""

    def sources(person: int, voice: Voice) -> list[Source] | None:
        index = cast.index
        lengths = {
            voice.named(index.utts[row]): played(voice, int(index.samples[row]))
            for row in index.rows(person)
        }
        return make_sources(voice.named(index.speakers[person]), lengths) or None

    return sources


_FADE = 80


def read_pieces(inventory: Inventory, pieces: list[Piece]) -> np.ndarray:
    """Read and join pieces, each faded in and out over 5 ms so that no cut clicks.

    Returns:
        float32 (samples,)
    """
    parts = []
    for piece in pieces:
        part = _read_piece(inventory, piece)
        ramp = np.linspace(0, 1, min(_FADE, len(part)), dtype=np.float32)
        part[: len(ramp)] *= ramp
        part[-len(ramp) :] *= ramp[::-1]
        parts.append(part)
    return np.concatenate(parts)


def _read_piece(inventory: Inventory, piece: Piece) -> np.ndarray:
    wav, voice = inventory.wavs[piece.utt], inventory.voices.get(piece.utt)
    first = inventory.starts[piece.utt]
    if voice is None:
        return read_audio(wav, first + piece.start, piece.frames)
    start, frames = voice.recorded(piece.start), max(1, voice.recorded(piece.frames))
    return voice.play(read_audio(wav, first + start, frames), piece.frames)


@functools.lru_cache(maxsize=256)
def read_response(path: str) -> np.ndarray:
    """Read a room response, cached per process: float32 (taps,) or (taps, 3)."""
    import soundfile

    try:
        samples, rate = soundfile.read(path, dtype="float32")
    except soundfile.LibsndfileError as error:
        raise UserError(f"{path}: {error}; run stage 1 again") from None
    if rate != SAMPLE_RATE or not np.isfinite(samples).all() or not samples.any():
        raise UserError(f"{path}: not a finite {SAMPLE_RATE} Hz response; run stage 1")
    return samples

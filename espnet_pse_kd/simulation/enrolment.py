"""Enrolment clips: each with a room, equalizer, noise and gain of its own."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.kaldi import write_table
from espnet_pse_kd.simulation import mixing
from espnet_pse_kd.simulation.channels import (
    band_limited,
    coded,
    draw_codec,
    mu_law,
)
from espnet_pse_kd.simulation.draws import chance
from espnet_pse_kd.simulation.noises import cut_noise
from espnet_pse_kd.simulation.split import (
    Inventory,
    Piece,
    read_pieces,
    read_response,
)

if TYPE_CHECKING:
    from espnet_pse_kd.simulation.options import SimulationOptions


@dataclass(frozen=True)
class Clip:
    """One enrolment clip, cut from one source of its speaker."""

    cid: str
    speaker: str
    source: str
    pieces: list[Piece]
    index: int


def _clip_id(speaker: str, index: int) -> str:
    return f"{speaker}-enroll{index}"


class ClipPlan(Mapping[str, list[Clip]]):
    """The clips of every target, chosen when asked for: see `plan_clips`."""

    def __init__(
        self, inventory: Inventory, options: SimulationOptions, seed: int
    ) -> None:
        self._inventory, self._options, self._seed = inventory, options, seed
        self._chosen = functools.lru_cache(maxsize=4096)(self._choose)

    def __getitem__(self, speaker: str) -> list[Clip]:
        return self._chosen(speaker)

    def __iter__(self) -> Iterator[str]:
        return iter(self._inventory.targets)

    def __len__(self) -> int:
        return len(self._inventory.targets)

    def ids(self) -> Iterator[str]:
        """Ids of all clips, which need not be chosen for that."""
        for speaker in self:
            for index in range(self._options.clips_per_speaker):
                yield _clip_id(speaker, index)

    def _choose(self, speaker: str) -> list[Clip]:
        rng = np.random.default_rng([self._seed, 31, zlib.crc32(speaker.encode())])
        sources = self._inventory.sources[speaker]
        order = rng.permutation(len(sources))
        result = []
        for index in range(self._options.clips_per_speaker):
            source = sources[int(order[index % len(order)])]
            wanted = round(rng.uniform(*self._options.clip_seconds) * SAMPLE_RATE)
            frames = min(wanted, source.samples)
            start = int(rng.integers(source.samples - frames + 1))
            pieces = source.cut(start, frames)
            cid = _clip_id(speaker, index)
            result.append(Clip(cid, speaker, source.sid, pieces, index))
        return result


def plan_clips(inventory: Inventory, options: SimulationOptions, seed: int) -> ClipPlan:
    """Choose the clips of every speaker, going round his sources.

    Two clips or more from two sources or more: whatever source a sample takes its
    target from, there is a clip that was not cut from it.
    """
    return ClipPlan(inventory, options, seed)


def admissible(
    clips: Mapping[str, list[Clip]], speaker: str, source: str
) -> list[Clip]:
    """Clips of a speaker that were not cut from ``source``.

    Raises:
        UserError: there is none.
    """
    found = [clip for clip in clips[speaker] if clip.source != source]
    if not found:
        raise UserError(
            f"speaker {speaker}: no enrolment clip from outside of {source}; "
            "add a recording of the speaker or raise --clips_per_speaker"
        )
    return found


def render_clip(
    inventory: Inventory,
    clip: Clip,
    options: SimulationOptions,
    seed: int,
    train: bool = False,
) -> np.ndarray:
    """Make the audio of a clip: its channel depends on nothing but clip and seed.

    Training clips have shares and an SNR of their own, and may come through a
    telephone or a codec, see `SimulationOptions`.

    Returns:
        float32 (samples,)
    """
    rng = np.random.default_rng([seed, 32, zlib.crc32(clip.cid.encode())])
    speech = read_pieces(inventory, clip.pieces)
    room_share = options.train_clip_room_share if train else options.clip_room_share
    in_room = rng.uniform() < room_share
    rooms = inventory.room_ids
    measured = sorted(inventory.measured)
    at, take_measured = rng.uniform(), rng.uniform() < options.measured_share
    if in_room and (measured if take_measured or not rooms else rooms):
        if measured and (take_measured or not rooms):
            path = inventory.measured[measured[int(at * len(measured))]]
            response = mixing.align_direct(read_response(path))
        else:
            response = read_response(inventory.rooms[rooms[int(at * len(rooms))]])[:, 0]
        speech = mixing.convolve(speech, response)
    speech = mixing.convolve(speech, mixing.equalizer(rng))
    nid = inventory.noise_ids[int(rng.integers(len(inventory.noise_ids)))]
    noise = cut_noise(inventory, nid, float(rng.uniform()), len(speech))
    if mixing.active_power(speech) == 0:
        raise UserError(
            f"{inventory.wavs[clip.pieces[0].utt]}: silent over a whole clip; "
            "remove the recording from the corpus"
        )
    snrs = options.train_clip_snr if train else options.clip_snr
    snr, level = rng.uniform(*snrs), rng.uniform(*options.clip_level)
    gains = mixing.mixing_gains(speech, None, noise, 0.0, snr)
    clip_audio = gains.target * speech + gains.noise * noise
    peak = float(np.abs(clip_audio).max())
    clip_audio *= np.float32(mixing.level_gain(clip_audio, level, peak))
    return _through_channel(clip, clip_audio, options, seed) if train else clip_audio


def _through_channel(
    clip: Clip, audio: np.ndarray, options: SimulationOptions, seed: int
) -> np.ndarray:
    """A clip (samples,) after a telephone and a codec, each drawn for itself."""
    key = zlib.crc32(clip.cid.encode())
    line, own = (np.random.default_rng([seed, stream, key]) for stream in (33, 34))
    if chance(line, options.clip_telephone):
        audio = mu_law(band_limited(audio))
    if chance(own, options.clip_codec):
        audio = coded(audio, draw_codec(own)).clip(-mixing.PEAK, mixing.PEAK)
    return audio


def write_clip_tables(folder: Path, clips: Mapping[str, list[Clip]]) -> None:
    """Write ``wav.scp``, ``utt2spk`` and ``utt2source`` of ``dump/enroll/<split>``."""
    flat = [clip for of_speaker in clips.values() for clip in of_speaker]
    paths = {clip.cid: clip_path(folder, clip.cid) for clip in flat}
    write_table(folder / "wav.scp", paths)
    write_table(folder / "utt2spk", {clip.cid: clip.speaker for clip in flat})
    write_table(folder / "utt2source", {clip.cid: clip.source for clip in flat})


def clip_path(folder: Path, cid: str) -> Path:
    """Where the audio of a clip is."""
    return folder.resolve() / "wav" / f"{cid}.wav"

"""From a drawn trial to audio."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.simulation import mixing
from espnet_pse_kd.simulation.noises import cut_noise
from espnet_pse_kd.simulation.scenario import Trial
from espnet_pse_kd.simulation.split import (
    Inventory,
    Piece,
    read_pieces,
    read_response,
)


class Signals(NamedTuple):
    """Mixture, target image and interferer image, each float32 (samples,)."""

    mixture: np.ndarray
    target: np.ndarray
    interferer: np.ndarray


class Rendered(NamedTuple):
    """A sample and, for ITS samples only, its twin that contains the target.

    Attributes:
        level: level that was reached, in dBFS, of the twin where there is one.
        pauses: (first sample, length) of the pauses that were inserted.
    """

    signals: Signals
    twin: Signals | None
    level: float
    pauses: list[tuple[int, int]]


def _responses(trial: Trial) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Responses of target, interferer and noise; None where the noise has its own."""
    if not trial.responses:
        return mixing.DIRECT, mixing.DIRECT, None
    target, interferer, *noise = (_response(*one) for one in trial.responses)
    return target, interferer, noise[0] if noise else None


def _response(path: str, channel: int) -> np.ndarray:
    response = read_response(path)
    if response.ndim == 1:
        return mixing.align_direct(response)
    return response[:, channel]


def _read(inventory: Inventory, pieces: list[Piece]) -> np.ndarray:
    speech = read_pieces(inventory, pieces)
    if not np.abs(speech).max(initial=0.0) > 0:
        raise UserError(
            f"{inventory.wavs[pieces[0].utt]}: silent over a whole sample; "
            "remove the recording from the corpus"
        )
    return speech


def _dry_target(
    inventory: Inventory, trial: Trial
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    speech, pauses = _read(inventory, trial.speech), []
    if trial.pause:
        cut = mixing.quietest(speech, int(trial.pause_at * len(speech)))
        speech = mixing.insert_pause(speech, cut, trial.pause)
        pauses = [(trial.speech_at + cut, trial.pause)]
    return mixing.place(speech, trial.speech_at, trial.samples), pauses


def _coloured(sound: np.ndarray, trial: Trial, place: int) -> np.ndarray:
    """A sound through its equalizer, if any: 0 target, 1 interferer, 2 noise."""
    if not trial.equalizers:
        return sound
    return mixing.filter_centred(sound, trial.equalizers[place])


class _Images(NamedTuple):
    """Images at the microphone, each (samples,); zeros where a sound is absent."""

    dry: np.ndarray
    target: np.ndarray
    interferer: np.ndarray
    noise: np.ndarray
    to_target: np.ndarray
    target_gain: float


def _images(
    inventory: Inventory, trial: Trial
) -> tuple[_Images, list[tuple[int, int]]]:
    """Images at the asked ratios, and the pauses that were inserted."""
    to_target, to_interferer, to_noise = _responses(trial)
    target = interferer = noise = None
    dry = np.zeros(trial.samples, np.float32)
    pauses: list[tuple[int, int]] = []
    if trial.has_target or trial.its:
        dry, pauses = _dry_target(inventory, trial)
        dry = _coloured(dry, trial, 0)
        target = mixing.convolve(dry, to_target)
    if trial.has_interferer:
        speech = _read(inventory, trial.interference)
        speech = mixing.place(speech, trial.interference_at, trial.samples)
        interferer = mixing.convolve(_coloured(speech, trial, 1), to_interferer)
    if trial.has_noise:
        noise = mixing.add_noises(
            [
                (cut_noise(inventory, n.noise, n.at, trial.samples, n.speed), n.level)
                for n in trial.noises
            ]
        )
        noise = _coloured(noise, trial, 2)
        noise = noise if to_noise is None else mixing.convolve(noise, to_noise)
    gains = mixing.mixing_gains(target, interferer, noise, trial.sir, trial.snr)
    scaled = [
        np.zeros(trial.samples, np.float32) if image is None else gain * image
        for gain, image in zip(gains, (target, interferer, noise))
    ]
    images = _Images(dry, scaled[0], scaled[1], scaled[2], to_target, gains.target)
    return images, pauses


def _with_target(images: _Images, target_response: str) -> Signals:
    """Mixture of everything; the reference has the full or the early response."""
    reference = images.target
    if target_response == "early" and images.dry.any():
        response = mixing.early(images.to_target)
        reference = images.target_gain * mixing.convolve(images.dry, response)
    mixture = images.target + images.interferer + images.noise
    return Signals(mixture, reference, images.interferer)


def _without_target(images: _Images, trial: Trial, target_response: str) -> Signals:
    """The ITS sample that belongs to `_with_target`."""
    absent = np.zeros_like(images.target)
    if trial.its == "drop_target":
        background = images.interferer + images.noise
        return Signals(background, absent, images.interferer)
    if trial.its == "swap_enrolment":
        speech = images.target + images.interferer
        return Signals(speech + images.noise, absent, speech)
    dry = mixing.silence(images.dry, trial.gap_at, trial.gap)
    target = images.target_gain * mixing.convolve(dry, images.to_target)
    return _with_target(images._replace(dry=dry, target=target), target_response)


def _scale(signals: Signals, factor: float) -> Signals:
    return Signals(*(np.float32(factor) * x for x in signals))


def render(inventory: Inventory, trial: Trial, target_response: str) -> Rendered:
    """Render one sample, and its twin if it is an ITS sample.

    An ITS sample and its twin share every gain, so that the mixtures differ by the
    target's image alone (`drop_target`, `partial`) or not at all (`swap_enrolment`,
    where the image of the speaker who is not enrolled belongs to the interference).
    SIR, SNR and level are those of the twin.

    Args:
        inventory: the split.
        trial: what was drawn.
        target_response: ``full`` or ``early``; the mixture has the full one anyway.
    """
    images, pauses = _images(inventory, trial)
    whole = _with_target(images, target_response)
    without = _without_target(images, trial, target_response) if trial.its else None
    written = (*whole, *(without or ()))
    peak = max(float(np.abs(x).max()) for x in written)
    factor = mixing.level_gain(whole.mixture, trial.level, peak)
    whole = _scale(whole, factor)
    level = mixing.decibel(mixing.power(whole.mixture))
    if without is None:
        return Rendered(whole, None, level, pauses)
    if trial.its == "partial":
        pauses = [*pauses, (trial.gap_at, trial.gap)]
    return Rendered(_scale(without, factor), whole, level, pauses)

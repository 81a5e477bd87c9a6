"""From a drawn trial to audio."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.simulation import mixing
from espnet_pse_kd.simulation.inventory import (
    Inventory,
    Piece,
    read_pieces,
    read_response,
)
from espnet_pse_kd.simulation.noises import cut_noise
from espnet_pse_kd.simulation.scenario import Trial


class Signals(NamedTuple):
    """Mixture, target image and interferer image, each float32 (samples,)."""

    mixture: np.ndarray
    target: np.ndarray
    interferer: np.ndarray


class Rendered(NamedTuple):
    """A sample, its twin that contains the target (ITS samples only), and what was found.

    Attributes:
        level: level that was reached, in dBFS, of the twin where there is one.
        pauses: (first sample, length) of the pauses that were inserted.
    """

    signals: Signals
    twin: Signals | None
    level: float
    pauses: list[tuple[int, int]]


def _responses(trial: Trial) -> list[np.ndarray | None]:
    """Responses of target, interferer and noise; None where none is applied."""
    result: list[np.ndarray | None] = [None, None, None]
    for number, (path, channel) in enumerate(trial.responses):
        response = read_response(path)
        if response.ndim == 1:
            result[number] = mixing.align_direct(response)
        else:
            result[number] = response[:, channel]
    return result


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
    to_target, to_interferer, to_noise = _responses(trial)
    has_target = trial.scenario != "ts3" or bool(trial.its)
    has_interferer = trial.scenario in ("ts2", "ts3", "partial")
    has_noise = trial.scenario != "ts0"
    zeros = np.zeros(trial.samples, np.float32)
    dry, pauses = _dry_target(inventory, trial) if has_target else (zeros, [])
    image = mixing.convolve(dry, to_target) if has_target else zeros
    interferer = noise = zeros
    if has_interferer:
        speech = _read(inventory, trial.interference)
        speech = mixing.place(speech, trial.interference_at, trial.samples)
        interferer = mixing.convolve(speech, to_interferer)
    if has_noise:
        noise = cut_noise(inventory, trial.noise, trial.noise_at, trial.samples)
        noise = noise if to_noise is None else mixing.convolve(noise, to_noise)
    gains = mixing.mixing_gains(
        image if has_target else None,
        interferer if has_interferer else None,
        noise if has_noise else None,
        trial.sir,
        trial.snr,
    )
    image = gains.target * image
    interferer = gains.interferer * interferer
    noise = gains.noise * noise
    mixture = image + interferer + noise
    loudest = max(float(np.abs(x).max()) for x in (mixture, image, interferer))
    scale = np.float32(mixing.level_gain(mixture, trial.level, loudest))
    reference = image
    if target_response == "early" and has_target:
        reference = gains.target * mixing.convolve(dry, mixing.early(to_target))
    whole = Signals(scale * mixture, scale * reference, scale * interferer)
    level = mixing.decibel(mixing.power(whole.mixture))
    if not trial.its:
        return Rendered(whole, None, level, pauses)
    if trial.its == "swap_enrolment":
        without = Signals(whole.mixture, zeros, scale * (interferer + image))
    elif trial.its == "drop_target":
        without = Signals(scale * (interferer + noise), zeros, whole.interferer)
    else:
        quiet = mixing.silence(dry, trial.gap_at, trial.gap)
        pauses = [*pauses, (trial.gap_at, trial.gap)]
        partial_image = gains.target * mixing.convolve(quiet, to_target)
        partial_reference = partial_image
        if target_response == "early":
            partial_reference = gains.target * mixing.convolve(
                quiet, mixing.early(to_target)
            )
        without = Signals(
            scale * (partial_image + interferer + noise),
            scale * partial_reference,
            whole.interferer,
        )
    return Rendered(without, whole, level, pauses)

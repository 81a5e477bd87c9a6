"""From a drawn trial to audio."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.simulation import mixing
from espnet_pse_kd.simulation.channels import band_limited, coded, mu_law
from espnet_pse_kd.simulation.noises import noise_part
from espnet_pse_kd.simulation.split import (
    Inventory,
    Piece,
    Source,
    read_pieces,
    read_response,
)
from espnet_pse_kd.simulation.transients import transient
from espnet_pse_kd.simulation.trial import Trial


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


def _read(
    inventory: Inventory, pieces: list[Piece], whole: tuple[Piece, ...] = ()
) -> np.ndarray:
    """Speech of ``pieces``; where they are silent, the loudest stretch of ``whole``.

    A recording that was coded once has digital silence in its pauses, into which a
    short stretch may fall.

    Args:
        inventory: of the split.
        pieces: drawn.
        whole: what they were drawn from, default their first recording.

    Raises:
        UserError: all of it is silent.
    """
    speech = read_pieces(inventory, pieces)
    if np.any(speech):
        return speech
    utt = pieces[0].utt
    source = Source("", "", whole or (Piece(utt, 0, inventory.samples[utt]),))
    frames = min(len(speech), source.samples)
    power = np.cumsum(np.square(read_pieces(inventory, list(source.pieces))))
    start = int(np.argmax(power[frames - 1 :] - power[: len(power) - frames + 1]))
    speech = read_pieces(inventory, source.cut(start, frames))
    if not np.any(speech):
        raise UserError(
            f"{inventory.wavs[utt]}: silent over a whole sample; "
            "remove the recording from the corpus"
        )
    return speech


def _source(inventory: Inventory, trial: Trial) -> tuple[Piece, ...]:
    """Pieces of the source of a trial's target."""
    for source in inventory.sources.get(trial.target, ()):
        if source.sid == trial.source:
            return source.pieces
    return ()


def _dry_target(
    inventory: Inventory, trial: Trial
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    speech, pauses = _read(inventory, trial.speech, _source(inventory, trial)), []
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


def _in_turn(dry: np.ndarray, turn: tuple[int, ...]) -> np.ndarray:
    """Silence a voice outside of its turn, unless nothing would be left."""
    if not turn:
        return dry
    start, samples = turn
    heard = mixing.silence(dry, 0, start)
    heard = mixing.silence(heard, start + samples, len(dry) - start - samples)
    return heard if np.abs(heard).max() > 0 else dry


def _without(dry: np.ndarray, absences: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Silence the stretches of which something is left of a voice."""
    for start, samples in absences:
        heard = mixing.silence(dry, start, samples)
        dry = heard if np.abs(heard).max() > 0 else dry
    return dry


def _interferer_image(
    inventory: Inventory, trial: Trial, response: np.ndarray
) -> np.ndarray:
    """Image of all interferers, (samples,)."""

    def image(pieces: list[Piece], at: int, response: np.ndarray) -> np.ndarray:
        speech = mixing.place(_read(inventory, pieces), at, trial.samples)
        speech = _in_turn(speech, trial.interferer_turn)
        return mixing.convolve(_coloured(speech, trial, 1), response)

    total = image(trial.interference, trial.interference_at, response)
    power = mixing.active_power(total)
    for one in trial.more:
        other = mixing.DIRECT if one.response is None else _response(*one.response)
        sound = image(one.pieces, one.at, other)
        own = mixing.active_power(sound)
        if own > 0:
            gain = (power / own) ** 0.5 * 10 ** (one.level / 20)
            total = total + np.float32(gain) * sound
    return total


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
        dry = _without(_in_turn(dry, trial.target_turn), trial.absences)
        dry, pauses = _coloured(dry, trial, 0), [*pauses, *trial.absences]
        target = mixing.convolve(dry, to_target)
    if trial.has_interferer:
        interferer = _interferer_image(inventory, trial, to_interferer)
    if trial.has_noise:
        noise = mixing.add_noises(
            [(noise_part(inventory, n, trial.samples), n.level) for n in trial.noises]
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


def _through_channel(trial: Trial, signals: Signals) -> Signals:
    """Add transients, then send the mixture through its channel.

    Only the mixture holds transients, clips, and is coded; the images are what the
    channel's band leaves of them.
    """
    mixture = signals.mixture
    if trial.transients:
        rms = mixing.power(mixture) ** 0.5
        mixture = mixture.copy()
        for one in trial.transients:
            sound = transient(one.kind, one.seed)[: trial.samples - one.at]
            peak = np.float32(rms * 10 ** (one.level / 20))
            mixture[one.at : one.at + len(sound)] += peak * sound
        mixture = mixture.clip(-mixing.PEAK, mixing.PEAK)
    signals = signals._replace(mixture=mixture)
    if trial.telephone:
        signals = Signals(*(band_limited(x) for x in signals))
        signals = signals._replace(mixture=mu_law(signals.mixture))
    if trial.codec:
        mixture = coded(signals.mixture, trial.codec).clip(-mixing.PEAK, mixing.PEAK)
        signals = signals._replace(mixture=mixture)
    return signals


class Scene(NamedTuple):
    """The images of a mixture, which a paired group of samples shares."""

    images: _Images
    pauses: list[tuple[int, int]]


def render_scene(inventory: Inventory, trial: Trial) -> Scene:
    """Render the images of a trial, before levels are set."""
    return Scene(*_images(inventory, trial))


def render(
    inventory: Inventory,
    trial: Trial,
    target_response: str,
    scene: Scene | None = None,
) -> Rendered:
    """Render one sample, and its twin if it is an ITS sample.

    An ITS sample and its twin share every gain, so that the mixtures differ by the
    target's image alone (`drop_target`, `partial`) or not at all (`swap_enrolment`,
    where the image of the speaker who is not enrolled belongs to the interference).
    SIR, SNR and level are those of the twin.

    Args:
        inventory: the split.
        trial: what was drawn.
        target_response: ``full`` or ``early``; the mixture has the full one anyway.
        scene: its images, where they have been rendered for another of its group.
    """
    images, pauses = scene or render_scene(inventory, trial)
    whole = _with_target(images, target_response)
    without = _without_target(images, trial, target_response) if trial.its else None
    written = (*whole, *(without or ()))
    peak = max(float(np.abs(x).max()) for x in written)
    factor = mixing.level_gain(whole.mixture, trial.level, peak)
    whole = _scale(whole, factor)
    level = mixing.decibel(mixing.power(whole.mixture))
    whole = _through_channel(trial, whole)
    if trial.member == "interferer":
        mixture, target, interferer = whole
        return Rendered(Signals(mixture, interferer, target), None, level, [])
    if without is None:
        return Rendered(whole, None, level, pauses)
    if trial.its == "partial":
        pauses = [*pauses, (trial.gap_at, trial.gap)]
    without = _through_channel(trial, _scale(without, factor))
    return Rendered(without, whole, level, pauses)

"""Enrolment that tells: one voice or two, speech or a tone; bands of a recording."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from weights_fixture import voice

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime import one_voice
from espnet_pse_kd.runtime.band import (
    FULL,
    TELEPHONE,
    BandMeter,
    measure_band,
    telephone,
)
from espnet_pse_kd.runtime.enrolment_quality import measure, refuse_unfit
from espnet_pse_kd.runtime.one_voice import least_alike, piece_vectors, split


def around(angle: float, count: int, seed: int = 0) -> np.ndarray:
    """Unit vectors (count, 8) near a direction in the plane of the first two axes."""
    rng = np.random.default_rng(seed)
    centre = np.array([np.cos(angle), np.sin(angle), *[0.0] * 6])
    vectors = centre + 0.15 * rng.standard_normal((count, 8))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("f")


def test_two_voices_in_one_recording_are_split() -> None:
    one, two = around(0.0, 7, 1), around(1.4, 3, 2)
    mixed = np.concatenate([one[:4], two, one[4:]])
    parts = split(mixed)
    assert parts.similarity == pytest.approx(np.cos(1.4), abs=0.15)
    assert parts.seconds == 6.0
    assert split(np.concatenate([one, around(0.0, 3, 3)])).similarity > 0.7


@pytest.mark.parametrize("odd", [0, 1])
def test_a_single_odd_piece_is_no_second_voice(odd: int) -> None:
    pieces = np.concatenate([around(0.0, 6), around(1.5, odd)])
    assert split(pieces).similarity > 0.7
    assert split(around(0.0, 3)) == (1.0, 0.0)
    assert split(np.repeat(around(0.0, 1), 6, 0)) == (1.0, 0.0)


def test_the_least_alike_recordings_are_named() -> None:
    recordings = [around(a, 3, k) for k, a in enumerate((0.0, 0.2, 1.2))]
    found = least_alike(recordings)
    assert found is not None and (found.first, found.second) == (0, 2)
    assert found.similarity == pytest.approx(np.cos(1.2), abs=0.1)
    assert found.limits == one_voice.LONG
    assert least_alike(recordings[:1]) is None


def test_short_recordings_are_judged_less_strictly() -> None:
    """Two seconds of one voice may be as unlike as six seconds of two."""
    long, short = [around(0.0, 3), around(1.1, 3)], [around(0.0, 3), around(1.1, 1)]
    for recordings, limits in ((long, one_voice.LONG), (short, one_voice.SHORT)):
        found = least_alike(recordings)
        assert found is not None and found.limits == limits
    assert one_voice.SHORT.different < one_voice.LONG.different


class Lengths:
    """An encoder whose vectors say how long the piece was."""

    dim = 2

    def embed(self, wave: np.ndarray, name: str = "") -> np.ndarray:
        return np.array([len(wave) / SAMPLE_RATE, 0.0], np.float32)


@pytest.mark.parametrize(
    ("seconds", "pieces", "longest"),
    [(0.3, 0, 0), (1.1, 0, 0), (1.5, 1, 1.5), (3.9, 1, 3.9), (9.0, 4, 2.3)],
)
def test_pieces_are_equal_and_cover_the_speech(
    seconds: float, pieces: int, longest: float
) -> None:
    speech = np.random.default_rng(0).normal(0, 0.1, int(seconds * SAMPLE_RATE))
    vectors = piece_vectors(Lengths(), speech.astype(np.float32))  # type: ignore[arg-type]
    assert len(vectors) == pieces
    if pieces:
        assert vectors[:, 0].max() == vectors[:, 0].min() <= longest
        assert vectors[:, 0].sum() == pytest.approx(seconds, abs=0.1)


def test_two_minutes_are_enough() -> None:
    speech = np.random.default_rng(0).normal(0, 0.1, 200 * SAMPLE_RATE)
    vectors = piece_vectors(Lengths(), speech.astype(np.float32))  # type: ignore[arg-type]
    assert len(vectors) == one_voice._MOST_PIECES


def seconds(count: float) -> np.ndarray:
    return np.arange(int(count * SAMPLE_RATE)) / SAMPLE_RATE


def bursts(wave: np.ndarray) -> np.ndarray:
    """(N,) on and off, twice a second, above a little noise."""
    on = (2 * seconds(len(wave) / SAMPLE_RATE)) % 1 < 0.5
    return wave * on + np.random.default_rng(1).normal(0, 1e-3, len(wave))


NO_SPEECH: dict[str, Callable[[], np.ndarray]] = {
    "440 Hz": lambda: bursts(0.2 * np.sin(2 * np.pi * 440 * seconds(10))),
    "1 kHz, loud": lambda: bursts(0.9 * np.sin(2 * np.pi * 1000 * seconds(10))),
    "harmonics": lambda: bursts(0.2 * np.sign(np.sin(2 * np.pi * 300 * seconds(10)))),
    "noise": lambda: bursts(np.random.default_rng(0).normal(0, 0.1, 160000)),
}


@pytest.mark.parametrize("case", NO_SPEECH)
def test_tones_and_noise_are_no_speech(case: str) -> None:
    found = measure(NO_SPEECH[case]())
    assert found.speech > 3  # loud enough, often enough
    with pytest.raises(UserError, match="^x.wav: .* sounds always the same"):
        refuse_unfit(found, "x.wav")


@pytest.mark.parametrize("snr", [5, 10, 40])
def test_speech_in_noise_is_speech(snr: float) -> None:
    wave = voice(8.0)
    noise = np.random.default_rng(0).normal(
        0, wave.std() * 10 ** (-snr / 20), len(wave)
    )
    refuse_unfit(measure(wave + noise), "x.wav")


def spectrum(wave: np.ndarray) -> np.ndarray:
    """Power (N / 2 + 1,) over 0 to 8 kHz."""
    return np.square(np.abs(np.fft.rfft(wave)))


def test_a_telephone_passes_its_band_only() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 5 * SAMPLE_RATE).astype(np.float32)
    heard = telephone(noise)
    assert heard.shape == noise.shape and heard.dtype == np.float32
    hertz = np.linspace(0, 8000, len(heard) // 2 + 1)
    gain = 10 * np.log10(spectrum(heard) / spectrum(noise))
    inside = (hertz > 350) & (hertz < 3350)
    assert abs(np.median(gain[inside])) < 0.5
    assert np.median(gain[hertz > 4200]) < -50
    # The rounding of mu-law is heard below the band.
    assert -45 < np.median(gain[hertz < 150]) < -25
    assert not telephone(np.zeros(1000, np.float32)).any()
    assert telephone(noise[:1]).shape == (1,)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("level", [1.0, 0.01])
def test_the_band_of_a_recording(rate: int, level: float) -> None:
    import soxr

    def recorded(wave: np.ndarray) -> np.ndarray:
        return level * soxr.resample(wave, SAMPLE_RATE, rate)

    wave = voice(6.0)
    narrow = recorded(telephone(wave))
    assert measure_band([narrow], rate) == TELEPHONE
    assert measure_band(np.array_split(narrow, 50), rate) == TELEPHONE
    assert measure_band([np.stack([narrow, narrow], 1)], rate) == TELEPHONE
    wide = recorded(wave)
    assert measure_band([wide], rate) == FULL  # at 8 kHz as well: it has low tones


def test_the_greater_part_decides_where_the_band_changes() -> None:
    wide, narrow = voice(8.0), telephone(voice(8.0))
    assert measure_band([wide, narrow[:48000]], SAMPLE_RATE) == FULL
    assert measure_band([wide[:48000], narrow], SAMPLE_RATE) == TELEPHONE


@pytest.mark.parametrize("samples", [0, 1, 1599, 48000])
def test_silence_has_the_full_band(samples: int) -> None:
    meter = BandMeter(SAMPLE_RATE)
    meter.add(np.zeros(samples, np.float32))
    assert meter.band() == FULL and not len(meter.ratios())
    broken = np.full(16000, np.nan, np.float32)
    assert measure_band([broken], SAMPLE_RATE) == FULL

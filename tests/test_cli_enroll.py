"""``pse-kd enroll``: recordings of a voice become its profile."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from cli_fixture import Capture, error_of, me, pse_kd
from weights_fixture import voice, weights

from espnet_pse_kd import Profile
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.runtime.default_model import ENCODERS

__all__ = ["me", "weights"]  # fixtures


def test_enroll(weights: Path, tmp_path: Path, capsys: Capture) -> None:
    soundfile.write(tmp_path / "a.flac", voice(9.0), 16000, subtype="PCM_24")
    stereo = np.repeat(np.stack([voice(9.0, seed=2)] * 2, 1), 3, axis=0)
    soundfile.write(tmp_path / "b.wav", stereo, 48000, subtype="FLOAT")
    profile = tmp_path / "me.profile"
    files = tmp_path / "a.flac", tmp_path / "b.wav"
    assert pse_kd("enroll", *files, "-o", profile, model=weights) == 0
    shown = capsys.readouterr()
    assert "s of speech" in shown.out
    assert "a.flac: " in shown.err and "SNR about" in shown.err
    assert "b.wav: 2 channels, mixed down" in shown.err
    made = Profile.load(profile)
    assert made.sources == ("a.flac", "b.wav") and made.seconds > 10

    assert pse_kd("enroll", *files, "-o", profile, model=weights) == 2
    assert "exists; give --force" in error_of(capsys)
    assert pse_kd("enroll", *files, "-o", profile, "--force", model=weights) == 0


def test_enroll_a_segment(weights: Path, tmp_path: Path, capsys: Capture) -> None:
    silence = np.zeros(5 * SAMPLE_RATE, np.float32)
    wave = np.concatenate([silence, voice(12.0), silence])
    soundfile.write(tmp_path / "long.wav", wave, SAMPLE_RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "part.wav", voice(12.0), SAMPLE_RATE, subtype="FLOAT")
    long, part = tmp_path / "long.profile", tmp_path / "part.profile"
    words = ("enroll", tmp_path / "long.wav", "-o", long, "--segment")
    assert pse_kd(*words, "5.0-17.0", model=weights) == 0
    assert pse_kd("enroll", tmp_path / "part.wav", "-o", part, model=weights) == 0
    for one, other in zip(
        Profile.load(long).vectors, Profile.load(part).vectors, strict=True
    ):
        np.testing.assert_array_equal(one.vector, other.vector)
    for bounds, text in (
        ("0.0-4.5", "no speech stands out"),
        ("5.0-6.0", "at least 1.5 s"),
        ("5.0-5.0003", "no speech stands out"),
        ("5.0-5.00001", "no speech stands out"),
        ("10.0-99.0", "the file at 22.00 s"),
    ):
        assert pse_kd(*words, bounds, "--force", model=weights) == 2
        assert text in error_of(capsys)
    assert pse_kd(*words, "5.0-9.0", "--force", model=weights) == 0
    assert "8 s or more" in capsys.readouterr().err


def test_enroll_hears_quiet_recordings_beside_loud_ones(
    weights: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Each counts in full, and is judged by itself."""
    loud, quiet = 3 * voice(12.0), 0.03 * voice(12.0, seed=2)
    noise = np.random.default_rng(0).normal(0, 6e-4, len(quiet))
    peak = 0.5 * np.abs(loud).max()
    for name, wave in {
        "quiet": quiet,
        "loud": loud,
        "clipped": loud.clip(-peak, peak),
        "noisy": (quiet + noise)[:64000],  # too short to be compared
    }.items():
        soundfile.write(tmp_path / f"{name}.wav", wave, SAMPLE_RATE, subtype="FLOAT")

    def made_of(*names: str) -> Profile:
        files = [tmp_path / f"{name}.wav" for name in names]
        words = ("enroll", *files, "-o", tmp_path / "p", "--force")
        assert pse_kd(*words, model=weights) == 0
        return Profile.load(tmp_path / "p")

    apart, together = [made_of("loud"), made_of("quiet")], made_of("loud", "quiet")
    assert together.seconds == pytest.approx(sum(p.seconds for p in apart), rel=0.1)
    powers = [p.seconds * 10 ** (p.level_dbfs / 10) for p in apart]
    level = 10 * np.log10(sum(powers) / sum(p.seconds for p in apart))
    assert together.level_dbfs == pytest.approx(level, abs=0.5)
    assert "warning" not in capsys.readouterr().err
    made_of("loud", "clipped", "noisy")
    shown = capsys.readouterr().err
    assert shown.count("warning") == 2
    assert re.search(r"warning: \S+/clipped.wav: \d.* % of the samples are clip", shown)
    assert re.search(r"warning: \S+/noisy.wav: SNR about \d dB", shown)


def test_enroll_refuses_two_voices(
    weights: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors by file, since these voices are not as different as people are."""
    angles = {"anna1": 0.0, "anna2": 0.3, "bert": 1.5, "doubtful": 1.25}
    lengths = {name: 2000 * k for k, name in enumerate(angles, 66)}
    for name, samples in lengths.items():
        soundfile.write(tmp_path / f"{name}.wav", voice(9.0)[:samples], SAMPLE_RATE)
    soundfile.write(tmp_path / "short.wav", voice(1.0), SAMPLE_RATE)
    two = [np.concatenate([voice(9.0), voice(9.0)])]
    soundfile.write(tmp_path / "two.wav", *two, SAMPLE_RATE)

    def vectors(encoder: object, wave: np.ndarray) -> np.ndarray:
        known = {samples: angles[name] for name, samples in lengths.items()}
        if len(wave) < 2 * SAMPLE_RATE:
            return np.zeros((0, 2), np.float32)
        if len(wave) > 10 * SAMPLE_RATE:  # what is enrolled of several, and two.wav
            turn = np.repeat([0.0, 1.5], 4) if len(wave) == 18 * SAMPLE_RATE else [0.0]
        else:
            turn = np.repeat(known[len(wave)], 3)
        return np.stack([np.cos(turn), np.sin(turn)], 1).astype(np.float32)

    monkeypatch.setattr("espnet_pse_kd.cli.voice.piece_vectors", vectors)

    def run(*names: str) -> int:
        files = [tmp_path / f"{name}.wav" for name in names]
        return pse_kd("enroll", *files, "-o", tmp_path / "p", "--force", model=weights)

    assert run("anna1", "anna2", "bert") == 2
    message = error_of(capsys)
    assert "anna1.wav and" in message and "bert.wav: two different voices" in message
    assert run("anna1", "anna2", "short") == 0
    said = capsys.readouterr().err
    assert "similarity" not in said
    assert "short.wav: less than 1.2 s of speech, not compared" in said
    assert run("anna1", "doubtful") == 0
    assert "possibly two voices" in capsys.readouterr().err
    assert run("two") == 2
    assert "two.wav, 8 s of it and the rest: two different" in error_of(capsys)


def test_enroll_says_where_it_cannot_compare(
    weights: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("espnet_pse_kd.enhancer.CAMPP", tmp_path / "none.onnx")
    monkeypatch.delitem(ENCODERS, "campp")
    source = tmp_path / "a.wav"
    soundfile.write(source, voice(9.0), SAMPLE_RATE)
    assert pse_kd("enroll", source, "-o", tmp_path / "p", model=weights) == 0
    assert "note: not compared whether this is one voice" in capsys.readouterr().err
    names = {one.encoder.name for one in Profile.load(tmp_path / "p").vectors}
    assert names == {"ge2e", "ge2e_robust"}


def test_enroll_refuses_a_tone(weights: Path, tmp_path: Path, capsys: Capture) -> None:
    time = np.arange(10 * SAMPLE_RATE) / SAMPLE_RATE
    beeps = 0.2 * np.sin(2 * np.pi * 440 * time) * (2 * time % 1 < 0.5)
    soundfile.write(tmp_path / "beep.wav", beeps, SAMPLE_RATE)
    soundfile.write(tmp_path / "voice.wav", voice(9.0), SAMPLE_RATE)
    files = tmp_path / "voice.wav", tmp_path / "beep.wav"
    assert pse_kd("enroll", *files, "-o", tmp_path / "p", model=weights) == 2
    assert "beep.wav: what stands out sounds always the same" in error_of(capsys)
    assert not (tmp_path / "p").exists()

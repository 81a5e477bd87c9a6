"""``pse-kd enhance`` of one recording: its form, the look-ahead, the report."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from cli_fixture import Capture, me, no_traces, pse_kd, write
from weights_fixture import voice, weights

from espnet_pse_kd import PersonalizedEnhancer, Profile
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.runtime import pvad
from espnet_pse_kd.runtime.band import telephone
from espnet_pse_kd.runtime.pvad import OnnxPersonalVAD
from espnet_pse_kd.runtime.steering import DEPTH_DB, PROTECTION_DB

__all__ = ["me", "weights"]  # fixtures


class Kind(NamedTuple):
    """A kind of recording."""

    name: str
    rate: int
    channels: int
    subtype: str


KINDS = [
    Kind("a.wav", 16000, 1, "PCM_16"),
    Kind("b.wav", 44100, 2, "PCM_24"),
    Kind("c.wav", 8000, 1, "PCM_U8"),
    Kind("d.wav", 192000, 1, "PCM_16"),
    Kind("e.flac", 48000, 1, "PCM_24"),
    Kind("f.wav", 16000, 12, "FLOAT"),
    Kind("g.ogg", 16000, 1, "VORBIS"),
    Kind("h.aiff", 32000, 1, "PCM_16"),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_enhance_keeps_the_form(
    kind: Kind, weights: Path, me: Path, tmp_path: Path
) -> None:
    source = write(tmp_path / kind.name, kind.rate, kind.channels, subtype=kind.subtype)
    output = tmp_path / f"out_{kind.name}"
    run = ("enhance", source, "--profile", me, "-o", output)
    assert pse_kd(*run, model=weights) == 0
    before, after = soundfile.info(source), soundfile.info(output)
    for field in ("samplerate", "channels", "frames", "format", "subtype"):
        assert getattr(after, field) == getattr(before, field), field
    assert no_traces(tmp_path)


@pytest.mark.parametrize(
    ("source", "form", "output", "subtype"),
    [
        ("a.mp3", {"format": "MP3"}, "b.wav", "PCM_16"),
        ("a.mp3", {"format": "MP3"}, "b.flac", "PCM_16"),
        ("a.wav", {"subtype": "PCM_24"}, "b.flac", "PCM_24"),
        ("a.wav", {"subtype": "FLOAT"}, "b.aiff", "FLOAT"),
        ("a.wav", {"subtype": "FLOAT"}, "b.flac", "PCM_16"),
        ("a.wav", {"subtype": "ULAW"}, "b.au", "PCM_16"),
        ("a.wav", {"subtype": "PCM_16"}, "b.ogg", "VORBIS"),
    ],
)
def test_enhance_into_another_container(
    source: str,
    form: dict[str, str],
    output: str,
    subtype: str,
    weights: Path,
    me: Path,
    tmp_path: Path,
) -> None:
    given, made = write(tmp_path / source, **form), tmp_path / output
    run = ("enhance", given, "--profile", me, "--no-look-ahead", "-o", made)
    assert pse_kd(*run, model=weights) == 0
    assert soundfile.info(made).subtype == subtype
    assert soundfile.info(made).frames == soundfile.info(given).frames


def test_enhance_is_the_python_interface(
    weights: Path, me: Path, tmp_path: Path
) -> None:
    source = write(tmp_path / "a.wav", 44100, 2, subtype="FLOAT")
    mono = write(tmp_path / "mono.wav", 44100, subtype="FLOAT")
    profile, enhancer = Profile.load(me), PersonalizedEnhancer.from_pretrained(weights)
    given, rate = soundfile.read(source, dtype="float32")
    words = ("--profile", me, "--force", "--band", "drop", "-o")
    run = ("enhance", mono, *words)
    for limit, look in itertools.product((None, 6.0), (False, True)):
        extra = ["--look-ahead" if look else "--no-look-ahead"]
        if limit is not None:
            extra += ["--attenuation-limit", str(limit)]
        assert pse_kd(*run, tmp_path / "mix.wav", *extra, model=weights) == 0
        mix, _ = soundfile.read(tmp_path / "mix.wav", dtype="float32")
        expected = enhancer(given[:, 0], rate, profile, limit, look)
        np.testing.assert_allclose(mix, expected, atol=1e-6)
    each = ("--per_channel", "--no-look-ahead")
    run = ("enhance", source, *words, tmp_path / "each.wav", *each)
    assert pse_kd(*run, model=weights) == 0
    each, _ = soundfile.read(tmp_path / "each.wav", dtype="float32")
    for channel in range(2):
        expected = enhancer(given[:, channel], rate, profile)
        np.testing.assert_allclose(each[:, channel], expected, atol=1e-6)


def test_enroll_on_the_way(weights: Path, me: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "a.wav")
    own, more = me.with_name("me.wav"), tmp_path / "more.wav"
    soundfile.write(more, voice(9.0, seed=2), SAMPLE_RATE)
    two = tmp_path / "two.profile"
    assert pse_kd("enroll", own, more, "-o", two, model=weights) == 0

    def enhanced(*voice_words: object) -> bytes:
        run = ("enhance", *voice_words, source, "-o", tmp_path / "x.wav", "--force")
        assert pse_kd(*run, model=weights) == 0
        return (tmp_path / "x.wav").read_bytes()

    assert enhanced("--enroll", own) == enhanced("--profile", me)
    both = "--enroll", own, "--enroll", more
    assert enhanced(*both) == enhanced("--profile", two) != enhanced("--profile", me)


def test_report(
    weights: Path,
    me: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = write(tmp_path / "a.wav", 48000)
    run = ("enhance", source, "--profile", me, "-o", tmp_path / "b.wav", "--report")
    heard: list[int] = []

    def hear(self: object, wave: np.ndarray, vector: np.ndarray) -> np.ndarray:
        heard.append(len(wave))
        frames = np.zeros((100, 3))
        frames[:present, 2], frames[present:, 1] = 1, 1
        return frames

    monkeypatch.setattr(OnnxPersonalVAD, "run", hear)
    present = 40
    assert pse_kd(*run, model=weights) == 0
    shown = capsys.readouterr()
    assert "enrolled voice in 40 % of the time, other voices alone in 60 %" in shown.out
    assert "absent" not in shown.err
    assert sum(heard) == pytest.approx(3 * SAMPLE_RATE, abs=2)
    present = 1
    assert pse_kd(*run, "--force", model=weights) == 0
    assert "seems absent" in capsys.readouterr().err


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Loud is what the personal VAD hears, 7 s at a time: samples of each block."""
    lengths: list[int] = []

    def hear(self: object, wave: np.ndarray, vector: np.ndarray) -> np.ndarray:
        lengths.append(len(wave))
        power = np.square(np.pad(wave, (0, 320))[: len(wave) // 160 * 160 + 160])
        loud = power.reshape(-1, 160).mean(1) > 1e-3
        frames = np.zeros((-(-len(wave) // 160) + 1, 3), np.float32)
        frames[: len(loud), 2] = loud[: len(frames)]
        return frames

    monkeypatch.setattr(OnnxPersonalVAD, "run", hear)
    monkeypatch.setattr(pvad, "_BLOCK_SECONDS", 7)
    return lengths


def test_look_ahead(
    blocks: list[int], weights: Path, me: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Where the voice is heard it is protected, in each channel; far off it is muted.

    It is heard in seconds 10 and 11 of one channel, 20 and 21 of the other.
    """
    rate = 44100
    source = tmp_path / "a.wav"
    noise = np.random.default_rng(0).normal(size=(30 * rate, 2))
    level = np.full((30, 2), 0.01)
    level[10:12, 0] = level[20:22, 1] = 0.2
    soundfile.write(source, noise * np.repeat(level, rate, axis=0), rate)
    untouched, _ = soundfile.read(source)
    plain, steered = tmp_path / "plain.wav", tmp_path / "steered.wav"
    words = ("--per-channel", "--band", "drop", "-o")
    run = ("enhance", source, "--profile", me, *words)
    assert pse_kd(*run, plain, "--no-look-ahead", model=weights) == 0
    assert not blocks
    assert pse_kd(*run, steered, model=weights) == 0
    assert len(blocks) >= 8
    assert "% of the time" not in capsys.readouterr().out  # that is --report
    before, _ = soundfile.read(plain)
    after, _ = soundfile.read(steered)
    assert after.shape == before.shape
    step, kept = 2 / 32768, 10 ** (-PROTECTION_DB / 20)
    closed = 10 ** (-DEPTH_DB / 20)

    def part(channel: int, first: float, last: float) -> tuple[slice, int]:
        return slice(int(first * rate), int(last * rate)), channel

    for n, heard in enumerate((10, 20)):
        for near in (part(n, heard - 3, heard - 0.7), part(n, heard + 2.7, heard + 5)):
            np.testing.assert_allclose(after[near], before[near], atol=step)
        own = part(n, heard + 0.05, heard + 1.95)
        expected = (1 - kept) * before[own] + kept * untouched[own]
        np.testing.assert_allclose(after[own], expected, atol=step)
        for far in (part(n, 0, heard - 4.5), part(n, heard + 6.5, 30)):
            np.testing.assert_allclose(after[far], closed * before[far], atol=step)


@pytest.mark.parametrize(
    ("limit", "depth"), [((), "30"), (("--attenuation-limit", 3), "3")]
)
def test_look_ahead_that_hears_the_voice_nowhere(
    limit: tuple,
    depth: str,
    blocks: list[int],
    weights: Path,
    me: Path,
    tmp_path: Path,
    capsys: Capture,
) -> None:
    quiet = 0.01 * np.random.default_rng(0).normal(size=5 * SAMPLE_RATE)
    soundfile.write(tmp_path / "a.wav", quiet, SAMPLE_RATE)
    run = ("enhance", tmp_path / "a.wav", "--profile", me, "-o", tmp_path / "b.wav")
    assert pse_kd(*run, *limit, model=weights) == 0
    message = f"the enrolled voice is heard nowhere; all is turned down by {depth} "
    assert message in capsys.readouterr().err


def test_look_ahead_needs_a_personal_vad(
    weights: Path, me: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Without one, recordings are enhanced all the same, unless it is asked for."""
    model = tmp_path / "model"
    shutil.copytree(weights, model)
    (model / "pvad.onnx").write_bytes(b"no network")
    source = write(tmp_path / "a.wav")
    run = ("enhance", source, "--profile", me, "-o")
    assert pse_kd(*run, tmp_path / "b.wav", "--look-ahead", model=model) == 2
    assert not (tmp_path / "b.wav").exists()
    capsys.readouterr()
    assert pse_kd(*run, tmp_path / "c.wav", model=model) == 0
    assert "note: no look-ahead: " in capsys.readouterr().err
    plain = tmp_path / "d.wav"
    assert pse_kd(*run, plain, "--no-look-ahead", model=model) == 0
    assert plain.read_bytes() == (tmp_path / "c.wav").read_bytes()


def test_silence_is_a_good_recording(weights: Path, me: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(20 * SAMPLE_RATE), SAMPLE_RATE)
    run = ("enhance", tmp_path / "a.wav", "--profile", me, "-o", tmp_path / "b.wav")
    assert pse_kd(*run, model=weights) == 0
    assert not soundfile.read(tmp_path / "b.wav")[0].any()


def test_a_telephone_recording_is_met_with_a_telephone_enrolment(
    weights: Path, me: Path, tmp_path: Path, capsys: Capture
) -> None:
    narrow = telephone(voice(5.0))
    soundfile.write(tmp_path / "a.wav", narrow, SAMPLE_RATE, "FLOAT")
    run = ("enhance", tmp_path / "a.wav", "--profile", me, "-o", tmp_path / "b.wav")
    assert pse_kd(*run, "--no-look-ahead", model=weights) == 0
    assert "a.wav: speech of the telephone band" in capsys.readouterr().err
    found, _ = soundfile.read(tmp_path / "b.wav", dtype="float32")
    enhancer, profile = PersonalizedEnhancer.from_pretrained(weights), Profile.load(me)
    np.testing.assert_array_equal(found, enhancer(narrow, SAMPLE_RATE, profile))
    encoder, dim = enhancer.model.speaker_encoder, enhancer.model.speaker_dim
    for band, same in (("telephone", True), ("full", False)):
        stream = enhancer.stream(profile.vector(encoder, dim, band))  # type: ignore[arg-type]
        expected = np.concatenate([stream.process(narrow), stream.flush()])
        assert np.array_equal(found, expected) == same

"""The GE2E speaker encoder: interface, framing, levels, refusals, parity."""

import sys
import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.speaker import SpeakerEncoder, ge2e, load_speaker_encoder
from espnet_pse_kd.speaker.base import raise_level, trim_silence, unit
from espnet_pse_kd.speaker.ge2e import GE2E
from espnet_pse_kd.speaker.mel import mel_power


def voice(seconds: float, pitch: float, seed: int = 0) -> Tensor:
    """A buzz with a wandering pitch and syllables: enough for a speaker encoder."""
    generator = torch.Generator().manual_seed(seed)
    count = int(seconds * 16000)
    time = torch.arange(count) / 16000
    wander = 1 + 0.1 * torch.sin(2 * torch.pi * 2.3 * time)
    phase = 2 * torch.pi * torch.cumsum(pitch * wander, 0) / 16000
    harmonics = sum(torch.sin(k * phase) / k for k in range(1, 20))
    syllables = (0.6 + 0.4 * torch.sin(2 * torch.pi * 4 * time)).clamp_min(0)
    noise = 0.003 * torch.randn(count, generator=generator)
    return 0.1 * harmonics * syllables + noise


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    return load_speaker_encoder()


def test_mel_is_librosas() -> None:
    librosa = pytest.importorskip("librosa")
    x = np.random.default_rng(0).normal(size=16037).astype(np.float32)
    theirs = librosa.feature.melspectrogram(
        y=x, sr=16000, n_fft=400, hop_length=160, n_mels=40
    ).T
    ours = mel_power(torch.from_numpy(x)).numpy()
    assert ours.shape == (102, 40)  # ours covers the tail with one frame more
    np.testing.assert_allclose(ours[:101], theirs, rtol=1e-4, atol=1e-6 * theirs.max())


def test_vectors_are_unit_and_tell_voices_apart(encoder: SpeakerEncoder) -> None:
    waves = [voice(3.0, 100), voice(4.1, 100, seed=1), voice(3.0, 220)]
    vectors = encoder.embed_batch(waves)
    assert vectors.shape == (3, encoder.dim)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    assert vectors[0] @ vectors[1] > 0.9 > vectors[0] @ vectors[2]
    torch.testing.assert_close(vectors[1], encoder.embed(waves[1]))
    torch.testing.assert_close(vectors[1], encoder.embed(waves[1].numpy()))


def test_level_below_the_reference_does_not_matter(encoder: SpeakerEncoder) -> None:
    wave = 0.1 * voice(3.0, 120)
    torch.testing.assert_close(
        encoder.embed(wave), encoder.embed(0.5 * wave), atol=1e-4, rtol=0
    )
    assert raise_level(torch.full((800,), 0.5)).mean() == 0.5
    assert raise_level(torch.full((800,), 1e-4)).square().mean() == pytest.approx(1e-3)


@settings(deadline=None, max_examples=15)
@given(samples=st.integers(1, 13000), hop=st.sampled_from([1600, 4000]))
def test_number_of_windows(samples: int, hop: int) -> None:
    encoder = load_speaker_encoder()
    vectors = encoder.windows(torch.randn(samples), hop=hop, window_seconds=0.2)
    assert vectors.shape == (-(-samples // hop) + 1, 256)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))


def test_windows_are_centred(encoder: SpeakerEncoder) -> None:
    """A change at sample 16000 moves the windows that contain it, and no other."""
    a = voice(2.0, 120) + 0.05 * torch.randn(32000)
    b = a.clone()
    b[15900:16100] += 0.3 * torch.randn(200)
    # The level is raised as a whole: keep both above the reference.
    assert min(a.square().mean(), b.square().mean()) > 1e-3
    change = (encoder.windows(a) - encoder.windows(b)).abs().amax(1)
    moved = [k for k in range(9) if change[k] > 1e-4]
    assert moved == [3, 4, 5]  # |4000 k - 16000| < 0.4 s = 6400 samples


def test_windows_of_a_batch_are_those_of_each(encoder: SpeakerEncoder) -> None:
    mixtures = torch.stack([voice(2.0, 120), voice(2.0, 190)])
    together = encoder.windows_batch(mixtures)
    for mixture, vectors in zip(mixtures, together, strict=True):
        alone = encoder.windows(mixture)
        assert (alone * vectors).sum(-1).min() > 0.9999


def test_fast_windows_stay_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half precision where the CPU has it; the same test passes where it has not."""
    encoder = GE2E()
    mixture = voice(4.0, 140) + 0.02 * torch.randn(64000)
    fast = encoder.windows(mixture)
    monkeypatch.setattr("espnet_pse_kd.speaker.ge2e._cpu_has_bfloat16", lambda: False)
    exact = encoder.windows(mixture)
    assert (fast * exact).sum(-1).min() > 0.999


def test_silence_in_a_mixture_is_finite(encoder: SpeakerEncoder) -> None:
    vectors = encoder.windows(torch.zeros(16000))
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(5))
    assert torch.isfinite(unit(torch.zeros(2, 8))).all()


@pytest.mark.parametrize(
    "wave",
    [
        torch.zeros(64000),
        torch.zeros(1),
        torch.full((64000,), 1e-5),
        voice(0.4, 120),
        torch.cat([voice(0.4, 120), torch.zeros(64000)]),
    ],
    ids=["silent", "one sample", "too quiet", "too short", "mostly silent"],
)
def test_useless_enrolment_is_refused(encoder: SpeakerEncoder, wave: Tensor) -> None:
    with pytest.raises(UserError, match=r"^clip7: \d\.\d\d s of speech .* enrol with"):
        encoder.embed(wave, "clip7")


def test_damaged_enrolment_is_refused(encoder: SpeakerEncoder) -> None:
    wave = voice(2.0, 120)
    wave[77] = torch.nan
    with pytest.raises(UserError, match="clip7: holds NaN"):
        encoder.embed(wave, "clip7")
    with pytest.raises(UserError, match=r"shape \(2, 32000\)"):
        encoder.embed(torch.zeros(2, 32000))


def test_trimming_keeps_the_speech() -> None:
    speech = voice(1.5, 120)
    padded = torch.cat([torch.zeros(16000), speech, torch.zeros(32000)])
    trimmed = trim_silence(padded)
    assert len(speech) - 480 <= len(trimmed) <= len(speech) + 2 * 4 * 480
    assert trimmed.square().sum() == pytest.approx(
        float(speech.square().sum()), rel=1e-3
    )


def test_nothing_is_trainable(encoder: SpeakerEncoder) -> None:
    assert not isinstance(encoder, torch.nn.Module)

    class Holder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

    assert not list(Holder().parameters()) and not Holder().state_dict()
    wave = voice(1.0, 120).requires_grad_()
    assert not encoder.embed(wave).requires_grad
    assert not encoder.windows(wave).requires_grad


def test_missing_weights(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ge2e.WEIGHTS, "ge2e", tmp_path / "nowhere.safetensors")
    with pytest.raises(UserError, match=r"nowhere\.safetensors: no such file"):
        GE2E()


@pytest.mark.dev
def test_parity_with_the_published_package(
    encoder: GE2E, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Needs Resemblyzer; its VAD, a C extension, is not used and may be absent."""
    import scipy.ndimage

    monkeypatch.setitem(sys.modules, "webrtcvad", types.ModuleType("webrtcvad"))
    old_name = "scipy.ndimage.morphology"  # gone from SciPy 2
    monkeypatch.setitem(sys.modules, old_name, scipy.ndimage)
    published = pytest.importorskip("resemblyzer").VoiceEncoder("cpu", verbose=False)
    for seconds in (0.5, 1.6, 2.1, 3.0, 7.7):
        wave = raise_level(voice(seconds, 130))
        ours = encoder.embed_trimmed([wave])[0].numpy()
        theirs = published.embed_utterance(wave.numpy())
        np.testing.assert_allclose(ours, theirs, atol=1e-5)

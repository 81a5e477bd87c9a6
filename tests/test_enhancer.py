"""The Python interface: sources of a model, enrolment, whole and streamed signals."""

from __future__ import annotations

import doctest
import itertools
import pickle
import shutil
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import exported
import numpy as np
import pytest
import soxr
import torch
import yaml
from weights_fixture import voice, weights

import espnet_pse_kd
from espnet_pse_kd import PersonalizedEnhancer, Profile, pretrained
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.recipe.packing import pack_experiment
from espnet_pse_kd.runtime.band import telephone
from espnet_pse_kd.runtime.default_model import ENCODERS
from espnet_pse_kd.runtime.enrolment_quality import measure
from espnet_pse_kd.runtime.identity import EncoderIdentity

__all__ = ["weights"]  # a fixture


NETWORK = {"width": 16, "layers": 1, "feed_hidden": 16}


@pytest.fixture(scope="module")
def model(weights: Path) -> PersonalizedEnhancer:
    return PersonalizedEnhancer.from_pretrained(weights)


@pytest.fixture(scope="module")
def profile(model: PersonalizedEnhancer) -> Profile:
    return model.enroll(voice(12.0), SAMPLE_RATE)


def vector(profile: Profile, band: str = "full") -> np.ndarray:
    """The vector of the model's encoder."""
    return profile.vector(exported.ENCODER, 256, band)


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that the recipe might have left."""
    from espnet_pse_kd.espnet.extractor import EXTRACTORS

    folder = tmp_path_factory.mktemp("exp") / "pse_x"
    folder.mkdir()
    config = {
        "encoder": "same",
        "encoder_conf": {},
        "extractor": "mingru",
        "extractor_conf": NETWORK,
        "decoder": "same",
        "decoder_conf": {},
        "model_conf": {"num_spk": 1, "share_encoder": False},
        "init": None,
        "version": "202611",
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    torch.manual_seed(1)
    extractor = EXTRACTORS["mingru"](input_dim=1, **NETWORK)
    state = {f"extractor.{key}": p for key, p in extractor.state_dict().items()}
    torch.save(state, folder / "valid.loss.best.pth")
    return folder


def test_import_is_light() -> None:
    code = (
        "import sys, espnet_pse_kd; assert 'numpy' not in sys.modules\n"
        "espnet_pse_kd.PersonalizedEnhancer\n"
        "heavy = {'torch', 'scipy', 'yaml', 'espnet2', 'matplotlib'} & set(sys.modules)"
        "\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        espnet_pse_kd.Nothing  # noqa: B018


def test_doctest(weights: Path) -> None:
    names = {"MODEL": weights, "VOICE": voice(12.0)}
    tests = doctest.DocTestFinder().find(PersonalizedEnhancer, globs=names)
    runner = doctest.DocTestRunner()
    for test in tests:
        runner.run(test)
    assert runner.tries > 5 and not runner.failures


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("samples", [1, 159, 8001])
def test_length_and_alignment(
    model: PersonalizedEnhancer, profile: Profile, rate: int, samples: int
) -> None:
    wave = voice(2.0)[:samples]
    output = model(wave, rate, profile)
    assert output.shape == wave.shape and output.dtype == np.float32
    passed = model(wave, rate, profile, attenuation_limit_db=0.0)
    np.testing.assert_allclose(passed, wave, atol=1e-6)


def test_silence_stays_silent(model: PersonalizedEnhancer, profile: Profile) -> None:
    assert not model(np.zeros(16000), SAMPLE_RATE, profile).any()


def test_types_of_samples(model: PersonalizedEnhancer, profile: Profile) -> None:
    wave = voice(1.0)
    integers = np.round(wave * 32768).astype(np.int16)
    expected = model(integers.astype(np.float32) / 32768, SAMPLE_RATE, profile)
    np.testing.assert_array_equal(model(integers, SAMPLE_RATE, profile), expected)
    with pytest.raises(UserError, match="int64 samples"):
        model(integers.astype(int), SAMPLE_RATE, profile)


def test_streams_do_not_disturb_each_other(
    model: PersonalizedEnhancer, profile: Profile
) -> None:
    waves = [voice(1.0, seed=seed) for seed in (1, 2)]
    streams = [model.stream(profile) for _ in waves]
    pieces: list[list[np.ndarray]] = [[], []]
    for start in range(0, 16000, 700):
        for index, stream in enumerate(streams):
            pieces[index].append(stream.process(waves[index][start : start + 700]))
    for index, stream in enumerate(streams):
        streamed = np.concatenate([*pieces[index], stream.flush()])
        expected = model(waves[index], SAMPLE_RATE, profile)
        np.testing.assert_array_equal(streamed, expected)


def test_enrolment_hears_the_voice_not_the_format(model: PersonalizedEnhancer) -> None:
    wave = voice(12.0)
    expected = model.enroll(wave, SAMPLE_RATE)
    assert expected.seconds > 4
    stereo = np.stack([soxr.resample(wave, SAMPLE_RATE, 48000)] * 2, 1)
    again = model.enroll(0.3 * stereo, 48000)
    assert vector(again) @ vector(expected) > 0.99
    assert again.level_dbfs == pytest.approx(expected.level_dbfs - 10.5, abs=0.3)
    other = model.enroll(voice(12.0, seed=5, pitch=220.0), SAMPLE_RATE)
    assert vector(other) @ vector(expected) < 0.98


def test_a_profile_holds_what_every_model_of_the_package_needs(
    model: PersonalizedEnhancer, profile: Profile
) -> None:
    kinds = {(one.encoder.name, one.band) for one in profile.vectors}
    names, bands = ("ge2e", "ge2e_robust", "campp"), ("full", "telephone")
    assert kinds == set(itertools.product(names, bands))
    assert len(profile.vectors) == 6 and profile.band == "full"
    for one in profile.vectors:
        encoder = next(e for e in model.speaker_encoders if e.identity == one.encoder)
        wave = telephone(voice(12.0)) if one.band == "telephone" else voice(12.0)
        np.testing.assert_allclose(one.vector, encoder.embed(wave), atol=1e-4)
    assert vector(profile) @ vector(profile, "telephone") < 0.999


def test_enrolment_warns_and_refuses(model: PersonalizedEnhancer) -> None:
    good = voice(12.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.enroll(good, SAMPLE_RATE)
    with pytest.warns(UserWarning, match="8 s or more"):
        model.enroll(good[: 5 * SAMPLE_RATE], SAMPLE_RATE)
    noise = np.random.default_rng(0).normal(0, 0.015, len(good))
    with pytest.warns(UserWarning, match="quieter place"):
        model.enroll(good + noise, SAMPLE_RATE)
    with pytest.warns(UserWarning, match="clipped"):
        model.enroll(np.clip(20 * good, -0.9, 0.9), SAMPLE_RATE)
    for wave, text in (
        (np.zeros(160000), "no speech stands out"),
        (noise, "no speech stands out"),
        (good[:16000], "at least 1.5 s"),
        (np.full(160000, np.nan), "NaN"),
        (np.zeros(0), "shape"),
    ):
        with pytest.raises(UserError, match=text):
            model.enroll(wave, SAMPLE_RATE)


@pytest.mark.parametrize("snr", [10, 20, 30])
def test_measured_snr_and_speech(snr: int) -> None:
    wave = voice(20.0)
    clean = measure(wave)
    power = 10 ** (clean.level / 10)
    noise = np.random.default_rng(0).normal(
        0, (power / 10 ** (snr / 10)) ** 0.5, 320000
    )
    found = measure(wave + noise)
    assert found.snr == pytest.approx(snr, abs=2.5)
    assert found.speech == pytest.approx(clean.speech, rel=0.25)
    assert measure(0.1 * wave).level == pytest.approx(clean.level - 20, abs=0.1)
    assert clean.clipped == 0 and clean.snr == 60


def test_clipping_is_a_share() -> None:
    wave = np.sin(np.arange(16000) / 5)
    cut = np.clip(wave, -0.5, 0.5)
    assert measure(cut).clipped == pytest.approx((np.abs(wave) >= 0.5).mean(), abs=0.02)
    assert measure(wave).clipped == 0


def test_no_default_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: Path
) -> None:
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path)
    with pytest.raises(UserError, match="no default weights"):
        PersonalizedEnhancer.from_pretrained()
    shutil.copy(weights / "student.onnx", tmp_path)
    monkeypatch.setattr(pretrained, "ENCODERS", {})
    alone = PersonalizedEnhancer.from_pretrained()
    with pytest.raises(UserError, match=r"speaker_encoder\.onnx: no such file"):
        alone.enroll(voice(12.0), SAMPLE_RATE)


def test_parts_that_a_model_lacks_are_the_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: Path
) -> None:
    monkeypatch.setattr(pretrained, "WEIGHTS", weights)
    alone = tmp_path / "mine.onnx"
    shutil.copy(weights / "student.onnx", alone)
    files = pretrained.find_model(alone)
    assert files.student == alone
    assert files.speaker_encoder == ENCODERS["ge2e"]
    assert files.personal_vad == weights / "pvad.onnx"


def test_another_encoders_model_and_profile(
    monkeypatch: pytest.MonkeyPatch, weights: Path, profile: Profile
) -> None:
    fresh = PersonalizedEnhancer.from_pretrained(weights)
    fresh.model.speaker_encoder = EncoderIdentity("other", "0" * 16)
    with pytest.raises(UserError, match="encoder 'ge2e' .*, the model needs"):
        fresh.enroll(voice(12.0), SAMPLE_RATE)
    with pytest.raises(UserError, match="'other'"):
        fresh(voice(1.0), SAMPLE_RATE, profile)


def test_training_and_zip_give_the_same_as_pytorch(
    training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: Path
) -> None:
    """A zip of stage 8 in our interface against ESPnet's own, within 1e-5."""
    from espnet2.bin.enh_tse_inference import SeparateSpeech

    monkeypatch.setattr(pretrained, "WEIGHTS", weights)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    archive = pack_experiment(training)
    ours = PersonalizedEnhancer.from_pretrained(archive)
    # The package's may be another: the network brings its own.
    assert ours.files.speaker_encoder.parent == ours.files.student.parent
    profile = ours.enroll(voice(12.0), SAMPLE_RATE)
    mixture = voice(3.0, seed=3) + voice(3.0, seed=4, pitch=210.0)
    # As any recording has: between exact harmonics float32 itself differs by 1e-5.
    mixture += np.random.default_rng(0).normal(0, 3e-4, len(mixture)).astype("f")
    output = ours(mixture, SAMPLE_RATE, profile)
    shutil.unpack_archive(archive, tmp_path / "unpacked")
    stock = SeparateSpeech(
        tmp_path / "unpacked/exp/pse_x/config.yaml",
        tmp_path / "unpacked/exp/pse_x/model.pth",
    )
    [expected] = stock(mixture[None], fs=SAMPLE_RATE, enroll_ref1=voice(12.0)[None])
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(output, expected[0], atol=1e-5)

    students = list(tmp_path.rglob("student.onnx"))
    monkeypatch.setattr("espnet_pse_kd.export.export_student", None)  # once is enough
    again = PersonalizedEnhancer.from_pretrained(archive)
    assert [again.files.student] == students
    np.testing.assert_array_equal(again(mixture, SAMPLE_RATE, profile), output)


@pytest.mark.parametrize("moment", ["export_speaker_encoder", "export_student"])
def test_an_interrupted_conversion_is_no_model(
    training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    from espnet_pse_kd.export import bundle

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def write(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    parts = {
        "export_speaker_encoder": lambda path, name: write(path),
        "export_student": lambda network, name, path, encoder: write(path),
    }
    for name, part in parts.items():
        monkeypatch.setattr(bundle, name, interrupt if name == moment else part)
    with pytest.raises(KeyboardInterrupt):
        pretrained.find_model(training)
    monkeypatch.setattr(bundle, moment, parts[moment])
    files = pretrained.find_model(training)
    assert files.student.is_file()
    assert files.speaker_encoder == files.student.with_name("speaker_encoder.onnx")


class Code:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return open, (self.path, "w")


def test_a_packed_network_of_any_name_decides_the_conversion(tmp_path: Path) -> None:
    (tmp_path / "meta.yaml").write_text("files: {model_file: exp/other.pth}")
    network = tmp_path / "exp/other.pth"
    network.parent.mkdir()
    network.write_bytes(b"1")
    before = pretrained._digest(tmp_path)
    network.write_bytes(b"2")
    assert pretrained._digest(tmp_path) != before


def test_unsafe_and_damaged_sources(
    training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    trace = tmp_path / "ran"

    def packed(name: str, model: bytes, extra: str = "README.md") -> Path:
        meta = {
            "files": {"model_file": "exp/model.pth"},
            "yaml_files": {"train_config": "exp/config.yaml"},
        }
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("meta.yaml", yaml.safe_dump(meta))
            archive.write(training / "config.yaml", "exp/config.yaml")
            archive.writestr("exp/model.pth", model)
            archive.writestr(extra, "text")
        return tmp_path / name

    sound = (training / "valid.loss.best.pth").read_bytes()
    code = pickle.dumps({"extractor.network.x": Code(trace)})
    (tmp_path / "text.zip").write_text("no zip")
    (tmp_path / "cut.zip").write_bytes(packed("whole.zip", sound).read_bytes()[:5000])
    (tmp_path / "empty").mkdir()
    for source, text in (
        (packed("climbs.zip", sound, "../outside"), "'../outside' leads out"),
        (packed("absolute.zip", sound, "/outside"), "'/outside' leads out"),
        (packed("code.zip", code), "holds code"),
        (packed("damaged.zip", sound[:2000]), "damaged"),
        (tmp_path / "text.zip", "no readable zip"),
        (tmp_path / "cut.zip", "no readable zip"),
        (tmp_path / "empty", "config.yaml"),
        (tmp_path / "missing.zip", "no such model"),
        ("missing/folder/file", "no such model"),
    ):
        with pytest.raises(UserError, match=text) as caught:
            PersonalizedEnhancer.from_pretrained(source)
        assert "\n" not in str(caught.value)
    assert not trace.exists() and not (tmp_path / "outside").exists()
    assert not list(tmp_path.rglob("*.onnx"))


def test_zoo_tag(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    import huggingface_hub

    tags = []

    def snapshot_download(tag: str) -> str:
        tags.append(tag)
        if tag == "someone/missing":
            raise OSError("404 Client Error.\nmore lines")
        return str(weights)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    found = PersonalizedEnhancer.from_pretrained("someone/pse_model.v1")
    assert found.files.student == weights / "student.onnx"
    assert tags == ["someone/pse_model.v1"]
    with pytest.raises(UserError, match=r"someone/missing: .*404 Client Error\.\)"):
        PersonalizedEnhancer.from_pretrained("someone/missing")


def test_model_of_a_newer_version(weights: Path, tmp_path: Path) -> None:
    from espnet_pse_kd.runtime import onnxfile

    newer = tmp_path / "newer.onnx"
    body = (weights / "student.onnx").read_bytes()
    version = f"format_version\x12\x01{onnxfile.FORMAT_VERSION}".encode()
    assert version in body
    newer.write_bytes(body.replace(version, version[:-1] + b"9"))
    with pytest.raises(UserError, match="format version 9.*upgrade"):
        PersonalizedEnhancer.from_pretrained(newer)


def test_threads(weights: Path) -> None:
    for number in (0, 99999999999):
        with pytest.raises(UserError, match=f"threads: {number}; give 1 to 1024"):
            PersonalizedEnhancer.from_pretrained(weights, threads=number)

"""What leaves PyTorch computes the same; checkpoints are read without running code."""

import json
import shutil
import sys
import zipfile
from pathlib import Path

import exported
import numpy as np
import onnx
import pytest
import soundfile
import torch
import yaml
from exported import ENCODER, network, seeded, speech, unit_vector
from torch import Tensor, nn

import espnet_pse_kd
from espnet_pse_kd.cli.main import main
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.export import bundle, checkpoints, load_pvad, load_student, quantize
from espnet_pse_kd.export.bundle import export_bundle
from espnet_pse_kd.export.graph import write_model
from espnet_pse_kd.export.lowering import DECOMPOSITIONS
from espnet_pse_kd.export.recurrent import OnnxLSTM
from espnet_pse_kd.metrics.separation import si_sdr
from espnet_pse_kd.nets import NETWORKS
from espnet_pse_kd.nets.mingru import MinGRUNet
from espnet_pse_kd.pretrained import find_model
from espnet_pse_kd.recipe.packing import teacher_config
from espnet_pse_kd.runtime.identity import EncoderIdentity
from espnet_pse_kd.runtime.model import StreamingModel
from espnet_pse_kd.runtime.speaker_encoder import OnnxSpeakerEncoder
from espnet_pse_kd.runtime.stream import EnhancerStream

GOLDEN = Path(__file__).parent / "golden"
WEIGHTS = Path(espnet_pse_kd.__file__).parent / "weights"

aten = torch.ops.aten


def whole_pass(net: nn.Module, wave: np.ndarray, vector: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return net(torch.from_numpy(wave)[None], torch.from_numpy(vector)[None])[
            0
        ].numpy()


def torch_stream(net: nn.Module, wave: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Hop by hop, the stream's lag taken off; whole hops only."""
    speaker, pieces = torch.from_numpy(vector)[None], []
    with torch.inference_mode():
        state = net.init_state(1)
        for frame in torch.from_numpy(wave)[None].split(net.hop, 1):
            piece, state = net.step(frame, speaker, state)
            pieces.append(piece[0])
    return torch.cat(pieces)[net.latency - net.hop :].numpy()


def onnx_stream(path: Path, wave: np.ndarray, vector: np.ndarray) -> np.ndarray:
    stream = EnhancerStream(StreamingModel(path), vector)
    return np.concatenate([stream.process(wave), stream.flush()])


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    """Within 1e-4 of the peak."""
    assert len(found) <= len(expected) < len(found) + 1000
    expected = expected[: len(found)]
    assert np.abs(expected).max() > 1e-3
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", NETWORKS)
def test_whole_is_streamed_is_onnx(name: str) -> None:
    net = network(name)
    wave, vector = speech(250 * net.hop), unit_vector(net.speaker_dim)
    whole = whole_pass(net, wave, vector)
    assert_close(torch_stream(net, wave, vector), whole)
    found = onnx_stream(exported.student(name), wave, vector)
    assert found.shape == wave.shape
    assert_close(found, whole)


@pytest.mark.parametrize("name", NETWORKS)
def test_file_says_what_it_holds(name: str) -> None:
    net, model = network(name), StreamingModel(exported.student(name))
    assert (model.name, model.sample_rate) == (name, 16000)
    assert (model.hop, model.latency) == (net.hop, net.latency)
    assert (model.speaker_encoder, model.speaker_dim) == (ENCODER, net.speaker_dim)
    assert model.version == espnet_pse_kd.__version__
    assert model.metadata["precision"] == "fp32"
    state, expected = model.init_state(), net.init_state(1)._asdict()
    assert list(state) == [f"state_{field}" for field in expected]
    for found, part in zip(state.values(), expected.values()):
        np.testing.assert_array_equal(found, part.numpy())
    proto = onnx.load(exported.student(name))
    onnx.checker.check_model(proto)
    assert str(Path(espnet_pse_kd.__file__).parent) not in str(proto.graph.node)


@pytest.mark.parametrize("name", NETWORKS)
def test_int8_is_close_and_smaller(name: str) -> None:
    net = network(name)
    wave, vector = speech(200 * net.hop), unit_vector(net.speaker_dim)
    expected = onnx_stream(exported.student(name), wave, vector)
    error = onnx_stream(exported.int8(name), wave, vector) - expected
    assert 0 < np.sum(error**2) < 10**-2.5 * np.sum(expected**2)
    model = StreamingModel(exported.int8(name))
    assert (model.metadata["precision"], model.name) == ("int8", name)
    if name == exported.DEFAULT:
        sizes = [f(name).stat().st_size for f in (exported.int8, exported.student)]
        assert sizes[0] < 0.5 * sizes[1]


def test_int8_only_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="precision is int8 already"):
        quantize(exported.int8(), tmp_path / "again.onnx")
    assert not list(tmp_path.iterdir())


def test_exporting_changes_no_network() -> None:
    exported.student("e3net")
    modules = list(network("e3net").modules())
    assert any(isinstance(module, nn.LSTM) for module in modules)
    assert not any(isinstance(module, OnnxLSTM) for module in modules)


class _Inexpressible(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.eigvals(x)


def test_what_onnx_lacks_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ONNX has no form") as caught:
        write_model(_Inexpressible(), {"x": torch.eye(2)}, ["y"], {}, tmp_path / "x")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match="'onnxscript' is missing; from a checkout:"):
        quantize(exported.student(), tmp_path / "x.onnx")


@pytest.mark.parametrize("size", [2, 8, 400])
def test_fourier_products(size: int) -> None:
    x = torch.randn(3, size)
    rfft, irfft = (DECOMPOSITIONS[f.default] for f in (aten.fft_rfft, aten.fft_irfft))
    spectrum = torch.fft.rfft(x)
    torch.testing.assert_close(rfft(x), spectrum, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(irfft(spectrum, size), x, atol=1e-5, rtol=1e-4)
    padded = torch.fft.rfft(x, 2 * size)
    torch.testing.assert_close(rfft(x, 2 * size), padded, atol=1e-4, rtol=1e-4)
    assert rfft(torch.randn(3, 7)) is NotImplemented
    assert rfft(x, norm="ortho") is NotImplemented


def test_stft_is_a_convolution() -> None:
    x, window = torch.randn(2, 1000), torch.hann_window(400)
    stft = DECOMPOSITIONS[aten.stft.default]
    expected = torch.stft(x, 400, 160, window=window, center=False, return_complex=True)
    torch.testing.assert_close(
        stft(x, 400, 160, None, window), expected, atol=1e-3, rtol=1e-4
    )


@pytest.mark.parametrize("length", [1, 2, 3, 16, 37])
def test_running_maximum(length: int) -> None:
    x = torch.randn(2, length, 3)
    for dim, signal in ((1, x), (0, x.transpose(0, 1))):
        found, _ = DECOMPOSITIONS[aten.cummax.default](signal, dim)
        torch.testing.assert_close(found, signal.cummax(dim).values)


def test_only_plain_lstms_are_exported() -> None:
    for lstm in (nn.LSTM(3, 4, num_layers=2), nn.LSTM(3, 4, proj_size=2)):
        with pytest.raises(ValueError, match="one layer"):
            OnnxLSTM(lstm)


# --- checkpoints -------------------------------------------------------------------

CONF = {"width": 8, "layers": 1, "feed_hidden": 8}


def make_training(folder: Path, **changes: object) -> Path:
    """A folder as the recipe's training leaves it, with one network in it."""
    folder.mkdir()
    torch.manual_seed(0)
    net = seeded(MinGRUNet(**CONF))
    state = {
        f"extractor.network.{key}": value for key, value in net.state_dict().items()
    }
    config = {
        "encoder": "same",
        "extractor": "mingru",
        "extractor_conf": {"speaker_encoder": "ge2e", "personalized": True, **CONF},
        "sample_rate": 16000,
        **changes,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    torch.save(state, folder / "valid.loss.best.pth")
    return folder


def pack(training: Path, **renamed: str) -> Path:
    """A zip as stage 8 packs it; ``renamed`` changes what its meta.yaml says."""
    model, config = f"exp/{training.name}/model.pth", f"exp/{training.name}/config.yaml"
    meta = {
        "files": {"model_file": renamed.get("model", model)},
        "yaml_files": {"train_config": config},
    }
    archive = training.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        file.write(training / "valid.loss.best.pth", renamed.get("member", model))
        file.write(training / "config.yaml", config)
        file.writestr("meta.yaml", yaml.safe_dump(meta))
    return archive


def test_load_student_from_folder_and_zip(tmp_path: Path) -> None:
    folder = make_training(tmp_path / "student")
    archive = pack(folder)
    shutil.unpack_archive(archive, tmp_path / "unpacked")
    wave, vector = speech(3000), unit_vector()
    torch.manual_seed(0)
    expected = whole_pass(seeded(MinGRUNet(**CONF)), wave, vector)
    for source in (folder, archive, tmp_path / "unpacked"):
        net, info = load_student(source)
        assert not net.training
        np.testing.assert_array_equal(whole_pass(net, wave, vector), expected)
        assert (info.name, info.speaker_encoder) == ("mingru", ENCODER)
        assert info.personalized and info.source == source
        assert info.network_conf == CONF


def test_load_student_without_personalization(tmp_path: Path) -> None:
    conf = {"personalized": False, **CONF}
    _, info = load_student(make_training(tmp_path / "b0", extractor_conf=conf))
    assert not info.personalized


class _Code:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("/tmp/espnet_pse_kd_was_here"),))


def bad_trainings(root: Path) -> dict[str, tuple[Path, str]]:
    """What a person may give by mistake: source and a part of the message."""
    cases: dict[str, tuple[Path, str]] = {}
    cases["missing"] = root / "nothing", "No such file"
    (root / "empty").mkdir()
    cases["empty folder"] = root / "empty", "holds no config.yaml"
    unfinished = make_training(root / "unfinished")
    (unfinished / "valid.loss.best.pth").unlink()
    cases["no checkpoint"] = unfinished, "holds no valid.loss.best.pth"
    text = root / "text.zip"
    text.write_text("no zip")
    cases["text"] = text, "no readable zip"
    whole = pack(make_training(root / "cut"))
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    cases["truncated zip"] = whole, "no readable zip"
    climbing = pack(make_training(root / "climbing"), member="../../outside.pth")
    cases["climbing member"] = climbing, r"'../../outside.pth' leads out"
    pointing = pack(make_training(root / "pointing"), model="/etc/passwd")
    cases["absolute path"] = pointing, "'/etc/passwd' leads out"
    code = make_training(root / "code")
    torch.save({"extractor.network.x": _Code()}, code / "valid.loss.best.pth")
    cases["code"] = code, "holds code"
    damaged = make_training(root / "damaged")
    checkpoint = damaged / "valid.loss.best.pth"
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    cases["damaged checkpoint"] = damaged, "damaged"
    notes = make_training(root / "notes")
    torch.save([1, 2], notes / "valid.loss.best.pth")
    cases["no state"] = notes, "holds no parameters"
    other = make_training(root / "other", extractor_conf={**CONF, "width": 12})
    cases["other config"] = other, "do not belong together"
    unknown = make_training(root / "unknown", extractor_conf={**CONF, "widht": 12})
    cases["unknown option"] = unknown, "refuses its configuration .*widht"
    cases["foreign"] = make_training(root / "foreign", extractor="td"), "extractor 'td'"
    cases["rate"] = make_training(root / "rate", sample_rate=8000), "trained at 8000 Hz"
    broken = make_training(root / "broken")
    (broken / "config.yaml").write_text("a: [")
    cases["no YAML"] = broken, "no YAML"
    return cases


def test_bad_trainings_are_one_line(tmp_path: Path) -> None:
    for case, (source, message) in bad_trainings(tmp_path).items():
        with pytest.raises(UserError, match=message) as caught:
            load_student(source)
        text = str(caught.value)
        assert "\n" not in text and str(source) in text and ";" in text, case
    assert not Path("/tmp/espnet_pse_kd_was_here").exists()


@pytest.mark.parametrize("packed", [False, True])
def test_unreadable_trainings_are_named(
    packed: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not the output; without rights, since tests may run as root, who needs none."""

    def refuse(path: Path, *words: object, **options: object) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    source = make_training(tmp_path / "s")
    if packed:
        source = pack(source)
    monkeypatch.setattr(checkpoints, "read_limited", refuse)
    monkeypatch.setattr(zipfile, "ZipFile", refuse)
    with pytest.raises(SystemExit) as ended:
        main(["export", str(source), "-o", str(tmp_path / "out.onnx")])
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: {source}") and "Permission denied" in message
    assert "out.onnx" not in message


def make_pvad(folder: Path, **changes: object) -> Path:
    """The folder of a trained personal VAD, that of `exported.pvad`."""
    folder.mkdir()
    config = {"pvad": "personal_vad", "pvad_conf": exported.PVAD_CONF, **changes}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    own = exported.pvad()[0].state_dict()
    state = {f"pvad.{key}": value for key, value in own.items()}
    torch.save(state, folder / "valid.loss.best.pth")
    return folder


def test_load_pvad(tmp_path: Path) -> None:
    pvad, _ = exported.pvad()
    loaded, encoder = load_pvad(make_pvad(tmp_path / "vad"))
    assert encoder is None
    for key, value in loaded.state_dict().items():
        assert torch.equal(value, pvad.state_dict()[key]), key
    with pytest.raises(UserError, match="no training of a personal VAD"):
        load_pvad(make_training(tmp_path / "s"))


def test_a_pvad_is_exported_with_its_own_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was trained on: named by its data, or by what was packed of it."""
    exports: list[EncoderIdentity] = []
    monkeypatch.setattr(
        bundle, "export_pvad", lambda net, path, name: exports.append(name)
    )
    monkeypatch.setattr(bundle, "export_student", lambda *arguments: None)
    note = tmp_path / "dump/enroll/train/vectors/speaker_encoder"
    note.parent.mkdir(parents=True)
    note.write_text("ge2e\n")
    data = {"train_enroll_vectors": str(note.parents[1] / "vectors.npz")}
    trained = make_pvad(tmp_path / "trained", **data)
    config = teacher_config(yaml.safe_load((trained / "config.yaml").read_text()))
    assert config["speaker_encoder"] == "ge2e"
    kept = {key: config[key] for key in ("speaker_encoder", "pvad_conf")}
    packed = make_pvad(tmp_path / "packed", **kept)
    silent = make_pvad(tmp_path / "silent")
    conf = {"speaker_encoder": "ge2e_robust", **CONF}
    robust = make_training(tmp_path / "robust", extractor_conf=conf)
    plain = make_training(tmp_path / "plain")

    def export(student: Path, vad: Path) -> None:
        export_bundle(student, tmp_path / "s.onnx", None, vad, tmp_path / "v.onnx")

    foreign = make_pvad(
        tmp_path / "foreign", speaker_encoder="ge2e", speaker_digest="0"
    )
    with pytest.raises(
        UserError, match=r"'ge2e' \(0\), which is neither .*'ge2e_robust'"
    ):
        export(robust, foreign)
    with pytest.raises(
        UserError, match="does not say whose .* 'speaker_encoder: NAME'"
    ):
        export(plain, silent)
    assert exports == []
    for student, vad in ((plain, trained), (plain, packed), (robust, trained)):
        export(student, vad)
    assert exports == [ENCODER] * 3  # its own, whatever steers the student


def test_command_writes_a_model_that_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = make_training(tmp_path / "s")
    words = ["export", str(training), "--int8", "-o", str(tmp_path / "s.onnx")]
    main(words)
    assert "s.onnx: 0." in capsys.readouterr().out
    model = StreamingModel(tmp_path / "s.onnx")
    assert model.metadata["precision"] == "int8"
    frame, _ = model.step(
        np.ones(model.hop, np.float32), unit_vector(), model.init_state()
    )
    assert np.isfinite(frame).all()
    conf = {"speaker_encoder": "espnet/voxcelebs12", **CONF}
    foreign = make_training(tmp_path / "foreign", extractor_conf=conf)
    with pytest.raises(UserError, match="only ge2e, ge2e_robust, campp can be"):
        export_bundle(foreign, tmp_path / "a.onnx", tmp_path / "encoder.onnx")
    assert not (tmp_path / "a.onnx").exists()
    conf = {"speaker_encoder": "ge2e", "personalized": False, **CONF}
    ignorant = make_training(tmp_path / "b0", extractor_conf=conf)
    with pytest.raises(SystemExit) as ended:
        main(["export", str(ignorant), "-o", str(tmp_path / "b0.onnx")])
    assert ended.value.code == 2
    assert "trained to ignore the enrolled voice" in capsys.readouterr().err
    assert not (tmp_path / "b0.onnx").exists()


# --- golden clip -------------------------------------------------------------------


def golden_model() -> tuple[str, nn.Module, Path, np.ndarray]:
    """Name, network, exported file and speaker vector: the package's own if it has any.

    Without weights a seeded, untrained network takes their place.
    """
    if not (WEIGHTS / "student.onnx").is_file():
        return "seeded", network(exported.DEFAULT), exported.student(), unit_vector()
    archive = WEIGHTS / "student.zip"
    assert archive.is_file(), (
        "put the zip beside student.onnx that it was exported from"
    )
    clip, _ = soundfile.read(GOLDEN / "enrolment.flac", dtype="float32")
    vector = OnnxSpeakerEncoder(find_model().speaker_encoder).embed(clip)
    return "weights", load_student(archive)[0], WEIGHTS / "student.onnx", vector


def levels(wave: np.ndarray) -> dict[str, float | list[float]]:
    """Peak, and level in dBFS of every 10 s."""
    power = np.square(wave.reshape(6, -1)).mean(1)
    rms = [round(float(10 * np.log10(p)), 2) for p in power]
    return {"peak": round(float(np.abs(wave).max()), 4), "dbfs_of_10s": rms}


def test_golden_clip() -> None:
    """A minute of two voices in noise: three ways agree, and nothing has changed.

    Where weights are replaced on purpose, `levels.json` takes the figures that the
    failure prints.
    """
    mixture, rate = soundfile.read(GOLDEN / "mixture.flac", dtype="float32")
    assert (len(mixture), rate) == (60 * 16000, 16000)
    name, net, path, vector = golden_model()
    whole = whole_pass(net, mixture, vector)
    streamed = torch_stream(net, mixture[: 1000 * net.hop], vector)
    assert_close(streamed, whole[: 1000 * net.hop])
    assert_close(onnx_stream(path, mixture, vector), whole)
    found, known = levels(whole), json.loads((GOLDEN / "levels.json").read_text())
    assert name in known, f"add to {GOLDEN / 'levels.json'}: {name!r}: {found}"
    assert found["peak"] == pytest.approx(known[name]["peak"], rel=0.01), found
    assert found["dbfs_of_10s"] == pytest.approx(
        known[name]["dbfs_of_10s"], abs=0.05
    ), found


def test_level_of_the_input_does_not_matter() -> None:
    """A gain sweep from -40 to 0 dBFS changes SI-SDR by less than 0.5 dB."""
    voice, _ = soundfile.read(GOLDEN / "enrolment.flac", dtype="float32")
    mixture, _ = soundfile.read(GOLDEN / "mixture.flac", dtype="float32")
    noise = 10 * np.resize(mixture[:16000], len(voice))  # nobody speaks yet
    _, _, path, vector = golden_model()
    noisy = voice + noise
    found = []
    for dbfs in range(-40, 1, 10):
        gain = np.float32(10 ** (dbfs / 20) / np.sqrt(np.mean(noisy**2)))
        found.append(si_sdr(voice, onnx_stream(path, gain * noisy, vector)))
    assert max(found) - min(found) < 0.5, found

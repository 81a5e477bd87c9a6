"""Crafted models: what a file claims is checked before anything is made of it.

The checksum of an ONNX file is no signature, and a zip is anybody's. `make hostile` has
many more of them.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.export import foreign, load_student
from espnet_pse_kd.nets.mingru import MinGRUNet
from espnet_pse_kd.pretrained import find_model
from espnet_pse_kd.runtime.default_model import (
    ENCODERS,
    PERSONAL_VAD,
    STUDENT,
    WEIGHTS,
)
from espnet_pse_kd.runtime.metadata import SCHEMAS
from espnet_pse_kd.runtime.model import StreamingModel
from espnet_pse_kd.runtime.onnxfile import read_model_file, seal
from espnet_pse_kd.runtime.pvad import OnnxPersonalVAD
from espnet_pse_kd.runtime.speaker_encoder import OnnxSpeakerEncoder
from espnet_pse_kd.utils import yamls
from espnet_pse_kd.utils.yamls import parse_yaml

_MARK = b"\x0a\x08producer\x12"  # the first entry of the metadata, after its two sizes
FILES: Mapping[str, tuple[Path, Callable[[Path], object]]] = {
    "student": (WEIGHTS / STUDENT, StreamingModel),
    "pvad": (WEIGHTS / PERSONAL_VAD, OnnxPersonalVAD),
    "speaker_encoder": (ENCODERS["ge2e_robust"], OnnxSpeakerEncoder),
}


def resealed(path: Path, kind: str, **changes: str | None) -> Path:
    """A model of the package whose metadata are changed, or removed where None."""
    source = FILES[kind][0]
    metadata = {**read_model_file(source, kind).metadata, **changes}
    data = source.read_bytes()
    kept = {key: value for key, value in metadata.items() if value is not None}
    path.write_bytes(seal(data[: data.index(_MARK) - 2], kept))
    return path


def refused(load: Callable[[Path], object], path: Path, text: str) -> None:
    with pytest.raises(UserError, match=text) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 700 and str(path) in message


# --- metadata of ONNX files --------------------------------------------------------

ENTRIES = [(kind, key) for kind, schema in SCHEMAS.items() for key in schema]


@pytest.mark.parametrize(("kind", "key"), ENTRIES)
def test_every_entry_is_needed(kind: str, key: str, tmp_path: Path) -> None:
    path = resealed(tmp_path / "a.onnx", kind, **{key: None})
    refused(FILES[kind][1], path, f"lack {key}; export it again")


VALUES = {
    "hop": ("0", "-1", "x", "161", "1000000000", "160.0", "²", "9" * 5000, ""),
    "latency": ("-5", "0", "159", "1000000000000", "x"),
    "sample_rate": ("0", "x", "8000", "-1"),
    "speaker_dim": ("0", "255", "1000000000"),
    "initial_state": ("", "[]", "{}", "garbage", "[" * 100_001, '{"a": 0}', "null"),
    "name": ("", "a\nb", "\x1b[2J", "x" * 1000),
    "format_version": ("0", "-1", "x", "9" * 5000, "²"),
}
CASES = [(key, value) for key, values in VALUES.items() for value in values]


@pytest.mark.parametrize(("key", "value"), CASES, ids=range(len(CASES)))
def test_entries_have_limits(key: str, value: str, tmp_path: Path) -> None:
    path = resealed(tmp_path / "a.onnx", "student", **{key: value})
    refused(StreamingModel, path, "a.onnx: ")


@pytest.mark.parametrize("fill", ["NaN", "Infinity", "1e400", "true", '"x"', "[0]"])
def test_initial_states_are_numbers(fill: str, tmp_path: Path) -> None:
    original = read_model_file(WEIGHTS / STUDENT, "student").metadata["initial_state"]
    name = next(iter(json.loads(original)))
    text = original.replace(f'"{name}": 0.0', f'"{name}": {fill}', 1)
    assert text != original
    path = resealed(tmp_path / "a.onnx", "student", initial_state=text)
    refused(StreamingModel, path, "initial_state")


@pytest.mark.parametrize("classes", ["", "ns", "tss ntss ns", "a b c"])
def test_classes_of_a_personal_vad(classes: str, tmp_path: Path) -> None:
    path = resealed(tmp_path / "a.onnx", "pvad", classes=classes)
    refused(OnnxPersonalVAD, path, "classes")


def test_a_wrong_hop_of_a_personal_vad(tmp_path: Path) -> None:
    """It shows in the number of frames."""
    path = resealed(tmp_path / "a.onnx", "pvad", hop="161")
    encoder = OnnxSpeakerEncoder(ENCODERS["ge2e_robust"])
    vad = OnnxPersonalVAD(path, [encoder])
    vector = np.full(encoder.dim, encoder.dim**-0.5, np.float32)
    with pytest.raises(UserError, match="posterior has the shape"):
        vad.posteriors(np.zeros(32000, np.float32), vector)


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    data = (WEIGHTS / STUDENT).read_bytes()
    model = onnx.load_model_from_string(data[: data.index(_MARK) - 2])
    for weight in model.graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT and len(weight.raw_data) > 4:
            weight.raw_data = np.full(
                len(weight.raw_data) // 4, np.nan, "<f4"
            ).tobytes()
    metadata = read_model_file(WEIGHTS / STUDENT, "student").metadata
    path = tmp_path / "a.onnx"
    path.write_bytes(seal(model.SerializeToString(), metadata))
    refused(StreamingModel, path, "is not finite")


def test_many_fields_are_not_read_for_ever(tmp_path: Path) -> None:
    (path := tmp_path / "a.onnx").write_bytes(b"\x08\x01" * 10_000_000)
    refused(StreamingModel, path, "no ONNX file")


# --- YAML --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 50_000,
        "a: " + "{b: " * 30 + "1" + "}" * 30,
        "a: " + "9" * 200_000,
        "a: 9999-99-99",
        "a: !!python/object/apply:os.system [true]",
        "a: [" + "1," * 1001 + "]",
        "a: &a [1,2,3,4,5,6,7,8,9]\n"
        + "".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n"
            for n in range(9)
        ),
        "- 1",
        "? [a]\n: 1",
        "a: \x00",
    ],
    ids=range(10),
)
def test_yaml_has_limits(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yamls, "_MOST_NODES", 1000)
    with pytest.raises(UserError, match="^name: ") as caught:
        parse_yaml(text.encode(), "name")
    assert len(str(caught.value)) < 500


def test_yaml_is_not_longer_than_a_megabyte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yamls, "LARGEST", 99)
    with pytest.raises(UserError, match="name: more than"):
        parse_yaml(b"a: " + b"1" * 99, "name")
    anchored = b"a: &a {b: [1, 2]}\nc: *a\nd: {<<: *a, e: 1}"
    assert parse_yaml(anchored, "name")["d"] == {"b": [1, 2], "e": 1}


# --- trainings ---------------------------------------------------------------------

CONF = {"width": 8, "layers": 1, "feed_hidden": 8}


def checkpoint(state: Any = None, **changes: Any) -> bytes:
    """A small network's parameters, some of them replaced."""
    torch.manual_seed(0)
    own = MinGRUNet(**CONF).state_dict()
    whole = {f"extractor.network.{name}": value for name, value in own.items()}
    named = {name.replace("__", "."): value for name, value in changes.items()}
    torch.save(whole | named if state is None else state, file := io.BytesIO())
    return file.getvalue()


def packed(
    path: Path, model: bytes, conf: Any = CONF, more: str = "", **config: Any
) -> Path:
    """A zip as stage 8 packs it; ``more``: name of a further member."""
    known = {"extractor": "mingru", "extractor_conf": conf, "sample_rate": 16000}
    meta = {"files": {"model_file": "m"}, "yaml_files": {"train_config": "c"}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m", model)
        archive.writestr("c", yaml.safe_dump({**known, **config}))
        archive.writestr("meta.yaml", yaml.safe_dump(meta))
        if more:
            archive.writestr(more, "")
    return path


def test_the_whole_one_is_read(tmp_path: Path) -> None:
    network, info = load_student(packed(tmp_path / "a.zip", checkpoint()))
    assert info.name == "mingru" and not network.training


@pytest.mark.parametrize(
    "config",
    [
        {"extractor": ["mingru"]},
        {"extractor": {"a": 1}},
        {"conf": [1, 2]},
        {"conf": "text"},
        {"conf": {**CONF, "width": -1}},
        {"conf": {**CONF, "width": 100_000_000}},
        {"conf": {**CONF, "layers": 100_000_000}},
        {"conf": {**CONF, "hop": 0}},
        {"conf": {**CONF, "exponent": float("inf")}},
        {"conf": {**CONF, 3: 4}},
        {"conf": {**CONF, "speaker_encoder": 3}},
        {"sample_rate": "9" * 999},
    ],
    ids=str,
)
def test_configurations_have_limits(config: dict[str, Any], tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", checkpoint(), **config)
    refused(load_student, path, "a.zip")


def _key() -> str:
    return "extractor__network__norm__weight"


@pytest.mark.parametrize(
    "value",
    [
        torch.full((8,), torch.nan),
        torch.full((8,), torch.inf),
        torch.ones(8, dtype=torch.complex64),
        torch.ones(1).expand(1 << 40),
        torch.ones(9),
        torch.ones(8).to_sparse(),
    ],
    ids=["NaN", "infinite", "complex", "4 TB", "shape", "sparse"],
)
def test_parameters_are_numbers(value: torch.Tensor, tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", checkpoint(**{_key(): value}))
    refused(load_student, path, "norm.weight|holds no parameters|damaged")


@pytest.mark.parametrize("model", [b"", b"abc", b"\x80\x02]q\x00.", b"PK\x05\x06" * 9])
def test_no_checkpoints(model: bytes, tmp_path: Path) -> None:
    refused(load_student, packed(tmp_path / "a.zip", model), "a.zip: m: ")


def test_checkpoints_that_unpack_to_very_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "LARGEST_MODEL", 10_000)
    path = packed(tmp_path / "a.zip", checkpoint())
    refused(load_student, path, "m: claims .* GB")


@pytest.mark.parametrize(
    "name", ["C:/x", "C:x", "c:\\x", "\\x", "\\\\host\\share\\x", "/x", "a/../../x"]
)
def test_members_lie_inside(name: str, tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", checkpoint(), more=name)
    refused(load_student, path, "leads out of it")


def test_encrypted_members(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", checkpoint())
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = data.find(mark)
        while at >= 0:
            data[at + offset] |= 1
            at = data.find(mark, at + 1)
    path.write_bytes(data)
    refused(load_student, path, "is encrypted")


def test_yaml_members_are_small(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.yaml", b"a: 1\n" * 1_000_000, compresslevel=1)
    refused(load_student, path, "claims 5 MB, at most 1")


# --- what is no model --------------------------------------------------------------


def test_other_files_are_told_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its absence would be a wrong trail."""
    monkeypatch.setitem(sys.modules, "espnet_pse_kd.export", None)
    (readme := tmp_path / "README.md").write_text("# Read me")
    for source, text in (
        (readme, "README.md: no readable zip; give"),
        (tmp_path, "holds neither student.onnx nor a training's config.yaml"),
        ("", "model: an empty name"),
    ):
        with pytest.raises(UserError, match=text):
            find_model(source)

"""What `fuzz` feeds: each way in as a function of bytes, with good inputs."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.metadata import SCHEMAS, check_metadata, initial_fills
from espnet_pse_kd.runtime.onnxfile import read_model_file, seal
from espnet_pse_kd.runtime.profile import Profile
from espnet_pse_kd.sound import ffmpeg
from espnet_pse_kd.utils.yamls import parse_yaml
from tools.hostile import archives, models, profiles, sounds, yamls


class Target(NamedTuple):
    """A way in.

    Attributes:
        use: takes bytes; anything but a `UserError` is a find.
        seeds: good inputs to begin with.
        longest: bytes of an input.
    """

    use: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    longest: int


def _sound(data: bytes) -> None:
    ffmpeg.available = lambda: False
    sounds.read_all(_stored(data, "crafted.bin"))


def _profile(data: bytes) -> None:
    Profile.load(_stored(data, "crafted.profile"))


def _model(data: bytes) -> None:
    """Metadata alone: what stands behind the graph, sealed, as text lines."""
    lines = data.decode("utf-8", "replace").split("\n")
    pairs = (line.partition("=") for line in lines)
    metadata = {key: value for key, _, value in pairs}
    opset = b"\x42\x02\x10\x14"
    path = _stored(seal(opset + data[:64], metadata), "crafted.onnx")
    for kind in SCHEMAS:
        try:
            file = read_model_file(path, kind)
            check_metadata(path, file.metadata, kind)
            if kind == "student":
                initial_fills(path, file.metadata)
        except UserError:
            continue


def _raw_model(data: bytes) -> None:
    read_model_file(_stored(data, "crafted.onnx"), "student")


def _zip(data: bytes) -> None:
    archives.use_zip(_stored(data, "crafted.zip"))


def _yaml(data: bytes) -> None:
    parse_yaml(data, "crafted.yaml")


_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-")


def _stored(data: bytes, name: str) -> Path:
    path = Path(_FOLDER.name, name)
    path.write_bytes(data)
    return path


def _metadata_text(kind: str) -> bytes:
    metadata = read_model_file(models.FILES[kind], kind).metadata
    return "\n".join(f"{key}={value}" for key, value in metadata.items()).encode()


def _zips() -> list[bytes]:
    whole = archives.packed(archives.saved(archives.checkpoint()))
    with zipfile.ZipFile(small := io.BytesIO(), "w") as archive:
        archive.writestr("meta.yaml", "files: {model_file: m}\nyaml_files: {}")
    return [whole, small.getvalue()]


TARGETS = {
    "sound": Target(_sound, lambda: [*map(sounds.sound, sounds.CONTAINERS)], 20_000),
    "profile": Target(_profile, lambda: [profiles.good()], 20_000),
    "metadata": Target(
        _model, lambda: [_metadata_text(kind) for kind in models.FILES], 3_000
    ),
    "model": Target(_raw_model, lambda: [models.graph("student")[-300:]], 3_000),
    "zip": Target(_zip, _zips, 120_000),
    "yaml": Target(
        _yaml,
        lambda: [f"a: {value}".encode()[:2000] for value in yamls.VALUES],
        3_000,
    ),
}

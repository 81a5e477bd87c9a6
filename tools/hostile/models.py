"""ONNX files with right checksums: their metadata, and damaged graphs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from espnet_pse_kd.runtime.default_model import (
    ENCODERS,
    PERSONAL_VAD,
    STUDENT,
    WEIGHTS,
)
from espnet_pse_kd.runtime.model import StreamingModel
from espnet_pse_kd.runtime.onnxfile import read_model_file, seal
from espnet_pse_kd.runtime.pvad import OnnxPersonalVAD
from espnet_pse_kd.runtime.speaker_encoder import OnnxSpeakerEncoder
from tools.hostile.ground import Case, Ground

VALUES = ("", "0", "-1", "-5", "1", "161", "8000", "1000000000", "1e3", "0x10", "nan")
VALUES += ("²", "x", "9" * 5000, "[]", "{}", "[" * 100_000, "null", '{"a": NaN}')
VALUES += ("a\nb", "\x1b[2J", "x" * 100_001, "\0", "../../x", "tss ntss ns")
"""Texts of an entry."""
_MARK = b"\x0a\x08producer\x12"  # the first entry, after its two sizes
_FLIPS = 60


def cases() -> Iterator[Case]:
    """All of this module."""
    for kind, path in FILES.items():
        metadata = _metadata(kind)
        for key in metadata:
            yield _case(kind, f"without {key}", {**metadata, key: None})
            for number, value in enumerate(VALUES):
                yield _case(
                    kind, f"{key} is {value:.20} ({number})", {**metadata, key: value}
                )
        size = path.stat().st_size
        random = np.random.default_rng(0)
        for at in random.integers(0, size // 3, _FLIPS):
            yield _case(kind, f"byte {at} of the graph", metadata, int(at))
        for at in random.integers(0, 3000, _FLIPS):
            yield _case(kind, f"byte {at} of the beginning", metadata, int(at))
        yield Case("model", f"{kind}: many fields", functools.partial(_many, kind))
    for name in ("fifo.wav", "folder.wav", "loop.wav", "none.onnx", "/dev/zero"):
        yield Case("model", f"the path {name}", functools.partial(_load, name))


def use_student(path: Path) -> None:
    """Load a student and enhance 0.1 s."""
    model = StreamingModel(path)
    state = model.init_state()
    speaker = np.full(model.speaker_dim, model.speaker_dim**-0.5, np.float32)
    for _ in range(10):
        frame = np.zeros(model.hop, np.float32)
        _, state = model.step(frame, speaker, state)


def use_encoder(path: Path) -> None:
    """Load a speaker encoder and hear one second."""
    OnnxSpeakerEncoder(path).windows(np.ones(16000, np.float32))


def use_pvad(path: Path) -> None:
    """Load a personal VAD and hear one second."""
    vad = OnnxPersonalVAD(path, [OnnxSpeakerEncoder(ENCODERS["ge2e_robust"])])
    vector = np.full(vad.speaker_dim, vad.speaker_dim**-0.5, np.float32)
    vad.posteriors(np.zeros(16000, np.float32), vector)


FILES = {
    "student": WEIGHTS / STUDENT,
    "pvad": WEIGHTS / PERSONAL_VAD,
    "speaker_encoder": ENCODERS["ge2e_robust"],
}
USES: dict[str, Callable[[Path], None]] = {
    "student": use_student,
    "pvad": use_pvad,
    "speaker_encoder": use_encoder,
}


@functools.cache
def _metadata(kind: str) -> dict[str, str | None]:
    return dict(read_model_file(FILES[kind], kind).metadata)


@functools.cache
def graph(kind: str) -> bytes:
    """A model of the package without its metadata."""
    data = FILES[kind].read_bytes()
    return data[: data.index(_MARK) - 2]


def _case(
    kind: str, name: str, metadata: dict[str, str | None], flip: int | None = None
) -> Case:
    def run(ground: Ground) -> None:
        data = graph(kind)
        if flip is not None:
            data = data[:flip] + bytes([data[flip] ^ 0x55]) + data[flip + 1 :]
        path = ground.folder / "crafted.onnx"
        kept = {key: value for key, value in metadata.items() if value is not None}
        path.write_bytes(seal(data, kept))
        USES[kind](path)

    return Case("model", f"{kind}: {name}", run)


def _many(kind: str, ground: Ground) -> None:
    path = ground.folder / "crafted.onnx"
    path.write_bytes(b"\x08\x01" * 5_000_000)
    USES[kind](path)


def _load(name: str, ground: Ground) -> None:
    use_student(ground.folder / name)

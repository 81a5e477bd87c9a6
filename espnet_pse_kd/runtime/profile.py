"""An enrolled voice as a small versioned file."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espnet_pse_kd.errors import UserError, how_to_install
from espnet_pse_kd.files import atomic_open, read_limited

FORMAT_VERSION = 1
"""Version of the file that this package writes."""

_LARGEST = 1_000_000  # bytes; a profile has a few thousand
_UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Profile:
    """An enrolled voice.

    The file is JSON; the vector stands in it as base64 of little-endian float32.

    Attributes:
        vector: float32 (D,), unit norm.
        speaker_encoder: name of the encoder that made it.
        seconds: seconds of speech that it was made from.
        level_dbfs: level of that speech, in dBFS.
        snr_db: estimated ratio of speech to background, in dB.
        created: ISO 8601 time.
        sources: names of the recordings.
        format_version: of the file.

    Raises:
        UserError: the vector is no unit vector of finite numbers.
    """

    vector: np.ndarray
    speaker_encoder: str
    seconds: float
    level_dbfs: float
    snr_db: float
    created: str
    sources: tuple[str, ...] = ()
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        vector = np.array(self.vector, np.float32)
        norm = float(np.linalg.norm(vector))
        if vector.ndim != 1 or not abs(norm - 1) < _UNIT_TOLERANCE:
            raise UserError(
                f"profile: a vector of shape {vector.shape} and norm {norm:.3g}, not a "
                "unit vector; enroll the voice again"
            )
        vector.flags.writeable = False
        object.__setattr__(self, "vector", vector)
        object.__setattr__(self, "sources", tuple(self.sources))

    def check_encoder(self, speaker_encoder: str, dim: int) -> None:
        """Check that a model can use this profile.

        Args:
            speaker_encoder: name of the encoder that the model was trained on.
            dim: size of its vectors.

        Raises:
            UserError: it was made with another encoder, or has another dimension.
        """
        made = (self.speaker_encoder, len(self.vector))
        if made != (speaker_encoder, dim):
            raise UserError(
                f"profile: made with the speaker encoder {made[0]!r} ({made[1]} "
                f"dimensions), the model needs {speaker_encoder!r} ({dim}); enroll the "
                "voice again with this model"
            )

    def save(self, path: str | Path, replace: bool = True) -> None:
        """Write the profile, in one move.

        Args:
            path: of the file.
            replace: replace one that is there.

        Raises:
            files.ResultExists: there is one, and ``replace`` is false.
        """
        fields = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        data = self.vector.astype("<f4").tobytes()
        fields["vector"] = base64.b64encode(data).decode()
        with atomic_open(path, replace=replace) as file:
            json.dump(fields, file, indent=1)
            file.write("\n")

    @classmethod
    def load(cls, path: str | Path) -> Profile:
        """Read a profile.

        Raises:
            UserError: the file is missing, truncated or no profile, has a newer
                version, or its vector is no unit vector of finite numbers.
        """
        if not isinstance(path, str | Path):
            raise UserError(f"path: {path!r:.60}; give the path of a profile")
        fields = _read_json(Path(path))
        version = fields.get("format_version")
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise UserError(f"{path}: no profile; make one with pse-kd enroll")
        if version > FORMAT_VERSION:
            raise UserError(
                f"{path}: format version {version}, this package reads up to "
                f"{FORMAT_VERSION}; upgrade it, {how_to_install()}"
            )
        try:
            data = base64.b64decode(fields.pop("vector"), validate=True)
            profile = cls(np.frombuffer(data, "<f4"), **fields)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise UserError(
                f"{path}: damaged profile ({error}); enroll the voice again"
            ) from None
        return profile


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

"""Our model files: ONNX graphs whose metadata says what they are, sealed by a checksum.

Any ONNX runtime reads them; metadata and checksum are entries of ``metadata_props``,
the last one the SHA-256 of every byte before it. Protocol buffers allow repeated
entries to be appended, so that neither sealing nor checking parses the graph.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from espnet_pse_kd.errors import UserError, how_to_install
from espnet_pse_kd.files import read_limited
from espnet_pse_kd.runtime.metadata import check_metadata
from espnet_pse_kd.runtime.session import Session

FORMAT_VERSION = 2
"""Version of the files' inputs, outputs and metadata that this package writes.

Since 2 every file names the digest of its speaker encoder's weights.
"""
PRODUCER = "espnet_pse_kd"
MOST_THREADS = 1024
"""More bring nothing, and onnxruntime takes no number that a C int cannot hold."""

_LARGEST = 1 << 30  # bytes; the networks here have some millions
_MOST_FIELDS = 10_000  # of one message: a model has some dozens beside its graph
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers
_OPSET_IMPORT, _METADATA_PROPS = 8, 14  # fields of onnx.ModelProto
_CHECKSUM = "sha256"


@dataclass(frozen=True)
class ModelFile:
    """A checked model file.

    Attributes:
        path: where it was read.
        data: its bytes.
        metadata: its ``metadata_props``, without the checksum.
        opset: version of the ONNX operators that it uses.
    """

    path: Path
    data: bytes
    metadata: dict[str, str]
    opset: int

    def session(self, threads: int = 1) -> Session:
        """Open the model in onnxruntime.

        Args:
            threads: CPU threads of one run.

        Raises:
            UserError: the installed onnxruntime lacks the model's operators.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # Spinning keeps a core busy between two hops of a live stream.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # A recurrent state that fades out would become denormal, and slow.
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        try:
            opened = onnxruntime.InferenceSession(
                self.data, options, providers=["CPUExecutionProvider"]
            )
        # Its exceptions have no common base but Exception.
        except Exception as error:
            reason = str(error).strip().splitlines()[-1]
            raise UserError(
                f"{self.path}: onnxruntime {onnxruntime.__version__} cannot run opset "
                f"{self.opset} ({reason:.200}); upgrade it: pip install -U onnxruntime"
            ) from None
        return Session(self.path, opened)

    def check(self, kind: str) -> None:
        """Check what the file says of itself.

        Args:
            kind: ``student``, ``speaker_encoder`` or ``pvad``.

        Raises:
            UserError: an entry is missing, or its value makes no sense.
        """
        check_metadata(self.path, self.metadata, kind)


def check_threads(threads: int, name: str) -> None:
    """Check a number of CPU threads.

    Args:
        threads: given by the user.
        name: what to call it in the error, such as an option.

    Raises:
        UserError: it is not within 1 and `MOST_THREADS`.
    """
    if not (isinstance(threads, int) and 1 <= threads <= MOST_THREADS):
        raise UserError(f"{name} {threads!r:.60}; give 1 to {MOST_THREADS}")


def seal(model: bytes, metadata: Mapping[str, str]) -> bytes:
    """Append metadata and checksum to a serialized ``ModelProto``.

    Args:
        model: without metadata of its own.
        metadata: what to store; `PRODUCER` and `FORMAT_VERSION` are added.
    """
    entries = {
        "producer": PRODUCER,
        "format_version": str(FORMAT_VERSION),
        **metadata,
    }
    body = model + b"".join(_entry(key, value) for key, value in entries.items())
    return body + _entry(_CHECKSUM, hashlib.sha256(body).hexdigest())


def read_model_file(path: str | Path, kind: str) -> ModelFile:
    """Read and check a model file.

    Args:
        path: file that `espnet_pse_kd.export` wrote.
        kind: ``student``, ``speaker_encoder`` or ``pvad``.

    Raises:
        UserError: the file is missing, truncated or damaged, is no model of this
            package or one of another kind, or has a newer or an older format.
    """
    path = Path(path)
    try:
        data = read_limited(path, _LARGEST, "give a model that pse-kd export wrote")
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror or error}; give a model that pse-kd export wrote"
        ) from None
    try:
        metadata, opset = _header(data)
    except ValueError:
        raise UserError(
            f"{path}: truncated, or no ONNX file ({len(data)} bytes); copy it again"
        ) from None
    if metadata.get("producer") != PRODUCER:
        raise UserError(
            f"{path}: no model of {PRODUCER} (its metadata does not say so); "
            "write it with pse-kd export"
        )
    _check_version(path, metadata.get("format_version", ""))
    _check_checksum(path, data, metadata.pop(_CHECKSUM, ""))
    if metadata.get("kind") != kind:
        raise UserError(
            f"{path}: holds a model of kind {metadata.get('kind')!r:.60}; give one of "
            f"kind {kind!r}"
        )
    return ModelFile(path, data, metadata, opset)


def _check_version(path: Path, version: str) -> None:
    known = re.fullmatch(r"[1-9]\d{0,5}", version, re.ASCII)
    if not known or int(version) > FORMAT_VERSION:
        raise UserError(
            f"{path}: format version {version[:60] or 'missing'}, this package reads "
            f"up to {FORMAT_VERSION}; upgrade it, {how_to_install()}"
        )
    if int(version) < FORMAT_VERSION:
        raise UserError(
            f"{path}: format version {version} does not say with which weights of its "
            "speaker encoder it was made; export it again: pse-kd export"
        )


def _check_checksum(path: Path, data: bytes, stored: str) -> None:
    body = data[: len(data) - len(_entry(_CHECKSUM, stored))]
    if hashlib.sha256(body).hexdigest() != stored:
        raise UserError(f"{path}: damaged, its checksum is wrong; copy it again")


def _header(data: bytes) -> tuple[dict[str, str], int]:
    """Metadata and opset of a serialized ``ModelProto``; ValueError: it is none."""
    metadata, opset = {}, 0
    for number, value in _fields(memoryview(data)):
        if number == _METADATA_PROPS and isinstance(value, memoryview):
            pair = dict(_fields(value))
            metadata[_text(pair.get(1))] = _text(pair.get(2))
        elif number == _OPSET_IMPORT and isinstance(value, memoryview):
            entry = dict(_fields(value))
            if not entry.get(1):  # the default domain
                opset = int(entry.get(2, 0))
    if not opset:
        raise ValueError("no opset_import")
    return metadata, opset


def _text(value: memoryview | int | None) -> str:
    if not isinstance(value, memoryview):
        raise ValueError("expected a string")
    return bytes(value).decode()


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Fields of one message: (number, bytes or integer); ValueError: it is none."""
    at = count = 0
    while at < len(data):
        count += 1
        if count > _MOST_FIELDS:
            raise ValueError("too many fields")
        tag, at = _read_varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _read_varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _read_varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if number == 0 or at + size > len(data):
            raise ValueError("a field reaches beyond the end")
        yield number, data[at : at + size]
        at += size


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("a number reaches beyond the end")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _delimited(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _entry(key: str, value: str) -> bytes:
    """One serialized entry of ``metadata_props``."""
    pair = _delimited(1, key.encode()) + _delimited(2, value.encode())
    return _delimited(_METADATA_PROPS, pair)

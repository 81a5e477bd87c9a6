"""Files: whole or not at all; JSON, CSV, and digests of contents."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from espnet_pse_kd.errors import UserError


@contextmanager
def atomic_open(path: str | Path, mode: str = "w") -> Iterator[IO]:
    """Open a temporary sibling of ``path`` and rename it onto ``path`` on success.

    A reader, or a run that was killed, therefore never sees half a file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        encoding = None if "b" in mode else "utf-8"
        with open(temporary, mode, encoding=encoding) as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; an absent file is an empty one."""
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        raise UserError(
            f"{path}: not a JSON object; remove it and run the stage that writes it"
        ) from None


def fingerprint(files: Sequence[Path | str], options: Mapping[str, Any]) -> str:
    """Digest of table contents and options: equal digests mean equal inputs."""
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for path in files:
        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path}: no such file; run the stage that writes it first")
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def audio_state(paths: Sequence[str]) -> str:
    """Digest of the sizes and modification times of audio files."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        try:
            status = Path(path).stat()
        except OSError:
            raise UserError(
                f"{path}: no such audio file; run the stage that writes it again"
            ) from None
        digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows atomically; columns in order of first appearance, NaN as empty.

    A name that ends in ``.gz`` compresses; equal rows give equal files.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with _open_csv(path) as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _cell(value) for name, value in row.items()})


@contextmanager
def _open_csv(path: Path) -> Iterator[IO[str]]:
    if path.suffix != ".gz":
        with atomic_open(path) as file:
            yield file
        return
    # Neither the name nor the time of writing goes into the file.
    with (
        atomic_open(path, "wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8") as text,
    ):
        yield text


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.6g}"
    return "" if value is None else value


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read the rows that `write_csv` wrote, as strings.

    Raises:
        UserError: the file is compressed and damaged.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(
            f"{path}: not a whole gzip file ({error}); write it again"
        ) from None

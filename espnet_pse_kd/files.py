"""Files: whole or not at all; JSON, CSV, and digests of contents."""

from __future__ import annotations

import csv
import errno
import gzip
import hashlib
import io
import json
import os
import re
import stat
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from espnet_pse_kd.errors import UserError

try:
    import fcntl
except ModuleNotFoundError:  # Windows, which removes no file that is open
    fcntl = None  # type: ignore[assignment]


_TEMPORARY = re.compile(r"\..+\.\d+\.pse_kd\.tmp")
_LONGEST_NAME = 255  # bytes, of every usual file system
_YOUNGEST = 60.0  # seconds since the last write, until a temporary may be a leftover


class ResultExists(FileExistsError):
    """Another run has written the file while this one was making it."""


@contextmanager
def atomic_open(
    path: str | Path, mode: str = "w", replace: bool = True, private: bool = False
) -> Iterator[IO]:
    """Open a temporary sibling of ``path`` and rename it onto ``path`` on success.

    A reader, or a run that was killed, therefore never sees half a file. A link is
    followed: it stays, and what it leads to is replaced.

    Args:
        path: file to write.
        mode: of `open`.
        replace: replace a file that is there when the writing is done.
        private: nobody but the owner may read it, at any time.

    Raises:
        UserError: ``path`` is a folder, a device or a pipe, which are never replaced.
        ResultExists: there is one, and ``replace`` is false.
    """
    target = write_target(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(target)
    try:
        encoding = None if "b" in mode else "utf-8"
        opener = _open_private if private else None
        with open(temporary, mode, encoding=encoding, opener=opener) as file:
            _lock(file)
            yield file
        _move(temporary, target, replace)
    finally:
        temporary.unlink(missing_ok=True)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def temporary_path(path: Path) -> Path:
    """A sibling that only this process writes; its name fits where ``path``'s does."""
    end = f".{os.getpid()}.pse_kd.tmp"
    name = f".{path.name}{end}"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        whole = os.fsencode(path.name)
        end = f"~{zlib.crc32(whole):08x}{end}"
        kept = whole[: _LONGEST_NAME - len(end) - 1].decode(errors="ignore")
        name = f".{kept}{end}"
    return path.with_name(name)


def write_target(path: str | Path) -> Path:
    """The file that ``path`` leads to through links, which need not exist.

    Raises:
        UserError: it is a folder, a device or a pipe, which are never replaced, or a
            link that leads to itself.
    """
    path = Path(path)
    try:
        kind = os.stat(path).st_mode
    except OSError as error:  # nothing yet; if it cannot be made, writing tells why
        if error.errno == errno.ELOOP:
            raise UserError(
                f"{path}: a link that leads to itself; name a file to write"
            ) from None
        kind = stat.S_IFREG
    if stat.S_ISDIR(kind):
        raise UserError(f"{path}: a folder; name a file to write")
    if not stat.S_ISREG(kind):
        raise UserError(f"{path}: a device or pipe, not a file; name a file to write")
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _lock(file: IO) -> bool:
    """Mark a file as being written until it is closed; returns whether that worked."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another has it, or the file system has no locks
        return False
    return True


def _move(temporary: Path, target: Path, replace: bool) -> None:
    if replace:
        os.replace(temporary, target)
        return
    try:
        os.link(temporary, target)  # fails where something is, unlike a renaming
    except FileExistsError as error:
        raise ResultExists(error.errno, error.strerror, str(target)) from None
    except OSError:  # a file system without hard links
        _reserve(target)
        os.replace(temporary, target)


def _reserve(target: Path) -> None:
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError as error:
        raise ResultExists(error.errno, error.strerror, str(target)) from None


def sweep(folder: Path) -> None:
    """Remove the temporaries that runs which were killed have left in a folder.

    What is being written, by whichever process, is locked and stays.
    """
    if fcntl is None or not folder.is_dir():
        return
    for entry in os.scandir(folder):
        if _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            with suppress(OSError):  # another has removed it, or may only
                _remove_leftover(Path(entry.path))


def _remove_leftover(path: Path) -> None:
    if time.time() - path.stat().st_mtime < _YOUNGEST:
        return
    with open(path, "rb") as file:
        if _lock(file):
            path.unlink()


def refuse_special(path: Path, remedy: str) -> None:
    """Refuse devices and pipes, of which some never end and others never begin.

    Raises:
        UserError: it is one; ``remedy`` says what to do.
        OSError: it is missing, or nobody may look.
    """
    kind = os.stat(path).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise UserError(f"{path}: a pipe or device, not a file; {remedy}")


def read_limited(path: Path, largest: int, remedy: str) -> bytes:
    """Read a whole file that has no reason to be large.

    Args:
        path: of the file.
        largest: number of bytes that it may have.
        remedy: what to do if it is no such file.

    Raises:
        UserError: it is larger, or a device or pipe.
        OSError: it cannot be read.
    """
    refuse_special(path, remedy)
    with open(path, "rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise UserError(f"{path}: more than {largest / 1e6:g} MB; {remedy}")
    return data


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

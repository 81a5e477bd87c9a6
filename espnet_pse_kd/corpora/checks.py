"""Whether a corpus' files are readable 16 kHz mono audio, before long work starts."""

from __future__ import annotations

import functools
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from espnet_pse_kd.audio import SAMPLE_RATE, read_audio
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.utils.progress import parallel_map

BAD_SHARE = 0.01
"""Share of unreadable files that is skipped; more are refused."""
_NAMED = 20
Format = tuple[int, int]
"""Rate and channels."""
_WANTED: Format = (SAMPLE_RATE, 1)


def check_files(
    paths: Sequence[Path],
    nj: int = 1,
    full: bool = True,
    label: str = "checking audio",
    bad_share: float = 0.0,
) -> dict[Path, int]:
    """Check that every file is readable 16 kHz mono audio, headers first.

    Args:
        paths: files to check.
        nj: processes.
        full: also decode every file, to find truncated, NaN and all-zero ones.
        label: of the progress.
        bad_share: share of the files that may be unreadable; they are named.

    Returns:
        Number of samples of each readable file.

    Raises:
        UserError: a file is of another rate or has more channels, or more than
            ``bad_share`` are unreadable; with the reason and the remedy.
    """
    found, faults = _run(_header, paths, nj, f"{label}, headers")
    _one_format({path: form for path, (_, form) in found.items()})
    good = {path: samples for path, (samples, _) in found.items()}
    if full and len(faults) <= bad_share * len(paths):
        good, more = _run(_decode, list(good), nj, label)
        faults += more
    _tolerate(faults, len(paths), bad_share)
    return good


def _run[T](
    check: Callable[[Path], T], paths: Sequence[Path], nj: int, label: str
) -> tuple[dict[Path, T], list[str]]:
    """What ``check`` says of the good files, and what is wrong with the others."""
    run = functools.partial(_attempt, check)
    good: dict[Path, T] = {}
    faults: list[str] = []
    for path, (value, fault) in zip(paths, parallel_map(run, paths, nj, label)):
        if fault:
            faults.append(fault)
        else:
            good[path] = value  # type: ignore[assignment]
    return good, faults


def _attempt[T](check: Callable[[Path], T], path: Path) -> tuple[T | None, str]:
    try:
        return check(path), ""
    except UserError as error:
        return None, str(error)


def _header(path: Path) -> tuple[int, Format]:
    """Length and format, without decoding."""
    import soundfile

    try:
        info = soundfile.info(str(path))
    except soundfile.LibsndfileError:
        info = None
    form = (info.samplerate, info.channels) if info else _WANTED
    if info is None or (info.frames <= 0 and form == _WANTED):
        read_audio(path)  # says what is wrong
        raise UserError(f"{path}: not a readable audio file; replace or remove it")
    return info.frames, form


def _decode(path: Path) -> int:
    samples = read_audio(path)
    if not samples.any():
        raise UserError(f"{path}: every sample is zero; replace or remove it")
    return len(samples)


def _describe(form: Format) -> str:
    rate, channels = form
    return f"{rate} Hz" if rate != SAMPLE_RATE else f"{channels} channels"


def _one_format(formats: dict[Path, Format]) -> None:
    """Raise a UserError where a file is not 16 kHz mono: that is no accident."""
    others = [path for path, form in formats.items() if form != _WANTED]
    if others:
        counts = Counter(_describe(formats[path]) for path in others)
        kinds = ", ".join(f"{kind}: {n}" for kind, n in counts.most_common(4))
        raise UserError(
            f"{others[0]}: {_describe(formats[others[0]])}; {len(others)} of "
            f"{len(formats)} files are not {SAMPLE_RATE} Hz mono ({kinds}); convert "
            "them (local/prepare_speakers.sh does, or sox IN -r 16000 -c 1 OUT)"
        )


def _tolerate(faults: list[str], total: int, bad_share: float) -> None:
    """Name unreadable files; raise a UserError where they are too many."""
    if not faults:
        return
    if len(faults) > bad_share * total:
        more = f" ({len(faults)} of {total} files are unreadable)" * (len(faults) > 1)
        raise UserError(f"{faults[0]}{more}")
    for fault in faults[:_NAMED]:
        print(f"warning: skipped: {fault}", file=sys.stderr)
    print(
        f"warning: {len(faults)} of {total} files are unreadable and were skipped",
        file=sys.stderr,
    )

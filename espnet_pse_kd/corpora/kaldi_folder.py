"""Any Kaldi data folder as a source of voices: wav.scp, utt2spk and what else is there.

Read: ``wav.scp``, ``utt2spk`` (or ``spk2utt``), and where they exist ``segments``,
``spk2gender`` and ``text``. Recordings are files that soundfile reads; a command that
only decodes one (``flac -c -d -s FILE |``) stands for its file, any other is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.corpora.inventory import Utterance
from espnet_pse_kd.errors import UserError

_DECODER = re.compile(r"flac\s+(?:-\w+\s+)*(?P<file>\S+)\s*\|")
_PERTURBED = re.compile(r"^sp\d[\d.]*-")


def is_kaldi_folder(folder: Path) -> bool:
    """Whether a folder is a Kaldi data folder itself."""
    return (folder / "wav.scp").is_file()


def read_kaldi(folder: Path) -> list[Utterance]:
    """Utterances of a Kaldi folder, by its own ids, not yet checked.

    Raises:
        UserError: a table is missing or does not agree with the others, the
            utterances have no speaker labels, or a recording is a command.
    """
    wavs = {
        recording: _file(folder, place, entry)
        for place, recording, entry in _lines(folder / "wav.scp")
    }
    owner = _owners(folder)
    genders = _optional(folder / "spk2gender")
    texts = _optional(folder / "text")
    stretches = _stretches(folder, wavs, owner)
    return [
        Utterance(
            uid=utt,
            path=wavs[recording],
            speaker=speaker,
            gender=genders.get(speaker, "").lower()[:1],
            text=texts.get(utt, "").upper(),
            start=start,
            samples=samples,
        )
        for utt, speaker in owner.items()
        for recording, start, samples in [stretches[utt]]
    ]


def _lines(path: Path) -> Iterator[tuple[str, str, str]]:
    """Place, key and value of every line; Kaldi separates them by spaces or a tab."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a Kaldi data folder")
    seen = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        key, *rest = line.split(None, 1) or [""]
        place = f"{path}:{number}"
        if not key:
            raise UserError(f"{place}: empty line; run utils/fix_data_dir.sh")
        if key in seen:
            raise UserError(f"{place}: key {key!r} occurs twice; remove one")
        seen.add(key)
        yield place, key, rest[0].strip() if rest else ""


def _optional(path: Path) -> dict[str, str]:
    return {k: v for _, k, v in _lines(path)} if path.is_file() else {}


def _file(folder: Path, place: str, entry: str) -> Path:
    """The file of a line of wav.scp."""
    if decoder := _DECODER.fullmatch(entry):
        entry = decoder["file"]
    if not entry or entry.endswith("|"):
        raise UserError(
            f"{place}: {entry!r} is no plain path; write the audio once, for example "
            "by ESPnet's scripts/audio/format_wav_scp.sh, and give that folder"
        )
    path = Path(entry)
    inside = folder / path
    return inside if not path.exists() and inside.exists() else path


def _owners(folder: Path) -> dict[str, str]:
    """Speaker of every utterance."""
    owner = _optional(folder / "utt2spk") or {
        utt: speaker
        for speaker, utts in _optional(folder / "spk2utt").items()
        for utt in utts.split()
    }
    if not owner or all(utt == speaker for utt, speaker in owner.items()):
        raise UserError(
            f"{folder / 'utt2spk'}: no speaker labels"
            + (" (every utterance is its own speaker)" if owner else "")
            + "; a voice to keep needs other recordings of the same person: add "
            "utt2spk, or leave the corpus out"
        )
    for utt, speaker in owner.items():
        if not speaker:
            raise UserError(f"{folder / 'utt2spk'}: {utt} names no speaker; add it")
        if _PERTURBED.match(utt) or _PERTURBED.match(speaker):
            raise UserError(
                f"{folder / 'utt2spk'}: {utt} is a copy at another speed, which the "
                "simulation makes itself (--speeds); give the folder without them"
            )
    return owner


def _stretches(
    folder: Path, wavs: dict[str, Path], owner: dict[str, str]
) -> dict[str, tuple[str, int, int]]:
    """Recording, start and length of every utterance; length 0 for all of it."""
    result = {utt: (utt, 0, 0) for utt in owner}
    if (folder / "segments").is_file():
        for place, utt, line in _lines(folder / "segments"):
            result[utt] = _segment(place, line)
    for utt in owner:
        if result[utt][0] not in wavs:
            raise UserError(
                f"{folder / 'wav.scp'}: no recording of utterance {utt}; "
                "run utils/fix_data_dir.sh"
            )
    return result


def _segment(place: str, line: str) -> tuple[str, int, int]:
    try:
        recording, begin, end = line.split()
        start, stop = (round(float(at) * SAMPLE_RATE) for at in (begin, end))
    except ValueError:
        raise UserError(
            f"{place}: {line!r}; expected UTTERANCE RECORDING START END in seconds"
        ) from None
    if not 0 <= start < stop:
        raise UserError(f"{place}: {line!r} ends before it begins; correct it")
    return recording, start, stop - start

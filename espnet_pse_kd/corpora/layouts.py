"""What downloaded corpora look like on disk, and who says what in them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from espnet_pse_kd.corpora.inventory import Utterance, file_id
from espnet_pse_kd.corpora.librispeech import (
    corpus_root,
    find_subsets,
    read_genders,
    scan_subset,
)
from espnet_pse_kd.errors import UserError

AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3")


def _need(folder: Path, names: Iterable[str], layout: str, url: str) -> None:
    """Raise a UserError where ``folder`` lacks one of the names."""
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise UserError(
            f"{folder}: no {missing[0]} in it, which {layout} has; give the folder "
            f"that was unpacked from {url}"
        )


def read_librispeech(folder: Path, subsets: Sequence[str]) -> list[Utterance]:
    """LibriSpeech: ``SUBSET/SPEAKER/CHAPTER/*.flac``, ``SPEAKERS.TXT``."""
    root = corpus_root(folder)
    _need(root, ["SPEAKERS.TXT"], "LibriSpeech", "https://www.openslr.org/12")
    found = find_subsets(root, subsets or ["train*"])
    if not found:
        raise UserError(
            f"{root}: no folder matches {' '.join(subsets or ['train*'])}; correct "
            "--subsets"
        )
    genders = read_genders(root)
    return [u for subset in found for u in scan_subset(subset, genders)]


def read_speechocean762(folder: Path, subsets: Sequence[str]) -> list[Utterance]:
    """speechocean762: ``{train,test}/wav.scp`` and others, ``WAVE/SPEAKER*/*.WAV``."""
    from espnet_pse_kd.corpora.kaldi_folder import read_kaldi

    parts = list(subsets or ["train", "test"])
    url = "https://www.openslr.org/101"
    _need(folder, ["WAVE", *(f"{part}/wav.scp" for part in parts)], "it", url)
    return [
        # Its tables name files from the corpus' own folder on.
        replace(u, path=u.path if u.path.is_absolute() else folder / u.path)
        for part in parts
        for u in read_kaldi(folder / part)
    ]


def read_vctk(folder: Path, subsets: Sequence[str]) -> list[Utterance]:
    """VCTK 0.92: ``wav48_silence_trimmed/pNNN/*_micN.flac``, ``txt``, ``speaker-info``.

    Args:
        folder: of the corpus.
        subsets: ``mic1`` (the default) or ``mic2``.
    """
    (microphone,) = subsets or ["mic1"]
    audio = folder / "wav48_silence_trimmed"
    url = "https://datashare.ed.ac.uk/handle/10283/3443"
    _need(folder, [audio.name, "txt", "speaker-info.txt"], "VCTK 0.92", url)
    lines = (folder / "speaker-info.txt").read_text(encoding="utf-8").splitlines()[1:]
    genders = {f[0]: f[2].lower() for line in lines if len(f := line.split()) > 2}
    result = []
    for path in sorted(audio.glob(f"*/*_{microphone}.flac")):
        speaker, uid = path.parent.name, path.stem.removesuffix(f"_{microphone}")
        text = folder / "txt" / speaker / f"{uid}.txt"
        words = text.read_text(encoding="utf-8").strip() if text.is_file() else ""
        gender = genders.get(speaker, genders.get(speaker.removeprefix("p"), ""))
        result.append(Utterance(uid, path, speaker, gender, words.upper()))
    if not result:
        raise UserError(
            f"{audio}: no */*_{microphone}.flac; give --subsets mic1 or mic2"
        )
    return result


def read_common_voice(folder: Path, subsets: Sequence[str]) -> list[Utterance]:
    """Common Voice, one language: ``clips/*.mp3`` and ``validated.tsv``.

    Args:
        folder: of the language, such as ``cv-corpus-NN/en``.
        subsets: names of tables without ``.tsv``; ``validated`` by default.
    """
    tables = [f"{name}.tsv" for name in subsets or ["validated"]]
    url = "https://commonvoice.mozilla.org/datasets"
    _need(folder, ["clips", *tables], "a language of Common Voice", url)
    result: dict[str, Utterance] = {}
    for name in tables:
        with open(folder / name, encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            if not {"client_id", "path"} <= set(rows.fieldnames or ()):
                raise UserError(
                    f"{folder / name}: no columns client_id and path; fetch it again"
                )
            for row in rows:
                utterance = _clip(folder / "clips", row)
                result[utterance.uid] = utterance
    return list(result.values())


def _clip(clips: Path, row: dict[str, str]) -> Utterance:
    path = clips / row["path"]
    # A client's id is a hash of 128 digits: 16 tell a million apart.
    speaker = row["client_id"][:16]
    gender = (row.get("gender") or "")[:1].lower()
    text = (row.get("sentence") or "").strip().upper()
    known = gender if gender in ("f", "m") else ""
    return Utterance(f"{speaker}-{path.stem}", path, speaker, known, text)


def read_speaker_folders(folder: Path, subsets: Sequence[str]) -> list[Utterance]:
    """Any folder of ``SPEAKER/**/*.wav``, flac, ogg, opus or mp3.

    ``spk2gender`` beside the speakers' folders is used where it exists.

    Args:
        folder: of the speakers.
        subsets: name patterns of speakers' folders; all by default.
    """
    table = folder / "spk2gender"
    lines = table.read_text("utf-8").splitlines() if table.is_file() else []
    genders = dict(line.split()[:2] for line in lines if len(line.split()) > 1)
    result = []
    for speaker in find_subsets(folder, subsets or ["*"]):
        files = sorted(p for p in speaker.rglob("*") if p.suffix.lower() in AUDIO)
        gender = genders.get(speaker.name, "")
        result += [
            Utterance(file_id(p, folder), p, speaker.name, gender) for p in files
        ]
    if not result:
        raise UserError(
            f"{folder}: no SPEAKER/*.wav ({', '.join(AUDIO)}); give the folder that "
            "holds one folder per speaker"
        )
    return result


LAYOUTS: dict[str, Callable[[Path, Sequence[str]], list[Utterance]]] = {
    "librispeech": read_librispeech,
    "speechocean762": read_speechocean762,
    "vctk": read_vctk,
    "common_voice": read_common_voice,
    "folders": read_speaker_folders,
}

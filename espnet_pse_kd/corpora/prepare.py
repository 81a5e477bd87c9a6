"""Stage 1 for real speech: check, divide and write corpora, noises and rooms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.corpora.checks import BAD_SHARE, check_files
from espnet_pse_kd.corpora.inventory import (
    MIN_HALF_SECONDS,
    MIN_ROOMS_FOR_DEV,
    SPLITS,
    Utterance,
    file_id,
    group_by_speaker,
    recording_of,
    room_of,
    split_folder,
    write_noise,
    write_speech,
)
from espnet_pse_kd.corpora.merge import Corpus, SplitOptions, Splits, scan_corpora
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.kaldi import write_table

_OVERSHOOT = SAMPLE_RATE // 10
"""A segment may end so many samples after its recording; it is shortened then."""


@dataclass(frozen=True)
class CheckOptions:
    """How files are checked.

    Attributes:
        full: decode every file, not only its header.
        bad_share: share of the files that may be unreadable and is left out.
        nj: processes.
    """

    full: bool = True
    bad_share: float = BAD_SHARE
    nj: int = 1


def prepare_corpora(
    data_dir: Path,
    corpora: Sequence[Corpus],
    noise: Path,
    rir: Path | None = None,
    splits: SplitOptions | None = None,
    checks: CheckOptions | None = None,
    min_noise_seconds: float = 1.0,
    simulated_dev_rooms: bool = True,
    seed: int = 0,
) -> None:
    """Write the inventory of one corpus or several, without simulated rooms.

    Args:
        data_dir: folder of the splits.
        corpora: where voices come from; a later one may replace speakers of a former.
        noise: folder of noise recordings, with or without train/ and test/.
        rir: folder of measured mono responses, likewise.
        splits: who is in which split.
        checks: how files are checked.
        min_noise_seconds: shorter noise recordings are left out.
        simulated_dev_rooms: the development set gets simulated rooms as well; it then
            takes none of fewer than `MIN_ROOMS_FOR_DEV` measured rooms.
        seed: of the splits of noises and rooms.

    Raises:
        UserError: anything is missing, too much is not readable, or a file is not
            16 kHz mono audio; nothing has been written then.
    """
    checks = checks or CheckOptions()
    speech = scan_corpora(corpora, splits or SplitOptions(seed=seed))
    noises = split_folder(noise, recording_of, seed)
    min_rooms = MIN_ROOMS_FOR_DEV if simulated_dev_rooms else 0
    rooms = split_folder(rir, room_of, seed, min_rooms) if rir else {}
    lengths = _check(speech, [noises, rooms], checks)
    found = {split: _with_lengths(speech[split], lengths) for split in SPLITS}
    long = _long_noises(noise, noises, lengths, min_noise_seconds)
    for split in SPLITS:
        folder = data_dir / split
        write_speech(folder / "speech", found[split])
        write_noise(
            folder / "noise",
            {uid: path.resolve() for uid, path in long[split].items()},
            {uid: lengths[path] for uid, path in long[split].items()},
        )
        measured = folder / "rir" / "measured.scp"
        measured.unlink(missing_ok=True)
        good = [path for path in rooms.get(split, []) if path in lengths]
        if rir and good:
            write_table(measured, {file_id(p, rir): p.resolve() for p in good})
        print("\n".join(summary(split, found[split])), flush=True)


def _check(
    speech: Splits, others: Sequence[dict[str, list[Path]]], checks: CheckOptions
) -> dict[Path, int]:
    """Length of every good file of speech, and of noises and rooms."""
    paths = [u.path for split in SPLITS for u in speech[split]]
    paths += [p for files in others for split in SPLITS for p in files.get(split, [])]
    distinct = list(dict.fromkeys(paths))
    return check_files(distinct, checks.nj, checks.full, bad_share=checks.bad_share)


def _with_lengths(
    utterances: Sequence[Utterance], lengths: dict[Path, int]
) -> list[Utterance]:
    """The utterances of good files, with absolute paths and their lengths.

    Raises:
        UserError: a segment ends after its recording.
    """
    result = []
    for u in utterances:
        if u.path not in lengths:
            continue
        rest = lengths[u.path] - u.start
        if u.samples > rest + _OVERSHOOT or rest <= 0:
            raise UserError(
                f"{u.path}: segment {u.uid} ends at "
                f"{(u.start + u.samples) / SAMPLE_RATE:.2f} s, the recording at "
                f"{lengths[u.path] / SAMPLE_RATE:.2f} s; correct segments"
            )
        samples = min(u.samples or rest, rest)
        result.append(replace(u, path=u.path.resolve(), samples=samples))
    return result


def _long_noises(
    folder: Path,
    noises: dict[str, list[Path]],
    lengths: dict[Path, int],
    shortest: float,
) -> dict[str, dict[str, Path]]:
    """Noises of each split that are not too short, by their ids."""
    result = {}
    for split in SPLITS:
        result[split] = {
            file_id(path, folder): path
            for path in noises[split]
            if lengths.get(path, 0) >= shortest * SAMPLE_RATE
        }
        if not result[split]:
            raise UserError(
                f"{folder}: no {split} noise of {shortest} s or longer; "
                "add noises or lower --min_noise_seconds"
            )
    return result


def summary(split: str, utterances: Sequence[Utterance]) -> list[str]:
    """Lines on a split: speakers, minutes, and who can only interfere."""
    lines = []
    for corpus in dict.fromkeys(u.corpus for u in utterances):
        own = [u for u in utterances if u.corpus == corpus]
        speakers = group_by_speaker(own)
        minutes = sum(u.samples for u in own) / SAMPLE_RATE / 60
        single = sum(len(us) == 1 for us in speakers.values())
        weight = f", weight {own[0].weight:g}" if own[0].weight != 1 else ""
        lines.append(
            f"{split}: {corpus}: {len(speakers)} speakers ({single} of one recording), "
            f"{len(own)} utterances, {minutes:.1f} min{weight}"
        )
    enough = 2 * MIN_HALF_SECONDS * SAMPLE_RATE
    short = [
        speaker
        for speaker, us in group_by_speaker(utterances).items()
        if sum(u.samples for u in us) < enough
    ]
    if short:
        named = ", ".join(short[:5]) + (", ..." if len(short) > 5 else "")
        lines.append(
            f"{split}: {len(short)} speakers have less than {2 * MIN_HALF_SECONDS:g} s,"
            f" too little for target and enrolment; they only interfere: {named}"
        )
    return lines

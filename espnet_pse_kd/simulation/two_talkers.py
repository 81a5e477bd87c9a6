"""Two clean talkers as in Libri2Mix, of any split: for choices, where Libri2Mix tests.

As in Libri2Mix (Cosentino et al., arXiv 2005.11262), mode max: both levels are drawn
from -33 to -25 dBFS, so that the ratio of the talkers is triangular within 8 dB; the
sum is lowered where it would pass 0.9; the shorter talker is followed by silence. Each
mixture is two trials, one for each talker, who is enrolled by another recording of his.
Levels are of active speech, where LibriMix measures loudness.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE, write_audio
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import atomic_open
from espnet_pse_kd.kaldi import write_table
from espnet_pse_kd.simulation import mixing
from espnet_pse_kd.simulation.split import (
    Inventory,
    Piece,
    load_inventory,
    read_pieces,
)
from espnet_pse_kd.utils.progress import parallel_map

LEVELS = (-33.0, -25.0)
PEAK = 0.9
SHORTEST = 3.0
LONGEST = 16.0
"""Seconds of an utterance; LibriMix leaves shorter ones out."""
_DRAWS = 2000


class Mixture(NamedTuple):
    """Two utterances; pairs are of the first and the second talker.

    Attributes:
        sources: ids of the utterances.
        levels: dBFS of their active speech.
        enrolments: ids of other utterances of the same speakers.
    """

    sources: tuple[str, str]
    levels: tuple[float, float]
    enrolments: tuple[str, str]


COLUMNS = tuple(f"{name}_{k}" for name in Mixture._fields for k in (1, 2))


def _fitting(inventory: Inventory, speaker: str) -> list[str]:
    bounds = [SHORTEST * SAMPLE_RATE, LONGEST * SAMPLE_RATE]
    names = inventory.utts[speaker]
    return [u for u in names if bounds[0] <= inventory.samples[u] <= bounds[1]]


def draw_mixtures(inventory: Inventory, count: int, seed: int) -> list[Mixture]:
    """Draw mixtures that go round the speakers, every other one of a single sex.

    Raises:
        UserError: there are not two speakers with two utterances of fitting length.
    """
    utts = {speaker: _fitting(inventory, speaker) for speaker in inventory.speakers}
    people = [speaker for speaker, names in utts.items() if len(names) > 1]
    if len(people) < 2:
        raise UserError(
            f"{len(people)} speakers have two utterances of {SHORTEST:g} to "
            f"{LONGEST:g} s; add recordings"
        )
    result = []
    for index in range(count):
        rng = np.random.default_rng([seed, 41, index])
        turn, place = divmod(index, len(people))
        order = np.random.default_rng([seed, 42, turn]).permutation(len(people))
        first = people[order[place]]
        second = _partner(rng, inventory, people, first, same=index % 2 == 0)
        chosen = [rng.permutation(utts[s])[:2] for s in (first, second)]
        (one, own_1), (two, own_2) = ([str(u) for u in pair] for pair in chosen)
        levels = [round(float(level), 2) for level in rng.uniform(*LEVELS, size=2)]
        result.append(Mixture((one, two), (levels[0], levels[1]), (own_1, own_2)))
    return result


def _partner(
    rng: np.random.Generator,
    inventory: Inventory,
    people: Sequence[str],
    first: str,
    same: bool,
) -> str:
    """Somebody else, of the same or the other sex where there is one."""
    sexes = inventory.genders
    others = [name for name in people if name != first]
    wanted = [
        name
        for name in others
        if first in sexes and name in sexes and (sexes[name] == sexes[first]) == same
    ]
    return str(rng.choice(wanted or others))


def write_list(path: Path, mixtures: Sequence[Mixture]) -> None:
    """Write a list of mixtures, compressed: equal lists are equal files."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([*m.sources, *m.levels, *m.enrolments] for m in mixtures)
    with atomic_open(path, "wb") as file:
        file.write(gzip.compress(text.getvalue().encode(), mtime=0))


def read_list(path: Path) -> list[Mixture]:
    """Read a list of mixtures.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            rows = [[row[c] for c in COLUMNS] for row in csv.DictReader(file)]
        return [
            Mixture((a, b), (float(x), float(y)), (c, d)) for a, b, x, y, c, d in rows
        ]
    except (OSError, EOFError, KeyError, ValueError) as error:
        raise UserError(
            f"{path}: not the list of mixtures ({error}); restore it"
        ) from None


def mix(inventory: Inventory, mixture: Mixture) -> tuple[np.ndarray, np.ndarray]:
    """The two talkers of a mixture: float32 (samples,) each, as long as the longer."""
    parts = []
    for utt, level in zip(mixture.sources, mixture.levels):
        wave = read_pieces(inventory, [Piece(utt, 0, inventory.samples[utt])])
        gain = 10 ** (level / 20) / np.sqrt(mixing.active_power(wave))
        parts.append(np.float32(gain) * wave)
    length = max(map(len, parts))
    first, second = (np.pad(part, (0, length - len(part))) for part in parts)
    scale = np.float32(min(1.0, PEAK / max(float(np.abs(first + second).max()), 1e-9)))
    return first * scale, second * scale


class _Job(NamedTuple):
    split: Path
    mixture: Mixture
    folder: Path
    uids: tuple[str, str]


def _write(job: _Job) -> int:
    """Write both trials of a mixture; their length."""
    pair = mix(load_inventory(job.split), job.mixture)
    for k, uid in enumerate(job.uids):
        for kind, wave in zip(
            ("wav", "spk1", "interf1"), (pair[0] + pair[1], pair[k], pair[1 - k])
        ):
            write_audio(job.folder / kind / f"{uid}.wav", wave)
    return len(pair[0])


def write_set(
    split: Path,
    mixtures: Sequence[Mixture],
    dump_dir: Path,
    name: str,
    nj: int = 1,
) -> None:
    """Write the trials as a set of ``dump/raw``, and the enrolments beside it.

    Args:
        split: ``data/SPLIT`` of the speakers.
        mixtures: which.
        dump_dir: ``raw/NAME`` and ``enroll/...`` are written below it.
        name: of the set, ``SPLIT_SUFFIX``: its enrolments are in ``enroll/SPLIT``.
        nj: processes.

    Raises:
        UserError: an utterance is not in the inventory.
    """
    folder, enroll = dump_dir / "raw" / name, dump_dir / "enroll" / name.split("_")[0]
    inventory = load_inventory(split)
    for mixture in mixtures:
        for utt in (*mixture.sources, *mixture.enrolments):
            if utt not in inventory.wavs:
                raise UserError(
                    f"{split}: utterance {utt} of the list is not in it; run stage 1 "
                    "on the listed corpora"
                )
    jobs = [
        _Job(split, m, folder, (f"{name}_{2 * k:05d}", f"{name}_{2 * k + 1:05d}"))
        for k, m in enumerate(mixtures)
    ]
    lengths = list(parallel_map(_write, jobs, nj, f"mixing {name}"))
    rows = [row for job, n in zip(jobs, lengths) for row in _records(inventory, job, n)]
    _write_tables(folder.resolve(), rows)
    used = {utt for mixture in mixtures for utt in mixture.enrolments}
    clips = {utt: inventory.wavs[utt] for utt in used}
    own = {row["uid"]: clips[row["enroll_id"]] for row in rows}
    write_table(folder / "enroll_spk1.scp", own)
    write_table(enroll / "wav.scp", clips)
    write_table(enroll / "utt2spk", {row["enroll_id"]: row["target"] for row in rows})
    write_table(enroll / "utt2source", {utt: utt for utt in used})


def _records(inventory: Inventory, job: _Job, samples: int) -> list[dict]:
    """The objects that stand for both trials in ``trials.jsonl``."""
    owners = [_owner(inventory, utt) for utt in job.mixture.sources]
    sexes = [inventory.genders.get(owner) for owner in owners]
    ratio = job.mixture.levels[0] - job.mixture.levels[1]
    return [
        {
            "uid": uid,
            "scenario": "ts2",
            "samples": samples,
            "target": owners[k],
            "target_utt": job.mixture.sources[k],
            "interferer": owners[1 - k],
            "interferer_utt": job.mixture.sources[1 - k],
            "sir": round(ratio if k == 0 else -ratio, 2),
            "snr": None,
            "room": "dry",
            "noise": "",
            "enroll_id": job.mixture.enrolments[k],
            "same_gender": sexes[0] == sexes[1] if all(sexes) else None,
            "pauses": [],
            "text": inventory.texts.get(job.mixture.sources[k], ""),
        }
        for k, uid in enumerate(job.uids)
    ]


def _owner(inventory: Inventory, utt: str) -> str:
    row, _ = inventory.cast.find_utterance(utt)
    index = inventory.cast.index
    return index.speakers[int(np.searchsorted(index.first, row, side="right")) - 1]


def _write_tables(folder: Path, rows: Sequence[dict]) -> None:
    uids = {row["uid"]: row for row in rows}
    for kind, table in (("wav", "wav"), ("spk1", "spk1"), ("interf1", "interf1")):
        paths = {uid: folder / kind / f"{uid}.wav" for uid in uids}
        write_table(folder / f"{table}.scp", paths)
    for table, column in (
        ("utt2spk", "target"),
        ("utt2interf", "interferer"),
        ("utt2scenario", "scenario"),
        ("enroll_id", "enroll_id"),
        ("utt2num_samples", "samples"),
    ):
        write_table(folder / table, {uid: row[column] for uid, row in uids.items()})
    texts = {uid: row["text"] for uid, row in uids.items() if row["text"]}
    if texts:
        write_table(folder / "text_spk1", texts)
    with atomic_open(folder / "trials.jsonl") as file:
        for uid in sorted(uids):
            kept = {k: v for k, v in uids[uid].items() if k != "text"}
            file.write(json.dumps(kept) + "\n")

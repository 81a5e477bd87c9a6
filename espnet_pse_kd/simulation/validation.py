"""The check of simulated sets: keys, audio, lengths, labels, enrolment."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np

from espnet_pse_kd.audio import read_audio
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.kaldi import read_table, same_keys
from espnet_pse_kd.utils.progress import parallel_map

TABLES = (
    "wav.scp",
    "spk1.scp",
    "interf1.scp",
    "utt2spk",
    "utt2interf",
    "utt2scenario",
    "enroll_id",
    "enroll_spk1.scp",
    "utt2num_samples",
)
PRESENT = {
    "ts0": (True, False),
    "ts1": (True, False),
    "ts2": (True, True),
    "ts3": (False, True),
    "partial": (True, True),
}
"""Per scenario: does the target speak, does an interferer?"""
_ROUNDING = 2.0 / 32768


def _fail(folder: Path, uid: str, what: str) -> UserError:
    return UserError(
        f"{folder}: {uid}: {what}; remove the folder and run stage 2 again"
    )


def check_sample(row: dict[str, str], folder: Path) -> None:
    """Check one sample's audio against its labels.

    Args:
        row: the sample's values of `TABLES`, and its ``uid``.
        folder: named in errors.

    Raises:
        UserError: an unreadable file, unequal lengths, a signal that is silent where
            its scenario has one, or the reverse, or noise in a clean mixture.
    """
    uid, scenario = row["uid"], row["utt2scenario"]
    names = ("wav.scp", "spk1.scp", "interf1.scp")
    mixture, target, interferer = (read_audio(row[name]) for name in names)
    lengths = {len(mixture), len(target), len(interferer)}
    if lengths != {int(row["utt2num_samples"])}:
        found = ", ".join(map(str, sorted(lengths)))
        raise _fail(folder, uid, f"lengths {found} differ from utt2num_samples")
    present = bool(target.any()), bool(interferer.any())
    if present != PRESENT[scenario]:
        raise _fail(
            folder, uid, f"{scenario}, but target and interferer are present: {present}"
        )
    if scenario == "ts0" and np.abs(mixture - target).max() > _ROUNDING:
        raise _fail(folder, uid, "ts0, but the mixture is not the target")


def check_enrolment(folder: Path, tables: dict[str, dict[str, str]]) -> None:
    """Check that each enrolment clip is the enrolled speaker's, and from elsewhere.

    Raises:
        UserError: a clip of another speaker, or from the target's own source.
    """
    clips = {
        path: cid
        for cid, path in read_table(_enroll_folder(folder) / "wav.scp").items()
    }
    speakers = read_table(_enroll_folder(folder) / "utt2spk")
    sources = read_table(_enroll_folder(folder) / "utt2source")
    for line in (folder / "trials.jsonl").read_text(encoding="utf-8").splitlines():
        trial = json.loads(line)
        uid = trial["uid"]
        cid = clips.get(tables["enroll_spk1.scp"][uid])
        if cid is None or speakers[cid] != tables["utt2spk"][uid]:
            raise _fail(folder, uid, f"clip {cid} is not of the enrolled speaker")
        if sources[cid] == trial["target_source"]:
            raise _fail(folder, uid, f"clip {cid} was cut from the target's recording")


def _enroll_folder(folder: Path) -> Path:
    return folder.parents[1] / "enroll" / folder.name.split("_")[0]


def validate_set(folder: Path, nj: int = 1) -> int:
    """Check one folder ``dump/raw/<set>``; returns the number of samples.

    Raises:
        UserError: the first defect found.
    """
    keys = same_keys(folder, TABLES)
    tables = {name: read_table(folder / name) for name in TABLES}
    for uid in keys:
        scenario = tables["utt2scenario"][uid]
        if scenario not in PRESENT:
            raise _fail(folder, uid, f"unknown scenario {scenario!r}")
        interferers = tables["utt2interf"][uid].split(",")
        if tables["utt2spk"][uid] in interferers:
            raise _fail(folder, uid, "the interferer is the enrolled speaker")
        if (interferers == ["none"]) == PRESENT[scenario][1]:
            raise _fail(folder, uid, f"{scenario} with interferer {interferers[0]!r}")
    check_enrolment(folder, tables)
    check = partial(check_sample, folder=folder)
    rows = [{"uid": uid} | {name: tables[name][uid] for name in TABLES} for uid in keys]
    for _ in parallel_map(check, rows, nj, f"validating {folder.name}"):
        pass
    return len(keys)

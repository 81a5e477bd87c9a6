"""What stage 7 reads: test trials, reference rows, experiments."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from espnet_pse_kd import stft
from espnet_pse_kd.audio import SAMPLE_RATE, read_audio
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import read_json
from espnet_pse_kd.kaldi import read_table, same_keys
from espnet_pse_kd.metrics import oracle

REFERENCE_ROWS = ("noisy", "clean", "wiener", "root_wiener")
"""Rows of every table that need no system: input, target, and two oracle masks."""
_ORACLE_ROWS = ("wiener", "root_wiener")
_TABLES = ("wav.scp", "spk1.scp", "interf1.scp", "utt2scenario")
_EXPERIMENT = re.compile(
    r"pse_(?P<config>.+?)_"
    r"(?P<method>(?:b[0-3]|h|s|r_log)(?:_[\w.]+)?|c_\w+|best)_seed(?P<seed>\d+)"
)
_BLEND = re.compile(r"(?P<system>.+)\+(?P<dry>[\d.]+(e-\d+)?)x")


@dataclass(frozen=True)
class Trial:
    """One test sample.

    Attributes:
        uid: its key.
        scenario: ``ts0`` .. ``ts3``.
        mixture: path.
        target: path of the target image.
        interferer: path of the interferer image.
        facts: what the simulation drew, from ``trials.jsonl``.
    """

    uid: str
    scenario: str
    mixture: str
    target: str
    interferer: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Signals:
    """The signals of one trial, each float32 (N,)."""

    mixture: np.ndarray
    target: np.ndarray
    interferer: np.ndarray


@dataclass(frozen=True)
class System:
    """A row of the tables: a reference row, one trained experiment, or its dry blend.

    Attributes:
        name: what the tables call it.
        folder: its folder under ``exp/``; reference rows have one for their scores.
        seed: training seed, None for a reference row.
        dry: amplitude of the mixture that is added to the system's outputs.
    """

    name: str
    folder: Path
    seed: int | None = None
    dry: float = 0.0

    @property
    def is_reference(self) -> bool:
        return self.seed is None

    def outputs(self, test_set: str) -> Path:
        """Folder that holds a system's enhanced audio of a set."""
        return self.folder / f"enhanced_{test_set}"

    def scores(self, test_set: str) -> Path:
        """Folder that holds the scores of a set: that of the audio, or inside of it."""
        folder = self.outputs(test_set)
        return folder / f"dry_{self.dry:g}" if self.dry else folder


def load_trials(folder: Path) -> list[Trial]:
    """Read a simulated test set.

    Raises:
        UserError: a table is missing, or the tables have different keys.
    """
    keys = same_keys(folder, _TABLES)
    mixture, target, interferer, scenario = (read_table(folder / n) for n in _TABLES)
    facts = _read_facts(folder / "trials.jsonl")
    speaker = read_table(folder / "utt2spk") if (folder / "utt2spk").is_file() else {}
    return [
        Trial(
            uid,
            scenario[uid],
            mixture[uid],
            target[uid],
            interferer[uid],
            {"target": speaker.get(uid, uid), **facts.get(uid, {})},
        )
        for uid in keys
    ]


def _read_facts(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        raise UserError(f"{path}: no such file; run the simulation (stage 2) again")
    facts = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            fact = json.loads(line)
            facts[fact["uid"]] = fact
        except (json.JSONDecodeError, KeyError):
            raise UserError(
                f"{path}:{number}: not a JSON object with a uid; "
                "run the simulation (stage 2) again"
            ) from None
    return facts


def load_signals(trial: Trial) -> Signals:
    """Read the three signals of a trial.

    Raises:
        UserError: a file is unreadable, or the lengths differ.
    """
    mixture, target, interferer = (
        read_audio(p) for p in (trial.mixture, trial.target, trial.interferer)
    )
    for path, signal in ((trial.target, target), (trial.interferer, interferer)):
        if len(signal) != len(mixture):
            raise UserError(
                f"{path}: {len(signal)} samples, its mixture has {len(mixture)}; "
                "run the simulation (stage 2) again"
            )
    return Signals(mixture, target, interferer)


def estimate(row: str, signals: Signals) -> np.ndarray:
    """Output of a reference row: float32 (N,)."""
    if row == "noisy":
        return signals.mixture
    if row == "clean":
        return signals.target
    root = row == "root_wiener"
    return oracle.oracle_wiener(signals.target, signals.mixture, root)


def row_sources(system: System) -> list[str]:
    """Files of the code that makes a row's audio: of an oracle mask, otherwise none."""
    if not system.is_reference or system.name not in _ORACLE_ROWS:
        return []
    return [str(oracle.__file__), str(stft.__file__)]


def read_estimate(path: str, length: int) -> np.ndarray:
    """Read a system's output.

    Raises:
        UserError: the file is unreadable or does not have ``length`` samples.
    """
    samples = read_audio(path)
    if len(samples) != length:
        raise UserError(
            f"{path}: {len(samples)} samples, its mixture has {length}; "
            "run the enhancement (stage 6) again"
        )
    return samples


def enhanced(system: System, test_set: str, trials: Sequence[Trial]) -> dict[str, str]:
    """Paths of a system's outputs for all trials; empty for a reference row.

    Raises:
        UserError: outputs are missing.
    """
    if system.is_reference:
        return {}
    scp = system.outputs(test_set) / "spk1.scp"
    table = read_table(scp)
    missing = [trial.uid for trial in trials if trial.uid not in table]
    if missing:
        raise UserError(
            f"{scp}: lacks {len(missing)} trials, the first is {missing[0]!r}; "
            "run the enhancement (stage 6) again"
        )
    return table


def reference_systems(expdir: Path) -> list[System]:
    """The rows that need no training; their scores lie in ``exp/reference_rows``."""
    return [System(row, expdir / "reference_rows" / row) for row in REFERENCE_ROWS]


def find_systems(expdir: Path, test_sets: Sequence[str]) -> list[System]:
    """Experiments under ``expdir`` with enhanced audio of at least one test set.

    ``run.json`` in an experiment (keys ``method``, ``config``, ``seed``) names it;
    without one, its folder's name does, ``pse_<config>_<method>_seed<n>``. The method
    alone is the row's name while all experiments share one configuration.
    """
    found = []
    for folder in sorted(path for path in expdir.glob("pse_*") if path.is_dir()):
        if any((folder / f"enhanced_{s}" / "spk1.scp").is_file() for s in test_sets):
            found.append((folder, *_identity(folder)))
    several = len({config for _, config, _, _ in found}) > 1
    return [
        System(f"{config}_{method}" if several else method, folder, seed)
        for folder, config, method, seed in found
    ]


def _identity(folder: Path) -> tuple[str, str, int]:
    """Configuration, method and seed of an experiment."""
    run = read_json(folder / "run.json")
    match = _EXPERIMENT.fullmatch(folder.name)
    named = match.groupdict() if match else {}
    found = re.search(r"_seed(\d+)$", folder.name)
    seed = int(found[1]) if found else 0
    return (
        str(run.get("config", named.get("config", ""))),
        str(run.get("method", named.get("method", folder.name.removeprefix("pse_")))),
        int(run.get("seed", seed)),
    )


def named_systems(
    systems: Sequence[System], names: Sequence[str], option: str
) -> set[str]:
    """Names of the systems that are called one of ``names``, or whose method is.

    Raises:
        UserError: no system has a name; ``option`` is where it came from.
    """
    known = list(dict.fromkeys(system.name for system in systems))
    chosen: set[str] = set()
    for name in names:
        own = {one for one in known if one == name or one.endswith(f"_{name}")}
        if not own:
            raise UserError(
                f"{option}: no system {name!r}; choose from "
                f"{' '.join(known) or 'none, run stage 6 first'}"
            )
        chosen |= own
    return chosen


def dry_blends(
    systems: Sequence[System], amplitudes: Sequence[float], names: Sequence[str]
) -> list[System]:
    """Rows for the outputs of trained systems with a little of the mixture added.

    The simplest remedy for over-suppression, at inference time: a system is worth its
    training only where it does better than a blend of another.

    Args:
        systems: see `find_systems`.
        amplitudes: of the mixture, as a factor.
        names: of systems or methods to blend, all seeds; none for the last system.

    Raises:
        UserError: an amplitude is not above 0 and at most 1, or no system has a name.
    """
    for amplitude in amplitudes:
        if not 0 < amplitude <= 1:
            raise UserError(f"--dry_blends: {amplitude:g}; give above 0, at most 1")
    if not amplitudes:
        return []
    trained = [system for system in systems if not system.is_reference]
    chosen = named_systems(trained, names, "--dry_blend_methods")
    chosen |= {system.name for system in trained[-1:] if not names}
    return [
        dataclasses.replace(system, name=f"{system.name}+{amplitude:g}x", dry=amplitude)
        for amplitude in dict.fromkeys(amplitudes)
        for system in trained
        if system.name in chosen
    ]


def blend_parts(name: str) -> tuple[str, float]:
    """Name of the system of a row and the amplitude of its dry blend, 0 for none."""
    found = _BLEND.fullmatch(name)
    return (found["system"], float(found["dry"])) if found else (name, 0.0)


def duration(signals: Signals) -> float:
    """Length of a trial in seconds."""
    return len(signals.mixture) / SAMPLE_RATE

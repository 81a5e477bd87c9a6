"""Stage 7: score every row on every test set, resumable, parallel over trials."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import espnet_pse_kd.metrics
from espnet_pse_kd.metrics import frames
from espnet_pse_kd.metrics.leakage import leakage
from espnet_pse_kd.metrics.separation import level_change, si_sdr
from espnet_pse_kd.metrics.suppression import over_suppression
from espnet_pse_kd.progress import parallel_map
from espnet_pse_kd.recipe.trials import (
    System,
    Trial,
    audio_state,
    duration,
    enhanced,
    estimate,
    fingerprint,
    load_signals,
    load_trials,
    read_csv,
    read_estimate,
    read_json,
    write_csv,
)
from espnet_pse_kd.recipe.voices import add_similarity, vectors_file

FACTS = ("target", "interferer", "snr", "sir", "level", "same_gender", "room", "noise")
"""Facts of a trial that go into its row of scores."""


@dataclass(frozen=True)
class Job:
    """One trial of one row to score.

    Attributes:
        trial: the trial.
        row: name of a reference row, or None for a system.
        path: the system's output.
        dnsmos: whether this trial is in the DNSMOS subset.
        dry: amplitude of the mixture that is added to the output.
    """

    trial: Trial
    row: str | None
    path: str | None
    dnsmos: bool
    dry: float = 0.0


def score_signals(
    target: np.ndarray,
    interferer: np.ndarray,
    mixture: np.ndarray,
    output: np.ndarray,
) -> dict[str, float]:
    """All intrusive metrics of one trial but DNSMOS; NaN where one is undefined.

    Args:
        target: (N,) target image, exact zeros where absent.
        interferer: (N,) interferer image, exact zeros where absent.
        mixture: (N,)
        output: (N,) what the system made of the mixture.

    Returns:
        ``si_sdr, si_sdri, failure, wrong_speaker, level_change, stoi`` and the figures
        of `over_suppression` and `leakage`. ``failure`` and ``wrong_speaker`` are 0/1.
    """
    from espnet_pse_kd.metrics.quality import stoi

    spoken = bool(np.any(target))
    scores = dict.fromkeys(("si_sdr", "si_sdri", "failure", "wrong_speaker"), np.nan)
    if spoken:
        scores["si_sdr"] = si_sdr(target, output)
    if spoken and np.any(mixture != target):  # otherwise there is nothing to improve
        scores["si_sdri"] = scores["si_sdr"] - si_sdr(target, mixture)
        scores["failure"] = float(scores["si_sdri"] < 0)
    if spoken and np.any(interferer):
        scores["wrong_speaker"] = float(si_sdr(interferer, output) > scores["si_sdr"])
    scores["level_change"] = level_change(target, output, frames.active(target))
    scores["stoi"] = stoi(target, output)
    return {
        **scores,
        **over_suppression(target, output, mixture),
        **leakage(target, interferer, mixture, output),
    }


def _score_job(job: Job) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)  # the work is parallel over trials already
    signals = load_signals(job.trial)
    if job.row is None:
        output = read_estimate(str(job.path), len(signals.mixture))
        # Stage 6 takes the networks' latency out: both are on the same samples.
        output = output + np.float32(job.dry) * signals.mixture
    else:
        output = estimate(job.row, signals)
    scores = score_signals(signals.target, signals.interferer, signals.mixture, output)
    row = {
        "uid": job.trial.uid,
        "scenario": job.trial.scenario,
        "seconds": duration(signals),
        **{name: job.trial.facts.get(name) for name in FACTS},
        "measured_room": str(job.trial.facts.get("room", "")).startswith("measured:"),
        **scores,
    }
    if job.dnsmos and np.any(signals.target):
        from espnet_pse_kd.metrics.quality import dnsmos

        row.update({f"dnsmos_{k}": v for k, v in dnsmos(output).items()})
    return row


def dnsmos_subset(uids: Sequence[str], count: int, seed: int = 0) -> set[str]:
    """The ``count`` trials that DNSMOS scores: random, the same for every system.

    A larger ``count`` extends a smaller one's choice.
    """
    order = sorted(
        uids, key=lambda uid: hashlib.sha256(f"{seed} {uid}".encode()).hexdigest()
    )
    return set(order[:count])


def score_set(
    system: System,
    test_set: str,
    dumpdir: Path,
    dnsmos_trials: int = 12,
    nj: int = 1,
) -> bool:
    """Write ``scores.csv`` of one row on one test set, one line per trial.

    An unchanged finished file is kept. An interrupted run leaves the trials done so far
    in ``.scores.partial.jsonl``, from which the next one goes on.

    Args:
        system: the row.
        test_set: name of a folder of ``dumpdir``.
        dumpdir: ``dump/raw``.
        dnsmos_trials: number of trials that DNSMOS scores, 0 for none.
        nj: processes.

    Returns:
        Whether there was anything to do.

    Raises:
        UserError: inputs are missing, unreadable or do not fit together.
    """
    folder = system.scores(test_set)
    trials = load_trials(dumpdir / test_set)
    outputs = enhanced(system, test_set, trials)
    inputs = _inputs(trials, outputs, dumpdir / test_set, dnsmos_trials, system.dry)
    stamp, final = folder / "scores.json", folder / "scores.csv"
    if final.is_file() and read_json(stamp).get("inputs") == inputs:
        return False
    stamp.unlink(missing_ok=True)  # from here on the old scores no longer count
    subset = dnsmos_subset([trial.uid for trial in trials], dnsmos_trials)
    jobs = [
        Job(
            trial,
            system.name if system.is_reference else None,
            outputs.get(trial.uid),
            trial.uid in subset,
            system.dry,
        )
        for trial in trials
    ]
    label = f"scoring {system.name} {test_set}"
    partial = folder / ".scores.partial.jsonl"
    rows = _resume(partial, inputs, jobs, nj, label)
    seed = "" if system.seed is None else system.seed
    head = {"system": system.name, "seed": seed, "set": test_set}
    write_csv(final, [{**head, **row} for row in rows])
    stamp.write_text(json.dumps({"inputs": inputs}) + "\n", encoding="utf-8")
    partial.unlink()
    return True


def _inputs(
    trials: Sequence[Trial],
    outputs: Mapping[str, str],
    folder: Path,
    dnsmos: int,
    dry: float,
) -> str:
    simulated = [p for t in trials for p in (t.mixture, t.target, t.interferer)]
    options = {
        "dnsmos_trials": dnsmos,
        "metrics": _metrics_version(),
        "simulated": audio_state(simulated),
        "outputs": audio_state(list(outputs.values())),
        "dry": dry,
    }
    return fingerprint([folder / "trials.jsonl", folder / "utt2scenario"], options)


@functools.cache
def _metrics_version() -> str:
    """Digest of the code that decides the numbers, so that a mended metric rescores."""
    package = Path(espnet_pse_kd.metrics.__file__).parent
    sources = [*package.glob("*.py"), package.parent / "stft.py"]
    sources += [package.parent / "activity.py", Path(__file__)]
    return fingerprint(sorted(sources), {})


def _resume(
    partial: Path, inputs: str, jobs: Sequence[Job], nj: int, label: str
) -> list[dict[str, Any]]:
    """Score the jobs that ``partial`` does not hold; return all rows in order."""
    done = _read_partial(partial, inputs)
    left = [job for job in jobs if job.trial.uid not in done]
    partial.parent.mkdir(parents=True, exist_ok=True)
    with open(partial, "w", encoding="utf-8") as file:
        file.write(json.dumps({"inputs": inputs}) + "\n")
        for row in done.values():
            file.write(json.dumps(row) + "\n")
        file.flush()
        for row in parallel_map(_score_job, left, nj, label):
            done[row["uid"]] = row
            file.write(json.dumps(row) + "\n")
            file.flush()
    return [done[job.trial.uid] for job in jobs]


def _read_partial(partial: Path, inputs: str) -> dict[str, dict[str, Any]]:
    if not partial.is_file():
        return {}
    rows = list(_whole_lines(partial))
    if not rows or rows[0].get("inputs") != inputs:
        return {}
    return {row["uid"]: row for row in rows[1:]}


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:  # the line that the kill cut off
            return


def score_all(
    systems: Sequence[System],
    test_sets: Sequence[str],
    dumpdir: Path,
    output: Path,
    dnsmos_trials: int = 12,
    nj: int = 1,
) -> None:
    """Score every row on every set, then gather the scores in ``exp/scores.csv``.

    Where ``asr.csv`` (see `recipe.asr_scoring`) lies beside a ``scores.csv``, its word
    errors join the rows. How alike the voices are joins them as well: it is a fact of
    the speakers, not of an output, so that it needs no scoring. Dry blends get no
    DNSMOS, which takes longer than all other metrics together.

    Args:
        systems: the rows.
        test_sets: names of folders of ``dumpdir``.
        dumpdir: ``dump/raw``.
        output: the table to write.
        dnsmos_trials, nj: see `score_set`.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rows: list[dict[str, str]] = []
    for system in systems:
        for test_set in test_sets:
            folder = system.scores(test_set)
            outputs = system.outputs(test_set) / "spk1.scp"
            if not system.is_reference and not outputs.is_file():
                continue
            count = 0 if system.dry else dnsmos_trials
            score_set(system, test_set, dumpdir, count, nj)
            own = read_csv(folder / "scores.csv")
            add_similarity(own, vectors_file(dumpdir, test_set))
            rows += _join_words(own, folder / "asr.csv")
    write_csv(output, rows)


def _join_words(rows: list[dict[str, str]], words: Path) -> list[dict[str, str]]:
    if not words.is_file():
        return rows
    counts = {row.pop("uid"): row for row in read_csv(words)}
    return [{**row, **counts.get(row["uid"], {})} for row in rows]

"""Stage 7: score every row on every test set, resumable, parallel over trials."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import espnet_pse_kd.metrics
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import (
    atomic_open,
    audio_state,
    fingerprint,
    read_csv,
    read_json,
    write_csv,
)
from espnet_pse_kd.metrics import distillmos, quality
from espnet_pse_kd.report.asr_scoring import WORDS, words_fit
from espnet_pse_kd.report.score_jobs import Job, distillmos_job, dnsmos_job, score_job
from espnet_pse_kd.report.similarity import add_similarity, vectors_file
from espnet_pse_kd.report.trials import (
    System,
    Trial,
    enhanced,
    load_trials,
    named_systems,
    row_sources,
)
from espnet_pse_kd.utils.lock import exclusive
from espnet_pse_kd.utils.progress import parallel_map
from espnet_pse_kd.utils.share import WHOLE, Share


def dnsmos_subset(uids: Sequence[str], count: int, seed: int = 0) -> set[str]:
    """The ``count`` trials that both MOS rate: random, the same for every system.

    A larger ``count`` extends a smaller one's choice.
    """
    order = sorted(
        uids, key=lambda uid: hashlib.sha256(f"{seed} {uid}".encode()).hexdigest()
    )
    return set(order[:count])


def score_set(
    system: System, test_set: str, dumpdir: Path, nj: int = 1, share: Share = WHOLE
) -> bool:
    """Write ``scores.csv`` of one row on one test set, one line per trial.

    An unchanged finished file is kept. An interrupted run leaves the trials done so far
    in ``.scores.partial.jsonl``, from which the next one goes on.

    Args:
        system: the row.
        test_set: name of a folder of ``dumpdir``.
        dumpdir: ``dump/raw``.
        nj: processes.
        share: part of the trials; it leaves its rows for the whole to gather.

    Returns:
        Whether there was anything to do.

    Raises:
        UserError: inputs are missing, unreadable or do not fit together, or another
            process scores the row on this set.
    """
    return _measure(system, test_set, dumpdir, "scores", score_job, None, nj, share)


_MOS_JOBS = {"dnsmos": dnsmos_job, "distillmos": distillmos_job}
_MOS_CODE = {"dnsmos": quality, "distillmos": distillmos}
MOS = tuple(_MOS_JOBS)
"""Predicted quality, each in a file of its own."""


def score_mos(
    name: str,
    system: System,
    test_set: str,
    dumpdir: Path,
    count: int,
    nj: int = 1,
    share: Share = WHOLE,
) -> bool:
    """Write ``NAME.csv``: like `score_set`, of the ``count`` of `dnsmos_subset`.

    DNSMOS takes longer than all other metrics together and stands by itself, so that
    neither a larger ``count`` nor a change of those computes what is there again.

    Args:
        name: one of `MOS`.
        system, test_set, dumpdir, nj, share: see `score_set`.
        count: trials.

    Raises:
        UserError: as `score_set`; a package is not installed.
    """
    return _measure(system, test_set, dumpdir, name, _MOS_JOBS[name], count, nj, share)


def _measure(
    system: System,
    test_set: str,
    dumpdir: Path,
    name: str,
    function: Callable[[Job], dict[str, Any]],
    count: int | None,
    nj: int,
    share: Share,
) -> bool:
    folder = system.scores(test_set)
    trials = load_trials(dumpdir / test_set)
    outputs = enhanced(system, test_set, trials)
    version = _version(name, system)
    inputs = _inputs(trials, outputs, dumpdir / test_set, version, system.dry)
    wanted = trials if count is None else _dnsmos_trials(trials, count)
    row = system.name if system.is_reference else None
    jobs = [Job(trial, row, outputs.get(trial.uid), system.dry) for trial in wanted]
    stamp, final = folder / f"{name}.json", folder / f"{name}.csv"
    label = f"{name} of {system.name} {test_set}"
    if not share.is_whole:
        return _measure_share(folder, name, inputs, jobs, function, nj, share, label)
    with exclusive(folder, "scoring"):
        done: dict[str, dict[str, Any]] = {}
        if final.is_file() and read_json(stamp).get("inputs") == inputs:
            done = {row["uid"]: row for row in read_csv(final)}
            if all(trial.uid in done for trial in wanted):
                return False
        else:
            stamp.unlink(missing_ok=True)  # from here on the old scores do not count
        partial = folder / f".{name}.partial.jsonl"
        shares = sorted(folder.glob(f".{name}.partial.*of*.jsonl"))
        for path in shares:
            done = {**_read_partial(path, inputs), **done}
        done = _resume(partial, inputs, done, jobs, function, nj, label)
        seed = "" if system.seed is None else system.seed
        head = {"system": system.name, "seed": seed, "set": test_set}
        write_csv(final, [{**head, **done[t.uid]} for t in trials if t.uid in done])
        with atomic_open(stamp) as file:
            json.dump({"inputs": inputs}, file)
        for path in (partial, *shares):
            path.unlink(missing_ok=True)
    return True


def _measure_share(
    folder: Path,
    name: str,
    inputs: str,
    jobs: Sequence[Job],
    function: Callable[[Job], dict[str, Any]],
    nj: int,
    share: Share,
    label: str,
) -> bool:
    """Score a share of the jobs into a file of its own, unless all are scored."""
    if read_json(folder / f"{name}.json").get("inputs") == inputs:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{name}.partial.{share}.jsonl"
    _resume(partial, inputs, {}, share.of(jobs), function, nj, f"{label}, {share}")
    return True


def _dnsmos_trials(trials: Sequence[Trial], count: int) -> list[Trial]:
    """Those of the subset whose target speaks: silence has no quality to predict."""
    subset = dnsmos_subset([trial.uid for trial in trials], count)
    return [t for t in trials if t.uid in subset and t.scenario != "ts3"]


def _inputs(
    trials: Sequence[Trial],
    outputs: Mapping[str, str],
    folder: Path,
    version: str,
    dry: float,
) -> str:
    simulated = [p for t in trials for p in (t.mixture, t.target, t.interferer)]
    options = {
        "metrics": version,
        "simulated": audio_state(simulated),
        "outputs": audio_state(list(outputs.values())),
        "dry": dry,
    }
    return fingerprint([folder / "trials.jsonl", folder / "utt2scenario"], options)


def _version(name: str, system: System) -> str:
    """Digest of the code that decides the numbers, so that a mended metric rescores."""
    if name == "scores":  # the oracle rows' code is among that of the metrics
        return _metrics_version()
    return fingerprint([str(_MOS_CODE[name].__file__), *row_sources(system)], {})


@functools.cache
def _metrics_version() -> str:
    package = Path(espnet_pse_kd.metrics.__file__).parent
    sources = [*package.glob("*.py"), package.parent / "stft.py"]
    return fingerprint(sorted([*sources, package.parent / "activity.py"]), {})


def _resume(
    partial: Path,
    inputs: str,
    done: Mapping[str, dict[str, Any]],
    jobs: Sequence[Job],
    function: Callable[[Job], dict[str, Any]],
    nj: int,
    label: str,
) -> dict[str, dict[str, Any]]:
    """Score the jobs that neither ``done`` nor ``partial`` holds; rows by trial."""
    done = {**_read_partial(partial, inputs), **done}
    left = [job for job in jobs if job.trial.uid not in done]
    # In one move: what an earlier run has scored must outlive a kill at this moment.
    with atomic_open(partial) as file:
        for line in ({"inputs": inputs}, *done.values()):
            file.write(json.dumps(line) + "\n")
    with open(partial, "a", encoding="utf-8") as file:
        for row in parallel_map(function, left, nj, label):
            done[row["uid"]] = row
            file.write(json.dumps(row) + "\n")
            file.flush()
    return done


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
    dnsmos_methods: Sequence[str] = (),
    dnsmos_seeds: Sequence[int] = (),
    nj: int = 1,
    share: Share = WHOLE,
) -> None:
    """Score every row on every set, then gather the scores in ``exp/scores.csv``.

    DNSMOS, DistillMOS and, where ``asr.csv`` (see `report.asr_scoring`) lies beside a
    ``scores.csv``, word errors join the rows; those of other audio than the present
    are left out, with a warning. How alike the voices are joins them as well: a fact
    of the speakers, which needs no scoring. Dry blends get no MOS.

    Args:
        systems: the rows.
        test_sets: names of folders of ``dumpdir``.
        dumpdir: ``dump/raw``.
        output: the table to write.
        dnsmos_trials: trials per set that DNSMOS and DistillMOS rate, 0 for none.
        dnsmos_methods: systems or methods that they rate beside the reference rows;
            none for all.
        dnsmos_seeds: training seeds of those that they rate, none for all.
        nj: processes.
        share: part of the trials; nothing is gathered then.

    Raises:
        UserError: as `score_set`; no system has a name of ``dnsmos_methods`` or a seed
            of ``dnsmos_seeds``.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rated = _rated(systems, dnsmos_methods, dnsmos_seeds)
    if dnsmos_trials:
        quality.check()
        distillmos.check()
    rows: list[dict[str, str]] = []
    stale: list[Path] = []
    for system in systems:
        asked = MOS if system in rated and dnsmos_trials else ()
        for test_set in test_sets:
            outputs = system.outputs(test_set) / "spk1.scp"
            if not system.is_reference and not outputs.is_file():
                continue
            score_set(system, test_set, dumpdir, nj, share)
            for name in asked:
                score_mos(name, system, test_set, dumpdir, dnsmos_trials, nj, share)
            if share.is_whole:
                own, old = _gathered(system, test_set, dumpdir, asked, dnsmos_trials)
                rows += own
                stale += old
    if not share.is_whole:
        return
    write_csv(output, rows)
    if stale:
        _warn_of(stale)


def _warn_of(stale: Sequence[Path]) -> None:
    print(
        f"warning: {stale[0]} ({len(stale)} in all): word errors of other audio are "
        "left out; run python -m espnet_pse_kd.bin.asr_score",
        file=sys.stderr,
    )


def _rated(
    systems: Sequence[System], methods: Sequence[str], seeds: Sequence[int]
) -> list[System]:
    """Rows that get a MOS: the reference rows, and trained ones that are asked for."""
    trained = [s for s in systems if not s.is_reference and not s.dry]
    names = named_systems(trained, methods, "--dnsmos_methods")
    for seed in seeds:
        if all(system.seed != seed for system in trained):
            raise UserError(f"--dnsmos_seeds: no system of seed {seed}")
    asked = [
        system
        for system in trained
        if (system.name in names or not methods) and (system.seed in seeds or not seeds)
    ]
    return [system for system in systems if system.is_reference or system in asked]


def _gathered(
    system: System, test_set: str, dumpdir: Path, mos: Sequence[str], trials: int
) -> tuple[list[dict[str, str]], list[Path]]:
    """Scores of a row on a set with MOS, words and likeness; words of other audio."""
    folder = system.scores(test_set)
    own = read_csv(folder / "scores.csv")
    for row in own:  # a second configuration in the folder renames the first's
        row["system"] = system.name
    add_similarity(own, vectors_file(dumpdir, test_set))
    subset = dnsmos_subset([row["uid"] for row in own], trials)
    for name in mos:
        own = _join(own, folder / f"{name}.csv", subset)
    words = folder / WORDS
    if words.is_file() and not words_fit(system, test_set, dumpdir):
        return own, [words]
    return _join(own, words), []


def _join(
    rows: list[dict[str, str]], path: Path, only: Container[str] | None = None
) -> list[dict[str, str]]:
    """Rows with the columns of another file of the same trials, or of some of them."""
    if not path.is_file():
        return rows
    more = {row["uid"]: row for row in read_csv(path)}
    return [
        {**row, **(more.get(row["uid"], {}) if not only or row["uid"] in only else {})}
        for row in rows
    ]

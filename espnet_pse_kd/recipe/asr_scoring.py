"""Transcribe every row with one ASR and count its word errors: ``asr.csv`` per set."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from espnet_pse_kd.kaldi import atomic_open, read_table
from espnet_pse_kd.metrics.recognition import word_errors
from espnet_pse_kd.recipe.asr import Recognizer, transcribe
from espnet_pse_kd.recipe.trials import (
    System,
    Trial,
    audio_state,
    enhanced,
    estimate,
    fingerprint,
    load_signals,
    load_trials,
    read_estimate,
    read_json,
    write_csv,
)


def score_words(
    systems: Sequence[System],
    test_sets: Sequence[str],
    dumpdir: Path,
    model: str,
    recognizer: Callable[[], Recognizer],
) -> int:
    """Write ``asr.csv`` beside the scores of every row and set; keep what is current.

    A trial counts where its target is silent (TS3: every word heard is inserted) or has
    a transcript in ``text_spk1``.

    Args:
        systems: rows.
        test_sets: folders of ``dumpdir``.
        dumpdir: ``dump/raw``.
        model: what names the ASR, part of the fingerprint.
        recognizer: loads the ASR; called once, and only where there is work.

    Returns:
        Number of files written.
    """
    loaded: Recognizer | None = None
    written = 0
    for test_set in test_sets:
        trials = load_trials(dumpdir / test_set)
        texts = _references(dumpdir / test_set, trials)
        chosen = [trial for trial in trials if trial.uid in texts]
        for system in systems:
            folder = system.scores(test_set)
            if not system.is_reference and not (folder / "spk1.scp").is_file():
                continue
            outputs = enhanced(system, test_set, trials)
            inputs = _inputs(chosen, outputs, texts, model)
            stamp = folder / "asr.json"
            if read_json(stamp).get("inputs") == inputs:
                continue
            loaded = loaded or recognizer()
            label = f"transcribing {system.name} {test_set}"
            signals = _signals(system, chosen, outputs)
            heard = transcribe(loaded, signals, len(chosen), label)
            rows = [_row(trial.uid, texts[trial.uid], heard) for trial in chosen]
            stamp.unlink(missing_ok=True)
            write_csv(folder / "asr.csv", rows)
            with atomic_open(stamp) as file:
                json.dump({"inputs": inputs}, file)
            written += 1
    return written


def _references(folder: Path, trials: Sequence[Trial]) -> dict[str, str]:
    path = folder / "text_spk1"
    texts = read_table(path) if path.is_file() else {}
    silent = {trial.uid: "" for trial in trials if trial.scenario == "ts3"}
    known = {trial.uid for trial in trials}
    return {**{k: v for k, v in texts.items() if k in known}, **silent}


def _inputs(
    trials: Sequence[Trial], outputs: dict[str, str], texts: dict[str, str], model: str
) -> str:
    simulated = [p for t in trials for p in (t.mixture, t.target)]
    options = {
        "texts": texts,
        "model": model,
        "simulated": audio_state(simulated),
        "outputs": audio_state([outputs[t.uid] for t in trials] if outputs else []),
    }
    return fingerprint([], options)


def _signals(
    system: System, trials: Sequence[Trial], outputs: dict[str, str]
) -> Iterator[tuple[str, np.ndarray]]:
    for trial in trials:
        signals = load_signals(trial)
        if system.is_reference:
            yield trial.uid, estimate(system.name, signals)
        else:
            yield trial.uid, read_estimate(outputs[trial.uid], len(signals.mixture))


def _row(uid: str, reference: str, heard: dict[str, str]) -> dict[str, object]:
    counts = word_errors(reference, heard[uid])
    return {
        "uid": uid,
        "words": counts.words,
        "word_errors": counts.errors,
        "word_deletions": counts.deletions,
        "word_insertions": counts.insertions,
        "heard": heard[uid],
    }

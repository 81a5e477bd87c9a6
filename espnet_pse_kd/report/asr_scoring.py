"""Transcribe every row with one ASR and count its word errors: ``asr.csv`` per set."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from espnet_pse_kd.files import (
    atomic_open,
    audio_state,
    fingerprint,
    read_json,
    write_csv,
)
from espnet_pse_kd.kaldi import read_table
from espnet_pse_kd.metrics import recognition
from espnet_pse_kd.recipe.asr import Transcriber, transcribe
from espnet_pse_kd.report.trials import (
    System,
    Trial,
    enhanced,
    estimate,
    load_signals,
    load_trials,
    read_estimate,
    row_sources,
)

WORDS, STAMP = "asr.csv", "asr.json"


def score_words(
    systems: Sequence[System],
    test_sets: Sequence[str],
    dumpdir: Path,
    model: str,
    recognizer: Callable[[], Transcriber],
    title: str = "",
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
        title: what the tables call the ASR.

    Returns:
        Number of files written.
    """
    loaded: Transcriber | None = None
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
            state = _state(chosen, outputs, texts)
            wanted = {
                "inputs": fingerprint([], {**state, "model": model}),
                "audio": _audio(system, state),
            }
            stamp = folder / STAMP
            if _is_current(stamp, wanted):
                continue
            loaded = loaded or recognizer()
            label = f"transcribing {system.name} {test_set}"
            signals = _signals(system, chosen, outputs)
            heard = transcribe(loaded, signals, len(chosen), label)
            stamp.unlink(missing_ok=True)
            rows = [_row(one.uid, title, texts, heard, loaded) for one in chosen]
            write_csv(folder / WORDS, rows)
            _write(stamp, wanted)
            written += 1
    return written


def _row(
    uid: str,
    title: str,
    texts: Mapping[str, str],
    heard: Mapping[str, str],
    recognizer: Transcriber,
) -> dict[str, Any]:
    """What the ASR heard in one trial, and its word counts."""
    counts = word_counts(texts[uid], heard[uid], recognizer.normalize)
    return {"uid": uid, "asr": title, **counts, "heard": heard[uid]}


def words_fit(system: System, test_set: str, dumpdir: Path) -> bool:
    """Whether the ``asr.csv`` of a row and set is of its present audio, by any ASR.

    Args:
        system: the row.
        test_set: folder of ``dumpdir``.
        dumpdir: ``dump/raw``.

    Raises:
        UserError: audio or tables are missing.
    """
    trials = load_trials(dumpdir / test_set)
    texts = _references(dumpdir / test_set, trials)
    chosen = [trial for trial in trials if trial.uid in texts]
    state = _state(chosen, enhanced(system, test_set, trials), texts)
    found = read_json(system.scores(test_set) / STAMP).get("audio")
    return bool(found == _audio(system, state))


def _is_current(stamp: Path, wanted: Mapping[str, str]) -> bool:
    """Whether a finished ``asr.csv`` is of what is ``wanted``."""
    found = read_json(stamp)
    if found == {"inputs": wanted["inputs"]}:
        # From before the audio had an entry of its own: it need not be heard again.
        _write(stamp, wanted)
        return True
    return found == wanted


def _write(stamp: Path, content: Mapping[str, str]) -> None:
    with atomic_open(stamp) as file:
        json.dump(content, file)


def _references(folder: Path, trials: Sequence[Trial]) -> dict[str, str]:
    path = folder / "text_spk1"
    texts = read_table(path) if path.is_file() else {}
    silent = {trial.uid: "" for trial in trials if trial.scenario == "ts3"}
    known = {trial.uid for trial in trials}
    return {**{k: v for k, v in texts.items() if k in known}, **silent}


def _state(
    trials: Sequence[Trial], outputs: dict[str, str], texts: dict[str, str]
) -> dict[str, Any]:
    simulated = [p for t in trials for p in (t.mixture, t.target)]
    return {
        "texts": texts,
        "simulated": audio_state(simulated),
        "outputs": audio_state([outputs[t.uid] for t in trials] if outputs else []),
    }


def _audio(system: System, state: Mapping[str, Any]) -> str:
    """Digest of all but the ASR: what is heard, said, and how errors are counted."""
    return fingerprint([str(recognition.__file__), *row_sources(system)], state)


def _signals(
    system: System, trials: Sequence[Trial], outputs: dict[str, str]
) -> Iterator[tuple[str, np.ndarray]]:
    for trial in trials:
        signals = load_signals(trial)
        if system.is_reference:
            yield trial.uid, estimate(system.name, signals)
        else:
            yield trial.uid, read_estimate(outputs[trial.uid], len(signals.mixture))


def word_counts(
    reference: str, heard: str, normalizer: Callable[[str], str]
) -> dict[str, int]:
    """Columns of one transcript: ``words`` and its errors, see `WordErrors.counted`."""
    counts = recognition.word_errors(reference, heard, normalizer)
    return {
        "words": counts.words,
        "word_errors": counts.counted,
        "word_deletions": counts.deletions,
        "word_insertions": counts.insertions,
    }

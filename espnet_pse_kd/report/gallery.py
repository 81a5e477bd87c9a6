"""Trials that the report shows, chosen by their scores: what is heard and seen."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE, read_audio
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.kaldi import read_table
from espnet_pse_kd.report import figures
from espnet_pse_kd.report.columns import Column, main_columns, number
from espnet_pse_kd.report.figures import Judgement
from espnet_pse_kd.report.scores import Scores
from espnet_pse_kd.report.tables import DASH, Table
from espnet_pse_kd.report.trials import (
    Signals,
    System,
    Trial,
    enhanced,
    load_signals,
    load_trials,
    read_estimate,
)
from espnet_pse_kd.utils.yamls import read_yaml

Teacher = Callable[[str, Collection[str]], Mapping[str, np.ndarray]]
"""``teacher(test set, uids)`` gives posteriors (T, 3) at the loss frames, by uid."""

_PEAK = 0.7
"""Peak of the loudest clip of a trial: an MP3's own ripples must not clip."""


class Choice(NamedTuple):
    """A trial that the report shows, and why.

    Attributes:
        reason: "best", "median", ... of its scenario.
        uid: its key.
        test_set: folder of ``dump/raw``.
    """

    reason: str
    uid: str
    test_set: str


class Clip(NamedTuple):
    """One player.

    Attributes:
        name: what is heard.
        uri: the sound.
    """

    name: str
    uri: str


@dataclass(frozen=True)
class Example:
    """A chosen trial as the page shows it.

    Attributes:
        title: scenario and reasons.
        uid: its key.
        facts: what the simulation drew, in words.
        clips: the players.
        table: its scores, per system.
        picture: spectrograms and the gate.
    """

    title: str
    uid: str
    facts: str
    clips: Sequence[Clip]
    table: Table
    picture: str


def shown_system(systems: Sequence[System], wanted: str | None = None) -> System:
    """The system by whose scores trials are chosen: ``wanted``, or ``s``, or the last.

    Raises:
        UserError: there is no trained system, or none called ``wanted``.
    """
    trained = [system for system in systems if not system.is_reference]
    if not trained:
        raise UserError("--expdir: no enhanced test sets; run stage 6 first")
    if wanted is None:
        proposed = [s for s in trained if s.name == "s" or s.name.endswith("_s")]
        return (proposed or trained[-1:])[0]
    for system in trained:
        if system.name == wanted:
            return system
    names = " ".join(dict.fromkeys(system.name for system in trained))
    raise UserError(f"--system: no system {wanted!r}; choose from {names}")


def choose(scores: Scores, system: System) -> list[Choice]:
    """The trials to show: of TS2 by SI-SDRi, of TS3 by leakage reduction.

    Args:
        scores: of all systems.
        system: whose scores decide.
    """
    own = scores.select(system=system.name, seed=str(system.seed))
    mixed, silent = own.select(scenario="ts2"), own.select(scenario="ts3")
    wrong = mixed.select(wrong_speaker="1")
    return [
        *_ranked(mixed, "si_sdri", ("best", "median", "worst")),
        *_ranked(wrong, "si_sdr", ("worst with the wrong speaker",)),
        *_ranked(silent, "leakage_reduction", ("median", "worst")),
    ]


def _ranked(scores: Scores, key: str, reasons: Sequence[str]) -> list[Choice]:
    """Trials at the places that the reasons name, where the figure is defined."""
    values = scores.column(key)
    order = [int(i) for i in np.argsort(-values) if np.isfinite(values[i])]
    if not order:
        return []
    place = {"best": 0, "median": len(order) // 2}
    rows = [scores.rows[order[place.get(reason, -1)]] for reason in reasons]
    return [
        Choice(f"{row['scenario'].upper()} {reason}", row["uid"], row["set"])
        for row, reason in zip(rows, reasons)
    ]


def judge(system: System, signals: Signals, posterior: np.ndarray) -> Judgement:
    """Ask the gate of a system's training; the soft one where it has none.

    Args:
        system: a trained system.
        signals: of the trial.
        posterior: (T, 3) at the loss frames.
    """
    import torch

    from espnet_pse_kd.activity import activity, widen
    from espnet_pse_kd.gate import Gate

    gate = Gate(**read_yaml(system.folder / "config.yaml").get("gate_conf") or {})
    label = f"{gate.mode} gate of {system.name}"
    if not gate.needs_teacher:
        gate, label = Gate("soft"), "what a soft gate would do"
    target, interferer = (
        widen(activity(torch.from_numpy(x)))[None]
        for x in (signals.target, signals.interferer)
    )  # [1, T]
    weighed = gate(target, interferer, torch.from_numpy(posterior)[None])
    return Judgement(
        posterior,
        weighed.weights[0].numpy(),
        weighed.gated[0].numpy(),
        target[0].numpy(),
        interferer[0].numpy(),
        label,
    )


def sound(samples: np.ndarray, gain: float) -> str:
    """Data URI of an MP3 of (N,) samples at 16 kHz."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples * gain, SAMPLE_RATE, format="MP3")
    return figures.data_uri("audio/mpeg", buffer.getvalue())


def clips(signals: Mapping[str, np.ndarray], enrolment: np.ndarray) -> list[Clip]:
    """Players of a trial: one gain for all, so that what leaks is as loud as it was.

    The enrolment, another recording, has a gain of its own.
    """
    peak = max(float(np.abs(samples).max()) for samples in signals.values())
    own = float(np.abs(enrolment).max())
    return [
        Clip("enrolment", sound(enrolment, _PEAK / own)),
        *(Clip(name, sound(x, _PEAK / peak)) for name, x in signals.items()),
    ]


class Gallery:
    """Makes the examples of a page.

    Args:
        scores: of all systems.
        systems: trained ones whose outputs are heard, one seed of each.
        shown: the system whose output and gate are drawn.
        dumpdir: ``dump/raw``.
        teacher: gives the posteriors, if there is one.
    """

    def __init__(
        self,
        scores: Scores,
        systems: Sequence[System],
        shown: System,
        dumpdir: Path,
        teacher: Teacher | None,
    ) -> None:
        self.scores, self.shown, self.dumpdir = scores, shown, dumpdir
        self.systems = [s for s in systems if s.seed == shown.seed]
        self.teacher = teacher

    def examples(self, choices: Sequence[Choice]) -> list[Example]:
        """One per chosen trial, with all the reasons for which it was chosen."""
        reasons: dict[tuple[str, str], list[str]] = {}
        for choice in choices:
            reasons.setdefault((choice.test_set, choice.uid), []).append(choice.reason)
        posteriors = self._posteriors(reasons)
        trials = {
            name: {trial.uid: trial for trial in load_trials(self.dumpdir / name)}
            for name in dict.fromkeys(name for name, _ in reasons)
        }
        return [
            self._example(", ".join(why), name, trials[name][uid], posteriors.get(uid))
            for (name, uid), why in reasons.items()
        ]

    def _posteriors(self, keys: Collection[tuple[str, str]]) -> dict[str, np.ndarray]:
        if self.teacher is None:
            return {}
        uids: dict[str, list[str]] = {}
        for name, uid in keys:
            uids.setdefault(name, []).append(uid)
        heard = [self.teacher(name, some) for name, some in uids.items()]
        return {uid: posterior for part in heard for uid, posterior in part.items()}

    def _example(
        self, title: str, test_set: str, trial: Trial, posterior: np.ndarray | None
    ) -> Example:
        signals = load_signals(trial)
        outputs = self._outputs(test_set, trial, len(signals.mixture))
        parts = {
            name: part
            for name in ("mixture", "target", "interferer")
            if np.any(part := getattr(signals, name))
        }
        enrolment = read_table(self.dumpdir / test_set / "enroll_spk1.scp")[trial.uid]
        drawn = [n for n in ("b2", self.shown.name) if n in outputs]
        seen = {
            **{name: x for name, x in parts.items() if name != "interferer"},
            **{f"output of {n}": outputs[n] for n in dict.fromkeys(drawn)},
        }
        judgement = None
        if posterior is not None:
            judgement = judge(self.shown, signals, posterior)
        return Example(
            title,
            trial.uid,
            _in_words(trial.facts),
            clips({**parts, **outputs}, read_audio(enrolment)),
            self._table(trial.uid),
            figures.trial_figure(seen, judgement),
        )

    def _outputs(
        self, test_set: str, trial: Trial, length: int
    ) -> dict[str, np.ndarray]:
        return {
            system.name: read_estimate(
                enhanced(system, test_set, [trial])[trial.uid], length
            )
            for system in self.systems
        }

    def _table(self, uid: str) -> Table:
        """Figures of one trial, per system; the oracles' do not help to listen."""
        rows = self.scores.select(uid=uid).rows
        names = ["noisy", *(system.name for system in self.systems)]
        shown = [
            row
            for row in rows
            if row["system"] in names and row["seed"] in ("", str(self.shown.seed))
        ]
        columns = [
            column
            for column in main_columns(shown[0]["scenario"])
            if any(row.get(column.keys[0]) for row in shown)
        ]
        body = [
            [row["system"], *(_plain(row, column) for column in columns)]
            for row in shown
        ]
        titles = [column.title.removesuffix(", median") for column in columns]
        return Table("", ["system", *titles], body)


def _plain(row: Mapping[str, str], column: Column) -> str:
    text = row.get(column.keys[0])
    if not text:
        return DASH
    return number(column, min(float(text), column.cap))


def _in_words(facts: Mapping[str, Any]) -> str:
    """What the simulation drew for a trial."""
    parts = [f"target {facts['target']}"]
    if facts.get("interferer"):
        kinds = {True: ", same gender", False: ", other gender", None: ""}
        kind = kinds[facts.get("same_gender")]
        parts.append(f"interferer {facts['interferer']}{kind}")
    for name, unit in (("snr", "dB"), ("sir", "dB"), ("level", "dBFS")):
        if facts.get(name) is not None:
            parts.append(
                f"{name.upper() if unit == 'dB' else name} {facts[name]:.1f} {unit}"
            )
    parts += [f"{n} {facts[n]}" for n in ("noise", "room") if facts.get(n)]
    return " · ".join(parts)

"""The object that stands for a sample in ``trials.jsonl``."""

from __future__ import annotations

import math

from espnet_pse_kd.simulation.render import Rendered
from espnet_pse_kd.simulation.trial import Trial


def record(trial: Trial, rendered: Rendered) -> dict:
    """The object that stands for a sample in ``trials.jsonl``."""
    more = trial.more if trial.has_interferer else ()
    interferers = [trial.interferer] if trial.has_interferer else []
    interferers += [one.speaker for one in more]
    if trial.its == "swap_enrolment":
        interferers = [trial.speaker, *interferers]
    drawn = trial.has_target or bool(trial.its)
    interference = list(trial.interference) if trial.has_interferer else []
    interference += [piece for one in more for piece in one.pieces]
    if trial.member == "interferer":
        interferers = [trial.speaker]
    whole = trial.has_target and trial.scenario != "partial"
    return {
        "uid": trial.uid,
        "scenario": trial.scenario,
        "seed": trial.index,
        "samples": trial.samples,
        "target": trial.target,
        "target_source": trial.source,
        "target_utt": ",".join(p.utt for p in trial.speech) if drawn else "",
        "interferer": ",".join(interferers) or "none",
        "interferer_utt": ",".join(p.utt for p in interference),
        "noise": ",".join(n.noise for n in trial.noises) if trial.has_noise else "",
        "room": trial.room,
        "snr": trial.snr if trial.has_noise and math.isfinite(trial.snr) else None,
        "sir": trial.sir if trial.has_interferer and drawn else None,
        "level": rendered.level,
        "enroll_id": trial.enroll_id,
        "enroll_clip": trial.enroll_clip,
        "its": trial.its,
        "same_gender": trial.same_gender if trial.has_interferer else None,
        "pauses": rendered.pauses if trial.has_target else [],
        "text": trial.text if whole else "",
    }


def twin_record(trial: Trial, own: dict) -> dict:
    """The object of the twin of an ITS sample: an ordinary TS2 sample."""
    return own | {
        "scenario": "ts2",
        "target": trial.speaker,
        "interferer": trial.interferer,
        "enroll_id": trial.twin_enroll_id,
        "enroll_clip": trial.twin_enroll_clip,
        "its": "",
        "text": trial.text,
    }

"""Who speaks when, for people and as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import ResultExists, atomic_open
from espnet_pse_kd.runtime.meter import ABSENT_SHARE, Presence
from espnet_pse_kd.runtime.segments import Segment, segments
from espnet_pse_kd.sound.reading import PIPE


def report(name: str, heard: Sequence[Presence]) -> str:
    """The shares of the voices in a line; warns where the enrolled one seems absent."""
    own, others = shares(heard)
    if own < ABSENT_SHARE:
        print(
            f"warning: {name}: the enrolled voice seems absent; is it the right "
            "profile?",
            file=sys.stderr,
        )
    return (
        f"{name}: enrolled voice in {100 * own:.0f} % of the time, other voices "
        f"alone in {100 * others:.0f} %"
    )


def shares(heard: Sequence[Presence]) -> tuple[float, float]:
    """Shares of the time of the enrolled voice and of others alone, in all channels."""
    own = np.mean([one.own_share for one in heard])
    return float(own), float(np.mean([one.other_share for one in heard]))


def entry(
    source: Path, output: Path, seconds: float, voice: str, heard: Sequence[Presence]
) -> dict[str, Any]:
    """What the JSON report says of one recording.

    Args:
        source: recording.
        output: its result.
        seconds: length.
        voice: name of the enrolled voice.
        heard: in every channel that was enhanced by itself, or in all of them.
    """
    own, others = shares(heard)
    return {
        "source": str(source),
        "output": str(output),
        "seconds": round(seconds, 3),
        "voice": voice,
        "enrolled_share": round(own, 4),
        "others_share": round(others, 4),
        "segments": [
            _segment(one, voice) | ({"channel": number} if len(heard) > 1 else {})
            for number, presence in enumerate(heard)
            for one in segments(presence)
        ],
    }


def _segment(one: Segment, voice: str) -> dict[str, Any]:
    return {
        "start": round(one.start, 2),
        "end": round(one.end, 2),
        "speaker": voice if one.enrolled else None,
        "confidence": round(one.confidence, 3),
    }


def write_report(path: Path, entries: Sequence[dict[str, Any]], replace: bool) -> None:
    """Write the JSON report; ``-`` is standard output.

    Raises:
        UserError: the file exists and may not be replaced, or cannot be written.
    """
    text = json.dumps({"recordings": list(entries)}, indent=1)
    if path == PIPE:
        print(text)
        return
    try:
        with atomic_open(path, replace=replace) as file:
            file.write(text + "\n")
    except ResultExists:
        raise UserError(f"{path}: exists; give --force, or another --json") from None

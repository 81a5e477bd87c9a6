#!/usr/bin/env python3
"""SI-SDR improvement of the package's weights on VoiceFilter's published mixtures.

They are two clean voices each, without room and noise, from the demo page
https://google.github.io/speaker-id/publications/VoiceFilter. FOLDER holds, in files of
one kind (.wav or .flac), noisy/TARGET.INTERFERER, clean/TARGET and, in reference/, an
enrolment of each target's speaker, whose name begins with the same number.

python tools/score_voicefilter.py FOLDER
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from espnet_pse_kd import PersonalizedEnhancer
from espnet_pse_kd.audio import SAMPLE_RATE, read_audio
from espnet_pse_kd.errors import UserError, one_line
from espnet_pse_kd.metrics.separation import si_sdr

CALLS = {"causal": False, "look-ahead": True}


def improvements(
    enhancer: PersonalizedEnhancer, mixture: Path, folder: Path
) -> list[float]:
    """SI-SDRi in dB of one mixture, for each of `CALLS`.

    Raises:
        UserError: its clean file or an enrolment of its speaker is missing.
    """
    target = mixture.name.split(".")[0]
    clean = folder / "clean" / f"{target}{mixture.suffix}"
    speaker = target.split("-")[0]
    enrolments = sorted((folder / "reference").glob(f"{speaker}-*{mixture.suffix}"))
    if not clean.is_file() or not enrolments:
        raise UserError(
            f"{mixture}: {clean} or its speaker's file in {folder / 'reference'} is "
            "missing; add it"
        )
    noisy, wanted = read_audio(mixture), read_audio(clean)
    short = min(len(noisy), len(wanted))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some enrolments are shorter than 8 s
        profile = enhancer.enroll(read_audio(enrolments[0]), SAMPLE_RATE)
        outputs = [
            enhancer(noisy, SAMPLE_RATE, profile, look_ahead=ahead)
            for ahead in CALLS.values()
        ]
    before = si_sdr(wanted[:short], noisy[:short])
    return [si_sdr(wanted[:short], one[:short]) - before for one in outputs]


@one_line
def main(argv: Sequence[str] | None = None) -> None:
    """Print a line per mixture, then counts and medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="with noisy, clean, reference")
    folder = parser.parse_args(argv).folder
    mixtures = sorted((folder / "noisy").glob("*-*.*-*.*"))
    if not mixtures:
        raise UserError(f"{folder}: no noisy/TARGET.INTERFERER.*; give its folder")
    enhancer = PersonalizedEnhancer.from_pretrained()
    rows = np.array([improvements(enhancer, path, folder) for path in mixtures])
    for path, row in zip(mixtures, rows, strict=True):
        print(path.name, *(f"{name} {x:+.1f} dB" for name, x in zip(CALLS, row)))
    for name, column in zip(CALLS, rows.T, strict=True):
        print(
            f"{name}: SI-SDR improves in {(column > 0).sum()} of {len(column)}, "
            f"median {np.median(column):+.2f} dB"
        )


if __name__ == "__main__":
    main()

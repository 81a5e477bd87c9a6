"""Draw the enrolments of Libri2Mix's test set, and write the list of `libri2mix`.

usage: python -m benchmarks.quality.libri2mix_list --metadata FOLDER --librispeech DIR

FOLDER holds libri2mix_test-clean.csv and libri2mix_test-clean_info.csv of
https://github.com/JorisCos/LibriMix (MIT). An enrolment is any other utterance of the
speaker that lasts at least 3 s, as LibriMix's own do, and can be enrolled.
"""

from __future__ import annotations

import argparse
import csv
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.libri2mix import COLUMNS, LIST, SUBSET, subset_folder
from espnet_pse_kd.audio import SAMPLE_RATE, read_audio
from espnet_pse_kd.errors import UserError, one_line
from espnet_pse_kd.files import atomic_open
from espnet_pse_kd.runtime.enrolment_quality import LEAST_SPEECH, measure
from espnet_pse_kd.utils.progress import progress

SHORTEST = 3.0
NAME = f"libri2mix_{SUBSET}"


def draw(mixture: str, own: str, utterances: Sequence[str], seed: int) -> str:
    """One of the speaker's ``utterances`` but ``own``, which is in the mixture."""
    others = sorted(set(utterances) - {own})
    rng = np.random.default_rng([seed, zlib.crc32(f"{mixture} {own}".encode())])
    return others[rng.integers(len(others))]


def enrollable(folder: Path) -> dict[str, list[str]]:
    """Utterances by speaker that can be enrolled."""
    paths = sorted(folder.glob("*/*/*.flac"))
    found: dict[str, list[str]] = {}
    for path in progress(paths, len(paths), f"measuring {folder}"):
        wave = read_audio(path)
        if len(wave) < SHORTEST * SAMPLE_RATE or measure(wave).speech < LEAST_SPEECH:
            continue
        found.setdefault(path.stem.split("-")[0], []).append(path.stem)
    return found


def line(
    row: Mapping[str, str],
    sexes: Mapping[str, Sequence[str]],
    utterances: Mapping[str, Sequence[str]],
    seed: int,
) -> list[Any]:
    """Cells of `COLUMNS` for a row of LibriMix's table."""
    name = row["mixture_ID"]
    sources = name.split("_")
    gains = [f"{float(row[f'source_{k}_gain']):.8g}" for k in (1, 2)]
    enrolments = [draw(name, s, utterances[s.split("-")[0]], seed) for s in sources]
    return [*sources, *gains, *sexes[name], *enrolments]


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a table of LibriMix.

    Raises:
        UserError: it is missing.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}; give --metadata the folder metadata/Libri2Mix "
            "of https://github.com/JorisCos/LibriMix"
        ) from None


@one_line
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--metadata", type=Path, required=True)
    parser.add_argument("--librispeech", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=LIST)
    args = parser.parse_args(argv)
    rows = read_csv(args.metadata / f"{NAME}.csv")
    sexes = {
        row["mixture_ID"]: (row["speaker_1_sex"], row["speaker_2_sex"])
        for row in read_csv(args.metadata / f"{NAME}_info.csv")
    }
    utterances = enrollable(subset_folder(args.librispeech))
    with atomic_open(args.output) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(line(row, sexes, utterances, args.seed) for row in rows)


if __name__ == "__main__":
    main()

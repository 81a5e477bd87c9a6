"""Put a trained student and a personal VAD into the package.

Writes what `espnet_pse_kd.pretrained` looks for (student.onnx, pvad.onnx; the speaker
encoders are in the package), the packed student that it was made from (student.zip),
and model_card.md with the training's facts and its scores.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_pse_kd.errors import UserError, one_line
from espnet_pse_kd.files import atomic_open
from espnet_pse_kd.runtime.default_model import (
    CARD,
    PERSONAL_VAD,
    STUDENT,
    WEIGHTS,
)

ARCHIVE = "student.zip"
AS_A_USER = (
    "The first 100 trials of each test set (`tools/score_weights.py --trials 100`). "
    "*Causal*: as a stream, and with `--no-look-ahead`. *Look-ahead*: as `pse-kd "
    "enhance` does by default. *One clip*: enrolled from the trial's own clip of 3 to "
    "8 s. *Three clips* (`--clips 3`): that one and one or two more, none cut from the "
    "recording in the mixture, each with a room and noise of its own. The level is a "
    "mean."
)
LIMITS = {(STUDENT,): 12e6, (PERSONAL_VAD,): 4e6}
"""Bytes that files of the package may have together."""


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--student", type=Path, required=True, help="folder that stage 8 has packed")
    add("--pvad", type=Path, required=True, help="folder of the personal VAD")
    add("--results", type=Path, required=True, help="RESULTS.md of the run")
    add("--data", required=True, help="training data and their licences, one line")
    add("--note", default="", help="a line for the card, e.g. scores on other data")
    add("--output", type=Path, default=WEIGHTS, help="folder to write")
    return parser


def export_all(student: Path, pvad: Path, output: Path) -> None:
    """Write both networks and the student's zip to ``output``.

    Raises:
        UserError: something is not trained or not packed, or a file is too large to be
            shipped.
    """
    from espnet_pse_kd.export import export_bundle

    archive = student / f"{student.name}.zip"
    if not archive.is_file():
        raise UserError(f"{archive}: no such file; run stage 8 first")
    export_bundle(archive, output / STUDENT, None, pvad, output / PERSONAL_VAD)
    for names, limit in LIMITS.items():
        size = sum((output / name).stat().st_size for name in names)
        if size > limit:
            raise UserError(
                f"{output}: {', '.join(names)}: {size / 1e6:.1f} MB, at most "
                f"{limit / 1e6:g} MB are shipped; train a smaller network"
            )
    shutil.copyfile(archive, output / ARCHIVE)


def facts(student: Path) -> dict[str, Any]:
    """What the folder of a training says of it."""
    from espnet_pse_kd.files import read_json
    from espnet_pse_kd.report.experiments import effort_cells

    run = read_json(student / "run.json")
    steps, wall = effort_cells(student)
    return {
        "system": run.get("method"),
        "configuration": run.get("config"),
        "seed": run.get("seed"),
        "commit": run.get("commit"),
        "steps (own + trunk's)": steps,
        "wall time (own + trunk's)": wall,
    }


def network_scores(scores: Path, training: Mapping[str, Any]) -> list[str]:
    """Tables of the network alone, a heading and a table for every scenario.

    Raises:
        UserError: the student has no scores in a scenario.
    """
    from espnet_pse_kd.files import read_csv
    from espnet_pse_kd.report.columns import SCENARIOS
    from espnet_pse_kd.report.overview import card_table
    from espnet_pse_kd.report.scores import Scores

    every, system = Scores(read_csv(scores)), str(training["system"])
    lines: list[str] = []
    for scenario, meaning in SCENARIOS.items():
        chosen = every.select(scenario=scenario, seed=str(training["seed"]))
        row = chosen.select(system=system)
        if not row.rows:
            raise UserError(
                f"{scores}: no scores of {training['system']!r} in {scenario}; "
                "run stages 6 and 7"
            )
        title = f"{scenario.upper()}: {meaning}"
        systems = {
            "noisy": every.select(scenario=scenario, system="noisy"),
            system: row,
        }
        lines += card_table(title, scenario, systems).markdown()
    return lines


def card(student: Path, results: Path, data: str, note: str = "") -> str:
    """Text of ``model_card.md``; a ``note`` is below the scores.

    The scores as a user gets them are filled in by `tools.package_scores`.

    Raises:
        UserError: there is no table, or no scores of the student in ``exp/``.
    """
    from tools.findings_page import wrapped

    scores = student.parent / "scores.csv"
    if not results.is_file() or not scores.is_file():
        raise UserError(f"{results}, {scores}: both are needed; run stage 7 first")
    training = facts(student)
    command = next(
        (line for line in results.read_text().splitlines() if "command" in line), ""
    )
    lines = [
        "# Default weights of espnet_pse_kd",
        "",
        "Three networks. A causal one keeps one enrolled voice (16 kHz, one channel). "
        "A speaker encoder makes the vector of a voice. A personal VAD hears a "
        "recording first, for `pse-kd enhance`.",
        "",
        "## Data",
        "",
        data,
        "",
        "## Training",
        "",
        command,
        *(f"- {name}: {value}" for name, value in training.items()),
        "",
        "docs/method.md defines the system, docs/classes.md the configuration. "
        "Made by `python -m tools.make_weights` from that run.",
        "",
        "## Scores of the network alone",
        "",
        "Unseen speakers, noises and rooms; value [95 % interval over speakers].",
        "",
    ]
    lines += network_scores(scores, training)
    lines += ["## Scores as a user gets them", "", AS_A_USER, ""]
    lines += ["<!-- scores: card -->", "<!-- scores: end -->", ""]
    lines += [note, ""] if note else []
    lines += [
        "## Limits",
        "",
        "- English read speech; other languages, ages, whispering, singing and "
        "telephone bands were not tried.",
        "- Simulated and measured rooms with one interfering speaker at most; several "
        "interferers were not tried.",
        "- It may remove the enrolled voice (deletion above) or let another through "
        "(leakage above); do not rest anything on it that must not fail.",
        "- A speaker vector is personal data: keep profiles as you would keep a "
        "recording of the voice.",
        "",
        "Licence: Apache-2.0.",
    ]
    return "\n".join(wrapped(lines)) + "\n"


@one_line
def main(argv: list[str] | None = None) -> None:
    """Make the weights that ``argv`` names, default the command line's."""
    args = get_parser().parse_args(argv)
    text = card(args.student, args.results, args.data, args.note)
    export_all(args.student, args.pvad, args.output)
    with atomic_open(args.output / CARD) as file:
        file.write(text)
    for path in sorted(args.output.iterdir()):
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Render the scores of the package's weights into README, FAQ and model card.

python -m tools.package_scores --summarize

The scores of single trials are what `tools/score_weights.py --output` writes. Their
summary, `docs/measured/package/summary.json`, is the one file that every page quotes:
what is between `<!-- scores: NAME -->` and `<!-- scores: end -->` is replaced.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_pse_kd.errors import UserError, one_line
from espnet_pse_kd.files import atomic_open
from espnet_pse_kd.pretrained import STUDENT, WEIGHTS
from tools.score_weights import FIGURES, interval

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "docs/measured/package"
SUMMARY = KEPT / "summary.json"
ENROLMENTS = {"one clip": "clip1.jsonl.gz", "three clips": "clips3.jsonl.gz"}
"""Rows of the summary, and the scores of single trials that they are from. Where those
were not kept, the summary keeps its row."""
HEARD, LIVE = "three clips, look-ahead", "three clips, causal"
"""What `pse-kd enhance` and `pse-kd live` do, enrolled as users are advised."""

type Cells = Mapping[str, Sequence[float]]
"""Heading of a figure: value, and ends of its 95 % interval over speakers."""


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Scores of single trials.

    Raises:
        UserError: the file is missing.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; write it by tools/score_weights.py")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def summarize(known: Mapping[str, Cells], folder: Path = KEPT) -> dict[str, Any]:
    """Every figure of every way to enrol and call, and the weights that they are of.

    Args:
        known: figures of the last summary, for trials that were not kept.
        folder: of the kept trials.
    """
    figures = dict(known)
    for enrolment, name in ENROLMENTS.items():
        if figures and not (folder / name).exists():
            continue
        rows = read_rows(folder / name)
        for call in dict.fromkeys(row["call"] for row in rows):
            own = [row for row in rows if row["call"] == call]
            figures[f"{enrolment}, {call}"] = {
                figure.heading: [round(end, 4) for end in interval(own, figure)]
                for figure in FIGURES
            }
    weights = hashlib.sha256((WEIGHTS / STUDENT).read_bytes()).hexdigest()
    return {"student_sha256": weights, "figures": figures}


def dumped(summary: Mapping[str, Any]) -> str:
    """Text of ``summary.json``."""
    return json.dumps(summary, indent=1) + "\n"


def read_summary(path: Path = SUMMARY) -> dict[str, Cells]:
    """Figures of the summary, by enrolment and call."""
    return json.loads(path.read_text(encoding="utf-8"))["figures"]


def cell(cells: Cells, heading: str, unit: str = "") -> str:
    """Value [low, high] of a figure, rounded as in every table."""
    [digits] = [figure.digits for figure in FIGURES if figure.heading == heading]
    value, low, high = (f"{end:.{digits}f}" for end in cells[heading])
    return f"{value}{unit} [{low}, {high}]"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table whose columns are as wide in a terminal as on a page."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return [
        f"| {' | '.join(map(str.ljust, line, widths))} |".rstrip() for line in lines
    ]


def readme_table(figures: Mapping[str, Cells]) -> list[str]:
    """Three numbers for those who want to use it."""
    rows = [
        [words, *(cell(figures[call], heading, unit) for call in (HEARD, LIVE))]
        for words, heading, unit in (
            ("others are turned down by", "TS3 reduction dB, median", " dB"),
            ("your speech lost in noise", "TS1 deletion %", " %"),
            ("your speech lost in crosstalk", "TS2 deletion %", " %"),
        )
    ]
    return _markdown(["", "`enhance`", "`live`"], rows)


def faq_table(figures: Mapping[str, Cells]) -> list[str]:
    """What leaks and what is lost, with and without looking ahead."""
    headings = (
        "TS3 reduction dB, median",
        "TS1 deletion %",
        "TS2 deletion %",
        "TS2 wrong speaker %",
    )
    names = {"`enhance`, looks ahead": HEARD, "`live`, `--no-look-ahead`": LIVE}
    rows = [
        [name, *(cell(figures[call], heading) for heading in headings)]
        for name, call in names.items()
    ]
    return _markdown(["", *headings], rows)


def card_table(figures: Mapping[str, Cells]) -> list[str]:
    """Every figure."""
    headings = [figure.heading for figure in FIGURES]
    rows = [
        [name, *(cell(cells, heading) for heading in headings)]
        for name, cells in figures.items()
    ]
    return _markdown(["enrolment, call", *headings], rows)


BLOCKS: dict[str, tuple[Path, Callable[[Mapping[str, Cells]], list[str]]]] = {
    "readme": (ROOT / "README.md", readme_table),
    "faq": (ROOT / "docs/faq.md", faq_table),
    "card": (WEIGHTS / "model_card.md", card_table),
}
"""Names of the blocks: their page, and what is written there."""


def filled(text: str, name: str, lines: Sequence[str], page: str = "") -> str:
    """A page with the lines in its block.

    Raises:
        UserError: the page has not one such block.
    """
    begin, end = f"<!-- scores: {name} -->", "<!-- scores: end -->"
    block = re.compile(rf"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    body = "\n".join([begin, "", *lines, "", end])
    new, count = block.subn(lambda _: body, text)
    if count != 1:
        raise UserError(f"{page}: needs one block {begin} ... {end}; add it")
    return new


def render(figures: Mapping[str, Cells]) -> dict[Path, str]:
    """Text of every page with the figures in it."""
    pages = {}
    for name, (page, table) in BLOCKS.items():
        text = page.read_text(encoding="utf-8")
        pages[page] = filled(text, name, table(figures), str(page))
    return pages


@one_line
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--summarize",
        action="store_true",
        help="write summary.json anew from the kept scores of single trials",
    )
    args = parser.parse_args(argv)
    if args.summarize:
        summary = summarize(read_summary() if SUMMARY.exists() else {})
        with atomic_open(SUMMARY) as file:
            file.write(dumped(summary))
    for page, text in render(read_summary()).items():
        with atomic_open(page) as file:
            file.write(text)
        print(f"page: {page}")


if __name__ == "__main__":
    main()

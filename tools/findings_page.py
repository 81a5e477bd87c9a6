"""The measured part of ``docs/findings.md``, rendered from score files.

A page is written by hand but for what stands between two marker comments; the records
of finished trainings are kept beside the scores (`kept_scores`), so that a clone
renders the same page.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import atomic_open, fingerprint
from espnet_pse_kd.report import figures, results
from espnet_pse_kd.report.columns import SCENARIOS, Column, columns_called
from espnet_pse_kd.report.curves import operating_panels
from espnet_pse_kd.report.differences import ablation_tables, difference_tables
from espnet_pse_kd.report.overview import side_by_side
from espnet_pse_kd.report.scores import Scores
from espnet_pse_kd.report.strata import stratum_differences, stratum_tables
from espnet_pse_kd.report.tables import DASH, Table, section
from espnet_pse_kd.report.tradeoff import blend_table, line_table
from espnet_pse_kd.report.trials import blend_parts

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

ABLATION = "ablation"
"""Folders of kept ablations, beside the measurement, begin with this."""
HEADLINES = {
    "Headline: what is lost of the target, and what leaks": (
        ("TSOS %", ("ts0", "ts1", "ts2")),
        ("TSOS %, all frames", ("ts0",)),
        ("deletion %", ("ts0", "ts1", "ts2")),
        ("reduction dB, median", ("ts3",)),
        ("< 40 dB down, %", ("ts3",)),
    ),
    "Headline: quality": (
        ("SI-SDR dB, median", ("ts0",)),
        ("SI-SDRi dB, median", ("ts1", "ts2")),
        ("failure %", ("ts1", "ts2")),
        ("wrong speaker %", ("ts2",)),
        ("STOI %", ("ts1", "ts2")),
        ("DNSMOS OVRL", ("ts0", "ts1", "ts2")),
    ),
}
"""Titles of the headline tables; their columns, each with its scenarios."""
VARIED = (
    ("TSOS %", ("ts0",)),
    ("TSOS %, all frames", ("ts0",)),
    ("SI-SDR dB, median", ("ts0",)),
    ("SI-SDRi dB, median", ("ts1", "ts2")),
    ("deletion %", ("ts1", "ts2")),
    ("reduction dB, median", ("ts2", "ts3")),
    ("< 40 dB down, %", ("ts3",)),
)
"""Columns of the ablation."""
_CAPTION = (
    "Systems with the 95 % intervals of each alone; what two of them differ by is "
    "surer, see *Paired differences*. Dashed: dry blends with their amplitude."
)


def headline_tables(scores: Scores) -> list[Table]:
    """What every system gains, loses of the target, and lets through."""
    return [
        side_by_side(title, scores, _figures(scores, wanted))
        for title, wanted in HEADLINES.items()
    ]


def _figures(
    scores: Scores, wanted: Sequence[tuple[str, Sequence[str]]]
) -> list[tuple[str, Column]]:
    """Scenario and column of the wanted titles, as far as anything was measured."""
    return [
        (scenario, column)
        for title, scenarios in wanted
        for scenario in scenarios
        for column in columns_called([title], scenario)
        if scores.select(scenario=scenario).has(column)
    ]


def ablation_lines(
    name: str,
    rows: Sequence[dict[str, str]],
    records: Sequence[Table],
    parents: Mapping[str, str],
) -> list[str]:
    """Markdown of an ablation, on the development sets or on those of the test.

    Args:
        name: of its folder, for the heading.
        rows: see `join_scores`.
        records: see `collect_records` and `read_records`.
        parents: what each variation varies.

    Raises:
        UserError: there are no two systems to compare.
    """
    scores = Scores(rows)
    figures = _figures(scores, VARIED)
    tables = ablation_tables(scores, figures, parents)
    if not tables:
        raise UserError(
            "--ablation: holds no variation beside the system that it varies, and no "
            "other pair to compare; run stages 6 and 7 of --preset ablation for both"
        )
    title = name.replace("_", " ").capitalize()
    lines = section(title, [*tables, *records], level=3)
    sets = ", ".join(f"`{one}`" for one in scores.names("set"))
    note = (
        f"Sets {sets}: {len(scores.names('target'))} speakers, "
        f"{len(scores.names('uid'))} trials, digest `{_digest(rows)}`. Names: a system "
        "and what is changed in it, see `conf/ablation.yaml`."
    )
    return [*lines[:2], note, "", *lines[2:]]


def source_line(scores: Scores, rows: Sequence[Mapping[str, str]]) -> str:
    """Where the numbers come from: command, trials, seeds, digest of the scores."""
    trials = ", ".join(
        f"{scenario.upper()} {len(scores.select(scenario=scenario).names('uid'))}"
        for scenario in SCENARIOS
    )
    seeds = ", ".join(name for name in scores.names("seed") if name) or DASH
    digest = _digest(rows)
    return (
        "Rendered by `python -m tools.findings` from scores with digest "
        f"`{digest}`: {len(scores.names('target'))} target speakers, trials {trials}, "
        f"training seeds {seeds}. Commit, steps and time of every training stand "
        "under *Experiments*."
    )


def _digest(rows: Sequence[Mapping[str, str]]) -> str:
    """Equal for equal scores, whatever empty columns joining has added."""
    known = [sorted((k, v) for k, v in row.items() if v) for row in rows]
    return fingerprint([], {"rows": known})


def measured_lines(
    scores: Scores,
    records: Sequence[Table],
    source: str,
    picture: str,
    ablation: Sequence[str] = (),
) -> list[str]:
    """Markdown of the measured part.

    Args:
        scores: of all systems.
        records: see `collect_records`.
        source: see `source_line`.
        picture: address of the operating curve, seen from the page; "" for none.
        ablation: see `ablation_lines`.
    """
    lines = [source, "", *(f"- {note}" for note in results.NOTES[:5]), ""]
    lines += [line for one in headline_tables(scores) for line in one.markdown()]
    lines += section("Paired differences", difference_tables(scores), level=3)
    if picture:
        lines += ["### Operating curve", "", f"![Operating curve]({picture})", ""]
        lines += [_CAPTION, ""]
    for table in [*line_table(scores), *blend_table(scores)]:
        lines += table.markdown(level=4 if picture else 3)
    lines += ablation
    for scenario in ("ts2", "ts3"):
        chosen = scores.select(scenario=scenario)
        tables = stratum_tables(chosen, scenario)
        tables += stratum_differences(chosen, scenario)
        lines += section(f"Strata of {scenario.upper()}", tables, level=3)
    return lines + [line for table in records for line in table.markdown()]


def result_lines(scores: Scores, records: Sequence[Table], source: str) -> list[str]:
    """Markdown of every table of stage 7, from the same scores."""
    lines = [source, "", *(f"- {note}" for note in results.NOTES), ""]
    for table in records:
        lines += table.markdown(level=2)
    return lines + results.score_lines(scores)


def split_page(page: Path) -> tuple[str, str]:
    """The hand-written text before and after the measured part, markers included.

    Raises:
        UserError: the page is missing, or has not each marker once, in order.
    """
    if not page.is_file():
        raise UserError(f"{page}: no such file; write it with {BEGIN} and {END}")
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end or BEGIN in rest or END in before + after:
        raise UserError(
            f"{page}: needs one line {BEGIN} and below it one line {END}; add them"
        )
    return before + begin, end + after


def write_page(page: Path, parts: tuple[str, str], lines: Sequence[str]) -> None:
    """Write a page whose measured part is ``lines``, see `split_page`."""
    body = "\n".join(lines).strip()
    with atomic_open(page) as file:
        file.write(f"{parts[0]}\n\n{body}\n\n{parts[1]}")


def draw_curve(scores: Scores, path: Path) -> bool:
    """Write the operating curve, an SVG; returns whether there is one."""
    panels = operating_panels(scores)
    if not panels:
        return False
    trained = [blend_parts(row["system"])[0] for row in scores.rows if row["seed"]]
    colour = figures.colours(list(dict.fromkeys(trained)))
    path.parent.mkdir(parents=True, exist_ok=True)
    figures.save(figures.operating_figure(panels, colour), path)
    return True


def write_findings(
    rows: Sequence[dict[str, str]],
    records: Sequence[Table],
    output: Path,
    figure: Path,
    tables: Path | None = None,
    ablation: Sequence[str] = (),
) -> None:
    """Render the measured parts of the pages, and the figure.

    Args:
        rows: see `join_scores`.
        records: see `collect_records` and `read_records`.
        output: page of the findings.
        figure: SVG to write.
        tables: page that gets every table of stage 7, if any.
        ablation: see `ablation_lines`.

    Raises:
        UserError: a page is missing or lacks its markers.
    """
    pages = {page: split_page(page) for page in (output, tables) if page}
    scores = Scores(rows)
    source = source_line(scores, rows)
    drawn = draw_curve(scores, figure)
    picture = Path(os.path.relpath(figure, output.parent)).as_posix() if drawn else ""
    lines = measured_lines(scores, records, source, picture, ablation)
    write_page(output, pages[output], lines)
    if tables:
        write_page(tables, pages[tables], result_lines(scores, records, source))

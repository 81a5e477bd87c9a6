"""The measured part of ``docs/findings.md``, rendered from score files.

A page is written by hand but for what stands between two marker comments; the records
of finished trainings are kept beside the scores, so that a clone renders the same page.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.kaldi import atomic_open
from espnet_pse_kd.recipe import figures, results
from espnet_pse_kd.recipe.report import operating_panels
from espnet_pse_kd.recipe.results import Scores, Table
from espnet_pse_kd.recipe.trials import (
    blend_parts,
    find_systems,
    fingerprint,
    read_csv,
    write_csv,
)

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
SCORES, RECORDS = "scores.csv.gz", "records.json"
"""What a kept measurement consists of."""
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
_FACTS = ("scenario", "seconds", "target", "interferer")
_KEY = ("system", "seed", "set", "uid")


def join_scores(paths: Sequence[Path]) -> list[dict[str, str]]:
    """Rows of several score files of the same trials, for example one per seed.

    The rows of the input and of the oracles, which every file has, are taken once.

    Args:
        paths: files that stage 7 wrote, compressed (``.gz``) or not.

    Raises:
        UserError: a file is missing, damaged or no score file; two files have other
            trials under one key, or other scores of one training.
    """
    joined: dict[tuple[str, ...], dict[str, str]] = {}
    trials: dict[tuple[str, str], dict[str, str]] = {}
    for path in paths:
        for row in _read_scores(path):
            trial = trials.setdefault((row["set"], row["uid"]), row)
            if any(row[name] != trial[name] for name in _FACTS):
                raise UserError(
                    f"{path}: {row['uid']} is another trial than in the files before; "
                    "join scores of the same test sets only"
                )
            key = tuple(row[name] for name in _KEY)
            if row["seed"] and joined.get(key, row) != row:
                raise UserError(
                    f"{path}: system {row['system']}, seed {row['seed']} has other "
                    "scores than in the files before; give each training once, and "
                    "score systems of several configurations in one --expdir"
                )
            joined.setdefault(key, row)
    return list(joined.values())


def _read_scores(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise UserError(f"{path}: no such file; run stage 7 first")
    rows = read_csv(path)
    missing = {*_KEY, *_FACTS} - {*(rows[0] if rows else ())}
    if missing:
        raise UserError(
            f"{path}: not a score file, it lacks {min(missing)!r}; "
            "give the exp/scores.csv of stage 7"
        )
    return rows


def collect_records(
    expdirs: Sequence[Path],
    scores: Scores,
    scored: str = "scores.csv",
    kept: Sequence[Table] = (),
) -> list[Table]:
    """Tables of how the scored systems came about: experiments, then teachers.

    Args:
        expdirs: folders of stages 4 to 7, one or several.
        scores: of all systems.
        scored: what their file was called there; it decides which scores of the
            teachers belong to them.
        kept: such tables of before, for systems whose folders are gone; what the
            folders hold replaces the row of the same name.

    Raises:
        UserError: a folder is missing, or a system has no experiment in any of them.
    """
    for expdir in expdirs:
        if not expdir.is_dir():
            raise UserError(f"--exp {expdir}: no such folder; run stages 4 to 7 first")
    systems = [s for one in expdirs for s in find_systems(one, scores.names("set"))]
    known = {(system.name, str(system.seed)) for system in systems}
    known |= {
        (row[1], row[2])
        for table in kept
        if table.title == results.EXPERIMENTS
        for row in table.rows
    }
    for row in scores.rows:
        name, _ = blend_parts(row["system"])
        if row["seed"] and (name, row["seed"]) not in known:
            folders = ", ".join(map(str, expdirs))
            raise UserError(
                f"--exp {folders}: no experiment {name!r} of seed "
                f"{row['seed']}, which the scores have; name its folder as well"
            )
    teachers = results.teacher_table(*(one / scored for one in expdirs))
    scored_ones = [system for system in systems if system.name in scores.systems()]
    return _join_tables(kept, [*results.experiment_table(scored_ones), *teachers])


def _join_tables(kept: Sequence[Table], new: Sequence[Table]) -> list[Table]:
    """Tables of both; in those of one title, a new row replaces one of its name."""
    joined = {table.title: table for table in kept}
    for table in new:
        names = {row[0] for row in table.rows}
        old = joined[table.title].rows if table.title in joined else ()
        rows = [*(row for row in old if row[0] not in names), *table.rows]
        joined[table.title] = dataclasses.replace(table, rows=rows)
    return list(joined.values())


def read_records(path: Path) -> list[Table]:
    """Read what `keep` wrote.

    Raises:
        UserError: the file is missing or not such a file.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; give --exp, the folder of the experiments"
        )
    try:
        return [Table(**one) for one in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError):
        raise UserError(
            f"{path}: not a list of tables; write it again with --exp and --keep"
        ) from None


def keep(
    folder: Path, rows: Sequence[Mapping[str, str]], records: Sequence[Table]
) -> None:
    """Write scores and records, small enough for a repository, to ``folder``."""
    write_csv(folder / SCORES, rows)
    with atomic_open(folder / RECORDS) as file:
        tables = [dataclasses.asdict(table) for table in records]
        file.write(json.dumps(tables, indent=1) + "\n")


def headline_tables(scores: Scores) -> list[Table]:
    """What every system gains, loses of the target, and lets through."""
    return [
        results.side_by_side(title, scores, _figures(scores, wanted))
        for title, wanted in HEADLINES.items()
    ]


def _figures(
    scores: Scores, wanted: Sequence[tuple[str, Sequence[str]]]
) -> list[tuple[str, results.Column]]:
    """Scenario and column of the wanted titles, as far as anything was measured."""
    return [
        (scenario, column)
        for title, scenarios in wanted
        for scenario in scenarios
        for column in results.columns_called([title], scenario)
        if scores.select(scenario=scenario).has(column)
    ]


def join_teachers(records: Sequence[Table], expdirs: Sequence[Path]) -> list[Table]:
    """Add the personal VADs of stage 4 to the records; a known name is replaced.

    Args:
        records: see `collect_records`.
        expdirs: hold ``pvad_*/teacher_scores.json``.

    Raises:
        UserError: none of them does.
    """
    added = results.teacher_table(*(one / "scores.csv" for one in expdirs))
    if not added:
        folders = ", ".join(map(str, expdirs))
        raise UserError(
            f"--teachers {folders}: no pvad_*/teacher_scores.json; run stage 4 first"
        )
    return _join_tables(records, added)


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
    tables = results.ablation_tables(scores, figures, parents)
    if not tables:
        raise UserError(
            "--ablation: holds no variation beside the system that it varies, and no "
            "other pair to compare; run stages 6 and 7 of --preset ablation for both"
        )
    title = name.replace("_", " ").capitalize()
    lines = results.section(title, [*tables, *records], level=3)
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
        for scenario in results.SCENARIOS
    )
    seeds = ", ".join(name for name in scores.names("seed") if name) or results.DASH
    digest = _digest(rows)
    return (
        "Rendered by `python -m espnet_pse_kd.bin.findings` from scores with digest "
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
    lines += results.section(
        "Paired differences", results.difference_tables(scores), level=3
    )
    if picture:
        lines += ["### Operating curve", "", f"![Operating curve]({picture})", ""]
        lines += [_CAPTION, ""]
    for table in [*results.line_table(scores), *results.blend_table(scores)]:
        lines += table.markdown(level=4 if picture else 3)
    lines += ablation
    for scenario in ("ts2", "ts3"):
        chosen = scores.select(scenario=scenario)
        tables = results.stratum_tables(chosen, scenario)
        tables += results.stratum_differences(chosen, scenario)
        lines += results.section(f"Strata of {scenario.upper()}", tables, level=3)
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

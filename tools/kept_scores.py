"""Scores and records of finished experiments, kept beside the page of findings."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import atomic_open, read_csv, write_csv
from espnet_pse_kd.report.experiments import (
    EXPERIMENTS,
    experiment_table,
    teacher_table,
)
from espnet_pse_kd.report.scores import Scores
from espnet_pse_kd.report.tables import Table
from espnet_pse_kd.report.trials import blend_parts, find_systems

SCORES, RECORDS = "scores.csv.gz", "records.json"
"""What a kept measurement consists of."""

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
        if table.title == EXPERIMENTS
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
    teachers = teacher_table(*(one / scored for one in expdirs))
    scored_ones = [system for system in systems if system.name in scores.systems()]
    return _join_tables(kept, [*experiment_table(scored_ones), *teachers])


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


def join_teachers(records: Sequence[Table], expdirs: Sequence[Path]) -> list[Table]:
    """Add the personal VADs of stage 4 to the records; a known name is replaced.

    Args:
        records: see `collect_records`.
        expdirs: hold ``pvad_*/teacher_scores.json``.

    Raises:
        UserError: none of them does.
    """
    added = teacher_table(*(one / "scores.csv" for one in expdirs))
    if not added:
        folders = ", ".join(map(str, expdirs))
        raise UserError(
            f"--teachers {folders}: no pvad_*/teacher_scores.json; run stage 4 first"
        )
    return _join_tables(records, added)

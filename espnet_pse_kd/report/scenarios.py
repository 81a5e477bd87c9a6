"""All figures of every system in one scenario, a table per question."""

from __future__ import annotations

from espnet_pse_kd.metrics.intervals import ratio
from espnet_pse_kd.report.columns import TABLES, Column
from espnet_pse_kd.report.overview import system_row
from espnet_pse_kd.report.scores import Scores
from espnet_pse_kd.report.strata import stratum_tables
from espnet_pse_kd.report.tables import DASH, Table

WER_LIMIT = 0.15
"""An ASR with more errors than this on the clean row says nothing about the others."""

_WORDS = ("word_errors", "word_deletions", "word_insertions")


def word_note(scores: Scores, scenario: str) -> str | None:
    """Why the word error columns of a scenario show dashes; None where they count."""
    clean = scores.select(
        system="clean", scenario="ts2" if scenario == "ts3" else scenario
    )
    interval = clean.interval(Column("", ("word_errors", "words"), ratio))
    if not interval.trials:
        return "no ASR scores, or no transcripts"
    if not interval.value <= WER_LIMIT:
        return (
            f"the ASR has {interval.value:.0%} WER on the clean row, "
            f"above {WER_LIMIT:.0%}"
        )
    return None


def heard_by(scores: Scores) -> str:
    """Which ASR counted the words, and in how many trials."""
    heard = [row for row in scores.rows if row.get("words")]
    names = ", ".join(dict.fromkeys(row.get("asr") or DASH for row in heard))
    trials = len({row["uid"] for row in heard})
    return f"Words: ASR {names}, {trials} trials with a known text." if heard else ""


def scenario_tables(scores: Scores, scenario: str) -> list[Table]:
    """The tables of one scenario, one per question, with the columns that apply."""
    chosen = scores.select(scenario=scenario)
    if not chosen.rows:
        return []
    tables = question_tables(chosen, scenario, word_note(scores, scenario))
    return [*tables, *stratum_tables(chosen, scenario)]


def question_tables(scores: Scores, scenario: str, note: str | None) -> list[Table]:
    """One table per question; word errors are dashes where ``note`` says why."""
    tables = []
    for title, every in TABLES.items():
        columns = [column for column in every if scenario in column.scenarios]
        if not columns:
            continue
        lost = [c for c in columns if note and c.keys[0] in _WORDS]
        rows = [
            system_row(system, chosen, columns, lost)
            for system in scores.systems()
            if (chosen := scores.select(system=system)).rows
        ]
        header = ["system", "speakers", "trials", *(c.title for c in columns)]
        names = ", ".join(column.title for column in lost)
        why = f"{names}: dashes, because {note}." if lost else ""
        if not lost and any(column.keys[0] in _WORDS for column in columns):
            why = heard_by(scores)
        tables.append(Table(title, header, rows, why))
    return tables

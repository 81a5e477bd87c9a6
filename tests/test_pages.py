"""The pages say what is so: numbers, pictures, releases; and they read well."""

from __future__ import annotations

import ast
import importlib
import re
import runpy
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from docs_paths import DOCS, ROOT

import espnet_pse_kd
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import read_csv
from espnet_pse_kd.pretrained import WEIGHTS
from espnet_pse_kd.report.columns import SCENARIOS
from espnet_pse_kd.report.overview import card_table
from espnet_pse_kd.report.scores import Scores
from tools import check_prose, findings_page, kept_scores, package_scores

# --- prose ---------------------------------------------------------------------------


def test_no_page_has_a_fault_of_prose(capsys):
    inside = ["git", "-C", str(ROOT), "rev-parse", "--is-inside-work-tree"]
    if subprocess.run(inside, capture_output=True).returncode:
        pytest.skip("not a checkout")
    assert check_prose.main([]) == 0, capsys.readouterr().out


LONG = ("wide " * 21).rstrip()
MANY = "A " + "so " * 30 + "long sentence."


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (LONG, "104 columns"),
        (f"* item\n  {LONG}", "106 columns"),
        (MANY.replace("so so so", "so\nso so"), "33 words"),
        ("It stands below.", "'stands': write is"),
        ("| a |\n|---|\n| b |\n\nNobody told us.", "'told'"),
    ],
)
def test_a_fault_is_found(text, fault):
    assert any(fault in found for _, found in check_prose.faults(text))


@pytest.mark.parametrize(
    "text",
    [
        f"```\n{LONG}\n```",
        f"Text\n\n    {LONG}",
        f"| a |\n|---|\n| {LONG} told |",
        f"[a page](https://example.org/{'x' * 90}) and `told`",
        "It stands for target speech.",
        "A " + "so " * 20 + "long one. " + "Another " + "so " * 20 + "long one.",
    ],
)
def test_what_is_no_prose_has_no_fault(text):
    assert list(check_prose.faults(text.replace("so so", "so\nso"))) == []


def test_findings_are_read_in_ten_minutes():
    assert len((DOCS / "findings.md").read_text(encoding="utf-8").splitlines()) <= 150


# --- releases ------------------------------------------------------------------------


def test_release_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", changes, re.MULTILINE)
    assert headings[0] == "Unreleased"
    released = f"{citation['version']} - {citation['date-released']}"
    assert headings[1] == released
    assert espnet_pse_kd.__version__ == citation["version"]


# --- numbers -------------------------------------------------------------------------


def test_pages_quote_the_summary():
    for page, text in package_scores.render(package_scores.read_summary()).items():
        assert page.read_text(encoding="utf-8") == text, page


def test_summary_is_of_the_kept_scores_and_the_weights():
    kept = package_scores.SUMMARY.read_text(encoding="utf-8")
    anew = package_scores.summarize(package_scores.read_summary())
    assert kept == package_scores.dumped(anew)


def test_card_s_tables_are_those_of_the_kept_scores():
    text = (WEIGHTS / "model_card.md").read_text(encoding="utf-8")
    scores = Scores(read_csv(DOCS / "measured/package/scores.csv.gz"))
    [system] = re.findall(r"^- system: (\w+)$", text, re.MULTILINE)
    for scenario, meaning in SCENARIOS.items():
        chosen = scores.select(scenario=scenario)
        systems = {name: chosen.select(system=name) for name in ("noisy", system)}
        title = f"{scenario.upper()}: {meaning}"
        table = "\n".join(card_table(title, scenario, systems).markdown())
        assert table.strip() in text


def test_a_page_without_its_block_is_named():
    with pytest.raises(UserError, match="x.md: needs one block <!-- scores: faq -->"):
        package_scores.filled("no block", "faq", [], "x.md")
    page = "a\n<!-- scores: faq -->\nold\n<!-- scores: end -->\nb\n"
    filled = package_scores.filled(page, "faq", ["| 1 |"])
    assert "old" not in filled and "\n\n| 1 |\n\n" in filled
    assert filled.startswith("a\n") and filled.endswith("\nb\n")


def main_rows(page: Path) -> list[list[str]]:
    """Cells of the table between the markers of a page, its heading first."""
    before, after = findings_page.split_page(page)
    text = page.read_text(encoding="utf-8")[len(before) : -len(after)]
    rows = [line.strip("|").split("|") for line in text.splitlines() if "|" in line]
    return [rows[0], *rows[2:]]


def test_findings_and_results_show_the_same_eight_rows():
    heading, *rows = main_rows(DOCS / "findings.md")
    assert main_rows(ROOT / "egs2_recipe/RESULTS.md") == [heading, *rows]
    assert [row[0] for row in rows] == list(findings_page.MAIN_SYSTEMS)
    every = (DOCS / "measured/results.md").read_text(encoding="utf-8").splitlines()
    for name, _, *cells in rows:
        known = {
            cell
            for line in every
            if line.startswith(f"|{name}|")
            for cell in line.split("|")
        }
        assert set(cells) <= known, name


def test_pages_of_findings_are_from_the_kept_scores():
    rows = kept_scores.join_scores([DOCS / "measured" / kept_scores.SCORES])
    source = findings_page.wrapped([findings_page.source_line(Scores(rows), rows)])
    for page in ("findings.md", "measured/results.md", "measured/strata.md"):
        assert "\n".join(source) in (DOCS / page).read_text(encoding="utf-8")


# --- architecture.md -----------------------------------------------------------------

PACKAGE = ROOT / "espnet_pse_kd"


def imported_folders(path: Path) -> set[str]:
    """Folders of the package that a file imports from when it is imported itself."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names if name.startswith("espnet_pse_kd.")]
    return {part[1] for part in parts if (PACKAGE / part[1]).is_dir()}


def folder_rows() -> dict[str, str]:
    """Folder and last cell of each row of the table of folders."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    cells = [line.split("|")[1:-1] for line in text.splitlines() if "|" in line]
    return {row[0].strip(): row[-1].strip() for row in cells if len(row) == 3}


@pytest.mark.parametrize(
    "folder",
    sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()),
)
def test_table_of_folders_is_kept(folder):
    allowed = folder_rows()[f"`{folder}/`"]
    if allowed == "everything":
        return
    named = {*re.findall(r"`(\w+)`", allowed), folder, "utils"}
    for path in (PACKAGE / folder).rglob("*.py"):
        assert imported_folders(path) <= named, path


# --- pictures ------------------------------------------------------------------------


def test_diagrams_name_what_exists_and_are_drawn_anew():
    made = runpy.run_path(str(DOCS / "make_diagrams.py"))
    for name, diagram in made["DIAGRAMS"].items():
        named = [part.name for part in (*diagram.boxes, *diagram.frames)]
        assert all(named)
        for path in named:
            module, _, member = path.rpartition(".")
            assert hasattr(
                importlib.import_module(f"espnet_pse_kd.{module}"), member
            ), path
        for colours, theme in made["THEMES"].items():
            drawn = (DOCS / f"images/{name}_{colours}.svg").read_text(encoding="utf-8")
            assert drawn == made["svg"](diagram, theme)


def test_page_of_the_diagrams_explains_their_modules():
    """Who reads in a terminal sees no picture: the steps below it name its modules."""
    made = runpy.run_path(str(DOCS / "make_diagrams.py"))
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    for part in (p for d in made["DIAGRAMS"].values() for p in d.boxes):
        assert f"`{part.name.split('.')[0]}" in text, part.name


def test_before_and_after_is_what_the_package_does():
    made = runpy.run_path(str(DOCS / "make_figures.py"))
    shown = made["example"]()

    def level(wave: np.ndarray, begin: int, end: int) -> float:
        part = wave[begin * SAMPLE_RATE : end * SAMPLE_RATE]
        return 10 * np.log10(np.mean(part**2) + 1e-12)

    def change(begin: int, end: int) -> float:
        return level(shown.after, begin, end) - level(shown.before, begin, end)

    assert change(26, 37) < -20  # README: "it is gone"
    assert change(3, 11) > -6  # and the enrolled voice is not
    for name in made["THEMES"]:
        assert (DOCS / f"images/before_after_{name}.png").stat().st_size < 400_000

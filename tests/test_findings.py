"""What docs/findings.md and docs/measured show, from scores of a tiny test set."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scores_fixture import all_rows

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import read_csv, write_csv
from espnet_pse_kd.kaldi import write_table
from espnet_pse_kd.metrics.intervals import bootstrap_interval, interval_of, resampled
from espnet_pse_kd.report.differences import difference_table
from espnet_pse_kd.report.scores import Scores
from espnet_pse_kd.report.tables import DASH
from espnet_pse_kd.report.tradeoff import line_table
from tools import findings as command
from tools import findings_page, kept_scores

HAND_WRITTEN = ("docs/findings.md", "egs2_recipe/RESULTS.md")
PAGE = "# Title\n\nBy hand.\n\n{}\nout of date\n{}\n\nAlso by hand.\n"


def rows_of(seed):
    """The rows of a run with one training seed; another seed, other figures."""
    rows = [row for row in all_rows() if row["scenario"] != "ts0"]
    for row in rows:
        row["interferer"] = "" if row["scenario"] == "ts1" else "another"
        if row["seed"] == 0:
            row["seed"] = seed
            row["leakage_reduction"] += seed
    return rows


def write_experiment(folder, method, seed):
    write_table(folder / "enhanced_test_ts1/spk1.scp", {"a": "b"})
    run = {"method": method, "config": "x", "seed": seed}
    run |= {"commit": f"c0ffee{seed}", "wall_seconds": 5400.0}
    (folder / "run.json").write_text(json.dumps(run))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two runs' score files, one compressed, their experiments, and the pages."""
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "zero.csv", rows_of(0))
    write_csv(tmp_path / "one.csv.gz", rows_of(1))
    for seed in (0, 1):
        for method in ("b1", "b2", "s", "r_log"):
            write_experiment(tmp_path / f"exp/pse_x_{method}_seed{seed}", method, seed)
    for name in HAND_WRITTEN:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(
            PAGE.format(findings_page.BEGIN, findings_page.END)
        )
    return tmp_path


def run(*options):
    command.main(list(options))


def page_text(root):
    """Every page, one after the other."""
    generated = sorted((root / "docs/measured").glob("*.md"))
    return "".join((root / page).read_text() for page in (*HAND_WRITTEN, *generated))


FILES = (Path("zero.csv"), Path("one.csv.gz"))
BOTH = ("--scores", *map(str, FILES))


def test_pages_are_filled_between_their_markers(root):
    run(*BOTH, "--exp", "exp")
    for name in HAND_WRITTEN:
        text = (root / name).read_text()
        assert text.startswith("# Title\n\nBy hand.\n") and "out of date" not in text
        assert text.endswith(f"{findings_page.END}\n\nAlso by hand.\n")
        table = [line for line in text.splitlines() if line.startswith("|")]
        assert table[0].startswith(
            "|system|seeds|TS1 SI-SDRi dB, median|TS1 deletion %|"
        )
        assert [row.split("|")[1] for row in table[2:]] == ["b1", "b2", "s", "r_log"]
    assert b"<svg" in (root / "docs/images/operating_curve.svg").read_bytes()


def test_every_table_is_on_a_page_of_its_own(root):
    run(*BOTH, "--exp", "exp")
    results = (root / "docs/measured/results.md").read_text()
    strata = (root / "docs/measured/strata.md").read_text()
    experiment = "|`pse_x_s_seed1`|s|1|-|1.5 h|c0ffee1|-|-|"
    [table] = difference_table(Scores(kept_scores.join_scores(FILES)), "ts2")
    for expected in (
        "## Headline: quality",
        "training seeds 0, 1",
        "trials TS0 0, TS1 6, TS2 6, TS3 6",
        "## TS2: target + interferer + noise",
        experiment,
        *(f"|{'|'.join(row)}|" for row in table.rows),
    ):
        assert expected in results
    assert "# Differences by stratum" in strata
    digests = re.findall(r"digest\s+`([0-9a-f]+)`", page_text(root))
    assert len(digests) == 4 and len(set(digests)) == 1


def test_prose_is_wrapped_and_tables_are_not():
    row, item = f"|{'x ' * 80}|", f"- {'word ' * 30}end"
    folded = findings_page.wrapped([row, item, "short"])
    assert folded[0] == row and folded[-1] == "short"
    assert all(len(line) <= findings_page.WIDTH for line in folded[1:])
    assert folded[1].startswith("- word") and folded[2].startswith("  word")


def test_headline_is_over_all_seeds(root):
    scores = Scores(kept_scores.join_scores(FILES))
    lines: dict[str, dict[str, str]] = {}
    for table in findings_page.headline_tables(scores):
        for row in table.rows:
            cells = dict(zip(table.header, row, strict=True))
            lines.setdefault(row[0], {}).update(cells)
    assert "TS1 DNSMOS OVRL" not in lines["s"]  # nobody measured it
    assert lines["s"]["seeds"] == "0 1" and lines["noisy"]["seeds"] == "-"
    # 20 + k + 2 * 0.5 + seed: the median of 21..26 and of 22..27 together.
    assert lines["s"]["TS3 reduction dB, median"].startswith("24.0 [")
    assert lines["s"]["TS2 TSOS %"].startswith("12.5 [")
    assert lines["s"]["TS2 wrong speaker %"].startswith("33.3 [")


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        (25.0, "**-5.00 [-5.00, -5.00]**"),  # the line has 30 % there
        (21.25, "2.50 [2.50, 2.50]"),
        (31.0, DASH),  # beyond the line
    ],
)
def test_distance_from_the_line_between_two_systems(reduction, expected):
    places = {"b1": (0.2, 20.0), "b2": (0.4, 30.0), "s": (0.25, reduction)}
    rows = [row for row in rows_of(0) if row["system"] in places]
    for row in rows:
        deletion, row["leakage_reduction"] = places[row["system"]]
        row["deletion"] = deletion if row["scenario"] != "ts3" else None
    other = [{**row, "seed": 1} for row in rows if row["system"] != "s"]
    for row in other:  # a seed that s has not
        row["leakage_reduction"] += 7
    texts = [
        {name: "" if value is None else str(value) for name, value in row.items()}
        for row in rows + other
    ]
    tables = line_table(Scores(texts))
    if expected == DASH:
        assert not tables
        return
    [[name, seeds, *cells]] = tables[0].rows
    assert (name, seeds) == ("s", "0")
    assert [cell.strip("*") for cell in cells] == [expected.strip("*")] * 2
    assert len(tables[0].header) == 4  # no dry blends, no line of theirs


def test_intervals_of_what_is_computed_from_several_draws():
    rng = np.random.default_rng(0)
    values, speakers = rng.normal(size=40), [f"s{k % 8}" for k in range(40)]
    order = rng.permutation(40)  # the draws follow the speakers, not the rows
    one = resampled(values, speakers)
    other = resampled(values[order] + 1, [speakers[k] for k in order])
    apart = interval_of(other - one, 8, 40)
    assert apart.value == pytest.approx(1) and apart.high - apart.low < 1e-9
    alone = interval_of(one, 8, 40)
    assert alone == bootstrap_interval(values, speakers) and alone.high > alone.low


def test_reference_rows_are_joined_once(root):
    rows = kept_scores.join_scores(FILES)
    noisy = [row for row in rows if row["system"] == "noisy"]
    assert len(noisy) == 18
    assert len([row for row in rows if row["system"] == "s"]) == 36


def test_kept_scores_render_the_same_page(root):
    run(*BOTH, "--exp", "exp", "--keep", "docs/measured")
    figure = root / "docs/images/operating_curve.svg"
    before = page_text(root), figure.read_bytes()
    packed = (root / "docs/measured/scores.csv.gz").read_bytes()
    run()  # the defaults are what was kept
    assert (page_text(root), figure.read_bytes()) == before
    run("--keep", "docs/measured")
    assert (root / "docs/measured/scores.csv.gz").read_bytes() == packed


def test_compressed_rows_are_the_plain_ones(root):
    write_csv(root / "plain.csv", rows_of(1))
    assert read_csv(root / "plain.csv") == read_csv(root / "one.csv.gz")
    with gzip.open(root / "one.csv.gz", "rt") as file:
        assert file.read() == (root / "plain.csv").read_text()


def test_dry_blends_have_a_table_and_a_line(root):
    rows = rows_of(0)
    blends = [{**row, "system": "s+0.1x"} for row in rows if row["system"] == "s"]
    write_csv(root / "zero.csv", rows + blends)
    run("--scores", "zero.csv", "--exp", "exp")
    text = page_text(root)
    before, _, after = text.partition("## Dry blends")
    assert after.count("|s+0.1x|0|") == 1 and "|s+0.1x|" not in before
    figure = (root / "docs/images/operating_curve.svg").read_text()
    assert "s + a x" in figure  # matplotlib names the texts in comments


def cut(root):
    path = root / "one.csv.gz"
    path.write_bytes(path.read_bytes()[:-30])


def other_trials(root):
    rows = rows_of(1)
    for row in rows:
        row["target"] = f"{row['target']}x"
    write_csv(root / "one.csv.gz", rows)


def same_seed(root):
    rows = rows_of(0)
    rows[-1]["leakage_reduction"] = 1.0
    write_csv(root / "one.csv.gz", rows)


def no_markers(root):
    (root / "docs/findings.md").write_text("By hand.\n")


def wrong_order(root):
    page = PAGE.format(findings_page.END, findings_page.BEGIN)
    (root / "docs/findings.md").write_text(page)


@pytest.mark.parametrize(
    ("break_it", "options", "message"),
    [
        (cut, BOTH, "one.csv.gz: not a whole gzip file"),
        (other_trials, BOTH, "ts1_00 is another trial than in the files before"),
        (same_seed, BOTH, "system r_log, seed 0 has other scores"),
        (no_markers, BOTH, "docs/findings.md: needs one line <!-- measured: begin"),
        (wrong_order, BOTH, "docs/findings.md: needs one line <!-- measured: begin"),
        (None, ("--scores", "no.csv"), "no.csv: no such file; run stage 7 first"),
        (None, (*BOTH, "--exp", "none"), "--exp none: no such folder"),
        (None, (*BOTH, "--figure", "x.png"), "--figure x.png: give a name that ends"),
        (None, (*BOTH, "--teachers", "exp"), "no pvad_*/teacher_scores.json"),
        (None, (*BOTH, "--ablation_name", "x"), "begin with ablation"),
        (None, (*BOTH, "--output", "R.md"), "R.md: no such file; write it with"),
    ],
)
def test_bad_input_is_one_line(root, capsys, break_it, options, message):
    if break_it:
        break_it(root)
    if "--exp" not in options:
        options = (*options, "--exp", "exp")
    before = (root / "docs/findings.md").read_text()
    with pytest.raises(SystemExit) as status:
        run(*options)
    assert status.value.code == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert (root / "docs/findings.md").read_text() == before


def test_every_training_needs_its_experiment(root):
    scores = Scores(kept_scores.join_scores(FILES))
    (root / "exp/pse_x_s_seed1/enhanced_test_ts1/spk1.scp").unlink()
    with pytest.raises(UserError, match="no experiment 's' of seed 1"):
        kept_scores.collect_records([root / "exp"], scores)


def test_experiments_whose_folders_are_gone_keep_their_records(root):
    run("--scores", "zero.csv", "--exp", "exp", "--keep", "kept")
    (root / "exp").rename(root / "gone")
    for method in ("b1", "b2", "s", "r_log"):
        write_experiment(root / f"new/pse_x_{method}_seed1", method, 1)
    both = ("--scores", "kept/scores.csv.gz", "one.csv.gz")
    run(*both, "--exp", "new", "--keep", "kept")
    text = page_text(root)
    for seed in (0, 1):
        assert f"|`pse_x_s_seed{seed}`|s|{seed}|-|1.5 h|c0ffee{seed}|" in text
    # A training of the same name replaces the row; it does not join it.
    path = root / "new/pse_x_s_seed1/run.json"
    path.write_text(path.read_text().replace("c0ffee1", "beef"))
    run("--scores", "kept/scores.csv.gz", "--exp", "new")
    [row] = [li for li in page_text(root).splitlines() if "|`pse_x_s_seed1`|" in li]
    assert "|beef|" in row
    with pytest.raises(SystemExit):
        run("--scores", "one.csv.gz", "--exp", "exp")  # nothing kept beside these


def test_no_score_file_and_no_records(root):
    write_csv(root / "x.csv", [{"uid": "a"}])
    with pytest.raises(UserError, match="it lacks 'interferer'"):
        kept_scores.join_scores([root / "x.csv"])
    with pytest.raises(UserError, match="give --exp"):
        kept_scores.read_records(root / "records.json")
    (root / "records.json").write_text('[{"heading": 1}]')
    with pytest.raises(UserError, match="not a list of tables"):
        kept_scores.read_records(root / "records.json")


def test_ablation_has_a_page_beside_what_it_varies(root):
    rows = [row for row in rows_of(0) if row["system"] in ("noisy", "s")]
    varied = [{**row, "system": "s_kappa2"} for row in rows if row["system"] == "s"]
    for row in varied:
        row["leakage_reduction"] += 5
    write_csv(root / "varied.csv", rows + varied)
    write_experiment(root / "exp/pse_x_s_kappa2_seed0", "s_kappa2", 0)
    run(*BOTH, "--exp", "exp", "--ablation", "varied.csv", "--keep", "kept")
    text = (root / "docs/measured/ablation.md").read_text()
    assert text.startswith(f"{findings_page.GENERATED}\n# Ablation\n")
    [difference] = [line for line in text.splitlines() if "|s_kappa2 - s|" in line]
    assert difference.rstrip("|").endswith("**5.00 [5.00, 5.00]**")
    assert "|`pse_x_s_kappa2_seed0`|s_kappa2|0|" in text
    # A clone renders the same page from what is kept.
    (root / "exp").rename(root / "gone")
    run("--scores", "kept/scores.csv.gz")
    assert (root / "docs/measured/ablation.md").read_text() == text
    # A second one, of other trainings, is a page beside the first.
    write_experiment(root / "more/pse_x_s_seed0", "s", 0)
    write_experiment(root / "more/pse_x_s_kappa2_seed0", "s_kappa2", 0)
    for row in varied:
        row["leakage_reduction"] += 2
    write_csv(root / "varied.csv", rows + varied)
    options = ("--ablation", "varied.csv", "--ablation_exp", "more")
    run(
        *("--scores", "kept/scores.csv.gz", "--keep", "kept"),
        *(*options, "--ablation_name", "ablation_second_trunk"),
    )
    second = root / "docs/measured/ablation_second_trunk.md"
    text = page_text(root)
    assert (root / "docs/measured/ablation.md").read_text() in text
    assert "|s_kappa2 - s|" in second.read_text()
    assert "**7.00 [7.00, 7.00]**" in second.read_text()
    run("--scores", "kept/scores.csv.gz")
    assert page_text(root) == text


def test_teachers_join_the_table(root):
    part = {"frames": 9, "auc": 0.5, "calibration_error": None}
    part["average_precision"] = dict.fromkeys(("ns", "ntss", "tss"), 0.25)
    scores = {"scenarios": {"ts2": part}, "all": part}
    for name in ("exp/pvad_a", "more/pvad_a", "more/pvad_b"):
        (root / name).mkdir(parents=True)
        part["auc"] = 0.5 if name.startswith("exp") else 0.75
        (root / name / "teacher_scores.json").write_text(json.dumps(scores))
    run(*BOTH, "--exp", "exp", "--keep", "kept")
    assert "|pvad_a|TS2|9|0.250|0.250|0.250|0.500|-|" in page_text(root)
    run("--scores", "kept/scores.csv.gz", "--teachers", "more", "--keep", "kept")
    text = page_text(root)
    assert text.count("|pvad_a|TS2|9|0.250|0.250|0.250|0.750|-|") == 1
    assert text.count("|pvad_b|TS2|") == 1 and "0.500|-|" not in text
    run("--scores", "kept/scores.csv.gz")
    assert page_text(root) == text

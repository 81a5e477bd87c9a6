"""report.html and the paired differences, on a tiny scored test set."""

import base64
import html.parser
import io
import json
import re

import numpy as np
import pytest
import soundfile
from scores_fixture import METHODS, TRIALS, all_rows

from espnet_pse_kd.audio import write_audio
from espnet_pse_kd.bin import report as command
from espnet_pse_kd.files import read_csv, write_csv
from espnet_pse_kd.kaldi import write_table
from espnet_pse_kd.report.columns import main_columns
from espnet_pse_kd.report.curves import operating_panels, training_curves
from espnet_pse_kd.report.differences import (
    comparisons,
    difference_table,
    difference_tables,
)
from espnet_pse_kd.report.gallery import choose, judge, shown_system
from espnet_pse_kd.report.page import cell_parts, main_table, write_report
from espnet_pse_kd.report.scenarios import scenario_tables
from espnet_pse_kd.report.scores import Scores
from espnet_pse_kd.report.strata import strata, stratum_differences, stratum_tables
from espnet_pse_kd.report.tables import DASH
from espnet_pse_kd.report.trials import find_systems, load_signals, load_trials

RATE = 16000
SETS = ("test_ts1", "test_ts2", "test_ts3")


@pytest.fixture
def scores(tmp_path):
    write_csv(tmp_path / "scores.csv", all_rows())
    return Scores(read_csv(tmp_path / "scores.csv"))


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A folder as stages 1 to 7 leave it, with the report still to be written."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for test_set in SETS:
        write_trials(tmp_path / "dump/raw" / test_set, test_set, rng)
    for method in METHODS:
        write_training(tmp_path / f"exp/pse_x_{method}_seed0", method, rng)
    write_csv(tmp_path / "exp/scores.csv", all_rows())
    return tmp_path


def write_trials(folder, test_set, rng):
    tables = {n: {} for n in ("wav.scp", "spk1.scp", "interf1.scp", "enroll_spk1.scp")}
    scenario, facts = test_set.removeprefix("test_"), []
    for k in range(TRIALS):
        uid = f"{scenario}_{k:02d}"
        target, interferer = 0.1 * rng.standard_normal((2, RATE))
        target *= scenario != "ts3"
        target[: RATE // 2] = 0
        signals = (target + interferer, target, interferer, interferer[:8000])
        for name, signal in zip(tables, signals, strict=True):
            path = folder / "wav" / f"{uid}.{name}.wav"
            write_audio(path, signal)
            tables[name][uid] = str(path)
        facts.append({"uid": uid, "target": "a<b>", "interferer": "c", "snr": 5.0})
    for name, table in tables.items():
        write_table(folder / name, table)
    write_table(folder / "utt2scenario", dict.fromkeys(tables["wav.scp"], scenario))
    (folder / "trials.jsonl").write_text("".join(json.dumps(f) + "\n" for f in facts))


def write_training(folder, method, rng):
    for test_set in SETS:
        table = {}
        for k in range(TRIALS):
            uid = f"{test_set.removeprefix('test_')}_{k:02d}"
            path = folder / f"enhanced_{test_set}" / f"{uid}.wav"
            write_audio(path, 0.05 * rng.standard_normal(RATE), subtype="FLOAT")
            table[uid] = str(path)
        write_table(folder / f"enhanced_{test_set}/spk1.scp", table)
    gate = "{mode: soft}" if method == "s" else "{mode: none}"
    (folder / "config.yaml").write_text(f"gate_conf: {gate}\n")
    (folder / "run.json").write_text(json.dumps({"method": method, "seed": 0}))
    (folder / "train.log").write_text(
        "x: 1epoch results: [train] loss=0.5, gate_closed=nan, time=2 seconds, "
        "total_count=7, [valid] loss=0.25, si_sdri=-1.500e+00, time=1 seconds\n"
        "x: 2epoch results: [train] loss=0.4, gate_closed=0.3, total_count=14, "
        "[valid] loss=0.2, si_sdri=2\n"
        "x: 2epoch results: [train] loss=0.3, gate_closed=0.2, total_count=14, "
        "[valid] loss=0.1, si_sdri=3\n"
    )


def fake_teacher(test_set, uids):
    """Surely target speech in the second half, surely not in the first."""
    posterior = np.zeros((64, 3), np.float32)
    posterior[:32, 1] = posterior[32:, 2] = 1
    return dict.fromkeys(uids, posterior)


class Page(html.parser.HTMLParser):
    """Tags, sources and texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.sources, self.open, self.text = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag in ("img", "audio"):
            self.sources.append((tag, values["src"]))
        if tag not in ("img", "meta"):
            self.open.append(tag)
        assert not {"href", "src"} & set(values) or re.match(
            "#|data:", values.get("href") or values["src"]
        ), "the page refers to something outside of itself"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def content(uri):
    return base64.b64decode(uri.partition(",")[2])


def write(recipe, **options):
    systems = find_systems(recipe / "exp", SETS)
    output = recipe / "report.html"
    write_report(
        recipe / "exp/scores.csv",
        recipe / "dump/raw",
        systems,
        output,
        "./run.sh",
        **options,
    )
    return output.read_text(encoding="utf-8")


def test_page_is_whole_and_plays(recipe):
    page = Page(write(recipe, teacher=fake_teacher))
    assert page.open == []
    text = " ".join("".join(page.text).split())
    assert "TS2 best" in text and "TS3 median" in text
    assert "a<b>" in text  # names of speakers are data, not markup
    sounds = [content(uri) for tag, uri in page.sources if tag == "audio"]
    # Five trials of TS2 and TS3 at most, each with its enrolment and the systems.
    assert len(sounds) >= 4 * (3 + len(METHODS))
    for sound in sounds:
        samples, rate = soundfile.read(io.BytesIO(sound))
        assert rate == RATE and len(samples) >= 8000
        assert 0.05 < np.abs(samples).max() <= 1.0
    pictures = [content(uri) for tag, uri in page.sources if tag == "img"]
    assert sum(p[:4] == b"RIFF" for p in pictures) >= 4  # WebP
    assert sum(b"<svg" in p for p in pictures) == 2


def test_page_holds_the_numbers_of_the_tables(recipe):
    text = "".join("".join(Page(write(recipe)).text).split())
    scores = Scores(read_csv(recipe / "exp/scores.csv"))
    for table in [*difference_tables(scores), main_table(scores)]:
        for line in table.rows:
            plain = "".join(part.replace("**", "") for part in line)
            assert "".join(plain.split()) in text


def test_trials_are_chosen_by_their_scores(recipe, scores):
    shown = shown_system(find_systems(recipe / "exp", SETS))
    assert shown.name == "s"
    chosen = {c.reason: c.uid for c in choose(scores, shown)}
    own = scores.select(system="s", scenario="ts2")
    order = np.argsort(own.column("si_sdri"))
    assert chosen["TS2 worst"] == own.rows[order[0]]["uid"]
    assert chosen["TS2 best"] == own.rows[order[-1]]["uid"]
    wrong = [r for r in own.rows if float(r["wrong_speaker"])]
    worst = min(wrong, key=lambda r: float(r["si_sdr"]))
    assert chosen["TS2 worst with the wrong speaker"] == worst["uid"]
    assert chosen["TS3 worst"] == "ts3_00"


def test_no_wrong_speaker_and_no_trials_of_ts3(recipe, scores):
    shown = shown_system(find_systems(recipe / "exp", SETS), "b1")
    scores.rows = [
        {**r, "wrong_speaker": "0.0"} for r in scores.rows if r["scenario"] != "ts3"
    ]
    reasons = [choice.reason for choice in choose(scores, shown)]
    assert reasons == ["TS2 best", "TS2 median", "TS2 worst"]
    assert operating_panels(scores) == []


def test_gate_of_the_trial_is_that_of_the_training(recipe):
    systems = {s.name: s for s in find_systems(recipe / "exp", SETS)}
    trial = load_trials(recipe / "dump/raw/test_ts2")[0]
    signals = load_signals(trial)
    posterior = fake_teacher("", ["x"])["x"]
    judged = judge(systems["s"], signals, posterior)
    assert judged.label == "soft gate of s"
    # The target is silent in the first half, where the teacher is sure of it.
    assert judged.gated[:28].all() and not judged.gated[34:].any()
    assert (judged.weights == 1).all()
    mistaken = judge(systems["s"], signals, posterior[::-1].copy())
    assert (mistaken.weights[:28] == 0).all() and (mistaken.weights[34:] == 1).all()
    assert judge(systems["b2"], signals, posterior).label.startswith("what a")


def test_operating_panels_have_the_systems_and_the_input(scores):
    panels = {panel.title: panel for panel in operating_panels(scores)}
    assert set(panels) == {
        f"{s}: {name}" for s in ("TS1", "TS2") for name in ("TSOS", "deletion")
    }
    points = {point.name: point for point in panels["TS2: TSOS"].points}
    assert set(points) == {"noisy", *METHODS}
    assert points["b2"].x.value == pytest.approx(20.5)  # 20 + median of k - 2
    assert points["b2"].y.value == pytest.approx(12.5)  # per cent


def test_dry_blends_are_a_line_of_the_curve_and_in_no_other_table(recipe, scores):
    blend = [{**r, "system": "s+0.1x"} for r in scores.rows if r["system"] == "s"]
    every = Scores([*scores.rows, *blend])
    points = operating_panels(every)[0].points
    assert [p.dry for p in points if p.name == "s"] == [0, 0.1]
    assert {p.name for p in points} == {"noisy", *METHODS}
    tables = [main_table(every), *scenario_tables(every, "ts2")]
    tables += difference_tables(every)
    assert not any("+" in row[0] for table in tables for row in table.rows)
    write_csv(recipe / "exp/scores.csv", every.rows)
    assert "s+0.1x" not in "".join(Page(write(recipe)).text).replace("`s+0.1x`:", "")


def test_training_curves_keep_the_last_run_of_an_epoch(recipe):
    curves = training_curves(find_systems(recipe / "exp", SETS), None)
    loss = {curve.name: curve for curve in curves["Validation loss"]}
    assert set(loss) == set(METHODS)
    assert (loss["s"].epochs, loss["s"].values) == ([1, 2], [0.25, 0.1])
    closed = curves["Gated frames with w < 0.5"][0]
    assert (closed.epochs, closed.values) == ([2], [0.2])  # nan is no point


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["noisy", "b1", "b2", "s"], [("s", "b2"), ("b2", "b1")]),
        (["s", "c_shift", "r_log"], [("s", "c_shift"), ("s", "r_log")]),
        (["x_b2", "x_s", "y_s"], [("x_s", "x_b2")]),
        (["b1", "wiener"], []),
    ],
)
def test_comparisons(names, pairs):
    assert comparisons(names) == pairs


def test_paired_differences(scores):
    [table] = difference_table(scores, "ts2")
    lines = {line[0]: dict(zip(table.header, line)) for line in table.rows}
    assert set(lines) == {"s - b2", "b2 - b1", "s - r_log"}
    # Every trial differs by the same, so the interval is that number alone.
    assert lines["s - b2"]["SI-SDRi dB, median"] == "**1.50 [1.50, 1.50]**"
    assert lines["b2 - b1"]["SI-SDRi dB, median"] == "**-1.00 [-1.00, -1.00]**"
    assert lines["s - r_log"]["SI-SDRi dB, median"] == "0.00 [0.00, 0.00]"
    [silent] = difference_table(scores, "ts3")
    assert silent.rows[0] == ["s - b2", "**3.00 [3.00, 3.00]**"]


def test_paired_differences_use_shared_trials_whatever_their_order(scores):
    scores.rows = [r for r in scores.rows if (r["system"], r["uid"]) != ("s", "ts2_00")]
    scores.rows.sort(key=lambda r: (r["system"], -int(r["uid"][-2:])))
    ours, theirs = (scores.select(system=n, scenario="ts2") for n in ("s", "b2"))
    column = main_columns("ts2")[0]
    interval = ours.difference(column, theirs)
    assert interval.trials == TRIALS - 1
    assert interval.value == pytest.approx(1.5, abs=1e-3)


def test_no_difference_between_trainings_of_different_seeds(scores):
    for row in scores.rows:
        if row["system"] == "b2":
            row["seed"] = "7"
    [table] = difference_table(scores, "ts3")
    assert table.rows[0] == ["s - b2", DASH]


def with_voices(scores):
    """Trials 4 and 5 have the most similar voices; trials 0, 2, 4 are of one sex."""
    for row in scores.rows:
        k, mixed = int(row["uid"][-2:]), row["scenario"] != "ts1"
        row["voice_similarity"] = f"{k / 10}" if mixed else ""
        row["same_gender"] = str(k % 2 == 0) if mixed else ""
    return scores


def test_strata_of_the_voices(scores):
    scenario = with_voices(scores).select(scenario="ts2")
    parts = strata(scenario)
    assert set(parts) == {"By sex", "By voice"}  # all rooms are simulated
    assert {row["uid"] for row in parts["By voice"]["similar voices"].rows} == {
        "ts2_04",
        "ts2_05",
    }
    tables = {t.title: t for t in stratum_tables(scenario, "ts2")}
    lines = {row[0]: row for row in tables["By voice"].rows}
    assert lines["s, similar voices"][2] == "2" and lines["b1, other voices"][2] == "4"
    column = tables["By voice"].header.index("TSOS %")
    assert lines["s, similar voices"][column].startswith("14.5 [")
    assert [row[0] for row in tables["By sex"].rows[:2]] == [
        "noisy, same sex",
        "noisy, other sex",
    ]
    assert strata(scores.select(scenario="ts1")) == {}


def test_similar_trials_are_the_same_for_every_system(scores):
    rows = with_voices(scores).select(scenario="ts3").rows
    # Another system has trial 5 alone: that must not move the third.
    extra = [{**rows[5], "system": "x", "seed": str(n)} for n in range(20)]
    parts = strata(Scores(rows + extra))["By voice"]
    similar = parts["similar voices"].select(system="s").rows
    assert [row["uid"] for row in similar] == ["ts3_04", "ts3_05"]


def test_differences_in_strata(scores):
    tables = stratum_differences(with_voices(scores), "ts3")
    assert [table.title for table in tables] == [
        "Differences by sex",
        "Differences by voice",
    ]
    assert ["s - b2, similar voices", "**3.00 [3.00, 3.00]**"] in tables[1].rows
    assert len(tables[1].rows) == 2 * 3


@pytest.mark.parametrize(
    ("text", "value", "interval", "bold"),
    [
        ("1.0 [0.5, 2.0]", "1.0", "[0.5, 2.0]", False),
        ("**-1.0 [-1.5, -0.2]**", "-1.0", "[-1.5, -0.2]", True),
        ("1 [0, 2] (n=3)", "1", "[0, 2] (n=3)", False),
        ("`exp/x`", "exp/x", "", False),
        ("-", "-", "", False),
    ],
)
def test_cells_are_taken_apart(text, value, interval, bold):
    parts = cell_parts(text)
    assert (parts["value"], parts["interval"], parts["bold"]) == (value, interval, bold)
    assert parts["code"] == text.startswith("`")


@pytest.mark.parametrize(
    ("break_it", "options", "message"),
    [
        ("exp/scores.csv", [], "exp/scores.csv: no such file; run stage 7 first"),
        (None, ["--system", "h"], "--system: no system 'h'; choose from b1 b2"),
        (None, ["--expdir", "none"], "--expdir none: no such folder"),
        ("exp/pse_x_s_seed0/enhanced_test_ts2/spk1.scp", [], "spk1.scp: no such file"),
    ],
)
def test_bad_input_is_one_line(recipe, capsys, break_it, options, message):
    if break_it:
        (recipe / break_it).unlink()
    with pytest.raises(SystemExit) as status:
        command.main(options)
    assert status.value.code == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (recipe / "exp/report.html").exists()

"""Stage 7 on a tiny test set: values move with the audio, silence, resuming, tables."""

import json
import math

import numpy as np
import pytest

from espnet_pse_kd.audio import write_audio
from espnet_pse_kd.bin import score
from espnet_pse_kd.enrolment_vectors import EnrolmentVectors
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import read_csv
from espnet_pse_kd.kaldi import read_table, write_table
from espnet_pse_kd.metrics import recognition
from espnet_pse_kd.metrics.intrusive import score_signals
from espnet_pse_kd.recipe.teacher_scoring import Utterance, score_teacher
from espnet_pse_kd.report import (
    asr_scoring,
    score_jobs,
    scoring,
    similarity,
    trials,
)
from espnet_pse_kd.report.experiments import gate_cell
from espnet_pse_kd.report.trials import (
    REFERENCE_ROWS,
    System,
    blend_parts,
    dry_blends,
    find_systems,
    load_trials,
    reference_systems,
)
from espnet_pse_kd.utils.lock import exclusive

RATE = 16000
SPEAKERS = ("anna", "ben")
ROOMS = ("measured:r1", "room_test_s0_00001")
EXPERIMENT = "pse_small_s_seed1"


def voice(seed, seconds=1.5):
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    noise = np.convolve(rng.standard_normal(len(t)), np.exp(-np.arange(30) / 8), "same")
    return 0.02 * noise * np.sin(np.pi * 3 * t + seed) ** 2


def write_set(root, scenario, trials=2):
    """Simulated set ``test_<scenario>`` with ``trials`` trials, one per speaker."""
    folder = root / "dump" / "raw" / f"test_{scenario}"
    tables = {name: {} for name in ("wav.scp", "spk1.scp", "interf1.scp")}
    facts = []
    for k in range(trials):
        uid = f"{scenario}_{k:02d}"
        s, i = voice(k), voice(100 + k)
        n = 0.002 * np.random.default_rng(k).standard_normal(len(s))
        s, i, n = (
            x * (scenario in present)
            for x, present in ((s, "ts0ts1ts2"), (i, "ts2ts3"), (n, "ts1ts2ts3"))
        )
        for name, signal in zip(tables, (s + i + n, s, i), strict=True):
            path = folder / "wav" / f"{uid}.{name}.wav"
            write_audio(path, signal)
            tables[name][uid] = str(path)
        speaker = SPEAKERS[k % len(SPEAKERS)]
        facts.append({"uid": uid, "target": speaker, "room": ROOMS[k % 2], "snr": 5.0})
    for name, table in tables.items():
        write_table(folder / name, table)
    uids = list(tables["wav.scp"])
    write_table(folder / "utt2scenario", dict.fromkeys(uids, scenario))
    write_table(folder / "utt2spk", dict.fromkeys(uids, "x"))
    if scenario != "ts3":
        write_table(folder / "text_spk1", dict.fromkeys(uids, "one two three"))
    lines = "".join(json.dumps(fact) + "\n" for fact in facts)
    (folder / "trials.jsonl").write_text(lines)


def write_outputs(root, scenario, make):
    """An experiment's outputs: ``make(mixture path, target)`` for each trial."""
    exp = root / "exp" / EXPERIMENT / f"enhanced_test_{scenario}"
    table = {}
    for trial in load_trials(root / "dump" / "raw" / f"test_{scenario}"):
        signals = score_jobs.load_signals(trial)
        path = exp / f"{trial.uid}.wav"
        write_audio(path, make(signals), subtype="FLOAT")
        table[trial.uid] = str(path)
    write_table(exp / "spk1.scp", table)


@pytest.fixture
def root(tmp_path):
    for scenario in ("ts0", "ts1", "ts2", "ts3"):
        write_set(tmp_path, scenario)
        write_outputs(tmp_path, scenario, lambda x: x.target + 0.1 * x.interferer)
    return tmp_path


@pytest.fixture
def run(root, monkeypatch):
    """Runs ``bin.score`` in ``root``; returns rows keyed by system and uid."""
    monkeypatch.chdir(root)
    loudness = lambda clip: float(np.abs(clip).sum())  # noqa: E731
    monkeypatch.setattr(scoring.distillmos, "distillmos", loudness)

    def call(*options):
        score.main(["--dnsmos_trials", "0", "--nj", "1", *options])
        rows = read_csv(root / "exp" / "scores.csv")
        return {(row["system"], row["uid"]): row for row in rows}

    return call


def number(row, key):
    return float(row[key] or "nan")


def test_rows_and_values(run, root):
    rows = run()
    systems = {system for system, _ in rows}
    assert systems == {*REFERENCE_ROWS, "s"}
    assert len(rows) == 5 * 8
    row = rows["s", "ts2_00"]
    assert (row["seed"], row["target"], row["snr"]) == ("1", "anna", "5")
    assert row["measured_room"] == "True"
    assert number(row, "si_sdri") > 10 and number(row, "failure") == 0
    assert number(rows["noisy", "ts2_00"], "si_sdri") == 0
    assert number(rows["clean", "ts2_00"], "si_sdr") == 60
    assert number(rows["wiener", "ts2_00"], "si_sdri") > 3
    assert number(rows["root_wiener", "ts1_00"], "tsos") == 0
    assert number(rows["s", "ts3_00"], "leakage_reduction") == pytest.approx(20, abs=1)
    for key in ("si_sdr", "si_sdri", "tsos", "deletion", "stoi", "wrong_speaker"):
        assert rows["s", "ts3_00"][key] == ""
    assert rows["s", "ts0_00"]["si_sdri"] == ""  # nothing to improve


def test_a_changed_output_moves_only_its_own_row(run, root):
    before = run()
    write_outputs(root, "ts2", lambda x: x.interferer)
    after = run()
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {("s", "ts2_00"), ("s", "ts2_01")}
    assert number(after["s", "ts2_00"], "wrong_speaker") == 1
    assert number(after["s", "ts2_00"], "failure") == 1


@pytest.mark.parametrize("scenario", ["ts0", "ts1", "ts2", "ts3"])
def test_silent_output(scenario, run, root):
    write_outputs(root, scenario, lambda x: 0 * x.mixture)
    row = run()["s", f"{scenario}_00"]
    if scenario == "ts3":
        assert number(row, "leakage_reduction") == 160
    else:
        assert number(row, "deletion") == number(row, "tsos") == 1
        assert number(row, "stoi") == 0 and number(row, "si_sdr") == -60


def test_silence_everywhere_gives_no_infinity():
    zero, some = np.zeros(4000), voice(0)[:4000]
    for target in (zero, some):
        for interferer in (zero, some[::-1]):
            for mixture in (zero, target + interferer):
                for output in (zero, mixture):
                    scores = score_signals(target, interferer, mixture, output)
                    assert not any(map(math.isinf, scores.values()))
    one = np.zeros(1)
    assert not any(map(math.isinf, score_signals(one, one, one, one).values()))


def test_the_record_of_the_current_folder_is_left_alone(run, root):
    (root / "RESULTS.md").write_text("the project's own")
    run()
    assert (root / "RESULTS.md").read_text() == "the project's own"
    assert (root / "exp/RESULTS.md").read_text().startswith("<!-- Generated")


def test_a_finished_set_is_not_scored_again(run, monkeypatch):
    before = run()
    monkeypatch.setattr(scoring, "score_job", lambda job: pytest.fail("scored again"))
    assert run() == before


def test_an_interrupted_set_goes_on(run, root, monkeypatch):
    whole = run()
    folder = root / "exp" / EXPERIMENT / "enhanced_test_ts2"
    (folder / "scores.csv").unlink()
    score_job, calls = scoring.score_job, []

    def dies_at_the_second(job):
        calls.append(job.trial.uid)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return score_job(job)

    monkeypatch.setattr(scoring, "score_job", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run()
    partial = folder / ".scores.partial.jsonl"
    partial.write_text(partial.read_text() + '{"uid": "ts2_01", "si_s')  # cut off
    assert run() == whole
    assert calls == ["ts2_00", "ts2_01", "ts2_01"]
    assert not partial.exists()


def test_shares_score_apart_and_the_whole_gathers(run, root, monkeypatch):
    expected = run()
    for path in (root / "exp").rglob("*scores*"):
        path.unlink()
    seen = []
    monkeypatch.setattr(score_jobs, "score_signals", _recording(seen))
    for job in (2, 1):
        score.main(["--dnsmos_trials", "0", "--nj", "1", "--share", f"{job}/2"])
        assert not (root / "exp" / "scores.csv").exists()
    assert len(seen) == 5 * 8
    rows = run()
    assert len(seen) == 5 * 8 and rows == expected
    assert not list((root / "exp").rglob(".scores.partial*"))
    # Nothing is left to do for a share of what is finished.
    score.main(["--dnsmos_trials", "0", "--nj", "1", "--share", "1/2"])
    assert len(seen) == 5 * 8


def _recording(seen):
    def scored(*signals):
        seen.append(signals)
        return score_signals(*signals)

    return scored


def test_what_is_scored_outlives_a_kill_while_it_is_written_again(
    tmp_path, monkeypatch
):
    partial = tmp_path / ".scores.partial.jsonl"
    partial.write_text('{"inputs": "same"}\n{"uid": "a"}\n{"uid": "b"}\n')
    before = partial.read_text()
    write = json.dumps

    def is_killed(line):
        if line.get("uid") == "b":
            raise KeyboardInterrupt
        return write(line)

    monkeypatch.setattr(scoring.json, "dumps", is_killed)
    with pytest.raises(KeyboardInterrupt):
        scoring._resume(partial, "same", {}, [], None, 1, "scores")
    assert partial.read_text() == before


def test_two_runs_do_not_score_one_row_at_once(run, root, capsys):
    folder = root / "exp" / EXPERIMENT / "enhanced_test_ts2"
    with exclusive(folder, "scoring"), pytest.raises(SystemExit) as status:
        run()
    assert status.value.code == 2
    error = capsys.readouterr().err
    assert f"{folder.relative_to(root)}: another scoring writes into it" in error
    assert len(run()) == 5 * 8


def test_missing_and_misfit_outputs(run, root, capsys):
    folder = root / "exp" / EXPERIMENT / "enhanced_test_ts1"
    write_audio(folder / "ts1_00.wav", np.zeros(99))
    with pytest.raises(SystemExit) as status:
        run()
    assert status.value.code == 2
    assert "ts1_00.wav: 99 samples" in capsys.readouterr().err
    table = (folder / "spk1.scp").read_text().splitlines()
    (folder / "spk1.scp").write_text(table[0] + "\n")
    trials = load_trials(root / "dump/raw/test_ts1")
    with pytest.raises(UserError, match="lacks 1 trials, the first is 'ts1_01'"):
        scoring.enhanced(System("s", folder.parent, 1), "test_ts1", trials)


def test_results(run, root):
    exp = root / "exp" / EXPERIMENT
    (exp / "run.json").write_text(
        json.dumps({"method": "s", "config": "small", "seed": 1, "wall_seconds": 90.0})
    )
    (exp / "train.log").write_text(
        "1epoch results: [train] gate_closed=0.004, total_count=250, [valid] loss=1\n"
    )
    (root / "exp" / "pvad_set").mkdir()
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 500)
    posterior = np.eye(3)[label] * 0.7 + 0.1
    score_teacher(
        [
            Utterance("a", "ts2", posterior, label),
            Utterance("b", "ts3", posterior[label < 2], label[label < 2]),
        ],
        root / "exp" / "pvad_set",
    )
    run("--training_mix", "half and half")
    text = (root / "exp/RESULTS.md").read_text()
    for expected in (
        "# RESULTS",
        "## Environments",
        "- python version: `3.",
        "- espnet version: `espnet 20",
        "training mix: half and half",
        "|`pse_small_s_seed1`|s|1|250|1.5 min|-|0.4 % (gate idle)|-|",
        "|pvad_set|TS3|",
        "## TS2: target + interferer + noise",
        "no ASR scores",
        "|clean, measured|1|1|",
    ):
        assert expected in text
    separation = text[text.index("## TS2") :]
    lines = separation.splitlines()
    header = next(line for line in lines if "SI-SDRi dB, mean" in line)
    row = next(line for line in lines if line.startswith("|s|"))
    values = dict(zip(header.split("|"), row.split("|"), strict=True))
    rows = [r for r in read_csv(root / "exp/scores.csv") if r["set"] == "test_ts2"]
    mean = np.mean([number(r, "si_sdri") for r in rows if r["system"] == "s"])
    assert values["SI-SDRi dB, mean"].startswith(f"{mean:.1f} [")
    assert values["speakers"] == values["trials"] == "2"
    third = text[text.index("## TS3") :]
    assert "SI-SDR" not in third and "TSOS" not in third and "reduction dB" in third


def test_dry_blends_are_scored_from_the_outputs(run, root):
    before = run()
    rows = run("--dry_blends", "0.1", "0.5")
    assert {key: row for key, row in rows.items() if "+" not in key[0]} == before
    assert {name for name, _ in rows} - {n for n, _ in before} == {"s+0.1x", "s+0.5x"}
    assert rows["s+0.1x", "ts1_00"]["seed"] == "1"
    # The interferer is 0.1 of what it was in the output, and comes back with the rest.
    leak = {n: number(rows[n, "ts3_00"], "leakage_reduction") for n, _ in rows}
    assert leak["s+0.1x"] == pytest.approx(14, abs=0.5)
    assert leak["s+0.5x"] == pytest.approx(20 * math.log10(1 / 0.6), abs=0.5)
    assert number(rows["s+0.5x", "ts0_00"], "level_change") == pytest.approx(
        20 * math.log10(1.5), abs=0.01
    )
    audio = list((root / "exp" / EXPERIMENT).rglob("*.wav"))
    assert len(audio) == 8  # a blend is not written


def test_dry_blends_in_the_tables(run, root):
    run("--dry_blends", "0.5", "0.1", "--dry_blend_methods", "s")
    text = (root / "exp/RESULTS.md").read_text()
    blends = text[text.index("## Dry blends") : text.index("## TS0")]
    names = [line.split("|")[1] for line in blends.splitlines() if line[:1] == "|"]
    assert names[2:] == ["s", "s+0.1x", "s+0.5x"]
    assert "s+0" not in text.replace(blends, "").replace("`s+0.1x`: dry blend", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dry_blends", "0"], "--dry_blends: 0; give above 0, at most 1"),
        (["--dry_blends", "nan"], "--dry_blends: nan; give above 0, at most 1"),
        (["--dry_blends", "2"], "--dry_blends: 2; give above 0, at most 1"),
        (
            ["--dry_blends", "0.1", "--dry_blend_methods", "b9"],
            "--dry_blend_methods: no system 'b9'; choose from s",
        ),
    ],
)
def test_bad_dry_blends_are_one_line(run, root, capsys, options, message):
    with pytest.raises(SystemExit) as status:
        run(*options)
    assert status.value.code == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (root / "exp/scores.csv").exists()


def test_names_of_dry_blends(tmp_path):
    systems = [
        System("noisy", tmp_path),
        *(System(f"net_{m}", tmp_path / m, n) for m in ("b2", "s") for n in (0, 1)),
    ]
    last = dry_blends(systems, [0.05, 0.05], [])
    assert [(s.name, s.seed) for s in last] == [("net_s+0.05x", 0), ("net_s+0.05x", 1)]
    named = dry_blends(systems, [1e-5], ["b2"])[0]
    assert blend_parts(named.name) == ("net_b2", 1e-5)
    assert blend_parts("net_b2") == ("net_b2", 0.0)
    assert dry_blends(systems, [], ["unknown"]) == []


def test_likeness_of_voices_joins_finished_scores(run, root, monkeypatch):
    before = run()
    assert {row["voice_similarity"] for row in before.values()} == {""}
    path = root / "dump/raw/test_ts2/trials.jsonl"
    facts = [json.loads(line) for line in path.read_text().splitlines()]
    for fact, other in zip(facts, ("carl", "nobody"), strict=True):
        fact["interferer"] = other
    path.write_text("".join(json.dumps(fact) + "\n" for fact in facts))
    run()
    common = np.array([9.0, 0, 0])
    vectors = [[0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0.8, 0.2]] + common
    speakers = ["anna", "anna", "ben", "carl"]
    names = [f"clip{k}" for k in range(4)]
    EnrolmentVectors(names, speakers, names, vectors).save(
        root / "dump/enroll/test/vectors.npz"
    )
    monkeypatch.setattr(scoring, "score_job", lambda job: pytest.fail("scored again"))
    rows = run()
    # Centred on the three speakers' mean (0.6, 0.4): (0.4, -0.4), (0.2, -0.2).
    assert number(rows["s", "ts2_00"], "voice_similarity") == pytest.approx(1.0)
    assert rows["s", "ts2_01"]["voice_similarity"] == ""  # an interferer unknown
    assert rows["s", "ts1_00"]["voice_similarity"] == ""  # no interferer


def test_speakers_without_direction_are_not_alike():
    one = EnrolmentVectors(["a"], ["anna"], ["a"], np.ones((1, 4)))
    directions = similarity.speaker_directions(one)
    assert similarity.similarity(directions, "anna", "anna") == 0
    assert math.isnan(similarity.similarity(directions, "anna", "none"))


class Parrot:
    """An ASR that always hears the same."""

    normalize = staticmethod(recognition.normalize)

    def __init__(self, words):
        self.words = words

    def __call__(self, signals):
        return [self.words] * len(signals)


def transcribe(root, words, model="asr"):
    """Score an ASR that hears ``words`` everywhere; how many files that wrote."""
    systems = reference_systems(root / "exp")
    systems += find_systems(root / "exp", score.TEST_SETS)
    return asr_scoring.score_words(
        systems,
        score.TEST_SETS,
        root / "dump" / "raw",
        model,
        lambda: Parrot(words),
        "parrot",
    )


def test_word_errors_join_and_are_withheld_where_the_asr_is_poor(run, root):
    assert transcribe(root, "one two", "poor") == 20
    rows = run()
    assert rows["s", "ts1_01"]["word_deletions"] == "1"
    assert rows["s", "ts3_01"]["word_insertions"] == "2"
    text = (root / "exp/RESULTS.md").read_text()
    assert "33% WER on the clean row, above 15%" in text
    assert transcribe(root, "One, two THREE", "good") == 20
    assert transcribe(root, "not asked again", "good") == 0
    run()
    text = (root / "exp/RESULTS.md").read_text()
    assert "above 15%" not in text
    assert "Words: ASR parrot, 2 trials with a known text." in text
    assert "|0.0 [0.0, 0.0]|0.0 [0.0, 0.0]|" in text[text.index("WER %") :]
    # Three words in each 1.5 s without the target: 120 a minute.
    assert "|120.0 [120.0, 120.0]|" in text[text.index("## TS3") :]


def test_word_errors_of_other_audio_are_left_out(run, root, capsys):
    transcribe(root, "one two")
    before = run()
    assert "warning" not in capsys.readouterr().err
    write_outputs(root, "ts2", lambda x: x.interferer)
    after = run()
    heard = {key for key in before if before[key]["word_errors"]}
    left_out = {key for key in heard if not after[key]["word_errors"]}
    assert left_out == {("s", "ts2_00"), ("s", "ts2_01")}
    [line] = [x for x in capsys.readouterr().err.splitlines() if "warning" in x]
    assert "enhanced_test_ts2/asr.csv (1 in all): word errors of other audio" in line
    assert transcribe(root, "one two") == 1
    assert {key for key, row in run().items() if row["word_errors"]} == heard


def test_stamps_of_word_errors_without_audio_are_taken_over(run, root):
    transcribe(root, "one two")
    stamp = root / "exp" / EXPERIMENT / "enhanced_test_ts2/asr.json"
    whole = json.loads(stamp.read_text())
    stamp.write_text(json.dumps({"inputs": whole["inputs"]}))
    assert transcribe(root, "never heard") == 0
    assert json.loads(stamp.read_text()) == whole
    stamp.unlink()
    assert transcribe(root, "heard") == 1


@pytest.mark.parametrize(
    ("module", "words", "rated"),
    [
        (trials.oracle, 2 * 4, {"wiener", "root_wiener"}),
        (trials.stft, 2 * 4, {"wiener", "root_wiener"}),
        (asr_scoring.recognition, 5 * 4, set()),
    ],
    ids=["oracle", "stft", "recognition"],
)
def test_a_mended_source_scores_again(
    root, tmp_path, monkeypatch, module, words, rated
):
    systems = reference_systems(root / "exp")
    systems += find_systems(root / "exp", ["test_ts2"])
    monkeypatch.setattr(scoring.quality, "dnsmos", lambda clip: {"ovrl": 1.0})

    def again():
        again = transcribe(root, "one two")
        raw = root / "dump" / "raw"
        done = {
            s.name
            for s in systems
            if scoring.score_mos("dnsmos", s, "test_ts2", raw, 1)
        }
        return again, done

    assert again() == (20, {*REFERENCE_ROWS, "s"})
    assert again() == (0, set())
    mended = tmp_path / "mended.py"
    mended.write_text("# another way")
    monkeypatch.setattr(module, "__file__", str(mended))
    assert again() == (words, rated)


def test_dnsmos_joins_its_trials_and_methods(run, root, monkeypatch):
    rated = []

    def dnsmos(clip):
        rated.append(float(np.abs(clip).sum()))
        return {"ovrl": rated[-1], "p808": 3.0}

    monkeypatch.setattr(scoring.quality, "dnsmos", dnsmos)
    before = run()
    few = run("--dnsmos_trials", "1")
    assert len(rated) == 5 * 3  # one trial of each set but TS3, in five rows
    plain = {k: {n: v for n, v in r.items() if "mos" not in n} for k, r in few.items()}
    assert plain == before
    for row in few.values():
        assert row["distillmos"] == row["dnsmos_ovrl"]  # both rate the same audio
    with_it = {key for key, row in few.items() if row["dnsmos_ovrl"]}
    assert {system for system, _ in with_it} == {*REFERENCE_ROWS, "s"}
    assert "ts3" not in "".join(uid for _, uid in with_it)
    more = run("--dnsmos_trials", "2")
    assert len(rated) == 5 * 3 * 2  # those that were there are kept
    assert all(more[key] == few[key] for key in with_it)
    monkeypatch.setattr(scoring.quality, "dnsmos", lambda clip: pytest.fail("again"))
    assert run("--dnsmos_trials", "1") == few
    assert run("--dnsmos_trials", "2", "--dnsmos_methods", "s") == more
    assert run() == before
    write_outputs(root, "ts2", lambda x: x.interferer)
    monkeypatch.setattr(scoring.quality, "dnsmos", dnsmos)
    changed = run("--dnsmos_trials", "2")
    assert len(rated) == 5 * 3 * 2 + 2
    assert {key for key in more if more[key] != changed[key]} == {
        ("s", "ts2_00"),
        ("s", "ts2_01"),
    }


def test_dnsmos_of_an_unknown_method_is_one_line(run, root, capsys):
    with pytest.raises(SystemExit) as status:
        run("--dnsmos_methods", "b9")
    assert status.value.code == 2
    error = capsys.readouterr().err
    assert "--dnsmos_methods: no system 'b9'; choose from s" in error
    assert error.count("\n") == 1


def test_dnsmos_leaves_other_seeds_out(run, root, monkeypatch, capsys):
    other = root / "exp" / EXPERIMENT.replace("_seed1", "_seed2")
    table = root / "exp" / EXPERIMENT / "enhanced_test_ts1/spk1.scp"
    write_table(other / "enhanced_test_ts1/spk1.scp", read_table(table))
    rated = []
    monkeypatch.setattr(
        scoring.quality, "dnsmos", lambda clip: rated.append(clip) or {"ovrl": 1.0}
    )
    run("--dnsmos_trials", "1", "--dnsmos_seeds", "2")
    assert len(rated) == 4 * 3 + 1  # the reference rows, and seed 2 on its one set
    assert not list((root / "exp" / EXPERIMENT).rglob("dnsmos.csv"))
    with pytest.raises(SystemExit):
        run("--dnsmos_seeds", "7")
    assert "--dnsmos_seeds: no system of seed 7" in capsys.readouterr().err


def test_dnsmos_leaves_other_methods_out(run, root, monkeypatch):
    other = root / "exp" / EXPERIMENT.replace("_s_", "_b2_")
    table = root / "exp" / EXPERIMENT / "enhanced_test_ts1/spk1.scp"
    write_table(other / "enhanced_test_ts1/spk1.scp", read_table(table))
    monkeypatch.setattr(scoring.quality, "dnsmos", lambda clip: {"ovrl": 1.0})
    rows = run("--dnsmos_trials", "2", "--dnsmos_methods", "b2")
    rated = {system for (system, uid), row in rows.items() if row["dnsmos_ovrl"]}
    assert rated == {*REFERENCE_ROWS, "b2"}


def test_a_second_configuration_renames_what_is_scored_already(run, root):
    assert ("s", "ts1_00") in run()
    other = root / "exp" / EXPERIMENT.replace("_small_", "_large_")
    table = root / "exp" / EXPERIMENT / "enhanced_test_ts1/spk1.scp"
    write_table(other / "enhanced_test_ts1/spk1.scp", read_table(table))
    systems = {system for system, _ in run()}
    assert systems == {*REFERENCE_ROWS, "small_s", "large_s"}


def test_dnsmos_subset_is_fixed_and_grows():
    uids = [f"u{k}" for k in range(50)]
    few, more = scoring.dnsmos_subset(uids, 5), scoring.dnsmos_subset(uids[::-1], 12)
    assert len(few) == 5 and few < more


def test_names_of_experiments(tmp_path):
    for name in ("pse_net_b1_seed0", "pse_net_c_shuffle_seed2"):
        write_table(tmp_path / name / "enhanced_test_ts1" / "spk1.scp", {"a": "b"})
    found = find_systems(tmp_path, ["test_ts1"])
    assert [(s.name, s.seed) for s in found] == [("b1", 0), ("c_shuffle", 2)]
    write_table(tmp_path / "pse_big_net_s_seed0/enhanced_test_ts1/spk1.scp", {"a": "b"})
    names = {s.name for s in find_systems(tmp_path, ["test_ts1"])}
    assert names == {"net_b1", "net_c_shuffle", "big_net_s"}


def test_teacher_at_another_frame_rate(tmp_path):
    bad = Utterance("u", "ts1", np.ones((5, 3)) / 3, np.zeros(4, int))
    with pytest.raises(UserError, match="another frame rate"):
        score_teacher([bad], tmp_path)


def test_gate_cell():
    assert gate_cell(None, None) == "-"
    assert gate_cell(0.25, 0.7) == "25.0 %, mean w 0.70"
    assert "idle" not in gate_cell(0.0, 0.78)  # a constant gate closes none
    assert "idle" in gate_cell(0.0099, 0.995)
    assert "idle" in gate_cell(0.0099, None)


def test_a_fork_names_its_trunk_s_effort(tmp_path):
    from espnet_pse_kd.report.experiments import effort_cells

    trunk, fork = tmp_path / "exp/trunk", tmp_path / "exp/fork"
    for folder, steps, seconds in ((trunk, 1500, 600), (fork, 1000, 90)):
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(f'{{"wall_seconds": {seconds}}}')
        line = f"2epoch results: [train] loss=1, total_count={steps}, [valid] loss=1"
        (folder / "train.log").write_text(line)
    assert effort_cells(fork) == ["1000", "1.5 min"]
    (fork / "train_config.yaml").write_text("fork_checkpoint: exp/trunk/checkpoint.pth")
    assert effort_cells(fork) == ["1000 + 1500", "1.5 min + 10.0 min"]

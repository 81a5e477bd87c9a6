"""The benchmarks of quality over a few small signals."""

import csv
import functools
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_score_weights import write_set
from weights_fixture import voice, weights

from espnet_pse_kd import pretrained
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import read_csv
from espnet_pse_kd.kaldi import write_table
from espnet_pse_kd.recipe import asr
from espnet_pse_kd.report import listeners

__all__ = ["weights"]  # a fixture

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks/ is no part of the installed package


def module(name):
    return importlib.import_module(f"benchmarks.{name}")


libri2mix, maker = module("quality.libri2mix"), module("quality.libri2mix_list")
scoring, short, systems = map(
    module, (f"quality.{n}" for n in ("scoring", "short", "systems"))
)
tables, trials = module("quality.tables"), module("quality.trials")
command, processes = module("quality.__main__"), module("processes")
environments = module("environments")

SPEAKERS = {"11": ("M", 110.0), "22": ("F", 210.0), "33": ("F", 180.0)}


@pytest.fixture(scope="module")
def librispeech(tmp_path_factory):
    """``test-clean`` of three speakers with four utterances, one of them too short."""
    folder = tmp_path_factory.mktemp("LibriSpeech")
    for speaker, (_, pitch) in SPEAKERS.items():
        chapter = folder / "test-clean" / speaker / "7"
        chapter.mkdir(parents=True)
        for k, seconds in enumerate((4.0, 5.0, 6.0, 2.0)):
            wave = voice(seconds, seed=k, pitch=pitch)
            soundfile.write(chapter / f"{speaker}-7-000{k}.flac", wave, SAMPLE_RATE)
    return folder


@pytest.fixture(scope="module")
def metadata(tmp_path_factory):
    """LibriMix's two tables of three mixtures."""
    folder = tmp_path_factory.mktemp("metadata")
    pairs = [("11-7-0000", "22-7-0001"), ("33-7-0002", "11-7-0001")]
    pairs.append(("22-7-0000", "33-7-0000"))
    with open(folder / "libri2mix_test-clean.csv", "w") as file:
        write = csv.writer(file).writerow
        write(["mixture_ID", "source_1_path", "source_1_gain", "source_2_gain"])
        for k, pair in enumerate(pairs):
            write(["_".join(pair), "unused", 0.5 + k, 2.0])
    with open(folder / "libri2mix_test-clean_info.csv", "w") as file:
        write = csv.writer(file).writerow
        write(["mixture_ID", "speaker_1_sex", "speaker_2_sex"])
        for pair in pairs:
            write(["_".join(pair), *(SPEAKERS[u.split("-")[0]][0] for u in pair)])
    return folder


def make_list(librispeech, metadata, path, *options):
    given = ["--metadata", str(metadata), "--librispeech", str(librispeech)]
    maker.main([*given, "--output", str(path), *options])
    return libri2mix.read_list(path, 3)


@pytest.fixture
def listed(librispeech, metadata, tmp_path, monkeypatch):
    """The list of the three mixtures, in the place of Libri2Mix's."""
    path = tmp_path / "list.csv"
    mixtures = make_list(librispeech, metadata, path)
    reading = functools.partial(libri2mix.read_list, path, 3)
    monkeypatch.setattr(libri2mix, "read_list", reading)
    monkeypatch.setattr(libri2mix, "LIST", path)
    return mixtures


def test_enrolments_are_other_utterances_of_the_speaker(
    librispeech, metadata, tmp_path
):
    found = make_list(librispeech, metadata, tmp_path / "a.csv")
    assert found == make_list(librispeech, metadata, tmp_path / "b.csv")
    seeds = [
        make_list(librispeech, metadata, tmp_path / "c.csv", "--seed", str(k))
        for k in range(1, 5)
    ]
    assert any(other != found for other in seeds)
    for mixture in [m for other in (found, *seeds) for m in other]:
        for source, enrolment in zip(mixture.sources, mixture.enrolments, strict=True):
            assert enrolment != source
            assert enrolment.split("-")[0] == source.split("-")[0]
            assert not enrolment.endswith("0003")  # it is too short
    assert found[1].gains == (1.5, 2.0) and found[1].sexes == ("F", "M")


def test_the_committed_list():
    mixtures = libri2mix.read_list()
    assert len({mixture.name for mixture in mixtures}) == 3000
    for mixture in mixtures:
        for source, enrolment in zip(mixture.sources, mixture.enrolments, strict=True):
            assert enrolment != source
            assert enrolment.split("-")[0] == source.split("-")[0]
        assert {*mixture.sexes} <= {"M", "F"} and min(mixture.gains) > 0


@pytest.mark.parametrize("mode", ["max", "min"])
def test_mixtures_are_librimix_s(listed, librispeech, mode):
    found = libri2mix.trials(librispeech, None, [mode])
    assert [trial.target for trial in found] == ["11", "22", "33", "11", "22", "33"]
    first, second = (trial.read() for trial in found[:2])
    assert len(first.mixture) == (5 if mode == "max" else 4) * SAMPLE_RATE
    assert np.array_equal(first.mixture, second.mixture)
    assert np.array_equal(first.interferer, second.target)
    own, _ = soundfile.read(librispeech / "test-clean/11/7/11-7-0000.flac")
    assert first.target[: len(own)] == pytest.approx(0.5 * own, abs=1e-6)
    assert not first.target[len(own) :].any()
    assert first.mixture == pytest.approx(first.target + first.interferer)
    assert found[0].facts["sexes"] == "FM"


def test_a_subset_is_fixed_and_has_both_targets(listed, librispeech):
    few = libri2mix.trials(librispeech, 2, ["max"])
    more = libri2mix.trials(librispeech, 4, ["max"])
    assert few == more[:2] or [t.uid for t in few] == [t.uid for t in more[:2]]
    assert len({trial.facts["mixture"] for trial in few}) == 1
    assert [trial.uid[-1] for trial in few] == ["1", "2"]
    for wrong in (3, 8, 0):
        with pytest.raises(UserError, match=f"--trials {wrong}: .* even number, at mo"):
            libri2mix.trials(librispeech, wrong)


def test_bad_input_of_libri2mix_is_one_line(listed, librispeech, metadata, tmp_path):
    with pytest.raises(UserError, match="holds no test-clean; give the folder of Lib"):
        libri2mix.trials(tmp_path)
    assert libri2mix.trials(librispeech / "test-clean", 2)
    (tmp_path / "test-clean").mkdir()
    with pytest.raises(UserError, match=r"11-7-000\d.flac: no such rec.* are missing"):
        libri2mix.trials(tmp_path)
    with pytest.raises(
        UserError, match="csv: No such file.*give --metadata the folder"
    ):
        maker.read_csv(tmp_path / "no.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory; restore it"),
        ("a,b\n1,2\n", "not the list of mixtures; restore it"),
        (",".join(libri2mix.COLUMNS) + "\n", "0 of 3 mixtures; restore it"),
    ],
)
def test_a_damaged_list(tmp_path, content, message):
    path = tmp_path / "list.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        libri2mix.read_list(path, 3)


def signals(seed=0, quiet=1.0):
    own = quiet * voice(2.0, seed=seed)
    other = voice(2.0, seed=9, pitch=200.0)
    return trials.Signals(own + other, own, other)


def made(uid, target="anna", quiet=1.0, text=None, scenario="ts2"):
    reading = functools.partial(signals, int(uid), quiet)
    facts = {"mixture": uid, "sexes": "FF"}
    return trials.Trial(uid, scenario, target, (), reading, facts, text)


class Fixed(systems.System):
    """A system that halves the mixture, and counts its calls."""

    calls: list = []

    def identity(self):
        return str(self.source)

    def open(self):
        def enhance(signals, enrolment):
            Fixed.calls.append(len(signals.mixture))
            return 0.5 * signals.mixture

        return enhance


@pytest.fixture(autouse=True)
def fresh():
    Fixed.calls.clear()
    scoring._opened.cache_clear()
    listeners._recognizer.cache_clear()


def run(folder, found, *rows, measures=None, about=None):
    measures = measures or scoring.Measures()
    return scoring.score(found, rows, folder, about or {"ground": "x"}, measures)


HALF = Fixed("onnx", "half.onnx")


def test_an_interrupted_run_goes_on(tmp_path):
    found = [made(str(k)) for k in range(4)]
    whole = run(tmp_path / "whole", found, HALF)
    folder = tmp_path / "cut"
    run(folder, found[:2], HALF)
    path = folder / scoring.ROWS
    lines = path.read_text().splitlines()
    path.write_text(lines[0] + "\n" + lines[1][:50])  # killed while it wrote
    Fixed.calls.clear()
    assert run(folder, found, HALF) == whole
    assert len(Fixed.calls) == 3
    assert run(folder, found, HALF) == whole and len(Fixed.calls) == 3
    assert len(scoring.read_rows(folder)) == 4


def test_another_system_joins(tmp_path):
    found = [made(str(k)) for k in range(2)]
    run(tmp_path, found, HALF)
    rows = run(tmp_path, found, systems.System("noisy"), HALF)
    assert [row["system"] for row in rows] == ["noisy"] * 2 + ["half, live"] * 2
    assert len(Fixed.calls) == 2
    assert [row["si_sdri"] for row in rows] == pytest.approx([0] * 4, abs=1e-4)
    assert {*json.loads((tmp_path / "about.json").read_text())["systems"]} == {
        "noisy",
        "half, live",
    }


def test_other_scores_are_not_mixed_in(tmp_path):
    run(tmp_path, [made("0")], HALF)
    with pytest.raises(UserError, match=r"scores with ground 'x', not 'y'; give anoth"):
        run(tmp_path, [made("0")], HALF, about={"ground": "y"})
    with pytest.raises(UserError, match="with mos .*; give another --output"):
        run(
            tmp_path,
            [made("0")],
            HALF,
            measures=scoring.Measures(listeners.Listeners(mos=("dnsmos",))),
        )
    with pytest.raises(
        UserError, match="half, live was scored as half.onnx, and is no"
    ):
        run(tmp_path, [made("0")], Fixed("onnx", "other/half.onnx"))
    (tmp_path / "about.json").write_text("[")
    with pytest.raises(UserError, match="about.json: not a JSON object"):
        run(tmp_path, [made("0")], HALF)


class Ear:
    """An ASR that hears three words."""

    def __call__(self, signals):
        return ["one two two"] * len(signals)

    def normalize(self, text):
        return text.lower()


def test_words_need_a_known_text(tmp_path, monkeypatch):
    monkeypatch.setattr(asr, "check", lambda name: None)
    monkeypatch.setattr(asr, "identity", lambda name: name)
    monkeypatch.setattr(asr, "load", lambda name: Ear())
    found = [made("0", text="ONE TWO"), made("1"), made("2", text="", scenario="ts3")]
    rows = run(
        tmp_path, found, HALF, measures=scoring.Measures(listeners.Listeners("ear"))
    )
    assert [row.get("word_errors") for row in rows] == [1, None, 3]
    shown = "\n".join(tables.scenarios(rows))
    assert "TS2: words and quality (words: 1 trials with a known text)" in shown
    assert "|half, live|2|50.0 [50.0, 50.0]|" in shown
    assert "|half, live|1|90.0 [90.0, 90.0]|" in shown  # three words in 2 s


def test_sir_and_undefined_measures(tmp_path):
    [row] = run(tmp_path, [made("0", quiet=0.1)], HALF)
    parts = signals(quiet=0.1)
    energy = [float((x**2).sum()) for x in (parts.target, parts.interferer)]
    assert row["sir"] == pytest.approx(10 * np.log10(energy[0] / energy[1]), abs=1e-3)
    silent = trials.Signals(parts.interferer, 0 * parts.target, parts.interferer)
    assert scoring.sir(silent) is None
    found = scoring.measured(silent, silent.mixture, None, scoring.Measures())
    assert found["si_sdri"] is None and found["leakage_reduction"] == 0
    few = scoring.measured(parts, parts.mixture, None, scoring.Measures(frames=False))
    assert {*few} == {"si_sdr", "si_sdri", "failure", "wrong_speaker"}


def row(mixture, target, wrong, gain, sir=0.0, sexes="FM", **more):
    own = {"system": "s", "scenario": "max", "mixture": mixture, "target": target}
    own |= {"wrong_speaker": float(wrong), "si_sdri": gain, "failure": float(gain < 0)}
    return {**own, "sir": sir, "sexes": sexes, "uid": mixture + target, **more}


def test_libri2mix_tables():
    rows = [
        row("a", "1", False, 8.0, sir=3.0),
        row("a", "2", True, -4.0, sir=-3.0),
        row("b", "1", False, 6.0, sir=2.5, sexes="MM"),
        row("b", "3", False, 2.0, sir=-2.5, sexes="MM"),
    ]
    lines = tables.libri2mix(rows)
    heads = [line.split("|") for line in lines if line.startswith("|system")]
    cells = [line.split("|") for line in lines if line.startswith("|s|")]
    shown = {}
    for head, values in zip(heads, cells, strict=True):
        shown |= {h: v.split(" ")[0] for h, v in zip(head, values, strict=True)}
    assert shown["SI-SDRi dB, mean"] == "3.0" and shown["median"] == "4.0"
    assert shown["same sex, mean"] == "4.0" and shown["other sex, mean"] == "2.0"
    assert shown["quieter target, mean"] == "-4.0" and shown["louder, mean"] == "8.0"
    assert shown["equal, mean"] == "4.0"  # limits included
    assert shown["wrong voice %"] == "25.0" and shown["quieter target"] == "100.0"
    assert shown["both right %"] == "50.0" and shown["made worse %"] == "25.0"
    assert shown["right voice only, SI-SDRi dB"] == "5.3"


def test_rejection_is_half_of_the_active_frames():
    kinds = {"tsos": 0.51, "speech": 0.4}, {"tsos": 0.5, "speech": 0.8}
    own = [
        {"system": "s", "scenario": "silence", "target": str(k), "uid": str(k), **kind}
        for k, kind in enumerate(kinds)
    ]
    [line] = [x for x in tables.short(own) if x.startswith("|s|")]
    assert line.startswith(
        "|s|2|50.0 [0.0, 100.0]|100.0 [100.0, 100.0]|0.0 [0.0, 0.0]|"
    )


def test_runs_between_pauses():
    active = np.zeros(200, bool)
    active[:20] = True  # touches the beginning: only its pause behind is seen
    active[40:62] = active[65:70] = True  # 48 ms within a word
    active[75:90] = True  # 80 ms: still the same
    active[110:140] = True
    active[147:160] = True  # 112 ms: another run, but no pause
    active[190:] = True
    assert short.runs(active) == [(40, 90)]


@pytest.fixture
def words(tmp_path):
    """Two speakers: words of 0.5 s between pauses of 0.5 s, then a long recording."""
    for speaker, pitch in (("me", 120.0), ("you", 210.0)):
        folder = tmp_path / "speech" / speaker / "chapter"
        folder.mkdir(parents=True)
        long = voice(6.0, pitch=pitch)
        gate = (np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE) % 1.0
        carrier = voice(4.0, pitch=pitch) * 0 + 0.1 * np.sin(
            2 * np.pi * pitch * np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
        )
        spoken = carrier * ((gate > 0.25) & (gate < 0.75))
        for name, wave in (("long", long), ("words", spoken)):
            soundfile.write(folder / f"{name}.wav", wave, SAMPLE_RATE)
    return tmp_path / "speech"


def test_short_utterances(words):
    found = short.trials([words])
    assert [t.scenario for t in found] == sorted(
        (t.scenario for t in found), key=short.BEFORE.index
    )
    own = [t for t in found if "words@" in t.uid]
    assert len(own) == 2 * 4 * 2  # speakers, words, what goes before
    for trial in own:
        assert trial.enrolment[0].stem == "long"
        assert trial.facts["speech"] == pytest.approx(0.5, abs=0.05)
        parts = trial.read()
        lead = round(short.LEAD * SAMPLE_RATE)
        assert not parts.target[:lead].any() and parts.target[lead:].any()
        assert parts.interferer.any() == (trial.scenario == "another talker")
        assert not parts.interferer[lead:].any()
        noise = parts.mixture - parts.target - parts.interferer
        assert 0 < np.abs(noise[:lead]).max() < 0.05 * np.abs(parts.target).max()
        again = trial.read()
        assert np.array_equal(parts.mixture, again.mixture)
    few = short.trials([words], 3)
    assert len(few) == 6 and {t.uid for t in few} < {t.uid for t in found}


def test_bad_input_of_short_is_one_line(words, tmp_path):
    with pytest.raises(UserError, match="no such folder; correct --speech"):
        short.trials([tmp_path / "no"])
    with pytest.raises(UserError, match="1 folders of speakers with recordings"):
        short.trials([words / "me"])
    for speaker in ("me", "you"):
        (words / speaker / "chapter/long.wav").unlink()
    with pytest.raises(UserError, match="no utterance of 0.3 to 1.0 s whose sp"):
        short.trials([words])


@pytest.fixture
def peer(monkeypatch):
    given = sys.executable, ["tests.peer_fixture"], "version 1"
    monkeypatch.setattr(systems, "_peer", lambda system: given)
    return systems.System("peer", "gtcrn")


def test_a_peer_at_another_rate(peer):
    enhance = peer.open()
    time = np.arange(3 * SAMPLE_RATE + 7) / SAMPLE_RATE
    wave = np.float32(0.3 * np.sin(2 * np.pi * 440 * time))
    for _ in range(2):
        output = enhance(trials.Signals(wave, wave, wave), ())
        assert output.shape == wave.shape and output.dtype == np.float32
        assert output[500:-500] == pytest.approx(-wave[500:-500], abs=1e-3)
    with pytest.raises(environments.Unavailable, match="nothing to hear"):
        enhance(trials.Signals(*[np.zeros(800, np.float32)] * 3), ())


def test_a_peer_that_does_not_install(monkeypatch):
    def make(peer):
        raise environments.Unavailable("no network")

    monkeypatch.setattr(systems.environments, "make", make)
    with pytest.raises(UserError, match="gtcrn: no network; leave it out of --peers"):
        systems.System("peer", "gtcrn").identity()


def test_the_command(listed, librispeech, weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretrained, "WEIGHTS", weights)
    output, kept = tmp_path / "out", tmp_path / "scores.csv.gz"
    words = ["libri2mix", "--librispeech", str(librispeech), "--output", str(output)]
    words += ["--nj", "1", "--trials", "2", "--modes", "min", "--look_ahead"]
    command.main([*words, "--keep", str(kept)])
    shown = capsys.readouterr().out
    for name in ("noisy", "package, live", "package, look-ahead"):
        assert shown.count(f"|{name}|2|") == 2
    assert "Libri2Mix test mix_clean, 16 kHz min: whose voice" in shown
    assert len(read_csv(kept)) == 6
    command.main(
        ["libri2mix", "--librispeech", "x", "--output", str(output), "--tables"]
    )
    assert capsys.readouterr().out == shown
    with pytest.raises(SystemExit):
        command.main(["short", "--speech", "x", "--output", "no", "--tables"])
    assert "no: no scores; run without --tables" in capsys.readouterr().err


def test_scenarios_with_texts(weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretrained, "WEIGHTS", weights)
    for number in (1, 3):
        write_set(tmp_path / "raw", number)
    write_table(tmp_path / "raw/test_ts1/text_spk1", {"a": "HELLO"})
    found = module("quality.scenarios").trials(tmp_path, ["test_ts1", "test_ts3"])
    assert [trial.text for trial in found] == ["HELLO", ""]
    words = f"scenarios --dump_dir {tmp_path} --sets test_ts1 test_ts3 --nj 1"
    command.main([*words.split(), "--output", str(tmp_path / "out")])
    shown = capsys.readouterr().out
    assert "### TS1\n" in shown and "### TS3\n" in shown
    assert "words" not in shown
    with pytest.raises(SystemExit):
        command.main(["scenarios", "--asr", "whisper_huge", "--dump_dir", "no"])
    assert "whisper_huge" in capsys.readouterr().err

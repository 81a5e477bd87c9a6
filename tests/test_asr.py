"""The scoring ASR's data, units and decoding rules, without ESPnet."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from espnet_pse_kd.audio import read_audio, write_audio
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.kaldi import read_table, write_table
from espnet_pse_kd.recipe import asr
from espnet_pse_kd.recipe.lexicon import Lexicon


@pytest.fixture
def speech(tmp_path):
    """A data folder with 40 utterances of 1000 samples; the last has no transcript."""
    rng = np.random.default_rng(0)
    wavs = {}
    for k in range(40):
        wavs[f"u{k:02d}"] = str(tmp_path / f"{k}.wav")
        write_audio(wavs[f"u{k:02d}"], 0.1 * rng.standard_normal(1000))
    folder = tmp_path / "speech"
    write_table(folder / "wav.scp", wavs)
    write_table(folder / "text", dict.fromkeys(list(wavs)[:-1], "Hello, WORLD."))
    write_table(folder / "utt2dur", dict.fromkeys(wavs, 0.0625))
    return folder


@pytest.fixture
def rooms(tmp_path):
    response = np.zeros((300, 3), np.float32)
    response[100, 0], response[50, 1] = 1.0, 1.0
    write_audio(tmp_path / "room.wav", response, subtype="FLOAT")
    write_table(tmp_path / "rooms.scp", {"r": tmp_path / "room.wav"})
    return tmp_path / "rooms.scp"


def test_data_is_the_transcribed_part(speech, tmp_path):
    texts = asr._write_set(speech, tmp_path / "out", 5, None)
    assert texts == ["hello world"] * 5
    assert set(read_table(tmp_path / "out" / "speech_shape").values()) == {"1000"}
    assert asr._write_set(speech, tmp_path / "out", None, None) == ["hello world"] * 39


def test_no_transcript_at_all(speech, tmp_path):
    write_table(speech / "text", {"another": "one"})
    with pytest.raises(UserError, match="give --asr_model"):
        asr._write_set(speech, tmp_path / "out", None, None)


def test_most_speech_is_put_at_the_target_in_a_room(speech, rooms, tmp_path):
    asr._write_set(speech, tmp_path / "out", None, rooms)
    before = read_table(speech / "wav.scp")
    after = read_table(tmp_path / "out" / "wav.scp")
    dry = {key: read_audio(path) for key, path in before.items()}
    wet = {key: read_audio(path) for key, path in after.items()}
    paused = {key for key in wet if len(wet[key]) > len(dry[key])}
    moved = {key for key in wet if after[key] != before[key]} - paused
    assert 0.3 < len(paused) / len(after) < 0.7
    assert 0.4 < len(moved) / (len(after) - len(paused)) < 0.95
    for key in moved:
        assert len(wet[key]) == len(dry[key]) and np.abs(wet[key][:99]).max() < 1e-3
        gain = 0.5 / np.abs(dry[key][:900]).max()
        assert wet[key][100:] == pytest.approx(gain * dry[key][:900], abs=1e-3)
    lengths = read_table(tmp_path / "out" / "speech_shape")
    for key in paused:
        pause = len(wet[key]) - len(dry[key])
        assert 8000 <= pause <= 48000 and int(lengths[key]) == len(wet[key])
        silent = np.abs(wet[key]) < 1e-3
        assert silent.sum() >= pause - 200


def test_units_hold_blank_first_and_every_letter(tmp_path):
    tokens, model = asr._train_units(["one two three"] * 20, tmp_path / "units", 30)
    listed = tokens.read_text(encoding="utf-8").split("\n")[:-1]
    assert (listed[0], listed[1], listed[-1]) == asr.SPECIAL
    assert set("onetwhr") <= set(listed) and len(listed) == len(set(listed))
    assert model.is_file()
    lexicon = read_table(tmp_path / asr.LEXICON)
    assert {w: p.replace(" ", "") for w, p in lexicon.items()} == {
        word: "\u2581" + word for word in ("one", "two", "three")
    }


def test_greedy_rule_drops_repeats_then_blanks():
    recognizer = asr.Recognizer.__new__(asr.Recognizer)
    recognizer.blank = 0
    recognizer.tokens = SimpleNamespace(ids2tokens=lambda ids: [str(k) for k in ids])
    recognizer.text = SimpleNamespace(tokens2text=" ".join)
    recognizer.lexicon = None
    assert recognizer._words(np.eye(6)[[0, 3, 3, 0, 3, 5, 5, 0, 0]]) == "3 3 5"
    assert recognizer._words(np.eye(6)[[0, 0]]) == ""


def test_lexicon_finds_the_best_of_all_paths():
    """Against every path of up to five frames, with equal units in a row."""
    words = {"a": [1], "ab": [1, 2], "bb": [2, 2], "c": [3]}

    def readings(units):
        if not units:
            return [[]]
        return [
            [word, *rest]
            for word, spelled in words.items()
            if units[: len(spelled)] == spelled
            for rest in readings(units[len(spelled) :])
        ]

    def units(path):
        return [a for a, b in zip(path, (0, *path), strict=False) if a != b and a]

    rng = np.random.default_rng(0)
    lexicon = Lexicon(words)
    for frames in [1, 2, 3, 4, 5] * 8:
        scores = np.log(rng.dirichlet(np.full(4, 0.3), frames) + 1e-9)
        best = max(
            (
                path
                for path in itertools.product(range(4), repeat=frames)
                if readings(units(path))
            ),
            key=lambda path: sum(scores[t, u] for t, u in enumerate(path)),
        )
        assert lexicon.decode(scores) in readings(units(best))


def test_batches_keep_order_and_stay_short():
    signals = [(str(k), np.zeros(16000 * (5 + k % 3))) for k in range(40)]
    batches = list(asr._batches(iter(signals)))
    assert [item for batch in batches for item in batch] == signals
    for batch in batches:
        assert max(len(x) for _, x in batch) * len(batch) <= 60 * 16000


@pytest.mark.parametrize("name", ["empty", "gone.pth"])
def test_a_model_that_is_not_there(name, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"--asr_model .*{name}"):
        asr._locate(str(tmp_path / name))

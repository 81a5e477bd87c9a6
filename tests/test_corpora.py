"""Stage 1: inventories, disjoint splits, bad input, the embedded corpus."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus_fixture import TEST, TRAIN, babble, make_librispeech, write

from espnet_pse_kd.audio import read_audio
from espnet_pse_kd.bin import prepare_corpus
from espnet_pse_kd.corpora import espeak
from espnet_pse_kd.corpora.espeak_engine import synthesize
from espnet_pse_kd.corpora.inventory import (
    MIN_ROOMS_FOR_DEV,
    SPLITS,
    Utterance,
    hold_out_speakers,
    room_of,
    split_folder,
)
from espnet_pse_kd.corpora.merge import Corpus, SplitOptions
from espnet_pse_kd.corpora.prepare import prepare_corpora
from espnet_pse_kd.corpora.synthetic_noise import KINDS, synthesize_noise
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.kaldi import read_table, same_keys
from espnet_pse_kd.speaker import load_speaker_encoder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    make_librispeech(root)
    return root


def prepare(root: Path, data: Path, **options: object) -> None:
    splits = SplitOptions(dev_speakers=options.pop("dev_speakers", 4))
    corpora = [Corpus("librispeech", root / "LibriSpeech")]
    noise, rir = root / "noise", root / "rir"
    prepare_corpora(data, corpora, noise, rir, splits, **options)


def test_splits_share_no_speaker_noise_or_room(corpus: Path, tmp_path: Path) -> None:
    prepare(corpus, tmp_path, simulated_dev_rooms=False)
    for table in ("speech/spk2utt", "noise/wav.scp", "rir/measured.scp"):
        keys = [set(read_table(tmp_path / split / table)) for split in SPLITS]
        assert all(keys)
        assert sum(map(len, keys)) == len(set.union(*keys))
    rooms = [
        {
            Path(p).stem.split("_")[0]
            for p in read_table(tmp_path / s / "rir/measured.scp").values()
        }
        for s in SPLITS
    ]
    assert sum(map(len, rooms)) == len(set.union(*rooms)) == 3
    assert set(read_table(tmp_path / "test/speech/spk2utt")) == set(TEST)


def test_few_measured_rooms_stay_in_training(corpus: Path, tmp_path: Path) -> None:
    prepare(corpus, tmp_path, simulated_dev_rooms=False)
    prepare(corpus, tmp_path)
    rooms = {s: tmp_path / s / "rir/measured.scp" for s in SPLITS}
    assert len({k.split("_")[0] for k in read_table(rooms["train"])}) == 2
    assert not rooms["dev"].exists()
    assert len({k.split("_")[0] for k in read_table(rooms["test"])}) == 1


@pytest.mark.parametrize("divided", [True, False])
@pytest.mark.parametrize(
    ("count", "dev"), [(MIN_ROOMS_FOR_DEV - 1, 0), (MIN_ROOMS_FOR_DEV, 2)]
)
def test_many_measured_rooms_develop_too(
    tmp_path: Path, divided: bool, count: int, dev: int
) -> None:
    for name in [f"room{k}_{i}.wav" for k in range(count) for i in range(2)]:
        path = tmp_path / ("train" if divided else "") / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    if divided:
        (tmp_path / "test").mkdir()
        (tmp_path / "test/other_0.wav").touch()
    splits = split_folder(tmp_path, room_of, 0, MIN_ROOMS_FOR_DEV)
    rooms = {s: {room_of(p) for p in paths} for s, paths in splits.items()}
    test = 1 if divided else 2
    train = count - dev - (0 if divided else test)
    expected = {"train": train, "dev": dev, "test": test}
    assert {split: len(names) for split, names in rooms.items()} == expected
    assert len(set.union(*rooms.values())) == train + dev + test


def test_tables_agree_with_the_audio(corpus: Path, tmp_path: Path) -> None:
    prepare(corpus, tmp_path)
    folder = tmp_path / "test" / "speech"
    uids = same_keys(folder, ["wav.scp", "utt2spk", "utt2dur"])
    wavs, durations = read_table(folder / "wav.scp"), read_table(folder / "utt2dur")
    for uid in uids:
        frames = soundfile.info(wavs[uid]).frames
        assert round(float(durations[uid]) * 16000) == frames
    assert read_table(folder / "spk2gender") == {s: "fm"[int(s) % 2] for s in TEST}
    # Transcripts are partial in the corpus, and so is the table.
    assert set(read_table(folder / "text")) == {u for u in uids if not u.endswith("1")}


def test_development_speakers_are_balanced_and_have_two_recordings() -> None:
    utterances = [
        Utterance(f"{s}-{i}", Path("x"), s, "fm"[int(s) % 2])
        for s, count in TRAIN.items()
        for i in range(count)
    ]
    rest, held = hold_out_speakers(utterances, 4, seed=3)
    speakers = {u.speaker for u in held}
    assert len(speakers) == 4 and "13" not in speakers
    assert sum(int(s) % 2 for s in speakers) == 2
    assert speakers.isdisjoint({u.speaker for u in rest})
    assert len(rest) + len(held) == len(utterances)


UTT = "LibriSpeech/train-tiny/11/1/11-1-0000.flac"


def _truncate(root: Path) -> None:
    path = root / UTT
    path.write_bytes(path.read_bytes()[:20000])


def _nan(root: Path) -> None:
    (root / UTT).unlink()
    wave = babble(1, 3.5) / np.float32(32768)
    wave[5] = np.nan
    path = root / "noise/train/nan.wav"
    soundfile.write(path, wave, 16000, subtype="FLOAT")


def _empty_speaker(root: Path) -> None:
    (root / "LibriSpeech/train-tiny/99/1").mkdir(parents=True)


def _duplicate_speaker(root: Path) -> None:
    shutil.copytree(
        root / "LibriSpeech/train-tiny/11", root / "LibriSpeech/test-tiny/11"
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: shutil.rmtree(r / "LibriSpeech"), "no such folder"),
        (lambda r: shutil.rmtree(r / "noise"), "no such folder"),
        (lambda r: shutil.rmtree(r / "LibriSpeech/test-tiny"), "--test_subsets"),
        (_empty_speaker, "99: speaker without recordings"),
        (_duplicate_speaker, "speaker 11 is in (train|dev) and test"),
        (
            lambda r: (r / UTT).write_bytes(b"no audio"),
            "11-1-0000.flac: not a readable",
        ),
        (lambda r: write(r / UTT, babble(1, 3), 8000), "11-1-0000.flac: 8000 Hz"),
        (
            lambda r: write(r / UTT, np.stack([babble(1, 3)] * 2, 1)),
            "11-1-0000.flac: 2 channels",
        ),
        (
            lambda r: write(r / UTT, 0 * babble(1, 3)),
            "11-1-0000.flac: every sample is zero",
        ),
        (_truncate, "11-1-0000.flac: "),
        (_nan, "nan.wav: holds NaN"),
    ],
)
def test_bad_input_is_named_and_nothing_written(
    corpus: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    root = tmp_path / "corpus"
    shutil.copytree(corpus, root)
    spoil(root)
    with pytest.raises(UserError, match=message):
        prepare(root, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_too_few_speakers(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--dev_speakers 6"):
        prepare(corpus, tmp_path, dev_speakers=6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--corpus", "librispeech"], "--librispeech: missing"),
        (["--corpus", "espeak", "--rooms", "0", "1", "1"], "--rooms 0 1 1: no rooms"),
        (["--corpus", "espeak", "--voices", "999"], "--voices 999"),
        (["--corpus", "espeak", "--utterances", "1"], "--utterances 1"),
    ],
)
def test_bad_options(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    with pytest.raises(SystemExit) as status:
        prepare_corpus.main([*arguments, "--data_dir", str(tmp_path / "data")])
    assert status.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_voice_table_and_grammar() -> None:
    voices = espeak.read_voices()
    assert len(voices) >= 200
    assert len({replace(v, name="") for v in voices}) == len(voices)
    assert {v.gender for v in voices} == {"m", "f"}
    rng = np.random.default_rng(0)
    sentences = [espeak.draw_sentence(rng, espeak.read_grammar()) for _ in range(2000)]
    words = {word for sentence in sentences for word in sentence.split()}
    assert 150 <= len(words) <= 300
    assert all(word.isalpha() and word.islower() for word in words)


@pytest.mark.dev
def test_voices_are_distinct() -> None:
    """Takes a minute: the d-vectors of all voices, each speaking other sentences."""
    encoder = load_speaker_encoder("ge2e")
    rng = np.random.default_rng(0)
    vectors = np.stack(
        [
            encoder.embed(
                np.concatenate([espeak.draw_utterance(rng, v)[1] for _ in range(3)])
            )
            for v in espeak.read_voices()
        ]
    )
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1)
    assert cosines.max() < 0.9


def test_absent_variant_is_an_error_not_the_default() -> None:
    voice = espeak.read_voices()[0]
    with pytest.raises(UserError, match="espeak-ng loaded"):
        synthesize(replace(voice, variant="nobody"), "hello")
    with pytest.raises(UserError, match="refuses"):
        synthesize(replace(voice, accent="xx"), "hello")


def test_synthesis_does_not_depend_on_what_came_before() -> None:
    first, second = espeak.read_voices()[:2]
    alone = synthesize(first, "good morning", seed=3)
    synthesize(second, "something else altogether", seed=4)
    assert np.array_equal(synthesize(first, "good morning", seed=3), alone)


def test_espeak_corpus(tmp_path: Path) -> None:
    options = {
        "voices": 12,
        "utterances": 2,
        "noises": (10, 1, 1),
        "noise_seconds": 1.0,
    }
    for name in ("a", "b"):
        espeak.prepare_espeak(tmp_path / name, **options)
    speakers = []
    for split in SPLITS:
        folder = tmp_path / "a" / split
        uids = same_keys(folder / "speech", ["wav.scp", "utt2spk", "utt2dur", "text"])
        speakers += read_table(folder / "speech/spk2utt")
        for table in ("speech/wav.scp", "noise/wav.scp"):
            one, two = (
                read_table(tmp_path / name / split / table) for name in ("a", "b")
            )
            for uid, path in one.items():
                assert np.array_equal(read_audio(path), read_audio(two[uid]))
        assert all(
            3 <= float(d) < 12 for d in read_table(folder / "speech/utt2dur").values()
        )
        assert len(uids) == 2 * len(read_table(folder / "speech/spk2utt"))
    assert len(speakers) == len(set(speakers)) == 12
    kinds = {
        uid.split("_")[0] for uid in read_table(tmp_path / "a/train/noise/wav.scp")
    }
    assert kinds == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_noises_are_sane(kind: str) -> None:
    noise = synthesize_noise(kind, np.random.default_rng(1), 16000)
    other = synthesize_noise(kind, np.random.default_rng(2), 16000)
    level = 10 * np.log10(np.mean(noise**2))
    assert noise.dtype == np.float32 and -45 < level < -25.9
    assert np.abs(noise).max() <= 0.9001
    assert abs(np.corrcoef(noise, other)[0, 1]) < 0.5

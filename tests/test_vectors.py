"""Stage 3: what is computed, shared, kept and computed again."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from espnet_pse_kd.audio import read_audio, write_audio
from espnet_pse_kd.bin.extract_vectors import main
from espnet_pse_kd.enrolment_vectors import EnrolmentVectors
from espnet_pse_kd.kaldi import read_table, write_table
from espnet_pse_kd.speaker import load_speaker_encoder
from espnet_pse_kd.stft import num_frames

LENGTHS = {"a": 16000, "b": 16000, "c": 12345}


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    train, twins = (tmp_path / "raw" / name for name in ("train", "train_noits"))
    clips = tmp_path / "enroll" / "train"
    wavs = {}
    for uid, length in LENGTHS.items():
        wavs[uid] = train / "wav" / f"{uid}.wav"
        write_audio(wavs[uid], 0.1 * rng.standard_normal(length))
    write_table(train / "wav.scp", wavs)
    twin = twins / "wav" / "b.wav"
    write_audio(twin, 0.1 * rng.standard_normal(LENGTHS["b"]))
    write_table(twins / "wav.scp", {**wavs, "b": twin})
    for folder in (train, twins):
        write_table(folder / "utt2num_samples", LENGTHS)
    paths = {clip: clips / "wav" / f"{clip}.wav" for clip in ("s-0", "s-1")}
    for path in paths.values():
        write_audio(path, 0.1 * rng.standard_normal(20000))
    write_table(clips / "wav.scp", paths)
    write_table(clips / "utt2spk", dict.fromkeys(paths, "s"))
    write_table(clips / "utt2source", {"s-0": "x", "s-1": "y"})
    main(["--dump_dir", str(tmp_path)])
    return tmp_path


def test_vectors_are_the_encoder_s(dump):
    encoder = load_speaker_encoder()
    vectors = EnrolmentVectors.load(dump / "enroll/train/vectors.npz")
    assert (vectors.ids, vectors.sources) == (["s-0", "s-1"], ["x", "y"])
    clip = read_audio(dump / "enroll/train/wav/s-1.wav")
    np.testing.assert_allclose(vectors.vectors[1], encoder.embed(clip), atol=1e-5)
    table = read_table(dump / "raw/train/window_vectors.scp")
    for uid, length in LENGTHS.items():
        windows = np.load(table[uid])
        assert windows.dtype == np.float16
        assert windows.shape == (num_frames(length, 4000), 256)
    mixture = read_audio(dump / "raw/train/wav/c.wav")
    expected = encoder.windows(mixture).numpy()
    np.testing.assert_allclose(np.load(table["c"]), expected, atol=2e-3)


def test_twins_share_what_is_the_same(dump):
    own, twin = (
        read_table(dump / "raw" / name / "window_vectors.scp")
        for name in ("train", "train_noits")
    )
    assert own["a"] == twin["a"] and own["c"] == twin["c"] and own["b"] != twin["b"]
    assert not np.array_equal(np.load(own["b"]), np.load(twin["b"]))


def test_only_what_is_stale_is_computed_again(dump):
    files = {p: p.stat().st_mtime_ns for p in dump.rglob("*.npy")}
    changed = dump / "raw/train/wav/a.wav"
    os.utime(changed, ns=(max(files.values()) + 10**6,) * 2)
    (dump / "enroll/train/vectors/s-0.npy").unlink()
    main(["--dump_dir", str(dump)])
    redone = {p.stem for p, time in files.items() if p.stat().st_mtime_ns != time}
    assert redone == {"a", "s-0"}


def test_vectors_of_another_encoder_are_forgotten(dump):
    note = dump / "raw/train/window_vectors/speaker_encoder"
    note.write_text("another\n")
    before = (dump / "raw/train/window_vectors/a.npy").stat().st_mtime_ns
    main(["--dump_dir", str(dump), "--splits", "--sets", "train"])
    assert (dump / "raw/train/window_vectors/a.npy").stat().st_mtime_ns > before
    name, digest, *window = note.read_text().split()
    assert (name, len(digest), window) == ("ge2e", 16, ["0.8", "s"])


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--sets", "nowhere"], "--sets nowhere"), (["--splits", "none"], "--splits")],
)
def test_missing_folders_are_named(dump, capsys, options, message):
    with pytest.raises(SystemExit) as stop:
        main(["--dump_dir", str(dump), *options])
    assert stop.value.code == 2 and message in capsys.readouterr().err

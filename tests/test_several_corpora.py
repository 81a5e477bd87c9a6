"""Kaldi folders, several corpora at once, downloaded layouts, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus_fixture import babble, make_librispeech, write

from espnet_pse_kd.audio import read_audio
from espnet_pse_kd.bin import prepare_corpus, prepare_speakers
from espnet_pse_kd.corpora.checks import check_files
from espnet_pse_kd.corpora.kaldi_folder import read_kaldi
from espnet_pse_kd.corpora.librispeech import held_out_subset, reader_of
from espnet_pse_kd.corpora.merge import parse_corpus
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.kaldi import read_table, write_table
from espnet_pse_kd.simulation.split import Piece, load_inventory, read_pieces


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora")
    make_librispeech(folder)
    return folder


def make_kaldi(folder: Path, speakers: dict[str, int], seed: int = 0) -> Path:
    """A Kaldi folder, with tabs, a decoder's command and relative paths."""
    lines = []
    owner = {}
    for speaker, count in speakers.items():
        for k in range(count):
            utt = f"{speaker}-u{k}"
            write(folder / "wav" / f"{utt}.flac", babble(seed + len(owner), 3.0 + k))
            path = f"wav/{utt}.flac" if k else folder / "wav" / f"{utt}.flac"
            command = f"flac -c -d -s {path} |" if k == 1 else path
            lines.append(f"{utt}\t{command}")
            owner[utt] = speaker
    (folder / "wav.scp").write_text("\n".join(lines) + "\n")
    write_table(folder / "utt2spk", owner)
    write_table(folder / "spk2gender", dict.fromkeys(speakers, "F"))
    (folder / "text").write_text("".join(f"{utt}\tgood day\n" for utt in owner))
    return folder


def run(root: Path, data: Path, *options: str) -> None:
    prepare_corpus.main(
        ["--corpus", "kaldi", "--noise", str(root / "noise"), "--rooms", "0", "0", "0"]
        + [
            "--rir",
            str(root / "rir"),
            "--data_dir",
            str(data),
            "--dev_speakers",
            "3",
            "--nj",
            "1",
            *options,
        ]
    )


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as status:
        run(*arguments)  # type: ignore[arg-type]
    assert status.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ")
    return message


def test_several_corpora_with_weights(root: Path, tmp_path: Path) -> None:
    one = make_kaldi(tmp_path / "one", {"11": 2, "a,b": 2}, 10)
    two = tmp_path / "two"
    make_kaldi(two / "train", {"11": 3}, 20)
    make_kaldi(two / "dev", {"x": 2, "y": 2, "z": 2}, 30)
    libri = root / "LibriSpeech"
    corpora = [f"{one}:0.5", f"kaldi:{two}", f"librispeech:{libri}:2"]
    run(root, tmp_path / "data", "--corpora", *corpora)
    train = tmp_path / "data/train/speech"
    weights = read_table(train / "spk2weight")
    # Speaker 11 of three corpora is three people.
    assert {s: weights[s] for s in ("one-11", "two-11", "11")} == {
        "one-11": "0.5",
        "two-11": "1",
        "11": "2",
    }
    assert read_table(train / "spk2gender")["one-11"] == "f"
    assert read_table(train / "text")["one-11-u1"] == "GOOD DAY"
    dev = set(read_table(tmp_path / "data/dev/speech/spk2utt"))
    assert dev == {"two-x", "two-y", "two-z"}  # nobody is held out beside them
    inventory = load_inventory(tmp_path / "data/train")
    wave = read_pieces(inventory, [Piece("two-11-u1", 0, 8000)])
    assert np.allclose(wave[100:7900], babble(21, 4.0)[100:7900] / 32768, atol=1e-4)


def test_segments_of_one_recording(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "seg"
    long = babble(5, 20.0)
    write(folder / "long.wav", long)
    write_table(folder / "wav.scp", {"rec": folder / "long.wav"})
    names = {f"s{k}": f"spk{k % 2}" for k in range(4)}
    write_table(folder / "utt2spk", names)
    times = {f"s{k}": f"rec {5 * k:.2f} {5 * k + 4.5:.2f}" for k in range(4)}
    write_table(folder / "segments", times | {"s3": "rec 15.00 20.05"})
    libri = f"librispeech:{root / 'LibriSpeech'}"
    run(root, tmp_path / "data", "--corpora", libri, str(folder))
    inventory = load_inventory(tmp_path / "data/train")
    assert inventory.samples["seg-s1"] == 72000
    assert inventory.samples["seg-s3"] == 80000  # a little too long is shortened
    wave = read_pieces(inventory, [Piece("seg-s1", 1000, 4000)])
    expected = long[81000:85000] / 32768
    assert np.allclose(wave[100:3900], expected[100:3900], atol=1e-4)
    utt = "11-1-0000"
    if utt in inventory.wavs:  # whole files have segments of their own then
        assert inventory.starts[utt] == 0
    write_table(folder / "segments", times | {"s3": "rec 15.00 21.00"})
    with pytest.raises(SystemExit):
        run(root, tmp_path / "other", "--corpora", libri, str(folder))
    assert not (tmp_path / "other").exists()


def _copy_speaker(root: Path, target: Path, speaker: str, count: int) -> Path:
    for k in range(count):
        name = f"{speaker}-9-{k:04d}.flac"
        write(target / "train-more" / speaker / "9" / name, babble(90 + k, 5.0))
    return target


def test_a_known_speaker_is_replaced_never_added(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = tmp_path / "more"
    for speaker in ("11", "12"):
        _copy_speaker(root, more, speaker, 4)
    dev = tmp_path / "dev.txt"
    dev.write_text("12 # f\n15\n17\n")
    corpora = [
        "--corpora",
        f"librispeech:{root / 'LibriSpeech'}",
        f"librispeech:{more}",
    ]
    options = [*corpora, "--dev_speaker_list", str(dev)]
    message = refused(capsys, root, tmp_path / "data", *options)
    assert "speaker 11 is in" in message and "(2 known speakers in all)" in message
    assert "--replace_speakers" in message and not (tmp_path / "data").exists()
    run(root, tmp_path / "data", *options, "--replace_speakers")
    utts = read_table(tmp_path / "data/train/speech/spk2utt")
    assert utts["11"].split() == [f"11-9-{k:04d}" for k in range(4)]
    # The trials of development speakers are fixed: theirs are not replaced.
    held = read_table(tmp_path / "data/dev/speech/spk2utt")
    assert set(held) == {"12", "15", "17"}
    assert all(utt.startswith("12-1-") for utt in held["12"].split())
    assert "1 known speakers; 1 development speakers" in capsys.readouterr().err


def test_a_reader_is_known_in_a_kaldi_folder_too(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "k"
    uid = "11-77-0001"
    write(folder / f"{uid}.flac", babble(1, 5))
    write_table(folder / "wav.scp", {uid: folder / f"{uid}.flac"})
    write_table(folder / "utt2spk", {uid: "11-77"})  # Kaldi's recipe: by chapter
    corpora = ["--corpora", f"librispeech:{root / 'LibriSpeech'}", str(folder)]
    assert "speaker 11 is in" in refused(capsys, root, tmp_path / "data", *corpora)


def test_readers_of_test_sets_are_not_trained_on(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert held_out_subset("61") == "test-clean" and not held_out_subset("19")
    assert reader_of("61-70968-0000") == reader_of("61_70968_000012_000001") == "61"
    assert reader_of("p225_001") == "" and reader_of("2021-03-04-1234567") == ""
    _copy_speaker(root, tmp_path / "more", "61", 2)
    libri = root / "LibriSpeech"
    corpora = ["--corpora", f"librispeech:{libri}", f"librispeech:{tmp_path / 'more'}"]
    message = refused(capsys, root, tmp_path / "data", *corpora)
    assert "speaker 61 is of LibriSpeech's test-clean" in message
    shutil.copytree(libri / "test-tiny", tmp_path / "other/test-clean")
    arguments = ["--corpora", f"librispeech:{tmp_path / 'other'}", "--train_subsets"]
    message = refused(capsys, root, tmp_path / "data", *arguments, "t*")
    assert "test-clean is for development and tests only" in message


def _drop(*names: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return spoil


def _table(name: str, **lines: str) -> Callable[[Path], None]:
    return lambda folder: write_table(folder / name, lines)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_drop("wav.scp"), "no wav.scp, in it or below train, dev, test"),
        (_drop("utt2spk"), "utt2spk: no speaker labels; a voice to keep"),
        (
            lambda f: write_table(f / "utt2spk", {u: u for u in ("a-u0", "a-u1")}),
            "no speaker labels .every utterance is its own speaker.",
        ),
        (
            _table("wav.scp", x="sph2pipe -f wav x.sph |"),
            "wav.scp:1: 'sph2pipe.* is no",
        ),
        (_table("wav.scp", **{"b-u0": "b.wav"}), "no recording of utterance a-u0"),
        (_table("utt2spk", **{"sp0.9-a-u0": "sp0.9-a"}), "copy at another speed"),
        (
            _table("segments", **{"a-u0": "a-u0 3.0"}),
            "segments:1: 'a-u0 3.0'; expected",
        ),
        (_table("segments", **{"a-u0": "a-u0 3 2"}), "ends before it begins"),
        (
            lambda f: (f / "wav.scp").write_text("a-u0 x.wav\na-u0 y.wav\n"),
            "wav.scp:2: key 'a-u0' occurs twice",
        ),
    ],
)
def test_bad_kaldi_folders(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    folder = make_kaldi(tmp_path / "k", {"a": 2})
    spoil(folder)
    with pytest.raises(UserError, match=message):
        if (folder / "wav.scp").is_file():
            read_kaldi(folder)
        else:
            from espnet_pse_kd.corpora.merge import SplitOptions, scan_corpora

            scan_corpora([parse_corpus(str(folder), "kaldi")], SplitOptions())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kaldi:/no/such:1", "--corpora kaldi:/no/such:1: no such folder"),
        ("{}:0", "give a weight from 0.001"),
        ("{}:1.2.3", "give a weight from 0.001"),
    ],
)
def test_bad_corpora(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_corpus(text.format(tmp_path), "kaldi")


def test_folders_of_one_name_and_empty_lists(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [make_kaldi(tmp_path / k / "same", {"s": 2}) for k in "ab"]
    message = refused(capsys, root, tmp_path / "d", "--corpora", *map(str, folders))
    assert "two folders are named 'same'; rename one" in message
    nobody = tmp_path / "nobody.txt"
    nobody.write_text("# nobody\n")
    libri = f"librispeech:{root / 'LibriSpeech'}"
    options = ["--corpora", libri, "--dev_speaker_list"]
    message = refused(capsys, root, tmp_path / "d", *options, str(nobody))
    assert "it names no speaker" in message
    nobody.write_text("99999\n")
    message = refused(capsys, root, tmp_path / "d", *options, str(nobody))
    assert "none of its 1 speakers (99999, ...)" in message


def test_a_few_unreadable_files_are_named_and_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / f"{k:03d}.wav" for k in range(200)]
    for path in paths:
        write(path, babble(1, 0.2))
    paths[7].write_bytes(b"no audio")
    write(paths[9], 0 * babble(1, 0.2))
    good = check_files(paths, bad_share=0.01)
    assert set(paths) - set(good) == {paths[7], paths[9]}
    text = capsys.readouterr().err
    assert "007.wav: not a readable" in text and "009.wav: every sample is zero" in text
    assert "2 of 200 files are unreadable and were skipped" in text
    paths[11].unlink()
    with pytest.raises(UserError, match=r"007.wav: .*\(3 of 200 files are unread"):
        check_files(paths, bad_share=0.01)


def test_mixed_rates_are_counted(tmp_path: Path) -> None:
    paths = [tmp_path / f"{k}.wav" for k in range(6)]
    for path, rate in zip(paths, [16000, 16000, 48000, 48000, 8000, 16000]):
        write(path, babble(1, 0.5), rate)
    counts = r"2.wav: 48000 Hz; 3 of 6 files are not 16000 Hz mono \(48000 Hz: 2, 8000"
    with pytest.raises(UserError, match=counts):
        check_files(paths, bad_share=1.0)


# Layouts of downloads


def prepared(tmp_path: Path, layout: str, source: Path, *more: str) -> Path:
    out = tmp_path / "kaldi"
    prepare_speakers.main(
        ["--layout", layout, "--source", str(source), "--out", str(out), "--nj", "1"]
        + list(more)
    )
    return out


def test_vctk(tmp_path: Path) -> None:
    root = tmp_path / "VCTK"
    info = "ID  AGE  GENDER  ACCENTS\np225  23  F    English\n226  22  M  English\n"
    for speaker in ("p225", "p226"):
        folder = root / "wav48_silence_trimmed" / speaker
        for k in range(2):
            for mic in (1, 2):
                path = folder / f"{speaker}_00{k}_mic{mic}.flac"
                write(path, babble(mic, 3.0), 48000)
    (root / "txt/p225").mkdir(parents=True)
    (root / "txt/p225/p225_001.txt").write_text("Please call Stella.\n")
    (root / "speaker-info.txt").write_text(info)
    out = prepared(tmp_path, "vctk", root)
    assert read_table(out / "spk2gender") == {"p225": "f", "p226": "m"}
    assert read_table(out / "text") == {"p225_001": "PLEASE CALL STELLA."}
    wavs = read_table(out / "wav.scp")
    assert len(wavs) == 4
    assert len(read_audio(wavs["p226_000"])) == 16000  # 48,000 samples at 48 kHz


def test_common_voice(tmp_path: Path) -> None:
    root = tmp_path / "en"
    rows = ["client_id\tpath\tsentence\tgender"]
    for k, client in enumerate(("a" * 128, "a" * 128, "b" * 128)):
        rows.append(f'{client}\tc{k}.mp3\tA "quoted word\tfemale_feminine')
        path = root / "clips" / f"c{k}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, babble(k, 2.0), 32000, format="MP3")
    (root / "validated.tsv").write_text("\n".join(rows) + "\n")
    out = prepared(tmp_path, "common_voice", root, "--min_utterances", "2")
    assert set(read_table(out / "utt2spk").values()) == {"a" * 16}
    assert read_table(out / "text")[f"{'a' * 16}-c0"] == 'A "QUOTED WORD'
    wavs = read_table(out / "wav.scp")
    assert len(read_audio(next(iter(wavs.values())))) == pytest.approx(16000, abs=100)


def test_speechocean762(tmp_path: Path) -> None:
    root = tmp_path / "speechocean762"
    for part, speaker in (("train", "0001"), ("test", "0003")):
        utt = f"0{speaker}0011"
        write(root / f"WAVE/SPEAKER{speaker}/{utt}.WAV", babble(1, 4.0))
        (root / part).mkdir()
        line = f"{utt}\tWAVE/SPEAKER{speaker}/{utt}.WAV\n"
        (root / part / "wav.scp").write_text(line)
        (root / part / "utt2spk").write_text(f"{utt}\t{speaker}\n")
        (root / part / "spk2gender").write_text(f"{speaker}\tm\n")
    out = prepared(tmp_path, "speechocean762", root)
    assert read_table(out / "spk2gender") == {"0001": "m", "0003": "m"}
    # Fitting audio is referred to where it is.
    assert not (out / "audio").exists()
    assert all(str(root) in path for path in read_table(out / "wav.scp").values())


def test_speaker_folders_resume_and_skip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "people"
    for speaker in ("ann", "bob"):
        for k in range(2):
            stereo = np.stack([babble(k, 2.0)] * 2, axis=1)
            write(root / speaker / f"take {k}.wav", stereo, 8000)
    (root / "spk2gender").write_text("ann f\n")
    out = prepared(tmp_path, "folders", root)
    converted = sorted((out / "audio").rglob("*.flac"))
    assert [p.parent.name for p in converted] == ["ann", "ann", "bob", "bob"]
    times = [p.stat().st_mtime_ns for p in converted]
    converted[0].unlink()
    prepared(tmp_path, "folders", root)
    again = [p.stat().st_mtime_ns for p in converted]
    assert times[1:] == again[1:] and times[0] != again[0]
    (root / "bob/take 0.wav").write_bytes(b"no audio")
    with pytest.raises(SystemExit):
        prepared(tmp_path / "other", "folders", root)
    assert "take 0.wav: not a readable audio file" in capsys.readouterr().err
    prepared(tmp_path / "other", "folders", root, "--bad_share", "0.3")
    assert len(read_table(tmp_path / "other/kaldi/wav.scp")) == 3


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("librispeech", "no SPEAKERS.TXT in it, which LibriSpeech has"),
        ("speechocean762", "no WAVE in it"),
        ("vctk", "no wav48_silence_trimmed in it, which VCTK 0.92 has"),
        ("common_voice", "no clips in it, which a language of Common Voice has"),
        ("folders", "no SPEAKER/*.wav"),
    ],
)
def test_a_wrong_layout_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str, message: str
) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(SystemExit) as status:
        prepared(tmp_path, layout, tmp_path / "x")
    error = capsys.readouterr().err
    assert status.value.code == 2 and error.count("\n") == 1 and message in error
    assert not (tmp_path / "kaldi").exists()

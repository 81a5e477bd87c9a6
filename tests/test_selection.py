"""Corpora picked out of LibriSpeech by lists, and the committed lists."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from corpus_fixture import make_librispeech

from espnet_pse_kd.corpora.inventory import recording_of, room_of
from espnet_pse_kd.corpora.librispeech import (
    corpus_root,
    find_subsets,
    read_genders,
    scan_subset,
)
from espnet_pse_kd.errors import UserError
from tools import select_librispeech, selection
from tools.selection import (
    FILE_COLUMNS,
    UTTERANCE_COLUMNS,
    ListedUtterance,
    check_utterances,
    missing_files,
    read_files,
    read_utterances,
    select_utterances,
)

LISTS = Path(__file__).parents[1] / "tools/mini_libri"
LISTED = [
    ListedUtterance("11-1-0000", "train-tiny", "train-mini", 56000, True),
    ListedUtterance("11-1-0002", "train-tiny", "train-mini", 88000, True),
    ListedUtterance("12-1-0001", "train-tiny", "train-mini", 72000, False),
    ListedUtterance("12-1-0002", "train-tiny", "train-mini", 88000, False),
    ListedUtterance("21-1-0000", "test-tiny", "test-mini", 56000, True),
]
FIRST = "LibriSpeech/train-mini/11/1/11-1-0000.flac"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("published")
    make_librispeech(root)
    return root


@pytest.fixture
def full(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published / "LibriSpeech", tmp_path / "full"))


def contents(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def test_layout_holds_the_listed_and_nothing_else(full: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert select_utterances(LISTED, [full], out) == len(LISTED) + 3
    found = contents(out / "LibriSpeech")
    for u in LISTED:
        source = full / u.subset / u.file
        assert found.pop(f"{u.split}/{u.file.as_posix()}") == source.read_bytes()
    # Speaker 12's transcripts are published, but not listed.
    assert found == {
        "SPEAKERS.TXT": b";ID |SEX| SUBSET |MINUTES| NAME\n"
        b"11 | M | train-tiny | 1 | Name\n"
        b"12 | F | train-tiny | 1 | Name\n"
        b"21 | M | test-tiny | 1 | Name\n",
        "train-mini/11/1/11-1.trans.txt": b"11-1-0000 SOME WORDS 0\n"
        b"11-1-0002 SOME WORDS 2\n",
        "test-mini/21/1/21-1.trans.txt": b"21-1-0000 SOME WORDS 0\n",
    }
    check_utterances(LISTED, out)


def test_stage_1_reads_the_layout(full: Path, tmp_path: Path) -> None:
    select_utterances(LISTED, [full], tmp_path)
    root = corpus_root(tmp_path)
    (train,) = find_subsets(root, ["train*"])
    found = scan_subset(train, read_genders(root))
    assert [(u.uid, u.gender, u.text) for u in found] == [
        ("11-1-0000", "m", "SOME WORDS 0"),
        ("11-1-0002", "m", "SOME WORDS 2"),
        ("12-1-0001", "f", ""),
        ("12-1-0002", "f", ""),
    ]


def test_subsets_may_lie_in_several_folders(full: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(full / "test-tiny", other / "LibriSpeech/test-tiny")
    shutil.rmtree(full / "test-tiny")
    select_utterances(LISTED, [full, other], tmp_path / "out")
    check_utterances(LISTED, tmp_path / "out")


def test_second_run_does_nothing_and_an_interrupted_one_resumes(
    full: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    select_utterances(LISTED, [full], out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    assert select_utterances(LISTED, [full], out) == 0
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
    (out / FIRST).unlink()
    (out / "LibriSpeech/SPEAKERS.TXT").unlink()
    assert select_utterances(LISTED, [full], out) == 2
    check_utterances(LISTED, out)


def test_files_are_copied_where_they_cannot_be_linked(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    out = tmp_path / "out"
    select_utterances(LISTED[1:], [full], out)
    monkeypatch.setattr(selection.os, "link", refuse)
    # Without the table, which would differ: its chapter has one line more now.
    (out / "LibriSpeech/train-mini/11/1/11-1.trans.txt").unlink()
    select_utterances(LISTED, [full], out)
    assert (out / FIRST).stat().st_nlink == 1
    assert select_utterances(LISTED, [full], out) == 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda full: [p.unlink() for p in full.rglob("1[12]-1-*.flac")],
            "4 of 5 utterances are missing: train-tiny/11/1/11-1-0000.flac, .*12-1-0002"
            ".flac; fetch train-tiny from https://www.openslr.org/12",
        ),
        (
            lambda full: shutil.rmtree(full / "test-tiny"),
            "1 of 5 utterances are missing: test-tiny/21/1/21-1-0000.flac; fetch test-",
        ),
        (
            lambda full: (full / "train-tiny/11/1/11-1.trans.txt").unlink(),
            "2 transcripts are missing: 11-1-0000, 11-1-0002",
        ),
        (lambda full: (full / "SPEAKERS.TXT").unlink(), "SPEAKERS.TXT: no such file"),
        (
            lambda full: (full / "SPEAKERS.TXT").write_text("11 | M |\n21 | M |\n"),
            "SPEAKERS.TXT: 1 speakers are missing: 12",
        ),
        (
            lambda full: shutil.copyfile(
                full / "train-tiny/11/1/11-1-0001.flac",
                full / "train-tiny/11/1/11-1-0000.flac",
            ),
            r"1 utterances do not have .* \(72000 samples, listed 56000\)",
        ),
        (shutil.rmtree, "full: no such folder"),
    ],
)
def test_what_is_missing_is_named_and_nothing_written(
    full: Path, tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(full)
    with pytest.raises(UserError, match=message):
        select_utterances(LISTED, [full], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [FIRST, "LibriSpeech/test-mini/21/1/21-1.trans.txt"])
def test_a_different_file_is_never_overwritten(
    full: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(UserError, match=f"1 files are there and differ: .*{path.name}"):
        select_utterances(LISTED, [full], tmp_path / "out")
    assert contents(tmp_path / "out") == {name: b"mine"}


def test_a_file_that_is_not_listed_is_refused(full: Path, tmp_path: Path) -> None:
    path = tmp_path / "LibriSpeech/train-mini/99/1/99-1-0000.wav"
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(UserError, match="1 files are not listed: .*99-1-0000.wav"):
        select_utterances(LISTED, [full], tmp_path)
    assert not (tmp_path / "LibriSpeech/SPEAKERS.TXT").exists()


def test_the_full_corpus_is_no_place_to_write_to(published: Path) -> None:
    with pytest.raises(UserError, match="it holds the full corpus"):
        select_utterances(LISTED, [published], published)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda out: (out / FIRST).unlink(), "1 of 5 utterances are missing: train-m"),
        (
            lambda out: shutil.copyfile(out / FIRST, out / f"{FIRST[:-5]}x.flac"),
            "1 files are not listed: .*11-1-0000x.flac",
        ),
        (
            lambda out: (out / "LibriSpeech/train-mini/12/1/12-1.trans.txt").write_text(
                "12-1-0002 WORDS\n"
            ),
            "1 transcripts are not listed: 12-1-0002",
        ),
    ],
)
def test_check_finds_what_differs(
    full: Path, tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    out = tmp_path / "out"
    select_utterances(LISTED, [full], out)
    spoil(out)
    with pytest.raises(UserError, match=message):
        check_utterances(LISTED, out)


def write_lists(folder: Path) -> None:
    rows = [UTTERANCE_COLUMNS]
    for u in LISTED:
        used = "yes" if u.transcript else "no"
        rows.append([u.uid, u.subset, u.split, str(u.samples), used])
    write_rows(folder / "utterances.tsv", rows)
    rows = [FILE_COLUMNS]
    for split, index in (("train", 0), ("train", 1), ("test", 0)):
        times = ["0.000", "3.000"]
        name = f"hum_{split}-{index}.flac"
        rows.append([name, split, *times, "CC0", "me", f"https://x/{split}{index}.wav"])
    write_rows(folder / "noise.tsv", rows)


def write_rows(path: Path, rows: list[list[str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join("\t".join(row) + "\n" for row in rows))


def test_command_selects_and_checks(
    full: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lists(tmp_path / "lists")
    out = str(tmp_path / "out")
    lists = ["--lists", str(tmp_path / "lists")]
    select_librispeech.main([*lists, "--librispeech", str(full), "--out", out])
    select_librispeech.main([*lists, "--check", out])
    text = capsys.readouterr().out
    assert "5 utterances, 8 files written" in text
    assert "exactly the 5 listed utterances" in text


def test_missing_noises_are_named_with_their_sources(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lists(tmp_path / "lists")
    noise = tmp_path / "noise"
    arguments = ["--lists", str(tmp_path / "lists"), "--noise", str(noise)]
    # Another suffix is the same recording: stage 1 reads both.
    for name in ("train/hum_train-0.wav", "test/hum_test-0.flac"):
        (noise / name).parent.mkdir(parents=True)
        (noise / name).touch()
    with pytest.raises(SystemExit):
        select_librispeech.main(arguments)
    text = capsys.readouterr()
    assert text.out == "missing: train/hum_train-1.flac https://x/train1.wav\n"
    assert "1 of 3 files are missing" in text.err
    (noise / "train/hum_train-1.flac").touch()
    select_librispeech.main(arguments)
    assert "all 3 files" in capsys.readouterr().out
    (noise / "test/hum_test-1.flac").touch()
    with pytest.raises(UserError, match="1 files are not listed: .*hum_test-1.flac"):
        missing_files(read_files(tmp_path / "lists/noise.tsv"), noise)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--librispeech: missing"),
        (["--librispeech", "x"], "one is missing; give both"),
        (["--out", "x"], "one is missing; give both"),
        (["--check", "no/out"], "--check no/out: no such folder"),
        (["--noise", "no/noise"], "--noise no/noise: no such folder"),
        (["--rir", "no/rir"], "--rir no/rir: no such folder"),
        (["--lists", "no/lists", "--check", "."], "utterances.tsv: no such file"),
    ],
)
def test_bad_options(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as status:
        select_librispeech.main(["--lists", str(LISTS), *arguments])
    assert status.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["id", "subset"]], "expected the columns id subset split samples"),
        ([UTTERANCE_COLUMNS], "expected the columns .* and lines"),
        ([UTTERANCE_COLUMNS, ["1-1-0", "a"]], r"list.tsv:2: \['1-1-0', 'a'\]; expec"),
        ([UTTERANCE_COLUMNS, ["1-1-0", "a", "b", "5", "maybe"]], "give yes or no"),
        ([UTTERANCE_COLUMNS, ["1-1-0", "a", "b", "5.0", "yes"]], "and a length"),
        ([UTTERANCE_COLUMNS, ["1-0", "a", "b", "5", "yes"]], "SPEAKER-CHAPTER-NUMBER"),
        (
            [UTTERANCE_COLUMNS, *[["1-1-0", "a", "b", "5", "yes"]] * 2],
            "list.tsv:3: '1-1-0' occurs twice",
        ),
    ],
)
def test_bad_lists(tmp_path: Path, rows: list[list[str]], message: str) -> None:
    write_rows(tmp_path / "list.tsv", rows)
    with pytest.raises(UserError, match=message):
        read_utterances(tmp_path / "list.tsv")


def test_a_list_of_files_needs_seconds(tmp_path: Path) -> None:
    row = ["a.wav", "train", "soon", "3.000", "CC0", "me", "https://x/a.wav"]
    write_rows(tmp_path / "list.tsv", [FILE_COLUMNS, row])
    with pytest.raises(UserError, match="list.tsv:2: soon 3.000; give seconds"):
        read_files(tmp_path / "list.tsv")


def test_committed_utterances() -> None:
    listed = read_utterances(LISTS / "utterances.tsv")
    assert Counter(u.split for u in listed) == {"train-mini": 698, "test-mini": 212}
    assert Counter((u.split, u.subset) for u in listed) == {
        ("train-mini", "train-clean-100"): 698,
        ("test-mini", "test-clean"): 112,
        ("test-mini", "test-other"): 100,
    }
    speakers = {
        split: {u.speaker for u in listed if u.split == split}
        for split in ("train-mini", "test-mini")
    }
    assert speakers["train-mini"].isdisjoint(speakers["test-mini"])
    assert {split: len(names) for split, names in speakers.items()} == {
        "train-mini": 251,
        "test-mini": 20,
    }
    # 698 + 212 utterances are 148 + 26 minutes.
    assert round(sum(u.samples for u in listed) / 16000 / 60) == 174
    assert not any(u.transcript for u in listed if u.subset == "test-other")


@pytest.mark.parametrize(
    ("name", "counts", "group"),
    [
        ("noise.tsv", {"train": 259, "test": 95}, recording_of),
        ("rooms.tsv", {"train": 43, "test": 3}, room_of),
    ],
)
def test_committed_noises_and_rooms(
    name: str, counts: dict[str, int], group: Callable[[Path], str]
) -> None:
    listed = read_files(LISTS / name)
    assert Counter(item.split for item in listed) == counts
    places = {(group(Path(item.file)), item.split) for item in listed}
    assert len(places) == len({recording for recording, _ in places})
    for item in listed:
        assert item.start >= 0 and 0 < item.seconds <= 60
        assert item.licence and item.url.startswith("https://")
        assert " " not in item.url

"""The split as simulation sees it: columns beside the tables, who is drawn, scale."""

from __future__ import annotations

import errno
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from espnet_pse_kd.corpora import index as index_module
from espnet_pse_kd.corpora.index import FOLDER, Texts, open_index
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.kaldi import write_table
from espnet_pse_kd.simulation.cast import Cast, played
from espnet_pse_kd.simulation.split import load_inventory, make_sources
from espnet_pse_kd.simulation.voices import OWN, Voice

VOICES = (Voice(0.9), OWN, Voice(1.1, 0.9))
LENGTHS = {
    "ann": [3.0, 5.0, 9.0],
    "bob": [4.5],  # two halves, but not at speed 1.2
    "cy": [2.0, 1.5],  # too little for two sources: interferes only
    "dee": [4.0, 4.0],
    "eve": [6.0] * 30,
}
SEXES = {"ann": "f", "bob": "m", "cy": "m", "dee": "f"}


def write_split(folder: Path, lengths: dict[str, list[float]], **tables: dict) -> Path:
    """Tables of a split, without audio."""
    utts = {
        f"{speaker}-{k:03d}": (speaker, seconds)
        for speaker, all_seconds in lengths.items()
        for k, seconds in enumerate(all_seconds)
    }
    speech = folder / "speech"
    write_table(speech / "wav.scp", {utt: f"/a/{utt}.flac" for utt in utts})
    write_table(
        speech / "utt2spk", {utt: speaker for utt, (speaker, _) in utts.items()}
    )
    write_table(speech / "utt2dur", {utt: f"{s:.6f}" for utt, (_, s) in utts.items()})
    for name, table in tables.items():
        write_table(speech / name, table)
    for name, line in (("wav.scp", "/a/n.wav"), ("utt2dur", "9.0")):
        write_table(folder / "noise" / name, {"n": line})
    write_table(folder / "rir" / "wav.scp", {"r": "/a/r.wav"})
    return folder


@pytest.fixture
def split(tmp_path: Path) -> Path:
    texts = {"ann-001": "SÜSSE WORTE", "eve-007": "SEVEN"}
    return write_split(tmp_path / "train", LENGTHS, spk2gender=SEXES, text=texts)


def test_views_agree_with_the_tables(split: Path) -> None:
    inventory = load_inventory(split, VOICES)
    assert list(load_inventory(split).speakers) == sorted(LENGTHS)
    assert len(inventory.speakers) == 3 * len(LENGTHS)
    assert set(inventory.utts["sp0.9-ann"]) == {f"sp0.9-ann-00{k}" for k in range(3)}
    assert inventory.wavs["sp1.1-fm0.9-eve-029"] == "/a/eve-029.flac"
    assert inventory.samples["sp0.9-bob-000"] == int(72000 / 0.9)
    assert inventory.texts["ann-001"] == inventory.texts["sp0.9-ann-001"]
    assert inventory.texts["ann-001"] == "SÜSSE WORTE"
    assert "ann-000" not in inventory.texts
    assert inventory.texts.get("ann-000", "") == ""
    assert dict(load_inventory(split).genders) == SEXES
    assert inventory.voices["sp0.9-bob-000"] == VOICES[0]
    assert inventory.voices.get("bob-000") is None
    assert inventory.persons["sp1.1-fm0.9-dee"] == "dee"
    for unknown in ("sp1.2-ann", "zoe", "sp0.9-zoe", ""):
        assert unknown not in inventory.utts and unknown not in inventory.speakers


def test_targets_are_those_with_two_sources(split: Path) -> None:
    voices = (OWN, Voice(1.2))
    inventory = load_inventory(split, voices)
    assert set(inventory.targets) == set(inventory.sources)
    expected = {"ann", "bob", "dee", "eve", "sp1.2-ann", "sp1.2-dee", "sp1.2-eve"}
    assert set(inventory.targets) == expected
    assert "sp1.2-bob" in inventory.speakers and "sp1.2-bob" not in inventory.targets
    assert len(inventory.sources["eve"]) == 30


def test_enough_speech_is_enough_for_two_sources(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lengths = {
        f"s{k:03d}": list(rng.uniform(0.05, rng.uniform(1, 8), rng.integers(1, 6)))
        for k in range(300)
    }
    lengths |= {"s300": [4.0], "s301": [3.9999], "s302": [3.0, 2.9], "s303": [3.4, 3.4]}
    index = open_index(write_split(tmp_path, lengths) / "speech")
    for voice in (OWN, Voice(0.85), Voice(1.17)):
        cast = Cast(index, [voice])
        for person, name in enumerate(index.speakers):
            rows = index.rows(person)
            played_lengths = {
                str(r): played(voice, int(index.samples[r])) for r in rows
            }
            enough = bool(make_sources(name, played_lengths))
            assert (voice.named(name) in cast.targets) == enough, name


def test_segments_start_within_their_recordings(tmp_path: Path) -> None:
    folder = write_split(tmp_path / "dev", {s: [5.0, 6.0] for s in "abc"})
    speech = folder / "speech"
    write_table(speech / "wav.scp", {"rec": "/a/rec.flac"})
    segments = {
        f"{s}-00{k}": f"rec {10 * n + 5 * k:.2f} {10 * n + 5 * k + 5:.2f}"
        for n, s in enumerate("abc")
        for k in range(2)
    }
    write_table(speech / "segments", segments)
    inventory = load_inventory(folder)
    assert inventory.wavs["b-001"] == "/a/rec.flac"
    assert inventory.starts["b-001"] == 15 * 16000
    assert inventory.starts["a-000"] == 0


def test_columns_follow_the_tables_and_leave_nothing_behind(split: Path) -> None:
    speech = split / "speech"
    assert open_index(speech).texts[open_index(speech).row("ann-001")] == "SÜSSE WORTE"
    old = list(speech.glob(f"{FOLDER}*"))
    write_table(speech / "text", {"ann-001": "OTHER WORDS"})
    index = open_index(speech)
    assert index.texts[index.row("ann-001")] == "OTHER WORDS"
    new = list(speech.glob(f"{FOLDER}*"))
    assert len(old) == len(new) == 1 and old != new
    assert not list(speech.glob(".*"))


def test_columns_change_no_digest(split: Path) -> None:
    first = load_inventory(split).digest
    load_inventory.cache_clear()
    assert load_inventory(split).digest == first
    write_table(split / "speech/text", {"ann-001": "OTHER WORDS"})
    load_inventory.cache_clear()
    assert load_inventory(split).digest != first


def test_a_folder_of_others_is_read_all_the_same(
    split: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(index_module, "_write", refuse)
    assert len(open_index(split / "speech").utts) == 38


def test_tables_that_disagree_are_refused(split: Path) -> None:
    write_table(split / "speech/utt2dur", {"ann-000": "3.0"})
    with pytest.raises(UserError, match="utt2dur: 37 keys differ from wav.scp"):
        open_index(split / "speech")


def drawn(split: Path, count: int = 2000, **options: object) -> Counter[str]:
    inventory = load_inventory(split, VOICES)
    rng = np.random.default_rng(1)
    names = [inventory.draw_speaker(rng, **options) for _ in range(count)]
    return Counter(names)


def persons(names: Counter[str]) -> Counter[str]:
    result: Counter[str] = Counter()
    for name, count in names.items():
        result[name.split("-")[-1]] += count
    return result


def test_everybody_is_drawn_equally_often_in_all_voices(split: Path) -> None:
    names = drawn(split)
    assert len(names) == 15
    assert max(names.values()) < 1.6 * min(names.values())


def test_nobody_is_drawn_against_himself_in_another_voice(split: Path) -> None:
    found = persons(drawn(split, apart_from=["sp0.9-ann", "eve", "eve"]))
    assert set(found) == {"bob", "cy", "dee"}
    assert max(found.values()) < 1.2 * min(found.values())


def test_sexes_and_targets(split: Path) -> None:
    assert set(persons(drawn(split, gender="m"))) == {"bob", "cy"}
    assert set(persons(drawn(split, gender="m", target=True))) == {"bob"}
    # Without a second man anybody else will do.
    others = drawn(split, gender="m", target=True, apart_from=["bob"])
    assert set(persons(others)) == {"ann", "dee", "eve"}
    inventory = load_inventory(split, VOICES)
    assert set(drawn(split, target=True)) <= set(inventory.targets)
    with pytest.raises(UserError, match="no speaker apart from ann, bob, cy, dee, eve"):
        drawn(split, apart_from=sorted(LENGTHS))


def test_weights(tmp_path: Path) -> None:
    weights = {"ann": "1", "bob": "0.25", "dee": "2.5"}
    split = write_split(tmp_path / "train", LENGTHS, spk2weight=weights)
    found = persons(drawn(split, 8000))
    assert found["bob"] == pytest.approx(8000 * 0.25 / 5.75, rel=0.15)
    assert found["dee"] == pytest.approx(8000 * 2.5 / 5.75, rel=0.05)
    assert found["eve"] == pytest.approx(8000 / 5.75, rel=0.1)


def test_a_draw_reads_no_more_of_a_larger_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Counter[int]()
    raw = Texts.raw

    def counted(self: Texts, row: int) -> bytes:
        reads[size] += 1
        return raw(self, row)

    for size in (8, 512):
        lengths = {f"s{k:04d}": [5.0, 6.0] for k in range(size)}
        inventory = load_inventory(write_split(tmp_path / str(size), lengths), VOICES)
        rng = np.random.default_rng(0)
        monkeypatch.setattr(Texts, "raw", counted)
        for _ in range(20):
            target = inventory.draw_speaker(rng, target=True)
            other = inventory.draw_speaker(rng, [target])
            inventory.draw_speaker(rng, [target, other], target=True)
        monkeypatch.undo()
    # By bisection: three more steps than 8 for each doubling of the doubled size.
    assert reads[512] < 4 * reads[8]


def test_equal_weights_draw_as_from_a_sorted_list(split: Path) -> None:
    """Fixed sets, in one voice each, stay what they were when there was a list."""
    inventory = load_inventory(split)
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(50):
        men = [name for name in ("bob", "cy") if name != "bob"]
        others = [name for name in sorted(LENGTHS) if name != "dee"]
        assert inventory.draw_speaker(one, ["bob"], "m") == men[other.integers(1)]
        assert inventory.draw_speaker(one, ["dee"]) == others[other.integers(4)]
    assert one.bit_generator.state == other.bit_generator.state

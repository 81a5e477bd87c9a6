"""Stage 2: ratios and levels as asked, scenarios, twins, enrolment, resuming."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import ChainMap
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus_fixture import make_librispeech
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.signal import butter, lfilter

from espnet_pse_kd.audio import write_audio
from espnet_pse_kd.bin import simulate as command
from espnet_pse_kd.corpora.merge import Corpus, SplitOptions
from espnet_pse_kd.corpora.prepare import prepare_corpora
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.kaldi import read_table, write_table
from espnet_pse_kd.report.results import training_mix
from espnet_pse_kd.simulation import mixing
from espnet_pse_kd.simulation.channels import Codec, coded
from espnet_pse_kd.simulation.dataset import simulate
from espnet_pse_kd.simulation.enrolment import admissible, plan_clips, render_clip
from espnet_pse_kd.simulation.noises import cut_noise, shaped_noise
from espnet_pse_kd.simulation.options import SimulationOptions
from espnet_pse_kd.simulation.render import _read, render
from espnet_pse_kd.simulation.rooms import LEAD, simulate_room, write_rooms
from espnet_pse_kd.simulation.sets import check_disk, set_sizes
from espnet_pse_kd.simulation.simulator import Simulator
from espnet_pse_kd.simulation.split import (
    Inventory,
    Piece,
    load_inventory,
    make_sources,
    read_pieces,
)
from espnet_pse_kd.simulation.transients import KINDS, transient
from espnet_pse_kd.simulation.validation import validate_set
from espnet_pse_kd.simulation.voices import OWN, Voice, move_formants
from espnet_pse_kd.utils.share import Share

OPTIONS = SimulationOptions(
    clips_per_speaker=2,
    clip_seconds=(2.0, 3.0),
    ts1=0.25,
    ts2=0.45,
    clip_telephone=0.0,
    train_clip_snr=(15.0, 30.0),
    train_clip_room_share=0.8,
    train_sir=(-5.0, 10.0),
    train_snr=(0.0, 15.0),
    paired=0.0,
    further_interferers=0.0,
    turns=0.0,
    short=0.0,
    swapped_distances=0.0,
    transients=0.0,
    noise_free=0.0,
    babble=0.0,
    shaped_noise=0.0,
    telephone=0.0,
)
"""Without any variation of the training samples."""
ITS = {
    name: replace(OPTIONS, its=1.0, ts0=0, ts1=0, ts2=0, **{"drop_target": 0, name: 1})
    for name in ("drop_target", "swap_enrolment", "partial")
}
SIZES = set_sizes(train=12, dev=4, test=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    make_librispeech(root)
    folder = root / "data"
    prepare_corpora(
        folder,
        [Corpus("librispeech", root / "LibriSpeech")],
        root / "noise",
        root / "rir",
        SplitOptions(dev_speakers=3),
    )
    for split in ("train", "dev", "test"):
        write_rooms(folder / split / "rir", split, 2, seed=0)
    return folder


@pytest.fixture(scope="module")
def dump(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dump")
    simulate(
        data,
        folder,
        SIZES,
        OPTIONS,
        seed=5,
        its_variants=(0.5, "partial", "swap_enrolment"),
    )
    return folder


def as_arguments(options: SimulationOptions) -> list[str]:
    """The options as the command takes them."""
    words: list[str] = []
    for name, value in asdict(options).items():
        values = value if isinstance(value, tuple) else (value,)
        words += [f"--{name}", *map(str, values)]
    return words


def sample(data: Path, set_name: str, index: int, options: SimulationOptions) -> tuple:
    return simulator(data, options, set_name.split("_")[0]).sample(set_name, index)


def simulator(data: Path, options: SimulationOptions, split: str) -> Simulator:
    """Of the recorded voices alone."""
    return Simulator(load_inventory(data / split), options, 5, split)


def records(folder: Path) -> list[dict]:
    lines = (folder / "trials.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


# Ratios and levels


@settings(max_examples=25, deadline=None)
@given(
    sir=st.floats(-5, 10),
    snr=st.floats(0, 15),
    level=st.floats(-40, -15),
    index=st.integers(0, 10_000),
    early=st.booleans(),
)
@example(sir=9.0, snr=8.0, level=-20.0, index=2215, early=False)  # would clip
def test_sir_snr_and_level_are_as_asked(
    data: Path, sir: float, snr: float, level: float, index: int, early: bool
) -> None:
    options = replace(
        OPTIONS,
        ts0=0,
        ts1=0,
        its=0,
        train_sir=(sir, sir),
        train_snr=(snr, snr),
        level=(level, level),
    )
    trial, rendered = sample(data, "train", index, options)
    mixture, target, interferer = (x.astype(float) for x in rendered.signals)
    noise = mixture - target - interferer
    power = mixing.active_power(target)
    assert mixing.decibel(power / mixing.active_power(interferer)) == pytest.approx(
        sir, abs=0.1
    )
    assert mixing.decibel(power / mixing.power(noise)) == pytest.approx(snr, abs=0.1)
    # The level gives way where a peak would clip, and only there.
    peak = max(np.abs(signal).max() for signal in rendered.signals)
    assert peak <= mixing.PEAK + 1e-3
    lowered = level - mixing.decibel(mixing.power(mixture))
    assert lowered == pytest.approx(0, abs=0.1) or (
        lowered > 0 and peak == pytest.approx(mixing.PEAK, abs=1e-3)
    )
    if early:
        trial, again = sample(data, "train", index, replace(options, target="early"))
        assert np.array_equal(again.signals.mixture, rendered.signals.mixture)
        assert mixing.power(again.signals.target) <= 1.05 * mixing.power(target)
        assert not np.array_equal(again.signals.target, rendered.signals.target)


def test_scored_ts3_takes_the_interferer_as_reference(data: Path) -> None:
    trial, rendered = sample(data, "test_ts3", 1, OPTIONS)
    mixture, target, interferer = (x.astype(float) for x in rendered.signals)
    assert not target.any()
    snr = mixing.active_power(interferer) / mixing.power(mixture - interferer)
    assert mixing.decibel(snr) == pytest.approx(trial.snr, abs=0.1)


def test_active_power_ignores_pauses() -> None:
    speech = np.random.default_rng(0).standard_normal(32000).astype(np.float32) * 0.1
    padded = np.concatenate([speech, np.zeros(64000, np.float32)])
    ratio = mixing.active_power(padded) / mixing.active_power(speech)
    assert abs(mixing.decibel(ratio)) < 0.1
    assert mixing.active_power(np.zeros(1000, np.float32)) == 0


def test_loud_level_does_not_clip(data: Path) -> None:
    for index in range(5):
        _, rendered = sample(data, "train", index, replace(OPTIONS, level=(-3, -3)))
        peak = max(np.abs(x).max() for x in (*rendered.signals, *(rendered.twin or ())))
        assert peak == pytest.approx(mixing.PEAK, abs=1e-4)
        assert rendered.level < -3


# Scenarios and twins


def test_drop_target_removes_the_target_and_nothing_else(data: Path) -> None:
    trial, (signals, twin, _, _) = sample(data, "train", 0, ITS["drop_target"])
    assert trial.scenario == "ts3" and not signals.target.any() and twin.target.any()
    assert np.allclose(signals.mixture, twin.mixture - twin.target, atol=1e-6)
    assert np.array_equal(signals.interferer, twin.interferer)


def test_swap_enrolment_changes_who_is_enrolled(data: Path) -> None:
    trial, (signals, twin, _, _) = sample(data, "train", 0, ITS["swap_enrolment"])
    assert np.array_equal(signals.mixture, twin.mixture)
    assert not signals.target.any()
    assert np.allclose(signals.interferer, twin.target + twin.interferer, atol=1e-6)
    assert trial.target not in (trial.speaker, trial.interferer)
    assert trial.enroll_id.endswith(f" {trial.target}")
    assert trial.twin_enroll_id == f"*{trial.source} {trial.speaker}"


def test_partial_silences_a_stretch_of_the_target(data: Path) -> None:
    trial, (signals, twin, _, pauses) = sample(data, "train", 3, ITS["partial"])
    assert trial.scenario == "partial" and twin.target.any()
    start, length = pauses[-1]
    assert length >= 2.0 * 16000
    tail = slice(start + 10000, start + length)
    assert mixing.power(signals.target[tail]) < 1e-6 * mixing.power(twin.target)
    change = (twin.mixture - signals.mixture) - (twin.target - signals.target)
    assert np.abs(change).max() < 1e-6


def test_pauses_are_silent(data: Path) -> None:
    options = replace(OPTIONS, pause_share=1.0, its=0, measured_share=0)
    for index in range(4):
        trial, rendered = sample(data, "train", index, options)
        ((start, length),) = rendered.pauses
        assert 1.0 <= length / 16000 <= 3.0 and trial.samples == 64000
        # The room rings into the pause for up to 0.6 s.
        inside = rendered.signals.target[start + 9600 + LEAD : start + length]
        assert np.abs(inside).max() < 1e-6
        assert mixing.active_power(rendered.signals.target) > 0


def test_scored_sets_are_paired_and_balanced(data: Path) -> None:
    made = simulator(data, OPTIONS, "test")
    inventory = made.inventory
    drawn = {k: [made.draw(f"test_ts{k}", i) for i in range(16)] for k in range(4)}
    for four in zip(*drawn.values()):
        assert (
            len(
                {
                    (t.target, t.source, t.noises, t.room, t.snr, t.enroll_id)
                    for t in four
                }
            )
            == 1
        )
    counts = [sum(t.target == s for t in drawn[2]) for s in inventory.targets]
    assert counts == [4] * 4
    for speaker in inventory.targets:
        same = [t.same_gender for t in drawn[2] if t.target == speaker]
        assert sum(same) == 2


@settings(max_examples=60, deadline=None)
@given(index=st.integers(0, 100_000), name=st.sampled_from(sorted(ITS)))
def test_speakers_and_clips_of_a_sample_are_admissible(
    data: Path, index: int, name: str
) -> None:
    options = replace(ITS[name], its=0.5, ts2=0.5)
    made = simulator(data, options, "train")
    clips, trial = made.clips, made.draw("train", index)
    assert trial.interferer not in (trial.target, trial.speaker)
    cut_from = {c.cid: c for of_speaker in clips.values() for c in of_speaker}
    clip = cut_from[trial.enroll_clip]
    assert clip.speaker == trial.target and clip.source != trial.source
    if trial.its != "swap_enrolment":
        spoken = {
            (p.utt, n)
            for p in trial.speech
            for n in range(p.start, p.start + p.frames, 160)
        }
        heard = {
            (p.utt, n) for p in clip.pieces for n in range(p.start, p.start + p.frames)
        }
        assert spoken.isdisjoint(heard)
    assert admissible(clips, trial.speaker, trial.source)


# Parts


def test_sources_join_short_recordings_and_halve_a_single_one() -> None:
    seconds = {"a": 5.0, "b": 1.0, "c": 1.0, "d": 2.0, "e": 1.0}
    samples = {utt: round(s * 16000) for utt, s in seconds.items()}
    sources = make_sources("x", samples)
    assert [[p.utt for p in s.pieces] for s in sources] == [["a"], ["b", "c", "d", "e"]]
    one, two = make_sources("x", {"a": 16000 * 5 + 1})
    assert (one.sid, two.sid) == ("a:0", "a:1")
    assert [(p.start, p.frames) for s in (one, two) for p in s.pieces] == [
        (0, 40000),
        (40000, 40001),
    ]
    assert make_sources("x", {"a": 16000 * 3}) == []


def test_rooms() -> None:
    for index in range(3):
        room = simulate_room([7, index])
        assert room.dtype == np.float32 and np.array_equal(
            room, simulate_room([7, index])
        )
        assert abs(int(np.abs(room[:, 0]).argmax()) - LEAD) <= 1
        direct = [int(np.argmax(np.abs(c) > 0.5 * np.abs(c).max())) for c in room.T]
        # The interferer is more than 0.7 m farther away than the target.
        assert direct[1] > direct[0] + 0.7 / 343 * 16000 - 4
        assert np.linalg.norm(room[:, 0]) == pytest.approx(1, abs=1e-3)
        assert 0.15 <= len(room) / 16000 <= 0.6


def test_noise_stretches(data: Path, tmp_path: Path) -> None:
    base = load_inventory(data / "train")
    wave = np.zeros(10 * 16000, np.float32)
    wave[50000:60000] = 0.1 * np.random.default_rng(0).standard_normal(10000)
    write_audio(tmp_path / "n.wav", wave)
    inventory = replace(
        base, noises={"n": str(tmp_path / "n.wav")}, noise_samples={"n": len(wave)}
    )
    for at in (0.0, 0.3, 0.99):
        # Padding is avoided, and a short recording repeated.
        assert mixing.power(cut_noise(inventory, "n", at, 32000)) > 1e-3
        assert len(cut_noise(inventory, "n", at, 400000)) == 400000


def test_clip_channels_differ(data: Path) -> None:
    inventory = load_inventory(data / "train")
    clips = [c for cs in plan_clips(inventory, OPTIONS, 5).values() for c in cs]
    waves = [render_clip(inventory, clip, OPTIONS, 5) for clip in clips]
    for wave in waves:
        assert np.isfinite(wave).all() and 0 < np.abs(wave).max() <= mixing.PEAK + 1e-6
        level = mixing.decibel(mixing.power(wave))
        assert -35.1 <= level <= -17.9
    assert len({w.tobytes() for w in waves}) == len(waves)


# Speeds


def test_another_speed_is_another_voice_of_the_same_person(
    data: Path, tmp_path: Path
) -> None:
    base = load_inventory(data / "train")
    inventory = load_inventory(data / "train", (Voice(0.8), OWN))
    assert len(inventory.speakers) == 2 * len(base.speakers)
    assert {inventory.persons[s] for s in inventory.speakers} == set(base.speakers)
    time = np.arange(32000) / 16000
    write_audio(tmp_path / "tone.wav", 0.1 * np.sin(2 * np.pi * 1000 * time))
    utt = next(iter(inventory.voices))
    wavs = ChainMap({utt: str(tmp_path / "tone.wav")}, inventory.wavs)
    slow = replace(inventory, wavs=wavs)
    tone = read_pieces(slow, [Piece(utt, 8000, 16000)])
    assert len(tone) == 16000
    spectrum = np.abs(np.fft.rfft(tone * np.hanning(16000)))
    assert abs(int(spectrum.argmax()) - 800) <= 1  # Hz
    # A stretch lies at the same place of the slowed-down whole.
    whole = read_pieces(slow, [Piece(utt, 0, 40000)])
    assert np.allclose(tone[200:-200], whole[8200:23800], atol=2e-3)


def test_nobody_interferes_with_himself_at_another_speed(data: Path) -> None:
    options = replace(OPTIONS, swap_enrolment=0.5)
    made = Simulator.open(data, "train", options, 5)
    persons, speeds = made.inventory.persons, set()
    for index in range(200):
        trial = made.draw("train", index)
        assert persons[trial.speaker] != persons[trial.interferer]
        if trial.its == "swap_enrolment":
            present = (persons[trial.speaker], persons[trial.interferer])
            assert persons[trial.target] not in present
        speeds.add(trial.target[:5])
    assert {"sp0.9", "sp1.1"} < speeds


def test_only_the_training_split_is_perturbed(dump: Path) -> None:
    for name in SIZES:
        targets = {record["target"] for record in records(dump / "raw" / name)}
        perturbed = any(target.startswith("sp") for target in targets)
        assert perturbed == (name == "train")


def test_formants_move_and_the_pitch_stays(data: Path) -> None:
    time = np.arange(32000) / 16000
    buzz = np.zeros(32000, np.float32)
    buzz[::160] = 1.0  # 100 Hz
    resonance = butter(2, [900, 1100], "bandpass", fs=16000)
    vowel = lfilter(*resonance, buzz).astype(np.float32)
    for ratio in (0.8, 1.2):
        moved = move_formants(vowel, ratio)
        assert moved.shape == vowel.shape and moved.dtype == np.float32
        spectrum = np.abs(np.fft.rfft(moved * np.hanning(32000)))
        assert abs(spectrum.argmax() / 2 - 1000 * ratio) <= 60
        # All that sounds is still at harmonics of the pitch.
        assert np.square(spectrum[::200]).sum() > 0.3 * np.square(spectrum).sum()
    assert np.allclose(move_formants(vowel, 1.0), vowel, atol=1e-5)
    assert not move_formants(np.zeros_like(time), 1.2).any()
    for samples in (1, 200, 1024, 5000):
        assert move_formants(vowel[:samples], 1.1).shape == (samples,)


def test_other_formants_are_another_voice_of_the_same_person(data: Path) -> None:
    options = SimulationOptions(speeds=(0.9, 1.0), formants=(1.0, 1.1))
    inventory = load_inventory(data / "train", options.voices)
    base = load_inventory(data / "train")
    assert len(inventory.speakers) == 4 * len(base.speakers)
    utt = next(iter(base.wavs))
    names = [utt, f"sp0.9-{utt}", f"fm1.1-{utt}", f"sp0.9-fm1.1-{utt}"]
    waves = [read_pieces(inventory, [Piece(name, 0, 8000)]) for name in names]
    assert all(len(wave) == 8000 for wave in waves)
    assert len({wave.tobytes() for wave in waves}) == 4
    assert {inventory.persons[s] for s in inventory.speakers} == set(base.speakers)


def test_speeds_and_formants_are_checked() -> None:
    with pytest.raises(UserError, match="--formants 1.0 2.5"):
        SimulationOptions(formants=(1.0, 2.5))
    with pytest.raises(UserError, match="--speeds 0.1 1.0"):
        SimulationOptions(speeds=(0.1, 1.0))
    with pytest.raises(UserError, match="low before high"):
        SimulationOptions(speeds=(1.1, 0.9))


# Augmentation

AUGMENTED = replace(
    OPTIONS, noise_speed=(0.7, 1.4), second_noise=1.0, equalizer=6.0, its=0, ts0=0
)


def test_augmentation_keeps_ratios_and_levels(data: Path) -> None:
    options = replace(AUGMENTED, ts1=0, level=(-30, -30))
    for index in range(6):
        trial, rendered = sample(data, "train", index, options)
        mixture, target, interferer = (x.astype(float) for x in rendered.signals)
        power = mixing.active_power(target)
        sir = power / mixing.active_power(interferer)
        snr = power / mixing.power(mixture - target - interferer)
        assert mixing.decibel(sir) == pytest.approx(trial.sir, abs=0.1)
        assert mixing.decibel(snr) == pytest.approx(trial.snr, abs=0.1)
        assert len(trial.noises) == 2 and len(trial.equalizers) == 3
        assert rendered.level == pytest.approx(-30, abs=0.1)


def test_augmentation_changes_channels_and_noises_alone(data: Path) -> None:
    """The same voices at the same places: who uses it can tell what it did."""
    for index in range(4):
        plain, before = sample(data, "train", index, replace(OPTIONS, its=0, ts0=0))
        trial, after = sample(data, "train", index, AUGMENTED)
        unchanged = replace(trial, noises=plain.noises, equalizers=())
        assert unchanged == plain
        assert trial.noises[0].noise == plain.noises[0].noise
        assert not np.allclose(before.signals.mixture, after.signals.mixture)
        # An equalizer delays nothing.
        a, b = before.signals.target, after.signals.target
        lags = np.fft.irfft(
            np.fft.rfft(a, 2 * len(a)).conj() * np.fft.rfft(b, 2 * len(a))
        )
        assert int(lags.argmax()) == 0


def test_a_dry_sample_has_the_dry_voices(data: Path) -> None:
    options = replace(OPTIONS, its=0, ts0=0, ts1=0, dry_share=1.0, pause_share=0)
    inventory = load_inventory(data / "train")
    trial, rendered = sample(data, "train", 3, options)
    assert trial.room == "dry" and trial.responses == ()
    speech = read_pieces(inventory, trial.speech)
    voice = mixing.place(speech, trial.speech_at + LEAD, trial.samples)
    image = rendered.signals.target
    alike = np.dot(voice, image) / np.linalg.norm(voice) / np.linalg.norm(image)
    assert alike == pytest.approx(1.0, abs=1e-4)
    assert sample(data, "dev", 3, options)[0].responses


def test_only_the_training_split_is_augmented(data: Path) -> None:
    for name in ("dev", "test_ts2"):
        plain, before = sample(data, name, 1, replace(OPTIONS, its=0, ts0=0))
        trial, after = sample(data, name, 1, AUGMENTED)
        assert trial == plain
        assert np.array_equal(before.signals.mixture, after.signals.mixture)


def test_a_faster_noise_sounds_higher(tmp_path: Path, data: Path) -> None:
    inventory = load_inventory(data / "train")
    time = np.arange(64000) / 16000
    write_audio(tmp_path / "tone.wav", 0.1 * np.sin(2 * np.pi * 1000 * time))
    nid = inventory.noise_ids[0]
    toned = replace(
        inventory,
        noises=inventory.noises | {nid: str(tmp_path / "tone.wav")},
        noise_samples=inventory.noise_samples | {nid: 64000},
    )
    for speed in (0.7, 1.4):
        noise = cut_noise(toned, nid, 0.5, 16000, speed)
        assert len(noise) == 16000
        spectrum = np.abs(np.fft.rfft(noise * np.hanning(16000)))
        assert abs(int(spectrum.argmax()) - 1000 * speed) <= 1  # Hz


def test_levels_of_joined_noises() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 16000)).astype(np.float32)
    joined = mixing.add_noises([(one, 0.0), (0.01 * two, -6.0)])
    assert mixing.decibel(mixing.power(joined - one)) == pytest.approx(
        mixing.decibel(mixing.power(one)) - 6, abs=0.01
    )
    assert np.array_equal(mixing.add_noises([(one, 0.0), (0 * two, 0.0)]), one)


def test_augmentation_options_are_checked() -> None:
    for options, message in (
        ({"noise_speed": (0.1, 1.0)}, "--noise_speed 0.1 1.0"),
        ({"second_noise": 1.5}, "--second_noise 1.5"),
        ({"equalizer": -1.0}, "--equalizer -1.0"),
        ({"dry_share": 2.0}, "--dry_share 2.0"),
    ):
        with pytest.raises(UserError, match=message):
            SimulationOptions(**options)


# Folders


def test_the_training_mix_can_be_told_afterwards(dump: Path) -> None:
    options = json.loads((dump / "simulation.json").read_text())
    assert training_mix(options) == (
        "TS0 5 %, TS1 25 %, TS2 45 %, ITS 25 % (b1: ITS share goes to TS2), "
        "SNR 0..15 dB, SIR -5..10 dB, level -40..-15 dBFS; "
        "speech at speeds 0.9, 1, 1.1; 12 samples of 4 s"
    )
    assert "simulation.json" in training_mix({})
    voices = {"formants": [0.9, 1.0]}
    assert "speeds 0.9, 1, 1.1, formants times 0.9, 1; 12" in training_mix(
        options | voices
    )
    more = {"noise_speed": [0.7, 1.4], "second_noise": 0.3, "equalizer": 6.0}
    assert (
        "noise at speeds 0.7..1.4; a second noise in 30 %; equalizers of +-6 dB; 12 "
        "samples" in training_mix(options | more)
    )
    assert "50 % in groups of one mixture; transients in 20 %; 12" in training_mix(
        options | {"paired": 0.5, "transients": 0.2}
    )


def test_folders_are_valid_and_consistent(dump: Path) -> None:
    for name, size in SIZES.items():
        assert validate_set(dump / "raw" / name) == size
    assert validate_set(dump / "raw" / "train_noits") == SIZES["train"]
    its, without = records(dump / "raw/train"), records(dump / "raw/train_noits")
    assert [r["uid"] for r in its] == [r["uid"] for r in without]
    changed = [a["its"] != b["its"] for a, b in zip(its, without)]
    assert any(changed) and not any(r["its"] for r in without)
    wavs = [read_table(dump / "raw" / s / "wav.scp") for s in ("train", "train_noits")]
    for record, differs in zip(its, changed):
        assert (wavs[0][record["uid"]] != wavs[1][record["uid"]]) == differs
    half = records(dump / "raw/train_its50")
    kept = [bool(record["its"]) for record in half]
    assert sum(kept) == round(0.5 * sum(changed))
    assert half == [a if k else b for k, a, b in zip(kept, its, without)]
    half_wavs = read_table(dump / "raw/train_its50/wav.scp")
    for keep, record in zip(kept, half):
        assert half_wavs[record["uid"]] == wavs[0 if keep else 1][record["uid"]]
    for name in ("partial", "swap_enrolment"):
        other = dump / f"raw/train_its_{name}"
        assert validate_set(other) == SIZES["train"]
        other_wavs = read_table(other / "wav.scp")
        for record, one, differs in zip(records(other), its, changed):
            assert record["its"] == (name if differs else "")
            is_same = other_wavs[record["uid"]] == wavs[0][record["uid"]]
            assert is_same != differs
            assert (record == one) != differs  # all other draws are shared
    enroll = read_table(dump / "raw/train/enroll_id")
    assert all(line.startswith("*") for line in enroll.values())
    clips = read_table(dump / "enroll/dev/wav.scp")
    assert set(read_table(dump / "raw/dev/enroll_id").values()) <= set(clips)


def test_validation_finds_defects(dump: Path) -> None:
    folder = dump / "raw" / "test_ts2"
    tables = {n: (folder / n).read_text() for n in ("spk1.scp", "utt2interf")}
    silent = read_table(dump / "raw/test_ts3/spk1.scp")
    scp = read_table(folder / "spk1.scp")
    uid = next(iter(scp))
    write_table(folder / "spk1.scp", scp | {uid: silent[uid.replace("ts2", "ts3")]})
    with pytest.raises(UserError, match=f"{uid}: ts2, but target"):
        validate_set(folder)
    (folder / "spk1.scp").write_text(tables["spk1.scp"])
    write_table(folder / "utt2interf", read_table(folder / "utt2spk"))
    with pytest.raises(UserError, match="the interferer is the enrolled speaker"):
        validate_set(folder)
    (folder / "utt2interf").write_text(tables["utt2interf"])
    assert validate_set(folder) == SIZES["test_ts2"]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder; paths inside the files are made relative."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().replace(
            str(folder.resolve()).encode(), b"."
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_killed_runs_resume_bit_by_bit(data: Path, dump: Path, tmp_path: Path) -> None:
    arguments = [
        *("--data_dir", str(data), "--dump_dir", str(tmp_path), "--seed", "5"),
        *("--train", "12", "--dev", "4", "--test", "4", "--nj", "1"),
        *as_arguments(OPTIONS),
        *("--its_variants", "0.5", "partial", "swap_enrolment"),
    ]
    target = tmp_path / "raw"
    for wanted in (1, 7):
        process = subprocess.Popen(
            [sys.executable, "-m", command.__name__, *arguments],
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        while process.poll() is None and len(list(target.rglob("*.wav"))) < wanted:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.returncode == -signal.SIGKILL
    left = {path: path.stat().st_mtime_ns for path in target.rglob("samples/*.json")}
    command.main(arguments)
    assert contents(tmp_path) == contents(dump)
    assert all(path.stat().st_mtime_ns == mtime for path, mtime in left.items())


def test_changed_options_are_not_mistaken_for_finished_work(
    data: Path, tmp_path: Path
) -> None:
    sizes = {"test_ts1": 2}
    simulate(data, tmp_path, sizes, OPTIONS, seed=5)
    before = contents(tmp_path / "raw/test_ts1/wav")
    simulate(data, tmp_path, sizes, replace(OPTIONS, snr=(40, 40)), seed=5)
    after = contents(tmp_path / "raw/test_ts1/wav")
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before)


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"snr": (5, 0)}, "--snr 5 0"),
        ({"pause_share": 1.5}, "--pause_share 1.5"),
        ({"ts0": 0, "ts1": 0, "ts2": 0, "its": 0}, "--ts0 --ts1 --ts2 --its"),
        ({"target": "late"}, "--target late"),
        ({"clips_per_speaker": 1}, "--clips_per_speaker 1"),
        ({"seconds": 3.0}, "--seconds 3.0"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(OPTIONS, **options)


def test_missing_stage_and_full_disk(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; run the stage"):
        simulate(tmp_path / "nothing", tmp_path / "dump", {"dev": 1}, OPTIONS)
    with pytest.raises(UserError, match="GB free"):
        check_disk(tmp_path / "a" / "b", 10**18)
    with pytest.raises(UserError, match="GB free"):
        simulate(data, tmp_path / "dump", {"dev": 10**12}, OPTIONS)
    assert not (tmp_path / "dump").exists()


def test_silent_stretch_is_an_error(data: Path, tmp_path: Path) -> None:
    base: Inventory = load_inventory(data / "test")
    write_audio(tmp_path / "zero.wav", np.zeros(200000, np.float32))
    inventory = replace(base, wavs=dict.fromkeys(base.wavs, str(tmp_path / "zero.wav")))
    clips = plan_clips(inventory, OPTIONS, 5)
    with pytest.raises(UserError, match="zero.wav: silent over a whole"):
        Simulator(inventory, OPTIONS, 5, "test").sample("test_ts2", 0)
    with pytest.raises(UserError, match="zero.wav: silent over a whole"):
        render_clip(inventory, next(iter(clips.values()))[0], OPTIONS, 5)


def test_a_stretch_in_digital_silence_gives_way_to_the_loudest(
    data: Path, tmp_path: Path
) -> None:
    base: Inventory = load_inventory(data / "test")
    utt = next(iter(base.wavs))
    wave = np.zeros(base.samples[utt], np.float32)
    wave[9000:12000] = 0.1
    write_audio(tmp_path / "coded.wav", wave)
    inventory = replace(
        base,
        wavs={**dict(base.wavs.items()), utt: str(tmp_path / "coded.wav")},
        starts={**dict(base.starts.items()), utt: 0},
    )
    found = _read(inventory, [Piece(utt, 0, 4000)])
    assert len(found) == 4000 and np.count_nonzero(found > 0.09) > 2000
    within = (Piece(utt, 11000, 5000),)  # the other half is the enrolment's
    found = _read(inventory, [Piece(utt, 13000, 2000)], within)
    assert len(found) == 2000 and 800 < np.count_nonzero(found > 0.01) <= 1000


# Variations of training samples


def only(**shares: object) -> SimulationOptions:
    """Samples of two voices and noise with one variation."""
    return replace(OPTIONS, its=0, ts0=0, ts1=0, **shares)


def test_transients_are_in_the_mixture_alone(data: Path) -> None:
    louder = 0
    for index in range(6):
        _, before = sample(data, "train", index, only())
        options = only(transients=1.0, transient_level=(20.0, 40.0))
        trial, after = sample(data, "train", index, options)
        assert trial.transients
        assert np.array_equal(before.signals.target, after.signals.target)
        assert np.array_equal(before.signals.interferer, after.signals.interferer)
        change = after.signals.mixture - before.signals.mixture
        first = min(one.at for one in trial.transients)
        assert not change[:first].any() and change[first:].any()
        assert np.abs(after.signals.mixture).max() <= mixing.PEAK + 1e-6
        louder += np.abs(after.signals.mixture).max() > 2 * before.signals.mixture.max()
    assert louder


def test_transients_are_short_and_differ() -> None:
    waves = [transient(kind, seed) for kind in KINDS for seed in range(20)]
    assert all(np.abs(w).max() == pytest.approx(1, abs=1e-6) for w in waves)
    for wave in waves:
        energy = np.cumsum(np.square(wave, dtype=np.float64))
        assert np.searchsorted(energy, 0.9 * energy[-1]) < 0.12 * 16000
    assert len({w.tobytes() for w in waves}) == len(waves)


def test_a_telephone_leaves_its_band_and_shifts_nothing(data: Path) -> None:
    trial, before = sample(data, "train", 2, only())
    trial, after = sample(data, "train", 2, only(telephone=1.0))
    assert trial.telephone
    for kind, (wide, narrow) in enumerate(zip(before.signals, after.signals)):
        spectrum = np.abs(np.fft.rfft(narrow)) ** 2
        hertz = np.fft.rfftfreq(len(narrow), 1 / 16000)
        outside = (hertz < 150) | (hertz > 3700)
        # The mixture is coded: its quantisation noise is white.
        assert spectrum[outside].sum() < (1e-2 if kind == 0 else 1e-5) * spectrum.sum()
        size = 2 * len(wide)
        lags = np.fft.irfft(np.fft.rfft(wide, size).conj() * np.fft.rfft(narrow, size))
        assert int(lags.argmax()) == 0


def test_voices_take_turns(data: Path) -> None:
    for index in range(6):
        trial, rendered = sample(data, "train", index, only(turns=1.0, dry_share=1.0))
        for image, (start, length) in (
            (rendered.signals.target, trial.target_turn),
            (rendered.signals.interferer, trial.interferer_turn),
        ):
            outside = image.copy()
            outside[start : start + length + LEAD + 1] = 0
            assert np.abs(outside).max() < 1e-5 * np.abs(image).max()
        begins = sorted((trial.target_turn[0], trial.interferer_turn[0]))
        assert begins[0] == 0 < begins[1]


def test_short_utterances(data: Path) -> None:
    for index in range(6):
        trial, rendered = sample(data, "train", index, only(short=1.0, dry_share=1.0))
        image = np.abs(rendered.signals.target)
        heard = np.flatnonzero(image > 1e-4 * image.max())
        assert 0.1 < (heard[-1] - heard[0]) / 16000 <= 1.01


def test_swapped_distances_exchange_the_responses(data: Path) -> None:
    options = only(measured_share=0.0)
    plain, _ = sample(data, "train", 1, options)
    trial, _ = sample(data, "train", 1, replace(options, swapped_distances=1.0))
    near, far, noise = plain.responses
    assert trial.responses == (far, near, noise)


def test_further_interferers_are_other_people_and_are_heard(data: Path) -> None:
    seen = 0
    for index in range(12):
        options = only(further_interferers=0.7)
        made = simulator(data, options, "train")
        trial, rendered = made.sample("train", index)
        names = [trial.speaker, trial.interferer, *(one.speaker for one in trial.more)]
        persons = [made.inventory.persons[name] for name in names]
        assert len(set(persons)) == len(persons) <= 4
        power = mixing.active_power(rendered.signals.target)
        interferers = mixing.active_power(rendered.signals.interferer)
        assert mixing.decibel(power / interferers) == pytest.approx(trial.sir, abs=0.1)
        alone = render(made.inventory, replace(trial, more=()), "full").signals
        changed = not np.allclose(alone.interferer, rendered.signals.interferer)
        assert changed == bool(trial.more)
        seen += bool(trial.more)
    assert seen


@pytest.mark.parametrize("name", ["babble", "shaped_noise"])
def test_made_noises_keep_the_ratio(data: Path, name: str) -> None:
    for index in range(3):
        trial, rendered = sample(data, "train", index, only(**{name: 1.0}))
        assert trial.noises[0].noise.startswith("*")
        mixture, target, interferer = (x.astype(float) for x in rendered.signals)
        noise = mixture - target - interferer
        ratio = mixing.active_power(target) / mixing.power(noise)
        assert mixing.decibel(ratio) == pytest.approx(trial.snr, abs=0.1)


def test_shaped_noises_differ_in_spectrum() -> None:
    spectra = []
    for seed in range(4):
        noise = shaped_noise(seed, 32000)
        assert np.isfinite(noise).all() and 0.05 < noise.std() < 0.2
        power = np.abs(np.fft.rfft(noise)) ** 2
        spectra.append(
            10 * np.log10(power.reshape(-1)[1:16001].reshape(10, -1).mean(1))
        )
    apart = np.abs(np.diff(np.array(spectra), axis=0)).max(1)
    assert (apart > 5).all()


def test_a_sample_without_noise(data: Path) -> None:
    _, rendered = sample(data, "train", 1, only(noise_free=1.0))
    mixture, target, interferer = rendered.signals
    assert np.allclose(mixture, target + interferer, atol=1e-6)


def _contents(folder: Path) -> dict[str, bytes]:
    """Tables and audio below a folder, without the folder's own name in them."""
    return {
        str(path.relative_to(folder)): path.read_bytes().replace(
            str(folder.resolve()).encode(), b""
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_shares_make_the_set_of_one_run(data: Path, tmp_path: Path) -> None:
    sizes = {"train": 5, "test_ts2": 3}
    options = replace(OPTIONS, its=0.6, ts0=0, ts1=0)
    arguments = (sizes, options, 5, 1, ("partial",))
    simulate(data, tmp_path / "whole", *arguments)
    folder = tmp_path / "shared"
    for job in (3, 1, 2):
        simulate(data, folder, *arguments, share=Share(job, 3))
    assert not list(folder.rglob("wav.scp"))
    made = {path: path.stat().st_mtime_ns for path in folder.rglob("*.wav")}
    simulate(data, folder, *arguments)
    assert made == {path: path.stat().st_mtime_ns for path in folder.rglob("*.wav")}
    assert _contents(folder) == _contents(tmp_path / "whole")


def lag(a: np.ndarray, b: np.ndarray) -> int:
    """Samples by which b is late."""
    size = 2 * len(a)
    lags = np.fft.irfft(np.fft.rfft(a, size).conj() * np.fft.rfft(b, size))
    found = int(lags.argmax())
    return found if found < len(a) else found - size


@pytest.mark.parametrize(
    "codec",
    [Codec("mp3", 0.0), Codec("mp3", 0.9), Codec("opus", 0.7), Codec("opus", 0.98)],
    ids=lambda codec: f"{codec.name}{codec.compression}",
)
def test_codecs_shift_nothing(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = lfilter([1.0], [1.0, -0.9], rng.standard_normal(20000)).astype(np.float32)
    x *= 0.1 / np.abs(x).std()
    found = coded(x, codec)
    assert found.dtype == np.float32 and len(found) == len(x)
    error = mixing.decibel(mixing.power(found - x) / mixing.power(x))
    assert lag(x, found) == 0 and -40 < error < 0
    # An encoder that leaves its delay in the file is found out.
    read = soundfile.read

    def late(*given: object, **more: object) -> tuple[np.ndarray, int]:
        decoded, rate = read(*given, **more)
        return np.concatenate([np.zeros(1105, np.float32), decoded]), rate

    monkeypatch.setattr(soundfile, "read", late)
    np.testing.assert_array_equal(coded(x, codec), found)


def test_a_codec_changes_the_mixture_alone(data: Path) -> None:
    kinds = set()
    for index in range(8):
        trial, after = sample(data, "train", index, only(codec=1.0))
        _, before = sample(data, "train", index, only())
        assert trial.codec is not None
        kinds.add(trial.codec.name)
        for wide, coded_one in list(zip(before.signals, after.signals))[1:]:
            np.testing.assert_array_equal(wide, coded_one)
        mixture = after.signals.mixture
        assert not np.array_equal(mixture, before.signals.mixture)
        assert lag(before.signals.mixture, mixture) == 0
        assert np.abs(mixture).max() <= mixing.PEAK
    assert kinds == {"mp3", "opus"}


def test_clips_are_coded_by_draws_of_their_own(data: Path) -> None:
    inventory = load_inventory(data / "train")
    clips = [c for cs in plan_clips(inventory, OPTIONS, 5).values() for c in cs][:8]
    plain = [render_clip(inventory, c, OPTIONS, 5, train=True) for c in clips]
    some = replace(OPTIONS, clip_codec=0.5)
    waves = [render_clip(inventory, c, some, 5, train=True) for c in clips]
    changed = [not np.array_equal(a, b) for a, b in zip(plain, waves, strict=True)]
    assert 0 < sum(changed) < len(clips)
    assert all(lag(a, b) == 0 for a, b in zip(plain, waves, strict=True))
    other = [render_clip(inventory, c, some, 5) for c in clips]
    again = [render_clip(inventory, c, OPTIONS, 5) for c in clips]
    np.testing.assert_equal(other, again)  # scored clips are never coded


def test_rooms_fill_the_gaps_of_clips(data: Path) -> None:
    """A clip with a room has its echoes, as its spectra have."""
    inventory = load_inventory(data / "train")
    options = replace(OPTIONS, clip_snr=(90.0, 90.0))
    fuller = 0
    clips = [c for cs in plan_clips(inventory, OPTIONS, 5).values() for c in cs][:6]
    for clip in clips:
        quiet = []
        for share in (0.0, 1.0):
            one = replace(options, clip_room_share=share)
            wave = render_clip(inventory, clip, one, 5)
            power = np.square(wave[: len(wave) // 320 * 320].reshape(-1, 320)).mean(1)
            quiet.append(np.quantile(power, 0.1) / power.mean())
        fuller += quiet[1] > 1.2 * quiet[0]
    assert fuller >= len(clips) - 1


def test_training_clips_have_channels_of_their_own(data: Path) -> None:
    """What is set for training changes no scored clip, and the other way round."""
    inventory = load_inventory(data / "train")
    clip = plan_clips(inventory, OPTIONS, 5)[inventory.targets[0]][0]
    alike = replace(
        OPTIONS,
        train_clip_snr=OPTIONS.clip_snr,
        train_clip_room_share=OPTIONS.clip_room_share,
    )
    scored = render_clip(inventory, clip, alike, 5)
    np.testing.assert_array_equal(render_clip(inventory, clip, alike, 5, True), scored)
    for change in ({"snr": (-5.0, -5.0)}, {"room_share": 0.0}, {"room_share": 1.0}):
        for_training = replace(
            alike, **{f"train_clip_{k}": v for k, v in change.items()}
        )
        for_scores = replace(alike, **{f"clip_{k}": v for k, v in change.items()})
        of_training = render_clip(inventory, clip, for_training, 5, True)
        np.testing.assert_array_equal(
            render_clip(inventory, clip, for_training, 5), scored
        )
        np.testing.assert_array_equal(
            render_clip(inventory, clip, for_scores, 5, True), scored
        )
        np.testing.assert_array_equal(
            render_clip(inventory, clip, for_scores, 5), of_training
        )
    low = replace(alike, train_clip_snr=(-5.0, -5.0))
    assert not np.array_equal(render_clip(inventory, clip, low, 5, True), scored)


def colour(before: np.ndarray, after: np.ndarray) -> float:
    """How unevenly the spectrum changed: dB, standard deviation over bands."""
    spectra = [np.abs(np.fft.rfft(x)) ** 2 for x in (before, after)]
    bands = [
        [part.sum() for part in np.array_split(spectrum, 40)[:30]]
        for spectrum in spectra
    ]
    return float(np.std(10 * np.log10(np.divide(*reversed(bands)))))


def test_clips_have_an_equalizer(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = load_inventory(data / "train")
    clip = plan_clips(inventory, OPTIONS, 5)[inventory.targets[0]][0]
    wave, drawn = render_clip(inventory, clip, OPTIONS, 5), mixing.equalizer

    def flat(rng: np.random.Generator) -> np.ndarray:
        taps = np.zeros_like(drawn(rng))
        taps[len(taps) // 2] = 1.0
        return taps

    monkeypatch.setattr(mixing, "equalizer", flat)
    assert colour(render_clip(inventory, clip, OPTIONS, 5), wave) > 0.5


@pytest.mark.parametrize("place", [0, 1, 2])
def test_each_sound_has_its_own_equalizer(data: Path, place: int) -> None:
    """0 the target, 1 the interferer, 2 the noise."""
    inventory = load_inventory(data / "train")
    trial = simulator(data, only(equalizer=10.0), "train").draw("train", 3)
    flat = np.zeros_like(trial.equalizers[0])
    flat[len(flat) // 2] = 1.0
    taps = [flat, flat, flat]
    plain = replace(trial, equalizers=tuple(taps))
    taps[place] = trial.equalizers[place]
    coloured = replace(trial, equalizers=tuple(taps))
    sounds = []
    for one in (plain, coloured):
        mixture, target, interferer = render(inventory, one, "full").signals
        sounds.append((target, interferer, mixture - target - interferer))
    changes = [colour(a, b) for a, b in zip(*sounds, strict=True)]
    assert changes[place] > 1.0
    assert all(change < 0.1 for k, change in enumerate(changes) if k != place)


def test_a_target_is_absent_for_long_and_interrupts_itself(data: Path) -> None:
    options = only(
        seconds=20.0, long_absence=1.0, absence_seconds=(8.0, 12.0), interruptions=1.0
    )
    speaking = 0
    for index in range(4):
        trial, rendered = sample(data, "train", index, replace(options, dry_share=1.0))
        (start, length), *shorter = trial.absences
        assert 8 * 16000 <= length <= 12 * 16000 and 1 <= len(shorter) <= 3
        assert all(0.5 * 16000 <= n <= 2 * 16000 for _, n in shorter)
        target = rendered.signals.target
        assert len(target) == 20 * 16000
        speaking += np.abs(target).max() > 1e-3
        _, plain = sample(data, "train", index, only(seconds=20.0, dry_share=1.0))
        for first, count in trial.absences:
            inside = target[first + LEAD : first + count]
            # Unless nothing else would have been left of the voice.
            outside = plain.signals.target.copy()
            outside[first : first + count] = 0
            assert np.abs(inside).max() < 1e-6 or np.abs(outside).max() < 1e-6
        assert [start, length] in [list(pause) for pause in rendered.pauses]
    assert speaking == 4

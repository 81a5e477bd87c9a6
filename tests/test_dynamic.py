"""Dynamic mixing: the same mixtures for any number of workers, any epoch, any order."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from espnet2.train.collate_fn import CommonCollateFn
from mixing_fixture import prepare, vectors_of

from espnet_pse_kd.enrolment_vectors import EnrolmentVectors
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.espnet.mixing import MixtureIterFactory
from espnet_pse_kd.simulation.blocks import BLOCK, place_of
from espnet_pse_kd.simulation.dynamic import DynamicMixing, MixtureDataset
from espnet_pse_kd.simulation.options import SimulationOptions

CONF = DynamicMixing(
    data="",
    samples=50,
    seed=3,
    options={"clips_per_speaker": 2, "clip_seconds": [2.0, 3.0], "transients": 0.5},
)


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> DynamicMixing:
    root = tmp_path_factory.mktemp("corpus")
    return replace(CONF, data=str(prepare(root)))


@pytest.fixture(scope="module")
def dataset(conf: DynamicMixing) -> MixtureDataset:
    return MixtureDataset(conf, vectors_of(conf))


def digest(batches: list) -> str:
    """Of names and all data, rounded beyond what libraries disagree about."""
    total = hashlib.sha256()
    for names, data in batches:
        total.update(" ".join(names).encode())
        for key in sorted(data):
            total.update(np.round(data[key].numpy() * 1e3).astype(np.int32).tobytes())
    return total.hexdigest()


def batches(dataset: MixtureDataset, workers: int, *epochs: int) -> list:
    factory = MixtureIterFactory(dataset, 8, CommonCollateFn(), workers)
    return [batch for epoch in epochs for batch in factory.build_iter(epoch)]


def test_mixtures_do_not_depend_on_workers_or_on_resuming(
    dataset: MixtureDataset,
) -> None:
    wanted = digest(batches(dataset, 0, 1, 2))
    assert digest(batches(dataset, 1, 1, 2)) == wanted
    assert digest(batches(dataset, 4, 1, 2)) == wanted
    resumed = MixtureDataset(dataset.conf, dataset.vectors)
    first, second = batches(dataset, 0, 1), batches(resumed, 0, 2)
    assert digest(first + second) == wanted
    assert digest(first) != digest(second), "an epoch repeats the one before"


def test_ranks_share_the_batches(dataset: MixtureDataset) -> None:
    whole = batches(dataset, 0, 1)
    names: list[list[str]] = []
    for rank in range(2):
        factory = MixtureIterFactory(dataset, 8, CommonCollateFn())
        factory.rank, factory.ranks = rank, 2
        names.append([n for ids, _ in factory.build_iter(1) for n in ids])
    together = [n for pair in zip(*names, strict=True) for n in pair]
    assert together == [n for ids, _ in whole for n in ids]


def test_a_group_shares_one_mixture_and_enrolls_different_people(
    dataset: MixtureDataset,
) -> None:
    options, seed = dataset.conf.simulation, dataset.conf.seed
    groups: dict[int, list[int]] = {}
    for number in range(10 * BLOCK):
        place = place_of(options, seed, "train", number)
        if place.member:
            groups.setdefault(place.first, []).append(number)
    trios = [numbers for numbers in groups.values() if len(numbers) == 3]
    assert trios
    for numbers in trios[:3]:
        samples = [dataset[number][1] for number in numbers]
        one, other, absent = samples
        for sample in samples[1:]:
            assert np.array_equal(sample["speech_mix"], one["speech_mix"])
        assert np.array_equal(one["speech_ref1"], other["interf_ref1"])
        assert np.array_equal(one["interf_ref1"], other["speech_ref1"])
        assert one["speech_ref1"].any() and other["speech_ref1"].any()
        assert not absent["speech_ref1"].any()
        simulator = dataset.simulator
        trials = [simulator.draw("train", number) for number in numbers]
        persons = [simulator.inventory.persons[trial.target] for trial in trials]
        assert len(set(persons)) == 3
        clips = {c.cid: c for cs in simulator.clips.values() for c in cs}
        for trial, source in zip(
            trials, (trials[0].source, trials[0].interference_source, None), strict=True
        ):
            assert clips[trial.enroll_clip].speaker == trial.target
            assert clips[trial.enroll_clip].source != source


def test_the_noise_of_a_vector_is_drawn_for_every_sample(
    dataset: MixtureDataset,
) -> None:
    """The same clip never comes twice with the same noise, a sample always does."""
    quiet = replace(dataset.conf, vector_noise=0.0)
    clean = MixtureDataset(quiet, dataset.vectors)
    noises = [
        dataset[number][1]["enroll_ref1"] - clean[number][1]["enroll_ref1"]
        for number in range(6)
    ]
    for index, noise in enumerate(noises):
        assert 0.3 < np.std(noise) / dataset.conf.vector_noise < 2.0  # of few numbers
        for other in noises[:index]:
            assert not np.allclose(noise, other, atol=1e-4)
    again = dataset[3][1]["enroll_ref1"] - clean[3][1]["enroll_ref1"]
    np.testing.assert_array_equal(again, noises[3])


@pytest.mark.parametrize("paired", [0.0, 0.5, 1.0])
def test_blocks_are_stratified(paired: float) -> None:
    """Every block has the shares of the scenarios, as nearly as its samples can."""
    options = SimulationOptions(paired=paired, ts0=0.0, ts1=0.25, ts2=0.5, its=0.25)
    grouped = total = 0
    for block in range(400):
        numbers = range(block * BLOCK, (block + 1) * BLOCK)
        places = [place_of(options, 1, "train", number) for number in numbers]
        alone = Counter(p.scenario for p in places if not p.member)
        count = sum(alone.values())
        for kind, share in (("ts1", 0.25), ("ts2", 0.5), ("its", 0.25)):
            assert abs(alone[kind] - share * count) < 1
        grouped += BLOCK - count
        total += BLOCK
        assert all(p.first <= n for p, n in zip(places, numbers, strict=True))
    assert grouped / total == pytest.approx(paired, abs=0.08)


def test_ratios_are_symmetric_and_pairs_of_one_sex_as_often_as_asked(
    dataset: MixtureDataset,
) -> None:
    trials = [dataset.simulator.draw("train", number) for number in range(600)]
    ratios = np.array([trial.sir for trial in trials])
    assert ratios.min() < -8 and ratios.max() > 8
    assert abs(ratios.mean()) < 1
    known = [t.same_gender for t in trials if t.same_gender is not None]
    assert np.mean(known) == pytest.approx(0.5, abs=0.08)


def test_vectors_are_noisy_but_the_same_every_time(dataset: MixtureDataset) -> None:
    again = MixtureDataset(dataset.conf, dataset.vectors)
    vector = dataset[5][1]["enroll_ref1"]
    assert np.array_equal(again[5][1]["enroll_ref1"], vector)
    quiet = MixtureDataset(replace(dataset.conf, vector_noise=0.0), dataset.vectors)
    bare = quiet[5][1]["enroll_ref1"]
    assert np.linalg.norm(bare) == pytest.approx(1.0, abs=1e-5)
    assert 0 < np.abs(vector - bare).max() < 0.1


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"samples": 0}, "samples 0"),
        ({"vector_noise": -1.0}, "vector_noise"),
        ({"interpolation": 1.5}, "interpolation 1.5"),
        ({"options": {"long_absence": 0.5}}, "--seconds 4.0: too short"),
        ({"options": {"sirs": [0, 1]}}, "unknown option 'sirs'"),
        ({"options": {"train_sir": [5, 1]}}, "low before high"),
    ],
)
def test_bad_options(conf: DynamicMixing, change: dict, match: str) -> None:
    with pytest.raises(UserError, match=match):
        replace(conf, **change).simulation  # noqa: B018


def test_a_clip_without_vector_is_refused(dataset: MixtureDataset) -> None:
    few = dataset.vectors
    fewer = EnrolmentVectors(
        few.ids[1:], few.speakers[1:], few.sources[1:], few.vectors[1:]
    )
    with pytest.raises(UserError, match="no enrolment clip"):
        MixtureDataset(dataset.conf, fewer)


def test_a_vector_between_two_clips_is_nobody_else_s(dataset: MixtureDataset) -> None:
    """A unit vector between those of two clips of one speaker, the same every time."""
    conf = replace(dataset.conf, vector_noise=0.0)
    plain = MixtureDataset(conf, dataset.vectors)
    mixed = MixtureDataset(replace(conf, interpolation=1.0), dataset.vectors)
    moved = 0
    for number in range(12):
        clip = dataset.simulator.draw("train", number).enroll_clip
        row = dataset.vectors.ids.index(clip)
        speaker = dataset.vectors.speakers[row]
        own = [s == speaker for s in dataset.vectors.speakers]
        vector = mixed[number][1]["enroll_ref1"][0]
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
        # In the span of the speaker's vectors, and nearer to the drawn clip's.
        _, rest, *_ = np.linalg.lstsq(dataset.vectors.vectors[own].T, vector, None)
        assert rest < 1e-8
        nearest = (dataset.vectors.vectors @ vector).argmax()
        assert nearest == row
        assert np.array_equal(mixed[number][1]["enroll_ref1"][0], vector)
        moved += not np.array_equal(plain[number][1]["enroll_ref1"][0], vector)
        assert np.array_equal(
            plain[number][1]["speech_mix"], mixed[number][1]["speech_mix"]
        )
    assert moved >= 4, "other clips of the speaker are never drawn"


DRAWN = "551234032aa6bcd6ad3ae6d844012774327f29dde19ab1230c10d36b635fbef1"
"""Digest of the first 100 mixtures of `CONF`. Another one is other training data."""


class Draws(MixtureDataset):
    """What is drawn for a mixture, in the place of its audio."""

    def __getitem__(self, number: int) -> tuple[str, dict[str, np.ndarray]]:
        trial = self.simulator.draw("train", number)
        text = json.dumps(plain_values(asdict(trial)), sort_keys=True)
        found = hashlib.sha256(text.encode()).digest()
        return trial.uid, {"digest": np.frombuffer(found, np.uint8).astype(np.float32)}


def plain_values(value: object) -> object:
    """Rounded numbers, and files without their folders: the same on every machine."""
    if isinstance(value, dict):
        return {key: plain_values(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(one) for one in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else str(value)
    return Path(value).name if isinstance(value, str) else value


def drawn_by(draws: Draws, workers: int, *epochs: int) -> list[tuple[str, bytes]]:
    factory = MixtureIterFactory(draws, 10, CommonCollateFn(), workers)
    return [
        (name, row.numpy().tobytes())
        for epoch in epochs
        for names, data in factory.build_iter(epoch)
        for name, row in zip(names, data["digest"], strict=True)
    ]


def test_a_hundred_mixtures_are_those_of_the_seed(dataset: MixtureDataset) -> None:
    """For 0, 1 and 4 workers, after a resume, on every machine and in every version."""
    draws = Draws(dataset.conf, dataset.vectors)
    found = drawn_by(draws, 0, 1, 2)
    assert len({name for name, _ in found}) == 100
    total = hashlib.sha256(b"".join(name.encode() + row for name, row in found))
    assert total.hexdigest() == DRAWN
    for workers in (1, 4):
        assert drawn_by(draws, workers, 1, 2) == found
    assert drawn_by(Draws(dataset.conf, dataset.vectors), 0, 2) == found[50:]


def test_options_at_0_change_no_draw(dataset: MixtureDataset) -> None:
    """What an option adds is all that it changes."""
    added = {"codec": 1.0, "long_absence": 1.0, "absence_seconds": [1.0, 2.0]}
    options = {**dataset.conf.options, **added, "interruptions": 1.0}
    more = replace(dataset.conf, options=options).simulator()
    for number in range(30):
        trial = more.draw("train", number)
        assert trial.codec and trial.absences
        plain = dataset.simulator.draw("train", number)
        assert replace(trial, codec=None, absences=()) == plain

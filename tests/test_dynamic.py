"""Dynamic mixing: the same mixtures for any number of workers, any epoch, any order."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from corpus_fixture import make_librispeech
from espnet2.train.collate_fn import CommonCollateFn

from espnet_pse_kd.corpora.merge import Corpus, SplitOptions
from espnet_pse_kd.corpora.prepare import prepare_corpora
from espnet_pse_kd.enrolment_vectors import EnrolmentVectors
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.espnet.mixing import MixtureIterFactory
from espnet_pse_kd.simulation.blocks import BLOCK, place_of
from espnet_pse_kd.simulation.dynamic import DynamicMixing, MixtureDataset
from espnet_pse_kd.simulation.options import SimulationOptions
from espnet_pse_kd.simulation.rooms import write_rooms

CONF = DynamicMixing(
    data="",
    samples=50,
    seed=3,
    options={"clips_per_speaker": 2, "clip_seconds": [2.0, 3.0], "transients": 0.5},
)


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> DynamicMixing:
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
    return replace(CONF, data=str(folder))


def vectors_of(conf: DynamicMixing) -> EnrolmentVectors:
    """A random vector for every clip."""
    clips = [c for cs in conf.simulator().clips.values() for c in cs]
    vectors = np.random.default_rng(0).standard_normal((len(clips), 16))
    return EnrolmentVectors(
        [c.cid for c in clips],
        [c.speaker for c in clips],
        [c.source for c in clips],
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
    )


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

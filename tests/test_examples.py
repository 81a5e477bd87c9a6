"""Validation samples in TensorBoard: which, when, and that they are what was made."""

import types

import numpy as np
import pytest
import torch
from espnet2.enh.decoder.null_decoder import NullDecoder
from espnet2.enh.encoder.null_encoder import NullEncoder
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from espnet_pse_kd.espnet import trainer
from espnet_pse_kd.espnet.criterions import CRITERIONS, GatedSolver
from espnet_pse_kd.espnet.enh_model import ESPnetPSEModel
from espnet_pse_kd.espnet.examples import COUNT, FixedSamples, is_due, write_examples
from espnet_pse_kd.espnet.extractor import EXTRACTORS
from espnet_pse_kd.espnet.trainer import ResumableTrainer

N = 3200
LENGTHS = torch.tensor([N, N, N // 2, N, N])


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    extractor = EXTRACTORS["mingru"](1, width=8, layers=1, feed_hidden=8)
    return ESPnetPSEModel(
        NullEncoder(), extractor, NullDecoder(), [GatedSolver(CRITERIONS["plcpa"]())]
    ).eval()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    mixture, target = 0.01 * torch.randn(2, 5, N, generator=generator)
    target[1] = 0
    vector = torch.nn.functional.normalize(torch.randn(5, 1, 256), dim=-1)
    ids = [f"dev_{k}" for k in range(5)]
    return ids, {
        "speech_mix": mixture,
        "speech_mix_lengths": LENGTHS,
        "speech_ref1": target,
        "enroll_ref1": vector,
    }


def events(folder):
    accumulator = EventAccumulator(str(folder), {"audio": 0, "images": 0})
    accumulator.Reload()
    return accumulator


def fixed(batch):
    """What is kept of a validation set that comes in batches of two, shuffled."""
    ids, data = batch
    orders = torch.tensor([4, 1]), torch.tensor([2, 0]), torch.tensor([3])
    parts = [([ids[k] for k in o], {n: x[o] for n, x in data.items()}) for o in orders]
    samples = FixedSamples(parts)
    assert [uids for uids, _ in samples] == [uids for uids, _ in parts]
    return samples.kept


def test_samples_are_the_same_in_whatever_order_they_come(batch):
    kept = fixed(batch)
    assert list(kept) == batch[0][:COUNT]
    for k, sample in enumerate(kept.values()):
        assert torch.equal(sample["speech_mix"], batch[1]["speech_mix"][k : k + 1])
    empty = FixedSamples([])
    assert list(empty) == [] and empty.kept == {}


def test_audio_and_spectrograms_are_written(model, batch, tmp_path):
    write_examples(model, fixed(batch), tmp_path, 5)
    written = events(tmp_path)
    tags = {f"dev_{k}/{n}" for k in range(COUNT) for n in ("mixture", "target")}
    assert set(written.Tags()["audio"]) == tags | {
        f"dev_{k}/output" for k in range(COUNT)
    }
    assert len(written.Tags()["images"]) == COUNT
    [clip] = written.Audio("dev_2/output")
    assert (clip.step, clip.sample_rate, clip.length_frames) == (5, 16000, N // 2)
    [picture] = written.Images("dev_0/mixture over target over output")
    assert (picture.width, picture.height) == (N // 256 + 2, 3 * 257)


def test_output_is_the_model_s(model, batch, tmp_path):
    samples = fixed(batch)
    write_examples(model, samples, tmp_path, 1)
    data = samples["dev_0"]
    with torch.no_grad():
        wanted = model.forward_enhance(
            data["speech_mix"],
            data["speech_mix_lengths"],
            [data["enroll_ref1"]],
            [torch.ones(1, dtype=torch.long)],
        )[0][0][0]
    [clip] = events(tmp_path).Audio("dev_0/output")
    found = np.frombuffer(clip.encoded_audio_string[44:], np.int16) / 32767
    gain = 0.7 / data["speech_mix"][0].abs().max()
    assert np.abs(found - (wanted * gain).numpy()).max() < 1e-3


def test_silent_mixture_is_no_obstacle(model, batch, tmp_path):
    samples = fixed(batch)
    samples["dev_0"]["speech_mix"] = torch.zeros(1, N)
    write_examples(model, samples, tmp_path, 1)
    assert events(tmp_path).Audio("dev_0/mixture")


def test_other_models_show_nothing(batch, tmp_path):
    write_examples(torch.nn.Linear(1, 1), fixed(batch), tmp_path, 5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("epoch", "last", "due"),
    [(1, 10, False), (5, 12, True), (10, 12, True), (12, 12, True), (11, 12, False)],
)
def test_every_few_epochs(epoch, last, due):
    assert is_due(epoch, last) == due


@pytest.mark.parametrize(
    ("use_tensorboard", "rank", "epoch", "written"),
    [(True, 0, 5, 1), (False, 0, 5, 0), (True, 1, 5, 0), (True, 0, 4, 0)],
)
def test_trainer_writes_once_where_it_is_wanted(
    batch, monkeypatch, tmp_path, use_tensorboard, rank, epoch, written
):
    seen, calls = [], []
    monkeypatch.setattr(
        trainer.Trainer,
        "validate_one_epoch",
        classmethod(lambda cls, **kwargs: seen.extend(kwargs["iterator"])),
    )
    monkeypatch.setattr(trainer, "write_examples", lambda *args: calls.append(args))
    ResumableTrainer.validate_one_epoch(
        model=torch.nn.Linear(1, 1),
        iterator=[batch],
        reporter=types.SimpleNamespace(
            get_epoch=lambda: epoch, register=lambda stats, weight=None: None
        ),
        options=types.SimpleNamespace(
            use_tensorboard=use_tensorboard, max_epoch=9, output_dir=tmp_path
        ),
        distributed_option=types.SimpleNamespace(distributed=rank > 0, dist_rank=rank),
    )
    assert len(seen) == 1 and len(calls) == written
    if written:
        assert calls[0][2] == tmp_path / "tensorboard/valid" and calls[0][3] == epoch

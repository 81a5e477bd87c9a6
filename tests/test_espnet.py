"""ESPnet adapters: models, tasks, training that survives SIGKILL, packing."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from espnet2.enh.decoder.null_decoder import NullDecoder
from espnet2.enh.encoder.null_encoder import NullEncoder
from espnet2.enh.loss.wrappers.fixed_order import FixedOrderSolver
from espnet2.tasks.enh import criterion_choices
from espnet2.tasks.enh_tse import extractor_choices
from espnet2.torch_utils.initialize import initialize
from espnet2.train.distributed_utils import DistributedOption
from espnet2.train.trainer import Trainer
from torch import Tensor, nn

from espnet_pse_kd import losses
from espnet_pse_kd.activity import TSS, activity
from espnet_pse_kd.audio import SAMPLE_RATE, read_audio, write_audio
from espnet_pse_kd.bin import enhance, score_teacher
from espnet_pse_kd.enrolment_vectors import EnrolmentVectors, sample_generator
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.espnet.criterions import (
    CONTEXT,
    CRITERIONS,
    GatedSolver,
    LossContext,
)
from espnet_pse_kd.espnet.enh_model import ESPnetPSEModel
from espnet_pse_kd.espnet.extractor import EXTRACTORS
from espnet_pse_kd.espnet.loading import load_student
from espnet_pse_kd.espnet.pvad_model import ESPnetPVADModel, _auc
from espnet_pse_kd.espnet.tasks import (
    _INITIALIZATIONS,
    PersonalVADTask,
    PSETask,
    load_teacher,
)
from espnet_pse_kd.gate import Gate
from espnet_pse_kd.kaldi import write_table
from espnet_pse_kd.losses import LossSignals
from espnet_pse_kd.nets.personal_vad import PersonalVAD
from espnet_pse_kd.recipe import enhancement, packing
from espnet_pse_kd.stft import HOP, num_frames

N = 12800
E3NET = {"filters": 16, "bottleneck": 16, "hidden": 16, "width": 8, "blocks": 1}
PVAD = {"conditioning": "set", "hidden": 8, "layers": 1, "bidirectional": True}
SIGNALS = (
    ("wav.scp", "speech_mix", "sound"),
    ("spk1.scp", "speech_ref1", "sound"),
    ("interf1.scp", "interf_ref1", "sound"),
    ("enroll_id", "enroll_ref1", "text"),
    ("window_vectors.scp", "window_vectors", "npy"),
)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.05 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(*shape: int, seed: int = 0) -> Tensor:
    return nn.functional.normalize(noise(*shape, 256, seed=seed), dim=-1)


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ``dump/``: 6 training, 2 development and 2 test samples."""
    folder = tmp_path_factory.mktemp("data") / "dump"
    rng = np.random.default_rng(0)
    for split, name, count in (("train", "train", 6), ("dev", "dev", 2)):
        make_set(folder, split, name, count, rng)
    make_set(folder, "test", "test_ts2", 2, rng)
    return folder


def make_set(dump: Path, split: str, name: str, count: int, rng) -> None:
    folder = dump / "raw" / name
    tables: dict[str, dict] = {file: {} for file, *_ in SIGNALS}
    tables |= {"utt2num_samples": {}, "utt2scenario": {}}
    for index in range(count):
        uid = f"{name}_{index}"
        target = 0.05 * rng.standard_normal(N) * (np.arange(N) < N // 2)
        if index == 1:
            target *= 0.0
        interferer = 0.05 * rng.standard_normal(N) * (np.arange(N) > N // 4)
        signals = {
            "wav": target + interferer,
            "spk1": target,
            "interf1": interferer,
        }
        for kind, samples in signals.items():
            path = folder / kind / f"{uid}.wav"
            write_audio(path, samples)
            tables[f"{kind}.scp"][uid] = path
        path = folder / f"{uid}.npy"
        np.save(path, unit(num_frames(N, 4000), seed=index).half().numpy())
        tables["window_vectors.scp"][uid] = path
        tables["utt2num_samples"][uid] = N
        tables["utt2scenario"][uid] = "ts3" if index == 1 else "ts2"
        source = f"*rec{index % 2} spk{index % 2}"
        tables["enroll_id"][uid] = source if split == "train" else f"{split}-1"
    for file, table in tables.items():
        write_table(folder / file, table)
    ids = [f"{split}-{k}" for k in range(6)]
    speakers = [f"spk{k % 2}" for k in range(6)]
    sources = [f"rec{k}" for k in range(6)]
    vectors = EnrolmentVectors(ids, speakers, sources, unit(6, seed=7).numpy())
    (dump / "enroll" / split).mkdir(parents=True, exist_ok=True)
    vectors.save(dump / "enroll" / split / "vectors.npz")


def options(dump: Path, out: Path, **more) -> list[str]:
    """Command line of a training; the rest is in a YAML, as in the recipe."""
    config = {
        "num_workers": 0,
        "iterator_type": "sequence",
        "batch_type": "unsorted",
        "batch_size": 3,
        "max_epoch": 3,
        "num_att_plot": 0,
        "use_matplotlib": False,
        "use_tensorboard": False,
        "optim": "adam",
        "log_level": "ERROR",
        "resume": True,
    }
    for kind in ("train", "valid"):
        folder = dump / "raw" / {"train": "train", "valid": "dev"}[kind]
        config[f"{kind}_data_path_and_name_and_type"] = [
            [str(folder / file), name, form] for file, name, form in SIGNALS
        ]
        config[f"{kind}_shape_file"] = [str(folder / "utt2num_samples")]
        split = "train" if kind == "train" else "dev"
        config[f"{kind}_enroll_vectors"] = str(dump / "enroll" / split / "vectors.npz")
    config.update(more)
    out.parent.mkdir(parents=True, exist_ok=True)
    path = out.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(config))
    return ["--config", str(path), "--output_dir", str(out)]


def pvad_options(dump: Path, out: Path, **more) -> list[str]:
    best = {"best_model_criterion": [["valid", "loss", "min"]]}
    return options(dump, out, **{"pvad_conf": PVAD, **best, **more})


def pse_options(dump: Path, out: Path, **more) -> list[str]:
    student = {
        "encoder": "same",
        "decoder": "same",
        "extractor": "e3net",
        "extractor_conf": E3NET,
        "model_conf": {"extract_feats_in_collect_stats": False},
        "best_model_criterion": [["valid", "loss", "min"]],
    }
    return options(dump, out, **{**student, **more})


@pytest.fixture(scope="module")
def teacher(dump: Path) -> Path:
    out = dump.parent / "exp" / "pvad"
    PersonalVADTask.main(cmd=pvad_options(dump, out, max_epoch=1))
    return out


@pytest.fixture(scope="module")
def student(dump: Path, teacher: Path) -> Path:
    out = dump.parent / "exp" / "pse_tiny_s_seed0"
    PSETask.main(cmd=pse_options(dump, out, **gated(teacher)))
    return out


def gated(teacher: Path, **gate) -> dict:
    return {
        "gate_conf": {"mode": "soft", **gate},
        "teacher_train_config": str(teacher / "config.yaml"),
        "teacher_model_file": str(teacher / "valid.loss.best.pth"),
    }


# --- models -------------------------------------------------------------------------


class FixedTeacher(ESPnetPVADModel):
    """A teacher that is sure, or half sure, whatever it hears."""

    def __init__(self, tss: float) -> None:
        super().__init__(PersonalVAD(**PVAD))
        self.tss = tss

    def posterior(self, mixture, enrolment, window_vectors=None, lengths=None):
        frames = num_frames(mixture.shape[1], self.hop)
        rest = (1 - self.tss) / 2
        row = torch.tensor([rest, rest, self.tss])
        return row.expand(len(mixture), frames, 3)


def build_model(gate: Gate | None = None, wrapper=GatedSolver) -> ESPnetPSEModel:
    torch.manual_seed(0)
    return ESPnetPSEModel(
        NullEncoder(),
        EXTRACTORS["e3net"](1, **E3NET),
        NullDecoder(),
        [wrapper(CRITERIONS["plcpa"]())],
        gate,
    )


def batch(lengths: tuple[int, ...] = (N, N)) -> dict[str, Tensor]:
    """The target speaks in the first half; the interferer all the time."""
    count = len(lengths)
    inside = torch.arange(N) < torch.tensor(lengths)[:, None]
    target = noise(count, N, seed=1) * (torch.arange(N) < N // 2) * inside
    interferer = noise(count, N, seed=2) * inside
    return {
        "speech_mix": target + interferer,
        "speech_ref1": target,
        "interf_ref1": interferer,
        "enroll_ref1": unit(count, 1),
        "window_vectors": unit(count, num_frames(N, 4000)),
        "speech_mix_lengths": torch.tensor(lengths),
    }


class Recorder(nn.Module):
    """Stands for the student's output, so that its gradient can be read per sample."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = nn.Parameter(output)

    def forward(self, mixture: Tensor, speaker: Tensor) -> Tensor:
        return self.output


def output_gradient(gate: Gate, tss: float) -> Tensor:
    model = build_model(gate)
    model.extractor.network = Recorder(noise(2, N, seed=5))
    model.set_teacher(FixedTeacher(tss))
    model.train()(**batch())[0].backward()
    return model.extractor.network.output.grad


def closed_samples() -> slice:
    """Samples that only gated frames reach: well after the target's last frame."""
    return slice(N // 2 + 3000, N)


def test_confused_teacher_takes_the_gradient_hard():
    gradient = output_gradient(Gate("hard"), tss=0.9)
    assert (gradient[:, closed_samples()] == 0).all()
    assert (gradient[:, : N // 2] != 0).any()


@pytest.mark.parametrize("tss", [0.25, 0.9])
def test_confused_teacher_leaves_its_share_soft(tss):
    full = output_gradient(Gate("none"), tss)[:, closed_samples()]
    soft = output_gradient(Gate("soft"), tss)[:, closed_samples()]
    assert full.abs().max() > 0
    torch.testing.assert_close(soft, full * (1 - tss), rtol=1e-4, atol=1e-9)


def test_sure_teacher_changes_nothing():
    gate, none = (output_gradient(Gate(m), 0.0) for m in ("hard", "none"))
    assert torch.equal(gate, none)


def test_weights_come_from_the_teacher_and_not_from_labels():
    model, data = build_model(Gate("soft")), batch()
    arguments = (
        data["speech_mix"],
        activity(data["speech_ref1"]),
        data["interf_ref1"],
        data["speech_mix_lengths"],
        data["enroll_ref1"][:, 0],
        data["window_vectors"],
    )
    seen = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model.set_teacher(ESPnetPVADModel(PersonalVAD(**PVAD)))
        seen.append(model.frame_weights(*arguments))
    gated = seen[0].gated
    assert gated.any() and torch.equal(gated, seen[1].gated)
    assert (seen[0].weights != seen[1].weights)[gated].all()
    assert (seen[0].weights[~gated] == 1).all()
    # Its own run: another mixture, enrolment or window vector moves its posteriors.
    for index in (0, 4, 5):
        changed = list(arguments)
        changed[index] = changed[index].flip(-1)
        moved = model.frame_weights(*changed).weights
        assert (moved != seen[1].weights)[gated].any(), index


class TimedTeacher(ESPnetPVADModel):
    """A teacher that hears the target from one time to another, in seconds."""

    def __init__(self, start: float, end: float) -> None:
        super().__init__(PersonalVAD(**PVAD))
        self.start, self.end = start, end

    def posterior(self, mixture, enrolment, window_vectors=None, lengths=None):
        time = torch.arange(num_frames(mixture.shape[1], self.hop)) * self.hop / 16000
        heard = ((time >= self.start) & (time <= self.end)).float()
        rows = torch.stack([(1 - heard) / 2, (1 - heard) / 2, heard], -1)
        return rows.expand(len(mixture), -1, -1)


@pytest.mark.parametrize(("start", "end"), [(0.2, 0.4), (0.5, 0.62), (0.0, 0.1)])
def test_a_teacher_closes_the_loss_frames_of_its_own_time(start: float, end: float):
    """Exactly those whose centres lie there: no shift, and no other time scale."""
    model = build_model(Gate(mode="hard", theta=0.5, scope="all"))
    model.set_teacher(TimedTeacher(start, end))
    samples = 16000
    silent, noisy = torch.zeros(1, samples), noise(1, samples)
    gating = model.frame_weights(
        noisy,
        activity(silent),
        noisy,
        torch.tensor([samples]),
        unit(1, 256),
        None,
    )
    centres = torch.arange(gating.weights.shape[1]) * HOP / 16000
    closed = gating.weights[0] == 0
    inside = (centres >= start) & (centres <= end)
    near = (centres - start).abs().minimum((centres - end).abs()) <= 0.0051
    assert closed.any() and not closed.all()
    assert torch.equal(closed | near, inside | near)


def burst(start: float, end: float, samples: int = 16000) -> Tensor:
    """Noise from one time to another, in seconds: (1, samples)."""
    wave = torch.zeros(1, samples)
    first, last = round(start * 16000), round(end * 16000)
    wave[:, first:last] = 0.1 * noise(1, last - first)
    return wave


@pytest.mark.parametrize(("start", "end"), [(0.3, 0.6), (0.1, 0.25)])
def test_gated_frames_leave_a_margin_around_the_target(start: float, end: float):
    """Two loss frames on each side of its activity stay as they are."""
    model = build_model(Gate(mode="hard", theta=0.5, scope="all"))
    model.set_teacher(TimedTeacher(0.0, 2.0))
    target, interferer = burst(start, end), noise(1, 16000)
    gating = model.frame_weights(
        target + interferer,
        activity(target),
        interferer,
        torch.tensor([16000]),
        unit(1, 256),
        None,
    )
    active = activity(target)[0].nonzero().flatten()
    first, last = int(active[0]), int(active[-1])
    kept = (gating.weights[0] == 1).nonzero().flatten()
    assert kept.tolist() == list(range(first - 2, last + 3))
    assert first * HOP / 16000 == pytest.approx(start, abs=0.02)
    assert last * HOP / 16000 == pytest.approx(end, abs=0.02)


@pytest.mark.parametrize(("start", "end"), [(0.3, 0.6), (0.1, 0.25)])
def test_gated_frames_reach_around_the_interferer(start: float, end: float):
    """Two loss frames on each side of its activity are gated with it."""
    model = build_model(Gate(mode="constant", constant=0.0))
    interferer, silent = burst(start, end), torch.zeros(1, 16000)
    length = torch.tensor([16000])
    gating = model.frame_weights(
        interferer, activity(silent), interferer, length, None, None
    )
    active = activity(interferer)[0].nonzero().flatten()
    first, last = int(active[0]), int(active[-1])
    closed = (gating.weights[0] == 0).nonzero().flatten()
    assert closed.tolist() == list(range(first - 2, last + 3))


def test_a_gate_without_interferer_images_is_refused():
    model, data = build_model(Gate("hard")), batch()
    model.set_teacher(FixedTeacher(0.9))
    del data["interf_ref1"]
    with pytest.raises(UserError, match="interf_ref1: missing; gate_conf mode 'hard'"):
        model.train()(**data)
    model.eval()(**data)  # every frame counts: nothing is asked for


def test_r_log_spares_the_margin_around_the_target():
    target = burst(0.3, 0.6)
    criterion = CRITERIONS["r_log"]()
    estimate = (0.01 * noise(1, 16000)).requires_grad_()
    context = LossContext(LossSignals(target, estimate, target + 0.1 * noise(1, 16000)))
    criterion(target, estimate, context).sum().backward()
    moved = estimate.grad[0].abs() > 0
    spared = slice(round(0.28 * 16000), round(0.61 * 16000))
    assert not moved[spared].any() and moved[: round(0.2 * 16000)].any()


@pytest.mark.parametrize(("start", "end"), [(0.3, 0.7), (0.55, 0.9)])
def test_labels_of_the_personal_vad_are_the_activity_at_its_own_frames(start, end):
    model = ESPnetPVADModel(PersonalVAD(**PVAD))
    labels = model.labels(burst(start, end), burst(0.0, 1.0), torch.tensor([16000]))[0]
    time = torch.arange(len(labels)) * model.hop / 16000
    speaks = labels == TSS
    # The labels are widened by 32 ms on each side, and frames are 32 ms long.
    assert speaks[(time > start) & (time < end)].all()
    assert not speaks[(time < start - 0.06) | (time > end + 0.06)].any()


def test_gate_rests_in_validation():
    model = build_model(Gate("hard"))
    plain = build_model()
    model.set_teacher(FixedTeacher(0.9))
    losses = [m.eval()(**batch())[0] for m in (model, plain)]
    assert torch.equal(*losses)
    assert model.train()(**batch())[0] < losses[0]


def test_teacher_is_no_part_of_the_model():
    model, teacher = build_model(Gate("soft")), ESPnetPVADModel(PersonalVAD(**PVAD))
    count = sum(p.numel() for p in model.parameters())
    keys = set(model.state_dict())
    model.set_teacher(teacher)
    assert sum(p.numel() for p in model.parameters()) == count
    assert set(model.state_dict()) == keys and "pvad" not in repr(model)
    model.train()
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())
    model.double()
    assert next(teacher.parameters()).dtype == torch.float64
    with pytest.raises(UserError, match="multiprocessing_distributed"):
        model._replicate_for_data_parallel()


def test_gate_without_teacher_is_refused():
    with pytest.raises(UserError, match="teacher_train_config"):
        build_model(Gate("hard")).train()(**batch())


@pytest.mark.parametrize("gate", [Gate(), Gate("soft")])
def test_padding_does_not_count(gate):
    model = build_model(gate).train()
    model.set_teacher(FixedTeacher(0.5))
    padded = batch((N, N // 2))
    parts = []
    for row, length in enumerate((N, N // 2)):
        alone = {k: v[row : row + 1] for k, v in padded.items()}
        for key in ("speech_mix", "speech_ref1", "interf_ref1"):
            alone[key] = alone[key][:, :length]
        parts.append(model(**alone)[0] * num_frames(length))
    # The batch's loss is the mean over all its frames.
    expected = sum(parts) / (num_frames(N) + num_frames(N // 2))
    torch.testing.assert_close(model(**padded)[0], expected)


@pytest.mark.parametrize("name", sorted(CRITERIONS))
@pytest.mark.parametrize("wrapper", [GatedSolver, FixedOrderSolver])
@pytest.mark.parametrize("case", ["target", "estimate", "both", "mixture"])
def test_silence_is_finite(name, wrapper, case):
    data = batch()
    output = noise(2, N, seed=5)
    if case in ("target", "both", "mixture"):
        data["speech_ref1"] = torch.zeros(2, N)
    if case in ("estimate", "both", "mixture"):
        output = torch.zeros(2, N)
    if case == "mixture":
        data["speech_mix"] = data["interf_ref1"] = torch.zeros(2, N)
    model = build_model(Gate("soft"))
    model.loss_wrappers = [wrapper(CRITERIONS[name]())]
    model.extractor.network = Recorder(output)
    model.set_teacher(FixedTeacher(0.5))
    loss, stats, _ = model.train()(**data)
    loss.backward()
    assert loss.isfinite().all() and name in stats
    assert model.extractor.network.output.grad.isfinite().all()


def test_frames_choose_what_a_criterion_counts():
    data = batch()
    target, mixture = data["speech_ref1"], data["speech_mix"]
    context = (target, mixture)
    parts = [CRITERIONS["plcpa"](frames=f)(*context) for f in ("target", "nontarget")]
    whole = CRITERIONS["plcpa"]()(*context)
    assert all((part > 0).all() for part in parts)
    torch.testing.assert_close(sum(parts), whole)
    with pytest.raises(UserError, match="frames"):
        CRITERIONS["plcpa"](frames="some")


def test_r_log_of_the_error_keeps_what_the_target_whispers():
    """Its tail, 40 dB down, is no active frame: the estimate's energy mutes it."""
    torch.manual_seed(0)
    target = 0.1 * torch.randn(1, N)
    target[:, N // 2 :] *= 0.01
    penalties = {}
    for of in ("estimate", "error"):
        r_log = CRITERIONS["r_log"](of=of)
        losses = [r_log(target, gain * target).item() for gain in (0.0, 0.5, 1.0)]
        penalties[of] = losses
        silent = torch.zeros_like(target)
        context = LossContext(LossSignals(silent, target, target))
        penalties[f"{of}, silent"] = [r_log(silent, target, context).item()]
    muted, halved, kept = penalties["estimate"]
    assert muted < halved < kept
    muted, halved, kept = penalties["error"]
    assert muted > halved > kept
    assert penalties["estimate, silent"] == penalties["error, silent"]
    with pytest.raises(UserError, match="of 'noise'; write estimate or error"):
        CRITERIONS["r_log"](of="noise")


def test_gated_refuses_stock_criterions():
    snr = criterion_choices.get_class("snr")()
    with pytest.raises(UserError, match="fixed_order"):
        GatedSolver(snr)


def test_gated_without_context_is_fixed_order():
    data = batch()
    pair = [data["speech_ref1"]], [data["speech_mix"]]
    loss, *_ = GatedSolver(CRITERIONS["plcpa"]())(*pair, {CONTEXT: None})
    expected, *_ = FixedOrderSolver(CRITERIONS["plcpa"]())(*pair)
    torch.testing.assert_close(loss, expected)


# --- extractor ----------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(EXTRACTORS))
def test_every_network_is_an_extractor(name):
    extractor = extractor_choices.get_class(name)(1).eval()
    mixture, vector = noise(2, N), unit(2, 1)
    lengths = torch.tensor([N, N // 2])
    with torch.no_grad():
        output, *_ = extractor(mixture, lengths, vector, torch.ones(2))
        alone, *_ = extractor(mixture[1:, : N // 2], lengths[1:], vector[1:], None)
    assert output.shape == (2, N) and (output[1, N // 2 :] == 0).all()
    torch.testing.assert_close(output[1:, : N // 2], alone)


def test_waveform_enrolment_equals_its_vector():
    extractor = EXTRACTORS["e3net"](1, **E3NET).eval()
    keys = set(extractor.state_dict())
    wave = noise(2, SAMPLE_RATE)
    lengths, full = torch.tensor([SAMPLE_RATE, 12000]), torch.tensor([N, N])
    vectors = extractor.speaker_vector(wave, lengths)
    mixture = noise(2, N)
    with torch.no_grad():
        by_wave, *_ = extractor(mixture, full, wave.double(), lengths)
        by_vector, *_ = extractor(mixture, full, vectors[:, None], torch.ones(2))
    torch.testing.assert_close(by_wave, by_vector)
    assert set(extractor.state_dict()) == keys
    assert all("speaker_encoder" not in name for name, _ in extractor.named_modules())
    with pytest.raises(UserError, match="speech"):
        extractor(mixture, full, torch.zeros(2, SAMPLE_RATE), lengths)


def test_not_personalized_ignores_the_enrolment():
    extractor = EXTRACTORS["e3net"](1, personalized=False, **E3NET).eval()
    outputs = [
        extractor(noise(1, N), torch.tensor([N]), aux, None)[0]
        for aux in (unit(1, 1), torch.zeros(1, SAMPLE_RATE))
    ]
    assert torch.equal(*outputs)


def test_extractor_refuses():
    with pytest.raises(UserError, match="encoder: same"):
        EXTRACTORS["e3net"](257, **E3NET)
    with pytest.raises(UserError, match="'widht'; did you mean 'width'"):
        EXTRACTORS["e3net"](1, widht=8)
    extractor = EXTRACTORS["e3net"](1, **E3NET)
    with pytest.raises(UserError, match="one channel"):
        extractor(noise(1, N, 2), torch.tensor([N]), unit(1, 1), None)


# --- personal VAD -------------------------------------------------------------------


def test_pvad_padding_does_not_count():
    model = ESPnetPVADModel(PersonalVAD(**PVAD)).eval()
    padded = batch((N, N // 2))
    short = {k: v[1:] for k, v in padded.items()}
    for key in ("speech_mix", "speech_ref1", "interf_ref1"):
        short[key] = short[key][:, : N // 2]
    short["window_vectors"] = short["window_vectors"][:, : num_frames(N // 2, 4000)]
    labels = model.labels(
        padded["speech_ref1"], padded["interf_ref1"], padded["speech_mix_lengths"]
    )
    frames = num_frames(N // 2, model.hop)
    assert (labels[1, frames:] == -100).all() and (labels[1, :frames] >= 0).all()
    assert (labels[0] >= 0).all()


def test_pvad_learns_and_reports():
    model = ESPnetPVADModel(PersonalVAD(**PVAD)).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss, stats, weight = model(**batch())
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0] and weight == 2
    assert "auc" not in stats and stats["acc_ns"].isnan()
    _, stats, _ = model.eval()(**batch())
    assert stats["auc"] > 0.9


def test_auc_by_hand():
    positive, negative = torch.tensor([0.9, 0.4, 0.5]), torch.tensor([0.1, 0.5])
    # 0.9 beats both; 0.4 beats one; 0.5 beats one and ties with one.
    assert float(_auc(positive, negative)) == pytest.approx((2 + 1 + 1.5) / 6)
    assert _auc(positive, negative[:0]).isnan() and _auc(negative[:0], negative).isnan()


# --- enrolment ----------------------------------------------------------------------


def test_draws_depend_on_seed_epoch_and_sample_only():
    vectors = EnrolmentVectors(
        ["a0", "a1", "a2", "b0"], ["a", "a", "a", "b"], list("xyzw"), np.eye(4)
    )
    drawn = [
        vectors.vector("*x a", sample_generator(0, epoch, "uid")).argmax()
        for epoch in range(200)
    ]
    assert set(drawn) == {1, 2} and 60 < drawn.count(1) < 140
    again = vectors.vector("*x a", sample_generator(0, 17, "uid")).argmax()
    assert again == drawn[17]
    assert vectors.vector("b0", sample_generator(0, 0, "")).argmax() == 3


def test_two_epochs_draw_two_clips(dump):
    """Through the task's own iterators, as ESPnet asks them."""
    drawn = []
    for epoch in (1, 2, 3, 1):
        args = PSETask.get_parser().parse_args(pse_options(dump, dump / "draws"))
        args.distributed = False
        factory = PSETask.build_iter_factory(args, DistributedOption(), mode="train")
        found = {}
        for names, data in factory.build_iter(epoch):
            for name, vector in zip(names, data["enroll_ref1"]):
                found[name] = vector[0].numpy().tobytes()
        drawn.append(found)
    first, second, third, again = drawn
    assert first == again
    changed = {name for name in first if first[name] != second[name]}
    changed |= {name for name in first if first[name] != third[name]}
    assert len(changed) >= 3, "a sample has one clip for ever"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("c9", "'c9'"),
        ("*x c", "speaker 'c'"),
        ("*w b", "not cut from 'w'"),
        ("*x", "no speaker"),
    ],
)
def test_unknown_enrolments_are_named(entry, message):
    vectors = EnrolmentVectors(["a", "b"], ["a", "b"], ["x", "w"], np.eye(2))
    with pytest.raises(UserError, match=message):
        vectors.check([entry])


# --- tasks --------------------------------------------------------------------------


def test_training_writes_a_student_without_its_teacher(student):
    state = torch.load(student / "valid.loss.best.pth", weights_only=True)
    checkpoint = torch.load(student / "checkpoint.pth", weights_only=True)
    for keys in (state, checkpoint["model"]):
        assert all(key.startswith("extractor.network.") for key in keys)
    stats = checkpoint["reporter"]["stats"][3]["train"]
    assert {"plcpa", "gated", "gate_closed", "gate_weight", "si_sdri"} <= set(stats)
    assert 0 < stats["gated"] < 1 and 0 < stats["gate_weight"] < 1


def test_print_config_lists_our_options(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x", "--extractor", "e3net"])
    stream = io.StringIO()
    PSETask.print_config(stream)
    config = yaml.safe_load(stream.getvalue())
    assert config["extractor_conf"]["filters"] == 2048
    assert config["extractor_conf"]["speaker_encoder"] == "ge2e"
    assert config["gate_conf"]["kappa"] == 1.0 and "teacher_model_file" in config
    monkeypatch.setattr(sys, "argv", ["x"])
    stream = io.StringIO()
    PersonalVADTask.print_config(stream)
    assert yaml.safe_load(stream.getvalue())["pvad_conf"]["conditioning"] == "set"


def run_until_checkpoint(task, cmd: list[str], out: Path, delay: float) -> bool:
    """Run a training in a child and kill it soon after it touches its checkpoint.

    Returns:
        whether it ended by itself.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            task.main(cmd=cmd)
            status = 0
        finally:
            os._exit(status)
    checkpoint = out / "checkpoint.pth"
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert status == 0
            return True
        time.sleep(0.0005)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def test_killed_training_ends_alike(dump, teacher, student, tmp_path):
    out = tmp_path / "pse"
    cmd = pse_options(dump, out, **gated(teacher))
    rng = random.Random(3)
    kills = 0
    while not run_until_checkpoint(PSETask, cmd, out, rng.uniform(0, 0.03)):
        kills += 1
        assert kills < 30
    assert kills >= 2
    assert_same_parameters(out / "3epoch.pth", student / "3epoch.pth")
    for name in ("valid.loss.best.pth", "latest.pth"):
        assert os.readlink(out / name) == os.readlink(student / name)


def assert_same_parameters(one: Path, other: Path) -> None:
    first, second = (torch.load(p, weights_only=True) for p in (one, other))
    assert first.keys() == second.keys()
    for key in first:
        assert torch.equal(first[key], second[key]), key


def test_half_written_checkpoint_is_mended(dump, teacher, student, tmp_path):
    out = tmp_path / "pse"
    PSETask.main(cmd=pse_options(dump, out, **gated(teacher), max_epoch=2))
    whole = (out / "checkpoint.pth").read_bytes()
    (out / "checkpoint.pth").write_bytes(whole[: len(whole) // 2])
    (out / "2epoch.pth").unlink()
    PSETask.main(cmd=pse_options(dump, out, **gated(teacher)))
    assert_same_parameters(out / "3epoch.pth", student / "3epoch.pth")


def test_a_diverged_training_stops_and_keeps_the_last_state(
    dump, tmp_path, monkeypatch
):
    out = tmp_path / "pse"
    PSETask.main(cmd=pse_options(dump, out, max_epoch=1))
    before = (out / "checkpoint.pth").read_bytes()
    plcpa = losses.plcpa
    broken = lambda signals, **conf: plcpa(signals, **conf) * float("nan")  # noqa: E731
    monkeypatch.setattr(losses, "plcpa", broken)
    with pytest.raises(UserError, match="training loss nan: .*is kept; lower optim"):
        PSETask.main(cmd=pse_options(dump, out, max_epoch=2))
    assert (out / "checkpoint.pth").read_bytes() == before
    assert not (out / "2epoch.pth").exists()


def test_methods_fork_from_a_trunk(dump, student, tmp_path):
    out = tmp_path / "pse"
    trunk = str(student / "checkpoint.pth")
    cmd = pse_options(dump, out, fork_checkpoint=trunk, max_epoch=4)
    PSETask.main(cmd=cmd)
    states = torch.load(out / "checkpoint.pth", weights_only=True)
    assert set(states["reporter"]["stats"]) == {4}
    steps = {int(s["step"]) for s in states["optimizers"][0]["state"].values()}
    assert steps == {4 * 2}
    assert os.readlink(out / "valid.loss.best.pth") == "4epoch.pth"


BAD = {
    "unknown criterion key": (
        {"criterions": [{"name": "plcpa", "conf": {"alhpa": 1}, "wrapper": "gated"}]},
        "'alhpa'; did you mean 'alpha'",
    ),
    "unknown criterion": (
        {"criterions": [{"name": "plpca", "wrapper": "gated"}]},
        "'plpca'; did you mean 'plcpa'",
    ),
    "unknown gate key": ({"gate_conf": {"theat": 1}}, "'theat'; did you mean 'theta'"),
    "bad gate value": ({"gate_conf": {"mode": "firm"}}, "firm"),
    "chunks": ({"iterator_type": "chunk"}, "iterator_type: sequence"),
    "statistics": ({"collect_stats": True}, "utt2num_samples"),
    "rate": ({"sample_rate": 8000}, "--sample_rate: 8000"),
    "cache": ({"max_cache_size": 1.0e6}, "--max_cache_size"),
    "no vectors": ({"train_enroll_vectors": None}, "--train_enroll_vectors"),
    "wrong vectors": ({"train_enroll_vectors": "nowhere.npz"}, "nowhere.npz"),
    "no teacher": ({"gate_conf": {"mode": "hard"}}, "--teacher_train_config"),
    "no trunk": ({"fork_checkpoint": "nowhere.pth"}, "nowhere.pth"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_options_end_before_training(dump, tmp_path, case):
    more, message = BAD[case]
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        PSETask.main(cmd=pse_options(dump, tmp_path / "pse", **more))
    assert not list(tmp_path.glob("pse/*"))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sample_rate", 8000, "8000 Hz"),
        ("pvad_conf", {**PVAD, "hidden": 9}, "another shape"),
        ("pvad_conf", {**PVAD, "layers": 2}, "lacks"),
        ("pvad_conf", {**PVAD, "hiden": 8}, "'hiden'; did you mean 'hidden'"),
        ("pvad", None, "--pvad"),
    ],
)
def test_foreign_teacher_is_refused(teacher, tmp_path, key, value, message):
    config = yaml.safe_load((teacher / "config.yaml").read_text())
    config[key] = value
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=message):
        load_teacher(tmp_path / "config.yaml", teacher / "valid.loss.best.pth")


def test_teacher_at_another_frame_rate_is_refused(teacher, monkeypatch):
    monkeypatch.setattr(PersonalVAD, "hop", 128)
    with pytest.raises(UserError, match="every 128 samples"):
        load_teacher(teacher / "config.yaml", teacher / "valid.loss.best.pth")


def test_missing_teacher_file_is_named(dump, teacher, tmp_path):
    conf = {**gated(teacher), "teacher_model_file": "nowhere.pth"}
    with pytest.raises(UserError, match="nowhere.pth"):
        PSETask.main(cmd=pse_options(dump, tmp_path / "pse", **conf))


def test_score_teacher_writes_scores_and_gate(dump, teacher):
    cmd = ["--exp", str(teacher), "--sets", "test_ts2", "--dump_dir", str(dump)]
    score_teacher.main([*cmd, "--train_set", "train", "--train_samples", "4"])
    scores = json.loads((teacher / "teacher_scores.json").read_text())
    assert set(scores["scenarios"]) == {"ts2", "ts3"}
    assert scores["all"]["frames"] == 2 * num_frames(N, 160)
    gate = json.loads((teacher / "gate.json").read_text())
    assert gate["frames"] == 4 * num_frames(N) and 0 < gate["mean_weight"] < 1
    assert 0.1 < gate["gated"] < 0.9


# --- enhancing and packing ----------------------------------------------------------


def test_enhance_writes_resumes_and_keeps_the_level(dump, student):
    cmd = ["--exp", str(student), "--sets", "test_ts2", "--dump_dir", str(dump)]
    enhance.main(cmd)
    outputs = sorted((student / "enhanced_test_ts2" / "wav").glob("*.wav"))
    assert len(outputs) == 2
    model = load_student(student / "config.yaml", student / "valid.loss.best.pth")
    vector = EnrolmentVectors.load(dump / "enroll/test/vectors.npz").vectors[1]
    mixture = read_audio(dump / "raw/test_ts2/wav/test_ts2_0.wav")
    expected = enhancement.enhance(model, mixture, vector)
    np.testing.assert_array_equal(read_audio(outputs[0]), expected)
    outputs[0].unlink()
    kept = outputs[1].stat().st_mtime_ns
    enhance.main(cmd)
    assert outputs[0].is_file() and outputs[1].stat().st_mtime_ns == kept


def enhanced_by(student, dump, *options):
    """Enhance with the options; the outputs' modification times and samples."""
    words = ["--exp", str(student), "--sets", "test_ts2", "--dump_dir", str(dump)]
    enhance.main([*words, *options])
    outputs = sorted((student / "enhanced_test_ts2" / "wav").glob("*.wav"))
    return [path.stat().st_mtime_ns for path in outputs], [*map(read_audio, outputs)]


@pytest.fixture
def other_checkpoint(student):
    """A checkpoint beside the best one, older than all that is enhanced."""
    path = student / "older.pth"
    state = torch.load(student / "valid.loss.best.pth", weights_only=True)
    torch.save({key: 0.9 * value for key, value in state.items()}, path)
    os.utime(path, (0, 0))
    return path.name


def test_another_checkpoint_enhances_again(dump, student, other_checkpoint):
    """Even an older one: times tell nothing of what the outputs were made with."""
    before = enhanced_by(student, dump)
    after = enhanced_by(student, dump, "--model_file", other_checkpoint)
    assert not any(map(np.array_equal, before[1], after[1]))
    again = enhanced_by(student, dump)
    assert all(map(np.array_equal, before[1], again[1]))
    (student / "valid.loss.best.pth").touch()
    assert enhanced_by(student, dump)[0] == again[0]


def test_an_interrupted_change_of_checkpoint_resumes(
    dump, student, other_checkpoint, monkeypatch
):
    before = enhanced_by(student, dump)
    write = enhancement.write_audio

    def once(path, *arguments):
        write(path, *arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(enhancement, "write_audio", once)
    with pytest.raises(KeyboardInterrupt):
        enhanced_by(student, dump, "--model_file", other_checkpoint)
    monkeypatch.undo()
    [first] = (student / "enhanced_test_ts2" / "wav").glob("*.wav")
    kept = first.stat().st_mtime_ns
    times, after = enhanced_by(student, dump, "--model_file", other_checkpoint)
    assert first.stat().st_mtime_ns == kept and len(times) == 2
    assert not any(map(np.array_equal, before[1], after))


def test_outputs_from_before_the_stamps_are_kept_if_none_is_older(dump, student):
    times, _ = enhanced_by(student, dump)
    stamp = student / "enhanced_test_ts2" / enhancement.STAMP
    text = stamp.read_text()
    stamp.unlink()
    assert enhanced_by(student, dump)[0] == times
    assert stamp.read_text() == text
    # Written again by stage 3, while no clip's vector changed.
    clip = dump / "enroll/test/vectors/a.npy"
    clip.parent.mkdir(exist_ok=True)
    clip.touch()
    os.utime(clip, (0, 0))
    (dump / "enroll/test/vectors.npz").touch()
    stamp.unlink()
    assert enhanced_by(student, dump)[0] == times
    clip.unlink()
    stamp.unlink()
    (student / "config.yaml").touch()
    assert min(enhanced_by(student, dump)[0]) > max(times)


def test_pack_is_loaded_by_stock_classes(student, dump, tmp_path, monkeypatch):
    from espnet2.bin.enh_tse_inference import SeparateSpeech

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    archive = packing.pack_experiment(student)
    with zipfile.ZipFile(archive) as packed:
        names = packed.namelist()
        texts = [packed.read(n).decode() for n in names if not n.endswith(".pth")]
    assert not [name for name in names if name.startswith(("/", ".."))]
    for text in texts:
        assert str(dump.parent) not in text and "teacher" not in text
        assert "gate_conf" not in text
    enhancer = SeparateSpeech.from_pretrained(str(archive))
    mixture = read_audio(dump / "raw/test_ts2/wav/test_ts2_0.wav")
    enrolment = noise(SAMPLE_RATE, seed=3).double().numpy()
    [output] = enhancer(mixture[None], fs=SAMPLE_RATE, enroll_ref1=enrolment[None])
    model = load_student(student / "config.yaml", student / "valid.loss.best.pth")
    vector = model.extractor.speaker_vector(
        torch.from_numpy(enrolment)[None], torch.tensor([SAMPLE_RATE])
    )
    expected = enhancement.enhance(model, mixture, vector[0].numpy())
    np.testing.assert_allclose(output[0], expected, atol=1e-6)


def test_half_pack_is_half_as_large_and_sounds_the_same(student, dump, tmp_path):
    from espnet_pse_kd.recipe.zoo import fetch_student

    full = packing.pack_experiment(student)
    half = packing.pack_experiment(student, half=True, outdir=tmp_path / "kept")
    assert half == tmp_path / "kept" / full.name
    sizes = [
        max(entry.file_size for entry in zipfile.ZipFile(path).infolist())
        for path in (full, half)
    ]
    assert sizes[1] < 0.7 * sizes[0]
    mixture = read_audio(dump / "raw/test_ts2/wav/test_ts2_0.wav")
    vector = np.full(256, 1 / 16, np.float32)
    outputs = []
    for path, name in ((full, "a"), (half, "b")):
        folder = fetch_student(str(path), tmp_path / name, "model.pth")
        model = load_student(folder / "config.yaml", folder / "model.pth")
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        outputs.append(enhancement.enhance(model, mixture, vector))
    error = np.abs(outputs[0] - outputs[1]).max() / np.abs(outputs[0]).max()
    assert 0 < error < 0.01


def test_packed_teacher_is_the_teacher(teacher, tmp_path):
    archive = packing.pack_experiment(teacher)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path)
    folder = tmp_path / "exp" / "pvad"
    packed_model = load_teacher(folder / "config.yaml", folder / "model.pth")
    own = load_teacher(teacher / "config.yaml", teacher / "valid.loss.best.pth")
    data = batch()
    arguments = (data["speech_mix"], data["enroll_ref1"][:, 0], data["window_vectors"])
    assert torch.equal(packed_model.posterior(*arguments), own.posterior(*arguments))


def test_criterions_enter_when_their_schedule_says():
    solver = GatedSolver(CRITERIONS["plcpa"](), weight=1.0, start=0.5, ramp=0.2)
    parts = [solver.presence(progress) for progress in (0.0, 0.5, 0.6, 0.7, 1.0)]
    assert parts == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0])
    data = batch()
    target, mixture = data["speech_ref1"], data["speech_mix"]
    signals = LossSignals(target, mixture, mixture)
    losses = [
        solver([target], [mixture], {CONTEXT: LossContext(signals, progress=done)})[0]
        for done in (0.0, 0.6, 1.0)
    ]
    assert losses[0] == 0 and losses[1] == pytest.approx(0.5 * losses[2].item())
    with pytest.raises(UserError, match="start 1.5"):
        GatedSolver(CRITERIONS["plcpa"](), start=1.5)


def test_what_is_saved_is_the_average_and_what_is_trained_goes_on(
    dump, teacher, tmp_path, monkeypatch
):
    """Two epochs at once and one after the other, with averaging, end alike."""
    averaged, espnets = [], Trainer.train_one_epoch.__func__

    def watched(cls, *args, **kwargs):
        groups = [g for o in kwargs["optimizers"] for g in o.param_groups]
        averaged.extend(group["averaged"] for group in groups)
        return espnets(cls, *args, **kwargs)

    monkeypatch.setattr(Trainer, "train_one_epoch", classmethod(watched))
    averaging = {"optim": "muon", "optim_conf": {"lr": 2e-3, "average": 0.9}}
    once, twice = tmp_path / "once", tmp_path / "twice"
    PSETask.main(cmd=pse_options(dump, once, max_epoch=2, **averaging))
    PSETask.main(cmd=pse_options(dump, twice, max_epoch=1, **averaging))
    PSETask.main(cmd=pse_options(dump, twice, max_epoch=2, **averaging))
    assert_same_parameters(once / "2epoch.pth", twice / "2epoch.pth")
    states = torch.load(once / "checkpoint.pth", weights_only=True)
    optimizer = states["optimizers"][0]
    assert all(group["averaged"] for group in optimizer["param_groups"])
    latest = torch.cat([s["average"].flatten() for s in optimizer["state"].values()])
    saved = torch.cat([p.flatten() for p in states["model"].values()])
    # While the model holds the average, the optimizer holds the latest parameters.
    assert torch.isin(latest, saved).float().mean() < 0.05
    assert averaged and not any(averaged)  # every epoch began from the latest


def test_foreign_parameters_are_refused(student, teacher):
    with pytest.raises(UserError, match="lacks"):
        load_student(student / "config.yaml", teacher / "valid.loss.best.pth")


def test_bfloat16_trains_the_same_network_and_only_in_training() -> None:
    losses = {}
    for faster in (False, True):
        torch.manual_seed(0)
        model = build_model()
        model.cpu_bfloat16 = faster
        trained = model.train()(**batch())[0]
        trained.backward()
        grads = torch.cat([p.grad.flatten() for p in model.extractor.parameters()])
        losses[faster] = trained.item(), model.eval()(**batch())[0].item(), grads
    assert losses[True][1] == losses[False][1]
    assert losses[True][0] != losses[False][0]
    assert losses[True][0] == pytest.approx(losses[False][0], rel=0.01)
    cosine = torch.nn.functional.cosine_similarity(losses[0][2], losses[1][2], dim=0)
    assert cosine > 0.99


@pytest.mark.parametrize("name", _INITIALIZATIONS)
def test_espnet_knows_every_initialization(name):
    layer = nn.Linear(8, 8)
    before = layer.weight.clone()
    initialize(layer, name)
    assert not torch.equal(layer.weight, before)

"""The baseline: ESPnet's TD-SpeakerBeam with our vectors, data and criterions."""

import argparse
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from espnet2.bin.enh_tse_inference import SeparateSpeech
from torch import Tensor, nn

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.espnet.enh_model import ESPnetPSEModel
from espnet_pse_kd.espnet.loading import inference_config, load_student
from espnet_pse_kd.espnet.tasks import PSETask
from espnet_pse_kd.recipe.enhancement import enhance
from espnet_pse_kd.recipe.methods import merge, read_methods
from espnet_pse_kd.recipe.packing import pack_experiment
from espnet_pse_kd.speaker import load_speaker_encoder
from espnet_pse_kd.utils.yamls import read_config

CONF = Path(__file__).parents[1] / "conf"
STOCK, CAUSAL = "train_pse_td_speakerbeam", "train_pse_td_speakerbeam_causal"
SMALL, SMALL_CAUSAL = f"{STOCK}_small", f"{STOCK}_small_causal"
LATENCY = {CAUSAL: 32, SMALL_CAUSAL: 320}
"""Samples: the kernel of encoder and decoder."""
TINY = {
    "encoder_conf": {"channel": 24},
    "decoder_conf": {"channel": 24},
    "extractor_conf": {
        "layer": 3,
        "stack": 2,
        "bottleneck_dim": 16,
        "hidden_dim": 24,
        "skip_dim": 16,
        "i_adapt_layer": 2,
        "adapt_enroll_dim": 16,
    },
}


def config_of(name: str, **changes: Any) -> dict[str, Any]:
    """A YAML of ours, with changes, as a training has it."""
    config = read_config(CONF / f"tuning/{name}.yaml")
    return {"init": None, **merge(config, changes)}


def build(config: dict[str, Any]) -> ESPnetPSEModel:
    torch.manual_seed(0)
    return PSETask.build_model(argparse.Namespace(**config))


def vectors(count: int) -> Tensor:
    return nn.functional.normalize(torch.randn(count, 1, 256), dim=-1)


def run(model: ESPnetPSEModel, mixture: Tensor, vector: Tensor) -> Tensor:
    """Enhance (B, N)."""
    length = torch.full((len(mixture),), mixture.shape[1])
    one = torch.ones(len(mixture))
    return model.forward_enhance(mixture, length, [vector], [one])[0][0]


def looks_ahead(config: dict[str, Any]) -> int:
    """Samples behind an output sample that change it; the furthest in one hop."""
    model = build(config).double().eval()
    mixture, vector = torch.randn(1, 3000).double(), vectors(1).double()
    furthest = 0
    with torch.no_grad():
        before = run(model, mixture, vector)
        for m in range(2000, 2000 + config["encoder_conf"]["stride"]):
            changed = mixture.clone()
            changed[:, m:] *= -50.0
            moved = (run(model, changed, vector) != before)[0].nonzero()
            furthest = max(furthest, m - int(moved[0]) + 1)
    return furthest


@pytest.mark.parametrize("name", [STOCK, CAUSAL, SMALL, SMALL_CAUSAL])
def test_yaml_builds_and_tells_its_size(name: str) -> None:
    count = sum(p.numel() for p in build(config_of(name)).parameters())
    text = (CONF / f"tuning/{name}.yaml").read_text()
    told = re.search(r"([\d.]+) M(\n#)? parameters", text)[1]
    assert told == f"{count / 1e6:.1f}"


@pytest.mark.parametrize("name", [CAUSAL, SMALL_CAUSAL])
def test_causal_one_sees_its_latency_and_no_more(name: str) -> None:
    assert looks_ahead(config_of(name, **TINY)) == LATENCY[name]


@pytest.mark.parametrize("name", [STOCK, SMALL])
def test_stock_one_sees_the_whole_signal(name: str) -> None:
    """With ESPnet's flag too: its default norm has statistics over the signal."""
    assert looks_ahead(config_of(name, **TINY)) > 1000
    flagged = merge(TINY, {"extractor_conf": {"causal": True}})
    assert looks_ahead(config_of(name, **flagged)) > 1000


@pytest.mark.parametrize("name", [STOCK, CAUSAL])
@pytest.mark.parametrize("method", ["b2", "b3", "r_log"])
def test_learns_with_our_criterions(name: str, method: str) -> None:
    """From vectors, with a silent target in the batch."""
    methods = read_methods(CONF / "methods.yaml")
    model = build(merge(config_of(name, **TINY), methods[method].options)).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    target = 0.05 * torch.randn(3, 4000) * torch.tensor([[1.0], [1.0], [0.0]])
    interferer = 0.05 * torch.randn(3, 4000)
    batch = {
        "speech_mix": target + interferer,
        "speech_ref1": target,
        "interf_ref1": interferer,
        "enroll_ref1": vectors(3),
    }
    losses = []
    for _ in range(4):
        loss, *_ = model(**batch)
        optimizer.zero_grad()
        loss.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_unpersonalized_is_refused() -> None:
    b0 = read_methods(CONF / "methods.yaml")["b0"]
    with pytest.raises(UserError, match="extractor_conf: unknown key 'personalized'"):
        build(merge(config_of(STOCK, **TINY), b0.options))


@pytest.fixture
def student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a causal student that was trained for no step."""
    for variable in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    config = config_of(CAUSAL, **TINY)
    folder = tmp_path / "pse_td"
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    torch.save(build(config).state_dict(), folder / "valid.loss.best.pth")
    return folder


def test_loaded_by_stock_classes(student: Path) -> None:
    config = inference_config(config_of(CAUSAL, **TINY))
    (student / "inference.yaml").write_text(yaml.safe_dump(config))
    model_file = student / "valid.loss.best.pth"
    stock = SeparateSpeech(student / "inference.yaml", model_file)
    mixture, vector = 0.05 * torch.randn(8000), vectors(1)[0, 0]
    [output] = stock(mixture[None], fs=SAMPLE_RATE, enroll_ref1=vector[None, None])
    model = load_student(student / "config.yaml", model_file)
    expected = enhance(model, mixture.numpy(), vector.numpy())
    np.testing.assert_array_equal(output[0], expected)
    assert np.abs(expected).max() > 1e-5


def test_pack_tells_how_to_use_it(student: Path, monkeypatch: pytest.MonkeyPatch):
    """The README's code runs as it stands there."""
    archive = pack_experiment(student)
    with zipfile.ZipFile(archive) as packed:
        readme = packed.read("README.md").decode()
    code = re.search(r"```python\n(.+?)```", readme, re.DOTALL)[1]
    mixture, enrolment = (0.05 * torch.randn(2, SAMPLE_RATE)).numpy()
    names = {"mixture": mixture, "enrolment": enrolment}
    monkeypatch.chdir(student)
    exec(code, names)
    model = load_student(student / "config.yaml", student / "valid.loss.best.pth")
    vector = load_speaker_encoder().embed(enrolment).numpy()
    expected = enhance(model, mixture, vector)
    np.testing.assert_allclose(names["output"][0], expected, atol=1e-6)

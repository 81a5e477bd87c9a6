"""The command that puts a trained model into the package."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from weights_fixture import voice

from espnet_pse_kd.enhancer import PersonalizedEnhancer
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.nets import NETWORKS
from espnet_pse_kd.nets.personal_vad import PersonalVAD
from espnet_pse_kd.report.columns import SCENARIOS
from tools import make_weights

SIZES = {"width": 16, "layers": 1, "feed_hidden": 16}
RUN = {"method": "s", "config": "x", "seed": 0, "commit": "0123abc", "wall_seconds": 90}


def write_scores(path: Path) -> None:
    rows = [
        {
            "system": system,
            "seed": seed,
            "scenario": scenario,
            "uid": f"{scenario}_{n}",
            "target": f"spk{n}",
            "seconds": "4.0",
            "measured_room": "0",
            "si_sdri": 3.0 + n,
            "tsos": 0.1,
            "deletion": 0.05,
            "leakage_reduction": 20.0 + n,
            "level_change": -0.5,
        }
        for system, seed in (("noisy", ""), ("s", "0"))
        for scenario in SCENARIOS
        for n in range(3)
    ]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def exp(tmp_path: Path) -> Path:
    """``exp/`` with a student, a personal VAD and scores, as the recipe leaves it."""
    torch.manual_seed(0)
    exp = tmp_path / "exp"
    student, pvad = exp / "pse_x_s_seed0", exp / "pvad_x"
    for folder, config, net, prefix, best in (
        (
            student,
            {"extractor": "mingru", "extractor_conf": SIZES},
            NETWORKS["mingru"](**SIZES),
            "extractor.network.",
            "valid.loss.best.pth",
        ),
        (
            pvad,
            {
                "pvad": "personal_vad",
                "pvad_conf": {"hidden": 8},
                "speaker_encoder": "ge2e",
            },
            PersonalVAD(hidden=8),
            "pvad.",
            "valid.loss.best.pth",
        ),
    ):
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        state = {prefix + key: value for key, value in net.state_dict().items()}
        torch.save(state, folder / best)
        (folder / "run.json").write_text(json.dumps(RUN))
    meta = {
        "yaml_files": {"train_config": "config.yaml"},
        "files": {"model_file": "valid.loss.best.pth"},
    }
    (student / "meta.yaml").write_text(yaml.safe_dump(meta))
    packed = tmp_path / student.name
    shutil.make_archive(str(packed), "zip", student)
    shutil.move(f"{packed}.zip", student / f"{student.name}.zip")
    write_scores(exp / "scores.csv")
    (exp.parent / "RESULTS.md").write_text("# RESULTS\n- command: `./run.sh --x`\n")
    return exp


def arguments(exp: Path, output: Path) -> list[str]:
    return [
        *("--student", str(exp / "pse_x_s_seed0"), "--pvad", str(exp / "pvad_x")),
        *("--results", str(exp.parent / "RESULTS.md"), "--output", str(output)),
        *("--data", "Tones, public domain."),
    ]


def test_weights_work_and_the_card_tells_where_they_are_from(
    exp: Path, tmp_path: Path
) -> None:
    make_weights.main(arguments(exp, tmp_path / "weights"))
    text = (tmp_path / "weights/model_card.md").read_text()
    for fact in ("Tones, public domain.", "./run.sh --x", "0123abc", "1.5 min"):
        assert fact in text
    assert "|s|3|3|4.0 [3.0, 5.0]|" in text
    assert "|s|3|3|21.0 [20.0, 22.0]|" in text
    enhancer = PersonalizedEnhancer.from_pretrained(tmp_path / "weights")
    profile = enhancer.enroll(voice(10.0), 16000)
    enhanced = enhancer(voice(1.0, seed=1), 16000, profile)
    assert enhanced.shape == (16000,) and np.isfinite(enhanced).all()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("exp/pse_x_s_seed0/pse_x_s_seed0.zip", "run stage 8 first"),
        ("exp/scores.csv", "run stage 7 first"),
        ("RESULTS.md", "run stage 7 first"),
    ],
)
def test_what_is_missing_is_named(
    exp: Path, tmp_path: Path, missing: str, message: str
) -> None:
    (tmp_path / missing).unlink()
    args = make_weights.get_parser().parse_args(arguments(exp, tmp_path / "w"))
    with pytest.raises(UserError, match=message):
        make_weights.card(args.student, args.results, args.data)
        make_weights.export_all(args.student, args.pvad, args.output)


def test_a_large_network_is_refused(
    exp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(make_weights.LIMITS, ("student.onnx",), 1000)
    with pytest.raises(UserError, match="train a smaller network"):
        make_weights.export_all(
            exp / "pse_x_s_seed0", exp / "pvad_x", tmp_path / "weights"
        )

"""An ESPnet-SPK model behind the speaker encoder's interface."""

from pathlib import Path

import pytest
import torch
import yaml

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.speaker import load_speaker_encoder

spk = pytest.importorskip("espnet2.tasks.spk")
Speech2Embedding = pytest.importorskip("espnet2.bin.spk_inference").Speech2Embedding


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model in a folder, as ESPnet's training leaves it."""
    path = tmp_path_factory.mktemp("spk")
    # fmt: off
    args = spk.SpeakerTask.get_parser().parse_args([
        "--output_dir", str(path), "--frontend", "melspec_torch",
        "--encoder", "ecapa_tdnn", "--encoder_conf", "ndim=32",
        "--encoder_conf", "output_size=48", "--encoder_conf", "model_scale=4",
        "--pooling", "chn_attn_stat", "--projector", "rawnet3",
        "--projector_conf", "output_size=24", "--spk_num", "3",
        "--loss", "softmax", "--normalize", "utterance_mvn",
    ])
    # fmt: on
    model = spk.SpeakerTask.build_model(args)
    config = {key: value for key, value in vars(args).items() if key != "config"}
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    torch.save(model.state_dict(), path / "valid.pth")
    return path


def test_interface(folder: Path) -> None:
    encoder = load_speaker_encoder(str(folder))
    assert encoder.dim == 24
    waves = torch.randn(2, 20001) * 0.1
    vectors = encoder.windows_batch(waves)  # [B, K, D]
    assert vectors.shape == (2, 7, 24)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2, 7))
    # Window k is the crop of 0.8 s around sample 4000 k, by itself.
    crop = waves[1, 8000 - 6400 : 8000 + 6400]
    alone = encoder.windows(crop, hop=6400)[1]
    torch.testing.assert_close(vectors[1, 2], alone, atol=1e-5, rtol=0)
    assert (vectors[1, 3] - alone).abs().max() > 1e-3
    assert encoder.embed(waves[0]).norm() == pytest.approx(1.0, abs=1e-5)
    assert torch.isfinite(encoder.windows(torch.zeros(8000))).all()


def test_refusals(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="silent.*enrol with"):
        load_speaker_encoder(str(folder)).embed(torch.zeros(32000), "silent")
    with pytest.raises(UserError, match="0 files config.yaml"):
        load_speaker_encoder(str(tmp_path))

    def unknown_tag(tag: str) -> None:
        raise KeyError(f"no model {tag}")

    monkeypatch.setattr(Speech2Embedding, "from_pretrained", unknown_tag)
    with pytest.raises(UserError, match="nobody/nothing: no loadable.*no model"):
        load_speaker_encoder("nobody/nothing")

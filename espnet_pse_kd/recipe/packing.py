"""Trained models as zips of the model zoo."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from espnet_pse_kd.enrolment_vectors import encoder_of_training
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.utils.yamls import read_yaml

BEST_MODEL = "valid.loss.best.pth"
"""Checkpoint of a training that is packed."""
_README = """# {name}

{what}, trained with ESPnet and espnet_pse_kd.

```python
{usage}
```

Input and output: 16 kHz, mono, float32. Do not normalise the output: a silent target
gives silence.
"""
_STUDENT_USAGE = """import espnet_pse_kd
from espnet2.bin.enh_tse_inference import SeparateSpeech

enhancer = SeparateSpeech.from_pretrained("{name}.zip")
# mixture, enrolment: float32 arrays of shape (samples,)
[output] = enhancer(mixture[None], fs=16000, enroll_ref1=enrolment[None])"""
_VECTOR_USAGE = """from espnet2.bin.enh_tse_inference import SeparateSpeech
from espnet_pse_kd.speaker import load_speaker_encoder

enhancer = SeparateSpeech.from_pretrained("{name}.zip")
# mixture, enrolment: float32 arrays of shape (samples,)
vector = load_speaker_encoder("{encoder}").embed(enrolment)
[output] = enhancer(mixture[None], fs=16000, enroll_ref1=vector[None, None])"""
_TEACHER_USAGE = """from espnet_model_zoo.downloader import ModelDownloader
from espnet_pse_kd.espnet.tasks import load_teacher

files = ModelDownloader().download_and_unpack("{name}.zip")
teacher = load_teacher(files["train_config"], files["model_file"])"""


class _Contents(NamedTuple):
    """What lies in a zip beside the checkpoint."""

    config: dict[str, Any]
    what: str
    usage: str


def teacher_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce a personal VAD's ``config.yaml`` to what running it needs."""
    kept = ("pvad", "pvad_conf", "model_conf", "sample_rate", "version")
    # The data are not packed: whose vectors it hears is to be said.
    name, digest = encoder_of_training(config) or (None, None)
    own = {"speaker_encoder": name, "speaker_digest": digest, "init": None}
    return {**{key: config.get(key) for key in kept}, **own}


def pack_experiment(
    exp: Path,
    model_file: str = BEST_MODEL,
    half: bool = False,
    outdir: Path | None = None,
) -> Path:
    """Pack one training into ``<outdir>/<name of EXP>.zip``.

    Args:
        exp: folder of the training.
        model_file: its checkpoint.
        half: store float16. What loads it computes in float32 as ever, with weights
            that are rounded to 11 bits.
        outdir: default ``exp``.

    Returns:
        path of the zip.

    Raises:
        UserError: the training is not finished, or config and model do not belong
            together.
    """
    config = read_yaml(exp / "config.yaml")
    source = exp / (BEST_MODEL if "pvad" in config else model_file)
    contents = _contents(exp, config, source)
    archive = (outdir or exp).absolute() / f"{exp.absolute().name}.zip"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as staging:
        _stage(Path(staging), archive.stem, contents, source, half)
        os.replace(Path(staging) / "packed.zip", archive)
    return archive


def _contents(exp: Path, config: Mapping[str, Any], source: Path) -> _Contents:
    """Reduced configuration and words of the README; loads the model to test it."""
    from espnet_pse_kd.espnet.loading import inference_config, load_student
    from espnet_pse_kd.espnet.tasks import load_teacher

    name = exp.absolute().name
    if "pvad" in config:
        load_teacher(exp / "config.yaml", source)
        usage = _TEACHER_USAGE.format(name=name)
        return _Contents(teacher_config(config), "Personal VAD", usage)
    student = load_student(exp / "config.yaml", source)
    # ESPnet's own extractors have no speaker encoder.
    embeds = hasattr(student.extractor, "speaker_vector")
    usage = _STUDENT_USAGE if embeds else _VECTOR_USAGE
    note = encoder_of_training(config)
    usage = usage.format(name=name, encoder=note.name if note else "ge2e")
    return _Contents(inference_config(config), "Personalized speech enhancement", usage)


def _stage(
    staging: Path, name: str, contents: _Contents, source: Path, half: bool
) -> None:
    """Write ``packed.zip`` and what it is packed from."""
    from espnet2.main_funcs.pack_funcs import pack

    folder = staging / "exp" / name
    folder.mkdir(parents=True)
    if half:
        _save_half(source, folder / "model.pth")
    else:
        shutil.copyfile(source, folder / "model.pth")
    text = yaml.safe_dump(contents.config, sort_keys=False)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    readme = _README.format(name=name, what=contents.what, usage=contents.usage)
    (staging / "README.md").write_text(readme, encoding="utf-8")
    # ESPnet stores paths relative to the current folder, others as absolute ones,
    # which no other machine has.
    with contextlib.chdir(staging):
        pack(
            files={"model_file": f"exp/{name}/model.pth"},
            yaml_files={"train_config": f"exp/{name}/config.yaml"},
            option=["README.md"],
            outpath="packed.zip",
        )


def _save_half(source: Path, target: Path) -> None:
    """Copy a checkpoint of tensors with its float32 ones as float16.

    Raises:
        UserError: a value is too large for it.
    """
    import torch

    state = torch.load(source, map_location="cpu", weights_only=True)
    half = {k: v.half() if v.dtype == torch.float32 else v for k, v in state.items()}
    for name, tensor in half.items():
        if not torch.isfinite(tensor).all():
            raise UserError(f"{source}: {name} is beyond float16; pack it without half")
    torch.save(half, target)

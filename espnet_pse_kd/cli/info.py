"""``pse-kd info``: everything that a bug report needs, and the model's card."""

from __future__ import annotations

import argparse
import platform
from importlib import metadata
from pathlib import Path

import espnet_pse_kd
from espnet_pse_kd.cli.devices import PortAudio
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.pretrained import cache_folder, find_model
from espnet_pse_kd.runtime.default_model import CARD

DESCRIPTION = "Show versions, paths, the model with its card, and audio devices."

_PACKAGES = (
    "numpy",
    "onnxruntime",
    "soundfile",
    "soxr",
    "sounddevice",
    "gradio",
    "torch",
    "espnet",
)
_HIDDEN = ("initial_state",)  # metadata that is for the runtime alone


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument("--model", help="as of pse-kd enhance")


def run(args: argparse.Namespace) -> None:
    """Run the subcommand; what is missing is shown as such, since that is its use."""
    print(f"espnet_pse_kd {espnet_pse_kd.__version__}")
    print(f"  {Path(espnet_pse_kd.__file__).parent}")
    print(f"  Python {platform.python_version()}, {platform.platform()}")
    for package in _PACKAGES:
        print(f"  {package} {_version(package)}")
    print(f"  cache: {cache_folder()}")
    print("\naudio devices")
    print("\n".join(f"  {line}" for line in _devices()))
    print("\nmodel")
    print("\n".join(f"  {line}" for line in _model(args.model)))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _devices() -> list[str]:
    try:
        return [str(found) for found in PortAudio().devices()] or ["none"]
    except UserError as error:
        return [str(error)]


def _model(source: str | None) -> list[str]:
    from espnet_pse_kd.runtime.model import StreamingModel

    try:
        files = find_model(source)
        model = StreamingModel(files.student)
    except UserError as error:
        if source is not None:
            raise
        return [str(error)]
    lines = [f"{role}: {path}" for role, path in files._asdict().items()]
    lines += [
        f"{key}: {value}" for key, value in model.metadata.items() if key not in _HIDDEN
    ]
    card = files.student.with_name(CARD)
    if card.is_file():
        lines += ["", *card.read_text(encoding="utf-8").splitlines()]
    return lines

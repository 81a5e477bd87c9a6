"""``pse-kd info``: what is there and what is missing, and the model's card."""

from __future__ import annotations

import argparse
import platform
import sys
from importlib import metadata
from pathlib import Path

import espnet_pse_kd
from espnet_pse_kd.cli.devices import PortAudio
from espnet_pse_kd.cli.settings import settings_path
from espnet_pse_kd.cli.voice_store import VoiceStore
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.pretrained import ModelFiles, cache_folder, find_model
from espnet_pse_kd.runtime.default_model import CARD
from espnet_pse_kd.sound import ffmpeg
from espnet_pse_kd.sound.formats import FFMPEG_REMEDY

DESCRIPTION = (
    "Show in a few lines what is found and what is missing, with the remedy; --card "
    "shows the model's card instead, --all what a bug report needs."
)

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
    more = parser.add_mutually_exclusive_group()
    more.add_argument("--card", action="store_true", help="show the model's card")
    more.add_argument(
        "--all",
        action="store_true",
        help="versions of packages, paths, audio devices and the model's data as well",
    )


def run(args: argparse.Namespace) -> None:
    """Run the subcommand; what is missing is shown as such, since that is its use.

    Raises:
        UserError: the model that was asked for is none, or has no card.
    """
    if args.card:
        print(_card(find_model(args.model)))
        return
    python = f"Python {platform.python_version()}, {platform.platform()}"
    print(f"espnet_pse_kd {espnet_pse_kd.__version__}, {python}")
    for name, verdict in (
        ("weights", _weights(args.model)),
        ("default voice", _default_voice()),
        ("ffmpeg", _ffmpeg()),
        ("PortAudio", _portaudio()),
        ("config", _config()),
    ):
        print(f"  {name + ':':14} {verdict}")
    if args.all:
        _print_all(args.model)


def _weights(source: str | None) -> str:
    from espnet_pse_kd.runtime.model import StreamingModel

    try:
        files = find_model(source)
        StreamingModel(files.student)
    except UserError as error:
        if source is not None:
            raise
        return f"missing: {error}"
    return f"found: {files.student}"


def _default_voice() -> str:
    store = VoiceStore()
    try:
        path = store.default_path()
    except UserError as error:
        return f"missing: {error}"
    return f"found: {path.stem}, of {len(store.names())} in {store.folder}"


def _ffmpeg() -> str:
    if ffmpeg.available():
        return "found"
    return f"missing: {FFMPEG_REMEDY}; WAV, FLAC, MP3 and OGG need none"


def _portaudio() -> str:
    try:
        found = PortAudio().devices()
    except UserError as error:
        return f"missing: {error}"
    return f"found, audio devices: {len(found)}"


def _config() -> str:
    path = settings_path()
    return f"{'found' if path.exists() else 'none yet'}: {path}"


def _print_all(source: str | None) -> None:
    print("\npackages")
    print(f"  {Path(espnet_pse_kd.__file__).parent}, {sys.executable}")
    for package in _PACKAGES:
        print(f"  {package} {_version(package)}")
    print(f"  cache: {cache_folder()}")
    print("\naudio devices")
    print("\n".join(f"  {line}" for line in _devices()))
    print("\nmodel")
    print("\n".join(f"  {line}" for line in _model(source)))


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
    return lines + [
        f"{key}: {value}" for key, value in model.metadata.items() if key not in _HIDDEN
    ]


def _card(files: ModelFiles) -> str:
    card = files.student.with_name(CARD)
    if not card.is_file():
        raise UserError(f"{card}: no such file; this model comes without a card")
    return card.read_text(encoding="utf-8").rstrip()

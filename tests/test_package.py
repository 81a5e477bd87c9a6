"""The package as it is built: what sdist and wheel hold, and the wheel where it lands.

Ordinary tests build both without a network. Those marked ``dev`` install the wheel into
environments of its own, from the package index: ``make package-check``.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes, message_from_string
from email.message import Message
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import soundfile
from safetensors.numpy import load

from espnet_pse_kd import __version__
from espnet_pse_kd.cli.main import main
from espnet_pse_kd.errors import how_to_install
from espnet_pse_kd.recipe.template import checkout_files, recipe_files

ROOT = Path(__file__).parents[1]
NAME = f"espnet_pse_kd-{__version__}"
CAMPP = "campp.onnx"
"""The large speaker encoder, which the 20 MB are without."""
WEIGHTS = (".onnx", ".safetensors", ".zip", ".pth")
REPOSITORY = "https://git.example/us/here"
_BUILT = (".*cache", ".git", ".venv*", ".uv", ".envs", "*.egg-info", "build", "dist")
_RUN = ("__pycache__", "data", "dump*", "exp", "exp_*", "runs")
_LEFT = (*_BUILT, *_RUN, "node_modules")


class Built(NamedTuple):
    """An sdist and the wheel that was built from it, with their files' contents."""

    sdist: Path
    wheel: Path
    sdist_names: set[str]
    files: dict[str, bytes]
    modes: dict[str, int]


def build(kind: str, source: Path, output: Path) -> Path:
    """Call setuptools as a front end does, without making an environment for it."""
    code = f"from setuptools import build_meta as b; b.build_{kind}({str(output)!r})"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]
    [path] = output.glob("*.tar.gz" if kind == "sdist" else "*.whl")
    return path


def copy_of_checkout(folder: Path) -> Path:
    """The checkout without what was built or run in it, but with traces of both."""
    top = folder / "top"
    shutil.copytree(ROOT, top, symlinks=True, ignore=shutil.ignore_patterns(*_LEFT))
    junks = ("egs2_recipe/exp/x.pth", "egs2_recipe/data/x", "conf/.x.swp")
    for junk in (*junks, "web/node_modules/x/x.js", "web/dist/x", "web/build/x"):
        (top / junk).parent.mkdir(parents=True, exist_ok=True)
        (top / junk).write_text("junk")
    return top


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """As `python -m build` does it: the wheel comes from the sdist."""
    # Here without an environment of its own: espnet 202609 keeps setuptools old.
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("built")
    sdist = build("sdist", copy_of_checkout(folder), folder / "dist")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        archive.extractall(folder, filter="data")
    wheel = build("wheel", folder / NAME, folder / "dist")
    with zipfile.ZipFile(wheel) as archive:
        infos = archive.infolist()
        files = {info.filename: archive.read(info) for info in infos}
        modes = {info.filename: info.external_attr >> 16 for info in infos}
    return Built(sdist, wheel, names, files, modes)


def metadata(built: Built) -> Message:
    return message_from_bytes(built.files[f"{NAME}.dist-info/METADATA"])


# --- what is in it -------------------------------------------------------------------


def test_wheel_is_small_and_of_this_package_alone(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        sizes = {info.filename: info.compress_size for info in archive.infolist()}
    assert built.wheel.stat().st_size < 40e6
    assert sum(size for name, size in sizes.items() if CAMPP not in name) < 20e6
    tops = {name.partition("/")[0] for name in built.files}
    assert tops == {"espnet_pse_kd", f"{NAME}.dist-info"}
    assert not [name for name in built.files if "junk" in name or ".zip" in name]


def test_wheel_has_every_file_of_the_package(built: Built) -> None:
    """But the packed student, which its ONNX file is made from."""
    package = ROOT / "espnet_pse_kd"
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    missing = wanted - built.files.keys()
    assert missing == {"espnet_pse_kd/weights/student.zip"}
    assert "espnet_pse_kd/py.typed" in wanted


def weights_in(built: Built) -> dict[str, bytes]:
    return {n: data for n, data in built.files.items() if Path(n).suffix in WEIGHTS}


def large_tensors(name: str, data: bytes) -> set[bytes]:
    """Digests of a file's tensors that neither order nor precision changes."""
    if name.endswith(".safetensors"):
        arrays = list(load(data).values())
    else:
        graph = onnx.load_model_from_string(data).graph
        arrays = [onnx.numpy_helper.to_array(one) for one in graph.initializer]
    large = [array for array in arrays if array.size > 10_000]
    with np.errstate(over="ignore"):  # indices are no weights
        sorted_ones = [np.sort(array.astype(np.float16), axis=None) for array in large]
    return {hashlib.sha256(array.tobytes()).digest() for array in sorted_ones}


def test_no_weights_are_in_it_twice(built: Built) -> None:
    seen: dict[bytes, str] = {}
    for name, data in weights_in(built).items():
        tensors = large_tensors(name, data)
        assert tensors
        for tensor in tensors:
            assert seen.setdefault(tensor, name) == name
    assert len(set(seen.values())) >= 4


def test_notices_name_the_weights(built: Built) -> None:
    """By their checksum, in the package and beside the licence."""
    for folder in ("", f"{NAME}.dist-info/licenses/"):
        notices = "".join(
            built.files[f"{folder}espnet_pse_kd/{home}/NOTICE"].decode()
            for home in ("speaker", "weights")
        )
        for name, data in weights_in(built).items():
            assert hashlib.sha256(data).hexdigest() in notices, name
            assert Path(name).name in notices
    assert f"{NAME}.dist-info/licenses/LICENSE" in built.files


def test_wheel_has_the_recipe(built: Built) -> None:
    inside = "espnet_pse_kd/recipe/egs2/"
    packed = {
        name.removeprefix(inside): data
        for name, data in built.files.items()
        if name.startswith(inside)
    }
    assert packed == {n: p.read_bytes() for n, p in checkout_files(ROOT).items()}
    for name in ("run.sh", "pse.sh", "local/data.sh", "utils/run_local.sh"):
        assert built.modes[inside + name] & 0o111 == 0o111
    assert not {"local/setup_env.sh", "RESULTS.md", ".python"} & packed.keys()


def test_sdist_can_be_tested(built: Built) -> None:
    for path in [*checkout_files(ROOT).values(), *ROOT.glob("tests/**/*.*")]:
        if "__pycache__" not in path.parts:
            assert path.relative_to(ROOT).as_posix() in built.sdist_names
    assert built.sdist_names >= {
        "CHANGELOG.md",
        "CITATION.cff",
        "Makefile",
        "docs/README.md",
        "egs2_recipe/conf/methods.yaml",
        "egs2_recipe/local/data.sh",
        "egs2_recipe/run.sh",
        "espnet_pse_kd/weights/student.zip",
        "local/setup_env.sh",
        "web/build.mjs",
        "web/package-lock.json",
        "web/src/main.ts",
    }
    junk = ("egs2_recipe/exp", "egs2_recipe/data", "__pycache__", ".swp", ".git/")
    junk += ("web/node_modules", "web/dist", "web/build/")
    assert not [name for name in built.sdist_names if any(j in name for j in junk)]


# --- what it says of itself ----------------------------------------------------------


def test_metadata(built: Built) -> None:
    found = metadata(built)
    assert (found["Name"], found["Version"]) == ("espnet_pse_kd", __version__)
    assert found["License-Expression"] == "Apache-2.0"
    assert found["Author"] and len(found["Keywords"].split(",")) > 5
    classifiers = found.get_all("Classifier") or []
    assert "Typing :: Typed" in classifiers
    versions = {c.rpartition(" ")[2] for c in classifiers if ":: 3." in c}
    assert versions == {"3.12", "3.13"}
    light = [r for r in found.get_all("Requires-Dist") or [] if "extra ==" not in r]
    assert {re.split("[<>=]", r)[0] for r in light} == {
        *("numpy", "soundfile", "soxr", "onnxruntime", "platformdirs", "argcomplete"),
    }


def test_citation_has_the_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in text


_TARGET = re.compile(r"\]\(([^)#\s]+)|\b(?:src|srcset)=\"([^\"]+)\"")


def targets(page: str) -> list[str]:
    """Where links and images of a page lead, but for its own headings."""
    return ["".join(found) for found in _TARGET.findall(page)]


def metadata_of(top: Path, output: Path) -> Message:
    code = "from setuptools import build_meta as b; import sys; "
    code += "print(b.prepare_metadata_for_build_wheel(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(output)]
    subprocess.run(command, cwd=top, check=True, capture_output=True)
    [path] = output.glob("*.dist-info/METADATA")
    return message_from_string(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("repository", ["", REPOSITORY])
def test_links_of_the_index_page_are_absolute(tmp_path: Path, repository: str) -> None:
    """Where the repository has no address yet, they are plain text."""
    pytest.importorskip("setuptools", minversion="77")
    top = tmp_path / "top"
    for name in ("setup.py", "espnet_pse_kd/__init__.py", "LICENSE"):
        (top / name).parent.mkdir(exist_ok=True, parents=True)
        shutil.copy(ROOT / name, top / name)
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    page += '\n![a](docs/a.svg) <img alt="b" src="docs/b.svg"> [c](#d) [e](docs/e.md#f)'
    (top / "README.md").write_text(page, encoding="utf-8")
    citation = f'repository-code: "{repository}"\n' if repository else "x: y\n"
    (top / "CITATION.cff").write_text(citation)
    found = metadata_of(top, tmp_path)
    text = found.get_payload()
    assert isinstance(text, str)
    assert all(target.startswith("https://") for target in targets(text))
    assert "[c](#d)" in text and "https://arxiv.org/abs/2211.02944" in targets(text)
    urls = "\n".join(found.get_all("Project-URL") or [])
    assert (f"Source, {REPOSITORY}" in urls) == bool(repository)
    if repository:
        wanted = {f"/raw/HEAD/docs/{name}.svg" for name in "ab"}
        wanted |= {"/blob/HEAD/docs/e.md"}
        assert wanted <= {t.removeprefix(REPOSITORY) for t in targets(text)}
        assert f"{REPOSITORY}/blob/HEAD/docs/e.md#f" in text
    else:
        assert text.rstrip().endswith("[c](#d) e")


def test_nothing_advises_to_install_a_name_that_is_not_ours() -> None:
    """On an index the name may belong to somebody else, today or tomorrow."""
    from_index = re.compile(
        r"(pip|uv|pipx)[\w ]* install[^\n`]*\bespnet[_-]pse[_-]kd\b"
    )
    suffixes = {".py", ".md", ".sh", ".yml", ".jinja", ".txt", ""}
    top = [p for p in ROOT.iterdir() if p.is_file()]
    folders = ("espnet_pse_kd", "docs", "egs2_recipe", "conf", "local", "tools")
    inside = [path for f in folders for path in (ROOT / f).glob("**/*")]
    for path in [*top, *inside]:
        if path.is_file() and path.suffix in suffixes:
            text = path.read_text(encoding="utf-8", errors="replace")
            assert not from_index.search(text), path
    assert not from_index.search(how_to_install("live"))
    assert from_index.search("run: pip install -U 'espnet_pse_kd[live]'")


# --- pse-kd recipe -------------------------------------------------------------------

Capture = pytest.CaptureFixture[str]


def recipe(folder: Path) -> int:
    """Exit status of ``pse-kd recipe``."""
    try:
        main(["recipe", str(folder)])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def run_sh(folder: Path, *args: str, **environment: str) -> subprocess.CompletedProcess:
    """``run.sh`` of a folder, where no environment is active."""
    own = {"PATH": "/usr/bin:/bin", "HOME": os.environ["HOME"], "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [folder / "run.sh", *args],
        capture_output=True,
        text=True,
        env=own | environment,
    )


PLAN = ("--preset", "debug", "--dry_run", "true")


def test_recipe_runs_where_it_is_written(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "my recipe"
    assert recipe(folder) == 0
    assert "cd '" in capsys.readouterr().out
    written = {p.relative_to(folder).as_posix() for p in folder.rglob("*.*")}
    assert written >= recipe_files().keys() | {".python"}
    # No python is on the path: that of the package which wrote it serves.
    result = run_sh(folder, *PLAN)
    assert result.returncode == 0, result.stderr
    assert "stage 8 pack" in result.stdout


def test_recipe_below_espnet_activates_espnet_s_environment(tmp_path: Path) -> None:
    espnet = tmp_path / "espnet"
    (espnet / "tools").mkdir(parents=True)
    (espnet / "tools/activate_python.sh").write_text(
        f"export PATH={espnet}/bin:${{PATH}}\n"
    )
    (espnet / "bin").mkdir()
    python = espnet / "bin/python"
    python.write_text(
        f'#!/bin/bash\necho "$PYTHONPATH" >>{espnet}/seen\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    folder = espnet / "egs2/own/pse1"
    assert recipe(folder) == 0
    result = run_sh(folder, *PLAN)
    assert result.returncode == 0, result.stderr
    assert (espnet / "seen").read_text().startswith(f"{folder}/../../..:{ROOT}\n")
    python.write_text("#!/bin/bash\nexit 1\n")
    result = run_sh(folder, *PLAN)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith("error: python: it lacks espnet_pse_kd or ESPnet")


def test_recipe_overwrites_nothing(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "r"
    assert recipe(folder) == 0
    (folder / "conf/methods.yaml").unlink()  # as if an earlier run was interrupted
    assert recipe(folder) == 0
    assert "1 files written" in capsys.readouterr().out
    (folder / "cmd.sh").write_text("mine")
    (folder / "db.sh").unlink()
    assert recipe(folder) == 2
    assert f"error: {folder}/cmd.sh: exists and differs" in capsys.readouterr().err
    assert (folder / "cmd.sh").read_text() == "mine"
    assert not (folder / "db.sh").exists()  # nothing else is written either
    assert not list(folder.rglob("*.part"))


def test_recipe_refuses_what_is_no_folder(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "taken/run.sh").mkdir(parents=True)
    (tmp_path / "loose/conf").parent.mkdir()
    (tmp_path / "loose/conf").symlink_to("../nowhere")
    for name, message in (
        ("file", "file"),
        ("taken", "taken/run.sh: exists and differs"),
        ("loose", "loose/conf: a link that leads nowhere; remove it"),
    ):
        assert recipe(tmp_path / name) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {tmp_path}/{message}"), error
        assert error.count("\n") == 1
    assert recipe(ROOT / "egs2_recipe") == 2
    assert "the recipe of this checkout" in capsys.readouterr().err


def test_a_plain_copy_of_the_folder_says_what_is_missing(tmp_path: Path) -> None:
    copy = tmp_path / "espnet/egs2/own/pse1"
    copy.mkdir(parents=True)
    for path in (ROOT / "egs2_recipe").glob("*.sh"):
        shutil.copy(path, copy)
    (copy / "conf").symlink_to("../conf")
    result = run_sh(copy, *PLAN)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"error: conf/methods.yaml: missing in {copy}; write the whole recipe with "
        "pse-kd recipe DIR\n"
    )


# --- where it lands ------------------------------------------------------------------


class Environment:
    """A new environment with the wheel, and what its index has."""

    def __init__(self, folder: Path, wheel: Path, extra: str = "") -> None:
        uv = shutil.which("uv") or str(ROOT / ".uv/bin/uv")
        python = os.environ.get("PSE_KD_PYTHON") or "3.13"
        self.bin = folder / "bin"
        self.folder = folder.with_name(f"{folder.name} files")
        self.folder.mkdir()
        subprocess.run([uv, "venv", "--python", python, folder], check=True)
        install = [uv, "pip", "install", "--python", folder, f"{wheel}{extra}"]
        subprocess.run(install, check=True)

    def __call__(self, *words: str | Path) -> str:
        """Run a command of the environment in `folder`."""
        path = f"{self.bin}:/usr/bin:/bin"
        environment = {"PATH": path, "HOME": str(self.folder), "OMP_NUM_THREADS": "1"}
        result = subprocess.run(
            words, cwd=self.folder, env=environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr[-3000:]
        return result.stdout


@pytest.mark.dev
def test_archives_pass_twine(built: Built) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict"]
    subprocess.run([*command, built.sdist, built.wheel], check=True)


@pytest.mark.dev
def test_wheel_alone_enhances(built: Built, tmp_path: Path) -> None:
    run = Environment(tmp_path / "light", built.wheel)
    golden = ROOT / "tests/golden"
    run("pse-kd", "enroll", golden / "enrolment.flac", "-o", "me.profile")
    mixture = golden / "mixture.flac"
    run("pse-kd", "enhance", mixture, "--profile", "me.profile", "-o", "clean.wav")
    before, rate = soundfile.read(mixture)
    after, _ = soundfile.read(run.folder / "clean.wav")
    assert after.shape == before.shape and rate == 16000
    assert 0 < np.square(after).mean() < 0.9 * np.square(before).mean()
    for package in ("torch", "espnet2", "scipy"):
        found = f"import importlib.util as i; print(i.find_spec({package!r}))"
        assert run("python", "-c", found) == "None\n"
    assert "not installed: torch, espnet2" in run("pse-kd", "recipe", "mine")


@pytest.mark.dev
def test_recipe_of_the_wheel_goes_through_every_stage(
    built: Built, tmp_path: Path
) -> None:
    run = Environment(tmp_path / "full", built.wheel, "[recipe]")
    run("pse-kd", "recipe", "mine")
    run("mine/run.sh", "--preset", "debug", "--stage", "1", "--stop_stage", "8")
    exp = run.folder / "mine/exp"
    assert "deletion %" in (exp / "RESULTS.md").read_text()
    assert list(exp.glob("pse_*/*.zip")) and (exp / "report.html").is_file()


@pytest.mark.dev
def test_sdist_passes_its_tests(built: Built, tmp_path: Path) -> None:
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    top = tmp_path / NAME
    files = [f"tests/test_{name}.py" for name in ("gate", "shell", "runtime", "docs")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    environment = os.environ | {"PYTHONPATH": str(top)}
    result = subprocess.run(
        command, cwd=top, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout[-3000:]

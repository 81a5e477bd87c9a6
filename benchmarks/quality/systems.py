"""What the tables compare: the input, our models, the peers, all on 16 kHz signals."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr

from benchmarks import environments
from benchmarks.environments import PEERS, Unavailable
from benchmarks.processes import PeerAudio
from benchmarks.quality.trials import Signals
from espnet_pse_kd import __version__
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.pretrained import find_model
from tools.score_weights import Call, profile

Enhance = Callable[[Signals, Sequence[Path]], np.ndarray]
"""A trial's signals and the enrolment's files give the output (N,), aligned."""
NOISY, CLEAN = "noisy", "clean"
QUALITY_PEERS = ("gtcrn", "deepfilternet", "hush")
"""Peers that have trained weights."""


class System(NamedTuple):
    """A row of the tables; small, as every process opens its own.

    Attributes:
        kind: ``noisy``, ``clean``, ``onnx``, ``torch`` or ``peer``.
        source: a model (see `pretrained.find_model`; None: the package's), or the name
            of a peer.
        look_ahead: see `PersonalizedEnhancer.__call__`.
        limit_db: its attenuation limit.
        checkouts: folder with checkouts of the peers; None: they are cloned.
    """

    kind: str
    source: str | None = None
    look_ahead: bool = False
    limit_db: float | None = None
    checkouts: Path | None = None

    @property
    def name(self) -> str:
        """What the tables call it."""
        if self.kind in REFERENCES:
            return self.kind
        if self.kind == "peer":
            return PEERS[str(self.source)].title
        parts = [Path(self.source).stem if self.source else "package"]
        parts.append("look-ahead" if self.look_ahead else "live")
        parts += ["torch"] if self.kind == "torch" else []
        parts += [] if self.limit_db is None else [f"limit {self.limit_db:g} dB"]
        return ", ".join(parts)

    def identity(self) -> str:
        """What tells its outputs from those of another of the same name.

        Raises:
            UserError: the model or the peer cannot be had.
        """
        if self.kind in REFERENCES:
            return self.kind
        if self.kind == "peer":
            return _peer(self)[2]
        files = find_model(self.source)
        used = files if self.look_ahead else files[:2]
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in used))
        return f"espnet_pse_kd {__version__}, model {digest.hexdigest()[:16]}"

    def open(self) -> Enhance:
        """What enhances, loaded.

        Raises:
            UserError: the model or the peer cannot be had.
        """
        if self.kind in REFERENCES:
            return REFERENCES[self.kind]
        openers = {"onnx": _onnx, "torch": _torch, "peer": _peer_audio}
        return openers[self.kind](self)


def _mixture(signals: Signals, enrolment: Sequence[Path]) -> np.ndarray:
    return signals.mixture


def _target(signals: Signals, enrolment: Sequence[Path]) -> np.ndarray:
    return signals.target


REFERENCES: dict[str, Enhance] = {NOISY: _mixture, CLEAN: _target}
"""Rows that need no system."""


def _onnx(system: System) -> Enhance:
    """A model of ours as a user gets it."""

    def enhance(signals: Signals, enrolment: Sequence[Path]) -> np.ndarray:
        call = Call(system.source, system.limit_db, system.look_ahead)
        return call.enhance(signals.mixture, [str(path) for path in enrolment])

    return enhance


def _torch(system: System) -> Enhance:
    """The same network in PyTorch, in one pass: several times as fast as a stream."""
    import torch

    from espnet_pse_kd.export import load_student

    torch.set_num_threads(1)
    network, info = load_student(str(system.source))

    @torch.inference_mode()
    def enhance(signals: Signals, enrolment: Sequence[Path]) -> np.ndarray:
        voice = profile(system.source, [str(path) for path in enrolment])
        vector = voice.vector(info.speaker_encoder, network.speaker_dim)
        wave, speaker = (torch.tensor(x)[None] for x in (signals.mixture, vector))
        return network(wave, speaker)[0].numpy()

    return enhance


def _peer_audio(system: System) -> Enhance:
    """A peer's process; it hears no enrolment, and may work at another rate."""
    python, arguments, _ = _peer(system)
    worker = PeerAudio(python, arguments)

    def enhance(signals: Signals, enrolment: Sequence[Path]) -> np.ndarray:
        length = len(signals.mixture)
        heard = soxr.resample(signals.mixture, SAMPLE_RATE, worker.rate)
        output = soxr.resample(worker.enhance(heard), worker.rate, SAMPLE_RATE)
        return np.pad(output, (0, max(length - len(output), 0)))[:length]

    return enhance


def _peer(system: System) -> tuple[str, list[str], str]:
    """Python, module with arguments, and version of a peer; installed if need be."""
    peer = PEERS[str(system.source)]
    try:
        python = environments.make(peer)
        source = environments.source(peer, system.checkouts)
    except Unavailable as error:
        raise UserError(f"{peer.name}: {error}; leave it out of --peers") from None
    arguments = [f"benchmarks.peers.{peer.name}", "audio"]
    arguments += [] if source is None else ["--source", str(source.resolve())]
    return str(python), arguments, environments.version_of(peer, python, source)

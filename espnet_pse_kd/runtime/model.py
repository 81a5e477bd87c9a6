"""One exported network, run hop by hop."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.identity import EncoderIdentity
from espnet_pse_kd.runtime.metadata import initial_fills
from espnet_pse_kd.runtime.onnxfile import read_model_file

_LARGEST_STATE = 1 << 24  # numbers; the networks here have some thousands
State = dict[str, np.ndarray]
"""What a network remembers: float32 arrays by the names of the graph's inputs."""


class StreamingModel:
    """A personalized enhancement network in onnxruntime.

    Its graph has the inputs ``frame (1, hop)``, ``speaker (1, D)`` and ``state_*``, and
    the outputs ``output (1, hop)`` and ``new_state_*``; one run enhances one hop. The
    analysis and synthesis transforms are inside the graph.

    Args:
        path: file that `espnet_pse_kd.export.export_student` wrote.
        threads: CPU threads of one run.

    Attributes:
        sample_rate: Hz.
        hop: samples of a frame.
        latency: samples; output n depends on input before n + latency only, and the
            output of `step` lags by ``latency - hop``.
        speaker_dim: size D of the speaker vector.
        speaker_encoder: the encoder whose vectors it was trained on.
        name: name of the network.
        version: version of the package that exported it.
        metadata: everything that the file says of itself.

    Raises:
        UserError: the file cannot be used, see `read_model_file`, or its metadata and
            graph do not belong together.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        file = read_model_file(path, "student")
        file.check("student")
        self.path, self.metadata = file.path, file.metadata
        self.sample_rate = int(self.metadata["sample_rate"])
        self.hop = int(self.metadata["hop"])
        self.latency = int(self.metadata["latency"])
        self.speaker_dim = int(self.metadata["speaker_dim"])
        self.speaker_encoder = EncoderIdentity.of_model(self.metadata)
        self.name = self.metadata["name"]
        self.version = self.metadata["package_version"]
        self._session = file.session(threads)
        self._initial = self._states(initial_fills(file.path, file.metadata))
        self._outputs = ["output", *(f"new_{name}" for name in self._initial)]
        self._try_step()

    def _states(self, fills: dict[str, float]) -> State:
        """The initial state; the graph's inputs are those of ``fills`` and two more."""
        shapes = {given.name: given.shape for given in self._session.get_inputs()}
        expected = {"frame": [1, self.hop], "speaker": [1, self.speaker_dim]}
        others = {name: shapes.get(name) for name in expected}
        if others != expected or set(shapes) - set(expected) != set(fills):
            raise UserError(
                f"{self.path}: the inputs of its graph, {shapes!s:.200}, are not what "
                "its metadata say; export it again"
            )
        sizes = [size for name in fills for size in shapes[name]]
        whole = all(isinstance(size, int) and size >= 1 for size in sizes)
        if not whole or sum(math.prod(shapes[n]) for n in fills) > _LARGEST_STATE:
            raise UserError(
                f"{self.path}: states of the shapes {[shapes[n] for n in fills]!s:.200}"
                f", of no fixed size or more than {_LARGEST_STATE}; export it again"
            )
        return {n: np.full(shapes[n], fills[n], np.float32) for n in fills}

    def _try_step(self) -> None:
        """Run one hop of silence, so that a graph which cannot is told at once."""
        frame = np.zeros(self.hop, np.float32)
        speaker = np.full(self.speaker_dim, self.speaker_dim**-0.5, np.float32)
        output, state = self.step(frame, speaker, self._initial)
        self._session.check("output", output, (self.hop,))
        for name, value in state.items():
            self._session.check(name, value, self._initial[name].shape)

    def init_state(self) -> State:
        """State before the first sample of a stream."""
        return {name: value.copy() for name, value in self._initial.items()}

    def step(
        self, frame: np.ndarray, speaker: np.ndarray, state: State
    ) -> tuple[np.ndarray, State]:
        """Enhance the next hop of a stream.

        Args:
            frame: float32 (hop,)
            speaker: float32 (D,), unit norm.
            state: from `init_state` or the step before; it is not changed.

        Returns:
            float32 (hop,) output that belongs ``latency - hop`` samples back, and the
            new state.
        """
        feeds = {"frame": frame[None], "speaker": speaker[None], **state}
        output, *values = self._session.run(self._outputs, feeds)
        return output[0], dict(zip(self._initial, values, strict=True))

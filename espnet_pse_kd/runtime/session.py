"""A network in onnxruntime whose failures name its file, in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from espnet_pse_kd.errors import UserError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, NodeArg


class Session:
    """Runs one graph.

    Args:
        path: of its file, for errors.
        session: of onnxruntime.
    """

    def __init__(self, path: Path, session: InferenceSession) -> None:
        self._path, self._session = path, session

    def get_inputs(self) -> list[NodeArg]:
        """Names, types and shapes of the inputs."""
        inputs: list[NodeArg] = self._session.get_inputs()
        return inputs

    def run(
        self, outputs: Sequence[str], feeds: Mapping[str, np.ndarray]
    ) -> list[np.ndarray]:
        """Run the graph once.

        Args:
            outputs: names of what to return.
            feeds: inputs by their names.

        Raises:
            UserError: it cannot be run so: the graph is none of ours.
        """
        try:
            values: list[np.ndarray] = self._session.run(outputs, feeds)
        # The exceptions of onnxruntime have no common base but Exception.
        except Exception as error:
            reason = (str(error).strip().splitlines() or [""])[-1]
            raise UserError(
                f"{self._path}: its graph cannot be run ({reason:.200}); export it "
                "again"
            ) from None
        return values

    def check(self, name: str, value: np.ndarray, shape: tuple[int, ...]) -> None:
        """Check what a run has returned.

        Args:
            name: of the output.
            value: of it.
            shape: that it has to have.

        Raises:
            UserError: it is none of float32, of another shape, or not finite.
        """
        float32 = isinstance(value, np.ndarray) and value.dtype == np.float32
        if not float32 or value.shape != shape:
            found = getattr(value, "shape", type(value).__name__)
            raise UserError(
                f"{self._path}: its {name} has the shape {found}, not {shape} of "
                "float32; export it again"
            )
        if not np.isfinite(value).all():
            raise UserError(
                f"{self._path}: its {name} is not finite, the weights are broken; get "
                "or train the model again"
            )

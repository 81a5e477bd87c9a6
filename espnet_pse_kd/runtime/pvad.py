"""The exported personal VAD: who speaks in a recording, and when?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.onnxfile import read_model_file
from espnet_pse_kd.runtime.speaker import OnnxSpeakerEncoder

_BLOCK_SECONDS = 60
_CONTEXT_SECONDS = 2


class OnnxPersonalVAD:
    """A personal VAD in onnxruntime.

    Its graph maps ``mixture (1, N)``, ``speaker (1, D)`` and, where the network
    compares windows, ``windows (1, K, D)`` to ``posterior (1, T, 3)``.

    Args:
        path: file that `espnet_pse_kd.export.export_pvad` wrote.
        encoder: speaker encoder of the windows; a network that compares none ignores
            it.
        threads: CPU threads of one run.

    Attributes:
        sample_rate: Hz.
        hop: samples between frames.
        speaker_dim: size D of the speaker vector.
        speaker_encoder: name of the encoder whose vectors it was trained on.
        classes: ``ns``, ``ntss``, ``tss``: no, non-target, target speech.
        metadata: everything that the file says of itself.

    Raises:
        UserError: the file cannot be used, see `read_model_file`, or ``encoder`` is
            missing or another one.
    """

    def __init__(
        self,
        path: str | Path,
        encoder: OnnxSpeakerEncoder | None = None,
        threads: int = 1,
    ) -> None:
        file = read_model_file(path, "pvad")
        self.path, self.metadata = file.path, file.metadata
        self.sample_rate = int(self.metadata["sample_rate"])
        self.hop = int(self.metadata["hop"])
        self.speaker_dim = int(self.metadata["speaker_dim"])
        self.speaker_encoder = self.metadata["speaker_encoder"]
        self.classes = tuple(self.metadata["classes"].split())
        self._session = file.session(threads)
        names = {given.name for given in self._session.get_inputs()}
        self._encoder = encoder if "windows" in names else None
        if "windows" in names:
            self._window_hop = int(self.metadata["window_hop"])
            found = encoder.name if encoder is not None else None
            if found != self.speaker_encoder:
                raise UserError(
                    f"{self.path}: compares vectors of the speaker encoder "
                    f"{self.speaker_encoder!r}, not {found!r}; pass that encoder"
                )

    def posteriors(self, wave: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """Probabilities of the three classes.

        A recording longer than a minute is read in blocks of a minute with 2 s of
        context on either side, so that memory stays bounded.

        Args:
            wave: (N,) samples at ``sample_rate``, N >= 1, full scale 1.
            vector: (D,) speaker vector of the enrolled voice.

        Returns:
            float32 (T, 3) in the order of ``classes``, ``T = ceil(N / hop) + 1``; frame
            ``t`` is centred on sample ``hop * t``.
        """
        wave = np.asarray(wave, np.float32)
        block, context = (
            s * self.sample_rate for s in (_BLOCK_SECONDS, _CONTEXT_SECONDS)
        )
        pieces = []
        for start in range(0, len(wave), block):
            before = min(start, context)
            posterior = self._run(
                wave[start - before : start + block + context], vector
            )
            is_last = start + block >= len(wave)
            first = before // self.hop
            pieces.append(
                posterior[first : None if is_last else first + block // self.hop]
            )
        return np.concatenate(pieces)

    def _run(self, wave: np.ndarray, vector: np.ndarray) -> np.ndarray:
        feeds = {"mixture": wave[None], "speaker": np.asarray(vector, np.float32)[None]}
        if self._encoder is not None:
            feeds["windows"] = self._encoder.windows(wave, self._window_hop)[None]
        return self._session.run(["posterior"], feeds)[0][0]  # [T, 3]

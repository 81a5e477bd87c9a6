"""The exported speaker encoder: vectors of enrolments and of a mixture's windows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.fbank import log_fbank
from espnet_pse_kd.runtime.features import HOP, mel_power, raise_level, trim_silence
from espnet_pse_kd.runtime.framing import (
    LEAST_SAMPLES,
    PARTIAL_FRAMES,
    WINDOW_HOP,
    check_hop,
    equal_pieces,
    piece_starts,
    window_frames,
)
from espnet_pse_kd.runtime.identity import EncoderIdentity
from espnet_pse_kd.runtime.onnxfile import read_model_file


class FrontEnd(Protocol):
    """What an encoder's graph is fed with, in batches that bound the memory.

    Attributes:
        batch_axis: which axis of an input counts its pieces.
    """

    batch_axis: int

    def pieces(self, wave: np.ndarray) -> Iterator[np.ndarray]:
        """Inputs of the graph for an utterance (N,) without silence."""
        ...

    def windows(
        self, wave: np.ndarray, hop: int, window_seconds: float
    ) -> Iterator[np.ndarray]:
        """Inputs of the graph for the windows of a mixture (N,)."""
        ...


class MelPower:
    """Input ``mel (T, B, 40)`` of GE2E."""

    batch_axis = 1
    _CHUNK = 256

    def pieces(self, wave: np.ndarray) -> Iterator[np.ndarray]:
        starts = piece_starts(len(wave))
        end = (starts[-1] + PARTIAL_FRAMES) * HOP
        mel = mel_power(np.pad(wave, (0, max(0, end - len(wave)))))  # [T, M]
        view = np.lib.stride_tricks.sliding_window_view(mel, PARTIAL_FRAMES, 0)
        return self._batches(view[starts])

    def windows(
        self, wave: np.ndarray, hop: int, window_seconds: float
    ) -> Iterator[np.ndarray]:
        count, step = -(-len(wave) // hop) + 1, hop // HOP
        half = round(window_seconds * 100 / 2)
        mel = mel_power(wave)  # [T, M]
        # The spectrum of the silence outside the mixture is zero.
        missing = (count - 1) * step + half - len(mel)
        mel = np.pad(mel, ((half, max(missing, 0)), (0, 0)))
        view = np.lib.stride_tricks.sliding_window_view(mel, 2 * half, 0)
        return self._batches(view[::step][:count])

    def _batches(self, pieces: np.ndarray) -> Iterator[np.ndarray]:
        """(P, M, T) to (T, C, M) each."""
        for chunk in np.array_split(pieces, -(-len(pieces) // self._CHUNK)):
            yield np.ascontiguousarray(chunk.transpose(2, 0, 1), np.float32)


class CenteredFbank:
    """Input ``fbank (B, T, 80)`` of CAM++: log mel energies less their mean."""

    batch_axis = 0
    _CHUNK = 8  # more take longer each: their activations leave the cache

    def pieces(self, wave: np.ndarray) -> Iterator[np.ndarray]:
        fbank = self._fbank(wave)
        return self._batches(fbank, equal_pieces(len(fbank)))

    def windows(
        self, wave: np.ndarray, hop: int, window_seconds: float
    ) -> Iterator[np.ndarray]:
        frames = window_frames(max(len(wave), LEAST_SAMPLES), hop, window_seconds)
        count = -(-len(wave) // hop) + 1
        return self._batches(self._fbank(wave), frames[:count])

    def _fbank(self, wave: np.ndarray) -> np.ndarray:
        return log_fbank(np.pad(wave, (0, max(0, LEAST_SAMPLES - len(wave)))))

    def _batches(self, fbank: np.ndarray, index: np.ndarray) -> Iterator[np.ndarray]:
        """(T, 80) and the frames (P, L) of pieces to (C, L, 80) each."""
        for chunk in np.array_split(index, -(-len(index) // self._CHUNK)):
            pieces = fbank[chunk]
            yield pieces - pieces.mean(1, keepdims=True)


_FRONT_ENDS: dict[str, FrontEnd] = {"mel": MelPower(), "fbank": CenteredFbank()}


class OnnxSpeakerEncoder:
    """An encoder of `espnet_pse_kd.speaker` in onnxruntime.

    The input of its graph names the front end: ``mel`` (GE2E) or ``fbank`` (CAM++);
    its output is ``vector (B, D)``, unit norm.

    Args:
        path: file that `espnet_pse_kd.export.export_speaker_encoder` wrote.
        threads: CPU threads of one run.

    Attributes:
        identity: name and digest of the weights; a profile carries both.
        dim: size D of a vector.
        window_seconds: length of a mixture's windows, unless another is asked for.
        sample_rate: of the waveforms, in Hz.
        metadata: everything that the file says of itself.

    Raises:
        UserError: the file cannot be used, see `read_model_file`.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        file = read_model_file(path, "speaker_encoder")
        file.check("speaker_encoder")
        self.path, self.metadata = file.path, file.metadata
        self.identity = EncoderIdentity(self.metadata["name"], self.metadata["digest"])
        self.dim = int(self.metadata["speaker_dim"])
        self.window_seconds = float(self.metadata["window_seconds"])
        self.sample_rate = int(self.metadata["sample_rate"])
        self._session = file.session(threads)
        self._input, self._front_end = self._named_front_end()

    def embed(self, wave: np.ndarray, name: str = "enrolment") -> np.ndarray:
        """Vector of one utterance.

        Args:
            wave: (N,) samples at ``sample_rate``, full scale 1.
            name: what to call it in an error message.

        Returns:
            float32 (D,), unit norm.

        Raises:
            UserError: it is nearly silent, or holds a sample that is not finite.
        """
        wave = raise_level(trim_silence(np.asarray(wave, np.float32), name))
        mean = self._run(self._front_end.pieces(wave)).mean(0)  # [D]
        return mean / np.linalg.norm(mean)

    def windows(
        self,
        wave: np.ndarray,
        hop: int = WINDOW_HOP,
        window_seconds: float | None = None,
    ) -> np.ndarray:
        """Vectors of sliding windows; window ``k`` is centred on sample ``hop * k``.

        Args:
            wave: (N,) samples at ``sample_rate``, N >= 1.
            hop: samples between centres, a multiple of 160.
            window_seconds: length of a window; None for the encoder's own.

        Returns:
            float32 (K, D), unit norm, ``K = ceil(N / hop) + 1``. A window in which
            nothing is heard still gets a unit vector, of no meaning.
        """
        check_hop(hop)
        wave = raise_level(np.asarray(wave, np.float32))
        seconds = window_seconds or self.window_seconds
        return self._run(self._front_end.windows(wave, hop, seconds))

    def _named_front_end(self) -> tuple[str, FrontEnd]:
        for given in self._session.get_inputs():
            if given.name in _FRONT_ENDS:
                return given.name, _FRONT_ENDS[given.name]
        raise UserError(
            f"{self.path}: its graph takes none of {', '.join(_FRONT_ENDS)}; export it "
            "again"
        )

    def _run(self, batches: Iterator[np.ndarray]) -> np.ndarray:
        """Unit vectors (P, D) of all batches."""
        return np.concatenate([self._vectors(batch) for batch in batches])

    def _vectors(self, batch: np.ndarray) -> np.ndarray:
        """The same of as many pieces as one run takes."""
        [vectors] = self._session.run(["vector"], {self._input: batch})
        count = batch.shape[self._front_end.batch_axis]
        self._session.check("vector", vectors, (count, self.dim))
        return vectors

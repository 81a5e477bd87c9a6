"""The exported personal VAD: who speaks in a recording, and when?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soxr

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.features import hold_clicks
from espnet_pse_kd.runtime.identity import EncoderIdentity
from espnet_pse_kd.runtime.onnxfile import read_model_file
from espnet_pse_kd.runtime.speaker_encoder import OnnxSpeakerEncoder

_BLOCK_SECONDS = 15
"""Levels are relative to a block: something loud may not deafen a whole minute."""
_CONTEXT_SECONDS = 2


class OnnxPersonalVAD:
    """A personal VAD in onnxruntime.

    Its graph maps ``mixture (1, N)``, ``speaker (1, D)`` and, where the network
    compares windows, ``windows (1, K, D)`` to ``posterior (1, T, 3)``.

    Args:
        path: file that `espnet_pse_kd.export.export_pvad` wrote.
        encoders: those that there are. A network that compares windows runs its own
            among them, and asks for no more once it has it.
        threads: CPU threads of one run.

    Attributes:
        sample_rate: Hz.
        hop: samples between frames.
        speaker_dim: size D of the speaker vector.
        speaker_encoder: the encoder whose vectors it was trained on.
        classes: ``ns``, ``ntss``, ``tss``: no, non-target, target speech.
        metadata: everything that the file says of itself.

    Raises:
        UserError: the file cannot be used, see `read_model_file`, or the encoder that
            it needs is not there.
    """

    def __init__(
        self,
        path: str | Path,
        encoders: Iterable[OnnxSpeakerEncoder] = (),
        threads: int = 1,
    ) -> None:
        file = read_model_file(path, "pvad")
        file.check("pvad")
        self.path, self.metadata = file.path, file.metadata
        self.sample_rate = int(self.metadata["sample_rate"])
        self.hop = int(self.metadata["hop"])
        self.speaker_dim = int(self.metadata["speaker_dim"])
        self.speaker_encoder = EncoderIdentity.of_model(self.metadata)
        self.classes = tuple(self.metadata["classes"].split())
        self._session = file.session(threads)
        names = {given.name for given in self._session.get_inputs()}
        self._encoder: OnnxSpeakerEncoder | None = None
        if "windows" in names:
            self._encoder = self._own_among(encoders)
            self._window_hop = int(self.metadata["window_hop"])

    def _own_among(self, encoders: Iterable[OnnxSpeakerEncoder]) -> OnnxSpeakerEncoder:
        others: list[str] = []
        for encoder in encoders:
            if encoder.identity == self.speaker_encoder:
                return encoder
            others.append(str(encoder.identity))
        known = ", ".join(dict.fromkeys(others)) or "none"
        raise UserError(
            f"{self.path}: this personal VAD needs the speaker encoder "
            f"{self.speaker_encoder}, there are {known}; put one that fits beside the "
            "model (pse-kd export --pvad)"
        )

    def posteriors(self, wave: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """Probabilities of the three classes.

        A recording longer than 15 s is read in blocks of 15 s with 2 s of context on
        either side, so that memory stays bounded, and a loud moment matters for its
        surroundings alone.

        Args:
            wave: (N,) samples at ``sample_rate``, N >= 1, full scale 1.
            vector: (D,) speaker vector of the enrolled voice.

        Returns:
            float32 (T, 3) in the order of ``classes``, ``T = ceil(N / hop) + 1``; frame
            ``t`` is centred on sample ``hop * t``.
        """
        stream = self.stream(vector, self.sample_rate)
        return np.concatenate([stream.process(wave), stream.finish()])

    def stream(self, vector: np.ndarray, rate: int) -> PosteriorStream:
        """The same posteriors of a recording that comes in pieces, at any rate."""
        return PosteriorStream(self, vector, rate)

    def run(self, wave: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """Posteriors (T, 3) of a short recording in one go, see `posteriors`."""
        wave = hold_clicks(wave)
        feeds = {"mixture": wave[None], "speaker": np.asarray(vector, np.float32)[None]}
        if self._encoder is not None:
            feeds["windows"] = self._encoder.windows(wave, self._window_hop)[None]
        [posterior] = self._session.run(["posterior"], feeds)
        frames = -(-len(wave) // self.hop) + 1
        self._session.check("posterior", posterior, (1, frames, len(self.classes)))
        return posterior[0]  # [T, 3]


class PosteriorStream:
    """`OnnxPersonalVAD.posteriors` of a recording that comes in pieces.

    It lags by up to 17 s: the network looks ahead.

    Args:
        vad: the network.
        vector: (D,) speaker vector of the enrolled voice.
        rate: of the recording, in Hz.
    """

    def __init__(self, vad: OnnxPersonalVAD, vector: np.ndarray, rate: int) -> None:
        self._vad, self._vector = vad, vector
        self._resampler = None
        if rate != vad.sample_rate:
            self._resampler = soxr.ResampleStream(rate, vad.sample_rate, 1)
        self._block = _BLOCK_SECONDS * vad.sample_rate
        self._context = _CONTEXT_SECONDS * vad.sample_rate
        self._waiting: list[np.ndarray] = []
        self._before = 0  # samples of context ahead of the next block

    def process(self, wave: np.ndarray) -> np.ndarray:
        """Take the next samples (n,); return the frames (t, 3) that are finished."""
        self._take(wave, last=False)
        needed = self._before + self._block + self._context
        if sum(map(len, self._waiting)) < needed:
            return self._nothing()
        return self._hear(last=False)

    def finish(self) -> np.ndarray:
        """End the recording: return the other frames (t, 3)."""
        self._take(np.zeros(0, np.float32), last=True)
        if not self._before and not sum(map(len, self._waiting)):
            # Nothing, or a few samples that resampling has swallowed: one frame.
            return self._vad.run(np.zeros(1, np.float32), self._vector)[:1]
        return self._hear(last=True)

    def _take(self, wave: np.ndarray, last: bool) -> None:
        wave = np.asarray(wave, np.float32)
        if self._resampler is not None:
            wave = self._resampler.resample_chunk(wave, last=last)
        self._waiting.append(wave)

    def _hear(self, last: bool) -> np.ndarray:
        wave = np.concatenate(self._waiting)
        frames, hop = [self._nothing()], self._vad.hop
        while len(wave) > self._before:
            end = self._before + self._block
            is_last = last and len(wave) <= end
            if not last and len(wave) < end + self._context:
                break
            posterior = self._vad.run(wave[: end + self._context], self._vector)
            first = self._before // hop
            count = None if is_last else first + self._block // hop
            frames.append(posterior[first:count])
            if is_last:
                wave = wave[:0]
            else:
                wave = wave[end - self._context :]
                self._before = self._context
        self._waiting = [wave]
        return np.concatenate(frames)

    def _nothing(self) -> np.ndarray:
        return np.zeros((0, len(self._vad.classes)), np.float32)

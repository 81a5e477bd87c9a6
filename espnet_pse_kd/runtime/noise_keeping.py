"""Takes other voices out of a recording, and leaves its noise in.

The network removes noise and voices alike. What it has removed is heard by the personal
VAD: only where that, or the recording itself, holds another voice it stays removed;
everywhere else it is put back. So noise is left as it was, but for the time in which
others speak: there it goes with them.
"""

from __future__ import annotations

import numpy as np

from espnet_pse_kd.runtime.meter import Presence
from espnet_pse_kd.runtime.pvad import OnnxPersonalVAD
from espnet_pse_kd.runtime.spectra import Queue
from espnet_pse_kd.runtime.steering import SMOOTHING_SECONDS, THRESHOLD, moving_mean
from espnet_pse_kd.runtime.stream import EnhancerStream

_FADE_SECONDS = 0.11
_MARGIN = 64  # frames on either side that no mean reaches beyond


class NoiseKeeper:
    """An `EnhancerStream` that puts back what is no other voice.

    It lags by up to 18 s, as the personal VAD does.

    Args:
        stream: what removes.
        personal_vad: what hears.
        vector: (D,) of the voice to keep, by the personal VAD's speaker encoder.
        heard: what it heard in the recording itself; None: nothing.
    """

    def __init__(
        self,
        stream: EnhancerStream,
        personal_vad: OnnxPersonalVAD,
        vector: np.ndarray,
        heard: Presence | None = None,
    ) -> None:
        self.sample_rate = stream.sample_rate
        self._stream = stream
        self._vad = personal_vad.stream(vector, stream.sample_rate)
        self._other = personal_vad.classes.index("ntss")
        self._hop_seconds = personal_vad.hop / personal_vad.sample_rate
        self._known = None if heard is None else heard.others
        self._posterior = np.zeros(0, np.float32)
        self._given, self._finished = Queue(), Queue(2)
        self._position = 0

    def process(self, chunk: np.ndarray) -> np.ndarray:
        """Take the next samples (n,), return what is finished: (m,)."""
        self._given.push(chunk)
        self._listen(self._stream.process(chunk))
        settled = len(self._posterior) - _MARGIN
        return self._mixed(int(settled * self._hop_seconds * self.sample_rate))

    def flush(self) -> np.ndarray:
        """Return the rest (m,): all together as long as what was taken."""
        self._listen(self._stream.flush())
        self._posterior = np.concatenate(
            [self._posterior, self._vad.finish()[:, self._other]]
        )
        return self._mixed(self._position + len(self._finished))

    def _listen(self, enhanced: np.ndarray) -> None:
        """Hear what is missing of the next samples (n,)."""
        removed = self._given.pop(len(enhanced)) - enhanced
        self._finished.push(np.stack([enhanced, removed], axis=1))
        heard = self._vad.process(removed)[:, self._other]
        self._posterior = np.concatenate([self._posterior, heard])

    def _mixed(self, end: int) -> np.ndarray:
        """The samples up to ``end``."""
        start, count = self._position, max(0, end - self._position)
        enhanced, removed = self._finished.pop(count).T
        self._position += len(enhanced)
        return enhanced + (1 - self._voices(start, len(enhanced))) * removed

    def _voices(self, start: int, count: int) -> np.ndarray:
        """Where others speak, float32 (count,), 0 to 1, from sample ``start`` on."""
        hop = self._hop_seconds * self.sample_rate
        frames = np.arange(start, start + count) / hop
        first = max(0, int(start / hop) - _MARGIN)
        last = int(frames[-1]) + _MARGIN if count else first
        tracks = [self._posterior[first:last]]
        if self._known is not None:
            tracks.append(self._known[first:last])
        length = min(map(len, tracks))
        if not length:
            return np.zeros(count, np.float32)
        width = round(SMOOTHING_SECONDS / self._hop_seconds)
        heard = [moving_mean(track[:length], width) > THRESHOLD for track in tracks]
        fade = round(_FADE_SECONDS / self._hop_seconds)
        # Whole before half of the mean is: a voice's first sound is as loud as others.
        track = np.minimum(1.5 * moving_mean(np.any(heard, axis=0), fade), 1.0)
        return np.interp(frames - first, np.arange(length), track).astype(np.float32)

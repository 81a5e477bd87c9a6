"""A stream of int16 bytes that gives as many samples as it takes."""

from __future__ import annotations

import numpy as np

from espnet_pse_kd.runtime.stream import EnhancerStream


class PcmStream:
    """Enhance blocks of 16-bit samples one by one, each to a block of its own length.

    Calls and agents pass fixed blocks on. `EnhancerStream` holds samples back at the
    start instead; here silence of that length comes first, so that the delay is
    constant.

    Args:
        stream: at the beginning of a signal.

    Attributes:
        stream: its attenuation limit may be set at any time.
    """

    def __init__(self, stream: EnhancerStream) -> None:
        self.stream = stream
        self.reset()

    def reset(self) -> None:
        """Forget the signal; the next block is a beginning."""
        self.stream.reset()
        self._ready = np.zeros(self.stream.latency_samples, np.float32)

    def process(self, block: bytes | memoryview) -> bytes:
        """Enhance the next block.

        Args:
            block: n native int16 samples of one channel.

        Returns:
            n samples, those of ``latency_samples`` before.
        """
        samples = np.frombuffer(block, np.int16)
        self._ready = np.concatenate([self._ready, self.stream.process(samples)])
        count = len(samples)
        out, self._ready = self._ready[:count], self._ready[count:]
        return np.rint(out * 32768).clip(-32768, 32767).astype(np.int16).tobytes()

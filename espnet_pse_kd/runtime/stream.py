"""A live signal through an exported network, in chunks of any length."""

from __future__ import annotations

import math
import time
import warnings
from collections import deque
from dataclasses import dataclass

import numpy as np
import soxr

from espnet_pse_kd.audio import check_rate, is_real
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.band import FULL
from espnet_pse_kd.runtime.features import LOUDEST
from espnet_pse_kd.runtime.model import StreamingModel
from espnet_pse_kd.runtime.profile import Profile
from espnet_pse_kd.runtime.steering import Steering

_RAMP_SECONDS = 0.01
_TIMED_HOPS = 6000  # the last minute
_PROBE_SECONDS = 0.5


@dataclass(frozen=True)
class Timings:
    """Time that the network took per hop, over the last minute of signal.

    Attributes:
        hops: number of hops that were timed.
        p50, p95, p99: quantiles in milliseconds, nan where nothing was timed.
    """

    hops: int
    p50: float
    p95: float
    p99: float


class EnhancerStream:
    """Enhance one channel as it comes.

    What the calls of `process` and the closing `flush` return is, put together, as long
    as the input and aligned with it sample by sample: the delay shows in when samples
    come out, never in where they lie. How the signal is cut into chunks changes
    nothing, to the last bit.

    Other sample rates go through soxr's streaming resampler (HQ) in both directions.
    It works in blocks, so that it, not the network, makes most of `latency_seconds`
    there (about 0.1 s at 48 kHz): open a live device at the model's rate where it can.

    Samples that are NaN, infinite or beyond +120 dBFS are silenced, with one warning
    per stream.

    Args:
        model: network; one model may serve many streams.
        profile: the enrolled voice: a profile, or its vector (D,), unit norm.
        sample_rate: of input and output, in Hz.
        attenuation_limit_db: how far the network may turn anything down, in dB; None
            for no limit. As in DeepFilterNet the output is ``y + 10^(-L/20) (x - y)``,
            with the aligned input ``x`` at ``sample_rate``: 0 passes the input.
        band: of the signal, see `runtime.band`; it chooses among a profile's vectors.
        steering: what to mend, where the signal is a recording that the personal VAD
            has heard already.

    Attributes:
        latency_samples: `process` holds back at most as many samples, at
            ``sample_rate``.
        latency_seconds: the same in seconds.

    Raises:
        UserError: the profile is another encoder's, or an argument makes no sense.
    """

    def __init__(
        self,
        model: StreamingModel,
        profile: Profile | np.ndarray,
        sample_rate: int = 16000,
        attenuation_limit_db: float | None = None,
        steering: Steering | None = None,
        band: str = FULL,
    ) -> None:
        check_rate(sample_rate, "sample_rate")
        self.model, self.sample_rate = model, sample_rate
        self._speaker = speaker_vector(model, profile, band)
        self._resamplers: tuple[soxr.ResampleStream, soxr.ResampleStream] | None = None
        if sample_rate != model.sample_rate:
            self._resamplers = (
                soxr.ResampleStream(sample_rate, model.sample_rate, 1, quality="HQ"),
                soxr.ResampleStream(model.sample_rate, sample_rate, 1, quality="HQ"),
            )
        self._milliseconds: deque[float] = deque(maxlen=_TIMED_HOPS)
        self._warned = False
        self._steering = steering
        self.attenuation_limit_db = attenuation_limit_db
        self.latency_samples = self._measure_latency()
        self.reset()

    @property
    def latency_seconds(self) -> float:
        return self.latency_samples / self.sample_rate

    @property
    def attenuation_limit_db(self) -> float | None:
        """May be set while the stream runs; the change is spread over 10 ms."""
        return self._limit_db

    @attenuation_limit_db.setter
    def attenuation_limit_db(self, limit_db: float | None) -> None:
        if limit_db is not None and not (is_real(limit_db) and limit_db >= 0):
            raise UserError(
                f"attenuation_limit_db: {limit_db!r:.60}; give 0 or more dB, or None"
            )
        self._limit_db = limit_db
        self._wanted_dry = 0.0 if limit_db is None else 10 ** (-limit_db / 20)

    def reset(self) -> None:
        """Forget the signal; the next chunk is a beginning."""
        self._state = self.model.init_state()
        empty = np.zeros(0, np.float32)
        self._pending, self._wet, self._dry = empty, empty, empty
        self._lag = self.model.latency - self.model.hop
        self._unfinished = 0  # samples at the model's rate that are not out yet
        self._dry_gain = self._wanted_dry
        self._position = 0
        for resampler in self._resamplers or ():
            resampler.clear()

    def process(self, chunk: np.ndarray) -> np.ndarray:
        """Take the next samples, and return those that are finished.

        Args:
            chunk: (n,), n >= 0: float32 or float64 of full scale 1, or int16.

        Returns:
            float32 (m,), see `latency_samples`.

        Raises:
            UserError: ``chunk`` has another type or shape; the stream is as before.
        """
        return self._advance(self._accept(chunk), last=False)

    def flush(self) -> np.ndarray:
        """End the signal: return all that `process` holds back, and `reset`."""
        rest = self._advance(np.zeros(0, np.float32), last=True)
        self.reset()
        return rest

    def timings(self) -> Timings:
        """How long the network takes per hop."""
        if not self._milliseconds:
            return Timings(0, np.nan, np.nan, np.nan)
        p50, p95, p99 = np.percentile(self._milliseconds, [50, 95, 99])
        return Timings(len(self._milliseconds), float(p50), float(p95), float(p99))

    def _accept(self, chunk: np.ndarray) -> np.ndarray:
        """Check a chunk: float32 (n,), a copy, finite."""
        chunk = np.asarray(chunk)
        if chunk.ndim != 1:
            raise UserError(
                f"chunk: shape {chunk.shape}; pass one channel of shape (samples,)"
            )
        if chunk.dtype == np.int16:
            return chunk.astype(np.float32) / 32768
        if chunk.dtype not in (np.float32, np.float64):
            raise UserError(
                f"chunk: {chunk.dtype} samples; pass float32, float64 or int16"
            )
        broken = ~(np.abs(chunk) <= LOUDEST)
        if broken.any() and not self._warned:
            self._warned = True
            warnings.warn(
                "input holds NaN, infinite or absurdly loud samples; they are silenced",
                RuntimeWarning,
                stacklevel=3,
            )
        return np.where(broken, 0, chunk).astype(np.float32)

    def _advance(self, x: np.ndarray, last: bool) -> np.ndarray:
        """Run (n,) samples through, and return what is finished."""
        self._dry = np.concatenate([self._dry, x])
        if self._resamplers is None:
            wet = self._enhance(x, last)
        else:
            down, up = self._resamplers
            inner = self._enhance(down.resample_chunk(x, last=last), last)
            wet = up.resample_chunk(inner, last=last)
        self._wet = np.concatenate([self._wet, wet])
        count = len(self._dry) if last else min(len(self._dry), len(self._wet))
        # Two resamplers may round the length down by a sample.
        missing = max(count - len(self._wet), 0)
        wet = np.pad(self._wet[:count], (0, missing))
        dry = self._dry[:count]
        self._wet, self._dry = self._wet[count:], self._dry[count:]
        return self._mix(wet, dry)

    def _enhance(self, x: np.ndarray, last: bool) -> np.ndarray:
        """Run samples at the model's rate: aligned output as far as it is finished."""
        hop = self.model.hop
        self._unfinished += len(x)
        pending = np.concatenate([self._pending, x])
        if last:
            # As many zeros as bring the last sample out.
            needed = self._unfinished + self._lag
            pending = np.pad(pending, (0, max(needed - len(pending), 0) + hop))
        whole = len(pending) // hop * hop
        outputs = [self._step(frame) for frame in pending[:whole].reshape(-1, hop)]
        self._pending = pending[whole:]
        output = np.concatenate([np.zeros(0, np.float32), *outputs])
        skipped = min(self._lag, len(output))
        self._lag -= skipped
        output = output[skipped : skipped + self._unfinished]
        self._unfinished -= len(output)
        return output

    def _step(self, frame: np.ndarray) -> np.ndarray:
        start = time.perf_counter()
        output, self._state = self.model.step(frame, self._speaker, self._state)
        self._milliseconds.append(1e3 * (time.perf_counter() - start))
        return output

    def _mix(self, wet: np.ndarray, dry: np.ndarray) -> np.ndarray:
        """Apply attenuation limit and steering."""
        kept = self._next_dry(len(wet))
        start, self._position = self._position, self._position + len(wet)
        if self._steering is None:
            return wet + kept * (dry - wet) if np.any(kept) else wet
        gain, floor = self._steering.at(start, len(wet), self.sample_rate)
        kept = np.maximum(kept, floor)
        return gain * (1 - kept) * wet + kept * dry

    def _next_dry(self, count: int) -> np.float32 | np.ndarray:
        """Amplitude of the input in the next samples; approached in a ramp: (n,)."""
        change = self._wanted_dry - self._dry_gain
        if not change:
            return np.float32(self._dry_gain)
        slope = 1 / (_RAMP_SECONDS * self.sample_rate)
        ramp = np.minimum(np.arange(1, count + 1) * slope, abs(change))
        gain = self._dry_gain + np.copysign(ramp, change)
        if len(gain):
            arrived = ramp[-1] >= abs(change)
            self._dry_gain = self._wanted_dry if arrived else float(gain[-1])
        return gain.astype(np.float32)

    def _measure_latency(self) -> int:
        """Most samples that are held back at any time."""
        outer, inner = self.sample_rate, self.model.sample_rate
        seconds = self.model.latency / inner
        if self._resamplers is not None:
            down, up = self._resamplers
            seconds += _held_back(down, outer, inner) + _held_back(up, inner, outer)
        return math.ceil(seconds * outer)


def _held_back(resampler: soxr.ResampleStream, rate_in: int, rate_out: int) -> float:
    """Most seconds of signal that a resampler holds back: it works in blocks."""
    chunk = np.zeros(max(rate_in // 1000, 1), np.float32)
    fed = out = 0
    most = 0.0
    while fed < _PROBE_SECONDS * rate_in:
        # What the next chunk brings may come with its last sample.
        most = max(most, (fed + len(chunk)) / rate_in - out / rate_out)
        out += len(resampler.resample_chunk(chunk))
        fed += len(chunk)
    return most


def speaker_vector(
    model: StreamingModel, profile: Profile | np.ndarray, band: str = FULL
) -> np.ndarray:
    """The float32 (D,) vector of a voice, checked against the model.

    Args:
        model: that it is for.
        profile: of the voice, or its vector.
        band: of the signal; it chooses among a profile's vectors.

    Raises:
        UserError: it is neither a profile nor a vector, or of another encoder.
    """
    if isinstance(profile, Profile):
        return profile.vector(model.speaker_encoder, model.speaker_dim, band)
    if not isinstance(profile, np.ndarray):
        raise UserError(
            f"profile: {profile!r:.60}; pass a Profile (Profile.load reads one)"
        )
    kind = profile.dtype.kind
    vector = np.asarray(profile if kind in "fiu" else np.nan, np.float32)
    if vector.shape != (model.speaker_dim,) or not np.isfinite(vector).all():
        raise UserError(
            f"speaker vector: shape {vector.shape}, or values that are not finite; "
            f"pass ({model.speaker_dim},) from the encoder {model.speaker_encoder}"
        )
    return vector

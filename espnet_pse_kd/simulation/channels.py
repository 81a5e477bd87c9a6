"""What lies between a microphone and the listener: a telephone line, or a codec."""

from __future__ import annotations

import functools
import io
from typing import Any, NamedTuple

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.simulation.draws import pick, uniform
from espnet_pse_kd.simulation.mixing import filter_centred

TELEPHONE_BAND = (300.0, 3400.0)
_MU = 255.0
_LONGEST_DELAY = 4000


class Codec(NamedTuple):
    """A lossy codec.

    Attributes:
        name: key of `CODECS`.
        compression: libsndfile's level, 0 to 1; more sounds worse.
    """

    name: str
    compression: float


CODECS: dict[str, tuple[dict[str, Any], tuple[float, float]]] = {
    "mp3": ({"format": "MP3", "subtype": "MPEG_LAYER_III"}, (0.0, 0.9)),
    "opus": ({"format": "OGG", "subtype": "OPUS"}, (0.7, 0.98)),
}
"""What libsndfile calls a codec, and the levels that are drawn.

Of 16 kHz speech they make about 20 to 40 kbit/s (MP3), 8 to 90 kbit/s (Opus).
"""


def draw_codec(rng: np.random.Generator) -> Codec:
    """One of `CODECS`, with a level."""
    name = pick(rng, list(CODECS))
    return Codec(name, uniform(rng, CODECS[name][1]))


def coded(x: np.ndarray, codec: Codec) -> np.ndarray:
    """A signal within full scale after coding and decoding, without delay.

    About 35 ms (MP3) or 100 ms (Opus) of one core for 4 s.

    Args:
        x: (samples,) at 16 kHz.
        codec: which, and how strong.

    Returns:
        float32 (samples,)

    Raises:
        UserError: the installed libsndfile does not know the codec.
    """
    import soundfile

    form, _ = CODECS[codec.name]
    file = io.BytesIO()
    try:
        soundfile.write(
            file, x, SAMPLE_RATE, compression_level=codec.compression, **form
        )
        file.seek(0)
        decoded, _ = soundfile.read(file, dtype="float32")
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        raise UserError(
            f"--codec: {codec.name}: {error}; pip install 'soundfile>=0.13', or give 0"
        ) from None
    start = _delay(x, decoded)
    decoded = decoded[start : start + len(x)]
    return np.pad(decoded, (0, len(x) - len(decoded)))


def _delay(x: np.ndarray, decoded: np.ndarray) -> int:
    """Samples by which ``decoded`` is late: encoders differ in saying it."""
    from scipy import fft

    size = fft.next_fast_len(len(x) + len(decoded), real=True)
    spectrum = fft.rfft(x, size).conj() * fft.rfft(decoded, size)
    return int(fft.irfft(spectrum, size)[:_LONGEST_DELAY].argmax())


@functools.lru_cache(maxsize=1)
def _telephone_taps() -> np.ndarray:
    from scipy.signal import firwin

    taps = firwin(257, TELEPHONE_BAND, pass_zero=False, fs=SAMPLE_RATE)
    return taps.astype(np.float32)


def band_limited(x: np.ndarray) -> np.ndarray:
    """The telephone band of a signal (samples,), without delay."""
    return filter_centred(x, _telephone_taps()).astype(np.float32)


def mu_law(x: np.ndarray) -> np.ndarray:
    """8-bit mu-law (G.711) coding and decoding of a signal within full scale."""
    magnitude = np.log1p(_MU * np.abs(x).clip(max=1.0)) / np.log1p(_MU)
    steps = np.round(np.sign(x) * magnitude * 127) / 127
    decoded = np.expm1(np.abs(steps) * np.log1p(_MU)) / _MU
    return (np.sign(steps) * decoded).astype(np.float32)

"""espeak-ng through ctypes, from the library and voices of ``espeakng_loader``."""

from __future__ import annotations

import _ctypes
import ctypes
import shutil
import tempfile
from dataclasses import dataclass

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError, how_to_install

_SYNCHRONOUS, _DONT_EXIT = 2, 0x8000
_UTF8 = 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_OK = 0
_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class _Voice(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


@dataclass(frozen=True)
class Voice:
    """A synthetic speaker.

    Attributes:
        name: speaker id.
        accent: file name of an espeak-ng language in lower case, e.g. ``en-us``.
        variant: espeak-ng voice variant, e.g. ``f3``.
        pitch: 0..100, espeak-ng's base pitch (50 is the variant's own).
        rate: words per minute, as heard.
        formant: factor on all formants, by resampling (1 is the variant's own).
        gender: ``m`` or ``f``, as the fundamental sounds.
    """

    name: str
    accent: str
    variant: str
    pitch: int
    rate: int
    formant: float
    gender: str

    @property
    def espeak_name(self) -> str:
        return f"{self.accent}+{self.variant}"


class Engine:
    """A fresh espeak-ng, for one utterance.

    The library keeps state from one utterance to the next (phases, noise, dictionary)
    that none of its calls resets, and has room for a single instance. Each engine
    therefore loads a copy of the library under a name of its own, in milliseconds: what
    it says depends on its arguments alone, whatever was synthesized before.
    """

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError:
            raise UserError(
                "espeakng_loader: not installed, it synthesizes the espeak corpus; "
                f"{how_to_install('recipe')}"
            ) from None
        path = espeakng_loader.get_library_path()
        data = espeakng_loader.get_data_path()
        try:
            with tempfile.NamedTemporaryFile(suffix=".so") as copy:
                shutil.copyfile(path, copy.name)
                self._library = ctypes.CDLL(copy.name)
        except OSError as error:
            if error.errno:  # of the copy, e.g. a full disk
                raise
            raise UserError(f"{path}: {error}; reinstall espeakng-loader") from None
        rate = self._library.espeak_Initialize(
            _SYNCHRONOUS, 0, str(data).encode(), _DONT_EXIT
        )
        if rate <= 0:
            raise UserError(f"{data}: no espeak-ng voices; reinstall espeakng-loader")
        self.rate = rate
        self._library.espeak_GetCurrentVoice.restype = ctypes.POINTER(_Voice)
        self._parts: list[np.ndarray] = []
        # The library keeps only the pointer: the callback must outlive this call.
        self._callback = _Callback(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *error: object) -> None:
        self._library.espeak_Terminate()
        _ctypes.dlclose(self._library._handle)

    def _receive(self, samples: ctypes._Pointer, count: int, events: int) -> int:
        if samples and count > 0:
            self._parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def _check(self, status: int, what: str) -> None:
        if status != _OK:
            raise UserError(
                f"{what}: espeak-ng refuses it (status {status}); "
                "reinstall espeakng-loader or correct the voice table"
            )

    def load(self, name: str) -> None:
        """Select ``accent+variant``.

        espeak-ng falls back to the plain accent, with status 0, where a variant does
        not exist; that is found by what it says it has loaded.

        Raises:
            UserError: the voice is not there.
        """
        accent, _, variant = name.partition("+")
        self._check(self._library.espeak_SetVoiceByName(name.encode()), name)
        current = self._library.espeak_GetCurrentVoice().contents
        loaded = (current.identifier or b"").decode(errors="replace")
        found_accent, _, found_variant = loaded.rpartition("/")[2].partition("+")
        if (found_accent.lower(), found_variant) != (accent.lower(), variant):
            raise UserError(
                f"{name}: espeak-ng loaded {loaded!r} instead; "
                "reinstall espeakng-loader or correct the voice table"
            )

    def _parameter(self, number: int, value: int) -> None:
        status = self._library.espeak_SetParameter(number, value, 0)
        self._check(status, f"espeak-ng parameter {number} = {value}")

    def say(self, voice: Voice, text: str, pitch_range: int, seed: int) -> np.ndarray:
        """Speak at the library's own rate: int16 (samples,), see `synthesize`."""
        self.load(voice.espeak_name)
        # Playing faster shifts the formants, and with them tempo and pitch; the
        # tempo is taken back here, the pitch is part of the voice.
        self._parameter(_RATE, round(voice.rate / voice.formant))
        self._parameter(_PITCH, voice.pitch)
        self._parameter(_RANGE, pitch_range)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        data = text.encode()
        status = self._library.espeak_Synth(
            data, len(data) + 1, 0, 1, 0, _UTF8, None, None
        )
        self._check(status, f"{voice.name}: {text!r}")
        return np.concatenate(self._parts or [np.zeros(1, np.int16)])


def synthesize(
    voice: Voice, text: str, pitch_range: int = 50, seed: int = 1
) -> np.ndarray:
    """Speak a sentence.

    Args:
        voice: who speaks.
        text: English words.
        pitch_range: 0..100, liveliness of the intonation.
        seed: of the library's noise (breath, flutter).

    Returns:
        float32 (samples,) at 16 kHz.

    Raises:
        UserError: the voice cannot be loaded, or stays silent.
    """
    import soxr

    with Engine() as engine:
        samples = engine.say(voice, text, pitch_range, seed)
        played = engine.rate * voice.formant
    if not samples.any():
        raise UserError(
            f"{voice.name} ({voice.espeak_name}): espeak-ng returned silence for "
            f"{text!r}; remove the voice from the table"
        )
    wave = soxr.resample(samples.astype(np.float32) / 32768, played, SAMPLE_RATE)
    return np.clip(wave, -1, 1)

"""The Python interface: enroll a voice, then keep it and remove everything else."""

from __future__ import annotations

import datetime
import functools
import warnings
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import soxr

from espnet_pse_kd.audio import SAMPLE_RATE, check_rate
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.pretrained import ModelFiles, find_model
from espnet_pse_kd.runtime.band import FULL, TELEPHONE, measure_band, telephone
from espnet_pse_kd.runtime.default_model import CAMPP, ENCODERS
from espnet_pse_kd.runtime.enrolment_quality import measure, refuse_unfit, shortcomings
from espnet_pse_kd.runtime.model import StreamingModel
from espnet_pse_kd.runtime.one_voice import PARTS, piece_vectors, split
from espnet_pse_kd.runtime.onnxfile import check_threads
from espnet_pse_kd.runtime.profile import Profile, VoiceVector
from espnet_pse_kd.runtime.pvad import OnnxPersonalVAD
from espnet_pse_kd.runtime.recording import RecordingEnhancer
from espnet_pse_kd.runtime.speaker_encoder import OnnxSpeakerEncoder
from espnet_pse_kd.runtime.steering import Steering
from espnet_pse_kd.runtime.stream import EnhancerStream


class PersonalizedEnhancer:
    """Keeps one enrolled voice in a signal and removes everything else.

    NumPy in, NumPy out, on onnxruntime: neither torch nor ESPnet is imported, unless
    the model is a PyTorch one, which is exported once.

    Args:
        files: of one model.
        threads: CPU threads; networks of this size gain nothing from more than one.

    Raises:
        UserError: a file is missing, damaged or of a newer version, or the number of
            threads is not within 1 and 1024.

    Example:
        >>> import numpy as np
        >>> from espnet_pse_kd import PersonalizedEnhancer
        >>> enhancer = PersonalizedEnhancer.from_pretrained(MODEL)
        >>> profile = enhancer.enroll(VOICE, rate=16000)
        >>> noisy = np.random.default_rng(0).normal(0, 0.1, 48000)  # 1 s at 48 kHz
        >>> enhanced = enhancer(noisy, 48000, profile)
        >>> enhanced.shape, enhanced.dtype
        ((48000,), dtype('float32'))

        The same while it comes in:

        >>> stream = enhancer.stream(profile, sample_rate=48000)
        >>> pieces = [stream.process(chunk) for chunk in np.split(noisy, 100)]
        >>> streamed = np.concatenate([*pieces, stream.flush()])
        >>> bool(np.array_equal(streamed, enhanced))
        True
    """

    def __init__(self, files: ModelFiles, threads: int = 1) -> None:
        check_threads(threads, "threads:")
        self.files = files
        self.model = StreamingModel(files.student, threads)

    @classmethod
    def from_pretrained(
        cls, source: str | Path | None = None, threads: int = 1
    ) -> PersonalizedEnhancer:
        """Load a model.

        Args:
            source: None for the package's own; otherwise a folder, an ``.onnx`` file, a
                packed zip or a tag of the model zoo, see `pretrained.find_model`.
            threads: CPU threads.
        """
        return cls(find_model(source), threads)

    @cached_property
    def speaker_encoder(self) -> OnnxSpeakerEncoder:
        """What makes the vector of a voice; loaded when first asked for.

        Raises:
            UserError: the model was trained with vectors of another encoder.
        """
        encoder = OnnxSpeakerEncoder(_existing(self.files.speaker_encoder))
        if encoder.identity != self.model.speaker_encoder:
            raise UserError(
                f"{self.files.speaker_encoder}: speaker encoder {encoder.identity}, "
                f"the model needs {self.model.speaker_encoder}; put its "
                f"{self.files.speaker_encoder.name} beside the model"
            )
        return encoder

    @cached_property
    def speaker_encoders(self) -> list[OnnxSpeakerEncoder]:
        """The model's encoder, and all of the package."""
        return list({one.identity: one for one in self._encoders()}.values())

    def _encoders(self) -> Iterator[OnnxSpeakerEncoder]:
        """The same one by one, each loaded when it is reached; some may be twice."""
        yield self.speaker_encoder
        yield from map(shared_encoder, filter(Path.is_file, ENCODERS.values()))

    @property
    def voice_judge(self) -> OnnxSpeakerEncoder | None:
        """CAM++, which tells voices apart; None where the install lacks it."""
        return shared_encoder(CAMPP) if CAMPP.is_file() else None

    @cached_property
    def personal_vad(self) -> OnnxPersonalVAD:
        """What tells where the voice speaks; loaded when first asked for.

        It may hear by another speaker encoder than the one that steers the network.
        """
        path = _existing(self.files.personal_vad)
        return OnnxPersonalVAD(path, self._encoders())

    def enroll(
        self, wave: np.ndarray, rate: int, sources: tuple[str, ...] = ("enrolment",)
    ) -> Profile:
        """Make a profile of a voice.

        It holds vectors of every encoder that the model or one of the package needs,
        of the speech as it is and as a telephone would have it. Warns (`UserWarning`)
        of short, noisy or clipped speech, and of what may be two voices.

        Args:
            wave: (N,) or (N, channels), speech of one person, full scale = 1.
            rate: Hz.
            sources: where the speech is from, kept in the profile.

        Raises:
            UserError: silence, less than 1.5 s of speech, a tone or a noise instead of
                speech, or samples that are not finite.
        """
        check_rate(rate, "rate")
        name = ", ".join(sources)
        speech = soxr.resample(_mono(wave, name), rate, SAMPLE_RATE)
        recording = measure(speech)
        refuse_unfit(recording, name)
        for text in shortcomings(recording):
            warnings.warn(f"{name}: {text}", stacklevel=2)
        self._warn_of_two_voices(speech, name)
        bands = {FULL: speech, TELEPHONE: telephone(speech)}
        return Profile(
            vectors=tuple(
                VoiceVector(encoder.identity, band, encoder.embed(heard, name))
                for encoder in self.speaker_encoders
                for band, heard in bands.items()
            ),
            seconds=round(recording.speech, 2),
            level_dbfs=round(recording.level, 1),
            snr_db=round(recording.snr, 1),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            sources=sources,
            band=measure_band([speech], SAMPLE_RATE),
        )

    def _warn_of_two_voices(self, speech: np.ndarray, name: str) -> None:
        if self.voice_judge is None:
            return
        parts = split(piece_vectors(self.voice_judge, speech))
        if parts.similarity < PARTS.doubtful:
            warnings.warn(
                f"{name}: possibly two voices, {parts.seconds:.0f} s of it and the "
                f"rest (similarity {parts.similarity:.2f}); enroll one person",
                stacklevel=3,
            )

    def __call__(
        self,
        wave: np.ndarray,
        rate: int,
        profile: Profile,
        attenuation_limit_db: float | None = None,
        look_ahead: bool = False,
    ) -> np.ndarray:
        """Enhance a whole signal.

        Where most of its speech is as narrow as a telephone's, the profile's vector of
        that band is used.

        Args:
            wave: (N,), full scale = 1.
            rate: Hz; the network hears and gives nothing beyond 8 kHz.
            profile: of the voice to keep.
            attenuation_limit_db: how far anything may be turned down; None: no limit.
            look_ahead: let the personal VAD hear the whole signal first: it protects
                the voice where it is heard, and turns its long absences down, see
                `runtime.steering`. No stream can have it.

        Returns:
            float32 (N,), aligned with ``wave``.

        Raises:
            UserError: several channels, samples that are not finite, the profile of
                another speaker encoder, or an argument of another type.
        """
        wave = np.asarray(wave)
        if wave.ndim != 1:
            raise UserError(
                f"wave: shape {wave.shape}; pass one channel of shape (samples,)"
            )
        if not isinstance(look_ahead, bool | np.bool_):
            raise UserError(f"look_ahead: {look_ahead!r:.60}; give True or False")
        check_rate(rate, "rate")
        blocks = [_mono(wave, "wave")[:, None]]
        recording = self.recording(
            profile,
            rate,
            attenuation_limit_db=attenuation_limit_db,
            band=measure_band(blocks, rate),
        )
        if look_ahead:
            recording.steer(recording.hear(self.personal_vad, blocks))
        return np.concatenate([*recording.enhance(blocks)])[:, 0]

    def recording(
        self,
        profile: Profile,
        sample_rate: int,
        channels: int = 1,
        per_channel: bool = False,
        attenuation_limit_db: float | None = None,
        keep_above: bool = False,
        band: str = FULL,
    ) -> RecordingEnhancer:
        """Start a recording that is read block by block; see `RecordingEnhancer`."""
        return RecordingEnhancer(
            self.model,
            profile,
            sample_rate,
            channels,
            per_channel,
            attenuation_limit_db,
            keep_above,
            band,
        )

    def stream(
        self,
        profile: Profile,
        sample_rate: int = SAMPLE_RATE,
        attenuation_limit_db: float | None = None,
        steering: Steering | None = None,
        band: str = FULL,
    ) -> EnhancerStream:
        """Start a stream; see `EnhancerStream`. Streams do not disturb each other."""
        return EnhancerStream(
            self.model, profile, sample_rate, attenuation_limit_db, steering, band
        )


@functools.cache
def shared_encoder(path: Path) -> OnnxSpeakerEncoder:
    """An encoder of the package, loaded once."""
    return OnnxSpeakerEncoder(path)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(
            f"{path}: no such file, neither the model nor this install has one; put "
            f"{path.name} beside the model (pse-kd export writes it)"
        )
    return path


def _mono(wave: np.ndarray, name: str) -> np.ndarray:
    """(N,) or (N, channels) of any type to finite float32 (N,), full scale = 1."""
    wave = np.asarray(wave)
    if wave.ndim not in (1, 2) or not wave.size:
        raise UserError(f"{name}: shape {wave.shape}; pass samples, (N,)")
    if wave.dtype == np.int16:
        wave = wave.astype(np.float32) / 32768
    if wave.dtype.kind != "f":
        raise UserError(f"{name}: {wave.dtype} samples; pass float32, float64 or int16")
    wave = wave.astype(np.float32)
    if not np.isfinite(wave).all():
        raise UserError(f"{name}: holds NaN or infinite samples; repair it first")
    return wave if wave.ndim == 1 else wave.mean(1)

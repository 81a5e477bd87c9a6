"""From a sample as it lies in the data folders to what the models take."""

from __future__ import annotations

from typing import Any

import numpy as np
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.train.preprocessor import AbsPreprocessor

from espnet_pse_kd.enrolment_vectors import EnrolmentVectors, sample_generator
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.speaker import WINDOW_HOP
from espnet_pse_kd.stft import num_frames

_SIGNALS = ("speech_mix", "speech_ref1", "interf_ref1")


class PSEPreprocessor(AbsPreprocessor):
    """Puts the enrolment vector in place of its name and checks the signals.

    Args:
        train: part of ESPnet's interface; both modes do the same.
        vectors: vectors of the split's enrolment clips.
        seed: seed of the draw among a speaker's clips.
    """

    def __init__(self, train: bool, vectors: EnrolmentVectors, seed: int = 0) -> None:
        super().__init__(train)
        self.vectors = vectors
        self.seed = seed
        self.epoch = 0

    def __call__(self, uid: str, data: dict[str, Any]) -> dict[str, np.ndarray]:
        """Prepare one sample.

        Args:
            uid: key of the sample.
            data: ``enroll_ref1``: a line of ``enroll_id``; signals: (N,);
                ``window_vectors``: (K, D) with ``K = ceil(N / 4000) + 1``.

        Returns:
            the same with ``enroll_ref1`` as float32 (1, D).

        Raises:
            UserError: signals that are not mono, not finite or of different lengths,
                or window vectors of another mixture.
        """
        generator = sample_generator(self.seed, self.epoch, uid)
        vector = self.vectors.vector(data["enroll_ref1"], generator)
        _check_signals(uid, data)
        return {**data, "enroll_ref1": vector[None]}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vectors={self.vectors.name}, seed={self.seed})"


def _check_signals(uid: str, data: dict[str, Any]) -> None:
    shape = data["speech_mix"].shape
    if len(shape) != 1:
        raise UserError(f"{uid}: the mixture has shape {shape}; give mono files")
    for name in _SIGNALS:
        if name not in data:
            continue
        signal = data[name]
        if signal.shape != shape:
            raise UserError(
                f"{uid}: {name} has shape {signal.shape}, the mixture {shape}; run "
                "stage 2 again"
            )
        if not np.isfinite(signal).all():
            raise UserError(f"{uid}: {name} holds NaN or infinite samples; replace it")
    if "window_vectors" in data:
        found, wanted = len(data["window_vectors"]), num_frames(shape[0], WINDOW_HOP)
        if found != wanted:
            raise UserError(
                f"{uid}: {found} window vectors for a mixture that has {wanted}; run "
                "stage 3 again"
            )


class EpochIterFactory(AbsIterFactory):
    """Tells the preprocessor which epoch an iterator belongs to.

    ESPnet's preprocessors do not know the epoch; without it a draw could only depend
    on the global generator, hence on the number of workers and on resumption.
    """

    def __init__(self, factory: AbsIterFactory, preprocessor: PSEPreprocessor) -> None:
        self.factory = factory
        self.preprocessor = preprocessor

    def build_iter(self, epoch: int, shuffle: bool | None = None):
        """Iterator of an epoch, as `AbsIterFactory` defines it."""
        self.preprocessor.epoch = epoch
        return self.factory.build_iter(epoch, shuffle)

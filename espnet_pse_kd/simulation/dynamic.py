"""Dynamic mixing: every training sample is drawn anew, none is written.

Sample ``i`` of epoch ``e`` is number ``e * N + i`` of an endless set. It follows from
options, seed and number alone: other numbers of workers, a resumed training and a
fork of it see the same mixtures.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from espnet_pse_kd.enrolment_vectors import EnrolmentVectors
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.simulation.draws import chance, generator
from espnet_pse_kd.simulation.options import SimulationOptions
from espnet_pse_kd.simulation.simulator import Simulator
from espnet_pse_kd.simulation.trial import Trial

SET = "train"


@dataclass(frozen=True)
class DynamicMixing:
    """What a training that mixes for itself draws from.

    Attributes:
        data: folder that stage 1 wrote; its ``train`` split is used.
        samples: samples per epoch.
        seed: decides every mixture.
        vector_noise: standard deviation of the noise on every entry of an enrolment
            vector, so that clips are not learnt by heart.
        interpolation: share of the samples whose enrolment vector lies between those
            of two clips of the speaker.
        options: fields of `SimulationOptions` that differ from their defaults.
    """

    data: str
    samples: int
    seed: int = 0
    vector_noise: float = 0.02
    interpolation: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise UserError(f"dynamic_mixing: samples {self.samples}; give at least 1")
        if self.vector_noise < 0:
            raise UserError(
                f"dynamic_mixing: vector_noise {self.vector_noise}; give 0 or more"
            )

        if not 0 <= self.interpolation <= 1:
            raise UserError(
                f"dynamic_mixing: interpolation {self.interpolation}; give 0 to 1"
            )

    @property
    def simulation(self) -> SimulationOptions:
        """The simulation's options.

        Raises:
            UserError: an unknown option, or a bad value.
        """
        known = {one.name for one in fields(SimulationOptions)}
        unknown = sorted(set(self.options) - known)
        if unknown:
            raise UserError(
                f"dynamic_mixing: unknown option {unknown[0]!r}; write one of "
                f"{', '.join(sorted(known))}"
            )
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in self.options.items()
        }
        return SimulationOptions(**values)

    def simulator(self) -> Simulator:
        """Of the training split.

        Raises:
            UserError: see `load_inventory`.
        """
        return Simulator.open(Path(self.data), "train", self.simulation, self.seed)


class MixtureDataset(Dataset[tuple[str, dict[str, np.ndarray]]]):
    """The endless set of mixtures, by number.

    Args:
        conf: what is drawn from.
        vectors: of the enrolment clips of the same options and seed.

    Raises:
        UserError: a clip has no vector.
    """

    def __init__(self, conf: DynamicMixing, vectors: EnrolmentVectors) -> None:
        self.conf, self.vectors = conf, vectors
        self.simulator = conf.simulator()
        vectors.check(self.simulator.clips.ids())

    def __getitem__(self, number: int) -> tuple[str, dict[str, np.ndarray]]:
        """Name and data of one sample.

        Returns:
            ``speech_mix``, ``speech_ref1``, ``interf_ref1`` (N,) and ``enroll_ref1``
            (1, D), all float32.
        """
        trial, rendered = self.simulator.sample(SET, number)
        mixture, target, interferer = rendered.signals
        rng = generator(self.conf.seed, "vector_noise", number)
        vector = self._between(
            self.vectors.vector(trial.enroll_clip, rng), trial, number
        )
        if self.conf.vector_noise:
            noise = rng.standard_normal(len(vector))
            vector = vector + self.conf.vector_noise * noise.astype(np.float32)
        data = {
            "speech_mix": mixture,
            "speech_ref1": target,
            "interf_ref1": interferer,
            "enroll_ref1": vector[None],
        }
        return trial.uid, data

    def _between(self, vector: np.ndarray, trial: Trial, number: int) -> np.ndarray:
        """The vector (D,), or a unit vector towards another clip of the speaker."""
        own = generator(self.conf.seed, "interpolation", number)
        if not chance(own, self.conf.interpolation):
            return vector
        other = self.vectors.vector(trial.enroll_id, own)
        part = np.float32(own.uniform(0.0, 0.5))
        mixed = (1 - part) * vector + part * other
        return mixed / np.linalg.norm(mixed)

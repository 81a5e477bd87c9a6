"""A weights folder of exported, untrained networks, and voices to enroll."""

from __future__ import annotations

import shutil
from pathlib import Path

import exported
import numpy as np
import pytest

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.runtime.default_model import PERSONAL_VAD, SPEAKER_ENCODER, STUDENT


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the three networks; the speaker encoder is the real one."""
    folder = tmp_path_factory.mktemp("weights")
    shutil.copy(exported.student(), folder / STUDENT)
    shutil.copy(exported.speaker_encoder(), folder / SPEAKER_ENCODER)
    shutil.copy(exported.pvad()[1], folder / PERSONAL_VAD)
    return folder


def voice(seconds: float, seed: int = 0, pitch: float = 110.0) -> np.ndarray:
    """Float32 vowels at ``pitch`` Hz in syllables with pauses: (N,) at 16 kHz."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    glide = pitch * (time + 0.01 * np.sin(2 * np.pi * 0.7 * time))
    formants = [
        low * (high / low) ** (0.5 + 0.5 * np.sin(2 * np.pi * rate * time))
        for low, high, rate in ((250, 900, 1.1), (800, 2600, 0.7), (2200, 4500, 1.7))
    ]
    buzz = np.zeros(len(time))
    for k in range(1, int(7000 / pitch)):
        gain = sum(1 / (1 + ((k * pitch - f) / 150) ** 2) for f in formants) + 0.003
        buzz += gain * np.sin(2 * np.pi * k * glide + rng.uniform(0, 6))
    syllables = np.abs(np.sin(2 * np.pi * 2.0 * time)) * (time % 3.0 < 2.5)
    return (0.026 * buzz * syllables).astype(np.float32)

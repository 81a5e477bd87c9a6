"""`tools.soak`: it sees a lost sample, a drift, and a program that ends early."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_fixture import me
from weights_fixture import voice, weights

from espnet_pse_kd import PersonalizedEnhancer, Profile
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError
from tools import soak

__all__ = ["me", "weights"]  # fixtures

THREE_MINUTES = 3 / 60


class Worn:
    """A stream that passes its input; ``wear`` spoils block number ``at``."""

    def __init__(self, at: int = -1, lost: int = 0, gain: float = 1.0) -> None:
        self.at, self.lost, self.gain, self.number = at, lost, gain, 0

    def process(self, block: np.ndarray) -> np.ndarray:
        self.number += 1
        if self.number == self.at:
            return block[self.lost :] * self.gain
        return block

    def flush(self) -> np.ndarray:
        return np.zeros(0, np.float32)


@pytest.fixture(scope="module")
def minute() -> np.ndarray:
    return np.resize(voice(10), soak.MINUTE)


def run(worn: Worn, minute: np.ndarray) -> None:
    soak.soak_stream(worn, minute, THREE_MINUTES)  # type: ignore[arg-type]


def test_nothing_lost(minute: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    run(Worn(), minute)
    assert (
        "2880000 samples in and out, largest difference 0.0" in capsys.readouterr().out
    )


def test_a_lost_sample_and_a_drift_are_seen(minute: np.ndarray) -> None:
    blocks = len(list(soak._blocks(minute)))
    with pytest.raises(UserError, match="minute 3: 959999 samples, not 960000"):
        run(Worn(2 * blocks + 5, lost=1), minute)
    with pytest.raises(UserError, match="2879999 samples came out, 2880000 went in"):
        run(Worn(5, lost=1), minute)
    loud = next(
        number
        for number, block in enumerate(soak._blocks(minute), 1)
        if np.abs(block).max() > 0.01
    )
    with pytest.raises(UserError, match="unlike the second one"):
        run(Worn(2 * blocks + loud, gain=1.1), minute)


def test_blocks_are_the_minute(minute: np.ndarray) -> None:
    blocks = list(soak._blocks(minute))
    assert {len(block) for block in blocks[:-1]} == set(soak.BLOCKS)
    np.testing.assert_array_equal(np.concatenate(blocks), minute)


def test_real_stream(weights: Path, me: Path) -> None:
    """Drift shows within minutes where there is any: six of one second each."""
    stream = PersonalizedEnhancer.from_pretrained(weights).stream(Profile.load(me))
    second = voice(1, seed=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(soak, "MINUTE", SAMPLE_RATE)
        patch.setattr(soak, "TOLERANCE", 1.0)
        soak.soak_stream(stream, second, 6 / 60)


def test_memory() -> None:
    before = soak.memory_mb()
    kept = np.ones(25_000_000, np.float32)
    assert soak.memory_mb() - before == pytest.approx(100, abs=20)
    assert kept[0] == 1


def test_speech_of_another_rate(tmp_path: Path) -> None:
    import soundfile

    path = tmp_path / "speech.wav"
    soundfile.write(path, np.zeros(100), 8000)
    with pytest.raises(UserError, match="100 samples at 8000 Hz; give 16 kHz"):
        soak.a_minute_of(path)


@pytest.mark.dev
def test_live(me: Path, capfd: pytest.CaptureFixture[str], minute: np.ndarray) -> None:
    if not shutil.which("pulseaudio"):
        pytest.skip("needs pulseaudio and pulseaudio-utils")
    pytest.importorskip("sounddevice")
    soak.soak_live(me, minute, 5 / 3600)
    assert "80000 samples of 80000" in capfd.readouterr().out

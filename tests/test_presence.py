"""What the personal VAD, hearing the voice, does to an enhanced recording."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_pse_kd.runtime.steering import steer

HOP = 0.01
RATE = 100  # one sample per frame
CLOSED = 10 ** (-30 / 20)  # what docs/faq.md promises, not what a constant says
KEPT = 10 ** (-10 / 20)
FRAMES = 400  # 4 s


def heard_at(first: int, count: int, length: int = 3000) -> np.ndarray:
    posterior = np.zeros(length, np.float32)
    posterior[first : first + count] = 1
    return posterior


def test_the_voice_counts_as_present_four_seconds_around_it() -> None:
    found = np.flatnonzero(steer(heard_at(1500, 100), HOP).gain > 0.5)
    assert found[0] == pytest.approx(1500 - FRAMES, abs=10)
    assert found[-1] == pytest.approx(1600 + FRAMES, abs=10)
    assert len(found) == found[-1] - found[0] + 1


def test_what_is_half_sure_is_heard() -> None:
    """From a posterior of one half on, over a fifth of a second."""
    for value, heard in ((0.45, False), (0.55, True)):
        assert (steer(value * heard_at(1500, 100), HOP).floor > 0).any() == heard


def test_a_protection_ends_a_quarter_of_a_second_after_the_voice() -> None:
    floor = steer(heard_at(1500, 100), HOP).floor
    held = np.flatnonzero(floor > 0)
    # Heard where the mean over 0.2 s exceeds one half, then 0.25 s, then a fade.
    assert held[0] == pytest.approx(1500 - 50, abs=2)
    assert held[-1] == pytest.approx(1600 + 50, abs=2)
    assert floor.max() == pytest.approx(KEPT, rel=1e-6)


def test_a_blip_is_no_voice() -> None:
    steering = steer(heard_at(1500, 8), HOP)
    np.testing.assert_allclose(steering.gain, CLOSED, rtol=1e-6)
    assert not steering.floor.any()


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("length", [1, 7, 5000])
def test_all_or_nothing(value: float, length: int) -> None:
    steering = steer(np.full(length, value, np.float16), HOP)
    np.testing.assert_allclose(steering.gain, value or CLOSED, atol=1e-6)
    np.testing.assert_allclose(steering.floor, KEPT * value, atol=1e-6)
    assert steering.gain.dtype == steering.floor.dtype == np.float32


@given(
    first=st.integers(0, 2999),
    count=st.integers(1, 600),
    length=st.integers(600, 3000),
)
def test_speech_that_is_heard_is_protected(first: int, count: int, length: int) -> None:
    posterior = heard_at(first, count, length)
    steering = steer(posterior, HOP)
    gain, floor = steering.gain, steering.floor
    assert len(gain) == len(floor) == length
    assert gain.min() >= CLOSED - 1e-6 and gain.max() <= 1 + 1e-6
    assert floor.min() >= 0 and floor.max() <= KEPT + 1e-6
    if posterior.sum() > 20:
        np.testing.assert_allclose(gain[posterior > 0], 1, atol=1e-6)
    for track in (gain, floor):
        assert np.abs(np.diff(track)).max() < 0.03  # a fade, not a click
    # A network that removes everything cannot remove the voice where it is heard.
    _, left = steering.at(0, length, RATE)
    spoken = np.flatnonzero(posterior)
    time = np.arange(length)
    if len(spoken):
        if len(spoken) > 20:
            assert left[spoken].min() > 0.95 * KEPT
        far = (time < spoken[0] - 65) | (time > spoken[-1] + 65)
        np.testing.assert_array_equal(left[far], 0)


@given(
    cut=st.integers(0, 47999),
    rate=st.sampled_from([8000, 16000, 44100, 48000]),
)
def test_samples_do_not_depend_on_the_blocks(cut: int, rate: int) -> None:
    steering = steer(heard_at(500, 100), HOP)
    whole = np.array(steering.at(0, 48000, rate))
    parts = [steering.at(0, cut, rate), steering.at(cut, 48000 - cut, rate)]
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole)

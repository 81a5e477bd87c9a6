"""Where the enrolled voice is absent for long, and the gain that mutes it there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_pse_kd.runtime import presence
from espnet_pse_kd.runtime.presence import at_samples, gains, present

HOP = 0.01
CLOSED = 10 ** (-presence.DEPTH_DB / 20)
FRAMES = round(presence.REACH_SECONDS / HOP)


def heard_at(first: int, count: int, length: int = 3000) -> np.ndarray:
    posterior = np.zeros(length, np.float32)
    posterior[first : first + count] = 1
    return posterior


def test_the_voice_counts_as_present_four_seconds_around_it() -> None:
    found = np.flatnonzero(present(heard_at(1500, 100), HOP))
    assert found[0] == pytest.approx(1500 - FRAMES, abs=10)
    assert found[-1] == pytest.approx(1600 + FRAMES, abs=10)
    assert len(found) == found[-1] - found[0] + 1


def test_a_blip_is_no_voice() -> None:
    assert not present(heard_at(1500, 8), HOP).any()


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("length", [1, 7, 5000])
def test_all_or_nothing(value: float, length: int) -> None:
    gain = gains(np.full(length, value, np.float16), HOP)
    np.testing.assert_allclose(gain, value or CLOSED, atol=1e-6)
    assert gain.dtype == np.float32


@given(
    first=st.integers(0, 2999),
    count=st.integers(1, 600),
    length=st.integers(600, 3000),
)
def test_speech_that_is_heard_is_never_turned_down(
    first: int, count: int, length: int
) -> None:
    posterior = heard_at(first, count, length)
    gain = gains(posterior, HOP)
    assert len(gain) == length
    assert gain.min() >= CLOSED - 1e-6 and gain.max() <= 1 + 1e-6
    if posterior.sum() > 20:
        np.testing.assert_allclose(gain[posterior > 0], 1, atol=1e-6)
    assert np.abs(np.diff(gain)).max() < 0.03  # a fade, not a click


@given(
    cut=st.integers(0, 47999),
    rate=st.sampled_from([8000, 16000, 44100, 48000]),
)
def test_samples_do_not_depend_on_the_blocks(cut: int, rate: int) -> None:
    gain = gains(heard_at(500, 100), HOP)
    whole = at_samples(gain, HOP, 0, 48000, rate)
    parts = [at_samples(gain, HOP, 0, cut, rate)]
    parts.append(at_samples(gain, HOP, cut, 48000 - cut, rate))
    np.testing.assert_array_equal(np.concatenate(parts), whole)

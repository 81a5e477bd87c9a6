"""Frames, activity labels and the moves between frame rates."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_pse_kd import activity as act
from espnet_pse_kd.stft import HOP, istft, num_frames, stft


@given(st.integers(1, 3000))
@settings(max_examples=40, deadline=None)
def test_istft_inverts_stft_at_every_length(length):
    x = torch.randn(2, length, dtype=torch.float64)
    spectrum = stft(x)
    assert spectrum.shape == (2, num_frames(length), 257)
    assert torch.allclose(istft(spectrum, length), x, atol=1e-12)


def test_white_noise_keeps_its_variance_in_every_bin():
    x = 0.1 * torch.randn(400_000)
    assert stft(x).abs().square()[2:-2].mean() == pytest.approx(0.01, rel=0.02)


def test_activity_thresholds_are_relative_and_absolute():
    x = torch.zeros(HOP * 40)
    x[HOP * 10 : HOP * 12] = 0.1
    x[HOP * 30 : HOP * 32] = 0.1 * 10 ** (-24 / 20)  # inside 25 dB of the peak
    quiet = x.clone()
    quiet[HOP * 30 : HOP * 32] = 0.1 * 10 ** (-26 / 20)
    # Frame t covers samples 256 (t - 1) .. 256 (t + 1).
    assert act.activity(x).nonzero()[:, 0].tolist() == [10, 11, 12, 31]
    assert act.activity(quiet).nonzero()[:, 0].tolist() == [10, 11, 12]
    assert not act.activity(x * 10 ** (-51 / 20)).any()  # below -70 dBFS throughout
    assert not act.activity(torch.zeros(1)).any()


def test_widen_adds_two_frames_on_each_side_and_stops_at_the_ends():
    active = torch.zeros(2, 12, dtype=torch.bool)
    active[0, 5] = active[1, 0] = active[1, 11] = True
    assert act.widen(active)[0].nonzero()[:, 0].tolist() == [3, 4, 5, 6, 7]
    assert act.widen(active)[1].nonzero()[:, 0].tolist() == [0, 1, 2, 9, 10, 11]
    assert torch.equal(act.widen(active, 0), active)


def test_overlapped_speech_counts_as_the_target():
    burst = torch.zeros(HOP * 30)
    burst[HOP * 10 : HOP * 15] = 0.1
    later = burst.roll(HOP * 5)
    classes = act.vad_classes(burst, later)
    assert classes[12] == act.TSS and classes[15] == act.TSS
    assert classes[20] == act.NTSS and classes[0] == act.NS
    assert (act.vad_classes(burst * 0, burst * 0) == act.NS).all()


@given(st.integers(400, 60_000), st.sampled_from([(160, 256), (256, 160), (4000, 256)]))
@settings(max_examples=50, deadline=None)
def test_resampled_frames_keep_their_time(samples, hops):
    hop_from, hop_to = hops
    times = torch.arange(num_frames(samples, hop_from)) * float(hop_from)
    moved = act.resample_frames(times[None], *hops, num_frames(samples, hop_to))[0]
    wanted = torch.arange(num_frames(samples, hop_to)) * float(hop_to)
    assert torch.allclose(moved, wanted.clamp(max=times[-1].item()), atol=0.1)
    labels = act.resample_frames(
        (times > samples / 2)[None], *hops, num_frames(samples, hop_to)
    )
    onset = int(labels[0].long().argmax()) * hop_to if labels.any() else samples
    assert abs(onset - samples / 2) <= hop_from + hop_to or not labels.any()


def test_resampling_a_table_of_vectors():
    values = torch.stack([torch.arange(5.0), -torch.arange(5.0)], -1)[None]
    moved = act.resample_frames(values, 4000, 1000, 17)
    assert moved.shape == (1, 17, 2)
    assert torch.allclose(moved[0, :, 0], torch.arange(17) / 4)
    assert torch.allclose(moved[0, :, 1], -torch.arange(17) / 4)

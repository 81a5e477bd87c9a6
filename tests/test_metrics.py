"""Metrics against values worked out by hand and against other implementations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_pse_kd.metrics import distillmos, frames, intervals, quality, teacher
from espnet_pse_kd.metrics.leakage import (
    audible_share,
    leakage,
    leakage_reduction,
    silent_stretches,
)
from espnet_pse_kd.metrics.oracle import oracle_wiener
from espnet_pse_kd.metrics.recognition import normalize, word_errors
from espnet_pse_kd.metrics.separation import (
    LIMIT_DB,
    level_change,
    si_sdr,
    si_sdr_improvement,
)
from espnet_pse_kd.metrics.suppression import (
    deletion,
    local_snr,
    over_suppression,
    tsos_frames,
)

RATE = 16000


def speech_like(seed: int, seconds: float = 2.0) -> np.ndarray:
    """Coloured noise in syllable-like bursts, -26 dBFS or so."""
    rng = np.random.default_rng(seed)
    n = int(seconds * RATE)
    noise = np.convolve(rng.standard_normal(n), np.exp(-np.arange(30) / 8), "same")
    envelope = np.sin(np.pi * 4 * np.arange(n) / RATE + seed) ** 2
    return (0.02 * noise * envelope).astype(np.float32)


S, OTHER = speech_like(1), speech_like(2)
N = (0.004 * np.random.default_rng(3).standard_normal(len(S))).astype(np.float32)
X = S + OTHER + N
ZERO = np.zeros_like(S)


class TestSeparation:
    def test_by_hand(self):
        s = np.array([1.0, 0, 0, 0])
        assert si_sdr(s, [2.0, 0.2, 0, 0]) == pytest.approx(20.0)
        assert si_sdr(s, [1.0, 1.0, 1.0, 0]) == pytest.approx(-10 * math.log10(2))

    def test_against_other_libraries(self):
        import fast_bss_eval

        theirs = fast_bss_eval.si_sdr(np.float64(S)[None], np.float64(X)[None])
        assert si_sdr(S, X) == pytest.approx(float(theirs[0]), abs=1e-6)

    @given(gain=st.floats(1e-4, 1e4), sign=st.sampled_from([-1, 1]))
    def test_ignores_scale(self, gain, sign):
        assert si_sdr(S, sign * gain * X) == pytest.approx(si_sdr(S, X), abs=1e-6)

    @pytest.mark.parametrize("s,y", [(ZERO, X), (S, ZERO), (ZERO, ZERO)])
    def test_silence_is_the_floor(self, s, y):
        assert si_sdr(s, y) == -LIMIT_DB

    def test_perfect_is_the_ceiling(self):
        assert si_sdr(S, 3 * S) == LIMIT_DB

    def test_improvement(self):
        y = S + 0.1 * (X - S)
        assert si_sdr_improvement(S, X, X) == 0
        assert si_sdr_improvement(S, y, X) == pytest.approx(20, abs=0.3)

    def test_level_change(self):
        a = frames.active(S)
        assert level_change(S, S / 2, a) == pytest.approx(-6.0206, abs=1e-4)
        assert level_change(S, ZERO, a) == pytest.approx(-160)
        assert math.isnan(level_change(ZERO, X, frames.active(ZERO)))


class TestSuppression:
    @pytest.mark.parametrize("db,counts", [(-10.9, False), (-11.1, True)])
    def test_uniform_attenuation_counts_beyond_11_db(self, db, counts):
        flags = tsos_frames(S, S * 10 ** (db / 20))
        assert flags[frames.active(S)].mean() == counts

    def test_scale_free_form_ignores_level_the_printed_sum_does_not(self):
        y = oracle_wiener(S, X) * 0.4
        for gain in (1e-2, 10.0):
            assert (tsos_frames(gain * S, gain * y) == tsos_frames(S, y)).all()
        # As printed, at one frame by hand: white spectra |S| = 1, |Y| = g.
        # (1 - g^p)^2 > 0.1 at unit level for either form, so they agree there only.
        quiet, loud = 0.5 * S, 0.5 * S * 1000
        assert (
            tsos_frames(S, quiet, scale_free=False)
            == tsos_frames(1000 * S, loud, scale_free=False)
        ).all()  # because the reference is brought to -26 dBFS first

    def test_printed_form_by_hand(self):
        # A tone in the middle of a bin of a long signal: one frame's sums by hand.
        target = np.random.default_rng(0).standard_normal(RATE)
        y = 0.1 * target
        gain = math.sqrt(10**-2.6 / frames.power(target)[frames.active(target)].mean())
        t = 20
        segment = (gain * target)[256 * t - 256 : 256 * t + 256]
        window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512))
        s = np.abs(np.fft.rfft(segment * window)) / math.sqrt(256)
        lost = (s**0.3 - (0.1 * s) ** 0.3) ** 2
        expected = lost.sum() > 0.1 * (s**0.3).sum()
        assert tsos_frames(target, y, scale_free=False)[t] == expected
        threshold = lost.sum() / (s**0.3).sum()
        just_below, just_above = (
            tsos_frames(target, y, scale_free=False, gamma=threshold * k)[t]
            for k in (0.9999, 1.0001)
        )
        assert just_below and not just_above

    def test_oracle_masks(self):
        """Wiener shrinkage alone is counted; the square-root mask is not."""
        wiener = over_suppression(S, oracle_wiener(S, X), X)
        root = over_suppression(S, oracle_wiener(S, X, root=True), X)
        assert 0.05 < wiener["tsos_all"] < 0.3
        assert root["tsos_all"] == 0 == root["deletion"]

    def test_local_snr_and_its_split(self):
        assert np.median(local_snr(S, S + S)) == pytest.approx(0, abs=1e-6)
        assert np.median(local_snr(S, S + S / 10)) == pytest.approx(20, abs=1e-6)
        loud = over_suppression(S, ZERO, 1.5 * S)
        assert loud["tsos_high_snr"] == 1 and math.isnan(loud["tsos_low_snr"])
        faint = over_suppression(S, ZERO, 3 * S)
        assert faint["tsos_low_snr"] == 1 and math.isnan(faint["tsos_high_snr"])

    def test_deletion_needs_200_ms(self):
        active = np.ones(100, bool)
        flags = np.zeros(100, bool)
        flags[10:22] = True  # 12 frames, 192 ms
        assert deletion(flags, active) == 0
        flags[50:63] = True  # 13 frames, 208 ms
        assert deletion(flags, active) == pytest.approx(0.13)
        active[:56] = False
        assert deletion(flags, active) == pytest.approx(7 / 44)

    def test_removing_half_of_the_target(self):
        y = S.copy()
        y[: len(y) // 2] = 0
        scores = over_suppression(S, y, X)
        assert scores["tsos"] == pytest.approx(0.5, abs=0.1)
        assert scores["deletion"] == pytest.approx(0.5, abs=0.1)

    def test_silent_target_is_undefined(self):
        assert all(map(math.isnan, over_suppression(ZERO, X, X).values()))


class TestLeakage:
    def test_by_hand(self):
        assert leakage_reduction(X, X / 10) == pytest.approx(20, abs=1e-4)
        assert leakage_reduction(X, ZERO) == pytest.approx(160)
        assert math.isnan(leakage_reduction(ZERO, X))

    def test_audible_share(self):
        every = np.ones_like(frames.active(X))
        assert audible_share(X, X * 10 ** (-39.9 / 20), every) == 1
        assert audible_share(X, X * 10 ** (-40.1 / 20), every) == 0

    def test_stretches_skip_200_ms_after_an_offset(self):
        a = np.zeros(60, bool)
        a[10:20] = True
        chosen = silent_stretches(a)
        assert chosen[:10].all() and not chosen[10:33].any() and chosen[33:].all()

    def test_ts2_is_judged_in_the_pauses_only(self):
        s, y = S.copy(), X.copy()
        s[RATE:] = 0
        quiet = int(RATE * 1.1)
        y[quiet:] *= 0.01
        scores = leakage(s, OTHER, X, y)
        assert scores["leakage_reduction"] == pytest.approx(40, abs=1e-3)
        y[: RATE // 2] *= 100  # what happens while the target speaks does not matter
        assert leakage(s, OTHER, X, y) == scores

    def test_ts3_is_judged_as_a_whole(self):
        assert leakage(ZERO, OTHER, X, X / 1000)["leakage_reduction"] == pytest.approx(
            60
        )
        assert leakage(ZERO, OTHER, X, X / 1000)["leak_audible"] == 0
        assert leakage(ZERO, OTHER, X, X)["leak_audible"] == 1


class TestIntervals:
    @settings(max_examples=30)
    @given(
        values=st.lists(st.floats(-100, 100), min_size=1, max_size=12),
        data=st.data(),
    )
    def test_weighted_statistics_equal_repetition(self, values, data):
        counts = data.draw(
            st.lists(
                st.integers(0, 4), min_size=len(values), max_size=len(values)
            ).filter(any)
        )
        v, w = np.array(values), np.array([counts], float)
        repeated = np.repeat(v, counts)
        assert intervals.median(v, w)[0] == pytest.approx(np.median(repeated))
        assert intervals.mean(v, w)[0] == pytest.approx(repeated.mean())
        few = intervals.worst(v, w, part=1 / len(repeated))[0]
        assert few == pytest.approx(repeated.min())

    def test_worst_and_ratio(self):
        v = np.arange(100.0)
        assert intervals.worst(v, np.ones((1, 100)))[0] == 2.0  # mean of 0..4
        counts = np.array([[1.0, 10], [3, 10]])
        assert intervals.ratio(counts, np.ones((1, 2)))[0] == pytest.approx(0.2)

    def test_speakers_not_trials_make_the_interval(self):
        """A thousand copies of four speakers' values are still four speakers."""
        v, spk = np.array([0.0, 1, 2, 3]), list("abcd")
        one = intervals.bootstrap_interval(v, spk)
        many = intervals.bootstrap_interval(np.tile(v, 1000), spk * 1000)
        assert (many.low, many.high) == pytest.approx((one.low, one.high))
        assert many.speakers == 4 and many.trials == 4000
        # Mean of 4 draws of 0..3: standard deviation sqrt(1.25 / 4).
        assert one.low == pytest.approx(1.5 - 1.96 * 0.559, abs=0.26)
        assert one.high == pytest.approx(1.5 + 1.96 * 0.559, abs=0.26)

    def test_coverage_of_the_mean(self):
        rng = np.random.default_rng(0)
        spk = np.repeat(np.arange(30), 4)
        hits = 0
        for k in range(60):
            v = rng.standard_normal(30)[spk] + 0.3 * rng.standard_normal(120)
            found = intervals.bootstrap_interval(v, spk, draws=300, seed=k)
            hits += found.low <= 0 <= found.high
        assert 50 <= hits <= 60

    def test_seeds_widen_it(self):
        rng = np.random.default_rng(1)
        spk, seed = np.repeat(np.arange(20), 3), np.tile(np.arange(3), 20)
        v = 0.1 * rng.standard_normal(60) + np.array([-1.0, 0, 1])[seed]
        alone = intervals.bootstrap_interval(v, spk)
        joint = intervals.bootstrap_interval(v, spk, seed)
        assert joint.high - joint.low > 5 * (alone.high - alone.low)

    def test_paired_difference_is_narrower_than_its_parts(self):
        rng = np.random.default_rng(2)
        spk = np.repeat(np.arange(20), 5)
        base = 5 * rng.standard_normal(20)[spk]
        better = base + 1 + 0.1 * rng.standard_normal(100)
        found = intervals.paired_difference(better, base, spk)
        assert found.low > 0.9 and found.high < 1.1
        with pytest.raises(ValueError, match="paired"):
            intervals.paired_difference(better[1:], base, spk[1:])

    def test_undefined_values_are_left_out(self):
        found = intervals.bootstrap_interval(np.array([1.0, np.nan]), ["a", "b"])
        assert (found.value, found.speakers, found.trials) == (1.0, 1, 1)
        assert intervals.bootstrap_interval(np.array([np.nan]), ["a"]).trials == 0


class TestTeacher:
    frames = teacher.Frames(
        np.array([[0.8, 0.1, 0.1], [0.1, 0.6, 0.3], [0.1, 0.1, 0.8], [0.2, 0.4, 0.4]]),
        np.array([0, 1, 2, 2]),
    )

    def test_by_hand(self):
        assert teacher.average_precision(self.frames)["tss"] == 1
        assert teacher.average_precision(self.frames)["ns"] == 1
        assert teacher.tss_ntss_auc(self.frames) == 1
        worse = teacher.Frames(self.frames.posterior, np.array([0, 2, 1, 2]))
        # tss frames score 0.3 and 0.4, the other speaker's 0.8: no pair is right
        assert teacher.tss_ntss_auc(worse) == 0

    def test_absent_classes(self):
        only_other = teacher.Frames(self.frames.posterior[1:2], np.array([1]))
        assert math.isnan(teacher.average_precision(only_other)["tss"])
        assert math.isnan(teacher.tss_ntss_auc(only_other))
        assert teacher.tss_ntss_auc(only_other, self.frames) == 1

    def test_calibration(self):
        rng = np.random.default_rng(0)
        q = rng.uniform(size=20000)
        posterior = np.stack([1 - q, 0 * q, q], -1)
        true = teacher.Frames(posterior, np.where(rng.uniform(size=20000) < q, 2, 0))
        assert teacher.calibration_error(true) < 0.02
        over = teacher.Frames(posterior, np.zeros(20000, int))
        assert teacher.calibration_error(over) == pytest.approx(0.5, abs=0.01)
        rows = teacher.reliability(true)
        assert len(rows) == 10 and sum(row["frames"] for row in rows) == 20000


class TestRecognition:
    def test_counts(self):
        found = word_errors("Anna sees two, red boxes.", "anna sees red red boxes now")
        assert (found.words, found.errors, found.insertions) == (5, 2, 1)

    @pytest.mark.parametrize("text,words", [("", 0), ("  ", 0), ("one two", 2)])
    def test_empty_reference(self, text, words):
        found = word_errors("", text)
        assert (found.words, found.insertions, found.errors) == (0, words, words)

    def test_empty_hypothesis(self):
        assert word_errors("one two", "").deletions == 2

    def test_normalize(self):
        assert normalize("  It's  FIVE-o'clock_now! ") == "it's five o'clock now"


class TestQuality:
    def test_stoi_orders_and_silence(self):
        noisy, clean = quality.stoi(S, X), quality.stoi(S, S)
        assert noisy < clean == pytest.approx(1, abs=1e-6)
        assert quality.stoi(S, ZERO) == 0
        assert math.isnan(quality.stoi(ZERO, X))
        assert math.isnan(quality.stoi(S[:2000], S[:2000]))

    def test_distillmos_hears_noise(self, capsys):
        pytest.importorskip("distillmos")
        rng = np.random.default_rng(0)
        time = np.arange(9 * 16000) / 16000  # longer than the network's window
        clean = 0.1 * np.sin(2 * np.pi * 200 * time) * np.sin(2 * np.pi * time)
        noisy = clean + 0.1 * rng.standard_normal(len(clean))
        scores = [distillmos.distillmos(x) for x in (clean, 0.1 * clean, noisy)]
        assert all(1 <= score <= 5 for score in scores)
        assert scores[0] == pytest.approx(scores[1], abs=0.01)  # level plays no part
        assert scores[2] < scores[0]
        assert not capsys.readouterr().out

    def test_dnsmos_equals_the_published_package(self):
        speechmos = pytest.importorskip("speechmos.dnsmos")
        clip = np.clip(np.concatenate([X, S, X, X, S]), -1, 1)  # 10 s
        ours = quality.dnsmos(clip)
        for kind, prefix in (("dnsmos", ""), ("dnsmos_personalized", "p")):
            theirs = speechmos.run(np.float64(clip), RATE, model_type=kind)
            for name in ("sig", "bak", "ovrl"):
                assert ours[prefix + name] == pytest.approx(
                    theirs[f"{name}_mos"], abs=1e-3
                )
        assert ours["p808"] == pytest.approx(float(theirs["p808_mos"]), abs=1e-3)


def test_oracle_masks_bound_the_mixture():
    y = oracle_wiener(S, X)
    assert si_sdr(S, y) > si_sdr(S, X) + 5
    assert not oracle_wiener(ZERO, X).any()
    assert np.isfinite(oracle_wiener(ZERO, ZERO)).all()
    assert np.allclose(oracle_wiener(S, S), S, atol=1e-6)


def test_long_runs_at_the_edges():
    flags = torch.tensor([1, 1, 0, 1, 1, 1], dtype=torch.bool).numpy()
    assert frames.long_runs(flags, 3).tolist() == [0, 0, 0, 1, 1, 1]
    assert frames.long_runs(flags, 2).tolist() == [1, 1, 0, 1, 1, 1]

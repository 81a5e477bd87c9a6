"""Predicted intelligibility and quality: STOI, DNSMOS P.835, P.808, personalized."""

from __future__ import annotations

import functools
import importlib.util
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from espnet_pse_kd.errors import UserError

SAMPLE_RATE = 16000
WINDOW = 144160
"""Samples of the 9.01 s that the DNSMOS networks take."""

# Raw outputs to MOS, from the public DNSMOS evaluation script; highest power first.
_STANDARD = {
    "sig": (-0.08397278, 1.22083953, 0.0052439),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl": (-0.06766283, 1.11546468, 0.04602535),
}
_PERSONALIZED = {
    "sig": (-0.01019296, 0.02751166, 1.19576786, -0.24348726),
    "bak": (-0.04976499, 0.44276479, -0.1644611, 0.96883132),
    "ovrl": (-0.00533021, 0.005101, 1.18058466, -0.11236046),
}


def stoi(target: ArrayLike, estimate: ArrayLike) -> float:
    """Short-time objective intelligibility (Taal et al., 2011), through pystoi.

    Args:
        target: (N,)
        estimate: (N,)

    Returns:
        About 0..1; 0 for a silent estimate, NaN where the target holds less speech
        than the 384 ms that STOI compares.
    """
    from pystoi import stoi as measure

    s, y = np.asarray(target, np.float64), np.asarray(estimate, np.float64)
    if not s.any():
        return float("nan")
    if not y.any():
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(measure(s, y, SAMPLE_RATE))
        except RuntimeWarning:  # pystoi's sign for too little speech
            return float("nan")


def dnsmos(clip: ArrayLike) -> dict[str, float]:
    """DNSMOS of one clip: P.835 (ITU-T P.835), P.808, and the personalized variant.

    The networks are those of the speechmos package; the procedure is the public
    evaluation script's: clips are repeated to 9.01 s, windows advance by one second,
    scores are averaged. All windows of a clip run as one batch, on one thread, since
    scoring is parallel over trials.

    Args:
        clip: (N,), full scale = 1; clipped to it where it exceeds it.

    Returns:
        ``sig``, ``bak``, ``ovrl``, ``p808``, ``psig``, ``pbak``, ``povrl``: MOS, 1..5.

    Raises:
        UserError: speechmos or onnxruntime is not installed.
    """
    windows = _windows(np.clip(np.asarray(clip, np.float32), -1, 1))  # [W, 144160]
    scores = {"p808": float(_run("dnsmos_models/model_v8", _log_mel(windows)).mean())}
    for folder, prefix, fits in (
        ("dnsmos_models", "", _STANDARD),
        ("pdnsmos_models", "p", _PERSONALIZED),
    ):
        raw = _run(f"{folder}/sig_bak_ovr", windows)  # [W, 3]
        for column, (name, fit) in enumerate(fits.items()):
            scores[prefix + name] = float(np.polyval(fit, raw[:, column]).mean())
    return scores


def _windows(clip: np.ndarray) -> np.ndarray:
    while len(clip) < WINDOW:
        clip = np.concatenate([clip, clip])
    count = int(len(clip) // SAMPLE_RATE - WINDOW / SAMPLE_RATE) + 1
    starts = np.arange(max(count, 1)) * SAMPLE_RATE
    return np.stack([clip[k : k + WINDOW] for k in starts if k + WINDOW <= len(clip)])


def _log_mel(windows: np.ndarray) -> np.ndarray:
    """Features of the P.808 network: (W, 900, 120), dB below each window's maximum."""
    import torch

    audio = torch.from_numpy(windows[:, :-160])
    size = 321
    padded = torch.nn.functional.pad(audio, (size // 2, size // 2))
    frames = padded.unfold(-1, size, 160) * torch.hann_window(size)  # [W, T, 321]
    power = torch.fft.rfft(frames).abs().square() @ _mel_filters(size)  # [W, T, 120]
    decibel = 10 * torch.log10(power.clamp_min(1e-10))
    decibel = decibel - decibel.amax((-1, -2), keepdim=True)
    return ((decibel.clamp_min(-80) + 40) / 40).numpy()


@functools.cache
def _mel_filters(size: int):
    import librosa
    import torch

    return torch.from_numpy(
        librosa.filters.mel(sr=SAMPLE_RATE, n_fft=size, n_mels=120).T
    )


def check() -> None:
    """That DNSMOS can be loaded.

    Raises:
        UserError: a package is not installed.
    """
    if any(importlib.util.find_spec(m) is None for m in ("speechmos", "onnxruntime")):
        raise UserError(
            "DNSMOS: speechmos or onnxruntime is not installed; "
            "pip install speechmos onnxruntime, or give --dnsmos_trials 0"
        )


@functools.cache
def _session(name: str):
    check()
    import onnxruntime

    # speechmos is not imported: its own procedure runs one window at a time, on every
    # core, and rejects estimates that exceed full scale.
    spec = importlib.util.find_spec("speechmos")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = Path(str(spec and spec.origin)).parent / f"{name}.onnx"
    return onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )


def _run(name: str, batch: np.ndarray) -> np.ndarray:
    return _session(name).run(None, {"input_1": batch})[0]

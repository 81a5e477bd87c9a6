"""A peer that works at 8 kHz and turns signals over; it dies of silence."""

import numpy as np

from benchmarks.worker import serve_signals


def turned(samples: np.ndarray) -> np.ndarray:
    if not samples.any():
        raise SystemExit("Traceback\nValueError: nothing to hear")
    return -samples


if __name__ == "__main__":
    serve_signals(8000, turned)

"""What an ASR hears in an output, and how good a listener would find it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from espnet_pse_kd.metrics import distillmos, quality
from espnet_pse_kd.recipe import asr
from espnet_pse_kd.report.asr_scoring import word_counts

MOS = ("distillmos", "dnsmos")


@dataclass(frozen=True)
class Listeners:
    """Who rates outputs, one at a time; each process loads them once.

    Attributes:
        asr: counts words, see `recipe.asr.load`; None: nobody does.
        mos: of `MOS`.
    """

    asr: str | None = None
    mos: tuple[str, ...] = ()

    def check(self) -> None:
        """That all of them can be loaded.

        Raises:
            UserError: one is not installed, or is not known.
        """
        if self.asr is not None:
            asr.check(self.asr)
        for name in self.mos:
            {"dnsmos": quality, "distillmos": distillmos}[name].check()

    def rate(self, output: np.ndarray, text: str | None, spoken: bool) -> dict:
        """Columns of a row of scores.

        Args:
            output: (N,) at 16 kHz.
            text: what the target says, "" where it is silent, None where nobody knows:
                then no words are counted.
            spoken: whether the target speaks; otherwise there is no quality to rate.
        """
        row: dict[str, Any] = {}
        if self.asr is not None and text is not None:
            recognizer = _recognizer(self.asr)
            [heard] = recognizer([output])
            row |= {**word_counts(text, heard, recognizer.normalize), "heard": heard}
        if spoken and "distillmos" in self.mos:
            row["distillmos"] = distillmos.distillmos(output)
        if spoken and "dnsmos" in self.mos:
            row |= {f"dnsmos_{k}": v for k, v in quality.dnsmos(output).items()}
        return row


@functools.cache
def _recognizer(name: str) -> asr.Transcriber:
    return asr.load(name)

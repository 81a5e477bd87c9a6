"""Draw the figures of docs/ with the package itself: python docs/make_figures.py."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from espnet_pse_kd.activity import TSS, activity, widen
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.gate import Gate
from espnet_pse_kd.stft import HOP

SECONDS = 8.0
TARGET = [(0.8, 2.6)]
INTERFERER = [(1.8, 4.2), (4.8, 7.4)]
CONFUSED = [(5.2, 5.8, 0.9), (6.5, 6.8, 0.65)]
"""Begin and end of each mistake of the personal VAD in seconds, and how sure it is."""
GATES = {"hard": Gate("hard"), "soft": Gate("soft")}


def voice(spans: list[tuple[float, float]]) -> Tensor:
    """Noise (1, N) where somebody speaks, silence elsewhere."""
    generator = torch.Generator().manual_seed(0)
    signal = 0.1 * torch.randn(1, round(SECONDS * SAMPLE_RATE), generator=generator)
    time = torch.arange(signal.shape[1]) / SAMPLE_RATE
    speaks = torch.zeros_like(time, dtype=torch.bool)
    for begin, end in spans:
        speaks |= (time >= begin) & (time < end)
    return signal * speaks


def belief(frames: int, target: Tensor) -> Tensor:
    """Posteriors (1, T, 3) of a personal VAD that is right but where it is confused."""
    time = torch.arange(frames) * HOP / SAMPLE_RATE
    tss = torch.where(target[0], 0.93, 0.04)
    for begin, end, sure in CONFUSED:
        bump = torch.sin(torch.pi * (time - begin) / (end - begin)).clamp_min(0)
        inside = (time >= begin) & (time < end)
        tss = torch.where(inside, torch.maximum(tss, sure * bump.sqrt()), tss)
    tss = torch.nn.functional.avg_pool1d(tss[None], 5, 1, 2, count_include_pad=False)[0]
    posterior = torch.stack([0.3 * (1 - tss), 0.7 * (1 - tss), tss], -1)
    assert TSS == 2
    return posterior[None]


def curves() -> dict[str, Tensor]:
    """Everything that the figure of the gate shows, (T,) each."""
    speaks, disturbs = (widen(activity(voice(s))) for s in (TARGET, INTERFERER))
    posterior = belief(speaks.shape[1], speaks)
    weights = {n: g(speaks, disturbs, posterior).weights[0] for n, g in GATES.items()}
    gated = GATES["soft"].gated_frames(speaks, disturbs)[0]
    return {
        "target": speaks[0],
        "interferer": disturbs[0],
        "posterior": posterior[0, :, TSS],
        "gated": gated,
        **weights,
    }


def draw_gate(path: Path) -> None:
    """Who speaks, what the teacher believes, what a frame counts."""
    import matplotlib
    from matplotlib.figure import Figure

    shown = {name: values.numpy() for name, values in curves().items()}
    time = torch.arange(len(shown["target"])).numpy() * HOP / SAMPLE_RATE
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    top, middle, bottom = figure.subplots(
        3, 1, sharex=True, gridspec_kw={"height_ratios": [0.7, 1, 1]}
    )
    for row, (name, colour) in enumerate(
        (("interferer", "#d1495b"), ("target", "#2e8540"))
    ):
        top.fill_between(
            time, row, row + 0.8, where=shown[name], color=colour, lw=0, step="mid"
        )
    top.set_yticks([0.4, 1.4], ["interferer", "target"])
    top.set_title("who speaks", loc="left", fontsize=10)
    middle.plot(time, shown["posterior"], color="#8e5ea2")
    middle.set_title("personal VAD: posterior of the target", loc="left", fontsize=10)
    bottom.fill_between(
        time, 0, 1, where=shown["gated"], color="#e4e4de", lw=0, step="mid"
    )
    styles = {"hard": "#e0912b", "soft": "#111111"}
    for name, colour in styles.items():
        bottom.step(time, shown[name], color=colour, where="mid", label=name, lw=1.3)
    bottom.set_title("weight of the frame in the loss", loc="left", fontsize=10)
    bottom.legend(loc="lower left", fontsize=9)
    bottom.set_xlabel("seconds")
    for axes in (middle, bottom):
        axes.set_ylim(-0.05, 1.08)
    bottom.set_xlim(0, SECONDS)
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "espnet_pse_kd"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent / "images"
    draw_gate(folder / "gate.svg")

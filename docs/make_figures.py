"""Draw the figures of docs/ with the package itself: python docs/make_figures.py.

Every figure comes twice, for light and for dark pages.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soundfile
import torch
from torch import Tensor

from espnet_pse_kd import PersonalizedEnhancer
from espnet_pse_kd.activity import TSS, activity, widen
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.cli.pictures import spectrogram
from espnet_pse_kd.gate import Gate
from espnet_pse_kd.stft import HOP

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Theme(NamedTuple):
    """Colours of a page.

    Attributes:
        background, text, muted: of the page, of what is written, of the gated frames.
        line: of the most important curve.
        levels: of the spectrograms, from the background up.
    """

    background: str
    text: str
    muted: str
    line: str
    levels: tuple[str, ...]


THEMES = {
    "light": Theme(
        "#ffffff",
        "#1f2328",
        "#e4e4de",
        "#111111",
        ("#ffffff", "#a9d0e4", "#2f86b0", "#0b3f5c", "#1f2328"),
    ),
    "dark": Theme(
        "#0d1117",
        "#e6edf3",
        "#30363d",
        "#f0f6fc",
        ("#0d1117", "#123f58", "#2b86b3", "#9fd6f0", "#e6edf3"),
    ),
}
"""Those of GitHub."""
TARGET_COLOUR, INTERFERER_COLOUR = "#2e8540", "#d1495b"
GOLDEN = Path(__file__).parents[1] / "tests/golden"
RANGE_DB = 70.0
"""Range of the spectrograms below the loudest bin of the recording."""

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


@contextmanager
def _themed(theme: Theme) -> Iterator[None]:
    """Let matplotlib draw in the colours of a page, the same bytes at every call."""
    import matplotlib

    written = ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor")
    ticks = ("xtick.color", "ytick.color")
    colours: dict[str, object] = dict.fromkeys((*written, *ticks), theme.text)
    paper = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")
    colours |= dict.fromkeys(paper, theme.background)
    with matplotlib.rc_context({**colours, "svg.hashsalt": "espnet_pse_kd"}):
        yield


def _draw_speakers(
    axes: Axes, time: np.ndarray, speaks: dict[str, tuple[np.ndarray, str]]
) -> None:
    """A row per speaker, lowest first: its name, and a bar (T,) where it speaks."""
    for row, (active, colour) in enumerate(speaks.values()):
        axes.fill_between(
            time, row, row + 0.8, where=active, color=colour, lw=0, step="mid"
        )
    axes.set_yticks([row + 0.4 for row in range(len(speaks))], list(speaks))


def draw_gate(path: Path, theme: Theme) -> None:
    """Who speaks, what the teacher believes, what a frame counts."""
    from matplotlib.figure import Figure

    shown = {name: values.numpy() for name, values in curves().items()}
    time = torch.arange(len(shown["target"])).numpy() * HOP / SAMPLE_RATE
    with _themed(theme):
        figure = Figure(figsize=(9, 4.6), layout="constrained")
        top, middle, bottom = figure.subplots(
            3, 1, sharex=True, gridspec_kw={"height_ratios": [0.7, 1, 1]}
        )
        speakers = {
            "interferer": (shown["interferer"], INTERFERER_COLOUR),
            "target": (shown["target"], TARGET_COLOUR),
        }
        _draw_speakers(top, time, speakers)
        middle.plot(time, shown["posterior"], color="#8e5ea2")
        _draw_weights(bottom, time, shown, theme)
        titles = (
            "who speaks",
            "personal VAD: posterior of the target",
            "weight of the frame in the loss",
        )
        for axes, title in zip((top, middle, bottom), titles):
            axes.set_title(title, loc="left", fontsize=10)
        for axes in (middle, bottom):
            axes.set_ylim(-0.05, 1.08)
        bottom.set(xlabel="seconds", xlim=(0, SECONDS))
        _save(figure, path)


def _draw_weights(
    axes: Axes, time: np.ndarray, shown: dict[str, np.ndarray], theme: Theme
) -> None:
    axes.fill_between(
        time, 0, 1, where=shown["gated"], color=theme.muted, lw=0, step="mid"
    )
    for name, colour in {"hard": "#e0912b", "soft": theme.line}.items():
        axes.step(time, shown[name], color=colour, where="mid", label=name, lw=1.3)
    axes.legend(loc="lower left", fontsize=9)


class Example(NamedTuple):
    """A recording before and after.

    Attributes:
        before, after: (N,) at 16 kHz.
        speaks: seconds in which each of the two speaks.
    """

    before: np.ndarray
    after: np.ndarray
    speaks: dict[str, tuple[tuple[int, int], ...]]


def example() -> Example:
    """The golden clip, enhanced as ``pse-kd enhance`` does by default."""
    made = runpy.run_path(str(GOLDEN / "make_clip.py"))
    enrolment, mixture = (
        soundfile.read(GOLDEN / f"{name}.flac", dtype="float32")[0]
        for name in ("enrolment", "mixture")
    )
    enhancer = PersonalizedEnhancer.from_pretrained()
    profile = enhancer.enroll(enrolment, SAMPLE_RATE)
    enhanced = enhancer(mixture, SAMPLE_RATE, profile, look_ahead=True)
    speaks = {
        "somebody else": made["INTERFERER_SPEAKS"],
        "enrolled voice": made["TARGET_SPEAKS"],
    }
    return Example(mixture, enhanced, speaks)


def draw_example(path: Path, theme: Theme, shown: Example) -> None:
    """Who speaks, and the spectrograms before and after on one scale."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    seconds = len(shown.before) / SAMPLE_RATE
    time = np.arange(0, seconds, 0.05)
    colours = (INTERFERER_COLOUR, TARGET_COLOUR)
    speakers = {
        name: (np.any([(a <= time) & (time < b) for a, b in spans], axis=0), colour)
        for (name, spans), colour in zip(shown.speaks.items(), colours, strict=True)
    }
    levels = {"before": spectrogram(shown.before), "after": spectrogram(shown.after)}
    top = float(levels["before"].max())
    colormap = LinearSegmentedColormap.from_list("levels", theme.levels)
    with _themed(theme):
        figure = Figure(figsize=(9, 3.1), layout="constrained")
        bars, *rest = figure.subplots(3, 1, sharex=True, height_ratios=(0.42, 1, 1))
        _draw_speakers(bars, time, speakers)
        for axes, (title, level) in zip(rest, levels.items()):
            axes.imshow(
                level,
                origin="lower",
                aspect="auto",
                extent=(0, seconds, 0, SAMPLE_RATE / 2000),
                vmin=top - RANGE_DB,
                vmax=top,
                cmap=colormap,
            )
            axes.set_ylabel("kHz")
            axes.set_title(title, loc="left", fontsize=10)
        rest[-1].set(xlabel="seconds", xlim=(0, seconds))
        _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    """Write an SVG, or a PNG of few colours; neither says when it was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".svg":
        figure.savefig(path, metadata={"Date": None})
        return
    from PIL import Image

    figure.savefig(path, dpi=150, metadata={"Software": None})
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(48, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def main() -> None:
    """Write every figure to the folder that the command line names, or docs/images."""
    folder = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent / "images"
    shown = example()
    for name, theme in THEMES.items():
        draw_gate(folder / f"gate_{name}.svg", theme)
        draw_example(folder / f"before_after_{name}.png", theme, shown)


if __name__ == "__main__":
    main()

"""The figures of ``report.html``, drawn by matplotlib into ``data:`` URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.stft import HOP

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from espnet_pse_kd.metrics.intervals import Interval

PALETTE = (
    *("#0b6e99", "#d1495b", "#2e8540", "#8e5ea2", "#e0912b"),
    *("#4a4e69", "#b5838d", "#3a86ff", "#7f5539", "#06a77d"),
    *("#c2185b", "#7a8b00", "#00334e", "#6d3b00", "#b388eb"),
)
"""Colours of the systems, far from each other also where red and green look alike."""
GREY = "#8a8f98"
_BLENDS = " + a x"
"""What stands behind a system's name in the legend for the line of its dry blends."""
RANGE_DB = 70.0
"""Range of the spectrograms below the mixture's loudest bin."""


class Point(NamedTuple):
    """One system, or a dry blend of it, in a plot of two figures.

    Attributes:
        name: of the system.
        x: with its interval.
        y: with its interval.
        dry: amplitude of the mixture that was added to the system's output.
    """

    name: str
    x: Interval
    y: Interval
    dry: float = 0.0


class Panel(NamedTuple):
    """One plot of the operating curve.

    Attributes:
        title: over the plot.
        label: of the y axis.
        points: systems and dry blends; the axes' numbers are those of ``points``.
    """

    title: str
    label: str
    points: Sequence[Point]


class Curve(NamedTuple):
    """A figure of a training over its epochs.

    Attributes:
        name: of the system, which decides the colour; "trunk" is grey.
        epochs: (E,)
        values: (E,)
    """

    name: str
    epochs: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True)
class Judgement:
    """What the teacher and the gate say about one trial, at the T loss frames.

    Attributes:
        posterior: (T, 3) of no speech, non-target speech, target speech.
        weights: (T,) of the gate.
        gated: bool (T,), frames to which the gate applies.
        target: bool (T,), frames in which the target speaks.
        interferer: bool (T,), frames in which the interferer speaks.
        label: the gate in words.
    """

    posterior: np.ndarray
    weights: np.ndarray
    gated: np.ndarray
    target: np.ndarray
    interferer: np.ndarray
    label: str


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each system."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}


def operating_figure(panels: Sequence[Panel], colour: Mapping[str, str]) -> str:
    """What is lost of the target against how much leaks: a plot for each panel.

    Returns:
        data URI of an SVG.
    """
    figure = _figure(11, 3.4 * ((len(panels) + 1) // 2))
    grid = figure.subplots(-(-len(panels) // 2), 2, squeeze=False, sharex=True)
    for axes, panel in zip(grid.flat, panels):
        for name in dict.fromkeys(point.name for point in panel.points):
            own = [point for point in panel.points if point.name == name]
            _line(axes, sorted(own, key=lambda p: p.dry), colour.get(name, GREY))
        axes.set_title(panel.title, loc="left", fontsize=10, fontweight="bold")
        axes.set_title("better: lower right", loc="right", fontsize=8, color=GREY)
        axes.set_ylabel(panel.label)
        axes.set_ylim(-0.03 * axes.get_ylim()[1], max(1.0, axes.get_ylim()[1]))
        axes.grid(alpha=0.25)
    for axes in grid[-1]:
        axes.set_xlabel("leakage reduction in TS3, dB (median)")
    _legend_above(figure, *_once(grid.flat))
    _part_names(figure)
    return _svg(figure)


def _part_names(figure: Figure) -> None:
    """Move names off points and other names; one without room is left to the legend."""
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # the layout decides where they lie
    for axes in figure.axes:
        names = [text for text in axes.texts if isinstance(text, Annotation)]
        points = [axes.transData.transform(name.xy) for name in names]
        taken = [Bbox.from_bounds(x - 3, y - 3, 6, 6) for x, y in points]
        room = axes.get_window_extent().padded(12)
        for name in names:
            x, y = name.xyann
            for place in ((x, y), (-x, y), (x, -y - 5), (-x, -y - 5)):
                name.xyann = place
                name.set_horizontalalignment("left" if place[0] > 0 else "right")
                box = name.get_window_extent()
                inside = room.containsx(box.x0) and room.containsx(box.x1)
                if inside and not any(box.overlaps(other) for other in taken):
                    taken.append(box)
                    break
            else:
                name.remove()


def _legend_above(figure: Figure, handles: list[Artist], labels: list[str]) -> None:
    """A legend in as many columns as the figure is wide enough for."""
    for columns in range(10, 0, -1):
        legend = figure.legend(
            handles, labels, loc="outside upper left", ncols=columns, frameon=False
        )
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def _line(axes: Axes, points: Sequence[Point], colour: str) -> None:
    """A system, with a line through its dry blends if there are any."""
    for point in points:
        _name(axes, point, colour)
        if not point.dry:
            _cross(axes, point, colour)
    if len(points) > 1:
        x, y = ([getattr(point, axis).value for point in points] for axis in "xy")
        axes.plot(
            x,
            y,
            "o--",
            color=colour,
            lw=1.2,
            markersize=4,
            markerfacecolor="white",
            label=f"{points[0].name}{_BLENDS}",
            zorder=1,
        )


def _name(axes: Axes, point: Point, colour: str) -> None:
    """Name of a system, or amplitude of a blend, above the lines, below the points."""
    from matplotlib.patheffects import withStroke

    axes.annotate(
        f"{point.dry:g}" if point.dry else point.name,
        (point.x.value, point.y.value),
        xytext=(5, -9 if point.dry else 4),
        textcoords="offset points",
        fontsize=7 if point.dry else 8,
        color=colour,
        path_effects=[withStroke(linewidth=2, foreground="white")],
        zorder=2,
    )


def _cross(axes: Axes, point: Point, colour: str) -> None:
    """A point with its two intervals, pale: most systems' overlap."""
    xerr, yerr = (
        [[max(0.0, i.value - i.low)], [max(0.0, i.high - i.value)]]
        for i in (point.x, point.y)
    )
    axes.errorbar(
        point.x.value,
        point.y.value,
        xerr=xerr,
        yerr=yerr,
        fmt="o",
        color=colour,
        ecolor=(colour, 0.35),
        elinewidth=1.2,
        label=point.name,
        zorder=3,
    )


def training_figure(
    panels: Mapping[str, Sequence[Curve]], colour: Mapping[str, str]
) -> str:
    """One plot of curves over epochs for each panel that has any.

    Returns:
        data URI of an SVG, empty where there are no curves.
    """
    drawn = {title: curves for title, curves in panels.items() if curves}
    if not drawn:
        return ""
    figure = _figure(11, 2.9 * ((len(drawn) + 1) // 2))
    grid = figure.subplots(-(-len(drawn) // 2), 2, squeeze=False)
    for axes in list(grid.flat)[len(drawn) :]:
        axes.set_axis_off()
    for axes, (title, curves) in zip(grid.flat, drawn.items()):
        for curve in curves:
            style = {"color": colour.get(curve.name, GREY), "label": curve.name}
            axes.plot(curve.epochs, curve.values, ".-", lw=1.4, ms=5, **style)
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
        axes.legend(*_once([axes]), fontsize=8, frameon=False)
    return _svg(figure)


def _once(grid: Iterable[Axes]) -> tuple[list[Artist], list[str]]:
    """Handles and labels of a legend, each label once (several seeds share one)."""
    unique: dict[str, Artist] = {}
    for axes in grid:
        handles, labels = axes.get_legend_handles_labels()
        unique |= dict(zip(labels, handles))
    names = sorted(unique, key=lambda label: label.endswith(_BLENDS))
    return [unique[name] for name in names], names


def _spectrogram(samples: np.ndarray) -> np.ndarray:
    import torch

    from espnet_pse_kd.utils.spectrogram import spectrogram_db

    signal = torch.from_numpy(np.ascontiguousarray(samples, np.float32))
    return spectrogram_db(signal).numpy()  # [F, T]


def trial_figure(
    signals: Mapping[str, np.ndarray], judgement: Judgement | None = None
) -> str:
    """Spectrograms of one trial above what teacher and gate say about it.

    Args:
        signals: (N,) by name; the first, the mixture, gives the colour scale, so that
            what leaks is as bright as it is loud.
        judgement: of the teacher, if there is one.

    Returns:
        data URI of a WebP picture.
    """
    rows = len(signals) + (judgement is not None)
    ratios = [1.0] * len(signals) + [1.1] * (judgement is not None)
    figure = _figure(9, 1.45 * rows)
    grid = figure.subplots(
        rows, 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": ratios}
    )[:, 0]
    top = _spectrogram(next(iter(signals.values()))).max()
    for axes, (name, samples) in zip(grid, signals.items()):
        length = len(samples) / SAMPLE_RATE
        axes.imshow(
            _spectrogram(samples),
            origin="lower",
            aspect="auto",
            extent=(0, length, 0, SAMPLE_RATE / 2000),
            cmap="magma",
            vmin=top - RANGE_DB,
            vmax=top,
        )
        axes.set_xlim(0, length)
        axes.set_ylabel("kHz", fontsize=8)
        axes.set_title(name, loc="left", fontsize=9, fontweight="bold", pad=3)
    if judgement is not None:
        _draw_judgement(grid[-1], judgement)
    grid[-1].set_xlabel("seconds")
    return _picture(figure)


def _draw_judgement(axes: Axes, judgement: Judgement) -> None:
    """Posterior of target speech, the gate's weight, and who really speaks."""
    time = np.arange(len(judgement.weights)) * HOP / SAMPLE_RATE
    speakers = ((judgement.target, "#2e8540"), (judgement.interferer, "#d1495b"))
    for (active, colour), base in zip(speakers, (1.13, 1.05)):
        axes.fill_between(
            time, base, base + 0.07, where=active, color=colour, lw=0, step="mid"
        )
    axes.fill_between(
        time, 0, 1, where=judgement.gated, color="#ecece6", lw=0, step="mid"
    )
    axes.plot(time, judgement.posterior[:, 2], color="#8e5ea2", lw=1.4)
    axes.plot(time, judgement.weights, color="#111111", lw=1.0, drawstyle="steps-mid")
    axes.set_ylim(0, 1.24)
    axes.set_yticks([0, 0.5, 1])
    axes.set_title(
        "personal VAD: posterior of target speech (violet), weight of the frame's "
        f"loss (black; {judgement.label}), gated frames (grey);\n"
        "top: target speaks (green), interferer speaks (red)",
        loc="left",
        fontsize=8,
        pad=3,
    )


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Figure) -> str:
    import matplotlib

    buffer = io.BytesIO()
    # The same figures give the same file: some are committed.
    with matplotlib.rc_context({"svg.hashsalt": "espnet_pse_kd"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return data_uri("image/svg+xml", buffer.getvalue())


def _picture(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="webp", dpi=110, pil_kwargs={"quality": 82})
    return data_uri("image/webp", buffer.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    """Content that stands inside a page: ``data:<kind>;base64,...``."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def save(uri: str, path: Path) -> None:
    """Write the content of a `data_uri` to a file."""
    path.write_bytes(base64.b64decode(uri.partition(",")[2]))

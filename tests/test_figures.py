"""The figures' layout, where a picture would be cut off."""

import matplotlib.pyplot as plt
import pytest

from espnet_pse_kd.metrics.intervals import Interval
from espnet_pse_kd.report import figures


@pytest.mark.parametrize(("label", "count"), [("s", 12), ("td_speakerbeam_causal", 17)])
def test_a_legend_fits_into_the_figure(label, count):
    figure = figures._figure(11, 6.8)
    axes = figure.subplots()
    handles = [axes.plot([0, 1])[0] for _ in range(count)]
    figures._legend_above(figure, handles, [f"{label}{k}" for k in range(count)])
    [legend] = figure.legends
    figure.canvas.draw()
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert len(legend.get_texts()) == count
    plt.close(figure)


def test_names_lie_apart_and_inside_or_are_left_to_the_legend():
    figure = figures._figure(11, 3.4)
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(0, 10))
    at = [("first", 5, 5), ("second", 5.05, 5), ("third", 5.1, 5), ("edge", 9.95, 2)]
    at += [(f"more{k}", 5, 5) for k in range(4)]
    for name, x, y in at:
        place = (Interval(value, value, value, 1, 1) for value in (x, y))
        figures._name(axes, figures.Point(name, *place), "k")
    figures._part_names(figure)
    figure.canvas.draw()
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert {"first", "second", "third", "edge"} <= {*boxes} != {n for n, _, _ in at}
    assert boxes["edge"].x1 <= axes.get_window_extent().x1
    for name, box in boxes.items():
        others = [other for key, other in boxes.items() if key != name]
        assert not any(box.overlaps(other) for other in others)
    plt.close(figure)

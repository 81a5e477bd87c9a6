"""The figures' layout, where a picture would be cut off."""

import matplotlib.pyplot as plt
import pytest

from espnet_pse_kd.recipe import figures


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

"""Any sample of any set, made alone, in any order, by any process."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from espnet_pse_kd.simulation.blocks import place_of
from espnet_pse_kd.simulation.enrolment import Clip, plan_clips, render_clip
from espnet_pse_kd.simulation.options import SCENARIOS, SimulationOptions
from espnet_pse_kd.simulation.render import Rendered, Scene, render, render_scene
from espnet_pse_kd.simulation.scenario import (
    draw_development,
    draw_scored,
    draw_training,
)
from espnet_pse_kd.simulation.split import Inventory, load_inventory
from espnet_pse_kd.simulation.trial import Trial
from espnet_pse_kd.simulation.voices import OWN


class Simulator:
    """Draws and renders the samples and enrolment clips of one split.

    A sample follows from options, seed, set and index alone.

    Args:
        inventory: the split.
        options: ranges and shares.
        seed: decides every draw.
        split: ``train``, ``dev`` or ``test``; the training split alone is varied.

    Attributes:
        clips: enrolment clips of every speaker, drawn but not rendered.
    """

    def __init__(
        self, inventory: Inventory, options: SimulationOptions, seed: int, split: str
    ) -> None:
        self.inventory, self.options = inventory, options
        self.seed, self.split = seed, split
        self.clips = plan_clips(inventory, options, seed)
        self._scene: tuple[tuple[str, int], Scene] | None = None

    @classmethod
    def open(
        cls, data_dir: Path, split: str, options: SimulationOptions, seed: int
    ) -> Simulator:
        """Of ``data_dir/<split>``, which stage 1 wrote.

        Raises:
            UserError: see `load_inventory`.
        """
        voices = options.voices if split == "train" else (OWN,)
        return cls(load_inventory(data_dir / split, voices), options, seed, split)

    def draw(self, set_name: str, index: int) -> Trial:
        """Draw sample ``index`` of ``train``, ``dev``, or a scored set."""
        function = draw_development
        if set_name.rsplit("_", 1)[-1] in SCENARIOS:
            function = draw_scored
        elif self.split == "train":
            function = draw_training
        return function(
            self.inventory, self.clips, self.options, self.seed, set_name, index
        )

    def sample(self, set_name: str, index: int) -> tuple[Trial, Rendered]:
        """Draw and render one sample, independently of all others."""
        trial = self.draw(set_name, index)
        scene = self._shared_scene(set_name, index, trial) if trial.member else None
        return trial, render(self.inventory, trial, self.options.target, scene)

    def _shared_scene(self, set_name: str, index: int, trial: Trial) -> Scene:
        """Images that the samples of a group share; the latest are kept."""
        key = set_name, place_of(self.options, self.seed, set_name, index).first
        if self._scene is None or self._scene[0] != key:
            self._scene = key, render_scene(self.inventory, trial)
        return self._scene[1]

    def clip(self, clip: Clip) -> np.ndarray:
        """Render one enrolment clip: float32 (samples,)."""
        options, train = self.options, self.split == "train"
        return render_clip(self.inventory, clip, options, self.seed, train)

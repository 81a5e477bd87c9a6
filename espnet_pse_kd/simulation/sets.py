"""The simulated sets: their names, sizes, and what they cost."""

from __future__ import annotations

import shutil
from pathlib import Path

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.simulation.options import (
    CONSTRUCTIONS,
    SCENARIOS,
    SimulationOptions,
)

OPTIONS_FILE = "simulation.json"
"""What the sets were made with: seed, sizes and the fields of the options."""


def set_sizes(train: int, dev: int, test: int, dev_scored: int = 0) -> dict[str, int]:
    """Sets that are simulated and their sizes; twins are not counted.

    Without training samples, as dynamic mixing has it, the training split still gets
    its enrolment clips.
    """
    sizes = {"train": train, "dev": dev}
    sizes |= {f"dev_{name}": dev_scored for name in SCENARIOS}
    sizes |= {f"test_{name}": test for name in SCENARIOS}
    return {name: n for name, n in sizes.items() if n > 0 or name == "train"}


def its_set(name: str, variant: bool | float | str) -> str:
    """Folder of a training set with other inactive-target samples than simulated.

    Args:
        name: ``train`` or ``dev``.
        variant: the part of them that stays, the others being replaced by their twins;
            or the construction by which all are made.
    """
    if isinstance(variant, str):
        return f"{name}_its_{variant}"
    if variant == 1:
        return name
    return f"{name}_its{round(100 * variant)}" if variant else f"{name}_noits"


def its_variant(text: str) -> float | str:
    """Read one of ``--its_variants``.

    Raises:
        UserError: it is neither a share between 0 and 1 nor a construction.
    """
    if text in CONSTRUCTIONS:
        return text
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise UserError(
            f"--its_variants {text}: give numbers between 0 and 1, or "
            f"{', '.join(CONSTRUCTIONS)}"
        )
    return share


def estimated_bytes(sizes: dict[str, int], options: SimulationOptions) -> int:
    """Disk that the sets take: three 16-bit signals per sample, and the twins'."""
    total = 0.0
    for name, size in sizes.items():
        scored = name.rsplit("_", 1)[-1] in SCENARIOS
        longest = options.test_seconds[1] + options.pause_seconds[1]
        shares = options.ts0 + options.ts1 + options.ts2 + options.its
        twins = 0.0 if scored else options.its / shares
        seconds = longest if scored else options.seconds
        total += size * (1 + twins) * (3 * 2 * SAMPLE_RATE * seconds + 16384)
    return round(total)


def check_disk(folder: Path, needed: int) -> None:
    """Raise a UserError where ``folder``'s disk has less than ``needed`` bytes free."""
    existing = next(p for p in (folder, *folder.absolute().parents) if p.is_dir())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"{folder}: {free / 1e9:.1f} GB free, about {needed / 1e9:.1f} GB needed; "
            "free some, choose another folder, or lower the set sizes"
        )

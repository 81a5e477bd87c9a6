"""Simulated rooms: image-source responses from target, interferer and noise source."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE, write_audio
from espnet_pse_kd.errors import UserError, how_to_install
from espnet_pse_kd.kaldi import write_table
from espnet_pse_kd.utils.progress import parallel_map

TARGET_DISTANCE = (0.3, 1.3)
"""Metres from the target speaker to the microphone."""
INTERFERER_DISTANCE = 2.0
"""The interferer is at least this far from the microphone, in metres."""
RT60 = (0.15, 0.6)
"""Reverberation times, in seconds."""
LEAD = 16
"""Samples kept before the direct path of the target (the interpolator's precursor)."""
MAX_ORDER = 40
"""Cap of the image order: later images are below the tail's level and cost most."""


def _draw_points(rng: np.random.Generator, size: np.ndarray) -> np.ndarray | None:
    """Positions (4, 3) of microphone, target, interferer and noise, or None."""
    low, high = np.full(3, 0.4), size - 0.4
    low[2], high[2] = 0.9, min(1.9, size[2] - 0.4)
    mic = rng.uniform(low, high)
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(*TARGET_DISTANCE)
    rise = rng.uniform(-0.2, 0.2)
    flat = np.sqrt(max(distance**2 - rise**2, 0.01))
    target = mic + [flat * np.cos(angle), flat * np.sin(angle), rise]
    interferer, noise = rng.uniform(low, high), rng.uniform(low, high)
    inside = np.all((target > 0.2) & (target < size - 0.2))
    far = np.linalg.norm(interferer - mic) > INTERFERER_DISTANCE
    apart = np.linalg.norm(noise - mic) > 1.0
    return (
        np.stack([mic, target, interferer, noise]) if inside and far and apart else None
    )


def simulate_room(seed: int | list[int]) -> np.ndarray:
    """Simulate one shoebox room.

    Args:
        seed: everything about the room follows from it.

    Returns:
        float32 (taps, 3): responses to the microphone from the target (0.3-1.3 m
        away), the interferer (more than 2 m) and a noise source. The three share
        their time axis, on which the target's direct path arrives at sample `LEAD`,
        and their scale, in which the target's response has unit energy.
    """
    import pyroomacoustics

    rng = np.random.default_rng(seed)
    while True:
        size = rng.uniform([3.5, 3.0, 2.4], [8.0, 6.0, 3.5])
        rt60 = rng.uniform(*RT60)
        points = _draw_points(rng, size)
        if points is None:
            continue
        try:
            absorption, order = pyroomacoustics.inverse_sabine(rt60, size)
        except ValueError:  # no material is absorbent enough for this size
            continue
        break
    room = pyroomacoustics.ShoeBox(
        size,
        fs=SAMPLE_RATE,
        materials=pyroomacoustics.Material(absorption),
        max_order=min(order, MAX_ORDER),
    )
    room.add_microphone(points[0])
    for source in points[1:]:
        room.add_source(source)
    room.compute_rir()
    return _align(room.rir[0], points, int(rt60 * SAMPLE_RATE))


def _align(rirs: list[np.ndarray], points: np.ndarray, taps: int) -> np.ndarray:
    from pyroomacoustics import constants

    distance = np.linalg.norm(points[1] - points[0])
    # The library delays every response by half of its interpolation filter.
    centre = constants.get("frac_delay_length") // 2
    direct = round(distance / constants.get("c") * SAMPLE_RATE) + centre
    result = np.zeros((taps, 3), np.float32)
    for channel, rir in enumerate(rirs):
        part = rir[direct - LEAD :][:taps]
        result[: len(part), channel] = part
    fade = taps // 10
    result[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    return result / np.linalg.norm(result[:, 0])


def _write_room(job: tuple[Path, list[int]]) -> None:
    path, seed = job
    if not path.is_file():
        write_audio(path, simulate_room(seed), subtype="FLOAT")


def write_rooms(folder: Path, split: str, count: int, seed: int, nj: int = 1) -> None:
    """Write ``count`` simulated rooms and their ``wav.scp`` into ``folder``.

    Rooms that are there already are kept: the file name carries the seed.
    """
    if count == 0:
        (folder / "wav.scp").unlink(missing_ok=True)
        return
    try:
        import pyroomacoustics  # noqa: F401
    except ImportError:
        raise UserError(
            "pyroomacoustics: not installed, it simulates the rooms; "
            f"{how_to_install('recipe')}, or give --rir and --rooms 0 0 0"
        ) from None
    number = ("train", "dev", "test").index(split)
    names = [f"room_{split}_s{seed}_{index:05d}" for index in range(count)]
    paths = [(folder / "wav" / f"{name}.wav").resolve() for name in names]
    jobs = [(path, [seed, 21, number, index]) for index, path in enumerate(paths)]
    for _ in parallel_map(_write_room, jobs, nj, f"simulating {split} rooms"):
        pass
    write_table(folder / "wav.scp", dict(zip(names, paths)))

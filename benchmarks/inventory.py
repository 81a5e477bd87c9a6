"""What an inventory costs: time and memory of a worker, and of a draw.

    python -m benchmarks.inventory --utterances 1000000

makes up the tables of a split (no audio), reads them as stage 1 leaves them, then opens
them in a fresh process, as a worker of the loader does, and draws trials. Times are of
its CPU, memory is what its process holds at most, maps of files included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SPEEDS = (0.85, 0.92, 1.0, 1.08, 1.17)
FORMANTS = (0.9, 1.0, 1.11)


def make_up(folder: Path, utterances: int, speakers: int) -> None:
    """Write the tables of a split of LibriSpeech-like utterances, sorted as Kaldi's."""
    rng = np.random.default_rng(0)
    names = sorted(str(number) for number in range(1, speakers + 1))
    owner = np.sort(rng.integers(speakers, size=utterances))
    seconds = rng.uniform(1.5, 17.0, utterances)
    uids = [f"{names[s]}-{100000 + k}-{k % 10000:04d}" for k, s in enumerate(owner)]
    speech = folder / "speech"
    tables = {
        "wav.scp": [f"{u} /data/LibriSpeech/train-all/{u}.flac" for u in uids],
        "utt2spk": [f"{u} {names[s]}" for u, s in zip(uids, owner)],
        "utt2dur": [f"{u} {d:.6f}" for u, d in zip(uids, seconds)],
        "text": [f"{u} SOME TEN WORDS OR SO THAT NOBODY SAID ALOUD" for u in uids],
        "spk2gender": [f"{name} {'fm'[k % 2]}" for k, name in enumerate(names)],
    }
    by_speaker: dict[str, list[str]] = {name: [] for name in names}
    for uid, s in zip(uids, owner):
        by_speaker[names[s]].append(uid)
    tables["spk2utt"] = [f"{n} {' '.join(us)}" for n, us in by_speaker.items() if us]
    speech.mkdir(parents=True)
    for name, lines in tables.items():
        (speech / name).write_text("\n".join(lines) + "\n")
    for path, line in (
        ("noise/wav.scp", "hiss /data/hiss.flac"),
        ("noise/utt2dur", "hiss 20.0"),
        ("rir/wav.scp", "room /data/room.wav"),
    ):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(f"{line}\n")


def measure(folder: Path, draws: int) -> dict[str, float]:
    """Open a split as a worker does, and draw training trials."""
    from espnet_pse_kd.simulation.options import SimulationOptions
    from espnet_pse_kd.simulation.simulator import Simulator

    options = SimulationOptions(speeds=SPEEDS, formants=FORMANTS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    simulator = Simulator.open(folder.parent, folder.name, options, 0)
    opened = time.process_time()
    for index in range(draws):
        simulator.draw("train", index)
    drawn = time.process_time()
    return {
        "imports_mb": before / 1024,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "open_seconds": opened - start,
        "draw_ms": 1000 * (drawn - opened) / draws,
    }


def in_fresh_process(folder: Path, draws: int) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.inventory", "--open", str(folder)]
    result = subprocess.run(
        [*command, "--draws", str(draws)], capture_output=True, text=True, check=True
    )
    return json.loads(result.stdout)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--utterances", type=int, default=1_000_000)
    parser.add_argument("--speakers", type=int, default=2500)
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--open", type=Path, help="only open this split and draw")
    args = parser.parse_args()
    if args.open:
        print(json.dumps(measure(args.open, args.draws)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "train"
        make_up(folder, args.utterances, args.speakers)
        for label in ("first (makes the columns)", "worker"):
            found = in_fresh_process(folder, args.draws)
            print(label, " ".join(f"{k}={v:.3g}" for k, v in found.items()))


if __name__ == "__main__":
    main()

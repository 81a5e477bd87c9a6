#!/usr/bin/env python3
"""How well a speaker encoder alone, without any training, tells the target's frames.

For every frame of the recipe's test sets: the cosine of the window vector around it and
the enrolment's vector. AUC of target against other speech, as in the teacher's table:
TS3 and TS1 borrow the class that they lack from TS2. Run stages 1 and 2 first.
With --apart, windows of the image of target or interferer alone take the place of the
mixture's: what would be left to a perfect separation.

python tools/score_speaker_encoder.py --dump_dir egs2_recipe/dump --encoders ge2e
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

import numpy as np

from espnet_pse_kd.activity import TSS, resample_frames, vad_classes
from espnet_pse_kd.audio import read_audio
from espnet_pse_kd.kaldi import read_table
from espnet_pse_kd.metrics.teacher import Frames, tss_ntss_auc
from espnet_pse_kd.speaker import WINDOW_HOP, load_speaker_encoder
from espnet_pse_kd.stft import HOP
from espnet_pse_kd.utils.progress import parallel_map

TABLES = ("wav.scp", "spk1.scp", "interf1.scp", "enroll_spk1.scp")


@functools.lru_cache(maxsize=1)
def _encoder(name: str):
    import torch

    torch.set_num_threads(1)
    return load_speaker_encoder(name)


def cosines(
    paths: tuple[str, ...], encoder: str, apart: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Cosine (T,) and class (T,) of every loss frame of one trial."""
    import torch

    mixture, target, interferer, clip = map(read_audio, paths)
    model = _encoder(encoder)
    vector = model.embed(clip, paths[-1])  # [D]
    signals = (torch.from_numpy(x)[None] for x in (target, interferer))
    label = vad_classes(*signals)[0]  # [T]

    def heard(wave: np.ndarray) -> torch.Tensor:
        scores = model.windows(wave) @ vector  # [K]
        return resample_frames(scores[None], WINDOW_HOP, HOP, len(label))[0].cpu()

    if apart:
        scores = torch.where(label == TSS, heard(target), heard(interferer))
    else:
        scores = heard(mixture)
    return scores.numpy(), label.numpy()


def frames_of(
    folder: Path, encoder: str, trials: int | None, apart: bool, nj: int
) -> Frames:
    """Frames of one set, the cosine in the place of the posterior."""
    tables = [read_table(folder / name) for name in TABLES]
    uids = list(tables[0])[:trials]
    work = [tuple(table[uid] for table in tables) for uid in uids]
    run = functools.partial(cosines, encoder=encoder, apart=apart)
    results = list(parallel_map(run, work, nj, f"{encoder}, {folder.name}"))
    label = np.concatenate([label for _, label in results])
    posterior = np.zeros((len(label), 3), np.float32)
    posterior[:, TSS] = np.concatenate([scores for scores, _ in results])
    return Frames(posterior, label)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--dump_dir", type=Path, default=Path("egs2_recipe/dump"))
    add("--sets", nargs="+", default=[f"test_ts{number}" for number in range(4)])
    add("--encoders", nargs="+", default=["ge2e", "ge2e_robust"])
    add("--trials", type=int, help="first trials of each set only")
    add("--apart", action="store_true", help="windows of the two images, not mixed")
    add("--nj", type=int, default=2)
    args = parser.parse_args()
    print("|encoder|" + "|".join(args.sets) + "|")
    print("|---" * (len(args.sets) + 1) + "|")
    for encoder in args.encoders:
        frames = {
            name: frames_of(
                args.dump_dir / "raw" / name, encoder, args.trials, args.apart, args.nj
            )
            for name in args.sets
        }
        lender = next((f for n, f in frames.items() if n.endswith("ts2")), None)
        cells = [f"{tss_ntss_auc(one, lender):.3f}" for one in frames.values()]
        print(f"|{encoder}|" + "|".join(cells) + "|", flush=True)


if __name__ == "__main__":
    main()

"""Stage 3: speaker vectors of enrolment clips and of the mixtures' windows.

Neither depends on the other: a window's vector does not know the enrolment, so the
vectors of a mixture are computed once, however often it is trained on.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from espnet_pse_kd.audio import read_audio
from espnet_pse_kd.enrolment_vectors import (
    ENCODER_FILE,
    EnrolmentClips,
    EnrolmentVectors,
)
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import atomic_open
from espnet_pse_kd.kaldi import read_table, same_keys, write_table
from espnet_pse_kd.stft import num_frames
from espnet_pse_kd.utils.progress import parallel_map
from espnet_pse_kd.utils.share import WHOLE, Share

CLIP_BATCH = 32
MIXTURE_BATCH = 8


@functools.lru_cache(maxsize=1)
def _encoder(name: str, device: str, threads: int):
    """The speaker encoder of this process."""
    import torch

    from espnet_pse_kd.speaker import load_speaker_encoder

    torch.set_num_threads(threads)
    return load_speaker_encoder(name).to(device)


def _threads(nj: int) -> int:
    return max(1, len(os.sched_getaffinity(0)) // nj)


def _is_fresh(vectors: Path, audio: Path) -> bool:
    """Whether a vector file is there and no older than what it was computed from."""
    if not audio.is_file():
        raise UserError(f"{audio}: no such audio file; run stage 2 again")
    return vectors.is_file() and vectors.stat().st_mtime_ns >= audio.stat().st_mtime_ns


def _save(path: Path, array: np.ndarray) -> None:
    with atomic_open(path, "wb") as file:
        np.save(file, array)


def _forget_other_vectors(folder: Path, identity: str) -> None:
    """Delete vectors that another encoder, or one with other weights, computed.

    Args:
        folder: of single vectors.
        identity: of what computes them now, one line.
    """
    note = folder / ENCODER_FILE
    if note.is_file() and note.read_text(encoding="utf-8").strip() == identity:
        return
    for path in folder.glob("*.npy"):
        path.unlink()
    with atomic_open(note) as file:
        file.write(f"{identity}\n")


def enrolment_vectors(
    folder: Path, encoder: str, device: str, nj: int, share: Share = WHOLE
) -> Path:
    """Write ``vectors.npz`` of a folder of enrolment clips.

    Every clip's vector is kept in a file of its own as well, from which an
    interrupted run resumes.

    Args:
        folder: ``dump/enroll/<split>`` with wav.scp, utt2spk and utt2source.
        encoder: see `load_speaker_encoder`.
        device: where to compute.
        nj: number of processes.
        share: part of the clips; ``vectors.npz`` is written with the whole only.

    Returns:
        path of ``vectors.npz``.

    Raises:
        UserError: a table or file is missing, or a clip holds no speech.
    """
    from espnet_pse_kd.speaker import identity_of

    known, wavs = EnrolmentClips.read(folder), read_table(folder / "wav.scp")
    clips = known.ids
    cache = folder / "vectors"
    _forget_other_vectors(cache, " ".join(identity_of(encoder)))
    files = {clip: cache / f"{clip}.npy" for clip in clips}
    todo = [c for c in share.of(clips) if not _is_fresh(files[c], Path(wavs[c]))]
    batches = [todo[i : i + CLIP_BATCH] for i in range(0, len(todo), CLIP_BATCH)]
    work = [[(c, wavs[c], files[c]) for c in batch] for batch in batches]
    run = functools.partial(
        _embed_clips, encoder=encoder, device=device, threads=_threads(nj)
    )
    for _ in parallel_map(run, work, nj, f"enrolment vectors, {folder.name}"):
        pass
    if not share.is_whole:
        return folder / "vectors.npz"
    result = EnrolmentVectors(
        clips,
        known.speakers,
        known.sources,
        np.stack([np.load(files[c]) for c in clips]),
    )
    result.save(folder / "vectors.npz")
    return folder / "vectors.npz"


def _embed_clips(
    clips: Sequence[tuple[str, str, Path]], encoder: str, device: str, threads: int
) -> None:
    names, paths, files = zip(*clips)
    model = _encoder(encoder, device, threads)
    vectors = model.embed_batch([read_audio(path) for path in paths], names)
    for file, vector in zip(files, vectors.cpu().numpy()):
        _save(file, vector)


def window_vectors(
    sets: Iterable[Path], encoder: str, device: str, nj: int, share: Share = WHOLE
) -> list[Path]:
    """Write ``window_vectors.scp`` of simulated sets.

    Sets that share a mixture (``train`` and ``train_noits``) share its vectors.

    Args:
        sets: folders ``dump/raw/<set>`` with wav.scp and utt2num_samples.
        encoder: see `load_speaker_encoder`.
        device: where to compute.
        nj: number of processes.
        share: part of the mixtures; the tables are written with the whole only.

    Returns:
        paths of the tables.

    Raises:
        UserError: a table or file is missing.
    """
    from espnet_pse_kd.speaker import identity_of, load_speaker_encoder

    lengths: dict[Path, int] = {}
    files: dict[Path, Path] = {}
    tables: dict[Path, dict[str, Path]] = {}
    for folder in sets:
        same_keys(folder, ("wav.scp", "utt2num_samples"))
        wavs = read_table(folder / "wav.scp")
        samples = read_table(folder / "utt2num_samples")
        tables[folder] = {}
        for uid, wav in wavs.items():
            path = Path(wav)
            files.setdefault(path, _vector_file(folder, path, uid))
            lengths[path] = int(samples[uid])
            tables[folder][uid] = files[path]
    # The length of a window matters as well.
    seconds = load_speaker_encoder(encoder).window_seconds
    identity = f"{' '.join(identity_of(encoder))} {seconds:g} s"
    for cache in sorted({file.parent for file in files.values()}):
        _forget_other_vectors(cache, identity)
    todo = [path for path in share.of([*files]) if not _is_fresh(files[path], path)]
    work = [[(path, files[path]) for path in batch] for batch in _equal(todo, lengths)]
    run = functools.partial(
        _embed_windows, encoder=encoder, device=device, threads=_threads(nj)
    )
    for _ in parallel_map(run, work, nj, "window vectors"):
        pass
    for folder, table in tables.items() if share.is_whole else ():
        write_table(folder / "window_vectors.scp", table)
    return [folder / "window_vectors.scp" for folder in tables]


def _vector_file(folder: Path, wav: Path, uid: str) -> Path:
    """Where a mixture's vectors lie: beside the folder of its audio, if it is ours."""
    if wav.absolute().is_relative_to(folder.parent.absolute()):
        return wav.parent.parent / "window_vectors" / f"{uid}.npy"
    return folder / "window_vectors" / f"{uid}.npy"


def _equal(paths: Sequence[Path], lengths: dict[Path, int]) -> Iterator[list[Path]]:
    """Batches of mixtures of equal length."""
    groups: dict[int, list[Path]] = {}
    for path in paths:
        groups.setdefault(lengths[path], []).append(path)
    for group in groups.values():
        for start in range(0, len(group), MIXTURE_BATCH):
            yield group[start : start + MIXTURE_BATCH]


def _embed_windows(
    mixtures: Sequence[tuple[Path, Path]], encoder: str, device: str, threads: int
) -> None:
    from espnet_pse_kd.speaker import WINDOW_HOP

    model = _encoder(encoder, device, threads)
    waves = np.stack([read_audio(path) for path, _ in mixtures])  # [B, N]
    vectors = model.windows_batch(waves)  # [B, K, D]
    assert vectors.shape[1] == num_frames(waves.shape[1], WINDOW_HOP)
    for (_, file), vector in zip(mixtures, vectors.cpu().numpy()):
        _save(file, vector.astype(np.float16))

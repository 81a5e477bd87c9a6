"""Stage 2: write the simulated sets under ``dump/`` (docs/formats.md)."""

from __future__ import annotations

import functools
import json
import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from espnet_pse_kd.audio import write_audio
from espnet_pse_kd.files import atomic_open
from espnet_pse_kd.kaldi import write_table
from espnet_pse_kd.simulation.enrolment import (
    Clip,
    clip_path,
    write_clip_tables,
)
from espnet_pse_kd.simulation.options import (
    SimulationOptions,
)
from espnet_pse_kd.simulation.records import record, twin_record
from espnet_pse_kd.simulation.render import Signals
from espnet_pse_kd.simulation.sets import (
    OPTIONS_FILE,
    check_disk,
    estimated_bytes,
    its_set,
)
from espnet_pse_kd.simulation.simulator import Simulator
from espnet_pse_kd.utils.progress import parallel_map
from espnet_pse_kd.utils.share import WHOLE, Share

KINDS = {"wav": "wav.scp", "spk1": "spk1.scp", "interf1": "interf1.scp"}
_WAV_HEADER = 44


@functools.cache
def _simulator(
    data_dir: Path, split: str, options: SimulationOptions, seed: int
) -> Simulator:
    torch.set_num_threads(1)
    return Simulator.open(data_dir, split, options, seed)


def _path(folder: Path, kind: str, uid: str) -> Path:
    return folder / kind / f"{uid}.wav"


def _write_signals(folder: Path, uid: str, signals: Signals) -> None:
    for kind, samples in zip(KINDS, signals):
        write_audio(_path(folder, kind, uid), samples)


def _is_complete(folder: Path, uid: str, samples: int) -> bool:
    size = _WAV_HEADER + 2 * samples
    paths = [_path(folder, kind, uid) for kind in KINDS]
    return all(path.is_file() and path.stat().st_size == size for path in paths)


def _finished(marker: Path, fingerprint: str, folder: Path, twin: Path | None) -> list:
    """Records of a sample that an earlier run finished; empty if it did not."""
    if not marker.is_file():
        return []
    state = json.loads(marker.read_text(encoding="utf-8"))
    if state["fingerprint"] != fingerprint:
        return []
    own, *others = state["records"]
    if not _is_complete(folder, own["uid"], own["samples"]):
        return []
    if others and not (twin and _is_complete(twin, own["uid"], own["samples"])):
        return []
    return state["records"]


def _make_sample(
    index: int,
    data_dir: Path,
    dump_dir: Path,
    set_name: str,
    options: SimulationOptions,
    seed: int,
    fingerprint: str,
    construction: str = "",
) -> list[dict]:
    """Write sample ``index`` unless it is there; its record, and that of its twin.

    With a construction it is an ITS sample made this way, whose twin is there already.
    """
    folder = dump_dir / "raw" / its_set(set_name, construction or True)
    twin_folder = dump_dir / "raw" / its_set(set_name, False)
    marker = folder / "samples" / f"{index:06d}.json"
    if done := _finished(marker, fingerprint, folder, twin_folder):
        return done
    simulator = _simulator(data_dir, set_name.split("_")[0], options, seed)
    trial, rendered = simulator.sample(set_name, index)
    records = [record(trial, rendered)]
    _write_signals(folder, trial.uid, rendered.signals)
    if rendered.twin and not construction:
        _write_signals(twin_folder, trial.uid, rendered.twin)
        records.append(twin_record(trial, records[0]))
    # The marker comes last: with it, the audio is complete.
    with atomic_open(marker) as file:
        json.dump({"fingerprint": fingerprint, "records": records}, file)
    return json.loads(json.dumps(records))


def _remove_leftovers(*folders: Path) -> None:
    """Remove the temporary files of runs that were killed."""
    for folder in folders:
        for path in folder.rglob(".*.tmp"):
            path.unlink(missing_ok=True)


def _write_tables(
    folder: Path, records: list[dict], audio: dict[str, Path], enroll: Path
) -> None:
    """Write the tables of one set; ``audio`` is the folder of each uid's audio."""
    for kind, table in KINDS.items():
        write_table(folder / table, {u: _path(audio[u], kind, u) for u in audio})
    columns = {
        "utt2spk": "target",
        "utt2interf": "interferer",
        "utt2scenario": "scenario",
        "enroll_id": "enroll_id",
        "utt2num_samples": "samples",
    }
    for table, column in columns.items():
        write_table(folder / table, {r["uid"]: r[column] for r in records})
    clips = {r["uid"]: clip_path(enroll, r["enroll_clip"]) for r in records}
    write_table(folder / "enroll_spk1.scp", clips)
    texts = {r["uid"]: r["text"] for r in records if r["text"]}
    (folder / "text_spk1").unlink(missing_ok=True)
    if texts:
        write_table(folder / "text_spk1", texts)
    with atomic_open(folder / "trials.jsonl") as file:
        for own in sorted(records, key=lambda r: r["uid"].encode()):
            kept = {key: own[key] for key in own if key not in ("text", "enroll_clip")}
            file.write(json.dumps(kept) + "\n")


def _make_set(
    data_dir: Path,
    dump_dir: Path,
    set_name: str,
    count: int,
    options: SimulationOptions,
    seed: int,
    nj: int,
    its_variants: Sequence[float | str],
    share: Share,
) -> None:
    split = set_name.split("_")[0]
    inventory = _simulator(data_dir, split, options, seed).inventory

    def make(indices: Sequence[int], construction: str = "") -> list[list[dict]]:
        one = options.only(construction) if construction else options
        drawn = json.dumps([asdict(one), seed, set_name, inventory.digest])
        run = functools.partial(
            _make_sample,
            data_dir=data_dir,
            dump_dir=dump_dir,
            set_name=set_name,
            options=one,
            seed=seed,
            fingerprint=f"{zlib.crc32(drawn.encode()):08x}",
            construction=construction,
        )
        folder = its_set(set_name, construction or True)
        made = list(parallel_map(run, indices, nj, f"simulating {folder}"))
        if share.is_whole:
            _remove_leftovers(dump_dir / "raw" / folder)
        return made

    indices = share.of(range(count))
    results = make(indices)
    if not share.is_whole:
        twins = [index for index, made in zip(indices, results) if len(made) > 1]
        for variant in its_variants if set_name == split else ():
            if isinstance(variant, str):
                make(twins, variant)
        return
    folder, enroll = dump_dir / "raw" / set_name, dump_dir / "enroll" / split
    own = {records[0]["uid"]: records[0] for records in results}
    _write_tables(folder, [*own.values()], dict.fromkeys(own, folder), enroll)
    if set_name == split:
        _make_variants(folder, results, its_variants, make, enroll)


def _make_variants(
    folder: Path,
    results: Sequence[list[dict]],
    variants: Sequence[float | str],
    make: Callable[[Sequence[int], str], list[list[dict]]],
    enroll: Path,
) -> None:
    """Write the sets with other ITS samples than those of ``folder``, see `its_set`.

    Args:
        folder: ``dump/raw/<set>``, with audio.
        results: records of its samples, each with that of its twin, if it has one.
        variants: which, beside the one without ITS samples.
        make: renders samples anew, given their numbers and a construction.
        enroll: folder of the enrolment clips.
    """
    raw, name = folder.parent, folder.name
    twins = raw / its_set(name, False)
    _remove_leftovers(twins)
    wanted = {its_set(name, variant) for variant in variants}
    for old in raw.glob(f"{name}_its*"):
        if old.name not in wanted:  # tables of audio that may be another by now
            shutil.rmtree(old)
    own = {records[0]["uid"]: records[0] for records in results}
    places = {own["uid"]: i for i, (own, *twin) in enumerate(results) if twin}
    for variant in (False, *variants):
        target = raw / its_set(name, variant)
        if isinstance(variant, str):
            made = make([*places.values()], variant)
            others, source = {one["uid"]: one for (one,) in made}, target
        else:
            replaced = places.keys() - _kept_its([*places], variant)
            others = {uid: results[places[uid]][1] for uid in replaced}
            source = twins
        audio = dict.fromkeys(own, folder) | dict.fromkeys(others, source)
        _write_tables(target, [*(own | others).values()], audio, enroll)


def _kept_its(uids: Sequence[str], part: float) -> set[str]:
    """The ITS samples that stay; those of a smaller part are among a larger one's."""
    order = sorted(uids, key=lambda uid: zlib.crc32(uid.encode()))
    return set(order[: round(part * len(order))])


def _make_clip(
    clip: Clip,
    data_dir: Path,
    folder: Path,
    split: str,
    options: SimulationOptions,
    seed: int,
    fingerprint: str,
) -> None:
    path = clip_path(folder, clip.cid)
    marker = path.with_suffix(".key")
    if path.is_file() and marker.is_file() and marker.read_text() == fingerprint:
        return
    simulator = _simulator(data_dir, split, options, seed)
    write_audio(path, simulator.clip(clip))
    with atomic_open(marker) as file:
        file.write(fingerprint)


def _make_clips(
    data_dir: Path,
    dump_dir: Path,
    split: str,
    options: SimulationOptions,
    seed: int,
    nj: int,
    share: Share,
) -> None:
    folder = dump_dir / "enroll" / split
    simulator = _simulator(data_dir, split, options, seed)
    clips, digest = simulator.clips, simulator.inventory.digest
    drawn = json.dumps([asdict(options), seed, digest])
    make = functools.partial(
        _make_clip,
        data_dir=data_dir,
        folder=folder,
        split=split,
        options=options,
        seed=seed,
        fingerprint=f"{zlib.crc32(drawn.encode()):08x}",
    )
    flat = [clip for of_speaker in clips.values() for clip in of_speaker]
    for _ in parallel_map(make, share.of(flat), nj, f"enrolment clips, {split}"):
        pass
    if not share.is_whole:
        return
    _remove_leftovers(folder)
    write_clip_tables(folder, clips)


def simulate(
    data_dir: Path,
    dump_dir: Path,
    sizes: dict[str, int],
    options: SimulationOptions,
    seed: int = 0,
    nj: int = 1,
    its_variants: Sequence[float | str] = (),
    share: Share = WHOLE,
) -> None:
    """Write every set of ``sizes`` and its enrolment clips; a killed run resumes.

    Args:
        data_dir: written by stage 1.
        dump_dir: ``raw/<set>/`` and ``enroll/<split>/`` are written below it.
        sizes: number of samples per set, see `set_sizes`.
        options: ranges and shares.
        seed: with ``data_dir`` and ``options`` it decides every sample.
        nj: processes.
        its_variants: also write training sets with these variants of the
            inactive-target samples, see `its_set`.
        share: part of the samples and clips that is made; without tables, unless it is
            the whole.

    Raises:
        UserError: a split is incomplete, or the disk is too small.
    """
    data_dir, dump_dir = data_dir.resolve(), dump_dir.resolve()
    splits = sorted({name.split("_")[0] for name in sizes})
    for split in splits:
        _simulator(data_dir, split, options, seed)
    check_disk(dump_dir, estimated_bytes(sizes, options))
    if share.is_whole:
        with atomic_open(dump_dir / OPTIONS_FILE) as file:
            json.dump({"seed": seed, "sizes": sizes, **asdict(options)}, file, indent=1)
    for split in splits:
        _make_clips(data_dir, dump_dir, split, options, seed, nj, share)
    for set_name, count in sizes.items():
        if count == 0:
            continue
        _make_set(
            data_dir, dump_dir, set_name, count, options, seed, nj, its_variants, share
        )

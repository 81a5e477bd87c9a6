"""Stage 2: simulate mixtures, targets, interferers and enrolment clips."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from espnet_pse_kd.errors import one_line
from espnet_pse_kd.simulation.dataset import simulate
from espnet_pse_kd.simulation.options import SimulationOptions
from espnet_pse_kd.simulation.sets import its_variant, set_sizes
from espnet_pse_kd.utils.share import add_share

HELP = {
    "seconds": "length of training and development samples, s",
    "speeds": "speeds of the training speech; each makes more voices of the speakers",
    "formants": "ratios of the training speech's formants; each makes more voices",
    "noise_speed": "speeds of the training noise",
    "second_noise": "share of noisy training samples that get another noise as well",
    "equalizer": "random equalizer on every training sound, +- dB",
    "test_seconds": "shortest and longest scored sample, s (pauses come on top)",
    "ts0": "share of clean samples in the training mix",
    "ts1": "share of samples with target and noise",
    "ts2": "share of samples with target, interferer and noise",
    "its": "share of inactive-target-speaker samples",
    "drop_target": "share, among ITS samples, of those without the target",
    "swap_enrolment": "share of those enrolled with a speaker outside the mixture",
    "partial": "share of those whose target is silent for several seconds",
    "partial_seconds": "how long, s",
    "snr": "target to noise, dB",
    "sir": "target to interferer, dB",
    "train_snr": "target to noise in training samples, dB",
    "train_sir": "target to interferer in training samples, dB",
    "same_sex": "share of training pairs of one sex",
    "paired": "share of training samples in groups from one mixture",
    "further_interferers": "chance of a second, then of a third interferer",
    "turns": "share of training samples in which voices take turns",
    "short": "share of training samples with a short utterance of the target",
    "short_seconds": "how long that is, s",
    "swapped_distances": "share of simulated rooms with the interferer near",
    "transients": "share of training samples with knocks, keys, doors and clicks",
    "transient_level": "peak of these above the mixture's rms, dB",
    "noise_free": "share of training samples with interferers but no noise",
    "babble": "share of training noises that are voices of many",
    "shaped_noise": "share of training noises that are synthesized",
    "telephone": "share of training mixtures that come through a telephone",
    "codec": "share of training mixtures that come through MP3 or Opus",
    "long_absence": "share of training samples whose target is absent for long",
    "absence_seconds": "how long, s",
    "interruptions": "share of training samples whose target falls silent repeatedly",
    "interruption_seconds": "how long each time, s",
    "level": "level of the mixture, dBFS",
    "pause_share": "share of samples in which the target pauses",
    "pause_seconds": "length of the pause, s",
    "measured_share": "share of samples in measured rooms, where stage 1 had some",
    "dry_share": "share of training samples without any room",
    "target": "room response in the target image: full, or early (50 ms)",
    "clips_per_speaker": "enrolment clips per speaker",
    "clip_seconds": "length of an enrolment clip, s",
    "clip_snr": "speech to noise of development and test clips, dB",
    "train_clip_snr": "speech to noise of training clips, dB",
    "clip_level": "level of an enrolment clip, dBFS",
    "clip_room_share": "share of development and test clips that are reverberated",
    "train_clip_room_share": "share of training clips that are reverberated",
    "clip_telephone": "share of training clips that come through a telephone",
    "clip_codec": "share of training clips that come through MP3 or Opus",
}


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command; one option per field of `SimulationOptions`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--data_dir", type=Path, default=Path("data"), help="written by stage 1")
    add("--dump_dir", type=Path, default=Path("dump"), help="folder to write to")
    add("--train", type=int, default=2000, help="training samples")
    add("--dev", type=int, default=200, help="development samples")
    add("--dev_scored", type=int, default=0, help="trials per scenario, dev speakers")
    add("--test", type=int, default=40, help="trials per scenario, test speakers")
    add("--seed", type=int, default=0, help="decides every sample")
    add("--nj", type=int, default=2, help="processes")
    add(
        "--its_variants",
        nargs="*",
        default=[],
        help="also training sets with other inactive-target samples: so much of them, "
        "the others replaced by twins with the target (0.5: train_its50), or all made "
        "by one construction (partial: train_its_partial)",
    )
    add_share(parser)
    group = parser.add_argument_group("ranges and shares")
    for field in fields(SimulationOptions):
        default: Any = field.default
        pair = isinstance(default, tuple)
        group.add_argument(
            f"--{field.name}",
            type=type(default[0] if pair else default),
            default=default,
            nargs=field.metadata.get("nargs", 2 if pair else None),
            metavar=None if field.metadata or not pair else ("LOW", "HIGH"),
            help=HELP[field.name],
        )
    return parser


@one_line
def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(arguments)
    values: dict[str, Any] = {
        field.name: getattr(args, field.name) for field in fields(SimulationOptions)
    }
    pairs = {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
    options = SimulationOptions(**{**values, **pairs})
    sizes = set_sizes(args.train, args.dev, args.test, args.dev_scored)
    simulate(
        args.data_dir,
        args.dump_dir,
        sizes,
        options,
        args.seed,
        args.nj,
        [its_variant(text) for text in args.its_variants],
        args.share,
    )


if __name__ == "__main__":
    main()

"""Score our weights, packed models and peers on one ground, and print the tables.

Everything that is scored is kept in --output: an interrupted run goes on there, and
--tables prints again what it has.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.networks import ROOT
from benchmarks.quality import libri2mix, scenarios, short
from benchmarks.quality.scoring import Measures, read_rows, score
from benchmarks.quality.systems import CLEAN, NOISY, QUALITY_PEERS, System
from benchmarks.quality.tables import TABLES
from benchmarks.quality.trials import Trial
from espnet_pse_kd.errors import UserError, one_line
from espnet_pse_kd.files import write_csv
from espnet_pse_kd.report.listeners import MOS, Listeners


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality", description=__doc__
    )
    grounds = parser.add_subparsers(dest="ground", required=True)
    mixtures = _ground(grounds, "libri2mix", "Libri2Mix test mix_clean, 16 kHz")
    mixtures.add_argument("--librispeech", type=Path, required=True, metavar="DIR")
    mixtures.add_argument("--modes", nargs="+", choices=libri2mix.MODES)
    sets = _ground(grounds, "scenarios", "TS0 to TS3, as the recipe's stage 2 wrote")
    sets.add_argument("--dump_dir", type=Path, default=Path("egs2_recipe/dump"))
    sets.add_argument("--sets", nargs="+", default=[*scenarios.SETS])
    sets.add_argument("--clips", type=int, default=1, help="enrolment clips of a trial")
    words = _ground(grounds, "short", "short utterances after silence or a talker")
    words.add_argument("--speech", type=Path, nargs="+", required=True, metavar="DIR")
    return parser


def _ground(grounds: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = grounds.add_parser(name, help=text)
    add = parser.add_argument
    add("--output", type=Path, help="folder; default: benchmarks/quality/exp/GROUND")
    add("--trials", type=int, help="a fixed subset of each part; default: all")
    add("--models", nargs="*", help="packed models, default: the package's; none: no")
    add("--torch", nargs="*", default=[], help="trained networks, run in PyTorch")
    add("--look_ahead", action="store_true", help="models also with look-ahead")
    add("--limits", type=float, nargs="*", default=[], help="attenuation limits, dB")
    add("--peers", nargs="*", default=[], choices=QUALITY_PEERS)
    add("--peer_source", type=Path, help="folder with checkouts of the peers")
    add("--asr", help="word errors by whisper_tiny, whisper_base or an ESPnet ASR")
    add("--mos", nargs="*", default=[], choices=MOS)
    add("--nj", type=int, default=2, help="processes")
    add("--tables", action="store_true", help="only print what --output has")
    add("--keep", type=Path, metavar="CSV", help="also write the scores; .gz packs")
    return parser


def find_trials(args: argparse.Namespace) -> list[Trial]:
    """The trials of the ground that is asked for."""
    if args.ground == "libri2mix":
        modes = args.modes or libri2mix.MODES
        return libri2mix.trials(args.librispeech, args.trials, modes)
    if args.ground == "scenarios":
        return scenarios.trials(args.dump_dir, args.sets, args.trials, args.clips)
    return short.trials(args.speech, args.trials)


def find_systems(args: argparse.Namespace) -> list[System]:
    """The rows that are asked for, the input first."""
    models = [None] if args.models is None else args.models
    limits = [None, *args.limits]
    ways = (False, True) if args.look_ahead else (False,)
    # What an ASR makes of the clean target says what it is worth.
    clean = [System(CLEAN)] if args.asr or args.mos else []
    return [
        System(NOISY),
        *clean,
        *(System("onnx", m, way, x) for m in models for x in limits for way in ways),
        *(System("torch", source) for source in args.torch),
        *(System("peer", name, checkouts=args.peer_source) for name in args.peers),
    ]


def _check(args: argparse.Namespace) -> None:
    if args.nj < 1:
        raise UserError(f"--nj {args.nj}: give 1 or more")
    if args.trials is not None and args.trials < 1:
        raise UserError(f"--trials {args.trials}: give 1 or more")
    if args.peer_source is not None and not args.peer_source.is_dir():
        raise UserError(f"--peer_source {args.peer_source}: no such folder")
    Listeners(args.asr, tuple(args.mos)).check()


def _about(args: argparse.Namespace) -> dict[str, Any]:
    """What the trials depend on; paths of this machine are no part of it."""
    if args.ground == "libri2mix":
        digest = hashlib.sha256(libri2mix.LIST.read_bytes()).hexdigest()
        return {"ground": args.ground, "list": digest[:16]}
    if args.ground == "scenarios":
        return {"ground": args.ground, "clips": args.clips}
    return {"ground": args.ground}


@one_line
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(argv)
    folder = args.output or ROOT / "benchmarks/quality/exp" / args.ground
    if args.tables:
        rows = read_rows(folder)
        if not rows:
            raise UserError(f"{folder}: no scores; run without --tables first")
    else:
        _check(args)
        # Libri2Mix is known by separation, and has 12,000 trials.
        frames = args.ground != "libri2mix"
        measures = Measures(Listeners(args.asr, tuple(args.mos)), frames)
        systems = find_systems(args)
        rows = score(
            find_trials(args), systems, folder, _about(args), measures, args.nj
        )
    if args.keep:
        write_csv(args.keep, rows)
    print("\n".join(TABLES[args.ground](rows)))


if __name__ == "__main__":
    main()

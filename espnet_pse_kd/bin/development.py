"""Make the development ground: the fixed trials on which every choice is made.

Two clean talkers as in Libri2Mix, and TS0 to TS3, of development speakers of several
corpora. What the trials are is listed in --lists; where others would be made, nothing
is. With --draw the lists are written instead.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

from espnet_pse_kd.errors import UserError, one_line
from espnet_pse_kd.files import atomic_open

TWO_TALKERS = "dev2mix_max"
SCENARIOS = "dev_ts.jsonl.gz"


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--data_dir", type=Path, default=Path("data"), help="written by stage 1")
    add("--dump_dir", type=Path, default=Path("dump"), help="folder to write to")
    add("--lists", type=Path, required=True, help="folder of the lists of trials")
    add("--draw", action="store_true", help="draw trials and write the lists, no more")
    add("--trials", type=int, default=400, help="per scenario, where they are drawn")
    add("--seed", type=int, default=0, help="of TS0 to TS3, and of a draw")
    add("--nj", type=int, default=2, help="processes")
    return parser


def drawn_scenarios(data_dir: Path, count: int, seed: int) -> list[str]:
    """What is drawn for each trial of TS0 to TS3, which share all but the scenario."""
    from espnet_pse_kd.simulation.options import SimulationOptions
    from espnet_pse_kd.simulation.simulator import Simulator

    simulator = Simulator.open(data_dir, "dev", SimulationOptions(), seed)
    lines = []
    for index in range(count):
        trial = simulator.draw("dev_ts2", index)
        facts = {
            "target": trial.target,
            "target_utts": [piece.utt for piece in trial.speech],
            "interferer": trial.interferer,
            "interferer_utts": [piece.utt for piece in trial.interference],
            "noise": [part.noise for part in trial.noises],
            "room": trial.room,
            "snr": round(trial.snr, 3),
            "sir": round(trial.sir, 3),
            "level": round(trial.level, 3),
            "enrolment": trial.enroll_clip,
        }
        lines.append(json.dumps(facts))
    return lines


def _draw(args: argparse.Namespace) -> None:
    """Draw the trials and write their lists."""
    from espnet_pse_kd.simulation.split import load_inventory
    from espnet_pse_kd.simulation.two_talkers import draw_mixtures, write_list

    if args.trials < 2 or args.trials % 2:
        raise UserError(f"--trials {args.trials}: give an even number")
    inventory = load_inventory(args.data_dir / "dev")
    mixtures = draw_mixtures(inventory, args.trials // 2, args.seed)
    write_list(args.lists / f"{TWO_TALKERS}.csv.gz", mixtures)
    lines = drawn_scenarios(args.data_dir, args.trials, args.seed)
    with atomic_open(args.lists / SCENARIOS, "wb") as file:
        file.write(gzip.compress("\n".join(lines).encode(), mtime=0))


def _make(args: argparse.Namespace) -> None:
    """Make the listed trials; nothing is written where others would be made."""
    from espnet_pse_kd.bin import simulate
    from espnet_pse_kd.simulation.two_talkers import read_list, write_set

    mixtures = read_list(args.lists / f"{TWO_TALKERS}.csv.gz")
    listed = _read(args.lists / SCENARIOS)
    drawn = drawn_scenarios(args.data_dir, len(listed), args.seed)
    differ = [
        index for index, pair in enumerate(zip(drawn, listed)) if len({*pair}) > 1
    ]
    if differ:
        raise UserError(
            f"{args.lists / SCENARIOS}: {len(differ)} of {len(listed)} trials would be "
            f"others than listed, the first is number {differ[0]}; run stage 1 on the "
            "listed corpora with --seed 0, or draw a ground of your own (--draw)"
        )
    split = args.data_dir.resolve() / "dev"
    write_set(split, mixtures, args.dump_dir, TWO_TALKERS, args.nj)
    simulate.main(
        ["--data_dir", str(args.data_dir), "--dump_dir", str(args.dump_dir)]
        + ["--train", "0", "--dev", "0", "--test", "0"]
        + ["--dev_scored", str(len(listed))]
        + ["--seed", str(args.seed), "--nj", str(args.nj)]
    )
    print(f"development ground: {args.dump_dir}/raw/{TWO_TALKERS}, dev_ts0 to dev_ts3")


def _read(path: Path) -> list[str]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return file.read().splitlines()
    except (OSError, EOFError) as error:
        raise UserError(
            f"{path}: not the list of trials ({error}); restore it"
        ) from None


@one_line
def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(arguments)
    if args.draw:
        _draw(args)
    else:
        _make(args)


if __name__ == "__main__":
    main()

"""Make the development ground: the fixed trials on which every choice is made.

Two clean talkers as in Libri2Mix, and TS0 to TS3, of development speakers of several
corpora. What the trials are is listed in --lists, and the trials that were made are
compared with the lists; --draw draws and writes the lists.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

from espnet_pse_kd.errors import UserError, one_line
from espnet_pse_kd.files import atomic_open

TWO_TALKERS = "dev2mix_max"
FACTS = (
    *("uid", "scenario", "target", "target_utt", "interferer", "interferer_utt"),
    *("noise", "room", "snr", "sir", "enroll_id"),
)


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--data_dir", type=Path, default=Path("data"), help="written by stage 1")
    add("--dump_dir", type=Path, default=Path("dump"), help="folder to write to")
    add("--lists", type=Path, required=True, help="folder of the lists of trials")
    add("--draw", action="store_true", help="draw the trials and write the lists")
    add("--trials", type=int, default=400, help="per scenario, where they are drawn")
    add("--seed", type=int, default=0, help="of TS0 to TS3, and of a draw")
    add("--nj", type=int, default=2, help="processes")
    return parser


def _listed(dump_dir: Path) -> Iterator[str]:
    """Lines of the list of TS0 to TS3: what was drawn for each trial."""
    for k in range(4):
        path = dump_dir / "raw" / f"dev_ts{k}" / "trials.jsonl"
        for line in path.read_text(encoding="utf-8").splitlines():
            facts = json.loads(line)
            yield json.dumps({key: _rounded(facts[key]) for key in FACTS})


def _rounded(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value


def _two_talkers(args: argparse.Namespace) -> None:
    from espnet_pse_kd.simulation.split import load_inventory
    from espnet_pse_kd.simulation.two_talkers import (
        draw_mixtures,
        read_list,
        write_list,
        write_set,
    )

    split = args.data_dir.resolve() / "dev"
    path = args.lists / f"{TWO_TALKERS}.csv.gz"
    if args.draw:
        drawn = draw_mixtures(load_inventory(split), args.trials // 2, args.seed)
        write_list(path, drawn)
    write_set(split, read_list(path), args.dump_dir, TWO_TALKERS, args.nj)


def _scenarios(args: argparse.Namespace) -> None:
    from espnet_pse_kd.bin import simulate

    path = args.lists / "dev_ts.jsonl.gz"
    listed = [] if args.draw else _read(path)
    count = len(listed) // 4 or args.trials
    simulate.main(
        ["--data_dir", str(args.data_dir), "--dump_dir", str(args.dump_dir)]
        + ["--train", "0", "--dev", "0", "--test", "0", "--dev_scored", str(count)]
        + ["--seed", str(args.seed), "--nj", str(args.nj)]
    )
    made = list(_listed(args.dump_dir))
    if args.draw:
        with atomic_open(path, "wb") as file:
            file.write(gzip.compress("\n".join(made).encode(), mtime=0))
        return
    differ = [k for k, pair in enumerate(zip(made, listed)) if pair[0] != pair[1]]
    if differ or len(made) != len(listed):
        raise UserError(
            f"{path}: {len(differ)} of {len(listed)} trials are others than listed, the"
            f" first is {listed[differ[0]] if differ else ''}; run stage 1 on the "
            "listed corpora with --seed 0, or draw a ground of your own (--draw)"
        )


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
    if args.trials < 2 or args.trials % 2:
        raise UserError(f"--trials {args.trials}: give an even number")
    _two_talkers(args)
    _scenarios(args)
    print(
        f"development ground: {TWO_TALKERS} and dev_ts0 to dev_ts3 of {args.dump_dir}"
    )


if __name__ == "__main__":
    main()

"""Stages 4 and 5: train the teacher, or the students of several methods and seeds.

Without --methods, the pVAD: EXPDIR/pvad_TAG. With --methods, for each seed a trunk (b1)
of --trunk_epochs epochs, from which every method continues up to --max_epoch with the
trunk's optimizer state and data order: EXPDIR/pse_TAG_METHOD_seedN. Methods whose table
says from_scratch, and with --from_scratch all, train alone. A finished training is left
as it is, an interrupted one resumes, one with other options or data is refused.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from espnet_pse_kd.errors import UserError, one_line
from espnet_pse_kd.recipe import training
from espnet_pse_kd.recipe.methods import (
    merge,
    override,
    read_methods,
    select,
)
from espnet_pse_kd.simulation.sets import its_set
from espnet_pse_kd.utils.yamls import read_config

_SCHEDULED = ("--batch_size", "--accum_grad", "--max_epoch", "--dynamic_mixing")
"""Options of ESPnet's training from which its schedule follows."""


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config", type=Path, required=True, help="base YAML")
    add("--expdir", type=Path, default=Path("exp"), help="folder of all trainings")
    add("--dumpdir", type=Path, default=Path("dump"), help="written by stages 2 and 3")
    add("--train_set", default="train", help="folder of DUMPDIR/raw")
    add("--valid_set", default="dev", help="folder of DUMPDIR/raw")
    add("--datadir", type=Path, default=Path("data"), help="written by stage 1")
    add(
        "--dynamic_mixing",
        type=int,
        default=0,
        metavar="SAMPLES",
        help="students mix so many training samples per epoch anew from --datadir, "
        "and read no --train_set; 0 reads it",
    )
    add("--tag", help="TAG in the folders' names (default: from --config's)")
    add("--max_epoch", type=int, help="default: the base YAML's")
    add("--seeds", type=int, nargs="+", default=[0], help="of training")
    add("--methods", nargs="+", help="names in --methods_tables")
    add("--methods_tables", type=Path, nargs="+", default=[Path("conf/methods.yaml")])
    add("--teacher", type=Path, help="folder of the trained pVAD")
    add("--trunk_epochs", type=int, help="default: half of --max_epoch")
    add("--from_scratch", action="store_true", help="no common trunk")
    add("--jobs", type=int, default=1, help="trainings at the same time")
    add("--cmd", default="utils/run_local.sh", help="back end, see cmd.sh")
    add("--ngpu", type=int, default=0, help="GPUs of one training")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="laid over base YAML and method; dots descend: gate_conf.theta=0.7",
    )
    add("--train_args", default="", help="further options of ESPnet's training")
    add("--check", action="store_true", help="check names and YAML, print the folders")
    return parser


def _check(args: argparse.Namespace) -> None:
    """Everything that can be told without data.

    Raises:
        UserError: see `select`, `read_config`, `merge`, `override`.
    """
    base = read_config(args.config)
    if args.methods is not None:
        for method in select(read_methods(*args.methods_tables), args.methods):
            gate = merge(base, method.options).get("gate_conf", {}).get("mode")
            if args.teacher is None and (method.teacher or gate == "constant"):
                raise UserError(
                    f"--methods {method.name}: needs a teacher; leave out "
                    "--skip_teacher"
                )
    for text in args.set:
        override(text)
    for option in _SCHEDULED:
        if any(w.split("=")[0] == option for w in shlex.split(args.train_args)):
            raise UserError(
                f"--train_args: {option} would not be known to the learning rate's "
                f"schedule; write --set {option[2:]}=VALUE"
            )
    if args.dynamic_mixing < 0:
        raise UserError(f"--dynamic_mixing {args.dynamic_mixing}: give 0 or more")
    if args.jobs < 1:
        raise UserError(f"--jobs {args.jobs}: give at least 1")


def _tag(args: argparse.Namespace) -> str:
    return args.tag or training.config_tag(args.config)


def _folders(args: argparse.Namespace) -> list[Path]:
    """Where the trainings are, but for the trunks."""
    tag = _tag(args)
    if args.methods is None:
        return [training.folder_of(args.expdir, tag, "pvad", args.seeds[0])]
    return [
        training.folder_of(args.expdir, tag, method, seed)
        for seed in args.seeds
        for method in args.methods
    ]


@one_line
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(argv)
    _check(args)
    if args.check:
        for folder in _folders(args):
            print(folder)
        return
    devices = ["--ngpu", str(args.ngpu)]
    if args.ngpu > 1:  # one process for each, as a teacher cannot be shared
        devices += ["--multiprocessing_distributed", "true"]
    backend = training.Backend(
        [*shlex.split(args.cmd), "--gpu", str(args.ngpu)],
        [*devices, *shlex.split(args.train_args)],
        args.jobs,
    )
    plan = training.Plan(
        base=read_config(args.config),
        tag=_tag(args),
        overrides=[override(text) for text in args.set],
        expdir=args.expdir,
        dumpdir=args.dumpdir,
        train_set=args.train_set,
        valid_set=args.valid_set,
        max_epoch=args.max_epoch,
        teacher=args.teacher,
        samples=args.dynamic_mixing,
        datadir=args.datadir,
    )
    if args.methods is None:
        training.run_all([plan.teacher_training(args.seeds[0])], backend)
        return
    methods = select(read_methods(*args.methods_tables), args.methods)
    sets = [args.valid_set] if plan.samples else [args.train_set, args.valid_set]
    for method in methods:
        for name in sets:
            folder = args.dumpdir / "raw" / its_set(name, method.its)
            if not folder.is_dir():
                variant = "" if isinstance(method.its, bool) else method.its
                raise UserError(
                    f"{folder}: no such folder, method {method.name} needs it; run "
                    "stages 2 and 3 "
                    + (f"with --its_variants {variant}" if variant else "first")
                )
    if args.from_scratch or all(method.from_scratch for method in methods):
        trunk_epochs = None
    else:
        trunk_epochs = args.trunk_epochs or max(1, plan.epochs // 2)
        training.run_all(
            [plan.trunk(seed, trunk_epochs) for seed in args.seeds], backend
        )
    training.run_all(
        [
            plan.student(method, seed, forked=trunk_epochs is not None)
            for seed in args.seeds
            for method in methods
        ],
        backend,
    )


if __name__ == "__main__":
    main()

"""Lay down the configuration of one training: base YAML, method, data, seed.

Prints what is to be done in the folder: ``new``, ``resume`` or ``finished``. With
``--check`` it only checks names and files, and writes nothing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

from espnet_pse_kd.errors import UserError, one_line
from espnet_pse_kd.recipe import training
from espnet_pse_kd.recipe.methods import (
    Method,
    merge,
    read_methods,
    read_yaml,
    select,
)


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="base YAML")
    parser.add_argument("--methods_table", type=Path, default="conf/methods.yaml")
    parser.add_argument("--methods", nargs="*", help="none: a teacher is trained")
    parser.add_argument("--check", action="store_true", help="check names only")
    parser.add_argument("--exp", type=Path, help="folder of the training")
    parser.add_argument("--dumpdir", type=Path, default="dump")
    parser.add_argument("--train_set", default="train")
    parser.add_argument("--valid_set", default="dev")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max_epoch", type=int, help="default: the base YAML's")
    parser.add_argument("--teacher", type=Path, help="folder of the trained pVAD")
    parser.add_argument("--trunk", type=Path, help="folder of the training to fork")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="lay this over all else; dots descend: gate_conf.theta=0.7",
    )
    return parser


def override(text: str) -> dict[str, Any]:
    """``a.b=1`` as a mapping.

    Raises:
        UserError: no ``=``.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set {text}: write KEY=VALUE")
    option = yaml.safe_load(value)
    for part in reversed(key.split(".")):
        option = {part: option}
    return option


def complete(args: argparse.Namespace, method: Method | None) -> dict[str, Any]:
    """All options of the training."""
    config = merge(read_yaml(args.config), method.options if method else {})
    suffix = "" if method is None or method.its else "_noits"
    asks_teacher = method is not None and method.teacher
    windows = method is None or asks_teacher
    config |= training.data_options(
        args.dumpdir, args.train_set + suffix, args.valid_set + suffix, windows
    )
    config["seed"] = args.seed
    if args.max_epoch is not None:
        config["max_epoch"] = args.max_epoch
    if asks_teacher:
        config |= training.teacher_options(args.teacher)
    if method and config.get("gate_conf", {}).get("mode") == "constant":
        config["gate_conf"].setdefault("constant", gate_constant(args.teacher))
    for text in args.set:
        config = merge(config, override(text))
    return config


def gate_constant(teacher: Path) -> float:
    """Mean soft weight over the gated training frames, measured with the teacher."""
    path = teacher / "gate.json"
    if not path.is_file():
        raise UserError(f"{path}: no such file; run stage 4 (teacher scores) again")
    return float(json.loads(path.read_text())["mean_weight"])


@one_line
def main(argv: list[str] | None = None) -> None:
    args = get_parser().parse_args(argv)
    methods = []
    if args.methods is not None:
        methods = select(read_methods(args.methods_table), args.methods)
    if args.check:
        for method in methods:
            merge(read_yaml(args.config), method.options)
        read_yaml(args.config)
        for text in args.set:
            override(text)
        return
    if len(methods) > 1 or args.exp is None:
        raise UserError("--methods: one method and its --exp at a time; give one")
    config = complete(args, methods[0] if methods else None)
    state = training.prepare(args.exp, config)
    if args.trunk and state == "new":
        training.fork(args.trunk, args.exp)
    print(state)


if __name__ == "__main__":
    main()

"""Render docs/findings.md, its figure and docs/measured from score files."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_pse_kd.errors import UserError, one_line

if TYPE_CHECKING:
    from espnet_pse_kd.report.tables import Table

KEPT = Path("docs/measured")
"""Scores and records of the finished runs, from the repository's root."""
CONF = Path(__file__).parents[1] / "conf"


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add(
        "--scores",
        type=Path,
        nargs="+",
        default=[KEPT / "scores.csv.gz"],
        help="scores.csv of stage 7, also compressed; several, as one per seed, join",
    )
    add(
        "--exp",
        type=Path,
        nargs="+",
        default=[],
        help="folders of the experiments; what they lack is taken from records.json "
        "beside the first scores",
    )
    add(
        "--ablation",
        type=Path,
        help="scores of the preset ablation, beside those kept, if any",
    )
    add(
        "--ablation_exp",
        type=Path,
        nargs="+",
        help="folders of its experiments; default: those of --exp",
    )
    add(
        "--ablation_name",
        default="ablation",
        help="where it is kept below --keep; every ablation* is a page of its own",
    )
    add(
        "--teachers",
        type=Path,
        nargs="+",
        default=[],
        help="folders of stage 4 whose personal VADs join the table of teachers",
    )
    add(
        "--output",
        type=Path,
        nargs="+",
        default=[Path("docs/findings.md"), Path("egs2_recipe/RESULTS.md")],
        help="pages to fill with the table that answers the question",
    )
    add("--pages", type=Path, default=KEPT, help="folder of the pages of all tables")
    add(
        "--figure",
        type=Path,
        default=Path("docs/images/operating_curve.svg"),
        help="SVG to write",
    )
    add("--keep", type=Path, help="folder for joined scores and records, if wanted")
    return parser


def _measurement(
    scores: list[Path],
    expdirs: list[Path],
    name: str,
    systems: Collection[str] | None = None,
) -> tuple[list[dict[str, str]], list[Table]]:
    """Scores, called ``name`` by stage 7, and how their systems came about.

    ``systems``: of these alone, all by default.
    """
    from espnet_pse_kd.report.scores import Scores
    from tools import kept_scores

    rows = kept_scores.join_scores(scores)
    if systems is not None:
        rows = [row for row in rows if row["system"] in systems]
    path = scores[0].parent / kept_scores.RECORDS
    if not expdirs:
        return rows, kept_scores.read_records(path)
    kept = kept_scores.read_records(path) if path.is_file() else []
    return rows, kept_scores.collect_records(expdirs, Scores(rows), name, kept)


def _parents() -> dict[str, str]:
    """What each row of conf/ablation.yaml varies: ``s`` of ``s_kappa2``."""
    from espnet_pse_kd.recipe.methods import read_methods

    methods = read_methods(CONF / "methods.yaml")
    return {
        name: max(filter(name.startswith, methods), key=len)
        for name in read_methods(CONF / "ablation.yaml")
    }


@one_line
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(argv)
    from espnet_pse_kd.report.differences import PAIRS
    from tools import findings_page, kept_scores

    if not args.ablation_name.startswith(findings_page.ABLATION):
        raise UserError(
            f"--ablation_name {args.ablation_name}: begin with {findings_page.ABLATION}"
        )
    if args.figure.suffix != ".svg":
        raise UserError(f"--figure {args.figure}: give a name that ends in .svg")
    rows, records = _measurement(args.scores, args.exp, "scores.csv")
    if args.teachers:
        records = kept_scores.join_teachers(records, args.teachers)
    parents = _parents()
    involved = {*parents, *parents.values()}
    involved |= {rival for one, rival in PAIRS if one in involved}
    folder = args.keep or args.scores[0].parent
    varied = {
        kept.parent.name: _measurement([kept], [], kept.name)
        for kept in sorted(
            folder.glob(f"{findings_page.ABLATION}*/{kept_scores.SCORES}")
        )
    }
    if args.ablation:
        expdirs, name = args.ablation_exp or args.exp, args.ablation.name
        measured = _measurement([args.ablation], expdirs, name, involved)
        varied[args.ablation_name] = measured
    ablations = {
        name: findings_page.ablation_lines(name, *measured, parents=parents)
        for name, measured in varied.items()
    }
    findings_page.write_findings(
        rows, records, args.output, args.figure, args.pages, ablations
    )
    if args.keep:
        kept_scores.keep(args.keep, rows, records)
        for name, measured in varied.items():
            kept_scores.keep(args.keep / name, *measured)
    print(f"pages: {args.pages}; figure: {args.figure}")


if __name__ == "__main__":
    main()

"""Stage 9: share a packed model in a Hugging Face repository.

The token is read from the environment variable HF_TOKEN. --dry_run shows everything
that would be sent, and sends nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from espnet_pse_kd.errors import UserError, one_line


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--exp", type=Path, required=True, help="folder of a packed training")
    add("--hf_repo", required=True, help="USER/NAME on Hugging Face")
    add("--results", type=Path, help="RESULTS.md, for the card")
    add("--dataset", default="espeak", help="training corpus, for the card")
    add("--lang", default="en", help="its language (default: en)")
    add("--license", default="cc-by-4.0", help="of the weights (default: cc-by-4.0)")
    add("--dry_run", action="store_true", help="show what would be sent")
    return parser


@one_line
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(argv)
    from espnet_pse_kd.recipe import upload

    upload.check_repo(args.hf_repo)
    results = ""
    if args.results is not None:
        if not args.results.is_file():
            raise UserError(f"{args.results}: no such file; run stage 7 first")
        results = args.results.read_text(encoding="utf-8")
    card = upload.Card(args.hf_repo, args.dataset, args.lang, args.license, results)
    message = upload.commit_message(args.exp)
    with tempfile.TemporaryDirectory() as staging:
        folder = Path(staging)
        files = upload.stage_files(args.exp, card, folder)
        if args.dry_run:
            print(upload.describe(args.hf_repo, folder, files, message))
            print("nothing was sent: --dry_run")
        else:
            print(upload.send(args.hf_repo, folder, message))


if __name__ == "__main__":
    main()

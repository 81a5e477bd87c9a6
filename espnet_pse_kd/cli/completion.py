"""``pse-kd completion``: what makes a shell complete this command."""

from __future__ import annotations

import argparse

SHELLS = ("bash", "zsh", "fish")
DESCRIPTION = (
    "Print what makes a shell complete pse-kd: its subcommands, options and the names "
    'of voices. bash: eval "$(pse-kd completion bash)" in ~/.bashrc; zsh: the same '
    "with zsh in ~/.zshrc, after compinit; fish: pse-kd completion fish > "
    "~/.config/fish/completions/pse-kd.fish"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the argument of the subcommand."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=" ".join(SHELLS))


def run(args: argparse.Namespace) -> None:
    """Run the subcommand."""
    import argcomplete

    print(argcomplete.shellcode(["pse-kd"], shell=args.shell))

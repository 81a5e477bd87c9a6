"""``pse-kd``: enroll a voice, clean recordings or a live call, score, export, serve."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from types import FrameType
from typing import NamedTuple, NoReturn, TextIO

from espnet_pse_kd import __version__
from espnet_pse_kd.cli.signals import on_signals
from espnet_pse_kd.errors import UserError, named_files, one_line

COMMANDS = {
    "enroll": "make a profile of a voice from recordings of it",
    "voices": "the enrolled voices: list, show, remove, rename, default",
    "enhance": "keep the enrolled voice in recordings, remove everything else",
    "live": "the same from microphone to output device, while you speak",
    "score": "measure enhanced recordings against clean ones",
    "export": "write a trained network as one ONNX file",
    "recipe": "write the training recipe to a folder, ready to run",
    "info": "what is there and what is missing; the model and its card",
    "serve": "a page in the browser, on this machine only",
    "config": "the file of your own defaults, and what is in force",
    "completion": "what makes a shell complete this command",
}
"""Subcommands, each a module of this package, and what they do."""

_DESCRIPTION = "Keep one voice in recordings and calls, and remove everything else."
_EXAMPLES = """
examples:
  pse-kd enroll --name me voice.wav      a voice, from a recording of it alone
  pse-kd enhance meeting.m4a             writes meeting_me.m4a beside it
"""


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line as every other mistake: in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")


class Parsers(NamedTuple):
    """Parsers of the command line.

    Attributes:
        whole: of all of it.
        own: of the subcommand's part; None if no subcommand is asked for.
    """

    whole: Parser
    own: Parser | None


def get_parsers(command: str | None = None) -> Parsers:
    """Parsers of the command; only the subcommand ``command`` gets its options.

    The other modules are not imported, which keeps the start short.
    """
    parser = Parser(
        prog="pse-kd",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=Parser
    )
    chosen = None
    for name, summary in COMMANDS.items():
        own = commands.add_parser(name, help=summary)
        if name == command:
            module = importlib.import_module(f"espnet_pse_kd.cli.{name}")
            own.description = module.DESCRIPTION
            module.add_arguments(own)
            own.set_defaults(run=module.run)
            chosen = own
    return Parsers(parser, chosen)


@one_line
def _run(argv: Sequence[str]) -> None:
    words = [_hyphenated(word) for word in argv]
    if broken := next((word for word in words if "\0" in word), None):
        raise UserError(f"{broken!r}: holds a NUL, which no path has; correct it")
    if bare := next((w for w in words if re.fullmatch(r"-.*=--", w)), None):
        # Some releases of argparse make an empty list of it.
        raise UserError(f"{bare}: an option without a value; give one")
    with named_files():
        args = parse(words)
        args.run(args)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Options of the command line, then of the configuration, then defaults.

    Raises:
        UserError: the command line or the configuration is wrong.
        SystemExit: help was asked for.
    """
    command = _command(words)
    whole, own = get_parsers(command)
    if command is None or own is None:
        return whole.parse_args(words)
    from espnet_pse_kd.cli.settings import await_settings, fill_in

    defaults = await_settings(command, own)
    args = whole.parse_args(words)
    fill_in(command, own, defaults, args)
    return args


def _command(words: Iterable[str]) -> str | None:
    return next((word for word in words if word in COMMANDS), None)


def _complete() -> None:
    """Answer a shell that asks what may follow; see ``pse-kd completion``."""
    import argcomplete

    parser = get_parsers(_command(os.environ.get("COMP_LINE", "").split())).whole
    argcomplete.autocomplete(parser, always_complete_options=False)


def _hyphenated(word: str) -> str:
    """ESPnet's options have underscores, so both spellings are understood."""
    if not word.startswith("--"):
        return word
    option, equals, value = word.partition("=")
    return option.replace("_", "-") + equals + value


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        argv: words of the command line, default the process's.

    Raises:
        SystemExit: status 2 for what the user can mend, 129 when the terminal is
            closed, 130 for an interrupt, 143 for a termination. Files are written
            atomically, so that none of these leaves half of one.
    """
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    on_signals(("SIGTERM", "SIGHUP"), _terminate)
    for stream in (sys.stdout, sys.stderr):
        # Names of files need not be text of any encoding, and are to be shown all the
        # same. A notebook's streams are none of this kind.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted; no unfinished file is left", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Warnings are for the person as well: what, and not where in the code."""
    print(f"warning: {message}", file=sys.stderr)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()

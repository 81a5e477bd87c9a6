"""``pse-kd voices``: the enrolled voices: list, show, remove, rename, choose."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from espnet_pse_kd.cli.completers import complete_by
from espnet_pse_kd.cli.voice_store import VoiceStore
from espnet_pse_kd.errors import UserError

if TYPE_CHECKING:
    from espnet_pse_kd.runtime.profile import Profile

DESCRIPTION = (
    "The voices that pse-kd enroll --name has stored, for this user only. Without an "
    "action they are listed; * is the default, which enhance and live keep where no "
    "other is named."
)
_REMOVE = "Delete voices. Profiles that were written by enroll --output stay."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of the subcommand."""
    actions = parser.add_subparsers(
        dest="action", metavar="ACTION", parser_class=type(parser)
    )
    actions.add_parser("list", help="all voices")
    names = VoiceStore().names
    for action, summary, words in (
        ("show", "where a voice lies and what is in it", ["name"]),
        ("default", "choose the voice that is kept where none is named", ["name"]),
        ("rename", "give a voice another name", ["name", "new"]),
    ):
        own = actions.add_parser(action, help=summary, description=f"{summary}.")
        for word in words:
            complete_by(own.add_argument(word, metavar=word.upper()), names)
    own = actions.add_parser("remove", help="delete voices", description=_REMOVE)
    complete_by(own.add_argument("names", nargs="+", metavar="NAME"), names)


def run(args: argparse.Namespace) -> None:
    """Run the subcommand.

    Raises:
        UserError: there is no such voice, or the new name is no name or taken.
    """
    store = VoiceStore()
    _ACTIONS[args.action or "list"](store, args)


def _list(store: VoiceStore, args: argparse.Namespace) -> None:
    names = store.names()
    if not names:
        print("no voice yet; run: pse-kd enroll --name me RECORDING")
    width = max(map(len, names), default=0)
    for name in names:
        mark = "*" if name == store.default() else " "
        print(f"{mark} {name:{width}}  {_summary(store, name)}")


def _summary(store: VoiceStore, name: str) -> str:
    """A line about a voice, also where its file is damaged."""
    from espnet_pse_kd.runtime.profile import Profile

    try:
        profile = Profile.load(store.path(name))
    except UserError as error:
        return f"unusable: {error}"
    return f"{profile.seconds:.1f} s of speech, {profile.created[:10]}"


def _show(store: VoiceStore, args: argparse.Namespace) -> None:
    from espnet_pse_kd.runtime.profile import Profile

    path = store.existing(args.name)
    profile = Profile.load(path)
    print(path)
    for line in (
        f"{profile.seconds:.1f} s of speech, SNR about {profile.snr_db:.0f} dB, "
        f"level {profile.level_dbfs:.0f} dBFS",
        f"made {profile.created} of {', '.join(profile.sources)}",
        f"vectors of {_encoders(profile)}",
        "default: " + ("yes" if path.stem == store.default() else "no"),
    ):
        print(f"  {line}")


def _encoders(profile: Profile) -> str:
    names = (one.encoder.name for one in profile.vectors)
    return ", ".join(dict.fromkeys(names))


def _remove(store: VoiceStore, args: argparse.Namespace) -> None:
    for name in args.names:  # all of them are there, or none is removed
        store.existing(name)
    default = store.default()
    for name in dict.fromkeys(args.names):
        store.remove(name)
        print(f"{name}: removed")
    if default is not None and store.default() is None and store.names():
        print("no default voice now; choose one: pse-kd voices default NAME")


def _rename(store: VoiceStore, args: argparse.Namespace) -> None:
    store.rename(args.name, args.new)
    print(f"{args.name}: is {args.new} now")


def _default(store: VoiceStore, args: argparse.Namespace) -> None:
    store.set_default(args.name)
    print(f"{args.name} is the default voice")


_ACTIONS: dict[str, Callable[[VoiceStore, argparse.Namespace], None]] = {
    "list": _list,
    "show": _show,
    "remove": _remove,
    "rename": _rename,
    "default": _default,
}

"""What a shell may offer for the value of an option, see ``pse-kd completion``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable


def complete_by(action: argparse.Action, names: Callable[[], Iterable[str]]) -> None:
    """Let a shell offer names for an argument.

    Args:
        action: the argument.
        names: is asked when the person presses the key.
    """

    def complete(prefix: str, **ignored: object) -> list[str]:
        return [name for name in names() if name.startswith(prefix)]

    action.completer = complete  # type: ignore[attr-defined]  # argcomplete's name

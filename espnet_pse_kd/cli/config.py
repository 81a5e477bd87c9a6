"""``pse-kd config``: the file of one's own defaults, and what is in force."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from espnet_pse_kd.cli.settings import (
    GENERAL,
    KEYS,
    VARIABLE,
    Setting,
    await_settings,
    fill_in,
    settings_path,
)

DESCRIPTION = (
    "Show where the file of your own defaults lies, and what is in force, in the form "
    "of that file: what it does not set is behind a #. Keys are options of the same "
    f"name. The environment variable {VARIABLE} names another file."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommand has no options."""


def run(args: argparse.Namespace) -> None:
    """Run the subcommand.

    Raises:
        UserError: the file is wrong.
    """
    path = settings_path()
    print(f"# {path}" + ("" if path.exists() else ": no such file yet"))
    tables = {command: in_force(command) for command in KEYS}
    first = next(iter(tables.values()))
    print("\n".join(map(line, (one for one in first if one.key in GENERAL))))
    for command, found in tables.items():
        print(f"\n[{command}]")
        print("\n".join(map(line, (one for one in found if one.key in KEYS[command]))))


def in_force(command: str) -> list[Setting]:
    """What the file and the defaults say of a command."""
    from espnet_pse_kd.cli.main import get_parsers

    own = get_parsers(command).own
    assert own is not None
    return fill_in(command, own, await_settings(command, own), argparse.Namespace())


def line(setting: Setting) -> str:
    """A setting as TOML, behind a # where it is the default."""
    if setting.value is None:
        return f"# {setting.key} is not set"
    return f"{'' if setting.chosen else '# '}{setting.key} = {_toml(setting.value)}"


def _toml(value: Any) -> str:
    return json.dumps(str(value) if isinstance(value, Path) else value)

"""Defaults of the user's own: one TOML file, whose keys are options of the commands.

A key has the name, the values and the meaning of the option. What stands on the command
line goes before the file, also where it excludes what the file says.
"""

from __future__ import annotations

import argparse
import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from espnet_pse_kd.cli.voice_store import APPLICATION
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import read_limited

VARIABLE = "PSE_KD_CONFIG"
"""Environment variable that names another file."""
GENERAL = ("model", "threads")
"""Keys at the top, of all commands that have these options."""
KEYS = {
    "enhance": (
        "output",
        "result-name",
        "strength",
        "attenuation-limit",
        "band",
        "keep-noise",
        "per-channel",
        "look-ahead",
        "report",
        "jobs",
    ),
    "live": ("input", "output", "virtual-mic", "attenuation-limit"),
    "serve": ("port", "browser"),
}
"""Keys of each table, named like its command."""

_LARGEST = 100_000  # bytes
_FLAGS = (argparse._StoreTrueAction, argparse.BooleanOptionalAction)
Table = dict[str, Any]


class Setting(NamedTuple):
    """One option that the file may set.

    Attributes:
        key: as in the file, such as ``strength``.
        value: in force unless the command line says otherwise.
        chosen: whether the file sets it.
    """

    key: str
    value: Any
    chosen: bool


def settings_path() -> Path:
    """Where the file lies, or would lie."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    from platformdirs import user_config_path

    return user_config_path(APPLICATION, appauthor=False) / "config.toml"


def read_settings() -> Table:
    """What the file says, with its tables and keys checked; empty if there is none.

    Raises:
        UserError: it cannot be read, is no TOML, or has a table or key that is none.
    """
    path = settings_path()
    if not path.exists() and not os.environ.get(VARIABLE):
        return {}
    try:
        data = read_limited(path, _LARGEST, f"correct {VARIABLE}, or remove it")
        found = tomllib.loads(data.decode())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; correct {VARIABLE}") from None
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: no TOML ({reason}); correct it") from None
    _check_keys(path, found)
    return found


def _check_keys(path: Path, found: Mapping[str, Any]) -> None:
    for key, value in found.items():
        if key in KEYS:
            if not isinstance(value, dict):
                raise UserError(f"{path}: {key}: a table is needed; write [{key}]")
            for inner in value:
                _check_key(path, f"{key}.", inner, KEYS[key])
        else:
            _check_key(path, "", key, (*GENERAL, *KEYS))


def _check_key(path: Path, table: str, key: str, known: tuple[str, ...]) -> None:
    if key in known:
        return
    near = difflib.get_close_matches(key, known, 1)
    remedy = f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}"
    raise UserError(f"{path}: {table}{key}: no such key; {remedy}")


def settable(command: str, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """The options of a command that the file may set, by their keys."""
    keys = (*GENERAL, *KEYS.get(command, ()))
    options = parser._option_string_actions
    return {key: options[f"--{key}"] for key in keys if f"--{key}" in options}


def await_settings(command: str, parser: argparse.ArgumentParser) -> Table:
    """Let the parser leave out what the command line does not name.

    Returns:
        The defaults that it had, by key; `fill_in` puts them back.
    """
    defaults = {}
    for key, action in settable(command, parser).items():
        defaults[key] = action.default
        action.default = argparse.SUPPRESS
    return defaults


def fill_in(
    command: str,
    parser: argparse.ArgumentParser,
    defaults: Table,
    args: argparse.Namespace,
) -> list[Setting]:
    """Give options that the command line did not name their values.

    Args:
        command: that is run.
        parser: of the command.
        defaults: of `await_settings`.
        args: what was parsed; is completed.

    Returns:
        What is in force, of all options that the file may set.

    Raises:
        UserError: the file is wrong, see `read_settings`, or a value is.
    """
    if not defaults:
        return []
    found = read_settings()
    values = _values(command, parser, found)
    excluded = _excluded(command, parser, args)
    result = []
    for key, action in settable(command, parser).items():
        if hasattr(args, action.dest):
            continue
        chosen = key in values and key not in excluded
        value = values[key] if chosen else defaults[key]
        setattr(args, action.dest, value)
        result.append(Setting(key, value, chosen))
    return result


def _values(command: str, parser: argparse.ArgumentParser, found: Table) -> Table:
    """The file's values for a command, each as its option would parse it.

    Raises:
        UserError: the option would refuse it, or another key excludes it.
    """
    general = {key: value for key, value in found.items() if key not in KEYS}
    given = general | found.get(command, {})
    options = settable(command, parser)
    for group in _exclusive(parser, options):
        both = [key for key in group if key in given]
        if len(both) > 1:
            raise UserError(
                f"{settings_path()}: {command}: {' and '.join(both)} exclude each "
                "other; remove one"
            )
    return {
        key: _value(command if key in KEYS.get(command, ()) else "", key, value, action)
        for key, action in options.items()
        if (value := given.get(key)) is not None
    }


def _value(table: str, key: str, value: Any, action: argparse.Action) -> Any:
    name = f"{settings_path()}: {table}{'.' if table else ''}{key}: "
    if isinstance(action, _FLAGS):
        if not isinstance(value, bool):
            raise UserError(f"{name}{value!r:.60}; give true or false")
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UserError(f"{name}{value!r:.60}; give a text or a number")
    if action.choices is not None and value not in action.choices:
        choices = ", ".join(map(str, action.choices))
        raise UserError(f"{name}{value!r:.60}; choose from {choices}")
    text = os.path.expanduser(value) if isinstance(value, str) else str(value)
    try:
        parse = action.type if callable(action.type) else str
        return parse(text)
    except argparse.ArgumentTypeError as error:
        raise UserError(f"{name}{error}") from None
    except (TypeError, ValueError):
        raise UserError(f"{name}{value!r:.60}; give a number") from None


def _exclusive(
    parser: argparse.ArgumentParser, options: Mapping[str, argparse.Action]
) -> Iterator[list[str]]:
    """Keys that exclude each other."""
    for group in parser._mutually_exclusive_groups:
        members = group._group_actions
        yield [key for key, action in options.items() if action in members]


def _excluded(
    command: str, parser: argparse.ArgumentParser, args: argparse.Namespace
) -> set[str]:
    """Keys that the command line excludes by what it names."""
    excluded: set[str] = set()
    for group in parser._mutually_exclusive_groups:
        members = group._group_actions
        named = [a for a in members if getattr(args, a.dest, None) is not None]
        if named:
            options = settable(command, parser)
            excluded |= {key for key, action in options.items() if action in members}
    return excluded

"""Reading YAML mappings, with limits, and errors that name the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import read_limited

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yaml import Event

LARGEST = 1_000_000
"""Bytes of a file: the largest here are some thousands of lines."""
_DEEPEST = 20
_MOST_NODES = 50_000  # what aliases stand for included


def parse_yaml(content: bytes, name: str) -> dict[str, Any]:
    """Parse a YAML mapping.

    Args:
        content: UTF-8 text.
        name: of the file, for errors.

    Raises:
        UserError: no YAML, no mapping, or one that is too large or nested too deep.
    """
    import yaml

    if len(content) > LARGEST:
        raise UserError(f"{name}: more than {LARGEST / 1e6:g} MB of YAML; shorten it")
    try:
        text = content.decode()
        _check_extent(yaml.parse(text), name)
        parsed = yaml.safe_load(text)
    except UserError:
        raise
    # Beside YAML's own, numbers and dates that Python does not have raise anything.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{name}: no YAML ({reason:.300}); correct it") from None
    if not isinstance(parsed, dict):
        raise UserError(
            f"{name}: {parsed!r:.60} is no mapping; write 'key: value' lines"
        )
    return parsed


def _check_extent(events: Iterator[Event], name: str) -> None:
    """Refuse what is nested too deep, or grows too large through aliases.

    The parser does not recurse, but what makes objects of its events does.
    """
    from yaml import events as kinds

    counts, anchored = [0], dict[str, int]()
    anchors: list[str | None] = []
    for event in events:
        size = 1
        if isinstance(event, kinds.CollectionStartEvent):
            counts.append(0)
            anchors.append(event.anchor)
            size = 0
        elif isinstance(event, kinds.CollectionEndEvent):
            size += counts.pop()
            if anchor := anchors.pop():
                anchored[anchor] = size
        elif isinstance(event, kinds.AliasEvent):
            size = anchored.get(event.anchor or "", 1)
        counts[-1] += size
        if len(counts) > _DEEPEST or counts[-1] > _MOST_NODES:
            raise UserError(
                f"{name}: nested deeper than {_DEEPEST}, or more than {_MOST_NODES} "
                "values; simplify it"
            )


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a file that holds a YAML mapping.

    Raises:
        UserError: no such file, no YAML, or no mapping.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; correct the path, or finish the training that "
            "writes it"
        )
    return parse_yaml(read_limited(path, LARGEST, "shorten it"), str(path))


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a training's YAML, with what the file under its key ``base`` says below it.

    ``base`` is a path relative to the YAML. Mappings are merged key by key; other
    values replace. Where a YAML names another class, such as ``optim``, the base's
    arguments of the old one, ``optim_conf``, are left out.

    Raises:
        UserError: see `read_yaml`; or files name each other in a circle.
    """
    return _read_config(Path(path), ())


def _read_config(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in above:
        raise UserError(f"{path}: its base leads back to itself; remove a base")
    config = read_yaml(path)
    name = config.pop("base", None)
    if name is None:
        return config
    base = _read_config(path.parent / str(name), (*above, path.resolve()))
    for key, value in config.items():
        if not isinstance(value, dict) and base.get(key) != value:
            base.pop(f"{key}_conf", None)
    return _merged(base, config)


def _merged(base: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = {**base, **above}
    for key, value in above.items():
        below = base.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[key] = _merged(below, value)
    return merged

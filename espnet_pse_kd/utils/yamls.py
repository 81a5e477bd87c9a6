"""Reading YAML mappings, with errors that name the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from espnet_pse_kd.errors import UserError


def parse_yaml(content: bytes, name: str) -> dict[str, Any]:
    """Parse a YAML mapping.

    Args:
        content: UTF-8 text.
        name: of the file, for errors.

    Raises:
        UserError: no YAML, or no mapping.
    """
    import yaml

    try:
        parsed = yaml.safe_load(content.decode())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{name}: no YAML ({reason}); correct it") from None
    if not isinstance(parsed, dict):
        raise UserError(f"{name}: {parsed!r} is no mapping; write 'key: value' lines")
    return parsed


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
    return parse_yaml(path.read_bytes(), str(path))


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

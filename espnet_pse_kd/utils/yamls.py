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

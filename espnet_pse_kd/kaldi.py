"""Kaldi data folders: tables of ``key value`` lines, sorted by key in byte order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import atomic_open


def read_table(path: str | Path) -> dict[str, str]:
    """Read ``key value`` lines.

    Raises:
        UserError: the file is missing or empty, a line has no value, or a key
            occurs twice.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; run the stage that writes it first")
    table: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        key, _, value = line.partition(" ")
        value = value.strip()
        if not key or not value:
            raise UserError(f"{path}:{number}: expected 'key value', found {line!r}")
        if key in table:
            raise UserError(f"{path}:{number}: key {key!r} occurs twice; remove one")
        table[key] = value
    if not table:
        raise UserError(f"{path}: empty table; run the stage that writes it again")
    return table


def write_table(path: str | Path, table: Mapping[str, object]) -> None:
    """Write ``key value`` lines atomically, sorted as ``LC_ALL=C sort`` does."""
    with atomic_open(path) as file:
        for key in sorted(table, key=str.encode):
            file.write(f"{key} {table[key]}\n")


def invert(table: Mapping[str, str]) -> dict[str, list[str]]:
    """Map each value to the sorted list of its keys (``utt2spk`` to ``spk2utt``)."""
    inverse: dict[str, list[str]] = {}
    for key in sorted(table, key=str.encode):
        inverse.setdefault(table[key], []).append(key)
    return inverse


def write_spk2utt(path: str | Path, utt2spk: Mapping[str, str]) -> None:
    """Write the ``spk2utt`` file that belongs to ``utt2spk``."""
    write_table(path, {spk: " ".join(utts) for spk, utts in invert(utt2spk).items()})


def same_keys(folder: str | Path, names: Iterable[str]) -> list[str]:
    """Return the keys that the tables ``names`` of ``folder`` share.

    Raises:
        UserError: two of the tables have different keys.
    """
    folder = Path(folder)
    names = list(names)
    keys = list(read_table(folder / names[0]))
    for name in names[1:]:
        other = set(read_table(folder / name))
        odd = sorted(other.symmetric_difference(keys))
        if odd:
            raise UserError(
                f"{folder / name}: {len(odd)} keys differ from {names[0]}, "
                f"the first is {odd[0]!r}; run the stage that writes the folder again"
            )
    return keys

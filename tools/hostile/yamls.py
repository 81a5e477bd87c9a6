"""YAML texts that nest, multiply, or hold what no configuration has."""

from __future__ import annotations

from collections.abc import Iterator

from espnet_pse_kd.utils.yamls import parse_yaml
from tools.hostile.ground import Case, Ground

VALUES = ("9" * 200_000, "9999-99-99", "1:99:99", "0x" + "f" * 5000, ".nan", "-.inf")
VALUES += ("!!binary x", "!!timestamp x", "!!int x", "!!float x", "!!set {a, b}")
VALUES += ("!!python/object/apply:os.system [true]", "!!python/name:os.system")
VALUES += ("!x {a: 1}", "*unknown", "&a *a", "&a [*a]", "? [a]", "|", ">-9", "'", '"')
VALUES += ("\x00", "\ud7ff", "@", "`", "%", "{<<: 1}", "{<<: [1]}", "{[a]: 1}")
VALUES += ("[" * 50_000, "{a: " * 5000, "- " * 5000, "[" + "1," * 60_000 + "]")
"""Texts of an entry."""
WHOLE = ("", "a", "- a", "--- a\n--- b", "%YAML 9.9\n---\na: 1", "a: 1\na: 2", "\t")
WHOLE += ("a: 1\n b: 2", "\ufeffa: 1", "#" * 99, "a:\n" + " " * 99_999 + "b")
"""Whole files."""


def cases() -> Iterator[Case]:
    """All of this module."""
    for number, value in enumerate(VALUES):
        yield _case(f"a: {value:.30} ({number})", f"a: {value}".encode())
    for number, text in enumerate(WHOLE):
        yield _case(f"{text:.30} ({number})", text.encode())
    laughs = "a: &a [1,2,3,4,5,6,7,8,9]\n"
    for one, next_one in zip("abcdefgh", "bcdefghi"):
        laughs += f"{next_one}: &{next_one} [{','.join([f'*{one}'] * 9)}]\n"
    yield _case("a billion laughs", laughs.encode())
    yield _case(
        "a list of a billion laughs", f"- {laughs}".replace("\n", "\n  ").encode()
    )
    for size in (1_000_001, 900_000):
        yield _case(f"{size} bytes", b"a: " + b"x" * size)
    for data in (b"\xff\xfe", b"a: \x80", b"a: \x1b[2J", "a: 1".encode("utf-16")):
        yield _case(repr(data), data)


def _case(name: str, data: bytes) -> Case:
    def run(ground: Ground) -> None:
        parse_yaml(data, "crafted.yaml")

    return Case("yaml", name, run)

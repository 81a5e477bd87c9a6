#!/usr/bin/env python3
"""Check the sizes and imports of the code: ``python tools/check_limits.py``.

A module has at most 400 lines, a function at most 60, half of the package's functions
at most 11, and no module imports itself by way of others. The modules of the tests may
be longer: they are read one test at a time.
"""

from __future__ import annotations

import ast
import functools
import graphlib
import statistics
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = "espnet_pse_kd"
CODE = (PACKAGE, "tools", "benchmarks", "docs")
MODULE_LINES = 400
FUNCTION_LINES = 60
MEDIAN_LINES = 11
KNOWN: set[str] = set()
"""Excess that awaits its turn. An entry that nothing needs any more is a fault."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Fault = tuple[str, str]
"""Where, as an entry of `KNOWN`, and what is wrong there."""


@functools.cache
def parse(path: Path) -> ast.Module:
    """The tree of a module, parsed once for all checks."""
    return ast.parse(path.read_text("utf-8"))


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Name and lines of every function, those inside of others included."""
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def too_long(root: Path) -> Iterator[Fault]:
    """Modules and functions over the limits, and a median over its own."""
    for folder in (*CODE, "tests"):
        for path in sorted((root / folder).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            lines = path.read_text("utf-8").count("\n")
            if lines > MODULE_LINES and folder != "tests":
                yield name, f"{lines} lines, at most {MODULE_LINES}; split it"
            for function, length in functions(parse(path)):
                if length > FUNCTION_LINES:
                    fault = f"{length} lines, at most {FUNCTION_LINES}; split it"
                    yield f"{name}: {function}", fault


def long_median(root: Path) -> Iterator[Fault]:
    """The median length of the package's functions, if it is over its limit."""
    paths = (root / PACKAGE).rglob("*.py")
    lengths = [length for path in paths for _, length in functions(parse(path))]
    median = statistics.median(lengths) if lengths else 0
    if median > MEDIAN_LINES:
        yield PACKAGE, f"median function of {median:g} lines, at most {MEDIAN_LINES}"


def modules(root: Path) -> dict[str, Path]:
    """The package's modules by their dotted names."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(
            ".__init__"
        ): path
        for path in sorted((root / PACKAGE).rglob("*.py"))
    }


def imports(tree: ast.AST, known: Mapping[str, object]) -> set[str]:
    """Which of ``known`` modules a module imports, wherever in it, types included."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
    return found & set(known)


def circles(graph: Mapping[str, set[str]]) -> Iterator[list[str]]:
    """Circles of imports: each module of one imports another of the same.

    Args:
        graph: what each module imports.
    """
    rest = {module: set(imported) for module, imported in graph.items()}
    while True:
        try:
            graphlib.TopologicalSorter(rest).prepare()
        except graphlib.CycleError as error:
            circle = error.args[1]
            rest[circle[1]].remove(circle[0])
            yield circle[:-1]
        else:
            return


def import_circles(root: Path) -> Iterator[Fault]:
    """Circles among the package's modules.

    The package's own face is left out: what it offers, it imports when it is asked.
    """
    known = modules(root)
    graph = {
        name: imports(parse(path), known)
        for name, path in known.items()
        if name != PACKAGE
    }
    for circle in circles(graph):
        yield ", ".join(sorted(circle)), "import each other; move what both need"


def faults(root: Path, known: set[str] = KNOWN) -> list[str]:
    """One line for every fault below ``root`` that is not ``known``."""
    found = [*too_long(root), *long_median(root), *import_circles(root)]
    stale = sorted(known - {where for where, _ in found})
    return [
        *(f"{where}: {what}" for where, what in found if where not in known),
        *(f"{where}: within the limits; remove it from KNOWN" for where in stale),
    ]


def main() -> int:
    """Print every fault; 1 if there is one."""
    found = faults(Path(__file__).parents[1])
    print("\n".join(found) or "sizes and imports: no fault")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())

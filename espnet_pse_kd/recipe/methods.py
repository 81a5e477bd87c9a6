"""The systems to compare: one base YAML and what each method lays over it."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.simulation.options import CONSTRUCTIONS
from espnet_pse_kd.utils.yamls import read_yaml

_KEYS = ("summary", "its", "teacher", "from_scratch", "options")


@dataclass(frozen=True)
class Method:
    """One row of a table of methods, ``conf/methods.yaml`` or ``conf/ablation.yaml``.

    Attributes:
        name: what ``--methods`` calls it.
        summary: one line.
        its: whether its training data hold inactive-target samples; or another variant
            of them, a share or a construction (`simulation.dataset.its_set`).
        teacher: whether its gate asks the personal VAD.
        from_scratch: whether it is trained alone where others fork from a trunk.
        options: what it lays over the base YAML, see `merge`.
    """

    name: str
    summary: str
    its: bool | float | str
    teacher: bool = False
    from_scratch: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


def read_methods(*paths: str | Path) -> dict[str, Method]:
    """Read one or more tables of methods.

    Raises:
        UserError: an entry has an unknown key, lacks ``summary`` or ``its``, has an
            ``its`` that is none, or stands in two tables.
    """
    methods: dict[str, Method] = {}
    for path in paths:
        for name, method in _read_table(path).items():
            if name in methods:
                raise UserError(f"{path}: {name}: stands in {paths[0]} already")
            methods[name] = method
    return methods


def _read_table(path: str | Path) -> dict[str, Method]:
    methods = {}
    for name, entry in read_yaml(path).items():
        unknown = sorted(set(entry) - set(_KEYS))
        if unknown:
            raise UserError(
                f"{path}: {name}: unknown key {unknown[0]!r}; use {', '.join(_KEYS)}"
            )
        if "summary" not in entry or "its" not in entry:
            raise UserError(f"{path}: {name}: summary and its are needed; add them")
        its = entry["its"]
        is_share = isinstance(its, float) and 0.01 <= its <= 0.99
        if not (isinstance(its, bool) or is_share or its in CONSTRUCTIONS):
            raise UserError(
                f"{path}: {name}: its: {its!r}; give true, false, a share of 0.01 to "
                f"0.99, or one of {', '.join(CONSTRUCTIONS)}"
            )
        methods[name] = Method(name, **entry)
    return methods


def select(methods: Mapping[str, Method], names: Sequence[str]) -> list[Method]:
    """The methods called ``names``.

    Raises:
        UserError: an unknown or repeated name, or none at all.
    """
    if not names:
        raise UserError(f"--methods: empty; choose from {' '.join(methods)}")
    for name in names:
        if name not in methods:
            near = difflib.get_close_matches(name, methods, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UserError(
                f"--methods: unknown method {name!r}; {hint}choose from "
                f"{' '.join(methods)}"
            )
        if list(names).count(name) > 1:
            raise UserError(f"--methods: {name!r} is named twice; name it once")
    return [methods[name] for name in names]


def merge(base: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Lay ``options`` over ``base``.

    Mappings are merged key by key. ``criterions`` are merged by ``name``: an entry
    whose name the base has is merged into it, another is appended. Other values
    replace.

    Raises:
        UserError: a criterion that the method changes is not in the base, i.e. it
            would be appended without a ``wrapper``.
    """
    merged = copy.deepcopy(dict(base))
    for key, value in options.items():
        if key == "criterions":
            merged[key] = _merge_criterions(merged.get(key) or [], value)
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _merge_criterions(
    base: Sequence[Mapping[str, Any]], options: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    merged = {entry["name"]: dict(entry) for entry in base}
    for entry in options:
        name = entry["name"]
        if name not in merged and "wrapper" not in entry:
            raise UserError(
                f"criterions: the method changes {name!r}, which the base YAML lacks "
                f"(it has {', '.join(merged) or 'none'}); choose another base"
            )
        merged[name] = merge({"conf": {}, **merged.get(name, {})}, entry)
    return list(merged.values())


def override(text: str) -> dict[str, Any]:
    """``a.b=1`` as a mapping.

    Raises:
        UserError: no ``=``, or no YAML behind it.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--set {text}: write KEY=VALUE")
    try:
        option = yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"--set {text}: {value!r} is no YAML value; quote it") from None
    for part in reversed(key.split(".")):
        option = {part: option}
    return option

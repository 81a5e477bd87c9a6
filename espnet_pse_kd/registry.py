"""Entering our classes in ESPnet's own choice tables.

ESPnet has no discovery of plugins: its tables are dictionaries that are filled when
``espnet2.tasks.enh``, ``espnet2.tasks.enh_tse`` and, for optimizers,
``espnet2.tasks.abs_task`` are imported. We enter our classes right after that import,
whichever of the two packages is imported first, so that ``import espnet_pse_kd``
itself needs neither torch nor ESPnet. ESPnet's code stays as it is.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import re
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

_PROVIDERS: Mapping[str, str] = {
    "extractor_choices": "espnet_pse_kd.espnet.extractor:EXTRACTORS",
    "criterion_choices": "espnet_pse_kd.espnet.criterions:CRITERIONS",
    "loss_wrapper_choices": "espnet_pse_kd.espnet.criterions:LOSS_WRAPPERS",
}
"""Our classes for each choice table, by the table's name in the modules below."""

_OPTIMIZERS = "espnet_pse_kd.optim:OPTIMIZERS"
"""Our classes for ``optim_classes``, ESPnet's plain dictionary of optimizers."""

# ESPnet3's target speaker extraction keeps tables of its own in a copy of the task.
_TABLE_MODULES = re.compile(
    r"espnet2\.tasks\.(enh(_tse)?|abs_task)|espnet3\.systems\.\w*tse\.task"
)


def add_class(choices: Any, name: str, cls: type) -> None:
    """Enter one class in an ``espnet2.train.class_choices.ClassChoices``.

    Entering the same class again, or its reloaded version, is harmless.

    Raises:
        ValueError: ``name`` is not lower case (``ClassChoices.get_class`` lowers the
            name that it tests but not the one that it looks up), or another
            package's class has the name.
        TypeError: ``cls`` is not what the table's ``type_check`` asks for.
    """
    if name != name.lower():
        raise ValueError(f"--{choices.name}: {name!r} must be lower case")
    if choices.base_type is not None and not issubclass(cls, choices.base_type):
        raise TypeError(
            f"--{choices.name} {name}: {cls.__name__} is no "
            f"{choices.base_type.__name__}"
        )
    present = choices.classes.get(name)
    if present is not None and _identity(present) != _identity(cls):
        raise ValueError(
            f"--{choices.name}: the name {name!r} already belongs to "
            f"{present.__module__}.{present.__qualname__}"
        )
    choices.classes[name] = cls


def _identity(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def register(module: ModuleType) -> None:
    """Enter our classes in every choice table that ``module`` holds."""
    if module.__name__ == "espnet2.tasks.abs_task":
        for name, cls in _provided(_OPTIMIZERS).items():
            module.optim_classes.setdefault(name, cls)
    for table, provider in _PROVIDERS.items():
        choices = getattr(module, table, None)
        if choices is None:
            continue
        for name, cls in _provided(provider).items():
            add_class(choices, name, cls)


def _provided(provider: str) -> Mapping[str, type]:
    """Classes by name, from ``module:ATTRIBUTE``."""
    source, _, attribute = provider.partition(":")
    classes: Mapping[str, type] = getattr(importlib.import_module(source), attribute)
    return classes


class _RegisteringLoader(importlib.abc.Loader):
    """Runs a module with its own loader, then registers our classes in it."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:  # get_code, get_source, is_package, ...
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # From here on the module looks as if its own loader had been the only one.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        register(module)


class _TableFinder(importlib.abc.MetaPathFinder):
    """Finds the modules that hold choice tables, through the other finders."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if not _TABLE_MODULES.fullmatch(fullname):
            return None
        for finder in sys.meta_path:
            if _is_ours(finder) or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _RegisteringLoader(spec.loader)
                return spec
        return None


def install() -> None:
    """Register in the table modules that are loaded, and watch for later imports.

    The watch stays, so that a table module that is reloaded gets our classes again.
    """
    if not any(_is_ours(finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TableFinder())
    for name, module in list(sys.modules.items()):
        if _TABLE_MODULES.fullmatch(name):
            register(module)


def _is_ours(finder: Any) -> bool:
    # By name: after a reload of this module the class is another one.
    return _identity(type(finder)) == _identity(_TableFinder)

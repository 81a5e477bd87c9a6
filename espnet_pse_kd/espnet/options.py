"""Checks of what stands in a YAML, before anything is built from it."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from typeguard import TypeCheckError

from espnet_pse_kd.errors import UserError

if TYPE_CHECKING:
    from espnet2.train.class_choices import ClassChoices

T = TypeVar("T")


def known_keys(function: Callable[..., Any], hidden: Collection[str] = ()) -> list[str]:
    """Names of the arguments of ``function`` (a class: of its constructor)."""
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in variadic and name not in hidden
    ]


def check_keys(option: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse keys that nothing would read.

    Args:
        option: where the keys stand, such as ``extractor_conf``.

    Raises:
        UserError: a key is unknown; the message names it and the nearest known one.
    """
    if not isinstance(given, Mapping):
        raise UserError(f"{option}: {given!r} is no mapping; write 'key: value' pairs")
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1, 0.4)
            hint = f"did you mean {near[0]!r}?" if near else "remove it"
            raise UserError(
                f"{option}: unknown key {key!r}; {hint} "
                f"(known: {', '.join(sorted(known)) or 'none'})"
            )


def build(
    option: str,
    function: Callable[..., T],
    conf: Mapping[str, Any],
    hidden: Collection[str] = (),
    **fixed: Any,
) -> T:
    """Call ``function(**fixed, **conf)``, naming ``option`` in what goes wrong.

    Raises:
        UserError: a key of ``conf`` is unknown, or ``function`` refuses a value.
    """
    check_keys(option, conf, known_keys(function, {*hidden, *fixed}))
    try:
        return function(**fixed, **conf)
    except UserError as error:
        raise UserError(f"{option}: {error}") from None
    except (TypeError, ValueError, TypeCheckError) as error:
        raise UserError(f"{option}: {error}; correct {dict(conf)}") from error


def choose(choices: ClassChoices, name: str | None) -> type:
    """The class of that name.

    Raises:
        UserError: there is none; the message names the nearest.
    """
    key = str(name).lower()
    check_keys(f"--{choices.name}", {key: None}, list(choices.classes))
    return choices.get_class(key)


def defaults_of(model: type, hidden: Collection[str]) -> dict[str, Any]:
    """Arguments of a model class with their defaults, but for the hidden ones."""
    from espnet2.utils.get_default_kwargs import get_default_kwargs

    return {k: v for k, v in get_default_kwargs(model).items() if k not in hidden}

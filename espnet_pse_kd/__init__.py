"""Personalized speech enhancement with pVAD-gated cross-task distillation, for ESPnet.

Importing this package makes its extractors, criterions and loss wrappers known to
ESPnet (see `registry`). It imports neither torch nor ESPnet. `PersonalizedEnhancer` and
`Profile` are imported when they are first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from espnet_pse_kd.registry import install as _install

__version__ = "0.1.0"

_install()

if TYPE_CHECKING:
    from espnet_pse_kd.enhancer import PersonalizedEnhancer
    from espnet_pse_kd.runtime.profile import Profile

__all__ = ["PersonalizedEnhancer", "Profile"]

_LAZY = {
    "PersonalizedEnhancer": "espnet_pse_kd.enhancer",
    "Profile": "espnet_pse_kd.runtime.profile",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)

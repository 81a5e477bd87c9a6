"""Personalized speech enhancement with pVAD-gated cross-task distillation, for ESPnet.

Importing this package makes its extractors, criterions and loss wrappers known to
ESPnet (see `registry`). It imports neither torch nor ESPnet.
"""

from espnet_pse_kd.registry import install as _install

__version__ = "0.1.0"

_install()

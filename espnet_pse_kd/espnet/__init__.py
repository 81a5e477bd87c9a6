"""Adapters that fit the core into ESPnet: extractors, criterions, models, tasks."""

import contextlib
from importlib.metadata import PackageNotFoundError, version

OLDEST = 202609
"""First ESPnet release that the adapters work with."""


def check_espnet(found: str) -> None:
    """Refuse an ESPnet release before `OLDEST`.

    Raises:
        ImportError: ``found``, such as ``202511`` or ``202610.post1``, is older.
    """
    if int(found.partition(".")[0]) < OLDEST:
        raise ImportError(
            f"espnet {found} is too old; run: pip install 'espnet[train]>={OLDEST}' "
            "(Python 3.12 or 3.13)"
        )


# A checkout of ESPnet on the path says no version: the newest, presumably.
with contextlib.suppress(PackageNotFoundError):
    check_espnet(version("espnet"))

"""Train a student: ``python -m espnet_pse_kd.bin.pse_train --help``."""

from __future__ import annotations

from collections.abc import Sequence

from espnet_pse_kd.errors import one_line


@one_line
def main(cmd: Sequence[str] | None = None) -> None:
    """Run the task with the options of ``cmd``, default the command line's."""
    from espnet_pse_kd.espnet.tasks import PSETask

    PSETask.main(cmd=cmd)


if __name__ == "__main__":
    main()

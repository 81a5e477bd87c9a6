"""ESPnet's option parser, whose ``--config`` may be laid over another YAML."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from espnet2.utils import config_argparse

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.utils.yamls import read_config


class ConfigParser(config_argparse.ArgumentParser):
    """Reads ``--config`` with `read_config`, otherwise as ESPnet's parser does."""

    def parse_known_args(
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse; what the YAML says are defaults.

        Raises:
            UserError: see `read_config`; or a key of it is no option.
        """
        # Not ESPnet's own method, which reads the file by itself.
        parse = argparse.ArgumentParser.parse_known_args
        path = parse(self, args, namespace)[0].config
        if path is not None:
            config = read_config(path)
            known = {action.dest for action in self._actions}
            for key in config:
                if key not in known:
                    raise UserError(f"{path}: {key!r} is no option; remove it")
            self.set_defaults(**config)
        return parse(self, args, namespace)

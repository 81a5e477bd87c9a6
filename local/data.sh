#!/usr/bin/env bash
# Stage 1: the corpus inventory. All options are those of the command, see --help.
set -euo pipefail
exec "${python:-python3}" -m espnet_pse_kd.bin.prepare_corpus "$@"

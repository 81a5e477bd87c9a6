#!/usr/bin/env bash
# Make the development ground, see conf/development/README.md. All options are those of the
# command, see --help.
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd -P)
python=${python:-$("${here}/setup_env.sh")}
exec "${python}" -m espnet_pse_kd.bin.development --lists "${here}/../conf/development" "$@"

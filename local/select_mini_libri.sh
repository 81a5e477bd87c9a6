#!/usr/bin/env bash
# Lay out the corpus of RESULTS.md's real speech, see local/mini_libri/README.md. All
# options are those of the command, see --help.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
python=${python:-$("${here}/setup_env.sh")}
exec "${python}" -m espnet_pse_kd.bin.select_librispeech \
    --lists "${here}/mini_libri" "$@"

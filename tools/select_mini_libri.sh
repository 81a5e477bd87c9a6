#!/usr/bin/env bash
# Lay out the corpus of RESULTS.md's real speech, see tools/mini_libri/README.md. All
# options are those of the command, see --help.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
python=${python:-$("${here}/../local/setup_env.sh")}
export PYTHONPATH="${here}/..${PYTHONPATH:+:${PYTHONPATH}}"
exec "${python}" -m tools.select_librispeech \
    --lists "${here}/mini_libri" "$@"

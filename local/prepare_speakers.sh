#!/usr/bin/env bash
# Write the Kaldi folder of a downloaded corpus, for stage 1 with --corpus kaldi:
#
#   local/prepare_speakers.sh --layout vctk --source /data/VCTK-Corpus-0.92 --out data_kaldi/vctk
#   ./run.sh --corpus kaldi --corpora "data_kaldi/vctk librispeech:/data/LibriSpeech" --noise DIR
#
# Layouts: librispeech, speechocean762, vctk, common_voice, folders (SPEAKER/*.wav). All
# options are those of the command, see --help.
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd -P)
python=${python:-$("${here}/setup_env.sh")}
exec "${python}" -m espnet_pse_kd.bin.prepare_speakers "$@"

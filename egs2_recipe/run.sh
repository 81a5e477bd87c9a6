#!/usr/bin/env bash
# Personalized speech enhancement with pVAD-gated cross-task distillation.
#
#   ./run.sh --stage 1 --stop_stage 8              the embedded corpus, 30 to 45 minutes
#   ./run.sh --corpus librispeech --librispeech DIR --noise DIR --preset small
#   ./run.sh --help                                every option
#
# Set bash to 'debug' mode, it will exit on:
# -e 'error', -u 'undefined variable', -o 'error in pipeline'
set -e
set -u
set -o pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
. ./db.sh

train_set=train
valid_set=dev

exec ./pse.sh \
    --command_line "./run.sh${*:+ ${*@Q}}" \
    --train_set "${train_set}" \
    --valid_set "${valid_set}" \
    --librispeech "${LIBRISPEECH}" \
    --noise "${NOISE}" \
    --rir "${RIR}" \
    "$@"

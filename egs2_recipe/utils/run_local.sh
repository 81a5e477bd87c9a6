#!/usr/bin/env bash
# Run a command here, its output shown and appended to LOG: what slurm.pl is elsewhere.
#
# usage: utils/run_local.sh [--gpu N] [--num-threads N] [--mem M] LOG COMMAND [ARGS...]
#
# The resource options are accepted, as cluster back ends need them, and without effect.

set -u

while [[ ${1:-} == --* ]]; do
    shift 2
done
log=$1
shift
mkdir -p "$(dirname "${log}")"
{
    printf '#'
    printf ' %q' "$@"
    printf '\n# Started at %s\n' "$(date)"
} >>"${log}"
start=${SECONDS}
"$@" 2>&1 | tee -a "${log}"
code=${PIPESTATUS[0]}
echo "# Ended (code ${code}) at $(date), elapsed time $((SECONDS - start)) seconds" >>"${log}"
exit "${code}"

#!/usr/bin/env bash
# Run a command here, its output appended to LOG: the local stand-in for slurm.pl & co.
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
printf '# %q' "$1" >>"${log}"
{
    printf ' %q' "${@:2}"
    printf '\n# Started at %s\n' "$(date)"
} >>"${log}"
start=${SECONDS}
"$@" >>"${log}" 2>&1
code=$?
echo "# Ended (code ${code}) at $(date), elapsed time $((SECONDS - start)) seconds" >>"${log}"
exit "${code}"

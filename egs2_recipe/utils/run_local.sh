#!/usr/bin/env bash
# Run a command here, its output shown and appended to LOG: what slurm.pl is elsewhere.
#
# usage: utils/run_local.sh [--gpu N] [--num-threads N] [--mem M] [JOB=1:N] LOG COMMAND [ARGS...]
#
# The resource options are accepted, as cluster back ends need them, and without effect.
# With JOB=1:N, N commands run at the same time, as with Kaldi's run.pl: JOB is replaced by
# their numbers in LOG and ARGS, and their output goes to their logs only.

set -u

while [[ ${1:-} == --* ]]; do
    shift 2
done
jobs=0
if [[ ${1:-} =~ ^JOB=1:([0-9]+)$ ]]; then
    jobs=${BASH_REMATCH[1]}
    shift
fi
log=$1
shift

# Run a command, its output appended to the log $1; the status is the command's.
logged() {
    local log=$1 start=${SECONDS} code
    shift
    mkdir -p "$(dirname "${log}")"
    {
        printf '#'
        printf ' %q' "$@"
        printf '\n# Started at %s\n' "$(date)"
    } >>"${log}"
    "$@" 2>&1 | tee -a "${log}"
    code=${PIPESTATUS[0]}
    echo "# Ended (code ${code}) at $(date), elapsed time $((SECONDS - start)) seconds" >>"${log}"
    return "${code}"
}

if [ "${jobs}" -eq 0 ]; then
    logged "${log}" "$@"
    exit
fi

pids=()
for ((job = 1; job <= jobs; job++)); do
    logged "${log//JOB/${job}}" "${@//JOB/${job}}" >/dev/null &
    pids+=($!)
done
# Whoever ends this script ends its jobs.
trap 'kill "${pids[@]}" 2>/dev/null; exit 143' INT TERM
failed=()
for ((job = 1; job <= jobs; job++)); do
    wait "${pids[job - 1]}" || failed+=("${job}")
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "error: ${#failed[@]} of ${jobs} jobs failed, see ${log//JOB/${failed[0]}}:" >&2
    tail -n 3 "${log//JOB/${failed[0]}}" >&2
    exit 1
fi

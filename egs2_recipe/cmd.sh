# How jobs are started: COMMAND [--gpu N] [JOB=1:N] LOG PROGRAM..., as Kaldi's run.pl and
# slurm.pl are; JOB=1:N where run.sh has --array N. Local processes by default; for a cluster put its script here, for instance
#   cuda_cmd="slurm.pl --config conf/slurm.conf"
# shellcheck shell=bash disable=SC2034

train_cmd="utils/run_local.sh"  # CPU jobs: simulation, vectors, scoring
cuda_cmd="utils/run_local.sh"   # training; called with --gpu N
decode_cmd="utils/run_local.sh" # enhancement; called with --gpu N

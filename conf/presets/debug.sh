# The tests' run of all stages: every part works, nothing is learnt.
# shellcheck shell=bash disable=SC2034
preset_summary="for tests: a few samples, one epoch"
methods="b1 s"
nj=1
rooms="4 2 2"
local_data_opts="--voices 20 --utterances 3 --noises 3 2 2 --noise_seconds 6"
num_train=16
num_dev=6
num_test=4
simulation_opts="--seconds 4.0 --test_seconds 4.0 5.0 --clips_per_speaker 2 --paired 0"
pvad_epochs=1
trunk_epochs=1
pse_epochs=2
dnsmos_trials=0
dry_blends="0.2"
pvad_set="batch_size=4"
set="batch_size=4"
pvad_args="--num_workers 0"
pse_args="--num_workers 0"
train_jobs=2
disk_gib=1
stage_minutes="1 1 1 1 1 1 1 1"
asr_config=conf/tuning/train_asr_debug.yaml

# Real speech on 2 cores: a few hours in all.
# shellcheck shell=bash disable=SC2034
preset_summary="real speech on 2 cores, a few hours"
methods="b1 b2 s best"
rooms="600 60 100"
num_train=12000
num_dev=240
num_test=100
local_data_opts="--dev_speakers 20"
simulation_opts="--speeds 0.85 0.92 1.0 1.08 1.17 --formants 0.9 1.0 1.11
    --clips_per_speaker 3 --noise_speed 0.7 1.4 --second_noise 0.3 --equalizer 4.0 --dry_share 0.25"
pvad_epochs=4
trunk_epochs=1
pse_epochs=3
dnsmos_trials=40
train_jobs=3
disk_gib=10
stage_minutes="2 5 6 10 28 3 10 1"

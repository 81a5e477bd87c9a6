# Real speech on 2 cores: a few hours in all.
# shellcheck shell=bash disable=SC2034
preset_summary="real speech on 2 cores, a few hours"
methods="b1 b2 s"
rooms="600 60 100"
num_train=6000
num_dev=240
num_test=100
pvad_epochs=12
trunk_epochs=5
pse_epochs=9
dnsmos_trials=40
train_jobs=3
disk_gib=8
stage_minutes="5 4 8 6 50 2 10 1"

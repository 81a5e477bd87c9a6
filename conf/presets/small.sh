# Real speech on 2 cores: a few hours in all.
# shellcheck shell=bash disable=SC2034
preset_summary="real speech on 2 cores, a few hours"
methods="b1 b2 s"
rooms="600 60 100"
num_train=12000
num_dev=400
num_test=150
pvad_epochs=12
trunk_epochs=15
pse_epochs=20
dnsmos_trials=40
train_jobs=2
disk_gib=15
stage_minutes="5 15 15 25 150 5 25 1"

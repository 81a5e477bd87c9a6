# Default: every stage in about 30 minutes on 2 idle cores without GPU.
# A preset sets defaults of pse.sh; options on the command line override it.
# shellcheck shell=bash disable=SC2034
preset_summary="stages 1 to 8 in about 30 minutes on 2 cores without GPU"
methods="b1 b2 s"
rooms="200 20 40"
num_train=2000
num_dev=100
num_test=40
pvad_epochs=8
trunk_epochs=12
pse_epochs=18
dnsmos_trials=12
train_jobs=2
disk_gib=3
stage_minutes="2 3 2 4 14 2 3 1"

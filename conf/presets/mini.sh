# Default: every stage in 30 to 45 minutes on 2 idle cores without GPU.
# A preset sets defaults of pse.sh; options on the command line override it.
# shellcheck shell=bash disable=SC2034
preset_summary="stages 1 to 8 in 30 to 45 minutes on 2 cores without GPU"
methods="b1 b2 s"
rooms="200 20 40"
num_train=5000
num_dev=200
num_test=40
pvad_epochs=6
trunk_epochs=2
pse_epochs=5
dnsmos_trials=12
train_jobs=3
disk_gib=3
stage_minutes="1 1 4 7 17 1 8 1"

# The experiment of docs/findings.md: every system, three seeds, the data of small. Its
# trunk is long and its forks are short: what the systems share is learnt once.
# shellcheck shell=bash disable=SC2034
# shellcheck source=conf/presets/small.sh
. conf/presets/small.sh
preset_summary="every system and three seeds on real speech, half a day on 2 cores"
methods="b1 b2 b3 h s c_shuffle c_shift c_constant r_log s_asym r_log_asym best"
seeds="0 1 2"
num_train=9000
num_dev=300
num_test=400
simulation_opts="${simulation_opts} --dev_scored 100"
trunk_epochs=3
pse_epochs=4
# 100 trials, of TS0 to TS2 in equal parts.
dnsmos_trials=34
dnsmos_methods="b1 b2 b3 h s best"
# It takes longer than all other scores together.
dnsmos_seeds=0
dry_blends="0.1 0.2"
dry_blend_methods="b2 s"
train_jobs=2
stage_minutes="2 6 8 15 150 30 100 5"

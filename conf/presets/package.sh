# The package's default weights: best on more mixtures, for longer, with the speaker
# encoder that is robust to noise. No teacher: best has none.
# shellcheck shell=bash disable=SC2034
# shellcheck source=conf/presets/small.sh
. conf/presets/small.sh
preset_summary="the package's default weights, 2 hours on 2 cores"
methods=best
skip_teacher=true
speaker_encoder=ge2e_robust
num_train=24000
num_dev=300
num_test=400
simulation_opts="${simulation_opts} --dev_scored 100"
trunk_epochs=2
pse_epochs=5
dnsmos_trials=0
dry_blends="0.1 0.2"
disk_gib=16
stage_minutes="2 6 3 0 90 2 3 1"

# The experiment of docs/findings.md: every system, three seeds, real speech. Its trunk is
# long and its forks are short: what the systems share is learnt once.
# shellcheck shell=bash disable=SC2034
preset_summary="every system and three seeds on real speech, half a day on 2 cores"
methods="b1 b2 b3 h s c_shuffle c_shift c_constant r_log s_asym"
seeds="0 1 2"
rooms="600 60 100"
num_train=9000
num_dev=300
num_test=400
local_data_opts="--dev_speakers 20"
simulation_opts="--speeds 0.85 0.92 1.0 1.08 1.17 --formants 0.9 1.0 1.11
    --clips_per_speaker 3 --noise_speed 0.7 1.4 --second_noise 0.3 --equalizer 4.0
    --dry_share 0.25 --dev_scored 100"
pvad_epochs=4
trunk_epochs=3
pse_epochs=4
dnsmos_trials=0
dry_blends="0.1 0.2"
dry_blend_methods="b2 s"
train_jobs=2
disk_gib=10
stage_minutes="2 6 8 15 150 30 45 5"

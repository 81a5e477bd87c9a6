# One or more GPUs: E3Net at its published size.
# shellcheck shell=bash disable=SC2034
preset_summary="E3Net at its published size, one or more GPUs, days without"
methods="b1 b2 b3 h s c_shuffle c_constant r_log best"
pse_config=conf/tuning/train_pse_e3net.yaml
rooms="2000 100 200"
num_train=100000
num_dev=1000
num_test=400
simulation_opts="--noise_speed 0.7 1.4 --second_noise 0.3 --equalizer 4.0 --dry_share 0.25"
pvad_epochs=20
trunk_epochs=40
pse_epochs=60
dnsmos_trials=100
ngpu=1
disk_gib=120
stage_minutes="30 240 180 240 2400 30 120 1"

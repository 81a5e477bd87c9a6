# The ablation of docs/findings.md: one factor at a time, from the trunk and the data of
# the preset tradeoff, on the development set.
# shellcheck shell=bash disable=SC2034
# shellcheck source=conf/presets/tradeoff.sh
. conf/presets/tradeoff.sh
preset_summary="options of gate and losses, after the preset tradeoff, 3 hours on 2 cores"
methods_tables="conf/methods.yaml conf/ablation.yaml"
# What is varied, and the variations.
methods="b1 b2 b3 h s r_log r_log_asym best $(sed -n 's/^\([a-z][^:]*\):$/\1/p' conf/ablation.yaml | xargs)"
seeds=0
test_sets="dev_ts0 dev_ts1 dev_ts2 dev_ts3"
its_variants="0.5 partial swap_enrolment"
score_tag=dev
dry_blends=
dnsmos_trials=0
dnsmos_methods=
dnsmos_seeds=
dry_blend_methods=
stage_minutes="0 1 2 1 120 8 12 1"

#!/usr/bin/env bash
# Make the package's own weights anew: speaker encoder, personal VAD, student, and the
# model card. About five hours on 2 cores; run it again to go on where it was stopped.
#
# usage: tools/make_weights.sh --librispeech DIR --noise DIR --rir DIR [OPTION ...]
#
# The folders are those that tools/select_mini_libri.sh puts together; every option goes
# to run.sh. It replaces files of espnet_pse_kd/speaker and espnet_pse_kd/weights. Then
# score the package as a user gets it, and let tools/package_scores.py fill in the card:
# docs/recipe.md, "The package's own weights".

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../egs2_recipe"
student=exp_package/pse_mingru_r_log_asym_error_seed0
data="Speech: an excerpt of LibriSpeech train-clean-100, 251 speakers, 148 min, 221 of them \
with one recording (CC BY 4.0; 20 speakers only for development). Noise, 28 min: ESC-10 \
(CC BY 3.0, CC0), Noisekun (CC0, CC BY), Blanket (CC BY, public domain). Rooms: simulated; \
measured by IoSR Surrey (MIT) and OpenAIR (CC BY 3.0, CC BY-SA 3.0, Creative Commons)."

recipe() { ./run.sh --corpus librispeech "$@"; }
robust=(--speaker_encoder ge2e_robust --dumpdir dump_robust --expdir exp_robust
    --pvad_config conf/tuning/train_pvad_st.yaml)

# An encoder learns to hear through channels from clips that have some.
recipe --preset tradeoff "$@" --stage 1 --stop_stage 2 \
    --simulation_opts "--train_clip_snr 15 30 --train_clip_room_share 0.8"
make -C .. speaker_encoder
recipe --preset tradeoff "${robust[@]}" "$@" --stage 1 --stop_stage 4
recipe --preset package --dumpdir dump_package --expdir exp_package "$@" --stage 1 --stop_stage 8
python=$(../local/setup_env.sh)
PYTHONPATH="..${PYTHONPATH:+:${PYTHONPATH}}" "${python}" -m tools.make_weights --student "${student}" \
    --pvad exp_robust/pvad_st --results exp_package/RESULTS.md --data "${data}"

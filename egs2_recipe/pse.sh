#!/usr/bin/env bash
# The recipe: stages 1 to 9, called by run.sh. Options as in ESPnet's enh.sh where it
# has them; every variable below, up to the help message, is one.

# -e 'error', -u 'undefined variable', -o 'error in pipeline'
set -e
set -u
set -o pipefail

log() {
    echo "$(date '+%Y-%m-%dT%H:%M:%S') (${BASH_SOURCE[1]##*/}:${BASH_LINENO[0]}) $*" >&2
}
die() {
    echo "error: $*" >&2
    exit 2
}
SECONDS=0
# In a checkout these are links, which a plain copy of the folder leaves behind.
for _needed in conf/methods.yaml local/data.sh utils/parse_options.sh; do
    [ -f "${_needed}" ] ||
        die "${_needed}: missing in ${PWD}; write the whole recipe with pse-kd recipe DIR"
done

# General
stage=1
stop_stage=8
skip_data_prep=false
skip_train=false
skip_eval=false
dry_run=false
ngpu=0
nj=$(nproc 2>/dev/null || echo 2)
array=1
dumpdir=dump
expdir=exp
python=python
seed=0
seeds=

# Data (stages 1 to 3)
corpus=espeak
librispeech=
corpora=
noise=
rir=
train_set=train
valid_set=dev
test_sets="test_ts0 test_ts1 test_ts2 test_ts3"
datadir=data
rooms="300 30 60"
num_train=2000
num_dev=200
num_test=40
local_data_opts=
simulation_opts=
its_variants=
dynamic_mixing=auto
speaker_encoder=ge2e

# Training (stages 4 and 5)
pvad_config=conf/train_pvad.yaml
pvad_tag=
pvad_set=
pvad_args=
pvad_epochs=
pse_config=conf/tuning/train_pse_mingru.yaml
pse_args=
methods="b1 b2 s"
methods_tables=conf/methods.yaml
skip_teacher=false
trunk_epochs=
pse_epochs=
from_scratch=false
set=
train_jobs=1
asr_config=conf/train_asr_ctc.yaml
asr_model=
asr_opts=

# Enhancement, scores, packing, upload (stages 6 to 9)
inference_model=valid.loss.best.pth
download_model=
dnsmos_trials=12
dnsmos_methods=
dnsmos_seeds=
dry_blends=
dry_blend_methods=
score_tag=
results=
report=
hf_repo=
hf_exp=
command_line=

# What --dry_run prints; presets set it
preset=mini
preset_summary=
disk_gib=0
stage_minutes=

# What --methods best stands for: docs/findings.md tells why
best=r_log_asym_error
presets=$(for _file in conf/presets/*.sh; do basename "${_file}" .sh; done | grep -v debug | xargs)

help_message=$(
    cat <<HELP
Usage: ./run.sh [--<name> <value> ...]

General
    --preset            # ${presets} (default=${preset}); the other options override it
    --stage             # First stage to run (default=${stage})
    --stop_stage        # Last stage to run (default=${stop_stage})
                        #   1 corpus  2 simulation  3 speaker vectors
                        #   4 pVAD teacher (and the ASR that scores words)
                        #   5 students  6 enhancement  7 scores  8 packing
                        #   9 upload (only if --stop_stage says so)
    --skip_data_prep    # Skip stages 1 to 3 (default=${skip_data_prep})
    --skip_train        # Skip stages 4 and 5 (default=${skip_train})
    --skip_eval         # Skip stages 6 and 7 (default=${skip_eval})
    --dry_run           # List stages, disk, estimated time, and what stage 9 would send;
                        # run nothing (default=${dry_run})
    --ngpu              # GPUs of one training; 0 uses the CPU (default=${ngpu})
    --nj                # Processes of data preparation, vectors and scores (default=${nj})
    --array             # Jobs of cmd.sh among which stages 2, 3, 6 and 7 divide their work,
                        # each of --nj processes (default=${array})
    --dumpdir           # Simulated data (default=${dumpdir})
    --datadir           # Corpus inventory (default=${datadir})
    --expdir            # Trainings and scores (default=${expdir})
    --python            # Python command (default=${python})
    --seed              # Of corpus, simulation and training (default=${seed})
    --seeds             # Training seeds, if several (default: --seed)
    --config            # File of such options as shell variables, read first

Data
    --corpus            # espeak (embedded, synthesized), librispeech or kaldi (default=${corpus})
    --librispeech       # Folder that holds LibriSpeech subsets
    --corpora           # Corpora to take voices from, "[KIND:]FOLDER[:WEIGHT] ...": KIND is
                        # kaldi or librispeech, by default that of --corpus
    --noise             # Folder of noise recordings
    --rir               # Folder of measured room responses (optional)
    --train_set, --valid_set, --test_sets    # Names of the simulated sets
    --rooms             # Simulated rooms in train, dev, test
    --num_train, --num_dev    # Samples of training and development
    --num_test          # Trials per scenario
    --local_data_opts   # Further options of local/data.sh (see local/data.sh --help)
    --simulation_opts   # Further options of python -m espnet_pse_kd.bin.simulate
    --dynamic_mixing    # Students mix every training sample anew, num_train per epoch, and none
                        # is written (true, false; auto: where the corpus is real speech
                        # and --skip_teacher is given, default=${dynamic_mixing})
    --its_variants      # Also training sets with other inactive-target samples, for methods
                        # that ask for them: parts of them, or one construction of all, e.g.
                        # "0.5 partial swap_enrolment"
    --speaker_encoder   # ge2e, ge2e_robust (fine-tuned to mixtures), campp (CAM++), or an ESPnet-SPK model by tag or path (default=${speaker_encoder})

Training
    --pvad_config       # YAML of the teacher (default=${pvad_config})
    --pvad_tag          # Names the teacher's folder, EXPDIR/pvad_TAG (default: from --pvad_config)
    --pvad_set          # "KEY=VALUE ..." laid over the teacher's YAML, e.g. pvad_conf.conditioning=et
    --pvad_args         # Further options of espnet_pse_kd.bin.pvad_train
    --pvad_epochs       # Epochs of the teacher (default: the YAML's)
    --pse_config        # YAML of the students (default=${pse_config})
    --pse_args          # Further options of espnet_pse_kd.bin.pse_train
    --pse_epochs        # Epochs of a student, trunk included (default: the YAML's)
    --methods           # Names in --methods_tables, or best, that is ${best}
                        # (default="${methods}")
    --methods_tables    # What methods there are, one or more files (default=${methods_tables})
    --skip_teacher      # Neither window vectors nor personal VAD: for methods without
                        # teacher, as best is (default=${skip_teacher})
    --trunk_epochs      # Epochs of the common b1 trunk (default: half of them)
    --from_scratch      # Train every method alone, without trunk (default=${from_scratch})
    --set               # "KEY=VALUE ..." laid over the students' YAML, e.g. gate_conf.theta=0.7
    --train_jobs        # Students trained at the same time (default=${train_jobs})
    --asr_config        # YAML of the ASR trained for scoring on espeak; "" for none
    --asr_opts          # Further options of python -m espnet_pse_kd.bin.train_asr
    --asr_model         # ASR for WER instead: whisper_tiny, whisper_base (extra [wer]), or
                        # an ESPnet one: zoo tag, zip or folder

Evaluation
    --inference_model   # Checkpoint to use (default=${inference_model})
    --dnsmos_trials     # Trials per scenario with DNSMOS and DistillMOS, 0 for none
                        # (default=${dnsmos_trials})
    --dnsmos_methods    # Methods that they rate (default=all)
    --dnsmos_seeds      # Training seeds that they rate (default=all)
    --dry_blends        # Amplitudes a, e.g. "0.05 0.1 0.2": also score the output plus a times
                        # the mixture
    --dry_blend_methods # Systems for that (default: the last of --methods)
    --download_model    # Shared model to enhance and score instead of training: tag of the
                        # model zoo, Hugging Face repository, zip or folder
    --score_tag         # Names scores_TAG.csv, RESULTS_TAG.md, report_TAG.html, so that scores
                        # of other sets do not replace those of the test sets
    --results           # Table to write (default: RESULTS.md in --expdir)
    --report            # Page to write (default: report.html in --expdir)
    --command_line      # What the table names as its command; run.sh fills it in

Upload (stage 9; the token is read from the environment variable HF_TOKEN)
    --hf_repo           # USER/NAME on Hugging Face
    --hf_exp            # Folder of the training to share (default: the last of --methods)
HELP
)

# The preset comes before all other options, wherever it stands.
for ((i = 1; i < $#; i++)); do
    if [ "${!i}" = --preset ]; then
        j=$((i + 1))
        preset=${!j}
    fi
done
[ -f "conf/presets/${preset}.sh" ] ||
    die "--preset: unknown preset '${preset}'; choose from ${presets}"
# shellcheck disable=SC1090
. "conf/presets/${preset}.sh"
_preset_lists=("--preset_dry_blend_methods=${dry_blend_methods}"
    "--preset_dnsmos_methods=${dnsmos_methods}" "--preset_dnsmos_seeds=${dnsmos_seeds}")

. utils/parse_options.sh
[ $# -eq 0 ] || die "$1: unexpected argument; options are written --name value"

# The RESULTS.md beside this script is the project's own record: no run overwrites it.
tag=${score_tag:+_${score_tag}}
[ -n "${results}" ] || results=${expdir}/RESULTS${tag}.md
[ -n "${report}" ] || report=${expdir}/report${tag}.html
stage_names=(- corpus simulate vectors teacher students enhance score pack upload)

# Whether stage $1 is to run.
runs() {
    [ "${stage}" -le "$1" ] && [ "${stop_stage}" -ge "$1" ] || return 1
    case "$1" in
        1 | 2 | 3) ! "${skip_data_prep}" ;;
        4 | 5) ! "${skip_train}" ;;
        6 | 7) ! "${skip_eval}" ;;
    esac
}

# Whether this recipe trains the ASR that scores words: on the embedded corpus, which
# has every transcript, where none is given. With --download_model nothing is trained,
# but an ASR that is there is used.
trains_asr() {
    [ -z "${asr_model}" ] && [ -n "${asr_config}" ] && [ "${corpus}" = espeak ] &&
        { [ -z "${download_model}" ] || [ -d "${asr_exp}" ]; }
}

check_options() {
    local number
    [[ ${array} =~ ^[1-9][0-9]*$ ]] || die "--array ${array}: give a number from 1 on"
    for number in stage stop_stage nj ngpu seed num_train num_dev num_test \
        train_jobs dnsmos_trials; do
        [[ ${!number} =~ ^[0-9]+$ ]] || die "--${number} ${!number}: give a number"
    done
    for number in ${dry_blends}; do
        [[ ${number} =~ ^(0?\.[0-9]*[1-9][0-9]*|1)$ ]] ||
            die "--dry_blends ${number}: give numbers above 0, at most 1"
    done
    [[ ${score_tag} =~ ^[A-Za-z0-9_.-]*$ ]] ||
        die "--score_tag ${score_tag}: give letters and digits"
    [ "${stop_stage}" -le 9 ] || die "--stop_stage ${stop_stage}: the last stage is 9"
    [ "${stop_stage}" -lt 9 ] || [ -n "${hf_repo}" ] ||
        die "--hf_repo: missing; stage 9 needs USER/NAME on Hugging Face"
    [ "${stage}" -ge 1 ] || die "--stage ${stage}: the first stage is 1"
    [ "${stage}" -le "${stop_stage}" ] ||
        die "--stage ${stage}: it is after --stop_stage ${stop_stage}; nothing to run"
    case "${corpus}" in
        espeak) ;;
        librispeech | kaldi)
            [ -n "${librispeech}${corpora}" ] || [ "${corpus}" = kaldi ] ||
                die "--librispeech: missing; give the folder"
            [ -n "${librispeech}${corpora}" ] || die "--corpora: missing; give folders"
            [ -n "${noise}" ] || die "--noise: missing; give a folder of noises"
            ;;
        *) die "--corpus: unknown corpus '${corpus}'; choose espeak, librispeech or kaldi" ;;
    esac
    if [ "${dynamic_mixing}" = auto ]; then
        dynamic_mixing=false
        [ "${corpus}" = espeak ] || dynamic_mixing=${skip_teacher}
    fi
    case "${dynamic_mixing}" in
        true)
            "${skip_teacher}" || die "--dynamic_mixing true: the teacher's window vectors" \
                "are cached for a fixed training set; add --skip_teacher true, or leave" \
                "methods with a teacher to fixed sets"
            ;;
        false) ;;
        *) die "--dynamic_mixing ${dynamic_mixing}: write auto, true or false" ;;
    esac
    for folder in "${librispeech}" "${noise}" "${rir}"; do
        [ -z "${folder}" ] || [ -d "${folder}" ] ||
            die "${folder}: no such folder; correct --librispeech, --noise or --rir"
    done
}

# need STAGE FILE: FILE is written by STAGE, which must run now or have run.
need() {
    runs "$1" || [ -e "$2" ] || die "$2: no such file; run stage $1 first"
}

check_files() {
    runs 2 && need 1 "${datadir}/train/speech/wav.scp"
    runs 3 && need 2 "${dumpdir}/raw/${train_set}/wav.scp"
    if runs 4 || runs 5; then
        need 2 "${dumpdir}/raw/${train_set}/wav.scp"
        need 3 "${dumpdir}/enroll/train/vectors.npz"
    fi
    if runs 6 || runs 7; then
        for test_set in ${test_sets}; do
            need 2 "${dumpdir}/raw/${test_set}/wav.scp"
        done
    fi
    runs 9 && need 8 "${hf_exp}/$(basename "${hf_exp}").zip"
    # A missing ASR shows now, not after hours of training.
    if runs 7 && [ -n "${asr_model}" ]; then
        "${python}" -m espnet_pse_kd.bin.asr_score --check --asr_model "${asr_model}"
    fi
    return 0
}

show_plan() {
    local minutes n=0 total=0
    echo "preset ${preset}: ${preset_summary}; about ${disk_gib} GiB of disk"
    for minutes in ${stage_minutes}; do
        n=$((n + 1))
        runs "${n}" || continue
        if [ "${n}" -eq 4 ] && "${skip_teacher}"; then
            continue
        fi
        echo "stage ${n} ${stage_names[n]}: about ${minutes} min"
        total=$((total + minutes))
    done
    runs 9 && echo "stage 9 upload: ${hf_exp} to ${hf_repo}"
    echo "about ${total} min in all on 2 cores without GPU; finished work is skipped"
}

# Stage 9, with more options in $@. Not a job of cmd.sh: the token stays on this machine.
upload() {
    local card=()
    [ ! -f "${results}" ] || card=(--results "${results}")
    "${python}" -m espnet_pse_kd.bin.upload --exp "${hf_exp}" --hf_repo "${hf_repo}" \
        --dataset "${corpus}" "${card[@]}" "$@"
}

check_options
. ./path.sh
. ./cmd.sh
export python

# Methods and seeds by name: those of this run, and what of them is rated and blended.
_scope=$("${python}" -m espnet_pse_kd.bin.scope --expdir "${expdir}" \
    "--methods=${methods}" --best "${best}" "--seeds=${seeds:-${seed}}" \
    "--test_sets=${test_sets}" "--download_model=${download_model}" \
    "--dry_blend_methods=${dry_blend_methods}" "--dnsmos_methods=${dnsmos_methods}" \
    "--dnsmos_seeds=${dnsmos_seeds}" "${_preset_lists[@]}")
eval "${_scope}"

train=("${python}" -m espnet_pse_kd.bin.train --expdir "${expdir}" --dumpdir "${dumpdir}"
    --train_set "${train_set}" --valid_set "${valid_set}" --ngpu "${ngpu}"
    --cmd "${cuda_cmd}")
# shellcheck disable=SC2206
pvad_training=("${train[@]}" --config "${pvad_config}" --seeds "${seed}"
    ${pvad_tag:+--tag "${pvad_tag}"} ${pvad_epochs:+--max_epoch "${pvad_epochs}"} "--train_args=${pvad_args}")
# shellcheck disable=SC2206
pse_training=("${train[@]}" --config "${pse_config}" --methods ${methods} --seeds ${seeds}
    --jobs "${train_jobs}" ${pse_epochs:+--max_epoch "${pse_epochs}"}
    ${trunk_epochs:+--trunk_epochs "${trunk_epochs}"} "--train_args=${pse_args}")
# shellcheck disable=SC2206
pse_training+=(--methods_tables ${methods_tables})
for option in ${pvad_set}; do
    pvad_training+=(--set "${option}")
done
for option in ${set}; do
    pse_training+=(--set "${option}")
done
if "${from_scratch}"; then
    pse_training+=(--from_scratch)
fi
written=${num_train}
if "${dynamic_mixing}"; then
    written=0
    pse_training+=(--dynamic_mixing "${num_train}" --datadir "${datadir}")
fi

# Names of methods and keys are checked even where the stage that uses them is later.
pvad_exp=$("${pvad_training[@]}" --check)
"${skip_teacher}" || pse_training+=(--teacher "${pvad_exp}")
pse_exps=$("${pse_training[@]}" --check)
packed=${pse_exps}
"${skip_teacher}" || packed+=" ${pvad_exp}"
if [ -n "${download_model}" ]; then
    skip_train=true
    download=("${python}" -m espnet_pse_kd.bin.download "${download_model}"
        --expdir "${expdir}" --model_file "${inference_model}")
    pse_exps=$("${download[@]}" --check)
    packed=${pse_exps}
fi
[ -n "${hf_exp}" ] || hf_exp=$(tail -n 1 <<<"${pse_exps}")
asr_exp=${expdir}/asr_$(basename "${asr_config}" .yaml)
check_files
if "${dry_run}"; then
    show_plan
    if runs 9 && [ -f "${hf_exp}/$(basename "${hf_exp}").zip" ]; then
        upload --dry_run
    fi
    exit 0
fi

mkdir -p "${expdir}"
# Kaldi table of the seconds that each stage took, for RESULTS.md.
keep_time() {
    local spent=$((SECONDS - stage_start))
    local table=${expdir}/stage_seconds
    [ -f "${table}" ] || : >"${table}"
    awk -v key="$1" -v spent="${spent}" '
        $1 == key {$2 += spent; found = 1} {print}
        END {if (!found) print key, spent}' "${table}" | sort >"${table}.tmp"
    mv "${table}.tmp" "${table}"
    log "Stage ${1%%_*} finished [elapsed=${spent}s]"
}
# Put the table of times at the end of the results; scores.csv knows nothing of them.
write_times() {
    [ -f "${results}" ] || return 0
    {
        sed '/^## Wall time/,$d' "${results}"
        printf '## Wall time\n\n|stage|minutes, all runs added up|\n|---|---|\n'
        awk '{printf "|%s|%.1f|\n", $1, $2 / 60}' "${expdir}/stage_seconds"
    } >"${results}.tmp"
    mv "${results}.tmp" "${results}"
}
begin() {
    stage_start=${SECONDS}
    log "Stage $1: $2"
}
# The sets that a teacher hears: its own, the students', the scored ones.
teacher_sets() {
    # Those of --its_variants: stage 2 deletes the folders of others.
    compgen -G "${dumpdir}/raw/${train_set}_its*" | sed 's:.*/::' || true
    compgen -G "${dumpdir}/raw/${valid_set}_its*" | sed 's:.*/::' || true
    echo "${train_set} ${valid_set} ${test_sets}"
}
# A job of cmd.sh with a log per stage.
job() {
    local name=$1
    shift
    ${train_cmd} "${expdir}/log/${name}.log" "$@" >&2
}
# The same in --array jobs: each does its share, then the last writes the tables.
array_job() {
    local name=$1
    shift
    [ "${array}" -eq 1 ] ||
        ${train_cmd} JOB=1:"${array}" "${expdir}/log/${name}.JOB.log" "$@" \
            --share "JOB/${array}" >&2
    job "${name}" "$@"
}

if runs 1; then
    begin 1 "corpus ${corpus} -> ${datadir}"
    # shellcheck disable=SC2086
    job corpus local/data.sh --corpus "${corpus}" --data_dir "${datadir}" \
        --seed "${seed}" --nj "${nj}" --rooms ${rooms} ${corpora:+--corpora ${corpora}} \
        ${librispeech:+--librispeech "${librispeech}"} ${noise:+--noise "${noise}"} \
        ${rir:+--rir "${rir}"} ${local_data_opts}
    keep_time 1_corpus
fi

if runs 2; then
    begin 2 "simulation -> ${dumpdir}"
    # shellcheck disable=SC2086
    array_job simulate "${python}" -m espnet_pse_kd.bin.simulate --data_dir "${datadir}" \
        --dump_dir "${dumpdir}" --train "${written}" --dev "${num_dev}" \
        --test "${num_test}" --seed "${seed}" --nj "${nj}" \
        ${its_variants:+--its_variants ${its_variants}} ${simulation_opts}
    keep_time 2_simulate
fi

if runs 3; then
    begin 3 "speaker vectors -> ${dumpdir}"
    window_sets=
    "${skip_teacher}" || window_sets=$(teacher_sets)
    # shellcheck disable=SC2086
    array_job vectors "${python}" -m espnet_pse_kd.bin.extract_vectors --dump_dir "${dumpdir}" \
        --sets ${window_sets} \
        --speaker_encoder "${speaker_encoder}" --nj "${nj}" --ngpu "${ngpu}"
    keep_time 3_vectors
fi

asr_job=""
# The ASR's training is not left behind alone, whatever became of the others.
wait_for_asr() {
    [ -n "${asr_job}" ] || return 0
    wait "${asr_job}" || failed="${failed:+${failed} and }the ASR"
    asr_job=""
}

teach() {
    # shellcheck disable=SC2086
    "${pvad_training[@]}" && job score_teacher \
        "${python}" -m espnet_pse_kd.bin.score_teacher --exp "${pvad_exp}" \
        --dump_dir "${dumpdir}" --train_set "${train_set}" --sets ${test_sets} \
        --output "teacher_scores${tag}.json"
}

if runs 4; then
    begin 4 "pVAD teacher -> ${pvad_exp}"
    failed=""
    if trains_asr; then
        # Beside the teacher and the students' trunk: none gains from a second core.
        # shellcheck disable=SC2086
        job train_asr "${python}" -m espnet_pse_kd.bin.train_asr \
            --train "${datadir}/train/speech" --valid "${datadir}/dev/speech" \
            --output "${asr_exp}" --config "${asr_config}" --threads 1 ${asr_opts} &
        asr_job=$!
    fi
    "${skip_teacher}" || teach || failed="the teacher"
    # Only scores need the ASR: while students follow, it may go on.
    if [ -n "${failed}" ] || ! runs 5; then
        wait_for_asr
    fi
    [ -z "${failed}" ] || die "stage 4: ${failed} failed, see above"
    keep_time 4_teacher
fi

if runs 5; then
    begin 5 "students ${methods}"
    failed=""
    "${pse_training[@]}" || failed="the students"
    wait_for_asr
    [ -z "${failed}" ] || die "stage 5: ${failed} failed, see above"
    keep_time 5_students
fi

if [ -n "${download_model}" ] && { runs 6 || runs 8; }; then
    log "Shared model ${download_model} -> ${pse_exps}"
    "${download[@]}" >/dev/null
fi

if runs 6; then
    begin 6 "enhancement of ${test_sets}"
    # shellcheck disable=SC2086
    train_cmd="${decode_cmd} --gpu ${ngpu}" array_job enhance \
        "${python}" -m espnet_pse_kd.bin.enhance --exp ${pse_exps} \
        --model_file "${inference_model}" --dump_dir "${dumpdir}" --sets ${test_sets} \
        --ngpu "${ngpu}" --num_threads "${nj}"
    keep_time 6_enhance
fi

if runs 7; then
    begin 7 "scores -> ${results}"
    # shellcheck disable=SC2086
    if [ -n "${asr_model}" ] || trains_asr; then
        job asr_score "${python}" -m espnet_pse_kd.bin.asr_score \
            --dumpdir "${dumpdir}/raw" --expdir "${expdir}" --test_sets ${test_sets} \
            --asr_model "${asr_model:-${asr_exp}}"
    fi
    # shellcheck disable=SC2086
    array_job score "${python}" -m espnet_pse_kd.bin.score --dumpdir "${dumpdir}/raw" \
        --expdir "${expdir}" --test_sets ${test_sets} --nj "${nj}" \
        --dnsmos_trials "${dnsmos_trials}" --dnsmos_seeds ${dnsmos_seeds} --dnsmos_methods ${dnsmos_methods} \
        --dry_blends ${dry_blends} \
        --dry_blend_methods ${dry_blend_methods} --scores "scores${tag}.csv" \
        --results "${results}" \
        --command "${command_line}"
    judge=()
    "${skip_teacher}" || [ ! -f "${pvad_exp}/valid.loss.best.pth" ] || judge=(--pvad_exp "${pvad_exp}")
    # shellcheck disable=SC2086
    job report "${python}" -m espnet_pse_kd.bin.report --dump_dir "${dumpdir}" \
        --expdir "${expdir}" --scores "scores${tag}.csv" --test_sets ${test_sets} \
        --output "${report}" \
        --command "${command_line}" "${judge[@]}"
    keep_time 7_score
    write_times
fi

if runs 8; then
    begin 8 "packing for the model zoo"
    # shellcheck disable=SC2086
    job pack "${python}" -m espnet_pse_kd.bin.pack --exp ${packed} \
        --model_file "${inference_model}"
    keep_time 8_pack
    write_times
fi

if runs 9; then
    begin 9 "upload of ${hf_exp} to ${hf_repo}"
    upload
    keep_time 9_upload
fi

log "Successfully finished. [elapsed=${SECONDS}s]"

# Source it from the recipe's folder: in a checkout, or one that `pse-kd recipe` wrote.
# Below ESPnet, as espnet/egs2/<corpus>/pse1, its own environment is activated.
# shellcheck shell=bash

# Exit status 0 if the Python $1 can run the recipe.
_has_recipe() {
    "$1" -c 'import importlib.util as i; import espnet_pse_kd; assert i.find_spec("espnet2")' \
        2>/dev/null
}

_espnet=$PWD/../../..
_top=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd -P)

if [ -f "${_espnet}/tools/activate_python.sh" ]; then
    # shellcheck disable=SC1091
    . "${_espnet}/tools/activate_python.sh"
    export PYTHONPATH=${_espnet}${PYTHONPATH:+:${PYTHONPATH}}
elif [ -x "${_top}/local/setup_env.sh" ]; then
    # Not through `export A=$(...)`, which would hide a failure.
    _python=$("${_top}/local/setup_env.sh") || exit 2
    PATH=$(dirname "${_python}"):${PATH}
    export PATH PYTHONPATH=${_top}${PYTHONPATH:+:${PYTHONPATH}}
elif [ -f .python ] && ! _has_recipe "${python:-python}"; then
    # Of the environment that was active when pse-kd wrote this folder.
    python=$(<.python)
fi
if ! _has_recipe "${python:-python}"; then
    echo "error: ${python:-python}: it lacks espnet_pse_kd or ESPnet; activate their" \
        "environment, or give --python" >&2
    exit 2
fi

export LC_ALL=C PYTHONIOENCODING=UTF-8
# One thread per process: the recipe's own parallelism is by processes (--nj).
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# Threads that spin while they wait make a shared machine many times slower.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}
unset -f _has_recipe
unset _espnet _top _python

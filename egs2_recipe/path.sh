# Source it from the recipe's folder. Works in this repository and in a copy of the
# folder at espnet/egs2/<corpus>/pse1, where ESPnet's own environment is activated.
# shellcheck shell=bash

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
fi

export LC_ALL=C PYTHONIOENCODING=UTF-8
# One thread per process: the recipe's own parallelism is by processes (--nj).
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# Threads that spin while they wait make a shared machine many times slower.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}
unset _espnet _top _python

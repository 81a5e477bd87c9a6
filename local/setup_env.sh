#!/usr/bin/env bash
# Print the path of a Python that has this package and everything the recipe needs.
#
# usage: python=$(local/setup_env.sh)
#
# An active environment (virtualenv, conda, or the `python` on the PATH) that already
# has the package is used as it is. Otherwise `.venv` at the top of the repository is
# made, resumed or found finished. Needs no root; messages go to stderr, one line each
# but for the installer's own. `.venv/.ready` is written last and holds a hash of
# setup.py and of the checkout's path: without it an install is unfinished.
#
# Environment variables: UV_DEFAULT_INDEX (package index; default: pip's own setting),
# PSE_KD_TORCH=default (do not look for CPU builds of torch), PSE_KD_PYTHON (interpreter
# of .venv; an active environment is passed over then).

set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=${top}/.venv
cpu_index=https://download.pytorch.org/whl/cpu

say() { echo "setup_env: $*" >&2; }
die() {
    echo "error: $*" >&2
    exit 2
}

# Exit status 0 if $1 has the package, ESPnet >= 202609 and the recipe's modules.
# -P: the package must be installed, not merely lie in the current folder.
has_package() {
    "$1" -P - <<'PY' >/dev/null 2>&1
from importlib.metadata import requires, version
import re, sys
ok = (3, 12) <= sys.version_info[:2] < (3, 14)
ok = ok and int(re.match(r"\d+", version("espnet")).group()) >= 202609
for line in requires("espnet_pse_kd"):
    name, _, marker = line.partition(";")
    if "extra" not in marker or "recipe" in marker:
        version(re.match(r"[\w.-]+", name).group())
sys.exit(not ok)
PY
}

# Exit status 0 if $1 really runs (a pyenv shim may exist and fail) and has the version.
runs() {
    "$1" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info[:2] < (3, 14))' \
        >/dev/null 2>&1
}

active_python() {
    local candidate
    [ -z "${PSE_KD_PYTHON:-}" ] || return 1
    for candidate in "${VIRTUAL_ENV:-}" "${CONDA_PREFIX:-}"; do
        [ -n "${candidate}" ] && [ "${candidate}" != "${venv}" ] || continue
        if has_package "${candidate}/bin/python"; then
            echo "${candidate}/bin/python"
            return 0
        fi
    done
    # Only where there is no .venv: a `python` that happens to be on the PATH must not
    # take the place of an environment that was made for this checkout.
    if [ ! -e "${venv}" ] && has_package python; then
        command -v python
        return 0
    fi
    return 1
}

stamp() {
    { cat "${top}/setup.py" && echo "${top}"; } | sha256sum | cut -d' ' -f1
}

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

# The interpreter that is asked for must be one that .venv can have, and has.
check_wish() {
    local wish=${PSE_KD_PYTHON:-} found
    [ -n "${wish}" ] || return 0
    runs "${wish}" ||
        die "PSE_KD_PYTHON=${wish}: it is no Python 3.12 or 3.13; correct or unset it"
    found=$(version_of "${venv}/bin/python") || return 0 # it is made, or made anew
    [ "${found}" = "$(version_of "${wish}")" ] ||
        die "PSE_KD_PYTHON=${wish}: ${venv} has Python ${found}; remove the folder and" \
            "run the same command again"
}

is_ready() {
    [ -x "${venv}/bin/python" ] && [ "$(cat "${venv}/.ready" 2>/dev/null)" = "$(stamp)" ]
}

python_candidates() {
    printf '%s\n' python3.12 python3.13 python3 \
        "${HOME}"/.pyenv/versions/3.1[23]*/bin/python \
        "${HOME}"/.local/bin/python3.1[23] /usr/local/bin/python3.1[23]
}

find_python() {
    local candidate
    if [ -n "${PSE_KD_PYTHON:-}" ]; then
        command -v "${PSE_KD_PYTHON}"
        return
    fi
    while read -r candidate; do
        if command -v "${candidate}" >/dev/null && runs "${candidate}"; then
            command -v "${candidate}"
            return 0
        fi
    done < <(python_candidates)
    return 1
}

# A Python of any version that has pip, or can make an environment that has it.
find_pip() {
    local candidate
    for candidate in "$@" python3 python; do
        if "${candidate}" -m pip --version >/dev/null 2>&1; then
            echo "${candidate}"
            return 0
        fi
    done
    for candidate in "$@" python3 python; do
        if "${candidate}" -m venv "${top}/.uv/venv" >/dev/null 2>&1; then
            echo "${top}/.uv/venv/bin/python"
            return 0
        fi
    done
    return 1
}

# uv ignores pip's configuration; a machine may reach only the index that pip is told of.
use_index_of_pip() {
    local pip=$1 settings index cert
    settings=$("${pip}" -m pip config list 2>/dev/null || true)
    index=$(sed -n "s/^[^=]*\.index-url='\(.*\)'$/\1/p" <<<"${settings}" | tail -n 1)
    cert=$(sed -n "s/^[^=]*\.cert='\(.*\)'$/\1/p" <<<"${settings}" | tail -n 1)
    if [ -n "${index}" ] && [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
        export UV_DEFAULT_INDEX=${index}
    fi
    if [ -n "${cert}" ] && [ -z "${SSL_CERT_FILE:-}" ]; then
        export SSL_CERT_FILE=${cert}
    fi
}

# Set `uv`. --target needs no root and is allowed on externally managed (PEP 668)
# systems, where a plain `pip install` is refused.
find_uv() {
    local pip candidate
    if pip=$(find_pip "$@"); then
        use_index_of_pip "${pip}"
    fi
    for candidate in uv "${top}/.uv/bin/uv" "${HOME}/.local/bin/uv"; do
        if "${candidate}" --version >/dev/null 2>&1; then
            uv=${candidate}
            return 0
        fi
    done
    [ -n "${pip}" ] || die "python3: it has neither pip nor venv; install python3-pip" \
        "(or uv: https://docs.astral.sh/uv) and run the same command again"
    rm -rf "${top}/.uv/bin"
    "${pip}" -m pip install -qq --upgrade --target "${top}/.uv" uv >&2 ||
        die "pip install uv: it failed, see above; the package index must be reachable"
    uv=${top}/.uv/bin/uv
    "${uv}" --version >/dev/null || die "${uv}: it does not run; install uv by hand"
}

has_gpu() {
    nvidia-smi -L 2>/dev/null | grep -q GPU
}

cpu_builds_can_be_had() {
    "$1" -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=4)' \
        "${cpu_index}/torch/" >/dev/null 2>&1
}

make_venv() {
    local python
    if [ -x "${venv}/bin/python" ] && "${venv}/bin/python" -c '' 2>/dev/null; then
        runs "${venv}/bin/python" ||
            die "${venv}: its Python is $("${venv}/bin/python" -V 2>&1), 3.12 or 3.13" \
                "is needed; remove the folder and run the same command again"
    else
        rm -rf "${venv}"
    fi
    python=$(find_python) || python=
    uv=
    find_uv ${python:+"${python}"}
    if [ ! -e "${venv}" ]; then
        if [ -z "${python}" ]; then
            "${uv}" python install 3.12 >&2 ||
                die "python3: no Python 3.12 or 3.13 was found, nor could uv fetch one;" \
                    "install python3.12 and run the same command again"
            python=3.12
        fi
        "${uv}" venv --quiet --python "${python}" "${venv}" >&2
    fi
}

install() {
    local needed=9 free
    export VIRTUAL_ENV=${venv}
    if [ "${PSE_KD_TORCH:-}" != default ] && [ -z "${UV_TORCH_BACKEND:-}" ] &&
        ! has_gpu && cpu_builds_can_be_had "${venv}/bin/python"; then
        export UV_TORCH_BACKEND=cpu
        needed=4
    fi
    free=$(df -Pk "${top}" | awk 'NR == 2 {print int($4 / 1048576)}')
    if [ ! -e "${venv}/.ready" ] && [ "${free}" -lt "${needed}" ]; then
        die "${top}: ${free} GiB free, the environment needs ${needed}; free some disk space"
    fi
    "${uv}" pip install --quiet --compile-bytecode -e "${top}[recipe,dev]" >&2 ||
        die "uv pip install: it failed, see above; run the same command again, it resumes"
}

main() {
    check_wish
    if active_python; then
        return
    fi
    if ! is_ready; then
        exec 9>"${top}/.venv.lock"
        if command -v flock >/dev/null && ! flock -n 9; then
            say "waiting for another set-up of ${venv}"
            flock 9
        fi
        if ! is_ready; then
            say "making ${venv} (once; about two minutes and up to 7 GB)"
            make_venv
            install
            stamp >"${venv}/.ready"
        fi
        exec 9>&-
    fi
    echo "${venv}/bin/python"
}

main

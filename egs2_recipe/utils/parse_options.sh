#!/usr/bin/env bash
# Kaldi's option parsing, for scripts that source it after setting their defaults:
#
#   nj=4                        # a variable is an option: --nj 8
#   help_message="..."
#   . utils/parse_options.sh
#
# `--opt-name v` and `--opt_name v` set `opt_name`, which must be a variable already;
# `--config FILE` is read before the other options, whatever its place, so that these
# override it; `--help` prints `help_message`. A variable whose default is true or false
# takes no other value. Parsing stops at the first argument that is no option; "$@" then
# holds the rest.

_option_error() {
    echo "error: $*; see $0 --help" >&2
    exit 2
}

for ((_i = 1; _i < $#; _i++)); do
    if [ "${!_i}" = --config ]; then
        _j=$((_i + 1))
        [ -r "${!_j}" ] || _option_error "--config ${!_j}: no such file"
        # shellcheck disable=SC1090
        . "${!_j}"
    fi
done

while [ $# -gt 0 ]; do
    case "$1" in
        --help | -h)
            echo "${help_message:-"$0: no help"}"
            exit 0
            ;;
        --*=*) _option_error "$1: write '${1%%=*} ${1#*=}'" ;;
        --*)
            _name=${1#--}
            _name=${_name//-/_}
            [[ ${_name} =~ ^[a-z][a-z0-9_]*$ ]] || _option_error "$1: unknown option"
            if [ "${_name}" != config ] && [ -z "${!_name+set}" ]; then
                _option_error "$1: unknown option"
            fi
            [ $# -ge 2 ] || _option_error "$1: its value is missing"
            if [ "${_name}" != config ]; then
                case "${!_name}" in
                    true | false)
                        [[ $2 =~ ^(true|false)$ ]] ||
                            _option_error "$1 $2: expected true or false"
                        ;;
                esac
                printf -v "${_name}" '%s' "$2"
            fi
            shift 2
            ;;
        *) break ;;
    esac
done
unset _i _j _name

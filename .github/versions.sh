#!/usr/bin/env bash
# Table of what the environment holds and what setup.py asks for at least; exit status 1
# if its Python is not of version $1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$(local/setup_env.sh)
"${python}" -P - "$1" <<'PY'
import platform
import sys
from importlib.metadata import requires, version

from packaging.requirements import Requirement

print(f"Python {platform.python_version()}\n\n|package|at least|here|\n|---|---|---|")
declared = {}
for line in requires("espnet_pse_kd"):
    requirement = Requirement(line)
    declared.setdefault(requirement.name, requirement)
for name, requirement in sorted(declared.items()):
    try:
        print(f"|{name}|{str(requirement.specifier).removeprefix('>=')}|{version(name)}|")
    except ModuleNotFoundError:
        pass  # of an extra that the tests do not need
sys.exit(not platform.python_version().startswith(f"{sys.argv[1]}."))
PY

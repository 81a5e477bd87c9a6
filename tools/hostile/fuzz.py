"""Fuzzing, guided by coverage: ``python -m tools.hostile.fuzz --seconds 60``.

With atheris (``pip install atheris``) the fuzzer follows which lines of this package an
input reaches. Without, hypothesis draws inputs that are not guided. Each way in has a
process of its own; one that crashes leaves its input beside the corpus.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_pse_kd.errors import UserError, one_line

if TYPE_CHECKING:
    from tools.hostile.targets import Target

TARGETS = ("sound", "profile", "metadata", "model", "zip", "yaml")
_FOLLOWED = ("espnet_pse_kd", "tools", "yaml", "zipfile", "soundfile")


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--target", nargs="+", choices=TARGETS, default=list(TARGETS))
    add("--seconds", type=int, default=60, help="of each target; default: %(default)s")
    add("--corpus", type=Path, default=Path("build/fuzz"), help="default: %(default)s")
    add("--single", choices=TARGETS, help=argparse.SUPPRESS)
    return parser


@one_line
def main() -> None:
    """Run every target in a process of its own; status 1 if one found something."""
    args = get_parser().parse_args()
    if args.single:
        fuzz = _with_atheris if find_spec("atheris") else _with_hypothesis
        fuzz(args.single, args.seconds, args.corpus)
        return
    found = []
    for name in args.target:
        words = [sys.executable, "-m", "tools.hostile.fuzz", "--single", name]
        words += ["--seconds", str(args.seconds), "--corpus", str(args.corpus)]
        status = subprocess.run(words).returncode
        found += [name] if status else []
        print(f"{name}: {args.seconds} s, {'a find' if status else 'no find'}")
    sys.exit(int(bool(found)))


def _refusing(use: Callable[[bytes], None]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        try:
            use(data)
        except UserError as error:
            assert "\n" not in str(error)

    return run


def _target(name: str) -> Target:
    from tools.hostile.targets import TARGETS as known

    return known[name]


def _with_atheris(name: str, seconds: int, corpus: Path) -> None:
    import atheris

    folder = corpus / name
    folder.mkdir(parents=True, exist_ok=True)
    # Only what is imported here is followed, that by the first inputs included.
    with atheris.instrument_imports(include=list(_FOLLOWED)):
        target = _target(name)
        run = _refusing(target.use)
        for number, seed in enumerate(target.seeds()):
            (folder / f"seed{number}").write_bytes(seed)
            run(seed)
    words = [f"-max_total_time={seconds}", f"-max_len={target.longest}", "-timeout=20"]
    words += [f"-artifact_prefix={folder}-", "-rss_limit_mb=4096", "-verbosity=0"]
    atheris.Setup([name, *words, "-print_final_stats=1", str(folder)], run)
    atheris.Fuzz()


def _with_hypothesis(name: str, seconds: int, corpus: Path) -> None:
    """Good inputs of which parts are replaced, until the time is over."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    target = _target(name)
    seeds, run, end = target.seeds(), _refusing(target.use), time.monotonic() + seconds
    changes = st.lists(
        st.tuples(st.floats(0, 1), st.binary(max_size=12), st.integers(0, 12)),
        max_size=6,
    )

    @settings(
        max_examples=2000,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(seeds), changes)
    def mutated(seed: bytes, edits: list[tuple[float, bytes, int]]) -> None:
        for share, new, removed in edits:
            at = int(share * len(seed))
            seed = seed[:at] + new + seed[at + removed :]
        if time.monotonic() < end:
            run(seed)

    while time.monotonic() < end:
        mutated()


if __name__ == "__main__":
    main()

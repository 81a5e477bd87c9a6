"""PulseAudio and PipeWire through ``pactl``: single devices, and a virtual microphone.

Both speak PulseAudio's protocol. PortAudio reaches them through ALSA's device
``pulse``, which takes the source and sink that ``PULSE_SOURCE`` and ``PULSE_SINK``
name.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from espnet_pse_kd.errors import UserError

PREFIX = "pulse:"
"""Of the name of a source or sink, where a device is chosen."""
SINK, MICROPHONE = "pse_kd", "pse_kd_mic"
"""Names of the virtual microphone's two ends: where sound goes in, and comes out."""
SHOWN = "pse-kd microphone"
"""What programs call the virtual microphone."""

_ALSA_DEVICE = "pulse"
_OWNER = re.compile(r"\bpse_kd\.pid=(\d+)")
_SECONDS = 10.0  # for one answer of the server


class Module(NamedTuple):
    """A module of the sound server: its number and its arguments."""

    number: str
    arguments: str


def sources_and_sinks() -> tuple[list[str], list[str]]:
    """Names of all sources and sinks; none where no sound server answers."""
    return list(_indices("sources")), list(_indices("sinks"))


def route(device: int | str | None, variable: str) -> int | str | None:
    """What PortAudio calls a device; ``pulse:NAME`` is ALSA's, led to NAME.

    Args:
        device: number, name or None.
        variable: of the environment, that leads it: ``PULSE_SOURCE`` or ``PULSE_SINK``.
    """
    if not (isinstance(device, str) and device.startswith(PREFIX)):
        return device
    os.environ[variable] = device.removeprefix(PREFIX)
    return _ALSA_DEVICE


def identity(device: int | str | None, kind: str) -> str:
    """What changes when a ``pulse:NAME`` is taken away, or comes back as another.

    The server moves what listened to it somewhere else, without a word.

    Args:
        device: number, name or None.
        kind: ``sources`` or ``sinks``.

    Returns:
        The server's number of it; empty if it is not there, or no such name.
    """
    if not (isinstance(device, str) and device.startswith(PREFIX)):
        return ""
    return _indices(kind).get(device.removeprefix(PREFIX), "")


@contextmanager
def virtual_microphone() -> Iterator[str]:
    """Make a microphone that other programs can choose, and remove it in the end.

    What a killed run left of it is removed first.

    Yields:
        The sink to play into, see `route`.

    Raises:
        UserError: there is no sound server, it refuses, or another run has one.
    """
    _check_system()
    _remove_leftovers()
    made: list[str] = []
    try:
        made.append(
            _load(
                "module-null-sink",
                f"sink_name={SINK}",
                f'sink_properties=\'device.description="pse-kd output" '
                f"pse_kd.pid={os.getpid()}'",
            )
        )
        made.append(
            _load(
                "module-remap-source",
                f"master={SINK}.monitor",
                f"source_name={MICROPHONE}",
                f'source_properties=\'device.description="{SHOWN}" '
                f"pse_kd.pid={os.getpid()}'",
            )
        )
        yield f"{PREFIX}{SINK}"
    finally:
        for number in reversed(made):
            with suppress(UserError):  # the server is gone, and with it the modules
                _pactl("unload-module", number)


def _check_system() -> None:
    if not sys.platform.startswith("linux"):
        raise UserError(
            "--virtual-mic: only on Linux; install BlackHole (macOS) or VB-Cable "
            "(Windows) and give its name as --output, see docs/enhance.md"
        )


def _remove_leftovers() -> None:
    for module in reversed(_modules()):
        owner = _OWNER.search(module.arguments)
        if owner is None:
            continue
        if _runs(int(owner[1])):
            raise UserError(
                f"--virtual-mic: process {owner[1]} has it; stop that pse-kd live first"
            )
        _pactl("unload-module", module.number)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _modules() -> list[Module]:
    rows = (
        line.split("\t") for line in _pactl("list", "short", "modules").splitlines()
    )
    return [Module(row[0], row[2] if len(row) > 2 else "") for row in rows]


def _indices(kind: str) -> dict[str, str]:
    """The server's number of each source or sink, by name; none where none answers."""
    try:
        lines = _pactl("list", "short", kind).splitlines()
    except UserError:
        return {}
    rows = [line.split("\t") for line in lines if "\t" in line]
    return {row[1]: row[0] for row in rows}


def _load(module: str, *arguments: str) -> str:
    """Load a module; returns its number."""
    return _pactl("load-module", module, *arguments).strip()


def _pactl(*words: str) -> str:
    """Ask the sound server.

    Raises:
        UserError: there is no ``pactl``, or the server does not answer or refuses.
    """
    program = shutil.which("pactl")
    if program is None:
        raise UserError(
            "--virtual-mic: pactl is not installed; run: apt install pulseaudio-utils"
        )
    try:
        done = subprocess.run(
            [program, *words],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            env=os.environ | {"LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"pactl {words[0]}: no answer in {_SECONDS:.0f} s; restart the sound server"
        ) from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["failed"])[0]
        raise UserError(
            f"pactl {words[0]}: {reason}; start PulseAudio or PipeWire (pipewire-pulse)"
        )
    return done.stdout

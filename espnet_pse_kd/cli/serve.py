"""``pse-kd serve``: a page in the browser, on this machine only."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.cli.batch import Job
from espnet_pse_kd.cli.enhance import Options, Worker
from espnet_pse_kd.cli.pictures import before_and_after
from espnet_pse_kd.cli.presence import ABSENT_SHARE
from espnet_pse_kd.cli.sound import open_sound, read_mono
from espnet_pse_kd.cli.voice import (
    add_model_arguments,
    enroll,
    load_enhancer,
    read_clip,
)
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.recording import measure, shortcomings

if TYPE_CHECKING:
    from gradio import Blocks
    from matplotlib.figure import Figure

    from espnet_pse_kd.enhancer import PersonalizedEnhancer
    from espnet_pse_kd.runtime.pvad import OnnxPersonalVAD

DESCRIPTION = (
    "Open a page on which a voice and a recording can be recorded or uploaded, and the "
    "result heard, seen and downloaded. It is reachable from this machine only; what "
    "was uploaded is removed when the command ends, or after an hour. Needs the extra "
    "[serve]."
)

LONGEST = 600.0
"""Seconds of a recording; for longer ones there is the command line."""

_HOST = "127.0.0.1"
_LARGEST_UPLOAD = "200mb"


class Result(NamedTuple):
    """What the page shows.

    Attributes:
        text: what was found, in Markdown.
        before: path of the recording.
        after: path of the enhanced recording.
        picture: spectrograms and the enrolled voice's trace.
    """

    text: str
    before: str
    after: str
    picture: Figure


def enhance(
    enhancer: PersonalizedEnhancer,
    voice: str | None,
    recording: str | None,
    limit: float | None,
    look_ahead: bool,
    folder: Path,
) -> Result:
    """Do what the page offers.

    Args:
        enhancer: the model.
        voice: path of the enrolment.
        recording: path of the recording.
        limit: attenuation limit in dB, None for none.
        look_ahead: let the personal VAD hear the recording first.
        folder: where to write.

    Raises:
        UserError: one of the two is missing, unfit or too long.
    """
    voice, recording = _given(voice, recording)
    clip = read_clip(Path(voice))
    profile = enroll(enhancer, [clip])
    source = Path(recording)
    after = folder / f"{source.stem}_enhanced{source.suffix}"
    vad = _personal_vad(enhancer)
    options = Options(
        limit, report=bool(vad), force=True, look_ahead=look_ahead and bool(vad)
    )
    worker = Worker(enhancer, profile, options)
    heard = worker.enhance(Job(source, after))
    lines = [
        f"**Voice:** {measure(clip.wave)}.",
        *(f"⚠️ {text}." for text in shortcomings(measure(clip.wave))),
        *_heard_lines([float(meter.shares[0]) for meter, _ in heard]),
    ]
    waves = [read_mono(path, SAMPLE_RATE) for path in (source, after)]
    voices = [(posterior, vad.hop) for _, posterior in heard if vad]
    picture = before_and_after(*waves, *voices)
    return Result("\n\n".join(lines), str(source), str(after), picture)


def _personal_vad(enhancer: PersonalizedEnhancer) -> OnnxPersonalVAD | None:
    """The model's personal VAD, if it has one that hears its vectors."""
    try:
        return enhancer.personal_vad
    except UserError:
        return None


def _heard_lines(shares: Sequence[float]) -> list[str]:
    """What to say of the share of time in which the voice speaks, if it is known."""
    if not shares:
        return ["⚠️ This model has no personal VAD, so nothing looks ahead."]
    [share] = shares
    lines = [f"**Recording:** the voice speaks in {100 * share:.0f} % of the time."]
    if share < ABSENT_SHARE:
        lines.append("⚠️ The voice seems absent from the recording.")
    return lines


def _given(voice: str | None, recording: str | None) -> tuple[str, str]:
    """The two files, if both are there and the recording is not too long."""
    if not voice:
        raise UserError("1 · Voice: nothing yet; record or upload a few seconds of it")
    if not recording:
        raise UserError("2 · Recording: nothing yet; record or upload one")
    with open_sound(recording) as sound:
        if sound.seconds > LONGEST:
            raise UserError(
                f"2 · Recording: {sound.seconds / 60:.0f} minutes; the page takes up "
                f"to {LONGEST / 60:.0f}, for longer ones use pse-kd enhance"
            )
    return voice, recording


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    add = parser.add_argument
    add("--port", type=int, default=7860, help="of the page, default: 7860")
    add("--browser", action="store_true", help="open the page in the browser")
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Run the subcommand until it is interrupted.

    Raises:
        UserError: Gradio is not installed, or the port is taken.
    """
    if not 1 <= args.port <= 65535:
        raise UserError(f"--port {args.port}; give one of 1 to 65535")
    with tempfile.TemporaryDirectory(prefix="pse-kd-") as folder:
        # Gradio reads these when it is imported.
        os.environ["GRADIO_TEMP_DIR"] = folder
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        try:
            from espnet_pse_kd.cli.page import LOOK, build
        except ModuleNotFoundError as error:
            raise UserError(
                f"pse-kd serve: {error.name} is not installed; run: "
                "pip install 'espnet_pse_kd[serve]'"
            ) from None
        page = build(load_enhancer(args), Path(folder))
        try:
            page.launch(
                server_name=_HOST,
                server_port=args.port,
                inbrowser=args.browser,
                max_file_size=_LARGEST_UPLOAD,
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                footer_links=[],
                **LOOK,
            )
        except OSError:
            raise UserError(
                f"--port {args.port}: taken by another program; give another"
            ) from None
        _serve(page, f"http://{_HOST}:{args.port}")


def _serve(page: Blocks, url: str) -> None:
    """Keep the page open until the command is told to stop."""
    print(f"{url}  (stop with Ctrl-C)", flush=True)
    try:
        page.block_thread()
    finally:
        page.close(verbose=False)

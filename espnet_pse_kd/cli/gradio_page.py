"""The page of ``pse-kd serve``, in Gradio."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from espnet_pse_kd.cli.page_result import Result, enhance
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.steering import REACH_SECONDS

if TYPE_CHECKING:
    from espnet_pse_kd.enhancer import PersonalizedEnhancer

_KEPT_SECONDS = 3600  # how long results and uploads may lie
_NO_LIMIT_DB = 60  # the slider's right end
_INTRODUCTION = """# Keep one voice
Give 8 seconds or more of a voice alone, and a recording in which it speaks among other
voices and noise. Nothing leaves this machine."""
# Fonts of the system: the page must work without a network.
LOOK: dict[str, Any] = {
    "theme": gr.themes.Soft(
        primary_hue="orange",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ),
    "css": """
        .gradio-container {
            width: 100%; max-width: 1200px !important; margin: 0 auto !important
        }
        .gradio-container main {width: 100%}
    """,
}
"""Arguments of ``launch``."""


def build(enhancer: PersonalizedEnhancer, folder: Path) -> gr.Blocks:
    """Lay the page out.

    Args:
        enhancer: the model.
        folder: for results; the caller removes it.
    """
    with gr.Blocks(
        title="pse-kd", analytics_enabled=False, delete_cache=(60, _KEPT_SECONDS)
    ) as page:
        gr.Markdown(_INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                voice = _given("1 · Voice", "voice")
                recording = _given("2 · Recording", "recording")
                limit = gr.Slider(
                    0,
                    _NO_LIMIT_DB,
                    _NO_LIMIT_DB,
                    step=1,
                    label="Attenuation limit (dB)",
                    info=f"Nothing is turned down further; {_NO_LIMIT_DB}: no limit",
                )
                look_ahead = gr.Checkbox(
                    True,
                    label="Look ahead",
                    info="Protect the voice where it is heard, mute what is "
                    f"{REACH_SECONDS:.0f} s away from it; off: as live",
                )
                button = gr.Button("Keep this voice", variant="primary")
            with gr.Column(scale=3, min_width=400):
                before = _shown("Before", "before")
                after = _shown("After", "after")
                text = gr.Markdown(elem_id="text")
                picture = gr.Plot(show_label=False, elem_id="picture")
        button.click(
            _handler(enhancer, folder),
            [voice, recording, limit, look_ahead],
            [text, before, after, picture],
            api_name=False,
            concurrency_limit=1,
            show_progress_on=after,
        )
    return page


def _given(label: str, name: str) -> gr.Audio:
    return gr.Audio(
        label=label,
        type="filepath",
        sources=["upload", "microphone"],
        buttons=[],
        elem_id=name,
    )


def _shown(label: str, name: str) -> gr.Audio:
    return gr.Audio(
        label=label,
        type="filepath",
        interactive=False,
        buttons=["download"],
        elem_id=name,
    )


def _handler(
    enhancer: PersonalizedEnhancer, folder: Path
) -> Callable[[str | None, str | None, float, bool], Result]:
    def handle(
        voice: str | None, recording: str | None, limit: float, look_ahead: bool
    ) -> Result:
        _remove_old(folder)
        own = Path(tempfile.mkdtemp(prefix="result-", dir=folder))
        wanted = None if limit >= _NO_LIMIT_DB else limit
        try:
            return enhance(enhancer, voice, recording, wanted, look_ahead, own)
        except UserError as error:
            message = _without_folders(str(error), voice, recording)
            raise gr.Error(message, duration=None, print_exception=False) from None

    return handle


def _without_folders(message: str, *paths: str | None) -> str:
    """Name uploaded files as the person knows them."""
    for path in filter(None, paths):
        message = message.replace(path, Path(path).name)
    return message


def _remove_old(folder: Path) -> None:
    for result in folder.glob("result-*"):
        if time.time() - result.stat().st_mtime > _KEPT_SECONDS:
            shutil.rmtree(result, ignore_errors=True)

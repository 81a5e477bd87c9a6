"""The page of ``pse-kd serve``, in Gradio."""

from __future__ import annotations

import html
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import gradio as gr

from espnet_pse_kd.cli.page_result import (
    PROFILE,
    Item,
    accepted_suffixes,
    enhance,
    picture,
)
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.steering import REACH_SECONDS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from espnet_pse_kd.enhancer import PersonalizedEnhancer

_KEPT_SECONDS = 3600  # how long results and uploads may lie
_NO_LIMIT_DB = 60  # the slider's right end
_LARGEST_ZOOM = 40
_INTRODUCTION = """# Keep one voice
Give 8 seconds or more of a voice alone, and recordings in which it speaks among other
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
        .listen button {
            padding: 6px 16px; margin: 0 8px 8px 0; border-radius: 8px;
            border: 1px solid var(--border-color-primary);
            background: var(--button-secondary-background-fill);
            color: var(--button-secondary-text-color)
        }
        .listen button[aria-pressed=true] {
            background: var(--button-primary-background-fill);
            color: var(--button-primary-text-color)
        }
        .listen audio {width: 100%}
        .listen audio[hidden] {display: none}
    """,
}
"""Arguments of ``launch``."""
# One of two players is shown. The other takes over where it is, playing or not.
_SWITCH = """
element.addEventListener('click', (event) => {
    const side = event.target.dataset && event.target.dataset.side;
    if (!side) return;
    const [now, next] = ['audio:not([hidden])', `audio[data-side=${side}]`].map(
        (query) => element.querySelector(query));
    if (now === next) return;
    const playing = !now.paused;
    now.pause();
    next.currentTime = now.currentTime;
    next.volume = now.volume;
    now.hidden = true;
    next.hidden = false;
    if (playing) next.play();
    element.querySelectorAll('button[data-side]').forEach(
        (button) => button.setAttribute('aria-pressed', button.dataset.side === side));
});
"""


class Shown(NamedTuple):
    """The page's places for results, in the order of what handlers return."""

    text: gr.Markdown
    choice: gr.Radio
    listen: gr.HTML
    zoom: gr.Slider
    position: gr.Slider
    picture: gr.Plot
    results: gr.File
    profile: gr.DownloadButton
    items: gr.State


def build(enhancer: PersonalizedEnhancer, folder: Path) -> gr.Blocks:
    """Lay the page out.

    Args:
        enhancer: the model.
        folder: for results; the caller removes it.
    """
    sounds = accepted_suffixes()
    with gr.Blocks(
        title="pse-kd", analytics_enabled=False, delete_cache=(60, _KEPT_SECONDS)
    ) as page:
        gr.Markdown(_INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                voices = _given(
                    "1 · Voice: clips or a profile",
                    "voice",
                    [*sounds, PROFILE],
                )
                recordings = _given("2 · Recordings", "recording", sounds)
                limit, look_ahead = _options()
                button = gr.Button("Keep this voice", variant="primary")
            with gr.Column(scale=3, min_width=320):
                shown = _shown()
        inputs = [*voices, *recordings, limit, look_ahead]
        button.click(
            _handler(enhancer, folder),
            inputs,
            list(shown),
            api_name=False,
            concurrency_limit=1,
            show_progress_on=shown.text,
        )
        # What is shown belongs to what is given, and to nothing else.
        gr.on(
            [given.change for given in inputs],
            _nothing,
            None,
            list(shown),
            api_name=False,
            show_progress="hidden",
        )
        _connect(shown)
    return page


def _connect(shown: Shown) -> None:
    """Another recording is chosen; or another part of its picture."""
    view = [shown.items, shown.choice, shown.zoom, shown.position]
    shown.choice.input(
        _chosen,
        view,
        [shown.listen, shown.picture],
        api_name=False,
        show_progress="hidden",
    )
    # A key or a typed number fires no release, the reset button no input.
    sliders = (shown.zoom, shown.position)
    gr.on(
        [event for slider in sliders for event in (slider.input, slider.release)],
        _drawn,
        view,
        shown.picture,
        api_name=False,
        show_progress="hidden",
        trigger_mode="always_last",  # a slider that moves asks faster than is drawn
    )


def _given(label: str, name: str, suffixes: list[str]) -> tuple[gr.File, gr.Audio]:
    """Files, and a recording of the microphone beside them."""
    files = gr.File(
        label=label, file_count="multiple", file_types=suffixes, elem_id=name
    )
    microphone = gr.Audio(
        label="or from the microphone",
        type="filepath",
        sources=["microphone"],
        buttons=[],
        elem_id=f"{name}-microphone",
    )
    return files, microphone


def _options() -> tuple[gr.Slider, gr.Checkbox]:
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
    return limit, look_ahead


def _shown() -> Shown:
    hidden: dict[str, Any] = {"visible": False}
    return Shown(
        text=gr.Markdown(elem_id="text"),
        choice=gr.Radio(label="Recording", elem_id="choice", **hidden),
        listen=gr.HTML(elem_id="listen", js_on_load=_SWITCH, **hidden),
        zoom=gr.Slider(1, _LARGEST_ZOOM, 1, step=1, label="Zoom", **hidden),
        position=gr.Slider(0, 100, 0, step=1, label="Position (%)", **hidden),
        picture=gr.Plot(show_label=False, elem_id="picture", **hidden),
        results=gr.File(
            label="Results", file_count="multiple", elem_id="results", **hidden
        ),
        profile=gr.DownloadButton(
            "Keep the voice as a profile", elem_id="profile", **hidden
        ),
        items=gr.State([]),
    )


def _nothing(text: str = "") -> list[Any]:
    """No results, but for a line of text."""
    return [
        text,
        gr.Radio(choices=[], value=None, visible=False),
        gr.HTML("", visible=False),
        gr.Slider(value=1, visible=False),
        gr.Slider(value=0, visible=False),
        gr.Plot(value=None, visible=False),
        gr.File(value=None, visible=False),
        gr.DownloadButton(value=None, visible=False),
        [],
    ]


def _handler(enhancer: PersonalizedEnhancer, folder: Path) -> Callable[..., list[Any]]:
    def handle(
        voices: Sequence[str] | None,
        spoken: str | None,
        recordings: Sequence[str] | None,
        recorded: str | None,
        limit: float,
        look_ahead: bool,
    ) -> list[Any]:
        _remove_old(folder)
        own = Path(tempfile.mkdtemp(prefix="result-", dir=folder))
        try:
            text, items, profile = enhance(
                enhancer,
                _all(voices, spoken),
                _all(recordings, recorded),
                None if limit >= _NO_LIMIT_DB else limit,
                look_ahead,
                own,
            )
        except UserError as error:  # it goes when the next result or input comes
            return _nothing(f"⚠️ **Error:** {html.escape(str(error))}")
        choices = [(item.name, number) for number, item in enumerate(items)]
        return [
            text,
            gr.Radio(choices=choices, value=0, visible=len(items) > 1),
            gr.HTML(_players(items[0]), visible=True),
            gr.Slider(value=1, visible=True),
            gr.Slider(value=0, visible=True),
            gr.Plot(value=picture(items[0]), visible=True),
            gr.File(value=[item.result for item in items], visible=True),
            gr.DownloadButton(value=profile, visible=True),
            items,
        ]

    return handle


def _all(files: Sequence[str] | None, microphone: str | None) -> list[str]:
    return [*(files or ()), *([microphone] if microphone else ())]


def _chosen(
    items: Sequence[Item], number: int, zoom: float | None, position: float | None
) -> tuple[str, Figure | None]:
    return _players(items[number]), _drawn(items, number, zoom, position)


def _drawn(
    items: Sequence[Item],
    number: int | None,
    zoom: float | None,
    position: float | None,
) -> Figure | None:
    """The picture of the part that the sliders choose; a field may be empty."""
    if not items:
        return None
    item = items[number or 0]
    length = item.seconds / max(zoom or 1, 1)
    begin = (item.seconds - length) * (position or 0) / 100
    return picture(item, begin, begin + length)


def _players(item: Item) -> str:
    """Recording and result, to be heard in turn at one position."""
    sides = {"before": item.before, "after": item.after}
    buttons = "".join(
        f'<button data-side="{side}" aria-pressed="{str(side == "after").lower()}">'
        f"{side.capitalize()}</button>"
        for side in sides
    )
    players = "".join(
        f'<audio controls preload="auto" data-side="{side}" '
        f'src="/gradio_api/file={quote(path)}"{" hidden" * (side == "before")}>'
        "</audio>"
        for side, path in sides.items()
    )
    name = html.escape(item.name)
    return f'<div class="listen"><p>{name}</p>{buttons}{players}</div>'


def _remove_old(folder: Path) -> None:
    for result in folder.glob("result-*"):
        if time.time() - result.stat().st_mtime > _KEPT_SECONDS:
            shutil.rmtree(result, ignore_errors=True)

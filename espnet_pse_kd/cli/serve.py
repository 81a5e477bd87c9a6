"""``pse-kd serve``: a page in the browser, on this machine only."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_pse_kd.cli.page_folder import page_folder
from espnet_pse_kd.cli.page_guard import Guard
from espnet_pse_kd.cli.values import whole_number
from espnet_pse_kd.cli.voice import add_model_arguments, load_enhancer
from espnet_pse_kd.errors import UserError, how_to_install

if TYPE_CHECKING:
    from gradio import Blocks
    from starlette.middleware import Middleware

DESCRIPTION = (
    "Open a page on which a voice and a recording can be recorded or uploaded, and the "
    "result heard, seen and downloaded. It is reachable from this machine only, and "
    "by no other page; what was uploaded is removed when the command ends, or after an "
    "hour. Needs the extra [serve]."
)

_HOST = "127.0.0.1"
_LARGEST_UPLOAD = "200mb"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    add = parser.add_argument
    port = whole_number(65535)
    add("--port", type=port, default=7860, help="of the page, default: 7860")
    add("--browser", action="store_true", help="open the page in the browser")
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Run the subcommand until it is interrupted.

    Raises:
        UserError: Gradio is not installed, or the port is taken.
    """
    with page_folder() as folder:
        _set_environment(folder)
        try:
            from espnet_pse_kd.cli.gradio_page import LOOK, build
        except ModuleNotFoundError as error:
            raise UserError(
                f"pse-kd serve: {error.name} is not installed; "
                f"{how_to_install('serve')}"
            ) from None
        page = build(load_enhancer(args), folder)
        try:
            page.launch(
                server_name=_HOST,
                server_port=args.port,
                inbrowser=args.browser,
                max_file_size=_LARGEST_UPLOAD,
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                mcp_server=False,
                ssr_mode=False,
                allowed_paths=[str(folder)],
                footer_links=[],
                app_kwargs={"middleware": [_guard(args.port, folder)]},
                **LOOK,
            )
        except OSError:
            raise UserError(
                f"--port {args.port}: taken by another program; give another"
            ) from None
        _serve(page, f"http://{_HOST}:{args.port}")


def _set_environment(folder: Path) -> None:
    """Settings that Gradio reads when it is imported: ours, and none of the user's.

    Theirs are for servers of their own: they could share the page, or open the disk.
    """
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"


def _guard(port: int, folder: Path) -> Middleware:
    from starlette.middleware import Middleware

    return Middleware(Guard, port=port, folder=folder)


def _serve(page: Blocks, url: str) -> None:
    """Keep the page open until the command is told to stop."""
    print(f"{url}  (stop with Ctrl-C)", flush=True)
    try:
        page.block_thread()
    finally:
        page.close(verbose=False)

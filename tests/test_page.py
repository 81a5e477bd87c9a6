"""The page of ``pse-kd serve`` in a real browser.

For developers, ``-m dev``: needs ``pip install '.[serve,browser]'`` and Chromium, the
system's or the one that ``playwright install chromium`` fetches. With PAGE_SHOTS=FOLDER
it keeps pictures of the page to look at.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import soundfile
from weights_fixture import voice, weights

from espnet_pse_kd import PersonalizedEnhancer
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.cli import page_result
from espnet_pse_kd.runtime.default_model import PERSONAL_VAD

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["weights"]  # a fixture

pytestmark = pytest.mark.dev


class Server(NamedTuple):
    """The running command."""

    url: str
    process: subprocess.Popen[bytes]
    folder: Path


@pytest.fixture(scope="module")
def server(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("gradio")
    folder = tmp_path_factory.mktemp("served")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "espnet_pse_kd.cli.main", "serve"]
        + ["--model", str(weights), "--port", str(port)],
        env={**os.environ, "TMPDIR": str(folder)},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, process)
        yield Server(url, process, folder)
    finally:
        process.kill()
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(f"the page did not start, exit status {process.poll()}")


@pytest.fixture
def page(server: Server) -> Iterator[Page]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        # As root, Chromium has no sandbox.
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(60_000)
        page.goto(server.url)
        _button(page).wait_for()
        yield page
        browser.close()


def _button(page: Page):
    return page.get_by_role("button", name="Keep this voice")


def _upload(page: Page, name: str, path: Path) -> None:
    page.locator(f"#{name} input[type=file]").set_input_files(path)
    # What was uploaded is shown in a player, whatever it is.
    page.locator(f"#{name} input[type=file]").wait_for(state="detached")


def _shoot(page: Page, name: str) -> None:
    if "PAGE_SHOTS" in os.environ:
        page.wait_for_timeout(1500)  # players draw their waves
        page.screenshot(path=Path(os.environ["PAGE_SHOTS"]) / f"{name}.png")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    soundfile.write(folder / "me.wav", voice(12.0), SAMPLE_RATE)
    meeting = voice(6.0, seed=1) + voice(6.0, seed=2, pitch=210.0)
    soundfile.write(folder / "meeting.flac", meeting, SAMPLE_RATE, subtype="PCM_16")
    (folder / "text.wav").write_text("no sound")
    return folder


def test_upload_click_result(
    page: Page, files: Path, weights: Path, tmp_path: Path
) -> None:
    _upload(page, "voice", files / "me.wav")
    _upload(page, "recording", files / "meeting.flac")
    _shoot(page, "given")
    _button(page).click()
    page.locator("#picture img").wait_for()
    assert "s of speech" in page.locator("#text").inner_text()
    assert page.locator("#before audio, #before #waveform").count()
    _shoot(page, "result")
    with page.expect_download() as download:
        page.locator("#after a[download]").click()
    assert download.value.suggested_filename == "meeting_enhanced.flac"
    download.value.save_as(tmp_path / "result.flac")

    enhancer = PersonalizedEnhancer.from_pretrained(weights)
    profile = enhancer.enroll(*soundfile.read(files / "me.wav"))
    mixture, rate = soundfile.read(files / "meeting.flac")
    result, found = soundfile.read(tmp_path / "result.flac")
    assert found == rate
    expected = enhancer(mixture, rate, profile, look_ahead=True)
    np.testing.assert_allclose(result, expected, atol=2 / 32768)


def test_a_model_without_personal_vad(
    weights: Path, files: Path, tmp_path: Path
) -> None:
    """The package's hears another encoder's vectors than this model has."""
    shutil.copytree(weights, tmp_path / "model")
    (tmp_path / "model" / PERSONAL_VAD).unlink()
    enhancer = PersonalizedEnhancer.from_pretrained(tmp_path / "model")
    given = (str(files / "me.wav"), str(files / "meeting.flac"))
    result = page_result.enhance(enhancer, *given, None, True, tmp_path)
    assert "no personal VAD" in result.text
    assert len(result.picture.axes) == 2
    assert soundfile.info(result.after).frames == 6 * SAMPLE_RATE


def test_mistakes_are_explained(page: Page, files: Path) -> None:
    _button(page).click()
    page.get_by_text("1 · Voice: nothing yet").wait_for()
    _upload(page, "voice", files / "text.wav")
    _upload(page, "recording", files / "meeting.flac")
    _button(page).click()
    page.get_by_text("text.wav: not a readable sound file").wait_for()
    _shoot(page, "mistake")
    assert not page.locator("#picture img").count()


def test_only_this_machine_and_nothing_left(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    # Other addresses of this machine, which a server on all of them would answer. The
    # host's own may be 127.0.0.1, and 127.0.0.2 may be none of it.
    own = socket.gethostbyname(socket.gethostname())
    for address in {"127.0.0.2", own} - {"127.0.0.1"}:
        with pytest.raises(OSError), socket.create_connection((address, port), 5):
            pass
    assert list(server.folder.glob("pse-kd-*"))
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=30) == 143
    assert not list(server.folder.glob("pse-kd-*"))

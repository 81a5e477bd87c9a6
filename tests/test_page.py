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
        env={**os.environ, "TMPDIR": str(folder), "GRADIO_ALLOWED_PATHS": "/"},
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


def _upload(page: Page, name: str, *paths: Path) -> None:
    page.locator(f"#{name} input[type=file]").set_input_files(list(paths))
    for path in paths:
        stem = page.locator(f"#{name}").get_by_text(path.stem, exact=True)
        stem.first.wait_for()


def _shoot(page: Page, name: str, whole: bool = False) -> None:
    if "PAGE_SHOTS" in os.environ:
        page.wait_for_timeout(1500)  # players draw their waves
        path = Path(os.environ["PAGE_SHOTS"]) / f"{name}.png"
        page.screenshot(path=path, full_page=whole)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    soundfile.write(folder / "me.wav", voice(12.0), SAMPLE_RATE)
    soundfile.write(folder / "me2.wav", voice(8.0, seed=0), SAMPLE_RATE)
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
    _shoot(page, "result")
    with page.expect_download() as download:
        page.locator("#results a[download]").first.click()
    assert download.value.suggested_filename == "meeting_enhanced.flac"
    download.value.save_as(tmp_path / "result.flac")

    enhancer = PersonalizedEnhancer.from_pretrained(weights)
    profile = enhancer.enroll(*soundfile.read(files / "me.wav"))
    mixture, rate = soundfile.read(files / "meeting.flac")
    result, found = soundfile.read(tmp_path / "result.flac")
    assert found == rate
    expected = enhancer(mixture, rate, profile, look_ahead=True)
    np.testing.assert_allclose(result, expected, atol=2 / 32768)


def _player(page: Page, script: str) -> object:
    """What a script finds of the player that is shown."""
    return page.locator("#listen audio:not([hidden])").evaluate(f"p => {script}")


def test_several_of_both_and_one_position(
    page: Page, files: Path, tmp_path: Path
) -> None:
    """Clips and recordings, a profile down and up, and before beside after."""
    shutil.copy(files / "meeting.flac", tmp_path / "other.flac")
    _upload(page, "voice", files / "me.wav", files / "me2.wav")
    _upload(page, "recording", files / "meeting.flac", tmp_path / "other.flac")
    _button(page).click()
    page.locator("#picture img").wait_for()
    page.locator("#choice").get_by_label("other.flac").check()
    page.locator("#listen").get_by_text("other.flac").wait_for()
    page.wait_for_function("document.querySelector('#listen audio').readyState > 1")
    _player(page, "p.currentTime = 2.5")
    assert _player(page, "p.dataset.side") == "after"
    page.locator("#listen button", has_text="Before").click()
    assert _player(page, "[p.dataset.side, p.currentTime]") == ["before", 2.5]
    picture = page.locator("#picture img").get_attribute("src")
    page.get_by_label("number input for Zoom").fill("8")
    page.get_by_label("number input for Zoom").press("Enter")
    page.wait_for_function(
        "old => document.querySelector('#picture img').src !== old", arg=picture
    )
    _shoot(page, "zoomed")
    with page.expect_download() as download:
        page.locator("#profile").click()
    download.value.save_as(tmp_path / "voice.profile")
    page.locator("#voice").get_by_label("Clear").or_(
        page.locator("#voice").get_by_label("Remove")
    ).first.click()
    # The results belong to an input that is gone.
    page.locator("#picture img").wait_for(state="detached")
    _upload(page, "voice", tmp_path / "voice.profile")
    _button(page).click()
    page.locator("#picture img").wait_for()
    assert "voice.profile" in page.locator("#text").inner_text()


def test_a_model_without_personal_vad(
    weights: Path, files: Path, tmp_path: Path
) -> None:
    """The package's hears another encoder's vectors than this model has."""
    shutil.copytree(weights, tmp_path / "model")
    (tmp_path / "model" / PERSONAL_VAD).unlink()
    enhancer = PersonalizedEnhancer.from_pretrained(tmp_path / "model")
    given = ([str(files / "me.wav")], [str(files / "meeting.flac")])
    result = page_result.enhance(enhancer, *given, None, True, tmp_path / "out")
    assert "no personal VAD" in result.text
    [item] = result.items
    assert len(page_result.picture(item).axes) == 2
    assert soundfile.info(item.result).frames == 6 * SAMPLE_RATE


def test_mistakes_are_explained_and_go(page: Page, files: Path) -> None:
    _button(page).click()
    page.get_by_text("1 · Voice: nothing yet").wait_for()
    _upload(page, "voice", files / "text.wav")
    page.get_by_text("1 · Voice: nothing yet").wait_for(state="detached")
    _upload(page, "recording", files / "meeting.flac")
    _button(page).click()
    error = page.get_by_text("text.wav: not a readable sound file")
    error.wait_for()
    _shoot(page, "mistake")
    assert not page.locator("#picture img").count()
    page.get_by_label("Look ahead").click()
    error.wait_for(state="detached")


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_nothing_is_cut_off(server: Server, look: str, files: Path) -> None:
    """Also on a narrow screen; the pictures are for the eye."""
    sync_api = pytest.importorskip("playwright.sync_api")
    width = 390 if look == "phone" else 1280
    scheme = "dark" if look == "dark" else "light"
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        page.set_default_timeout(60_000)
        page.goto(server.url)
        _button(page).wait_for()
        _upload(page, "voice", files / "me.wav")
        _upload(page, "recording", files / "meeting.flac")
        _button(page).click()
        page.locator("#picture img").wait_for()
        _shoot(page, look, whole=True)
        overflow = "document.documentElement.scrollWidth - window.innerWidth"
        assert page.evaluate(overflow) <= 0
        browser.close()


def test_foreign_pages_and_names_are_refused(server: Server) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        for path in ("/", "/config", "/gradio_api/upload"):
            request = urllib.request.Request(server.url + path, headers=headers)
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(request, timeout=30)
    with urllib.request.urlopen(server.url, timeout=30) as answer:
        assert answer.headers["X-Frame-Options"] == "DENY"
    # An own server's setting of the user, see `server`.
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{server.url}/gradio_api/file=/etc/hostname")


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

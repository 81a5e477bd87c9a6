"""The page of ``web/`` in node and in a real browser, beside the Python stream.

For developers, ``-m dev``: needs what `make web` installs, ``pip install '.[browser]'``
and Chromium. With PAGE_SHOTS=FOLDER it keeps pictures of the page to look at.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from espnet_pse_kd import PersonalizedEnhancer
from espnet_pse_kd.runtime.enrolment_quality import measure
from espnet_pse_kd.runtime.features import mel_power
from espnet_pse_kd.runtime.profile import Profile

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.dev

ROOT = Path(__file__).parents[1]
WEB = ROOT / "web"
GOLDEN = ROOT / "tests/golden"
RATE = 16000
TOLERANCE = 1e-3
"""What the browser's output may differ from the Python stream's, full scale = 1."""


def node(*arguments: str, given: str = "") -> str:
    """Run node in ``web/``: its standard output."""
    if not (WEB / "node_modules").is_dir() or not shutil.which("node"):
        pytest.skip("node, or web/node_modules, is missing: make web")
    command = ["node", *arguments]
    result = subprocess.run(
        command, cwd=WEB, input=given, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


@pytest.fixture(scope="module")
def enhancer() -> PersonalizedEnhancer:
    return PersonalizedEnhancer.from_pretrained()


@pytest.fixture(scope="module")
def enrolment() -> np.ndarray:
    return soundfile.read(GOLDEN / "enrolment.flac", dtype="float32")[0]


@pytest.fixture(scope="module")
def profile(enhancer: PersonalizedEnhancer, enrolment: np.ndarray) -> Profile:
    return enhancer.enroll(enrolment, RATE)


@pytest.fixture(scope="module")
def mixture() -> np.ndarray:
    """12 s with the voice and others, not a whole number of hops."""
    path = GOLDEN / "mixture.flac"
    return soundfile.read(path, 12 * RATE + 77, 5 * RATE, dtype="float32")[0]


def vector_of(profile: Profile, enhancer: PersonalizedEnhancer) -> np.ndarray:
    model = enhancer.model
    return profile.vector(model.speaker_encoder, model.speaker_dim)


def streamed(
    enhancer: PersonalizedEnhancer,
    wave: np.ndarray,
    profile: Profile,
    limit: float | None = None,
) -> np.ndarray:
    stream = enhancer.stream(profile, RATE, limit)
    return np.concatenate([stream.process(wave), stream.flush()])


def interrupted_tone() -> np.ndarray:
    """10 s that stand out like speech, and are none."""
    seconds = np.arange(10 * RATE) / RATE
    on = np.sin(2 * np.pi * 1.3 * seconds) > 0
    return (0.1 * on * np.sin(2 * np.pi * 440 * seconds)).astype(np.float32)


# --- what is computed, in node -------------------------------------------------------


@pytest.fixture(scope="module")
def probe() -> Callable[..., Any]:
    """Call a function of the page's modules by its name in web/tests/probe.ts."""
    node("build.mjs", "--tests")

    def call(name: str, **arguments: Any) -> Any:
        given = json.dumps({"name": name, **arguments}, default=np.ndarray.tolist)
        return json.loads(node("build/probe.mjs", given=given))

    return call


def test_mel_power_is_the_same(probe: Callable[..., Any], mixture: np.ndarray) -> None:
    wave = mixture[:16077]
    found = np.reshape(probe("melPower", wave=wave), (-1, 40))
    expected = mel_power(wave)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("case", ["good", "clipped", "silent", "empty", "tone"])
def test_recordings_are_measured_the_same(
    probe: Callable[..., Any], enrolment: np.ndarray, case: str
) -> None:
    wave = {
        "good": enrolment,
        "clipped": np.clip(5 * enrolment, -0.2, 0.2),
        "silent": np.zeros(RATE, np.float32),
        "empty": enrolment[:100],
        "tone": interrupted_tone(),
    }[case]
    expected = measure(wave)._asdict()
    found = probe("measure", wave=wave)
    for name, value in expected.items():
        if np.isfinite(value):
            assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
        else:
            assert found[name] is None, name


@pytest.mark.parametrize("seconds", [1.0, 2.0, 10.0])
@pytest.mark.parametrize("gain", [1.0, 0.1])
def test_voices_have_the_same_vector(
    probe: Callable[..., Any],
    enhancer: PersonalizedEnhancer,
    enrolment: np.ndarray,
    seconds: float,
    gain: float,
) -> None:
    wave = gain * enrolment[: round(seconds * RATE)]
    found = probe("embed", wave=wave, model=str(enhancer.files.speaker_encoder))
    expected = enhancer.speaker_encoder.embed(wave)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("limit", [None, 12.0])
def test_streams_are_the_same(
    probe: Callable[..., Any],
    enhancer: PersonalizedEnhancer,
    profile: Profile,
    mixture: np.ndarray,
    limit: float | None,
) -> None:
    wave = mixture[: 3 * RATE + 11]
    wave[100:103] = 1e7  # broken
    given = {"wave": wave, "limit": limit, "chunk": 1003}
    vector = vector_of(profile, enhancer)
    found = probe("stream", model=str(enhancer.files.student), vector=vector, **given)
    with pytest.warns(RuntimeWarning, match="silenced"):
        expected = streamed(enhancer, wave, profile, limit)
    assert len(found) == len(wave)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


def test_another_exported_network(probe: Callable[..., Any], tmp_path: Path) -> None:
    """With other states, hop and latency: everything comes from the metadata."""
    exported = pytest.importorskip("exported")
    student = exported.student("e3net")
    shutil.copy(student, tmp_path / "student.onnx")
    enhancer = PersonalizedEnhancer.from_pretrained(tmp_path)
    dim = enhancer.model.speaker_dim
    vector = np.full(dim, dim**-0.5, np.float32)
    wave = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    given = {"wave": wave, "vector": vector, "limit": None, "chunk": 700}
    found = probe("stream", model=str(tmp_path / "student.onnx"), **given)
    stream = enhancer.stream(vector)
    expected = np.concatenate([stream.process(wave), stream.flush()])
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


def test_unit_tests_of_the_page(probe: Callable[..., Any]) -> None:
    node("--test", *(str(path) for path in (WEB / "build").glob("*.test.mjs")))


# --- the page, in Chromium -----------------------------------------------------------


@pytest.fixture(scope="module")
def address() -> str:
    node("build.mjs")
    return (WEB / "dist/index.html").as_uri()


@pytest.fixture(scope="module")
def files(
    tmp_path_factory: pytest.TempPathFactory, enrolment: np.ndarray, mixture: np.ndarray
) -> Path:
    folder = tmp_path_factory.mktemp("files")
    soundfile.write(folder / "me.wav", enrolment, RATE)
    soundfile.write(folder / "short.wav", enrolment[: RATE // 2], RATE)
    soundfile.write(folder / "meeting.wav", mixture, RATE, subtype="FLOAT")
    soundfile.write(folder / "tone.wav", interrupted_tone(), RATE)
    (folder / "text.wav").write_text("no sound")
    return folder


def launch(microphone: Path | None) -> Iterator[Browser]:
    """Chromium whose microphone plays a file, or that has none."""
    sync_api = pytest.importorskip("playwright.sync_api")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    if microphone is not None:
        arguments += [
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}",
            "--use-fake-ui-for-media-stream",
        ]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=arguments
        )
        yield browser
        browser.close()


@pytest.fixture
def page(address: str, files: Path) -> Iterator[Page]:
    for browser in launch(files / "me.wav"):
        yield opened(browser, address)


def opened(browser: Browser, address: str, **options: Any) -> Page:
    page = browser.new_page(viewport={"width": 1200, "height": 900}, **options)
    page.set_default_timeout(120_000)
    page.problems = []  # type: ignore[attr-defined]
    page.on("console", lambda message: page.problems.append(message.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(address)
    page.locator("#voice-record:enabled").wait_for()
    assert page.problems == []
    return page


def shoot(page: Page, name: str) -> None:
    if "PAGE_SHOTS" in os.environ:
        path = Path(os.environ["PAGE_SHOTS"]) / f"{name}.png"
        page.screenshot(path=path, full_page=True)


def wait(page: Page, status: str, text: str) -> str:
    """The line of a status once it has a text."""
    page.locator(f"#{status}", has_text=re.compile(text)).wait_for()
    return page.locator(f"#{status}").inner_text()


def enroll(page: Page, files: Path) -> None:
    page.locator("#voice-file").set_input_files(files / "me.wav")
    wait(page, "voice-status", "Voice enrolled")


def saved(page: Page, part: str, path: Path) -> np.ndarray:
    with page.expect_download() as download:
        page.locator(f"[data-part=save-{part}]").click()
    download.value.save_as(path)
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    return samples


def cpu_seconds(page: Page) -> float:
    """CPU time that all of Chromium's processes have taken."""
    session = page.context.browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return sum(process["cpuTime"] for process in processes)


def test_enroll_enhance_and_save(
    page: Page,
    files: Path,
    enhancer: PersonalizedEnhancer,
    profile: Profile,
    mixture: np.ndarray,
    tmp_path: Path,
) -> None:
    shoot(page, "start")
    assert page.locator("#recording-file").is_disabled()
    enroll(page, files)
    with page.expect_download() as download:
        page.locator("#voice-save").click()
    download.value.save_as(tmp_path / "voice.profile")
    voice = Profile.load(tmp_path / "voice.profile")
    found, expected = (vector_of(one, enhancer) for one in (voice, profile))
    np.testing.assert_allclose(found, expected, atol=1e-3)

    before = cpu_seconds(page)
    page.locator("#recording-file").set_input_files(files / "meeting.wav")
    line = wait(page, "recording-status", "times real time")
    taken = cpu_seconds(page) - before
    factor = len(mixture) / RATE / taken
    print(f"browser: {line} Of CPU: {taken:.1f} s, {factor:.1f} times real time.")
    # Seconds of CPU: those of the clock tell what else the machine does.
    assert factor > 1
    shoot(page, "result")
    found = saved(page, "after", tmp_path / "after.wav")
    expected = streamed(enhancer, mixture, voice)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    assert page.problems == []  # type: ignore[attr-defined]

    # Of Python's, which holds vectors of every encoder and band.
    profile.save(tmp_path / "python.profile")
    page.locator("#voice-file").set_input_files(tmp_path / "python.profile")
    wait(page, "voice-status", "Voice of python.profile")
    page.locator("#player").wait_for(state="hidden")  # it was another voice's
    with page.expect_download() as download:
        page.locator("#voice-save").click()
    download.value.save_as(tmp_path / "again.profile")
    again, expected = (tmp_path / f"{name}.profile" for name in ("again", "python"))
    assert json.loads(again.read_text()) == json.loads(expected.read_text())


def test_the_microphone_is_enhanced(
    page: Page, files: Path, enhancer: PersonalizedEnhancer, tmp_path: Path
) -> None:
    page.locator("#voice-record").click()
    wait(page, "voice-status", "of 8 s of speech")
    page.wait_for_timeout(2000)
    shoot(page, "recording")
    line = wait(page, "voice-status", "Voice enrolled")
    speech = re.search(r"([\d.]+) s of speech", line)
    assert speech and 8 <= float(speech[1]) < 10
    with page.expect_download() as download:
        page.locator("#voice-save").click()
    download.value.save_as(tmp_path / "voice.profile")

    page.locator("#live-start").click()
    line = wait(page, "live-status", "ms late")
    page.locator("#monitor").check()
    page.wait_for_timeout(4000)
    shoot(page, "live")
    page.locator("#live-stop").click()
    print(f"browser: {wait(page, 'live-status', 'dropouts')}")
    before = saved(page, "before", tmp_path / "before.wav")
    after = saved(page, "after", tmp_path / "after.wav")
    assert len(before) == len(after) > 3 * RATE
    assert np.abs(before).max() > 0.05
    voice = Profile.load(tmp_path / "voice.profile")
    expected = streamed(enhancer, before, voice)
    np.testing.assert_allclose(after, expected, atol=TOLERANCE)
    assert page.problems == []  # type: ignore[attr-defined]


def test_before_and_after_are_heard_at_one_position(page: Page, files: Path) -> None:
    enroll(page, files)
    page.locator("#recording-file").set_input_files(files / "meeting.wav")
    wait(page, "recording-status", "times real time")
    wave = page.locator("[data-part=wave]")
    wave.click(position={"x": wave.bounding_box()["width"] / 2, "y": 20})
    assert page.locator("[data-part=time]").inner_text().startswith("0:06 /")
    page.locator("[data-part=play]").click()
    page.wait_for_timeout(500)
    page.locator("[data-part=before]").click()
    page.wait_for_timeout(700)
    page.locator("[data-part=play]").click()
    position = float(wave.get_attribute("aria-valuenow") or 0)
    assert 6.5 < position < 9
    assert page.locator("[data-part=before]").get_attribute("aria-pressed") == "true"
    wave.press("Home")
    assert page.locator("[data-part=time]").inner_text().startswith("0:00 /")


@pytest.mark.parametrize(
    ("field", "name", "status", "text"),
    [
        ("voice-file", "text.wav", "voice-status", "cannot read it as sound; convert"),
        ("voice-file", "short.wav", "voice-status", "Too short: .* at least 1.5 s"),
        ("voice-file", "tone.wav", "voice-status", "like a tone or a noise; record"),
        ("recording-file", "text.wav", "recording-status", "cannot read it as sound"),
    ],
)
def test_bad_files_are_refused_in_one_line(
    page: Page, files: Path, field: str, name: str, status: str, text: str
) -> None:
    if field == "recording-file":
        enroll(page, files)
    page.locator(f"#{field}").set_input_files(files / name)
    wait(page, status, text)
    assert "error" in (page.locator(f"#{status}").get_attribute("class") or "")
    shoot(page, f"error_{name}")
    enroll(page, files)
    assert not page.locator(".error").count()


def test_without_a_microphone(address: str) -> None:
    for browser in launch(None):
        page = opened(browser, address)
        page.locator("#voice-record").click()
        wait(page, "voice-status", "(No microphone was found|is blocked)")
        assert page.locator("#voice-record").is_enabled()


def test_nothing_can_be_sent(page: Page) -> None:
    blocked = page.evaluate(
        "fetch('https://example.org/').then(() => 'sent', (error) => error.name)"
    )
    assert blocked == "TypeError"
    assert any("Content Security Policy" in text for text in page.problems)  # type: ignore[attr-defined]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(address: str, files: Path, scheme: str) -> None:
    for browser in launch(files / "me.wav"):
        page = opened(browser, address, color_scheme=scheme)
        page.set_viewport_size({"width": 360, "height": 740})
        enroll(page, files)
        page.locator("#recording-file").set_input_files(files / "meeting.wav")
        wait(page, "recording-status", "times real time")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 360
        shoot(page, f"phone_{scheme}")
        page.set_viewport_size({"width": 1200, "height": 900})
        page.wait_for_timeout(300)
        shoot(page, f"desktop_{scheme}")

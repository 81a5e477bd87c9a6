"""What ``pse-kd`` refuses: one line says why, nothing is written, the status is 2."""

from __future__ import annotations

import builtins
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from cli_fixture import Capture, error_of, header, me, no_traces, pse_kd, start, write
from weights_fixture import voice, weights

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.sound import ffmpeg

__all__ = ["me", "weights"]  # fixtures


def _truncated(**form: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        content = write(path, **form).read_bytes()
        path.write_bytes(content[: len(content) // 2])

    return make


def _truncated_flac(path: Path) -> None:
    soundfile.write(path, voice(3.0), SAMPLE_RATE, format="FLAC")
    path.write_bytes(path.read_bytes()[:20000])


def _nan(path: Path) -> None:
    wave = voice(3.0)
    wave[20000] = np.nan
    soundfile.write(path, wave, SAMPLE_RATE, subtype="FLOAT")


def _samples(wave: np.ndarray) -> Callable[[Path], None]:
    return lambda path: soundfile.write(path, wave, SAMPLE_RATE)


BAD_RECORDINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no such file"),
    "empty file": (lambda path: path.write_bytes(b""), "empty file"),
    "no samples": (_samples(np.zeros(0)), "no samples"),
    "text": (lambda path: path.write_text("hello " * 99), "not a readable sound file"),
    "picture": (
        lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(999)),
        "not a readable sound file",
    ),
    "truncated WAV": (_truncated(), "truncated, 1.5 of 3.0 s"),
    "truncated AIFF": (_truncated(format="AIFF"), "truncated, 1.5 of 3.0 s"),
    "truncated AU": (_truncated(format="AU"), "truncated, 1.5 of 3.0 s"),
    "truncated W64": (_truncated(format="W64"), "truncated, 1.5 of 3.0 s"),
    "truncated RF64": (_truncated(format="RF64"), "truncated, 1.5 of 3.0 s"),
    "truncated ADPCM": (
        _truncated(format="W64", subtype="IMA_ADPCM"),
        "truncated, 1.5 of 3.0 s",
    ),
    "3 s of a day": (
        header(40, (3_000_000_000).to_bytes(4, "little")),
        "truncated, 3.0 of 93750.0 s",
    ),
    "truncated flac": (_truncated_flac, "not a readable sound file"),
    "FLAC without length": (
        header(22, bytes(4), format="FLAC"),
        "its header lacks the length, as after a broken recording; install ffmpeg",
    ),
    "NaN": (_nan, "NaN or infinite samples at 1.25 s"),
}


BAD_ENROLMENTS = BAD_RECORDINGS | {
    "two minutes of silence": (_samples(np.zeros(120 * 16000)), "no speech stands out"),
    "one second": (_samples(voice(1.0)), "at least 1.5 s"),
    "an hour": (_samples(np.zeros(700 * 16000)), "700 s; choose up to 600 s"),
}


@pytest.fixture(autouse=True)
def _without_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which says other things, and reads more."""
    monkeypatch.setattr(ffmpeg, "available", lambda: False)


@pytest.mark.parametrize("case", BAD_RECORDINGS)
def test_bad_recordings(
    case: str, weights: Path, me: Path, tmp_path: Path, capsys: Capture
) -> None:
    make, text = BAD_RECORDINGS[case]
    source, output = tmp_path / "bad.wav", tmp_path / "out" / "b.wav"
    make(source)
    run = ("enhance", source, "--profile", me, "-o", output)
    assert pse_kd(*run, model=weights) == 2
    message = error_of(capsys)
    assert str(source) in message and text in message
    assert not output.exists() and no_traces(tmp_path)


@pytest.mark.parametrize("disk", ["/", "/tmp/..", "//"])
def test_a_whole_disk_is_not_searched(
    disk: str, weights: Path, me: Path, tmp_path: Path, capsys: Capture
) -> None:
    run = ("enhance", disk, "--profile", me, "-o", tmp_path / "out")
    assert pse_kd(*run, model=weights) == 2
    assert "the whole disk; give the folder that holds" in error_of(capsys)


@pytest.mark.parametrize("case", BAD_ENROLMENTS)
def test_bad_enrolments(
    case: str, weights: Path, tmp_path: Path, capsys: Capture
) -> None:
    make, text = BAD_ENROLMENTS[case]
    make(tmp_path / "bad.wav")
    run = ("enroll", tmp_path / "bad.wav", "-o", tmp_path / "me.profile")
    assert pse_kd(*run, model=weights) == 2
    message = error_of(capsys)
    assert "bad.wav" in message and text in message
    assert not (tmp_path / "me.profile").exists() and no_traces(tmp_path)


def test_bad_profiles_and_models(
    weights: Path, me: Path, tmp_path: Path, capsys: Capture
) -> None:
    source = write(tmp_path / "a.wav")
    text = me.read_text()
    (tmp_path / "other.profile").write_text(text.replace('"ge2e"', '"wespeaker"'))
    for name, version in (("older", 1), ("newer", 9)):
        (tmp_path / f"{name}.profile").write_text(
            text.replace('"format_version": 2', f'"format_version": {version}')
        )
    (tmp_path / "cut.profile").write_text(text[:200])
    (tmp_path / "deep.profile").write_text("[" * 200_000)
    student = (weights / "student.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(student[:9999])
    (tmp_path / "text.onnx").write_text("no model")
    for profile, model, text in (
        ("other.profile", weights, "made with the speaker encoders 'wespeaker'"),
        ("older.profile", weights, "older version"),
        ("newer.profile", weights, "format version 9"),
        ("cut.profile", weights, "no profile"),
        ("deep.profile", weights, "no profile"),
        ("a.wav", weights, "no profile"),
        ("missing", weights, "No such file"),
        (me, tmp_path / "cut.onnx", "cut.onnx: truncated"),
        (me, tmp_path / "text.onnx", "text.onnx: truncated, or no ONNX file"),
        (me, tmp_path / "missing.zip", "no such model"),
    ):
        run = ("enhance", source, "--profile", tmp_path / profile)
        assert pse_kd(*run, "-o", tmp_path / "b.wav", model=model) == 2
        assert text in error_of(capsys)
    assert not (tmp_path / "b.wav").exists()


def test_outputs_that_cannot_be_written(
    weights: Path, me: Path, tmp_path: Path, capsys: Capture
) -> None:
    source, exists = write(tmp_path / "a.wav"), tmp_path / "exists.wav"
    (tmp_path / "file").write_text("")
    exists.write_text("")
    wide = write(tmp_path / "wide.wav", channels=12)
    run = ("enhance", wide, "--profile", me, "-o", tmp_path / "wide.mp3")
    assert pse_kd(*run, model=weights) == 2
    assert "of 12 channels at 16000 Hz" in error_of(capsys)
    for output, text in (
        (exists, "exists; give --force"),
        (tmp_path / "b.xyz", ".xyz is no sound format"),
        (tmp_path / "file" / "b.wav", "cannot be written"),
        (tmp_path / ("n" * 300 + ".wav"), "File name too long"),
    ):
        run = ("enhance", source, "--profile", me, "-o", output)
        assert pse_kd(*run, model=weights) == 2
        assert text in error_of(capsys)
    assert no_traces(tmp_path)


@pytest.mark.parametrize(
    ("words", "output"),
    [
        ("enhance x/a.wav --profile me.profile -o x/a.wav", "x/a.wav"),
        ("enhance x/a.wav --profile me.profile -o x", "x/a.wav"),
        ("enhance x/a.wav --profile me.profile -o linked", "linked/a.wav"),
        ("enhance x/a.wav --profile me.profile -o hard.wav", "hard.wav"),
        ("enhance x/a.wav --profile me.profile -o me.profile", "me.profile"),
        ("enhance x/a.wav --enroll me.wav -o me.wav", "me.wav"),
        ("enhance x --enroll y/a.wav -o y", "y/a.wav"),
        ("enhance z w/deep/a.wav --profile me.profile -o w", "w/deep/a.wav"),
        ("enroll me.wav -o me.wav", "me.wav"),
        ("enroll x/a.wav me.wav -o hard.wav", "hard.wav"),
        ("live --profile me.profile --record me.profile", "me.profile"),
        ("live --enroll me.wav --record me.wav", "me.wav"),
    ],
)
def test_inputs_are_never_replaced(
    words: str,
    output: str,
    weights: Path,
    me: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They may be somebody's only copy, and ``--force`` is for results."""
    monkeypatch.chdir(tmp_path)
    for name in ("x/a.wav", "y/a.wav", "z/deep/a.wav", "w/deep/a.wav"):
        write(Path(name))
    shutil.copy(me.with_name("me.wav"), "me.wav")
    shutil.copy(me, "me.profile")
    Path("linked").symlink_to("x")
    Path("hard.wav").hardlink_to("x/a.wav")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    for more in ((), ("--force",)):
        assert pse_kd(*words.split(), *more, model=weights) == 2
        message = f"error: {output}: is an input as well, and would be lost"
        assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before
    assert no_traces(tmp_path)


def test_rights(
    weights: Path,
    me: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through `open`, since the tests may run as root, who may read everything."""
    source = write(tmp_path / "secret.wav")
    real = builtins.open

    def refusing(path: object, *words: object, **options: object) -> object:
        if str(path) == str(source):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *words, **options)

    monkeypatch.setattr(builtins, "open", refusing)
    run = ("enhance", source, "--profile", me, "-o", tmp_path / "b.wav")
    assert pse_kd(*run, model=weights) == 2
    assert "secret.wav: cannot be read (Permission denied)" in error_of(capsys)


def test_full_disk(weights: Path, me: Path, tmp_path: Path) -> None:
    source, output = write(tmp_path / "a.wav"), tmp_path / "b.wav"
    run = ("enhance", source, "--profile", me, "--model", weights, "-o", output)
    process = start(*run, disk=50000)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert (
        f"error: {output}: cannot be written (no space left" in errors.splitlines()[-1]
    )
    assert "Traceback" not in errors
    assert not output.exists() and no_traces(tmp_path)


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_interrupt(
    number: signal.Signals, status: int, weights: Path, me: Path, tmp_path: Path
) -> None:
    source, output = tmp_path / "long.wav", tmp_path / "b.wav"
    soundfile.write(source, np.tile(voice(10.0), 90), SAMPLE_RATE)
    run = ("enhance", source, "--profile", me, "--model", weights, "-o", output)
    process = start(*run, "--no-look-ahead")  # writes from the start
    while process.poll() is None and no_traces(tmp_path):
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in errors
    assert not output.exists() and no_traces(tmp_path)

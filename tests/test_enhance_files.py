"""``pse-kd enhance`` with what people have: phones, meetings, folders, pipes."""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from cli_fixture import Capture, error_of, me, no_traces, pse_kd, start, write
from test_sound import convert, needs_ffmpeg, streams
from weights_fixture import voice, weights

from espnet_pse_kd import PersonalizedEnhancer, Profile
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.cli import batch, watch, worker
from espnet_pse_kd.cli.batch_progress import BatchProgress
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.meter import Presence
from espnet_pse_kd.runtime.segments import segments
from espnet_pse_kd.sound import ffmpeg

__all__ = ["me", "weights"]  # fixtures

FAST = "--no-look-ahead"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the command runs in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# Three commands


@needs_ffmpeg
def test_a_phone_and_a_meeting(weights: Path, here: Path) -> None:
    soundfile.write("v.wav", voice(12.0), SAMPLE_RATE)
    convert(Path("v.wav"), Path("phone.m4a"), "-c:a", "aac", "-ar", "44100")
    write(Path("m.wav"), 48000, 2)
    picture = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=3"]
    convert(Path("m.wav"), Path("meeting.mp4"), *picture, "-c:v", "mpeg4")
    assert pse_kd("enroll", "phone.m4a", "-o", "anna.profile", model=weights) == 0
    words = ("enhance", "meeting.mp4", "--profile", "anna.profile")
    assert pse_kd(*words, model=weights) == 0
    given, made = streams(Path("meeting.mp4")), streams(Path("meeting_anna.mp4"))
    assert [s["codec_type"] for s in made] == [s["codec_type"] for s in given]
    assert [s["codec_name"] for s in made] == [s["codec_name"] for s in given]


# Where results go


def test_beside_the_recording(weights: Path, me: Path, here: Path) -> None:
    for name in ("a.wav", "deep/b.flac", "deep/c d.WAV"):
        write(Path(name))
    run = ("enhance", ".", "--profile", me, FAST)
    made = ["a_me.wav", "deep/b_me.flac", "deep/c d_me.WAV"]
    for _ in range(2):  # the second time there is nothing to do, and no result of one
        assert pse_kd(*run, model=weights) == 0
        assert names(here) == sorted(["a.wav", "deep/b.flac", "deep/c d.WAV", *made])
    shutil.rmtree("deep")
    Path("a.wav").unlink()
    assert pse_kd(*run, model=weights) == 2


def test_enrolled_on_the_way_names_the_result(
    weights: Path, me: Path, here: Path
) -> None:
    shutil.copy(me.with_name("me.wav"), "anna 1.wav")
    write(Path("a.wav"))
    run = ("enhance", "a.wav", "--enroll", "anna 1.wav", FAST)
    assert pse_kd(*run, model=weights) == 0
    assert Path("a_anna 1.wav").is_file()


def test_results_of_what_can_only_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "available", lambda: True)
    monkeypatch.setattr(ffmpeg, "encoders", lambda: frozenset(["aac"]))
    for name, expected in {
        "a.m4a": "a_x.m4a",
        "a.MP4": "a_x.MP4",
        "a.ape": "a_x.wav",
        "a.amr": "a_x.wav",
        "a.opus": "a_x.opus",
        "a": "a_x.wav",
    }.items():
        assert batch.beside(Path(name), "{name}_x") == Path(expected)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["", "-o", "out"], "'': an empty name"),
        ([""], "'': an empty name"),
        (["a.wav", "b.wav", "-o", "o.wav"], "o.wav: a file; give a folder"),
        (["x", "-o", "o.wav"], "o.wav: a file; give a folder"),
        (["a.wav", "b.wav", "-o", "-"], "takes one recording"),
        (["x", "-o", "-"], "takes one recording"),
        (["a.wav", "-"], "-: standard input is one recording"),
        (["a.wav", "-o", "-", "--json", "-"], "standard output is the sound"),
        (["a\0.wav"], "holds a NUL"),
        (["x", "a.wav", "--watch"], "give one folder"),
        (["a.wav", "--watch"], "a.wav: no such folder"),
        (["x", "--watch", "-o", "x"], "is the output as well"),
        (["a.wav", "--jobs", "0"], "'0'; give 1 to 256"),
        (["a.wav", "--strength", "loud"], "invalid choice: 'loud'"),
        (["a.wav", "--json", "a.wav"], "a.wav: is an input as well"),
        (["a.wav", "--json", "b.wav"], "b.wav: exists; give --force"),
        (["a.wav", "--json", "x"], "x: a folder"),
        (["a.wav", "-o", "fifo.wav"], "fifo.wav: a device or pipe"),
        (["fifo.wav"], "fifo.wav: a pipe or device"),
    ],
)
def test_words_that_cannot_be_meant(
    words: list[str], text: str, weights: Path, me: Path, here: Path, capsys: Capture
) -> None:
    for name in ("a.wav", "b.wav", "x/c.wav"):
        write(Path(name))
    os.mkfifo("fifo.wav")
    before = {name: Path(name).read_bytes() for name in names(here)}
    assert pse_kd("enhance", *words, "--profile", me, FAST, model=weights) == 2
    assert text in error_of(capsys)
    assert {name: Path(name).read_bytes() for name in names(here)} == before


def test_models_and_folders_are_never_replaced(
    weights: Path, me: Path, here: Path, capsys: Capture
) -> None:
    shutil.copytree(weights, "mod")
    shutil.copy(me.with_name("me.wav"), "me.wav")
    before = {path: path.read_bytes() for path in Path("mod").iterdir()}
    for words, text in (
        ("enroll me.wav -o mod/student.onnx", "is an input as well"),
        ("enroll me.wav -o mod/pvad.onnx", "is an input as well"),
        (f"enhance me.wav --profile {me} -o mod/student.onnx", "is an input as well"),
        ("enroll me.wav -o .", ".: a folder"),
        ("enroll me.wav -o /dev/null", "/dev/null: a device or pipe"),
    ):
        run = (*words.split(), "--force")
        assert pse_kd(*run, model=Path("mod")) == 2
        assert text in error_of(capsys)
    assert {path: path.read_bytes() for path in before} == before


def test_profiles_and_models_that_are_no_files(
    weights: Path, me: Path, here: Path, capsys: Capture
) -> None:
    os.mkfifo("fifo.onnx")
    write(Path("a.wav"))
    for profile, model in (
        ("fifo.onnx", weights),
        ("/dev/zero", weights),
        (me, Path("fifo.onnx")),
        (me, Path("/dev/zero")),
    ):
        assert pse_kd("enhance", "a.wav", "--profile", profile, model=model) == 2
        assert "a pipe or device, not a file" in error_of(capsys)


# Nothing is passed over in silence


def test_others_in_a_folder_are_named(
    weights: Path, me: Path, here: Path, capsys: Capture
) -> None:
    write(Path("in/a.wav"))
    for name in ("notes.txt", ".DS_Store", "._a.wav", "deep/picture.jpg"):
        Path("in", name).parent.mkdir(exist_ok=True)
        Path("in", name).write_text("x")
    write(Path("other/b.wav"))
    Path("in/link").symlink_to(Path("other").absolute())
    run = ("enhance", "in", "--profile", me, "-o", "out", FAST)
    assert pse_kd(*run, model=weights) == 0
    note = "note: in: passed over, no recordings by their names: "
    assert f"{note}._a.wav, deep/picture.jpg, link, notes.txt\n" in (
        capsys.readouterr().err
    )
    assert names(Path("out")) == ["a.wav"]
    for number in range(9):
        Path(f"in/{number}.txt").write_text("x")
    assert pse_kd(*run, model=weights) == 0
    assert "3.txt and 8 more" in capsys.readouterr().err


def test_what_needs_ffmpeg_is_named(
    weights: Path,
    me: Path,
    here: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ffmpeg, "available", lambda: False)
    write(Path("in/a.wav"))
    for suffix in ("m4a", "MP4", "webm", "aac", "amr"):
        Path(f"in/b.{suffix}").write_text("x")
    run = ("enhance", "in", "--profile", me, "-o", "out", FAST)
    assert pse_kd(*run, model=weights) == 2
    shown = capsys.readouterr().err
    assert shown.count("needs ffmpeg, which is not on the PATH; install ffmpeg") == 5
    assert "5 of 6 files failed" in shown
    assert names(Path("out")) == ["a.wav"]


# Names, races, leftovers


def test_names_of_255_bytes(weights: Path, me: Path, here: Path) -> None:
    name = "n" * 251 + ".wav"
    write(Path("a.wav")).rename(name)
    run = ("enhance", name, "--profile", me, "-o", f"out/{name}", FAST)
    assert pse_kd(*run, model=weights) == 0
    assert names(Path("out")) == [name]


def test_a_result_that_appears_meanwhile_is_kept(
    weights: Path, me: Path, here: Path, capsys: Capture
) -> None:
    write(Path("a.wav"))
    enhancer = PersonalizedEnhancer.from_pretrained(weights)
    options = worker.Options(look_ahead=False)

    class Other(BatchProgress):
        """Writes the same result while this is being made."""

        def add(self, seconds: float) -> None:
            Path("b.wav").write_text("of another run")

    mine = worker.Worker(enhancer, Profile.load(me), options, progress=Other(1.0, 1))
    with pytest.raises(UserError, match="b.wav: another run has just written it"):
        mine.enhance(batch.Job(Path("a.wav"), Path("b.wav")))
    assert Path("b.wav").read_text() == "of another run"
    assert no_traces(here)


def test_leftovers_are_swept(weights: Path, me: Path, here: Path) -> None:
    write(Path("a.wav"))
    Path("out").mkdir()
    old = Path("out/.b.wav.4194304.pse_kd.tmp")
    old.write_text("half")
    os.utime(old, (0, 0))
    run = ("enhance", "a.wav", "--profile", me, "-o", "out", FAST)
    assert pse_kd(*run, model=weights) == 0
    assert os.listdir("out") == ["a.wav"]


def test_a_link_stays(weights: Path, me: Path, here: Path) -> None:
    write(Path("a.wav"))
    Path("real").mkdir()
    Path("b.wav").symlink_to("real/b.wav")
    run = ("enhance", "a.wav", "--profile", me, "-o", "b.wav", FAST, "--force")
    assert pse_kd(*run, model=weights) == 0
    assert Path("b.wav").is_symlink()
    assert soundfile.info("real/b.wav").frames == 3 * SAMPLE_RATE


# Channels and the band above 8 kHz


def test_stereo_stays_stereo(weights: Path, me: Path, here: Path) -> None:
    """One gain for both, so that what is nothing but a gain apart stays so."""
    write(Path("a.wav"), 44100, 2, subtype="FLOAT")
    wave, rate = soundfile.read("a.wav")
    soundfile.write("inverted.wav", wave * [1, -1], rate, subtype="FLOAT")
    for name in ("a", "inverted"):
        run = ("enhance", f"{name}.wav", "--profile", me, FAST)
        assert pse_kd(*run, model=weights) == 0
    made, _ = soundfile.read("a_me.wav")
    np.testing.assert_allclose(made[:, 1], 0.95 * made[:, 0], atol=1e-6)
    other, _ = soundfile.read("inverted_me.wav")
    np.testing.assert_allclose(other, made * [1, -1], atol=0.02 * np.abs(made).max())


@pytest.mark.parametrize("channels", [1, 2])
def test_band(channels: int, weights: Path, me: Path, here: Path) -> None:
    rate, rng = 48000, np.random.default_rng(0)
    noise = 0.1 * rng.standard_normal((4 * rate, channels))
    soundfile.write("a.wav", noise, rate, subtype="FLOAT")

    def above(name: str) -> float:
        wave, _ = soundfile.read(name, always_2d=True)
        spectrum = np.abs(np.fft.rfft(wave[:, 0])) ** 2
        return float(spectrum[len(spectrum) * 9 // 24 :].sum())

    for band, strength in itertools.product(("keep", "drop"), ("0", "6", None)):
        limit = () if strength is None else ("--attenuation-limit", strength)
        run = ("enhance", "a.wav", "--profile", me, "--band", band, *limit, FAST)
        assert pse_kd(*run, "--force", model=weights) == 0
        left = 10 * np.log10(above("a_me.wav") / above("a.wav"))
        if strength is not None:  # nothing is turned down by more, there either
            assert -float(strength) - 0.5 < left < 0.5
        if band == "drop" and strength is None:
            assert left < -40


# Pipes


def _piped(weights: Path, *words: object, given: bytes = b"") -> tuple[int, bytes, str]:
    argv = [sys.executable, "-m", "espnet_pse_kd.cli.main", "enhance"]
    argv += [*map(str, words), "--model", str(weights)]
    run = subprocess.run(argv, input=given, capture_output=True)
    return run.returncode, run.stdout, run.stderr.decode()


@pytest.mark.parametrize("look", ["--look-ahead", FAST])
def test_pipes(look: str, weights: Path, me: Path, here: Path) -> None:
    source = write(Path("a.wav"), 44100, 2)
    words = ("--profile", me, look)
    assert pse_kd("enhance", "a.wav", *words, "-o", "b.wav", model=weights) == 0
    given = source.read_bytes()
    status, out, errors = _piped(weights, "-", "-o", "-", *words, given=given)
    assert status == 0, errors
    Path("c.wav").write_bytes(out)
    found, expected = soundfile.read("c.wav")[0], soundfile.read("b.wav")[0]
    np.testing.assert_allclose(found, expected, atol=1.5 / 32768)
    status, out, errors = _piped(weights, "-", *words, given=b"no sound")
    assert status == 2 and out == b"" and "not a readable sound file" in errors


def test_a_live_pipe_is_not_held_back(weights: Path, me: Path, here: Path) -> None:
    """Sound comes out while more goes in."""
    content = write(Path("a.wav")).read_bytes()
    argv = [sys.executable, "-m", "espnet_pse_kd.cli.main", "enhance", "-", "-o", "-"]
    argv += ["--profile", str(me), FAST, "--model", str(weights)]
    with subprocess.Popen(argv, stdin=-1, stdout=-1, stderr=-1) as process:
        assert process.stdin and process.stdout and process.stderr
        killer = threading.Timer(240, process.kill)
        killer.start()
        process.stdin.write(content[:64044])  # two seconds
        process.stdin.flush()
        assert len(process.stdout.read(44 + 32000)) == 32044
        process.stdin.write(content[64044:])
        process.stdin.close()
        assert len(process.stdout.read()) == len(content) - 32044
        assert process.wait() == 0
        killer.cancel()


# Reports


def test_json(weights: Path, me: Path, here: Path, capsys: Capture) -> None:
    write(Path("x/a.wav"))
    write(Path("x/b.wav"))
    run = ("enhance", "x", "--profile", me, "--json", "who.json", FAST)
    assert pse_kd(*run, model=weights) == 0
    [first, second] = json.loads(Path("who.json").read_text())["recordings"]
    assert first["source"] == "x/a.wav" and first["output"] == "x/a_me.wav"
    assert first["voice"] == "me" and first["seconds"] == 3.0
    assert second["source"] == "x/b.wav"
    for one in first["segments"]:
        assert 0 <= one["start"] < one["end"] <= 3.1
        assert one["speaker"] in ("me", None) and 0 <= one["confidence"] <= 1
    capsys.readouterr()
    words = ("enhance", "x/a.wav", "--profile", me, "--json", "-", "--force", FAST)
    assert pse_kd(*words, model=weights) == 0
    assert '"recordings"' in capsys.readouterr().out


def test_segments() -> None:
    """A pause of 0.2 s is none, one of 0.5 s is; the voice comes before others."""
    own, others = np.zeros(1000), np.zeros(1000)
    own[100:200] = own[220:300] = own[350:400] = 0.9
    others[380:600] = 0.8
    others[700:710] = 0.8
    found = segments(Presence(own, others, 0.01, 0.0, 0.0))
    assert [one.enrolled for one in found] == [True, True, False]
    bounds = [(one.start, one.end) for one in found]
    expected = [(1.0, 3.0), (3.5, 4.0), (4.0, 6.0)]
    np.testing.assert_allclose(bounds, expected, atol=0.06)
    assert found[2].confidence == pytest.approx(0.8, abs=0.05)
    assert not segments(Presence(0 * own, 0 * own, 0.01, 0.0, 0.0))


def test_strength(weights: Path, me: Path, here: Path) -> None:
    write(Path("a.wav"))
    for words in (
        ("--strength", "light"),
        ("--attenuation-limit", "12"),
        ("--strength", "normal"),
        (),
        ("--strength", "strong"),
    ):
        run = ("enhance", "a.wav", "--profile", me, "-o", f"x{'.'.join(words)}.wav")
        assert pse_kd(*run, *words, model=weights) == 0
    made = {Path(name).stem: Path(name).read_bytes() for name in names(here)}
    assert made["x--strength.light"] == made["x--attenuation-limit.12"]
    assert made["x--strength.normal"] == made["x"]


def test_progress_in_minutes_of_audio() -> None:
    shown = io.StringIO()
    progress = BatchProgress(600.0, 2, shown)
    progress.begin()
    progress.add(300.0)
    assert progress.line().startswith("5.0 of 10.0 min of audio, file 1 of 2, ")
    progress.begin()
    progress.expect(-120.0)  # a result existed
    assert progress.line().startswith("5.0 of 8.0 min of audio, file 2 of 2, ")
    progress.add(9999.0)
    assert progress.line() == "8.0 of 8.0 min of audio, file 2 of 2, 0 s left"
    assert not shown.getvalue()  # a log gets a line only now and then


# Several at once, and for as long as it takes


def test_jobs(weights: Path, me: Path, here: Path, capsys: Capture) -> None:
    for number in range(3):
        write(Path(f"x/{number}.wav"))
    Path("x/bad.wav").write_text("no sound")
    words = ("--profile", me, "--json")
    assert pse_kd("enhance", "x", *words, "1.json", "-o", "one", model=weights) == 2
    one = capsys.readouterr()
    run = ("enhance", "x", *words, "2.json", "-o", "two", "--jobs", 2)
    assert pse_kd(*run, model=weights) == 2
    two = capsys.readouterr()
    assert "1 of 4 files failed: x/bad.wav" in one.err and one.err.count("error") == 2
    assert "1 of 4 files failed: x/bad.wav" in two.err and two.err.count("error") == 2
    assert len(one.out.splitlines()) == len(two.out.splitlines()) == 3
    for number in range(3):
        name = f"{number}.wav"
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()
    report = Path("1.json").read_text().replace('"one/', '"two/')
    assert json.loads(report) == json.loads(Path("2.json").read_text())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_jobs_end_with_the_command(
    number: signal.Signals, weights: Path, me: Path, here: Path
) -> None:
    for name in ("a", "b", "c"):
        soundfile.write(f"{name}.wav", np.tile(voice(10.0), 60), SAMPLE_RATE)
    Path("out").mkdir()
    words = ("--profile", me, "--model", weights, FAST, "-o", "out", "--jobs", 2)
    process = start("enhance", ".", *words)
    while process.poll() is None and no_traces(here):
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == {2: 130, 15: 143}[int(number)], errors
    assert "Traceback" not in errors
    assert not os.listdir("out")


def test_watch(
    weights: Path,
    me: Path,
    here: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What grows is left alone until it stays as it is; what fails is tried again."""
    whole = write(Path("whole.wav")).read_bytes()
    Path("in").mkdir()
    Path("in/bad.wav").write_text("no sound")
    looks = itertools.count()

    def wait(seconds: float) -> None:
        look = next(looks)
        if look < 3:
            Path("in/a.wav").write_bytes(whole[: (look + 1) * len(whole) // 3])
        assert look >= 4 or not Path("in/a_me.wav").exists()
        if look == 8:
            Path("in/bad.wav").write_bytes(whole)
        if look == 12:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch, "_wait", wait)
    assert pse_kd("enhance", "in", "--watch", "--profile", me, FAST, model=weights) == 0
    assert names(Path("in")) == ["a.wav", "a_me.wav", "bad.wav", "bad_me.wav"]
    assert soundfile.info("in/a_me.wav").frames == 3 * SAMPLE_RATE
    assert capsys.readouterr().err.count("error: in/bad.wav") == 1


# Python


@pytest.fixture(scope="module")
def enhancer(weights: Path) -> Iterator[PersonalizedEnhancer]:
    yield PersonalizedEnhancer.from_pretrained(weights)


RATES = [float("inf"), float("nan"), 0, -1, "16000", None, 999, 2e6, True]


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_rates_that_are_none(
    rate: object, enhancer: PersonalizedEnhancer, me: Path
) -> None:
    wave, profile = voice(2.0), Profile.load(me)
    with pytest.raises(UserError, match="rate: .*; a rate is 1000 to 1000000 Hz"):
        enhancer.enroll(wave, rate)
    for look in (False, True):
        with pytest.raises(UserError, match="rate: "):
            enhancer(wave, rate, profile, look_ahead=look)
    with pytest.raises(UserError, match="rate: "):
        enhancer.stream(profile, rate)


def test_arguments_that_are_none(enhancer: PersonalizedEnhancer, me: Path) -> None:
    wave = voice(2.0)
    for profile in (str(me), me, None, 5):
        for look in (False, True):
            with pytest.raises(UserError, match="profile: .*pass a Profile"):
                enhancer(wave, 16000, profile, look_ahead=look)  # type: ignore
        with pytest.raises(UserError, match="profile: .*pass a Profile"):
            enhancer.stream(profile)  # type: ignore
    for path in (None, 5, b"me.profile"):
        with pytest.raises(UserError, match="path: .*give the path of a profile"):
            Profile.load(path)  # type: ignore
    for source in (5, b"model"):
        with pytest.raises(UserError, match="model: .*give a path, a tag, or None"):
            PersonalizedEnhancer.from_pretrained(source)  # type: ignore
    for threads in (1.5, "2", None, 0):
        with pytest.raises(UserError, match="threads: .*give 1 to 1024"):
            PersonalizedEnhancer.from_pretrained(threads=threads)  # type: ignore

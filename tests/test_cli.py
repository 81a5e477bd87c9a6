"""``pse-kd`` as a person meets it: files in, files out, one line for every mistake."""

from __future__ import annotations

import argparse
import builtins
import itertools
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import pytest
import soundfile
from weights_fixture import voice, weights

from espnet_pse_kd import PersonalizedEnhancer, Profile, pretrained
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.cli import devices, enhance, live, page_result, serve
from espnet_pse_kd.cli.batch import plan
from espnet_pse_kd.cli.devices import Callback, Device, Pair
from espnet_pse_kd.cli.keys import open_keys
from espnet_pse_kd.cli.main import COMMANDS, get_parser, main
from espnet_pse_kd.cli.pictures import spectrogram
from espnet_pse_kd.cli.sound import Format, open_sound, write_sound
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime import pvad
from espnet_pse_kd.runtime.pvad import OnnxPersonalVAD
from espnet_pse_kd.runtime.speaker_encoder import OnnxSpeakerEncoder
from espnet_pse_kd.runtime.steering import DEPTH_DB, PROTECTION_DB

__all__ = ["weights"]  # a fixture

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def me(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The profile of a voice."""
    folder = tmp_path_factory.mktemp("me")
    soundfile.write(folder / "me.wav", voice(12.0), SAMPLE_RATE)
    pse_kd("enroll", folder / "me.wav", "-o", folder / "me.profile", model=weights)
    return folder / "me.profile"


def pse_kd(*words: object, model: Path | None = None) -> int:
    """Run the command in this process; returns its exit status."""
    argv = [str(word) for word in words]
    try:
        main([*argv, "--model", str(model)] if model else argv)
    except SystemExit as exit:
        return int(exit.code or 0)
    return 0


def error_of(capture: Capture) -> str:
    """The last line of standard error; anything like a traceback fails."""
    lines = capture.readouterr().err.splitlines()
    assert not [line for line in lines if "Traceback" in line]
    assert lines and lines[-1].startswith("error: "), lines
    return lines[-1].removeprefix("error: ")


def write(path: Path, rate: int = SAMPLE_RATE, channels: int = 1, **form: str) -> Path:
    """Three seconds of a voice, a little different in each channel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.repeat(voice(3.0, seed=1), max(1, rate // SAMPLE_RATE))
    gains = 1 - 0.05 * np.arange(channels)
    soundfile.write(path, wave[:, None] * gains, rate, **form)
    return path


def no_traces(folder: Path) -> bool:
    """Whether a folder holds no temporary file."""
    return not list(folder.rglob(".*.tmp"))


@pytest.fixture
def nobody() -> Iterator[TextIO]:
    """A keyboard on which nobody types."""
    with open(os.devnull) as keyboard:
        yield keyboard


# The start


def test_help_loads_nothing_heavy() -> None:
    # Its time stands in docs/benchmarks.md: no limit holds on every busy machine.
    code = (
        "import sys\nfrom espnet_pse_kd.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'numpy', 'torch', 'onnxruntime', 'soundfile'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert all(f"    {name} " in run.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(command: str, capsys: Capture) -> None:
    assert pse_kd(command, "--help") == 0
    assert "--" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "required: COMMAND; see pse-kd --help"),
        (["enchance"], "invalid choice: 'enchance'"),
        (["enroll", "a.wav"], "required: -o/--output; see pse-kd enroll --help"),
        (["enroll", "a.wav", "-o", "x", "--segment", "5-2"], "'5-2'; give begin and"),
        (["enroll", "a", "b", "-o", "x", "--segment", "1-2"], "2 files"),
        (["enhance", "a.wav", "-o", "x"], "--profile --enroll is required"),
        (
            ["enhance", "a", "-o", "x", "--enroll", "b", "--attenuation-limit", "-3"],
            "0 or more",
        ),
        *(
            (
                ["enhance", "a", "-o", "x", "--profile", "b", "--threads", number],
                f"--threads {number}; give 1 to 1024",
            )
            for number in ("0", "1025", "99999999999")
        ),
        (
            ["enhance", "a.wav", "--enroll", "b.wav", "c.wav", "-o", "x"],
            "unrecognized arguments: c.wav",
        ),
        (["live", "--enroll", "a.wav", "b.wav"], "unrecognized arguments: b.wav"),
        (["serve", "--port", "99999"], "--port 99999"),
    ],
)
def test_wrong_command_lines(words: list[str], text: str, capsys: Capture) -> None:
    assert pse_kd(*words) == 2
    assert text in error_of(capsys)


# enroll


def test_enroll(weights: Path, tmp_path: Path, capsys: Capture) -> None:
    soundfile.write(tmp_path / "a.flac", voice(9.0), 16000, subtype="PCM_24")
    stereo = np.repeat(np.stack([voice(9.0, seed=2)] * 2, 1), 3, axis=0)
    soundfile.write(tmp_path / "b.wav", stereo, 48000, subtype="FLOAT")
    profile = tmp_path / "me.profile"
    files = tmp_path / "a.flac", tmp_path / "b.wav"
    assert pse_kd("enroll", *files, "-o", profile, model=weights) == 0
    shown = capsys.readouterr()
    assert "s of speech" in shown.out
    assert "a.flac: " in shown.err and "SNR about" in shown.err
    assert "b.wav: 2 channels, mixed down" in shown.err
    made = Profile.load(profile)
    assert made.sources == ("a.flac", "b.wav") and made.seconds > 10

    assert pse_kd("enroll", *files, "-o", profile, model=weights) == 2
    assert "exists; give --force" in error_of(capsys)
    assert pse_kd("enroll", *files, "-o", profile, "--force", model=weights) == 0


def test_enroll_a_segment(weights: Path, tmp_path: Path, capsys: Capture) -> None:
    silence = np.zeros(5 * SAMPLE_RATE, np.float32)
    wave = np.concatenate([silence, voice(12.0), silence])
    soundfile.write(tmp_path / "long.wav", wave, SAMPLE_RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "part.wav", voice(12.0), SAMPLE_RATE, subtype="FLOAT")
    long, part = tmp_path / "long.profile", tmp_path / "part.profile"
    words = ("enroll", tmp_path / "long.wav", "-o", long, "--segment")
    assert pse_kd(*words, "5.0-17.0", model=weights) == 0
    assert pse_kd("enroll", tmp_path / "part.wav", "-o", part, model=weights) == 0
    np.testing.assert_array_equal(Profile.load(long).vector, Profile.load(part).vector)
    for bounds, text in (
        ("0.0-4.5", "no speech stands out"),
        ("5.0-6.0", "at least 1.5 s"),
        ("5.0-5.0003", "no speech stands out"),
        ("5.0-5.00001", "no speech stands out"),
        ("10.0-99.0", "the file at 22.00 s"),
    ):
        assert pse_kd(*words, bounds, "--force", model=weights) == 2
        assert text in error_of(capsys)
    assert pse_kd(*words, "5.0-9.0", "--force", model=weights) == 0
    assert "8 s or more" in capsys.readouterr().err


def test_enroll_hears_quiet_recordings_beside_loud_ones(
    weights: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Each counts in full, and is judged by itself."""
    loud, quiet = 3 * voice(12.0), 0.03 * voice(12.0, seed=2)
    noise = np.random.default_rng(0).normal(0, 6e-4, len(quiet))
    peak = 0.5 * np.abs(loud).max()
    for name, wave in {
        "quiet": quiet,
        "loud": loud,
        "clipped": loud.clip(-peak, peak),
        "noisy": (quiet + noise)[:64000],  # too short to be compared
    }.items():
        soundfile.write(tmp_path / f"{name}.wav", wave, SAMPLE_RATE, subtype="FLOAT")

    def made_of(*names: str) -> Profile:
        files = [tmp_path / f"{name}.wav" for name in names]
        words = ("enroll", *files, "-o", tmp_path / "p", "--force")
        assert pse_kd(*words, model=weights) == 0
        return Profile.load(tmp_path / "p")

    apart, together = [made_of("loud"), made_of("quiet")], made_of("loud", "quiet")
    assert together.seconds == pytest.approx(sum(p.seconds for p in apart), rel=0.1)
    powers = [p.seconds * 10 ** (p.level_dbfs / 10) for p in apart]
    level = 10 * np.log10(sum(powers) / sum(p.seconds for p in apart))
    assert together.level_dbfs == pytest.approx(level, abs=0.5)
    assert "warning" not in capsys.readouterr().err
    made_of("loud", "clipped", "noisy")
    shown = capsys.readouterr().err
    assert shown.count("warning") == 2
    assert re.search(r"warning: \S+/clipped.wav: \d.* % of the samples are clip", shown)
    assert re.search(r"warning: \S+/noisy.wav: SNR about \d dB", shown)


def test_enroll_refuses_two_voices(
    weights: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors by file, since buzzes are not as different as people are."""
    for name in ("anna1", "anna2", "bert", "short"):
        seconds = 2.0 if name == "short" else 9.0
        soundfile.write(tmp_path / f"{name}.wav", voice(seconds), SAMPLE_RATE)
    alike = {"anna1": 0.0, "anna2": 0.3, "bert": 1.2, "doubtful": 0.9}
    angles: list[float] = []

    def embed(self: object, wave: np.ndarray, name: str = "") -> np.ndarray:
        angle = angles.pop(0) if angles else 0.0
        return np.array([np.cos(angle), np.sin(angle), *[0.0] * 254], np.float32)

    monkeypatch.setattr(OnnxSpeakerEncoder, "embed", embed)

    def run(*names: str) -> int:
        files = [tmp_path / f"{name}.wav" for name in names]
        return pse_kd("enroll", *files, "-o", tmp_path / "p", "--force", model=weights)

    angles[:] = [alike["anna1"], alike["anna2"], alike["bert"]]
    assert run("anna1", "anna2", "bert") == 2
    message = error_of(capsys)
    assert "anna1.wav and" in message and "bert.wav: two different voices" in message
    angles[:] = [alike["anna1"], alike["anna2"]]
    assert run("anna1", "anna2", "short") == 0
    assert "similarity" not in capsys.readouterr().err
    angles[:] = [alike["anna1"], alike["doubtful"]]
    assert run("anna1", "anna2") == 0
    assert "possibly two voices" in capsys.readouterr().err


# enhance


class Kind(NamedTuple):
    """A kind of recording."""

    name: str
    rate: int
    channels: int
    subtype: str


KINDS = [
    Kind("a.wav", 16000, 1, "PCM_16"),
    Kind("b.wav", 44100, 2, "PCM_24"),
    Kind("c.wav", 8000, 1, "PCM_U8"),
    Kind("d.wav", 192000, 1, "PCM_16"),
    Kind("e.flac", 48000, 1, "PCM_24"),
    Kind("f.wav", 16000, 12, "FLOAT"),
    Kind("g.ogg", 16000, 1, "VORBIS"),
    Kind("h.aiff", 32000, 1, "PCM_16"),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_enhance_keeps_the_form(
    kind: Kind, weights: Path, me: Path, tmp_path: Path, capsys: Capture
) -> None:
    source = write(tmp_path / kind.name, kind.rate, kind.channels, subtype=kind.subtype)
    output = tmp_path / f"out_{kind.name}"
    run = ("enhance", source, "--profile", me, "-o", output)
    assert pse_kd(*run, model=weights) == 0
    before, after = soundfile.info(source), soundfile.info(output)
    for field in ("samplerate", "channels", "frames", "format", "subtype"):
        assert getattr(after, field) == getattr(before, field), field
    mixed = "mixed down" in capsys.readouterr().err
    assert mixed == (kind.channels > 1)
    assert no_traces(tmp_path)


@pytest.mark.parametrize(
    ("source", "form", "output", "subtype"),
    [
        ("a.mp3", {"format": "MP3"}, "b.wav", "PCM_16"),
        ("a.mp3", {"format": "MP3"}, "b.flac", "PCM_16"),
        ("a.wav", {"subtype": "PCM_24"}, "b.flac", "PCM_24"),
        ("a.wav", {"subtype": "FLOAT"}, "b.aiff", "FLOAT"),
        ("a.wav", {"subtype": "FLOAT"}, "b.flac", "PCM_16"),
        ("a.wav", {"subtype": "ULAW"}, "b.au", "PCM_16"),
        ("a.wav", {"subtype": "PCM_16"}, "b.ogg", "VORBIS"),
    ],
)
def test_enhance_into_another_container(
    source: str,
    form: dict[str, str],
    output: str,
    subtype: str,
    weights: Path,
    me: Path,
    tmp_path: Path,
) -> None:
    given, made = write(tmp_path / source, **form), tmp_path / output
    run = ("enhance", given, "--profile", me, "--no-look-ahead", "-o", made)
    assert pse_kd(*run, model=weights) == 0
    assert soundfile.info(made).subtype == subtype
    assert soundfile.info(made).frames == soundfile.info(given).frames


def test_enhance_is_the_python_interface(
    weights: Path, me: Path, tmp_path: Path
) -> None:
    source = write(tmp_path / "a.wav", 44100, 2, subtype="FLOAT")
    profile, enhancer = Profile.load(me), PersonalizedEnhancer.from_pretrained(weights)
    given, rate = soundfile.read(source, dtype="float32")
    run = ("enhance", source, "--profile", me, "--force", "-o")
    for limit, look in itertools.product((None, 6.0), (False, True)):
        extra = ["--look-ahead" if look else "--no-look-ahead"]
        if limit is not None:
            extra += ["--attenuation-limit", str(limit)]
        assert pse_kd(*run, tmp_path / "mix.wav", *extra, model=weights) == 0
        mix, _ = soundfile.read(tmp_path / "mix.wav", dtype="float32")
        expected = enhancer(given.mean(1), rate, profile, limit, look)
        np.testing.assert_allclose(mix, np.stack([expected] * 2, 1), atol=1e-6)
    words = ("--per_channel", "--no-look-ahead")
    assert pse_kd(*run, tmp_path / "each.wav", *words, model=weights) == 0
    each, _ = soundfile.read(tmp_path / "each.wav", dtype="float32")
    for channel in range(2):
        expected = enhancer(given[:, channel], rate, profile)
        np.testing.assert_allclose(each[:, channel], expected, atol=1e-6)


def test_enroll_on_the_way(weights: Path, me: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "a.wav")
    own, more = me.with_name("me.wav"), tmp_path / "more.wav"
    soundfile.write(more, voice(9.0, seed=2), SAMPLE_RATE)
    two = tmp_path / "two.profile"
    assert pse_kd("enroll", own, more, "-o", two, model=weights) == 0

    def enhanced(*voice_words: object) -> bytes:
        run = ("enhance", *voice_words, source, "-o", tmp_path / "x.wav", "--force")
        assert pse_kd(*run, model=weights) == 0
        return (tmp_path / "x.wav").read_bytes()

    assert enhanced("--enroll", own) == enhanced("--profile", me)
    both = "--enroll", own, "--enroll", more
    assert enhanced(*both) == enhanced("--profile", two) != enhanced("--profile", me)


def test_batch_goes_on(
    weights: Path, me: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "in"
    write(folder / "a.wav")
    write(folder / "deep" / "b.FLAC", format="FLAC")
    (folder / "bad.wav").write_text("text")
    (folder / "notes.txt").write_text("no recording")
    run = ("enhance", folder, "--profile", me, "-o", tmp_path / "out")
    assert pse_kd(*run, model=weights) == 2
    assert "1 of 3 files failed: " in (message := error_of(capsys))
    assert "bad.wav" in message
    made = sorted(p for p in (tmp_path / "out").rglob("*") if p.is_file())
    names = [str(path.relative_to(tmp_path / "out")) for path in made]
    assert names == ["a.wav", "deep/b.FLAC"]
    assert soundfile.info(made[1]).format == "FLAC"
    # Again: what is done stays as it is, and is no failure.
    times = [path.stat().st_mtime_ns for path in made]
    assert pse_kd(*run, model=weights) == 2
    assert "1 of 3 files failed: " in (message := error_of(capsys))
    assert "a.wav" not in message
    (folder / "bad.wav").unlink()
    assert pse_kd(*run, model=weights) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/out/a.wav: exists, kept",
        f"{tmp_path}/out/deep/b.FLAC: exists, kept",
        "2 of 2 results existed; --force replaces them",
    ]
    assert [path.stat().st_mtime_ns for path in made] == times
    assert pse_kd(*run, "--force", model=weights) == 0
    assert "exist" not in capsys.readouterr().out
    assert [path.stat().st_mtime_ns for path in made] != times


def test_batch_goes_on_after_paths_that_cannot_be_opened(
    weights: Path,
    me: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Folders through `os.scandir`, since the tests may run as root."""
    monkeypatch.chdir(tmp_path)
    for name in ("x/a.wav", "x/locked/b.wav", "locked/b.wav", "x/z.wav"):
        write(Path(name))
    Path("out/locked").mkdir(parents=True)  # of a time when it could be read
    scan, opened = os.scandir, enhance.open_sound

    def refusing(path: str = ".") -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    def failing(path: Path) -> object:
        if path.name == "z.wav":
            raise OSError(5, "Input/output error", str(path))
        return opened(path)

    monkeypatch.setattr(os, "scandir", refusing)
    monkeypatch.setattr(enhance, "open_sound", failing)
    long = "n" * 300 + ".wav"
    run = ("enhance", long, "x", "locked", "--profile", me, "-o", "out")
    assert pse_kd(*run, model=weights) == 2
    shown = capsys.readouterr().err
    assert f"error: {long}: cannot be read (File name too long)" in shown
    assert "error: x/locked: cannot be read" in shown
    assert "error: locked: cannot be read" in shown
    assert "error: x/z.wav: Input/output error; correct the path" in shown
    assert shown.splitlines()[-1].startswith(f"error: 4 of 5 files failed: {long}, x/")
    assert Path("out/a.wav").is_file()


def test_names_that_are_no_text(weights: Path, me: Path, tmp_path: Path) -> None:
    """As of files from an old archive; such a name ends nothing and can be printed."""
    folder = tmp_path / "in"
    write(folder / "b.wav")
    old = folder / os.fsdecode(b"a\xe4.wav")
    shutil.copy(folder / "b.wav", old)
    run = ("enhance", folder, "--profile", me, "--model", weights)
    process = _start(*run, "--report", "-o", tmp_path / "out")
    shown, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in errors
    assert "a\\udce4.wav: 3.0 s" in shown
    assert {path.name for path in (tmp_path / "out").iterdir()} == {old.name, "b.wav"}
    profile = tmp_path / os.fsdecode(b"\xe4.profile")
    shutil.copy(me.with_name("me.wav"), old)
    assert pse_kd("enroll", old, "-o", profile, model=weights) == 0
    assert Profile.load(profile).sources == (old.name,)


def test_what_counts_as_several(
    weights: Path, me: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Of one named file somebody waits for the result; a batch of one may resume."""
    source, out = write(tmp_path / "in" / "a.wav"), tmp_path / "out"
    out.mkdir()
    (out / "a.wav").write_text("")
    for words, status in (
        ((source, "-o", out / "a.wav"), 2),
        ((source, "-o", out), 2),
        ((source.parent, "-o", out), 0),
        ((source.parent / "*.wav", "-o", out), 0),
        ((source, source, "-o", out), 0),
    ):
        run = ("enhance", *words, "--profile", me)
        assert pse_kd(*run, model=weights) == status
        shown = capsys.readouterr()
        assert ("a.wav: exists, kept" in shown.out) == (status == 0)
        assert ("a.wav: exists; give --force" in shown.err) == (status == 2)


def test_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x/a.wav", "x/sub/b.wav", "y/a.wav", "y/c[1].wav"):
        write(tmp_path / name)
    out = Path("out")

    def outputs(*inputs: str) -> list[str]:
        return [str(job.output) for job in plan(inputs, out)]

    assert outputs("x") == ["out/a.wav", "out/sub/b.wav"]
    assert outputs("x/*.wav") == ["out/a.wav"]
    assert outputs("x/**/*.wav") == ["out/a.wav", "out/b.wav"]
    assert outputs("x/a.wav", "./x/a.wav") == ["out/a.wav"]
    assert outputs("y/c[1].wav") == ["out/c[1].wav"]
    assert [job.output for job in plan(["x/a.wav"], Path("b.flac"))] == [Path("b.flac")]
    with pytest.raises(UserError, match="both would go to out/a.wav"):
        plan(["x", "y"], out)
    with pytest.raises(UserError, match="matches no file"):
        plan(["z/*.wav"], out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no recording in it"):
        plan(["empty"], out)
    with pytest.raises(UserError, match="give a folder"):
        plan(["x", "y"], Path("x/a.wav"))


@pytest.fixture
def mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recordings in ``x``, which is ``link`` as well, and a result in ``x/out``."""
    monkeypatch.chdir(tmp_path)
    for name in ("x/a.wav", "x/sub/b.wav", "x/out/deep/a.wav", "y.wav"):
        write(Path(name))
    Path("link").symlink_to("x")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "output", "expected"),
    [
        ("x", "x/out", ["x/a.wav", "x/sub/b.wav"]),
        ("{here}/x", "x/out", ["{here}/x/a.wav", "{here}/x/sub/b.wav"]),
        ("x", "{here}/x/out", ["x/a.wav", "x/sub/b.wav"]),
        ("x", "link/out", ["x/a.wav", "x/sub/b.wav"]),
        ("link", "x/out", ["link/a.wav", "link/sub/b.wav"]),
        ("{here}", "x", ["{here}/y.wav"]),
        ("**/*.wav", "x", ["y.wav"]),
        ("x/**/*.wav", "./x/out/../out", ["x/a.wav", "x/sub/b.wav"]),
        ("x/*/*.wav", "x/out", ["x/sub/b.wav"]),
        # An input inside the output is no result.
        ("x/sub", "x", ["x/sub/b.wav"]),
        ("x/sub/*.wav", "x", ["x/sub/b.wav"]),
    ],
)
def test_results_are_no_recordings(
    text: str, output: str, expected: list[str], mixed: Path
) -> None:
    """What a first run wrote inside the input folder, however the two are spelled."""
    jobs = plan([text.format(here=mixed)], Path(output.format(here=mixed)))
    found = [str(job.source) for job in jobs]
    assert found == [name.format(here=mixed) for name in expected]


def test_no_recording_but_results(mixed: Path) -> None:
    for words, message in {
        "x -o ./x": "x: is the output as well; give another --output",
        f"{mixed}/x -o link": "is the output as well",
        "x/out -o x/out/deep": "all of it lies in the output x/out/deep",
        "x/o*/*/*.wav -o x/out": "all of it lies in the output x/out",
    }.items():
        text, output = words.split(" -o ")
        with pytest.raises(UserError, match=message):
            plan([text], Path(output))


def test_report(
    weights: Path,
    me: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = write(tmp_path / "a.wav", 48000)
    run = ("enhance", source, "--profile", me, "-o", tmp_path / "b.wav", "--report")
    heard: list[int] = []

    def hear(self: object, wave: np.ndarray, vector: np.ndarray) -> np.ndarray:
        heard.append(len(wave))
        frames = np.zeros((100, 3))
        frames[:present, 2], frames[present:, 1] = 1, 1
        return frames

    monkeypatch.setattr(OnnxPersonalVAD, "run", hear)
    present = 40
    assert pse_kd(*run, model=weights) == 0
    shown = capsys.readouterr()
    assert "enrolled voice in 40 % of the time, other voices alone in 60 %" in shown.out
    assert "absent" not in shown.err
    assert sum(heard) == pytest.approx(3 * SAMPLE_RATE, abs=2)
    present = 1
    assert pse_kd(*run, "--force", model=weights) == 0
    assert "seems absent" in capsys.readouterr().err


def test_look_ahead(
    weights: Path,
    me: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the voice is heard it is protected, in each channel; far off it is muted.

    Loud is what counts as heard: seconds 10 and 11 of one channel, 20 and 21 of the
    other.
    """
    runs = 0

    def hear(self: object, wave: np.ndarray, vector: np.ndarray) -> np.ndarray:
        nonlocal runs
        runs += 1
        power = np.square(np.pad(wave, (0, 320))[: len(wave) // 160 * 160 + 160])
        loud = power.reshape(-1, 160).mean(1) > 1e-3
        frames = np.zeros((-(-len(wave) // 160) + 1, 3), np.float32)
        frames[: len(loud), 2] = loud[: len(frames)]
        return frames

    monkeypatch.setattr(OnnxPersonalVAD, "run", hear)
    monkeypatch.setattr(pvad, "_BLOCK_SECONDS", 7)  # several blocks
    rate = 44100
    source = tmp_path / "a.wav"
    noise = np.random.default_rng(0).normal(size=(30 * rate, 2))
    level = np.full((30, 2), 0.01)
    level[10:12, 0] = level[20:22, 1] = 0.2
    soundfile.write(source, noise * np.repeat(level, rate, axis=0), rate)
    untouched, _ = soundfile.read(source)
    plain, steered = tmp_path / "plain.wav", tmp_path / "steered.wav"
    run = ("enhance", source, "--profile", me, "--per-channel", "-o")
    assert pse_kd(*run, plain, "--no-look-ahead", model=weights) == 0
    assert not runs
    assert pse_kd(*run, steered, model=weights) == 0
    assert runs >= 8
    assert "% of the time" not in capsys.readouterr().out  # that is --report
    before, _ = soundfile.read(plain)
    after, _ = soundfile.read(steered)
    assert after.shape == before.shape
    step, kept = 2 / 32768, 10 ** (-PROTECTION_DB / 20)
    closed = 10 ** (-DEPTH_DB / 20)

    def part(channel: int, first: float, last: float) -> tuple[slice, int]:
        return slice(int(first * rate), int(last * rate)), channel

    for n, heard in enumerate((10, 20)):
        for near in (part(n, heard - 3, heard - 0.7), part(n, heard + 2.7, heard + 5)):
            np.testing.assert_allclose(after[near], before[near], atol=step)
        own = part(n, heard + 0.05, heard + 1.95)
        expected = (1 - kept) * before[own] + kept * untouched[own]
        np.testing.assert_allclose(after[own], expected, atol=step)
        for far in (part(n, 0, heard - 4.5), part(n, heard + 6.5, 30)):
            np.testing.assert_allclose(after[far], closed * before[far], atol=step)
    capsys.readouterr()
    soundfile.write(source, 0.01 * noise, rate)  # nothing loud: nothing heard
    for limit, depth in ((), "30"), (("--attenuation-limit", 3), "3"):
        assert pse_kd(*run, steered, "--force", *limit, model=weights) == 0
        message = f"the enrolled voice is heard nowhere; all is turned down by {depth} "
        assert message in capsys.readouterr().err


def test_look_ahead_needs_a_personal_vad(
    weights: Path, me: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Without one, recordings are enhanced all the same, unless it is asked for."""
    model = tmp_path / "model"
    shutil.copytree(weights, model)
    (model / "pvad.onnx").write_bytes(b"no network")
    source = write(tmp_path / "a.wav")
    run = ("enhance", source, "--profile", me, "-o")
    assert pse_kd(*run, tmp_path / "b.wav", "--look-ahead", model=model) == 2
    assert not (tmp_path / "b.wav").exists()
    capsys.readouterr()
    assert pse_kd(*run, tmp_path / "c.wav", model=model) == 0
    assert "note: no look-ahead: " in capsys.readouterr().err
    plain = tmp_path / "d.wav"
    assert pse_kd(*run, plain, "--no-look-ahead", model=model) == 0
    assert plain.read_bytes() == (tmp_path / "c.wav").read_bytes()


# Bad input: nothing is written, one line says why, and the exit status is 2


def _truncated(**form: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        content = write(path, **form).read_bytes()
        path.write_bytes(content[: len(content) // 2])

    return make


def _header(offset: int, value: bytes, **form: str) -> Callable[[Path], None]:
    """A good file, but for some bytes."""

    def make(path: Path) -> None:
        content = bytearray(write(path, **form).read_bytes())
        content[offset : offset + len(value)] = value
        path.write_bytes(content)

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
        _header(40, (3_000_000_000).to_bytes(4, "little")),
        "truncated, 3.0 of 93750.0 s",
    ),
    "truncated flac": (_truncated_flac, "not a readable sound file"),
    "FLAC without length": (
        _header(22, bytes(4), format="FLAC"),
        "its header lacks the length, as after a broken recording; write it anew: "
        "ffmpeg -i ",
    ),
    "NaN": (_nan, "NaN or infinite samples at 1.25 s"),
}
BAD_ENROLMENTS = BAD_RECORDINGS | {
    "two minutes of silence": (_samples(np.zeros(120 * 16000)), "no speech stands out"),
    "one second": (_samples(voice(1.0)), "at least 1.5 s"),
    "an hour": (_samples(np.zeros(700 * 16000)), "700 s; choose up to 600 s"),
}


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


@pytest.mark.parametrize(
    ("container", "offset", "size"),
    [
        ("WAV", 40, (0x7FFFF000).to_bytes(4, "little")),
        ("WAV", 40, (0x7FFFFFFF).to_bytes(4, "little")),
        ("WAV", 40, (0x80000000).to_bytes(4, "little")),
        ("WAV", 40, (0xFFFFFF00).to_bytes(4, "little")),
        ("WAV", 40, (0xFFFFFFFF).to_bytes(4, "little")),
        ("AIFF", 42, (0).to_bytes(4, "big")),
        ("AIFF", 42, (0x7F000008).to_bytes(4, "big")),
        ("AU", 8, (0xFFFFFFFF).to_bytes(4, "big")),
        ("W64", 96, (0).to_bytes(8, "little")),
        ("W64", 96, (2**63 - 1).to_bytes(8, "little")),
        ("W64", 96, (2**64 - 1).to_bytes(8, "little")),
        ("RF64", 28, (2**63 - 1).to_bytes(8, "little")),
    ],
)
def test_streams_are_good_recordings(
    container: str, offset: int, size: bytes, tmp_path: Path
) -> None:
    """Programs that write into a pipe cannot go back to tell the length."""
    _header(offset, size, format=container)(path := tmp_path / "a")
    assert path.read_bytes() != write(tmp_path / "b", format=container).read_bytes()
    with open_sound(path) as sound:
        assert sum(map(len, sound.blocks())) == 3 * SAMPLE_RATE


@pytest.mark.parametrize("container", ["WAV", "AIFF", "AU", "W64", "RF64"])
def test_whole_files_are_not_taken_for_truncated(
    container: str, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    for subtype in ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "ULAW", "IMA_ADPCM"):
        if soundfile.check_format(container, subtype):
            for channels, samples in itertools.product((1, 2), range(1000, 1004)):
                wave = np.zeros((samples, channels))
                soundfile.write(path, wave, 8000, subtype, format=container)
                with open_sound(path) as sound:
                    assert sound.frames >= samples


def test_silence_is_a_good_recording(weights: Path, me: Path, tmp_path: Path) -> None:
    _samples(np.zeros(20 * 16000))(tmp_path / "a.wav")
    run = ("enhance", tmp_path / "a.wav", "--profile", me, "-o", tmp_path / "b.wav")
    assert pse_kd(*run, model=weights) == 0
    assert not soundfile.read(tmp_path / "b.wav")[0].any()


def test_bad_profiles_and_models(
    weights: Path, me: Path, tmp_path: Path, capsys: Capture
) -> None:
    source = write(tmp_path / "a.wav")
    text = me.read_text()
    (tmp_path / "other.profile").write_text(text.replace('"ge2e"', '"wespeaker"'))
    (tmp_path / "newer.profile").write_text(
        text.replace('"format_version": 1', '"format_version": 9')
    )
    (tmp_path / "cut.profile").write_text(text[:200])
    (tmp_path / "deep.profile").write_text("[" * 200_000)
    student = (weights / "student.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(student[:9999])
    (tmp_path / "text.onnx").write_text("no model")
    for profile, model, text in (
        ("other.profile", weights, "made with the speaker encoder 'wespeaker'"),
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


def _start(*words: object, disk: int | None = None) -> subprocess.Popen[str]:
    """Start the command; ``disk``: bytes that a file may have."""

    def limit() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        if disk is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (disk, disk))

    return subprocess.Popen(
        [sys.executable, "-m", "espnet_pse_kd.cli.main", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
    )


def test_errors_of_others_are_not_the_disk(tmp_path: Path) -> None:
    form = Format(SAMPLE_RATE, 1, "WAV", "PCM_16")
    with (
        pytest.raises(OSError, match="Bad file descriptor"),
        write_sound(tmp_path / "a.wav", form) as append,
    ):
        append(np.zeros((9, 1)))
        raise OSError(9, "Bad file descriptor")
    assert not list(tmp_path.iterdir())


def test_full_disk(weights: Path, me: Path, tmp_path: Path) -> None:
    source, output = write(tmp_path / "a.wav"), tmp_path / "b.wav"
    run = ("enhance", source, "--profile", me, "--model", weights, "-o", output)
    process = _start(*run, disk=50000)
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
    process = _start(*run, "--no-look-ahead")  # writes from the start
    while process.poll() is None and no_traces(tmp_path):
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in errors
    assert not output.exists() and no_traces(tmp_path)


# live


class FileDevices:
    """Stands in for `PortAudio`: a file as microphone, a list as loudspeaker."""

    heard: list[np.ndarray]

    def __init__(self, given: np.ndarray, lost: tuple[int, ...] = ()) -> None:
        self._given, self._lost = given, lost
        self.heard = []
        self.pairs: list[Pair] = []

    def devices(self) -> list[Device]:
        return [Device(0, "file", 1, 1, 16000, "in out")]

    def rate(self, pair: Pair, wanted: int) -> int:
        self.pairs.append(pair)
        return wanted

    @contextmanager
    def open(
        self, pair: Pair, rate: int, block: int, callback: Callback
    ) -> Iterator[argparse.Namespace]:
        for number, start in enumerate(range(0, len(self._given) - block, block)):
            wanted = np.full(block, np.nan, np.float32)
            given = self._given[start : start + block].copy()
            callback(given, wanted, number in self._lost)
            self.heard.append(wanted)
        yield argparse.Namespace(latency=(0.01, 0.02), active=False)


def test_live(
    weights: Path,
    me: Path,
    tmp_path: Path,
    nobody: TextIO,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = voice(4.0, seed=3)
    layer = FileDevices(given, lost=(3, 4))
    monkeypatch.setattr(live, "PortAudio", lambda: layer)
    record = tmp_path / "said.wav"
    monkeypatch.setattr(sys, "stdin", nobody)
    run = ("live", "--profile", me, "--input", "mic", "--output", 3, "--record", record)
    # The stand-in stops by itself, as a device does that is unplugged.
    assert pse_kd(*run, "--attenuation-limit", 20, model=weights) == 2
    shown = capsys.readouterr().err
    assert "the device stopped" in shown
    assert "latency: devices 30 ms + enhancement 20 ms = 50 ms" in shown
    assert "headphones" in shown and "2 dropped" in shown
    assert layer.pairs == [Pair("mic", 3)]

    heard = np.concatenate(layer.heard)
    enhancer = PersonalizedEnhancer.from_pretrained(weights)
    expected = enhancer(given, SAMPLE_RATE, Profile.load(me), 20.0)
    lag = enhancer.model.latency
    assert not heard[:lag].any()
    np.testing.assert_allclose(heard[lag:], expected[: len(heard) - lag], atol=1e-6)
    recorded, rate = soundfile.read(record)
    assert rate == SAMPLE_RATE and len(recorded) == len(heard)
    np.testing.assert_allclose(recorded, heard, atol=1e-4)
    assert pse_kd(*run, model=weights) == 2
    assert "exists; give --force" in error_of(capsys)


STOPPING = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


@pytest.fixture
def handlers() -> Iterator[None]:
    """Signals that interrupt the test where the command does not handle them."""
    before = [signal.signal(n, signal.default_int_handler) for n in STOPPING]
    yield
    for number, handler in zip(STOPPING, before):
        signal.signal(number, handler)


@pytest.fixture
def record(
    weights: Path,
    me: Path,
    tmp_path: Path,
    nobody: TextIO,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[], tuple[int, int]]:
    """Runs ``live --record said.wav`` on 4 s: status, and samples that were heard."""

    def run() -> tuple[int, int]:
        layer = FileDevices(voice(4.0, seed=3))
        monkeypatch.setattr(live, "PortAudio", lambda: layer)
        monkeypatch.setattr(sys, "stdin", nobody)
        words = ("live", "--profile", me, "--record", tmp_path / "said.wav")
        status = pse_kd(*words, model=weights)
        return status, sum(map(len, layer.heard))

    return run


@pytest.mark.parametrize("number", STOPPING)
def test_signals_do_not_cost_the_recording(
    number: signal.Signals,
    record: Callable[[], tuple[int, int]],
    handlers: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first one stops, those that come while the rest is saved change nothing."""
    save = live.Session.drain
    came: list[int] = []

    def drain(session: live.Session, write: Callable[[np.ndarray], None]) -> None:
        came.append(number)
        os.kill(os.getpid(), number)
        save(session, write)

    monkeypatch.setattr(live.Session, "drain", drain)
    status, samples = record()
    assert status == 0 and len(came) == 2
    assert soundfile.info(tmp_path / "said.wav").frames == samples
    assert no_traces(tmp_path)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_full_disk_keeps_the_recording(
    record: Callable[[], tuple[int, int]], tmp_path: Path, capsys: Capture
) -> None:
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50000, unlimited[1]))
    try:
        status, _ = record()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert status == 2
    shown = capsys.readouterr().err.splitlines()
    path = tmp_path / "said.wav"
    assert f"warning: {path}: cut short; 1.6 s are kept" in shown
    assert shown[-1].startswith(f"error: {path}: cannot be written (no space left")
    with open_sound(path) as sound:
        assert 1.55 < sound.seconds < 1.57
    assert no_traces(tmp_path)


def test_what_nohup_ignores_stays_ignored(handlers: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert pse_kd("--version") == 0
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_keys_of_a_stdin_that_cannot_be_read() -> None:
    """As it is below ``nohup``."""
    with open(os.devnull, "w") as stream, open_keys(stream) as keys:
        assert keys.pressed(0.0) == ""
        start = time.monotonic()
        assert keys.pressed(0.05) == ""
        assert time.monotonic() - start > 0.04  # it is not asked any more


def test_no_keys_without_termios(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows."""
    monkeypatch.setitem(sys.modules, "termios", None)
    leader, follower = os.openpty()
    with open(leader, "wb") as person, open(follower) as terminal:
        person.write(b"q\n")
        person.flush()
        with open_keys(terminal) as keys:
            start = time.monotonic()
            assert keys.pressed(0.05) == ""
            assert time.monotonic() - start > 0.04
    assert "note: no keys on this system; Ctrl-C stops" in capsys.readouterr().err


def test_live_keys_and_meters(weights: Path, me: Path) -> None:
    enhancer = PersonalizedEnhancer.from_pretrained(weights)
    session = live.Session(enhancer.stream(Profile.load(me)), records=False)
    limits = []
    for key in "+--+0-?":
        assert not session.press(key)
        limits.append(session.stream.attenuation_limit_db)
    assert limits == [None, 57, 54, 57, None, 57, 57]
    assert session.press("q")
    assert live.next_limit(2.0, "-") == 0 and live.next_limit(58.0, "+") is None
    block = np.full(320, 0.1, np.float32)
    session.callback(block, np.empty_like(block), True)
    assert "in [" in session.line() and "-20 dBFS" in session.line()
    assert "limit 57 dB  dropped 1" in session.line()
    # What goes wrong in the audio thread reaches the person; the device gets silence.
    session.callback(np.zeros((2, 2)), block, False)
    assert isinstance(session.error, UserError) and not block.any()


def test_live_without_devices(
    weights: Path, me: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ("live", "--profile", me)
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert pse_kd(*run, model=weights) == 2
    assert "pip install '.[live]'" in error_of(capsys)
    assert pse_kd("info", model=weights) == 0  # shows the reason instead
    assert "sounddevice is not installed" in capsys.readouterr().out

    silent = argparse.Namespace(
        default=argparse.Namespace(device=(-1, -1)), query_devices=lambda: []
    )
    monkeypatch.setitem(sys.modules, "sounddevice", silent)
    assert pse_kd(*run, model=weights) == 2
    assert "no audio device" in error_of(capsys)
    assert pse_kd("live", "--list-devices") == 0
    assert "no audio device" in capsys.readouterr().out


def test_device_list(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"max_input_channels": 2, "max_output_channels": 0}
    fake = argparse.Namespace(
        default=argparse.Namespace(device=(0, 1)),
        query_devices=lambda: [{"name": "Mic", "default_samplerate": 44100.0, **found}],
    )
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    [device] = devices.PortAudio().devices()
    assert str(device) == "  0  Mic  (2 in, 0 out, 44100 Hz)  [default in]"


# score, export, info, serve


def test_score(tmp_path: Path, capsys: Capture) -> None:
    rng = np.random.default_rng(0)
    clean = voice(3.0)
    for name, snr in (("one", 0.3), ("two", 0.1)):
        noise = 0.05 * rng.standard_normal(len(clean)).astype(np.float32)
        for folder, wave in (
            (f"clean/{name}.flac", clean),
            (f"noisy/{name}.wav", clean + noise),
            (f"enhanced/{name}.x.wav", clean + snr * noise),
        ):
            (tmp_path / folder).parent.mkdir(exist_ok=True)
            soundfile.write(tmp_path / folder, wave, SAMPLE_RATE)
    folders = [
        word
        for role in ("clean", "noisy", "enhanced")
        for word in (f"--{role}", tmp_path / role)
    ]
    assert pse_kd("score", *folders, "--csv", tmp_path / "scores.csv") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[0].split()[:3] == ["file", "si_sdr", "si_sdri"]
    gains = [float(line.split()[2]) for line in lines[1:]]
    assert gains == pytest.approx([10.5, 20, 15.2], abs=0.3)
    assert "wrong_speaker" in (tmp_path / "scores.csv").read_text()
    soundfile.write(tmp_path / "noisy/two.wav", clean[:9000], SAMPLE_RATE)
    assert pse_kd("score", *folders) == 2
    assert "last 3.00, 0.56, 3.00 s" in error_of(capsys)
    (tmp_path / "clean/two.flac").unlink()
    assert pse_kd("score", *folders) == 2
    assert "0 files belong to" in error_of(capsys)


def test_export_refuses(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "x.onnx").write_text("")
    for words, text in (
        (("nothing", "-o", tmp_path / "x.onnx"), "exists; give --force"),
        (("nothing", "-o", tmp_path / "y.onnx"), "nothing: No such file"),
        (("nothing", "-o", tmp_path / "y.onnx", "--pvad", "z"), "give a folder"),
    ):
        assert pse_kd("export", *words) == 2
        assert text in error_of(capsys)


def test_info(weights: Path, capsys: Capture, tmp_path: Path) -> None:
    card = weights / "model_card.md"
    card.write_text("# Card\nTrained on nothing.\n")
    assert pse_kd("info", model=weights) == 0
    shown = capsys.readouterr().out
    for text in ("onnxruntime 1.", "hop: 160", "latency: 320", "Trained on nothing."):
        assert text in shown
    card.unlink()
    assert pse_kd("info", model=tmp_path / "missing") == 2


def test_the_page_is_for_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    launched: dict[str, object] = {}
    page = argparse.Namespace(
        launch=lambda **options: launched.update(options),
        block_thread=lambda: None,
        close=lambda verbose: None,
    )
    stub = argparse.Namespace(LOOK={}, build=lambda enhancer, folder: page)
    monkeypatch.setitem(sys.modules, "espnet_pse_kd.cli.gradio_page", stub)
    monkeypatch.setattr(serve, "load_enhancer", lambda args: None)
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED"):
        monkeypatch.setenv(name, "")  # puts back what the command changes
    assert pse_kd("serve", "--port", 7999) == 0
    assert launched["server_name"] == "127.0.0.1" and launched["share"] is False
    assert launched["server_port"] == 7999


def test_what_the_page_does(weights: Path, me: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "a.flac", 48000)
    enhancer = PersonalizedEnhancer.from_pretrained(weights)
    own = str(me.with_name("me.wav"))
    result = page_result.enhance(
        enhancer, own, str(source), 12.0, True, tmp_path / "out"
    )
    assert soundfile.info(result.after).frames == soundfile.info(source).frames
    assert "s of speech" in result.text and "% of the time" in result.text
    assert len(result.picture.axes) == 3
    long = tmp_path / "long.wav"
    soundfile.write(long, np.zeros(8000 * 700), 8000)
    for recording, text in ((None, "nothing yet"), (str(long), "12 minutes")):
        with pytest.raises(UserError, match=text):
            page_result.enhance(enhancer, own, recording, None, False, tmp_path)


def test_spectrogram_of_a_tone() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    levels = spectrogram(tone)
    assert levels.shape[0] == 257 and levels.shape[1] <= 1600
    assert (levels[:, 5:-5].argmax(0) == 32).all()
    assert spectrogram(np.zeros(9_600_000)).shape[1] <= 1601


def test_quick_start(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What docs/quickstart.md shows can be typed: the Python runs, the words parse."""
    text = (Path(__file__).parents[1] / "docs" / "quickstart.md").read_text()
    monkeypatch.setattr(pretrained, "WEIGHTS", weights)
    monkeypatch.chdir(tmp_path)
    soundfile.write("me.wav", voice(12.0), SAMPLE_RATE)
    write(Path("meeting.wav"), 48000)
    [code] = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
    exec(code, {})
    shown = re.findall(r"(?:`| {4})(pse-kd (?:[^`\n#]+))", text)
    assert len(shown) > 8
    for line in shown:
        words = shlex.split(line)[1:]
        if len(words) > 1 and "--list-devices" not in words:
            get_parser(words[0]).parse_args(words)
    for line in shown[:2]:
        assert pse_kd(*shlex.split(line)[1:]) == 0
    assert Path("meeting_me.wav").is_file()


def test_blocks_are_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", 44100, 2)
    expected, _ = soundfile.read(path, dtype="float32")
    with open_sound(path) as sound:
        found = list(sound.blocks())
    assert max(map(len, found)) == 44100
    np.testing.assert_array_equal(np.concatenate(found), expected)

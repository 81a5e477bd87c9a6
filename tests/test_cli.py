"""``pse-kd`` as a person meets it: help, mistyped commands, score, export, info."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from cli_fixture import Capture, error_of, me, pse_kd, write
from weights_fixture import voice, weights

from espnet_pse_kd import pretrained
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.cli.main import COMMANDS, get_parsers
from espnet_pse_kd.sound import ffmpeg

__all__ = ["me", "weights"]  # fixtures


def test_help_loads_nothing_heavy() -> None:
    # Its time stands in docs/benchmarks.md: no limit holds on every busy machine.
    code = (
        "import sys\nfrom espnet_pse_kd.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'numpy', 'torch', 'onnxruntime', 'soundfile'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert all(f"    {name}" in run.stdout for name in COMMANDS)
    assert "`" not in run.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(command: str, capsys: Capture) -> None:
    assert pse_kd(command, "--help") == 0
    shown = capsys.readouterr().out
    assert "--" in shown and "``" not in shown


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "required: COMMAND; see pse-kd --help"),
        (["enchance"], "invalid choice: 'enchance'"),
        (["enroll", "a.wav"], "one of the arguments --name -o/--output is required"),
        (["enroll", "a.wav", "-o", "x", "--segment", "5-2"], "'5-2'; give begin and"),
        (["enroll", "a", "b", "-o", "x", "--segment", "1-2"], "2 files"),
        (["enhance", "a.wav", "-o", "x"], "no voice yet; run: pse-kd enroll --name"),
        (
            ["enhance", "a", "-o", "x", "--enroll", "b", "--attenuation-limit", "-3"],
            "0 or more",
        ),
        *(
            (
                ["enhance", "a", "-o", "x", "--profile", "b", "--threads", number],
                f"--threads: '{number}'; give 1 to 1024",
            )
            for number in ("0", "1025", "99999999999")
        ),
        (
            ["enhance", "a.wav", "--enroll", "b.wav", "c.wav", "-o", "x"],
            "unrecognized arguments: c.wav",
        ),
        (["live", "--enroll", "a.wav", "b.wav"], "unrecognized arguments: b.wav"),
        (["serve", "--port", "99999"], "--port: '99999'; give 1 to"),
    ],
)
def test_wrong_command_lines(words: list[str], text: str, capsys: Capture) -> None:
    assert pse_kd(*words) == 2
    assert text in error_of(capsys)


def _scores_without_torch(
    folders: list[object],
    lines: list[str],
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SI-SDR stays the same, what is missing is a dash and said."""
    with monkeypatch.context() as bare:
        bare.setitem(sys.modules, "espnet_pse_kd.metrics.intrusive", None)
        assert pse_kd("score", *folders) == 0
        shown = capsys.readouterr()
        fewer = [line.split() for line in shown.out.splitlines()[1:]]
        whole = [line.split() for line in lines[1:]]
        assert [row[:4] for row in fewer] == [row[:4] for row in whole]
        assert all(row[4:] == ["-"] * 3 for row in fewer)
        assert "no tsos, deletion, level_change; from a checkout" in shown.err


def test_score(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    _scores_without_torch(folders, lines, capsys, monkeypatch)
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


def test_info(
    weights: Path, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short, with verdicts; the rest for who asks."""
    monkeypatch.setattr(ffmpeg, "available", lambda: False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert pse_kd("info", model=weights) == 0
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) == 6
    assert f"weights:       found: {weights}" in shown
    assert "ffmpeg:        missing: install ffmpeg" in shown
    assert "default voice: missing: no voice yet; run: pse-kd enroll" in shown
    assert pse_kd("info", "--all", model=weights) == 0
    shown = capsys.readouterr().out
    for text in ("onnxruntime 1.", "hop: 160", "latency: 320"):
        assert text in shown
    assert pse_kd("info", model=tmp_path / "missing") == 2
    assert "no such model" in error_of(capsys)


def test_card(weights: Path, capsys: Capture, tmp_path: Path) -> None:
    card = weights / "model_card.md"
    card.write_text("# Card\nTrained on nothing.\n")
    assert pse_kd("info", "--card", model=weights) == 0
    assert capsys.readouterr().out == "# Card\nTrained on nothing.\n"
    card.unlink()
    assert pse_kd("info", "--card", model=weights) == 2
    assert "model_card.md: no such file" in error_of(capsys)


def test_quick_start(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What docs/quickstart.md shows can be typed: the Python runs, the words parse."""
    text = (Path(__file__).parents[1] / "docs" / "quickstart.md").read_text()
    monkeypatch.setattr(pretrained, "WEIGHTS", weights)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    soundfile.write("me.wav", voice(12.0), SAMPLE_RATE)
    write(Path("meeting.wav"), 48000)
    [code] = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
    exec(code, {})
    shown = re.findall(r"(?:`| {4})(pse-kd (?:[^`\n#]+))", text)
    assert len(shown) > 8
    for line in shown:
        words = shlex.split(line)[1:]
        if len(words) > 1 and "--list-devices" not in words:
            get_parsers(words[0]).whole.parse_args(words)
    for line in shown[:2]:
        assert pse_kd(*shlex.split(line)[1:]) == 0
    assert Path("meeting_me.wav").is_file()

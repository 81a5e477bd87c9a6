"""The user's own defaults, and the completion of shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cli_fixture import Capture, error_of, me, pse_kd, write
from weights_fixture import weights

from espnet_pse_kd.cli.main import parse
from espnet_pse_kd.cli.settings import KEYS, settings_path
from espnet_pse_kd.errors import UserError

__all__ = ["me", "weights"]  # fixtures


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that ``PSE_KD_CONFIG`` names; not written yet."""
    path = tmp_path / "own.toml"
    monkeypatch.setenv("PSE_KD_CONFIG", str(path))
    return path


def test_command_line_goes_before_the_file_and_the_file_before_defaults(
    config: Path,
) -> None:
    config.write_text(
        "threads = 3\n[enhance]\nkeep-noise = true\nlook-ahead = false\n"
        'strength = "light"\noutput = "~/cleaned"\n[live]\nattenuation-limit = 20\n'
        "[serve]\nport = 8000\n"
    )
    args = parse(["enhance", "a.wav"])
    assert args.keep_noise is True and args.look_ahead is False
    assert (args.strength, args.threads, args.band) == ("light", 3, "keep")
    assert args.output == Path.home() / "cleaned" and args.report is False
    args = parse(["enhance", "a.wav", "--threads", "1", "--look-ahead"])
    assert (args.threads, args.look_ahead) == (1, True)
    assert parse(["live"]).attenuation_limit == 20.0
    assert parse(["serve"]).port == 8000
    assert parse(["enroll", "a", "--name", "x"]).threads == 3


def test_command_line_excludes_what_the_file_says(config: Path) -> None:
    """As it would if both stood on the command line."""
    config.write_text('[enhance]\nstrength = "strong"\nresult-name = "{name}.x"\n')
    args = parse(["enhance", "a.wav", "--attenuation-limit", "6", "-o", "b.wav"])
    assert (args.strength, args.attenuation_limit) == ("normal", 6.0)
    assert args.result_name == "{name}_{voice}"
    config.write_text("[enhance]\nattenuation-limit = 6\n")
    args = parse(["enhance", "a.wav", "--strength", "strong"])
    assert (args.strength, args.attenuation_limit) == ("strong", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[enhance]\nstrenth = 'light'",
            "enhance.strenth: no such key; did you mean s",
        ),
        ("[enhanse]\n", "enhanse: no such key; did you mean enhance?"),
        ("profile = 'me'", "profile: no such key; choose from model, threads, enhance"),
        ("enhance = 3", "enhance: a table is needed; write [enhance]"),
        ("[enhance]\nstrength = 'lite'", "'lite'; choose from light, normal, strong"),
        ("[enhance]\nkeep-noise = 'yes'", "enhance.keep-noise: 'yes'; give true or"),
        ("[enhance]\njobs = true", "enhance.jobs: True; give a text or a number"),
        ("[enhance]\njobs = 0", "enhance.jobs: '0'; give 1 to 256"),
        ("[enhance]\nattenuation-limit = nan", "'nan'; give a number of dB, 0 or more"),
        ("[enhance]\nresult-name = '../{name}'", "give {name} and more, without a"),
        ("[enhance]\nresult-name = '{name}'", "give {name} and more, without a folder"),
        ("[enhance]\nresult-name = 'x{nam}'", "give {name} and more, without a folder"),
        ("threads = 2.5", "threads: '2.5'; give 1 to 1024"),
        (
            "[enhance]\nstrength='light'\nattenuation-limit=3",
            "enhance: strength and attenuation-limit exclude each other; remove one",
        ),
        ("[enhance", "no TOML (Expected"),
        ("a = " + "[" * 9999, "no TOML ("),
    ],
)
def test_wrong_files(text: str, message: str, config: Path, capsys: Capture) -> None:
    config.write_text(text)
    for words in (("enhance", "a.wav"), ("config",)):
        assert pse_kd(*words) == 2
        error = error_of(capsys)
        assert error.startswith(f"{config}: ") and message in error
    assert pse_kd("enhance", "--help") == 0  # a wrong file hides no help
    assert pse_kd("voices") == 0


def test_file_that_is_missing_or_none(
    config: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pse_kd("enhance", "a.wav") == 2
    assert "own.toml: No such file or directory; correct PSE_KD_CONFIG" in error_of(
        capsys
    )
    monkeypatch.setenv("PSE_KD_CONFIG", "/dev/zero")
    assert pse_kd("enhance", "a.wav") == 2
    assert "/dev/zero: a pipe or device" in error_of(capsys)
    monkeypatch.delenv("PSE_KD_CONFIG")
    assert settings_path().parts[-2:] == ("pse-kd", "config.toml")
    assert parse(["enhance", "a.wav"]).strength == "normal"


def test_config_shows_what_is_in_force(config: Path, capsys: Capture) -> None:
    config.write_text('threads = 2\n[enhance]\nstrength = "light"\n')
    assert pse_kd("config") == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"# {config}\n")
    assert tomllib.loads(shown) == tomllib.loads(config.read_text()) | {
        "live": {},
        "serve": {},
    }
    assert '# band = "keep"' in shown
    # All of it is a file that can be read again, also where the # are taken away.
    config.write_text(
        "\n".join(
            line.removeprefix("# ")
            for line in shown.splitlines()
            if "not set" not in line and not line.startswith(f"# {config}")
        )
    )
    assert pse_kd("config") == 0
    assert '\nband = "keep"' in capsys.readouterr().out


@pytest.mark.parametrize("command", KEYS)
def test_keys_are_options(command: str, config: Path, capsys: Capture) -> None:
    assert pse_kd(command, "--help") == 0
    shown = capsys.readouterr().out
    assert all(f"--{key}" in shown for key in KEYS[command])


def test_result_name(weights: Path, me: Path, tmp_path: Path, capsys: Capture) -> None:
    source = write(tmp_path / "in" / "a.wav")
    run = ("enhance", source.parent, "--profile", me, "--no-look-ahead")
    named = ("--result-name", "clean {name} of {voice}")
    assert pse_kd(*run, *named, model=weights) == 0
    assert (source.parent / "clean a of me.wav").is_file()
    capsys.readouterr()
    assert pse_kd(*run, *named, model=weights) == 0
    shown = capsys.readouterr()
    assert "1 files named clean * of me.* are results" in shown.err
    assert "1 of 1 results existed" in shown.out
    assert pse_kd(*run, *named, "-o", "x", model=weights) == 2
    assert "not allowed with" in error_of(capsys)


def offered(line: str, tmp_path: Path) -> list[str]:
    """What a shell is told that may follow a line."""
    answer = tmp_path / "answer"
    environment = os.environ | {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    code = "from espnet_pse_kd.cli.main import main; main([])"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    return answer.read_text().split("\n")


def test_completion_offers_commands_options_and_voices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (tmp_path / "pse-kd/voices").mkdir(parents=True)
    for name in ("me", "mother", "bert"):
        (tmp_path / f"pse-kd/voices/{name}.profile").touch()
    assert offered("pse-kd enh", tmp_path) == ["enhance"]
    assert "--keep-noise" in offered("pse-kd enhance --k", tmp_path)
    assert offered("pse-kd enhance --strength l", tmp_path) == ["light"]
    assert sorted(offered("pse-kd live --profile m", tmp_path)) == ["me", "mother"]
    assert offered("pse-kd voices remove b", tmp_path) == ["bert"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_the_shell_s(shell: str, capsys: Capture, tmp_path: Path) -> None:
    assert pse_kd("completion", shell) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    assert "pse-kd" in script.read_text()
    if shutil.which(shell):
        subprocess.run([shell, "-n", str(script)], check=True)


def test_completion_refuses_other_shells(capsys: Capture) -> None:
    with pytest.raises(UserError, match="invalid choice: 'csh'"):
        parse(["completion", "csh"])

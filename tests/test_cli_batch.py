"""``pse-kd enhance`` of several recordings: which they are, and going on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import soundfile
from cli_fixture import Capture, error_of, me, pse_kd, start, write
from weights_fixture import weights

from espnet_pse_kd import Profile
from espnet_pse_kd.cli import worker
from espnet_pse_kd.cli.batch import plan
from espnet_pse_kd.errors import UserError

__all__ = ["me", "weights"]  # fixtures


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
    scan, opened = os.scandir, worker.open_sound

    def refusing(path: str = ".") -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    def failing(path: Path) -> object:
        if path.name == "z.wav":
            raise OSError(5, "Input/output error", str(path))
        return opened(path)

    monkeypatch.setattr(os, "scandir", refusing)
    monkeypatch.setattr(worker, "open_sound", failing)
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
    process = start(*run, "--report", "-o", tmp_path / "out")
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

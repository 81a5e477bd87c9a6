"""Files are whole or not there; links, devices and other runs' results stay."""

from __future__ import annotations

import multiprocessing
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from espnet_pse_kd import files
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import (
    ResultExists,
    atomic_open,
    read_limited,
    sweep,
    temporary_path,
)


def write(path: Path, text: str, **options: bool) -> None:
    with atomic_open(path, **options) as file:
        file.write(text)


def test_links_stay_and_their_targets_are_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "real" / "a", tmp_path / "link"
    target.parent.mkdir()
    link.symlink_to("real/a")
    for text in ("made through a link to nothing", "replaced"):
        write(link, text)
        assert link.is_symlink() and target.read_text() == text
    assert [path.name for path in target.parent.iterdir()] == ["a"]


@pytest.mark.parametrize("path", ["/dev/null", "/dev/stdout", "fifo", "."])
def test_what_is_no_file_is_refused(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    before = os.lstat(path)
    # Standard output is a file where a test runner catches it.
    if path != "/dev/stdout" or not stat.S_ISREG(os.stat(path).st_mode):
        with pytest.raises(UserError, match="a folder; name|a device or pipe"):
            write(Path(path), "x")
    assert os.lstat(path).st_ino == before.st_ino
    assert os.listdir() == ["fifo"]


@pytest.mark.parametrize("links", [True, False])
def test_a_result_of_another_run_is_kept(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the file system has no hard links."""
    if not links:

        def link(*paths: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", link)
    write(tmp_path / "a", "first", replace=False)
    with (
        pytest.raises(ResultExists),
        atomic_open(tmp_path / "b", replace=False) as f,
    ):
        f.write("second")
        (tmp_path / "b").write_text("first")
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 2


def _race(path: Path, start: float, number: int) -> None:
    time.sleep(max(0.0, start - time.time()))
    try:
        write(path, str(number), replace=False)
    except ResultExists:
        sys.exit(1)


def test_of_several_runs_one_wins(tmp_path: Path) -> None:
    start = time.time() + 0.5
    runs = [
        multiprocessing.get_context("fork").Process(
            target=_race, args=(tmp_path / "a", start, number)
        )
        for number in range(4)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    winners = [str(n) for n, run in enumerate(runs) if run.exitcode == 0]
    assert winners == [(tmp_path / "a").read_text()]


@pytest.mark.parametrize("letter", ["n", "ä", "語"])
def test_names_of_255_bytes(letter: str, tmp_path: Path) -> None:
    name = (letter * 255).encode()[: 255 - 4].decode(errors="ignore") + ".wav"
    write(tmp_path / name, "x")
    assert (tmp_path / name).read_text() == "x"
    others = [tmp_path / f"{letter * 70}{number}{'x' * 40}" for number in range(2)]
    assert len({temporary_path(path) for path in others}) == 2
    assert len(list(tmp_path.iterdir())) == 1


def test_long_names_that_begin_alike_have_their_own_temporaries(tmp_path: Path) -> None:
    names = {temporary_path(tmp_path / f"{'n' * 250}{number}") for number in range(9)}
    assert len(names) == 9 and all(len(os.fsencode(p.name)) <= 255 for p in names)


def test_leftovers_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of runs that were killed, and nothing else."""
    code = (
        "import sys, time\nfrom espnet_pse_kd.files import atomic_open\n"
        "with atomic_open(sys.argv[1]) as file:\n"
        "    file.write('x'); file.flush(); print('ready', flush=True); time.sleep(99)"
    )

    def start(name: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", code, str(tmp_path / name)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        return process

    killed, running = start("killed"), start("running")
    try:
        killed.kill()
        killed.wait()
        for name in (".hidden", "a.1.pse_kd.tmp", ".b.1.tmp", ".c.x.pse_kd.tmp"):
            (tmp_path / name).write_text("the user's")
        (tmp_path / ".d.1.pse_kd.tmp").symlink_to(".hidden")
        sweep(tmp_path)
        assert len(list(tmp_path.iterdir())) == 7  # too young to be told apart
        monkeypatch.setattr(files, "_YOUNGEST", -1.0)
        sweep(tmp_path)
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {
            ".hidden",
            "a.1.pse_kd.tmp",
            ".b.1.tmp",
            ".c.x.pse_kd.tmp",
            ".d.1.pse_kd.tmp",
        } | {f".running.{running.pid}.pse_kd.tmp"}
    finally:
        running.kill()
        running.wait()
    sweep(tmp_path / "nowhere")


def test_files_that_are_too_large_or_none(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 10)
    assert read_limited(path, 10, "remedy") == b"x" * 10
    with pytest.raises(UserError, match="a: more than 9e-06 MB; remedy"):
        read_limited(path, 9, "remedy")
    os.mkfifo(tmp_path / "fifo")
    for special in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(UserError, match="a pipe or device, not a file; remedy"):
            read_limited(special, 10, "remedy")

"""Whose requests the page of ``pse-kd serve`` answers, and what it leaves behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from espnet_pse_kd.cli import page_folder as folders
from espnet_pse_kd.cli.page_folder import page_folder, sweep_folders
from espnet_pse_kd.cli.page_guard import Guard

OWN = (b"host", b"127.0.0.1:7860")


async def _page(scope: Any, receive: Any, send: Any) -> None:
    cross = [(b"access-control-allow-origin", b"*"), (b"x-frame-options", b"ALLOW")]
    await send({"type": "http.response.start", "status": 200, "headers": cross})
    await send({"type": "http.response.body", "body": b"page"})


def ask(
    folder: Path, *headers: tuple[bytes, bytes], method: str = "GET", kind: str = "http"
) -> dict[str, Any]:
    """The first message of an answer."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    guard = Guard(_page, 7860, folder, largest=1000)
    scope = {"type": kind, "method": method, "headers": headers}
    asyncio.run(guard(scope, receive, send))  # type: ignore[arg-type]
    return sent[0]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([OWN], 200),
        ([(b"Host", b"LOCALHOST:7860")], 200),
        ([OWN, (b"origin", b"http://127.0.0.1:7860")], 200),
        ([], 403),
        ([OWN, OWN], 403),
        ([(b"host", b"evil.example:7860")], 403),
        ([(b"host", b"127.0.0.1")], 403),
        ([(b"host", b"127.0.0.1:7861")], 403),
        ([(b"host", b"127.0.0.1:7860.evil.example")], 403),
        ([OWN, (b"origin", b"null")], 403),
        ([OWN, (b"origin", b"https://127.0.0.1:7860")], 403),
        ([OWN, (b"origin", b"http://127.0.0.1:7861")], 403),
        ([OWN, (b"Origin", b"http://evil.example")], 403),
    ],
)
def test_hosts_and_origins(
    headers: list[tuple[bytes, bytes]], status: int, tmp_path: Path
) -> None:
    answer = ask(tmp_path, *headers)
    assert answer["status"] == status
    found = [pair for pair in answer["headers"] if pair[0] == b"x-frame-options"]
    assert found == [(b"x-frame-options", b"DENY")]
    names = {name for name, _ in answer["headers"]}
    assert b"content-security-policy" in names
    assert b"access-control-allow-origin" not in names


def test_other_methods_and_sockets(tmp_path: Path) -> None:
    assert ask(tmp_path, OWN, method="OPTIONS")["status"] == 405
    assert ask(tmp_path, OWN, kind="websocket")["type"] == "websocket.close"


@pytest.mark.parametrize(
    ("length", "there", "status"),
    [(b"900", 0, 200), (b"1001", 0, 413), (b"900", 200, 413), (b"1", 2000, 413)]
    + [(b"", 0, 411), (b"-1", 0, 411), (b"x", 0, 411), (b"9" * 99, 0, 411)],
)
def test_all_uploads_together_are_limited(
    length: bytes, there: int, status: int, tmp_path: Path
) -> None:
    (tmp_path / "sound").write_bytes(bytes(there))
    answer = ask(tmp_path, OWN, (b"content-length", length), method="POST")
    assert answer["status"] == status
    assert ask(tmp_path, OWN, method="POST")["status"] == 411


def test_folders_of_killed_servers_are_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders.tempfile, "tempdir", str(tmp_path))
    code = (
        "import tempfile, sys, time; tempfile.tempdir = sys.argv[1]\n"
        "from espnet_pse_kd.cli.page_folder import page_folder\n"
        "with page_folder() as folder:\n"
        "    (folder / 'voice').write_text('x'); print(folder, flush=True)\n"
        "    time.sleep(99)"
    )

    def start() -> tuple[subprocess.Popen[str], Path]:
        words = [sys.executable, "-c", code, str(tmp_path)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    (killed, left), (running, used) = start(), start()
    try:
        killed.kill()
        killed.wait()
        (tmp_path / "pse-kd-page-link").symlink_to(tmp_path / "mine")
        (tmp_path / "mine").mkdir()
        sweep_folders(tmp_path)
        assert left.exists()  # too young to be told apart
        monkeypatch.setattr(folders, "_YOUNGEST", -1.0)
        with page_folder() as own:
            assert not left.exists() and (used / "voice").exists() and own.is_dir()
            assert own.stat().st_mode & 0o77 == 0
        assert not own.exists()
        assert (tmp_path / "mine").exists() and (tmp_path / "pse-kd-page-link").exists()
    finally:
        running.kill()
        running.wait()

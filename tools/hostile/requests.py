"""Requests to the page before Gradio sees them: hosts, origins, methods, lengths."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

from espnet_pse_kd.cli.page_guard import Guard
from tools.hostile.ground import Case, Ground

PORT = 7860
OWN_HOSTS = (b"127.0.0.1:7860", b"localhost:7860", b"LocalHost:7860")
HOSTS: tuple[bytes, ...] = (b"", b"evil.example", b"evil.example:7860", b"127.0.0.1")
HOSTS += (b"127.0.0.1:80", b"127.0.0.1:7860@evil.example", b"[::1]:7860", b"0:7860")
HOSTS += (b"127.0.0.1:7860 ", b"127.0.0.1:7860\0", b"localhost:7860.evil.example")
HOSTS += (b"0.0.0.0:7860", b"127.1:7860", b"2130706433:7860", b"\xff", b"x" * 9999)
ORIGINS: tuple[bytes, ...] = (b"", b"null", b"http://evil.example", b"file://", b"*")
ORIGINS += (b"https://127.0.0.1:7860", b"http://127.0.0.1", b"http://127.0.0.1:7861")
ORIGINS += (b"http://127.0.0.1:7860.evil.example", b"http://127.0.0.1:7860/", b"\xff")
ORIGINS += (b"http://localhost:7860@evil.example", b"http://[::1]:7860", b"x" * 9999)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "x")
LENGTHS: tuple[bytes, ...] = (b"", b"-1", b"x", b"1e3", b"9" * 99, b"0x10", b"+5")
LENGTHS += (b"2000000001", b"1,1", b"\xb2")
_ANSWERED = ("GET", "HEAD")


def cases() -> Iterator[Case]:
    """All of this module."""
    for host, method in itertools.product(HOSTS, METHODS):
        yield _case(f"{method} to {host!r:.40}", method, [(b"host", host)])
    for origin, method in itertools.product(ORIGINS, METHODS):
        headers = [(b"host", OWN_HOSTS[0]), (b"origin", origin)]
        yield _case(f"{method} from {origin!r:.40}", method, headers)
    for length in LENGTHS:
        headers = [(b"host", OWN_HOSTS[0]), (b"content-length", length)]
        yield _case(f"a length of {length!r:.40}", "POST", headers)
    for host, method in itertools.product(OWN_HOSTS, METHODS):
        answered = method in _ANSWERED
        yield _case(f"own {method} {host!r}", method, [(b"host", host)], answered)
        twice = [(b"host", host), (b"host", b"evil.example")]
        yield _case(f"two hosts, {method} {host!r}", method, twice)


def _case(
    name: str, method: str, headers: list[tuple[bytes, bytes]], answered: bool = False
) -> Case:
    def run(ground: Ground) -> None:
        for kind in ("http", "websocket"):
            scope = {"type": kind, "method": method, "headers": headers}
            reached = asyncio.run(_ask(ground, scope))
            assert reached == (answered and kind == "http"), f"{kind}: {reached}"

    return Case("request", name, run)


async def _ask(ground: Ground, scope: dict[str, Any]) -> bool:
    """Whether a request comes through."""
    reached = False

    async def page(scope: Any, receive: Any, send: Any) -> None:
        nonlocal reached
        reached = True

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            assert dict(message["headers"])[b"x-frame-options"] == b"DENY"

    await Guard(page, PORT, ground.folder)(scope, receive, send)
    return reached

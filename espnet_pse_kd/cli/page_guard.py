"""What stands before the page of ``pse-kd serve``: whose requests are answered.

A page of another site runs in the same browser, and can send requests to this machine.
The browser says which host was asked for and which page asks. Others are refused, so
that neither a foreign page nor a name that was made to point here (DNS rebinding) can
use the enhancer or fill the disk. No ``Access-Control-Allow-Origin`` is ever sent.
"""

from __future__ import annotations

import stat
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

LARGEST_TOTAL = 2_000_000_000
"""Bytes of everything that was uploaded and made, as long as it is kept."""
_NAMES = ("127.0.0.1", "localhost")
_HEADERS = {
    b"x-frame-options": b"DENY",
    b"content-security-policy": b"frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}
"""Of every answer: nobody may frame the page, or load parts of it into another."""


class Guard:
    """ASGI middleware that answers the page of this machine only.

    Args:
        app: what answers.
        port: of the server.
        folder: of all uploads and results.
        largest: bytes that it may hold.
    """

    def __init__(
        self, app: Application, port: int, folder: Path, largest: int = LARGEST_TOTAL
    ) -> None:
        self._app, self._folder, self._largest = app, folder, largest
        self._hosts = {f"{name}:{port}".encode() for name in _NAMES}
        if port == 80:  # which browsers leave out
            self._hosts |= {name.encode() for name in _NAMES}
        self._origins = {b"http://" + host for host in self._hosts}
        self._arriving = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = list(scope.get("headers", []))
        if scope["type"] != "http" or not self._is_own(headers):
            await _refuse(scope, send, 403, "only the page of this machine is served")
            return
        if scope["method"] not in ("GET", "HEAD", "POST"):
            await _refuse(scope, send, 405, "GET, HEAD and POST are served")
            return
        if scope["method"] != "POST":
            await self._app(scope, receive, _with_headers(send))
            return
        await self._take(scope, receive, send, _values(headers, b"content-length"))

    def _is_own(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        hosts = _values(headers, b"host")
        origins = _values(headers, b"origin")
        one_host = len(hosts) == 1 and hosts[0].lower() in self._hosts
        return one_host and all(one.lower() in self._origins for one in origins)

    async def _take(
        self, scope: Message, receive: Receive, send: Send, lengths: list[bytes]
    ) -> None:
        """Let a body in that the folder has room for; its server holds its length."""
        if len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > 15:
            await _refuse(scope, send, 411, "say how long it is")
            return
        length = int(lengths[0])
        # A request writes to the folder as it comes, so that those count twice.
        if self._arriving + length + _size(self._folder) > self._largest:
            await _refuse(scope, send, 413, "the page holds too much; restart it")
            return
        self._arriving += length
        try:
            await self._app(scope, receive, _with_headers(send))
        finally:
            self._arriving -= length


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for key, value in headers if key.lower() == name]


def _size(folder: Path) -> int:
    """Bytes of all files below a folder; what is removed meanwhile does not count."""
    size = 0
    for path in folder.rglob("*"):
        try:
            status = path.lstat()
        except OSError:
            continue
        size += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return size


def _with_headers(send: Send) -> Send:
    """Send that adds `_HEADERS`, in place of what the answer says itself."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [pair for pair in message.get("headers", []) if _is_other(pair)]
            message = {**message, "headers": [*own, *_HEADERS.items()]}
        await send(message)

    return sending


def _is_other(pair: tuple[bytes, bytes]) -> bool:
    name = pair[0].lower()
    return name not in _HEADERS and not name.startswith(b"access-control-")


async def _refuse(scope: Message, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = f"{why}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    headers.append((b"content-length", str(len(body)).encode()))
    sending = _with_headers(send)
    await sending({"type": "http.response.start", "status": status, "headers": headers})
    await sending({"type": "http.response.body", "body": body})

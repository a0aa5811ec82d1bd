"""What every answer says to the browser, and which requests are not listened to."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from yolo9000.serving.refusals import Refusal, WrongHost

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}
"""No script but our files, no other host, no frame around the page, and no header that lets foreign pages read."""
_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


def hosts_of(host: str) -> frozenset[str] | None:
    """The names by which a server at an address may be called.

    A foreign page can point its own name at this machine and then send requests as if it were ours. So a server that
    listens to this machine alone answers to this machine's names alone.

    Parameters
    ----------
    host : str
        The address that is listened at.

    Returns
    -------
    frozenset of str or None
        None for any name, where other machines are to reach the server: what they call it cannot be known.

    Examples
    --------
    >>> sorted(hosts_of("127.0.0.1")), hosts_of("0.0.0.0")
    (['127.0.0.1', '::1', 'localhost'], None)
    """
    host = host.lower()
    try:
        is_local = host in LOCAL or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = False
    return LOCAL | {host} if is_local else None


class Guard:
    """Around the whole app: refuses foreign names, and adds `HEADERS` to every answer.

    Parameters
    ----------
    app : ASGI app
    hosts : frozenset of str or None
        See `hosts_of`.
    """

    def __init__(self, app: App, hosts: frozenset[str] | None) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            await send({"type": "websocket.close", "code": 1000})
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(each for each in _HEADERS if each[0] not in known)]
            await send(message)

        if self.hosts is not None and _host_of(scope) not in self.hosts:
            await send_refusal(
                send_with_headers, WrongHost("this server answers to the names of this machine alone"), {}
            )
            return
        await self.app(scope, receive, send_with_headers)


async def send_refusal(send: Send, refusal: Refusal, headers: Mapping[str, str]) -> None:
    """Answer a request with a refusal, outside of the app that names errors otherwise.

    Parameters
    ----------
    send : callable
        Where ASGI's messages go.
    refusal : Refusal
    headers : mapping of str to str
        Further headers.
    """
    body = json.dumps({"error": {"name": refusal.name, "message": str(refusal), "candidates": []}}).encode()
    lines = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    raw = [(name.encode(), value.encode()) for name, value in lines.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _host_of(scope: Scope) -> str:
    """The name that a request calls us by, without the port: ``[::1]:8000`` is ``::1``."""
    text = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].lower()

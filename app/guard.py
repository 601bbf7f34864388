"""The dashboard serves browsers of this machine only. They must use its own name, and the token if
there is one.

A page from elsewhere may use a name of its own that points here (DNS rebinding), or show our page
in a frame.
"""

from __future__ import annotations

import hmac
import os
import re
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harness.commands.dashboard import TOKEN

HOSTS = re.compile(r"localhost(:[0-9]{1,5})?", re.IGNORECASE | re.ASCII)  # as Streamlit has it for WebSockets
PARAMETER = "token"  # of the address; moved into a cookie, so that it stays in no history
HEADERS = {
    "x-frame-options": "DENY",
    "content-security-policy": "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Guard:
    """Refuses requests to another host name or without the token. No response may be shown in a
    frame.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.token = os.environ.pop(TOKEN, "")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif not is_ours(header(scope, "host")):
            await _refuse(
                scope,
                receive,
                send,
                421,
                f"This dashboard answers to localhost only: open http://localhost:{_port(scope)}",
            )
        elif scope["type"] == "websocket" and not is_own_page(scope):
            await _refuse(scope, receive, send, 403, "This dashboard answers to its own pages only.")
        elif self._may_enter(scope):
            await self.app(scope, receive, _framed_nowhere(send))
        elif scope["type"] == "http" and self._is_token(
            dict(parse_qsl(scope["query_string"].decode("latin-1"))).get(PARAMETER, "")
        ):
            await self._let_in(scope, receive, send)
        else:
            await _refuse(scope, receive, send, 401, "Open the address with the token that the command printed.")

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self.token.encode())

    def _may_enter(self, scope: Scope) -> bool:
        return not self.token or self._is_token(cookie(scope, self._cookie(scope)))

    def _cookie(self, scope: Scope) -> str:
        """Cookies of one host are shared by its ports."""
        return f"robustness-{_port(scope)}"

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same address without the token, which the browser keeps as a cookie."""
        left = [
            pair
            for pair in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            if pair[0] != PARAMETER
        ]
        path = f"/{scope['path'].lstrip('/')}"  # two slashes would lead to another host
        answer = RedirectResponse(f"{path}?{urlencode(left)}" if left else path, 303)
        answer.set_cookie(self._cookie(scope), self.token, httponly=True, samesite="strict")
        await answer(scope, receive, _framed_nowhere(send))


def is_ours(host: str) -> bool:
    """Whether a Host header, with or without its port, has the name that the dashboard uses."""
    return HOSTS.fullmatch(host) is not None


def is_own_page(scope: Scope) -> bool:
    """Whether a WebSocket is opened by a page of this host and port, or by no page: then there is
    no Origin header.
    """
    own = f"http://{header(scope, 'host')}".lower()
    return all(value.decode("latin-1").lower() == own for key, value in scope["headers"] if key == b"origin")


def _port(scope: Scope) -> int:
    return scope["server"][1] if scope.get("server") else 0


def header(scope: Scope, name: str) -> str:
    """A header of a request; empty if it is absent or appears twice."""
    found = [value.decode("latin-1") for key, value in scope["headers"] if key == name.encode()]
    return found[0] if len(found) == 1 else ""


def cookie(scope: Scope, name: str) -> str:
    """A cookie of a request; empty where it has none."""
    try:
        held = SimpleCookie(header(scope, "cookie"))
    except CookieError:
        return ""
    return held[name].value if name in held else ""


def _framed_nowhere(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [pair for pair in message.get("headers", ()) if pair[0].decode("latin-1").lower() not in HEADERS]
            message = {
                **message,
                "headers": [*kept, *((name.encode(), value.encode()) for name, value in HEADERS.items())],
            }
        await send(message)

    return sent


async def _refuse(scope: Scope, receive: Receive, send: Send, code: int, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": why})
        return
    await PlainTextResponse(f"{why}\n", code)(scope, receive, _framed_nowhere(send))

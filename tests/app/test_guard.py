"""The dashboard serves this machine by its own names, never in a frame, and with a token only
browsers that have it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import MutableMapping, Sequence
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.guard import HEADERS, TOKEN, Guard
from harness.commands import dashboard

PORT = 8501
COOKIE = f"robustness-{PORT}"
OURS = ["localhost", "localhost:8501", "LOCALHOST", "localhost:1"]
OTHERS = [
    "127.0.0.1",
    "127.0.0.1:8501",
    "[::1]",
    "[::1]:8501",
    "",
    "evil.com",
    "evil.com:8501",
    "localhost.evil.com",
    "evil.com:localhost",
    "localhost@evil.com",
    "evil.com@localhost",
    "localhost:8501@evil.com",
    "evil.com#localhost",
    "evil.com?localhost",
    "evil.com/localhost",
    "localhost#evil.com",
    "localhost?evil.com",
    "localhost/evil.com",
    "localhost\\evil.com",
    "localhost.",
    ".localhost",
    "127.0.0.2",
    "127.0.0.1.nip.io",
    "0.0.0.0",
    "192.168.0.2",
    "[::]",
    "[::ffff:7f00:1]",
    "::1",
    "[::1",
    "[::1]evil.com",
    "[::1]:1.evil.com",
    "localhost,evil.com",
    "localhost evil.com",
    "localhost:",
    "localhost:1:2",
    "localhost:x",
    "127.1",
    "2130706433",
    "local\u0127ost",
    "\x00localhost",
    "localhost\n",
    " localhost",
]


async def served(scope: Scope, receive: Receive, send: Send) -> None:
    """The guarded application, with headers that would allow frames."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"X-Frame-Options", b"ALLOWALL"), (b"content-type", b"text/plain")],
        }
    )
    await send({"type": "http.response.body", "body": b"secret"})


def asked(
    guard: Guard,
    kind: str,
    *hosts: str,
    path: str = "/",
    query: str = "",
    cookie: str = "",
    origins: Sequence[str] = (),
) -> list[MutableMapping[str, Any]]:
    """The messages of the answer to one request."""
    headers = [(b"host", host.encode("latin-1", "replace")) for host in hosts] + [(b"cookie", cookie.encode())] * bool(
        cookie
    )
    headers += [(b"origin", origin.encode("latin-1", "replace")) for origin in origins]
    scope = {
        "type": kind,
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": headers,
        "scheme": "http",
        "server": ("localhost", PORT),
        "root_path": "",
        "http_version": "1.1",
    }
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    return sent


def outcome(sent: list[MutableMapping[str, Any]]) -> Any:
    return sent[0].get("status", sent[0]["type"])


def headers(sent: list[MutableMapping[str, Any]]) -> dict[str, str]:
    return {key.decode().lower(): value.decode() for key, value in sent[0]["headers"]}


@pytest.fixture
def open_to_all(monkeypatch: pytest.MonkeyPatch) -> Guard:
    monkeypatch.delenv(TOKEN, raising=False)
    return Guard(served)


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Guard:
    monkeypatch.setenv(TOKEN, "s3cret")
    return Guard(served)


@pytest.mark.parametrize("host", OURS)
def test_its_own_names_are_served(open_to_all: Guard, host: str) -> None:
    assert outcome(asked(open_to_all, "http", host)) == 200
    assert outcome(asked(open_to_all, "websocket", host)) == "websocket.accept"


@pytest.mark.parametrize(
    "hosts", [(), ("localhost", "localhost"), ("localhost", "evil.com"), *((each,) for each in OTHERS)]
)
def test_other_names_are_refused(open_to_all: Guard, hosts: tuple[str, ...]) -> None:
    sent = asked(open_to_all, "http", *hosts)
    assert outcome(sent) == 421 and all(b"secret" not in each.get("body", b"") for each in sent)
    assert outcome(asked(open_to_all, "websocket", *hosts)) == "websocket.close"


def test_nothing_stands_in_a_frame(open_to_all: Guard, guarded: Guard) -> None:
    for sent in (
        asked(open_to_all, "http", "localhost"),
        asked(open_to_all, "http", "evil.com"),
        asked(guarded, "http", "localhost"),
        asked(guarded, "http", "localhost", query="token=s3cret"),
    ):
        assert {key: headers(sent)[key] for key in HEADERS} == HEADERS
        assert len([key for key, _ in sent[0]["headers"] if key.lower() == b"x-frame-options"]) == 1


@pytest.mark.parametrize(
    "query",
    ["", "token=", "token=wrong", "token=s3cre", "token=s3cret2", "Token=s3cret", "token=%00", "token=é", "s3cret"],
)
@pytest.mark.parametrize(
    "cookie", ["", f"{COOKIE}=", f"{COOKIE}=wrong", "robustness-1=s3cret", "s3cret", "=;=", f"{COOKIE}=\x7f"]
)
def test_without_the_token_nothing_is_served(guarded: Guard, query: str, cookie: str) -> None:
    for kind, refused in (("http", 401), ("websocket", "websocket.close")):
        assert outcome(asked(guarded, kind, "localhost", query=query, cookie=cookie)) == refused


def test_the_token_moves_from_the_address_into_a_cookie(guarded: Guard) -> None:
    sent = asked(guarded, "http", "localhost:8501", path="/samples", query="run=a%20b&token=s3cret")
    told = headers(sent)
    assert outcome(sent) == 303 and told["location"] == "/samples?run=a+b" and "s3cret" not in told["location"]
    assert (
        told["set-cookie"].startswith(f"{COOKIE}=s3cret;")
        and "HttpOnly" in told["set-cookie"]
        and "samesite=strict" in told["set-cookie"].lower()
    )
    for kind, fine in (("http", 200), ("websocket", "websocket.accept")):
        assert outcome(asked(guarded, kind, "localhost", cookie=f"other=1; {COOKIE}=s3cret")) == fine
    assert outcome(asked(guarded, "websocket", "localhost", query="token=s3cret")) == "websocket.close", (
        "a page of elsewhere may know an old address"
    )
    assert outcome(asked(guarded, "http", "evil.com", query="token=s3cret", cookie=f"{COOKIE}=s3cret")) == 421


@pytest.mark.parametrize("path", ["//evil", "///evil.com/x", "/\\evil", "\\\\evil", "//evil\r\nx: y", "/http://evil"])
def test_the_way_in_leads_to_no_other_host(guarded: Guard, path: str) -> None:
    location = headers(asked(guarded, "http", "localhost", path=path, query="token=s3cret"))["location"]
    assert (
        location.startswith("/") and location[1:2] not in ("/", "\\") and "\r" not in location and "\n" not in location
    )


def test_the_token_is_taken_out_of_the_environment(guarded: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    assert TOKEN not in os.environ and dashboard.TOKEN == TOKEN


OWN_PAGES = [[], ["http://localhost:8501"], ["HTTP://LOCALHOST:8501"]]
OTHER_PAGES = [
    ["null"],
    [""],
    ["http://evil.com"],
    ["http://localhost:9999"],
    ["http://localhost"],
    ["https://localhost:8501"],
    ["http://localhost.evil.com:8501"],
    ["http://127.0.0.1:8501"],
    ["http://localhost:8501", "http://evil.com"],
    ["http://localhost:8501/"],
]


@pytest.mark.parametrize("origins", OWN_PAGES)
def test_web_sockets_are_for_its_own_pages(open_to_all: Guard, origins: list[str]) -> None:
    assert outcome(asked(open_to_all, "websocket", "localhost:8501", origins=origins)) == "websocket.accept"


@pytest.mark.parametrize("origins", OTHER_PAGES)
def test_web_sockets_are_refused_to_other_pages(open_to_all: Guard, origins: list[str]) -> None:
    assert outcome(asked(open_to_all, "websocket", "localhost:8501", origins=origins)) == "websocket.close"


@pytest.mark.parametrize("host", ["127.0.0.1:8501", "[::1]:8501"])
def test_another_name_of_this_machine_gets_the_right_address(open_to_all: Guard, host: str) -> None:
    answer = asked(open_to_all, "http", host)
    assert outcome(answer) == 421 and b"open http://localhost:8501" in answer[1]["body"]
    assert outcome(asked(open_to_all, "websocket", host, origins=[f"http://{host}"])) == "websocket.close"

"""Who knocks with wrong secrets: always 401, soon in silence, and nobody else pays for it."""

import ast
import asyncio
import gzip
import inspect
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp.test_utils import RawTestServer
from structlog.testing import capture_logs

from tests.support import House, house
from wamsg2.arrivals import Arrivals
from wamsg2.clock import SystemClock
from wamsg2.wassenger import signature
from wamsg2.web import admin, strikes
from wamsg2.web.listener import listen
from wamsg2.web.webhook import BODY_LIMIT_BYTES, Secrets, WebhookListener

PATH = "/webhooks/wassenger"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


@pytest.fixture
async def listener(home: House) -> WebhookListener:
    return WebhookListener(
        path=PATH, inbox=home.inbox, secrets=Secrets(["right"]), clock=home.clock, arrivals=Arrivals(home.clock)
    )


@pytest.fixture
async def server(listener: WebhookListener) -> AsyncIterator[RawTestServer]:
    made = RawTestServer(listener.answer)
    async with made:
        yield made


class Caller:
    """Somebody at an address of their own."""

    def __init__(self, server: RawTestServer, address: str = "127.0.0.1") -> None:
        self._server = server
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(address, 0)))

    async def post(self, secret: str) -> int:
        url = self._server.make_url(PATH)
        async with self._session.post(url, params={"secret": secret}, data=b'{"event": "x"}') as response:
            return response.status

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()


async def test_ten_lines_a_minute_and_always_401(
    home: House, listener: WebhookListener, server: RawTestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Caller(server) as stranger:
        with capture_logs() as lines:
            assert [await stranger.post(f"wrong-{n}") for n in range(30)] == [401] * 30
        said = [line["event"] for line in lines]
        assert said == ["webhook.refused"] * (strikes.MOST_A_MINUTE - 1) + ["webhook.strangers"]
        assert lines[-1]["source"] == "127.0.0.1"
        assert "wrong-" not in str(lines)
        assert listener.refused == 30
        assert await home.rows("SELECT count(*) FROM events") == [(0,)]

        monkeypatch.setattr(strikes, "_MINUTE_SECONDS", 0.0)  # a minute later
        with capture_logs() as lines:
            assert await stranger.post("wrong") == 401
        assert [line["event"] for line in lines] == ["webhook.refused"]


async def test_the_right_secret_is_let_in_from_there_all_the_same(home: House, server: RawTestServer) -> None:
    """Behind a proxy, Wassenger and every stranger come from one address."""
    async with Caller(server) as proxy:
        for _ in range(20):
            await proxy.post("wrong")
        assert await proxy.post("right") == 200
        assert await proxy.post("wrong") == 401
    assert await home.rows("SELECT count(*) FROM events") == [(1,)]


async def test_silence_is_for_one_source_only(server: RawTestServer) -> None:
    async with Caller(server) as loud, Caller(server, "127.0.0.2") as other:
        for _ in range(20):
            await loud.post("wrong")
        with capture_logs() as lines:
            await loud.post("wrong")
            await other.post("wrong")
    assert [line["event"] for line in lines] == ["webhook.refused"]


async def test_no_secret_at_all_is_a_strike_too(server: RawTestServer) -> None:
    async with aiohttp.ClientSession() as session:
        with capture_logs() as lines:
            for _ in range(12):
                async with session.post(server.make_url(PATH)) as response:
                    assert response.status == 401
    assert len(lines) == strikes.MOST_A_MINUTE


@asynccontextmanager
async def _connected(listener: WebhookListener) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a port that was opened as the daemon opens it."""
    async with AsyncExitStack() as stack:
        address = urlsplit(
            await listen(stack, listener.answer, "127.0.0.1", 0, clock=SystemClock(), most_connections=9)
        )
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        stack.callback(writer.close)
        yield reader, writer


def _head(length: int, *more: str, query: str = "secret=right") -> bytes:
    lines = (f"POST {PATH}?{query} HTTP/1.1", "Host: x", f"Content-Length: {length}", *more, "", "")
    return "\r\n".join(lines).encode()


async def test_a_compressed_body_is_unpacked_within_the_limit(home: House, listener: WebhookListener) -> None:
    """Zeros, packed to a thousandth of their length, cost neither memory nor time; without a secret, nothing."""
    packed = gzip.compress(bytes(100 * BODY_LIMIT_BYTES), 1)
    for query, answer in (("secret=right", b"HTTP/1.1 413"), ("secret=wrong", b"HTTP/1.1 401")):
        async with _connected(listener) as (reader, writer):
            writer.write(_head(len(packed), "Content-Encoding: gzip", query=query) + packed)
            assert (await reader.read()).startswith(answer)
    assert await home.rows("SELECT count(*) FROM events") == [(0,)]


async def test_who_asks_before_a_body_is_told_to_go_on(listener: WebhookListener) -> None:
    """As curl does with a long one."""
    body = b'{"event": "x"}'
    async with _connected(listener) as (reader, writer):
        writer.write(_head(len(body), "Expect: 100-continue"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Content-Length: 21\r\n" in answer
        assert await reader.readexactly(21) == b'{"status": "ignored"}'


async def test_who_leaves_in_the_middle_of_a_body_leaves_no_traceback(listener: WebhookListener) -> None:
    with capture_logs() as lines:
        async with _connected(listener) as (_, writer):
            writer.write(_head(1000) + b"{")
            await writer.drain()
            await asyncio.sleep(0.1)
            writer.transport.abort()
            await asyncio.sleep(0.1)
    assert [line["event"] for line in lines] == ["webhook.refused"]


@pytest.mark.parametrize(
    "function",
    [signature.secret_matches, signature.signature_matches, admin.AdminListener._guard],
)
def test_what_strangers_give_is_compared_in_constant_time(function: Callable[..., Any]) -> None:
    """`==` and `in` answer the sooner the earlier the first wrong byte stands, and a clock can hear that."""
    source = ast.parse(textwrap.dedent(inspect.getsource(function)))
    called = [ast.unparse(node.func) for node in ast.walk(source) if isinstance(node, ast.Call)]
    assert "hmac.compare_digest" in called
    compared = [node for node in ast.walk(source) if isinstance(node, ast.Compare)]
    assert not [ast.unparse(c) for c in compared if {"given", "raw", "secret", "token"} & _names(c)]


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


async def test_refusals_are_told_until_one_is_accepted(home: House) -> None:
    arrivals = Arrivals(home.clock)
    secrets = Secrets(["right"], ["key"], require_signature=True)
    made = WebhookListener(path=PATH, inbox=home.inbox, secrets=secrets, clock=home.clock, arrivals=arrivals)
    server = RawTestServer(made.answer)
    async with server, Caller(server) as caller:
        assert [await caller.post("wrong"), await caller.post("right"), arrivals.refused] == [401, 401, None]
        assert await caller.post("wrong") == 401
        assert arrivals.refused
        assert not arrivals.refused.ok
    made = WebhookListener(
        path=PATH, inbox=home.inbox, secrets=Secrets(["right"]), clock=home.clock, arrivals=arrivals
    )
    server = RawTestServer(made.answer)
    async with server, Caller(server) as caller:
        assert await caller.post("right") == 200
        assert arrivals.refused.ok
        assert [await caller.post("wrong"), await caller.post("wrong"), arrivals.refused.ok] == [401, 401, True]

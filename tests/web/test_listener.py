"""Who may be connected, and for how long they may do nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from structlog.testing import capture_logs

from tests.support import ManualClock
from wamsg2.clock import SystemClock
from wamsg2.web.listener import HEADERS_SECONDS, KEEP_ALIVE_SECONDS, Door, ListenError, listen

REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n"


class Wire(asyncio.Transport):
    """A connection that notes its end."""

    def __init__(self) -> None:
        super().__init__()
        self.is_cut = False

    def abort(self) -> None:
        self.is_cut = True


class Hall:
    """A door with a clock that a test moves."""

    def __init__(self, most: int) -> None:
        self.clock = ManualClock()
        self.door = Door(most, self.clock)

    def come(self) -> tuple[asyncio.Protocol, Wire]:
        protocol, wire = self.door.guard(asyncio.Protocol()), Wire()
        protocol.connection_made(wire)
        return protocol, wire

    def sweep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.door._show_out()

    async def ask(self, wire: Wire, meanwhile: Any = None) -> None:
        """A request on this connection, with something that happens while it is answered."""

        async def answer(_: web.Request) -> web.Response:
            if meanwhile:
                meanwhile()
            return web.Response()

        await self.door.middleware(make_mocked_request("GET", "/", transport=wire), answer)


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    made = Hall(3)
    yield made
    made.door.close()


async def test_who_never_ends_their_headers_is_shown_out(hall: Hall) -> None:
    protocol, wire = hall.come()
    for _ in range(int(HEADERS_SECONDS) - 1):
        protocol.data_received(b"X-More: y\r\n")
        hall.sweep(1)
    assert not wire.is_cut
    hall.sweep(1)
    assert wire.is_cut


async def test_a_kept_connection_may_wait_longer_but_not_with_half_a_request(hall: Hall) -> None:
    (_, quiet), (begun, half) = hall.come(), hall.come()
    await hall.ask(quiet)
    await hall.ask(half)
    begun.data_received(REQUEST)
    hall.sweep(HEADERS_SECONDS)
    assert (quiet.is_cut, half.is_cut) == (False, True)
    hall.sweep(KEEP_ALIVE_SECONDS - HEADERS_SECONDS)
    assert quiet.is_cut


async def test_who_is_being_answered_is_not_idle(hall: Hall) -> None:
    _, wire = hall.come()
    await hall.ask(wire, meanwhile=lambda: hall.sweep(1000))
    assert not wire.is_cut


async def test_a_newcomer_takes_the_place_of_who_waited_longest(hall: Hall) -> None:
    wires = []
    for _ in range(3):
        wires.append(hall.come()[1])
        hall.clock.advance(1)
    _, newcomer = hall.come()
    assert [w.is_cut for w in (*wires, newcomer)] == [True, False, False, False]


async def test_a_burst_does_not_eat_itself(hall: Hall) -> None:
    """Who has only just come has had no chance to ask yet: then it is the newcomer who must come again."""
    wires = [hall.come()[1] for _ in range(3)]
    _, newcomer = hall.come()
    assert [w.is_cut for w in (*wires, newcomer)] == [False, False, False, True]


async def test_a_full_house_of_busy_ones_takes_nobody(hall: Hall) -> None:
    async with AsyncExitStack() as stack:
        released = asyncio.Event()

        async def wait(_: web.Request) -> web.Response:
            await released.wait()
            return web.Response()

        tasks = [
            asyncio.create_task(hall.door.middleware(make_mocked_request("GET", "/", transport=hall.come()[1]), wait))
            for _ in range(3)
        ]
        stack.callback(released.set)
        await asyncio.sleep(0)
        hall.clock.advance(5)
        _, newcomer = hall.come()
        assert newcomer.is_cut
    await asyncio.gather(*tasks)


async def test_who_leaves_makes_room(hall: Hall) -> None:
    first, _ = hall.come()
    others = [hall.come()[1] for _ in range(2)]
    first.connection_lost(None)
    _, newcomer = hall.come()
    assert [w.is_cut for w in (*others, newcomer)] == [False, False, False]


# --- on a real port ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def served(most: int = 10) -> AsyncIterator[tuple[str, int]]:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    async with AsyncExitStack() as stack:
        address = urlsplit(await listen(stack, app, "127.0.0.1", 0, clock=SystemClock(), most_connections=most))
        assert address.hostname
        assert address.port
        yield address.hostname, address.port


async def test_requests_are_answered_on_one_connection() -> None:
    async with served() as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        for _ in range(3):
            writer.write(REQUEST + b"\r\n")
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /a",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\nHost : x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 10_000 + b"\r\n\r\n",
        b"GET /" + b"y" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_what_two_servers_could_read_differently_is_refused(head: bytes) -> None:
    """Request smuggling, and headers over their limit: 400, and the connection ends with whatever followed."""
    async with served() as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(head)
        answer = await reader.read()
        writer.close()
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    assert answer.count(b"\r\nDate: ") == 1


async def test_garbage_leaves_no_line_and_a_bug_does(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_: web.Request) -> web.Response:
        raise RuntimeError("a bug")

    app = web.Application()
    app.router.add_get("/", broken)
    async with AsyncExitStack() as stack:
        address = urlsplit(await listen(stack, app, "127.0.0.1", 0, clock=SystemClock(), most_connections=9))
        with capture_logs() as lines:
            for head in (b"?secret=s3cret\r\n\r\n", REQUEST + b"Connection: close\r\n\r\n"):
                reader, writer = await asyncio.open_connection(address.hostname, address.port)
                writer.write(head)
                await reader.read()
                writer.close()
    assert [line["event"] for line in lines] == ["request.failed"]
    assert caplog.records == []


async def test_a_port_that_is_taken() -> None:
    async with served() as (host, port), AsyncExitStack() as stack:
        with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1:{port}"):
            await listen(stack, web.Application(), host, port, clock=SystemClock(), most_connections=1)

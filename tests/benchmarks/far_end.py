"""The far end, as a process: a Wassenger that costs next to nothing, accepts everything, and notes when it came.

    python -m tests.benchmarks.far_end

prints ``{"port": N}`` and serves until it is killed. It answers ``POST /v1/messages`` with a canned 201 that has ids
of its own, says that device and webhook are well, and lists nothing. Beside the vendor's paths it knows

    GET /arrivals       every message: when its request began (monotonic seconds), phone, reference, priority
    PUT /delay/SECONDS  answer messages so much later from now on
    PUT /forget         forget the arrivals
"""

import asyncio
import json
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import aiohttp

from tests.benchmarks import children
from wamsg2.wassenger.events import SUBSCRIBED_EVENTS

API_KEY = "5a4d" * 20
DEVICE = "68fd1067b488de07029f0001"
_WEBHOOK_PATH = "/webhooks/wassenger"

_DEVICE_BODY = json.dumps({"id": DEVICE, "status": "operative", "session": {"status": "online"}}).encode()
_WEBHOOKS_BODY = json.dumps(
    [{"id": "1", "url": f"http://localhost{_WEBHOOK_PATH}", "status": "active", "events": SUBSCRIBED_EVENTS}]
).encode()


def _answer(status: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


class _World:
    """What has arrived, and how late answers are."""

    def __init__(self) -> None:
        self.arrived: list[tuple[float, bytes]] = []
        self.accepted = 0
        self.delay_seconds = 0.0

    def accept(self, began: float, body: bytes) -> bytes:
        """Note a message; the answer to it."""
        self.arrived.append((began, body))
        self.accepted += 1
        n = self.accepted
        created = b'{"id":"%024x","waId":"3EB1%016X","status":"queued","deliveryStatus":"queued"}' % (n, n)
        return _answer(b"201 Created", created)

    def arrivals(self) -> bytes:
        """All of them as JSON."""
        listed = []
        for began, body in self.arrived:
            message = json.loads(body)
            listed.append([began, message["phone"], message["reference"], message["priority"]])
        return json.dumps(listed).encode()


class _Connection(asyncio.Protocol):
    """Parses just enough of HTTP for clients that do everything right."""

    def __init__(self, world: _World) -> None:
        self._world = world
        self._buffer = b""
        self._began = 0.0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is no subclass of it

    def data_received(self, data: bytes) -> None:
        if not self._buffer:
            self._began = time.monotonic()
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        _, has_length, rest = head.lower().partition(b"content-length:")
        length = int(rest.split(b"\r\n", 1)[0]) if has_length else 0
        if len(body) < length:
            return
        self._buffer = b""
        self._handle(head.split(b"\r\n", 1)[0].split(b" ")[:2], body, is_last=b"connection: close" in head.lower())

    def _handle(self, request: Sequence[bytes], body: bytes, *, is_last: bool) -> None:
        method, path = request
        if (method, path) == (b"POST", b"/v1/messages"):
            answer = self._world.accept(self._began, body)
            if self._world.delay_seconds:
                loop = asyncio.get_running_loop()
                loop.call_later(self._world.delay_seconds, self._write, answer, is_last)
                return
        else:
            answer = _answer(b"200 OK", self._other(method, path))
        self._write(answer, is_last)

    def _write(self, answer: bytes, is_last: bool) -> None:  # noqa: FBT001 - called by the loop
        assert self._transport
        self._transport.write(answer)
        if is_last:
            self._transport.close()

    def _other(self, method: bytes, path: bytes) -> bytes:
        match method, path.partition(b"?")[0].split(b"/")[1:]:
            case b"GET", [b"v1", b"devices", _]:
                return _DEVICE_BODY
            case b"GET", [b"v1", b"webhooks"]:
                return _WEBHOOKS_BODY
            case b"GET", [b"arrivals"]:
                return self._world.arrivals()
            case b"PUT", [b"delay", seconds]:
                self._world.delay_seconds = float(seconds)
            case b"PUT", [b"forget"]:
                self._world.arrived.clear()
            case _:
                pass
        return b"[]"


async def _serve() -> None:
    world = _World()
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(world), "127.0.0.1", 0, backlog=1024)
    children.answer({"port": server.sockets[0].getsockname()[1]})
    await asyncio.Event().wait()


# --- the other side ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message at the far end; `began` is the monotonic time at which its request's first bytes were there."""

    began: float
    phone: str
    reference: str
    priority: str


class FarEnd:
    """The running process."""

    def __init__(self, process: Process, port: int) -> None:
        self._process = process
        self._root = f"http://127.0.0.1:{port}"
        self.base_url = f"{self._root}/v1"

    async def arrivals(self) -> list[Arrival]:
        """Every message so far, in order; a reference that came twice fails the test."""
        async with aiohttp.ClientSession() as session, session.get(f"{self._root}/arrivals") as response:
            arrived = [Arrival(*each) for each in await response.json()]
        references = {arrival.reference for arrival in arrived}
        assert len(references) == len(arrived), "a message was sent twice"
        return arrived

    async def answer_after(self, seconds: float) -> None:
        """Answer messages so much later from now on."""
        await self._put(f"delay/{seconds}")

    async def forget(self) -> None:
        """Forget what has arrived."""
        await self._put("forget")

    async def _put(self, what: str) -> None:
        async with aiohttp.ClientSession() as session, session.put(f"{self._root}/{what}") as response:
            assert response.status == 200


@asynccontextmanager
async def running() -> AsyncIterator[FarEnd]:
    """A far end of one's own."""
    async with children.child("tests.benchmarks.far_end") as process:
        yield FarEnd(process, (await children.told(process))["port"])


if __name__ == "__main__":
    children.run(_serve())

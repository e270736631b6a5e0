"""A load generator that costs little: prepared requests over kept-alive connections, one under way on each."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """What a run showed; latencies in seconds, sorted."""

    seconds: float
    latencies: Sequence[float]

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """The latency in seconds that this share of the requests stayed below."""
        return self.latencies[min(int(len(self.latencies) * share), len(self.latencies) - 1)]


def request(target: str, body: bytes, headers: dict[str, str]) -> bytes:
    """A whole POST."""
    lines = [f"POST {target} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()] + [f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class _Connection(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], latencies: list[float], done: "asyncio.Future[None]") -> None:
        self._requests = requests
        self._latencies = latencies
        self._done = done
        self._started = 0.0
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        assert self._transport is not None
        prepared = next(self._requests, None)
        if prepared is None:
            self._transport.close()
            if not self._done.done():
                self._done.set_result(None)
            return
        self._started = time.perf_counter()
        self._transport.write(prepared)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(rest) < length:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self._done.set_exception(AssertionError(self._buffer[:200]))
            return
        self._latencies.append(time.perf_counter() - self._started)
        self._buffer = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("closed early"))


async def run(port: int, requests: Sequence[bytes], connections: int) -> Load:
    """Post all requests; each must be answered with 200."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    shared = iter(requests)
    ends: list[asyncio.Future[None]] = []
    started = time.perf_counter()
    for _ in range(connections):
        done = loop.create_future()
        ends.append(done)
        await loop.create_connection(lambda done=done: _Connection(shared, latencies, done), "127.0.0.1", port)  # type: ignore[misc] # a lambda has no annotations
    await asyncio.gather(*ends)
    return Load(time.perf_counter() - started, sorted(latencies))

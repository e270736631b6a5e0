"""A load that costs little: prepared requests over kept-alive connections, one under way on each."""

import asyncio
import gc
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from tests.benchmarks.figures import percentile

#: A request that was answered 503 is written again so much later; the provider takes longer.
_AGAIN_SECONDS = 0.1
#: The bodies of longer answers are not counted.
_SHORT_BYTES = 64


def request(target: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A whole POST."""
    lines = [f"POST {target} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()] + [f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(target: str) -> bytes:
    """A whole GET."""
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


@dataclass(frozen=True, slots=True)
class Load:
    """What a run showed.

    Args:
        seconds: from the first request to the last answer.
        starts: monotonic time of each request, in order.
        latencies: seconds from the first writing of a request to its 200, in no order.
        answers: how often each short body came with a 200.
        postponed: answers 503, after which a request is written again.
        cpu_seconds: of the generator itself.
    """

    seconds: float
    starts: Sequence[float]
    latencies: Sequence[float]
    answers: dict[str, int]
    postponed: int
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds

    def percentile_ms(self, share: float) -> float:
        """The latency in ms that this share of the requests did not exceed."""
        return percentile(self.latencies, share) * 1000

    @property
    def duplicates(self) -> int:
        """How many webhooks were answered as duplicates."""
        return self.answers.get('{"status": "duplicate"}', 0)


class _Schedule:
    """Hands out the requests, each with the time at which it starts."""

    def __init__(self, requests: Sequence[bytes], per_second: float | None) -> None:
        self._requests: Iterator[bytes] = iter(requests)
        self._interval = 1 / per_second if per_second else 0.0
        self._next_at = time.monotonic()

    def take(self) -> tuple[bytes, float] | None:
        """The next request and its monotonic time; None behind the last."""
        if (request := next(self._requests, None)) is None:
            return None
        at = self._next_at
        self._next_at += self._interval
        return request, at

    def end(self) -> None:
        """Hand out no more."""
        self._requests = iter(())


class _Connection(asyncio.Protocol):
    """One request after the other; an answer other than 200 and 503 ends the run with an error."""

    def __init__(self, port: int, schedule: _Schedule) -> None:
        self._port = port
        self._schedule = schedule
        self._request: bytes | None = None  # under way, or to be written again
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None
        self._waiting: asyncio.TimerHandle | None = None  # for the time of the next request
        self._again: asyncio.TimerHandle | None = None  # after a 503
        self._opening: asyncio.Task[None] | None = None
        self.starts: list[float] = []
        self.latencies: list[float] = []
        self.answers: Counter[bytes] = Counter()
        self.postponed = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Connect, and begin or go on."""
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is no subclass of it
        if self._request is None:
            self.next()
        else:
            self._transport.write(self._request)

    def next(self) -> None:
        """Take the next request, and wait for its time."""
        if (given := self._schedule.take()) is None:
            self.close()
            return
        request, at = given
        if (wait_seconds := at - time.monotonic()) > 0:
            self._waiting = asyncio.get_running_loop().call_later(wait_seconds, self._send, request)
        else:
            self._send(request)

    def end(self) -> None:
        """Start nothing more."""
        if self._waiting:
            self._waiting.cancel()
            self.close()

    def close(self) -> None:
        """All is answered."""
        if not self.done.done():
            self.done.set_result(None)
        if self._transport:
            self._transport.close()

    def _send(self, request: bytes) -> None:
        self._waiting = None
        assert self._transport
        self._request = request
        self.starts.append(time.monotonic())
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        self._buffer = b""
        if head.startswith(b"HTTP/1.1 503"):
            self.postponed += 1
            self._again = asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._reopen)
        elif head.startswith(b"HTTP/1.1 200"):
            self._answered(body)
        else:
            self.done.set_exception(AssertionError(head))

    def _answered(self, body: bytes) -> None:
        self._request = None
        self.latencies.append(time.monotonic() - self.starts[-1])
        if len(body) < _SHORT_BYTES:
            self.answers[body] += 1
        self.next()

    def _reopen(self) -> None:
        """The daemon has closed the connection on which it answered 503."""
        self._again = None
        self._opening = asyncio.get_running_loop().create_task(self.open())

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done() and self._again is None:
            self.done.set_exception(exc or ConnectionError("closed early"))


async def drive(port: int, requests: Sequence[bytes], connections: int, per_second: float | None = None) -> Load:
    """Request everything of a port of this machine; each request must be answered with 200 in the end.

    Without a rate, as fast as it is answered. SIGTERM ends it early, with what it has seen.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    loop = asyncio.get_running_loop()
    schedule = _Schedule(requests, per_second)
    made = [_Connection(port, schedule) for _ in range(connections)]

    def end() -> None:
        schedule.end()
        for connection in made:
            connection.end()

    loop.add_signal_handler(signal.SIGTERM, end)
    began, cpu_began = time.monotonic(), time.process_time()
    for connection in made:
        await connection.open()
    await asyncio.gather(*(connection.done for connection in made))
    return Load(
        time.monotonic() - began,
        sorted(at for connection in made for at in connection.starts),
        [seconds for connection in made for seconds in connection.latencies],
        dict(Counter(x.decode() for connection in made for x in connection.answers.elements())),
        sum(connection.postponed for connection in made),
        time.process_time() - cpu_began,
    )

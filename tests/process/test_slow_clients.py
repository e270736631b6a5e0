"""A thousand clients who only stand in the door of a real daemon: the others do not notice, and it stays small."""

import asyncio
import json
import resource
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count, cycle
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.benchmarks.figures import percentile
from tests.benchmarks.load import request
from tests.site import site
from tests.support import inbound
from wamsg2.clock import SystemClock
from wamsg2.sandbox.server import Sandbox

SLOW = 1000
MEASURED_SECONDS = 6.0
#: An idle machine needs a few milliseconds; the bounds are for one that is busy with other tests.
MEDIAN_SECONDS, P99_SECONDS = 0.1, 1.0
MEMORY_MIB = 150


@pytest.fixture(autouse=True)
def _many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * SLOW + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"a process may open {hard} files here, and the slow clients alone need {SLOW}")
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _slow_headers(target: str) -> AsyncIterator[bytes]:
    yield f"POST {target} HTTP/1.1\r\nHost: localhost\r\n".encode()
    while True:
        yield b"X-More: x\r\n"


async def _slow_body(target: str) -> AsyncIterator[bytes]:
    """From somebody who knows the secret; a stranger's body is not read."""
    yield request(target, b" " * 2000, {})[:-2000]
    while True:
        yield b" "


async def _idle(_target: str) -> AsyncIterator[bytes]:
    yield b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    await asyncio.Event().wait()


async def _stand(port: int, target: str, kind: Callable[[str], AsyncIterator[bytes]], inside: list[object]) -> None:
    """Hold a connection, a few bytes a second; whoever is shown out comes back."""
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            inside.append(writer)
            try:
                ended = asyncio.ensure_future(reader.read())
                async for part in kind(target):
                    writer.write(part)
                    await asyncio.wait([ended], timeout=1)
                    if ended.done():
                        break
            finally:
                inside.remove(writer)
                ended.cancel()
                writer.transport.abort()
        await asyncio.sleep(0.2)


@asynccontextmanager
async def _slow_clients(port: int, target: str) -> AsyncIterator[list[object]]:
    """All of them; the list is of those who are inside just now."""
    inside: list[object] = []
    kinds = cycle((_slow_headers, _slow_body, _idle))
    tasks = [asyncio.create_task(_stand(port, target, next(kinds), inside)) for _ in range(SLOW)]
    try:
        while len(inside) < 0.98 * SLOW:  # noqa: ASYNC110 - they come and go
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.5)  # nobody is shown out in the first second, or a burst would eat itself
        yield inside
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _webhooks(target: str) -> Iterator[bytes]:
    for n in count():
        body = inbound("+34600000001", at=SystemClock().now(), wa_id=f"AC{n:030X}")
        yield request(target, json.dumps(body).encode(), {})


async def _answer(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], webhook: bytes) -> None:
    reader, writer = connection
    writer.write(webhook)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    await reader.readuntil(b"}")


async def _measure(port: int, target: str) -> list[float]:
    """Seconds that each took: webhooks in turn over a connection that is kept, and over one of their own."""
    latencies = []
    webhooks = _webhooks(target)
    kept = await asyncio.open_connection("127.0.0.1", port)
    end = time.perf_counter() + MEASURED_SECONDS
    while time.perf_counter() < end:
        first, second = next(webhooks), next(webhooks)
        started = time.perf_counter()
        await _answer(kept, first)
        latencies.append(time.perf_counter() - started)
        started = time.perf_counter()
        own = await asyncio.open_connection("127.0.0.1", port)
        await _answer(own, second)
        latencies.append(time.perf_counter() - started)
        own[1].close()
        await asyncio.sleep(0.02)
    kept[1].close()
    return sorted(latencies)


def _most_memory_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


async def test_others_are_answered_at_once(tmp_path: Path) -> None:
    async with Sandbox() as sandbox, site(tmp_path, sandbox) as made:
        daemon = await made.start()
        url = urlsplit(made.webhook_url)
        assert url.port
        target = f"{url.path}?{url.query}"
        async with _slow_clients(url.port, target) as inside:
            measured = await _measure(url.port, target)
            left = len(inside)
        memory_mib = _most_memory_mib(daemon.pid)
        print(
            f"\n{left} of {SLOW} slow clients connected at the end; {len(measured)} webhooks answered, "
            f"median {percentile(measured, 0.5) * 1000:.1f} ms, p99 {percentile(measured, 0.99) * 1000:.1f} ms, "
            f"worst {measured[-1] * 1000:.1f} ms; at the most {memory_mib:.1f} MiB resident"
        )
        assert left > 0.9 * SLOW
        assert percentile(measured, 0.5) < MEDIAN_SECONDS
        assert percentile(measured, 0.99) < P99_SECONDS
        assert memory_mib < MEMORY_MIB
        assert await made.rows("SELECT count(*) FROM events WHERE name = 'message:in:new'") == [(len(measured),)]
        assert await made.stop(daemon) == 0

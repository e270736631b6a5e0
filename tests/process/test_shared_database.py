"""Others on the database's file: what it costs to read for long, and a stop while everything waits for a lock."""

import asyncio
import base64
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

from tests.process.daemon_log import logged, until
from tests.site import Site, site
from tests.support import inbound
from wamsg2.clock import SystemClock
from wamsg2.sandbox import SandboxSettings
from wamsg2.sandbox.server import Sandbox

PHONES = [f"+346000000{n:02d}" for n in range(12)]
MIB = 1024 * 1024


async def sixteen_mebibytes(made: Site, name: str) -> int:
    """Take in so much, more than fits into the log before it is copied back; how long the log is then."""
    async with aiohttp.ClientSession() as session:
        for n in range(16):
            noise = Random(f"{name} {n}").randbytes(MIB * 3 // 4 - 100)  # which cannot be packed
            body = {"event": "x", "data": base64.b64encode(noise).decode()}
            async with session.post(made.webhook_url, json=body) as response:
                assert response.status == 200
    return made.database.with_name("wamsg2.db-wal").stat().st_size


async def test_a_long_read_lets_the_log_grow(tmp_path: Path) -> None:
    """Nobody waits for it; once it is over, the room is used again."""
    async with Sandbox(SandboxSettings()) as sandbox, site(tmp_path, sandbox) as made:
        daemon = await made.start()
        with closing(sqlite3.connect(made.database, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM events").fetchall()
            first, second = [await sixteen_mebibytes(made, name) for name in ("first", "second")]
            assert second >= first + 10 * MIB
            assert (await made.status())["status"] == "ok"
        assert await sixteen_mebibytes(made, "third") <= second + 4 * MIB
        assert await made.stop(daemon) == 0
        assert not made.database.with_name("wamsg2.db-wal").exists()


class Deliveries:
    """Webhooks that are posted at once."""

    def __init__(self, made: Site) -> None:
        self._made = made
        self._sent = asyncio.Semaphore(0)
        trace = aiohttp.TraceConfig()
        trace.on_request_chunk_sent.append(self._note)
        self._session = aiohttp.ClientSession(trace_configs=[trace])

    async def _note(self, *_: object) -> None:
        self._sent.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def _deliver(self, body: dict[str, Any]) -> int:
        async with self._session.post(self._made.webhook_url, json=body) as response:
            return response.status

    async def start(self, bodies: list[dict[str, Any]]) -> list[asyncio.Task[int]]:
        """Post them; all are in the daemon's hands then."""
        answers = [asyncio.create_task(self._deliver(body)) for body in bodies]
        for _ in answers:
            await self._sent.acquire()
        door = urlsplit(self._made.webhook_url)
        for _ in range(2):  # what comes later is answered: the others have been read
            async with self._session.get(f"{door.scheme}://{door.netloc}/healthz"):
                pass
        return answers


async def test_sigterm_while_webhooks_wait_to_be_stored(tmp_path: Path) -> None:
    """They are stored and answered before the end."""
    async with Sandbox(SandboxSettings()) as sandbox, site(tmp_path, sandbox) as made:
        await made.campaign("spring", PHONES)
        daemon = await made.start()
        await made.wait_for("SELECT count(*) FROM messages WHERE status = 'read'", len(PHONES))
        now = SystemClock().now()
        async with Deliveries(made) as deliveries:
            with closing(sqlite3.connect(made.database, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                answers = await deliveries.start([inbound(p, at=now, wa_id=f"AC{p[1:]}") for p in PHONES])
                daemon.send_signal(signal.SIGTERM)
                await until(lambda: logged(made, "daemon.stopping"))
                assert not any(answer.done() for answer in answers)
                other.execute("ROLLBACK")
            assert await asyncio.gather(*answers) == [200] * len(PHONES)
        assert await made.stop(daemon) == 0
        stored = await made.rows("SELECT count(*) FROM messages WHERE step = 2 AND status = 'queued'")
        assert stored == [(len(PHONES),)]
        assert await made.violations() == []

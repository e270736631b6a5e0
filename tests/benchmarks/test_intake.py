"""Durable webhooks a second, with all rules, beside a bare handler."""

import asyncio
import json
import sqlite3
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.benchmarks import load
from tests.site import ROOT, Site, free_port, site
from tests.support import inbound
from wamsg2.clock import SystemClock
from wamsg2.sandbox.server import Sandbox
from wamsg2.wassenger.signature import sign

KEY = "signing-key"
CONTACTS = 100_000
REQUESTS = 10_000
ROUNDS = 3


def phone(n: int) -> str:
    return f"+346{n:08d}"


def requests(target: str, round_number: int) -> list[bytes]:
    """Replies of different contacts, spread over all of them."""
    now = SystemClock().now()
    prepared = []
    for n in range(REQUESTS):
        number = phone((n * 7919 + round_number * REQUESTS) % CONTACTS)
        body = json.dumps(
            inbound(number, at=now, wa_id=f"AC{round_number:04}{n:026X}"), separators=(",", ":")
        ).encode()
        prepared.append(load.request(target, body, {"X-Wassenger-Signature": sign(body, KEY)}))
    return prepared


async def filled(made: Site) -> None:
    """A campaign whose Message 1 has gone out to everyone."""
    await made.campaign("spring", [phone(n) for n in range(CONTACTS)])
    connection = sqlite3.connect(made.database)
    now_ms = int(time.time() * 1000)
    connection.execute(
        """UPDATE messages SET status = 'sent', sent_at = ?1, attempted_at = ?1, attempt = 1, text = 'x',
                  wa_id = printf('3EB0%016X', id), queue_id = printf('%024x', id)""",
        (now_ms,),
    )
    connection.commit()
    connection.close()


@asynccontextmanager
async def bare_handler() -> AsyncIterator[int]:
    """The baseline as a process; its port."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, *("-m", "tests.benchmarks.bare", str(port), KEY), cwd=ROOT
    )
    try:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                break
        yield port
    finally:
        process.kill()
        await process.wait()


@pytest.mark.benchmark
async def test_durable_intake_beside_a_bare_handler(tmp_path: Path) -> None:
    async with (
        bare_handler() as bare_port,
        Sandbox() as sandbox,
        site(tmp_path, sandbox, webhook__signing_secrets=f'["{KEY}"]', wassenger__rate_limit_seconds="1") as made,
    ):
        await filled(made)
        daemon = await made.start()
        url = urlsplit(made.webhook_url)
        assert url.port
        rates: dict[str, list[float]] = {"bare": [], "wamsg2": []}
        p99 = 0.0
        for round_number in range(ROUNDS):
            prepared = requests(f"{url.path}?{url.query}", round_number)
            rates["bare"].append((await load.run(bare_port, prepared, 64)).rate)
            measured = await load.run(url.port, prepared, 64)
            rates["wamsg2"].append(measured.rate)
            p99 = max(p99, measured.percentile(0.99))
        assert await made.rows("SELECT count(*) FROM events WHERE name = 'message:in:new'") == [(REQUESTS * ROUNDS,)]
        ours, theirs = statistics.median(rates["wamsg2"]), statistics.median(rates["bare"])
        print(
            f"\ndurable intake, {CONTACTS} contacts, 64 connections: {ours:.0f}/s, bare handler {theirs:.0f}/s, "
            f"ratio {ours / theirs:.2f}; worst p99 {p99 * 1000:.1f} ms"
        )
        assert await made.stop(daemon) == 0

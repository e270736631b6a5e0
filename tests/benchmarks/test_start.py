"""From the start of the process to the first request, with a large database and with an empty one."""

import asyncio
import sqlite3
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.site import Site, site
from tests.support import PROCESS_SECONDS
from wamsg2.clock import SystemClock
from wamsg2.sandbox.server import Sandbox

CONTACTS = 100_000
OLD_CAMPAIGNS = 10
ROUNDS = 5
#: A start that takes longer is broken on any machine; what is promised is 2 s.
MOST_SECONDS = 20.0


def fill(database: Path, name: str) -> None:
    """Everyone has had a Message 1 of each old campaign, and waits for one of the campaign of this name."""
    now_ms = int(SystemClock().now().timestamp() * 1000)
    long_ago_ms = now_ms - 30 * 24 * 3600 * 1000
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executemany(
            """INSERT INTO campaigns (name, key, status, message_1, message_2, created_at, launched_at)
               VALUES (?, ?, 'running', 'Hello', 'More', ?, ?)""",
            ((f"old-{n}", f"{n:032x}", long_ago_ms, long_ago_ms) for n in range(OLD_CAMPAIGNS)),
        )
        connection.execute(
            """WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)
               INSERT INTO contacts (phone, phone_key, created_at)
               SELECT printf('+346%08d', n), printf('+346%08d', n), ?2 FROM numbers""",
            (CONTACTS, long_ago_ms),
        )
        connection.execute(
            """INSERT INTO recipients (campaign_id, contact_id, variables)
               SELECT g.id, c.id, '{}' FROM campaigns g CROSS JOIN contacts c WHERE true ON CONFLICT DO NOTHING"""
        )
        connection.execute(
            """INSERT INTO messages (contact_id, campaign_id, step, status, reference, attempt, text, queue_id, wa_id,
                                     created_at, due_at, attempted_at, sent_at, provider_sent_at)
               SELECT c.id, g.id, 1, CASE c.id % 3 WHEN 0 THEN 'read' WHEN 1 THEN 'delivered' ELSE 'sent' END,
                      printf('w2-%d-%d', g.id, c.id), 1, 'Hello', printf('%012x%012x', g.id, c.id),
                      printf('3EB0%08X%08X', g.id, c.id), ?1, ?1, ?1, ?1, ?1
               FROM campaigns g CROSS JOIN contacts c WHERE g.name LIKE 'old-%'""",
            (long_ago_ms,),
        )
        connection.execute(
            """INSERT INTO messages (contact_id, campaign_id, step, status, reference, created_at, due_at)
               SELECT c.id, g.id, 1, 'queued', printf('w2-%d-%d', g.id, c.id), ?1, ?1
               FROM campaigns g CROSS JOIN contacts c WHERE g.name = ?2 ON CONFLICT DO NOTHING""",
            (now_ms, name),
        )
        connection.commit()


async def start_seconds(made: Site, sandbox: Sandbox) -> tuple[float, float]:
    """From the start of a daemon until its webhook listener answers, and until its first request is there."""
    before, url = len(sandbox.accepted), urlsplit(made.webhook_url)
    began = time.monotonic()
    daemon = await made.start(ready=False)
    ready = 0.0
    async with asyncio.timeout(PROCESS_SECONDS):
        while not ready:
            try:
                _, writer = await asyncio.open_connection(url.hostname, url.port)
            except ConnectionError:
                await asyncio.sleep(0.005)
            else:
                ready = time.monotonic()
                writer.close()
        while len(sandbox.accepted) == before:  # noqa: ASYNC110 - the far end has no other way to tell
            await asyncio.sleep(0.005)
    assert await made.stop(daemon) == 0
    return ready - began, sandbox.accepted[before].monotonic_seconds - began


@asynccontextmanager
async def prepared(directory: Path) -> AsyncIterator[tuple[Site, Sandbox]]:
    """A site with a campaign that has a few messages for each start."""
    directory.mkdir()  # noqa: ASYNC240 - nothing else runs yet
    # The pace of production: the first message waits for its turn, a second after the start.
    async with Sandbox() as sandbox, site(directory, sandbox, wassenger__rate_limit_seconds="1") as made:
        await made.campaign("open", [f"+336123400{n:02d}" for n in range(50)])
        yield made, sandbox


@pytest.mark.benchmark
async def test_start_with_a_million_old_messages(tmp_path: Path) -> None:
    async with prepared(tmp_path / "empty") as empty, prepared(tmp_path / "large") as large:
        fill(large[0].database, "open")
        starts: dict[str, list[tuple[float, float]]] = {"empty": [], "large": []}
        for _ in range(ROUNDS):  # in turns, so that both meet the same machine
            for what, (made, sandbox) in (("empty", empty), ("large", large)):
                starts[what].append(await start_seconds(made, sandbox))
        print()
        for what, (made, _) in (("empty", empty), ("large", large)):
            ((rows, queued),) = await made.rows("SELECT count(*), sum(status = 'queued') FROM messages")
            ready, first = (statistics.median(seconds) for seconds in zip(*starts[what], strict=True))
            print(
                f"{what} database, {rows} messages, {queued} queued: the webhook's port is open after {ready:.2f} s, "
                f"the first request is there after {first:.2f} s"
            )
            assert max(first for _, first in starts[what]) < MOST_SECONDS

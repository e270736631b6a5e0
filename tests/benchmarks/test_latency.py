"""From a reply to the request of its Message 2, idle and behind a campaign of 100,000."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.site import site
from wamsg2.sandbox import SandboxSettings
from wamsg2.sandbox.server import Sandbox

REPLIES = 12
DELAY_SECONDS = 2.0


@pytest.mark.benchmark
@pytest.mark.parametrize("waiting", [0, 100_000])
async def test_reply_to_request(tmp_path: Path, waiting: int) -> None:
    repliers = [f"+3361234{n:04d}" for n in range(REPLIES)]
    async with (
        Sandbox(SandboxSettings()) as sandbox,
        site(
            tmp_path, sandbox, wassenger__rate_limit_seconds="1", message_2__delay_seconds=str(DELAY_SECONDS)
        ) as made,
    ):
        await made.campaign("first", repliers)
        daemon = await made.start()
        await made.wait_for("SELECT count(*) FROM messages WHERE status IN ('delivered', 'read')", REPLIES)
        if waiting:
            await made.campaign("bulk", [f"+346{n:08d}" for n in range(waiting)])
        replied: dict[str, float] = {}
        for number in repliers:
            await asyncio.sleep(1.37)  # out of step with the pace
            replied[number] = time.monotonic()
            await sandbox.inbound(number, "yes")
        await made.wait_for("SELECT count(*) FROM messages WHERE step = 2 AND sent_at IS NOT NULL", REPLIES)
        seen = {m.phone: m.monotonic_seconds for m in sandbox.accepted if m.priority == "high"}
        latencies = sorted(seen[number] - replied[number] for number in repliers)
        print(f"\nreply to request with {waiting} waiting: {', '.join(f'{x:.3f}' for x in latencies)} s")
        assert min(latencies) >= DELAY_SECONDS
        assert await made.stop(daemon) == 0

"""A file system that is really full: a small one, in memory."""

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.process.daemon_log import logged
from tests.site import Site, site
from tests.support import inbound
from wamsg2.clock import SystemClock
from wamsg2.sandbox import Habits, SandboxSettings, WebhookRules
from wamsg2.sandbox.server import Sandbox
from wamsg2.wassenger.events import parse_row

PHONES = [f"+3460000000{n}" for n in range(6)]
STRANGER = "+34999999999"
SETTINGS = SandboxSettings(
    habits=Habits(reply_rate=1.0),
    webhooks=WebhookRules(backoff_seconds=0.1, backoff_max_seconds=0.3, disable_after=0),
)
OUT = "SELECT count(*) {} FROM messages WHERE status IN ('sent', 'delivered', 'read')"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A directory with 4 MiB, and the log of the daemon elsewhere, as a journal is."""
    place = tmp_path / "small"
    place.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted: {mounted.stderr.strip()}")
    (place / "daemon.log").symlink_to(tmp_path / "daemon.log")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill_up(file: Path) -> None:
    """Take all that is free, to the last page."""
    with file.open("ab", buffering=0) as ballast, suppress(OSError):
        while ballast.write(bytes(4096)):
            pass


async def post(made: Site, body: dict[str, Any]) -> tuple[int, str | None]:
    """A webhook: status and Retry-After of the answer."""
    async with aiohttp.ClientSession() as session, session.post(made.webhook_url, json=body) as response:
        return response.status, response.headers.get("Retry-After")


async def test_a_full_disk(small: Path) -> None:
    """What does not fit is refused and comes again; what still fits into the log goes on."""
    async with (
        Sandbox(SETTINGS) as sandbox,
        site(
            small,
            sandbox,
            wassenger__rate_limit_seconds="0.3",
            wassenger__resend_after_seconds="1",
            notifications__disk_low_mib="0",
        ) as made,
    ):
        await made.campaign("spring", PHONES)
        daemon = await made.start()
        await made.wait_for(OUT.format(">= 2"), 1)
        ballast = small / "ballast"
        fill_up(ballast)
        long_reply = inbound(STRANGER, "x" * 100_000, at=SystemClock().now(), wa_id="AC01")
        assert await post(made, long_reply) == (503, "5")
        assert logged(made, "webhook.postponed", reason="the database cannot be written: database or disk is full")
        assert await made.rows("SELECT count(*) FROM interactions WHERE wa_id = 'AC01'") == [(0,)]
        ballast.unlink()
        assert await post(made, long_reply) == (200, None)
        await made.wait_for(OUT.format(""), 2 * len(PHONES))
        await sandbox.settle()
        assert Counter((m.phone, m.priority) for m in sandbox.accepted) == Counter(
            {(p, priority): 1 for p in PHONES for priority in ("normal", "high")}
        )
        acknowledged = {
            e.identity for d in sandbox.deliveries if d.is_acknowledged for e in parse_row(d.raw, device=None)
        }
        assert acknowledged <= {identity for (identity,) in await made.rows("SELECT identity FROM events")}
        assert await made.violations() == []
        assert (await made.status())["status"] == "ok"
        assert await made.stop(daemon) == 0

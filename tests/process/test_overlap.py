"""Three campaigns with overlapping contacts; the provider repeats, reorders, and reports before it answers."""

import asyncio
import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.site import ROOT, Site, site
from wamsg2.sandbox import Delays, Faults, Habits, SandboxSettings, WebhookRules
from wamsg2.sandbox.server import Sandbox

FAULTS = Faults(
    duplicate_event=0.5,
    reorder_event=0.5,
    reorder_window_seconds=0.3,
    event_before_answer=0.5,
    late_wa_id=0.3,
    accept_then_reset=0.02,
    lid_sender=0.2,
)


async def verified(made: Site) -> dict[str, int]:
    """What `wamsg2 verify` counts; it must find nothing broken."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "wamsg2", "--config", str(made.config), "verify", "--json"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    report = json.loads(output)
    assert report["violations"] == []
    assert process.returncode == 0
    counts: dict[str, int] = report["messages"]
    return counts


async def overlapping_campaigns(directory: Path, contacts: int, overlap: str) -> None:
    phones = [f"+346{n:08d}" for n in range(contacts)]
    campaigns = {
        "a": phones[: contacts * 6 // 10],
        "b": phones[contacts * 4 // 10 :],
        "c": phones[contacts // 4 : contacts * 3 // 4],
    }
    settings = SandboxSettings(
        seed=5,
        # The nested shape knows no quotes, and without them a reply is the latest campaign's.
        faults=replace(FAULTS, nested_shape=0.2) if overlap == "all" else FAULTS,
        # Long enough for the receipt that tells the quoted id to overtake the reply's delays.
        habits=Habits(reply_rate=0.4, duplicate_reply_rate=0.3, quote_rate=1.0, reply_delay_seconds=(1.0, 2.0)),
        delays=Delays(delivered_seconds=(0.0, 0.2), read_seconds=(0.0, 0.5)),
        webhooks=WebhookRules(backoff_seconds=0.2, concurrency=32),
    )
    async with Sandbox(settings) as sandbox, site(directory, sandbox, message_2__overlap=f'"{overlap}"') as made:
        for name, members in campaigns.items():
            await made.campaign(name, members)
        daemon = await made.start()
        wanted_1 = sum(map(len, campaigns.values()))
        await made.wait_for(
            "SELECT count(*) FROM messages WHERE step = 1 AND status IN ('sent', 'delivered', 'read')", wanted_1
        )
        await sandbox.settle(timeout_seconds=120)
        await made.wait_for("SELECT count(*) FROM messages WHERE status IN ('queued', 'sending', 'uncertain')", 0)
        await sandbox.settle(timeout_seconds=120)

        repliers = {m.phone for m in sandbox.ledger.chat.values() if m.flow == "inbound" and m.body}
        expected = Counter({(p, f"Message 1 of {name}"): 1 for name, members in campaigns.items() for p in members})
        expected.update(
            {(p, f"Message 2 of {name}"): 1 for name, members in campaigns.items() for p in members if p in repliers}
        )
        assert len(repliers) > contacts // 5
        assert Counter((m.phone, m.message) for m in sandbox.accepted) == expected
        counts = await verified(made)
        assert sum(n for name, n in counts.items() if name.startswith("message_1.")) == wanted_1
        assert sum(counts.values()) == len(sandbox.accepted)
        assert await made.stop(daemon) == 0


@pytest.mark.parametrize("overlap", ["latest", "all"])
async def test_overlapping_campaigns(tmp_path: Path, overlap: str) -> None:
    await overlapping_campaigns(tmp_path, 60, overlap)


@pytest.mark.soak
@pytest.mark.parametrize("overlap", ["latest", "all"])
async def test_two_thousand_contacts(tmp_path: Path, overlap: str) -> None:
    await overlapping_campaigns(tmp_path, 2000, overlap)

"""Webhooks that never come: the daemon asks for what they would have told."""

from pathlib import Path

from tests.process.daemon_log import logged
from tests.site import Site, site
from wamsg2.sandbox import Faults
from wamsg2.sandbox.server import Sandbox

PHONE = "+34600000001"
OUTCOMES = "SELECT outcome FROM interactions"


async def after_message_1(made: Site) -> None:
    await made.campaign("spring", [PHONE])
    await made.wait_for("SELECT status FROM messages", "read")


async def answered(made: Site, sandbox: Sandbox) -> None:
    await made.wait_for("SELECT count(*) FROM messages WHERE step = 2 AND status IN ('sent', 'delivered', 'read')", 1)
    assert [m.priority for m in sandbox.accepted] == ["normal", "high"]
    assert await made.rows(OUTCOMES) == [("message_2_queued",)]
    assert (await made.status())["webhooks"]["found_by_catch_up"] >= 1
    assert await made.violations() == []


async def test_a_disabled_webhook_is_enabled_and_caught_up_with(tmp_path: Path) -> None:
    """Wassenger disables a webhook that failed too often; the reply that comes meanwhile is told to nobody."""
    # Caught up with at the start and when the watch asks for it, and not by the interval.
    often = {"watch__webhook_seconds": "2", "watch__catch_up_seconds": "0"}
    async with Sandbox() as sandbox, site(tmp_path, sandbox, **often) as made:
        daemon = await made.start()
        await after_message_1(made)
        [webhook_id] = sandbox._postman.webhooks
        sandbox.disable_webhook(webhook_id)
        await sandbox.inbound(PHONE, "yes")
        await answered(made, sandbox)
        assert sandbox.webhook_status(webhook_id) == "active"
        assert len(logged(made, "webhook.disabled")) == 1
        assert len(logged(made, "webhook.enabled")) == 1
        assert (await made.status())["watch"]["webhook"]["ok"] is True
        assert await made.stop(daemon) == 0


async def test_a_reply_during_downtime_whose_webhook_is_lost(tmp_path: Path) -> None:
    async with Sandbox() as sandbox, site(tmp_path, sandbox, watch__catch_up_seconds="0") as made:
        daemon = await made.start()
        await after_message_1(made)
        await sandbox.settle()
        assert await made.stop(daemon) == 0
        sandbox.faults = Faults(drop_event=1)
        await sandbox.inbound(PHONE, "yes")
        await sandbox.settle()
        sandbox.faults = Faults()
        daemon = await made.start()
        await answered(made, sandbox)
        assert [line["source"] for line in logged(made, "interaction.recorded")] == ["catch_up"]
        assert await made.stop(daemon) == 0


async def test_webhooks_that_are_lost_for_good_while_it_runs(tmp_path: Path) -> None:
    async with Sandbox() as sandbox, site(tmp_path, sandbox, watch__catch_up_seconds="1") as made:
        daemon = await made.start()
        await after_message_1(made)
        await sandbox.settle()
        sandbox.faults = Faults(drop_event=1)
        await sandbox.inbound(PHONE, "yes")
        await answered(made, sandbox)
        assert await made.stop(daemon) == 0

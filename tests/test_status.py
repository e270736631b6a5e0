"""`GET /status`: the exact keys of the contract, and what each state means."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import START, House, ack, house, inbound, receipt
from wamsg2 import __version__
from wamsg2 import status as status_module
from wamsg2.model import (
    Accepted,
    EventResult,
    EventSource,
    Finding,
    Held,
    MessageStatus,
    Policy,
    Rejected,
    Uncertain,
)
from wamsg2.status import NOT_RUNNING, DaemonFacts
from wamsg2.store import marks, stats
from wamsg2.store.writer import StoreUnavailableError, Tx
from wamsg2.wassenger import events
from wamsg2.work import campaigning, settling

ONE, TWO, THREE = "+34600000001", "+34600000002", "+34600000003"
FACTS = DaemonFacts(12.34, None, 0, None, 0)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


async def report(home: House, facts: DaemonFacts = FACTS, policy: Policy | None = None) -> dict[str, Any]:
    return await status_module.report(
        home.store, facts, now=home.clock.now(), policy=policy or home.policy, rate_limit_seconds=1.0
    )


async def campaign_status(home: House) -> str:
    return str((await report(home))["campaigns"][0]["status"])


async def test_an_empty_database(home: House) -> None:
    assert await report(home) == {
        "status": "ok",
        "problems": [],
        "version": __version__,
        "uptime_seconds": 12.3,
        "sender": {"state": "idle", "reason": None, "rate_limit_seconds": 1.0, "last_send_at": None},
        "queue": {
            "message_1": 0, "message_2": 0, "sending": 0, "uncertain": 0, "oldest_due_seconds": 0.0, "eta_seconds": 0,
        },
        "webhooks": {
            "received": 0, "duplicates": 0, "refused": 0, "unmatched": 0, "suspected": 0, "not_replies": 0,
            "last_received_at": None, "found_by_catch_up": 0, "unknown_words": 0,
        },
        "watch": {"device": None, "webhook": None, "catch_up": {"last_at": None, "problem": None}},
        "backup": {"made_at": None, "failed_at": None},
        "notifications": [],
        "deliveries": {"waiting": 0, "given_up": 0},
        "campaigns": [],
    }  # fmt: skip


async def test_the_keys_and_figures_of_the_contract(home: House) -> None:
    await home.campaign(ONE, TWO, THREE, "+34600000004", "+34600000005")
    await home.send_one()
    await home.send_one(Rejected("HTTP 400"))
    await home.send_one(Uncertain("no answer in time"))
    await home.claim()
    home.clock.advance(10)
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    await home.receive(inbound("+34699999999", at=START, wa_id="A2"))
    await home.receive(ack("delivered", at=START, wa_id=f"3EB0{1:016X}", number=ONE))
    home.clock.advance(5)
    found = await report(home, replace(FACTS, in_flight=1, last_send_at=START, webhooks_refused=3))
    assert list(found) == [
        "status", "problems", "version", "uptime_seconds", "sender", "queue", "webhooks", "watch",
        "backup", "notifications", "deliveries", "campaigns",
    ]  # fmt: skip
    assert found["sender"] == {
        "state": "sending", "reason": None, "rate_limit_seconds": 1.0, "last_send_at": "2026-11-22T10:00:00.000Z",
    }  # fmt: skip
    assert found["queue"] == {
        "message_1": 1, "message_2": 1, "sending": 1, "uncertain": 1, "oldest_due_seconds": 15.0, "eta_seconds": 2,
    }  # fmt: skip
    assert found["webhooks"] == {
        "received": 4, "duplicates": 1, "refused": 3, "unmatched": 1, "suspected": 0, "not_replies": 0,
        "last_received_at": "2026-11-22T10:00:10.000Z", "found_by_catch_up": 0, "unknown_words": 0,
    }  # fmt: skip
    (campaign,) = found["campaigns"]
    nothing = dict.fromkeys(("queued", "sending", "sent", "delivered", "read", "failed", "cancelled", "uncertain"), 0)
    assert (
        campaign.items()
        >= {
            "name": "spring",
            "status": "running",
            "contacts": 5,
            "message_1": nothing | {"queued": 1, "sending": 1, "delivered": 1, "failed": 1, "uncertain": 1},
            "message_2": nothing | {"queued": 1},
            "replied": 1,
            "interactions": 1,
            "opted_out": 0,
            "window_closes_at": "2026-11-23T10:00:00.000Z",
        }.items()
    )


async def test_statuses_are_in_the_contracts_order(home: House) -> None:
    await home.campaign(ONE)
    (campaign,) = (await report(home))["campaigns"]
    assert list(campaign["message_1"]) == list(campaign["message_2"]) == [s.value for s in MessageStatus]


# --- the sender's state --------------------------------------------------------------------------------------


async def test_sending_while_something_is_due_or_under_way(home: House) -> None:
    assert (await report(home, replace(FACTS, in_flight=1)))["sender"]["state"] == "sending"
    await home.campaign(ONE)
    assert (await report(home))["sender"]["state"] == "sending"


async def test_idle_when_done_or_only_a_draft_waits(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    await home.campaign(TWO, name="draft", launch=False)
    assert (await report(home))["sender"]["state"] == "idle"


async def test_paused_when_only_paused_campaigns_have_work(home: House) -> None:
    await home.campaign(ONE)
    await home.campaigns.pause("spring")
    found = await report(home)
    assert (found["status"], found["sender"]["state"]) == ("ok", "paused")
    assert (found["queue"]["message_1"], found["queue"]["eta_seconds"]) == (1, 0)
    await home.campaign(TWO, name="other")
    assert (await report(home))["sender"]["state"] == "sending"


async def test_held_says_why_and_degrades(home: House) -> None:
    await home.campaign(ONE)
    home.client.outcomes = [Held("HTTP 402: no credit")]
    home.clock.advance(1)
    await home.sender.step()
    await home.sender.settle_all()
    found = await report(home, replace(FACTS, held=home.sender.held))
    assert (found["status"], found["sender"]["state"], found["sender"]["reason"]) == (
        "degraded", "held", "HTTP 402: no credit",
    )  # fmt: skip


async def test_without_a_daemon(home: House) -> None:
    found = await report(home, NOT_RUNNING)
    assert (found["sender"]["state"], found["sender"]["reason"]) == ("held", "the daemon is not running")


# --- the whole's state ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "expected"), [(0, "ok"), (600, "ok"), (601, "degraded"), (86_400, "degraded")])
async def test_an_old_doubt_needs_a_person(home: House, seconds: int, expected: str) -> None:
    await home.campaign(ONE)
    await home.send_one(Uncertain("no answer in time"))
    home.clock.advance(seconds)
    assert (await report(home))["status"] == expected


async def test_a_long_proof_is_waited_for(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one(Uncertain("no answer in time"))
    home.clock.advance(3000)
    assert (await report(home, policy=Policy(resend_after=timedelta(hours=1))))["status"] == "ok"


async def test_a_settled_doubt_needs_nobody(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one(Uncertain("no answer in time"))
    home.clock.advance(86_400)
    now = home.clock.now()
    await home.store.write(lambda tx: settling.resolve(tx, 1, MessageStatus.SENT, now=now, policy=home.policy))
    assert (await report(home))["status"] == "ok"


async def test_failing_until_a_write_is_stored(home: House) -> None:
    def refuse(tx: Tx) -> None:
        tx.execute("SELECT * FROM nowhere")

    with pytest.raises(StoreUnavailableError):
        await home.store.write(refuse)
    found = await report(home, replace(FACTS, held="HTTP 402"))
    assert found["status"] == "failing"
    assert found["problems"] == [
        "the database cannot be written: no such table: nowhere", "sending is held: HTTP 402",
    ]  # fmt: skip
    await home.store.write(lambda tx: tx.execute("SELECT 1").fetchone())  # which no full disk refuses
    assert (await report(home))["status"] == "failing"
    await home.store.write(lambda tx: marks.put(tx, "disk_back", START))
    assert ((await report(home))["status"], (await report(home))["problems"]) == ("ok", [])


# --- what the daemon watches ---------------------------------------------------------------------------------


async def test_findings_are_shown_with_their_time(home: House) -> None:
    device = Finding(ok=True, detail="operative, session online", checked_at=START)
    webhook = Finding(ok=None, detail="no answer: HTTP 503", checked_at=START)
    found = await report(
        home, replace(FACTS, device=device, webhook=webhook, caught_up_at=START, catch_up_problem="HTTP 503")
    )
    at = "2026-11-22T10:00:00.000Z"
    assert found["watch"] == {
        "device": {"ok": True, "detail": "operative, session online", "checked_at": at},
        "webhook": {"ok": None, "detail": "no answer: HTTP 503", "checked_at": at},
        "catch_up": {"last_at": at, "problem": "HTTP 503"},
    }
    # Nobody is called for a provider that does not answer.
    assert (found["status"], found["problems"]) == ("ok", [])


async def test_a_webhook_that_is_not_as_it_must_be_is_a_problem(home: House) -> None:
    webhook = Finding(ok=False, detail="registered, disabled", checked_at=START)
    found = await report(home, replace(FACTS, webhook=webhook))
    assert (found["status"], found["problems"]) == ("degraded", ["webhook: registered, disabled"])
    assert found["sender"]["state"] == "idle"


async def test_a_lost_device_is_one_problem(home: House) -> None:
    """The sender is held for it, and says so: no second line."""
    device = Finding(ok=False, detail="operative, session offline", checked_at=START)
    held = "device: operative, session offline"
    found = await report(home, replace(FACTS, device=device, held=held))
    assert (found["status"], found["problems"]) == ("degraded", [f"sending is held: {held}"])


async def test_several_problems_are_a_line_each(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one(Uncertain("no answer in time"))
    home.clock.advance(86_400)
    webhook = Finding(ok=False, detail="registered, disabled", checked_at=START)
    assert (await report(home, replace(FACTS, held="HTTP 402", webhook=webhook)))["problems"] == [
        "sending is held: HTTP 402",
        "messages are uncertain, and look-ups do not settle them",
        "webhook: registered, disabled",
    ]


async def test_what_was_found_by_asking_is_no_webhook(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    lost = events.parse(json.dumps(inbound(ONE, at=START, wa_id="A1")).encode())
    home.clock.advance(60)
    assert await home.inbox.take(lost, EventSource.CATCH_UP) is EventResult.ACCEPTED
    assert await home.inbox.take(lost, EventSource.CATCH_UP) is EventResult.DUPLICATE
    found = (await report(home))["webhooks"]
    assert (found["received"], found["duplicates"], found["found_by_catch_up"]) == (0, 0, 1)
    assert found["last_received_at"] is None  # or a dead webhook would look alive
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    found = (await report(home))["webhooks"]
    assert (found["received"], found["duplicates"], found["found_by_catch_up"]) == (1, 1, 1)


# --- a campaign's state --------------------------------------------------------------------------------------


async def test_a_campaign_is_completed_when_its_last_window_is_over(home: House) -> None:
    await home.campaign(ONE, TWO)
    assert await campaign_status(home) == "running"
    await home.send_one()
    home.clock.advance(3600)
    await home.send_one(Rejected("HTTP 400"))
    assert await campaign_status(home) == "running"
    home.clock.advance(23 * 3600)  # to the very end of the window
    assert await campaign_status(home) == "running"
    home.clock.advance(0.001)
    assert await campaign_status(home) == "completed"
    assert await home.rows("SELECT status FROM campaigns") == [("running",)]
    await home.receive(inbound(ONE, at=home.clock.now() + timedelta(seconds=1), wa_id="A1"))
    assert await home.outcomes() == ["no_recent_message_1"]


async def test_open_messages_keep_a_campaign_open(home: House) -> None:
    await home.campaign(ONE, TWO)
    await home.send_one()
    await home.send_one(Uncertain("no answer in time"))
    home.clock.advance(48 * 3600)
    assert await campaign_status(home) == "running"
    now = home.clock.now()
    await home.store.write(lambda tx: settling.resolve(tx, 2, MessageStatus.FAILED, now=now, policy=home.policy))
    assert await campaign_status(home) == "completed"


async def test_a_message_2_in_line_keeps_a_campaign_open(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    home.clock.advance(48 * 3600)
    assert await campaign_status(home) == "running"
    await home.send_one(Accepted("b" * 24))
    assert await campaign_status(home) == "completed"


async def test_a_failed_message_1_holds_no_window_open(home: House) -> None:
    """It was sent, and then reported as failed: nobody can reply to it any more."""
    await home.campaign(ONE)
    claim = await home.send_one()
    assert await campaign_status(home) == "running"
    await home.receive(receipt("failed", at=START, reference=claim.reference, reason="not on WhatsApp"))
    assert await home.statuses() == [(ONE, 1, "failed")]
    assert await campaign_status(home) == "completed"
    assert (await report(home))["campaigns"][0]["window_closes_at"] is None
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    assert await home.outcomes() == ["no_recent_message_1"]
    assert await campaign_status(home) == "completed"


async def test_a_failed_message_1_leaves_the_windows_of_the_others(home: House) -> None:
    await home.campaign(ONE, TWO)
    await home.send_one()
    home.clock.advance(3600)
    late = await home.send_one()
    await home.receive(receipt("failed", at=home.clock.now(), reference=late.reference, reason="gone"))
    assert (await report(home))["campaigns"][0]["window_closes_at"] == "2026-11-23T10:00:00.000Z"
    home.clock.advance(23 * 3600 + 1)
    assert await campaign_status(home) == "completed"


async def test_a_campaign_of_which_nothing_went_out_is_completed(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one(Rejected("HTTP 400"))
    assert await campaign_status(home) == "completed"
    assert (await report(home))["campaigns"][0]["window_closes_at"] is None


@pytest.mark.parametrize(
    ("actions", "expected"), [((), "draft"), (("launch", "pause"), "paused"), (("cancel",), "cancelled")]
)
async def test_other_states_are_as_stored(home: House, actions: tuple[str, ...], expected: str) -> None:
    await home.campaign(ONE, launch=False)
    for action in actions:
        await getattr(home.campaigns, action)("spring")
    home.clock.advance(1_000_000)
    assert await campaign_status(home) == expected


async def test_a_contact_imported_later_opens_a_completed_campaign_again(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    home.clock.advance(100_000)
    assert await campaign_status(home) == "completed"
    await home.store.write(
        lambda tx: campaigning.add_rows(tx, "spring", [campaigning.Row(2, TWO, TWO, {})], home.clock.now())
    )
    assert await campaign_status(home) == "running"


async def test_one_campaign_by_name(home: House) -> None:
    await home.campaign(ONE, name="a")
    await home.campaign(ONE, TWO, name="b")
    (found,) = await stats.campaigns(home.store.reader, "b")
    assert (found.name, found.contacts, found.open_messages) == ("b", 2, 2)
    assert await stats.campaigns(home.store.reader, "c") == []

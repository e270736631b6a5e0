"""What is too old goes, kind by kind, and what is left is in order."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.store.healthy import LID, ONE, STRANGER, TWO, healthy, write
from tests.support import START, House, house, inbound, inbound_from_lid
from wamsg2 import phone, rules
from wamsg2.model import EventSource, NotificationState
from wamsg2.privacy import Privacy
from wamsg2.retention import Kept, Retention
from wamsg2.store import notifications, retention
from wamsg2.store.writer import StoreUnavailableError, WriterStoppedError
from wamsg2.work import campaigning, pruning
from wamsg2.work.campaigning import CampaignError

DAY = timedelta(days=1)
MONTH = timedelta(days=30)


async def prune(home: House, raw_events: timedelta = MONTH, **kept: timedelta) -> None:
    service = Retention(
        store=home.store, clock=home.clock, policy=home.policy, kept=Kept(raw_events, **kept), pause_seconds=0
    )
    await service.step()
    assert await home.violations() == []


async def count(home: House, *tables: str) -> list[int]:
    return [(await home.rows(f"SELECT count(*) FROM {table}"))[0][0] for table in tables]  # noqa: S608


def pass_days(home: House, days: float) -> None:
    home.clock.advance(days * 86_400)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with healthy(tmp_path) as made:
        yield made


# --- raw events ----------------------------------------------------------------------------------------------


async def test_raw_events_go_when_they_are_old(home: House) -> None:
    before = await count(home, "events", "interactions", "messages", "contacts", "recipients")
    pass_days(home, 28)
    await write(home, ONE, "hello again", "B1")
    await prune(home)
    assert await count(home, "events", "interactions") == [before[0] + 1, before[1] + 1]
    pass_days(home, 3)
    await prune(home)
    assert await count(home, "events") == [1]
    assert await count(home, "interactions", "messages", "contacts", "recipients") == [before[1] + 1, *before[2:]]
    assert await home.rows("SELECT value FROM totals WHERE name = 'events_removed'") == [(before[0],)]


async def test_no_setting_lets_the_catch_up_take_anything_twice(home: House) -> None:
    """What it may ask for is known, also where the provider's clock is most of a day ahead of ours."""
    body = inbound(ONE, "yes", at=home.clock.now() + DAY / 2, wa_id="B1")
    await home.receive(body)
    listed_from = rules.list_since(START, home.clock.now() + timedelta(days=7.5))
    pass_days(home, 7.5)
    assert listed_from <= home.clock.now() - timedelta(days=7)
    await prune(home, timedelta(days=7))
    assert await home.receive(body) == "duplicate"
    pass_days(home, 1)
    await prune(home, timedelta(days=7))
    assert await count(home, "events") == [0]


async def test_receipts_that_matched_nothing_go_with_the_events(home: House) -> None:
    assert await count(home, "waiting_receipts") == [1]
    pass_days(home, 31)
    await prune(home)
    assert await count(home, "waiting_receipts") == [0]


async def test_notifications_go_with_the_events(home: House) -> None:
    now = home.clock.now()
    for kind, state in (("held", NotificationState.RAISED), ("database_failed", NotificationState.HAPPENED)):
        await home.store.write(
            lambda tx, kind=kind, state=state: notifications.add(  # type: ignore[misc] # a lambda has no annotations
                tx, kind=kind, detail="x", state=state, now=now, post=False
            )
        )
    pass_days(home, 31)
    await prune(home)
    assert await home.rows("SELECT kind FROM notifications") == [("held",)]  # is so still


async def test_much_goes_in_small_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house(tmp_path) as home:
        await home.store.write(
            lambda tx: tx.execute(
                """WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1234)
                   INSERT INTO events (identity, name, result, source, body, received_at)
                   SELECT CAST(i AS BLOB), 'x', 'ignored', 'webhook', x'00', i FROM n"""
            )
        )
        pieces = []
        delete = retention.delete_events

        def delete_counted(tx: Any, event_ids: list[int]) -> None:
            pieces.append(len(event_ids))
            delete(tx, event_ids)

        monkeypatch.setattr(retention, "delete_events", delete_counted)
        await prune(home)
        assert sum(pieces) == 1234
        assert max(pieces) <= 500
        assert await count(home, "events") == [0]


# --- words ---------------------------------------------------------------------------------------------------


async def test_words_are_kept_unless_told_otherwise(home: House) -> None:
    texts = "SELECT count(*) FROM messages WHERE text <> ''", "SELECT count(*) FROM interactions WHERE text <> ''"
    before = [await home.rows(query) for query in texts]
    pass_days(home, 400)
    await prune(home)
    assert [await home.rows(query) for query in texts] == before


async def test_texts_of_messages_go_once_they_are_settled(home: House) -> None:
    pass_days(home, 9)
    await prune(home, message_texts=10 * DAY)
    assert await home.rows("SELECT count(*) FROM messages WHERE text = 'Hello'") != [(0,)]
    pass_days(home, 2)
    await prune(home, message_texts=10 * DAY)
    with_text = await home.rows("SELECT DISTINCT status FROM messages WHERE text <> '' ORDER BY status")
    assert with_text == [("queued",), ("sending",), ("uncertain",)]


async def test_words_of_people_go_and_what_they_led_to_stays(home: House) -> None:
    before = await home.outcomes(), await home.rows("SELECT * FROM campaign_counts")
    await home.receive(inbound_from_lid("6@lid", "moonlight", at=home.clock.now(), wa_id="B1"))
    pass_days(home, 11)
    await write(home, TWO, "of today", "B2")
    await prune(home, interactions=10 * DAY)
    left = await home.rows(
        "SELECT outcome, text FROM interactions WHERE text <> '' OR coalesce(sender_phone, sender_chat) IS NOT NULL"
    )
    assert left == [("waiting_for_message_1", "yes"), ("opted_out", "of today")]  # the one is not decided yet
    assert (await home.outcomes())[: len(before[0])] == before[0]
    assert await home.rows("SELECT contacts, replied, opted_out FROM campaign_counts") == [
        (contacts, replied, opted_out) for _, contacts, replied, _, opted_out in before[1]
    ]


# --- campaigns -----------------------------------------------------------------------------------------------


@pytest.fixture
async def over(tmp_path: Path) -> AsyncIterator[House]:
    """A campaign of two that is over after a day, with a Message 2 and a STOP."""
    async with house(tmp_path) as made:
        await made.campaign(ONE, TWO)
        await made.send_one()
        await made.send_one()
        await write(made, ONE, "yes", "A1")
        await write(made, TWO, "STOP", "A2")
        made.clock.advance(2)
        await made.send_one()
        await write(made, STRANGER, "who?", "A3")
        yield made


ALL = ("campaigns", "recipients", "messages", "contacts", "message_counts", "campaign_counts", "chat_ids")


async def test_a_campaign_that_is_long_over_goes_whole(over: House) -> None:
    pass_days(over, 61)
    await prune(over, finished_campaigns=60 * DAY)
    assert await count(over, *ALL) != [0] * len(ALL)
    pass_days(over, 1)
    await prune(over, finished_campaigns=60 * DAY)
    # Who wrote STOP stays, or the next import would reach them; what they wrote went with the campaign.
    assert await over.rows("SELECT phone, opted_out FROM contacts") == [(TWO, 1)]
    assert await count(over, *ALL) == [0, 0, 0, 1, 0, 0, 1]
    assert await over.outcomes() == ["unknown_contact"]
    await over.campaign(ONE, TWO)  # the name is free
    assert await over.statuses() == [(TWO, 1, "cancelled"), (ONE, 1, "queued")]
    assert await over.violations() == []


async def test_it_goes_not_before_its_raw_events(over: House) -> None:
    pass_days(over, 20)
    await prune(over, finished_campaigns=2 * DAY)
    assert await count(over, "campaigns") == [1]
    pass_days(over, 12)
    await prune(over, finished_campaigns=2 * DAY)
    assert await count(over, "campaigns", "events") == [0, 0]


async def test_what_is_not_over_stays(home: House) -> None:
    """Open messages, a pause, a draft: none of them ends by itself."""
    await home.store.write(lambda tx: tx.execute("UPDATE campaigns SET status = 'paused' WHERE id = 3"))
    before = await home.rows("SELECT id, name FROM campaigns WHERE id <> 2")
    pass_days(home, 1000)
    await prune(home, finished_campaigns=DAY)
    assert await home.rows("SELECT id, name FROM campaigns") == before


async def test_a_late_reaction_stays_without_its_campaign(over: House) -> None:
    pass_days(over, 60)
    body = inbound(ONE, "", at=over.clock.now(), wa_id=f"3EB0{1:016X}", type="reaction")
    body["data"]["reactionMessage"] = f"3EB0{1:016X}"
    await over.receive(body)
    assert await over.rows("SELECT campaign_id FROM interactions WHERE outcome = 'reaction'") == [(1,)]
    await prune(over, finished_campaigns=32 * DAY)
    assert await count(over, "campaigns", "messages") == [0, 0]
    assert await over.rows(
        "SELECT contact_id, campaign_id, message_id FROM interactions WHERE type = 'reaction'"
    ) == [(1, None, None)]
    assert await count(over, "contacts") == [2]
    pass_days(over, 31)
    await prune(over, finished_campaigns=32 * DAY)
    assert await over.rows("SELECT phone FROM contacts") == [(TWO,)]


async def test_a_reply_whose_raw_event_is_there_keeps_its_contact_in_the_campaign(over: House) -> None:
    """A webhook that came very late."""
    pass_days(over, 60)
    await over.receive(inbound(ONE, "and?", at=START + timedelta(hours=1), wa_id="B1"))
    assert (await over.outcomes())[-1] == "message_2_exists"
    await prune(over, finished_campaigns=32 * DAY)
    assert await over.rows("SELECT contact_id FROM recipients") == [(1,)]
    pass_days(over, 31)
    await prune(over, finished_campaigns=32 * DAY)
    assert await count(over, "campaigns", "recipients") == [0, 0]


async def test_contacts_of_other_campaigns_stay(over: House) -> None:
    await over.campaign(ONE, name="autumn", launch=False)
    pass_days(over, 90)
    await prune(over, finished_campaigns=60 * DAY)
    assert await over.rows("SELECT phone FROM contacts ORDER BY id") == [(ONE,), (TWO,)]
    assert await over.rows("SELECT name FROM campaigns") == [("autumn",)]
    assert await over.rows("SELECT contacts FROM campaign_counts") == [(1,)]


async def test_a_forgotten_one_goes_and_stays_forgotten(over: House) -> None:
    privacy = Privacy(store=over.store, clock=over.clock)
    await privacy.forget(ONE)
    pass_days(over, 90)
    await prune(over, finished_campaigns=60 * DAY)
    assert await over.rows("SELECT phone FROM contacts") == [(TWO,)]
    assert await over.receive(inbound(ONE, "hello", at=over.clock.now(), wa_id="B1")) == "ignored"
    assert await privacy.remember(ONE) is False
    assert await over.receive(inbound_from_lid(f"9{ONE[1:]}@lid", at=over.clock.now(), wa_id="B2")) == "accepted"


async def test_a_new_campaign_is_not_taken_for_an_old_one(over: House) -> None:
    """Its id may be one that was given before."""
    pass_days(over, 90)
    await prune(over, finished_campaigns=60 * DAY)
    await over.campaign(ONE, name="new")
    await over.send_one()
    assert await over.rows("SELECT contacts, replied, interactions FROM campaign_counts") == [(1, 0, 0)]
    await prune(over, finished_campaigns=60 * DAY)
    assert await count(over, "campaigns") == [1]


# --- a campaign whose removal has begun --------------------------------------------------------------------------


async def remove_some(home: House, *, ended_before: timedelta | None, most: int) -> pruning.Progress:
    """One unit of the removal of campaign 1, as the service does it."""
    now = home.clock.now()
    return await home.store.write(
        lambda tx: pruning.remove_some(
            tx,
            1,
            ended_before=None if ended_before is None else now - ended_before,
            events_before=now - MONTH,
            policy=home.policy,
            now=now,
            most=most,
        )
    )


async def imported(home: House, *phones: str) -> Sequence[object]:
    rows = [campaigning.Row(n, p, phone.key(p), {}) for n, p in enumerate(phones, start=2)]
    return await home.store.write(lambda tx: campaigning.add_rows(tx, "spring", rows, home.clock.now()))


async def test_a_campaign_is_closed_before_its_first_row_goes(over: House) -> None:
    pass_days(over, 61)
    await prune(over)
    before = await count(over, *ALL)
    assert await remove_some(over, ended_before=60 * DAY, most=1) is pruning.Progress.SOME
    assert await count(over, *ALL) == before
    assert await over.rows("SELECT closed_at IS NOT NULL FROM campaigns") == [(1,)]
    with pytest.raises(CampaignError, match=r"^campaign 'spring' ended long ago and is being removed: use another"):
        await imported(over, ONE, TWO)
    assert await remove_some(over, ended_before=60 * DAY, most=1) is pruning.Progress.SOME
    assert await count(over, "recipients") == [1]
    assert await over.violations() == []


@pytest.mark.parametrize("action", ["launch", "pause", "resume", "cancel"])
async def test_nothing_is_done_with_a_closed_campaign(over: House, action: str) -> None:
    pass_days(over, 61)
    await remove_some(over, ended_before=60 * DAY, most=1)
    with pytest.raises(CampaignError, match="is being removed"):
        await getattr(over.campaigns, action)("spring")


async def test_a_removal_that_has_begun_comes_to_its_end(over: House) -> None:
    """Also where the daemon starts anew meanwhile, and campaigns are to be kept for ever from then on."""
    pass_days(over, 61)
    for _ in range(2):
        await remove_some(over, ended_before=60 * DAY, most=1)
    await prune(over)
    assert await count(over, "campaigns", "recipients", "messages") == [0, 0, 0]
    assert await over.rows("SELECT phone FROM contacts ORDER BY id") == [(ONE,), (TWO,)]


async def test_an_import_beside_the_removal_sends_nothing_twice(tmp_path: Path) -> None:
    people = [f"+346{n:08d}" for n in range(1, 121)]
    file = tmp_path / "people.csv"
    file.write_text("phone\n" + "\n".join(people) + "\n")
    async with house(tmp_path) as home:
        await home.campaigns.create("spring", "Hello", "More")
        await home.campaigns.import_contacts("spring", file)
        await home.campaigns.launch("spring")
        first = {(await home.send_one()).reference for _ in people}
        pass_days(home, 200)
        service = Retention(
            store=home.store,
            clock=home.clock,
            policy=home.policy,
            kept=Kept(MONTH, finished_campaigns=90 * DAY),
            pause_seconds=0.001,
        )
        removal = asyncio.create_task(service.step())
        while await count(home, "messages") == [120]:  # noqa: ASYNC110 - the removal signals nothing
            await asyncio.sleep(0)
        with pytest.raises(CampaignError, match="is being removed"):
            await home.campaigns.import_contacts("spring", file)
        await removal
        assert await count(home, "campaigns", "messages") == [0, 0]
        assert len(first) == 120


async def test_an_import_before_the_removal_keeps_the_campaign(over: House) -> None:
    pass_days(over, 61)
    await imported(over, ONE, "+34600000099")
    assert await remove_some(over, ended_before=60 * DAY, most=50) is pruning.Progress.NONE
    assert [claim.phone for claim in await over.claim(9)] == ["+34600000099"]


# --- the service ---------------------------------------------------------------------------------------------


async def test_it_tells_what_went(home: House) -> None:
    pass_days(home, 31)
    assert LID  # rows with ids that hide numbers are among them
    await prune(home, message_texts=DAY, interactions=DAY, finished_campaigns=DAY)
    await prune(home, message_texts=DAY, interactions=DAY, finished_campaigns=DAY)
    assert await count(home, "events") == [0]


@pytest.mark.parametrize(("error", "ends"), [(StoreUnavailableError("full"), False), (WriterStoppedError("x"), True)])
async def test_a_disk_that_refuses_is_tried_again_tomorrow(
    home: House, monkeypatch: pytest.MonkeyPatch, error: Exception, *, ends: bool
) -> None:
    pass_days(home, 31)

    async def refuse(_: object) -> None:
        raise error

    monkeypatch.setattr(home.store, "write", refuse)
    service = Retention(store=home.store, clock=home.clock, policy=home.policy, kept=Kept(MONTH), pause_seconds=0)
    if ends:
        with pytest.raises(WriterStoppedError):
            await service.step()
    else:
        await service.step()
    monkeypatch.undo()
    assert await count(home, "events") != [0]
    await prune(home)
    assert await count(home, "events") == [0]


def test_events_of_the_catch_up_are_kept_as_well() -> None:
    assert EventSource.CATCH_UP  # one table, one rule
    now = START
    assert rules.expire_before(timedelta(days=7), now) == now - timedelta(days=8)
    assert rules.expire_before(timedelta(days=30), now) == now - timedelta(days=30)

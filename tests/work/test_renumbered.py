"""People of countries with new numbers: WhatsApp still knows many by the old one (contract, reply 2)."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import START, House, ack, house, inbound
from wamsg2 import phone
from wamsg2.model import WamsgError
from wamsg2.privacy import Privacy
from wamsg2.store import forgotten
from wamsg2.work import campaigning, consent

NEW, OLD = "+2250707123456", "+22507123456"
COTONOU, COTONOU_BEFORE = "+2290197123456", "+22997123456"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


async def test_a_stop_from_the_old_number_opts_the_contact_out(home: House) -> None:
    await home.campaign(NEW, COTONOU)
    await home.send_one()
    home.clock.advance(5)
    assert await home.receive(inbound(OLD, "STOP", at=home.clock.now(), wa_id="A1")) == "accepted"
    assert await home.outcomes() == ["opt_out"]
    assert await home.rows("SELECT phone, opted_out FROM contacts") == [(NEW, 1), (COTONOU, 0)]
    await home.campaign(OLD, NEW, name="summer")
    assert await home.rows("SELECT count(*) FROM contacts") == [(2,)]
    assert [status for number, _, status in await home.statuses() if number == NEW] == ["sent", "cancelled"]


async def test_a_reply_from_the_old_number_earns_message_2(home: House) -> None:
    await home.campaign(NEW)
    await home.send_one()
    home.clock.advance(5)
    await home.receive(inbound(OLD, "yes", at=home.clock.now(), wa_id="A1"))
    assert await home.outcomes() == ["message_2_queued"]
    assert await home.statuses() == [(NEW, 1, "sent"), (NEW, 2, "queued")]


async def test_a_receipt_that_names_the_old_number_counts(home: House) -> None:
    await home.campaign(NEW)
    claim = await home.send_one()
    await home.receive(ack("read", at=START, wa_id=f"3EB0{claim.message_id:016X}", number=OLD))
    assert await home.statuses() == [(NEW, 1, "read")]
    assert await home.rows("SELECT chat_id FROM chat_ids WHERE chat_id LIKE '%@c.us'") == []


async def test_both_spellings_in_a_file_are_one_contact(home: House, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text(f"phone\n+225 07 12 34 56\n{NEW}\n+229 97 12 34 56\n{COTONOU}\n", encoding="utf-8")
    await home.campaigns.create("spring", "Hello", None)
    report = await home.campaigns.import_contacts("spring", file)
    assert (report.added, len(report.repeated), report.refused) == (2, 2, [])
    assert await home.rows("SELECT phone, phone_key FROM contacts") == [(NEW, NEW), (COTONOU, COTONOU)]


# --- who was forgotten by a version that had another key -----------------------------------------------------


async def forgotten_before(home: House, old: str) -> None:
    """Somebody was forgotten under the old number, when that was its key."""
    assert phone.key(old) != old
    await home.store.write(lambda tx: forgotten.add(tx, old, (), home.clock.now()))


@pytest.mark.parametrize("number", [OLD, NEW])
async def test_they_stay_forgotten(home: House, number: str) -> None:
    await forgotten_before(home, OLD)
    assert await home.receive(inbound(number, "moonlight", at=START, wa_id="A1")) == "ignored"
    assert await home.rows("SELECT count(*) FROM interactions") == [(0,)]
    assert await home.bodies() == [b"{}"]
    with pytest.raises(WamsgError, match="was forgotten"):
        await home.store.write(lambda tx: consent.opt_out_number(tx, NEW, phone.key(number), home.clock.now()))
    await home.campaigns.create("spring", "Hello", None)
    row = campaigning.Row(2, NEW, phone.key(number), {})
    assert await home.store.write(lambda tx: campaigning.add_rows(tx, "spring", [row], home.clock.now())) == [None]
    exported = await Privacy(store=home.store, clock=home.clock).export(number)
    assert exported is not None
    assert exported["forgotten"]


@pytest.mark.parametrize("number", [OLD, NEW])
async def test_they_can_be_remembered(home: House, number: str) -> None:
    await forgotten_before(home, OLD)
    await home.store.write(lambda tx: forgotten.add(tx, NEW, (), home.clock.now() + timedelta(days=1)))
    privacy = Privacy(store=home.store, clock=home.clock)
    assert await privacy.remember(number) is False
    assert await privacy.remember(number) is None
    assert await home.receive(inbound(OLD, "hello", at=START, wa_id="A1")) == "accepted"


async def test_one_who_was_imported_anew_meanwhile_is_remembered_as_that_contact(home: House) -> None:
    await home.campaign(NEW)
    await forgotten_before(home, OLD)
    await home.store.write(
        lambda tx: tx.execute(
            """INSERT INTO contacts (phone, phone_key, created_at, opted_out, forgotten_at)
               SELECT 'forgotten', lower(hex(phone_hash)), 0, 1, 0 FROM forgotten"""
        )
    )
    assert await Privacy(store=home.store, clock=home.clock).remember(NEW) is True
    assert await home.rows("SELECT phone FROM contacts ORDER BY id") == [(NEW,), ("forgotten",)]

"""What the provider says of our messages and of other devices, from the body to the rows."""

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support import START, House, ack, house, inbound, receipt
from wamsg2.model import Accepted, ReceiptStatus, Uncertain
from wamsg2.store import events as event_rows
from wamsg2.wassenger.events import parse

ONE, TWO = "+34600000001", "+34600000002"
QUEUE_ID, WA_ID = f"{1:024x}", f"3EB0{1:016X}"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        await made.campaign(ONE)
        await made.send_one()
        made.clock.advance(60)
        yield made


def told(name: str, home: House, **data: Any) -> dict[str, Any]:
    """An event of the queue about our message."""
    body = receipt("sent", at=home.clock.now(), queue_id=QUEUE_ID)
    for key in ("status", "deliveryStatus"):
        del body["data"][key]
    body["data"].pop("sentAt", None)
    return body | {"event": name, "data": body["data"] | data}


# --- how far a message got --------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["expired", "removed", "invalid", "cancelled"])
async def test_what_the_queue_dropped_has_failed(home: House, word: str) -> None:
    await home.receive(told("message:out:ack", home, status=word))
    assert await home.rows("SELECT status, reason FROM messages") == [("failed", word)]
    await home.receive(inbound(ONE, at=home.clock.now(), wa_id="AC1"))
    assert await home.outcomes() == ["no_recent_message_1"]


@pytest.mark.parametrize("word", ["expired", "removed"])
async def test_events_of_the_queue_fail_a_message(home: House, word: str) -> None:
    await home.receive(told(f"message:out:{word}", home))
    assert await home.rows("SELECT status, reason FROM messages") == [("failed", word)]


@pytest.mark.parametrize("order", [1, -1])
async def test_what_arrived_is_not_dropped_whatever_comes_first(home: House, order: int) -> None:
    bodies = [
        told("message:out:ack", home, deliveryStatus="expired"),
        ack("delivered", at=home.clock.now(), wa_id=WA_ID, number=ONE),
    ]
    for body in bodies[::order]:
        await home.receive(body)
    assert await home.rows("SELECT status FROM messages") == [("delivered",)]


@pytest.mark.parametrize(("word", "status"), [("readed", "read"), ("played", "read"), ("revoked", "sent")])
async def test_other_words(home: House, word: str, status: str) -> None:
    await home.receive(told("message:out:ack", home, deliveryStatus=word))
    assert await home.rows("SELECT status, reason FROM messages") == [(status, None)]


async def test_the_word_of_the_envelope_counts(home: House) -> None:
    body = ack("sent", at=home.clock.now(), wa_id=WA_ID, number=ONE)
    await home.receive(body | {"ack": "read"})
    assert await home.rows("SELECT status FROM messages") == [("read",)]


async def test_a_revoked_message_has_a_note(home: House) -> None:
    await home.receive(ack("read", at=home.clock.now(), wa_id=WA_ID, number=ONE))
    await home.receive(told("message:out:ack", home, deliveryStatus="revoked"))
    assert await home.rows("SELECT status FROM messages") == [("read",)]
    assert ("revoked: deleted for everybody",) in await home.rows("SELECT what FROM message_notes")


async def test_an_unknown_word_changes_nothing_and_is_logged_once(home: House) -> None:
    with capture_logs() as logs:
        for number, word in enumerate(("teleported", "teleported", f"for {ONE}")):
            await home.receive(told("message:out:ack", home, deliveryStatus=word, n=number))
    assert [line["word"] for line in logs if line["event"] == "provider.unknown_word"] == ["teleported"]
    assert ONE[1:] not in str(logs)
    assert await home.rows("SELECT status FROM messages") == [("sent",)]


async def test_an_unknown_word_is_counted_where_it_is_news(home: House) -> None:
    counter: Any = home.inbox
    body = told("message:out:ack", home, deliveryStatus="teleported")
    assert [await home.receive(body) for _ in range(2)] == ["ignored", "duplicate"]
    assert counter._unknown_words.count == 1


async def test_a_receipt_that_waits_keeps_what_it_says(home: House) -> None:
    body = ack("delivered", at=home.clock.now(), wa_id="3EB0FF", number=TWO)
    body["data"]["timestamp"] = int(START.timestamp())
    body["data"]["meta"]["isRevoked"] = True
    del body["data"]["events"]
    content = parse_content(body)
    assert (content.sent_at, content.is_revoked) == (START, True)
    await home.receive(body)
    kept = await home.store.write(
        lambda tx: event_rows.take_receipts(tx, reference="w2-x", queue_id=None, wa_id="3EB0FF")
    )
    assert [(each.status, each.sent_at, each.is_revoked) for each in kept] == [(ReceiptStatus.DELIVERED, START, True)]
    assert kept[0].occurred_at == content.occurred_at


def parse_content(body: dict[str, Any]) -> Any:
    return parse(json.dumps(body).encode()).content


async def test_an_answer_tells_that_it_was_revoked(home: House) -> None:
    await home.campaign(TWO, name="other")
    await home.send_one(Accepted(queue_id="a" * 24, wa_id="W9", is_revoked=True))
    assert await home.rows("SELECT status, what FROM messages m JOIN message_notes n ON n.message_id = m.id") == [
        ("sent", "revoked: deleted for everybody")
    ]


# --- other devices ----------------------------------------------------------------------------------------------

OTHER = {"id": "a" * 24, "phone": "+34699999999"}


async def test_a_message_to_another_device_is_kept_and_answers_nothing(home: House) -> None:
    body = inbound(ONE, "where is my parcel?", at=home.clock.now(), wa_id="AC1") | {"device": OTHER}
    assert await home.receive(body) == "ignored"
    assert await home.outcomes() == []
    assert await home.rows("SELECT name, result FROM events") == [("message:in:new", "ignored")]
    assert await home.receive(inbound(ONE, at=home.clock.now(), wa_id="AC1")) == "accepted"


async def test_an_opt_out_to_another_device_opts_out(home: House) -> None:
    body = inbound(ONE, "STOP", at=home.clock.now(), wa_id="AC1") | {"device": OTHER}
    await home.receive(body)
    assert await home.outcomes() == ["opt_out"]
    assert await home.rows("SELECT opted_out FROM contacts") == [(1,)]


async def test_a_receipt_of_another_device_moves_nothing(home: House) -> None:
    body = ack("read", at=home.clock.now(), wa_id=WA_ID, number=ONE) | {"device": OTHER}
    assert await home.receive(body) == "ignored"
    assert await home.rows("SELECT status FROM messages") == [("sent",)]


# --- words that are no reply ------------------------------------------------------------------------------------


async def test_an_empty_event_does_not_swallow_the_words_that_follow(home: House) -> None:
    empty = inbound(ONE, "", at=home.clock.now(), wa_id="AC1", type="ciphertext")
    assert [await home.receive(empty) for _ in range(2)] == ["accepted", "duplicate"]
    await home.receive(inbound(ONE, "STOP", at=home.clock.now(), wa_id="AC1"))
    assert await home.outcomes() == ["not_a_reply", "opt_out"]
    assert await home.rows("SELECT value FROM totals WHERE name = 'not_replies'") == [(1,)]


async def test_an_edit_to_stop_opts_out(home: House) -> None:
    await home.receive(inbound(ONE, "yes", at=home.clock.now(), wa_id="AC1"))
    home.clock.advance(60)
    edited = inbound(ONE, "STOP", at=home.clock.now(), wa_id="AC1", meta={"isEdited": True})
    assert await home.receive(edited | {"event": "message:update"}) == "accepted"
    assert await home.rows("SELECT opted_out FROM contacts") == [(1,)]
    assert await home.rows("SELECT type FROM interactions ORDER BY id") == [("text",), ("edit",)]


async def test_an_edit_to_other_words_answers_nothing(home: House) -> None:
    edited = inbound(ONE, "yes", at=home.clock.now(), wa_id="AC1", meta={"isEdited": True})
    await home.receive(edited | {"event": "message:update"})
    assert await home.outcomes() == ["not_a_reply"]


# --- when it was sent -------------------------------------------------------------------------------------------


def acknowledged(word: str, home: House, *, sent_at: datetime) -> dict[str, Any]:
    """A report of WhatsApp whose own time is the time of sending."""
    body = ack(word, at=home.clock.now(), wa_id=WA_ID, number=ONE)
    body["data"] |= {"timestamp": int(sent_at.timestamp()), "date": sent_at.isoformat(), "events": {}}
    return body


@pytest.mark.parametrize("word", ["sent", "delivered", "read"])
async def test_every_report_tells_when_the_message_was_sent(home: House, word: str) -> None:
    sent_at = START - timedelta(hours=1)
    await home.receive(acknowledged(word, home, sent_at=sent_at))
    ms = int(sent_at.timestamp() * 1000)
    assert await home.rows("SELECT status, sent_at, provider_sent_at FROM messages") == [(word, ms, ms)]


async def test_a_reply_is_judged_by_the_time_of_sending_in_a_report_of_delivery(home: House) -> None:
    """Our clock is an hour ahead of the provider's: only the report tells that the reply came after its Message 1."""
    await home.receive(acknowledged("read", home, sent_at=START - timedelta(hours=1)))
    await home.receive(inbound(ONE, at=START - timedelta(minutes=50), wa_id="AC1"))
    assert await home.outcomes() == ["message_2_queued"]


async def test_a_report_that_came_first_tells_it_too(home: House) -> None:
    sent_at, number = START - timedelta(hours=1), TWO
    body = ack("delivered", at=home.clock.now(), wa_id="W9", number=number)
    body["data"] |= {"timestamp": int(sent_at.timestamp()), "date": None, "events": {}}
    await home.receive(body)
    await home.campaign(number, name="other")
    await home.send_one(Accepted(queue_id="a" * 24, wa_id="W9"))
    rows = await home.rows("SELECT status, sent_at FROM messages WHERE wa_id = 'W9'")
    assert rows == [("delivered", int(sent_at.timestamp() * 1000))]


async def test_a_time_that_nobody_can_believe_is_not_the_time_of_sending(home: House) -> None:
    await home.receive(acknowledged("read", home, sent_at=START - timedelta(days=2)))
    assert await home.rows("SELECT provider_sent_at FROM messages") == [(None,)]


async def test_a_failure_tells_no_time_of_sending(home: House) -> None:
    await home.campaign(TWO, name="other")
    failed = Accepted(queue_id="a" * 24, wa_id="W9", status=ReceiptStatus.FAILED, sent_at=START)
    await home.send_one(failed)
    assert await home.rows("SELECT status, provider_sent_at FROM messages WHERE wa_id = 'W9'") == [("failed", None)]


# --- messages without a WhatsApp id -----------------------------------------------------------------------------


def told_by_words(home: House, word: str = "read", *, words: str = "Hello", **changes: Any) -> dict[str, Any]:
    """A report of WhatsApp on a message to TWO, with an id that nobody told us."""
    body = ack(word, at=home.clock.now(), wa_id="W9", number=TWO)
    body["data"] |= {"body": words, "timestamp": int(home.clock.now().timestamp()), "events": {}} | changes
    return body


@pytest.fixture
async def words(home: House) -> str:
    """What a campaign says to TWO."""
    await home.campaign(TWO, name="other")
    ((text,),) = await home.rows("SELECT message_1 FROM campaigns WHERE name = 'other'")
    return str(text)


async def of_other(home: House) -> list[tuple[Any, ...]]:
    return await home.rows(
        """SELECT m.status, m.wa_id FROM messages m JOIN contacts c ON c.id = m.contact_id WHERE c.phone = ?""", TWO
    )


async def waiting(home: House) -> int:
    ((number,),) = await home.rows("SELECT count(*) FROM waiting_receipts")
    return int(number)


async def test_a_report_finds_its_message_by_recipient_and_words(home: House, words: str) -> None:
    await home.send_one(Accepted(queue_id="a" * 24))
    await home.receive(told_by_words(home, words=f" {words}\n"))
    assert (await of_other(home), await waiting(home)) == ([("read", "W9")], 0)


@pytest.mark.parametrize("word", ["sent", "delivered"])
async def test_a_report_that_overtakes_the_answer_finds_its_message_too(home: House, words: str, word: str) -> None:
    (claim,) = await home.claim()
    await home.receive(told_by_words(home, word, words=words))
    await home.receive(told_by_words(home, "read", words=words))
    assert (await of_other(home), await waiting(home)) == ([("sending", None)], 2)
    await home.settle(claim, Accepted(queue_id="a" * 24))
    assert (await of_other(home), await waiting(home)) == ([("read", "W9")], 0)


async def test_words_alone_prove_no_acceptance(home: House, words: str) -> None:
    (claim,) = await home.claim()
    await home.settle(claim, Uncertain("timeout"))
    await home.receive(told_by_words(home, words=words))
    assert await of_other(home) == [("uncertain", None)]
    await home.receive(receipt("failed", at=home.clock.now(), reference=claim.reference))
    assert (await of_other(home), await waiting(home)) == ([("failed", None)], 1)


async def test_reports_with_two_ids_may_be_about_either(home: House, words: str) -> None:
    (claim,) = await home.claim()
    await home.receive(told_by_words(home, words=words))
    await home.receive(told_by_words(home, words=words, id="W8"))
    await home.settle(claim, Accepted(queue_id="a" * 24))
    assert (await of_other(home), await waiting(home)) == ([("sent", None)], 2)


async def test_the_same_words_twice_are_left_to_a_look_up(home: House, words: str) -> None:
    await home.campaign(TWO, name="third", message_1=words)
    for letter in "ab":
        await home.send_one(Accepted(queue_id=letter * 24))
    await home.receive(told_by_words(home, words=words))
    assert (await of_other(home), await waiting(home)) == ([("sent", None)] * 2, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"body": "Something else"},
        {"reference": "theirs"},
        {"timestamp": int((START - timedelta(days=2)).timestamp()), "date": None},
        {"toNumber": ONE, "to": None, "chat": {}},
    ],
)
async def test_other_words_or_people_or_times_are_of_another_message(
    home: House, words: str, changes: dict[str, Any]
) -> None:
    await home.send_one(Accepted(queue_id="a" * 24))
    await home.receive(told_by_words(home, words=words, **changes))
    assert (await of_other(home), await waiting(home)) == ([("sent", None)], 1)


async def test_a_message_that_has_its_id_is_not_taken_for_another(home: House, words: str) -> None:
    await home.send_one(Accepted(queue_id="a" * 24, wa_id="W7"))
    await home.receive(told_by_words(home, words=words))
    assert (await of_other(home), await waiting(home)) == ([("sent", "W7")], 1)

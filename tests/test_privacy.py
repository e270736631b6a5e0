"""Promise P8 on real files: what is forgotten is in none of them, stays out, and leaves every count as it was."""

import asyncio
import json
import sqlite3
import string
from collections.abc import AsyncIterator, Iterable
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.healthy import LID, PHONES, STRANGER, healthy
from tests.support import KEPT, START, House, ack, house, inbound, inbound_from_lid, readable, receipt
from wamsg2 import phone, privacy, rules
from wamsg2.model import (
    Accepted,
    Claim,
    Deferred,
    EventSource,
    Held,
    MessageStatus,
    Outcome,
    Rejected,
    Uncertain,
    Unknown,
    WamsgError,
)
from wamsg2.privacy import Privacy, clean
from wamsg2.store import messages, notes
from wamsg2.wassenger import events
from wamsg2.work import campaigning, consent, forgetting, settling

ANA, BRUNO = "+34611222333", "+34622333444"
ANAS_LID = "271828182845904@lid"
#: What ANA's rows hold of her, and nobody else's.
SECRETS = ("611222333", "271828182845904", "Anabella", "Torrejón", "cardiology", "moonlight", "postscript")
DAY = timedelta(days=1)


def privacy_of(home: House) -> Privacy:
    return Privacy(store=home.store, clock=home.clock)


def left_in_files(directory: Path, words: Iterable[str]) -> set[str]:
    """Which of the words stand in any file, by their bytes, as they are or as JSON escapes them."""
    everything = readable(file for file in directory.iterdir() if file.is_file())
    return {w for w in words if w.encode() in everything or json.dumps(w)[1:-1].encode() in everything}


async def counts(home: House) -> list[Any]:
    return [
        await home.rows("SELECT * FROM message_counts WHERE n > 0"),
        await home.rows("SELECT * FROM campaign_counts"),
        await home.rows("SELECT * FROM totals WHERE name <> 'last_turn'"),
        await home.rows("SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM interactions)"),
        await home.rows("SELECT (SELECT count(*) FROM contacts), (SELECT count(*) FROM events)"),
    ]


async def add(home: House, name: str, *people: tuple[str, str]) -> None:
    rows = [campaigning.Row(n, p, phone.key(p), {"name": who}) for n, (p, who) in enumerate(people, start=2)]
    await home.store.write(lambda tx: campaigning.add_rows(tx, name, rows, home.clock.now()))


async def write(home: House, text: str, wa_id: str, **changes: Any) -> str:
    """ANA writes now, as WhatsApp tells it with all her names."""
    body = inbound(ANA, text, at=home.clock.now(), wa_id=wa_id, **changes)
    body["data"]["chat"] |= {"lid": ANAS_LID, "name": "Anabella Torrejón"}
    body["data"]["chat"]["contact"] |= {"name": "Anabella Torrejón"}
    return await home.receive(body)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    """ANA got both messages and wrote a lot; BRUNO is in the same campaign."""
    async with house(tmp_path) as made:
        await made.campaigns.create("spring", "Hello {{name}}", "Here it is, {{name}}")
        await add(made, "spring", (ANA, "Anabella Torrejón"), (BRUNO, "Bruno"))
        await made.campaigns.launch("spring")
        await made.send_one()
        await made.send_one()
        await write(made, "my cardiology is at noon", "AC00000000000000000000000000A1")
        made.clock.advance(2)
        await made.send_one()
        await write(made, "moonlight", "AC00000000000000000000000000A2")
        reaction = inbound(ANA, "", at=made.clock.now(), wa_id=f"3EB0{1:016X}", type="reaction")
        reaction["data"]["reactionMessage"] = f"3EB0{1:016X}"
        await made.receive(reaction)
        report = receipt("sent", at=made.clock.now(), queue_id=f"{3:024x}")
        report["data"]["message"] = "Here it is, Anabella Torrejón"
        await made.receive(report)
        await made.receive(
            ack("delivered", at=made.clock.now(), wa_id=f"3EB0{1:016X}", number=ANA, lid="99887766554433@lid")
        )
        yield made


# --- erasing -------------------------------------------------------------------------------------------------


async def test_number_and_words_are_in_no_file(home: House, tmp_path: Path) -> None:
    assert left_in_files(tmp_path, SECRETS) == set(SECRETS) - {"postscript"}
    before = await counts(home)
    erased = await privacy_of(home).forget(ANA)
    assert await counts(home) == before
    assert (erased.interactions, erased.events, erased.cancelled) == (3, 5, 0)
    await home.store.close()
    cleaned = await clean(home.store.path, erased.words)
    assert (cleaned.log_is_empty, cleaned.pages, cleaned.copies) == (True, 0, [])
    assert left_in_files(tmp_path, (*SECRETS, "99887766554433")) == set()
    assert left_in_files(tmp_path, ["622333444"])  # the other one is where he was


async def test_counts_and_promises_stay(tmp_path: Path) -> None:
    """Whoever is forgotten, in whatever state their messages are."""
    async with healthy(tmp_path) as home:
        kept = "SELECT campaign_id, step, count(*) FROM messages GROUP BY campaign_id, step"
        before = (await counts(home))[1:], await home.rows(kept), await home.outcomes()
        for number in (*PHONES, STRANGER):
            await privacy_of(home).forget(number)
            assert await home.violations() == []
        assert ((await counts(home))[1:], await home.rows(kept), await home.outcomes()) == before
        assert await home.rows("SELECT count(*) FROM messages WHERE status = 'queued'") == [(0,)]
        await home.store.close()
        assert (await clean(home.store.path, [])).log_is_empty
        assert (
            left_in_files(tmp_path, ["34600000", "346999", LID, "yes", "and?", "hello", "who?", "at long last"])
            == set()
        )


async def test_the_contact_says_nothing(home: House) -> None:
    message_ids = await home.rows("SELECT contact_id, id FROM messages WHERE step = 1 ORDER BY contact_id")
    for _, message_id in message_ids:
        unit = partial(notes.add, message_id=message_id, at=START, what="failed: HTTP 400 Anabella is no name")
        await home.store.write(unit)
    await home.store.write(lambda tx: tx.execute("UPDATE messages SET note = 'what'"))
    await privacy_of(home).forget(ANA)
    noted = "SELECT DISTINCT m.contact_id FROM message_notes n JOIN messages m ON m.id = n.message_id"
    assert await home.rows(noted) == [(2,)], "what happened to the messages of others stays"
    assert await home.rows("SELECT DISTINCT note FROM messages WHERE contact_id = 2") == [("what",)]
    ((name, key, opted_out),) = await home.rows("SELECT phone, phone_key, opted_out FROM contacts WHERE id = 1")
    assert (name, opted_out) == ("forgotten", 1)
    assert len(bytes.fromhex(key)) == 16
    rows = await home.rows("SELECT text, reason, note FROM messages WHERE contact_id = 1")
    assert rows == [("", None, None)] * 2
    assert await home.rows("SELECT variables FROM recipients WHERE contact_id = 1") == [("{}",)]
    assert await home.rows("SELECT count(*) FROM chat_ids") == [(0,)]
    assert await home.rows("SELECT DISTINCT text, wa_id, quoted_id, sender_phone, sender_chat FROM interactions") == [
        ("", "", None, None, None)
    ]
    assert set(await home.bodies()) == {b"{}"}


@pytest.mark.parametrize(
    ("imported", "writes"),
    [
        ("+525600000001", "+5215600000001"),
        ("+5215600000001", "+525600000001"),
        ("+5531987654321", "+553187654321"),
        ("+541123456789", "+5491123456789"),
    ],
)
async def test_any_spelling_is_the_same_person(tmp_path: Path, imported: str, writes: str) -> None:
    async with house(tmp_path) as home:
        await home.campaign(imported)
        await home.send_one()
        await home.receive(inbound(writes, "moonlight", at=START, wa_id="A1"))
        erased = await privacy_of(home).forget(writes)
        await home.receive(inbound(imported, "moonlight", at=START, wa_id="A2"))
        await home.store.close()
        await clean(home.store.path, erased.words)
        digits = [spelling.removeprefix("+") for spelling in phone.spellings(phone.key(imported))]
        assert left_in_files(tmp_path, [*digits, "moonlight"]) == set()


async def test_queued_messages_are_cancelled(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.campaign(ANA, BRUNO)
        assert (await privacy_of(home).forget(ANA)).cancelled == 1
        assert await home.rows("SELECT status, reason FROM messages ORDER BY id") == [
            ("cancelled", rules.FORGOTTEN),
            ("queued", None),
        ]
        assert [claim.phone for claim in await home.claim(2)] == [BRUNO]


async def test_a_draft_is_launched_around_them(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.campaign(ANA, BRUNO, launch=False)
        await privacy_of(home).forget(ANA)
        await home.campaigns.launch("spring")
        assert [status for *_, status in await home.statuses()] == ["cancelled", "queued"]
        assert await home.violations() == []


async def test_what_others_said_of_them_is_blotted_out(home: House, tmp_path: Path) -> None:
    await home.campaigns.create("autumn", "Greetings of {{name}}", None)
    await add(home, "autumn", (BRUNO, "your friend +34 611 222 333"))
    await home.campaigns.launch("autumn")
    await home.send_one(Uncertain("no answer about 34611222333"))
    await home.receive(inbound(BRUNO, f"ask {ANA}, not me", at=home.clock.now(), wa_id="B1"))
    await home.store.write(lambda tx: tx.execute("INSERT INTO chat_ids VALUES ('34611222333@c.us', 2)"))
    erased = await privacy_of(home).forget(ANA)
    assert erased.mentions == 4
    assert ("ask …, not me",) in await home.rows("SELECT text FROM interactions")
    assert ('{"name":"your friend …"}',) in await home.rows("SELECT variables FROM recipients")
    assert await home.violations() == []
    await home.store.close()
    await clean(home.store.path, erased.words)
    assert left_in_files(tmp_path, ["611222333", "611 222 333"]) == set()


async def test_somebody_who_is_no_contact(tmp_path: Path) -> None:
    """Who only wrote is forgotten as well, by number and by the id that hides it."""
    async with house(tmp_path) as home:
        await write(home, "moonlight", "A1")
        await home.receive(inbound_from_lid(ANAS_LID, "postscript", at=START, wa_id="A2"))
        await home.receive(receipt("failed", at=START, queue_id="f" * 24, reason="about 34611222333"))
        await home.receive(ack("read", at=START, wa_id="3EB0FFFFFFFFFFFFFFFF", number=ANA, lid=ANAS_LID))
        erased = await privacy_of(home).forget(ANA)
        assert erased.interactions == 2
        assert await home.outcomes() == ["unknown_contact"] * 2
        assert await home.rows("SELECT count(*) FROM contacts") == [(0,)]
        assert await home.rows("SELECT DISTINCT chat_ids FROM waiting_receipts") == [("",)]
        assert await home.receive(inbound_from_lid(ANAS_LID, "moonlight", at=START, wa_id="A3")) == "ignored"
        assert await home.violations() == []
        await home.store.close()
        await clean(home.store.path, erased.words)
        assert left_in_files(tmp_path, SECRETS) == set()


async def test_a_run_that_was_cut_off_is_done_again(home: House, tmp_path: Path) -> None:
    await home.store.write(lambda tx: forgetting.begin(tx, phone.key(ANA), home.clock.now()))
    assert await write(home, "postscript", "AC00000000000000000000000000A3") == "ignored"
    with pytest.raises(WamsgError, match="is being forgotten"):
        await home.store.write(lambda tx: consent.opt_in_number(tx, phone.key(ANA), home.clock.now()))
    assert [v.promise for v in await home.violations()] == ["P8"]
    erased = await privacy_of(home).forget(ANA)
    assert await home.violations() == []
    await home.store.close()
    await clean(home.store.path, erased.words)
    assert left_in_files(tmp_path, SECRETS) == set()


async def test_it_can_be_done_twice(home: House) -> None:
    await privacy_of(home).forget(ANA)
    again = await privacy_of(home).forget(ANA)
    assert (again.interactions, again.events, again.mentions, again.cancelled) == (0, 0, 0, 0)
    assert await home.rows("SELECT count(*) FROM contacts") == [(2,)]


# --- staying forgotten ---------------------------------------------------------------------------------------


@pytest.fixture
async def after(home: House) -> House:
    """ANA has been forgotten."""
    await privacy_of(home).forget(ANA)
    return home


def by_hand() -> dict[str, Any]:
    """Somebody of the team wrote to ANA on the phone."""
    return inbound(ANA, "postscript", at=START, wa_id="B2", flow="outbound")


def of_a_group() -> dict[str, Any]:
    body = inbound(BRUNO, "postscript", at=START, wa_id="B3")
    body["data"]["chat"]["type"] = "group"
    body["data"]["author"] = "34611222333@c.us"
    return body


def unheard_of() -> dict[str, Any]:
    return {"event": "contact:new", "data": {"name": "postscript", "wid": ANAS_LID}}


def quote() -> dict[str, Any]:
    """From an id that nobody knew, and known by what it quotes."""
    body = inbound_from_lid("141421356237309@lid", "postscript", at=START, wa_id="B4")
    body["data"]["quoted"] = {"id": f"3EB0{1:016X}", "body": "Hello Anabella"}
    return body


def reaction() -> dict[str, Any]:
    body = inbound_from_lid("141421356237309@lid", "", at=START, wa_id=f"3EB0{1:016X}", type="reaction")
    body["data"]["reactionMessage"] = f"3EB0{1:016X}"
    body["data"]["reactions"] = [{"reaction": "postscript"[:8], "from": "141421356237309@lid"}]
    return body


@pytest.mark.parametrize(
    "body",
    [
        inbound(ANA, "postscript", at=START, wa_id="B1"),
        inbound(ANA, "STOP", at=START, wa_id="B1"),
        inbound(ANA, "START", at=START, wa_id="B1"),
        inbound_from_lid(ANAS_LID, "postscript", at=START, wa_id="B1"),
        by_hand(),
        of_a_group(),
        unheard_of(),
        quote(),
        reaction(),
    ],
    ids=["text", "STOP", "START", "lid", "by hand", "in a group", "unheard of", "quote", "reaction"],
)
async def test_nothing_brings_them_back(after: House, tmp_path: Path, body: dict[str, Any]) -> None:
    before = (await counts(after))[:2], await after.rows("SELECT * FROM contacts")
    assert await after.receive(body) == "ignored"
    assert await after.receive(body) == "duplicate"
    assert ((await counts(after))[:2], await after.rows("SELECT * FROM contacts")) == before
    assert (await after.rows("SELECT result, body FROM events ORDER BY id DESC LIMIT 1")) == [("ignored", b"{}")]
    assert await after.violations() == []
    await after.store.close()
    assert left_in_files(tmp_path, (*SECRETS, "141421356237309", "Hello Anabella")) == set()


@pytest.mark.parametrize("body", [quote(), reaction()], ids=["quote", "reaction"])
async def test_an_id_that_comes_to_light_is_theirs_from_then_on(after: House, body: dict[str, Any]) -> None:
    await after.receive(body)
    alone = inbound_from_lid("141421356237309@lid", "postscript", at=START, wa_id="B9")
    assert await after.receive(alone) == "ignored"


async def test_what_came_before_from_such_an_id_is_erased_too(home: House) -> None:
    await home.receive(inbound_from_lid("141421356237309@lid", "moonlight", at=START, wa_id="B8"))
    await privacy_of(home).forget(ANA)
    assert ("moonlight",) in await home.rows("SELECT text FROM interactions")  # nobody could know
    await home.receive(quote())
    assert await home.rows("SELECT DISTINCT text FROM interactions") == [("",)]


async def test_what_was_taken_in_before_is_a_duplicate(home: House) -> None:
    """The catch-up finds the same old messages again and again."""
    body = inbound(ANA, "moonlight", at=START, wa_id="AC00000000000000000000000000A7")
    assert await home.receive(body) == "accepted"
    await privacy_of(home).forget(ANA)
    for source in EventSource:
        assert (await home.inbox.take(events.parse(json.dumps(body).encode()), source)).value == "duplicate"
    assert await home.rows("SELECT DISTINCT text FROM interactions") == [("",)]


async def test_what_the_catch_up_finds_is_ignored(after: House) -> None:
    found = events.parse(json.dumps(inbound(ANA, "postscript", at=START, wa_id="B1")).encode())
    assert (await after.inbox.take(found, EventSource.CATCH_UP)).value == "ignored"
    assert await after.rows("SELECT count(*) FROM events WHERE source = 'catch_up' AND body = x'7b7d'") == [(1,)]


async def test_a_late_receipt_counts_without_their_names(after: House, tmp_path: Path) -> None:
    body = ack("read", at=after.clock.now(), wa_id=f"3EB0{1:016X}", number=ANA, lid="141421356237309@lid")
    assert await after.receive(body) == "accepted"
    failed = receipt("failed", at=after.clock.now(), queue_id=f"{3:024x}", reason="Anabella does not exist")
    assert await after.receive(failed) == "accepted"
    assert await after.rows("SELECT status, reason, note FROM messages WHERE contact_id = 1 ORDER BY id") == [
        ("read", None, None),
        ("failed", rules.FORGOTTEN, None),
    ]
    assert await after.receive(inbound_from_lid("141421356237309@lid", at=START, wa_id="B1")) == "ignored"
    assert await after.violations() == []
    await after.store.close()
    assert left_in_files(tmp_path, (*SECRETS, "141421356237309")) == set()


async def test_a_receipt_of_no_known_message_is_kept_without_their_names(after: House) -> None:
    await after.receive(ack("read", at=START, wa_id="3EB0EEEEEEEEEEEEEEEE", number=ANA))
    assert await after.rows("SELECT chat_ids FROM waiting_receipts") == [("",)]
    assert (await after.bodies())[-1] == b"{}"


async def test_others_write_as_before(after: House) -> None:
    assert await after.receive(inbound(BRUNO, "hello", at=after.clock.now(), wa_id="B1")) == "accepted"
    assert (await after.outcomes())[-1] == "message_2_queued"
    group = of_a_group()
    group["data"]["author"] = "34633333333@c.us"
    assert await after.receive(group) == "ignored"
    assert json.loads((await after.bodies())[-1]) == group
    session = {"event": "number:session", "data": {"phone": ANA}}
    assert await after.receive(session) == "accepted"


async def test_raw_events_that_cannot_be_read_are_shown_so_and_emptied(home: House) -> None:
    """Nobody can tell whose they are: they are not shown to others, and they do not outlive an erasure."""
    await home.receive(inbound(BRUNO, "hello", at=home.clock.now(), wa_id="B1"))
    cut = "UPDATE events SET body = substr(body, 1, 40) WHERE id IN ((SELECT min(event_id) FROM interactions), ?)"
    ((last,),) = await home.rows("SELECT max(id) FROM events")
    await home.store.write(lambda tx: tx.execute(cut, (last,)))
    everything = await privacy_of(home).export(ANA)
    assert everything is not None
    assert [e["id"] for e in everything["events"] if e["body"] is None] == [everything["interactions"][0]["event_id"]]
    assert not await privacy_of(home).is_known("+34999999999")
    assert [(v.promise, len(v.rows)) for v in await home.violations()] == [("P5", 2)]
    await privacy_of(home).forget(ANA)
    assert (await home.bodies())[-1] == b"{}"
    assert await home.violations() == []


async def test_an_event_with_more_numbers_than_can_be_looked_at_is_emptied(after: House) -> None:
    await after.receive({"event": "group:update", "data": [f"+346{n:08d}" for n in range(2500)]})
    assert (await after.bodies())[-1] == b"{}"


# --- a request under way -------------------------------------------------------------------------------------


WORDS = "Hello Anabella Torrejón, +34611222333"
UNDER_WAY: list[tuple[Outcome, MessageStatus]] = [
    (Accepted("a" * 24, "3EB0AAAAAAAAAAAAAAAA", "141421356237309@lid", reason=WORDS), MessageStatus.SENT),
    (Rejected(WORDS), MessageStatus.FAILED),
    (Deferred(WORDS), MessageStatus.CANCELLED),
    (Held(WORDS), MessageStatus.CANCELLED),
    (Uncertain(WORDS), MessageStatus.UNCERTAIN),
]


async def claimed(home: House) -> Claim:
    """ANA's Message 1 is being sent while she is forgotten."""
    await home.campaigns.create("spring", "Hello {{name}}", "More")
    await add(home, "spring", (ANA, "Anabella Torrejón"))
    await home.campaigns.launch("spring")
    (claim,) = await home.claim()
    await privacy_of(home).forget(ANA)
    return claim


@pytest.mark.parametrize(("outcome", "status"), UNDER_WAY, ids=[type(o).__name__ for o, _ in UNDER_WAY])
async def test_a_request_under_way_ends_without_their_words(
    tmp_path: Path, outcome: Outcome, status: MessageStatus
) -> None:
    async with house(tmp_path) as home:
        claim = await claimed(home)
        assert await home.rows("SELECT status, text FROM messages") == [("sending", "")]
        await home.settle(claim, outcome)
        assert await home.rows("SELECT status, text FROM messages") == [(status.value, "")]
        assert await home.rows("SELECT count(*) FROM chat_ids") == [(0,)]
        assert await home.violations() == []
        await home.store.close()
        await clean(home.store.path, [])
        assert left_in_files(tmp_path, (*SECRETS, "141421356237309")) == set()


@pytest.mark.parametrize("answer", [Unknown(WORDS), Accepted("a" * 24, chat_id="141421356237309@lid")])
async def test_a_look_up_ends_without_their_words(tmp_path: Path, answer: Accepted | Unknown) -> None:
    async with house(tmp_path) as home:
        await home.settle(await claimed(home), Uncertain("no answer"))
        home.clock.advance(10)
        now = home.clock.now()
        doubt, _ = await home.store.write(lambda tx: messages.next_doubt(tx, now))
        assert doubt
        await home.store.write(
            lambda tx: settling.settle_look_up(tx, doubt, answer, retention=KEPT, now=now, policy=home.policy)
        )
        assert await home.violations() == []
        await home.store.close()
        await clean(home.store.path, [])
        assert left_in_files(tmp_path, (*SECRETS, "141421356237309")) == set()


async def test_a_crash_during_the_request(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await claimed(home)
        await home.store.write(lambda tx: settling.recover(tx, home.clock.now(), home.policy))
        assert await home.rows("SELECT status, text FROM messages") == [("uncertain", "")]
        await home.store.write(
            lambda tx: settling.resolve(tx, 1, MessageStatus.QUEUED, now=home.clock.now(), policy=home.policy)
        )
        assert await home.rows("SELECT status FROM messages") == [("cancelled",)]
        assert await home.violations() == []


async def test_a_reply_that_waited_gets_no_message_2(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.campaign(ANA)
        (claim,) = await home.claim()
        await home.receive(inbound(ANA, "yes", at=START, wa_id="A1"))
        await privacy_of(home).forget(ANA)
        await home.settle(claim, Accepted("a" * 24))
        assert await home.outcomes() == ["opted_out"]
        assert await home.rows("SELECT count(*) FROM messages") == [(1,)]
        assert await home.violations() == []


# --- import, and back ----------------------------------------------------------------------------------------


async def test_an_import_leaves_them_out(after: House, tmp_path: Path) -> None:
    await after.campaigns.create("autumn", "Hi", None)
    file = tmp_path / "contacts.csv"
    file.write_text(f"phone\n+34600000001\nnonsense\n{ANA}\n+34 611 222 333\n600\n", encoding="utf-8")
    report = await after.campaigns.import_contacts("autumn", file)
    assert report.added == 1
    assert [(r.row, r.column) for r in report.refused] == [(3, "phone"), (4, "phone"), (5, "phone"), (6, "phone")]
    refusal = "was forgotten on request (`wamsg2 contact remember` takes that back)"
    assert [r.reason for r in report.refused[1:3]] == [refusal] * 2
    assert await after.rows("SELECT count(*) FROM contacts") == [(3,)]


async def test_neither_opting_out_nor_in_brings_them_back(after: House) -> None:
    with pytest.raises(WamsgError, match="was forgotten"):
        await after.store.write(lambda tx: consent.opt_out_number(tx, ANA, ANA, after.clock.now()))
    with pytest.raises(WamsgError, match="no contact"):
        await after.store.write(lambda tx: consent.opt_in_number(tx, ANA, after.clock.now()))


async def test_remembered_they_are_who_they_were_and_opted_out(after: House) -> None:
    assert await privacy_of(after).remember(ANA) is True
    assert await privacy_of(after).remember(ANA) is None
    assert await after.rows("SELECT phone, phone_key, opted_out FROM contacts WHERE id = 1") == [(ANA, ANA, 1)]
    await add(after, "spring", (ANA, "Anabella"))  # in it already: what was sent is not sent again
    assert await after.rows("SELECT count(*) FROM messages") == [(3,)]
    after.clock.advance(1)
    assert await write(after, "START", "B1") == "accepted"
    assert await after.rows("SELECT opted_out FROM contacts WHERE id = 1") == [(0,)]
    assert await after.receive(inbound_from_lid(ANAS_LID, "hello", at=after.clock.now(), wa_id="B2")) == "accepted"
    assert await after.violations() == []


async def test_somebody_who_was_no_contact_is_remembered_as_nobody(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await privacy_of(home).forget(ANA)
        assert await privacy_of(home).remember(ANA) is False
        await home.campaign(ANA)
        assert await home.statuses() == [(ANA, 1, "queued")]


async def test_another_database_has_other_hashes(tmp_path: Path) -> None:
    hashes = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        async with house(tmp_path / name) as home:
            await privacy_of(home).forget(ANA)
            hashes += await home.rows("SELECT hash FROM forgotten")
    assert len(set(hashes)) == 2


# --- the files -----------------------------------------------------------------------------------------------


async def test_a_reader_that_prevents_it_is_told(
    home: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(privacy, "_TRIES", 2)
    monkeypatch.setattr(privacy, "_TRY_SECONDS", 0.01)
    path = home.store.path
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM contacts").fetchall()
        erased = await privacy_of(home).forget(ANA)
        assert not (await clean(path, erased.words)).log_is_empty
        assert left_in_files(tmp_path, SECRETS)
    assert (await clean(path, erased.words)).log_is_empty
    assert left_in_files(tmp_path, SECRETS) == set()


@pytest.mark.parametrize("served", [False, True])
@pytest.mark.parametrize("quick", [False, True])
async def test_remains_in_unused_space_are_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, served: bool, quick: bool
) -> None:
    """Where a daemon runs on a large file, webhooks would wait: then a person decides."""
    monkeypatch.setattr(privacy, "_QUICK_BYTES", 1 << 30 if quick else 1)
    async with house(tmp_path) as home:
        path = home.store.path
        with closing(sqlite3.connect(path)) as careless, careless:
            careless.execute("PRAGMA secure_delete = OFF")
            rows = [(n, f"{n} moonlight") for n in range(500)]
            careless.executemany("INSERT INTO marks (at, name) VALUES (?, ?)", rows)
            careless.execute("DELETE FROM marks")
    async with await type(home.store).open(path, daemon=served):
        cleaned = await clean(path, ["moonlight"])
        if quick or not served:
            assert (cleaned.rewritten, cleaned.pages) == (True, 0)
        else:
            assert not cleaned.rewritten
            assert cleaned.pages > 0
            assert (await clean(path, ["moonlight"], rewrite=True)).pages == 0
        assert left_in_files(tmp_path, ["moonlight"]) == set()


# --- the export ----------------------------------------------------------------------------------------------


async def test_everything_is_exported(home: House) -> None:
    await home.store.write(lambda tx: tx.execute("UPDATE messages SET reason = 'why', note = 'what' WHERE id = 1"))
    await home.receive(inbound(BRUNO, f"ask {ANA}", at=home.clock.now(), wa_id="B1"))
    everything = await privacy_of(home).export(ANA)
    assert everything is not None
    assert everything["phone"] == everything["contact"]["phone"] == ANA
    assert everything["contact"]["chat_ids"] == [ANAS_LID, "99887766554433@lid"]
    assert everything["campaigns"][0]["variables"] == {"name": "Anabella Torrejón"}
    assert [m["text"] for m in everything["messages"]] == ["Hello Anabella Torrejón", "Here it is, Anabella Torrejón"]
    assert everything["messages"][0]["reason"] == "why"
    assert everything["messages"][0]["reference"].startswith("w2-")
    assert [i["text"] for i in everything["interactions"]] == ["my cardiology is at noon", "moonlight", ""]
    assert len(everything["events"]) == 6
    assert everything["events"][0]["body"]["data"]["body"] == "my cardiology is at noon"
    assert everything["mentions"] == [{"table": "interactions", "id": [4], "text": f"ask {ANA}"}]
    assert everything["forgotten"] is False
    text = json.dumps(everything, ensure_ascii=False)
    assert not [secret for secret in SECRETS[:-1] if secret not in text]
    assert everything["messages"][0]["sent_at"] == "2026-11-22T10:00:00.000Z"


async def test_others_are_not_exported(home: House) -> None:
    everything = json.dumps(await privacy_of(home).export(BRUNO))
    assert "moonlight" not in everything
    assert "611222333" not in everything


async def test_nothing_is_exported_of_nobody(home: House) -> None:
    assert await privacy_of(home).export("+34600000009") is None


async def test_of_a_forgotten_one_only_that_is_exported(after: House) -> None:
    everything = await privacy_of(after).export(ANA)
    assert everything is not None
    assert everything["forgotten"] is True
    assert not any(everything[key] for key in ("contact", "campaigns", "messages", "interactions", "events"))


async def test_somebody_unknown_is_exported_too(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await write(home, "moonlight", "A1")
        await home.receive(inbound_from_lid(ANAS_LID, "postscript", at=START, wa_id="A2"))
        await home.receive(ack("read", at=START, wa_id="3EB0FFFFFFFFFFFFFFFF", number=ANA))
        everything = await privacy_of(home).export(ANA)
        assert everything is not None
        assert everything["contact"] is None
        assert [i["text"] for i in everything["interactions"]] == ["moonlight", "postscript"]
        assert len(everything["events"]) == 3
        assert [r["wa_id"] for r in everything["receipts"]] == ["3EB0FFFFFFFFFFFFFFFF"]


# --- whatever a person wrote ---------------------------------------------------------------------------------

# Words that stand in no schema and in nobody else's rows, and not by chance in some bytes.
words = st.text(st.sampled_from(string.ascii_letters + " ñé😀\u00a0\n\t\"'\\{}\x00"), min_size=1, max_size=80).map(
    lambda text: f"ZqWvJ{text}JvWqZ"
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(words, min_size=1, max_size=5), words, st.sampled_from([ANA, "+5215600000001", "+5531987654321"]))
def test_whatever_they_wrote_is_gone(texts: list[str], name: str, number: str) -> None:
    async def run(directory: Path) -> None:
        async with house(directory) as home:
            await home.campaigns.create("c", "Hello {{name}}", "More")
            row = campaigning.Row(2, number, phone.key(number), {"name": name})
            await home.store.write(lambda tx: campaigning.add_rows(tx, "c", [row], home.clock.now()))
            await home.campaigns.launch("c")
            await home.send_one()
            for n, text in enumerate(texts):
                await home.receive(inbound(number, text, at=home.clock.now(), wa_id=f"AC{n:030X}"))
            erased = await privacy_of(home).forget(number)
            assert await home.violations() == []
        await clean(directory / "test.db", erased.words)
        stored = [text.replace("\x00", "") for text in (*texts, name)]
        assert left_in_files(directory, [*stored, number.removeprefix("+")]) == set()
        assert b"ZqWvJ" not in readable([directory / "test.db"])

    with TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory)))

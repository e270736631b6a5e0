"""What the provider remembers, asked by the real client: the same events as the webhooks that were lost."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.site import free_port
from tests.support import START, inbound, inbound_from_lid, payload
from wamsg2.model import Absent, Event, InboundMessage, Receipt, ReceiptStatus, Unknown
from wamsg2.wassenger.client import WassengerClient
from wamsg2.wassenger.events import parse
from wamsg2.wassenger.history import Page, WassengerHistory

KEY = "0123456789abcdef" * 5
DEVICE = "68fd1067b488de07029f0001"
REFERENCE = "w2-0123456789abcdef0123456789abcd"
ONE, TWO = "+34600000001", "+34600000002"
Entity = dict[str, Any]


class Provider:
    """Answers every question with the same, and keeps what it was asked."""

    def __init__(self, answer: Any, status: int = 200) -> None:
        self.raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.status = status
        self.requests: list[web.Request] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        return web.Response(status=self.status, body=self.raw, content_type="application/json")


@asynccontextmanager
async def history_of(provider: Provider) -> AsyncIterator[WassengerHistory]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", provider.answer)
    async with TestServer(app) as server:
        base_url = str(server.make_url("/v1"))
        client = WassengerClient(base_url=base_url, api_key=KEY, device=DEVICE, timeout_seconds=30)
        try:
            yield WassengerHistory(client)
        finally:
            await client.close()


async def asked(answer: Any, status: int = 200, *, since: datetime = START) -> Page | Unknown:
    async with history_of(Provider(answer, status)) as history:
        return await history.inbound(since, 0)


async def listed(*entities: Any) -> Page:
    page = await asked(entities, since=datetime(2025, 1, 1, tzinfo=UTC))
    assert isinstance(page, Page)
    return page


async def reported(answer: Any, status: int = 200) -> Event | Absent | Unknown:
    async with history_of(Provider(answer, status)) as history:
        return await history.report(REFERENCE)


def webhook(body: Entity) -> Event:
    """What a webhook told of the same."""
    return parse(json.dumps(body).encode())


def same(found: Event, told: Event) -> bool:
    """Whether the second would be taken for a repetition of the first, and says what the first said."""
    return (found.name, found.identity, found.content) == (told.name, told.identity, told.content)


# --- the question -----------------------------------------------------------------------------------------------


async def test_the_question_has_exactly_what_the_strict_schema_takes() -> None:
    provider = Provider([])
    async with history_of(provider) as history:
        await history.inbound(START + timedelta(milliseconds=900), 3)
    (request,) = provider.requests
    assert (request.method, request.path) == ("GET", f"/v1/chat/{DEVICE}/messages")
    assert dict(request.query) == {"flow": "inbound", "after": "2026-11-22T10:00:00Z", "size": "50", "page": "3"}
    assert request.headers["Token"] == KEY


async def test_the_time_is_asked_in_utc() -> None:
    provider = Provider([])
    async with history_of(provider) as history:
        await history.inbound(START.astimezone(timezone(timedelta(hours=5, minutes=30))), 0)
    assert provider.requests[0].query["after"] == "2026-11-22T10:00:00Z"


# --- the same event ---------------------------------------------------------------------------------------------


async def test_the_captured_message_is_the_event_of_its_webhook() -> None:
    body = payload("message_in_new.text.json")
    (found,) = (await listed(body["data"])).events
    assert same(found, webhook(body))
    assert isinstance(found.content, InboundMessage)
    assert found.content.text == "Example inbound text"
    assert found.content.written_at == datetime(2025, 12, 13, 16, 15, tzinfo=UTC)


#: What a message that somebody wrote may look like.
REPLIES: dict[str, Entity] = {
    "text": inbound(ONE, at=START, wa_id="A1"),
    "quoting": inbound(ONE, at=START, wa_id="A1", quoted="3EB0FF"),
    "from a lid": inbound_from_lid("183000000000001@lid", at=START, wa_id="A1"),
    "stop": inbound(ONE, "STOP", at=START, wa_id="A1"),
    "image": inbound(ONE, at=START, wa_id="A1", type="image", body=None, media={"caption": "look"}),
    "voice": inbound(ONE, at=START, wa_id="A1", type="ptt", body=None),
    "half an emoji": inbound(ONE, "half \ud83d", at=START, wa_id="A1"),
    "serialized id": inbound(ONE, at=START, wa_id="false_34600000001@c.us_A1"),
    "date only": inbound(ONE, at=START, wa_id="A1", timestamp=None, date="2026-11-22T09:00:00Z"),
}


@pytest.mark.parametrize("kind", REPLIES)
async def test_every_kind_of_reply_is_the_event_of_its_webhook(kind: str) -> None:
    (found,) = (await listed(REPLIES[kind]["data"])).events
    assert isinstance(found.content, InboundMessage)
    assert same(found, webhook(REPLIES[kind]))


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=50), st.integers(0, 10**6), st.text("0123456789ABCDEF", min_size=1, max_size=20))
async def test_any_words_at_any_time(words: str, seconds: int, wa_id: str) -> None:
    body = inbound(ONE, words, at=START - timedelta(seconds=seconds), wa_id=wa_id)
    (found,) = (await listed(body["data"])).events
    assert same(found, webhook(body))


async def test_the_envelope_of_the_webhook_makes_no_difference() -> None:
    """Its own id, its time and our number are not in the list."""
    body = payload("message_in_new.text.json") | {"id": "evt_7", "created": 1765649999}
    (found,) = (await listed(body["data"])).events
    assert same(found, webhook(body))


# --- a page -----------------------------------------------------------------------------------------------------


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


def entity(wa_id: str | None, minutes: int = 0, number: str = ONE, **changes: Any) -> Entity:
    found: Entity = inbound(number, at=at(minutes), wa_id=wa_id or "", **changes)["data"]
    return found


def ids(events: Sequence[Event]) -> list[str]:
    return [event.content.message_id for event in events if isinstance(event.content, InboundMessage)]


async def test_a_page_has_its_replies_in_the_order_of_writing() -> None:
    page = await listed(entity("A3", 3), entity("A2", 2, TWO), entity("A1", 1))
    assert ids(page.events) == ["A1", "A2", "A3"]
    assert set(page.ids) == {"A1", "A2", "A3"}
    assert page.newest_at == at(3)


async def test_the_newest_is_the_newest_in_whatever_order() -> None:
    assert (await listed(entity("A1", 1), entity("A3", 3), entity("A2", 2))).newest_at == at(3)


async def test_what_is_no_reply_is_listed_and_no_event() -> None:
    """It moves the reading on, and is stored nowhere: there would be no end of other people's groups."""
    others = [
        entity("B1", 9, meta={"isGroup": True}),
        entity("B2", 8, flow="outbound"),
        entity("B3", 7, type="e2e_notification"),
        entity("B4", 6, chat={"id": "12345@g.us", "type": "group"}),
        entity("B5", 5, type="reaction", reactions=[{"reaction": "x", "from": "34600000001@c.us"}]),
    ]
    page = await listed(*others, entity("A1", 1))
    assert len(page.events) == len(ids(page.events)) == 1
    assert ids(page.events) == ["A1"]
    assert set(page.ids) == {"A1", "B1", "B2", "B3", "B4", "B5"}
    assert page.newest_at == at(9)


async def test_without_an_id_it_is_no_event_and_does_not_hide_the_others() -> None:
    page = await listed(entity(None, 5), entity("A1", 1), None, "x", 7, [], {}, entity("A0"))
    assert (set(page.ids), ids(page.events)) == ({"A0", "A1"}, ["A0", "A1"])
    assert page.newest_at == at(5)


async def test_the_same_message_twice_on_a_page_is_one() -> None:
    page = await listed(entity("A1", 1), entity("A1", 1))
    assert (list(page.ids), ids(page.events)) == (["A1"], ["A1"])


async def test_behind_the_last_page_is_nothing() -> None:
    assert await asked([]) == Page((), [], None)


async def test_a_page_of_what_nobody_can_read_is_none() -> None:
    assert await asked([None, {}, {"timestamp": "soon"}]) == Page((), [], None)


async def test_a_page_may_be_much_longer_than_another_answer() -> None:
    """Fifty chat messages with all that hangs on them."""
    page = await listed(*(entity(f"A{n}", n, body="x" * 20_000) for n in range(50)))
    assert len(page.events) == 50


async def test_a_page_without_an_end_is_given_up() -> None:
    answer = await asked([entity("A1", body="x" * 5 * 1024 * 1024)])
    assert answer == Unknown("the answer is too long")


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        ({"message": "No"}, 401, "HTTP 401 No"),
        ({"message": "unknown filter: flow"}, 400, "HTTP 400 unknown filter: flow"),
        ([], 500, "HTTP 500"),
        ({"messages": []}, 200, "HTTP 200"),
        (b"<html>", 200, "HTTP 200"),
        (b"", 204, "HTTP 204"),
        (None, 200, "HTTP 200"),
    ],
)
async def test_what_is_no_list_is_no_answer(answer: Any, status: int, reason: str) -> None:
    """An empty page would end the reading, and with it what could be found."""
    assert await asked(answer, status) == Unknown(reason)


async def test_nobody_answers() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/v1"
    client = WassengerClient(base_url=nowhere, api_key=KEY, device=DEVICE, timeout_seconds=30)
    history = WassengerHistory(client)
    assert await history.inbound(START, 0) == Unknown("Connection refused")
    assert await history.report(REFERENCE) == Unknown("Connection refused")
    await client.close()


# --- how far a message got --------------------------------------------------------------------------------------


def ours(**changes: Any) -> Entity:
    """A message of the outbound queue, as look-ups show it."""
    usual = {"reference": REFERENCE, "status": "sent", "deliveryStatus": "sent"}
    return payload("post_messages.201.json") | usual | changes


async def test_the_question_for_a_message_is_its_reference() -> None:
    provider = Provider([])
    async with history_of(provider) as history:
        await history.report(REFERENCE)
    (request,) = provider.requests
    assert (request.path, request.query["reference"]) == ("/v1/messages", REFERENCE)


@pytest.mark.parametrize(
    ("changes", "status", "name"),
    [
        ({"status": "queued", "deliveryStatus": "queued"}, ReceiptStatus.SENT, "message:out:sent"),
        ({}, ReceiptStatus.SENT, "message:out:sent"),
        ({"status": None, "deliveryStatus": None}, ReceiptStatus.SENT, "message:out:sent"),
        ({"status": "teleported", "deliveryStatus": None}, ReceiptStatus.SENT, "message:out:sent"),
        ({"deliveryStatus": "delivered"}, ReceiptStatus.DELIVERED, "message:out:ack"),
        ({"deliveryStatus": "read"}, ReceiptStatus.READ, "message:out:ack"),
        ({"status": "failed", "deliveryStatus": None}, ReceiptStatus.FAILED, "message:out:failed"),
    ],
)
async def test_a_message_is_told_of_as_far_as_it_got(changes: Entity, status: ReceiptStatus, name: str) -> None:
    found = await reported([ours(**changes)])
    assert isinstance(found, Event)
    assert isinstance(found.content, Receipt)
    assert (found.name, found.content.status, found.content.reference) == (name, status, REFERENCE)
    assert found.content.queue_id == ours()["id"]


@pytest.mark.parametrize("kind", ["sent", "failed"])
async def test_the_report_is_the_event_of_its_webhook(kind: str) -> None:
    body = payload(f"message_out_{kind}.reconstructed.json")
    body["data"]["reference"] = REFERENCE
    found, told = await reported([body["data"]]), webhook(body)
    assert isinstance(found, Event)
    assert isinstance(told.content, Receipt)
    assert (found.name, found.identity) == (told.name, told.identity)
    assert isinstance(found.content, Receipt)
    assert (found.content.status, found.content.reason) == (told.content.status, told.content.reason)


async def test_of_several_with_one_reference_the_one_that_got_furthest_counts() -> None:
    several = [ours(id=f"675c5f0a1b2c3d4e5f60000{n}", deliveryStatus=s) for n, s in enumerate(("sent", "read"))]
    found = await reported(several)
    assert isinstance(found, Event)
    assert isinstance(found.content, Receipt)
    assert (found.content.status, found.content.queue_id) == (ReceiptStatus.READ, "675c5f0a1b2c3d4e5f600001")


async def test_a_message_that_is_not_there() -> None:
    assert await reported([]) == Absent()


@pytest.mark.parametrize(
    ("answer", "status"), [([ours(reference="w2-other")], 200), ({"message": "No"}, 503), (b"<html>", 200), ({}, 200)]
)
async def test_an_answer_about_something_else_tells_nothing(answer: Any, status: int) -> None:
    assert isinstance(await reported(answer, status), Unknown)

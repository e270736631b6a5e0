"""The real client against servers on loopback: every answer, and every way of not answering, is one outcome."""

import asyncio
import gzip
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support import START, payload
from wamsg2 import __version__
from wamsg2.model import (
    Absent,
    Accepted,
    Claim,
    Deferred,
    Held,
    LookUp,
    Outcome,
    ReceiptStatus,
    Rejected,
    Step,
    Uncertain,
    Unknown,
)
from wamsg2.wassenger import client as client_module
from wamsg2.wassenger.client import WassengerClient

KEY = "0123456789abcdef" * 5
DEVICE = "68fd1067b488de07029f0001"
PHONE = "+5215600000001"
REFERENCE = "w2-0123456789abcdef0123456789abcd"
QUEUE_ID = "675c5f0a1b2c3d4e5f600001"
WA_ID = "3EB0A1B2C3D4E5F60001"
ACCEPTED = Accepted(QUEUE_ID, WA_ID, "5215600000001@c.us")
SILENCE_SECONDS = 0.2


def claim(step: Step = Step.MESSAGE_1, text: str = "Hello") -> Claim:
    return Claim(1, 1, "spring", step, 1, REFERENCE, PHONE, text, START)


def entity(**changes: Any) -> dict[str, Any]:
    """A message of the outbound queue, with our reference."""
    return payload("post_messages.201.json") | {"reference": REFERENCE} | changes


@asynccontextmanager
async def client_of(base_url: str, timeout_seconds: float = 30.0) -> AsyncIterator[WassengerClient]:
    client = WassengerClient(base_url=base_url, api_key=KEY, device=DEVICE, timeout_seconds=timeout_seconds)
    try:
        yield client
    finally:
        await client.close()


# --- a server that speaks HTTP ----------------------------------------------------------------------------------


class Provider:
    """Answers every request with the same response, and keeps what it was asked."""

    def __init__(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers = {"Content-Type": "application/json"} | (headers or {})
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.peers: list[Any] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        self.bodies.append(await request.read())
        assert request.transport is not None
        self.peers.append(request.transport.get_extra_info("peername"))
        return web.Response(status=self.status, body=self.raw, headers=self.headers)


@asynccontextmanager
async def client_for(provider: Provider) -> AsyncIterator[WassengerClient]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", provider.answer)
    async with TestServer(app) as server, client_of(f"{server.make_url('/v1')}/") as client:
        yield client


async def sent(status: int, body: Any = b"", headers: dict[str, str] | None = None) -> Outcome:
    """The outcome of a send that is answered so."""
    provider = Provider(status, body, headers)
    async with client_for(provider) as client:
        outcome = await client.send(claim())
    assert len(provider.requests) == 1, "one request, whatever the answer"
    return outcome


async def found(status: int, body: Any = b"", headers: dict[str, str] | None = None) -> LookUp:
    """What a look-up that is answered so tells."""
    provider = Provider(status, body, headers)
    async with client_for(provider) as client:
        look_up = await client.find(REFERENCE)
    assert len(provider.requests) == 1
    return look_up


# --- the request ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "priority"), [(Step.MESSAGE_1, "normal"), (Step.MESSAGE_2, "high")])
async def test_the_request_has_exactly_what_the_strict_schema_takes(step: Step, priority: str) -> None:
    provider = Provider(201, entity())
    async with client_for(provider) as client:
        await client.send(claim(step, "Hola 👋\n\ud83d"))
    (request,) = provider.requests
    assert (request.method, request.path, request.query_string) == ("POST", "/v1/messages", "")
    assert request.headers["Token"] == KEY
    assert request.headers["User-Agent"] == f"wamsg2/{__version__}"
    assert request.content_type == "application/json"
    assert "Authorization" not in request.headers
    assert json.loads(provider.bodies[0]) == {
        "phone": PHONE,
        "message": "Hola 👋\n\ud83d",
        "device": DEVICE,
        "reference": REFERENCE,
        "priority": priority,
    }


async def test_every_request_has_a_connection_of_its_own() -> None:
    """A kept-alive one that the server dropped would fail after writing: a doubt for nothing."""
    provider = Provider(201, entity())
    async with client_for(provider) as client:
        for _ in range(3):
            assert isinstance(await client.send(claim()), Accepted)
    assert len(set(provider.peers)) == 3


# --- outcomes: accepted -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_accepted(status: int) -> None:
    assert await sent(status, payload("post_messages.201.json")) == ACCEPTED


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        pytest.param([entity()], ACCEPTED, id="a list with the message"),
        pytest.param({"id": QUEUE_ID}, Accepted(QUEUE_ID), id="only the queue id"),
        pytest.param({"waId": WA_ID}, Accepted(None, WA_ID), id="only the WhatsApp id"),
        pytest.param({"id": QUEUE_ID, "waId": None, "wid": None}, Accepted(QUEUE_ID), id="late waId"),
        pytest.param({"id": 7}, Accepted("7"), id="a number for an id"),
        pytest.param(
            entity(status="failed", sentAt="2026-11-22T10:00:00Z", failureReason="x"),
            ACCEPTED,
            id="what was accepted is at least sent, whatever its queue says so far",
        ),
    ],
)
async def test_accepted_whatever_else_the_answer_has(body: Any, outcome: Accepted) -> None:
    assert await sent(201, body) == outcome


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>Created</html>", b'{"id": "675c5f0a', b"null", b"true", b'"675c5f0a1b2c3d4e5f600001"', b"[]",
        b"[[]]", b"{}", b'{"id": null}', b'{"id": ""}', b'{"id": {}}', b'{"status": "queued"}', b"\xff\xfe",
        b"[" * 100_000, b'{"id": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 201])
async def test_an_acceptance_that_names_no_message_is_uncertain(status: int, body: bytes) -> None:
    assert await sent(status, body) == Uncertain(f"HTTP {status} with an unreadable answer")


async def test_no_content_is_uncertain() -> None:
    assert isinstance(await sent(204), Uncertain)


# --- outcomes: refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422])
@pytest.mark.parametrize("place", ["errorCode", "code", "errors"])
async def test_the_code_of_a_refusal_says_what_it_is_about(status: int, place: str) -> None:
    def body(code: str) -> dict[str, Any]:
        return {"errors": [{"message": "No"}, {"code": code}]} if place == "errors" else {place: code}

    for code in ("phone:invalid", "number:notfound", "Number:Blocked"):
        outcome = await sent(status, body(code))
        assert isinstance(outcome, Rejected)
        assert outcome.is_about_person
    for code in ("device:notfound", "device:offline"):
        outcome = await sent(status, body(code))
        assert isinstance(outcome, Held)
        assert outcome.is_about_device
    for code in ("telephone:invalid", "phones", "body:invalid"):
        outcome = await sent(status, body(code))
        assert isinstance(outcome, Held if status in (401, 402, 403) else Rejected)
        assert not (outcome.is_about_device if isinstance(outcome, Held) else outcome.is_about_person)


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_refused_for_good(status: int) -> None:
    body = payload("error.400.json") | {"status": status, "message": "Invalid phone"}
    assert await sent(status, body) == Rejected(f"HTTP {status} phone:invalid: Invalid phone", is_about_person=True)


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_our_account_is_refused(status: int) -> None:
    assert await sent(status, {"message": "No credit"}) == Held(f"HTTP {status} No credit")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 60),
        ("7", 7),
        (" 90 ", 90),
        ("3600", 3600),
        ("86400", 3600),
        ("9" * 400, 3600),
        ("-5", 60),
        ("0", 60),
        ("1.5", 60),
        ("Sun, 22 Nov 2026 10:00:30 GMT", 60),
        ("soon", 60),
        ("", 60),
    ],
)
async def test_too_many_requests_are_deferred(header: str | None, seconds: int) -> None:
    headers = {} if header is None else {"Retry-After": header}
    assert await sent(429, {"message": "Slow down"}, headers) == Deferred(
        "HTTP 429 Slow down", timedelta(seconds=seconds)
    )


@pytest.mark.parametrize(
    "status",
    [301, 302, 303, 304, 307, 308, 405, 406, 408, 409, 410, 413, 415, 418, 425, 451, 500, 501, 502, 503, 504, 599],
)  # fmt: skip
async def test_any_other_answer_is_uncertain(status: int) -> None:
    outcome = await sent(status, {"message": "Oh"}, {"Location": "/v1/elsewhere", "Retry-After": "1"})
    assert isinstance(outcome, Uncertain)
    assert outcome.reason.startswith(f"HTTP {status}")


@pytest.mark.parametrize(
    ("status", "kind"), [(400, Rejected), (401, Held), (429, Deferred), (500, Uncertain), (502, Uncertain)]
)
@pytest.mark.parametrize(
    "body", [b"<html><h1>Bad Gateway</h1></html>", b"", b"[1]", b"null", b'"x"', b'{"errors": 1}', b'{"errors": [1]}']
)
async def test_a_page_for_an_answer_counts_by_its_status(status: int, kind: type[Outcome], body: bytes) -> None:
    outcome = await sent(status, body, {"Content-Type": "text/html"})
    assert isinstance(outcome, kind)
    assert not isinstance(outcome, Accepted)
    assert outcome.reason == f"HTTP {status}"


@pytest.mark.parametrize("location", ["/v1/messages", "/elsewhere", "http://127.0.0.1:1/"])
async def test_a_redirect_is_not_followed(location: str) -> None:
    """A POST that follows would be sent twice (`sent` and `found` count the requests)."""
    for status in (301, 302, 303, 307, 308):
        assert isinstance(await sent(status, b"", {"Location": location}), Uncertain)
        assert isinstance(await found(status, b"", {"Location": location}), Unknown)


# --- outcomes: what a reason says -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            payload("error.400.schema.json") | {"message": "Bad"},
            "HTTP 400 Bad: phone: <text>",
        ),
        ({"error": "Bad", "code": "body:invalid"}, "HTTP 400 body:invalid: Bad"),
        ({"errorCode": 17, "message": " Bad\n"}, "HTTP 400 17: Bad"),
        ({"message": "x" * 5000}, "HTTP 400 " + "x" * 191),
        ({"message": {"deep": "x"}}, "HTTP 400"),
    ],
)
async def test_reasons(body: dict[str, Any], reason: str) -> None:
    assert await sent(400, body) == Rejected(reason)


@pytest.mark.parametrize("status", [400, 401, 429, 500])
@pytest.mark.parametrize("written", [PHONE, PHONE[1:], f"{PHONE[1:]}@c.us", "+52 1 56 0000 0001"])
async def test_a_reason_carries_no_phone_number(status: int, written: str) -> None:
    body = {
        "message": f"{written} is not on WhatsApp",
        "errorCode": f"phone:{written}",
        "errors": [{"path": f"phone {written}", "message": f"bad: {written}"}],
    }
    for outcome in (await sent(status, body), await found(status, body)):
        assert isinstance(outcome, Rejected | Held | Deferred | Uncertain | Unknown)
        assert "0000000" not in outcome.reason.replace(" ", "")
        assert "is not on WhatsApp" in outcome.reason


@pytest.mark.parametrize("message", [f"Token={KEY} is not valid", f"Bad header 'Token': '{KEY}'"])
async def test_a_reason_carries_no_key(message: str) -> None:
    for outcome in (await sent(401, {"message": message}), await found(401, {"message": message})):
        assert isinstance(outcome, Held | Unknown)
        assert KEY not in outcome.reason


@pytest.mark.parametrize("message", [f"Invalid API key {KEY}", f"{KEY} is not authorized"])
async def test_a_reason_carries_no_key_in_prose(message: str) -> None:
    outcome = await sent(401, {"message": message})
    assert isinstance(outcome, Held)
    assert KEY not in outcome.reason


# --- no answer at all -------------------------------------------------------------------------------------------

Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(speak: Speak, *, reads: bool = True) -> AsyncIterator[str]:
    """A server that says bytes; it reads the whole request first. The value is its base URL."""
    tasks: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            if reads:
                head = await reader.readuntil(b"\r\n\r\n")
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                await reader.readexactly(int(lengths[0].split(b":")[1]) if lengths else 0)
            await speak(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        await server.wait_closed()


def says(raw: bytes) -> Speak:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return speak


async def resets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An RST instead of a FIN."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def is_silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def stalls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The head of an acceptance, half its body, then nothing."""
    await says(b"HTTP/1.1 201 Created\r\nContent-Length: 1000\r\n\r\n" + json.dumps(entity()).encode())(
        reader, writer
    )
    await asyncio.Event().wait()


async def never_ends(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An acceptance, and then blanks for ever."""
    body = json.dumps(entity()).encode()
    writer.write(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(body), body))
    while True:
        writer.write(b"8000\r\n" + b" " * 0x8000 + b"\r\n")
        await writer.drain()


COMPLETE = json.dumps(entity()).encode()
BROKEN: dict[str, Speak] = {
    "closed without an answer": says(b""),
    "reset": resets,
    "half a status line": says(b"HTTP/1.1 20"),
    "half the head": says(b"HTTP/1.1 201 Created\r\nContent-Le"),
    "half the body": says(b"HTTP/1.1 201 Created\r\nContent-Length: 1000\r\n\r\n" + COMPLETE),
    "half a chunk": says(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" + COMPLETE),
    "a broken chunk": says(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + COMPLETE),
    "half a refusal": says(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 1000\r\n\r\n{}"),
    "not HTTP": says(b"220 mail.example ESMTP\r\n"),
    "noise": says(bytes(range(256)) * 4),
    "a head without end": says(b"HTTP/1.1 201 Created\r\n" + b"X-Header: " + b"x" * 100_000 + b"\r\n\r\n"),
    "a length that is none": says(b"HTTP/1.1 201 Created\r\nContent-Length: many\r\n\r\n" + COMPLETE),
    "broken gzip": says(b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope"),
    "an endless body": never_ends,
    "a body over the limit": says(
        b"HTTP/1.1 201 Created\r\nContent-Length: 300000\r\n\r\n" + COMPLETE.ljust(300_000)
    ),
}


@pytest.mark.parametrize("speak", BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_answer_is_uncertain_and_a_look_up_that_breaks_proves_nothing(speak: Speak) -> None:
    async with raw_server(speak) as base_url, client_of(base_url) as client:
        outcome = await client.send(claim())
        look_up = await client.find(REFERENCE)
    assert isinstance(outcome, Uncertain)
    assert isinstance(look_up, Unknown)
    for reason in (outcome.reason, look_up.reason):
        assert reason
        assert len(reason) <= 200
        assert not any(part in reason for part in (KEY, PHONE[1:], "127.0.0.1"))


@pytest.mark.parametrize("speak", [is_silent, stalls])
async def test_silence_is_uncertain(speak: Speak) -> None:
    async with raw_server(speak) as base_url, client_of(base_url, timeout_seconds=SILENCE_SECONDS) as client:
        assert await client.send(claim()) == Uncertain("no answer in time")
        assert await client.find(REFERENCE) == Unknown("no answer in time")


async def test_a_reset_before_the_request_is_read_is_uncertain_too() -> None:
    """The request may have been read by whoever stands behind the one who reset."""
    async with raw_server(resets, reads=False) as base_url, client_of(base_url) as client:
        assert isinstance(await client.send(claim()), Uncertain)


@asynccontextmanager
async def refused() -> AsyncIterator[WassengerClient]:
    """A client whose provider is not there: the port is taken, and nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        async with client_of(f"http://127.0.0.1:{held.getsockname()[1]}/v1") as client:
            yield client


async def test_a_refused_connection_is_deferred() -> None:
    async with refused() as client:
        outcome = await client.send(claim())
        assert isinstance(outcome, Deferred)
        assert outcome.reason.startswith("could not connect: ")
        assert outcome.retry_after is None
        assert isinstance(await client.find(REFERENCE), Unknown)


async def test_a_refused_connection_is_told_without_the_address() -> None:
    async with refused() as client:
        assert await client.send(claim()) == Deferred("could not connect: Connection refused")


async def test_a_name_that_is_not_resolved_is_deferred(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    async with client_of("http://wassenger.test/v1") as client:
        assert await client.send(claim()) == Deferred("could not connect: name not resolved")
        assert await client.find(REFERENCE) == Unknown("name not resolved")


async def test_a_connection_that_is_not_made_in_time_is_deferred(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unlike silence after it: nothing was sent."""

    async def sock_connect(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(client_module, "_CONNECT_SECONDS", 0.01)
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", sock_connect)
    async with client_of("http://127.0.0.1:9/v1") as client:
        assert await client.send(claim()) == Deferred("could not connect: no answer in time")


async def test_a_server_that_speaks_no_tls_is_deferred() -> None:
    """The handshake comes before the request: nothing was sent."""
    plain = raw_server(says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), reads=False)
    async with plain as base_url, client_of(base_url.replace("http:", "https:")) as client:
        outcome = await client.send(claim())
    assert isinstance(outcome, Deferred)
    assert outcome.reason.startswith("could not connect: ")


async def test_a_small_answer_that_unpacks_to_a_huge_one_is_uncertain() -> None:
    bomb = gzip.compress(json.dumps(entity()).encode() + b" " * 50_000_000)
    assert await sent(201, bomb, {"Content-Encoding": "gzip"}) == Uncertain("the answer is too long")


async def test_a_compressed_answer_is_read() -> None:
    packed = gzip.compress(json.dumps(entity()).encode())
    assert await sent(201, packed, {"Content-Encoding": "gzip"}) == ACCEPTED


# --- look-ups ---------------------------------------------------------------------------------------------------


async def test_a_look_up_asks_for_our_reference() -> None:
    provider = Provider(200, [])
    async with client_for(provider) as client:
        await client.find(REFERENCE)
    (request,) = provider.requests
    assert (request.method, request.path) == ("GET", "/v1/messages")
    assert dict(request.query) == {"reference": REFERENCE, "size": "20"}
    assert request.headers["Token"] == KEY


async def test_an_empty_answer_says_absent() -> None:
    assert await found(200, []) == Absent()


AT = datetime(2026, 11, 22, 10, 0, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, ReceiptStatus.SENT),
        ({"status": "sent", "deliveryStatus": "sent"}, ReceiptStatus.SENT),
        ({"status": "sent", "deliveryStatus": "delivered"}, ReceiptStatus.DELIVERED),
        ({"status": "read", "deliveryStatus": "read"}, ReceiptStatus.READ),
        ({"status": "failed", "deliveryStatus": "failed"}, ReceiptStatus.FAILED),
        ({"status": "?", "deliveryStatus": None}, ReceiptStatus.SENT),
    ],
)
async def test_found(changes: dict[str, Any], status: ReceiptStatus) -> None:
    message = entity(sentAt="2026-11-22T10:00:04.000Z", createdAt="2026-11-22T10:00:01.000Z", **changes)
    assert await found(200, [message]) == Accepted(
        QUEUE_ID, WA_ID, "5215600000001@c.us", status, AT, created_at=AT - timedelta(seconds=3)
    )


async def test_found_with_a_reason() -> None:
    look_up = await found(200, [entity(deliveryStatus="failed", failureReason=f"{PHONE} is unknown")])
    assert isinstance(look_up, Accepted)
    assert look_up.reason == "+52…0001 is unknown"


async def test_found_failed_before_any_delivery() -> None:
    look_up = await found(200, [entity(status="failed", deliveryStatus="pending")])
    assert isinstance(look_up, Accepted)
    assert look_up.status is ReceiptStatus.FAILED


async def test_of_several_found_the_one_that_got_furthest_counts() -> None:
    """Also where a filter that is half honoured shows others' messages between them."""
    several = [
        entity(id="1" * 24, deliveryStatus="failed"),
        entity(id="2" * 24, deliveryStatus="delivered"),
        entity(id="3" * 24, deliveryStatus="sent"),
        entity(id="4" * 24, deliveryStatus="read", reference="w2-other"),
    ]
    for listed in (several, several[::-1]):
        look_up = await found(200, listed)
        assert isinstance(look_up, Accepted)
        assert (look_up.queue_id, look_up.status) == ("2" * 24, ReceiptStatus.DELIVERED)


@pytest.mark.parametrize(
    "listed",
    [
        [{"id": QUEUE_ID, "reference": "w2-other"}],
        [{"id": QUEUE_ID}],
        [{"id": QUEUE_ID, "reference": REFERENCE[:-1]}],
        [{"id": QUEUE_ID, "reference": REFERENCE.upper()}],
        [None],
        [[]],
        ["x"],
    ],
)
async def test_others_messages_prove_nothing(listed: list[Any]) -> None:
    """A filter that is not honoured would make every message look absent."""
    assert await found(200, listed) == Unknown("the answer has messages with other references")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((status, []) for status in (201, 204, 206, 301, 304, 400, 401, 403, 404, 429, 500, 502, 503)),
        (200, b""),
        (200, b"<html>maintenance</html>"),
        (200, b"null"),
        (200, {}),
        (200, {"data": []}),
        (200, {"message": "no such filter"}),
        (200, b"[" * 100_000),
        (200, b"[] []"),
    ],
)
async def test_anything_else_proves_nothing(status: int, body: Any) -> None:
    look_up = await found(status, body)
    assert isinstance(look_up, Unknown)
    assert look_up.reason.startswith(f"HTTP {status}")

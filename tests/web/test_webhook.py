"""The public listener: who gets in, what is answered, what is stored."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientTimeout
from aiohttp.test_utils import RawTestServer, TestClient
from aiohttp.web import BaseRequest, Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from yarl import URL

from tests.support import PROCESS_SECONDS, House, house, inbound, payload
from wamsg2.arrivals import Arrivals
from wamsg2.store.writer import StoreUnavailableError, Tx
from wamsg2.wassenger.signature import sign
from wamsg2.web import webhook as webhook_module
from wamsg2.web.room import Place
from wamsg2.web.webhook import BODY_LIMIT_BYTES, Secrets, WebhookListener

PATH = "/webhooks/wassenger"
Client = TestClient[BaseRequest, None]
Start = Callable[[Secrets], Awaitable[Client]]


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        await made.campaign("+34600000001")
        await made.send_one()
        yield made


async def serving(listener: WebhookListener) -> Client:
    server = RawTestServer(listener.answer)
    await server.start_server(auto_decompress=False)  # as the daemon listens
    client: Client = TestClient(server)
    await client.start_server()
    return client


@pytest.fixture
async def start(home: House) -> AsyncIterator[Start]:
    clients: list[Client] = []

    async def begin(secrets: Secrets) -> Client:
        listener = WebhookListener(
            path=PATH, inbox=home.inbox, secrets=secrets, clock=home.clock, arrivals=Arrivals(home.clock)
        )
        client = await serving(listener)
        clients.append(client)
        return client

    yield begin
    for client in clients:
        await client.close()


@pytest.fixture
async def client(start: Start) -> Client:
    return await start(Secrets(["right", "older"]))


async def post(
    client: Client,
    body: bytes,
    *,
    secret: str | None = "right",  # noqa: S107 - made up
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, Any]]:
    query = {"secret": secret} if secret is not None else None
    async with client.post(PATH, data=BytesIO(body), params=query, headers=headers) as response:
        text = await response.text()
        return response.status, json.loads(text) if response.content_type == "application/json" else {}


async def stored(home: House) -> int:
    ((events,),) = await home.rows("SELECT count(*) FROM events")
    return int(events)


async def test_a_reply_is_accepted_once(home: House, client: Client) -> None:
    body = json.dumps(inbound("+34600000001", at=home.clock.now(), wa_id="A1")).encode()
    assert await post(client, body) == (200, {"status": "accepted"})
    assert await post(client, body) == (200, {"status": "duplicate"})
    assert await home.outcomes() == ["message_2_queued"]


async def test_unknown_events_and_shapes_are_stored_and_ignored(home: House, client: Client) -> None:
    for body in (b"{}", b'{"event": "chat:update", "data": 5}', b'{"event": "message:in:new", "data": []}'):
        assert await post(client, body) == (200, {"status": "ignored"})
    assert await stored(home) == 3


@pytest.mark.parametrize("secret", [None, "", "wrong", "right ", "RIGHT", "r\u00efght", "right\x00"])
async def test_a_wrong_secret_stores_nothing(home: House, client: Client, secret: str | None) -> None:
    status, _ = await post(client, json.dumps(payload("message_in_new.text.json")).encode(), secret=secret)
    assert status == 401
    assert await stored(home) == 0


@pytest.mark.parametrize("secret", ["right", "older"])
async def test_any_live_secret_lets_in_as_query_or_header(home: House, client: Client, secret: str) -> None:
    assert (await post(client, b'{"n": 1}', secret=secret))[0] == 200
    assert (await post(client, b'{"n": 2}', secret=None, headers={"X-Webhook-Secret": secret}))[0] == 200
    assert (await post(client, b'{"n": 3}', secret="wrong", headers={"X-Webhook-Secret": secret}))[0] == 200
    assert await stored(home) == 3


async def test_signatures(home: House, start: Start) -> None:
    client = await start(Secrets(["right"], ["old-key", "new-key"]))
    body = b'{"event": "x"}'
    header = "X-Wassenger-Signature"
    assert (await post(client, body))[0] == 200  # not there, not required
    for key in ("old-key", "new-key"):
        assert (await post(client, body, headers={header: sign(body, key)}))[0] == 200
    assert (await post(client, body, headers={header: sign(body, "old-key").removeprefix("sha256=")}))[0] == 200
    for wrong in (sign(body + b" ", "new-key"), sign(body, "other"), "", "sha256=", sign(body, "new-key")[8:]):
        assert (await post(client, body, headers={header: wrong}))[0] == 401, wrong
    assert (await post(client, body, secret="wrong", headers={header: sign(body, "new-key")}))[0] == 401

    strict = await start(Secrets(["right"], ["new-key"], require_signature=True))
    assert (await post(strict, body))[0] == 401
    assert (await post(strict, body, headers={header: sign(body, "new-key")}))[0] == 200
    assert await stored(home) == 1


@pytest.mark.parametrize("body", [b"", b"not json", b'"text"', b"1", b"null", b"\xff\xfe{}", b"[" * 100_000])
async def test_what_is_neither_a_json_object_nor_an_array_is_refused(
    home: House, client: Client, body: bytes
) -> None:
    assert (await post(client, body))[0] == 400
    assert await stored(home) == 0


async def test_a_row_of_events_has_one_answer(home: House, client: Client) -> None:
    news = [inbound("+34600000001", at=home.clock.now(), wa_id=wa_id) for wa_id in ("A1", "A2")]
    assert await post(client, json.dumps([*news, {"event": "chat:update"}]).encode()) == (200, {"status": "accepted"})
    assert await post(client, json.dumps(news).encode()) == (200, {"status": "duplicate"})
    assert await post(client, b"[]") == (200, {"status": "ignored"})
    assert await home.outcomes() == ["message_2_queued", "message_2_exists"]
    assert await stored(home) == 3


async def test_over_a_mebibyte_is_refused(home: House, client: Client) -> None:
    shell = len(b'{"a": ""}')
    fits = b'{"a": "' + b"x" * (BODY_LIMIT_BYTES - shell) + b'"}'
    assert (await post(client, fits))[0] == 200
    assert (await post(client, fits + b" "))[0] == 413
    assert (await post(client, b"x" * 2 * BODY_LIMIT_BYTES))[0] == 413
    assert await stored(home) == 1


async def test_what_cannot_be_stored_is_postponed(
    home: House, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_work: Callable[[Tx], object]) -> None:
        raise StoreUnavailableError("the database cannot be written: disk full")

    body = json.dumps(inbound("+34600000001", at=home.clock.now(), wa_id="A1")).encode()
    with monkeypatch.context() as disk:
        disk.setattr(home.store, "write", full)
        async with client.post(PATH, data=BytesIO(body), params={"secret": "right"}) as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0
    assert await post(client, body) == (200, {"status": "accepted"})


async def test_nothing_else_answers(client: Client) -> None:
    for method, path, expected in (
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("GET", PATH, 405),
        ("GET", "/", 404),
        ("GET", "/status", 404),
        ("GET", "/metrics", 404),
        ("POST", "/healthz", 405),
        ("POST", PATH + "/x", 404),
        ("POST", PATH.replace("/w", "%2Fw"), 404),
    ):
        async with client.request(method, URL(f"{path}?secret=right", encoded=True)) as response:
            assert response.status == expected, (method, path)
            assert ("Allow" in response.headers) is (expected == 405)


async def test_the_secret_may_be_encoded(start: Start) -> None:
    client = await start(Secrets(["a b+c/é%41"]))
    for query in ("secret=a%20b%2Bc%2F%C3%A9%2541", "x=1&secret=a+b%2Bc/%c3%a9%2541&secret=other#part"):
        async with client.post(URL(f"{PATH}?{query}", encoded=True), data=b'{"event": "x"}') as response:
            assert response.status == 200, query


async def test_a_plus_in_the_address_is_a_plus_or_a_space(start: Start) -> None:
    client = await start(Secrets(["a+b", "c d"]))
    for query, status in (
        ("secret=a+b", 200), ("secret=a%2Bb", 200), ("secret=c+d", 200), ("secret=c%20d", 200), ("%73ecret=c+d", 200),
        ("secret=a%20b", 401), ("secret=c%2Bd", 401), ("secret=ab", 401), ("secret=", 401),
        ("secret", 401), ("", 401), ("secret=x&secret=a+b", 401),
    ):  # fmt: skip
        async with client.post(URL(f"{PATH}?{query}", encoded=True), data=b'{"event": "x"}') as response:
            assert response.status == status, query


# --- packed bodies -------------------------------------------------------------------------------------------


async def pack(client: Client, packed: bytes, encoding: str = "gzip", **headers: str) -> tuple[int, dict[str, Any]]:
    return await post(client, packed, headers={"Content-Encoding": encoding} | headers)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " x-gzip "])
async def test_a_gzip_body_is_unpacked(home: House, client: Client, encoding: str) -> None:
    body = json.dumps(inbound("+34600000001", at=home.clock.now(), wa_id="A1")).encode()
    assert await pack(client, gzip.compress(body), encoding) == (200, {"status": "accepted"})
    assert await post(client, body) == (200, {"status": "duplicate"})
    halves = gzip.compress(body[:50]) + gzip.compress(body[50:])
    assert await pack(client, halves, encoding) == (200, {"status": "duplicate"})
    assert await home.outcomes() == ["message_2_queued"]


async def test_a_body_of_any_other_encoding_is_refused_with_a_word(home: House, client: Client) -> None:
    for encoding in ("br", "deflate", "zstd", "gzip, gzip"):
        status, answer = await pack(client, zlib.compress(b"{}"), encoding)
        assert (status, answer) == (
            415,
            {"error": "content encoding not taken: send the body as it is, or as gzip"},
        )
    assert await pack(client, b'{"n": 1}', "identity") == (200, {"status": "ignored"})
    assert await stored(home) == 1


async def test_a_broken_gzip_body_is_refused(home: House, client: Client) -> None:
    whole = gzip.compress(b'{"event": "x"}')
    for broken in (b'{"event": "x"}', whole[:-1], whole[:9], whole + b"x", whole[:-8] + bytes(8)):
        assert await pack(client, broken) == (400, {"error": "broken gzip"})
    assert (await pack(client, b""))[0] == 400
    assert await stored(home) == 0


async def test_a_gzip_body_over_a_mebibyte_is_refused(home: House, client: Client) -> None:
    fits = long_body(1024)
    assert (await pack(client, gzip.compress(fits)))[0] == 200
    assert (await pack(client, gzip.compress(fits + b" ")))[0] == 413
    assert (await pack(client, gzip.compress(fits) + gzip.compress(b" ")))[0] == 413
    assert (await pack(client, gzip.compress(bytes(100 * BODY_LIMIT_BYTES), 1)))[0] == 413
    assert await stored(home) == 1


async def test_a_packed_body_may_be_signed_before_or_after(home: House, start: Start) -> None:
    client = await start(Secrets(["right"], ["key"], require_signature=True))
    packed = gzip.compress(b'{"n": 1}')
    for signed in (packed, b'{"n": 1}'):
        assert (await pack(client, packed, **{"X-Wassenger-Signature": sign(signed, "key")}))[0] == 200
    for signature in (sign(b'{"n": 2}', "key"), sign(packed, "other")):
        assert (await pack(client, packed, **{"X-Wassenger-Signature": signature}))[0] == 401
    assert (await pack(client, packed))[0] == 401
    assert await stored(home) == 1


# --- floods --------------------------------------------------------------------------------------------------


class Door:
    """Everyone who is let in waits behind it until it is opened."""

    def __init__(self, listener: WebhookListener, monkeypatch: pytest.MonkeyPatch) -> None:
        self._take = listener._take
        self._is_open, self._changed = asyncio.Event(), asyncio.Event()
        self.waiting = 0
        monkeypatch.setattr(listener, "_take", self.take)

    async def take(self, request: BaseRequest, place: Place) -> Response:
        self._count(1)
        try:
            await self._is_open.wait()
            return await self._take(request, place)
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self.waiting += change
        self._changed.set()

    async def until(self, waiting: int) -> None:
        async with asyncio.timeout(PROCESS_SECONDS):
            while self.waiting != waiting:
                self._changed.clear()
                await self._changed.wait()

    def open(self) -> None:
        self._is_open.set()

    def shut(self) -> None:
        self._is_open.clear()


@dataclass
class Flooded:
    """A listener with a door, and its client."""

    listener: WebhookListener
    client: Client
    door: Door

    def post(self, body: bytes | AsyncIterator[bytes], **options: Any) -> asyncio.Task[tuple[int, dict[str, Any]]]:
        sending = post(self.client, body, **options) if isinstance(body, bytes) else self._pour(body)
        return asyncio.get_running_loop().create_task(sending)

    async def _pour(self, parts: AsyncIterator[bytes]) -> tuple[int, dict[str, Any]]:
        async with self.client.post(PATH, data=parts, params={"secret": "right"}) as response:
            assert response.request_info.headers["Transfer-Encoding"] == "chunked"
            return response.status, await response.json()

    async def is_sent_away(self, body: bytes = b'{"n": 9}', **options: Any) -> bool:
        bound = ClientTimeout(total=PROCESS_SECONDS)  # one that is let in may wait at the door for ever
        async with self.client.post(
            PATH, data=body, params={"secret": "right"}, timeout=bound, **options
        ) as response:
            if response.status != 503:
                return False
            assert int(response.headers["Retry-After"]) > 0
            assert response.headers["Connection"] == "close"
            return True

    @property
    def under_way(self) -> tuple[int, int]:
        """Requests, and bytes of their bodies."""
        return self.listener._room.requests, self.listener._room.taken_bytes


@pytest.fixture
async def flooded(home: House, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Flooded]:
    """Room for two requests and a mebibyte and a half of bodies."""
    monkeypatch.setattr(webhook_module, "_MOST_REQUESTS", 2)
    monkeypatch.setattr(webhook_module, "_MOST_BODY_BYTES", BODY_LIMIT_BYTES * 3 // 2)
    listener = WebhookListener(
        path=PATH,
        inbox=home.inbox,
        secrets=Secrets(["right"], ["key"]),
        clock=home.clock,
        arrivals=Arrivals(home.clock),
    )
    door = Door(listener, monkeypatch)
    client = await serving(listener)
    yield Flooded(listener, client, door)
    await client.close()


def long_body(kibibytes: int) -> bytes:
    shell = len(b'{"a": ""}')
    return b'{"a": "' + b"x" * (kibibytes * 1024 - shell) + b'"}'


async def pouring(*parts: bytes, then: asyncio.Event | None = None) -> AsyncIterator[bytes]:
    """A body without a length; its last part comes when the event is set."""
    for part in parts[:-1]:
        yield part
    if then:
        await then.wait()
    yield parts[-1]


def test_so_much_fits_under_way() -> None:
    """The figures of the README, and the arithmetic behind them: bodies of any size fit into the bound."""
    assert webhook_module._MOST_REQUESTS == 1000
    assert webhook_module._MOST_BODY_BYTES == 16 * 1024 * 1024 == 16 * BODY_LIMIT_BYTES


async def test_beyond_so_many_requests_they_are_sent_away(home: House, flooded: Flooded) -> None:
    taken = [flooded.post(b'{"n": %d}' % n) for n in range(2)]
    await flooded.door.until(waiting=2)
    with capture_logs() as logs:
        assert await flooded.is_sent_away()
    assert [(line["event"], line["reason"]) for line in logs] == [("webhook.postponed", "too many webhooks at once")]
    assert flooded.under_way[0] == 2
    assert await stored(home) == 0
    assert flooded.listener.refused == 0, "nobody at the door did anything wrong"
    flooded.door.open()
    assert [(await task)[0] for task in taken] == [200, 200]
    assert not await flooded.is_sent_away()
    assert await stored(home) == 3
    assert flooded.under_way == (0, 0)


async def test_beyond_so_many_bytes_they_are_sent_away(home: House, flooded: Flooded) -> None:
    first = flooded.post(long_body(1024))
    await flooded.door.until(waiting=1)
    assert flooded.under_way == (1, 1024 * 1024)
    assert await flooded.is_sent_away(long_body(513))
    assert flooded.under_way == (1, 1024 * 1024), "who was sent away takes no room"
    second = flooded.post(long_body(512))
    await flooded.door.until(waiting=2)
    flooded.door.open()
    assert [(await task)[0] for task in (first, second)] == [200, 200]
    assert flooded.under_way == (0, 0)
    assert await stored(home) == 2


async def test_a_body_of_unknown_length_takes_the_room_of_what_has_arrived(
    home: House, flooded: Flooded, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, arrived, long = asyncio.Event(), asyncio.Event(), long_body(1024)
    grow = Place.grow

    def notice(place: Place, size_bytes: int) -> None:
        grow(place, size_bytes)
        if place.size_bytes == 900 * 1024:
            arrived.set()

    monkeypatch.setattr(Place, "grow", notice)
    first = flooded.post(pouring(long[: 900 * 1024], long[900 * 1024 :], then=whole))
    await flooded.door.until(waiting=1)
    assert flooded.under_way == (1, 0)
    flooded.door.open()
    await arrived.wait()
    assert flooded.under_way == (1, 900 * 1024)
    assert await flooded.is_sent_away(long_body(637))
    assert (await flooded.post(pouring(long_body(637), b" ")))[0] == 503
    assert (await flooded.post(pouring(b'{"n"', b": 2}"))) == (200, {"status": "ignored"})
    assert not await flooded.is_sent_away(long_body(636))
    whole.set()
    assert await first == (200, {"status": "ignored"})
    assert flooded.under_way == (0, 0)
    assert await stored(home) == 3


async def test_many_small_bodies_of_unknown_length_come_in_at_once(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = WebhookListener(
        path=PATH, inbox=home.inbox, secrets=Secrets(["right"]), clock=home.clock, arrivals=Arrivals(home.clock)
    )
    door, client = Door(listener, monkeypatch), await serving(listener)
    flooded = Flooded(listener, client, door)
    taken = [flooded.post(pouring(b'{"n": ', b"%d}" % n)) for n in range(25)]
    await door.until(waiting=25)
    door.open()
    assert [(await task)[0] for task in taken] == [200] * 25
    assert flooded.under_way == (0, 0)
    await client.close()


async def test_a_body_of_unknown_length_is_refused_where_it_is_too_long(home: House, flooded: Flooded) -> None:
    flooded.door.open()
    assert (await flooded.post(pouring(long_body(1024), b" ")))[0] == 413
    assert flooded.under_way == (0, 0)
    assert (await flooded.post(pouring(long_body(1023), b" ")))[0] == 200
    assert await stored(home) == 1


async def test_an_unpacked_body_takes_room_too(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_module, "_MOST_BODY_BYTES", 100 * 1024)
    listener = WebhookListener(
        path=PATH, inbox=home.inbox, secrets=Secrets(["right"]), clock=home.clock, arrivals=Arrivals(home.clock)
    )
    client = await serving(listener)
    for kibibytes, status in ((90, 200), (101, 503), (90, 200)):
        assert (await pack(client, gzip.compress(long_body(kibibytes))))[0] == status
    assert (listener._room.requests, listener._room.taken_bytes) == (0, 0)
    await client.close()


async def test_a_length_beyond_the_longest_counts_as_the_longest(flooded: Flooded) -> None:
    """What is too long is refused as that, for good, and not asked to come again."""
    flooded.door.open()
    assert (await flooded.post(b"x" * 4 * BODY_LIMIT_BYTES))[0] == 413
    assert flooded.under_way == (0, 0)


async def test_whoever_does_not_know_the_secret_takes_no_room(flooded: Flooded) -> None:
    taken = [flooded.post(b'{"n": %d}' % n) for n in range(2)]
    await flooded.door.until(waiting=2)
    assert (await flooded.post(b"{}", secret="wrong"))[0] == 401
    async with flooded.client.get("/healthz") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})
    flooded.door.open()
    assert [(await task)[0] for task in taken] == [200, 200]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"not json", {}, 400),
        (b"{}", {"X-Wassenger-Signature": "sha256=0"}, 401),
        (b"x" * (BODY_LIMIT_BYTES + 1), {}, 413),
    ],
)
async def test_room_is_given_back_after_a_refusal(
    flooded: Flooded, body: bytes, headers: dict[str, str], status: int
) -> None:
    flooded.door.open()
    for _ in range(5):  # more than there is room for
        assert (await flooded.post(body, headers=headers))[0] == status
    assert flooded.under_way == (0, 0)
    assert not await flooded.is_sent_away()


async def test_room_is_given_back_when_the_disk_refuses(
    home: House, flooded: Flooded, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_work: Callable[[Tx], object]) -> None:
        raise StoreUnavailableError("the database cannot be written: disk full")

    flooded.door.open()
    with monkeypatch.context() as disk:
        disk.setattr(home.store, "write", full)
        for _ in range(5):
            assert await flooded.is_sent_away()
    assert flooded.under_way == (0, 0)
    assert not await flooded.is_sent_away()


async def test_room_is_given_back_when_something_breaks(
    home: House, flooded: Flooded, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_body: bytes) -> None:
        raise RuntimeError("a bug")

    flooded.door.open()
    with monkeypatch.context() as bug:
        bug.setattr(home.inbox, "receive", broken)
        for _ in range(5):
            assert (await flooded.post(b"{}"))[0] == 500
    assert flooded.under_way == (0, 0)
    assert not await flooded.is_sent_away()


async def test_room_is_given_back_when_a_sender_hangs_up(home: House, flooded: Flooded) -> None:
    server = flooded.client.server
    for _ in range(3):  # more than there is room for
        _, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(
            f"POST {PATH}?secret=right HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY_LIMIT_BYTES}\r\n\r\n".encode()
            + b'{"half": '
        )
        await flooded.door.until(waiting=1)
        flooded.door.open()
        writer.close()
        await flooded.door.until(waiting=0)
        flooded.door.shut()
        assert flooded.under_way == (0, 0)
    flooded.door.open()
    assert not await flooded.is_sent_away()
    assert await stored(home) == 1


async def test_a_body_that_takes_too_long_gives_its_room_back(
    home: House, flooded: Flooded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_module, "_BODY_SECONDS", 0.0)
    flooded.door.open()
    never = asyncio.Event()
    for _ in range(3):
        assert (await flooded.post(pouring(b'{"n": ', b"1}", then=never)))[0] == 408
    assert flooded.under_way == (0, 0)
    assert await stored(home) == 0
    assert flooded.listener.refused == 3


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
wrong_shapes = st.fixed_dictionaries(
    {
        "event": st.sampled_from(["message:in:new", "message:out:ack", "message:reaction", "message:update"])
        | json_values
    },
    optional={"data": json_values, "device": json_values, "created": json_values},
).map(lambda value: json.dumps(value).encode())
bodies = st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()) | wrong_shapes


async def hostile(home: House, client: Client, body: bytes) -> None:
    before = await stored(home)
    status, _ = await post(client, body)
    assert status in {200, 400}
    most = len(json.loads(body)) if status == 200 and body.lstrip().startswith(b"[") else 1
    assert 0 <= await stored(home) - before <= (most if status == 200 else 0)
    async with client.get("/healthz") as response:
        assert response.status == 200


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies)
async def test_hostile_bodies(home: House, client: Client, body: bytes) -> None:
    await hostile(home, client, body)


@pytest.mark.soak
@settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies)
async def test_ten_thousand_hostile_bodies(home: House, client: Client, body: bytes) -> None:
    await hostile(home, client, body)

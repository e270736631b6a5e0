"""The public listener: who gets in, what is answered, what is stored."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import House, house, inbound, payload
from wamsg2.store.writer import StoreUnavailableError, Tx
from wamsg2.wassenger.signature import sign
from wamsg2.web.webhook import BODY_LIMIT_BYTES, Secrets, WebhookListener

PATH = "/webhooks/wassenger"
Client = TestClient[Request, Application]
Start = Callable[[Secrets], Awaitable[Client]]


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        await made.campaign("+34600000001")
        await made.send_one()
        yield made


@pytest.fixture
async def start(home: House) -> AsyncIterator[Start]:
    clients: list[Client] = []

    async def begin(secrets: Secrets) -> Client:
        listener = WebhookListener(inbox=home.inbox, secrets=secrets)
        client: Client = TestClient(TestServer(listener.application(PATH)))
        await client.start_server()
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
    for wrong in (sign(body + b" ", "new-key"), sign(body, "other"), "", "sha256=", sign(body, "new-key")[7:]):
        assert (await post(client, body, headers={header: wrong}))[0] == 401, wrong
    assert (await post(client, body, secret="wrong", headers={header: sign(body, "new-key")}))[0] == 401

    strict = await start(Secrets(["right"], ["new-key"], require_signature=True))
    assert (await post(strict, body))[0] == 401
    assert (await post(strict, body, headers={header: sign(body, "new-key")}))[0] == 200
    assert await stored(home) == 1


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'"text"', b"1", b"null", b"\xff\xfe{}", b"[" * 100_000])
async def test_what_is_not_a_json_object_is_refused(home: House, client: Client, body: bytes) -> None:
    assert (await post(client, body))[0] == 400
    assert await stored(home) == 0


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
        ("GET", PATH, 405),
        ("GET", "/", 404),
        ("GET", "/status", 404),
        ("GET", "/metrics", 404),
        ("POST", "/healthz", 405),
        ("POST", PATH + "/x", 404),
    ):
        async with client.request(method, path, params={"secret": "right"}) as response:
            assert response.status == expected, (method, path)


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
    assert await stored(home) - before in ({0, 1} if status == 200 else {0})
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

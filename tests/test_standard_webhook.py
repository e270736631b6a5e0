"""The receiver behind an address: what it gets, that it can verify it, and every way of not having it."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from standardwebhooks import Webhook, WebhookVerificationError

from tests.support import ManualClock, house
from wamsg2.alerts import Facts, Thresholds
from wamsg2.clock import SystemClock
from wamsg2.delivery import Delivery
from wamsg2.model import Finding
from wamsg2.notifier import Notifier
from wamsg2.standard_webhook import StandardWebhook

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
PAYLOAD = {"type": "wamsg2.held", "data": {"subject": "spring ✓ \ud83d"}}
SILENCE_SECONDS = 0.2

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def posting_to(handler: Handler, timeout_seconds: float = 30.0) -> AsyncIterator[StandardWebhook]:
    """A poster whose receiver does this."""
    app = web.Application()
    app.router.add_post("/hook", handler)
    async with TestServer(app) as server, poster(str(server.make_url("/hook?token=t0ken")), timeout_seconds) as made:
        yield made


@asynccontextmanager
async def poster(url: str, timeout_seconds: float = 30.0) -> AsyncIterator[StandardWebhook]:
    made = StandardWebhook(url=url, secret=SECRET, timeout_seconds=timeout_seconds, clock=SystemClock())
    try:
        yield made
    finally:
        await made.close()


async def answer_to(handler: Handler, timeout_seconds: float = 30.0) -> str | None:
    async with posting_to(handler, timeout_seconds) as made:
        return await made.post("msg_1", PAYLOAD)


async def test_the_receiver_can_verify_what_it_gets() -> None:
    got: list[tuple[bytes, dict[str, str]]] = []

    async def take(request: web.Request) -> web.Response:
        got.append((await request.read(), {name.lower(): value for name, value in request.headers.items()}))
        return web.Response(status=204)

    async with posting_to(take) as made:
        assert await made.post("msg_1", PAYLOAD) is None
        assert await made.post("msg_2", PAYLOAD) is None
    (body, headers), (_, again) = got
    assert Webhook(SECRET).verify(body, headers) == PAYLOAD
    assert (headers["webhook-id"], again["webhook-id"]) == ("msg_1", "msg_2")
    assert headers["content-type"] == "application/json"
    for changed in (body.replace(b"spring", b"summer"), body + b" "):
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(changed, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, headers | {"webhook-id": "msg_2"})
    with pytest.raises(WebhookVerificationError):
        Webhook(base64.b64encode(bytes(32)).decode()).verify(body, headers)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_every_2xx_is_enough(status: int) -> None:
    async def say(_: web.Request) -> web.Response:
        return web.Response(status=status)

    assert await answer_to(say) is None


@pytest.mark.parametrize("status", [304, 400, 401, 404, 410, 429, 500, 503])
async def test_anything_else_is_not(status: int) -> None:
    async def say(_: web.Request) -> web.Response:
        return web.Response(status=status, text="secret words of the receiver")

    assert await answer_to(say) == f"HTTP {status}"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    asked = 0

    async def lead_astray(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(status=status, headers={"Location": "/hook"})

    assert await answer_to(lead_astray) == f"HTTP {status}"
    assert asked == 1


async def test_a_body_without_end_is_not_read() -> None:
    async def babble(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Encoding": "gzip"})
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        except ConnectionError:  # nobody listens any more
            return response

    assert await answer_to(babble) is None


async def test_no_answer_in_time() -> None:
    async def say_nothing(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    assert await answer_to(say_nothing, SILENCE_SECONDS) == "no answer in time"


async def test_nobody_there() -> None:
    async with poster(f"http://127.0.0.1:{unused_port()}/secret/path?token=t0ken") as made:
        assert await made.post("msg_1", PAYLOAD) == "no answer (ClientConnectorError)"


async def test_no_http() -> None:
    async def mumble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(mumble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with poster(f"http://127.0.0.1:{port}/secret/path?token=t0ken") as made:
        problem = await made.post("msg_1", PAYLOAD)
    server.close()
    assert problem is not None
    assert problem.startswith("no answer (")
    assert "secret" not in problem


async def test_from_a_lost_device_to_a_verified_request(tmp_path: Path) -> None:
    """The whole way on a real disk and a real connection: refused at first, then taken, once."""
    answers = [503, 200]
    got: list[dict[str, object]] = []

    async def answer(request: web.Request) -> web.Response:
        verified = Webhook(SECRET).verify(await request.read(), dict(request.headers))
        got.append({"id": request.headers["webhook-id"], **verified})
        return web.Response(status=answers.pop(0))

    async def facts() -> Facts:
        return Facts(device=Finding(ok=False, detail="operative, session offline", checked_at=clock.now()))

    async with house(tmp_path) as home, posting_to(answer) as receiver:
        clock = ManualClock()  # for what is due; requests are signed with the machine's, or nobody took them
        delivery = Delivery(store=home.store, receiver=receiver, clock=clock, random=Random(6))
        notifier = Notifier(
            store=home.store, facts=facts, clock=clock, thresholds=Thresholds(), deliver=delivery.wake
        )
        await notifier.step()
        assert await delivery.step() == 0
        assert await delivery.step() > 0
        clock.advance(6)
        assert await delivery.step() == 0
        await delivery.step()
    first, second = got
    assert first == second
    assert str(first["id"]).startswith("msg_")
    assert (first["type"], answers) == ("wamsg2.device_lost", [])
    assert first["timestamp"] == "2026-11-22T10:00:00.000Z"

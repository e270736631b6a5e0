"""Webhooks: management, signatures, retries, disabling."""

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from tests.sandbox.conftest import PHONE, QUICK, Json, Receiver, Start, payload, until
from wamsg2.sandbox import SandboxSettings, WebhookRules
from wamsg2.sandbox.webhooks import signature_of

Post = Callable[..., Awaitable[Json]]
A_WEBHOOK = {"name": "Chatbot", "url": "https://example.test/hook?k=SECRET", "events": ["message:in:new"]}


async def call(http: aiohttp.ClientSession, method: str, url: str, body: Json | None = None) -> tuple[int, Json]:
    async with http.request(method, url, json=body) as response:
        return response.status, await response.json() if response.status != 204 else {}


async def test_the_life_of_a_webhook(start: Start, http: aiohttp.ClientSession) -> None:
    sandbox = await start()
    url = f"{sandbox.base_url}/webhooks"
    device = SandboxSettings().device_id
    status, created = await call(http, "POST", url, A_WEBHOOK | {"device": device})
    assert status == 201
    assert created.keys() == payload("get_webhooks.item.reconstructed.json").keys()
    assert (await call(http, "POST", url, A_WEBHOOK | {"device": device}))[0] == 409
    assert (await call(http, "POST", url, A_WEBHOOK))[0] == 201
    one = f"{url}/{created['id']}"
    assert (await call(http, "GET", one)) == (200, created)
    assert (await call(http, "PATCH", one, {"name": "Other"}))[1]["name"] == "Other"
    async with http.get(f"{url}?status=active&size=1") as response:
        assert [item["name"] for item in await response.json()] == ["Other"]
    assert (await call(http, "DELETE", one))[0] == 204
    for method, path in (("GET", one), ("PATCH", one), ("DELETE", one), ("POST", f"{one}/enable")):
        assert (await call(http, method, path, {}))[0] == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"events": []},
        {"events": ["message:out:delivered"]},
        {"events": "message:in:new"},
        {"events": [["message:in:new"]]},
        {"url": "ftp://example.test"},
        {"name": "x" * 31},
        {"active": True},
        {"device": 7},
    ],
)
async def test_a_wrong_webhook_is_refused(start: Start, http: aiohttp.ClientSession, changes: Json) -> None:
    sandbox = await start()
    status, answer = await call(http, "POST", f"{sandbox.base_url}/webhooks", A_WEBHOOK | changes)
    assert status == 400
    assert [problem["path"] for problem in answer["errors"]] == list(changes)


async def test_a_webhook_gets_the_events_it_asked_for(
    start: Start, http: aiohttp.ClientSession, post: Post, receiver: Receiver
) -> None:
    sandbox = await start()
    await call(http, "POST", f"{sandbox.base_url}/webhooks", A_WEBHOOK | {"url": f"{receiver.url}?secret=s"})
    await post(sandbox)
    await sandbox.inbound(PHONE, "Hi")
    await sandbox.settle()
    assert [body["event"] for body in receiver.bodies] == ["message:in:new"]


async def test_signatures(start: Start, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url, signing_secret="one")
    sandbox.register_webhook(f"{receiver.url}?other", signing_secret="two")
    await sandbox.inbound(PHONE, "Grüße 👋")
    await sandbox.settle()
    assert {headers["X-Wassenger-Signature"] for headers in receiver.headers} == {
        signature_of(receiver.raws[0], "one"),
        signature_of(receiver.raws[0], "two"),
    }


async def test_no_signature_without_a_secret(start: Start, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url)
    await sandbox.inbound(PHONE, "Hi")
    await sandbox.settle()
    assert "X-Wassenger-Signature" not in receiver.headers[0]
    assert receiver.headers[0]["Content-Type"] == "application/json"


async def test_a_failed_attempt_is_repeated_with_the_same_bytes(start: Start, receiver: Receiver) -> None:
    receiver.answer = lambda number: {1: 503, 2: 401, 3: 302}.get(number, 200)
    sandbox = await start(webhook_url=receiver.url)
    await sandbox.inbound(PHONE, "Hi")
    await sandbox.settle()
    [delivery] = sandbox.deliveries
    assert delivery.answers == [503, 401, 302, 200]
    assert delivery.is_acknowledged
    assert len(set(receiver.raws)) == 1


async def test_silence_is_a_failed_attempt(start: Start) -> None:
    async def hang(_request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    app = web.Application()
    app.router.add_post("/", hang)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    rules = WebhookRules(timeout_seconds=0.02, backoff_seconds=0.001, max_attempts=2)
    sandbox = await start(webhook_url=f"http://127.0.0.1:{runner.addresses[0][1]}/", webhooks=rules)
    await sandbox.inbound(PHONE, "Hi")
    await sandbox.settle()
    [delivery] = sandbox.deliveries
    assert len(delivery.answers) == 2
    assert all("Timeout" in str(answer) for answer in delivery.answers)
    assert delivery.outcome == "given_up"
    await runner.cleanup()


async def test_a_receiver_that_restarts_misses_nothing(
    start: Start, receiver: Receiver, unused_tcp_port: int
) -> None:
    rules = WebhookRules(backoff_seconds=0.005, backoff_max_seconds=0.005)
    sandbox = await start(webhook_url=f"http://127.0.0.1:{unused_tcp_port}/hook", webhooks=rules)
    await sandbox.inbound(PHONE, "Hi")
    await until(lambda: sandbox.deliveries[0].answers)
    app = web.Application()
    app.router.add_post("/hook", receiver.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    await sandbox.settle()
    assert sandbox.deliveries[0].is_acknowledged
    assert sandbox.deliveries[0].answers[0] == "ClientConnectorError"
    await runner.cleanup()


async def test_failures_disable_and_enable_brings_back(
    start: Start, http: aiohttp.ClientSession, receiver: Receiver
) -> None:
    receiver.answer = lambda number: 500 if number <= 3 else 200
    rules = WebhookRules(backoff_seconds=0.001, disable_after=3)
    sandbox = await start(webhooks=rules)
    webhook = sandbox.register_webhook(receiver.url)
    await sandbox.inbound(PHONE, "lost while retried")
    await sandbox.settle()
    assert sandbox.webhook_status(webhook) == "disabled"
    await sandbox.inbound(PHONE, "lost while disabled")
    await sandbox.settle()
    assert [delivery.outcome for delivery in sandbox.deliveries] == ["abandoned", "abandoned"]
    status, entity = await call(http, "POST", f"{sandbox.base_url}/webhooks/{webhook}/enable")
    assert (status, entity["status"]) == (200, "active")
    await sandbox.inbound(PHONE, "heard")
    await sandbox.settle()
    assert sandbox.deliveries[-1].is_acknowledged


async def test_a_webhook_is_disabled_on_purpose(
    start: Start, http: aiohttp.ClientSession, receiver: Receiver
) -> None:
    sandbox = await start()
    webhook = sandbox.register_webhook(receiver.url)
    control = f"{sandbox.root_url}/sandbox/webhooks"
    status, entity = await call(http, "POST", f"{control}/{webhook}/disable")
    assert (status, entity["status"], sandbox.webhook_status(webhook)) == (200, "disabled", "disabled")
    assert (await call(http, "POST", f"{control}/{'0' * 24}/disable"))[0] == 404
    await sandbox.inbound(PHONE, "lost")
    sandbox.enable_webhook(webhook)
    await sandbox.inbound(PHONE, "heard")
    sandbox.disable_webhook(webhook)
    await sandbox.inbound(PHONE, "lost again")
    sandbox.enable_webhook(webhook)
    await sandbox.settle()
    assert [body["data"]["body"] for body in receiver.bodies] == ["heard"]


async def test_a_success_starts_the_count_of_failures_again(start: Start, receiver: Receiver) -> None:
    receiver.answer = lambda number: 200 if number % 3 == 0 else 500
    sandbox = await start(webhooks=WebhookRules(backoff_seconds=0.001, disable_after=3))
    webhook = sandbox.register_webhook(receiver.url)
    for _ in range(3):
        await sandbox.inbound(PHONE, "Hi")
        await sandbox.settle()
    assert sandbox.webhook_status(webhook) == "active"


async def test_attempts_at_the_same_time_are_bounded(start: Start) -> None:
    busy = most = 0

    async def receive(_request: web.Request) -> web.Response:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.005)
        busy -= 1
        return web.Response()

    app = web.Application()
    app.router.add_post("/", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sandbox = await start(
        webhook_url=f"http://127.0.0.1:{runner.addresses[0][1]}/", webhooks=WebhookRules(concurrency=3)
    )
    for _ in range(12):
        await sandbox.inbound(PHONE, "Hi")
    await sandbox.settle()
    assert most == 3
    await runner.cleanup()


async def test_settle_does_not_wait_for_ever(start: Start) -> None:
    sandbox = await start(webhook_url="http://127.0.0.1:1/", webhooks=WebhookRules(backoff_seconds=60))
    await sandbox.inbound(PHONE, "Hi")
    with pytest.raises(TimeoutError):
        await sandbox.settle(timeout_seconds=0.02)


async def test_what_is_under_way_ends_with_the_sandbox(start: Start, post: Post) -> None:
    sandbox = await start(webhook_url="http://127.0.0.1:1/", webhooks=QUICK)
    for number in range(20):
        await post(sandbox, reference=str(number))
    await sandbox.close()
    count = len(sandbox.deliveries)
    await sandbox.inbound(PHONE, "too late")
    await asyncio.sleep(0.01)
    assert len(asyncio.all_tasks()) == 1
    assert sandbox.deliveries[count].outcome == "pending"

"""Whether the device may send and the webhook is registered, as `wamsg2 check` sees it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.site import free_port
from tests.support import payload
from wamsg2.model import Unknown
from wamsg2.wassenger.account import State, WassengerAccount
from wamsg2.wassenger.client import WassengerClient
from wamsg2.wassenger.events import SUBSCRIBED_EVENTS

DEVICE = "68fd1067b488de07029f0001"
PATH = "/webhooks/wassenger"


@asynccontextmanager
async def client_for(path: str, answer: Any, status: int = 200) -> AsyncIterator[WassengerClient]:
    """A client whose provider knows only this path."""

    async def respond(_: web.Request) -> web.Response:
        if isinstance(answer, bytes):
            return web.Response(status=status, body=answer, content_type="text/html")
        return web.json_response(answer, status=status)

    app = web.Application()
    app.router.add_get(f"/v1{path}", respond)
    async with TestServer(app) as server:
        client = WassengerClient(
            base_url=str(server.make_url("/v1")), api_key="k" * 64, device=DEVICE, timeout_seconds=30
        )
        try:
            yield client
        finally:
            await client.close()


async def device(answer: Any, status: int = 200) -> State | Unknown:
    async with client_for(f"/devices/{DEVICE}", answer, status) as client:
        return await WassengerAccount(client, PATH).device()


async def told_of_webhook(answer: Any, status: int = 200) -> State | Unknown:
    async with client_for("/webhooks", answer, status) as client:
        return await WassengerAccount(client, PATH).webhook()


async def webhook(answer: Any) -> State:
    told = await told_of_webhook(answer)
    assert isinstance(told, State)
    return told


def hook(**changes: Any) -> dict[str, Any]:
    """A registration as it must be."""
    usual = {"url": f"https://example.test{PATH}?secret=s3cret", "events": list(SUBSCRIBED_EVENTS)}
    return payload("get_webhooks.item.reconstructed.json") | usual | changes


# --- the device -------------------------------------------------------------------------------------------------


async def test_a_device_that_is_ready() -> None:
    assert await device(payload("get_devices.item.reconstructed.json")) == State(
        ok=True, detail="operative, session online"
    )


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ({"status": "operative", "session": {"status": "offline"}}, "operative, session offline"),
        ({"status": "disabled", "session": {"status": "online"}}, "disabled, session online"),
        ({"status": "disabled"}, "disabled, session unknown"),
        ({"session": {"status": "timeout"}}, "no status, session timeout"),
    ],
)
async def test_a_device_that_is_not_ready(answer: Any, detail: str) -> None:
    assert await device(answer) == State(ok=False, detail=detail)


async def test_a_device_that_is_not_there() -> None:
    assert await device({"message": "No"}, 404) == State(ok=False, detail="HTTP 404 No")


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ({"status": "operative"}, "operative, session unknown"),
        ({"status": "operative", "session": None}, "operative, session unknown"),
        ({}, "no status, session unknown"),
        ([], "no status, session unknown"),
        (b"<html>", "no status, session unknown"),
    ],
)
async def test_an_answer_that_says_nothing_against_the_device(answer: Any, detail: str) -> None:
    assert await device(answer) == Unknown(detail)


@pytest.mark.parametrize("status", [401, 403, 429, 500])
async def test_a_device_that_nobody_tells_of(status: int) -> None:
    """A key without the right to ask may still have the right to send."""
    assert await device({"message": "No"}, status) == Unknown(f"HTTP {status} No")


# --- the webhook ------------------------------------------------------------------------------------------------


async def test_a_webhook_that_is_as_it_must_be() -> None:
    assert await webhook([hook()]) == State(ok=True, detail="registered, active")


async def test_the_webhook_is_found_among_others_and_behind_a_proxys_prefix() -> None:
    others = [hook(url="https://example.test/other"), hook(url=None), None, "x"]
    ours = hook(url=f"https://example.test/wamsg2{PATH}?secret=s3cret")
    assert (await webhook([*others, ours])).ok


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"status": "disabled"}, "registered, disabled"),
        ({"status": None}, "registered, no status"),
        ({"events": ["message:in:new"]}, "without message:out:sent, message:out:ack, message:out:failed"),
        ({"events": None}, "without message:in:new"),
        ({"events": "message:in:new"}, "without message:in:new"),
        ({"events": [{}, 7, None]}, "without message:in:new"),
    ],
)
async def test_a_webhook_that_is_not_as_it_must_be(changes: dict[str, Any], detail: str) -> None:
    state = await webhook([hook(**changes)])
    assert not state.ok
    assert detail in state.detail


@pytest.mark.parametrize(
    "answer", [[], [hook(url="https://example.test/other")], [hook(url=f"https://x.test{PATH}/more")]]
)
async def test_no_webhook(answer: Any) -> None:
    state = await webhook(answer)
    assert not state.ok
    assert f"none registered for …{PATH}" in state.detail
    assert all(event in state.detail for event in SUBSCRIBED_EVENTS)


@pytest.mark.parametrize(("answer", "status"), [({}, 200), (b"<html>", 200), ({"message": "No"}, 401), ([], 500)])
async def test_a_webhook_that_nobody_tells_of(answer: Any, status: int) -> None:
    told = await told_of_webhook(answer, status)
    assert isinstance(told, Unknown)
    assert told.reason.startswith(f"HTTP {status}")


async def test_an_old_registration_does_not_hide_a_good_one() -> None:
    assert (await webhook([hook(status="disabled"), hook()])).ok


async def test_an_address_that_is_none_does_not_hide_ours() -> None:
    assert (await webhook([hook(url="http://["), hook()])).ok


async def test_the_secret_in_the_address_is_not_shown() -> None:
    for answer in (
        [hook()],
        [hook(status="disabled")],
        [hook(events=[])],
        [hook(url="https://x.test/?secret=s3cret")],
    ):
        assert "s3cret" not in (await webhook(answer)).detail


# --- a webhook that was disabled --------------------------------------------------------------------------------


class Hooks:
    """A provider with webhooks that can be enabled, unless it is told to answer otherwise."""

    def __init__(self, *hooks: dict[str, Any], enable_status: int = 200, list_status: int = 200) -> None:
        self.hooks = {hook["id"]: hook for hook in hooks}
        self.enable_status = enable_status
        self.list_status = list_status
        self.requests: list[tuple[str, str]] = []

    async def every(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, request.path))
        return web.json_response(list(self.hooks.values()), status=self.list_status)

    async def enable(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, request.path))
        if self.enable_status == 200:
            self.hooks[request.match_info["id"]]["status"] = "active"
        return web.json_response({"message": "No scope"}, status=self.enable_status)


@asynccontextmanager
async def account_of(hooks: Hooks) -> AsyncIterator[WassengerAccount]:
    app = web.Application()
    app.router.add_get("/v1/webhooks", hooks.every)
    app.router.add_post("/v1/webhooks/{id}/enable", hooks.enable)
    async with TestServer(app) as server:
        client = WassengerClient(
            base_url=str(server.make_url("/v1")), api_key="k" * 64, device=DEVICE, timeout_seconds=30
        )
        try:
            yield WassengerAccount(client, PATH)
        finally:
            await client.close()


async def test_a_disabled_webhook_is_told_apart_from_others_that_are_wrong() -> None:
    """Enabling would not help those."""
    assert await webhook([hook(id="h1", status="disabled")]) == State(
        ok=False, detail="registered, disabled", disabled_id="h1"
    )
    for changes in ({"status": "disabled", "events": ["message:in:new"]}, {"status": "paused"}, {"status": None}):
        assert (await webhook([hook(**changes)])).disabled_id is None
    assert (await webhook([hook(id="h1", status="disabled"), hook(id="h2", status="active")])).disabled_id is None
    assert (await webhook([hook(url="https://x.test/other", id="h1", status="disabled")])).disabled_id is None
    incomplete = hook(id="h1", status="active", events=["message:in:new"])
    assert (await webhook([incomplete, hook(id="h2", status="disabled")])).disabled_id == "h2"


async def test_enabling_tells_how_the_webhook_stands_afterwards() -> None:
    hooks = Hooks(hook(id="h1", status="disabled"))
    async with account_of(hooks) as account:
        assert await account.enable_webhook("h1") == State(ok=True, detail="registered, active")
    assert hooks.requests == [("POST", "/v1/webhooks/h1/enable"), ("GET", "/v1/webhooks")]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
async def test_enabling_that_is_refused(status: int) -> None:
    hooks = Hooks(hook(id="h1", status="disabled"), enable_status=status)
    async with account_of(hooks) as account:
        assert await account.enable_webhook("h1") == State(
            ok=False, detail=f"disabled, and could not be enabled: HTTP {status} No scope"
        )
    assert hooks.requests == [("POST", "/v1/webhooks/h1/enable")]


async def test_enabled_is_believed_only_when_it_is_seen() -> None:
    hooks = Hooks(hook(id="h1", status="disabled"), enable_status=202)
    async with account_of(hooks) as account:
        assert await account.enable_webhook("h1") == State(ok=False, detail="registered, disabled", disabled_id="h1")
        hooks.list_status = 503
        assert isinstance(await account.enable_webhook("h1"), Unknown)


async def test_nobody_answers_whether_it_is_enabled() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/v1"
    client = WassengerClient(base_url=nowhere, api_key="k" * 64, device=DEVICE, timeout_seconds=30)
    account = WassengerAccount(client, PATH)
    assert await account.enable_webhook("h1") == Unknown("Connection refused")
    assert await account.device() == await account.webhook() == Unknown("Connection refused")
    await client.close()

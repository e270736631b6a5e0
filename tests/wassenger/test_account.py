"""Whether the device may send and the webhook is registered, as `wamsg2 check` sees it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support import payload
from wamsg2.wassenger.account import State, device_state, webhook_state
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


async def device(answer: Any, status: int = 200) -> State:
    async with client_for(f"/devices/{DEVICE}", answer, status) as client:
        return await device_state(client)


async def webhook(answer: Any, status: int = 200, path: str = PATH) -> State:
    async with client_for("/webhooks", answer, status) as client:
        return await webhook_state(client, path)


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
        ({"status": "operative"}, "operative, session unknown"),
        ({"status": "operative", "session": None}, "operative, session unknown"),
        ({}, "no status, session unknown"),
        ([], "no status, session unknown"),
        (b"<html>", "no status, session unknown"),
    ],
)
async def test_a_device_that_is_not_ready(answer: Any, detail: str) -> None:
    assert await device(answer) == State(ok=False, detail=detail)


@pytest.mark.parametrize("status", [401, 404, 500])
async def test_a_device_that_nobody_tells_of(status: int) -> None:
    assert await device({"message": "No"}, status) == State(ok=False, detail=f"HTTP {status} No")


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
    state = await webhook(answer, status)
    assert not state.ok
    assert state.detail.startswith(f"HTTP {status}")


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

"""What the look-ups show, as wamsg2 reads it: the same as the webhooks told."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from tests.sandbox.conftest import PHONE, Json, Receiver, Start
from wamsg2.model import Accepted, DeviceChanged, InboundMessage, ReceiptStatus
from wamsg2.sandbox import SILENT, Behaviour, Faults, SandboxSettings
from wamsg2.sandbox.server import Sandbox
from wamsg2.wassenger import events
from wamsg2.wassenger.client import WassengerClient, accepted
from wamsg2.wassenger.history import Page, WassengerHistory
from wamsg2.wassenger.progress import progress

Post = Callable[..., Awaitable[Json]]
ClientOf = Callable[[Sandbox], WassengerClient]


async def get(http: aiohttp.ClientSession, url: str) -> Any:
    async with http.get(url) as response:
        assert response.status == 200, await response.text()
        return await response.json()


@pytest.fixture
async def client_of() -> AsyncIterator[ClientOf]:
    """Makes the daemon's client of a sandbox."""
    async with AsyncExitStack() as stack:

        def client_of(sandbox: Sandbox) -> WassengerClient:
            key, device = sandbox.settings.api_key, sandbox.settings.device_id
            client = WassengerClient(base_url=sandbox.base_url, api_key=key, device=device, timeout_seconds=10)
            stack.push_async_callback(client.close)
            return client

        yield client_of


@pytest.mark.parametrize(
    "faults",
    [Faults(), Faults(lid_sender=1), Faults(missing_body=1), Faults(nested_shape=1)],
    ids=["flat", "lid", "no body", "nested"],
)
async def test_the_chat_tells_what_the_webhook_told(
    start: Start, post: Post, receiver: Receiver, client_of: ClientOf, faults: Faults
) -> None:
    sandbox = await start(webhook_url=receiver.url, faults=faults)
    sent = await post(sandbox)
    await sandbox.settle()
    at = datetime(2026, 11, 22, 10, 0, 0, 999_999, tzinfo=UTC)
    await sandbox.inbound(PHONE, "Yes", quoted=sent["waId"], at=at)
    await sandbox.inbound("+491700000001", "Grüße 👋", at=at + timedelta(seconds=1))
    await sandbox.settle()
    told = {
        event.identity: event.content
        for raw in receiver.raws
        for event in events.parse_row(raw, device=None)
        if "in:new" in event.name
    }
    page = await WassengerHistory(client_of(sandbox)).inbound(at - timedelta(seconds=1), 0)
    assert isinstance(page, Page)
    found = {event.identity: event.content for event in page.events}
    assert len(found) == 2
    assert found.keys() == told.keys()
    if not faults.nested_shape:  # of which no look-up is known; it names a sender in fewer ways, and quotes nothing
        assert found == told
    assert all(isinstance(content, InboundMessage) for content in found.values())


async def test_chat_pages_by_time(start: Start, client_of: ClientOf, http: aiohttp.ClientSession) -> None:
    sandbox = await start()
    first = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
    ids = [await sandbox.inbound(PHONE, str(n), at=first + timedelta(seconds=n)) for n in range(120)]
    history = WassengerHistory(client_of(sandbox))
    pages = [await history.inbound(first + timedelta(seconds=10), number) for number in range(4)]
    listed = [list(page.ids) for page in pages if isinstance(page, Page)]
    assert listed == [ids[:69:-1], ids[69:19:-1], ids[19:9:-1], []]
    url = f"{sandbox.base_url}/chat/{SandboxSettings().device_id}/messages?flow=inbound&size=200"
    for after in ("2026-11-22T10:01:59Z", "2026-11-22T11:01:59%2B01:00", str(int(first.timestamp()) + 119)):
        assert [item["id"] for item in await get(http, f"{url}&after={after}")] == ids[119:]


@pytest.mark.parametrize("status", [ReceiptStatus.DELIVERED, ReceiptStatus.READ])
async def test_the_queue_tells_how_far_a_message_got(
    start: Start, post: Post, http: aiohttp.ClientSession, client_of: ClientOf, status: ReceiptStatus
) -> None:
    behaviour = Behaviour(reads=status is ReceiptStatus.READ)
    sandbox = await start(script=lambda _phone: behaviour, faults=Faults(missing_delivered=1))
    answer = await post(sandbox)
    await sandbox.settle()
    [entity] = await get(http, f"{sandbox.base_url}/messages?reference=ref-1")
    assert "deliveredAt" not in entity
    assert progress(entity).status is status
    found = await client_of(sandbox).find("ref-1")
    assert isinstance(found, Accepted)
    assert found == accepted(entity)
    assert (found.queue_id, found.wa_id) == (answer["id"], answer["waId"])
    assert found.sent_at is not None


async def test_the_queue_tells_why_a_message_failed(start: Start, post: Post, client_of: ClientOf) -> None:
    sandbox = await start(faults=Faults(delivery_failure=1))
    await post(sandbox)
    await sandbox.settle()
    found = await client_of(sandbox).find("ref-1")
    assert isinstance(found, Accepted)
    assert (found.status, found.reason) == (ReceiptStatus.FAILED, "recipient is not a WhatsApp user")


async def test_of_two_entries_the_one_that_got_furthest(start: Start, post: Post, client_of: ClientOf) -> None:
    sandbox = await start(faults=Faults(accept_twice=1), script=lambda _phone: SILENT)
    await post(sandbox)
    await sandbox.settle()
    first, second = sandbox.accepted
    first.status, second.status = "queued", "delivered"
    found = await client_of(sandbox).find("ref-1")
    assert isinstance(found, Accepted)
    assert found.queue_id == second.id


async def test_a_change_of_the_device(start: Start, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url)
    sandbox.set_device(online=False)
    await sandbox.settle()
    sandbox.set_device(online=True)
    await sandbox.settle()
    first, second = map(events.parse, receiver.raws)
    assert first.content == second.content == DeviceChanged()
    assert first.identity != second.identity

"""POST and GET /v1/messages, the key, and the other look-ups."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from tests.sandbox.conftest import PHONE, Json, Start, a_message, payload, until
from wamsg2.sandbox import Faults, SandboxSettings

Post = Callable[..., Awaitable[Json]]
KEY = SandboxSettings().api_key


async def get(http: aiohttp.ClientSession, url: str) -> Any:
    async with http.get(url) as response:
        assert response.status == 200, await response.text()
        return await response.json()


@pytest.mark.parametrize(
    ("changes", "status", "path"),
    [
        ({"colour": "red"}, 400, "colour"),
        ({"quoted": "3EB0A1B2C3D4E5F60001"}, 400, "quoted"),
        ({"phone": None}, 400, ""),
        ({"chat": "5215600000001@c.us"}, 400, "chat"),
        ({"phone": 5215600000001}, 400, "phone"),
        ({"message": None}, 400, "message"),
        ({"message": ""}, 400, "message"),
        ({"message": "x" * 4097}, 400, "message"),
        ({"message": ["Hello"]}, 400, "message"),
        ({"priority": "asap"}, 400, "priority"),
        ({"priority": {}}, 400, "priority"),
        ({"reference": 7}, 400, "reference"),
        ({"device": "phone-1"}, 400, "device"),
        ({"typing": True}, 400, "typing"),
        ({"deliverAt": "tomorrow"}, 400, "deliverAt"),
        ({"phone": "5215600000001"}, 400, None),
        ({"phone": "+52 1 560 000 0001"}, 400, None),
        ({"phone": "+0215600000001"}, 400, None),
        ({"device": "0" * 24}, 404, None),
    ],
)
async def test_a_wrong_body_is_refused(
    start: Start, http: aiohttp.ClientSession, changes: Json, status: int, path: str | None
) -> None:
    sandbox = await start()
    async with http.post(f"{sandbox.base_url}/messages", json=a_message(**changes)) as response:
        answer = await response.json()
        assert response.status == answer["status"] == status
    if path is None:
        assert answer.keys() == payload("error.400.json").keys()
    else:
        assert answer.keys() == payload("error.400.schema.json").keys()
        assert path in [problem["path"] for problem in answer["errors"]]
    assert sandbox.accepted == []


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'"text"'])
async def test_a_body_that_is_no_object_is_refused(start: Start, http: aiohttp.ClientSession, raw: bytes) -> None:
    sandbox = await start()
    async with http.post(f"{sandbox.base_url}/messages", data=raw) as response:
        assert response.status == 400
        assert (await response.json())["status"] == 400


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"message": "x" * 4096, "priority": "high"},
        {"device": None, "reference": None},
        {"phone": None, "group": "123@g.us"},
        {"message": None, "media": {"url": "https://example.test/a.png"}},
        {"typing": 2, "deliverAt": "2026-11-22T10:00:00.000Z", "live": True, "agent": "a" * 24},
    ],
)
async def test_a_right_body_is_accepted(start: Start, post: Post, changes: Json) -> None:
    sandbox = await start()
    await post(sandbox, **changes)
    await sandbox.settle()
    assert len(sandbox.accepted) == 1


async def test_the_answer_has_the_captured_shape(start: Start, post: Post) -> None:
    sandbox = await start()
    answer = await post(sandbox, priority="high")
    assert answer.keys() == payload("post_messages.201.json").keys() | {"reference"}
    assert len(answer["id"]) == 24
    assert answer["waId"].startswith("3EB0")
    assert (answer["status"], answer["deliveryStatus"]) == ("queued", "queued")
    [message] = sandbox.accepted
    assert (message.id, message.wa_id, message.phone) == (answer["id"], answer["waId"], PHONE)
    assert (message.reference, message.message, message.priority) == ("ref-1", "Hello", "high")
    assert abs(datetime.now(UTC) - message.accepted_at) < timedelta(seconds=5)


async def test_the_same_reference_twice_is_two_messages(start: Start, post: Post) -> None:
    sandbox = await start()
    first, second = await post(sandbox), await post(sandbox)
    assert first["id"] != second["id"]
    assert [message.reference for message in sandbox.accepted] == ["ref-1", "ref-1"]


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({"Token": KEY}, "", 200),
        ({"Authorization": KEY}, "", 200),
        ({"Authorization": f"Bearer {KEY}"}, "", 200),
        ({}, f"?token={KEY}", 200),
        ({}, "", 401),
        ({"Token": f"Token {KEY}"}, "", 401),
        ({"Token": "wröng"}, "", 401),
        ({"Authorization": "Bearer wrong"}, "", 401),
    ],
)
async def test_the_key(start: Start, headers: dict[str, str], query: str, status: int) -> None:
    sandbox = await start()
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{sandbox.base_url}/messages{query}", headers=headers) as response,
    ):
        assert response.status == status
        if status == 401:
            assert (await response.json()).keys() == payload("error.400.json").keys()


async def test_an_unknown_path_is_answered_in_json(start: Start, http: aiohttp.ClientSession) -> None:
    sandbox = await start()
    async with http.get(f"{sandbox.base_url}/nothing") as response:
        assert response.status == 404
        assert (await response.json()).keys() == payload("error.400.json").keys()


async def test_filters_pages_and_order(start: Start, http: aiohttp.ClientSession, post: Post) -> None:
    sandbox = await start()
    answers = [await post(sandbox, reference=f"r{number}", phone=f"+4917000000{number:02}") for number in range(25)]
    await sandbox.settle()
    url = f"{sandbox.base_url}/messages"

    async def references(query: str) -> list[str]:
        return [item["reference"] for item in await get(http, f"{url}?{query}")]

    assert await references("") == [f"r{number}" for number in range(24, 4, -1)]
    assert await references("page=1") == ["r4", "r3", "r2", "r1", "r0"]
    assert await references("size=2&sort=date:asc") == ["r0", "r1"]
    assert await references("reference=r3") == ["r3"]
    assert await references("reference=r3&reference=r7&reference=none") == ["r7", "r3"]
    assert await references("reference=none") == []
    assert await references(f"ids={answers[5]['id']},{answers[6]['id']}") == ["r6", "r5"]
    assert await references(f"waIds={answers[5]['waId']}") == ["r5"]
    assert await references("phone=%2B491700000009") == ["r9"]
    assert await references("reference=r3&phone=%2B491700000009") == []
    assert await references("reference=r3&status=read&device=68fd1067b488de07029f0001") == ["r3"]
    assert await references("status=queued") == []
    for wrong in ("size=0", "size=many", "page=-1", "sort=phone", "referenz=r3", "createdAfter=soon"):
        async with http.get(f"{url}?{wrong}") as response:
            assert response.status == 400, wrong


async def test_one_message_by_id(start: Start, http: aiohttp.ClientSession, post: Post) -> None:
    sandbox = await start()
    answer = await post(sandbox)
    await sandbox.settle()
    found = await get(http, f"{sandbox.base_url}/messages/{answer['id']}")
    assert (found["reference"], found["status"], found["deliveryStatus"]) == ("ref-1", "processed", "read")
    async with http.get(f"{sandbox.base_url}/messages/{'0' * 24}") as response:
        assert response.status == 404


async def test_a_lookup_lags_behind(start: Start, http: aiohttp.ClientSession, post: Post) -> None:
    sandbox = await start(faults=Faults(lookup_lag_seconds=0.05))
    answer = await post(sandbox)
    url = f"{sandbox.base_url}/messages?reference=ref-1"
    assert await get(http, url) == []
    assert await get(http, f"{sandbox.base_url}/messages/{answer['id']}")
    await asyncio.sleep(0.06)
    assert len(await get(http, url)) == 1


async def test_lookups_fail(start: Start, http: aiohttp.ClientSession) -> None:
    sandbox = await start(faults=Faults(lookup_error=1))
    async with http.get(f"{sandbox.base_url}/messages?reference=ref-1") as response:
        assert (response.status, response.content_type) == (502, "text/html")


async def test_the_chat_shows_both_ways(start: Start, http: aiohttp.ClientSession, post: Post) -> None:
    sandbox = await start()
    answer = await post(sandbox)
    await sandbox.settle()
    early = datetime.now(UTC) - timedelta(hours=1)
    reply = await sandbox.inbound(PHONE, "Yes", quoted=answer["waId"], at=early)
    await sandbox.inbound("+491700000001", "Hi")
    url = f"{sandbox.base_url}/chat/{SandboxSettings().device_id}/messages"

    assert len(await get(http, url)) == 3
    both = await get(http, f"{url}?chat=5215600000001@c.us")
    assert [item["id"] for item in both] == [answer["waId"], reply]
    assert both[1]["quoted"]["id"] == answer["waId"]
    assert [item["id"] for item in await get(http, f"{url}?chat={both[0]['chat']['lid']}&flow=inbound")] == [reply]
    after = int((early + timedelta(minutes=1)).timestamp())
    assert [item["body"] for item in await get(http, f"{url}?flow=inbound&after={after}")] == ["Hi"]
    assert len(await get(http, f"{url}?size=1&page=2")) == 1
    async with http.get(f"{sandbox.base_url}/chat/{'0' * 24}/messages") as response:
        assert response.status == 404


async def test_the_device(start: Start, http: aiohttp.ClientSession) -> None:
    sandbox = await start()
    [device] = await get(http, f"{sandbox.base_url}/devices")
    shape = payload("get_devices.item.reconstructed.json")
    assert device.keys() == shape.keys()
    assert device["session"].keys() == shape["session"].keys()
    assert (device["status"], device["session"]["status"]) == ("operative", "online")
    assert (await get(http, f"{sandbox.base_url}/devices/{device['id']}"))["id"] == device["id"]
    async with http.get(f"{sandbox.base_url}/devices/{'0' * 24}") as response:
        assert response.status == 404
    sandbox.faults = Faults(device_offline=1)
    assert (await get(http, f"{sandbox.base_url}/devices"))[0]["session"]["status"] == "offline"


@pytest.mark.parametrize(("policy", "found"), [("plan_defaults", 1), ("5m", 1), ("never", 0)])
async def test_processed_messages_are_found_as_long_as_they_are_kept(
    start: Start, http: aiohttp.ClientSession, post: Post, policy: str, found: int
) -> None:
    sandbox = await start(retention_policy=policy)
    answer = await post(sandbox)
    message = sandbox.accepted[0]
    await until(lambda: message.sent_at)
    assert len(await get(http, f"{sandbox.base_url}/messages?reference=ref-1")) == found
    async with http.get(f"{sandbox.base_url}/messages/{answer['id']}") as response:
        assert response.status == (200 if found else 404)
    device = await get(http, f"{sandbox.base_url}/devices/{SandboxSettings().device_id}")
    assert device["settings"]["retentionPolicy"] == policy


def test_a_retention_policy_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="a retention policy is one of plan_defaults, never, 5m"):
        SandboxSettings(retention_policy="7m")

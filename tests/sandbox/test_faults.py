"""Each fault, as a client and a receiver meet it."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from tests.sandbox.conftest import PHONE, Json, Receiver, Start, a_message, until
from wamsg2.sandbox import Delays, Faults, Habits
from wamsg2.sandbox.faults import is_rate
from wamsg2.sandbox.posting import WRONG_ANSWERS

Post = Callable[..., Awaitable[Json]]


async def answered(http: aiohttp.ClientSession, url: str, **changes: object) -> tuple[int, str, str | None]:
    async with http.post(f"{url}/messages", json=a_message(**changes)) as response:
        return response.status, response.content_type, response.headers.get("Retry-After")


@pytest.mark.parametrize(
    ("faults", "status", "accepted"),
    [
        (Faults(too_many_requests=1), 429, 0),
        (Faults(unauthorized=1), 401, 0),
        (Faults(payment_required=1), 402, 0),
        (Faults(forbidden=1), 403, 0),
        (Faults(bad_gateway=1), 502, 0),
        (Faults(server_error=1), 500, 0),
        (Faults(accept_then_server_error=1), 500, 1),
        (Faults(accept_then_bad_gateway=1), 502, 1),
        (Faults(slow_answer=1, slow_answer_seconds=0.01), 201, 1),
    ],
)
async def test_answers(start: Start, http: aiohttp.ClientSession, faults: Faults, status: int, accepted: int) -> None:
    sandbox = await start(faults=faults)
    code, content_type, _ = await answered(http, sandbox.base_url)
    assert code == status
    assert content_type == ("text/html" if status == 502 else "application/json")
    assert len(sandbox.accepted) == accepted


async def test_retry_after(start: Start, http: aiohttp.ClientSession) -> None:
    sandbox = await start(faults=Faults(too_many_requests=1))
    assert (await answered(http, sandbox.base_url))[2] is None
    sandbox.faults = Faults(too_many_requests=1, retry_after_seconds=90)
    assert (await answered(http, sandbox.base_url))[2] == "90"


@pytest.mark.parametrize(
    ("faults", "accepted"),
    [
        (Faults(reset_before_accept=1), 0),
        (Faults(accept_then_reset=1), 1),
        (Faults(timeout_before_accept=1, timeout_seconds=0.02), 0),
        (Faults(accept_then_timeout=1, timeout_seconds=0.02), 1),
    ],
)
async def test_resets(start: Start, http: aiohttp.ClientSession, faults: Faults, accepted: int) -> None:
    sandbox = await start(faults=faults)
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await answered(http, sandbox.base_url)
    assert len(sandbox.accepted) == accepted


async def test_no_answer_until_the_client_hangs_up(
    start: Start, http: aiohttp.ClientSession, receiver: Receiver
) -> None:
    sandbox = await start(faults=Faults(accept_then_timeout=1), webhook_url=receiver.url)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await answered(http, sandbox.base_url)
    await sandbox.settle()
    assert len(sandbox.accepted) == 1
    assert receiver.named("message:out:sent"), "the message goes out all the same"


async def test_an_unreadable_answer(start: Start, http: aiohttp.ClientSession) -> None:
    sandbox = await start(faults=Faults(unreadable_answer=1))
    async with http.post(f"{sandbox.base_url}/messages", json=a_message()) as response:
        assert response.status == 201
        with pytest.raises(json.JSONDecodeError):
            await response.json()
    assert len(sandbox.accepted) == 1


async def test_json_of_another_shape(start: Start, http: aiohttp.ClientSession) -> None:
    sandbox = await start(faults=Faults(wrong_json=1))
    seen = []
    for _ in range(20):
        async with http.post(f"{sandbox.base_url}/messages", json=a_message()) as response:
            assert (response.status, response.content_type) == (201, "application/json")
            seen.append(await response.text())
            json.loads(seen[-1])
    assert set(seen) == set(WRONG_ANSWERS)
    assert len(sandbox.accepted) == 20


async def test_an_answer_byte_by_byte(start: Start, http: aiohttp.ClientSession) -> None:
    sandbox = await start(faults=Faults(slow_drip=1, timeout_seconds=0.05))
    async with http.post(f"{sandbox.base_url}/messages", json=a_message()) as response:
        chunks = [chunk async for chunk in response.content.iter_any()]
    [message] = sandbox.accepted
    assert json.loads(b"".join(chunks))["id"] == message.id
    assert len(chunks) > 10


async def test_an_answer_without_end(start: Start, http: aiohttp.ClientSession) -> None:
    sandbox = await start(faults=Faults(endless_body=1))
    async with http.post(f"{sandbox.base_url}/messages", json=a_message()) as response:
        read = await response.content.readexactly(1_000_000)
    [message] = sandbox.accepted
    assert json.loads(read)["id"] == message.id


async def test_an_answer_that_goes_on_for_a_while(
    start: Start, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = await start(faults=Faults(endless_body=1, timeout_seconds=0.02))
    async with http.post(f"{sandbox.base_url}/messages", json=a_message()) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert caplog.text == ""


@pytest.mark.parametrize("fault", ["slow_drip", "endless_body"])
async def test_a_client_that_hangs_up_ends_the_answer(
    start: Start, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    sandbox = await start(faults=Faults.from_json({fault: 1}))
    async with http.post(f"{sandbox.base_url}/messages", json=a_message()) as response:
        await response.content.readexactly(1)
        response.close()
    await until(lambda: len(asyncio.all_tasks()) == 1)
    assert caplog.text == ""


async def test_one_request_accepted_twice(
    start: Start, http: aiohttp.ClientSession, post: Post, receiver: Receiver
) -> None:
    sandbox = await start(faults=Faults(accept_twice=1), webhook_url=receiver.url)
    answer = await post(sandbox)
    await sandbox.settle()
    first, second = sandbox.accepted
    assert (first.id, first.copy_of, second.copy_of) == (answer["id"], None, answer["id"])
    async with http.get(f"{sandbox.base_url}/messages?reference=ref-1") as response:
        found = await response.json()
    assert {item["id"] for item in found} == {first.id, second.id}
    assert len({item["waId"] for item in found}) == 2
    assert {body["data"]["id"] for body in receiver.named("message:out:sent")} == {first.id, second.id}


async def test_the_next_attempt_may_succeed(start: Start, http: aiohttp.ClientSession) -> None:
    sandbox = await start(faults=Faults(bad_gateway=1, faulty_attempts=2))
    assert [(await answered(http, sandbox.base_url))[0] for _ in range(3)] == [502, 502, 201]


async def test_half_the_attempts(start: Start, http: aiohttp.ClientSession) -> None:
    sandbox = await start(faults=Faults(bad_gateway=0.5))
    statuses = [(await answered(http, sandbox.base_url))[0] for _ in range(40)]
    assert {502, 201} == set(statuses)
    again = await start(faults=Faults(bad_gateway=0.5))
    references = [f"another-{number}" for number in range(40)]
    assert [(await answered(http, again.base_url, reference=name))[0] for name in references] == statuses


async def test_a_late_wa_id(start: Start, http: aiohttp.ClientSession, post: Post, receiver: Receiver) -> None:
    sandbox = await start(
        faults=Faults(late_wa_id=1), webhook_url=receiver.url, delays=Delays(sent_seconds=(0.05, 0.05))
    )
    answer = await post(sandbox)
    [message] = sandbox.accepted
    assert "waId" not in answer
    async with http.get(f"{sandbox.base_url}/messages?waIds={message.wa_id}") as response:
        assert await response.json() == []
    await sandbox.settle()
    assert receiver.named("message:out:sent")[0]["data"]["waId"] == message.wa_id
    async with http.get(f"{sandbox.base_url}/messages/{answer['id']}") as response:
        assert (await response.json())["waId"] == message.wa_id


async def test_the_event_before_the_answer(start: Start, post: Post, receiver: Receiver) -> None:
    sandbox = await start(
        faults=Faults(event_before_answer=1), webhook_url=receiver.url, delays=Delays(sent_seconds=(60, 60))
    )
    answer = await post(sandbox)
    assert answer["status"] == "queued"
    [sent] = receiver.named("message:out:sent")
    assert sent["data"]["id"] == answer["id"]
    [delivery] = [item for item in sandbox.deliveries if item.event.name == "message:out:sent"]
    assert delivery.is_acknowledged
    await sandbox.settle()
    assert len(receiver.named("message:out:sent")) == 1


async def test_the_event_before_no_answer_at_all(
    start: Start, http: aiohttp.ClientSession, receiver: Receiver
) -> None:
    both = Faults(event_before_answer=1, accept_then_reset=1)
    sandbox = await start(faults=both, webhook_url=receiver.url)
    with pytest.raises(aiohttp.ClientError):
        await answered(http, sandbox.base_url)
    await sandbox.settle()
    assert [body["event"] for body in receiver.bodies].count("message:out:ack") == 2


async def test_dropped_events(start: Start, post: Post, receiver: Receiver) -> None:
    sandbox = await start(faults=Faults(drop_event=1), webhook_url=receiver.url)
    await post(sandbox)
    await sandbox.settle()
    assert receiver.bodies == []
    assert {delivery.outcome for delivery in sandbox.deliveries} == {"dropped"}


async def test_duplicate_events(start: Start, post: Post, receiver: Receiver) -> None:
    sandbox = await start(faults=Faults(duplicate_event=1), webhook_url=receiver.url)
    await post(sandbox)
    await sandbox.settle()
    assert len(receiver.raws) == 6
    assert all(receiver.raws.count(raw) == 2 for raw in receiver.raws)


async def test_reordered_events(start: Start, receiver: Receiver) -> None:
    faults = Faults(reorder_event=1, reorder_window_seconds=0.1)
    sandbox = await start(faults=faults, webhook_url=receiver.url)
    texts = [str(number) for number in range(20)]
    for text in texts:
        await sandbox.inbound(PHONE, text)
    await sandbox.settle()
    arrived = [body["data"]["body"] for body in receiver.bodies]
    assert arrived != texts
    assert sorted(arrived) == sorted(texts)


async def test_no_delivered_receipt(start: Start, post: Post, receiver: Receiver) -> None:
    sandbox = await start(faults=Faults(missing_delivered=1), webhook_url=receiver.url)
    await post(sandbox)
    await sandbox.settle()
    assert [body["data"]["ack"] for body in receiver.named("message:out:ack")] == ["read"]


async def test_a_contact_who_cannot_be_reached(start: Start, post: Post, receiver: Receiver) -> None:
    sandbox = await start(faults=Faults(delivery_failure=1), habits=Habits(reply_rate=1), webhook_url=receiver.url)
    await post(sandbox)
    await sandbox.settle()
    assert [body["event"] for body in receiver.bodies] == ["message:out:failed"]
    assert sandbox.accepted[0].status == "failed"


async def test_a_sender_known_by_lid_only(start: Start, post: Post, receiver: Receiver) -> None:
    sandbox = await start(faults=Faults(lid_sender=1), habits=Habits(reply_rate=1), webhook_url=receiver.url)
    await post(sandbox)
    await sandbox.settle()
    [reply] = receiver.named("message:in:new")
    ack = receiver.named("message:out:ack")[0]["data"]
    assert reply["data"]["from"] == reply["data"]["chat"]["id"] == ack["chat"]["lid"]
    assert reply["data"]["from"].endswith("@lid")
    assert ack["toNumber"] == PHONE
    assert PHONE.removeprefix("+") not in json.dumps(reply), "the phone is nowhere"


async def test_shares_of_contacts(start: Start, receiver: Receiver) -> None:
    sandbox = await start(faults=Faults(lid_sender=0.5, nested_shape=0.5, missing_body=0.5), webhook_url=receiver.url)
    for number in range(40):
        await sandbox.inbound(f"+4917000000{number:02}", "Hi")
    await sandbox.settle()
    nested = [body for body in receiver.bodies if "message" in body["data"]]
    flat = [body["data"] for body in receiver.bodies if "message" not in body["data"]]
    assert nested
    assert {"fromNumber" in data for data in flat} == {True, False}
    assert {data["body"] for data in flat} == {None, "Hi"}


async def test_held_requests_do_not_hold_up_the_end(start: Start, http: aiohttp.ClientSession) -> None:
    sandbox = await start(faults=Faults(accept_then_timeout=1, timeout_seconds=60))
    request = asyncio.ensure_future(answered(http, sandbox.base_url))
    await until(lambda: sandbox.accepted)
    began = time.monotonic()
    await sandbox.close()
    assert time.monotonic() - began < 1
    with pytest.raises(aiohttp.ClientError):
        await request


@pytest.mark.parametrize(
    "wrong",
    [
        {"bad_gatway": 1},
        {"bad_gateway": 1.5},
        {"bad_gateway": -0.1},
        {"bad_gateway": "1"},
        {"bad_gateway": True},
        {"timeout_seconds": -1},
        {"timeout_seconds": float("inf")},
        {"faulty_attempts": 1.5},
    ],
)
def test_wrong_faults_are_refused(wrong: Json) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Faults.from_json(wrong)


def test_a_fault_is_a_rate_a_time_or_a_count() -> None:
    assert is_rate("bad_gateway")
    assert not is_rate("timeout_seconds")
    assert not is_rate("faulty_attempts")

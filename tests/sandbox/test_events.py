"""The shapes of events against the captured ones, and what contacts do."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.sandbox.conftest import PHONE, Json, Receiver, Start, payload
from wamsg2.sandbox import SILENT, Behaviour, Faults, Habits, Reply, WebhookRules
from wamsg2.sandbox.contacts import behaviour_of
from wamsg2.sandbox.dice import Dice

Post = Callable[..., Awaitable[Json]]
#: Differs from contact to contact, and nobody reads it.
UNREAD = {"locationInfo", "stats", "reactions", "labels", "metadata", "languages", "retry", "campaigns", "links"}
#: Which the vendor's sample of an array leaves out, and other sources show.
MORE_OF_THE_QUEUE = ("waId", "wid", "reference", "deliverAt", "retentionPolicy", "failureReason", "links")


def shape_of(value: object) -> object:
    """The keys of an object and of the objects in it."""
    if isinstance(value, dict):
        return {key: None if key in UNREAD else shape_of(inner) for key, inner in value.items()}
    return [shape_of(value[0])] if isinstance(value, list) and value else None


def assert_shape(body: Json | list[Json], name: str, *, absent: tuple[str, ...] = ()) -> None:
    """``absent``: keys which only some captures have, at any depth."""

    def without(value: object) -> object:
        if isinstance(value, dict):
            return {key: without(inner) for key, inner in value.items() if key not in absent}
        return [without(inner) for inner in value] if isinstance(value, list) else value

    assert without(shape_of(body)) == without(shape_of(payload(name)))


async def test_sent_and_receipts(start: Start, post: Post, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url)
    answer = await post(sandbox)
    await sandbox.settle()
    [sent] = receiver.named("message:out:sent")
    assert_shape([sent], "message_out_sent.array.json", absent=MORE_OF_THE_QUEUE)
    assert sent["entityId"] == sent["data"]["id"] == answer["id"]
    assert (sent["data"]["waId"], sent["data"]["reference"]) == (answer["waId"], "ref-1")
    assert (sent["data"]["status"], sent["data"]["deliveryStatus"]) == ("processed", "sent")
    acks = receiver.named("message:out:ack")
    assert {body["data"]["ack"] for body in acks} == {"delivered", "read"}
    for ack in acks:
        assert_shape(ack, "message_out_ack.reconstructed.json", absent=("deletedAt",))
        assert ack["id"] == ack["data"]["id"] == answer["waId"]
        assert ack["data"]["toNumber"] == PHONE
    assert sandbox.accepted[0].status == "read"


async def test_out_new_is_a_switch(start: Start, post: Post, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url, emits_out_new=True)
    answer = await post(sandbox)
    await sandbox.settle()
    [new] = receiver.named("message:out:new")
    assert (new["data"]["id"], new["data"]["ack"]) == (answer["waId"], "sent")


async def test_failed(start: Start, post: Post, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url, faults=Faults(delivery_failure=1))
    await post(sandbox)
    await sandbox.settle()
    assert_shape(receiver.bodies, "message_out_failed.array.json", absent=("sentAt", *MORE_OF_THE_QUEUE))
    assert receiver.rows == [1]
    assert receiver.bodies[0]["data"]["failureReason"] == "recipient is not a WhatsApp user"


async def test_what_was_sent_comes_in_arrays(start: Start, post: Post, receiver: Receiver) -> None:
    """Of one, or of several that happened at about the same time; each message is in one of them, once."""
    rules = WebhookRules(row_share=0.9, row_wait_seconds=(0.05, 0.05), max_row_events=4)
    sandbox = await start(webhook_url=receiver.url, webhooks=rules)
    for number in range(30):
        await post(sandbox, reference=f"ref-{number}")
    await sandbox.settle()
    told = [body["data"]["reference"] for body in receiver.named("message:out:sent")]
    assert sorted(told) == sorted(f"ref-{number}" for number in range(30))
    assert sum(receiver.rows) == 30
    assert max(receiver.rows) <= 4
    assert len(receiver.rows) < 30
    alone = await start(webhook_url=receiver.url, webhooks=WebhookRules(row_share=0))
    receiver.rows.clear()
    for number in range(5):
        await post(alone, reference=f"ref-{number}")
    await alone.settle()
    assert receiver.rows == [1] * 5


async def test_inbound(start: Start, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url)
    at = datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC)
    wa_id = await sandbox.inbound(PHONE, "Yes", at=at)
    await sandbox.settle()
    [body] = receiver.bodies
    assert_shape(body, "message_in_new.text.json", absent=("version",))
    data = body["data"]
    assert body["id"] == data["id"] == wa_id
    assert (data["from"], data["fromNumber"], data["chat"]["id"]) == ("5215600000001@c.us", PHONE, data["from"])
    assert data["chat"]["lid"].endswith("@lid")
    assert (data["timestamp"], data["date"]) == (int(at.timestamp()), "2026-11-22T10:00:00.000Z")


async def test_inbound_in_another_time_zone_and_with_a_quote(start: Start, post: Post, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url)
    sent = await post(sandbox, message="Question?")
    await sandbox.settle()
    at = datetime.fromisoformat("2026-11-22T12:00:00+02:00")
    assert await sandbox.inbound(PHONE, "Yes", at=at, quoted=sent["waId"], wa_id="AC01") == "AC01"
    await sandbox.inbound(PHONE, "No", quoted="3EB0UNKNOWN")
    await sandbox.settle()
    by_text = {body["data"]["body"]: body["data"] for body in receiver.named("message:in:new")}
    assert by_text["Yes"]["date"] == "2026-11-22T10:00:00.000Z"
    assert by_text["Yes"]["quoted"]["id"] == sent["waId"]
    assert by_text["Yes"]["quoted"]["body"] == "Question?"
    assert by_text["No"]["quoted"]["id"] == "3EB0UNKNOWN"


async def test_inbound_nested(start: Start, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url, faults=Faults(nested_shape=1))
    await sandbox.inbound(PHONE, "Yes")
    await sandbox.settle()
    assert_shape(receiver.bodies[0], "message_in_new.nested.unverified.json")
    assert receiver.bodies[0]["data"]["message"]["from"] == PHONE.removeprefix("+")


async def test_reaction(start: Start, post: Post, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url, habits=Habits(reaction_rate=1))
    answer = await post(sandbox)
    await sandbox.settle()
    [body] = receiver.named("message:reaction")
    assert_shape(body, "message_reaction.guess.json", absent=("version",))
    assert body["data"]["id"] == answer["waId"]
    assert body["data"]["reactions"][0]["reaction"] == "👍"


async def test_a_body_of_ones_own(start: Start, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url)
    [delivery] = await sandbox.emit({"event": "number:session", "data": None})
    await sandbox.settle()
    assert delivery.is_acknowledged
    assert receiver.bodies == [{"event": "number:session", "data": None}]


async def test_message_1_is_answered_and_message_2_is_not(start: Start, post: Post, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url, habits=Habits(reply_rate=1, duplicate_reply_rate=1))
    await post(sandbox, priority="high")
    await sandbox.settle()
    assert receiver.named("message:in:new") == []
    await post(sandbox, priority="normal")
    await sandbox.settle()
    first, second = receiver.named("message:in:new")
    assert first["data"]["body"] != second["data"]["body"]


async def test_a_script_overrules_the_habits(start: Start, post: Post, receiver: Receiver) -> None:
    script = {
        "+491700000001": SILENT,
        "+491700000002": Behaviour((Reply("Yes"), Reply("Really", 0.01))),
        "+491700000003": Behaviour((Reply("STOP", quotes=True),), reads=False),
    }
    sandbox = await start(webhook_url=receiver.url, habits=Habits(stop_rate=1), script=script.get)
    for phone in (*script, "+491700000004"):
        await post(sandbox, phone=phone, reference=phone)
    await sandbox.settle()
    said: dict[str, list[str]] = {}
    for body in receiver.named("message:in:new"):
        said.setdefault(body["data"]["fromNumber"], []).append(body["data"]["body"])
    assert said == {"+491700000002": ["Yes", "Really"], "+491700000003": ["STOP"], "+491700000004": ["STOP"]}
    statuses = [message.status for message in sandbox.accepted]
    assert statuses == ["read", "read", "delivered", "read"]


@pytest.mark.parametrize("order", [1, -1])
async def test_the_same_seed_gives_the_same_replies_in_any_order(start: Start, post: Post, order: int) -> None:
    habits = Habits(reply_rate=0.4, stop_rate=0.2, duplicate_reply_rate=0.5)
    phones = [f"+4917000000{number:02}" for number in range(30)]

    async def replies(seed: int, phones: list[str]) -> list[tuple[str, str | None]]:
        sandbox = await start(habits=habits, seed=seed)
        for phone in phones:
            await post(sandbox, phone=phone)
        await sandbox.settle()
        return sorted((item.phone, item.body) for item in sandbox.ledger.chat.values() if item.flow == "inbound")

    first = await replies(7, phones)
    assert first == await replies(7, phones[::order])
    assert first != await replies(8, phones)


def test_rates_are_shares_of_all_contacts() -> None:
    habits = Habits(reply_rate=0.5, stop_rate=0.1, quote_rate=1, reply_delay_seconds=(2, 4))
    behaviours = [behaviour_of(f"+49170{number:07}", habits, Dice(1)) for number in range(2000)]
    replies = [reply for behaviour in behaviours for reply in behaviour.replies]
    stops = [reply for reply in replies if reply.text == "STOP"]
    assert len(stops) == pytest.approx(200, abs=50)
    assert len(replies) - len(stops) == pytest.approx(1000, abs=100)
    assert all(2 <= reply.after_seconds <= 4 for reply in replies)
    assert all(reply.quotes for reply in replies if reply.text != "STOP")


def test_habits_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="together"):
        Habits(reply_rate=0.6, stop_rate=0.6)
    with pytest.raises(ValueError, match="read_rate"):
        Habits(read_rate=2)
    with pytest.raises(ValueError, match="shortest"):
        Habits(reply_delay_seconds=(3, 1))


async def test_message_times_are_whole_seconds_and_truthful(start: Start, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url)
    before = datetime.now(UTC) - timedelta(seconds=1)
    await sandbox.inbound(PHONE, "Hi")
    await sandbox.settle()
    timestamp = receiver.bodies[0]["data"]["timestamp"]
    assert isinstance(timestamp, int)
    assert before <= datetime.fromtimestamp(timestamp, UTC) <= datetime.now(UTC)


async def test_a_script_that_fails_is_told(start: Start, post: Post, caplog: pytest.LogCaptureFixture) -> None:
    def script(phone: str) -> Behaviour:
        raise LookupError(phone)

    sandbox = await start(script=script)
    await post(sandbox)
    with pytest.raises(LookupError):
        await sandbox.settle()
    assert "a task of the sandbox failed" in caplog.text


@pytest.mark.parametrize("seed", range(4))
async def test_the_queue_drops_a_message(start: Start, post: Post, receiver: Receiver, seed: int) -> None:
    sandbox = await start(webhook_url=receiver.url, seed=seed, faults=Faults(dropped_message=1))
    await post(sandbox)
    await sandbox.settle()
    (message,) = sandbox.accepted
    assert message.status in {"expired", "removed", "invalid", "cancelled"}
    assert message.sent_at is None
    told = [(body["event"], body["data"]["status"], body["data"]["deliveryStatus"]) for body in receiver.bodies]
    named = [(f"message:out:{message.status}", message.status, message.status)]
    assert told == (named if message.status in {"expired", "removed"} else [])


async def test_the_queue_may_never_tell_the_id(start: Start, post: Post, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url, faults=Faults(hidden_wa_id=1))
    assert "waId" not in await post(sandbox)
    await sandbox.settle()
    [sent] = receiver.named("message:out:sent")
    assert "waId" not in sent["data"]
    assert {body["data"]["id"] for body in receiver.named("message:out:ack")} == {sandbox.accepted[0].wa_id}


async def test_receipts_in_other_words(start: Start, post: Post, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url, faults=Faults(other_words=1))
    await post(sandbox)
    await sandbox.settle()
    acks = receiver.named("message:out:ack")
    assert [ack["data"]["ack"] for ack in acks] == [None, None]
    words = {ack["ack"] for ack in acks}
    assert "delivered" in words
    assert words & {"readed", "played"}


async def test_what_contacts_write_to_another_device(start: Start, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url, faults=Faults(other_device=1))
    await sandbox.inbound(PHONE, "Where is my parcel?")
    await sandbox.settle()
    news = receiver.named("message:in:new")
    assert {body["device"]["id"] for body in news} == {sandbox.settings.device_id, "68fd1067b488de07029f0002"}
    assert len({body["id"] for body in news}) == 2
    assert {body["data"]["toNumber"] for body in news} == {body["device"]["phone"] for body in news}


async def test_a_reply_that_comes_empty_first(start: Start, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url, faults=Faults(empty_first=1))
    wa_id = await sandbox.inbound(PHONE, "STOP")
    await sandbox.settle()
    told = {(body["id"], body["data"]["type"], body["data"]["body"]) for body in receiver.bodies}
    assert told == {(wa_id, "ciphertext", None), (wa_id, "text", "STOP")}


async def test_other_types_and_edits(start: Start, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url)
    await sandbox.inbound(PHONE, None, kind="call_log")
    wa_id = await sandbox.inbound(PHONE, "Yes")
    await sandbox.settle()
    assert {body["data"]["type"] for body in receiver.bodies} == {"call_log", "text"}
    await sandbox.edit(wa_id, "STOP")
    await sandbox.settle()
    [edited] = receiver.named("message:update")
    assert (edited["data"]["id"], edited["data"]["body"], edited["data"]["flow"]) == (wa_id, "STOP", "inbound")
    assert edited["data"]["meta"]["isEdited"] is True


async def test_a_hidden_number_that_is_repeated(start: Start, receiver: Receiver) -> None:
    sandbox = await start(webhook_url=receiver.url, faults=Faults(lid_sender=1, lid_number=1))
    await sandbox.inbound(PHONE, "Yes")
    await sandbox.settle()
    [body] = receiver.bodies
    assert body["data"]["from"] == f"{body['data']['fromNumber'][1:]}@lid"


async def test_packed_bodies_without_a_length(start: Start, receiver: Receiver) -> None:
    faults = Faults(gzip_body=1, chunked_body=1, bare_signature=1)
    sandbox = await start(webhook_url=receiver.url, signing_secret="key", faults=faults)
    await sandbox.inbound(PHONE, "Yes")
    await sandbox.settle()
    [headers] = receiver.headers
    assert (headers["Content-Encoding"], headers["Transfer-Encoding"]) == ("gzip", "chunked")
    assert len(headers["X-Wassenger-Signature"]) == 64
    assert [body["data"]["body"] for body in receiver.bodies] == ["Yes"]

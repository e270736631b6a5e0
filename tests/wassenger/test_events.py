"""Webhook bodies of every known shape, and of no shape at all."""

import json
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from itertools import combinations
from typing import Any, assert_never

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import DEVICE, PAYLOADS, payload
from wamsg2.model import (
    DeviceChanged,
    Event,
    Ignored,
    InboundMessage,
    Reaction,
    Reading,
    Receipt,
    ReceiptStatus,
    Sender,
)
from wamsg2.wassenger.events import MAX_ROW_EVENTS, SUBSCRIBED_EVENTS, NotAnEventError, parse, parse_row

Body = dict[str, Any]

CONTACT = "5215600000001@c.us"
LID = "183000000000001@lid"
PHONE = "+5215600000001"
WA_ID = "ACB19255F805BFD6139C144316DE0001"
OUR_WA_ID = "3EB0A1B2C3D4E5F60001"
QUEUE_ID = "675c5f0a1b2c3d4e5f600001"
AT = datetime(2025, 12, 13, 16, 15, 0, tzinfo=UTC)
PERSON = Sender((CONTACT, LID), PHONE)

INBOUND = "message_in_new.text.json"
NESTED = "message_in_new.nested.unverified.json"
ACK = "message_out_ack.reconstructed.json"
SENT = "message_out_sent.reconstructed.json"
FAILED = "message_out_failed.reconstructed.json"
REACTION = "message_reaction.guess.json"


def understood(body: Any) -> Event:
    return parse(json.dumps(body).encode())


def inbound(body: Body) -> InboundMessage:
    content = understood(body).content
    assert isinstance(content, InboundMessage), content
    return content


def receipt(body: Body) -> Receipt:
    content = understood(body).content
    assert isinstance(content, Receipt), content
    return content


def reaction(body: Body) -> Reaction:
    content = understood(body).content
    assert isinstance(content, Reaction), content
    return content


def is_ignored(body: Body) -> bool:
    return isinstance(understood(body).content, Ignored)


def changed(name: str, changes: Body | None = None, *without: str, **envelope: Any) -> Body:
    """A file of `payloads` with another envelope, other fields in its data, and some fields gone."""
    body = payload(name) | envelope
    body["data"] |= changes or {}
    for key in without:
        del body["data"][key]
    return body


def nested(body: Body) -> Body:
    """The same in the other shape: the message one level down, its chat beside it."""
    body = deepcopy(body)
    message = body["data"]
    body["data"] = {"message": message, "chat": message.pop("chat")}
    return body


# --- the files --------------------------------------------------------------------------------------------------

EXPECTED: dict[str, tuple[str, InboundMessage | Reaction | Receipt | type[Ignored]]] = {
    INBOUND: (
        "message:in:new",
        InboundMessage(WA_ID, PERSON, "text", "Example inbound text", None, AT),
    ),
    NESTED: (
        "message:in:new",
        InboundMessage(
            "msg_01HXXX",
            Sender(("34600000001@c.us",), "+34600000001"),
            "text",
            "Example",
            None,
            datetime(2026, 5, 27, 14, 32, 10, tzinfo=UTC),
        ),
    ),
    ACK: (
        "message:out:ack",
        Receipt(
            ReceiptStatus.READ, None, None, OUR_WA_ID, AT, None, PERSON, sent_at=AT, text="Example outbound text"
        ),
    ),
    SENT: (
        "message:out:sent",
        Receipt(
            ReceiptStatus.SENT,
            "our-key-1",
            QUEUE_ID,
            OUR_WA_ID,
            AT.replace(second=4),
            None,
            Sender((CONTACT,), PHONE),
            sent_at=AT.replace(second=4),
        ),
    ),
    FAILED: (
        "message:out:failed",
        Receipt(
            ReceiptStatus.FAILED,
            "our-key-1",
            QUEUE_ID,
            OUR_WA_ID,
            AT.replace(second=4),
            "recipient is not a WhatsApp user",
            Sender((CONTACT,), PHONE),
        ),
    ),
    REACTION: (
        "message:reaction",
        Reaction(WA_ID, PERSON, "👍", AT.replace(minute=16)),
    ),
    # Answers to requests, not events: nobody should send them, and nothing comes of it.
    "error.400.json": ("unknown", Ignored),
    "error.400.schema.json": ("unknown", Ignored),
    "get_devices.item.reconstructed.json": ("unknown", Ignored),
    "get_webhooks.item.reconstructed.json": ("unknown", Ignored),
    "post_messages.201.json": ("unknown", Ignored),
}


@pytest.mark.parametrize("name", sorted(path.name for path in PAYLOADS.iterdir() if ".array." not in path.name))
def test_every_file_is_understood(name: str) -> None:
    raw = (PAYLOADS / name).read_bytes()
    event = parse(raw)
    expected_name, expected = EXPECTED[name]
    assert event.name == expected_name
    assert event.body == raw
    assert len(event.identity) == 16
    assert isinstance(event.content, Ignored) if isinstance(expected, type) else event.content == expected


@pytest.mark.parametrize("name", [INBOUND, ACK, SENT, FAILED, REACTION])
def test_both_shapes_say_the_same(name: str) -> None:
    body = payload(name)
    body["data"].setdefault("chat", {})
    assert understood(nested(body)).content == understood(body).content
    assert understood(nested(body)).identity == understood(body).identity


def test_a_byte_order_mark_is_no_obstacle() -> None:
    raw = (PAYLOADS / INBOUND).read_bytes()
    assert parse(b"\xef\xbb\xbf" + raw).content == parse(raw).content


# --- inbound: times and words -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "told",
    [
        {"timestamp": 1765642500},
        {"timestamp": 1765642500.0},
        {"timestamp": 1765642500000},
        {"timestamp": "1765642500"},
        {"timestamp": "1765642500000"},
        {"timestamp": "2025-12-13T16:15:00.000Z"},
        {"timestamp": "2025-12-13T16:15:00Z"},
        {"timestamp": "2025-12-13T16:15:00"},
        {"timestamp": "2025-12-13T10:15:00-06:00"},
        {"timestamp": " 2025-12-13T16:15:00+00:00 "},
        {"timestamp": None, "date": "2025-12-13T16:15:00.000Z"},
        {"timestamp": 0, "date": "2025-12-13T16:15:00.000Z"},
        {"timestamp": "soon", "date": 1765642500},
        {"timestamp": True, "date": 1765642500},
        {"timestamp": 10**40, "date": 1765642500},
        {"timestamp": "9" * 30, "date": 1765642500},
        {"timestamp": [1765642500], "date": {"seconds": 1}},  # then the envelope's
    ],
)
def test_times(told: Body) -> None:
    elsewhere = {"date": "2001-01-01T00:00:00Z"}
    assert inbound(changed(INBOUND, elsewhere | told)).written_at == AT


def test_the_messages_own_time_outranks_the_envelopes() -> None:
    assert inbound(changed(INBOUND, created=1)).written_at == AT
    without = changed(INBOUND, None, "timestamp", "date", created=None, createdAt="2025-12-13T16:15:00Z")
    assert inbound(without).written_at == AT
    del without["createdAt"]
    assert inbound(without).written_at is None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"body": "  hello\n"}, "hello"),
        ({"body": None}, ""),
        ({"body": ""}, ""),
        ({"body": 42}, "42"),
        ({"body": 10**18}, ""),
        ({"body": ["STOP"]}, ""),
        ({"body": {"text": "STOP"}}, ""),
        ({"body": None, "media": {"caption": "look"}}, "look"),
        ({"body": "both", "media": {"caption": "look"}}, "both"),
        ({"body": None, "text": "elsewhere"}, "elsewhere"),
        ({"body": "a\x00b"}, "a\x00b"),
        ({"body": "👍🏽 é ä"}, "👍🏽 é ä"),
    ],
)
def test_words(changes: Body, text: str) -> None:
    assert inbound(changed(INBOUND, changes)).text == text


@pytest.mark.parametrize("server", ["lid", "LID"])
def test_the_digits_of_a_lid_are_no_number(server: str) -> None:
    digits = LID.partition("@")[0]
    body = changed(INBOUND, {"from": f"{digits}@{server}", "fromNumber": f"+{digits}"})
    body["data"]["chat"] |= {"id": f"{digits}@c.us", "lid": None, "contact": {"wid": LID, "phone": digits}}
    assert inbound(body).sender == Sender((LID,), None)
    body["data"]["chat"]["contact"]["phone"] = PHONE
    assert inbound(body).sender == Sender((LID,), PHONE)


def test_an_absent_body_is_a_message_too() -> None:
    assert inbound(changed(INBOUND, {"type": "image"}, "body")) == InboundMessage(
        WA_ID, PERSON, "image", "", None, AT
    )


@pytest.mark.parametrize("half", ["\\ud83d", "\\udc4d", "hi \\ud83d there", "\\udc4d\\ud83d"])
def test_half_a_surrogate_pair_does_not_poison_what_is_stored(half: str) -> None:
    """JSON may spell it, UTF-8 cannot: the database and the log could not either."""
    raw = (PAYLOADS / INBOUND).read_text(encoding="utf-8").replace("Example inbound text", half)
    event = parse(raw.encode())
    assert isinstance(event.content, InboundMessage)
    assert event.content.text.encode()
    assert event.content.sender == PERSON


def test_half_a_surrogate_pair_reads_as_a_replacement_character() -> None:
    assert inbound(changed(INBOUND, {"body": "a\ud83db"})).text == "a\ufffdb"


@pytest.mark.parametrize(
    "kind",
    ["image", "gif", "video", "ptv", "audio", "voice", "ptt", "document", "sticker", "location", "live_location",
     "contact", "contacts", "vcard", "multi_vcard", "poll", "list", "buttons", "product", "order", "list_response",
     "buttons_response", "template_button_reply", "interactive", "template", "IMAGE"],
)  # fmt: skip
def test_every_kind_that_a_person_answers_with_is_a_reply(kind: str) -> None:
    content = inbound(changed(INBOUND, {"type": kind, "body": None}))
    assert (content.type, content.reading, content.text) == (kind.lower(), Reading.REPLY, "")


@pytest.mark.parametrize("words", [None, "", "  ", "no"])
@pytest.mark.parametrize(
    "kind",
    ["call_log", "call", "ciphertext", "pin", "poll_vote", "pollvote", "revoked", "unknown", "event", "payment",
     "something_new", "keep_in_chat", "text_"],
)  # fmt: skip
def test_any_other_kind_is_recorded_and_no_reply(kind: str, words: str | None) -> None:
    content = inbound(changed(INBOUND, {"type": kind, "body": words}))
    assert (content.type, content.reading, content.text) == (kind, Reading.NOT_A_REPLY, (words or "").strip())


@pytest.mark.parametrize("kind", ["text", "chat", None])
def test_a_text_without_words_is_no_reply(kind: str | None) -> None:
    """ "Waiting for this message": its words come later, under the same id."""
    empty = changed(INBOUND, {"type": kind, "body": None})
    assert inbound(empty).reading is Reading.NOT_A_REPLY
    assert (
        inbound(empty | {"data": empty["data"] | {"media": {"id": "m1", "type": "image"}}}).reading is Reading.REPLY
    )
    words = payload(INBOUND)
    assert inbound(words).reading is Reading.REPLY
    assert understood(empty).identity != understood(words).identity
    assert understood(words).identity == understood(changed(INBOUND, {"type": "image"})).identity


def test_what_was_no_reply_comes_again_with_its_words() -> None:
    ways = [
        changed(INBOUND, {"type": "ciphertext", "body": None}),
        changed(INBOUND, {"type": "something_new", "body": "STOP"}),
        changed(INBOUND, {"type": "something_new", "body": "START"}),
        payload(INBOUND),
    ]
    assert len({understood(way).identity for way in ways}) == len(ways)
    assert understood(ways[0]).identity == understood(changed(INBOUND, {"type": "text", "body": ""})).identity


def test_a_revoked_message_is_no_reply() -> None:
    body = payload(INBOUND)
    body["data"]["meta"]["isRevoked"] = True
    content = inbound(body)
    assert (content.reading, content.text) == (Reading.NOT_A_REPLY, "Example inbound text")
    assert understood(body).identity != understood(payload(INBOUND)).identity


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"body": "Yes, tell me more"}, "Yes, tell me more"),
        ({"body": None, "button": {"text": "Stop", "payload": "STOP_ID"}}, "Stop"),
        ({"body": None, "listResponse": {"title": "Stop promotions", "id": "row-1"}}, "Stop promotions"),
        ({"body": None, "meta": {"selectedButtonId": "stop"}}, "stop"),
        ({"body": None, "meta": {"selectedListId": "row-1"}}, "row-1"),
        ({"body": None, "button": {"payload": "STOP"}}, "STOP"),
        ({"body": None}, ""),
    ],
)
def test_what_was_chosen_are_the_words(changes: Body, text: str) -> None:
    content = inbound(changed(INBOUND, {"type": "buttons_response"} | changes))
    assert (content.text, content.reading) == (text, Reading.REPLY)


# --- inbound: edits ---------------------------------------------------------------------------------------------


def edit(changes: Body, **envelope: Any) -> Body:
    return changed(INBOUND, changes, event="message:update", **envelope)


EDITED_AT = 1765642800


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"editedAt": "2025-12-13T16:20:00.000Z"}, AT.replace(minute=20)),
        ({"originalWid": WA_ID}, AT.replace(minute=20)),
        ({"meta": {"isEdited": True}}, AT.replace(minute=20)),
        ({}, AT),  # nothing tells that its words changed
    ],
)
def test_an_edit_has_new_words(changes: Body, at: datetime) -> None:
    content = inbound(edit({"body": "STOP"} | changes, created=EDITED_AT))
    assert content == InboundMessage(WA_ID, PERSON, "edit", "STOP", None, at, Reading.EDIT)


def test_an_edit_keeps_the_id_of_the_message() -> None:
    content = inbound(edit({"id": "ACNEW", "originalWid": WA_ID, "body": "STOP"}))
    assert (content.message_id, content.reading) == (WA_ID, Reading.EDIT)


@pytest.mark.parametrize("direction", [{"flow": "inbound"}, {"flow": "in"}, {"flow": None, "fromMe": False}])
def test_each_edit_is_an_event_of_its_own(direction: Body) -> None:
    one, other = (edit({"body": words} | direction) for words in ("STOP", "START"))
    assert understood(one).identity == understood(one).identity
    assert len({understood(body).identity for body in (one, other, payload(INBOUND))}) == 3


def test_a_message_that_is_taken_back_is_no_reply() -> None:
    content = inbound(edit({"body": None, "meta": {"isRevoked": True}}, created=EDITED_AT))
    assert (content.type, content.reading) == ("revoked", Reading.NOT_A_REPLY)


@pytest.mark.parametrize(
    "changes", [{"body": None}, {"id": None}, {"meta": {"isGroup": True}}, {"fromNumber": "+5215600000002"}]
)
def test_no_edit(changes: Body) -> None:
    assert is_ignored(edit(changes))


# --- inbound: other devices -------------------------------------------------------------------------------------

OTHER_DEVICE = "aaaaaaaaaaaaaaaaaaaaaaaa"


def of_device(device: Any, body: Body) -> Body:
    return {key: value for key, value in body.items() if key != "device"} | ({"device": device} if device else {})


def understood_for(device: str | None, body: Body) -> Event:
    (event,) = parse_row(json.dumps(body).encode(), device=device)
    return event


@pytest.mark.parametrize(
    "named",
    [{"id": OTHER_DEVICE, "phone": "+34699999999"}, OTHER_DEVICE, OTHER_DEVICE.upper(), {"id": OTHER_DEVICE}],
)
def test_what_is_written_to_another_device_is_read_for_an_opt_out_only(named: Any) -> None:
    body = of_device(named, payload(INBOUND))
    content = understood_for(DEVICE, body).content
    assert isinstance(content, InboundMessage)
    assert content.reading is Reading.OTHER_DEVICE
    assert understood_for(DEVICE, body).identity != understood(body).identity
    anywhere = understood_for(None, body).content
    assert isinstance(anywhere, InboundMessage)
    assert anywhere.reading is Reading.REPLY


@pytest.mark.parametrize("named", [{"id": DEVICE}, DEVICE, DEVICE.upper(), None, "Demo", {"id": 7}, []])
def test_what_is_written_to_ours_is_a_reply(named: Any) -> None:
    body = of_device(named, payload(INBOUND))
    content = understood_for(DEVICE, body).content
    assert isinstance(content, InboundMessage)
    assert content.reading is Reading.REPLY
    assert understood_for(DEVICE, body).identity == understood(body).identity


@pytest.mark.parametrize(
    ("written_to", "reading"),
    [("+34699999999", Reading.OTHER_DEVICE), ("+525600000002", Reading.REPLY), (None, Reading.REPLY)],
)
def test_without_a_device_the_number_tells(written_to: str | None, reading: Reading) -> None:
    body = of_device({"phone": "+5215600000002"}, changed(INBOUND, {"toNumber": written_to}))
    content = understood_for(DEVICE, body).content
    assert isinstance(content, InboundMessage)
    assert content.reading is reading


@pytest.mark.parametrize("name", [ACK, SENT, FAILED, REACTION])
def test_reports_and_reactions_of_another_device_are_ignored(name: str) -> None:
    body = of_device(OTHER_DEVICE, payload(name))
    assert understood_for(DEVICE, body).content == Ignored("of another device")
    assert not isinstance(understood_for(None, body).content, Ignored)
    row: Any = payload("message_out_sent.array.json")
    row[0]["data"]["device"]["id"] = row[1]["data"]["device"] = OTHER_DEVICE
    contents = [event.content for event in parse_row(json.dumps(row).encode(), device=DEVICE)]
    assert contents == [Ignored("of another device")] * 2


def test_our_reference_outranks_the_device() -> None:
    body = of_device(OTHER_DEVICE, changed(SENT, {"reference": "w2-0123"}))
    assert isinstance(understood_for(DEVICE, body).content, Receipt)


def test_the_session_of_another_device_is_ignored() -> None:
    bodies: list[Body] = [{"data": {"id": OTHER_DEVICE}}, {"device": {"id": OTHER_DEVICE}, "data": {}}]
    for body in bodies:
        assert understood_for(DEVICE, {"event": "number:session"} | body).content == Ignored("of another device")
    bodies = [{"data": {"id": DEVICE}}, {"data": {}}]
    for body in bodies:
        assert understood_for(DEVICE, {"event": "number:session"} | body).content == DeviceChanged()


def test_a_message_without_a_type_is_text() -> None:
    assert inbound(changed(INBOUND, None, "type")).type == "text"
    assert len(inbound(changed(INBOUND, {"type": "x" * 1000})).type) == 32


# --- inbound: who -----------------------------------------------------------------------------------------------


def test_a_sender_who_is_only_a_lid_is_not_a_phone() -> None:
    body = changed(INBOUND, {"from": LID, "fromNumber": None})
    body["data"]["chat"] |= {"id": LID, "contact": {"wid": LID, "phone": None}}
    assert inbound(body).sender == Sender((LID,), None)
    assert inbound(nested(body)).sender == Sender((LID,), None)


@pytest.mark.parametrize(
    ("data", "sender"),
    [
        ({"fromNumber": PHONE}, Sender((), PHONE)),
        ({"fromNumber": "5215600000001"}, Sender((), PHONE)),
        ({"fromNumber": 5215600000001}, Sender((), PHONE)),
        ({"phone": PHONE}, Sender((), PHONE)),
        ({"from": "5215600000001"}, Sender((), PHONE)),
        ({"from": CONTACT}, Sender((CONTACT,), None)),
        ({"from": "5215600000001@s.whatsapp.net"}, Sender((CONTACT,), None)),
        ({"from": CONTACT.upper()}, Sender((CONTACT,), None)),
        ({"chat": CONTACT}, Sender((CONTACT,), None)),
        ({"chat": {"id": CONTACT, "lid": LID}}, Sender((CONTACT, LID), None)),
        ({"chat": {"contact": {"phone": PHONE}}}, Sender((), PHONE)),
        ({"fromNumber": "+521", "from": CONTACT}, Sender((CONTACT,), None)),
        ({"fromNumber": PHONE, "from": LID}, Sender((LID,), PHONE)),
    ],
)
def test_any_place_may_name_the_sender(data: Body, sender: Sender) -> None:
    body = {"event": "message:in:new", "data": {"id": WA_ID, "type": "text", "body": "hi"} | data}
    assert inbound(body).sender == sender


def test_a_device_that_is_a_bare_string_is_no_obstacle() -> None:
    assert inbound(changed(INBOUND, device="68fd1067b488de07029f0001")).sender == PERSON


def in_group(body: Body) -> None:
    body["data"] |= {"from": "120363000000000001@g.us", "author": CONTACT}


def with_chat(**chat: Any) -> Callable[[Body], None]:
    return lambda body: body["data"]["chat"].update(chat)


def with_data(**data: Any) -> Callable[[Body], None]:
    return lambda body: body["data"].update(data)


def with_flag(flag: str) -> Callable[[Body], None]:
    return lambda body: body["data"]["meta"].update({flag: True})


NOT_DIRECT = [
    pytest.param(in_group, id="group"),
    *(pytest.param(with_flag(f), id=f) for f in ("isGroup", "isChannel", "isBroadcast")),
    pytest.param(with_chat(type="group"), id="chat of a group"),
    pytest.param(with_chat(type="channel"), id="chat of a channel"),
    pytest.param(with_chat(id="120363000000000001@g.us"), id="group chat id"),
    pytest.param(with_chat(id="120363000000000001@newsletter"), id="channel chat id"),
    pytest.param(with_chat(id="status@broadcast"), id="status"),
]


@pytest.mark.parametrize(
    "change",
    [
        *NOT_DIRECT,
        *(pytest.param(with_flag(f), id=f) for f in ("isNotification", "isBizNotification", "isPSA")),
        pytest.param(with_data(**{"from": "120363000000000001@newsletter"}), id="channel"),
        pytest.param(with_data(**{"from": "status@broadcast"}), id="status of a person"),
        *(
            pytest.param(with_data(type=kind), id=kind)
            for kind in ("group:event", "notification", "e2e_notification", "gp2", "protocol")
        ),
        pytest.param(with_data(flow="outbound"), id="outbound"),
        pytest.param(with_data(flow="sideways"), id="unknown direction"),
        pytest.param(with_data(fromMe=True), id="from me"),
        pytest.param(with_data(fromNumber="+5215600000002"), id="our own number"),
    ],
)
def test_what_is_not_a_reply(change: Callable[[Body], None]) -> None:
    body = payload(INBOUND)
    change(body)
    assert is_ignored(body)
    assert is_ignored(nested(body))


def test_a_message_from_nobody_is_ignored() -> None:
    assert is_ignored({"event": "message:in:new", "data": {"id": WA_ID, "body": "hi"}})
    assert is_ignored({"event": "message:in:new", "data": {"id": WA_ID, "fromNumber": "?", "from": "a@b@c"}})


@pytest.mark.parametrize("flag", ["isForwarded", "isEphemeral", "isGif", "isFirstMessage", "containsEmoji"])
def test_flags_that_change_nothing(flag: str) -> None:
    body = payload(INBOUND)
    body["data"]["meta"][flag] = True
    assert inbound(body) == EXPECTED[INBOUND][1]


# --- inbound: what it quotes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "quoted",
    [
        {"quoted": OUR_WA_ID},
        {"quoted": {"id": OUR_WA_ID, "body": "Hello", "type": "text"}},
        {"quoted": {"wid": OUR_WA_ID}},
        {"quoted": {"waId": OUR_WA_ID}},
        {"quoted": f"true_{CONTACT}_{OUR_WA_ID}"},
        {"quoted": {"id": f"true_{CONTACT}_{OUR_WA_ID}"}},
        {"quoted": {"id": f"true_120363000000000001@g.us_{OUR_WA_ID}_{CONTACT}"}},
        {"quotedMessage": {"id": OUR_WA_ID}},
        {"quoted": None, "quotedMessage": {"id": OUR_WA_ID}},
        {"quoted": {"id": None, "wid": OUR_WA_ID}},
    ],
)
def test_quoted(quoted: Body) -> None:
    assert inbound(changed(INBOUND, quoted)).quoted_id == OUR_WA_ID


@pytest.mark.parametrize("quoted", [None, {}, [], [OUR_WA_ID], "", 0, False, {"id": {}}, {"body": "Hello"}])
def test_nothing_quoted(quoted: Any) -> None:
    assert inbound(changed(INBOUND, {"quoted": quoted})).quoted_id is None


@pytest.mark.parametrize("own", ["id", "wid", "waId"])
def test_the_messages_id_may_have_any_of_three_names(own: str) -> None:
    body = changed(INBOUND, None, "id")
    body["data"][own] = f"false_{CONTACT}_{WA_ID}"
    assert inbound(body).message_id == WA_ID


def test_a_serialized_id_that_ends_before_the_id_is_none() -> None:
    said = receipt(changed(SENT, {"waId": f"true_{CONTACT}_"}))
    assert said.wa_id is None


def test_a_message_without_an_id_is_a_message() -> None:
    assert inbound(changed(INBOUND, None, "id")).message_id == ""


# --- reactions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "emoji"),
    [
        ({"reactions": [{"reaction": "❤️", "from": CONTACT}]}, "❤️"),
        ({"reactions": [{"reaction": "👎", "from": CONTACT}, {"emoji": "❤️", "from": CONTACT}]}, "❤️"),
        ({"reactions": [{"text": "❤️", "fromNumber": PHONE}]}, "❤️"),
        ({"reactions": [{"reaction": "", "from": CONTACT}]}, ""),
        ({"reactions": [], "reaction": "❤️"}, "❤️"),
        ({"reactions": None, "reaction": "❤️"}, "❤️"),
        ({"reactions": ["❤️"]}, ""),
        ({"reactions": [{"reaction": "x" * 100, "from": CONTACT}]}, "x" * 16),
    ],
)
def test_reactions(changes: Body, emoji: str) -> None:
    content = reaction(changed(REACTION, changes))
    assert (content.emoji, content.message_id) == (emoji, WA_ID)
    assert content.sender == PERSON


@pytest.mark.parametrize(
    ("changes", "target"),
    [
        ({"reactionMessage": OUR_WA_ID}, OUR_WA_ID),
        ({"messageId": f"true_{CONTACT}_{OUR_WA_ID}"}, OUR_WA_ID),
        ({"quoted": {"id": OUR_WA_ID}}, OUR_WA_ID),
        ({"quoted": {"wid": OUR_WA_ID}}, OUR_WA_ID),
        ({}, WA_ID),
    ],
)
def test_what_a_reaction_is_put_on(changes: Body, target: str) -> None:
    assert reaction(changed(REACTION, changes)).message_id == target


def test_a_reaction_on_our_message_is_the_persons() -> None:
    """The entity is then our message: outbound, from us; only the reaction itself names the person."""
    body = payload(ACK) | {"event": "message:reaction"}
    body["data"]["reactions"] = [{"reaction": "👍", "from": CONTACT, "date": "2025-12-13T16:16:00.000Z"}]
    assert reaction(body) == Reaction(OUR_WA_ID, PERSON, "👍", AT.replace(minute=16))


@pytest.mark.parametrize(
    "last",
    [
        {"reaction": "👍", "from": "5215600000002@c.us"},
        {"reaction": "👍", "fromNumber": "+5215600000002"},
        {"reaction": "👍", "author": "5215600000002@c.us"},
    ],
)
def test_our_own_reactions_are_ignored(last: Body) -> None:
    assert is_ignored(changed(REACTION, {"reactions": [last]}))
    assert is_ignored(changed(ACK, {"reaction": "👍"}, event="message:reaction"))


@pytest.mark.parametrize("change", NOT_DIRECT)
def test_a_reaction_outside_a_direct_chat_is_ignored(change: Callable[[Body], None]) -> None:
    body = payload(REACTION)
    change(body)
    if change is in_group:
        body["data"]["chat"]["id"] = body["data"]["from"]
    assert is_ignored(body)


def test_a_reaction_that_comes_as_a_message_triggers_nothing() -> None:
    body = changed(INBOUND, {"type": "reaction", "reactionMessage": OUR_WA_ID, "reaction": "👍"})
    assert reaction(body).message_id == OUR_WA_ID


def test_a_reaction_without_a_message_or_a_person_is_ignored() -> None:
    assert is_ignored(changed(REACTION, None, "id"))
    assert is_ignored({"event": "message:reaction", "data": {"id": WA_ID, "reaction": "👍"}})


# --- receipts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "status"),
    [
        *((w, ReceiptStatus.SENT) for w in ("pending", "queued", "processing", "processed", "server", "sent", 0, 1)),
        *((w, ReceiptStatus.DELIVERED) for w in ("device", "delivered", "DELIVERED", 2, "2")),
        *((w, ReceiptStatus.READ) for w in ("read", "readed", "played", "Read", 3, 4)),
        *((w, ReceiptStatus.FAILED) for w in ("failed", "error", -1, "-1")),
        *((w, ReceiptStatus.FAILED) for w in ("expired", "removed", "invalid", "cancelled", "Expired")),
        ("revoked", ReceiptStatus.SENT),
    ],
)
@pytest.mark.parametrize("key", ["ack", "deliveryStatus", "status"])
@pytest.mark.parametrize("event", ["message:out:ack", "message:update"])
def test_every_word_for_a_status(event: str, key: str, word: str | int, status: ReceiptStatus) -> None:
    body = changed(ACK, None, "ack", event=event)
    body["data"][key] = word
    assert receipt(body).status is status
    assert receipt(nested(body)).status is status


@pytest.mark.parametrize("word", ["gone_fishing", "", None, 99, -2, 1.5, True, [], {}, "x" * 5000])
def test_an_unknown_word_is_no_receipt(word: Any) -> None:
    for event in ("message:out:ack", "message:update"):
        assert is_ignored(changed(ACK, {"ack": word}, event=event))


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ("message:out:new", ReceiptStatus.SENT),
        ("message:out:sent", ReceiptStatus.SENT),
        ("message:out:failed", ReceiptStatus.FAILED),
        ("message:out:delivered", ReceiptStatus.DELIVERED),
        ("message:out:read", ReceiptStatus.READ),
    ],
)
def test_what_an_event_says_by_its_name(event: str, status: ReceiptStatus) -> None:
    body = changed(SENT, {"status": "gone_fishing"}, "deliveryStatus", event=event)
    assert receipt(body).status is status
    del body["data"]["status"]
    assert receipt(body).status is status


@pytest.mark.parametrize("word", ["expired", "removed", "invalid", "cancelled"])
def test_what_the_queue_dropped_has_failed_with_its_word(word: str) -> None:
    for told in ({"status": word}, {"deliveryStatus": word}, {"status": word, "deliveryStatus": "sent"}):
        content = receipt(changed(SENT, told))
        assert (content.status, content.reason) == (ReceiptStatus.FAILED, word)
    with_more = receipt(changed(SENT, {"status": word, "failureReason": "max_retries"}))
    assert with_more.reason == f"{word}: max_retries"


@pytest.mark.parametrize("word", ["expired", "removed", "invalid", "cancelled", "failed"])
@pytest.mark.parametrize("arrived", ["delivered", "read", "readed", "played"])
def test_what_arrived_was_not_dropped(word: str, arrived: str) -> None:
    for told in ({"status": word, "deliveryStatus": arrived}, {"status": arrived, "deliveryStatus": word}):
        content = receipt(changed(SENT, told))
        assert content.status is (ReceiptStatus.DELIVERED if arrived == "delivered" else ReceiptStatus.READ)
        assert content.reason is None
    assert receipt(changed(FAILED, {"deliveryStatus": arrived})).status is not ReceiptStatus.FAILED


@pytest.mark.parametrize("word", ["removed", "expired"])
def test_events_of_the_queue_that_we_do_not_ask_for(word: str) -> None:
    assert f"message:out:{word}" not in SUBSCRIBED_EVENTS
    body = changed(SENT, None, "status", "deliveryStatus", event=f"message:out:{word}")
    assert (receipt(body).status, receipt(body).reason) == (ReceiptStatus.FAILED, word)


def test_a_revoked_message_was_sent() -> None:
    for changes in ({"deliveryStatus": "revoked"}, {"meta": {"isRevoked": True}}):
        content = receipt(changed(ACK, {"ack": None} | changes))
        assert (content.status, content.is_revoked, content.reason) == (ReceiptStatus.SENT, True, None)
    read = receipt(changed(ACK, {"deliveryStatus": "revoked"}))
    assert (read.status, read.is_revoked) == (ReceiptStatus.READ, True)
    assert understood(changed(ACK, {"deliveryStatus": "revoked"})).identity != understood(payload(ACK)).identity


def test_the_word_of_the_envelope_counts_too() -> None:
    assert receipt(changed(ACK, {"ack": "sent"}, ack="read")).status is ReceiptStatus.READ
    assert receipt(changed(ACK, {"ack": "read"}, ack="delivered")).status is ReceiptStatus.READ
    assert receipt(changed(ACK, None, "ack", ack="delivered")).status is ReceiptStatus.DELIVERED


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "active", "ack": "read"}, ()),
        ({"ack": "Teleported"}, ("teleported",)),
        ({"ack": "teleported", "deliveryStatus": "revoked"}, ("teleported",)),
        ({"ack": "sent", "deliveryStatus": "quantum"}, ("quantum",)),
        ({"ack": "+34600000001 said no"}, ("+34600000001 said no",)),
    ],
)
def test_unknown_words_are_told(changes: Body, words: tuple[str, ...]) -> None:
    assert understood(changed(ACK, changes)).unknown_words == words


def test_the_status_of_a_queued_message_is_a_word_on_its_way() -> None:
    assert understood(changed(SENT, {"status": "lost"})).unknown_words == ("lost",)


def test_a_failed_event_is_a_failure_whatever_it_says_besides() -> None:
    for word in ("pending", "queued", "sent", None):
        body = changed(FAILED, {"deliveryStatus": word, "status": word})
        assert receipt(body).status is ReceiptStatus.FAILED


@pytest.mark.parametrize("event", ["message:out:delivered", "message:out:read"])
def test_an_events_name_is_not_outdone_by_a_lower_word(event: str) -> None:
    assert receipt(changed(SENT, event=event)).status.value == event.rpartition(":")[2]


def test_a_receipt_knows_more_than_its_event_says() -> None:
    assert receipt(changed(SENT, {"deliveryStatus": "read"})).status is ReceiptStatus.READ


@pytest.mark.parametrize(
    ("ids", "queue_id", "wa_id"),
    [
        ({"id": QUEUE_ID, "waId": OUR_WA_ID}, QUEUE_ID, OUR_WA_ID),
        ({"id": QUEUE_ID, "waId": None}, QUEUE_ID, None),
        ({"id": OUR_WA_ID, "waId": None}, None, OUR_WA_ID),
        ({"id": OUR_WA_ID, "waId": OUR_WA_ID}, None, OUR_WA_ID),
        ({"id": None, "waId": OUR_WA_ID}, None, OUR_WA_ID),
        ({"id": f"true_{CONTACT}_{OUR_WA_ID}", "waId": None}, None, OUR_WA_ID),
        ({"id": "some-other-id", "waId": OUR_WA_ID}, "some-other-id", OUR_WA_ID),
        ({"id": None, "waId": None}, None, None),
    ],
)
def test_the_two_ids_of_a_message(ids: Body, queue_id: str | None, wa_id: str | None) -> None:
    content = receipt(changed(SENT, ids))
    assert (content.queue_id, content.wa_id, content.reference) == (queue_id, wa_id, "our-key-1")


def test_a_receipt_for_no_message_is_ignored() -> None:
    assert is_ignored(changed(SENT, None, "id", "waId", "reference"))


def test_a_reference_may_stand_beside_the_message() -> None:
    body = nested(changed(ACK, {}))
    body["data"]["reference"] = "our-key-1"
    assert receipt(body).reference == "our-key-1"


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"ack": "sent"}, AT),
        ({"ack": "sent", "sentAt": "2025-12-13T16:15:07Z"}, AT.replace(second=7)),
        ({"ack": "sent", "events": {"sent": {"date": "2025-12-13T16:15:08Z"}}}, AT.replace(second=8)),
        ({"ack": "delivered", "deliveredAt": 1765642509}, AT.replace(second=9)),
        ({"ack": "read", "events": {"read": {"date": "2025-12-13T16:15:10Z"}}}, AT.replace(second=10)),
        ({"ack": "read", "events": {"sent": {"date": "2025-12-13T16:15:10Z"}}}, AT.replace(second=30)),
        ({"ack": "delivered"}, AT.replace(second=30)),
    ],
)
def test_when_it_happened(changes: Body, at: datetime) -> None:
    """The entity's own date is when it was sent; other things happened when the event was made."""
    assert receipt(changed(ACK, changes, created=1765642530)).occurred_at == at


@pytest.mark.parametrize("ack", ["sent", "delivered", "read"])
@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({}, AT),
        ({"timestamp": None}, AT),
        ({"sentAt": "2025-12-13T16:15:07Z"}, AT.replace(second=7)),
        ({"events": {"sent": {"date": "2025-12-13T16:15:08Z"}}}, AT.replace(second=8)),
        ({"timestamp": None, "date": None, "events": {}}, None),
    ],
)
def test_when_it_was_sent(ack: str, changes: Body, at: datetime | None) -> None:
    """A report of delivery tells too when the message was sent."""
    content = receipt(changed(ACK, {"ack": ack} | changes, created=1765642530))
    assert content.sent_at == at
    assert content.occurred_at == (at if ack == "sent" else AT.replace(second=30))


def test_only_what_whatsapp_tells_has_the_words_of_a_message() -> None:
    assert receipt(changed(ACK, {"body": " Hi "})).text == "Hi"
    assert receipt(changed(ACK, {"body": "Hi", "reference": "w2-0123"})).text is None
    assert receipt(changed(SENT, {"body": "Hi"})).text is None


def test_a_failure_has_no_time_of_sending() -> None:
    assert receipt(changed(FAILED, {"sentAt": "2025-12-13T16:15:07Z"})).sent_at is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"failureReason": "no such user"}, "no such user"),
        ({"failureReason": None, "error": "no such user"}, "no such user"),
        ({"failureReason": None, "error": {"message": "no such user", "code": 7}}, "no such user"),
        ({"failureReason": None, "failureCode": 131047}, "131047"),
        ({"failureReason": None}, None),
        ({"failureReason": "x" * 5000}, "x" * 200),
    ],
)
def test_why_it_failed(changes: Body, reason: str | None) -> None:
    assert receipt(changed(FAILED, changes)).reason == reason


def test_a_reason_names_nobody() -> None:
    for written in (PHONE, CONTACT, PHONE.lstrip("+"), "+52 1 56 0000 0001"):
        reason = receipt(changed(FAILED, {"failureReason": f"{written} is not on WhatsApp"})).reason
        assert reason is not None
        assert "0000000" not in reason.replace(" ", "")
        assert reason.endswith("is not on WhatsApp")


@pytest.mark.parametrize("change", [with_data(flow="inbound"), with_data(fromMe=False), *NOT_DIRECT[1:]])
@pytest.mark.parametrize("event", ["message:out:ack", "message:update", "message:out:new"])
def test_receipts_that_are_not_about_a_message_of_ours_in_a_direct_chat(
    event: str, change: Callable[[Body], None]
) -> None:
    body = changed(ACK, event=event)
    change(body)
    assert is_ignored(body)


@pytest.mark.parametrize(
    "name",
    ["chat:update", "contact:update", "group:update", "status:update", "channel:in", "webhook:test",
     "message:in", "MESSAGE:IN:NEW", "", None, 7, True, [], {}],
)  # fmt: skip
def test_events_that_call_for_nothing(name: Any) -> None:
    event = understood(changed(INBOUND, event=name))
    assert isinstance(event.content, Ignored)
    assert event.name


@pytest.mark.parametrize(
    "data",
    [{"status": "online"}, {"status": "offline", "device": {}}, {}, [], None, "offline", {"message": {"id": "x"}}],
)
def test_a_session_that_changed_is_a_device_to_look_at(data: Any) -> None:
    """Whatever the event says of it: how the device stands is asked."""
    event = understood({"event": "number:session", "created": 1765642500, "data": data})
    assert (event.name, event.content) == ("number:session", DeviceChanged())


def test_two_changes_of_the_session_are_two_events() -> None:
    """An envelope without anything else is all that tells the second from a repetition of the first."""
    first = {"event": "number:session", "created": 1765642500, "data": {"status": "offline"}}
    assert understood(first).identity == understood(first).identity
    assert understood(first).identity != understood(first | {"created": 1765642560}).identity
    assert understood(first).identity != understood(first | {"data": {"status": "online"}}).identity


def test_a_name_is_bounded() -> None:
    assert understood({"event": "x" * 10_000}).name == "x" * 64


def test_every_event_that_we_subscribe_to_is_one_that_we_know() -> None:
    for name in SUBSCRIBED_EVENTS:
        event = understood(payload(SENT) | {"event": name})
        assert event.name == name
        assert event.content != Ignored("event not needed")


# --- identity ---------------------------------------------------------------------------------------------------

ENVELOPES = (
    {"id": "evt_01HXXX"},
    {"created": 1765649999},
    {"id": None, "attempt": 2, "object": "retry"},
    {"device": "68fd1067b488de07029f0001"},
)


@pytest.mark.parametrize("name", [INBOUND, ACK, SENT, FAILED, REACTION])
@pytest.mark.parametrize("envelope", ENVELOPES)
def test_the_same_statement_in_another_envelope_is_the_same_event(name: str, envelope: Body) -> None:
    assert understood(payload(name) | envelope).identity == understood(payload(name)).identity


def test_the_same_message_with_fuller_details_is_the_same_event() -> None:
    serialized = changed(INBOUND, {"id": f"false_{CONTACT}_{WA_ID}", "ack": "read", "agent": "someone"})
    assert understood(serialized).identity == understood(payload(INBOUND)).identity


def test_different_statements_are_different_events() -> None:
    bodies = [
        payload(INBOUND),
        changed(INBOUND, {"id": "OTHER"}),
        payload(NESTED),
        *(changed(ACK, {"ack": ack}) for ack in ("sent", "delivered", "read", "failed")),
        changed(ACK, {"id": "OTHER"}),
        changed(ACK, {"reference": "our-key-1"}),
        payload(SENT),
        changed(SENT, {"id": "675c5f0a1b2c3d4e5f600002"}),
        changed(SENT, {"reference": "our-key-2"}),
        changed(SENT, {"deliveryStatus": "read"}),
        payload(FAILED),
        payload(REACTION),
        changed(REACTION, {"reactions": [{"reaction": "👎", "from": CONTACT, "date": "2025-12-13T16:16:00.000Z"}]}),
        changed(REACTION, {"reactions": [{"reaction": "👍", "from": CONTACT, "date": "2025-12-13T16:17:00.000Z"}]}),
        changed(REACTION, {"id": "OTHER"}),
    ]
    for one, other in combinations(bodies, 2):
        assert understood(one).identity != understood(other).identity


def test_an_id_cannot_be_moved_from_one_place_to_another() -> None:
    one = changed(SENT, {"id": "ab", "waId": "c", "reference": "d"})
    other = changed(SENT, {"id": "a", "waId": "bc", "reference": "d"})
    assert understood(one).identity != understood(other).identity


def test_messages_without_an_id_are_told_apart_by_their_bodies() -> None:
    one, other = (changed(INBOUND, {"body": text}, "id") for text in ("one", "other"))
    assert understood(one).identity == understood(one).identity
    assert understood(one).identity != understood(other).identity


def test_what_is_ignored_is_told_apart_by_its_body() -> None:
    one, other = ({"event": "chat:update", "data": {"status": s}} for s in ("active", "resolved"))
    assert understood(one).identity == understood(one).identity
    assert understood(one).identity != understood(other).identity


# --- several events in one body ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_an_object_is_a_row_of_one(name: str) -> None:
    raw = (PAYLOADS / name).read_bytes()
    assert list(parse_row(raw, device=None)) == [parse(raw)]


def test_the_queue_tells_of_what_was_sent_in_a_row() -> None:
    first, second = parse_row((PAYLOADS / "message_out_sent.array.json").read_bytes(), device=None)
    assert (first.name, second.name) == ("message:out:sent", "message:out:sent")
    sent_at = AT.replace(second=4, microsecond=254_000)
    assert first.content == Receipt(
        ReceiptStatus.SENT, None, QUEUE_ID, None, sent_at, recipient=Sender((), PHONE), sent_at=sent_at
    )
    assert isinstance(second.content, Receipt)
    assert (second.content.status, second.content.queue_id) == (ReceiptStatus.DELIVERED, f"{QUEUE_ID[:-1]}2")


def test_the_queue_tells_of_what_failed_in_a_row() -> None:
    """`failedAt` is null: it failed when the event says so."""
    (event,) = parse_row((PAYLOADS / "message_out_failed.array.json").read_bytes(), device=None)
    failed_at = AT.replace(second=5, microsecond=518_000)
    assert event.name == "message:out:failed"
    assert event.content == Receipt(
        ReceiptStatus.FAILED, None, QUEUE_ID, None, failed_at, recipient=Sender((), PHONE)
    )


def test_an_element_is_the_event_that_it_would_be_alone() -> None:
    bodies = [payload(name) for name in (INBOUND, ACK, SENT, REACTION)]
    row = parse_row(json.dumps(bodies).encode(), device=None)
    for event, body in zip(row, bodies, strict=True):
        alone = understood(body)
        assert (event.name, event.identity, event.content) == (alone.name, alone.identity, alone.content)
        assert json.loads(event.body) == body


def test_an_element_that_is_no_object_is_ignored() -> None:
    row = parse_row(b'[null, 7, "text", [{"event": "message:in:new"}], true, {}]', device=None)
    assert [event.body for event in row] == [
        b"null",
        b"7",
        b'"text"',
        b'[{"event":"message:in:new"}]',
        b"true",
        b"{}",
    ]
    assert all(isinstance(event.content, Ignored) for event in row)
    assert len({event.identity for event in row}) == 6
    assert [event.identity for event in row] == [
        event.identity for event in parse_row(b'[null,7,"text",[{"event":"message:in:new"}],true,{}]', device=None)
    ]


def test_an_empty_row_has_no_events() -> None:
    assert list(parse_row(b" [ ] ", device=None)) == []


def test_elements_that_only_an_escape_can_spell() -> None:
    (event,) = parse_row(
        rb'[{"event": "message:in:new", "data": {"id": "A1", "body": "\ud83d \u00e9"}}]', device=None
    )
    assert parse(event.body) == event
    assert parse_row(b"[NaN, 1e400]", device=None)


def test_a_row_is_bounded_and_nothing_of_it_is_lost() -> None:
    extra = 3
    elements = [{"n": n} for n in range(MAX_ROW_EVENTS + extra)]
    row = parse_row(json.dumps(elements).encode(), device=None)
    assert len(row) == MAX_ROW_EVENTS + 1
    assert isinstance(row[-1].content, Ignored)
    assert json.loads(row[-1].body) == elements[-extra:]


@pytest.mark.parametrize("raw", [b"", b"null", b"1", b'"text"', b"[", b"[1,]", b"[" * 100_000, b"\xff\xfe[]"])
def test_no_row(raw: bytes) -> None:
    with pytest.raises(NotAnEventError, match=r"^(not JSON|neither a JSON object nor an array)$"):
        parse_row(raw, device=None)


# --- no shape at all --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"", b" ", b"null", b"true", b"7", b'"text"', b"[]", b"[{}]", b"NaN", b"{", b'{"event"', b"{'event': 1}",
        b"event=message%3Ain%3Anew", b"<xml/>", b"\x00", b"\xff\xfe{}", b'{"a": "\xff"}', b'{"a": "\xed\xa0\xbd"}',
        '{"event": "message:in:new"}'.encode("utf-16"), b"{}{}", b"{} x", b'{"a":}', b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a": ' + b"9" * 5000 + b"}", b'{"a": 1e}', b'{"a": 01}', b'{"a": "\n"}',
    ],
)  # fmt: skip
def test_not_an_event(raw: bytes) -> None:
    with pytest.raises(NotAnEventError, match=r"^not (JSON|a JSON object)$"):
        parse(raw)


STRANGE: list[Any] = [
    None, True, False, 0, -1, 10**17, 10**300, -(10**18), 1.5, 1e308, float("nan"), float("inf"), float("-inf"), "",
    " ", "x" * 100_000, "\x00", "\ud83d", "@", "_@_", "__@", "@g.us", [], [[]], [None], [{}], {}, {"": ""},
    {"id": {}},
]  # fmt: skip


@pytest.mark.parametrize("value", STRANGE, ids=lambda v: repr(v)[:12])
@pytest.mark.parametrize("name", [INBOUND, NESTED, ACK, SENT, FAILED, REACTION])
def test_a_strange_value_in_any_one_place(name: str, value: Any) -> None:
    body = payload(name)

    def spoil(place: Any) -> None:
        for key in list(place) if isinstance(place, dict) else range(len(place)):
            kept, place[key] = place[key], value
            raw = json.dumps(body).encode()
            can_be_stored(parse(raw))
            assert parse(raw).identity == parse(raw).identity
            place[key] = kept
            if isinstance(kept, dict | list) and key not in {"links", "meta", "metadata", "locationInfo", "owner"}:
                spoil(kept)

    spoil(body)


def can_be_stored(event: Event) -> None:
    """No half surrogates, no naive times, nothing unbounded but the body."""
    assert len(event.name) <= 64
    event.name.encode()
    content = event.content
    match content:
        case InboundMessage(message_id, sender, kind, text, quoted_id, at):
            texts, chat_ids, phone = [message_id, kind, text, quoted_id], sender.chat_ids, sender.phone
            assert chat_ids or phone
        case Reaction(message_id, sender, emoji, at):
            texts, chat_ids, phone = [message_id, emoji], sender.chat_ids, sender.phone
            assert chat_ids or phone
        case Receipt(_, reference, queue_id, wa_id, at, reason, recipient):
            texts, chat_ids, phone = [reference, queue_id, wa_id, reason], recipient.chat_ids, recipient.phone
            assert reference or queue_id or wa_id
        case Ignored(why):
            texts, chat_ids, phone, at = [why], (), None, None
        case DeviceChanged():
            texts, chat_ids, phone, at = [], (), None, None
        case _:
            assert_never(content)
    for found in (*texts, *chat_ids, phone):
        assert found is None or found.encode("utf-8") is not None
    assert at is None or at.tzinfo is UTC


# --- chance -----------------------------------------------------------------------------------------------------

few = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
many = settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))

KEYS = (
    "event", "id", "object", "created", "createdAt", "device", "data", "message", "chat", "contact", "wid", "waId",
    "lid", "phone", "from", "fromNumber", "to", "toNumber", "author", "fromMe", "flow", "type", "status", "ack",
    "deliveryStatus", "body", "text", "media", "caption", "quoted", "quotedMessage", "reactions", "reaction", "emoji",
    "reactionMessage", "messageId", "reference", "date", "timestamp", "sentAt", "deliveredAt", "readAt", "failedAt",
    "events", "sent", "delivered", "read", "failed", "meta", "isGroup", "isNotification", "error", "failureReason",
    "failureCode",
)  # fmt: skip
EVENTS = (*SUBSCRIBED_EVENTS, "message:out:delivered", "message:out:read", "chat:update")
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**25), 10**25)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["\ud83d", "\udc00", "_", "@", "0", "-1", "9" * 19, "9" * 25, "0001-01-01T00:00:00+23:59"])
    | st.sampled_from([CONTACT, LID, PHONE, WA_ID, QUEUE_ID, f"true_{CONTACT}_{WA_ID}", "x@g.us", "status@broadcast"])
    | st.sampled_from(
        ["inbound", "outbound", "text", "reaction", "chat", "group", "sent", "read", "failed", "queued"]
    )
    | st.sampled_from([1765642500, 1765642500000, "2025-12-13T16:15:00.000Z"])
    | st.datetimes().map(datetime.isoformat)
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=8),
    max_leaves=10,
)
objects = st.dictionaries(st.sampled_from(KEYS), values, max_size=15)
envelopes = st.builds(
    lambda rest, name, data: rest | {"event": name, "data": data},
    objects,
    st.sampled_from(EVENTS) | leaves,
    objects | st.builds(lambda rest, message: rest | {"message": message}, objects, objects) | values,
)
captured = st.sampled_from([payload(name) for name in (INBOUND, NESTED, ACK, SENT, FAILED, REACTION)])


@st.composite
def spoiled(draw: st.DrawFn) -> Body:
    """A known body with some of its fields, at any depth, replaced by anything."""
    body: Body = deepcopy(draw(captured))
    for _ in range(draw(st.integers(1, 5))):
        place: Any = body
        while isinstance(place, dict) and place:
            key = draw(st.sampled_from(sorted(place)))
            if not isinstance(place[key], dict) or not place[key] or draw(st.booleans()):
                place[key] = draw(values)
                break
            place = place[key]
    return body


def only_refuses(raw: bytes) -> None:
    """Whatever the bytes: events that can be stored and are the same each time, or `NotAnEventError`."""
    try:
        row = parse_row(raw, device=None)
    except NotAnEventError:
        return
    assert [event.identity for event in row] == [event.identity for event in parse_row(raw, device=None)]
    for event in row:
        can_be_stored(event)
        json.loads(event.body.decode("utf-8-sig"))


def understands_any_object(body: Body) -> None:
    """JSON of any values is an event, in both spellings of what is not ASCII."""
    only_refuses(json.dumps([body, body.get("data")]).encode())
    only_refuses(json.dumps(body).encode())
    only_refuses(json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    assert parse(json.dumps(body).encode()).body


@few
@given(st.binary() | st.text().map(str.encode))
def test_any_bytes(raw: bytes) -> None:
    only_refuses(raw)


@few
@given(st.sampled_from([INBOUND, ACK, REACTION]), st.data())
def test_known_bytes_with_some_changed(name: str, data: st.DataObject) -> None:
    raw = bytearray((PAYLOADS / name).read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=4)):
        raw[at] = data.draw(st.integers(0, 255))
    only_refuses(bytes(raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw))


@few
@given(envelopes)
def test_any_json_under_known_names(body: Body) -> None:
    understands_any_object(body)


@few
@given(spoiled())
def test_known_bodies_with_any_values(body: Body) -> None:
    understands_any_object(body)


@pytest.mark.soak
@many
@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_for_long(raw: bytes) -> None:
    only_refuses(raw)


@pytest.mark.soak
@many
@given(envelopes | spoiled())
def test_any_json_for_long(body: Body) -> None:
    understands_any_object(body)

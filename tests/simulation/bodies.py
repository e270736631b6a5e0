"""What the provider says, as JSON: the shapes of the payload files with other people, words and times."""

import json
from datetime import datetime
from typing import Any

from tests.simulation.ledger import Message, Person, Shown, Stage, Word
from tests.simulation.world import Account
from tests.support import payload
from wamsg2.model import ReceiptStatus

Json = dict[str, Any]

_INBOUND = payload("message_in_new.text.json")
_NESTED = payload("message_in_new.nested.unverified.json")
_REACTION = payload("message_reaction.guess.json")
_ACK = payload("message_out_ack.reconstructed.json")
_SENT = payload("message_out_sent.reconstructed.json")
DEVICE: str = _INBOUND["device"]["id"]
#: Another device of the account, which has nothing to do with us.
_OTHER_DEVICE: Json = _INBOUND["device"] | {
    "id": "68fd1067b488de07029f0002",
    "phone": "+5215600000099",
    "alias": "Support",
}
_OTHER_CHAT_ID = "5215600000099@c.us"
_DEVICE = payload("get_devices.item.reconstructed.json")
#: What no reader looks at, and every reader would have to skip.
_BULK = ("info", "locationInfo", "metadata", "image")
_CHAT: Json = _INBOUND["data"]["chat"]
_CONTACT = {key: value for key, value in _CHAT["contact"].items() if key not in _BULK}
#: Of the queue entity: what depends on how far the message got.
_PROGRESS = ("sentAt", "failureReason", "waId")
_QUEUED = {key: value for key, value in _SENT["data"].items() if key not in _PROGRESS}

_STATUS = {
    Stage.QUEUED: "queued",
    Stage.SENT: "sent",
    Stage.FAILED: "failed",
    Stage.DELIVERED: "delivered",
    Stage.READ: "read",
}


def iso(moment: datetime) -> str:
    """A time as the provider writes it."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _chat(person: Person, shown: Shown) -> Json:
    if shown is Shown.LID:
        contact = _CONTACT | {"wid": person.lid, "phone": None}
        return _CHAT | {"id": person.lid, "lid": person.lid, "contact": contact}
    contact = _CONTACT | {"wid": person.chat_id, "phone": person.number}
    lid = person.lid if shown is Shown.ALL else None
    return _CHAT | {"id": person.chat_id, "lid": lid, "contact": contact}


def inbound(word: Word, *, is_blank: bool = False) -> Json:
    """A chat message that somebody wrote; a blank one has its words later, under the same id."""
    person, hidden = word.person, word.shown is Shown.LID
    entity: Json = _INBOUND["data"] | {
        "id": word.wa_id,
        "from": person.lid if hidden else person.chat_id,
        "fromNumber": None if hidden else person.number,
        "date": iso(word.written_at),
        "timestamp": int(word.written_at.timestamp()),
        "type": "ciphertext" if is_blank else "text",
        "body": None if is_blank else word.text,
        "chat": _chat(person, word.shown),
    }
    if word.to_other_device:
        entity |= {"to": _OTHER_CHAT_ID, "toNumber": _OTHER_DEVICE["phone"]}
    return entity | ({"quoted": {"id": word.quotes.wa_id}} if word.quotes else {})


def inbound_event(word: Word, *, is_blank: bool = False) -> bytes:
    """Its webhook."""
    about = {"id": word.wa_id, "created": int(word.written_at.timestamp()), "data": inbound(word, is_blank=is_blank)}
    device = {"device": _OTHER_DEVICE} if word.to_other_device else {}
    return _bytes(_INBOUND | about | device)


def nested_inbound_event(word: Word) -> bytes:
    """Its webhook in the shape that the vendor's newest example shows; it names the sender by number."""
    person = word.person
    message = _NESTED["data"]["message"] | {
        "id": word.wa_id,
        "chat": person.chat_id,
        "from": person.number[1:],
        "body": word.text,
        "timestamp": iso(word.written_at),
    }
    chat = _NESTED["data"]["chat"] | {"id": person.chat_id, "contact": {"name": person.name, "phone": person.number}}
    data = {"message": message, "chat": chat}
    about = {"id": f"evt_{word.wa_id}", "createdAt": iso(word.written_at), "device": DEVICE}
    return _bytes(_NESTED | about | {"data": data})


def reaction_event(message: Message, at: datetime) -> bytes:
    """The webhook of a reaction to a message of ours."""
    person = message.attempt.person
    data = _REACTION["data"] | {
        "id": message.wa_id,
        "from": person.chat_id,
        "fromNumber": person.number,
        "chat": _chat(person, Shown.ALL),
        "reactions": [{"reaction": "👍", "from": person.chat_id, "date": iso(at)}],
    }
    return _bytes(_REACTION | {"id": message.wa_id, "created": int(at.timestamp()), "data": data})


def queued(message: Message, stage: Stage, *, with_wa_id: bool = True) -> Json:
    """The outbound queue's view of a message of ours."""
    person, status = message.attempt.person, _STATUS[stage]
    entity = _QUEUED | {
        "device": DEVICE,
        "id": message.queue_id,
        "phone": message.attempt.person.written,
        "wid": person.chat_id,
        "status": status,
        "deliveryStatus": status,
        "message": message.text,
        "reference": message.attempt.reference,
    }
    if with_wa_id:
        entity["waId"] = message.wa_id
    if stage is Stage.FAILED:
        entity["failureReason"] = "recipient is not a WhatsApp user"
    elif stage is not Stage.QUEUED and message.sent_at:
        entity["sentAt"] = iso(message.sent_at)
    return entity


def queue_event(message: Message, stage: Stage, at: datetime) -> bytes:
    """The webhook of a message of ours that has left, or failed."""
    about = {"id": message.queue_id, "event": _queue_event_name(stage), "created": int(at.timestamp())}
    return _bytes(_SENT | about | {"data": queued(message, stage)})


def row_event(message: Message, stage: Stage, at: datetime) -> bytes:
    """The same as an element of a row of events: without an envelope, and the device in full."""
    data = queued(message, stage) | {"device": _INBOUND["device"] | {"status": "operative"}, "failedAt": None}
    about = {"event": _queue_event_name(stage), "date": iso(at), "entity": "message", "entityId": message.queue_id}
    return _bytes(about | {"data": data})


def _queue_event_name(stage: Stage) -> str:
    return "message:out:failed" if stage is Stage.FAILED else "message:out:sent"


def chat_event(message: Message, at: datetime) -> bytes:
    """The webhook of a message of ours as WhatsApp shows it in the chat: it knows nothing of our reference."""
    return _bytes(_ACK | _of_chat(message, "pending", at) | {"event": "message:out:new"})


def other_devices_event(message: Message, wa_id: str, at: datetime) -> bytes:
    """The webhook of the same words, which somebody sent to the same person from another device of the account."""
    about = _of_chat(message, "sent", at)
    about["data"] |= {"id": wa_id, "from": _OTHER_CHAT_ID, "fromNumber": _OTHER_DEVICE["phone"]}
    return _bytes(_ACK | about | {"id": wa_id, "event": "message:out:new", "device": _OTHER_DEVICE})


def ack_event(message: Message, status: ReceiptStatus, at: datetime, *, with_lid: bool) -> bytes:
    """WhatsApp's word on a message of ours, by WhatsApp's id alone."""
    return _bytes(_ACK | _of_chat(message, status.value, at, Shown.ALL if with_lid else Shown.NUMBER))


def _of_chat(message: Message, ack: str, at: datetime, shown: Shown = Shown.NUMBER) -> Json:
    person, sent_at = message.attempt.person, message.sent_at or at
    data = _ACK["data"] | {
        "id": message.wa_id,
        "ack": ack,
        "to": person.chat_id,
        "toNumber": person.number,
        "body": message.text,
        "date": iso(sent_at),
        "timestamp": int(sent_at.timestamp()),
        "events": {},
        "chat": _chat(person, shown),
    }
    return {"id": message.wa_id, "created": int(at.timestamp()), "data": data}


def devices_entity(account: Account, *, is_online: bool) -> Json:
    """Our device, as the provider shows it."""
    session = _DEVICE["session"] | {"status": "online" if is_online else "offline"}
    settings = _DEVICE["settings"] | {"retentionPolicy": account.retention_policy}
    return _DEVICE | {"id": DEVICE, "session": session, "settings": settings}


def _bytes(body: Json) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()

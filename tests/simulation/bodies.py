"""What the provider says, as JSON: the shapes of the payload files with other people, words and times."""

import json
from datetime import datetime
from typing import Any

from tests.simulation.ledger import Message, Person, Shown, Stage, Word
from tests.support import payload
from wamsg2.model import ReceiptStatus

Json = dict[str, Any]

_INBOUND = payload("message_in_new.text.json")
_NESTED = payload("message_in_new.nested.unverified.json")
_REACTION = payload("message_reaction.guess.json")
_ACK = payload("message_out_ack.reconstructed.json")
_SENT = payload("message_out_sent.reconstructed.json")
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


def inbound(word: Word) -> Json:
    """A chat message that somebody wrote."""
    person, hidden = word.person, word.shown is Shown.LID
    entity: Json = _INBOUND["data"] | {
        "id": word.wa_id,
        "from": person.lid if hidden else person.chat_id,
        "fromNumber": None if hidden else person.number,
        "date": iso(word.written_at),
        "timestamp": int(word.written_at.timestamp()),
        "body": word.text,
        "chat": _chat(person, word.shown),
    }
    return entity | ({"quoted": {"id": word.quotes.wa_id}} if word.quotes else {})


def inbound_event(word: Word) -> bytes:
    """Its webhook."""
    return _bytes(_INBOUND | {"id": word.wa_id, "created": int(word.written_at.timestamp()), "data": inbound(word)})


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
    return _bytes(_NESTED | {"id": f"evt_{word.wa_id}", "createdAt": iso(word.written_at), "data": data})


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
    name = "message:out:failed" if stage is Stage.FAILED else "message:out:sent"
    about = {"id": message.queue_id, "event": name, "created": int(at.timestamp())}
    return _bytes(_SENT | about | {"data": queued(message, stage)})


def ack_event(message: Message, status: ReceiptStatus, at: datetime, *, with_lid: bool) -> bytes:
    """WhatsApp's word on a message of ours, by WhatsApp's id alone."""
    person = message.attempt.person
    data = _ACK["data"] | {
        "id": message.wa_id,
        "ack": status.value,
        "to": person.chat_id,
        "toNumber": person.number,
        "chat": _chat(person, Shown.ALL if with_lid else Shown.NUMBER),
    }
    return _bytes(_ACK | {"id": message.wa_id, "created": int(at.timestamp()), "data": data})


def _bytes(body: Json) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()

"""What every event says around its message: whose it is, of which device, and when it was made."""

import re
from datetime import datetime
from typing import TypeAlias

from wamsg2 import phone
from wamsg2.model import Sender
from wamsg2.wassenger.fields import Json, JsonObject, chat_ids, moment, obj, phone_number, text

#: What makes an event the one that it is, whatever its envelope; empty: its body.
Said: TypeAlias = tuple[str | None, ...]

_NOT_DIRECT = ("@g.us", "@newsletter", "@broadcast")
_NOT_DIRECT_FLAGS = ("isGroup", "isChannel", "isBroadcast", "isNotification", "isBizNotification", "isPSA")
_DEVICE_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)


def flow_of(message: JsonObject) -> str | None:
    """`inbound`, `outbound`, another word, or None where nothing tells who wrote the message."""
    flow = text(message.get("flow"))
    if flow is None and isinstance(message.get("fromMe"), bool):
        return "outbound" if message["fromMe"] else "inbound"
    return {"in": "inbound", "out": "outbound"}.get(flow or "", flow)


def created(envelope: JsonObject) -> datetime | None:
    """When the event was made."""
    return moment(envelope.get("created"), envelope.get("createdAt"), envelope.get("date"))


def meta_of(data: JsonObject, message: JsonObject) -> JsonObject:
    """The flags of a message."""
    return obj(message.get("meta")) or obj(data.get("meta"))


def person(data: JsonObject, message: JsonObject, *names: Json) -> Sender:
    """The person of a direct chat, from all places that may name them; `names` are their own fields."""
    chat = _chat(data, message)
    contact = obj(chat.get("contact"))
    return sender(
        [*names, message.get("chat"), chat.get("id"), chat.get("lid"), contact.get("wid")],
        [*names, contact.get("phone")],
    )


def sender(ids: list[Json], numbers: list[Json]) -> Sender:
    """A person by whatever names them. The digits of their ``@lid`` are no number, wherever they stand."""
    found = chat_ids(*ids)
    hidden = {_digits_of(chat_id) for chat_id in found if chat_id.endswith("@lid")}
    shown = tuple(c for c in found if c.endswith("@lid") or _digits_of(c) not in hidden)
    told = (number for value in numbers if (number := phone_number(value)) and number[1:] not in hidden)
    return Sender(shown, next(told, None))


def _digits_of(chat_id: str) -> str:
    return chat_id.partition("@")[0].partition(":")[0]


def is_direct(data: JsonObject, message: JsonObject, person: Sender) -> bool:
    """Whether the message is of a chat with one person, and no notification of the system."""
    meta = meta_of(data, message)
    chat_type = text(_chat(data, message).get("type"))
    return (
        not any(meta.get(flag) is True for flag in _NOT_DIRECT_FLAGS)
        and chat_type in (None, "chat", "user")
        and text(message.get("mtype")) in (None, "message")
        and not any(chat_id.endswith(_NOT_DIRECT) for chat_id in person.chat_ids)
    )


def _chat(data: JsonObject, message: JsonObject) -> JsonObject:
    return obj(data.get("chat")) or obj(message.get("chat"))


def own_number(envelope: JsonObject) -> str | None:
    """The number of the device that the event is of."""
    return phone_number(obj(envelope.get("device")).get("phone"))


def is_of_another_device(envelope: JsonObject, data: JsonObject, message: JsonObject, device: str | None) -> bool:
    """Whether the event is of another device of the account than ours, as far as it tells.

    The samples of the vendor name a device that the message was not written to: where the device is named, the
    number is not looked at.
    """
    if device is None:
        return False
    places = [envelope.get("device"), data.get("device"), message.get("device")]
    if text(envelope.get("event")) == "number:session":
        places.append(data.get("id"))
    for place in places:
        named = (text(place) or text(obj(place).get("id")) or "").lower()
        if _DEVICE_ID.fullmatch(named):
            return named != device.lower()
    if flow_of(message) == "outbound":
        return False
    own, written_to = own_number(envelope), phone_number(message.get("toNumber"))
    return own is not None and written_to is not None and phone.key(own) != phone.key(written_to)

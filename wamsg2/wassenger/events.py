"""Webhook bodies into the domain's words.

Accepts every shape that any source shows: flat (all real captures) and nested (`data.message` is an object), times
as whole seconds or ISO, absent bodies, `@lid` senders, several events in one body. What it does not know is
`Ignored`, never an error.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from wamsg2.masking import mask_text
from wamsg2.model import (
    DeviceChanged,
    Event,
    Ignored,
    InboundMessage,
    Reaction,
    Receipt,
    ReceiptStatus,
    Sender,
)
from wamsg2.wassenger.fields import (
    Json,
    JsonObject,
    chat_ids,
    dump,
    first,
    is_queue_id,
    load,
    message_id,
    moment,
    obj,
    phone_number,
    text,
)

#: The events to register a webhook for; a validating server refuses names that it does not know.
SUBSCRIBED_EVENTS = (
    "message:in:new",
    "message:out:new",
    "message:out:sent",
    "message:out:ack",
    "message:out:failed",
    "message:update",
    "message:reaction",
    "number:session",
)

#: Each accepted one brings something that a person wrote.
INBOUND_EVENTS = ("message:in:new", "message:reaction")

_NOT_DIRECT = ("@g.us", "@newsletter", "@broadcast")
_NOT_DIRECT_FLAGS = ("isGroup", "isChannel", "isBroadcast", "isNotification", "isBizNotification", "isPSA")
_SYSTEM_TYPES = frozenset(
    {"notification", "e2e_notification", "notification_template", "gp2", "protocol", "call_log"}
)
_ID_KEYS = ("id", "wid", "waId")
_REASON_LIMIT_CHARACTERS = 200

# Every name that any source gives to a state of an outbound message. Whatever lies before `sent` proves that the
# provider accepted it, which is what our `sent` means.
_RECEIPT_STATUS = {
    "pending": ReceiptStatus.SENT,
    "queued": ReceiptStatus.SENT,
    "processing": ReceiptStatus.SENT,
    "processed": ReceiptStatus.SENT,
    "server": ReceiptStatus.SENT,
    "sent": ReceiptStatus.SENT,
    "device": ReceiptStatus.DELIVERED,
    "delivered": ReceiptStatus.DELIVERED,
    "read": ReceiptStatus.READ,
    "played": ReceiptStatus.READ,
    "failed": ReceiptStatus.FAILED,
    "error": ReceiptStatus.FAILED,
    "-1": ReceiptStatus.FAILED,
    "0": ReceiptStatus.SENT,
    "1": ReceiptStatus.SENT,
    "2": ReceiptStatus.DELIVERED,
    "3": ReceiptStatus.READ,
    "4": ReceiptStatus.READ,
}
_ORDER = (ReceiptStatus.SENT, ReceiptStatus.FAILED, ReceiptStatus.DELIVERED, ReceiptStatus.READ)
_RECEIPT_EVENTS = {
    "message:out:new": ReceiptStatus.SENT,
    "message:out:sent": ReceiptStatus.SENT,
    "message:out:ack": None,
    "message:out:failed": ReceiptStatus.FAILED,
    "message:out:delivered": ReceiptStatus.DELIVERED,
    "message:out:read": ReceiptStatus.READ,
    "message:update": None,
}


#: As many of the smallest real events fit into a body. The rest of a longer row is kept as one event.
MAX_ROW_EVENTS = 5000


class NotAnEventError(ValueError):
    """The body is neither a JSON object nor a JSON array."""


def parse_row(body: bytes) -> Sequence[Event]:
    """Understand a webhook body: an object is one event, an array one event for each of its elements.

    Wassenger sends ``message:out:sent`` and ``message:out:failed`` as arrays. An element is an event of its own, with
    its own JSON as its body; one that is no object is `Ignored`.

    Raises:
        NotAnEventError: neither an object nor an array in UTF-8. Nothing else raises, whatever the bytes.
    """
    parsed = _load(body)
    if isinstance(parsed, dict):
        return [_understand(parsed, body)]
    if not isinstance(parsed, list):
        raise NotAnEventError("neither a JSON object nor an array")
    taken, rest = parsed[:MAX_ROW_EVENTS], parsed[MAX_ROW_EVENTS:]
    try:
        row = [
            _understand(element, dump(element)) if isinstance(element, dict) else _ignored(dump(element), "no object")
            for element in taken
        ]
        return [*row, _ignored(dump(rest), f"behind the first {MAX_ROW_EVENTS} of its row")] if rest else row
    except ValueError:
        raise NotAnEventError("not JSON") from None


def parse(body: bytes) -> Event:
    """Understand one event.

    Raises:
        NotAnEventError: not a JSON object in UTF-8. Nothing else raises, whatever the bytes.
    """
    envelope = _load(body)
    if not isinstance(envelope, dict):
        raise NotAnEventError("not a JSON object")
    return _understand(envelope, body)


def _load(body: bytes) -> Json:
    try:
        return load(body)
    except ValueError:
        raise NotAnEventError("not JSON") from None


def _ignored(body: bytes, why: str) -> Event:
    return Event("unknown", _identity("unknown", (), body), body, Ignored(why))


def _understand(envelope: JsonObject, body: bytes) -> Event:
    name = (text(envelope.get("event")) or "unknown")[:64]
    data = obj(envelope.get("data"))
    message = obj(data.get("message")) or data
    content: InboundMessage | Reaction | Receipt | DeviceChanged | Ignored
    said: tuple[str | None, ...]
    if name == "message:in:new":
        content, said = _inbound(envelope, data, message)
    elif name == "message:reaction":
        content, said = _reaction(envelope, data, message)
    elif name in _RECEIPT_EVENTS:
        content, said = _receipt(name, envelope, data, message)
    elif name == "number:session":
        content, said = DeviceChanged(), ()
    else:
        content, said = Ignored("event not needed"), ()
    return Event(name, _identity(name, said, body), body, content)


def _identity(name: str, said: tuple[str | None, ...], body: bytes) -> bytes:
    """Equal for events that say the same; the envelope's `id` is no help, different events share it."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (name, *said) if said else (name, hashlib.blake2b(body).hexdigest()):
        digest.update(f"{len(part or '')}:{part or ''}".encode())
    return digest.digest()


def _chat(data: JsonObject, message: JsonObject) -> JsonObject:
    return obj(data.get("chat")) or obj(message.get("chat"))


def _person(data: JsonObject, message: JsonObject, *names: Json) -> Sender:
    """The person of a direct chat, from all places that may name them; `names` are their own fields."""
    chat = _chat(data, message)
    contact = obj(chat.get("contact"))
    ids = chat_ids(*names, message.get("chat"), chat.get("id"), chat.get("lid"), contact.get("wid"))
    return Sender(ids, phone_number(*names, contact.get("phone")))


def _is_direct(data: JsonObject, message: JsonObject, person: Sender) -> bool:
    meta = obj(message.get("meta")) or obj(data.get("meta"))
    chat_type = text(_chat(data, message).get("type"))
    return (
        not any(meta.get(flag) is True for flag in _NOT_DIRECT_FLAGS)
        and chat_type in (None, "chat", "user")
        and not any(chat_id.endswith(_NOT_DIRECT) for chat_id in person.chat_ids)
    )


def _own_number(envelope: JsonObject) -> str | None:
    return phone_number(obj(envelope.get("device")).get("phone"))


_Said = tuple[str | None, ...]


def _inbound(
    envelope: JsonObject, data: JsonObject, message: JsonObject
) -> tuple[InboundMessage | Reaction | Ignored, _Said]:
    person = _person(data, message, message.get("fromNumber"), message.get("phone"), message.get("from"))
    kind = text(message.get("type")) or "text"
    if text(message.get("flow")) not in (None, "inbound") or message.get("fromMe") is True:
        return Ignored("our own message"), ()
    if not _is_direct(data, message, person) or kind in _SYSTEM_TYPES or kind.startswith(("group", "channel")):
        return Ignored("not a message in a direct chat"), ()
    if not person.chat_ids and not person.phone:
        return Ignored("no sender"), ()
    own = _own_number(envelope)
    if own and own in (person.phone, phone_number((text(message.get("from")) or "").partition("@")[0])):
        return Ignored("our own message"), ()
    if kind == "reaction":
        return _reaction(envelope, data, message)
    wa_id = message_id(message.get("id"), message.get("wid"), message.get("waId"))
    quoted = message.get("quoted") or message.get("quotedMessage")
    caption = obj(message.get("media")).get("caption")
    inbound = InboundMessage(
        wa_id or "",
        person,
        kind[:32],
        first(message.get("body"), caption, message.get("text")) or "",
        message_id(quoted if isinstance(quoted, str) else None, *map(obj(quoted).get, _ID_KEYS)),
        moment(
            message.get("timestamp"), message.get("date"), envelope.get("created"), envelope.get("createdAt")
        ),
    )  # fmt: skip
    return inbound, (wa_id,) if wa_id else ()


def _reaction(envelope: JsonObject, data: JsonObject, message: JsonObject) -> tuple[Reaction | Ignored, _Said]:
    listed = message.get("reactions")
    last = obj(listed[-1]) if isinstance(listed, list) and listed else {}
    reactor = (last.get("fromNumber"), last.get("from"), last.get("author"))
    if not any(map(text, reactor)):
        if text(message.get("flow")) == "outbound":
            return Ignored("our own reaction"), ()
        reactor = (message.get("fromNumber"), message.get("from"), message.get("author"))
    own = Sender(chat_ids(*reactor), phone_number(*reactor))
    chat_phone = phone_number(own.chat_ids[0].partition("@")[0]) if own.chat_ids else None
    if _own_number(envelope) is not None and _own_number(envelope) in (own.phone, chat_phone):
        return Ignored("our own reaction"), ()
    person = _person(data, message, *reactor)
    if not _is_direct(data, message, person):
        return Ignored("not in a direct chat"), ()
    quoted = message.get("quoted")
    target = message_id(
        message.get("reactionMessage"), message.get("messageId"), *map(obj(quoted).get, ("id", "wid")),
        message.get("id"),
    )  # fmt: skip
    if target is None or not (person.chat_ids or person.phone):
        return Ignored("no message or no person"), ()
    emoji = first(last.get("reaction"), last.get("emoji"), last.get("text"), message.get("reaction")) or ""
    at = moment(last.get("date"), last.get("timestamp"), envelope.get("created"), envelope.get("createdAt"))
    reaction = Reaction(target, person, emoji[:16], at)
    return reaction, (target, person.phone or person.chat_ids[0], emoji, at.isoformat() if at else None)


def _receipt(
    name: str, envelope: JsonObject, data: JsonObject, message: JsonObject
) -> tuple[Receipt | Ignored, _Said]:
    if text(message.get("flow")) == "inbound" or message.get("fromMe") is False:
        return Ignored("not about our message"), ()
    person = _person(data, message, message.get("toNumber"), message.get("phone"), message.get("wid"))
    if not _is_direct(data, message, person):
        return Ignored("not in a direct chat"), ()
    base = _RECEIPT_EVENTS[name]
    status = base if base is ReceiptStatus.FAILED else _furthest(receipt_status(message), base)
    if status is None:
        return Ignored("no delivery status"), ()
    queue_id, wa_id = _ids(message)
    reference = text(message.get("reference")) or text(data.get("reference"))
    if not (queue_id or wa_id or reference):
        return Ignored("no message id"), ()
    at = _receipt_time(status, envelope, message)
    receipt = Receipt(status, reference, queue_id, wa_id, at, failure_reason(message), person)
    # When it was sent is news: what a look-up found in the provider's queue was told without a time.
    sent_at = at.isoformat() if at and status is ReceiptStatus.SENT else None
    return receipt, (queue_id, wa_id, reference, status.value, sent_at)


def receipt_status(message: JsonObject) -> ReceiptStatus | None:
    """How far the provider says that a message of ours got; open enums, so None for words nobody knows."""
    names = (first(message.get(key)) for key in ("deliveryStatus", "ack", "status"))
    return _furthest(*(_RECEIPT_STATUS.get(name.lower()) for name in names if name))


def _furthest(*statuses: ReceiptStatus | None) -> ReceiptStatus | None:
    return max((s for s in statuses if s), key=_ORDER.index, default=None)


def _ids(message: JsonObject) -> tuple[str | None, str | None]:
    """Queue id and WhatsApp id: which of them `id` is depends on the entity (queue or chat message)."""
    own, wa_id = message_id(message.get("id")), message_id(message.get("waId"))
    if own and (is_queue_id(own) or (wa_id and own != wa_id)):
        return own, wa_id
    return None, wa_id or own


def _receipt_time(status: ReceiptStatus, envelope: JsonObject, message: JsonObject) -> datetime | None:
    happened = obj(message.get("events"))
    told = (message.get(f"{status.value}At"), obj(happened.get(status.value)).get("date"))
    if status is ReceiptStatus.SENT:  # the entity's own date is when it was sent
        return moment(*told, message.get("timestamp"), message.get("date"))
    return moment(*told, envelope.get("created"), envelope.get("createdAt"), envelope.get("date"))


def failure_reason(message: JsonObject) -> str | None:
    """Why the provider says that a message failed: short, without numbers of people."""
    error = message.get("error")
    reason = first(message.get("failureReason"), error, obj(error).get("message"), message.get("failureCode"))
    return mask_text(reason)[:_REASON_LIMIT_CHARACTERS] if reason else None

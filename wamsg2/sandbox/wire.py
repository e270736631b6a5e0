"""The JSON that Wassenger sends: entities in answers, and the events of its webhooks."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from wamsg2.sandbox.state import AcceptedMessage, ChatMessage, new_id, now

Json = dict[str, object]

ALIAS = "Sandbox"
PLAN = "io-professional"
USER = "5f71e36254800f533ab70001"
#: When this world began, for dates that mean nothing here.
BEGINNING = "2025-10-01T00:00:00.000Z"

FLAGS = (
    *("containsEmoji", "isBizNotification", "isBroadcast", "isChannel", "isDoc", "isEphemeral", "isFailed"),
    *("isForwarded", "isGif", "isGroup", "isLinkPreview", "isLive", "isNotification", "isPSA", "isRevoked"),
    *("isStar", "isUnreadType", "rtl"),
)
OWNER = (
    *("agent", "department", "previousDepartment", "departmentAssigner", "departmentUpdatedAt"),
    *("autoAssignDepartment", "autoAssignDepartmentAt"),
)


#: How far the queue got with a message; of one that has left it, ``deliveryStatus`` says more.
#: The words for a message that the queue dropped, by which events tell of it where there are such.
DROPPED = {"expired": "message:out:expired", "removed": "message:out:removed", "invalid": None, "cancelled": None}
QUEUE_STATUS = {"queued": "queued", "failed": "failed"} | {word: word for word in DROPPED}
#: The events that come as an array, whether of one or of several messages.
ROW_EVENTS = frozenset({"message:out:sent", "message:out:failed"})


@dataclass(frozen=True, slots=True)
class Device:
    """The one WhatsApp number of a sandbox."""

    id: str  #: 24 hex
    phone: str  #: E.164 with ``+``
    retention_policy: str = "plan_defaults"

    @property
    def wid(self) -> str:
        """Its WhatsApp address."""
        return wid_of(self.phone)


@dataclass(frozen=True, slots=True)
class Shape:
    """How a contact's messages look: the variants that were seen or that are feared."""

    is_lid: bool = False  #: the sender is ``…@lid`` and the phone is in no field
    is_nested: bool = False  #: the body is ``data.message``, as only one source has it
    has_null_body: bool = False
    has_lid_number: bool = False  #: with ``is_lid``: ``fromNumber`` repeats the digits of the address
    word: str | None = None  #: of an acknowledgement, where it stands around the entity only


def iso(at: datetime) -> str:
    """ISO 8601 with milliseconds and ``Z``."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def wid_of(phone: str) -> str:
    """The WhatsApp address of a phone."""
    return f"{phone.removeprefix('+')}@c.us"


def lid_of(phone: str) -> str:
    """The private address of a contact: always the same, and says nothing about the phone."""
    digest = hashlib.sha256(phone.encode()).digest()
    return f"18{int.from_bytes(digest[:8]) % 10**13:013d}@lid"


def queue_entity(message: AcceptedMessage) -> Json:
    """A message of the outbound queue, as in answers, ``message:out:sent`` and ``message:out:failed``."""
    entity: Json = {"id": message.id}
    if message.shows_wa_id:
        entity["waId"] = message.wa_id
    entity |= {
        "phone": message.phone,
        "wid": message.wid,
        "status": QUEUE_STATUS.get(message.status, "processed"),
        "deliveryStatus": message.status,
        "createdAt": iso(message.accepted_at),
        "deliverAt": iso(message.accepted_at),
        "message": message.message,
        "priority": message.priority,
        "retentionPolicy": "plan_defaults",
        "retry": {"count": 0},
        "webhookStatus": "pending",
        "device": message.device,
    }
    if message.sent_at is not None:
        entity["sentAt"] = iso(message.sent_at)
    if message.failure_reason is not None:
        entity["failureReason"] = message.failure_reason
    if message.reference is not None:
        entity["reference"] = message.reference
    return entity


def chat_entity(message: ChatMessage, device: Device, shape: Shape = Shape()) -> Json:
    """A message of a chat, as in ``message:in:new``, ``message:out:ack``, ``message:reaction`` and in look-ups."""
    contact_wid = lid_of(message.phone) if shape.is_lid else wid_of(message.phone)
    seconds = int(message.at.timestamp())
    date = iso(message.at.replace(microsecond=0))  # WhatsApp's times are whole seconds
    is_inbound = message.flow == "inbound"
    contact: Json = {"wid": contact_wid, "number": None if shape.is_lid else message.phone}
    ours: Json = {"wid": device.wid, "number": device.phone}
    sender, recipient = (contact, ours) if is_inbound else (ours, contact)
    entity: Json = {
        "id": message.wa_id,
        "type": message.type,
        "flow": message.flow,
        "status": "active",
        "ack": message.ack if shape.word is None else None,
        "from": sender["wid"],
        "fromNumber": sender["number"],
        "to": recipient["wid"],
        "toNumber": recipient["number"],
        "date": date,
        "timestamp": seconds,
        "body": None if shape.has_null_body else message.body,
        "chat": _chat(message, contact_wid, device, shape),
        "events": {} if is_inbound else {"sent": {"date": date}},
        "meta": _meta(is_inbound=is_inbound),
        "links": _links(device, contact_wid, message.wa_id),
    }
    if shape.is_lid:
        del entity["fromNumber" if is_inbound else "toNumber"]
        if shape.has_lid_number and is_inbound:
            entity["fromNumber"] = f"+{contact_wid.partition('@')[0]}"
    if message.quoted is not None:
        entity["quoted"] = _quoted(message.quoted)
    if message.reaction is not None:
        entity["reactions"] = [{"reaction": message.reaction, "from": contact_wid, "date": iso(now())}]
    return entity


def queue_event(name: str, message: AcceptedMessage, device: Device) -> Json:
    """One element of ``message:out:sent`` or ``message:out:failed``; its ids are the queue's."""
    processed_at = message.sent_at or message.failed_at
    data = queue_entity(message) | {
        "failedAt": message.failed_at and iso(message.failed_at),
        "processedAt": processed_at and iso(processed_at),
        "schedule": {"enabled": False},
        "device": {
            "id": device.id,
            "phone": device.phone,
            "alias": ALIAS,
            "description": "",
            "status": "operative",
            "session": {"status": "online", "error": False, "lastSyncAt": BEGINNING},
            "createdAt": BEGINNING,
            "queue": {"total": 100, "size": 0, "available": 100},
        },
    }
    return {
        "event": name,
        "date": iso(now()),
        "entity": "message",
        "entityId": message.id,
        "entityUrl": f"https://api.wassenger.com/v1/messages/{message.id}",
        "user": USER,
        "data": data,
    }


def chat_event(name: str, message: ChatMessage, device: Device, shape: Shape = Shape()) -> Json:
    """``message:in:new``, ``message:out:new``, ``message:out:ack`` or ``message:reaction``; ids are WhatsApp's."""
    if shape.is_nested and name == "message:in:new":
        return _nested_event(message, device, shape)
    word: Json = {} if shape.word is None else {"ack": shape.word}
    return _envelope(name, message.wa_id, device) | word | {"data": chat_entity(message, device, shape)}


def session_event(device: Device, *, is_online: bool) -> Json:
    """``number:session``: a guess, nobody has shown one."""
    entity = device_entity(device, is_online=is_online)
    data = {name: entity[name] for name in ("id", "status", "session")}
    return _envelope("number:session", new_id(), device) | {"object": "device", "data": data}


def device_entity(device: Device, *, is_online: bool) -> Json:
    """A device, as in ``GET /v1/devices``."""
    return {
        "id": device.id,
        "phone": device.phone,
        "alias": ALIAS,
        "description": "",
        "wid": device.wid,
        "version": 2,
        "status": "operative",
        "session": {
            "status": "online" if is_online else "offline",
            "operative": is_online,
            "uptime": "1d",
            "lastSyncAt": iso(now()),
            "appVersion": "2.3000.0",
            "error": None,
            "phone": device.phone,
        },
        "billing": {
            "subscription": {"plan": PLAN, "product": "io", "status": "active", "isTrial": False},
        },
        "settings": {
            "retentionPolicy": device.retention_policy,
            "rebootPolicy": "disabled",
            "deliverySpeed": 0,
        },
        "createdAt": BEGINNING,
    }


def error_body(status: int, message: str, error_code: str, errors: Sequence[Mapping[str, str]] = ()) -> Json:
    """Wassenger's error; one about the schema lists its ``errors`` in place of a code."""
    body: Json = {"status": status, "message": message}
    return body | ({"errors": list(errors)} if errors else {"errorCode": error_code})


def _envelope(name: str, event_id: str, device: Device) -> Json:
    return {
        "id": event_id,
        "object": "message",
        "event": name,
        "created": int(now().timestamp()),
        "device": {"id": device.id, "phone": device.phone, "alias": ALIAS, "plan": PLAN, "version": 1},
    }


def _nested_event(message: ChatMessage, device: Device, shape: Shape) -> Json:
    address = lid_of(message.phone) if shape.is_lid else wid_of(message.phone)
    contact: Json = {"name": "Sandbox Contact"}
    if not shape.is_lid:
        contact["phone"] = message.phone
    return {
        "id": f"evt_{new_id()}",
        "event": "message:in:new",
        "createdAt": iso(now()),
        "device": device.id,
        "data": {
            "message": {
                "id": message.wa_id,
                "chat": address,
                "from": address if shape.is_lid else message.phone.removeprefix("+"),
                "to": device.phone,
                "fromMe": False,
                "type": "text",
                "body": None if shape.has_null_body else message.body,
                "timestamp": iso(message.at.replace(microsecond=0)),
            },
            "chat": {"id": address, "contact": contact, "status": "active", "assignedTo": None},
        },
    }


def _chat(message: ChatMessage, contact_wid: str, device: Device, shape: Shape) -> Json:
    date = iso(message.at.replace(microsecond=0))
    links = _links(device, contact_wid, message.wa_id)
    return {
        "id": contact_wid,
        "name": "Sandbox Contact",
        "date": date,
        "type": "chat",
        "lid": lid_of(message.phone),
        "status": "pending",
        "waStatus": "active",
        "statusUpdatedAt": BEGINNING,
        "statusUpdatedBy": None,
        "prevStatus": "pending",
        "prevStatusUpdatedAt": BEGINNING,
        "firstMessageAt": BEGINNING,
        "lastMessageAt": date,
        "lastMessageTime": int(message.at.timestamp()),
        "lastOutboundMessageAt": date,
        "lastInboundMessageAt": date,
        "lastAutoReply": None,
        "lastAutoReplyAt": None,
        "stats": {"notes": 0, "inboundMessages": 0, "outboundMessages": 0, "localMessages": 1},
        "labels": [],
        "owner": dict.fromkeys(OWNER),
        "contact": _contact(message.phone, contact_wid, shape),
        "links": {
            "chat": links["chat"],
            "messages": links["chatMessages"],
            "status": f"/v1/chat/{device.id}/status?chat={contact_wid}",
            "contact": links["contact"],
            "device": links["device"],
        },
    }


def _contact(phone: str, contact_wid: str, shape: Shape) -> Json:
    contact: Json = {
        "wid": contact_wid,
        "type": "user",
        "name": "Sandbox Contact",
        "shortName": "Sandbox",
        "displayName": "Sandbox",
        "syncedAt": BEGINNING,
        "phone": phone,
        "image": {"url": "https://pps.whatsapp.net/v/sandbox.jpg"},
        "info": {"languages": [], "links": [], "kind": "personal", "fullName": None},
        "locationInfo": {"status": "assigned"},
        "metadata": [],
        "campaigns": [],
        "subscription": {"status": "active", "updatedAt": BEGINNING},
    }
    if shape.is_lid:
        del contact["phone"]
    return contact


def _meta(*, is_inbound: bool) -> Json:
    flags: Json = dict.fromkeys(FLAGS, False)
    if is_inbound:
        return flags | {"notifyName": "Sandbox", "source": "android", "isFirstMessage": False}
    return flags | {"notifyName": "", "source": "api", "via": "platform"}


def _links(device: Device, contact_wid: str, wa_id: str) -> Json:
    chat = f"/v1/chat/{device.id}"
    return {
        "message": f"{chat}/messages/{wa_id}",
        "chat": f"{chat}/chats/{contact_wid}",
        "contact": f"{chat}/contacts/{contact_wid}",
        "chatMessages": f"{chat}/messages?chat={contact_wid}",
        "device": f"/v1/devices/{device.id}",
    }


def _quoted(quoted: ChatMessage | str) -> Json:
    if isinstance(quoted, str):
        return {"id": quoted, "wid": quoted, "type": "text"}
    return {"id": quoted.wa_id, "wid": quoted.wa_id, "type": "text", "body": quoted.body}

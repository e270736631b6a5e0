"""Reports on messages of ours."""

from datetime import datetime

from wamsg2.model import Ignored, Receipt, ReceiptStatus
from wamsg2.wassenger.envelope import Said, created, flow_of, is_direct, person
from wamsg2.wassenger.fields import JsonObject, first, is_queue_id, message_id, moment, obj, text
from wamsg2.wassenger.progress import Progress, progress

#: What the name of an event says of its message.
RECEIPT_EVENTS = {
    "message:out:new": ReceiptStatus.SENT,
    "message:out:sent": ReceiptStatus.SENT,
    "message:out:ack": None,
    "message:out:failed": ReceiptStatus.FAILED,
    "message:out:removed": ReceiptStatus.FAILED,
    "message:out:expired": ReceiptStatus.FAILED,
    "message:out:delivered": ReceiptStatus.DELIVERED,
    "message:out:read": ReceiptStatus.READ,
    "message:update": None,
}
#: The names of the times of each state, in the entity's `events`.
_HAPPENED = {
    ReceiptStatus.SENT: ("sent",),
    ReceiptStatus.DELIVERED: ("delivered",),
    ReceiptStatus.READ: ("read", "readed", "played"),
    ReceiptStatus.FAILED: ("failed", "error"),
}


def receipt(
    name: str, envelope: JsonObject, data: JsonObject, message: JsonObject
) -> tuple[Receipt | Ignored, Said, Progress]:
    """A report, and all that its words say."""
    told = progress(
        message, base=RECEIPT_EVENTS[name], ack=text(envelope.get("ack")), dropped=name.removeprefix("message:out:")
    )
    content, said = _receipt(told, envelope, data, message)
    return content, said, told


def _receipt(
    told: Progress, envelope: JsonObject, data: JsonObject, message: JsonObject
) -> tuple[Receipt | Ignored, Said]:
    if flow_of(message) == "inbound" or message.get("fromMe") is False:
        return Ignored("not about our message"), ()
    who = person(data, message, message.get("toNumber"), message.get("phone"), message.get("wid"))
    if not is_direct(data, message, who):
        return Ignored("not in a direct chat"), ()
    if told.status is None:
        return Ignored("no delivery status"), ()
    queue_id, wa_id = _ids(message)
    reference = first(message.get("reference"), data.get("reference"))
    if not (queue_id or wa_id or reference):
        return Ignored("no message id"), ()
    sent_at = None if told.status is ReceiptStatus.FAILED else sent_time(message)
    content = Receipt(
        told.status,
        reference,
        queue_id,
        wa_id,
        sent_at if told.status is ReceiptStatus.SENT else _time_of(told.status, envelope, message),
        told.reason,
        who,
        sent_at=sent_at,
        is_revoked=told.is_revoked,
        text=None if queue_id or reference else text(message.get("body")),
    )
    # When it was sent is news: what a look-up found in the provider's queue was told without a time.
    said = (queue_id, wa_id, reference, told.status.value, sent_at.isoformat() if sent_at else None)
    return content, (*said, "revoked") if told.is_revoked else said


def sent_time(message: JsonObject) -> datetime | None:
    """When a message was sent: the own time of a chat's message is that, also in its acknowledgements."""
    return moment(
        message.get("sentAt"),
        obj(obj(message.get("events")).get("sent")).get("date"),
        message.get("timestamp"),
        message.get("date"),
    )


def _time_of(status: ReceiptStatus, envelope: JsonObject, message: JsonObject) -> datetime | None:
    """When it was delivered, read, or failed."""
    happened = [obj(obj(message.get("events")).get(name)) for name in _HAPPENED[status]]
    dates = [event.get(key) for event in happened for key in ("date", "reportedAt")]
    return moment(message.get(f"{status.value}At"), *dates) or created(envelope)


def _ids(message: JsonObject) -> tuple[str | None, str | None]:
    """Queue id and WhatsApp id: which of them `id` is depends on the entity (queue or chat message)."""
    own, wa_id = message_id(message.get("id")), message_id(message.get("waId"))
    if own and (is_queue_id(own) or (wa_id and own != wa_id)):
        return own, wa_id
    return None, wa_id or own

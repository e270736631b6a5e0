"""How far a message of ours got, in the words that the provider has for it."""

import re
from dataclasses import dataclass

from wamsg2.masking import mask_text
from wamsg2.model import ReceiptStatus
from wamsg2.wassenger.fields import JsonObject, first, obj

_REASON_LIMIT_CHARACTERS = 200
_SAFE_WORD = re.compile(r"[a-z0-9_:.-]{1,60}", re.ASCII)

# Every name that any source gives to a state of an outbound message. Whatever lies before `sent` proves that the
# provider accepted it, which is what our `sent` means.
_STATUS = {
    "pending": ReceiptStatus.SENT,
    "queued": ReceiptStatus.SENT,
    "processing": ReceiptStatus.SENT,
    "processed": ReceiptStatus.SENT,
    "server": ReceiptStatus.SENT,
    "sent": ReceiptStatus.SENT,
    "device": ReceiptStatus.DELIVERED,
    "delivered": ReceiptStatus.DELIVERED,
    "read": ReceiptStatus.READ,
    "readed": ReceiptStatus.READ,
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
#: The queue dropped the message: it will not be sent, unless something else says that it arrived.
_DROPPED = frozenset({"expired", "removed", "invalid", "cancelled", "canceled"})
_REVOKED = "revoked"
_ORDER = (ReceiptStatus.SENT, ReceiptStatus.FAILED, ReceiptStatus.DELIVERED, ReceiptStatus.READ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What an entity says of a message of ours: the furthest of all its words."""

    status: ReceiptStatus | None  #: None where it says nothing that we know
    reason: str | None  #: of a failure: short, without numbers of people
    is_revoked: bool  #: deleted for everybody after it was sent
    unknown_words: tuple[str, ...]


def progress(
    message: JsonObject, *, base: ReceiptStatus | None = None, ack: str | None = None, dropped: str | None = None
) -> Progress:
    """How far a message got.

    Args:
        message: the provider's entity of it.
        base: what is known besides, from the name of the event.
        ack: the word of the envelope, which outranks nothing: the furthest word counts.
        dropped: the word of the event where it tells that the queue dropped the message.
    """
    told = {key: first(message.get(key)) for key in ("deliveryStatus", "ack", "status")}
    words = [word.lower() for word in (*told.values(), ack) if word]
    drops = [word for word in (*words, dropped) if word in _DROPPED]
    statuses = [base, *(_STATUS.get(word) for word in words), *(ReceiptStatus.FAILED for _ in drops)]
    is_revoked = _REVOKED in words or obj(message.get("meta")).get("isRevoked") is True
    if is_revoked:  # only what was sent can be taken back
        statuses.append(ReceiptStatus.SENT)
    status = max((s for s in statuses if s), key=_ORDER.index, default=None)
    # The `status` of a chat's message is of the row, as in "active", and no word on its way.
    on_its_way = [told["deliveryStatus"], told["ack"], ack, None if "flow" in message else told["status"]]
    unknown = {word.lower() for word in on_its_way if word} - _STATUS.keys() - _DROPPED - {_REVOKED}
    reason = _reason(message, drops) if status is ReceiptStatus.FAILED else None
    return Progress(status=status, reason=reason, is_revoked=is_revoked, unknown_words=tuple(sorted(unknown)))


def _reason(message: JsonObject, drops: list[str]) -> str | None:
    error = message.get("error")
    told = first(message.get("failureReason"), error, obj(error).get("message"), message.get("failureCode"))
    words = dict.fromkeys([*drops[:1], *([told] if told else [])])
    return mask_text(": ".join(words))[:_REASON_LIMIT_CHARACTERS] if words else None


def safe_word(word: str) -> str | None:
    """A word of the provider as it may be logged, or None where it could hold anything."""
    return word if _SAFE_WORD.fullmatch(word) else None

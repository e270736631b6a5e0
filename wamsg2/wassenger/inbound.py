"""What people wrote, and the emojis that they put on messages."""

from collections.abc import Iterator

from wamsg2.model import Ignored, InboundMessage, Reaction, Reading, Sender
from wamsg2.wassenger.envelope import Said, created, flow_of, is_direct, meta_of, own_number, person, sender
from wamsg2.wassenger.fields import Json, JsonObject, first, message_id, moment, obj, phone_number, text

#: A message of one of these types says nothing by its type: it is a reply where it has words or a medium.
_WORDS = frozenset({"text", "chat"})
# Every other type of what a person sends to answer: the vendor's names, WhatsApp's own for them (`ptt` is a voice
# message, `ptv` a video note), and those of the Cloud API. Calls, pins, votes in polls, messages that cannot be read
# (`ciphertext`) or were taken back, and types that nobody has named yet are none.
_ANSWERS = frozenset(
    {
        "image", "gif", "video", "ptv", "audio", "voice", "ptt", "document", "sticker",
        "location", "live_location", "contact", "contacts", "contact_card", "vcard", "multi_vcard",
        "poll", "poll_creation",
        "button", "buttons", "button_reply", "buttons_response", "template_button_reply",
        "list", "list_reply", "list_response",
        "interactive", "interactive_response", "nfm_reply", "template",
        "order", "product", "catalog",
    }
)  # fmt: skip
_SYSTEM_TYPES = frozenset({"notification", "e2e_notification", "notification_template", "gp2", "protocol"})
#: A row of a chat that no list of types names.
_TYPE_LIMIT_CHARACTERS = 32
_ID_KEYS = ("id", "wid", "waId")


def inbound(
    envelope: JsonObject, data: JsonObject, message: JsonObject
) -> tuple[InboundMessage | Reaction | Ignored, Said]:
    """``message:in:new``."""
    who = person(data, message, message.get("fromNumber"), message.get("phone"), message.get("from"))
    kind = (first(message.get("type"), message.get("kind")) or "text").lower()
    if flow_of(message) not in (None, "inbound") or message.get("fromMe") is True:
        return Ignored("our own message"), ()
    if not is_direct(data, message, who) or kind in _SYSTEM_TYPES or kind.startswith(("group", "channel")):
        return Ignored("not a message in a direct chat"), ()
    if not who.chat_ids and not who.phone:
        return Ignored("no sender"), ()
    if _is_from_us(envelope, message, who):
        return Ignored("our own message"), ()
    if kind == "reaction":
        return reaction(envelope, data, message)
    wa_id = message_id(message.get("id"), message.get("wid"), message.get("waId"))
    words = _words_of(message, data)
    reading = _reading(kind, words, data, message)
    content = InboundMessage(
        wa_id or "",
        who,
        kind[:_TYPE_LIMIT_CHARACTERS],
        words,
        _quoted_id(message),
        moment(message.get("timestamp"), message.get("date")) or created(envelope),
        reading,
    )
    if not wa_id:
        return content, ()
    # What could not be read comes again under the same id once it can be.
    return content, (wa_id,) if reading is Reading.REPLY else (wa_id, "not a reply", words)


def _is_from_us(envelope: JsonObject, message: JsonObject, who: Sender) -> bool:
    own = own_number(envelope)
    return own is not None and own in (who.phone, phone_number((text(message.get("from")) or "").partition("@")[0]))


def _reading(kind: str, words: str, data: JsonObject, message: JsonObject) -> Reading:
    if meta_of(data, message).get("isRevoked") is True:
        return Reading.NOT_A_REPLY
    is_said = kind in _ANSWERS or (kind in _WORDS and bool(words or obj(message.get("media"))))
    return Reading.REPLY if is_said else Reading.NOT_A_REPLY


def update(envelope: JsonObject, data: JsonObject, message: JsonObject) -> tuple[InboundMessage | Ignored, Said]:
    """``message:update`` of a message that a person wrote: they changed its words, or took it back."""
    who = person(data, message, message.get("fromNumber"), message.get("phone"), message.get("from"))
    if not is_direct(data, message, who):
        return Ignored("not a message in a direct chat"), ()
    if _is_from_us(envelope, message, who):
        return Ignored("our own message"), ()
    wa_id = message_id(message.get("originalWid"), message.get("id"), message.get("wid"), message.get("waId"))
    words, meta = _words_of(message, data), meta_of(data, message)
    is_revoked = meta.get("isRevoked") is True
    if wa_id is None or not (words or is_revoked) or not (who.chat_ids or who.phone):
        return Ignored("not about our message"), ()
    edited_at = moment(message.get("editedAt"), meta.get("editedAt"))
    is_edited = bool(edited_at) or meta.get("isEdited") is True or message.get("originalWid") is not None
    own_time = None if is_edited or is_revoked else moment(message.get("timestamp"), message.get("date"))
    content = InboundMessage(
        wa_id,
        who,
        "revoked" if is_revoked else "edit",
        words,
        _quoted_id(message),
        edited_at or own_time or created(envelope),
        Reading.NOT_A_REPLY if is_revoked else Reading.EDIT,
    )
    return content, (wa_id, content.type, words)


def _words_of(message: JsonObject, data: JsonObject) -> str:
    """What was written, or else what was chosen: the title of a button or of a row of a list, or its id."""
    return first(message.get("body"), obj(message.get("media")).get("caption"), message.get("caption"),
                 message.get("text"), *_chosen(message, meta_of(data, message))) or ""  # fmt: skip


def _chosen(message: JsonObject, meta: JsonObject) -> Iterator[Json]:
    answers = [obj(message.get(key)) for key in ("button", "buttonReply", "buttonsResponse", "listReply",
                                                 "listResponse", "interactive", "selected")]  # fmt: skip
    for answer in answers:
        yield from map(answer.get, ("title", "text", "selectedTitle", "selectedText"))
    for key in (
        "selectedButtonTitle",
        "selectedButtonText",
        "selectedListTitle",
        "selectedListText",
        "selectedTitle",
    ):
        yield from (message.get(key), meta.get(key))
    for key in ("selectedButtonId", "selectedListId", "selectedId"):
        yield from (message.get(key), meta.get(key))
    for answer in answers:
        yield from map(answer.get, ("id", "payload", "selectedId"))


def _quoted_id(message: JsonObject) -> str | None:
    quoted = message.get("quoted") or message.get("quotedMessage")
    return message_id(quoted if isinstance(quoted, str) else None, *map(obj(quoted).get, _ID_KEYS))


def reaction(envelope: JsonObject, data: JsonObject, message: JsonObject) -> tuple[Reaction | Ignored, Said]:
    """``message:reaction``, whose entity is the message with all its reactions, or the reaction itself."""
    listed = message.get("reactions")
    last = obj(listed[-1]) if isinstance(listed, list) and listed else {}
    reactor: tuple[Json, ...] = (last.get("fromNumber"), last.get("from"), last.get("author"))
    if not any(map(text, reactor)):
        if flow_of(message) == "outbound":
            return Ignored("our own reaction"), ()
        reactor = (message.get("fromNumber"), message.get("from"), message.get("author"))
    own = sender([*reactor], [*reactor])
    chat_phone = phone_number(own.chat_ids[0].partition("@")[0]) if own.chat_ids else None
    if own_number(envelope) is not None and own_number(envelope) in (own.phone, chat_phone):
        return Ignored("our own reaction"), ()
    who = person(data, message, *reactor)
    if not is_direct(data, message, who):
        return Ignored("not in a direct chat"), ()
    quoted = message.get("quoted")
    target = message_id(
        message.get("reactionMessage"), message.get("messageId"), *map(obj(quoted).get, ("id", "wid")),
        message.get("id"),
    )  # fmt: skip
    if target is None or not (who.chat_ids or who.phone):
        return Ignored("no message or no person"), ()
    emoji = first(last.get("reaction"), last.get("emoji"), last.get("text"), message.get("reaction")) or ""
    at = moment(last.get("date"), last.get("timestamp")) or created(envelope)
    return Reaction(target, who, emoji[:16], at), (
        target, who.phone or who.chat_ids[0], emoji, at.isoformat() if at else None,
    )  # fmt: skip

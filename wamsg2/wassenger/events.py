"""Webhook bodies into the domain's words.

Accepts every shape that any source shows: flat (all real captures) and nested (`data.message` is an object), times
as whole seconds or ISO, absent bodies, `@lid` senders, several events in one body. What it does not know is
`Ignored`, never an error.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias, assert_never

from wamsg2.model import DeviceChanged, Event, Ignored, InboundMessage, Reaction, Reading, Receipt
from wamsg2.wassenger.envelope import Said, flow_of, is_of_another_device
from wamsg2.wassenger.fields import Json, JsonObject, dump, load, obj, text
from wamsg2.wassenger.inbound import inbound, reaction, update
from wamsg2.wassenger.receipts import RECEIPT_EVENTS, receipt

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

_Content: TypeAlias = InboundMessage | Reaction | Receipt | DeviceChanged | Ignored
_OUR_REFERENCES = "w2-"
#: As many of the smallest real events fit into a body. The rest of a longer row is kept as one event.
MAX_ROW_EVENTS = 5000


class NotAnEventError(ValueError):
    """The body is neither a JSON object nor a JSON array."""


def parse_row(body: bytes, *, device: str | None) -> Sequence[Event]:
    """Understand a webhook body: an object is one event, an array one event for each of its elements.

    Wassenger sends ``message:out:sent`` and ``message:out:failed`` as arrays. An element is an event of its own, with
    its own JSON as its body; one that is no object is `Ignored`.

    Args:
        body: of the webhook.
        device: the id of our device, or None: then events of every device of the account count.

    Raises:
        NotAnEventError: neither an object nor an array in UTF-8. Nothing else raises, whatever the bytes.
    """
    parsed = _load(body)
    if isinstance(parsed, dict):
        return [_understand(parsed, body, device)]
    if not isinstance(parsed, list):
        raise NotAnEventError("neither a JSON object nor an array")
    taken, rest = parsed[:MAX_ROW_EVENTS], parsed[MAX_ROW_EVENTS:]
    try:
        row = [
            _understand(element, dump(element), device)
            if isinstance(element, dict)
            else _ignored(dump(element), "no object")
            for element in taken
        ]
        return [*row, _ignored(dump(rest), f"behind the first {MAX_ROW_EVENTS} of its row")] if rest else row
    except ValueError:
        raise NotAnEventError("not JSON") from None


def parse(body: bytes) -> Event:
    """Understand one event, of whichever device: we asked for it ourselves.

    Raises:
        NotAnEventError: not a JSON object in UTF-8. Nothing else raises, whatever the bytes.
    """
    envelope = _load(body)
    if not isinstance(envelope, dict):
        raise NotAnEventError("not a JSON object")
    return _understand(envelope, body, None)


def _load(body: bytes) -> Json:
    try:
        return load(body)
    except ValueError:
        raise NotAnEventError("not JSON") from None


def _ignored(body: bytes, why: str) -> Event:
    return Event("unknown", _identity("unknown", (), body), body, Ignored(why))


def _understand(envelope: JsonObject, body: bytes, device: str | None) -> Event:
    name = (text(envelope.get("event")) or "unknown")[:64]
    data = obj(envelope.get("data"))
    message = obj(data.get("message")) or data
    content: _Content
    said: Said
    unknown_words: tuple[str, ...] = ()
    if name == "message:in:new":
        content, said = inbound(envelope, data, message)
    elif name == "message:reaction":
        content, said = reaction(envelope, data, message)
    elif name == "message:update" and flow_of(message) == "inbound":
        content, said = update(envelope, data, message)
    elif name in RECEIPT_EVENTS:
        content, said, told = receipt(name, envelope, data, message)
        unknown_words = told.unknown_words
    elif name == "number:session":
        content, said = DeviceChanged(), ()
    else:
        content, said = Ignored("event not needed"), ()
    if is_of_another_device(envelope, data, message, device):
        content, said = _of_another_device(content, said)
    return Event(name, _identity(name, said, body), body, content, unknown_words)


def _of_another_device(content: _Content, said: Said) -> tuple[_Content, Said]:
    """What counts of an event of another device: an opt-out, and what carries a reference of ours [reply 1]."""
    match content:
        case InboundMessage():
            return replace(content, reading=Reading.OTHER_DEVICE), (*said, "another device") if said else ()
        case Receipt(reference=str(reference)) if reference.startswith(_OUR_REFERENCES):
            return content, said
        case Ignored():
            return content, said
        case Reaction() | Receipt() | DeviceChanged():
            return Ignored("of another device"), ()
        case _:
            assert_never(content)


def _identity(name: str, said: Said, body: bytes) -> bytes:
    """Equal for events that say the same; the envelope's `id` is no help, different events share it."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (name, *said) if said else (name, hashlib.blake2b(body).hexdigest()):
        digest.update(f"{len(part or '')}:{part or ''}".encode())
    return digest.digest()

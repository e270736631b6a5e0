"""What Wassenger refuses. Its schemas are strict: an unknown property is an error."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wamsg2.sandbox.wire import Json, error_body

TARGETS = ("phone", "group", "channel", "chat")
#: A message needs one of these.
CONTENTS = frozenset(
    ("message", "media", "poll", "reaction", "location", "contacts", "event", "template", "product", "forward")
)
EVENTS = frozenset(
    {
        *("message:in:new", "message:out:new", "message:out:sent", "message:out:ack", "message:out:failed"),
        *("message:update", "message:reaction", "channel:in", "status:update", "group:update", "chat:update"),
        *("contact:update", "number:session", "message:out:expired", "message:out:removed"),
    }
)
E164 = re.compile(r"\+[1-9]\d{6,14}")
HEX_24 = re.compile(r"[0-9a-f]{24}")


class Refusal(Exception):  # noqa: N818 - an answer, not a failure of ours
    """An answer other than the one asked for, with Wassenger's error body."""

    def __init__(self, status: int, message: str, error_code: str, *, errors: Sequence[dict[str, str]] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = error_body(status, message, error_code, errors)


#: Says what is wrong with a value, or nothing.
Check = Callable[[object], str | None]


@dataclass(frozen=True, slots=True)
class Schema:
    """The properties of a JSON object and what each must be."""

    properties: Mapping[str, Check]
    required: frozenset[str] = field(default_factory=frozenset)

    def problems(self, body: Mapping[str, object]) -> list[dict[str, str]]:
        """Everything wrong with a body, as ``{path, message}``."""
        missing = [_problem(name, "is required") for name in sorted(self.required - body.keys())]
        unknown = [_problem(name, "unknown property") for name in body if name not in self.properties]
        wrong = [
            _problem(name, complaint)
            for name, check in self.properties.items()
            if name in body and (complaint := check(body[name])) is not None
        ]
        return missing + unknown + wrong


def check_message(body: object, device_id: str) -> Json:
    """The body of ``POST /v1/messages``, or a ``Refusal``."""
    values = _an_object(body)
    problems = MESSAGE.problems(values)
    targets = [name for name in TARGETS if name in values]
    if len(targets) != 1:
        problems.append(_problem(targets[1] if targets else "", f"exactly one of {', '.join(TARGETS)} is required"))
    if not CONTENTS & values.keys():
        problems.append(_problem("message", "is required"))
    _refuse(problems)
    phone = values.get("phone")
    if isinstance(phone, str) and not E164.fullmatch(phone):
        raise Refusal(400, "phone must be in E.164 format, with +", "phone:invalid")
    if values.get("device", device_id) != device_id:
        raise Refusal(404, "device not found", "device:notfound")
    return values


def check_object(body: object, schema: Schema) -> dict[str, Any]:
    """A JSON object that matches a schema, or a ``Refusal``."""
    values = _an_object(body)
    _refuse(schema.problems(values))
    return values


def check_webhook(body: object, device_id: str, *, is_new: bool) -> Json:
    """The body of ``POST /v1/webhooks`` or of ``PATCH``, where nothing is required, or a ``Refusal``."""
    values = check_object(body, NEW_WEBHOOK if is_new else WEBHOOK_CHANGE)
    if values.get("device", device_id) != device_id:
        raise Refusal(404, "device not found", "device:notfound")
    return values


def text(minimum: int, maximum: int) -> Check:
    """A string of that many characters."""

    def check(value: object) -> str | None:
        is_fine = isinstance(value, str) and minimum <= len(value) <= maximum
        return None if is_fine else f"must be a string of {minimum} to {maximum} characters"

    return check


def matching(pattern: str, what: str) -> Check:
    """A string that matches as a whole."""
    compiled = re.compile(pattern)

    def check(value: object) -> str | None:
        return None if isinstance(value, str) and compiled.fullmatch(value) else f"must be {what}"

    return check


def one_of(*values: str) -> Check:
    """One of a few words."""

    def check(value: object) -> str | None:
        return None if value in values else f"must be one of {', '.join(values)}"

    return check


def whole_number(minimum: int, maximum: int) -> Check:
    """An integer in a range."""

    def check(value: object) -> str | None:
        is_fine = isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum
        return None if is_fine else f"must be an integer from {minimum} to {maximum}"

    return check


def of_type(kind: type, what: str) -> Check:
    """A JSON value of one type."""

    def check(value: object) -> str | None:
        return None if isinstance(value, kind) else f"must be {what}"

    return check


def event_names(value: object) -> str | None:
    """A list of events that exist."""
    if not isinstance(value, list) or not value:
        return "must be a list of at least one event"
    unknown = [str(name) for name in value if not isinstance(name, str) or name not in EVENTS]
    return f"unknown event: {', '.join(unknown)}" if unknown else None


def _problem(path: str, message: str) -> dict[str, str]:
    return {"path": path, "message": message}


def _refuse(problems: list[dict[str, str]]) -> None:
    if problems:
        raise Refusal(400, "the body does not match the schema", "body:invalid", errors=problems)


def _an_object(body: object) -> Json:
    if not isinstance(body, dict):
        raise Refusal(400, "the body must be a JSON object", "body:invalid", errors=[_problem("", "not an object")])
    return body


_OBJECT = of_type(dict, "an object")
_LIST = of_type(list, "a list")
_FLAG = of_type(bool, "a boolean")
_HEX_24 = matching(HEX_24.pattern, "24 hexadecimal characters")
_ISO = matching(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)", "a time in ISO 8601")

MESSAGE = Schema(
    {
        "phone": text(1, 32),  # its form is judged later: it has an error code of its own
        "group": matching(r".+@g\.us", "a group id"),
        "channel": matching(r".+@newsletter", "a channel id"),
        "chat": matching(r".+@.+", "a chat id"),
        "message": text(1, 4096),
        "device": _HEX_24,
        "priority": one_of("low", "normal", "high", "urgent"),
        "reference": text(1, 255),
        "media": _OBJECT,
        "label": text(1, 255),
        "agent": _HEX_24,
        "actions": _LIST,
        "enqueue": one_of("always", "never", "opportunistic"),
        "live": _FLAG,
        "retries": whole_number(0, 100),
        "order": _FLAG,
        "deliverAt": _ISO,
        "schedule": _OBJECT,
        "expiration": _OBJECT,
        "typing": whole_number(0, 30),
        "sendReadAck": _FLAG,
        "quote": matching(r"[0-9A-Fa-f]{18,32}", "a WhatsApp message id"),
        "reaction": text(1, 16),
        "reactionMessage": text(1, 64),
        "poll": _OBJECT,
        "buttons": _LIST,
        "list": _OBJECT,
        "location": _OBJECT,
        "contacts": _LIST,
        "event": _OBJECT,
        "vote": _OBJECT,
        "confirm": _OBJECT,
        "product": _OBJECT,
        "forward": _OBJECT,
        "template": _OBJECT,
    }
)
WEBHOOK_CHANGE = Schema(
    {
        "name": text(1, 30),
        "url": matching(r"https?://[^\s/]+\S*", "a URL"),
        "events": event_names,
        "device": _HEX_24,
    }
)
NEW_WEBHOOK = Schema(WEBHOOK_CHANGE.properties, required=frozenset({"name", "url", "events"}))

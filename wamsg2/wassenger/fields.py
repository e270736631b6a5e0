"""Reading JSON whose shape nobody guarantees: each function takes anything and gives a value or None."""

import json
import math
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import orjson

from wamsg2 import phone

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
JsonObject: TypeAlias = dict[str, Json]

_HALF = re.compile("[\ud800-\udfff]")
_QUEUE_ID = re.compile(r"[0-9a-f]{24}")
_CHAT_ID = re.compile(r"[\w.:-]{1,64}@[\w.-]{1,32}", re.ASCII)
_MOST_BRACKETS = 500
_FIRST_TIME, _LAST_TIME = datetime(2009, 1, 1, tzinfo=UTC), datetime(2110, 1, 1, tzinfo=UTC)
_RETENTIONS = {"never": timedelta(0), "plan_defaults": timedelta(days=1)}
_RETENTION = re.compile("([0-9]{1,4})([mhd])")
_RETENTION_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_MILLISECONDS_FROM = 1e12  # as seconds this would be the year 33658


def load(raw: bytes) -> Json:
    """Parse JSON.

    Raises:
        ValueError: not UTF-8, not JSON, or nested too deeply.
    """
    parsed: Json
    # What is deeper than the standard library reads could not be written again either.
    if raw.count(b"[") + raw.count(b"{") < _MOST_BRACKETS:
        with suppress(ValueError):  # the standard library takes more: a byte order mark, half surrogates, NaN
            parsed = orjson.loads(raw)
            return parsed
    try:
        parsed = json.loads(raw.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return parsed


def dump(value: Json) -> bytes:
    """A value as JSON that `load` reads, in UTF-8.

    Raises:
        ValueError: nested too deeply.
    """
    try:
        written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return written.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which only an escape can spell
        return json.dumps(value, separators=(",", ":")).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None


def obj(value: Json) -> JsonObject:
    """The object, or an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: Json) -> str | None:
    """A non-empty string without surrounding space; whole numbers count. Half surrogates become U+FFFD."""
    if isinstance(value, str):
        return (value if value.isascii() else _HALF.sub("\ufffd", value)).strip() or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**18 else None
    return None


def first(*values: Json) -> str | None:
    """The first of the values that is text."""
    for value in values:
        if found := text(value):
            return found
    return None


def integer(value: Json) -> int | None:
    """A whole number, also one in a string or with a point."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    found = text(value)
    return int(found) if found and found.isascii() and found.isdecimal() and len(found) < 19 else None


def retention(value: Json) -> timedelta | None:
    """How long processed messages are kept by a policy: `never` (not at all), `30m`, `12h`, `5d`, ...

    No source says what the defaults of a plan are; a custom policy is for those who want less. A day is taken: far
    beyond the minutes in which a look-up settles, and a tenth of the longest custom policy.
    """
    word = text(value)
    if word is None:
        return None
    if word in _RETENTIONS:
        return _RETENTIONS[word]
    found = _RETENTION.fullmatch(word)
    return int(found[1]) * _RETENTION_UNITS[found[2]] if found else None


def moment(*values: Json) -> datetime | None:
    """The first of the values that is a believable time: epoch seconds, epoch milliseconds, or ISO 8601.

    Nothing was written, sent or registered before there was WhatsApp, or will be in a hundred years.
    """
    for value in values:
        if value is not None and (found := _moment(value)) and _FIRST_TIME <= found < _LAST_TIME:
            return found
    return None


def _moment(value: Json) -> datetime | None:
    try:
        if isinstance(value, bool):
            return None
        if isinstance(value, str) and value.strip().isdecimal() and len(value) < 20:
            value = int(value)
        if isinstance(value, int | float):
            if not math.isfinite(value) or value <= 0:
                return None
            return datetime.fromtimestamp(value / 1000 if value >= _MILLISECONDS_FROM else value, UTC)
        if isinstance(value, str):
            parsed = datetime.fromisoformat(value.strip())
            return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def message_id(*values: Json) -> str | None:
    """The first of the values that is a message id; a serialized ``true_<chat>_<id>`` gives its last part.

    Whatever else holds an address is none: ids outlive the person whose number is in the address.
    """
    found = first(*values)
    if found and "@" in found:
        return (found.split("_")[2] or None) if found.count("_") >= 2 else None
    return found


def is_queue_id(value: str) -> bool:
    """Whether an id is of the outbound queue (24 hex digits in lower case), not WhatsApp's."""
    return _QUEUE_ID.fullmatch(value) is not None


def chat_ids(*values: Json) -> tuple[str, ...]:
    """The values that are WhatsApp chat ids (``…@…``), each once, with one name for the two personal servers."""
    found: dict[str, None] = {}
    for value in values:
        if isinstance(value, str) and "@" in value and (chat_id := text(value)) and _CHAT_ID.fullmatch(chat_id):
            found[chat_id.lower().replace("@s.whatsapp.net", "@c.us")] = None
    return tuple(found)


def phone_number(*values: Json) -> str | None:
    """The first of the values that is a phone number, as E.164; a chat id is not one."""
    for value in values:
        if (found := text(value)) and (e164 := phone.from_digits(found)):
            return e164
    return None

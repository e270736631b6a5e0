"""What tells of one person in text and bytes: finding it, blotting it out, and the names that a text holds.

A person's names are the keys of their number and their chat ids. Pure functions of values.
"""

import re
from collections.abc import Iterable
from itertools import chain, islice

from wamsg2 import phone

BLOT = "…"
#: A name inside a chat id, or an id of a message, that is shorter stands in other texts by chance.
_LEAST_CHARACTERS = 8
#: People and programs write numbers in groups.
_BETWEEN = r"[\s().\-\u2010-\u2015/]*"
_SQUEEZED_OUT = bytes(c for c in range(256) if c > 0x7F or chr(c) in " \t\n\r().-/")
_LOWER = bytes(range(256)).lower()
_DIGITS = re.compile(rb"\d{7,}")
_HEAD_CHARACTERS = 64
_HEAD = re.compile(rb"[\w.:-]+\Z")
_SERVER = re.compile(rb"@[\w.-]{1,32}")


class Traces:
    """One person's, to be looked for.

    Args:
        phone_key: of their number (`phone.key`).
        chat_ids: theirs.
        message_ids: of messages from them and to them, in any of their providers' words.
    """

    def __init__(self, phone_key: str, chat_ids: Iterable[str] = (), message_ids: Iterable[str] = ()) -> None:
        self.phone_key = phone_key
        self.chat_ids = frozenset(chat_ids)
        digits = [spelling.removeprefix("+") for spelling in phone.spellings(phone_key)]
        #: As they stand in a text, the longest first.
        self.words = tuple(sorted({*digits, *map(_told_by, self.chat_ids)}, key=lambda w: (-len(w), w)))
        ids = (i for i in message_ids if len(i) >= _LEAST_CHARACTERS)
        self._needles = tuple({_squeezed(word.encode()) for word in (*self.words, *ids)})
        one_of = "|".join(_BETWEEN.join(map(re.escape, w)) if w.isdigit() else re.escape(w) for w in self.words)
        self._pattern = re.compile(rf"\+?(?:{one_of})", re.IGNORECASE)

    def are_in_body(self, body: bytes) -> bool:
        """Whether a raw event names the person or one of the messages; rather once too often than missed."""
        squeezed = _squeezed(body)
        return any(needle in squeezed for needle in self._needles)

    def are_in_text(self, text: str | None) -> bool:
        """Whether a text names the person."""
        return bool(text) and self._pattern.search(text or "") is not None

    def blotted(self, text: str) -> str:
        """The text without them."""
        return self._pattern.sub(BLOT, text)

    def name(self, chat_id: str | None, number: str | None) -> bool:
        """Whether a sender is this person, known by chat id or number (E.164)."""
        return (number is not None and phone.key(number) == self.phone_key) or (
            chat_id is not None and (chat_id in self.chat_ids or self.are_in_text(chat_id))
        )


def _told_by(chat_id: str) -> str:
    """What of a chat id tells who it is: the part before the server, where that is a number of some length."""
    name = chat_id.partition("@")[0]
    return name if name.isdigit() and len(name) >= _LEAST_CHARACTERS else chat_id


def _squeezed(raw: bytes) -> bytes:
    return raw.translate(_LOWER, _SQUEEZED_OUT)


def names_in(body: bytes, most: int) -> set[str] | None:
    """Whatever in a raw event can be somebody's name: keys of numbers, also former ones, and chat ids.

    None where there are more than `most`.
    """
    numbers = {match.decode() for match in _DIGITS.findall(body)}
    servers = list(islice(_SERVER.finditer(body), most + 1))
    if len(numbers) + len(servers) > most:
        return None
    heads = (_HEAD.search(body, max(0, s.start() - _HEAD_CHARACTERS), s.start()) for s in servers)
    chat_ids = ((head[0] + s[0]).decode().lower() for head, s in zip(heads, servers, strict=True) if head)
    e164s = filter(None, map(phone.from_digits, numbers))
    return {*chain.from_iterable(map(phone.keys, e164s)), *chat_ids}

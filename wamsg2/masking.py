"""What must not be read in a log or a report: phone numbers, secrets and people's words. Pure text to text."""

import re

MASK = "***"
#: Names whose value is a secret or somebody's words, whatever the value looks like (for `fullmatch`).
SENSITIVE_NAME = re.compile(
    r"(?:text|body|authorization|password)|(?:.*[._-])?(?:message_text|secret|token|api_?key)s?", re.IGNORECASE
)

# In the patterns below nothing that begins can fail far away, so that a hostile text costs linear time.
_SECRETS = r"(?<![a-z])(?:secrets?|tokens?|api_?keys?|authorization|password)"
# `text='…'`, `"body": "…"`, `('Token', '…')`: as a repr or JSON inside a message writes them, or the start of one.
_QUOTED_VALUE = re.compile(
    rf"""
    ( (?:{_SECRETS} | (?<![a-z])(?:message_text|text|body)) \\*["']? \s*[=:,]\s* [bru]?\\* )
    (?: "(?:[^"\\]|\\.)*(?:"|\Z) | '(?:[^'\\]|\\.)*(?:'|\Z) )
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
# `?secret=…` and `&token=…` of an address, `Authorization: Bearer …` of a request.
_BARE_VALUE = re.compile(
    rf"""({_SECRETS}= | authorization:\s*(?:bearer\s+|basic\s+)?) [^\s&"'<>]+""", re.IGNORECASE | re.VERBOSE
)

_PHONE = re.compile(
    r"""
    (?P<kept>
        (?<![0-9a-z])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![0-9a-z])    # UUID
      | (?<![0-9a-z%])(?=[0-9]*[a-f])[0-9a-f]{16,}(?![0-9a-z])                                   # hex id
      | \b0x[0-9a-f]+\b                                                                          # address
    )
    | \+?\d{8,}
    | \+\d(?:[ ().-]{0,2}\d){7,14}    # the separators people write can be told from prose only after a plus
    """,
    re.IGNORECASE | re.VERBOSE,
)
# Most of what is logged is a word: one quick look spares it the patterns above.
_MAY_NAME_A_VALUE = re.compile(r"[=:,]")
_MAY_HOLD_A_PHONE = re.compile(r"\d{8}|\+\d")
_CHAT_ADDRESS = re.compile(r"\+?\d{8,}(?=@)")
_MASKED = re.compile(r"\+?\d{0,2}…\d{0,4}")


def mask_phone(phone: str) -> str:
    """A phone number or chat address as a log may show it: ``+5215512340001`` becomes ``+52…0001``.

    A number under ten digits keeps its last two only. Masking what is masked changes nothing.
    """
    if _MASKED.fullmatch(phone):
        return phone
    digits = re.sub(r"\D", "", phone)
    plus = "+" if phone.startswith("+") else ""
    return f"{plus}{digits[:2]}…{digits[-4:]}" if len(digits) >= 10 else f"{plus}…{digits[-2:]}"


def mask_text(text: str) -> str:
    """`text` without the phone numbers (runs of eight digits or more) and the secrets that stand in it.

    Hex ids, UUIDs and memory addresses stay readable; they contain long runs of digits by chance.
    """
    text = mask_secrets(text)
    if not _MAY_HOLD_A_PHONE.search(text):
        return text
    return _PHONE.sub(lambda match: match[0] if match["kept"] else mask_phone(match[0]), text)


def mask_id(text: str) -> str:
    """An id as it is, except for secrets and for the number in a chat address (``…@c.us``) inside it."""
    return _CHAT_ADDRESS.sub(lambda match: mask_phone(match[0]), mask_secrets(text))


def mask_secrets(text: str) -> str:
    """`text` without the values that are named a secret or a person's words: ``?secret=…``, ``text='…'``."""
    if not _MAY_NAME_A_VALUE.search(text):
        return text
    return _BARE_VALUE.sub(rf"\g<1>{MASK}", _QUOTED_VALUE.sub(rf"\g<1>{MASK}", text))

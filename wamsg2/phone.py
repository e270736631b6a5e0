"""Phone numbers: what a person types, what we post, and the one key of all national spellings of a number.

Some countries write the mobile numbers that WhatsApp knows in two ways (Mexico, Argentina, Brazil), and some gave
everybody new numbers since: see `numbering`.
"""

import re
from collections.abc import Iterable, Iterator

import phonenumbers

from wamsg2 import numbering
from wamsg2.characters import INVISIBLE

_WRITTEN = re.compile(r"[\s+\d().\-\u2010-\u2015\uff0b]*")  # no letters: a keypad would make 6 of an O
# What a spreadsheet or pandas has written: the 0 of .0 is no digit of the number.
_DECIMAL = re.compile(r"([^.,]*\d)[.,](\d)")
_DECIMALS = re.compile(r"\+?\d{7,}[.,]\d\d")
_EXPONENT = re.compile(r"\+?\d+([.,]\d+)?E[+-]?\d+", re.IGNORECASE)
_PLUS = frozenset("+\uff0b")
_PLAIN = re.compile(r"\+[1-9]\d{7,14}", re.ASCII)
_DIGITS = re.compile(r"\+?([1-9]\d{6,14})", re.ASCII)


class PhoneError(ValueError):
    """Not a phone number that can be written to; the message says why, without the number."""


def parse(text: str, default_country: str = "") -> str:
    """What a person typed, as E.164 (``+34600000001``).

    Args:
        text: a number, with ``+`` or as dialled in the default country. An old number of a country that has new
            ones is taken for the new one.
        default_country: two-letter region for numbers without ``+``, or empty.

    Raises:
        PhoneError: not a valid number.
    """
    if (plain := _plain(text)) is not None and phonenumbers.is_valid_number(plain):
        return current(text)
    text = _typed(text)
    if not _WRITTEN.fullmatch(text):
        raise PhoneError("not a phone number")
    try:
        number = phonenumbers.parse(text, default_country or None)
    except phonenumbers.NumberParseException as error:
        if error.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE and not default_country:
            raise PhoneError("no country code (write +…, or set contacts.default_country)") from None
        raise PhoneError("not a phone number") from None
    written = current(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
    # The library knows one spelling of each number; a valid key means that ours is another of the same.
    is_valid = phonenumbers.is_valid_number(number) or any(map(_is_valid, {written, key(written)}))
    if not is_valid and not _is_old_brazilian(written):
        raise PhoneError("not a valid phone number of its country")
    if _is_another_with_its_country_code(text, number, written):
        raise PhoneError("can be read with and without its country code: write it with a +")
    return written


def key(e164: str) -> str:
    """One spelling for all national spellings of one number, old and new: equal keys, same person."""
    return _today(e164, numbering.changes_from(e164))


def current(e164: str) -> str:
    """The number to write to: the new one, where the country gave everybody new numbers."""
    return _today(e164, (change for change in numbering.changes_from(e164) if change.since))


def spellings(phone_key: str) -> tuple[str, ...]:
    """Every E.164 number whose `key` is this one, the key itself first."""
    return (phone_key, *_others(phone_key, numbering.changes_to(phone_key)))


def keys(e164: str) -> tuple[str, ...]:
    """The key of a number, and behind it the keys that it had before its country was in the table of `numbering`.

    What cannot be computed anew, since the number is not known any more, is found under one of these.
    """
    phone_key = key(e164)
    return (phone_key, *_others(phone_key, (c for c in numbering.changes_to(phone_key) if c.since)))


def _today(e164: str, changes: Iterable[numbering.Change]) -> str:
    return next(filter(None, (change.new(e164) for change in changes)), e164)


def _others(phone_key: str, changes: Iterable[numbering.Change]) -> Iterator[str]:
    olds = (change.old(phone_key) for change in changes)
    return (old for old in olds if old is not None and key(old) == phone_key)


def is_country(code: str) -> bool:
    """Whether there is a region with these two capital letters (``TG``)."""
    return code in phonenumbers.SUPPORTED_REGIONS


def from_digits(text: str) -> str | None:
    """E.164 from what the provider calls a number (``34600000001``, ``+34600000001``), or None."""
    match = _DIGITS.fullmatch(text.strip())
    return "+" + match[1] if match else None


def _is_another_with_its_country_code(text: str, number: phonenumbers.PhoneNumber, written: str) -> bool:
    """Whether the digits begin with the country code, but were read as a number within the country.

    Numbers of Germany, Indonesia and Kosovo have several lengths: some of them are valid in both ways.
    """
    digits = phonenumbers.normalize_digits_only(text)
    international = f"+{digits}"
    return (
        _PLUS.isdisjoint(text)
        and digits.startswith(str(number.country_code))
        and key(international) != key(written)
        and _is_valid(international)
    )


def _typed(text: str) -> str:
    """What was typed, without what programs put around it.

    Raises:
        PhoneError: a program has turned the number into another kind of number.
    """
    text = " ".join(INVISIBLE.sub("", text).split()).removeprefix("'")  # the apostrophe is Excel's mark of a text
    decimal = _DECIMAL.fullmatch(text)
    if decimal and int(decimal[2]) == 0:
        return decimal[1]
    if _EXPONENT.fullmatch(text):
        raise PhoneError("Excel has shortened the number (E+…): format the column as text, and type it again")
    if decimal or _DECIMALS.fullmatch(text):
        raise PhoneError("a number with decimals: format the column as text, and type it again")
    return text


def _plain(text: str) -> phonenumbers.PhoneNumber | None:
    """The number where it is written as we write it: most are, and the library takes thrice as long to read them.

    Not with a zero behind the country code: that may belong to the number (Italy) or not.
    """
    if not _PLAIN.fullmatch(text):
        return None
    for end in (2, 3, 4):  # no code begins with another
        code, national = int(text[1:end]), text[end:]
        if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return None if national[0] == "0" else phonenumbers.PhoneNumber(code, int(national))
    return None


def _is_valid(e164: str) -> bool:
    return phonenumbers.is_valid_number(phonenumbers.parse(e164))


def _is_old_brazilian(e164: str) -> bool:
    """An eight-digit mobile, as WhatsApp still writes many: valid once its ninth digit is put back."""
    match = re.fullmatch(r"\+55(\d{2})([6-9]\d{7})", e164)
    return match is not None and _is_valid(f"+55{match[1]}9{match[2]}")
